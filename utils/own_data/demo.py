"""A small simulated shop of painted shapes, to fill a folder of one's own, break it and mend it.

Appendix A1 walks through it. Nothing here is real: pictures are drawn, people are simulated, their tastes are planted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from utils.arrays import read_array, write_array, write_sums
from utils.errors import CourseError
from utils.files import atomic_path, read_json, write_json, write_text

COLOURS = {
    "red": (214, 39, 40), "orange": (255, 140, 20), "yellow": (240, 214, 40), "green": (44, 150, 60),
    "blue": (40, 90, 200), "purple": (130, 70, 180), "brown": (120, 75, 45), "grey": (120, 120, 120),
}  # fmt: skip
SHAPES = ("disc", "square", "triangle", "ring", "star", "cross")
SIZES = {"small": 22, "middling": 30, "large": 38}  # half the width, in pixels of a picture of SIDE
PLACES = ("the kitchen", "the garden", "the office", "a window", "a door", "a suitcase", "a bicycle")
SIDE = 96
COLOUR_TASTE, SHAPE_TASTE, FAME = 2.4, 1.6, 0.7  # weights of the planted tastes, beside Gumbel(1) noise
START, YEAR = 1_700_000_000, 365 * 24 * 3600  # seconds since 1970, seconds


@dataclass(frozen=True)
class Shop:
    """The two tables of the simulated shop and what was planted.

    Attributes:
        items: item, title, description (names the shape, never the colour), category (the shape), image.
        log: user, item, timestamp (seconds since 1970), in the order of time.
        colours: the colour of each item, (n_items,) str, which no table names.
    """

    items: pd.DataFrame
    log: pd.DataFrame
    colours: np.ndarray


def painted_shop(folder: str | Path, seed: int = 0, n_users: int = 300, copies: int = 5) -> Shop:
    """Draw the pictures of a shop into ``folder/images`` and simulate who took what; the tables are returned, not written.

    Each user likes two colours and two shapes. A choice is the sum of both tastes, the item's fame and Gumbel noise.

    Args:
        folder: the course folder that gets the pictures.
        seed: of drawing and choosing.
        n_users: simulated people; each takes 6 to 14 items.
        copies: items of each colour and shape.
    """
    rng = np.random.default_rng(seed)
    kinds = [(colour, shape) for colour in COLOURS for shape in SHAPES for _ in range(copies)]
    kinds = [kinds[i] for i in rng.permutation(len(kinds))]
    names = [str(1001 + i) for i in range(len(kinds))]
    sizes = rng.choice(list(SIZES), len(kinds))
    places = rng.choice(PLACES, len(kinds))
    (Path(folder) / "images").mkdir(parents=True, exist_ok=True)
    for name, (colour, shape), size in zip(names, kinds, sizes):
        _paint(Path(folder) / "images" / f"{name}.png", colour, shape, SIZES[size], rng)
    items = pd.DataFrame(
        {
            "item": names,
            "title": [f"{shape.capitalize()} no. {name}" for name, (_, shape) in zip(names, kinds)],
            "description": [f"A {s} {k[1]} for {place}." for s, k, place in zip(sizes, kinds, places)],
            "category": [shape for _, shape in kinds],
            "image": [f"images/{name}.png" for name in names],
        }
    )
    return Shop(items, _choices(kinds, names, n_users, rng), np.array([colour for colour, _ in kinds]))


def _choices(kinds: list[tuple[str, str]], names: list[str], n_users: int, rng: np.random.Generator) -> pd.DataFrame:
    """Who took what and when: user, item, timestamp."""
    fame = FAME * rng.standard_normal(len(kinds))
    rows = []
    for user in range(n_users):
        colours = rng.choice(list(COLOURS), 2, replace=False)
        shapes = rng.choice(SHAPES, 2, replace=False)
        taste = np.array([COLOUR_TASTE * (c in colours) + SHAPE_TASTE * (s in shapes) for c, s in kinds])
        taken = np.argsort(-(taste + fame + rng.gumbel(size=len(kinds))))[: rng.integers(6, 15)]
        times = START + rng.integers(0, YEAR, len(taken))
        rows += [(f"u{user:03}", names[item], int(time)) for item, time in zip(taken, times)]
    log = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    return log.sort_values(["timestamp", "user", "item"], ignore_index=True)


def _paint(path: Path, colour: str, shape: str, radius: int, rng: np.random.Generator) -> None:
    """One shape on a light ground, a little off the middle and turned."""
    ground = tuple(int(v) for v in rng.integers(236, 256, 3))
    x, y = SIDE / 2 + rng.integers(-6, 7, 2)
    turn = rng.uniform(-0.3, 0.3)
    ink = tuple(int(np.clip(v + rng.integers(-18, 19), 0, 255)) for v in COLOURS[colour])
    picture = Image.new("RGB", (SIDE, SIDE), ground)
    pen = ImageDraw.Draw(picture)
    if shape in ("disc", "ring"):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
        hole = radius * 0.55
        if shape == "ring":
            pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill=ground)
    else:
        pen.polygon(
            [(x + radius * r * np.cos(a + turn), y + radius * r * np.sin(a + turn)) for r, a in _corners(shape)],
            fill=ink,
        )
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        picture.save(stream, format="PNG")


def _corners(shape: str) -> list[tuple[float, float]]:
    """The corners of a shape as (radius, angle), radius 1 = the shape's size."""
    if shape == "star":
        return [((1.0, 0.42)[k % 2], k * np.pi / 5 - np.pi / 2) for k in range(10)]
    if shape == "cross":
        a = 0.32
        right = [
            (1, -a),
            (1, a),
            (a, a),
            (a, 1),
            (-a, 1),
            (-a, a),
            (-1, a),
            (-1, -a),
            (-a, -a),
            (-a, -1),
            (a, -1),
            (a, -a),
        ]
        return [(float(np.hypot(x, y)), float(np.arctan2(y, x))) for x, y in right]
    n = {"square": 4, "triangle": 3}[shape]
    return [(1.0, 2 * np.pi * k / n - np.pi / 2 + (np.pi / 4 if n == 4 else 0)) for k in range(n)]


# ---- breaking a folder on purpose ----


def break_tables(folder: str | Path) -> dict[str, str]:
    """Put five mistakes into the tables of a filled folder, as spreadsheets and careless scripts make them.

    Returns:
        mistake -> words that the report's finding about it must hold.

    Raises:
        CourseError: the folder is not filled with the painted shop.
    """
    folder = Path(folder)
    items, log = (_lines(folder / f"{stem}.tsv") for stem in ("items", "interactions"))
    if len(items) < 30 or len(log) < 30 or "\timages/" not in items[20]:
        raise CourseError(f"{folder} does not hold the painted shop; fill it with painted_shop and write_table first.")
    items[7] = items[7].replace(" no. ", "\tno. ", 1)
    items[20] = items[20].replace("images/", "C:\\pictures\\")
    items.append(items[12])
    for row in (5, 6, 25):
        user, item, *rest = log[row].split("\t")
        log[row] = "\t".join(["", item, *rest] if row == 25 else [user, f"{item}.0", *rest])
    _write(folder / "items.tsv", items)
    _write(folder / "interactions.tsv", log)
    return {
        "a tab in a title": "fields where the header names",
        "a path of one computer": "has a backslash",
        "a row twice": "occurs a second time",
        "ids as decimal numbers": ".0' is not in the items table",
        "a row without a user": "the user id is ''",
    }


def break_contents(folder: str | Path) -> dict[str, str]:
    """Put four mistakes into what the tables point at, none of which a table shows. Features must be there already.

    A picture becomes a page of HTML, a picture disappears, timestamps become milliseconds, and the rows of
    ``features/visual.npy`` move by one with the hashes of their content while ``items.txt`` stays, as when an
    extractor skips an unreadable file and ids are dealt out by position.

    Returns:
        mistake -> words that the report's finding about it must hold.
    """
    folder = Path(folder)
    images, path = sorted((folder / "images").glob("[0-9]*.png")), folder / "features" / "visual.npy"
    if len(images) < 10 or not path.is_file():
        raise CourseError(f"{folder} has no painted pictures or no features/visual.npy; make them first.")
    images[3].write_text("<html>404: not found</html>", encoding="utf-8")
    images[8].unlink()
    log = [line.split("\t") for line in _lines(folder / "interactions.tsv")]
    place = log[0].index("timestamp")
    for row in log[1:]:
        row[place] += "000"
    _write(folder / "interactions.tsv", ["\t".join(row) for row in log])
    matrix = read_array(path)
    write_array(path, np.roll(matrix, 1, axis=0))
    write_sums(path.parent, (path.name,))
    about = read_json(path.with_suffix(".json"))
    write_json(path.with_suffix(".json"), {**about, "content_rows": np.roll(about["content_rows"], 1).tolist()})
    return {
        "a picture that is none": images[3].name,
        "a picture that is gone": images[8].name,
        "times in milliseconds": "look like milliseconds",
        "rows one off": f"features/visual.npy: {len(matrix)} of {len(matrix)} rows",
    }


def caught(planted: dict[str, str], findings: object) -> dict[str, bool]:
    """Say for each planted mistake whether a finding of the report holds its words."""
    said = [str(finding) for finding in findings]
    return {mistake: any(words in line for line in said) for mistake, words in planted.items()}


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise CourseError(f"There is no {path}; fill the folder first.")
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


def _write(path: Path, lines: list[str]) -> None:
    write_text(path, "\n".join(lines) + "\n")
