"""Exact top-k lists of the whole catalogue: every item competes, known items are masked, ties go to the smaller id."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from utils.data.split import Split
from utils.errors import CourseError
from utils.models.base import Recommender

BLOCK = 256  # users per block: larger blocks of scores fall out of the processor's cache and are slower
PARTS = ("train", "valid", "test")
# a model with score(user_ids), a function user_ids -> scores, or a (n_users, n_items) matrix
Scorer = Recommender | Callable[[np.ndarray], torch.Tensor] | np.ndarray | torch.Tensor


def recommend(
    model: Scorer,
    split: Split,
    user_ids: Iterable[int],
    top_k: int = 20,
    mask: str | Sequence[str] = ("train",),
    candidates: Iterable[int] | None = None,
    *,
    other_split: bool = False,
    block: int = BLOCK,
) -> np.ndarray:
    """Return the top-k lists of some users, (len(user_ids), top_k) int64; -1 where no item is left.

    Exact: every item competes; equal scores go to the smaller item id; an item scored -inf is never recommended.

    Raises:
        CourseError: the model was trained on another train part than that of ``split``, and ``other_split`` does not say
            that this is meant.
    """
    if not other_split:
        check_trained_on(model, split)
    user_ids = np.asarray(user_ids, dtype=np.int64).reshape(-1)
    mask = (mask,) if isinstance(mask, str) else tuple(mask)
    allowed = item_mask(candidates, split.n_items, "candidates")
    n_competing = split.n_items if allowed is None else int(allowed.sum())
    if not 1 <= top_k <= n_competing:
        what = "the catalogue has" if allowed is None else "the candidates are"
        raise CourseError(f"top_k={top_k} must lie between 1 and the number of items; {what} {n_competing} items.")
    hidden = _by_user(
        np.concatenate([pair_keys(split, name) for name in mask]) if mask else pair_keys(split, None), split
    )
    barred = None if allowed is None else torch.from_numpy(np.flatnonzero(~allowed))
    n_rows = max(1, int(1.4 * math.sqrt(split.n_items / (top_k + 1))))  # see _best; 1.4 by trial
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
    split: Split,
    user_id: int,
    top_k: int = 20,
    mask: str | Sequence[str] = ("train",),
    candidates: Iterable[int] | None = None,
    *,
    other_split: bool = False,
) -> np.ndarray:
    """Return the item_ids recommended to one user, best first, (top_k,) int64; fewer when no more items are left."""
    if isinstance(user_id, str):
        name = str(user_id)
        raise CourseError(
            f"top_items takes the position of a user; for the name {name!r} call utils.serving.top_table(model, dataset, "
            f"{name!r}), or pass int(np.flatnonzero(dataset.users == {name!r})[0])."
        )
    ids = checked_user_ids([user_id], split.n_users)
    items = recommend(model, split, ids, top_k, mask, candidates, other_split=other_split)[0]
    return items[items >= 0]


def check_trained_on(model: Scorer, split: Split) -> None:
    """Raise a CourseError if a recommender learned from other interactions than the train part of ``split``.

    It may then have seen the answers, and nothing else would tell. The order of the rows does not count, nor do the other
    parts; what is no recommender (a function, a matrix) says of no split where it comes from.
    """
    own = model.split if isinstance(model, Recommender) else split
    if own is split:
        return
    same_size = (own.n_users, own.n_items) == (split.n_users, split.n_items)
    learned, now = np.sort(pair_keys(own, "train")), np.sort(pair_keys(split, "train"))
    if same_size and np.array_equal(learned, now):
        return
    held_out = np.concatenate([pair_keys(split, "valid"), pair_keys(split, "test")])
    known = int(np.isin(held_out, learned).sum()) if same_size else 0
    why = (
        f"and knows {known:,} of the {len(held_out):,} held-out interactions of this one"
        if known
        else "not on this one"
    )
    raise CourseError(
        f"{model.name} was trained on another split, {why}; judge it on its own (model.split), or train it on this one; "
        "other_split=True says that you mean it."
    )


def all_tied(model: Scorer, user_ids: np.ndarray, n_items: int, items: np.ndarray) -> np.ndarray:
    """Return which users give all of ``items`` one and the same finite score, (len(user_ids),) bool."""
    tied = np.zeros(len(user_ids), dtype=bool)
    columns = torch.from_numpy(items)
    with _scoring(model) as score:
        for start in range(0, len(user_ids), BLOCK):
            ids = user_ids[start : start + BLOCK]
            scores = _checked(score(ids), ids, n_items)
            scores = scores[:, columns.to(scores.device)]
            same = (scores == scores[:, :1]).all(dim=1) & torch.isfinite(scores[:, 0])
            tied[start : start + BLOCK] = same.cpu().numpy()
    return tied


def item_mask(items: Iterable[int] | None, n_items: int, what: str) -> np.ndarray | None:
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


def checked_user_ids(users: Iterable[int], n_users: int) -> np.ndarray:
    users = np.asarray(users if isinstance(users, np.ndarray) else list(users))
    users = np.flatnonzero(users) if users.dtype == bool else np.unique(users.astype(np.int64))
    if not len(users):
        raise CourseError("users is empty; name at least one user, or leave it out for all of them.")
    if users[0] < 0 or users[-1] >= n_users:
        raise CourseError(f"users holds ids outside 0 to {n_users - 1}; use positions, not raw ids.")
    return users


def pair_keys(split: Split, part: str | None) -> np.ndarray:
    """Return the pairs of a part as one int64 each: user_id * n_items + item_id."""
    rows = np.zeros((0, 2), dtype=np.int64) if part is None else np.asarray(getattr(split, part), dtype=np.int64)
    return rows[:, 0] * split.n_items + rows[:, 1]


def _by_user(keys: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
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
