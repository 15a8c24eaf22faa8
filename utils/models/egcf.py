"""Open challenge 2.2, rho: EGCF, a graph whose edges carry words: each review says how much its neighbour counts."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError, suggest
from utils.graphs import normalised_adjacency, propagate
from utils.graphs.edges import Edges
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender

GATES = ("reviews", "one")


class EGCF(TrainedRecommender):
    """Two graphs side by side: one as in LightGCN, and one whose edges are weighed by the reviews written on them.

    e_k = W r_k + b for edge k = (u, i) with review vector r_k; W, b shared by all edges and layers
    G^(l+1) = D^-1/2 A D^-1/2 G^(l)                           (by who took what)
    w_k^(l) = sigma(cos(t_u^(l) * e_k, t_i^(l) * e_k))          (* element by element; the gate)
    T^(l+1) = D^-1/2 (W^(l) + I) D^-1/2 T^(l)                  (W^(l) holds w_k in both directions)
    both branches: X = sum over l = 0 ... L of X^(l) / (l + 1)
    score(u, i) = G_u . G_i + T_u . T_i;   loss = BPR + reg * l2_reg(rows of G^(0), T^(0) of the batch)

    Traps, decided: D counts the edges of the graph without weights, and the self loop is not in it. A layer counts
    1 / (l + 1), which is not the mean that LightGCN takes. The gate lies between sigma(-1) = .27 and sigma(1) = .73, so
    that no neighbour is ever switched off. It sees e only squared: neither the sign nor the length of e changes it. An
    edge without a review has r = 0, so e = b: a vector learned for silence. With b = 0 its gate would be stuck at
    1/2, without a gradient, hence b starts at random. Only reviews on training edges are taken; ``build`` refuses the
    others. The released code adds the norms of the whole tables (not squared) to a sum over the batch; here it is the
    course's penalty, so the two weights cannot be compared.

    Settings: ``reviews`` is an ``EdgeReviews`` of ``utils.challenges.reviews``; ``gate`` = "one" puts w = 1 (then the
    reviews are not used, and the model is LightGCN with a second table and self loops).

    Source: Anelli, Deldjoo, Di Noia, Di Sciascio, Ferrara, Malitesta, Pomo, "Reshaping Graph Recommendation with Edge
    Graph Collaborative Filtering and Customer Reviews", DL4SR at CIKM 2022 (CEUR-WS volume 3317, paper 7).
    """

    name = "egcf"
    title = "EGCF"
    order = 200
    challenge = "2.2"
    schema = Schema("textual, on edges", "pretrained", "coordinate", "late", "BPR")
    DEFAULTS = {"dim": 32, "n_layers": 2, "reg": 1e-2, "gate": "reviews", "reviews": None,
                "lr": 5e-3, "batch_size": 2048, "n_epochs": 100}  # fmt: skip
    SEARCH = {"reg": [1e-1, 1e-2, 1e-3], "n_layers": [1, 2, 3, 4]}

    def build(self) -> None:
        gate, reviews = self.settings["gate"], self.settings["reviews"]
        if gate not in GATES:
            raise suggest(gate, GATES, "gate of egcf")
        if gate == "reviews" and reviews is None:
            raise CourseError(
                'egcf needs the reviews of its edges; pass reviews=training_reviews(dataset, split), or gate="one".'
            )
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.user_text, self.item_text = self.table(self.n_users), self.table(self.n_items)
        adjacency = normalised_adjacency(self.split.train, self.n_users, self.n_items)
        self.register_buffer("adjacency", adjacency, persistent=False)
        matrix = self.split.matrix("train")
        self.edges = Edges(matrix)
        degrees = np.diff(matrix.indptr), np.bincount(matrix.indices, minlength=self.n_items)
        for name, degree in zip(("user_scale", "item_scale"), degrees):
            scale = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0.0)
            self.register_buffer(name, torch.from_numpy(scale.astype(np.float32))[:, None], persistent=False)
        if gate == "reviews":
            vectors = torch.from_numpy(reviews.on(self.split))  # (n_edges, dim)
            self.register_buffer("review", vectors, persistent=False)
            self.project = nn.Linear(vectors.shape[1], self.settings["dim"])

    def gates(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Return w of one layer, (n_edges,), from the layer's (n_users, d) and (n_items, d)."""
        if self.settings["gate"] == "one":
            return users.new_ones(len(self.edges.row))
        return gate(users.index_select(0, self.edges.row), items.index_select(0, self.edges.column), self._edge())

    def _edge(self) -> torch.Tensor:
        return self.project(self.review)

    def by_taking(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The branch G: sums over the layers, (n_users, d) and (n_items, d)."""
        layer = total = torch.cat([self.user_table.weight, self.item_table.weight])
        for n in range(1, self.settings["n_layers"] + 1):
            layer = propagate(self.adjacency, layer)
            total = total + layer / (n + 1)
        return total[: self.n_users], total[self.n_users :]

    def by_reviews(self) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """The branch T and the gates of each layer, L tensors (n_edges,)."""
        users, items = self.user_text.weight, self.item_text.weight
        sums, all_gates = (users, items), []
        for n in range(1, self.settings["n_layers"] + 1):
            weights = self.gates(users, items)
            scaled = users * self.user_scale, items * self.item_scale
            to_users = self.edges.sum(weights, scaled[1]) + scaled[0]  # + scaled: the self loop
            to_items = self.edges.sum(weights, scaled[0], turned=True) + scaled[1]
            users, items = to_users * self.user_scale, to_items * self.item_scale
            sums = sums[0] + users / (n + 1), sums[1] + items / (n + 1)
            all_gates.append(weights)
        return *sums, all_gates

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        (users, items), (user_text, item_text, _) = self.by_taking(), self.by_reviews()
        return torch.cat([users, user_text], dim=1), torch.cat([items, item_text], dim=1)

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        users, items = self.embeddings()
        user, pos, neg = users.index_select(0, user_ids), items.index_select(0, pos_ids), items.index_select(0, neg_ids)
        start = [self.user_table(user_ids), self.item_table(pos_ids), self.item_table(neg_ids)]
        start += [self.user_text(user_ids), self.item_text(pos_ids), self.item_text(neg_ids)]
        return bpr((user * pos).sum(1), (user * neg).sum(1)) + self.settings["reg"] * l2_reg(*start)


def gate(users: torch.Tensor, items: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:
    """w = sigma(cos(t_u * e, t_i * e)), row by row: three (n, d) -> (n,) between sigma(-1) and sigma(1)."""
    return torch.sigmoid(F.cosine_similarity(users * edge, items * edge, dim=1))


@torch.no_grad()
def learned_gates(model: EGCF) -> np.ndarray:
    """Return the gates of a trained model, (n_layers, n_edges), edges by user, then item."""
    return torch.stack(model.by_reviews()[2]).cpu().numpy()


def n_parameters(model: nn.Module) -> int:
    """Return how many numbers a model learns."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
