"""Residual quantisation: an item is about a row of the first codebook, plus a row of the second one for what is left, ..."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from utils.errors import CourseError


@dataclass(frozen=True, eq=False)
class Codes:
    """What a quantiser gives: a token for each item and level, and what the tokens stand for.

    Attributes:
        table: (n_items, n_levels) int64, tokens from 0.
        sizes: how many tokens each level has, used or not.
        codebooks: for each level (n_codes, dim), or () where they are not known.
    """

    table: np.ndarray
    sizes: tuple[int, ...]
    codebooks: tuple[np.ndarray, ...] = ()


def centres(vectors: np.ndarray, n_codes: int, seed: int) -> np.ndarray:
    """k-means centres of some rows, at most one for each distinct row: (<= n_codes, dim) float64."""
    distinct = np.unique(vectors, axis=0)
    if len(distinct) <= n_codes:
        return distinct
    with threadpool_limits(1):  # the sums of several threads are other bits
        return KMeans(n_codes, n_init=4, random_state=seed).fit(vectors).cluster_centers_


def nearest(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Which row of a codebook is closest to each vector, equals to the first: (n,) int64."""
    return ((codebook**2).sum(1) - 2 * vectors @ codebook.T).argmin(1)


def residual_kmeans(vectors: np.ndarray, n_codes: int = 32, n_levels: int = 3, seed: int = 0) -> Codes:
    """RQ-k-means: cluster the vectors, subtract each one's centre, cluster what is left, and so on.

    r_1 = x, c_l = argmin_k |r_l - e_k^l|, r_(l+1) = r_l - e_(c_l)^l

    After k-means no code of the first level is empty, so that its usage says nothing: perplexity and collisions do.

    Args:
        vectors: (n_items, dim).

    Raises:
        CourseError: a catalogue that is not larger than a codebook, or a vector that is not finite.

    Source: residual quantisation without an encoder, as in the RQ-k-means of GRID (Snap, CIKM 2025).
    """
    residuals = check_vectors(vectors, n_codes)
    table, codebooks = [], []
    for level in range(n_levels):
        codebooks.append(centres(residuals, n_codes, seed + level))
        table.append(nearest(residuals, codebooks[-1]))
        residuals = residuals - codebooks[-1][table[-1]]
    return Codes(np.stack(table, axis=1), (n_codes,) * n_levels, tuple(codebooks))


def check_vectors(vectors: np.ndarray, n_codes: int) -> np.ndarray:
    """Return the vectors as float64, or say why they cannot be quantised."""
    vectors = np.asarray(vectors, dtype=np.float64)
    if n_codes < 1:
        raise CourseError(f"n_codes={n_codes} leaves no code; choose 2 or more.")
    if len(vectors) <= n_codes:
        raise CourseError(
            f"A codebook of {n_codes} for {len(vectors)} items gives each item a code of its own, and no two anything in "
            f"common; choose n_codes below {len(vectors)}."
        )
    bad = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(bad):
        raise CourseError(f"The vector of item {bad[0]} holds NaN or infinity; extract its features again.")
    return vectors


def reconstruction(vectors: np.ndarray, codes: Codes) -> list[float]:
    """R2 after each level: 1 - squared error / squared distance to the mean; 1 = exact, 0 = as the mean item."""
    vectors = np.asarray(vectors, dtype=np.float64)
    total = ((vectors - vectors.mean(0)) ** 2).sum()
    found, shares = np.zeros_like(vectors), []
    for level, codebook in enumerate(codes.codebooks):
        found += codebook[codes.table[:, level]]
        shares.append(float(1 - ((vectors - found) ** 2).sum() / total))
    return shares
