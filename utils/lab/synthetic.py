"""Synthetic clicks and features of any size, for the speed benchmark: no download, the same numbers on every machine."""

from __future__ import annotations

import numpy as np

from utils.data import Split
from utils.features import Features

N_USERS, N_ITEMS, N_INTERACTIONS = 19_445, 7_050, 160_792  # the size of Amazon Baby
DIMS = {"visual": 4096, "textual": 384}
N_TOPICS, LATENT = 60, 16
MIN_DEGREE, MAX_DEGREE = 5, 125


def synthetic(scale: float = 1.0, dims: dict[str, int] = DIMS, seed: int = 0) -> tuple[Split, dict[str, Features]]:
    """Users with a few topics, items of one topic each, long tails on both sides; features from the same factors.

    ``scale`` multiplies users, items and interactions. Of a user's interactions a tenth, and at least one, is held out
    for validation and as many for the test, at random.
    """
    rng = np.random.default_rng(seed)
    n_users, n_items = round(N_USERS * scale), round(N_ITEMS * scale)
    degrees = _degrees(n_users, round(N_INTERACTIONS * scale), rng)
    centres = rng.normal(size=(N_TOPICS, LATENT))
    topic = np.sort(rng.integers(N_TOPICS, size=n_items))
    factors = centres[topic] + 0.7 * rng.normal(size=(n_items, LATENT))
    users, items = _clicks(degrees, topic, rng)
    held_out = np.maximum(1, np.bincount(users, minlength=n_users) // 10)
    order = np.lexsort((rng.random(len(users)), users))
    users, items = users[order], items[order]
    place = np.arange(len(users)) - np.searchsorted(users, users)
    pairs = np.column_stack([users, items])
    valid, test = place < held_out[users], (place >= held_out[users]) & (place < 2 * held_out[users])
    parts = [_sorted(pairs[chosen]) for chosen in (~valid & ~test, valid, test)]
    cold = np.setdiff1d(np.arange(n_items), parts[0][:, 1])
    names = np.array([str(item) for item in range(n_items)])
    features = {m: Features(m, _feature(factors, dim, rng), names) for m, dim in dims.items()}
    return Split(n_users, n_items, *parts, "synthetic", cold), features


def _sorted(pairs: np.ndarray) -> np.ndarray:
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _degrees(n_users: int, total: int, rng: np.random.Generator) -> np.ndarray:
    """A long tail above `MIN_DEGREE` that sums to ``total``."""
    extra = rng.pareto(1.9, n_users)
    degrees = np.minimum(MIN_DEGREE + extra * (total / n_users - MIN_DEGREE) / extra.mean(), MAX_DEGREE).astype(int)
    while (missing := total - degrees.sum()) != 0:
        some = rng.choice(n_users, min(abs(missing), n_users), replace=False)
        degrees[some] = np.clip(degrees[some] + np.sign(missing), MIN_DEGREE, MAX_DEGREE)
    return degrees


def _clicks(degrees: np.ndarray, topic: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a topic, then an item of it by popularity, until every user has as many different items as asked for."""
    n_users, n_items = len(degrees), len(topic)
    # a long tail of items, cut so that the most popular one has a few hundred clicks at the size of Baby
    weight = np.minimum(0.9 + rng.pareto(1.1, n_items), 150.0)
    total = np.cumsum(weight)
    start = np.searchsorted(topic, np.arange(N_TOPICS))
    stop = np.searchsorted(topic, np.arange(N_TOPICS), side="right")
    low = np.where(start > 0, total[start - 1], 0.0)
    high = np.maximum(total[stop - 1], low)
    likes = rng.integers(N_TOPICS, size=(n_users, 3))
    keys = np.zeros(0, dtype=np.int64)
    missing = degrees.copy()
    while missing.any():
        users = np.repeat(np.arange(n_users), missing)
        chosen = likes[users, rng.integers(3, size=len(users))]
        chosen = np.where(rng.random(len(users)) < 0.15, rng.integers(N_TOPICS, size=len(users)), chosen)
        at = low[chosen] + rng.random(len(users)) * (high - low)[chosen]
        items = np.minimum(np.searchsorted(total, at, side="right"), n_items - 1)
        keys = np.union1d(keys, users * n_items + items)
        missing = degrees - np.bincount(keys // n_items, minlength=n_users)
    return keys // n_items, keys % n_items


def _feature(factors: np.ndarray, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Turn the factors into ``dim`` columns, with noise and cut at zero as a network's last layer does."""
    mixing = rng.standard_normal((factors.shape[1], dim), dtype=np.float32) / factors.shape[1] ** 0.5
    matrix = factors.astype(np.float32) @ mixing
    matrix += 0.5 * rng.standard_normal(matrix.shape, dtype=np.float32)
    return np.maximum(matrix, 0, out=matrix)
