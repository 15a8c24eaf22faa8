"""Convert the MusicNN checkpoint (TensorFlow 1) into safetensors, with numpy and without TensorFlow.

    python -m utils.lab musicnn WHEEL_OR_DIR OUT [--training-set MTT]

The course runs this once and ships the result; a reader runs it to see that nothing was made up.
A TF1 checkpoint is two files. ``.data-00000-of-00001`` is the numbers, one tensor after the other. ``.index`` is a
sorted table (the LevelDB format) of name -> a small protocol buffer that says dtype, shape, offset and size.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from utils.errors import CourseError
from utils.files import atomic_path, sha256

TABLE_MAGIC = 0xDB4775248B80FB57  # last 8 bytes of every LevelDB table
DT_FLOAT = 1
DATA, INDEX = ".data-00000-of-00001", ".index"

# Name in our module -> number in the checkpoint, where layers are counted in the order in which they were built.
CONVOLUTIONS = ["timbral.0", "timbral.1", "temporal.0", "temporal.1", "temporal.2", "middle.0", "middle.1", "middle.2"]
NORMS = ["norm", *(f"{name}.norm" for name in CONVOLUTIONS), "pool_norm", "penultimate_norm"]
DENSE = ["penultimate", "tags"]
NORM_PARTS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Read one base-128 integer; return (value, position after it)."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def message(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a protocol buffer; nested messages come as bytes."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind == 5:
            value, at = data[at : at + 4], at + 4
        else:
            raise CourseError(f"The checkpoint index has a field of wire type {kind}; it is damaged, fetch it again.")
        yield tag >> 3, value


def block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of one table block: each key shares a prefix with the key before it."""
    data = table[offset : offset + size]
    n_restarts = struct.unpack("<I", data[-4:])[0]
    end, at, key = size - 4 * (n_restarts + 1), 0, b""
    while at < end:
        shared, at = varint(data, at)
        own, at = varint(data, at)
        length, at = varint(data, at)
        key = key[:shared] + data[at : at + own]
        at += own
        yield key, data[at : at + length]
        at += length


def read_index(table: bytes) -> dict[str, tuple[tuple[int, ...], int, int]]:
    """Return tensor name -> (shape, offset in bytes, size in bytes), float32 tensors only."""
    if len(table) < 48 or struct.unpack("<Q", table[-8:])[0] != TABLE_MAGIC:
        raise CourseError("The .index file is no TensorFlow checkpoint index; give the wheel or its unpacked folder.")
    footer, at = table[-48:], 0
    for _ in range(2):  # the handle of the meta block, which we skip, then that of the block that lists the blocks
        _, at = varint(footer, at)
        _, at = varint(footer, at)
    at = 0
    _, at = varint(footer, at)
    _, at = varint(footer, at)
    offset, at = varint(footer, at)
    size, at = varint(footer, at)
    found = {}
    for _, handle in block(table, offset, size):
        start, after = varint(handle, 0)
        length, _ = varint(handle, after)
        for key, value in block(table, start, length):
            entry = dict(message(value))
            if key and entry.get(1) == DT_FLOAT:
                # TensorShapeProto: repeated field 2 = dimension, whose field 1 = its size
                shape = tuple(
                    int(dict(message(dim)).get(1, 0)) for field, dim in message(entry.get(2, b"")) if field == 2
                )
                found[key.decode()] = shape, int(entry.get(4, 0)), int(entry[5])
    return found


def read_checkpoint(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Return tensor name -> float32 array for every float tensor of the checkpoint."""
    arrays = {}
    for name, (shape, offset, size) in read_index(index).items():
        if offset + size > len(data):
            raise CourseError(f"Tensor {name} lies beyond the end of the .data file; it is cut short, fetch it again.")
        arrays[name] = np.frombuffer(data, "<f4", size // 4, offset).reshape(shape)
    return arrays


def to_torch(checkpoint: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename and transpose to the state dict of ``utils.features.encoders.musicnn.MusicNN``.

    TensorFlow stores a convolution as (time, frequency, in, out), PyTorch as (out, in, time, frequency). In the middle
    layers the 561 or 64 channels stand where frequency was: (7, channels, 1, 64) becomes
    a 1-d kernel (64, channels, 7).
    """

    def numbered(base: str, number: int) -> str:
        return base if number == 0 else f"{base}_{number}"

    state = {}
    for number, name in enumerate(CONVOLUTIONS):
        source = numbered("conv2d", number)
        kernel = checkpoint[f"{source}/kernel"]
        is_middle = name.startswith("middle")
        state[f"{name}.conv.weight"] = kernel[:, :, 0].transpose(2, 1, 0) if is_middle else kernel.transpose(3, 2, 0, 1)
        state[f"{name}.conv.bias"] = checkpoint[f"{source}/bias"]
    for number, name in enumerate(NORMS):
        for theirs, ours in NORM_PARTS.items():
            state[f"{name}.{ours}"] = checkpoint[f"{numbered('batch_normalization', number)}/{theirs}"]
    for number, name in enumerate(DENSE):
        state[f"{name}.weight"] = checkpoint[f"{numbered('dense', number)}/kernel"].T
        state[f"{name}.bias"] = checkpoint[f"{numbered('dense', number)}/bias"]
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in state.items()}


def read_member(source: Path, name: str) -> bytes:
    """Return the file ``musicnn/<name>`` of a wheel or of its unpacked folder."""
    try:
        if source.is_dir():
            return (source / "musicnn" / name).read_bytes()
        with zipfile.ZipFile(source) as wheel:
            return wheel.read(f"musicnn/{name}")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise CourseError(f"{source} holds no musicnn/{name}; give the musicnn 0.1.0 wheel or its folder.") from error


def tag_names(source: Path, training_set: str) -> list[str]:
    """Return the 50 tag names in the order of the output units (read as a literal, never executed)."""
    tree = ast.parse(read_member(source, "configuration.py").decode())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == f"{training_set}_LABELS":
            return ast.literal_eval(node.value)
    raise CourseError(f"musicnn/configuration.py names no {training_set}_LABELS; use MSD or MTT.")


def convert(source: str | Path, out: str | Path, training_set: str = "MTT") -> str:
    """Convert one checkpoint of the musicnn package and return the SHA-256 of the file written.

    Args:
        source: the musicnn 0.1.0 wheel, or the folder it was unpacked to.
        out: the safetensors file to write (float32, about 3.2 MB).
        training_set: which checkpoint; ``"MTT"`` (MagnaTagATune: instruments, voices, tempo; the course's choice) or
            ``"MSD"`` (Million Song Dataset: genres, moods).
    """
    source = Path(source)
    data = read_member(source, f"{training_set}_musicnn/{DATA}")
    state = to_torch(read_checkpoint(read_member(source, f"{training_set}_musicnn/{INDEX}"), data))
    about = {
        "source": f"musicnn 0.1.0, {training_set}_musicnn/{DATA}",
        "source_sha256": hashlib.sha256(data).hexdigest(),
        "licence": "ISC, Copyright (c) Music Technology Group, Universitat Pompeu Fabra 2019",
        "tags": tag_names(source, training_set),
    }
    with atomic_path(out) as temporary:
        # one metadata entry only: safetensors writes several in random order, and the file would never hash the same
        temporary.write_bytes(save(state, {"about": json.dumps(about)}))
    return sha256(out)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, convert, print the checksum."""
    parser = argparse.ArgumentParser(prog="python -m utils.lab musicnn", description=convert.__doc__)
    parser.add_argument("source", help="the musicnn 0.1.0 wheel or its unpacked folder")
    parser.add_argument("out", help="the safetensors file to write")
    parser.add_argument("--training-set", default="MTT", choices=["MTT", "MSD"])
    options = parser.parse_args(arguments)
    print(convert(options.source, options.out, options.training_set), options.out)
