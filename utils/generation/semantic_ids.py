"""Semantic ids: a few tokens for each item, so that like items begin alike, and one token that tells the rest apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from utils.errors import CourseError
from utils.generation.quantise import Codes
from utils.models.base import Interactions, ItemFeatures, check_features, content
from utils.models.ials import IALS


@dataclass(frozen=True, eq=False)
class SemanticIds:
    """The code table: one row of tokens an item, no two rows alike.

    Attributes:
        tokens: (n_items, n_levels + 1) int64 from 0; the last token only breaks ties, 0 = the most popular of its group.
        sizes: how many tokens each level has; the last one as many as the biggest group has items.
        name: what they were made from.
        codebooks: for each level (n_codes, dim), where they are known; an item is about the sum of its rows.
    """

    tokens: np.ndarray
    sizes: tuple[int, ...]
    name: str = "ids"
    codebooks: tuple[np.ndarray, ...] = ()

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        return len(self.tokens)

    @property
    def codes(self) -> np.ndarray:
        """(n_items, n_levels): the tokens with a meaning, without the one that breaks ties."""
        return self.tokens[:, :-1]

    def __repr__(self) -> str:
        return f"SemanticIds {self.name}: {self.n_items:,} items, {' x '.join(map(str, self.sizes))} tokens"


def with_ties(codes: Codes, popularity: np.ndarray, name: str = "ids") -> SemanticIds:
    """Add the token that tells items with the same codes apart: their rank by popularity, equals by item_id.

    Args:
        codes: (n_items, n_levels) with their sizes.
        popularity: (n_items,) training interactions of each item.

    Source: the popularity token of Liu et al., "MMGRec", arXiv 2404.16555; the fourth token of TIGER does the same.
    """
    if len(codes.table) != len(popularity):
        raise CourseError(
            f"These ids are of a catalogue of {len(codes.table)} items, and {len(popularity)} have a popularity; "
            "make the ids of this catalogue."
        )
    group = np.unique(codes.table, axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort((np.arange(len(group)), -np.asarray(popularity), group))
    first = np.searchsorted(group[order], group[order])  # where the group of each begins
    ranks = np.empty(len(group), dtype=np.int64)
    ranks[order] = np.arange(len(group)) - first
    tokens = np.concatenate([codes.table, ranks[:, None]], axis=1)
    return SemanticIds(tokens, (*codes.sizes, int(ranks.max()) + 1), name, codes.codebooks)


def permuted(codes: Codes, seed: int = 0) -> Codes:
    """Deal the rows of codes out to other items: the same groups and collisions, and no meaning. The control of all ids."""
    order = np.random.default_rng(seed).permutation(len(codes.table))
    return Codes(codes.table[order], codes.sizes, codes.codebooks)


def random_codes(n_items: int, sizes: tuple[int, ...], seed: int = 0) -> Codes:
    """Draw each token on its own, uniformly: no meaning, and far fewer collisions than clusters have."""
    rng = np.random.default_rng(seed)
    return Codes(np.stack([rng.integers(size, size=n_items) for size in sizes], axis=1), tuple(sizes))


def content_vectors(features: Mapping[str, ItemFeatures], n_items: int, dim: int = 32) -> np.ndarray:
    """Put an item's modalities side by side, each centred and of length 1, and keep the main axes: (n_items, dim) float64.

    A modality that an item lacks is zero, which is the mean of those that have it. In a thousand dimensions and more,
    k-means of the residuals cuts off single items and leaves all others in one cell; in the few main axes it does not.

    Raises:
        CourseError: no features, features of another catalogue, or an item that has no modality at all.
    """
    if not features:
        raise CourseError("Ids from content need features; pass features={modality: Features}.")
    parts = [content(feature, "centred") for feature in check_features(features, n_items).values()]
    bare = np.flatnonzero(~np.any([mask.numpy() for _, mask in parts], axis=0))
    if len(bare):
        raise CourseError(
            f"{len(bare)} items have none of {', '.join(features)}, item {bare[0]} first, so that content gives them no "
            "id; impute the modality, leave the items out, or make ids from clicks, too."
        )
    return main_axes(np.concatenate([matrix.double().numpy() for matrix, _ in parts], axis=1), dim)


def main_axes(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Principal components: centred, (n, at most dim) float64; the largest entry of each axis is positive."""
    centred = vectors - vectors.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:dim]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    return centred @ (axes * signs[:, None]).T


def click_vectors(split: Interactions, dim: int = 32, seed: int = 0) -> np.ndarray:
    """Item factors of iALS, from the training part alone: (n_items, dim) float64; those of rare items are near zero."""
    return np.asarray(IALS(split, seed=seed, dim=dim).items, dtype=np.float64)


def both_vectors(content: np.ndarray, clicks: np.ndarray) -> np.ndarray:
    """Content and clicks side by side, each centred and with a mean squared length of 1, so that both have a say."""
    parts = [part - part.mean(0) for part in (content, clicks)]
    return np.concatenate([part / max(np.sqrt((part**2).sum(1).mean()), 1e-12) for part in parts], axis=1)


def shuffled(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Deal the rows out to other items. Alone this is ``permuted`` once more; beside true clicks it is a control."""
    return vectors[np.random.default_rng(seed).permutation(len(vectors))]


def popularity_of(split: Interactions) -> np.ndarray:
    """Count the training interactions of each item: (n_items,) int64."""
    return np.bincount(np.asarray(split.train)[:, 1], minlength=split.n_items)


def below(ids: SemanticIds, prefix: Sequence[int]) -> np.ndarray:
    """The items whose id begins so, in the order of their tokens: (n,) int64 item_ids; [] is the whole catalogue."""
    prefix = np.asarray(list(prefix), dtype=np.int64)
    found = np.flatnonzero((ids.tokens[:, : len(prefix)] == prefix).all(axis=1))
    return found[np.lexsort(ids.tokens[found].T[::-1])]


def code_table(ids: SemanticIds, titles: Sequence[str], labels: Sequence[str] | None = None) -> pd.DataFrame:
    """The ids for people to read, neighbours in the table being neighbours in the tree.

    Returns:
        Index item_id; columns id ("7-3-30 0": the last token breaks ties), title, and category where labels are given.
    """
    order = below(ids, [])
    text = [f"{'-'.join(map(str, row[:-1]))} {row[-1]}" for row in ids.tokens[order]]
    columns = {"id": text, "title": np.asarray(titles, dtype=object)[order]}
    if labels is not None:
        columns["category"] = np.asarray(labels, dtype=object)[order]
    return pd.DataFrame(columns, index=pd.Index(order, name="item_id"))
