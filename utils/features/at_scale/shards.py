"""Merge the shards of an extraction by id, and refuse what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from utils.arrays import check_sum, read_array, read_arrays, write_array, write_sums
from utils.errors import CourseError
from utils.features.at_scale.blocks import SIDES, digest_of, folder_name, parts_folder, read_json
from utils.features.at_scale.join import join
from utils.features.matrix import Features
from utils.files import atomic_path, write_json, write_text

AGAIN = "run that shard again"


def merge(out: str | Path) -> list[Path]:
    """Merge the shards of a job; see :func:`_merge`, whose errors it gives, also where a file of the job is no such file."""
    try:
        return _merge(Path(out))
    except CourseError:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise CourseError(
            f"{parts_folder(Path(out))} holds a job or shard that is none ({type(error).__name__}: {error}); delete that folder "
            "and run the extraction again."
        ) from error


def _merge(out: Path) -> list[Path]:
    """Write the matrices of a job whose shards are all there.

    For ``npy``: <modality>.npy, <modality>_mask.npy when a row lacks the modality, <modality>.json (provenance), and
    items.txt (rows.txt for interactions): the layout of a dataset's folder ``features``. With several layers, one folder
    for each. An image_text job gives visual/, textual/ and, with a fusion, fused/.

    Returns:
        The folders that hold a matrix.

    Raises:
        CourseError: no job there; a shard that is missing, doubled or of another job; a part that is lost or torn.
    """
    pair = parts_folder(out) / "sides.json"
    if pair.exists():
        folders = {side: merge(out / side) for side in SIDES}
        fusion = read_json(pair)["fusion"]
        written = [folder for each in folders.values() for folder in each]
        if fusion:
            both = {side: read_matrix(folders[side][0], side) for side in SIDES}
            about = read_json(parts_folder(out / SIDES[0]) / "job.json")
            written.append(write_matrix(join(both, fusion), out / "fused", about["dtype"], about["format"]))
        return written
    job_path = parts_folder(out) / "job.json"
    if not job_path.exists():
        raise CourseError(f"{out} holds no extraction job (no parts/job.json); give the folder that --out named.")
    job = read_json(job_path)
    parts = checked_parts(out, job)
    folders = []
    for k, layer in enumerate(job["layers"]):
        folder = out if len(job["layers"]) == 1 else out / folder_name(layer)
        folders.append(_write_layer(job, parts, k, layer, folder))
    return folders


def checked_parts(out: Path, job: dict[str, Any]) -> list[Path]:
    """The files of all blocks, in order, from the shards' signatures."""
    signed = [(path, read_json(path)) for path in sorted(parts_folder(out).glob("shard-*.json"))]
    if not signed:
        raise CourseError(f"No shard in {parts_folder(out)} is finished; run the extraction to its end first.")
    for path, shard in signed:
        if shard.get("key") != job["key"]:
            raise CourseError(
                f"{path} is a foreign shard (made with other content or settings); delete it, or {AGAIN}."
            )
    counts = sorted({shard["of"] for _, shard in signed})
    if len(counts) > 1:
        raise CourseError(
            f"{parts_folder(out)} holds doubled work: shards of {' and of '.join(map(str, counts))}; delete the "
            f"shard-*.json of one of them."
        )
    owner: dict[int, Path] = {}
    for path, shard in signed:
        for number in map(int, shard["parts"]):
            if number in owner:
                raise CourseError(
                    f"Block {number} is doubled: {owner[number].name} and {path.name} both hold it; delete one of them."
                )
            owner[number] = path
    missing = sorted(set(range(counts[0])) - {shard["shard"] for _, shard in signed})
    if missing:
        names = ", ".join(f"{index}/{counts[0]}" for index in missing[:8])
        raise CourseError(f"{out} lacks {len(missing)} of {counts[0]} shards: {names}; run them with --shard i/n.")
    names = {int(number): name for _, shard in signed for number, name in shard["parts"].items()}
    n_blocks = -(-job["n_rows"] // job["block"])
    if sorted(names) != list(range(n_blocks)):
        lost = sorted(set(range(n_blocks)) - set(names))
        raise CourseError(f"{out} lacks block {lost[0] if lost else max(names)} of {n_blocks}; {AGAIN}.")
    return [parts_folder(out) / names[number] for number in range(n_blocks)]


def _part(path: Path, job: dict[str, Any], wanted: tuple[str, ...]) -> dict[str, Any]:
    """The named arrays of one part, and what it says about itself.

    Raises:
        CourseError: lost, torn, or of another job.
    """
    if not path.is_file():
        raise CourseError(f"{path} is missing, although its shard is finished; {AGAIN}.")
    found = read_arrays(path, (*wanted, "about"), f"delete it and {AGAIN}")
    try:
        about = json.loads(str(found.pop("about")))
    except (ValueError, RecursionError) as error:
        raise CourseError(f"{path} cannot be read ({type(error).__name__}); delete it and {AGAIN}.") from error
    if not isinstance(about, dict) or about.get("key") != job["key"]:
        raise CourseError(f"{path} is a foreign part (made with other content or settings); delete it and {AGAIN}.")
    return {**found, **about}


def _write_layer(job: dict[str, Any], parts: list[Path], k: int, layer: str, folder: Path) -> Path:
    """Read the parts one after another into one matrix on disk: memory for one block, whatever the number of rows."""
    names: list[str] = []
    digests: list[str] = []
    unreadable: list[str] = []
    mask = np.zeros(job["n_rows"], dtype=bool)
    dims: set[int] = set()
    devices: set[str] = set()
    for path in parts:
        part = _part(path, job, ("names", "mask", "digests"))
        if part["low"] != len(names):
            raise CourseError(f"{path} starts at row {part['low']}, not {len(names)}; delete it and {AGAIN}.")
        mask[len(names) : len(names) + len(part["names"])] = part["mask"]
        names += part["names"].tolist()
        digests += part["digests"].tolist()
        unreadable += part["unreadable"]
        devices.add(part.get("device", "cpu"))
        if part["mask"].any():
            dims.add(_part(path, job, (f"layer_{k}",))[f"layer_{k}"].shape[1])
    if digest_of(names) != job["row_ids"] or len(set(names)) != len(names):
        raise CourseError(
            f"The ids in the parts of {parts[0].parent} are not those of the job; delete parts and run again."
        )
    if len(dims) != 1:
        why = "no row could be read" if not dims else f"vectors of {sorted(dims)} numbers"
        raise CourseError(f"The layer {layer} has {why}; look at the content, or use another layer.")
    dim = dims.pop()
    row_of = {name: row for row, name in enumerate(names)}

    def fill(matrix: np.ndarray) -> None:
        for path in parts:
            part = _part(path, job, ("names", f"layer_{k}"))
            if part[f"layer_{k}"].shape[1]:
                matrix[[row_of[name] for name in part["names"].tolist()]] = part[f"layer_{k}"]

    provenance = {name: value for name, value in job.items() if name not in ("layers", "key", "row_ids")}
    provenance |= {"layer": layer, "content": digest_of(digests), "content_rows": digests, "unreadable": unreadable}
    provenance["device"] = ", ".join(sorted(devices))
    return _save(folder, job["modality"], names, mask, dim, fill, provenance, job["dtype"], job["format"])


def _save(
    folder: Path,
    modality: str,
    names: list[str],
    mask: np.ndarray,
    dim: int,
    fill: Callable[[np.ndarray], None],
    provenance: dict[str, Any],
    dtype: str,
    kind: str,
) -> Path:
    """Write one matrix (len(names), dim) with its ids; ``fill(array)`` puts the rows into an array of zeros."""
    shape = (len(names), dim)
    if kind == "safetensors":
        from safetensors.numpy import save_file

        matrix = np.zeros(shape, dtype=dtype)
        fill(matrix)
        meta = {"item_names": json.dumps(names), "modality": modality, "provenance": json.dumps(provenance)}
        with atomic_path(folder / f"{modality}.safetensors") as temporary:
            save_file({"matrix": matrix, "mask": mask}, str(temporary), metadata=meta)
        write_sums(folder, (f"{modality}.safetensors",))
        return folder
    # Last the matrix: a folder that has it has everything.
    ids_file = "rows.txt" if provenance.get("source_of_rows") == "interactions" else "items.txt"
    write_text(folder / ids_file, "".join(f"{name}\n" for name in names))
    mask_path = folder / f"{modality}_mask.npy"
    if mask.all():
        mask_path.unlink(missing_ok=True)
    else:
        write_array(mask_path, mask)
    write_json(folder / f"{modality}.json", provenance)
    with atomic_path(folder / f"{modality}.npy") as temporary:
        matrix = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        fill(matrix)
        matrix.flush()
        del matrix  # Windows renames no file that is open
    write_sums(folder, (f"{modality}.npy", mask_path.name))
    return folder


def write_matrix(features: Features, folder: str | Path, dtype: str = "float32", kind: str = "npy") -> Path:
    """Write Features in the layout of :func:`merge` (``npy`` or ``safetensors``)."""
    if dtype == "float16" and np.abs(features.matrix).max(initial=0) > np.finfo(np.float16).max:
        raise CourseError(f"The {features.modality} features exceed what float16 holds; use dtype float32.")

    def fill(matrix: np.ndarray) -> None:
        matrix[:] = features.matrix

    about, names = {**features.provenance, "dtype": dtype}, features.item_names.tolist()
    return _save(Path(folder), features.modality, names, features.mask, features.dim, fill, about, dtype, kind)


def _matrices(folder: Path, modality: str = "*") -> list[Path]:
    """Files of a folder that hold a matrix."""
    found = sorted(path for path in folder.glob(f"{modality}.*") if path.suffix in (".npy", ".safetensors"))
    return [path for path in found if not path.stem.endswith("_mask")]


def read_matrix(folder: str | Path, modality: str = "") -> Features:
    """Read what :func:`merge` or :func:`write_matrix` wrote.

    Args:
        modality: may be left out when the folder holds one matrix.

    Raises:
        CourseError: nothing there, ids that do not fit the rows, a broken file.
    """
    folder = Path(folder)
    found = _matrices(folder, modality or "*")
    if len(found) != 1:
        what = "no matrix" if not found else f"{len(found)} matrices ({', '.join(path.name for path in found)})"
        raise CourseError(f"{folder} holds {what}; give a folder that an extraction wrote, and the modality.")
    (path,) = found
    check_sum(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "np") as stored:
                meta = stored.metadata()
                names, about = json.loads(meta["item_names"]), json.loads(meta["provenance"])
                return Features(path.stem, stored.get_tensor("matrix"), names, stored.get_tensor("mask"), about)
        matrix = read_array(path, "merge or extract again")
        ids = folder / "items.txt" if (folder / "items.txt").exists() else folder / "rows.txt"
        names = ids.read_text(encoding="utf-8").split("\n")[:-1]
        mask_path = folder / f"{path.stem}_mask.npy"
        mask = read_array(mask_path, "merge or extract again") if mask_path.exists() else None
        about = read_json(path.with_suffix(".json"))
    except CourseError:
        raise
    except Exception as error:
        raise CourseError(f"{path} cannot be read ({error}); merge or extract again.") from error
    return Features(path.stem, matrix, names, mask, about)


def describe(folder: Path) -> str:
    """One line about a merged matrix, from its header: the rows stay on disk."""
    path = _matrices(folder)[0]
    if path.suffix == ".npy":
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        shape, kind = matrix.shape, str(matrix.dtype)
        mask_path = path.with_name(f"{path.stem}_mask.npy")
        present = int(read_array(mask_path).sum()) if mask_path.exists() else shape[0]
    else:
        from safetensors import safe_open

        with safe_open(path, "np") as stored:
            part = stored.get_slice("matrix")
            shape, kind, present = tuple(part.get_shape()), part.get_dtype(), int(stored.get_tensor("mask").sum())
    return f"{path}: {shape[0]} rows x {shape[1]} ({kind}), {present} present"
