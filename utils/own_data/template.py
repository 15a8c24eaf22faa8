"""An empty course folder to fill with a dataset of one's own, with its card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from utils.data.folders import build_aside, check_empty
from utils.data.tables import write_table
from utils.files import write_text

EXAMPLE = "example-"  # ids of the template's own rows begin so; the report asks to replace them

CARD = """# {name}

Fill in what is in brackets; whoever uses the folder reads this first.

- **What it is**: [one sentence: which items, which people, which deed counts as an interaction]
- **Source**: [who collected it, where it can be had, its version and date]
- **Licence and terms**: [may it be copied? may results be published? must someone be cited?]
- **People**: [are the users people? was anything removed or made anonymous? what must nobody try?]
- **How it was made**: [filters, k-core, what was dropped and why; the command or script]
- **Known limits**: [who is missing, what is measured badly, what must not be concluded]

| | |
|---|---|
| users | [count] |
| items | [count] |
| interactions | [count] |
| items with picture / text / sound | [counts] |

## The format

- `interactions.tsv`: columns `user`, `item`; if you have them `rating`, `timestamp` (seconds since 1970), `review`, and
  `split` (train, valid or test). Fields are separated by tabs; a tab inside a text becomes a space; UTF-8. Nothing is
  quoted: `write_table(path, frame)` of `utils.data` writes a DataFrame so, `to_csv` puts quotation marks around some fields.
- `items.tsv`: column `item`; if you have them `title`, `description`, `category`, `image`, `audio`. Paths are relative
  to this folder; an empty field is a missing modality. Ids are text.
- Features of your own: `features/visual.npy` (or `textual`, `audio`), one row per item, and `features/items.txt` with
  the item id of each row.

`python -m utils.data check {folder}` lists everything that is wrong at once, and says which notebooks run.
`make course DATASET={folder}` runs them.
"""


def new_folder(target: str | Path) -> Path:
    """Make a course folder with a card and a few example rows that load as they are.

    Args:
        target: the folder to make; it must be new or empty.

    Returns:
        ``target``.

    Raises:
        CourseError: the folder holds something already.
    """
    target = check_empty(target)
    with build_aside(target) as new:
        _fill(new)
        write_text(new / "README.md", CARD.format(name=new.name, folder=target.as_posix()))
    return target


def _fill(folder: Path) -> None:
    """Write four example items with pictures, and twelve interactions."""
    (folder / "images").mkdir()
    kinds = [("red", "disc"), ("red", "square"), ("blue", "disc"), ("blue", "square")]
    for colour, shape in kinds:
        _draw(folder / "images" / f"{EXAMPLE}{colour}-{shape}.png", colour, shape)
    items = [f"{EXAMPLE}{colour}-{shape}" for colour, shape in kinds]
    table = pd.DataFrame(
        {
            "item": items,
            "title": [f"{colour} {shape}".capitalize() for colour, shape in kinds],
            "description": [f"A {shape} painted {colour}." for colour, shape in kinds],
            "category": [shape for _, shape in kinds],
            "image": [f"images/{item}.png" for item in items],
            "audio": "",
        }
    )
    write_table(folder / "items.tsv", table)
    users = np.repeat([f"{EXAMPLE}{name}" for name in ("ann", "ben", "cat", "dan")], 3)
    chosen = [items[i] for i in (0, 1, 2, 1, 0, 3, 2, 3, 0, 3, 2, 1)]
    log = pd.DataFrame({"user": users, "item": chosen, "rating": 5, "timestamp": 1_700_000_000 + 3600 * np.arange(12)})
    log["review"] = ""
    write_table(folder / "interactions.tsv", log)


def _draw(path: Path, colour: str, shape: str) -> None:
    """A square picture with one painted shape."""
    picture = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(picture)
    (pen.ellipse if shape == "disc" else pen.rectangle)((12, 12, 52, 52), fill=colour)
    picture.save(path)
