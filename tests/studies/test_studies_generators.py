"""utils.studies.generators and train_generators: every part is measured once, kept, and made anew for other weights."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from stamps_helpers import flat_stamps

from utils.data import Dataset
from utils.generation.cvae import CVAE
from utils.generation.eye import Eye
from utils.generation.generators import Generator
from utils.generation.unet import UNet
from utils.studies import generators as study
from utils.studies import generators_personal as personal
from utils.studies import train_generators as training


def shop(stamps, n_users=30):
    """A catalogue of the stamps, and users who took ten of them each."""
    rng = np.random.default_rng(0)
    items = pd.DataFrame({"item": [f"i{n}" for n in stamps.item_ids], "title": stamps.titles, "audio": ""})
    items["category"] = [stamps.names[stamps.categories[8 * n]] for n in stamps.item_ids]
    taken = [(f"u{user}", f"i{item}") for user in range(n_users) for item in rng.permutation(len(items))[:10]]
    return Dataset.from_frames(pd.DataFrame(taken, columns=["user", "item"]), items)


@pytest.fixture
def small(monkeypatch):
    """The study on 60 drawn stamps, with networks that nobody trained."""
    stamps = flat_stamps(n_stamps=60)
    about = {"steps": 0, "size": 8, "hues": [], "categories": []}
    models = {
        "cvae": Generator("cvae", CVAE(8, 2, size=8, width=8), about),
        "diffusion": Generator("diffusion", UNet(8, 2, 8, 16), about),
    }
    for module in (study, personal):
        monkeypatch.setattr(
            module,
            "seen" if module is personal else "load_stamps",
            (lambda images: torch.nn.functional.normalize(images.flatten(1) - 0.1, dim=1))
            if module is personal
            else lambda dataset: stamps,
        )
    monkeypatch.setattr("utils.generation.jury.seen", personal.seen)
    monkeypatch.setattr(study, "load_generator", lambda name, stamps: models[name])
    monkeypatch.setattr(study, "load_eye", lambda: Eye(torch.zeros(192), torch.eye(192)[:, :4], 8, width=4))
    monkeypatch.setattr(
        study,
        "attributes_of",
        lambda dataset: {
            "kind": dataset.items["category"].to_numpy(dtype=str),
            "colour": np.array(["red", "blue"] * 30),
        },
    )
    monkeypatch.setattr(study, "load_dataset", lambda name: replace(shop(stamps), name="sticker_shop"))
    monkeypatch.setattr(personal, "ALPHAS", (0.0, 1.0))
    monkeypatch.setattr(personal, "N_USERS", 6)
    return stamps, models


def test_every_part_is_measured_and_kept(small, tmp_path, monkeypatch):
    out, calls = tmp_path / "out.json", []
    drawn = study.drawn
    monkeypatch.setattr(study, "drawn", lambda *a: calls.append(a[3]) or drawn(*a))
    for _ in range(2):
        assert study.main(["sticker_shop", "--json", str(out), "--seeds", "0,"]) == 0
    content = json.loads(out.read_text(encoding="utf-8"))
    assert calls == list(study.ASKED) and content["about"]["training_seeds"] == 1 and content["about"]["stamps"] == 60
    assert content["about"]["diffusion"]["parameters"] == sum(
        p.numel() for p in small[1]["diffusion"].model.parameters()
    )
    rows = {(row["part"], row["setting"]): row for row in content["rows"]}
    assert len(rows) == len(content["rows"]) == 3 + 1 + len(personal.ALPHAS) + len(study.ASKED)
    assert (
        rows["real", "learned, noise"]["copied_ratio_by_pixels"]
        > 0.9
        > rows["real", "held out"]["copied_ratio_by_pixels"]
    )
    assert rows["drawn", "w 1"]["n"] == 8 * 2 * study.N_EACH and rows["explained", "first item"][
        "by_chance"
    ] == pytest.approx(1 / 3, abs=1e-4)
    assert rows["personal", "alpha 1"]["taste"] > rows["personal", "alpha 0"]["taste"]


def test_shuffled_conditions_are_judged_by_the_others(small):
    stamps = small[0]
    asked = {}

    class Asked:
        def draw(self, hues, categories, **how):
            asked.update(hues=hues, how=how)
            return torch.zeros(len(hues), 3, 8, 8)

    _, hues, _, _ = study.draw("w 1, shuffled", Asked(), stamps, 0)
    assert (
        asked["how"]["weight"] == 1.0
        and not torch.equal(hues, asked["hues"])
        and torch.equal(hues.sort()[0], asked["hues"].sort()[0])
    )
    study.draw("nothing asked", Asked(), stamps, 0)
    assert asked["how"]["weight"] == -1.0 and torch.equal(asked["hues"], hues)


def test_takers_are_users_with_enough_different_stamps():
    stamps = flat_stamps()
    found = personal.takers(shop(stamps), stamps, least=10)
    assert len(found) == 30 and all(len(set(taken)) == 10 for taken in found.values())
    assert not personal.takers(shop(stamps), stamps, least=11)


def test_training_writes_weights_that_load(tmp_path, monkeypatch):
    stamps = flat_stamps()
    monkeypatch.setattr(training, "load_stamps", lambda dataset: stamps)
    monkeypatch.setattr(training, "load_dataset", lambda name: None)
    monkeypatch.setattr(training, "seen", lambda images: images.flatten(1))
    monkeypatch.setattr(training, "ROOT", tmp_path)
    monkeypatch.setattr(training, "DRAWN", 20)
    for name in ("cvae", "eye"):
        assert training.main(["--only", name, "--steps", "3", "--folder", str(tmp_path)]) == 0
    found = training.load_generator("cvae", stamps, tmp_path / "stamps_cvae.safetensors", "")
    assert found.about["steps"] == 3 and (tmp_path / "stamps_eye.safetensors").is_file()


def test_an_unknown_generator_is_refused(capsys):
    assert training.main(["--only", "gan"]) == 1
    assert "Unknown generator 'gan'" in capsys.readouterr().err
