"""Checks of notebook 01: neighbours, balanced concatenation, shared labels."""

from __future__ import annotations

import numpy as np

from utils.checks.base import exercise

__all__ = ["balanced_concat", "label_share", "nearest_rows"]


@exercise
def nearest_rows(mine) -> str | None:
    """Check the k nearest rows by cosine."""
    # row 3 is long and at 45 degrees: the inner product would choose it, the cosine does not
    matrix = np.array([[2.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [9.0, 9.0], [1.0, 0.3]])
    answer = np.asarray(mine(matrix.copy(), 0, 2)).tolist()
    if answer == [1, 4]:
        return None
    if 0 in answer:
        return "the row itself is among its neighbours: its cosine with itself is 1; give it minus infinity."
    if answer == [2, 3] or answer[:1] == [2]:
        return "the farthest rows come first: np.argsort sorts upwards, so sort the negative cosines."
    if answer[:1] == [3]:
        return "the longest row wins: this is the inner product; divide by the lengths to get the cosine."
    if len(answer) != 2:
        return f"you returned {len(answer)} rows instead of k = 2."
    if answer == [4, 1]:
        return "the right rows in the wrong order: best first."
    return f"the two nearest rows are [1, 4], you returned {answer}."


@exercise
def balanced_concat(mine) -> str | None:
    """Check that each modality is brought to length 1 before concatenation."""
    a, b = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[0.0, 100.0, 0.0], [1.0, 0.0, 0.0]])
    with np.errstate(all="ignore"):
        answer = np.asarray(mine(a.copy(), b.copy()), dtype=float)
    right = np.array([[0.6, 0.8, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]])
    if answer.shape == (4, 2) or answer.shape[0] == 4:
        return "you stacked items under items (axis=0); put the columns side by side (axis=1)."
    if answer.shape != right.shape:
        return f"the result has shape {answer.shape}; two items with 2 + 3 numbers give {right.shape}."
    if np.isnan(answer).any():
        return "a missing (zero) row became NaN: clamp its length at a tiny number before dividing."
    if np.allclose(answer, np.concatenate([a, b], axis=1)):
        return "you did not normalise: the second modality is 20 times longer and drowns the first."
    joint = np.concatenate([a, b], axis=1)
    if np.allclose(answer, joint / np.linalg.norm(joint, axis=1, keepdims=True)):
        return (
            "you normalised after the concatenation: the longer modality still drowns the other; normalise each before."
        )
    with np.errstate(all="ignore"):
        columns = [np.nan_to_num(m / np.linalg.norm(m, axis=0, keepdims=True)) for m in (a, b)]
    if np.allclose(answer, np.concatenate(columns, axis=1)):
        return "you normalised the columns (axis=0); every item's row should have length 1 (axis=1)."
    if not np.allclose(answer, right):
        return f"for [3, 4] and [0, 100, 0] the result is {right[0].tolist()}, you returned {answer[0].tolist()}."
    return None


@exercise
def label_share(mine) -> str | None:
    """Check the share of neighbours with the item's own label."""
    neighbours = np.array([[1, 2], [0, 2], [3, 0], [2, 1]])
    labels = np.array(["a", "a", "b", "b"])
    answer = np.asarray(mine(neighbours, labels), dtype=float)
    right = np.array([0.5, 0.5, 0.5, 0.5])
    neighbours_2 = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    labels_2 = np.array(["a", "a", "a", "b"])
    second = np.asarray(mine(neighbours_2, labels_2), dtype=float)
    right_2 = np.array([2 / 3, 2 / 3, 2 / 3, 0.0])
    if second.shape == ():
        return "you returned one number for all items; keep one share per item (mean over axis=1)."
    if second.shape == (3,):
        return "you averaged over the items (axis=0); average over the neighbours of each item (axis=1)."
    if np.allclose(second, right_2 * 3):
        return "you counted the neighbours; divide by how many there are."
    if np.allclose(second, (right_2 * 3 + 1) / 4):
        return "you counted the item itself as a neighbour; it always shares its own label."
    if np.allclose(second, 1 - right_2):
        return "this is the share with another label."
    if answer.shape != right.shape or not np.allclose(answer, right) or not np.allclose(second, right_2):
        return f"for labels {labels_2.tolist()} the shares are {right_2.round(2).tolist()}, not {second.round(2).tolist()}."
    return None
