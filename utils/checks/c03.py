"""Checks of notebook 03: a picture as input, masked mean pooling, a cache's key, the contrastive loss, prepared features."""

from __future__ import annotations

import numpy as np
import torch

from utils.checks.base import exercise, first_named, numbers, same
from utils.losses import info_nce

__all__ = ["cache_key", "contrastive_loss", "masked_mean", "picture_to_tensor", "prepared_rows"]


@exercise
def picture_to_tensor(mine) -> str | None:
    """Check (height, width, 3) uint8 -> (3, height, width) with (value - 127) / 128."""
    picture = np.zeros((2, 4, 3), dtype=np.uint8)
    picture[0, :, 0], picture[1, :, 1], picture[:, 3, 2] = 255, 127, 64
    answer = numbers(mine(picture.copy()), "tensor")
    right = ((picture.astype(float) - 127) / 128).transpose(2, 0, 1)
    if answer.shape == picture.shape:
        return "the channels are still last, (height, width, 3); the network wants them first: transpose to (3, height, width)."
    if answer.shape == (3, 4, 2):
        return "height and width changed places: the picture would lie on its side; transpose with the axes (2, 0, 1)."
    if answer.shape != right.shape:
        return f"the tensor has shape {answer.shape}; it should be {right.shape}."
    if np.allclose(answer, right[::-1]):
        return "the channels are in the order blue, green, red; the picture is stored as red, green, blue."
    moved = np.moveaxis(picture.astype(float), 2, 0)
    if np.allclose(answer, picture.reshape(3, 2, 4)) or np.allclose(answer, (picture.reshape(3, 2, 4) - 127.0) / 128):
        return "you reshaped: that mixes the channels of neighbouring pixels; transpose moves the axis instead."
    if np.allclose(answer, moved):
        return "the values still go from 0 to 255; subtract 127 and divide by 128."
    if np.allclose(answer, moved / 255):
        return "the values go from 0 to 1, which another network wants; this one was trained on (value - 127) / 128."
    if np.allclose(answer, moved / 128):
        return "you scaled but forgot to subtract the mean 127: black must become about -1, not 0."
    if np.allclose(answer, moved - 127):
        return "you centred but forgot to divide by 128."
    if np.allclose(answer, (moved / 255 - 127) / 128):
        return "you divided by 255 first and then normalised again: every value is now close to -1; do it once."
    if np.allclose(answer, moved - 127 / 128):
        return "the division comes before the subtraction: put (value - 127) in brackets."
    if np.allclose(answer, moved / 127.5 - 1):
        return (
            "you scaled to exactly -1 and 1, which another network wants; this one was trained on (value - 127) / 128."
        )
    if np.allclose(answer, -right):
        return "the sign is wrong: subtract 127 from the value, not the value from 127."
    with np.errstate(over="ignore"):
        wrapped = (picture - np.uint8(127)).astype(float).transpose(2, 0, 1) / 128
    if np.allclose(answer, wrapped):
        return "you subtracted in uint8, where 0 - 127 wraps around to 129; turn the picture into float first."
    if not np.allclose(answer, right, atol=1e-5):
        return f"black (0) should become {-127 / 128:.3f}, you returned {answer[2, 0, 0]:.3g}."
    return None


@exercise
def masked_mean(mine) -> str | None:
    """Check the mean of token vectors over real tokens: (batch, tokens, dim), (batch, tokens) -> (batch, dim)."""
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(3, 5, 4, generator=generator)
    attention = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    answer = numbers(mine(hidden.clone(), attention.clone()))
    weight = attention.unsqueeze(-1).float()
    right = ((hidden * weight).sum(1) / weight.sum(1)).numpy()
    if answer.shape == (3, 5):
        return "you averaged over the dimensions: one number per token is left; average over the tokens (dim=1)."
    if answer.shape == (5, 4):
        return "you averaged over the sentences of the batch; average over the tokens (dim=1)."
    if answer.shape != right.shape:
        return f"the result has shape {answer.shape}; one vector per sentence is {right.shape}."
    if np.allclose(answer, hidden.mean(1).numpy(), atol=1e-5):
        return "the padding is included: a short sentence gets the mean of tokens that are not there; use the mask."
    if np.allclose(answer, ((hidden * weight).sum(1) / hidden.shape[1]).numpy(), atol=1e-5):
        return "you divide by the length of the longest sentence; divide by each sentence's own number of tokens."
    if np.allclose(answer, hidden[:, 0].numpy(), atol=1e-5):
        return "you return the first token (CLS) only; this encoder was trained for the mean over all real tokens."
    if np.allclose(answer, (hidden * weight).sum(1).numpy(), atol=1e-5):
        return "you return the sum: a long sentence gets a long vector; divide by the number of real tokens."
    if np.allclose(answer, ((hidden * weight).sum(1) / attention.sum()).numpy(), atol=1e-5):
        return (
            "you divide by the tokens of the whole batch, so a sentence depends on its neighbours; count per sentence."
        )
    if np.allclose(answer, torch.nn.functional.normalize(torch.as_tensor(right), dim=1).numpy(), atol=1e-5):
        return "you brought the mean to length 1; return the mean itself here."
    inverted = (hidden * (1 - weight)).sum(1) / (1 - weight).sum(1).clamp(min=1)
    if np.allclose(answer[1:], inverted[1:].numpy(), atol=1e-5):
        return "the mask is the wrong way round: 1 is a real token, 0 is padding."
    if np.allclose(answer, torch.stack([h[int(n) - 1] for h, n in zip(hidden, attention.sum(1))]).numpy(), atol=1e-5):
        return "you return the last real token only; take the mean over all real tokens."
    if np.allclose(answer, (hidden * weight).amax(1).numpy(), atol=1e-5):
        return "this is the maximum over the tokens, not the mean."
    if not np.allclose(answer, right, atol=1e-5):
        return f"the second sentence has 3 real tokens; its mean starts with {right[1, 0]:.3f}, you have {answer[1, 0]:.3f}."
    return None


@exercise
def cache_key(mine) -> str | None:
    """Check a key made of content (bytes), encoder, layer and options."""
    base = (b"picture", "efficientnet_lite0", "avgpool", {"size": 224, "fit": "pad"})
    key = mine(*base)
    if not isinstance(key, str):
        return f"the key is a {type(key).__name__}; return text, so that it can name a file."
    if key != mine(*base):
        return "the same question gets another key the second time: leave out whatever is random or tells the time."
    if key != mine(b"picture", "efficientnet_lite0", "avgpool", {"fit": "pad", "size": 224}):
        return "the same options in another order give another key; sort them (json.dumps with sort_keys=True)."
    if key == mine(b"picturE", *base[1:]):
        return "a changed picture gets the old key, and so the old vector; put the bytes into the key."
    if key == mine(base[0], "random_cnn", *base[2:]):
        return "another encoder gets the same key; put its name into the key."
    if key == mine(*base[:2], "features.4", base[3]):
        return "another layer gets the same key; put the layer into the key."
    if key == mine(*base[:3], {"size": 160, "fit": "pad"}):
        return "another picture size gets the same key; put the options into the key."
    if mine(b"a", "bc", "d", {}) == mine(b"a", "b", "cd", {}):
        return (
            "encoder 'bc' with layer 'd' collides with 'b' and 'cd': you glue the parts; keep a separator between them."
        )
    if len(key) > 128 or not key.replace("-", "").replace("_", "").isalnum():
        return "the key cannot name a file (too long, or with signs in it); return the hexdigest of a hash."
    try:
        int(key)
    except ValueError:
        return None
    return (
        "this looks like Python's hash(), which differs from run to run, so nothing is ever found again; use hashlib."
    )


@exercise
def contrastive_loss(mine) -> str | None:
    """Check InfoNCE in both directions of n pairs at a temperature."""
    generator = torch.Generator().manual_seed(4)
    images, texts = torch.randn(6, 5, generator=generator), torch.randn(6, 5, generator=generator)
    images, texts = (torch.nn.functional.normalize(x, dim=1) for x in (images, texts))
    t = 0.2
    answer = numbers(mine(images.clone(), texts.clone(), t))
    if answer.shape != ():
        return f"the loss has shape {answer.shape}; average over the pairs to one number."
    value, cosine = float(answer), images @ texts.T
    n = torch.arange(len(images))
    cross = torch.nn.functional.cross_entropy

    def both(logits):
        return float(cross(logits, n) + cross(logits.T, n)) / 2

    if np.isclose(value, float(info_nce(images, texts, t, symmetric=True)), atol=1e-5):
        return None
    if np.isclose(value, both(cosine * t), atol=1e-5):
        return "you multiplied by the temperature; divide by it: a small one makes the contrast sharper."
    if np.isclose(value, both(cosine), atol=1e-5):
        return "you forgot the temperature: cosines lie between -1 and 1, too flat for a softmax; divide by it."
    if np.isclose(value, float(cross(cosine / t, n)), atol=1e-5):
        return "only images look for their texts; add the other direction (the transposed table) and take the mean."
    if np.isclose(value, float(cross(cosine.T / t, n)), atol=1e-5):
        return "only texts look for their images; add the other direction (the transposed table) and take the mean."
    if np.isclose(value, 2 * both(cosine / t), atol=1e-5):
        return "you added the two directions; take their mean."
    if np.isclose(value, len(n) * both(cosine / t), atol=1e-5):
        return "you summed over the pairs: the loss grows with the batch; take the mean."
    if np.isclose(value, -both(cosine / t), atol=1e-5):
        return "the sign is wrong: minimising this would push the pairs apart."
    zero = torch.zeros_like(n)
    if np.isclose(value, float(cross(cosine / t, zero) + cross(cosine.T / t, zero)) / 2, atol=1e-5):
        return "the positives are not on the diagonal: image i belongs to text i, so the target of row i is i, not 0."
    if np.isclose(value, float(cross(cosine / t, n) + cross(cosine.T, n)) / 2, atol=1e-5):
        return "only one direction is divided by the temperature; divide the table once, before both."
    if np.isclose(value, both((cosine / t).softmax(1)), atol=1e-5):
        return "two softmaxes: cross-entropy has one inside, so give it the table itself."
    if np.isclose(value, float(-(cosine / t).diagonal().mean()), atol=1e-5):
        return "only the right pairs count here; without the others in the softmax nothing is contrasted."
    flat = -torch.log_softmax((cosine / t).reshape(-1), 0).reshape(6, 6).diagonal().mean()
    if np.isclose(value, float(flat), atol=1e-5):
        return "the softmax runs over the whole table; it runs over each row (and over each column)."
    return f"for this batch the loss is {both(cosine / t):.4f}, you returned {value:.4f}."


@exercise(bonus=True)
def prepared_rows(mine) -> str | None:
    """mine(matrix (n, dim), mask (n,)) -> (n, dim): centred on the present rows, then of length 1; missing rows stay zero."""
    present = np.array([[3.0, 1.0, 0.0, 2.0], [5.0, 2.0, 4.0, 0.0], [1.0, 7.0, 2.0, 1.0], [4.0, 3.0, 9.0, 9.0]])
    matrix, mask = np.zeros((6, 4)), np.array([True, False, True, True, False, True])
    matrix[mask] = present
    with np.errstate(all="ignore"):
        answer = numbers(mine(matrix.copy(), mask.copy()), "result")

    def unit(rows: np.ndarray, axis: int = 1) -> np.ndarray:
        return rows / np.maximum(np.linalg.norm(rows, axis=axis, keepdims=True), 1e-12)

    kept = mask[:, None]
    centred = (matrix - present.mean(axis=0)) * kept
    right = unit(centred)
    if answer.shape == present.shape:
        return "the missing rows are gone, and with them the alignment with the items; keep all rows, missing ones as zeros."
    if answer.shape != right.shape:
        return f"the result has shape {answer.shape}; it should be that of the input, {right.shape}."
    if np.isnan(answer).any():
        return "a missing row became NaN (0 divided by 0): clamp its length at a tiny number before dividing."
    whole = matrix - matrix.mean(axis=0)
    mistakes = {
        "the mean is that of all rows: the zeros of missing items pull it down; take the mean of the present rows.": unit(
            whole * kept
        ),
        "the missing rows are content now: they became minus the mean; set them back to zero.": unit(
            matrix - present.mean(axis=0)
        ),
        "the mean is that of all rows, and the missing rows became content; use the mask twice.": unit(whole),
        "you subtracted the mean of each row (axis=1); subtract the mean row, one number for each dimension (axis=0).": (
            unit((matrix - matrix.mean(axis=1, keepdims=True)) * kept)
        ),
        "you subtracted one number from everything; subtract the mean row, one number for each dimension (axis=0).": unit(
            (matrix - present.mean()) * kept
        ),
        "you normalised before you centred, so the lengths are no longer 1; centre first.": (
            (unit(matrix) - unit(present).mean(axis=0)) * kept
        ),
        "nothing was centred: all rows still share what all items share.": unit(matrix),
        "you centred, but the rows do not have length 1 yet.": centred,
        "you centred, but the rows do not have length 1 yet, and missing rows became content.": whole,
        "you gave the columns length 1 (axis=0); every item is a row (axis=1).": unit(centred, 0),
        "you divided by each dimension's standard deviation; divide each row by its own length.": (
            centred / present.std(axis=0)
        ),
    }
    if not same(answer, right):
        found = first_named(answer, mistakes)
        return found or f"the first row should start with {right[0, 0]:.3f}, yours starts with {answer[0, 0]:.3g}."
    return None
