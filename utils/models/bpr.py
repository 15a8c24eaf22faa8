"""rho without content: BPR-MF, matrix factorisation trained to rank."""

from __future__ import annotations

from typing import Any

import torch

from utils.kernels import bpr_of_tables
from utils.models.base import Interactions, Schema, TrainedRecommender


class BPR(TrainedRecommender):
    """Each user and each item is one trainable vector; the score is their inner product.

    score(u, i) = e_u . e_i
    loss = mean -ln sigmoid(score(u, i) - score(u, j)) + reg / (2 b) * sum over the batch (|e_u|^2 + |e_i|^2 + |e_j|^2)

    Traps, decided: the paper has no item bias and samples triples with replacement; released frameworks walk the list
    of interactions once per epoch; so do we. A cold item keeps its small initial vector: its rank is arbitrary. Whoever
    has more clicks meets the penalty more often and needs less of it, and so does a large catalogue: the recommended reg
    is that for the size of the log, for 6.25 clicks a user, and falls with the root of their number. It was chosen on the
    shop, MovieLens and Amazon Beauty, and looked at on TikTok and Amazon Baby, where its rows are above the published.

    Source: Rendle et al., UAI 2009.
    """

    name = "bpr"
    title = "BPR-MF"
    order = 60
    schema = Schema("none", "none", "none", "none", "BPR")
    DEFAULTS = {"dim": 64, "reg": 1e-1, "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    LARGE = {"reg": 4e-2}
    SEARCH = {"lr": [1e-3, 5e-3, 1e-2], "reg": [3e-1, 1e-1, 3e-2, 1e-2]}

    @classmethod
    def recommended(cls, split: Interactions) -> dict[str, Any]:
        """The settings for data of this kind: ``reg`` by the mean clicks of a user, two digits."""
        settings, clicks = super().recommended(split), len(split.train) / split.n_users
        return settings | {"reg": float(f"{settings['reg'] * (6.25 / clicks) ** 0.5:.2g}")}

    def build(self) -> None:
        self.user_table = self.table(self.n_users)
        self.item_table = self.table(self.n_items)

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.user_table.weight, self.item_table.weight

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        tables = self.user_table.weight, self.item_table.weight
        return bpr_of_tables(*tables, user_ids, pos_ids, neg_ids, self.settings["reg"])
