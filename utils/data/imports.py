"""Room "Which?" (utils/data): prepared folders of other frameworks as course folders, with their split as it is.

Such folders hold whole-number ids, a split and feature matrices, but no titles, texts or pictures.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from utils.data.dataset import MODALITIES
from utils.data.export import FEATURE_FILES
from utils.data.tables import SPLIT_NAMES, write_table
from utils.errors import CourseError
from utils.files import atomic_path, why_unreadable

CARD = """# {name}

Made from a prepared folder of {framework} by `python -m utils.data convert {layout} SOURCE TARGET`. Its ids and its split
are as they were; titles, texts and pictures are not part of such a folder. Source, licence and limits: those of the
folder that it was made from; write them here.
"""


def from_mmrec(source: Path, target: Path, **_: object) -> None:
    """Read ``NAME.inter`` (userID, itemID, x_label 0/1/2) and image_feat.npy, text_feat.npy, audio_feat.npy."""
    log = _read(_one(source, "*.inter", "MMRec"), "\t")
    path = _one(source, "*.inter", "MMRec")
    _need(path, log, ("userID", "itemID", "x_label"))
    parts = log["x_label"].map({str(i): name for i, name in enumerate(SPLIT_NAMES)})
    if parts.isna().any():
        row = int(np.flatnonzero(parts.isna())[0]) + 2
        raise CourseError(f"{path}, row {row}: x_label {log['x_label'].iloc[row - 2]!r} is unknown; write 0, 1 or 2.")
    log = log.rename(columns={"userID": "user", "itemID": "item"}).assign(split=parts)
    files = {modality: path.parent / file for modality, file in FEATURE_FILES.items()}
    matrices = {m: _matrix(file) for m, file in files.items() if file.is_file()}
    _write(target, "MMRec", "mmrec", log, matrices)


def from_elliot(source: Path, target: Path, **_: object) -> None:
    """Read the config's or the usual train, val, test TSV (no header) and ``<modality>_features/<item>.npy``."""
    files = {"train": "train.tsv", "valid": "val.tsv", "test": "test.tsv"}
    folders = {modality: source / f"{modality}_features" for modality in MODALITIES}
    config = source / "config.yml"
    if config.is_file():
        data = yaml.safe_load(config.read_text(encoding="utf-8"))["experiment"]["data_config"]
        keys = {"train": "train_path", "valid": "validation_path", "test": "test_path"}
        files = {part: data.get(key, files[part]) for part, key in keys.items()}
        for side in data.get("side_information", []):
            found = {m: side[f"{m}_features"] for m in MODALITIES if f"{m}_features" in side}
            folders |= {modality: source / folder for modality, folder in found.items()}
    parts = []
    for part, file in files.items():
        path = source / file
        if not path.is_file():
            raise CourseError(f"There is no {path}; Elliot would take the test part for it, a course folder does not.")
        table = _read(path, "\t", header=False)
        names = ["user", "item", "rating", "timestamp"][: table.shape[1]]
        parts.append(table.iloc[:, : len(names)].set_axis(names, axis=1).assign(split=part))
    log = pd.concat(parts, ignore_index=True)
    matrices, names = {}, None
    for modality, folder in folders.items():
        if folder.is_dir():
            rows = {path.stem: _matrix(path).ravel() for path in folder.glob("*.npy")}
            names = sorted(rows, key=_number)
            matrices[modality] = (np.stack([rows[name] for name in names]), names)
    _write(target, "Elliot", "elliot", log, matrices)


def from_recbole(source: Path, target: Path, **_: object) -> None:
    """Read NAME.train/valid/test.inter, NAME.item for titles, and NAME.<modality> with one vector per item."""
    parts = {part: list(source.rglob(f"*.{part}.inter")) for part in SPLIT_NAMES}
    missing = [part for part, found in parts.items() if len(found) != 1]
    if missing:
        raise CourseError(f"{source} needs one file *.{missing[0]}.inter (benchmark_filename of RecBole); it has none.")
    tables = []
    for part, (path,) in parts.items():
        table = _untyped(_read(path, "\t"))
        _need(path, table, ("user_id", "item_id"))
        tables.append(table.assign(split=part))
    log = pd.concat(tables, ignore_index=True).rename(columns={"user_id": "user", "item_id": "item"})
    folder, name = parts["train"][0].parent, parts["train"][0].name.split(".train.")[0]
    matrices = {}
    for modality in MODALITIES:
        path = folder / f"{name}.{modality}"
        if path.is_file():
            table = _read(path, "\t")
            vectors = [np.array(row.split(), dtype=np.float32) for row in table.iloc[:, 1]]
            matrices[modality] = (np.stack(vectors), table.iloc[:, 0].tolist())
    items = None
    if (folder / f"{name}.item").is_file():
        items = _untyped(_read(folder / f"{name}.item", "\t")).rename(columns={"item_id": "item"})
    _write(target, "RecBole", "recbole", log, matrices, items)


def _one(source: Path, pattern: str, framework: str) -> Path:
    found = sorted(source.rglob(pattern))
    if len(found) != 1:
        raise CourseError(f"{source} needs one file {pattern}, as {framework} has, and holds {len(found)}.")
    return found[0]


def _read(path: Path, separator: str, header: bool = True) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, header=0 if header else None)
    except (ValueError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} cannot be read as a table ({str(error).strip()}); make it again.") from error


def _untyped(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(columns=lambda name: name.split(":")[0])


def _need(path: Path, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    for name in columns:
        if name not in table:
            raise CourseError(f"{path}, row 1: the column {name!r} is missing; it has {', '.join(table.columns)}.")


def _matrix(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CourseError(
            f"{path} is not a plain NumPy array ({why_unreadable(error)}); write it again without pickle."
        ) from error


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
    with atomic_path(target / "features" / "items.txt") as temporary:
        temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", newline="\n")
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
