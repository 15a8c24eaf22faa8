"""Nearest items by any matrix: who stands beside whom, and whether neighbours share a label."""

from __future__ import annotations

import numpy as np

from utils.errors import CourseError


def nearest_items(matrix: np.ndarray, k: int, mask: np.ndarray | None = None) -> np.ndarray:
    """Return the k items with the highest cosine to each item, best first: (n_items, k) int64 item_ids.

    An item is not its own neighbour, and a missing one (mask False, or a zero row) is nobody's; its own row is -1.
    Equal cosines are ordered by item_id.

    Args:
        matrix: (n_items, dim).
        k: neighbours for each item.
        mask: (n_items,) bool, True = present.

    Raises:
        CourseError: fewer than k + 1 items are present.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    lengths = np.linalg.norm(matrix, axis=1)
    present = lengths > 0 if mask is None else np.asarray(mask, dtype=bool) & (lengths > 0)
    if present.sum() <= k:
        raise CourseError(f"Only {present.sum()} items are present; ask for fewer than {k} neighbours.")
    unit = matrix / np.maximum(lengths, 1e-12)[:, None]
    found = np.full((len(matrix), k), -1, dtype=np.int64)
    for item in np.flatnonzero(present):
        cosines = np.where(present, unit @ unit[item], -np.inf)
        cosines[item] = -np.inf
        # rounded, because a product gives equal rows other last bits in other places
        found[item] = np.argsort(-cosines.round(9), kind="stable")[:k]
    return found


def shared_label(neighbours: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return, for each item, the share of its neighbours with the item's own label: (n_items,), NaN without neighbours.

    Args:
        neighbours: (n_items, k) item_ids, -1 = none.
        labels: (n_items,) words.
    """
    labels = np.asarray(labels)
    same = (labels[neighbours] == labels[:, None]).astype(float)
    same[neighbours < 0] = np.nan
    known = ~np.isnan(same).all(axis=1)
    shares = np.full(len(labels), np.nan)
    shares[known] = np.nanmean(same[known], axis=1)
    return shares
