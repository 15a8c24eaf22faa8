"""Evaluation protocol: rank the whole catalogue for every user, exactly, and judge the lists.

Protocol, the same everywhere in the course: full ranking (no sampled negatives); train items are masked, and only
those, as in the published figures (validation items stay in the list at test time; `mask=("train", "valid")` changes
that); equal scores go to the smaller item id, and among cold items a user whose items all score the same gets what a
random order gives on average; users without relevant items are left out of accuracy, and counted.
Nothing here is random. Formulas: metrics.py. Tests and intervals: statistics.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from utils.data.split import Split
from utils.errors import CourseError, suggest
from utils.evaluation.metrics import OVERALL, PER_USER, Ranked, intra_list_diversity
from utils.evaluation.ranking import (
    BLOCK,
    PARTS,
    Scorer,
    all_tied,
    checked_user_ids,
    item_mask,
    pair_keys,
    recommend,
)
from utils.evaluation.report import ColdReport, Report
from utils.models.base import ItemFeatures

METRICS = (*PER_USER, *OVERALL)  # and ild_<modality>, which needs features=
BY_SLOT = ("precision", "recall", "ndcg", "efd", "epc")  # among cold items each is a weighted sum over the slots' hits
DEFAULT = METRICS


def evaluate(
    model: Scorer,
    split: Split,
    part: str = "test",
    top_k: int | Sequence[int] = 20,
    metrics: Iterable[str] = DEFAULT,
    mask: str | Sequence[str] = ("train",),
    candidates: Iterable[int] | None = None,
    users: Iterable[int] | None = None,
    *,
    targets: Iterable[int] | None = None,
    features: Mapping[str, ItemFeatures] | None = None,
    other_split: bool = False,
    block: int = BLOCK,
) -> Report:
    """Rank all items for each user and judge the lists against ``part``.

    Args:
        model: a recommender with ``score(user_ids) -> (len(user_ids), n_items)``, a function that does the same, or
            a matrix of scores (n_users, n_items).
        part: "valid" or "test" (or "train", to see how well the model remembers).
        top_k: cutoff, or several.
        metrics: names of `METRICS`, and "ild_visual", "ild_textual", "ild_audio", which need ``features``.
        mask: parts whose items are never recommended; only train by default, as in the published figures.
        candidates: item_ids that may be recommended; the others neither compete nor count as relevant.
        users: user_ids to rank; by default those with a relevant item. Users given here without a relevant item get
            a list and NaN accuracy.
        targets: item_ids that count as relevant while every item competes (for example the cold items).
        features: modality -> Features, rows by item_id; for intra-list diversity.
        other_split: judge a model that was trained on another train part, for example to show what a leak does.
        block: users per block; changes speed and memory, never a result.

    Raises:
        CourseError: unknown part or metric, no user to judge, top_k larger than the catalogue, scores with NaN or of
            the wrong shape, a model that was trained on another split.
    """
    mask = (mask,) if isinstance(mask, str) else tuple(mask)
    for name in (part, *mask):
        if name not in PARTS:
            raise suggest(name, PARTS, "part of the split")
    if part in mask:
        raise CourseError(f'The {part} items are both judged and masked; take "{part}" out of mask=.')
    cutoffs = _cutoffs(top_k)
    names = _metric_names(metrics, features, split.n_items)
    allowed = item_mask(candidates, split.n_items, "candidates")
    counted = item_mask(targets, split.n_items, "targets")
    counted = allowed if counted is None else counted if allowed is None else counted & allowed
    relevant = _relevant(split, part, counted)
    n_relevant = np.bincount(relevant // split.n_items, minlength=split.n_users)
    if users is None:
        user_ids = np.flatnonzero(n_relevant)
        if not len(user_ids):
            where = "" if counted is None else " among the items asked for"
            raise CourseError(f"No user has a {part} item{where}; choose another part, split or set of items.")
    else:
        user_ids = checked_user_ids(users, split.n_users)
    lists = recommend(model, split, user_ids, max(cutoffs), mask, candidates, other_split=other_split, block=block)
    n_competing = split.n_items if allowed is None else int(allowed.sum())
    n_skipped = int(np.count_nonzero((n_relevant if users is None else n_relevant[user_ids]) == 0))
    found = _judge(lists, user_ids, split, relevant, cutoffs, names, n_competing, features)
    return replace(found, part=part, mask=mask, n_skipped=n_skipped)


def evaluate_lists(
    lists: np.ndarray,
    user_ids: np.ndarray,
    split: Split,
    part: str = "test",
    top_k: int | Sequence[int] | None = None,
    metrics: Iterable[str] = DEFAULT,
    *,
    features: Mapping[str, ItemFeatures] | None = None,
) -> Report:
    """Judge lists that are already made: (n_users, K) item_ids, best first, -1 = empty (only at the end).

    For recommenders that give lists and no scores. Masking is the list maker's business; repeated items in a list
    are an error.
    """
    lists, user_ids = np.asarray(lists, dtype=np.int64), np.asarray(user_ids, dtype=np.int64)
    if lists.ndim != 2 or len(lists) != len(user_ids):
        raise CourseError(f"lists has shape {lists.shape} for {len(user_ids)} users; give one row per user.")
    if lists.min(initial=0) < -1 or lists.max(initial=0) >= split.n_items:
        raise CourseError(f"lists holds item ids outside 0 to {split.n_items - 1}; use positions, and -1 for empty.")
    ordered = np.sort(lists, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        raise CourseError(f"The list of user {user_ids[twice.argmax()]} names an item twice; remove the repeats.")
    if ((lists[:, 1:] >= 0) & (lists[:, :-1] < 0)).any():
        raise CourseError("A list has an empty slot before an item; move the -1 to the end of the list.")
    cutoffs = _cutoffs(lists.shape[1] if top_k is None else top_k)
    if max(cutoffs) > lists.shape[1]:
        raise CourseError(f"top_k={max(cutoffs)} is larger than the lists, which hold {lists.shape[1]} items.")
    relevant = _relevant(split, part, None)
    names = _metric_names(metrics, features, split.n_items)
    n_skipped = int(np.count_nonzero(~np.isin(user_ids, relevant // split.n_items)))
    found = _judge(lists, user_ids, split, relevant, cutoffs, names, split.n_items, features)
    return replace(found, part=part, mask=(), n_skipped=n_skipped)


def evaluate_cold(
    model: Scorer,
    split: Split,
    part: str = "test",
    top_k: int | Sequence[int] = 20,
    metrics: Iterable[str] = ("recall", "ndcg"),
    mask: str | Sequence[str] = ("train",),
    *,
    other_split: bool = False,
) -> ColdReport:
    """Judge the cold items (no train interaction), the course's one protocol: full ranking, and among cold items.

    ``other_split`` as in `evaluate`: a model trained on another split may have seen what is cold in this one.

    Only cold items count as relevant. Popularity scores nothing in full ranking by construction, so compare with
    random, shuffled features and content neighbours.

    Popularity, and neighbours by clicks, give all cold items the same score. Ties by item id would then rank cold items
    by their ids, which means nothing and may lie far from chance. So among cold items a user whose items all score the
    same gets the expected value of a random order, for the metrics `BY_SLOT`; the lists, and the other metrics, stay
    those of ties by item id. Users with any difference between their scores are judged by their list, as everywhere.

    Raises:
        CourseError: the split has no cold item in ``part``.
    """
    cold = np.asarray(split.cold_items, dtype=np.int64)
    if not len(cold):
        raise CourseError('The split has no cold item; make one with split_dataset(dataset, "cold_items").')
    metrics = tuple(metrics)
    full = evaluate(model, split, part, top_k, metrics, mask, targets=cold, other_split=other_split)
    among = evaluate(model, split, part, top_k, metrics, mask, candidates=cold, other_split=other_split)
    return ColdReport(full, _by_chance(among, model, split, cold))


# ---- below: how it is done ----------------------------------------------------------------------------------------


def _cutoffs(top_k: int | Sequence[int]) -> tuple[int, ...]:
    cutoffs = tuple(sorted({int(k) for k in np.atleast_1d(top_k)}))
    if not cutoffs or cutoffs[0] < 1:
        raise CourseError(f"top_k={top_k} must be a whole number of at least 1, or several.")
    return cutoffs


def _metric_names(metrics: Iterable[str], features: Mapping[str, ItemFeatures] | None, n_items: int) -> tuple[str, ...]:
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    for name in names:
        if name.startswith("ild_"):
            modality = name.removeprefix("ild_")
            if features is None or modality not in features:
                raise CourseError(f"The metric {name!r} needs features of this modality; pass features=.")
            rows = len(features[modality].matrix)
            if rows != n_items:
                raise CourseError(f"The {modality} features have {rows} rows for {n_items} items; align them first.")
        elif name not in METRICS:
            raise suggest(name, METRICS, "metric")
    return names


def _relevant(split: Split, part: str, counted: np.ndarray | None) -> np.ndarray:
    """Return the sorted, distinct keys of the pairs to be found again."""
    keys = np.unique(pair_keys(split, part))
    return keys if counted is None else keys[counted[keys % split.n_items]]


def _hits(lists: np.ndarray, user_ids: np.ndarray, relevant: np.ndarray, n_items: int) -> np.ndarray:
    """Return which slots hold a relevant item, (n_users, K) bool: one binary search for all slots at once."""
    keys = np.where(lists >= 0, user_ids[:, None] * n_items + lists, -1)
    at = np.minimum(np.searchsorted(relevant, keys), max(len(relevant) - 1, 0))
    return relevant[at] == keys if len(relevant) else np.zeros(lists.shape, dtype=bool)


def _by_chance(report: Report, model: Scorer, split: Split, cold: np.ndarray) -> Report:
    """Give the users whose ``cold`` items all score the same the mean over all orders of them; leave the others alone.

    In a random order of n items, r of them relevant, each slot holds a relevant one with probability r / n.
    """
    lists = report.lists
    rising = ((lists[:, 1:] > lists[:, :-1]) | (lists[:, 1:] < 0)).all(axis=1)  # what ties by item id look like
    tied = np.flatnonzero(rising)
    tied = tied[all_tied(model, report.user_ids[tied], split.n_items, cold)]
    if not len(tied):
        return report
    hidden = np.unique(np.concatenate([pair_keys(split, name) for name in report.mask] or [pair_keys(split, None)]))
    keys = report.user_ids[tied, None] * split.n_items + cold
    competes = ~np.isin(keys, hidden)
    relevant = np.isin(keys, pair_keys(split, report.part))
    chance = (relevant & competes).sum(axis=1) / np.maximum(competes.sum(axis=1), 1)
    hits = np.where(lists[tied] >= 0, chance[:, None], 0.0)
    ranked = _ranked(lists[tied], hits, relevant.sum(axis=1), split, report.n_competing)
    per_user = report.per_user.copy()
    for key in per_user.columns:
        name, _, k = key.rpartition("@")
        if name in BY_SLOT:
            per_user.iloc[tied, per_user.columns.get_loc(key)] = PER_USER[name](ranked, int(k))
    return replace(report, per_user=per_user)


def _ranked(
    lists: np.ndarray, hits: np.ndarray, n_relevant: np.ndarray, split: Split, n_competing: int,
    features: Mapping[str, ItemFeatures] | None = None,
) -> Ranked:  # fmt: skip
    popularity = np.bincount(split.train[:, 1], minlength=split.n_items)
    return Ranked(lists, hits, n_relevant, popularity, len(np.unique(split.train[:, 0])), n_competing, features)


def _judge(
    lists: np.ndarray, user_ids: np.ndarray, split: Split, relevant: np.ndarray, cutoffs: Sequence[int],
    names: Sequence[str], n_competing: int, features: Mapping[str, ItemFeatures] | None,
) -> Report:  # fmt: skip
    """Judge lists (n_users, K) by the sorted keys of the relevant pairs: every metric at every cutoff."""
    hits = _hits(lists, user_ids, relevant, split.n_items)
    n_relevant = np.bincount(relevant // split.n_items, minlength=split.n_users)[user_ids]
    ranked = _ranked(lists, hits, n_relevant, split, n_competing, features)
    per_user: dict[str, np.ndarray] = {}
    overall: dict[str, float] = {}
    order = [f"{name}@{k}" for k in cutoffs for name in names]
    for key in order:
        name, _, k = key.rpartition("@")
        if name in OVERALL:
            overall[key] = OVERALL[name](ranked, int(k))
        elif name in PER_USER:
            per_user[key] = PER_USER[name](ranked, int(k))
        else:
            per_user[key] = intra_list_diversity(ranked, int(k), name.removeprefix("ild_"))
    frame = pd.DataFrame(per_user, index=pd.Index(user_ids, name="user_id"))
    return Report(frame, overall, lists, user_ids, top_k=tuple(cutoffs), n_competing=n_competing, names=tuple(order))
