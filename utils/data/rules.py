"""The rules that the two tables of a course folder must keep, and what a missing column costs.

Each rule stands here once: :func:`utils.data.load_dataset` raises the first error, :mod:`utils.own_data.report` shows all.
A table comes as :func:`utils.data.tables.scan_table` reads it: text, its index = the row numbers of the file.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from utils.data.tables import SPLIT_NAMES, Finding, at_rows

ITEM_COLUMNS = ("title", "description", "category", "image", "audio")
NO_TEXT = "such an item has no text"
KEY = {"items": ("item",), "interactions": ("user", "item")}
OPTIONAL = {"items": ITEM_COLUMNS, "interactions": ("rating", "timestamp", "review", "split")}
UNITS = {"rating": "a number", "timestamp": "whole seconds since 1970"}
# Above these, a time is no longer in seconds: as seconds, the first is the year 5138.
TIME_UNITS = ((10**17, "nanoseconds", 10**9), (10**14, "microseconds", 10**6), (10**11, "milliseconds", 1000))
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
        known = set(items["item"])
        for why, rows in _near_misses(unknown[~bad_ids(unknown)], known).items():
            words = (
                f"item {{!r}} is not in the items table{why}; add it to items.tsv, remove the row, or load with "
                "strict=False to leave such rows out"
            )
            found += at_rows(file, rows, np.ones(len(rows), dtype=bool), words, lenient=True)
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
    if "timestamp" in typed and typed["timestamp"].dtype == np.int64:
        found += _times(file, table["timestamp"], typed["timestamp"].to_numpy())
    return typed, found


def time_unit(times: np.ndarray) -> tuple[str, int]:
    """The unit that the largest of some times speaks for, and how many of it make a second."""
    largest = np.abs(times).max(initial=0)
    return next(((unit, size) for least, unit, size in TIME_UNITS if largest > least), ("seconds", 1))


def dates_to_seconds(column: pd.Series) -> np.ndarray | None:
    """Seconds since 1970 (n,) of a column whose every text is a date written as eight digits, 20140501; else None."""
    text = column.astype(str).str.strip()
    if column.empty or not text.str.fullmatch(r"(?:19|20)\d{6}").all():
        return None
    days = pd.to_datetime(text, format="%Y%m%d", errors="coerce", utc=True)
    return None if days.isna().any() else seconds_of(days)


def seconds_of(days: pd.Series) -> np.ndarray:
    """Whole seconds since 1970 of a column of dates, (n,) int64."""
    zero = pd.Timestamp(0, tz="UTC") if days.dt.tz is not None else pd.Timestamp(0)
    return ((days - zero) // pd.Timedelta(seconds=1)).to_numpy(dtype=np.int64)


def _times(file: str, column: pd.Series, times: np.ndarray) -> list[Finding]:
    """Warn of whole numbers that are no seconds since 1970."""
    unit, size = time_unit(times)
    if size > 1:
        text = f": {len(times):,} timestamps look like {unit}; divide by {size} for right dates."
        return [Finding("warning", file, text)]
    if dates_to_seconds(column) is not None:
        text = (
            f": {len(times):,} timestamps such as {column.iloc[0]} look like dates, year month day; as seconds they all "
            "lie in 1970: convert them with pandas.to_datetime(column, format='%Y%m%d')."
        )
        return [Finding("warning", file, text)]
    zero = int((times == 0).sum())
    if zero and times.max() > 100_000_000:
        text = (
            f": {zero:,} timestamps are 0, which is the first second of 1970; find these times, or leave the rows out."
        )
        return [Finding("warning", file, text)]
    return []


# How programs change an id on its way, and what to say about the first id that is known once the change is undone.
_CHANGES = (
    (str.strip, "without the blanks around it it is there: write it without"),
    (lambda text: text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text, "without .0 it is there: ids became decimal numbers, read them as text"),
    (lambda text: text.strip('"'), "without its quotation marks it is there: write the table without them"),
    (lambda text: text.lstrip("0") or "0", "without its zeros in front it is there: read ids as text everywhere"),
    (lambda text: text.lower(), "in small letters it is there: write ids alike"),
)  # fmt: skip


def _near_misses(unknown: pd.Series, known: set[str]) -> dict[str, pd.Series]:
    """Sort unknown ids by what made them unknown: half a sentence ("" = nothing known) -> those ids."""
    if unknown.empty:
        return {}
    reasons = dict.fromkeys(unknown, "")
    for undo, words in _CHANGES:
        undone = {undo(name) for name in known}
        for name in [name for name, reason in reasons.items() if not reason]:
            if undo(name) in undone:
                reasons[name] = f" ({words})"
    why = unknown.map(reasons)
    return {reason: unknown[why == reason] for reason in dict.fromkeys(why)}


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
    found = []
    for kind, hint in _kinds_of_times(text, wrong) if whole else _kinds_of_ratings(text, wrong):
        words = f"{column.name} {{!r}} is not {UNITS[column.name]}; {hint}"
        found += at_rows(file, column, kind, words)
    return values.astype(np.int64) if whole and not found else values, found


def _kinds_of_ratings(text: pd.Series, wrong: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """Sort what is no number by its remedy: (n,) bool, and what to do."""
    comma = wrong & text.str.fullmatch(r"-?\d+,\d+").to_numpy(dtype=bool)
    return [(comma, "write a point for the decimal comma"), (wrong & ~comma, "correct it or remove the row")]


def _kinds_of_times(text: pd.Series, wrong: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """Sort what is no time by its remedy: (n,) bool, and what to do."""
    iso = wrong & text.str.match(r"\d{4}-\d{1,2}-\d{1,2}").to_numpy(dtype=bool)
    other = wrong & text.str.match(r"\d{1,2}[./-]\d{1,2}[./-]\d{4}").to_numpy(dtype=bool)
    convert = "write pandas.to_datetime(column, format={}, utc=True).map(lambda day: int(day.timestamp())) in place of the dates"
    return [
        (iso, convert.format('"ISO8601"')),
        (other, convert.format('"%d.%m.%Y"') + ", with the format that yours have"),
        (wrong & ~iso & ~other, "correct it or remove the row"),
    ]


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
