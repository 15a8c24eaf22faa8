"""What a step of training keeps in memory: counted from what autograd saves, so that it is the same on every machine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from utils.pretraining.adapt.ways import parameters_of


def step_memory(module: nn.Module, loss: Callable[[], torch.Tensor]) -> int:
    """Return the bytes that a forward pass keeps for the backward pass; parameters and buffers of the module not counted.

    Each piece of memory counts once, however many tensors look at it.

    Args:
        loss: computes the loss of one batch, with gradients.
    """
    own = {value.untyped_storage().data_ptr() for value in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}
    alive = []  # memory that is given back would be counted again under the same address

    def count(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(storage)
        return value

    with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
        found = loss()
    del found
    return sum(kept.values())


def training_bytes(module: nn.Module) -> int:
    """Return the bytes that Adam needs beside the parameters: a gradient and two averages for each that learns."""
    return 3 * sum(parameter.numel() * parameter.element_size() for parameter in parameters_of(module).values())
