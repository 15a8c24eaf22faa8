"""Room "Which?" (utils/data): read the course's tab-separated tables, and say in one sentence what is wrong and where.

A table is UTF-8 text, one header row, fields separated by tabs, no quoting. In every message the header is row 1, as an
editor or a spreadsheet numbers it.
"""

from __future__ import annotations

import difflib
import gzip
import io
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from utils.errors import CourseError
from utils.files import atomic_path

SPLIT_NAMES = ("train", "valid", "test")
_DRIVE = re.compile(r"^[A-Za-z]:")


def find_table(folder: Path, stem: str) -> Path | None:
    """Return ``stem.tsv`` or ``stem.tsv.gz`` in ``folder``, or None when neither is there.

    Raises:
        CourseError: both are there, so it is unclear which one counts.
    """
    found = [path for path in (folder / f"{stem}.tsv", folder / f"{stem}.tsv.gz") if path.is_file()]
    if len(found) == 2:
        raise CourseError(f"{folder} holds both {stem}.tsv and {stem}.tsv.gz; remove the one that is out of date.")
    return found[0] if found else None


def read_table(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """Read one table with every field as text ("" = missing).

    Args:
        path: a ``.tsv`` or ``.tsv.gz`` file.
        required: the columns that must be there.

    Raises:
        CourseError: damaged file, non-UTF-8 text, rows of another width than the header, a missing required column.
    """
    text = decode(path)
    lines = text.rstrip("\n").split("\n")
    header = lines[0].split("\t")
    _check_header(path, header, required)
    _check_width(path, lines, len(header))
    if len(lines) == 1:
        return pd.DataFrame({name: pd.Series([], dtype=object) for name in header})
    table = pd.read_csv(
        io.StringIO(text.rstrip("\n")),
        sep="\t",
        dtype=str,
        engine="c",
        quoting=3,  # csv.QUOTE_NONE: a quotation mark is a letter like any other
        lineterminator="\n",
        keep_default_na=False,
        na_filter=False,
        skip_blank_lines=False,
        index_col=False,
    )
    return table.astype(object)


def decode(path: Path) -> str:
    """Return the text of a file (``.gz`` unpacked) with line ends as one newline and without a byte order mark.

    Raises:
        CourseError: damaged, empty, unreadable or not UTF-8 (with the row).
    """
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CourseError(f"{path} is not a whole gzip file ({error}); copy or download it again.") from error
    except OSError as error:
        raise CourseError(
            f"Cannot read {path}: {error.strerror or error}; check the path and its permissions."
        ) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        raise CourseError(
            f"{path}, row {row}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file again with UTF-8 encoding."
        ) from error
    if not text.strip():
        raise CourseError(f"{path} is empty; its first row must name the columns.")
    return text.replace("\r\n", "\n")


def _check_header(path: Path, header: list[str], required: tuple[str, ...]) -> None:
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise CourseError(f"{path}, row 1: column {repeated[0]!r} occurs twice; rename or remove one.")
    for name in required:
        if name in header:
            continue
        near = difflib.get_close_matches(name, [column.strip().lower() for column in header], n=1, cutoff=0.7)
        close = [column for column in header if near and column.strip().lower() == near[0]]
        hint = f"rename {close[0]!r} to {name!r}" if close else f"add a column {name!r}"
        separators = " (fields are separated by tabs, not by commas)" if len(header) == 1 and "," in header[0] else ""
        raise CourseError(f"{path}, row 1: the required column {name!r} is missing{separators}; {hint}.")


def _check_width(path: Path, lines: list[str], width: int) -> None:
    fields = np.fromiter((line.count("\t") for line in lines), dtype=np.int64, count=len(lines)) + 1
    wrong = np.flatnonzero(fields != width)
    if len(wrong):
        row, n_fields = int(wrong[0]), int(fields[wrong[0]])
        reason = (
            "replace the tab inside a field by a space"
            if n_fields > width
            else "add the missing fields, empty if unknown"
        )
        raise CourseError(
            f"{path}, row {row + 1}: {n_fields} field{'s' * int(n_fields > 1)}, but the header names {width}; {reason}."
        )


def bad_ids(column: pd.Series) -> np.ndarray:
    """Mark the ids that say nothing: empty, only spaces, or the text of a missing number. Bool, one per row."""
    return column.str.strip().str.lower().isin(["", "nan"]).to_numpy(dtype=bool)


def check_ids(path: Path, table: pd.DataFrame, column: str) -> None:
    """Raise for the first empty or NaN id in ``column``."""
    bad = np.flatnonzero(bad_ids(table[column]))
    if len(bad):
        value = table[column].iloc[bad[0]]
        raise CourseError(f"{path}, row {bad[0] + 2}: the {column} id is {value!r}; write an id or remove the row.")


def to_number(path: Path, table: pd.DataFrame, column: str, whole: bool) -> np.ndarray:
    """Turn a text column into int64 (``whole``) or float64, naming the first row that is no number.

    An empty rating is NaN (not rated); an empty timestamp is an error, because order needs one.
    """
    text = table[column].str.strip()
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(values) & (whole | (text != "").to_numpy(dtype=bool))
    if whole:
        wrong |= np.isfinite(values) & (values != np.floor(values))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        unit = "whole seconds since 1970" if whole else "a number"
        raise CourseError(
            f"{path}, row {row + 2}: {column} {table[column].iloc[row]!r} is not {unit}; correct it or remove the row."
        )
    return values.astype(np.int64) if whole else values


def check_split_column(path: Path, column: pd.Series) -> None:
    """Raise for the first value that is neither train, valid nor test."""
    wrong = np.flatnonzero(~column.isin(SPLIT_NAMES).to_numpy(dtype=bool))
    if len(wrong):
        raise CourseError(
            f"{path}, row {wrong[0] + 2}: split {column.iloc[wrong[0]]!r} is unknown; write train, valid or test."
        )


def path_problem(value: str) -> str:
    """Say what is wrong with a media path as text, or "" when it stays inside the dataset's folder."""
    if "://" in value:
        return "is a web address, not a file; download the file and write its path inside the folder"
    if "\\" in value:
        return "has a backslash; write forward slashes, which work on every system"
    if value.startswith(("/", "~")) or _DRIVE.match(value) or ".." in value.split("/"):
        return "leaves the dataset's folder; copy the file into the folder and write a path relative to it"
    return ""


def check_paths(path: Path, table: pd.DataFrame, column: str) -> None:
    """Raise for the first media path that leaves the folder."""
    for row, value in enumerate(table[column]):
        problem = path_problem(value) if value else ""
        if problem:
            raise CourseError(f"{path}, row {row + 2}: {column} path {value!r} {problem}.")


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table the way :func:`read_table` reads it; tabs and line ends inside a field become spaces.

    A name that ends in ``.gz`` is compressed, without a time stamp, so that the same table gives the same bytes.
    """
    plain = table.copy()
    for name in plain.columns:
        if not pd.api.types.is_numeric_dtype(plain[name].dtype):
            plain[name] = plain[name].astype(str).str.replace(r"[\t\r\n]+", " ", regex=True)
    lines = ["\t".join(map(str, plain.columns))]
    lines += map("\t".join, zip(*(plain[name].map(_field) for name in plain.columns)))
    raw = ("\n".join(lines) + "\n").encode("utf-8")
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(raw, mtime=0) if str(path).endswith(".gz") else raw)


def _field(value: object) -> str:
    """Write whole numbers without a decimal point and missing values as nothing."""
    if isinstance(value, float):
        if np.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() else repr(float(value))
    return str(value)
