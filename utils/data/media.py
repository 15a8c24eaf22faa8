"""Which pictures, texts and sounds of a dataset a model cannot read, and why."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from utils.data.dataset import Dataset, leaves
from utils.data.pictures import image_problem, sound_problem


def check_media(dataset: Dataset) -> pd.DataFrame:
    """Read every picture and sound once and list what a model cannot use.

    Returns:
        One row per problem: item (raw id), modality, file (path inside the folder, or items.tsv), problem. An item
        whose modality is simply missing is no problem; an item without any text is one when other items have text.
    """
    rows = _media_rows(dataset, "visual", "image", image_problem)
    texts = dataset.texts()
    if any(texts):
        problem = "empty description and no title; write a description, or clean() drops the item"
        rows += [(n, "textual", "items.tsv", problem) for n, text in zip(dataset.items["item"], texts) if not text]
    rows += _media_rows(dataset, "audio", "audio", sound_problem)
    return pd.DataFrame(rows, columns=["item", "modality", "file", "problem"])


def _media_rows(dataset: Dataset, modality: str, column: str, check) -> list[tuple[str, str, str, str]]:
    named = dataset.items.loc[dataset.items[column] != "", ["item", column]]
    outside = set(named[column][leaves(dataset.path, [dataset.path / value for value in named[column]])])

    def problem_of(value: str) -> str:
        if value in outside:
            return "the link leaves the dataset's folder; copy the file into it"
        return check(dataset.path / value)

    # Decoding releases the interpreter lock, so threads help; the warning filter is set once, outside of them.
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("ignore")
        problems = list(pool.map(problem_of, named[column]))
    return [(name, modality, value, p) for (name, value), p in zip(named.itertuples(index=False), problems) if p]
