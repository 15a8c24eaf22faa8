"""GraphSAGE on the graph of users and items: vectors in which content and clicks are one, for MMGRec's ids."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import dropout, leaky_relu

from utils.graphs import normalised_adjacency, propagate, to_scipy
from utils.losses import bpr
from utils.models.base import Schema, TrainedRecommender


class GraphSage(TrainedRecommender):
    """An item is its content, a user a free vector; two steps over the graph mix each with the mean of its neighbours.

    m_i = W_f [x_i^1; ...; x_i^M]; h' = W_1 h + W_2 mean of the neighbours' h; leaky ReLU between the two steps
    score(u, i) = z_u . z_i, trained with BPR; the vectors are then frozen and quantised.

    Traps, decided: five negatives a positive and a batch of 3,000 in the release; here one fresh negative a positive, as in
    all models of the course. A cold item has no neighbour: its z is W_1 of its content, and so it has an id, too.

    Source: stage 1 of Liu et al., "MMGRec: Multimodal Generative Recommendation with Transformer Model", arXiv 2404.16555;
    Hamilton et al., "Inductive Representation Learning on Large Graphs", NeurIPS 2017.
    """

    name = "graph_sage"
    title = "GraphSAGE"
    schema = Schema("any", "pretrained", "joint", "none", "BPR")
    DEFAULTS = {
        "dim": 128,
        "out": 64,
        "dropout": (0.5, 0.2),
        "normalise": "centred",
        "lr": 1e-3,
        "batch_size": 1024,
        "n_epochs": 60,
    }
    uses_features = needs_features = True

    def build(self) -> None:
        self.add_content(self.settings["normalise"])
        dim, out = self.settings["dim"], self.settings["out"]
        self.user_table = self.table(self.n_users, dim)
        self.project = nn.Linear(sum(self.content(m).shape[1] for m in self.modalities), dim, bias=False)
        self.own = nn.ModuleList([nn.Linear(dim, dim), nn.Linear(dim, out)])
        self.around = nn.ModuleList([nn.Linear(dim, dim, bias=False), nn.Linear(dim, out, bias=False)])
        self.keep_graph("mean", to_scipy(normalised_adjacency(self.split.train, self.n_users, self.n_items, "row")))

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        content = torch.cat([self.content(modality) for modality in self.modalities], dim=1)
        nodes = torch.cat([self.user_table.weight, self.project(content)])
        for step, (own, around) in enumerate(zip(self.own, self.around)):
            nodes = own(nodes) + around(propagate(self.mean, nodes, self.mean_t))
            nodes = leaky_relu(nodes) if step == 0 else nodes
            nodes = dropout(nodes, self.settings["dropout"][step], self.training)
        return nodes[: self.n_users], nodes[self.n_users :]

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        nodes = torch.cat(self.embeddings())
        user, pos, neg = self.triples(nodes, user_ids, pos_ids, neg_ids)
        return bpr((user * pos).sum(1), (user * neg).sum(1))
