"""Write ids token by token: exact scores of all items, a beam search on a trie, and one without."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError
from utils.generation.trie import Trie

FLOATS = 12_000_000  # of the largest table at once: histories are scored in blocks that stay below


class Writer(nn.Module):
    """What all networks that write ids share; a subclass says how likely each next token is (``logits``).

    log p(item | history) = sum_l log p(c_l | history, c_1 ... c_(l-1))

    Attributes:
        sizes: tokens of each level.
        width: numbers that ``logits`` holds at once for one history and one prefix.
    """

    sizes: tuple[int, ...]
    width: int

    def logits(self, level: int, states: torch.Tensor, prefixes: torch.Tensor) -> torch.Tensor:
        """Which token comes next: states (b, ...) of histories, prefixes (b or 1, n, level) -> (b, n, sizes[level])."""
        raise NotImplementedError

    def exact(self, states: torch.Tensor, trie: Trie) -> torch.Tensor:
        """log p of every item: states (b, ...) -> (b, n_items) float32, -inf for items that are not in the trie.

        Nothing is normalised anew among the tokens that the trie allows: what the model gives to invalid ids is lost.
        """
        widest = max(len(prefixes) for prefixes in trie.prefixes[:-1])
        block = max(1, FLOATS // (widest * max(*self.sizes, self.width)))
        return torch.cat([self._exact(part, trie) for part in states.split(block)])

    def _exact(self, states: torch.Tensor, trie: Trie) -> torch.Tensor:
        found = states.new_zeros(len(states), 1)  # log p of each node of a level
        for level, (prefixes, parents) in enumerate(zip(trie.prefixes[:-1], trie.parents)):
            logits = self.logits(level, states, prefixes[None])  # (b, n_nodes, sizes[level])
            total = found - logits.logsumexp(dim=2)
            places = parents * self.sizes[level] + trie.prefixes[level + 1][:, -1]  # of each child, in logits laid flat
            found = total[:, parents] + logits.flatten(1)[:, places]
        scores = states.new_full((len(states), trie.n_items), -torch.inf)
        scores[:, trie.items] = found
        return scores

    def beam(self, states: torch.Tensor, trie: Trie, n_beams: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Search for the best items: keep the ``n_beams`` best valid prefixes at each level, and forget the others.

        Returns:
            (items, scores), each (b, n_beams), best first; where the trie has fewer items, -1 and -inf.
        """
        if n_beams < 1:
            raise CourseError(f"n_beams={n_beams} keeps nothing; choose 1 or more, 10 and 50 are usual.")
        nodes = torch.zeros(len(states), 1, dtype=torch.int64, device=states.device)
        scores = states.new_zeros(len(states), 1)
        for level in range(trie.n_levels):
            there = nodes >= 0
            prefixes = trie.prefixes[level][nodes.clamp_min(0)]  # (b, beams, level)
            following = trie.children(level)[nodes.clamp_min(0)]  # (b, beams, most children)
            tokens = trie.prefixes[level + 1][following.clamp_min(0), -1]
            steps = self.logits(level, states, prefixes).log_softmax(dim=2).gather(2, tokens)
            grown = (scores[..., None] + steps).masked_fill((following < 0) | ~there[..., None], -torch.inf).flatten(1)
            scores, order = grown.sort(dim=1, descending=True, stable=True)
            scores, nodes = scores[:, :n_beams], following.flatten(1).gather(1, order[:, :n_beams])
            nodes = nodes.masked_fill(scores == -torch.inf, -1)
        items = torch.where(nodes >= 0, trie.items[nodes.clamp_min(0)], -1)
        missing = n_beams - items.shape[1]
        return F.pad(items, (0, max(missing, 0)), value=-1), F.pad(scores, (0, max(missing, 0)), value=-torch.inf)

    def beam_scores(self, states: torch.Tensor, trie: Trie, n_beams: int) -> torch.Tensor:
        """What ``beam`` found as scores of all items: (b, n_items), -inf for those that it did not find."""
        items, scores = self.beam(states, trie, n_beams)
        found = scores.new_full((len(items), trie.n_items + 1), -torch.inf)  # the last column takes what is -1
        return found.scatter(1, items % (trie.n_items + 1), scores)[:, :-1]

    def free_beam(self, states: torch.Tensor, n_beams: int) -> torch.Tensor:
        """The same search without a trie: (b, n_beams, n_levels) tokens, best first, of which some may be no item's."""
        tokens = torch.zeros(len(states), 1, 0, dtype=torch.int64, device=states.device)
        scores = states.new_zeros(len(states), 1)
        for level, size in enumerate(self.sizes):
            steps = self.logits(level, states, tokens).log_softmax(dim=2)
            scores, order = (scores[..., None] + steps).flatten(1).sort(dim=1, descending=True, stable=True)
            scores, order = scores[:, :n_beams], order[:, :n_beams]
            before = tokens.gather(1, (order // size)[..., None].expand(-1, -1, level))
            tokens = torch.cat([before, (order % size)[..., None]], dim=2)
        return tokens


def invalid_rate(tokens: torch.Tensor, trie: Trie) -> float:
    """Share of rows (..., n_levels) of tokens that are no item of the trie."""
    rows, valid = tokens.flatten(0, -2), trie.prefixes[-1]
    every = torch.cat([valid, rows]).unique(dim=0, return_inverse=True)[1]
    return float((~torch.isin(every[len(valid) :], every[: len(valid)])).float().mean())
