"""utils.studies.semantic_ids: the command on the shop and on published ids, what it keeps, and what it says of beams."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from generation_helpers import ring_model
from pretraining_helpers import make_sequences, walks

from utils.generation import MMGRec
from utils.pretraining import evaluate_next
from utils.studies import semantic_ids as study

FEW = ("--models", "popularity,both:tokens,sasrec:both", "--ids", "content,permuted", "--epochs", "1")


def run(folder, out, *words):
    assert study.main([str(folder), "--json", str(out), *words]) == 0
    return json.loads(out.read_text(encoding="utf-8"))


def test_ids_and_models_have_a_row_for_each_seed_that_is_kept_until_the_code_changes(tmp_path, monkeypatch):
    made, out = [], tmp_path / "out.json"
    real = study.trained
    monkeypatch.setattr(study, "trained", lambda name, *rest: made.append(name) or real(name, *rest))
    monkeypatch.setattr(study, "source_hash", lambda names: "a")
    content = run("sticker_shop", out, *FEW)
    assert [row["model"] for row in content["rows"]] == ["popularity", "both:tokens", "sasrec:both"]
    written = content["rows"][1]
    assert written["epochs"] == written["best_epoch"] == 1 and written["valid_hr@10"] > 0
    assert {"beam_10", "beam_50", "invalid_10", "invalid_50"} <= set(written) and "cold" not in written
    assert "beam_10" not in content["rows"][2]
    ids = {row["ids"]: row for row in content["ids"]}
    assert set(ids) == {"content", "permuted"} and len(ids["content"]["purity"]) == 3
    assert ids["content"]["purity"][0] > 2 * ids["permuted"]["purity"][0] and "r2" not in ids["permuted"]
    run("sticker_shop", out, *FEW, "--seeds", "0,")
    assert made == ["both:tokens", "sasrec:both"]
    monkeypatch.setattr(study, "source_hash", lambda names: "b")
    content = run("sticker_shop", out, "--models", "popularity", "--ids", "")
    assert len(content["rows"]) == 3 and content["rows"][0]["code"] == "b" and len(content["meta"]["commands"]) == 2


def test_closed_forms_stand_beside_and_have_no_budget_of_training(tmp_path):
    words = ("--models", "popularity,ease,ials_tuned,ease_content", "--ids", "", "--seeds", "0,1")
    rows = run("sticker_shop", tmp_path / "out.json", *words)["rows"]
    assert [(row["model"], row["seed"]) for row in rows[:4]] == [(name, 0) for name in words[1].split(",")]
    assert all("at_most" not in row for row in rows) and set(rows[2]["settings"]) == {"unobserved", "decay"}
    assert min(row["hr@10"] for row in rows if row["model"] != "popularity") > 0.15


def test_published_ids_are_diagnosed_where_they_lie(tmp_path):
    folder = tmp_path / "ring"
    folder.mkdir()
    sequences = walks(30, 12)
    with gzip.open(folder / "sequences.txt.gz", "wt") as stream:
        for user in range(sequences.n_users):
            stream.write(" ".join(map(str, [user + 1, *(sequences.sequence(user, "end") + 1)])) + "\n")
    for name in study.PUBLISHED.values():
        with gzip.open(folder / name, "wt") as stream:
            json.dump({str(item): [item // 4, item % 4 // 2] for item in range(12)}, stream)
    with gzip.open(folder / "item2attributes.json.gz", "wt") as stream:
        json.dump({str(item + 1): [item // 4] for item in range(12)}, stream)
    content = run(folder, tmp_path / "out.json", "--models", "popularity,letter:tokens", "--epochs", "1")
    assert [row["ids"] for row in content["ids"]] == [*study.PUBLISHED, "LETTER, permuted"]
    assert content["ids"][2]["purity"] == [1.0, 1.0] and content["ids"][3]["purity"][0] < 1
    assert content["ids"][0]["prefixes"] == [0.25, 0.5] and content["ids"][0]["biggest"] == [4, 2]
    assert [row["model"] for row in content["rows"]] == ["popularity", "letter:tokens"]
    assert content["rows"][1]["epochs"] == 1 and content["rows"][1]["beam_50"] == content["rows"][1]["hr@10"]


def test_beams_lose_hits_that_an_exact_list_has_and_cold_items_have_figures_of_their_own():
    lists = [[(start + step) % 29 for step in range(5)] for start in range(29)] + [[0, 1, 2, 3, 29]] * 3
    sequences = make_sequences(lists, 30)  # item 29 is in no training sequence
    model = ring_model(sequences)
    found = study.judge(model, sequences)
    assert found["hr@10"] == pytest.approx(evaluate_next(model, sequences).mean()["hr@10"], abs=1e-5)
    assert found["beam_50"] == found["hr@10"] and found["beam_10"] <= found["beam_50"]
    assert 0 < found["invalid_50"] < 1
    assert found["cold_within"] == 1.0 >= found["cold"]  # one item is left to list


@pytest.mark.parametrize("relation", [True, False])
def test_mmgrec_is_trained_on_ids_of_its_own_vectors(monkeypatch, relation):
    given = {}

    class Small(MMGRec):
        def __init__(self, sequences, ids, vectors, seed, **settings):
            given.update(ids=ids, vectors=vectors, **settings)
            super().__init__(sequences, ids, vectors, seed, dim=8, n_heads=2, beams=5, **settings)

    monkeypatch.setattr(study, "MMGRec", Small)
    vectors = np.random.default_rng(0).normal(size=(30, 6))
    monkeypatch.setattr(study, "vectors_of", lambda name, *rest: vectors if name == "graph" else None)
    options = type("", (), {"codes": 4, "length": 6, "epochs": 1, "lr": 1e-3, "patience": 2, "device": "cpu"})()
    model, more = study.trained_set(f"mmgrec:{'relation' if relation else 'plain'}", walks(40), {}, options, 0)
    assert given["relation"] == relation and given["vectors"] is vectors and more["epochs"] == 1
    assert given["ids"].sizes[:3] == (4, 4, 4) and model.n_items == 30


def test_unknown_names_are_one_sentence(tmp_path, capsys):
    for words, said in ((("--ids", "contents"), "Unknown kind of ids 'contents'; did you mean content"),
                        (("--models", "both:token"), "Unknown model of this study 'both:token'; did you mean both:tokens")):  # fmt: skip
        assert study.main(["sticker_shop", "--json", str(tmp_path / "o.json"), *words]) == 1
        assert said in capsys.readouterr().err


def test_new_items_have_figures_for_any_model(tmp_path):
    content = run(
        "sticker_shop", tmp_path / "o.json", "--models", "popularity,transitions", "--ids", "", "--cold", "0.1"
    )
    for row in content["rows"]:
        assert row["n_new"] == 44 and row["n_cold"] > 30 and row["cold"] == 0.0 < row["cold_within"]
