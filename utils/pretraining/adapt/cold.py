"""Sequences with items that training never sees: withheld on purpose where a log has too few of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from utils.errors import CourseError
from utils.pretraining.sequences import Sequences
from utils.pretraining.subsets import without_items


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
    drawn = np.random.default_rng(seed).choice(warm, n_cold, replace=False)
    found = without_items(sequences, drawn)
    return replace(found, notes=(f"{n_cold} items were withheld from training, drawn with seed {seed}.", *found.notes))
