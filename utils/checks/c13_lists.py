"""Notebook 13, exercises on writing ids: what is learned from a history, one step of a beam search, and the slips of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Slips = dict[str, tuple[Callable[..., Any], ...]]  # sentence -> the wrong answers that it names
INF = torch.inf


# ---- held_out_items: (b, m) and (b,) -> what is left (b, m) and what was taken out (b,) ----


def held_out_cases() -> list[tuple]:
    """Histories with empty places anywhere, doubles, item 0 among them and as a target; the drawn place of each."""
    first = [[-1, 4, 9, 2, 9, 7], [0, -1, 4, 8, 5, 3], [6, 4, -1, -1, 4, 0], [2, 8, 5, 7, 1, 0]]
    second = [[3, 0, 3], [-1, 7, 1], [5, 5, 2], [6, 2, 8], [9, 3, 4]]
    return [
        (torch.tensor(first), torch.tensor([4, 2, 5, 1])),
        (torch.tensor(second), torch.tensor([0, 1, 2, 2, 1])),
        (torch.tensor([[8, 5, -1, 1]]), torch.tensor([1])),
    ]


def held_out(histories: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All places of the drawn item become -1."""
    items = _drawn(histories, places)
    return histories.masked_fill(histories == items[:, None], -1), items


def _drawn(histories: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return histories.gather(1, places[:, None])[:, 0]


def _only(histories: torch.Tensor, places: torch.Tensor, keep: Callable) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep what ``keep(columns, places)`` says, and the drawn items as they are."""
    kept = keep(torch.arange(histories.shape[1]), places[:, None])
    return histories.masked_fill(~kept, -1), _drawn(histories, places)


def _counted(histories: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Places count real items only."""
    real = (histories >= 0).long()
    rank = real.cumsum(1) * real
    return held_out(histories, (rank == (places[:, None] + 1).clamp(max=rank.amax(1, keepdim=True))).long().argmax(1))


HELD_OUT: Slips = {
    "the target is still in the history: the model finds it by copying, and has nothing to copy when it matters.": (
        lambda h, p: (h, _drawn(h, p)),
    ),
    "only the drawn place is emptied: an item that stands there twice can still be copied from its other place.": (
        lambda h, p: _only(h, p, lambda columns, place: columns != place),
    ),
    "you keep what stands before the target: a set has no order, so what stands behind it stays, too.": (
        lambda h, p: _only(h, p, lambda columns, place: columns < place),
    ),
    "you keep what stands behind the target: what stands before it stays, too.": (
        lambda h, p: _only(h, p, lambda columns, place: columns > place),
    ),
    "you keep the target and empty the rest: it is the other way round.": (
        lambda h, p: (h.masked_fill(h != _drawn(h, p)[:, None], -1), _drawn(h, p)),
        lambda h, p: _only(h, p, lambda columns, place: columns == place),
    ),
    "an empty place becomes 0, and 0 is an item: write -1.": (
        lambda h, p: (h.masked_fill(h == _drawn(h, p)[:, None], 0), _drawn(h, p)),
        lambda h, p: (h * (h != _drawn(h, p)[:, None]), _drawn(h, p)),
        lambda h, p: (h.masked_fill(torch.arange(h.shape[1]) == p[:, None], 0), _drawn(h, p)),
    ),
    "you take the last place of each history: `places` says which one.": (
        lambda h, p: held_out(h, torch.full_like(p, h.shape[1] - 1)),
        lambda h, p: (held_out(h, torch.full_like(p, h.shape[1] - 1))[0], _drawn(h, p)),
    ),
    "you take the place of the first history for all of them: each has its own.": (
        lambda h, p: held_out(h, p[:1].expand(len(p))),
    ),
    "you count the items of a history: `places` counts columns, the empty ones too.": (_counted,),
    "you take the item beside the target: places count from 0.": (
        lambda h, p: held_out(h, p - 1 + (p == 0) * h.shape[1]),
        lambda h, p: held_out(h, (p - 1).clamp(min=0)),
        lambda h, p: held_out(h, (p + 1).clamp(max=h.shape[1] - 1)),
    ),
    "what is a target in one history disappears from all of them: compare each history with its own target.": (
        lambda h, p: (h.masked_fill(torch.isin(h, _drawn(h, p)), -1), _drawn(h, p)),
    ),
    "you return the places: the second part is the item that stood there.": (
        lambda h, p: (held_out(h, p)[0], p),
    ),
    "you return what is kept as True and False: return the items themselves, -1 where there is none.": (
        lambda h, p: (h != _drawn(h, p)[:, None], _drawn(h, p)),
        lambda h, p: (held_out(h, p)[0] >= 0, _drawn(h, p)),
    ),
}  # fmt: skip


# ---- beam_step: (b, beams), (b, beams, tokens), the same bool, n_beams -> parents, tokens, scores ----


def beam_cases() -> list[tuple]:
    """Sums so far, next log-probabilities, what the trie allows, beams to keep: as many as before, fewer, more, one."""
    generator = torch.Generator().manual_seed(7)
    cases = []
    for b, beams, n_tokens, n_beams, share in (
        (2, 3, 6, 3, 0.4),
        (3, 4, 5, 2, 0.4),
        (2, 2, 9, 5, 0.3),
        (1, 1, 8, 2, 0.4),
    ):
        scores = -3 * torch.rand(b, beams, generator=generator) - 0.2
        steps = (2 * torch.randn(b, beams, n_tokens, generator=generator)).log_softmax(dim=2)
        allowed = torch.rand(b, beams, n_tokens, generator=generator) < share
        allowed |= torch.arange(n_tokens) % 4 == 1  # every prefix of a trie goes on
        cases.append((scores, steps, allowed, n_beams))
    return cases


def _best(table: torch.Tensor, n: int, divide_by: int | None = None, largest: bool = True) -> tuple[torch.Tensor, ...]:
    """(b, beams, tokens) -> parents, tokens and values of the n best, best first."""
    values, flat = table.flatten(1).sort(dim=1, descending=largest, stable=True)
    width = divide_by or table.shape[2]
    return flat[:, :n] // width, flat[:, :n] % width, values[:, :n]


def _sums(scores: torch.Tensor, steps: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    return (scores[:, :, None] + steps).masked_fill(~allowed, -INF)


def beam(scores: torch.Tensor, steps: torch.Tensor, allowed: torch.Tensor, n: int) -> tuple[torch.Tensor, ...]:
    """The best allowed continuations of all beams together."""
    return _best(_sums(scores, steps, allowed), n)


def _with_scores(found: tuple[torch.Tensor, ...], of: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The same continuations with the values of another table (b, beams, tokens) beside them."""
    parents, tokens, _ = found
    return parents, tokens, of.flatten(1).gather(1, parents * of.shape[2] + tokens)


def _one_a_beam(scores: torch.Tensor, steps: torch.Tensor, allowed: torch.Tensor, n: int) -> tuple[torch.Tensor, ...]:
    best, tokens = _sums(scores, steps, allowed).max(dim=2)
    values, parents = best.sort(dim=1, descending=True, stable=True)
    return parents[:, :n], tokens.gather(1, parents)[:, :n], values[:, :n]


def _in_place(scores: torch.Tensor, steps: torch.Tensor, allowed: torch.Tensor, n: int) -> tuple[torch.Tensor, ...]:
    """The best of each beam, unsorted."""
    best, tokens = _sums(scores, steps, allowed).max(dim=2)
    return torch.arange(best.shape[1]).expand_as(best)[:, :n], tokens[:, :n], best[:, :n]


BEAM: Slips = {
    "you rank by the step alone: a beam's score is the sum of all its steps, so add what it had before.": (
        lambda s, p, a, n: _best(p.masked_fill(~a, -INF), n),
        lambda s, p, a, n: _with_scores(_best(p.masked_fill(~a, -INF), n), s[:, :, None] + p),
    ),
    "the continuations are right, and their score is that of the last step: return the sum.": (
        lambda s, p, a, n: _with_scores(beam(s, p, a, n), p),
    ),
    "the continuations are right, and their score is that of the parent: add the step.": (
        lambda s, p, a, n: _with_scores(beam(s, p, a, n), s[:, :, None].expand_as(p)),
    ),
    "the trie is ignored: set what `allowed` does not allow to minus infinity before you sort.": (
        lambda s, p, a, n: _best(s[:, :, None] + p, n),
    ),
    "`allowed` is turned round: True means that a token may follow.": (lambda s, p, a, n: beam(s, p, ~a, n),),
    "you normalise anew among the allowed tokens: a beam with few children then looks better than the model says.": (
        lambda s, p, a, n: _best(s[:, :, None] + p.masked_fill(~a, -INF).log_softmax(dim=2), n),
    ),
    "each beam keeps its best token only: all continuations of all beams compete, and one beam may have several.": (
        _one_a_beam, _in_place,
    ),
    "you multiply logarithms: log-probabilities are added.": (
        lambda s, p, a, n: _best((s[:, :, None] * p).masked_fill(~a, -INF), n),
        lambda s, p, a, n: _best((s[:, :, None] * p).masked_fill(~a, INF), n, largest=False),
    ),
    "you return probabilities: the scores stay logarithms, since products of many get too small.": (
        lambda s, p, a, n: (*beam(s, p, a, n)[:2], beam(s, p, a, n)[2].exp()),
    ),
    "these are the worst continuations: sort descending.": (
        lambda s, p, a, n: _best((s[:, :, None] + p).masked_fill(~a, INF), n, largest=False),
        lambda s, p, a, n: tuple(part.flip(1) for part in _best((s[:, :, None] + p).masked_fill(~a, INF), n, largest=False)),
    ),
    "the best stands last: return the best first.": (
        lambda s, p, a, n: tuple(part.flip(1) for part in beam(s, p, a, n)),
    ),
    "you divide the flat place by the number of beams: a beam's row is as long as there are tokens.": (
        lambda s, p, a, n: (*_best(_sums(s, p, a), n, divide_by=p.shape[1])[:2], beam(s, p, a, n)[2]),
    ),
    "parents and tokens are exchanged: the flat place divided by the number of tokens is the parent.": (
        lambda s, p, a, n: (*beam(s, p, a, n)[1::-1], beam(s, p, a, n)[2]),
    ),
    "these are flat places over all beams: `% n_tokens` gives the token, `// n_tokens` the parent.": (
        lambda s, p, a, n: (beam(s, p, a, n)[0], _flat(s, p, a, n), beam(s, p, a, n)[2]),
        lambda s, p, a, n: (_flat(s, p, a, n), beam(s, p, a, n)[1], beam(s, p, a, n)[2]),
    ),
}  # fmt: skip


def _flat(scores: torch.Tensor, steps: torch.Tensor, allowed: torch.Tensor, n: int) -> torch.Tensor:
    parents, tokens, _ = beam(scores, steps, allowed, n)
    return parents * steps.shape[2] + tokens
