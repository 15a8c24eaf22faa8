"""What one task has to keep of an adapted encoder: the parameters that learned, and nothing of the base; no pickle."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from utils.errors import CourseError
from utils.files import atomic_path
from utils.pretraining.adapt.encoders import Encoder
from utils.pretraining.adapt.ways import parameters_of

KIND = "one task of an adapted encoder"


def state_to_store(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return what one task has to keep: name -> copy of each parameter that learned (an encoder, or one with its head)."""
    return {name: parameter.detach().clone().contiguous() for name, parameter in parameters_of(module).items()}


def stored_bytes(module: nn.Module) -> int:
    """How many bytes ``state_to_store`` are."""
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters_of(module).values())


def save_task(module: nn.Module, path: str | Path) -> Path:
    """Write what one task has to keep, with the digest of the base that it belongs to.

    Raises:
        CourseError: nothing was adapted, nothing learned, or the file cannot be written.
    """
    path, encoder, state = Path(path), _encoder(module), state_to_store(module)
    if not state:
        raise CourseError(
            "Nothing of this encoder learned, so that there is nothing to keep: the base is all that the task needs."
        )
    try:
        with atomic_path(path) as temporary:
            save_file(state, str(temporary), {"kind": KIND, "base": encoder.base, "way": encoder.way})
    except SafetensorError as error:
        raise CourseError(f"Cannot write {path}: {error}; free some space or choose another folder.") from error
    return path


def load_task(module: nn.Module, path: str | Path) -> nn.Module:
    """Put what ``save_task`` wrote into an encoder of the same base that was adapted in the same way; return it.

    Raises:
        CourseError: no such file, another kind of file, another base or way, or parts of other names or shapes.
    """
    path, encoder = Path(path), _encoder(module)
    if not path.is_file():
        raise CourseError(f"The checkpoint {path} does not exist; correct the path, or train the task again.")
    try:
        with safe_open(str(path), "pt") as stream:
            about, state = stream.metadata() or {}, {name: stream.get_tensor(name) for name in stream.keys()}
    except SafetensorError as error:
        raise CourseError(f"{path} is no safetensors file or is cut short ({error}); train the task again.") from error
    if about.get("kind") != KIND:
        raise CourseError(f"{path} holds something else than {KIND}; give a file that save_task wrote.")
    if about["base"] != encoder.base:
        raise CourseError(
            f"{path} belongs to another encoder (base {about['base'][:12]}, this one is {encoder.base[:12]}); "
            "adapt the encoder that it was trained on."
        )
    if about["way"] != encoder.way:
        raise CourseError(
            f"{path} was trained as {about['way']!r}, this encoder is adapted as {encoder.way!r}; adapt it so."
        )
    wanted = parameters_of(module)
    odd = sorted(
        name for name in {*state, *wanted}
        if name not in state or name not in wanted or state[name].shape != wanted[name].shape
    )  # fmt: skip
    if odd:
        raise CourseError(
            f"{path} does not fit in its part {odd[0]}; adapt with the settings that it was trained with."
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(state[name])
    return module


def _encoder(module: nn.Module) -> Encoder:
    """The adapted encoder in a module, which may be the module itself."""
    found = [part for part in module.modules() if isinstance(part, Encoder)]
    if len(found) != 1 or not found[0].way:
        raise CourseError("This holds no adapted encoder; call adapt(encoder, way) first.")
    return found[0]
