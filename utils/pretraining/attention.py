"""Causal self-attention, as small as it can be read: what may be attended to, and one block of it."""

from __future__ import annotations

import math

import torch
from torch import nn


def attendable(real: torch.Tensor) -> torch.Tensor:
    """Return who may look at whom: (b, L) bool, True = an item, False = padding -> (b, 1, L, L) bool, row looks at column.

    An item sees itself and what came before it, never what comes later, and never padding. Padding sees itself alone: a
    row without anything to see would be a softmax over nothing, which is NaN and spreads.
    """
    length = real.shape[1]
    past = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=real.device)
    return ((past & real[:, None, :]) | itself)[:, None]


class Block(nn.Module):
    """One block: attention over the past, then a network of two layers; each is added to its input and normalised.

    a = softmax(q k^T / sqrt(d / heads)) over what ``attendable`` allows
    x = norm(x + out(a v)), x = norm(x + W_2 gelu(W_1 x))

    q, k and v have no bias: one of the keys is the same for all of them, and a softmax drops what all share. The block is
    written out, so that train() and eval() run the same lines; torch's own encoder has a fast path in eval().

    Source: Vaswani et al., "Attention is all you need", 2017, with the order of the norms in S3-Rec's code.
    """

    def __init__(self, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.network = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.norms = nn.ModuleList([nn.LayerNorm(dim), nn.LayerNorm(dim)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """(b, L, dim) states and (b, 1, L, L) of ``attendable`` -> (b, L, dim)."""
        b, length, dim = x.shape
        parts = self.query_key_value(x).view(b, length, 3, self.n_heads, dim // self.n_heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # each (b, heads, L, dim / heads)
        logits = queries @ keys.transpose(2, 3) / math.sqrt(dim // self.n_heads)
        weights = logits.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
        mixed = (self.dropout(weights) @ values).transpose(1, 2).reshape(b, length, dim)
        x = self.norms[0](x + self.dropout(self.out(mixed)))
        return self.norms[1](x + self.dropout(self.network(x)))
