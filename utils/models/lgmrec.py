"""rho on a graph and on hypergraphs: LGMRec, local taste from neighbours, global taste from a few attributes."""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import suggest
from utils.graphs import mean_of_layers, normalise, normalised_adjacency, over_hyperedges, propagate
from utils.kernels import Projection
from utils.losses import bpr, info_nce_among, l2_reg
from utils.models.base import Schema, TrainedRecommender


class LGMRec(TrainedRecommender):
    """Ids and contents flow along the graph apart from each other; items with like content share K hyperedges.

    G = mean of the layers of LightGCN from the ids;  F_i^m = W_m x_i^m;  F_u^m = mean of F_i^m over the items of u
    Z^m = A^ ... A^ [F_u^m; F_i^m], the last layer only;  logits_i^m = V_m x_i^m;  logits_u^m = sum over the items of u
    H = softmax((logits + Gumbel noise) / t), dropout;  Y = G_i, then for each layer: sums = H_i^T Y, Y = H_i sums
    global^m = [H_u sums; Y];  E = G + sum over m of L2norm(Z^m) + alpha * L2norm(sum over m of global^m)
    score(u, i) = E_u . E_i
    loss = BPR + contrast_weight * contrast + reg / (2 b) * sum over the batch of |e_u|^2 + |e_i|^2 + |e_j|^2
    contrast: mean over pairs of modalities of InfoNCE(global^m, global^n) at t, users of the batch plus positive items

    Traps, decided:
    * The release adds noise while scoring, too, anew for each block of users. Here noise and dropout are for training
      only: scores are computed once, with the plain softmax.
    * The release sums the contrast over the batch: its weight 1e-4 is .2 for each of 2,048 rows. Here it is the mean
      over different users (items), whatever the batch size, and .02: on small data .2 was worse than 0.
    * The published denominator runs over all users (items), ``contrast_with="all"``, at four times the seconds and no
      better on validation: ours are those of the batch.
    * logits_u is a sum, as published, so very active users end in one hyperedge; ``user_logits="mean"`` is milder.
    * The penalty of the release is on norms of E, with 1e-6: no force. Here it is on the ids, as in LightGCN. Its
      keep_rate is 1 - dropout.
    * One modality crashes the release; here the contrast falls away by rule. Without features: LightGCN.
    * An item without a modality takes no part in it: no F, no hyperedge (softmax of zeros would be 1 / K), and no Z,
      although neighbours could give it one: L2norm would blow that up to full length (Recall@20 .32 instead of .35).
    * Without an edge a cold item has Z = 0; it keeps F_i^m instead: content ranks it, its id counts as zero.

    Source: Guo et al., "LGMRec: Local and Global Graph Learning for Multimodal Recommendation", AAAI 2024,
    doi:10.1609/aaai.v38i8.28688.
    """

    name = "lgmrec"
    title = "LGMRec"
    order = 190
    schema = Schema("any", "pretrained", "coordinate", "early", "BPR + InfoNCE between modalities")
    DEFAULTS = {"dim": 64, "n_layers": 2, "n_modality_layers": 2, "n_hyper_layers": 1, "n_hyperedges": 4, "alpha": 0.3}
    DEFAULTS |= {"dropout": 0.5, "temperature": 0.2, "contrast_weight": 0.02, "contrast_with": "batch"}
    DEFAULTS |= {"user_logits": "sum", "normalise": "l2", "trainable_features": False}
    DEFAULTS |= {"reg": 1e-2, "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    SEARCH = {"lr": [1e-3, 5e-3], "reg": [1e-2, 1e-3], "n_modality_layers": [2, 4], "n_hyperedges": [4, 16, 64]}
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
        kept = {"adjacency": normalised_adjacency(self.split.train, self.n_users, self.n_items)}
        for m in self.modalities:
            for maps, size in ((self.project, self.settings["dim"]), (self.hyperedges, self.settings["n_hyperedges"])):
                maps[m] = Projection(self.content(m).shape[1], size, bias=False)
                nn.init.xavier_uniform_(maps[m].weight)
            taken = self.split.matrix("train").multiply(self.mask(m).numpy()).tocsr()
            self.keep_graph(f"mean_{m}", normalise(taken, "row"))
            kept[f"count_{m}"] = count = torch.as_tensor(taken.sum(1), dtype=torch.float32)  # items of u that have m
            kept[f"has_{m}"] = torch.cat([count > 0, self.mask(m)[:, None]])  # (n_users + n_items, 1) bool
        for name, tensor in kept.items():
            self.register_buffer(name, tensor, persistent=False)
        if not self.modalities:
            self.notes.append("no features: this is LightGCN")
        elif not self.settings["n_hyper_layers"]:
            self.notes.append("no hypergraph layers: the global view and the contrast fall away")
        elif len(self.modalities) == 1:
            self.notes.append("one modality: the contrast between modalities falls away")

    def views(self) -> tuple[torch.Tensor, dict, dict]:
        """G, and for each modality Z and the global view: all (n_users + n_items, d)."""
        ids = torch.cat([self.user_table.weight, self.item_table.weight * self.warm])
        ids = mean_of_layers(self.adjacency, ids, self.settings["n_layers"])
        local, hyper, dim = {}, {}, self.settings["dim"]
        for m in self.modalities:
            both = torch.cat([self.project[m].weight, self.hyperedges[m].weight])  # content is read once
            items = F.linear(self.content(m), both) * self.mask(m)[:, None]
            users = propagate(getattr(self, f"mean_{m}"), items, getattr(self, f"mean_{m}_t"))
            z = torch.cat([users[:, :dim], items[:, :dim]])
            for _ in range(self.settings["n_modality_layers"]):
                z = propagate(self.adjacency, z)
            cold = F.pad((1 - self.warm) * items[:, :dim], (0, 0, self.n_users, 0))
            local[m] = (z + cold) * getattr(self, f"has_{m}")
            if not self.settings["n_hyper_layers"]:
                continue
            scale = getattr(self, f"count_{m}") if self.settings["user_logits"] == "sum" else 1
            logits = torch.cat([users[:, dim:] * scale, items[:, dim:]])
            belongs = self.belonging(logits, getattr(self, f"has_{m}"))
            hyper[m] = over_hyperedges(belongs, ids[self.n_users :], self.settings["n_hyper_layers"])
        return ids, local, hyper

    def belonging(self, logits: torch.Tensor, has: torch.Tensor) -> torch.Tensor:
        """H: how much each node that has the modality belongs to each of the K hyperedges."""
        t = self.settings["temperature"]
        belongs = F.gumbel_softmax(logits, t) if self.training else (logits / t).softmax(1)
        return F.dropout(belongs * has, self.settings["dropout"], self.training)

    def fuse(self, ids: torch.Tensor, local: list, hyper: list) -> torch.Tensor:
        """E of the rows given: ids (n, d), and for each modality (n, d) of both views; no hyperedges, no global view."""
        total = ids + sum(F.normalize(z, dim=1) for z in local)
        return total + self.settings["alpha"] * F.normalize(sum(hyper), dim=1) if hyper else total

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        ids, local, hyper = self.views()
        return self.fuse(ids, list(local.values()), list(hyper.values())).split([self.n_users, self.n_items])

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        ids, local, hyper = self.views()
        nodes = torch.cat([user_ids, pos_ids + self.n_users, neg_ids + self.n_users])
        parts = [[view.index_select(0, nodes) for view in views.values()] for views in (local, hyper)]
        user, pos, neg = self.fuse(ids.index_select(0, nodes), *parts).chunk(3)
        loss = bpr((user * pos).sum(1), (user * neg).sum(1))
        pairs = list(combinations(hyper, 2)) if self.settings["contrast_weight"] else []
        for a, b in pairs:  # a node is closer to itself in the other modality than to the others, if it has both
            has = (getattr(self, f"has_{a}") & getattr(self, f"has_{b}")).ravel()
            for chosen, kind in ((user_ids, slice(0, self.n_users)), (pos_ids, slice(self.n_users, None))):
                once = torch.unique(chosen[has[kind][chosen]])
                others = has[kind].nonzero().ravel() if self.settings["contrast_with"] == "all" else once
                contrast = info_nce_among(hyper[a][kind], hyper[b][kind], once, others, self.settings["temperature"])
                loss = loss + self.settings["contrast_weight"] / len(pairs) * contrast
        start = self.user_table(user_ids), self.item_table(pos_ids), self.item_table(neg_ids)
        return loss + self.settings["reg"] * l2_reg(*start)
