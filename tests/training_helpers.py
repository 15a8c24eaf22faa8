"""Small splits and features for the tests of models and training, made by hand."""

from __future__ import annotations

import numpy as np

from utils.data import Split
from utils.features import Features


def make_split(train, valid=(), test=(), n_users=None, n_items=None) -> Split:
    """A Split from lists of (user_id, item_id)."""
    train, valid, test = (np.asarray(part, dtype=np.int64).reshape(-1, 2) for part in (train, valid, test))
    every = np.concatenate([train, valid, test])
    n_users = n_users or int(every[:, 0].max()) + 1
    n_items = n_items or int(every[:, 1].max()) + 1
    cold = np.setdiff1d(np.arange(n_items), train[:, 1])
    return Split(n_users, n_items, train, valid, test, "by hand", cold)


def make_features(modality: str, matrix, mask=None) -> Features:
    matrix = np.asarray(matrix, dtype=np.float32)
    mask = np.ones(len(matrix), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    matrix = np.where(mask[:, None], matrix, 0).astype(np.float32)
    return Features(modality, matrix, np.array([f"i{row}" for row in range(len(matrix))]), mask, {})


def planted(n_users=200, n_items=120, n_topics=6, per_user=12, cold=0, seed=0, modalities=("visual", "textual")):
    """Users who like two topics, items of one topic each, features that show the topic, and a long tail.

    With ``cold`` > 0, that many items keep all their interactions in the test part. Returns (split, features, topics).
    """
    rng = np.random.default_rng(seed)
    topics = rng.integers(n_topics, size=n_items)
    likes = np.zeros((n_users, n_topics))
    for user in range(n_users):
        likes[user, rng.choice(n_topics, 2, replace=False)] = 2.5
    popularity = rng.gumbel(size=n_items) * 0.3
    utility = likes[:, topics] + popularity + rng.gumbel(size=(n_users, n_items))
    taken = np.argsort(-utility, axis=1)[:, :per_user]
    pairs = np.stack([np.repeat(np.arange(n_users), per_user), taken.ravel()], axis=1)
    is_cold = np.isin(pairs[:, 1], rng.choice(n_items, cold, replace=False)) if cold else np.zeros(len(pairs), bool)
    part = rng.random(len(pairs))
    part[np.unique(pairs[:, 0], return_index=True)[1]] = 0  # everybody keeps one interaction
    warm, p = pairs[~is_cold], part[~is_cold]
    test = warm[p > 0.8] if not cold else pairs[is_cold]
    split = make_split(warm[p <= 0.7], warm[(p > 0.7) & (p <= 0.8)], test, n_users, n_items)
    dims = {"visual": 24, "textual": 16, "audio": 10}
    features = {}
    for modality in modalities:
        centres = rng.normal(size=(n_topics, dims[modality]))
        features[modality] = make_features(modality, centres[topics] + 0.5 * rng.normal(size=(n_items, dims[modality])))
    return split, features, topics
