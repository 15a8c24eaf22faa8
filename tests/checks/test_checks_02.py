"""The checks of notebook 02 pass right answers in any style, and name the mistakes that learners make."""

from collections import Counter

import numpy as np
import pandas as pd
import torch
from exercise_helpers import table_tests

from utils import checks

# ---- exercise 1: the solution shown in the notebook, and slips of it ----


def core_mask(user_ids, item_ids, k, *, keep="first", users=True, items=True, rounds=99):
    pairs = pd.DataFrame({"u": user_ids, "i": item_ids})
    alive = ~pairs.duplicated(keep=keep).to_numpy() if keep != "all" else np.ones(len(user_ids), dtype=bool)
    for _ in range(rounds):
        per_user = np.bincount(user_ids[alive], minlength=user_ids.max() + 1)
        per_item = np.bincount(item_ids[alive], minlength=item_ids.max() + 1)
        stays = alive & ((per_user[user_ids] >= k) | (not users)) & ((per_item[item_ids] >= k) | (not items))
        if stays.sum() == alive.sum():
            break
        alive = stays
    return alive


def core_by_a_loop(user_ids, item_ids, k):
    seen, rows = set(), []
    for row, pair in enumerate(zip(user_ids.tolist(), item_ids.tolist())):
        if pair not in seen:
            seen.add(pair)
            rows.append(row)
    while True:
        per_user, per_item = Counter(user_ids[rows].tolist()), Counter(item_ids[rows].tolist())
        left = [row for row in rows if per_user[user_ids[row]] >= k and per_item[item_ids[row]] >= k]
        if left == rows:
            return [row in left for row in range(len(user_ids))]
        rows = left


def core_users_then_items(user_ids, item_ids, k):
    alive = core_mask(user_ids, item_ids, 1)
    while True:
        before = alive.sum()
        alive = alive & (np.bincount(user_ids[alive], minlength=99)[user_ids] >= k)
        alive = alive & (np.bincount(item_ids[alive], minlength=99)[item_ids] >= k)
        if alive.sum() == before:
            return torch.as_tensor(alive)


def filter_once(u, i, k):
    return core_mask(u, i, k, rounds=1)


def filter_twice(u, i, k):
    return core_mask(u, i, k, rounds=2)


def users_then_items_once(u, i, k):
    alive = core_mask(u, i, k, items=False, rounds=1)
    return alive & (np.bincount(i[alive], minlength=99)[i] >= k)


def items_only(u, i, k):
    return core_mask(u, i, k, users=False)


def users_only(u, i, k):
    return core_mask(u, i, k, items=False)


def repeats_counted(u, i, k):
    return core_mask(u, i, k, keep="all")


def all_copies_dropped(u, i, k):
    return core_mask(u, i, k, keep=False)


def last_copy_kept(u, i, k):
    return core_mask(u, i, k, keep="last")


def more_than_k(u, i, k):
    return core_mask(u, i, k + 1)


def fewer_than_k(u, i, k):
    return core_mask(u, i, k - 1)


def either_side(u, i, k):
    return (np.bincount(u)[u] >= k) | (np.bincount(i)[i] >= k)


def true_means_drop(u, i, k):
    return ~core_mask(u, i, k)


def row_numbers(u, i, k):
    return np.flatnonzero(core_mask(u, i, k))


# ---- exercise 2 ----


def aligned(matrix, row_names, item_names):
    row_of = {name: row for row, name in enumerate(row_names)}
    mask = np.array([name in row_of for name in item_names])
    found = np.zeros((len(item_names), matrix.shape[1]), dtype=matrix.dtype)
    found[mask] = matrix[[row_of[name] for name in item_names if name in row_of]]
    return found, mask


def aligned_by_a_loop(matrix, row_names, item_names):
    rows, mask = [], []
    for name in item_names:
        mask.append(name in row_names)
        rows.append(matrix[row_names.index(name)].tolist() if name in row_names else [0.0] * matrix.shape[1])
    return rows, mask


def aligned_by_pandas(matrix, row_names, item_names):
    table = pd.DataFrame(matrix, index=row_names).reindex(item_names)
    return table.fillna(0).to_numpy(dtype=np.float32), table.notna().all(axis=1).to_numpy()


def by_position(m, r, i):
    return m[: len(i)], np.ones(len(i), dtype=bool)


def by_membership(m, r, i):
    return m[np.isin(r, i)][: len(i)], np.isin(i, r)


def scattered(m, r, i):
    found, mask = np.zeros((len(i), m.shape[1])), np.isin(i, r)
    for k, name in enumerate(i):
        found[r.index(name)] = m[k]
    return found, mask


def sorted_by_id(m, r, i):
    return m[np.argsort(r)][: len(i)], np.isin(i, r)


def one_row_below(m, r, i):
    row_of = {name: (row + 1) % len(r) for row, name in enumerate(r)}
    return m[[row_of[name] for name in i]], np.ones(len(i), dtype=bool)


def one_row_above(m, r, i):
    row_of = {name: row - 1 for row, name in enumerate(r)}
    return m[[row_of[name] for name in i]], np.ones(len(i), dtype=bool)


def rolled(m, r, i):
    found, mask = aligned(m, r, i)
    return np.roll(found, 1, axis=0), mask


def silently_zero(m, r, i):
    found, mask = aligned(m, r, i)
    return found, np.ones_like(mask)


def nearest_place(m, r, i):
    order = np.argsort(r)
    places = np.minimum(np.searchsorted(np.array(r)[order], i), len(order) - 1)
    return m[order[places]], np.ones(len(i), dtype=bool)


def raises(m, r, i):
    return m[[list(r).index(name) for name in i]], np.ones(len(i), dtype=bool)


def gap_left_nan(m, r, i):
    table = pd.DataFrame(m, index=r).reindex(i)
    return table.to_numpy(), table.notna().all(axis=1).to_numpy()


def gap_closed(m, r, i):
    rows = [r.index(name) for name in i if name in r]
    rows += rows[-1:] * (len(i) - len(rows))
    return m[rows], np.isin(i, r)


def true_means_missing(m, r, i):
    found, mask = aligned(m, r, i)
    return found, ~mask


def mask_from_numbers(m, r, i):
    found = aligned(m, r, i)[0]
    return found, found.any(axis=1)


def matrix_only(m, r, i):
    return aligned(m, r, i)[0]


# ---- exercise 3 ----


def newest(user_ids, timestamps, share):
    times = np.array([int(text) for text in timestamps])
    n_test = round(share * len(times))
    return times >= np.sort(times)[len(times) - n_test]


def newest_by_a_loop(user_ids, timestamps, share):
    times = [int(text) for text in timestamps]
    cut = sorted(times, reverse=True)[round(share * len(times)) - 1]
    return [time >= cut for time in times]


def newest_in_torch(user_ids, timestamps, share):
    times = torch.tensor([int(text) for text in timestamps])
    return times >= times.topk(round(share * len(times))).values.min()


def places_to_mask(places, size):
    return np.isin(np.arange(size), places)


def newest_of_each_user(user_ids, timestamps, share):
    times, rows = np.array([int(text) for text in timestamps]), []
    for user in np.unique(user_ids):
        own = np.flatnonzero(user_ids == user)
        rows += own[np.argsort(times[own])][-round(share * len(own)) :].tolist()
    return places_to_mask(rows, len(times))


def sorted_as_text(user_ids, timestamps, share):
    order = np.argsort(timestamps, kind="stable")
    return places_to_mask(order[-round(share * len(order)) :], len(order))


def same_second_cut(user_ids, timestamps, share):
    order = np.argsort([int(text) for text in timestamps], kind="stable")
    return places_to_mask(order[-round(share * len(order)) :], len(order))


def oldest(user_ids, timestamps, share):
    order = np.argsort([int(text) for text in timestamps], kind="stable")
    return places_to_mask(order[: round(share * len(order))], len(order))


def last_rows(user_ids, timestamps, share):
    return np.arange(len(timestamps)) >= len(timestamps) - round(share * len(timestamps))


def true_means_train(u, t, s):
    return ~newest(u, t, s)


def share_of_the_span(u, t, s):
    times = np.array([int(text) for text in t])
    return times >= times.min() + (1 - s) * (times.max() - times.min())


def share_of_the_training(u, t, s):
    return newest(u, t, 1 - s)


def one_too_many(u, t, s):
    times = np.array([int(text) for text in t])
    return times >= np.sort(times)[len(t) - round(s * len(t)) - 1]


def one_too_few(u, t, s):
    times = np.array([int(text) for text in t])
    return times > np.sort(times)[len(t) - round(s * len(t))]


def order_as_rank(u, t, s):
    return np.argsort([int(text) for text in t], kind="stable") >= len(t) - round(s * len(t))


def at_random(u, t, s):
    return np.random.default_rng(0).random(len(t)) < s


# ---- bonus ----


def leaks(train, test, train_times, test_times, *, pairs=(100, 1), own=True, slack=0.0, of=max, unknown=-np.inf):
    repeated = np.isin(test @ np.array(pairs), train @ np.array(pairs)).sum()
    last = {u: of(train_times[train[:, 0] == u]) + slack for u in set(train[:, 0].tolist())}
    limit = np.array([last.get(u, unknown) for u in test[:, 0].tolist()]) if own else train_times.max()
    return repeated, (test_times < limit).sum()


def leaks_by_numpy(train, test, train_times, test_times):
    n_items = max(train[:, 1].max(), test[:, 1].max()) + 1
    last = np.full(max(train[:, 0].max(), test[:, 0].max()) + 1, -np.inf)
    np.maximum.at(last, train[:, 0], train_times)
    repeated = np.isin(test @ [n_items, 1], train @ [n_items, 1]).sum()
    return repeated, (test_times < last[test[:, 0]]).sum()


def leaks_by_a_loop(train, test, train_times, test_times):
    pairs = {tuple(row) for row in train.tolist()}
    last = {}
    for (user, _), time in zip(train.tolist(), train_times.tolist()):
        last[user] = max(time, last.get(user, time))
    past = [time < last.get(user, time) for (user, _), time in zip(test.tolist(), test_times.tolist())]
    return [sum(tuple(row) in pairs for row in test.tolist()), sum(past)]


def items_not_pairs(*a):
    return leaks(*a, pairs=(0, 1))


def users_not_pairs(*a):
    return leaks(*a, pairs=(1, 0))


def user_plus_item(*a):
    return leaks(*a, pairs=(1, 1))


def everybodys_last(*a):
    return leaks(*a, own=False)


def equal_counts(*a):
    return leaks(*a, slack=0.5)


def unknown_users_count(*a):
    return leaks(*a, unknown=np.inf)


def first_not_last(*a):
    return leaks(*a, of=min)


def newer_not_older(train, test, train_times, test_times):
    return leaks(train, test, train_times, test_times)[0], leaks(train, test, -train_times, -test_times, of=min)[1]


def swapped(*a):
    return leaks(*a)[::-1]


def one_number(*a):
    return leaks(*a)[0]


RIGHT = {
    checks.k_core: [core_mask, core_by_a_loop, core_users_then_items],
    checks.align_by_id: [aligned, aligned_by_a_loop, aligned_by_pandas],
    checks.temporal_split: [newest, newest_by_a_loop, newest_in_torch],
    checks.leak_counts: [leaks, leaks_by_numpy, leaks_by_a_loop],
}
WRONG = {
    checks.k_core: {
        filter_once: "filter once",
        filter_twice: "fixed number of rounds",
        users_then_items_once: "filter once",
        items_only: "items only",
        users_only: "users only",
        repeats_counted: "before repeated pairs",
        all_copies_dropped: "all copies",
        last_copy_kept: "keep the first",
        more_than_k: ">= k",
        fewer_than_k: "fewer than k",
        either_side: "both must have k",
        true_means_drop: "wrong way round",
        row_numbers: "mask of",
    },
    checks.align_by_id: {
        by_position: "order of the matrix",
        by_membership: "order of the matrix",
        scattered: "look up, do not scatter",
        sorted_by_id: "sorted by id",
        one_row_below: "off by one",
        one_row_above: "off by one",
        rolled: "off by one",
        silently_zero: "silently zero",
        nearest_place: "row of another item",
        raises: "raises ValueError",
        gap_left_nan: "NaN",
        gap_closed: "closes up",
        true_means_missing: "wrong way round",
        mask_from_numbers: "row of zeros is a row",
        matrix_only: "two things",
    },
    checks.temporal_split: {
        oldest: "older than your train",
        sorted_as_text: "as text",
        newest_of_each_user: "everybody else",
        same_second_cut: "same second",
        last_rows: "last rows of the file",
        true_means_train: "wrong way round",
        share_of_the_span: "span of time",
        share_of_the_training: "everything but the share",
        one_too_many: "one interaction too many",
        one_too_few: "one interaction too few",
        order_as_rank: "argsort gives places",
        at_random: "the future leaks",
    },
    checks.leak_counts: {
        items_not_pairs: "items of the test",
        users_not_pairs: "users of the test",
        user_plus_item: "add user and item",
        everybodys_last: "everybody's",
        equal_counts: "equal times",
        unknown_users_count: "no train interaction",
        first_not_last: "not with the first",
        newer_not_older: "newer",
        swapped: "swapped",
        one_number: "two whole numbers",
    },
}


test_right, test_wrong, test_five = table_tests(RIGHT, WRONG)
