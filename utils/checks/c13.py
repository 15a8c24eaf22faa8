"""Checks of notebook 13: residual codes, perplexity, shared ids, a target held out, a beam, a search, guidance."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from utils.checks import c13_ids, c13_lists, c13_pictures
from utils.checks.base import Mistake, exercise, farthest, numbers, same

__all__ = [
    "residual_codes",
    "level_perplexity",
    "sharing_items",
    "held_out_items",
    "beam_step",
    "search_without_reference",
    "guided_noise",
]


# ---- exercise 1 ----


@exercise
def residual_codes(mine: Callable[..., np.ndarray]) -> str | None:
    """mine(vectors, codebooks) -> (n, levels): at each level the nearest row to what the earlier ones left."""

    def read(answer: Any, vectors: np.ndarray, codebooks: list[np.ndarray]) -> np.ndarray:
        answer, n, levels = numbers(answer, "table of codes"), len(vectors), len(codebooks)
        if answer.shape == (levels, n):
            return _refuse("a row is an item and a column a level: your table is turned round.")
        if answer.shape != (n, levels) and answer.shape == vectors.shape:
            return _refuse("you return vectors: return the numbers of the rows that were found, one for each level.")
        return _shaped(answer, (n, levels), f"for {n} vectors and {levels} codebooks")

    def where(answer: np.ndarray, right: np.ndarray, *_: Any) -> str:
        n = int(np.argwhere((answer != right).any(axis=1))[0, 0])
        return f"item {n} of {len(right)} has the codes {_row(answer[n])} from you; they should be {_row(right[n])}."

    return _judged(mine, c13_ids.code_cases(), c13_ids.residual, c13_ids.CODES, read, where)


# ---- exercise 2 ----


@exercise
def level_perplexity(mine: Callable[..., float]) -> str | None:
    """mine(codes, n_codes) -> exp of the entropy of the tokens of one level; what nobody has counts nothing."""

    def read(answer: Any, codes: np.ndarray, n_codes: int) -> np.ndarray:
        answer = numbers(answer, "perplexity")
        if answer.shape != ():
            return _refuse(f"you return shape {answer.shape}: the perplexity of a level is one number.")
        if np.isnan(answer):
            return _refuse("you return NaN: 0 times the logarithm of 0; leave out the codes that no item has.")
        if not np.isfinite(answer):
            return _refuse("you return infinity: leave out the codes that no item has.")
        return answer

    def where(answer: np.ndarray, right: np.ndarray, codes: np.ndarray, n_codes: int) -> str:
        if len(set(codes.tolist())) == 1:
            return f"all items have one code, a collapsed codebook: its perplexity is 1, and you return {answer:.4f}."
        shown = f"{codes.tolist()}" if len(codes) < 12 else f"{len(codes)} tokens"
        return f"for {shown} out of {n_codes} you return {answer:.4f}; the perplexity is {right:.4f}."

    return _judged(mine, c13_ids.perplexity_cases(), c13_ids.perplexity, c13_ids.PERPLEXITY, read, where)


# ---- exercise 3 ----


@exercise
def sharing_items(mine: Callable[..., int]) -> str | None:
    """mine(codes) -> how many items share their whole row with another item."""

    def read(answer: Any, codes: np.ndarray) -> np.ndarray:
        answer = numbers(answer, "number of items")
        if answer.shape == (len(codes),):
            return _refuse("you return a number for each item: how many items share their id is one number.")
        return _shaped(answer, (), "the answer is one number:")

    def where(answer: np.ndarray, right: np.ndarray, codes: np.ndarray) -> str:
        shown = f"the ids {codes.tolist()}" if codes.size < 30 else f"{len(codes)} items with {codes.shape[1]} tokens"
        return f"for {shown} you return {answer:g}; {right:g} items share their id with another one."

    return _judged(mine, c13_ids.sharing_cases(), c13_ids.sharing, c13_ids.SHARING, read, where)


# ---- exercise 4 ----


@exercise
def held_out_items(mine: Callable[..., tuple]) -> str | None:
    """mine(histories, places) -> (histories without the item at the drawn place, -1 in all of its places; the items)."""

    def read(answer: Any, histories: torch.Tensor, places: torch.Tensor) -> np.ndarray:
        left, items = (numbers(part, "answer") for part in _parts(answer, 2, "what is left, and what was taken out"))
        b, m = histories.shape
        if left.shape == (b,) and items.shape == (b, m):
            return _refuse("the two parts are exchanged: first what is left of the histories, then the items.")
        if items.shape == (b, b):
            return _refuse("you take every place for every history: pick one place of each row.")
        items = items[:, 0] if items.shape == (b, 1) else items
        if left.shape[:1] == (b,) and left.shape != (b, m):
            return _refuse(f"your histories have shape {left.shape}: keep {(b, m)}, and write -1 where the item was.")
        left, items = _shaped(left, (b, m), "as histories"), _shaped(items, (b,), "as items")
        return np.concatenate([left, items[:, None]], axis=1)

    def where(answer: np.ndarray, right: np.ndarray, histories: torch.Tensor, places: torch.Tensor) -> str:
        if (answer[:, -1] == -1).any():
            return "one of your targets is -1, an empty place: the model would learn to recommend nothing."
        n = int(np.argwhere((answer != right).any(axis=1))[0, 0])
        given = f"history {histories[n].tolist()}, place {int(places[n])}"
        return (
            f"{given}: you leave {_row(answer[n, :-1])} and take {answer[n, -1]:g}; "
            f"it should be {_row(right[n, :-1])} and {right[n, -1]:g}."
        )

    return _judged(mine, c13_lists.held_out_cases(), c13_lists.held_out, c13_lists.HELD_OUT, read, where)


# ---- exercise 5, bonus ----


@exercise(bonus=True)
def beam_step(mine: Callable[..., tuple]) -> str | None:
    """mine(scores, log_probs, allowed, n_beams) -> (parents, tokens, scores), each (b, n_beams), best first."""

    def read(answer: Any, scores: torch.Tensor, steps: torch.Tensor, allowed: torch.Tensor, n: int) -> np.ndarray:
        parts = [numbers(part, "answer") for part in _parts(answer, 3, "parents, tokens and scores")]
        b, beams, n_tokens = steps.shape
        for name, part in zip(("parents", "tokens", "scores"), parts):
            if part.shape == (b, beams * n_tokens):
                return _refuse(f"your {name} hold all continuations: keep the best {n}.")
            if part.shape == (b, beams, n) and beams > 1:
                return _refuse(f"you keep the best {n} of each beam: the continuations of all beams compete.")
            if part.shape == (n,) and b == 1:
                return _refuse("you lost the axis of the histories: return (b, n_beams).")
            _shaped(part, (b, n), f"for {b} histories and {n} beams, as {name},")
        found = np.stack(parts, axis=1)
        _not_allowed(found, scores, allowed)
        return found

    def where(answer: np.ndarray, right: np.ndarray, *_: Any) -> str:
        row, _, place = farthest(answer, right)
        mine, best = answer[row, :, place], right[row, :, place]
        return (
            f"history {row}, place {place}: you have parent {mine[0]:g}, token {mine[1]:g}, score {mine[2]:.3f}; "
            f"it should be parent {best[0]:g}, token {best[1]:g}, score {best[2]:.3f}."
        )

    return _judged(mine, c13_lists.beam_cases(), c13_lists.beam, c13_lists.BEAM, read, where)


def _not_allowed(found: np.ndarray, scores: torch.Tensor, allowed: torch.Tensor) -> None:
    """Name the zero in the place of minus infinity: such continuations tie, so that no table of slips could hold them."""
    for row, (parents, tokens, values) in enumerate(found):
        for parent, token, value in zip(parents, tokens, values):
            inside = 0 <= parent < allowed.shape[1] and 0 <= token < allowed.shape[2]
            if inside and not allowed[row, int(parent), int(token)]:
                if min(abs(value), abs(value - float(scores[row, int(parent)]))) < 1e-6:
                    _refuse("a forbidden token gets the logarithm 0, a probability of 1: set it to minus infinity.")
                if np.isneginf(value):
                    _refuse(
                        "your list holds a forbidden token although enough allowed ones are left: minus infinity comes last."
                    )


# ---- exercise 6 ----


@exercise
def search_without_reference(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(queries, gallery, references, top_k) -> (n, top_k) places, best first; the own reference is not found."""

    def read(answer: Any, queries: torch.Tensor, gallery: torch.Tensor, references: torch.Tensor, k: int) -> np.ndarray:
        answer, n, m = numbers(answer, "table of places"), len(queries), len(gallery)
        if answer.shape != (n, k) and answer.shape in ((n, m), (n, m - 1)):
            return _refuse(f"you return {answer.shape[1]} pictures a query: keep the best {k}.")
        if answer.shape != (n, k) and answer.shape == (k, n):
            return _refuse("a row is a query: your table is turned round.")
        return _shaped(answer, (n, k), f"for {n} queries and top_k={k}")

    def where(answer: np.ndarray, right: np.ndarray, _: Any, __: Any, references: torch.Tensor, k: int) -> str:
        n = int(np.argwhere((answer != right).any(axis=1))[0, 0])
        own = int(references[n])
        given = f"query {n} (reference {own})" if own >= 0 else f"query {n} (no reference)"
        return f"{given} finds {_row(answer[n])} with you; the best {k} are {_row(right[n])}."

    return _judged(mine, c13_pictures.search_cases(), c13_pictures.search, c13_pictures.SEARCH, read, where)


# ---- exercise 7 ----


@exercise
def guided_noise(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(told, untold, weight) -> (1 + w) told - w untold, of the same shape."""

    def read(answer: Any, told: torch.Tensor, untold: torch.Tensor, weight: float) -> np.ndarray:
        return _shaped(numbers(answer, "noise"), tuple(told.shape), f"for predictions of shape {tuple(told.shape)}")

    def where(answer: np.ndarray, right: np.ndarray, told: torch.Tensor, untold: torch.Tensor, weight: float) -> str:
        place = farthest(answer, right)
        a, b = float(told[place]), float(untold[place])
        return (
            f"told {a:.3f}, untold {b:.3f} and a weight of {weight:g} give {answer[place]:.3f} with you; "
            f"it should be {right[place]:.3f}."
        )

    return _judged(mine, c13_pictures.guidance_cases(), c13_pictures.guided, c13_pictures.GUIDED, read, where)


# ---- what all share ----


def _judged(
    mine: Callable, cases: list[tuple], right: Callable, slips: dict, read: Callable, where: Callable
) -> str | None:
    """Try an answer on all cases, and name the slip that gives the same on each of them.

    Args:
        read: (answer, *case) -> an array of the right shape, or a Mistake.
        where: (answer, right, *case) -> the sentence about the first case that is wrong, where no slip fits.
    """
    if not callable(mine):
        _refuse("hand over the function itself, without brackets and arguments, not what it returns.")
    answers, first = [], None
    for n, case in enumerate(cases):
        try:
            answers.append(read(mine(*copy.deepcopy(case)), *case))
        except Exception:
            if first is None:
                raise
            break  # an earlier case is wrong already, and says more
        if first is None and not same(answers[-1], _array(right(*case))):
            first = n
    if first is None:
        return None
    for sentence, wrongs in slips.items():
        for wrong in wrongs:
            if all(same(answer, _array(wrong(*copy.deepcopy(case)))) for answer, case in zip(answers, cases)):
                return sentence
    return where(answers[first], _array(right(*cases[first])), *cases[first])  # fmt: skip


def _array(answer: Any) -> np.ndarray:
    """A right or wrong answer of the check's own as ``read`` gives the learner's: parts of one shape are stacked."""
    if not isinstance(answer, tuple):
        return numbers(answer)
    parts = [numbers(part) for part in answer]
    if len(parts) == 2:  # histories (b, m) and an item each
        return np.concatenate([parts[0], parts[1][:, None]], axis=1)
    return np.stack(parts, axis=1)


def _parts(answer: Any, n: int, names: str) -> list[Any]:
    if not isinstance(answer, (tuple, list)) or len(answer) != n:
        _refuse(f"return {('two', 'three')[n - 2]} parts: {names}.")
    return list(answer)


def _shaped(answer: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    if answer.shape != shape:
        _refuse(f"{what} you return shape {answer.shape}; it has to be {shape}.")
    return answer


def _refuse(sentence: str) -> Any:
    raise Mistake(sentence)


def _row(values: np.ndarray) -> str:
    return str([round(float(value), 3) if value % 1 else int(value) for value in values])
