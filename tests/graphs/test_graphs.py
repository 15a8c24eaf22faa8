"""utils.graphs against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from utils.errors import CourseError
from utils.graphs import (
    co_taken_weights,
    knn_graph,
    mean_of_layers,
    mix_graphs,
    nearest_in_groups,
    normalised_adjacency,
    over_hyperedges,
    propagate,
    prune_edges,
    to_scipy,
    to_torch,
)

EDGES = np.array([[0, 0], [0, 1], [1, 1], [2, 0], [2, 2], [2, 1], [0, 1]])  # the last one is a repeat


def dense_adjacency(edges, n_users, n_items, self_loops=False):
    matrix = np.zeros((n_users + n_items, n_users + n_items))
    for user, item in edges:
        matrix[user, n_users + item] = matrix[n_users + item, user] = 1
    return matrix + np.eye(len(matrix)) * self_loops


@pytest.mark.parametrize("self_loops", [False, True])
@pytest.mark.parametrize("kind", ["symmetric", "row"])
def test_adjacency_equals_dense(kind, self_loops):
    dense = dense_adjacency(EDGES, 4, 5, self_loops)  # user 3 and items 3, 4 have no edge
    degree = dense.sum(1)
    with np.errstate(divide="ignore"):
        power = degree ** (-0.5 if kind == "symmetric" else -1.0)
    power[degree == 0] = 0
    expected = np.diag(power) @ dense @ (np.diag(power) if kind == "symmetric" else np.eye(9))
    graph = normalised_adjacency(EDGES, 4, 5, kind, self_loops)
    assert graph.layout == torch.sparse_csr
    assert np.allclose(graph.to_dense().numpy(), expected, atol=1e-6)
    if kind == "row":
        assert np.allclose(graph.to_dense().sum(1)[degree > 0], 1)


def test_scipy_and_back():
    matrix = sp.random(6, 8, 0.3, format="csr", random_state=0)
    assert np.allclose(to_scipy(to_torch(matrix)).toarray(), matrix.toarray())


def cosine_neighbours(matrix, k, mask, include_self):
    """The slow way: for each row, the set of its k most similar rows."""
    neighbours = []
    for i in range(len(matrix)):
        if not mask[i]:
            neighbours.append({})
            continue
        found = []
        for j in range(len(matrix)):
            if mask[j] and (include_self or i != j):
                value = matrix[i] @ matrix[j] / np.linalg.norm(matrix[i]) / np.linalg.norm(matrix[j])
                found.append((value, j))
        neighbours.append({j: value for value, j in sorted(found, reverse=True)[:k]})
    return neighbours


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("chunk", [7, 1024])
def test_knn_graph_equals_loops(chunk, include_self):
    rng = np.random.default_rng(1)
    matrix, mask = rng.normal(size=(30, 5)).astype(np.float32), rng.random(30) > 0.2
    matrix[~mask] = 0
    expected = cosine_neighbours(matrix.astype(float), 4, mask, include_self)
    binary = to_scipy(knn_graph(matrix, 4, mask, chunk=chunk, include_self=include_self))
    weighted = to_scipy(knn_graph(matrix, 4, mask, weighted=True, chunk=chunk, include_self=include_self))
    for i, row in enumerate(expected):
        assert set(binary[i].indices) == set(row)
        assert (binary[i].data == 1).all()
        for j, value in row.items():
            assert weighted[i, j] == pytest.approx(value, abs=1e-5)


def test_missing_and_zero_rows_are_nobodys_neighbours():
    matrix = np.ones((6, 3), dtype=np.float32)
    matrix[2] = 0
    mask = np.array([True, True, True, False, True, True])
    graph = to_scipy(knn_graph(matrix, 10, mask)).toarray()
    assert not graph[[2, 3]].any() and not graph[:, [2, 3]].any()
    assert graph[np.ix_([0, 1, 4, 5], [0, 1, 4, 5])].all()  # fewer than k present: all of them
    nothing = knn_graph(np.zeros((4, 2)), 3)
    assert to_scipy(nothing).nnz == 0 and nothing.shape == (4, 4)


def test_an_item_is_its_own_first_neighbour_even_among_copies():
    graph = to_scipy(knn_graph(np.ones((9, 2)), 2)).toarray()
    assert (graph.diagonal() == 1).all() and (graph.sum(1) == 2).all()


def test_candidates_limit_the_neighbours_not_the_rows():
    rng = np.random.default_rng(0)
    graph = to_scipy(knn_graph(rng.normal(size=(10, 3)), 3, candidates=np.arange(5)))
    assert (np.diff(graph.indptr) == 3).all()
    assert graph.indices.max() < 5


@pytest.mark.parametrize("n, k, size", [(7, 3, 64), (200, 10, 4), (200, 10, 64), (5, 9, 2), (130, 1, 16)])
def test_neighbours_by_groups_are_those_of_all_columns(n, k, size):
    rng = np.random.default_rng(n + size)
    unit = torch.nn.functional.normalize(torch.as_tensor(rng.normal(size=(n, 4)), dtype=torch.float32), dim=1)
    rows, warm = torch.as_tensor(rng.random(n) < 0.8), torch.as_tensor(rng.random(n) < 0.7)
    rows[0] = warm[0] = True
    found = nearest_in_groups(unit, k, rows, rows & warm, chunk=8, size=size)
    expected = to_scipy(knn_graph(unit, k, rows, candidates=warm.nonzero().ravel()))
    np.testing.assert_array_equal(found.toarray(), expected.toarray())
    nothing = torch.zeros(n, dtype=torch.bool)
    assert nearest_in_groups(unit, k, nothing, nothing).nnz == 0


def test_knn_mistakes_are_named():
    with pytest.raises(CourseError, match="NaN"):
        knn_graph(np.array([[1.0, np.inf], [1.0, 2.0]]), 1)
    with pytest.raises(CourseError, match="at least one neighbour"):
        knn_graph(np.eye(3), 0)


def test_propagate_and_its_gradient():
    torch.manual_seed(0)
    matrix = sp.random(6, 6, 0.4, format="csr", random_state=0)
    graph, transposed = to_torch(matrix), to_torch(matrix.T)
    x, dense = torch.randn(6, 3, requires_grad=True), torch.as_tensor(matrix.toarray(), dtype=torch.float32)
    weight = torch.randn(6, 3)
    out = propagate(graph, x, transposed)
    assert torch.allclose(out, dense @ x, atol=1e-6)
    (grad,) = torch.autograd.grad((out * weight).sum(), x)
    assert torch.allclose(grad, dense.T @ weight, atol=1e-6)


@pytest.mark.parametrize("kind", ["symmetric", "row"])
@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_mean_of_layers_equals_the_sum_written_out(n_layers, kind):
    torch.manual_seed(0)
    graph = normalised_adjacency(EDGES, 4, 5, kind=kind)
    turned = None if kind == "symmetric" else to_torch(to_scipy(graph).T)
    x, dense = torch.randn(9, 3, requires_grad=True), graph.to_dense()
    layers = [x]
    for _ in range(n_layers):
        layers.append(dense @ layers[-1])
    slow, fast = torch.stack(layers).mean(0), mean_of_layers(graph, x, n_layers, turned)
    assert torch.allclose(fast, slow, atol=1e-6)
    weight = torch.randn(9, 3)
    (expected,) = torch.autograd.grad((slow * weight).sum(), x)
    (grad,) = torch.autograd.grad((fast * weight).sum(), x)
    assert torch.allclose(grad, expected, atol=1e-6)


def test_pruning_keeps_the_share_and_spares_quiet_nodes():
    rng = np.random.default_rng(0)
    # one popular item 0 taken by everybody, and one private item for each user
    edges = np.array([[u, 0] for u in range(200)] + [[u, u + 1] for u in range(200)])
    edges = edges[rng.permutation(len(edges))]
    generator = torch.Generator().manual_seed(0)
    kept = [prune_edges(edges, 200, 201, 0.8, generator) for _ in range(20)]
    assert all(len(part) == 80 for part in kept)
    assert all(len(np.unique(part, axis=0)) == 80 for part in kept)  # without replacement
    popular = np.mean([(part[:, 1] == 0).mean() for part in kept])
    # weights 1/sqrt(2 * 200) against 1/sqrt(2 * 1): the popular item starts with odds of 1 to 14.1
    assert 0.05 < popular < 0.15
    assert not np.array_equal(kept[0], kept[1])
    again = prune_edges(edges, 200, 201, 0.8, torch.Generator().manual_seed(0))
    assert np.array_equal(kept[0], again)
    assert prune_edges(edges, 200, 201, 0.0) is edges
    with pytest.raises(CourseError, match="below 1"):
        prune_edges(edges, 200, 201, 1.0)


def test_mix_shares_the_weight_among_what_an_item_has():
    first = sp.csr_matrix(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]]) * 0.3)  # the values do not count
    second = sp.csr_matrix(np.array([[0, 0, 1], [0, 0, 0], [0, 0, 1]]))
    mixed = mix_graphs({"visual": first, "textual": second}, {"visual": 1, "textual": 3}, np.ones(3)).toarray()
    assert np.allclose(mixed, [[0.125, 0.125, 0.75], [0, 1, 0], [0, 0, 1]])
    equal = mix_graphs({"visual": first, "textual": second}, None, np.array([1, 0, 1])).toarray()
    assert np.allclose(equal, [[0.5, 0, 0.5], [0, 0, 0], [0, 0, 1]])  # item 1 is cold: nobody's neighbour
    with pytest.raises(CourseError, match="no item graph"):
        mix_graphs({"visual": first}, {"textual": 1.0}, np.ones(3))


def test_graphs_are_weighed_by_the_edges_whose_items_were_taken_together():
    taken = sp.csr_matrix([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=np.float32)  # together: 01, 12
    good = sp.csr_matrix([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]], dtype=np.float32)
    poor = sp.csr_matrix([[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 1]], dtype=np.float32)
    chance = 4 / 12  # ordered pairs of different items
    lift = {"visual": 3 / 4 - chance, "textual": max(1 / 4 - chance, 0)}
    found = co_taken_weights({"visual": good, "textual": poor}, taken)
    assert found == pytest.approx({m: value / sum(lift.values()) for m, value in lift.items()})
    assert co_taken_weights({"visual": poor, "audio": poor}, taken) == {"visual": 0.5, "audio": 0.5}


def test_items_meet_in_hyperedges_and_the_sums_come_back():
    rng = np.random.default_rng(0)
    belongs, items = rng.random((5, 2)), rng.random((3, 4))  # users 0 and 1, items 0 to 2
    for n_layers in (1, 2):
        own = items
        for _ in range(n_layers):
            sums = [sum(belongs[2 + i, k] * own[i] for i in range(3)) for k in range(2)]
            own = np.array([sum(belongs[2 + i, k] * sums[k] for k in range(2)) for i in range(3)])
        users = np.array([sum(belongs[u, k] * sums[k] for k in range(2)) for u in range(2)])
        found = over_hyperedges(torch.from_numpy(belongs), torch.from_numpy(items), n_layers)
        assert np.allclose(found.numpy(), np.concatenate([users, own]))
