"""rho without training: neighbours among items, by who took them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from utils.models.base import Recommender, Schema


class ItemKNN(Recommender):
    """You get what is similar to what you took; two items are similar if the same users took them.

    sim(i, j) = r_i . r_j / (|r_i| |r_j| + shrink), r_i = column of item i in the training matrix R
    score(u, i) = sum of sim(i, j) over the items j of u's history that are among the k nearest neighbours of i

    Traps, decided: a common release leaves an item in its own neighbourhood, where it fills one of the k places without
    effect; here an item is not its own neighbour. The k neighbours are those of the scored item. A cold item has no
    column, hence score 0.

    Source: Sarwar et al., "Item-based collaborative filtering", WWW 2001.
    """

    name = "itemknn"
    title = "ItemKNN"
    order = 30
    schema = Schema("none", "none", "none", "none", "none")
    DEFAULTS = {"k": 100, "shrink": 20.0}
    SEARCH = {"k": [20, 50, 100, 200], "shrink": [0.0, 5.0, 20.0]}

    def build(self) -> None:
        self.history = self.split.matrix("train")  # (n_users, n_items)
        columns = sp.csr_matrix(self.history.T)
        norms = np.sqrt(np.diff(columns.indptr))
        parts = []
        for start in range(0, self.n_items, 1024):  # never more than (1024, n_items) similarities at once
            common = (columns[start : start + 1024] @ self.history).toarray()  # users who took both
            product = norms[start : start + 1024, None] * norms
            similarity = common / np.maximum(product + self.settings["shrink"], 1e-12)
            np.fill_diagonal(similarity[:, start:], 0)
            parts.append(keep_largest(similarity, self.settings["k"]))
        self.similarity = sp.vstack(parts).T.tocsr()  # (j, i): history @ similarity sums over j

    def score(self, user_ids) -> torch.Tensor:
        scores = self.history[np.asarray(user_ids)] @ self.similarity
        return torch.as_tensor(scores.toarray(), dtype=torch.float32)


def keep_largest(rows: np.ndarray, k: int) -> sp.csr_matrix:
    """Keep the k largest positive entries of each row of (n, m); ties at the edge go to the smaller column."""
    order = np.argsort(-rows, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(rows, order, axis=1)
    heads = np.repeat(np.arange(len(rows)), order.shape[1])
    kept = values.ravel() > 0
    parts = values.ravel()[kept].astype(np.float32), (heads[kept], order.ravel()[kept])
    return sp.csr_matrix(parts, shape=rows.shape)
