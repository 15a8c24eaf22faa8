"""Names in, names out: lists for users by their names, items like an item, a list for somebody new, and why."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from utils.data import Dataset, Split
from utils.errors import CourseError
from utils.evaluation import recommend
from utils.models import Recommender, TrainedRecommender
from utils.models.ials import IALS
from utils.models.mostpop import MostPop
from utils.serving.newcomers import fold_in


def top_table(
    model: Recommender, dataset: Dataset, users: str | Iterable[str], top_k: int = 10, mask: str | Sequence[str] = ("train",)
) -> pd.DataFrame:  # fmt: skip
    """Return the lists of users by name: user, rank (from 1), item, title, score; best first, user by user.

    Args:
        dataset: the one whose split the model was trained on; it has the names.
        users: one name, or several.
        mask: parts of the model's split whose items are left out of a user's list.

    Raises:
        CourseError: an unknown name (the nearest ones are given), or a dataset that does not fit the model.
    """
    _check(model, dataset)
    names = [users] if isinstance(users, str) else list(users)
    user_ids = np.array([_position(name, dataset.users, f"user of {dataset.name}") for name in names], dtype=np.int64)
    lists = recommend(model, model.split, user_ids, top_k, mask)
    tables = []
    for name, user_id, items in zip(names, user_ids, lists):
        scores = torch.as_tensor(model.score(np.array([user_id]))).detach().cpu().numpy()[0]
        table = _named(dataset, items[items >= 0], scores)
        table.insert(0, "user", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def similar_items(model: Recommender, dataset: Dataset, item: str, top_k: int = 10) -> pd.DataFrame:
    """Return the items most like ``item`` in the eyes of the model: rank, item, title, score.

    The score is, where the model has a vector for each item, the cosine of two vectors, and elsewhere (kNN, EASE) how much
    a taken ``item`` speaks for the other one: what a user who took nothing else would be told.

    Raises:
        CourseError: an unknown name, a dataset that does not fit, or a model that does not compare items.
    """
    _check(model, dataset)
    item_id = _position(item, dataset.item_names, f"item of {dataset.name}")
    vectors = _item_vectors(model)
    if vectors is None:
        scores = _votes(model, np.array([item_id]))[0]
        scores = np.where(scores == 0, -np.inf, scores)  # it says nothing about the others
    else:
        lengths = np.linalg.norm(vectors, axis=1)
        scores = vectors @ vectors[item_id] / np.maximum(lengths * lengths[item_id], 1e-12)
    return _list(dataset, scores, [item_id], top_k)


def recommend_for(model: Recommender, dataset: Dataset, liked: str | Iterable[str], top_k: int = 10) -> pd.DataFrame:
    """Return a list for somebody new who likes the items ``liked`` (names): rank, item, title, score; nothing is trained.

    Raises:
        CourseError: an unknown name, no item, a dataset that does not fit, or a model that has a trained vector for each
            user (`fold_in` says which have not).
    """
    _check(model, dataset)
    names = [liked] if isinstance(liked, str) else list(liked)
    if not names:
        raise CourseError("liked is empty; name at least one item, or show what is popular.")
    ids = np.unique([_position(name, dataset.item_names, f"item of {dataset.name}") for name in names])
    return _list(dataset, fold_in(model, _rows(ids, np.zeros_like(ids), 1, model.n_items))[0], ids, top_k)


def because(model: Recommender, dataset: Dataset, user: str, item: str, top_k: int = 3) -> pd.DataFrame:
    """Return why ``user`` is shown ``item``: the items of their history and what each adds to the score; rank, item, title, score.

    Where a score is a sum over the history (kNN, EASE, with and without content): all of them together make the score.

    Raises:
        CourseError: an unknown name, a user without a training interaction, a dataset that does not fit, or a model whose
            score is no such sum.
    """
    _check(model, dataset)
    user_id = _position(user, dataset.users, f"user of {dataset.name}")
    item_id = _position(item, dataset.item_names, f"item of {dataset.name}")
    past = np.unique(model.split.train[model.split.train[:, 0] == user_id, 1])
    if not len(past):
        raise CourseError(
            f"User {user!r} has no training interaction, so nothing speaks for an item; choose another user."
        )
    share = np.full(model.n_items, -np.inf)
    share[past] = _votes(model, past)[:, item_id]
    return _list(dataset, share, [], min(top_k, len(past)))


def _votes(model: Recommender, items: np.ndarray) -> np.ndarray:
    """What each of some items adds to the score of every item when it is taken, (len(items), n_items)."""
    if isinstance(model, (TrainedRecommender, IALS, MostPop)):
        raise CourseError(
            f"The score of {model.name} is no sum over the items that a user took; take itemknn or ease (or one of them with "
            "content) to compare items and to say why."
        )
    return fold_in(model, _rows(items, np.arange(len(items)), len(items), model.n_items))


def _item_vectors(model: Recommender) -> np.ndarray | None:
    """The model's vectors of items, (n_items, d), or None if it has none."""
    if isinstance(model, IALS):
        return model.items
    if not isinstance(model, TrainedRecommender):
        return None
    try:
        return model._final_embeddings()[1].cpu().numpy()
    except NotImplementedError as error:  # a network scores the pair
        raise CourseError(f"{model.name} has no vector for an item alone; compare items with another model.") from error


def _rows(items: np.ndarray, rows: np.ndarray, n: int, n_items: int) -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(len(items), dtype=np.float32), (rows, items)), shape=(n, n_items))


def _list(dataset: Dataset, scores: np.ndarray, hidden: Iterable[int], top_k: int) -> pd.DataFrame:
    """The best of (n_items,) scores as a table, without the items ``hidden``, by the same ranking as everywhere."""
    n_items, none = len(scores), np.zeros((0, 2), dtype=np.int64)
    taken = np.array([(0, item) for item in hidden], dtype=np.int64).reshape(-1, 2)
    split = Split(1, n_items, taken, none, none, "one list", np.setdiff1d(np.arange(n_items), taken[:, 1]))
    items = recommend(scores[None].astype(np.float32), split, [0], top_k)[0]
    return _named(dataset, items[items >= 0], scores)


def _named(dataset: Dataset, items: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    titles = dataset.items["title"].to_numpy() if "title" in dataset.items else np.full(dataset.n_items, "")
    columns = {"item": dataset.item_names[items], "title": titles[items], "score": scores[items]}
    return pd.DataFrame({"rank": np.arange(1, len(items) + 1), **columns})


def _check(model: Recommender, dataset: Dataset) -> None:
    """Raise a CourseError if the positions of the model are not those of the dataset."""
    if (dataset.n_users, dataset.n_items) != (model.n_users, model.n_items):
        raise CourseError(
            f"{model.name} knows {model.n_users:,} users and {model.n_items:,} items, {dataset.name} has {dataset.n_users:,} and "
            f"{dataset.n_items:,}; give the dataset whose split the model was trained on."
        )
    table, train = dataset.interactions, model.split.train
    pairs = table["user_id"].to_numpy() * dataset.n_items + table["item_id"].to_numpy()
    if not np.isin(train[:, 0] * dataset.n_items + train[:, 1], pairs).all():
        raise CourseError(
            f"{model.name} was trained on interactions that {dataset.name} does not have; give the dataset whose split it was."
        )


def _position(name: str, names: np.ndarray, what: str) -> int:
    """The position of a name, or the error that gives the nearest ones."""
    found = np.flatnonzero(names == str(name))
    if len(found):
        return int(found[0])
    near = difflib.get_close_matches(str(name), names[:20_000].tolist(), n=3, cutoff=0.4)  # enough for a slip
    hint = f"did you mean {' or '.join(near)}?" if near else f"names look like {', '.join(names[:3])}."
    raise CourseError(f"Unknown {what} {name!r}; {hint}")
