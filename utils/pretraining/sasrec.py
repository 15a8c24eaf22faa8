"""SASRec: a causal transformer over a history, whose last state is compared with the vector of every item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError, suggest
from utils.models.base import ItemFeatures, check_features, content
from utils.pretraining.attention import Block, attendable
from utils.pretraining.sequences import Sequences

INPUTS = ("ids", "both", "content")
LOSSES = ("softmax", "sampled")


class SASRec(nn.Module):
    """You get what comes next after your last items, in their order.

    e_i = id vector, its projected features, or their sum (``inputs``); h = blocks(norm(e_i + position)), score = h_last . e_j

    loss "softmax": cross-entropy over all warm items, at every position of the history
    loss "sampled": binary cross-entropy of the next item against one random warm item that the user did not take, as
    published; it is cheaper, and knows less of each step

    Traps, decided: positions count from the newest item, so that padding changes none of them. Cold items are no negatives
    (they would be pushed down because nobody could take them), and their id vector, which nothing trains, is zero: it
    says nothing, and a random one would. The released code of S3-Rec keeps negatives away from the test item, too, which
    tells the model a little of it; here they avoid only what training knows.

    Args:
        sequences: who learns from them; says how many items there are, and which are cold.
        features: modality -> features, for the inputs "both" and "content"; one projection each, added up.
        seed: fixes the initial weights.
        settings: any name in DEFAULTS.

    Attributes:
        notes: one sentence when histories are longer than the model.

    Raises:
        CourseError: an unknown setting, input or loss; content without features; heads that do not divide ``dim``.

    Source: Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018; sizes as in the code of S3-Rec (CIKM
    2020), whose table is the one that others quote.
    """

    name = "sasrec"
    DEFAULTS = {
        "dim": 64,
        "n_layers": 2,
        "n_heads": 2,
        "dropout": 0.5,
        "length": 50,
        "inputs": "ids",
        "loss": "softmax",
    }

    def __init__(
        self, sequences: Sequences, features: Mapping[str, ItemFeatures] | None = None, seed: int = 0, **settings: Any
    ) -> None:  # fmt: skip
        super().__init__()
        for key in settings:
            if key not in self.DEFAULTS:
                raise suggest(key, self.DEFAULTS, "setting of sasrec")
        self.settings = {**self.DEFAULTS, **settings}
        self.n_items, self.length, dim = sequences.n_items, self.settings["length"], self.settings["dim"]
        self._check(features)
        features = {} if self.settings["inputs"] == "ids" else check_features(features, self.n_items)
        warm = torch.ones(self.n_items, dtype=torch.bool)
        warm[torch.as_tensor(sequences.split.cold_items)] = False
        self.register_buffer("warm", warm)
        for modality, feature in features.items():
            self.register_buffer(f"content_{modality}", content(feature)[0])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.ids = nn.Embedding(self.n_items, dim) if self.settings["inputs"] != "content" else None
            self.project = nn.ModuleDict({m: nn.Linear(f.matrix.shape[1], dim) for m, f in features.items()})
            self.positions = nn.Embedding(self.length, dim)
            self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(self.settings["dropout"])
            sizes = dim, self.settings["n_heads"], self.settings["dropout"]
            self.blocks = nn.ModuleList([Block(*sizes) for _ in range(self.settings["n_layers"])])
            for part in self.modules():
                if isinstance(part, (nn.Embedding, nn.Linear)) and part not in self.project.values():
                    nn.init.normal_(part.weight, std=0.02)
                    if getattr(part, "bias", None) is not None:
                        nn.init.zeros_(part.bias)
        longer = int((sequences.lengths("test") > self.length).sum())
        self.notes = [f"{longer:,} of {sequences.n_users:,} histories are longer than the {self.length} items that the "
                      "model reads: their oldest items are left out."] if longer else []  # fmt: skip

    def _check(self, features: Mapping[str, ItemFeatures] | None) -> None:
        chosen = self.settings
        for name, known in (("inputs", INPUTS), ("loss", LOSSES)):
            if chosen[name] not in known:
                raise suggest(chosen[name], known, f"value of {name}")
        if chosen["inputs"] != "ids" and not features:
            raise CourseError(f"inputs={chosen['inputs']!r} needs content; pass features={{modality: Features}}.")
        if chosen["dim"] % chosen["n_heads"]:
            raise CourseError(
                f"dim={chosen['dim']} must be a multiple of n_heads={chosen['n_heads']}; change one of them."
            )

    def item_vectors(self) -> torch.Tensor:
        """Return the vector of every item, (n_items, dim); what is missing of an item adds nothing to it."""
        vectors = self.warm.new_zeros((self.n_items, self.settings["dim"]), dtype=torch.float32)
        if self.ids is not None:
            vectors = vectors + self.ids.weight * self.warm[:, None]
        for modality, layer in self.project.items():
            matrix = self.get_buffer(f"content_{modality}")
            vectors = vectors + layer(matrix) * matrix.any(dim=1, keepdim=True)
        return vectors

    def states(self, histories: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return the state after each item: (b, L) item_ids, -1 = padding on the left, L <= length -> (b, L, dim)."""
        padding = F.pad(vectors, (0, 0, 0, 1))  # one more row, of zeros, for -1
        x = F.embedding(histories % (self.n_items + 1), padding)
        x = self.dropout(self.norm(x + self.positions.weight[self.length - histories.shape[1] :]))
        allowed = attendable(histories >= 0)
        for block in self.blocks:
            x = block(x, allowed)
        return x

    def score_histories(self, histories: np.ndarray | torch.Tensor) -> torch.Tensor:
        """See ``NextItemModel``: (b, L) item_ids, of which the newest ``length`` count -> (b, n_items)."""
        histories = torch.as_tensor(histories, device=self.warm.device)[:, -self.length :]
        vectors = self.item_vectors()
        return self.states(histories, vectors)[:, -1] @ vectors.T

    def batch_loss(self, histories: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return the mean loss over all steps of some histories: (b, L + 1) item_ids, -1 = padding on the left."""
        given, following = histories[:, :-1], histories[:, 1:]
        real = given >= 0
        vectors, targets = self.item_vectors(), following[real]
        found = self.states(given, vectors)[real]  # (n_steps, dim)
        if self.settings["loss"] == "softmax":
            logits = (found @ vectors.T).masked_fill(~self.warm, -torch.inf)
            return F.cross_entropy(logits, targets)
        own = histories[:, None, :].expand(-1, given.shape[1], -1)[real]  # (n_steps, L + 1), what that user took
        negatives = self._negatives(own, generator)
        wanted, other = ((found * vectors[items]).sum(1) for items in (targets, negatives))
        return (F.softplus(-wanted) + F.softplus(other)).mean()

    def _negatives(self, own: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Draw a warm item for each row of ``own`` (n, L) that does not stand in it: (n,) item_ids."""
        warm = self.warm.nonzero().ravel().cpu()

        def draw(n: int) -> torch.Tensor:
            return warm[torch.randint(len(warm), (n,), generator=generator)].to(own.device)

        drawn = draw(len(own))
        while (taken := (own == drawn[:, None]).any(dim=1)).any():
            drawn[taken] = draw(int(taken.sum()))
        return drawn
