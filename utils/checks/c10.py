"""Checks of notebook 10: the strength of an edge, a user's weights over features, one feature given to wrong items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from utils.challenges.fine_features import SOBEL
from utils.checks.base import exercise

__all__ = ["edge_sobel", "user_attention", "wrong_owner"]


def _array(answer) -> np.ndarray:
    answer = answer.detach().numpy() if isinstance(answer, torch.Tensor) else answer
    return np.asarray(answer, dtype=float)


def _says(answer: np.ndarray, known: dict[str, np.ndarray]) -> str | None:
    """Return the sentence of the first known mistake that the answer equals."""
    for sentence, wrong in known.items():
        if answer.shape == wrong.shape and np.allclose(answer, wrong, atol=1e-4):
            return sentence
    return None


# ---- exercise 1 ----


def _slopes(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    windows = np.lib.stride_tricks.sliding_window_view(grey, (3, 3))
    return np.einsum("hwij,ij->hw", windows, SOBEL), np.einsum("hwij,ij->hw", windows, SOBEL.T)


@exercise
def edge_sobel(mine: Callable[[np.ndarray], np.ndarray]) -> str | None:
    """mine(grey) -> (h - 2, w - 2): length of the slope at each inner pixel, by Sobel's two filters."""
    grey = np.random.default_rng(0).random((6, 8))
    answer, (right, down) = _array(mine(grey.copy())), _slopes(grey)
    if answer.shape == grey.shape:
        answer = answer[1:-1, 1:-1]  # a border of one's own is welcome
    if answer.shape != right.shape:
        return f"an inner pixel needs all its neighbours: 6 x 8 pixels give 4 x 6 slopes, yours are {answer.shape}."
    known = {
        "only one direction: this filter is blind to horizontal edges; use the transposed one too.": np.abs(right),
        "only one direction: this filter is blind to vertical edges; use the one that is not transposed too.": np.abs(
            down
        ),
        "a slope to the left is negative, an edge all the same: take the length, and both directions.": right,
        "you add the two slopes with their signs, so that opposite ones cancel: square them first.": right + down,
        "the length of a vector is the root of the squares, not the sum of the sizes: a diagonal edge would be too strong.": (
            np.abs(right) + np.abs(down)
        ),
        "the root is missing: you return the square of the length.": right**2 + down**2,
        "you take the larger direction; an edge that runs across has both: use np.hypot.": np.maximum(
            np.abs(right), np.abs(down)
        ),
    }
    if sentence := _says(answer, known):
        return sentence
    truth = np.hypot(right, down)
    if np.allclose(answer, truth, atol=1e-4):
        return None
    return f"the first inner pixel should be {truth[0, 0]:.3f}, yours is {answer[0, 0]:.3f}."


# ---- exercise 2 ----


@exercise
def user_attention(mine: Callable[[torch.Tensor, torch.Tensor, float], tuple]) -> str | None:
    """mine(logits (b, 3), z (b, 3, d), temperature) -> (weights (b, 3), view (b, d))."""
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0], [0.0, 0.0, 0.0], [-1.0, 2.0, 1.0]])
    z = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    try:
        weights, view = mine(logits.clone(), z.clone(), 2.0)
    except TypeError as error:
        raise ValueError("return two tensors, the weights and the weighted sum") from error
    weights, view = _array(weights), _array(view)
    if weights.shape != (4, 3):
        return f"a weight for each of 4 users and 3 features is (4, 3), yours is {weights.shape}."
    truth = torch.softmax(logits / 2, 1)
    known = {
        "the softmax runs over the users of the batch: a user's weights then depend on who else is there; use dim=1.": (
            torch.softmax(logits / 2, 0)
        ),
        "the temperature is not used: divide the logits by it before the softmax.": torch.softmax(logits, 1),
        "you multiply by the temperature: a hot softmax should be flat, so divide.": torch.softmax(logits * 2, 1),
        "you divide after the softmax: the weights then no longer add up to 1.": torch.softmax(logits, 1) / 2,
        "a sigmoid judges each feature alone: nothing makes the weights of a user add up to 1; use softmax.": (
            torch.sigmoid(logits / 2)
        ),
    }
    if sentence := _says(weights, {key: value.numpy() for key, value in known.items()}):
        return sentence
    if not np.allclose(weights, truth, atol=1e-4):
        return (
            f"the first user's weights should be {np.round(truth[0].numpy(), 3)}, yours are {np.round(weights[0], 3)}."
        )
    if view.shape != (4, 5):
        return f"the view of an item is one vector for each user, (4, 5); yours is {view.shape}: sum over the features."
    summed = (truth[..., None] * z).sum(1)
    sums = {
        "the view is the plain sum of the features: multiply each with its weight first.": z.sum(1),
        "the view is the plain mean of the features: multiply each with its weight first.": z.mean(1),
        "you take the mean after weighting: the weights add up to 1 already, so sum.": summed / 3,
        "you keep only the feature with the largest weight: all count, by their weights.": z[
            range(4), logits.argmax(1)
        ],
    }
    if sentence := _says(view, {key: value.numpy() for key, value in sums.items()}):
        return sentence
    if not np.allclose(view, summed.numpy(), atol=1e-4):
        return "the weights are right, the view is not the sum of weight x feature over the three features."
    return None


# ---- exercise 3 ----


@exercise
def wrong_owner(mine: Callable[[np.ndarray, slice, np.random.Generator], np.ndarray]) -> str | None:
    """mine(matrix, columns, rng) -> the matrix with the rows of these columns permuted, whole, and nothing else changed."""
    matrix, columns = np.arange(60 * 7, dtype=float).reshape(60, 7), slice(2, 5)
    given = matrix.copy()
    answer = _array(mine(given, columns, np.random.default_rng(0)))
    if not np.array_equal(given, matrix):
        return "you changed the matrix that you were given: work on a copy, or the next test starts from the damage."
    if answer.shape == (60, 3):
        return "you return the permuted columns alone: put them back into a copy of the whole matrix."
    if answer.shape != matrix.shape:
        return f"the matrix keeps its shape {matrix.shape}, yours is {answer.shape}."
    inside, outside = answer[:, columns], np.delete(answer, np.r_[columns], axis=1)
    if np.array_equal(answer, matrix):
        return "nothing moved."
    if not np.array_equal(outside, np.delete(matrix, np.r_[columns], axis=1)):
        if np.array_equal(inside, matrix[:, columns]):
            return "you permuted all columns but those that were asked for."
        return "other columns moved as well: only the block changes owners, or you cannot say which block it was."
    if not np.array_equal(np.sort(inside, axis=None), np.sort(matrix[:, columns], axis=None)):
        return "the values are not those that were there: permute the rows, do not draw with replacement or add noise."
    if np.array_equal(np.sort(inside, axis=1), np.sort(matrix[:, columns], axis=1)):
        return "you permuted within each item: its vector keeps its owner; permute the rows."
    rows = {tuple(row) for row in matrix[:, columns]}
    if not all(tuple(row) in rows for row in inside):
        return "each column has its own order, so that no vector is whole any more: one order for the whole block."
    again, other = (_array(mine(matrix.copy(), columns, np.random.default_rng(k))) for k in (0, 1))
    if not np.array_equal(again, answer):
        return "the same rng gives another result each time: draw the order from `rng`."
    if np.array_equal(other, answer):
        return "another rng gives the same order: draw the order from `rng` (a shift by one is no permutation test)."
    return None
