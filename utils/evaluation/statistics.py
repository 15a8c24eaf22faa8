"""Paired tests, intervals and corrections: how rare a difference would be if only the choice of the users made it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from utils.errors import CourseError, suggest


def compare(
    a: Any, b: Any, metric: str = "recall@20", *, n_boot: int = 2000, confidence: float = 0.95, seed: int = 0
) -> dict[str, float]:
    """Compare two models user by user on one metric; positive difference = ``a`` is better.

    Args:
        a, b: reports of `evaluate` (or Series with user_id as index). Only users judged in both count.
        metric: a per-user metric, for example "recall@20".
        n_boot: bootstrap samples of users for the interval.
        confidence: of the percentile interval.
        seed: of the bootstrap.

    Returns:
        metric, n_users, a and b (means), difference, t_p (paired t-test), wilcoxon_p (signed rank, zeros dropped),
        low, high (bootstrap interval of the difference). Where all users are equal, both p values are 1.

    Raises:
        CourseError: the metric has no per-user values, or fewer than two users are in common.
    """
    left, right = _values(a, metric), _values(b, metric)
    both = pd.concat([left, right], axis=1, join="inner").dropna().to_numpy(dtype=float)
    if len(both) < 2:
        raise CourseError(f"Only {len(both)} users have {metric} in both reports; compare needs at least two.")
    diff = both[:, 0] - both[:, 1]
    low, high = bootstrap_interval(diff, n_boot=n_boot, confidence=confidence, seed=seed)
    return {
        "metric": metric,
        "n_users": len(diff),
        "a": float(both[:, 0].mean()),
        "b": float(both[:, 1].mean()),
        "difference": float(diff.mean()),
        "t_p": _t_p(diff),
        "wilcoxon_p": _wilcoxon_p(diff),
        "low": low,
        "high": high,
    }


def compare_all(
    reports: Mapping[str, Any], reference: str | None = None, metric: str = "recall@20", *, seed: int = 0
) -> pd.DataFrame:
    """Compare every model with ``reference``, or every pair without one, and correct the p values by Holm.

    Returns:
        One row per pair: a, b, difference, low, high, t_p, wilcoxon_p, t_holm, wilcoxon_holm, n_users.
    """
    names = list(reports)
    if reference is not None and reference not in reports:
        raise suggest(reference, names, "model among the reports")
    if reference is None:
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    else:
        pairs = [(a, reference) for a in names if a != reference]
    if not pairs:
        raise CourseError("There is only one report; compare needs at least two.")
    rows = [{**compare(reports[a], reports[b], metric, seed=seed), "a": a, "b": b} for a, b in pairs]
    table = pd.DataFrame(rows)
    table["t_holm"], table["wilcoxon_holm"] = holm(table["t_p"]), holm(table["wilcoxon_p"])
    return table[["a", "b", "difference", "low", "high", "t_p", "t_holm", "wilcoxon_p", "wilcoxon_holm", "n_users"]]


def bootstrap_interval(
    values: Any, *, n_boot: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of ``values`` (n,), users drawn with replacement."""
    values = np.asarray(values, dtype=float)
    generator = np.random.default_rng(seed)
    means = np.empty(n_boot)
    step = max(1, 2_000_000 // max(len(values), 1))  # at most 2 million draws at a time: 16 MB
    for start in range(0, n_boot, step):
        size = min(step, n_boot - start)
        means[start : start + size] = values[generator.integers(0, len(values), (size, len(values)))].mean(axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def failed_seeds(values: Mapping[Any, float], standard_error: float, limit: float = 3.0) -> dict[Any, float]:
    """Return the seeds whose training failed: seed -> how many standard errors it lies below its siblings.

    A seed has failed if its best validation value lies more than ``limit`` standard errors below the median of the
    others. Seeds are judged on the same users, so that they differ by less than that unless the training went wrong:
    such a value says nothing about the model, and a mean with it neither.

    Args:
        values: seed -> best value on validation, higher = better; one seed alone has no siblings.
        standard_error: of one such value, that is the standard deviation over users / sqrt(number of users).
    """
    found = {}
    for seed, value in values.items():
        others = [other for name, other in values.items() if name != seed]
        below = (np.median(others) - value) / standard_error if others and standard_error > 0 else 0.0
        if below > limit:
            found[seed] = float(below)
    return found


def holm(p_values: Any) -> Any:
    """Correct p values for having asked several questions (Holm 1979); same order and, for a Series, same index.

    The smallest of m is multiplied by m, the next by m - 1, and so on, never falling and never above 1. NaN stays.
    """
    p = np.asarray(p_values, dtype=float)
    if np.any((p < 0) | (p > 1)):
        raise CourseError("A p value lies outside 0 to 1; pass the p values themselves, not test statistics.")
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return pd.Series(adjusted, index=p_values.index) if isinstance(p_values, pd.Series) else adjusted


def repeat(run: Callable[[int], Any], seeds: Iterable[int]) -> pd.DataFrame:
    """Call ``run(seed)`` for each seed and collect what it returns (a Report, Series or dict of numbers).

    Returns:
        One row per seed (index "seed"), one column per number.
    """
    rows = {int(seed): _numbers(run(seed)) for seed in seeds}
    if not rows:
        raise CourseError("There is no seed; give at least one.")
    return pd.DataFrame(rows).T.rename_axis("seed")


def mean_spread(runs: Any) -> pd.DataFrame:
    """Average over seeds.

    Args:
        runs: the frame of `repeat`, a list of Reports / Series / dicts (one per seed), or a mapping model -> either.

    Returns:
        One row per metric with columns mean, std (n - 1 in the denominator, NaN for one seed) and n;
        for a mapping: one row per model and columns (metric, mean / std / n).
    """
    if isinstance(runs, Mapping):
        tables = {name: mean_spread(one).stack(future_stack=True) for name, one in runs.items()}
        return pd.DataFrame(tables).T.rename_axis("model")
    frame = runs if isinstance(runs, pd.DataFrame) else pd.DataFrame([_numbers(run) for run in runs])
    return pd.DataFrame({"mean": frame.mean(), "std": frame.std(ddof=1), "n": frame.count()})


def kendall_tau(a: Any, b: Any) -> float:
    """Return Kendall's tau-b between two rankings of the same things: 1 = same order, -1 = reversed, 0 = unrelated.

    Args:
        a, b: scores (not ranks) of the same models: Series or dicts matched by name, or arrays in the same order.
            A model with NaN is left out. NaN is returned where one side is all ties.
    """
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        a, b = pd.Series(a, dtype=float), pd.Series(b, dtype=float)
    if isinstance(a, pd.Series) and isinstance(b, pd.Series):
        both = pd.concat([a, b], axis=1, join="inner").to_numpy(dtype=float)
    else:
        both = np.column_stack([np.asarray(a, dtype=float), np.asarray(b, dtype=float)])
    both = both[~np.isnan(both).any(axis=1)]
    if len(both) < 2:
        raise CourseError(f"A ranking of {len(both)} models has no order; compare at least two.")
    return float(stats.kendalltau(both[:, 0], both[:, 1]).statistic)


def _values(report: Any, metric: str) -> pd.Series:
    if isinstance(report, pd.Series):
        return report
    if metric in report.overall:
        raise CourseError(f"{metric} is one number for all users and has no per-user values; compare it over seeds.")
    if metric not in report.per_user.columns:
        raise suggest(metric, report.per_user.columns, "per-user metric in this report")
    return report.per_user[metric]


def _numbers(result: Any) -> pd.Series:
    return result.mean() if hasattr(result, "per_user") else pd.Series(result, dtype=float)


def _t_p(diff: np.ndarray) -> float:
    if np.ptp(diff) <= 1e-12 * np.abs(diff).max():  # no spread but rounding: t is 0/0 or infinite
        return 0.0 if np.any(diff) else 1.0
    return float(stats.ttest_1samp(diff, 0.0).pvalue)


def _wilcoxon_p(diff: np.ndarray) -> float:
    return float(stats.wilcoxon(diff).pvalue) if np.any(diff) else 1.0
