"""BM3, SLMRec and LGMRec against their equations written out in loops, on the tiny graph of the other references."""

from __future__ import annotations

import dataclasses
import math
from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
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
from training_helpers import make_features, planted

from utils.errors import CourseError
from utils.evaluation import evaluate_cold
from utils.kernels import dropout
from utils.models import make_model
from utils.training import fit

NAMES = ["bm3", "slmrec", "lgmrec"]
PAIRS = list(zip(USERS.tolist(), POS.tolist()))
warm = np.array(WARM)[:, None]


def linear(layer, x) -> np.ndarray:
    bias = 0 if layer.bias is None else layer.bias.detach().double().numpy()
    return layer.weight.detach().double().numpy() @ x + bias


def shake_biases(model) -> None:
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if key.endswith("bias"):
                weight.normal_()


def unit(x) -> np.ndarray:
    return x / max(np.linalg.norm(x), 1e-12)


def cos(a, b) -> float:
    return float(unit(a) @ unit(b))


def x_of(modality, i) -> np.ndarray:
    """Row i after normalise="l2"; zero where it is missing."""
    feature = FEATURES[modality]
    return unit(feature.matrix[i].astype(float)) * feature.mask[i]


def loss_of(model, neg=NEG) -> float:
    return float(model.loss(USERS, POS, neg).detach())


def contrast(anchors, others, places, temperature) -> float:
    """InfoNCE, row by row."""
    total = 0.0
    for anchor, place in zip(anchors, places):
        terms = [math.exp(cos(anchor, other) / temperature) for other in others]
        total -= math.log(terms[place] / sum(terms))
    return total / len(anchors)


# ---- BM3 ----


def test_bm3():
    settings = {"dim": 3, "n_layers": 2, "dropout": 0.0, "content_weight": 0.7, "reg": 0.1, "normalise": "l2"}
    model = make_model("bm3", SPLIT, FEATURES, **settings)
    shake_biases(model)
    own = numbers(model.item_table) * warm
    h_users, h_items = propagated(numbers(model.user_table), own, TRAIN, 2)
    h_items = h_items + own
    z = {m: [linear(model.project[m], x_of(m, i)) for i in range(7)] for m in FEATURES}

    def f(h):
        return linear(model.predict, h)

    length = np.mean([np.linalg.norm(h_items[i]) for i in range(7) if WARM[i]])
    standing = h_items.copy()
    for i in range(7):
        if not WARM[i]:
            standing[i] = length * unit(sum((unit(z[m][i]) for m in FEATURES if FEATURES[m].mask[i]), np.zeros(3)))
    assert np.allclose(scores_of(model), matrix_of(lambda u, i: f(h_users[u]) @ f(standing[i])), atol=1e-5)

    expected = np.mean([2 - cos(f(h_users[u]), h_items[i]) - cos(f(h_items[i]), h_users[u]) for u, i in PAIRS])
    for m, feature in FEATURES.items():
        gaps = [2 - cos(f(z[m][i]), h_items[i]) - cos(f(z[m][i]), z[m][i]) for _, i in PAIRS if feature.mask[i]]
        expected += 0.7 * np.mean(gaps) if gaps else 0.0
    expected += 0.1 * squares(h_users[USERS], h_items[POS])
    model.train()
    assert loss_of(model) == pytest.approx(expected, rel=1e-5)
    assert loss_of(model, neg=None) == loss_of(model)  # no negatives


def test_bm3_gives_the_targets_no_gradient_and_drops_out_in_training_only():
    model = make_model("bm3", SPLIT, FEATURES)
    h = torch.ones(4, 64, requires_grad=True)
    assert torch.allclose(model.target(h), h / 8) and not model.target(h).requires_grad  # at length 1, whole
    before = scores_of(model)
    model.train()
    share = (model.target(torch.ones(1000, 64)) == 0).float().mean()
    assert 0.48 < float(share) < 0.52
    for share in (0.0, 0.3, 0.9):
        dropped = dropout(torch.ones(999, 33), share)
        assert abs(float((dropped == 0).float().mean()) - share) < 0.01
        assert abs(float(dropped.mean()) - 1) < 0.06  # what stays is as much longer
        assert abs(np.corrcoef(dropped[:-1].ravel(), dropped[1:].ravel())[0, 1]) < 0.02 or not share
    assert loss_of(model) != loss_of(model)
    assert np.array_equal(scores_of(model), before)


# ---- SLMRec ----


def slmrec_views(model):
    """The walks [id, visual, textual, audio]: lists of users' and items' (n, d)."""
    users, starts = numbers(model.user_table), [numbers(model.item_table) * warm]
    for m, feature in FEATURES.items():
        starts.append(np.array([linear(model.project[m], x_of(m, i)) * feature.mask[i] for i in range(7)]))
    return zip(*(propagated(users, start, TRAIN, 2) for start in starts))


def test_slmrec():
    settings = {"dim": 3, "n_layers": 2, "temperature": 0.3, "ssl_weight": 0.7, "ssl_temperature": 0.4, "reg": 0.1}
    model = make_model("slmrec", SPLIT, FEATURES, normalise="l2", **settings)
    shake_biases(model)
    users, items = slmrec_views(model)
    user = [linear(model.fuse_users, np.concatenate([view[u] for view in users])) for u in range(4)]
    item = [linear(model.fuse_items, np.concatenate([view[i] for view in items])) for i in range(7)]
    assert np.allclose(scores_of(model), matrix_of(lambda u, i: cos(user[u], item[i])), atol=1e-5)

    batch = sorted(set(POS.tolist()))  # each item once
    places = [batch.index(i) for _, i in PAIRS]
    expected = contrast([user[u] for u, _ in PAIRS], [item[i] for i in batch], places, 0.3)
    common = {i: items[0][i] for i in batch}
    for step, (m, feature) in enumerate(FEATURES.items(), start=1):
        common = {i: linear(model.chain[m], common[i]) for i in batch}
        has = [i for i in batch if feature.mask[i]]
        views = [linear(model.view[m], items[step][i]) for i in has]
        expected += 0.7 * contrast([common[i] for i in has], views, range(len(has)), 0.4) if has else 0.0
    expected += 0.1 * squares(numbers(model.user_table)[USERS], numbers(model.item_table)[POS])
    model.train()
    assert loss_of(model) == pytest.approx(expected, rel=1e-5)
    assert loss_of(model, neg=None) == loss_of(model)


def test_slmrec_counts_an_item_of_the_batch_once():
    model = make_model("slmrec", SPLIT, FEATURES, reg=0.0, ssl_weight=0.0)
    users, positives = torch.tensor([0, 1, 3]), torch.tensor([1, 1, 1])
    assert float(model.loss(users, positives, None).detach()) == pytest.approx(0.0, abs=1e-6)  # no other item


# ---- LGMRec ----


def lgmrec_parts(model, features, n_layers=2, n_modality_layers=2, n_hyper_layers=2, temperature=0.3, mean=False):
    """G, Z and the global views; each a list of 4 users and 7 items."""
    takers = [[i for user, i in TRAIN if user == u] for u in range(4)]
    own = numbers(model.item_table) * warm
    g_users, g_items = propagated(numbers(model.user_table), own, TRAIN, n_layers)
    local, hyper = {}, {}
    for m, feature in features.items():
        f_items = np.array([linear(model.project[m], x_of(m, i)) for i in range(7)])
        logits_i = np.array([linear(model.hyperedges[m], x_of(m, i)) for i in range(7)])
        having = [[i for i in takers[u] if feature.mask[i]] for u in range(4)]
        f_users = np.array([np.mean([f_items[i] for i in have], axis=0) if have else np.zeros(3) for have in having])
        logits_u = [
            sum((logits_i[i] for i in have), np.zeros(2)) / (max(len(have), 1) if mean else 1) for have in having
        ]

        layers_u, layers_i = [f_users], [f_items]
        for layer in range(1, n_modality_layers + 1):  # the last layer alone, out of the means of layers
            before = propagated(f_users, f_items, TRAIN, layer - 1), propagated(f_users, f_items, TRAIN, layer)
            (u0, i0), (u1, i1) = before
            layers_u.append((layer + 1) * u1 - layer * u0)
            layers_i.append((layer + 1) * i1 - layer * i0)
        z_items = np.where(warm, layers_i[-1], f_items) * feature.mask[:, None]  # no modality, no part
        local[m] = [z * bool(have) for z, have in zip(layers_u[-1], having)] + list(z_items)

        def softmax(logits):
            e = np.exp(np.asarray(logits) / temperature)
            return e / e.sum()

        h_items = [softmax(logits_i[i]) * feature.mask[i] for i in range(7)]
        y = [g_items[i] for i in range(7)]
        for _ in range(n_hyper_layers):
            sums = [sum(h_items[i][k] * y[i] for i in range(7)) for k in range(2)]
            y = [sum(h_items[i][k] * sums[k] for k in range(2)) for i in range(7)]
        h_users = [softmax(logits_u[u]) * bool(having[u]) for u in range(4)]
        hyper[m] = [sum(h_users[u][k] * sums[k] for k in range(2)) for u in range(4)] + y
    return [*g_users, *g_items], local, hyper


def lgmrec_score(parts, alpha):
    ids, local, hyper = parts

    def final(node):
        fused = ids[node] + sum(unit(z[node]) for z in local.values())
        return fused + alpha * unit(sum(view[node] for view in hyper.values()))

    return lambda u, i: float(final(u) @ final(4 + i))


def pair_contrast(features, hyper, first, second, everybody, temperature=0.3):
    both = features[first].mask & features[second].mask
    with_both = [
        u for u in range(4) if all(any(user == u and features[m].mask[i] for user, i in TRAIN) for m in (first, second))
    ]
    nodes = {"users": with_both, "items": [4 + i for i in range(7) if both[i]]}
    batch = {"users": set(USERS.tolist()), "items": {4 + i for i in POS.tolist()}}
    total = 0.0
    for kind in nodes:
        chosen = [n for n in nodes[kind] if n in batch[kind]]
        others = nodes[kind] if everybody else chosen
        if chosen and len(others) > 1:
            anchors = [hyper[first][n] for n in chosen]
            total += contrast(
                anchors, [hyper[second][n] for n in others], [others.index(n) for n in chosen], temperature
            )
    return total


LGM = {"dim": 3, "n_layers": 2, "n_modality_layers": 2, "n_hyper_layers": 2, "n_hyperedges": 2, "alpha": 0.6}
LGM |= {"temperature": 0.3, "contrast_weight": 0.7, "reg": 0.1, "normalise": "l2", "dropout": 0.0}


@pytest.mark.parametrize("everybody", [False, True])
@pytest.mark.parametrize("modalities", [("visual",), ("visual", "textual"), ("visual", "textual", "audio")])
def test_lgmrec(modalities, everybody, monkeypatch):
    features = {m: FEATURES[m] for m in modalities}
    model = make_model("lgmrec", SPLIT, features, contrast_with="all" if everybody else "batch", **LGM)
    parts = lgmrec_parts(model, features)
    score = lgmrec_score(parts, 0.6)
    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-5)

    own = numbers(model.item_table)
    expected = bpr_loop(score) + 0.1 * squares(numbers(model.user_table)[USERS], own[POS], own[NEG])
    pairs = list(combinations(modalities, 2))
    for first, second in pairs:
        expected += 0.7 * pair_contrast(features, parts[2], first, second, everybody) / len(pairs)
    monkeypatch.setattr(F, "gumbel_softmax", lambda logits, tau: (logits / tau).softmax(1))  # a draw of zeros
    model.train()
    assert loss_of(model) == pytest.approx(expected, rel=1e-4)


def test_lgmrec_options():
    model = make_model("lgmrec", SPLIT, FEATURES, user_logits="mean", **LGM)
    score = lgmrec_score(lgmrec_parts(model, FEATURES, mean=True), 0.6)
    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-5)
    with pytest.raises(CourseError, match="batch"):
        make_model("lgmrec", SPLIT, FEATURES, contrast_with="bach")


def test_lgmrec_without_hypergraph_layers_has_no_global_view():
    plain = {**LGM, "n_hyper_layers": 0}
    model = make_model("lgmrec", SPLIT, FEATURES, **plain)
    assert "no hypergraph layers" in model.notes[0]
    silent = make_model("lgmrec", SPLIT, FEATURES, **{**LGM, "alpha": 0.0, "contrast_weight": 0.0})
    assert np.allclose(scores_of(model), scores_of(silent), atol=1e-6)
    for one in (model, silent):
        one.train()
    assert loss_of(model) == pytest.approx(loss_of(silent), rel=1e-5)


def test_lgmrec_has_noise_in_training_only():
    model = make_model("lgmrec", SPLIT, FEATURES, dropout=0.0)
    before = scores_of(model)
    model.train()
    assert loss_of(model) != loss_of(model)
    assert np.array_equal(scores_of(model), before) and model.training
    one, two = make_model("lgmrec", SPLIT, FEATURES), make_model("lgmrec", SPLIT, FEATURES)
    # a product of two rows and one of four may differ in the last bits; noise moves scores a thousand times as much
    assert np.allclose(one.score([0, 1]).numpy(), two.score([0, 1, 2, 3]).numpy()[:2], atol=1e-6)


# ---- all three ----


@pytest.mark.parametrize("name", NAMES)
def test_parts_fall_away_by_rule_with_a_note(name):
    model = make_model(name, SPLIT)
    assert any("falls away" in note or "LightGCN" in note for note in model.notes)
    assert np.isfinite(scores_of(model)).all() and math.isfinite(loss_of(model))
    assert not make_model(name, SPLIT, FEATURES).notes
    one = make_model("lgmrec", SPLIT, {"audio": FEATURES["audio"]})
    assert "one modality" in one.notes[0] and math.isfinite(loss_of(one))


def test_lgmrec_without_features_is_lightgcn():
    ids, lightgcn = make_model("lgmrec", SPLIT), make_model("lightgcn", SPLIT, n_layers=2)
    seen = np.array(WARM)
    assert np.allclose(scores_of(ids)[:, seen], scores_of(lightgcn)[:, seen], atol=1e-6)  # same seed, same start


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_a_modality_has_a_loss_and_a_gradient(name):
    mask = np.array([True] + [False] * 6)
    features = {m: make_features(m, feature.matrix, mask) for m, feature in FEATURES.items()}
    model = make_model(name, SPLIT, features)
    model.train()
    loss = model.loss(torch.tensor([1]), torch.tensor([2]), torch.tensor([4]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(model.user_table.weight.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_features_are_trained_only_when_asked(name):
    frozen = make_model(name, SPLIT, FEATURES)
    assert not any("content_" in key for key, _ in frozen.named_parameters())
    model = make_model(name, SPLIT, FEATURES, trainable_features=True)
    model.loss(USERS, POS, NEG).backward()
    assert model.content("visual").grad.abs().sum() > 0
    assert not model.content("textual").grad[2].any()  # a missing row


@pytest.mark.parametrize("name", NAMES)
def test_content_ranks_cold_items(name):
    split, features, _ = planted(300, 150, n_topics=8, cold=30)
    fake = {}
    for m, feature in features.items():
        rows = np.random.default_rng(1).permutation(len(feature.matrix))
        fake[m] = dataclasses.replace(feature, matrix=feature.matrix[rows])
    settings = {"n_epochs": 8, "eval_every": 8, "batch_size": 256, "lr": 0.02}
    real = evaluate_cold(fit(name, split, features, **settings)[0], split, top_k=5).among["recall@5"]
    control = evaluate_cold(fit(name, split, fake, **settings)[0], split, top_k=5).among["recall@5"]
    chance = evaluate_cold(make_model("random", split), split, top_k=5).among["recall@5"]
    assert real > 1.5 * chance and real > 1.4 * control
