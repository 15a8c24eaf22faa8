"""rho without gradients: vectors of users and items, each side solved exactly in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from utils.errors import CourseError
from utils.models.base import Interactions, Recommender, Schema


class IALS(Recommender):
    """A user and an item are one vector each; what was taken should score 1, everything else 0, with less weight.

    loss = sum over pairs in R of (w_u . h_i - 1)^2 + alpha0 * sum over all pairs (u, i) of (w_u . h_i)^2
           + reg * (sum_u (|I_u| + alpha0 * n_items)^nu |w_u|^2 + sum_i (|U_i| + alpha0 * n_users)^nu |h_i|^2)
    alpha0 = ``unobserved`` * |R| / (n_users * n_items): all pairs together weigh ``unobserved`` times what those in R do
    w_u = (sum_{i in I_u} h_i h_i^T + alpha0 * H^T H + reg * (|I_u| + alpha0 * n_items)^nu I)^-1 sum_{i in I_u} h_i
    and h_i likewise; |I_u| = interactions of user u, |U_i| = of item i; score(u, i) = w_u . h_i

    With one side fixed, the other is a least-squares problem for each row: no learning rate, and the loss never rises.

    Traps, decided: weak results of iALS in papers come from an untuned alpha0 and ``reg`` and from a penalty that
    does not grow with the frequency (``nu`` = 0); with ``nu`` = 1 a row is penalised as often as it stands in the loss.
    A good alpha0 of a dense log is a hundred times that of a sparse one; ``unobserved`` is not. The recommended reg
    falls with the root of the clicks of a user, as that of BPR.
    The start deviates by 0.1 / sqrt(dim), so that first scores are near 0. Here the users start at random and the items
    are solved first: numbering the items differently then changes nothing. A cold item is solved to a zero vector.

    Source: Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008; penalty, start and
    weights as in Rendle et al., "Revisiting the Performance of iALS on Item Recommendation Benchmarks", RecSys 2022,
    arXiv 2110.14037.

    Raises:
        CourseError: a ``reg`` that is not above 0.
    """

    name = "ials"
    title = "iALS"
    order = 65
    schema = Schema("none", "none", "none", "none", "weighted squared error")
    DEFAULTS = {"dim": 64, "unobserved": 2.0, "reg": 0.1, "nu": 1.0, "n_iterations": 16}
    SEARCH = {"unobserved": [1.0, 2.0, 4.0, 10.0], "reg": [0.01, 0.03, 0.1, 0.2]}

    @classmethod
    def recommended(cls, split: Interactions) -> dict[str, Any]:
        """The settings for data of this kind: ``reg`` by the mean clicks of a user, as in bpr.py."""
        clicks = len(split.train) / split.n_users
        return super().recommended(split) | {"reg": float(f"{cls.DEFAULTS['reg'] * (6.25 / clicks) ** 0.5:.2g}")}

    def build(self) -> None:
        dim, reg = self.settings["dim"], self.settings["reg"]
        if not reg > 0:
            raise CourseError(
                f"iALS: reg is {reg}, but only a number above 0 makes its equations solvable; pass reg=0.03."
            )
        self.history = sp.csr_matrix(self.split.matrix("train"))  # (n_users, n_items)
        self.alpha0 = self.settings["unobserved"] * self.history.nnz / (self.n_users * self.n_items)
        takers = sp.csr_matrix(self.history.T)
        generator = np.random.default_rng(self.seed)
        self.users = generator.normal(0, 0.1 / np.sqrt(dim), (self.n_users, dim))
        for _ in range(self.settings["n_iterations"]):
            self.items = self.solve_items(takers)
            self.users = self.solve(self.history, self.items)

    def solve_items(self, takers: sp.csr_matrix) -> np.ndarray:
        """The vectors of items, from those of users and who took each item, (n_items, n_users)."""
        return self.solve(takers, self.users)

    def solve(
        self, taken: sp.csr_matrix, other: np.ndarray, gram: np.ndarray | float = 0.0, right: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the best rows (n, dim) for ``taken`` (n, m), given the vectors ``other`` (m, dim) of its columns.

        What else a row has to fit: ``gram`` (dim, dim), added to the left side of each, and ``right`` (n, dim) to the right.
        """
        counts = np.diff(taken.indptr)
        strength, axes = np.linalg.eigh(self.alpha0 * other.T @ other + gram)  # in these axes it is diagonal for all
        turned = np.vstack([other @ axes, np.zeros(len(axes))])  # the last row stands for no interaction
        ridge = self.settings["reg"] * (counts + self.alpha0 * len(other)) ** self.settings["nu"]
        result = np.zeros((len(counts), len(axes)))  # the answer for a row without interactions
        if right is not None:
            result += (right @ axes) / np.maximum(strength + ridge[:, None], 1e-12)
        for rows in blocks(counts):
            slots = np.arange(counts[rows].max())
            there = slots < counts[rows, None]  # (b, most interactions)
            ids = np.full(there.shape, len(other))
            ids[there] = taken.indices[(taken.indptr[rows, None] + slots)[there]]
            vectors = turned[ids]  # (b, most interactions, dim)
            missing = 1 - (vectors @ result[rows, :, None])[..., 0]  # what the interactions still have to add
            result[rows] += ridge_solve(vectors, strength + ridge[rows, None], missing)
        return result @ axes.T

    def score(self, user_ids) -> torch.Tensor:
        return torch.as_tensor(self.users[np.asarray(user_ids)] @ self.items.T).float()


def ridge_solve(vectors: np.ndarray, diagonal: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return x (b, dim) of (V^T V + D) x = V^T t for each V of (b, n, dim), t of (b, n) and D = ``diagonal`` (b, dim) > 0.

    With fewer rows than dimensions the same x is D^-1 V^T y, where y of (V D^-1 V^T + I) y = t has only n numbers.
    """
    if vectors.shape[1] < vectors.shape[2]:
        divided = vectors / diagonal[:, None]
        left = divided @ vectors.transpose(0, 2, 1) + np.eye(vectors.shape[1])
        return (np.linalg.solve(left, targets[..., None]).transpose(0, 2, 1) @ divided)[:, 0]
    left = vectors.transpose(0, 2, 1) @ vectors
    places = np.arange(left.shape[1])
    left[:, places, places] += diagonal
    return np.linalg.solve(left, vectors.transpose(0, 2, 1) @ targets[..., None])[..., 0]


def blocks(counts: np.ndarray, size: int = 60_000) -> list[np.ndarray]:
    """Rows with at least one interaction, rare ones first, in blocks of at most ``size`` places (or of one row)."""
    rows = np.argsort(counts, kind="stable")
    rows, result = rows[counts[rows] > 0], []
    while len(rows):
        most = np.maximum(np.arange(1, len(rows) + 1) * np.maximum(counts[rows], 16), 1)
        taken = max(1, int(np.searchsorted(most, size, side="right")))
        result.append(rows[:taken])
        rows = rows[taken:]
    return result
