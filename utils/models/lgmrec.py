"""rho on a graph and on hypergraphs: LGMRec, local taste from neighbours, global taste from a few learned attributes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import suggest
from utils.graphs import mean_of_layers, normalise, normalised_adjacency, propagate, to_torch
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender


class LGMRec(TrainedRecommender):
    """Ids and contents flow along the graph apart from each other; items with like content share K hyperedges.

    G = mean of the layers of LightGCN from the ids;  F_i^m = W_m x_i^m;  F_u^m = mean of F_i^m over the items of u
    Z^m = A^ ... A^ [F_u^m; F_i^m], the last layer only;  logits_i^m = V_m x_i^m;  logits_u^m = sum over the items of u
    H = softmax((logits + Gumbel noise) / t), dropout;  Y = G_i, then for each layer: lat = H_i^T Y, Y = H_i lat
    global^m = [H_u lat; Y];  E = G + sum over m of L2norm(Z^m) + alpha * L2norm(sum over m of global^m)
    score(u, i) = E_u . E_i
    loss = BPR + contrast_weight * contrast + reg / (2 b) * sum over the batch of |e_u|^2 + |e_i|^2 + |e_j|^2
    contrast: mean over pairs of modalities of InfoNCE(global^m, global^n) at t, users of the batch plus positive items

    Traps, decided:
    * The release adds noise while scoring, too, and anew for each block of users. Here noise and dropout are for training
      only: scores are computed once, with the plain softmax.
    * The release sums the contrast over the batch, so that its weight 1e-4 means .2 for 2,048 rows; here it is the mean
      over different users (items), and the weight means the same for every batch size.
    * Its denominator runs over all users (items): ``contrast_with="all"``. With "batch" only those of the batch.
    * logits_u is a sum, as published, so very active users belong to one hyperedge; ``user_logits="mean"`` is milder.
    * The penalty of the release is on norms of E, with 1e-6: no force. Here it is on the ids, as in LightGCN.
    * One modality crashes the release; here the contrast falls away by rule. Without features: LightGCN.
    * A missing modality has no F, no logits and no hyperedge (softmax of zeros would be 1 / K in each).
    * Without an edge a cold item has Z = 0; it keeps F_i^m instead: content ranks it, its id counts as zero.

    Source: Guo et al., "LGMRec: Local and Global Graph Learning for Multimodal Recommendation", AAAI 2024,
    doi:10.1609/aaai.v38i8.28688.
    """

    name = "lgmrec"
    schema = Schema("any", "pretrained", "coordinate", "early", "BPR + InfoNCE between modalities")
    DEFAULTS = {"dim": 64, "n_layers": 2, "n_modality_layers": 2, "n_hyper_layers": 1, "n_hyperedges": 4, "alpha": 0.3}
    DEFAULTS |= {"dropout": 0.5, "temperature": 0.2, "contrast_weight": 0.2, "contrast_with": "batch"}
    DEFAULTS |= {"user_logits": "sum", "normalise": "centred", "trainable_features": False}
    DEFAULTS |= {"reg": 1e-2, "lr": 5e-3, "batch_size": 1024, "n_epochs": 200}
    SEARCH = {"lr": [1e-3, 5e-3], "reg": [1e-2, 1e-3], "n_layers": [2, 3, 4], "n_hyperedges": [4, 16, 64]}
    SEARCH |= {"alpha": [0.2, 0.3, 0.6], "dropout": [0.5, 0.8], "contrast_weight": [0.02, 0.2]}
    uses_features = True

    def build(self) -> None:
        for key, known in (("contrast_with", ("batch", "all")), ("user_logits", ("sum", "mean"))):
            if self.settings[key] not in known:
                raise suggest(self.settings[key], known, key)
        self.add_warm()
        self.add_content(self.settings["normalise"], self.settings["trainable_features"])
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.project, self.hyperedges = nn.ModuleDict(), nn.ModuleDict()  # W_m and V_m
        self._keep("adjacency", normalised_adjacency(self.split.train, self.n_users, self.n_items))
        self._keep("cold_nodes", torch.cat([torch.zeros(self.n_users, 1), 1 - self.warm]))
        taken = self.split.matrix("train")
        for m in self.modalities:
            self.project[m] = _map(self.content(m).shape[1], self.settings["dim"])
            self.hyperedges[m] = _map(self.content(m).shape[1], self.settings["n_hyperedges"])
            having = sp.csr_matrix(taken @ sp.diags(self.mask(m).numpy().astype(float)))
            count = np.asarray(having.sum(1))
            self._keep(f"mean_{m}", to_torch(normalise(having, "row")))
            self._keep(f"mean_t_{m}", to_torch(normalise(having, "row").T))
            self._keep(f"count_{m}", torch.as_tensor(count, dtype=torch.float32))
        if not self.modalities:
            self.notes.append("no features: this is LightGCN")
        elif len(self.modalities) == 1:
            self.notes.append("one modality: the contrast between modalities falls away")

    def _keep(self, name: str, graph: torch.Tensor) -> None:
        self.register_buffer(name, graph, persistent=False)

    def views(self) -> tuple[torch.Tensor, dict, dict]:
        """G, and for each modality Z and [H_u lat; Y]: all (n_users + n_items, d)."""
        ids = torch.cat([self.user_table.weight, self.item_table.weight * self.warm])
        ids = mean_of_layers(self.adjacency, ids, self.settings["n_layers"])
        local, hyper = {}, {}
        for m in self.modalities:
            both = torch.cat([self.project[m].weight, self.hyperedges[m].weight])  # content is read once
            items = F.linear(self.content(m), both) * self.mask(m)[:, None]
            users = propagate(getattr(self, f"mean_{m}"), items, getattr(self, f"mean_t_{m}"))
            start, logits = torch.cat([users, items]).split([self.settings["dim"], self.settings["n_hyperedges"]], 1)
            local[m] = start = start.contiguous()
            for _ in range(self.settings["n_modality_layers"]):
                local[m] = propagate(self.adjacency, local[m])
            having = torch.cat([getattr(self, f"count_{m}") > 0, self.mask(m)[:, None]])
            local[m] = (local[m] + self.cold_nodes * start) * having
            hyper[m] = self.over_hyperedges(m, logits, ids[self.n_users :])
        return ids, local, hyper

    def over_hyperedges(self, modality: str, logits: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Gather the items (n_items, d) in K hyperedges, and give the K sums back to the nodes that belong to them."""
        count = getattr(self, f"count_{modality}")
        if self.settings["user_logits"] == "sum":
            logits = torch.cat([logits[: self.n_users] * count, logits[self.n_users :]])
        temperature, drop = self.settings["temperature"], self.settings["dropout"]
        belongs = F.gumbel_softmax(logits, temperature) if self.training else (logits / temperature).softmax(1)
        belongs = belongs * torch.cat([count > 0, self.mask(modality)[:, None]])
        of_users, of_items = F.dropout(belongs, drop, self.training).split([self.n_users, self.n_items])
        for _ in range(self.settings["n_hyper_layers"]):
            sums = of_items.T @ items
            items = of_items @ sums
        return torch.cat([of_users @ sums, items])

    def fuse(self, ids: torch.Tensor, local: dict, hyper: dict, nodes: torch.Tensor | None = None) -> torch.Tensor:
        """E of the given nodes (all by default)."""
        if not self.modalities:
            return rows(ids, nodes)
        total = rows(ids, nodes) + sum(F.normalize(rows(local[m], nodes), dim=1) for m in local)
        return total + self.settings["alpha"] * F.normalize(sum(rows(hyper[m], nodes) for m in hyper), dim=1)

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.fuse(*self.views()).split([self.n_users, self.n_items])

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        ids, local, hyper = self.views()
        nodes = torch.cat([user_ids, pos_ids + self.n_users, neg_ids + self.n_users])
        user, pos, neg = self.fuse(ids, local, hyper, nodes).chunk(3)
        loss = bpr((user * pos).sum(1), (user * neg).sum(1))
        if len(self.modalities) > 1 and self.settings["contrast_weight"]:
            loss = loss + self.settings["contrast_weight"] * self.contrast(hyper, user_ids, pos_ids)
        start = self.user_table(user_ids), self.item_table(pos_ids), self.item_table(neg_ids)
        return loss + self.settings["reg"] * l2_reg(*start)

    def contrast(self, hyper: dict, user_ids: torch.Tensor, pos_ids: torch.Tensor) -> torch.Tensor:
        """InfoNCE between the modalities' global views: a node is itself, and not another user (item)."""
        total, pairs = 0.0, list(combinations(self.modalities, 2))
        for first, second in pairs:
            has_u = (getattr(self, f"count_{first}") > 0) & (getattr(self, f"count_{second}") > 0)
            has = torch.cat([has_u.ravel(), self.mask(first) & self.mask(second)])
            for ids, low, high in ((user_ids, 0, self.n_users), (pos_ids + self.n_users, self.n_users, len(has))):
                chosen = torch.unique(ids)
                chosen = chosen[has[chosen]]
                others = chosen
                if self.settings["contrast_with"] == "all":
                    others = low + has[low:high].nonzero().ravel()
                if len(others) > 1 and len(chosen):
                    a, b = F.normalize(hyper[first][chosen], dim=1), F.normalize(hyper[second][others], dim=1)
                    place = torch.searchsorted(others, chosen)
                    total = total + F.cross_entropy(a @ b.T / self.settings["temperature"], place)
        return total / len(pairs)


def rows(matrix: torch.Tensor, nodes: torch.Tensor | None) -> torch.Tensor:
    return matrix if nodes is None else matrix.index_select(0, nodes)


def _map(n_in: int, n_out: int) -> nn.Linear:
    layer = nn.Linear(n_in, n_out, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer
