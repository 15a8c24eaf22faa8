"""The checks of notebook 11 pass right answers and name wrong ones."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from utils import checks
from utils.studies.fair_evaluation import choose, detectable, sampled_chance


def student(a, b, level=0.975, ddof=1, root=True, scale=1):
    diff = a - b
    half = scale * stats.t.ppf(level, len(a) - 1) * diff.std(ddof=ddof) / (np.sqrt(len(a)) if root else 1)
    return diff.mean() - half, diff.mean() + half


def one_error(a, b):
    diff = a - b
    return diff.mean() - stats.sem(diff), diff.mean() + stats.sem(diff)


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


def choice_by_loop(trials):
    best = {}
    for (model, trial), rows in trials.groupby(["model", "trial"]):
        if model not in best or rows["valid"].mean() > best[model][0]:
            best[model] = rows["valid"].mean(), trial
    return {model: trial for model, (_, trial) in best.items()}


def by(how):
    """Choose with another summary of the seeds than their mean."""
    return lambda t: t.groupby(["model", "trial"])["valid"].agg(how).unstack().idxmax(axis=1).to_dict()


def first_seed(trials):
    return choose(trials[trials["seed"] == 0])


def worst(trials):
    return trials.groupby(["model", "trial"])["valid"].mean().unstack().idxmin(axis=1)


def last_trial(trials):
    return trials.groupby("model")["trial"].last()


def best_figures(trials):
    return trials.groupby(["model", "trial"])["valid"].mean().groupby("model").max()


def pairs_as_values(trials):
    return trials.groupby(["model", "trial"])["valid"].mean().groupby("model").idxmax()


def pairs_as_keys(trials):
    mean = trials.groupby(["model", "trial"])["valid"].mean()
    return mean[mean.groupby("model").idxmax()]


def chance_by_counting(rank, n_items, n_negatives, k):
    better, worse = rank - 1, n_items - rank
    ways = sum(math.comb(better, b) * math.comb(worse, n_negatives - b) for b in range(min(k, n_negatives + 1)))
    return ways / math.comb(n_items - 1, n_negatives)


def interval_in_torch(a, b):
    diff = torch.as_tensor(a) - torch.as_tensor(b)
    half = stats.t.ppf(0.975, len(diff) - 1) * diff.std() / len(diff) ** 0.5
    return diff.mean() - half, diff.mean() + half


def interval_by_scipy(a, b):
    return list(stats.t.interval(0.95, len(a) - 1, loc=np.mean(a - b), scale=stats.sem(a - b)))


def transposed(split, features=None):
    return neighbours(split)(np.arange(split.n_users)).T


def knows_one_user(split, features=None):
    return lambda user_ids: neighbours(split)(np.zeros(1, dtype=int)).repeat(len(user_ids), axis=0)


def by_lot(seed):
    return lambda split, features=None: np.random.default_rng(seed).random((split.n_users, split.n_items))


def luckiest(trials):
    best = trials.loc[trials.groupby("model")["valid"].idxmax()]
    return dict(zip(best["model"], best["trial"]))


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.choose_on_validation, choose),
        (checks.choose_on_validation, choice_by_loop),
        (checks.chance_in_a_sample, chance_by_counting),
        (checks.paired_interval, interval_in_torch),
        (checks.paired_interval, interval_by_scipy),
        (checks.fair_entry, lambda s, f: torch.as_tensor(neighbours(s)(np.arange(s.n_users)))),
        (checks.detectable_gap, detectable),
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
        (checks.choose_on_validation, first_seed, "one seed only"),
        (checks.choose_on_validation, by("min"), "best of the worst"),
        (checks.choose_on_validation, by("sum"), "add the seeds up"),
        (checks.choose_on_validation, by("max"), "luckiest single run"),
        (checks.choose_on_validation, worst, "you take the worst"),
        (checks.choose_on_validation, last_trial, "last trial"),
        (checks.choose_on_validation, best_figures, "best validation figures"),
        (checks.choose_on_validation, pairs_as_values, "values are pairs"),
        (checks.choose_on_validation, pairs_as_keys, "keys are pairs"),
        (checks.chance_in_a_sample, hyper(shift_k=1), "place k + 1"),
        (checks.chance_in_a_sample, hyper(shift_rank=1), "not among the better ones"),
        (checks.chance_in_a_sample, hyper(shift_items=1), "itself is not drawn"),
        (checks.chance_in_a_sample, lambda r, n, m, k: stats.binom.cdf(k - 1, m, (r - 1) / (n - 1)), "replacement"),
        (checks.chance_in_a_sample, lambda r, n, m, k: 1 - hyper()(r, n, m, k), "1 minus"),
        (checks.chance_in_a_sample, lambda r, n, m, k: float(r <= k), "full ranking"),
        (
            checks.chance_in_a_sample,
            lambda r, n, m, k: stats.hypergeom.pmf(k - 1, n - 1, r - 1, m),
            "add up the places",
        ),
        (checks.chance_in_a_sample, lambda r, n, m, k: 100 * hyper()(r, n, m, k), "percentage"),
        (
            checks.chance_in_a_sample,
            lambda r, n, m, k: sum(stats.hypergeom.pmf(x, n - 1, r - 1, m) for x in range(1, k)),
            "no better item",
        ),
        (checks.chance_in_a_sample, lambda r, n, m, k: m * (r - 1) / (n - 1), "mean number of better items in"),
        (checks.chance_in_a_sample, lambda r, n, m, k: float(m * (r - 1) / (n - 1) < k), "the sample varies"),
        (checks.paired_interval, lambda a, b: student(a, b, scale=1 / np.sqrt(len(a))), "you divide by n"),
        (checks.paired_interval, lambda a, b: one_error(a, b), "one standard error"),
        (checks.paired_interval, lambda a, b: (np.mean(a - b), student(a, b)[1] - np.mean(a - b)), "half the width"),
        (checks.paired_interval, lambda a, b: np.array(student(a, b)) - np.mean(a - b), "around 0"),
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
        (checks.fair_entry, transposed, "have shape"),
        (checks.fair_entry, knows_one_user, "everybody gets the same scores"),
        (checks.fair_entry, lambda s, f: lambda ids: -neighbours(s)(ids), "half of what chance finds"),
        (checks.fair_entry, lambda s, f: lambda ids: -neighbours(s)(ids), "larger scores better"),
        *((checks.fair_entry, by_lot(seed), "drawn by lot") for seed in range(5)),
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


def gap(level=0.975, power=0.8, ddof=1, over=np.sqrt, factor=1.0):
    """The smallest detectable difference with a part of it changed."""

    def mine(diff):
        z = (stats.norm.ppf(level) if level else 0) + (stats.norm.ppf(power) if power else 0)
        return factor * z * diff.std(ddof=ddof) / over(len(diff))

    return mine


def of_variance(diff):
    return detectable(diff) * diff.std(ddof=1)


GAPS = {
    "the power is missing": gap(power=None),
    "the level is missing": gap(level=None),
    "you subtract the power": gap(power=0.2),
    "on both sides": gap(level=0.95),
    "both quantiles are split": gap(power=0.9),
    "the spread of the users": gap(over=lambda n: 1),
    "you divide by n": gap(over=lambda n: n),
    "ddof=1": gap(ddof=0),
    "you use the variance": of_variance,
    "without the root of 2": gap(factor=np.sqrt(2)),
    "what was measured": lambda diff: diff.mean(),
    "add the measured difference": lambda diff: diff.mean() + detectable(diff),
    "one number": lambda diff: diff,
    "for the 15 test users": lambda diff: 0.5,
}


@pytest.mark.parametrize("words", GAPS)
def test_wrong_answers_on_what_is_detectable_are_named(words):
    verdict = checks.detectable_gap(GAPS[words])
    assert verdict.passed is False and words in verdict.message, verdict
