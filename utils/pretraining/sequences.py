"""Sequences: what each user took in the order of time; the last item is the test, the one before it the validation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from utils.data import Dataset, Split, split_dataset
from utils.errors import CourseError, suggest

BEFORE = ("valid", "test", "end")
TIES = ("random", "catalogue")


@dataclass(frozen=True, eq=False)
class Sequences:
    """The interactions of a leave-one-out split, and their order, which the split itself does not keep.

    Users and items have the numbers that they have everywhere: ``user_id`` from 0, ``item_id`` from 0.

    Attributes:
        split: the same interactions as train, valid and test, for ``evaluate`` and for models that know no order.
        items: (n,) int64 item_ids, one user after the other, each user's from the oldest to the newest.
        starts: (n_users + 1,) int64; the items of user u are ``items[starts[u] : starts[u + 1]]``.
        notes: one sentence for each thing that the order cannot say, or that a model cannot find.
    """

    split: Split
    items: np.ndarray
    starts: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def n_users(self) -> int:
        """Users, also those of whom nothing is held out."""
        return self.split.n_users

    @property
    def n_items(self) -> int:
        """Items of the catalogue, also those that nobody took."""
        return self.split.n_items

    def lengths(self, before: str = "valid") -> np.ndarray:
        """Count the items of each user before what is asked for: (n_users,) int64; see ``sequence``."""
        if before not in BEFORE:
            raise suggest(before, BEFORE, "end of a sequence")
        counts = np.diff(self.starts)
        held_out = {"end": 0, "test": counts > 1, "valid": (counts > 1).astype(np.int64) + (counts > 2)}
        return counts - held_out[before]

    def sequence(self, user_id: int, before: str = "valid") -> np.ndarray:
        """Return one user's item_ids, oldest first: (length,) int64.

        Args:
            before: "valid" is what training may see (the default, so that nothing leaks), "test" adds the validation
                item, which is known when the test item is asked for, and "end" is everything.
        """
        if not 0 <= user_id < self.n_users:
            raise CourseError(f"User {user_id} does not exist; user ids run from 0 to {self.n_users - 1}.")
        start = self.starts[user_id]
        return self.items[start : start + self.lengths(before)[user_id]]

    def padded(self, user_ids: np.ndarray, length: int, before: str = "valid") -> np.ndarray:
        """Return the newest ``length`` items of some users as one table: (len(user_ids), length) int64, -1 = padding.

        The padding stands on the left, so that the last column holds the newest item of everybody.
        """
        user_ids = np.asarray(user_ids, dtype=np.int64)
        starts = self.starts[user_ids, None]
        places = starts + self.lengths(before)[user_ids, None] - length + np.arange(length)
        return np.where(places >= starts, self.items[np.maximum(places, 0)], -1)

    def __repr__(self) -> str:
        counts = np.diff(self.starts)
        spread = f"{counts.min()} to {counts.max()} items, median {np.median(counts):g}"
        return "\n".join([f"Sequences of {self.n_users:,} users, {spread}", *(f"  note: {n}" for n in self.notes)])


def sequences_of(dataset: Dataset, ties: str = "random", seed: int = 0) -> Sequences:
    """Put a dataset's interactions in the order of time, held out as ``split_dataset(dataset, "leave_one_out")`` does.

    A repeated (user, item) pair counts once, at its latest time.

    Args:
        ties: the order of interactions of one user at the same timestamp: "random", drawn with ``seed``, or "catalogue",
            by item_id, as files are often stored; the two show how much of "next" is only the catalogue.

    Raises:
        CourseError: no timestamps, an unknown order of ties, or no user with three interactions.
    """
    table = dataset.interactions
    if "timestamp" not in table:
        raise CourseError(
            f"The interactions of {dataset.name} have no column 'timestamp', and without it nothing says what came next; "
            'add one, or use split_dataset(dataset, "random"), which asks for no order.'
        )
    if ties not in TIES:
        raise suggest(ties, TIES, "order of ties")
    ordered = dataset
    if ties == "catalogue":  # each row gets a time of its own, so that no tie is left to be drawn
        rank = np.empty(len(table), dtype=np.int64)
        rank[np.lexsort((table["item_id"], table["timestamp"]))] = np.arange(len(table))
        ordered = replace(dataset, interactions=table.assign(timestamp=rank))
    split = split_dataset(ordered, "leave_one_out", seed=seed, by="time")
    parts = (split.train, split.valid, split.test)
    pairs, part = np.concatenate(parts), np.repeat(np.arange(3), [len(rows) for rows in parts])
    chance = np.random.default_rng(seed).random(len(pairs))
    order = np.lexsort((chance, _latest(ordered, pairs), part, pairs[:, 0]))
    users, times = pairs[order, 0], _latest(dataset, pairs)[order]
    same = users[1:] == users[:-1]
    equal, steps = int((same & (times[1:] == times[:-1])).sum()), int(same.sum())
    notes = split.notes
    if equal:
        how = f"drawn with seed {seed}" if ties == "random" else "that of the catalogue"
        notes += (f"{equal:,} of {steps:,} steps ({equal / steps:.0%}) have equal timestamps: their order is {how}, "
                  "and time does not know it.",)  # fmt: skip
    counts = np.bincount(users, minlength=split.n_users)
    return in_parts(split, pairs[order, 1], counts, dataset.name, notes)


def in_parts(split: Split, items: np.ndarray, counts: np.ndarray, name: str, notes: tuple[str, ...] = ()) -> Sequences:
    """Make sequences of a split and of its items in order; say who is too short to be asked, and what nobody can find.

    Args:
        items: (n,) item_ids, one user after the other.
        counts: (n_users,) how many each user has.

    Raises:
        CourseError: no user has three interactions.
    """
    few = int((counts < 3).sum())
    if few == len(counts):
        raise CourseError(
            f"No user of {name} has three interactions, so that none is left to validate; add longer ones."
        )
    if few:
        notes += (f"{few:,} users have fewer than three interactions: of two the last is the test and none is left to "
                  "validate, of one nothing is held out.",)  # fmt: skip
    new = int(np.isin(split.test[:, 1], split.cold_items).sum())
    if new:
        notes += (f"{new:,} of {len(split.test):,} test items are in no training sequence: who counts, or learns a vector "
                  "for each id, cannot find them.",)  # fmt: skip
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Sequences(split, items, starts, notes)


def _latest(dataset: Dataset, pairs: np.ndarray) -> np.ndarray:
    """Look up when each (user_id, item_id) was last taken: (n,) int64."""
    table = dataset.interactions
    keys, place = np.unique(table["user_id"] * dataset.n_items + table["item_id"], return_inverse=True)
    latest = np.full(len(keys), np.iinfo(np.int64).min)
    np.maximum.at(latest, place, table["timestamp"].to_numpy(dtype=np.int64))
    return latest[np.searchsorted(keys, pairs[:, 0] * dataset.n_items + pairs[:, 1])]
