"""Multimodal fusion ("When?" in the schema): mu represents the modalities of an item, gamma fuses them into one.

Two choices, in this order (Malitesta et al., "Formalizing Multimedia Recommendation through Multimodal Deep Learning",
ACM TORS 2024):

* representation, mu: **joint** maps all modalities into one vector at once (no fusion follows); **coordinate** maps
  each modality into a space of its own, perhaps with a constraint that ties the spaces together.
* fusion, gamma, only after coordinate: **early** fuses the vectors, then scores; **late** scores every modality, then
  fuses the scores (or lets a modality enter a part of the loss only).

Everywhere: ``vectors`` is a list of (n, d) tensors, one for each modality; ``masks`` a list of (n,) bool tensors, True =
the item has this modality, or None when nothing is missing. A missing row takes no part, whatever numbers are in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError, suggest
from utils.kernels import Projection

Masks = Sequence[torch.Tensor] | None


# ---- before mu: put the modalities on one scale ----


def l2(matrix: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Bring each row to length 1, so that no modality outweighs another by its scale; missing rows become zero.

    Args:
        matrix: (n, d) features of one modality. A zero row stays zero.
    """
    unit = F.normalize(matrix, dim=1)
    return unit if mask is None else unit.masked_fill(~mask[:, None], 0.0)


def whitening(matrix: torch.Tensor, mask: torch.Tensor | None = None, dim: int | None = None) -> torch.Tensor:
    """Centre, turn to the principal directions and give each the variance 1: (n, d) -> (n, dim).

    Fitted on the present rows only; missing rows become zero, which is then the mean. Directions without variance are
    left out, so that the result may be narrower than ``dim``.
    """
    present = torch.ones(len(matrix), dtype=torch.bool, device=matrix.device) if mask is None else mask
    if present.sum() < 2:
        raise CourseError("Whitening needs at least two items that have the modality; use l2 instead.")
    centred = (matrix - matrix[present].mean(0)).masked_fill(~present[:, None], 0.0)
    _, scales, directions = torch.linalg.svd(centred[present], full_matrices=False)
    rank = int((scales > 1e-5 * scales[0]).sum())
    keep = min(dim or rank, rank)
    deviation = scales[:keep] / (present.sum() - 1) ** 0.5
    return centred @ directions[:keep].T / deviation


# ---- mu ----


class Joint(nn.Module):
    """mu, joint: [x_1 || ... || x_M] -> one vector of size dim. One function, one space, and no fusion after it.

    Args:
        dims: size of each modality.
        dim: size of the result.
    """

    def __init__(self, dims: Sequence[int], dim: int) -> None:
        super().__init__()
        self.project = Projection(sum(dims), dim)

    def forward(self, vectors: Sequence[torch.Tensor], masks: Masks = None) -> torch.Tensor:
        """(n, dim); a missing modality enters as zeros, an item without any gets a zero row."""
        return _hide(self.project(torch.cat(_present(vectors, masks), dim=1)), masks)


class Coordinate(nn.Module):
    """mu, coordinate: x_m -> W_m x_m + b_m, one vector of size dim for each modality, in spaces of their own.

    Nothing ties the spaces together unless ``similarity`` is added to the loss: it is the constraint set K.
    """

    def __init__(self, dims: Sequence[int], dim: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(Projection(d, dim) for d in dims)

    def forward(self, vectors: Sequence[torch.Tensor], masks: Masks = None) -> list[torch.Tensor]:
        """A list of (n, dim), one for each modality; missing rows are zero (also of their bias)."""
        return _present([project(x) for project, x in zip(self.project, vectors)], masks)

    @staticmethod
    def similarity(vectors: Sequence[torch.Tensor], masks: Masks = None) -> torch.Tensor:
        """The constraint: mean of 1 - cosine over all pairs of modalities that an item has; 0 with one modality."""
        total, count = vectors[0].new_zeros(()), 0
        for a in range(len(vectors)):
            for b in range(a):
                gap = 1 - F.cosine_similarity(vectors[a], vectors[b], dim=1)
                both = torch.ones_like(gap) if masks is None else (masks[a] & masks[b]).to(gap.dtype)
                total, count = total + (gap * both).sum(), count + both.sum()
        return total / max(float(count), 1.0)


# ---- gamma, early: vectors -> one vector ----


class Fusion(nn.Module):
    """An early fusion: made with the size of the vectors and their number; ``out_dim`` is the size of the result."""

    def __init__(self, dim: int, n_modalities: int) -> None:
        super().__init__()
        self.n_modalities, self.out_dim = n_modalities, dim


class Concat(Fusion):
    """[e_1 || ... || e_M]: everything is kept side by side; a missing modality leaves zeros."""

    def __init__(self, dim: int, n_modalities: int) -> None:
        super().__init__(dim, n_modalities)
        self.out_dim = dim * n_modalities

    def forward(self, vectors: Sequence[torch.Tensor], masks: Masks = None) -> torch.Tensor:
        return torch.cat(_present(vectors, masks), dim=1)


class Sum(Fusion):
    """e_1 + ... + e_M: items with more modalities have longer vectors."""

    def forward(self, vectors: Sequence[torch.Tensor], masks: Masks = None) -> torch.Tensor:
        return torch.stack(_present(vectors, masks)).sum(0)


class Mean(Fusion):
    """The mean over the modalities that the item has."""

    def forward(self, vectors: Sequence[torch.Tensor], masks: Masks = None) -> torch.Tensor:
        count = len(vectors) if masks is None else torch.stack(list(masks)).sum(0).clamp_(min=1)[:, None]
        return torch.stack(_present(vectors, masks)).sum(0) / count


class Product(Fusion):
    """e_1 * ... * e_M, entry by entry: a soft "and"; a missing modality counts as ones."""

    def forward(self, vectors: Sequence[torch.Tensor], masks: Masks = None) -> torch.Tensor:
        return _hide(torch.stack(_present(vectors, masks, fill=1.0)).prod(0), masks)


class Attention(Fusion):
    """sum over m of a_m e_m, where a = softmax over the item's modalities of q . tanh(W e_m + b).

    One weight for each item and modality; they sum to 1 over the modalities that the item has.
    """

    def __init__(self, dim: int, n_modalities: int) -> None:
        super().__init__(dim, n_modalities)
        self.hidden, self.query = nn.Linear(dim, dim), nn.Linear(dim, 1, bias=False)

    def weights(self, vectors: Sequence[torch.Tensor], masks: Masks = None) -> torch.Tensor:
        """(n, M): the attention weights of the modalities, item by item; zeros for an item without any modality."""
        stacked = torch.stack(_present(vectors, masks), dim=1)  # (n, M, d)
        logits = self.query(torch.tanh(self.hidden(stacked))).squeeze(-1)
        if masks is None:
            return logits.softmax(1)
        present = torch.stack(list(masks), dim=1)
        # the lowest finite number in place of -inf: a row without any modality must not become NaN
        return logits.masked_fill(~present, torch.finfo(logits.dtype).min).softmax(1) * present

    def forward(self, vectors: Sequence[torch.Tensor], masks: Masks = None) -> torch.Tensor:
        weights = self.weights(vectors, masks)
        return (weights[:, :, None] * torch.stack(_present(vectors, masks), dim=1)).sum(1)


class Gated(Fusion):
    """sum over m of g_m * e_m, where g_m = sigmoid(G_m [e_1 || ... || e_M] + b_m): a gate for each entry.

    Gates look at all modalities at once, and need not sum to 1.
    Source: the gated multimodal unit, Arevalo et al., arXiv 1702.01992, with a gate of its own for each modality.
    """

    def __init__(self, dim: int, n_modalities: int) -> None:
        super().__init__(dim, n_modalities)
        self.gates = nn.Linear(dim * n_modalities, dim * n_modalities)

    def forward(self, vectors: Sequence[torch.Tensor], masks: Masks = None) -> torch.Tensor:
        side_by_side = torch.cat(_present(vectors, masks), dim=1)
        gated = torch.sigmoid(self.gates(side_by_side)) * side_by_side  # the zeros of a missing modality stay zeros
        return gated.view(-1, self.n_modalities, self.out_dim).sum(1)


FUSIONS: dict[str, type[Fusion]] = {
    "concat": Concat,
    "sum": Sum,
    "mean": Mean,
    "product": Product,
    "attention": Attention,
    "gated": Gated,
}


def make_fusion(name: str, dim: int, n_modalities: int) -> Fusion:
    """Make an early fusion by name: concat, sum, mean, product, attention, gated."""
    if name not in FUSIONS:
        raise suggest(name, FUSIONS, "fusion")
    return FUSIONS[name](dim, n_modalities)


# ---- gamma, late: scores -> one score ----


def late_fusion(
    scores: Sequence[torch.Tensor], weights: Sequence[float] | None = None, scale: str = "zscore"
) -> torch.Tensor:
    """Fuse the scores that each modality gives on its own: sum over m of w_m * scaled score_m.

    Args:
        scores: list of (n_users, n_items), one for each modality.
        weights: one for each modality, made to sum to 1; equal by default.
        scale: put the scores of a user on one scale first: "zscore" (mean 0, deviation 1), "rank" (0 worst to 1 best),
            or "none". Without it the modality with the widest scores decides alone.
    """
    weights = [1.0] * len(scores) if weights is None else list(weights)
    if len(weights) != len(scores) or sum(weights) <= 0:
        raise CourseError(
            f"late_fusion got {len(scores)} scores and {len(weights)} weights; give one positive weight each."
        )
    return sum(weight / sum(weights) * _scaled(score, scale) for weight, score in zip(weights, scores))


def _scaled(score: torch.Tensor, scale: str) -> torch.Tensor:
    if scale == "none":
        return score
    if scale == "zscore":
        centred = score - score.mean(1, keepdim=True)
        return centred / centred.square().mean(1, keepdim=True).sqrt().clamp_(min=1e-12)
    if scale == "rank":
        return score.argsort(1).argsort(1).float() / max(score.shape[1] - 1, 1)
    raise suggest(scale, ("zscore", "rank", "none"), "scale")


# ---- masks ----


def _present(vectors: Sequence[torch.Tensor], masks: Masks, fill: float = 0.0) -> list[torch.Tensor]:
    """Put ``fill`` in the place of missing rows: even NaN in them does no harm."""
    if masks is None:
        return list(vectors)
    return [vector.masked_fill(~mask[:, None], fill) for vector, mask in zip(vectors, masks)]


def _hide(fused: torch.Tensor, masks: Masks) -> torch.Tensor:
    """Zero the items that have no modality at all."""
    return fused if masks is None else fused.masked_fill(~torch.stack(list(masks)).any(0)[:, None], 0.0)
