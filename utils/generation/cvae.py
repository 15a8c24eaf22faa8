"""A conditional variational autoencoder of stamps: a picture and its condition become a point, and points become pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError

LATENT = 24


class CVAE(nn.Module):
    """Maximise E_q(z|x,c) log p(x|z,c) - beta KL(q(z|x,c) || N(0, I)), with the condition given to both sides.

    Args:
        size: pixels a side, a multiple of 8. latent: numbers of z. width: channels at half size.

    Source: Kingma and Welling, ICLR 2014; Sohn et al., "Learning Structured Output Representation using Deep Conditional
    Generative Models", NIPS 2015; beta: Higgins et al., ICLR 2017.
    """

    def __init__(
        self, n_hues: int, n_categories: int, size: int = 24, latent: int = LATENT, width: int = 32, seed: int = 0
    ) -> None:
        super().__init__()
        self.n_hues, self.n_categories, self.size, self.latent = n_hues, n_categories, size, latent
        self.side, self.deep = size // 8, 4 * width
        known, cells = n_hues + n_categories, self.deep * self.side**2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels = (3 + known, width, 2 * width, 4 * width)
            self.encoder = nn.Sequential(*(
                layer for n_in, n_out in zip(channels, channels[1:])
                for layer in (nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.SiLU())
            ))  # fmt: skip
            self.to_latent = nn.Linear(cells, 2 * latent)
            self.from_latent = nn.Linear(latent + known, cells)
            channels = (4 * width, 2 * width, width, width)
            self.decoder = nn.Sequential(*(
                layer for n_in, n_out in zip(channels, channels[1:])
                for layer in (nn.SiLU(), nn.Upsample(scale_factor=2), nn.Conv2d(n_in, n_out, 3, padding=1))
            ), nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1))  # fmt: skip

    def known(self, hues: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        """The condition as ones and zeros: (b,), (b,) -> (b, n_hues + n_categories)."""
        return torch.cat([F.one_hot(hues, self.n_hues), F.one_hot(categories, self.n_categories)], dim=1).float()

    def encode(
        self, x: torch.Tensor, hues: torch.Tensor, categories: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the variance of q(z|x,c): (b, 3, size, size) -> (b, latent) each.

        Raises:
            CourseError: pictures of another size.
        """
        if x.shape[1:] != (3, self.size, self.size):
            raise CourseError(f"The CVAE got {tuple(x.shape)}; it was made for (n, 3, {self.size}, {self.size}).")
        planes = self.known(hues, categories)[:, :, None, None].expand(-1, -1, self.size, self.size)
        return tuple(self.to_latent(self.encoder(torch.cat([x, planes], dim=1)).flatten(1)).chunk(2, dim=1))

    def decode(self, z: torch.Tensor, hues: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        """(b, latent) and a condition -> (b, 3, size, size), from -1 to 1."""
        return self.draw(z, self.known(hues, categories))

    def draw(self, z: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """As `decode`, with a condition in shares: (b, latent) and (b, n_hues + n_categories) -> (b, 3, size, size)."""
        cells = self.from_latent(torch.cat([z, known], dim=1))
        return torch.tanh(self.decoder(cells.reshape(-1, self.deep, self.side, self.side)))

    @torch.no_grad()
    def sample(self, hues: torch.Tensor, categories: torch.Tensor, seed: int = 0) -> torch.Tensor:
        """One picture for each condition, z drawn from N(0, I): (n,), (n,) -> (n, 3, size, size)."""
        z = torch.randn((len(hues), self.latent), generator=torch.Generator().manual_seed(seed))
        return self.decode(z, hues, categories)


def kl(mean: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, var) || N(0, I)) = 1/2 sum(mean^2 + var - 1 - log var), of each row: (b, latent) twice -> (b,)."""
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(dim=1)


def cvae_loss(
    model: CVAE, x: torch.Tensor, hues: torch.Tensor, categories: torch.Tensor, generator: torch.Generator,
    beta: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Squared error (a Gaussian p(x|z,c) of variance 1/2) summed over pixels, and beta KL: means over the batch, each ()."""
    mean, log_var = model.encode(x, hues, categories)
    z = mean + (0.5 * log_var).exp() * torch.randn(mean.shape, generator=generator)
    error = ((model.decode(z, hues, categories) - x) ** 2).flatten(1).sum(dim=1)
    return error.mean(), beta * kl(mean, log_var).mean()


@torch.no_grad()
def interpolate(
    model: CVAE, one: torch.Tensor, other: torch.Tensor, hues: torch.Tensor, categories: torch.Tensor, n: int = 8
) -> torch.Tensor:
    """Walk in a straight line from z of one picture to z of another: (3, size, size) twice -> (n, 3, size, size).

    Args:
        hues, categories: (2,) the conditions of both; the condition is walked, too, in equal steps.
    """
    z, _ = model.encode(torch.stack([one, other]), hues, categories)
    known, share = model.known(hues, categories), torch.linspace(0, 1, n)[:, None]
    return model.draw((1 - share) * z[0] + share * z[1], (1 - share) * known[0] + share * known[1])
