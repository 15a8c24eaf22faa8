"""A small decoder that writes the tokens of an item, one after the other, given the state of a history."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from utils.generation.writer import Writer


class DepthDecoder(Writer):
    """p(item | h) = prod_l p(c_l | h, c_1 ... c_(l-1)): at each level a network of two layers says how likely each token is.

    hidden_l = relu(A_l h + sum_{j < l} B_lj[c_j]), log p(. | ...) = log softmax(W_l hidden_l + b_l)

    The first layer is a sum of what the history says and what the tokens so far say, so that a prefix shared by many items
    is worked out once: all items of a catalogue are scored exactly.

    Args:
        dim: width of the state h. sizes: tokens of each level. hidden: width of hidden_l.
    """

    def __init__(self, dim: int, sizes: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.sizes, self.width = tuple(sizes), hidden
        self.of_state = nn.ModuleList([nn.Linear(dim, hidden) for _ in sizes])
        self.of_tokens = nn.ModuleList(
            [nn.ModuleList([nn.Embedding(size, hidden) for size in sizes[:level]]) for level in range(len(sizes))]
        )
        self.out = nn.ModuleList([nn.Linear(hidden, size) for size in sizes])

    def so_far(self, level: int, prefixes: torch.Tensor) -> torch.Tensor:
        """(..., level) tokens -> (..., hidden): what they add to hidden_l before the relu; 0 for the first level."""
        tables = self.of_tokens[level]
        if not len(tables):
            return prefixes.new_zeros(prefixes.shape[:-1] + (1,), dtype=torch.float32)
        return sum(table(prefixes[..., place]) for place, table in enumerate(tables))

    def logits(self, level: int, states: torch.Tensor, prefixes: torch.Tensor) -> torch.Tensor:
        """See ``Writer``: states (b, dim)."""
        return self.out[level](torch.relu(self.of_state[level](states)[:, None] + self.so_far(level, prefixes)))

    def loss(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Teacher forcing: the mean over n steps of -log p(item), for states (n, dim) and tokens (n, n_levels)."""
        parts = [
            F.cross_entropy(self.logits(level, states, tokens[:, None, :level])[:, 0], tokens[:, level])
            for level in range(len(self.sizes))
        ]
        return sum(parts)
