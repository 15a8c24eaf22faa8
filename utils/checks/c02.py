"""Checks of notebook 02: the iterative k-core, a global split in time, features aligned by id, a finder of leaks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from utils.checks.base import Mistake, exercise, numbers

__all__ = ["align_by_id", "k_core", "leak_counts", "temporal_split"]


@exercise
def k_core(mine: Callable[[np.ndarray, np.ndarray, int], np.ndarray]) -> str | None:
    """mine(user_ids, item_ids, k) -> mask (n,): rows of the k-core, a repeated pair counted and kept once."""
    chain = _pairs("a1 a2 a3 b1 b2 b3 c1 c2 c3 c4 d1 d4 d5 e5 e4 f1 f2 f4")  # 5 and e fall, then d, then 4, then f
    answer = _mask(mine(*chain, 3), len(chain[0]))
    right, once = _core(*chain, 3), _core(*chain, 3, rounds=1)
    if np.array_equal(answer, right):
        return _core_with_repeats(mine)
    if np.array_equal(answer, once):
        return "you filter once: removing items leaves users below k; repeat until nothing falls any more."
    if np.array_equal(answer, _core(*chain, 3, rounds=2)):
        return "you stop after a fixed number of rounds; repeat until a round changes nothing."
    if np.array_equal(answer, _core(*chain, 3, by_user=False)):
        return "you count items only: users below k must go too."
    if np.array_equal(answer, _core(*chain, 3, by_item=False)):
        return "you count users only: items below k must go too."
    if np.array_equal(answer, ~right):
        return "your mask is the wrong way round: True means that the row stays."
    if answer.all():
        return "nothing falls in your version: remove users and items with fewer than k interactions."
    if np.array_equal(answer, _core(*chain, 2)):
        return "users or items with fewer than k interactions stay: compare with >= k."
    if np.array_equal(answer, _core(*chain, 3, rounds=1, by_user=False) | _core(*chain, 3, rounds=1, by_item=False)):
        return "you keep a row when its user or its item has k; both must have k."
    if np.array_equal(answer, _core(*chain, 4)):
        return "a user with exactly k interactions stays: compare with >= k, not with > k."
    return f"on a small log with k = 3 you keep {int(answer.sum())} rows, the core has {int(right.sum())}."


def _core_with_repeats(mine: Callable) -> str | None:
    repeated = _pairs("a1 a2 a1 b1 b2 c1 c2 d3 d3 d3 e3")
    first = np.array([True, True, False, True, True, True, True, True, False, False, True])
    answer = _mask(mine(*repeated, 2), len(first))
    last = np.array([False, True, True, True, True, True, True, False, False, True, True])
    right = _core(*repeated, 2, alive=first)
    if np.array_equal(answer, right):
        return None
    counted = _core(*repeated, 2)
    if np.array_equal(answer, counted) or np.array_equal(answer, counted & first):
        return "you count before repeated pairs are removed: a user who clicks one item three times has one item, not three."
    kept_none = _core(*repeated, 2, alive=~_repeats(*repeated))
    if np.array_equal(answer, kept_none):
        return "you drop all copies of a repeated pair (keep=False); the first row stays."
    if np.array_equal(answer, counted & last):
        return "you count before repeated pairs are removed, and keep the last copy instead of the first."
    if np.array_equal(answer, _core(*repeated, 2, alive=last)):
        return "you keep the last row of a repeated pair; keep the first."
    if np.array_equal(answer, right | (_copies(*repeated) & ~first)):
        return "the repeats come back: only the first row of a repeated pair stays in the mask."
    if not answer[_copies(*repeated)].any() or np.array_equal(
        answer, _core(*repeated, 2, alive=_first_of(repeated[1]))
    ):
        return "you drop rows whose item (or user) came before; a repeat is the same user with the same item."
    return f"on a log with repeated pairs and k = 2 you keep {int(answer.sum())} rows, the core has {int(right.sum())}."


@exercise
def align_by_id(mine: Callable) -> str | None:
    """mine(matrix, row_names, item_names) -> (aligned (n_items, dim), mask (n_items,)): rows found by id, gaps in the mask."""
    names, wanted = ["c9", "a2", "d1", "b7"], ["d1", "b7", "a2", "c9"]
    places = [2, 3, 1, 0]  # its inverse, its sorted order and its neighbours are all different
    matrix = np.arange(1.0, 9.0).reshape(4, 2)
    aligned, mask = _aligned(mine(matrix.copy(), list(names), list(wanted)), 4)
    mistakes = {
        "your rows are still in the order of the matrix: row k belongs to row_names[k], not to item_names[k].": [0, 1, 2, 3],
        "you put row k at the place that its item has in the matrix, which is the wrong way round: look up, do not scatter.": [
            3, 2, 0, 1,
        ],
        "your rows are sorted by id; the items are not: follow the order of item_names.": [1, 3, 0, 2],
        "your rows are off by one: each item gets the row above its own.": [1, 2, 0, 3],
        "your rows are off by one: each item gets the row below its own.": [3, 0, 2, 1],
        "your rows are off by one: the first item got the last one's row.": [0, 2, 3, 1],
        "your rows are off by one: the last item got the first one's row.": [3, 1, 0, 2],
        "your rows come out in the reverse order of the items.": [0, 1, 3, 2],
    }  # fmt: skip
    if not np.array_equal(aligned, matrix[places]):
        for sentence, wrong in mistakes.items():
            if np.array_equal(aligned, matrix[wrong]):
                return sentence
        return f"the first item, 'd1', should get {matrix[2].tolist()}, and gets {aligned[0].tolist()}."
    if not mask.any():
        return "your mask is the wrong way round: True means that the item has a row."
    if not mask.all():
        return "all four items have a row here, but your mask says that some do not."
    return _with_gaps(mine, np.arange(1.0, 11.0).reshape(5, 2), ["z0", *names])


def _with_gaps(mine: Callable, matrix: np.ndarray, names: list[str]) -> str | None:
    wanted = ["a2", "q5", "b7"]  # nobody extracted q5, and z0 is no item of the shop
    try:
        answer, mask = _aligned(mine(matrix.copy(), list(names), list(wanted)), len(wanted))
    except (KeyError, ValueError, IndexError) as error:
        return f"an item without a row ('q5') raises {type(error).__name__}; give it zeros and False in the mask."
    if np.array_equal(answer, matrix[[2, 4, 4]]) or np.array_equal(answer[:2], matrix[[2, 4]]):
        return "the gap of the missing item 'q5' closes up: later items moved into its place, and have the wrong rows."
    if mask[1] and not answer[1].any():
        return "the missing item 'q5' is silently zero: its mask must be False, or a model takes the zeros for content."
    if mask[1]:
        return "the missing item 'q5' got a row of another item; a search that fails must not return its nearest place."
    if np.isnan(answer[1]).any():
        return "the row of the missing item 'q5' is NaN, which spreads to everything it meets; give it zeros."
    if answer[1].any():
        return "the mask of the missing item 'q5' is right, but its row is not zero; leave nothing there to be used."
    if not np.array_equal(answer[[0, 2]], matrix[[2, 4]]) or not mask[[0, 2]].all():
        return "the items around a missing one are wrong: its gap must not move their rows."
    if not _aligned(mine(np.zeros((2, 2)), ["e5", "f6"], ["f6", "e5"]), 2)[1].all():
        return "a row of zeros is a row too: the mask follows from the ids, not from the numbers."
    return None


@exercise
def temporal_split(mine: Callable[[np.ndarray, list[str], float], np.ndarray]) -> str | None:
    """mine(user_ids, timestamps as text, share) -> mask (n,) of the test rows: the newest share of the whole log."""
    users, times, share = _timed_log()
    answer = _mask(mine(users, [str(t) for t in times], share), len(times))
    n_test = round(share * len(times))
    order = np.argsort(times, kind="stable")
    text = np.argsort([str(t) for t in times], kind="stable")

    def newest(places: np.ndarray) -> np.ndarray:
        mask = np.zeros(len(times), dtype=bool)
        mask[places] = True
        return mask

    if np.array_equal(answer, newest(order[-n_test:])):
        return _ties(mine)
    per_user = [rows[np.argsort(times[rows])][-round(share * len(rows)) :] for rows in _rows_by_user(users)]
    mistakes = {
        "your test part is older than your train part: the newest interactions are the test.": newest(order[:n_test]),
        "you sort the timestamps as text, where '9' comes after '10'; turn them into whole numbers first.": newest(
            text[-n_test:]
        ),
        "you cut each user's own list, so that some train interactions are later than another user's test: a model would "
        "know the future of everybody else. Cut once, at one moment for all.": newest(np.concatenate(per_user)),
        "you take the last rows of the file, which is not in the order of time.": newest(
            np.arange(len(times))[-n_test:]
        ),
        "your mask is the wrong way round: True means test.": ~newest(order[-n_test:]),
        "off by one: your test part has one interaction too many.": newest(order[-n_test - 1 :]),
        "off by one: your test part has one interaction too few.": newest(order[-n_test + 1 :]),
        "you cut the span of time, not the log: the newest share is counted in interactions, so sort and count.": (
            times >= times.min() + (1 - share) * (times.max() - times.min())
        ),
        "your test part is everything but the share: `share` is the size of the test part.": newest(order[n_test:]),
        "you used the order of the sorted log as if it were the order of the file: argsort gives places.": newest(
            np.flatnonzero(order >= len(times) - n_test)
        ),
    }
    for sentence, wrong in mistakes.items():
        if np.array_equal(answer, wrong):
            return sentence
    latest_train, first_test = times[~answer].max(initial=-1), times[answer].min(initial=1 << 60)
    if latest_train > first_test:
        return "some of your train interactions are later than some of your test interactions: the future leaks."
    return f"you hold out {int(answer.sum())} of {len(times)} interactions; a share of {share} is {n_test}."


def _ties(mine: Callable) -> str | None:
    times = np.array([5, 7, 7, 7, 9, 3, 2, 1, 4, 6])
    answer = _mask(mine(np.arange(10) % 3, [str(t) for t in times], 0.3), 10)
    same = answer[times == 7]
    if same.any() and not same.all():
        return "interactions of the same second are on both sides of the cut; put all of them on one side."
    return None


@exercise(bonus=True)
def leak_counts(mine: Callable) -> str | None:
    """mine(train, test, train_times, test_times) -> (repeated pairs, test pairs older than the user's last train pair)."""
    # users 3 and 4 have nothing in train; the times are such that every known mistake gives another count
    train = np.array([[0, 1], [0, 2], [1, 1], [1, 3], [2, 4], [2, 0], [2, 5]])
    test = np.array("03 14 02 22 32 04 04 41 03 21 23 12 15 05 21".split())
    test = np.array([[int(user), int(item)] for user, item in test])
    then = np.array([15, 13, 24, 27, 29, 7, 26])
    now = np.array([22, 27, 16, 34, 31, 14, 38, 18, 3, 12, 9, 12, 15, 7, 4])
    answer = mine(train.copy(), test.copy(), then.copy(), now.copy())
    if isinstance(answer, dict):
        answer = list(answer.values())
    try:
        if any(0 < float(value) < 1 for value in answer):
            return "these are shares; return the two counts."
        repeated, past = (int(value) for value in answer)
    except (TypeError, ValueError):
        return "return two whole numbers: the repeated pairs, and the test pairs that are older than the user's last train pair."

    def older(limit_of: Callable, unknown: float = -np.inf) -> int:
        limits = [limit_of(then[train[:, 0] == user]) if user in train[:, 0] else unknown for user in test[:, 0]]
        return int((now < np.array(limits)).sum())

    if (repeated, past) == (older(max), 1):
        return "the two numbers are swapped: first the repeated pairs, then the pairs from the past."
    if repeated == len(test) - len(np.unique(test, axis=0)) + 1 > 1:
        return "you also count pairs that come twice in the test part; a leak is a test pair that is in train."
    if repeated == (train == test[: len(train)]).all(axis=1).sum() == 0:
        return "you compare row by row; the same pair may stand in another row of train."
    if repeated == np.isin(test[:, 1], train[:, 1]).sum():
        return "you look for items of the test that are anywhere in train; a leak is the same user with the same item."
    if repeated == np.isin(test[:, 0], train[:, 0]).sum():
        return "you look for users of the test that are anywhere in train; a leak is the same user with the same item."
    if repeated == np.isin(test.sum(1), train.sum(1)).sum():
        return (
            "different pairs get the same number when you add user and item; multiply one by the number of items first."
        )
    if repeated != 1:
        return f"you count {repeated} repeated pairs where there is 1: user 0 with item 2."
    if past == sum(int((then[train[:, 0] == u] > n).sum()) for u, n in zip(test[:, 0], now)):
        return "you count pairs of a train and a test interaction; count each test pair once: compare with the user's last."
    if past == len({u for u, n in zip(test[:, 0], now) if n < max(then[train[:, 0] == u], default=-np.inf)}):
        return "you count users; a user with two test pairs from the past counts twice."
    if past == older(np.mean):
        return "you compare with the mean of the user's train times; compare with the last one."
    if past == (now < then.max()).sum():
        return "you compare with everybody's last train interaction; here only the same user's own counts."
    if past == older(lambda times: max(times) + 0.5):
        return "equal times are not 'older' (user 1): compare with <, not with <=."
    if past == older(max, np.inf):
        return "users 3 and 4 have no train interaction, so there is nothing that their test could be older than."
    if past == older(min):
        return "compare with the user's last train interaction, not with the first."
    if past == sum(now[n] > max(then[train[:, 0] == u], default=np.inf) for n, u in enumerate(test[:, 0])):
        return "you count the test pairs that are newer, which is how it should be; a leak is one that is older: <."
    if past == sum(n < max(then[train[:, 1] == i], default=-np.inf) for i, n in zip(test[:, 1], now)):
        return "you compare with the last train interaction of the same item; compare with the same user's last one."
    if past == (now[: len(then)] < then).sum():
        return "you compare the times row by row; compare each test time with the same user's last train time."
    if past != older(max):
        return f"you count {past} test pairs older than the user's last train pair; here there are {older(max)}."
    return None


# ---- below: small logs and reference answers ----------------------------------------------------------------------


def _pairs(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Read "a1 b2": user a with item 1, user b with item 2."""
    words = text.split()
    return np.array([ord(w[0]) - ord("a") for w in words]), np.array([int(w[1:]) for w in words])


def _core(
    users, items, k: int, *, rounds: int = 99, alive=None, by_user: bool = True, by_item: bool = True
) -> np.ndarray:
    """The reference: rows of the k-core, or of a mistaken version of it (one round; one side only)."""
    alive = np.ones(len(users), dtype=bool) if alive is None else alive.copy()
    for _ in range(rounds):
        stays = alive.copy()
        if by_user:
            stays &= np.bincount(users[alive], minlength=users.max() + 1)[users] >= k
        if by_item:
            stays &= np.bincount(items[alive], minlength=items.max() + 1)[items] >= k
        if np.array_equal(stays, alive):
            break
        alive = stays
    return alive


def _repeats(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """All copies of a pair that comes more than once: (n,) bool."""
    pairs = users * (items.max() + 1) + items
    return np.bincount(pairs)[pairs] > 1


def _copies(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Rows of the pair a1, which comes twice and stays in the core: (n,) bool."""
    return (users == 0) & (items == 1)


def _first_of(ids: np.ndarray) -> np.ndarray:
    """True where an id is there for the first time: (n,) bool."""
    return np.isin(np.arange(len(ids)), np.unique(ids, return_index=True)[1])


def _timed_log() -> tuple[np.ndarray, np.ndarray, float]:
    """Three users whose times have different lengths as text, in a file that is not in the order of time."""
    users = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
    times = np.array([95, 120, 8, 99, 1500, 1250, 101, 1300, 7, 90, 1400, 9, 85, 140, 1210])
    return users, times, 0.2


def _rows_by_user(users: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(users == user) for user in np.unique(users)]


def _mask(answer: object, size: int) -> np.ndarray:
    values = np.asarray(answer)
    if values.dtype != bool or values.shape != (size,):
        raise Mistake(
            f"return a mask of {size} True or False, one per row; you return {values.dtype} of shape {values.shape}."
        )
    return values


def _aligned(answer: object, size: int) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise Mistake("return two things: the aligned matrix and the mask (True = the item has a row).")
    matrix, mask = numbers(answer[0], "aligned matrix"), np.asarray(answer[1])
    if matrix.shape != (size, 2):
        raise Mistake(f"the aligned matrix has shape {matrix.shape}; it needs one row per item, ({size}, 2) here.")
    if mask.dtype != bool or mask.shape != (size,):
        raise Mistake(
            f"the mask must be {size} True or False, one per item; yours is {mask.dtype} of shape {mask.shape}."
        )
    return matrix, mask
