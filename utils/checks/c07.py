"""Checks of notebook 07: the centred cosine, the mean of observed neighbours, feature propagation, a diffusion."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from utils.challenges.imputation import clamped, neighbours
from utils.checks.base import Mistake, exercise, farthest, first_named, numbers

__all__ = ["centred_cosine", "diffused_mean", "feature_propagation", "neighbour_mean"]

DIRT = 50.0  # stands in missing rows, so that reading them shows


# ---- exercise 1 ----


@exercise
def centred_cosine(mine: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> str | None:
    """mine(truth, filled, centre) -> mean cosine of the rows after subtracting centre."""
    rng = np.random.default_rng(0)
    centre = np.array([3.0, -1.0, 2.0])
    truth, filled = rng.normal(size=(6, 3)) + centre, 2 * rng.normal(size=(6, 3)) + centre
    answer = numbers(mine(truth.copy(), filled.copy(), centre.copy()), "cosine")
    if answer.shape == (6,):
        return "you return one cosine for each row: take their mean."
    if answer.size != 1:
        return f"the centred cosine is one number; you return shape {answer.shape}."
    a, b = truth - centre, filled - centre
    right = _cosine(a, b)
    known = {
        "you do not subtract centre: rows that share a mean then look alike, whatever they say.": _cosine(
            truth, filled
        ),
        "you centre the truth only: subtract centre from the filled rows too.": _cosine(a, filled),
        "you centre the filled rows only: subtract centre from the truth too.": _cosine(truth, b),
        "you subtract each matrix's own mean: centre is given, and is the same for both.": _cosine(
            truth - truth.mean(0), filled - filled.mean(0)
        ),
        "you return the mean inner product: divide by both lengths.": float((a * b).sum(1).mean()),
        "you divide by one length only: divide by the lengths of both rows.": float(
            ((a * b).sum(1) / np.linalg.norm(a, axis=1)).mean()
        ),
        "you take the cosine of the whole tables: take it row by row, then the mean.": float(
            (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
        ),
        "the lengths are squared: divide by their product, each the root of a sum of squares.": float(
            ((a * b).sum(1) / (a**2).sum(1) / (b**2).sum(1)).mean()
        ),
        "you compare the columns: an item is a row, so sum over axis=1.": _cosine(a.T, b.T),
        "you add the cosines up: take their mean.": 6 * right,
        "you return the distance, 1 minus the cosine.": 1 - right,
        "you add centre: subtract it.": _cosine(truth + centre, filled + centre),
        "you take the lengths before you subtract centre: subtract first, then product and lengths of the same rows.": float(
            ((a * b).sum(1) / np.linalg.norm(truth, axis=1) / np.linalg.norm(filled, axis=1)).mean()
        ),
        "you subtract the mean of truth: centre is given, and is that of the observed vectors.": _cosine(
            truth - truth.mean(0), filled - truth.mean(0)
        ),
        "you subtract the mean of filled: centre is given, and is that of the observed vectors.": _cosine(
            truth - filled.mean(0), filled - filled.mean(0)
        ),
        "you subtract the mean of each row: subtract centre, one number for each dimension.": _cosine(
            truth - truth.mean(1, keepdims=True), filled - filled.mean(1, keepdims=True)
        ),
        "the signs get lost: a filled row that points the other way has a negative cosine.": float(
            np.abs((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean()
        ),
        "this is the cosine of the two mean rows: take it row by row, then the mean.": _cosine(
            a.mean(0, keepdims=True), b.mean(0, keepdims=True)
        ),
        "every row meets every other one: row i of truth belongs to row i of filled.": float(
            (a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)).mean()
        ),
        "the lengths are added: divide by their product.": float(
            ((a * b).sum(1) / (np.linalg.norm(a, axis=1) + np.linalg.norm(b, axis=1))).mean()
        ),
        "this is the median of the cosines: take their mean.": float(
            np.median((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
        ),
        "you move the cosines to 0..1: a row without a direction has to count 0, so leave them as they are.": (
            right + 1
        )
        / 2,
        "this is the mean squared error: the cosine asks for the direction.": float(np.square(truth - filled).mean()),
        "you divide by one row too few: take the mean.": 6 * right / 5,
        "this is the mean angle: return the cosine itself.": float(
            np.arccos(np.clip((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1), -1, 1)).mean()
        ),
    }
    for sentence, wrong in known.items():
        if np.isclose(float(answer), wrong) and not np.isclose(wrong, right):
            return sentence
    if not np.isclose(float(answer), right):
        return f"the mean cosine of these six rows is {right:.4f}, you return {float(answer):.4f}."
    filled[:3] = centre
    with np.errstate(all="ignore"):
        flat = float(mine(truth.copy(), filled.copy(), centre.copy()))
    if not np.isfinite(flat):
        return "a row that equals centre has length 0, and you divide by it: its cosine is 0."
    if np.isclose(flat, _cosine(a[3:], b[3:])):
        return (
            "you leave rows out that equal centre: they count as 0, or a filling that says nothing would look better."
        )
    right = _cosine(a[3:], b[3:]) / 2
    return None if np.isclose(flat, right) else f"with three rows that equal centre it is {right:.4f}, not {flat:.4f}."


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


# ---- exercises 2 and 3 ----


def _case() -> tuple[np.ndarray, np.ndarray, sp.csr_matrix]:
    """Twelve items in a directed graph; 4 to 9 are missing, 8 has missing neighbours only, 9 has none."""
    rng = np.random.default_rng(1)
    matrix, mask = rng.normal(size=(12, 3)) + 4, np.ones(12, dtype=bool)
    mask[4:10] = False
    links = {0: [1, 4], 1: [2, 5], 2: [3, 0], 3: [0, 1, 6], 4: [0, 1, 2, 5], 5: [2, 3, 4], 6: [3, 10, 7], 7: [8, 11]}
    links |= {8: [4, 5], 9: [], 10: [11, 6], 11: [10, 0]}
    rows = [item for item, near in links.items() for _ in near]
    columns = [item for near in links.values() for item in near]
    return matrix, mask, sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(12, 12))


@exercise
def neighbour_mean(mine: Callable[[np.ndarray, np.ndarray, sp.csr_matrix], np.ndarray]) -> str | None:
    """mine(matrix, mask, graph) -> (n_items, dim), missing rows filled with the mean of their observed neighbours."""
    matrix, mask, graph = _case()
    dirty = np.where(mask[:, None], matrix, DIRT)
    given = dirty.copy()
    with np.errstate(all="ignore"):
        answer = numbers(mine(given, mask.copy(), graph.copy()), "filled table")
    if answer.shape != matrix.shape:
        return f"every item has a row of {matrix.shape[1]} numbers: return shape {matrix.shape}, not {answer.shape}."
    if not np.array_equal(given, dirty):
        return "you change the matrix that was given: work on a copy, the caller still needs it."
    right = neighbours(matrix, mask, graph=graph)
    if np.isnan(answer).any():
        return "an item without an observed neighbour became NaN (0 / 0): give it the mean of the observed vectors."
    if not np.allclose(answer[mask], matrix[mask], atol=1e-4):
        if np.array_equal(answer[~mask], dirty[~mask]):
            return "the mask is upside down: True is observed, and you filled the observed rows."
        return "you changed observed rows: only missing rows are filled."
    if np.allclose(answer, right, atol=1e-4):
        return None
    mu = matrix[mask].mean(0)
    easy, lonely = slice(4, 8), slice(8, 10)
    seen = mask.astype(float)
    if np.allclose(answer[easy], right[easy], atol=1e-4):
        if np.allclose(answer[lonely], 0):
            return "items without an observed neighbour stay zero: give them the mean of the observed vectors."
        if np.allclose(answer[lonely], dirty.mean(0), atol=1e-4):
            return "your fallback is the mean of all rows, missing ones included: take the observed rows only."
        return "items without an observed neighbour should get the mean of the observed vectors."
    if np.allclose(answer[easy], neighbours(matrix, mask, graph=graph, count_missing=True)[easy], atol=1e-4):
        return (
            "missing neighbours are in your denominator, as in the published method: the mean shrinks; "
            "divide by the number of observed neighbours."
        )
    everyone = (graph @ dirty) / np.maximum(np.asarray(graph.sum(1)), 1)
    if np.allclose(answer[easy], everyone[easy], atol=1e-4):
        return "you read missing rows: whatever stands there is no content. Multiply by the mask first."
    if np.allclose(answer[easy], (graph @ (matrix * seen[:, None]))[easy], atol=1e-4):
        return "you return the sum: divide by the number of observed neighbours."
    if np.allclose(answer[easy], (graph @ (matrix * seen[:, None]))[easy] / len(matrix), atol=1e-4):
        return "you divide by the number of all items: divide by the number of observed neighbours."
    if np.allclose(answer[easy], neighbours(matrix, mask, graph=graph.T.tocsr())[easy], atol=1e-4):
        return "you walk the edges backwards: the neighbours of an item are in its row of the graph, not in its column."
    if np.allclose(answer[easy], mu, atol=1e-4):
        return "every missing item got the global mean: that is the fallback, ask the neighbours first."
    own = neighbours(matrix, mask, graph=graph + sp.identity(12, format="csr"), count_missing=True)
    if np.allclose(answer[easy], own[easy], atol=1e-4):
        return "you count the item itself: it is missing, and adds a vector of zeros to its own mean."
    near = [[int(item) for item in graph[lost].indices if mask[item]] for lost in range(4, 8)]

    def picked(choose: Callable) -> np.ndarray:
        return np.stack([choose(matrix[items]) for items in near])

    total, size = (graph @ (matrix * seen[:, None]))[easy], (graph @ seen)[easy, None]
    both_ways = ((graph + graph.T) > 0).astype(float).tocsr()
    known = {
        "this is the median of the observed neighbours: take their mean.": picked(lambda rows: np.median(rows, axis=0)),
        "you take the first observed neighbour only: take the mean of all of them.": picked(lambda rows: rows[0]),
        "you divide by one neighbour too many: divide by the number of observed neighbours.": total / (size + 1),
        "the mean of all counts as one more neighbour: it is the fallback, for items without an observed one.":
            (total + mu) / (size + 1),
        "you walk the edges both ways: the neighbours of an item are in its row of the graph.":
            neighbours(matrix, mask, graph=both_ways)[easy],
        "you ask the neighbours of the neighbours: take one step only.":
            neighbours(matrix, mask, graph=sp.csr_matrix(graph @ graph))[easy],
        "you bring the mean to length 1: return the mean itself.":
            right[easy] / np.linalg.norm(right[easy], axis=1, keepdims=True),
    }  # fmt: skip
    if sentence := first_named(answer[easy], known):
        return sentence
    at = 4 + farthest(answer[easy], right[easy])[0]
    return (
        f"item {at} has the observed neighbours {near[at - 4]}: {right[at].round(3)}, you return {answer[at].round(3)}."
    )


@exercise
def feature_propagation(mine: Callable[[np.ndarray, np.ndarray, sp.csr_matrix, int], np.ndarray]) -> str | None:
    """mine(matrix, mask, step, n_layers) -> (n_items, dim) after n_layers of multiply and clamp."""
    matrix, mask, graph = _case()
    sizes = np.maximum(np.asarray(graph.sum(1)).ravel(), 1)
    step, n_layers = sp.csr_matrix(sp.diags(1 / sizes) @ graph), 3
    dirty = np.where(mask[:, None], matrix, DIRT)
    given = dirty.copy()
    answer = numbers(mine(given, mask.copy(), step.copy(), n_layers), "table")
    if answer.shape != matrix.shape:
        return f"every item has a row of {matrix.shape[1]} numbers: return shape {matrix.shape}, not {answer.shape}."
    right = clamped(matrix, mask, step, n_layers)
    if not np.array_equal(given, dirty):
        return "you change the matrix that was given: start from a copy, or the clamp gives back what you overwrote."
    if np.allclose(answer, right, atol=1e-4):
        return None
    start = matrix * mask[:, None]
    free = start
    for _ in range(n_layers):
        free = step @ free
    late = np.where(mask[:, None], matrix, free)
    layers = [clamped(matrix, mask, step, layer) for layer in range(n_layers + 1)]
    known = {
        "there is no clamp: the observed rows blur. Give them their own vectors back after every step.": free,
        "you clamp once, at the end: the sources have blurred by then. Clamp after every step.": late,
        "you take one layer: repeat n_layers times.": clamped(matrix, mask, step, 1),
        "one layer too few: repeat n_layers times.": clamped(matrix, mask, step, n_layers - 1),
        "one layer too many: repeat n_layers times.": clamped(matrix, mask, step, n_layers + 1),
        "you read missing rows: start them at zero.": _from(dirty, mask, step, n_layers),
        "you walk the edges backwards: multiply by step, not by its transpose.":
            clamped(matrix, mask, step.T, n_layers),
        "you add the layers up: each step takes the place of the one before.":
            np.where(mask[:, None], matrix, np.sum(layers, 0)),
        "you average the layers, as LightGCN does: here only the last one is wanted.": np.mean(layers, 0),
        "you take twice as many steps as layers: one multiplication for each.":
            clamped(matrix, mask, step, 2 * n_layers),
        "you go on until nothing changes: take n_layers steps.": clamped(matrix, mask, step, 100),
        "each step adds to the row that was there: the product takes its place.":
            _mixed(matrix, mask, step, n_layers, 1),
        "each step is averaged with the row that was there: the product takes its place.":
            _mixed(matrix, mask, step, n_layers, 0.5),
        "the items that nothing reached got the mean: here they stay zero.":
            np.where(right.any(1, keepdims=True), right, matrix[mask].mean(0)),
        "you start the missing rows at one: start them at zero.":
            _from(np.where(mask[:, None], matrix, 1), mask, step, n_layers),
        "you start the missing rows at the mean: start them at zero.":
            _from(np.where(mask[:, None], matrix, matrix[mask].mean(0)), mask, step, n_layers),
    }  # fmt: skip
    if sentence := first_named(answer, known):
        return sentence
    if np.allclose(answer[~mask], 0) or np.allclose(answer[~mask], DIRT):
        return "the missing rows never change: the clamp is for the observed rows, where mask is True."
    if not np.allclose(answer[mask], matrix[mask], atol=1e-4):
        return "the observed rows are not their own at the end: clamp after the last step as well."
    at = int(np.flatnonzero(~np.isclose(answer, right, atol=1e-4).all(1))[0])
    return f"after {n_layers} layers item {at} is {right[at].round(3)}, you return {answer[at].round(3)}."


def _from(start: np.ndarray, mask: np.ndarray, step: sp.csr_matrix, n_layers: int) -> np.ndarray:
    rows = start
    for _ in range(n_layers):
        rows = step @ rows
        rows[mask] = start[mask]
    return rows


def _mixed(matrix: np.ndarray, mask: np.ndarray, step: sp.csr_matrix, n_layers: int, share: float) -> np.ndarray:
    """Steps that keep the row that was there: added to it (share 1), or in equal parts (share .5)."""
    rows = matrix * mask[:, None]
    for _ in range(n_layers):
        rows = np.where(mask[:, None], matrix, share * (rows + step @ rows))
    return rows


# ---- bonus ----


@exercise(bonus=True)
def diffused_mean(mine: Callable[..., np.ndarray]) -> str | None:
    """mine(matrix, mask, walk, alpha, n_terms) -> missing rows filled by S F / S m, S = sum of (1 - alpha)^k walk^k."""
    matrix, mask, graph = _case()
    sizes = np.maximum(np.asarray(graph.sum(1)).ravel(), 1)
    walk, alpha, n_terms = sp.csr_matrix(sp.diags(1 / sizes) @ graph), 0.3, 3
    dirty = np.where(mask[:, None], matrix, DIRT)
    with np.errstate(all="ignore"):
        answer = numbers(mine(dirty.copy(), mask.copy(), walk.copy(), alpha, n_terms), "filled table")
    if answer.shape != matrix.shape:
        raise Mistake(f"every item has a row: return shape {matrix.shape}, not {answer.shape}.")
    if not np.allclose(answer[mask], matrix[mask], atol=1e-4):
        return "you changed observed rows: only missing rows are filled."
    missing = np.flatnonzero(~mask)
    if np.isnan(answer[missing]).any():
        return "an item that reaches no observed one became NaN (0 / 0): give it the mean of the observed vectors."

    def diffused(weights: np.ndarray, step: sp.spmatrix = walk, start: np.ndarray = matrix, divide: bool = True):
        both, total = np.hstack([start * mask[:, None], mask[:, None]]), 0.0
        for weight in weights:
            total, both = total + weight * both, step @ both
        rows, size = total[:, :-1], total[:, -1:]
        filled = rows / np.where(size > 0, size, 1) if divide else rows
        return np.where(size > 0, filled, matrix[mask].mean(0))[missing]

    k = np.arange(n_terms + 2)
    weights = (1 - alpha) ** k
    right = diffused(weights[:-1])
    read = sum(weight * (walk**power @ dirty) for power, weight in enumerate(weights[:-1]))
    reached = diffused(weights[:-1], start=np.ones_like(matrix), divide=False)
    known = {
        "": right,
        "nothing is divided: the weights that reach observed items do not add up to 1. Diffuse the mask as well.": diffused(
            weights[:-1], divide=False
        ),
        "with alpha in front, and still undivided: diffuse the mask as well, and divide by it.": np.vstack(
            [alpha * diffused(weights[:-1], divide=False)[:-1], right[-1:]]
        ),
        "alpha and 1 - alpha are swapped: a small alpha walks far.": diffused(alpha ** k[:-1]),
        "all steps weigh the same: the weight falls by 1 - alpha with each step.": diffused(np.ones(n_terms + 1)),
        "you keep the last step only: add all of them up, each with its weight.": diffused(np.eye(n_terms + 1)[-1]),
        "the weight of step k is (1 - alpha)^k, a power: you take 1 / (k + 1).": diffused(1 / (k[:-1] + 1)),
        "the weight of step k is (1 - alpha)^k, a power: you multiply by k.": diffused((1 - alpha) * k[:-1]),
        "the weights grow with each step: (1 - alpha)^k falls.": diffused((1 - alpha) ** -k[:-1]),
        "the weights are divided by k!: the diffusion takes (1 - alpha)^k as it is.": diffused(
            weights[:-1] / np.array([math.factorial(power) for power in k[:-1]])
        ),
        "you take one step: K of them.": diffused(weights[:2]),
        "you divide by the sum of all weights: only those that reach observed items count. Diffuse the mask as well.": np.vstack(
            [diffused(weights[:-1], divide=False)[:-1] / weights[:-1].sum(), right[-1:]]
        ),
        "you divide by the number of terms: divide by the weight that reaches observed items.": np.vstack(
            [diffused(weights[:-1], divide=False)[:-1] / (n_terms + 1), right[-1:]]
        ),
        "you walk the edges both ways: multiply by walk as it is.": diffused(weights[:-1], (walk + walk.T) / 2),
        "one term too few: k runs from 0 to n_terms, both included.": diffused(weights[:n_terms]),
        "one term too many: k runs from 0 to n_terms, both included.": diffused(weights),
        "you walk the edges backwards: multiply by walk, not by its transpose.": diffused(weights[:-1], walk.T),
        "items that reach no observed one stay zero: give them the mean of the observed vectors.": np.vstack(
            [right[:-1], np.zeros((1, matrix.shape[1]))]
        ),
        "you read missing rows: whatever stands there is no content. Multiply by the mask first.": np.vstack(
            [(read[missing] / reached)[:-1], right[-1:]]
        ),
        "every missing item got the global mean: that is the fallback, for items that reach nothing.": np.tile(
            matrix[mask].mean(0), (len(missing), 1)
        ),
    }
    sentence = first_named(answer[missing], known)
    if sentence is not None:
        return sentence or None
    at = int(np.flatnonzero(~np.isclose(answer[missing], right, atol=1e-4).all(1))[0])
    return f"item {missing[at]} should be {right[at].round(3)}, you return {answer[missing[at]].round(3)}."
