"""rho on a graph that is refined by content: GRCN, an edge counts as much as the modalities find it plausible."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from utils.graphs.edges import Edges
from utils.kernels import Projection, unit
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender


class GRCN(TrainedRecommender):
    """A click may be an accident. Each modality asks whether the item resembles what the user likes in it.

    For each modality m, N(u) = items of u, N(i) = users of i:
    f_i = L2norm(LeakyReLU(W_m x_i^m + b_m));  p_u = L2norm(t_u^m)
    n_routings times: alpha_ui = softmax over i in N(u) of p_u . f_i;  p_u <- L2norm(p_u + sum over i of alpha_ui f_i)
    (3 in the paper, 0 in what the release computes and here) then once more alpha_ui, and alpha_iu = softmax over u in N(i) of p_u . f_i, and
    content^m: user p_u + sum over i of alpha_ui f_i;  item f_i + sum over u of alpha_iu p_u

    Weight of the edge from i to u: w_ui = ReLU(max over m of c_i^m alpha_ui^m), of that from u to i: w_iu =
    ReLU(max over m of c_u^m alpha_iu^m); c, the confidence in a node's modality, is learned
    E^(0) = L2norm(e);  E^(l+1)_u = sum over i of w_ui E^(l)_i, and so for i;  E = E^(0) + ... + E^(L)
    user, item = [E || content^1 || ... || content^M];  score(u, i) = user . item
    loss = BPR + reg / (2 b) * sum over the batch (|e_u|^2 + |e_i|^2 + |e_j|^2 + sum over m of |t_u^m|^2)

    Traps, decided:
    * The released routing never reaches a user: its edges point from users to items, and its library sends messages from
      source to target only, so that what a user receives is zero and p_u stays as it was, whatever the number of
      routings. Every published row is the model without routing. So ``n_routings`` is 0 here; 3 is the paper's model.
    * Released confidences start at random around 0 (deviation below .01 from 20,000 nodes on): with one modality half of
      the edges are cut at once, and the others weigh next to nothing until training lifts them. So here: all starting
      at ``confidence`` = 1 was worse on validation.
    * Vectors are normalised before they are used: a penalty on e and t changes only how fast they turn. The release
      takes means of squares: its .001 is about 3e-5 for users and half of that for items here, in the units of the other
      models. Its option to prune (the ReLU) is off in its own command for TikTok; here it is always on.
    * An edge takes no part in a modality that its item lacks. An item without any has its e and no edges.
    * Logits are cosines, so that alpha stays close to uniform: a user of two items never goes beyond 88 to 12.
    * Parts of different lengths are concatenated: each modality adds a score within its own bounds, unweighted:
      ``python -m utils.lab study grcn_parts`` takes it apart.
    * Gradients go through all routings. A cold item has no edge and no e: f_i alone.

    Source: Wei et al., "Graph-Refined Convolutional Network for Multimedia Recommendation with Implicit Feedback",
    MM 2020, 10.1145/3394171.3413556.
    """

    name = "grcn"
    title = "GRCN"
    order = 130
    schema = Schema("any", "pretrained", "coordinate", "early", "BPR")
    DEFAULTS = {"dim": 64, "n_layers": 2, "n_routings": 0, "confidence": None}
    DEFAULTS |= {"normalise": "centred", "trainable_features": False}
    DEFAULTS |= {"reg": 1e-3, "lr": 1e-3, "batch_size": 1024, "n_epochs": 400}
    SEARCH = {"lr": [1e-3, 5e-3, 1e-2], "reg": [1.0, 1e-1, 1e-2, 1e-3, 1e-5], "n_layers": [1, 2], "n_routings": [0, 3]}
    uses_features = needs_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_content(self.settings["normalise"], self.settings["trainable_features"])
        dim, n_modalities = self.settings["dim"], len(self.modalities)
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.tastes = nn.ModuleDict({m: self.table(self.n_users) for m in self.modalities})
        self.project = nn.ModuleDict({m: Projection(self.content(m).shape[1], dim) for m in self.modalities})
        for layer in self.project.values():
            nn.init.xavier_uniform_(layer.weight)
        self.user_confidence = nn.Parameter(self.start_confidence(self.n_users, n_modalities))
        self.item_confidence = nn.Parameter(self.start_confidence(self.n_items, n_modalities))
        self.edges = Edges(self.split.matrix("train"))  # rows: users, columns: items
        for m in self.modalities:
            self.register_buffer(f"has_{m}", self.mask(m).float()[self.edges.column], persistent=False)

    def start_confidence(self, n_nodes: int, n_modalities: int) -> torch.Tensor:
        """All ``confidence``, or Xavier's normal numbers, as released, with None."""
        start = torch.empty(n_nodes, n_modalities)
        if self.settings["confidence"] is None:
            nodes = self.n_users + self.n_items
            return start.normal_(0, float(np.sqrt(2 / (nodes + n_modalities))))
        return start.fill_(self.settings["confidence"])

    def route(self, modality: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Content of users and items (n, dim), and the attention (n_edges,) towards users and towards items."""
        edges, present = self.edges, getattr(self, f"has_{modality}")
        f = unit(F.leaky_relu(self.project[modality](self.content(modality))))
        f = f * self.mask(modality)[:, None]
        p = unit(self.tastes[modality].weight)
        for _ in range(self.settings["n_routings"]):
            p = unit(p + edges.sum(edges.softmax(edges.dots(p, f), present), f))
        logits = edges.dots(p, f)
        to_user, to_item = edges.softmax(logits, present), edges.softmax(logits, present, turned=True)
        return p + edges.sum(to_user, f), f + edges.sum(to_item, p, turned=True), to_user, to_item

    def walk(self, to_user: torch.Tensor, to_item: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """E of users and items, from the weights (n_edges,) of the edges in both directions."""
        users, items = unit(self.user_table.weight), unit(self.item_table.weight * self.warm)
        all_users, all_items = users, items
        for _ in range(self.settings["n_layers"]):
            users, items = self.edges.sum(to_user, items), self.edges.sum(to_item, users, turned=True)
            all_users, all_items = all_users + users, all_items + items
        return all_users, all_items

    def parts(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """What is concatenated, E first, then content^m: pairs of (n_users, d) and (n_items, d)."""
        user_content, item_content, to_user, to_item = zip(*map(self.route, self.modalities))
        trust_user = self.user_confidence.index_select(0, self.edges.row)
        trust_item = self.item_confidence.index_select(0, self.edges.column)
        to_user = F.relu((torch.stack(to_user, 1) * trust_item).amax(1))  # a message from an item
        to_item = F.relu((torch.stack(to_item, 1) * trust_user).amax(1))
        return [self.walk(to_user, to_item), *zip(user_content, item_content)]

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        users, items = zip(*self.parts())
        return torch.cat(users, dim=1), torch.cat(items, dim=1)

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        margin, both = 0.0, torch.cat([pos_ids, neg_ids])
        for users, items in self.parts():  # the score is a sum over the parts: only the rows of the batch are needed
            pos, neg = F.embedding(both, items).chunk(2)
            margin = margin + (F.embedding(user_ids, users) * (pos - neg)).sum(1)
        start = self.user_table(user_ids), self.item_table(pos_ids), self.item_table(neg_ids)
        tastes = [self.tastes[m](user_ids) for m in self.modalities]
        return bpr(margin, torch.zeros_like(margin)) + self.settings["reg"] * l2_reg(*start, *tastes)
