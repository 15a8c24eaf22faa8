"""rho without gradients: vectors of items that have to explain what people took and what the items are like."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from utils.models.base import Schema, content
from utils.models.ials import IALS


class IALSContent(IALS):
    """iALS in which an item's vector also has to give back the item's features.

    loss = that of iALS + weight * c / M * sum over m of sum over items with m of |x_i^m - Z_m h_i|^2
           + weight * c / M * reg * sum over m of n_m |Z_m|^2
    c = interactions of a warm item, on average; M = number of modalities; n_m = items that have modality m
    x_i^m = features, centred and of length 1; Z_m (dim_m, dim) = how content is read off the vectors
    score(u, i) = w_u . h_i, as in iALS

    ``weight`` = 1: what an item is like counts as much as the clicks of an average item. Users, items and Z are solved in
    turn, each exactly. A cold item has a vector: the one that gives back its features, kept short by the pairs that
    nobody took. With ``weight`` 0 this is iALS.

    Traps, decided: the error is squared, so features far from length 1 would drown the clicks, hence unit rows. An item
    that lacks a modality is free of that term; items are solved in groups that have the same modalities.

    Source: the model of clicks is that of ials.py; content as a second matrix that shares its factors is Singh & Gordon,
    "Relational learning via collective matrix factorization", KDD 2008, doi:10.1145/1401890.1401969.
    """

    name = "ials_content"
    title = "iALS + content"
    order = 66
    schema = Schema("any", "pretrained", "coordinate", "late", "weighted squared error")
    DEFAULTS = IALS.DEFAULTS | {"weight": 0.3, "normalise": "centred"}
    SEARCH = IALS.SEARCH | {"weight": [0.03, 0.1, 0.3, 1.0]}
    uses_features = needs_features = True

    def build(self) -> None:
        tables = [content(feature, self.settings["normalise"]) for feature in self.features.values()]
        self.tables = [(matrix.numpy().astype(np.float64), mask.numpy()) for matrix, mask in tables]
        taken = np.diff(self.split.matrix("train").tocsc().indptr)
        self.share = self.settings["weight"] * taken[taken > 0].mean() / len(self.tables)
        kinds = np.array([mask for _, mask in self.tables])  # (M, n_items)
        self.groups = [(kind, (kinds == kind[:, None]).all(axis=0)) for kind in np.unique(kinds, axis=1).T]
        self.readers = [np.zeros((matrix.shape[1], self.settings["dim"])) for matrix, _ in self.tables]
        super().build()

    def solve_items(self, takers: sp.csr_matrix) -> np.ndarray:
        """The vectors of items, from those of users and from Z; then Z from the vectors of items."""
        items = np.zeros((self.n_items, self.settings["dim"]))
        for kind, rows in self.groups:
            own = [(matrix[rows], reader) for (matrix, _), reader, has in zip(self.tables, self.readers, kind) if has]
            gram = self.share * sum((reader.T @ reader for _, reader in own), np.zeros((items.shape[1],) * 2))
            right = self.share * sum((matrix @ reader for matrix, reader in own), np.zeros_like(items[rows]))
            items[rows] = self.solve(takers[np.flatnonzero(rows)], self.users, gram, right)
        for place, (matrix, mask) in enumerate(self.tables):
            ridge = self.settings["reg"] * mask.sum() * np.eye(items.shape[1])
            have = items[mask]
            self.readers[place] = np.linalg.solve(have.T @ have + ridge, have.T @ matrix[mask]).T
        return items
