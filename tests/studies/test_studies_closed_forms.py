"""The study of closed forms: settings chosen on one log and judged on another, content beside dealt-out content."""

import json

import pytest

from utils.evaluation import evaluate
from utils.models import MODELS
from utils.studies import closed_forms as study
from utils.studies.inputs import load


def row(dataset, model, valid, test, content="own", **settings):
    return {"dataset": dataset, "model": model, "content": content, "settings": settings, "valid": valid, "test": test}


ROWS = [
    row("a", "ease", 0.3, 0.11, reg=1.0),
    row("a", "ease", 0.5, 0.12, reg=2.0),
    row("b", "ease", 0.9, 0.21, reg=1.0),
    row("b", "ease", 0.8, 0.22, reg=2.0),
    row("a", "ease_content", 0.6, 0.13, reg=2.0, weight=1.0),
    row("a", "ease_content", 0.7, 0.14, reg=2.0, weight=3.0),
    row("a", "ease_content", 0.5, 0.15, "shuffled", reg=2.0, weight=1.0),
    row("a", "ease_content", 0.4, 0.16, "shuffled", reg=2.0, weight=3.0),
]


def test_a_choice_is_made_on_validation_and_judged_on_the_test_part_of_each_log():
    frame = study.travelled(ROWS, "ease")
    assert frame.loc["a"].to_dict() == {"a": 0.12, "b": 0.22}
    assert frame.loc["b"].to_dict() == {"a": 0.11, "b": 0.21}


def test_content_stands_beside_none_and_beside_dealt_out_content():
    found = study.gains(ROWS)
    assert found.loc[("a", "ease_content")].to_dict() == {"without": 0.12, "own": 0.14, "shuffled": 0.15}


def test_a_penalty_by_clicks_is_that_of_the_recommended_settings():
    split = load("sticker_shop", None, None)[1]
    reg = 0.1 * (6.25 * split.n_users / len(split.train)) ** 0.5
    small = {"dim": 4, "n_iterations": 2, "unobserved": 1.0}
    by_clicks = study.judge("ials, reg by clicks", split, {}, {}, {**small, "reg_of_6_clicks": 0.1})
    assert by_clicks == study.judge("ials", split, {}, {}, {**small, "reg": reg})
    assert by_clicks != study.judge("ials", split, {}, {}, {**small, "reg": 3 * reg})


def test_the_study_runs_resumes_and_judges_as_evaluate_does(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "GRIDS", {"ease": {"reg": [10.0]}})
    monkeypatch.setattr(study, "WITH_CONTENT", {"ease_content": ("ease", [{"weight": 1.0}])})
    file = tmp_path / "closed.json"
    assert study.main(["sticker_shop", "--json", str(file)]) == 0
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert [(r["model"], r["content"]) for r in stored["rows"]] == [
        ("ease", "own"), ("ease_content", "own"), ("ease_content", "shuffled")
    ]  # fmt: skip
    split = load("sticker_shop", None, None)[1]
    test = evaluate(MODELS["ease"](split, reg=10.0), split, "test", 20, ("recall",)).mean()["recall@20"]
    assert stored["rows"][0]["test"] == pytest.approx(test, abs=1e-5)
    monkeypatch.setattr(study, "judge", lambda *_: pytest.fail("a stored row is made again"))
    assert study.main(["sticker_shop", "--json", str(file)]) == 0
