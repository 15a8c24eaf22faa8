"""utils.training.loop: sampling, early stopping, resuming, and what happens when something goes wrong."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from training_helpers import make_features, make_split, planted

import utils.training.loop as training
from utils.errors import CourseError
from utils.evaluation import evaluate
from utils.models import MODELS, TrainedRecommender, make_model
from utils.training import NegativeSampler, fit, train, trial_settings, tune, validator

SPLIT, FEATURES, _ = planted(60, 40, per_user=8)
TRAINED = [name for name, model in MODELS.items() if issubclass(model, TrainedRecommender)]
QUIET = {"progress": False}


def same(history, other) -> bool:
    return history.frame().drop(columns="seconds").equals(other.frame().drop(columns="seconds"))


def test_negatives_are_never_positives_and_never_cold():
    split, _, _ = planted(100, 50, per_user=10, cold=10)
    users = torch.arange(split.n_users).repeat_interleave(500)
    items = NegativeSampler(split).sample(users, torch.Generator().manual_seed(0))
    positives = {(int(u), int(i)) for u, i in split.train}
    assert not positives & set(zip(users.tolist(), items.tolist()))
    assert not set(items.tolist()) & set(split.cold_items.tolist())


def test_negatives_are_uniform():
    split = make_split([(0, 0), (0, 3), (1, 1), (1, 2), (1, 4), (2, 5), (2, 6), (2, 7)], n_items=10)
    users = torch.zeros(60_000, dtype=torch.int64)
    items = NegativeSampler(split).sample(users, torch.Generator().manual_seed(0)).numpy()
    counts = np.bincount(items, minlength=10)[[1, 2, 4, 5, 6, 7]]
    assert counts.sum() == len(users)
    assert chisquare(counts).pvalue > 0.01


def test_negatives_follow_the_generator():
    sampler, users = NegativeSampler(SPLIT), torch.as_tensor(SPLIT.train[:, 0])
    first = sampler.sample(users, torch.Generator().manual_seed(5))
    assert torch.equal(first, sampler.sample(users, torch.Generator().manual_seed(5)))
    assert not torch.equal(first, sampler.sample(users, torch.Generator().manual_seed(6)))


def test_a_user_who_took_everything_is_named():
    with pytest.raises(CourseError, match="User 1 took all 3 items"):
        NegativeSampler(make_split([(0, 0), (1, 0), (1, 1), (1, 2)], n_items=5))


@pytest.mark.parametrize("name", TRAINED)
def test_same_seed_same_run(name):
    model, history = fit(name, SPLIT, FEATURES, seed=3, n_epochs=3)
    torch.manual_seed(99)
    again, other = fit(name, SPLIT, FEATURES, seed=3, n_epochs=3)
    assert same(history, other)
    assert torch.equal(model.score([0, 1]), again.score([0, 1]))
    assert not torch.equal(model.score([0]), fit(name, SPLIT, FEATURES, seed=4, n_epochs=3)[0].score([0]))


def test_training_leaves_the_global_generator_alone():
    model = make_model("bpr", SPLIT)
    before = torch.random.get_rng_state()
    train(model, SPLIT, n_epochs=2, **QUIET)
    assert torch.equal(before, torch.random.get_rng_state())


def test_history():
    _, history = fit("bpr", SPLIT, n_epochs=7, eval_every=3, metric="ndcg@5")
    frame = history.frame()
    assert list(frame.columns) == ["epoch", "loss", "ndcg@5", "seconds"]
    assert frame["epoch"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert frame["ndcg@5"].notna().tolist() == [False, False, True, False, False, True, True]  # the last one always
    assert frame["loss"].iloc[-1] < frame["loss"].iloc[0]
    assert history.seconds == pytest.approx(frame["seconds"].sum())
    assert frame.set_index("epoch")["ndcg@5"][history.best_epoch] == frame["ndcg@5"].max() == history.best_value
    assert "ndcg@5" in repr(history)


def test_early_stopping_restores_the_best_weights(monkeypatch):
    values = iter([0.1, 0.3, 0.2, 0.2, 0.3, 0.9])  # 0.3 again is no gain
    weights = []

    def scripted(split, metric):
        def value(model):
            weights.append(model.item_table.weight.detach().clone())
            return next(values)

        return value

    monkeypatch.setattr(training, "validator", scripted)
    model = make_model("bpr", SPLIT)
    history = train(model, SPLIT, n_epochs=50, patience=3, **QUIET)
    assert len(history.rows) == 5 and history.stopped_early
    assert (history.best_epoch, history.best_value) == (2, 0.3)
    assert torch.equal(model.item_table.weight, weights[1])
    assert not model.training


def test_the_best_weights_score_what_the_history_says():
    model, history = fit("bpr", SPLIT, n_epochs=25, lr=0.05, patience=4)
    assert evaluate(model, SPLIT, part="valid", metrics=("recall",))["recall@20"] == history.best_value
    assert validator(SPLIT)(model) == history.best_value


def test_without_validation_all_epochs_run():
    split = make_split(SPLIT.train, test=SPLIT.test, n_users=60, n_items=40)
    model, history = fit("bpr", split, n_epochs=4)
    assert len(history.rows) == 4 and history.best_epoch == 0 and not history.stopped_early
    assert history.frame()["recall@20"].isna().all()
    assert torch.isfinite(model.score([0])).all()


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("name", ["bpr", "freedom"])
def test_a_resumed_run_equals_one_that_was_not_interrupted(name, tmp_path, monkeypatch):
    whole_model, whole = fit(name, SPLIT, FEATURES, n_epochs=6)
    path, epoch = tmp_path / "run" / "state.pt", training._epoch

    def failing(*args):
        if args[-1] == 4:
            raise Interrupted
        return epoch(*args)

    monkeypatch.setattr(training, "_epoch", failing)
    with pytest.raises(Interrupted):
        fit(name, SPLIT, FEATURES, n_epochs=6, checkpoint=path)
    monkeypatch.setattr(training, "_epoch", epoch)
    model, history = fit(name, SPLIT, FEATURES, n_epochs=6, checkpoint=path)
    assert same(history, whole) and history.best_epoch == whole.best_epoch
    assert torch.equal(model.score(np.arange(10)), whole_model.score(np.arange(10)))
    done, again = fit(name, SPLIT, FEATURES, n_epochs=6, checkpoint=path)  # finished: nothing is trained
    assert same(again, whole) and torch.equal(done.score([0]), whole_model.score([0]))
    assert list(path.parent.iterdir()) == [path]  # no half files


def test_a_resumed_run_stops_early_as_before(tmp_path):
    path = tmp_path / "state.pt"
    settings = {"n_epochs": 60, "lr": 0.05, "patience": 3, "checkpoint": path}
    _, first = fit("bpr", SPLIT, **settings)
    assert first.stopped_early
    _, again = fit("bpr", SPLIT, **settings)
    assert same(first, again) and again.stopped_early


def test_a_foreign_or_broken_checkpoint_is_refused_and_kept(tmp_path):
    path = tmp_path / "state.pt"
    fit("bpr", SPLIT, n_epochs=2, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(CourseError, match="another run"):
        fit("bpr", SPLIT, n_epochs=2, checkpoint=path, lr=0.5)
    assert path.read_bytes() == before
    other = tmp_path / "content.pt"
    fit("vbpr", SPLIT, FEATURES, n_epochs=1, checkpoint=other)
    with pytest.raises(CourseError, match="another run"):  # the same settings, but other features
        fit("vbpr", SPLIT, {"visual": FEATURES["visual"]}, n_epochs=1, checkpoint=other)
    path.write_bytes(before[:100])
    with pytest.raises(CourseError, match="cannot be read"):
        fit("bpr", SPLIT, n_epochs=2, checkpoint=path)


def test_nan_names_the_epoch_and_keeps_the_best_so_far(monkeypatch):
    model = make_model("bpr", SPLIT)
    loss, seen = model.loss, []

    def poisoned(*batch):
        seen.append(1)
        return loss(*batch) * (math.nan if len(seen) > 3 else 1.0)  # one batch for each epoch

    monkeypatch.setattr(model, "loss", poisoned)
    with pytest.raises(CourseError, match=r"bpr: the loss of epoch 4 .* learning rate below 0.01"):
        train(model, SPLIT, n_epochs=9, lr=0.01, batch_size=10_000, **QUIET)
    assert torch.isfinite(model.score([0])).all()
    best, history = fit("bpr", SPLIT, n_epochs=3, lr=0.01, batch_size=10_000)
    assert torch.equal(model.score([0]), best.score([0]))


def test_a_weight_that_is_no_number_is_found_before_it_is_validated(monkeypatch):
    model = make_model("bpr", SPLIT)
    with pytest.raises(CourseError, match="epoch 1 .* initial weights"):
        train(model, SPLIT, n_epochs=3, lr=float("inf"), **QUIET)
    assert torch.isfinite(model.score([0])).all()


def test_fit_returns_no_history_for_models_that_are_not_trained():
    for name in ("random", "mostpop", "itemknn", "itemknn_content", "itemknn_multimodal"):
        model, history = fit(
            name, SPLIT, FEATURES, n_epochs=3, lr=0.1
        )  # the loop's settings are of no use, and no error
        assert history is None and model.score([0]).shape == (1, 40)


def test_fit_takes_the_recommended_settings_and_names_mistakes():
    model, _ = fit("bpr", SPLIT, n_epochs=1)
    assert model.settings["lr"] == MODELS["bpr"].DEFAULTS["lr"]
    with pytest.raises(CourseError, match="n_epochs"):
        fit("bpr", SPLIT, epochs=3)
    with pytest.raises(CourseError, match="bpr"):
        fit("brp", SPLIT)
    with pytest.raises(CourseError, match="patience"):
        fit("bpr", SPLIT, patience=0)


def test_trials_start_with_the_recommended_settings_and_never_repeat():
    trials = trial_settings(MODELS["bpr"], SPLIT, 8, seed=0)
    assert len(trials) == 8 and len({str(trial) for trial in trials}) == 8
    assert trials[0] == {key: MODELS["bpr"].DEFAULTS[key] for key in MODELS["bpr"].SEARCH}
    assert trials == trial_settings(MODELS["bpr"], SPLIT, 8, seed=0) != trial_settings(MODELS["bpr"], SPLIT, 8, seed=1)
    assert trials[:4] == trial_settings(MODELS["bpr"], SPLIT, 4, seed=0)  # a larger budget extends a smaller one
    everything = trial_settings(MODELS["bpr"], SPLIT, 1000, seed=0)
    assert len(everything) == math.prod(len(values) for values in MODELS["bpr"].SEARCH.values())
    fixed = trial_settings(MODELS["bpr"], SPLIT, 1000, 0, {"lr": 0.1})
    assert all("lr" not in trial for trial in fixed)


def test_tune_chooses_on_validation_only():
    hidden = make_split(SPLIT.train, SPLIT.valid, n_users=60, n_items=40)  # no test part at all
    best, table = tune("bpr", hidden, budget=3, n_epochs=3)
    assert len(table) == 3 and best["n_epochs"] == 3
    row = table.loc[table["recall@20"].idxmax()]
    assert best["lr"] == row["lr"] and best["reg"] == row["reg"]
    again, _ = tune("bpr", hidden, budget=3, n_epochs=3)
    assert again == best
    model, history = fit("bpr", hidden, **best)
    assert history.best_value == row["recall@20"]
    best, table = tune("itemknn", SPLIT, budget=3)
    assert set(best) == set(MODELS["itemknn"].SEARCH) and len(table) == 3
    with pytest.raises(CourseError, match="validation part is empty"):
        tune("bpr", make_split(SPLIT.train, n_users=60, n_items=40))


def test_tune_survives_a_trial_that_fails(monkeypatch):
    monkeypatch.setitem(MODELS["bpr"].SEARCH, "lr", [float("inf"), 1e-3])
    monkeypatch.setitem(MODELS["bpr"].SEARCH, "reg", [1e-2])
    best, table = tune("bpr", SPLIT, budget=4, n_epochs=2)
    assert math.isfinite(best["lr"])
    assert (table["note"] != "").sum() == 1


def test_recommended_settings_move_with_the_size_of_the_log_and_never_jump(monkeypatch):
    """What counts is the number of interactions, not the dataset's name; 42,000 and 59,000 are no two worlds."""
    monkeypatch.setattr(MODELS["bm3"], "LARGE", {"lr": 1e-3, "dropout": 0.3, "reg": 0.0, "batch_size": 2048})

    def at(n: int) -> dict:
        return MODELS["bm3"].recommended(SimpleNamespace(train=np.zeros((n, 2)), n_users=100))

    small = MODELS["bm3"].DEFAULTS
    assert at(6_000) == at(10_000) == small and at(300_000) == at(100_000) == small | MODELS["bm3"].LARGE
    half = at(31_623)  # the root of 10,000 times 100,000
    assert half["lr"] == pytest.approx((small["lr"] * 1e-3) ** 0.5, rel=5e-3) and half["batch_size"] == 1448
    assert half["reg"] == pytest.approx(small["reg"] / 2) and half["dim"] == small["dim"]
    rates = np.array([at(n)["lr"] for n in range(9_000, 110_000, 500)])
    assert (np.diff(rates) <= 0).all() and (rates[1:] / rates[:-1]).min() > 0.95
    split = make_split(np.random.default_rng(0).integers(0, 400, (20_000, 2)), n_users=400, n_items=400)
    asked = MODELS["bm3"].recommended(split)["lr"]
    assert 1e-3 < asked < 5e-3 and make_model("bm3", split, lr=0.5).settings["lr"] == 0.5
    assert trial_settings(MODELS["bm3"], split, 1, seed=0)[0]["lr"] == asked


def test_training_waits_for_thirty_checks_by_default():
    history = train(make_model("bpr", SPLIT, reg=10.0, lr=0.05), SPLIT, n_epochs=200, **QUIET)
    assert history.stopped_early and len(history.rows) == history.best_epoch + 30


def test_a_checkpoint_knows_a_long_setting_to_its_last_entry(tmp_path):
    """numpy writes a long array with dots in the middle: two of them must not pass for one another."""
    split = make_split([(u, i) for u in range(4) for i in range(u, 2000, 4)], n_users=4, n_items=2000)
    features = {"visual": make_features("visual", np.random.default_rng(0).normal(size=(2000, 3)))}
    labels = np.arange(2000) % 5
    other = np.where(np.arange(2000) == 1000, 4 - labels, labels)
    settings = {"n_epochs": 1, "checkpoint": tmp_path / "deepstyle.pt"}
    fit("deepstyle", split, features, categories=labels, **settings)
    fit("deepstyle", split, features, categories=labels.copy(), **settings)
    with pytest.raises(CourseError, match="another run"):
        fit("deepstyle", split, features, categories=other, **settings)
