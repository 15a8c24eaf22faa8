"""rho on the graph of users and items, with layers that learn: NGCF, Neural Graph Collaborative Filtering."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import leaky_relu

from utils.errors import suggest
from utils.graphs import normalised_adjacency, propagate, to_scipy
from utils.kernels import dropout, unit
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender


class NGCF(TrainedRecommender):
    """Messages along the graph, transformed by weights; what two neighbours have in common is a message of its own.

    N = A~ E^(l);  E^(l+1) = LeakyReLU_.2( (N + E^(l)) W1_l + b_l + (N * E^(l)) W2_l ), then dropout while training
    E = concatenation (or mean) of E^(0), L2norm(E^(1)), ..., L2norm(E^(L));  score(u, i) = E_u . E_i
    loss = BPR + reg / (2 b) * (|e_u|^2 + |e_i|^2 + |e_j|^2 over the batch + |W1|^2 + |W2|^2), e = rows of E^(0)

    Traps, decided:
    * A~: the paper takes D^-1/2 A D^-1/2 and adds the own vector to the first term, as above: "symmetric". The released
      code and the frameworks take D^-1 (A + I), rows that sum to 1, for both terms, and add nothing: ``adjacency``
      "row". The first is clearly better on our validation data.
    * The paper has one LeakyReLU around the sum, the release one around each term, with two biases: here the sum, and
      one bias, since only the sum of two would count.
    * The paper concatenates the layers, the multimodal benchmarks average them: ``combine``. With the mean
      a pair of normalised layers gives a score at most 1 / (L + 1)^2. E^(0) is not normalised, the others are, but the
      next layer starts from the vectors before that. Three layers are usual; on small data one is better on validation.
    * The paper penalises all weights, the release the final vectors of the batch, most of which have length 1 whatever
      is learned: here as in the paper. Dropout of messages is redrawn in each batch, and off in scores. The paper's
      dropout of nodes is off in the release unless a flag asks for it: left out.
    * A cold item has no message but the bias, the same for all: it counts as zero in the score, its rank is arbitrary.

    Source: Wang et al., "Neural Graph Collaborative Filtering", SIGIR 2019, DOI 10.1145/3331184.3331267.
    """

    name = "ngcf"
    title = "NGCF"
    order = 80
    schema = Schema("none", "none", "none", "none", "BPR")
    DEFAULTS = {"dim": 64, "n_layers": 1, "dropout": 0.1, "adjacency": "symmetric", "combine": "concat"}
    DEFAULTS |= {"reg": 1e-1, "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    SEARCH = {
        "lr": [5e-4, 1e-3, 5e-3],
        "reg": [3e-1, 1e-1, 1e-2, 1e-4],
        "dropout": [0.0, 0.1, 0.3],
        "n_layers": [1, 2, 3],
    }
    SEARCH |= {"adjacency": ["symmetric", "row"], "combine": ["concat", "mean"]}

    def build(self) -> None:
        self.own_message = self.settings["adjacency"] == "symmetric"
        if self.settings["combine"] not in ("mean", "concat"):
            raise suggest(self.settings["combine"], ("mean", "concat"), "combination of layers")
        self.add_warm()
        dim, depth = self.settings["dim"], range(self.settings["n_layers"])
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.transform = nn.ModuleList(nn.Linear(dim, dim) for _ in depth)
        self.interact = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in depth)
        for layer in [*self.transform, *self.interact]:
            nn.init.xavier_uniform_(layer.weight)
        for layer in self.transform:
            nn.init.zeros_(layer.bias)
        edges = self.split.train, self.n_users, self.n_items, self.settings["adjacency"]
        graph = normalised_adjacency(*edges, self_loops=not self.own_message)
        self.keep_graph("graph", to_scipy(graph))

    def nodes(self, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Final vectors of the given nodes, users first (all by default): (n, d) or (n, d (L + 1))."""

        def pick(x: torch.Tensor) -> torch.Tensor:
            return x if rows is None else x.index_select(0, rows)

        ego = torch.cat([self.user_table.weight, self.item_table.weight])
        layers = [pick(ego)]
        for depth, (transform, interact) in enumerate(zip(self.transform, self.interact), start=1):
            near = propagate(self.graph, ego, self.graph_t)
            last = depth == len(self.transform)
            if last:  # nobody asks for the messages of the other nodes
                near, ego = pick(near), layers[0] if depth == 1 else pick(ego)
            messages = torch.addmm(transform(near + ego if self.own_message else near), near * ego, interact.weight.T)
            ego = leaky_relu(messages, 0.2)
            ego = dropout(ego, self.settings["dropout"]) if self.training else ego
            layers.append(unit(ego if last else pick(ego)))
        return torch.cat(layers, 1) if self.settings["combine"] == "concat" else torch.stack(layers).mean(0)

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        nodes = self.nodes()
        return nodes[: self.n_users], nodes[self.n_users :] * self.warm

    def graph_vectors(self, user_ids, pos_ids, neg_ids) -> list[torch.Tensor]:
        """The final vectors of a batch: user, positive, negative; the last layer is worked out for its nodes only."""
        rows = torch.cat([user_ids, pos_ids + self.n_users, neg_ids + self.n_users])
        rows, place = torch.unique(rows, return_inverse=True)
        return list(self.nodes(rows).index_select(0, place).chunk(3))

    def penalty(self, user_ids, pos_ids, neg_ids, *more: torch.Tensor) -> torch.Tensor:
        start = self.user_table(user_ids), self.item_table(pos_ids), self.item_table(neg_ids)
        weights = [layer.weight for layer in [*self.transform, *self.interact]]
        return self.settings["reg"] * l2_reg(*start, *more, *weights)

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        user, pos, neg = self.graph_vectors(user_ids, pos_ids, neg_ids)
        return bpr((user * pos).sum(1), (user * neg).sum(1)) + self.penalty(user_ids, pos_ids, neg_ids)
