"""Parts of a history in two streams: pooling with attention, a mixture of experts, dropped items, streams that mix."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class AttentionPooling(nn.Module):
    """Many vectors of an item become one: a = softmax_j(w . x_j), e = sum_j a_j x_j, over what is there.

    w is trained with the rest. The released code copies the pooled vectors into a frozen table, and so w never gets a
    gradient. It also writes w as two linear layers with biases: without anything between they are one, and a softmax drops
    what all its logits share.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(dim, 1, bias=False)

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(n, most, dim) vectors and (n, most) bool -> (n, dim); 0 where an item has none."""
        logits = self.weigh(vectors).squeeze(2).masked_fill(~mask, -torch.inf)
        logits = logits.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)  # a softmax over nothing would be NaN
        return (logits.softmax(dim=1)[:, None] @ vectors).squeeze(1)


class Experts(nn.Module):
    """A mixture of experts: z = sum_k g_k(e) norm_k(dropout(W_k e + b_k)), g = softmax(e W_g).

    Source: the adapter of UniSRec (Hou et al., KDD 2022) with a layer norm, as MP4SR has it; the noise on the gates, which
    its code holds and does not use, is left out.
    """

    def __init__(self, dim_in: int, dim: int, n_experts: int, dropout: float) -> None:
        super().__init__()
        self.gate = nn.Linear(dim_in, n_experts, bias=False)
        self.experts = nn.Linear(dim_in, n_experts * dim)
        nn.init.zeros_(self.experts.bias)  # as large as what is said of an item, it would make all items alike
        self.scale, self.shift = nn.Parameter(torch.ones(n_experts, dim)), nn.Parameter(torch.zeros(n_experts, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, e: torch.Tensor) -> torch.Tensor:
        """(n, dim_in) -> (n, dim)."""
        found = self.dropout(self.experts(e)).view(len(e), *self.scale.shape)  # (n, n_experts, dim)
        found = F.layer_norm(found, found.shape[2:]) * self.scale + self.shift
        return (self.gate(e).softmax(dim=1)[:, :, None] * found).sum(dim=1)


def drop_items(histories: torch.Tensor, most: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """Leave items of histories out at random: (b, L) item_ids, -1 = padding on the left -> the same shape.

    p is drawn between 0 and ``most`` once for the batch, and each item is dropped with probability p. The first item is
    always kept, as published, and so is the last: it is the one to be found.
    """
    p = most * torch.rand((), generator=generator).to(histories.device)
    drawn = torch.rand(histories.shape, generator=generator).to(histories.device)
    real = histories >= 0
    first = real & (real.cumsum(dim=1) == 1)
    keep = real & ((drawn >= p) | first)
    keep[:, -1] = real[:, -1]
    order = keep.int().argsort(dim=1, stable=True)  # what is gone moves to the left, the rest keeps its order
    return torch.where(keep, histories, -1).gather(1, order)


def swaps(real: torch.Tensor, most: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw the places at which two streams exchange their vectors: (b, L) bool, True = an item -> (b, L) bool.

    p is drawn between 0 and ``most`` once for the batch; padding is never among the places.
    """
    p = most * torch.rand((), generator=generator).to(real.device)
    return real & (torch.rand(real.shape, generator=generator).to(real.device) < p)


def exchange(one: torch.Tensor, other: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Complementary mixup: what leaves one stream (b, L, dim) at the ``places`` (b, L) enters the other."""
    places = places[:, :, None]
    return torch.where(places, other, one), torch.where(places, one, other)
