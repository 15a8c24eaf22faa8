"""One kind of error for everything a reader can put right: one sentence with what, where and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CourseError(ValueError):
    """Something in the data, the settings or the files is wrong, and the message says what to do."""


def suggest(name: str, known: Iterable[str], what: str) -> CourseError:
    """Make the error for an unknown name, with the nearest known ones.

    Args:
        name: what the reader typed.
        known: the names that exist.
        what: the kind of thing, for example ``"encoder"``.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}."
    return CourseError(f"Unknown {what} {name!r}; {hint}")
