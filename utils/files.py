"""Write files atomically (under a temporary name first, so that no half-written one is ever left), hash them, read JSON."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
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


def write_text(path: str | Path, text: str, durable: bool = False) -> None:
    """Write ``text`` as UTF-8 with plain newlines on every system, atomically; ``durable`` outlives a power cut, too."""
    with atomic_path(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())


def write_json(path: str | Path, value: Any, durable: bool = False) -> None:
    """Write ``value`` as JSON with a trailing newline, atomically; ``durable`` as for :func:`write_text`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n", durable)


def sweep(folder: str | Path, age: float = 86_400.0) -> None:
    """Delete what :func:`atomic_path` left in a folder when its process was killed: older than ``age`` seconds, process gone.

    The age is for a disk that several machines share: they do not know each other's processes.
    """
    import psutil

    for path in Path(folder).glob(".part-*-*"):
        number = path.name.split("-")[1]
        with suppress(OSError):
            if number.isdigit() and path.is_file() and time.time() - path.stat().st_mtime > age:
                if not psutil.pid_exists(int(number)):
                    path.unlink()


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


def check_yaml(text: str, deepest: int = 40, most: int = 10_000) -> None:
    """Refuse settings in YAML that are too much to be built, before they are: nests, and aliases that multiply.

    Args:
        deepest: levels that are allowed. most: values, an alias counted as all that it stands for.

    Raises:
        ValueError: half a sentence. yaml.YAMLError: it is no YAML.
    """
    import yaml

    if len(text) > 1_000_000:
        raise ValueError(f"{len(text):,} letters are too many for settings")
    sizes: dict[str, int] = {}
    levels: list[tuple[str | None, int]] = [(None, 0)]  # anchor and number of values, of what is open

    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            levels.append((event.anchor, 1))
        elif isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent, yaml.CollectionEndEvent)):
            if isinstance(event, yaml.CollectionEndEvent):
                anchor, size = levels.pop()
            else:
                anchor, size = event.anchor, 1
            if isinstance(event, yaml.AliasEvent):
                size = sizes.get(event.anchor, most)  # unknown yet: it stands for what it is a part of
            elif anchor:
                sizes[anchor] = size
            levels[-1] = (levels[-1][0], levels[-1][1] + size)
        if len(levels) > deepest:
            raise ValueError(f"it is nested more than {deepest} levels deep")
        if levels[-1][1] > most:
            raise ValueError(f"it stands for more than {most:,} values")


def why_unreadable(error: Exception) -> str:
    """The reason why NumPy could not read a file, without its advice to switch a safeguard off."""
    text = str(error).strip()
    return "other bytes, or Python objects" if "pickle" in text.lower() else text or type(error).__name__
