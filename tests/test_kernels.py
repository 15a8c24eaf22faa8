"""Each hand-written gradient equals the plain formula that stands beside it: values and gradients of every input."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from utils import kernels
from utils.graphs import Edges, normalised_adjacency, propagate, to_torch

RNG = np.random.default_rng(0)
MATRIX = sp.random(7, 5, 0.5, format="csr", random_state=1)
EDGES = Edges(MATRIX)
GRAPH = to_torch(sp.random(6, 6, 0.5, format="csr", random_state=2))
TURNED = to_torch(sp.csr_matrix(GRAPH.to_dense().numpy().T))
ADJACENCY = normalised_adjacency(RNG.integers(0, 3, (8, 2)), 3, 3)
IDS = [torch.from_numpy(RNG.integers(0, n, 9)) for n in (6, 5, 5)]
PRESENT = torch.tensor(RNG.integers(0, 2, len(EDGES.row)), dtype=torch.float32)


def numbers(*shape):
    return torch.tensor(RNG.normal(size=shape), dtype=torch.float32, requires_grad=True)


def projected(x, weight, bias):
    layer = kernels.Projection(*weight.shape[::-1])
    del layer.weight, layer.bias
    layer.weight, layer.bias = weight, bias
    return layer(x.detach())


PAIRS = {
    "unit": (kernels.unit, kernels.plain_unit, [numbers(4, 3)]),
    "projection": (projected, lambda x, w, b: kernels.plain_projection(x.detach(), w, b),
                   [numbers(6, 4), numbers(3, 4), numbers(3)]),
    "bpr_of_tables": (lambda u, i: kernels.bpr_of_tables(u, i, *IDS, 0.3),
                      lambda u, i: kernels.plain_bpr_of_tables(u, i, *IDS, 0.3), [numbers(6, 4), numbers(5, 4)]),
    "propagate": (lambda x: propagate(GRAPH, x, TURNED), lambda x: kernels.plain_propagate(GRAPH, x), [numbers(6, 3)]),
    "mean_of_layers": (lambda x: kernels.MeanOfLayers.apply(ADJACENCY, ADJACENCY, x, 3),
                       lambda x: kernels.plain_mean_of_layers(ADJACENCY, x, 3), [numbers(6, 3)]),
    "edge_dots": (EDGES.dots, lambda x, y: kernels.plain_edge_dots(EDGES, x, y), [numbers(7, 3), numbers(5, 3)]),
    "edge_sum": (EDGES.sum, lambda v, y: kernels.plain_edge_sum(EDGES, v, y), [numbers(len(EDGES.row)), numbers(5, 3)]),
    "edge_sum_turned": (lambda v, y: EDGES.sum(v, y, turned=True),
                        lambda v, y: kernels.plain_edge_sum(EDGES, v, y, True), [numbers(len(EDGES.row)), numbers(7, 3)]),
    "edge_softmax": (lambda x: EDGES.softmax(x, PRESENT), lambda x: kernels.plain_edge_softmax(EDGES, x, PRESENT),
                     [numbers(len(EDGES.row))]),
    "edge_softmax_turned": (lambda x: EDGES.softmax(x, turned=True),
                            lambda x: kernels.plain_edge_softmax(EDGES, x, turned=True), [numbers(len(EDGES.row))]),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_a_kernel_equals_its_plain_twin(name):
    fast, plain, inputs = PAIRS[name]
    results, gradients = [], []
    for function in (fast, plain):
        for x in inputs:
            x.grad = None
        result = function(*inputs)
        weights = torch.linspace(-1, 2, result.numel()).view(result.shape)  # another slope for every entry
        (result * weights).sum().backward()
        results.append(result.detach())
        gradients.append([x.grad for x in inputs])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)
    for own, other in zip(*gradients):
        assert (own is None) == (other is None)
        if own is not None:
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_every_plain_function_is_compared():
    plain = {name.removeprefix("plain_") for name in vars(kernels) if name.startswith("plain_")}
    assert plain == {name.removesuffix("_turned") for name in PAIRS}


def test_dropout_leaves_the_mean_and_the_asked_for_share():
    torch.manual_seed(0)
    dropped = kernels.dropout(torch.ones(400, 400), 0.25)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
