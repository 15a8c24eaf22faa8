"""A small eye for stamps, which can be differentiated: pixels in, what a large frozen encoder would say out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from utils.generation.cvae import CVAE
from utils.training import make_optimiser


class Eye(nn.Module):
    """A small picture encoder that can be differentiated: pixels -> the first axes of a frozen encoder's vectors.

    Args:
        mean: (d,), axes (d, dim): principal axes of the frozen vectors that it learns to say.
    """

    def __init__(self, mean: torch.Tensor, axes: torch.Tensor, size: int, width: int = 24, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("axes", axes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels = (3, width, 2 * width, 4 * width)
            self.net = nn.Sequential(*(
                layer for n_in, n_out in zip(channels, channels[1:])
                for layer in (nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.SiLU())
            ), nn.Flatten(), nn.Linear(4 * width * (size // 8) ** 2, axes.shape[1]))  # fmt: skip

    def project(self, vectors: torch.Tensor) -> torch.Tensor:
        """What the eye should say: frozen vectors (n, d) -> (n, dim), centred."""
        return (vectors - self.mean) @ self.axes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, s, s) -> (n, dim)."""
        return self.net(images)


@torch.no_grad()
def drawn_at_random(model: CVAE, n: int, seed: int = 0) -> torch.Tensor:
    """Pictures all over what a CVAE can draw, half of them in a mixture of colours: (n, 3, s, s)."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn((n, model.latent), generator=generator)
    pure = torch.randint(model.n_hues, (n,), generator=generator)
    mixed = (6 * torch.rand((n, model.n_hues), generator=generator) ** 3).softmax(dim=1)
    hues = torch.where((torch.arange(n) % 2 == 0)[:, None], F.one_hot(pure, model.n_hues).float(), mixed)
    kinds = F.one_hot(torch.randint(model.n_categories, (n,), generator=generator), model.n_categories).float()
    parts = zip(z.split(256), torch.cat([hues, kinds], dim=1).split(256))
    return torch.cat([model.draw(*part) for part in parts])


def train_eye(images: torch.Tensor, vectors: torch.Tensor, dim: int = 32, n_steps: int = 800, seed: int = 0) -> Eye:
    """Learn to say the frozen vectors (n, d) of pictures (n, 3, s, s): least squares, mirrored at random.

    Give it drawn pictures, too (`drawn_at_random`): an eye that knows real stamps only is at a loss before drawn ones.
    """
    mean = vectors.mean(dim=0)
    axes = torch.linalg.svd(vectors - mean, full_matrices=False).Vh[:dim].T
    eye = Eye(mean, axes, images.shape[-1], seed=seed)
    targets, optimiser = eye.project(vectors), make_optimiser(eye, 2e-3)
    spread, generator = targets.std(), torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        rows = torch.randint(len(images), (64,), generator=generator)
        mirrored = (torch.rand(64, generator=generator) < 0.5)[:, None, None, None]
        x = torch.where(mirrored, images[rows].flip(3), images[rows])
        loss = F.mse_loss(eye(x) / spread, targets[rows] / spread)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return eye.eval().requires_grad_(False)
