"""The checks of notebook 00 pass right answers and name wrong ones."""

import numpy as np
import pytest

from utils import checks


def cosine(vectors, profile):
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(profile)
    return vectors @ profile / np.maximum(lengths, 1e-12)


def top_k(scores, taken, k):
    scores = scores.copy()
    scores[taken] = -np.inf
    return np.argsort(-scores, kind="stable")[:k]


def in_place(scores, taken, k):
    scores[taken] = -np.inf
    return np.argsort(-scores)[:k]


def stub(*args): ...


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.user_profile, lambda vectors, liked: vectors[liked].mean(axis=0)),
        (checks.cosine_scores, cosine),
        (checks.top_k_list, top_k),
    ],
)
def test_right_answers_pass_and_untouched_stubs_are_not_judged(check, right):
    assert check(right).passed is True
    assert check(stub).passed is None


@pytest.mark.parametrize(
    ("check", "wrong", "mistake"),
    [
        (checks.user_profile, lambda v, liked: v[liked].mean(axis=1), "over the columns"),
        (checks.user_profile, lambda v, liked: v[liked].mean(), "to one number"),
        (checks.user_profile, lambda v, liked: v.mean(axis=0), "all items of the shop"),
        (checks.user_profile, lambda v, liked: v[liked].sum(axis=0), "you summed"),
        (checks.user_profile, lambda v, liked: v[liked[0]], "the mean is"),
        (checks.cosine_scores, lambda v, p: v @ p, "inner product"),
        (checks.cosine_scores, lambda v, p: v @ p / np.linalg.norm(v, axis=1) / np.linalg.norm(p), "NaN"),
        (checks.cosine_scores, lambda v, p: cosine(v, p) * np.linalg.norm(p), "not by the profile's"),
        (checks.cosine_scores, lambda v, p: v @ p / np.linalg.norm(p), "not by the items'"),
        (checks.cosine_scores, lambda v, p: 1 - cosine(v, p), "distance"),
        (checks.top_k_list, lambda s, t, k: np.argsort(-s)[:k], "taken already"),
        (checks.top_k_list, lambda s, t, k: np.argsort(s)[:0] if k == 0 else np.array([4, 0, 5]), "worst items"),
        (checks.top_k_list, in_place, "changed the scores"),
        (checks.top_k_list, lambda s, t, k: top_k(s, t, k)[::-1], "wrong order"),
        (checks.top_k_list, lambda s, t, k: np.sort(s)[::-1][:k], "returned scores"),
        (checks.top_k_list, lambda s, t, k: top_k(s, t, k + 1), "places"),
    ],
)
def test_wrong_answers_are_named(check, wrong, mistake):
    verdict = check(wrong)
    assert verdict.passed is False
    assert mistake in verdict.message
