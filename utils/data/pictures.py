"""Read one picture or sound file, say why it cannot be used, and name a picture's colour."""

from __future__ import annotations

import colorsys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from utils.errors import CourseError

MAX_PIXELS = 50_000_000
"""A picture with more pixels than this (50 megapixels) is reported instead of decoded."""
MAX_SHAPE = 100
"""A picture more than this many times as long as it is wide is reported too: scaled down, its short side would vanish."""
MAX_RATE = 768_000
"""Samples a second: a file that claims more is reported, because the filter that changes the rate grows with it."""
MAX_HEARD = 600
"""Seconds of a sound that are looked through for one that is not silent."""
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
"""What is read whatever a file's name ends in; others, such as EPS, would start a program of the system."""
# Pillow's own warning comes at another size than ours; a filter set around each call would not be safe in threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "grey", "black", "white")


def open_image(path: str | Path, mode: str = "RGB", near: int = 0) -> Image.Image:
    """Decode a picture whole, turned upright; arguments as in :func:`decode`.

    Raises:
        CourseError: the file is missing, empty, damaged, huge or no picture.
    """
    try:
        return decode(path, mode, near)
    except CourseError as error:
        raise CourseError(f"Cannot read the image {path}: {error}; replace the file or clean() the dataset.") from error


def decode(path: str | Path, mode: str = "RGB", near: int = 0) -> Image.Image:
    """As :func:`open_image`, for callers that name the file themselves: the error is the bare reason.

    Args:
        path: a file of one of FORMATS.
        mode: ``"RGB"`` lays transparent parts on white; ``"RGBA"`` keeps them.
        near: for JPEG, decode at the smallest scale that still has this many pixels a side (0: full size).

    Raises:
        CourseError: half a sentence, for example "the file is empty (zero bytes)".
    """
    with _stored(Path(path)) as image:
        if near:
            image.draft("RGB", (near, near))
        kind = image.format
        return _in_mode(ImageOps.exif_transpose(image), mode, kind)


def _in_mode(image: Image.Image, mode: str, kind: str | None) -> Image.Image:
    """Return an upright picture in 8 bits a channel: ``"RGBA"``, or ``"RGB"`` with transparent parts on white."""
    if image.mode[0] in "IF":
        image = _eight_bits(image, kind)
    if mode == "RGBA":
        return image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return on_white(image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image, kind: str | None) -> Image.Image:
    """Scale a grey picture of more than 8 bits to grey with transparency: Pillow would cut all above 255 to white.

    Whole numbers run to 255, 65,535 or 4,294,967,295, whichever holds the largest one (files of 16 bits: 65,535);
    fractions to 1, or as whole numbers.
    """
    values = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise CourseError("its pixels are not all finite numbers")
    scales = (1.0, 255.0, 65535.0, 4294967295.0) if image.mode[0] == "F" else (255.0, 65535.0, 4294967295.0)
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG")  # older Pillow
    top = 65535.0 if sixteen else next((scale for scale in scales if values.max() <= scale), values.max())
    grey = np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8)
    clear = image.info.get("transparency")
    alpha = np.where(values == clear, 0, 255) if isinstance(clear, int) else np.full(values.shape, 255)
    return Image.fromarray(np.dstack([grey, alpha.astype(np.uint8)]), "LA")


def on_white(image: Image.Image) -> Image.Image:
    """Lay a picture with transparency on white, as a shop page shows it; RGB."""
    ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def image_problem(path: str | Path) -> str:
    """Say why a picture cannot be used, or "" when it decodes whole (PIL verify, then as :func:`decode` does it)."""
    try:
        with _stored(Path(path)) as image:
            image.verify()
        decode(path)  # verify() does not see every truncation, and extraction needs more than the bytes
    except CourseError as error:
        return str(error)
    return ""


def sound_problem(path: str | Path) -> str:
    """Say why a sound cannot be used (missing, damaged, of zero length, silent), or ""."""
    path = Path(path)
    problem = _file_problem(path)
    if problem:
        return problem
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as sound:
            rate, length = sound.samplerate, 0
            if not 0 < rate <= MAX_RATE:
                return f"{rate:,} samples a second are too many, at most {MAX_RATE:,} are read"
            while length < MAX_HEARD * rate and len(part := sound.read(1 << 16, dtype="float32", always_2d=True)):
                length += len(part)
                if np.abs(part).max() > 0:
                    break
    except Exception as error:  # noqa: BLE001  the library raises its own and the system's errors
        return f"not a readable sound ({error})"
    if not length:
        return "a sound of zero length"
    return "" if np.abs(part).max(initial=0) > 0 else "silent: every sample is zero"


def dominant_colour(picture: np.ndarray, mask: np.ndarray) -> str:
    """Name of the most frequent colour among the pixels of the stamp.

    Args:
        picture: (height, width, 3) uint8. mask: (height, width) bool, True where the stamp is opaque.
    """
    pixels = picture[mask][::7] if mask.any() else picture.reshape(-1, 3)
    votes = dict.fromkeys(COLOURS, 0.0)
    for red, green, blue in pixels / 255.0:
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        if value < 0.2:
            votes["black"] += 0.5  # outlines and shadows are dark in nearly every stamp
        elif saturation < 0.16:
            votes["white" if value > 0.85 else "grey"] += 0.5
        elif 0.03 < hue < 0.12 and value < 0.65:
            votes["brown"] += 1
        else:
            edges = np.array([0.03, 0.11, 0.19, 0.46, 0.70, 0.93])
            votes[("red", "orange", "yellow", "green", "blue", "purple", "red")[int(np.searchsorted(edges, hue))]] += 1
    return max(votes, key=votes.get)


@contextmanager
def _stored(path: Path) -> Iterator[Image.Image]:
    """Open a picture by its header and judge its size before anything is decoded; all errors leave as a bare reason."""
    problem = _file_problem(path)
    if problem:
        raise CourseError(problem)
    try:
        with Image.open(path, formats=FORMATS) as image:
            problem = _size_problem(image)
            if not problem:
                yield image
    except CourseError:
        raise
    except Exception as error:  # noqa: BLE001  decoders raise many kinds of errors
        raise CourseError(_reason(error)) from error
    if problem:
        raise CourseError(problem)


def _file_problem(path: Path) -> str:
    if not path.is_file():
        return "the file does not exist"
    return "" if path.stat().st_size else "the file is empty (zero bytes)"


def _size_problem(image: Image.Image) -> str:
    width, height = image.size
    if max(width, height) > MAX_SHAPE * min(width, height):
        return f"too narrow: {width} x {height} pixels, at most {MAX_SHAPE} times as long as wide are read"
    if width * height <= MAX_PIXELS:
        return ""
    return f"huge: {width} x {height} pixels are too many, at most {MAX_PIXELS:,} are read"


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"huge: its pixels are too many ({text})"
    if "cannot identify" in text:
        return f"not a picture of a known format ({', '.join(FORMATS)})"
    return f"damaged or cut short ({text.splitlines()[0]})"
