"""Checks of notebook 01: neighbours, balanced concatenation, shared labels, neighbours by clicks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from utils.checks.base import exercise, farthest, first_named, numbers, same

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
    if np.shape(answer) == (len(matrix),):
        return "you returned the whole ranking (or all cosines); cut the ranking after k rows."
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
        "the signs got lost: row 1 points the other way, its cosine is -1.": [1, 0],
        "you subtracted a mean first, so this is a correlation: the cosine takes the rows as they are.": [0, 5],
        "you subtracted the mean row first: the cosine takes the rows as they are.": [5, 6],
        "these are the nearest by the sum of absolute differences; a cosine looks at the direction only.": [0, 6],
        "your rows are numbered from 1; row numbers count from 0.": [1, 5],
    }
    return first_named(answer, mistakes) or f"the two nearest rows of row 2 are {right}, you returned {answer}."


def _with_a_twin(mine: Callable) -> str | None:
    matrix = np.array([[2.0, 1.0], [0.0, 1.0], [2.0, 1.0], [2.0, 0.9]])  # rows 0 and 2 are the same item twice
    if numbers(mine(matrix, 2, 2)).tolist() != [0, 3]:
        return "right so far, but here row 0 is a twin of row 2: you drop the first place, which need not be the row itself."
    alone = np.array([[-1.0, 0.2], [2.0, 0.0], [-1.0, 1.0], [-3.0, -1.0]])  # all others point away from row 1
    answer = numbers(mine(alone, 1, 3)).tolist()
    if 1 in answer:
        return (
            "right so far, but where all cosines are negative the row itself comes back: give it minus infinity, not 0."
        )
    return (
        None
        if answer == [2, 3, 0]
        else f"right so far, but of four rows the neighbours of row 1 are [2, 3, 0], not {answer}."
    )


@exercise
def balanced_concat(mine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> str | None:
    """mine(a (n, dim_a), b (n, dim_b)) -> (n, dim_a + dim_b): each modality of length 1 per row, a zero row stays zero."""
    a, b = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[0.0, 100.0, 0.0], [0.5, 0.0, 0.0]])
    with np.errstate(all="ignore"):
        answer = numbers(mine(a.copy(), b.copy()), "result")

    def unit(matrix: np.ndarray, axis: int | None = 1, order: int | None = None) -> np.ndarray:
        length = np.linalg.norm(matrix, axis=axis, keepdims=True, ord=order)
        return matrix / np.maximum(length, 1e-12)

    def scaled(matrix: np.ndarray, axis: int) -> np.ndarray:
        return (matrix - matrix.mean(axis, keepdims=True)) / np.maximum(matrix.std(axis, keepdims=True), 1e-12)

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
        "you clamped the lengths at 1, so that a short row stays short; clamp at a tiny number.": joined(
            *(m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1) for m in (a, b))
        ),
        "you added 1 to the lengths, so that no row has length 1; clamp them at a tiny number instead.": joined(
            *(m / (np.linalg.norm(m, axis=1, keepdims=True) + 1) for m in (a, b))
        ),
        "you standardised the columns; every item's row should have length 1.": joined(scaled(a, 0), scaled(b, 0)),
        "you standardised within each row; divide the row by its length, and leave its mean.": joined(
            scaled(a, 1), scaled(b, 1)
        ),
        "the square root is missing: the length is the root of the sum of squares.": joined(
            *(m / np.maximum((m**2).sum(axis=1, keepdims=True), 1e-12) for m in (a, b))
        ),
        "you divided each modality by its number of dimensions as well; length 1 is all that is asked for.": joined(
            unit(a) / 2, unit(b) / 3
        ),
        "each part was scaled once more: a row of one modality should have length 1 exactly.": right / 2,
        "the joined rows have length 1; each modality's part should have length 1.": right / np.sqrt(2),
        "you divided each modality by its mean length; every row has a length of its own.": joined(
            *(m / np.linalg.norm(m, axis=1).mean() for m in (a, b))
        ),
    }
    if not same(answer, right):
        found = first_named(answer, mistakes)
        row, _ = farthest(answer, right)
        return (
            found
            or f"item {row} of the test should get {right[row].tolist()}, you return {answer[row].round(3).tolist()}."
        )
    return None


@exercise
def label_share(mine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> str | None:
    """mine(neighbours (n_items, k), labels (n_items,)) -> (n_items,): the share of neighbours with the item's label."""
    neighbours = np.array([[1, 2, 4], [3, 0, 4], [1, 3, 0], [0, 4, 2], [3, 2, 0]])
    labels = np.array(["b", "a", "b", "a", "a"])  # every known mistake gives other shares here
    answer = numbers(mine(neighbours.copy(), labels.copy()), "shares")
    if answer.shape == ():
        return "you returned one number for all items; keep one share per item (mean over axis=1)."
    if answer.shape == neighbours.shape:
        return "you return the comparisons themselves; take the mean of each row (axis=1)."
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
        "you compared with all items of the shop; only the neighbours count: labels[neighbours].":
            (labels[None] == labels[:, None]).mean(axis=1),
        "you looked at the nearest neighbour only; take the mean over all k.": equal[:, 0],
        "you say whether any neighbour has the label; return the share of them.": equal.any(axis=1),
        "this is in percent; a share lies between 0 and 1.": 100 * right,
        "you divide by k + 1, as if the item were its own neighbour; divide by the number of neighbours.":
            equal.sum(axis=1) / 4,
        "you divide by k - 1; the item itself is not among its neighbours, so divide by k.": equal.sum(axis=1) / 2,
        "you looked at the last neighbour only; take the mean over all k.": equal[:, -1],
        "you say whether most neighbours have the label; return the share of them.": right > 0.5,
        "you compare with the nearest neighbour's label; compare with the item's own, labels[:, None].":
            (labels[neighbours] == labels[neighbours][:, :1]).mean(axis=1),
        "you count different labels; count the neighbours with the item's own label.":
            np.array([len(set(row)) for row in labels[neighbours]]) / 3,
        "nearer neighbours weigh more here; in this share all k weigh the same.":
            np.average(equal, axis=1, weights=[1, 1 / 2, 1 / 3]),
        "your neighbours are shifted by one: their ids count from 0, use them as they are.":
            (labels[neighbours - 1] == labels[:, None]).mean(axis=1),
        "all your shares are 0: compare labels with labels, labels[neighbours] == labels[:, None], and take the mean.":
            np.zeros(5),
        "you divide by how many items of the shop have the label; divide by the number of neighbours.":
            equal.sum(axis=1) / np.array([(labels == label).sum() for label in labels]),
    }  # fmt: skip
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
    if answer.shape == (4, 4):
        return "the item without takers is gone, and later items would move by one; keep its row and column of zeros."
    if answer.shape != right.shape:
        return f"you return shape {answer.shape}; one number per pair of items is {right.shape}."
    if np.isinf(np.diag(answer)).any():
        return "minus infinity on the diagonal is right before sorting; here the diagonal is asked to be 0."
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
        "you compare users with users: the items are the columns, so the product has to be turned round.":
            by_user / np.sqrt(ends) * off,
        "these are counts: popular items are near to everything; divide by the root of both numbers of takers.":
            common * off,
        "you divided by the takers of one item only, so i to j is not j to i; use both, under the root.":
            common / np.maximum(takers[:, None], 1e-12) * off,
        "you divided by the takers of one item only, so j to i is not i to j; use both, under the root.":
            common / np.maximum(takers[None], 1e-12) * off,
        "the square root is missing: divide by the root of takers times takers.": common / lengths**2 * off,
        "this divides by the takers of either (Jaccard); the cosine divides by the root of takers times takers.":
            common / either * off,
        "you subtracted the means first: this is the correlation, not the cosine.": correlation * off,
        "you divided by the number of users; divide by the root of both numbers of takers.": common / 5 * off,
        "you divided by the smaller number of takers: every item that few took looks near; take the root of both.":
            common / np.maximum(np.minimum.outer(takers, takers), 1e-12) * off,
        "you divided by the larger number of takers; the cosine divides by the root of both numbers.":
            common / np.maximum(np.maximum.outer(takers, takers), 1e-12) * off,
        "this divides by the mean of both numbers (Dice); the cosine divides by the root of their product.":
            2 * common / np.maximum(np.add.outer(takers, takers), 1e-12) * off,
        "you divided by the sum of both numbers; the cosine divides by the root of their product.":
            common / np.maximum(np.add.outer(takers, takers), 1e-12) * off,
        "only one half of the table is filled: i to j is as near as j to i.": np.triu(right),
        "this is the distance, 1 minus the cosine; return the cosine.": (1 - right) * off,
        "you say whether two items share a taker; divide their number by the root of both numbers of takers.":
            (common > 0) * off,
        "you added 1 to the numbers of takers against a division by 0; clamp the divisor at a tiny number instead.":
            common / np.sqrt(np.outer(takers + 1, takers + 1)) * off,
    }  # fmt: skip
    found, (i, j) = first_named(answer * off, mistakes), farthest(answer, right)
    return (
        found
        or f"items {i} and {j}: {common[i, j]:.0f} common takers, cosine {right[i, j]:.3f}; yours is {answer[i, j]:.3g}."
    )
