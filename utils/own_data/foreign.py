"""Read the tables and matrices of other people's folders, and write a course folder of them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.arrays import read_array, write_array, write_sums
from utils.data.rules import (
    bad_ids,
    check_ids,
    check_items,
    check_numbers,
    dates_to_seconds,
    path_problem,
    seconds_of,
    time_unit,
)
from utils.data.tables import SPLIT_NAMES, Finding, at_rows, decode, raise_first, some, write_table
from utils.errors import CourseError
from utils.files import atomic_path, read_json, write_text
from utils.own_data.export import ABOUT, UNRATED, mask_file

SEPARATORS = {"\t": "tabs", "::": "two colons", ";": "semicolons", ",": "commas", "|": "bars", " ": "blanks"}
LOG_COLUMNS = ("user", "item", "rating", "timestamp", "review", "split")
# What others call the columns of items.tsv, letters and digits only; of several the first counts.
ITEM_NAMES = {
    "title": (
        "title",
        "movietitle",
        "name",
        "producttitle",
        "productname",
        "booktitle",
        "itemname",
        "songtitle",
        "prodname",
    ),
    "description": ("description", "plot", "overview", "summary", "synopsis", "abstract", "text", "detaildesc"),
    "category": ("category", "genres", "genre", "categories", "class", "productcategory", "producttypename"),
    "image": ("image", "imagepath", "picture", "poster"),
    "audio": ("audio", "audiopath", "sound"),
}

CARD = """# {name}

Made from a folder of {framework} by `python -m utils.data convert {layout} SOURCE TARGET`. {kept} Source, licence and
limits: those of the folder that it was made from; write them here.
"""


@dataclass(frozen=True)
class Vectors:
    """One modality of a foreign folder.

    Attributes:
        matrix: (n, dim) numbers.
        names: the item id of each row.
        mask: (n,) bool, False = the item lacks the modality; None = the folder does not say it.
        file: what a sentence calls the matrix.
    """

    matrix: np.ndarray
    names: list[str]
    mask: np.ndarray | None
    file: str


# ---- tables ----


def read_table(path: Path, names: list[str] | None = None, separator: str = "\t") -> pd.DataFrame:
    """Read a separated table as text, index = the rows' numbers in the file.

    A field may be quoted as spreadsheets and pandas do it. Where that reading does not come out, a quotation mark is a
    letter like any other.

    Args:
        names: of the first columns, at least two, for a file without a header; such a file may be empty.

    Raises:
        CourseError: a file that cannot be read, or rows with another number of fields than the first.
    """
    if names and path.is_file() and not path.read_bytes().strip():
        return pd.DataFrame(columns=names[:2], dtype=object)
    rows, numbers = split_rows(path, decode(path), separator)
    if names:
        if len(rows[0]) < 2:
            what = SEPARATORS[separator]
            raise CourseError(f"{path}, row 1: one field where {', '.join(names)} are needed; separate them by {what}.")
        header = [names[i] if i < len(names) else f"column {i + 1}" for i in range(len(rows[0]))]
    else:
        header, rows, numbers = [name.strip() for name in rows[0]], rows[1:], numbers[1:]
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise CourseError(f"{path}, row 1: column {twice[0]!r} occurs twice; rename or remove one.")
    columns = list(zip(*rows)) or [()] * len(header)
    table = pd.DataFrame({name: np.array(column, dtype=object) for name, column in zip(header, columns)}, index=numbers)
    return table[names[: len(header)]] if names else table


def split_rows(path: Path, text: str, separator: str) -> tuple[list[list[str]], list[int]]:
    """Take a text apart into rows of fields; rows without a letter are left out.

    Returns:
        The rows, all as long as the first, and the number that each begins with in the file.

    Raises:
        CourseError: a row of another length, under either reading of quotation marks.
    """
    if "\n" not in text:
        text = text.replace("\r", "\n")  # line ends of old Macintosh programs
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip("\r\n ")]
    plain = [line.split(separator) for _, line in numbered], [number for number, _ in numbered]
    if '"' in text and len(separator) == 1:
        quoted = _quoted_rows(text, separator)
        one_line = quoted and not any("\n" in field for row in quoted[0] for field in row)
        if quoted and (one_line or not _even(plain[0])):
            return quoted
    if not _even(plain[0]):
        width = len(plain[0][0])
        found = next((number, len(row)) for row, number in zip(*plain) if len(row) != width)
        fields = "1 field" if found[1] == 1 else f"{found[1]} fields"
        raise CourseError(
            f"{path}, row {found[0]}: {fields} where the first row has {width}; put a field that holds the separator or a "
            "line break between quotation marks, or replace them by blanks."
        )
    return plain


def _even(rows: list[list[str]]) -> bool:
    return len({len(row) for row in rows}) == 1


def _quoted_rows(text: str, separator: str) -> tuple[list[list[str]], list[int]] | None:
    """Rows with their quoted fields unquoted, and where they begin; None where the text is not quoted throughout."""
    before = csv.field_size_limit(max(len(text), 1))
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows, numbers, start = [], [], 1
        for row in reader:
            if any(field.strip() for field in row):
                rows.append(row)
                numbers.append(start)
            start = reader.line_num + 1
    except csv.Error:
        return None
    finally:
        csv.field_size_limit(before)
    return (rows, numbers) if _even(rows) else None


def need(path: Path, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    """Refuse a table without these columns."""
    for name in columns:
        if name not in table:
            raise CourseError(f"{path}, row 1: the column {name!r} is missing; it has {', '.join(table.columns)}.")


def untyped(table: pd.DataFrame) -> pd.DataFrame:
    """Take RecBole's types off the names of columns: ``item_id:token`` becomes ``item_id``."""
    return table.rename(columns=lambda name: name.split(":")[0])


def checked(path: Path, log: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Return a log whose ids, ratings and times can be used; the error names the row of the foreign file.

    Dates become seconds, and ``notes`` gets a sentence about it.
    """
    found = check_ids(path.name, log["user"]) + check_ids(path.name, log["item"])
    found += check_numbers(path.name, log["rating"])[1] if "rating" in log else []
    raise_first(found, path.parent)
    if "timestamp" in log and len(log):
        log, more = dated(path, log)
        notes += more
    return log


def dated(path: Path, log: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Make numbers of dates; a time that is neither is named with its row."""
    text = log["timestamp"].str.strip()
    if (text == "").all():
        return log.drop(columns="timestamp"), [f"{path.name}: no row has a time; the column is left out."]
    days = None if about(path.parent) else dates_to_seconds(text)  # an export of ours: seconds, whatever they look like
    if days is None:
        numbers = np.isfinite(pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64))
        if numbers.all():
            return log.assign(timestamp=text), []
        dates = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
        words = "timestamp {!r} is neither seconds since 1970 nor a date as in 2014-05-31 or 2014-05-31T18:00:00Z; correct it"
        # numbers among dates, and dates among numbers, are of an unknown unit: the rarer kind is named
        wrong = ~numbers if 2 * numbers.sum() > len(numbers) else dates.isna().to_numpy() | numbers
        raise_first(at_rows(path.name, log["timestamp"], wrong, words), path.parent)
        days = seconds_of(dates)
    told = f"{path.name}: dates became seconds since 1970; those without a time zone were read as UTC."
    return log.assign(timestamp=days.astype(str).astype(object)), [told]


def about(folder: Path) -> dict:
    """What an export of the course says about itself, {} for a folder of others."""
    path = folder / ABOUT
    try:
        return read_json(path) if path.is_file() else {}
    except ValueError as error:
        raise CourseError(f"{path} is not JSON ({error}); correct it or delete it.") from error


def with_seconds(file: str, log: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return a log with whole seconds since 1970 and without what an export had to make up; and what to know.

    Args:
        log: the whole log, its column timestamp numbers as text. folder: where an export's own files lie.

    Raises:
        CourseError: times in several units.
    """
    said = about(folder)
    log = log.drop(columns=[name for name in said.get("made_up", ()) if name in log and name in LOG_COLUMNS[2:4]])
    if said and "rating" in log and "split" in log and (folder / UNRATED).is_file():
        log = _without_unrated(log, read_array(folder / UNRATED), folder / UNRATED)
    if "timestamp" not in log or log.empty:
        return log, []
    times = pd.to_numeric(log["timestamp"]).to_numpy(dtype=np.float64)
    if said:  # an export of ours: seconds, as they were
        return log.assign(timestamp=np.floor(times).astype(np.int64)), []
    if not times.any():
        text = f"{file}: every timestamp is 0, which is no time; the column is left out."
        return log.drop(columns="timestamp"), [text]
    unit, size = time_unit(times)
    if size == 1:
        return log.assign(timestamp=np.floor(times).astype(np.int64)), []
    mixed = at_rows(file, log["timestamp"], (times != 0) & (np.abs(times) <= 1e11), f"timestamp {{!r}} is in seconds where others are in {unit}; write all of them in seconds")  # fmt: skip
    raise_first(mixed, Path())
    told = f"{file}: the timestamps are in {unit}; they were divided by {size:,}."
    return log.assign(timestamp=np.floor(times / size).astype(np.int64)), [told]


def _without_unrated(log: pd.DataFrame, rows: np.ndarray, path: Path) -> pd.DataFrame:
    """Empty the ratings of the rows (n, 3) of user, item and part that had none before the export."""
    if rows.ndim != 2 or rows.shape[1] != 3 or rows.dtype.kind != "i" or not np.isin(rows[:, 2], (0, 1, 2)).all():
        raise CourseError(f"{path} is no list of rows without a rating; export again, or delete it.")
    unrated = {(str(user), str(item), SPLIT_NAMES[part]) for user, item, part in rows.tolist()}
    gone = [key in unrated for key in zip(log["user"], log["item"], log["split"])]
    return log.assign(rating=np.where(gone, "", log["rating"].to_numpy(dtype=object)))


# ---- the columns of items ----


def plain_name(name: str) -> str:
    """A column's name without case and punctuation, so that movieId, movie_id and MovieID are one."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def item_columns(file: str, items: pd.DataFrame, source: Path, target: Path) -> tuple[pd.DataFrame, list[str]]:
    """Give the columns of a foreign table of items (with ``item``) the names of the course; others stay as they are.

    Pictures and sounds that the table names are copied where they lie inside ``source``; where none does, the column is
    renamed, because items.tsv names files only.

    Returns:
        The table, and a sentence about what became of the columns.
    """
    known = {plain_name(name): name for name in reversed(items.columns) if name != "item"}
    names = {}
    for ours, theirs in ITEM_NAMES.items():
        found = next((known[name] for name in theirs if name in known), None)
        if found is not None:
            names[found] = ours
    taken = [name for name in items if name not in names and name in ITEM_NAMES]
    items = items.rename(columns={**{name: f"{name}_given" for name in taken}, **names})
    renamed = [f"{theirs} as {ours}" for theirs, ours in names.items() if theirs != ours]
    notes = [f"{file}: column {some(renamed)}."] if renamed else []
    for column in ("image", "audio"):
        if column in items:
            inside = [bool(v) and not path_problem(v) and (source / v).is_file() for v in items[column]]
            if any(inside):
                _copy_media(items[column][inside], source, target)
                lost = sum(bool(v) for v in items[column]) - sum(inside)
                notes += [f"{file}: {lost:,} files of column {column} are not in {source}."] if lost else []
                items[column] = np.where(inside, items[column].to_numpy(dtype=object), "")
            else:
                items = items.rename(columns={column: f"{column}_address"})
                notes.append(f"{file}: column {column} names no file inside {source}; it is kept as {column}_address.")
    return items, notes


def _copy_media(names: pd.Series, source: Path, target: Path) -> None:
    root = source.resolve()
    for name in names.unique():
        path = (source / name).resolve()
        if not path.is_relative_to(root):
            raise CourseError(f"{source / name} is a link that leaves the folder; copy the file into it.")
        with atomic_path(target / name) as temporary:
            temporary.write_bytes(path.read_bytes())


# ---- matrices ----


def read_matrix(path: Path) -> np.ndarray:
    """Read an array of numbers, (n_items, dim), or (dim,) or (1, dim) for one item."""
    array = read_array(path)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
        raise CourseError(f"{path} is no array of numbers with one or two axes; write one vector per item.")
    return array


def read_mask(folder: Path, modality: str, n_items: int) -> np.ndarray | None:
    """The mask beside an export of the course, (n_items,) bool; None in a folder that has none."""
    path = folder / mask_file(modality)
    if not path.is_file():
        return None
    mask = read_array(path)
    if mask.dtype != bool or mask.shape != (n_items,):
        raise CourseError(f"{path} is no mask of {n_items} items; export again, or delete it.")
    return mask


def stack(vectors: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Make a matrix (n, dim) of vectors that come with the words for where each was read."""
    dim = len(vectors[0][1])
    for where, vector in vectors:
        if len(vector) != dim:
            raise CourseError(
                f"{where} has length {len(vector)} where the first vector has length {dim}; extract it again."
            )
    return np.stack([vector for _, vector in vectors])


def number_order(name: str) -> tuple:
    """Sort ids that are whole numbers as numbers, before all others."""
    return (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name)


# ---- the course folder ----


def write_course_folder(
    target: Path,
    framework: str,
    layout: str,
    log: pd.DataFrame,
    matrices: dict[str, Vectors],
    items: pd.DataFrame | None = None,
    kept: str = "Its ids and its split are as they were.",
) -> list[str]:
    """Write the course folder of a foreign one.

    Args:
        items: column item and those of items.tsv; None = nothing is known about the items.

    Returns:
        What to know about it, a sentence each.
    """
    facts = f"{len(log):,} interactions of {log['user'].nunique():,} users with {log['item'].nunique():,} items"
    notes = [f"The log has {facts}."]
    known = set() if items is None else set(items["item"])
    names = set(log["item"]).union(known, *(vectors.names for vectors in matrices.values()))
    ordered = [] if items is None else items["item"].tolist()
    ordered += sorted(names - known, key=number_order)
    table = pd.DataFrame({"item": np.array(ordered, dtype=object)})
    if items is not None:
        table = table.merge(items, on="item", how="left").fillna("")
        bare = log["item"][~log["item"].isin(known)].nunique()
        notes += [f"{bare:,} items of the log have no row in the table of items: nothing is known about them."] * (bare > 0)  # fmt: skip
    cold = len(ordered) - log["item"].nunique()
    notes += [f"{cold:,} of {len(ordered):,} items have no interaction: only content can recommend them."] * (cold > 0)
    write_table(target / "items.tsv", table)
    write_table(target / "interactions.tsv.gz", log[[name for name in LOG_COLUMNS if name in log]])
    if matrices:
        write_text(target / "features" / "items.txt", "".join(f"{name}\n" for name in ordered))
    place = {name: row for row, name in enumerate(ordered)}
    for modality, vectors in matrices.items():
        present = vectors.mask
        if present is None:
            present = vectors.matrix.any(axis=1)
            empty = int((~present).sum())
            text = f"{vectors.file}: {empty:,} of {len(present):,} rows are all zero; these items count as without {modality} content."  # fmt: skip
            notes += [text] if empty else []
        full = np.zeros((len(ordered), vectors.matrix.shape[1]), dtype=np.float32)
        mask = np.zeros(len(ordered), dtype=bool)
        where = [place[name] for name in vectors.names]
        full[where], mask[where] = vectors.matrix, present
        for stem, array in ((modality, full), (f"{modality}_mask", mask)):
            write_array(target / "features" / f"{stem}.npy", array)
        write_sums(target / "features", (f"{modality}.npy", f"{modality}_mask.npy"))
    card = CARD.format(name=target.resolve().name, framework=framework, layout=layout, kept=kept)
    write_text(target / "README.md", card + "".join(f"\n- {note}" for note in notes) + "\n" * bool(notes))
    return notes


def checked_items(path: Path, items: pd.DataFrame) -> pd.DataFrame:
    """Refuse a foreign table of items with missing or repeated ids; the error names the row of the foreign file."""
    found: list[Finding] = [
        finding for finding in check_items(path.name, items[["item"]]) if finding.severity == "error"
    ]
    raise_first(found, path.parent)
    return items[~bad_ids(items["item"])]
