"""Records of a notebook's run: one JSON for each notebook and mode, and the hash of the code and data behind it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from utils.course.setup import installed
from utils.environment import stack
from utils.errors import CourseError
from utils.files import ROOT, sha256

# absolute, relative: FAST numbers move a little between versions of torch and machines
DEFAULT_TOLERANCE = (0.02, 0.10)
# Cells with these tags decide no recorded number (a hygiene test holds them to it), so that a hint, a bonus exercise or
# a slider can change without an hour of new records.
SIDE_ROADS = frozenset({"injected-parameters", "setup", "exercise", "check", "widget", "progress"})


def record_path(notebook: str, mode: str, folder: str | Path | None = None) -> Path:
    """Return where the record of a notebook and mode lies; ``NN`` is the first part of the notebook's name."""
    folder = Path(folder or os.environ.get("COURSE_RECORDS", ROOT / "build" / "records"))
    return folder / mode / f"{notebook.split('_')[0]}.json"


def dataset_folder(name_or_path: str) -> Path:
    """Return the folder of an embedded dataset (by name) or of the reader's own (by path)."""
    embedded = ROOT / "data" / str(name_or_path)
    return embedded if embedded.is_dir() else Path(name_or_path)


def is_side_road(cell: Mapping[str, Any]) -> bool:
    """Say whether a cell is left out of the content hash, as no recorded number depends on it; ``main-road`` keeps it in."""
    tags = set(cell["metadata"].get("tags", []))
    return bool(SIDE_ROADS & tags) and "main-road" not in tags


def content_hash(notebook: str | Path, folder: str | Path) -> str:
    """Hash a notebook's code cells and the tables and features of its dataset.

    Cells that decide no number are left out (:data:`SIDE_ROADS`): the injected parameters, the set-up cell, which a
    test compares with :data:`SETUP_CELL`, and exercises, checks, sliders and the progress view.
    """
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    digest = hashlib.sha256()
    for cell in cells:
        if cell["cell_type"] == "code" and not is_side_road(cell):
            digest.update("".join(cell["source"]).encode())
    for path in _data_files(Path(folder)):
        digest.update(path.relative_to(folder).as_posix().encode() + sha256(path).encode())
    return digest.hexdigest()


def _data_files(folder: Path) -> Iterable[Path]:
    """List the files whose content decides the numbers: tables, features and planted truth, not pictures or texts."""
    kinds = {".tsv", ".gz", ".npy", ".npz", ".json"}
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in kinds)


def entry_of(name: str, value: Any) -> dict[str, Any]:
    """Return value and tolerance as a record keeps them; a pair ``(value, tolerance)`` states its own.

    Raises:
        CourseError: the value is not finite.
    """
    if isinstance(value, tuple):
        value, tolerance = value
    elif isinstance(value, str):
        tolerance = 0
    else:
        tolerance = max(DEFAULT_TOLERANCE[0], DEFAULT_TOLERANCE[1] * abs(float(value)))
    if isinstance(value, str):
        return {"value": value, "tolerance": tolerance}
    value = float(value)
    if not math.isfinite(value):
        raise CourseError(f"record({name}={value}) is not a finite number; look at the cell that computed it.")
    return {"value": float(f"{value:.6g}"), "tolerance": None if tolerance is None else float(f"{tolerance:.3g}")}


def environment() -> dict[str, str]:
    """Return what a run depends on besides code and data: Python, system, cores, the stack, versions of the packages."""
    packages = ("numpy", "pandas", "torch", "torchvision", "transformers", "scikit-learn")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cores": str(os.cpu_count()),
        "stack": stack(),
        **{name: importlib.metadata.version(name) for name in packages if installed(name)},
    }


def loaded_modules() -> list[str]:
    """List the files of utils/ that this notebook has imported: the runner redoes it when one of them changes."""
    names = (
        getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name.startswith("utils")
    )
    return sorted(Path(name).resolve().relative_to(ROOT).as_posix() for name in names if name)
