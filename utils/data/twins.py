"""Controls for splits in time (notebook 02): a random twin of a split, a log with shuffled times; and rounds of the k-core."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from utils.data.dataset import Dataset
from utils.data.split import Split
from utils.data.tables import SPLIT_NAMES
from utils.errors import CourseError


def k_core_rounds(dataset: Dataset, k_user: int = 5, k_item: int = 5) -> pd.DataFrame:
    """Return how many users, items and interactions are left after each round of the iterative k-core.

    One round removes all users and all items that are below their k at its start, as ``iterative_k_core`` does. Round 0
    is the dataset as it is; the last round removes nothing more. Items without an interaction are not counted.
    """
    user_ids = dataset.interactions["user_id"].to_numpy()
    item_ids = dataset.interactions["item_id"].to_numpy()
    alive = np.ones(len(user_ids), dtype=bool)
    rows = []
    while True:
        rows.append((len(np.unique(user_ids[alive])), len(np.unique(item_ids[alive])), int(alive.sum())))
        if len(rows) > 1 and rows[-1] == rows[-2]:
            break
        per_user = np.bincount(user_ids[alive], minlength=dataset.n_users)
        per_item = np.bincount(item_ids[alive], minlength=dataset.n_items)
        alive = alive & (per_user[user_ids] >= k_user) & (per_item[item_ids] >= k_item)
    return pd.DataFrame(rows[:-1], columns=["users", "items", "interactions"]).rename_axis("round")


def random_twin(split: Split, seed: int = 0) -> Split:
    """Return a split of the same interactions by chance that is like ``split`` in all but the order.

    Every user keeps the same numbers of train, valid and test interactions (also the users with none), so that the same
    users are judged on as many answers by models that saw as much. What differs is which interactions are held out.
    """
    parts = [split.part(name) for name in SPLIT_NAMES]
    pairs = np.concatenate(parts)
    labels = np.repeat(np.arange(3), [len(part) for part in parts])
    by_user = np.lexsort((labels, pairs[:, 0]))
    by_chance = np.lexsort((np.random.default_rng(seed).random(len(pairs)), pairs[:, 0]))
    mixed = np.empty_like(labels)
    mixed[by_chance] = labels[by_user]  # the k-th row of a user gets one of the user's own labels
    pairs, mixed = pairs[(order := np.lexsort((pairs[:, 1], pairs[:, 0])))], mixed[order]
    found = {name: pairs[mixed == code] for code, name in enumerate(SPLIT_NAMES)}
    warm = np.bincount(found["train"][:, 1], minlength=split.n_items) > 0
    cold = np.flatnonzero(~warm).astype(np.int64)
    return replace(split, **found, strategy=f"random twin of {split.strategy}", cold_items=cold)


def shuffle_times(dataset: Dataset, seed: int = 0) -> Dataset:
    """Return the same log with its timestamps permuted: the control in which tastes cannot drift.

    Raises:
        CourseError: the log has no timestamps.
    """
    if "timestamp" not in dataset.interactions:
        raise CourseError(f"{dataset.name} has no column 'timestamp', so there is no time to shuffle.")
    times = dataset.interactions["timestamp"].to_numpy()
    table = dataset.interactions.assign(timestamp=np.random.default_rng(seed).permutation(times))
    return replace(dataset, interactions=table)
