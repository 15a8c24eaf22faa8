"""rho with content: VNPR, a small network judges the pair of user and item instead of an inner product."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.functional import relu

from utils.errors import CourseError
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender


class VNPR(TrainedRecommender):
    """User and item meet number by number, by id and by content; a network makes a score of the products.

    o(u, i) = MLP([g_u * g_i ; t_u * f_i]),   MLP: relu layers of the widths ``hidden``, dropout, one number at the end
    loss = BPR of o_1(u, i) - o_2(u, j) + reg / (2 b) * sum over the batch of |g_u|^2 + |g_i|^2 + |g_j|^2 + |t_u|^2
    score(u, i) = mean of o_1 and o_2

    The content enters as it is (the paper: 128 principal axes of a CNN), so t_u is as wide as f_i.

    Traps, decided:
    * As published, the positive and the negative item have a network each. o_1 can then grow by a constant, o_2 can
      fall, and the loss goes to 0 without any ranking being learned. ``towers=2`` is that model; ours is one network
      for both places, so that a constant cancels.
    * Products of small numbers are tiny, and products of random signs hide what all users share: started at N(0, s^2) the
      network stays below popularity for long. A user's numbers are 1 + a table here, so that the product starts as the
      item itself; the penalty is on what differs from 1.
    * The score is no inner product, so ``embeddings`` does not exist, and full ranking costs a network for each pair:
      user by item by width by width. The first layer is made per user, which saves the large table of products.
    * An item without content has f_i = 0; a cold item has g_i = 0, and its content alone speaks.

    Source: Niu, Caverlee & Lu, "Neural Personalized Ranking for Image Recommendation", WSDM 2018, DOI
    10.1145/3159652.3159728.
    """

    name = "vnpr"
    title = "VNPR"
    order = 220
    challenge = "2.3"
    schema = Schema("any", "pretrained", "joint", "none", "BPR")
    DEFAULTS = {"dim": 32, "hidden": (32, 16), "towers": 1, "dropout": 0.2, "spread": 0.1, "reg": 3e-2}
    DEFAULTS |= {"normalise": "centred", "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    SEARCH = {"lr": [1e-3, 2e-3, 5e-3], "reg": [1e-1, 3e-2, 1e-2, 3e-3]}
    uses_features = needs_features = True

    def build(self) -> None:
        if self.settings["towers"] not in (1, 2):
            raise CourseError(f"vnpr: towers={self.settings['towers']}; give 1 (one network) or 2 (as published).")
        self.add_warm()
        self.add_content(self.settings["normalise"])
        seen = torch.cat([self.content(m) for m in self.modalities], dim=1)
        self.register_buffer("seen", seen * seen.shape[1] ** 0.5, persistent=False)  # about 1 for each number
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.taste_table = self.table(self.n_users, seen.shape[1])
        for table in (self.user_table, self.item_table, self.taste_table):
            nn.init.normal_(table.weight, std=self.settings["spread"])
        widths = [self.settings["dim"] + seen.shape[1], *self.settings["hidden"], 1]
        self.towers = nn.ModuleList(
            nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:])) for _ in range(self.settings["towers"])
        )
        self.dropout = nn.Dropout(self.settings["dropout"])

    def item_side(self) -> torch.Tensor:
        """[g_i ; f_i] of all items, (n_items, dim + width)."""
        return torch.cat([self.item_table.weight * self.warm, self.seen], dim=1)

    def user_side(self, user_ids: torch.Tensor) -> torch.Tensor:
        """[g_u ; t_u], (b, dim + width): 1 and what the user's tables add to it."""
        return 1 + torch.cat([self.user_table(user_ids), self.taste_table(user_ids)], dim=1)

    def upper(self, tower: nn.ModuleList, hidden: torch.Tensor) -> torch.Tensor:
        """From the first layer's output (..., hidden) to the score (...)."""
        for layer in list(tower)[1:]:
            hidden = layer(self.dropout(relu(hidden)))
        return hidden.squeeze(-1)

    def judge(self, place: int, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """o of pairs, (b,), by the tower of the positive (0) or the negative (1) place."""
        tower = self.towers[min(place, len(self.towers) - 1)]
        return self.upper(tower, tower[0](users * items))

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        users, items = self.user_side(user_ids), self.item_side()
        pos_scores, neg_scores = self.judge(0, users, items[pos_ids]), self.judge(1, users, items[neg_ids])
        penalty = l2_reg(users - 1, self.item_table(pos_ids), self.item_table(neg_ids))
        return bpr(pos_scores, neg_scores) + self.settings["reg"] * penalty

    @torch.no_grad()
    def score(self, user_ids, out: torch.Tensor | None = None) -> torch.Tensor:
        """Score all items, (len(user_ids), n_items), 64 users at a time."""
        items = self.item_side()
        user_ids = torch.as_tensor(np.asarray(user_ids), dtype=torch.int64, device=items.device)
        was_training = self.training
        self.eval()
        blocks = [self.score_block(self.user_side(ids), items) for ids in user_ids.split(64)]
        nn.Module.train(self, was_training)
        scores = torch.cat(blocks) if blocks else items.new_zeros(0, self.n_items)
        return scores if out is None else out.copy_(scores)

    def score_block(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        total = 0
        for tower in self.towers:
            weight = users[:, None] * tower[0].weight  # (b, hidden, width): W (u * i) = (W * u) i
            total = total + self.upper(tower, torch.matmul(items, weight.transpose(1, 2)) + tower[0].bias)
        return total / len(self.towers)
