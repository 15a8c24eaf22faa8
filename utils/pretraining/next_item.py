"""Ask a model for the next item, of a history typed by hand or of everybody's, and judge the lists by exact ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch

from utils.data import Split
from utils.errors import CourseError
from utils.evaluation import Report, recommend
from utils.evaluation.protocol import evaluate
from utils.pretraining.sequences import Sequences

BLOCK = 256  # histories that are scored at once


class NextItemModel(Protocol):
    """What is asked here: a model that scores every item for histories of any people, known or not."""

    n_items: int
    length: int  # how many of the newest items it reads

    def score_histories(self, histories: np.ndarray) -> torch.Tensor:
        """(b, length) int64 item_ids, oldest first, -1 = padding on the left -> (b, n_items) float32 scores."""


def next_items(model: NextItemModel, history: Iterable[int], top_k: int = 10, masked: bool = True) -> np.ndarray:
    """Return the items that a model puts next after a history, best first: (up to top_k,) int64 item_ids.

    Nobody needs an account for this: the history may be typed by hand. The newest ``model.length`` items count.

    Args:
        history: item_ids, oldest first.
        masked: leave the items of the history out.

    Raises:
        CourseError: an empty history, an item that does not exist, a top_k that the catalogue does not have.
    """
    history = np.asarray(list(history), dtype=np.int64)
    if not len(history):
        raise CourseError("The history is empty; type at least one item_id, or show the most popular items.")
    if history.min() < 0 or history.max() >= model.n_items:
        wrong = history[(history < 0) | (history >= model.n_items)][0]
        raise CourseError(f"The history names item {wrong}; item ids run from 0 to {model.n_items - 1}.")
    pairs = np.stack([np.zeros_like(history), history], axis=1)
    visitor = Split(1, model.n_items, pairs, pairs[:0], pairs[:0], "by hand", np.zeros(0, dtype=np.int64))
    table = history[None, -model.length :]
    with judged(model):
        items = recommend(lambda _: model.score_histories(table), visitor, [0], top_k, ("train",) if masked else ())[0]
    return items[items >= 0]


def evaluate_next(
    model: NextItemModel,
    sequences: Sequences,
    part: str = "test",
    top_k: int | Sequence[int] = (5, 10),
    metrics: Iterable[str] = ("hr", "ndcg"),
    masked: bool = True,
) -> Report:
    """Rank the whole catalogue after each user's history, and judge where the one held-out item stands.

    The history is everything before the item: for the test item it holds the validation item, too. Nothing is sampled;
    equal scores go to the smaller item_id. One item is held out, so that HR@k is Recall@k, and nDCG@k is 1 / log2(1 + rank).

    Args:
        part: "valid" or "test".
        masked: leave the items of the history out, as the code behind S3-Rec's table does (it sets their scores to 0,
            here they leave the list altogether). A generator of ids, as TIGER, has no such step: False is its protocol.
    """
    known = {"valid": ("train",), "test": ("train", "valid")}.get(part, ()) if masked else ()
    with judged(model):
        return evaluate(_by_user(model, sequences, part), sequences.split, part, top_k, metrics, known, block=BLOCK)


def hit_rate_among(
    model: NextItemModel,
    sequences: Sequences,
    n_negatives: int = 99,
    top_k: int = 10,
    part: str = "test",
    seed: int = 0,
) -> float:
    """HR@k when the held-out item competes with few items drawn at random: not comparable with a full ranking.

    Nine of ten items that would have beaten it do not compete, so that the figure is much larger, and the order of two
    models can turn (Krichene and Rendle, KDD 2020). The negatives are items that the user never took; ties count half.

    Raises:
        CourseError: a user took so many items that no ``n_negatives`` others are left.
    """
    pairs, rng = sequences.split.part(part), np.random.default_rng(seed)
    score, most = _by_user(model, sequences, part), int(np.diff(sequences.starts).max())
    if sequences.n_items - most < n_negatives:
        raise CourseError(
            f"A user took {most} of {sequences.n_items} items, so that {n_negatives} others are not left."
        )
    hits = []
    for start in range(0, len(pairs), BLOCK):
        users, items = pairs[start : start + BLOCK].T
        with judged(model):
            scores = score(users).cpu().numpy()
        taken = sequences.padded(users, most, before="end")
        order = rng.random(scores.shape)  # the negatives are the items with the smallest of these numbers
        order[np.arange(len(users))[:, None], np.where(taken >= 0, taken, items[:, None])] = np.inf
        others = np.argpartition(order, n_negatives - 1, axis=1)[:, :n_negatives]
        own, rivals = np.take_along_axis(scores, items[:, None], 1), np.take_along_axis(scores, others, 1)
        hits.append((rivals > own).sum(1) + (rivals == own).sum(1) / 2 < top_k)
    return float(np.concatenate(hits).mean())


def hit_rate_within(
    model: NextItemModel, sequences: Sequences, item_ids: np.ndarray, top_k: int = 10, part: str = "test"
) -> float:
    """HR@k of those users whose held-out item is one of ``item_ids``, when only these items compete.

    For items that are new to the model: among all items they lose to those that training pushed up. Equal scores are drawn
    by lot, in expectation, so that a model that gives all of them the same score has k / len(item_ids).

    Raises:
        CourseError: nobody's held-out item is one of them.
    """
    pairs, item_ids = sequences.split.part(part), np.unique(item_ids)
    pairs = pairs[np.isin(pairs[:, 1], item_ids)]
    if not len(pairs):
        raise CourseError(
            f"No item of the {part} part is one of the {len(item_ids)} given; give items that are asked for."
        )
    score, hits = _by_user(model, sequences, part), []
    for start in range(0, len(pairs), BLOCK):
        users, items = pairs[start : start + BLOCK].T
        with judged(model):
            scores = score(users).cpu().numpy()
        own, rivals = np.take_along_axis(scores, items[:, None], 1), scores[:, item_ids]
        above, level = (rivals > own).sum(1), (rivals == own).sum(1)  # level: itself is one of them
        hits.append(np.clip((top_k - above) / level, 0, 1))
    return float(np.concatenate(hits).mean())


@contextmanager
def judged(model: NextItemModel) -> Iterator[None]:
    """Context without dropout and without gradients; a network's mode is put back afterwards."""
    training = isinstance(model, torch.nn.Module) and model.training
    if training:
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if training:
            model.train()


def _by_user(model: NextItemModel, sequences: Sequences, part: str) -> Callable[[np.ndarray], torch.Tensor]:
    """Return user_ids -> scores, from what is known of each user before the item of ``part``."""
    return lambda user_ids: model.score_histories(sequences.padded(user_ids, model.length, before=part))
