"""Split interactions into train, valid and test; each strategy is vectorised, seeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from utils.data.dataset import Dataset
from utils.data.tables import SPLIT_NAMES
from utils.errors import CourseError, suggest

TRAIN, VALID, TEST = 0, 1, 2
LEFT_OUT = -1


@dataclass(frozen=True, eq=False)
class Split:
    """The interactions in three parts.

    Attributes:
        n_users, n_items: as in the dataset, also for those without an interaction here.
        train, valid, test: (n, 2) int64, rows (user_id, item_id), sorted.
        strategy: its name.
        cold_items: (n_cold,) int64, the items without a training interaction.
        notes: what the strategy left out, and why.
    """

    n_users: int
    n_items: int
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    strategy: str
    cold_items: np.ndarray
    notes: tuple[str, ...] = ()

    def part(self, name: str) -> np.ndarray:
        """Return the (n, 2) rows of "train", "valid" or "test"."""
        if name not in SPLIT_NAMES:
            raise suggest(name, SPLIT_NAMES, "part of a split")
        return getattr(self, name)

    def matrix(self, part: str = "train") -> sp.csr_matrix:
        """Return a part as a binary float32 matrix, (n_users, n_items)."""
        rows = self.part(part)
        ones = np.ones(len(rows), dtype=np.float32)
        matrix = sp.csr_matrix((ones, (rows[:, 0], rows[:, 1])), shape=(self.n_users, self.n_items))
        matrix.data[:] = 1  # the same pair twice is still one
        return matrix

    def __repr__(self) -> str:
        total = max(1, sum(len(self.part(name)) for name in SPLIT_NAMES))
        parts = ", ".join(f"{n} {len(self.part(n)):,} ({len(self.part(n)) / total:.1%})" for n in SPLIT_NAMES)
        lines = [f"Split {self.strategy!r}: {parts}"]
        lines += [f"  {self.n_users:,} users, {self.n_items:,} items, {len(self.cold_items):,} of them cold"]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def split_dataset(
    dataset: Dataset,
    strategy: str = "random",
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.1,
    **options: object,
) -> Split:
    """Split a dataset's interactions.

    Strategies:
        ``random``: per user, the given shares (rounded half up) at random.
        ``leave_one_out``: per user, the last interaction is test, the one before valid. Option ``by``: "time" (the
            default when there are timestamps) or "random".
        ``temporal_user``: per user, the given shares from the end of the user's time.
        ``temporal_global``: two moments in time, the same for everybody. Option ``new_users``: "drop" (default: who has
            no training interaction is not asked for) or "keep".
        ``cold_items``: a share of the items (option ``share``, default 0.15) loses all training interactions; half of
            them are valid, half test (in the ratio of ``valid`` to ``test``). Option ``warm`` (default False): also
            hold out the given shares of each user's other interactions. Option ``new_users`` as above.
        ``given``: the column ``split`` of interactions.tsv.

    A repeated (user, item) pair counts once (its latest row), so that no copy lands in two parts; equal timestamps are
    ordered by the seeded generator. In the strategies per user everybody keeps at least one training interaction.
    The result depends on the pairs and the seed, not on the order of the file (but for ties of repeated pairs).

    Raises:
        CourseError: unknown strategy or option, shares that leave no training part, no timestamps, no split column, or
            a part that comes out empty.
    """
    if strategy not in STRATEGIES:
        raise suggest(strategy, STRATEGIES, "split strategy")
    function, known = STRATEGIES[strategy]
    for name in options:
        if name not in known:
            raise suggest(name, known, f"option of the split {strategy!r}")
    if valid < 0 or test < 0 or valid + test >= 1:
        raise CourseError(
            f"valid={valid} and test={test} leave no training part; choose shares from 0 on whose sum is below 1."
        )
    notes: list[str] = []
    table = _pairs(dataset, strategy, notes)
    rng = np.random.default_rng(seed)
    labels = function(_Job(dataset, table, rng, valid, test, notes), **options)
    pairs = table[["user_id", "item_id"]].to_numpy(dtype=np.int64)
    parts = {name: pairs[labels == code] for code, name in enumerate(SPLIT_NAMES)}
    if not len(parts["train"]):
        remedy = "mark some interactions as train" if strategy == "given" else "lower the held-out shares"
        raise CourseError(f"The split {strategy!r} of {dataset.name} has no training interaction; {remedy}.")
    warm = np.bincount(parts["train"][:, 1], minlength=dataset.n_items) > 0
    cold = np.flatnonzero(~warm).astype(np.int64)
    return Split(dataset.n_users, dataset.n_items, **parts, strategy=strategy, cold_items=cold, notes=tuple(notes))


@dataclass(frozen=True, eq=False)
class _Job:
    """What a strategy needs: the distinct pairs sorted by user and item, the generator, the shares, and the notes."""

    dataset: Dataset
    table: pd.DataFrame
    rng: np.random.Generator
    valid: float
    test: float
    notes: list[str]

    @property
    def user_ids(self) -> np.ndarray:
        return self.table["user_id"].to_numpy()

    def times(self, strategy: str) -> np.ndarray:
        if "timestamp" not in self.table:
            raise CourseError(
                f"The split {strategy!r} needs a column 'timestamp' in the interactions of {self.dataset.name}; "
                'add one, or choose the strategy "random".'
            )
        return self.table["timestamp"].to_numpy()


def _pairs(dataset: Dataset, strategy: str, notes: list[str]) -> pd.DataFrame:
    """Return the interactions sorted by (user_id, item_id), each pair once (its latest row)."""
    table = dataset.interactions
    if table.empty:
        raise CourseError(f"{dataset.name} has no interactions to split; load or select some first.")
    keys = ["user_id", "item_id"] + (["timestamp"] if "timestamp" in table else [])
    table = table[[*keys, *(["split"] if "split" in table else [])]].sort_values(keys, kind="stable")
    if strategy == "given":
        return table.reset_index(drop=True)  # what the file says, also where it repeats itself
    distinct = table.drop_duplicates(["user_id", "item_id"], keep="last")
    if len(distinct) < len(table):
        notes.append(f"{len(table) - len(distinct):,} repeated (user, item) pairs count once.")
    return distinct.reset_index(drop=True)


def _rank_from_end(user_ids: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rank each row within its user, 0 = last. ``order`` sorts the rows by user, then by time or chance."""
    counts = np.bincount(user_ids)
    ends = np.cumsum(counts)
    rank = np.empty(len(user_ids), dtype=np.int64)
    rank[order] = ends[user_ids[order]] - 1 - np.arange(len(user_ids))
    return rank


def _by_rank(rank: np.ndarray, n_test: np.ndarray, n_valid: np.ndarray) -> np.ndarray:
    """Label the last ``n_test`` rows of each user test and the ``n_valid`` before them valid (all arrays per row)."""
    return np.where(rank < n_test, TEST, np.where(rank < n_test + n_valid, VALID, TRAIN))


def _shares(job: _Job, user_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many test and valid rows the user of each row gives, rounded half up; one row is left for training."""
    counts = np.bincount(user_ids)[user_ids]
    n_test = np.minimum(np.floor(counts * job.test + 0.5 + 1e-9).astype(np.int64), counts - 1)
    n_valid = np.minimum(np.floor(counts * job.valid + 0.5 + 1e-9).astype(np.int64), counts - 1 - n_test)
    return n_test, n_valid


def _random(job: _Job) -> np.ndarray:
    user_ids = job.user_ids
    order = np.lexsort((job.rng.random(len(user_ids)), user_ids))
    return _by_rank(_rank_from_end(user_ids, order), *_shares(job, user_ids))


def _temporal_user(job: _Job) -> np.ndarray:
    user_ids = job.user_ids
    order = np.lexsort((job.rng.random(len(user_ids)), job.times("temporal_user"), user_ids))
    return _by_rank(_rank_from_end(user_ids, order), *_shares(job, user_ids))


def _leave_one_out(job: _Job, by: str = "auto") -> np.ndarray:
    if by not in ("auto", "time", "random"):
        raise suggest(by, ("time", "random"), "order for leave_one_out")
    user_ids = job.user_ids
    timed = by == "time" or (by == "auto" and "timestamp" in job.table)
    if by == "auto" and not timed:
        job.notes.append("No timestamps: the held-out interactions are drawn at random.")
    times = job.times("leave_one_out") if timed else np.zeros(len(user_ids))
    order = np.lexsort((job.rng.random(len(user_ids)), times, user_ids))
    counts = np.bincount(user_ids)[user_ids]
    return _by_rank(_rank_from_end(user_ids, order), (counts > 1).astype(int), (counts > 2).astype(int))


def _temporal_global(job: _Job, new_users: str = "drop") -> np.ndarray:
    times = job.times("temporal_global")
    ordered = np.sort(times)
    n_rows = len(ordered)
    # Interactions of the same second stay on the same side of a cut.
    first_test = ordered[min(n_rows - 1, int(np.floor(n_rows * (1 - job.test) + 0.5 + 1e-9)))]
    first_valid = ordered[min(n_rows - 1, int(np.floor(n_rows * (1 - job.test - job.valid) + 0.5 + 1e-9)))]
    labels = np.where(times >= first_test, TEST, np.where(times >= first_valid, VALID, TRAIN))
    if job.test == 0:
        labels[labels == TEST] = VALID if job.valid else TRAIN
    wanted = {VALID: job.valid, TEST: job.test, TRAIN: 1.0}
    for code, name in enumerate(SPLIT_NAMES):
        if wanted[code] and not (labels == code).any():
            raise CourseError(
                f"The split 'temporal_global' of {job.dataset.name} leaves {name} empty, because too many interactions "
                'share one timestamp; choose other shares, or the strategy "random".'
            )
    return _without_new_users(job, labels, new_users)


def _cold_items(job: _Job, share: float = 0.15, warm: bool = False, new_users: str = "drop") -> np.ndarray:
    seen = np.unique(job.table["item_id"].to_numpy())
    n_cold = int(np.floor(len(seen) * share + 0.5))
    ratio = job.test / (job.valid + job.test) if job.valid + job.test else 1.0
    n_test = int(np.floor(n_cold * ratio + 0.5))
    if not 0 < share < 1 or n_test < 1 or n_cold >= len(seen):
        raise CourseError(
            f"share={share} of {len(seen)} items makes no cold items to test on and warm ones to train on; "
            "choose a share between 0 and 1 that leaves both."
        )
    chosen = job.rng.permutation(seen)[:n_cold]
    of_item = np.full(job.dataset.n_items, TRAIN)
    of_item[chosen[:n_test]], of_item[chosen[n_test:]] = TEST, VALID
    labels = of_item[job.table["item_id"].to_numpy()]
    if warm:
        rows = np.flatnonzero(labels == TRAIN)
        inner = _Job(job.dataset, job.table.iloc[rows], job.rng, job.valid, job.test, job.notes)
        labels[rows] = _random(inner)
    return _without_new_users(job, labels, new_users)


def _without_new_users(job: _Job, labels: np.ndarray, new_users: str) -> np.ndarray:
    """Leave out the held-out interactions of users without a training interaction, and say how many."""
    if new_users not in ("drop", "keep"):
        raise suggest(new_users, ("drop", "keep"), "value of new_users")
    known = np.bincount(job.user_ids[labels == TRAIN], minlength=job.dataset.n_users) > 0
    stranger = ~known[job.user_ids]
    if new_users == "drop" and stranger.any():
        held, who = int(stranger.sum()), len(np.unique(job.user_ids[stranger]))
        job.notes.append(f"{held:,} held-out interactions of {who:,} users without training interactions are left out.")
        labels = np.where(stranger, LEFT_OUT, labels)
    return labels


def _given(job: _Job) -> np.ndarray:
    if "split" not in job.table:
        raise CourseError(
            f"The split 'given' needs a column 'split' (train, valid, test) in the interactions of {job.dataset.name}; "
            'add one, or choose the strategy "random".'
        )
    return job.table["split"].map({name: code for code, name in enumerate(SPLIT_NAMES)}).to_numpy(dtype=np.int64)


STRATEGIES: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...]]] = {
    "random": (_random, ()),
    "leave_one_out": (_leave_one_out, ("by",)),
    "temporal_user": (_temporal_user, ()),
    "temporal_global": (_temporal_global, ("new_users",)),
    "cold_items": (_cold_items, ("share", "warm", "new_users")),
    "given": (_given, ()),
}
