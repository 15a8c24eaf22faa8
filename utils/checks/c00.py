"""Checks of notebook 00: profile, cosine, list."""

from __future__ import annotations

import numpy as np

from utils.checks.base import exercise

__all__ = ["cosine_scores", "top_k_list", "user_profile"]


@exercise
def user_profile(mine) -> str | None:
    """Check the mean vector of the liked items."""
    vectors = np.array([[1.0, 0.0, 2.0], [0.0, 4.0, 0.0], [3.0, 2.0, 0.0], [9.0, 9.0, 9.0]])
    liked = np.array([0, 2])
    answer = np.asarray(mine(vectors.copy(), liked), dtype=float)
    right = vectors[liked].mean(axis=0)
    if answer.shape == (len(liked),):
        return "you averaged over the columns (axis=1): one number per liked item; average over the rows, axis=0."
    if answer.shape == ():
        return "you averaged over everything to one number; the profile keeps one number per dimension (axis=0)."
    if answer.shape != right.shape:
        return f"the profile has shape {answer.shape}; it should be one vector of shape {right.shape}."
    if np.allclose(answer, vectors.mean(axis=0)):
        return "you averaged over all items of the shop; choose the liked rows first."
    if np.allclose(answer, vectors[liked].sum(axis=0)):
        return "you summed: a user with a long history would get a longer profile; divide by the number of items."
    if not np.allclose(answer, right):
        return f"for rows {vectors[liked].tolist()} the mean is {right.tolist()}, you returned {answer.tolist()}."
    return None


@exercise
def cosine_scores(mine) -> str | None:
    """Check the cosine of each row with a profile."""
    vectors = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0], [-1.0, 0.0]])
    profile = np.array([2.0, 0.0])
    with np.errstate(all="ignore"):
        answer = np.asarray(mine(vectors.copy(), profile.copy()), dtype=float)
    right = np.array([0.6, 0.0, 0.0, -1.0])
    if answer.shape != right.shape:
        return f"the scores have shape {answer.shape}; one per item is {right.shape}."
    if np.isnan(answer[2]):
        return "the zero row became NaN (0 divided by 0): clamp its length at a tiny number before dividing."
    if np.allclose(answer, vectors @ profile):
        return "this is the inner product: you did not divide by the two lengths."
    if np.allclose(answer, right * np.linalg.norm(profile)):
        return "you divided by the items' lengths but not by the profile's."
    if np.allclose(answer * np.linalg.norm(profile), vectors @ profile):
        return "you divided by the profile's length but not by the items'."
    if np.allclose(answer, 1 - right):
        return "this is the cosine distance (1 minus the cosine): the nearest item would come last."
    if not np.allclose(answer, right):
        return f"for the row [3, 4] and the profile [2, 0] the cosine is 0.6, you returned {answer[0]:.3g}."
    return None


@exercise
def top_k_list(mine) -> str | None:
    """Check the best items, best first, without the taken ones."""
    scores = np.array([0.1, 0.9, 0.5, 0.7, -0.2, 0.3])
    taken, top_k = np.array([1]), 3
    given = scores.copy()
    answer = np.asarray(mine(given, taken, top_k))
    if not np.array_equal(given, scores):
        return "you changed the scores that were passed in; work on a copy, the next user needs them too."
    if len(answer) != top_k:
        return f"the list has {len(answer)} places instead of {top_k}."
    if np.issubdtype(answer.dtype, np.floating):
        return "you returned scores; return the positions of the items (np.argsort)."
    if np.array_equal(answer, [4, 0, 5]):
        return "the worst items come first: np.argsort sorts upwards, so sort the negative scores."
    if 1 in answer.tolist():
        return "item 1 was taken already and comes back; give the taken items a score of minus infinity."
    if set(answer.tolist()) == {2, 3, 5}:
        return None if np.array_equal(answer, [3, 2, 5]) else "the right items in the wrong order: best first."
    return f"the best three items that are left are [3, 2, 5], you returned {answer.tolist()}."
