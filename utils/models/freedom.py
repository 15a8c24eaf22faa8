"""rho on two graphs: FREEDOM, a frozen graph of items that resemble each other and a thinned graph of users and items."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from utils.graphs import co_taken_weights, mean_of_layers, mix_graphs, normalised_adjacency, propagate, prune_edges
from utils.kernels import Projection
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender


class FREEDOM(TrainedRecommender):
    """Content decides once which items are neighbours; then embeddings flow along both graphs.

    S^m: the k nearest items by cosine, itself among them, every edge 1/k;  S = sum over m of a_m S^m
    G = mean of the layers of LightGCN on a graph that lost the share ``drop`` of its edges this epoch
    user = G_u;  item = G_i + (S e)_i;  score(u, i) = user . item
    loss = BPR(score) + feature_weight * sum over m of BPR(user . W_m x_i^m) + reg / (2 b) * (|e_u|^2 + |e_i|^2 + |e_j|^2)

    Traps, decided:
    * The paper speaks of normalising S by degrees; with k ones in each row that is 1/k and nothing more, and the graph
      stays directed: so here. Released weights are image .1, text .9, chosen for shops; ours are equal, or "auto" on
      large data: more for the graph whose edges join more items that somebody took both. An item shares them among the
      modalities it has.
    * Released shares of dropped edges are .8 or .9, and there is no penalty on e: so here on large data. On small data
      .5 and a small penalty are better on validation.
    * The framework keeps S in a file whose name tells k and not the features: other features, old graph. Here S is never
      stored.
    * Edges between popular nodes are dropped more often (p ~ 1 / sqrt(deg_u deg_i)); scoring uses the whole graph.
    * The release trains the raw features while its graph stays as it was; here they are frozen, or ``trainable_features``.
      They enter the score through S only, and the loss through W_m: this is why the schema says late. The released W_m
      has a bias, which cancels in the difference of two scores: ours has none.
    * The release leaves cold items their random e. Here only items seen in training are neighbours, and a cold item is
      made of them alone: (S G)_i + (S e)_i. Without cold items nothing changes.
    * Without features and without ``item_graphs`` (modality -> (n_items, n_items) sparse matrix, whose edges count as
      ones) S and the feature loss fall away by rule: this is LightGCN with thinned edges.

    Source: Zhou & Shen, "A Tale of Two Graphs: Freezing and Denoising Graph Structures", MM 2023.
    """

    name = "freedom"
    title = "FREEDOM"
    order = 170
    schema = Schema("any", "pretrained", "coordinate", "late", "BPR + BPR on features")
    DEFAULTS = {"dim": 64, "n_layers": 2, "n_item_layers": 1, "k": 10, "drop": 0.5, "feature_weight": 1e-3}
    DEFAULTS |= {"modality_weights": "auto", "item_graphs": None, "trainable_features": False}
    DEFAULTS |= {"reg": 1e-3, "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    LARGE = {"drop": 0.8, "reg": 0.0, "lr": 1e-3, "batch_size": 2048}
    SEARCH = {"lr": [1e-3, 5e-3], "drop": [0.8, 0.5], "reg": [0.0, 1e-3, 1e-2], "k": [10, 20]}
    SEARCH |= {"modality_weights": [None, {"visual": 0.2, "textual": 0.8, "audio": 0.5}]}
    SEARCH["modality_weights"].append({"visual": 0.8, "textual": 0.2, "audio": 0.5})
    uses_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_content("l2", self.settings["trainable_features"])
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        dims = {m: self.content(m).shape[1] for m in self.modalities}
        self.project = nn.ModuleDict({m: Projection(dims[m], self.settings["dim"], bias=False) for m in dims})
        full = normalised_adjacency(self.split.train, self.n_users, self.n_items)
        self.register_buffer("full", full, persistent=False)
        self.thinned = self.full
        graphs = self.item_graphs or {m: self.nearest(m) for m in self.modalities}
        if graphs:
            weights = self.settings["modality_weights"]
            weights = co_taken_weights(graphs, self.split.matrix("train")) if weights == "auto" else weights
            self.keep_graph("item_graph", mix_graphs(graphs, weights, self.warm.numpy().ravel()))
        self.has_item_graph = bool(graphs)
        if not self.modalities:
            kept = "" if graphs else " nor item graphs, so no item graph"
            self.notes.append(f"no features{kept}: the loss on features falls away")

    def begin_epoch(self, generator: torch.Generator) -> None:
        edges = prune_edges(self.split.train, self.n_users, self.n_items, self.settings["drop"], generator)
        self.thinned = normalised_adjacency(edges, self.n_users, self.n_items).to(self.full.device)

    def walk(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """G of all users, G of all items, and S e of all items (None without item graphs)."""
        own = self.item_table.weight * self.warm
        nodes = torch.cat([self.user_table.weight, own])
        nodes = mean_of_layers(self.thinned if self.training else self.full, nodes, self.settings["n_layers"])
        users, items = nodes.split([self.n_users, self.n_items])
        if not self.has_item_graph:
            return users, items, None
        for _ in range(self.settings["n_item_layers"]):
            own = propagate(self.item_graph, own, self.item_graph_t)
        return users, items, own

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        users, items, similar = self.walk()
        if similar is None:
            return users, items
        cold = (1 - self.warm) * propagate(self.item_graph, items, self.item_graph_t)  # no loss ever sees a cold item
        return users, items + cold + similar

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        users, items, similar = self.walk()
        items = items if similar is None else items + similar
        user = F.embedding(user_ids, users)
        pos, neg = F.embedding(torch.cat([pos_ids, neg_ids]), items).chunk(2)
        loss = bpr((user * pos).sum(1), (user * neg).sum(1))
        for m in self.modalities:
            loss = loss + self.settings["feature_weight"] * self.feature_loss(m, user, pos_ids, neg_ids)
        if self.settings["reg"]:
            start = self.user_table(user_ids), self.item_table(pos_ids), self.item_table(neg_ids)
            loss = loss + self.settings["reg"] * l2_reg(*start)
        return loss

    def feature_loss(self, modality: str, user, pos_ids, neg_ids) -> torch.Tensor:
        """BPR on the projected features, over the pairs of which both items have the modality."""
        both = self.mask(modality)[pos_ids] & self.mask(modality)[neg_ids]
        if not both.any():
            return user.new_zeros(())
        if not both.all():
            user, pos_ids, neg_ids = user[both], pos_ids[both], neg_ids[both]
        gap = self.projected_gap(modality, pos_ids, neg_ids)
        return bpr((user * gap).sum(1), user.new_zeros(()))

    def projected_gap(self, modality: str, pos_ids, neg_ids) -> torch.Tensor:
        """W_m (x_i - x_j), (b, dim): W_m is linear, so one product serves both items."""
        x, gap = self.content(modality), self.content_of(modality, pos_ids)
        if x.requires_grad:
            return self.project[modality](gap - x.index_select(0, neg_ids))
        for rows, ids in zip(gap.split(256), neg_ids.split(256)):  # blocks that stay in the cache
            rows -= x.index_select(0, ids)
        return self.project[modality](gap)
