"""The trap of LoRA in torch's own transformer layer: eval() may read the frozen weights and never call what was learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from utils.pretraining.adapt.parts import LoRA
from utils.pretraining.adapt.ways import parameters_of

DIM, HEADS = 16, 2


class Beside(LoRA):
    """LoRA whose ``weight`` is the frozen one, as in the library peft: what was learned stands beside it, not in it."""

    @property
    def weight(self) -> torch.Tensor:
        """W alone."""
        return self.base.weight


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Context in which torch's transformer layers call their parts in eval(), too; put back afterwards."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


def eval_moves(model: nn.Module, call: Callable[[], torch.Tensor], seed: int = 0) -> float:
    """Return how far the output of eval() moves when all parameters that learn move: 0 = the run judges the frozen model.

    The parameters, and the modes of all parts, are put back. Worth a line in front of any evaluation of an adapted model.

    Args:
        call: computes the model's output on some fixed input.
    """
    learned, modes = parameters_of(model), {module: module.training for module in model.modules()}
    kept = {name: parameter.detach().clone() for name, parameter in learned.items()}
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    try:
        with torch.no_grad():
            before = call().clone()
            for parameter in learned.values():
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter))
            return float((call() - before).abs().max())
    finally:
        with torch.no_grad():
            for name, parameter in learned.items():
                parameter.copy_(kept[name])
        for module, mode in modes.items():
            module.training = mode


def trapped_layer(seed: int = 0, kind: type[LoRA] = Beside) -> nn.TransformerEncoderLayer:
    """A layer of torch with dropout, and with a LoRA that has learned beside both maps of its network, in train() mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.TransformerEncoderLayer(DIM, HEADS, 2 * DIM, dropout=0.5, batch_first=True).requires_grad_(False)
        for name in ("linear1", "linear2"):
            lora = kind(getattr(layer, name))
            nn.init.normal_(lora.B)
            setattr(layer, name, lora)
    return layer


def judged_output(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Answer of the exercise: the output by which a run is judged, without dropout and with what was learned.

    (b, L, DIM) -> the same.
    """
    layer.eval()
    with torch.no_grad(), without_fast_path():
        return layer(x)


def named_mistake(mine: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> str | None:
    """Say what is wrong with ``mine(layer, x)``, which returns what a run judges of a trapped layer; None = right."""
    x = torch.randn(2, 3, DIM, generator=torch.Generator().manual_seed(1))
    expected, merged, was = (
        judged_output(trapped_layer(), x),
        trapped_layer(),
        torch.backends.mha.get_fastpath_enabled(),
    )
    merged.linear1, merged.linear2 = merged.linear1.base, merged.linear2.base
    frozen = judged_output(merged, x)
    try:
        found = torch.as_tensor(mine(trapped_layer(), x.clone())).detach()
        left_off = torch.backends.mha.get_fastpath_enabled() != was
    finally:
        torch.backends.mha.set_fastpath_enabled(was)
    if found.shape != expected.shape:
        return f"the output has shape {tuple(found.shape)}, expected {tuple(expected.shape)}: return what the layer gives for x."
    if torch.allclose(found, frozen, atol=1e-4):
        return (
            "the run judges the frozen model: in eval() torch's layer reads the weights of its parts and never calls them, so "
            "that your LoRA is left out without a word; switch the fast path off, or write the LoRA into the weights first."
        )
    if not torch.allclose(found, expected, atol=1e-4):
        return "dropout is still on, or something else was added: judge in eval(), so that the same input gives the same output."
    if left_off:
        return "right, but the fast path stays off for everybody after you: put it back as it was."
    return None


def peft_moves() -> dict[str, Any] | None:
    """Ask the library peft for the same: how far eval() moves with and without the fast path; None if it is not installed."""
    if getattr(find_spec("peft"), "origin", None) is None:  # not there, or a folder of this name that is no package
        return None
    import peft

    layer = nn.Sequential(nn.TransformerEncoderLayer(DIM, HEADS, 2 * DIM, batch_first=True))
    model = peft.get_peft_model(layer, peft.LoraConfig(r=4, lora_alpha=8, target_modules=["linear1", "linear2"]))
    x = torch.randn(2, 3, DIM, generator=torch.Generator().manual_seed(1))
    moved = {"peft": peft.__version__, "as it is": eval_moves(model, lambda: model(x))}
    with without_fast_path():
        return moved | {"without the fast path": eval_moves(model, lambda: model(x))}
