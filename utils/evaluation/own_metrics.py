"""Judge with metrics of the course and with functions of your own: a plain call goes to ``protocol`` as it is.

A metric of your own is a function ``(items, targets) -> number``: the list of one user, item_ids best first, at most top_k
of them, and the relevant item_ids of this user, in rising order. Its column is named by ``__name__`` and the cut-off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from utils.data.split import Split
from utils.errors import CourseError
from utils.evaluation import protocol
from utils.evaluation.protocol import DEFAULT, METRICS
from utils.evaluation.ranking import BLOCK, Scorer, item_mask
from utils.evaluation.report import ColdReport, Report
from utils.models.base import ItemFeatures

OwnMetric = Callable[[np.ndarray, np.ndarray], float]
Metrics = str | OwnMetric | Iterable[str | OwnMetric]


def evaluate(
    model: Scorer,
    split: Split,
    part: str = "test",
    top_k: int | Sequence[int] = 20,
    metrics: Metrics = DEFAULT,
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
        metrics: names of `METRICS`; "ild_visual", "ild_textual", "ild_audio", which need ``features``; functions
            ``(items, targets) -> number``, see above. A user without a relevant item has NaN there and is not asked about.
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
            the wrong shape, a model that was trained on another split, a function that fails or returns no number.
    """
    _check(model, split, users)
    names, own, order = taken_apart(metrics)
    candidates, targets = (None if ids is None else _kept(ids) for ids in (candidates, targets))  # they are read twice
    rest = {"targets": targets, "features": features, "other_split": other_split, "block": block}
    found = protocol.evaluate(model, split, part, top_k, names, mask, candidates, users, **rest)
    if not own:
        return found
    masks = [item_mask(ids, split.n_items, "items") for ids in (candidates, targets) if ids is not None]
    return _with_own(found, own, order, split, np.logical_and.reduce(masks) if masks else None)


def evaluate_lists(
    lists: np.ndarray,
    user_ids: np.ndarray,
    split: Split,
    part: str = "test",
    top_k: int | Sequence[int] | None = None,
    metrics: Metrics = DEFAULT,
    *,
    features: Mapping[str, ItemFeatures] | None = None,
) -> Report:
    """Judge lists that are already made: (n_users, K) item_ids, best first, -1 = empty (only at the end).

    For recommenders that give lists and no scores. Masking is the list maker's business; repeated items in a list
    are an error. ``metrics`` as in `evaluate`.
    """
    names, own, order = taken_apart(metrics)
    found = protocol.evaluate_lists(lists, user_ids, split, part, top_k, names, features=features)
    return _with_own(found, own, order, split, None) if own else found


def evaluate_cold(
    model: Scorer,
    split: Split,
    part: str = "test",
    top_k: int | Sequence[int] = 20,
    metrics: Metrics = ("recall", "ndcg"),
    mask: str | Sequence[str] = ("train",),
    *,
    other_split: bool = False,
) -> ColdReport:
    """Judge the cold items (no train interaction), the course's one protocol: full ranking, and among cold items.

    As ``protocol.evaluate_cold``, which says how ties are counted; ``metrics`` as in `evaluate`. A function of your own
    judges the list as it stands, ties by item id.
    """
    _check(model, split, None)
    names, own, order = taken_apart(metrics)
    found = protocol.evaluate_cold(model, split, part, top_k, names, mask, other_split=other_split)
    if not own:
        return found
    cold = item_mask(split.cold_items, split.n_items, "cold items")
    return ColdReport(*(_with_own(report, own, order, split, cold) for report in (found.full, found.among)))


def taken_apart(metrics: Metrics) -> tuple[tuple[str, ...], dict[str, OwnMetric], tuple[str, ...]]:
    """Return the names of the course's metrics, the functions by name, and the names of both in the order given.

    Raises:
        CourseError: a function without a name, a name that is taken, a cut-off in a name.
    """
    given = [metrics] if isinstance(metrics, str) or callable(metrics) else list(metrics)
    names, own, order = [], {}, []
    for metric in given:
        if isinstance(metric, str) and "@" in metric:
            name, _, k = metric.partition("@")
            raise CourseError(f"Metrics are named without their cut-off: write metrics=[{name!r}], top_k={k or 20}.")
        if isinstance(metric, str):
            names.append(metric)
            order.append(metric)
            continue
        name = getattr(metric, "__name__", "")
        if not callable(metric) or not name.isidentifier():
            raise CourseError(
                f"{metric!r} is no metric: give a name such as 'recall', or a function made with def, whose name becomes the "
                "name of the column."
            )
        if name in METRICS or name in own:
            raise CourseError(f"There is a metric {name!r} already; give your function a name of its own.")
        own[name] = metric
        order.append(name)
    return tuple(names), own, tuple(order)


def _with_own(
    report: Report, own: Mapping[str, OwnMetric], order: Sequence[str], split: Split, counted: np.ndarray | None
) -> Report:
    """Add the functions' values to a report: for every user with a relevant item, at every cutoff."""
    keys = protocol._relevant(split, report.part, counted)
    starts = np.searchsorted(keys, np.arange(split.n_users + 1) * split.n_items)
    per_user = report.per_user.copy()
    for k in report.top_k:
        for name, metric in own.items():
            values = np.full(len(report.user_ids), np.nan)
            for row, user in enumerate(report.user_ids):
                targets = keys[starts[user] : starts[user + 1]] % split.n_items
                if len(targets):
                    items = report.lists[row, :k]
                    values[row] = _value(metric, name, items[items >= 0], targets, int(user))
            per_user[f"{name}@{k}"] = values
    names = tuple(f"{name}@{k}" for k in report.top_k for name in order)
    columns = [name for name in names if name in per_user.columns]
    return replace(report, per_user=per_user[columns], names=names)


def _value(metric: OwnMetric, name: str, items: np.ndarray, targets: np.ndarray, user: int) -> float:
    try:
        found = metric(items, targets)  # both are new arrays: what the function does to them is its own business
    except Exception as error:
        raise CourseError(
            f"The metric {name} failed for user {user} ({len(items)} items, {len(targets)} targets) with {type(error).__name__}: "
            f"{error}; it is called as {name}(items, targets), two arrays of item_ids."
        ) from error
    try:
        value = float(found)
    except (TypeError, ValueError):
        value = math.inf
    if math.isinf(value):
        raise CourseError(f"The metric {name} returned {found!r} for user {user}; it must return one number.")
    return value


def _kept(ids: Iterable[int]) -> np.ndarray:
    return ids if isinstance(ids, np.ndarray) else np.asarray(list(ids))


def _check(model: Any, split: Any, users: Any) -> None:
    """Say what stands in the wrong place: what ``fit`` returns, a name, a dataset, names of users."""
    if isinstance(model, tuple):
        raise CourseError("fit returns two things; write model, history = fit(...), and judge the model.")
    if isinstance(model, (str, type)):
        raise CourseError(f"{model!r} has no scores yet; write model, history = fit(...), and judge the model.")
    if not hasattr(split, "train"):
        raise CourseError(
            f"A {type(split).__name__} has no test part; call split_dataset(dataset), and pass what it returns."
        )
    names = [users] if isinstance(users, str) else users if isinstance(users, (list, tuple)) else []
    if any(isinstance(name, str) for name in names):
        raise CourseError(
            "users holds names; give positions, np.flatnonzero(np.isin(dataset.users, names)), or ask for their lists with "
            "utils.serving.top_table(model, dataset, names)."
        )
