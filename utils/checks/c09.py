"""Checks of notebook 09: whitening to one width, attention over a history, spreads, distance to the history, shares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from utils.checks.base import exercise, numbers

__all__ = ["distance_of_list", "extractor_spreads", "history_attention", "same_width", "shares_of_variance"]


# ---- exercise 1 ----


@exercise
def same_width(mine: Callable[[np.ndarray, int], np.ndarray]) -> str | None:
    """mine(matrix, width) -> the first ``width`` principal axes of the rows, each of variance 1."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(200, 6)) * [9.0, 5.0, 3.0, 1.0, 0.5, 0.2] @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 4
    answer = numbers(mine(matrix.copy(), 3), "matrix")
    if answer.shape != (200, 3):
        return f"200 rows and a width of 3 make (200, 3), yours is {answer.shape}."
    centre = matrix - matrix.mean(0)
    left, singular, axes = np.linalg.svd(centre, full_matrices=False)
    turned = centre @ axes.T
    spread = turned[:, :3].std(0, ddof=1)
    scaled = turned[:, :3] / spread
    if _same(answer, scaled / np.linalg.norm(scaled, axis=1, keepdims=True)):
        return "you brought the rows to length 1 as well: each column has variance 1, and that is all."
    if np.abs(answer.mean(0)).max() > 1e-4 * max(1, np.abs(answer).max()):  # float32 passes
        return "the columns are not centred: subtract the mean row before you look for axes."
    if _same(answer, turned[:, :3]):
        return "the axes keep their own size: divide each by its standard deviation, or the largest decides alone."
    if _same(answer, left[:, :3]):
        return "the columns have length 1, not variance 1: multiply by the root of (n - 1)."
    if _same(answer, turned[:, 3:] / turned[:, 3:].std(0, ddof=1)):
        return "these are the smallest axes, which are noise: keep the largest."
    if _same(answer, (centre / centre.std(0, ddof=1))[:, :3]):
        return "you standardised the first columns: turn the data onto its principal axes first (np.linalg.svd)."
    if _same(answer, turned[:, :3] / spread**2):
        return "you divide by the variance: divide by its root, the standard deviation."
    if _same(answer, turned[:, :3] * spread):
        return "you multiply by the standard deviation: divide by it."
    if _same(answer, turned[:, :3] / singular[:3]):
        return "you divide by the singular values: they grow with n, the standard deviation is singular / sqrt(n - 1)."
    if _same(answer, centre @ axes[:, :3] / spread):
        return "you use columns of the table of axes: its *rows* are the axes (axes[:width].T)."
    if _same(answer, turned[:, :3] / np.sqrt(singular[:3])):
        return "you divide by the root of the singular values: the standard deviation is singular / sqrt(n - 1)."
    if _same(answer, turned[:, :3] / (singular[:3] / len(matrix))):
        return "you divide by singular / n: the standard deviation is singular / sqrt(n - 1)."
    if _same(answer, turned[:, :3] / turned[:, :3].std()):
        return "all axes are divided by one number: each has a standard deviation of its own."
    standard = centre / centre.std(0, ddof=1)
    others = {
        "you standardised the columns first, which moves the axes: centre only, then turn.": standard,
        "you subtracted the mean of each row: subtract the mean row, one number for each column (axis=0).": matrix
        - matrix.mean(1, keepdims=True),
    }
    for sentence, table in others.items():
        table = table - table.mean(0)
        u = np.linalg.svd(table, full_matrices=False)[0][:, :3] * np.sqrt(len(matrix) - 1)
        if _same(answer, u, 0.02):
            return sentence
    uncentred = centre @ np.linalg.svd(matrix, full_matrices=False)[2][:3].T
    if _same(answer, uncentred / uncentred.std(0, ddof=1), 0.02):
        return (
            "the axes are those of the table before centring, so that the first one points at the mean: centre first."
        )
    if _same(answer, (turned / turned.std(0, ddof=1) @ axes)[:, :3], 0.02):
        return "you turned back to the old columns (ZCA): the result is on the principal axes, the largest first."
    deviation = answer.std(0, ddof=1)
    if _same(answer, (turned[:, :3] / spread)[:, ::-1], 0.02):
        return "the right axes, in the wrong order: the largest comes first."
    if not np.allclose(deviation, 1, atol=0.02):
        return f"each axis should have variance 1; your standard deviations are {np.round(deviation, 2).tolist()}."
    if not _same(answer, turned[:, :3] / spread, 0.02):
        return "each column has variance 1, but they are not the three largest principal axes."
    return None


def _same(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-6) -> bool:
    """Equal up to the sign of each column, which is arbitrary."""
    signs = np.sign((a * b).sum(0))
    return bool(np.allclose(a, b * np.where(signs == 0, 1, signs), rtol=tolerance, atol=tolerance))


# ---- exercise 2 ----


def _weights(answer: object) -> torch.Tensor:
    return torch.as_tensor(numbers(answer, "weights"), dtype=torch.float32)


@exercise
def history_attention(mine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> str | None:
    """mine(logits, present) -> (b, longest) weights: softmax over the items that are there, 0 elsewhere."""
    logits = torch.tensor([[1.0, 2.0, 0.5, 3.0], [0.3, -1.0, 2.0, 0.0], [0.2, 0.1, 0.0, -0.4]])
    present = torch.tensor([[True, True, True, False], [True, True, False, False], [True, True, True, True]])
    answer = _weights(mine(logits.clone(), present.clone()))
    if answer.shape != logits.shape:
        return f"three users and four places make (3, 4), yours is {tuple(answer.shape)}."
    plain = torch.softmax(logits, 1)
    right = torch.softmax(logits.masked_fill(~present, -torch.inf), 1)
    known = {
        "the empty places take part: histories are padded, so mask the logits before the softmax.": plain,
        "you mask after the softmax, so that the weights of a short history do not add up to 1.": plain * present,
        "a logit of 0 is no mask, exp(0) is 1: fill the empty places with minus infinity.":
            torch.softmax(logits * present, 1),
        "the softmax runs over the users: it belongs to each row, dim=1.":
            torch.softmax(logits.masked_fill(~present, -torch.inf), 0),
        "the mask is upside down: `present` is True where an item is, and those are to be kept.":
            torch.softmax(logits.masked_fill(present, -torch.inf), 1).nan_to_num(),
        "these are logarithms of weights: use the softmax itself.":
            torch.log_softmax(logits.masked_fill(~present, -torch.inf), 1),
        "a sigmoid judges each item alone: the weights of a history must add up to 1.": torch.sigmoid(logits) * present,
        "you divide the logits by their sum: they can be negative; the softmax makes them positive first.":
            logits * present / (logits * present).sum(1, keepdim=True),
        "every item weighs the same: use the logits.": present / present.sum(1, keepdim=True),
        "all places weigh the same, the empty ones too: use the logits, and mask them.": torch.full_like(logits, 0.25),
        "a logit of -1 is no mask, exp(-1) is more than a third: fill the empty places with minus infinity.":
            torch.softmax(logits.masked_fill(~present, -1), 1),
        "a logit of -9 is a leaky mask: a place that is empty still gets a little; fill it with minus infinity.":
            torch.softmax(logits.masked_fill(~present, -9), 1),
        "only the largest weight is left: the softmax gives every item a share.":
            torch.nn.functional.one_hot(logits.masked_fill(~present, -9e9).argmax(1), 4),
        "1 was added to the sum against a division by 0: the weights no longer add up to 1.":
            logits.exp() * present / ((logits.exp() * present).sum(1, keepdim=True) + 1),
        "these are exponentials: divide by their sum over the history.": logits.exp() * present,
        "the signs get lost: a negative logit is a small weight.":
            torch.softmax(logits.abs().masked_fill(~present, -torch.inf), 1),
        "you divided the logits by a root: take them as they are.":
            torch.softmax((logits / 2).masked_fill(~present, -torch.inf), 1),
        "the sign is turned: the largest logit gets the largest weight.":
            torch.softmax((-logits).masked_fill(~present, -torch.inf), 1),
        "you multiply by the length of the history: the weights add up to 1.": right * present.sum(1, keepdim=True),
        "the softmax runs over the whole table: it belongs to each row, dim=1.":
            torch.softmax(logits.masked_fill(~present, -torch.inf).flatten(), 0).reshape(3, 4),
        "the logits are squared: the softmax takes their exponentials.":
            logits.square() * present / (logits.square() * present).sum(1, keepdim=True),
        "a ReLU gives items with a negative logit nothing: the softmax takes exponentials.":
            logits.relu() * present / (logits.relu() * present).sum(1, keepdim=True),
    }  # fmt: skip
    for sentence, wrong in known.items():
        if torch.allclose(answer.nan_to_num(), wrong.float().nan_to_num(), atol=1e-5):
            return sentence
    if not torch.allclose(answer, right, atol=1e-5):
        return f"the first user's weights should be {[round(w, 3) for w in right[0].tolist()]}."
    empty = _weights(mine(logits[:1].clone(), torch.zeros(1, 4, dtype=torch.bool)))
    if torch.isnan(empty).any():
        return "a user without a history gets NaN (0 divided by 0): give zeros, for example with torch.nan_to_num."
    if empty.abs().max() > 1e-6:
        return "a user without a history has nothing to weigh: all weights are 0."
    large = _weights(mine(logits[:1] + 200, present[:1].clone()))
    if not torch.allclose(large, right[:1], atol=1e-4):
        return "large logits overflow in exp: subtract the largest one of the row first, or use torch.softmax."
    return None


# ---- exercise 3 ----


@exercise
def extractor_spreads(mine: Callable[[pd.DataFrame], tuple[float, float]]) -> str | None:
    """mine(table) -> (range of the recommenders' means, mean over recommenders of the range over extractors)."""
    table = pd.DataFrame(
        [[0.10, 0.26, 0.12], [0.30, 0.09, 0.31], [0.20, 0.22, 0.37]],
        index=["a", "b", "c"],
        columns=["x", "y", "z"],
    )
    pair = mine(table.copy())
    pair = list(pair.values()) if isinstance(pair, dict) else pair
    if np.ndim(pair) != 1 or len(pair) != 2:
        return "return two numbers: the spread over recommenders, then the spread over extractors."
    rows, ranges = table.mean(axis=1), table.max(axis=1) - table.min(axis=1)
    right = (rows.max() - rows.min(), ranges.mean())
    columns = table.mean()
    answer = tuple(float(x) for x in pair)
    medians, ends = table.median(axis=1), table.iloc[:, -1] - table.iloc[:, 0]
    if np.isclose(answer[0], medians.max() - medians.min()):
        return "you take medians of the rows: average each recommender over its extractors."
    if np.isclose(answer[1], ends.mean()):
        return "you subtract the first extractor from the last one: take the largest minus the smallest of each row."
    if np.isclose(answer[1], ranges.median()) and not np.isclose(ranges.median(), ranges.mean()):
        return "you take the median of the ranges: take their mean over the recommenders."
    if np.isclose(answer[1], ranges.min()):
        return "you take the smallest of the ranges: take their mean over the recommenders."
    if np.allclose(answer, 100 * np.array(right)):
        return "you return percentages: return the differences of Recall as they are."
    if np.allclose(answer, np.array(right) / 2):
        return "you halve the ranges: largest minus smallest is the whole range."
    if np.allclose(answer, np.array(right) / sum(right)):
        return "these are shares of the two spreads: return the spreads themselves."
    if np.allclose(answer, (rows.max() / rows.min(), (table.max(axis=1) / table.min(axis=1)).mean())):
        return "these are ratios: asked for is largest minus smallest."
    if np.allclose(answer, (rows.max() - rows.mean(), (table.max(axis=1) - rows).mean())):
        return "this is the best minus the mean: asked for is largest minus smallest."
    if np.allclose(answer, (rows.var(ddof=1), table.var(axis=1, ddof=1).mean())):
        return "these are variances: asked for is the range, largest minus smallest."
    if np.isclose(answer[0], table.max(axis=1).max() - table.max(axis=1).min()):
        return "you compare the recommenders by their best extractor: average each over its extractors first."
    if np.allclose(answer, (right[0], right[0])):
        return "both numbers are the spread over recommenders: the second is the mean of the ranges within a row."
    if np.isclose(answer[1], table.to_numpy().max() - table.to_numpy().min()):
        return "the second is the range of all cells: take the range in each row, then the mean."
    if np.isclose(answer[1], (table.max() - table.min()).mean()) and np.isclose(answer[0], right[0]):
        return "the second is the mean of the ranges down the columns: a recommender is a row, axis=1."
    if np.isclose(answer[1], ranges.sum()):
        return "you add the ranges up: take their mean over the recommenders."
    if np.isclose(answer[1], ranges.max()):
        return "you take the largest of the ranges: take their mean over the recommenders."
    if np.allclose(answer, (-right[0], -right[1])):
        return "smallest minus largest is negative: take largest minus smallest."
    if np.allclose(answer, right[::-1]):
        return "the two are swapped: recommenders first, and they are the rows."
    if np.allclose(answer, (columns.max() - columns.min(), (table.max() - table.min()).mean())):
        return "rows and columns are swapped: the recommenders are the rows, so average with axis=1."
    if np.isclose(answer[1], columns.max() - columns.min()):
        return (
            "you average over the recommenders before you look for the best extractor: each recommender may have another "
            "best one, so take the range in each row, then the mean."
        )
    if np.allclose(answer, (rows.std(ddof=1), table.std(axis=1, ddof=1).mean())) or np.allclose(
        answer, (rows.std(ddof=0), table.std(axis=1, ddof=0).mean())
    ):
        return "these are standard deviations: asked for is the range, largest minus smallest."
    if np.isclose(answer[0], (table.max() - table.min()).mean()):
        return "the spread over recommenders is the range of their means over the extractors, not a mean of ranges."
    if np.isclose(answer[0], table.to_numpy().max() - table.to_numpy().min()):
        return "you take the range of all cells: average each recommender over its extractors first."
    if not np.allclose(answer, right):
        return f"for the test table: {right[0]:.4f} and {right[1]:.4f}, you return {answer[0]:.4f} and {answer[1]:.4f}."
    return None


# ---- exercise 4 ----


@exercise
def distance_of_list(mine: Callable[[np.ndarray, np.ndarray], float]) -> str | None:
    """mine(history, listed) -> 1 - mean cosine of all pairs; rows are feature vectors."""
    history = np.array([[3.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    listed = np.array([[2.0, 0.7], [1.0, -2.0]])
    answer = numbers(mine(history.copy(), listed.copy()), "distance")
    if answer.size != 1:
        return f"D_u is one number for the user: take the mean over all pairs; you return shape {answer.shape}."
    answer = float(answer.reshape(()))
    h, r = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (history, listed))
    right = 1 - (h @ r.T).mean()
    centres = history.mean(0), listed.mean(0)
    known = {
        "you return the similarity: the distance is 1 minus it.": (h @ r.T).mean(),
        "the vectors are not scaled to length 1: long ones count more, and the measure gets a scale.":
            1 - (history @ listed.T).mean(),
        "this is 1 - the cosine of the two centres: take the mean over all pairs of the cosines instead.":
            1 - centres[0] @ centres[1] / np.linalg.norm(centres[0]) / np.linalg.norm(centres[1]),
        "this is the distance between the two centres, as in the t-SNE picture: it depends on the scale.":
            np.linalg.norm(centres[0] - centres[1]),
        "you compare the listed items with each other: that is the diversity within the list.": 1 - r[0] @ r[1],
        "you add the cosines up: take their mean, or long lists look near.": 1 - (h @ r.T).sum(),
        "you scale each table by one length: scale each row by its own (axis=1).":
            1 - (history @ listed.T).mean() / np.linalg.norm(history) / np.linalg.norm(listed),
        "you scale the columns: a vector is a row, so take the length over axis=1.":
            1 - (history / np.linalg.norm(history, axis=0) @ (listed / np.linalg.norm(listed, axis=0)).T).mean(),
        "these are distances in the space, with its scale: take cosines.":
            np.linalg.norm(history[:, None] - listed, axis=2).mean(),
        "you take the nearest history item of each listed one: the definition averages over all pairs.":
            1 - (h @ r.T).max(0).mean(),
        "you take the nearest listed item of each history item: the definition averages over all pairs.":
            1 - (h @ r.T).max(1).mean(),
        "you take the nearest pair only: the definition averages over all pairs.": 1 - (h @ r.T).max(),
        "you take the farthest pair only: the definition averages over all pairs.": 1 - (h @ r.T).min(),
        "you take the median of the pairs: take their mean.": 1 - np.median(h @ r.T),
        "the signs of the cosines get lost: opposite vectors are far, not near.": 1 - np.abs(h @ r.T).mean(),
        "you compare row by row: every history item meets every listed one.": 1 - (h[:2] * r).sum(1).mean(),
        "you compare the history with itself: compare it with the list.": 1 - (h @ h.T).mean(),
        "this is the mean angle: take 1 minus the mean cosine.": np.arccos(np.clip(h @ r.T, -1, 1)).mean(),
        "you add the distances up: take their mean.": (1 - h @ r.T).sum(),
        "only the listed rows have length 1: the history needs the same.": 1 - (history @ r.T).mean(),
        "only the history's rows have length 1: the listed ones need the same.": 1 - (h @ listed.T).mean(),
        "you compare the list with the mean of the history: take the mean over all pairs of the cosines instead.":
            1 - (r @ centres[0]).mean() / np.linalg.norm(centres[0]),
        "you halve the distance: it is 1 minus the mean cosine.": right / 2,
        "the sign is turned: it is 1 minus the mean cosine.": -right,
        "this is the distance between rows of length 1: take 1 minus the mean cosine.":
            np.sqrt(np.maximum(2 - 2 * h @ r.T, 0)).mean(),
    }  # fmt: skip
    for sentence, wrong in known.items():
        if np.isclose(answer, wrong):
            return sentence
    if not np.isclose(answer, right):
        return f"three history items and two listed ones: {right:.4f}, you return {answer:.4f}."
    if not np.isclose(float(mine(history * 7, listed)), right):
        return "the measure should not change when all vectors are seven times as long."
    return None


# ---- bonus ----


def _shares(table: np.ndarray) -> dict[str, tuple]:
    """The right shares (key "") and what each known mistake makes of the same table."""
    n_rows, n_columns = table.shape
    total = table.mean()
    rows, columns = table.mean(1) - total, table.mean(0) - total
    squares = np.square(table - total).sum()
    by_row, by_column = n_columns * np.square(rows).sum(), n_rows * np.square(columns).sum()
    right = np.array([by_row, by_column, squares - by_row - by_column]) / squares
    unweighted = np.array([np.square(rows).sum(), np.square(columns).sum()]) / squares
    uncentred = np.array([n_columns * np.square(table.mean(1)).sum(), n_rows * np.square(table.mean(0)).sum()])
    roots = np.sqrt(right[:2])
    ranges = np.array([np.ptp(rows), np.ptp(columns)]) / np.ptp(table)
    return {
        "": right,
        "rows and columns are swapped: the recommenders are the rows, so average each with axis=1.": right[[1, 0, 2]],
        "each mean stands for all cells of its row (or column): square it once for each of them.": np.append(
            unweighted, 1 - unweighted.sum()
        ),
        "rows are counted by rows: a row has as many cells as there are columns.": np.append(
            x := np.array([n_rows * np.square(rows).sum(), n_columns * np.square(columns).sum()]) / squares, 1 - x.sum()
        ),
        "the mean of the whole table is not subtracted: it is common to all, and explains nothing.": np.append(
            x := uncentred / np.square(table).sum(), 1 - x.sum()
        ),
        "these are standard deviations: shares of *variance* are squared.": np.append(roots, 1 - roots.sum()),
        "these are ranges: shares of *variance* are sums of squares.": np.append(ranges, 1 - ranges.sum()),
        "these are sums of squares: divide by the total, so that they add up to 1.": right * squares,
        "you return percentages: shares lie between 0 and 1.": 100 * right,
        "the rest is missing: what neither choice explains alone.": np.append(right[:2], 0),
        "the spread is that of a sample (ddof=1): here sums of squares are compared, without a division.": np.append(
            x := np.array([table.mean(1).var(ddof=1), table.mean(0).var(ddof=1)]) / table.var(ddof=1), 1 - x.sum()
        ),
        "these are variances within the rows (and columns): take the variance of their means.": np.append(
            x := np.array([table.var(1).mean(), table.var(0).mean()]) / table.var(), 1 - x.sum()
        ),
        "the order is rows, columns, rest: you start with the rest.": right[[2, 0, 1]],
        "these are roots of the shares: shares of *variance* are squared.": np.sqrt(right),
        "you divide by the rest (F): divide by the total, so that they add up to 1.": np.append(
            right[:2] / right[2], 1
        ),
        "the third is the rest, what neither choice explains: 1 minus the other two.": np.append(right[:2], 1),
        "you divide by the number of cells as well: the shares add up to 1.": right / table.size,
        "columns are counted by columns: a column has as many cells as there are rows.": np.append(
            x := np.array([right[0], right[1] * n_columns / n_rows]), 1 - x.sum()
        ),
        "you take sizes, not squares: shares of *variance* are sums of squares.": np.append(
            x := np.array([n_columns * np.abs(rows).sum(), n_rows * np.abs(columns).sum()])
            / np.abs(table - total).sum(),
            1 - x.sum(),
        ),
        "the two shares are scaled to add up to 1: then nothing is left for the rest.": np.append(
            right[:2] / right[:2].sum(), 0
        ),
    }


@exercise(bonus=True)
def shares_of_variance(mine: Callable[[np.ndarray], tuple]) -> str | None:
    """mine(table) -> (rows, columns, rest): shares of the variance that each choice explains, together 1."""
    table = np.array([[0.10, 0.26, 0.12, 0.15], [0.30, 0.14, 0.31, 0.36], [0.20, 0.22, 0.37, 0.29]])
    answer = numbers(mine(table.copy()), "shares")
    if answer.shape != (3,):
        return f"return three shares: of the rows, of the columns, and the rest; yours have shape {answer.shape}."
    known = _shares(table)
    for sentence, value in known.items():
        if np.allclose(answer, value, atol=1e-5):
            return sentence or None
    return f"for the test table the shares are {known[''].round(4).tolist()}, you return {answer.round(4).tolist()}."
