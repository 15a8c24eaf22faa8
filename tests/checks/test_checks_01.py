"""The checks of notebook 01 pass right answers in any style, and name the mistakes that learners make."""

import numpy as np
import torch
from exercise_helpers import table_tests

from utils import checks
from utils.graphs import nearest_items, shared_label


def unit(m, axis=1):
    return m / np.maximum(np.linalg.norm(m, axis=axis, keepdims=True), 1e-12)


def joined(a, b):
    return np.concatenate([a, b], axis=1)


def without_self(scores, row):
    scores = scores.copy()
    scores[row] = -np.inf
    return scores


def cosines(m, row):
    return unit(m) @ unit(m)[row]


# ---- exercise 1 ----


def nearest(m, row, k):
    return nearest_items(m, k)[row]


def nearest_by_a_loop(m, row, k):
    others = [i for i in range(len(m)) if i != row]
    return sorted(others, key=lambda i: -cosines(m, row)[i])[:k]


def nearest_in_torch(m, row, k):
    rows = torch.nn.functional.normalize(torch.tensor(m).float(), dim=1)
    return (rows @ rows[row]).index_fill(0, torch.tensor(row), -torch.inf).topk(k).indices


def self_kept(m, row, k):
    return np.argsort(-cosines(m, row))[:k]


def ascending(m, row, k):
    return np.argsort(cosines(m, row))[:k]


def by_inner_product(m, row, k):
    return np.argsort(-without_self(m @ m[row], row))[:k]


def by_distance(m, row, k):
    return np.argsort(-without_self(-np.linalg.norm(m - m[row], axis=1), row))[:k]


def nearest_last(m, row, k):
    return nearest(m, row, k)[::-1]


def one_too_many(m, row, k):
    return nearest(m, row, k + 1)


def row_deleted(m, row, k):
    return np.argsort(-np.delete(cosines(m, row), row))[:k]


def first_place_dropped(m, row, k):
    return np.argsort(-cosines(m, row), kind="stable")[1 : k + 1]


def masked_and_dropped(m, row, k):
    return np.argsort(-without_self(cosines(m, row), row))[1 : k + 1]


def columns_of_length_one(m, row, k):
    return np.argsort(-without_self(unit(m, 0) @ unit(m, 0)[row], row))[:k]


def nan_first(m, row, k):
    scores = without_self(m @ m[row] / np.linalg.norm(m, axis=1), row)
    return np.argsort(scores)[::-1][:k]


# ---- exercise 2 ----


def balanced(a, b):
    return joined(unit(a), unit(b))


def balanced_by_a_loop(a, b):
    def scaled(row):
        length = sum(x * x for x in row) ** 0.5
        return [x / length if length else 0.0 for x in row]

    return [scaled(x) + scaled(y) for x, y in zip(a.tolist(), b.tolist())]


def balanced_in_torch(a, b):
    parts = [torch.nn.functional.normalize(torch.tensor(m).float(), dim=1) for m in (a, b)]
    return torch.cat(parts, dim=1)


def after_the_concatenation(a, b):
    return unit(joined(a, b))


def twice(a, b):
    return unit(balanced(a, b))


def columns(a, b):
    return joined(unit(a, 0), unit(b, 0))


def zero_over_zero(a, b):
    return joined(a / np.linalg.norm(a, axis=1, keepdims=True), unit(b))


def items_under_items(a, b):
    return np.concatenate([unit(a), unit(b)[:, :2]])


def one_length_for_all(a, b):
    return joined(a / np.linalg.norm(a), b / np.linalg.norm(b))


def first_only(a, b):
    return joined(unit(a), b)


def sums_of_absolutes(a, b):
    return joined(*[m / np.maximum(np.abs(m).sum(1, keepdims=True), 1e-12) for m in (a, b)])


def by_the_largest(a, b):
    return joined(*[m / np.maximum(m.max(axis=1, keepdims=True), 1e-12) for m in (a, b)])


def other_order(a, b):
    return balanced(b, a)


# ---- exercise 3 ----


def share_by_a_loop(neighbours, labels):
    return [sum(labels[j] == labels[i] for j in row) / len(row) for i, row in enumerate(neighbours)]


def share_in_float32(neighbours, labels):
    return torch.tensor(labels[neighbours] == labels[:, None]).float().mean(dim=1)


def one_number(n, y):
    return (y[n] == y[:, None]).mean()


def over_the_items(n, y):
    return (y[n] == y[:, None]).mean(axis=0)


def counted(n, y):
    return (y[n] == y[:, None]).sum(axis=1)


def other_label(n, y):
    return (y[n] != y[:, None]).mean(axis=1)


def itself_counted(n, y):
    return (counted(n, y) + 1) / (n.shape[1] + 1)


def all_items(n, y):
    return (y[None] == y[:, None]).mean(axis=1)


def by_number_of_items(n, y):
    return counted(n, y) / len(n)


def nearest_only(n, y):
    return (y[n[:, 0]] == y).astype(float)


def in_percent(n, y):
    return 100 * shared_label(n, y)


# ---- bonus ----


def clicks_together(clicks):
    common, takers = clicks.T @ clicks, clicks.sum(axis=0)
    cosine = common / np.sqrt(np.maximum(np.outer(takers, takers), 1e-12))
    np.fill_diagonal(cosine, 0)
    return cosine


def clicks_by_columns(clicks):
    cosine = unit(clicks, 0).T @ unit(clicks, 0)
    return torch.tensor(cosine - np.diag(np.diag(cosine)), dtype=torch.float32)


def clicks_by_a_loop(clicks):
    n = clicks.shape[1]
    table = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            if i != j and clicks[:, i].any() and clicks[:, j].any():
                common = (clicks[:, i] * clicks[:, j]).sum()
                table[i][j] = common / (clicks[:, i].sum() * clicks[:, j].sum()) ** 0.5
    return table


def diagonal_kept(clicks):
    return unit(clicks, 0).T @ unit(clicks, 0)


def users_with_users(clicks):
    return clicks_together(clicks.T)


def counts(clicks):
    return clicks.T @ clicks


def one_side(clicks):
    return counts(clicks) / np.maximum(clicks.sum(0), 1)[:, None]


def other_side(clicks):
    return counts(clicks) / np.maximum(clicks.sum(0), 1)


def no_root(clicks):
    return counts(clicks) / np.maximum(np.outer(clicks.sum(0), clicks.sum(0)), 1)


def jaccard(clicks):
    takers = clicks.sum(0)
    return counts(clicks) / np.maximum(takers[:, None] + takers - counts(clicks), 1)


def correlation(clicks):
    return np.nan_to_num(np.corrcoef(clicks.T))


def by_users(clicks):
    return counts(clicks) / len(clicks)


def item_without_taker(clicks):
    return counts(clicks) / np.sqrt(np.outer(clicks.sum(0), clicks.sum(0)))


RIGHT = {
    checks.nearest_rows: [nearest, nearest_by_a_loop, nearest_in_torch],
    checks.balanced_concat: [balanced, balanced_by_a_loop, balanced_in_torch],
    checks.label_share: [shared_label, share_by_a_loop, share_in_float32],
    checks.click_cosine: [clicks_together, clicks_by_columns, clicks_by_a_loop],
}
WRONG = {
    checks.nearest_rows: {
        self_kept: "row itself",
        ascending: "farthest rows",
        by_inner_product: "inner product",
        by_distance: "nearest by distance",
        nearest_last: "wrong order",
        one_too_many: "instead of k",
        row_deleted: "moved by one",
        first_place_dropped: "twin",
        masked_and_dropped: "skip the nearest",
        columns_of_length_one: "wrong axis",
        nan_first: "NaN",
    },
    checks.balanced_concat: {
        joined: "did not normalise",
        after_the_concatenation: "after the concatenation",
        twice: "normalised twice",
        columns: "columns (axis=0)",
        zero_over_zero: "NaN",
        items_under_items: "axis=0",
        one_length_for_all: "whole matrix",
        first_only: "only the first",
        sums_of_absolutes: "absolute values",
        by_the_largest: "largest number",
        other_order: "comes first",
    },
    checks.label_share: {
        one_number: "one number for all",
        over_the_items: "average over the neighbours",
        counted: "you counted the neighbours",
        other_label: "another label",
        itself_counted: "item itself",
        all_items: "all items of the shop",
        by_number_of_items: "number of items",
        nearest_only: "nearest neighbour only",
        in_percent: "percent",
    },
    checks.click_cosine: {
        diagonal_kept: "its own neighbour",
        users_with_users: "users with users",
        counts: "these are counts",
        one_side: "i to j is not j to i",
        other_side: "j to i is not i to j",
        no_root: "square root",
        jaccard: "Jaccard",
        by_users: "number of users",
        correlation: "correlation",
        item_without_taker: "NaN",
    },
}


test_right, test_wrong, test_five = table_tests(RIGHT, WRONG)
