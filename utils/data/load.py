"""Room "Which?" (utils/data): read a course folder and check it; every message names file, row and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from utils.data import tables as tsv
from utils.data.dataset import ITEM_COLUMNS, MODALITIES, NO_TEXT, Dataset, assemble, npy_shape
from utils.errors import CourseError, suggest
from utils.files import ROOT, why_unreadable

# What a missing optional column costs: said once, in Dataset.notes.
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


def load_dataset(name_or_path: str | Path = "sticker_shop", tables: str = "", *, strict: bool = True) -> Dataset:
    """Read and check a course folder.

    Args:
        name_or_path: the name of a folder in ``data/``, or a path.
        tables: a folder inside it to read the tables from, for example ``"raw"``; media stay where they are.
        strict: refuse duplicated item ids and interactions with unknown or empty ids. With False the first item of an
            id counts, such interactions are left out, and the notes say how many.

    Raises:
        CourseError: unknown name, or a folder that breaks the format; the message names file, row and remedy.
    """
    folder = find_folder(name_or_path)
    base = folder / tables if tables else folder
    path = tsv.find_table(base, "interactions")
    if path is None:
        raise CourseError(f"{base} has no interactions.tsv or interactions.tsv.gz; every dataset needs one.")
    notes: list[str] = []
    items = _read_items(folder, base, strict, notes)
    interactions = _read_interactions(path, items, strict, notes)
    return assemble(folder.resolve().name, folder, items, interactions, tuple(notes))


def known_datasets() -> list[str]:
    """Return the names of the dataset folders in ``data/``."""
    data = ROOT / "data"
    return sorted(p.name for p in data.glob("*") if p.is_dir() and list(p.glob("interactions.tsv*")))


def find_folder(name_or_path: str | Path) -> Path:
    """Turn a dataset's name or a path into an existing folder.

    Raises:
        CourseError: there is none; the nearest names are suggested.
    """
    text = str(name_or_path)
    if text in known_datasets():
        return ROOT / "data" / text
    path = Path(text).expanduser()
    if path.is_dir():
        return path
    if isinstance(name_or_path, Path) or "/" in text or "\\" in text:
        raise CourseError(f"There is no folder {path}; correct the path, or give the name of a folder in data/.")
    raise suggest(text, known_datasets(), "dataset")


def _read_items(folder: Path, base: Path, strict: bool, notes: list[str]) -> pd.DataFrame:
    path = tsv.find_table(base, "items")
    if path is None:
        return _prepared_items(folder, base, notes)
    items = tsv.read_table(path, required=("item",))
    if items.empty:
        raise CourseError(f"{path} names no item; it needs one row per item below the header.")
    tsv.check_ids(path, items, "item")
    repeated = np.flatnonzero(items["item"].duplicated().to_numpy())
    if len(repeated) and strict:
        first = items["item"].iloc[repeated[0]]
        raise CourseError(
            f"{path}, row {repeated[0] + 2}: item {first!r} occurs a second time; remove or rename one of the two "
            "rows, or load with strict=False to keep the first."
        )
    if len(repeated):
        items = items.drop_duplicates("item").reset_index(drop=True)
        notes.append(f"{path.name} repeats {len(repeated)} item ids: the first row of each counts.")
    for column in ("image", "audio"):
        if column in items:
            tsv.check_paths(path, items, column)
    _note_columns(path, items, ITEM_COLUMNS, notes)
    if "description" in items:
        _note_empty(path, items, notes)
    for column in ITEM_COLUMNS:
        if column not in items:
            items[column] = ""
    languages = [c for c in items if c.startswith("description_")]
    first_columns = ["item", *ITEM_COLUMNS, *languages]
    return items[first_columns + [c for c in items if c not in first_columns]]


def _note_columns(path: Path, table: pd.DataFrame, optional: tuple[str, ...], notes: list[str]) -> None:
    notes += [f"{path.name} has no column {name!r}: {COST[name]}." for name in optional if name not in table]


def _note_empty(path: Path, items: pd.DataFrame, notes: list[str]) -> None:
    """Say how many descriptions are empty, and whether a title stands in."""
    empty = (items["description"].str.strip() == "").to_numpy(dtype=bool)
    titled = (items["title"].str.strip() != "").to_numpy(dtype=bool) if "title" in items else np.zeros_like(empty)
    for rows, cost in ((empty & titled, "the title stands in"), (empty & ~titled, NO_TEXT)):
        if rows.any():
            notes.append(
                f"{path.name} has {rows.sum()} empty description{'s' * int(rows.sum() > 1)} "
                f"(first: row {np.flatnonzero(rows)[0] + 2}): {cost}; write one, or leave it missing."
            )


def _prepared_items(folder: Path, base: Path, notes: list[str]) -> pd.DataFrame:
    """Make the items of a folder without items.tsv from its prepared features: ids 0..n-1, or features/items.txt.

    Without features and item graphs, the items are those of the interactions.
    """
    sizes = {
        p.name: npy_shape(p)[0] for p in sorted((folder / "features").glob("*.npy")) if not p.stem.endswith("_mask")
    }
    for path in sorted(folder.glob("item_knn_*.npz")):
        with _open_npz(path) as archive:
            sizes[path.name] = int(archive["n_items"])
    if not sizes:
        return _items_of_interactions(base, notes)
    if len(set(sizes.values())) > 1:
        facts = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise CourseError(f"The prepared files of {folder} disagree on the number of items ({facts}); make them again.")
    n_items = next(iter(sizes.values()))
    names = [str(i) for i in range(n_items)]
    if (folder / "features" / "items.txt").is_file():
        names = tsv.decode(folder / "features" / "items.txt").rstrip("\n").split("\n")
        if len(names) != n_items or len(set(names)) != n_items:
            raise CourseError(
                f"{folder / 'features' / 'items.txt'} needs {n_items} different ids, one per feature row, and has "
                f"{len(set(names))} different ones in {len(names)} rows; write it again."
            )
    notes.append(f"No items.tsv: a prepared folder of {n_items} items, without titles, texts, pictures or sounds.")
    return pd.DataFrame({"item": np.array(names, dtype=object), **{column: "" for column in ITEM_COLUMNS}})


def _items_of_interactions(base: Path, notes: list[str]) -> pd.DataFrame:
    """Make the items of a folder that has interactions and nothing else; whole numbers are sorted as numbers."""
    table = tsv.read_table(tsv.find_table(base, "interactions"), required=("user", "item"))
    names = table["item"].unique().tolist()
    names.sort(key=lambda name: (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name))
    names = [name for name in names if name.strip()]
    notes.append(f"No items.tsv: the {len(names)} items are those of the interactions, without any content.")
    return pd.DataFrame({"item": np.array(names, dtype=object), **{column: "" for column in ITEM_COLUMNS}})


def item_graphs(dataset: Dataset) -> dict[str, sp.csr_matrix]:
    """Return the item graphs that a folder brings (``item_knn_<modality>.npz``), modality -> (n_items, n_items).

    Row = item, columns = its neighbours. A folder that has graphs instead of features is enough for some models.

    Raises:
        CourseError: a file that is no item graph, names items that are not there, or has another number of items.
    """
    found = {}
    for modality in MODALITIES:
        path = dataset.path / f"item_knn_{modality}.npz"
        if not path.is_file():
            continue
        with _open_npz(path) as archive:
            missing = {"row", "col", "value"} - set(archive.files)
            if missing:
                raise CourseError(f"{path} lacks {', '.join(sorted(missing))}; write row, col, value and n_items.")
            row, col, value, n_items = (archive[name] for name in ("row", "col", "value", "n_items"))
        if int(n_items) != dataset.n_items:
            raise CourseError(
                f"{path} is a graph of {int(n_items)} items, the dataset has {dataset.n_items}; make it again."
            )
        ends = np.concatenate([row, col])
        if not len(row) == len(col) == len(value) or (len(ends) and not 0 <= ends.min() <= ends.max() < n_items):
            raise CourseError(f"{path} has an edge outside items 0 to {int(n_items) - 1}; make it again.")
        if not np.isfinite(value).all():
            raise CourseError(
                f"{path} holds NaN or infinity in edge {int(np.argmin(np.isfinite(value)))}; make it again."
            )
        found[modality] = sp.csr_matrix((value.astype(np.float32), (row, col)), shape=(dataset.n_items,) * 2)
    return found


def _open_npz(path: Path) -> np.lib.npyio.NpzFile:
    try:
        archive = np.load(path, allow_pickle=False)
        archive["n_items"]
    except (ValueError, EOFError, OSError, KeyError) as error:
        raise CourseError(
            f"{path} is not an item graph (row, col, value, n_items): {why_unreadable(error)}; make it again."
        ) from error
    return archive


def _read_interactions(path: Path, items: pd.DataFrame, strict: bool, notes: list[str]) -> pd.DataFrame:
    table = tsv.read_table(path, required=("user", "item"))
    if table.empty:
        raise CourseError(f"{path} has a header but no interaction; it needs one row per user and item.")
    known = table["item"].isin(items["item"]).to_numpy(dtype=bool)
    if strict:
        for column in ("user", "item"):
            tsv.check_ids(path, table, column)
        _check_known(path, table, known)
    for column in ("rating", "timestamp"):
        if column in table:
            table[column] = tsv.to_number(path, table, column, whole=column == "timestamp")
    if "split" in table:
        tsv.check_split_column(path, table["split"])
    known = known & ~tsv.bad_ids(table["user"])
    if not known.all():
        notes.append(f"{path.name} has {(~known).sum()} interactions with an unknown or empty id: they are left out.")
        table = table[known]
    if table.empty:
        raise CourseError(f"{path} has no interaction with a known item; compare its item ids with items.tsv.")
    _note_columns(path, table, ("rating", "timestamp", "review", "split"), notes)
    if "timestamp" in table and table["timestamp"].max() > 100_000_000_000:
        notes.append(f"{path.name} seems to have timestamps in milliseconds: divide by 1000 for right dates.")
    return table


def _check_known(path: Path, table: pd.DataFrame, known: np.ndarray) -> None:
    if not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise CourseError(
            f"{path}, row {row + 2}: item {table['item'].iloc[row]!r} is not in the items table; add it to items.tsv, "
            "remove the row, or load with strict=False to leave such rows out."
        )
