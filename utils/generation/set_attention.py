"""Attention for MMGRec: over a set, with a term that depends on the person, and from tokens to that set."""

from __future__ import annotations

import math

import torch
from torch import nn


class Mixing(nn.Module):
    """Attention of some rows to others, and with ``relation`` a second term that depends on whose history it is.

    scores = (X W_Q (Y W_K)^T + s_q(u) s_k(u) X U_Q (Y U_K)^T) / sqrt(d / heads)
    out = W_O softmax(scores) (Y W_V + s_v(u) Y U_V), s_*(u) = w^T relu(W z_u) + bias, one number a person

    The U are of one head and serve all heads. Without ``relation`` the second terms fall away.
    """

    def __init__(self, dim: int, n_heads: int, relation: bool = False) -> None:
        super().__init__()
        self.n_heads, size = n_heads, dim // n_heads
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.out = nn.Linear(dim, dim)
        made = range(3) if relation else ()  # for queries, keys and values
        self.relation = nn.ModuleList([nn.Linear(dim, size, bias=False) for _ in made])
        self.gates = nn.ModuleList([nn.Sequential(nn.Linear(dim, size), nn.ReLU(), nn.Linear(size, 1)) for _ in made])

    def forward(
        self, x: torch.Tensor, y: torch.Tensor, allowed: torch.Tensor, person: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(b, n, dim), (b, m, dim), who may look at whom (b or 1, 1, n or 1, m) bool, (b, dim) -> (b, n, dim)."""
        parts = self.query(x), self.key(y), self.value(y)
        q, k, v = (part.unflatten(2, (self.n_heads, -1)).transpose(1, 2) for part in parts)  # (b, heads, n, size)
        scores = q @ k.transpose(2, 3)
        if len(self.relation):
            sizes = [gate(person)[:, None] for gate in self.gates]  # (b, 1, 1)
            q, k, more = (size * layer(rows) for size, layer, rows in zip(sizes, self.relation, (x, y, y)))
            scores, v = scores + (q @ k.transpose(1, 2))[:, None], v + more[:, None]
        weights = (scores / math.sqrt(v.shape[-1])).masked_fill(~allowed, -torch.inf).softmax(dim=3)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Reader(nn.Module):
    """A layer over the items of a history, in no order: attention and two linear maps, each added and normalised."""

    def __init__(self, dim: int, n_heads: int, dropout: float, relation: bool) -> None:
        super().__init__()
        self.itself, self.dropout = Mixing(dim, n_heads, relation), nn.Dropout(dropout)
        self.network = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(2)])

    def forward(self, x: torch.Tensor, real: torch.Tensor, person: torch.Tensor) -> torch.Tensor:
        """(b, m, dim), which of them are items (b, m) bool, and the person (b, dim) -> (b, m, dim)."""
        x = self.norms[0](x + self.dropout(self.itself(x, x, real[:, None, None], person)))
        return self.norms[1](x + self.dropout(self.network(x)))


class TokenLayer(nn.Module):
    """A layer over the tokens so far: attention to those before, to the history, and two linear maps."""

    def __init__(self, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.itself, self.history = Mixing(dim, n_heads), Mixing(dim, n_heads)
        self.network = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.norms, self.dropout = nn.ModuleList([nn.LayerNorm(dim) for _ in range(3)]), nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, history: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """(b, n, t, dim) tokens of n ids, (b, m, dim) and (b, m) bool of the history -> (b, n, t, dim)."""
        length = x.shape[2]
        past = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()[None, None]
        rows = x.flatten(0, 1)
        x = self.norms[0](x + self.dropout(self.itself(rows, rows, past).view_as(x)))
        rows = x.flatten(1, 2)  # tokens of all ids of a history look at it at once
        x = self.norms[1](x + self.dropout(self.history(rows, history, real[:, None, None]).view_as(x)))
        return self.norms[2](x + self.dropout(self.network(x)))
