"""utils.pretraining.counting and next_item: counted tables against plain loops, lists against sorting by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretraining_helpers import make_sequences, walks

from utils.errors import CourseError
from utils.models.itemknn import ItemKNN
from utils.pretraining.counting import PairCounts, Popularity, neighbours, opponents, transitions
from utils.pretraining.next_item import evaluate_next, hit_rate_among, next_items


class Given:
    """A model with fixed scores, whatever the history."""

    length = 5

    def __init__(self, scores):
        self.scores, self.n_items = torch.tensor(scores, dtype=torch.float32), len(scores)

    def score_histories(self, histories):
        return self.scores.expand(len(histories), -1)


def test_transitions_against_a_plain_loop():
    sequences = walks(40, 12, seed=3, noise=0.4)
    counted, taken = np.zeros((12, 12)), np.zeros(12)
    for user in range(40):
        items = sequences.sequence(user)
        for place, i in enumerate(items):
            taken[i] += 1
            for step in (1, 2):
                if place + step < len(items) and items[place + step] != i:
                    counted[i, items[place + step]] += 0.5 ** (step - 1)
    expected = counted / (np.sqrt(np.outer(taken, taken)) + 4)
    found = transitions(sequences, within=2, decay=0.5, shrink=4).toarray()
    assert np.allclose(found, expected, atol=1e-6) and not np.allclose(found, found.T)


def test_transitions_do_not_see_what_is_held_out_nor_join_two_users():
    found = transitions(make_sequences([[0, 1, 2, 3], [4, 5, 6, 7]]), within=3, shrink=0).toarray()
    assert [tuple(pair) for pair in np.argwhere(found)] == [(0, 1), (4, 5)]


@pytest.mark.parametrize("decay", [0.0, 0.6, 1.0])
def test_scores_of_a_history_against_a_plain_loop(decay):
    table = np.random.default_rng(0).random((6, 6))
    histories = np.array([[-1, 2, 5, 2], [0, 1, 3, 4], [-1, -1, -1, 3]])
    expected = np.zeros((3, 6))
    for row, history in enumerate(histories):
        for age, item in enumerate(history[::-1]):
            if item >= 0:
                expected[row] += decay**age * table[item]
    assert np.allclose(PairCounts(table, decay).score_histories(histories), expected, atol=1e-6)


def test_without_recency_it_is_the_courses_itemknn():
    sequences = walks(60, 20, noise=0.5)
    model = PairCounts(neighbours(sequences, k=5, shrink=2.0), decay=1.0, length=20)
    once = [u for u in range(60) if len(set(sequences.sequence(u))) == len(sequences.sequence(u))]
    plain = ItemKNN(sequences.split, k=5, shrink=2.0).score(once)
    assert len(once) > 20 and torch.allclose(model.score_histories(sequences.padded(once, 20)), plain, atol=1e-5)


def test_a_decay_outside_zero_to_one_is_refused():
    with pytest.raises(CourseError, match="decay=1.5 must lie between 0"):
        PairCounts(np.eye(3), 1.5)


def test_popularity_counts_training_only():
    model = Popularity(make_sequences([[0, 1, 2, 2], [1, 1, 2, 3]]))
    assert model.score_histories(np.array([[0], [1]])).tolist() == [[1, 3, 0, 0]] * 2


def test_directed_transitions_win_where_the_order_says_all():
    sequences = walks(300, 40)
    models = opponents(sequences)
    found = {n: evaluate_next(m, sequences, top_k=1, masked=False).mean()["hr@1"] for n, m in models.items()}
    assert list(found) == ["Popularity", "Last item's neighbours", "ItemKNN", "ItemKNN, recency",
                           "ItemKNN, directed transitions"]  # fmt: skip
    assert max(found, key=found.get) == "ItemKNN, directed transitions"
    assert found["ItemKNN, directed transitions"] > 0.6 > found["ItemKNN, recency"] > found["Popularity"]


def test_a_history_typed_by_hand_gets_a_list():
    sequences = walks(300, 40)
    model = opponents(sequences)["ItemKNN, directed transitions"]
    assert next_items(model, [8, 9, 10], top_k=1).tolist() == [11]
    assert next_items(Given([1, 5, 3, 5, 0]), [3], 3).tolist() == [1, 2, 0]  # a tie goes to the smaller id
    assert next_items(Given([1, 5, 3, 5, 0]), [3], 3, masked=False).tolist() == [1, 3, 2]
    assert next_items(Given([1, 5, 3]), [0, 1], 3).tolist() == [2]
    long = [3] * 100 + [8, 9, 10]
    assert next_items(model, long, top_k=1).tolist() == [11]


@pytest.mark.parametrize("history, said", [
    ([], "The history is empty"), ([0, 5], "names item 5; item ids run from 0 to 4"), ([-1, 2], "names item -1"),
])  # fmt: skip
def test_a_history_that_cannot_be_asked_is_one_sentence(history, said):
    with pytest.raises(CourseError, match=said):
        next_items(Given([1, 2, 3, 4, 5]), history)


def test_lists_are_judged_by_full_ranking_with_and_without_the_history():
    sequences = make_sequences([[0, 1, 2, 3], [2, 0, 3, 1]])
    model = Given([9, 8, 7, 6])
    found = evaluate_next(model, sequences, "test", (1, 2))
    assert found.lists.tolist() == [[3, -1], [1, -1]] and found.mean()["hr@1"] == 1
    plain = evaluate_next(model, sequences, "test", (1, 2), masked=False)
    assert plain.lists.tolist() == [[0, 1], [0, 1]] and plain.per_user["hr@2"].tolist() == [0, 1]
    assert plain.per_user["ndcg@2"].tolist() == pytest.approx([0, 1 / np.log2(3)])
    valid = evaluate_next(model, sequences, "valid", 2)
    assert valid.lists.tolist() == [[2, 3], [1, 3]] and valid.per_user["hr@2"].tolist() == [1, 1]


def test_the_history_before_the_test_item_holds_the_validation_item():
    seen = []

    class Spy(Given):
        def score_histories(self, histories):
            seen.append(histories.tolist())
            return super().score_histories(histories)

    sequences = make_sequences([[0, 1, 2, 3]])
    for part in ("test", "valid"):
        evaluate_next(Spy([0, 0, 0, 0]), sequences, part, 1)
    assert seen == [[[-1, -1, 0, 1, 2]], [[-1, -1, -1, 0, 1]]]


def test_sampled_negatives_flatter_and_are_drawn_from_what_was_not_taken():
    sequences = walks(300, 60, noise=0.5)
    model = opponents(sequences)["Popularity"]
    full = evaluate_next(model, sequences, top_k=5).mean()["hr@5"]
    assert hit_rate_among(model, sequences, 20, 5) > full + 0.1
    assert hit_rate_among(model, sequences, 20, 5) == hit_rate_among(model, sequences, 20, 5)
    three = make_sequences([[0, 1, 2, 3]], n_items=6)
    assert hit_rate_among(Given([9, 9, 9, 5, 4, 4]), three, 2, 1) == 1  # only 4 and 5 can be drawn
    assert hit_rate_among(Given([0, 0, 0, 5, 6, 4]), three, 2, 1) == 0
    assert hit_rate_among(Given([0, 0, 0, 5, 6, 4]), three, 2, 2) == 1
    with pytest.raises(CourseError, match="A user took 4 of 6 items, so that 3 others are not left"):
        hit_rate_among(Given([1] * 6), three, 3)
