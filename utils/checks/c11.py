"""Checks of notebook 11: choosing a setting, the chance in a sample, a paired interval, a fair entry, what is detectable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from utils.checks.base import exercise, numbers
from utils.data import Split
from utils.errors import CourseError
from utils.evaluation import evaluate
from utils.evaluation.leaderboard import Z_LIMIT, blind, checked_scores, exchange

__all__ = ["chance_in_a_sample", "choose_on_validation", "detectable_gap", "fair_entry", "paired_interval"]


# ---- exercise 1 ----

# bpr: trial 1 is right (mean of the seeds on validation); each other one is what a certain mistake chooses
TRIALS = pd.DataFrame(
    [
        ("bpr", 0, 0.30, 0.32, 0.20, 0.21),  # the recommended settings
        ("bpr", 1, 0.30, 0.42, 0.33, 0.34),
        ("bpr", 2, 0.20, 0.50, 0.31, 0.32),  # one lucky seed
        ("bpr", 3, 0.34, 0.345, 0.30, 0.30),  # its worst seed is the best of the worst
        ("bpr", 4, 0.38, 0.26, 0.29, 0.29),  # the best with the first seed alone
        ("bpr", 5, 0.31, 0.33, 0.40, 0.41),  # the best on the test part
        ("bpr", 6, 0.10, 0.12, 0.11, 0.12),  # the worst
        ("bpr", 7, 0.25, 0.26, 0.25, 0.25),  # three seeds: the largest sum
        ("bpr", 8, 0.28, 0.29, 0.28, 0.28),  # the last
        ("vbpr", 0, 0.50, None, 0.40, None),
        ("vbpr", 1, 0.45, None, 0.47, None),
    ],
    columns=["model", "trial", 0, 1, "test 0", "test 1"],
)
TRIALS = pd.concat(
    [
        TRIALS.assign(seed=seed, valid=TRIALS[seed], test=TRIALS[f"test {seed}"])[
            ["model", "trial", "seed", "valid", "test"]
        ].dropna()
        for seed in (0, 1)
    ]
    + [pd.DataFrame({"model": ["bpr"], "trial": [7], "seed": [2], "valid": [0.27], "test": [0.25]})]
)
TRIALS = TRIALS.sort_values(["model", "trial", "seed"]).reset_index(drop=True)


@exercise
def choose_on_validation(mine: Callable[[pd.DataFrame], dict]) -> str | None:
    """mine(trials) -> {model: trial}; several seeds per trial, chosen by the mean of the validation column."""
    answer = mine(TRIALS.copy())
    answer = answer.to_dict() if isinstance(answer, pd.Series) else answer
    if isinstance(answer, dict) and set(answer) == {("bpr", 1), ("vbpr", 0)}:
        return "the keys are pairs (model, trial): return model -> trial."
    if not isinstance(answer, dict):
        return f"return a dict, model -> trial; you return a {type(answer).__name__}."
    if set(answer) != {"bpr", "vbpr"}:
        return f"every model gets its own choice, here bpr and vbpr; you return {sorted(map(str, answer))}."
    if any(isinstance(trial, tuple) for trial in answer.values()):
        return "the values are pairs (model, trial): return the trial alone."
    if any(isinstance(trial, str) for trial in answer.values()):
        return "the trials are text: return them as the numbers that the table has."
    if np.allclose(list(answer.values()), [0.36, 0.5]):
        return "these are the best validation figures: return the trials that reach them."
    found = {str(name): int(trial) for name, trial in answer.items()}
    if found == {"bpr": 1, "vbpr": 1}:
        return "one trial is chosen for all models: every model gets its own choice."
    right = {"bpr": 1, "vbpr": 0}
    known = {
        "you choose on the test part: what you report is then flattered. Use the validation column.":
            {"bpr": 5, "vbpr": 1},
        "you take the luckiest single run: average the seeds of a trial first.": {"bpr": 2, "vbpr": 0},
        "you look at one seed only: a trial may have several; average them first.": {"bpr": 4, "vbpr": 0},
        "you take the best of the worst seeds: take the mean over the seeds.": {"bpr": 3, "vbpr": 0},
        "you add the seeds up: a trial with more seeds wins then; take the mean.": {"bpr": 7, "vbpr": 0},
        "you take the worst: a larger Recall is better.": {"bpr": 6, "vbpr": 1},
        "you take the last trial of each model: choose by validation, not by place.": {"bpr": 8, "vbpr": 1},
        "you take the first trial of each model: those are the recommended settings, nothing is tuned.":
            {"bpr": 0, "vbpr": 0},
    }  # fmt: skip
    if found == right:
        return None
    positions = TRIALS.groupby("model")["valid"].idxmax().to_dict()
    if found == positions:
        return "these are row numbers of the table: look the trial up."
    return next((s for s, wrong in known.items() if found == wrong), f"the choice is {right}, you return {found}.")


# ---- exercise 2 ----


@exercise
def chance_in_a_sample(mine: Callable[[int, int, int, int], float]) -> str | None:
    """mine(rank, n_items, n_negatives, k) -> chance that the item is among the first k of the sample."""
    rank, n_items, n, k = 20, 200, 40, 5
    answer = numbers(mine(rank, n_items, n, k), "chance")
    if answer.size != 1:
        return f"a chance is one number; you return shape {answer.shape}."
    value, hyper = float(answer.reshape(())), stats.hypergeom
    right = float(hyper.cdf(k - 1, n_items - 1, rank - 1, n))
    known = {
        "you count up to k better items: with k better ones it is on place k + 1. Use k - 1.":
            hyper.cdf(k, n_items - 1, rank - 1, n),
        "the item itself is not among the better ones: of rank r, r - 1 are better.":
            hyper.cdf(k - 1, n_items - 1, rank, n),
        "the item itself is not drawn: the negatives come from the n_items - 1 others.":
            hyper.cdf(k - 1, n_items, rank - 1, n),
        "you draw with replacement (binomial): the negatives of a sample are different items.":
            stats.binom.cdf(k - 1, n, (rank - 1) / (n_items - 1)),
        "this is the chance of being left out: take 1 minus it.": 1 - right,
        "you return a percentage: a chance lies between 0 and 1.": 100 * right,
        "you leave out the case of no better item in the sample: count 0 to k - 1.":
            right - hyper.pmf(0, n_items - 1, rank - 1, n),
        "this is the mean number of better items in the sample, not a chance.": n * (rank - 1) / (n_items - 1),
        "you compare the mean number of better items with k: the sample varies, and so does the place.":
            float(n * (rank - 1) / (n_items - 1) < k),
        "this is the chance of one place exactly: add up the places 1 to k.":
            hyper.pmf(k - 1, n_items - 1, rank - 1, n),
        "this is 1 minus a chance, with replacement: count at most k - 1 better ones among different items.":
            1 - stats.binom.cdf(k - 1, n, (rank - 1) / (n_items - 1)),
        "one negative too many is drawn: n_negatives of them, the item itself is not one.":
            hyper.cdf(k - 1, n_items - 1, rank - 1, n + 1),
        "one place too few: up to k - 1 better items may be in the sample.": hyper.cdf(k - 2, n_items - 1, rank - 1, n),
        "this is the chance that no better item is drawn: up to k - 1 of them may be.":
            hyper.pmf(0, n_items - 1, rank - 1, n),
        "two slips: of rank r, r - 1 are better, and the item itself is not drawn.": hyper.cdf(k - 1, n_items, rank, n),
        "this is the share of places in the list: the rank of the item decides as well.": k / (n + 1),
        "this is the share of worse items: how many better ones come into a sample varies.":
            1 - (rank - 1) / (n_items - 1),
        "this is Poisson's approximation: the exact chance is hypergeometric.":
            stats.poisson.cdf(k - 1, n * (rank - 1) / (n_items - 1)),
        "this is full ranking: the item is on rank 20, but only a sample competes.": float(rank <= k),
    }  # fmt: skip
    if not np.isclose(value, right):
        for sentence, wrong in known.items():
            if np.isclose(value, wrong):
                return sentence
        return f"rank {rank} of {n_items} is among the first {k} of {n} negatives with chance {right:.4f}, not {value:.4f}."
    edges = {(1, 50, 10, 1): 1.0, (50, 50, 49, 10): 0.0}
    wrong = next((e for e, chance in edges.items() if not np.isclose(float(mine(*e)), chance)), None)
    return None if wrong is None else f"for {wrong} the chance is {edges[wrong]:.0f}: test your function at the ends."


# ---- exercise 3 ----


@exercise
def paired_interval(mine: Callable[[np.ndarray, np.ndarray], tuple[float, float]]) -> str | None:
    """mine(a, b) -> (low, high): 95 % interval of the mean difference a - b of the same users (Student's t)."""
    draw = np.random.default_rng(3)
    users = draw.normal(0.4, 0.3, 12)
    a, b = users + draw.normal(0.05, 0.05, 12), users + draw.normal(0, 0.05, 12)
    answer = numbers(mine(a.copy(), b.copy()), "interval")
    if answer.shape != (2,):
        return f"return two numbers, low and high; you return shape {answer.shape}."
    diff, n = a - b, len(a)
    t, error = stats.t.ppf(0.975, n - 1), diff.std(ddof=1) / np.sqrt(n)
    apart = np.sqrt(a.var(ddof=1) / n + b.var(ddof=1) / n)
    known = {
        "": (t, error),
        "this is the interval of the users, not of their mean: divide the spread by the root of n.": (
            t,
            diff.std(ddof=1),
        ),
        "you treat a and b as different users: take the difference of each user first.": (t, apart),
        "you divide by n: the error of a mean falls with the root of n.": (t, diff.std(ddof=1) / n),
        "you use 1.96, the value for many users: for 12 users take Student's t with n - 1 degrees of freedom.": (
            stats.norm.ppf(0.975),
            error,
        ),
        "this is a 90 % interval: 2.5 % lie on each side, so take the 0.975 quantile.": (
            stats.t.ppf(0.95, n - 1),
            error,
        ),
        "the spread is that of a population: divide by n - 1 (ddof=1).": (t, diff.std() / np.sqrt(n)),
        "this is one standard error on each side: multiply by the quantile of Student's t.": (1.0, error),
        "you use 2, a rule of thumb: for 12 users take Student's t with n - 1 degrees of freedom.": (2.0, error),
        "this is a 99 % interval: take the 0.975 quantile.": (stats.t.ppf(0.995, n - 1), error),
        "there are n - 1 degrees of freedom, not n.": (stats.t.ppf(0.975, n), error),
        "there are n - 1 degrees of freedom, not 2 n - 2: the users are the same in both.": (
            stats.t.ppf(0.975, 2 * n - 2),
            error,
        ),
        "you divide by the root of n - 1 as well: ddof=1 has done that, the root of n is left.": (
            t,
            diff.std(ddof=1) / np.sqrt(n - 1),
        ),
        "you use the variance: take its root, the standard deviation.": (t, diff.var(ddof=1) / np.sqrt(n)),
    }
    if np.allclose(answer, [diff.mean(), t * error]):
        return "you return the mean and half the width: return the two ends, mean minus and mean plus."
    if np.allclose(answer, [-t * error, t * error]):
        return "the interval lies around 0: put it around the mean difference."
    for sentence, (factor, width) in known.items():
        half = factor * width
        if np.allclose(answer, [diff.mean() - half, diff.mean() + half]):
            return sentence or None
        if np.allclose(answer, [diff.mean() + half, diff.mean() - half]):
            return "low and high are swapped."
        if np.allclose(answer, [-diff.mean() - half, -diff.mean() + half]):
            return "the sign is turned: positive means that a is better, so a - b."
    if np.allclose(answer, np.quantile(diff, [0.025, 0.975])):
        return "these are quantiles of the users: you want the interval of their mean."
    return f"the interval is [{diff.mean() - t * error:.4f}, {diff.mean() + t * error:.4f}], you return {answer.round(4).tolist()}."


# ---- exercise 4 ----


def toy_shop(n_users: int = 240, n_items: int = 40, seed: int = 5) -> Split:
    """A random split of simulated users with two tastes: all three parts come from the same distribution."""
    draw = np.random.default_rng(seed)
    liking = draw.gumbel(size=(n_users, n_items)) + np.linspace(1.5, 0, n_items)
    liking += 1.5 * ((np.arange(n_items) % 2) == (np.arange(n_users)[:, None] % 2))
    items = draw.permuted(np.argsort(-liking, axis=1)[:, :12], axis=1)
    pairs = np.stack([np.repeat(np.arange(n_users)[:, None], 12, axis=1), items], axis=-1)
    parts = [pairs[:, :8].reshape(-1, 2), pairs[:, 8:10].reshape(-1, 2), pairs[:, 10:].reshape(-1, 2)]
    return Split(n_users, n_items, *parts, strategy="random", cold_items=np.zeros(0, dtype=np.int64))


@exercise
def fair_entry(mine: Callable[..., Any]) -> str | None:
    """mine(split, features) -> scorer; tried on a small shop that it has never seen, with an empty test part."""
    shop = toy_shop()
    hidden = blind(shop)
    built = mine(hidden, {})
    if isinstance(built, (float, int, str, list)):
        return f"return a scorer: a function user_ids -> scores, a model, or a matrix; you return a {type(built).__name__}."
    try:
        scores, notes = checked_scores(lambda split, features: built, hidden, {}, {}, 5)
    except CourseError as error:
        if "have shape" in str(error):
            return f"{error} If the numbers are those of the shop, you use its split from outside: use the one you are given."
        return str(error)
    if scores is None:
        return "your scorer returns nothing: it must return the scores."
    if any("popularity list" in note for note in notes):
        return "everybody gets the same scores: use user_ids to make them personal."
    valid, test = (evaluate(scores, shop, part, 5, ["recall"]) for part in ("valid", "test"))
    if exchange(valid.per_user["recall@5"], test.per_user["recall@5"]) < -Z_LIMIT:
        return (
            "much better on validation than on test: it has learned the validation part. Learn from split.train only."
        )
    floor = evaluate(np.tile(shop.matrix().sum(axis=0), (shop.n_users, 1)), shop, "test", 5, ["recall"])["recall@5"]
    by_chance = 5 / (shop.n_items - len(shop.train) / shop.n_users)  # the recall of a list drawn from what is left
    if test["recall@5"] < 0.5 * by_chance:
        return "it runs, but finds less than half of what chance finds: are larger scores better, as they must be?"
    if test["recall@5"] < 0.75 * floor:
        return "it runs, but finds hardly more than a list drawn by lot: the scores must come from split.train."
    return None


# ---- bonus ----


@exercise(bonus=True)
def detectable_gap(mine: Callable[[np.ndarray], float]) -> str | None:
    """mine(diff) -> smallest true mean difference that a paired test on so many users finds in 80 % of the cases."""
    diff = np.random.default_rng(11).normal(0.02, 0.2, 15)
    answer = numbers(mine(diff.copy()), "difference")
    if answer.size != 1:
        return f"the smallest difference is one number; you return shape {answer.shape}."
    value, n = float(answer.reshape(())), len(diff)
    spread, error = diff.std(ddof=1), diff.std(ddof=1) / np.sqrt(n)
    two_sided, one_sided, power = stats.norm.ppf([0.975, 0.95, 0.8])
    right = (two_sided + power) * error
    known = {
        "": right,
        "the power is missing: a true difference of this size would be found in half of the cases only.": two_sided
        * error,
        "the level is missing: with the power alone, chance is called a find too often.": power * error,
        "you subtract the power: its z is positive, because you want to find the difference more often than not.": (
            two_sided - power
        )
        * error,
        "a test asks on both sides: 2.5 % lie on each, so take the 0.975 quantile.": (one_sided + power) * error,
        "both quantiles are split in two: only the level has two sides, the power has one.": (
            two_sided + stats.norm.ppf(0.9)
        )
        * error,
        "you take the spread of the users: the error of their mean is smaller by the root of n.": (two_sided + power)
        * spread,
        "you divide by n: the error of a mean falls with the root of n.": (two_sided + power) * spread / n,
        "the spread is that of a population: divide by n - 1 (ddof=1).": (two_sided + power) * diff.std() / np.sqrt(n),
        "you use the variance: take its root, the standard deviation.": (two_sided + power) * spread**2 / np.sqrt(n),
        "there are no two groups of users here: the differences are paired, without the root of 2.": right * np.sqrt(2),
        "this is what was measured: asked for is what so many users could reveal.": diff.mean(),
        "both quantiles are those of the level: the power of 80 % has a quantile of its own.": 2 * two_sided * error,
        "you take Student's quantiles: the formula here has those of the normal distribution.": (
            stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)
        )
        * error,
        "this is a test at 1 %: 2.5 % lie on each side, so take the 0.975 quantile.": (stats.norm.ppf(0.995) + power)
        * error,
        "you add the probabilities: take their quantiles, scipy.stats.norm.ppf.": (0.975 + 0.8) * error,
        "this is in units of the spread (an effect size): multiply by the standard deviation.": right / spread,
        "you divide by the root of n - 1 as well: ddof=1 has done that, the root of n is left.": right
        * np.sqrt(n / (n - 1)),
        "you halve it: the sum of both quantiles times the error is the whole difference.": right / 2,
        "this is the number of users that you need: asked for is the difference.": (
            (two_sided + power) * spread / diff.mean()
        )
        ** 2,
        "you return a percentage: return the difference as it is.": 100 * right,
        "you add the measured difference: what can be revealed does not depend on it.": diff.mean() + right,
    }
    sentence = next((words for words, wrong in known.items() if np.isclose(value, wrong)), None)
    return f"for the 15 test users it is {right:.4f}, you return {value:.4f}." if sentence is None else sentence or None
