"""utils.studies.next_item: the command on a small published file and on a course folder, and what it keeps."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from pretraining_helpers import walks

from utils.pretraining.counting import Popularity
from utils.pretraining.next_item import evaluate_next
from utils.studies import next_item as study


@pytest.fixture
def folder(tmp_path):
    """A ring of 120 items walked by 400 people, written as published files are."""
    sequences, place = walks(400, 120), tmp_path / "ring"
    place.mkdir()
    with gzip.open(place / "sequences.txt.gz", "wt") as stream:
        for user in range(sequences.n_users):
            stream.write(" ".join(map(str, [user + 1, *(sequences.sequence(user, "end") + 1)])) + "\n")
    return place


def run(folder, out, *words):
    assert study.main([str(folder), "--json", str(out), *words]) == 0
    return json.loads(out.read_text(encoding="utf-8"))


def test_all_that_count_are_judged_with_the_history_masked_and_not(folder, tmp_path):
    content = run(folder, tmp_path / "out.json")
    rows = content["rows"]
    assert [(row["model"], row["masked"]) for row in rows] == [
        (n, m) for n in (*study.COUNTED.values(), *study.CLOSED.values()) for m in (True, False)
    ]
    by = {(row["model"], row["masked"]): row for row in rows}
    assert by["ItemKNN, directed transitions", False]["hr@5"] > 0.8 > by["Popularity", False]["hr@5"]
    sequences = study.load(str(folder), "random", 0)
    expected = evaluate_next(Popularity(sequences), sequences, "test", 10, masked=False).mean()
    assert by["Popularity", False]["ndcg@10"] == pytest.approx(expected["ndcg@10"], abs=1e-5)
    assert {row["ties"] for row in rows} == {"as published"} and "printed" not in content
    assert content["about"]["ring, ties as published"]["users"] == 400
    assert content["meta"]["command"] == content["meta"]["commands"][0]
    assert content["meta"]["command"].startswith("python -m utils.lab study next_item ")


def test_closed_forms_have_their_settings_and_those_that_draw_a_row_for_each_seed(folder, tmp_path):
    content = run(folder, tmp_path / "out.json", "--models", "ease,ease_tuned,ials", "--seeds", "0,1")
    rows = [row for row in content["rows"] if row["masked"]]
    assert [(row["model"], row["seed"]) for row in rows] == [("EASE", 0), ("EASE, tuned", 0), ("iALS", 0), ("iALS", 1)]
    assert [set(row["settings"]) for row in rows] == [set(), {"reg", "decay"}, set(), set()]
    assert rows[1]["valid_ndcg@10"] >= rows[0]["valid_ndcg@10"] and rows[2]["ndcg@10"] != rows[3]["ndcg@10"]


def test_brand_and_category_are_content_of_a_published_folder(folder, tmp_path):
    place = {str(item + 1): [item // 3 + 1] for item in range(120)}  # three neighbours on the ring share a brand
    names = {
        "id2attribute": {str(n): f"brand {n}" for n in range(1, 41)},
        "item2id": {f"n{n:03}": n for n in range(1, 121)},
    }
    for name, told in (("item2attributes", place), ("names", names)):
        with gzip.open(folder / f"{name}.json.gz", "wt") as stream:
            json.dump(told, stream)
    rows = run(folder, tmp_path / "out.json", "--models", "attributes,content,ease_content,popularity")["rows"]
    by = {row["model"]: row for row in rows if not row["masked"]}
    assert list(by) == ["Content kNN, attributes", "Content kNN", "EASE + content, tuned", "Popularity"]
    assert by["Content kNN, attributes"]["hr@10"] > 4 * by["Popularity"]["hr@10"]
    assert (
        by["Content kNN, attributes"]["content"].startswith("attributes ")
        and by["Content kNN"]["content"][:6] == "minilm"
    )
    assert "weight" in by["EASE + content, tuned"]["settings"] and "content" not in by["Popularity"]


def test_what_is_stored_is_not_made_again_and_a_change_is(folder, tmp_path, monkeypatch):
    made, real, out = [], study.counted, tmp_path / "out.json"
    monkeypatch.setattr(study, "counted", lambda name, sequences: made.append(name) or real(name, sequences))
    monkeypatch.setattr(study, "source_hash", lambda names: "a")
    run(folder, out, "--models", "popularity,last")
    assert len(run(folder, out, "--models", "popularity,recency", "--seeds", "0,1")["rows"]) == 6
    assert made == ["popularity", "last", "recency"]
    monkeypatch.setattr(study, "source_hash", lambda names: "b")
    content = run(folder, out, "--models", "popularity")
    assert made[3:] == ["popularity"] and len(content["rows"]) == 6 and len(content["meta"]["commands"]) == 3


def test_the_hash_of_a_count_knows_no_network_and_that_of_sasrec_does():
    from utils.stored import sources

    def texts(name):
        seen = []
        original = sources._places
        sources._places = lambda root, module, thing, attribute: (
            seen.append(thing) or original(root, module, thing, attribute)
        )
        try:
            study.source_hash([(study.__name__, name)])
        finally:
            sources._places = original
        return set(seen)

    assert "closed_form" in texts("solved") and "SASRec" not in texts("solved")
    assert "closed_form" not in texts("counted") | texts("trained")
    assert "transitions" in texts("counted") and "SASRec" not in texts("counted")
    assert {"SASRec", "Block", "train_next"} <= texts("trained") and "transitions" not in texts("trained")


def test_sasrec_has_a_row_for_each_seed_with_what_training_was(folder, tmp_path):
    content = run(
        folder, tmp_path / "out.json", "--models", "sasrec_softmax,sasrec_sampled", "--epochs", "1", "--seeds", "0,1"
    )
    rows = [row for row in content["rows"] if row["masked"]]
    assert [(row["seed"], row["model"]) for row in rows] == [(s, n) for s in (0, 1) for n in study.TRAINED.values()]
    assert all(row["epochs"] == row["best_epoch"] == 1 and row["device"] == "cpu" for row in rows)
    assert len({row["ndcg@10"] for row in rows}) == 4


def test_a_course_folder_is_put_in_order_with_both_ways_of_ties(tmp_path):
    words = ("--models", "popularity,transitions")
    run("sticker_shop", tmp_path / "out.json", *words)
    content = run("sticker_shop", tmp_path / "out.json", *words, "--ties", "catalogue")
    assert {row["ties"] for row in content["rows"]} == {"random", "catalogue"} and len(content["rows"]) == 8
    assert set(content["about"]) == {"sticker_shop, ties random", "sticker_shop, ties catalogue"}


def test_targets_of_others_are_hit_as_often_as_a_list_is_popular():
    sequences = walks(400, 40, noise=0.0)
    report = evaluate_next(Popularity(sequences), sequences, masked=False)
    expected = np.isin(sequences.split.test[:, 1], report.lists[0]).mean()  # everybody has the same list
    assert study.permuted(report, sequences) == pytest.approx(expected)


def test_an_unknown_model_is_one_sentence(folder, tmp_path, capsys):
    assert study.main([str(folder), "--json", str(tmp_path / "o.json"), "--models", "sasrec"]) == 1
    assert "Unknown model of this study 'sasrec'; did you mean sasrec" in capsys.readouterr().err
    assert study.main([str(tmp_path / "none"), "--json", str(tmp_path / "o.json")]) == 1
