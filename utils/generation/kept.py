"""Weights of the stamp generators: written as safetensors in 16 bits, compared with their SHA-256 before they are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from utils.errors import CourseError, suggest
from utils.files import ROOT, atomic_path, file_digest
from utils.generation.stamps import COLOURS, Stamps

FOLDER = ROOT / "data" / "weights"
WEIGHTS = {  # file, SHA-256
    "cvae": ("stamps_cvae.safetensors", "47d8f8f948a0bed0aa39a124f0df302b1509cbf8131e37c091630f82e2246a7f"),
    "diffusion": ("stamps_diffusion.safetensors", "c86e186b6a0400b235b497c85b031521e1b52db4ee5ab9fa1b3f7641f756784e"),
    "eye": ("stamps_eye.safetensors", "920ac7d3f0b9e8d1ad070050c6746b919215bf013bd14b9e2557f7048cc31bd5"),
}


def save_weights(path: str | Path, name: str, model: torch.nn.Module, stamps: Stamps, **more: Any) -> None:
    """Write the weights in 16 bits, and what must be known to use them, as one safetensors file."""
    from safetensors.torch import save_file

    held_out = [title for title, out in zip(stamps.titles, stamps.held_out) if out]
    about = {"name": name, "size": stamps.size, "hues": list(COLOURS), "categories": list(stamps.names)}
    about |= {"held_out": held_out, "licence": "GPL-2.0-or-later, as data/sticker_shop/LICENSE", **more}
    state = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={"about": json.dumps(about)})


def read_weights(
    name: str, path: str | Path | None = None, expected: str | None = None
) -> tuple[dict[str, Any], dict[str, torch.Tensor], Path]:
    """What a file of weights says about itself, its tensors in 32 bits, and where it lies.

    Args:
        path, expected: another file than the shipped one and its SHA-256 ("" asks for none: weights of your own).

    Raises:
        CourseError: an unknown name; a missing, changed or foreign file, or one of another name.
    """
    from safetensors import safe_open

    if name not in WEIGHTS:
        raise suggest(name, WEIGHTS, "generator")
    file, shipped = WEIGHTS[name]
    path = FOLDER / file if path is None else Path(path)
    expected = shipped if expected is None else expected
    if not path.is_file():
        raise CourseError(
            f"The weights {path} are missing; restore them with git checkout, or see data/weights/README.md."
        )
    if expected and (found := file_digest(path)) != expected:
        raise CourseError(f"{path} has SHA-256 {found[:12]}..., not {expected[:12]}...; restore it with git checkout.")
    try:
        with safe_open(path, "pt") as stored:
            about = json.loads(stored.metadata()["about"])
            state = {key: stored.get_tensor(key).float() for key in stored.keys()}  # noqa: SIM118 (no mapping)
        found = about["name"]
    except Exception as error:  # noqa: BLE001  damaged or foreign files raise many kinds of errors
        raise CourseError(f"{path} holds no weights of stamps ({error}); see data/weights/README.md.") from None
    if found != name:
        raise CourseError(f"{path} holds weights of {found!r}, not of {name!r}; name the other one.")
    return about, state, path


def filled(model: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> Any:
    """The model with these weights, for use only."""
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise CourseError(f"{path} holds weights of another architecture; train them anew with this code.") from None
    return model.eval().requires_grad_(False)
