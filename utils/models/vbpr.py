"""rho with content: VBPR, matrix factorisation that also sees, reads and hears the items."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize

from utils.fusion import Coordinate, make_fusion
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender


class VBPR(TrainedRecommender):
    """A user has a taste for items (by id) and a taste for content; the two scores add up.

    p_i^m = L2norm(W_m x_i^m + b_m) for each modality m;  p_i = gamma(p_i^1, ..., p_i^M)
    score(u, i) = e_u . e_i + t_u . p_i
    loss = BPR + reg / (2 b) * sum over the batch of |e_u|^2 + |e_i|^2 + |e_j|^2 + |t_u|^2 + |p_i|^2 + |p_j|^2

    Traps, decided:
    * The paper has one modality, biases and a content bias; the multimodal releases drop the biases; so do we. They also
      concatenate the modalities and project them once (joint), one of them without L2norm; here each modality has its own
      W_m (coordinate), and with fusion "concat" its own part of t_u.
    * One release draws pairs with replacement; here, as in all our models, an epoch is one walk through the interactions.
    * Two widely used releases leave t_u at N(0, 1) by accident (the line that should initialise it hits e_u again), and
      the content then leads from the start: ``content_init="normal"``. Ours is "xavier".
    * A cold item was never updated: its e_i is noise. It counts as zero, so that content alone ranks it.
    * An item without any modality has p_i = 0, not the bias. Features are frozen unless ``trainable_features``.

    Source: He & McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016.
    """

    name = "vbpr"
    title = "VBPR"
    order = 90
    schema = Schema("any", "pretrained", "coordinate", "early", "BPR")
    DEFAULTS = {
        "dim": 64,
        "reg": 3e-2,
        "fusion": "concat",
        "content_init": "xavier",
        "normalise": "centred",
        "trainable_features": False,
        "lr": 5e-3,
        "batch_size": 1024,
        "n_epochs": 400,
    }
    SEARCH = {"lr": [1e-3, 5e-3, 1e-2], "reg": [3e-1, 1e-1, 3e-2, 1e-2]}
    uses_features = needs_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_content(self.settings["normalise"], self.settings["trainable_features"])
        dim = self.settings["dim"]
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.represent = Coordinate([self.content(m).shape[1] for m in self.modalities], dim)
        self.fuse = make_fusion(self.settings["fusion"], dim, len(self.modalities))
        self.taste_table = self.table(self.n_users, self.fuse.out_dim, self.settings["content_init"])
        for layer in self.represent.project:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def item_content(self, item_ids: torch.Tensor | None = None) -> torch.Tensor:
        """p_i of the given items (all by default): (n, d')."""
        if item_ids is None:
            vectors, masks = [self.content(m) for m in self.modalities], [self.mask(m) for m in self.modalities]
        else:
            vectors = [self.content_of(m, item_ids) for m in self.modalities]
            masks = [self.mask(m)[item_ids] for m in self.modalities]
        return self.fuse([normalize(vector, dim=1) for vector in self.represent(vectors, masks)], masks)

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        users = torch.cat([self.user_table.weight, self.taste_table.weight], dim=1)
        return users, torch.cat([self.item_table.weight * self.warm, self.item_content()], dim=1)

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        # an item that occurs twice in the batch is projected once
        items, place = torch.unique(torch.cat([pos_ids, neg_ids]), return_inverse=True)
        p_pos, p_neg = self.item_content(items).index_select(0, place).chunk(2)
        user, (pos, neg) = self.user_table(user_ids), self.item_table(torch.cat([pos_ids, neg_ids])).chunk(2)
        taste = self.taste_table(user_ids)
        pos_scores = (user * pos).sum(1) + (taste * p_pos).sum(1)
        neg_scores = (user * neg).sum(1) + (taste * p_neg).sum(1)
        penalty = l2_reg(user, pos, neg, taste, p_pos, p_neg)
        return bpr(pos_scores, neg_scores) + self.settings["reg"] * penalty
