"""A folder of a stranger with any of its files damaged in any way: a result or a sentence, and never a traceback."""

import gzip
import json
import shutil
import warnings

import numpy as np
import pytest
import soundfile
from PIL import Image

from utils.data import load_dataset
from utils.data.load import item_graphs
from utils.data.media import check_media
from utils.errors import CourseError
from utils.features import check_content, prepared
from utils.features.extraction import Contents, contents
from utils.own_data.report import report

N = 6
FILES = (
    "items.tsv",
    "interactions.tsv.gz",
    "features/visual.npy",
    "features/visual_mask.npy",
    "features/visual.json",
    "features/items.txt",
    "features/SHA256SUMS",
    "item_knn_textual.npz",
    "images/0.png",
    "sounds/1.wav",
)
DEEP = b"[" * 200_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole folder with a file of every kind that the course reads."""
    root = tmp_path_factory.mktemp("whole")
    for name in ("features", "images", "sounds"):
        (root / name).mkdir()
    rows = [f"i{k}\tThing {k}\tA thing.\timages/{k}.png\t{'sounds/1.wav' if k == 1 else ''}" for k in range(N)]
    for k in range(N):
        Image.new("RGB", (8, 8), (40 * k, 0, 0)).save(root / f"images/{k}.png")
    soundfile.write(root / "sounds/1.wav", np.sin(np.arange(800)), 8000)
    (root / "items.tsv").write_text("\n".join(["item\ttitle\tdescription\timage\taudio", *rows]), encoding="utf-8")
    log = ["user\titem\trating\ttimestamp", *(f"u{k % 3}\ti{k}\t{1 + k % 5}\t{1_000_000_000 + k}" for k in range(N))]
    (root / "interactions.tsv.gz").write_bytes(gzip.compress("\n".join(log).encode()))
    np.save(root / "features/visual.npy", np.arange(N * 3, dtype=np.float32).reshape(N, 3) + 1)
    np.save(root / "features/visual_mask.npy", np.ones(N, bool))
    about = {"encoder": "x", "content_rows": ["0" * 16] * N, "transforms": ["l2"], "language": None}
    (root / "features/visual.json").write_text(json.dumps(about), encoding="utf-8")
    (root / "features/items.txt").write_text("".join(f"i{k}\n" for k in range(N)), encoding="utf-8")
    graph = {"row": np.arange(N), "col": np.arange(N)[::-1].copy(), "value": np.ones(N, np.float32)}
    np.savez(root / "item_knn_textual.npz", n_items=np.array(N), **graph)
    return root


def use(root):
    """Read everything there is, as the commands and notebooks do; the sentences that came."""
    said = []

    def attempt(call):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return call()
        except CourseError as error:
            said.append(str(error))
            assert "\n" not in str(error) and len(str(error)) < 2000
            return None

    found = attempt(lambda: report(root))
    said += [str(finding) for finding in found.errors] if found else []
    dataset = attempt(lambda: load_dataset(root))
    if dataset is not None:
        attempt(lambda: repr(dataset) + dataset._repr_html_())
        attempt(lambda: item_graphs(dataset))
        attempt(lambda: check_media(dataset))
        features = attempt(lambda: prepared(dataset, "visual"))
        if features is not None:
            attempt(lambda: repr(features))
            attempt(lambda: check_content(features, dataset))
        for item in range(dataset.n_items):
            attempt(lambda item=item: dataset.image(item))
        for modality in ("visual", "textual", "audio"):
            attempt(lambda modality=modality: Contents.of(contents(dataset, modality)))
    return said


def test_the_whole_folder_is_read(folder):
    assert use(folder) == []


def damages(raw, seed):
    """Name -> other bytes in the place of a file's own."""
    rng = np.random.default_rng(seed)
    found = {
        "empty": b"",
        "zeros": b"\0" * max(len(raw), 1),
        "a page": b"<!DOCTYPE html><html>404</html>",
        "PK": b"PK\x03\x04" + raw[4:],
        "gzip": gzip.compress(raw)[:-3],
        "twice": gzip.compress(gzip.compress(raw)),
        "deep": DEEP,
        "a number": b"7",
        "a list": b"[1, 2]",
        "a null": b"null",
        "utf-16": raw.decode("latin-1").encode("utf-16"),
        "twice as long": raw + raw,
    }
    for share in (0.1, 0.5, 0.9, 0.99):
        found[f"cut at {share}"] = raw[: int(len(raw) * share)]
    for number in range(5):
        changed = bytearray(raw)
        for place in rng.integers(0, len(raw), 1 + number // 3):
            changed[place] ^= 1 << int(rng.integers(0, 8))
        found[f"flip {number}"] = bytes(changed)
    return found


@pytest.mark.parametrize("name", FILES)
def test_any_damage_is_a_result_or_a_sentence(folder, tmp_path, name):
    root = shutil.copytree(folder, tmp_path / "folder")
    raw = (root / name).read_bytes() if (root / name).is_file() else b"0" * 64 + b"  visual.npy\n"
    named = 0
    for damage, content in damages(raw, len(name)).items():
        (root / name).write_bytes(content)
        try:
            named += bool(use(root))
        except Exception as error:
            raise AssertionError(f"{name}, {damage}: {type(error).__name__}: {error}") from error
    assert named >= 5, "hardly any damage was seen"
    (root / name).unlink()
    (root / name).mkdir()  # a folder in the place of a file
    use(root)


ABOUTS = {
    "list": [1],
    "word": "x",
    "rows are a number": {"content_rows": 3},
    "rows are numbers": {"content_rows": list(range(N))},
    "too few rows": {"content_rows": ["0" * 16]},
    "rows of nothing": {"content_rows": None},
    "transforms are a number": {"transforms": 3},
    "a language of several words": {"language": ["a", "b"], "content_rows": ["0" * 16] * N},
    "cleaning is a number": {"cleaning": 4, "content_rows": ["0" * 16] * N},
    "cleaning of an unknown kind": {"cleaning": ["?"], "content_rows": ["0" * 16] * N},
}


@pytest.mark.parametrize("kind", ABOUTS)
def test_a_provenance_of_another_kind_is_named(folder, tmp_path, kind):
    root = shutil.copytree(folder, tmp_path / "folder")
    (root / "features/visual.json").write_text(json.dumps(ABOUTS[kind]), encoding="utf-8")
    said = use(root)
    assert kind == "cleaning of an unknown kind" or any("visual" in sentence for sentence in said)


GRAPHS = {
    "n_items of a list": {"n_items": np.array([3, 4])},
    "n_items beyond all bounds": {"n_items": np.array(10**17)},
    "n_items below zero": {"n_items": np.array(-4)},
    "text": {"value": np.array(["a"] * N)},
    "rows of two axes": {"row": np.zeros((N, 2), int)},
    "an edge outside": {"col": np.arange(N) + 3},
    "an edge below zero": {"col": np.arange(N) - 1},
    "not a number": {"value": np.full(N, np.nan)},
    "fewer": {"row": np.arange(2)},
    "complex": {"value": np.full(N, 1j)},
}


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("alone", [False, True])
def test_a_graph_of_another_kind_is_named(folder, tmp_path, kind, alone):
    root = shutil.copytree(folder, tmp_path / "folder")
    with np.load(folder / "item_knn_textual.npz") as stored:
        graph = dict(stored) | GRAPHS[kind]
    np.savez(root / "item_knn_textual.npz", **graph)
    if alone:  # the graph alone says how many items there are
        (root / "items.tsv").unlink()
        shutil.rmtree(root / "features")
        log = "user\titem\n" + "".join(f"u{k % 3}\t{k}\n" for k in range(N))
        (root / "interactions.tsv.gz").write_bytes(gzip.compress(log.encode()))
    assert any("item_knn_textual" in sentence for sentence in use(root))


MATRICES = {
    "no axis": np.array(3.0),
    "one axis": np.ones(N),
    "three axes": np.ones((N, 2, 2)),
    "no columns": np.ones((N, 0)),
    "words": np.array([["a"]] * N),
    "dates": np.array([["2020-01-01"]] * N, dtype="M8[D]"),
    "complex": np.ones((N, 2), complex),
    "too large for float32": np.full((N, 2), 1e300),
    "records": np.zeros(N, dtype=[("a", "f4")]),
    "fewer rows": np.ones((N - 1, 2)),
    "nothing wide": np.zeros((N, 2), dtype="S0"),
}


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("name", ["visual", "visual_mask"])
def test_a_matrix_of_another_kind_is_named(folder, tmp_path, kind, name):
    root = shutil.copytree(folder, tmp_path / "folder")
    if name == "visual_mask" and kind in ("one axis", "too large for float32"):
        pytest.skip("a mask of numbers is one")
    np.save(root / f"features/{name}.npy", MATRICES[kind])
    assert any(f"{name}.npy" in sentence for sentence in use(root))


def test_a_sound_that_claims_a_billion_samples_a_second_is_named_before_a_filter_is_made(folder, tmp_path):
    from utils.features.encoders.sound import read_audio

    root = shutil.copytree(folder, tmp_path / "folder")
    soundfile.write(root / "sounds/1.wav", np.ones(64), 1_999_999_973)
    assert any("samples a second" in sentence for sentence in use(root))
    with pytest.raises(CourseError, match="1,999,999,973 samples a second, at most 768,000"):
        read_audio(root / "sounds/1.wav")


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path, where):
    root = shutil.copytree(folder, tmp_path / "folder")
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(root / "images/0.png", outside / "0.png")
    try:
        if where == "file":
            (root / "images/0.png").unlink()
            (root / "images/0.png").symlink_to(outside / "0.png")
        else:
            shutil.rmtree(root / "images")
            (root / "images").symlink_to(outside, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    dataset = load_dataset(root)
    count = 1 if where == "file" else N
    with pytest.warns(UserWarning, match=rf"{count} file\(s\) of column image are links that leave"):
        assert dataset.image_paths()[0] is None
    with pytest.raises(CourseError, match="is a link that leaves"):
        dataset.image(0)
    with pytest.warns(UserWarning, match="links that leave"):
        assert contents(dataset, "visual")[0] is None
    from utils.data.cleaning import drop_unreadable_images

    assert drop_unreadable_images(dataset).items["image"].iloc[0] == ""


def test_a_link_inside_the_folder_is_a_file_like_any_other(folder, tmp_path):
    root = shutil.copytree(folder, tmp_path / "folder")
    (root / "images/0.png").unlink()
    try:
        (root / "images/0.png").symlink_to("1.png")
    except OSError:
        pytest.skip("this system lets nobody make links")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_dataset(root).image_paths()[0] == root / "images/0.png"
