"""Checks of notebook 00: profile, cosine, list, and the reason of a recommendation."""

from __future__ import annotations

import numpy as np

from utils.checks.base import Mistake, exercise, farthest, first_named, numbers, same

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
    if answer.shape == (3, 4):
        return "these are the rows of the liked items; average them to one vector."
    if answer.shape != right.shape:
        return f"the profile has shape {answer.shape}; it should be one vector of shape {right.shape}."
    others = np.setdiff1d(np.arange(8), liked)
    mistakes = {
        "you averaged over all items of the shop; choose the liked rows first.": vectors.mean(axis=0),
        "you summed: a user with a long history would get a longer profile; divide by the number of items.":
            vectors[liked].sum(axis=0),
        "you divided by the number of all items; divide by the number of liked ones.": vectors[liked].sum(axis=0) / 8,
        "you averaged over the items that are not liked: the mask is the wrong way round.":
            vectors[others].mean(axis=0),
        "your rows are shifted by one: `liked` counts from 0, use it as it is.": vectors[liked + 1].mean(axis=0),
        "this is the median; the profile is the mean.": np.median(vectors[liked], axis=0),
        "you brought the mean to length 1; return the mean itself here, the cosine takes care of lengths.":
            right / np.linalg.norm(right),
        "this is the largest value of each dimension, not the mean.": vectors[liked].max(axis=0),
        "you brought each item to length 1 first; that is a fine profile too, but here the mean is of the vectors as they are.":
            (vectors[liked] / np.linalg.norm(vectors[liked], axis=1, keepdims=True)).mean(axis=0),
        "you took the first rows of the shop, as many as there are liked items; `liked` says which rows.":
            vectors[: len(liked)].mean(axis=0),
        "you took all rows between the first and the last liked item; take the liked rows only: vectors[liked].":
            vectors[liked[0] : liked[-1]].mean(axis=0),
        "you subtracted the mean of the shop; the profile is the mean of the liked rows itself.":
            right - vectors.mean(axis=0),
        "you divided by one item too few; the mean divides by the number of liked items.":
            vectors[liked].sum(axis=0) / 2,
        "you divided by the root of the number of liked items; a mean divides by the number itself.":
            vectors[liked].sum(axis=0) / np.sqrt(3),
        "the later items weigh more here; in this profile all liked items weigh the same.":
            np.average(vectors[liked], axis=0, weights=[1, 2, 3]),
        "you cut the decimals off; a profile is no whole number.": np.floor(right),
    }  # fmt: skip
    if any(same(answer, row) for row in vectors[liked]):
        return "you returned one liked item only; the profile is the mean over all of them."
    if not same(answer, right):
        at = farthest(answer, right)
        return first_named(answer, mistakes) or f"place {at} of the mean is {right[at]:.3g}, yours is {answer[at]:.3g}."
    return None


@exercise
def cosine_scores(mine) -> str | None:
    """mine(vectors (n_items, dim), profile (dim,)) -> (n_items,): the cosine of each row with the profile; 0 for a zero row."""
    vectors = np.array([[3.0, 4.0, 0.0, 0.0], [0.0, 2.0, 1.0, 5.0], [0.0, 0.0, 0.0, 0.0], [-0.1, 0.0, 0.0, 0.3]])
    profile = np.array([2.0, 0.0, 0.0, 1.0])  # square, so that the wrong axis runs and can be named
    with np.errstate(all="ignore"):
        answer = numbers(mine(vectors.copy(), profile.copy()), "scores")
    inner, length, own = vectors @ profile, np.linalg.norm(vectors, axis=1), np.linalg.norm(profile)
    right = inner / np.maximum(length, 1e-12) / own
    if answer.shape == (3,):
        return "the zero row is gone, and every later item moved by one; keep its place and give it 0."
    if answer.shape == (4, 4) and same(answer.sum(axis=1), right):
        return "you multiplied entry by entry; add up each row: vectors @ profile."
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
        "the lengths run over the wrong axis (axis=0, one per dimension); every item is a row: axis=1.":
            inner / np.linalg.norm(vectors, axis=0) / own,
        "you divided all items by the length of the whole matrix; each row has its own length: axis=1.":
            inner / np.linalg.norm(vectors) / own,
        "the square root is missing: a length is the root of the sum of squares.":
            right / np.maximum(length, 1e-12) / own,
        "you subtracted a mean first: this is the correlation, not the cosine.": centred[0] @ centred[1] / lengths,
        "you divided by sums of absolute values; a length is the root of the sum of squares.":
            inner / np.maximum(np.abs(vectors).sum(axis=1), 1e-12) / np.abs(profile).sum(),
        "the minus sign got lost: an item that points the other way has a negative cosine.": np.abs(right),
        "you clamped the lengths at 1, which shrinks the cosine of short vectors; clamp at a tiny number.":
            inner / np.maximum(length, 1) / own,
        "you added 1 to the divisor, which changes every cosine; clamp it at a tiny number instead.":
            inner / (length * own + 1),
        "you added the two lengths; divide by their product.": inner / (length + own),
        "this is the angle; return the cosine itself.": np.arccos(np.clip(right, -1, 1)),
        "you moved the cosines to 0..1; a zero row has to get 0, so leave them as they are.": (right + 1) / 2,
        "a softmax makes the items compete; the cosine looks at one item at a time.":
            np.exp(right) / np.exp(right).sum(),
        "this is the distance between the two; the cosine looks at the direction only.":
            np.linalg.norm(vectors - profile, axis=1),
        "this is minus the distance; the cosine looks at the direction only.":
            -np.linalg.norm(vectors - profile, axis=1),
        "you returned the ranking; return the cosine of each item, in the order of the items.": np.argsort(-right),
        "the profile meets the columns here; every item is a row: vectors @ profile.":
            vectors.T @ profile / np.maximum(np.linalg.norm(vectors, axis=0) * own, 1e-12),
    }  # fmt: skip
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
    scores = np.array([-1.2, 1.0, -1.5, 2.1, -0.6, 0.9, -1.8])  # the taken item is not the best one, some are below -1
    taken, top_k, right = np.array([1]), 4, [3, 5, 4, 0]
    answer = numbers(mine(scores.copy(), taken.copy(), top_k), "list")
    if answer.shape == (2, top_k):
        return "you returned scores and positions together (torch.topk gives both); return the positions only."
    if answer.shape == (top_k - 1,):
        return "one place is empty: you cut the list first and removed the taken item after; remove it before you cut."
    if answer.shape == scores.shape and set(answer) == {0, 1}:
        return "you returned a mask; return the positions of the items, best first."
    if answer.shape == (top_k + 2,):
        return "you returned the whole ranking; cut it after top_k items."
    if answer.shape != (top_k,):
        return f"the list has shape {answer.shape}; it should have {top_k} places."
    if not same(answer, np.round(answer)):
        return "you returned scores; return the positions of the items (np.argsort)."
    mistakes = {
        "the taken item has the score 0 now, which beats every negative score; give it minus infinity.": [3, 5, 1, 4],
        "you deleted the taken item before sorting, so every position after it moved by one; mask it instead.":
            [2, 4, 3, 0],
        "you skip the best item: the list starts at place 0.": [5, 4, 0, 2],
        "the worst items come first: np.argsort sorts upwards, so sort the negative scores.": [6, 2, 0, 4],
        "the worst items come first, and the taken one leads them: sort the negative scores.": [1, 6, 2, 0],
        "your items are numbered from 1; positions count from 0.": np.array(right) + 1,
        "you drop the first places, as if the taken items were the best ones; mask the taken items themselves.":
            [1, 5, 4, 0],
        "the taken item comes back at the end: others have a lower score than you gave it; give it minus infinity.":
            [3, 5, 4, 1],
        "the signs got lost: a score of -1.8 is the lowest, not one of the highest.": [3, 6, 2, 0],
        "these are the ranks of the first items, not the items of the first ranks: sort once.": [3, 6, 4, 0],
        "a set has no order: the items come out by their number, not by their score.": [0, 2, 3, 4],
    }  # fmt: skip
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
    # Half of many items: np.argpartition promises no order, but each processor has its own code for it, and all of them
    # sort a short part on the way, some up to a few hundred places. None can have sorted a thousand.
    n_places, taken = 1000, 3
    scores = np.random.default_rng(2).permutation(2 * n_places) / 10.0
    answer = numbers(mine(scores.copy(), np.array([taken]), n_places), "list")
    right = [item for item in np.argsort(-scores) if item != taken][:n_places]
    if answer.tolist() == right:
        return None
    if sorted(answer) == sorted(right):
        return "right for a short list, but a longer one is in the wrong order: np.argpartition finds the best, it does not sort."
    return (
        f"right for a short list, but not for {n_places} places of {2 * n_places} items, where item {taken} is taken."
    )


@exercise(bonus=True)
def reason_item(mine) -> str | None:
    """mine(vectors (n_items, dim), liked ids, item) -> id of the liked item with the highest cosine to ``item``."""
    # 3 is right; 0 and 2 were never taken, 6 is the item itself; 8 points where the mean of the history points
    vectors = np.array(
        [[2.0, 0.1], [9.0, 9.0], [0.0, 1.0], [4.0, 0.4], [0.9, -0.5], [-1.0, 0.3], [1.0, 0.0], [0.0, -2.0], [3.0, 1.9]]
    )
    answer = numbers(mine(vectors.copy(), np.array([8, 7, 3, 1, 5, 4]), 6), "reason")
    if answer.size != 1:
        raise Mistake(f"you return {answer.size} numbers; the reason is one item: the first of your ranking.")
    answer = float(answer.reshape(-1)[0])
    mistakes = {
        6: "the item explains itself: you searched all items; search the liked ones only.",
        0: "item 0 is near, but the user never took it; search the liked items only.",
        2: "you return a place in `liked`, not an item id: look it up, liked[place].",
        1: "the longest vector wins: this is the inner product; divide by the lengths to get the cosine.",
        4: "this is the nearest by distance; a long vector in the same direction is nearer by cosine.",
        5: "this is the least similar of the liked items: the largest cosine wins.",
        7: "your rows are in the order of the ids (a mask sorts them), `liked` is not: look the place up in the same order.",
        8: "this is the liked item nearest to the whole history; the reason is the one nearest to `item`.",
    }
    if answer == 3:
        return None
    if not answer.is_integer():
        return "you return the cosine itself; return the id of the item that has it."
    return mistakes.get(int(answer), f"the reason is item 3, you return {answer:g}.")
