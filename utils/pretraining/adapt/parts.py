"""The small parts that adapt a frozen network: LoRA beside a linear map, an adapter after a block, a prompt before the words."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError


class LoRA(nn.Module):
    """A linear map, or a 1 x 1 convolution, and a map of low rank that learns beside it.

    y = W x + b + (alpha / r) B A x, A (r, in) drawn at random, B (out, r) zero: at the start y is what it was.

    ``weight`` is the sum of both, so that whoever reads the weight instead of calling the map reads what was learned, too:
    torch's own transformer layer does so in eval() (``trap.py``).

    Args:
        base: ``nn.Linear``, or ``nn.Conv2d`` with a kernel of 1 x 1 and one group, which is a linear map at each place.
        rank: r; B A has rank r at most.
        alpha: scale of what is learned, as alpha / r.

    Raises:
        CourseError: another kind of map, or a rank that is no saving.

    Source: Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022.
    """

    def __init__(self, base: nn.Linear | nn.Conv2d, rank: int = 4, alpha: float = 8.0) -> None:
        super().__init__()
        if not is_linear(base):
            raise CourseError(
                f"LoRA needs a linear map or a 1 x 1 convolution of one group, not {base}; choose other targets."
            )
        n_out, n_in = base.weight.shape[:2]
        if not 1 <= rank <= min(n_in, n_out):
            raise CourseError(
                f"rank={rank} must lie between 1 and {min(n_in, n_out)} for a map from {n_in} to {n_out}."
            )
        self.base, self.scale = base.requires_grad_(False), alpha / rank
        self.A, self.B = nn.Parameter(torch.empty(rank, n_in)), nn.Parameter(torch.zeros(n_out, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    @property
    def weight(self) -> torch.Tensor:
        """W + (alpha / r) B A, of W's shape."""
        return self.base.weight + (self.scale * self.B @ self.A).view_as(self.base.weight)

    @property
    def bias(self) -> torch.Tensor | None:
        """The base's own."""
        return self.base.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out), or (b, in, h, w) -> (b, out, h', w')."""
        if isinstance(self.base, nn.Linear):
            return self.base(x) + self.scale * F.linear(F.linear(x, self.A), self.B)
        low = F.conv2d(x, self.A[:, :, None, None], stride=self.base.stride)
        return self.base(x) + self.scale * F.conv2d(low, self.B[:, :, None, None])

    def merged(self) -> nn.Linear | nn.Conv2d:
        """The base with what was learned written into its weight: one map, as fast as before; changes the base."""
        with torch.no_grad():
            self.base.weight.copy_(self.weight)
        return self.base


def is_linear(module: nn.Module) -> bool:
    """Say whether LoRA can stand beside a module."""
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1 and set(module.padding) == {0}
    return isinstance(module, nn.Linear)


class Adapter(nn.Module):
    """A bottleneck with a way around it: x + W_up relu(W_down x + b) + c; W_up and c are zero, so that it starts as identity.

    Args:
        dim: width of what it stands behind.
        width: of the bottleneck.
        channels_first: the input is a map (b, dim, h, w); the bottleneck then works at each place.

    Source: Houlsby et al., "Parameter-efficient transfer learning for NLP", ICML 2019.
    """

    def __init__(self, dim: int, width: int = 16, channels_first: bool = False) -> None:
        super().__init__()
        self.down, self.up, self.channels_first = nn.Linear(dim, width), nn.Linear(width, dim), channels_first
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., dim) -> the same shape, or (b, dim, h, w) -> the same."""
        y = x.movedim(1, -1) if self.channels_first else x
        y = self.up(F.relu(self.down(y)))
        return x + (y.movedim(-1, 1) if self.channels_first else y)


class WithAdapter(nn.Module):
    """A block of a network with an adapter behind it; what else the block returns is handed on."""

    def __init__(self, block: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.block, self.adapter = block, adapter

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the block takes and returns."""
        found = self.block(*inputs, **named)
        return (self.adapter(found[0]), *found[1:]) if isinstance(found, tuple) else self.adapter(found)


class Prompt(nn.Module):
    """Learned vectors in front of the vectors of the words: (b, L, dim) -> (b, n_tokens + L, dim).

    They start as the vectors of words drawn at random, which learn faster than noise.

    Source: Lester et al., "The power of scale for parameter-efficient prompt tuning", EMNLP 2021.
    """

    def __init__(self, words: torch.Tensor, n_tokens: int = 8) -> None:
        super().__init__()
        drawn = torch.randint(len(words), (n_tokens,))
        self.tokens = nn.Parameter(words.detach()[drawn].clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Put the prompt in front of every row."""
        return torch.cat([self.tokens.expand(len(x), -1, -1), x], dim=1)
