"""MMGRec's transformer: a history is a set of items, and a decoder that looks at it writes the id of one more."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from utils.errors import CourseError, suggest
from utils.generation.semantic_ids import SemanticIds
from utils.generation.trie import Trie
from utils.pretraining.sequences import Sequences


class Mixing(nn.Module):
    """Attention of some rows to others, and with ``relation`` a second term that depends on whose history it is.

    scores = (X W_Q (Y W_K)^T + s_q(u) s_k(u) X U_Q (Y U_K)^T) / sqrt(d / heads)
    out = softmax(scores) (Y W_V + s_v(u) Y U_V), s_*(u) = w^T relu(W z_u), one number a person

    The U are of one head and serve all heads. Without ``relation`` the second terms fall away.
    """

    def __init__(self, dim: int, n_heads: int, relation: bool = False) -> None:
        super().__init__()
        self.n_heads, size = n_heads, dim // n_heads
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.out = nn.Linear(dim, dim)
        if relation:
            self.relation = nn.ModuleList([nn.Linear(dim, size, bias=False) for _ in range(3)])
            self.person = nn.ModuleList([nn.Sequential(nn.Linear(dim, size), nn.ReLU(), nn.Linear(size, 1)) for _ in range(3)])  # fmt: skip

    def forward(
        self, x: torch.Tensor, y: torch.Tensor, allowed: torch.Tensor, person: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(b, n, dim), (b, m, dim), (b, 1, n or 1, m) bool and (b, dim) of the person -> (b, n, dim)."""
        parts = [self.query(x), self.key(y), self.value(y)]
        q, k, v = (part.unflatten(2, (self.n_heads, -1)).transpose(1, 2) for part in parts)  # (b, heads, n, size)
        scores = q @ k.transpose(2, 3)
        if person is not None:
            sizes = [gate(person)[:, None] for gate in self.person]  # (b, 1, 1)
            q, k, more = (size * layer(z) for size, layer, z in zip(sizes, self.relation, (x, y, y)))
            scores, v = scores + (q @ k.transpose(1, 2))[:, None], v + more[:, None]
        weights = (scores / math.sqrt(v.shape[-1])).masked_fill(~allowed, -torch.inf).softmax(dim=3)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A layer of the encoder or, with ``crossed``, of the decoder: attention to itself, to the history, two linear maps."""

    def __init__(self, dim: int, n_heads: int, dropout: float, relation: bool = False, crossed: bool = False) -> None:
        super().__init__()
        self.itself = Mixing(dim, n_heads, relation)
        self.crossed = Mixing(dim, n_heads) if crossed else None
        self.network = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(3 if crossed else 2)])
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: torch.Tensor, allowed: torch.Tensor, person: torch.Tensor | None = None,
        history: torch.Tensor | None = None, real: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """(b, n, dim) -> (b, n, dim); ``history`` (b, m, dim) and ``real`` (b, 1, 1, m) are for the decoder."""
        x = self.norms[0](x + self.dropout(self.itself(x, x, allowed, person)))
        if self.crossed is not None:
            x = self.norms[2](x + self.dropout(self.crossed(x, history, real)))
        return self.norms[1](x + self.dropout(self.network(x)))


class MMGRec(nn.Module):
    """What else would be in this set? Two layers read the set, two write the tokens of an item that was taken out of it.

    The encoder reads frozen item vectors z_i, without places: a history has no order here. The decoder reads the tokens so
    far, each with a vector of its level. Training takes one item out of a history and asks for it: a step is a (person,
    item) pair, and the history *does not hold the item*; in the release it does, so that the model can copy.

    Traps, decided: the person's vector is the mean of z_i over the history that the model sees, not a row of a table, so
    that anybody's list can be made; norms are part of the model, and tokens are of their level.

    Args:
        sequences: who learns from them. ids: the code table. vectors: (n_items, dim) z_i, for example of ``GraphSage``.
        seed: fixes the initial weights. settings: any name in DEFAULTS; ``relation`` switches the second term.

    Source: stage 2 of Liu et al., "MMGRec", arXiv 2404.16555.
    """

    name = "mmgrec"
    DEFAULTS = {"dim": 64, "n_layers": 2, "n_heads": 4, "dropout": 0.2, "length": 32, "relation": True}

    def __init__(
        self, sequences: Sequences, ids: SemanticIds, vectors: np.ndarray, seed: int = 0, **settings: Any
    ) -> None:
        super().__init__()
        for key in settings:
            if key not in self.DEFAULTS:
                raise suggest(key, self.DEFAULTS, "setting of mmgrec")
        if not ids.n_items == len(vectors) == sequences.n_items:
            raise CourseError(f"{ids.n_items} items have ids, {len(vectors)} vectors, and the sequences {sequences.n_items} items; "
                              "make all of one catalogue.")  # fmt: skip
        self.settings = {**self.DEFAULTS, **settings}
        self.n_items, self.length = sequences.n_items, self.settings["length"]
        dim, n_layers, n_heads, dropout = (self.settings[k] for k in ("dim", "n_layers", "n_heads", "dropout"))
        self.register_buffer(
            "content_vectors", torch.as_tensor(vectors / np.sqrt((vectors**2).mean()), dtype=torch.float32)
        )
        self.register_buffer("content_tokens", torch.from_numpy(ids.tokens))
        self.register_buffer("warm", torch.ones(self.n_items, dtype=torch.bool))  # where the model is; train_next asks
        self.trie = Trie.of(ids.tokens)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.project = nn.Linear(vectors.shape[1], dim)
            relation = self.settings["relation"]
            self.readers = nn.ModuleList([Layer(dim, n_heads, dropout, relation) for _ in range(n_layers)])
            self.writers = nn.ModuleList([Layer(dim, n_heads, dropout, crossed=True) for _ in range(n_layers)])
            self.tokens = nn.ModuleList([nn.Embedding(size, dim) for size in ids.sizes[:-1]])
            self.levels = nn.Embedding(len(ids.sizes), dim)
            self.out = nn.ModuleList([nn.Linear(dim, size) for size in ids.sizes])
