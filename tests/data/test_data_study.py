"""Twins, shuffled times, rounds of the k-core, and the study of splits."""

import numpy as np
import pandas as pd
import pytest

from utils.data import assemble, check_split, iterative_k_core, split_dataset
from utils.data.twins import k_core_rounds, random_twin, shuffle_times
from utils.errors import CourseError
from utils.plots.data import core_rounds, flattery_dots, popularity_log_log, split_timeline, spread_users
from utils.studies.split_effect import flattery, popularity_points, split_effect


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{i}") for u in range(60) for i in rng.choice(40, rng.integers(3, 15), replace=False)]
    log = pd.DataFrame(rows, columns=["user", "item"])
    log["timestamp"] = rng.integers(0, 10**7, len(log))
    columns = {name: "" for name in ("title", "description", "category", "image", "audio")}
    items = pd.DataFrame({"item": [f"i{i}" for i in range(40)], **columns})
    return assemble("small", tmp_path_factory.mktemp("small"), items, log)


@pytest.mark.parametrize("strategy", ["leave_one_out", "temporal_user", "temporal_global"])
def test_a_twin_keeps_every_users_numbers_and_all_pairs(dataset, strategy):
    split = split_dataset(dataset, strategy)
    twin = random_twin(split, seed=1)
    check_split(twin)
    for part in ("train", "valid", "test"):
        numbers = [np.bincount(s.part(part)[:, 0], minlength=s.n_users) for s in (split, twin)]
        assert (numbers[0] == numbers[1]).all()
    both = [{tuple(row) for part in ("train", "valid", "test") for row in s.part(part)} for s in (split, twin)]
    assert both[0] == both[1]
    assert not np.array_equal(split.test, twin.test)
    assert np.array_equal(twin.test, random_twin(split, seed=1).test)
    assert not np.isin(twin.cold_items, twin.train[:, 1]).any()


def test_shuffled_times_are_the_same_times_elsewhere(dataset):
    other = shuffle_times(dataset, seed=3)
    assert sorted(other.interactions["timestamp"]) == sorted(dataset.interactions["timestamp"])
    assert not other.interactions["timestamp"].equals(dataset.interactions["timestamp"])
    timeless = assemble("x", dataset.path, dataset.items, dataset.interactions.drop(columns="timestamp"))
    with pytest.raises(CourseError, match="no time to shuffle"):
        shuffle_times(timeless)


def test_rounds_end_where_the_core_ends(dataset):
    rounds = k_core_rounds(dataset, 7, 7)
    core = iterative_k_core(dataset, 7, 7)
    assert rounds.iloc[-1].tolist() == [core.n_users, core.n_items, core.n_interactions]
    assert rounds.iloc[0]["interactions"] == dataset.n_interactions
    assert rounds["interactions"].is_monotonic_decreasing
    assert k_core_rounds(dataset, 50, 50).iloc[-1].tolist() == [0, 0, 0]


def test_the_study_has_a_row_for_every_cell_and_figures(dataset):
    rows = split_effect(dataset, {}, models=["mostpop", "itemknn"], seeds=[0, 1], top_k=5)
    assert len(rows) == 2 * 2 * 3 * 2 * 2
    sizes = rows.groupby(["seed", "log", "strategy"])["users"].nunique()
    assert (sizes == 1).all()  # time and chance judge as many users
    table = flattery(rows)
    assert np.allclose(table["difference"], table["chance"] - table["time"])
    assert flattery_dots(table, top_k=5).axes
    assert dataset.modalities == ()


def test_figures_of_the_data(dataset):
    splits = {name: split_dataset(dataset, name) for name in ("random", "temporal_global")}
    users = spread_users(dataset, 4)
    assert len(np.unique(users)) == len(users) <= 4
    assert len(split_timeline(dataset, splits, users).axes) == 2
    with pytest.raises(CourseError, match="at least one split"):
        split_timeline(dataset, {}, users)
    points = popularity_points(dataset)
    assert points["rank"][-1] == 1 and points["count"] == sorted(points["count"], reverse=True)
    counts = np.sort(np.bincount(dataset.interactions["item_id"]))[::-1]
    held = np.cumsum(counts) / counts.sum()  # by the 1, 2, ... most popular items
    assert points["head"] == pytest.approx((np.argmax(held >= 0.8) + 1) / np.count_nonzero(counts), abs=1e-4)
    assert popularity_log_log({"ours": points, "other": points}, ours="ours").axes
    assert len(core_rounds({"5-core": k_core_rounds(dataset)}).axes) == 3
