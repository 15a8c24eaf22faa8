"""Decks, the figures: small functions that draw with the course's own code; a cache keeps what has not changed.

To add one, write a function in this file or in another `utils/decks/figures_*.py`:

    @figure
    def my_name(option: str = "x") -> tuple[Figure, str]:      # the drawing, and what it shows in words
        ...

A slide shows it by {{figure my_name}} or {{figure my_name option=y}}. Instead of a matplotlib figure a function may
return HTML or SVG as text (a drawing of boxes, or something that a script moves): it goes into the page as it is.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from utils.errors import CourseError, suggest
from utils.files import ROOT, sha256, write_json
from utils.plotstyle import png

CACHE = ROOT / "build" / "slides" / "cache"
DPI = 170
# Rooms that no figure draws with: a change in them leaves the cache alone
APART = {"decks", "live", "checks", "runner.py", "pages.py", "environment.py"}

Drawing = Callable[..., "tuple[Figure | str, str]"]
FIGURES: dict[str, Drawing] = {}


@dataclass(frozen=True)
class Made:
    """A finished figure: a PNG in base64, or HTML; and its alt text."""

    alt: str
    png: str = ""
    markup: str = ""


def figure(function: Drawing) -> Drawing:
    """Register a function that returns (figure, alt text)."""
    other = FIGURES.get(function.__name__)
    if other is not None and other.__module__ != function.__module__:
        raise CourseError(f"Two figures are called {function.__name__} ({other.__module__}); give one another name.")
    FIGURES[function.__name__] = function
    return function


def registry() -> dict[str, Drawing]:
    """Return all figures: of this room's `figures_*.py`, which register themselves when they are imported."""
    for path in sorted(Path(__file__).parent.glob("figures_*.py")):
        importlib.import_module(f"utils.decks.{path.stem}")
    return FIGURES


def make(name: str, **options: str) -> Made:
    """Draw a figure, or take it from the cache when code, records, results and data are the same as then.

    Raises:
        CourseError: unknown figure or option; no alt text.
    """
    known = registry()
    if name not in known:
        raise suggest(name, known, "figure")
    function = known[name]
    key = hashlib.sha256(json.dumps([name, options, _state(function.__module__)]).encode()).hexdigest()[:24]
    stored = CACHE / f"{name}-{key}.json"
    if stored.exists():
        return Made(**json.loads(stored.read_text(encoding="utf-8")))
    try:
        drawn, alt = function(**options)
    except TypeError as error:
        raise CourseError(f"figure {name} cannot be drawn with {options}: {error}.") from error
    alt = " ".join(alt.split())
    if not alt:
        raise CourseError(f"figure {name} has no alt text; return (figure, what it shows in a sentence).")
    if isinstance(drawn, str):
        made = Made(alt, markup=drawn)
    else:
        made = Made(alt, png=base64.b64encode(png(drawn, dpi=DPI)).decode("ascii"))
        drawn.clear()
    for old in CACHE.glob(f"{name}-*.json"):
        if json.loads(old.read_text(encoding="utf-8")).get("alt") == alt and not options:
            old.unlink(missing_ok=True)  # what an earlier state of the code drew
    write_json(stored, made.__dict__)
    return made


def _state(module: str) -> str:
    """Hash everything that a figure can be made of: code, records, result files, tables and features."""
    own = [Path(importlib.import_module(module).__file__ or ""), Path(__file__).with_name("tiles.py")]
    return "".join(sha256(path) for path in own) + _shared_state()


@lru_cache(maxsize=1)
def _shared_state() -> str:
    code = [
        path
        for path in (ROOT / "utils").rglob("*.py")
        if path.relative_to(ROOT / "utils").parts[0] not in APART
    ]  # fmt: skip
    stored = [*(ROOT / "tests" / "records" / "full").glob("*.json"), *(ROOT / "data" / "results").glob("*.json")]
    data = [p for p in (ROOT / "data" / "sticker_shop").rglob("*") if p.suffix in {".tsv", ".gz", ".npy", ".npz"}]
    digest = hashlib.sha256()
    for path in sorted([*code, *stored, *data]):
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def sized(drawn: Figure, width: float, height: float) -> Figure:
    """Give a drawing other inches: the smaller it is drawn, the larger are its letters on the slide."""
    drawn.set_size_inches(width, height)
    return drawn


def alt_table(frame: Any, digits: int = 3) -> str:
    """Return a table's numbers as a sentence, for an alt text that says what the bars say."""
    return "; ".join(f"{name} {value:.{digits}f}" for name, value in frame.items())
