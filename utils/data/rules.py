"""The rules that the two tables of a course folder must keep, and what a missing column costs.

Each rule stands here once: :func:`utils.data.load_dataset` raises the first error, :mod:`utils.own_data.report` shows all.
A table comes as :func:`utils.data.tables.scan_table` reads it: text, its index = the row numbers of the file.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from utils.data.dataset import ITEM_COLUMNS, NO_TEXT
from utils.data.tables import SPLIT_NAMES, Finding, at_rows

KEY = {"items": ("item",), "interactions": ("user", "item")}
OPTIONAL = {"items": ITEM_COLUMNS, "interactions": ("rating", "timestamp", "review", "split")}
UNITS = {"rating": "a number", "timestamp": "whole seconds since 1970"}
MILLISECONDS = 100_000_000_000  # as seconds this is the year 5138
COST = {
    "rating": "every interaction counts the same",
    "timestamp": "temporal splits are not possible, and leave-one-out holds out interactions at random",
    "review": "models of reviews on edges are not possible",
    "split": 'the strategy "given" is not possible',
    "title": "lists show item ids instead of names",
    "description": "the textual modality falls back on titles",
    "category": "neighbours cannot be judged by category",
    "image": "there is no visual modality from raw pictures",
    "audio": "there is no audio modality from raw sounds",
}
_DRIVE = re.compile(r"^[A-Za-z]:")


def check_items(file: str, table: pd.DataFrame) -> list[Finding]:
    """Judge items.tsv: ids, repeats, paths of pictures and sounds; then what is missing."""
    if table.empty:
        return [Finding("error", file, " names no item; it needs one row per item below the header.")]
    found = check_ids(file, table["item"])
    repeated = table["item"][table["item"].duplicated()]
    words = "item {!r} occurs a second time; remove or rename one of the two rows, or load with strict=False to keep the first"
    found += at_rows(file, repeated, ~bad_ids(repeated), words, lenient=True)
    for column in ("image", "audio"):
        if column in table:
            found += check_paths(file, table[column])
    return found + _missing(file, table, "items") + _empty_texts(file, table)


def check_interactions(
    file: str, table: pd.DataFrame, items: pd.DataFrame | None
) -> tuple[pd.DataFrame, list[Finding]]:
    """Judge interactions.tsv: ids, that the items are known (unless ``items`` is None), numbers, split.

    Returns:
        The table with numbers in the place of texts, as far as they are numbers, and the findings.
    """
    if table.empty:
        return table, [Finding("error", file, " has a header but no interaction; it needs one row per user and item.")]
    found = check_ids(file, table["user"], lenient=True) + check_ids(file, table["item"], lenient=True)
    if items is not None:
        unknown = table["item"][~table["item"].isin(items["item"])]
        words = (
            "item {!r} is not in the items table; add it to items.tsv, remove the row, or load with strict=False to leave "
            "such rows out"
        )
        found += at_rows(file, unknown, ~bad_ids(unknown), words, lenient=True)
    typed = table.copy(deep=False)
    for column in UNITS:
        if column in table:
            numbers, more = check_numbers(file, table[column])
            found += more
            if not more:
                typed[column] = numbers
    if "split" in table:
        words = "split {!r} is unknown; write train, valid or test"
        found += at_rows(file, table["split"], ~table["split"].isin(SPLIT_NAMES), words)
    found += _missing(file, table, "interactions")
    if "timestamp" in typed and typed["timestamp"].dtype == np.int64 and typed["timestamp"].max() > MILLISECONDS:
        text = f": {len(table):,} timestamps look like milliseconds; divide by 1000 for right dates."
        found.append(Finding("warning", file, text))
    return typed, found


def check_ids(file: str, column: pd.Series, lenient: bool = False) -> list[Finding]:
    """Report the empty and missing ids of a column."""
    words = f"the {column.name} id is {{!r}}; write an id or remove the row"
    return at_rows(file, column, bad_ids(column), words, lenient)


def bad_ids(column: pd.Series) -> np.ndarray:
    """Mark missing ids: empty, only spaces, or the text "nan". Bool, one per row."""
    return column.str.strip().str.lower().isin(["", "nan"]).to_numpy(dtype=bool)


def check_numbers(file: str, column: pd.Series) -> tuple[np.ndarray, list[Finding]]:
    """Turn the text of ratings into float64, of timestamps into int64, and report what is no number.

    An empty rating is NaN (not rated); an empty timestamp is an error, because order needs one.
    """
    whole = column.name == "timestamp"
    text = column.str.strip()
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(values) & (whole | (text != "").to_numpy(dtype=bool))
    if whole:
        wrong |= np.isfinite(values) & (values != np.floor(values))
    words = f"{column.name} {{!r}} is not {UNITS[column.name]}; correct it or remove the row"
    found = at_rows(file, column, wrong, words)
    return values.astype(np.int64) if whole and not found else values, found


def check_paths(file: str, column: pd.Series) -> list[Finding]:
    """Report the paths of pictures or sounds that leave the dataset's folder."""
    problems = [path_problem(value) if value else "" for value in column]
    first = next(filter(None, problems), "")
    return at_rows(file, column, list(map(bool, problems)), f"{column.name} path {{!r}} {first}")


def path_problem(value: str) -> str:
    """Say what is wrong with a media path as text, or "" when it stays inside the dataset's folder."""
    if "://" in value:
        return "is a web address, not a file; download the file and write its path inside the folder"
    if "\\" in value:
        return "has a backslash; write forward slashes, which work on every system"
    if value.startswith(("/", "~")) or _DRIVE.match(value) or ".." in value.split("/"):
        return "leaves the dataset's folder; copy the file into the folder and write a path relative to it"
    return ""


def _missing(file: str, table: pd.DataFrame, stem: str) -> list[Finding]:
    """Say what each optional column that a table lacks costs."""
    lacking = [name for name in OPTIONAL[stem] if name not in table]
    return [Finding("note", file, f" has no column {name!r}: {COST[name]}.") for name in lacking]


def _empty_texts(file: str, items: pd.DataFrame) -> list[Finding]:
    """Say how many descriptions are empty, and whether a title stands in."""
    if "description" not in items:
        return []
    empty = (items["description"].str.strip() == "").to_numpy(dtype=bool)
    titled = (items["title"].str.strip() != "").to_numpy(dtype=bool) if "title" in items else np.zeros_like(empty)
    found = []
    for rows, cost in ((empty & titled, "the title stands in"), (empty & ~titled, NO_TEXT)):
        if rows.any():
            first = items.index[np.argmax(rows)]
            words = f" has {rows.sum()} empty description{'s' * int(rows.sum() > 1)} (first: row {first}): {cost}; "
            found.append(Finding("note", file, words + "write one, or leave it missing."))
    return found
