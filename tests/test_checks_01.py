"""The checks of notebook 01 pass right answers and name wrong ones."""

import numpy as np
import pytest

from utils import checks
from utils.neighbours import nearest_items, shared_label


def unit(m, axis=1):
    return m / np.maximum(np.linalg.norm(m, axis=axis, keepdims=True), 1e-12)


def stub(*args): ...


def cosines(m, row):
    return unit(m) @ unit(m)[row]


def without_self(scores, row):
    scores = scores.copy()
    scores[row] = -np.inf
    return scores


def joined(a, b):
    return np.concatenate([a, b], axis=1)


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.nearest_rows, lambda m, row, k: nearest_items(m, k)[row]),
        (checks.balanced_concat, lambda a, b: joined(unit(a), unit(b))),
        (checks.label_share, shared_label),
    ],
)
def test_right_answers_pass_and_untouched_stubs_are_not_judged(check, right):
    assert check(right).passed is True
    assert check(stub).passed is None


@pytest.mark.parametrize(
    ("check", "wrong", "mistake"),
    [
        (checks.nearest_rows, lambda m, row, k: np.argsort(-cosines(m, row))[:k], "row itself"),
        (checks.nearest_rows, lambda m, row, k: np.argsort(cosines(m, row))[:k], "farthest rows"),
        (checks.nearest_rows, lambda m, row, k: np.argsort(-without_self(m @ m[row], row))[:k], "inner product"),
        (checks.nearest_rows, lambda m, row, k: nearest_items(m, k)[row][::-1], "wrong order"),
        (checks.nearest_rows, lambda m, row, k: nearest_items(m, k + 1)[row], "instead of k"),
        (checks.balanced_concat, lambda a, b: joined(a, b), "did not normalise"),
        (checks.balanced_concat, lambda a, b: unit(joined(a, b)), "after the concatenation"),
        (checks.balanced_concat, lambda a, b: joined(unit(a, 0), unit(b, 0)), "columns (axis=0)"),
        (checks.balanced_concat, lambda a, b: joined(a / np.linalg.norm(a, axis=1, keepdims=True), unit(b)), "NaN"),
        (checks.balanced_concat, lambda a, b: np.concatenate([unit(a), unit(b)[:, :2]]), "axis=0"),
        (checks.label_share, lambda n, y: (y[n] == y[:, None]).mean(), "one number for all"),
        (checks.label_share, lambda n, y: (y[n] == y[:, None]).mean(axis=0), "average over the neighbours"),
        (checks.label_share, lambda n, y: (y[n] == y[:, None]).sum(axis=1), "you counted the neighbours"),
        (checks.label_share, lambda n, y: (y[n] != y[:, None]).mean(axis=1), "another label"),
        (
            checks.label_share,
            lambda n, y: ((y[n] == y[:, None]).sum(axis=1) + 1) / (n.shape[1] + 1),
            "item itself",
        ),
    ],
)
def test_wrong_answers_are_named(check, wrong, mistake):
    with np.errstate(all="ignore"):
        verdict = check(wrong)
    assert verdict.passed is False
    assert mistake in verdict.message
