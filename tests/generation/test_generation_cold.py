"""utils.generation.cold: hidden items are in no training sequence, and any model can list some items only."""

from __future__ import annotations

import numpy as np
import pytest
from pretraining_helpers import make_sequences, walks

from utils.errors import CourseError
from utils.generation import Only, hide_items
from utils.pretraining import Popularity, evaluate_next, next_items


def test_new_items_are_asked_for_and_never_learned_from():
    sequences = walks(200, 40)
    found = hide_items(sequences, 0.2, seed=1)
    new = np.setdiff1d(found.split.cold_items, sequences.split.cold_items)
    assert 0 < len(new) <= 8
    for user in range(200):
        before, after = sequences.sequence(user, "end").tolist(), found.sequence(user, "end").tolist()
        expected = [item for item in before[:-1] if item not in found.split.cold_items] + before[-1:]
        assert after == expected or (len(expected) == 1 and after == [])
        assert not set(found.sequence(user, "test")) & set(new)
    for before, part in (("valid", "train"), ("end", "test")):
        rows = found.split.part(part)
        users = [u for u in range(200) if len(found.sequence(u, "end")) > 1 or part == "train"]
        own = [(u, i) for u in users for i in (found.sequence(u, "valid") if part == "train" else found.sequence(u, "end")[-1:])]  # fmt: skip
        assert sorted(map(tuple, rows.tolist())) == sorted((u, int(i)) for u, i in own), before
    assert np.isin(found.split.test[:, 1], new).any() and "8 of 40 items are new" in found.notes[0]


def test_a_person_whose_one_item_is_new_has_no_history():
    lists = [[0, 1, 2], [0, 1, 3], [0, 2, 1], [4, 5, 6], list(range(7)), list(range(6, -1, -1))]
    found = [hide_items(make_sequences(lists), 0.45, seed) for seed in range(8)]
    assert any(0 in np.diff(one.starts) for one in found)
    for one in found:
        assert not set(one.split.train[:, 1]) & set(one.split.cold_items) and len(one.items) == one.starts[-1]
        assert evaluate_next(Popularity(one), one, "test", 2).mean()["hr@2"] <= 1


def test_only_lists_what_it_may_in_the_model_s_order():
    sequences = walks(200, 40)
    model, few = Popularity(sequences), [3, 9, 30, 31]
    order = [item for item in next_items(model, [0], 39).tolist() if item in few]
    assert next_items(Only(model, np.array(few)), [0], 4).tolist() == order
    report = evaluate_next(Only(model, np.array(few)), sequences)
    assert np.isin(report.lists[report.lists >= 0], few).all()


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001])
def test_a_share_that_hides_nothing_or_all_is_one_sentence(share):
    with pytest.raises(CourseError, match="choose one that hides some of them"):
        hide_items(walks(), share)
