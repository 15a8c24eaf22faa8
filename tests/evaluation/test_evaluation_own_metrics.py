"""utils.evaluation.own_metrics: functions among the metrics, the same numbers as by hand, and sentences for what is wrong."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from training_helpers import planted

from utils.errors import CourseError
from utils.evaluation import evaluate, evaluate_cold, evaluate_lists, protocol, top_items
from utils.training import fit

SPLIT, FEATURES, _ = planted(60, 40, per_user=8)
COLD, _, _ = planted(60, 40, per_user=8, cold=6)
SCORES = np.random.default_rng(0).normal(size=(60, 40)).astype(np.float32)


def recall_again(items, targets):
    return len(set(items) & set(targets)) / len(targets)


def first_hit(items, targets):
    hits = np.isin(items, targets)
    return 1 / (1 + hits.argmax()) if hits.any() else 0.0


def spoiling(items, targets):
    items[:] = 0
    targets[:] = 0
    return 0


def of(user, part="test"):
    rows = SPLIT.part(part)
    return set(rows[rows[:, 0] == user, 1].tolist())


def test_a_plain_call_reaches_the_protocol_word_by_word(monkeypatch):
    calls = []
    for name in ("evaluate", "evaluate_lists", "evaluate_cold"):
        monkeypatch.setattr(protocol, name, lambda *a, n=name, **k: calls.append((n, a, k)))
    ids = np.array([1, 2])
    evaluate(SCORES, SPLIT, "valid", (5, 10), ("recall", "gini"), "train", ids, ids, targets=ids, block=7)
    evaluate_lists(ids, ids, SPLIT, top_k=2, metrics="hr")
    evaluate_cold(SCORES, SPLIT, mask=("train", "valid"), other_split=True)
    rest = {"targets": ids, "features": None, "other_split": False, "block": 7}
    assert calls == [
        ("evaluate", (SCORES, SPLIT, "valid", (5, 10), ("recall", "gini"), "train", ids, ids), rest),
        ("evaluate_lists", (ids, ids, SPLIT, "test", 2, ("hr",)), {"features": None}),
        ("evaluate_cold", (SCORES, SPLIT, "test", 20, ("recall", "ndcg"), ("train", "valid")), {"other_split": True}),
    ]


def test_functions_stand_beside_names_and_equal_the_formulas():
    report = evaluate(SCORES, SPLIT, top_k=(5, 10), metrics=["gini", recall_again, "recall", first_hit, "mrr"])
    plain = evaluate(SCORES, SPLIT, top_k=(5, 10), metrics=["gini", "recall", "mrr"])
    assert [name for name in report.names if name.endswith("@5")] == [
        "gini@5", "recall_again@5", "recall@5", "first_hit@5", "mrr@5"]  # fmt: skip
    for k in (5, 10):
        assert np.allclose(report.per_user[f"recall_again@{k}"], plain.per_user[f"recall@{k}"])
        assert np.allclose(report.per_user[f"first_hit@{k}"], plain.per_user[f"mrr@{k}"])
        assert report[f"gini@{k}"] == plain[f"gini@{k}"]
    assert plain.per_user.equals(report.per_user[plain.per_user.columns])
    assert report["recall_again@10"] == pytest.approx(plain["recall@10"]) and "recall_again" in report.frame().index
    alone = evaluate(SCORES, SPLIT, metrics=recall_again)
    assert list(alone.mean().index) == ["recall_again@20"] and alone.lists.shape == (len(alone.user_ids), 20)


def test_a_function_gets_the_list_and_the_targets_of_one_user():
    seen = []

    def note(items, targets):
        seen.append((items.tolist(), targets.tolist()))
        return 1

    users = [3, 5, 8]
    report = evaluate(SCORES, SPLIT, top_k=6, metrics=[note], users=users)
    asked = [user for user in users if of(user)]
    assert len(seen) == len(asked)
    for (items, targets), user in zip(seen, asked):
        allowed = [item for item in np.argsort(-SCORES[user], kind="stable") if item not in of(user, "train")]
        assert items == allowed[:6] and targets == sorted(of(user))
    assert report.n_skipped == len(users) - len(asked)


def test_targets_candidates_and_masks_hold_for_functions_too():
    some = list(range(0, 40, 2))
    for words in ({"candidates": some}, {"targets": some}, {"candidates": iter(some)}, {"mask": ("train", "valid")}):
        metrics = ["recall", recall_again]
        report = evaluate(SCORES, SPLIT, top_k=10, metrics=metrics, **words)
        assert np.allclose(report.per_user["recall@10"], report.per_user["recall_again@10"])
    both = evaluate(SCORES, SPLIT, top_k=5, metrics=metrics, candidates=some, targets=range(20), users=range(60))
    assert both.per_user["recall@5"].isna().sum() > 0
    assert np.allclose(both.per_user["recall@5"], both.per_user["recall_again@5"], equal_nan=True)


def test_lists_and_cold_items_take_functions():
    report = evaluate(SCORES, SPLIT, top_k=10, metrics=["recall"])
    lists = report.lists.copy()
    lists[:, 7:] = -1
    judged = evaluate_lists(lists, report.user_ids, SPLIT, metrics=["recall", recall_again])
    assert np.allclose(judged.per_user["recall@10"], judged.per_user["recall_again@10"])
    cold = evaluate_cold(SCORES, COLD, top_k=5, metrics=[recall_again, "recall"])
    for part in (cold.full, cold.among):
        assert np.allclose(part.per_user["recall@5"], part.per_user["recall_again@5"])


def test_what_a_function_does_to_its_arrays_changes_nothing():
    report = evaluate(SCORES, SPLIT, metrics=[spoiling, recall_again])
    assert np.array_equal(report.lists, evaluate(SCORES, SPLIT, metrics=[]).lists)
    assert report["recall_again@20"] == pytest.approx(evaluate(SCORES, SPLIT)["recall@20"])


def recall(items, targets):
    return 0


def a_list(items, targets):
    return [1, 2]


def failing(items, targets):
    return items[99]


def three(items, targets, more):
    return 0


def endless(items, targets):
    return float("inf")


@pytest.mark.parametrize(
    "metrics, words",
    [
        (["recall@10"], r"write metrics=\['recall'\], top_k=10"),
        (["recal"], "did you mean recall"),
        ([lambda items, targets: 0], "made with def"),
        ([functools.partial(first_hit)], "made with def"),
        ([3], "3 is no metric"),
        ([recall], "'recall' already"),
        ([first_hit, first_hit], "'first_hit' already"),
        ([a_list], r"returned \[1, 2\] for user 0; it must return one number"),
        ([endless], "returned inf"),
        ([failing], r"failed for user 0 \(20 items, \d+ targets\) with IndexError"),
        ([three], r"called as three\(items, targets\)"),
    ],
)
def test_what_is_no_metric_is_said_in_one_sentence(metrics, words):
    with pytest.raises(CourseError, match=words):
        evaluate(SCORES, SPLIT, metrics=metrics)


def test_nothing_is_a_value_too():
    def maybe(items, targets):
        return float("nan") if 0 in targets else 1.0

    report = evaluate(SCORES, SPLIT, metrics=[maybe])
    assert report["maybe@20"] == 1 and report.per_user["maybe@20"].isna().sum() == sum(
        0 in of(u) for u in report.user_ids
    )


@pytest.mark.parametrize(
    "model, split, words, sentence",
    [
        (fit("itemknn", SPLIT), SPLIT, {}, "fit returns two things"),
        ("bpr", SPLIT, {}, "'bpr' has no scores yet"),
        (SCORES, FEATURES, {}, r"A dict has no test part; call split_dataset"),
        (SCORES, SPLIT, {"users": ["u1"]}, "top_table"),
        (SCORES, SPLIT, {"users": "u1"}, "top_table"),
    ],
)
def test_what_stands_in_the_wrong_place_is_named(model, split, words, sentence):
    with pytest.raises(CourseError, match=sentence):
        evaluate(model, split, **words)


def test_a_name_in_place_of_a_position():
    with pytest.raises(CourseError, match=r"top_table\(model, dataset, 'u00104'\)"):
        top_items(torch.as_tensor(SCORES), SPLIT, np.str_("u00104"), 5)
