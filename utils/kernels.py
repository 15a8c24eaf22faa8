"""Hand-written gradients and fast twins of plain formulas: the same numbers in less time on a CPU.

Each stands beside the plain function that it equals, ``plain_NAME``; a test compares values and gradients of the two.
Nothing here is an idea of the course: models and lectures read the plain one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

# ---- rows of length 1 ----


def plain_unit(x: torch.Tensor) -> torch.Tensor:
    """Each row of (n, d) brought to length 1."""
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)


class _Unit(torch.autograd.Function):
    """x / |x| row by row; the gradient in three passes over the matrix instead of eight."""

    @staticmethod
    def forward(ctx, x):
        length = x.norm(dim=1, keepdim=True)
        inverse = torch.where(length > 1e-12, 1 / length, 0.0)
        y = x * inverse
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    def backward(ctx, grad):
        y, inverse = ctx.saved_tensors
        along = torch.linalg.vecdot(y, grad)[:, None]  # what would only stretch the row
        return torch.addcmul(grad, y, along, value=-1).mul_(inverse)  # (g - y (y . g)) / |x|


def unit(x: torch.Tensor) -> torch.Tensor:
    """Each row of (n, d) brought to length 1; a zero row stays zero, and gets no gradient."""
    return _Unit.apply(x)


def dropout(x: torch.Tensor, share: float) -> torch.Tensor:
    """Dropout; on a CPU each random byte decides one entry, in steps of 1/256: a third of the time for large x."""
    if share == 0 or x.device.type != "cpu":
        return F.dropout(x, share) if share else x
    limit = min(max(round(256 * share), 1), 255)
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.uint8)[: x.numel()].view_as(x) >= limit
    return x * (kept.to(x.dtype) * (256 / (256 - limit)))


# ---- linear maps of wide features ----


def plain_projection(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x W^T + b: (n, wide) -> (n, dim)."""
    return F.linear(x, weight, bias)


class Projection(nn.Linear):
    """nn.Linear for wide features: the same numbers, but the gradient of the weight is (x^T g)^T and not g^T x.

    The product with x first is faster on the CPU, and this gradient is a large part of an epoch of many models.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.requires_grad or x.device.type != "cpu":
            return super().forward(x)
        product = _Project.apply(x, self.weight)
        return product if self.bias is None else product + self.bias


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x)
        return F.linear(x, weight)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return None, (x.T @ grad).T


# ---- BPR of a batch ----


def plain_bpr_of_tables(
    users: torch.Tensor, items: torch.Tensor, user_ids, pos_ids, neg_ids, reg: float
) -> torch.Tensor:
    """BPR of the inner products of rows of two tables, plus ``reg`` times half the mean squared length of these rows."""
    user, pos, neg = users[user_ids], items[pos_ids], items[neg_ids]
    loss = F.softplus((user * neg).sum(1) - (user * pos).sum(1)).mean()
    return loss + reg * 0.5 * (user.square().sum() + pos.square().sum() + neg.square().sum()) / len(user)


class _BPROfRows(torch.autograd.Function):
    """``bpr`` and ``l2_reg`` of the rows of a batch, with their gradient written by hand."""

    @staticmethod
    def forward(ctx, user: torch.Tensor, both: torch.Tensor, reg: float) -> torch.Tensor:
        pos, neg = both.chunk(2)
        gap = neg - pos
        x = torch.linalg.vecdot(user, gap)  # (b,) negative minus positive score
        ctx.save_for_backward(user, both, gap, x)
        ctx.reg = reg
        squares = user.ravel().dot(user.ravel()) + both.ravel().dot(both.ravel())
        return F.softplus(x).mean() + 0.5 * reg / len(x) * squares

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        user, both, gap, x = ctx.saved_tensors
        slope, pull = (x.sigmoid() * (grad / len(x)))[:, None], grad * ctx.reg / len(x)
        push, to_both = user * slope, both * pull
        to_both[: len(x)] -= push
        to_both[len(x) :] += push
        return (gap * slope).add_(user * pull), to_both, None


def bpr_of_tables(users: torch.Tensor, items: torch.Tensor, user_ids, pos_ids, neg_ids, reg: float) -> torch.Tensor:
    """``bpr`` of the inner products of rows of two tables, plus ``reg`` times ``l2_reg`` of these rows.

    The same numbers as these two give, in less time: few passes over the batch, and one over each table, since both
    items of a pair are looked up together. With x = e_u . (e_j - e_i) and b pairs, the gradients are
    e_u: sigmoid(x) / b (e_j - e_i) + reg / b e_u;  e_i: -sigmoid(x) / b e_u + reg / b e_i;  e_j: sigmoid(x) / b e_u + reg / b e_j.

    Args:
        users, items: (n_users, d) and (n_items, d).
        user_ids, pos_ids, neg_ids: (b,) int64, pair by pair.

    Returns:
        A scalar that can be differentiated once.
    """
    both = F.embedding(torch.cat([pos_ids, neg_ids]), items)
    return _BPROfRows.apply(F.embedding(user_ids, users), both, reg)


# ---- walks on a graph with fixed weights ----


def plain_propagate(graph: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """One step on the graph: (n, m) sparse times (m, d)."""
    return graph @ x


def plain_mean_of_layers(adjacency: torch.Tensor, x: torch.Tensor, n_layers: int) -> torch.Tensor:
    """The mean of x, A x, ..., A^L x."""
    layers = [x]
    for _ in range(n_layers):
        layers.append(adjacency @ layers[-1])
    return torch.stack(layers).mean(0)


def _times(graph: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """graph @ x, (n, m) ``sparse_csr`` times (m, d), without gradient.

    A row of the product is a bag of embeddings: a weighted sum of rows of x. On the CPU the kernel for bags takes about
    a third of the time of the sparse product.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or graph.values().numel() == 0:
        return graph @ x
    index, start, weights = graph.col_indices(), graph.crow_indices(), graph.values()
    return F.embedding_bag(
        index, x.contiguous(), start, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


class SparseTimesDense(torch.autograd.Function):
    """graph @ x with the gradient graph^T @ g; the transposed graph is given, so nothing is converted on the way."""

    @staticmethod
    def forward(ctx, graph, transposed, x):
        ctx.transposed = transposed
        return _times(graph, x)

    @staticmethod
    def backward(ctx, grad):
        return None, None, _times(ctx.transposed, grad)


class MeanOfLayers(torch.autograd.Function):
    """(x + A x + ... + A^L x) / (L + 1) by Horner's rule; the gradient is the same map with A^T."""

    @staticmethod
    def forward(ctx, adjacency, transposed, x, n_layers):
        ctx.transposed, ctx.n_layers = transposed, n_layers
        return _horner(adjacency, x, n_layers)

    @staticmethod
    def backward(ctx, grad):
        return None, None, _horner(ctx.transposed, grad.contiguous(), ctx.n_layers), None


def _horner(adjacency: torch.Tensor, x: torch.Tensor, n_layers: int) -> torch.Tensor:
    total = x
    for _ in range(n_layers):
        total = _times(adjacency, total).add_(x)
    return total.div_(n_layers + 1) if n_layers else total.clone()


# ---- edges with weights that are learned: ``edges`` is a utils.graphs.edges.Edges ----


def plain_edge_dots(edges, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x_r . y_c for each edge (r, c): (n_edges,)."""
    return (x[edges.row] * y[edges.column]).sum(1)


def plain_edge_sum(edges, values: torch.Tensor, y: torch.Tensor, turned: bool = False) -> torch.Tensor:
    """Sum over the edges of row r of value * y_c, (n_rows, d); ``turned``: over those of column c, (n_columns, d)."""
    here, there = (edges.column, edges.row) if turned else (edges.row, edges.column)
    total = y.new_zeros(edges.shape[1 if turned else 0], y.shape[1])
    return total.index_add(0, here, values[:, None] * y[there])


def plain_edge_softmax(
    edges, logits: torch.Tensor, present: torch.Tensor | None = None, turned: bool = False
) -> torch.Tensor:
    """exp / sum of exp over the edges of a row (a column if ``turned``), without those where ``present`` is 0."""
    node, weights = edges.column if turned else edges.row, logits.exp()
    weights = weights if present is None else weights * present
    sums = weights.new_zeros(edges.shape[1 if turned else 0]).index_add(0, node, weights)
    return weights / sums[node].clamp(min=1e-12)


class EdgeDots(torch.autograd.Function):
    @staticmethod
    def forward(ctx, edges, x, y):
        ctx.edges = edges
        ctx.save_for_backward(x, y)
        return edges._dots(x, y)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return None, ctx.edges._sum(grad, y.contiguous(), False), ctx.edges._sum(grad, x.contiguous(), True)


class EdgeSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, edges, values, y, turned):
        ctx.edges, ctx.turned = edges, turned
        ctx.save_for_backward(values, y)
        return edges._sum(values, y.contiguous(), turned)

    @staticmethod
    def backward(ctx, grad):
        values, y = ctx.saved_tensors
        grad_values = grad_y = None
        grad = grad.contiguous()
        if ctx.needs_input_grad[1]:
            grad_values = ctx.edges._dots(*((y, grad) if ctx.turned else (grad, y)))
        if ctx.needs_input_grad[2]:
            grad_y = ctx.edges._sum(values, grad, not ctx.turned)
        return None, grad_values, grad_y, None


class EdgeSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, edges, logits, present, turned):
        weights = logits.exp() if present is None else logits.exp() * present
        weights = weights / edges._shares(weights, turned).clamp_(min=1e-12)
        ctx.edges, ctx.turned = edges, turned
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx, grad):
        (weights,) = ctx.saved_tensors
        grad = weights * grad
        return None, grad - weights * ctx.edges._shares(grad, ctx.turned), None, None
