"""rho with one graph walk for each modality: SLMRec, whose views of an item are made to agree, finely then coarsely."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from utils.graphs import mean_of_layers, normalised_adjacency
from utils.losses import info_nce, l2_reg
from utils.models.base import Schema, TrainedRecommender


class SLMRec(TrainedRecommender):
    """Users flow through the graph once with the ids of items and once with each modality; a linear map fuses.

    G^0 = mean of the layers of LightGCN from [e_u; e_i];  G^m = the same from [e_u; z_i^m], z_i^m = W_m x_i^m + b_m
    user = U [G_u^0 || G_u^1 || ... || G_u^M] + b_U;  item = V [G_i^0 || ... || G_i^M] + b_V
    score(u, i) = cos(user, item)
    loss = mean of -ln( exp(score(u, i) / t) / sum over the items j of the batch of exp(score(u, j) / t) )
         + ssl_weight * FAC + reg / (2 b) * sum over the batch of |e_u|^2 + |e_i|^2
    FAC: c^0 = G_i^0;  c^m = A_m c^(m-1) + a_m;  sum over m of InfoNCE(c_i^m, B_m G_i^m + b_m) at ssl_temperature

    Traps, decided:
    * FAC (fine and coarse) is one of three tasks of the paper (the others drop or mask features), and its best; the
      others are left out. The chain goes visual, textual, audio as far as present; that of the release goes visual,
      audio, textual and halves its last step, and a framework's copy has no audio.
    * The release trains with cosines and ranks by the inner product; here the score is the cosine of the loss.
    * Negatives are the items of the batch, so popular ones often; the release counts an item as often as it occurs,
      also against itself. Here each item of the batch counts once, in both contrasts. ``neg_ids`` is ignored.
    * The release's FAC takes plain inner products; here cosines, so that ssl_temperature means the same for all d.
    * The release has no penalty on e: its optimiser lets all weights decay, those of the maps as well.
    * An item without a modality starts that walk at zero (its users may still bring some), and is out of its contrast.
    * The ids of a cold item count as zero, and without edges its G^m is z^m / (L + 1): content alone ranks it.

    Source: Tao et al., "Self-supervised Learning for Multimedia Recommendation", IEEE TMM 2022,
    doi:10.1109/TMM.2022.3187556.
    """

    name = "slmrec"
    title = "SLMRec"
    order = 150
    schema = Schema("any", "pretrained", "coordinate", "early", "InfoNCE + InfoNCE between modalities")
    DEFAULTS = {"dim": 64, "n_layers": 2, "temperature": 0.4, "ssl_weight": 0.01, "ssl_temperature": 0.5, "reg": 1e-3}
    DEFAULTS |= {"normalise": "centred", "trainable_features": False, "lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    SEARCH = {"lr": [1e-3, 5e-3], "ssl_weight": [0.01, 0.1, 1.0], "ssl_temperature": [0.1, 0.2, 0.5, 1.0]}
    SEARCH |= {"reg": [0.0, 1e-3, 1e-2], "temperature": [0.2, 0.3, 0.4]}
    uses_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_content(self.settings["normalise"], self.settings["trainable_features"])
        dim, n_views = self.settings["dim"], 1 + len(self.modalities)
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.project = self._maps(lambda m: self.content(m).shape[1])
        self.chain, self.view = self._maps(lambda m: dim), self._maps(lambda m: dim)  # A_m and B_m
        self.fuse_users, self.fuse_items = _linear(n_views * dim, dim), _linear(n_views * dim, dim)
        adjacency = normalised_adjacency(self.split.train, self.n_users, self.n_items)
        self.register_buffer("adjacency", adjacency, persistent=False)
        if not self.modalities:
            self.notes.append("no features: the contrast between modalities falls away")

    def _maps(self, size) -> nn.ModuleDict:
        return nn.ModuleDict({m: _linear(size(m), self.settings["dim"]) for m in self.modalities})

    def walks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(n_users, (1 + M) d) and (n_items, (1 + M) d): all walks side by side, so that the graph is read once."""
        items = [self.item_table.weight * self.warm]
        items += [self.project[m](self.content(m)) * self.mask(m)[:, None] for m in self.modalities]
        users = self.user_table.weight.repeat(1, len(items))
        nodes = mean_of_layers(self.adjacency, torch.cat([users, torch.cat(items, 1)]), self.settings["n_layers"])
        return nodes[: self.n_users], nodes[self.n_users :]

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        users, items = self.walks()
        return F.normalize(self.fuse_users(users), dim=1), F.normalize(self.fuse_items(items), dim=1)

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        users, items = self.walks()
        batch, place = torch.unique(pos_ids, return_inverse=True)
        walk = items.index_select(0, batch)
        user = F.normalize(self.fuse_users(users.index_select(0, user_ids)), dim=1)
        item = F.normalize(self.fuse_items(walk), dim=1)
        loss = F.cross_entropy(user @ item.T / self.settings["temperature"], place)
        loss = loss + self.settings["ssl_weight"] * self.fine_and_coarse(walk, batch)
        return loss + self.settings["reg"] * l2_reg(self.user_table(user_ids), self.item_table(pos_ids))

    def fine_and_coarse(self, walk: torch.Tensor, item_ids: torch.Tensor) -> torch.Tensor:
        """FAC over different items, (n, (1 + M) d): ids with the first modality, what they share with the next, ..."""
        common, *views = walk.split(self.settings["dim"], dim=1)
        total = walk.new_zeros(())
        for m, view in zip(self.modalities, views):
            common, has = self.chain[m](common), self.mask(m)[item_ids]
            if has.any():
                total = total + info_nce(common[has], self.view[m](view[has]), self.settings["ssl_temperature"])
        return total


def _linear(n_in: int, n_out: int) -> nn.Linear:
    layer = nn.Linear(n_in, n_out)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
