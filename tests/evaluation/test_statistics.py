"""Paired tests, intervals, Holm, seeds and rankings: against scipy and hand-computed values."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from utils.errors import CourseError
from utils.evaluation import compare, compare_all, holm, kendall_tau, mean_spread, repeat
from utils.evaluation.statistics import bootstrap_interval, failed_seeds


def report(values, name="recall@20", index=None):
    frame = pd.DataFrame({name: np.asarray(values, dtype=float)}, index=index)
    return SimpleNamespace(per_user=frame, overall={"gini@20": 0.5}, mean=lambda: frame.mean())


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    a = generator.random(200)
    return a, a + generator.normal(0.02, 0.1, 200)


def test_compare_agrees_with_scipy(pair):
    a, b = pair
    result = compare(report(b), report(a))
    assert result["difference"] == pytest.approx((b - a).mean())
    assert result["t_p"] == pytest.approx(stats.ttest_rel(b, a).pvalue)
    assert result["wilcoxon_p"] == pytest.approx(stats.wilcoxon(b, a).pvalue)
    assert result["low"] < result["difference"] < result["high"] and result["n_users"] == 200
    assert result["a"] == pytest.approx(b.mean()) and result["b"] == pytest.approx(a.mean())


def test_compare_by_hand():
    # differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t = 3.4641 with 2 degrees of freedom: p = .0742
    result = compare(report([2, 4, 6]), report([1, 2, 3]))
    assert result["t_p"] == pytest.approx(0.0742, abs=1e-4)
    assert result["wilcoxon_p"] == pytest.approx(0.25)  # the smallest two-sided p of three signs: 2 / 2^3


def test_compare_pairs_users_by_id_and_drops_the_undefined():
    a = report([1.0, 2.0, 3.0, np.nan], index=[5, 6, 7, 8])
    b = report([2.0, 2.5, 1.0, 0.0], index=[7, 6, 4, 8])
    result = compare(a, b)
    assert result["n_users"] == 2 and result["difference"] == pytest.approx(((3 - 2) + (2 - 2.5)) / 2)


def test_equal_models_are_not_different():
    result = compare(report([0.1, 0.5, 0.2]), report([0.1, 0.5, 0.2]))
    assert result["t_p"] == result["wilcoxon_p"] == 1.0 and result["low"] == result["high"] == 0.0


def test_a_constant_gain_has_no_spread():
    result = compare(report([1, 2, 3, 4]), report([0, 1, 2, 3]))
    assert result["t_p"] == 0.0 and result["low"] == result["high"] == 1.0


def test_compare_says_what_is_missing(pair):
    a, b = map(report, pair)
    with pytest.raises(CourseError, match="recall@20"):
        compare(a, b, "recall@10")
    with pytest.raises(CourseError, match="one number for all users"):
        compare(a, b, "gini@20")
    with pytest.raises(CourseError, match="at least two"):
        compare(report([1.0], index=[0]), report([1.0], index=[1]))


def test_bootstrap_agrees_with_scipy_and_repeats(pair):
    diff = pair[1] - pair[0]
    low, high = bootstrap_interval(diff, n_boot=5000, seed=3)
    peer = stats.bootstrap((diff,), np.mean, method="percentile", n_resamples=5000, rng=0).confidence_interval
    assert low == pytest.approx(peer.low, abs=1e-3) and high == pytest.approx(peer.high, abs=1e-3)
    assert (low, high) == bootstrap_interval(diff, n_boot=5000, seed=3)
    assert (low, high) != bootstrap_interval(diff, n_boot=5000, seed=4)


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_interval(generator.normal(1.0, 1.0, 60), n_boot=400, seed=trial)
        hits += low <= 1.0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_a_failed_seed_lies_far_below_the_median_of_its_siblings():
    stored = {0: 0.3685, 1: 0.3599, 2: 0.3107}  # one model, one split, one seed that stopped too early
    assert failed_seeds(stored, 0.0104) == {2: pytest.approx((0.3642 - 0.3107) / 0.0104)}
    assert failed_seeds({0: 0.0846, 1: 0.0692, 2: 0.0695}, 0.005) == {}  # the others have a median between them
    assert failed_seeds({0: 0.30, 1: 0.32}, 0.0104) == {} and failed_seeds({0: 0.2, 1: 0.32}, 0.0104).keys() == {0}
    assert failed_seeds({0: 0.1}, 0.01) == {} and failed_seeds({0: 0.1, 1: 0.9}, 0.0) == {}
    assert failed_seeds({0: 0.5, 1: 0.51, 2: 0.9}, 0.01).keys() == {0, 1}  # what one seed reached, two missed


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert holm([0.02]).tolist() == [0.02]
    assert holm([]).tolist() == []
    named = holm(pd.Series([np.nan, 0.01, 0.02], index=list("xyz")))
    assert np.isnan(named["x"]) and named["y"] == pytest.approx(0.02) and named["z"] == pytest.approx(0.02)
    with pytest.raises(CourseError, match="0 to 1"):
        holm([2.3])


def test_compare_all_corrects_for_all_pairs(pair):
    a, b = map(report, pair)
    c = report(pair[0] + 0.5)
    table = compare_all({"A": a, "B": b, "C": c})
    assert table[["a", "b"]].values.tolist() == [["A", "B"], ["A", "C"], ["B", "C"]]
    assert table["t_holm"].tolist() == pytest.approx(holm(table["t_p"].to_numpy()).tolist())
    against = compare_all({"A": a, "B": b, "C": c}, reference="A")
    assert against["a"].tolist() == ["B", "C"] and set(against["b"]) == {"A"}
    with pytest.raises(CourseError, match="A"):
        compare_all({"A": a, "B": b}, reference="a")
    with pytest.raises(CourseError, match="one report"):
        compare_all({"A": a})


def test_repeat_and_mean_spread():
    runs = repeat(lambda seed: {"recall@20": seed, "loss": 2.0}, seeds=[1, 2, 3])
    assert runs.index.tolist() == [1, 2, 3]
    table = mean_spread(runs)
    assert table.loc["recall@20", "mean"] == 2.0 and table.loc["recall@20", "std"] == 1.0
    assert table.loc["loss", "std"] == 0.0 and table.loc["loss", "n"] == 3
    listed = mean_spread([pd.Series({"x": 1.0}), pd.Series({"x": 3.0})])
    assert listed.loc["x", "mean"] == 2.0 and listed.loc["x", "std"] == pytest.approx(np.sqrt(2))
    models = mean_spread({"bpr": runs, "random": [{"recall@20": 0.5}]})
    assert models.loc["bpr", ("recall@20", "mean")] == 2.0 and np.isnan(models.loc["random", ("recall@20", "std")])
    assert mean_spread([report([1, 3])]).loc["recall@20", "mean"] == 2.0
    with pytest.raises(CourseError, match="seed"):
        repeat(lambda seed: {}, seeds=[])


def test_kendall_tau():
    assert kendall_tau([1, 2, 3], [4, 5, 9]) == 1.0
    assert kendall_tau([1, 2, 3], [3, 2, 1]) == -1.0
    # of the 6 pairs of a, b, c, d one (c, d) is turned: (5 - 1) / 6
    assert kendall_tau({"a": 1, "b": 2, "c": 3, "d": 4}, pd.Series({"d": 3, "c": 4, "b": 2, "a": 1})) == pytest.approx(
        4 / 6
    )
    assert kendall_tau([1, 2, 3, np.nan], [1, 2, 3, 0]) == 1.0
    assert np.isnan(kendall_tau([1, 1], [1, 2]))
    with pytest.raises(CourseError, match="two"):
        kendall_tau([1], [1])
