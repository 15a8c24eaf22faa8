"""Graphs of users and items: who took what, which items look or sound alike, and how to walk on them fast.

All graphs are ``torch.sparse_csr`` float32, and none of them is trained here: the gradient goes to the node vectors.
"""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

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


def knn_graph(
    matrix: np.ndarray | torch.Tensor,
    k: int,
    mask: np.ndarray | torch.Tensor | None = None,
    weighted: bool = False,
    chunk: int = 1024,
    include_self: bool = True,
    candidates: np.ndarray | None = None,
) -> torch.Tensor:
    """Link every item to its k most similar items by cosine: (n, n) ``sparse_csr``, row = item, directed.

    Rows are done in chunks: never more than (chunk, n) similarities at once.

    Args:
        matrix: (n, d) features.
        k: neighbours of an item, itself among them with ``include_self`` (always the first then); fewer if there are no
            more.
        mask: (n,) bool, True = has this modality; the others get no neighbours and are nobody's neighbours. Zero rows
            count as missing: they have no direction.
        weighted: keep the cosine as the value of the edge, otherwise 1.
        candidates: item ids that may be neighbours (all by default), for example only items seen in training.
    """
    matrix = torch.as_tensor(np.asarray(matrix), dtype=torch.float32)
    n_items = len(matrix)
    present = matrix.square().sum(1) > 0
    if mask is not None:
        present &= torch.as_tensor(np.asarray(mask), dtype=torch.bool)
    if not torch.isfinite(matrix[present]).all():
        raise CourseError("The features of the item graph hold NaN or infinity; extract them again.")
    allowed = present.clone()
    if candidates is not None:
        allowed[:] = False
        allowed[torch.as_tensor(candidates)] = True
        allowed &= present
    unit = F.normalize(matrix, dim=1)
    columns = allowed.nonzero().ravel()
    if k < 1:
        raise CourseError(f"k = {k}: an item needs at least one neighbour; choose 10.")
    parts = []
    for rows in present.nonzero().ravel().split(chunk):
        cosines = unit[rows] @ unit[columns].T  # (chunk, candidates)
        own = rows[:, None] == columns[None, :]
        cosines = cosines.masked_fill(own, 2.0 if include_self else -torch.inf)
        values, places = cosines.topk(min(k, len(columns)), dim=1)
        keep = values.isfinite()
        heads = rows[:, None].expand_as(places)[keep]
        parts.append((heads, columns[places][keep], values[keep].clamp_(max=1.0)))
    if not parts:
        return to_torch(sp.csr_matrix((n_items, n_items)))
    heads, tails, values = (torch.cat(part).numpy() for part in zip(*parts))
    values = values if weighted else np.ones_like(values)
    return to_torch(sp.csr_matrix((values, (heads, tails)), shape=(n_items, n_items)))


def nearest_in_groups(
    unit: torch.Tensor, k: int, rows: torch.Tensor, columns: torch.Tensor, chunk: int = 256, size: int = 64
) -> sp.csr_matrix:
    """``knn_graph`` with ones for edges, for graphs that are made anew in every epoch: the same neighbours, sooner.

    Looking for the k best among thousands costs more than the cosines themselves. So the columns are dealt out to
    groups: each of the k best lies in one of the k groups with the highest maximum, and only these are searched.

    Args:
        unit: (n, d) rows of length 1.
        k: neighbours of an item, itself among them.
        rows, columns: (n,) bool, the items that have neighbours, and those that may be neighbours.
        chunk: rows at once; size: columns in a group.
    """
    n_items, n_groups = len(unit), -(-len(unit) // size)
    others = F.pad(unit.T, (0, n_groups * size - n_items)).contiguous()
    closed = (~F.pad(columns, (0, n_groups * size - n_items))).nonzero().ravel()
    n_best, heads, tails = min(k, n_groups), [], []
    for ids in rows.nonzero().ravel().split(chunk):
        cosines = unit[ids] @ others
        cosines[torch.arange(len(ids)), ids] = 2.0
        cosines[:, closed] = -2.0
        grouped = cosines.view(len(ids), size, n_groups)  # a column belongs to group column % n_groups
        best = grouped.amax(1).topk(n_best, dim=1).indices
        few = grouped.gather(2, best[:, None, :].expand(-1, size, -1)).flatten(1)
        values, places = few.topk(min(k, n_items), dim=1)
        found = places // n_best * n_groups + best.gather(1, places % n_best)
        heads.append(ids[:, None].expand_as(found)[values > -1.5])
        tails.append(found[values > -1.5])
    if not heads:
        return sp.csr_matrix((n_items, n_items), dtype=np.float32)
    places = torch.cat(heads).numpy(), torch.cat(tails).numpy()
    return sp.csr_matrix((np.ones(len(places[0]), dtype=np.float32), places), shape=(n_items, n_items))


def co_taken_weights(graphs: dict, interactions: sp.spmatrix) -> dict[str, float]:
    """Weigh each item graph by what training says of it: modality -> weight, 0 or more, sum 1.

    The weight is the share of edges whose two items some user took both, minus that share among all pairs of items; an
    item's edge to itself does not count. Equal weights where no graph is above chance.

    Args:
        graphs: modality -> (n_items, n_items) sparse matrix; its edges count as ones.
        interactions: (n_users, n_items) binary, the train part only.
    """
    taken = sp.csr_matrix(interactions, dtype=np.float32)
    together = sp.csr_matrix(taken.T @ taken)
    together.setdiag(0)
    together.eliminate_zeros()
    n_items, lift = taken.shape[1], {}
    for modality, graph in graphs.items():
        edges = sp.csr_matrix(graph != 0, dtype=np.float32)
        edges.setdiag(0)
        edges.eliminate_zeros()
        agreeing = edges.multiply(together != 0).nnz / max(edges.nnz, 1)
        lift[modality] = max(agreeing - together.nnz / max(n_items * (n_items - 1), 1), 0.0)
    total = sum(lift.values())
    return {m: value / total if total else 1 / len(lift) for m, value in lift.items()}


def mix_graphs(graphs: dict, weights: dict[str, float] | None, warm: np.ndarray) -> sp.csr_matrix:
    """S = sum over m of a_m S^m with rows of S^m that sum to 1; a row without S^m gives its share to the others.

    Args:
        graphs: modality -> (n_items, n_items) sparse matrix; its edges count as ones.
        weights: modality -> a_m, in any scale; equal by default.
        warm: (n_items,) 1 = seen in training; the columns of the others are left out.
    """
    weights, warm, n_items = weights or dict.fromkeys(graphs, 1.0), np.asarray(warm, dtype=float), len(warm)
    total, share = sp.csr_matrix((n_items, n_items)), np.zeros(n_items)
    for modality in graphs:
        if graphs[modality].shape != (n_items, n_items):
            raise CourseError(f"The {modality} item graph is {graphs[modality].shape}, the split has {n_items} items.")
        weight = float(weights.get(modality, 0.0))
        graph = normalise((graphs[modality] != 0) @ sp.diags(warm), "row")
        total = total + weight * graph
        share += weight * np.asarray(graph.sum(1)).ravel()
    if not share.any():
        raise CourseError(f"modality_weights {weights} leaves no item graph; weight one of {', '.join(graphs)}.")
    scale = np.divide(1.0, share, out=np.zeros(n_items), where=share > 0)
    return sp.csr_matrix(sp.diags(scale) @ total)


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


class _SparseTimesDense(torch.autograd.Function):
    """graph @ x with the gradient graph^T @ g; the transposed graph is given, so nothing is converted on the way."""

    @staticmethod
    def forward(ctx, graph, transposed, x):
        ctx.transposed = transposed
        return _times(graph, x)

    @staticmethod
    def backward(ctx, grad):
        return None, None, _times(ctx.transposed, grad)


def propagate(graph: torch.Tensor, x: torch.Tensor, transposed: torch.Tensor | None = None) -> torch.Tensor:
    """One step on the graph: (n, n) sparse times (n, d). Leave ``transposed`` out for a symmetric graph."""
    return _SparseTimesDense.apply(graph, graph if transposed is None else transposed, x)


class _MeanOfLayers(torch.autograd.Function):
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


def mean_of_layers(
    adjacency: torch.Tensor, x: torch.Tensor, n_layers: int, transposed: torch.Tensor | None = None
) -> torch.Tensor:
    """LightGCN's propagation: the mean of x, A x, ..., A^L x, holding one layer at a time.

    Args:
        adjacency: (n, n) ``sparse_csr``, symmetric unless ``transposed`` is given: the gradient needs A^T.
        x: (n, d) vectors of the nodes, users first.
    """
    return _MeanOfLayers.apply(adjacency, adjacency if transposed is None else transposed, x, n_layers)


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
