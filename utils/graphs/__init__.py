"""Graphs of users and items: adjacency and degrees, nearest items, propagation, and edges whose weights are learned."""

from utils.graphs.adjacency import laplacian, normalise, normalised_adjacency, prune_edges, to_scipy, to_torch
from utils.graphs.edges import Edges, by_row_sums
from utils.graphs.neighbours import (
    co_taken_weights,
    knn_graph,
    mix_graphs,
    nearest_in_groups,
    nearest_items,
    shared_label,
)
from utils.graphs.propagation import mean_of_layers, over_hyperedges, propagate
