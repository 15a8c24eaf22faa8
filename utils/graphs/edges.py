"""Graphs whose edges have weights that are learned: dot products, softmax and weighted sums along the edges.

``propagation`` walks on graphs with fixed weights; here the gradient also reaches the weight of every edge, and no
tensor of shape (n_edges, d) is ever made.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import nn

from utils.graphs.adjacency import to_torch
from utils.kernels import EdgeDots, EdgeSoftmax, EdgeSum


class Edges(nn.Module):
    """The places of the edges of a (n_rows, n_columns) graph; values of edges are (n_edges,), in the order of the rows.

    Args:
        matrix: scipy matrix; what is stored in it is an edge, its value does not count.
    """

    def __init__(self, matrix: sp.spmatrix) -> None:
        super().__init__()
        matrix = sp.csr_matrix(matrix, copy=True)
        matrix.sum_duplicates()  # sorts the columns of each row, too
        matrix.data = np.zeros(matrix.nnz)
        row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        order = np.argsort(matrix.indices, kind="stable")
        turned = np.concatenate([[0], np.cumsum(np.bincount(matrix.indices, minlength=matrix.shape[1]))])
        self.keys = row * matrix.shape[1] + matrix.indices.astype(np.int64)
        self.shape = matrix.shape
        parts = {"row": row, "column": matrix.indices, "start": matrix.indptr, "order": order}
        parts |= {"turned_row": row[order], "turned_start": turned}
        for name, part in parts.items():
            self.register_buffer(name, torch.from_numpy(part.astype(np.int64)), persistent=False)
        self.register_buffer("pattern", to_torch(matrix), persistent=False)

    def place(self, matrix: sp.spmatrix) -> torch.Tensor:
        """The positions (nnz,) of the entries of another matrix, all of which must be edges here, row by row."""
        matrix = sp.coo_matrix(sp.csr_matrix(matrix))
        keys = matrix.row * np.int64(self.shape[1]) + matrix.col
        return torch.from_numpy(np.searchsorted(self.keys, keys)).to(self.row.device)

    def spread(self, matrix: sp.spmatrix) -> torch.Tensor:
        """The values of another matrix edge by edge, (n_edges,), zero where it has none."""
        matrix = sp.csr_matrix(matrix)
        values = torch.zeros(len(self.row), device=self.row.device)
        values[self.place(matrix)] = torch.from_numpy(matrix.data.astype(np.float32)).to(values.device)
        return values

    def dots(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """x_r . y_c for each edge (r, c): (n_rows, d), (n_columns, d) -> (n_edges,)."""
        return EdgeDots.apply(self, x, y)

    def sum(self, values: torch.Tensor, y: torch.Tensor, turned: bool = False) -> torch.Tensor:
        """Sum over the edges of row r of value * y_c: (n_rows, d); ``turned``: over those of column c, (n_columns, d)."""
        return EdgeSum.apply(self, values, y, turned)

    def softmax(self, logits: torch.Tensor, present: torch.Tensor | None = None, turned: bool = False) -> torch.Tensor:
        """exp / sum of exp over the edges of a row (a column if ``turned``), without those where ``present`` is 0.

        For logits of moderate size, as cosines are: no maximum is subtracted.
        """
        return EdgeSoftmax.apply(self, logits, present, turned)

    def _dots(self, x, y):
        if x.device.type == "mps":  # no sparse product there
            pieces = zip(self.row.split(4096), self.column.split(4096))
            return torch.cat([(x.index_select(0, r) * y.index_select(0, c)).sum(1) for r, c in pieces])
        return torch.sparse.sampled_addmm(self.pattern, x.contiguous(), y.contiguous().T, beta=0.0).values()

    def _sum(self, values, y, turned):
        """A bag of embeddings is a row of a sparse product, and its kernel takes a third of the time of the product."""
        if turned:
            index, start, values = self.turned_row, self.turned_start, values.index_select(0, self.order)
        else:
            index, start = self.column, self.start
        options = {"mode": "sum", "per_sample_weights": values.detach(), "include_last_offset": True}
        return F.embedding_bag(index, y.detach(), start, **options)

    def _shares(self, values, turned):
        node = self.column if turned else self.row
        total = values.new_zeros(self.shape[1] if turned else self.shape[0]).index_add_(0, node, values)
        return total.index_select(0, node)


def by_row_sums(edges: Edges, values: torch.Tensor) -> torch.Tensor:
    """D^-1/2 S D^-1/2 with D = row sums of S, edge by edge: (n_edges,) -> (n_edges,), both with gradient.

    For square graphs with weights of 0 or more; a row sum below 1e-6 counts as 1e-6.
    """
    sums = values.new_zeros(edges.shape[0]).index_add(0, edges.row, values)
    root = sums.clamp(min=1e-6).rsqrt()
    return values * root.index_select(0, edges.row) * root.index_select(0, edges.column)
