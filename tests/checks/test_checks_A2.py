"""The checks of appendix A2 pass right answers in any style, and name the mistakes that learners make."""

import hashlib
import math

import numpy as np
import pytest
import torch
from exercise_helpers import table_tests

from utils import checks

P = 0.8


def one(n):
    return torch.ones(n, 1)


def tables(users, items, bias):
    return torch.cat([users, one(len(users))], 1), torch.cat([items, bias[:, None]], 1)


def tables_in_front(users, items, bias):
    users, items, bias = (np.asarray(part) for part in (users, items, bias))
    return np.column_stack([np.ones(len(users)), users]), np.column_stack([bias, items])


def halves(users, items, bias):
    return torch.cat([users, 2 * one(len(users))], 1), torch.cat([items, bias[:, None] / 2], 1)


def no_bias(users, items, bias):
    return users, items


def everywhere(users, items, bias):
    return users, items + bias[:, None]


def twice(users, items, bias):
    return torch.cat([users, 2 * one(len(users))], 1), torch.cat([items, bias[:, None]], 1)


def ones_on_both_sides(users, items, bias):
    return torch.cat([users, one(len(users))], 1), torch.cat([items, one(len(items))], 1)


def minus(users, items, bias):
    return torch.cat([users, -one(len(users))], 1), torch.cat([items, bias[:, None]], 1)


def one_side_only(users, items, bias):
    return users, torch.cat([items, bias[:, None]], 1)


def scores(users, items, bias):
    return users @ items.T + bias


def sides_swapped(users, items, bias):
    return tables(users, items, bias)[::-1]


def rbp(items, targets):
    return (1 - P) * (P ** np.flatnonzero(np.isin(items, targets))).sum()


def rbp_in_a_loop(items, targets):
    return sum((1 - P) * P**rank for rank, item in enumerate(items) if item in targets)


def late(items, targets):
    return P * rbp(items, targets)


def no_factor(items, targets):
    return rbp(items, targets) / (1 - P)


def turned(items, targets):
    return P * ((1 - P) ** np.flatnonzero(np.isin(items, targets))).sum()


def shared(items, targets):
    return rbp(items, targets) / len(targets)


def precision(items, targets):
    return np.isin(items, targets).mean()


def of_the_targets(items, targets):
    return (1 - P) * (P ** np.flatnonzero(np.isin(targets, items))).sum()


def first_only(items, targets):
    return (1 - P) * (P ** np.flatnonzero(np.isin(items, targets))[:1]).sum()


def by_length(items, targets):
    return rbp(items, targets) / len(items)


def weights(items, targets):
    return (1 - P) * P ** np.arange(len(items))


def recall(items, targets):
    return np.isin(targets, items).mean()


def step(past, pick=max, factor=3, start=0.001, good=True):
    known = {row["lr"]: row["recall@20"] for row in past if not good or row["recall@20"] == row["recall@20"]}
    if not known:
        return {"lr": start}
    best = pick(known, key=known.get)
    tried = [row["lr"] for row in past]
    for rate in (best * factor, best / factor):
        if not np.isclose(rate, tried).any():
            return {"lr": rate}
    return {"lr": best * factor**0.5}


def climb(past):
    return step(past)


def climb_with_numpy(past):
    return {"lr": np.float64(step(past)["lr"])}


def starts_high(past):
    return step(past, start=0.1)


def from_the_last(past):
    return {"lr": past[-1]["lr"] * 3} if past else {"lr": 0.001}


def from_the_worst(past):
    return step(past, pick=min)


def again(past):
    known = {row["lr"]: row["recall@20"] for row in past}
    return {"lr": 3 * max(known, key=known.get) if known else 0.001}


def trusts_nan(past):
    filled = [{**row, "recall@20": 9 if math.isnan(row["recall@20"]) else row["recall@20"]} for row in past]
    return step(filled)


def adds(past):
    found = step(past)
    return {"lr": past[0]["lr"] + 0.001} if len(past) == 1 else found


def by_tens(past):
    return step(past, factor=10)


def bare(past):
    return step(past)["lr"]


def name(train):
    return hashlib.sha256(str(sorted(map(tuple, train.tolist()))).encode()).hexdigest()


def name_by_numpy(train):
    return hashlib.sha256(np.ascontiguousarray(train[np.lexsort(train.T[::-1])]).tobytes()).hexdigest()[:16]


def in_order(train):
    return str(train.tolist())


def constant(train):
    return "split"


def length(train):
    return str(len(train))


def columns(train):
    return str(np.sort(train, axis=0).tolist())


def any_way(train):
    return str(sorted(sorted(pair) for pair in train.tolist()))


def items_only(train):
    return str(sorted(train[:, 1].tolist()))


def users_only(train):
    return str(sorted(train[:, 0].tolist()))


def glued(train):
    return "-".join(sorted(f"{user}{item}" for user, item in train.tolist()))


def a_list(train):
    return sorted(train.tolist())


RIGHT = {
    checks.bias_inside: [tables, tables_in_front, halves],
    checks.rank_biased: [rbp, rbp_in_a_loop],
    checks.next_trial: [climb, climb_with_numpy],
    checks.split_name: [name, name_by_numpy],
}
WRONG = {
    checks.bias_inside: {
        no_bias: "not in the scores",
        everywhere: "every coordinate",
        twice: "twice",
        ones_on_both_sides: "a one is added",
        minus: "subtracted",
        one_side_only: "no inner product",
        scores: "return two tables",
        sides_swapped: "a row for each user, then",
    },
    checks.rank_biased: {
        late: "weighs p^0",
        no_factor: "factor (1 - p)",
        turned: "wrong way round",
        shared: "number of targets",
        precision: "counts the same",
        of_the_targets: "places of the targets",
        first_only: "stop at the first hit",
        by_length: "length of the list",
        weights: "one number for one user",
        recall: "you return",
    },
    checks.next_trial: {
        starts_high: "begin with 0.001",
        from_the_last: "go on from the best one",
        from_the_worst: "is better when it is higher",
        again: "tried already",
        trusts_nan: "NaN is no best value",
        adds: "by factors, not by sums",
        by_tens: "the next one is",
        bare: "dictionary",
    },
    checks.split_name: {
        in_order: "sort them first",
        constant: "every split gets the same name",
        length: "only the number of rows",
        columns: "Sort whole pairs",
        any_way: "a pair has an order",
        items_only: "who took what",
        users_only: "who took what",
        glued: "digits run together",
        a_list: "return a text",
    },
}

test_right_answers, test_mistakes, test_five_mistakes = table_tests(RIGHT, WRONG)


@pytest.mark.parametrize("length", [0, 3])
def test_rank_biased_precision_is_one_at_most(length):
    assert rbp(np.arange(200), np.arange(length)) == pytest.approx(1 - P**length)
