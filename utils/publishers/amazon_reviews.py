"""Read an Amazon review file of 2018 as published (JSON lines with HTML and repetitions) for open challenge 2.2."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from utils.data import Dataset, assemble, strip_markup
from utils.errors import CourseError
from utils.network.archives import lines_of


def read_amazon_reviews(path: str | Path) -> Dataset:
    """Read an Amazon 2018 review file (JSON lines, gzip) as a dataset of users, items, ratings, times and reviews.

    HTML is stripped; items have no content here. A repeated (user, item) pair stays for the split to count once.

    Raises:
        CourseError: no such file, or a line that is no review (file and line are named).
    """
    path = Path(path)
    if not path.is_file():
        raise CourseError(f"There is no file {path}; give an Amazon 2018 review file such as Gift_Cards_5.json.gz.")
    rows = []
    try:
        for number, line in lines_of(path):  # which refuses to unpack without bound
            try:
                one = json.loads(line)
                text = str(one.get("reviewText") or "").strip()
                rows.append((one["reviewerID"], one["asin"], float(one["overall"]), int(one["unixReviewTime"]), text))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
                raise CourseError(f"{path}, line {number}: this is no review ({error}); get the file again.") from None
    except OSError as error:
        raise CourseError(f"Cannot read {path}: {error}; get the file again.") from error
    table = pd.DataFrame(rows, columns=["user", "item", "rating", "timestamp", "review"])
    table["review"] = [strip_markup(text) for text in table["review"]]
    items = pd.DataFrame({"item": sorted(table["item"].unique())})
    items[["title", "description", "category", "image", "audio"]] = ""
    name = path.name.removesuffix(".json.gz").removesuffix("_5").lower()
    return assemble(name, path.parent, items, table)
