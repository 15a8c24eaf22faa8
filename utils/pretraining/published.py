"""Read sequences that are published ready-made, as those behind the tables of S3-Rec and TIGER."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.errors import CourseError
from utils.pretraining.sequences import Sequences
from utils.pretraining.subsets import from_lists


def read_sequences(path: str | Path) -> Sequences:
    """Read sequences that are published ready-made: a line for each user, its number and then its items, oldest first.

    Users and items count from 1 in the file and from 0 here. The file says nothing of times, and so nothing of ties.

    Args:
        path: the file, packed (.gz) or not, or a folder that holds ``sequences.txt.gz``.

    Raises:
        CourseError: no file, a line that is not whole numbers from 1 on, users out of order, or no user with three items.
    """
    path = Path(path)
    path = path / "sequences.txt.gz" if path.is_dir() else path
    if not path.is_file():
        raise CourseError(f"There is no file {path}; give the folder that holds sequences.txt.gz, or the file itself.")
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as stream:
        lines = [line.split() for line in stream if line.strip()]
    for number, words in enumerate(lines, start=1):
        if len(words) < 2 or not all(word.isdecimal() and int(word) for word in words) or int(words[0]) != number:
            raise CourseError(
                f"{path}, line {number}: expected the user's number, {number}, and then item numbers from 1 on; "
                "repair the line or download the file again."
            )
    items = np.array([int(word) - 1 for words in lines for word in words[1:]], dtype=np.int64)
    counts = np.array([len(words) - 1 for words in lines], dtype=np.int64)
    return from_lists(items, counts, int(items.max(initial=-1)) + 1, path.name)


def read_item_names(folder: str | Path, n_items: int) -> np.ndarray:
    """Read the articles' names (ASINs) beside such a file: (n_items,) str, row = item_id.

    Raises:
        CourseError: ``names.json.gz`` is not there, or it does not name every item.
    """
    path = Path(folder) / "names.json.gz"
    if not path.is_file():
        raise CourseError(f"There is no file {path}, which names the items; put it beside sequences.txt.gz.")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        named = {int(number) - 1: name for name, number in json.load(stream)["item2id"].items()}
    missing = [item for item in range(n_items) if item not in named]
    if missing:
        raise CourseError(f"{path} does not name item {missing[0] + 1}; take both files from the same publisher.")
    return np.array([named[item] for item in range(n_items)])


def rising_share(sequences: Sequences, names: np.ndarray | None = None) -> float:
    """Share (0 to 1) of the steps to an item that stands later in the catalogue; one half if the catalogue plays no part.

    Args:
        names: (n_items,) what orders the catalogue, for example article numbers; by default the item_ids do.
    """
    place = np.arange(sequences.n_items) if names is None else np.unique(names, return_inverse=True)[1]
    inside = np.ones(len(sequences.items) - 1, dtype=bool)
    inside[sequences.starts[1:-1] - 1] = False  # from the last item of a user to the first of the next
    return float((np.diff(place[sequences.items]) > 0)[inside].mean())


def read_item_attributes(folder: str | Path, n_items: int) -> list[str]:
    """Read brand and categories of each item beside such a file, as one line of text: n_items strings, row = item_id.

    These are all the words there are: the publisher's sequences come without titles.

    Raises:
        CourseError: ``item2attributes.json.gz`` or ``names.json.gz`` is not there.
    """
    found = {}
    for name in ("item2attributes.json.gz", "names.json.gz"):
        path = Path(folder) / name
        if not path.is_file():
            raise CourseError(
                f"There is no file {path}, which says what the items are; put it beside sequences.txt.gz."
            )
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            found[name] = json.load(stream)
    words = found["names.json.gz"]["id2attribute"]
    numbers = (found["item2attributes.json.gz"].get(str(item + 1), []) for item in range(n_items))
    return [", ".join(words[str(number)] for number in one) for one in numbers]


def attribute_table(texts: Sequence[str]) -> np.ndarray:
    """Write lines of attributes, "Brand, Category, ...", as a table: (n_items, n_attributes) float32, rows = items.

    Where an item has an attribute stands log(n_items / items that have it), so that a rare one says more; 0 elsewhere.
    """
    words = [set(text.split(", ")) - {""} for text in texts]
    columns = {word: place for place, word in enumerate(sorted(set().union(*words)))}
    table = np.zeros((len(words), len(columns)), dtype=np.float32)
    for item, own in enumerate(words):
        table[item, [columns[word] for word in own]] = 1
    return table * np.log(len(words) / np.maximum(table.sum(axis=0), 1)).astype(np.float32)
