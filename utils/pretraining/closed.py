"""Opponents with a closed form: EASE and iALS asked for anybody's history, with the older items at less weight or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from utils.errors import CourseError, suggest
from utils.models.base import ItemFeatures, Recommender
from utils.models.ease import EASE
from utils.models.ease_content import EASEContent
from utils.models.ials import IALS, ridge_solve
from utils.pretraining.next_item import NextItemModel, evaluate_next
from utils.pretraining.sequences import Sequences

DECAYS = (1.0, 0.8, 0.6, 0.4, 0.2)  # tried on validation: weight of an item against the one that was taken after it
SOLVED: dict[str, tuple[str, type[Recommender], dict[str, tuple[float, ...]]]] = {  # title, model, what is tried, too
    "ease": ("EASE", EASE, {}),
    "ease_tuned": ("EASE, tuned", EASE, {"reg": (3.0, 10.0, 30.0, 100.0)}),
    "ease_content": ("EASE + content, tuned", EASEContent, {"reg": (10.0, 100.0), "weight": (0.3, 1.0, 3.0)}),
    "ials": ("iALS", IALS, {}),
    "ials_tuned": ("iALS, tuned", IALS, {"unobserved": (0.5, 1.0, 2.0, 4.0)}),
}


class LinearVotes:
    """EASE of a history: score(j) = sum over its items i of decay^age(i) * B[i, j]; age is 0 for the newest item.

    With decay = 1 it is the model's own score of a user who took these items. An item that stands twice in a history counts
    once, where it is newest: the model knows "taken" and "not taken" only.

    Args:
        model: EASE, with content or without.
        length: items of a history that are read.
    """

    def __init__(self, model: EASE | EASEContent, length: int, decay: float = 1.0) -> None:
        self.weights, self.n_items, self.length, self.decay = model.weights, model.n_items, length, checked(decay)

    def score_histories(self, histories: np.ndarray) -> torch.Tensor:
        """See ``NextItemModel``: (b, length) item_ids -> (b, n_items)."""
        return torch.from_numpy(taken(histories, self.n_items, self.decay) @ self.weights)


class FoldedIn:
    """iALS of a history: its vector is solved for, the vectors of the items stay. score(j) = w . h_j with

    w = (sum_i c_i h_i h_i^T + alpha0 H^T H + reg * (sum_i c_i + alpha0 * n_items)^nu I)^-1 sum_i c_i h_i,  c_i = decay^age(i)

    With decay = 1 it is the model's own equation of a user (see ials.py). An item counts once, as in ``LinearVotes``.
    """

    def __init__(self, model: IALS, length: int, decay: float = 1.0) -> None:
        self.n_items, self.length, self.decay = model.n_items, length, checked(decay)
        self.strength, axes = np.linalg.eigh(model.alpha0 * model.items.T @ model.items)
        self.items = model.items @ axes  # in these axes what all pairs weigh is diagonal
        self.reg, self.nu, self.unseen = model.settings["reg"], model.settings["nu"], model.alpha0 * model.n_items

    def score_histories(self, histories: np.ndarray) -> torch.Tensor:
        """See ``NextItemModel``: (b, length) item_ids -> (b, n_items)."""
        rows = taken(histories, self.n_items, self.decay).tocoo()
        places = np.arange(rows.nnz) - np.searchsorted(rows.row, rows.row)  # of an item in its row
        ids = np.full((rows.shape[0], places.max(initial=0) + 1), self.n_items)
        roots = np.zeros(ids.shape)  # of the weights; 0 = no item
        ids[rows.row, places], roots[rows.row, places] = rows.col, np.sqrt(rows.data)
        vectors = np.vstack([self.items, np.zeros(len(self.strength))])[ids] * roots[..., None]
        ridge = self.reg * ((roots**2).sum(axis=1) + self.unseen) ** self.nu
        users = ridge_solve(vectors, self.strength + ridge[:, None], roots)
        return torch.from_numpy(users @ self.items.T).float()


def checked(decay: float) -> float:
    """Return the decay, or raise a CourseError if it does not lie between 0 and 1."""
    if not 0 <= decay <= 1:
        raise CourseError(f"decay={decay} must lie between 0 (only the newest item) and 1 (all alike).")
    return decay


def taken(histories: np.ndarray, n_items: int, decay: float) -> sp.csr_matrix:
    """Write histories (b, length), -1 = padding, as rows of weights decay^age: (b, n_items) float32, each item once."""
    histories = np.asarray(histories)
    rows, places = np.nonzero(histories >= 0)
    ages, items = histories.shape[1] - 1 - places, histories[rows, places]
    order = np.lexsort((ages, items, rows))
    rows, ages, items = rows[order], ages[order], items[order]
    newest = np.ones(len(rows), dtype=bool)
    newest[1:] = (rows[1:] != rows[:-1]) | (items[1:] != items[:-1])
    weights = np.power(decay, ages[newest], dtype=np.float32)
    return sp.csr_matrix((weights, (rows[newest], items[newest])), shape=(len(histories), n_items))


def closed_form(
    name: str, sequences: Sequences, features: Mapping[str, ItemFeatures] | None = None, seed: int = 0
) -> tuple[NextItemModel, dict[str, Any]]:
    """Solve one of SOLVED from the training part; return it, and the settings that were chosen.

    "ease" and "ials" have their recommended settings and forget the order. What is tuned chooses its decay, of DECAYS, and
    the settings of SOLVED by nDCG@10 on validation, the history masked; of equal ones the first.

    Raises:
        CourseError: an unknown name; content is asked for and not given.
    """
    if name not in SOLVED:
        raise suggest(name, SOLVED, "closed form")
    _, kind, grid = SOLVED[name]
    length, top_k = int(sequences.lengths("end").max()), min(10, sequences.n_items)
    asked = FoldedIn if kind is IALS else LinearVotes
    best, found, highest = None, {}, -1.0
    for values in product(*grid.values()):
        settings = dict(zip(grid, values))
        solved = kind(sequences.split, features if kind.uses_features else None, seed=seed, **settings)
        for decay in DECAYS if grid else (1.0,):
            model = asked(solved, length, decay)
            if not grid:
                return model, {}
            value = float(evaluate_next(model, sequences, "valid", top_k, ("ndcg",)).mean().iloc[0])
            if value > highest:
                best, found, highest = model, {**settings, "decay": decay}, value
    return best, found


def closed_forms(
    sequences: Sequences, names: Iterable[str] = ("ease", "ease_tuned", "ials", "ials_tuned"), **more: Any
) -> dict[str, NextItemModel]:
    """Several of them, title -> model; ``more`` as for ``closed_form``."""
    return {SOLVED[name][0]: closed_form(name, sequences, **more)[0] for name in names}
