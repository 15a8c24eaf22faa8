"""Sequences with items that training never sees: withheld on purpose where a log has too few of its own."""

from __future__ import annotations

import numpy as np

from utils.data import Split
from utils.errors import CourseError
from utils.pretraining.sequences import Sequences, in_parts


def withhold_items(sequences: Sequences, share: float = 0.15, seed: int = 0) -> Sequences:
    """Draw items that become cold: they leave every history, and stay only where they are a user's last item, the test.

    The validation item is then the last one before it that stays, so that settings are chosen on warm items. Users with
    fewer than two items left have no test.

    Args:
        share: of the items that training knows.

    Raises:
        CourseError: a share that leaves no item on either side.
    """
    warm = np.setdiff1d(np.arange(sequences.n_items), sequences.split.cold_items)
    n_cold = round(share * len(warm))
    if not 0 < n_cold < len(warm):
        raise CourseError(
            f"share={share} of {len(warm)} items is {n_cold}; choose one that leaves items on both sides."
        )
    drawn = np.zeros(sequences.n_items, dtype=bool)
    drawn[np.random.default_rng(seed).choice(warm, n_cold, replace=False)] = True
    counts = np.diff(sequences.starts)
    users = np.repeat(np.arange(sequences.n_users), counts)
    last = np.zeros(len(users), dtype=bool)
    last[sequences.starts[1:][counts > 0] - 1] = True
    stays = ~drawn[sequences.items] | last
    alone = np.bincount(users[stays], minlength=sequences.n_users)[users] == 1
    stays &= ~(alone & drawn[sequences.items])  # the only item left would be learned from
    users, items = users[stays], sequences.items[stays]
    counts = np.bincount(users, minlength=sequences.n_users)
    from_end = np.cumsum(counts)[users] - np.arange(len(users))  # 1 = the last item
    many, pairs = counts[users], np.stack([users, items], axis=1)
    test, valid = (from_end == 1) & (many > 1), (from_end == 2) & (many > 2)
    train = pairs[~(test | valid)]
    cold = np.setdiff1d(np.arange(sequences.n_items), train[:, 1])
    split = Split(sequences.n_users, sequences.n_items, train, pairs[valid], pairs[test], "withheld items", cold)
    return in_parts(split, items, counts, "the log", (f"{n_cold} items were withheld from training, drawn with seed {seed}.",))  # fmt: skip
