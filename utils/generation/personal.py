"""Personal pictures: a target is drawn again so that a user likes it more, and what that costs in likeness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from utils.errors import CourseError
from utils.generation.cvae import CVAE
from utils.generation.eye import Eye
from utils.generation.stamps import Stamps


def taste(liked: Sequence[int] | np.ndarray, vectors: torch.Tensor) -> torch.Tensor:
    """Direction of a user's taste: mean of what was liked minus mean of all, length 1: rows of (n, d) -> (d,).

    Raises:
        CourseError: nothing liked.
    """
    if not len(liked):
        raise CourseError("This user liked none of the stamps; there is no taste to draw for.")
    return F.normalize(vectors[torch.as_tensor(liked)].mean(dim=0) - vectors.mean(dim=0), dim=0)


def own_rows(stamps: Stamps) -> torch.Tensor:
    """Row of each stamp in the colour of the catalogue: (n_stamps,) int64; needs all stamps, as `load_stamps` gives them."""
    return torch.arange(len(stamps.own)) * (len(stamps.pictures) // len(stamps.own)) + torch.as_tensor(stamps.own)


def likeness(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 - |x - target|^2 / |white - target|^2, by picture: 1 = the same, 0 = as far as an empty page, below: farther."""
    apart = ((images - targets) ** 2).flatten(1).sum(dim=1)
    return 1 - apart / ((1 - targets) ** 2).flatten(1).sum(dim=1).clamp(min=1e-6)


@dataclass(frozen=True, eq=False)
class Personal:
    """Pictures (n, 3, s, s) made for users, the taste that was climbed (n,), and likeness to the target (n,)."""

    images: torch.Tensor
    taste: torch.Tensor
    likeness: torch.Tensor


def personalise(
    model: CVAE, eye: Eye, tastes: torch.Tensor, targets: torch.Tensor, hues: torch.Tensor, categories: torch.Tensor,
    alpha: float | torch.Tensor, *, eta: float = 0.002, n_steps: int = 100, lr: float = 0.05,
) -> Personal:  # fmt: skip
    """Climb alpha cos(E(G(z, c)), taste) + (1 - alpha) likeness(G(z, c), target) - eta |z|^2 in z and in the colours of c.

    The climb starts at the target itself (z = its mean, its own colour); the category stays, the hue is a mixture.

    Args:
        tastes: (n, dim) in the eye's axes. targets: (n, 3, s, s), with their hues and categories (n,).
        alpha: weight of the taste from 0 to 1, one for all or (n,).

    Raises:
        CourseError: alpha outside 0 to 1, tastes of another dimension.

    Source: Kang et al. (DVBPR), ICDM 2017, for the climb; Shen et al. (PMG), WWW 2024, for alpha.
    """
    alpha = torch.as_tensor(alpha, dtype=torch.float32).expand(len(targets))
    if alpha.min() < 0 or alpha.max() > 1:
        raise CourseError(f"alpha {alpha.tolist()} weighs taste against likeness; give 0 (likeness) to 1 (taste).")
    if tastes.shape != (len(targets), eye.axes.shape[1]):
        raise CourseError(f"tastes {tuple(tastes.shape)}; give one of {eye.axes.shape[1]} numbers for each target.")
    with torch.no_grad():
        z = model.encode(targets, hues, categories)[0].clone()
        colours = 4.0 * F.one_hot(hues, model.n_hues).float()  # softmax: 0.89 of the own colour, the others open
        kind = F.one_hot(categories, model.n_categories).float()
    z.requires_grad_(True)
    colours.requires_grad_(True)
    optimiser = torch.optim.Adam([z, colours], lr=lr)

    def draw() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        images = model.draw(z, torch.cat([colours.softmax(dim=1), kind], dim=1))
        return images, F.cosine_similarity(eye(images), tastes, dim=1), likeness(images, targets)

    for _ in range(n_steps):
        _, liked, like = draw()
        gain = alpha * liked + (1 - alpha) * like - eta * (z**2).sum(dim=1)
        optimiser.zero_grad(set_to_none=True)
        (-gain.sum()).backward()  # rows do not meet: each climbs alone
        optimiser.step()
    with torch.no_grad():
        return Personal(*draw())
