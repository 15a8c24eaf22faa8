"""Make `.venv` from requirements.txt, once: standard library only, so that it runs before anything is installed."""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
KEPT = ROOT / ".venv-old"  # the environment that worked, while its successor is made under the final name
STAMP = VENV / "requirements.sha256"
LOCK = ROOT / ".ci" / "constraints.txt"  # every package's version, as the stored records were made with
TESTED = ((3, 10), (3, 13))  # the first and the last minor version of Python that the tests run on
NO_TORCH = {("Darwin", "x86_64"): "Macs with an Intel processor", ("Windows", "ARM64"): "Windows on ARM"}


def venv_python() -> Path:
    """Return the path of the environment's Python, on Windows and elsewhere."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def wanted_stamp(python: str, locked: bool = False) -> str:
    """Return what the stamp of a fitting environment says: Python's minor version and the hash of requirements.txt.

    With ``locked`` also the hash of the versions that it must have.
    """
    version = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if tuple(map(int, version.split("."))) < (3, 10):
        sys.exit(f"The course needs Python 3.10 or newer and {python} is {version}: run `make env PYTHON=python3.12`.")
    lock = f" locked {_sha256(LOCK)}" if locked else ""
    return f"{version} {_sha256(ROOT / 'requirements.txt')}{lock}\n"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_ready(stamp: str) -> bool:
    """Tell whether `.venv` was made from these requirements with this Python; a locked one fits either way."""
    found = STAMP.read_text(errors="replace") if venv_python().exists() and STAMP.exists() else ""
    return found == stamp or found.startswith(stamp.rstrip("\n") + " locked ")


def make(python: str, locked: bool = False) -> None:
    """Create `.venv` when it does not match requirements.txt; a second call returns at once, without pip or network.

    With ``locked`` every package gets the version that .ci/constraints.txt names.

    An environment of the same Python is brought up to date in place. Any other is moved aside and comes back unless its
    successor is complete: at once when pip fails or on Ctrl-C, at the next call when this one was killed.
    """
    stamp = wanted_stamp(python, locked)
    if is_ready(stamp) and not _left_overs():
        return
    with _alone():
        _tidy()
        if is_ready(stamp):
            return
        size = "about 6 GB with the CUDA build of torch; README says how to take CPU"
        print(f"Making .venv from requirements.txt ({size}).{_untested(stamp.split()[0])}", flush=True)
        if _has_pip(python, stamp.split()[0]):
            if not is_ready(stamp):  # else only its link to Python was broken
                _update(stamp)
        else:
            _replace(python, stamp)


def _update(stamp: str) -> None:
    """Let pip bring the present environment up to date."""
    STAMP.unlink(missing_ok=True)
    for pattern in ("lib/python*/site-packages/*.dist-info", "Lib/site-packages/*.dist-info"):
        for folder in VENV.glob(pattern):
            if not (folder / "RECORD").exists():  # pip writes it last: a killed pip believes that this one is there
                shutil.rmtree(folder)
    if _pip(stamp):
        _fail(
            "pip could not install requirements.txt",
            f".venv keeps what it has; the next call goes on from there{_no_torch()}",
        )
    _write_stamp(stamp)


def _replace(python: str, stamp: str) -> None:
    """Make a new environment under the final name, which its scripts contain, while the old one waits aside."""
    if os.path.lexists(VENV):
        aside = KEPT if VENV.is_dir() else Path(tempfile.mkdtemp(prefix=".venv-file-", dir=ROOT)) / VENV.name
        VENV.rename(aside)
        if aside != KEPT:
            print(f".venv was no folder: it is now {aside.relative_to(ROOT)}.")
    had_one = KEPT.exists()
    try:
        unchanged = ".venv is what it was" if had_one else "there is no .venv yet"
        if _create(python):
            _fail(f"{python} could not make a venv", f"{unchanged}; Debian and Ubuntu have it in python3-venv")
        if _pip(stamp):
            _fail("pip could not install requirements.txt", unchanged + _no_torch())
        _write_stamp(stamp)
    finally:  # Ctrl-C included
        _tidy(keep_unfinished=False)


def _fail(what: str, state: str) -> None:
    sys.exit(f"{what} (its own message is above); {state}. Try again.")


def _has_pip(python: str, minor: str) -> bool:
    """Tell whether `.venv` is of that Python and has a pip that runs; a lost link to Python or a lost pip is put back."""
    config = VENV / "pyvenv.cfg"
    text = config.read_text(errors="replace") if config.is_file() else ""
    found = re.search(r"^version(?:_info)? *= *(\d+\.\d+)", text, re.M)
    if not found or found[1] != minor:
        return False
    if _pip_runs():
        return True
    for link in VENV.glob("bin/python*"):
        if not link.exists():
            link.unlink()  # venv does not write over a link
    return _create(python) == 0 and _pip_runs()


def _pip_runs() -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run([str(venv_python()), "-m", "pip", "--version"], capture_output=True).returncode == 0
    return False


def _create(python: str) -> int:
    return subprocess.run([python, "-m", "venv", str(VENV)], close_fds=False).returncode


def _untested(minor: str) -> str:
    """What to know about a Python that is newer than the tested ones, "" for those."""
    if tuple(map(int, minor.split("."))) <= TESTED[1]:
        return ""
    newest = ".".join(map(str, TESTED[1]))
    return f" Python {minor} is newer than those that the course is tested on (up to {newest}); if pip fails, run `make env PYTHON=python{newest}`."  # fmt: skip


def _no_torch() -> str:
    """What to know where no torch is published as a wheel, "" elsewhere."""
    who = NO_TORCH.get((platform.system(), platform.machine()))
    return f"; for {who} torch publishes no wheel that the course can use: take environment.yml with conda, or Colab" if who else ""  # fmt: skip


def _pip(stamp: str) -> int:
    quiet = ["-q"] if os.environ.get("CI") else []
    quiet += ["-c", str(LOCK)] if " locked " in stamp else []
    command = [str(venv_python()), "-m", "pip", "install", "--disable-pip-version-check", *quiet]
    return subprocess.run([*command, "-r", str(ROOT / "requirements.txt")], close_fds=False).returncode


def _write_stamp(stamp: str) -> None:
    new = STAMP.with_suffix(".new")
    new.write_text(stamp)
    new.replace(STAMP)


def _left_overs() -> list[Path]:
    """What an interrupted call left behind: the environment that it moved aside, and folders to delete."""
    return [*ROOT.glob(KEPT.name), *ROOT.glob(".venv-trash-*")]


def _tidy(keep_unfinished: bool = True) -> None:
    """Keep the finished one of the old and the new environment; delete the other, and what earlier calls left."""
    if STAMP.exists():
        _delete(KEPT)
    elif os.path.lexists(KEPT) or not keep_unfinished:
        _delete(VENV)
        if os.path.lexists(KEPT):
            KEPT.rename(VENV)
    for folder in ROOT.glob(".venv-trash-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _delete(path: Path) -> None:
    """Delete an environment: its name is gone at once, so that nobody ever meets one that is half deleted."""
    if os.path.lexists(path):
        trash = tempfile.mkdtemp(prefix=".venv-trash-", dir=ROOT)
        path.rename(Path(trash) / "venv")
        shutil.rmtree(trash, ignore_errors=True)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other call makes `.venv`. The children inherit the lock: a pip whose parent was killed is awaited."""
    with open(ROOT / ".venv-lock", "a") as file:
        os.set_inheritable(file.fileno(), True)
        if not _locked(file):
            print("Another call is making .venv: waiting for it.", flush=True)
            while not _locked(file):
                time.sleep(1)
        yield


def _locked(file: IO[str]) -> bool:
    """Take the lock, which ends with the file's last handle, or tell that another process has it."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # a disk that knows no locks holds nobody up
        return not isinstance(error, (BlockingIOError, PermissionError))
    return True


@functools.cache
def stack() -> str:
    """Say for a record which set of packages is installed: that of .ci/constraints.txt, or how many are others."""
    from importlib import metadata

    from packaging.requirements import Requirement

    lines = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    pins = [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate()]
    others = []
    for pin in pins:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed = metadata.version(pin.name).partition("+")[0]  # 2.14.1+cpu is 2.14.1
            others += [] if pin.specifier.contains(installed, prereleases=True) else [f"{pin.name} {installed}"]
    named = f"constraints {_sha256(LOCK)[:12]}"
    return f"{named}, but {', '.join(others[:5])}{' and more' if len(others) > 5 else ''}" if others else named


def main() -> None:
    """The command line: every failure is one sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the Python that .venv is made from")
    parser.add_argument("--locked", action="store_true", help="the versions of .ci/constraints.txt (make env LOCKED=1)")
    options = parser.parse_args()
    try:
        make(options.python, options.locked)
    except KeyboardInterrupt:
        sys.exit("Interrupted: the next call makes .venv.")
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"Cannot make .venv: {error}; close the programs that use it or free some space, and try again.")


if __name__ == "__main__":
    main()
