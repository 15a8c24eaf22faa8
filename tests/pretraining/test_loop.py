"""utils.pretraining.loop: it learns an order, stops early, gives the same numbers twice, and goes on from a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretraining_helpers import make_sequences, walks
from training_helpers import make_features

from utils.errors import CourseError
from utils.pretraining import loop
from utils.pretraining.counting import Popularity
from utils.pretraining.loop import train_next
from utils.pretraining.next_item import evaluate_next
from utils.pretraining.sasrec import SASRec

SMALL = {"dim": 16, "length": 6, "n_layers": 1, "dropout": 0.1}
LOOP = {"lr": 0.01, "batch_size": 64, "progress": False}


def run(sequences, seed=0, features=None, settings=None, **loop):
    model = SASRec(sequences, features, seed, **SMALL, **(settings or {}))
    return model, train_next(model, sequences, seed=seed, **{**LOOP, **loop})


@pytest.mark.parametrize("loss", ["softmax", "sampled"])
def test_it_learns_the_order(loss):
    sequences = walks(400, 30)
    model, history = run(sequences, settings={"loss": loss}, n_epochs=15)
    reached = evaluate_next(model, sequences, top_k=1).mean()["hr@1"]
    popular = evaluate_next(Popularity(sequences), sequences, top_k=1).mean()["hr@1"]
    assert reached > 0.6 > 5 * popular, (reached, popular)
    assert history.rows[-1]["loss"] < history.rows[0]["loss"] and not model.training


def test_the_same_seed_gives_the_same_numbers_twice():
    sequences = walks()
    runs = [run(sequences, seed, n_epochs=3) for seed in (3, 3, 4)]
    frames = [history.frame().drop(columns="seconds") for _, history in runs]
    assert frames[0].equals(frames[1]) and not frames[0].equals(frames[2])
    first, second = (model.state_dict() for model, _ in runs[:2])
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_batch_in_pieces_has_the_gradient_of_the_whole(monkeypatch):
    sequences, found = make_sequences([list(range(n)) for n in (3 + 2, 12, 4 + 2, 9, 4 + 2, 14)], 20), []
    for pieces in (1, 4):
        monkeypatch.setattr(loop, "PIECES", pieces)
        model = SASRec(sequences, **{**SMALL, "dropout": 0.0, "length": 11})
        histories = torch.from_numpy(sequences.padded(np.arange(6), 12))
        loss = loop._epoch(model, histories, torch.optim.SGD(model.parameters(), 0.5), 6, seed=0)
        found.append((loss, model.state_dict()))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    assert not torch.allclose(found[0][1]["ids.weight"], SASRec(sequences, **{**SMALL, "length": 11}).ids.weight)
    for name, value in found[0][1].items():
        assert torch.allclose(value, found[1][1][name], atol=1e-6), name


def test_training_leaves_the_callers_chance_alone():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    run(walks(), n_epochs=1)
    assert torch.equal(torch.rand(2), expected)


def test_it_stops_early_and_has_its_best_weights_back():
    sequences = walks(60, 20, noise=0.6)
    model, history = run(sequences, n_epochs=60, patience=3, lr=0.03)
    values = history.frame()["ndcg@10"]
    assert history.stopped_early and len(values) == history.best_epoch + 3 < 60
    assert history.best_value == values.max() == values[history.best_epoch - 1]
    assert evaluate_next(model, sequences, "valid", 10, ("ndcg",)).mean()["ndcg@10"] == pytest.approx(values.max())


def test_the_metric_and_how_often_it_is_asked():
    _, history = run(walks(), n_epochs=5, eval_every=2, metric="hr@5")
    assert history.frame()["hr@5"].notna().tolist() == [False, True, False, True, True]


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path):
    sequences, file = walks(), tmp_path / "run.pt"
    whole, history = run(sequences, n_epochs=4)
    run(sequences, n_epochs=2, checkpoint=file)
    model, resumed = run(sequences, n_epochs=4, checkpoint=file)
    assert resumed.frame().drop(columns="seconds").equals(history.frame().drop(columns="seconds"))
    for name, value in whole.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    sequences, file = walks(), tmp_path / "run.pt"
    run(sequences, n_epochs=1, checkpoint=file)
    with pytest.raises(CourseError, match="belongs to another run; delete it"):
        run(sequences, n_epochs=2, checkpoint=file, lr=0.02)
    with pytest.raises(CourseError, match="belongs to another run"):
        run(walks(seed=1), n_epochs=2, checkpoint=file)
    file.write_bytes(b"no")
    with pytest.raises(CourseError, match="cannot be read; delete it to start anew"):
        run(sequences, n_epochs=2, checkpoint=file)


def test_a_loss_that_is_no_number_keeps_the_best_weights():
    sequences = walks()
    with pytest.raises(CourseError, match="the loss of epoch .* is not a finite number; .*below 1e.30"):
        run(sequences, n_epochs=3, lr=1e30)


def test_only_users_with_a_step_to_learn_count():
    with pytest.raises(CourseError, match="No user has two training items"):
        run(make_sequences([[0, 1, 2], [2, 1, 0]]), n_epochs=1)
    with pytest.raises(CourseError, match="patience and eval_every must be 1 or more"):
        run(walks(), patience=0)


def test_content_finds_cold_items_and_ids_cannot():
    ring = walks(400, 30, noise=0.0)
    lists = [ring.sequence(user, "end") for user in range(400)]
    cold = [7, 19]  # they are left out of every step but the last
    lists = [items for items in lists if not np.isin(items[:-1], cold).any()]
    sequences = make_sequences(lists, 30)
    asked = np.isin(sequences.split.test[:, 1], cold)
    assert asked.sum() >= 10 and set(cold) <= set(sequences.split.cold_items)
    angle = np.arange(30) * 2 * np.pi / 30
    waves = np.stack([f(n * angle) for n in (1, 2, 3) for f in (np.sin, np.cos)], axis=1)
    features = {"visual": make_features("visual", waves)}
    hits = {}
    for inputs in ("ids", "content"):
        given = None if inputs == "ids" else features
        model, _ = run(sequences, features=given, settings={"inputs": inputs}, n_epochs=30)
        hits[inputs] = evaluate_next(model, sequences, top_k=3).per_user["hr@3"][asked].mean()
    assert hits["content"] > 0.5 > 0.1 > hits["ids"], hits
