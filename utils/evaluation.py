"""Evaluation: rank the whole catalogue for every user, exactly, and judge the lists.

Protocol, the same everywhere in the course: full ranking (no sampled negatives); train items are masked, and only
those, as in the published figures (validation items stay in the list at test time; `mask=("train", "valid")` changes
that); equal scores go to the smaller item id; users without relevant items are left out of accuracy, and counted.
Nothing here is random. Formulas: utils/metrics.py. Tests and intervals: utils/statistics.py.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from utils.errors import CourseError, suggest
from utils.metrics import OVERALL, PER_USER, Ranked, intra_list_diversity, short_head
from utils.statistics import compare, compare_all, holm, kendall_tau, mean_spread, repeat

__all__ = [
    "DEFAULT",
    "METRICS",
    "ColdReport",
    "Report",
    "by_group",
    "compare",
    "compare_all",
    "evaluate",
    "evaluate_cold",
    "evaluate_lists",
    "holm",
    "kendall_tau",
    "mean_spread",
    "profile_groups",
    "recommend",
    "repeat",
    "short_head",
    "top_items",
]

METRICS = (*PER_USER, *OVERALL)  # and ild_<modality>, which needs features=
DEFAULT = METRICS
BLOCK = 256  # users per block: larger blocks of scores fall out of the processor's cache and are slower
PARTS = ("train", "valid", "test")

Scorer = Any  # a model with score(user_ids), a function user_ids -> scores, or a (n_users, n_items) matrix


@dataclass(frozen=True, repr=False)
class Report:
    """What `evaluate` found.

    per_user: index user_id, one column per metric and cutoff ("recall@20"); NaN = not defined for this user.
    overall: metrics of all lists together ("gini@20", "coverage@20", "entropy@20").
    lists: (n_users, K) int64 item_ids, best first, -1 = no item left; row i belongs to user_ids[i].
    n_skipped: users without a relevant item (not ranked at all unless asked for by `users=`).
    """

    per_user: pd.DataFrame
    overall: dict[str, float]
    lists: np.ndarray
    user_ids: np.ndarray
    part: str = "test"
    top_k: tuple[int, ...] = (20,)
    mask: tuple[str, ...] = ("train",)
    n_competing: int = 0
    n_skipped: int = 0
    names: tuple[str, ...] = field(default=())

    def mean(self) -> pd.Series:
        """Return every metric as one number: means over the users it is defined for, then the overall ones."""
        values = pd.concat([self.per_user.mean(), pd.Series(self.overall, dtype=float)])
        return values.reindex(list(self.names)) if self.names else values

    def frame(self) -> pd.DataFrame:
        """Return the means as a table: one row per metric, one column per cutoff ("@20")."""
        values = self.mean()
        parts = [name.rsplit("@", 1) for name in values.index]
        table = pd.DataFrame(
            {"metric": [p[0] for p in parts], "cutoff": [p[1] for p in parts], "value": values.to_numpy()}
        )
        table = table.pivot(index="metric", columns="cutoff", values="value")
        order = list(dict.fromkeys(p[0] for p in parts))
        cutoffs = sorted(table.columns, key=int)
        return table.loc[order, cutoffs].rename(columns=lambda k: f"@{k}").rename_axis(columns=None)

    def __getitem__(self, name: str) -> float:
        """Return the mean of one metric: ``report["recall@20"]``."""
        values = self.mean()
        if name not in values.index:
            raise suggest(name, values.index, "metric in this report")
        return float(values[name])

    def protocol(self) -> str:
        """Say in one sentence how these numbers were made."""
        hidden = f"{' and '.join(self.mask)} items masked" if self.mask else "nothing masked"
        return (
            f"{self.part}: {len(self.user_ids):,} users ranked over {self.n_competing:,} items, {hidden}, "
            f"{self.n_skipped:,} users without relevant items left out of accuracy."
        )

    def __repr__(self) -> str:
        return f"{self.protocol()}\n{self.frame().to_string(float_format=_number)}"

    def _repr_html_(self) -> str:
        return f"{self.frame().to_html(float_format=_number)}<p>{self.protocol()}</p>"


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def evaluate(
    model: Scorer,
    split: Any,
    part: str = "test",
    top_k: int | Sequence[int] = 20,
    metrics: Iterable[str] = DEFAULT,
    mask: str | Sequence[str] = ("train",),
    candidates: Iterable[int] | None = None,
    users: Iterable[int] | None = None,
    *,
    targets: Iterable[int] | None = None,
    features: Mapping[str, Any] | None = None,
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
        block: users per block; changes speed and memory, never a result.

    Raises:
        CourseError: unknown part or metric, no user to judge, top_k larger than the catalogue, scores with NaN or of
            the wrong shape.
    """
    mask = (mask,) if isinstance(mask, str) else tuple(mask)
    for name in (part, *mask):
        if name not in PARTS:
            raise suggest(name, PARTS, "part of the split")
    if part in mask:
        raise CourseError(f'The {part} items are both judged and masked; take "{part}" out of mask=.')
    cutoffs = _cutoffs(top_k)
    names = _metric_names(metrics, features, split.n_items)
    allowed = _item_mask(candidates, split.n_items, "candidates")
    counted = _item_mask(targets, split.n_items, "targets")
    counted = allowed if counted is None else counted if allowed is None else counted & allowed
    relevant = _relevant(split, part, counted)
    n_relevant = np.bincount(relevant // split.n_items, minlength=split.n_users)
    if users is None:
        user_ids = np.flatnonzero(n_relevant)
        if not len(user_ids):
            where = "" if counted is None else " among the items asked for"
            raise CourseError(f"No user has a {part} item{where}; choose another part, split or set of items.")
    else:
        user_ids = _user_ids(users, split.n_users)
    lists = recommend(model, split, user_ids, max(cutoffs), mask, candidates, block=block)
    n_competing = split.n_items if allowed is None else int(allowed.sum())
    n_skipped = int(np.count_nonzero((n_relevant if users is None else n_relevant[user_ids]) == 0))
    return _judge(
        lists, user_ids, split, relevant, n_relevant, cutoffs, names, n_competing, features, part, mask, n_skipped
    )


def evaluate_lists(
    lists: np.ndarray,
    user_ids: np.ndarray,
    split: Any,
    part: str = "test",
    top_k: int | Sequence[int] | None = None,
    metrics: Iterable[str] = DEFAULT,
    *,
    features: Mapping[str, Any] | None = None,
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
    n_relevant = np.bincount(relevant // split.n_items, minlength=split.n_users)
    names = _metric_names(metrics, features, split.n_items)
    n_skipped = int(np.count_nonzero(n_relevant[user_ids] == 0))
    return _judge(
        lists, user_ids, split, relevant, n_relevant, cutoffs, names, split.n_items, features, part, (), n_skipped
    )


def recommend(
    model: Scorer,
    split: Any,
    user_ids: Iterable[int],
    top_k: int = 20,
    mask: str | Sequence[str] = ("train",),
    candidates: Iterable[int] | None = None,
    *,
    block: int = BLOCK,
) -> np.ndarray:
    """Return the top-k lists of some users, (len(user_ids), top_k) int64; -1 where no item is left.

    Exact: every item competes; equal scores go to the smaller item id; an item scored -inf is never recommended.
    """
    user_ids = np.asarray(user_ids, dtype=np.int64).reshape(-1)
    mask = (mask,) if isinstance(mask, str) else tuple(mask)
    allowed = _item_mask(candidates, split.n_items, "candidates")
    n_competing = split.n_items if allowed is None else int(allowed.sum())
    if not 1 <= top_k <= n_competing:
        what = "the catalogue has" if allowed is None else "the candidates are"
        raise CourseError(f"top_k={top_k} must lie between 1 and the number of items; {what} {n_competing} items.")
    hidden = _by_user(np.concatenate([_keys(split, name) for name in mask]) if mask else _keys(split, None), split)
    barred = None if allowed is None else torch.from_numpy(np.flatnonzero(~allowed))
    n_rows = max(1, int(1.4 * math.sqrt(split.n_items / (top_k + 1))))  # see _largest; 1.4 by trial
    n_cols = max(math.ceil(split.n_items / n_rows), top_k + 1)
    lists = np.empty((len(user_ids), top_k), dtype=np.int64)
    buffer: torch.Tensor | None = None
    with _scoring(model) as score:
        writes = "out" in inspect.signature(score).parameters
        for start in range(0, len(user_ids), block):
            ids = user_ids[start : start + block]
            if buffer is None or not writes:
                scores = _checked(score(ids), ids, split.n_items)
            else:  # fresh memory for each block would cost more than the topmost items
                scores = _checked(score(ids, out=buffer[: len(ids), : split.n_items]), ids, split.n_items)
            if buffer is None:
                size = (min(block, len(user_ids)), n_rows * n_cols)
                buffer = torch.full(size, -torch.inf, dtype=scores.dtype, device=scores.device)
            # the copy keeps the model's own tensor untouched (it may be a view of its parameters)
            own = buffer[: len(ids)]
            if scores.data_ptr() != own.data_ptr():
                own[:, : split.n_items] = scores
            own.view(-1)[torch.from_numpy(_flat(hidden, ids, own.shape[1])).to(own.device)] = -torch.inf
            if barred is not None:
                own[:, barred.to(own.device)] = -torch.inf
            lists[start : start + len(ids)] = _best(own, top_k, n_rows)
    return lists


def top_items(
    model: Scorer,
    split: Any,
    user_id: int,
    top_k: int = 20,
    mask: str | Sequence[str] = ("train",),
    candidates: Iterable[int] | None = None,
) -> np.ndarray:
    """Return the item_ids recommended to one user, best first, (top_k,) int64; fewer when no more items are left."""
    ids = _user_ids([user_id], split.n_users)
    items = recommend(model, split, ids, top_k, mask, candidates)[0]
    return items[items >= 0]


@dataclass(frozen=True, repr=False)
class ColdReport:
    """Cold items judged twice: `full` (all items compete) and `among` (only cold items compete)."""

    full: Report
    among: Report

    def frame(self) -> pd.DataFrame:
        """Return one row per ranking: the means, the items that compete and the users judged."""
        rows = {"full ranking": self.full, "among cold items": self.among}
        table = pd.DataFrame({name: report.mean() for name, report in rows.items()}).T
        table["competing items"] = [report.n_competing for report in rows.values()]
        table["users"] = [len(report.user_ids) for report in rows.values()]
        return table

    def __repr__(self) -> str:
        return self.frame().to_string(float_format=_number)

    def _repr_html_(self) -> str:
        return self.frame().to_html(float_format=_number)


def evaluate_cold(
    model: Scorer,
    split: Any,
    part: str = "test",
    top_k: int | Sequence[int] = 20,
    metrics: Iterable[str] = ("recall", "ndcg"),
    mask: str | Sequence[str] = ("train",),
) -> ColdReport:
    """Judge the cold items (no train interaction), the course's one protocol: full ranking, and among cold items.

    Only cold items count as relevant. Popularity scores nothing here by construction, so compare with random,
    shuffled features and content neighbours.

    Raises:
        CourseError: the split has no cold item in ``part``.
    """
    cold = np.asarray(split.cold_items, dtype=np.int64)
    if not len(cold):
        raise CourseError('The split has no cold item; make one with split_dataset(dataset, "cold_items").')
    metrics = tuple(metrics)
    full = evaluate(model, split, part, top_k, metrics, mask, targets=cold)
    return ColdReport(full, evaluate(model, split, part, top_k, metrics, mask, candidates=cold))


def by_group(report: Report, groups: Any, metrics: Iterable[str] | None = None) -> pd.DataFrame:
    """Return the mean of each per-user metric in each group of users, with the number of users.

    Args:
        groups: label of each user: a Series with user_id as index, or an array whose position is the user_id.
        metrics: columns to keep, for example ["recall@20"]; all by default.
    """
    labels = groups if isinstance(groups, pd.Series) else pd.Series(groups)
    missing = ~pd.Index(report.user_ids).isin(labels.index)
    if missing.any():
        raise CourseError(f"User {report.user_ids[missing.argmax()]} has no group; give one label for every user_id.")
    columns = list(report.per_user.columns if metrics is None else metrics)
    for name in columns:
        if name not in report.per_user.columns:
            raise suggest(name, report.per_user.columns, "per-user metric in this report")
    grouped = report.per_user[columns].groupby(labels.loc[report.user_ids], observed=True)
    table = grouped.mean().rename_axis("group")
    table.insert(0, "users", grouped.size())
    return table


def profile_groups(split: Any, n_groups: int = 4) -> pd.Series:
    """Group the users by how many train items they have, in equally large groups as far as ties allow.

    Returns:
        Series, index user_id, ordered labels such as "1-4 items".
    """
    length = np.bincount(split.train[:, 0], minlength=split.n_users)
    edges = np.unique(np.quantile(length, np.linspace(0, 1, n_groups + 1)[1:], method="inverted_cdf"))
    group = np.searchsorted(edges, length)
    spans = [(length[group == g].min(), length[group == g].max()) for g in range(len(edges))]
    names = [
        f"{high} item" + ("s" if high > 1 else "") if low == high else f"{low}-{high} items" for low, high in spans
    ]
    return pd.Series(pd.Categorical.from_codes(group, names, ordered=True), name="profile").rename_axis("user_id")


# ---- below: how it is done ----------------------------------------------------------------------------------------


def _cutoffs(top_k: int | Sequence[int]) -> tuple[int, ...]:
    cutoffs = tuple(sorted({int(k) for k in np.atleast_1d(top_k)}))
    if not cutoffs or cutoffs[0] < 1:
        raise CourseError(f"top_k={top_k} must be a whole number of at least 1, or several.")
    return cutoffs


def _metric_names(metrics: Iterable[str], features: Mapping[str, Any] | None, n_items: int) -> tuple[str, ...]:
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


def _item_mask(items: Iterable[int] | None, n_items: int, what: str) -> np.ndarray | None:
    """Turn item_ids (or a boolean mask) into a boolean mask (n_items,)."""
    if items is None:
        return None
    items = np.asarray(items if isinstance(items, np.ndarray) else list(items))
    chosen = np.zeros(n_items, dtype=bool)
    if items.dtype == bool and len(items) == n_items:
        chosen |= items
    elif len(items):
        items = items.astype(np.int64)
        if items.min() < 0 or items.max() >= n_items:
            raise CourseError(f"{what} holds item ids outside 0 to {n_items - 1}; use positions, not raw ids.")
        chosen[items] = True
    if not chosen.any():
        raise CourseError(f"{what} is empty; name at least one item, or leave it out for the whole catalogue.")
    return chosen


def _user_ids(users: Iterable[int], n_users: int) -> np.ndarray:
    users = np.asarray(users if isinstance(users, np.ndarray) else list(users))
    users = np.flatnonzero(users) if users.dtype == bool else np.unique(users.astype(np.int64))
    if not len(users):
        raise CourseError("users is empty; name at least one user, or leave it out for all of them.")
    if users[0] < 0 or users[-1] >= n_users:
        raise CourseError(f"users holds ids outside 0 to {n_users - 1}; use positions, not raw ids.")
    return users


def _keys(split: Any, part: str | None) -> np.ndarray:
    """Return the pairs of a part as one int64 each: user_id * n_items + item_id."""
    rows = np.zeros((0, 2), dtype=np.int64) if part is None else np.asarray(getattr(split, part), dtype=np.int64)
    return rows[:, 0] * split.n_items + rows[:, 1]


def _relevant(split: Any, part: str, counted: np.ndarray | None) -> np.ndarray:
    """Return the sorted, distinct keys of the pairs to be found again."""
    keys = np.unique(_keys(split, part))
    return keys if counted is None else keys[counted[keys % split.n_items]]


def _by_user(keys: np.ndarray, split: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sort keys by user: (item_ids, start of each user's stretch), as in a CSR matrix."""
    keys = np.sort(keys)
    starts = np.searchsorted(keys, np.arange(split.n_users + 1) * split.n_items)
    return keys % split.n_items, starts


def _flat(hidden: tuple[np.ndarray, np.ndarray], ids: np.ndarray, width: int) -> np.ndarray:
    """Return the positions of the hidden items in the flattened block (len(ids), width)."""
    items, starts = hidden
    counts = starts[ids + 1] - starts[ids]
    rows = np.repeat(np.arange(len(ids)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows * width + items[np.repeat(starts[ids], counts) + within]


@contextmanager
def _scoring(model: Scorer):
    """Yield user_ids -> scores, without gradients and with dropout off; the model's mode is put back afterwards."""
    training = isinstance(model, torch.nn.Module) and model.training
    if hasattr(model, "score"):
        score = model.score
    elif callable(model):
        score = model
    elif isinstance(model, (np.ndarray, torch.Tensor)):
        matrix = torch.as_tensor(model)

        def score(ids: np.ndarray) -> torch.Tensor:
            return matrix[torch.from_numpy(ids)]
    else:
        raise CourseError(f"A {type(model).__name__} cannot be evaluated; give a model with score(user_ids).")
    if training:
        model.eval()
    try:
        with torch.no_grad():
            yield score
    finally:
        if training:
            model.train()


def _checked(scores: Any, ids: np.ndarray, n_items: int) -> torch.Tensor:
    scores = torch.as_tensor(scores).detach()
    if tuple(scores.shape) != (len(ids), n_items):
        shape = tuple(scores.shape)
        raise CourseError(f"score() returned shape {shape} for {len(ids)} users; it must be ({len(ids)}, {n_items}).")
    scores = scores if scores.is_floating_point() else scores.float()
    # the sum is NaN if any score is (or if +inf meets -inf): one cheap pass, and the exact look only on suspicion
    if torch.isnan(scores.sum()):
        bad = torch.isnan(scores).any(dim=1)
        if bad.any():
            user = ids[int(bad.int().argmax())]
            raise CourseError(
                f"The scores of user {user} hold NaN; look for a too high learning rate or empty features."
            )
    return scores


def _best(scores: torch.Tensor, k: int, n_rows: int) -> np.ndarray:
    """Return the k best columns of each row, (n, k) int64; ties to the smaller column, -1 where only -inf is left.

    ``scores`` (n, n_rows * n_cols) is read as ``n_rows`` rows of columns, which makes groups of columns, one under the
    other. The k-th largest of the groups' maxima is a limit that at least k columns reach, and few more: only these are
    sorted, as integers (score, then column), which settles ties on the way. Exact, and several times faster than topk.
    """
    if scores.device.type != "cpu" or scores.dtype != torch.float32:
        return _top(scores, k).cpu().numpy()
    n, width = scores.shape
    maxima = scores.view(n, n_rows, -1).amax(dim=1).numpy()
    place = maxima.shape[1] - k
    maxima.partition(place, axis=1)
    limit = maxima[:, place : place + 1]
    found = np.flatnonzero(scores.numpy() >= limit)
    rows = found // width
    counts = np.bincount(rows, minlength=n)
    many = (counts > 4 * k) | (limit[:, 0] == -np.inf)  # a tie of hundreds, or hardly an item left
    best = np.empty((n, k), dtype=np.int64)
    if many.any():
        few = ~many[rows]
        found, rows, counts = found[few], rows[few], np.where(many, 0, counts)
        best[many] = _top(scores[torch.from_numpy(many)], k).numpy()
    keys = np.full((n, max(counts.max(), k)), np.iinfo(np.int64).max)
    bits = (scores.view(-1).numpy()[found] + np.float32(0)).view(np.int32)  # + 0 turns -0 into 0
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)  # integers in the order of the floats
    starts = np.cumsum(counts) - counts
    keys[rows, np.arange(len(rows)) - starts[rows]] = (~ordered << 32) | (found - rows * width)
    keys.sort(axis=1)
    best[~many] = keys[~many, :k] & 0xFFFFFFFF
    return best


def _top(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Do what `_best` does, on any device and for any ties, with topk; (n, k) int64.

    The order of equal values is open so far, so rows in which a tie could matter are done again.
    """
    values, items = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1).nonzero()[:, 0]
    last = values[:, k - 1 : k]
    values, items = values[:, :k].clone(), items[:, :k].clone()
    if len(tied):
        rows, edge = scores[tied], last[tied]
        above, equal = rows > edge, rows == edge
        free = k - above.sum(dim=1, keepdim=True)  # slots left for those that share the last place
        chosen = above | (equal & (equal.cumsum(dim=1) <= free))
        found = chosen.nonzero()[:, 1].view(len(tied), k)  # exactly k per row, by item id
        best, order = torch.sort(rows.gather(1, found), dim=1, descending=True, stable=True)
        values[tied], items[tied] = best, found.gather(1, order)
    return torch.where(values == -torch.inf, -1, items)


def _hits(lists: np.ndarray, user_ids: np.ndarray, relevant: np.ndarray, n_items: int) -> np.ndarray:
    """Return which slots hold a relevant item, (n_users, K) bool: one binary search for all slots at once."""
    keys = np.where(lists >= 0, user_ids[:, None] * n_items + lists, -1)
    at = np.minimum(np.searchsorted(relevant, keys), max(len(relevant) - 1, 0))
    return relevant[at] == keys if len(relevant) else np.zeros(lists.shape, dtype=bool)


def _judge(
    lists: np.ndarray,
    user_ids: np.ndarray,
    split: Any,
    relevant: np.ndarray,
    n_relevant: np.ndarray,
    cutoffs: tuple[int, ...],
    names: tuple[str, ...],
    n_competing: int,
    features: Mapping[str, Any] | None,
    part: str,
    mask: tuple[str, ...],
    n_skipped: int,
) -> Report:
    hits = _hits(lists, user_ids, relevant, split.n_items)
    popularity = np.bincount(split.train[:, 1], minlength=split.n_items)
    n_train_users = len(np.unique(split.train[:, 0]))
    ranked = Ranked(lists, hits, n_relevant[user_ids], popularity, n_train_users, n_competing, features)
    per_user: dict[str, np.ndarray] = {}
    overall: dict[str, float] = {}
    order: list[str] = []
    for k in cutoffs:
        for name in names:
            key = f"{name}@{k}"
            order.append(key)
            if name in OVERALL:
                overall[key] = OVERALL[name](ranked, k)
            elif name in PER_USER:
                per_user[key] = PER_USER[name](ranked, k)
            else:
                per_user[key] = intra_list_diversity(ranked, k, name.removeprefix("ild_"))
    frame = pd.DataFrame(per_user, index=pd.Index(user_ids, name="user_id"))
    return Report(frame, overall, lists, user_ids, part, cutoffs, mask, n_competing, n_skipped, tuple(order))
