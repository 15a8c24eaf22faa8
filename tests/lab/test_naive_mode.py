"""Naive mode: the same numbers as ours, only slower, and nothing left behind; the speed command around it."""

import argparse
import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from tests.training_helpers import planted
from utils import evaluation, graphs
from utils.errors import CourseError
from utils.graphs.edges import Edges
from utils.lab import naive as mode
from utils.lab import speed
from utils.lab.naive import ALL, LATTICES, Habits, naive
from utils.lab.synthetic import synthetic
from utils.models import MODELS, TrainedRecommender, make_model
from utils.training import loop as training

NAMES = [name for name in (*speed.PAIRED, "ngcf", "deepstyle", "mmgcn") if name in MODELS]


@pytest.fixture(scope="module")
def world():
    split, features, _ = planted(n_users=60, n_items=40)
    batch = (
        split.train[::3, 0],
        split.train[::3, 1],
        np.random.default_rng(0).integers(40, size=len(split.train[::3])),
    )
    return split, features, tuple(torch.as_tensor(ids.copy()) for ids in batch)


def state():
    owners = (torch, torch.Tensor, torch.nn.functional, TrainedRecommender, training.NegativeSampler, Edges)
    found = {(id(owner), name): value for owner in owners for name, value in vars(owner).items()}
    for module in (evaluation, graphs, training, *map(speed.sys.modules.get, sorted(m for m in speed.sys.modules))):
        if getattr(module, "__name__", "").startswith("utils"):
            found |= {(id(module), name): value for name, value in vars(module).items() if callable(value)}
    return {key: id(value) for key, value in found.items() if key[1] != "__warningregistry__"}


def loss_and_gradients(name, split, features, batch):
    model = make_model(name, split, features, dim=8)
    model.train()
    torch.manual_seed(0)
    model.begin_epoch(torch.Generator().manual_seed(0))
    loss = model.loss(*batch)
    loss.backward()
    return float(loss.detach()), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", NAMES)
def test_same_loss_gradients_and_scores(world, name):
    split, features, batch = world
    ours = loss_and_gradients(name, split, features, batch)
    model = make_model(name, split, features, dim=8)
    scores = model.score(np.arange(split.n_users)).clone()
    with naive(LATTICES):
        theirs = loss_and_gradients(name, split, features, batch)
        slow = model.score(np.arange(split.n_users))
    assert theirs[0] == pytest.approx(ours[0], rel=1e-5)
    assert theirs[1].keys() == ours[1].keys()
    for weight, gradient in ours[1].items():
        torch.testing.assert_close(theirs[1][weight], gradient, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(slow, scores, rtol=1e-4, atol=1e-6)


def test_same_metrics(world):
    split, features, _ = world
    model = make_model("lightgcn", split, features)
    ours = evaluation.evaluate(model, split, top_k=(5, 10))
    with naive():
        theirs = evaluation.evaluate(model, split, top_k=(5, 10))
    np.testing.assert_array_equal(theirs.lists, ours.lists)
    np.testing.assert_allclose(theirs.mean(), ours.mean())


def test_negatives_are_still_negatives_of_the_same_kind(world):
    split, _, _ = world
    users = torch.arange(split.n_users).repeat(200)
    with naive(Habits(loop_sampling=True)):
        items = training.NegativeSampler(split).sample(users, torch.Generator().manual_seed(1))
    taken = set(map(tuple, split.train.tolist()))
    assert not taken & set(zip(users.tolist(), items.tolist()))
    ours = training.NegativeSampler(split).sample(users, torch.Generator().manual_seed(1))
    counts = [np.bincount(x.numpy(), minlength=split.n_items) / len(users) for x in (items, ours)]
    np.testing.assert_allclose(*counts, atol=0.01)


def test_one_epoch_of_every_habit_ends_where_ours_ends(world):
    split, features, _ = world
    ends = []
    for habits in (Habits(), replace(ALL, loop_sampling=False)):  # the loop draws other negatives
        with naive(habits):
            model = make_model("vbpr", split, features, dim=8)
            optimiser = training.make_optimiser(model, 1e-2)
            training._epoch(model, split, training.NegativeSampler(split), optimiser, 64, 0, 1)
        ends.append(model.score(np.arange(split.n_users)).clone())
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("failing", [False, True])
def test_leaving_restores_everything(failing):
    before = state()
    try:
        with naive(LATTICES):
            assert state() != before
            if failing:
                raise RuntimeError
    except RuntimeError:
        pass
    assert state() == before and not mode._WHOLE


def test_synthetic_data_has_the_size_it_says():
    split, features = synthetic(0.05)
    assert split.n_users == 972 and split.n_items == 352
    parts = (split.train, split.valid, split.test)
    assert sum(map(len, parts)) == 8040 and len({tuple(pair) for part in parts for pair in part.tolist()}) == 8040
    assert all(len(np.unique(part[:, 0])) == 972 for part in parts)
    assert {m: f.matrix.shape for m, f in features.items()} == {"visual": (352, 4096), "textual": (352, 384)}
    again, _ = synthetic(0.05)
    np.testing.assert_array_equal(again.train, split.train)


def options(path, **changes):
    given = {"json": path, "tasks": "sampling", "repeats": 1, "peers": None, "force": False, "quick": True}
    return argparse.Namespace(**{**given, **changes})


def test_the_command_writes_rows_and_keeps_finished_tasks(tmp_path, capsys):
    out = tmp_path / "speed.json"
    assert speed.run(options(out, tasks="sampling,bpr"), ["speed"]) == 0
    first = json.loads(out.read_text())
    assert [row["task"] for row in first["rows"]] == ["sampling", "bpr"]
    assert {"ours_cpu_s", "ours_wall_s", "rival", "rival_cpu_s", "rival_wall_s", "ratio", "bar"} <= set(
        first["rows"][0]
    )
    assert "| sampling |" in out.with_suffix(".md").read_text()
    assert speed.run(options(out), ["speed"]) == 0
    assert json.loads(out.read_text())["rows"] == first["rows"]
    assert speed.run(options(out, repeats=2), ["speed"]) == 0  # other settings: the old file is set aside
    assert json.loads((tmp_path / "speed.set-aside-1.json").read_text())["rows"] == first["rows"]
    capsys.readouterr()


def test_each_habit_has_a_price_of_its_own(tmp_path, capsys):
    out = tmp_path / "speed.json"
    assert speed.run(options(out, tasks="habits:bpr,habits:evaluation"), ["speed"]) == 0
    rows = {row["task"]: row for row in json.loads(out.read_text())["rows"]}
    assert set(rows["habits:bpr"]["habits_cpu_s"]) == set(speed.TRAINING_HABITS)
    assert set(rows["habits:evaluation"]["habits_cpu_s"]) == {"loop_hits", "wide_ranking"}
    assert all(seconds > 0 for row in rows.values() for seconds in row["habits_cpu_s"].values())
    table = out.with_suffix(".md").read_text()
    assert (
        "| task | ours | loop_hits | wide_ranking | loop_sampling |" in table
        and "| bpr | " in table
        and "habits:" not in table
    )
    assert set(speed.chosen("habits", True)) == {f"habits:{name}" for name in ("evaluation", *speed.PAIRED)}
    known = {field.name for field in fields(Habits)}
    assert known >= {habit for habits in (speed.TRAINING_HABITS, *speed.HABITS.values()) for habit in habits}
    capsys.readouterr()


def test_a_later_call_without_the_peers_keeps_what_an_earlier_one_says_of_them(tmp_path, capsys, monkeypatch):
    out = tmp_path / "speed.json"
    monkeypatch.setattr(speed.sys, "path", [*speed.sys.path])  # --peers adds its folder
    monkeypatch.setattr(speed.peers, "version", lambda name: "1.2")
    assert speed.run(options(out, peers=str(tmp_path)), ["speed"]) == 0
    monkeypatch.setattr(speed.peers, "version", lambda name: speed.peers.ABSENT)
    assert speed.run(options(out, force=True), ["speed"]) == 0
    about = json.loads(out.read_text())["meta"]
    assert about["command"].endswith("--peers FOLDER") and about["peers"]["implicit"] == "1.2"
    assert speed._cell(3.14159) == "3.14" and speed._cell(1326.4) == "1,326"
    capsys.readouterr()


def test_a_missing_peer_is_said_and_is_no_failure(tmp_path, capsys, monkeypatch):
    def missing(name):
        raise speed.peers.Missing(name)

    monkeypatch.setattr(speed.peers, "load", missing)
    assert speed.run(options(tmp_path / "s.json", tasks="implicit-bpr"), ["speed"]) == 0
    assert "not installed" in capsys.readouterr().err


def test_unknown_task_names_the_nearest(tmp_path):
    with pytest.raises(CourseError, match="evaluation"):
        speed.run(options(tmp_path / "s.json", tasks="evalution"), ["speed"])
