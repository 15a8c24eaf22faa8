"""rho without training: one linear weight for each pair of items, solved at once."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import LinAlgError, cho_factor
from scipy.linalg.lapack import dpotri

from utils.errors import CourseError
from utils.models.base import Recommender, Schema


class EASE(Recommender):
    """What you took votes for every item, with weights that predict each item's column from all the other columns.

    B = the weights that minimise |R - R B|^2 + reg * c * |B|^2 with a zero diagonal; R = training matrix of 0 and 1
    P = (R^T R + reg * c * I)^-1,  B_ij = -P_ij / P_jj for i != j,  score(u) = r_u B
    c = interactions of a warm item, on average, so that ``reg`` = 1 weighs as much as the clicks of an average item

    Traps, decided: without the zero diagonal an item predicts itself, and B is close to the identity. The paper states
    the penalty as a plain number (reg * c here), which moves with the size of the log. The inverse is made in float64 by
    Cholesky, B is kept in float32. Weights may be negative. A cold item has no column, hence score 0.

    Cost: 12 bytes for each pair of items while solving (float64 and the float32 result), 4 afterwards, and n_items^3
    operations: twice the items take four times the memory and eight times the time, whatever the number of users. One
    core took 15 to 19 seconds for 7,000 items. ``max_items`` stops what would not fit.

    Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, arXiv 1905.03375.

    Raises:
        CourseError: more than ``max_items`` items, or a ``reg`` that is not above 0.
    """

    name = "ease"
    title = "EASE"
    order = 32
    schema = Schema("none", "none", "none", "none", "squared error")
    DEFAULTS = {"reg": 10.0, "max_items": 20_000}
    SEARCH = {"reg": [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]}

    def build(self) -> None:
        check_size(self)
        self.history = self.split.matrix("train")  # (n_users, n_items)
        self.weights = closed_form(gram(self.history), self.settings["reg"])  # (j, i): history @ weights sums over j

    def score(self, user_ids) -> torch.Tensor:
        return torch.as_tensor(self.history[np.asarray(user_ids)].astype(np.float32) @ self.weights)


def check_size(model: Recommender) -> None:
    """Raise a CourseError if the items are too many for a matrix with a place for each pair of them."""
    most, n = model.settings["max_items"], model.n_items
    if n > most:
        raise CourseError(
            f"{model.name}: {n:,} items are more than max_items = {most:,}; solving for them needs {12e-9 * n**2:.1f} GB "
            f"and about {n**3 / 2e10 / 60:.0f} minutes, which grow with their square and cube; pass a larger max_items "
            "if you have both, or take itemknn, which keeps k neighbours for each item."
        )


def gram(history) -> np.ndarray:
    """Return R^T R / c, dense (n_items, n_items) float64; c = its mean diagonal over the items with any interaction."""
    product = (history.T @ history).astype(np.float64)
    taken = product.diagonal()
    return (product / taken[taken > 0].mean()).toarray()


def closed_form(product: np.ndarray, reg: float) -> np.ndarray:
    """Return B (n, n) float32 of a symmetric product (n, n) float64, which is overwritten.

    Raises:
        CourseError: ``reg`` is not above 0, or so small that the inverse does not exist in float64.
    """
    if not reg > 0:
        raise CourseError(f"EASE: reg is {reg}, but only a number above 0 makes its equations solvable; pass reg=10.0.")
    product[np.diag_indices_from(product)] += reg
    try:
        factor, _ = cho_factor(product.T, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError as error:
        raise CourseError(f"EASE: reg = {reg} is too small for an inverse in float64; pass a larger one.") from error
    lower, _ = dpotri(factor, lower=True, overwrite_c=True)  # the inverse; above its diagonal stands something else
    del factor, product
    weights, scale = lower.T.astype(np.float32), -lower.diagonal().astype(np.float32)
    del lower
    for start in range(0, len(weights), 1024):  # in blocks, so that no second matrix is made
        stop = start + 1024
        weights[stop:, start:stop] = weights[start:stop, stop:].T
        square = np.triu(weights[start:stop, start:stop], 1)
        weights[start:stop, start:stop] = square + square.T
    weights /= scale
    return weights
