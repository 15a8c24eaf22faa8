"""Read review files larger than the memory: integer columns in memory, the texts on the disk, several passes.

A review costs 32 bytes of memory: two 64-bit keys instead of the ids, one of the text, the time and the rating. Its
strings wait in a *spool*, a plain file beside the target with one line per review, which later passes read in order.
"""

from __future__ import annotations

import gzip
import json
import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data.dataset import Dataset
from utils.data.split import LEFT_OUT, TEST, TRAIN, VALID, split_dataset
from utils.data.tables import SPLIT_NAMES
from utils.errors import CourseError
from utils.files import atomic_path
from utils.publishers.catalogue import PAIRS, RATED, READ, REPEATED, VARIANTS

MIN_VARIANT_TEXT = 20  # "Five stars", twice on a day, says nothing; a sentence of this many letters, twice, is a copy
KEPT_BAD_ROWS = 1000
CHUNK = 8192


def key_of(text: str) -> int:
    """A 64-bit key of an id: two ids of a file share one with a chance of about n^2 / 2^65; names are compared later."""
    return hash(text)


@dataclass
class BadRows:
    """Rows that could not be used: how many, and of the first thousand the file, the line and the reason."""

    count: int = 0
    rows: list[tuple[str, int, str]] = field(default_factory=list)

    def add(self, file: str, line: int, reason: str) -> None:
        """Count one row."""
        self.count += 1
        if len(self.rows) < KEPT_BAD_ROWS:
            self.rows.append((file, line, " ".join(reason.split())[:160]))

    def frame(self) -> pd.DataFrame:
        """Return one row per kept bad row: file, line, reason."""
        return pd.DataFrame(self.rows, columns=["file", "line", "reason"])


class ReviewStream:
    """The reviews of a file: columns in memory, strings in a spool. Use as a context, then :meth:`columns`."""

    def __init__(self, spool: Path) -> None:
        if sys.hash_info.width < 64:
            raise CourseError("This needs a 64-bit Python, because ids are told apart by 64-bit keys; install one.")
        self.spool = spool
        self.users, self.items, self.texts = array("q"), array("q"), array("q")
        self.times, self.ratings = array("i"), array("f")

    def __enter__(self) -> ReviewStream:
        self.spool.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.spool, "w", encoding="utf-8", newline="\n", buffering=1 << 20, errors="surrogatepass")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, user: str, item: str, rating: float, time: int, text: str) -> None:
        """Take one review. The ids hold no white space at their ends, no tabs and no line ends.

        Raises:
            OverflowError: the time does not fit 32 bits (before 1901 or after 2038).
        """
        # Splitting is slow, and most texts need none: isprintable() is false for every white space but the plain one.
        text = text.strip() if "  " not in text and text.isprintable() else " ".join(text.split())
        self.times.append(time)  # first, because it is the one that can fail
        self.users.append(hash(user))
        self.items.append(hash(item))
        self.texts.append(hash(text) | 1 if len(text) >= MIN_VARIANT_TEXT else hash(text) & ~1)  # odd: a long text
        self.ratings.append(rating)
        self._file.write(f"{user}\t{item}\t{text}\n")

    def __len__(self) -> int:
        return len(self.times)

    def columns(self) -> dict[str, np.ndarray]:
        """Return user, item, text (int64 keys), time (int32), rating (float32), each (n,), without a copy."""
        names = {"user": "q", "item": "q", "text": "q", "time": "i", "rating": "f"}
        columns = (self.users, self.items, self.texts, self.times, self.ratings)
        return {
            name: np.frombuffer(c, dtype=np.dtype(code)) if len(c) else np.zeros(0, dtype=np.dtype(code))
            for (name, code), c in zip(names.items(), columns)
        }

    def lines(self, keep: np.ndarray) -> Iterator[tuple[str, str, str]]:
        """Yield (user, item, text) of the rows that ``keep`` (n,) bool marks, in the order of the file."""
        with open(self.spool, encoding="utf-8", newline="\n", buffering=1 << 20, errors="surrogatepass") as file:
            for line in compress(file, keep):
                user, item, text = line.rstrip("\n").split("\t")
                yield user, item, text


class ItemStream:
    """The items of a file: keys and what each item has in memory, the rest in a spool of JSON lines."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.keys, self.has_text, self.has_image = array("q"), array("b"), array("b")
        self.repeated = 0
        self._seen: set[int] = set()

    def __enter__(self) -> ItemStream:
        self._file = open(self.spool, "w", encoding="utf-8", newline="\n", buffering=1 << 20)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, item: str, title: str, description: str, category: str, brand: str, images: list[str]) -> None:
        """Take one item; of an id that comes again the first row counts."""
        key = hash(item)
        if key in self._seen:
            self.repeated += 1
            return
        self._seen.add(key)
        self.keys.append(key)
        self.has_text.append(bool(description))
        self.has_image.append(bool(images))
        self._file.write(json.dumps([item, title, description, category, brand, images]) + "\n")

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, wanted: set[int] | None = None) -> Iterator[list[Any]]:
        """Yield [item, title, description, category, brand, images] in order, of all or of the wanted keys."""
        with open(self.spool, encoding="utf-8") as file:
            for key, line in zip(self.keys, file):
                if wanted is None or key in wanted:
                    yield json.loads(line)

    def known(self, *, text: bool = False, image: bool = False) -> np.ndarray:
        """Return the keys of the items that have what is asked for, (m,) int64."""
        if not len(self.keys):
            return np.zeros(0, dtype=np.int64)
        keep = np.ones(len(self.keys), dtype=bool)
        if text:
            keep &= np.frombuffer(self.has_text, dtype=np.int8).astype(bool)
        if image:
            keep &= np.frombuffer(self.has_image, dtype=np.int8).astype(bool)
        return np.frombuffer(self.keys, dtype=np.int64)[keep]


class KCoreFilter:
    """The steps from the rows of a file to a k-core: which rows stay, and the counts of every step.

    Attributes:
        alive: (n,) bool.
        steps: (step, users, items, interactions, applied) of each step so far.
    """

    def __init__(self, reviews: ReviewStream) -> None:
        columns = reviews.columns()
        self.user_keys, user = np.unique(columns["user"], return_inverse=True)
        self.user = user.astype(np.int32).ravel()
        self.item_keys, item = np.unique(columns["item"], return_inverse=True)
        self.item = item.astype(np.int32).ravel()
        self.text, self.time, self.rating = columns["text"], columns["time"], columns["rating"]
        self.alive = np.ones(len(self.user), dtype=bool)
        self.steps: list[tuple[str, int, int, int, bool]] = []
        self.note(READ)

    def counts(self, alive: np.ndarray) -> tuple[int, int, int]:
        """Return (users, items, interactions) of some rows."""
        users = np.bincount(self.user[alive], minlength=len(self.user_keys)) > 0
        items = np.bincount(self.item[alive], minlength=len(self.item_keys)) > 0
        return int(users.sum()), int(items.sum()), int(alive.sum())

    def note(self, step: str, alive: np.ndarray | None = None, applied: bool = True) -> None:
        """Note the counts of a step."""
        self.steps.append((step, *self.counts(self.alive if alive is None else alive), applied))

    def _keep(self, step: str, keep: np.ndarray, applied: bool = True) -> None:
        after = self.alive & keep
        if applied:
            self.alive = after
        self.note(step, after, applied)

    def drop_repeated_rows(self) -> None:
        """Keep the last of the rows that agree in user, item, time, rating and text (up to white space): published twice."""
        rows = self._shared_pairs()[::-1]  # so that the first found is the last in the file, as in one_per_pair()
        keys = np.stack(
            [self._pair(rows), self.time[rows], (self.rating[rows] * 1000).astype(np.int64), self.text[rows]], axis=1
        )
        keep = np.ones(len(self.alive), dtype=bool)
        if len(rows):
            keep[rows] = False
            keep[rows[np.unique(keys, axis=0, return_index=True)[1]]] = True
        self._keep(REPEATED, keep)

    def drop_variants(self, applied: bool) -> None:
        """Keep one of a user's rows of one time with one text on several items: a review shown on all sizes or colours.

        Shops copy a review to the variants of a product. The rows are no further choices of the user, but the published
        5-core files count them, so the course only says how many there are unless ``applied``.
        """
        rows = np.flatnonzero(self.alive & (self.text % 2 == 1))
        order = rows[np.lexsort((rows, self.text[rows], self.time[rows], self.user[rows]))]
        same = np.zeros(len(order), dtype=bool)
        same[1:] = np.logical_and.reduce([c[order][1:] == c[order][:-1] for c in (self.user, self.time, self.text)])
        keep = np.ones(len(self.alive), dtype=bool)
        keep[order[same]] = False
        self._keep(VARIANTS, keep, applied)

    def one_per_pair(self) -> None:
        """Keep each user's latest review of an item (of equal times the last row), as ``clean()`` does."""
        rows = self._shared_pairs()
        order = rows[np.lexsort((rows, self.time[rows], self._pair(rows)))]
        pair = self._pair(order)
        keep = np.ones(len(self.alive), dtype=bool)
        keep[order[:-1][pair[1:] == pair[:-1]]] = False
        self._keep(PAIRS, keep)

    def only_items(self, keys: np.ndarray, step: str, applied: bool = True) -> None:
        """Keep the rows of these items."""
        self._keep(step, np.isin(self.item_keys, keys)[self.item], applied)

    def min_rating(self, least: float) -> None:
        """Keep the rows rated at least this."""
        self._keep(RATED, self.rating >= least)

    def k_core(self, k: int) -> None:
        """Drop users and items with fewer than ``k`` rows until none is left."""
        alive = self.alive
        while True:
            users = np.bincount(self.user[alive], minlength=len(self.user_keys)) >= k
            items = np.bincount(self.item[alive], minlength=len(self.item_keys)) >= k
            after = alive & users[self.user] & items[self.item]
            if after.sum() == alive.sum():
                break
            alive = after
        self._keep(f"{k}-core", alive)

    def living_items(self) -> set[int]:
        """Return the keys of the items that still have a row."""
        return set(self.item_keys[np.bincount(self.item[self.alive], minlength=len(self.item_keys)) > 0].tolist())

    def _pair(self, rows: np.ndarray) -> np.ndarray:
        return self.user[rows].astype(np.int64) * len(self.item_keys) + self.item[rows]

    def _shared_pairs(self) -> np.ndarray:
        """Return the living rows, in order, whose user has more than one row of the same item."""
        rows = np.flatnonzero(self.alive)
        pair = self._pair(rows)
        order = np.argsort(pair, kind="stable")
        same = pair[order][1:] == pair[order][:-1]
        shared = np.zeros(len(rows), dtype=bool)
        shared[order[1:][same]] = True
        shared[order[:-1][same]] = True
        return rows[shared]


def write_interactions(
    path: Path,
    reviews: ReviewStream,
    core: KCoreFilter,
    item_ids: dict[int, int],
    *,
    strategy: str,
    seed: int,
    valid: float,
    test: float,
    clean: Callable[[str], str],
) -> dict[str, int]:
    """Split the living rows and write them to ``interactions.tsv.gz``, in the order of the publisher's file.

    The split is the one that ``split_dataset`` makes of the written folder with the same settings.

    Args:
        path: the table to write.
        item_ids: item key -> row in items.tsv.
        clean: makes plain text of a review.

    Returns:
        Rows per part: train, valid, test (and "left out", which stay without a part and are not written).
    """
    rows = np.flatnonzero(core.alive)
    names = _user_names(reviews, core)
    rank = np.full(len(core.user_keys), -1, dtype=np.int32)
    rank[sorted(names, key=names.__getitem__)] = np.arange(len(names), dtype=np.int32)
    position = np.array([item_ids.get(key, -1) for key in core.item_keys.tolist()], dtype=np.int32)
    columns = {"user_id": rank[core.user[rows]], "item_id": position[core.item[rows]]}
    labels = _labels(columns, core.time[rows], len(names), len(item_ids), strategy, seed, valid, test)
    living = core.alive.copy()
    living[rows[labels == LEFT_OUT]] = False
    written = labels[labels != LEFT_OUT]
    facts = zip(core.rating[living].tolist(), core.time[living].tolist(), written.tolist(), reviews.lines(living))
    with atomic_path(path) as temporary, ExitStack() as stack:
        raw = stack.enter_context(open(temporary, "wb"))
        file = stack.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=4))
        file.write(b"user\titem\trating\ttimestamp\treview\tsplit\n")
        lines: list[str] = []
        for rating, time, label, (user, item, text) in facts:
            lines.append(f"{user}\t{item}\t{rating:g}\t{time}\t{clean(text)}\t{SPLIT_NAMES[label]}\n")
            if len(lines) == CHUNK:
                file.write("".join(lines).encode("utf-8", "replace"))
                lines.clear()
        file.write("".join(lines).encode("utf-8", "replace"))
    parts = {name: int((labels == code).sum()) for code, name in ((TRAIN, "train"), (VALID, "valid"), (TEST, "test"))}
    return {**parts, "left out": int((labels == LEFT_OUT).sum())}


def _user_names(reviews: ReviewStream, core: KCoreFilter) -> dict[int, str]:
    """Return the names of the living users (position in ``user_keys`` -> name), and make sure that no key is shared."""
    names: dict[int, str] = {}
    for user_id, (user, _item, _text) in zip(core.user[core.alive].tolist(), reviews.lines(core.alive)):
        if names.setdefault(user_id, user) != user:
            raise CourseError(
                f"The users {names[user_id]!r} and {user!r} share a key by chance; run the command again."
            )
    return names


def _labels(
    columns: dict[str, np.ndarray], time: np.ndarray, n_users: int, n_items: int, strategy: str, seed: int,
    valid: float, test: float,
) -> np.ndarray:  # fmt: skip
    """Return TRAIN, VALID, TEST or LEFT_OUT per row, (n,) int8, by the course's own split."""
    table = pd.DataFrame({**columns, "timestamp": time.astype(np.int64)})
    items = pd.DataFrame({"item": np.zeros(n_items, dtype=np.int8)})
    small = Dataset("these reviews", Path("."), np.zeros(n_users, dtype=np.int8), items, table)
    split = split_dataset(small, strategy, seed=seed, valid=valid, test=test)
    pair = columns["user_id"].astype(np.int64) * n_items + columns["item_id"]
    labels = np.full(len(pair), LEFT_OUT, dtype=np.int8)
    for code, rows in ((TRAIN, split.train), (VALID, split.valid), (TEST, split.test)):
        part = np.sort(rows[:, 0] * n_items + rows[:, 1])
        if len(part):
            place = np.minimum(np.searchsorted(part, pair), len(part) - 1)
            labels[part[place] == pair] = code
    return labels
