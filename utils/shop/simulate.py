"""Simulated shoppers of the Sticker Shop, with tastes that are planted and therefore known.

A shopper's utility of an item is a weighted sum of components, each standardised over all pairs of shopper and item:
topic, looks, sound, colour, shape (what content can show), popularity and a taste that no content shows. At each visit
the shopper picks the released, not yet chosen item with the highest utility plus Gumbel(1) noise: a draw from the
multinomial logit model (McFadden, 1974). The weights below were fixed on trial draws with other seeds than 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from utils.shop.reviews import write_reviews

FIRST_DAY = 1_672_531_200  # 2023-01-01, seconds since 1970
DAYS = 730
# Standardised weights: how much each source of taste says, in units of the Gumbel(1) noise of a choice.
WEIGHTS = {
    "topic": 1.2,
    "looks": 1.0,
    "sound": 0.65,
    "colour": 0.35,
    "shape": 0.15,
    "popularity": 0.5,
    "collaborative": 0.3,
    "novelty": 0.25,
}
# Three kinds of shoppers. Most look at what a thing is; some at its colour, some at its shape (notebooks 09 and 10).
USER_TYPES = {
    "content": (0.60, {}),
    "colour": (0.22, {"colour": 1.3, "topic": 0.6, "looks": 0.6}),
    "shape": (0.18, {"shape": 1.1, "topic": 0.6, "looks": 0.7}),
}
N_LIKES = {"topic": 3, "looks": 2, "sound": 1, "colour": 1, "shape": 1, "collaborative": 2}
N_HIDDEN_GROUPS = 12  # groups of items behind the collaborative taste: drawn, shown by no content
CHANGING = ("topic", "looks")  # tastes of which one like is replaced over the two years
SHORTEST, MEAN_LENGTH, LONGEST = 4, 8.5, 90  # interactions of a shopper before the 5-core


@dataclass
class Simulation:
    """One draw of the shop: the log and what lies behind it."""

    interactions: pd.DataFrame  # user, item, rating, timestamp, review; sorted by time
    users: np.ndarray  # (n_users,) str, sorted
    items: np.ndarray  # (n_items,) str, as in the content
    start: np.ndarray  # (n_users, n_items) float32: utilities on the first day, before choice noise
    end: np.ndarray  # (n_users, n_items) float32: utilities on the last day
    likes: pd.DataFrame  # user, type, and per taste the liked values on the first and on the last day
    released: np.ndarray  # (n_items,) int64 seconds: no choice before
    popularity: np.ndarray  # (n_items,) float: the planted popularity
    hidden: np.ndarray  # (n_items,) int: the group behind the collaborative taste
    settings: dict = field(default_factory=dict)


def _standardise(matrix: np.ndarray) -> np.ndarray:
    return (matrix - matrix.mean()) / max(matrix.std(), 1e-9)


def _draw_likes(rng: np.random.Generator, n_users: int, weights: np.ndarray, n_likes: int) -> np.ndarray:
    """Draw ``n_likes`` different values per user, more often those of large weight: (n_users, n_likes) int."""
    keys = np.log(weights)[None] + rng.gumbel(size=(n_users, len(weights)))
    return np.argsort(-keys, axis=1)[:, :n_likes]


def _indicator(likes: np.ndarray, values: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """(n_users, n_items) float32: the strength of a user's like where the item has the liked value, else 0."""
    taste = np.zeros((len(likes), values.max() + 1), dtype=np.float32)
    np.put_along_axis(taste, likes, np.broadcast_to(strengths, likes.shape).astype(np.float32), axis=1)
    return taste[:, values]


def _sound_component(likes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Like :func:`_indicator`, but of mean 0 among the sounding items and 0 on silent ones (value -1).

    So "it has a sound" alone is worth nothing on average: only which sound counts.
    """
    sounding = np.flatnonzero(values >= 0)
    part = (likes == values[sounding][None]).astype(np.float32)
    component = np.zeros((len(likes), len(values)), dtype=np.float32)
    component[:, sounding] = part - part.mean(axis=1, keepdims=True)
    return component


def _codes(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Positions of the values in their sorted list, -1 for "": (n_items,) int, names."""
    names = sorted(set(column) - {""})
    return column.map({name: k for k, name in enumerate(names)}).fillna(-1).to_numpy(dtype=np.int64), names


def _profile_lengths(rng: np.random.Generator, n_users: int) -> np.ndarray:
    """Long-tailed numbers of choices (n_users,): a shifted log-normal, as the activity in shop logs."""
    tail = rng.lognormal(mean=1.55, sigma=0.95, size=n_users)
    tail *= (MEAN_LENGTH - SHORTEST) / np.exp(1.55 + 0.95**2 / 2)
    return np.minimum(SHORTEST + tail.astype(np.int64), LONGEST)


def _times(rng: np.random.Generator, lengths: np.ndarray) -> np.ndarray:
    """Days of the choices (n_users, longest), sorted; inf beyond a user's length. Visits come in sessions."""
    n_users, longest = len(lengths), int(lengths.max())
    joined = rng.uniform(0, 0.85 * DAYS, n_users)
    active = np.clip(rng.exponential(0.45 * DAYS, n_users), 20, None)
    last = np.minimum(joined + active, DAYS - 0.01)
    visit = joined[:, None] + (last - joined)[:, None] * rng.random((n_users, longest))
    same = rng.random((n_users, longest)) < 0.45  # the same session as the choice before
    for k in range(1, longest):
        visit[:, k] = np.where(same[:, k], visit[:, k - 1] + rng.exponential(0.004, n_users), visit[:, k])
    visit = np.minimum(visit, DAYS - 0.001)
    visit[np.arange(longest)[None] >= lengths[:, None]] = np.inf
    return np.sort(visit, axis=1)


def _choose(rng, start, end, days, released, novelty) -> tuple[np.ndarray, np.ndarray]:
    """Let all users choose, visit by visit: users' item positions (n_users, longest), -1 = no visit, and utilities."""
    n_users, longest = days.shape
    chosen = np.full((n_users, longest), -1)
    worth = np.zeros((n_users, longest), dtype=np.float32)
    taken = np.zeros(start.shape, dtype=bool)
    for k in range(longest):
        rows = np.flatnonzero(np.isfinite(days[:, k]))
        now = days[rows, k]
        share = (now / DAYS).astype(np.float32)[:, None]
        age = now[:, None] - released[None]
        utility = start[rows] * (1 - share) + end[rows] * share + novelty * np.exp(-np.maximum(age, 0) / 45)
        utility[taken[rows] | (age < 0)] = -np.inf
        noise = rng.gumbel(size=utility.shape).astype(np.float32)
        pick = np.argmax(utility + noise, axis=1)
        chosen[rows, k], worth[rows, k], taken[rows, pick] = pick, utility[np.arange(len(rows)), pick], True
    return chosen, worth


def _ratings(rng: np.random.Generator, worth: np.ndarray) -> np.ndarray:
    """Ratings 1 to 5 (n,): about half of what a rating says is the planted utility, the rest is mood."""
    mixed = 0.7 * _standardise(worth) + 0.7 * rng.standard_normal(len(worth))
    return 1 + np.searchsorted(np.quantile(mixed, [0.04, 0.10, 0.24, 0.55]), mixed)


def _user_names(rng: np.random.Generator, n_users: int) -> np.ndarray:
    numbers = rng.choice(16**5, size=n_users, replace=False)
    return np.array(sorted(f"u{number:05x}" for number in numbers))


def simulate(
    attributes: pd.DataFrame, seed: int = 0, n_users: int = 1250, items: pd.DataFrame | None = None
) -> Simulation:
    """Draw shoppers and their choices; the same arguments give the same log.

    Args:
        attributes: one row per item: item, topic, looks, colour, shape, sound ("" = silent).
        seed: of the draw. The shipped shop is seed 0.
        n_users: shoppers before the 5-core.
        items: the items table (title, category), for the words of the reviews; without it reviews stay empty.
    """
    rng = np.random.default_rng([20_221, seed])
    n_items = len(attributes)
    users = _user_names(rng, n_users)
    types = rng.choice(list(USER_TYPES), size=n_users, p=[share for share, _ in USER_TYPES.values()])
    weights = {taste: np.full((n_users, 1), w, dtype=np.float32) for taste, w in WEIGHTS.items()}
    for name, (_, change) in USER_TYPES.items():
        for taste, weight in change.items():
            weights[taste][types == name] = weight

    hidden = rng.integers(0, N_HIDDEN_GROUPS, n_items)
    columns = {taste: attributes[taste] for taste in ("topic", "looks", "sound", "colour", "shape")}
    columns["collaborative"] = pd.Series([f"group-{k:02d}" for k in hidden])
    start = np.zeros((n_users, n_items), dtype=np.float32)
    end = np.zeros_like(start)
    parts: dict[str, np.ndarray] = {}  # what reviews may speak of, on the first day
    table = {"user": users, "type": types}
    for taste, column in columns.items():
        values, names = _codes(column)
        appeal = rng.gamma(1.5, size=len(names)) if taste in CHANGING else np.ones(len(names))
        first = _draw_likes(rng, n_users, appeal, N_LIKES[taste])
        last = first.copy()
        if taste in CHANGING:  # what is liked in general moves on too
            appeal = appeal * rng.lognormal(0, 0.7, len(names))
            other = _draw_likes(rng, n_users, appeal, N_LIKES[taste] + 1)
            new = (other[:, :, None] != first[:, None, :]).all(2)
            last[:, -1] = other[np.arange(n_users), new.argmax(1)]
        strengths = np.linspace(1.0, 0.7, N_LIKES[taste])
        for matrix, likes in ((start, first), (end, last)):
            raw = _sound_component(likes, values) if taste == "sound" else _indicator(likes, values, strengths)
            part = weights[taste] * _standardise(raw)
            matrix += part
            parts.setdefault(taste, part)
        table[f"{taste}_first"] = ["|".join(names[v] for v in row) for row in first]
        table[f"{taste}_last"] = ["|".join(names[v] for v in row) for row in last]
    popularity = _standardise(rng.exponential(size=n_items))  # a long tail: exp of it is a Pareto law
    for matrix in (start, end):
        matrix += weights["popularity"] * popularity[None].astype(np.float32)
    released = np.where(rng.random(n_items) < 0.55, -60.0, rng.uniform(0, 0.8 * DAYS, n_items))

    lengths = _profile_lengths(rng, n_users)
    days = _times(rng, lengths)
    chosen, worth = _choose(rng, start, end, days, released, 4 * weights["novelty"][0, 0])
    user_ids, visits = np.nonzero(chosen >= 0)
    item_ids = chosen[user_ids, visits]
    seconds = FIRST_DAY + (days[user_ids, visits] * 86_400).astype(np.int64)
    ratings = _ratings(rng, worth[user_ids, visits])
    log = pd.DataFrame({"user": users[user_ids], "item": attributes["item"].to_numpy()[item_ids], "rating": ratings})
    log["timestamp"] = seconds
    log["review"] = ""
    if items is not None:
        reasons = {taste: part[user_ids, item_ids] for taste, part in parts.items() if taste != "collaborative"}
        log["review"] = write_reviews(rng, ratings, items.iloc[item_ids], attributes.iloc[item_ids], reasons)
    log = log.iloc[np.lexsort((log["item"], log["user"], log["timestamp"]))].reset_index(drop=True)
    when = FIRST_DAY + (np.maximum(released, 0) * 86_400).astype(np.int64)
    settings = {"seed": seed, "n_users": n_users, "weights": WEIGHTS, "user_types": USER_TYPES, "likes": N_LIKES}
    names = attributes["item"].to_numpy()
    return Simulation(log, users, names, start, end, pd.DataFrame(table), when, popularity, hidden, settings)


def core(log: pd.DataFrame, k: int = 5) -> pd.DataFrame:
    """Rows of the iterative k-core: every user and every item keeps at least ``k`` rows. Order stays."""
    while True:
        keep = log.groupby("user")["item"].transform("size").ge(k) & log.groupby("item")["user"].transform("size").ge(k)
        if keep.all():
            return log
        log = log[keep]
