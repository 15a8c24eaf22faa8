"""Checks of notebook 03: a picture as input, masked mean pooling, a cache's key, the contrastive loss, prepared features."""

from __future__ import annotations

import numpy as np
import torch

from utils.checks.base import exercise, farthest, first_named, numbers, same
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
    if answer.shape == (1, *right.shape):
        return "you made a batch of one; return the picture alone, (3, height, width)."
    if answer.shape == picture.shape[:2]:
        return "the colours are gone: keep the three channels, and put them first."
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
    constants = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    others = {
        "subtract 127, not 128: the two constants are not the same.": (moved - 128) / 128,
        "divide by 128, not 127: the two constants are not the same.": (moved - 127) / 127,
        "the two constants are swapped: subtract 127, divide by 128.": (moved - 128) / 127,
        "these are the mean and spread of another network's training (one for each channel); this one wants "
        "(value - 127) / 128.": (moved - np.reshape(constants[0], (3, 1, 1))) / np.reshape(constants[1], (3, 1, 1)),
        "you standardised by this picture's own mean and spread: a dark picture would look like a bright one.": (
            (moved - moved.mean()) / moved.std()
        ),
        "you subtracted this picture's own mean colour; subtract 127, the same for every picture.": (
            (moved - moved.mean(axis=(1, 2), keepdims=True)) / 128
        ),
        "you divided whole numbers (//) or rounded, which leaves a few values only; divide floats.": np.floor(right),
        "you rounded, which leaves three values only; divide floats.": np.round(right),
        "you cut off what is dark: the values below 0 belong to the picture.": np.maximum(right, 0),
        "the picture stands on its head: only the channels move, the rows stay in their order.": right[:, ::-1],
        "the picture is mirrored: only the channels move, the columns stay in their order.": right[:, :, ::-1],
    }
    if not np.allclose(answer, right, atol=1e-5):
        at = farthest(answer, right)
        value = picture.transpose(2, 0, 1)[at]
        return (
            first_named(answer, others)
            or f"the value {value} should become {right[at]:.3f}, you returned {answer[at]:.3g}."
        )
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
    if answer.shape == (4,):
        return "you averaged over all tokens of the batch together; every sentence keeps a vector of its own."
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
    total, count = (hidden * weight).sum(1), weight.sum(1)
    others = {
        "you divide by the number of dimensions; divide by each sentence's number of real tokens.": total / 4,
        "you divide by the number of sentences; divide by each sentence's number of real tokens.": total / 3,
        "you divide by one token too many; divide by the number of real tokens.": total / (count + 1),
        "you divide by one token too few; divide by the number of real tokens.": total / (count - 1),
        "you divide by the root of the number of tokens; a mean divides by the number itself.": total / count.sqrt(),
        "you count the tokens in the wrong direction (over the sentences, dim=0); count them in each sentence, dim=1.":
            total / attention.sum(0)[:3, None],
        "you leave out the first token; this encoder was trained for the mean over all real tokens.":
            (hidden[:, 1:] * weight[:, 1:]).sum(1) / weight[:, 1:].sum(1),
        "you brought each token to length 1 first; average the vectors as they are.":
            (torch.nn.functional.normalize(hidden, dim=2) * weight).sum(1) / count,
        "a softmax of the mask still gives padding a share: take the mask itself, and divide by its sum.":
            (hidden * attention.float().softmax(1)[..., None] * weight).sum(1),
        "a softmax of the mask gives padding a share; take the mask itself, and divide by its sum.":
            (hidden * attention.float().softmax(1)[..., None]).sum(1),
        "this is the maximum over the real tokens, not the mean.": hidden.masked_fill(weight == 0, -9).amax(1),
        "this is the median over the real tokens, not the mean.":
            torch.stack([h[: int(n)].median(0).values for h, n in zip(hidden, count[:, 0])]),
    }  # fmt: skip
    if not np.allclose(answer, right, atol=1e-5):
        row, place = farthest(answer, right)
        return first_named(answer, others) or (
            f"sentence {row} has {int(count[row])} real tokens; place {place} of its mean is {right[row, place]:.3f}, "
            f"you have {answer[row, place]:.3f}."
        )
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
    if key.lstrip("-").isdigit():
        return "this looks like Python's hash(), which differs from run to run, so nothing is ever found again; use hashlib."
    if key == mine(*base[:3], {"size": 224, "fit": "crop"}):
        return "another way of fitting gets the same key; put all options into the key, not only the size."
    if mine(b"a", "bc", "d", {}) == mine(b"a", "b", "cd", {}):
        return (
            "encoder 'bc' with layer 'd' collides with 'b' and 'cd': you glue the parts; keep a separator between them."
        )
    if mine(b"a", "b", "c", {}) == mine(b"a", "c", "b", {}):
        return "encoder and layer may change places in your key: keep them in one order, each in its own place."
    if mine(b"a", "b", "c", {"x": 1, "y": 2}) == mine(b"a", "b", "c", {"x": 2, "y": 1}):
        return "the options {'x': 1, 'y': 2} and {'x': 2, 'y': 1} get the same key: keep each value beside its name."
    if key == mine(b"erutcip", *base[1:]):
        return (
            "the same bytes in another order get the same key: hash the content as it is, no sum or sorted copy of it."
        )
    if len({mine(b"picture %d" % n, *base[1:]) for n in range(600)}) < 600:
        return "of 600 pictures two get the same key: it is too short; keep the whole hexdigest."
    if len(key) > 128 or not key.replace("-", "").replace("_", "").isalnum():
        return "the key cannot name a file (too long, or with signs in it); return the hexdigest of a hash."
    return None


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
    root, own = both(cosine / t**0.5), cosine / t - 1e9 * torch.eye(len(n))
    others = {
        "you summed over the pairs and over the two directions: take the mean of both.": 2 * len(n) * both(cosine / t),
        "you divide by the root of the temperature; divide by the temperature itself.": root,
        "the temperature divides the loss; divide the table by it, before the softmax.": both(cosine) / t,
        "the right pair is missing below: the softmax runs over all texts of the batch, the right one included.":
            float((torch.logsumexp(own, 1) - cosine.diagonal() / t).mean()),
        "the logarithm is missing: cross-entropy is minus the logarithm of the right pair's share.":
            -float((cosine / t).softmax(1).diagonal().mean()),
        "pictures are compared with pictures: the table is images @ texts.T.": float(cross(images @ images.T / t, n)),
        "each pair of the table is judged alone (binary cross-entropy); in each row the texts compete: softmax.":
            float(torch.nn.functional.binary_cross_entropy_with_logits(cosine / t, torch.eye(len(n)))),
        "the targets are shifted by one: image i belongs to text i.":
            float(cross(cosine / t, (n + 1) % len(n)) + cross(cosine.T / t, (n + 1) % len(n))) / 2,
        "use the natural logarithm, not log2.": both(cosine / t) / float(np.log(2)),
        "this is the squared distance of the right pairs: without the others nothing is contrasted.":
            float((images - texts).square().sum(1).mean()),
        "you take the largest value of each row; the right one is on the diagonal.": float((cosine / t).amax(1).mean()),
    }  # fmt: skip
    if found := first_named(value, others):
        return found
    return f"for this batch the loss is {both(cosine / t):.4f}, you returned {value:.4f}."


@exercise(bonus=True)
def prepared_rows(mine) -> str | None:
    """mine(matrix (n, dim), mask (n,)) -> (n, dim): centred on the present rows, then of length 1; missing rows stay zero."""
    present = np.array([[3.0, 2.5, 2.5, 2.0], [5.0, 2.0, 4.0, 0.0], [1.0, 7.0, 2.0, 1.0], [4.0, 1.0, 2.0, 5.5]])
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
        "the mean is that of all rows: the zeros of missing items pull it down; take the mean of the present rows.":
            unit(whole * kept),
        "the missing rows are content now: they became minus the mean; set them back to zero.":
            unit(matrix - present.mean(axis=0)),
        "the mean is that of all rows, and the missing rows became content; use the mask twice.": unit(whole),
        "you subtracted the mean of each row (axis=1); subtract the mean row, one number for each dimension (axis=0).":
            unit((matrix - matrix.mean(axis=1, keepdims=True)) * kept),
        "you subtracted one number from everything; subtract the mean row, one number for each dimension (axis=0).":
            unit((matrix - present.mean()) * kept),
        "you normalised before you centred, so the lengths are no longer 1; centre first.":
            (unit(matrix) - unit(present).mean(axis=0)) * kept,
        "nothing was centred: all rows still share what all items share.": unit(matrix),
        "you centred, but the rows do not have length 1 yet.": centred,
        "you centred, but the rows do not have length 1 yet, and missing rows became content.": whole,
        "you gave the columns length 1 (axis=0); every item is a row (axis=1).": unit(centred, 0),
        "you divided by each dimension's standard deviation; divide each row by its own length.":
            centred / present.std(axis=0),
        "you divided by each dimension's standard deviation as well; centre, then length 1, is all that is asked for.":
            unit(centred / present.std(axis=0)),
        "you normalised, centred and normalised again; centre the vectors as they are, then normalise once.":
            unit((unit(matrix) - unit(present).mean(axis=0)) * kept),
        "you subtracted the median; subtract the mean of the present rows.":
            unit((matrix - np.median(present, axis=0)) * kept),
        "you added the mean; subtract it.": unit((matrix + present.mean(axis=0)) * kept),
        "you subtracted the sum of the present rows; subtract their mean.": unit((matrix - present.sum(axis=0)) * kept),
        "you centred twice: after the division by the lengths the rows must stay as they are.":
            (right - right[mask].mean(axis=0)) * kept,
        "you clamped the lengths at 1, so that a short row stays short; clamp at a tiny number.":
            centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1),
        "the square root is missing: a length is the root of the sum of squares.":
            centred / np.maximum((centred**2).sum(axis=1, keepdims=True), 1e-12),
        "you divided by the sum of absolute values; a length is the root of the sum of squares.":
            centred / np.maximum(np.abs(centred).sum(axis=1, keepdims=True), 1e-12),
        "you divided everything by one length, that of the whole matrix; each row has its own (axis=1).":
            centred / np.linalg.norm(centred),
        "the mask is the wrong way round: True means that the row is present.":
            unit((matrix - present.mean(axis=0)) * ~kept),
    }  # fmt: skip
    if not same(answer, right):
        found = first_named(answer, mistakes)
        if not same(answer[~mask], right[~mask]):
            return (
                found or "the missing rows must be zeros at the end: whatever stands there would be taken for content."
            )
        row, place = farthest(answer, right)
        return (
            found or f"place {place} of row {row} should be {right[row, place]:.3f}, yours is {answer[row, place]:.3g}."
        )
    return None
