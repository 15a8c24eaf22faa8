"""Fold batch norm, activation and padding into convolutions: the same network, faster on a CPU (float32).

Four things cost a network on a CPU more than its arithmetic, and each is taken out without changing what it computes:

* batch norm after a convolution is another pass over a map of megabytes: folded into the convolution's weights;
* ReLU or ReLU6 after a convolution is one more: done by the convolution (oneDNN) while the values are in registers;
* padding by hand before a convolution (TensorFlow's, one pixel more at the end than at the start) copies the map: the
  kernel gets that many zeros at its start instead, and the convolution pads both sides alike by itself;
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


def absorb_padding(graph: fx.GraphModule) -> fx.GraphModule:
    """Let convolutions do the zero padding before them, in place: the same sums, with some zeros more.

    Place o of a convolution over x padded by (l, r) reads x[s o - l + j] for j = 0 ... k - 1. A kernel with r - l zeros
    before it and padding r on both sides reads x[s o - r + j'], j' = j + r - l: the same places.
    """
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        conv = modules.get(node.target) if isinstance(before, fx.Node) else None
        if not (isinstance(conv, nn.Conv2d) and _fits(conv) and before.target is nn.functional.pad):
            continue
        left, right, top, bottom = before.args[1] if len(before.args[1]) == 4 else (0, 0, 0, 0)
        plain = before.args[2:] in ((), ("constant",)) and not before.kwargs.get("value")
        alone = plain and before.kwargs.get("mode", "constant") == "constant" and len(before.users) == 1
        if not alone or min(right - left, bottom - top) < 0 or set(conv.padding) != {0} or set(conv.dilation) != {1}:
            continue
        wider = nn.Conv2d(
            conv.in_channels, conv.out_channels, tuple(k + d for k, d in zip(conv.kernel_size, (bottom - top, right - left))),
            conv.stride, (bottom, right), groups=conv.groups, bias=conv.bias is not None,
            device="meta",  # its own weights are never drawn: they would move the random generator
        )  # fmt: skip
        wider.weight = nn.Parameter(nn.functional.pad(conv.weight.detach(), (right - left, 0, bottom - top, 0)))
        wider.bias = conv.bias
        graph.set_submodule(node.target, wider.eval())
        node.replace_input_with(before, before.args[0])
        graph.graph.erase_node(before)
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
    """Return the network with padding and activations folded into its convolutions; the plain one if that fails or differs.

    Args:
        make: two copies of the same traced network in eval mode; the first is rewritten, the second stays as it is.
        example: (1, 3, h, w) float32, an input small enough to be run twice.
    """
    fast, plain = (fold_batchnorm(graph).to(memory_format=torch.channels_last) for graph in make)
    example = example.to(memory_format=torch.channels_last)
    try:
        with torch.inference_mode():
            expected = plain(example)
            found = _fuse_activations(absorb_padding(fast))(example)
            for name, value in expected.items():
                scale = float(value.abs().max()) or 1.0
                if found[name].shape != value.shape or float((found[name] - value).abs().max()) > 1e-4 * scale:
                    return plain
    except Exception:  # another build of torch: no such operator, or it takes other arguments
        return plain
    return fast
