"""Keep a trained model on disk and load it again: one JSON file, one file of weights, no pickle.

A folder holds ``model.json`` (what the model is, what it learned from, what its numbers mean) and ``weights-*.safetensors``
(the numbers). It holds neither the log nor the features: whoever loads a model gives the same split and the same features,
and their digests are compared. ``model.json`` names its weights by what they hold and is written last, so that a folder holds
the model before or the model after, whenever writing is cut short.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from utils.data import Dataset
from utils.errors import CourseError, suggest
from utils.files import atomic_path, write_json
from utils.models import ALL, MODELS, Recommender, TrainedRecommender
from utils.models.base import Interactions, ItemFeatures
from utils.serving.written import Arrays, NotPlain, put_together, take_apart

KIND = "recommender of the course Multimodal Deep Learning for Recommendation"
FORMAT = 1  # rises when an older reader could no longer read what is written
FILE = "model.json"
WEIGHTS = re.compile(r"weights-[0-9a-f]{16}\.safetensors")
SCORED = 4  # users whose scores are kept, to see whether the loaded model says the same
INPUTS = {"settings", "split", "seed", "n_users", "n_items", "features", "item_graphs", "notes"}
# Copies of the features that only building reads; a kept model would be as large as its features.
WORK = {"ials_content": {"tables", "groups"}}


def save_model(model: Recommender, folder: str | Path, dataset: Dataset | None = None) -> Path:
    """Write a model to a folder, from whatever device, and return the folder.

    Args:
        model: of any kind, trained or counted; your own class too (say ``model_class=`` when you load it).
        folder: is made where there is none; a model that it holds is replaced.
        dataset: where given, the names of users and items are kept too, and compared when the model is loaded.

    Raises:
        CourseError: the folder cannot be written, holds a ``model.json`` of something else, or the model has a part that is
            neither number, text nor array.
    """
    folder = Path(folder)
    if (folder / FILE).exists():
        _read(folder)  # someone else's model.json is not overwritten
    arrays: Arrays = {}
    written = {"kind": KIND, "format": FORMAT, "model": model.name}
    written["schema"] = asdict(model.schema) if hasattr(model, "schema") else {}  # a class of your own may state none
    written |= _parts(model, "", arrays) | {"notes": list(model.notes)}
    written |= {"n_users": model.n_users, "n_items": model.n_items, "n_train": len(model.split.train)}
    written |= {"strategy": getattr(model.split, "strategy", ""), "train": train_digest(model.split)}
    written |= {"features": {name: _about(feature) for name, feature in model.features.items()}}
    written |= {"names": _names(model, dataset), "versions": _versions()}
    users = np.unique(np.linspace(0, model.n_users - 1, SCORED).astype(np.int64))
    arrays["scored.users"], arrays["scored.scores"] = users, _scores(model, users)
    written["weights"] = _write_weights(folder, arrays)
    write_json(folder / FILE, written)
    for path in folder.glob("weights-*.safetensors"):
        if WEIGHTS.fullmatch(path.name) and path.name != written["weights"]["file"]:
            with suppress(OSError):  # left over from the model before, and harmless
                path.unlink()
    return folder


def load_model(
    folder: str | Path,
    split: Interactions,
    features: Mapping[str, ItemFeatures] | None = None,
    *,
    dataset: Dataset | None = None,
    model_class: type[Recommender] | None = None,
    **given: Any,
) -> Recommender:
    """Load a model that `save_model` wrote, on the CPU; it scores as it did, and ``train`` goes on from its weights.

    Args:
        split: the split that the model was trained on (the same train part; the other parts may differ).
        features: the features that it was trained on; modalities that it never saw are left aside.
        dataset: where given, names of users and items are compared with those that were kept.
        model_class: your own class, where the model is none of the course's.
        given: settings that no file can hold, such as ``reviews=`` of egcf.

    Raises:
        CourseError: no model, a damaged one, one of a later course, or one of another split, of other features, names or
            scores than those given.
    """
    folder = Path(folder)
    written = _read(folder)
    kind = _class_of(written, folder, model_class)
    try:
        _check_split(written, split, folder)
        features = _fitting(written, features or {}, folder)
        _check_names(written, features, dataset, folder)
        missing = [name for name in written["given"] if name not in given]
        if missing or set(given) - set(written["given"]):
            extra = sorted(set(given) - set(written["given"]))
            words = f"needs {missing[0]}=, which no file can hold" if missing else f"has its own {extra[0]}"
            raise CourseError(
                f"{folder}: the model {words}; {'pass' if missing else 'leave out'} {(missing or extra)[0]}=."
            )
        arrays = _weights(folder, written["weights"])
        model = _put_together(written, kind, split, features, arrays, given)
        model.notes = [str(note) for note in written["notes"]]
        users, scores = arrays["scored.users"], arrays["scored.scores"]
        found = _scores(model, users)
        near = 1e-3 * float(np.abs(scores[np.isfinite(scores)]).max(initial=0))
        if not np.allclose(found, scores, rtol=1e-3, atol=near, equal_nan=True):  # devices differ by far less
            made = ", ".join(f"{name} {number}" for name, number in written["versions"].items())
            raise CourseError(
                f"{folder}: the model scores otherwise than when it was kept (with {made}); train it again here."
            )
    except CourseError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise CourseError(f"{folder} holds a damaged model ({why}); keep it again.") from error
    return model


def train_digest(split: Interactions) -> str:
    """Return the SHA-256 of the train part and the numbers of users and items; the order of the rows does not count."""
    rows = np.asarray(split.train, dtype=np.int64)
    keys = np.sort(rows[:, 0] * split.n_items + rows[:, 1]).astype("<i8")
    return hashlib.sha256(f"{split.n_users} {split.n_items} ".encode() + keys.tobytes()).hexdigest()


def feature_digest(feature: ItemFeatures) -> str:
    """Return the SHA-256 of a modality: its matrix as float32 and its mask."""
    matrix, mask = np.asarray(feature.matrix, dtype="<f4", order="C"), np.asarray(feature.mask, dtype=bool)
    digest = hashlib.sha256(f"{matrix.shape} ".encode())
    digest.update(matrix.tobytes())
    digest.update(mask.tobytes())
    return digest.hexdigest()


# ---- writing ----


def _parts(model: Recommender, name: str, arrays: Arrays) -> dict[str, Any]:
    """A model's seed, settings and numbers; of a trained one its weights, of a counted one what it keeps of its counts."""
    settings, given = [], []
    for key, value in model.settings.items():
        try:
            settings.append([key, take_apart(value, f"{name}settings.{key}", arrays)])
        except NotPlain:
            given.append(key)
    parts = {"seed": int(model.seed), "settings": settings, "given": given, "modalities": list(model.features)}
    if isinstance(model, TrainedRecommender):
        state = {key: take_apart(value, f"{name}state.{key}", arrays) for key, value in model.state_dict().items()}
        return parts | {"state": state}
    taken = model.split.matrix("train")
    counted: dict[str, Any] = {}
    for key, value in vars(model).items():
        if key in INPUTS or key in WORK.get(model.name, ()):
            continue
        if isinstance(value, Recommender):  # a model made of models
            counted[key] = {"model": value.name, **_parts(value, f"{name}{key}.", arrays)}
        elif sp.issparse(value) and value.shape == taken.shape and not (value != taken).nnz:
            counted[key] = {"train": None}  # the log stays with whoever has it
        else:
            counted[key] = take_apart(value, f"{name}{key}", arrays)
    return parts | {"counted": counted}


def _write_weights(folder: Path, arrays: Arrays) -> dict[str, str]:
    """Write the arrays to a file that is named after what they hold."""
    digest = _digest(arrays)
    path = folder / f"weights-{digest[:16]}.safetensors"
    try:
        with atomic_path(path) as temporary:
            save_file(arrays, str(temporary))
    except SafetensorError as error:
        raise CourseError(f"Cannot write {path}: {error}; free some space or choose another folder.") from error
    return {"file": path.name, "digest": digest}


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.asarray(array, order="C").data if array.size else b"")
    return digest.hexdigest()


def _about(feature: ItemFeatures) -> dict[str, Any]:
    made = getattr(feature, "provenance", {}).get("encoder", "")
    return {"sha256": feature_digest(feature), "shape": list(np.shape(feature.matrix)), "encoder": str(made)}


def _names(model: Recommender, dataset: Dataset | None) -> dict[str, list[str]]:
    """The names of users and items, where they are known: from the dataset, or those of the features' rows."""
    if dataset is not None:
        if (dataset.n_users, dataset.n_items) != (model.n_users, model.n_items):
            raise CourseError(
                f"{dataset.name} has {dataset.n_users:,} users and {dataset.n_items:,} items, the model {model.n_users:,} and "
                f"{model.n_items:,}; give the dataset whose split the model was trained on."
            )
        return {"users": dataset.users.tolist(), "items": dataset.item_names.tolist()}
    rows = [feature.item_names.tolist() for feature in model.features.values() if hasattr(feature, "item_names")]
    return {"items": rows[0]} if rows else {}


def _versions() -> dict[str, str]:
    packages = ("numpy", "scipy", "torch", "safetensors")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _scores(model: Recommender, users: np.ndarray) -> np.ndarray:
    scores = torch.as_tensor(model.score(users)).detach().cpu().float().numpy()
    return np.array(scores, order="C")


# ---- reading ----


def _read(folder: Path) -> dict[str, Any]:
    """Return model.json, if it is one of ours and not of a later course."""
    path = folder / FILE
    if not path.is_file():
        raise CourseError(f"{folder} holds no {FILE}; give a folder that save_model(model, folder) wrote.")
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CourseError(
            f"{path} cannot be read as JSON ({error}); keep the model again, in another folder."
        ) from error
    if not isinstance(written, dict) or written.get("kind") != KIND:
        raise CourseError(f"{path} is not a model of this course; choose another folder.")
    if written.get("format") != FORMAT:
        raise CourseError(
            f"{path} has format {written.get('format')!r}, and this course reads {FORMAT}; take the course that wrote it."
        )
    if not isinstance(written.get("model"), str) or type(written.get("seed")) is not int:
        raise CourseError(f"{path} does not say which model it keeps, and with which seed; keep the model again.")
    return written


def _class_of(written: dict[str, Any], folder: Path, own: type[Recommender] | None) -> type[Recommender]:
    name = written.get("model")
    if own is not None:
        if own.name != name:
            raise CourseError(
                f"{folder} holds a {name!r}, and model_class is {own.name!r}; give the class that was kept."
            )
        return own
    known = {**ALL, **MODELS}  # a notebook may have added one to MODELS
    if name not in known:
        raise CourseError(f"{folder}: {suggest(str(name), known, 'model')} For a class of your own, pass model_class=.")
    return known[name]


def _check_split(written: dict[str, Any], split: Interactions, folder: Path) -> None:
    if written["train"] != train_digest(split):
        was = f"{written['n_train']:,} interactions of {written['n_users']:,} users and {written['n_items']:,} items"
        now = f"{len(split.train):,} of {split.n_users:,} and {split.n_items:,}"
        how = f" (strategy {written['strategy']!r})" if written["strategy"] else ""
        raise CourseError(
            f"{folder} was trained on another train part: {was}{how}, this split has {now}; split the same dataset with the "
            "same strategy, shares and seed."
        )


def _fitting(written: dict[str, Any], features: Mapping[str, ItemFeatures], folder: Path) -> dict[str, ItemFeatures]:
    """The features that the model saw, if those given are the same numbers."""
    for modality, about in written["features"].items():
        if modality not in features:
            raise CourseError(f"{folder} was trained with {modality} features; pass features={{{modality!r}: ...}}.")
        if feature_digest(features[modality]) != about["sha256"]:
            made = f" of {about['encoder']}" if about["encoder"] else ""
            raise CourseError(
                f"{folder} was trained with other {modality} features{made}, {about['shape'][0]} x {about['shape'][1]}; load "
                "those, with the same transforms."
            )
    return {modality: features[modality] for modality in written["features"]}


def _check_names(
    written: dict[str, Any], features: Mapping[str, ItemFeatures], dataset: Dataset | None, folder: Path
) -> None:
    """Refuse names in another order: the same numbers would then mean other users or items."""
    given: list[tuple[str, list[str]]] = []
    if dataset is not None:
        given += [("users", dataset.users.tolist()), ("items", dataset.item_names.tolist())]
    given += [("items", feature.item_names.tolist()) for feature in features.values() if hasattr(feature, "item_names")]
    for what, names in given:
        kept = written["names"].get(what, names)
        if kept != names:
            place = next((n for n, (a, b) in enumerate(zip(kept, names)) if a != b), min(len(kept), len(names)))
            raise CourseError(
                f"{folder} was trained with other {what}: they differ from place {place} on "
                f"({', '.join(map(repr, kept[place : place + 1]))}); load the same dataset."
            )


def _weights(folder: Path, about: dict[str, str]) -> Arrays:
    """Read the arrays, if the file is the one that model.json speaks of."""
    path = folder / about["file"]
    if not WEIGHTS.fullmatch(about["file"]) or not path.is_file():
        raise CourseError(
            f"{folder} lacks its weights {about['file']!r}; copy the whole folder, or keep the model again."
        )
    try:
        arrays = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise CourseError(
            f"{path} cannot be read ({error}); copy the folder again, or keep the model again."
        ) from error
    if _digest(arrays) != about["digest"]:
        raise CourseError(f"{path} is not the file that was written; copy the folder again, or keep the model again.")
    return arrays


def _put_together(
    written: dict[str, Any], kind: type[Recommender], split: Interactions, features: Mapping[str, ItemFeatures],
    arrays: Arrays, given: Mapping[str, Any],
) -> Recommender:  # fmt: skip
    settings = {key: put_together(value, arrays) for key, value in written["settings"]} | dict(given)
    own = {modality: features[modality] for modality in written["modalities"]}
    if "state" in written:
        model = kind(split, own, seed=written["seed"], **settings)
        model.load_state_dict({key: put_together(value, arrays) for key, value in written["state"].items()})
        return model.eval()
    model = _uncounted(kind, split, own, written["seed"], settings)
    for key, value in written["counted"].items():
        of_class = getattr(kind, key, None)
        if not key.isidentifier() or key in INPUTS or callable(of_class) or isinstance(of_class, property):
            raise CourseError(f"A kept {kind.name} has no part {key!r}; keep the model again.")
        if isinstance(value, dict) and "model" in value:
            part = _put_together(value, ALL[value["model"]], split, features, arrays, {})
        elif isinstance(value, dict) and "train" in value:
            part = split.matrix("train")
        else:
            part = put_together(value, arrays)
        setattr(model, key, part)
    return model


def _uncounted(kind: type[Recommender], *inputs: Any) -> Recommender:
    """A model with its inputs checked and nothing counted: what ``build`` would make is read from the file."""
    split, features, seed, settings = inputs
    empty = type(kind.__name__, (kind,), {"build": lambda self: None})
    model = empty(split, features, seed=seed, **settings)
    model.__class__ = kind
    return model
