"""utils.studies.pretraining, transfer and judged: what each row learns from, equal steps, groups, tests, and what is kept."""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from pretraining_helpers import make_sequences, walks
from training_helpers import make_features

from utils.data import load_dataset
from utils.evaluation import compare
from utils.files import ROOT
from utils.pretraining.bags import Bags
from utils.pretraining.closed import SOLVED
from utils.pretraining.counting import Popularity
from utils.pretraining.loop import n_batches
from utils.pretraining.next_item import evaluate_next
from utils.pretraining.published import read_sequences
from utils.pretraining.subsets import busiest, without_items
from utils.studies import judged, transfer
from utils.studies import pretraining as study

OPTIONS = argparse.Namespace(epochs=4, shares="1,0.1", length=6, batch=64, lr=3e-3, steps=4, adapt=4)


def bags_of(n_items, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.ones((n_items, 2), dtype=bool)
    return {
        name: Bags(rng.normal(size=(n_items, 2, 5)), mask, {"encoder": "by hand"}) for name in ("visual", "textual")
    }


@pytest.fixture
def ring():
    return without_items(walks(150, 30), np.array([4, 11, 20]))


# ---- judged ----


def test_places_hold_both_metrics_of_every_user(ring):
    model = Popularity(ring)
    places, report = judged.placed(model, ring), evaluate_next(model, ring, "test", 10)
    assert len(places) == len(ring.split.test) and set(places) <= set(judged.PLACES) and len(set(places)) > 4
    for metric in judged.METRICS:
        assert np.allclose(judged.values(places, metric), report.per_user[metric].to_numpy()), metric


def test_groups_by_hand():
    sequences = make_sequences([[0, 1, 2, 3, 4], [3, 2, 0, 1], [1, 2, 0, 3], [0, 1, 2, 3, 2, 1]], 5)  # 4 is cold
    groups, most = judged.groups_of(sequences)
    assert groups == {"all": "1111", "cold": "1000", "short": "0110"} and most == 3
    found = judged.figures("1.A3", groups)
    assert found["hr@10"] == 0.75 and found["ndcg@10 cold"] == 1.0 and found["hr@10 short"] == 0.5
    assert found["ndcg@10"] == pytest.approx((1 + 1 / np.log2(11) + 0.5) / 4, abs=1e-5)
    assert "hr@10 cold" not in judged.figures("1.A3", {**groups, "cold": "0000"})


def test_seeds_are_averaged_and_pairs_compared_user_by_user():
    rows = [
        {"row": "a", "seed": 0, "places": "12.."},
        {"row": "a", "seed": 1, "places": "1..."},
        {"row": "b", "seed": 0, "places": "...1"},
    ]
    rows = [{**row, **judged.figures(row["places"], {"all": "1111"})} for row in rows]
    means = judged.summary(rows, ("row",))
    assert means[0]["hr@10"] == 0.375 and means[0]["sd hr@10"] == pytest.approx(0.17678, abs=1e-5)
    assert means[1]["sd hr@10"] is None and means[0]["seeds"] == 2
    groups = {"all": "1111", "short": "1100", "cold": "1000"}
    found = judged.paired(rows, groups, [({"row": "a"}, {"row": "b"}), ({"row": "a"}, {"row": "c"})], "hr@10", 2)
    assert [(one["group"], one["n_users"], one["difference"]) for one in found] == [
        ("all", 4, 0.125),
        ("short", 2, 0.75),
    ]
    expected = compare(*(judged.pd.Series(side) for side in ([1, 0.5, 0, 0], [0, 0, 0, 1.0])), metric="hr@10")
    assert found[0]["t_p"] == pytest.approx(expected["t_p"], abs=1e-5)
    assert found[1]["t_holm"] == pytest.approx(2 * found[1]["t_p"], abs=1e-4)


# ---- pretraining on one's own catalogue ----


def test_every_row_has_the_same_number_of_steps_and_knows_only_its_users(ring, tmp_path, monkeypatch):
    seen = []
    original = study.train_next
    monkeypatch.setattr(study, "train_next", lambda model, sequences, **loop: (
        seen.append((model.settings["stage"], sequences.n_users, loop["n_epochs"] * n_batches(sequences, 64)))
        or original(model, sequences, **loop)))  # fmt: skip
    runs = study.Runs(ring, bags_of(30), OPTIONS, 0)
    each = 4 * n_batches(ring, 64)
    for row in study.TRAINED:
        seen.clear()
        _, found = runs.run(row, 0.1, tmp_path)
        assert found["steps_before"] + found["steps"] == each, row
        assert [one for one in seen if one[0] == "tune"] == [("tune", 15, found["steps"])]
        first = [] if row == "from scratch" else [("pretrain", 15 if row == "own users" else 150, each // 2)]
        assert [one for one in seen if one[0] == "pretrain"] == first
    seen.clear()
    runs.run("pretrained", 1.0, tmp_path)
    assert [one[0] for one in seen] == ["tune"], "the first stage is shared"


def test_the_control_reads_other_items_content_in_stage_one_only(ring, tmp_path, monkeypatch):
    made = []
    original = study.MP4SR
    monkeypatch.setattr(
        study,
        "MP4SR",
        lambda s, bags, seed, **more: made.append((more["stage"], bags)) or original(s, bags, seed, **more),
    )
    bags = bags_of(30)
    study.Runs(ring, bags, OPTIONS, 0).run("shuffled", 1.0, tmp_path)
    by = dict(made)
    assert by["tune"] is bags and set(by["pretrain"]) == set(bags)
    for name, bag in by["pretrain"].items():
        assert not np.array_equal(bag.vectors, bags[name].vectors)


def test_a_bag_becomes_its_mean_for_the_closed_form():
    vectors, mask = (
        np.array([[[1.0, 3.0], [3.0, 5.0]], [[2.0, 2.0], [9.0, 9.0]], [[7.0, 7.0], [7.0, 7.0]]]),
        np.array([[True, True], [True, False], [False, False]]),
    )
    found = study.means_of({"textual": Bags(vectors, mask, {"encoder": "by hand"})})["textual"]
    assert found.matrix.tolist() == [[2, 4], [2, 2], [0, 0]] and found.mask.tolist() == [True, True, False]


def test_the_name_of_an_input_knows_pictures_texts_and_order_and_no_bits_of_an_encoder(ring, tmp_path):
    data, folder = load_dataset("sticker_shop"), tmp_path / "shop"
    shutil.copytree(ROOT / "data" / "sticker_shop", folder, ignore=shutil.ignore_patterns("features", "raw", "truth"))
    again, bags = load_dataset(folder), bags_of(30)
    same = study.input_key(data, ring, bags)
    moved = {name: replace(bag, vectors=bag.vectors * (1 + 1e-6)) for name, bag in bags.items()}
    assert study.input_key(again, ring, moved) == same
    assert study.input_key(data, ring, {name: bag.shuffled(0) for name, bag in bags.items()}) != same
    assert study.input_key(data, walks(150, 30), bags) != same
    again.image_paths()[0].write_bytes(data.image_paths()[1].read_bytes())
    assert study.input_key(again, ring, bags) != same


def run(tmp_path, *words):
    assert study.main(["ring", "--json", str(tmp_path / "out.json"), "--epochs", "2", "--batch", "200", *words]) == 0
    return json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))


def test_the_command_stores_rows_groups_and_tests_and_goes_on(ring, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(study, "prepared", lambda folder: (None, ring))
    monkeypatch.setattr(study, "course_bags", lambda dataset, top: bags_of(30))
    monkeypatch.setattr(study, "content_key", lambda dataset, modalities: "nothing")
    content = run(tmp_path, "--rows", "untrained,from scratch,pretrained")
    assert [row["row"] for row in content["rows"] if "lr" not in row] == [
        *study.counted(ring, bags_of(30)),
        *(title for title, *_ in SOLVED.values()),
    ]
    made = [(row["row"], row["share"]) for row in content["rows"] if "lr" in row]
    assert made == [
        ("untrained", 0.0),
        ("from scratch", 1.0),
        ("from scratch", 0.1),
        ("pretrained", 1.0),
        ("pretrained", 0.1),
    ]
    assert {one["a"] for one in content["tests"]} == {"pretrained 1.0", "pretrained 0.1"}
    assert content["about"]["group_sizes"]["all"] == 150 and content["about"]["group_sizes"]["cold"] > 0
    trained = []
    monkeypatch.setattr(
        study.Runs, "run", lambda self, row, share, folder: trained.append(self.seed) or (Popularity(ring), {})
    )
    content = run(tmp_path, "--rows", "untrained,from scratch,pretrained", "--seeds", "0,1")
    assert trained == [1] * 5 and len(content["summary"]) == 6 + 5 + 5 and len(content["meta"]["commands"]) == 2


def test_an_unknown_row_is_one_sentence(tmp_path, capsys):
    assert study.main(["ring", "--json", str(tmp_path / "o.json"), "--rows", "no mixups"]) == 1
    assert "Unknown row of this study 'no mixups'; did you mean no mixup" in capsys.readouterr().err


# ---- transfer ----


def two_domains():
    rng = np.random.default_rng(0)
    return [transfer.Domain(name, walks(80, n, seed=n), {"textual": make_features("textual", rng.normal(size=(n, 6)))})
            for name, n in (("Gift Cards", 25), ("Beauty", 40))]  # fmt: skip


def test_what_is_carried_over_is_what_the_source_taught():
    target, source = two_domains()
    runs = transfer.Transfer(source, target, OPTIONS, 0)
    model, more = runs.run("pretrained", 0.0)
    learned = runs.learned["pretrained"][0]
    assert (
        set(more) == {"source_steps_here", "source_best_step", "source_valid"}
        and learned.n_items == 40
        and model.n_items == 25
    )
    for name, weight in model.named_parameters():
        assert np.array_equal(weight.detach(), learned.get_parameter(name).detach()), name
    untrained, _ = runs.run("from scratch", 0.0)
    assert not np.array_equal(untrained.positions.weight.detach(), model.positions.weight.detach())
    scratch, tuned = (runs.run(name, 0.3)[1] for name in ("from scratch", "pretrained"))
    assert scratch["steps_here"] == 8 and tuned["steps_here"] == 4  # one step an epoch
    control, _ = runs.first("pretrained on shuffled texts")
    assert not np.array_equal(control.content_textual, learned.content_textual)
    ids, _ = runs.run("ids only", 0.3)
    assert not ids.project


def test_the_command_asks_both_ways(tmp_path, monkeypatch):
    gift, beauty = two_domains()
    monkeypatch.setattr(transfer, "gift_cards", lambda folder: gift)
    monkeypatch.setattr(transfer, "beauty", lambda folder, items, users: beauty)
    words = ["x", "--json", str(tmp_path / "o.json"), "--steps", "2", "--adapt", "2", "--seeds", "0,"]
    assert transfer.main(words) == 0
    text = (tmp_path / "o.json").read_text(encoding="utf-8")
    content = json.loads(text)
    for name in ("Gift Cards", "Beauty"):
        rows = [row for row in content["rows"] if row["target"] == name]
        assert len([row for row in rows if "source" in row]) == 3 + 3 * 4 and len(rows) == 15 + 6 + 5
    assert set(content["groups"]) == set(content["about"]) == {"Gift Cards", "Beauty"}
    assert any(one["b"] == "Beauty Content kNN 0.0" for one in content["tests"])
    monkeypatch.setattr(transfer.Transfer, "run", lambda *a: pytest.fail("made again"))
    assert transfer.main(words) == 0


def write(path, rows):
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def test_both_shops_are_read_with_their_words(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        transfer, "encode_texts", lambda texts, encoder: asked.append(list(texts)) or np.eye(len(texts), 8)
    )
    taken = [("ann", "b"), ("ann", "c"), ("ann", "a"), ("bob", "a"), ("bob", "b"), ("bob", "c")]
    reviews = [
        {"reviewerID": u, "asin": i, "overall": 5, "unixReviewTime": t, "reviewText": ""}
        for t, (u, i) in enumerate(taken)
    ]
    write(tmp_path / "Gift_Cards_5.json.gz", reviews)
    with pytest.raises(transfer.CourseError, match="There is no file .*holds the titles"):
        transfer.gift_cards(tmp_path)
    write(tmp_path / "meta_Gift_Cards.json.gz", [{"asin": "c", "title": "Card C"}, {"asin": "a", "title": "Card A"}])
    found = transfer.gift_cards(tmp_path)
    assert asked.pop() == ["Card A", "", "Card C"] and found.features["textual"].mask.tolist() == [True, False, True]
    assert found.sequences.sequence(0, "end").tolist() == [1, 2, 0]
    with gzip.open(tmp_path / "sequences.txt.gz", "wt") as stream:
        stream.write("1 2 1 3 2\n2 1 2 1\n")
    for name, content in (
        ("item2attributes", {"1": [2], "2": [1, 2]}),
        ("names", {"id2attribute": {"1": "Coka", "2": "Hair"}}),
    ):
        with gzip.open(tmp_path / f"{name}.json.gz", "wt") as stream:
            json.dump(content, stream)
    with pytest.raises(transfer.CourseError, match="Nobody took 5 of the 3 most taken items"):
        transfer.beauty(tmp_path, 3, 2)
    monkeypatch.setattr(transfer, "busiest", lambda sequences, n_items: busiest(sequences, n_items, 2))
    found = transfer.beauty(tmp_path, 2, 2)
    again = transfer.domain("x", read_sequences(tmp_path), ["Hair", "Skin", ""])
    assert again.digest != transfer.domain("x", read_sequences(tmp_path), ["Hair", "Hair", ""]).digest
    asked[-2:] = []
    assert asked.pop() == ["Hair", "Coka, Hair"] and found.sequences.n_items == 2
