"""Opponents that only count, from the training part: popularity, neighbours with recency, and who came next."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from utils.errors import CourseError
from utils.graphs import knn_graph, to_scipy
from utils.models.itemknn import ItemKNN
from utils.pretraining.sequences import Sequences

DECAY = 0.6  # weight of an item against the one that was taken after it
WITHIN = 3  # steps over which one item counts as the follower of another
LENGTH = 50  # items of a history that are read where older ones weigh next to nothing


class Popularity:
    """The same list for everybody: how many took each item in the training part."""

    length = 1

    def __init__(self, sequences: Sequences) -> None:
        self.n_items = sequences.n_items
        self.counts = torch.as_tensor(np.bincount(sequences.split.train[:, 1], minlength=self.n_items)).float()

    def score_histories(self, histories: np.ndarray) -> torch.Tensor:
        """See ``NextItemModel``: (b, length) item_ids -> (b, n_items)."""
        return self.counts.expand(len(histories), -1)


class PairCounts:
    """Any table of pairs as a model: score(j) = sum over the items i of the history of decay^age(i) * table[i, j].

    age(i) is 0 for the newest item, 1 for the one before it. decay = 1 forgets the order, decay = 0 sees only the newest.

    Args:
        table: (n_items, n_items) sparse; row = an item of the history, column = the item to score.
    """

    def __init__(self, table: sp.spmatrix, decay: float = DECAY, length: int = LENGTH) -> None:
        if not 0 <= decay <= 1:
            raise CourseError(f"decay={decay} must lie between 0 (only the newest item) and 1 (all alike).")
        self.table = sp.csr_matrix(table, dtype=np.float32)
        self.n_items, self.decay, self.length = self.table.shape[0], decay, length

    def score_histories(self, histories: np.ndarray) -> torch.Tensor:
        """See ``NextItemModel``: (b, length) item_ids -> (b, n_items)."""
        histories = np.asarray(histories)
        rows, places = np.nonzero(histories >= 0)
        weights = np.power(self.decay, histories.shape[1] - 1 - places, dtype=np.float32)
        parts = weights, (rows, histories[rows, places])
        scores = sp.csr_matrix(parts, shape=(len(histories), self.n_items)) @ self.table
        return torch.from_numpy(scores.toarray())


def neighbours(sequences: Sequences, k: int = 100, shrink: float = 20.0) -> sp.csr_matrix:
    """The similarities of the course's ItemKNN, without any order: (n_items, n_items), row = item of a history."""
    return ItemKNN(sequences.split, k=k, shrink=shrink).similarity


def transitions(
    sequences: Sequences, within: int = WITHIN, decay: float = DECAY, shrink: float = 20.0
) -> sp.csr_matrix:
    """Count who came next, in the training part: (n_items, n_items), row = the earlier item, column = the later one.

    t(i, j) = sum over the times that j came s = 1, ..., within steps after i of decay^(s - 1)
    table[i, j] = t(i, j) / (sqrt(n_i n_j) + shrink), n_i = training interactions of i

    The form is ItemKNN's, with pairs that have a direction: "after a tent came pegs" says nothing of "after pegs came a
    tent". Where ties in time were stored in the order of the catalogue, that order is counted, too.
    """
    counts = np.diff(sequences.starts)
    users = np.repeat(np.arange(sequences.n_users), counts)
    trained = np.arange(len(users)) - sequences.starts[users] < sequences.lengths("valid")[users]
    items, users = sequences.items[trained], users[trained]
    found = sp.csr_matrix((sequences.n_items, sequences.n_items))
    for step in range(1, within + 1):
        same = users[step:] == users[:-step]
        pairs = items[:-step][same], items[step:][same]
        found += sp.csr_matrix((np.full(int(same.sum()), decay ** (step - 1)), pairs), shape=found.shape)
    found = found.tocoo()
    taken = np.bincount(items, minlength=sequences.n_items)
    values = found.data / (np.sqrt(taken[found.row] * taken[found.col]) + shrink)
    other = found.row != found.col  # who took an item again says nothing of what comes next
    return sp.csr_matrix((values[other], (found.row[other], found.col[other])), shape=found.shape)


def content_neighbours(vectors: np.ndarray, k: int = 100) -> sp.csr_matrix:
    """The ``k`` items nearest to each by the cosine of its content: (n_items, n_items), row = item of a history.

    It needs no training at all, and finds items that nobody took: ``PairCounts`` of it is what pretraining has to beat.

    Args:
        vectors: (n_items, dim), for example the features of several modalities, each scaled to length 1, side by side.
            A row of zeros has no content and no neighbours.
    """
    return to_scipy(knn_graph(vectors, k, weighted=True, include_self=False))


def opponents(sequences: Sequences, **settings: float) -> dict[str, Popularity | PairCounts]:
    """All of them, title -> model; ``settings`` are those of ``neighbours``."""
    table, longest = neighbours(sequences, **settings), int(sequences.lengths("end").max())
    return {
        "Popularity": Popularity(sequences),
        "Last item's neighbours": PairCounts(table, decay=0.0),
        "ItemKNN": PairCounts(table, decay=1.0, length=longest),
        "ItemKNN, recency": PairCounts(table),
        "ItemKNN, directed transitions": PairCounts(transitions(sequences)),
    }
