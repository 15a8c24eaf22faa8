"""Small stamps to learn to draw from: one-hue pictures of a catalogue in eight colours, and what of them is held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from utils.data import Dataset
from utils.data.pictures import open_image
from utils.errors import CourseError
from utils.features.encoders.image import square
from utils.generation.recolour import HUES, dominant_hue, recolour

SIZE = 24  # pixels a side
SMALLEST = 15  # stamps that a category needs
COLOURS = tuple(HUES)


@dataclass(frozen=True, eq=False)
class Stamps:
    """Pictures with their conditions: picture k is stamp ``stamps[k]`` in colour ``hues[k]``.

    Attributes:
        pictures: (n, 3, size, size) float32, -1 = black, 1 = white.
        hues, categories, stamps: (n,) int64, places in COLOURS, in ``names`` and in ``item_ids``.
        names: the categories. item_ids, titles: (n_stamps,) the catalogue's items.
        own: (n_stamps,) int64, the colour that each has in the catalogue.
        held_out: (n_stamps,) bool, the stamps that no generator learns from.
    """

    pictures: torch.Tensor
    hues: torch.Tensor
    categories: torch.Tensor
    stamps: torch.Tensor
    names: tuple[str, ...]
    item_ids: np.ndarray
    titles: list[str]
    own: np.ndarray
    held_out: np.ndarray

    @property
    def size(self) -> int:
        return self.pictures.shape[-1]

    def part(self, held_out: bool) -> Stamps:
        """The pictures of the stamps to learn from, or of those held out; all stamps keep their numbers."""
        rows = torch.as_tensor(self.held_out == held_out)[self.stamps]
        arrays = {name: getattr(self, name)[rows] for name in ("pictures", "hues", "categories", "stamps")}
        return replace(self, **arrays)


def to_tensor(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 pictures (size, size, 3) -> (n, 3, size, size) float32 from -1 to 1."""
    return torch.as_tensor(np.stack(pictures), dtype=torch.float32).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


def to_pictures(images: torch.Tensor) -> np.ndarray:
    """(n, 3, size, size), cut to -1 ... 1, -> (n, size, size, 3) uint8."""
    levels = ((images.detach().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def small(path: str | Path, size: int = SIZE) -> tuple[np.ndarray, tuple[str, float] | None]:
    """A picture on a white square (size, size, 3) uint8, and the hue that it has at full size.

    Raises:
        CourseError: it cannot be read.
    """
    picture = open_image(path)
    return np.asarray(square(picture, size)), dominant_hue(np.asarray(picture))


def hold_out(categories: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw that share of each category, at least one stamp: (n_stamps,) bool."""
    rng, out = np.random.default_rng(seed), np.zeros(len(categories), dtype=bool)
    for category in np.unique(categories):
        rows = np.flatnonzero(categories == category)
        out[rng.permutation(rows)[: max(1, round(share * len(rows)))]] = True
    return out


def load_stamps(dataset: Dataset, size: int = SIZE, share: float = 0.25, seed: int = 0) -> Stamps:
    """Read, shrink and recolour the stamps of one hue in categories (the part before "/") of at least 15 such stamps.

    Args:
        size: pixels a side, a multiple of 8. share, seed: of the stamps that are held out.

    Raises:
        CourseError: a picture that cannot be read, a size that the networks do not take, no category with enough stamps.
    """
    if size < 8 or size % 8:
        raise CourseError(f"Stamps of {size} pixels: the networks halve three times; give a multiple of 8, such as 24.")
    found = []
    for item_id, (image, category) in enumerate(zip(dataset.items["image"], dataset.items["category"])):
        if image and category:
            picture, hue = small(Path(dataset.path) / image, size)
            if hue is not None:
                found.append((item_id, category.split("/")[0], picture, hue))
    count = Counter(category for _, category, _, _ in found)
    names = tuple(sorted(name for name, number in count.items() if number >= SMALLEST))
    if not names:
        raise CourseError(f"No category of {dataset.name} has {SMALLEST} pictures of one hue; nothing can be learned.")
    found = [row for row in found if row[1] in names]
    pictures = [recolour(picture, colour, middle) for _, _, picture, (_, middle) in found for colour in COLOURS]
    own = np.array([COLOURS.index(hue) for _, _, _, (hue, _) in found])
    categories, n, k = np.array([names.index(name) for _, name, _, _ in found]), len(found), len(COLOURS)
    numbers = (np.tile(np.arange(k), n), np.repeat(categories, k), np.repeat(np.arange(n), k))
    item_ids = np.array([item_id for item_id, *_ in found])
    titles = [str(dataset.items["title"].iloc[item_id]) for item_id in item_ids]
    out = hold_out(categories, share, seed)
    return Stamps(to_tensor(pictures), *(torch.as_tensor(part) for part in numbers), names, item_ids, titles, own, out)


def sheet(pictures: np.ndarray, n_columns: int, gap: int = 2) -> Image.Image:
    """Lay (n, size, size, 3) uint8 out in rows of ``n_columns`` on grey, for a first look."""
    n, size = len(pictures), pictures.shape[1]
    step = size + gap
    page = np.full((-(-n // n_columns) * step, n_columns * step, 3), 200, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, n_columns)
        page[row * step : row * step + size, column * step : column * step + size] = picture
    return Image.fromarray(page)
