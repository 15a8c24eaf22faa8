"""The checks of notebook 06 pass right answers and name wrong ones; its plots and its published table say what they should."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from utils import checks
from utils.errors import CourseError
from utils.evaluation import kendall_tau
from utils.evaluation.metrics import discount, short_head
from utils.evaluation.published import tors_table
from utils.evaluation.statistics import holm
from utils.plots import evaluation as plots_evaluation
from utils.plots.style import png

RECALL, NDCG, TAIL = checks.recall_of_list, checks.ndcg_of_list, checks.long_tail_share
HOLM, EVEN = checks.holm_correction, checks.evenness_of_places


# ---- right answers, in several styles ----


def recall(ranked, train, test, k):
    shown = ranked[~np.isin(ranked, train)][:k]
    return np.isin(shown, test).sum() / len(test)


def recall_by_loop(ranked, train, test, k):
    shown = [item for item in ranked.tolist() if item not in set(train.tolist())][:k]
    return len(set(shown) & set(test.tolist())) / len(test)


def ndcg(hits, n_relevant, k, worth=None):
    worth = discount(len(hits)) if worth is None else worth
    return (hits[:k] * worth[:k]).sum() / worth[: min(k, n_relevant)].sum()


def ndcg_natural_log(hits, n_relevant, k):
    return ndcg(hits, n_relevant, k, 1 / np.log(np.arange(2, len(hits) + 2)))


def ndcg_by_loop(hits, n_relevant, k):
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, n_relevant) + 1))
    return sum(1 / math.log2(rank + 1) for rank in range(1, k + 1) if hits[rank - 1]) / best


def ndcg_in_torch(hits, n_relevant, k):
    worth = 1 / torch.log2(torch.arange(2, k + 2).float())
    return (torch.as_tensor(hits[:k]) * worth).sum() / worth[: min(k, n_relevant)].sum()


def aplt(lists, popularity):
    return (~short_head(popularity))[lists].mean()


def aplt_by_loop(lists, popularity):
    head, held = set(), 0
    for item in sorted(range(len(popularity)), key=lambda item: -popularity[item]):
        if held >= 0.8 * popularity.sum():
            break
        head.add(item)
        held += popularity[item]
    return sum(item not in head for row in lists for item in row) / lists.size


def holm_by_loop(p):
    result, worst = [0.0] * len(p), 0.0
    for step, at in enumerate(sorted(range(len(p)), key=lambda at: p[at])):
        worst = max(worst, min(1.0, p[at] * (len(p) - step)))
        result[at] = worst
    return result


def evenness(shown):
    share, n = np.sort(shown) / shown.sum(), len(shown)
    return 1 - (2 * np.arange(1, n + 1) - n - 1) @ share / (n - 1)


def evenness_by_pairs(shown):
    apart = np.abs(shown[:, None] - shown[None, :]).sum() / 2
    return 1 - apart / (shown.sum() * (len(shown) - 1))


RIGHT = [
    (RECALL, recall),
    (RECALL, recall_by_loop),
    (NDCG, ndcg),
    (NDCG, ndcg_natural_log),
    (NDCG, ndcg_by_loop),
    (NDCG, ndcg_in_torch),
    (TAIL, aplt),
    (TAIL, aplt_by_loop),
    (HOLM, holm),
    (HOLM, holm_by_loop),
    (EVEN, evenness),
    (EVEN, evenness_by_pairs),
]


@pytest.mark.parametrize(("check", "right"), RIGHT)
def test_right_answers_pass(check, right):
    assert check(right).passed is True, check(right)


# ---- wrong answers: (the words that name the mistake, the answer) ----


def hits_of(ranked, train, test, k):
    return np.isin(ranked[~np.isin(ranked, train)][:k], test).sum()


def cut_first(ranked, train, test, k):
    shown = ranked[:k]
    return np.isin(shown[~np.isin(shown, train)], test).sum() / len(test)


def counts_train(ranked, train, test, k):
    return np.isin(ranked[:k], np.concatenate([train, test])).sum() / len(test)


def all_known_below(ranked, train, test, k):
    return hits_of(ranked, train, test, k) / len(np.union1d(train, test))


def ids_as_scores(ranked, train, test, k):
    return recall(np.argsort(-ranked), train, test, k)


RECALLS = {
    "which is precision": lambda r, a, b, k: hits_of(r, a, b, k) / k,
    "min(k": lambda r, a, b, k: hits_of(r, a, b, k) / min(k, len(b)),
    "count the train items": counts_train,
    "still take places": cut_first,
    "train and test items together": all_known_below,
    "count the hits": hits_of,
    "hit rate": lambda r, a, b, k: float(hits_of(r, a, b, k) > 0),
    "percentage": lambda r, a, b, k: 100 * recall(r, a, b, k),
    "was missed": lambda r, a, b, k: 1 - recall(r, a, b, k),
    "one place too early": lambda r, a, b, k: recall(r, a, b, k - 1),
    "one place too late": lambda r, a, b, k: recall(r, a, b, k + 1),
    "sort again": lambda r, a, b, k: recall(np.sort(r), a, b, k),
    "as if it held scores": ids_as_scores,
    "are swapped": lambda r, a, b, k: recall(r, b, a, k),
    "one number": lambda r, a, b, k: np.isin(r[:k], b),
    "test items and k =": lambda r, a, b, k: 0.123,
}


def from_zero(hits, n_relevant, k):
    return ndcg(hits, n_relevant, k, 1 / np.log2(np.arange(1, len(hits) + 1)))


def from_zero_in_python(hits, n_relevant, k):
    ideal = sum(1 / math.log2(rank) for rank in range(1, min(k, n_relevant) + 1))
    return sum(1 / math.log2(rank) for rank in range(1, k + 1) if hits[rank - 1]) / ideal


def places_of_hits(hits, n_relevant, k):
    return (1 / np.log2(np.flatnonzero(hits[:k]) + 1)).sum() / discount(min(k, n_relevant)).sum()


def ideal_of(size):
    return lambda hits, n, k: (hits[:k] * discount(k)).sum() / discount(size(hits, n, k)).sum()


NDCGS = {
    "log2(1) is 0": from_zero,
    "the first place is divided by zero": from_zero_in_python,
    "one place late": lambda h, n, k: ndcg(h, n, k, discount(len(h) + 1)[1:]),
    "counted from 0": places_of_hits,
    "is not cut": ideal_of(lambda h, n, k: n),
    "always has k hits": ideal_of(lambda h, n, k: k),
    "only the hits that were found": ideal_of(lambda h, n, k: h[:k].sum()),
    "return the DCG": lambda h, n, k: (h[:k] * discount(k)).sum(),
    "upside down": lambda h, n, k: 1 / ndcg(h, n, k),
    "by 1 / rank": lambda h, n, k: ndcg(h, n, k, 1 / np.arange(1.0, len(h) + 1)),
    "so divide": lambda h, n, k: ndcg(h, n, k, 1 / discount(len(h))),
    "no discount": lambda h, n, k: h[:k].sum() / min(n, k),
    "hits after place k": lambda h, n, k: (h * discount(len(h))).sum() / discount(min(n, k)).sum(),
    "one place too early": lambda h, n, k: (h[: k - 1] * discount(k - 1)).sum() / discount(min(n, k)).sum(),
    "one place too late": lambda h, n, k: (h[: k + 1] * discount(k + 1)).sum() / discount(min(n, k)).sum(),
    "one number": lambda h, n, k: h[:k] * discount(k),
    "hits at places 2 and 4": lambda h, n, k: 0.123,
}


def aplt_with(head_items):
    def mine(lists, popularity):
        return (~np.isin(lists, head_items(np.argsort(-popularity, kind="stable"), popularity))).mean()

    return mine


def crossing_left_out(order, popularity):
    return order[np.cumsum(popularity[order]) <= 0.8 * popularity.sum()]


def stop_too_late(order, popularity):
    return order[: np.searchsorted(np.cumsum(popularity[order]), 0.8 * popularity.sum(), side="right") + 1]


def unsorted_ids(order, popularity):
    return np.flatnonzero(np.cumsum(popularity) - popularity < 0.8 * popularity.sum())


def upwards(order, popularity):
    return order[::-1][np.cumsum(popularity[order[::-1]]) - popularity[order[::-1]] < 0.8 * popularity.sum()]


TAILS = {
    "share of the head": lambda lists, p: 1 - aplt(lists, p),
    "top 20 % of the items": aplt_with(lambda o, p: o[: len(p) // 5]),
    "80 % of the items": aplt_with(lambda o, p: o[: int(0.8 * len(p))]),
    "crosses the 80 %": aplt_with(crossing_left_out),
    "exactly 80 %": aplt_with(stop_too_late),
    "order of their ids": aplt_with(unsorted_ids),
    "mix up place and id": aplt_with(lambda o, p: np.arange(short_head(p).sum())),
    "sort upwards": aplt_with(upwards),
    "most popular item alone": lambda lists, p: (p < 0.8 * p.max())[lists].mean(),
    "each item counts once": lambda lists, p: (~short_head(p))[np.unique(lists)].mean(),
    "percentage": lambda lists, p: 100 * aplt(lists, p),
    "divide by the length": lambda lists, p: (~short_head(p))[lists].sum(axis=1).mean(),
    "take the mean": lambda lists, p: (~short_head(p))[lists].sum(),
    "is one number": lambda lists, p: (~short_head(p))[lists].mean(axis=1),
    "the share of these": lambda lists, p: 0.123,
}


def back(values, order):
    out = np.empty(len(values))
    out[order] = values
    return out


def falling(p):
    order = np.argsort(p)
    return back(np.minimum(p[order] * np.arange(len(p), 0, -1), 1), order)


def wrong_end(p):
    order = np.argsort(p)
    return back(np.minimum(np.maximum.accumulate(p[order] * np.arange(1, len(p) + 1)), 1), order)


def uncapped(p):
    order = np.argsort(p)
    return back(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), order)


def benjamini_hochberg(p):
    order = np.argsort(p)
    return back(np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1], order)


def sidak(p):
    order = np.argsort(p)
    return back(np.maximum.accumulate(1 - (1 - p[order]) ** np.arange(len(p), 0, -1)), order)


def one_too_few(p):
    order = np.argsort(p)
    return back(np.maximum.accumulate(p[order] * np.arange(len(p) - 1, -1, -1)), order)


def decisions(p):
    return holm(p) < 0.05


HOLMS = {
    "Bonferroni": lambda p: np.minimum(p * len(p), 1),
    "must not end up smaller": falling,
    "right, but sorted: put": lambda p: np.sort(holm(p)),
    "sorted, and without": lambda p: np.sort(p) * np.arange(len(p), 0, -1),
    "sorting twice": lambda p: np.sort(holm(p))[np.argsort(p)],
    "wrong end": wrong_end,
    "in which they came: sort": lambda p: np.maximum.accumulate(p * np.arange(len(p), 0, -1)),
    "as they came: run it": lambda p: np.minimum(np.maximum.accumulate(falling(p)), 1),
    "cannot exceed 1": uncapped,
    "Benjamini": benjamini_hochberg,
    "Sidak": sidak,
    "you divide": lambda p: p / len(p),
    "not by m - 1": one_too_few,
    "these are the p values as they came": lambda p: p,
    "decisions": decisions,
    "each p value gets": lambda p: holm(p).max(),
    "becomes": lambda p: holm(p) + 0.1,
}


def gini_with(counts, n=None, start=1):
    n = len(counts) if n is None else n
    return (2 * np.arange(start, len(counts) + start) - len(counts) - 1) @ (counts / counts.sum()) / (n - 1)


EVENS = {
    "usual index": lambda s: 1 - evenness(s),
    "never shown are left out": lambda s: evenness(s[s > 0]),
    "sort downwards": lambda s: 1 - gini_with(np.sort(s)[::-1]),
    "not sorted": lambda s: 1 - gini_with(s),
    "divide by n: with": lambda s: 1 - gini_with(np.sort(s), len(s) + 1),
    "division by n - 1 is missing": lambda s: 1 - gini_with(np.sort(s), 2),
    "you use counts": lambda s: 1 - (1 - evenness(s)) * s.sum(),
    "starts at 0": lambda s: 1 - gini_with(np.sort(s), start=0),
    "coverage": lambda s: (s > 0).mean(),
    "entropy": lambda s: -sum(x * math.log2(x) for x in s / s.sum() if x > 0),
    "one number": lambda s: s / s.sum(),
    "for the counts": lambda s: 0.123,
}

WRONG = [
    (check, words, answer)
    for check, found in ((RECALL, RECALLS), (NDCG, NDCGS), (TAIL, TAILS), (HOLM, HOLMS), (EVEN, EVENS))
    for words, answer in found.items()
]


@pytest.mark.parametrize(("check", "words", "answer"), WRONG, ids=[f"{c.__name__}: {w}" for c, w, _ in WRONG])
def test_wrong_answers_are_named(check, words, answer):
    verdict = check(answer)
    assert verdict.passed is False and words in verdict.message, verdict


def test_published_table_is_whole_and_its_two_orders_disagree():
    table = tors_table()
    assert len(table) == 50 and not table.isna().any().any()
    by_dataset = {name: group.set_index("model") for name, group in table.groupby("dataset")}
    assert all(len(group) == 10 for group in by_dataset.values())
    assert by_dataset["Office"]["recall"].idxmax() == "lightgcn"  # the paper's own remark
    assert max(kendall_tau(group["recall"], group["aplt"]) for group in by_dataset.values()) < 0.1
    assert min(kendall_tau(group["recall"], group["ndcg"]) for group in by_dataset.values()) > 0.9


def test_plots_draw_and_are_the_same_twice():
    frame = pd.DataFrame({"full": [0.3, 0.2, 0.1], "sampled": [0.6, 0.7, 0.2]}, index=["bpr", "vbpr", "mostpop"])
    seeds = pd.DataFrame({"bpr": [0.3, 0.31], "freedom": [0.32, np.nan]}, index=[0, 1])
    draws = [
        lambda: plots_evaluation.discounts([True, False, True], 2),
        lambda: plots_evaluation.rank_lines(frame),
        lambda: plots_evaluation.differences([0.5, 0.0, -0.5, 1.0], names=("vbpr", "bpr")),
        lambda: plots_evaluation.seed_dots(seeds),
    ]
    for draw in draws:
        assert png(draw()) == png(draw())


def test_plots_say_what_is_missing():
    with pytest.raises(CourseError, match="one list"):
        plots_evaluation.discounts(np.zeros((2, 3)), 1)
    with pytest.raises(CourseError, match="no order"):
        plots_evaluation.rank_lines(pd.DataFrame({"a": [1.0, np.nan]}))
    with pytest.raises(CourseError, match="no user"):
        plots_evaluation.differences([np.nan])
    with pytest.raises(CourseError, match="no run"):
        plots_evaluation.seed_dots(pd.DataFrame())
