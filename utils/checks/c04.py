"""Checks of notebook 04: concat after L2, masked mean, attention with a missing modality, late fusion of scores."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from utils.checks.base import exercise
from utils.fusion import late_fusion

__all__ = ["fuse_attention", "fuse_concat", "fuse_masked_mean", "fuse_scores"]


def _tensor(answer) -> torch.Tensor:
    return torch.as_tensor(answer).detach().to(torch.float32)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-4)


@exercise
def fuse_concat(mine) -> str | None:
    """Check the concatenation of two modalities of length 1 each; a zero row stays zero."""
    visual = torch.tensor([[30.0, 40.0, 0.0], [0.0, 8.0, 6.0], [5.0, 0.0, 12.0], [0.0, 0.0, 0.0]])
    textual = torch.tensor([[0.6, 0.8], [2.0, 0.0], [0.3, 0.4], [0.0, 1.0]])
    answer = _tensor(mine(visual.clone(), textual.clone()))
    right = torch.cat([normalize(visual, dim=1), normalize(textual, dim=1)], dim=1)
    plain = torch.cat([visual, textual], dim=1)
    if answer.shape == (8, 3) or answer.shape == (8, 2):
        return "you put the items of one modality below those of the other; concatenate along dim=1, item by item."
    if answer.shape != right.shape:
        return f"the result has shape {tuple(answer.shape)}; four items with 3 + 2 numbers are {tuple(right.shape)}."
    if torch.isnan(answer).any():
        return "an item without a picture became NaN (0 divided by 0): clamp its length at a tiny number first."
    if _same(answer, plain):
        return "nothing was normalised: the picture of item 0 is 50 long, its text 1, and the picture decides alone."
    if _same(answer, normalize(plain, dim=1)):
        return (
            "you normalised after the concatenation: the longer modality still drowns the other; first each on its own."
        )
    if _same(answer, torch.cat([normalize(visual, dim=0), normalize(textual, dim=0)], dim=1)):
        return "you normalised the columns (dim=0); the vector of one item is a row, dim=1."
    if _same(answer, torch.cat([normalize(visual, dim=1), textual], dim=1)):
        return "only the pictures have length 1 now; the texts need the same."
    if not _same(answer, right):
        return f"item 0 should be {right[0].tolist()}, you returned {[round(v, 3) for v in answer[0].tolist()]}."
    return None


@exercise
def fuse_masked_mean(mine) -> str | None:
    """Check the mean over the modalities that an item has."""
    first = torch.tensor([[2.0, 4.0], [6.0, 0.0], [9.0, 9.0], [9.0, 9.0]])
    second = torch.tensor([[4.0, 0.0], [7.0, 7.0], [1.0, 3.0], [7.0, 7.0]])
    masks = [torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])]
    answer = _tensor(mine([first.clone(), second.clone()], [mask.clone() for mask in masks]))
    right = torch.tensor([[3.0, 2.0], [6.0, 0.0], [1.0, 3.0], [0.0, 0.0]])
    kept = [x * m[:, None] for x, m in zip((first, second), masks)]
    if answer.shape != right.shape:
        return f"the result has shape {tuple(answer.shape)}; one vector per item is {tuple(right.shape)}."
    if torch.isnan(answer).any():
        return "an item without any modality became NaN (0 divided by 0): divide by at least 1."
    if _same(answer, (first + second) / 2):
        return "you ignored the masks: what stands in a missing row is no content, and must not be added."
    if _same(answer, (kept[0] + kept[1]) / 2):
        return (
            "you divided by the number of modalities: the missing one counts as a row of zeros and halves the vector."
        )
    if _same(answer, kept[0] + kept[1]):
        return "this is the sum: divide by the number of modalities that the item has."
    inverted = torch.where(masks[0][:, None], 0.0, first) + torch.where(masks[1][:, None], 0.0, second)
    if _same(answer[1:], inverted[1:] / torch.tensor([[1.0], [1.0], [2.0]])):
        return "the mask is inverted: True means that the item has the modality."
    if not _same(answer[3], right[3]):
        return "an item without any modality should get zeros."
    if not _same(answer, right):
        return f"the four rows should be {right.tolist()}, you returned {answer.tolist()}."
    return None


@exercise
def fuse_attention(mine) -> str | None:
    """Check the weighted sum whose weights are a softmax over the present modalities."""
    generator = torch.Generator().manual_seed(4)
    vectors = torch.randn(4, 3, 5, generator=generator)
    present = torch.tensor([[True, True, True], [True, True, False], [False, True, False], [True, False, True]])
    vectors = vectors * present[:, :, None]
    query = torch.randn(5, generator=generator)
    answer = _tensor(mine(vectors.clone(), query.clone(), present.clone()))
    logits = vectors @ query
    weights = logits.masked_fill(~present, -torch.inf).softmax(1)

    def fused(w: torch.Tensor) -> torch.Tensor:
        return (w[:, :, None] * vectors).sum(1)

    right = fused(weights)
    if answer.shape == weights.shape:
        return "you returned the weights; multiply them with the vectors and sum over the modalities."
    if answer.shape != right.shape:
        return f"the result has shape {tuple(answer.shape)}; one vector per item is {tuple(right.shape)}."
    if torch.isnan(answer).any():
        return "NaN came out: give missing modalities the logit -inf, not their weight."
    if _same(answer, fused(logits.softmax(1))):
        return "a missing modality gets weight: its zero row has the logit 0, and softmax gives that a share; use -inf."
    if _same(answer, fused(logits.softmax(1) * present)):
        return "you removed the missing weights after the softmax: the rest no longer sums to 1; set the logits to -inf first."
    masked = logits.masked_fill(~present, -torch.inf)
    if _same(answer, fused(logits.softmax(0))) or _same(answer, fused(masked.softmax(0))):
        return "the softmax runs over the items (dim=0); the modalities of one item compete, dim=1."
    if _same(answer, fused(logits)):
        return "the weights are the raw logits: without softmax they do not sum to 1, and may be negative."
    if _same(answer, fused(torch.sigmoid(logits))):
        return "a sigmoid gives every modality a gate of its own; here the weights of an item sum to 1: softmax."
    if _same(answer, fused(present / present.sum(1, keepdim=True))):
        return "all modalities weigh the same: this is the masked mean, the query is not used."
    if not _same(answer, right):
        return (
            "the weighted sum is off: logits = vectors @ query, -inf where missing, softmax over dim=1, weighted sum."
        )
    return None


@exercise
def fuse_scores(mine) -> str | None:
    """Check late fusion: z-scores per user, alpha for the second modality."""
    generator = torch.Generator().manual_seed(4)
    first = 50 + 20 * torch.randn(3, 6, generator=generator) * torch.tensor([[1.0], [3.0], [0.2]])
    second = torch.randn(3, 6, generator=generator)
    alpha = 0.25
    answer = _tensor(mine(first.clone(), second.clone(), alpha))
    right = late_fusion([first, second], [1 - alpha, alpha])

    def mix(scale, a: float = alpha) -> torch.Tensor:
        return (1 - a) * scale(first) + a * scale(second)

    def z(x: torch.Tensor, dim=None) -> torch.Tensor:
        mean = x.mean() if dim is None else x.mean(dim, keepdim=True)
        square = (x - mean).square()
        return (x - mean) / (square.mean() if dim is None else square.mean(dim, keepdim=True)).sqrt()

    if answer.shape != right.shape:
        return f"the result has shape {tuple(answer.shape)}; one score per user and item is {tuple(right.shape)}."
    if _same(answer, mix(lambda x: x)):
        return "the scores are not standardised: the first modality has scores around 50 and decides alone."
    if _same(answer, mix(lambda x: z(x, 1), 1 - alpha)):
        return "the weights are swapped: alpha belongs to the second modality, 1 - alpha to the first."
    if _same(answer, mix(lambda x: x, 1 - alpha)):
        return "the weights are swapped, and the scores are not standardised."
    if _same(answer, mix(lambda x: z(x, 0))):
        return "you standardised each item over the users (dim=0); a list belongs to a user: dim=1."
    if _same(answer, mix(z)):
        return "you standardised all users together; each user has a scale of their own: dim=1."
    if _same(answer, mix(lambda x: x - x.mean(1, keepdim=True))):
        return "you only subtracted the mean; divide by the standard deviation as well."
    ranks = mix(lambda x: x.argsort(1).argsort(1).float())
    if _same(answer, ranks) or _same(answer, ranks / 5):
        return (
            "you fused ranks: a fine late fusion too, but it forgets how far apart two scores are; use z-scores here."
        )
    nearly = (answer / right).nan_to_num()
    if nearly.std() < 0.1 * nearly.mean().abs():  # torch.std divides by n - 1: the same order for every user
        return None
    return f"for user 0 the first score should be {right[0, 0]:.3f}, you returned {answer[0, 0]:.3f}."
