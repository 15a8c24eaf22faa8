"""Make a folder of files whole or not at all, and never write over what somebody else made.

A command leaves a mark in the folder that it made: ``.made-by-COMMAND.json`` with the hash of each file that it wrote. The
same command may make such a folder anew; a folder with other files, without the mark, or with a file that was changed
since is refused.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.data.tables import some
from utils.errors import CourseError
from utils.files import read_json, sha256, write_json


def mark_of(command: str) -> str:
    """The name of the file that says which command made a folder."""
    return f".made-by-{command}.json"


def write_mark(folder: Path, command: str, files: list[Path] | None = None) -> None:
    """Mark ``folder`` as made by ``python -m utils.data COMMAND``; ``files`` (inside it) are its work, with their hash.

    Without ``files`` the command is still at work, and everything in the folder is its own.
    """
    made = {} if files is None else {"files": {path.relative_to(folder).as_posix(): sha256(path) for path in files}}
    write_json(folder / mark_of(command), {"made_by": f"python -m utils.data {command}", **made})


def check_empty(target: str | Path) -> Path:
    """Return ``target`` when it is a new or empty folder.

    Raises:
        CourseError: it holds something, or is no folder.
    """
    target = Path(target)
    if target.exists() and not target.is_dir():
        raise CourseError(f"{target} is a file; give a new or empty folder.")
    if target.is_dir() and any(target.iterdir()):
        raise CourseError(f"{target} holds files already; give a new or empty folder.")
    return target


def check_target(target: str | Path, command: str, stale: tuple[str, ...] = ()) -> list[str]:
    """Let a command write to a new folder, an empty one, or one that it made and nobody changed.

    Args:
        stale: beginnings of paths that may have been changed, because a new run makes them worthless.

    Returns:
        The unchanged files of its earlier run (paths inside the folder); they may be replaced without a word.

    Raises:
        CourseError: the folder holds other files, or a file of it was changed.
    """
    target = Path(target)
    mark = target / mark_of(command)
    if not mark.is_file():
        if target.is_dir() and any(target.iterdir()):
            raise CourseError(
                f"{target} holds other files, and no mark that `{command}` made it; give a new or empty folder. If an "
                f"older version of `{command}` made it, delete that folder first."
            )
        check_empty(target)
        return []
    try:
        made = read_json(mark).get("files", {})
        changed = [name for name, digest in made.items() if _differs(target / name, digest)]
    except (OSError, ValueError, AttributeError) as error:
        raise CourseError(f"{mark} cannot be read ({error}); move away what you need, then delete {target}.") from error
    foreign = [name for name in changed if not name.startswith(stale)]
    if foreign:
        raise CourseError(
            f"{target} was made by `{command}`, but {some(foreign)} changed since; move away what you need and delete the "
            "folder, or give another one."
        )
    return [name for name in made if name not in changed]


def _differs(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) != digest


def adopt_rest(target: Path, new: Path, earlier: list[str], stale: tuple[str, ...]) -> list[str]:
    """Copy to ``new`` the files of ``target`` that other people added: all but the mark and those of the ``earlier`` run.

    Args:
        stale: beginnings of paths that are left out, because they belong to the earlier content.

    Returns:
        The files that were left out.

    Raises:
        CourseError: an added file has the name of a new one.
    """
    present = [path for path in sorted(target.rglob("*")) if path.is_file() or path.is_symlink()]
    names = [path.relative_to(target).as_posix() for path in present]
    mine = set(earlier)
    added = [name for name in names if name not in mine and not name.startswith(".made-by-")]
    kept = [name for name in added if not name.startswith(stale)]
    clash = [name for name in kept if (new / name).exists()]
    if clash:
        raise CourseError(
            f"{target} holds {some(clash)}, which would be written over; move it away or give another folder."
        )
    for name in kept:
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(target / name, new / name, follow_symlinks=False)
    return [name for name in added if name not in kept]


@contextmanager
def build_aside(target: str | Path) -> Iterator[Path]:
    """Yield an empty folder of the target's name; when the block ends without an error, its content becomes the target's.

    What the target held is replaced as a whole; after an error it is as it was.

    Raises:
        CourseError: the place cannot be written.
    """
    target = Path(target)
    whole = target.resolve()
    aside = whole.parent / f".part-{secrets.token_hex(4)}"
    new, old = aside / "new" / whole.name, aside / "old"
    try:
        new.mkdir(parents=True)
        old.mkdir()
        yield new
        if whole.exists():
            _swap(whole, new, old)
        else:
            new.rename(whole)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise CourseError(
            f"Cannot make {target}: {error.strerror or error}{where}; free some space or choose a folder you may write."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _swap(target: Path, new: Path, old: Path) -> None:
    """Move the content of ``target`` to ``old`` and that of ``new`` to ``target``; all goes back when one move fails."""
    moves = ((target, old, True), (new, target, False))  # the log leaves first and comes last: a kill leaves no mixture
    done: list[tuple[Path, Path]] = []
    try:
        for source, place, log_first in moves:
            for path in sorted(source.iterdir(), key=lambda p: p.name.startswith("interactions"), reverse=log_first):
                shutil.move(path, place / path.name)
                done.append((path, place / path.name))
    except OSError:
        for was, is_now in reversed(done):
            shutil.move(is_now, was)
        raise
