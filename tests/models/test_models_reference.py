"""Each recommender against its equations written out in loops, on a tiny graph."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from training_helpers import make_features, make_split

from utils.errors import CourseError
from utils.models import make_model

TRAIN = [(0, 0), (0, 1), (1, 1), (1, 2), (1, 3), (2, 0), (2, 3), (3, 4), (3, 1), (3, 0)]
SPLIT = make_split(TRAIN, test=[(0, 5)], n_users=4, n_items=7)  # items 5 and 6 are cold
RNG = np.random.default_rng(0)
FEATURES = {
    "visual": make_features("visual", RNG.normal(size=(7, 5))),
    "textual": make_features("textual", RNG.normal(size=(7, 4)), [True, True, False, True, True, True, False]),
    "audio": make_features("audio", RNG.normal(size=(7, 3)), [False, True, False, False, True, False, False]),
}
WARM = [True] * 5 + [False] * 2
USERS, POS, NEG = torch.tensor([0, 1, 3, 2]), torch.tensor([1, 2, 4, 0]), torch.tensor([3, 4, 2, 1])


def numbers(table) -> np.ndarray:
    return table.weight.detach().double().numpy()


def bpr_loop(score) -> float:
    pairs = [(u, i, j) for u, i, j in zip(USERS.tolist(), POS.tolist(), NEG.tolist())]
    return sum(-math.log(1 / (1 + math.exp(score(u, j) - score(u, i)))) for u, i, j in pairs) / len(pairs)


def squares(*groups) -> float:
    return sum(float((vector**2).sum()) for group in groups for vector in group) / 2 / len(USERS)


def scores_of(model) -> np.ndarray:
    return model.score(np.arange(4)).numpy()


def matrix_of(function) -> np.ndarray:
    return np.array([[function(u, i) for i in range(7)] for u in range(4)])


def test_random_is_a_number_for_each_pair():
    model = make_model("random", SPLIT, seed=3)
    scores = scores_of(model)
    assert (scores >= 0).all() and (scores < 1).all() and len(np.unique(scores)) == scores.size
    assert np.array_equal(model.score([2]).numpy()[0], scores[2])  # whatever block a user is in
    assert not np.array_equal(scores, scores_of(make_model("random", SPLIT, seed=4)))
    big = make_model("random", make_split([(0, 0)], n_users=300, n_items=400)).score(np.arange(300)).numpy()
    assert abs(big.mean() - 0.5) < 0.005 and abs(big.std() - 12**-0.5) < 0.005
    assert abs(np.corrcoef(big[:-1].ravel(), big[1:].ravel())[0, 1]) < 0.01


def test_mostpop_counts():
    expected = [sum(item == i for _, item in TRAIN) for i in range(7)]
    assert np.array_equal(scores_of(make_model("mostpop", SPLIT)), [expected] * 4)


@pytest.mark.parametrize("k, shrink", [(2, 0.0), (50, 3.0)])
def test_itemknn(k, shrink):
    takers = [{u for u, item in TRAIN if item == i} for i in range(7)]

    def sim(i, j):
        product = math.sqrt(len(takers[i]) * len(takers[j])) + shrink
        return len(takers[i] & takers[j]) / product if product else 0.0

    def score(u, i):
        nearest = sorted((j for j in range(7) if j != i), key=lambda j: (-sim(i, j), j))[:k]
        return sum(sim(i, j) for j in nearest if (u, j) in TRAIN)

    assert np.allclose(scores_of(make_model("itemknn", SPLIT, k=k, shrink=shrink)), matrix_of(score), atol=1e-6)


@pytest.mark.parametrize("k", [2, 50])
@pytest.mark.parametrize("normalise", ["l2", "centred"])
def test_itemknn_content(k, normalise):
    def vector(i):
        parts = []
        for feature in FEATURES.values():
            matrix = feature.matrix.astype(float)
            x = matrix[i] - (matrix[feature.mask].mean(0) if normalise == "centred" else 0)
            parts.append(x / np.linalg.norm(x) if feature.mask[i] else np.zeros(len(x)))
        return np.concatenate(parts)

    def sim(i, j):
        a, b = vector(i), vector(j)
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    def score(u, i):
        warm = [j for j in range(7) if j != i and WARM[j]]
        nearest = sorted(warm, key=lambda j: -sim(i, j))[:k]
        return sum(sim(i, j) for j in nearest if (u, j) in TRAIN and sim(i, j) > 0)

    model = make_model("itemknn_content", SPLIT, FEATURES, k=k, normalise=normalise)
    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-5)
    assert scores_of(model)[:, 5].any()  # a cold item is ranked


def test_bpr():
    model = make_model("bpr", SPLIT, dim=3, reg=0.1)
    users, items = numbers(model.user_table), numbers(model.item_table)

    def score(u, i):
        return float(users[u] @ items[i])

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    expected = bpr_loop(score) + 0.1 * squares(users[USERS], items[POS], items[NEG])
    assert float(model.loss(USERS, POS, NEG).detach()) == pytest.approx(expected, rel=1e-5)


def test_vbpr():
    model = make_model("vbpr", SPLIT, FEATURES, dim=3, reg=0.1, normalise="l2")
    with torch.no_grad():
        for layer in model.represent.project:
            layer.bias.normal_()
    users, items, tastes = numbers(model.user_table), numbers(model.item_table), numbers(model.taste_table)

    def content(i):
        parts = []
        for layer, feature in zip(model.represent.project, FEATURES.values()):
            x = feature.matrix[i].astype(float)
            p = layer.weight.detach().double().numpy() @ (x / max(np.linalg.norm(x), 1e-12))
            p = p + layer.bias.detach().double().numpy()
            parts.append(p / np.linalg.norm(p) if feature.mask[i] else np.zeros(3))
        return np.concatenate(parts)

    def score(u, i):
        return float(users[u] @ items[i] * WARM[i] + tastes[u] @ content(i))

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    contents = [[content(i) for i in ids.tolist()] for ids in (POS, NEG)]
    expected = bpr_loop(score) + 0.1 * squares(users[USERS], items[POS], items[NEG], tastes[USERS], *contents)
    assert float(model.loss(USERS, POS, NEG).detach()) == pytest.approx(expected, rel=1e-5)


def propagated(users, items, edges, n_layers):
    """LightGCN, neighbour by neighbour: final (users, items)."""
    degree_u = [sum(u == user for user, _ in edges) for u in range(4)]
    degree_i = [sum(i == item for _, item in edges) for i in range(7)]
    layers = [(users, items)]
    for _ in range(n_layers):
        old_users, old_items = layers[-1]
        new_users, new_items = np.zeros_like(users), np.zeros_like(items)
        for u, i in edges:
            weight = 1 / math.sqrt(degree_u[u] * degree_i[i])
            new_users[u] += weight * old_items[i]
            new_items[i] += weight * old_users[u]
        layers.append((new_users, new_items))
    return (np.mean(part, axis=0) for part in zip(*layers))


def test_lightgcn():
    model = make_model("lightgcn", SPLIT, dim=3, n_layers=2, reg=0.1)
    users, items = numbers(model.user_table), numbers(model.item_table)
    final_users, final_items = propagated(users, items, TRAIN, 2)

    def score(u, i):
        return float(final_users[u] @ final_items[i])

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    expected = bpr_loop(score) + 0.1 * squares(users[USERS], items[POS], items[NEG])  # of layer 0
    assert float(model.loss(USERS, POS, NEG).detach()) == pytest.approx(expected, rel=1e-5)


def mixed_graph(k):
    """S of FREEDOM: row i holds the weights of the neighbours of i."""
    graph, share = np.zeros((7, 7)), np.zeros(7)
    for feature in FEATURES.values():
        x = feature.matrix.astype(float)
        for i in np.flatnonzero(feature.mask):
            warm = [j for j in range(7) if feature.mask[j] and WARM[j]]
            cosine = {j: x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) for j in warm}
            nearest = sorted(warm, key=lambda j: -cosine[j])[:k]
            graph[i, nearest] += 1 / len(nearest)
            share[i] += 1
    return graph / np.maximum(share, 1)[:, None]


def test_freedom():
    model = make_model(
        "freedom", SPLIT, FEATURES, modality_weights=None, dim=3, k=2, drop=0.0, feature_weight=0.5, reg=0.1
    )
    users = numbers(model.user_table)
    own = numbers(model.item_table) * np.array(WARM)[:, None]
    final_users, final_items = propagated(users, own, TRAIN, 2)
    graph = mixed_graph(2)
    cold = 1 - np.array(WARM)[:, None]
    final = final_items + cold * (graph @ final_items) + graph @ own

    def score(u, i):
        return float(final_users[u] @ final[i])

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    expected = bpr_loop(score) + 0.1 * squares(users[USERS], own[POS], own[NEG])
    for modality, feature in FEATURES.items():
        layer, losses = model.project[modality], []
        for u, i, j in zip(USERS.tolist(), POS.tolist(), NEG.tolist()):
            if feature.mask[i] and feature.mask[j]:
                unit = [feature.matrix[x] / np.linalg.norm(feature.matrix[x]) for x in (i, j)]
                p = [layer(torch.as_tensor(x)).detach().double().numpy() for x in unit]
                losses.append(math.log(1 + math.exp(final_users[u] @ p[1] - final_users[u] @ p[0])))
        expected += 0.5 * float(np.mean(losses)) if losses else 0.0
    model.train()
    model.begin_epoch(torch.Generator().manual_seed(0))
    assert float(model.loss(USERS, POS, NEG).detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("trainable", [False, True])
def test_freedom_projects_the_difference_of_two_items(trainable):
    model = make_model("freedom", SPLIT, FEATURES, trainable_features=trainable)
    before = model.content("visual").detach().clone()
    pos_ids, neg_ids = torch.randint(model.n_items, (2, 600), generator=torch.Generator().manual_seed(0))
    weight = model.project["visual"].weight
    projected = before @ weight.T
    gap, expected = model.projected_gap("visual", pos_ids, neg_ids), projected[pos_ids] - projected[neg_ids]
    assert torch.allclose(gap, expected, atol=1e-5)
    assert torch.equal(model.content("visual"), before), "the features themselves were changed"
    slope = torch.randn(gap.shape, generator=torch.Generator().manual_seed(1))
    ours, plain = (torch.autograd.grad((x * slope).sum(), weight)[0] for x in (gap, expected))
    assert torch.allclose(ours, plain, atol=1e-4)


def test_freedom_thins_the_graph_in_training_only():
    model = make_model("freedom", SPLIT, FEATURES, drop=0.5)
    before = scores_of(model)
    model.begin_epoch(torch.Generator().manual_seed(0))
    assert model.thinned.values().numel() == 2 * len(TRAIN) // 2
    model.eval()
    assert np.array_equal(scores_of(model), before)


def test_freedom_takes_graphs_that_are_given_and_degrades_by_rule():
    given = {modality: sp.csr_matrix(np.eye(7)) for modality in ("visual", "textual")}
    with_graphs = make_model("freedom", SPLIT, item_graphs=given)
    assert with_graphs.has_item_graph and not with_graphs.modalities
    without = make_model("freedom", SPLIT)
    assert not without.has_item_graph
    lightgcn = make_model("lightgcn", SPLIT, n_layers=2)
    warm = np.array(WARM)
    assert np.allclose(scores_of(without)[:, warm], scores_of(lightgcn)[:, warm], atol=1e-6)  # same seed, same start


def test_itemknn_multimodal_is_the_weighted_sum_of_its_two_parts():
    model = make_model("itemknn_multimodal", SPLIT, FEATURES, k=2, shrink=5.0, k_content=3, content_weight=0.4)
    clicks = scores_of(make_model("itemknn", SPLIT, k=2, shrink=5.0))
    content = scores_of(make_model("itemknn_content", SPLIT, FEATURES, k=3))
    assert np.allclose(scores_of(model), clicks + 0.4 * content, atol=1e-6)
    assert scores_of(model)[:, 5].any() and not clicks[:, 5].any()  # a cold item is ranked by its content


def test_content_neighbours_from_given_graphs_alone():
    rng = np.random.default_rng(4)
    given = {m: sp.csr_matrix(rng.random((7, 7)) * (rng.random((7, 7)) < 0.4)) for m in ("visual", "textual")}
    weights = {"visual": 0.3, "textual": 0.7}
    total = sum(weights[m] * given[m].toarray() for m in given)
    np.fill_diagonal(total, 0)

    def score(u, i):
        return sum(total[i, j] for j in range(7) if (u, j) in TRAIN)

    model = make_model("itemknn_content", SPLIT, item_graphs=given, weights=weights)
    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    with pytest.raises(CourseError, match="visual item graph is .3, 3., the split has 7 items"):
        make_model("itemknn_content", SPLIT, item_graphs={"visual": sp.identity(3)})


def test_freedom_says_what_falls_away_and_weighs_its_graphs_by_the_clicks():
    assert make_model("freedom", SPLIT, FEATURES).notes == []
    assert "nor item graphs" in make_model("freedom", SPLIT).notes[0]
    given = {"visual": sp.identity(7, format="csr"), "textual": sp.csr_matrix(np.eye(7) + np.eye(7, k=1))}
    model = make_model("freedom", SPLIT, item_graphs=given, modality_weights="auto")
    assert model.notes == ["no features: the loss on features falls away"]
    expected = make_model("freedom", SPLIT, item_graphs=given, modality_weights={"visual": 0.0, "textual": 1.0})
    assert np.allclose(scores_of(model), scores_of(expected))  # an item beside itself only says nothing of clicks
