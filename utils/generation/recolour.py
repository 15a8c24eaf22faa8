"""Pictures in another colour: the hue that a picture has, and the same picture turned to another hue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

from utils.data import Dataset
from utils.data.pictures import open_image
from utils.errors import CourseError, suggest

HUES = {"red": 0, "orange": 30, "yellow": 58, "green": 120, "turquoise": 175, "blue": 225, "purple": 275, "pink": 325}
SATURATED, BRIGHT = 0.25, 0.2  # below these a pixel has no hue that anybody would name
COLOURED, DOMINANT = 0.15, 0.6  # shares: of coloured pixels in the picture, of one hue among these


def nearest_hue(degrees: np.ndarray) -> np.ndarray:
    """Number of the named hue closest to each angle in degrees, around the circle: int64 of the same shape."""
    named = np.array(list(HUES.values()), dtype=np.float64)
    apart = np.abs((np.asarray(degrees)[..., None] - named + 180) % 360 - 180)
    return apart.argmin(axis=-1)


def coloured_pixels(picture: np.ndarray) -> tuple[np.ndarray, int]:
    """The hues in degrees of the pixels that have one, and how many pixels are not white ground; (h, w, 3) uint8."""
    hsv = rgb_to_hsv(picture / 255.0).reshape(-1, 3)
    ground = (picture >= 245).all(axis=2).ravel()
    coloured = (hsv[:, 1] >= SATURATED) & (hsv[:, 2] >= BRIGHT) & ~ground
    return hsv[coloured, 0] * 360, int((~ground).sum())


def hue_shares(picture: np.ndarray) -> np.ndarray:
    """Share of each named hue among the coloured pixels: (n_hues,) float64; zeros where there are none."""
    degrees, _ = coloured_pixels(picture)
    return np.bincount(nearest_hue(degrees), minlength=len(HUES)) / max(1, len(degrees))


def dominant_hue(picture: np.ndarray) -> tuple[str, float] | None:
    """Name the one hue that a picture has, and its middle angle in degrees; None where it has none or several.

    Args:
        picture: (h, w, 3) uint8 on white.
    """
    degrees, n_pixels = coloured_pixels(picture)
    shares = hue_shares(picture)
    if not len(degrees) or len(degrees) < COLOURED * n_pixels or shares.max() < DOMINANT:
        return None
    own = np.radians(degrees[nearest_hue(degrees) == shares.argmax()])
    middle = np.degrees(np.arctan2(np.sin(own).mean(), np.cos(own).mean())) % 360
    return list(HUES)[int(shares.argmax())], float(middle)


def recolour(picture: np.ndarray, colour: str, middle: float) -> np.ndarray:
    """Turn all hues so that ``middle`` (degrees) becomes the named one; saturation and value stay: (h, w, 3) uint8.

    Raises:
        CourseError: a colour that has no name here.
    """
    if colour not in HUES:
        raise suggest(colour, HUES, "colour")
    hsv = rgb_to_hsv(picture / 255.0)
    hsv[..., 0] = (hsv[..., 0] + (HUES[colour] - middle) / 360) % 1
    return np.round(hsv_to_rgb(hsv) * 255).astype(np.uint8)


def colour_in(words: str) -> str:
    """Find the one named hue in what somebody typed, as "the same in dark Red, please".

    Raises:
        CourseError: no colour that has been learned, or several.
    """
    typed = re.findall(r"[a-z]+", words.lower())
    named = [colour for colour in HUES if colour in typed]
    if len(named) == 1:
        return named[0]
    if named:
        raise CourseError(f"{words!r} names {' and '.join(named)}; ask for one colour at a time.")
    raise CourseError(f"{words!r} names no colour that was learned; write one of {', '.join(HUES)}.")


@dataclass(frozen=True, eq=False)
class Coloured:
    """Stamps in every colour: picture k is stamp ``stamps[k]`` in colour ``colours[k]``, of all stamps by all colours.

    Attributes:
        pictures: list of (h, w, 3) uint8; titles: of each of the stamps, (n_stamps,).
        stamps, colours: (n,) int64, place of the stamp in ``titles`` and of the colour in HUES.
        item_ids: (n_stamps,) the items of the catalogue that have one hue.
        own: (n_stamps,) the colour that each stamp has in the catalogue.
    """

    pictures: list[np.ndarray]
    titles: list[str]
    stamps: np.ndarray
    colours: np.ndarray
    item_ids: np.ndarray
    own: np.ndarray


def in_all_colours(
    dataset: Dataset, colours: Sequence[str] = tuple(HUES), chosen: Iterable[int] | None = None
) -> Coloured:
    """Recolour every picture of a catalogue that has one dominant hue.

    Args:
        chosen: item_ids to look at; the whole catalogue by default.

    Raises:
        CourseError: a picture that cannot be read, an unknown colour, or no picture with one hue.
    """
    pictures, titles, item_ids, own = [], [], [], []
    left_out = set() if chosen is None else set(range(len(dataset.items))) - set(map(int, chosen))
    for item_id, (image, title) in enumerate(zip(dataset.items["image"], dataset.items["title"])):
        if not image or item_id in left_out:
            continue
        picture = np.asarray(open_image(Path(dataset.path) / image))
        if (found := dominant_hue(picture)) is None:
            continue
        pictures += [recolour(picture, colour, found[1]) for colour in colours]
        titles.append(str(title))
        item_ids.append(item_id)
        own.append(list(HUES).index(found[0]))
    if not titles:
        raise CourseError(f"No picture of {dataset.name} has one dominant hue; nothing can be recoloured.")
    n, k = len(titles), [list(HUES).index(colour) for colour in colours]
    return Coloured(pictures, titles, np.repeat(np.arange(n), len(k)), np.tile(k, n), np.array(item_ids), np.array(own))
