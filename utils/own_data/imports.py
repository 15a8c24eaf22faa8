"""Import folders of other frameworks (MMRec, Elliot, RecBole, Cornac) as course folders, with their split unchanged.

Such folders hold whole-number ids, mostly a split and feature matrices, but no texts and no pictures. Each reader
returns what its user should know, a sentence each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from utils.data.dataset import MODALITIES
from utils.data.tables import SPLIT_NAMES, at_rows, raise_first, some
from utils.errors import CourseError
from utils.files import check_yaml, why_unreadable
from utils.own_data.export import FEATURE_FILES
from utils.own_data.foreign import (
    Vectors,
    checked,
    checked_items,
    item_columns,
    need,
    number_order,
    read_mask,
    read_matrix,
    read_table,
    stack,
    untyped,
    with_seconds,
    write_course_folder,
)


def from_mmrec(source: Path, target: Path, **_: object) -> list[str]:
    """Read ``NAME.inter`` (userID, itemID, x_label 0/1/2) and image_feat.npy, text_feat.npy, audio_feat.npy."""
    path = _one(source, "*.inter", "MMRec")
    log = read_table(path)
    need(path, log, ("userID", "itemID", "x_label"))
    parts = log["x_label"].map({str(i): name for i, name in enumerate(SPLIT_NAMES)})
    words = "x_label {!r} is unknown; write 0, 1 or 2"
    raise_first(at_rows(path.name, log["x_label"], parts.isna(), words), path.parent)
    told: list[str] = []
    log = checked(path, log.rename(columns={"userID": "user", "itemID": "item"}).assign(split=parts), told)
    matrices = {}
    for modality, name in FEATURE_FILES.items():
        file = path.parent / name
        if file.is_file():
            matrix = read_matrix(file)
            if matrix.ndim != 2:
                raise CourseError(f"{file} has shape {matrix.shape}; one row per item is needed.")
            rows = [str(row) for row in range(len(matrix))]
            matrices[modality] = Vectors(matrix, rows, read_mask(path.parent, modality, len(matrix)), name)
    _check_heights(path, log, matrices)
    log, notes = with_seconds(path.name, log, path.parent)
    return told + notes + write_course_folder(target, "MMRec", "mmrec", log, matrices)


def _check_heights(path: Path, log: pd.DataFrame, matrices: dict[str, Vectors]) -> None:
    """Refuse matrices whose row numbers are not the items of the log: one row per item, counted from 0."""
    if not matrices:
        return
    heights = {vectors.file: len(vectors.names) for vectors in matrices.values()}
    if len(set(heights.values())) > 1:
        facts = ", ".join(f"{file}: {height}" for file, height in heights.items())
        raise CourseError(
            f"The matrices of {path.parent} have different numbers of rows ({facts}), and a row is an item in each; make "
            "them again of one list of items."
        )
    first = next(iter(matrices.values()))
    words = (
        f"item {{!r}} has no row in {first.file}, whose {len(first.names)} rows are items 0 to {len(first.names) - 1}; "
        "number the items from 0, or make the matrix again"
    )
    raise_first(at_rows(path.name, log["item"], ~log["item"].isin(first.names), words), path.parent)


def from_elliot(source: Path, target: Path, **_: object) -> list[str]:
    """Read the config's or the usual train, val, test TSV (no header) and ``<modality>_features/<item>.npy``."""
    files = {"train": "train.tsv", "valid": "val.tsv", "test": "test.tsv"}
    folders = {modality: source / f"{modality}_features" for modality in MODALITIES}
    config = source / "config.yml"
    if config.is_file():
        data = _data_config(config)
        keys = {"train": "train_path", "valid": "validation_path", "test": "test_path"}
        files = {part: str(data.get(key) or files[part]) for part, key in keys.items()}
        sides = data.get("side_information") or []
        for side in sides if isinstance(sides, list) else []:
            found = {m: side[f"{m}_features"] for m in MODALITIES if isinstance(side, dict) and f"{m}_features" in side}
            folders |= {modality: source / str(folder) for modality, folder in found.items()}
        for path in (*(source / file for file in files.values()), *folders.values()):
            if not path.resolve().is_relative_to(source.resolve()):
                raise CourseError(f"{config} names {path}, which lies outside of {source}; copy it into that folder.")
    parts, told = [], []
    for part, file in files.items():
        path = source / file
        if not path.is_file():
            raise CourseError(f"There is no {path}; Elliot would take the test part for it, a course folder does not.")
        table = read_table(path, names=["user", "item", "rating", "timestamp"])
        if part == "train" and table.empty:
            raise CourseError(f"{path} has no row; a course folder needs interactions to train on.")
        parts.append(checked(path, table, told).assign(split=part))
    log, notes = with_seconds("the log", _joined(source, parts), source)
    matrices = {}
    for modality, folder in folders.items():
        paths = sorted(folder.glob("*.npy"), key=lambda path: number_order(path.stem)) if folder.is_dir() else []
        if paths:
            matrix = stack([(str(path), read_matrix(path).ravel()) for path in paths])
            names = [path.stem for path in paths]
            matrices[modality] = Vectors(matrix, names, read_mask(source, modality, len(names)), folder.name)
    return told + notes + write_course_folder(target, "Elliot", "elliot", log, matrices)


def _joined(source: Path, parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Put the parts of a log together; a column that only some of them have would leave gaps, and is refused."""
    tables = [part for part in parts if not part.empty] or parts[:1]
    for name in ("rating", "timestamp"):
        having = [table["split"].iloc[0] for table in tables if name in table and len(tables) > 1]
        if 0 < len(having) < len(tables):
            raise CourseError(
                f"{source}: the column {name} is in part {some(having)} and not in the others; give it to all or none."
            )
    return pd.concat([table.set_axis([f"{row} of {part}" for row, part in table["split"].items()]) for table in tables])


def _data_config(path: Path) -> dict:
    """The part of an Elliot config that names the files of a fixed split."""
    usual = "or remove it: then train.tsv, val.tsv and test.tsv are read"
    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or why_unreadable(error)
        row = f", row {place.line + 1}," if place else ""
        raise CourseError(f"{path}{row} cannot be read as YAML ({reason}); correct it, {usual}.") from error
    for key in ("experiment", "data_config"):
        content = content.get(key) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise CourseError(f"{path} has no experiment: data_config: that names the files; add it, {usual}.")
    strategy = content.get("strategy", "fixed")
    if strategy != "fixed":
        raise CourseError(
            f"{path}: strategy {strategy!r} leaves the split to Elliot; write its three parts as files and strategy: fixed, "
            f"{usual}."
        )
    return content


def from_recbole(source: Path, target: Path, **_: object) -> list[str]:
    """Read NAME.inter, or NAME.train/valid/test.inter, NAME.item, and NAME.<modality> with one vector per item."""
    paths = _recbole_logs(source)
    tables, told = [], []
    for part, path in paths.items():
        table = untyped(read_table(path))
        need(path, table, ("user_id", "item_id"))
        table = checked(path, table.rename(columns={"user_id": "user", "item_id": "item"}), told)
        tables.append(table.assign(split=part) if part else table)
    path = next(iter(paths.values()))
    folder, name = path.parent, path.name.split(".train." if "train" in paths else ".inter")[0]
    whole = _joined(source, tables) if "train" in paths else tables[0]
    log, notes = with_seconds("the log" if "train" in paths else path.name, whole, folder)
    notes = told + notes
    extra = [column for column in log if column not in ("user", "item", "rating", "timestamp", "split")]
    notes += [f"{path.name}: column {some(extra)} of the log left out."] if extra else []
    matrices = {}
    for modality in MODALITIES:
        file = folder / f"{name}.{modality}"
        if file.is_file():
            matrix, names = _vectors(file, read_table(file))
            matrices[modality] = Vectors(matrix, names, read_mask(folder, modality, len(names)), file.name)
    others = [folder / f"{name}.{kind}" for kind in ("user", "kg", "link", "net")]
    left_out = [file.name for file in others if file.is_file()]
    notes += [f"{some(left_out)} left out: a course folder knows users by their interactions."] if left_out else []
    items, file = None, folder / f"{name}.item"
    if file.is_file():
        items = untyped(read_table(file))
        need(file, items, ("item_id",))
        items = checked_items(file, items.rename(columns={"item_id": "item"}))
        items, more = item_columns(file.name, items, folder, target)
        notes += more
    kept = (
        "Its ids and its split are as they were." if "train" in paths else "Its ids are as they were; it has no split."
    )
    return notes + write_course_folder(target, "RecBole", "recbole", log, matrices, items, kept)


def _recbole_logs(source: Path) -> dict[str, Path]:
    """The files of a log: part -> path of a benchmark folder, or "" -> the one file of a folder without a split."""
    parts = {part: sorted(source.rglob(f"*.{part}.inter")) for part in SPLIT_NAMES}
    whole = sorted(source.rglob("*.inter"))
    if len(whole) == 1 and not any(parts.values()):
        return {"": whole[0]}
    wrong = [part for part, found in parts.items() if len(found) != 1]
    if wrong:
        found = f" It has {some(path.relative_to(source).as_posix() for path in whole)}." if whole else ""
        raise CourseError(
            f"{source} needs one file NAME.inter, or one file *.{wrong[0]}.inter (benchmark_filename of RecBole); it has "
            f"{len(parts[wrong[0]]) or 'none'} of the latter.{found}"
        )
    return {part: found[0] for part, found in parts.items()}


def from_cornac(source: Path, target: Path, **_: object) -> list[str]:
    """Read train, valid, test TSV (user, item, rating; no header) and ``<modality>.npy`` with row = item id."""
    parts = []
    for part in SPLIT_NAMES:
        path = source / f"{part}.tsv"
        if not path.is_file():
            raise CourseError(f"There is no {path}; export to cornac writes train.tsv, valid.tsv and test.tsv.")
        parts.append(checked(path, read_table(path, names=["user", "item", "rating"]), []).assign(split=part))
    if parts[0].empty:
        raise CourseError(f"{source / 'train.tsv'} has no row; a course folder needs interactions to train on.")
    log, notes = with_seconds("the log", _joined(source, parts), source)
    matrices = {}
    for modality in MODALITIES:
        file = source / f"{modality}.npy"
        if file.is_file():
            matrix = read_matrix(file)
            if matrix.ndim != 2:
                raise CourseError(f"{file} has shape {matrix.shape}; one row per item is needed.")
            rows = [str(row) for row in range(len(matrix))]
            matrices[modality] = Vectors(matrix, rows, read_mask(source, modality, len(matrix)), file.name)
    _check_heights(source / "train.tsv", log, matrices)
    return notes + write_course_folder(target, "Cornac", "cornac", log, matrices)


def _one(source: Path, pattern: str, framework: str) -> Path:
    found = sorted(source.rglob(pattern))
    if len(found) != 1:
        raise CourseError(f"{source} needs one file {pattern}, as {framework} has, and holds {len(found)}.")
    return found[0]


def _vectors(path: Path, table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """The matrix and the ids of a RecBole table with an id and, as one text, the numbers of its vector."""
    if table.shape[1] < 2 or table.empty:
        raise CourseError(f"{path} needs two columns, an id and its numbers separated by blanks, and at least one row.")
    ids = table.iloc[:, 0]
    raise_first(at_rows(path.name, ids, ids.duplicated(), "item {!r} occurs a second time; remove one"), path.parent)
    rows = []
    for row, text in table.iloc[:, 1].items():
        try:
            rows.append((f"{path}, row {row}", np.array(text.split(), dtype=np.float32)))
        except ValueError as error:
            raise CourseError(f"{path}, row {row}: {error}; write numbers separated by blanks.") from error
    return stack(rows), ids.tolist()


READERS: dict[str, Callable[..., list[str]]] = {
    "mmrec": from_mmrec,
    "elliot": from_elliot,
    "recbole": from_recbole,
    "cornac": from_cornac,
}
