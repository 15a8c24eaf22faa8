"""Extract features (phi, "How?"): a dataset's pictures, words or sounds become one Features matrix."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import time
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from utils.data import Dataset
from utils.errors import CourseError, suggest
from utils.features.cache import Store
from utils.features.matrix import Features
from utils.features.registry import Network, check_modality, find

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error)
COLUMN = {"visual": "image", "textual": "description", "audio": "audio"}


def contents(dataset: Dataset, modality: str, language: str | None = None) -> list[Path | str | None]:
    """Each item's content in row order: a path, or a text; None = the item has none."""
    check_modality(modality)
    if modality == "textual":
        return [text.strip() or None for text in dataset.texts(language)]
    return list(dataset.image_paths() if modality == "visual" else dataset.audio_paths())


def content_digest(value: Path | str | None) -> str:
    """SHA-256 of a file's bytes or of a text; "" for no content.

    Raises:
        OSError: the file cannot be opened.
    """
    if value is None:
        return ""
    if isinstance(value, Path) and value.exists() and not value.is_file():  # a pipe would be waited for
        raise OSError(errno.EINVAL, "it is no file")
    data = value.read_bytes() if isinstance(value, Path) else value.encode()
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Contents:
    """The contents of some rows, each of them once: the same picture under two ids is computed once.

    Attributes:
        values: a path, a text or None for each row.
        digests: SHA-256 of each row's content, "" where it has none or cannot be opened.
        rows: digest -> the rows with that content.
        errors: row -> why it cannot be opened.
    """

    values: list[Any]
    digests: list[str]
    rows: dict[str, list[int]]
    errors: dict[int, BaseException]

    @classmethod
    def of(cls, values: list[Any]) -> Contents:
        """Open and hash every content."""
        found = cls(values, [], {}, {})
        for row, value in enumerate(values):
            digest, error = attempt(content_digest, value)
            found.digests.append(digest or "")
            if error is not None:
                found.errors[row] = error
            elif digest:
                found.rows.setdefault(digest, []).append(row)
        return found

    def todo(self, known: Container[str] = ()) -> dict[str, Any]:
        """Digest -> content of what is not known yet."""
        return {digest: self.values[rows[0]] for digest, rows in self.rows.items() if digest not in known}

    def matrix(self, vectors: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors by digest -> float32 (n, dim) with 0 where there is none, and bool (n,): which rows have one."""
        dim = len(next(iter(vectors.values()))) if vectors else 0
        matrix, mask = np.zeros((len(self.values), dim), dtype=np.float32), np.zeros(len(self.values), dtype=bool)
        for digest, vector in vectors.items():
            matrix[self.rows[digest]], mask[self.rows[digest]] = vector, True
        return matrix, mask


def attempt(function: Callable[[Any], Any], value: Any) -> tuple[Any, BaseException | None]:
    """Call and return (result, None), or (None, error) for a file that cannot be read."""
    try:
        return function(value), None
    except UNREADABLE as error:
        return None, error


def batches(network: Network, values: list[Any], batch_size: int) -> Iterator[tuple[list[int], list[Any], list[Any]]]:
    """Yield (positions, prepared inputs, errors) per batch; worker threads prepare up to three batches ahead."""
    todo = iter([range(start, min(start + batch_size, len(values))) for start in range(0, len(values), batch_size)])
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        waiting: deque = deque()

        def submit() -> None:
            for batch in islice(todo, 1):
                waiting.append((batch, [pool.submit(attempt, network.prepare, values[i]) for i in batch]))

        try:
            for _ in range(3):
                submit()
            while waiting:
                submit()
                positions, futures = waiting.popleft()
                results = [future.result() for future in futures]
                yield list(positions), [r[0] for r in results], [r[1] for r in results]
        finally:
            for _, futures in waiting:
                for future in futures:
                    future.cancel()


def stream(
    network: Network, todo: Mapping[str, Any], batch_size: int, n_layers: int = 1
) -> Iterator[tuple[str, list[np.ndarray] | None, BaseException | None]]:
    """Yield (digest, one vector per layer, error) for every content; the vectors are None where it cannot be read.

    Args:
        todo: digest -> content; taken in the network's order (texts by length), else as they come.
        n_layers: how many layers ``network.encode`` returns; with 1 it is the array itself.

    Raises:
        CourseError: the network returns more or fewer vectors than it got contents.
    """
    digests = list(todo)
    if network.order is not None:
        digests.sort(key=lambda digest: (network.order(todo[digest]), digest))
    for positions, inputs, errors in batches(network, [todo[digest] for digest in digests], batch_size):
        good = [k for k, error in enumerate(errors) if error is None]
        found = network.encode([inputs[k] for k in good]) if good else []
        layers = found if n_layers > 1 and good else [found]
        if any(len(layer) != len(good) for layer in layers):
            raise CourseError(
                f"The encoder made {', '.join(str(len(layer)) for layer in layers)} vectors of {len(good)} contents; "
                "encode must return one row for each."
            )
        for row, k in enumerate(good):
            yield digests[positions[k]], [np.asarray(layer[row], np.float32).reshape(-1) for layer in layers], None
        for k, error in enumerate(errors):
            if error is not None:
                yield digests[positions[k]], None, error


def say_unreadable(value: Path | str, base: Path, row: int, who: str, error: BaseException) -> str:
    """Name a content that cannot be read, and why: ``images/7.png (row 8, item 'a'): the file is empty``."""
    where = f"the text {value[:30]!r}" if isinstance(value, str) else value.as_posix()
    if isinstance(value, Path) and value.is_relative_to(base):
        where = value.relative_to(base).as_posix()
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    # Pillow repeats the path in its messages; the sentence has it once.
    return f"{where} (row {row + 1}, {who}): {reason.replace(str(value), 'the file').rstrip('.')}"


def warn_unreadable(said: list[str], what: str, remedy: str = "") -> None:
    """One warning for all contents that cannot be read; the first three are named. It points at the caller of extract or run."""
    if said:
        more = f"; and {len(said) - 3} more" if len(said) > 3 else ""
        warnings.warn(
            f"{len(said)} {what} cannot be read and count as missing: {'; '.join(said[:3])}{more}{remedy}.",
            stacklevel=4,
        )


class _Problems:
    """Media that could not be read: collected for one warning, or raised at once."""

    def __init__(self, dataset: Dataset, modality: str, on_error: str) -> None:
        if on_error not in ("mask", "raise"):
            raise suggest(on_error, ("mask", "raise"), "value of on_error")
        self.dataset, self.modality, self.raising = dataset, modality, on_error == "raise"
        self.remedy = f"; replace the file or empty its {COLUMN[modality]} in items.tsv"
        self.found: dict[int, str] = {}

    def add(self, row: int, value: Path | str, error: BaseException) -> None:
        who = f"item {str(self.dataset.item_names[row])!r}"
        self.found[row] = say_unreadable(value, self.dataset.path, row, who, error)
        if self.raising:
            raise CourseError(f"Cannot read {self.found[row]}{self.remedy}.") from error

    def warn(self) -> None:
        said = [self.found[row] for row in sorted(self.found)]
        warn_unreadable(said, f"{self.modality} file(s) of {self.dataset.name}", self.remedy)


def _compute(
    network: Network, found: Contents, todo: dict[str, Any], size: int, store: Store, problems: _Problems, bar: tqdm
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (digest, vector) of what can be read, writing vectors to the cache on the way, also when stopped."""
    try:
        for digest, layers, error in stream(network, todo, size):
            bar.update()
            if layers is not None:
                store.add(digest, layers[0])
                yield digest, layers[0]
            else:
                for row in found.rows[digest]:
                    problems.add(row, found.values[row], error)
    finally:
        store.flush()


def extract(
    dataset: Dataset,
    modality: str,
    encoder: str = "default",
    layer: str | None = None,
    batch_size: int = 16,
    cache: bool = True,
    progress: bool = True,
    *,
    on_error: str = "mask",
    language: str | None = None,
    device: str = "cpu",
    **preprocessing: Any,
) -> Features:
    """Turn every item's content into a vector (phi of the schema).

    Args:
        dataset: the items; what an item lacks becomes ``mask`` False, never a silent row of zeros.
        modality: ``"visual"``, ``"textual"`` or ``"audio"``.
        encoder: a name of :func:`encoder_table`; ``"default"`` is the course's choice for the modality.
        layer: where in the network to listen; None = the encoder's default.
        batch_size: items per forward pass; it changes the speed, not the vectors.
        cache: keep vectors in ``data/cache`` (or COURSE_CACHE) and use those that are there.
        progress: show a bar.
        on_error: ``"mask"``: a file that cannot be read counts as missing, with one warning that names it;
            ``"raise"``: stop there. What was computed before is in the cache either way.
        language: for text, the suffix of ``description_<language>``.
        device: where the network computes: ``cpu``, ``cuda``, ``mps``, or ``auto`` (the fastest that is there). It changes
            the rounding of a vector and nothing else, so that the cache is one for all devices.
        preprocessing: options of the encoder, for example ``size=160``.

    Returns:
        Features of shape (n_items, dim), rows in the order of ``dataset.item_names``.

    Raises:
        CourseError: unknown names, weights or a device that cannot be had, no item with this modality.
    """
    started = time.perf_counter()
    chosen = find(encoder, modality)
    if language is not None and modality != "textual":
        raise CourseError(f"language={language!r} is for text; leave it out for {modality} features.")
    if batch_size < 1:
        raise CourseError(f"batch_size is {batch_size}; give 1 or more, 8 to 16 is fastest on a CPU.")
    layer, options, device = chosen.settle_layer(layer), chosen.settle(preprocessing), chosen.place(device)
    problems = _Problems(dataset, modality, on_error)
    found = Contents.of(contents(dataset, modality, language))
    for row, error in found.errors.items():
        problems.add(row, found.values[row], error)
    if not found.rows:
        problems.warn()
        raise CourseError(
            f"No item of {dataset.name} has {modality} content that can be read; "
            f"fill the column {COLUMN[modality]} in items.tsv, or leave the modality out."
        )
    recipe = {"modality": modality, "encoder": chosen.name, "layer": layer, "weights": chosen.weights_id(options)}
    recipe |= {"preprocessing": options, "version": chosen.version}
    fitted_on = {"fitted_on": _sha256("".join(sorted(found.rows)))} if chosen.whole else {}
    store = Store({**recipe, **fitted_on}, enabled=cache)
    vectors = store.read(found.rows)
    n_cached, todo = len(vectors), found.todo(known=vectors)
    if todo:
        network = chosen.network(layer, options, device)
        todo = found.todo() if chosen.whole else todo  # fitted on everything, or it would be another encoder
        size = len(todo) if chosen.whole else batch_size
        with tqdm(total=len(todo), desc=f"{modality}: {chosen.name}", disable=not progress, leave=False) as bar:
            vectors.update(_compute(network, found, todo, size, store, problems, bar))
    problems.warn()
    if not vectors:
        raise CourseError(
            f"None of the {len(found.rows)} {modality} files of {dataset.name} can be read, the first is "
            f"{problems.found[min(problems.found)]}; replace them, or leave the modality out."
        )
    matrix, mask = found.matrix(vectors)
    provenance = {
        **recipe,
        "language": language,
        "dataset": dataset.name,
        "content": _sha256("\n".join(found.digests)),
        "content_rows": [digest[:16] for digest in found.digests],
        "licence": chosen.licence,
        "source": chosen.source,
        "n_cached": n_cached,
        "device": device if todo else "",
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Features(modality, matrix, dataset.item_names, mask, provenance)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
