"""Make `.venv` from requirements.txt, once: standard library only, so that it runs before anything is installed."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
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
    return venv_python().exists() and STAMP.exists() and STAMP.read_text() == stamp


def make(python: str) -> None:
    """Create `.venv` when it does not match requirements.txt; a second call returns at once, without pip or network."""
    stamp = wanted_stamp(python)
    if is_ready(stamp):
        return
    print("Making .venv from requirements.txt (about 6 GB with the CUDA build of torch; README says how to take CPU).")
    STAMP.unlink(missing_ok=True)
    old = subprocess.run([str(venv_python()), "--version"], capture_output=True, text=True) if VENV.exists() else None
    if old is None or old.returncode or old.stdout.split()[-1].rsplit(".", 1)[0] != stamp.split()[0]:
        subprocess.run([python, "-m", "venv", "--clear", str(VENV)], check=True)
    quiet = ["-q"] if os.environ.get("CI") else []
    command = [str(venv_python()), "-m", "pip", "install", "--disable-pip-version-check", *quiet]
    result = subprocess.run([*command, "-r", str(ROOT / "requirements.txt")])
    if result.returncode:
        sys.exit(
            "pip could not install requirements.txt (its own message is above); nothing else was touched, try again."
        )
    STAMP.write_text(stamp)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the Python that .venv is made from")
    make(parser.parse_args().python)
