"""Open challenge 2.2: measure whether gates on edges tell low from high ratings, and real from planted wrong edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from utils.challenges.reviews import EdgeReviews, latest
from utils.data import Dataset, Split
from utils.errors import CourseError


def separation(values: np.ndarray, high: np.ndarray) -> float:
    """Return how often a value of the ``high`` group is above one of the others (AUC): 1/2 = not told apart.

    Args:
        values: (n,) numbers, for example gates.
        high: (n,) bool.
    """
    values, high = np.asarray(values, dtype=float), np.asarray(high, dtype=bool)
    n_high, n_low = int(high.sum()), int((~high).sum())
    if not n_high or not n_low:
        raise CourseError("One of the two groups is empty, so nothing can be told apart; choose other ratings.")
    ranks = pd.Series(values).rank().to_numpy()
    return float((ranks[high].sum() - n_high * (n_high + 1) / 2) / (n_high * n_low))


def edge_ratings(dataset: Dataset, pairs: np.ndarray) -> np.ndarray:
    """Return the rating of each pair, (n,) float; of a repeated pair its latest row, NaN where (or if) nobody rates."""
    if "rating" not in dataset.interactions:
        return np.full(len(pairs), np.nan)
    return latest(dataset, pairs, "rating").to_numpy(dtype=float)


def no_stars(reviews: EdgeReviews, ratings: np.ndarray, least: int = 25) -> str:
    """Return "" when 1-2 stars can be told from 5 on edges with a review, else why not, in one sentence.

    Args:
        ratings: (n,) of the edges of ``reviews``, NaN = none.
        least: edges that each of the two groups must have.
    """
    given = ratings[reviews.mask & ~np.isnan(ratings)]
    if not len(given):
        return "No review of this log comes with a rating, so nothing can be asked about stars."
    if given.max() > 5:
        return f"Ratings of this log go up to {given.max():g}; this section asks about 1 to 5 stars."
    low, high = int((given <= 2).sum()), int((given >= 5).sum())
    if min(low, high) < least:
        return (
            f"{low} reviews with 1 or 2 stars and {high} with 5 are too few to tell apart ({least} of each are needed)."
        )
    return ""


def probe_stars(reviews: EdgeReviews, ratings: np.ndarray, seed: int = 0) -> float:
    """Return how well the review vectors themselves tell 1-2 stars from 5 (AUC of a logistic regression, 5 folds)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows = reviews.mask & ((ratings <= 2) | (ratings >= 5))
    high = ratings[rows] >= 5
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    return separation(cross_val_predict(model, reviews.vectors[rows], high, cv=folds, method="decision_function"), high)


# ---- a world in which reviews matter ----


def with_mistakes(
    split: Split, share: float = 0.5, dim: int = 64, seed: int = 0
) -> tuple[Split, EdgeReviews, np.ndarray]:
    """Add wrong edges to the training part, and reviews that say which ones: a test that a working gate must pass.

    Args:
        share: wrong edges for each true one, 0 to 1; drawn at random among pairs in no part.
        dim: of the review vectors: noise around one of two centres, "mine" or "bought by mistake".

    Returns:
        The split with more training edges, its reviews, and (n_train,) bool: True = a true edge.
    """
    if not 0 < share <= 1:
        raise CourseError(f"share={share} must be above 0 and at most 1; 0.5 adds one wrong edge for two true ones.")
    rng = np.random.default_rng(seed)
    every = np.concatenate([split.train, split.valid, split.test])
    warm = np.unique(split.train[:, 1])
    wanted = int(len(split.train) * share)
    users = rng.choice(split.train[:, 0], 3 * wanted)  # who takes much errs much
    drawn = np.unique(users * split.n_items + rng.choice(warm, 3 * wanted))
    drawn = rng.permutation(np.setdiff1d(drawn, every[:, 0] * split.n_items + every[:, 1]))[:wanted]
    wrong = np.stack(np.divmod(drawn, split.n_items), axis=1)
    train = np.concatenate([split.train, wrong])
    order = np.lexsort((train[:, 1], train[:, 0]))
    true = (np.arange(len(train)) < len(split.train))[order]
    vectors = rng.normal(size=(len(train), dim)).astype(np.float32) * 0.5 + np.where(true, 1, -1)[:, None]
    vectors /= np.sqrt((vectors**2).sum(1).mean())
    reviews = EdgeReviews(
        train[order], vectors.astype(np.float32), np.ones(len(train), dtype=bool), {"encoder": "planted"}
    )
    return replace(split, train=train[order]), reviews, true
