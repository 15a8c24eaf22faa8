"""Write files atomically (under a temporary name first, so that no half-written one is ever left), hash them, read JSON."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from utils.errors import CourseError

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends without an error.

    Raises:
        CourseError: the folder cannot be written (full disk, read-only); the old file, if any, is untouched.
    """
    path = Path(path)
    # not mkstemp: the file should get the reader's usual permissions
    temporary = path.with_name(f".part-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise CourseError(
            f"Cannot write {path}: {reason}; free some space or choose a folder you may write."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 with plain newlines on every system, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as JSON with a trailing newline, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _digest(path: str, size: int, changed: int) -> str:
    """SHA-256 of a file, computed once per path, size and time of change."""
    return sha256(path)


def file_digest(path: Path) -> str:
    """SHA-256 of a file; a file unchanged since the last call is not read again."""
    found = path.stat()
    return _digest(str(path), found.st_size, found.st_mtime_ns)


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        ValueError: it cannot be read, is no JSON or no object, or is nested too deeply; the message is the bare reason.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, not names and values")
    return found


def why_unreadable(error: Exception) -> str:
    """The reason why NumPy could not read a file, without its advice to switch a safeguard off."""
    text = str(error).strip()
    return "other bytes, or Python objects" if "pickle" in text.lower() else text or type(error).__name__
