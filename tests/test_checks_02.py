"""The checks of notebook 02 against the untouched stub, the course's solutions and wrong answers; its small helpers."""

import numpy as np
import pandas as pd
import pytest

from utils import checks


# ---- the solutions shown in the notebook ----
def core_mask(user_ids, item_ids, k, *, distinct=True, users=True, items=True, rounds=99):
    repeated = pd.DataFrame({"u": user_ids, "i": item_ids}).duplicated().to_numpy()
    alive = ~repeated if distinct else np.ones(len(user_ids), dtype=bool)
    for _ in range(rounds):
        per_user = np.bincount(user_ids[alive], minlength=user_ids.max() + 1)
        per_item = np.bincount(item_ids[alive], minlength=item_ids.max() + 1)
        stays = alive & ((per_user[user_ids] >= k) | (not users)) & ((per_item[item_ids] >= k) | (not items))
        if stays.sum() == alive.sum():
            break
        alive = stays
    return alive


def newest(user_ids, timestamps, share):
    times = np.array([int(text) for text in timestamps])
    n_test = round(share * len(times))
    return times >= np.sort(times)[len(times) - n_test]


def newest_of_user(user_ids, timestamps, share):
    times, mask = np.array([int(text) for text in timestamps]), np.zeros(len(timestamps), dtype=bool)
    for user in np.unique(user_ids):
        rows = np.flatnonzero(user_ids == user)
        mask[rows[np.argsort(times[rows])][-round(share * len(rows)) :]] = True
    return mask


def newest_as_text(user_ids, timestamps, share):
    order = np.argsort(timestamps, kind="stable")
    return np.isin(np.arange(len(order)), order[-round(share * len(order)) :])


def newest_exactly(user_ids, timestamps, share):
    order = np.argsort([int(text) for text in timestamps], kind="stable")
    return np.isin(np.arange(len(order)), order[-round(share * len(order)) :])


def oldest(user_ids, timestamps, share):
    order = np.argsort([int(text) for text in timestamps], kind="stable")
    return np.isin(np.arange(len(order)), order[: round(share * len(order))])


def aligned(matrix, row_names, item_names):
    row_of = {name: row for row, name in enumerate(row_names)}
    mask = np.array([name in row_of for name in item_names])
    found = np.zeros((len(item_names), matrix.shape[1]), dtype=matrix.dtype)
    found[mask] = matrix[[row_of[name] for name in item_names if name in row_of]]
    return found, mask


def aligned_one_off(matrix, row_names, item_names):
    found, mask = aligned(matrix, row_names, item_names)
    return np.roll(found, 1, axis=0), mask


def aligned_silently(matrix, row_names, item_names):
    found, mask = aligned(matrix, row_names, item_names)
    return found, np.ones_like(mask)


def aligned_by_search(matrix, row_names, item_names):
    order = np.argsort(row_names)
    places = np.minimum(np.searchsorted(np.array(row_names)[order], item_names), len(order) - 1)
    return matrix[order[places]], np.ones(len(item_names), dtype=bool)


def aligned_or_error(matrix, row_names, item_names):
    return matrix[[list(row_names).index(name) for name in item_names]], np.ones(len(item_names), dtype=bool)


def leaks(train, test, train_times, test_times, *, pairs=True, own=True, strict=True, first=False):
    n_items = max(train[:, 1].max(), test[:, 1].max()) + 1
    weights = [n_items, 1] if pairs else [0, 1]
    repeated = np.isin(test @ weights, train @ weights).sum()
    last = np.full(max(train[:, 0].max(), test[:, 0].max()) + 1, np.inf if first else -np.inf)
    (np.minimum if first else np.maximum).at(last, train[:, 0], train_times)
    last = np.where(np.isinf(last), -np.inf, last)
    limit = last[test[:, 0]] if own else train_times.max()
    return repeated, (test_times < limit).sum() if strict else (test_times <= limit).sum()


def stub(*arguments): ...


ANSWERS = [
    ("k_core", core_mask, None),
    ("k_core", lambda u, i, k: core_mask(u, i, k, rounds=1), "once"),
    ("k_core", lambda u, i, k: core_mask(u, i, k, users=False), "items only"),
    ("k_core", lambda u, i, k: core_mask(u, i, k, items=False), "users only"),
    ("k_core", lambda u, i, k: core_mask(u, i, k, distinct=False), "before repeated pairs"),
    ("k_core", lambda u, i, k: core_mask(u, i, k + 1), ">= k"),
    ("k_core", lambda u, i, k: ~core_mask(u, i, k), "wrong way round"),
    ("k_core", lambda u, i, k: np.flatnonzero(core_mask(u, i, k)), "mask of"),
    ("temporal_split", newest, None),
    ("temporal_split", oldest, "older than your train"),
    ("temporal_split", newest_as_text, "as text"),
    ("temporal_split", newest_of_user, "everybody else"),
    ("temporal_split", newest_exactly, "same second"),
    ("temporal_split", lambda u, t, s: np.arange(len(t)) >= len(t) - round(s * len(t)), "last rows of the file"),
    ("temporal_split", lambda u, t, s: ~newest(u, t, s), "wrong way round"),
    ("align_by_id", aligned, None),
    ("align_by_id", lambda m, r, i: (m[: len(i)], np.ones(len(i), dtype=bool)), "by position"),
    ("align_by_id", aligned_one_off, "off by one"),
    ("align_by_id", aligned_silently, "silently zero"),
    ("align_by_id", aligned_by_search, "row of another item"),
    ("align_by_id", aligned_or_error, "raises ValueError"),
    ("leak_counts", leaks, None),
    ("leak_counts", lambda *a: leaks(*a, pairs=False), "anywhere in train"),
    ("leak_counts", lambda *a: leaks(*a, own=False), "everybody's"),
    ("leak_counts", lambda *a: leaks(*a, strict=False), "equal times"),
    ("leak_counts", lambda *a: leaks(*a, first=True), "not with the first"),
    ("leak_counts", lambda *a: leaks(*a)[0], "two whole numbers"),
]


@pytest.mark.parametrize("name", ["k_core", "temporal_split", "align_by_id", "leak_counts"])
def test_untouched_stub_is_not_tried(name):
    assert getattr(checks, name)(stub).passed is None


@pytest.mark.parametrize(("name", "answer", "mistake"), ANSWERS)
def test_solution_passes_and_mistakes_are_named(name, answer, mistake):
    verdict = getattr(checks, name)(answer)
    assert verdict.passed is (mistake is None), verdict
    assert mistake is None or mistake in verdict.message, verdict
