"""SMORE against the numbers of the released class, and against its equations written out in loops."""

from __future__ import annotations

import cmath
import dataclasses
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
from test_models_reference_itemgraph import (
    COLD,
    GIVEN,
    contrast_loop,
    in_training,
    laplace,
    linear,
    nearest,
    sigmoid,
    softmax,
    vectors_of,
)
from training_helpers import make_features, make_split, planted

from utils.errors import CourseError
from utils.evaluation import evaluate_cold
from utils.models import make_model
from utils.models.smore import convolve
from utils.training import fit

# ---- the release ----
# What the class of github.com/enoche/MMRec at e775373 (src/models/smore.py; the same file as github.com/kennethorq/SMORE at
# 0148d92) gave on a CPU, features as given, weights as below:
# 5 users, 7 items, embedding_size 6, n_ui_layers 3, n_layers 1, both k 3, cl_loss .03, dropout_rate 0, reg_weight 0.
RELEASE_TRAIN = [(0, 0), (0, 1), (0, 5), (1, 1), (1, 2), (1, 6), (2, 3), (2, 4), (2, 0), (3, 5), (3, 2), (4, 6), (4, 3), (4, 1)]  # fmt: skip
RELEASE_BATCH = torch.tensor([[0, 1, 2, 4], [1, 2, 4, 6], [3, 0, 5, 2]])  # users, positive, negative items
RELEASE_SCORES = [
    [0.3191646, 0.4663371, 0.3228532, -0.2638101, 0.0091133, 0.0150767, 0.2828451],
    [0.0622897, 0.9344069, 1.0050623, -0.4340542, 0.0745122, -0.3044946, 1.0898603],
    [0.0286956, -0.2815512, -0.3096618, 0.2403565, -0.0008094, 0.1099454, -0.2907039],
    [0.1019206, 0.1253738, 0.0657917, -0.1434440, 0.0111420, 0.0604197, -0.0046815],
    [0.0274439, 0.3782983, 0.4292299, -0.0484614, 0.0376103, -0.1805374, 0.5517521],
]
RELEASE_LOSS = 0.6647215


def wave(start: float, shape: tuple[int, ...]) -> np.ndarray:
    return np.sin(start + 1.7 * np.arange(math.prod(shape)) ** 1.1).reshape(shape)


def test_scores_and_loss_of_the_released_class():
    features = {"visual": 1 + 0.9 * wave(1, (7, 5)), "textual": 1 + 0.9 * wave(2, (7, 4))}
    features = {m: make_features(m, matrix) for m, matrix in features.items()}
    split = make_split(RELEASE_TRAIN, n_users=5, n_items=7)
    settings = {"dim": 6, "n_layers": 3, "k": 3, "contrast": 0.03, "temperature": 0.2, "reg": 0.0, "dropout": 0.0}
    model = make_model("smore", split, features, normalise="none", **settings)
    state = model.state_dict()
    for place, key in enumerate(sorted(state)):
        state[key] = torch.as_tensor(wave(10 + 3 * place, tuple(state[key].shape)), dtype=torch.float32)
    model.load_state_dict(state)
    assert np.abs(model.score(range(5)).numpy() - RELEASE_SCORES).max() < 1e-5
    model.train()
    assert float(model.loss(*RELEASE_BATCH).detach()) == pytest.approx(RELEASE_LOSS, abs=1e-5)


# ---- the spectrum ----


def circular(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Each entry sums the products of one entry of each vector whose places add up to its own."""
    result = np.zeros(len(a))
    for i in range(len(a)):
        for j in range(len(b)):
            result[(i + j) % len(a)] += a[i] * b[j]
    return result


def kernel(weight: np.ndarray, dim: int) -> np.ndarray:
    """The filter as a vector: a sum of waves; the frequencies above dim / 2 are the conjugates of those below."""
    spectrum = {f: complex(*weight[f]) for f in range(dim // 2 + 1)}
    for f in [0, dim / 2]:
        if f in spectrum:
            spectrum[f] = spectrum[f].real
    spectrum |= {dim - f: value.conjugate() for f, value in list(spectrum.items()) if 0 < f < dim / 2}
    waves = [[value * cmath.exp(2j * math.pi * f * n / dim) for f, value in spectrum.items()] for n in range(dim)]
    return np.array([sum(parts).real / dim for parts in waves])


def convolved(vectors: list[np.ndarray], weight: np.ndarray) -> np.ndarray:
    result, dim = kernel(weight, len(vectors[0])), len(vectors[0])
    for vector in vectors:
        result = circular(result, vector)
    return result / dim ** ((len(vectors) - 1) / 2)


@pytest.mark.parametrize("n_vectors", [1, 2, 3])
@pytest.mark.parametrize("dim", [1, 5, 6])
def test_a_product_of_spectra_is_a_circular_convolution(dim, n_vectors):
    rng = np.random.default_rng(dim)
    vectors, weight = rng.normal(size=(n_vectors, 4, dim)), rng.normal(size=(dim // 2 + 1, 2))
    masks = torch.ones(n_vectors, 4, dtype=torch.bool)
    masks[-1, 2] = n_vectors == 1  # the last vector of row 2 is missing
    found = convolve([torch.tensor(vector) for vector in vectors], torch.tensor(weight), masks)
    for row in range(4):
        present = [vector[row] for vector, mask in zip(vectors, masks) if mask[row]]
        assert np.allclose(found[row], convolved(present, weight), atol=1e-12)


def test_a_missing_row_counts_as_ones_even_when_no_other_is_there():
    weight = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    nothing = convolve([torch.randn(1, 4)], weight, [torch.tensor([False])])
    assert torch.allclose(
        nothing, torch.tensor([[2.0, 0, 0, 0]]), atol=1e-6
    )  # sqrt(dim) times the unit of the convolution


# ---- the model ----


def parts_of(model, graphs: dict, features: dict, normalise="centred") -> tuple[np.ndarray, np.ndarray]:
    """(U, side) of the 4 users and 7 items, node by node."""
    dim, warm = model.settings["dim"], np.array(WARM)
    own = numbers(model.item_table) * warm[:, None]
    behaviour = np.concatenate(list(propagated(numbers(model.user_table), own, TRAIN, model.settings["n_layers"])))
    graphs = {m: laplace(graph * warm) for m, graph in graphs.items()}
    graphs["fused"] = np.max(list(graphs.values()), axis=0)
    x = {m: vectors_of(feature, normalise) for m, feature in features.items()}

    def opening(view, i):
        of = [m for m in features if view in (m, "fused") and i in x[m]]
        if not of:
            return np.ones(dim)
        h = [linear(model.project[m], x[m][i]) for m in of]
        return sigmoid(linear(model.gate[view], convolved(h, model.filter[view].detach().double().numpy())))

    views = {}
    for view, graph in graphs.items():
        items = graph @ np.array([own[i] * opening(view, i) for i in range(7)])
        users = np.zeros((4, dim))
        for u, i in TRAIN:
            degrees = sum(v == u for v, _ in TRAIN) * sum(j == i for _, j in TRAIN)
            users[u] += items[i] / math.sqrt(degrees)
        views[view] = np.concatenate([users, items])
    side = np.zeros_like(behaviour)
    for n in range(11):
        for view, vectors in views.items():
            mine = vectors[n]
            if view != "fused":
                first, _, second = model.attend[view]
                hidden = np.tanh(linear(first, views["fused"][n]))
                mine = mine * softmax(second.weight.detach().double().numpy() @ hidden)
            side[n] += sigmoid(linear(model.prefer[view], behaviour[n])) * mine / len(views)
    return behaviour, side


@pytest.mark.parametrize("modalities", [("textual",), ("visual", "textual"), ("visual", "textual", "audio")])
def test_smore(modalities):
    features = {m: FEATURES[m] for m in modalities}
    settings = {"dim": 5, "n_layers": 2, "k": 3, "contrast": 0.5, "temperature": 0.3, "reg": 0.1}
    model = make_model("smore", SPLIT, features, **settings)
    graphs = {m: nearest(vectors_of(feature, "centred"), 3) for m, feature in features.items()}
    behaviour, side = parts_of(model, graphs, features)
    final = behaviour + side

    def score(u, i):
        return float(final[u] @ final[4 + i])

    assert np.allclose(scores_of(model), matrix_of(score), atol=1e-6)
    own, once = numbers(model.item_table), sorted({4 + i for i in POS.tolist()})
    expected = bpr_loop(score) + 0.1 * squares(numbers(model.user_table)[USERS], own[POS], own[NEG])
    expected += 0.5 * contrast_loop(side, behaviour, sorted(set(USERS.tolist())), 0.3)
    expected += 0.5 * contrast_loop(side, behaviour, once, 0.3)
    assert in_training(model) == pytest.approx(expected, rel=1e-4)
    assert np.allclose(behaviour[[4 + i for i in COLD]], 0)
    assert scores_of(model)[:, 5].any() == bool(features["textual"].mask[5])  # a cold item with content is ranked


def test_each_user_and_item_of_a_batch_is_contrasted_once():
    model = make_model("smore", SPLIT, FEATURES, contrast=1.0, reg=0.0)
    twice = [torch.cat([ids, ids]) for ids in (USERS, POS, NEG)]
    once = float(model.loss(USERS, POS, NEG).detach())
    assert float(model.loss(*twice).detach()) == pytest.approx(once, rel=1e-5)


def test_an_item_without_a_modality_has_an_open_gate_and_a_product_of_the_others():
    model = make_model("smore", SPLIT, FEATURES, dim=6)
    openings = model.openings()
    assert set(openings) == {"visual", "textual", "audio", "fused"}
    for m, feature in FEATURES.items():
        assert (openings[m].detach().numpy()[~feature.mask] == 1).all() and (openings[m][feature.mask] < 1).all()
    without = make_model("smore", SPLIT, {m: FEATURES[m] for m in ("visual", "textual")}, dim=6)
    without.load_state_dict({key: value for key, value in model.state_dict().items() if ".audio" not in key})
    silent, heard = ~FEATURES["audio"].mask, FEATURES["audio"].mask
    fused, fewer = openings["fused"].detach(), without.openings()["fused"].detach()
    assert torch.equal(fused[silent], fewer[silent]) and not torch.isclose(fused[heard], fewer[heard]).all(1).any()
    nobody = {m: make_features(m, f.matrix, f.mask & (np.arange(7) != 3)) for m, f in FEATURES.items()}
    assert (make_model("smore", SPLIT, nobody).openings()["fused"][3] == 1).all()


@pytest.mark.parametrize("dim", [5, 6])
def test_every_parameter_and_every_frequency_gets_a_gradient(dim):
    model = make_model("smore", SPLIT, FEATURES, dim=dim)
    model.train()
    model.loss(USERS, POS, NEG).backward()
    for key, value in model.named_parameters():
        assert value.grad is not None and value.grad.abs().sum() > 0, key
    for weight in model.filter.values():
        without_effect = torch.zeros(dim // 2 + 1, 2, dtype=torch.bool)
        without_effect[0, 1] = True  # the imaginary part of the lowest frequency, and of the highest of an even dim
        without_effect[-1, 1] |= dim % 2 == 0
        assert torch.equal(weight.grad == 0, without_effect)


def test_with_given_graphs_the_gates_without_features_are_open():
    model = make_model("smore", SPLIT, item_graphs=GIVEN, dim=3)
    assert "no visual features: that gate is open" in model.notes[0] and not model.filter and not model.gate
    behaviour, side = parts_of(model, {"visual": GIVEN["visual"].toarray()}, {})
    final = behaviour + side
    assert np.allclose(scores_of(model), final[:4] @ final[4:].T, atol=1e-6)
    fit("smore", SPLIT, item_graphs=GIVEN, n_epochs=1)

    features = {"textual": FEATURES["textual"]}
    mixed = make_model("smore", SPLIT, features, item_graphs=GIVEN, k=3, dim=3)
    assert list(mixed.prefer) == ["visual", "textual", "fused"] and list(mixed.gate) == ["textual", "fused"]
    graphs = {"visual": GIVEN["visual"].toarray(), "textual": nearest(vectors_of(FEATURES["textual"], "centred"), 3)}
    behaviour, side = parts_of(mixed, graphs, features)
    final = behaviour + side
    assert np.allclose(scores_of(mixed), final[:4] @ final[4:].T, atol=1e-6)
    with pytest.raises(CourseError, match="got no features"):
        make_model("smore", SPLIT)


def test_a_note_says_that_one_modality_is_not_fused():
    assert "one modality" in make_model("smore", SPLIT, {"audio": FEATURES["audio"]}).notes[0]
    assert not make_model("smore", SPLIT, FEATURES).notes


def test_negative_similarities_and_cold_neighbours_are_no_edges():
    graph = np.zeros((7, 7))
    graph[0, 1], graph[0, 2], graph[1, 5] = 1.0, -1.0, 1.0  # item 5 is cold
    model = make_model("smore", SPLIT, item_graphs={"visual": sp.csr_matrix(graph)})
    assert model.similar_visual.to_dense().nonzero().tolist() == []  # item 1 has no edge left, so d_1 = 0
    graph[1, 1] = 1.0
    model = make_model("smore", SPLIT, item_graphs={"visual": sp.csr_matrix(graph)})
    assert model.similar_fused.to_dense().nonzero().tolist() == [[0, 1], [1, 1]]


def test_dropout_is_for_training_only_and_the_seed_decides_it():
    model = make_model("smore", SPLIT, FEATURES, dropout=0.5)
    before = scores_of(model)
    model.train()
    losses = [float(model.loss(USERS, POS, NEG).detach()) for _ in range(2)]
    assert losses[0] != losses[1]
    assert np.array_equal(scores_of(model), before) and model.training
    split, features, _ = planted(40, 30, per_user=8)
    runs = [fit("smore", split, features, seed=seed, n_epochs=2, dropout=0.5)[0] for seed in (3, 3, 4)]
    one, again, other = (model.score(range(40)) for model in runs)
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_content_ranks_cold_items_and_shuffled_content_does_not():
    split, features, _ = planted(300, 150, n_topics=8, cold=30)
    order = np.random.default_rng(1).permutation(150)
    fake = {m: dataclasses.replace(feature, matrix=feature.matrix[order]) for m, feature in features.items()}
    start, shuffled = (make_model("smore", split, content).score([0]) for content in (features, fake))
    assert not torch.allclose(start, shuffled)
    settings = {"n_epochs": 8, "eval_every": 8, "batch_size": 256, "lr": 0.02}
    real = evaluate_cold(fit("smore", split, features, **settings)[0], split, top_k=5).among["recall@5"]
    control = evaluate_cold(fit("smore", split, fake, **settings)[0], split, top_k=5).among["recall@5"]
    chance = evaluate_cold(make_model("random", split), split, top_k=5).among["recall@5"]
    assert real > 1.5 * chance and real > 1.4 * control
