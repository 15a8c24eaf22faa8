"""A stamp in a scene, a drawn envelope: a toy, because nothing in it is generated or fitted but the stamp that is pasted."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from utils.errors import CourseError

WIDTH, HEIGHT, STAMP = 480, 300, 96  # pixels
PAPER, INK, EDGE = (250, 244, 230), (70, 70, 90), (190, 180, 160)


def envelope() -> Image.Image:
    """An envelope with lines for an address and an empty place at the top right."""
    page = Image.new("RGB", (WIDTH, HEIGHT), (205, 205, 205))
    draw = ImageDraw.Draw(page)
    draw.rectangle((12, 12, WIDTH - 13, HEIGHT - 13), fill=PAPER, outline=EDGE, width=2)
    for row, length in enumerate((170, 140, 190)):
        draw.line((WIDTH // 2 - 30, 180 + 30 * row, WIDTH // 2 - 30 + length, 180 + 30 * row), fill=EDGE, width=2)
    return page


def perforated(picture: np.ndarray) -> Image.Image:
    """A picture as a stamp of 96 pixels with a white rim and round holes along its edge: RGBA."""
    rim, hole = 9, 4
    stamp = Image.new("RGBA", (STAMP, STAMP), (255, 255, 255, 255))
    inside = STAMP - 2 * rim
    stamp.paste(Image.fromarray(picture).resize((inside, inside), Image.Resampling.NEAREST), (rim, rim))
    ImageDraw.Draw(stamp).rectangle((rim, rim, STAMP - rim - 1, STAMP - rim - 1), outline=(210, 210, 210, 255))
    mask = Image.new("L", stamp.size, 255)
    holes = ImageDraw.Draw(mask)
    for along in np.linspace(0, STAMP, 11):
        for x, y in ((along, 0), (along, STAMP), (0, along), (STAMP, along)):
            holes.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)
    stamp.putalpha(mask)
    return stamp


def on_envelope(picture: np.ndarray) -> np.ndarray:
    """How a stamp would look on a letter, postmark included: (s, s, 3) uint8 -> (300, 480, 3) uint8.

    Raises:
        CourseError: no square picture of three channels in 8 bits.
    """
    if picture.ndim != 3 or picture.shape[0] != picture.shape[1] or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise CourseError(
            f"A stamp is a square picture (s, s, 3) of uint8; this is {picture.shape} of {picture.dtype}."
        )
    page, stamp = envelope(), perforated(picture)
    page.paste(stamp, (WIDTH - STAMP - 30, 30), stamp)
    ink = Image.new("RGBA", page.size, (0, 0, 0, 0))
    draw, x, y = ImageDraw.Draw(ink), WIDTH - STAMP - 60, 95
    colour = (*INK, 150)
    for radius in (34, 26):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=2)
    along = np.arange(0, 110)
    for row in range(4):
        wave = y - 21 + 14 * row + 3 * np.sin(along / 7)
        draw.line([(float(x + 36 + step), float(height)) for step, height in zip(along, wave)], fill=colour, width=2)
    page.paste(ink, (0, 0), ink)
    return np.asarray(page)
