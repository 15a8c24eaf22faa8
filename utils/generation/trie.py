"""A trie of semantic ids: which tokens may follow which prefix, for all items or for those in stock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from utils.errors import CourseError


@dataclass(frozen=True, eq=False)
class Trie:
    """The valid prefixes, level by level; a node is a prefix, and its number is its place in its level.

    Attributes:
        prefixes: for each level l = 0 ... n_levels (n_nodes_l, l) int64, sorted; level 0 is the root, the last the items.
        parents: for each level l = 1 ... n_levels (n_nodes_l,) int64, the node of level l - 1 that it continues.
        items: (n_nodes of the last level,) int64, the item_id at each leaf.
        n_items: items of the catalogue, in the trie or not.
    """

    prefixes: tuple[torch.Tensor, ...]
    parents: tuple[torch.Tensor, ...]
    items: torch.Tensor
    n_items: int

    @classmethod
    def of(cls, tokens: np.ndarray | torch.Tensor, item_ids: np.ndarray | None = None) -> Trie:
        """Build the trie of some items.

        Args:
            tokens: (n_items, n_levels), no two rows alike.
            item_ids: the items that may be recommended, for example those in stock; all by default.

        Raises:
            CourseError: two items with the same tokens, no item, or one that does not exist.
        """
        tokens = np.asarray(torch.as_tensor(tokens).cpu(), dtype=np.int64)
        chosen = np.arange(len(tokens)) if item_ids is None else np.unique(np.asarray(item_ids, dtype=np.int64))
        if not len(chosen) or chosen[0] < 0 or chosen[-1] >= len(tokens):
            raise CourseError(f"A trie needs items between 0 and {len(tokens) - 1}; give at least one of them.")
        rows = tokens[chosen]
        last, place, group, counts = np.unique(rows, axis=0, return_index=True, return_inverse=True, return_counts=True)
        if len(last) < len(rows):
            same = chosen[np.flatnonzero(group.ravel() == counts.argmax())[:2]]
            raise CourseError(
                f"Items {same[0]} and {same[1]} have the same tokens, so that no list could tell them apart; add a token "
                "that breaks ties (with_ties)."
            )
        prefixes = [np.unique(last[:, :level], axis=0) for level in range(1, last.shape[1] + 1)]
        prefixes = [np.zeros((1, 0), dtype=np.int64), *prefixes]
        parents = [_find(prefixes[level - 1], prefixes[level][:, :-1]) for level in range(1, len(prefixes))]
        tensors = (tuple(map(torch.from_numpy, arrays)) for arrays in (prefixes, parents))
        return cls(*tensors, torch.from_numpy(chosen[place]), len(tokens))

    def to(self, device: torch.device) -> Trie:
        """Return the same trie on another device."""
        moved = (tuple(tensor.to(device) for tensor in tensors) for tensors in (self.prefixes, self.parents))
        return Trie(*moved, self.items.to(device), self.n_items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def n_levels(self) -> int:
        """Tokens of an item."""
        return len(self.parents)

    def children(self, level: int) -> torch.Tensor:
        """The nodes that continue each node of a level: (n_nodes, most children) int64 nodes of level + 1, -1 = none."""
        parents, n_nodes = self.parents[level], len(self.prefixes[level])
        counts = torch.bincount(parents, minlength=n_nodes)  # nodes are sorted, so those of one parent stand together
        slots = torch.arange(int(counts.max()), device=parents.device)
        nodes = (counts.cumsum(0) - counts)[:, None] + slots
        return torch.where(slots < counts[:, None], nodes, -1)

    def allowed(self, prefix: list[int] | tuple[int, ...]) -> list[int]:
        """Return the tokens that may follow a prefix, [] for the root; an invalid or a whole prefix has none."""
        if len(prefix) >= self.n_levels:
            return []
        own = self.prefixes[len(prefix)].eq(torch.as_tensor(list(prefix), dtype=torch.int64)).all(dim=1)
        return self.prefixes[len(prefix) + 1][own[self.parents[len(prefix)]], -1].tolist()


def _find(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Place of each of ``rows`` (m, k) in the sorted distinct rows ``table`` (n, k), all of which occur."""
    if not table.shape[1]:
        return np.zeros(len(rows), dtype=np.int64)
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel().astype(np.int64)
