"""Export features to other tools: one .npy per item as Ducho has it, or one matrix."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from utils.errors import CourseError, suggest
from utils.features.at_scale.shards import write_matrix
from utils.features.matrix import Features
from utils.files import atomic_path

LAYOUTS = ("ducho", "npy", "safetensors")


def file_id(name: str) -> str:
    """A row's id as the stem of a file that no system refuses and no reader cuts: other characters become %XX.

    A dot is one of them, because tools of this layout take the text before the first dot for the id. A pair
    "user<tab>item" becomes user__item; an underscore that would be mistaken for that joint becomes %5F.
    """

    def safe(part: str, pair: bool) -> str:
        quoted = "".join(c if re.match(r"[A-Za-z0-9_-]", c) else "".join(f"%{b:02X}" for b in c.encode()) for c in part)
        return re.sub(r"^_|_$|__", lambda found: found.group().replace("_", "%5F"), quoted) if pair else quoted

    parts = name.split("\t")
    return "__".join(safe(part, len(parts) > 1) for part in parts)


def row_id(stem: str, pair: bool = False) -> str:
    """The id of :func:`file_id`'s stem."""
    return "\t".join(unquote(part) for part in stem.split("__", 1)) if pair else unquote(stem)


def export(
    features: Features,
    folder: str | Path,
    layout: str = "ducho",
    dtype: str = "float32",
    backend: str = "torch",
) -> Path:
    """Write features for another tool.

    Args:
        layout: ``ducho``: folder/backend/model/layer/<id>.npy, each (1, dim); ``npy`` and ``safetensors``: one matrix.
        backend: name of the first folder of the Ducho layout (torch, transformers, sentence_transformers).

    Returns:
        The folder that holds the files. A row without content gets no file.

    Raises:
        CourseError: an unknown layout, ids that differ only in upper and lower case.
    """
    if layout not in LAYOUTS:
        raise suggest(layout, LAYOUTS, "layout")
    if layout != "ducho":
        return write_matrix(features, folder, dtype, layout)
    model = re.sub(r"[^A-Za-z0-9._/-]", "_", str(features.provenance.get("encoder", "model")).split(":", 1)[-1]).strip(
        "/."
    )
    layer = re.sub(r"[^A-Za-z0-9._-]", "_", str(features.provenance.get("layer", "output")))
    target = Path(folder) / backend / model.replace("..", "_") / layer
    stems = [file_id(name) for name in features.item_names]
    seen: dict[str, str] = {}
    for stem, name in zip(stems, features.item_names):
        if stem.lower() in seen:
            raise CourseError(
                f"The ids {seen[stem.lower()]!r} and {str(name)!r} would be one file where case does not count; use "
                "layout npy or safetensors."
            )
        seen[stem.lower()] = str(name)
    for stem, vector in zip(np.asarray(stems)[features.mask], features.matrix[features.mask]):
        with atomic_path(target / f"{stem}.npy") as temporary, open(temporary, "wb") as stream:
            np.save(stream, vector[None].astype(dtype), allow_pickle=False)
    return target
