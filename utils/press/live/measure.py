"""The live path, the seconds: run every live copy from top to bottom, and write each cell's seconds where they are read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils import course
from utils.errors import CourseError
from utils.files import write_json
from utils.press import run as runner
from utils.press.live import copies, plan


def run_path(path: Path, folder: Path) -> dict[str, float]:
    """Run a notebook's live copy in its own kernel; return cell id of the notebook -> seconds, in the order of the run.

    Raises:
        papermill.PapermillExecutionError: a cell of the path fails.
    """
    import nbformat

    target = folder / path.name
    nbformat.write(copies.live_copy(path), target)
    out = folder / "done" / path.name
    runner.execute(target, out, {"FAST": True}, records=folder)
    done = [cell for cell in nbformat.read(out, as_version=4).cells if cell.cell_type == "code"]
    done = [cell for cell in done if "injected-parameters" not in plan.tags(cell)]
    cells = nbformat.read(path, as_version=4).cells
    order = plan.run_order(cells)
    if len(order) != len(done):
        raise CourseError(f"{path.name} ran {len(done)} cells where the plan has {len(order)}; make the plan anew.")
    return {cells[at].id: round(cell.metadata.papermill.duration, 2) for at, cell in zip(order, done)}


def measure(only: Sequence[str] = ()) -> dict[str, Any]:
    """Measure the notebooks whose number is in ``only`` (all by default); rewrite the record and the cells' metadata."""
    content = plan.record()
    content |= {"mode": "FAST mode", "environment": course.records.environment(), "load": _load()}
    for path in plan.notebooks():
        if only and path.stem[:2] not in only:
            continue
        with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
            seconds = run_path(path, Path(folder))
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            cell["source"] = "".join(cell["source"])
        total = round(sum(seconds.values()), 1)
        content["notebooks"][path.stem] = {"hash": plan.path_hash(cells), "seconds": total, "cells": seconds}
        content["notebooks"] = dict(sorted(content["notebooks"].items()))
        write_json(plan.RECORD, content)
        write_seconds(path, seconds)
        slowest = max(seconds, key=seconds.__getitem__)
        print(
            f"{path.stem}: {len(seconds)} cells, {total:.0f} s, slowest {slowest} {seconds[slowest]:.1f} s", flush=True
        )
    return content


def write_seconds(path: Path, seconds: dict[str, float]) -> None:
    """Write the seconds into the metadata of the shown code cells; nothing else in the notebook changes."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        live = cell.metadata.get("live", {})
        live.pop("seconds", None)
        if cell.cell_type == "code" and plan.is_shown(cell):
            live["seconds"] = seconds[cell.id]
        if live:
            cell.metadata["live"] = live
    nbformat.write(notebook, path)


def _scratch() -> Path:
    """Return a folder inside the course: the set-up cell finds the course by walking up from where it runs."""
    folder = runner.BUILD / "live"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _load() -> float | None:
    """Return the machine's load as it is now (other work makes seconds longer); None on Windows."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
