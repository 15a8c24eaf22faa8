"""What every recommender of the course keeps to, whatever its equations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from training_helpers import make_features, make_split, planted

from utils.errors import CourseError
from utils.evaluation import evaluate, evaluate_cold
from utils.models import ALL, MODELS, TrainedRecommender, make_model, schema_table
from utils.training import NegativeSampler, fit

TRAINED = [name for name, model in MODELS.items() if issubclass(model, TrainedRecommender)]
WITH_CONTENT = [name for name, model in MODELS.items() if model.uses_features]
SPLIT, FEATURES, _ = planted(40, 30, per_user=8, modalities=("visual", "textual", "audio"))


def batch(split=SPLIT):
    pairs = torch.as_tensor(split.train)
    return pairs[:, 0], pairs[:, 1], NegativeSampler(split).sample(pairs[:, 0], torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_float32_deterministic_and_without_gradient(name):
    model = make_model(name, SPLIT, FEATURES, seed=1)
    scores = model.score(np.arange(SPLIT.n_users))
    assert scores.shape == (SPLIT.n_users, SPLIT.n_items) and scores.dtype == torch.float32
    assert not scores.requires_grad and torch.isfinite(scores).all()
    assert torch.equal(scores, model.score(list(range(SPLIT.n_users))))
    assert torch.allclose(scores[[5, 2]], model.score(np.array([5, 2])), atol=1e-6)
    assert torch.equal(scores, make_model(name, SPLIT, FEATURES, seed=1).score(np.arange(SPLIT.n_users)))


@pytest.mark.parametrize("name", TRAINED)
def test_the_seed_decides_the_start_and_leaves_the_global_generator_alone(name):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first = make_model(name, SPLIT, FEATURES, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(8)
    again, other = make_model(name, SPLIT, FEATURES, seed=1), make_model(name, SPLIT, FEATURES, seed=2)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert any(not torch.equal(value, other.state_dict()[key]) for key, value in first.state_dict().items())


@pytest.mark.parametrize("name", TRAINED)
def test_scores_in_the_middle_of_training_are_free_of_noise(name):
    model, users = make_model(name, SPLIT, FEATURES), np.arange(SPLIT.n_users)
    model.train()
    model.begin_epoch(torch.Generator().manual_seed(0))
    scores = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model._final = None  # work it out anew
        scores.append(model.score(users))
        assert model.training
    assert torch.equal(*scores)
    assert torch.equal(scores[0], model.eval().score(users))  # no thinned graph, no dropout, no Gumbel noise


@pytest.mark.parametrize("name", TRAINED)
def test_every_weight_gets_a_gradient_and_moves(name):
    model = make_model(name, SPLIT, FEATURES)
    model.train()
    model.begin_epoch(torch.Generator().manual_seed(0))
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(2):  # some weights start where their gradient is zero in the first step
        optimiser.zero_grad()
        loss = model.loss(*batch())
        assert loss.ndim == 0
        loss.backward()
        optimiser.step()
    for key, value in model.named_parameters():
        assert value.grad is not None and value.grad.abs().sum() > 0, key
        assert not torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", TRAINED)
def test_scores_follow_the_weights_even_without_train_and_eval(name):
    model = make_model(name, SPLIT, FEATURES)
    before = model.score([0])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    model.loss(*batch()).backward()
    optimiser.step()
    after = model.score([0])
    assert not torch.equal(before, after)
    model.load_state_dict(make_model(name, SPLIT, FEATURES).state_dict())
    assert torch.equal(model.score([0]), before)


@pytest.mark.parametrize("modalities", [("visual",), ("audio",), ("visual", "textual"), ("visual", "textual", "audio")])
@pytest.mark.parametrize("name", WITH_CONTENT)
def test_any_number_of_modalities(name, modalities):
    model, _ = fit(name, SPLIT, {m: FEATURES[m] for m in modalities}, **({"n_epochs": 2} if name in TRAINED else {}))
    assert model.modalities == modalities
    assert torch.isfinite(model.score(np.arange(5))).all()


@pytest.mark.parametrize("name", WITH_CONTENT)
def test_the_order_of_the_modalities_does_not_matter(name):
    backwards = dict(reversed(FEATURES.items()))
    one, two = make_model(name, SPLIT, FEATURES), make_model(name, SPLIT, backwards)
    assert torch.equal(one.score([0, 1]), two.score([0, 1]))


def holes(features, seed=0):
    """Hide a third of the rows of each modality, and all of the first item's; poison what is hidden."""
    rng, result = np.random.default_rng(seed), {}
    for modality, feature in features.items():
        mask = rng.random(len(feature.matrix)) > 0.33
        mask[0] = False
        result[modality] = make_features(modality, feature.matrix, mask)
    return result


@pytest.mark.parametrize("name", WITH_CONTENT)
def test_missing_and_zero_rows_give_no_nan(name):
    features = holes(FEATURES)
    zero = features["visual"].matrix.copy()
    zero[1:3] = 0  # present, but empty
    mask = features["visual"].mask.copy()
    mask[1:3] = True
    features["visual"] = make_features("visual", zero, mask)
    model, history = fit(name, SPLIT, features, **({"n_epochs": 3} if name in TRAINED else {}))
    assert torch.isfinite(model.score(np.arange(SPLIT.n_users))).all()
    assert history is None or history.frame()["loss"].notna().all()


@pytest.mark.parametrize("name", WITH_CONTENT)
def test_what_stands_in_a_masked_row_never_counts(name):
    features = holes(FEATURES)
    other = {}
    for modality, feature in features.items():
        matrix = feature.matrix.copy()
        matrix[~feature.mask] = 100.0
        other[modality] = dataclasses.replace(feature)
        object.__setattr__(other[modality], "matrix", matrix)
    one, two = make_model(name, SPLIT, features), make_model(name, SPLIT, other)
    assert torch.equal(one.score([0, 1, 2]), two.score([0, 1, 2]))


def permuted(split, features, order):
    """Item ``order[new]`` becomes item ``new``."""
    place = np.argsort(order)
    parts = [np.column_stack([part[:, 0], place[part[:, 1]]]) for part in (split.train, split.valid, split.test)]
    moved = make_split(*parts, n_users=split.n_users, n_items=split.n_items)
    return moved, {m: make_features(m, f.matrix[order], f.mask[order]) for m, f in features.items()}


@pytest.mark.parametrize("name", [name for name in MODELS if name != "random"])
def test_a_permutation_of_the_items_permutes_the_scores(name):
    features = holes(FEATURES)
    order = np.random.default_rng(3).permutation(SPLIT.n_items)
    other_split, other_features = permuted(SPLIT, features, order)
    settings = {"k": 1000} if name == "itemknn" else {}  # ties at the edge of the neighbourhood go by position
    model = make_model(name, SPLIT, features, **settings)
    other = make_model(name, other_split, other_features, **settings)
    if name in TRAINED:
        state = model.state_dict()
        for key in [key for key in state if key.split(".")[0].startswith("item_")]:  # tables with a row for each item
            state[key] = state[key][order]
        other.load_state_dict(state)
    scores, moved = model.score(np.arange(SPLIT.n_users)), other.score(np.arange(SPLIT.n_users))
    assert torch.allclose(moved, scores[:, order], atol=1e-5)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("random", "mostpop")])
def test_learning_beats_popularity(name):
    split, features, _ = planted()
    settings = {"n_epochs": 20, "batch_size": 256, "lr": 0.02} if name in TRAINED else {}
    settings |= {"reg": 0.05} if name == "bpr" else {}
    model, _ = fit(name, split, features, **settings)
    popular = evaluate(make_model("mostpop", split), split, metrics=("recall",))["recall@20"]
    assert evaluate(model, split, metrics=("recall",))["recall@20"] > 1.15 * popular


@pytest.mark.parametrize("name", ["itemknn_content", "vbpr", "freedom"])
def test_content_ranks_cold_items(name):
    split, features, _ = planted(300, 150, n_topics=8, cold=30)
    settings = {"n_epochs": 15, "batch_size": 256, "lr": 0.02} if name in TRAINED else {}
    model, _ = fit(name, split, features, **settings)
    control, _ = fit(name, split, {m: shuffled(f) for m, f in features.items()}, **settings)
    chance = evaluate_cold(make_model("random", split), split, top_k=5)
    real, fake = evaluate_cold(model, split, top_k=5), evaluate_cold(control, split, top_k=5)
    assert real.among["recall@5"] > 1.5 * chance.among["recall@5"]
    assert real.among["recall@5"] > 1.4 * fake.among["recall@5"]
    assert real.full["recall@5"] > 1.5 * chance.full["recall@5"]


def shuffled(feature):
    order = np.random.default_rng(1).permutation(len(feature.matrix))
    return make_features(feature.modality, feature.matrix[order])


@pytest.mark.parametrize("fusion", ["concat", "sum", "mean", "product", "attention", "gated"])
def test_vbpr_with_every_fusion(fusion):
    model, history = fit("vbpr", SPLIT, holes(FEATURES), fusion=fusion, n_epochs=2)
    assert torch.isfinite(model.score([0])).all()
    model.train()
    model.loss(*batch()).backward()
    for key, value in model.named_parameters():
        assert value.grad is not None and value.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", [name for name in MODELS if "trainable_features" in MODELS[name].DEFAULTS])
def test_features_are_frozen_unless_asked_for(name):
    frozen = make_model(name, SPLIT, FEATURES)
    assert not any("content_" in key for key, _ in frozen.named_parameters())
    model = make_model(name, SPLIT, FEATURES, trainable_features=True)
    before = {m: model.content(m).detach().clone() for m in FEATURES}
    model.train()
    model.begin_epoch(torch.Generator().manual_seed(0))
    model.loss(*batch()).backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert all(not torch.equal(before[m], model.content(m)) for m in FEATURES)
    assert all(torch.equal(before[m], frozen.content(m)) for m in FEATURES)  # both start from the same features


def test_vbpr_options():
    normal = make_model("vbpr", SPLIT, FEATURES, content_init="normal")
    assert 0.9 < float(normal.taste_table.weight.detach().std()) < 1.1
    assert float(make_model("vbpr", SPLIT, FEATURES).taste_table.weight.detach().std()) < 0.3
    with pytest.raises(CourseError, match="xavier"):
        make_model("vbpr", SPLIT, FEATURES, content_init="xavir")


def test_schema_table():
    table = schema_table()
    assert list(table.index) == list(ALL) and list(ALL)[: len(MODELS)] == list(MODELS)
    assert set(ALL) - set(MODELS) == {"egcf", "acf", "vnpr", "dvbpr", "content_style"}  # part 2's own
    assert list(table.columns) == ["modalities", "extraction", "representation", "fusion", "loss"]
    for _, row in table.iterrows():
        assert row["representation"] in ("none", "joint", "coordinate") and row["fusion"] in ("none", "early", "late")
        assert row["fusion"] == "none" or row["representation"] == "coordinate"  # joint has no fusion stage
    assert isinstance(schema_table(["vbpr"]), pd.DataFrame) and len(schema_table(["vbpr"])) == 1


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: make_model("freedm", SPLIT), "freedom"),
        (lambda: schema_table(["lightgnc"]), "lightgcn"),
        (lambda: make_model("bpr", SPLIT, dimension=3), "dim"),
        (lambda: make_model("vbpr", SPLIT), "got no features"),
        (lambda: make_model("vbpr", SPLIT, {"image": FEATURES["visual"]}), "modality"),
        (lambda: make_model("vbpr", SPLIT, {"visual": make_features("visual", np.ones((3, 2)))}), "3 rows.*30 items"),
        (
            lambda: make_model("freedom", SPLIT, {"audio": make_features("audio", np.ones((30, 2)), [0] * 30)}),
            "No item",
        ),
        (lambda: make_model("bpr", make_split([], test=[(0, 1)])), "train part of the split is empty"),
    ],
)
def test_mistakes_are_named(call, words):
    with pytest.raises(CourseError, match=words):
        call()
