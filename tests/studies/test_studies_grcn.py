"""utils.studies.grcn_parts: the parts of GRCN are parts of its score, on a tiny planted split."""

from __future__ import annotations

import json

import numpy as np
import torch
from training_helpers import planted

from utils.models.grcn import GRCN
from utils.studies import grcn_parts as study


def test_content_and_ids_add_up_to_the_whole_score():
    split, features, _ = planted()
    users = np.arange(split.n_users)
    whole, content, ids = (
        kind(split, features, seed=3).score(users) for kind in (GRCN, study.ContentOnly, study.IdsOnly)
    )
    assert torch.allclose(content + ids, whole, atol=1e-5)
    assert content.std() > 0 and ids.std() > 0


def test_equal_edges_take_the_mean_of_the_neighbours_and_no_content():
    split, features, _ = planted()
    model = study.EqualEdges(split, features, seed=3, n_layers=1)
    users, items = (table.detach() for table in model.embeddings())
    user = int(split.train[0, 0])
    taken = split.matrix("train")[user].indices
    start = torch.nn.functional.normalize(model.item_table.weight.detach() * model.warm, dim=1)
    own = torch.nn.functional.normalize(model.user_table.weight.detach(), dim=1)[user]
    assert torch.allclose(users[user], own + start[taken].mean(0), atol=1e-6)
    with torch.no_grad():
        for layer in model.project.values():
            layer.weight.mul_(-2)
    assert torch.equal(model.embeddings()[0], users)


def test_the_command_writes_a_row_for_each_variant(tmp_path, monkeypatch, capsys):
    split, features, _ = planted()
    monkeypatch.setattr(study, "load", lambda *_: (None, split, features, {}))
    monkeypatch.setattr(study, "train", lambda model, split, seed: type("History", (), {"best_epoch": 1}))
    assert study.main(["--dataset", "tiny", "--seeds", "0,1", "--json", str(tmp_path / "out.json")]) == 0
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["variant"], row["seed"]) for row in rows] == [(v, s) for s in (0, 1) for v in study.VARIANTS]
    monkeypatch.setattr(study, "load", lambda *_: (None, split, {}, {}))
    assert study.main(["--dataset", "tiny", "--json", str(tmp_path / "none.json")]) == 1
    assert "tiny has no features" in capsys.readouterr().err
