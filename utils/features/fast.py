"""Room `features`, visual: the same convolutional network with fewer passes over memory (CPU, float32).

Three things cost a network on a CPU more than its arithmetic, and each is taken out without changing what it computes:

* batch norm after a convolution is another pass over a map of megabytes: folded into the convolution's weights;
* ReLU or ReLU6 after a convolution is one more: done by the convolution (oneDNN) while the values are in registers;
* 1 x 1 convolutions on one thread take torch's general path, which copies channels-last maps twice: oneDNN does not.

The fused operator is one that torch's own compiler calls; it is no public interface. So `tighten` runs the rewritten
network beside the plain one on a small input and keeps the plain one when they differ or the operator is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx, nn

ACTIVATIONS = {nn.ReLU: ("relu", []), nn.ReLU6: ("hardtanh", [0.0, 6.0])}


class FusedConv(nn.Module):
    """A convolution and the activation after it in one call; weights in oneDNN's own layout, inference only."""

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None) -> None:
        super().__init__()
        self.attr, self.scalars = ACTIVATIONS[type(activation)] if activation is not None else ("none", [])
        self.geometry = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *self.geometry)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, in, h, w) -> (batch, out, h', w'), channels last when x is."""
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, *self.geometry, self.attr, self.scalars, ""
        )


def _pairs(graph: fx.GraphModule, second: tuple[type, ...]) -> list[tuple[fx.Node, fx.Node, nn.Module, nn.Module]]:
    """Nodes (convolution, next) where the next module is of those types and nobody else reads the convolution."""
    modules = dict(graph.named_modules())
    found = []
    for node in graph.graph.nodes:
        before = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        conv, after = modules[before.target], modules[node.target]
        if isinstance(conv, nn.Conv2d) and type(after) in second and len(before.users) == 1:
            found.append((before, node, conv, after))
    return found


def fold_batchnorm(graph: fx.GraphModule) -> fx.GraphModule:
    """Fold every batch norm into the convolution before it, in place: the same function."""
    for before, node, conv, norm in _pairs(graph, (nn.BatchNorm2d,)):
        graph.set_submodule(before.target, nn.utils.fusion.fuse_conv_bn_eval(conv, norm))
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    return graph


def _fuse_activations(graph: fx.GraphModule) -> fx.GraphModule:
    """Every convolution becomes a `FusedConv`, with the ReLU or ReLU6 after it where one follows."""
    for before, node, conv, activation in _pairs(graph, tuple(ACTIVATIONS)):
        if _fits(conv):
            graph.set_submodule(before.target, FusedConv(conv, activation))
            node.replace_all_uses_with(before)
            graph.graph.erase_node(node)
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        conv = modules.get(node.target) if node.op == "call_module" else None
        if isinstance(conv, nn.Conv2d) and _fits(conv):
            graph.set_submodule(node.target, FusedConv(conv, None))
    graph.graph.lint()
    graph.recompile()
    return graph


def _fits(conv: nn.Conv2d) -> bool:
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and type(conv) is nn.Conv2d


def tighten(make: Sequence[fx.GraphModule], example: torch.Tensor) -> fx.GraphModule:
    """Return the network rewritten, or the plain one where the rewriting is not to be had or does not agree.

    Args:
        make: two copies of the same traced network in eval mode; the first is rewritten, the second stays as it is.
        example: (1, 3, h, w) float32, an input small enough to be run twice.
    """
    fast, plain = (fold_batchnorm(graph).to(memory_format=torch.channels_last) for graph in make)
    example = example.to(memory_format=torch.channels_last)
    try:
        with torch.inference_mode():
            expected = plain(example)
            found = _fuse_activations(fast)(example)
            for name, value in expected.items():
                scale = float(value.abs().max()) or 1.0
                if found[name].shape != value.shape or float((found[name] - value).abs().max()) > 1e-4 * scale:
                    return plain
    except Exception:  # another build of torch: no such operator, or it takes other arguments
        return plain
    return fast
