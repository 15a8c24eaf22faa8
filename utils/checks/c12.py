"""Checks of notebook 12: who may look at whom, the last state, contrast, mixing two streams, LoRA and its trap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from utils.checks.base import exercise, first_named, numbers
from utils.pretraining.adapt import trap
from utils.pretraining.attention import attendable

__all__ = ["causal_mask", "last_state", "contrast_loss", "mixed_streams", "low_rank", "judged_with_lora"]


def _uniform(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _real(lengths: list[int], length: int) -> torch.Tensor:
    """(b, length) bool, padding on the left."""
    return torch.arange(length) >= length - torch.tensor(lengths)[:, None]


# ---- exercise 1 ----


@exercise
def causal_mask(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(real) -> (b, L, L) bool: row looks at column; itself and the past, never padding."""
    real = _real([4, 2, 1], 4)
    answer = numbers(mine(real.clone()), "mask")
    if answer.shape == (4, 4):
        return (
            "one table for all histories cannot know whose padding it is: return (b, L, L), a table for each history."
        )
    if answer.shape == (3, 1, 4, 4):
        answer = answer[:, 0]
    if answer.shape != (3, 4, 4):
        return f"for 3 histories of 4 places you return shape {answer.shape}; it has to be (3, 4, 4)."
    if not set(np.unique(answer)) <= {0.0, 1.0}:
        return "return True and False: numbers that are added to the logits come later."
    past, keys, itself = torch.ones(4, 4).tril().bool(), real[:, None, :], torch.eye(4).bool()
    right, rows = attendable(real)[:, 0], real.numpy()  # what a row of padding sees is free, but for nothing at all
    mistakes = {
        "the future leaks: an item may look at what came after it, and training then only copies the answer.": (
            keys.expand(3, 4, 4)
        ),
        "padding is looked at: hide its columns, so that nobody sees it.": past.expand(3, 4, 4),
        "everything may be seen: neither order nor padding plays a part.": torch.ones(3, 4, 4),
        "row and column are exchanged: now an item sees itself and its future; rows look at columns.": past.T & keys,
        "this is the list of what is forbidden: True has to mean that a row may look at a column.": ~right,
        "an item does not see itself: the diagonal belongs to what may be seen.": past.tril(-1) & keys,
        "an item sees itself and nothing before it: the past belongs to what may be seen.": itself.expand(3, 4, 4),
    }
    if not np.array_equal(answer[rows], right.numpy()[rows]):
        for sentence, wrong in mistakes.items():
            if np.array_equal(answer[rows], wrong.numpy()[rows]):
                return sentence
        b, i, j = (int(place) for place in np.argwhere((answer != right.numpy()) & rows[:, :, None])[0])
        seen = "sees" if answer[b, i, j] else "does not see"
        return f"in history {b} the item at place {i} {seen} place {j}; real there: {real[b].tolist()}."
    if not answer.any(axis=2).all():
        return (
            "a row of padding sees nothing at all: a softmax over nothing is NaN, and NaN spreads; let it see itself."
        )
    return None


# ---- exercise 2 ----


@exercise
def last_state(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(states, lengths) -> (b, d): the state of each history's newest item, padding on the right."""
    lengths, states = torch.tensor([3, 5, 1, 5]), _uniform(4, 5, 5, seed=2)
    answer = numbers(mine(states.clone(), lengths.clone()), "states")
    rows = torch.arange(4)
    real = (torch.arange(5) < lengths[:, None])[..., None]
    if answer.shape == (4, 1, 5):
        return "you keep an axis of length 1: return (b, d), one vector for each history."
    if answer.shape == (4, 4, 5):
        return "you take every place for every history: index rows and places together, `states[rows, places]`."
    if answer.shape != (4, 5):
        return f"for 4 histories and 5 dimensions you return shape {answer.shape}; it has to be (4, 5)."
    mistakes = {
        "you take the last place: there most histories have padding, whose state says nothing.": states[:, -1],
        "you take the place with the number of the length, one too far: places count from 0.": (
            states[rows, lengths.clamp(max=4)]
        ),
        "one place too early: this is the state before the newest item.": states[rows, (lengths - 2).clamp(min=0)],
        "one place too early, and for a history of one item that is the last place.": states[rows, lengths - 2],
        "you take the oldest item: the newest stands at the end of the history.": states[:, 0],
        "this is the mean over the items: the newest state has already seen all of them.": (
            (states * real).sum(1) / lengths[:, None]
        ),
        "this is the mean over all places, padding included.": states.mean(1),
        "this is the sum over all items: take one state.": (states * real).sum(1),
        "this is the largest value of each dimension: take one state.": states.amax(1),
        "you count from the end, as if padding stood on the left.": states[rows, 5 - lengths],
    }
    return _named(answer, states[rows, lengths - 1], mistakes, "the state of history")


# ---- exercise 3 ----


@exercise
def contrast_loss(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(states, items, item_ids, tau) -> one number: in-batch contrast, other rows with the same item left out."""
    states, items, ids, tau = _uniform(4, 4, seed=3), _uniform(4, 4, seed=4), torch.tensor([7, 2, 7, 5]), 0.5
    items[2] = items[0]  # one item has one vector
    answer = numbers(mine(states.clone(), items.clone(), ids.clone(), tau), "loss")
    if answer.shape == (4,):
        return "you return a loss for each history: take their mean."
    if answer.shape != ():
        return f"you return shape {answer.shape}; a loss is one number."
    a, b = (torch.nn.functional.normalize(part, dim=1) for part in (states, items))
    logits, own = a @ b.T / tau, torch.eye(4).bool()
    other = (ids[:, None] == ids) & ~own

    def loss(table: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        return (table.masked_fill(hidden, -torch.inf).logsumexp(1) - table.diagonal()).mean()

    raw, flat = states @ items.T / tau, a @ b.T
    zero = (logits.masked_fill(other, 0.0).logsumexp(1) - logits.diagonal()).mean()
    mistakes = {
        "the other row with the same item is treated as wrong: it is the right answer, too, so leave it out.": (
            loss(logits, torch.zeros(4, 4).bool())
        ),
        "what is left out gets logit 0, and exp(0) = 1 still stands in the sum: set it to minus infinity.": zero,
        "the positive is missing in the denominator: the loss has then no floor, and falls without end.": (
            loss(logits, other | own)
        ),
        "the vectors are not brought to length 1: tau is meant for cosines.": loss(raw, other),
        "tau is missing: cosines between -1 and 1 are too flat for a softmax.": loss(flat, other),
        "you multiply by tau: divide.": loss(flat * tau, other),
        "the softmax runs over the histories of an item; it has to run over the items of a history.": (
            loss(logits.T, other)
        ),
        "the sign is turned: the loss is minus the logarithm.": -loss(logits, other),
        "this is a sum: take the mean over the batch.": 4 * loss(logits, other),
        "you leave out the pair itself together with its double: only other rows go.": loss(logits, other | own),
        "the exclusions also hide the positive's row: only the other row of the same item goes.": (
            (logits.masked_fill(ids[:, None] != ids, -torch.inf).logsumexp(1) - logits.diagonal()).mean()
        ),
        "this is the share of the right item, not its logarithm.": (
            (logits.diagonal() - logits.masked_fill(other, -torch.inf).logsumexp(1)).exp().mean()
        ),
    }
    right = loss(logits, other).item()
    if not np.isfinite(answer):
        return "the loss is not finite: does a row hide all of its items, its own included?"
    if abs(float(answer) - right) < 1e-4:
        return None
    named = first_named(answer, {text: wrong.item() for text, wrong in mistakes.items()})
    return named or f"you return {float(answer):.4f}; for these four histories it is {right:.4f}."


# ---- exercise 4 ----


@exercise
def mixed_streams(mine: Callable[..., tuple]) -> str | None:
    """mine(textual, visual, swapped, real) -> (textual, visual): swapped places change streams, padding never does."""
    textual, visual = _uniform(2, 4, 3, seed=5), _uniform(2, 4, 3, seed=6)
    real, swapped = _real([4, 2], 4), torch.tensor([[True, False, True, False], [True, False, False, True]])
    answer = mine(textual.clone(), visual.clone(), swapped.clone(), real.clone())
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        return "return two streams: the text's and the picture's."
    own = [numbers(part, "stream") for part in answer]
    if any(part.shape != (2, 4, 3) for part in own):
        return f"your streams have the shapes {own[0].shape} and {own[1].shape}; both have to stay (2, 4, 3)."

    def mixed(where: torch.Tensor) -> np.ndarray:
        return torch.stack(
            [torch.where(where[..., None], a, b) for a, b in ((visual, textual), (textual, visual))]
        ).numpy()

    right = mixed(swapped & real)
    one = torch.where((swapped & real)[..., None], visual, textual)
    half = (textual + visual) / 2
    mistakes = {
        "padding is mixed, too: what stands on a place without an item must stay as it is.": mixed(swapped),
        "nothing changes: what is swapped goes into the other stream.": torch.stack([textual, visual]).numpy(),
        "the rest is swapped, and the swapped places stay.": mixed(~swapped & real),
        "everything is swapped: only the places of `swapped` change.": mixed(real),
        "the two streams come back exchanged: the text's comes first.": right[::-1],
        "both streams are the same: what leaves one has to enter the other.": torch.stack([one, one]).numpy(),
        "the picture's stream keeps what it gave away: what leaves one stream enters the other.": (
            torch.stack([one, visual]).numpy()
        ),
        "the text's stream keeps what it gave away: what leaves one stream enters the other.": (
            np.stack([textual.numpy(), right[1]])
        ),
        "you take the mean of both: a place comes from one stream, whole.": (
            torch.stack([torch.where((swapped & real)[..., None], half, part) for part in (textual, visual)]).numpy()
        ),
        "swapped places become zero: they have to hold the other stream's vector.": (
            torch.stack([part * ~(swapped & real)[..., None] for part in (textual, visual)]).numpy()
        ),
        "padding is set to zero: leave it as it is.": right * real[..., None].numpy(),
    }  # fmt: skip
    return _named(np.stack(own), right, mistakes, "stream")


# ---- exercise 5 ----


@exercise
def low_rank(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(x, weight, a, b, alpha) -> (n, out): x W^T + alpha / r x A^T B^T, r = rows of A."""
    x, weight = _uniform(3, 4, seed=7), _uniform(4, 4, seed=8)
    a, b, alpha = _uniform(2, 4, seed=9), _uniform(4, 2, seed=10), 8.0
    answer = numbers(mine(x.clone(), weight.clone(), a.clone(), b.clone(), alpha), "output")
    if answer.shape == (4, 4):
        return "you return the weight: apply it to x."
    if answer.shape != (3, 4):
        return f"for three rows and four outputs you return shape {answer.shape}; it has to be (3, 4)."
    base, more = x @ weight.T, x @ a.T @ b.T
    mistakes = {
        "the scale is missing: the low-rank part counts alpha / r times.": base + more,
        "you scale by alpha alone: divide by the rank, so that another rank needs no other learning rate.": base + alpha * more,
        "you divide by the rank only: alpha is missing.": base + more / 2,
        "the scale is upside down: it is alpha / r.": base + 2 / alpha * more,
        "the rank is the number of rows of A, not the width of the layer.": base + alpha / 4 * more,
        "the frozen weight is missing: LoRA adds to it.": alpha / 2 * more,
        "only the frozen weight counts: the low-rank part is missing, and this is the model before it was tuned.": base,
        "the low-rank part replaces a part of the frozen output instead of being added.": base - alpha / 2 * more,
        "everything is scaled: only the low-rank part is.": alpha / 2 * (base + more),
        "the frozen weight is not transposed: a layer computes x W^T.": x @ weight + alpha / 2 * more,
        "the scale is alpha / sqrt(r), the variant called rsLoRA: here it is alpha / r.": base + alpha / 2**0.5 * more,
        "the low-rank part is transposed: B A x is x A^T B^T for rows.": base + alpha / 2 * (x @ b @ a),
    }  # fmt: skip
    return _named(answer, base + alpha / 2 * more, mistakes, "row")


# ---- bonus ----


@exercise(bonus=True)
def judged_with_lora(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(layer, x) -> (b, L, dim): the output by which a layer with LoRA is judged; see ``trap``."""
    return trap.named_mistake(mine)


def _named(answer: np.ndarray, right: object, mistakes: dict[str, object], what: str) -> str | None:
    """The sentence of a known mistake; else where the answer is farthest from the right one; None if it is right."""
    right = np.asarray(right, dtype=np.float64)
    if answer.shape == right.shape and np.allclose(answer, right, atol=1e-4):
        return None
    named = first_named(answer, {text: np.asarray(wrong, dtype=np.float64) for text, wrong in mistakes.items()})
    if named:
        return named.strip()
    place = int(np.argmax(np.nan_to_num(np.abs(answer - right), nan=np.inf).reshape(len(right), -1).max(axis=1)))
    return f"{what} {place} is not right: {answer[place].ravel()[:3].round(3)} ... for {right[place].ravel()[:3].round(3)}."
