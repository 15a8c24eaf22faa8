"""Checks of notebook 00: profile, cosine, list, and the reason of a recommendation."""

from __future__ import annotations

import numpy as np

from utils.checks.base import Mistake, exercise, first_named, numbers, same

__all__ = ["cosine_scores", "reason_item", "top_k_list", "user_profile"]


@exercise
def user_profile(mine) -> str | None:
    """mine(vectors (n_items, dim), liked ids) -> (dim,): the mean vector of the liked items."""
    vectors = np.random.default_rng(1).integers(0, 20, size=(8, 4)).astype(float)
    liked = np.array([0, 2, 5])
    answer, right = numbers(mine(vectors.copy(), liked.copy())), vectors[liked].mean(axis=0)
    if answer.shape == (len(liked),):
        return "you averaged over the columns (axis=1): one number per liked item; average over the rows, axis=0."
    if answer.shape == ():
        return "you averaged over everything to one number; the profile keeps one number per dimension (axis=0)."
    if answer.shape != right.shape:
        return f"the profile has shape {answer.shape}; it should be one vector of shape {right.shape}."
    others = np.setdiff1d(np.arange(8), liked)
    mistakes = {
        "you averaged over all items of the shop; choose the liked rows first.": vectors.mean(axis=0),
        "you summed: a user with a long history would get a longer profile; divide by the number of items.": (
            vectors[liked].sum(axis=0)
        ),
        "you divided by the number of all items; divide by the number of liked ones.": vectors[liked].sum(axis=0) / 8,
        "you averaged over the items that are not liked: the mask is the wrong way round.": vectors[others].mean(
            axis=0
        ),
        "your rows are shifted by one: `liked` counts from 0, use it as it is.": vectors[liked + 1].mean(axis=0),
        "this is the median; the profile is the mean.": np.median(vectors[liked], axis=0),
        "you brought the mean to length 1; return the mean itself here, the cosine takes care of lengths.": (
            right / np.linalg.norm(right)
        ),
        "this is the largest value of each dimension, not the mean.": vectors[liked].max(axis=0),
        "you brought each item to length 1 first; that is a fine profile too, but here the mean is of the vectors as they are.": (
            vectors[liked] / np.linalg.norm(vectors[liked], axis=1, keepdims=True)
        ).mean(axis=0),
    }
    if any(same(answer, row) for row in vectors[liked]):
        return "you returned one liked item only; the profile is the mean over all of them."
    if not same(answer, right):
        return first_named(answer, mistakes) or f"the mean starts with {right[0]:.3g}, yours with {answer[0]:.3g}."
    return None


@exercise
def cosine_scores(mine) -> str | None:
    """mine(vectors (n_items, dim), profile (dim,)) -> (n_items,): the cosine of each row with the profile; 0 for a zero row."""
    vectors = np.array([[3.0, 4.0, 0.0, 0.0], [0.0, 2.0, 1.0, 5.0], [0.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 2.0]])
    profile = np.array([2.0, 0.0, 0.0, 1.0])  # square, so that the wrong axis runs and can be named
    with np.errstate(all="ignore"):
        answer = numbers(mine(vectors.copy(), profile.copy()), "scores")
    inner, length, own = vectors @ profile, np.linalg.norm(vectors, axis=1), np.linalg.norm(profile)
    right = inner / np.maximum(length, 1e-12) / own
    if answer.shape != right.shape:
        return f"the scores have shape {answer.shape}; one per item is {right.shape}."
    if np.isnan(answer[2]):
        return "the zero row became NaN (0 divided by 0): clamp its length at a tiny number before dividing."
    centred = vectors - vectors.mean(axis=1, keepdims=True), profile - profile.mean()
    lengths = np.maximum(np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1]), 1e-12)
    mistakes = {
        "this is the inner product: you did not divide by the two lengths.": inner,
        "you divided by the items' lengths but not by the profile's.": right * own,
        "you divided by the profile's length but not by the items'.": inner / own,
        "this is the cosine distance (1 minus the cosine): the nearest item would come last.": 1 - right,
        "the sign is wrong: the nearest item gets the smallest score.": -right,
        "the lengths run over the wrong axis (axis=0, one per dimension); every item is a row: axis=1.": (
            inner / np.linalg.norm(vectors, axis=0) / own
        ),
        "you divided all items by the length of the whole matrix; each row has its own length: axis=1.": (
            inner / np.linalg.norm(vectors) / own
        ),
        "the square root is missing: a length is the root of the sum of squares.": right
        / np.maximum(length, 1e-12)
        / own,
        "you subtracted a mean first: this is the correlation, not the cosine.": centred[0] @ centred[1] / lengths,
        "you divided by sums of absolute values; a length is the root of the sum of squares.": inner
        / np.maximum(np.abs(vectors).sum(axis=1), 1e-12)
        / np.abs(profile).sum(),
        "the minus sign got lost: an item that points the other way has a negative cosine.": np.abs(right),
    }
    if not same(answer, right):
        row = int(np.argmax(np.abs(answer - right)))
        return (
            first_named(answer, mistakes)
            or f"for row {row} the cosine is {right[row]:.4f}, yours is {answer[row]:.4g}."
        )
    return None


@exercise
def top_k_list(mine) -> str | None:
    """mine(scores (n_items,), taken ids, top_k) -> (top_k,) ids: the best items, best first, without the taken ones."""
    scores = np.array([-0.4, 0.9, -0.5, 0.7, -0.2, 0.3, -0.6])
    taken, top_k, right = np.array([1]), 4, [3, 5, 4, 0]
    answer = numbers(mine(scores.copy(), taken.copy(), top_k), "list")
    if answer.shape == (2, top_k):
        return "you returned scores and positions together (torch.topk gives both); return the positions only."
    if answer.shape == (top_k - 1,):
        return "one place is empty: you cut the list first and removed the taken item after; remove it before you cut."
    if answer.shape != (top_k,):
        return f"the list has shape {answer.shape}; it should have {top_k} places."
    if not same(answer, np.round(answer)):
        return "you returned scores; return the positions of the items (np.argsort)."
    mistakes = {
        "the taken item has the score 0 now, which beats every negative score; give it minus infinity.": [3, 5, 1, 4],
        "you deleted the taken item before sorting, so every position after it moved by one; mask it instead.": [
            2,
            4,
            3,
            0,
        ],
        "you skip the best item: the list starts at place 0.": [5, 4, 0, 2],
        "the worst items come first: np.argsort sorts upwards, so sort the negative scores.": [6, 2, 0, 4],
        "the worst items come first, and the taken one leads them: sort the negative scores.": [1, 6, 2, 0],
        "your items are numbered from 1; positions count from 0.": np.array(right) + 1,
    }
    found = first_named(answer, mistakes)
    if found:
        return found
    if answer.tolist() == right:
        return _long_list(mine)
    if 1 in answer:
        return "item 1 was taken already and comes back; give the taken items a score of minus infinity."
    if sorted(answer) == sorted(right):
        return "the right items in the wrong order: best first."
    return f"the best four items that are left are {right}, you returned {answer.tolist()}."


def _long_list(mine) -> str | None:
    scores = np.random.default_rng(2).permutation(2000) / 10.0  # long: np.argpartition sorts a short list by accident
    answer = numbers(mine(scores.copy(), np.array([3]), 100), "list")
    right = [item for item in np.argsort(-scores) if item != 3][:100]
    if answer.tolist() == right:
        return None
    return "right for a short list, but a longer one is in the wrong order: np.argpartition finds the best, it does not sort."


@exercise(bonus=True)
def reason_item(mine) -> str | None:
    """mine(vectors (n_items, dim), liked ids, item) -> id of the liked item with the highest cosine to ``item``."""
    vectors = np.array([[0.0, 1.0], [9.0, 9.0], [2.0, 0.1], [4.0, 0.4], [0.9, 0.6], [-1.0, 0.0], [1.0, 0.0]])
    answer = numbers(mine(vectors.copy(), np.array([3, 1, 5, 4]), 6), "reason")
    if answer.size != 1:
        raise Mistake(f"you return {answer.size} numbers; the reason is one item: the first of your ranking.")
    answer = float(answer.reshape(-1)[0])
    mistakes = {
        6: "the item explains itself: you searched all items; search the liked ones only.",
        2: "item 2 is near, but the user never took it; search the liked items only.",
        0: "you return a place in `liked`, not an item id: look it up, liked[place].",
        1: "the longest vector wins: this is the inner product; divide by the lengths to get the cosine.",
        4: "this is the nearest by distance; a long vector in the same direction is nearer by cosine.",
        5: "this is the least similar of the liked items: the largest cosine wins.",
    }
    if answer == 3:
        return None
    if not answer.is_integer():
        return "you return the cosine itself; return the id of the item that has it."
    return mistakes.get(int(answer), f"the reason is item 3, you return {answer:g}.")
