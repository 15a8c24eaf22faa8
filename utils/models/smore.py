"""rho in the spectrum: SMORE, content filtered and multiplied by frequency before it opens the gates of behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import nn

from utils.graphs import laplacian, mean_of_layers, normalised_adjacency, propagate, to_scipy
from utils.kernels import Projection, dropout
from utils.losses import bpr, info_nce, l2_reg
from utils.models.base import MODALITIES, Schema, TrainedRecommender


def convolve(vectors: Sequence[torch.Tensor], weight: torch.Tensor, masks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Multiply the spectra of M vectors (n, d) and a filter, and go back: (n, d).

    Args:
        weight: (d // 2 + 1, 2), real and imaginary part of the filter, frequency by frequency; the imaginary part of the
            lowest has no effect and, where d is even, that of the highest: the result is real.
        masks: M tensors (n,) bool, True = present; a missing vector counts as a spectrum of ones.
    """
    spectra = [torch.fft.rfft(vector, norm="ortho") for vector in vectors]
    spectra = [torch.where(mask[:, None], spectrum, 1.0) for spectrum, mask in zip(spectra, masks)]
    product = reduce(torch.mul, spectra) * torch.view_as_complex(weight)
    return torch.fft.irfft(product, n=vectors[0].shape[1], norm="ortho")


class SMORE(TrainedRecommender):
    """Content is cleaned and fused where it is a sum of waves, one number for each frequency.

    What it teaches: a filter weighs frequencies, and a product of spectra is a circular convolution, in which each entry
    sums products of one entry of every modality, over all choices whose places add up to its own.

    h^m = W_m x^m + b_m;  clean^m = k_m * h^m;  clean^f = k_f * h^1 * ... * h^M / dim^((M - 1) / 2), where * is circular
    convolution: spectra with "ortho" scaling are multiplied, among them that of the filter k, which is learned
    U = mean of the layers of LightGCN on e: the view of behaviour
    view n = 1 .. M and f: items e^n = S^n (e . sigmoid(G_n clean^n + c_n)), users e_u^n = sum over their items of
    e_i^n / sqrt(deg_u deg_i);  S^m as in MGCN;  S^f = the largest of the S^m, entry by entry
    own^m = softmax over the entries of (Q_m tanh(V_m e^f + r_m)) . e^m;  own^f = e^f
    side = sum over n of dropout(sigmoid(P_n U + d_n)) . own^n / (M + 1)
    user, item = U + side;  score(u, i) = user . item
    loss = BPR + contrast * (InfoNCE(side_u, U_u) + InfoNCE(side_i, U_i)) + reg / (2 b) * (|e_u|^2 + |e_i|^2 + |e_j|^2)

    Traps, decided:
    * The softmax runs over the dim entries of a node, not over modalities: own^m is about dim times shorter than own^f,
      and the fused view decides. So it is here.
    * S^f is not normalised again, its rows are heavier than those of S^m; filters start as N(0, 1), far from the
      identity. So it is here. The release keeps negative cosines, and zero features are NaN; here neither is an edge.
    * The release stores its item graphs by k alone and reads them again when the features have changed; here they are
      made anew. It has a k for each modality, here it is one.
    * The release trains the features; here they are frozen unless ``trainable_features``, and the graphs always. Its
      penalty is on the final vectors, divided by the nominal size of a batch; here it is on e. InfoNCE: see MGCN.
    * The release has two modalities. Here the product takes those that an item has, and "ortho" keeps its size; a view
      that lacks a node adds nothing, and still counts in M + 1. With one, clean^f is a second filter on the same content.
    * A cold item has e = 0 and is nobody's neighbour; side gives it the vectors of its neighbours.
    * With ``item_graphs`` (modality -> (n_items, n_items) matrix of similarities) S^m is made of them; the gates of a
      modality without features, or of an item without them, are open.

    Source: Ong & Khong, "Spectrum-based Modality Representation Fusion Graph Convolutional Network for Multimodal
    Recommendation", WSDM 2025, 10.1145/3701551.3703561, arXiv 2412.14978.
    """

    name = "smore"
    title = "SMORE"
    order = 195
    schema = Schema("any", "pretrained", "coordinate", "early", "BPR + InfoNCE")
    DEFAULTS = {"dim": 64, "n_layers": 3, "k": 10, "contrast": 1e-2, "temperature": 0.2, "dropout": 0.0}
    DEFAULTS |= {"normalise": "centred", "trainable_features": False, "item_graphs": None}
    DEFAULTS |= {"reg": 1e-3, "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    SEARCH = {"lr": [1e-3, 5e-3], "n_layers": [3, 4], "k": [10, 20, 40], "contrast": [1e-2, 3e-2], "dropout": [0, 0.1]}
    SEARCH |= {"reg": [1e-3, 1e-2, 1e-4]}
    uses_features = needs_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_content(self.settings["normalise"], self.settings["trainable_features"])
        dim, warm = self.settings["dim"], self.warm.numpy().ravel()
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        adjacency = normalised_adjacency(self.split.train, self.n_users, self.n_items)
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.keep_graph("taken", to_scipy(adjacency)[: self.n_users, self.n_users :])  # R, normalised
        graphs = {m: self.item_graphs.get(m) for m in MODALITIES if m in self.item_graphs or m in self.modalities}
        self.attend = nn.ModuleDict()
        for m, given in graphs.items():
            graphs[m] = laplacian(self.nearest(m, weighted=True) if given is None else given, warm)
            self.attend[m] = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, dim, bias=False))
        graphs["fused"] = reduce(lambda a, b: a.maximum(b), graphs.values())
        for view, graph in graphs.items():
            self.keep_graph(f"similar_{view}", graph)
        self.project = nn.ModuleDict({m: Projection(self.content(m).shape[1], dim) for m in self.modalities})
        gated = [*self.modalities, "fused"] if self.modalities else []
        self.filter = nn.ParameterDict({view: torch.randn(dim // 2 + 1, 2) for view in gated})
        self.gate = nn.ModuleDict({view: nn.Linear(dim, dim) for view in gated})
        self.prefer = nn.ModuleDict({view: nn.Linear(dim, dim) for view in graphs})
        if open_gates := [m for m in self.attend if m not in self.modalities]:
            self.notes.append(f"no {' and no '.join(open_gates)} features: that gate is open, the item graph stays")
        if len(self.modalities) == 1:
            self.notes.append("one modality: no spectra are multiplied, the fused view filters this one again")

    def walk(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return propagate(getattr(self, name), x, getattr(self, f"{name}_t"))

    def openings(self) -> dict[str, torch.Tensor]:
        """View -> (n_items, dim): how far content opens each entry of e, from 0 to 1; 1 where there is no content."""
        h = {m: self.project[m](self.content(m)) for m in self.modalities}
        result = {}
        for view, weight in self.filter.items():
            of = list(h) if view == "fused" else [view]
            masks = [self.mask(m) for m in of]
            clean = convolve([h[m] for m in of], weight, masks)
            missing = ~torch.stack(masks).any(0)[:, None]
            result[view] = torch.sigmoid(self.gate[view](clean)).masked_fill(missing, 1.0)
        return result

    def both_sides(self) -> tuple[torch.Tensor, torch.Tensor]:
        """U and side: (n_users + n_items, dim) each."""
        own, openings, views = self.item_table.weight * self.warm, self.openings(), {}
        behaviour = torch.cat([self.user_table.weight, own])
        behaviour = mean_of_layers(self.adjacency, behaviour, self.settings["n_layers"])
        for view in self.prefer:
            items = self.walk(f"similar_{view}", own * openings[view] if view in openings else own)
            views[view] = torch.cat([self.walk("taken", items), items])
        side = 0
        for view, prefer in self.prefer.items():
            preference = torch.sigmoid(prefer(behaviour))
            if self.training:
                preference = dropout(preference, self.settings["dropout"])
            if view != "fused":
                preference = preference * self.attend[view](views["fused"]).softmax(1)
            side = side + preference * views[view]
        return behaviour, side / len(views)

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
