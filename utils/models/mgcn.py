"""rho in several views: MGCN, content purified by behaviour, beside the graph of users and items."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from utils.fusion import Attention
from utils.graphs import laplacian, mean_of_layers, normalised_adjacency, propagate, to_scipy
from utils.kernels import Projection
from utils.losses import bpr, info_nce, l2_reg
from utils.models.base import MODALITIES, Schema, TrainedRecommender


class MGCN(TrainedRecommender):
    """Content does not enter as it is: it opens and closes gates on what behaviour knows of an item.

    U = mean of the layers of LightGCN on e: the view of behaviour
    purifier: v_i^m = e_i * sigmoid(G_m (W_m x_i^m + b_m) + c_m), entry by entry
    view m: items e_i^m = (S^m v^m)_i, S^m = D^-1/2 S D^-1/2 of the k largest cosines of each row, D = row sums;
    users e_u^m = sum over their items of e_i^m / sqrt(deg_u deg_i)
    fuser: common = sum over m of a_m e^m, a = softmax over m of q . tanh(Q e^m + b), for each node;
    side = (common + sum over m of sigmoid(P_m U + d_m) * (e^m - common)) / (M + 1)
    user, item = U + side;  score(u, i) = user . item
    loss = BPR + contrast * (InfoNCE(side_u, U_u) + InfoNCE(side_i, U_i)) + reg / (2 b) * (|e_u|^2 + |e_i|^2 + |e_j|^2)

    Traps, decided:
    * Equation 15 of the paper adds the parts, the release divides by 3, its M + 1: here, too; ``average`` False adds.
    * InfoNCE takes the other rows of the batch as negatives; in the release an item that occurs twice is its own. Here
      each user and each positive item of the batch counts once.
    * The release penalises the final vectors; here the penalty is on e. Features are frozen unless
      ``trainable_features``, and S^m is frozen always.
    * The gates multiply e: content never enters the score by itself, only through S^m. A cold item has e = 0 and is
      nobody's neighbour; side gives it the purified vectors of its neighbours.
    * A node takes part in the views it has (a user: in those of the user's items), in the attention as well.
    * With one modality everything is common: side = e^m / 2, and there is no fuser.
    * With ``item_graphs`` (modality -> (n_items, n_items) matrix of similarities) S^m is made of them; the gates of a
      modality without features, or of an item without them, are open: v^m = e.

    Source: Yu et al., "Multi-View Graph Convolutional Network for Multimedia Recommendation", MM 2023,
    10.1145/3581783.3613915.
    """

    name = "mgcn"
    title = "MGCN"
    order = 180
    schema = Schema("any", "pretrained", "coordinate", "early", "BPR + InfoNCE")
    DEFAULTS = {"dim": 64, "n_layers": 2, "k": 10, "contrast": 1e-2, "temperature": 0.2, "average": True}
    DEFAULTS |= {"normalise": "centred", "trainable_features": False, "item_graphs": None}
    DEFAULTS |= {"reg": 1e-2, "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    SEARCH = {"lr": [1e-3, 5e-3], "contrast": [1e-2, 1e-3, 1e-1], "reg": [1e-2, 1e-3, 1e-4]}
    uses_features = needs_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_content(self.settings["normalise"], self.settings["trainable_features"])
        dim, warm = self.settings["dim"], self.warm.numpy().ravel()
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.project = nn.ModuleDict({m: Projection(self.content(m).shape[1], dim) for m in self.modalities})
        self.gate = nn.ModuleDict({m: nn.Linear(dim, dim) for m in self.modalities})
        adjacency = normalised_adjacency(self.split.train, self.n_users, self.n_items)
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.keep_graph("taken", to_scipy(adjacency)[: self.n_users, self.n_users :])  # R, normalised
        self.views = [m for m in MODALITIES if m in self.item_graphs or m in self.modalities]
        for m in self.views:
            graph = laplacian(self.item_graphs[m] if m in self.item_graphs else self.nearest(m, weighted=True), warm)
            self.keep_graph(f"similar_{m}", graph)
            has = np.diff(graph.indptr) > 0
            has = np.concatenate([self.split.matrix("train") @ has > 0, has])  # a user has what the user's items have
            self.register_buffer(f"has_{m}", torch.from_numpy(has), persistent=False)
        if len(self.views) > 1:
            self.attention = Attention(dim, len(self.views))
            self.prefer = nn.ModuleDict({m: nn.Linear(dim, dim) for m in self.views})
        if open_gates := [m for m in self.views if m not in self.modalities]:
            self.notes.append(f"no {' and no '.join(open_gates)} features: that gate is open, the item graph stays")

    def walk(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return propagate(getattr(self, name), x, getattr(self, f"{name}_t"))

    def view(self, modality: str, own: torch.Tensor) -> torch.Tensor:
        """e^m of all nodes: (n_users + n_items, dim)."""
        if modality in self.modalities:
            opening = torch.sigmoid(self.gate[modality](self.project[modality](self.content(modality))))
            own = own * opening.masked_fill(~self.mask(modality)[:, None], 1.0)
        items = self.walk(f"similar_{modality}", own)
        return torch.cat([self.walk("taken", items), items])

    def both_sides(self) -> tuple[torch.Tensor, torch.Tensor]:
        """U and side: (n_users + n_items, dim) each."""
        own = self.item_table.weight * self.warm
        start = torch.cat([self.user_table.weight, own])
        behaviour = mean_of_layers(self.adjacency, start, self.settings["n_layers"])
        views = [self.view(m, own) for m in self.views]
        side = views[0]
        if len(views) > 1:
            masks = [getattr(self, f"has_{m}") for m in self.views]
            side = common = self.attention(views, masks)
            for m, view, mask in zip(self.views, views, masks):
                preference = torch.sigmoid(self.prefer[m](behaviour))
                side = side + preference * (view - common) * mask[:, None]
        return behaviour, side / (len(views) + 1) if self.settings["average"] else side

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        behaviour, side = self.both_sides()
        return (behaviour + side).split([self.n_users, self.n_items])

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        behaviour, side = self.both_sides()
        user, pos, neg = self.triples(behaviour + side, user_ids, pos_ids, neg_ids)
        loss = bpr((user * pos).sum(1), (user * neg).sum(1))
        for ids in (torch.unique(user_ids), torch.unique(pos_ids) + self.n_users):
            pair = side.index_select(0, ids), behaviour.index_select(0, ids)
            loss = loss + self.settings["contrast"] * info_nce(*pair, self.settings["temperature"])
        start = self.user_table(user_ids), self.item_table(pos_ids), self.item_table(neg_ids)
        return loss + self.settings["reg"] * l2_reg(*start)
