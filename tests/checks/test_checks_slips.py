"""Wrong answers that once passed by chance, or were called by another name: each check names them, or lets none pass."""

import hashlib
import json

import numpy as np
import pytest

from utils import checks


def unit(m):
    return m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-12)


def clamped_at_one(m):
    return m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1)


def masked(scores, taken, value):
    scores = scores.copy()
    scores[taken] = value
    return scores


def with_a_mask(vectors, liked, item):
    rows = vectors[np.isin(np.arange(len(vectors)), liked)]
    return liked[np.argmax(unit(rows) @ vectors[item])]


def own_row_zero(m, row, k):
    return np.argsort(-masked(unit(m) @ unit(m)[row], row, 0), kind="stable")[:k]


def key(*parts):
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()


def repeated_by_row(train, test, then, now):
    return int((train == test[: len(train)]).all(1).sum()), 8


def centred_clamped_at_one(m, mask):
    return clamped_at_one(np.where(mask[:, None], m - m[mask].mean(0), 0))


def median_of_neighbours(m, mask, graph):
    filled = m.copy()
    for item in np.flatnonzero(~mask):
        near = [j for j in graph[item].indices if mask[j]]
        filled[item] = np.median(m[near], axis=0) if near else m[mask].mean(0)
    return filled


def rolled(m, columns, rng):
    moved = m.copy()
    moved[:, columns] = np.roll(m[:, columns], rng.integers(1, len(m)), axis=0)
    return moved


def half_permuted(m, columns, rng):
    moved = m.copy()
    moved[:30, columns] = rng.permutation(m[:30, columns])
    return moved


SLIPS = [
    (checks.cosine_scores, lambda v, p: clamped_at_one(v) @ p / np.linalg.norm(p), "clamped the lengths at 1"),
    (checks.top_k_list, lambda s, t, k: np.argsort(-s, kind="stable")[len(t) : len(t) + k], "drop the first places"),
    (checks.top_k_list, lambda s, t, k: np.argsort(-masked(s, t, -1))[:k], "comes back at the end"),
    (checks.reason_item, with_a_mask, "in the order of the ids"),
    (checks.nearest_rows, own_row_zero, "minus infinity, not 0"),
    (
        checks.balanced_concat,
        lambda a, b: np.hstack([clamped_at_one(a), clamped_at_one(b)]),
        "clamped the lengths at 1",
    ),
    (checks.label_share, lambda n, y: (y[n] == y[n][:, :1]).mean(1), "nearest neighbour's label"),
    (checks.leak_counts, repeated_by_row, "compare row by row"),
    (checks.cache_key, lambda c, e, la, o: key(c, e, la, sorted(map(str, o.values()))), "beside its name"),
    (checks.cache_key, lambda c, e, la, o: "k" + key(c, e, la, sorted(o.items()))[:2], "too short"),
    (checks.cache_key, lambda c, e, la, o: key(c, sorted([e, la]), sorted(o.items())), "may change places"),
    (checks.cache_key, lambda c, e, la, o: key(c, e, la, o.get("size")), "all options"),
    (checks.prepared_rows, centred_clamped_at_one, "clamped the lengths at 1"),
    (checks.long_tail_share, lambda lists, p: (p < p.mean())[lists].mean(), "items above the mean"),
    (checks.neighbour_mean, median_of_neighbours, "median of the observed neighbours"),
    (checks.wrong_owner, rolled, "same number of places"),
    (checks.wrong_owner, half_permuted, "keep their own vector"),
]


@pytest.mark.parametrize(("check", "slip", "words"), SLIPS, ids=[f"{c.__name__}: {w}" for c, _, w in SLIPS])
def test_the_slip_is_named(check, slip, words):
    verdict = check(slip)
    assert verdict.passed is False and words in verdict.message, verdict
