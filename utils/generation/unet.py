"""A small U-Net that reads a noisy stamp, the time and the condition, and says which way the picture lies."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError


def time_waves(t: torch.Tensor, dim: int) -> torch.Tensor:
    """Sines and cosines of the time step: (b,) -> (b, dim). Source: Vaswani et al., NeurIPS 2017, section 3.5."""
    rates = torch.exp(-math.log(10_000) * torch.arange(dim // 2, device=t.device) / (dim // 2))
    angles = t.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Block(nn.Module):
    """Two convolutions beside a short cut; between them the condition scales and shifts the channels.

    h = C1(act(N(x))), h = N(h) (1 + scale) + shift, out = C2(act(h)) + x
    """

    def __init__(self, n_in: int, n_out: int, dim: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, n_in), nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, n_out), nn.Conv2d(n_out, n_out, 3, padding=1)
        self.told = nn.Linear(dim, 2 * n_out)
        self.short = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """(b, n_in, s, s) and (b, dim) -> (b, n_out, s, s)."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.told(told)[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.conv2(F.silu(h)) + self.short(x)


class Attention(nn.Module):
    """Every place looks at every other: at the coarsest scale, where that costs little."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.GroupNorm(8, n), nn.Conv2d(n, 3 * n, 1), nn.Conv2d(n, n, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, n, s, s) -> the same shape."""
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)  # (b, s s, n) each
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(h.transpose(1, 2).reshape(x.shape))


class UNet(nn.Module):
    """v_theta(x_t, t, c) on three scales, see `noise_in` in diffusion.py; the last hue and the last category stand for "not told".

    Args:
        n_hues, n_categories: conditions that are learned, without "not told".
        width: channels at full size; twice as many below. dim: of what the blocks are told.
    """

    def __init__(self, n_hues: int, n_categories: int, width: int = 32, dim: int = 96, seed: int = 0) -> None:
        super().__init__()
        self.n_hues, self.n_categories, self.dim = n_hues, n_categories, dim
        w, v = width, 2 * width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.time = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
            self.hue, self.category = nn.Embedding(n_hues + 1, dim), nn.Embedding(n_categories + 1, dim)
            self.first = nn.Conv2d(3, w, 3, padding=1)
            self.down1, self.half1 = Block(w, w, dim), nn.Conv2d(w, v, 3, stride=2, padding=1)
            self.down2, self.half2 = Block(v, v, dim), nn.Conv2d(v, v, 3, stride=2, padding=1)
            self.middle1, self.look, self.middle2 = Block(v, v, dim), Attention(v), Block(v, v, dim)
            self.up2, self.up1 = Block(2 * v, v, dim), Block(v + w, w, dim)
            self.last = nn.Sequential(nn.GroupNorm(8, w), nn.SiLU(), nn.Conv2d(w, 3, 3, padding=1))
            nn.init.zeros_(self.last[2].weight)  # starts at 0: the first steps break nothing

    def not_told(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Hues and categories of n pictures without a condition."""
        return torch.full((n,), self.n_hues), torch.full((n,), self.n_categories)

    def forward(self, x: torch.Tensor, t: torch.Tensor, hues: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        """(b, 3, s, s), and (b,) each -> (b, 3, s, s).

        Raises:
            CourseError: pictures of a shape that cannot be halved twice.
        """
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % 4 or x.shape[3] % 4:
            raise CourseError(f"The U-Net got {tuple(x.shape)}; give (n, 3, size, size), the size a multiple of 4.")
        told = F.silu(self.time(time_waves(t, self.dim)) + self.hue(hues) + self.category(categories))
        full = self.down1(self.first(x), told)
        half = self.down2(self.half1(full), told)
        h = self.middle2(self.look(self.middle1(self.half2(half), told)), told)
        h = self.up2(torch.cat([F.interpolate(h, scale_factor=2), half], dim=1), told)
        h = self.up1(torch.cat([F.interpolate(h, scale_factor=2), full], dim=1), told)
        return self.last(h)
