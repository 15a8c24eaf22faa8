"""rho on one graph for each modality: MMGCN, what users and items are to each other when seen, read and heard."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import leaky_relu

from utils.graphs import normalised_adjacency, propagate, to_scipy, to_torch
from utils.kernels import Projection, unit
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender


class Channel(nn.Module):
    """The layers of one modality: (n_users + n_items, latent) -> (n_users + n_items, dim)."""

    def __init__(self, latent: int, dim: int, n_layers: int, slope: float) -> None:
        super().__init__()
        self.slope = slope
        sizes = [latent] + [dim] * (n_layers - 1)
        self.message = nn.ModuleList(nn.Linear(size, dim, bias=False) for size in sizes)
        self.own = nn.ModuleList(nn.Linear(size, dim) for size in sizes)
        self.combine = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in sizes)
        for layer in [*self.message, *self.own, *self.combine]:
            nn.init.xavier_normal_(layer.weight)
        for layer in self.own:
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor, ids: torch.Tensor, graph, graph_t, rows: torch.Tensor | None) -> torch.Tensor:
        for depth, (message, own, combine) in enumerate(zip(self.message, self.own, self.combine), start=1):
            near = propagate(graph, message(x), graph_t)  # narrow first, then along the graph: A (x W) = (A x) W
            if depth == len(self.message) and rows is not None:  # nobody asks for the last layer of other nodes
                near, x, ids = (tensor.index_select(0, rows) for tensor in (near, x, ids))
            mine = leaky_relu(own(x), self.slope) + ids
            h = leaky_relu(near, self.slope)
            x = leaky_relu(torch.addmm(mine, h, combine.weight.T), self.slope)
        return x


class MMGCN(TrainedRecommender):
    """Each modality has its own graph: users have a taste in it, items have content, and both flow to the neighbours.

    x^(0) = L2norm([P^m ; M_m x_i^m + b_m]): users a free vector P_u^m, items their content
    h = LeakyReLU( mean over neighbours of W_l x^(l) );  x^ = LeakyReLU(U_l x^(l) + b_l) + e (e: id vector of the node)
    x^(l+1) = LeakyReLU( G_l h + x^ );  node = mean over m of x^(L);  score(u, i) = node_u . node_i
    loss = BPR + reg / (2 b) * sum over the batch of |e_u|^2 + |e_i|^2 + |e_j|^2 + sum over m of |P_u^m|^2

    Traps, decided:
    * In the released code and a framework's copy the tables P and e are tensors made outside the parameters: the
      optimiser never sees them, and published rows of MMGCN suffer from it. Here they are trained.
    * Neighbours are averaged, and so are modalities (the paper adds them). G_l h and x^ are added, as in the paper; the
      release is told so by the text "False", which counts as true, so that it concatenates, and so does a framework.
    * The release brings visual features to 256 and leaves the others as wide as they are, with weights and tastes as
      wide: this is what makes it slow. Here each modality is brought to ``latent``, and W_l maps to ``dim`` before the
      graph is walked, which is the paper's W_l. One bias for a layer, in U_l.
    * The penalty of the release covers P of the visual modality only; here of all. Paper and release have three layers
      and a LeakyReLU whose slope is .01; one layer and .2 are better on validation, on large data with a fifth of the rate.
    * A missing modality: no edge leads to or from that item in that graph, and it leaves the mean. An item without any
      keeps its id vector, in all channels. A cold item has e = 0 and no neighbour: its content alone goes through U_l.

    Source: Wei et al., "MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation of Micro-video",
    MM 2019, DOI 10.1145/3343031.3351034.
    """

    name = "mmgcn"
    title = "MMGCN"
    order = 120
    schema = Schema("any", "pretrained", "coordinate", "early", "BPR")
    DEFAULTS = {"dim": 64, "latent": 64, "n_layers": 1, "slope": 0.2}
    DEFAULTS |= {"normalise": "centred", "trainable_features": False}
    DEFAULTS |= {"reg": 1e-2, "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    LARGE = {"lr": 1e-3}
    SEARCH = {"lr": [3e-4, 1e-3, 5e-3], "reg": [1e-1, 1e-2, 1e-4], "n_layers": [1, 2, 3], "latent": [64, 256]}
    uses_features = needs_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_content(self.settings["normalise"], self.settings["trainable_features"])
        dim, latent = self.settings["dim"], self.settings["latent"]
        rest = self.settings["n_layers"], self.settings["slope"]
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.taste = nn.ModuleDict({m: self.table(self.n_users, latent) for m in self.modalities})
        self.project = nn.ModuleDict({m: Projection(self.content(m).shape[1], latent) for m in self.modalities})
        self.channel = nn.ModuleDict({m: Channel(latent, dim, *rest) for m in self.modalities})
        train, adjacency = self.split.train, {}
        for m in self.modalities:
            nn.init.xavier_normal_(self.project[m].weight)
            nn.init.zeros_(self.project[m].bias)
            edges = train[self.mask(m).numpy()[train[:, 1]]]  # a missing row is nobody's neighbour
            key = len(edges) == len(train) or m
            if key not in adjacency:
                graph = normalised_adjacency(edges, self.n_users, self.n_items, "row")
                adjacency[key] = graph, to_torch(to_scipy(graph).T)
            self.register_buffer(f"graph_{m}", adjacency[key][0], persistent=False)
            self.register_buffer(f"graph_t_{m}", adjacency[key][1], persistent=False)
        masks = torch.stack([self.mask(m) for m in self.modalities], 1).float()  # (n_items, M)
        masks = torch.cat([masks.new_ones(self.n_users, masks.shape[1]), masks])
        masks[masks.sum(1) == 0] = 1  # without content its id vector is all there is, in each channel
        self.register_buffer("share", masks / masks.sum(1, keepdim=True), persistent=False)

    def nodes(self, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Final vectors of the given nodes, users first (all by default): (n, d)."""
        ids = torch.cat([self.user_table.weight, self.item_table.weight * self.warm])
        share, total = self.share if rows is None else self.share.index_select(0, rows), 0.0
        for place, m in enumerate(self.modalities):
            items = self.project[m](self.content(m)) * self.mask(m)[:, None]
            start = unit(torch.cat([self.taste[m].weight, items]))
            graphs = getattr(self, f"graph_{m}"), getattr(self, f"graph_t_{m}")
            total = total + share[:, place, None] * self.channel[m](start, ids, *graphs, rows)
        return total

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        nodes = self.nodes()
        return nodes[: self.n_users], nodes[self.n_users :]

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        rows = torch.cat([user_ids, pos_ids + self.n_users, neg_ids + self.n_users])
        rows, place = torch.unique(rows, return_inverse=True)
        user, pos, neg = self.nodes(rows).index_select(0, place).chunk(3)
        start = self.user_table(user_ids), self.item_table(pos_ids), self.item_table(neg_ids)
        tastes = [self.taste[m](user_ids) for m in self.modalities]
        return bpr((user * pos).sum(1), (user * neg).sum(1)) + self.settings["reg"] * l2_reg(*start, *tastes)
