"""Import a folder of Hugging Face `datasets` (parquet of a hub copy, or arrow of `save_to_disk`) as a course folder."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data.tables import SPLIT_NAMES, some
from utils.errors import CourseError
from utils.files import atomic_path
from utils.network.archives import FREE, MAX_RATIO
from utils.own_data.csv_tables import LOG_NAMES, item_column, roles
from utils.own_data.foreign import (
    ITEM_NAMES,
    LOG_COLUMNS,
    checked,
    checked_items,
    item_columns,
    plain_name,
    with_seconds,
    write_course_folder,
)

ENDINGS = (".parquet", ".arrow")
PARTS = {"train": "train", "validation": "valid", "valid": "valid", "val": "valid", "dev": "valid", "test": "test"}
MEDIA = {"image": ("images", {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}),
         "audio": ("sounds", {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3", b"\xff\xfb": "mp3"})}  # fmt: skip


def from_hugging_face(source: Path, target: Path, **_: object) -> list[str]:
    """Read the one log (a user and an item in each row) and the one table of items of a folder of `datasets`.

    Files of one table lie in one folder (a configuration or a split); their names, or that of the folder, say the split.
    Pictures and sounds inside the table of items become files.

    Raises:
        CourseError: pyarrow is not there, no log or several, damage, files that unpack without bound.
    """
    tables = _tables(source)
    heads = {name: _columns(files[0][1]) for name, files in tables.items()}
    log_name = _one(
        source, [name for name, head in heads.items() if {"user", "item"} <= set(roles(head, LOG_NAMES))], heads
    )
    path = tables[log_name][0][1]
    log, notes = _log(path, tables[log_name])
    found = [name for name in heads if name != log_name and item_column(heads[name]) and roles(heads[name], ITEM_NAMES)]
    if len(found) > 1:
        raise CourseError(f"{source} has several tables of items ({some(found)}); keep one there.")
    items = None
    if found:
        first = tables[found[0]][0][1]
        raw = pd.concat([_read(file) for _, file in tables[found[0]]], ignore_index=True)
        raw.index = raw.index + 1
        items, more = _items(first, raw, target)
        notes += more
    kept = "Ids are as they were" + (", and so is the split." if "split" in log else "; it has no split.")
    return notes + write_course_folder(target, "Hugging Face datasets", "hf", log, {}, items, kept)


# ---- files ----


def _tables(source: Path) -> dict[str, list[tuple[str, Path]]]:
    """Tables of a folder: name of a table -> its files with the part that each belongs to ("" where none is named)."""
    found: dict[str, list[tuple[str, Path]]] = {}
    for path in sorted(source.rglob("*")):
        if path.suffix in ENDINGS and path.is_file() and not path.name.startswith("cache-"):
            folders = list(path.relative_to(source).parts[:-1])
            words = [path.name.split(".")[0].split("-")[0].lower(), *(folder.lower() for folder in folders[::-1])]
            part = next((PARTS[word] for word in words if word in PARTS), "")
            own = re.sub(r"-\d{5}-of-\d{5}.*$", "", path.name.split(".")[0])
            table = [folder for folder in folders if folder.lower() not in {*PARTS, "data"}]
            own = re.sub(rf"^(?:data|{'|'.join(PARTS)})(?:-|$)", "", own, flags=re.I)
            table += [own] if own.strip("0123456789") else []
            found.setdefault("/".join(table) or "the table", []).append((part, path))
    if not found:
        raise CourseError(
            f"{source} holds no .parquet or .arrow file; give the folder of a dataset that `datasets` saved or the hub sent."
        )
    order = ("", *SPLIT_NAMES)
    return {name: sorted(files, key=lambda file: order.index(file[0])) for name, files in found.items()}


def _one(source: Path, found: list[str], heads: Mapping[str, list[str]]) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise CourseError(f"{source} holds several logs ({some(found)}); give the folder of one of them.")
    name = next(iter(heads))
    raise CourseError(
        f"{source} holds no log: no table names a user and an item (the columns of {name} are {some(map(repr, heads[name]))}); "
        "rename them with dataset.rename_column and save again."
    )


def _arrow() -> Any:
    try:
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise CourseError(
            "A folder of Hugging Face datasets is parquet or arrow, which the package pyarrow reads; run `pip install "
            "pyarrow`, or save the tables with dataset.to_csv and use `convert csv`."
        ) from None
    return pyarrow


def _opened(path: Path) -> Any:
    """The table of a file; columns are not decoded yet where the format allows it.

    Raises:
        CourseError: damage, or more than any honest file of its size holds.
    """
    arrow = _arrow()
    try:
        if path.suffix == ".parquet":
            file = arrow.parquet.ParquetFile(path)
            groups = [file.metadata.row_group(k) for k in range(file.metadata.num_row_groups)]
            _believe(path, sum(group.total_byte_size for group in groups))
            return file
        with arrow.memory_map(str(path)) as stream:  # not compressed, as `datasets` writes it
            try:
                return arrow.ipc.open_stream(stream).read_all()
            except arrow.ArrowInvalid:
                return arrow.ipc.open_file(stream).read_all()
    except CourseError:
        raise
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise CourseError(f"{path} cannot be read ({str(error).splitlines()[0]}); fetch it again.") from error


def _believe(path: Path, size: int) -> None:
    if size > max(FREE, MAX_RATIO * path.stat().st_size):
        raise CourseError(
            f"{path} unpacks to {size / 1e6:,.0f} MB, which no honest file of its size does; it is not read."
        )


def _columns(path: Path) -> list[str]:
    opened = _opened(path)
    return list((opened.schema_arrow if path.suffix == ".parquet" else opened.schema).names)


def _read(path: Path) -> pd.DataFrame:
    """All rows of a file as Python objects."""
    arrow, opened = _arrow(), _opened(path)
    try:
        table = opened.read() if path.suffix == ".parquet" else opened
        return pd.DataFrame(
            {name: pd.Series(table.column(name).to_pylist(), dtype=object) for name in table.column_names}
        )
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise CourseError(f"{path} cannot be read ({str(error).splitlines()[0]}); fetch it again.") from error


# ---- tables ----


def text_of(value: Any) -> str:
    """A value as a field of a table: whole numbers without a point, dates as ISO 8601, lists joined by bars, nothing for None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, tuple)):
        return "|".join(map(text_of, value))
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict) else str(value)


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {name: [text_of(value) for value in table[name]] for name in table}, index=table.index, dtype=object
    )


def _log(path: Path, files: list[tuple[str, Path]]) -> tuple[pd.DataFrame, list[str]]:
    """The log with the names of the course, checked, and with its split where all three parts are there."""
    parts = []
    for part, file in files:
        table = _texts(_read(file)).assign(**{" part": part})
        table.index = np.arange(len(table)) + 1
        parts.append(table)
    whole = pd.concat(parts).fillna("")
    found = roles([name for name in whole if name != " part"], LOG_NAMES)
    left_out = [name for name in whole if name not in {*found.values(), " part"}]
    notes = [f"{path.name}: column {some(left_out)} left out."] if left_out else []
    log = whole[list(found.values())].set_axis(list(found), axis=1)
    if "split" in log and not log["split"].isin(SPLIT_NAMES).all():
        log = log.drop(columns="split")
    if "split" not in log:
        if set(whole[" part"]) == set(SPLIT_NAMES):
            log = log.assign(split=whole[" part"])
        elif len(set(whole[" part"])) > 1:
            notes.append(
                f"The log has the parts {some(sorted(set(whole[' part'])))}, not all three: it comes in without a split."
            )
    if not len(log):
        raise CourseError(f"{path} has no row; a course folder needs interactions.")
    log = checked(path, log[[name for name in LOG_COLUMNS if name in log]], notes)
    log, more = with_seconds(path.name, log, path.parent)
    return log, notes + more


def _items(path: Path, raw: pd.DataFrame, target: Path) -> tuple[pd.DataFrame, list[str]]:
    """The items with the names of the course; pictures and sounds in the table become files of the target."""
    item = item_column(list(raw.columns))
    notes, named = [], {}
    for column in raw:
        kind = next((kind for kind in MEDIA if plain_name(column) in ITEM_NAMES[kind]), "")
        if kind and any(isinstance(value, dict) for value in raw[column]):
            named[kind] = list(_files(raw[column], kind, target))
            count = sum(map(bool, named[kind]))
            notes.append(f"{path.name}: {count:,} of {len(raw):,} values of column {column} are files now.")
            raw = raw.drop(columns=column)
    table = _texts(raw).rename(columns={item: "item"})
    table, more = item_columns(path.name, checked_items(path, table), path.parent, target)
    for kind, names in named.items():
        table[kind] = pd.Series(names, index=raw.index)[table.index]
    return table, notes + more


def _files(column: pd.Series, kind: str, target: Path) -> Iterator[str]:
    """Write the bytes of each value, as `datasets` keeps a picture or sound; yield paths inside the target, "" for none.

    The name is a number and the ending that of the bytes: nothing that the table says decides where a file goes.
    """
    folder, endings = MEDIA[kind]
    for number, value in enumerate(column):
        raw = value.get("bytes") if isinstance(value, dict) else None
        ending = next((end for start, end in endings.items() if isinstance(raw, bytes) and raw.startswith(start)), "")
        if not ending:
            yield ""
            continue
        with atomic_path(target / folder / f"{number}.{ending}") as temporary:
            temporary.write_bytes(raw)
        yield f"{folder}/{number}.{ending}"
