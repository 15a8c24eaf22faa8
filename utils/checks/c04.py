"""Checks of notebook 04: attention with a missing modality, concat after L2, masked mean, late fusion, a gate."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from utils.checks.base import exercise, farthest, numbers
from utils.fusion import late_fusion

__all__ = ["fuse_attention", "fuse_concat", "fuse_gate", "fuse_masked_mean", "fuse_scores"]


def _tensor(answer) -> torch.Tensor:
    """Read an answer of any style as float32."""
    return torch.as_tensor(numbers(answer)).to(torch.float32)


def _row(vector: torch.Tensor) -> list[float]:
    return [round(value, 3) for value in vector.tolist()]


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
    if answer.shape == vectors.shape:
        return "you weighed the vectors; now add the modalities of each item up (dim=1)."
    if answer.shape == vectors.shape[1:]:
        return "you added the items up (dim=0); add the modalities of each item up, dim=1."
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
    d, unit = vectors.shape[2], normalize(vectors, dim=2)
    everywhere, even = torch.ones_like(logits), present / present.sum(1, keepdim=True)
    best = torch.nn.functional.one_hot(masked.argmax(1), 3).float()
    turned_round = logits.masked_fill(present, -torch.inf).softmax(1).nan_to_num()
    mistakes = {
        "the weights are the raw logits: without softmax they do not sum to 1, and may be negative.": logits,
        "a sigmoid gives every modality a gate of its own; here the weights of an item sum to 1: softmax.":
            logits.sigmoid(),
        "all modalities weigh the same: this is the masked mean, the query is not used.": even,
        "nothing is weighed: this is the sum of the modalities, the query is not used.": everywhere,
        "you keep the best modality only; softmax gives every present one a share.": best,
        "the mask is inverted: True means present, so -inf belongs where `present` is False.": turned_round,
        "the sign of the logits is wrong: the modality that fits the query least gets the most weight.":
            (-logits).masked_fill(~present, -torch.inf).softmax(1),
        "you divided the logits by the root of d: some networks do; here the logit is the inner product itself.":
            (masked / d**0.5).softmax(1),
        "the logits are cosines here; take the inner product of vector and query itself.":
            (unit @ normalize(query, dim=0)).masked_fill(~present, -torch.inf).softmax(1),
        "a logit of -1 is no mask, exp(-1) is more than a third; set the missing ones to -inf.":
            logits.masked_fill(~present, -1).softmax(1),
        "you divided the logits by their sum: they can be negative; the softmax makes them positive first.":
            logits * present / (logits * present).sum(1, keepdim=True),
        "these are exponentials: divide by their sum over the modalities, which is what softmax does.": logits.exp(),
        "the signs of the logits got lost: a modality that does not fit gets little weight, not much.":
            logits.abs().masked_fill(~present, -torch.inf).softmax(1),
        "you took the mean after weighing: the weights sum to 1 already, so sum.": weights / 3,
    }  # fmt: skip
    for sentence, wrong in mistakes.items():
        if _same(answer, fused(wrong)) or _same(answer, fused(wrong * present)):
            return sentence
    if _same(answer, normalize(right, dim=1)):
        return "you brought the result to length 1; return the weighted sum itself."
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
    parts = visual, textual

    def joined(scale) -> torch.Tensor:
        return torch.cat([scale(part) for part in parts], dim=1)

    others = {
        "you clamped the lengths at 1, so that a short row stays short; clamp at a tiny number.":
            joined(lambda x: x / x.norm(dim=1, keepdim=True).clamp(min=1)),
        "you added 1 to the lengths, so that no row has length 1; clamp them at a tiny number instead.":
            joined(lambda x: x / (x.norm(dim=1, keepdim=True) + 1)),
        "the root is missing: the length is the root of the sum of squares.":
            joined(lambda x: x / (x**2).sum(1, keepdim=True).clamp(min=1e-12)),
        "you divided each row by its largest number; divide by its length.":
            joined(lambda x: x / x.amax(1, keepdim=True).clamp(min=1e-12)),
        "each part was scaled once more: the part of each modality should have length 1.": right / 2,
        "the joined rows have length 1; the part of each modality should have length 1.": right / 2**0.5,
        "a softmax keeps the sum at 1, not the length, and turns a zero row into content; divide by the length.":
            joined(lambda x: x.softmax(1)),
        "you standardised the columns; the vector of one item is a row: bring it to length 1.":
            joined(lambda x: (x - x.mean(0)) / x.std(0)),
        "both parts are divided by the length of the text; each has its own.":
            joined(lambda x: x / textual.norm(dim=1, keepdim=True)),
    }  # fmt: skip
    for sentence, wrong in others.items():
        if _same(answer, wrong):
            return sentence
    if not _same(answer, right):
        item = farthest(answer.numpy(), right.numpy())[0]
        return f"item {item} should be {_row(right[item])}, you returned {_row(answer[item])}."
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
    if answer.shape == (5, 4):
        return "you put the modalities side by side; take their mean, one vector of the same size."
    if answer.shape == (4, 2):
        return "the item without any modality is gone, and later items moved by one; keep its row as zeros."
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
    if _same(answer, kept[1]):
        return "only the second modality is left; add the first where it is present."
    n_present = torch.stack(masks).sum(0)[:, None]
    if _same(answer, (kept[0] + kept[1]) / (n_present + 1)):
        return "you divided by one modality too many; divide by the number that the item has, but by at least 1."
    if _same(answer, torch.where(masks[0][:, None], first, kept[1])):
        return "an item with both modalities gets the first only; take the mean of both."
    if _same(answer, (kept[0] + kept[1]) * (n_present == 2) / 2):
        return "items with one modality became zeros; they keep what they have."
    if _same(answer, (kept[0] + kept[1]) / sum((x != 0).float() for x in kept).clamp(min=1)):
        return "you counted the numbers that are not 0; a 0 in a present row is content: count with the masks."
    if _same(answer, (normalize(kept[0], dim=1) + normalize(kept[1], dim=1)) / n_present.clamp(min=1)):
        return "you brought the vectors to length 1 first; here the mean is of the vectors as they are."
    if _same(
        answer, torch.maximum(*(x.masked_fill(~m[:, None], -99) for x, m in zip((first, second), masks))).clamp(min=0)
    ):
        return "this is the largest value of the modalities, not their mean."
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
        item = farthest(answer.numpy(), right.numpy())[0]
        return f"item {item} should be {_row(right[item])}, you returned {_row(answer[item])}."
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
    zs = z(first, 1), z(second, 1)
    others = {
        "you divided by the variance; divide by its root, the standard deviation.":
            mix(lambda x: (x - x.mean(1, keepdim=True)) / x.var(1, keepdim=True)),
        "only the first modality is standardised; the second needs the same.": (1 - alpha) * zs[0] + alpha * second,
        "only the second modality is standardised; the first needs the same.": (1 - alpha) * first + alpha * zs[1],
        "the second modality is standardised by the first one's mean and spread; each has its own.":
            (1 - alpha) * zs[0] + alpha * (second - first.mean(1, keepdim=True)) / first.std(1, keepdim=True),
        "both modalities get 1 - alpha: the second gets alpha.": (1 - alpha) * (zs[0] + zs[1]),
        "the second modality is subtracted; add it.": (1 - alpha) * zs[0] - alpha * zs[1],
        "you multiplied the two; late fusion adds them: two low scores would make a high one.": zs[0] * zs[1],
        "you take the larger of the two; late fusion adds them, each with its weight.":
            torch.maximum((1 - alpha) * zs[0], alpha * zs[1]),
        "you subtracted the median; subtract the mean.":
            mix(lambda x: (x - x.median(1, keepdim=True).values) / x.std(1, keepdim=True)),
        "a sigmoid presses high scores together: the first modality has scores around 50; use z-scores here.":
            mix(torch.sigmoid),
        "only the first modality is left: the second gets alpha.": zs[0],
        "only the second modality is left: the first gets 1 - alpha.": zs[1],
    }  # fmt: skip
    for sentence, wrong in others.items():
        if _same(answer, wrong):
            return sentence
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
    if answer.shape == (4, 6):
        return "you gated the joined vectors; mix them to one: g times the picture plus 1 - g times the text."
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
        "a softmax makes the entries of one item compete; each entry has a gate of its own: sigmoid.":
            mixed(logits.softmax(1)),
        "the gate must see the picture first, then the text: the order of the concatenation is turned.":
            mixed(torch.sigmoid(turned)),
        "the gate sees the picture only: it needs both vectors side by side.":
            mixed(torch.sigmoid(visual @ weight[:, :3].T + bias)),
        "the gate sees the sum of the vectors: put them side by side instead.":
            mixed(torch.sigmoid((visual + textual) @ weight[:, :3].T + bias)),
        "tanh runs from -1 to 1; a gate lies between 0 and 1: sigmoid.": mixed(torch.tanh(logits)),
        "one gate for the whole item: keep one for each entry.": mixed(torch.sigmoid(logits.mean(1, keepdim=True))),
        "the gate sees the text only: it needs both vectors side by side.":
            mixed(torch.sigmoid(textual @ weight[:, 3:].T + bias)),
        "the gate sees the product of the vectors: put them side by side instead.":
            mixed(torch.sigmoid((visual * textual) @ weight[:, :3].T + bias)),
        "two gates are multiplied: add what the weight makes of both vectors, then one sigmoid.":
            mixed(torch.sigmoid(visual @ weight[:, :3].T) * torch.sigmoid(textual @ weight[:, 3:].T + bias)),
        "you reshaped the weight, which mixes its numbers; multiply with its transpose, weight.T.":
            mixed(torch.sigmoid(torch.cat([visual, textual], dim=1) @ weight.reshape(6, 3) + bias)),
        "the text is missing: it gets 1 - g.": gate * visual,
        "the picture is missing: it gets g.": (1 - gate) * textual,
        "the text is subtracted: add it, with 1 - g.": gate * visual - (1 - gate) * textual,
        "the gate is hard, the picture or the text: a sigmoid gives each a share.":
            torch.where(logits > 0, visual, textual),
        "a ReLU has no upper end; a gate lies between 0 and 1: sigmoid.": mixed(torch.relu(logits)),
        "both count the same everywhere: this is the mean, the gate is not used.": (visual + textual) / 2,
        "the bias is added twice.": mixed(torch.sigmoid(logits + bias)),
        "you take the mean after mixing: g and 1 - g sum to 1 already, so add.": mixed(gate) / 2,
    }  # fmt: skip
    if not _same(answer, mixed(gate)):
        found = next((sentence for sentence, wrong in mistakes.items() if _same(answer, wrong)), None)
        at = farthest(answer.numpy(), mixed(gate).numpy())
        return found or f"entry {at[1]} of item {at[0]} should be {mixed(gate)[at]:.3f}, yours is {answer[at]:.3f}."
    return None
