"""NumPy files of unknown origin: whatever is in them, one sentence comes out; what was written is known by its SHA-256."""

import io
import struct
import zipfile

import numpy as np
import pytest

from utils.arrays import SUMS, read_array, read_arrays, read_shape, write_array, write_sums
from utils.errors import CourseError
from utils.features.at_scale.shards import read_matrix, write_matrix
from utils.features.matrix import Features
from utils.features.prepared_features import prepared, save_prepared
from utils.files import ROOT, sha256


def header(text):
    """An array file of version 1 with any header, and nothing behind it."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin-1")


def saved(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def packed(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


ARRAYS = {
    "empty": b"",
    "text": b"0.1 0.2\n",
    "only its magic": b"\x93NUMPY",
    "cut": saved(np.ones((40, 40)))[:-7],
    "objects": saved(np.array([{}], dtype=object), allow_pickle=True),
    "huge": header("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}\n"),
    "overflow": header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999, 4)}\n"),
    "negative": header("{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 4)}\n"),
    "code": header("{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').getpid(), 4)}\n"),
    "deep": header("(" * 9000 + ")" * 9000),
    "an archive": packed(a=np.ones(3)),
    "no archive": b"PK\x03\x04" + b"\0" * 60,
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_what_is_no_array_is_one_sentence(tmp_path, kind):
    path = tmp_path / "visual.npy"
    path.write_bytes(ARRAYS[kind])
    for read in (read_array, read_shape):
        with pytest.raises(CourseError, match=r"visual\.npy is not") as caught:
            read(path)
        assert (
            "\n" not in str(caught.value) and len(str(caught.value)) < 600 and "allow_pickle" not in str(caught.value)
        )


@pytest.mark.parametrize("shape", [(0, 4), (10**12, 0)])
def test_rows_without_numbers_are_no_matrix(tmp_path, shape):
    write_array(tmp_path / "a.npy", np.zeros((0, 4), np.float32))
    (tmp_path / "b.npy").write_bytes(header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n"))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(CourseError, match="is not a numpy array file|holds nothing"):
            read_shape(tmp_path / name)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped", "missing", "objects", "encrypted"])
def test_what_is_no_archive_of_arrays_is_one_sentence(tmp_path, damage):
    path, raw = tmp_path / "graph.npz", packed(row=np.arange(400), col=np.arange(400) % 7)
    if damage == "objects":
        stream = io.BytesIO()
        np.savez(stream, row=np.array([{}], dtype=object), col=np.ones(1), allow_pickle=True)
        raw = stream.getvalue()
    flipped = bytearray(raw)
    flipped[len(raw) // 4] ^= 8
    encrypted = bytearray(raw)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[raw.index(mark) + place] |= 1
    found = {
        "empty": b"",
        "text": b"row col",
        "cut": raw[:-30],
        "flipped": bytes(flipped),
        "encrypted": bytes(encrypted),
    }
    path.write_bytes(found.get(damage, raw))
    with pytest.raises(CourseError, match=r"graph\.npz is not a whole \.npz file \(.*\); make it again"):
        read_arrays(path, ("row", "col", "value") if damage == "missing" else ())


def test_an_archive_that_unpacks_without_bound_is_refused_before_it_does(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("row.npy", saved(np.zeros(20_000_000)))
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(np, "load", lambda *_a, **_k: pytest.fail("it was unpacked"))
    with pytest.raises(CourseError, match="unpacks to 160 MB, which no honest file of its size does"):
        read_arrays(path)


def flip(path, place=-5):
    raw = bytearray(path.read_bytes())
    raw[place] ^= 4
    path.write_bytes(bytes(raw))


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    mask = np.array([True, True, False, True])
    return Features("visual", rng.random((4, 3), np.float32), np.array(list("abcd")), mask, {"encoder": "x"})


@pytest.mark.parametrize("kind", ["npy", "safetensors"])
def test_one_flipped_bit_of_a_merged_matrix_is_seen(tmp_path, features, kind):
    write_matrix(features, tmp_path, kind=kind)
    assert (read_matrix(tmp_path).matrix == features.matrix).all()
    flip(tmp_path / f"visual.{kind}")
    with pytest.raises(CourseError, match=rf"visual\.{kind} is not the file that SHA256SUMS beside it names"):
        read_matrix(tmp_path)


@pytest.mark.parametrize("name", ["visual.npy", "visual_mask.npy"])
def test_one_flipped_bit_of_prepared_features_is_seen_and_a_new_matrix_is_the_known_one(tmp_path, features, name):
    import pandas as pd

    from utils.data import Dataset

    log = pd.DataFrame({"user": list("uuuu"), "item": list("abcd")})
    dataset = Dataset.from_frames(log, path=tmp_path)
    save_prepared(features, tmp_path, dtype="float32")
    assert (prepared(dataset, "visual").matrix == features.matrix).all()
    flip(tmp_path / "features" / name, -1)
    with pytest.raises(CourseError, match="it was damaged, or changed since"):
        prepared(dataset, "visual")
    save_prepared(features, tmp_path, dtype="float32")
    assert prepared(dataset, "visual") is not None
    sums = (tmp_path / "features" / SUMS).read_text(encoding="utf-8")
    (tmp_path / "features" / SUMS).unlink()  # without the list nothing is known, as in folders of others
    assert prepared(dataset, "visual") is not None and len(sums.splitlines()) == 2


def test_a_list_keeps_other_lines_forgets_lost_files_and_is_named_when_it_is_none(tmp_path):
    for name in ("a.npy", "b.npy"):
        write_array(tmp_path / name, np.ones(2))
        write_sums(tmp_path, (name,))
    lines = (tmp_path / SUMS).read_text(encoding="utf-8").splitlines()
    assert lines == [f"{sha256(tmp_path / name)}  {name}" for name in ("a.npy", "b.npy")]
    (tmp_path / "a.npy").unlink()
    write_sums(tmp_path, ("b.npy",))
    assert (tmp_path / SUMS).read_text(encoding="utf-8").splitlines() == lines[1:]
    for text in ("b.npy\n", "12ab  b.npy\n", "\xff"):
        (tmp_path / SUMS).write_bytes(text.encode("latin-1"))
        with pytest.raises(CourseError, match=r"SHA256SUMS .*delete it"):
            read_array(tmp_path / "b.npy")
    write_sums(tmp_path, ("b.npy",))
    assert read_array(tmp_path / "b.npy").tolist() == [1, 1]


def test_every_shipped_matrix_is_listed_and_as_it_was():
    shop = ROOT / "data" / "sticker_shop"
    shipped = [path for path in sorted(shop.rglob("*.np[yz]"))]
    assert len(shipped) == 7
    for path in shipped:
        assert f"{sha256(path)}  {path.name}" in (path.parent / SUMS).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        (["x"], "provenance that is a list"),
        ({"content_rows": 4}, "content_rows is no list of words"),
        ({"content_rows": None}, "content_rows is no list of words"),
        ({"content_rows": [1, 2, 3, 4]}, "content_rows is no list of words"),
        ({"content_rows": ["a"]}, r"4 rows but 1 hashes of content"),
        ({"transforms": 3}, "transforms is no list of words"),
        ({"cleaning": {"a": 1}}, "cleaning is no list of words"),
        ({"language": ["it"]}, "language is no word"),
    ],
)
def test_a_provenance_that_is_none_is_refused(features, provenance, words):
    with pytest.raises(CourseError, match=words):
        Features("visual", features.matrix, features.item_names, features.mask, provenance)
