"""Fill the vectors of items that lack a modality, before any training; sparse to 100,000 items.

An item graph links items that the same users took (training part only). Imputers fill the missing rows and leave the
observed ones alone. "As published" means: as in the code released with "Do We Really Need to Drop Items with Missing
Modalities in Multimodal Recommendation?", CIKM 2024, arXiv 2408.11767; its traps are switches here, off by default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import exp, factorial
from typing import Any

import numpy as np
import scipy.sparse as sp

from utils.errors import CourseError, suggest
from utils.features import Features
from utils.graphs import normalise

BLOCK = 4096  # rows of co-counts held at once


# ---- the graph of items taken by the same users ----


def co_taken_graph(
    interactions: sp.spmatrix, top_n: int = 20, *, self_edge: bool = False, zero_count: bool = False, seed: int = 0
) -> sp.csr_matrix:
    """Link each item to the ``top_n`` items that most users took together with it: (n_items, n_items) of ones, directed.

    Counts are C = R^T R, made in blocks of rows, so that no more than ``top_n`` edges per item are kept. Equal counts go
    to the smaller item_id. An item that nobody took with another has no edge.

    Args:
        interactions: R, (n_users, n_items) binary: the train part only, or the graph knows the test.
        self_edge: trap of the published code: the diagonal of C is the largest count, so that an item is its own first
            neighbour.
        zero_count: trap of the published code: rows with fewer than ``top_n`` neighbours are filled up with items that
            nobody took together with it (here drawn with ``seed``).
    """
    if top_n < 1:
        raise CourseError(f"top_n = {top_n}: an item needs at least one neighbour; choose 20.")
    taken = sp.csr_matrix(interactions, dtype=np.float32)
    by_item, n_items = sp.csr_matrix(taken.T), taken.shape[1]
    order, blocks = np.random.default_rng(seed).permutation(n_items), []
    for start in range(0, n_items, BLOCK):
        counts = sp.csr_matrix(by_item[start : start + BLOCK] @ taken).tocoo()
        rows, columns, values = counts.row.astype(np.int64), counts.col.astype(np.int64), counts.data
        if not self_edge:
            other = rows + start != columns
            rows, columns, values = rows[other], columns[other], values[other]
        if zero_count:
            rows, columns, values = _padded(rows, columns, values, counts.shape[0], start, top_n, order)
        by_count = np.lexsort((columns, -values, rows))
        rows, columns = rows[by_count], columns[by_count]
        starts = np.searchsorted(rows, np.arange(counts.shape[0]))
        kept = np.arange(len(rows)) - starts[rows] < top_n
        ones = np.ones(int(kept.sum()), dtype=np.float32)
        blocks.append(sp.csr_matrix((ones, (rows[kept], columns[kept])), shape=counts.shape))
    return sp.csr_matrix(sp.vstack(blocks))


def _padded(rows, columns, values, n_rows: int, start: int, top_n: int, order: np.ndarray) -> tuple:
    """Add candidates with count zero to the rows that have fewer than ``top_n`` entries."""
    n_items = len(order)
    short = np.flatnonzero(np.bincount(rows, minlength=n_rows) < top_n)
    draws = min(n_items, 2 * top_n + 1)  # enough, whatever of them is a neighbour already
    places = (short[:, None] * 7919 + np.arange(draws)) % n_items
    extra_rows, extra_columns = np.repeat(short, draws), order[places].ravel()
    fresh = ~np.isin(extra_rows * n_items + extra_columns, rows * n_items + columns)
    fresh &= extra_rows + start != extra_columns
    extra_rows, extra_columns = extra_rows[fresh], extra_columns[fresh]
    zeros = np.zeros(len(extra_rows), dtype=values.dtype)
    return np.append(rows, extra_rows), np.append(columns, extra_columns), np.append(values, zeros)


def undirected(graph: sp.spmatrix) -> sp.csr_matrix:
    """Return the graph with every edge in both directions, all weights 1, without self edges."""
    both = sp.csr_matrix(graph) + sp.csr_matrix(graph).T
    both = sp.csr_matrix(both - sp.diags(both.diagonal()))
    both.eliminate_zeros()
    both.data[:] = 1.0
    return both


def homophily(matrix: np.ndarray, graph: sp.spmatrix, mask: np.ndarray | None = None) -> float:
    """Correlate the features at the two ends of the edges: -1 to 1, 0 = linked items are no more alike than others.

    h = sum (f_i - mu).(f_j - mu) / sqrt(sum |f_i - mu|^2 * sum |f_j - mu|^2) over the directed edges (i, j) whose two
    ends are observed, mu = mean of all ends. Source: arXiv 2602.17354.
    """
    edges = sp.coo_matrix(graph)
    seen = np.ones(len(matrix), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    both = seen[edges.row] & seen[edges.col]
    heads, tails = edges.row[both], edges.col[both]
    if not len(heads):
        raise CourseError("No edge has two observed ends, so there is no homophily to measure; take more neighbours.")
    matrix = np.asarray(matrix, dtype=np.float64)
    times_head, times_tail = (np.bincount(ends, minlength=len(matrix)) for ends in (heads, tails))
    mu = (times_head + times_tail) @ matrix / (2 * len(heads))
    centred = matrix - mu
    links = sp.csr_matrix((np.ones(len(heads)), (heads, tails)), shape=edges.shape)
    together = float((centred * (links @ centred)).sum())
    squares = (centred**2).sum(1)
    size = float(np.sqrt((times_head @ squares) * (times_tail @ squares)))
    return together / size if size else 0.0


# ---- imputers: (matrix, mask, ...) -> matrix with every row filled ----


def observed_mean(matrix: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mean of the observed rows, (dim,)."""
    if not np.any(mask):
        raise CourseError("No item has this modality, so there is nothing to impute from; leave the modality out.")
    return matrix[mask].mean(0, dtype=np.float64)


def _filled(matrix: np.ndarray, mask: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return float32 with the observed rows untouched and the others from ``rows``."""
    return np.where(mask[:, None], matrix, rows).astype(np.float32)


def zeros(matrix: np.ndarray, mask: np.ndarray, **_: Any) -> np.ndarray:
    """Fill with zeros, which a model takes for content like any other unless it reads the mask."""
    return _filled(matrix, mask, np.zeros_like(matrix))


def random(matrix: np.ndarray, mask: np.ndarray, *, seed: int = 0, **_: Any) -> np.ndarray:
    """Fill each coordinate with a draw between 0 and 1, as published."""
    return _filled(matrix, mask, np.random.default_rng(seed).random(matrix.shape))


def mean(matrix: np.ndarray, mask: np.ndarray, **_: Any) -> np.ndarray:
    """Fill with the mean of the observed rows: the same vector for every missing item."""
    return _filled(matrix, mask, observed_mean(matrix, mask)[None])


def neighbours(
    matrix: np.ndarray,
    mask: np.ndarray,
    *,
    graph: sp.spmatrix,
    count_missing: bool = False,
    shrink: float = 0.0,
    **_: Any,
) -> np.ndarray:
    """Fill with the mean of the observed neighbours; with the global mean where no neighbour is observed.

    Args:
        graph: (n_items, n_items), row = item, ones at its neighbours.
        count_missing: trap of the published method: missing neighbours count as zero vectors and stay in the
            denominator (and an item without neighbours gets zeros).
        shrink: this many imaginary neighbours with the global mean are added.
    """
    seen = mask.astype(np.float64)
    total = graph @ (matrix * seen[:, None])
    if count_missing:
        size = np.asarray(graph.sum(1)).ravel()
        return _filled(matrix, mask, total / np.maximum(size, 1)[:, None])
    mu, size = observed_mean(matrix, mask), graph @ seen + shrink
    rows = (total + shrink * mu) / np.where(size > 0, size, 1)[:, None]
    return _filled(matrix, mask, np.where(size[:, None] > 0, rows, mu))


def neighbours_published(matrix: np.ndarray, mask: np.ndarray, *, graph: sp.spmatrix, **_: Any) -> np.ndarray:
    """Fill with the published neighbours' mean: missing neighbours are zeros, and are counted."""
    return neighbours(matrix, mask, graph=graph, count_missing=True)


def multi_hop(
    matrix: np.ndarray, mask: np.ndarray, *, graph: sp.spmatrix, n_layers: int = 10, published: bool = False, **_: Any
) -> np.ndarray:
    """Fill by feature propagation: F <- A F, then the observed rows get their own vectors back, ``n_layers`` times.

    A = D^-1 A, so that each step is a mean; it is divided by the weight of the observed items it has reached (a row of
    zeros is "not yet known", not a vector). A row that no observed item reaches gets the global mean.

    Args:
        published: A = D^-1/2 A D^-1/2, nothing is divided, and a row that nothing reaches stays zero.

    Source: Rossi and others, "On the Unreasonable Effectiveness of Feature Propagation", LoG 2022, arXiv 2111.12128.
    """
    step = normalise(graph, "symmetric" if published else "row")
    if published:
        return clamped(matrix, mask, step, n_layers)
    seen = mask.astype(np.float64)[:, None]
    start = np.hstack([matrix * seen, seen])  # the last column is the weight that has been reached
    both = start
    for _layer in range(n_layers):
        both = step @ both
        both[mask] = start[mask]
    rows, reached = both[:, :-1], both[:, -1:]
    known = reached > 0
    return _filled(matrix, mask, np.where(known, rows / np.where(known, reached, 1), observed_mean(matrix, mask)))


def series(kind: str, n_terms: int, alpha: float = 0.1, t: float = 5.0) -> np.ndarray:
    """Return the weights c_0 ... c_n of S = sum of c_k H^k, (n_terms + 1,).

    "pagerank": alpha (1 - alpha)^k, from S = alpha (I - (1 - alpha) H)^-1; "heat": e^-t t^k / k!, from exp(-t (I - H)).
    """
    if kind == "pagerank":
        return np.array([alpha * (1 - alpha) ** k for k in range(n_terms + 1)])
    if kind == "heat":
        return np.array([exp(-t) * t**k / factorial(k) for k in range(n_terms + 1)])
    raise suggest(kind, ("pagerank", "heat"), "diffusion")


def walk_matrix(graph: sp.spmatrix) -> sp.csr_matrix:
    """H = D^-1/2 (A + I) D^-1/2 of the undirected graph."""
    return normalise(undirected(graph) + sp.identity(graph.shape[0], format="csr"), "symmetric")


def diffuse(walk: sp.spmatrix, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return S x = sum of c_k H^k x by Horner's rule: one sparse product per term, S itself is never made."""
    total = weights[-1] * x
    for weight in weights[-2::-1]:
        total = walk @ total + weight * x
    return total


def diffusion(
    matrix: np.ndarray,
    mask: np.ndarray,
    *,
    graph: sp.spmatrix,
    kind: str = "pagerank",
    n_terms: int = 20,
    alpha: float = 0.1,
    t: float = 5.0,
    **_: Any,
) -> np.ndarray:
    """Fill with a mean of all observed items, weighed by how much of a diffusion from the item ends there.

    f_i = sum over observed j of S_ij f_j / sum over observed j of S_ij: each row of weights sums to 1. Memory: the graph
    and two matrices as large as the features. An item that reaches no observed one gets the global mean.
    """
    seen = mask.astype(np.float64)[:, None]
    both = diffuse(walk_matrix(graph), np.hstack([matrix * seen, seen]), series(kind, n_terms, alpha, t))
    rows, size = both[:, :-1], both[:, -1:]
    return _filled(matrix, mask, np.where(size > 0, rows / np.where(size > 0, size, 1), observed_mean(matrix, mask)))


def pagerank(matrix: np.ndarray, mask: np.ndarray, *, graph: sp.spmatrix, **options: Any) -> np.ndarray:
    """Fill by personalised PageRank, alpha = 0.1: see ``diffusion``."""
    return diffusion(matrix, mask, graph=graph, **{**options, "kind": "pagerank"})


def heat(matrix: np.ndarray, mask: np.ndarray, *, graph: sp.spmatrix, **options: Any) -> np.ndarray:
    """Fill by heat diffusion, t = 5: see ``diffusion``."""
    return diffusion(matrix, mask, graph=graph, **{**options, "kind": "heat"})


def diffusion_matrix(
    graph: sp.spmatrix, kind: str = "pagerank", top_n: int = 20, *, divide: str = "column", n_terms: int = 50
) -> sp.csr_matrix:
    """Make S itself, as published: the ``top_n`` largest entries of each column, divided by their sum.

    For looking at, up to some thousands of items; ``diffusion`` does without. With divide="column" the rows of S do not
    sum to 1, so that S F is no mean: items in many columns are blown up. divide="row" repairs that.
    """
    if divide not in ("column", "row"):
        raise suggest(divide, ("column", "row"), "way to divide")
    walk, weights, n_items, blocks = walk_matrix(graph), series(kind, n_terms), graph.shape[0], []
    for start in range(0, n_items, 512):
        unit = np.eye(n_items, min(512, n_items - start), -start)
        columns = diffuse(walk, unit, weights)
        cut = -np.sort(-columns, axis=0)[min(top_n, n_items) - 1]
        blocks.append(sp.csr_matrix(np.where(columns >= np.maximum(cut, 1e-12), columns, 0)))
    kept = sp.csr_matrix(sp.hstack(blocks))
    return normalise(kept, "row") if divide == "row" else sp.csr_matrix(normalise(kept.T, "row").T)


def clamped(matrix: np.ndarray, mask: np.ndarray, operator: sp.spmatrix, n_layers: int = 1) -> np.ndarray:
    """Fill with F <- S F, observed rows given back after each of ``n_layers`` steps, as published for any operator S."""
    start = matrix * mask[:, None].astype(np.float64)
    rows = start
    for _ in range(n_layers):
        rows = operator @ rows
        rows[mask] = start[mask]
    return _filled(matrix, mask, rows)


def cross_modal(
    matrix: np.ndarray,
    mask: np.ndarray,
    *,
    others: Mapping[str, Any],
    penalties: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    max_rows: int = 5000,
    **_: Any,
) -> np.ndarray:
    """Fill by ridge regression on the item's other modalities: the trained baseline, which needs no graph.

    Fitted on items that have this modality and another; the penalty has the smallest leave-one-out error (in closed
    form, on those items alone). An item without any other modality gets the global mean.

    Args:
        others: modality -> Features of the other modalities, rows by item_id.
        max_rows: at most so many items are fitted on (the first ones).
    """
    if not others:
        raise CourseError("cross_modal needs another modality to look at; pass others={modality: Features}.")
    parts = []
    for feature in others.values():
        seen = np.asarray(feature.mask, dtype=bool)
        centred = (feature.matrix - observed_mean(feature.matrix, seen)) * seen[:, None]
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        parts.append(centred / np.where(length > 0, length, 1))
    x, mu = np.hstack(parts), observed_mean(matrix, mask)
    known = np.any([feature.mask for feature in others.values()], axis=0)
    rows = np.flatnonzero(mask & known)[:max_rows]
    if len(rows) < 3:
        return mean(matrix, mask)
    x_mean, y = x[rows].mean(0), matrix[rows] - mu
    left, size, right = np.linalg.svd(x[rows] - x_mean, full_matrices=False)
    target, best = left.T @ y, (np.inf, np.zeros(len(size)))
    for penalty in penalties:
        keep = size**2 / (size**2 + penalty)
        leverage = (left**2) @ keep + 1 / len(rows)
        error = (((y - left @ (keep[:, None] * target)) / (1 - leverage)[:, None]) ** 2).mean()
        if error < best[0]:
            best = (error, size / (size**2 + penalty))
    filled = (x - x_mean) @ right.T @ (best[1][:, None] * target) + mu
    return _filled(matrix, mask, np.where(known[:, None], filled, mu))


IMPUTERS: dict[str, Callable[..., np.ndarray]] = {
    "zeros": zeros,
    "random": random,
    "mean": mean,
    "neighbours_published": neighbours_published,
    "neighbours": neighbours,
    "multi_hop": multi_hop,
    "pagerank": pagerank,
    "heat": heat,
    "cross_modal": cross_modal,
}
NEED_GRAPH = ("neighbours_published", "neighbours", "multi_hop", "pagerank", "heat")


def impute(
    feature: Features,
    method: str,
    graph: sp.spmatrix | None = None,
    others: Mapping[str, Features] | None = None,
    seed: int = 0,
    **options: Any,
) -> Features:
    """Return the Features with every missing row filled by ``method``; the mask then says True everywhere.

    Args:
        feature: Features, rows by item_id; its mask says what is observed.
        method: a name of ``IMPUTERS``.
        graph: of the items, from the train part; for the methods in ``NEED_GRAPH``.
        others: modality -> Features, for "cross_modal"; ``feature``'s own modality is ignored.
        options: of the method.

    Raises:
        CourseError: unknown method, no graph where one is needed, a graph of another size, nothing observed.
    """
    if method not in IMPUTERS:
        raise suggest(method, IMPUTERS, "imputer")
    if method in NEED_GRAPH and graph is None:
        raise CourseError(f"The imputer {method!r} needs graph=; make one with co_taken_graph(split.matrix()).")
    if graph is not None and graph.shape != (feature.n_items, feature.n_items):
        raise CourseError(f"The graph is {graph.shape}, the {feature.modality} features have {feature.n_items} items.")
    others = {name: other for name, other in (others or {}).items() if name != feature.modality}
    matrix = IMPUTERS[method](feature.matrix, feature.mask, graph=graph, others=others, seed=seed, **options)
    steps = [*feature.provenance.get("transforms", ()), f"imputed({method})"]
    provenance = {**feature.provenance, "transforms": steps}
    return replace(feature, matrix=matrix, mask=np.ones(feature.n_items, dtype=bool), provenance=provenance)
