"""Import a table of ratings as the world has it (CSV, MovieLens, Surprise, what `export csv` writes) as a course folder."""

from __future__ import annotations

import zlib
from pathlib import Path

import pandas as pd

from utils.data.rules import check_ids, check_numbers
from utils.data.tables import SPLIT_NAMES, raise_first, some
from utils.errors import CourseError
from utils.network.archives import open_gzip
from utils.own_data.foreign import (
    ITEM_NAMES,
    LOG_COLUMNS,
    SEPARATORS,
    about,
    checked_items,
    dated,
    item_columns,
    plain_name,
    read_table,
    with_seconds,
    write_course_folder,
)

ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".data", ".gz")
# What others call the columns of a log, letters and digits only; of several the first counts.
LOG_NAMES = {
    "user": ("user", "userid", "uid", "reviewerid", "customerid", "customer", "memberid", "visitorid", "profileid", "userno"),
    "item": ("item", "itemid", "iid", "movieid", "filmid", "asin", "parentasin", "productid", "bookid", "isbn", "articleid", "songid", "trackid", "artistid", "businessid", "recipeid", "animeid", "gameid", "newsid", "videoid"),
    "rating": ("rating", "ratings", "score", "stars", "overall", "bookrating", "star", "rate", "playcount", "plays", "count", "weight"),
    "timestamp": ("timestamp", "time", "unixreviewtime", "unixtime", "date", "datetime", "ts", "tdat", "createdat", "reviewtime"),
    "review": ("review", "reviewtext", "comment", "text"),
    "split": ("split",),
}  # fmt: skip
FIRST = {
    "log": ("ratings", "interactions", "log", "reviews"),
    "items": ("movies", "items", "products", "films", "books"),
}


def from_csv(source: Path, target: Path, *, columns: str = "", **_: object) -> list[str]:
    """Read a log with a header such as userId, movieId, rating, timestamp, and the table of items beside it.

    Commas, semicolons, tabs, bars, blanks and two colons separate fields. A time may be a date as ISO 8601 writes it.

    Args:
        source: the folder, or the log itself.
        columns: the names of the log's columns in order, separated by commas, for a log without a header; of several
            logs the one with this number of columns.

    Raises:
        CourseError: no log, several of them, damaged rows.
    """
    folder = source if source.is_dir() else source.parent
    files = [source] if source.is_file() else _files(source)
    given = [name.strip() for name in columns.split(",") if name.strip()]
    if given and not {"user", "item"} <= set(roles(given, LOG_NAMES)):
        raise CourseError(
            f"The columns {columns!r} name no user and item; write for example user,item,rating,timestamp."
        )
    path = _log_file(source, files, given)
    log, notes = _read_log(path, given)
    folder = path.parent
    said = about(folder)
    if not said:  # "a, b": the blank belongs to the comma; an export of ours means what it says
        log = log.assign(user=log["user"].str.strip(), item=log["item"].str.strip())
    log, more = with_seconds(path.name, log, folder)
    notes += more
    items = None
    found = _items_file([file for file in (_files(folder) if source.is_dir() else _beside(path)) if file != path])
    if found is not None:
        items, more = _read_items(found, folder, target, strip=not said)
        notes += more
        if not log["item"].isin(items["item"]).any():
            raise CourseError(
                f"No item of {path.name} is in {found.name} ({some(map(repr, log['item'].unique()[:2]))} against "
                f"{some(map(repr, items['item'][:2]))}); make both name items alike, or move {found.name} away."
            )
    kept = "Ids are as they were" + (", and so is the split." if "split" in log else "; it has no split.")
    return [f"read {path.name}.", *notes, *write_course_folder(target, "tables", "csv", log, {}, items, kept)]


def _files(folder: Path) -> list[Path]:
    """The tables in a folder, or, where it has none, in its folders."""
    for pattern in ("*", "*/*"):
        found = [path for path in sorted(folder.glob(pattern)) if path.is_file() and path.suffix.lower() in ENDINGS]
        if found:
            return found
    raise CourseError(f"{folder} holds no table ({', '.join(ENDINGS)}); give the folder with your ratings.")


def _beside(path: Path) -> list[Path]:
    """The tables beside a log that was given by name: only those whose name says that they hold items."""
    return [file for file in _files(path.parent) if file.name.split(".")[0].lower() in FIRST["items"]]


def _header(path: Path) -> tuple[list[str], str]:
    """The first row of a table, taken apart by the separator that it holds most often; only the file's head is read."""
    try:
        with open_gzip(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            raw = stream.read(1 << 16)
    except (OSError, EOFError, zlib.error):
        raw = b""  # said where the file is read, if it is the one
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
    first = next((line for line in text.replace("\r", "\n").split("\n") if line.strip()), "")
    counts = {gap: first.count(gap) for gap in SEPARATORS}
    counts[" "] = 0 if any(counts[gap] for gap in SEPARATORS if gap != " ") else counts[" "]
    separator = max(counts, key=counts.__getitem__)
    return [name.strip().strip('"').strip() for name in first.split(separator)], separator


def roles(names: list[str], known: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Which column plays which part: our name -> theirs."""
    plain = {plain_name(name): name for name in reversed(names)}
    found = {role: next((plain[name] for name in theirs if name in plain), None) for role, theirs in known.items()}
    return {role: name for role, name in found.items() if name is not None}


def _log_file(source: Path, files: list[Path], given: list[str]) -> Path:
    """The one table that has users and items, or as many columns as were named."""
    heads = {path: _header(path)[0] for path in files}
    if given:
        found = [path for path, names in heads.items() if len(names) == len(given)]
    else:
        parts = {path: roles(names, LOG_NAMES) for path, names in heads.items()}
        found = [path for path in files if {"user", "item"} <= set(parts[path])]
        found = [path for path in found if "rating" in parts[path]] or found
    named = [path for path in found if path.name.split(".")[0].lower() in FIRST["log"]]
    found = named if len(found) > 1 and len(named) == 1 else found
    if len(found) == 1:
        return found[0]
    if found:
        raise CourseError(
            f"{source} holds several logs ({some(path.name for path in found)}); give the path of one of them."
        )
    largest = max(files, key=lambda path: path.stat().st_size)
    names = heads[largest]
    how = f"none has {len(given)} columns" if given else "no header names a user and an item"
    raise CourseError(
        f"{source} holds no log: {how} (the first row of {largest.name} is {some(map(repr, names))}); name the columns in the "
        "header, or with --columns user,item,rating,timestamp."
    )


def _read_log(path: Path, given: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The log with the names of the course, checked; times are numbers as text."""
    names, separator = _header(path)
    headed = {"user", "item"} <= set(roles(names, LOG_NAMES))
    table = read_table(path, None if headed or not given else given, separator)
    if headed and given:
        table.columns = given
    if not len(table):
        raise CourseError(f"{path} has no row below its header; a course folder needs interactions.")
    named = roles(list(table.columns), LOG_NAMES)
    if "split" in named and not table[named["split"]].isin(SPLIT_NAMES).all():
        del named["split"]
    left_out = [name for name in table if name not in named.values()]
    log = table[list(named.values())].set_axis(list(named), axis=1)
    notes = [f"{path.name}: column {some(left_out)} left out."] if left_out else []
    if "timestamp" in log:
        log, more = dated(path, log)
        notes += more
    found = check_ids(path.name, log["user"]) + check_ids(path.name, log["item"])
    found += check_numbers(path.name, log["rating"])[1] if "rating" in log else []
    raise_first(found, path.parent)
    return log[[name for name in LOG_COLUMNS if name in log]], notes


def _items_file(files: list[Path]) -> Path | None:
    """The one table that has items with a title or other content and no users; None where no file is one."""
    found = []
    for path in files:
        names, _ = _header(path)
        if item_column(names) and "user" not in roles(names, LOG_NAMES) and roles(names, ITEM_NAMES):
            found.append(path)
    named = [path for path in found if path.name.split(".")[0].lower() in FIRST["items"]]
    found = named if len(found) > 1 and len(named) == 1 else found
    if len(found) > 1:
        raise CourseError(
            f"Several files may be the table of items ({some(path.name for path in found)}); keep one there."
        )
    return found[0] if found else None


def item_column(names: list[str]) -> str:
    """The column with the ids of a table of items: as in a log, or plainly ``id``; "" when there is none."""
    return roles(names, LOG_NAMES).get("item") or roles(names, {"item": ("id",)}).get("item", "")


def _read_items(path: Path, folder: Path, target: Path, strip: bool) -> tuple[pd.DataFrame, list[str]]:
    _names, separator = _header(path)
    table = read_table(path, separator=separator)
    table = table.rename(columns={item_column(list(table.columns)): "item"})
    items = checked_items(path, table.assign(item=table["item"].str.strip()) if strip else table)
    return item_columns(path.name, items, folder, target)
