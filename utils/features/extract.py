"""Room `features` (phi, "How?"): one function from a dataset's pictures, words or sounds to a Features matrix."""

from __future__ import annotations

import hashlib
import os
import struct
import time
import warnings
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from utils.errors import CourseError, suggest
from utils.features.cache import Store
from utils.features.matrix import Features
from utils.features.registry import Encoder, Network, check_modality, find

if TYPE_CHECKING:
    from utils.data import Dataset

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
    data = value.read_bytes() if isinstance(value, Path) else value.encode()
    return hashlib.sha256(data).hexdigest()


class _Problems:
    """Media that could not be read: collected for one warning, or raised at once."""

    def __init__(self, dataset: Dataset, modality: str, on_error: str) -> None:
        if on_error not in ("mask", "raise"):
            raise suggest(on_error, ("mask", "raise"), "value of on_error")
        self.dataset, self.modality, self.raising = dataset, modality, on_error == "raise"
        self.found: dict[int, str] = {}

    def _say(self, row: int, value: Path | str, error: BaseException) -> str:
        if isinstance(value, Path):
            inside = value.is_relative_to(self.dataset.path)
            where = (value.relative_to(self.dataset.path) if inside else value).as_posix()
        else:
            where = f"the text {value[:30]!r}"
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        # PIL repeats the path in its messages; the sentence has it once.
        reason = reason.replace(str(value), "the file").rstrip(".")
        return f"{where} (row {row + 1}, item {str(self.dataset.item_names[row])!r}): {reason}"

    def add(self, row: int, value: Path | str, error: BaseException) -> None:
        self.found[row] = self._say(row, value, error)
        if self.raising:
            raise CourseError(
                f"Cannot read {self.found[row]}; replace the file or empty its {COLUMN[self.modality]} in items.tsv."
            ) from error

    def warn(self) -> None:
        if self.found:
            shown = "; ".join(self.found[row] for row in sorted(self.found)[:3])
            more = f"; and {len(self.found) - 3} more" if len(self.found) > 3 else ""
            warnings.warn(
                f"{len(self.found)} {self.modality} file(s) of {self.dataset.name} cannot be read and count as "
                f"missing: {shown}{more}; replace the file or empty its {COLUMN[self.modality]} in items.tsv.",
                stacklevel=3,
            )


def _attempt(function: Any, value: Any) -> tuple[Any, BaseException | None]:
    """Call and return (result, None), or (None, error) for a file that cannot be read."""
    try:
        return function(value), None
    except UNREADABLE as error:
        return None, error


def _stream(network: Network, values: list[Any], batch_size: int) -> Iterator[tuple[list[int], list[Any], list[Any]]]:
    """Yield (positions, prepared inputs, errors) per batch; worker threads prepare the next batches meanwhile."""
    batches = [list(range(start, min(start + batch_size, len(values)))) for start in range(0, len(values), batch_size)]
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        waiting: deque = deque()
        todo = iter(batches)
        try:
            for _ in range(len(batches) + 3):  # three batches ahead of the network
                batch = next(todo, None)
                if batch is not None:
                    waiting.append((batch, [pool.submit(_attempt, network.prepare, values[i]) for i in batch]))
                if batch is None or len(waiting) > 3:
                    if not waiting:
                        break
                    positions, futures = waiting.popleft()
                    results = [future.result() for future in futures]
                    yield positions, [r[0] for r in results], [r[1] for r in results]
        finally:
            for _, futures in waiting:
                for future in futures:
                    future.cancel()


def _compute(
    encoder: Encoder,
    layer: str,
    options: Mapping[str, Any],
    todo: dict[str, Any],
    store: Store,
    batch_size: int,
    progress: bool,
    device: str,
) -> Iterator[tuple[str, np.ndarray | None, BaseException | None]]:
    """Yield (digest, vector, error) for every content, writing vectors to the cache on the way, also when stopped."""
    network = encoder.network(layer, options, device)
    digests = list(todo)
    if network.order is not None:
        digests.sort(key=lambda digest: (network.order(todo[digest]), digest))
    size = len(digests) if encoder.whole else batch_size
    bar = tqdm(total=len(digests), desc=f"{encoder.modality}: {encoder.name}", disable=not progress, leave=False)
    try:
        for positions, inputs, errors in _stream(network, [todo[d] for d in digests], size):
            good = [i for i, error in enumerate(errors) if error is None]
            vectors = network.encode([inputs[i] for i in good]) if good else ()
            for i, vector in zip(good, vectors):
                vector = np.asarray(vector, dtype=np.float32).reshape(-1)
                store.add(digests[positions[i]], vector)
                yield digests[positions[i]], vector, None
            for i, error in enumerate(errors):
                if error is not None:
                    yield digests[positions[i]], None, error
            bar.update(len(positions))
    finally:
        bar.close()
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
        encoder: a name of :func:`encoders`; ``"default"`` is the course's choice for the modality.
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

    rows: dict[str, list[int]] = {}  # content -> the items that have it: the same picture is computed once
    todo: dict[str, Any] = {}
    digests = [""] * dataset.n_items
    values = contents(dataset, modality, language)
    for row, value in enumerate(values):
        digest, error = _attempt(content_digest, value)
        if error is not None:
            problems.add(row, value, error)
        elif digest:
            digests[row] = digest
            rows.setdefault(digest, []).append(row)
            todo[digest] = value
    if not todo:
        problems.warn()
        raise CourseError(
            f"No item of {dataset.name} has {modality} content that can be read; "
            f"fill the column {COLUMN[modality]} in items.tsv, or leave the modality out."
        )

    recipe = {
        "modality": modality,
        "encoder": chosen.name,
        "layer": layer,
        "weights": chosen.weights_id(options),
        "preprocessing": options,
        "version": chosen.version,
    }
    fitted_on = {"fitted_on": hashlib.sha256("".join(sorted(todo)).encode()).hexdigest()} if chosen.whole else {}
    store = Store({**recipe, **fitted_on}, enabled=cache)
    vectors = store.read(todo)
    n_cached = len(vectors)
    missing = {digest: value for digest, value in todo.items() if digest not in vectors}
    if missing and chosen.whole:
        missing = todo  # fitted on everything, or it would be another encoder
    if missing:
        for digest, vector, error in _compute(chosen, layer, options, missing, store, batch_size, progress, device):
            if error is None:
                vectors[digest] = vector
            else:
                for row in rows[digest]:
                    problems.add(row, values[row], error)
    problems.warn()
    if not vectors:
        raise CourseError(
            f"None of the {len(todo)} {modality} files of {dataset.name} can be read, the first is "
            f"{problems.found[min(problems.found)]}; replace them, or leave the modality out."
        )

    dim = len(next(iter(vectors.values())))
    matrix = np.zeros((dataset.n_items, dim), dtype=np.float32)
    mask = np.zeros(dataset.n_items, dtype=bool)
    for digest, vector in vectors.items():
        matrix[rows[digest]] = vector
        mask[rows[digest]] = True
    provenance = {
        **recipe,
        "language": language,
        "dataset": dataset.name,
        "content": hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        "content_rows": [digest[:16] for digest in digests],
        "licence": chosen.licence,
        "source": chosen.source,
        "n_cached": n_cached,
        "device": device if missing else "",
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Features(modality, matrix, dataset.item_names, mask, provenance)
