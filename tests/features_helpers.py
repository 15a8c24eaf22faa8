"""A small course folder drawn on the spot, for the tests of utils/features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from utils.data import Dataset, load_dataset
from utils.features.layouts import row_id

COLOURS = [(220, 40, 40), (40, 160, 60), (50, 80, 220), (230, 200, 40)]
NOUNS = ["apple", "boat", "cat", "drum", "engine", "flower", "glove", "horse", "island", "jacket", "kite", "lamp"]


def draw(path: Path, number: int, size: tuple[int, int] = (96, 64)) -> None:
    """A picture that no other number has: coloured shapes on white."""
    rng = np.random.default_rng(number)
    image = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = rng.integers(0, size[0] - 30), rng.integers(0, size[1] - 30)
        pen.ellipse((x, y, x + rng.integers(10, 30), y + rng.integers(10, 30)), fill=COLOURS[number % 4])
    image.save(path)


def make_folder(
    folder: Path, n_items: int = 12, no_image: tuple[int, ...] = (3,), no_text: tuple[int, ...] = (5,)
) -> Path:
    """items.tsv, interactions.tsv and images/; item ids are letters, so that no position is taken for an id."""
    (folder / "images").mkdir(parents=True)
    lines = ["item\ttitle\tdescription\tdescription_it\tcategory\timage"]
    names = [f"item-{chr(ord('z') - i)}" for i in range(n_items)]
    for i, name in enumerate(names):
        image = "" if i in no_image else f"images/{i}.png"
        if image:
            draw(folder / image, i)
        noun = NOUNS[i % 12]
        text = "" if i in no_text else f"A {noun}" + " that is quite unlike every other one" * (i % 3) + "."
        lines.append(f"{name}\t\t{text}\t{'Una cosa ' + noun if text else ''}\tkind{i % 2}\t{image}")
    (folder / "items.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = [f"u{u}\t{names[(u + k) % n_items]}" for u in range(6) for k in range(3)]
    (folder / "interactions.tsv").write_text("user\titem\n" + "\n".join(pairs) + "\n", encoding="utf-8")
    return folder


def make_dataset(folder: Path, **options: object) -> Dataset:
    """Write the folder and load it."""
    return load_dataset(str(make_folder(folder, **options)))


def read_files(folder: Path, names: list[str], pair: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of ``<id>.npy`` files by id, (n, dim) with zeros for a missing file, and which of the n are there."""
    found = {row_id(path.stem, pair): np.load(path).reshape(-1) for path in folder.glob("*.npy")}
    dim = len(next(iter(found.values())))
    rows = [found.get(str(name), np.zeros(dim, np.float32)) for name in names]
    return np.stack(rows), np.array([str(name) in found for name in names])
