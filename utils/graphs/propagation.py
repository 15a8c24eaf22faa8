"""Propagation on graphs with fixed weights: one step, the mean of the layers (LightGCN), and steps over hyperedges (LGMRec)."""

from __future__ import annotations

import torch

from utils.kernels import MeanOfLayers, SparseTimesDense


def propagate(graph: torch.Tensor, x: torch.Tensor, transposed: torch.Tensor | None = None) -> torch.Tensor:
    """One step on the graph: (n, n) sparse times (n, d). Leave ``transposed`` out for a symmetric graph."""
    return SparseTimesDense.apply(graph, graph if transposed is None else transposed, x)


def mean_of_layers(
    adjacency: torch.Tensor, x: torch.Tensor, n_layers: int, transposed: torch.Tensor | None = None
) -> torch.Tensor:
    """LightGCN's propagation: the mean of x, A x, ..., A^L x, holding one layer at a time.

    Args:
        adjacency: (n, n) ``sparse_csr``, symmetric unless ``transposed`` is given: the gradient needs A^T.
        x: (n, d) vectors of the nodes, users first.
    """
    return MeanOfLayers.apply(adjacency, adjacency if transposed is None else transposed, x, n_layers)


def over_hyperedges(belongs: torch.Tensor, items: torch.Tensor, n_layers: int) -> torch.Tensor:
    """Gather the items in K hyperedges, and give the K sums back to the nodes: (n_users + n_items, d).

    Args:
        belongs: (n_users + n_items, K), users first: how much a node belongs to each hyperedge.
        items: (n_items, d).
        n_layers: how often the items are gathered, 1 or more; users take part in the last sums only.
    """
    of_users, of_items = belongs.split([len(belongs) - len(items), len(items)])
    for _ in range(n_layers):
        sums = of_items.T @ items
        items = of_items @ sums
    return torch.cat([of_users @ sums, items])
