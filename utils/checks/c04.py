"""Checks of notebook 04: attention with a missing modality, concat after L2, masked mean, late fusion, a gate."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from utils.checks.base import exercise, numbers
from utils.fusion import late_fusion

__all__ = ["fuse_attention", "fuse_concat", "fuse_gate", "fuse_masked_mean", "fuse_scores"]


def _tensor(answer) -> torch.Tensor:
    """Read an answer of any style as float32."""
    return torch.as_tensor(numbers(answer)).to(torch.float32)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-4)


@exercise
def fuse_attention(mine) -> str | None:
    """Check the weighted sum whose weights are a softmax over the present modalities."""
    generator = torch.Generator().manual_seed(4)
    vectors = torch.randn(
        4, 3, 5, generator=generator
    )  # something stands in the missing rows too: it must not be heard
    present = torch.tensor([[True, True, True], [True, True, False], [False, True, False], [True, False, True]])
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
    masked = logits.masked_fill(~present, -torch.inf)
    if _same(answer, fused(logits.softmax(1))) or _same(answer, fused((logits * present).softmax(1))):
        return (
            "a missing modality gets weight: softmax gives every logit a share, also a 0; set the missing ones to -inf."
        )
    if _same(answer, fused(logits.softmax(1) * present)) or _same(
        answer, fused((logits * present).softmax(1) * present)
    ):
        return "you removed the missing weights after the softmax: the rest no longer sums to 1; set the logits to -inf first."
    if _same(answer, fused(logits.softmax(0))) or _same(answer, fused(masked.softmax(0))):
        return "the softmax runs over the items (dim=0); the modalities of one item compete, dim=1."
    everywhere, even = torch.ones_like(logits), present / present.sum(1, keepdim=True)
    best = torch.nn.functional.one_hot(masked.argmax(1), 3).float()
    turned_round = logits.masked_fill(present, -torch.inf).softmax(1).nan_to_num()
    mistakes = {
        "the weights are the raw logits: without softmax they do not sum to 1, and may be negative.": logits,
        "a sigmoid gives every modality a gate of its own; here the weights of an item sum to 1: softmax.": logits.sigmoid(),
        "all modalities weigh the same: this is the masked mean, the query is not used.": even,
        "nothing is weighed: this is the sum of the modalities, the query is not used.": everywhere,
        "you keep the best modality only; softmax gives every present one a share.": best,
        "the mask is inverted: True means present, so -inf belongs where `present` is False.": turned_round,
        "the sign of the logits is wrong: the modality that fits the query least gets the most weight.": (
            (-logits).masked_fill(~present, -torch.inf).softmax(1)
        ),
    }
    for sentence, wrong in mistakes.items():
        if _same(answer, fused(wrong)) or _same(answer, fused(wrong * present)):
            return sentence
    if not _same(answer, right):
        return "the weighted sum is off: one logit per modality, nothing for a missing one, shares over dim=1, weighted sum."
    return None


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
    if _same(answer, torch.cat([visual, normalize(textual, dim=1)], dim=1)):
        return "only the texts have length 1 now; the pictures need the same."
    if _same(answer, normalize(right, dim=1)):
        return "you normalised twice: each part already has length 1, so leave the joined row as it is."
    if _same(answer, torch.cat([visual / visual.norm(), textual / textual.norm()], dim=1)):
        return "you divided each modality by the length of its whole matrix; every row has a length of its own: dim=1."
    if _same(answer, torch.cat([normalize(visual, 1, 1), normalize(textual, 1, 1)], dim=1)):
        return "you divided by the sum of the absolute values; the length is the root of the sum of squares."
    if _same(answer, torch.cat([right[:, 3:], right[:, :3]], dim=1)):
        return "the texts come first: keep the order of the arguments."
    if not _same(answer, right):
        return f"item 0 should be {right[0].tolist()}, you returned {[round(v, 3) for v in answer[0].tolist()]}."
    return None


@exercise
def fuse_masked_mean(mine) -> str | None:
    """Check the mean over the modalities that an item has."""
    first = torch.tensor([[2.0, 4.0], [6.0, 0.0], [9.0, 9.0], [9.0, 9.0], [5.0, 1.0]])
    second = torch.tensor([[4.0, 0.0], [7.0, 7.0], [1.0, 3.0], [7.0, 7.0], [8.0, 8.0]])
    masks = [torch.tensor([True, True, False, False, True]), torch.tensor([True, False, True, False, False])]
    answer = _tensor(mine([first.clone(), second.clone()], [mask.clone() for mask in masks]))
    right = torch.tensor([[3.0, 2.0], [6.0, 0.0], [1.0, 3.0], [0.0, 0.0], [5.0, 1.0]])
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
    if _same(answer, kept[0]):
        return "only the first modality is left; add the second where it is present."
    if _same(answer[:3], ((first + second) / torch.stack(masks).sum(0).clamp(min=1)[:, None])[:3]):
        return "you divided by the right number, but what stands in a missing row was added: set it to zero first."
    per_item = torch.stack(masks).sum(1)  # the wrong axis: how many items have each modality
    if _same(answer, kept[0] / per_item[0] + kept[1] / per_item[1]):
        return "you divided by the number of items that have the modality; count the modalities of each item."
    inverted = torch.where(masks[0][:, None], 0.0, first) + torch.where(masks[1][:, None], 0.0, second)
    if _same(answer[1:], inverted[1:] / torch.tensor([[1.0], [1.0], [2.0], [1.0]])):
        return "the mask is inverted: True means that the item has the modality."
    if not _same(answer[3], right[3]):
        return "an item without any modality should get zeros."
    if not _same(answer, right):
        return f"the five rows should be {right.tolist()}, you returned {answer.tolist()}."
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
    if _same(answer, mix(lambda x: x / x.std(1, keepdim=True))) or _same(answer, mix(lambda x: x / _std(x))):
        return "you only divided by the standard deviation; subtract the mean as well."
    if _same(
        answer, mix(lambda x: (x - x.amin(1, keepdim=True)) / (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)))
    ):
        return "you rescaled to 0..1 (min-max): one outlier decides the scale of all; use z-scores here."
    if _same(answer, mix(lambda x: x.softmax(1))):
        return "you used a softmax, which lets the best item take nearly all; use z-scores here."
    if _same(answer, z(first, 1) + alpha * z(second, 1)):
        return "the first modality keeps its full weight: it gets 1 - alpha."
    if _same(answer, z(first, 1) + z(second, 1)) or _same(answer, (z(first, 1) + z(second, 1)) / 2):
        return "both modalities count the same: alpha is not used."
    if _same(answer, mix(lambda x: normalize(x, dim=1))):
        return "you divided each row by its length, which leaves its mean in; use z-scores here."
    if _same(answer, z(mix(lambda x: x), 1)):
        return (
            "you mixed first and standardised after: the first modality already decided alone; standardise each before."
        )
    ranks = mix(lambda x: x.argsort(1).argsort(1).float())
    if _same(answer, ranks) or _same(answer, ranks / 5):
        return (
            "you fused ranks: a fine late fusion too, but it forgets how far apart two scores are; use z-scores here."
        )
    if _same(answer, -right):
        return "the sign is wrong: the best item got the lowest score."
    nearly = (answer / right).nan_to_num()
    if (
        nearly.mean() > 0 and nearly.std() < 0.1 * nearly.mean().abs()
    ):  # torch.std divides by n - 1: the same order for every user
        return None
    return f"for user 0 the first score should be {right[0, 0]:.3f}, you returned {answer[0, 0]:.3f}."


def _std(x: torch.Tensor) -> torch.Tensor:
    return x.std(1, keepdim=True, unbiased=False)


@exercise(bonus=True)
def fuse_gate(mine) -> str | None:
    """mine(visual (n, d), textual (n, d), weight (d, 2d), bias (d,)) -> (n, d): g * visual + (1 - g) * textual."""
    generator = torch.Generator().manual_seed(7)
    visual, textual = torch.randn(2, 4, 3, generator=generator)
    weight, bias = torch.randn(3, 6, generator=generator), torch.tensor([0.5, -0.4, 0.8])
    answer = _tensor(mine(visual.clone(), textual.clone(), weight.clone(), bias.clone()))
    logits = torch.cat([visual, textual], dim=1) @ weight.T + bias

    def mixed(gate: torch.Tensor) -> torch.Tensor:
        return gate * visual + (1 - gate) * textual

    gate = torch.sigmoid(logits)
    if answer.shape != visual.shape:
        return f"the result has shape {tuple(answer.shape)}; one vector per item is {tuple(visual.shape)}."
    turned = torch.cat([textual, visual], dim=1) @ weight.T + bias
    mistakes = {
        "you returned the gate; use it to mix the two vectors.": gate,
        "the gate is the wrong way round: g belongs to the picture, 1 - g to the text.": mixed(1 - gate),
        "the sigmoid is missing: without it a gate is no share between 0 and 1.": mixed(logits),
        "the bias is missing: add it before the sigmoid.": mixed(torch.sigmoid(logits - bias)),
        "the bias comes after the sigmoid; add it before.": mixed(torch.sigmoid(logits - bias) + bias),
        "the text is not gated: it gets 1 - g.": gate * visual + textual,
        "both vectors get the same gate: the text gets 1 - g.": gate * (visual + textual),
        "a softmax makes the entries of one item compete; each entry has a gate of its own: sigmoid.": mixed(
            logits.softmax(1)
        ),
        "the gate must see the picture first, then the text: the order of the concatenation is turned.": mixed(
            torch.sigmoid(turned)
        ),
        "the gate sees the picture only: it needs both vectors side by side.": mixed(
            torch.sigmoid(visual @ weight[:, :3].T + bias)
        ),
        "the gate sees the sum of the vectors: put them side by side instead.": mixed(
            torch.sigmoid((visual + textual) @ weight[:, :3].T + bias)
        ),
        "tanh runs from -1 to 1; a gate lies between 0 and 1: sigmoid.": mixed(torch.tanh(logits)),
        "one gate for the whole item: keep one for each entry.": mixed(torch.sigmoid(logits.mean(1, keepdim=True))),
    }
    if not _same(answer, mixed(gate)):
        found = next((sentence for sentence, wrong in mistakes.items() if _same(answer, wrong)), None)
        return found or f"the first entry should be {mixed(gate)[0, 0]:.3f}, yours is {answer[0, 0]:.3f}."
    return None
