"""Open challenge 2.2, data and phi ("Which?", "How?"): reviews as vectors on training edges, and the leaks they bring."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data import Dataset, Split, assemble
from utils.errors import CourseError
from utils.features import extract


@dataclass(frozen=True, eq=False, repr=False)
class EdgeReviews:
    """Review vectors, one for each (user, item) pair; where ``mask`` is False there is no review, and the vector is 0.

    Attributes:
        pairs: (n, 2) int64 rows (user_id, item_id), sorted, each once.
        vectors: (n, dim) float32.
        mask: (n,) bool, True = this edge has a review.
        about: encoder, what it was fitted on, transforms.
    """

    pairs: np.ndarray
    vectors: np.ndarray
    mask: np.ndarray
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Length of a review's vector."""
        return self.vectors.shape[1]

    def __repr__(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.vectors).tobytes()).hexdigest()[:12]
        share = f"{self.mask.mean():.0%}" if len(self.mask) else "0%"
        return f"EdgeReviews({len(self.pairs):,} edges x {self.dim}, {share} with a review, content {digest})"

    def on(self, split: Split) -> np.ndarray:
        """Return the vectors of the training edges by user, then item, each edge once: (n_edges, dim).

        Raises:
            CourseError: a review lies on an edge outside the training part, or a training edge has no row here.
        """
        check_reviews(self, split)
        keys = self.pairs[:, 0] * split.n_items + self.pairs[:, 1]
        if (np.diff(keys) <= 0).any():
            raise CourseError(
                "The pairs of the reviews are not sorted, or one comes twice; sort them by user and item."
            )
        wanted = np.unique(split.train[:, 0] * split.n_items + split.train[:, 1])
        places = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
        lost = np.flatnonzero(keys[places] != wanted) if len(keys) else np.arange(len(wanted))
        if len(lost):
            user, item = divmod(int(wanted[lost[0]]), split.n_items)
            raise CourseError(
                f"{len(lost)} training edges have no row in the reviews (first: user {user}, item {item}); "
                "make them with training_reviews(dataset, split) from this split."
            )
        return self.vectors[places]

    def shuffled(self, seed: int = 0) -> EdgeReviews:
        """Return the control: the reviews permuted over the edges that have one, so that each stands on a wrong edge."""
        rows = np.flatnonzero(self.mask)
        vectors = self.vectors.copy()
        vectors[rows] = self.vectors[np.random.default_rng(seed).permutation(rows)]
        return replace(self, vectors=vectors, about={**self.about, "shuffled": seed})

    def silent(self) -> EdgeReviews:
        """Return the control without words: every vector is 0 and masked, so that a gate sees only the two ends of its edge."""
        nothing = np.zeros_like(self.vectors), np.zeros_like(self.mask)
        return replace(self, vectors=nothing[0], mask=nothing[1], about={**self.about, "silent": True})

    def borrowed(self) -> EdgeReviews:
        """Let an edge without a review borrow the mean of its user's other reviews (as one public extractor does).

        Who never wrote keeps the vector of silence. The borrowed words speak of other items: say so when you use them.
        """
        n_users = int(self.pairs[:, 0].max()) + 1
        total = np.zeros((n_users, self.dim), dtype=np.float32)
        np.add.at(total, self.pairs[self.mask, 0], self.vectors[self.mask])
        count = np.bincount(self.pairs[self.mask, 0], minlength=n_users)[self.pairs[:, 0]]
        mean = total[self.pairs[:, 0]] / np.maximum(count, 1)[:, None]
        vectors = np.where(self.mask[:, None], self.vectors, mean).astype(np.float32)
        return replace(self, vectors=vectors, mask=self.mask | (count > 0), about={**self.about, "borrowed": True})


def latest(dataset: Dataset, pairs: np.ndarray, column: str) -> pd.Series:
    """Return what ``column`` says of each (user_id, item_id) pair, of a repeated pair its latest row; missing = none."""
    table = dataset.interactions
    if column not in table:
        raise CourseError(
            f"{dataset.name} has no column {column!r} in its interactions; take a dataset with {column}s."
        )
    if "timestamp" in table:
        table = table.sort_values("timestamp", kind="stable")
    keys = table["user_id"].to_numpy() * dataset.n_items + table["item_id"].to_numpy()
    last = pd.Series(table[column].to_numpy(), index=keys).groupby(level=0).last()
    return last.reindex(pairs[:, 0] * dataset.n_items + pairs[:, 1])


def review_texts(dataset: Dataset, pairs: np.ndarray) -> list[str]:
    """Return the review of each (user_id, item_id) pair, "" = none; of a repeated pair its latest row, as in the split."""
    return latest(dataset, pairs, "review").fillna("").str.strip().tolist()


def training_reviews(
    dataset: Dataset, split: Split, encoder: str = "minilm", dim: int = 64, parts: Sequence[str] = ("train",)
) -> EdgeReviews:
    """Turn the reviews on training edges into vectors; whatever is fitted (words, axes) is fitted on these alone.

    The encoder's vectors are centred on the mean review and turned to their ``dim`` strongest axes (PCA), then divided
    by one number so that the mean squared length is 1.

    Args:
        encoder: a textual encoder of ``utils.features`` that works offline: "minilm" or "tfidf_svd".
        dim: at most; fewer where there are fewer reviews.
        parts: leave this alone. ("train", "test") is the leak that notebook 08 makes on purpose.

    Raises:
        CourseError: no training edge has a review.
    """
    pairs = np.unique(np.concatenate([split.part(part) for part in parts]), axis=0)
    texts = review_texts(dataset, pairs)
    mask = np.array([bool(text) for text in texts])
    if not mask.any():
        raise CourseError(
            f"No edge of the {' and '.join(parts)} part of {dataset.name} has a review; there is no text."
        )
    found = encode(texts, encoder)
    centred = found - found[mask].mean(0)
    axes = np.linalg.svd(centred[mask], full_matrices=False)[2][:dim]  # (dim, width)
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]  # the same sign on every machine
    vectors = (centred @ axes.T) * mask[:, None]
    vectors /= max(float(np.sqrt((vectors[mask] ** 2).sum(1).mean())), 1e-12)
    about = {"encoder": encoder, "parts": list(parts), "n_reviews": int(mask.sum()), "dim": len(axes)}
    return EdgeReviews(pairs, vectors.astype(np.float32), mask, about)


def encode(texts: Sequence[str], encoder: str = "minilm") -> np.ndarray:
    """Return one row per text, (n, width) float32, 0 where the text is empty; equal texts are computed once."""
    names = [f"review {n}" for n in range(len(texts))]
    items = pd.DataFrame({"item": names, "title": "", "description": list(texts), "image": "", "audio": ""})
    nobody = pd.DataFrame({"user": pd.Series(dtype=object), "item": pd.Series(dtype=object)})
    return extract(assemble("reviews", Path(), items, nobody), "textual", encoder, progress=False, batch_size=32).matrix


# ---- leaks ----


def check_reviews(reviews: EdgeReviews, split: Split) -> None:
    """Raise when a review lies on an edge that is not in the training part: it would speak of what is to be predicted.

    Raises:
        CourseError: names how many, the first pair, and the part it belongs to.
    """
    keys = reviews.pairs[:, 0] * split.n_items + reviews.pairs[:, 1]
    outside = np.flatnonzero(~np.isin(keys, split.train[:, 0] * split.n_items + split.train[:, 1]))
    if not len(outside):
        return
    user, item = reviews.pairs[outside[0]]
    held = (name for name in ("valid", "test") if (split.part(name) == (user, item)).all(1).any())
    where = next(held, "no")
    raise CourseError(
        f"{len(outside)} of {len(keys):,} reviews lie outside the training part (first: user {user}, item {item}, of the "
        f"{where} part); a held-out review is written after the choice it speaks of, so keep training reviews only."
    )


def repeated_reviews(dataset: Dataset, split: Split, part: str = "test") -> pd.DataFrame:
    """List the held-out pairs whose text the same user also wrote on a training edge, letter for letter.

    No check of pairs finds these: the pair is new, the text is not. Capitals and spaces do not count.
    """
    held, train = split.part(part), split.train
    known = {(user, _plain(text)) for user, text in zip(train[:, 0], review_texts(dataset, train)) if text}
    texts = review_texts(dataset, held)
    hits = [bool(text) and (user, _plain(text)) in known for user, text in zip(held[:, 0], texts)]
    frame = pd.DataFrame({"user_id": held[:, 0], "item_id": held[:, 1], "review": texts})
    return frame[hits].reset_index(drop=True)


def once_per_text(dataset: Dataset) -> Dataset:
    """Keep, of the rows in which one user repeats one text, the earliest; rows without a text all stay."""
    table = dataset.interactions
    order = table.sort_values("timestamp", kind="stable") if "timestamp" in table else table
    plain = order["review"].map(_plain)
    again = pd.DataFrame({"user": order["user_id"], "text": plain}).duplicated() & (plain != "")
    return dataset.select(interactions=np.sort(again.index[~again].to_numpy()))


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


# ---- profiles: the shortest way from reviews to a ranking, and from a leak to a triumph ----


def profile_scores(reviews: EdgeReviews, n_users: int, n_items: int) -> np.ndarray:
    """Score by words alone: cosine of a user's mean review with an item's mean review, (n_users, n_items).

    Nothing is trained, so whatever this ranking knows comes from the reviews it was given.
    """
    rows, vectors = reviews.pairs[reviews.mask], reviews.vectors[reviews.mask]
    profiles = []
    for ids, size in ((rows[:, 0], n_users), (rows[:, 1], n_items)):
        total = np.zeros((size, reviews.dim), dtype=np.float32)
        np.add.at(total, ids, vectors)
        profiles.append(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))
    return profiles[0] @ profiles[1].T
