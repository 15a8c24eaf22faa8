"""Small code tables and features for the tests of generation, made by hand."""

from __future__ import annotations

import numpy as np
from pretraining_helpers import walks
from training_helpers import make_features

from utils.generation import Codes, IdRecommender, SemanticIds, with_ties

SMALL = {"dim": 8, "length": 6, "hidden": 8}


def clusters(n_groups=6, n_each=8, dim=5, spread=0.1, seed=0):
    """Vectors in well separated groups: (n_groups * n_each, dim), and the group of each."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), n_each)
    return rng.normal(size=(n_groups, dim))[groups] * 3 + rng.normal(size=(len(groups), dim)) * spread, groups


def ring_ids(n_items=30, seed=0) -> SemanticIds:
    """Ids of a ring of items: neighbours share a first token, some items all but the last; one token is no item's."""
    places = np.arange(n_items)
    table = np.stack([places // 6, places % 6 // 2], axis=1)
    return with_ties(Codes(table, (5, 4)), np.random.default_rng(seed).integers(0, 9, n_items), "ring")


def ring_model(sequences=None, **settings) -> IdRecommender:
    """A small recommender of ids on a ring of 30 items."""
    sequences = sequences or walks()
    inputs = settings.get("inputs", "tokens")
    vectors = np.random.default_rng(1).normal(size=(sequences.n_items, 5))
    features = {"textual": make_features("textual", vectors)} if inputs in ("both", "content") else None
    return IdRecommender(sequences, ring_ids(sequences.n_items), features, **{**SMALL, **settings})
