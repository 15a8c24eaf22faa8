"""Diffusion: pictures drowned in noise step by step, a network that says what the noise was, and the way back (DDIM)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from utils.errors import CourseError
from utils.generation.unet import UNet

STEPS = 200  # of the way into noise
DROPPED = 0.1  # share of the pictures of a batch whose condition is not told


def cosine_schedule(n_steps: int = STEPS, offset: float = 0.008) -> torch.Tensor:
    """abar_1 ... abar_T, how much of the picture is left: (n_steps,) float64, falling from about 1 to about 0.

    f(t) = cos^2(pi/2 (t/T + s) / (1 + s)), abar_t = prod (1 - beta), beta = 1 - f(t) / f(t - 1), at most 0.999

    Source: Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models", ICML 2021, equation 17.
    """
    t = torch.arange(n_steps + 1, dtype=torch.float64) / n_steps
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    return (f[1:] / f[:-1]).clamp(min=0.001).cumprod(dim=0)


def noised(x0: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps: (b, 3, s, s); t (b,) from 0, ``left`` as `cosine_schedule` gives it."""
    a = left[t].to(x0.dtype)[:, None, None, None]
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def noise_in(v: torch.Tensor, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """eps_theta = sqrt(abar_t) v_theta + sqrt(1 - abar_t) x_t: what of x_t is noise, when the network says v.

    v = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0 is neither tiny nor huge at any t. A network that says eps itself must be
    right to the last digit at the noisy end, where x_0 is divided by sqrt(abar_T), here 0.0002.

    Source: Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", ICLR 2022, appendix D.
    """
    return a.sqrt() * v + (1 - a).sqrt() * x


def clean(x: torch.Tensor, noise: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """x_0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t), the picture that is left when the noise is taken out."""
    return (x - (1 - a).sqrt() * noise) / a.sqrt()


def guided(told: torch.Tensor, untold: torch.Tensor, weight: float) -> torch.Tensor:
    """eps = (1 + w) eps(c) - w eps(none): w = -1 ignores the condition, 0 follows it, above 0 exaggerates it.

    Source: Ho and Salimans, "Classifier-Free Diffusion Guidance", arXiv 2207.12598, equation 6.
    """
    return (1 + weight) * told - weight * untold


def diffusion_loss(
    model: UNet, x0: torch.Tensor, hues: torch.Tensor, categories: torch.Tensor, left: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:  # fmt: skip
    """|eps - eps_theta(x_t, t, c)|^2 / abar_t = |v - v_theta|^2, mean over a batch; one condition in ten is not told.

    Source: Ho et al., "Denoising Diffusion Probabilistic Models", NeurIPS 2020, equation 14.
    """
    n = len(x0)
    t = torch.randint(len(left), (n,), generator=generator)
    noise = torch.randn(x0.shape, generator=generator)
    dropped = torch.rand(n, generator=generator) < DROPPED
    none = model.not_told(n)
    hues, categories = torch.where(dropped, none[0], hues), torch.where(dropped, none[1], categories)
    a = left[t].to(x0.dtype)[:, None, None, None]
    v = a.sqrt() * noise - (1 - a).sqrt() * x0
    return F.mse_loss(model(noised(x0, t, noise, left), t, hues, categories).float(), v)


@torch.no_grad()
def ddim(
    model: UNet, hues: torch.Tensor, categories: torch.Tensor, weight: float = 1.0, *, size: int, n_steps: int = 20,
    left: torch.Tensor | None = None, seed: int = 0, noise: torch.Tensor | None = None,
    watch: Callable[[int, torch.Tensor], None] | None = None,
) -> torch.Tensor:  # fmt: skip
    """Draw one picture for each condition, from noise to picture in ``n_steps`` steps without further chance.

    x_0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t), cut to -1 ... 1; x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s) eps

    Args:
        hues, categories: (n,) int64; ``model.not_told(n)`` asks for nothing.
        weight: of the guidance; -1 and 0 cost one pass of the network a step, others two.
        seed: of the noise, or ``noise`` (n, 3, size, size) itself. watch: called with (step, x_0 so far).

    Returns:
        (n, 3, size, size) from -1 to 1.

    Raises:
        CourseError: conditions of different number, a number of steps that the schedule has not.

    Source: Song et al., "Denoising Diffusion Implicit Models", ICLR 2021, equation 12 with sigma = 0.
    """
    left = cosine_schedule() if left is None else left
    if hues.shape != categories.shape or hues.ndim != 1:
        raise CourseError(
            f"{tuple(hues.shape)} hues and {tuple(categories.shape)} categories; give one of each a picture."
        )
    if not 1 <= n_steps <= len(left):
        raise CourseError(f"{n_steps} steps: the way into noise has {len(left)}; give 1 to {len(left)}.")
    n, none = len(hues), model.not_told(len(hues))
    x = torch.randn((n, 3, size, size), generator=torch.Generator().manual_seed(seed)) if noise is None else noise
    times = torch.linspace(len(left) - 1, 0, n_steps).round().long().tolist()
    for step, t in enumerate(times):
        now, a = torch.full((n,), t), left[t].float()
        if weight == -1:
            v = model(x, now, *none)
        elif weight == 0:
            v = model(x, now, hues, categories)
        else:
            both = (torch.cat([x, x]), torch.cat([now, now]))
            told, untold = model(*both, torch.cat([hues, none[0]]), torch.cat([categories, none[1]])).chunk(2)
            v = guided(told, untold, weight)  # eps is linear in v: the same weights, the same guidance
        x0 = clean(x, noise_in(v, x, a), a).clamp(-1, 1)
        if watch is not None:
            watch(step, x0)
        after = left[times[step + 1]].float() if step + 1 < len(times) else torch.tensor(1.0)
        eps = (x - a.sqrt() * x0) / (1 - a).sqrt()  # the noise that fits the picture which was cut
        x = after.sqrt() * x0 + (1 - after).sqrt() * eps
    return x
