"""Checks of notebook 06: recall, nDCG, the long-tail share, Holm's correction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from utils.checks.base import exercise
from utils.metrics import short_head
from utils.statistics import holm

__all__ = ["holm_correction", "long_tail_share", "ndcg_of_list", "recall_of_list"]


# ---- exercise 1 ----


@exercise
def recall_of_list(mine: Callable[..., float]) -> str | None:
    """mine(ranked, train_items, test_items, k) -> share of the test items among the first k, train items masked."""
    ranked, train, test = np.array([8, 3, 5, 0, 9, 1, 7, 2, 6, 4]), np.array([8, 5]), np.array([3, 9, 6])
    answer = _number(mine(ranked.copy(), train.copy(), test.copy(), 4), "recall")  # masked: 3 0 9 1 | 7 2 6 4
    if isinstance(answer, str):
        return answer
    known = {
        "you divide by k, which is precision: recall divides by the number of test items.": 2 / 4,
        "you count the train items: they are masked before the list is cut.": 3 / 4,
        "the train items still take places: remove them first, then cut after k.": 1 / 3,
        "you divide by the train and test items together: the train items are not to be found again.": 2 / 5,
        "you count the hits: divide by the number of test items.": 2,
        "this is the hit rate, 1 as soon as there is one hit: recall is a share.": 1,
        "you return a percentage: recall is a share between 0 and 1.": 200 / 3,
        "you return the share that was missed: 1 minus recall.": 1 - 2 / 3,
    }
    for sentence, wrong in known.items():
        if np.isclose(answer, wrong):
            return sentence
    if not np.isclose(answer, 2 / 3):
        return f"2 of 3 test items are among the first 4 that may be shown: 0.6667, you return {answer:.4f}."
    return _recall_edges(mine, ranked)


def _recall_edges(mine: Callable, ranked: np.ndarray) -> str | None:
    few = float(mine(ranked.copy(), np.array([8]), np.array([3, 5, 0, 4]), 2))  # masked: 3 5 | 0 ...
    if np.isclose(few, 1.0):
        return (
            "you divide by min(k, number of test items): some libraries do, and their recall is larger; "
            "the definition divides by the number of test items."
        )
    if not np.isclose(few, 0.5):
        return f"with 4 test items and k = 2 two hits are a recall of 0.5, you return {few:.4f}."
    none = float(mine(ranked.copy(), np.array([8]), np.array([4]), 3))
    return None if np.isclose(none, 0.0) else f"without a hit recall is 0, you return {none:.4f}."


# ---- exercise 2 ----


@exercise
def ndcg_of_list(mine: Callable[[np.ndarray, int, int], float]) -> str | None:
    """mine(hits, n_relevant, k) -> binary nDCG@k; hits is (n,) bool with n >= k, best place first."""
    hits = np.array([False, True, False, True, False, True])
    worth = 1 / np.log2(np.arange(2, 8))
    try:
        with np.errstate(all="ignore"):
            many, few = (float(mine(hits.copy(), n, 4)) for n in (5, 2))
    except ZeroDivisionError:
        many = few = np.inf
    if not (np.isfinite(many) and np.isfinite(few)) or many == 0:
        return "log2(1) is 0: the first place is divided by zero. Rank 1 is worth 1 / log2(1 + 1): use log2(rank + 1)."
    dcg = worth[[1, 3]].sum()
    late, flat = 1 / np.log2(np.arange(3, 9)), 1 / np.arange(1, 7)
    known = {
        "": (dcg / worth[:4].sum(), dcg / worth[:2].sum()),
        "you return the DCG: divide it by the DCG of the best possible list.": (dcg, dcg),
        "the ideal list is not cut: at most k places can hold a hit, so it has min(k, n_relevant) hits.": (
            dcg / worth[:5].sum(),
            dcg / worth[:2].sum(),
        ),
        "your ideal list always has k hits: a user with fewer relevant items could then never reach 1.": (
            dcg / worth[:4].sum(),
            dcg / worth[:4].sum(),
        ),
        "your ideal list has only the hits that were found: what the list missed must count as well.": (
            dcg / worth[:2].sum(),
            dcg / worth[:2].sum(),
        ),
        "you count hits after place k: cut the list first.": (
            worth[[1, 3, 5]].sum() / worth[:4].sum(),
            worth[[1, 3, 5]].sum() / worth[:2].sum(),
        ),
        "the discount is one place late: rank 1 is worth 1 / log2(2), not 1 / log2(3).": (
            late[[1, 3]].sum() / late[:4].sum(),
            late[[1, 3]].sum() / late[:2].sum(),
        ),
        "you discount by 1 / rank: nDCG falls more gently, by 1 / log2(rank + 1).": (
            flat[[1, 3]].sum() / flat[:4].sum(),
            flat[[1, 3]].sum() / flat[:2].sum(),
        ),
        "there is no discount: this is a share of hits, whatever their places are.": (2 / 4, 2 / 2),
    }
    for sentence, (one, other) in known.items():
        if np.isclose(many, one) and np.isclose(few, other):
            return sentence or _first_place(mine)
    return f"hits at places 2 and 4 of 4, with 5 relevant items, give {known[''][0]:.4f}; you return {many:.4f}."


def _first_place(mine: Callable) -> str | None:
    best = float(mine(np.array([True, False, False]), 1, 3))
    return None if np.isclose(best, 1.0) else f"the one relevant item on place 1 is a perfect list: 1, not {best:.4f}."


# ---- exercise 3 ----


@exercise
def long_tail_share(mine: Callable[[np.ndarray, np.ndarray], float]) -> str | None:
    """mine(lists, popularity) -> APLT: mean share of the lists outside the head, which holds 80 % of the interactions."""
    popularity = np.array([3, 25, 0, 10, 4, 40, 2, 10, 1, 5])  # head: items 5, 1, 3, 7 (40, 65, 75, 85 of 100)
    lists = np.array([[4, 5, 7, 6], [1, 2, 7, 8], [4, 6, 2, 3]])
    answer = _number(mine(lists.copy(), popularity.copy()), "the share")
    if isinstance(answer, str):
        return answer
    head = short_head(popularity)
    right = float((~head)[lists].mean())
    order = np.argsort(-popularity, kind="stable")

    def outside(items: np.ndarray) -> float:
        return float((~np.isin(lists, items)).mean())

    known = {
        "this is the share of the head: APLT counts what lies outside it, higher = more long tail.": 1 - right,
        "your head is the top 20 % of the items: it is made of the items that hold 80 % of the interactions.": outside(
            order[:2]
        ),
        "your head is 80 % of the items: it is made of the few items that hold 80 % of the interactions.": outside(
            order[:8]
        ),
        "the item that crosses the 80 % belongs to the head: without it the head holds less than that.": outside(
            order[:3]
        ),
        "you take the items in the order of their ids: sort by popularity first, most popular first.": outside(
            np.arange(8)
        ),
        "you sort upwards: the head starts with the most popular item.": outside(order[::-1][:8]),
        "you return a percentage: APLT is a share between 0 and 1.": 100 * right,
        "you count the places: divide by the length of the lists.": right * lists.shape[1],
        "you add all places of all lists up: take the mean.": right * lists.size,
    }
    if np.isclose(answer, right):
        return _tail_edges(mine)
    for sentence, wrong in known.items():
        if np.isclose(answer, wrong):
            return sentence
    return f"7 of these 12 places hold a long-tail item, a share of {right:.4f}; you return {answer:.4f}."


def _tail_edges(mine: Callable) -> str | None:
    popularity = np.array([50, 30, 10, 10])  # the first two hold exactly 80 %
    answer = float(mine(np.array([[0, 1, 2, 3]]), popularity))
    if np.isclose(answer, 0.25):
        return "two items that hold exactly 80 % are the whole head: stop when the share is reached."
    return None if np.isclose(answer, 0.5) else f"with counts 50, 30, 10, 10 the share is 0.5, you return {answer:.4f}."


# ---- exercise 4 ----


@exercise
def holm_correction(mine: Callable[[np.ndarray], np.ndarray]) -> str | None:
    """mine(p) -> (m,) p values corrected by Holm, in the order in which they came."""
    p = np.array([0.03, 0.004, 0.02, 0.5, 0.021])
    answer = np.asarray(mine(p.copy()), dtype=float)
    if answer.shape != p.shape:
        return f"for {len(p)} p values you return shape {answer.shape}; each p value gets its own corrected one."
    m, order = len(p), np.argsort(p)
    rank = np.argsort(order)  # 0 = smallest
    right, steps = holm(p), p * (m - rank)
    if np.allclose(answer, right):
        return _holm_edges(mine)
    uphill = np.minimum.accumulate((p[order] * m / np.arange(1, m + 1))[::-1])[::-1][rank]
    known = {
        "this is Bonferroni, m times every p: Holm multiplies only the smallest by m, the next by m - 1.": p * m,
        "the corrected values fall again: a larger p must not end up smaller. Take the running maximum.": steps,
        "right, but sorted: put every value back to the place its p came from.": right[order],
        "right, but sorted, and without the running maximum.": steps[order],
        "wrong end: the smallest p is multiplied by m, the largest by 1.": p * (rank + 1),
        "you multiply in the order in which they came: sort the p values first.": p * np.arange(m, 0, -1),
        "this is Benjamini and Hochberg: it limits the share of false finds, Holm the chance of any.": uphill,
        "the smallest is multiplied by m, not by m - 1.": np.maximum.accumulate((p * (m - rank - 1))[order])[rank],
        "these are the p values as they came.": p,
    }
    for sentence, wrong in known.items():
        wrongs = [np.asarray(wrong), np.minimum(wrong, 1.0)]
        if "wrong end" in sentence or "in which they came: sort" in sentence:
            wrongs += [np.minimum(np.maximum.accumulate(np.asarray(wrong)[order])[rank], 1.0)]
        if any(np.allclose(answer, one) for one in wrongs):
            return sentence
    at = int(np.argmax(~np.isclose(answer, right)))
    return f"p = {p[at]} of {p.tolist()} becomes {right[at]:.3f}, you return {answer[at]:.3f}."


def _holm_edges(mine: Callable) -> str | None:
    large = np.asarray(mine(np.array([0.7, 0.6])), dtype=float)
    if np.any(large > 1):
        return "right, but a p value cannot exceed 1: cut it there."
    return None if np.allclose(large, 1.0) else f"0.7 and 0.6 become 1 and 1, you return {large.tolist()}."


def _number(answer: object, what: str) -> float | str:
    value = np.asarray(answer, dtype=float)
    return float(value) if value.size == 1 else f"{what} is one number; you return shape {value.shape}."
