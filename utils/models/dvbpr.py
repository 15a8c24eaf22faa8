"""rho and phi in one: a small DVBPR, where the gradient of the ranking reaches the pixels."""

from __future__ import annotations

import torch
from torch import nn

from utils.errors import CourseError
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender

TRAINED = ("all", "head")


class DVBPR(TrainedRecommender):
    """A user's taste meets the picture itself: score(u, i) = t_u . Phi(picture of i).  No vector by id.

    Phi = three layers of convolution (3 x 3, every second place), batch norm and relu, then a mean over a 2 x 2 grid and
    one linear map: a hundredth of the published network (five layers of AlexNet's size), for pictures of 32 pixels.
    loss = BPR + reg / (2 b) * sum over the batch of |t_u|^2 + |Phi_i|^2 + |Phi_j|^2

    ``trained``: "all" = end to end; "head" = the convolutions stay as they were drawn, only the linear map learns (the
    same network as an extractor of random weights). With ``network="linear"`` a row is any feature vector and Phi the
    linear map alone: the same recommender on frozen features.

    Traps, decided:
    * Two pictures a pair are two passes a pair. An item that occurs twice in a batch is passed once, and the batch is
      large: a catalogue of some hundred items is seen as a whole in each step.
    * Batch norm in training mode would mix the items of a batch. Its statistics are over a whole step here, and the
      running ones are used for scoring.
    * A picture is as good as an id: a network can learn the pictures by heart. Judge it on items that it never saw.
    * There is no vector by id, so that warm items know less than in VBPR, and cold items are no special case.

    Source: Kang, Fang, Wang & McAuley, "Visually-Aware Fashion Recommendation and Design with Generative Image Models",
    ICDM 2017, arXiv 1711.02231.
    """

    name = "dvbpr"
    title = "DVBPR"
    order = 230
    challenge = "2.3"
    schema = Schema("any", "trained end to end", "joint", "none", "BPR")
    DEFAULTS = {"dim": 32, "channels": (8, 16, 32), "network": "conv", "trained": "all", "normalise": "centred"}
    DEFAULTS |= {"reg": 3e-2, "lr": 5e-3, "batch_size": 1024, "n_epochs": 60, "eval_every": 4, "patience": 8}
    SEARCH = {"lr": [1e-3, 5e-3, 1e-2], "reg": [3e-1, 1e-1, 3e-2, 1e-2]}
    uses_features = needs_features = True

    def build(self) -> None:
        if self.settings["trained"] not in TRAINED:
            raise CourseError(f"dvbpr: trained={self.settings['trained']!r}; give one of {', '.join(TRAINED)}.")
        modality = self.modalities[0]
        conv = self.settings["network"] == "conv"
        self.add_content("none" if conv else self.settings["normalise"])
        pictures = self.content(modality)
        self.user_table = self.table(self.n_users)
        self.side = round((pictures.shape[1] / 3) ** 0.5)
        if conv and (self.side**2 * 3 != pictures.shape[1] or self.side < 16):
            raise CourseError(
                f"dvbpr: rows of {pictures.shape[1]} numbers are no square pictures of three colours and 16 pixels or "
                'more; extract them with the encoder "pixels", size=32, or set network="linear".'
            )
        self.body = self.convolutions() if conv else nn.Identity()
        self.head = nn.Linear(4 * self.settings["channels"][-1] if conv else pictures.shape[1], self.settings["dim"])
        if self.settings["trained"] == "head":
            self.body.requires_grad_(False)

    def convolutions(self) -> nn.Sequential:
        layers, before = [], 3
        for width in self.settings["channels"]:
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())

    def look(self, item_ids: torch.Tensor) -> torch.Tensor:
        """Phi of some items, (n, dim); an item without a picture is zero."""
        rows = self.content(self.modalities[0])[item_ids]
        if self.settings["network"] == "conv":  # rows are (side, side, 3), 0 to 1
            rows = rows.view(-1, self.side, self.side, 3).permute(0, 3, 1, 2) * 2 - 1
        return self.head(self.body(rows)) * self.mask(self.modalities[0])[item_ids, None]

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.user_table.weight, self.look(torch.arange(self.n_items, device=self.user_table.weight.device))

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        items, place = torch.unique(torch.cat([pos_ids, neg_ids]), return_inverse=True)
        pos, neg = self.look(items).index_select(0, place).chunk(2)
        user = self.user_table(user_ids)
        return bpr((user * pos).sum(1), (user * neg).sum(1)) + self.settings["reg"] * l2_reg(user, pos, neg)
