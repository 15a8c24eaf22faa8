"""rho without training: neighbours among items, by what they look, read and sound like."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from utils.models.base import Recommender, Schema, content
from utils.models.itemknn import keep_largest


class ItemKNNContent(Recommender):
    """You get what resembles what you took. It needs no interaction of the scored item, so it ranks cold items too.

    x_i = [w_v x_i^v || w_t x_i^t || w_a x_i^a], every modality L2-normalised first
    sim(i, j) = cosine of x_i and x_j
    score(u, i) = sum of sim(i, j) over the items j of u's history that are among the k nearest neighbours of i

    Traps, decided: a released variant concatenates raw features, so that 4096 image numbers drown 384 text numbers, and
    shrinks by 10 what are then unit vectors; here every modality has length 1 and there is no shrinking. A missing
    modality leaves zeros, and the cosine looks at the rest. The k neighbours come from the items seen in training: only
    these can be in a history, and cold items must not use up the places. An item is not its own neighbour.

    Where only ``item_graphs`` are given (the nearest items of each item, without the features), sim is their weighted
    sum, w_m S^m summed over m, without the diagonal; k is then the graph's, and cold items may have used up its places.
    """

    name = "itemknn_content"
    title = "Content kNN"
    order = 40
    schema = Schema("any", "pretrained", "joint", "none", "none")
    DEFAULTS = {"k": 20, "normalise": "centred", "weights": None, "item_graphs": None}
    SEARCH = {"k": [5, 10, 20, 50, 100], "normalise": ["l2", "centred"]}
    uses_features = needs_features = True

    def build(self) -> None:
        self.history = self.split.matrix("train")
        if self.item_graphs:
            self.similarity = self.from_graphs()
            return
        weights = self.settings["weights"] or {}
        parts = [
            weights.get(modality, 1.0) * content(feature, self.settings["normalise"])[0]
            for modality, feature in self.features.items()
        ]
        joint = torch.nn.functional.normalize(torch.cat(parts, dim=1), dim=1)
        warm = np.unique(self.split.train[:, 1])
        blocks = []
        for start in range(0, self.n_items, 1024):  # never more than (1024, n_items) similarities at once
            cosines = np.zeros((len(joint[start : start + 1024]), self.n_items), dtype=np.float32)
            cosines[:, warm] = (joint[start : start + 1024] @ joint[warm].T).numpy()
            np.fill_diagonal(cosines[:, start:], 0)
            blocks.append(keep_largest(cosines, self.settings["k"]))
        self.similarity = sp.vstack(blocks).T.tocsr()  # (j, i)

    def from_graphs(self) -> sp.csr_matrix:
        """(j, i) from the given graphs, whose rows are the items i and whose columns are their neighbours j."""
        weights = self.settings["weights"] or {}
        total = sum(weights.get(m, 1.0) * sp.csr_matrix(graph) for m, graph in self.item_graphs.items())
        total = sp.csr_matrix(total - sp.diags(total.diagonal()))
        return total.T.tocsr().astype(np.float32)

    def score(self, user_ids) -> torch.Tensor:
        scores = self.history[np.asarray(user_ids)] @ self.similarity
        return torch.as_tensor(scores.toarray(), dtype=torch.float32)
