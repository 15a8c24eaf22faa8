"""The Features matrix: one row per item, tied to item ids, with a mask for what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.arrays import read_arrays
from utils.errors import CourseError
from utils.files import atomic_path

MODALITIES = ("visual", "textual", "audio")


def _three(values: Iterable[Any]) -> str:
    """Up to three values for a message, then how many more."""
    values = list(values)
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return ", ".join(repr(str(value)) for value in values[:3]) + more


def _checked(what: str, provenance: Any, n_rows: int) -> dict[str, Any]:
    """Return what features say about themselves; what is read out of it later must be of its kind."""
    if not isinstance(provenance, Mapping):
        raise CourseError(f"The {what} have a provenance that is a {type(provenance).__name__}; give names and values.")
    for name, size in (("content_rows", n_rows), ("transforms", None), ("cleaning", None)):
        value = provenance.get(name)
        if value is None and name != "content_rows":
            continue
        if name in provenance and not (isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)):
            raise CourseError(f"The {what} have a provenance whose {name} is no list of words; extract them again.")
        if name in provenance and size is not None and len(value) != size:
            raise CourseError(
                f"The {what} have {n_rows} rows but {len(value)} hashes of content (content_rows); extract them again."
            )
    if not isinstance(provenance.get("language") or "", str):
        raise CourseError(f"The {what} have a provenance whose language is no word; extract them again.")
    return dict(provenance)


@dataclass(frozen=True, repr=False, eq=False)
class Features:
    """What one encoder says about every item.

    Attributes:
        modality: ``"visual"``, ``"textual"`` or ``"audio"``.
        matrix: float32 (n_items, dim). Where ``mask`` is False the row is 0 and is no content.
        item_names: str (n_items,), the raw id of each row.
        mask: bool (n_items,), True = this item has the modality.
        provenance: encoder, layer, weights (SHA-256), preprocessing, content (hash), content_rows (one hash per row),
            seconds, and the transforms applied since.

    Raises:
        CourseError: shapes that do not fit together, an id given twice, NaN or infinity in a present row, a provenance
            that is none.
    """

    modality: str
    matrix: np.ndarray
    item_names: np.ndarray
    mask: np.ndarray | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, dtype=np.float32)
        names = np.asarray(self.item_names).astype(str)
        what = f"{self.modality} features"
        if matrix.ndim != 2:
            raise CourseError(f"The {what} have shape {matrix.shape}; give one row per item, (n_items, dim).")
        if len(names) != len(matrix):
            raise CourseError(f"The {what} have {len(matrix)} rows but {len(names)} item ids; give one id per row.")
        mask = np.ones(len(matrix), dtype=bool) if self.mask is None else np.asarray(self.mask).astype(bool)
        if mask.shape != (len(matrix),):
            raise CourseError(f"The {what} have {len(matrix)} rows but a mask of shape {mask.shape}; give one per row.")
        if len(np.unique(names)) != len(names):
            values, counts = np.unique(names, return_counts=True)
            raise CourseError(f"The {what} name {_three(values[counts > 1])} more than once; keep one row per item.")
        bad = np.flatnonzero(mask & ~np.isfinite(matrix).all(axis=1))
        if len(bad):
            raise CourseError(
                f"The {what} hold NaN or infinity in {len(bad)} row(s), first row {bad[0]} "
                f"(item {str(names[bad[0]])!r}); "
                "extract that item again, or set its mask to False."
            )
        if not mask.all():
            matrix = np.where(mask[:, None], matrix, np.float32(0))
        for name, value in (("matrix", matrix), ("item_names", names), ("mask", mask)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "provenance", _checked(what, self.provenance, len(matrix)))

    @property
    def n_items(self) -> int:
        """Rows, present or not."""
        return len(self.matrix)

    @property
    def dim(self) -> int:
        """Length of one item's vector."""
        return self.matrix.shape[1]

    @property
    def coverage(self) -> float:
        """Share of items that have this modality, 0 to 1."""
        return float(self.mask.mean()) if len(self.mask) else 0.0

    def __repr__(self) -> str:
        made = self.provenance.get("encoder", "unknown encoder")
        layer = self.provenance.get("layer")
        steps = "".join(f" -> {step}" for step in self.provenance.get("transforms", ()))
        return (
            f"Features({self.modality}: {self.n_items} items x {self.dim}, {self.mask.sum()} present "
            f"({self.coverage:.0%}), {made}{f' at {layer}' if layer else ''}{steps})"
        )

    def align(self, item_names: Iterable[str]) -> Features:
        """Return the rows in the order of ``item_names``, found by id, never by position.

        Raises:
            CourseError: an id has no row here; the message names up to three.
        """
        wanted = np.asarray(list(item_names)).astype(str)
        row_of = {name: row for row, name in enumerate(self.item_names)}
        missing = [name for name in wanted if name not in row_of]
        if missing:
            unknown = sorted(set(row_of) - set(wanted))
            extra = (
                f"; {len(unknown)} row(s) here belong to no such item, for example {_three(unknown)}" if unknown else ""
            )
            raise CourseError(
                f"The {self.modality} features have no row for {len(missing)} of {len(wanted)} items: "
                f"{_three(missing)}{extra}; extract them from this dataset, or pass the dataset they were made from."
            )
        rows = np.array([row_of[name] for name in wanted], dtype=np.int64)
        provenance = dict(self.provenance)
        if "content_rows" in provenance:
            provenance["content_rows"] = [provenance["content_rows"][row] for row in rows]
        return replace(self, matrix=self.matrix[rows], item_names=wanted, mask=self.mask[rows], provenance=provenance)

    def _changed(self, matrix: np.ndarray, step: str) -> Features:
        """The same items with other vectors; the step is added to the provenance."""
        steps = [*self.provenance.get("transforms", ()), step]
        return replace(self, matrix=matrix, provenance={**self.provenance, "transforms": steps})

    def _present(self) -> np.ndarray:
        if not self.mask.any():
            raise CourseError(
                f"No item has {self.modality} features, so there is nothing to fit; leave the modality out."
            )
        return self.matrix[self.mask]

    def centred(self) -> Features:
        """Subtract the mean of the present rows, so that cosine compares what differs between items."""
        return self._changed(self.matrix - self._present().mean(axis=0), "centred")

    def l2(self) -> Features:
        """Scale each present row to length 1 (a row of zeros stays)."""
        length = np.linalg.norm(self.matrix, axis=1, keepdims=True)
        return self._changed(self.matrix / np.where(length > 0, length, 1), "l2")

    def whitened(self, dim: int | None = None, epsilon: float = 1e-3) -> Features:
        """Principal axes of the present rows, each scaled to variance 1.

        Args:
            dim: how many axes to keep; None keeps all that the present rows can carry.
            epsilon: floor of an axis' variance, as a share of the largest, so that noise is not blown up.

        Raises:
            CourseError: ``dim`` is larger than min(dim, present items - 1).
        """
        present = self._present()
        most = min(self.dim, len(present) - 1)
        dim = most if dim is None else dim
        if not 1 <= dim <= most:
            raise CourseError(f"whitened(dim={dim}): {len(present)} present rows of {self.dim} carry 1 to {most} axes.")
        mean = present.mean(axis=0, dtype=np.float64)
        _, singular, axes = np.linalg.svd(present - mean, full_matrices=False)
        # The sign of an axis is arbitrary: make its largest entry positive, so that every machine gives the same.
        axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
        variance = singular**2 / max(len(present) - 1, 1)
        scale = np.sqrt(np.maximum(variance[:dim], epsilon * variance[0])) if variance[0] > 0 else np.ones(dim)
        return self._changed((self.matrix - mean) @ axes[:dim].T / scale, f"whitened({dim})")

    def shuffled(self, seed: int = 0) -> Features:
        """The control: present rows change owners, so that the vectors are as good and the pairing is wrong."""
        rows = np.flatnonzero(self.mask)
        matrix = self.matrix.copy()
        matrix[rows] = self.matrix[np.random.default_rng(seed).permutation(rows)]
        return self._changed(matrix, f"shuffled({seed})")

    def save(self, path: str | Path) -> None:
        """Write one .npz without pickle, whole or not at all."""
        path = Path(path)
        meta = json.dumps({"modality": self.modality, "provenance": self.provenance}, ensure_ascii=False)
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.savez(
                stream, matrix=self.matrix, item_names=self.item_names.astype(str), mask=self.mask, meta=np.array(meta)
            )

    @classmethod
    def load(cls, path: str | Path) -> Features:
        """Read what :meth:`save` wrote.

        Raises:
            CourseError: the file is missing, or is no such file.
        """
        if not Path(path).is_file():
            raise CourseError(f"{path} does not exist; save features there first, or extract them.")
        stored = read_arrays(path, ("matrix", "item_names", "mask", "meta"), "delete it and extract again")
        try:
            meta = json.loads(str(stored["meta"]))
            return cls(meta["modality"], stored["matrix"], stored["item_names"], stored["mask"], meta["provenance"])
        except CourseError:
            raise
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise CourseError(
                f"{path} cannot be read as saved features ({error}); delete it and extract again."
            ) from error
