"""Read the course's tab-separated tables, and say in one sentence what is wrong and where.

A table is UTF-8 text, one header row, fields separated by tabs, no quoting. In every message the header is row 1, as an
editor or a spreadsheet numbers it.
"""

from __future__ import annotations

import difflib
import gzip
import io
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from utils.errors import CourseError
from utils.files import atomic_path

SPLIT_NAMES = ("train", "valid", "test")
_QUOTED = re.compile(r'"(?:[^"\t\n]|"")*""(?:[^"\t\n]|"")*"')  # a field as pandas and spreadsheets quote it
_SEPARATORS = {";": "semicolons", ",": "commas", "|": "bars", "::": "two colons", " ": "blanks"}
MAX_RATIO = 50  # of a gzipped table, which is held in memory as a whole: real logs shrink three to twelve times
FEW = 3  # rows or files that a sentence names; the rest is counted


def find_table(folder: Path, stem: str) -> Path | None:
    """Return ``stem.tsv`` or ``stem.tsv.gz`` in ``folder``, or None when neither is there.

    Raises:
        CourseError: both are there, so it is unclear which one counts.
    """
    found = [path for path in (folder / f"{stem}.tsv", folder / f"{stem}.tsv.gz") if path.is_file()]
    if len(found) == 2:
        raise CourseError(f"{folder} holds both {stem}.tsv and {stem}.tsv.gz; remove the one that is out of date.")
    return found[0] if found else None


@dataclass(frozen=True)
class Finding:
    """One thing to know about a folder; printed as a sentence.

    Attributes:
        severity: "error" (the course cannot read it), "warning" (it can, and it may mislead) or "note" (what is missing).
        file: its name inside the folder, or "" where the text names it.
        text: what is wrong, and the remedy; it goes on after the file and the rows.
        rows: the rows of the file that break the rule; the header is row 1.
        lenient: ``load_dataset(strict=False)`` leaves such rows out.
    """

    severity: str
    file: str
    text: str
    rows: tuple[int, ...] = ()
    lenient: bool = False

    @property
    def tail(self) -> str:
        """What stands after the file: the rows (the first three by number), what is wrong, and the remedy."""
        rows = f", row{'s' * (len(self.rows) > 1)} {some(self.rows)}" if self.rows else ""
        return f"{rows}{self.text}"

    def __str__(self) -> str:
        return f"{self.severity}: {self.file}{self.tail}"


def some(names: Iterable[object]) -> str:
    """Name the first three of several rows, files or items, and count the rest."""
    names = list(names)
    return ", ".join(map(str, names[:FEW])) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


def at_rows(file: str, column: pd.Series, wrong: ArrayLike, words: str, lenient: bool = False) -> list[Finding]:
    """One error for all rows that break the same rule, none when no row does.

    Args:
        column: (n,) values, its index = the row numbers of the file. wrong: (n,) bool.
        words: what is wrong, and the remedy; ``{!r}`` stands for the first wrong value.
    """
    bad = column[np.asarray(wrong, dtype=bool)]
    if bad.empty:
        return []
    first = bad.iloc[0]
    first = f"{first[:60]}..." if isinstance(first, str) and len(first) > 80 else first
    return [Finding("error", file, f": {words.format(first)}.", tuple(bad.index.tolist()), lenient)]


def raise_first(found: Iterable[Finding], folder: Path, strict: bool = True) -> None:
    """Raise the first error as a sentence with the file's path; with ``strict=False`` the lenient ones pass."""
    for finding in found:
        if finding.severity == "error" and (strict or not finding.lenient):
            raise CourseError(f"{folder / finding.file if finding.file else ''}{finding.tail}")


def scan_table(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> tuple[pd.DataFrame | None, list[Finding]]:
    """Read one table with every field as text ("" = missing), and list what is wrong with its form.

    Args:
        path: a ``.tsv`` or ``.tsv.gz`` file.
        required: the columns that must be there.
        optional: columns that are read when they are there; a name close to one of them is a warning.

    Returns:
        The rows that have as many fields as the header, by their number in the file (index 2, 3, ...); None when the
        header or the file cannot be read.
    """
    try:
        text = decode(path).rstrip("\n")
    except CourseError as error:
        return None, [Finding("error", "", str(error))]
    lines = text.split("\n")
    header = lines[0].split("\t")
    found = _form(path.name, lines, required) or _header(path.name, header, required, optional)
    if any(finding.severity == "error" for finding in found):
        return None, found
    fields = np.fromiter((line.count("\t") for line in lines), dtype=np.int64, count=len(lines)) + 1
    wrong = fields != len(header)
    if wrong.any():
        found += at_rows(path.name, pd.Series(fields, np.arange(len(lines)) + 1), wrong, _width(fields, len(header)))
        lines = [line for line, bad in zip(lines, wrong) if not bad]
        text = "\n".join(lines)
    found += _quoting(path.name, lines, np.flatnonzero(~wrong) + 1)
    if len(lines) == 1:
        return pd.DataFrame({name: pd.Series([], dtype=object) for name in header}), found
    table = pd.read_csv(
        io.StringIO(text),
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
    return table.astype(object).set_axis(np.flatnonzero(~wrong)[1:] + 1), found


def _header(file: str, header: list[str], required: tuple[str, ...], optional: tuple[str, ...]) -> list[Finding]:
    """Repeated, missing and misspelt columns."""
    twice = sorted({name for name in header if header.count(name) > 1})
    found = [Finding("error", file, f": column {name!r} occurs twice; rename or remove one.", (1,)) for name in twice]
    plain = {column.strip().lower(): column for column in reversed(header)}
    for name in required:
        if name not in header:
            near = difflib.get_close_matches(name, plain, n=1, cutoff=0.7)
            hint = f"rename {plain[near[0]]!r} to {name!r}" if near else f"add a column {name!r}"
            text = f": the required column {name!r} is missing; {hint}."
            found.append(Finding("error", file, text, (1,)))
    known = (*required, *optional)
    for column in header:
        if column not in known and not column.startswith("description_"):
            near = difflib.get_close_matches(column.strip().lower(), known, n=1, cutoff=0.75)
            if near and near[0] not in header:
                text = f": column {column!r} is not read; did you mean {near[0]!r}?"
                found.append(Finding("warning", file, text, (1,)))
    return found


def _form(file: str, lines: list[str], required: tuple[str, ...]) -> list[Finding]:
    """What keeps the first row from being a header of tabs: another separator, old line ends, data in its place."""
    first = lines[0]
    if len(lines) == 1 and "\r" in first:
        text = ": its lines end as on old Macintosh computers (a carriage return alone); save it again with line feeds."
        return [Finding("error", file, text, (1,))]
    fields = [field.strip().strip('"').strip().lower() for field in re.split(r"\t|::|[;,|]| +", first)]
    if "\t" not in first:
        for separator, words in _SEPARATORS.items():
            others = [line for line in lines[1:11] if separator in line]
            if separator in first and (len(others) == len(lines[1:11]) or len(set(required) & set(fields)) > 1):
                text = (
                    f": the required column {required[0]!r} is missing: fields are separated by tabs, not by {words}; save "
                    "the table with tabs, or bring it in with `python -m utils.data convert csv`"
                )
                text += "." if set(required) <= set(fields) else f", whose header must name {' and '.join(required)}."
                return [Finding("error", file, text, (1,))]
    if "\t" in first and all(re.fullmatch('".+"', field) for field in first.split("\t")):
        text = (
            ": every name is between quotation marks, and here a quotation mark is a letter like any other; write the table "
            "with write_table() of utils.data, which quotes nothing."
        )
        return [Finding("error", file, text, (1,))]
    names = [field.strip().lower() for field in first.split("\t")]
    near = any(difflib.get_close_matches(name, names, n=1, cutoff=0.7) for name in required)
    if len(names) >= len(required) > 1 and not near and any(re.fullmatch(r"-?\d+(?:\.\d+)?", name) for name in names):
        text = f": row 1 looks like data ({some(map(repr, first.split(chr(9))))}); a header is needed that names the columns, such as {' and '.join(required)}."  # fmt: skip
        return [Finding("error", file, text, (1,))]
    return []


def _quoting(file: str, lines: list[str], numbers: np.ndarray) -> list[Finding]:
    """Warn of fields that pandas or a spreadsheet quoted: here a quotation mark is a letter like any other."""
    bad = [int(n) for n, line in zip(numbers, lines) if '""' in line and any(map(_QUOTED.fullmatch, line.split("\t")))]
    if not bad:
        return []
    text = (
        ": fields are quoted as pandas and spreadsheets do it, and are read with these quotation marks; write the table "
        "with write_table() of utils.data, which quotes nothing."
    )
    return [Finding("warning", file, text, tuple(bad))]


def _width(fields: np.ndarray, width: int) -> str:
    first = fields[fields != width][0]
    many = "replace the tab inside a field by a space"
    few = "add the missing fields, empty if unknown, or replace the line break inside a field by a space"
    return f"{first} field{'s' * int(first > 1)} where the header names {width}; {many if first > width else few}"


def decode(path: Path) -> str:
    """Return the text of a file (``.gz`` unpacked) with line ends as one newline and without a byte order mark.

    Raises:
        CourseError: damaged, empty, unreadable or not UTF-8 (with the row).
    """
    from utils.network.archives import open_gzip  # here, not above: most logs are read without it

    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            with open_gzip(path, MAX_RATIO) as stream:  # which refuses to unpack without bound
                raw = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        page = ": it is a web page, not the file" if raw.lstrip()[:1] == b"<" else f" ({error})"
        raise CourseError(f"{path} is not a whole gzip file{page}; copy or download it again.") from error
    except OSError as error:
        raise CourseError(
            f"Cannot read {path}: {error.strerror or error}; check the path and its permissions."
        ) from error
    if raw[:2] == b"\x1f\x8b":
        how = "gzipped twice; unpack it once" if path.suffix == ".gz" else "a gzip file; add .gz to its name"
        raise CourseError(f"{path} is {how}.")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise CourseError(f"{path} is UTF-16, as some spreadsheets write it; save the file again with UTF-8 encoding.")
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


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table the way :func:`scan_table` reads it; tabs and line ends inside a field become spaces.

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
