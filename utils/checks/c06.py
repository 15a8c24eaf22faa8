"""Checks of notebook 06: recall, nDCG, the long-tail share, how evenly the places are spread, Holm's correction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from utils.checks.base import Mistake, exercise, numbers
from utils.evaluation.metrics import short_head
from utils.evaluation.statistics import holm

__all__ = ["evenness_of_places", "holm_correction", "long_tail_share", "ndcg_of_list", "recall_of_list"]


# ---- exercise 1 ----


def _recalls(ranked: np.ndarray, train: np.ndarray, test: np.ndarray, k: int) -> dict[str, float]:
    """The right recall (key "") and what each known mistake makes of the same list."""
    left, n = ranked[~np.isin(ranked, train)], len(test)

    def hits(shown: np.ndarray, wanted: np.ndarray = test) -> int:
        return int(np.isin(shown, wanted).sum())

    found = hits(left[:k])
    cut_first = ranked[:k]
    return {
        "": found / n,
        "you divide by k, which is precision: recall divides by the number of test items.": found / k,
        "you divide by min(k, number of test items): some libraries do, and their recall is larger; "
        "the definition divides by the number of test items.": found / min(k, n),
        "you count the train items: they are masked before the list is cut.": hits(cut_first, np.append(train, test))
        / n,
        "the train items still take places: remove them first, then cut after k.": hits(cut_first) / n,
        "you divide by the train and test items together: the train items are not to be found again.": found
        / (n + len(train)),
        "you count the hits: divide by the number of test items.": found,
        "this is the hit rate, 1 as soon as there is one hit: recall is a share.": float(found > 0),
        "you return a percentage: recall is a share between 0 and 1.": 100 * found / n,
        "you return the share that was missed: 1 minus recall.": 1 - found / n,
        "you cut one place too early: the first k places are [:k].": hits(left[: k - 1]) / n,
        "you cut one place too late: the first k places are [:k].": hits(left[: k + 1]) / n,
        "you sort again: `ranked` holds ids, the best first, and no scores.": hits(np.sort(left)[:k]) / n,
        "you sort `ranked` as if it held scores: it holds ids, the best first.": hits(
            np.setdiff1d(np.argsort(-ranked), train, assume_unique=True)[:k]
        )
        / n,
        "train and test are swapped: the train items are masked, the test items are to be found.": hits(
            ranked[~np.isin(ranked, test)][:k], train
        )
        / len(train),
        "you divide by k plus the number of test items (F1, or Jaccard): recall divides by the number of test items.": 2
        * found
        / (k + n),
        "you divide by all items that are shown or wanted (Jaccard): recall divides by the number of test items.": found
        / (k + n - found),
        "you divide by the train items: recall divides by the number of test items.": found / len(train),
        "you divide by all items of the shop: recall divides by the number of test items.": found / len(ranked),
        "you count the hits after place k: the first k places are [:k].": hits(left[k:]) / n,
        "you count in the last k places: the best come first, [:k].": hits(left[-k:]) / n,
        "the list is not cut: count in the first k places only.": hits(left) / n,
        "you mask the test items as well: they are what is to be found.": hits(left[~np.isin(left, test)][:k]) / n,
        "you skip as many places as there are train items: they stand anywhere, mask them by id.": hits(
            ranked[len(train) :][:k]
        )
        / n,
        "you look for train items in the list: count the test items.": hits(cut_first, train) / n,
        "you take `ranked` for a table of ranks: it holds ids, place 0 is the best item.": float(
            (ranked[test] < k).mean()
        ),
    }


@exercise
def recall_of_list(mine: Callable[..., float]) -> str | None:
    """mine(ranked, train_items, test_items, k) -> share of the test items among the first k, train items masked."""
    cases = [
        (np.array([11, 1, 10, 9, 2, 4, 6, 5, 8, 3, 0, 7]), np.array([11, 9, 3]), np.array([10, 6, 1, 5]), 5),
        (np.array([7, 8, 10, 6, 5, 0, 4, 1, 9, 11, 2, 3]), np.array([6]), np.array([10, 0, 2, 5, 4, 11]), 3),
        (np.random.default_rng(299).permutation(40), np.arange(3, 40, 4), np.arange(0, 40, 6), 9),
    ]
    answers = [_number(mine(*(np.copy(part) for part in case[:3]), case[3]), "recall") for case in cases]
    known = [_recalls(*case) for case in cases]
    for sentence in known[0]:
        if all(np.isclose(answer, values[sentence]) for answer, values in zip(answers, known)):
            return sentence or _without_hit(mine)
    at = int(np.isclose(answers[0], known[0][""]))
    return f"{len(cases[at][2])} test items and k = {cases[at][3]}: {known[at]['']:.4f}, you return {answers[at]:.4f}."


def _without_hit(mine: Callable) -> str | None:
    none = float(mine(np.array([2, 0, 1, 3, 4]), np.array([2]), np.array([4]), 2))
    return None if np.isclose(none, 0.0) else f"without a hit recall is 0, you return {none:.4f}."


# ---- exercise 2 ----


def _ndcgs(hits: np.ndarray, n: int, k: int) -> dict[str, float]:
    """The right nDCG (key "") and what each known mistake makes of the same hits."""
    rank = np.arange(1, len(hits) + 1)
    worth, late, flat = 1 / np.log2(rank + 1), 1 / np.log2(rank + 2), 1 / rank
    early = 1 / np.log2(np.flatnonzero(hits[:k]) + 1)  # the cases have no hit on the first place
    dcg, ideal = (hits * worth)[:k].sum(), worth[: min(k, n)].sum()
    n_found = int(hits[:k].sum())
    return {
        "": dcg / ideal,
        "you return the DCG: divide it by the DCG of the best possible list.": dcg,
        "upside down: the list stands above, the best possible list below.": ideal / dcg,
        "the ideal list is not cut: at most k places can hold a hit, so it has min(k, n_relevant) hits.": dcg
        / worth[:n].sum(),
        "your ideal list always has k hits: a user with fewer relevant items could then never reach 1.": dcg
        / worth[:k].sum(),
        "your ideal list has only the hits that were found: what the list missed must count as well.": dcg
        / worth[:n_found].sum(),
        "your ideal list is your own list sorted: test items that are nowhere in it must count as well.": dcg
        / worth[: min(k, int(hits.sum()))].sum(),
        "you count hits after place k: cut the list first.": (hits * worth).sum() / ideal,
        "you cut one place too early: the first k places are [:k].": (hits * worth)[: k - 1].sum() / ideal,
        "you cut one place too late: the first k places are [:k].": (hits * worth)[: k + 1].sum() / ideal,
        "the discount is one place late: rank 1 is worth 1 / log2(2), not 1 / log2(3).": (hits * late)[:k].sum()
        / late[: min(k, n)].sum(),
        "the places of your hits are counted from 0: a place is one less than its rank.": early.sum() / ideal,
        "you discount by 1 / rank: nDCG falls more gently, by 1 / log2(rank + 1).": (hits * flat)[:k].sum()
        / flat[: min(k, n)].sum(),
        "you multiply by the logarithm: a late hit must be worth less, so divide.": (hits / worth)[:k].sum()
        / (1 / worth)[: min(k, n)].sum(),
        "there is no discount: this is a share of hits, whatever their places are.": n_found / min(k, n),
        "this is average precision: nDCG discounts each hit by its place, 1 / log2(rank + 1).": (
            hits[:k] * np.cumsum(hits[:k]) / rank[:k]
        ).sum()
        / min(k, n),
        "this is the reciprocal rank of the first hit: nDCG counts all hits.": 1 / (np.argmax(hits[:k]) + 1),
        "you divide by the number of relevant items: divide by the DCG of the best possible list.": dcg / n,
        "you divide by k: divide by the DCG of the best possible list.": dcg / k,
        "two bases: take the same logarithm above and below, or the base does not cancel.": dcg
        * np.log(2) ** -1
        / ideal,
        "the discount of your list is one place late (log2(rank + 2)), that of the best list is right: use rank + 1 in both.": (
            (hits * late)[:k].sum() / ideal
        ),
        "you return a percentage: nDCG lies between 0 and 1.": 100 * dcg / ideal,
        "you return 1 minus nDCG.": 1 - dcg / ideal,
        "the list is turned round: the first place is worth most.": (hits[:k][::-1] * worth[:k]).sum() / ideal,
        "the best list has min(k, n_relevant) hits, not the larger of the two.": dcg / worth[: max(k, n)].sum(),
        "the best list has one hit too few: min(k, n_relevant) of them.": dcg / worth[: min(k, n) - 1].sum(),
        "you discount by the root of the rank: nDCG takes 1 / log2(rank + 1).": (hits / np.sqrt(rank))[:k].sum()
        / (1 / np.sqrt(rank))[: min(k, n)].sum(),
    }


@exercise
def ndcg_of_list(mine: Callable[[np.ndarray, int, int], float]) -> str | None:
    """mine(hits, n_relevant, k) -> binary nDCG@k; hits is (n,) bool with n >= k, best place first."""
    hits = np.array([False, True, False, True, True, False, True, False])
    cases = [(6, 4), (3, 4), (4, 7)]  # more and fewer relevant items than places
    try:
        with np.errstate(all="ignore"):
            answers = [_number(mine(hits.copy(), n, k), "nDCG") for n, k in cases]
    except ZeroDivisionError:
        answers = [np.inf, np.inf]
    if not np.isfinite(answers).all() or answers[0] == 0:
        return "log2(1) is 0: the first place is divided by zero. Rank 1 is worth 1 / log2(1 + 1): use log2(rank + 1)."
    known = [_ndcgs(hits, n, k) for n, k in cases]
    for sentence in known[0]:
        if all(np.isclose(answer, values[sentence]) for answer, values in zip(answers, known)):
            return sentence or _first_place(mine)
    at = next(n for n, answer in enumerate(answers) if not np.isclose(answer, known[n][""]))
    places = " and ".join(str(place + 1) for place in np.flatnonzero(hits[: cases[at][1]]))
    return (
        f"hits at places {places} of {cases[at][1]}, with {cases[at][0]} relevant items, give {known[at]['']:.4f}; "
        f"you return {answers[at]:.4f}."
    )


def _first_place(mine: Callable) -> str | None:
    best = float(mine(np.array([True, False, False]), 1, 3))
    return None if np.isclose(best, 1.0) else f"the one relevant item on place 1 is a perfect list: 1, not {best:.4f}."


# ---- exercise 3 ----


def _tails(lists: np.ndarray, popularity: np.ndarray) -> dict[str, list[float]]:
    """The right share (key "") and what each known mistake makes of the same lists."""
    tail = ~short_head(popularity)
    order, right = np.argsort(-popularity, kind="stable"), float(tail[lists].mean())

    def outside(head: np.ndarray) -> float:
        return float((~np.isin(lists, head)).mean())

    def until_80(items: np.ndarray) -> list[float]:
        held = np.cumsum(popularity[items])
        limit = 0.8 * popularity.sum()
        return [outside(items[held - popularity[items] < limit]), outside(items[held <= limit])]

    return {
        "": [right],
        "this is the share of the head: APLT counts what lies outside it, higher = more long tail.": [1 - right],
        "your head is the top 20 % of the items: it is made of the items that hold 80 % of the interactions.": [
            outside(order[: len(order) // 5])
        ],
        "your head is 80 % of the items: it is made of the few items that hold 80 % of the interactions.": [
            outside(order[: len(order) * 4 // 5])
        ],
        "the item that crosses the 80 % belongs to the head: without it the head holds less than that.": [
            until_80(order)[1]
        ],
        "you take the items in the order of their ids: sort by popularity first, most popular first.": until_80(
            np.arange(len(order))
        ),
        "you mix up place and id: the head is not the first ids, but the ids that the sort puts first.": [
            outside(np.arange((~tail).sum()))
        ],
        "you sort upwards: the head starts with the most popular item.": until_80(order[::-1]),
        "your head is the most popular item alone: add the interactions up, most popular item first, until they hold 80 %.": [
            float((popularity < 0.8 * popularity.max())[lists].mean())
        ],
        "each item counts once: count places, a tail item in two lists counts twice.": [
            float(tail[np.unique(lists)].mean())
        ],
        "you return a percentage: APLT is a share between 0 and 1.": [100 * right],
        "you count the places: divide by the length of the lists.": [right * lists.shape[1]],
        "you add all places of all lists up: take the mean.": [right * lists.size],
        "your head is made of the items above the mean: it is made of the items that hold 80 % of the interactions.": [
            float((popularity < popularity.mean())[lists].mean()),
            float((popularity <= popularity.mean())[lists].mean()),
        ],
        "your head is the upper half of the items: it is made of the items that hold 80 % of the interactions.": [
            float((popularity < np.median(popularity))[lists].mean()),
            float((popularity <= np.median(popularity))[lists].mean()),
            outside(order[: len(order) // 2]),
        ],
        "this is the mean popularity of the places (ARP): APLT is the share of places outside the head.": [
            float(popularity[lists].mean())
        ],
        "you count items that nobody took: the tail is everything outside the head.": [
            float((popularity == 0)[lists].mean())
        ],
        "you count lists with any tail item: count places.": [float(tail[lists].any(axis=1).mean())],
        "this is the share of the tail that is shown at all: count places.": [
            float(np.isin(np.flatnonzero(tail), lists).mean())
        ],
        "this is the share of the tail in the catalogue: it does not look at the lists.": [float(tail.mean())],
        "you look at the first place of each list only: take the mean over all k places.": [
            float(tail[lists[:, 0]].mean())
        ],
        "the head is found in the lists themselves: it comes from `popularity`, the train interactions.": [
            float((~short_head(np.bincount(lists.ravel(), minlength=len(popularity))))[lists].mean())
        ],
    }


@exercise
def long_tail_share(mine: Callable[[np.ndarray, np.ndarray], float]) -> str | None:
    """mine(lists, popularity) -> APLT: mean share of the lists outside the head, which holds 80 % of the interactions."""
    cases = [  # heads: items 5, 1, 3, 7 (40, 65, 75, 85 of 100); items 8, 3, 1, 6, 5, 0 (32, 47, 59, 70, 79, 87 of 100)
        (
            np.array([[3, 0, 6, 8, 2], [1, 3, 2, 8, 6], [6, 9, 0, 8, 7], [2, 1, 0, 4, 9]]),
            np.array([3, 25, 0, 10, 4, 40, 2, 10, 1, 5]),
        ),
        (
            np.array([[2, 3, 8, 5, 0], [1, 5, 0, 8, 4], [9, 8, 5, 1, 4], [1, 0, 4, 3, 2]]),
            np.array([8, 12, 0, 15, 0, 9, 11, 6, 32, 7]),
        ),
    ]
    answers = [_number(mine(lists.copy(), popularity.copy()), "the share") for lists, popularity in cases]
    known = [_tails(*case) for case in cases]
    for sentence in known[0]:
        if all(any(np.isclose(answer, value) for value in found[sentence]) for answer, found in zip(answers, known)):
            return sentence or _tail_edges(mine)
    at = int(np.isclose(answers[0], known[0][""][0]))
    return f"the share of these {cases[at][0].size} places is {known[at][''][0]:.4f}; you return {answers[at]:.4f}."


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
    answer = np.asarray(mine(p.copy()))  # not yet numbers: True and False are named
    if answer.shape != p.shape:
        return f"for {len(p)} p values you return shape {answer.shape}; each p value gets its own corrected one."
    if answer.dtype == bool:
        return "you return decisions, True or False: return the corrected p values, the reader decides."
    answer = numbers(answer, "corrected p values")
    m, order = len(p), np.argsort(p)
    rank = np.argsort(order)  # 0 = smallest
    right, steps = holm(p), p * (m - rank)
    if np.allclose(answer, right):
        return _holm_edges(mine)
    uphill = np.minimum.accumulate((p[order] * m / np.arange(1, m + 1))[::-1])[::-1][rank]
    as_they_came = p * np.arange(m, 0, -1)
    sidak = np.maximum.accumulate(1 - (1 - p[order]) ** np.arange(m, 0, -1))[rank]
    known = {
        "this is Bonferroni, m times every p: Holm multiplies only the smallest by m, the next by m - 1.": [p * m],
        "the corrected values fall again: a larger p must not end up smaller. Take the running maximum.": [steps],
        "right, but sorted: put every value back to the place its p came from.": [right[order]],
        "right, but sorted, and without the running maximum.": [steps[order]],
        "right, but in wrong places: sorting twice by the same order does not undo the sort.":
            [right[order][order], steps[order][order]],
        "wrong end: the smallest p is multiplied by m, the largest by 1.":
            [p * (rank + 1), np.maximum.accumulate((p * (rank + 1))[order])[rank]],
        "you multiply in the order in which they came: sort the p values first.":
            [as_they_came, np.maximum.accumulate(as_they_came), np.maximum.accumulate(as_they_came[order])[rank]],
        "the running maximum runs over the p values as they came: run it over the sorted ones.":
            [np.maximum.accumulate(steps)],
        "this is Benjamini and Hochberg: it limits the share of false finds, Holm the chance of any.": [uphill],
        "this is the variant of Sidak, 1 - (1 - p)^m: Holm multiplies.": [sidak],
        "you divide: a correction makes p values larger, so multiply.": [p / (m - rank), p / m],
        "the smallest is multiplied by m, not by m - 1.": [np.maximum.accumulate((p * (m - rank - 1))[order])[rank]],
        "these are the p values as they came.": [p],
        "the running value is a minimum from the other end (Hochberg): Holm takes the running maximum from the smallest p.":
            [np.minimum.accumulate(steps[order][::-1])[::-1][rank]],
        "the smallest is multiplied by m, not by m + 1.": [np.maximum.accumulate((p * (m - rank + 1))[order])[rank]],
        "you sort the largest p first: the smallest comes first, and pays for all m questions.":
            [np.maximum.accumulate(np.minimum(p[order][::-1] * np.arange(m, 0, -1), 1))[::-1][rank]],
        "these are thresholds for p: return the corrected p values.": [0.05 / (m - rank), 0.05 / m + 0 * p],
        "these are the places of a sort: return the corrected p values.": [order, rank],
        "you add the p values up: multiply each by m, m - 1, ..., 1.": [np.cumsum(p[order])[rank]],
        "every p value gets the same: multiply each by its own m, m - 1, ..., 1.":
            [np.full(m, min(1, m * p.max())), np.full(m, m * p.min())],
        "this is Benjamini and Yekutieli's factor: Holm multiplies by m, m - 1, ..., 1.":
            [p * m * (1 / np.arange(1, m + 1)).sum()],
        "you return 1 minus the corrected p values.": [1 - right],
    }  # fmt: skip
    for sentence, wrongs in known.items():
        if any(np.allclose(answer, wrong) or np.allclose(answer, np.minimum(wrong, 1)) for wrong in wrongs):
            return sentence
    at = int(np.argmax(~np.isclose(answer, right)))
    return f"p = {p[at]} of {p.tolist()} becomes {right[at]:.3f}, you return {answer[at]:.3f}."


def _holm_edges(mine: Callable) -> str | None:
    large = np.asarray(mine(np.array([0.7, 0.6])), dtype=float)
    if np.any(large > 1):
        return "right, but a p value cannot exceed 1: cut it there."
    return None if np.allclose(large, 1.0) else f"0.7 and 0.6 become 1 and 1, you return {large.tolist()}."


# ---- bonus ----


def _evenness(shown: np.ndarray) -> dict[str, float]:
    """The right evenness (key "") and what each known mistake makes of the same counts."""

    def gini(counts: np.ndarray, over: float | None = None, first: int = 1) -> float:
        n = len(counts)
        return (2 * np.arange(first, n + first) - n - 1) @ (counts / counts.sum()) / (over or n - 1)

    up, n = np.sort(shown), len(shown)
    share = up[up > 0] / up.sum()
    return {
        "": 1 - gini(up),
        "this is the usual index, 0 = even: the course prints 1 minus it, so that up is more even.": gini(up),
        "the items that were never shown are left out: they are the most uneven part, keep their zeros.": 1
        - gini(up[up > 0]),
        "you sort downwards: j counts from the least shown item.": 1 - gini(up[::-1]),
        "the counts are not sorted: j is the place of an item when all are sorted by their places.": 1 - gini(shown),
        "you divide by n: with n - 1 a single item that has every place gets 0.": 1 - gini(up, n),
        "the division by n - 1 is missing.": 1 - gini(up, 1),
        "you use counts: turn them into shares of all places first.": 1 - gini(up) * up.sum(),
        "j starts at 1, yours starts at 0.": 1 - gini(up, None, 0),
        "this is the coverage, the share of items shown at all: it does not see how often.": float((shown > 0).mean()),
        "this is the entropy: it asks the same in bits, the formula here is another.": float(-share @ np.log2(share)),
        "this is the entropy as a share of the largest possible one: the formula here is another.": float(
            -share @ np.log(share) / np.log(n)
        ),
        "this is 1 minus the sum of the squared shares: the formula here is another.": 1
        - float(np.square(shown / shown.sum()).sum()),
        "this is 1 minus the share of the most shown item: the formula uses all of them.": 1
        - shown.max() / shown.sum(),
        "this is 1 minus the spread over the mean: the formula here is another.": 1 - shown.std() / shown.mean(),
        "the weight of place j is 2 j - n - 1: the 1 is missing.": 1
        - (2 * np.arange(1, n + 1) - n) @ (up / up.sum()) / (n - 1),
        "you divide by the largest count: a share is a count over all places.": 1 - gini(up) * up.sum() / up.max(),
        "you divide by n + 1: with n - 1 a single item that has every place gets 0.": 1 - gini(up, n + 1),
        "n counts all items, also those that were never shown: you count the shown ones.": 1
        - (2 * np.arange(1, n + 1) - len(share) - 1) @ (up / up.sum()) / (n - 1),
        "you return a percentage: the course prints a number between 0 and 1.": 100 * (1 - gini(up)),
        "the sign is wrong: 1 minus the index is positive.": gini(up) - 1,
        "you sort places (argsort), not counts: use np.sort.": 1 - gini(np.sort(np.argsort(shown))),
    }


@exercise(bonus=True)
def evenness_of_places(mine: Callable[[np.ndarray], float]) -> str | None:
    """mine(shown) -> 1 - Gini of how often each item was shown; 1 = all equally often, 0 = one item has every place."""
    shown = np.array([4, 0, 9, 1, 0, 30, 6])
    with np.errstate(all="ignore"):
        answer = _number(mine(shown.copy()), "the evenness")
    known = _evenness(shown)
    for sentence, value in known.items():
        if np.isclose(answer, value):
            return sentence or _evenness_edges(mine)
    return f"for the counts {shown.tolist()} it is {known['']:.4f}, you return {answer:.4f}."


def _evenness_edges(mine: Callable) -> str | None:
    for shown, right in (([5, 5, 5, 5], 1.0), ([0, 0, 8], 0.0)):
        answer = float(mine(np.array(shown)))
        if not np.isclose(answer, right):
            return f"for the counts {shown} it is {right:.0f}, you return {answer:.4f}: try both ends."
    return None


def _number(answer: object, what: str) -> float:
    value = numbers(answer, what)
    if value.size != 1:
        raise Mistake(f"{what} is one number; you return shape {value.shape}.")
    return float(value.reshape(()))
