"""Room "Which?" (utils/data): make a course folder of a foreign layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from utils.errors import suggest

CONVERTERS: dict[str, Callable[..., Path]] = {}


def convert(name: str, source: str | Path, target: str | Path, **options: object) -> Path:
    """Convert a foreign layout; see CONVERTERS for the names."""
    if name not in CONVERTERS:
        raise suggest(name, CONVERTERS, "converter")
    return CONVERTERS[name](Path(source), Path(target), **options)
