"""Look for leaks in a split: what the training part knows and should not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from utils.data.dataset import Dataset
from utils.data.split import Split
from utils.data.tables import SPLIT_NAMES
from utils.errors import CourseError


def leakage_report(split: Split, dataset: Dataset) -> pd.DataFrame:
    """Count what may leak between the parts of a split.

    Returns:
        One row per check: check, count, of (how many it could be), kind and meaning. Kind "error" must be 0;
        "time" is how far the split lets the training part know the future (a random split does, by design);
        "content" is the same thing under two ids; "coverage" is no leak but limits what a model can do.

    Raises:
        CourseError: the split does not belong to the dataset (other numbers of users or items).
    """
    if (split.n_users, split.n_items) != (dataset.n_users, dataset.n_items):
        raise CourseError(
            f"The split has {split.n_users} users and {split.n_items} items, {dataset.name} has {dataset.n_users} and "
            f"{dataset.n_items}; split this dataset again."
        )
    rows = _overlaps(split) + _times(split, dataset) + _contents(split, dataset) + _coverage(split)
    return pd.DataFrame(rows, columns=["check", "count", "of", "kind", "meaning"])


def check_split(split: Split) -> None:
    """Raise when a split cannot be trusted: ids out of range, no training part, a pair in two parts or twice in one.

    Raises:
        CourseError: the first thing found, with the number of rows.
    """
    for name in SPLIT_NAMES:
        rows = split.part(name)
        limits = np.array([split.n_users, split.n_items])
        if rows.ndim != 2 or rows.shape[1:] != (2,) or not np.issubdtype(rows.dtype, np.integer):
            raise CourseError(f"The part {name} has shape {rows.shape} and type {rows.dtype}; give (n, 2) integer ids.")
        if len(rows) and (rows.min() < 0 or (rows >= limits).any()):
            row = int(np.flatnonzero((rows < 0).any(axis=1) | (rows >= limits).any(axis=1))[0])
            raise CourseError(
                f"The part {name}, row {row}: ids {rows[row].tolist()} are outside of {split.n_users} users and "
                f"{split.n_items} items; split the dataset again."
            )
    if not len(split.train):
        raise CourseError(f"The split {split.strategy!r} has no training interaction; lower the held-out shares.")
    for check, count, _of, _kind, _meaning in _overlaps(split):
        if count:
            raise CourseError(
                f"The split {split.strategy!r} leaks: {count} {check}; drop duplicate interactions and split again."
            )


def _codes(split: Split, part: str) -> np.ndarray:
    """Return one number per pair of a part."""
    rows = split.part(part)
    return rows[:, 0] * split.n_items + rows[:, 1]


def _overlaps(split: Split) -> list[tuple[str, int, int, str, str]]:
    rows = []
    for first, second in (("train", "valid"), ("train", "test"), ("valid", "test")):
        codes = _codes(split, second)
        count = int(np.isin(codes, _codes(split, first)).sum())
        rows.append((f"pairs of {second} also in {first}", count, len(codes), "error", "the answer was seen before"))
    for part in SPLIT_NAMES:
        codes = _codes(split, part)
        count = len(codes) - len(np.unique(codes))
        rows.append((f"repeated pairs in {part}", count, len(codes), "error", "one choice counts several times"))
    return rows


def _times(split: Split, dataset: Dataset) -> list[tuple[str, int, int, str, str]]:
    """Compare the time of each held-out test pair with the newest training interaction, the user's own and anyone's."""
    if "timestamp" not in dataset.interactions:
        return []
    table = dataset.interactions
    codes = (table["user_id"] * split.n_items + table["item_id"]).to_numpy()
    latest = pd.Series(table["timestamp"].to_numpy()).groupby(codes).max()  # of repeated pairs the latest
    train, test = (latest.reindex(_codes(split, part)).to_numpy(dtype=float) for part in ("train", "test"))
    own = np.full(split.n_users, -np.inf)
    np.maximum.at(own, split.train[:, 0], train)
    past_own = int((test < own[split.test[:, 0]]).sum())
    past_all = int((test < train.max(initial=-np.inf)).sum())
    return [
        (
            "test pairs before the same user's last training",
            past_own,
            len(test),
            "time",
            "a user's future predicts the past",
        ),
        (
            "test pairs before anyone's last training",
            past_all,
            len(test),
            "time",
            "what others do later is known already",
        ),
    ]


def _contents(split: Split, dataset: Dataset) -> list[tuple[str, int, int, str, str]]:
    """Count the test pairs whose user trained on another item with the very same text."""
    texts = pd.Series(dataset.texts())
    group = pd.factorize(texts)[0].astype(np.int64)
    group = np.where((texts == "").to_numpy(), -1 - np.arange(len(texts)), group)  # no text equals no other
    trained = split.train[:, 0] * (2 * split.n_items + 1) + group[split.train[:, 1]]
    tested = split.test[:, 0] * (2 * split.n_items + 1) + group[split.test[:, 1]]
    textual = (texts != "").to_numpy()[split.test[:, 1]]
    count = int((np.isin(tested, trained) & textual).sum())
    meaning = "the same thing under another id was seen"
    return [("test pairs with the text of another training item of the user", count, len(tested), "content", meaning)]


def _coverage(split: Split) -> list[tuple[str, int, int, str, str]]:
    rows = []
    for column, who, meaning in (
        (0, "users", "nothing is known about them"),
        (1, "items", "cold: only content can find them"),
    ):
        for part in ("valid", "test"):
            ids = np.unique(split.part(part)[:, column])
            count = int((~np.isin(ids, split.train[:, column])).sum())
            rows.append((f"{who} of {part} not in train", count, len(ids), "coverage", meaning))
    return rows
