"""Checks of notebook 10: the strength of an edge, a user's weights, one feature given to wrong items, recovery."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from utils.challenges.fine_features import SOBEL
from utils.checks.base import Mistake, exercise, numbers

__all__ = ["edge_sobel", "user_attention", "wrong_owner", "planted_found"]


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
    answer, (right, down) = numbers(mine(grey.copy()), "picture of slopes"), _slopes(grey)
    if answer.shape == grey.shape:
        answer = answer[1:-1, 1:-1]  # a border of one's own is welcome
    if answer.shape != right.shape:
        return f"an inner pixel needs all its neighbours: 6 x 8 pixels give 4 x 6 slopes, yours are {answer.shape}."
    known = {
        "only one direction: this filter is blind to horizontal edges; use the transposed one too.": np.abs(right),
        "only one direction: this filter is blind to vertical edges; use the one that is not transposed too.":
            np.abs(down),
        "a slope to the left is negative, an edge all the same: take the length, and both directions.": right,
        "you add the two slopes with their signs, so that opposite ones cancel: square them first.": right + down,
        "the length of a vector is the root of the squares, not the sum of the sizes: a diagonal edge would be too strong.":
            np.abs(right) + np.abs(down),
        "you square both slopes after adding them: square each, add, then take the root.": np.abs(right + down),
        "the slopes are subtracted: square each, add, then take the root.": np.abs(right - down),
        "you take the mean of the two sizes: the length is the root of the sum of squares.":
            (np.abs(right) + np.abs(down)) / 2,
        "one half too much: the length is the root of the sum of squares, not of their mean.":
            np.hypot(right, down) / np.sqrt(2),
        "the filter is not used: these are differences of neighbouring pixels, which are noisier.":
            np.hypot(grey[1:-1, 2:] - grey[1:-1, :-2], grey[2:, 1:-1] - grey[:-2, 1:-1]),
        "the root is missing: you return the square of the length.": right**2 + down**2,
        "you take the larger direction; an edge that runs across has both: use np.hypot.":
            np.maximum(np.abs(right), np.abs(down)),
        "you take the smaller direction: the length uses both, by np.hypot.": np.minimum(np.abs(right), np.abs(down)),
        "the same direction twice: transpose the filter for the second one.": np.abs(right) * np.sqrt(2),
        "this is the direction of the slope, an angle: its length is asked for.": np.arctan2(right, down),
        "this is the direction of the slope, an angle; its length is asked for.": np.arctan2(down, right),
        "you divide by 8 (or 4) to get a slope per pixel: a fine habit, but here the filters are taken as they are.":
            np.hypot(right, down) / 8,
        "you divide by 4 to get a slope per pixel: a fine habit, but here the filters are taken as they are.":
            np.hypot(right, down) / 4,
        "you divide by the largest slope: pictures could then no longer be compared.":
            np.hypot(right, down) / np.hypot(right, down).max(),
        "you multiply the two slopes: an edge that runs straight would vanish; use np.hypot.": np.abs(right * down),
        "the values run from 0 to 1 here: do not multiply them by 255.": 255 * np.hypot(right, down),
    }  # fmt: skip
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
        if "unpack" not in str(error):
            raise
        raise Mistake("return two tensors, the weights and the weighted sum.") from None
    weights, view = numbers(weights, "weights"), numbers(view, "view")
    if weights.shape != (4, 3):
        return f"a weight for each of 4 users and 3 features is (4, 3), yours is {weights.shape}."
    truth = torch.softmax(logits / 2, 1)
    known = {
        "the softmax runs over the users of the batch: a user's weights then depend on who else is there; use dim=1.":
            torch.softmax(logits / 2, 0),
        "the temperature is not used: divide the logits by it before the softmax.": torch.softmax(logits, 1),
        "you multiply by the temperature: a hot softmax should be flat, so divide.": torch.softmax(logits * 2, 1),
        "you divide after the softmax: the weights then no longer add up to 1.": torch.softmax(logits, 1) / 2,
        "you divide by the root of the temperature: divide by the temperature.": torch.softmax(logits / 2**0.5, 1),
        "you divide the logits by their sum: that can be negative; the softmax makes them positive first.":
            logits / logits.sum(1, keepdim=True),
        "these are logarithms of weights: use the softmax itself.": torch.log_softmax(logits / 2, 1),
        "a sigmoid judges each feature alone: nothing makes the weights of a user add up to 1; use softmax.":
            torch.sigmoid(logits / 2),
        "the sign of the logits is turned: the largest one gets the largest weight.": torch.softmax(-logits / 2, 1),
        "you divide by the temperature squared: divide by the temperature.": torch.softmax(logits / 4, 1),
        "these are exponentials: divide by their sum, so that the weights of a user add up to 1.":
            torch.exp(logits / 2),
        "only the largest weight is left: the softmax gives each feature a share.":
            torch.nn.functional.one_hot(logits.argmax(1), 3).float(),
        "the signs of the logits get lost: a negative one is a small weight.": torch.softmax(logits.abs() / 2, 1),
        "all features weigh the same: use the logits.": torch.full_like(logits, 1 / 3),
    }  # fmt: skip
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
        "you keep only the feature with the largest weight: all count, by their weights.":
            z[range(4), logits.argmax(1)],
        "the view is weighed by the logits: take the weights.": (logits[..., None] * z).sum(1),
        "the view is weighed without the temperature: take the weights that you return.":
            (torch.softmax(logits, 1)[..., None] * z).sum(1),
        "you bring the view to length 1: return the weighted sum itself.": torch.nn.functional.normalize(summed, dim=1),
    }  # fmt: skip
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
    answer = numbers(mine(given, columns, np.random.default_rng(0)), "matrix")
    if not np.array_equal(given, matrix):
        return "you changed the matrix that you were given: work on a copy, or the next test starts from the damage."
    if answer.shape == (60, 3):
        return "you return the permuted columns alone: put them back into a copy of the whole matrix."
    if answer.shape != matrix.shape:
        return f"the matrix keeps its shape {matrix.shape}, yours is {answer.shape}."
    inside, outside = answer[:, columns], np.delete(answer, np.r_[columns], axis=1)
    if np.array_equal(answer, matrix):
        return "nothing moved: put the permuted rows of the block into the copy."
    if not np.array_equal(outside, np.delete(matrix, np.r_[columns], axis=1)):
        if np.array_equal(inside, matrix[:, columns]):
            return "you permuted all columns but those that were asked for."
        return "other columns moved as well: only the block changes owners, or you cannot say which block it was."
    if not inside.any() or np.allclose(inside, matrix[:, columns].mean(0)):
        return (
            "you deleted the block (zeros, or its mean): give it to the wrong items, so that it stays as it was made."
        )
    if not np.array_equal(np.sort(inside, axis=None), np.sort(matrix[:, columns], axis=None)):
        return "the values are not those that were there: permute the rows, do not draw with replacement or add noise."
    if np.array_equal(np.sort(inside, axis=1), np.sort(matrix[:, columns], axis=1)):
        return "you permuted within each item: its vector keeps its owner; permute the rows."
    rows = {tuple(row) for row in matrix[:, columns]}
    if not all(tuple(row) in rows for row in inside):
        return "each column has its own order, so that no vector is whole any more: one order for the whole block."
    if np.array_equal(inside, matrix[::-1, columns]):
        return "you turned the rows upside down, the same for every rng: draw the order from `rng`."
    again, other = (numbers(mine(matrix.copy(), columns, np.random.default_rng(k)), "matrix") for k in (0, 1))
    if not np.array_equal(again, answer):
        return "the same rng gives another result each time: draw the order from `rng`."
    if np.array_equal(other, answer):
        return "another rng gives the same order: draw the order from `rng` (a shift by one is no permutation test)."
    order = (inside[:, 0] - matrix[0, columns][0]) // matrix.shape[1]  # which row's vector each row holds now
    if len(np.unique((order - np.arange(60)) % 60)) == 1:
        return "all rows move by the same number of places: neighbours stay neighbours; permute the rows."
    if (order == np.arange(60)).sum() > 12:  # a permutation of 60 leaves one row in place on average
        return "many rows keep their own vector: permute all rows, not a part of them."
    return None


# ---- bonus ----


def _recoveries(weights: pd.DataFrame, types: np.ndarray) -> dict[str, float]:
    """The right recovery (key "") and what each known mistake makes of the same weights."""
    names, mine = weights.columns.to_numpy(), types[weights.index]
    relative = weights - weights.mean()

    def share(guess: pd.DataFrame, truth: np.ndarray = mine, least: bool = False) -> float:
        found = guess.to_numpy().argmin(1) if least else guess.to_numpy().argmax(1)
        return float((names[found] == truth).mean())

    right = share(relative)
    by_kind = [share(relative[mine == name], mine[mine == name]) for name in names]
    own_kind = weights - weights.groupby(mine).transform("mean")
    return {
        "": right,
        "the largest weight is taken as it stands: subtract the mean of all users first, feature by feature.": share(
            weights
        ),
        "users and types are not matched: the index of `weights` holds the user_ids, and some users are missing.": share(
            relative, types[: len(weights)]
        ),
        "users and types are not matched: these are the types of the last users. The index of `weights` holds the user_ids.": (
            share(relative, types[-len(weights) :])
        ),
        "without the subtraction, and users and types are not matched: the index of `weights` holds the user_ids.": share(
            weights, types[: len(weights)]
        ),
        "you take the smallest weight: the largest says what a user looks at.": share(relative, least=True),
        "you count: divide by the number of users.": right * len(weights),
        "you average the kinds, so that each counts the same: asked for is the share of the users.": float(
            np.mean(by_kind)
        ),
        "you divide by the number of all users: some have no weights; divide by those that have.": right
        * len(weights)
        / len(types),
        "you subtract the mean of the user's own kind: that uses the answer. Take the mean of all users.": share(
            own_kind
        ),
        "you divide by the mean: subtract it.": share(weights / weights.mean()),
        "you return the share that was missed: 1 minus it.": 1 - right,
        "you return a percentage: a share lies between 0 and 1.": 100 * right,
        "you subtract the median: subtract the mean of all users.": share(weights - weights.median()),
        "you divide by the spread as well (z-scores), which changes who is largest: subtract the mean only.": share(
            (weights - weights.mean()) / weights.std()
        ),
        "you compare ranks: subtract the mean, and take the largest of what is left.": share(weights.rank()),
        "you stretch each column to 0..1: subtract its mean only.": share(
            (weights - weights.min()) / (weights.max() - weights.min())
        ),
        "you subtract the sum: subtract the mean of all users.": share(weights - weights.sum()),
    }


@exercise(bonus=True)
def planted_found(mine: Callable[[pd.DataFrame, np.ndarray], float]) -> str | None:
    """mine(weights, types) -> share of the users whose largest weight, relative to all users, is the planted type."""
    rng = np.random.default_rng(236)  # a draw in which no two mistakes give the same share
    names = np.array(["colour", "shape", "content"])
    types = rng.choice(names, 40, p=[0.5, 0.3, 0.2])
    users = np.sort(rng.permutation(40)[:31])
    table = [0.05, 0.3, 0.65] + rng.normal(scale=[0.02, 0.05, 0.1], size=(31, 3))
    table += 0.08 * (types[users][:, None] == names) * [0.3, 1, 1]
    weights = pd.DataFrame(table, index=users, columns=names)
    answer = numbers(mine(weights.copy(), types.copy()), "share")
    if answer.size != 1:
        return f"the share of the users is one number; you return shape {answer.shape}."
    value, known = float(answer.reshape(())), _recoveries(weights, types)
    sentence = next((words for words, wrong in known.items() if np.isclose(value, wrong)), None)
    return f"of these 31 users it is {known['']:.4f}, you return {value:.4f}." if sentence is None else sentence or None
