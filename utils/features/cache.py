"""Cache of feature vectors, found by the hash of the content; an interrupted extraction goes on from here."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from utils.arrays import read_arrays
from utils.errors import CourseError
from utils.files import ROOT, atomic_path, sweep


def cache_root() -> Path:
    """``data/cache``, or the folder that the environment variable COURSE_CACHE names."""
    return Path(os.environ.get("COURSE_CACHE") or ROOT / "data" / "cache")


class Store:
    """Vectors of one encoder at one layer with one preprocessing; each is found by the hash of its item's content.

    A changed image has another hash, so it can never be answered with the old vector. Vectors are written in small
    files as they come: what an interruption leaves is whole and is used again.

    Args:
        recipe: everything but the content that decides a vector; JSON values.
        enabled: False reads and writes nothing.
    """

    def __init__(self, recipe: Mapping[str, Any], enabled: bool = True) -> None:
        key = hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()[:24]
        label = re.sub(r"[^a-z0-9]+", "-", f"{recipe.get('modality')}-{recipe.get('encoder')}".lower())[:60]
        self.folder = cache_root() / "features" / f"{label}-{key}"
        self.enabled = enabled
        self._waiting: dict[str, np.ndarray] = {}

    def read(self, digests: Iterable[str]) -> dict[str, np.ndarray]:
        """Vectors of those contents that are known; a file that cannot be read counts as absent."""
        wanted, found = set(digests), {}
        if not self.enabled or not self.folder.is_dir():
            return found
        sweep(self.folder)
        for path in sorted(self.folder.glob("*.npz")):
            if path.name.startswith("."):
                continue
            with suppress(CourseError, TypeError):  # torn by a crash of the machine, or not ours: compute again
                chunk = read_arrays(path, ("digests", "vectors"))
                pairs = zip(chunk["digests"].tolist(), chunk["vectors"])
                found.update((name, vector) for name, vector in pairs if name in wanted)
        return found

    def add(self, digest: str, vector: np.ndarray, chunk: int = 64) -> None:
        """Remember one vector; every ``chunk`` of them go to disk."""
        if self.enabled:
            self._waiting[digest] = vector
            if len(self._waiting) >= chunk:
                self.flush()

    def flush(self) -> None:
        """Write what waits. A full disk or a read-only folder costs the cache, never the vectors: one warning."""
        waiting, self._waiting = self._waiting, {}
        if not self.enabled or not waiting:
            return
        name = hashlib.sha256("".join(waiting).encode()).hexdigest()[:24]
        try:
            with atomic_path(self.folder / f"{name}.npz") as temporary, open(temporary, "wb") as stream:
                np.savez(stream, digests=np.array(list(waiting)), vectors=np.stack(list(waiting.values())))
        except (CourseError, OSError) as error:
            self.enabled = False
            warnings.warn(
                f"The features are computed but not cached: {error} "
                "(the environment variable COURSE_CACHE names the folder).",
                stacklevel=2,
            )
