"""The checks of notebook 11 pass right answers and name wrong ones."""

import numpy as np
import pytest
from scipy import stats

from utils import checks
from utils.challenges.fair_study import choose, sampled_chance


def student(a, b, level=0.975, ddof=1, root=True):
    diff = a - b
    half = stats.t.ppf(level, len(a) - 1) * diff.std(ddof=ddof) / (np.sqrt(len(a)) if root else 1)
    return diff.mean() - half, diff.mean() + half


def unpaired(a, b):
    half = stats.t.ppf(0.975, len(a) - 1) * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
    return a.mean() - b.mean() - half, a.mean() - b.mean() + half


def normal(a, b):
    diff = a - b
    half = stats.norm.ppf(0.975) * diff.std(ddof=1) / np.sqrt(len(a))
    return diff.mean() - half, diff.mean() + half


def neighbours(split, features=None):
    history = split.matrix().toarray()
    near = history.T @ history
    np.fill_diagonal(near, 0)
    return lambda user_ids: history[user_ids] @ near


def learned_validation(split, features=None):
    return neighbours(split)(np.arange(split.n_users)) + 100 * split.matrix("valid").toarray()


def of_another_shop(split, features=None):
    return np.zeros((1086, 436))


def with_nan(split, features=None):
    scores = np.array(neighbours(split)(np.arange(split.n_users)))
    scores[0, 0] = np.nan
    return scores


def luckiest(trials):
    best = trials.loc[trials.groupby("model")["valid"].idxmax()]
    return dict(zip(best["model"], best["trial"]))


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.choose_on_validation, choose),
        (checks.choose_on_validation, lambda t: {"bpr": 1, "vbpr": 0}),
        (checks.chance_in_a_sample, sampled_chance),
        (checks.paired_interval, student),
        (checks.fair_entry, neighbours),
        (checks.fair_entry, lambda s, f: neighbours(s)(np.arange(s.n_users))),
    ],
)
def test_right_answers_pass_and_untouched_stubs_are_not_judged(check, right):
    assert check(right).passed is True, check(right)
    assert check(lambda *args: None).passed is None


def hyper(shift_k=0, shift_rank=0, shift_items=0):
    return lambda r, n, m, k: stats.hypergeom.cdf(k - 1 + shift_k, n - 1 + shift_items, r - 1 + shift_rank, m)


@pytest.mark.parametrize(
    ("check", "wrong", "mistake"),
    [
        (checks.choose_on_validation, lambda t: choose(t, "test"), "choose on the test part"),
        (checks.choose_on_validation, luckiest, "luckiest single run"),
        (checks.choose_on_validation, lambda t: {"bpr": 0, "vbpr": 0}, "nothing is tuned"),
        (checks.choose_on_validation, lambda t: t.groupby("model")["valid"].idxmax(), "row numbers"),
        (checks.choose_on_validation, lambda t: {"bpr": 1}, "its own choice"),
        (checks.choose_on_validation, lambda t: 1, "return a dict"),
        (checks.chance_in_a_sample, hyper(shift_k=1), "place k + 1"),
        (checks.chance_in_a_sample, hyper(shift_rank=1), "not among the better ones"),
        (checks.chance_in_a_sample, hyper(shift_items=1), "itself is not drawn"),
        (checks.chance_in_a_sample, lambda r, n, m, k: stats.binom.cdf(k - 1, m, (r - 1) / (n - 1)), "replacement"),
        (checks.chance_in_a_sample, lambda r, n, m, k: 1 - hyper()(r, n, m, k), "1 minus"),
        (checks.chance_in_a_sample, lambda r, n, m, k: float(r <= k), "full ranking"),
        (checks.paired_interval, unpaired, "difference of each user first"),
        (checks.paired_interval, lambda a, b: student(a, b, root=False), "root of n"),
        (checks.paired_interval, normal, "Student's t"),
        (checks.paired_interval, lambda a, b: student(a, b, level=0.95), "90 %"),
        (checks.paired_interval, lambda a, b: student(a, b, ddof=0), "n - 1"),
        (checks.paired_interval, lambda a, b: student(b, a), "sign is turned"),
        (checks.paired_interval, lambda a, b: student(a, b)[::-1], "swapped"),
        (checks.paired_interval, lambda a, b: np.quantile(a - b, [0.025, 0.975]), "quantiles of the users"),
        (checks.fair_entry, learned_validation, "learned the validation part"),
        (checks.fair_entry, of_another_shop, "use the one you are given"),
        (checks.fair_entry, with_nan, "NaN"),
        (checks.fair_entry, lambda s, f: 3.0, "return a scorer"),
        (checks.fair_entry, lambda s, f: lambda ids: -neighbours(s)(ids), "larger scores better"),
        (
            checks.fair_entry,
            lambda s, f: np.tile(s.matrix().sum(axis=0), (s.n_users, 1)),
            "everybody gets the same scores",
        ),
    ],
)
def test_wrong_answers_are_named(check, wrong, mistake):
    verdict = check(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict
