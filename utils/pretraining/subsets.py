"""Parts of sequences: ready-made lists as sequences, some of the users, and items that nobody took before the end."""

from __future__ import annotations

import numpy as np

from utils.data import Split
from utils.errors import CourseError
from utils.pretraining.sequences import Sequences, in_parts


def from_lists(items: np.ndarray, counts: np.ndarray, n_items: int, name: str) -> Sequences:
    """Make sequences of items in order: of each user the last is the test, the one before it the validation.

    Args:
        items: (n,) int64 item_ids, one user after the other, oldest first.
        counts: (n_users,) how many each user has; of one item nothing is held out, of two only the last.
        name: what the sequences are of, for sentences.

    Raises:
        CourseError: no user has three items.
    """
    users = np.repeat(np.arange(len(counts)), counts)
    from_end = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(items))
    held = np.repeat(counts, counts)
    test, valid = (from_end == 0) & (held > 1), (from_end == 1) & (held > 2)
    pairs = np.stack([users, items], axis=1)
    rows = [pairs[chosen] for chosen in (~test & ~valid, valid, test)]
    cold = np.setdiff1d(np.arange(n_items), rows[0][:, 1])
    split = Split(len(counts), n_items, *(part[np.lexsort(part.T[::-1])] for part in rows), "leave_one_out", cold)
    return in_parts(split, items, counts, name)


def of_users(sequences: Sequences, user_ids: np.ndarray) -> Sequences:
    """Keep some users only, numbered anew in the order given; the catalogue stays, with more cold items.

    A model that is made of them learns, and is validated, on these people alone; it can be asked for all.
    """
    user_ids = np.asarray(user_ids, dtype=np.int64)
    lists = [sequences.sequence(user, "end") for user in user_ids]
    counts = np.array([len(one) for one in lists], dtype=np.int64)
    return from_lists(np.concatenate(lists), counts, sequences.n_items, f"{len(lists)} users")


def some_users(sequences: Sequences, share: float, seed: int = 0) -> np.ndarray:
    """Draw a share (0 to 1) of the users, at least one: sorted user_ids.

    Raises:
        CourseError: the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise CourseError(f"share={share} must lie above 0 and be at most 1 (everybody).")
    count = max(1, round(share * sequences.n_users))
    return np.sort(np.random.default_rng(seed).permutation(sequences.n_users)[:count])


def without_items(sequences: Sequences, item_ids: np.ndarray) -> Sequences:
    """Take items out of all histories but the last place, as if they had come into the catalogue only then.

    Who then has them as the test item is asked for a cold item. Users whose histories become too short keep what is left, but
    for such an item alone, of which nothing would be held out: it would be learned from.
    """
    counts = np.diff(sequences.starts)
    last = np.zeros(len(sequences.items), dtype=bool)
    last[sequences.starts[1:][counts > 0] - 1] = True
    late = np.isin(sequences.items, item_ids)
    keep, users = last | ~late, np.repeat(np.arange(sequences.n_users), counts)
    keep &= ~(late & (np.bincount(users[keep], minlength=sequences.n_users)[users] == 1))
    left = np.bincount(users[keep], minlength=sequences.n_users)
    return from_lists(sequences.items[keep], left, sequences.n_items, "the histories without late items")


def busiest(sequences: Sequences, n_items: int, at_least: int = 5) -> tuple[Sequences, np.ndarray]:
    """Cut a log to its most taken items and to the users who took ``at_least`` of them; numbers begin anew.

    Of items that were taken equally often those with the smaller item_id stay. Histories keep their order.

    Returns:
        The sequences, and the old item_ids: (n_items,), row = new item_id.

    Raises:
        CourseError: nobody took so many of these items.
    """
    taken = np.bincount(sequences.items, minlength=sequences.n_items)
    kept = np.sort(np.argsort(-taken, kind="stable")[:n_items])
    keep = np.isin(sequences.items, kept)
    users = np.repeat(np.arange(sequences.n_users), np.diff(sequences.starts))
    counts = np.bincount(users[keep], minlength=sequences.n_users)
    keep &= counts[users] >= at_least
    counts = counts[counts >= at_least]
    if not len(counts):
        raise CourseError(f"Nobody took {at_least} of the {len(kept)} most taken items; ask for more items.")
    items = np.searchsorted(kept, sequences.items[keep])
    return from_lists(items, counts, len(kept), f"the {len(kept)} most taken items"), kept
