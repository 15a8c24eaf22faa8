"""rho for challenge 2.4: a content-style model, where each user weighs an item's colour, shape and content."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from utils.errors import CourseError, suggest
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender, blocks

COMBINE = {"product": torch.mul, "sum": torch.add}
ATTENTION = ("network", "table", "uniform")
SCORERS = ("mlp", "dot")
USERS_AT_ONCE = 64


class ContentStyle(TrainedRecommender):
    """Attention over what a picture shows: for one user the colour of a thing speaks, for another its shape.

    z_i = L2norm(MLP_z(x_i^z)) for z in colour, shape, content (the blocks of ``fine_features``)
    alpha = softmax over z of a / T, where a is a_uz, a table ("table"), or V ReLU(W (g_u o z_i) + b) ("network")
    h_ui = g_i + sum over z of alpha_z z_i;  score(u, i) = g_u . h_ui ("dot"), or MLP([g_u || h_ui]) ("mlp")
    loss = BPR + reg / (2 b) * sum over the batch of |g_u|^2 + |g_i|^2 + |g_j|^2 + flat / reg * |a_u|^2

    Traps, decided:
    * Attention compares lengths as well as meaning: an encoder that makes colour twice as long needs half the weight.
      The release leaves the lengths free; we set them to 1, so that a weight can be read.
    * The published colour is raw counts (a near thing has larger numbers than a far one), zero where no outline closes;
      ours is shares, of the whole picture in that case.
    * The published shape passes one convolution and then the mean over all places: it counts directions of edges and
      forgets where they are. Ours is a coarse map, read by a small MLP that keeps the place.
    * The published content goes in frozen, so that the dimension must equal the PCA's; ours has an MLP as the others.
    * The published attention is the network, with o = product, sum or concatenation, and the published score the MLP.
      A network can answer the same for everybody; our default is one logit for each user and feature and an inner
      product, so that a weight belongs to a user and each feature's part of a score can be read. Notebook 10 compares.
    * Nothing holds a logit back where there is nothing to learn: ``flat`` penalises the table's logits, so that without
      evidence the weights stay equal. The release has no such part.
    * T is fixed at 10 in the published runs: softmax of logits / 10 is nearly uniform unless the logits grow. Ours is 1.
    * ``attention="uniform"``: all weights equal, the control.
    * The release penalises all weights; here the tables only, as in our VBPR: the MLPs have ``dropout``.
    * A cold item has g_i = 0. An item without a picture has all z_i = 0.

    Source: Deldjoo, Di Noia, Malitesta & Merra, "Leveraging Content-Style Item Representation for Visual
    Recommendation", ECIR 2022, DOI 10.1007/978-3-030-99739-7_10.
    """

    name = "content_style"
    title = "Content-style"
    order = 240
    challenge = "2.4"
    schema = Schema("visual", "pretrained", "coordinate", "early", "BPR")
    DEFAULTS = {"dim": 32, "hidden": 64, "reg": 1e-1, "parts": None, "attention": "table", "combine": "product"}
    DEFAULTS |= {"temperature": 1.0, "flat": 0.02, "scorer": "dot", "dropout": 0.2}
    DEFAULTS |= {"lr": 5e-3, "batch_size": 1024, "n_epochs": 100, "eval_every": 2, "patience": 5}
    SEARCH = {"lr": [1e-3, 5e-3, 1e-2], "reg": [3e-1, 1e-1, 3e-2, 1e-2]}
    uses_features = needs_features = True

    def build(self) -> None:
        self.check_settings()
        feature = self.features["visual"]
        columns = blocks(feature)
        self.parts = tuple(self.settings["parts"] or columns)
        for part in self.parts:
            if part not in columns:
                raise suggest(part, columns, "part of content_style")
        self.add_warm()
        mask = torch.as_tensor(feature.mask)
        self.register_buffer("seen", mask.float()[:, None, None], persistent=False)
        dim, hidden = self.settings["dim"], self.settings["hidden"]
        self.encoders = nn.ModuleDict()
        for part in self.parts:
            block = torch.as_tensor(np.ascontiguousarray(feature.matrix[:, columns[part]]))
            block = normalize(block - block[mask].mean(0), dim=1) * mask[:, None]
            self.register_buffer(f"block_{part}", block, persistent=False)
            drop = nn.Dropout(self.settings["dropout"])
            self.encoders[part] = nn.Sequential(
                nn.Linear(block.shape[1], hidden), nn.ReLU(), drop, nn.Linear(hidden, dim)
            )
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        if self.settings["attention"] == "network":
            self.attend = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=False))
        elif self.settings["attention"] == "table":
            self.logits = nn.Embedding(self.n_users, len(self.parts))
            nn.init.zeros_(self.logits.weight)
        if self.settings["scorer"] == "mlp":
            drop = nn.Dropout(self.settings["dropout"])
            self.head = nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU(), drop, nn.Linear(hidden, 1, bias=False))

    def check_settings(self) -> None:
        if "visual" not in self.features:
            raise CourseError("content_style reads pictures; pass features={'visual': fine_features(dataset)}.")
        for key, known in (("attention", ATTENTION), ("combine", COMBINE), ("scorer", SCORERS)):
            if self.settings[key] not in known:
                raise suggest(self.settings[key], known, f"value of {key}")
        if self.settings["temperature"] <= 0:
            raise CourseError(f"temperature={self.settings['temperature']}; the attention needs a number above 0.")

    def encoded(self, item_ids: torch.Tensor | None = None) -> torch.Tensor:
        """z_i of the given items (all by default): (n, n_parts, dim), each of length 1, or 0 without a picture."""
        rows = slice(None) if item_ids is None else item_ids
        z = [normalize(self.encoders[part](getattr(self, f"block_{part}")[rows]), dim=1) for part in self.parts]
        return torch.stack(z, 1) * self.seen[rows]

    def ids(self, item_ids: torch.Tensor) -> torch.Tensor:
        """g_i of the given items, (n, dim): 0 for cold items."""
        return self.item_table(item_ids) * self.warm[item_ids]

    def attention(self, user_ids: torch.Tensor, user: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """alpha (..., n_parts), sum 1: user_ids (b,) and user, of the shape of z (..., n_parts, dim) without n_parts."""
        kind = self.settings["attention"]
        if kind == "uniform":
            return z.new_full(z.shape[:-1], 1 / len(self.parts))
        if kind == "table":
            logits = self.logits(user_ids)
            logits = logits if z.ndim == 3 else logits[:, None]
        else:
            logits = self.attend(COMBINE[self.settings["combine"]](user[..., None, :], z)).squeeze(-1)
        return torch.softmax(logits / self.settings["temperature"], -1).expand(z.shape[:-1])

    def pairs(self, user_ids: torch.Tensor, user: torch.Tensor, item: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Scores of pairs: user and item (..., dim), z (..., n_parts, dim); same leading shape, or broadcast."""
        alpha = self.attention(user_ids, user, z)
        refined = item + (alpha[..., None] * z).sum(-2)
        if self.settings["scorer"] == "dot":
            return (user * refined).sum(-1)
        user = user.expand(refined.shape)
        return self.head(torch.cat([user, refined], -1)).squeeze(-1)

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        # an item that occurs twice in the batch is encoded once
        items, place = torch.unique(torch.cat([pos_ids, neg_ids]), return_inverse=True)
        z_pos, z_neg = self.encoded(items).index_select(0, place).chunk(2)
        user, pos, neg = self.user_table(user_ids), self.ids(pos_ids), self.ids(neg_ids)
        pos_scores, neg_scores = (self.pairs(user_ids, user, g, z) for g, z in ((pos, z_pos), (neg, z_neg)))
        penalty = self.settings["reg"] * l2_reg(user, pos, neg)
        if self.settings["attention"] == "table":
            penalty = penalty + self.settings["flat"] * l2_reg(self.logits(user_ids))
        return bpr(pos_scores, neg_scores) + penalty

    def _blocks_of(self, user_ids):
        """Yield (ids, users (b, 1, dim), items (1, n_items, dim), z (1, n_items, n_parts, dim)) in blocks of users."""
        user_ids = torch.as_tensor(np.asarray(user_ids), dtype=torch.int64, device=self.warm.device)
        z, item = self.encoded()[None], self.ids(torch.arange(self.n_items, device=self.warm.device))[None]
        for ids in user_ids.split(USERS_AT_ONCE):
            yield ids, self.user_table(ids)[:, None], item, z.expand(len(ids), -1, -1, -1)

    @torch.no_grad()
    def score(self, user_ids, out: torch.Tensor | None = None) -> torch.Tensor:
        """Score all items, (len(user_ids), n_items). Not an inner product: the weights depend on both sides."""
        was_training = self.training
        self.eval()
        rows = [self.pairs(*block) for block in self._blocks_of(user_ids)]
        self.train(was_training)
        scores = torch.cat(rows) if rows else self.warm.new_zeros((0, self.n_items))
        return scores if out is None else out.copy_(scores)

    @torch.no_grad()
    def weights(self, user_ids) -> torch.Tensor:
        """alpha of all pairs, (len(user_ids), n_items, n_parts), in the order of ``self.parts``."""
        was_training = self.training
        self.eval()
        rows = [self.attention(ids, user, z) for ids, user, _, z in self._blocks_of(user_ids)]
        self.train(was_training)
        return torch.cat(rows)
