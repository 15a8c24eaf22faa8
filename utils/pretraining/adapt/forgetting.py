"""What an encoder forgets of its first purpose while it learns a task: whether near texts still share their category."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from utils.errors import CourseError


def same_category(
    vectors: torch.Tensor, categories: Sequence[str], k: int = 10, rows: Sequence[int] | None = None
) -> float:
    """Return how often the k nearest by cosine share the category, averaged over items: between 0 and 1.

    Args:
        vectors: (n, dim).
        categories: of each item; "" = unknown, such items are neither asked nor found.
        rows: item_ids that are asked, for example those that training never saw; all items are found all the same.

    Raises:
        CourseError: too few items with a category.
    """
    labels = np.asarray(categories, dtype=str)
    known = np.flatnonzero(labels != "")
    asked = np.arange(len(known)) if rows is None else np.flatnonzero(np.isin(known, np.asarray(rows)))
    if len(known) <= k or not len(asked):
        raise CourseError(f"{len(known)} items have a category and {len(asked)} are asked; k={k} neighbours need more.")
    unit, labels = F.normalize(vectors.detach()[known], dim=1).double(), labels[known]
    likeness = (unit[asked] @ unit.T).numpy()
    likeness[np.arange(len(asked)), asked] = -np.inf
    near = np.argsort(-likeness, axis=1, kind="stable")[:, :k]
    return float((labels[near] == labels[asked][:, None]).mean())
