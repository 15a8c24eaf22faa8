"""Checks of notebook 02: the iterative k-core, a global split in time, features aligned by id, a finder of leaks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from utils.checks.base import exercise

__all__ = ["align_by_id", "k_core", "leak_counts", "temporal_split"]


@exercise
def k_core(mine: Callable[[np.ndarray, np.ndarray, int], np.ndarray]) -> str | None:
    """mine(user_ids, item_ids, k) -> mask (n,): rows of the k-core, a repeated pair counted and kept once."""
    chain = _pairs("a1 a2 a3 b1 b2 b3 c1 c2 c3 c4 d1 d4 d5 e5 e4")  # 5 falls, then d and e, then 4
    answer = _mask(mine(*chain, 3), len(chain[0]))
    if isinstance(answer, str):
        return answer
    right, once = _core(*chain, 3), _core(*chain, 3, rounds=1)
    if np.array_equal(answer, right):
        return _core_with_repeats(mine)
    if np.array_equal(answer, once):
        return "you filter once: removing items leaves users below k; repeat until nothing falls any more."
    if np.array_equal(answer, _core(*chain, 3, by_user=False)):
        return "you count items only: users below k must go too."
    if np.array_equal(answer, _core(*chain, 3, by_item=False)):
        return "you count users only: items below k must go too."
    if np.array_equal(answer, ~right):
        return "your mask is the wrong way round: True means that the row stays."
    if np.array_equal(answer, _core(*chain, 4)):
        return "a user with exactly k interactions stays: compare with >= k, not with > k."
    return f"on a small log with k = 3 you keep {int(answer.sum())} rows, the core has {int(right.sum())}."


def _core_with_repeats(mine: Callable) -> str | None:
    repeated = _pairs("a1 a2 a1 b1 b2 c1 c2 d3 d3 d3 e3")
    first = np.array([True, True, False, True, True, True, True, True, False, False, True])
    answer = _mask(mine(*repeated, 2), len(first))
    if isinstance(answer, str):
        return answer
    right = first & _core(*repeated, 2, alive=first)
    if np.array_equal(answer, right):
        return None
    counted = _core(*repeated, 2)
    if np.array_equal(answer, counted) or np.array_equal(answer, counted & first):
        return "you count before repeated pairs are removed: a user who clicks one item three times has one item, not three."
    if np.array_equal(np.sort(answer), np.sort(right)):
        return "of a repeated pair keep the first row."
    return f"on a log with repeated pairs and k = 2 you keep {int(answer.sum())} rows, the core has {int(right.sum())}."


@exercise
def temporal_split(mine: Callable[[np.ndarray, list[str], float], np.ndarray]) -> str | None:
    """mine(user_ids, timestamps as text, share) -> mask (n,) of the test rows: the newest share of the whole log."""
    users, times, share = _timed_log()
    answer = _mask(mine(users, [str(t) for t in times], share), len(times))
    if isinstance(answer, str):
        return answer
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
    if isinstance(answer, str):
        return answer
    same = answer[times == 7]
    if same.any() and not same.all():
        return "interactions of the same second are on both sides of the cut; put all of them on one side."
    return None


@exercise
def align_by_id(mine: Callable) -> str | None:
    """mine(matrix, row_names, item_names) -> (aligned (n_items, dim), mask (n_items,)): rows found by id, gaps in the mask."""
    names, wanted = ["b7", "a2", "d1", "c9", "z0"], ["a2", "b7", "c9", "d1"]
    matrix = np.arange(1.0, 11.0).reshape(5, 2)
    found = _aligned(mine(matrix.copy(), list(names), list(wanted)), len(wanted))
    if isinstance(found, str):
        return found
    right = matrix[[1, 0, 3, 2]]
    if not np.array_equal(found[0], right):
        return _misaligned(found[0], matrix, right)
    if not found[1].all():
        return "all four items have a row here, but your mask says that some do not."
    return _with_gaps(mine, matrix, names)


def _misaligned(answer: np.ndarray, matrix: np.ndarray, right: np.ndarray) -> str:
    if np.array_equal(answer, matrix[:4]):
        return "you align by position: row k of the matrix belongs to row_names[k], not to item_names[k]."
    if np.array_equal(answer, matrix[np.argsort(["b7", "a2", "d1", "c9", "z0"], kind="stable")][:4][::-1]):
        return "your rows come out in the reverse order of the items."
    if any(np.array_equal(answer, np.roll(right, step, axis=0)) for step in (1, -1)) or any(
        np.array_equal(answer, matrix[np.clip(np.array([1, 0, 3, 2]) + step, 0, 4)]) for step in (1, -1)
    ):
        return "your rows are off by one: each item gets the row beside its own."
    return f"the first item, 'a2', should get {right[0].tolist()}, and gets {np.asarray(answer)[0].tolist()}."


def _with_gaps(mine: Callable, matrix: np.ndarray, names: list[str]) -> str | None:
    wanted = ["c9", "q5", "b7"]  # nobody extracted q5
    try:
        found = _aligned(mine(matrix.copy(), list(names), list(wanted)), len(wanted))
    except (KeyError, ValueError, IndexError) as error:
        return f"an item without a row ('q5') raises {type(error).__name__}; give it zeros and False in the mask."
    if isinstance(found, str):
        return found
    answer, mask = found
    if mask[1] and not answer[1].any():
        return "the missing item 'q5' is silently zero: its mask must be False, or a model takes the zeros for content."
    if mask[1]:
        return "the missing item 'q5' got a row of another item; a search that fails must not return its nearest place."
    if answer[1].any():
        return "the mask of the missing item 'q5' is right, but its row is not zero; leave nothing there to be used."
    if not np.array_equal(answer[[0, 2]], matrix[[3, 0]]) or not mask[[0, 2]].all():
        return "the items around a missing one are wrong: its gap must not move their rows."
    return None


@exercise
def leak_counts(mine: Callable) -> str | None:
    """mine(train, test, train_times, test_times) -> (repeated pairs, test pairs older than the user's last train pair)."""
    train = np.array([[0, 1], [0, 2], [1, 1], [1, 3], [2, 4]])
    test = np.array([[0, 3], [0, 2], [1, 4], [2, 1], [3, 2]])
    answer = mine(train, test, np.array([10, 30, 5, 8, 50]), np.array([20, 40, 8, 45, 1]))
    try:
        repeated, past = (int(value) for value in answer)
    except (TypeError, ValueError):
        return "return two whole numbers: the repeated pairs, and the test pairs that are older than the user's last train pair."
    if repeated == 5:
        return "you look for items of the test that are anywhere in train; a leak is the same user with the same item."
    if repeated != 1:
        return f"you count {repeated} repeated pairs where there is 1: user 0 with item 2."
    if past == 5:
        return "you compare with everybody's last train interaction; here only the same user's own counts."
    if past == 3:
        return "equal times are not 'older' (user 1): use <. And user 3 has no train interaction, so nothing to be older than."
    if past == 1:
        return "compare with the user's last train interaction, not with the first."
    if past != 2:
        return f"you count {past} test pairs older than the user's last train pair; users 0 and 2 have one each."
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


def _timed_log() -> tuple[np.ndarray, np.ndarray, float]:
    """Three users whose times have different lengths as text, in a file that is not in the order of time."""
    users = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
    times = np.array([95, 120, 8, 99, 1500, 1250, 101, 1300, 7, 90, 1400, 9, 85, 140, 1100])
    return users, times, 0.2


def _rows_by_user(users: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(users == user) for user in np.unique(users)]


def _mask(answer: object, size: int) -> np.ndarray | str:
    answer = np.asarray(answer)
    if answer.dtype != bool or answer.shape != (size,):
        return f"return a mask of {size} True or False, one per row; you return {answer.dtype} of shape {answer.shape}."
    return answer


def _aligned(answer: object, size: int) -> tuple[np.ndarray, np.ndarray] | str:
    if not isinstance(answer, tuple) or len(answer) != 2:
        return "return two things: the aligned matrix and the mask (True = the item has a row)."
    matrix, mask = np.asarray(answer[0]), np.asarray(answer[1])
    if matrix.shape != (size, 2):
        return f"the aligned matrix has shape {matrix.shape}; it needs one row per item, ({size}, 2) here."
    if mask.dtype != bool or mask.shape != (size,):
        return f"the mask must be {size} True or False, one per item; yours is {mask.dtype} of shape {mask.shape}."
    return matrix, mask
