"""The live path, the plan: marked cells, the cells that these need, their minutes and their measured seconds.

A notebook marks its part of the 80 minutes in the metadata of its cells: ``slideshow.slide_type`` says what RISE shows,
``live.minutes`` how long you talk. What a shown cell needs is found here from the code, so that nobody keeps a list.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils import course
from utils.errors import CourseError
from utils.files import ROOT

RECORD = ROOT / "tests" / "records" / "live.json"
LIMIT = 20.0  # seconds: what a room waits for in silence
# part of the lecture -> minutes, notebooks
PARTS = {"0": (5, ("00",)), "1": (50, ("01", "02", "03", "04", "05", "06")), "2": (15, ("07", "08", "09", "10", "11"))}
NAMES = {
    "00": "0",
    "01": "1.1, 1.2",
    **{f"{n:02}": "1.3" for n in range(2, 7)},
    **{f"{n:02}": f"2.{n - 6}" for n in range(7, 12)},
}
RISE = {"theme": "white", "transition": "none", "slideNumber": True, "scroll": True}
SHOWN = ("slide", "subslide", "fragment", "-")
HIDDEN = ("skip", "notes")


# ---- what a cell reads, binds and changes ----


@dataclass
class Use:
    """The names that one cell reads before it binds them, binds, changes in place, and imports."""

    reads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)


def use_of(source: str) -> Use:
    """Return what a cell does with names; branches count as taken, a function reads what its body needs."""
    use = Use()
    for statement in ast.parse(source).body:
        _statement(statement, use)
    return use


def _statement(node: ast.stmt, use: Use) -> None:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        names = {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        use.binds |= names
        use.imports |= names
    elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        own = {item.arg for item in ast.walk(node) if isinstance(item, ast.arg)} | {node.name}
        own |= {item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)}
        own |= {item.name for item in ast.walk(node) if isinstance(item, (ast.FunctionDef, ast.ClassDef))}
        use.reads |= _loads(node) - own - use.binds
        use.binds.add(node.name)
    elif isinstance(node, (ast.For, ast.While, ast.If, ast.With, ast.Try)):
        for part in ast.iter_child_nodes(node):  # headers come before bodies
            if isinstance(part, ast.stmt):
                _statement(part, use)
            elif isinstance(part, ast.ExceptHandler):
                if part.type is not None:
                    _expression(part.type, use)
                use.binds |= {part.name} - {None}
                for inner in part.body:
                    _statement(inner, use)
            else:
                _expression(part, use)
    else:
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            use.reads |= {node.target.id} - use.binds
            use.changes.add(node.target.id)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            use.changes |= {_root(node.value.func)} - {None} if isinstance(node.value.func, ast.Attribute) else set()
        _expression(node, use)


def _expression(node: ast.AST, use: Use) -> None:
    """Reads first, then what is stored; names of comprehensions and lambdas stay inside."""
    inside = {item.arg for item in ast.walk(node) if isinstance(item, ast.arg)}
    for item in ast.walk(node):
        if isinstance(item, ast.comprehension):
            inside |= {name.id for name in ast.walk(item.target) if isinstance(name, ast.Name)}
        if isinstance(item, (ast.Subscript, ast.Attribute)) and isinstance(item.ctx, ast.Store):
            use.changes |= {_root(item)} - {None}
    use.reads |= _loads(node) - inside - use.binds
    stored = {item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)}
    use.binds |= stored - inside


def _loads(node: ast.AST) -> set[str]:
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Load)}


def _root(node: ast.AST) -> str | None:
    """Return the name at the start of ``a.b[c].d``; None when it starts with something else."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


# ---- the path through one notebook ----


def tags(cell: Any) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def slide_type(cell: Any) -> str:
    return cell["metadata"].get("slideshow", {}).get("slide_type", "")


def is_shown(cell: Any) -> bool:
    return slide_type(cell) in SHOWN


def run_order(cells: Sequence[Any]) -> list[int]:
    """Return the code cells to run, in order: set-up, parameters, start, the shown ones, and whatever these need.

    A name is followed back to the cell that bound it last; cells that change it in place on the way are run as well.
    """
    uses = {i: use_of(cell["source"]) for i, cell in enumerate(cells) if cell["cell_type"] == "code"}
    imported = set().union(*(use.imports for use in uses.values())) if uses else set()
    always = [
        i for i in uses if {"setup", "parameters"} & tags(cells[i]) or "course.start(" in cells[i]["source"]
    ]  # fmt: skip
    wanted, todo = set(), [*always, *(i for i in uses if is_shown(cells[i]))]
    while todo:
        at = todo.pop()
        if at in wanted:
            continue
        wanted.add(at)
        for name in uses[at].reads:
            for before in sorted((i for i in uses if i < at), reverse=True):
                if course.is_side_road(cells[before]) and "setup" not in tags(cells[before]):
                    if not course.is_side_road(cells[at]):
                        continue
                if name in uses[before].binds:
                    todo.append(before)
                    break
                if name in uses[before].changes and name not in imported:
                    todo.append(before)
    return sorted(wanted)


def missing_names(cells: Sequence[Any], order: Sequence[int]) -> list[str]:
    """Return the names that a run of these cells would not find although some other cell of the notebook binds them."""
    everywhere = set().union(*(use_of(cell["source"]).binds for cell in cells if cell["cell_type"] == "code"))
    bound: set[str] = set()
    lost: list[str] = []
    for at in order:
        use = use_of(cells[at]["source"])
        lost += sorted((use.reads & everywhere) - bound)
        bound |= use.binds
    return lost


@dataclass
class Stop:
    """One shown cell: where it is, minutes of talk, measured seconds (None: markdown, or not measured yet)."""

    notebook: str
    cell: str
    kind: str
    slide: str
    minutes: float
    seconds: float | None
    title: str
    exercise: bool = False


def stops(path: Path) -> list[Stop]:
    """Return the shown cells of a notebook, in order."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found, heading = [], path.stem
    for cell in cells:
        source = "".join(cell["source"])
        heads = [line.lstrip("# ") for line in source.splitlines() if line.startswith("#")]
        if cell["cell_type"] == "markdown" and heads:
            heading = heads[0]
        if is_shown(cell):
            live = cell["metadata"].get("live", {})
            found.append(
                Stop(
                    path.stem, cell["id"], cell["cell_type"], slide_type(cell), float(live.get("minutes", 0)),
                    live.get("seconds"), heading, bool(live.get("exercise")),
                )
            )  # fmt: skip
    return found


def minutes_of(part: str) -> float:
    """Return the minutes that the marked cells of a part of the lecture add up to."""
    return sum(stop.minutes for path in notebooks(part) for stop in stops(path))


def notebooks(part: str | None = None) -> list[Path]:
    """Return the notebooks of the lecture, or those of one part, in order."""
    numbers = [n for name, (_, ns) in PARTS.items() if part in (None, name) for n in ns]
    return [path for path in course.notebook_paths() if path.stem[:2] in numbers]


def path_hash(cells: Sequence[Any]) -> str:
    """Hash what a live run executes: the code of its cells, without the side roads, whose seconds nobody waits for."""
    digest = hashlib.sha256()
    for at in run_order(cells):
        if not course.is_side_road(cells[at]):
            digest.update("".join(cells[at]["source"]).encode())
    return digest.hexdigest()


def record() -> dict[str, Any]:
    """Return the measured seconds; empty when nobody has measured.

    Raises:
        CourseError: the file is not what `measure` writes.
    """
    if not RECORD.exists():
        return {"notebooks": {}}
    content = json.loads(RECORD.read_text(encoding="utf-8"))
    if "notebooks" not in content:
        raise CourseError(f"{RECORD} holds no measured seconds; run `python -m utils.press live measure`.")
    return content


def lines() -> Iterator[str]:
    """Yield the plan as text: one line for each shown cell, sums for each notebook and part."""
    measured = record()["notebooks"]
    for part, (planned, _) in PARTS.items():
        yield f"Part {part}: {minutes_of(part):g} of {planned} minutes"
        for path in notebooks(part):
            found = stops(path)
            before = measured.get(path.stem, {}).get("seconds")
            first = f", run all {before:.0f} s" if before else ""
            yield f"  {path.stem} (part {NAMES[path.stem[:2]]}): {sum(s.minutes for s in found):g} min{first}"
            for stop in found:
                seconds = f"{stop.seconds:5.1f} s" if stop.seconds is not None else "       "
                word = "  EXERCISE" if stop.exercise else ""
                yield f"    {stop.cell:<10} {stop.slide:<9} {stop.minutes:5.2f} min {seconds}  {stop.title[:60]}{word}"
