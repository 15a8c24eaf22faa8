"""rho without negatives: BM3, a user, an item and the item's content pull towards each other, and nothing pushes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from utils.graphs import mean_of_layers, normalised_adjacency
from utils.kernels import Projection, dropout
from utils.losses import l2_reg
from utils.models.base import Schema, TrainedRecommender


class BM3(TrainedRecommender):
    """Each side of an interaction predicts the other side, made imperfect by dropout, through one shared map f.

    G = mean of the layers of LightGCN;  h_u = G_u;  h_i = G_i + e_i;  z_i^m = W_m x_i^m + b_m;  f(h) = A h + a
    h~, z~ = dropout of h, z without gradient: the targets
    loss = mean over the batch of 2 - cos(f(h_u), h~_i) - cos(f(h_i), h~_u)
         + content_weight * sum over m of mean 2 - cos(f(z_i^m), h~_i) - cos(f(z_i^m), z~_i^m)
         + reg / (2 b) * sum over the batch of |h_u|^2 + |h_i|^2
    score(u, i) = f(h_u) . f(h_i)

    Traps, decided:
    * There are no negatives: ``neg_ids`` is ignored. What keeps all vectors from becoming one is the dropout, the
      stop of the gradient and f; recall peaks early and then falls, so stop on validation.
    * Trained with cosines, scored with the inner product, as released: long vectors (popular items) rank high.
    * The release penalises the norms (not squared) of all nodes, divided by n_items, with .1 or .01: hardly any force.
      Ours is the usual half square over the batch, with a small weight of its own: lengths count in the score.
    * The release draws one dropout mask for each node of the graph; here one for each row of the batch, so that only
      the items of the batch are projected. The release trains the raw features; here only with ``trainable_features``.
    * Content is in the loss only: a cold item has no h_i, and the release ranks it by noise. As f(z) was pulled to h_i,
      the mean direction of its z^m, at the mean length of warm items, stands in for h_i. No loss sees this.
    * Without features the content part falls away by rule. A missing modality leaves its pairs out of the mean.

    Source: Zhou et al., "Bootstrap Latent Representations for Multi-modal Recommendation", WWW 2023,
    doi:10.1145/3543507.3583251.
    """

    name = "bm3"
    title = "BM3"
    order = 160
    schema = Schema("any", "pretrained", "coordinate", "late", "cosine to the other side, no negatives")
    DEFAULTS = {"dim": 64, "n_layers": 1, "dropout": 0.5, "content_weight": 2.0, "reg": 1e-3}
    DEFAULTS |= {"normalise": "centred", "trainable_features": False, "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    LARGE = {"dropout": 0.3, "reg": 0.0, "lr": 1e-3}
    SEARCH = {"lr": [1e-3, 5e-3, 1e-2], "dropout": [0.3, 0.5], "n_layers": [1, 2], "reg": [1e-3, 1e-2, 1e-1]}
    uses_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_content(self.settings["normalise"], self.settings["trainable_features"])
        dim = self.settings["dim"]
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.predict = nn.Linear(dim, dim)
        self.project = nn.ModuleDict({m: Projection(self.content(m).shape[1], dim) for m in self.modalities})
        for layer in (self.predict, *self.project.values()):
            nn.init.xavier_normal_(layer.weight)
        adjacency = normalised_adjacency(self.split.train, self.n_users, self.n_items)
        self.register_buffer("adjacency", adjacency, persistent=False)
        if not self.modalities:
            self.notes.append("no features: the loss on content falls away, and cold items all rank alike")

    def walk(self) -> tuple[torch.Tensor, torch.Tensor]:
        """G of all nodes, users first, and e of all items, zero for cold ones."""
        own = self.item_table.weight * self.warm
        nodes = torch.cat([self.user_table.weight, own])
        return mean_of_layers(self.adjacency, nodes, self.settings["n_layers"]), own

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        nodes, own = self.walk()
        users, items = nodes[: self.n_users], nodes[self.n_users :] + own
        return self.predict(users), self.predict(items + self.stand_in(items))

    def stand_in(self, items: torch.Tensor) -> torch.Tensor:
        """(n_items, d): for cold items what their content puts in the place of h_i, zero for all others."""
        total, cold = torch.zeros_like(items), (self.warm == 0).ravel().nonzero().ravel()
        for m in self.modalities:
            z = F.normalize(self.project[m](self.content(m).index_select(0, cold)), dim=1)
            total = total.index_add(0, cold, z * self.mask(m)[cold, None])
        return F.normalize(total, dim=1) * items.norm(dim=1).sum() / self.warm.sum()

    def target(self, h: torch.Tensor) -> torch.Tensor:
        """What a prediction is compared with: h after dropout, at length 1, without gradient."""
        h = dropout(h.detach(), self.settings["dropout"]) if self.training else h.detach()
        return F.normalize(h, dim=1)

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        nodes, own = self.walk()
        user, item = nodes.index_select(0, torch.cat([user_ids, pos_ids + self.n_users])).chunk(2)
        item = item + own.index_select(0, pos_ids)
        user_target, item_target = self.target(user), self.target(item)
        loss = gap(self.predict(user), item_target) + gap(self.predict(item), user_target)
        for m in self.modalities:
            loss = loss + self.settings["content_weight"] * self.content_loss(m, pos_ids, item_target)
        return loss + self.settings["reg"] * l2_reg(user, item)

    def content_loss(self, modality: str, pos_ids: torch.Tensor, item_target: torch.Tensor) -> torch.Tensor:
        """Content predicts its item and itself, over the pairs of which the item has the modality."""
        present = self.mask(modality)[pos_ids]
        if not present.any():
            return item_target.new_zeros(())
        if not present.all():
            pos_ids, item_target = pos_ids[present], item_target[present]
        items, place = torch.unique(pos_ids, return_inverse=True)  # each item is projected once
        z = self.project[modality](self.content_of(modality, items))
        online = self.predict(z).index_select(0, place)
        return gap(online, item_target + self.target(z.detach().index_select(0, place)), 2)


def gap(a: torch.Tensor, target: torch.Tensor, n_targets: int = 1) -> torch.Tensor:
    """Mean of n - cosine of the rows of (n, d) ``a`` and the ``target``, a sum of n vectors of length 1 (or 0)."""
    return n_targets - ((a * target).sum(1) / a.norm(dim=1).clamp(min=1e-8)).mean()
