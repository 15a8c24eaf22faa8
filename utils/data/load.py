"""Read a course folder and check it; every message names file, row and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from utils.arrays import read_arrays, read_shape
from utils.data.dataset import MODALITIES, Dataset, assemble, with_item_columns
from utils.data.rules import KEY, OPTIONAL, bad_ids, check_interactions, check_items
from utils.data.tables import Finding, decode, find_table, raise_first, scan_table
from utils.errors import CourseError, suggest
from utils.files import ROOT


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
    items, interactions, found = read_folder(folder, base)
    raise_first(found, base, strict)
    return dataset_of(folder, items, interactions, found)


def read_folder(folder: Path, base: Path) -> tuple[pd.DataFrame | None, pd.DataFrame | None, list[Finding]]:
    """Read the two tables of a course folder and judge them by :mod:`utils.data.rules`.

    Args:
        folder: the dataset; base: the folder of its tables.

    Returns:
        Items and interactions as far as they can be read, and everything that there is to say about them.
    """
    items = interactions = None
    found: list[Finding] = []
    try:
        items_path, log_path = (find_table(base, stem) for stem in KEY)
        if log_path is None:
            found.append(Finding("error", "interactions.tsv", " is missing; every dataset needs one (or a .tsv.gz)."))
        else:
            interactions, about_log = scan_table(log_path, KEY["interactions"], OPTIONAL["interactions"])
        if items_path is not None:
            items, more = scan_table(items_path, KEY["items"], OPTIONAL["items"])
            found += more
            found += check_items(items_path.name, items) if items is not None else []
        elif interactions is not None:
            items, note = _prepared_items(folder, interactions)
            found.append(note)
        if log_path is not None:
            found += about_log
        if interactions is not None:
            interactions, more = check_interactions(log_path.name, interactions, items)
            found += more
    except CourseError as error:
        found.append(Finding("error", "", str(error)))
    return items, interactions, found


def dataset_of(folder: Path, items: pd.DataFrame, interactions: pd.DataFrame, found: list[Finding]) -> Dataset:
    """Make the dataset of two tables that :func:`read_folder` read; rows with lenient errors are left out.

    Raises:
        CourseError: nothing is left.
    """
    notes = [f"{f.file}{f.tail}" for f in found if f.severity != "error"]
    if any(finding.lenient for finding in found):
        repeated = items["item"].duplicated().to_numpy()
        items = items[~repeated]
        unknown = ~interactions["item"].isin(items["item"]).to_numpy(dtype=bool) | bad_ids(interactions["user"])
        interactions = interactions[~unknown]
        if repeated.any():
            notes.append(f"The items table repeats {repeated.sum()} item ids: the first row of each counts.")
        if unknown.any():
            notes.append(f"{unknown.sum()} interactions with an unknown or empty id are left out.")
        if interactions.empty:
            raise CourseError(f"{folder} has no interaction with a known item; compare its item ids with items.tsv.")
    items = with_item_columns(items)
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


def _prepared_items(folder: Path, interactions: pd.DataFrame) -> tuple[pd.DataFrame, Finding]:
    """Make the items of a folder without items.tsv from its prepared features: ids 0..n-1, or features/items.txt.

    Without features and item graphs, the items are those of the interactions, whole numbers sorted as numbers.
    """
    sizes = {
        p.name: read_shape(p)[0] for p in sorted((folder / "features").glob("*.npy")) if not p.stem.endswith("_mask")
    }
    for path in sorted(folder.glob("item_knn_*.npz")):
        sizes[path.name] = int(_read_npz(path)["n_items"])
    if len(set(sizes.values())) > 1:
        facts = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise CourseError(f"The prepared files of {folder} disagree on the number of items ({facts}); make them again.")
    if not sizes:
        names = [name for name in interactions["item"].unique().tolist() if name.strip()]
        names.sort(key=lambda name: (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name))
        told = f"the {len(names)} items are those of the interactions, without any content."
    else:
        n_items = next(iter(sizes.values()))
        names = [str(i) for i in range(n_items)]
        if (folder / "features" / "items.txt").is_file():
            names = decode(folder / "features" / "items.txt").rstrip("\n").split("\n")
            if len(names) != n_items or len(set(names)) != n_items:
                raise CourseError(
                    f"{folder / 'features' / 'items.txt'} needs {n_items} different ids, one per feature row, and has "
                    f"{len(set(names))} different ones in {len(names)} rows; write it again."
                )
        told = f"a prepared folder of {n_items} items, without titles, texts, pictures or sounds."
    return pd.DataFrame({"item": np.array(names, dtype=object)}), Finding("note", "", f"No items.tsv: {told}")


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
        graph = _read_npz(path)
        missing = {"row", "col", "value"} - set(graph)
        if missing:
            raise CourseError(f"{path} lacks {', '.join(sorted(missing))}; write row, col, value and n_items.")
        row, col, value, n_items = (graph[name] for name in ("row", "col", "value", "n_items"))
        if not all(part.ndim == 1 for part in (row, col, value)) or any(p.dtype.kind not in "iu" for p in (row, col)):
            raise CourseError(f"{path}: row and col must be lists of whole numbers; write row, col, value and n_items.")
        if value.dtype.kind not in "fiu":
            raise CourseError(f"{path}: value holds no numbers; write row, col, value and n_items.")
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


MAX_ITEMS = 20_000_000  # of a folder that says how many items it has and names none


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an item graph; its number of items is one whole number."""
    graph = read_arrays(path, remedy="an item graph has row, col, value and n_items: make it again")
    n_items = graph.get("n_items", np.zeros(0))
    if n_items.size != 1 or n_items.dtype.kind not in "iu":
        raise CourseError(f"{path} is not an item graph: n_items is not one whole number; make it again.")
    if not 0 < int(n_items.item()) <= MAX_ITEMS:
        raise CourseError(
            f"{path} is a graph of {n_items.item():,} items, where 1 to {MAX_ITEMS:,} are read; make it again."
        )
    return {**graph, "n_items": n_items.reshape(())}
