"""NGCF, NGCF-M, DeepStyle and MMGCN against their equations written out in loops, on a tiny graph."""

from __future__ import annotations

import numpy as np
import pytest
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
    scores_of,
    squares,
)
from training_helpers import make_features

from utils.errors import CourseError
from utils.models import make_model

N_USERS, N_ITEMS = 4, 7
NEIGHBOURS = {u: [N_USERS + i for user, i in TRAIN if user == u] for u in range(N_USERS)}
NEIGHBOURS |= {N_USERS + i: [u for u, item in TRAIN if item == i] for i in range(N_ITEMS)}
IDS = torch.cat([USERS, POS + N_USERS, NEG + N_USERS])


def array(tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def leaky(x, slope):
    return np.where(x > 0, x, slope * x)


def unit(x):
    return x / max(np.linalg.norm(x), 1e-12)


def shaken(model, seed=0):
    """All biases start at zero; here nothing may stay there, or the test would not see it."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(std=0.3)
    return model


def loss_of(model, training=True) -> float:
    model.train(training)
    return float(model.loss(USERS, POS, NEG).detach())


# ---- NGCF ----


def ngcf_nodes(model, adjacency, combine):
    x = np.concatenate([numbers(model.user_table), numbers(model.item_table)])
    layers = [x]
    for transform, interact in zip(model.transform, model.interact):
        w1, b, w2 = array(transform.weight), array(transform.bias), array(interact.weight)
        new = np.zeros_like(x)
        for node in range(N_USERS + N_ITEMS):
            near = np.zeros(x.shape[1])
            if adjacency == "row":
                around = [*NEIGHBOURS[node], node]
                for other in around:
                    near += x[other] / len(around)
                first = near
            else:
                for other in NEIGHBOURS[node]:
                    near += x[other] / np.sqrt(len(NEIGHBOURS[node]) * len(NEIGHBOURS[other]))
                first = near + x[node]
            new[node] = leaky(w1 @ first + b + w2 @ (near * x[node]), 0.2)
        x = new
        layers.append(np.array([unit(row) for row in x]))
    return np.concatenate(layers, 1) if combine == "concat" else np.mean(layers, axis=0)


def ngcf_penalty(model, *more):
    users, items = numbers(model.user_table), numbers(model.item_table)
    weights = [array(layer.weight) for layer in [*model.transform, *model.interact]]
    return squares(users[USERS], items[POS], items[NEG], *more, *weights)


@pytest.mark.parametrize("adjacency", ["row", "symmetric"])
@pytest.mark.parametrize("combine", ["mean", "concat"])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_ngcf(adjacency, combine, n_layers):
    settings = {"dim": 3, "n_layers": n_layers, "reg": 0.1, "dropout": 0.0, "adjacency": adjacency, "combine": combine}
    model = shaken(make_model("ngcf", SPLIT, **settings))
    nodes = ngcf_nodes(model, adjacency, combine)

    def score(u, i):
        return float(nodes[u] @ nodes[N_USERS + i] * WARM[i])

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    assert loss_of(model) == pytest.approx(bpr_loop(score) + 0.1 * ngcf_penalty(model), rel=1e-5)


@pytest.mark.parametrize("name", ["ngcf", "ngcf_m"])
def test_dropout_is_redrawn_in_training_and_absent_from_scores(name):
    plain = make_model(name, SPLIT, FEATURES, dropout=0.0)
    model = make_model(name, SPLIT, FEATURES, dropout=0.5)
    assert torch.equal(model.score([0, 1]), plain.score([0, 1]))
    assert loss_of(model) != loss_of(model)
    assert loss_of(model, training=False) == loss_of(plain)
    assert torch.equal(model.score([0, 1]), plain.score([0, 1]))


def test_dropped_messages_have_the_right_share_and_mean():
    from utils.kernels import dropout

    torch.manual_seed(0)
    x = torch.ones(1001, 63)
    kept = dropout(x, 0.1)
    assert abs(float((kept == 0).float().mean()) - 0.1) < 0.01 and abs(float(kept.mean()) - 1) < 0.01
    assert len(kept[kept > 0].unique()) == 1
    columns, rows = (kept == 0).float().mean(0), (kept == 0).float().mean(1)
    assert 0.05 < columns.min() and columns.max() < 0.15 and rows.max() < 0.35  # no entry is dropped more often
    assert dropout(x, 0.0) is x


def test_ngcf_names_its_mistakes():
    with pytest.raises(CourseError, match="concat"):
        make_model("ngcf", SPLIT, combine="concatenate")
    with pytest.raises(CourseError, match="symmetric"):
        make_model("ngcf", SPLIT, adjacency="symetric")


def test_ngcf_m():
    model = shaken(make_model("ngcf_m", SPLIT, FEATURES, dim=3, n_layers=2, reg=0.1, dropout=0.0, normalise="l2"))
    nodes = ngcf_nodes(model, model.settings["adjacency"], model.settings["combine"])
    tastes, layer = numbers(model.taste_table), model.represent.project

    def content(i):
        parts = [unit(f.matrix[i].astype(float)) if f.mask[i] else 0 * f.matrix[i] for f in FEATURES.values()]
        return unit(array(layer.weight) @ np.concatenate(parts) + array(layer.bias))

    def score(u, i):
        return float(nodes[u] @ nodes[N_USERS + i] * WARM[i] + tastes[u] @ content(i))

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    assert not np.allclose(scores_of(model)[:, 5], scores_of(model)[:, 6])  # content ranks the cold items
    contents = [[content(i) for i in ids.tolist()] for ids in (POS, NEG)]
    expected = bpr_loop(score) + 0.1 * ngcf_penalty(model, tastes[USERS], *contents)
    assert loss_of(model) == pytest.approx(expected, rel=1e-5)


def test_ngcf_m_starts_the_tastes_as_told_and_gives_nothing_to_an_item_without_content():
    normal = make_model("ngcf_m", SPLIT, FEATURES, content_init="normal")
    assert (
        numbers(normal.taste_table).std() > 0.8 > 0.6 > numbers(make_model("ngcf_m", SPLIT, FEATURES).taste_table).std()
    )
    audio = {"audio": FEATURES["audio"]}  # items 5 and 6 are cold and silent
    assert not scores_of(shaken(make_model("ngcf_m", SPLIT, audio)))[:, 5:].any()


# ---- DeepStyle ----

CATEGORIES = ["a", "b", "a", "b", "", "b", "c"]  # "c" is seen in no training interaction


@pytest.mark.parametrize("categories", [None, CATEGORIES])
@pytest.mark.parametrize("modalities", [["visual"], ["visual", "textual", "audio"]])
def test_deepstyle(categories, modalities):
    features = {m: FEATURES[m] for m in modalities}
    model = make_model("deepstyle", SPLIT, features, dim=3, reg=0.1, normalise="l2", categories=categories)
    users, items = numbers(model.user_table), numbers(model.item_table)

    def style(i):
        s = np.zeros(3)
        for m, feature in features.items():
            if feature.mask[i]:
                s += array(model.project[m].weight) @ unit(feature.matrix[i].astype(float))
        if categories and categories[i] in ("a", "b"):
            s -= numbers(model.category_table)["ab".index(categories[i])]
        return s

    def score(u, i):
        return float(users[u] @ (style(i) + items[i] * WARM[i]))

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    styles = [[style(i) for i in ids.tolist()] for ids in (POS, NEG)]
    expected = bpr_loop(score) + 0.1 * squares(users[USERS], items[POS], items[NEG], *styles)
    assert loss_of(model) == pytest.approx(expected, rel=1e-5)
    assert bool(model.notes) == (categories is None)


def test_deepstyle_takes_the_category_away():
    """The gradient that lifts an item lowers c of its category: another item of that category loses by it."""
    model = make_model("deepstyle", SPLIT, FEATURES, categories=np.array([0, 1, 0, 1, -1, 1, 2]), reg=0.0)
    model.loss(USERS[:1], POS[:1], NEG[:1]).backward()  # item 1 over item 3: one category, nothing to learn from it
    assert not model.category_table.weight.grad.any()
    model.zero_grad()
    model.loss(USERS[:1], torch.tensor([0]), NEG[:1]).backward()  # category 0 over category 1
    up, down, none = model.category_table.weight.grad
    assert torch.allclose(up, -down) and up.any() and not none.any()


def test_deepstyle_needs_content_for_a_category_and_one_label_for_each_item():
    hidden = {"visual": make_features("visual", FEATURES["visual"].matrix, [True] * 4 + [False] * 3)}
    model = make_model("deepstyle", SPLIT, hidden, categories=CATEGORIES)
    assert not scores_of(model)[:, 5:].any()
    with pytest.raises(CourseError, match="7 items"):
        make_model("deepstyle", SPLIT, FEATURES, categories=["a", "b"])


# ---- MMGCN ----


def mmgcn_nodes(model, features):
    ids = np.concatenate([numbers(model.user_table), numbers(model.item_table) * np.array(WARM)[:, None]])
    total, count = np.zeros_like(ids), np.zeros(len(ids))
    for m, feature in features.items():
        project, channel = model.project[m], model.channel[m]
        start = [unit(row) for row in numbers(model.taste[m])]
        for i in range(N_ITEMS):
            x = array(project.weight) @ unit(feature.matrix[i].astype(float)) + array(project.bias)
            start.append(unit(x) if feature.mask[i] else 0 * x)
        x = np.array(start)

        def has(node, mask=feature.mask):
            return node < N_USERS or mask[node - N_USERS]

        for message, own, combine in zip(channel.message, channel.own, channel.combine):
            new = []
            for node in range(N_USERS + N_ITEMS):
                around = [other for other in NEIGHBOURS[node] if has(node) and has(other)]
                h = leaky(array(message.weight) @ np.mean([x[other] for other in around] or [0 * x[0]], axis=0), 0.2)
                mine = leaky(array(own.weight) @ x[node] + array(own.bias), 0.2) + ids[node]
                new.append(leaky(array(combine.weight) @ h + mine, 0.2))
            x = np.array(new)
        for node in range(N_USERS + N_ITEMS):
            if has(node) or not any(f.mask[node - N_USERS] for f in features.values()):
                total[node] += x[node]
                count[node] += 1
    return total / count[:, None]


@pytest.mark.parametrize("modalities", [["textual"], ["audio"], ["visual", "textual", "audio"]])
@pytest.mark.parametrize("latent, n_layers", [(3, 1), (5, 3)])
def test_mmgcn(modalities, latent, n_layers):
    features = {m: FEATURES[m] for m in modalities}
    settings = {"dim": 3, "latent": latent, "n_layers": n_layers, "reg": 0.1, "normalise": "l2"}
    model = shaken(make_model("mmgcn", SPLIT, features, **settings))
    nodes = mmgcn_nodes(model, features)

    def score(u, i):
        return float(nodes[u] @ nodes[N_USERS + i])

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    users, items = numbers(model.user_table), numbers(model.item_table)
    tastes = [numbers(model.taste[m])[USERS] for m in modalities]
    expected = bpr_loop(score) + 0.1 * squares(users[USERS], items[POS], items[NEG], *tastes)
    assert loss_of(model) == pytest.approx(expected, rel=1e-5)


def test_mmgcn_trains_the_tables_that_the_release_forgets():
    model = make_model("mmgcn", SPLIT, FEATURES)
    names = dict(model.named_parameters())
    tables = ["user_table.weight", "item_table.weight", *(f"taste.{m}.weight" for m in FEATURES)]
    before = {name: names[name].detach().clone() for name in tables}
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    model.loss(USERS, POS, NEG).backward()
    optimiser.step()
    for name in tables:
        assert not torch.equal(before[name], names[name]), name


@pytest.mark.parametrize("name", ["ngcf", "mmgcn"])
def test_the_short_way_of_a_batch_has_the_gradient_of_the_whole_graph(name):
    """The last layer is worked out for the nodes of the batch only; every weight must get the same gradient."""
    model = shaken(make_model(name, SPLIT, FEATURES, dim=4))
    picked = torch.unique(IDS)
    gradients = []
    for nodes in (model.nodes(picked), model.nodes().index_select(0, picked)):
        model.zero_grad()
        nodes.square().sum().backward()
        gradients.append([torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients))
