"""rho without training: linear weights between items that explain what people took and what the items are like."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from utils.errors import suggest
from utils.models.base import Recommender, Schema, content
from utils.models.ease import check_size, closed_form, gram


class EASEContent(Recommender):
    """EASE that knows what its items look, read and sound like: features are more rows of the same regression.

    G = R^T R / c, c = interactions of a warm item, on average (see ease.py); K = mean over modalities of F_m F_m^T,
    F_m (n_items, dim) = features, centred and of length 1, so that K_ii is 1 where all modalities are there
    B(A, reg) = -P_ij / P_jj off the diagonal, P = (A + reg I)^-1, the closed form of ease.py
    fusion "stacked": score(u) = r_u B(G + weight * K, reg), one regression over the users and the feature numbers
    fusion "added":   score(u) = r_u ((1 - share) * B(G, reg) + share * B(K, reg_content)), two regressions

    ``weight`` = 1: the content of an item counts as much as the clicks of an average one. Both rank cold items, whose
    columns of B come from content alone.

    Traps, decided: with raw features the longest modality decides, hence length 1; uncentred, all items resemble all
    others. In the paper the features are tags, 0 or 1, multiplied by a number whose square is ``weight`` * c here, and the
    release solves both parts of "added" with one penalty; here each has its own, since K is in other units than R^T R. A
    missing modality leaves zero rows. Where only ``item_graphs`` are given (the nearest items of each item), F_m is the
    graph with rows of length 1: two items are alike if they have the same neighbours.

    Cost: as EASE, the matrix K on top (8 bytes for each pair of items while solving); "added" solves twice.

    Source: Jeunen, Van Balen and Goethals, "Closed-Form Models for Collaborative Filtering with Side-Information", RecSys
    2020, doi:10.1145/3383313.3418480 ("collective" and "additive" there).

    Raises:
        CourseError: more than ``max_items`` items, an unknown ``fusion``, a ``reg`` that is not above 0.
    """

    name = "ease_content"
    title = "EASE + content"
    order = 55
    schema = Schema("any", "pretrained", "joint", "none", "squared error")
    DEFAULTS = {"fusion": "stacked", "reg": 10.0, "weight": 1.0, "share": 0.3, "reg_content": 1.0}
    DEFAULTS |= {"normalise": "centred", "item_graphs": None, "max_items": 20_000}
    SEARCH = {"reg": [2.0, 5.0, 10.0, 20.0, 50.0], "weight": [0.1, 0.3, 1.0, 3.0, 10.0]}
    uses_features = needs_features = True

    def build(self) -> None:
        s = self.settings
        if s["fusion"] not in ("stacked", "added"):
            raise suggest(s["fusion"], ("stacked", "added"), "fusion")
        check_size(self)
        self.history = self.split.matrix("train")
        if s["fusion"] == "stacked":
            product = gram(self.history)
            self.add_alikeness(product, s["weight"])
            self.weights = closed_form(product, s["reg"])
        else:
            product = np.zeros((self.n_items, self.n_items))
            self.add_alikeness(product, 1.0)
            self.weights = s["share"] * closed_form(product, s["reg_content"])
            del product
            self.weights += (1 - s["share"]) * closed_form(gram(self.history), s["reg"])

    def add_alikeness(self, product: np.ndarray, weight: float) -> None:
        """Add ``weight`` * K, (n_items, n_items), to the given matrix in place, in blocks of rows."""
        tables = [unit_rows(graph) for graph in self.item_graphs.values()] or [
            content(feature, self.settings["normalise"])[0].numpy() for feature in self.features.values()
        ]
        for start in range(0, self.n_items, 1024):
            for table in tables:
                alike = table[start : start + 1024] @ table.T
                alike = alike.toarray() if sp.issparse(alike) else alike
                product[start : start + 1024] += weight / len(tables) * alike

    def score(self, user_ids) -> torch.Tensor:
        return torch.as_tensor(self.history[np.asarray(user_ids)].astype(np.float32) @ self.weights)


def unit_rows(graph: sp.spmatrix) -> sp.csr_matrix:
    """Return the graph (n, n) with every row scaled to length 1; an empty row stays empty."""
    graph = sp.csr_matrix(graph, dtype=np.float32)
    norms = np.sqrt(np.asarray(graph.multiply(graph).sum(1)).ravel())
    return sp.diags(1 / np.maximum(norms, 1e-12)) @ graph
