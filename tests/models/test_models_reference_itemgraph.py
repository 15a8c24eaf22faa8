"""LATTICE, MGCN and GRCN against their equations written out in loops, on a tiny graph."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from test_models_reference import (
    FEATURES,
    NEG,
    POS,
    SPLIT,
    TRAIN,
    USERS,
    WARM,
    bpr_loop,
    matrix_of,
    numbers,
    propagated,
    scores_of,
    squares,
)

from utils.errors import CourseError
from utils.graphs.edges import Edges
from utils.models import make_model
from utils.training import fit

GIVEN = {"visual": sp.csr_matrix(np.abs(np.random.default_rng(5).normal(size=(7, 7))).round(1))}
COLD = [i for i in range(7) if not WARM[i]]


def vectors_of(feature, normalise="l2") -> dict[int, np.ndarray]:
    """Item -> unit vector, for the items that have the modality."""
    matrix = feature.matrix.astype(float)
    centre = matrix[feature.mask].mean(0) if normalise == "centred" else 0.0
    return {i: unit(matrix[i] - centre) for i in range(7) if feature.mask[i]}


def unit(x: np.ndarray) -> np.ndarray:
    return x / max(np.linalg.norm(x), 1e-12)


def linear(layer, x: np.ndarray) -> np.ndarray:
    return layer.weight.detach().double().numpy() @ x + layer.bias.detach().double().numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def nearest(vectors: dict[int, np.ndarray], k: int) -> np.ndarray:
    """The k largest cosines of each row, itself first, warm columns only; negative ones are no edges."""
    graph = np.zeros((7, 7))
    for i, x in vectors.items():
        cosine = {j: unit(x) @ unit(y) for j, y in vectors.items() if WARM[j]}
        for j in sorted(cosine, key=lambda j: -2 if j == i else -cosine[j])[:k]:
            graph[i, j] = max(0.0, cosine[j])
    return graph


def laplace(graph: np.ndarray) -> np.ndarray:
    sums, result = graph.sum(1), np.zeros((7, 7))
    for i in range(7):
        for j in range(7):
            if graph[i, j] > 0:
                result[i, j] = graph[i, j] / math.sqrt(sums[i] * sums[j])
    return result


def softmax(values) -> np.ndarray:
    powers = np.exp(np.asarray(values, dtype=float))
    return powers / powers.sum()


def in_training(model) -> float:
    model.train()
    model.begin_epoch(torch.Generator().manual_seed(0))
    loss = float(model.loss(USERS, POS, NEG).detach())
    model.eval()
    return loss


# ---- edges ----


def test_edges_against_dense_matrices():
    rng = torch.Generator().manual_seed(1)
    places = sp.random(6, 5, density=0.5, random_state=2).toarray()
    places[3] = 0  # a row without edges
    places = sp.csr_matrix(places)
    edges, dense = Edges(places), torch.from_numpy(places.toarray() != 0)
    x, y = torch.randn(6, 3, generator=rng), torch.randn(5, 3, generator=rng)
    values = torch.randn(places.nnz, generator=rng)
    x, y, values = (t.double().float().requires_grad_() for t in (x, y, values))

    def spread(v):
        return torch.zeros(6, 5).index_put((edges.row, edges.column), v)

    pairs = [
        (edges.dots(x, y), (x @ y.T)[dense]),
        (edges.sum(values, y), spread(values) @ y),
        (edges.sum(values, x, turned=True), spread(values).T @ x),
        (edges.softmax(values), spread(values).masked_fill(~dense, -torch.inf).softmax(1)[dense]),
        (edges.softmax(values, turned=True), spread(values).masked_fill(~dense, -torch.inf).softmax(0)[dense]),
    ]
    for fast, plain in pairs:
        assert torch.allclose(fast, plain, atol=1e-6)
        goal = torch.randn(fast.shape, generator=rng)
        grads = [torch.autograd.grad((out * goal).sum(), (x, y, values), allow_unused=True) for out in (fast, plain)]
        for one, two in zip(*grads):
            assert (one is None) == (two is None) and (one is None or torch.allclose(one, two, atol=1e-5))
    assert edges.place(places).tolist() == list(range(places.nnz))


def test_edges_softmax_leaves_out_what_is_absent():
    edges = Edges(sp.csr_matrix(np.ones((2, 3))))
    present = torch.tensor([1.0, 0, 1, 0, 0, 0])
    shares = edges.softmax(torch.zeros(6), present)
    assert torch.allclose(shares, torch.tensor([0.5, 0, 0.5, 0, 0, 0]))  # a row of absent edges: zeros, not NaN


# ---- LATTICE ----


def lattice_graph(model, k: int, keep: float) -> np.ndarray:
    a = softmax(model.importance.detach().numpy())
    fixed, learned = np.zeros((7, 7)), np.zeros((7, 7))
    for share, (modality, feature) in zip(a, FEATURES.items()):
        vectors = vectors_of(feature)
        fixed += share * laplace(nearest(vectors, k))
        learned += share * nearest({i: linear(model.project[modality], x) for i, x in vectors.items()}, k)
    return keep * fixed + (1 - keep) * laplace(learned)


def row_walk(users, items, n_layers):
    """The mean of the layers on D^-1 (A + I)."""
    adjacency = np.eye(11)
    for u, i in TRAIN:
        adjacency[u, 4 + i] = adjacency[4 + i, u] = 1
    adjacency /= adjacency.sum(1, keepdims=True)
    layers = [np.concatenate([users, items])]
    for _ in range(n_layers):
        layers.append(adjacency @ layers[-1])
    return np.mean(layers, axis=0)[:4], np.mean(layers, axis=0)[4:]


@pytest.mark.parametrize("adjacency", ["symmetric", "row"])
@pytest.mark.parametrize("k, n_item_layers", [(2, 1), (4, 2)])
def test_lattice(adjacency, k, n_item_layers):
    settings = {"dim": 3, "k": k, "keep": 0.6, "n_item_layers": n_item_layers, "reg": 0.1, "adjacency": adjacency}
    model = make_model("lattice", SPLIT, FEATURES, **settings)
    with torch.no_grad():
        model.importance.copy_(torch.tensor([0.1, -0.5, 1.0]))
    users, own = numbers(model.user_table), numbers(model.item_table) * np.array(WARM)[:, None]
    walk = row_walk(users, own, 2) if adjacency == "row" else propagated(users, own, TRAIN, 2)
    final_users, final_items = walk
    h = np.linalg.matrix_power(lattice_graph(model, k, 0.6), n_item_layers) @ own
    final = final_items + np.array([unit(row) for row in h])

    def score(u, i):
        return float(final_users[u] @ final[i])

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-5)
    expected = bpr_loop(score) + 0.1 * squares(users[USERS], own[POS], own[NEG])
    assert in_training(model) == pytest.approx(expected, rel=1e-4)
    assert np.allclose(final_items[COLD], 0) and scores_of(model)[:, 5].any()  # content alone ranks a cold item


def test_lattice_gradient_of_the_row_normalised_walk_is_the_true_one():
    model = make_model("lattice", SPLIT, FEATURES, dim=3, k=3, adjacency="row", keep=0.5)
    loss = model.loss(USERS, POS, NEG)
    loss.backward()
    for table in (model.user_table.weight, model.project["visual"].weight, model.importance):
        spot = (0,) * table.ndim
        values = []
        for step in (1e-2, -1e-2):
            with torch.no_grad():
                table[spot] += step
            values.append(float(model.loss(USERS, POS, NEG).detach()))
            with torch.no_grad():
                table[spot] -= step
        assert float(table.grad[spot]) == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.05, abs=2e-5)


@pytest.mark.parametrize("graph_batches", [1, 2])
def test_lattice_learns_its_graph_in_the_first_batches_of_an_epoch_only(graph_batches):
    model = make_model("lattice", SPLIT, FEATURES, graph_batches=graph_batches)
    model.train()
    for _ in range(2):  # epochs
        model.begin_epoch(torch.Generator())
        for number in range(4):
            model.zero_grad()
            model.loss(USERS, POS, NEG).backward()
            reached = [w.grad is not None for w in (model.importance, model.project["visual"].weight)]
            assert reached == [number < graph_batches] * 2
            assert model.item_table.weight.grad.any()


def test_lattice_in_training_keeps_the_graph_of_the_epoch_and_scores_with_the_present_one():
    model = make_model("lattice", SPLIT, FEATURES, k=2, keep=0.0, graph_batches=1)
    model.train()
    model.begin_epoch(torch.Generator())
    first = float(model.loss(USERS, POS, NEG).detach())
    before = scores_of(model)
    with torch.no_grad():
        for layer in model.project.values():
            layer.weight.copy_(-layer.weight.roll(1, 0).roll(1, 1) + 0.1)
    assert float(model.loss(USERS, POS, NEG).detach()) == pytest.approx(first, abs=1e-6)
    assert not np.allclose(scores_of(model), before)


def test_lattice_with_given_graphs_alone_and_with_one_modality():
    model = make_model("lattice", SPLIT, item_graphs=GIVEN, dim=3)
    assert "learned graph falls away" in model.notes[0] and not hasattr(model, "importance")
    users, own = numbers(model.user_table), numbers(model.item_table) * np.array(WARM)[:, None]
    final_users, final_items = propagated(users, own, TRAIN, 2)
    h = laplace(GIVEN["visual"].toarray() * np.array(WARM)) @ own
    final = final_items + np.array([unit(row) for row in h])
    assert np.allclose(scores_of(model), final_users @ final.T, atol=1e-6)
    fit("lattice", SPLIT, item_graphs=GIVEN, n_epochs=1)
    one = make_model("lattice", SPLIT, {"visual": FEATURES["visual"]})
    assert not one.notes and not hasattr(one, "importance")


def test_lattice_mistakes_are_named():
    with pytest.raises(CourseError, match="got no features"):
        make_model("lattice", SPLIT)
    with pytest.raises(CourseError, match="symmetric"):
        make_model("lattice", SPLIT, FEATURES, adjacency="symetric")


# ---- MGCN ----


def mgcn_parts(model, graphs: dict, opening) -> tuple[np.ndarray, np.ndarray]:
    """(U, side) of the 4 users and 7 items; ``opening(m, i)``: the gate of an item."""
    own = numbers(model.item_table) * np.array(WARM)[:, None]
    behaviour = np.concatenate(list(propagated(numbers(model.user_table), own, TRAIN, 2)))
    views, has = [], []
    for m, graph in graphs.items():
        items = laplace(graph * np.array(WARM)) @ np.array([own[i] * opening(m, i) for i in range(7)])
        users, mask = np.zeros((4, own.shape[1])), [False] * 4 + [bool(row.any()) for row in graph * np.array(WARM)]
        for u, i in TRAIN:
            degrees = sum(v == u for v, _ in TRAIN) * sum(j == i for _, j in TRAIN)
            users[u] += items[i] / math.sqrt(degrees)
            mask[u] |= mask[4 + i]
        views.append(np.concatenate([users, items]))
        has.append(mask)
    if len(views) == 1:
        return behaviour, views[0] / 2
    side = np.zeros_like(behaviour)
    for n in range(11):
        mine = [place for place in range(len(views)) if has[place][n]]
        if not mine:
            continue
        query = model.attention.query.weight.detach().double().numpy()[0]
        a = softmax([query @ np.tanh(linear(model.attention.hidden, views[place][n])) for place in mine])
        common = sum(share * views[place][n] for share, place in zip(a, mine))
        side[n] = common
        for place in mine:
            preference = sigmoid(linear(model.prefer[list(graphs)[place]], behaviour[n]))
            side[n] += preference * (views[place][n] - common)
    return behaviour, side / (len(views) + 1 if model.settings["average"] else 1)


def contrast_loop(side, behaviour, nodes, temperature) -> float:
    total = 0.0
    for n in nodes:
        logits = [unit(side[n]) @ unit(behaviour[other]) / temperature for other in nodes]
        total -= math.log(softmax(logits)[nodes.index(n)])
    return total / len(nodes)


@pytest.mark.parametrize(
    "modalities, average",
    [(("visual",), True), (("visual", "textual", "audio"), True), (("visual", "textual", "audio"), False)],
)
def test_mgcn(modalities, average):
    features = {m: FEATURES[m] for m in modalities}
    settings = {"dim": 3, "k": 3, "contrast": 0.5, "temperature": 0.3, "reg": 0.1, "average": average}
    model = make_model("mgcn", SPLIT, features, **settings)
    graphs = {m: nearest(vectors_of(feature, "centred"), 3) for m, feature in features.items()}

    def opening(m, i):
        x = vectors_of(features[m], "centred").get(i)
        return 1.0 if x is None else sigmoid(linear(model.gate[m], linear(model.project[m], x)))

    behaviour, side = mgcn_parts(model, graphs, opening)
    final = behaviour + side

    def score(u, i):
        return float(final[u] @ final[4 + i])

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    own = numbers(model.item_table)
    users = USERS.tolist() + USERS.tolist()[:1]  # user 0 and item 1 twice: each counts once in the contrast
    expected = bpr_loop(score) + 0.1 * squares(numbers(model.user_table)[USERS], own[POS], own[NEG])
    expected += 0.5 * contrast_loop(side, behaviour, sorted(set(users)), 0.3)
    expected += 0.5 * contrast_loop(side, behaviour, sorted({4 + i for i in POS.tolist()}), 0.3)
    assert in_training(model) == pytest.approx(expected, rel=1e-4)
    assert np.allclose(behaviour[[4 + i for i in COLD]], 0) and scores_of(model)[:, 5].any()


def test_mgcn_contrasts_each_user_and_item_of_a_batch_once():
    model = make_model("mgcn", SPLIT, FEATURES, contrast=1.0, reg=0.0)
    twice = [torch.cat([ids, ids]) for ids in (USERS, POS, NEG)]
    once = float(model.loss(USERS, POS, NEG).detach())
    assert float(model.loss(*twice).detach()) == pytest.approx(once, rel=1e-5)


def test_mgcn_with_given_graphs_opens_the_gates():
    model = make_model("mgcn", SPLIT, item_graphs=GIVEN, dim=3)
    assert "no visual features: that gate is open" in model.notes[0]
    behaviour, side = mgcn_parts(model, {"visual": GIVEN["visual"].toarray()}, lambda m, i: 1.0)
    final = behaviour + side
    assert np.allclose(scores_of(model), final[:4] @ final[4:].T, atol=1e-6)
    fit("mgcn", SPLIT, item_graphs=GIVEN, n_epochs=1)
    mixed = make_model("mgcn", SPLIT, {"textual": FEATURES["textual"]}, item_graphs=GIVEN)
    assert mixed.views == ["visual", "textual"] and list(mixed.gate) == ["textual"] and mixed.notes
    with pytest.raises(CourseError, match="got no features"):
        make_model("mgcn", SPLIT)


# ---- GRCN ----


def grcn_final(model, features) -> tuple[np.ndarray, np.ndarray]:
    n_m = len(features)
    taken = {u: [i for v, i in TRAIN if v == u] for u in range(4)}
    takers = {i: [u for u, j in TRAIN if j == i] for i in range(7)}
    conf_u, conf_i = (c.detach().double().numpy() for c in (model.user_confidence, model.item_confidence))
    to_user, to_item = np.zeros((n_m, 4, 7)), np.zeros((n_m, 4, 7))
    users, items = [], []
    for place, (m, feature) in enumerate(features.items()):
        f = np.zeros((7, 3))
        for i, x in vectors_of(feature, "centred").items():
            y = linear(model.project[m], x)
            f[i] = unit(np.where(y > 0, y, 0.01 * y))
        p = np.array([unit(row) for row in numbers(model.tastes[m])])

        def attention(u, ids, f=f, p=p):
            return dict(zip(ids, softmax([p[u] @ f[i] for i in ids]))) if ids else {}

        for _ in range(3):
            new = p.copy()
            for u in range(4):
                a = attention(u, [i for i in taken[u] if feature.mask[i]], p=p)
                new[u] = unit(p[u] + sum((share * f[i] for i, share in a.items()), np.zeros(3)))
            p = new
        user, item = p.copy(), f.copy()
        for u in range(4):
            for i, share in attention(u, [i for i in taken[u] if feature.mask[i]], p=p).items():
                to_user[place, u, i] = share
                user[u] += share * f[i]
        for i in range(7):
            if feature.mask[i] and takers[i]:
                for u, share in zip(takers[i], softmax([p[u] @ f[i] for u in takers[i]])):
                    to_item[place, u, i] = share
                    item[i] += share * p[u]
        users.append(user)
        items.append(item)
    layer_u = np.array([unit(row) for row in numbers(model.user_table)])
    layer_i = np.array([unit(row) * warm for row, warm in zip(numbers(model.item_table), WARM)])
    total_u, total_i = layer_u.copy(), layer_i.copy()
    for _ in range(2):
        new_u, new_i = np.zeros_like(layer_u), np.zeros_like(layer_i)
        for u, i in TRAIN:
            new_u[u] += max(0.0, *(to_user[m, u, i] * conf_i[i, m] for m in range(n_m)), -1) * layer_i[i]
            new_i[i] += max(0.0, *(to_item[m, u, i] * conf_u[u, m] for m in range(n_m)), -1) * layer_u[u]
        layer_u, layer_i = new_u, new_i
        total_u, total_i = total_u + new_u, total_i + new_i
    return np.concatenate([total_u, *users], axis=1), np.concatenate([total_i, *items], axis=1)


@pytest.mark.parametrize("modalities", [("textual",), ("visual", "textual", "audio")])
def test_grcn(modalities):
    features = {m: FEATURES[m] for m in modalities}
    model = make_model("grcn", SPLIT, features, dim=3, reg=0.1, n_routings=3)
    with torch.no_grad():  # some edges are cut
        model.user_confidence.normal_()
        model.item_confidence.normal_()
    users, items = grcn_final(model, features)

    def score(u, i):
        return float(users[u] @ items[i])

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-5)
    groups = [numbers(model.user_table)[USERS], numbers(model.item_table)[POS], numbers(model.item_table)[NEG]]
    groups += [numbers(model.tastes[m])[USERS] for m in modalities]
    assert in_training(model) == pytest.approx(bpr_loop(score) + 0.1 * squares(*groups), rel=1e-4)


def test_grcn_confidence_starts_as_released_or_at_a_number():
    ones = make_model("grcn", SPLIT, FEATURES, confidence=1.0)
    assert (ones.user_confidence == 1).all() and (ones.item_confidence == 1).all()
    released = make_model("grcn", SPLIT, FEATURES)
    assert (released.item_confidence < 0).any() and (released.item_confidence > 0).any()


def test_grcn_an_edge_without_confidence_is_cut_and_a_cold_item_is_its_content():
    model = make_model("grcn", SPLIT, FEATURES, dim=3)
    with torch.no_grad():
        model.user_confidence.fill_(-1)
        model.item_confidence.fill_(-1)
    users, items = model.embeddings()
    expected = torch.nn.functional.normalize(model.user_table.weight, dim=1)
    assert torch.allclose(users[:, :3], expected)  # no messages on the id side
    assert not items[COLD][:, :3].any() and items[COLD][:, 3:].any()
    bare = make_model("grcn", SPLIT, {"textual": FEATURES["textual"]}, dim=3).embeddings()[1]
    assert not bare[2, 3:].any() and bare[2, :3].any()  # item 2 has no text: its id vector, and no edges
