"""utils.studies.patience: what a patience keeps and costs is read off a curve that nothing stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest
from training_helpers import planted

from utils.studies import patience as study
from utils.training import fit

CURVE = [0.1, 0.2, 0.15, 0.18, 0.19, 0.25, 0.24, 0.2]


@pytest.mark.parametrize("patience, ends", [(1, (2, 3)), (3, (2, 5)), (4, (6, 8)), (50, (6, 8))])
def test_where_a_patience_ends_by_hand(patience, ends):
    assert study.stopped(CURVE, patience) == ends


def test_a_tie_is_no_new_best_and_nothing_ends_before_its_patience():
    assert study.stopped([0.2, 0.2, 0.2, 0.3], 2) == (1, 3)
    assert study.stopped([0.2], 1) == (1, 1)


@pytest.mark.parametrize("patience", [1, 3, 6])
def test_the_count_is_what_training_does(patience):
    split, features, _ = planted()
    settings = {"lr": 0.02, "n_epochs": 40}
    _, whole = fit("bpr", split, **settings, patience=41)
    _, short = fit("bpr", split, **settings, patience=patience)
    valid = whole.frame()["recall@20"]
    assert study.stopped(list(valid), patience) == (short.best_epoch, len(short.rows))


def test_what_is_lost_and_how_many_end_short():
    rows = [{"valid": CURVE, "standard_error": 0.04}, {"valid": [0.3, 0.1, 0.1], "standard_error": 0.04}]
    found = study.rules(rows, (1, 4))
    assert found.loc[1].to_dict() == pytest.approx({"epochs": 2.5, "lost": 0.025, "worst": 0.05, "short": 1, "runs": 2})
    assert found.loc[4, "lost"] == 0 and found.loc[4, "short"] == 0


def test_the_command_keeps_what_it_has_and_adds_a_second_dataset(tmp_path, monkeypatch, capsys):
    split, features, _ = planted()
    made = []

    def load(dataset, *_):
        return type("Data", (), {"name": dataset, "fingerprint": lambda self: dataset})(), split, features, {}

    real = study.curve
    monkeypatch.setattr(study, "load", load)
    monkeypatch.setattr(study, "curve", lambda name, *rest: made.append(name) or real(name, *rest))
    out = tmp_path / "out.json"
    words = ["--models", "bpr,vbpr", "--epochs", "3", "--seeds", "0,1", "--json", str(out)]
    assert study.main(["--dataset", "one", *words]) == 0 and len(made) == 4
    assert study.main(["--dataset", "one", *words]) == 0 and len(made) == 4
    assert study.main(["--dataset", "two", *words]) == 0 and len(made) == 8
    content = json.loads(out.read_text(encoding="utf-8"))
    assert len(content["rows"]) == 8 and all(len(row["valid"]) == 3 for row in content["rows"])
    assert len(content["meta"]["commands"]) == 2
    assert np.isfinite([row["standard_error"] for row in content["rows"]]).all()
    assert study.main(["--dataset", "one", "--models", "itemknn", "--json", str(out)]) == 1
    assert "itemknn is no model that is trained" in capsys.readouterr().err
