"""One run of one notebook: mode and seeds at its start, claims on the way, the record at its end."""

from __future__ import annotations

import math
import operator
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from utils.course import address
from utils.course.records import content_hash, dataset_folder, entry_of, environment, loaded_modules, record_path
from utils.errors import CourseError
from utils.files import write_json

T = TypeVar("T")
OPERATORS = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}


@dataclass
class _Run:
    """The state of the notebook that runs in this process."""

    notebook: str = ""
    mode: str = "full"
    seed: int = 0
    dataset: str = "sticker_shop"
    started: float = field(default_factory=time.perf_counter)
    claims: list[dict[str, Any]] = field(default_factory=list)


_run = _Run()


def start(notebook: str, *, seed: int = 0, fast: bool = False, dataset: str = "sticker_shop") -> None:
    """Begin a notebook: remember its name and mode, set every seed, use the course's plot style.

    Args:
        notebook: the file's name without ending, for example ``"05_training"``.
        seed: the one seed; everything random in the notebook derives from it.
        fast: fewer epochs and seeds on the same data.
        dataset: the dataset's name or folder.

    Raises:
        CourseError: this notebook has no meaning for that dataset; the message says why.
    """
    global _run
    path = address.NOTEBOOKS / f"{notebook}.ipynb"
    if str(dataset) != "sticker_shop" and path.is_file():
        from utils.data.requirements import why_not

        if reason := why_not(path, dataset):
            raise CourseError(f"{notebook} does not run on {Path(str(dataset)).name}: {reason}.")
    _run = _Run(notebook, "fast" if fast else "full", seed, str(dataset))
    set_seed(seed)
    import torch

    from utils import plots

    torch.set_num_threads(1)  # the operations are small: more threads wait for each other, and numbers depend on them
    plots.use_course_style()
    print(f"{notebook} on {Path(str(dataset)).name}, {_run.mode} mode, seed {seed}")


def set_seed(seed: int) -> None:
    """Seed Python, numpy and torch."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def device() -> str:
    """Return ``"cuda"``, ``"mps"`` or ``"cpu"``: the first that is there."""
    from utils.devices import available

    return available()[0]


def by_mode(fast: T, full: T) -> T:
    """Return ``fast`` in FAST mode and ``full`` otherwise."""
    return fast if _run.mode == "fast" else full


def seeds(fast: int = 1, full: int = 3) -> list[int]:
    """Return the seeds of this run: as many as the mode asks for, starting at the notebook's own seed."""
    return list(range(_run.seed, _run.seed + by_mode(fast, full)))


class Claim:
    """A falsifiable claim: an inequality between two measured numbers, which may hold or not."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.entry = entry
        self.holds: bool = entry["holds"]

    def __repr__(self) -> str:
        e = self.entry
        gap = f" by at least {e['margin']:g}" if e["margin"] else ""
        line = f"{e['text']}: {e['left']:.4g} {e['op']} {e['right']:.4g}{gap}?"
        if e["open"]:
            return f"Open question. {line} {'Yes' if self.holds else 'No'}, this time."
        if self.holds:
            return f"Claim. {line} It holds."
        if e["full_only"] and _run.mode == "fast":
            return f"Claim. {line} Not in FAST mode, which is too short to carry it; the full run decides."
        return f"Claim. {line} It does NOT hold here: a null result."


def claim(
    text: str,
    left: float,
    op: str,
    right: float,
    *,
    margin: float = 0.0,
    full_only: bool = False,
    open_question: bool = False,
) -> Claim:
    """State a claim as an inequality; print it, whatever it shows, and keep it for :func:`record`.

    Args:
        text: the claim in words, without numbers.
        left, op, right: the inequality, ``op`` one of ``> < >= <=``.
        margin: how much must lie between the two sides.
        full_only: FAST is too short to carry it; the tests then ask the full record only.
        open_question: printed and recorded, never asserted.

    Raises:
        CourseError: a side is not a finite number.
    """
    left, right = float(left), float(right)
    if not (math.isfinite(left) and math.isfinite(right)):
        raise CourseError(f"Claim {text!r} compares {left} with {right}; both must be finite numbers.")
    entry = {
        "text": text, "left": left, "op": op, "right": right, "margin": float(margin),
        "full_only": full_only, "open": open_question,
    }  # fmt: skip
    entry["holds"] = claim_holds(entry)
    _run.claims.append(entry)
    return Claim(entry)


def claim_holds(entry: dict[str, Any]) -> bool:
    """Evaluate a recorded claim anew from its numbers."""
    right = entry["right"] + (entry["margin"] if entry["op"][0] == ">" else -entry["margin"])
    return bool(OPERATORS[entry["op"]](entry["left"], right))


def record(**values: Any) -> Any:
    """Write the numbers of this run to ``build/records/<mode>/NN.json`` (or $COURSE_RECORDS) and show them as a table.

    Args:
        values: numbers or short texts; a pair ``(value, tolerance)`` sets the absolute tolerance of the FAST test,
            ``(value, None)`` means 'never compared' (seconds, megabytes).

    Raises:
        CourseError: a value is not finite, or :func:`start` was not called.
    """
    import pandas as pd

    if not _run.notebook:
        raise CourseError("record() was called before course.start(...); run the notebook from its top.")
    entries = {name: entry_of(name, value) for name, value in values.items()}
    content = {
        "notebook": _run.notebook,
        "mode": _run.mode,
        "dataset": Path(_run.dataset).name,
        "seed": _run.seed,
        "values": entries,
        "claims": _run.claims,
        "seconds": round(time.perf_counter() - _run.started, 1),
        "environment": environment(),
        "hash": content_hash(address.NOTEBOOKS / f"{_run.notebook}.ipynb", dataset_folder(_run.dataset)),
        "modules": loaded_modules(),
    }
    write_json(record_path(_run.notebook, _run.mode), content)
    return pd.DataFrame({"recorded": {name: entry["value"] for name, entry in entries.items()}})
