"""Extraction job: rows of a dataset become matrices on disk, in blocks that are written whole, so that a killed job resumes.

The rows are cut into blocks of ``block`` rows, in their order; a block's vectors depend on the block alone: on its
content, the encoder and the batch size, never on who computes it. So one process, eight processes and a process that was
killed and started again write the same bits. Shard i of n computes blocks i, i + n, i + 2 n, ...; each finished block is
a file whose name holds the hash of its content and of all settings (a changed picture has another name).

    job = Job(dataset, "visual", out="build/visual", layers=("avgpool", "features.4"))
    run(job)                       # alone; or run(job, shard=(0, 2)) and run(job, shard=(1, 2)), then merge(out)
    read_matrix("build/visual/avgpool", "visual")
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from utils.data import Dataset
from utils.devices import pick_device
from utils.errors import CourseError, suggest
from utils.features.at_scale.blocks import SIDES, digest_of, parts_folder, read_json, readable
from utils.features.at_scale.cleaning import clean_text, steps_of
from utils.features.at_scale.join import check_fusion
from utils.features.extraction import COLUMN, Contents, contents, say_unreadable, stream
from utils.features.matrix import MODALITIES
from utils.features.registry import Encoder, Network, find
from utils.files import atomic_path, write_json

BLOCK = 256  # rows of a block: what a kill can cost, and what is in memory at once
PAIR = "image_text"  # a job of two sides


@dataclass(frozen=True)
class Job:
    """One extraction.

    Attributes:
        dataset: the rows' dataset.
        modality: ``visual``, ``textual``, ``audio``, or ``image_text`` (both sides, then ``fusion``).
        out: folder of the result; ``out/parts`` holds the blocks and may be deleted after merging.
        encoder: a name of ``encoder_table()``, your own module or factory; for image_text also {"visual": ..., "textual": ...}.
        layers: names; () = the encoder's first. Several come from one forward pass where the encoder can do that, and
            each gets its own folder ``out/<layer>``.
        source: ``items``, or ``interactions``: the reviews, one row per interaction.
        ids: of interactions: ``row`` (the position, "0", "1", ...) or ``pair`` (user, tab, item).
        clean: steps of :mod:`utils.features.at_scale.cleaning`, for text.
        options: the encoder's options; for image_text also by side.
        dtype: ``float32`` or ``float16``, of the file; the network computes in float32.
        format: ``npy`` (with items.txt or rows.txt, mask and provenance beside it) or ``safetensors`` (one file).
        fusion: of image_text: ``concat``, ``sum``, ``mean``, ``product``, or "" for both sides apart.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``. It is no setting of the result: a job that was begun on one device
            may go on on another; each block says where it was computed, and so does the provenance.
    """

    dataset: Dataset
    modality: str
    out: str | Path
    encoder: Any = "default"
    layers: tuple[str, ...] = ()
    source: str = "items"
    ids: str = "row"
    language: str | None = None
    clean: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 16
    block: int = BLOCK
    dtype: str = "float32"
    format: str = "npy"
    fusion: str = ""
    on_error: str = "mask"
    device: str = "cpu"

    def __post_init__(self) -> None:
        _one_of(self.modality, (*MODALITIES, PAIR), "modality")
        _one_of(self.source, ("items", "interactions"), "source")
        _one_of(self.ids, ("row", "pair"), "value of ids")
        _one_of(self.dtype, ("float32", "float16"), "dtype")
        _one_of(self.format, ("npy", "safetensors"), "format")
        _one_of(self.on_error, ("mask", "raise"), "value of on_error")
        for name in ("batch_size", "block"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise CourseError(f"{name} is {value!r}; give a whole number from 1.")
        if self.fusion:
            check_fusion(self.fusion)
            if self.modality != PAIR:
                raise CourseError(f"fusion: {self.fusion} joins image and text; set modality: {PAIR}, or leave it out.")
        if self.source == "interactions" and self.modality != "textual":
            raise CourseError("source: interactions reads reviews, which are text; set modality: textual.")
        if self.modality not in ("textual", PAIR) and (self.language or steps_of(self.clean)):
            raise CourseError(f"language and clean are for text; leave them out for {self.modality}.")
        if self.source == "interactions" and self.language:
            raise CourseError("A review has no language column; leave language out for source: interactions.")
        pick_device(self.device)
        object.__setattr__(self, "out", Path(self.out))
        layers = (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
        if len(set(layers)) < len(layers):
            raise CourseError(f"The layers {', '.join(layers)} name one of them twice; give each once.")
        object.__setattr__(self, "layers", layers)

    def sides(self) -> list[Job]:
        """The jobs of an image_text job, one for each side."""
        from dataclasses import replace

        def own(value: Any, side: str) -> Any:
            return value[side] if isinstance(value, Mapping) and set(value) <= set(SIDES) and side in value else value

        jobs = []
        for side in SIDES:
            options = self.options.get(side, {}) if set(self.options) & set(SIDES) else self.options
            clean, language = (self.clean, self.language) if side == "textual" else (None, None)
            changed = {"encoder": own(self.encoder, side), "options": options, "clean": clean, "language": language}
            jobs.append(replace(self, modality=side, out=self.out / side, fusion="", **changed))
        return jobs


def _one_of(value: Any, known: tuple[str, ...], what: str) -> None:
    if value not in known:
        raise suggest(str(value), known, what)


@dataclass(frozen=True)
class Rows:
    """What a job reads: ids (n,) and contents (n), None = the row has none; ``word`` is "item" or "interaction"."""

    names: list[str]
    values: list[Any]
    word: str


def rows_of(job: Job) -> Rows:
    """The rows of a job, in the dataset's order; texts are cleaned.

    Raises:
        CourseError: no reviews, a pair of user and item that comes twice, nothing to read.
    """
    data, steps = job.dataset, steps_of(job.clean)
    if job.source == "items":
        names, word = data.item_names.tolist(), "item"
        values = contents(data, job.modality, job.language)
    else:
        table, word = data.interactions, "interaction"
        if "review" not in table:
            raise CourseError(f"The interactions of {data.name} have no column review; use source: items.")
        values = [str(text).strip() or None for text in table["review"].fillna("")]
        names = [str(k) for k in range(len(table))]
        if job.ids == "pair":
            names = [f"{user}\t{item}" for user, item in zip(table["user"], table["item"])]
            if len(set(names)) < len(names):
                twice = Counter(names).most_common(1)[0][0]
                raise CourseError(
                    f"The interactions of {data.name} have the pair {' and '.join(twice.split(chr(9)))} more than once, so "
                    "a pair names no row; use ids: row."
                )
    if steps:
        values = [clean_text(value, steps).strip() or None if value else None for value in values]
    if not any(values):
        raise CourseError(
            f"No {word} of {data.name} has {job.modality} content; fill the column "
            f"{COLUMN[job.modality] if word == 'item' else 'review'}, or leave the modality out."
        )
    return Rows(names, values, word)


@dataclass(frozen=True)
class Plan:
    """A checked job: the encoder found, names and options valid, its key computed."""

    job: Job
    rows: Rows
    encoder: Encoder
    layers: tuple[str, ...]
    options: Mapping[str, Any]
    about: Mapping[str, Any]  # what goes into job.json and into the provenance of the result
    key: str
    block: int

    @property
    def n_blocks(self) -> int:
        """How many blocks the rows make."""
        return -(-len(self.rows.names) // self.block)


def plan(job: Job) -> Plan:
    """Check a job's encoder, layers and options and compute its key, before any weights are read.

    Raises:
        CourseError: unknown encoder, layer or option.
    """
    encoder = find(job.encoder, job.modality)
    options = encoder.settle(job.options)
    layers = tuple(encoder.settle_layer(layer) for layer in job.layers or (None,))
    rows = rows_of(job)
    block = len(rows.names) if encoder.whole else job.block  # fitted on all rows: one block
    about = {
        "modality": job.modality,
        "encoder": encoder.name,
        "layers": list(layers),
        "weights": encoder.weights_id(options),
        "preprocessing": options,
        "version": encoder.version,
        "source_of_rows": job.source,
        "language": job.language,
        "cleaning": list(steps_of(job.clean)),
        "batch_size": job.batch_size,
        "block": block,
        "dtype": job.dtype,
        "format": job.format,
        "dataset": job.dataset.name,
        "n_rows": len(rows.names),
        "row_ids": digest_of(rows.names),
        "licence": encoder.licence,
        "source": encoder.source,
    }
    about = json.loads(json.dumps(about, default=str))  # as a reader of job.json will see it
    return Plan(job, rows, encoder, layers, options, about, digest_of([json.dumps(about, sort_keys=True)]), block)


def claim(plan: Plan) -> None:
    """Write job.json, or make sure that the folder belongs to this job.

    Raises:
        CourseError: the folder holds the blocks of another job; the first setting that differs is named.
    """
    path = parts_folder(plan.job.out) / "job.json"
    if not path.exists():
        write_json(path, {"key": plan.key, **plan.about})
        return
    known = read_json(path)
    if known.get("key") != plan.key:
        # settings first: the rows' hash differs whenever anything about the rows does
        names = [name for name in plan.about if known.get(name) != plan.about[name]] or ["key"]
        name = names[0]
        raise CourseError(
            f"{plan.job.out} holds another job ({name}: {known.get(name)!r}, now {plan.about.get(name)!r}); choose another "
            f"folder for out, or delete {parts_folder(plan.job.out)}."
        )


def networks(plan: Plan) -> list[tuple[Network, int]]:
    """Networks and how many layers each gives: one for all where the encoder can, else one for each layer."""
    groups = [plan.layers] if len(plan.layers) > 1 and plan.encoder.many else list(plan.layers)
    loaded = [plan.encoder.network(each, plan.options, plan.job.device) for each in groups]
    return [(network, 1 if isinstance(each, str) else len(each)) for network, each in zip(loaded, groups)]


@dataclass
class Runner:
    """What computes the blocks of one shard; the weights are read when the first block needs them."""

    plan: Plan
    loaded: list[tuple[Network, int]] | None = None

    def part(self, number: int) -> Path:
        """The finished file of a block, computed now unless it is there."""
        plan = self.plan
        low = number * plan.block
        found = Contents.of(plan.rows.values[low : low + plan.block])
        key = digest_of([plan.key, str(number), *found.digests])
        path = parts_folder(plan.job.out) / f"part-{number:06d}-{key[:20]}.npz"
        if not readable(path):
            self.compute(low, found, path)
        return path

    def compute(self, low: int, found: Contents, path: Path) -> None:
        """Extract one block, which starts at row ``low``, and write it, whole or not at all."""
        plan, errors = self.plan, dict(found.errors)
        vectors: dict[str, list[np.ndarray]] = {digest: [] for digest in found.rows}
        todo = dict(sorted(found.todo().items()))
        if todo:
            self.loaded = self.loaded or networks(plan)
            size = len(todo) if plan.encoder.whole else plan.job.batch_size
            for network, n_layers in self.loaded:
                for digest, layers, error in stream(network, todo, size, n_layers):
                    vectors[digest] += layers or []
                    if error is not None:
                        errors.update(dict.fromkeys(found.rows[digest], error))
        said = [self.say(low + row, error) for row, error in sorted(errors.items())]
        if said and plan.job.on_error == "raise":
            raise CourseError(f"Cannot read {said[0]}; replace it, or empty it in the table.")
        self.write(low, found, vectors, said, path)

    def say(self, row: int, error: BaseException) -> str:
        """Name a row that cannot be read, and why."""
        value = self.plan.rows.values[row]
        base = value.parent if isinstance(value, Path) else Path()
        return say_unreadable(value, base, row, f"{self.plan.rows.word} {self.plan.rows.names[row]!r}", error)

    def write(
        self, low: int, found: Contents, vectors: dict[str, list[np.ndarray]], said: list[str], path: Path
    ) -> None:
        """One .npz without pickle: ids, mask, digests, a matrix per layer, what could not be read."""
        plan = self.plan
        full = {digest: layers for digest, layers in vectors.items() if len(layers) == len(plan.layers)}
        arrays = {}
        for k, layer in enumerate(plan.layers):
            matrix, mask = found.matrix({digest: layers[k] for digest, layers in full.items()})
            bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
            if len(bad):
                raise CourseError(
                    f"Encoder {plan.encoder.name!r} gives NaN or infinity at {layer} for {plan.rows.word} "
                    f"{plan.rows.names[low + bad[0]]!r}; look at that content, or use another encoder."
                )
            if plan.job.dtype == "float16" and np.abs(matrix).max(initial=0) > np.finfo(np.float16).max:
                raise CourseError(f"The vectors of {layer} exceed what float16 holds; set dtype: float32.")
            arrays[f"layer_{k}"] = matrix.astype(plan.job.dtype)
        names = np.array(plan.rows.names[low : low + plan.block], dtype=str)
        about = {"key": plan.key, "low": low, "unreadable": said}
        about = json.dumps({**about, "device": plan.encoder.place(plan.job.device)}, ensure_ascii=False)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            short = np.array([digest[:16] for digest in found.digests], dtype=str)
            np.savez(file, names=names, mask=mask, digests=short, about=np.array(about), **arrays)
