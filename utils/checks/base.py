"""What every exercise check shares: 'not tried yet', a named mistake, or a pass; it never raises in the notebook."""

from __future__ import annotations

import functools
import inspect
import linecache
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from utils.checks.progress_view import register, remember


@dataclass(frozen=True)
class Verdict:
    """The answer of a check: ``passed`` is True, False, or None when the stub was not touched."""

    passed: bool | None
    message: str

    def __repr__(self) -> str:
        mark = {True: "Passed", False: "Not yet", None: "Not tried yet"}[self.passed]
        return f"{mark}: {self.message}"


class NotTried(Exception):
    """Raised inside a check when the learner's stub still returns nothing."""


class Mistake(Exception):
    """Raised by a helper of a check: its text is the sentence for the learner."""


def exercise(check: Callable[..., str | None] | None = None, *, bonus: bool = False) -> Any:
    """Turn a function that returns None (right) or a sentence (the mistake) into a check that a notebook can call.

    An answer that raises gets a verdict with the error's own words and line, because the traceback would bury them. An
    answer that is right but changes its inputs does not pass. The verdict is remembered for the progress view.

    Args:
        check: takes the learner's answers; its module ``cNN`` says which notebook it belongs to.
        bonus: the exercise is for the fast half of the room (``@exercise(bonus=True)``).
    """
    if check is None:
        return functools.partial(exercise, bonus=bonus)
    register(check.__module__, check.__name__, bonus)

    @functools.wraps(check)
    def run(*answers: Any) -> Verdict:
        verdict = _judge(check, answers)
        remember(check.__module__, check.__name__, verdict.passed)
        return verdict

    return run


def _judge(check: Callable[..., str | None], answers: tuple[Any, ...]) -> Verdict:
    changed: list[str] = []
    try:
        mistake = check(*[_guarded(answer, changed) for answer in answers])
    except NotTried:
        return Verdict(None, "replace the stub above, then run it and this check again.")
    except Mistake as error:
        mistake = str(error)
    except Exception as error:  # noqa: BLE001 - the learner's code may raise anything
        return Verdict(False, _raised(error))
    if mistake is None and changed:
        mistake = f"right, but you changed the input `{changed[0]}` in place: work on a copy, because the caller still needs it."
    return Verdict(True, "right.") if mistake is None else Verdict(False, mistake)


# ---- the learner's function ----


def _guarded(answer: Any, changed: list[str]) -> Any:
    """Wrap a learner's function: an untouched stub is recognised wherever the check calls it, a changed input is noted."""
    if answer is None or answer is ...:
        raise NotTried
    if not callable(answer) or isinstance(answer, type):
        return answer

    @functools.wraps(answer)
    def call_of_the_learner(*args: Any, **kwargs: Any) -> Any:
        before = [_print_of(value) for value in args]
        try:
            result = answer(*args, **kwargs)
        except NotImplementedError as error:
            raise NotTried from error
        if result is None or result is ...:
            raise NotTried
        touched = [n for n, value in enumerate(args) if _print_of(value) != before[n]]
        changed.extend(_name_of(answer, n) for n in touched)
        return result

    return call_of_the_learner


def _print_of(value: Any) -> Any:
    """Return something that is equal exactly when an array, tensor, table, list or dict is unchanged; else None."""
    if isinstance(value, torch.Tensor) and value.layout == torch.strided:
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, repr(value.tolist()) if value.dtype.hasobject else value.tobytes()
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return value.to_csv()
    if isinstance(value, (list, tuple)):
        return [_print_of(part) for part in value], len(value), repr(value) if _plain(value) else None
    if isinstance(value, dict):
        return (
            list(value),
            [_print_of(part) for part in value.values()],
            repr(value) if _plain(value.values()) else None,
        )
    return None


def _plain(values: Any) -> bool:
    return all(isinstance(value, (str, int, float, bytes)) for value in values)


def _name_of(function: Callable, place: int) -> str:
    try:
        return list(inspect.signature(function).parameters)[place]
    except (ValueError, TypeError, IndexError):
        return f"argument {place + 1}"


def _raised(error: Exception) -> str:
    """Say what was raised and in which line of the learner's; an error of the check's own means an odd answer."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    theirs = next((n for n, (code, _) in enumerate(frames) if code.co_name == "call_of_the_learner"), None)
    what = f"{type(error).__name__}: {error}"
    if theirs is None:
        return f"the check could not read what your function returned ({what}); compare it with the stub's docstring."
    code, line = _last_own_line(frames[theirs + 1 :])
    text = linecache.getline(code.co_filename, line).strip() if code else ""
    return f"your code raised {what}" + (f" (in the line `{text}`)" if text else "")


def _last_own_line(frames: list[tuple[types.CodeType, int]]) -> tuple[types.CodeType | None, int]:
    """The deepest line that the learner wrote: in the file (a cell) of the function that was called."""
    own = [frame for frame in frames if frame[0].co_filename == frames[0][0].co_filename]
    return own[-1] if own else (None, 0)


# ---- reading answers of any style ----


def numbers(answer: Any, what: str = "answer") -> np.ndarray:
    """Return an answer (numbers, nested lists, numpy, torch, pandas, scipy) as a float64 array.

    Raises:
        Mistake: it does not hold numbers, or rows of different lengths.
    """
    if isinstance(answer, torch.Tensor):
        answer = answer.detach().cpu()
        answer = answer.to_dense() if answer.layout != torch.strided else answer
    elif hasattr(answer, "toarray"):
        answer = answer.toarray()
    elif isinstance(answer, (list, tuple)) and any(isinstance(part, torch.Tensor) for part in answer):
        answer = [numbers(part, what) for part in answer]
    elif isinstance(answer, (map, filter, zip, range, types.GeneratorType)):
        answer = list(answer)
    try:
        return np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        raise Mistake(f"the {what} should be numbers; you return {type(answer).__name__}.") from None


def same(a: Any, b: Any, tolerance: float = 1e-4) -> bool:
    """Say whether two arrays have one shape and nearly the same numbers (NaN equals nothing)."""
    a, b = numbers(a), numbers(b)
    return a.shape == b.shape and bool(np.allclose(a, b, atol=tolerance, rtol=tolerance))


def first_named(answer: Any, mistakes: dict[str, Any], tolerance: float = 1e-4) -> str | None:
    """Return the first sentence whose wrong answer is the one given; None if there is none."""
    return next((sentence for sentence, wrong in mistakes.items() if same(answer, wrong, tolerance)), None)


def farthest(answer: np.ndarray, right: np.ndarray) -> Any:
    """Return the place (a number, or a tuple) where two arrays of one shape differ most; NaN differs from everything."""
    gap = np.abs(np.nan_to_num(np.asarray(answer) - np.asarray(right), nan=np.inf, posinf=np.inf, neginf=np.inf))
    place = tuple(int(n) for n in np.unravel_index(int(gap.argmax()), gap.shape))
    return place[0] if len(place) == 1 else place
