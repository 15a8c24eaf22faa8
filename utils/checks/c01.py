"""Checks of notebook 01: neighbours, balanced concatenation, shared labels, neighbours by clicks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from utils.checks.base import exercise, first_named, numbers, same

__all__ = ["balanced_concat", "click_cosine", "label_share", "nearest_rows"]


@exercise
def nearest_rows(mine: Callable[[np.ndarray, int, int], np.ndarray]) -> str | None:
    """mine(matrix (n, dim), row, k) -> (k,) row numbers by cosine, best first, without the row itself."""
    # row 3 is long (the inner product would choose it), row 6 is near (the distance would), row 7 is missing
    matrix = np.array(
        [[1.0, 0.1], [-1.0, 0.0], [2.0, 0.0], [9.0, 9.0], [1.0, 0.3], [0.5, -1.0], [2.2, 0.9], [0.0, 0.0]]
    )
    row, k, right = 2, 2, [0, 4]
    with np.errstate(all="ignore"):
        answer = numbers(mine(matrix.copy(), row, k), "answer").tolist()
    if answer == right:
        return _with_a_twin(mine)
    if not isinstance(answer, list) or len(answer) != k or isinstance(answer[0], list):
        return f"you returned shape {np.shape(answer)} instead of k = {k} row numbers."
    if answer[0] == 7:
        return "row 7 has no content: 0 divided by 0 became NaN, which sorts before everything; clamp its length."
    if row in answer:
        return "the row itself is among its neighbours: its cosine with itself is 1; give it minus infinity."
    if any(not float(value).is_integer() for value in answer):
        return "you returned cosines; return the numbers of the rows (np.argsort)."
    mistakes = {
        "the farthest rows come first: np.argsort sorts upwards, so sort the negative cosines.": [1, 7],
        "the right rows in the wrong order: best first.": right[::-1],
        "you deleted the row before sorting, so all later rows moved by one; mask it instead.": [0, 3],
        "these are the nearest by distance; a cosine looks at the direction only, so divide by the lengths.": [6, 0],
        "the longest row wins: this is the inner product, or your lengths run over the wrong axis; every row is divided by "
        "its own length (axis=1).": [3, 6],
        "you skip the nearest row: without the row itself the list starts at place 0.": [4, 6],
    }
    return first_named(answer, mistakes) or f"the two nearest rows of row 2 are {right}, you returned {answer}."


def _with_a_twin(mine: Callable) -> str | None:
    matrix = np.array([[2.0, 1.0], [0.0, 1.0], [2.0, 1.0], [2.0, 0.9]])  # rows 0 and 2 are the same item twice
    if numbers(mine(matrix, 2, 2)).tolist() != [0, 3]:
        return "right so far, but here row 0 is a twin of row 2: you drop the first place, which need not be the row itself."
    return None


@exercise
def balanced_concat(mine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> str | None:
    """mine(a (n, dim_a), b (n, dim_b)) -> (n, dim_a + dim_b): each modality of length 1 per row, a zero row stays zero."""
    a, b = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[0.0, 100.0, 0.0], [1.0, 0.0, 0.0]])
    with np.errstate(all="ignore"):
        answer = numbers(mine(a.copy(), b.copy()), "result")

    def unit(matrix: np.ndarray, axis: int | None = 1, order: int | None = None) -> np.ndarray:
        length = np.linalg.norm(matrix, axis=axis, keepdims=True, ord=order)
        return matrix / np.maximum(length, 1e-12)

    def joined(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.concatenate([left, right], axis=1)

    right = joined(unit(a), unit(b))
    if answer.shape[:1] == (4,):
        return "you stacked items under items (axis=0); put the columns side by side (axis=1)."
    if answer.shape != right.shape:
        return f"the result has shape {answer.shape}; two items with 2 + 3 numbers give {right.shape}."
    if np.isnan(answer).any():
        return "a missing (zero) row became NaN: clamp its length at a tiny number before dividing."
    mistakes = {
        "you did not normalise: the second modality is 20 times longer and drowns the first.": joined(a, b),
        "you normalised after the concatenation: the longer modality still drowns the other; normalise each before.": (
            unit(joined(a, b))
        ),
        "you normalised twice: each modality already has length 1, leave the joined row as it is.": unit(right),
        "you normalised the columns (axis=0); every item's row should have length 1 (axis=1).": (
            joined(unit(a, 0), unit(b, 0))
        ),
        "you divided each modality by one number, the length of its whole matrix; each row has its own.": joined(
            a / np.linalg.norm(a), b / np.linalg.norm(b)
        ),
        "only the first modality has length 1 now; the second needs the same.": joined(unit(a), b),
        "only the second modality has length 1 now; the first needs the same.": joined(a, unit(b)),
        "you divided by the sum of the absolute values; the length is the root of the sum of squares.": (
            joined(unit(a, order=1), unit(b, order=1))
        ),
        "you divided each row by its largest number; divide by its length.": joined(
            a / np.maximum(a.max(axis=1, keepdims=True), 1e-12), b / np.maximum(b.max(axis=1, keepdims=True), 1e-12)
        ),
        "the second modality comes first: keep the order of the arguments.": joined(unit(b), unit(a)),
    }
    if not same(answer, right):
        found = first_named(answer, mistakes)
        return found or f"for [3, 4] and [0, 100, 0] the row is {right[0].tolist()}, yours is {answer[0].tolist()}."
    return None


@exercise
def label_share(mine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> str | None:
    """mine(neighbours (n_items, k), labels (n_items,)) -> (n_items,): the share of neighbours with the item's label."""
    neighbours = np.array([[1, 2, 4], [0, 4, 3], [0, 1, 3], [4, 0, 1], [3, 2, 0]])
    labels = np.array(["a", "a", "a", "b", "b"])
    answer = numbers(mine(neighbours.copy(), labels.copy()), "shares")
    if answer.shape == ():
        return "you returned one number for all items; keep one share per item (mean over axis=1)."
    if answer.shape == (3,):
        return "you averaged over the items (axis=0); average over the neighbours of each item (axis=1)."
    equal = labels[neighbours] == labels[:, None]
    right = equal.mean(axis=1)
    if answer.shape != right.shape:
        return f"you return shape {answer.shape}; one share per item is {right.shape}."
    mistakes = {
        "you counted the neighbours; divide by how many there are.": equal.sum(axis=1),
        "you counted the item itself as a neighbour; it always shares its own label.": (equal.sum(axis=1) + 1) / 4,
        "this is the share with another label.": 1 - right,
        "you divide by the number of items; divide by the number of neighbours.": equal.sum(axis=1) / 5,
        "you compared with all items of the shop; only the neighbours count: labels[neighbours].": (
            labels[None] == labels[:, None]
        ).mean(axis=1),
        "you looked at the nearest neighbour only; take the mean over all k.": equal[:, 0],
        "you say whether any neighbour has the label; return the share of them.": equal.any(axis=1),
        "this is in percent; a share lies between 0 and 1.": 100 * right,
    }
    if not same(answer, right):
        found = first_named(answer, mistakes)
        return (
            found
            or f"for labels {labels.tolist()} the shares are {right.round(2).tolist()}, not {answer.round(2).tolist()}."
        )
    return None


@exercise(bonus=True)
def click_cosine(mine: Callable[[np.ndarray], np.ndarray]) -> str | None:
    """mine(clicks (n_users, n_items) of 0 and 1) -> (n_items, n_items): common takers / root of takers times takers."""
    rows = ["11000", "11010", "10010", "01110", "10000"]  # 5 users, 5 items: the wrong axis runs; nobody took item 4
    clicks = np.array([[float(sign) for sign in row] for row in rows])
    with np.errstate(all="ignore"):
        answer = numbers(mine(clicks.copy()), "similarities")
    common, takers = clicks.T @ clicks, clicks.sum(axis=0)
    lengths = np.sqrt(np.maximum(np.outer(takers, takers), 1e-12))
    off = 1 - np.eye(5)
    right = common / lengths * off
    if answer.shape != right.shape:
        return f"you return shape {answer.shape}; one number per pair of items is {right.shape}."
    if np.isnan(answer).any():
        return "item 4 has no taker: 0 divided by 0 became NaN; clamp the divisor at a tiny number."
    by_user = clicks @ clicks.T
    ends = np.maximum(np.outer(clicks.sum(axis=1), clicks.sum(axis=1)), 1e-12)
    either = np.maximum(takers[:, None] + takers[None] - common, 1e-12)
    if same(answer, right):
        return None
    if same(answer * off, right):
        return "an item is its own neighbour here: its cosine with itself is 1; set the diagonal to 0."
    with np.errstate(all="ignore"):
        correlation = np.nan_to_num(np.corrcoef(clicks.T))
    mistakes = {
        "you compare users with users: the items are the columns, so the product has to be turned round.": (
            by_user / np.sqrt(ends) * off
        ),
        "these are counts: popular items are near to everything; divide by the root of both numbers of takers.": (
            common * off
        ),
        "you divided by the takers of one item only, so i to j is not j to i; use both, under the root.": (
            common / np.maximum(takers[:, None], 1e-12) * off
        ),
        "you divided by the takers of one item only, so j to i is not i to j; use both, under the root.": (
            common / np.maximum(takers[None], 1e-12) * off
        ),
        "the square root is missing: divide by the root of takers times takers.": common / lengths**2 * off,
        "this divides by the takers of either (Jaccard); the cosine divides by the root of takers times takers.": (
            common / either * off
        ),
        "you subtracted the means first: this is the correlation, not the cosine.": correlation * off,
        "you divided by the number of users; divide by the root of both numbers of takers.": common / 5 * off,
    }
    found = first_named(answer * off, mistakes)
    return (
        found
        or f"items 0 and 1: {common[0, 1]:.0f} common takers, cosine {right[0, 1]:.3f}; yours is {answer[0, 1]:.3g}."
    )
