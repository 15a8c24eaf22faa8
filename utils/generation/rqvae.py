"""RQ-VAE: residual quantisation between an encoder and a decoder, and what keeps its codebooks from collapsing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError, suggest
from utils.generation.diagnostics import perplexity
from utils.generation.quantise import Codes, centres, check_vectors
from utils.training import make_optimiser

STARTS = ("kmeans", "uniform")


class RQVAE(nn.Module):
    """Encode, quantise level by level, decode: ids that are learned to reconstruct the item.

    r_1 = Enc(x); c_l = argmin_k |r_l - e_k^l|, r_(l+1) = r_l - e_(c_l)^l; q = sum_l e_(c_l)^l
    x^ = Dec(r_1 + sg[q - r_1]): argmin has no gradient, so that of the decoder goes straight through to the encoder
    loss = |x - x^|^2 + sum_l |sg[r_l] - e_(c_l)|^2 + commitment * sum_l |r_l - sg[e_(c_l)]|^2, means over all entries

    Traps, decided: a codebook that starts small and uniform leaves most codes without any item, and a code without items
    has no gradient: it stays dead. So codes start as k-means centres of the residuals, and dead ones are put where an
    item is. ``start="uniform"`` with ``revive=0`` is how MMGRec's release does it, kept for comparison: how much of the
    codebook is used at the first steps, and whether training repairs it, is a thing to measure on the data at hand.

    Args:
        dim: width of the vectors. seed: fixes the initial weights. settings: any name in DEFAULTS.

    Source: Lee et al., "Autoregressive Image Generation using Residual Quantization", CVPR 2022; Rajput et al., TIGER,
    NeurIPS 2023, arXiv 2305.05065, for items.
    """

    DEFAULTS = {"n_codes": 32, "n_levels": 3, "hidden": 128, "latent": 16, "commitment": 0.25, "start": "kmeans"}

    def __init__(self, dim: int, seed: int = 0, **settings: Any) -> None:
        super().__init__()
        for key in settings:
            if key not in self.DEFAULTS:
                raise suggest(key, self.DEFAULTS, "setting of the RQ-VAE")
        self.settings = {**self.DEFAULTS, **settings}
        if self.settings["start"] not in STARTS:
            raise suggest(self.settings["start"], STARTS, "start of a codebook")
        n_codes, n_levels, hidden, latent = (self.settings[k] for k in ("n_codes", "n_levels", "hidden", "latent"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, latent))
            self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, dim))
            books = torch.empty(n_levels, n_codes, latent).uniform_(-1 / n_codes, 1 / n_codes)
        self.codebooks = nn.Parameter(books)

    def quantise(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(n, latent) -> codes (n, n_levels) int64, what was left at each level and the code chosen for it, each
        (n_levels, n, latent)."""
        codes, residuals, chosen = [], [latents], []
        for book in self.codebooks:
            codes.append(torch.cdist(residuals[-1].detach(), book.detach()).argmin(dim=1))
            chosen.append(book[codes[-1]])
            residuals.append(residuals[-1] - chosen[-1].detach())
        return torch.stack(codes, dim=1), torch.stack(residuals[:-1]), torch.stack(chosen)

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, dim) -> the loss, and the codes (n, n_levels)."""
        latents = self.encoder(vectors)
        codes, residuals, chosen = self.quantise(latents)
        through = latents + (chosen.sum(0) - latents).detach()
        books = self.codebooks.shape[0] * F.mse_loss(chosen, residuals.detach())
        commitment = self.codebooks.shape[0] * F.mse_loss(residuals, chosen.detach())
        loss = F.mse_loss(self.decoder(through), vectors) + books + self.settings["commitment"] * commitment
        return loss, codes

    @torch.no_grad()
    def start_codebooks(self, vectors: torch.Tensor, seed: int = 0) -> None:
        """Put the codes of each level on the k-means centres of the residuals of that level."""
        left = self.encoder(vectors)
        for level, book in enumerate(self.codebooks):
            found = torch.as_tensor(centres(left.double().cpu().numpy(), len(book), seed + level), dtype=book.dtype)
            book[: len(found)] = found.to(book.device)
            left = left - book[torch.cdist(left, book).argmin(dim=1)]

    @torch.no_grad()
    def revive(self, vectors: torch.Tensor, generator: torch.Generator) -> int:
        """Put each code that no item has on the residual of an item, drawn at random; return how many there were."""
        codes, residuals, _ = self.quantise(self.encoder(vectors))
        revived = 0
        for level, book in enumerate(self.codebooks):
            dead = (torch.bincount(codes[:, level], minlength=len(book)) == 0).nonzero().ravel()
            drawn = torch.randperm(len(vectors), generator=generator)[: len(dead)].to(vectors.device)
            book[dead[: len(drawn)]] = residuals[level, drawn]
            revived += len(dead)
        return revived

    @torch.no_grad()
    def codes(self, vectors: np.ndarray) -> Codes:
        """Quantise items: their codes and the codebooks, whose rows add up to the latent, not to the item."""
        table = self.quantise(self.encoder(torch.as_tensor(vectors, dtype=torch.float32)))[0]
        n_levels, n_codes = self.codebooks.shape[:2]
        return Codes(table.cpu().numpy(), (n_codes,) * n_levels, ())


def train_rqvae(
    vectors: np.ndarray, *, n_steps: int = 600, lr: float = 3e-3, revive: int = 50, seed: int = 0, **settings: Any
) -> tuple[RQVAE, Codes, pd.DataFrame]:
    """Train on all items at once, a catalogue at a step; return the model, its codes, and a row for every ten steps.

    Args:
        vectors: (n_items, dim); they are centred and scaled to a mean squared length of dim here.
        revive: steps between two revivals of dead codes, in the first two thirds of the training; 0 = never.

    Returns:
        The table has the columns loss, r2 and perplexity_1, ...; index = step.

    Raises:
        CourseError: see ``check_vectors``; a loss that is not a number.
    """
    raw = check_vectors(vectors, {**RQVAE.DEFAULTS, **settings}["n_codes"])
    raw = raw - raw.mean(0)
    data = torch.as_tensor(raw / max(np.sqrt((raw**2).mean()), 1e-12), dtype=torch.float32)
    model, generator = RQVAE(data.shape[1], seed, **settings), torch.Generator().manual_seed(seed)
    if model.settings["start"] == "kmeans":
        model.start_codebooks(data, seed)
    optimiser, rows = make_optimiser(model, lr), {}
    for step in range(1, n_steps + 1):
        if revive and step % revive == 0 and step <= 2 * n_steps // 3:
            model.revive(data, generator)
        optimiser.zero_grad(set_to_none=True)
        loss, codes = model(data)
        if not torch.isfinite(loss):
            raise CourseError(f"RQ-VAE: the loss of step {step} is not a finite number; try a rate below {lr:g}.")
        loss.backward()
        optimiser.step()
        if step % 10 == 0 or step == 1:
            spread = {f"perplexity_{level + 1}": perplexity(part) for level, part in enumerate(codes.T.numpy())}
            rows[step] = {"loss": loss.item(), "r2": r2(model, data), **spread}
    return model, model.codes(data), pd.DataFrame.from_dict(rows, orient="index").rename_axis("step")


@torch.no_grad()
def r2(model: RQVAE, data: torch.Tensor) -> float:
    """1 - squared error of the decoded items / their squared length; the items are centred."""
    quantised = model.quantise(model.encoder(data))[2].sum(0)
    return float(1 - F.mse_loss(model.decoder(quantised), data) / data.square().mean())
