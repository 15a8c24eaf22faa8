"""The checks of notebook 06 pass right answers and name wrong ones; its plots and its published table say what they should."""

import numpy as np
import pandas as pd
import pytest

from utils import checks, plots_evaluation
from utils.errors import CourseError
from utils.evaluation import kendall_tau
from utils.metrics import discount, short_head
from utils.plotstyle import png
from utils.published import tors_table
from utils.statistics import holm


def recall(ranked, train, test, k):
    shown = ranked[~np.isin(ranked, train)][:k]
    return np.isin(shown, test).sum() / len(test)


def hits_of(ranked, train, test, k):
    return np.isin(ranked[~np.isin(ranked, train)][:k], test).sum()


def cut_first(ranked, train, test, k):
    shown = ranked[:k]
    return np.isin(shown[~np.isin(shown, train)], test).sum() / len(test)


def counts_train(ranked, train, test, k):
    return np.isin(ranked[:k], np.concatenate([train, test])).sum() / 4


def ndcg(hits, n_relevant, k, worth=None):
    worth = discount(len(hits)) if worth is None else worth
    return (hits[:k] * worth[:k]).sum() / worth[: min(k, n_relevant)].sum()


def natural(hits, n_relevant, k):
    return ndcg(hits, n_relevant, k, 1 / np.log(np.arange(2, len(hits) + 2)))


def off_by_one(hits, n_relevant, k):
    return ndcg(hits, n_relevant, k, 1 / np.log2(np.arange(1, len(hits) + 1)))


def off_by_one_in_python(hits, n_relevant, k):
    import math

    ideal = sum(1 / math.log2(rank) for rank in range(1, min(k, n_relevant) + 1))
    return sum(1 / math.log2(rank) for rank in range(1, k + 1) if hits[rank - 1]) / ideal


def aplt(lists, popularity):
    return (~short_head(popularity))[lists].mean()


def aplt_with(head_items):
    def mine(lists, popularity):
        return (~np.isin(lists, head_items(np.argsort(-popularity, kind="stable"), popularity))).mean()

    return mine


def crossing_left_out(order, popularity):
    return order[np.cumsum(popularity[order]) <= 0.8 * popularity.sum()]


def stop_too_late(order, popularity):
    return order[: np.searchsorted(np.cumsum(popularity[order]), 0.8 * popularity.sum(), side="right") + 1]


def steps(p):
    order = np.argsort(p)
    out = np.empty(len(p))
    out[order] = np.minimum(p[order] * np.arange(len(p), 0, -1), 1)
    return out


def wrong_end(p):
    order = np.argsort(p)
    out = np.empty(len(p))
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(1, len(p) + 1)), 1)
    return out


def uncapped(p):
    order = np.argsort(p)
    out = np.empty(len(p))
    out[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return out


def benjamini_hochberg(p):
    order = np.argsort(p)
    out = np.empty(len(p))
    out[order] = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    return out


def stub(*args): ...


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.recall_of_list, recall),
        (checks.ndcg_of_list, ndcg),
        (checks.ndcg_of_list, natural),
        (checks.long_tail_share, aplt),
        (checks.holm_correction, holm),
    ],
)
def test_right_answers_pass_and_untouched_stubs_are_not_judged(check, right):
    assert check(right).passed is True, check(right)
    assert check(stub).passed is None


@pytest.mark.parametrize(
    ("check", "wrong", "mistake"),
    [
        (checks.recall_of_list, lambda r, a, b, k: hits_of(r, a, b, k) / k, "which is precision"),
        (checks.recall_of_list, lambda r, a, b, k: hits_of(r, a, b, k) / min(k, len(b)), "min(k"),
        (checks.recall_of_list, counts_train, "count the train items"),
        (checks.recall_of_list, cut_first, "still take places"),
        (checks.recall_of_list, lambda r, a, b, k: hits_of(r, a, b, k), "count the hits"),
        (checks.recall_of_list, lambda r, a, b, k: float(hits_of(r, a, b, k) > 0), "hit rate"),
        (checks.recall_of_list, lambda r, a, b, k: 100 * recall(r, a, b, k), "percentage"),
        (checks.ndcg_of_list, off_by_one, "log2(1) is 0"),
        (checks.ndcg_of_list, off_by_one_in_python, "log2(1) is 0"),
        (checks.ndcg_of_list, lambda h, n, k: ndcg(h[:k], n, k, discount(k + 1)[1:]), "one place late"),
        (checks.ndcg_of_list, lambda h, n, k: (h[:k] * discount(k)).sum() / discount(n).sum(), "is not cut"),
        (checks.ndcg_of_list, lambda h, n, k: (h[:k] * discount(k)).sum() / discount(k).sum(), "always has k hits"),
        (checks.ndcg_of_list, lambda h, n, k: ndcg(h, int(h[:k].sum()), k), "only the hits that were found"),
        (checks.ndcg_of_list, lambda h, n, k: (h[:k] * discount(k)).sum(), "return the DCG"),
        (checks.ndcg_of_list, lambda h, n, k: ndcg(h, n, k, 1 / np.arange(1.0, len(h) + 1)), "by 1 / rank"),
        (checks.ndcg_of_list, lambda h, n, k: h[:k].sum() / min(n, k), "no discount"),
        (checks.long_tail_share, lambda lists, p: 1 - aplt(lists, p), "share of the head"),
        (checks.long_tail_share, aplt_with(lambda o, p: o[: len(p) // 5]), "top 20 % of the items"),
        (checks.long_tail_share, aplt_with(lambda o, p: o[: int(0.8 * len(p))]), "80 % of the items"),
        (checks.long_tail_share, aplt_with(crossing_left_out), "crosses the 80 %"),
        (checks.long_tail_share, aplt_with(stop_too_late), "exactly 80 %"),
        (checks.long_tail_share, lambda lists, p: 100 * aplt(lists, p), "percentage"),
        (checks.long_tail_share, lambda lists, p: (~short_head(p))[lists].mean(axis=1), "is one number"),
        (checks.holm_correction, lambda p: p * len(p), "Bonferroni"),
        (checks.holm_correction, lambda p: np.minimum(p * len(p), 1), "Bonferroni"),
        (checks.holm_correction, steps, "running maximum"),
        (checks.holm_correction, lambda p: np.sort(holm(p)), "sorted"),
        (checks.holm_correction, wrong_end, "wrong end"),
        (checks.holm_correction, uncapped, "cannot exceed 1"),
        (checks.holm_correction, benjamini_hochberg, "Benjamini"),
        (checks.holm_correction, lambda p: p, "as they came"),
    ],
)
def test_wrong_answers_are_named(check, wrong, mistake):
    verdict = check(wrong)
    assert verdict.passed is False
    assert mistake in verdict.message


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
