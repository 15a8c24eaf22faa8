"""The ways to adapt an encoder, by name: which of its parameters learn, and which parts come on top."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable

import torch
from torch import nn

from utils.errors import CourseError, suggest
from utils.pretraining.adapt.encoders import Encoder, PictureEncoder, TextEncoder
from utils.pretraining.adapt.parts import Adapter, LoRA, WithAdapter, is_linear

WAYS = ("frozen", "last_block", "full", "lora", "adapter", "prompt")
PICTURE_WAYS = WAYS[:-1]  # a prompt is made of tokens, and a convolution has none
TARGETS = ("query", "value")  # of the attention, as in the paper of LoRA; in a picture encoder every 1 x 1 convolution


def adapt(
    encoder: Encoder,
    way: str,
    *,
    seed: int = 0,
    rank: int = 4,
    alpha: float = 8.0,
    width: int = 16,
    n_tokens: int = 8,
    targets: tuple[str, ...] = TARGETS,
) -> tuple[Encoder, dict[str, nn.Parameter]]:
    """Return a copy of an encoder that is ready to learn in one way, and the parameters that do: name -> parameter.

    frozen      nothing
    last_block  the last block of the network
    full        everything
    lora        A and B beside the maps named ``targets`` of every block, ``rank`` and ``alpha``
    adapter     a bottleneck of ``width`` behind every block (of pictures: every stage)
    prompt      ``n_tokens`` vectors in front of the words; of texts only

    All other parameters have ``requires_grad`` False. All ways but "prompt" start with the vectors of the base.

    Args:
        encoder: not adapted yet; it stays as it is.
        seed: fixes what is drawn at the start.

    Raises:
        CourseError: an unknown way, a prompt for pictures, an adapted encoder, targets that no module has.
    """
    known = PICTURE_WAYS if isinstance(encoder, PictureEncoder) else WAYS
    if way == "prompt" and way not in known:
        raise CourseError(
            "A prompt is tokens in front of other tokens, and a convolution reads none; choose lora or adapter."
        )
    if way not in known:
        raise suggest(way, known, "way to adapt an encoder")
    if encoder.way:
        raise CourseError(f"The encoder is adapted already ({encoder.way}); start from the one that was loaded.")
    base, encoder = digest(encoder), copy.deepcopy(encoder).requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if way == "lora":
            chosen = _targets(encoder, targets)
            _replace(encoder.model, chosen, lambda module: LoRA(module, rank, alpha))
        elif way == "adapter":
            _add_adapters(encoder, width)
        elif way == "prompt":
            encoder.make_prompt(n_tokens)
    if way == "full":
        encoder.requires_grad_(True)
    elif way == "last_block":
        blocks(encoder)[-1].requires_grad_(True)
    encoder.base, encoder.way = base, way
    return encoder.eval(), parameters_of(encoder)


def parameters_of(module: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of all that learn."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def blocks(encoder: Encoder) -> nn.ModuleList | nn.Sequential:
    """The blocks of the network in their order: layers of a BERT, stages of an EfficientNet."""
    return encoder.model.encoder.layer if isinstance(encoder, TextEncoder) else encoder.model.features


def merge_lora(encoder: Encoder) -> Encoder:
    """Return a copy whose LoRA is written into the weights: the same vectors, and the base's speed.

    Raises:
        CourseError: the encoder has no LoRA.
    """
    encoder = copy.deepcopy(encoder)
    if not _replace(encoder.model, lambda name, module: isinstance(module, LoRA), LoRA.merged):
        raise CourseError("The encoder has no LoRA to merge; adapt it with way='lora' first.")
    return encoder


def digest(module: nn.Module) -> str:
    """SHA-256 of a network's names and numbers, so that a checkpoint knows which one it belongs to."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def _targets(encoder: Encoder, targets: tuple[str, ...]) -> Callable[[str, nn.Module], bool]:
    """What LoRA stands beside: linear maps of these names, or every 1 x 1 convolution."""
    if isinstance(encoder, PictureEncoder):
        return lambda name, module: isinstance(module, nn.Conv2d) and is_linear(module)
    names = {name.rsplit(".", 1)[-1]: None for name, module in blocks(encoder).named_modules() if is_linear(module)}
    for target in targets:
        if target not in names:
            raise suggest(target, names, "linear map of the encoder's blocks")
    return lambda name, module: name.rsplit(".", 1)[-1] in targets and is_linear(module)


def _replace(model: nn.Module, chosen: Callable[[str, nn.Module], bool], make: Callable[[nn.Module], nn.Module]) -> int:
    """Put ``make(module)`` in the place of each module that is ``chosen(name, module)``; return how many there were."""
    found = [(name, module) for name, module in model.named_modules() if chosen(name, module)]
    for name, module in found:
        model.set_submodule(name, make(module))
    return len(found)


def _add_adapters(encoder: Encoder, width: int) -> None:
    found = blocks(encoder)
    if isinstance(encoder, TextEncoder):
        for place, block in enumerate(found):
            found[place] = WithAdapter(block, Adapter(encoder.dim, width))
        return
    for place, block in enumerate(found):
        n_out = [module for module in block.modules() if isinstance(module, nn.Conv2d)][-1].out_channels
        found[place] = WithAdapter(block, Adapter(n_out, width, channels_first=True))
