"""utils.pretraining.handover and subsets: weights go to another catalogue where they fit; parts of sequences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretraining_helpers import make_sequences, walks
from training_helpers import make_features

from utils.errors import CourseError
from utils.features import Features
from utils.pretraining.bags import Bags
from utils.pretraining.counting import PairCounts, content_neighbours
from utils.pretraining.handover import keep_weights, shared_weights, start_from
from utils.pretraining.mp4sr import MP4SR
from utils.pretraining.sasrec import SASRec
from utils.pretraining.subsets import busiest, from_lists, of_users, some_users, without_items

SMALL = {"dim": 8, "length": 6, "n_experts": 2}


def bags_of(n_items, dim=5, encoder="by hand", names=("visual", "textual"), seed=0):
    rng = np.random.default_rng(seed)
    mask = np.ones((n_items, 2), dtype=bool)
    return {name: Bags(rng.normal(size=(n_items, 2, dim)), mask, {"encoder": encoder}) for name in names}


@pytest.fixture
def kept(tmp_path):
    model = MP4SR(walks(), bags_of(30), 3, **SMALL)
    keep_weights(model, bags_of(30), tmp_path / "one.safetensors")
    return model, tmp_path / "one.safetensors"


def test_stage_two_starts_from_stage_one_also_on_another_catalogue(kept):
    first, path = kept
    bags = bags_of(12, seed=1)
    model = MP4SR(walks(n_items=12), bags, 0, stage="tune", **SMALL)
    ids = model.ids.weight.clone()
    start_from(model, bags, path)
    for name, weight in first.named_parameters():
        assert torch.equal(model.get_parameter(name), weight), name
    assert torch.equal(model.ids.weight, ids) and set(shared_weights(model)) == set(shared_weights(first))


def test_sasrec_on_content_can_be_handed_over_too(tmp_path):
    sequences, features = walks(), {"textual": make_features("textual", np.eye(30, 5))}
    first = SASRec(sequences, features, 1, dim=8, inputs="content")
    keep_weights(first, features, tmp_path / "w")
    model = SASRec(sequences, features, 2, dim=8, inputs="both")
    start_from(model, features, tmp_path / "w")
    assert torch.equal(model.project["textual"].weight, first.project["textual"].weight)


@pytest.mark.parametrize("bags, settings, said", [
    (bags_of(30, encoder="minilm"), {}, "vectors of encoder 'by hand' and length 5, here they are of 'minilm' and length 5"),
    (bags_of(30, dim=4), {}, "length 5, here they are of 'by hand' and length 4; encode this catalogue with 'by hand'"),
    (bags_of(30, names=("audio", "textual")), {}, "trained on textual, visual, and here is audio, textual; give the same"),
    (bags_of(30), {"dim": 16}, "have the settings dim=8, .*here it is dim=16"),
])  # fmt: skip
def test_weights_of_another_kind_are_refused_and_change_nothing(kept, bags, settings, said):
    model = MP4SR(walks(), bags, 0, **{**SMALL, **settings})
    before = model.positions.weight.clone()
    with pytest.raises(CourseError, match=said):
        start_from(model, bags, kept[1])
    assert torch.equal(model.positions.weight, before)


def test_files_that_are_none_are_one_sentence(kept, tmp_path):
    model = kept[0]
    with pytest.raises(CourseError, match="There is no file .*pretrain a model and keep_weights"):
        start_from(model, bags_of(30), tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"no")
    with pytest.raises(CourseError, match="cannot be read as kept weights; pretrain again"):
        start_from(model, bags_of(30), tmp_path / "bad")
    features = {"textual": Features("textual", np.eye(30, 5), np.arange(30))}
    other = SASRec(walks(), features, inputs="content")
    with pytest.raises(CourseError, match="have the model mp4sr, here it is sasrec"):
        start_from(other, features, kept[1])


# ---- parts of sequences ----


def test_lists_become_sequences_with_the_last_held_out():
    found = from_lists(np.array([4, 1, 2, 0, 3, 0, 2]), np.array([4, 2, 1]), 5, "by hand")
    assert found.split.train.tolist() == [[0, 1], [0, 4], [1, 3], [2, 2]]
    assert found.split.valid.tolist() == [[0, 2]] and found.split.test.tolist() == [[0, 0], [1, 0]]
    assert found.sequence(0, "end").tolist() == [4, 1, 2, 0] and found.split.cold_items.tolist() == [0]


def test_some_of_the_users_keep_their_order_and_the_catalogue():
    sequences = walks(50, 20)
    users = some_users(sequences, 0.1, seed=2)
    few = of_users(sequences, users)
    assert len(users) == few.n_users == 5 and few.n_items == 20
    for new, old in enumerate(users):
        assert np.array_equal(few.sequence(new, "end"), sequences.sequence(old, "end"))
    assert not np.array_equal(users, some_users(sequences, 0.1, seed=3))
    assert len(few.split.cold_items) > len(sequences.split.cold_items)
    with pytest.raises(CourseError, match="share=0 must lie above 0"):
        some_users(sequences, 0)


def test_late_items_are_nowhere_but_at_the_end():
    sequences = make_sequences([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 4, 2, 0, 3]])
    found = without_items(sequences, np.array([4]))
    assert [found.sequence(user, "end").tolist() for user in range(3)] == [[0, 1, 2, 3, 4], [3, 2, 1, 0], [1, 2, 0, 3]]
    assert 4 in found.split.cold_items and 4 not in found.split.valid[:, 1]
    assert found.split.test[:, 1].tolist() == [4, 0, 3]


def test_the_busiest_part_of_a_log_by_hand():
    sequences = make_sequences([[5, 2, 3, 2], [3, 5, 2], [0, 1, 2, 4], [5, 3, 0, 2]])  # 2: 5 times, 3 and 5: 3, 0: 2
    found, items = busiest(sequences, 4, at_least=3)
    assert items.tolist() == [0, 2, 3, 5] and found.n_users == 3 and found.n_items == 4
    assert [found.sequence(user, "end").tolist() for user in range(3)] == [[3, 1, 2, 1], [2, 3, 1], [3, 2, 0, 1]]


def test_neighbours_by_content_against_all_cosines():
    vectors = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    vectors[5] = 0
    table = content_neighbours(vectors, k=3).toarray()
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    for item in range(9):
        others = [j for j in range(9) if j not in (item, 5)]
        nearest = sorted(others, key=lambda j: -cosines[item, j])[:3] if item != 5 else []
        assert set(np.flatnonzero(table[item])) == set(nearest)
        assert np.allclose(table[item, nearest], cosines[item, nearest], atol=1e-5)
    assert PairCounts(content_neighbours(vectors)).score_histories(np.array([[-1, 2]])).shape == (1, 9)
