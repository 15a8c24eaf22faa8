"""Search by a picture and words, "this one, but in red": a space of pictures and words, and ways to put the two together."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from utils.losses import info_nce
from utils.training import make_optimiser

TEMPERATURE = 0.07


class TwoTower(nn.Module):
    """One space for pictures and words, on frozen encoders: a picture and its caption are neighbours.

    v = norm(V(picture)), t = norm(T(words)), V and T networks of two layers; loss: InfoNCE in both directions

    Source: the contrastive loss of CLIP, Radford et al., ICML 2021, on vectors that are already there.
    """

    def __init__(self, picture_dim: int, word_dim: int, dim: int = 64, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.pictures = nn.Sequential(nn.Linear(picture_dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))
            self.words = nn.Sequential(nn.Linear(word_dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def forward(self, pictures: torch.Tensor, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(b, picture_dim) and (b, word_dim) -> both (b, dim), of length 1."""
        return F.normalize(self.pictures(pictures), dim=1), F.normalize(self.words(words), dim=1)


class Combiner(nn.Module):
    """Learn how much of the picture and how much of the words the wanted picture has, and what neither says.

    q = norm(g v + (1 - g) t + M([v; t])), g = sigmoid(G([v; t])), M and G networks of two layers

    Source: Baldrati et al., "Effective Conditioned and Composed Image Retrieval Combining CLIP-Based Features", CVPR 2022.
    """

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.gate = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, 1))
            self.more = nn.Sequential(nn.Linear(2 * dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))

    def forward(self, pictures: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """(b, dim) of the reference and (b, dim) of the words -> (b, dim) of length 1."""
        both = torch.cat([pictures, words], dim=1)
        gate = torch.sigmoid(self.gate(both))
        return F.normalize(gate * pictures + (1 - gate) * words + self.more(both), dim=1)


def weighted(pictures: torch.Tensor, words: torch.Tensor, weight: float) -> torch.Tensor:
    """q = norm((1 - w) v + w t): nothing is trained; w = 0 is the picture alone, w = 1 the words alone."""
    return F.normalize((1 - weight) * pictures + weight * words, dim=1)


def direction(pictures: torch.Tensor, wanted: torch.Tensor, given: torch.Tensor, weight: float = 1.0) -> torch.Tensor:
    """q = norm(v + w (t_wanted - t_given)): go where the words go, from "red" (what it is) to "blue" (what it should be)."""
    return F.normalize(pictures + weight * (wanted - given), dim=1)


def train_towers(
    pictures: np.ndarray, captions: np.ndarray, dim: int = 64, n_steps: int = 300, lr: float = 1e-3, seed: int = 0
) -> TwoTower:
    """Train on pairs (row k of ``pictures`` with row k of ``captions``), 256 of them a step, drawn with ``seed``."""
    model = TwoTower(pictures.shape[1], captions.shape[1], dim, seed)
    v, t = (torch.as_tensor(matrix, dtype=torch.float32) for matrix in (pictures, captions))
    optimiser, generator = make_optimiser(model, lr), torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        rows = torch.randperm(len(v), generator=generator)[:256]
        optimiser.zero_grad(set_to_none=True)
        info_nce(*model(v[rows], t[rows]), TEMPERATURE, symmetric=True).backward()
        optimiser.step()
    return model.eval()


def train_combiner(
    references: torch.Tensor,
    words: torch.Tensor,
    targets: torch.Tensor,
    n_steps: int = 500,
    lr: float = 1e-3,
    seed: int = 0,
) -> Combiner:
    """Train on triplets (n, dim) each, in the space of the towers, so that q finds its target among those of the batch."""
    model = Combiner(references.shape[1], seed)
    optimiser, generator = make_optimiser(model, lr), torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        rows = torch.randperm(len(references), generator=generator)[:256]
        optimiser.zero_grad(set_to_none=True)
        info_nce(model(references[rows], words[rows]), targets[rows], TEMPERATURE).backward()
        optimiser.step()
    return model.eval()


def best(queries: torch.Tensor, gallery: torch.Tensor, references: torch.Tensor, top_k: int = 5) -> torch.Tensor:
    """The closest pictures of each query, the reference itself left out: (n, top_k) places in the gallery.

    Args:
        queries (n, dim), gallery (m, dim), of length 1; references (n,) the place of each query's own picture, -1 = none.
    """
    scores = queries @ gallery.T
    rows = (references >= 0).nonzero().ravel()
    scores[rows, references[rows]] = -torch.inf
    return scores.sort(dim=1, descending=True, stable=True).indices[:, :top_k]


def judged(found: torch.Tensor, targets: torch.Tensor, stamps: torch.Tensor, colours: torch.Tensor) -> dict[str, float]:
    """What composed search is worth, where the answer is known.

    Args:
        found: (n, k) places in the gallery, best first. targets: (n,) the right ones.
        stamps, colours: (m,) which stamp and which colour each picture of the gallery is.

    Returns:
        r@1, r@5 (as far as k goes); changed = the first has the colour asked for, kept = it is the stamp of the reference.
    """
    hits = found == targets[:, None]
    recalls = {f"r@{k}": hits[:, :k].any(dim=1).float().mean().item() for k in (1, 5) if k <= found.shape[1]}
    first = found[:, 0]
    changed, kept = colours[first] == colours[targets], stamps[first] == stamps[targets]
    return recalls | {"changed": changed.float().mean().item(), "kept": kept.float().mean().item()}
