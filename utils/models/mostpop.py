"""rho without learning: the same popular items for everybody."""

from __future__ import annotations

import numpy as np
import torch

from utils.models.base import Recommender, Schema


class MostPop(Recommender):
    """score(u, i) = number of training interactions of i: the baseline that every personal model has to beat."""

    name = "mostpop"
    title = "Popularity"
    order = 20
    schema = Schema("none", "none", "none", "none", "none")

    def build(self) -> None:
        counts = np.bincount(self.split.train[:, 1], minlength=self.n_items)
        self.popularity = torch.as_tensor(counts, dtype=torch.float32)

    def score(self, user_ids) -> torch.Tensor:
        return self.popularity.repeat(len(user_ids), 1)
