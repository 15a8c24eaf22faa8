"""Hand weights from one stage or catalogue to the next: what does not belong to single items, and only if it fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from utils.errors import CourseError
from utils.files import atomic_path

STAGE = {"stage", "inputs", "loss", "dropout", "drop", "mixup", "contrast", "contrasted", "tau"}  # decide no shape


class Encoded(Protocol):
    """What is read of a modality: ``utils.features.Features`` and ``Bags`` have it."""

    dim: int
    provenance: Mapping[str, Any]


def shared_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights that another catalogue can use: all but those of single items (``ids``)."""
    return {name: weight.detach() for name, weight in model.named_parameters() if not name.startswith("ids.")}


def keep_weights(model: nn.Module, features: Mapping[str, Encoded], path: str | Path) -> None:
    """Write the shared weights of a model and what they were trained on to one file (safetensors, no pickle).

    Args:
        features: what the model was made with: the encoder of each modality is written down.
    """
    weights = {name: weight.cpu().contiguous() for name, weight in shared_weights(model).items()}
    with atomic_path(path) as temporary:
        save_file(weights, temporary, {"about": json.dumps(_about(model, features))})


def start_from(model: nn.Module, features: Mapping[str, Encoded], path: str | Path) -> None:
    """Give a model the weights that ``keep_weights`` wrote; ids, where it has them, stay as they are.

    Raises:
        CourseError: the file is missing or damaged, of another model, of other modalities, of another encoder, of vectors
            of another length, or of another size; the model is then as it was.
    """
    if not Path(path).is_file():
        raise CourseError(f"There is no file {path}; pretrain a model and keep_weights(...) there first.")
    try:
        with safe_open(path, "pt") as stream:
            kept = json.loads((stream.metadata() or {})["about"])
            weights = {name: stream.get_tensor(name) for name in stream.keys()}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CourseError(f"{path} cannot be read as kept weights; pretrain again.") from error
    here, what = _about(model, features), f"The weights in {path}"
    for part in ("model", "settings"):
        if kept[part] != here[part]:
            raise CourseError(
                f"{what} have the {part} {_plain(kept[part])}, here it is {_plain(here[part])}; make both alike."
            )
    if set(kept["features"]) != set(here["features"]):
        raise CourseError(
            f"{what} were trained on {_plain(kept['features'])}, and here is {_plain(here['features'])}; "
            "give the same modalities."
        )
    for name, made in kept["features"].items():
        found = here["features"][name]
        if made != found:
            raise CourseError(
                f"{what} read {name} vectors of encoder {made['encoder']!r} and length {made['dim']}, here they are of "
                f"{found['encoder']!r} and length {found['dim']}; encode this catalogue with {made['encoder']!r}."
            )
    own = shared_weights(model)
    if set(own) != set(weights) or any(own[name].shape != weights[name].shape for name in own):
        raise CourseError(
            f"{what} have other parts than this model; make the model with the settings of the first stage."
        )
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(weights[name])


def _about(model: nn.Module, features: Mapping[str, Encoded]) -> dict[str, Any]:
    settings = {name: value for name, value in model.settings.items() if name not in STAGE}
    encoders = {
        name: {"encoder": str(one.provenance.get("encoder", "unknown")), "dim": int(one.dim)}
        for name, one in features.items()
    }
    return {"model": model.name, "settings": settings, "features": encoders}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(name if isinstance(one, Mapping) else f"{name}={one}" for name, one in sorted(value.items()))
    return str(value)
