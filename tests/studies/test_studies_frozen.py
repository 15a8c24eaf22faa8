"""utils.studies.frozen_features: frozen against trained features, on a tiny planted split."""

from __future__ import annotations

import json

from training_helpers import planted

from utils.studies import frozen_features as study
from utils.studies.frozen_features import compare, main, trainable


def test_compare_says_what_training_the_features_adds():
    split, features, _ = planted()
    rows = [compare("vbpr", split, features, 0, trained, n_epochs=2, lr=0.02) for trained in (False, True)]
    frozen, trained = rows
    wide = sum(feature.matrix.size for feature in features.values())
    assert trained["parameters"] == frozen["parameters"] + wide
    assert [row["features"] for row in rows] == ["frozen", "trained"] and frozen["epochs"] == 2
    assert all(0 <= row["recall@20"] <= 1 and row["cpu_s"] > 0 for row in rows)
    assert frozen["valid_recall@20"] != trained["valid_recall@20"] or frozen["recall@20"] != trained["recall@20"]


def test_a_model_without_features_is_named(tmp_path, capsys):
    assert "freedom" in trainable() and "lightgcn" not in trainable()
    assert main(["--models", "lightgcn", "--json", str(tmp_path / "out.json")]) == 1
    assert "lightgcn has no features to train" in capsys.readouterr().err


def test_a_second_run_makes_only_what_is_missing_or_stale(tmp_path, monkeypatch):
    made, out = [], tmp_path / "out.json"

    def fake(name, split, features, seed, trained):
        made.append((name, seed, trained))
        return {"model": name, "seed": seed, "features": "trained" if trained else "frozen"}

    monkeypatch.setattr(study, "compare", fake)
    assert main(["--models", "vbpr", "--seeds", "0", "--json", str(out)]) == 0
    assert made == [("vbpr", 0, False), ("vbpr", 0, True)]
    assert main(["--models", "vbpr", "--seeds", "0,1", "--json", str(out)]) == 0
    assert made[2:] == [("vbpr", 1, False), ("vbpr", 1, True)]
    content = json.loads(out.read_text(encoding="utf-8"))
    assert len(content["rows"]) == 4
    assert " --models vbpr --seeds 0,1 --json " in content["meta"]["command"]
    content["rows"][0]["code"] = "older"  # the code of this run has changed since
    out.write_text(json.dumps(content), encoding="utf-8")
    assert main(["--models", "vbpr", "--seeds", "0,1", "--json", str(out)]) == 0
    assert made[4:] == [("vbpr", 0, False)]
    content["meta"]["fingerprint"] = "other data"
    out.write_text(json.dumps(content), encoding="utf-8")
    assert main(["--models", "vbpr", "--seeds", "0", "--json", str(out)]) == 0
    assert made[5:] == [("vbpr", 0, False), ("vbpr", 0, True)]


def test_the_command_of_the_result_makes_the_rows_of_all_calls(tmp_path, monkeypatch):
    monkeypatch.setattr(
        study, "compare", lambda name, split, features, seed, _: {"model": name, "seed": seed, "features": ""}
    )
    out = tmp_path / "out.json"
    for model, seeds in (("vbpr", "1,0"), ("bm3", "0")):
        assert main(["--models", model, "--seeds", seeds, "--json", str(out)]) == 0
    command = json.loads(out.read_text(encoding="utf-8"))["meta"]["command"]
    assert " --dataset sticker_shop --models vbpr,bm3 --seeds 0,1 --json " in command
