"""utils.training.fitting: classes of your own, a log, more epochs, devices, and plain calls that go on as they are."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from training_helpers import planted

from utils.data import Dataset
from utils.errors import CourseError
from utils.evaluation import evaluate
from utils.losses import bpr
from utils.models import ALL, MODELS, Recommender, TrainedRecommender, make_model
from utils.models.bpr import BPR
from utils.training import fit, fitting, loop, train, tune

SPLIT, FEATURES, _ = planted(60, 40, per_user=8)


class Mine(TrainedRecommender):
    """The model of BPR under another name."""

    name = "mine"
    DEFAULTS = {"dim": 8, "lr": 0.01, "n_epochs": 3, "batch_size": 64}
    SEARCH = {"dim": [4, 8]}

    def build(self):
        self.user, self.item = self.table(self.n_users), self.table(self.n_items)

    def embeddings(self):
        return self.user.weight, self.item.weight

    def loss(self, user_ids, pos_ids, neg_ids):
        users = self.user(user_ids)
        return bpr((users * self.item(pos_ids)).sum(1), (users * self.item(neg_ids)).sum(1))


class Newest(Recommender):
    """A model that only counts: the last items first."""

    name = "newest"

    def build(self):
        self.row = torch.arange(self.n_items, dtype=torch.float32)

    def score(self, user_ids):
        return self.row.expand(len(user_ids), -1)


def same(one, other):
    return one.frame().drop(columns="seconds").equals(other.frame().drop(columns="seconds"))


def weights(model):
    return torch.cat([weight.detach().ravel() for weight in model.parameters()])


def test_a_plain_call_reaches_the_loop_word_by_word(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(loop, "fit", lambda *a, **k: calls.append((a, k)))
    fit("bpr", SPLIT, FEATURES, 7, True, dim=4, n_epochs=2)
    fit("vbpr", SPLIT, FEATURES, seed=1, checkpoint=tmp_path / "a.pt", patience=3)
    assert calls == [
        (("bpr", SPLIT, FEATURES, 7, True, None), {"log": None, "dim": 4, "n_epochs": 2}),
        (("vbpr", SPLIT, FEATURES, 1, False, None), {"log": None, "checkpoint": tmp_path / "a.pt", "patience": 3}),
    ]


def test_a_class_is_fitted_as_by_hand_and_stands_nowhere_afterwards():
    before = dict(MODELS)
    model, history = fit(Mine, SPLIT, seed=3, dim=4)
    by_hand = Mine(SPLIT, seed=3, dim=4)
    assert same(history, train(by_hand, SPLIT, seed=3, progress=False))
    assert type(model) is Mine and torch.equal(weights(model), weights(by_hand))
    assert MODELS == before and list(MODELS) == list(before)
    counted, nothing = fit(Newest, SPLIT)
    assert nothing is None and evaluate(counted, SPLIT).lists[0, 0] >= 0


def test_a_class_of_the_course_is_what_its_name_is():
    by_class, one = fit(BPR, SPLIT, n_epochs=2)
    by_name, other = fit("bpr", SPLIT, n_epochs=2)
    assert same(one, other) and torch.equal(weights(by_class), weights(by_name))
    special = next(name for name in ALL if name not in MODELS)
    with pytest.raises(CourseError, match="special data"):
        fit(special, SPLIT)


def test_a_class_is_forgotten_when_its_training_fails():
    class Broken(Mine):
        name = "broken"

        def loss(self, *ids):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        fit(Broken, SPLIT)
    assert "broken" not in MODELS


@pytest.mark.parametrize(
    "model, words",
    [
        ("mine", "For a model of your own, give its class"),
        (type("Nameless", (TrainedRecommender,), {}), 'write name = "..."'),
        (type("Taken", (Mine,), {"name": "bpr"}), "name of its own"),
        (dict, "dict is no recommender"),
        (3, "int is no recommender"),
        (make_model("bpr", SPLIT), "made already"),
    ],
)
def test_what_is_no_model_is_said_in_one_sentence(model, words):
    with pytest.raises(CourseError, match=words):
        fit(model, SPLIT)
    with pytest.raises(CourseError, match=words):
        tune(model, SPLIT)


def test_a_dataset_and_a_list_are_named(tmp_path):
    (tmp_path / "interactions.tsv").write_text("user\titem\na\tb\n", encoding="utf-8")
    (tmp_path / "items.tsv").write_text("item\nb\n", encoding="utf-8")
    from utils.data import load_dataset

    dataset = load_dataset(tmp_path)
    assert isinstance(dataset, Dataset)
    for door in (fit, tune):
        with pytest.raises(CourseError, match=r"call split_dataset\(dataset\) first"):
            door("vbpr", dataset, FEATURES)
        with pytest.raises(CourseError, match="features is a list; pass a dictionary by modality"):
            door("vbpr", SPLIT, list(FEATURES.values()))


@pytest.mark.parametrize("metric", ["recall", "recall@", "@20", "recall@ten", same, 3])
def test_the_metric_that_chooses_the_epoch_is_a_name_with_its_cut_off(metric):
    for door in (fit, tune):
        with pytest.raises(CourseError, match="a name with its cut-off, such as 'recall@20'"):
            door("bpr", SPLIT, metric=metric)


def test_devices_by_the_names_of_extract():
    model, _ = fit("bpr", SPLIT, n_epochs=1, device="cpu")
    assert next(model.parameters()).device.type == "cpu"
    fit("bpr", SPLIT, n_epochs=1, device="auto")
    with pytest.raises(CourseError, match="did you mean cuda"):
        fit("bpr", SPLIT, n_epochs=1, device="cudda")
    if not torch.cuda.is_available():
        with pytest.raises(CourseError, match="has no cuda device"):
            fit("itemknn", SPLIT, device="cuda")


def test_the_log_is_told_of_every_epoch_and_changes_nothing():
    told = []

    def log(row):
        told.append(dict(row))
        row.clear()  # what it does to its dictionary is its own business

    model, history = fit("bpr", SPLIT, n_epochs=5, eval_every=2, log=log)
    alone, quiet = fit("bpr", SPLIT, n_epochs=5, eval_every=2)
    assert pd.DataFrame(told).equals(pd.DataFrame(history.rows)) and [row["epoch"] for row in told] == [1, 2, 3, 4, 5]
    assert [math.isnan(row["recall@20"]) for row in told] == [True, False, True, False, False]
    assert same(history, quiet) and torch.equal(weights(model), weights(alone))


@pytest.mark.parametrize("name", ["bpr", "vbpr", Mine])
def test_more_epochs_go_on_and_equal_one_run(name, tmp_path):
    settings = {"seed": 2, "lr": 0.02, "patience": 50}
    whole, at_once = fit(name, SPLIT, FEATURES, n_epochs=6, **settings)
    told = []
    for n in (2, 4, 6):
        model, history = fit(
            name, SPLIT, FEATURES, n_epochs=n, checkpoint=tmp_path / "run.pt", log=told.append, **settings
        )
        assert model.settings["n_epochs"] == n == len(history.rows)
    assert same(history, at_once) and torch.equal(weights(model), weights(whole))
    assert [row["epoch"] for row in told] == [1, 2, 3, 4, 5, 6]  # none was made twice
    fewer, shown = fit(name, SPLIT, FEATURES, n_epochs=3, checkpoint=tmp_path / "run.pt", **settings)
    assert len(shown.rows) == 6  # there is no way back
    with pytest.raises(CourseError, match="belongs to another run"):
        fit(name, SPLIT, FEATURES, n_epochs=8, checkpoint=tmp_path / "run.pt", **{**settings, "seed": 3})


def test_a_counting_model_needs_no_checkpoint(tmp_path):
    model, history = fit("itemknn", SPLIT, checkpoint=tmp_path / "none.pt", n_epochs=3)
    assert history is None and not (tmp_path / "none.pt").exists()
    assert np.isfinite(model.score([0]).numpy()).all()


def test_a_class_of_the_course_stays_in_its_place():
    before = list(MODELS)
    with fitting.known_as(MODELS["bpr"]) as name:
        assert name == "bpr" and list(MODELS) == before
    assert list(MODELS) == before


def test_an_outer_class_of_the_same_name_comes_back():
    other = type("Other", (Newest,), {"name": "newest"})
    with fitting.known_as(Newest):
        with fitting.known_as(other):
            assert MODELS["newest"] is other
        assert MODELS["newest"] is Newest
    assert "newest" not in MODELS
