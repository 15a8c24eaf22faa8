"""What every exercise check shares: 'not tried yet', a named mistake, or a pass; it never raises in the notebook."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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


def _guarded(answer: Any) -> Any:
    """Wrap a learner's function so that an untouched stub is recognised wherever the check calls it."""
    if answer is None or answer is ...:
        raise NotTried
    if not callable(answer) or isinstance(answer, type):
        return answer

    @functools.wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = answer(*args, **kwargs)
        except NotImplementedError as error:
            raise NotTried from error
        if result is None or result is ...:
            raise NotTried
        return result

    return call


def exercise(check: Callable[..., str | None]) -> Callable[..., Verdict]:
    """Turn a function that returns None (right) or a sentence (the mistake) into a check that a notebook can call.

    An answer that raises gets a verdict with the error's own words, because the traceback would bury them.
    """

    @functools.wraps(check)
    def run(*answers: Any) -> Verdict:
        try:
            mistake = check(*[_guarded(answer) for answer in answers])
        except NotTried:
            return Verdict(None, "replace the stub above and run its cell, then run this one again.")
        except Exception as error:  # noqa: BLE001 - the learner's code may raise anything
            return Verdict(False, f"your code raised {type(error).__name__}: {error}")
        if mistake is None:
            return Verdict(True, "right.")
        return Verdict(False, mistake)

    return run
