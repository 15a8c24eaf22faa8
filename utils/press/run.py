"""`make course`: execute every notebook with papermill, in order, and write the pages of `build/`."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from utils import course
from utils.errors import CourseError, suggest
from utils.files import ROOT, read_json, sha256, sweep, write_json
from utils.press.templates import THEME

BUILD = ROOT / "build"
CELL_SECONDS = 3600  # the longest cell of a full run takes minutes: what takes an hour hangs


@dataclass
class Result:
    """What became of one notebook: ``status`` is ``ok``, ``cached``, ``failed`` or ``skipped``."""

    notebook: str
    status: str
    seconds: float = 0.0
    peak_mb: float = 0.0
    reason: str = ""


def parameters_of(path: Path) -> dict[str, Any]:
    """Return the names and defaults of the cell tagged ``parameters``."""
    import papermill

    found = papermill.inspect_notebook(str(path))
    return {name: entry["default"] for name, entry in found.items()}


def check_parameters(path: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse a parameter that the notebook does not have: papermill would only warn and run with the default.

    Raises:
        CourseError: names the nearest parameters.
    """
    known = parameters_of(path)
    for name in parameters:
        if name not in known:
            raise suggest(name, known, f"parameter of {path.name}")


def execute(
    path: Path, out: Path, parameters: Mapping[str, Any], records: Path | None = None, peak: _PeakMemory | None = None
) -> float:
    """Execute one notebook in its own kernel; return the peak memory of the kernel in MB.

    Args:
        path: the notebook.
        out: where the executed copy goes; written also when a cell fails.
        parameters: values for the ``parameters`` cell.
        records: the folder that ``record()`` writes to.
        peak: keeps the peak also when the notebook fails.

    Raises:
        papermill.PapermillExecutionError: a cell failed.
        CellTimeoutError: a cell took longer than COURSE_CELL_SECONDS (an hour).
    """
    import papermill

    check_parameters(path, parameters)
    out.parent.mkdir(parents=True, exist_ok=True)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # small operations: more threads wait for each other
    before = os.environ.get("COURSE_RECORDS")
    os.environ["COURSE_RECORDS"] = str(records or BUILD / "records")
    os.environ["COURSE_HEADLESS"] = "1"  # nobody drags a slider here: its static twin is shown alone
    peak = peak or _PeakMemory()
    try:
        with peak, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            papermill.execute_notebook(
                str(path),
                str(out),
                parameters=dict(parameters),
                kernel_name="python3",
                execution_timeout=int(os.environ.get("COURSE_CELL_SECONDS", CELL_SECONDS)),
                cwd=str(path.parent),
                progress_bar={"desc": path.stem, "leave": False, "disable": bool(os.environ.get("CI"))},
                log_output=False,
                extra_arguments=["--log-level=ERROR"],  # the kernel warns that its local sockets are not encrypted
            )
    finally:
        del os.environ["COURSE_HEADLESS"]
        if before is None:
            del os.environ["COURSE_RECORDS"]
        else:
            os.environ["COURSE_RECORDS"] = before
    return peak.mb


class _PeakMemory(threading.Thread):
    """Sample the memory of this process's children (the kernel) every fifth of a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mb = 0.0
        self._stop_event = threading.Event()

    def __enter__(self) -> _PeakMemory:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        self.join()

    def run(self) -> None:
        import psutil

        me = psutil.Process()
        while not self._stop_event.wait(0.2):
            try:
                total = sum(child.memory_info().rss for child in me.children(recursive=True))
            except psutil.Error:
                continue
            self.mb = max(self.mb, total / 2**20)


# --- what a notebook depends on, so that a second run redoes only what changed ---


def stamp_of(path: Path, parameters: Mapping[str, Any], dataset: str, modules: list[str]) -> str:
    """Hash everything that an executed notebook was made from: itself, its helpers, its data, its parameters."""
    digest = hashlib.sha256(path.read_bytes())
    digest.update(json.dumps(dict(parameters), sort_keys=True).encode())
    digest.update(course.content_hash(path, course.dataset_folder(dataset)).encode())
    theme = sorted(path.relative_to(ROOT).as_posix() for path in THEME.glob("notebook.*"))
    for name in [*modules, "requirements.txt", "utils/press/run.py", "utils/press/pages.py", *theme]:
        file = ROOT / name
        digest.update(name.encode() + (sha256(file) if file.exists() else "gone").encode())
    return digest.hexdigest()


def run_one(path: Path, *, fast: bool, dataset: str, force: bool, extra: Mapping[str, Any]) -> Result:
    """Execute one notebook unless its page is up to date; write page, record and stamp."""
    from utils.data.requirements import why_not
    from utils.press import pages

    name = path.stem
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("course", {})
    if dataset != "sticker_shop" and (reason := why_not(path, dataset)):
        return Result(name, "skipped", reason=reason)
    parameters = {"FAST": fast, "DATASET": dataset, **extra}
    page, stamp_file = BUILD / f"{name}.html", BUILD / "stamps" / f"{name}.json"
    record = course.record_path(name, "fast" if fast else "full", BUILD / "records")
    if not force and page.exists() and record.exists() and stamp_file.exists():
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, OSError):  # damaged: run it again
            old = read_json(stamp_file)
            if old["stamp"] == stamp_of(path, parameters, dataset, old["modules"]):
                return Result(**{**old["result"], "status": "cached"})
    check_parameters(path, parameters)
    stamp_file.unlink(missing_ok=True)
    executed, start = BUILD / "executed" / f"{name}.ipynb", time.perf_counter()
    result, peak = Result(name, "ok"), _PeakMemory()
    try:
        execute(path, executed, parameters, peak=peak)
    except Exception as error:  # noqa: BLE001 - one failing notebook does not stop the others
        result.status, result.reason = "failed", _reason(error, peak)
    result.peak_mb = peak.mb
    result.seconds = time.perf_counter() - start
    if executed.exists():
        pages.write_page(executed, page, title=metadata.get("title", name))
    if result.status == "ok":
        modules = json.loads(record.read_text(encoding="utf-8"))["modules"] if record.exists() else []
        content = {"stamp": stamp_of(path, parameters, dataset, modules), "modules": modules, "result": asdict(result)}
        write_json(stamp_file, content)
    return result


def _reason(error: Exception, peak: _PeakMemory | None = None) -> str:
    """Say in one line what stopped a notebook: the error's name and words, and the cell; of a dead kernel, its memory."""
    name = type(error).__name__
    if name == "DeadKernelError" or "kernel died" in str(error).lower():
        import psutil

        known = f" at {peak.mb:,.0f} MB" if peak and peak.mb else ""
        total = psutil.virtual_memory().total / 2**20
        return f"the kernel died{known}, on a machine of {total:,.0f} MB: it was stopped from outside, most often for memory; close other programs, or run it with FAST=1"
    if name == "CellTimeoutError":
        return f"a cell took more than {os.environ.get('COURSE_CELL_SECONDS', CELL_SECONDS)} s and was stopped; COURSE_CELL_SECONDS sets another limit"
    if hasattr(error, "ename"):
        return f"{error.ename}: {error.evalue} (cell {getattr(error, 'exec_count', '?')})"
    return traceback.format_exception_only(type(error), error)[-1].strip()


def select(only: str | None) -> list[Path]:
    """Return the notebooks to run: all, or those whose name starts with one of the comma-separated ``only``."""
    paths = course.notebook_paths()
    if not only:
        return paths
    chosen = []
    for part in only.split(","):
        found = [path for path in paths if path.stem.startswith(part.strip())]
        if not found:
            raise suggest(part.strip(), [path.stem for path in paths], "notebook")
        chosen += found
    return chosen


def line(result: Result) -> str:
    """Return the line that `make course` prints for a notebook."""
    numbers = f"{result.seconds:7.1f} s  {result.peak_mb:6.0f} MB" if result.status != "skipped" else " " * 20
    return f"{result.notebook:<26} {result.status:<8} {numbers}  {result.reason}".rstrip()


def run(only: str | None, *, fast: bool, dataset: str, force: bool, extra: Mapping[str, Any]) -> int:
    """Run the course and write `build/index.html`; return the exit status (1 when a notebook failed)."""
    from utils.press import pages

    folder = course.dataset_folder(dataset)
    if not folder.is_dir():
        raise suggest(dataset, [p.name for p in (ROOT / "data").iterdir() if (p / "items.tsv").exists()], "dataset")
    dataset = dataset if (ROOT / "data" / dataset).is_dir() else str(folder.resolve())
    paths = select(only)
    for path in paths:
        check_parameters(path, extra)
    results = []
    for place in (BUILD, BUILD / "stamps", BUILD / "executed", BUILD / "results"):
        sweep(place)
    for path in paths:
        print(f"{path.stem} ...", end="\r", flush=True)
        results.append(run_one(path, fast=fast, dataset=dataset, force=force, extra=extra))
        print(line(results[-1]), flush=True)
        write_json(BUILD / "results" / f"{path.stem}.json", {**asdict(results[-1]), "fast": fast})
    index = pages.write_index(BUILD, fast=fast, dataset=Path(dataset).name)
    failed = [result.notebook for result in results if result.status == "failed"]
    total = sum(result.seconds for result in results if result.status != "cached")
    print(f"{len(results)} notebooks, {len(failed)} failed, {total:.0f} s. Open {os.path.relpath(index)}")
    return 1 if failed else 0


def check_name(path: Path) -> None:
    """Refuse a notebook that starts under the name of another one, whose record it would write over.

    Raises:
        CourseError: ``course.start`` names another notebook.
    """
    named = re.search(r'course\.start\(\\?"([^"\\]*)', path.read_text(encoding="utf-8"))
    if named and named[1] != path.stem:
        raise CourseError(
            f"{path.name} starts as {named[1]!r} and would write that notebook's record; run `python -m utils.course badges`."
        )


def make_records(only: str | None) -> int:
    """Execute the notebooks in FAST and full mode and rewrite `tests/records`; return the exit status."""
    failed = 0
    for path in select(only):
        for fast in (True, False):
            mode, start = "fast" if fast else "full", time.perf_counter()
            out = BUILD / "executed" / f"{path.stem}_{mode}.ipynb"
            try:
                check_name(path)
                peak = execute(path, out, {"FAST": fast}, records=ROOT / "tests" / "records")
            except Exception as error:  # noqa: BLE001 - the other records are still made
                print(f"{path.stem} {mode}: failed, {_reason(error)}", flush=True)
                failed = 1
                continue
            file = course.record_path(path.stem, mode, ROOT / "tests" / "records")
            content = json.loads(file.read_text(encoding="utf-8"))
            content.pop("modules", None)
            write_json(file, {**content, "peak_mb": round(peak)})
            print(f"{path.stem} {mode}: {time.perf_counter() - start:.1f} s, {peak:.0f} MB", flush=True)
    return failed


def _literal(text: str) -> Any:
    """Read the value of ``-p NAME=VALUE`` as a Python literal, or as text when it is none."""
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def main(arguments: list[str] | None = None) -> int:
    """Command line of `make course` and `make record`."""
    parser = argparse.ArgumentParser(prog="python -m utils.press run", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="fewer epochs and seeds, same data")
    parser.add_argument("--force", action="store_true", help="run also what is up to date")
    parser.add_argument("--only", help="notebooks to run, for example 03 or 00,05")
    parser.add_argument("--dataset", default="sticker_shop", help="name of a folder in data/, or any course folder")
    parser.add_argument("--record", action="store_true", help="rewrite tests/records instead of build/")
    parser.add_argument("-p", action="append", default=[], metavar="NAME=VALUE", help="a notebook parameter")
    options = parser.parse_args(arguments)
    try:
        if options.record:
            return make_records(options.only)
        extra = {name: _literal(value) for name, _, value in (pair.partition("=") for pair in options.p)}
        return run(options.only, fast=options.fast, dataset=options.dataset, force=options.force, extra=extra)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 2
