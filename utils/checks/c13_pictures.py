"""Notebook 13, exercises on pictures: a search without its reference, guidance, and the slips of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Slips = dict[str, tuple[Callable[..., Any], ...]]  # sentence -> the wrong answers that it names
INF = torch.inf


# ---- search_without_reference: queries, gallery, references, top_k -> (n, top_k) places ----


def search_cases() -> list[tuple]:
    """Queries near their references and away from them, -1 = no reference, doubles; then only negative cosines."""
    rng = np.random.default_rng(9)

    def unit(rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))

    gallery, references = rng.normal(size=(12, 4)), np.array([7, 3, -1, 7, 10])
    queries = gallery[references] + rng.normal(size=(5, 4)) * np.array([0.5, 1.5, 1.0, 0.9, 3.0])[:, None]
    around = np.array([[-0.2, 1.0], [-0.6, 1.0], [1.0, 0.3], [-1.0, 0.4], [-0.4, -1.0]])
    third = rng.normal(size=(9, 6))
    return [
        (unit(queries), unit(gallery), torch.from_numpy(references), 4),
        (unit(np.array([[1.0, 0.0]])), unit(around), torch.tensor([2]), 4),
        (unit(rng.normal(size=(3, 6))), unit(third), torch.tensor([-1, 8, 0]), 1),
    ]


def search(
    queries: torch.Tensor, gallery: torch.Tensor, references: torch.Tensor, top_k: int, out: float = -INF,
    largest: bool = True,
) -> torch.Tensor:  # fmt: skip
    """The nearest pictures, each query's own reference left out; -1 = it has none."""
    scores = queries @ gallery.T
    rows = (references >= 0).nonzero()[:, 0]
    scores[rows, references[rows]] = out
    return scores.sort(dim=1, descending=largest, stable=True).indices[:, :top_k]


def _none(references: torch.Tensor) -> torch.Tensor:
    return torch.full_like(references, -1)


def _moved(queries: torch.Tensor, gallery: torch.Tensor, references: torch.Tensor, top_k: int) -> torch.Tensor:
    """Places in a gallery out of which the reference was cut."""
    found = search(queries, gallery, references, top_k)
    return found - ((found > references[:, None]) & (references[:, None] >= 0)).long()


def _without_all(queries: torch.Tensor, gallery: torch.Tensor, references: torch.Tensor, top_k: int) -> torch.Tensor:
    scores = queries @ gallery.T
    scores[:, references[references >= 0]] = -INF
    return scores.sort(dim=1, descending=True, stable=True).indices[:, :top_k]


SEARCH: Slips = {
    "the reference is still in the gallery: it is close to its own query and takes the first places.": (
        lambda q, g, r, k: search(q, g, _none(r), k),
    ),
    "-1 means that there is no reference; as an index it is the last picture, which you leave out.": (
        lambda q, g, r, k: search(q, g, r % len(g), k),
    ),
    "you drop the first place: the reference need not stand there; set its own score to minus infinity.": (
        lambda q, g, r, k: search(q, g, _none(r), k + 1)[:, 1:],
    ),
    "the reference's score becomes 0, and pictures with a negative cosine come behind it: set it to minus infinity.": (
        lambda q, g, r, k: search(q, g, r, k, out=0.0),
    ),
    "every reference is left out for every query: a picture may be found by the other queries.": (_without_all,),
    "these are the farthest pictures: sort descending.": (
        lambda q, g, r, k: search(q, g, r, k, out=INF, largest=False),
        lambda q, g, r, k: search(q, g, r, k, largest=False),
        lambda q, g, r, k: search(q, g, _none(r), k, largest=False),
    ),
    "you leave out picture k for query k: `references` says which one.": (
        lambda q, g, r, k: search(q, g, torch.arange(len(q)), k),
    ),
    "these are places in a gallery without the reference: count in the whole gallery.": (_moved,),
    "this is the picture alone: the query holds what the words changed, so compare the query.": (
        lambda q, g, r, k: search(g[r], g, r, k),
        lambda q, g, r, k: search(g[r], g, _none(r), k),
    ),
    "only the reference is left: leave it out, and keep the others.": (
        lambda q, g, r, k: search(q, g, r, k, out=INF),
    ),
    "these are the cosines: return the places of the pictures.": (
        lambda q, g, r, k: (q @ g.T).gather(1, search(q, g, r, k)),
        lambda q, g, r, k: (q @ g.T).gather(1, search(q, g, _none(r), k)),
    ),
}  # fmt: skip


# ---- guided_noise: two arrays of one shape and a weight -> the same shape ----


def guidance_cases() -> list[tuple]:
    """Two predictions and a weight: above 1, below 1, none, and -1, where the condition plays no part."""
    generator = torch.Generator().manual_seed(11)

    def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator)

    return [(*pair(2, 3, 4, 4), 2.0), (*pair(5, 2), 0.5), (*pair(3), 0.0), (*pair(2, 2), -1.0)]


def guided(told: torch.Tensor, untold: torch.Tensor, weight: float) -> torch.Tensor:
    """(1 + w) eps(c) - w eps(none)."""
    return (1 + weight) * told - weight * untold


GUIDED: Slips = {
    "this is the weighted mean of the two: weights up to 1 never leave what lies between them; go beyond, (1 + w) and -w.": (
        lambda c, n, w: w * c + (1 - w) * n,
    ),
    "you add the prediction without a condition: subtract it.": (
        lambda c, n, w: (1 + w) * c + w * n,
        lambda c, n, w: c + w * n,
        lambda c, n, w: c + w * (c + n),
    ),
    "you go from told to untold, away from the condition: add w times (told - untold) to what was told.": (
        lambda c, n, w: c + w * (n - c),
    ),
    "told and untold are exchanged: what was told gets (1 + w).": (lambda c, n, w: (1 + w) * n - w * c,),
    "the weight acts on both parts alike: only the difference is weighted, and the prediction stays.": (
        lambda c, n, w: (1 + w) * (c - n),
        lambda c, n, w: w * (c + n),
        lambda c, n, w: (1 + w) * (c + n),
    ),
    "this is the weighted difference alone: add it to the prediction with the condition.": (lambda c, n, w: w * (c - n),),
    "the prediction without a condition is missing: without it the whole noise grows, not what the condition says.": (
        lambda c, n, w: (1 + w) * c,
        lambda c, n, w: w * c,
    ),
    "the two weights have to add up to 1: (1 + w) and -w.": (
        lambda c, n, w: (1 + w) * c - n,
        lambda c, n, w: c - w * n,
        lambda c, n, w: w * c - n,
        lambda c, n, w: w * c - (1 - w) * n,
        lambda c, n, w: (1 + w) * c - (1 - w) * n,
    ),
    "the weight plays no part: this is the prediction with the condition.": (lambda c, n, w: c,),
    "the condition plays no part: this is the prediction without it.": (lambda c, n, w: n,),
    "you divide by 1 + 2 w: the two weights add up to 1 already.": (lambda c, n, w: guided(c, n, w) / (1 + 2 * w),),
    "you cut the noise to -1 ... 1: noise has no such limits, pictures have.": (
        lambda c, n, w: guided(c, n, w).clamp(-1, 1),
    ),
}  # fmt: skip
