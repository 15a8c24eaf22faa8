"""Import prepared folders of other frameworks (MMRec, Elliot, RecBole) as course folders, with their split unchanged.

Such folders hold whole-number ids, a split and feature matrices, but no titles, texts or pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import yaml

from utils.data.dataset import MODALITIES
from utils.data.rules import check_ids, check_items, check_numbers
from utils.data.tables import SPLIT_NAMES, at_rows, raise_first, write_table
from utils.errors import CourseError
from utils.files import atomic_path, why_unreadable, write_text
from utils.own_data.export import FEATURE_FILES

CARD = """# {name}

Made from a prepared folder of {framework} by `python -m utils.data convert {layout} SOURCE TARGET`. Its ids and its split
are as they were; titles, texts and pictures are not part of such a folder. Source, licence and limits: those of the
folder that it was made from; write them here.
"""


def from_mmrec(source: Path, target: Path, **_: object) -> None:
    """Read ``NAME.inter`` (userID, itemID, x_label 0/1/2) and image_feat.npy, text_feat.npy, audio_feat.npy."""
    path = _one(source, "*.inter", "MMRec")
    log = _read(path)
    _need(path, log, ("userID", "itemID", "x_label"))
    parts = log["x_label"].map({str(i): name for i, name in enumerate(SPLIT_NAMES)})
    words = "x_label {!r} is unknown; write 0, 1 or 2"
    raise_first(at_rows(path.name, log["x_label"], parts.isna(), words), path.parent)
    log = _checked(path, log.rename(columns={"userID": "user", "itemID": "item"}).assign(split=parts))
    matrices = {}
    for modality, name in FEATURE_FILES.items():
        file = path.parent / name
        if file.is_file():
            matrices[modality] = _matrix(file)
            if matrices[modality].ndim != 2:
                raise CourseError(f"{file} has shape {matrices[modality].shape}; one row per item is needed.")
    _write(target, "MMRec", "mmrec", log, matrices)


def from_elliot(source: Path, target: Path, **_: object) -> None:
    """Read the config's or the usual train, val, test TSV (no header) and ``<modality>_features/<item>.npy``."""
    files = {"train": "train.tsv", "valid": "val.tsv", "test": "test.tsv"}
    folders = {modality: source / f"{modality}_features" for modality in MODALITIES}
    config = source / "config.yml"
    if config.is_file():
        data = _data_config(config)
        keys = {"train": "train_path", "valid": "validation_path", "test": "test_path"}
        files = {part: str(data.get(key) or files[part]) for part, key in keys.items()}
        for side in data.get("side_information") or []:
            found = {m: side[f"{m}_features"] for m in MODALITIES if isinstance(side, dict) and f"{m}_features" in side}
            folders |= {modality: source / str(folder) for modality, folder in found.items()}
    parts = []
    for part, file in files.items():
        path = source / file
        if not path.is_file():
            raise CourseError(f"There is no {path}; Elliot would take the test part for it, a course folder does not.")
        table = _read(path, names=["user", "item", "rating", "timestamp"])
        if part == "train" and table.empty:
            raise CourseError(f"{path} has no row; a course folder needs interactions to train on.")
        parts.append(_checked(path, table).assign(split=part))
    log = pd.concat(parts, ignore_index=True)
    matrices = {}
    for modality, folder in folders.items():
        paths = sorted(folder.glob("*.npy"), key=lambda path: _number(path.stem)) if folder.is_dir() else []
        if paths:
            vectors = [(str(path), _matrix(path).ravel()) for path in paths]
            matrices[modality] = (_stack(vectors), [path.stem for path in paths])
    _write(target, "Elliot", "elliot", log, matrices)


def _data_config(path: Path) -> dict:
    """The part of an Elliot config that names the files of a fixed split."""
    usual = "or remove it: then train.tsv, val.tsv and test.tsv are read"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or type(error).__name__
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


def from_recbole(source: Path, target: Path, **_: object) -> None:
    """Read NAME.train/valid/test.inter, NAME.item for titles, and NAME.<modality> with one vector per item."""
    parts = {part: sorted(source.rglob(f"*.{part}.inter")) for part in SPLIT_NAMES}
    wrong = [part for part, found in parts.items() if len(found) != 1]
    if wrong:
        raise CourseError(
            f"{source} needs one file *.{wrong[0]}.inter (benchmark_filename of RecBole); it has "
            f"{len(parts[wrong[0]]) or 'none'}."
        )
    tables = []
    for part, (path,) in parts.items():
        table = _untyped(_read(path))
        _need(path, table, ("user_id", "item_id"))
        tables.append(_checked(path, table.rename(columns={"user_id": "user", "item_id": "item"})).assign(split=part))
    log = pd.concat(tables, ignore_index=True)
    folder, name = parts["train"][0].parent, parts["train"][0].name.split(".train.")[0]
    matrices = {}
    for modality in MODALITIES:
        path = folder / f"{name}.{modality}"
        if path.is_file():
            matrices[modality] = _vectors(path, _read(path))
    items, path = None, folder / f"{name}.item"
    if path.is_file():
        items = _untyped(_read(path))
        _need(path, items, ("item_id",))
        items = items.rename(columns={"item_id": "item"})
        raise_first(check_items(path.name, items), folder)
    _write(target, "RecBole", "recbole", log, matrices, items)


def _one(source: Path, pattern: str, framework: str) -> Path:
    found = sorted(source.rglob(pattern))
    if len(found) != 1:
        raise CourseError(f"{source} needs one file {pattern}, as {framework} has, and holds {len(found)}.")
    return found[0]


def _read(path: Path, names: list[str] | None = None) -> pd.DataFrame:
    """Read a tab-separated table as text, index = the rows' numbers in the file.

    Args:
        names: of the first columns, at least two, for a file without a header; such a file may be empty.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, header=None if names else 0)
    except (ValueError, OSError) as error:
        if names and isinstance(error, pd.errors.EmptyDataError):
            return pd.DataFrame(columns=names[:2], dtype=object)
        raise CourseError(f"{path} cannot be read as a table ({str(error).strip()}); make it again.") from error
    table = table.astype(object).set_axis(np.arange(len(table)) + (1 if names else 2))
    if names and table.shape[1] < 2:
        raise CourseError(f"{path}, row 1: one field where {', '.join(names)} are needed; separate them by tabs.")
    return table.iloc[:, : len(names)].set_axis(names[: table.shape[1]], axis=1) if names else table


def _checked(path: Path, log: pd.DataFrame) -> pd.DataFrame:
    """Return a log whose ids, ratings and times can be used; the error names the row of the foreign file."""
    found = check_ids(path.name, log["user"]) + check_ids(path.name, log["item"])
    found += check_numbers(path.name, log["rating"])[1] if "rating" in log else []
    if "timestamp" in log:
        times = pd.to_numeric(log["timestamp"], errors="coerce").to_numpy(dtype=np.float64)
        words = "timestamp {!r} is no number; write seconds since 1970"
        found += at_rows(path.name, log["timestamp"], ~np.isfinite(times), words)
    raise_first(found, path.parent)
    return log


def _untyped(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(columns=lambda name: name.split(":")[0])


def _need(path: Path, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    for name in columns:
        if name not in table:
            raise CourseError(f"{path}, row 1: the column {name!r} is missing; it has {', '.join(table.columns)}.")


def _matrix(path: Path) -> np.ndarray:
    """Read an array of numbers, (n_items, dim), or (dim,) or (1, dim) for one item."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError, BadZipFile) as error:
        raise CourseError(
            f"{path} is not a plain NumPy array ({why_unreadable(error)}); write it again without pickle."
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
        raise CourseError(f"{path} is no array of numbers with one or two axes; write one vector per item.")
    return array


def _vectors(path: Path, table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """The matrix and the ids of a RecBole table with an id and, as one text, the numbers of its vector."""
    if table.shape[1] < 2 or table.empty:
        raise CourseError(f"{path} needs two columns, an id and its numbers separated by blanks, and at least one row.")
    rows = []
    for row, text in table.iloc[:, 1].items():
        try:
            rows.append((f"{path}, row {row}", np.array(text.split(), dtype=np.float32)))
        except ValueError as error:
            raise CourseError(f"{path}, row {row}: {error}; write numbers separated by blanks.") from error
    return _stack(rows), table.iloc[:, 0].tolist()


def _stack(vectors: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Make a matrix (n, dim) of vectors that come with the words for where each was read."""
    dim = len(vectors[0][1])
    for where, vector in vectors:
        if len(vector) != dim:
            raise CourseError(
                f"{where} has length {len(vector)} where the first vector has length {dim}; extract it again."
            )
    return np.stack([vector for _, vector in vectors])


def _number(name: str) -> tuple:
    return (0, int(name), "") if name.isascii() and name.isdigit() else (1, 0, name)


def _write(target: Path, framework: str, layout: str, log: pd.DataFrame, matrices: dict, items=None) -> None:
    """Write the course folder; a matrix without names has row = item id."""
    matrices = {m: v if isinstance(v, tuple) else (v, [str(i) for i in range(len(v))]) for m, v in matrices.items()}
    names = sorted(set(log["item"]).union(*(rows for _, rows in matrices.values())), key=_number)
    table = pd.DataFrame({"item": names})
    if items is not None:
        table = table.merge(items[["item", *(["title"] if "title" in items else [])]], on="item", how="left").fillna("")
    write_table(target / "items.tsv", table)
    columns = [c for c in ("user", "item", "rating", "timestamp", "split") if c in log]
    log = log[columns]
    if "timestamp" in log:
        log = log.assign(timestamp=pd.to_numeric(log["timestamp"], errors="coerce").fillna(0).astype(np.int64))
    write_table(target / "interactions.tsv.gz", log)
    (target / "features").mkdir(exist_ok=True)
    write_text(target / "features" / "items.txt", "".join(f"{name}\n" for name in names))
    place = {name: row for row, name in enumerate(names)}
    for modality, (matrix, rows) in matrices.items():
        full = np.zeros((len(names), matrix.shape[1]), dtype=np.float32)
        mask = np.zeros(len(names), dtype=bool)
        where = [place[row] for row in rows]
        full[where], mask[where] = matrix, True
        for stem, array in ((modality, full), (f"{modality}_mask", mask)):
            with atomic_path(target / "features" / f"{stem}.npy") as temporary, open(temporary, "wb") as stream:
                np.save(stream, array, allow_pickle=False)
    with atomic_path(target / "README.md") as temporary:
        text = CARD.format(name=target.resolve().name, framework=framework, layout=layout)
        temporary.write_text(text, encoding="utf-8")


READERS: dict[str, Callable[..., None]] = {"mmrec": from_mmrec, "elliot": from_elliot, "recbole": from_recbole}
