"""The values of a model as plain JSON beside a table of arrays, and back; nothing in either can run code."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from utils.errors import CourseError

PLAIN = (bool, int, float, str, type(None))
Arrays = dict[str, np.ndarray]


class NotPlain(CourseError):
    """A value is an object of some class, which JSON and arrays cannot hold."""


def take_apart(value: Any, name: str, arrays: Arrays) -> Any:
    """Return ``value`` as JSON; its arrays go into ``arrays`` under names that begin with ``name``.

    Holds numbers, text, None, lists, tuples, dictionaries, numpy arrays and numbers, tensors (any device), sparse matrices.

    Raises:
        NotPlain: anything else, named by its place.
    """
    if isinstance(value, PLAIN) and not isinstance(value, np.generic):  # np.float64 is a float, and would lose its type
        return value
    if isinstance(value, np.str_):
        return str(value)
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [take_apart(one, f"{name}.{n}", arrays) for n, one in enumerate(value)]}
    if isinstance(value, dict):
        pairs = enumerate(value.items())
        return {"dict": [[take_apart(k, f"{name}.{n}.key", arrays), take_apart(v, f"{name}.{n}", arrays)] for n, (k, v) in pairs]}  # fmt: skip
    if sp.issparse(value):
        kept = value if value.format in ("csr", "csc") else value.tocsr()
        for part in ("data", "indices", "indptr"):
            arrays[f"{name}.{part}"] = getattr(kept, part)
        return {kept.format: name, "shape": list(map(int, kept.shape))}
    if isinstance(value, torch.Tensor) and value.layout == torch.strided and value.dtype != torch.bfloat16:
        arrays[name] = np.asarray(value.detach().cpu().numpy(), order="C")
        return {"tensor": name}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        arrays[name] = np.asarray(value, order="C")
        return {"array" if isinstance(value, np.ndarray) else "number": name}
    if isinstance(value, np.ndarray) and value.dtype.kind in "UO" and all(isinstance(one, str) for one in value.flat):
        return {"words": value.tolist()}
    raise NotPlain(
        f"{name} is a {type(value).__name__}, which numbers, text and arrays cannot hold; keep those instead."
    )


def put_together(written: Any, arrays: Arrays) -> Any:
    """Undo ``take_apart``. A form that it never writes raises KeyError, TypeError or ValueError."""
    if isinstance(written, PLAIN):
        return written
    (kind, content), *rest = written.items()
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](put_together(one, arrays) for one in content)
    if kind == "dict":
        return {put_together(k, arrays): put_together(v, arrays) for k, v in content}
    if kind in ("csr", "csc"):
        parts = tuple(arrays[f"{content}.{part}"] for part in ("data", "indices", "indptr"))
        matrix = {"csr": sp.csr_matrix, "csc": sp.csc_matrix}[kind](parts, shape=tuple(dict(rest)["shape"]))
        matrix.check_format(full_check=True)  # places outside the shape would be read from foreign memory
        return matrix
    if kind == "tensor":
        return torch.from_numpy(arrays[content])
    if kind == "array":
        return arrays[content]
    if kind == "number":
        return arrays[content][()]
    if kind == "words":
        return np.array(content, dtype=str)
    raise KeyError(kind)
