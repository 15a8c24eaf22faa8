"""Checks of appendix A1: a CSV as a course log, shifted feature rows, the largest k-core that can be paid for, the split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from utils.checks.base import Mistake, exercise, numbers

__all__ = ["largest_core", "ratings_to_log", "shifted_rows", "split_for"]

CSV = """userId,movieId,rating,timestamp
007,12,5,1700000300000
007,3,2,1700000100000
u8,,4,1700000200000
u8,12,4,1700000400000
9,0042,1,1700000500000
"""
LOG = [
    ("007", "12", 1_700_000_300),
    ("007", "3", 1_700_000_100),
    ("u8", "12", 1_700_000_400),
    ("9", "0042", 1_700_000_500),
]


@exercise
def ratings_to_log(mine: Callable[[str], pd.DataFrame]) -> str | None:
    """mine(text of a CSV) -> table user, item, rating, timestamp: ids as they are written, seconds, no row without item."""
    table = mine(CSV)
    if not isinstance(table, pd.DataFrame):
        raise Mistake(f"return a table (pandas.DataFrame); you return {type(table).__name__}.")
    missing = [name for name in ("user", "item", "rating", "timestamp") if name not in table]
    if missing:
        return f"the column {missing[0]!r} is missing: a course log says user, item, rating and timestamp."
    return _ids(table) or _times(table) or _rest(table)


def _ids(table: pd.DataFrame) -> str | None:
    users, items = (table[name].tolist() for name in ("user", "item"))
    said = [str(value).strip().lower() for value in users + items]
    if "" in said or "nan" in said or "none" in said or "<na>" in said:
        return "a row without an item stays: it says that somebody took nothing; drop it."
    if any(text.endswith(".0") for text in said):
        return "ids became decimal numbers ('12.0'), because a gap makes a column of numbers float: read ids as text (dtype=str)."
    if not all(isinstance(value, str) for value in users + items):
        return "ids are numbers: they are names, nobody adds them up; read them as text (dtype=str)."
    if {"7", "42"} & set(said):
        return "a leading zero is lost: '007' is not '7'; read ids as text before anything turns them into numbers."
    if len(table) < len(LOG):
        return f"{len(LOG) - len(table)} rows too few: low ratings stay, whether they count as likes is decided later."
    if sorted(zip(users, items)) != sorted((user, item) for user, item, _ in LOG):
        return f"the pairs are {sorted(zip(users, items))}; they should be those of the file."
    return None


def _times(table: pd.DataFrame) -> str | None:
    if pd.api.types.is_datetime64_any_dtype(table["timestamp"]):
        return "timestamps are dates: write whole seconds since 1970."
    times = numbers(pd.to_numeric(table["timestamp"], errors="coerce"), "timestamp")
    if np.allclose(times, 1000 * _wanted(table)):
        return "timestamps are still milliseconds: divide by 1000."
    if np.allclose(times, _wanted(table) / 1000, rtol=1e-6):
        return "you divide by a thousand twice; these are seconds since 1970 in thousands."
    if np.allclose(times, _wanted(table) // 60):
        return "these are minutes since 1970: write whole seconds."
    if not np.array_equal(times, _wanted(table)):
        return "timestamps do not belong to their rows any more: keep the columns together while you drop and sort."
    if not pd.api.types.is_integer_dtype(table["timestamp"]):
        return "timestamps are not whole numbers: use // 1000 on integers, or astype('int64')."
    return None


def _wanted(table: pd.DataFrame) -> np.ndarray:
    known = {(user, item): time for user, item, time in LOG}
    return np.array([known[pair] for pair in zip(table["user"], table["item"])], dtype=float)


def _rest(table: pd.DataFrame) -> str | None:
    if not pd.api.types.is_numeric_dtype(table["rating"]):
        return "ratings are text: turn them into numbers, or nobody can take their mean."
    ratings = pd.to_numeric(table["rating"], errors="coerce").tolist()
    known = {("007", "12"): 5, ("007", "3"): 2, ("u8", "12"): 4, ("9", "0042"): 1}
    if ratings != [known[pair] for pair in zip(table["user"], table["item"])]:
        return "ratings do not belong to their rows any more, or are no numbers."
    extra = [name for name in table if name not in ("user", "item", "rating", "timestamp")]
    return f"the column {extra[0]!r} is left over; the log has user, item, rating and timestamp." if extra else None


@exercise
def shifted_rows(mine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> str | None:
    """mine(stored (n, dim), fresh (n, dim)) -> positions of stored rows that are more like another item's fresh row."""
    stored, fresh = _matrices()
    answer = _positions(mine(stored.copy(), fresh.copy()), len(stored))
    wrong = [2, 3, 4]  # rows 2, 3 and 4 have moved round; 5 and 6 are the same picture twice; all lost a few digits
    if sorted(answer) == wrong:
        return None
    every = list(range(len(stored)))
    by_product = (stored @ fresh.T).argmax(axis=1)
    mistakes = {
        "you name every row. Storing as float16 rounds, so none is equal: ask which fresh row is the nearest one.":
            every,
        "these are the rows that are right; the others are asked for.": [n for n in every if n not in wrong],
        "two items show the same picture (rows 5 and 6), so that another row is as near as the own: it must be nearer by more than rounding.":
            [2, 3, 4, 6],
        "you take the largest inner product, which a long vector wins: divide by the lengths.":
            [n for n in every if by_product[n] != n],
        "you stop at the first row that is wrong; all of them are asked for.": [2],
        "you find nothing: the mean over all rows does not change when rows move. Compare row by row.": [],
    }  # fmt: skip
    for sentence, places in mistakes.items():
        if answer == places:
            return sentence
    if sorted(answer) in ([3, 4], [3, 4, 7], [2, 3, 4, 7]):
        return "you ask how near the own row is, with one limit for all: ask whether another item's row is nearer."
    return f"you name the rows {answer}; the rows that are more like another item are {wrong}."


def _matrices() -> tuple[np.ndarray, np.ndarray]:
    fresh = np.array(
        [[1, 0, 0.2], [9, 2, 1], [0, 1, 0.4], [-0.3, 1, 0.6], [0.2, -1, 0.5], [0.6, 0.7, -1], [0.6, 0.7, -1], [-0.4, -0.8, -0.9]],
        dtype=np.float64,
    )  # fmt: skip
    stored = fresh[[0, 1, 3, 4, 2, 5, 6, 7]].copy()
    stored[7] += [
        0.4,
        -0.3,
        0.3,
    ]  # coarse, and still nearest to its own: no one cosine parts the wrong rows from the right
    return stored + 0.001 * np.cos(np.arange(stored.size)).reshape(stored.shape), fresh


def _positions(answer: object, size: int) -> list[int]:
    values = numbers(answer, "positions")
    if values.dtype == float and np.asarray(answer).dtype == bool and values.shape == (size,):
        raise Mistake("you return a mask of True and False; return the positions: np.flatnonzero(mask).")
    if values.ndim != 1:
        raise Mistake(f"return a list of positions; you return an array of shape {values.shape}.")
    return [int(value) for value in values]


@exercise
def largest_core(mine: Callable[[np.ndarray, np.ndarray, float], int]) -> str | None:
    """mine(user_ids, item_ids, share) -> the largest k whose iterated k-core keeps at least ``share`` of the users."""
    users, items = _log()
    off = "off by one: this is the first k that keeps too few; return the one before."
    trials = [  # share of the users, the largest k, wrong answers and what they come from; the core keeps 1, 1, .6, .6
        (0.7, 2, {3: off, 4: "you filter once; the core is what is left when nothing falls any more.",
                  1: "you return the smallest k that keeps enough; the largest is asked for."}),
        (0.9, 2, {3: off, 1: "you ask what share of the items stays; here the users count."}),
        (0.95, 2, {3: off, 1: "you ask what share of the interactions stays; here the users count."}),
        (0.6, 4, {5: off, 2: "exactly the share is enough: compare with >=, not with >.",
                  3: "you stop at the first k that costs nobody; go on for as long as enough users are left."}),
    ]  # fmt: skip
    for share, right, mistakes in trials:
        answer = numbers(mine(users.copy(), items.copy(), share), "k")
        if answer.shape != ():
            raise Mistake(f"return one whole number; you return an array of shape {answer.shape}.")
        if float(answer) != right:
            other = f"for a share of {share} you choose k = {float(answer):g}; the largest k is {right}."
            return mistakes.get(float(answer), other)
    return None


def _log() -> tuple[np.ndarray, np.ndarray]:
    """Ten users: six take a common set of items, four only touch it and hold up rare items."""
    pairs = [(u, i) for u in range(6) for i in range(5) if (u + i) % 6]
    pairs += [(6, 0), (6, 1), (6, 5), (6, 6), (7, 2), (7, 5), (7, 6), (8, 3), (8, 7), (8, 6), (9, 4), (9, 7)]
    pairs += [(0, 8), (1, 9), (2, 10), (3, 11), (4, 8)]
    array = np.array(pairs)
    return array[:, 0], array[:, 1]


QUESTIONS = {
    "next week": ("temporal_global", "what everybody takes next week must be later than all that was learned, for all users at once"),
    "next item": ("leave_one_out", "each user's one next item is held out: the last one, per user"),
    "new arrivals": ("cold_items", "an item nobody has taken has no training interaction at all, and only this split makes such items"),
    "published figure": ("given", "a figure can only be compared on the very same rows: the split that comes with the data"),
}  # fmt: skip


@exercise(bonus=True)
def split_for(mine: Callable[[str], str]) -> str | None:
    """mine(question) -> the strategy of split_dataset that answers it, for the four questions of the exercise."""
    from utils.data import STRATEGIES

    answers = {question: mine(question) for question in QUESTIONS}
    for question, answer in answers.items():
        if not isinstance(answer, str):
            raise Mistake(
                f"return the name of a strategy as text; for {question!r} you return {type(answer).__name__}."
            )
        if answer not in STRATEGIES:
            return f"for {question!r} you say {answer!r}, which is no strategy; they are {', '.join(STRATEGIES)}."
    for question, answer in answers.items():
        right, why = QUESTIONS[question]
        if answer == right:
            continue
        if answer == "random" and right != "given":
            return f"{question!r}: a random split lets the model learn from what comes later; {why}."
        if answer == "temporal_user":
            return f"{question!r}: cut per user, one person's training may be later than another's test; {why}."
        return f"{question!r} is not answered by {answer!r}: {why}."
    return None
