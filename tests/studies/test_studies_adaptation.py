"""utils.studies.adaptation: every way has a row of the same task with what it costs, and what is stored is kept."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from adapt_helpers import tiny_picture, tiny_text, tokenizer
from pretraining_helpers import walks

from utils.data import load_dataset
from utils.errors import CourseError
from utils.pretraining.adapt import Texts, withhold_items
from utils.pretraining.counting import Popularity
from utils.pretraining.sequences import sequences_of
from utils.studies import adaptation as study
from utils.studies import adaptation_task


def as_words(texts):
    return Texts([f"w{len(text) % 37} w{ord(text[0]) % 37}" for text in texts], tokenizer)


@pytest.fixture
def small(monkeypatch):
    """The study with a tiny encoder, the shop's texts as two words each, and few steps."""
    monkeypatch.setattr(adaptation_task, "encoder", lambda random=False: tiny_text(seed=int(random)))
    monkeypatch.setattr(study, "LONG", 6)

    def inputs(dataset, seed, content="texts"):
        return withhold_items(sequences_of(dataset, seed=seed), seed=seed), as_words(dataset.texts())

    monkeypatch.setattr(study, "inputs", inputs)


def run(out, *words):
    assert study.main(["sticker_shop", "--json", str(out), "--steps", "3", *words]) == 0
    return json.loads(out.read_text(encoding="utf-8"))


def test_every_way_has_a_row_with_what_it_costs_and_is_not_made_again(small, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    content = run(out, "--seeds", "0,")
    rows = {row["way"]: row for row in content["rows"]}
    assert list(rows) == [*study.OPPONENTS, *study.TRAINED]
    assert rows["frozen"]["trained"] == rows["frozen_long"]["trained"] == 0 < rows["frozen"]["trained_with_heads"]
    order = ["frozen", "prompt", "lora", "adapter", "last_block", "full"]
    stored = [rows[way]["stored"] for way in order]
    assert stored == sorted(stored) and all(row["stored"] == 4 * row["trained_with_heads"] for row in rows.values() if "stored" in row)  # fmt: skip
    assert rows["frozen"]["memory"] < rows["last_block"]["memory"] < rows["full"]["memory"]
    assert {row["steps"] for row in rows.values()} == {0, 3, 6} and rows["frozen_long"]["steps"] == 6
    assert rows["popularity"]["cold_hr@10"] == 0 and rows["popularity"]["among_cold_hr@10"] == pytest.approx(
        10 / 65, abs=1e-6
    )
    assert rows["frozen"]["same_category_cold"] == rows["frozen_long"]["same_category_cold"]
    assert rows["full"]["same_category_warm"] != rows["frozen"]["same_category_warm"]
    for way in study.TRAINED:
        tried = {row["rate"]: row["valid_ndcg@10"] for row in content["rates"] if row["way"] == way}
        assert list(tried) == list(study.RATES) and tried[rows[way]["rate"]] == max(tried.values())
    shown, heads = study.table(content, 3, n_tasks=4), rows["frozen"]["stored"]
    base = rows["full"]["stored"] - heads
    assert list(shown.index) == [*study.OPPONENTS, *study.TRAINED] and set(shown["seeds"]) == {1}
    assert shown.loc["full", "stored_tasks"] == 4 * (base + heads)
    assert shown.loc["lora", "stored_tasks"] == base + 4 * rows["lora"]["stored"]
    monkeypatch.setattr(study, "trained", lambda *_: pytest.fail("trained again"))
    assert run(out, "--seeds", "0,")["rows"] == content["rows"]


def test_warm_and_cold_together_are_all():
    sequences = withhold_items(walks(300, 60), 0.3)
    row = study.judge(Popularity(sequences), sequences)
    cold, n_tests = row["cold_tests"], len(sequences.split.test)
    assert 0 < cold < n_tests
    for name in ("hr@10", "ndcg@10"):
        both = (row[f"cold_{name}"] * cold + row[f"warm_{name}"] * (n_tests - cold)) / n_tests
        assert row[name] == pytest.approx(both)


def test_a_rate_that_breaks_training_is_never_chosen(small, tmp_path, monkeypatch):
    real = study.trained

    def breaks(way, sequences, texts, seed, steps, rate):
        if rate > 1e-4:
            raise study.CourseError("The loss is no number.")
        return real(way, sequences, texts, seed, steps, rate)

    monkeypatch.setattr(study, "trained", breaks)
    content = run(tmp_path / "out.json", "--seeds", "1,", "--ways", "lora")
    assert content["rows"][0]["rate"] == 1e-4 and [row["valid_ndcg@10"] for row in content["rates"]][1:] == [-1, -1]


def test_an_unknown_way_is_one_sentence(tmp_path, capsys):
    assert study.main(["sticker_shop", "--json", str(tmp_path / "o.json"), "--ways", "lorra"]) == 1
    assert "Unknown way of this study 'lorra'; did you mean lora" in capsys.readouterr().err


def test_pictures_are_read_as_the_network_was_trained_and_adapted_alike(tmp_path, monkeypatch):
    data, side = load_dataset("sticker_shop"), adaptation_task.SIDE
    found = adaptation_task.pictures(data, [3, 5])
    assert found.shape == (2, 3, side, side) and -1 <= found.min() < found.max() <= 1.01
    paths = data.image_paths()
    paths[5] = None
    again = adaptation_task.pictures(SimpleNamespace(image_paths=lambda: paths), [3, 5])
    assert torch.equal(again[0], found[0]) and not again[1].any()
    monkeypatch.setattr(adaptation_task, "picture_encoder", tiny_picture)
    monkeypatch.setattr(study, "LONG", 6)
    monkeypatch.setattr(adaptation_task, "SIDE", 16)
    content = run(
        tmp_path / "out.json", "--seeds", "0,", "--content", "pictures", "--ways", "content_knn,frozen,lora,prompt"
    )
    rows = {row["way"]: row for row in content["rows"]}
    assert list(rows) == ["content_knn", "frozen", "lora"]  # no prompt for a convolution
    assert {row["dataset"] for row in rows.values()} == {"sticker_shop, pictures"}
    assert (
        rows["lora"]["trained"] > 0 == rows["frozen"]["trained"] and "--content pictures" in content["meta"]["command"]
    )
    with pytest.raises(CourseError, match="random_frozen is a row of texts"):
        adaptation_task.base_of(found, random=True)


def test_an_unknown_content_is_one_sentence(tmp_path, capsys):
    assert study.main(["sticker_shop", "--json", str(tmp_path / "o.json"), "--content", "picture"]) == 1
    assert "Unknown content 'picture'; did you mean pictures" in capsys.readouterr().err
