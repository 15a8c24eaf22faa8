"""Evaluation, the formulas: one small vectorised function per metric, each on top-k lists and their hits.

Every per-user function takes a `Ranked` and a cutoff k and returns float64 (n_users,); NaN = not defined for that user.
Every overall function returns one float. The definitions follow Elliot v0.3.1, which printed the figures the course
compares with; where Elliot and the usual text-book differ, the docstring says which one this is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

HEAD_SHARE = 0.8  # the short head holds this share of the train interactions


@dataclass(frozen=True)
class Ranked:
    """Top-k lists of some users, with what the metrics need to judge them.

    lists: (n_users, K) int64 item_ids, best first; -1 = no item left for this slot (always at the end).
    hits: (n_users, K) bool, True where the item is relevant.
    n_relevant: (n_users,) relevant items of each user.
    popularity: (n_items,) train interactions of each item.
    n_train_users: users with at least one train interaction.
    n_competing: items that could be recommended (the catalogue, or the candidates).
    features: modality -> object with matrix (n_items, dim) and mask (n_items,); only for ild_<modality>.
    """

    lists: np.ndarray
    hits: np.ndarray
    n_relevant: np.ndarray
    popularity: np.ndarray
    n_train_users: int
    n_competing: int
    features: Mapping[str, Any] | None = None

    def filled(self, k: int) -> np.ndarray:
        """Return which slots of the first k hold an item, (n_users, k) bool."""
        return self.lists[:, :k] >= 0

    def take(self, values: np.ndarray, k: int) -> np.ndarray:
        """Look ``values`` (n_items,) up for the first k slots; empty slots get 0. Shape (n_users, k)."""
        lists = self.lists[:, :k]
        return np.where(lists >= 0, values[lists], 0.0)

    def judged(self, values: np.ndarray) -> np.ndarray:
        """Set users without relevant items to NaN: accuracy is not defined for them."""
        return np.where(self.n_relevant > 0, values, np.nan)

    @cached_property
    def tail(self) -> np.ndarray:
        """Return which items form the long tail, (n_items,) float 0 or 1."""
        return (~short_head(self.popularity)).astype(float)

    @cached_property
    def slots(self) -> np.ndarray:
        return np.maximum((self.lists >= 0).sum(axis=1), 1)


def short_head(popularity: np.ndarray, share: float = HEAD_SHARE) -> np.ndarray:
    """Mark the most popular items that together hold ``share`` of the train interactions, (n_items,) bool.

    The item that crosses the limit belongs to the head (as in Elliot); equally popular items go by item id.
    """
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]  # what the more popular items hold already
    head = np.zeros(len(popularity), dtype=bool)
    # the small slack keeps 0.8 * total, a rounded product, from pulling one item too many into the head
    head[order] = before < share * popularity.sum() - 1e-9
    return head & (popularity > 0)


def discount(k: int) -> np.ndarray:
    """Return 1 / log2(rank + 1) for the ranks 1 to k."""
    return 1.0 / np.log2(np.arange(2, k + 2))


# ---- accuracy: is what the user later chose in the list, and how high? -------------------------------------------


def precision(ranked: Ranked, k: int) -> np.ndarray:
    """Share of the k slots that hold a relevant item (an empty slot counts as a miss)."""
    return ranked.judged(ranked.hits[:, :k].sum(axis=1) / k)


def recall(ranked: Ranked, k: int) -> np.ndarray:
    """Share of the user's relevant items that are among the first k."""
    return ranked.judged(ranked.hits[:, :k].sum(axis=1) / np.maximum(ranked.n_relevant, 1))


def hr(ranked: Ranked, k: int) -> np.ndarray:
    """Hit rate: 1 if at least one relevant item is among the first k, else 0."""
    return ranked.judged(ranked.hits[:, :k].any(axis=1).astype(float))


def ndcg(ranked: Ranked, k: int) -> np.ndarray:
    """Binary nDCG: gain 1 per hit, discounted by log2(rank + 1), over the best possible order.

    Elliot's "nDCG" is graded (gain 2^rating - 1); its "nDCGRendle2020" is this one, as is that of MMRec and LightGCN.
    """
    gains = discount(k)
    best = np.concatenate([[1.0], np.cumsum(gains)])[np.minimum(ranked.n_relevant, k)]
    return ranked.judged(ranked.hits[:, :k] @ gains / best)


def mrr(ranked: Ranked, k: int) -> np.ndarray:
    """Reciprocal rank of the first hit within k; 0 without a hit."""
    hits = ranked.hits[:, :k]
    return ranked.judged(np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0))


def average_precision(ranked: Ranked, k: int) -> np.ndarray:
    """Average precision: the precision at each hit, summed, divided by min(k, relevant items of the user).

    The normaliser differs between libraries: torchmetrics divides by the hits found, Elliot averages the precision
    over all ranks. Never compare MAP figures without knowing it.
    """
    hits = ranked.hits[:, :k]
    at_rank = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    return ranked.judged((at_rank * hits).sum(axis=1) / np.maximum(np.minimum(ranked.n_relevant, k), 1))


# ---- novelty: are the hits things the crowd does not know? --------------------------------------------------------


def _novelty_of_hits(ranked: Ranked, novelty: np.ndarray, k: int) -> np.ndarray:
    gains = discount(k)
    norm = ranked.filled(k) @ gains
    return ranked.judged((ranked.take(novelty, k) * ranked.hits[:, :k]) @ gains / np.where(norm > 0, norm, 1.0))


def efd(ranked: Ranked, k: int) -> np.ndarray:
    """Expected free discovery, bits: sum of rel(k) d(k) (-log2 p_i) / sum of d(k), p_i = item's share of train.

    Only relevant items count, so EFD goes up with accuracy. Items without train interaction count as the rarest
    train item (Elliot). NaN if nothing is in train.
    """
    counts = ranked.popularity
    if not counts.any():
        return np.full(len(ranked.lists), np.nan)
    rarest = counts[counts > 0].min()
    return _novelty_of_hits(ranked, -np.log2(np.maximum(counts, rarest) / counts.sum()), k)


def epc(ranked: Ranked, k: int) -> np.ndarray:
    """Expected popularity complement: as EFD, with 1 - (train interactions of i) / (train users) as novelty."""
    return _novelty_of_hits(ranked, 1.0 - ranked.popularity / max(ranked.n_train_users, 1), k)


# ---- popularity bias: whose items get the slots? ------------------------------------------------------------------


def aplt(ranked: Ranked, k: int) -> np.ndarray:
    """Average percentage of long-tail items: share (0 to 1) of the list outside the short head (see `short_head`)."""
    return ranked.take(ranked.tail, k).sum(axis=1) / np.minimum(ranked.slots, k)


def arp(ranked: Ranked, k: int) -> np.ndarray:
    """Average recommendation popularity: mean number of train interactions of the listed items (higher = more biased)."""
    return ranked.take(ranked.popularity, k).sum(axis=1) / np.minimum(ranked.slots, k)


# ---- diversity: of one list ---------------------------------------------------------------------------------------


def intra_list_diversity(ranked: Ranked, k: int, modality: str) -> np.ndarray:
    """Mean cosine distance (0 to 2) over the pairs of listed items that have this modality; NaN with fewer than two.

    Uses |sum of unit vectors|^2 = m + 2 * (sum of the cosines of all pairs): one sparse product, no pair is visited.
    """
    matrix, mask = ranked.features[modality].matrix, ranked.features[modality].mask
    norm = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    present = np.asarray(mask, dtype=bool) & (norm[:, 0] > 0)
    unit = np.where(present[:, None], matrix / np.where(norm > 0, norm, 1.0), 0.0)
    lists = np.where(ranked.filled(k), ranked.lists[:, :k], 0)
    kept = ranked.filled(k) & present[lists]
    pick = sp.csr_matrix(
        (kept.ravel().astype(float), lists.ravel(), np.arange(len(lists) + 1) * k), (len(lists), len(unit))
    )
    m = kept.sum(axis=1)
    pairs = m * (m - 1.0)
    cosines = (np.square(pick @ unit).sum(axis=1) - m) / np.where(pairs > 0, pairs, 1.0)
    return np.where(pairs > 0, 1.0 - cosines, np.nan)


# ---- diversity: of all lists together -----------------------------------------------------------------------------


def _slots_per_item(ranked: Ranked, k: int, weights: np.ndarray | None = None) -> np.ndarray:
    filled = ranked.filled(k)
    weights = None if weights is None else np.broadcast_to(weights[:, None], filled.shape)[filled]
    return np.bincount(ranked.lists[:, :k][filled], weights, minlength=len(ranked.popularity)).astype(float)


def gini(ranked: Ranked, k: int) -> float:
    """1 - Gini of the slots per item: HIGHER = MORE EVEN, 1 = all items equally often, 0 = one item has every slot.

    1 - sum_j (2j - n - 1) q_j / (n - 1), q_j = share of the j-th least recommended of the n competing items, zeros
    included. The classical index is 1 minus this; Elliot and the TORS tables print this one, with n - 1. But there n
    counts the items of the training part. So the two are equal only when every item that competes was seen in training;
    with cold items n is larger here, and the same lists look less even.
    """
    counts = _slots_per_item(ranked, k)
    n = ranked.n_competing
    # items that do not compete have no slot: drop as many zeros as there are of them
    shares = np.sort(counts)[len(counts) - n :] / max(counts.sum(), 1.0)
    return float(1.0 - (2 * np.arange(1, n + 1) - n - 1) @ shares / (n - 1)) if n > 1 else 1.0


def entropy(ranked: Ranked, k: int) -> float:
    """Shannon entropy of the recommended items, bits: mean over users and their slots of -log2(item's share of slots)."""
    counts = _slots_per_item(ranked, k)
    weights = _slots_per_item(ranked, k, 1.0 / np.minimum(ranked.slots, k))
    shown = counts > 0
    surprise = -np.log2(counts[shown] / counts.sum()) if shown.any() else np.zeros(0)
    return float(weights[shown] @ surprise / max(len(ranked.lists), 1)) + 0.0


def coverage(ranked: Ranked, k: int) -> float:
    """Share (0 to 1) of the competing items that appear in at least one list. Published tables often print percent."""
    return float(np.count_nonzero(_slots_per_item(ranked, k)) / ranked.n_competing)


PER_USER: dict[str, Callable[[Ranked, int], np.ndarray]] = {
    "precision": precision,
    "recall": recall,
    "hr": hr,
    "ndcg": ndcg,
    "mrr": mrr,
    "map": average_precision,
    "efd": efd,
    "epc": epc,
    "aplt": aplt,
    "arp": arp,
}
OVERALL: dict[str, Callable[[Ranked, int], float]] = {"gini": gini, "entropy": entropy, "coverage": coverage}
