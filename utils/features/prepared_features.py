"""Load and save prepared features of a dataset folder (features/<modality>.npy), and choose what to load."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from utils.arrays import read_array, write_array, write_sums
from utils.data import Dataset
from utils.errors import CourseError
from utils.features.at_scale.cleaning import clean_text
from utils.features.extraction import content_digest, contents, extract
from utils.features.matrix import MODALITIES, Features
from utils.features.registry import check_modality
from utils.files import read_json, write_json, write_text


def _items_of(folder: Path) -> np.ndarray | None:
    """The ids in items.txt, one a line, or None without that file."""
    path = folder / "items.txt"
    if not path.is_file():
        return None
    try:
        return np.array(path.read_text(encoding="utf-8").splitlines(), dtype=str)
    except UnicodeDecodeError as error:
        raise CourseError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None


def save_prepared(features: Features, folder: str | Path, dtype: str = "float16") -> Path:
    """Write features into a dataset folder, as :func:`prepared` reads them.

    Args:
        features: all items of the dataset, in the same row order for every modality of the folder.
        folder: the dataset's folder; files go to ``folder/features/``: <modality>.npy, <modality>.json (provenance),
            <modality>_mask.npy when an item lacks the modality, items.txt (the id of each row) and SHA256SUMS.
        dtype: ``"float16"`` halves the size; ``"float32"`` keeps every bit.

    Returns:
        The path of the matrix.

    Raises:
        CourseError: values too large for float16, other ids than those in items.txt, a folder that cannot be written.
    """
    folder = Path(folder) / "features"
    if dtype == "float16" and np.abs(features.matrix).max(initial=0) > np.finfo(np.float16).max:
        raise CourseError(f"The {features.modality} features exceed what float16 holds; save with dtype='float32'.")
    known = _items_of(folder)
    if known is not None and not np.array_equal(known, features.item_names):
        raise CourseError(
            f"{folder / 'items.txt'} names other rows than these {features.modality} features; "
            "align them first, or empty the folder."
        )
    write_text(folder / "items.txt", "".join(f"{name}\n" for name in features.item_names))
    path = folder / f"{features.modality}.npy"
    write_array(path, features.matrix.astype(dtype))
    mask_path = folder / f"{features.modality}_mask.npy"
    if features.mask.all():
        mask_path.unlink(missing_ok=True)
    else:
        write_array(mask_path, features.mask)
    write_sums(folder, (path.name, mask_path.name))
    write_json(folder / f"{features.modality}.json", {**features.provenance, "dtype": dtype})
    return path


def _row_names(dataset: Dataset, n_rows: int, path: Path) -> np.ndarray:
    """Ids of the rows: items.txt; without it 0..n-1, read as ids when the items are named so, else as positions."""
    names = _items_of(path.parent)
    if names is not None:
        if len(names) != n_rows:
            raise CourseError(
                f"{path} has {n_rows} rows but items.txt beside it names {len(names)}; write one id per row, in order."
            )
        return names
    numbers = np.arange(n_rows).astype(str)
    if np.isin(dataset.item_names, numbers).all():
        return numbers
    if n_rows != dataset.n_items:
        raise CourseError(
            f"{path} has {n_rows} rows but {dataset.name} has {dataset.n_items} items and no items.txt says "
            f"whose they are; write {path.parent / 'items.txt'} with one item id per row."
        )
    return dataset.item_names


def prepared(dataset: Dataset, modality: str) -> Features | None:
    """Read the dataset folder's own features of one modality, aligned to its items by id; None when it has none.

    Raises:
        CourseError: rows that do not match the ids, an item without a row, NaN (file and row are named).
    """
    path = Path(dataset.path) / "features" / f"{check_modality(modality)}.npy"
    if not path.exists():
        return None
    matrix = read_array(path)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not matrix.size:
        raise CourseError(f"{path} has shape {matrix.shape} and type {matrix.dtype}; give numbers (n_items, dim).")
    names = _row_names(dataset, len(matrix), path)
    mask_path = path.with_name(f"{modality}_mask.npy")
    mask = read_array(mask_path) if mask_path.exists() else np.ones(len(matrix), dtype=bool)
    if mask.shape != (len(matrix),) or mask.dtype.kind not in "biu":
        raise CourseError(
            f"{mask_path} has shape {mask.shape} and type {mask.dtype}; give one True or False per row of {path.name}."
        )
    mask = mask.astype(bool)
    with np.errstate(over="ignore"):  # what float32 does not hold is infinity, and named below
        matrix = matrix.astype(np.float32)
    bad = np.flatnonzero(mask & ~np.isfinite(matrix).all(axis=1))
    if len(bad):
        raise CourseError(
            f"{path} holds NaN or infinity in row {bad[0]} (item {str(names[bad[0]])!r}; {len(bad)} row(s) in all); "
            f"extract that item again, or set its row of {mask_path.name} to False."
        )
    about = path.with_suffix(".json")
    try:
        provenance = read_json(about) if about.is_file() else {"encoder": f"{path.name} as given"}
    except ValueError as error:
        raise CourseError(
            f"{about} is not JSON that says what features are ({error}); correct it or delete it."
        ) from None
    try:
        return Features(modality, matrix, names, mask, provenance).align(dataset.item_names)
    except CourseError as error:
        raise CourseError(f"{path}: {error}") from None


def load_features(dataset: Dataset, modalities: Iterable[str] | None = None) -> dict[str, Features]:
    """Every modality that the dataset has: prepared features where the folder has them, else the default encoder's.

    Args:
        modalities: which ones; None = all three. An empty list, from a dataset without any content, gives
            :func:`stand_in` and says so.

    Returns:
        modality -> Features. A modality that no item has is left out, with a note (a warning) that says so.

    Raises:
        CourseError: unknown modality, broken prepared features, or not one modality left.
    """
    wanted = [modalities] if isinstance(modalities, str) else list(MODALITIES if modalities is None else modalities)
    found: dict[str, Features] = {} if wanted else stand_in(dataset)
    for modality in wanted:
        features = prepared(dataset, modality)
        if features is None and any(contents(dataset, modality)):
            features = extract(dataset, modality)
        if features is not None and features.mask.any():
            found[modality] = features
        else:
            warnings.warn(f"No item of {dataset.name} has {modality} content, so it is left out.", stacklevel=2)
    if not found:
        raise CourseError(
            f"No item of {dataset.name} has {' or '.join(wanted)} content; fill the columns description, image or "
            "audio of items.tsv, or put a matrix into the folder features/."
        )
    return found


def stand_in(dataset: Dataset, dim: int = 64) -> dict[str, Features]:
    """Return random vectors as features of a dataset without content: a lower bound for models with content, no result.

    A notebook that judges models with content can then run on a log alone; every row with content is a control in it.
    """
    print(f"{dataset.name} has no content: random vectors stand in, so that every model with content is a control.")
    matrix = np.random.default_rng(0).standard_normal((dataset.n_items, dim)).astype(np.float32)
    names, mask = np.asarray(dataset.item_names).astype(str), np.ones(dataset.n_items, dtype=bool)
    return {"textual": Features("textual", matrix, names, mask, {"encoder": "random vectors, no content"})}


def check_content(features: Features, dataset: Dataset, language: str | None = None) -> list[str]:
    """Ids of items whose row was made from other content than the dataset has now (a shifted row, a changed picture).

    Raises:
        CourseError: the features do not say what they were made from (no ``content_rows`` in their provenance).
    """
    if "content_rows" not in features.provenance:
        raise CourseError(f"The {features.modality} features do not say what they were made from; extract them again.")
    features = features.align(dataset.item_names)
    language = features.provenance.get("language") if language is None else language
    steps, wrong = features.provenance.get("cleaning") or (), []
    for name, value, row in zip(
        features.item_names, contents(dataset, features.modality, language), features.provenance["content_rows"]
    ):
        if steps and value:
            value = clean_text(value, steps).strip() or None
        try:
            digest = content_digest(value)
        except OSError:
            digest = ""
        if digest[:16] != row:
            wrong.append(str(name))
    return wrong
