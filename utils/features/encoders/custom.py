"""Custom encoders: your own module, by a dotted path ``own:package.module:factory`` or the object itself.

The factory takes no argument and returns one of three things: a torch module (pictures: it gets (batch, 3, h, w) and is
listened to at a layer), a :class:`Network` (its own ``prepare`` and ``encode``), or a function from a list of texts, of
sounds at 16 kHz, or of pictures uint8 (size, size, 3), to an array (n, dim).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from utils.errors import CourseError, suggest
from utils.features.encoders.audio import sound_network
from utils.features.encoders.image import IMAGENET, NORMALISE, image_network, listen, normaliser, reader
from utils.features.encoders.pretrained import before_classifier
from utils.features.encoders.sound import MAX_SECONDS
from utils.features.encoders.weights import file_digest
from utils.features.registry import CALLABLE, Encoder, Network, register_family

OPTIONS = {
    "visual": {"size": 224, "fit": "pad", "weights": ""},
    "textual": {"weights": ""},
    "audio": {"max_seconds": MAX_SECONDS, "weights": ""},
}


def dotted(path: str) -> Callable[[], Any]:
    """Import and return what ``package.module:factory`` names. Importing runs that module: give only code that you trust.

    Raises:
        CourseError: no such module or name in it, or something that cannot be called.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name:
        raise CourseError(f"Encoder 'own:{path}': write own:package.module:factory, with one colon before the factory.")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise CourseError(
            f"Encoder 'own:{path}': {error}; run from the folder that holds {module_name.split('.')[0]}, or install it."
        ) from error
    if not hasattr(module, name):
        raise suggest(name, [each for each in vars(module) if not each.startswith("_")], f"name in {module_name}")
    if not callable(getattr(module, name)):
        raise CourseError(f"Encoder 'own:{path}': {name} cannot be called; name a function or class without arguments.")
    return getattr(module, name)


def load_state(module: nn.Module, path: str) -> None:
    """Put the weights of a file into a module: safetensors, or a state_dict of torch; never a pickled module.

    Raises:
        CourseError: no such file, a file that would have to run code, weights of another module.
    """
    file = Path(path)
    if not file.is_file():
        raise CourseError(f"The weights {path} do not exist; correct the path.")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CourseError(
            f"The weights {path} are no plain tensors ({type(error).__name__}), and a pickled module can run code when it "
            "is opened; save module.state_dict() as .safetensors instead."
        ) from error
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CourseError(
            f"The weights {path} do not fit {type(module).__name__}; give those of this module."
        ) from error


def _made(thing: Any) -> Any:
    """Call a factory; a module or a Network is taken as it is."""
    return thing if isinstance(thing, (nn.Module, Network)) else thing()


def _identity(thing: Any, weights: str) -> str:
    """SHA-256 of what decides the vectors: the source file, a module's structure and tensors, the file of weights.

    What a Network or function made by a factory reads from elsewhere is not seen; the factory's file is.
    """
    total = hashlib.sha256()
    try:
        kind = type(thing) if isinstance(thing, (nn.Module, Network)) else inspect.unwrap(thing)
        total.update(file_digest(Path(inspect.getsourcefile(kind) or "")).encode())
    except (TypeError, OSError):  # made in a notebook cell: nothing that another run could recognise
        total.update(secrets.token_bytes(16))
    made = _made(thing)
    if isinstance(thing, Network):  # its functions may hold anything
        total.update(secrets.token_bytes(16))
    if isinstance(made, nn.Module):
        total.update(repr(made).encode())
        if not weights:  # without a seed in the factory every process would have another network: the keys would differ
            for name, tensor in made.state_dict().items():
                total.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    if weights and Path(weights).is_file():
        total.update(file_digest(Path(weights)).encode())
    return total.hexdigest()


def custom_encoder(thing: Any, modality: str, name: str = "") -> Encoder:
    """An Encoder of your module, Network or factory; see the first lines of this file."""
    name = name or f"own:{getattr(thing, '__module__', '')}:{getattr(thing, '__qualname__', type(thing).__name__)}"

    def load(layer: str | tuple[str, ...], weights: str = "", device: str = "cpu", **options: Any) -> Network:
        made = _made(thing)
        is_module = isinstance(made, nn.Module)
        if weights and not is_module:
            raise CourseError(f"Encoder {name!r}: weights belong to a torch module, and it returned another thing.")
        if isinstance(made, Network):
            return made
        if not callable(made):
            raise CourseError(
                f"Encoder {name!r} made a {type(made).__name__}; return a torch module, Network or function."
            )
        if is_module:
            made.eval()
        if weights:
            load_state(made, weights)
        if modality == "visual" and is_module:
            return _at_layer(made, layer, name, device, **options)

        def encode(values: list[Any]) -> np.ndarray:
            with torch.inference_mode():
                return np.asarray(made(values), dtype=np.float32)

        if modality == "visual":
            return Network(reader(options["size"], options["fit"]), encode)
        if modality == "textual":
            return Network(prepare=str, encode=encode, order=len)
        return sound_network(lambda wave: wave, encode, options.get("max_seconds", MAX_SECONDS))

    return Encoder(
        name=name,
        modality=modality,
        load=load,
        licence="your own",
        source="your own module",
        weights=lambda weights="", **_: _identity(thing, weights),
        layers=("penultimate",) if modality == "visual" else ("output",),
        any_layer=modality == "visual",
        options=OPTIONS[modality],
        extras=NORMALISE if modality == "visual" else {},
        many=isinstance(thing, nn.Module),
        placed=modality == "visual",  # functions of texts and sounds place themselves
    )


def _at_layer(
    module: nn.Module, layer: str | tuple[str, ...], name: str, device: str, size: int, fit: str, normalise: str = "model",
    mean: Any = None, std: Any = None,
) -> Network:  # fmt: skip
    """A torch module of pictures at a layer; "model" preprocessing is ImageNet's mean and spread."""
    usual = tuple(255 * np.asarray(values) for values in IMAGENET)
    try:
        forward = listen(module, before_classifier(module, layer), name, size, device)
    except CourseError:
        raise
    except Exception as error:  # torch.fx follows no branches that depend on the input
        raise CourseError(
            f"Encoder {name!r}: layers of {type(module).__name__} cannot be listened to ({type(error).__name__}); return a "
            "Network with your own prepare and encode instead."
        ) from error
    return image_network(forward, reader(size, fit), device=device, **normaliser(normalise, mean, std, usual))


@register_family(
    "own", ["visual", "textual", "audio"], licence="your own", source="your own module, by package.module:factory"
)
def _own(path: str, modality: str) -> Encoder:
    return custom_encoder(dotted(path), modality, name=f"own:{path}")


CALLABLE.append(custom_encoder)
