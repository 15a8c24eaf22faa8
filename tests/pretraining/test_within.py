"""Hit rate when only some items compete: against a loop, ties by lot, and nobody to ask."""

import numpy as np
import pytest
import torch
from pretraining_helpers import walks

from utils.errors import CourseError
from utils.pretraining.counting import Popularity
from utils.pretraining.next_item import hit_rate_within


class Fixed:
    """Scores that depend on the newest item only, from a table."""

    length = 1

    def __init__(self, table):
        self.table, self.n_items = table, table.shape[1]

    def score_histories(self, histories):
        return self.table[torch.as_tensor(histories)[:, -1]]


def test_against_a_loop():
    sequences = walks(60, 12, seed=3)
    table = torch.randn(12, 12, generator=torch.Generator().manual_seed(1))
    items, hits = np.array([1, 4, 5, 9]), []
    for user, item in sequences.split.test:
        if item in items:
            scores = table[sequences.sequence(user, "test")[-1]]
            hits.append(sum(scores[other] > scores[item] for other in items) < 2)
    assert 3 < len(hits) < 60
    assert hit_rate_within(Fixed(table), sequences, items, top_k=2) == pytest.approx(np.mean(hits))


def test_equal_scores_are_drawn_by_lot():
    sequences = walks(60, 12, seed=3)
    model = Popularity(sequences)
    model.counts = torch.zeros(12)
    assert hit_rate_within(model, sequences, np.arange(12), top_k=3) == pytest.approx(3 / 12)


def test_nobody_to_ask():
    sequences = walks(20, 12, seed=3)
    never = np.setdiff1d(np.arange(12), sequences.split.test[:, 1])[:1]
    if not len(never):  # every item is asked for
        never = np.array([], dtype=np.int64)
    with pytest.raises(CourseError, match="No item of the test part"):
        hit_rate_within(Popularity(sequences), sequences, never)
