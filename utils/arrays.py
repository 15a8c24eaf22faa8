"""Read and write NumPy files: never pickled, never larger than believable, compared with the SHA-256 beside them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from utils.errors import CourseError
from utils.files import atomic_path, file_digest, why_unreadable, write_text

SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it: a line for each file, its SHA-256, two blanks, its name
MAX_RATIO, FREE = 200, 64 << 20  # as for archives: no honest file unpacks to more than this many times its size


def read_array(path: str | Path, remedy: str = "write it again with numpy.save, without pickle") -> np.ndarray:
    """Read one array of any shape.

    Args:
        remedy: half a sentence, said where the file cannot be used.

    Raises:
        CourseError: no file, another kind of file, damage of any kind, another SHA-256 than the one beside it.
    """
    path = Path(path)
    check_sum(path)
    try:
        array = np.load(path, allow_pickle=False)
        if isinstance(array, np.ndarray):
            return array
        array.close()
        reason = "an archive of several arrays"
    except Exception as error:  # noqa: BLE001  damaged headers raise many kinds of errors, too much memory among them
        reason = why_unreadable(error)
    raise CourseError(f"{path} is not a plain NumPy array ({reason}); {remedy}.")


def read_arrays(path: str | Path, names: Iterable[str] = (), remedy: str = "make it again") -> dict[str, np.ndarray]:
    """Read the arrays of a .npz file: those of ``names``, all by default.

    Raises:
        CourseError: no file, another kind of file, damage, an array that is not there, another SHA-256 than the one
            beside it, or arrays that unpack to more than any honest file of that size does.
    """
    path = Path(path)
    check_sum(path)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > max(FREE, MAX_RATIO * path.stat().st_size):
            raise ValueError(f"it unpacks to {unpacked / 1e6:,.0f} MB, which no honest file of its size does")
        with np.load(path, allow_pickle=False) as stored:
            missing = [name for name in names if name not in stored.files]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}")
            return {name: stored[name] for name in tuple(names) or stored.files}
    except Exception as error:  # noqa: BLE001  damaged archives raise many kinds of errors, each array on its own
        raise CourseError(f"{path} is not a whole .npz file ({why_unreadable(error)}); {remedy}.") from error


def read_shape(path: str | Path) -> tuple[int, ...]:
    """Return the shape of an array file from its header alone: one number at least, none of them 0.

    Raises:
        CourseError: another file, a damaged header, a single number in place of rows, or nothing in it.
    """
    try:
        with np.errstate(over="ignore"):  # a shape beyond all bounds is said below
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except Exception as error:  # noqa: BLE001  damaged headers raise many kinds of errors
        raise CourseError(f"{path} is not a numpy array file ({why_unreadable(error)}); make it again.") from error
    if not shape:
        raise CourseError(f"{path} is not a matrix but a single value; write one row per item.")
    if 0 in shape:
        raise CourseError(f"{path} has shape {shape}, which holds nothing; write one row of numbers per item.")
    return shape


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write one array, whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, array, allow_pickle=False)


def write_sums(folder: str | Path, names: Iterable[str]) -> None:
    """Note the SHA-256 of files just written in ``folder``; lines of other files stay, those of lost files go.

    Raises:
        CourseError: the folder cannot be written.
    """
    folder, names = Path(folder), set(names)
    try:
        known = _sums(folder / SUMS)
    except CourseError:  # damaged: what is written now is known all the same
        known = {}
    known |= {name: file_digest(folder / name) for name in names if (folder / name).is_file()}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(known.items()) if (folder / name).is_file()]
    write_text(folder / SUMS, "".join(lines))


def check_sum(path: Path) -> None:
    """Compare a file with its line in the SHA256SUMS beside it; without such a line nothing is known, and it passes.

    Raises:
        CourseError: its bytes are others, or the list is none.
    """
    wanted = _sums(path.with_name(SUMS)).get(path.name)
    if wanted and path.is_file() and file_digest(path) != wanted:
        raise CourseError(
            f"{path} is not the file that {SUMS} beside it names: it was damaged, or changed since; fetch or make it again, "
            f"or remove its line there if you changed it yourself."
        )


def _sums(path: Path) -> dict[str, str]:
    """File name -> SHA-256; empty without a list."""
    if not path.is_file():
        return {}
    try:
        lines = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = {name.lstrip("*"): digest.lower() for digest, name in lines}
    except (OSError, ValueError) as error:
        raise CourseError(f"{path} is no list of SHA-256 and names ({why_unreadable(error)}); delete it.") from None
    if any(len(digest) != 64 or set(digest) - set("0123456789abcdef") for digest in found.values()):
        raise CourseError(f"{path} has a line that does not begin with a SHA-256; delete it.")
    return found
