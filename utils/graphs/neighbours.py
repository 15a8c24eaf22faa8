"""Nearest items by any matrix of features: as lists, as graphs of items, and as a mixture of graphs."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from utils.errors import CourseError
from utils.graphs.adjacency import normalise, to_torch


def nearest_items(matrix: np.ndarray, k: int, mask: np.ndarray | None = None) -> np.ndarray:
    """Return the k items with the highest cosine to each item, best first: (n_items, k) int64 item_ids.

    An item is not its own neighbour, and a missing one (mask False, or a zero row) is nobody's; its own row is -1.
    Equal cosines are ordered by item_id.

    Args:
        matrix: (n_items, dim).
        k: neighbours for each item.
        mask: (n_items,) bool, True = present.

    Raises:
        CourseError: fewer than k + 1 items are present.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    lengths = np.linalg.norm(matrix, axis=1)
    present = lengths > 0 if mask is None else np.asarray(mask, dtype=bool) & (lengths > 0)
    if present.sum() <= k:
        raise CourseError(f"Only {present.sum()} items are present; ask for fewer than {k} neighbours.")
    unit = matrix / np.maximum(lengths, 1e-12)[:, None]
    found = np.full((len(matrix), k), -1, dtype=np.int64)
    for item in np.flatnonzero(present):
        cosines = np.where(present, unit @ unit[item], -np.inf)
        cosines[item] = -np.inf
        # rounded, because a product gives equal rows other last bits in other places
        found[item] = np.argsort(-cosines.round(9), kind="stable")[:k]
    return found


def shared_label(neighbours: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return, for each item, the share of its neighbours with the item's own label: (n_items,), NaN without neighbours.

    Args:
        neighbours: (n_items, k) item_ids, -1 = none.
        labels: (n_items,) words.
    """
    labels = np.asarray(labels)
    same = (labels[neighbours] == labels[:, None]).astype(float)
    same[neighbours < 0] = np.nan
    known = ~np.isnan(same).all(axis=1)
    shares = np.full(len(labels), np.nan)
    shares[known] = np.nanmean(same[known], axis=1)
    return shares


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
    """The graph of ``knn_graph`` with all weights 1, computed faster, for graphs that are rebuilt in every epoch.

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
