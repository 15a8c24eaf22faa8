"""Nearest items against a loop and a hand-made case."""

import numpy as np
import pytest

from utils.errors import CourseError
from utils.graphs import nearest_items, shared_label


def test_nearest_items_equal_a_loop_and_skip_self_and_missing():
    rng = np.random.default_rng(0)
    matrix, mask = rng.normal(size=(12, 4)), np.ones(12, dtype=bool)
    mask[3] = False
    matrix[5] = 0
    found = nearest_items(matrix, 3, mask)
    for item in range(12):
        if item in (3, 5):
            assert (found[item] == -1).all()
            continue
        others = [j for j in range(12) if j not in (item, 3, 5)]
        cosine = {
            j: matrix[item] @ matrix[j] / np.linalg.norm(matrix[item]) / np.linalg.norm(matrix[j]) for j in others
        }
        assert found[item].tolist() == sorted(others, key=lambda j: -cosine[j])[:3]


def test_equal_cosines_are_ordered_by_item_id():
    assert nearest_items(np.ones((4, 2)), 2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
    for n, dim in ((37, 64), (101, 33), (250, 129)):
        row = np.random.default_rng(n).normal(size=(1, dim))
        found = nearest_items(np.repeat(row, n, axis=0), 3)
        assert found[4:].tolist() == [[0, 1, 2]] * (n - 4)


def test_shared_label_by_hand():
    neighbours = np.array([[1, 2], [0, 2], [-1, -1]])
    shares = shared_label(neighbours, np.array(["a", "a", "b"]))
    assert shares[0] == 0.5 and shares[1] == 0.5 and np.isnan(shares[2])


def test_too_few_items_is_one_sentence():
    with pytest.raises(CourseError, match="Only 3 items are present"):
        nearest_items(np.eye(3), 3)
