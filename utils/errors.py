"""One kind of error for everything a reader can put right: a sentence with what, where and the remedy; and how programs end."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

LONGEST = 2000  # letters of a message: what a file of a stranger holds may be a million


class CourseError(ValueError):
    """Something in the data, the settings or the files is wrong, and the message says what to do."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 3 :]}"


def leave(main: Callable[[], int]) -> NoReturn:
    """Run a command and end the program with its status; who stops reading early (``| head``) is no error of ours."""
    try:
        try:
            status = main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes once more when it ends
        status = 141  # as a program says that is stopped by the signal of a closed pipe
    sys.exit(status)


def suggest(name: object, known: Iterable[object], what: str) -> CourseError:
    """Make the error for an unknown name, with the nearest known ones.

    Args:
        name: what the reader typed, a text or anything else that stands in its place.
        known: the names that exist.
        what: the kind of thing, for example ``"encoder"``.
    """
    known = sorted(map(str, known))
    if not isinstance(name, str):
        name = getattr(name, "__name__", str(name))  # a class or a function: by its name
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}."
    return CourseError(f"Unknown {what} {name!r}; {hint}")
