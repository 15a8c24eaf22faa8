"""Room "Which?" (utils/data): the rules that the two tables of a course folder must keep, and what a missing column costs.

Each rule stands here once: :func:`utils.data.load_dataset` raises the first error, :mod:`utils.data.report` shows all.
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
    found, names = check_ids(file, table, "item"), table["item"]
    repeated = names.duplicated().to_numpy()
    if found:
        repeated = repeated & ~bad_ids(names)
    found += at_rows(
        file,
        table.index,
        repeated,
        lambda row: (
            f"item {names.iloc[row]!r} occurs a second time; remove or rename one of the two rows, or load with strict=False "
            "to keep the first"
        ),
        lenient=True,
    )
    for column in ("image", "audio"):
        if column in table:
            found += check_paths(file, table, column)
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
    found = check_ids(file, table, "user", lenient=True) + check_ids(file, table, "item", lenient=True)
    names = table["item"]
    if items is not None:
        unknown = ~names.isin(items["item"]).to_numpy(dtype=bool)
        if unknown.any():
            unknown = unknown & ~bad_ids(names)
        found += at_rows(
            file,
            table.index,
            unknown,
            lambda row: (
                f"item {names.iloc[row]!r} is not in the items table; add it to items.tsv, remove the row, or load with "
                "strict=False to leave such rows out"
            ),
            lenient=True,
        )
    typed = table.copy(deep=False)
    for column in UNITS:
        if column in table:
            numbers, more = check_numbers(file, table, column)
            found += more
            if not more:
                typed[column] = numbers
    if "split" in table:
        parts = table["split"]
        wrong = ~parts.isin(SPLIT_NAMES).to_numpy(dtype=bool)
        found += at_rows(
            file, table.index, wrong, lambda row: f"split {parts.iloc[row]!r} is unknown; write train, valid or test"
        )
    found += _missing(file, table, "interactions")
    if "timestamp" in typed and typed["timestamp"].dtype == np.int64 and typed["timestamp"].max() > MILLISECONDS:
        text = f": {len(table):,} timestamps look like milliseconds; divide by 1000 for right dates."
        found.append(Finding("warning", file, text))
    return typed, found


def check_ids(file: str, table: pd.DataFrame, column: str, lenient: bool = False) -> list[Finding]:
    """Report the ids of a column that say nothing."""
    names = table[column]
    words = lambda row: f"the {column} id is {names.iloc[row]!r}; write an id or remove the row"  # noqa: E731
    return at_rows(file, table.index, bad_ids(names), words, lenient=lenient)


def bad_ids(column: pd.Series) -> np.ndarray:
    """Mark the ids that say nothing: empty, only spaces, or the text of a missing number. Bool, one per row."""
    return column.str.strip().str.lower().isin(["", "nan"]).to_numpy(dtype=bool)


def check_numbers(file: str, table: pd.DataFrame, column: str) -> tuple[np.ndarray, list[Finding]]:
    """Turn a text column into float64, or int64 for timestamps, and report what is no number.

    An empty rating is NaN (not rated); an empty timestamp is an error, because order needs one.
    """
    whole = column == "timestamp"
    text = table[column].str.strip()
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(values) & (whole | (text != "").to_numpy(dtype=bool))
    if whole:
        wrong |= np.isfinite(values) & (values != np.floor(values))
    found = at_rows(
        file,
        table.index,
        wrong,
        lambda row: f"{column} {table[column].iloc[row]!r} is not {UNITS[column]}; correct it or remove the row",
    )
    return values.astype(np.int64) if whole and not found else values, found


def check_paths(file: str, table: pd.DataFrame, column: str) -> list[Finding]:
    """Report the paths of pictures or sounds that leave the dataset's folder."""
    values = table[column].tolist()
    problems = [path_problem(value) if value else "" for value in values]
    words = lambda row: f"{column} path {values[row]!r} {problems[row]}"  # noqa: E731
    return at_rows(file, table.index, np.array(list(map(bool, problems))), words)


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
