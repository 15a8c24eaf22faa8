"""The checks of appendix A1 pass right answers in any style, and name the mistakes that learners make."""

import io

import numpy as np
import pandas as pd
import pytest

from utils import checks
from utils.data import STRATEGIES


def names(check, mine, words):
    verdict = getattr(checks, check)(mine)
    assert verdict.passed is False and words in verdict.message, verdict


# ---- exercise 1 ----


def log(text, dtype=str, keep=False, unit=1000, columns=("user", "item", "rating", "timestamp"), low=0):
    table = pd.read_csv(io.StringIO(text), dtype=dtype, keep_default_na=dtype is None)
    table.columns = ["user", "item", "rating", "timestamp"]
    table = table if keep else table[(table["item"] != "") & table["item"].notna()]
    table = table.assign(rating=table["rating"].astype(float), timestamp=table["timestamp"].astype("int64") // unit)
    return table[table["rating"] >= low].set_axis(list(columns), axis=1)


def test_a_log_line_by_line_is_right_too():
    def mine(text):
        rows = [line.split(",") for line in text.strip().split("\n")[1:]]
        rows = [(u, i, int(r), int(t) // 1000) for u, i, r, t in rows if i]
        return pd.DataFrame(rows, columns=["user", "item", "rating", "timestamp"]).sort_values("timestamp")

    assert checks.ratings_to_log(mine).passed is True


@pytest.mark.parametrize(
    "mine, words",
    [
        (lambda t: log(t, keep=True), "a row without an item stays"),
        (lambda t: log(t, dtype=None), "decimal numbers"),
        (lambda t: log(t).assign(item=["12.0", "3.0", "12.0", "42.0"]), "decimal numbers"),
        (lambda t: log(t, unit=1), "still milliseconds"),
        (lambda t: log(t, unit=1_000_000), "twice"),
        (lambda t: log(t, low=4), "rows too few"),
        (lambda t: log(t, columns=("userId", "movieId", "rating", "timestamp")), "column 'user' is missing"),
        (lambda t: log(t).assign(user=lambda f: f["user"].str.lstrip("0")), "leading zero"),
        (lambda t: log(t).assign(timestamp=lambda f: f["timestamp"].astype(float)), "not whole numbers"),
        (lambda t: log(t).assign(timestamp=lambda f: pd.to_datetime(f["timestamp"], unit="s")), "dates"),
        (lambda t: log(t).assign(timestamp=lambda f: f["timestamp"].sort_values().to_numpy()), "belong to their rows"),
        (lambda t: log(t).assign(rating=[1.0, 5, 2, 4]), "ratings do not belong"),
        (lambda t: log(t).assign(source="csv"), "left over"),
        (lambda t: log(t).to_dict(), "return a table"),
    ],
)
def test_mistakes_of_the_log(mine, words):
    names("ratings_to_log", mine, words)


# ---- exercise 2 ----


def cosines(stored, fresh):
    a, b = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (stored, fresh))
    return a @ b.T


def by_distance(stored, fresh):
    squared = ((stored[:, None] - fresh[None]) ** 2).sum(-1)
    return [n for n in range(len(stored)) if squared[n].min() < squared[n, n] - 1e-6]


def shifted(stored, fresh):
    return np.array(by_distance(stored, fresh))


def test_distances_find_the_rows_too_in_any_order():
    assert checks.shifted_rows(by_distance).passed is True
    assert checks.shifted_rows(lambda s, f: by_distance(s, f)[::-1]).passed is True


@pytest.mark.parametrize(
    "mine, words",
    [
        (lambda s, f: np.flatnonzero((s != f).any(axis=1)), "name every row"),
        (lambda s, f: np.setdiff1d(np.arange(len(s)), shifted(s, f)), "the others are asked for"),
        (lambda s, f: np.flatnonzero((s @ f.T).argmax(axis=1) != np.arange(len(s))), "divide by the lengths"),
        (lambda s, f: [*shifted(s, f), 6], "same picture"),
        (lambda s, f: shifted(s, f)[:1], "stop at the first"),
        (lambda s, f: [] if np.allclose(s.mean(0), f.mean(0), atol=0.1) else [0], "find nothing"),
        (lambda s, f: cosines(s, f).max(axis=1) > np.diag(cosines(s, f)) + 1e-6, "mask of True and False"),
        (lambda s, f: cosines(s, f), "list of positions"),
        (lambda s, f: [0, 1], "you name the rows [0, 1]"),
        *(
            (lambda s, f, t=t: np.flatnonzero(np.diag(cosines(s, f)) < t), "one limit for all")
            for t in (0.5, 0.9, 0.97)
        ),
    ],
)
def test_mistakes_of_the_shift(mine, words):
    names("shifted_rows", mine, words)


# ---- exercise 3 ----


def kept(users, items, k, rounds=99):
    alive = np.ones(len(users), dtype=bool)
    for _ in range(rounds):
        counts = [np.bincount(ids[alive], minlength=ids.max() + 1)[ids] for ids in (users, items)]
        alive = alive & (counts[0] >= k) & (counts[1] >= k)
    return len(set(users[alive])) / len(set(users)), len(set(items[alive])) / len(set(items)), alive.mean()


def largest(users, items, share, *, which=0, rounds=99, strict=False, add=0):
    enough = [k for k in range(1, 9) if kept(users, items, k, rounds)[which] >= share + 1e-9 * strict]
    return max(enough, default=0) + add


def test_a_float_or_tensor_like_answer_is_right_too():
    assert checks.largest_core(lambda u, i, s: np.float64(largest(u, i, s))).passed is True


@pytest.mark.parametrize(
    "mine, words",
    [
        (lambda u, i, s: largest(u, i, s, rounds=1), "you filter once"),
        (lambda u, i, s: largest(u, i, s, which=1), "share of the items"),
        (lambda u, i, s: largest(u, i, s, which=2), "share of the interactions"),
        (lambda u, i, s: largest(u, i, s, strict=True), "compare with >="),
        (lambda u, i, s: largest(u, i, s, add=1), "off by one"),
        (lambda u, i, s: 1, "smallest"),
        (lambda u, i, s: 7, "the largest k is 2"),
        (lambda u, i, s: [1, 2], "one whole number"),
    ],
)
def test_mistakes_of_the_core(mine, words):
    names("largest_core", mine, words)


# ---- bonus ----

RIGHT = {
    "next week": "temporal_global",
    "next item": "leave_one_out",
    "new arrivals": "cold_items",
    "published figure": "given",
}


def test_every_right_answer_is_a_strategy():
    assert set(RIGHT.values()) <= set(STRATEGIES)


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"next week": "random"}, "learn from what comes later"),
        ({"next week": "temporal_user"}, "cut per user"),
        ({"next item": "temporal_global"}, "per user"),
        ({"new arrivals": "random"}, "no training interaction"),
        ({"published figure": "random"}, "very same rows"),
        ({"published figure": "chance"}, "is no strategy"),
        ({"new arrivals": 3}, "as text"),
    ],
)
def test_mistakes_of_the_split(changed, words):
    names("split_for", lambda question: {**RIGHT, **changed}[question], words)
