"""utils.generation.trie: what may follow a prefix against a plain dictionary, stock, and tokens that two items share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from generation_helpers import ring_ids

from utils.errors import CourseError
from utils.generation import Trie
from utils.generation.writer import invalid_rate

TOKENS = ring_ids().tokens


def following(items, prefix):
    """Plain: the tokens behind a prefix among some items."""
    rows = [tuple(TOKENS[item]) for item in items]
    return sorted({int(row[len(prefix)]) for row in rows if row[: len(prefix)] == tuple(prefix)})


@pytest.mark.parametrize("items", [range(30), [3, 4, 17, 29]])
def test_what_may_follow_a_prefix(items):
    trie = Trie.of(TOKENS, list(items))
    prefixes = [(), *((a,) for a in range(5)), *((a, b) for a in range(5) for b in range(3))]
    for prefix in prefixes:
        assert trie.allowed(prefix) == following(items, prefix)
    assert trie.allowed(tuple(TOKENS[3])) == [] and trie.allowed((9, 9)) == [] and len(trie) == len(items)


def test_nodes_parents_children_and_leaves_belong_together():
    trie = Trie.of(TOKENS)
    for level, parents in enumerate(trie.parents):
        assert torch.equal(trie.prefixes[level][parents], trie.prefixes[level + 1][:, :-1])
        children = trie.children(level)
        for node in range(len(trie.prefixes[level])):
            own = [child for child in children[node].tolist() if child >= 0]
            assert own == (parents == node).nonzero().ravel().tolist()
    assert np.array_equal(TOKENS[trie.items.numpy()], trie.prefixes[-1].numpy()) and trie.n_levels == 3


def test_the_share_of_ids_that_are_no_items():
    trie = Trie.of(TOKENS, [0, 1])
    rows = torch.from_numpy(np.stack([TOKENS[0], TOKENS[1], TOKENS[2], [9, 9, 9]]))
    assert invalid_rate(rows, trie) == 0.5 and invalid_rate(rows[None, :2], trie) == 0.0


@pytest.mark.parametrize("tokens, items, said", [
    ([[0, 1], [1, 0], [0, 1], [2, 2]], None, "Items 0 and 2 have the same tokens"),
    ([[0, 1], [1, 0], [0, 1], [2, 2]], [1, 3, 4], "items between 0 and 3"),
    ([[0, 1], [1, 0]], [], "give at least one of them"),
])  # fmt: skip
def test_items_that_make_no_trie_are_one_sentence(tokens, items, said):
    with pytest.raises(CourseError, match=said):
        Trie.of(np.array(tokens), items)
