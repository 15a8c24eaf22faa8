"""One reader of pictures: the same file is read, or refused with the same reason, wherever the course opens it."""

import os
import stat

import numpy as np
import pytest
from features_helpers import make_dataset
from PIL import EpsImagePlugin, Image

from utils.data.pictures import FORMATS, MAX_PIXELS, decode, image_problem, open_image
from utils.errors import CourseError
from utils.features import extract
from utils.features.encoders.image import square

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Ghostscript is a shell script")
def test_a_picture_in_a_foreign_format_starts_no_program_and_is_named(tmp_path, monkeypatch):
    """EPS under the name of a JPEG: with all of Pillow's formats, decoding would run Ghostscript on a stranger's file."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    started, stand_in = tmp_path / "started", tmp_path / "bin" / "gs"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\necho 10.0 >> '{started}'\n", encoding="utf-8")
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(stand_in.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow looks for it once
    dataset = make_dataset(tmp_path / "toy")
    path = dataset.path / "images" / "7.png"
    path.write_bytes(EPS)
    Image.init()
    with pytest.raises(OSError), Image.open(path) as unguarded:  # what would happen
        unguarded.load()
    assert started.is_file()
    started.unlink()
    assert "not a picture of a known format (JPEG, PNG" in image_problem(path)
    with pytest.raises(CourseError, match=r"7\.png: not a picture of a known format"):
        open_image(path)
    with pytest.warns(UserWarning, match=r"7\.png .*not a picture of a known format"):
        assert not extract(dataset, "visual", "pixels", progress=False).mask[7]
    assert not started.exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_common_formats_are_read_whatever_the_name_ends_in(tmp_path, kind):
    path = tmp_path / "picture.dat"
    Image.new("RGB", (6, 4), (250, 250, 250)).save(path, format=kind)
    assert image_problem(path) == "" and open_image(path).size == (6, 4)


def test_transparent_parts_lie_on_white_or_stay_as_asked(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)
    assert decode(tmp_path / "a.png", "RGBA").getpixel((0, 0)) == (255, 0, 0, 0)


def test_a_large_jpeg_is_decoded_small_but_never_below_what_is_asked(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (800, 600, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    assert decode(tmp_path / "a.jpg").size == (600, 800)
    assert decode(tmp_path / "a.jpg", near=64).size == (75, 100)


def test_one_limit_of_pixels_for_all_readers(tmp_path):
    Image.new("1", (10_000, MAX_PIXELS // 10_000)).save(tmp_path / "most.png")
    Image.new("1", (10_000, MAX_PIXELS // 10_000 + 1)).save(tmp_path / "more.png")
    assert image_problem(tmp_path / "most.png") == ""
    reason = image_problem(tmp_path / "more.png")
    assert reason == "huge: 10000 x 5001 pixels are too many, at most 50,000,000 are read"
    with pytest.raises(CourseError, match=reason):
        open_image(tmp_path / "more.png")
    with pytest.raises(CourseError, match=f"^{reason}$"):
        decode(tmp_path / "more.png", "RGBA", near=64)


RAMP = np.linspace(0, 65535, 64 * 64).reshape(64, 64)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("16.png", RAMP.astype(np.uint16)),
        ("16.tif", RAMP.astype(np.uint16)),
        ("32.tif", RAMP.astype(np.int32)),
        ("unit.tif", (RAMP / 65535).astype(np.float32)),
        ("float.tif", RAMP.astype(np.float32)),
    ],
)
def test_more_than_eight_bits_are_scaled_and_not_cut(tmp_path, name, pixels):
    """Pillow alone makes everything above 255 white."""
    Image.fromarray(pixels).save(tmp_path / name)
    for mode in ("RGB", "RGBA"):
        read = np.asarray(decode(tmp_path / name, mode), dtype=float)
        np.testing.assert_allclose(read[..., 0], RAMP / 257, atol=0.51)
    assert image_problem(tmp_path / name) == ""


def test_a_dark_picture_of_16_bits_stays_dark_and_its_transparent_value_is_white(tmp_path):
    pixels = np.full((4, 4), 200, np.uint16)
    pixels[0, 0] = 60000
    pixels[1:] //= 2
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=60000)
    read = np.asarray(decode(tmp_path / "a.png"))
    assert read[0, 0, 0] == 255 and read[1:].max() == 0 and read[0, 1, 0] == 1


def test_fractions_that_are_no_numbers_are_refused_alike(tmp_path):
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "a.tif")
    assert image_problem(tmp_path / "a.tif") == "its pixels are not all finite numbers"
    with pytest.raises(CourseError, match="^its pixels are not all finite numbers$"):
        decode(tmp_path / "a.tif")


@pytest.mark.parametrize("size", [(20000, 2), (3, 400)])
def test_a_picture_that_would_vanish_when_scaled_is_one_verdict_everywhere(tmp_path, size):
    Image.new("RGB", size, (9, 9, 9)).save(tmp_path / "a.png")
    reason = image_problem(tmp_path / "a.png")
    assert reason == f"too narrow: {size[0]} x {size[1]} pixels, at most 100 times as long as wide are read"
    with pytest.raises(CourseError, match=reason):
        open_image(tmp_path / "a.png")
    Image.new("RGB", (300, 3), (9, 9, 9)).save(tmp_path / "b.png")
    assert image_problem(tmp_path / "b.png") == "" and square(decode(tmp_path / "b.png"), 224).size == (224, 224)
