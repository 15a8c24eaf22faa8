"""rho on a graph of items that is learned: LATTICE, neighbours by content as it is and as training sees it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import suggest
from utils.graphs import laplacian, mean_of_layers, nearest_in_groups, normalised_adjacency, to_scipy
from utils.graphs.edges import Edges, by_row_sums
from utils.kernels import Projection, bpr_of_tables, unit
from utils.losses import l2_reg
from utils.models.base import MODALITIES, Schema, TrainedRecommender


class LATTICE(TrainedRecommender):
    """Two graphs of items are mixed: one from the features, one from their projections, which training shapes.

    S^m: cosines of x^m, the k largest of each row, the item itself among them;  L(S) = D^-1/2 S D^-1/2, D = row sums
    T^m: the same of W_m x^m + b_m;  A~ = keep * sum over m of a_m L(S^m) + (1 - keep) * L(sum over m of a_m T^m)
    a = softmax of one learned number for each modality;  h = A~^n_item_layers e_i
    G = mean of the layers of a walk on the users and items;  user = G_u;  item = G_i + L2norm(h)
    loss = BPR + reg / (2 b) * sum over the batch (|e_u|^2 + |e_i|^2 + |e_j|^2)

    Traps, decided:
    * T^m is made anew once in an epoch, as in the paper; in the release the loss reaches W_m and a in the first batch
      of an epoch only, and the graph is a constant after that. Here in the first ``graph_batches``: 2, so that every
      weight moves in two steps; 1 and all of them rank equally well on the Sticker Shop.
    * Nobody needs the (n_items, n_items) similarities whole: rows are done in chunks, and the gradient goes through the
      k cosines kept. Scoring builds the graph from the present weights, once.
    * The release walks on D^-1 (A + I), which is not symmetric; the paper says LightGCN: ``adjacency`` "row" or
      "symmetric" (no self loops).
    * Negative cosines count as no edge: a row sum below zero has no root.
    * The release draws users, one item of each in a step; here an epoch is one walk through the interactions.
    * The release penalises the final vectors and trains the raw features (``trainable_features``); here the penalty is
      on e, and the features are frozen.
    * Cold items are nobody's neighbours and have no e: they are L2norm(h), content alone.
    * With ``item_graphs`` (modality -> (n_items, n_items) matrix of similarities) these are the S^m; without features
      the T^m fall away.

    Source: Zhang et al., "Mining Latent Structures for Multimedia Recommendation", MM 2021, 10.1145/3474085.3475259.
    """

    name = "lattice"
    title = "LATTICE"
    order = 140
    schema = Schema("any", "pretrained", "coordinate", "early", "BPR")
    DEFAULTS = {"dim": 64, "n_layers": 2, "n_item_layers": 1, "k": 10, "keep": 0.9, "graph_batches": 2}
    DEFAULTS |= {"adjacency": "symmetric", "normalise": "l2", "trainable_features": False, "item_graphs": None}
    DEFAULTS |= {"reg": 1e-2, "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    SEARCH = {"lr": [1e-3, 5e-4, 5e-3], "reg": [0.0, 1e-4, 1e-3, 1e-2], "keep": [0.9, 0.7], "k": [10, 20]}
    uses_features = needs_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_content(self.settings["normalise"], self.settings["trainable_features"])
        dim = self.settings["dim"]
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.project = nn.ModuleDict({m: Projection(self.content(m).shape[1], dim) for m in self.modalities})
        kinds = ("symmetric", "row")
        if self.settings["adjacency"] not in kinds:
            raise suggest(self.settings["adjacency"], kinds, "adjacency")
        kind, size = self.settings["adjacency"], (self.n_users, self.n_items)
        adjacency = normalised_adjacency(self.split.train, *size, kind=kind, self_loops=kind == "row")
        self.keep_graph("adjacency", to_scipy(adjacency))
        self.sources = [m for m in MODALITIES if m in self.item_graphs or m in self.modalities]
        self.original = {}
        for m in self.sources:
            graph = self.item_graphs[m] if m in self.item_graphs else self.nearest(m, weighted=True)
            self.original[m] = laplacian(graph, self.warm.numpy().ravel())
        if len(self.sources) > 1:
            self.importance = nn.Parameter(torch.full((len(self.sources),), 0.5))
        if not self.modalities:
            self.notes.append("no features: the learned graph falls away, the given item graphs stay as they are")
        self.connected, self.fresh = None, 0

    def units(self) -> dict[str, torch.Tensor]:
        """Modality -> (n_items, dim): what W_m makes of the features, at length 1, with gradient."""
        return {m: unit(self.project[m](self.content(m))) for m in self.modalities}

    def connect(self, units: dict[str, torch.Tensor]) -> tuple[Edges, dict, dict]:
        """Which items are neighbours now: edges of all graphs, values of L(S^m) and membership in T^m by modality."""
        masks, warm, k = {m: self.mask(m).cpu() for m in units}, self.warm.cpu().ravel() > 0, self.settings["k"]
        learned = {m: nearest_in_groups(units[m].detach().cpu(), k, masks[m], masks[m] & warm) for m in units}
        edges = Edges(sum([abs(graph) for graph in (*self.original.values(), *learned.values())])).to(self.warm.device)
        original = {m: edges.spread(graph) for m, graph in self.original.items()}
        return edges, original, {m: edges.spread(graph) for m, graph in learned.items()}

    def weigh(self, units: dict, edges: Edges, original: dict, learned: dict) -> torch.Tensor:
        """A~, edge by edge, with gradient."""
        a = self.importance.softmax(0) if len(self.sources) > 1 else self.warm.new_ones(1)
        fixed = sum(a[self.sources.index(m)] * values for m, values in original.items())
        if not learned:
            return fixed
        total = 0.0
        for m, member in learned.items():
            total = total + a[self.sources.index(m)] * F.relu(edges.dots(units[m], units[m])) * member
        return self.settings["keep"] * fixed + (1 - self.settings["keep"]) * by_row_sums(edges, total)

    def begin_epoch(self, generator: torch.Generator) -> None:
        self.connected, self.fresh = None, max(1, self.settings["graph_batches"])

    def item_graph(self) -> tuple[Edges, torch.Tensor]:
        """The edges and their weights: of the present W_m when scoring and in the first batches, then as they were."""
        if self.training and self.connected is not None and self.fresh <= 0:
            return self.connected[0], self.constant
        units = self.units()
        connected = self.connected if self.training else None
        connected = self.connect(units) if connected is None else connected
        values = self.weigh(units, *connected)
        if self.training:
            self.connected, self.constant, self.fresh = connected, values.detach(), self.fresh - 1
        return connected[0], values

    def walk(self) -> tuple[torch.Tensor, torch.Tensor]:
        """G of all nodes, users first, and L2norm(h) of all items."""
        own = h = self.item_table.weight * self.warm
        edges, values = self.item_graph()
        for _ in range(self.settings["n_item_layers"]):
            h = edges.sum(values, h)
        start = torch.cat([self.user_table.weight, own])
        nodes = mean_of_layers(self.adjacency, start, self.settings["n_layers"], self.adjacency_t)
        return nodes, unit(h)

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        nodes, content = self.walk()
        users, items = nodes.split([self.n_users, self.n_items])
        return users, items + content

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        users, items = self.embeddings()
        start = self.user_table(user_ids), self.item_table(torch.cat([pos_ids, neg_ids]))
        return bpr_of_tables(users, items, user_ids, pos_ids, neg_ids, 0.0) + self.settings["reg"] * l2_reg(*start)
