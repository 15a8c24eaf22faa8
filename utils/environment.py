"""Make `.venv` from requirements.txt, once: standard library only, so that it runs before anything is installed."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
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


def venv_python() -> Path:
    """Return the path of the environment's Python, on Windows and elsewhere."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def wanted_stamp(python: str) -> str:
    """Return what the stamp of a fitting environment says: Python's minor version and the hash of requirements.txt."""
    version = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if tuple(map(int, version.split("."))) < (3, 10):
        sys.exit(f"The course needs Python 3.10 or newer and {python} is {version}: run `make env PYTHON=python3.12`.")
    return f"{version} {hashlib.sha256((ROOT / 'requirements.txt').read_bytes()).hexdigest()}\n"


def is_ready(stamp: str) -> bool:
    """Tell whether `.venv` was made from these requirements with this Python; calls nothing."""
    return venv_python().exists() and STAMP.exists() and STAMP.read_text(errors="replace") == stamp


def make(python: str) -> None:
    """Create `.venv` when it does not match requirements.txt; a second call returns at once, without pip or network.

    An environment of the same Python is brought up to date in place. Any other is moved aside and comes back unless its
    successor is complete: at once when pip fails or on Ctrl-C, at the next call when this one was killed.
    """
    stamp = wanted_stamp(python)
    if is_ready(stamp) and not _left_overs():
        return
    with _alone():
        _tidy()
        if is_ready(stamp):
            return
        size = "about 6 GB with the CUDA build of torch; README says how to take CPU"
        print(f"Making .venv from requirements.txt ({size}).", flush=True)
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
    if _pip():
        _fail("pip could not install requirements.txt", ".venv keeps what it has; the next call goes on from there")
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
        if _pip():
            _fail("pip could not install requirements.txt", unchanged)
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


def _pip() -> int:
    quiet = ["-q"] if os.environ.get("CI") else []
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


def main() -> None:
    """The command line: every failure is one sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the Python that .venv is made from")
    try:
        make(parser.parse_args().python)
    except KeyboardInterrupt:
        sys.exit("Interrupted: the next call makes .venv.")
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"Cannot make .venv: {error}; close the programs that use it or free some space, and try again.")


if __name__ == "__main__":
    main()
