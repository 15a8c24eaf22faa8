"""The protocol: what is masked, what competes, how ties fall, who is counted, and what bad input says."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from utils.data import Split
from utils.errors import CourseError
from utils.evaluation import (
    by_group,
    evaluate,
    evaluate_cold,
    evaluate_lists,
    profile_groups,
    recommend,
    top_items,
)
from utils.models import make_model
from utils.training import train


def make_split(n_users, n_items, train, valid=(), test=()):
    parts = {
        name: np.array(list(rows), dtype=np.int64).reshape(-1, 2)
        for name, rows in (("train", train), ("valid", valid), ("test", test))
    }
    cold = np.setdiff1d(np.arange(n_items), parts["train"][:, 1])
    return SimpleNamespace(n_users=n_users, n_items=n_items, cold_items=cold, **parts)


@pytest.fixture
def split():
    # 3 users, 6 items; items 4 and 5 are cold; user 2 has no test item
    return make_split(3, 6, [(0, 0), (1, 1), (1, 2), (2, 3)], [(0, 1)], [(0, 4), (0, 2), (1, 5)])


def same(user_ids):
    return torch.tensor([6.0, 5, 4, 3, 2, 1]).expand(len(user_ids), -1)


def test_only_train_items_are_masked_unless_asked(split):
    assert evaluate(same, split, top_k=3).lists.tolist() == [[1, 2, 3], [0, 3, 4]]
    assert evaluate(same, split, top_k=3, mask=("train", "valid")).lists.tolist() == [[2, 3, 4], [0, 3, 4]]
    assert evaluate(same, split, top_k=3, mask=()).lists.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_masked_items_never_appear_even_when_nothing_else_is_left(split):
    report = evaluate(same, split, top_k=6)
    assert report.lists.tolist() == [[1, 2, 3, 4, 5, -1], [0, 3, 4, 5, -1, -1]]
    assert report["recall@6"] == 1.0
    assert report.per_user["precision@6"].tolist() == pytest.approx([2 / 6, 1 / 6])  # an empty slot is a miss
    assert report.per_user["arp@6"].tolist() == pytest.approx([3 / 5, 2 / 4])  # but no item of the list


def test_equal_scores_go_to_the_smaller_item_id():
    n_items = 500
    split = make_split(2, n_items, [(0, 0), (1, 3)], [], [(0, 7), (1, 7)])
    flat = evaluate(lambda ids: torch.zeros(len(ids), n_items), split, top_k=5)
    assert flat.lists.tolist() == [[1, 2, 3, 4, 5], [0, 1, 2, 4, 5]]
    scores = torch.zeros(2, n_items)
    scores[:, [400, 20]] = 1.0
    scores[:, 499] = 2.0
    assert evaluate(scores, split, top_k=5).lists.tolist() == [[499, 20, 400, 1, 2], [499, 20, 400, 0, 1]]


SIZES = [(n_items, k) for n_items in (1, 2, 21, 22, 100, 1001) for k in (1, 3, 20, 100) if k <= n_items]


@pytest.mark.parametrize(("n_items", "top_k"), SIZES)
def test_lists_equal_a_full_stable_sort(n_items, top_k):
    generator = torch.Generator().manual_seed(n_items * 7 + top_k)
    scores = torch.randint(0, 3 * n_items, (50, n_items), generator=generator).float()  # some ties
    split = make_split(50, n_items, [], [], [(u, 0) for u in range(50)])
    expected = torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :top_k]
    assert torch.equal(torch.from_numpy(evaluate(scores, split, top_k=top_k, block=16).lists), expected)


def test_blocks_change_nothing(split):
    scores = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    one, many = (evaluate(scores, split, top_k=3, block=size) for size in (1, 256))
    pd.testing.assert_frame_equal(one.per_user, many.per_user)
    assert one.overall == many.overall


def test_users_without_relevant_items_are_skipped_and_counted(split):
    report = evaluate(same, split, top_k=2)
    assert report.user_ids.tolist() == [0, 1] and report.n_skipped == 1
    asked = evaluate(same, split, top_k=2, users=[2, 0])
    assert asked.user_ids.tolist() == [0, 2] and asked.n_skipped == 1
    assert np.isnan(asked.per_user.loc[2, "recall@2"]) and asked.per_user.loc[2, "arp@2"] >= 0
    assert asked["recall@2"] == asked.per_user.loc[0, "recall@2"]


def test_candidates_alone_compete_and_count(split):
    report = evaluate(same, split, top_k=1, candidates=[4, 5])
    assert report.lists.tolist() == [[4], [4]]
    assert report.per_user["recall@1"].tolist() == [1.0, 0.0]  # item 2 of user 0 is no candidate: not a miss
    assert report.n_competing == 2 and report["coverage@1"] == 0.5
    mask = np.array([False] * 4 + [True] * 2)
    assert evaluate(same, split, top_k=1, candidates=mask).lists.tolist() == [[4], [4]]


def test_cold_items_are_judged_twice(split):
    cold = evaluate_cold(same, split, top_k=1)
    assert cold.full["recall@1"] == 0.0  # warm items come first
    assert cold.among["recall@1"] == 0.5
    assert cold.full.per_user["ndcg@1"].tolist() == [0.0, 0.0]
    frame = cold.frame()
    assert frame.loc["full ranking", "competing items"] == 6 and frame.loc["among cold items", "competing items"] == 2
    assert "among cold items" in repr(cold) and "<table" in cold._repr_html_()


BY_SLOT = ("precision", "recall", "ndcg", "efd", "epc")


def five_cold_items():
    # items 3 to 7 are cold; user 0 likes two of them, user 1 one, and user 1 has taken another one for validation
    return make_split(2, 8, [(0, 0), (0, 1), (1, 2)], [(1, 4)], [(0, 3), (0, 6), (1, 7)])


@pytest.mark.parametrize("mask", [("train",), ("train", "valid")])
def test_cold_items_that_all_score_the_same_get_the_mean_over_all_their_orders(mask):
    split = five_cold_items()
    found = evaluate_cold(np.zeros((2, 8)), split, top_k=(1, 2, 4), metrics=BY_SLOT, mask=mask).among
    means = []
    for order in permutations(range(1, 6)):  # each order of the five cold items, by scores that differ
        scores = np.tile(np.array([0, 0, 0, *order], dtype=float), (2, 1))
        means.append(evaluate_cold(scores, split, top_k=(1, 2, 4), metrics=BY_SLOT, mask=mask).among.per_user)
    expected = sum(frame.to_numpy() for frame in means) / len(means)
    assert found.per_user.to_numpy() == pytest.approx(expected, abs=1e-12)
    assert found.per_user["recall@2"].iloc[0] == pytest.approx(2 / 5)


def test_item_ids_mean_nothing_where_cold_items_score_the_same():
    first, last = (make_split(1, 6, [(0, 0), (0, 1)], [], [(0, item)]) for item in (2, 5))
    for split in (first, last):  # by item id the one would be a hit, the other a miss
        assert evaluate_cold(make_model("mostpop", split), split, top_k=1).among["recall@1"] == pytest.approx(1 / 4)


def test_users_whose_scores_differ_are_judged_by_their_list():
    split = five_cold_items()
    scores = np.zeros((2, 8))
    scores[1, 7] = 1e-6  # user 1 says something, user 0 says nothing
    cold = evaluate_cold(scores, split, top_k=2, metrics=(*BY_SLOT, "hr")).among
    plain = evaluate(scores, split, top_k=2, metrics=(*BY_SLOT, "hr"), candidates=split.cold_items)
    assert cold.per_user.loc[1].equals(plain.per_user.loc[1]) and cold.per_user.loc[1, "recall@2"] == 1.0
    assert cold.per_user.loc[0, "recall@2"] == pytest.approx(2 / 5) and plain.per_user.loc[0, "recall@2"] == 0.5
    assert cold.per_user.loc[0, "hr@2"] == plain.per_user.loc[0, "hr@2"]  # no weighted sum over the slots: as listed
    assert np.array_equal(cold.lists, plain.lists)
    rising = -np.arange(8.0) * np.ones((2, 1))  # the order of the ids, but meant
    cold = evaluate_cold(rising, split, top_k=2, metrics=BY_SLOT).among
    assert cold.per_user.equals(evaluate(rising, split, top_k=2, metrics=BY_SLOT, candidates=split.cold_items).per_user)


def test_many_cutoffs_in_one_go_equal_one_at_a_time():
    generator = np.random.default_rng(0)
    rows = np.argwhere(generator.random((20, 40)) < 0.2)
    split = make_split(20, 40, rows[::2], [], rows[1::2])
    scores = generator.random((20, 40))
    together = evaluate(scores, split, top_k=(10, 3)).mean()
    for k in (3, 10):
        alone = evaluate(scores, split, top_k=k).mean()
        pd.testing.assert_series_equal(together[alone.index], alone)


def test_top_items_and_recommend_give_the_same_list(split):
    assert top_items(same, split, 1, top_k=3).tolist() == [0, 3, 4]
    assert recommend(same, split, [1, 0], 3).tolist() == [[0, 3, 4], [1, 2, 3]]  # rows in the order asked for
    assert top_items(same, split, 1, top_k=6).tolist() == [0, 3, 4, 5]


def test_model_is_scored_in_eval_mode_without_gradients_and_left_as_it_was(split):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(torch.rand(3, 6, generator=torch.Generator().manual_seed(0)))
            self.modes = set()

        def score(self, user_ids):
            self.modes.add((self.training, torch.is_grad_enabled()))
            return self.table[torch.as_tensor(user_ids)]

    model = Model().train()
    before = model.table.detach().clone()
    evaluate(model, split, top_k=2)
    assert model.modes == {(False, False)} and model.training
    assert torch.equal(model.table, before)


def test_a_scorer_that_returns_its_own_table_keeps_it():
    split = make_split(2, 3, [(0, 0), (1, 1)], [], [(0, 1), (1, 2)])
    table = np.array([[1.0, 2, 3], [3, 2, 1]])
    evaluate(table, split, top_k=1)
    evaluate(lambda ids: table, split, top_k=1)
    assert table.tolist() == [[1, 2, 3], [3, 2, 1]]


def test_an_item_scored_minus_infinity_is_never_recommended(split):
    scores = torch.full((3, 6), -torch.inf)
    scores[:, 3] = torch.inf
    assert evaluate(scores, split, top_k=2).lists.tolist() == [[3, -1], [3, -1]]


def test_repeated_pairs_count_once():
    split = make_split(1, 4, [(0, 0), (0, 0)], [], [(0, 1), (0, 1), (0, 2)])
    assert evaluate(np.array([[4.0, 3, 1, 2]]), split, top_k=1)["recall@1"] == 0.5


def test_catalogue_of_one_item():
    split = make_split(1, 1, [], [], [(0, 0)])
    report = evaluate(np.zeros((1, 1)), split, top_k=1)
    assert report["recall@1"] == report["ndcg@1"] == report["gini@1"] == report["coverage@1"] == 1.0


def test_novelty_is_undefined_without_train_interactions():
    report = evaluate(np.zeros((1, 3)), make_split(1, 3, [], [], [(0, 0)]), top_k=2)
    assert np.isnan(report["efd@2"]) and report["recall@2"] == 1.0


def test_whole_numbers_as_scores(split):
    assert evaluate(np.arange(18).reshape(3, 6), split, top_k=1).lists.tolist() == [[5], [5]]


def test_by_group_and_profile_groups(split):
    report = evaluate(same, split, top_k=3)
    table = by_group(report, np.array(["a", "b", "b"]), ["recall@3"])
    assert table.loc["a", "users"] == 1 and table.loc["a", "recall@3"] == report.per_user.loc[0, "recall@3"]
    groups = profile_groups(split, 2)
    assert groups.tolist() == ["1 item", "2 items", "1 item"]
    assert by_group(report, groups)["users"].tolist() == [1, 1]
    with pytest.raises(CourseError, match="user_id"):
        by_group(report, ["a"])


def test_report_prints_itself(split):
    report = evaluate(same, split, top_k=(1, 3))
    assert "train items masked" in repr(report) and "1 users without relevant items" in repr(report)
    assert "@1" in report.frame().columns and report.frame().loc["recall", "@3"] == report["recall@3"]
    assert "<table" in report._repr_html_()
    assert list(report.mean().index[:2]) == ["precision@1", "recall@1"]
    with pytest.raises(CourseError, match="recall@3"):
        report["recal@3"]


def test_the_same_call_gives_the_same_numbers(split):
    scores = torch.rand(3, 6, generator=torch.Generator().manual_seed(1))
    assert evaluate(scores, split, top_k=2).mean().equals(evaluate(scores, split, top_k=2).mean())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top_k": 7}, "top_k=7 .* 6 items"),
        ({"top_k": 0}, "at least 1"),
        ({"top_k": 3, "candidates": [4, 5]}, "candidates are 2 items"),
        ({"metrics": ["recal"]}, "recall"),
        ({"metrics": ["ild_visual"]}, "features="),
        ({"part": "tset"}, "test"),
        ({"mask": ("train", "test")}, "both judged and masked"),
        ({"mask": ("trian",)}, "train"),
        ({"candidates": []}, "empty"),
        ({"candidates": [6]}, "0 to 5"),
        ({"users": [3]}, "0 to 2"),
        ({"users": []}, "empty"),
    ],
)
def test_bad_settings_say_what_to_do(split, change, message):
    with pytest.raises(CourseError, match=message):
        evaluate(same, split, **{"top_k": 2, **change})


def test_bad_scores_say_what_is_wrong(split):
    broken = torch.ones(3, 6)
    broken[1, 2] = torch.nan
    with pytest.raises(CourseError, match="user 1 hold NaN"):
        evaluate(broken, split, top_k=2)
    with pytest.raises(CourseError, match="shape"):
        evaluate(lambda ids: torch.ones(len(ids), 5), split, top_k=2)
    with pytest.raises(CourseError, match="score"):
        evaluate("bpr", split, top_k=2)


def test_a_part_without_users_says_so(split):
    split.test = np.zeros((0, 2), dtype=np.int64)
    with pytest.raises(CourseError, match="No user has a test item"):
        evaluate(same, split, top_k=2)
    split.cold_items = np.zeros(0, dtype=np.int64)
    with pytest.raises(CourseError, match="cold"):
        evaluate_cold(same, split, top_k=2)


def test_features_of_another_catalogue_are_refused(split):
    content = {"visual": SimpleNamespace(matrix=np.ones((5, 2)), mask=np.ones(5, dtype=bool))}
    with pytest.raises(CourseError, match="5 rows for 6 items"):
        evaluate(same, split, top_k=2, metrics=["ild_visual"], features=content)


def test_given_lists_are_checked(split):
    assert evaluate_lists([[2, 4], [0, -1]], [0, 1], split)["recall@2"] == 0.5
    for lists, message in [
        ([[2, 2], [0, 1]], "twice"),
        ([[2, 9], [0, 1]], "0 to 5"),
        ([[-1, 2], [0, 1]], "end of the list"),
        ([[1, 2]], "one row per user"),
    ]:
        with pytest.raises(CourseError, match=message):
            evaluate_lists(lists, [0, 1], split)


# ---- a model and the split that it learned from ----


def two_splits():
    """One log in two splits, and a model trained on the first."""
    rng = np.random.default_rng(0)
    pairs = [(user, int(item)) for user in range(30) for item in rng.choice(40, 10, replace=False)]
    splits = []
    for seed in (0, 1):
        part = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], [200, 50, 50]))
        parts = (np.array([pair for pair, at in zip(pairs, part) if at == n]) for n in range(3))
        splits.append(Split(30, 40, *parts, "by hand", np.zeros(0, dtype=np.int64)))
    return *splits, make_model("itemknn", splits[0])


def test_a_model_of_another_split_is_refused_and_the_sentence_counts_the_answers():
    own, other, model = two_splits()
    learned = {tuple(pair) for pair in own.train}
    known = sum(tuple(pair) in learned for pair in [*other.valid, *other.test])
    words = f"itemknn was trained on another split, and knows {known} of the 100 held-out interactions of this one"
    calls = [
        lambda **k: evaluate(model, other, top_k=5, **k),
        lambda **k: evaluate_cold(model, replace(other, cold_items=np.array([0])), top_k=1, **k),
        lambda **k: recommend(model, other, [0], 5, **k),
        lambda **k: top_items(model, other, 0, 5, **k),
    ]
    for call in calls:
        with pytest.raises(CourseError, match=words + ".*other_split=True says that you mean it"):
            call()
        call(other_split=True)
    free = evaluate(lambda ids: model.score(ids), other, top_k=5)  # a function does not say where it comes from
    meant = evaluate(model, other, top_k=5, other_split=True)
    assert meant.mean().equals(free.mean()) and np.array_equal(meant.lists, free.lists)
    assert meant["recall@5"] > 1.5 * evaluate(model, own, top_k=5)["recall@5"]  # why it is refused


def test_the_same_train_part_in_another_order_with_other_tests_is_the_same_split():
    own, other, model = two_splits()
    again = replace(own, train=own.train[::-1].copy(), valid=own.test, test=own.valid)
    assert recommend(model, again, [3], 5).tolist() == recommend(model, own, [3], 5).tolist()
    one_less = replace(own, train=own.train[1:])
    for changed in (one_less, replace(own, n_items=41), replace(own, n_users=31)):
        with pytest.raises(CourseError, match="another split, not on this one; judge it on its own"):
            recommend(model, changed, [3], 5)


def test_training_may_watch_another_split():
    """The caller of ``train`` chose it: notebook 08 trains a leaky model on the honest pairs, and watches the honest valid part."""
    own, other, _ = two_splits()
    history = train(make_model("bpr", other, dim=4), own, n_epochs=1, progress=False)
    assert 0 <= history.best_value <= 1
