"""Write a dataset as a course folder, and make a clean folder of one's own: one row a pair, likes, k-core."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from utils.data.cleaning import clean, iterative_k_core, keep_positive
from utils.data.dataset import MODALITIES, Dataset
from utils.data.folders import build_aside, check_target, write_mark
from utils.data.load import load_dataset
from utils.data.tables import write_table
from utils.errors import CourseError
from utils.features.prepared_features import prepared, save_prepared
from utils.files import write_text

CARD = """# {name}

Made from {source} by `python -m utils.data clean`: {choices}. What each step removed, in rows, items or files:

{steps}
"""


def write_folder(dataset: Dataset, target: str | Path, *, source: Dataset | None = None) -> Path:
    """Write a dataset as a course folder that loads as it is: tables, pictures, sounds and prepared features.

    Args:
        target: the folder to make; new or empty.
        source: the dataset that this one was selected from; its prepared features are taken by the items' ids. None =
            the dataset itself, as its folder holds it.

    Returns:
        ``target``.

    Raises:
        CourseError: a folder that holds files, or a picture or sound that cannot be copied.
    """
    target = Path(target)
    if target.is_dir() and any(target.iterdir()):
        raise CourseError(f"{target} holds files already; give a new or empty folder.")
    with build_aside(target) as new:
        _fill(dataset, new, source or dataset)
    return target


def _fill(dataset: Dataset, folder: Path, source: Dataset) -> None:
    interactions, items = dataset.to_frames()
    empty = [column for column in items if column != "item" and (items[column] == "").all()]
    write_table(folder / "items.tsv", items.drop(columns=empty))
    write_table(folder / "interactions.tsv.gz", interactions)
    root = dataset.path.resolve()
    for value in sorted({value for column in ("image", "audio") for value in items[column] if value}):
        path = (dataset.path / value).resolve()
        if not path.is_relative_to(root):
            raise CourseError(f"{dataset.path / value} is a link that leaves the folder; copy the file into it.")
        if path.is_file():  # what is missing is named by check, here as there
            (folder / value).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / value)
    for modality in MODALITIES:
        features = prepared(source, modality)
        if features is not None:
            save_prepared(features.align(dataset.item_names), folder, dtype="float32")


def clean_folder(
    source: str | Path,
    target: str | Path,
    *,
    k_core: int = 0,
    min_rating: float | None = None,
    keep: str = "latest",
    media: str = "mask",
    missing_text: str = "mask",
) -> pd.DataFrame:
    """Make a clean folder of a course folder: ``clean()``, then likes, then the k-core.

    Args:
        source: a path, or the name of a folder in ``data/``; it is only read.
        target: the folder to make; new, empty, or made by this command and unchanged since.
        k_core: smallest number of interactions of each user and item; 0 = all.
        min_rating: smallest rating that counts, judged on the row that stays of a repeated pair; None = all.
        keep, media, missing_text: as in :func:`utils.data.clean`.

    Returns:
        One row per step: step, what (is counted), removed, kept.

    Raises:
        CourseError: nothing is left, no ratings, a target that holds something else.
    """
    if k_core < 0:
        raise CourseError(f"--k-core is {k_core}; give 0 for none, or the least number of interactions.")
    dataset = load_dataset(source)
    target = Path(target)
    if target.resolve().is_relative_to(dataset.path.resolve()) or dataset.path.resolve().is_relative_to(
        target.resolve()
    ):
        raise CourseError(f"{target} and {dataset.path} lie in each other; give another folder to write to.")
    check_target(target, "clean")
    now, log = clean(dataset, keep=keep, media=media, missing_text=missing_text)
    rows = log.to_dict("records")
    if min_rating is not None:
        now = _step(rows, f"rating of {min_rating:g} or more", now, keep_positive(now, min_rating))
    if not now.n_interactions:
        highest = dataset.interactions["rating"].max()
        raise CourseError(f"No rating of {dataset.name} is {min_rating:g} or more (the highest is {highest:g}); give a smaller --min-rating.")  # fmt: skip
    if k_core:
        now = _step(rows, f"{k_core}-core", now, iterative_k_core(now, k_core, k_core))
    steps = pd.DataFrame(rows, columns=list(log.columns))
    choices = f"k-core {k_core or 'none'}, smallest rating {'any' if min_rating is None else f'{min_rating:g}'}"
    with build_aside(target) as new:
        _fill(now, new, dataset)
        write_text(new / "README.md", _card(dataset, target, choices, steps))
        load_dataset(new)
        write_mark(new, "clean", [path for path in sorted(new.rglob("*")) if path.is_file()])
    return steps


def _step(rows: list[dict], name: str, before: Dataset, after: Dataset) -> Dataset:
    removed = before.n_interactions - after.n_interactions
    rows.append({"step": name, "what": "interactions", "removed": removed, "kept": after.n_interactions})
    return after


def _card(dataset: Dataset, target: Path, choices: str, steps: pd.DataFrame) -> str:
    """The card: what was done, and the card of the source below."""
    lines = ["| step | what | removed | kept |", "|---|---|---:|---:|"]
    lines += [f"| {row.step} | {row.what} | {row.removed:,} | {row.kept:,} |" for row in steps.itertuples()]
    text = CARD.format(name=target.resolve().name, source=dataset.name, choices=choices, steps="\n".join(lines))
    card = dataset.path / "README.md"
    graphs = np.any([(dataset.path / f"item_knn_{modality}.npz").is_file() for modality in MODALITIES])
    text += "\nThe item graphs of the source are left out: they belong to its items.\n" if graphs else ""
    if card.is_file():
        text += f"\nThe card of {dataset.name}:\n\n{card.read_text(encoding='utf-8', errors='replace')}"
    return text
