"""Simulate users whose taste is known, and measure how well a model recovers that taste (AUC).

``one_taste_shop``: everybody looks at the same attribute, some items are new (notebook 09). ``plant``: a third each looks
at colour, shape and content, no item is new, and a twin without taste can be drawn (notebook 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from utils.challenges.fine_features import BLOCKS
from utils.data import Split
from utils.errors import CourseError

LIKED = 1 / 6  # a like planted by ``plant`` covers at least this share of the items


def liked(truth: Any, attribute: str) -> np.ndarray:
    """(n_users, n_items) bool: the item carries a value of ``attribute`` that the user likes, at first or at last."""
    values = truth.attributes[attribute].to_numpy(dtype=str)
    wanted = truth.tastes[f"{attribute}_first"].astype(str) + "|" + truth.tastes[f"{attribute}_last"].astype(str)
    names, codes = np.unique(values, return_inverse=True)
    place = {name: at for at, name in enumerate(names) if name}
    table = np.zeros((len(wanted), len(names)), dtype=bool)
    for user, words in enumerate(wanted):
        table[user, [place[word] for word in words.split("|") if word in place]] = True
    return table[:, codes]


def taste_recovery(scores: Any, likes: np.ndarray, split: Split, items: np.ndarray | None = None) -> np.ndarray:
    """How often a liked item stands above one that is not, per user (AUC): .5 = chance, 1 = always; (n_users,).

    Args:
        scores: (n_users, n_items).
        likes: (n_users, n_items) bool, from :func:`liked`.
        items: ids to look at (for example the cold ones); all by default. Items of the user's train part never count.

    Returns:
        NaN for users with no liked, or only liked items.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != likes.shape:
        raise CourseError(f"scores are {scores.shape}, likes {likes.shape}; give both as (n_users, n_items).")
    counted = np.asarray(split.matrix("train").todense()) == 0
    if items is not None:
        counted[:, np.setdiff1d(np.arange(scores.shape[1]), items)] = False
    rank = rankdata(np.where(counted, scores, -np.inf), axis=1)  # what does not count fills the lowest ranks
    below = (~counted).sum(axis=1)
    good = likes & counted
    n_good, n_bad = good.sum(axis=1), (counted & ~likes).sum(axis=1)
    won = (rank * good).sum(axis=1) - n_good * below - n_good * (n_good + 1) / 2
    pairs = n_good * n_bad
    return np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1), np.nan)


def choices(utility: np.ndarray, n_taken: int, rng: np.random.Generator) -> np.ndarray:
    """Let each user take the ``n_taken`` items of largest utility + Gumbel(1) noise: (n_users * n_taken, 2) pairs."""
    taken = np.argsort(-(utility + rng.gumbel(size=utility.shape)), axis=1)[:, :n_taken]
    return np.stack([np.repeat(np.arange(len(utility)), n_taken), taken.ravel()], axis=1)


def one_taste_shop(
    values: np.ndarray,
    seed: int = 0,
    *,
    n_users: int = 500,
    per_user: int = 12,
    n_likes: int = 2,
    strength: float = 4.0,
    popularity: float = 0.5,
    cold_share: float = 0.15,
) -> Split:
    """Simulate shoppers of the same items whose taste hangs on one attribute only, and split their log.

    utility = strength if the item has one of the user's ``n_likes`` values, + popularity * N(0, 1) of the item + Gumbel
    noise; a user takes the ``per_user`` best. A share of the items is cold: all its interactions are test. Of a user's
    warm items one is for validation and two are test.

    Args:
        values: (n_items,) one word each, "" = none of the values.
    """
    values = np.asarray(values, dtype=str)
    names, codes = np.unique(values, return_inverse=True)
    known = np.flatnonzero(names != "")
    if len(known) < n_likes + 1:
        raise CourseError(f"The attribute has {len(known)} value(s); a taste for {n_likes} needs more of them.")
    rng = np.random.default_rng(seed)
    share = np.bincount(codes, minlength=len(names))[known]
    keys = np.log(share) + rng.gumbel(size=(n_users, len(known)))  # frequent values are liked more often
    likes = np.zeros((n_users, len(names)), dtype=bool)
    np.put_along_axis(likes, known[np.argsort(-keys, axis=1)[:, :n_likes]], True, axis=1)
    utility = strength * likes[:, codes] + popularity * rng.normal(size=len(values))
    pairs = choices(utility, per_user, rng)
    cold = rng.choice(len(values), int(cold_share * len(values)), replace=False)
    is_cold = np.isin(pairs[:, 1], cold)
    warm = pairs[~is_cold][rng.permutation((~is_cold).sum())]
    warm = warm[np.argsort(warm[:, 0], kind="stable")]
    first = np.unique(warm[:, 0], return_index=True)[1]
    place = np.arange(len(warm)) - np.repeat(first, np.diff([*first, len(warm)]))  # 0, 1, 2, ... within a user
    train = warm[(place == 0) | (place > 3)]
    seen = np.isin(warm[:, 1], train[:, 1])  # an item that only held-out pairs have would be cold by accident
    valid, test = warm[(place == 1) & seen], warm[(place > 1) & (place < 4) & seen]
    cold = np.setdiff1d(np.arange(len(values)), train[:, 1])
    return Split(n_users, len(values), train, valid, np.concatenate([test, pairs[is_cold]]), "one taste", cold)


@dataclass(frozen=True)
class Population:
    """Simulated users whose taste is known.

    Attributes:
        split: their interactions, 80 : 10 : 10 for each user.
        types: (n_users,) str, which of the three each user looks at. In a twin without taste: what the user would have
            been, and a method that "finds" it there has found nothing.
        liked: (n_users, n_items) bool, the items with what the user likes.
        utility: (n_users, n_items) float32, before the noise of a choice; its ranking is the oracle.
    """

    split: Split
    types: np.ndarray
    liked: np.ndarray
    utility: np.ndarray


def plant(
    labels: Mapping[str, Sequence[str]],
    *,
    n_users: int = 450,
    n_taken: int = 20,
    strength: float = 2.5,
    popularity: float = 0.5,
    seed: int = 0,
) -> Population:
    """Draw users who look at one thing only: a third at the colour, a third at the shape, a third at the content.

    A user's likes are drawn value by value until they cover a sixth of the items. Utility = strength on liked items +
    popularity x an exponential variable of each item, standardised; choices add Gumbel(1) noise, without repeats.

    Args:
        labels: "colour", "shape", "content" -> label of each item, from a source that no descriptor is.
        strength: 0 makes the twin: same users, same popularity, same noise, no taste.
    """
    names, n_items = list(labels), len(next(iter(labels.values())))
    if n_taken >= n_items:
        raise CourseError(f"{n_taken} choices of {n_items} items leave nothing to rank; lower n_taken.")
    rng = np.random.default_rng([4_010, seed])
    types = np.array(names)[rng.permutation(np.arange(n_users) % len(names))]
    appeal = rng.exponential(size=n_items)
    appeal = popularity * (appeal - appeal.mean()) / appeal.std()
    liked = np.zeros((n_users, n_items), dtype=bool)
    for user, kind in enumerate(types):
        column = np.asarray(labels[kind])
        for value in rng.permutation(np.unique(column)):
            liked[user] |= column == value
            if liked[user].mean() >= LIKED:
                break
    utility = (strength * liked + appeal).astype(np.float32)
    pairs = choices(utility, n_taken, rng)
    place = np.argsort(rng.random((n_users, n_taken)), axis=1)  # which part each choice falls into
    held = max(1, n_taken // 10)
    part = place.ravel()
    chunks = [pairs[part >= 2 * held], pairs[part < held], pairs[(part >= held) & (part < 2 * held)]]
    chunks = [chunk[np.lexsort((chunk[:, 1], chunk[:, 0]))] for chunk in chunks]
    cold = np.setdiff1d(np.arange(n_items), chunks[0][:, 1])
    return Population(Split(n_users, n_items, *chunks, "planted", cold), types, liked, utility)


def truth_labels(attributes: pd.DataFrame) -> dict[str, np.ndarray]:
    """Labels to plant from: colour and shape of the shop's truth, and the topic as content; (n_items,) str each."""
    columns = dict(zip(BLOCKS, ("colour", "shape", "topic")))
    return {name: attributes[column].to_numpy(dtype=str) for name, column in columns.items()}
