"""Room "Which?" (utils/data): pictures, words and sounds as files; which ones a model cannot read, and why."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from utils.data.dataset import Dataset
from utils.errors import CourseError

MAX_PIXELS = 50_000_000
"""A picture with more pixels than this (50 megapixels) is reported instead of decoded."""


def open_image(path: str | Path) -> Image.Image:
    """Decode a picture to RGB, upright, with transparent parts on white.

    Raises:
        CourseError: the file is missing, empty, damaged, huge or no picture.
    """
    path = Path(path)
    problem = _file_problem(path) or _huge(path)
    if not problem:
        try:
            with Image.open(path) as image:
                image = ImageOps.exif_transpose(image)
                if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                    image = image.convert("RGBA")
                    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
                    image = Image.alpha_composite(white, image)
                return image.convert("RGB")
        except Exception as error:  # noqa: BLE001  decoders raise many kinds of errors
            problem = _reason(error)
    raise CourseError(f"Cannot read the image {path}: {problem}; replace the file or clean() the dataset.")


def image_problem(path: str | Path) -> str:
    """Say why a picture cannot be used, or "" when it decodes whole (PIL verify, then a full load)."""
    path = Path(path)
    problem = _file_problem(path) or _huge(path)
    if problem:
        return problem
    try:
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:  # verify() leaves the image unusable, and does not see every truncation
            image.load()
    except Exception as error:  # noqa: BLE001  decoders raise many kinds of errors
        return _reason(error)
    return ""


def sound_problem(path: str | Path) -> str:
    """Say why a sound cannot be used (missing, damaged, of zero length, silent), or ""."""
    path = Path(path)
    problem = _file_problem(path)
    if problem:
        return problem
    import soundfile

    try:
        samples, _rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except Exception as error:  # noqa: BLE001  the library raises its own and the system's errors
        return f"not a readable sound ({error})"
    if not len(samples):
        return "a sound of zero length"
    return "" if np.abs(samples).max() > 0 else "silent: every sample is zero"


def check_media(dataset: Dataset) -> pd.DataFrame:
    """Read every picture and sound once and list what a model cannot use.

    Returns:
        One row per problem: item (raw id), modality, file (path inside the folder, or items.tsv), problem. An item
        whose modality is simply missing is no problem; an item without any text is one when other items have text.
    """
    rows = _media_rows(dataset, "visual", "image", image_problem)
    texts = dataset.texts()
    if any(texts):
        problem = "empty description and no title; write a description, or clean() drops the item"
        rows += [(n, "textual", "items.tsv", problem) for n, text in zip(dataset.items["item"], texts) if not text]
    rows += _media_rows(dataset, "audio", "audio", sound_problem)
    return pd.DataFrame(rows, columns=["item", "modality", "file", "problem"])


def _media_rows(dataset: Dataset, modality: str, column: str, check) -> list[tuple[str, str, str, str]]:
    named = dataset.items.loc[dataset.items[column] != "", ["item", column]]
    root = dataset.path.resolve()

    def problem_of(value: str) -> str:
        path = dataset.path / value
        inside = path.resolve().is_relative_to(root)  # a symbolic link may lead out
        return check(path) if inside else "the link leaves the dataset's folder; copy the file into it"

    # Decoding releases the interpreter lock, so threads help; the warning filter is set once, outside of them.
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("ignore")
        problems = list(pool.map(problem_of, named[column]))
    return [(name, modality, value, p) for (name, value), p in zip(named.itertuples(index=False), problems) if p]


def _file_problem(path: Path) -> str:
    if not path.is_file():
        return "the file does not exist"
    return "" if path.stat().st_size else "the file has zero bytes"


def _huge(path: Path) -> str:
    """Judge the size from the header alone, before anything is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
    except Image.DecompressionBombError as error:
        return f"huge: {error}"
    except Exception as error:  # noqa: BLE001  decoders raise many kinds of errors
        return _reason(error)
    pixels = width * height
    return f"huge: {width} x {height} pixels, at most {MAX_PIXELS:,} are read" if pixels > MAX_PIXELS else ""


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "cannot identify" in text:
        return "not a picture of a known format"
    return f"damaged or cut short ({text.splitlines()[0]})"
