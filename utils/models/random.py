"""rho without anything: the floor that a metric has by chance."""

from __future__ import annotations

import numpy as np
import torch

from utils.models.base import Recommender, Schema


class Random(Recommender):
    """score(u, i) is a pseudo-random number in [0, 1) that depends on the seed, the user and the item only.

    So a user gets the same list whatever block of users it is scored in. The numbers are the finaliser of splitmix64
    (Steele et al., OOPSLA 2014) applied to a counter, for all pairs at once.
    """

    name = "random"
    title = "Random"
    order = 10
    schema = Schema("none", "none", "none", "none", "none")

    def build(self) -> None:
        self.offset = np.random.default_rng(self.seed).integers(0, 2**63, dtype=np.uint64)

    def score(self, user_ids) -> torch.Tensor:
        users = np.asarray(user_ids, dtype=np.uint64)[:, None]
        x = users * np.uint64(self.n_items) + np.arange(self.n_items, dtype=np.uint64) + np.uint64(1)
        x = x * np.uint64(0x9E3779B97F4A7C15) + self.offset
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
        return torch.as_tensor((x >> np.uint64(40)).astype(np.float32) / np.float32(2**24))
