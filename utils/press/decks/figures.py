"""Decks, the figures: small functions that draw with the course's own code; a cache keeps what has not changed.

To add one, write a function in this file or in another `utils/press/decks/figures_*.py`:

    @figure
    def my_name(option: str = "x") -> tuple[Figure, str]:      # the drawing, and what it shows in words
        ...

A slide shows it by {{figure my_name}} or {{figure my_name option=y}}; bars of recorded values need no function: `bars`. Instead of a matplotlib figure a function may
return HTML or SVG as text (a drawing of boxes, or something that a script moves): it goes into the page as it is.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from utils import plots
from utils.errors import CourseError, suggest
from utils.files import ROOT, sha256, write_json
from utils.plots.style import HIT, MODALITY_COLOURS, png, styled
from utils.press.decks.numbers import recorded
from utils.press.templates import THEME

CACHE = ROOT / "build" / "slides" / "cache"
DPI = 170
Drawing = Callable[..., "tuple[Figure | str, str]"]
FIGURES: dict[str, Drawing] = {}
KINDS = MODALITY_COLOURS | {"hit": HIT}  # of bars


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
    _load()
    return FIGURES


@lru_cache(maxsize=1)
def _load() -> None:
    for path in sorted(Path(__file__).parent.glob("figures_*.py")):
        importlib.import_module(f"utils.press.decks.{path.stem}")


def make(name: str, **options: str) -> Made:
    """Draw a figure, or take it from the cache when code, records, results and data are the same as then.

    Raises:
        CourseError: unknown figure or option; no alt text.
    """
    known = registry()
    if name not in known:
        raise suggest(name, known, "figure")
    function = known[name]
    key = hashlib.sha256(json.dumps([name, options, _state(function)]).encode()).hexdigest()[:24]
    stored = CACHE / f"{name}-{key}.json"
    if stored.exists():
        return Made(**json.loads(stored.read_text(encoding="utf-8")))
    try:
        drawn, alt = function(**options)
    except CourseError:
        raise
    except (TypeError, ValueError) as error:
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
        with suppress(FileNotFoundError):  # another process was faster
            if json.loads(old.read_text(encoding="utf-8")).get("alt") == alt and not options:
                old.unlink()  # what an earlier state of the code drew
    write_json(stored, made.__dict__)
    return made


def _state(function: Drawing) -> str:
    """Hash everything that a figure can be made of: its code, what that imports, its template, records, results and data."""
    home = Path(importlib.import_module(function.__module__).__file__ or "")
    source = _reached(home.read_text(encoding="utf-8"), function.__name__)
    digest = hashlib.sha256((_data_state() + source).encode())
    for path in sorted(_imported(source)):
        digest.update((path.name + _sha(path)).encode())
    every = re.search(r"\bresults\.", source)  # a function of utils.lab.tables may read any of them
    for path in sorted((ROOT / "data" / "results").glob("*.json")):
        if every or path.stem in source:
            digest.update((path.name + _sha(path)).encode())
    for path in sorted(THEME.iterdir()):
        if f"{path.stem}.html" in source:  # a drawing from a template, with its style and script
            digest.update((path.name + _sha(path)).encode())
    return digest.hexdigest()


def _reached(text: str, name: str) -> str:
    """Return the part of a module that a function needs: itself, what it names, what that names, and those imports."""
    homes: dict[str, ast.stmt] = {}
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            homes[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            homes |= {part.id: node for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:  # one name each, so that an unused one does not count
                one = (
                    ast.Import([alias])
                    if isinstance(node, ast.Import)
                    else ast.ImportFrom(node.module, [alias], node.level)
                )
                homes[alias.asname or alias.name.split(".")[0]] = one
    kept: list[ast.stmt] = []
    waiting = [name]
    while waiting:
        node = homes.get(waiting.pop())
        if node is not None and node not in kept:
            kept.append(node)
            waiting += [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    return "\n".join(ast.unparse(node) for node in kept)


def _imported(source: str) -> set[Path]:
    """Return the files of the course that some code imports, directly or by others; of a package, all its files."""
    found: set[Path] = set()
    waiting = set(_imports(source))
    while waiting:
        new = waiting - found
        found |= new
        waiting = {path for file in new for path in _imports_of(file)}
    return found


@lru_cache(maxsize=1024)
def _imports_of(path: Path) -> frozenset[Path]:
    return frozenset(_imports(path.read_text(encoding="utf-8")))


def _imports(source: str) -> set[Path]:
    """Return the files that some code imports from the course."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            # modules of a package, or names that any of its files may give
            names += [*inside, f"{node.module}.__init__" if all(map(_files, inside)) else node.module]
    found: set[Path] = set()
    for name in names:
        if name.split(".")[0] == "utils":
            found |= _files(name)
    return found


@lru_cache(maxsize=1024)
def _files(name: str) -> frozenset[Path]:
    """Return the file of a module, or all files of a package; nothing for a name inside a module."""
    base = ROOT.joinpath(*name.split("."))
    files = {base.with_suffix(".py")} if base.with_suffix(".py").exists() else set()
    if base.is_dir() and name not in ("utils", "utils.press.decks", "utils.checks"):
        files |= {path for path in base.rglob("*.py") if path.name != "__main__.py"}  # a door is run, never imported
    return frozenset(files)


_sha = lru_cache(maxsize=1024)(sha256)  # a file is read once per build


@lru_cache(maxsize=1)
def _data_state() -> str:
    """Hash the records, and the tables and features of the Sticker Shop."""
    stored = [*(ROOT / "tests" / "records" / "full").glob("*.json")]
    data = [p for p in (ROOT / "data" / "sticker_shop").rglob("*") if p.suffix in {".tsv", ".gz", ".npy", ".npz"}]
    return "".join(path.name + sha256(path) for path in sorted([*stored, *data]))


def sized(drawn: Figure, width: float, height: float) -> Figure:
    """Give a drawing other inches: the smaller it is drawn, the larger are its letters on the slide."""
    drawn.set_size_inches(width, height)
    return drawn


def alt_table(frame: Any, digits: int = 3) -> str:
    """Return a table's numbers as a sentence, for an alt text that says what the bars say."""
    return "; ".join(f"{name} {value:.{digits}f}" for name, value in frame.items())


@figure
@styled
def bars(
    notebook: str, axis: str = "", title: str = "", size: str = "10x4", form: str = ".3f", line: str = "", to: str = "",
    alt: str = "", **labels: str,
) -> tuple[Figure, str]:  # fmt: skip
    """Bars of recorded values, one for each KEY="label", in their order: what ``{{bars NOTEBOOK ...}}`` draws.

    Args:
        notebook: whose full record holds the values.
        axis: name of the axis, with its unit.
        size: width x height in inches; the smaller, the larger are the letters on the slide.
        form: Python's format of the numbers.
        line: where a dashed line stands: a number, a fraction such as 1/3, or a key of the record.
        to: where the axis ends, for two drawings on one scale.
        alt: what the bars measure, in words.
        labels: key (see `numbers.recorded`) -> the bar's name; ``[name]{kind}`` gives it a modality's colour, ``hit`` or
            any colour, and ``[name]{control}`` or ``[name]{kind control}`` makes it a hatched control.

    Raises:
        CourseError: no bar, an unknown value or an unknown kind.
    """
    if not labels:
        raise CourseError('bars has nothing to draw; write {{bars 00 content_among_cold="[content]{multimodal}"}}.')
    means, kinds, controls = {}, {}, []
    for key, label in labels.items():
        found = re.fullmatch(r"\[(.+)\]\{(.+)\}", label)
        name, words = (found[1], found[2].split()) if found else (label, [])
        means[name], kinds[name] = recorded(notebook, key), "none"
        for word in words:
            if word == "control":
                controls.append(name)
            elif word not in KINDS and not word.startswith("#"):
                raise suggest(word, [*KINDS, "control"], "kind of bar")
            else:
                kinds[name] = KINDS.get(word, word)
    if len(means) < len(labels):
        raise CourseError(f"two bars of {notebook} have one name ({', '.join(means)}); give each its own.")
    table = pd.DataFrame({"mean": means})
    drawn = plots.metric_bars(table, "recall@20", kinds=kinds, controls=controls, title=title, form=form)
    (ax,) = drawn.axes
    if axis:
        ax.set_xlabel(axis)
    if to:
        ax.set_xlim(right=float(to))
    if min(means.values()) < 0:
        ax.axvline(0, color="black")
    words = "; ".join(f"{name} {value:{form}}" for name, value in means.items())
    words += f". Hatched controls: {', '.join(controls)}." if controls else "."
    if line:
        place = _place(notebook, line)
        ax.axvline(place, color=HIT, linestyle="--")
        words += f" Dashed line at {place:{form}}."
    return sized(drawn, *map(float, size.split("x"))), f"{alt or axis or 'Recall at 20'}: {words}"


def _place(notebook: str, text: str) -> float:
    try:
        return float(Fraction(text))
    except ValueError:
        return recorded(notebook, text)
