"""Pretrained encoders by name, from a network or a folder: torchvision, CLIP-like, Hugging Face vision models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from utils.data.pictures import decode
from utils.devices import exact
from utils.errors import CourseError, suggest
from utils.features.encoders.image import NORMALISE, image_network, listen, normaliser, reader
from utils.features.encoders.text import CutTexts, transformer
from utils.features.encoders.weights import PLAIN, SECONDS, file_digest, hub_encoder
from utils.features.registry import Encoder, Network, layers_of, named, needs_network, register_family
from utils.network.download import DownloadError, RetryPolicy, fetch

RETRY = RetryPolicy(timeout=SECONDS, attempts=2, pause=1.0)  # without a network the message comes after seconds


def weights_url(weights: Any) -> str:
    """Address of a torchvision weights entry; the file's name carries the start of its SHA-256."""
    return weights.url


def _torchvision_entry(name: str, weights: str) -> Any:
    """torchvision's entry for weights of a model (address, preprocessing); a file of your own uses the default's."""
    from torchvision.models import get_model_weights

    entries = get_model_weights(name)
    if weights == "DEFAULT" or Path(weights).is_file():
        return entries.DEFAULT
    if weights not in entries.__members__:
        known = [*entries.__members__, "DEFAULT", "the path of a file"]
        raise suggest(weights, known, f"weights of torchvision:{name}")
    return entries[weights]


def _torchvision_file(name: str, weights: str) -> Path:
    """The weights' file where torchvision itself keeps it; fetched, whole and checked, when it is not there.

    Raises:
        CourseError: no network, or a file whose SHA-256 does not begin as its name says.
    """
    url = weights_url(_torchvision_entry(name, weights))
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    begins = re.search(r"-([0-9a-f]{8,})\.", file.name)
    try:
        fetch(url, file, sha256=begins[1] if begins else "", retry=RETRY)
    except DownloadError as error:
        if error.offline or error.status:
            raise needs_network(f"torchvision:{name}", "visual", str(error).split(";")[0]) from error
        raise
    return file


def _torchvision_network(name: str, weights: str) -> nn.Module:
    """A torchvision classification network with weights, in eval mode.

    Raises:
        CourseError: no network, or a file that does not fit the model.
    """
    from torchvision.models import get_model

    # These two change their input when they were trained by someone else; torchvision sets it with its own weights.
    extra = {"transform_input": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    file = Path(weights) if Path(weights).is_file() else _torchvision_file(name, weights)
    state = torch.load(file, map_location="cpu", weights_only=True)
    network = get_model(name, weights=None, **extra)
    try:
        network.load_state_dict(state)
    except RuntimeError:
        raise CourseError(f"The weights {weights} do not fit torchvision's {name}; give those of this model.") from None
    return network.eval()


def penultimate(network: nn.Module) -> str:
    """Name of the graph node before the classifier, the last linear or convolutional layer."""
    from torchvision.models.feature_extraction import get_graph_node_names

    names = get_graph_node_names(network)[1]
    kinds = {name: type(module) for name, module in network.named_modules()}
    for kind in (nn.Linear, nn.Conv2d):
        last = [i for i, name in enumerate(names) if issubclass(kinds.get(name, object), kind)]
        if last:
            return names[last[-1] - 1]
    raise CourseError("This network has no classifier to stop before; name a layer.")


def before_classifier(network: nn.Module, layer: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Replace the name ``penultimate`` by that of the node."""
    if isinstance(layer, str):
        return penultimate(network) if layer == "penultimate" else layer
    return tuple(before_classifier(network, each) for each in layer)


@register_family(
    "torchvision",
    ["visual"],
    licence="the weights' own (most: ImageNet-1k, torchvision is BSD-3)",
    source="any torchvision classification model, by name",
)
def _torchvision(name: str, modality: str) -> Encoder:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise suggest(name, known, "torchvision model")
    encoder = f"torchvision:{name}"

    def load(
        layer: str | tuple[str, ...], size: int | None, fit: str, weights: str, normalise: str = "model", mean: Any = None,
        std: Any = None, device: str = "cpu",
    ) -> Network:  # fmt: skip
        look = _torchvision_entry(name, weights).transforms()
        scaling = normaliser(normalise, mean, std, (255 * np.array(look.mean), 255 * np.array(look.std)))
        network = _torchvision_network(name, weights)
        size = size or look.crop_size[0]
        forward = listen(network, before_classifier(network, layer), encoder, size, device)
        return image_network(forward, reader(size, fit), device=device, **scaling)

    def weights_id(weights: str, **_: Any) -> str:
        own = Path(weights).is_file()
        return file_digest(Path(weights)) if own else weights_url(_torchvision_entry(name, weights)).rsplit("/", 1)[-1]

    return named(
        "torchvision",
        name,
        modality,
        load,
        licence="the weights' own (torchvision is BSD-3)",
        source=f"torchvision model {name}",
        weights=weights_id,
        layers=("penultimate",),
        any_layer=True,
        options={"size": None, "fit": "pad", "weights": "DEFAULT"},
        extras=NORMALISE,
        many=True,
    )


def _picture(folder: Path) -> Any:
    """A function from a picture's file to what the model's own preprocessing makes of it, (3, h, w)."""
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(str(folder), **PLAIN)
    return lambda path: processor(images=decode(path), return_tensors="pt")["pixel_values"][0]


def _pooled(output: Any) -> np.ndarray:
    """transformers 5 returns an object where 4 returned the tensor."""
    tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return tensor.float().cpu().numpy()


def _clip_image(folder: Path, model: nn.Module) -> Network:
    def encode(images: list[torch.Tensor]) -> np.ndarray:
        with torch.inference_mode(), exact(model.device, len(images)):
            return _pooled(model.get_image_features(pixel_values=torch.stack(images).to(model.device)))

    return Network(_picture(folder), encode)


def _clip_text(folder: Path, model: nn.Module) -> Network:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), **PLAIN)
    longest = min(tokenizer.model_max_length, model.config.text_config.max_position_embeddings)
    # SigLIP was trained on full-length padding; for CLIP the padding is masked.
    padding = "max_length" if model.config.model_type.startswith("siglip") else True
    cut = CutTexts(longest)

    def encode(texts: list[str]) -> np.ndarray:
        tokens = tokenizer(texts, padding=padding, truncation=True, max_length=longest, return_tensors="pt")
        cut.look(texts, tokens)
        with torch.inference_mode(), exact(model.device, len(texts)):
            return _pooled(model.get_text_features(**tokens.to(model.device)))

    return Network(prepare=str, encode=encode, order=len)


@register_family(
    "hf-clip",
    ["visual", "textual"],
    licence="the model's own",
    source="a CLIP-like image+text model (one space for both), by hub name or folder",
)
def _clip(name: str, modality: str) -> Encoder:
    def load(folder: Path, layer: str, device: str = "cpu") -> Network:
        model = transformer(folder, device)
        if not hasattr(model, "get_image_features"):
            raise CourseError(f"Encoder 'hf-clip:{name}': {name} is no image+text model; use hf:{name} for text.")
        return (_clip_image if modality == "visual" else _clip_text)(folder, model)

    return hub_encoder("hf-clip", name, modality, "Hugging Face image+text model", load, layers=("projection",))


def _states(output: Any, layer: str) -> torch.Tensor:
    """One row per picture of a transformers vision model's output: maps and tokens are averaged, "cls" is the first."""
    if layer == "pooled" and getattr(output, "pooler_output", None) is not None:
        return output.pooler_output.flatten(1)
    states = output.hidden_states[int(layer.split(".")[1])] if layer.startswith("hidden.") else output.last_hidden_state
    if states.ndim == 4:
        return states.mean(dim=(2, 3))
    return states[:, 0] if layer == "cls" else states.mean(dim=1)


@register_family(
    "hf-vision", ["visual"], licence="the model's own", source="a Hugging Face vision model, by hub name or folder"
)
def _vision(name: str, modality: str) -> Encoder:
    def load(folder: Path, layer: str | tuple[str, ...], device: str = "cpu") -> Network:
        model = transformer(folder, device)
        blocks = getattr(model.config, "num_hidden_layers", None) or len(getattr(model.config, "depths", ()))
        known = ["pooled", "mean", "cls", *(f"hidden.{k}" for k in range(blocks + 1))]
        wanted = layers_of(layer, known, f"hf-vision:{name}")

        def encode(images: list[torch.Tensor]) -> np.ndarray | list[np.ndarray]:
            with torch.inference_mode(), exact(model.device, len(images)):
                hidden = any(each.startswith("hidden.") for each in wanted)
                output = model(pixel_values=torch.stack(images).to(model.device), output_hidden_states=hidden)
                rows = [_states(output, each).float().cpu().numpy() for each in wanted]
            return rows[0] if isinstance(layer, str) else rows

        return Network(_picture(folder), encode)

    about = {"layers": ("pooled", "mean", "cls"), "any_layer": True, "many": True}
    return hub_encoder("hf-vision", name, modality, "Hugging Face vision model", load, **about)
