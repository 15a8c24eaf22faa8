"""Small sequences for the tests of pretraining, made by hand."""

from __future__ import annotations

import numpy as np

from utils.data import Split
from utils.pretraining import Sequences
from utils.pretraining.sequences import in_parts


def make_sequences(lists, n_items=None) -> Sequences:
    """Sequences of lists of item_ids, oldest first; each list has three items or more."""
    n_items = n_items or max(map(max, lists)) + 1
    parts = [[], [], []]
    for user, items in enumerate(lists):
        for place, item in enumerate(items):
            parts[max(0, place - len(items) + 3)].append((user, item))
    train, valid, test = (np.array(rows, dtype=np.int64) for rows in parts)
    cold = np.setdiff1d(np.arange(n_items), train[:, 1])
    split = Split(len(lists), n_items, train, valid, test, "by hand", cold)
    return in_parts(split, np.concatenate(lists).astype(np.int64), np.array([len(one) for one in lists]), "by hand")


def walks(n_users=120, n_items=30, seed=0, noise=0.1):
    """People who go one item further round a ring at each step, and jump now and then: the order says all."""
    rng = np.random.default_rng(seed)
    lists = []
    for _ in range(n_users):
        items = [int(rng.integers(n_items))]
        for _ in range(int(rng.integers(4, 9))):
            items.append(int(rng.integers(n_items)) if rng.random() < noise else (items[-1] + 1) % n_items)
        lists.append(items)
    return make_sequences(lists, n_items)
