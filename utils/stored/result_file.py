"""Result files: origin, resuming, rows; a file that cannot be resumed is renamed, and two processes may write to one."""

from __future__ import annotations

import copy
import errno
import gc
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from utils.environment import stack
from utils.errors import CourseError
from utils.files import ROOT, sweep, write_json, write_text

RESULTS = ROOT / "data" / "results"


# ---- where figures come from ----


def meta(arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Return where a result file comes from: commit, command, machine, versions."""
    import torch

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "commit": commit.stdout.strip() or "unknown",
        "command": " ".join(["python -m utils.benchmark", *arguments]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "stack": stack(),
        "threads": torch.get_num_threads(),  # with more than one, the last digits of some models differ
    }


def origin(command: str) -> dict[str, Any]:
    """The same for figures that depend on what else the machine does: with its load."""
    return {**meta(), "command": command, "load": load_now()}


def load_now() -> float:
    """How many processes wanted a core in the last minute, -1 where the system does not tell."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else -1.0


def reset_peak() -> None:
    """Let ``peak_mb`` count from now, where the system can (Linux); elsewhere it stays the peak of the process."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_mb() -> float:
    """Return the peak memory of this process in MB since ``reset_peak`` (0 where the system does not tell)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return getattr(psutil.Process().memory_info(), "peak_wset", 0) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


# ---- one result file ----


class ResultFile:
    """A JSON file of results that grows: what it holds of the same input, and a safe way to add to it.

    A file that cannot be read, or that belongs to other input, is renamed beside its place and said so.

    Args:
        path: the file; its folder is made.
        key: what must be the same to go on from the file; looked up in its "meta", or beside it.
        empty: the content of a new file ("meta" may be left out); a list or a table of it must be one in an old file.
        flat: write each row of "rows" on a line of its own, its "value" with six digits.
        check: called with an old content; raises ValueError, KeyError or TypeError where its parts do not fit.

    Raises:
        CourseError: ``path`` is a folder, or cannot be written; or it is one of the course's own results, on other data.
    """

    def __init__(
        self, path: Path, key: Mapping[str, Any] | None = None, empty: Mapping[str, Any] | None = None, *,
        flat: bool = False, check: Callable[[dict], None] = lambda content: None,
    ) -> None:  # fmt: skip
        self.path, self.flat, self.check = path, flat, check
        self.key = json.loads(json.dumps(key or {}))  # a tuple becomes a list, as in the file
        self.empty = {"meta": {}, **(empty or {})}
        self.content = self.empty
        with locked(path):
            sweep(path.parent)
            self.content = self._read()

    @contextmanager
    def update(self) -> Iterator[dict[str, Any]]:
        """Yield what the file holds now, other processes' rows included, and write it when the block ends.

        Other processes wait meanwhile. ``self.content`` is then what was written; a block that fails writes nothing.
        """
        with locked(self.path):
            content = self._read()
            yield content
            if self.flat:
                write_text(self.path, flat_text(content), durable=True)
            else:
                write_json(self.path, content, durable=True)
            self.content = content

    def _read(self) -> dict[str, Any]:
        """What is on disk; what was known before where there is no file, or one that cannot be gone on from."""
        if self.path.is_dir():
            raise CourseError(f"--json {self.path} is a folder; give the name of a file in it.")
        if not self.path.exists():
            return copy.deepcopy(self.content)
        try:
            old = json.loads(self.path.read_text(encoding="utf-8"))
            self.check(old)
            both = {**old, **old["meta"]}
            other = [name for name, value in self.key.items() if both.get(name) != value]
            for expected, found in ((self.empty, old), (self.empty["meta"], old["meta"])):
                for name, value in expected.items():
                    if not isinstance(found.setdefault(name, copy.deepcopy(value)), type(value)):
                        raise TypeError(name)
            if not other:
                return old
            if "dataset" in other and self.path.resolve().parent == RESULTS:
                raise CourseError(
                    f"{self.path} holds the course's own result on {both.get('dataset')!r}, not on "
                    f"{self.key['dataset']!r}; give another file with --json."
                )
            why = f"belongs to another {' and another '.join(other)}"
        except CourseError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
            why = "cannot be read"
        set_aside(self.path, why)
        return copy.deepcopy(self.content)


def set_aside(path: Path, why: str) -> None:
    """Rename a file that cannot be resumed to NAME.set-aside-1, -2, ..., and say so."""
    names = (path.with_name(f"{path.stem}.set-aside-{number}{path.suffix}") for number in range(1, 10_000))
    aside = next(name for name in names if not name.exists())
    path.replace(aside)
    print(f"{path} {why}: kept as {aside.name}, and started anew.", file=sys.stderr)


def merge_rows(old: Iterable[dict], new: Iterable[dict], key: Sequence[str]) -> list[dict]:
    """Join new rows with old ones; rows measured again take the place of all old ones with the same ``key`` columns."""

    def which(row: Mapping[str, Any]) -> tuple:
        return tuple(row.get(name) for name in key)

    fresh: dict[tuple, list[dict]] = {}
    for row in new:
        fresh.setdefault(which(row), []).append(row)
    merged, known = [], set(fresh)
    for row in old:
        merged += fresh.pop(which(row), []) if which(row) in known else [row]
    return merged + [row for rows in fresh.values() for row in rows]


def rounded(row: Mapping[str, Any], digits: int = 6) -> dict[str, Any]:
    """Return a row of a result file with its floats rounded."""
    return {name: round(value, digits) if isinstance(value, float) else value for name, value in row.items()}


def flat_text(content: Mapping[str, Any]) -> str:
    """Write a result as JSON: small parts indented, one row a line, numbers with six digits."""
    head = json.dumps({name: content[name] for name in content if name != "rows"}, indent=1, ensure_ascii=False)[:-2]
    rows = [json.dumps({**row, "value": _six(row["value"])}, ensure_ascii=False) for row in content["rows"]]
    return f'{head},\n "rows": [\n' + ",\n".join(rows) + "\n]}\n"


def _six(value: float | None) -> float | None:
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


# ---- one process at a time ----


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, ``.NAME.lock`` beside it, and wait while another process holds it.

    The system lets go of a lock when its process ends, however it ends: one that was killed stops nobody.

    Raises:
        CourseError: the folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            stream = open(lock, "ab")
            _wait_for(stream)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(stream.fileno()), os.stat(lock)):
                    break
            stream.close()  # the one before has just deleted it: this is no lock any more
    except OSError as error:
        raise CourseError(f"Cannot write {path}: {error.strerror or error}; choose a folder you may write.") from error
    with stream:
        try:
            yield
        finally:
            with suppress(OSError):  # Windows does not delete an open file; it may stay
                lock.unlink()


def _wait_for(stream: BinaryIO) -> None:
    """Take the lock of an open file; on a file system that has no locks go on without."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        while True:
            try:
                stream.seek(0)
                return msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK, 1)
            except OSError as error:
                if error.errno != errno.EDEADLK:  # this one says that ten seconds have passed: wait on
                    return None
    with suppress(OSError):
        fcntl.flock(stream, fcntl.LOCK_EX)
