"""MMGRec's transformer: a history is a set of items, and a decoder that looks at it writes the id of one more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError, suggest
from utils.generation.semantic_ids import SemanticIds
from utils.generation.set_attention import Reader, TokenLayer
from utils.generation.trie import Trie
from utils.generation.writer import Writer
from utils.pretraining.sequences import Sequences


class TokenDecoder(Writer):
    """Layers over the tokens so far that look at the history: a token's vector is its own and that of its level."""

    def __init__(self, dim: int, sizes: Sequence[int], n_layers: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.sizes, self.width = tuple(sizes), 4 * dim * len(sizes)
        self.tokens = nn.ModuleList([nn.Embedding(size, dim) for size in sizes[:-1]])
        self.levels = nn.Embedding(len(sizes), dim)
        self.layers = nn.ModuleList([TokenLayer(dim, n_heads, dropout) for _ in range(n_layers)])
        self.out = nn.ModuleList([nn.Linear(dim, size) for size in sizes])

    def walk(self, states: torch.Tensor, prefixes: torch.Tensor) -> torch.Tensor:
        """States of a history and tokens so far (b or 1, n, t) -> (b, n, t + 1, dim): behind each token, and before all."""
        start = self.levels.weight[0].expand(*prefixes.shape[:2], -1)
        parts = [table(prefixes[..., place]) for place, table in zip(range(prefixes.shape[2]), self.tokens)]
        x = torch.stack([start, *(part + self.levels.weight[place + 1] for place, part in enumerate(parts))], dim=2)
        x, real = x.expand(len(states), -1, -1, -1), states.any(dim=2)  # padding is a row of zeros
        for layer in self.layers:
            x = layer(x, states, real)
        return x

    def logits(self, level: int, states: torch.Tensor, prefixes: torch.Tensor) -> torch.Tensor:
        """See ``Writer``: states (b, m, dim), zeros where there is no item."""
        return self.out[level](self.walk(states, prefixes)[:, :, -1])

    def loss(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Teacher forcing: the mean over b histories of -log p(item), for tokens (b, n_levels) of one item each."""
        x = self.walk(states, tokens[:, None, :-1])[:, 0]
        return sum(F.cross_entropy(layer(x[:, place]), tokens[:, place]) for place, layer in enumerate(self.out))


class MMGRec(nn.Module):
    """What else would be in this set? Two layers read the set, two write the tokens of an item that was taken out of it.

    The encoder reads frozen item vectors z_i, without places: a history has no order here. A training step takes an item
    out of a history and asks for it: the history *does not hold the item*; in the release it does, and the model can copy.

    Traps, decided: the person's vector is the mean of what the model sees of the history, not a row of a table, so that
    anybody's list can be made; norms are part of the model, and each level has tokens of its own. Lists are made by a
    beam search of ``beams`` on the trie, as published; 0 scores every item exactly, which takes many times as long.

    Args:
        sequences: who learns from them. ids: the code table. vectors: (n_items, dim) z_i, for example of ``GraphSage``.
        seed: fixes the initial weights. settings: any name in DEFAULTS; ``targets`` items are taken out a history and epoch.

    Source: stage 2 of Liu et al., "MMGRec: Multimodal Generative Recommendation with Transformer Model", arXiv 2404.16555.
    """

    name = "mmgrec"
    DEFAULTS = {
        "dim": 64,
        "n_layers": 2,
        "n_heads": 4,
        "dropout": 0.2,
        "length": 32,
        "relation": True,
        "targets": 4,
        "beams": 50,
    }

    def __init__(
        self, sequences: Sequences, ids: SemanticIds, vectors: np.ndarray, seed: int = 0, **settings: Any
    ) -> None:
        super().__init__()
        for key in settings:
            if key not in self.DEFAULTS:
                raise suggest(key, self.DEFAULTS, "setting of mmgrec")
        if not ids.n_items == len(vectors) == sequences.n_items:
            raise CourseError(
                f"There are ids of {ids.n_items} items, vectors of {len(vectors)} and sequences over {sequences.n_items}; "
                "make all three of one catalogue."
            )
        self.settings = {**self.DEFAULTS, **settings}
        self.n_items, self.length = sequences.n_items, self.settings["length"]
        dim, n_layers, n_heads, dropout = (self.settings[k] for k in ("dim", "n_layers", "n_heads", "dropout"))
        self.register_buffer("content_vectors", torch.as_tensor(vectors / vectors.std(), dtype=torch.float32))
        self.register_buffer("content_tokens", torch.from_numpy(ids.tokens))
        self.register_buffer("warm", torch.ones(self.n_items, dtype=torch.bool))  # the loop asks it where the model is
        self.trie = Trie.of(ids.tokens)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.project = nn.Linear(vectors.shape[1], dim)
            relation = self.settings["relation"]
            self.readers = nn.ModuleList([Reader(dim, n_heads, dropout, relation) for _ in range(n_layers)])
            self.decoder = TokenDecoder(dim, ids.sizes, n_layers, n_heads, dropout)

    def history_states(self, histories: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Read sets of items: (b, m) item_ids, -1 = nothing -> (b, m, dim), zeros where there is nothing."""
        histories = torch.as_tensor(histories, device=self.warm.device)[:, -self.length :]
        real = histories >= 0
        x = self.project(self.content_vectors[histories.clamp_min(0)]) * real[..., None]
        person = x.sum(dim=1) / real.sum(dim=1, keepdim=True).clamp_min(1)
        seen = real | ~real.any(dim=1, keepdim=True)  # who has no item sees nothings: a softmax over none is NaN
        for layer in self.readers:
            x = layer(x, seen, person)
        return x * seen[..., None]

    def score_histories(self, histories: np.ndarray | torch.Tensor) -> torch.Tensor:
        """See ``NextItemModel``: (b, L) item_ids -> (b, n_items), log p of the items that the beam found, else -inf."""
        self.trie = self.trie.to(self.warm.device)
        states = self.history_states(histories)
        if not self.settings["beams"]:
            return self.decoder.exact(states, self.trie)
        return self.decoder.beam_scores(states, self.trie, self.settings["beams"])

    def batch_loss(self, histories: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Take ``targets`` items out of each history (b, m), one at a time, and return the mean loss of writing them."""
        histories = histories.repeat_interleave(self.settings["targets"], dim=0)
        chance = torch.rand(histories.shape, generator=generator).to(histories.device)
        place = chance.masked_fill(histories < 0, -1).argmax(dim=1, keepdim=True)
        items = histories.gather(1, place)[:, 0]
        left = histories.masked_fill(histories == items[:, None], -1)  # all of its places, should it be there twice
        kept = (left >= 0).any(dim=1)
        return self.decoder.loss(self.history_states(left[kept]), self.content_tokens[items[kept]])
