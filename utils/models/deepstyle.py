"""rho with content: DeepStyle, what an item looks like once its category is taken away."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from utils.errors import CourseError
from utils.kernels import Projection
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender


class DeepStyle(TrainedRecommender):
    """Pictures show the category first; the rest is style. One vector of the user meets style and item together.

    s_i = sum over m of E_m x_i^m - c_cat(i) (style);  score(u, i) = e_u . (s_i + q_i)
    loss = BPR + reg / (2 b) * sum over the batch of |e_u|^2 + |q_i|^2 + |q_j|^2 + |s_i|^2 + |s_j|^2

    Traps, decided:
    * The paper is visual only. The sum over m is one linear map of [x_i^1 || ... || x_i^M]: joint, hence no fusion.
    * Neither the split nor the features know categories: give ``categories``, one label for each item, for example
      ``dataset.items["category"]``; "" and -1 mean none. Without them there is no c, and this is VBPR with one vector
      of the user for both parts (a note says so).
    * A public framework keeps one c for each *item*: then q_i - c_i is one free vector, and no category is taken away.
    * The style belongs to the content: an item without any modality has s_i = 0, and loses no c. A category that was
      never seen in training has c = 0; a cold item has q_i = 0.
    * The paper penalises all weights, that framework all but E; here not E and c but the styles they make, as in our
      VBPR: the weight then does not depend on how wide the features are.

    Source: Liu, Wu & Wang, "DeepStyle: Learning User Preferences for Visual Recommendation", SIGIR 2017, DOI
    10.1145/3077136.3080658.
    """

    name = "deepstyle"
    title = "DeepStyle"
    order = 100
    schema = Schema("any", "pretrained", "joint", "none", "BPR")
    DEFAULTS = {"dim": 64, "reg": 1e-1, "categories": None, "normalise": "centred", "trainable_features": False}
    DEFAULTS |= {"lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    SEARCH = {"lr": [1e-3, 5e-3, 1e-2], "reg": [3e-1, 1e-1, 3e-2, 1e-2]}
    uses_features = needs_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_content(self.settings["normalise"], self.settings["trainable_features"])
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        dim = self.settings["dim"]
        self.project = nn.ModuleDict(
            {m: Projection(self.content(m).shape[1], dim, bias=False) for m in self.modalities}
        )
        for layer in self.project.values():
            nn.init.xavier_uniform_(layer.weight)
        self.has_categories = self.settings["categories"] is not None
        if not self.has_categories:
            self.notes.append("no categories: no category is taken away, style is all that the content shows")
            return
        category, n_categories = self.numbered(self.settings["categories"])
        self.category_table = self.table(n_categories + 1)  # the last row stands for none and is never read
        self.register_buffer("category", category, persistent=False)

    def numbered(self, labels) -> tuple[torch.Tensor, int]:
        """Return a number for each item and how many there are; without category, content or warm peers: the next."""
        labels = np.asarray(labels)
        if labels.shape != (self.n_items,):
            raise CourseError(
                f"deepstyle got categories of shape {labels.shape}, the split has {self.n_items} items; give one label each."
            )
        labels = labels.astype(str)
        has_content = torch.stack([self.mask(m) for m in self.modalities]).any(0).numpy()
        known = has_content & (labels != "") & (labels != "-1")
        seen = np.unique(labels[known & (self.warm.numpy().ravel() > 0)])
        known &= np.isin(labels, seen)
        numbers = np.full(self.n_items, len(seen))
        numbers[known] = np.searchsorted(seen, labels[known])
        return torch.as_tensor(numbers), len(seen)

    def style(self, item_ids: torch.Tensor | None = None) -> torch.Tensor:
        """s_i of the given items (all by default): (n, d)."""

        def rows(x: torch.Tensor) -> torch.Tensor:
            return x if item_ids is None else x.index_select(0, item_ids)

        # a mask, although missing rows are zero: trainable features would move them
        style = sum(self.project[m](rows(self.content(m))) * rows(self.mask(m))[:, None] for m in self.modalities)
        if not self.has_categories:
            return style
        category = rows(self.category)
        has_category = category < self.category_table.num_embeddings - 1
        return style - self.category_table(category) * has_category[:, None]

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.user_table.weight, self.style() + self.item_table.weight * self.warm

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        # an item that occurs twice in the batch is projected once
        items, place = torch.unique(torch.cat([pos_ids, neg_ids]), return_inverse=True)
        s_pos, s_neg = self.style(items).index_select(0, place).chunk(2)
        user, pos, neg = self.user_table(user_ids), self.item_table(pos_ids), self.item_table(neg_ids)
        pos_scores, neg_scores = (user * (s_pos + pos)).sum(1), (user * (s_neg + neg)).sum(1)
        return bpr(pos_scores, neg_scores) + self.settings["reg"] * l2_reg(user, pos, neg, s_pos, s_neg)
