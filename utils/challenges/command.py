"""Room "challenges": what the stored studies' command lines share: arguments, the file of an earlier run, errors."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from utils.errors import CourseError


def command_line(
    module: str,
    run: Callable[[argparse.Namespace], None],
    arguments: list[str] | None,
    *,
    about: str,
    seeds: int,
    out: Path,
    **more: Any,
) -> int:
    """Read ``FOLDER --seeds N --out FILE`` and run the study; return the exit status.

    Args:
        module: name of the file in ``utils/challenges``, for the help text.
        run: gets the options; what it raises as CourseError is printed as one sentence.
        arguments: as in ``sys.argv[1:]``, which None stands for.
        more: further options with their defaults, ``epochs=40`` is ``--epochs 40``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m utils.challenges.{module}", description=about)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=seeds, help="seeds 0 to N - 1 (default %(default)s)")
    parser.add_argument("--out", type=Path, default=out, help="result file; what it holds already is kept")
    for name, value in more.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help="default %(default)s")
    options = parser.parse_args(arguments)
    try:
        if options.seeds < 1:
            raise CourseError(f"--seeds {options.seeds}: a study needs at least one seed.")
        run(options)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"written to {options.out}")
    return 0


def earlier(path: Path, key: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an earlier run of the same study left in ``path``; empty if there is nothing to go on from.

    Args:
        key: what must be the same in the file's "meta"; with another value the study starts anew.

    Raises:
        CourseError: the file cannot be read, or holds the study of another dataset, which would be overwritten.
    """
    if not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        meta = stored["meta"]
    except (ValueError, KeyError, TypeError):
        raise CourseError(f"{path} is no result of a study; remove it, or give another file with --out.") from None
    if meta.get("dataset", key.get("dataset")) != key.get("dataset"):
        raise CourseError(
            f"{path} holds the study of {meta['dataset']!r}, not of {key['dataset']!r}; give another file with --out."
        )
    return stored if all(meta.get(name) == value for name, value in key.items()) else {}


def rounded(row: Mapping[str, Any], digits: int = 6) -> dict[str, Any]:
    """Return a row of a result file with its floats rounded."""
    return {name: round(value, digits) if isinstance(value, float) else value for name, value in row.items()}
