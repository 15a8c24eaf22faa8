"""Checks of appendix A2: a bias inside an inner product, rank-biased precision, the next trial of a search, a name for a split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from utils.checks.base import Mistake, exercise, farthest, numbers, same

__all__ = ["bias_inside", "next_trial", "rank_biased", "split_name"]


@exercise
def bias_inside(mine: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple]) -> str | None:
    """mine(users (n_users, d), items (n_items, d), bias (n_items,)) -> two tables whose inner products are u . i + bias."""
    generator = torch.Generator().manual_seed(3)
    users, items = torch.randn(4, 3, generator=generator), torch.randn(6, 3, generator=generator)
    bias = torch.randn(6, generator=generator)
    answer = mine(users.clone(), items.clone(), bias.clone())
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise Mistake("return two tables: one with a row for each user, one with a row for each item.")
    left, right = (numbers(table, "table") for table in answer)
    if left.ndim != 2 or right.ndim != 2 or len(left) != 4 or len(right) != 6:
        return (
            f"the tables have the shapes {left.shape} and {right.shape}; a row for each user, then a row for each item."
        )
    if left.shape[1] != right.shape[1]:
        return f"the rows have {left.shape[1]} and {right.shape[1]} numbers, so that they have no inner product."
    u, i, b = (table.double().numpy() for table in (users, items, bias))
    found, wanted = left @ right.T, u @ i.T + b
    mistakes = {
        "the bias is not in the scores: it needs a place of its own in both tables.": u @ i.T,
        "you add the bias to every coordinate of the item, which multiplies it by the sum of the user's vector.":
            u @ (i + b[:, None]).T,
        "the bias is in the scores twice.": u @ i.T + 2 * b,
        "the bias is squared: its partner in the other table is a one, not the bias again.": u @ i.T + b**2,
        "a one is added to every score: only one of the two new columns is all ones.": u @ i.T + 1,
        "the bias is subtracted.": u @ i.T - b,
    }  # fmt: skip
    if same(found, wanted):
        return None
    for sentence, wrong in mistakes.items():
        if same(found, wrong):
            return sentence
    user, item = farthest(found, wanted)
    return f"user {user} and item {item} get {found[user, item]:.3f}; it should be {wanted[user, item]:.3f}."


PERSISTENCE = 0.8
LISTS = [  # a list, what the user took
    ([4, 9, 2, 7, 1], [7, 9]),
    ([3, 5, 8], [3]),
    ([6, 0, 2, 1], [5, 8]),
    ([2, 1, 3, 0, 8, 4], [0, 1, 2, 3, 4, 8, 9]),
]


def _rbp(items: list[int], targets: list[int], p: float, first: int = 0, factor: bool = True) -> float:
    total = sum(p ** (place + first) for place, item in enumerate(items) if item in targets)
    return (1 - p) * total if factor else total


@exercise
def rank_biased(mine: Callable[[np.ndarray, np.ndarray], float]) -> str | None:
    """mine(items, targets) -> rank-biased precision with persistence 0.8: (1 - p) * sum of p^(rank - 1) over the hits."""
    found = []
    for items, targets in LISTS:
        value = numbers(mine(np.array(items), np.array(targets)), "value")
        if value.shape != ():
            raise Mistake(f"return one number for one user; you return an array of shape {value.shape}.")
        found.append(float(value))
    p = PERSISTENCE
    ways: dict[str, Callable[[list[int], list[int]], float]] = {
        "ranks start at 1, so that the first place weighs p^0 = 1; yours weighs p already.":
            lambda a, t: _rbp(a, t, p, first=1),
        "the factor (1 - p) is missing: without it the best possible value is not 1.":
            lambda a, t: _rbp(a, t, p, factor=False),
        "you give every place the chance to stop, p and 1 - p are the wrong way round.": lambda a, t: _rbp(a, t, 1 - p),
        "you divide by the number of targets; this measure judges the list, whatever else the user took.":
            lambda a, t: _rbp(a, t, p) / len(t),
        "every hit counts the same: weigh it by its place.": lambda a, t: len(set(a) & set(t)) / len(a),
        "you weigh the places of the targets; the places of the list are meant.": lambda a, t: _rbp(t, a, p),
        "you stop at the first hit; the later ones count too.": lambda a, t: _rbp(a[: _first(a, t)], t, p),
        "you divide by the length of the list; the weights do that.": lambda a, t: _rbp(a, t, p) / len(a),
    }  # fmt: skip
    wanted = [_rbp(items, targets, p) for items, targets in LISTS]
    if same(found, wanted):
        return None
    for sentence, way in ways.items():
        if same(found, [way(items, targets) for items, targets in LISTS]):
            return sentence
    worst = int(farthest(np.array(found), np.array(wanted)))
    items, targets = LISTS[worst]
    return f"for the list {items} and the targets {targets} you return {found[worst]:.4f}; it is {wanted[worst]:.4f}."


def _first(items: list[int], targets: list[int]) -> int:
    return next((place + 1 for place, item in enumerate(items) if item in targets), len(items))


NAN = float("nan")
PASTS = [  # trials so far, the next rate
    ([], 0.001),
    ([(0.001, 0.20)], 0.003),
    ([(0.001, 0.20), (0.003, 0.25)], 0.009),
    ([(0.001, 0.30), (0.003, 0.25)], 0.001 / 3),
    ([(0.001, 0.20), (0.003, 0.31), (0.009, 0.25)], None),
    ([(0.001, 0.20), (0.003, NAN)], 0.001 / 3),
]


@exercise
def next_trial(mine: Callable[[list[dict[str, Any]]], dict[str, float]]) -> str | None:
    """mine(past) -> {"lr": rate}: three times the best rate so far if not tried, else a third of it, else the root between."""
    for trials, wanted in PASTS:
        past = [{"trial": n, "lr": lr, "recall@20": value} for n, (lr, value) in enumerate(trials)]
        answer = mine(past)
        if not isinstance(answer, dict) or set(answer) != {"lr"}:
            raise Mistake('return a dictionary with the one name of the space: {"lr": ...}.')
        found = float(numbers(answer["lr"], "rate"))
        tried = dict(trials)
        good = {lr: value for lr, value in trials if value == value}
        best = max(good, key=good.get) if good else 0.001
        right = wanted if wanted is not None else best * 3**0.5
        if np.isclose(found, right):
            continue
        return _slip(found, right, trials, tried, good, best)
    return None


def _slip(found: float, right: float, trials: list, tried: dict, good: dict, best: float) -> str:
    if not trials:
        return f"nothing is tried yet: begin with {right}; you begin with {found:g}."
    shown = ", ".join(f"{lr:g}: {value:g}" for lr, value in trials)
    if any(np.isclose(found, lr) for lr in tried):
        return f"{found:g} is tried already ({shown}); a trial that is made twice teaches nothing."
    lost = [lr for lr, value in trials if value != value]
    if any(np.isclose(found, [lr * 3, lr / 3]).any() for lr in lost):
        return f"you go on from {lost[0]:g}, whose training failed: NaN is no best value, and max() does not know that."
    last = trials[-1][0]
    if last != best and np.isclose(found, [last * 3, last / 3]).any():
        return f"you go on from the last trial ({last:g}); go on from the best one ({best:g})."
    worst = min(good, key=good.get)
    if worst != best and np.isclose(found, [worst * 3, worst / 3]).any():
        return f"you go on from the worst trial ({worst:g}); the metric is better when it is higher."
    if np.isclose(found, best + 0.003) or np.isclose(found, best + 0.001):
        return "rates are stepped by factors, not by sums: from 0.001 the way to 0.1 would be endless."
    return f"after {shown} you try {found:g}; the next one is {right:.6g}."


@exercise(bonus=True)
def split_name(mine: Callable[[np.ndarray], str]) -> str | None:
    """mine(train (n, 2)) -> a text that is the same for the same pairs in any order, and another one for other pairs."""
    train = np.array([[0, 5], [1, 3], [1, 7], [2, 5], [3, 0], [12, 3]])
    name = mine(train.copy())
    if not isinstance(name, (str, bytes, int)):
        raise Mistake(f"return a text; you return {type(name).__name__}.")
    turned = train[[3, 0, 5, 1, 4, 2]]
    if mine(turned.copy()) != name:
        return "the same pairs in another order get another name: sort them first."
    others = {
        "every split gets the same name.": np.array([[8, 8], [9, 1]]),
        "only the number of rows is in the name.": train + 1,
        "who took what is not in the name: two users have changed items, and nothing tells. Sort whole pairs, not columns.":
            np.array([[0, 3], [1, 5], [1, 7], [2, 5], [3, 0], [12, 3]]),
        "users and items may change places: a pair has an order.": train[:, ::-1],
        "the users are not in the name.": np.column_stack([train[:, 0] + 1, train[:, 1]]),
        "the items are not in the name.": np.column_stack([train[:, 0], train[:, 1] + 1]),
        "digits run together: the pairs (1, 23) and (12, 3) have one name. Keep the numbers apart.":
            np.array([[0, 5], [1, 3], [1, 7], [2, 5], [3, 0], [1, 23]]),
    }  # fmt: skip
    for sentence, pairs in others.items():
        if mine(np.ascontiguousarray(pairs)) == name:
            return sentence
    return None
