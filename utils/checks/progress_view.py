"""The progress view of a notebook: what each check said last, kept in the kernel and, where allowed, in one small file."""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from utils.errors import CourseError, suggest
from utils.files import ROOT, write_json

# notebook ("05") -> exercise -> is it a bonus, in the order in which utils/checks/c05.py defines them
EXERCISES: dict[str, dict[str, bool]] = {}


@dataclass
class Entry:
    """What is remembered of one exercise: the last verdict, and the tries up to the first pass."""

    passed: bool
    tries: int


_memory: dict[str, dict[str, Entry]] = {}


def number_of(module: str) -> str | None:
    """Return the notebook that a module of checks belongs to: ``utils.checks.c05`` is ``"05"``, ``cA1`` ``"A1"``, any other None."""
    found = re.fullmatch(r"utils\.checks\.c(\d\d|A\d)", module)
    return found and found.group(1)


def register(module: str, name: str, bonus: bool) -> None:
    """Put an exercise on its notebook's list; checks outside ``utils.checks.cNN`` are on no list."""
    number = number_of(module)
    if number:
        EXERCISES.setdefault(number, {})[name] = bonus


def remember(module: str, name: str, passed: bool | None) -> None:
    """Keep the last verdict of a check; None (not tried) forgets nothing, and a pass that is repeated is no new try."""
    number = number_of(module)
    if number is None or passed is None:
        return
    entries = _entries(number)
    old = entries.get(name, Entry(False, 0))
    entries[name] = Entry(passed, old.tries + (not (old.passed and passed)))
    _keep(number)


def progress(notebook: str, *, fresh: bool = False) -> Progress:
    """Return the progress view of a notebook: a table of exercise, verdict and tries, and what is left.

    Args:
        notebook: its name or number, for example ``"05_training"``.
        fresh: forget all verdicts of this notebook first (a new person sits down).

    Raises:
        CourseError: no notebook with exercises has this number.
    """
    number, module = notebook[:2], f"{__package__}.c{notebook[:2]}"
    if number_of(module) and importlib.util.find_spec(module):
        importlib.import_module(module)  # its checks put themselves on the list
    if number not in EXERCISES:
        raise suggest(number, EXERCISES, "notebook")
    if fresh:
        _memory[number] = {}
        _keep(number)
    return Progress(notebook, EXERCISES[number], dict(_entries(number)))


@dataclass(frozen=True)
class Progress:
    """The progress view: one line and a table, as text and as HTML that a screen reader can read, without scripts."""

    notebook: str
    exercises: dict[str, bool]
    entries: dict[str, Entry]

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (exercise, verdict, tries) as words, in the notebook's order."""
        return [
            (f"Exercise {n}, {name.replace('_', ' ')}" + ", bonus" * bonus, *self._verdict(name))
            for n, (name, bonus) in enumerate(self.exercises.items(), 1)
        ]

    def _verdict(self, name: str) -> tuple[str, str]:
        entry = self.entries.get(name)
        if entry is None:
            return "not tried", "0"
        return "passed" if entry.passed else "not yet", str(entry.tries)

    def line(self) -> str:
        """Return one sentence: how many passed, and what is left."""
        left: dict[str, list[str]] = {"not yet": [], "not tried": []}
        core = [name for name, bonus in self.exercises.items() if not bonus]
        for n, (name, bonus) in enumerate(self.exercises.items(), 1):
            verdict, _ = self._verdict(name)
            if verdict in left and not bonus:
                left[verdict].append(f"{n} {name.replace('_', ' ')}")
        parts = [f"{len(core) - sum(map(len, left.values()))} of {len(core)} passed"]
        parts += [f"{verdict}: {', '.join(names)}" for verdict, names in left.items() if names]
        extra = [self._verdict(name)[0] for name, bonus in self.exercises.items() if bonus]
        return "; ".join(parts) + "." + (f" Bonus: {', '.join(extra)}." if extra else "")

    def __repr__(self) -> str:
        width = max(len(name) for name, _, _ in self.rows())
        table = [f"{name:<{width}}  {verdict:<9}  tries: {tries}" for name, verdict, tries in self.rows()]
        return "\n".join([f"Exercises of {self.notebook}: {self.line()}", *table])

    def _repr_html_(self) -> str:
        left = ' style="text-align:left"'
        body = "".join(
            f'<tr><th scope="row"{left}>{html.escape(name)}</th><td{left}>{verdict}</td><td>{tries}</td></tr>'
            for name, verdict, tries in self.rows()
        )
        head = "".join(f'<th scope="col"{left}>{name}</th>' for name in ("Exercise", "Verdict", "Tries"))
        return (
            f"<p>{html.escape(self.line())}</p><table><caption>Exercises of {html.escape(self.notebook)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


# ---- the file, so that a restarted kernel still knows ----


def folder() -> Path:
    """``data/cache/progress``, or the same inside the folder that the environment variable COURSE_CACHE names."""
    return Path(os.environ.get("COURSE_CACHE") or ROOT / "data" / "cache") / "progress"


def in_live_notebook() -> bool:
    """Say whether a person is at work: in IPython, and not in a run by papermill, whose pages must not depend on a file."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None and "COURSE_RECORDS" not in os.environ


def _entries(number: str) -> dict[str, Entry]:
    if number not in _memory:
        _memory[number] = _read(folder() / f"{number}.json") if in_live_notebook() else {}
    return _memory[number]


def _read(path: Path) -> dict[str, Entry]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): Entry(bool(e["passed"]), int(e["tries"])) for name, e in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}  # no file, or not ours: nothing is known yet


def _keep(number: str) -> None:
    if in_live_notebook():
        try:
            write_json(folder() / f"{number}.json", {name: asdict(entry) for name, entry in _entries(number).items()})
        except (CourseError, OSError):
            pass  # a read-only place: the kernel's memory is enough
