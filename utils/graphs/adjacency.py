"""Graphs of users and items as sparse matrices: who took what, normalised by degrees, and edges that are left out.

All graphs are ``torch.sparse_csr`` float32, and none of them is trained here: the gradient goes to the node vectors.
"""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
import torch

from utils.errors import CourseError, suggest


def to_torch(matrix: sp.spmatrix) -> torch.Tensor:
    """Turn a scipy matrix into ``torch.sparse_csr`` float32 (32-bit indices where they suffice: less to read)."""
    matrix = sp.csr_matrix(matrix).astype(np.float32)
    matrix.sort_indices()
    index = np.int32 if max(matrix.nnz, *matrix.shape) < 2**31 else np.int64
    parts = matrix.indptr.astype(index), matrix.indices.astype(index), matrix.data
    with warnings.catch_warnings():  # torch calls its CSR layout beta, once in every session
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(*map(torch.from_numpy, parts), size=matrix.shape, check_invariants=True)


def to_scipy(graph: torch.Tensor) -> sp.csr_matrix:
    """Turn a ``torch.sparse_csr`` matrix into scipy's."""
    graph = graph.detach().cpu()
    parts = graph.values().numpy(), graph.col_indices().numpy(), graph.crow_indices().numpy()
    return sp.csr_matrix(parts, shape=tuple(graph.shape))


def normalise(matrix: sp.spmatrix, kind: str = "symmetric") -> sp.csr_matrix:
    """Divide the edges by degrees (sums of rows and columns): "symmetric" or "row".

    symmetric: a_ij / sqrt(row sum of i * column sum of j); row: a_ij / row sum of i. A node without edges stays empty.
    """
    matrix = sp.csr_matrix(matrix, dtype=np.float64)
    if kind not in ("symmetric", "row"):
        raise suggest(kind, ("symmetric", "row"), "normalisation")
    rows = np.asarray(matrix.sum(1)).ravel()
    columns = np.asarray(matrix.sum(0)).ravel()
    power = -0.5 if kind == "symmetric" else -1.0
    left = np.where(rows > 0, np.maximum(rows, 1e-12) ** power, 0.0)
    matrix = sp.diags(left) @ matrix
    if kind == "symmetric":
        matrix = matrix @ sp.diags(np.where(columns > 0, np.maximum(columns, 1e-12) ** -0.5, 0.0))
    return sp.csr_matrix(matrix)


def laplacian(graph: sp.spmatrix, warm: np.ndarray) -> sp.csr_matrix:
    """D^-1/2 S D^-1/2 with row sums on both sides, after leaving out negative similarities and columns of cold items."""
    graph = sp.csr_matrix(sp.csr_matrix(graph, dtype=np.float64).maximum(0) @ sp.diags(warm.astype(np.float64)))
    graph.eliminate_zeros()
    sums = np.asarray(graph.sum(1)).ravel()
    root = sp.diags(np.divide(1.0, np.sqrt(sums), out=np.zeros_like(sums), where=sums > 0))
    return sp.csr_matrix(root @ graph @ root)


def normalised_adjacency(
    edges: np.ndarray, n_users: int, n_items: int, kind: str = "symmetric", self_loops: bool = False
) -> torch.Tensor:
    """The graph of users and items, normalised: (n_users + n_items) squared, users first.

    A = [[0, R], [R^T, 0]], D = degrees; "symmetric" gives D^-1/2 A D^-1/2 (LightGCN), "row" gives D^-1 A.
    ``self_loops`` puts A + I in the place of A (NGCF, LATTICE). A repeated edge counts once.

    Args:
        edges: (n, 2) rows (user_id, item_id), normally ``split.train``.
    """
    n_nodes = n_users + n_items
    users, items = np.asarray(edges)[:, 0], np.asarray(edges)[:, 1] + n_users
    both = np.concatenate([users, items]), np.concatenate([items, users])
    adjacency = sp.coo_matrix((np.ones(2 * len(users)), both), shape=(n_nodes, n_nodes)).tocsr()
    adjacency.data[:] = 1.0
    if self_loops:
        adjacency = adjacency + sp.identity(n_nodes, format="csr")
    return to_torch(normalise(adjacency, kind))


def prune_edges(
    edges: np.ndarray, n_users: int, n_items: int, drop: float, generator: torch.Generator | None = None
) -> np.ndarray:
    """Draw the edges that stay: floor((1 - drop) * n) of them, without replacement, degree-sensitive.

    An edge stays with a chance proportional to 1 / sqrt(degree of its user * degree of its item), so that edges between
    popular nodes go first. Drawn as the largest log p + Gumbel noise, which is the same distribution as drawing one
    after another, and has no limit on the number of edges.

    Source: Zhou & Shen, "A Tale of Two Graphs" (FREEDOM), MM 2023; the noise trick: Vieira, 2014.
    """
    if not 0 <= drop < 1:
        raise CourseError(f"drop = {drop} must be at least 0 and below 1; 0.8 drops four edges of five.")
    if drop == 0:
        return edges
    users, items = torch.as_tensor(edges[:, 0]), torch.as_tensor(edges[:, 1])
    degree_u = torch.bincount(users, minlength=n_users)[users].double()
    degree_i = torch.bincount(items, minlength=n_items)[items].double()
    uniform = torch.rand(len(edges), generator=generator, dtype=torch.float64).clamp_(1e-300, 1 - 1e-16)
    keys = -0.5 * torch.log(degree_u * degree_i) - torch.log(-torch.log(uniform))
    kept = keys.topk(max(1, int(len(edges) * (1 - drop) + 1e-6))).indices.sort().values
    return edges[kept.numpy()]
