"""Splits against brute force: shares, order in time, disjointness, determinism, cold items; and the leakage checks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from data_folders import dataset_of, make_log, real

from utils.data import STRATEGIES, check_split, leakage_report, load_dataset, split_dataset
from utils.errors import CourseError

PER_USER = ("random", "leave_one_out", "temporal_user")
ALL = (*PER_USER, "temporal_global", "cold_items")


def pairs(rows):
    return {(int(u), int(i)) for u, i in rows}


def of_users(rows, n_users):
    return np.bincount(rows[:, 0], minlength=n_users)


def rows_of(*rows):
    """Make a dataset of (user, item, timestamp) rows."""
    table = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    return dataset_of(table, sorted(set(table["item"])))


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("seed", [0, 7])
def test_parts_are_disjoint_whole_and_in_range(strategy, seed):
    dataset = make_log(seed=seed)
    split = split_dataset(dataset, strategy, seed=seed)
    check_split(split)
    everything = pairs(dataset.interactions[["user_id", "item_id"]].to_numpy())
    parts = [pairs(split.part(name)) for name in ("train", "valid", "test")]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert set().union(*parts) <= everything
    if strategy in PER_USER:
        assert set().union(*parts) == everything
        assert (of_users(split.train, split.n_users) >= 1).all()
    assert all(parts)
    warm = {i for _, i in parts[0]}
    assert set(split.cold_items.tolist()) == set(range(dataset.n_items)) - warm
    assert split.train.dtype == split.cold_items.dtype == np.int64


@pytest.mark.parametrize("strategy", ALL)
def test_same_seed_same_split_whatever_the_order_of_the_file(strategy):
    dataset = make_log()
    first, again = split_dataset(dataset, strategy, seed=3), split_dataset(dataset, strategy, seed=3)
    order = np.random.default_rng(0).permutation(dataset.n_interactions)
    shuffled = split_dataset(dataset.select(interactions=order), strategy, seed=3)
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(first.part(name), again.part(name))
        np.testing.assert_array_equal(first.part(name), shuffled.part(name))
    if strategy in ("random", "cold_items"):
        assert pairs(split_dataset(dataset, strategy, seed=4).test) != pairs(first.test)


@pytest.mark.parametrize("strategy", ["random", "temporal_user"])
@pytest.mark.parametrize(("valid", "test"), [(0.1, 0.1), (0.2, 0.3), (0, 0.5), (0.25, 0)])
def test_shares_of_each_user(strategy, valid, test):
    dataset = make_log()
    split = split_dataset(dataset, strategy, valid=valid, test=test)
    counts = np.bincount(dataset.interactions["user_id"])
    for user_id, n in enumerate(counts):
        n_test = min(int(n * test + 0.5), n - 1)
        n_valid = min(int(n * valid + 0.5), n - 1 - n_test)
        got = [int((split.part(p)[:, 0] == user_id).sum()) for p in ("train", "valid", "test")]
        assert got == [n - n_valid - n_test, n_valid, n_test]


@pytest.mark.parametrize("strategy", ["temporal_user", "leave_one_out"])
def test_each_user_in_order_of_time(strategy):
    dataset = make_log()
    split = split_dataset(dataset, strategy)
    time_of = {(u, i): t for u, i, t in dataset.interactions[["user_id", "item_id", "timestamp"]].to_numpy()}
    for user_id in range(dataset.n_users):
        train, valid, test = (
            [time_of[int(u), int(i)] for u, i in split.part(p) if u == user_id] for p in ("train", "valid", "test")
        )
        assert max(train) <= min(valid + test, default=np.inf)
        assert max(valid, default=0) <= min(test, default=np.inf)
        if strategy == "leave_one_out":
            n = len(train) + len(valid) + len(test)
            assert (len(valid), len(test)) == ((1, 1) if n > 2 else (0, 1) if n == 2 else (0, 0))


def test_global_time_has_two_cuts_for_everybody():
    dataset = make_log()
    split = split_dataset(dataset, "temporal_global", new_users="keep")
    time_of = {(u, i): t for u, i, t in dataset.interactions[["user_id", "item_id", "timestamp"]].to_numpy()}
    train, valid, test = ([time_of[int(u), int(i)] for u, i in split.part(p)] for p in ("train", "valid", "test"))
    assert max(train) < min(valid) <= max(valid) < min(test)  # one second never lies in two parts
    assert len(train) + len(valid) + len(test) == dataset.n_interactions
    assert abs(len(test) / dataset.n_interactions - 0.1) < 0.02


def test_global_time_leaves_new_users_out_and_says_so():
    dataset = rows_of(*[("old", f"i{k}", k) for k in range(8)], ("old", "i8", 8), ("new", "i1", 9))
    split = split_dataset(dataset, "temporal_global", valid=0.1, test=0.1)
    assert len(split.test) == 0 and "1 held-out interactions of 1 users" in split.notes[0]
    assert len(split_dataset(dataset, "temporal_global", new_users="keep").test) == 1


def test_global_time_of_one_moment_is_refused():
    with pytest.raises(CourseError, match="leaves train empty"):
        split_dataset(rows_of(*[("u", f"i{k}", 5) for k in range(9)]), "temporal_global")


@pytest.mark.parametrize("strategy", ALL)
def test_a_user_with_one_interaction(strategy):
    log = make_log().interactions[["user", "item", "timestamp"]]
    lonely = pd.DataFrame({"user": ["lonely"], "item": ["i000"], "timestamp": [1_000_100]})
    dataset = dataset_of(pd.concat([log, lonely], ignore_index=True), [f"i{k:03d}" for k in range(40)])
    split = split_dataset(dataset, strategy)
    user_id = dataset.users.tolist().index("lonely")
    held = int(sum((split.part(p)[:, 0] == user_id).sum() for p in ("valid", "test")))
    assert held == 0  # per user: it stays in training; globally: it trains, or is left out with a note
    if strategy in PER_USER:
        assert (split.train[:, 0] == user_id).sum() == 1


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_cold_items_never_leak_into_training(share):
    dataset = make_log()
    split = split_dataset(dataset, "cold_items", seed=1, share=share, new_users="keep")
    train, valid, test = (set(split.part(p)[:, 1].tolist()) for p in ("train", "valid", "test"))
    assert not (train & valid or train & test or valid & test)
    seen = dataset.interactions["item_id"].nunique()
    assert len(valid) + len(test) == int(seen * share + 0.5)
    assert valid | test <= set(split.cold_items.tolist())
    assert sum(map(len, (split.train, split.valid, split.test))) == dataset.n_interactions
    assert set(split_dataset(dataset, "cold_items", valid=0).test[:, 1]) <= set(split.cold_items) | train  # all test


def test_cold_items_with_warm_rows_held_out():
    dataset = make_log()
    split = split_dataset(dataset, "cold_items", warm=True)
    check_split(split)
    cold = np.isin(split.test[:, 1], split.cold_items)
    assert cold.any() and (~cold).any() and (of_users(split.train, split.n_users) > 0).sum() >= 50


@pytest.mark.parametrize("share", [0, 1, 0.001, -1])
def test_cold_share_that_makes_no_sense(share):
    with pytest.raises(CourseError, match="cold items"):
        split_dataset(make_log(), "cold_items", share=share)


def test_given():
    table = pd.DataFrame({"user": list("aabb"), "item": list("xyxy"), "split": ["train", "test", "train", "valid"]})
    dataset = dataset_of(table, ["x", "y"])
    split = split_dataset(dataset, "given")
    assert (split.train.tolist(), split.valid.tolist(), split.test.tolist()) == ([[0, 0], [1, 0]], [[1, 1]], [[0, 1]])
    table.loc[4] = ["a", "x", "test"]
    split = split_dataset(dataset_of(table, ["x", "y"]), "given")  # what the file says; the check finds it
    with pytest.raises(CourseError, match="1 pairs of test also in train"):
        check_split(split)


def test_repeated_pairs_count_once_at_their_latest_time():
    dataset = rows_of(("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("u", "a", 9))
    split = split_dataset(dataset, "leave_one_out")
    assert split.test.tolist() == [[0, 0]] and "1 repeated" in split.notes[0]


def test_leave_one_out_without_time_is_random_and_says_so():
    split = split_dataset(make_log(timed=False), "leave_one_out")
    assert "at random" in split.notes[0]
    drawn = split_dataset(make_log(), "leave_one_out", by="random")
    assert pairs(drawn.test) != pairs(split_dataset(make_log(), "leave_one_out").test)


@pytest.mark.parametrize(
    ("strategy", "options", "words"),
    [
        ("randm", {}, "did you mean random"),
        ("random", {"share": 0.1}, "Unknown option of the split 'random'"),
        ("random", {"valid": 0.5, "test": 0.5}, "leave no training part"),
        ("random", {"test": -0.1}, "leave no training part"),
        ("temporal_user", {}, "'timestamp'"),
        ("temporal_global", {}, "'timestamp'"),
        ("leave_one_out", {"by": "time"}, "'timestamp'"),
        ("leave_one_out", {"by": "tme"}, "did you mean time"),
        ("cold_items", {"new_users": "x"}, "new_users"),
        ("given", {}, "'split'"),
    ],
)
def test_wrong_requests_name_the_remedy(strategy, options, words):
    with pytest.raises(CourseError, match=words):
        split_dataset(make_log(timed=False), strategy, **options)


def test_matrix_is_binary_and_prints():
    dataset = make_log()
    split = split_dataset(dataset)
    for part in ("train", "valid", "test"):
        matrix = split.matrix(part)
        assert matrix.shape == (dataset.n_users, dataset.n_items) and matrix.dtype == np.float32
        assert set(zip(*matrix.nonzero())) == {(u, i) for u, i in split.part(part)} and set(matrix.data) == {1}
    assert f"train {len(split.train):,}" in repr(split) and "cold" in repr(split)
    with pytest.raises(CourseError, match="part of a split"):
        split.matrix("tset")


def test_leakage_counts_against_brute_force():
    dataset = make_log()
    time_of = {(u, i): t for u, i, t in dataset.interactions[["user_id", "item_id", "timestamp"]].to_numpy()}
    for strategy in ALL:
        split = split_dataset(dataset, strategy)
        report = leakage_report(split, dataset).set_index("check")["count"]
        train = [(u, time_of[u, i]) for u, i in map(tuple, split.train)]
        newest = max(t for _, t in train)
        own = {u: max(t for v, t in train if v == u) for u in {u for u, _ in train}}
        test = [(u, time_of[u, i]) for u, i in map(tuple, split.test)]
        assert report["test pairs before anyone's last training"] == sum(t < newest for _, t in test)
        assert report["test pairs before the same user's last training"] == sum(t < own[u] for u, t in test)
        cold = set(split.test[:, 1]) - set(split.train[:, 1])
        assert report["items of test not in train"] == len(cold)
        if strategy in ("temporal_user", "leave_one_out"):
            assert report["test pairs before the same user's last training"] == 0
        if strategy == "temporal_global":
            assert report["test pairs before anyone's last training"] == 0


def test_leakage_finds_the_same_text_under_another_id():
    table = pd.DataFrame({"user": ["u", "u", "v"], "item": ["a", "b", "a"], "split": ["train", "test", "train"]})
    dataset = dataset_of(table, ["a", "b"], description=["one cat", "one cat"])
    split = split_dataset(dataset, "given")
    report = leakage_report(split, dataset)
    assert report.loc[report["kind"] == "content", "count"].tolist() == [1]


def test_check_split_refuses_what_cannot_be_trusted():
    dataset = make_log()
    good = split_dataset(dataset)
    check_split(good)
    leaky = replace(good, test=np.concatenate([good.test, good.train[:2]]))
    with pytest.raises(CourseError, match="2 pairs of test also in train"):
        check_split(leaky)
    with pytest.raises(CourseError, match="outside"):
        check_split(replace(good, test=np.array([[0, dataset.n_items]])))
    with pytest.raises(CourseError, match="repeated pairs in train"):
        check_split(replace(good, train=np.concatenate([good.train, good.train[:1]])))
    with pytest.raises(CourseError, match="no training interaction"):
        check_split(replace(good, train=good.train[:0]))
    with pytest.raises(CourseError, match="shape"):
        check_split(replace(good, test=good.test.ravel()))
    with pytest.raises(CourseError, match="split this dataset again"):
        leakage_report(good, dataset.select(items=np.arange(5)))


def test_every_strategy_is_tested():
    assert set(STRATEGIES) == {*ALL, "given"}


def test_a_real_graph_splits_fast():
    dataset = load_dataset(real("amazon-baby"))
    for strategy in ("random", "leave_one_out", "cold_items"):
        check_split(split_dataset(dataset, strategy))
