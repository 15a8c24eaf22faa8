"""Names and files of an extraction's blocks, as the job writes them and the merge reads them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from utils import files
from utils.arrays import read_arrays
from utils.errors import CourseError

SIDES = ("visual", "textual")  # of a job image_text


def parts_folder(out: Path) -> Path:
    """The folder of a job's blocks."""
    return Path(out) / "parts"


def folder_name(layer: str) -> str:
    """A layer's name as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", layer)


def digest_of(words: list[str]) -> str:
    """SHA-256 of a list of strings."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a job.

    Raises:
        CourseError: it cannot be read.
    """
    try:
        return files.read_json(path)
    except ValueError as error:
        raise CourseError(f"{path} cannot be read ({error}); delete it and run the same command again.") from None


def readable(path: Path) -> bool:
    """Tell whether a part is there and whole (its checksums hold)."""
    if not path.exists():
        return False
    try:
        read_arrays(path)
    except CourseError:  # torn by a crash of the machine: compute again
        return False
    return True
