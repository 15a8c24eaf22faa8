"""utils.studies.composed_search: what is held out, triplets, every way on a planted world, and what is kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

from utils.generation.recolour import HUES, Coloured
from utils.studies import composed_search as study

N = 24


@pytest.fixture
def planted():
    """Stamps whose frozen vectors add up stamp and colour, as 24 pictures of one colour each."""
    rng, k = np.random.default_rng(0), len(HUES)
    stamps, colours = np.repeat(np.arange(N), k), np.tile(np.arange(k), N)
    pictures = [np.full((4, 4, 3), (colour * 30, stamp, 7), dtype=np.uint8) for stamp, colour in zip(stamps, colours)]
    coloured = Coloured(pictures, [f"Stamp {n}" for n in range(N)], stamps, colours, np.arange(N), np.zeros(N, int))
    stamp, colour, name, word = (rng.normal(size=(n, dim)) for n, dim in ((N, 24), (k, 24), (N, 16), (k, 16)))
    return coloured, tuple(np.float32(part) for part in (stamp[stamps] + colour[colours], name[stamps] + word[colours], word))  # fmt: skip


def test_nothing_held_out_is_learned_from_and_triplets_change_the_colour_alone(planted):
    coloured, _ = planted
    known, new, pairs = study.split_pictures(coloured, 0)
    assert sorted(np.concatenate([known, new, pairs])) == list(range(len(coloured.stamps)))
    assert len(new) == N // 3 * len(HUES) and not set(coloured.stamps[new]) & set(coloured.stamps[known])
    assert set(coloured.stamps[pairs]) <= set(coloured.stamps[known]) and 0.03 < len(pairs) / len(known) < 0.25
    rows = study.triplets(coloured, known, pairs)
    expected = sum(
        int(coloured.stamps[a] == coloured.stamps[b] and coloured.colours[a] != coloured.colours[b])
        for a in known for b in pairs
    )  # fmt: skip
    assert len(rows) == expected and set(rows[:, 1]) <= set(pairs)
    assert (coloured.stamps[rows[:, 0]] == coloured.stamps[rows[:, 1]]).all()
    assert study.caption("Red Car", "blue") == "a blue red car"


def test_every_way_is_judged_on_both_kinds_and_kept(planted, tmp_path, monkeypatch):
    coloured, vectors = planted
    made, out = [], tmp_path / "out.json"
    monkeypatch.setattr(study, "in_all_colours", lambda dataset: coloured)
    monkeypatch.setattr(study, "vectors_of", lambda coloured: made.append(1) or vectors)
    for _ in range(2):
        assert study.main(["sticker_shop", "--json", str(out), "--seeds", "0,"]) == 0
    content = json.loads(out.read_text(encoding="utf-8"))
    assert made == [1] and len(content["rows"]) == 22 and content["about"]["stamps"] == N
    by = {(row["method"], row["held_out"]): row for row in content["rows"]}
    assert by["words alone", "pairs"]["changed"] > 0.9 > by["picture alone", "pairs"]["changed"]
    assert by["combiner", "pairs"]["r@1"] > 0.5 > by["combiner, words shuffled", "pairs"]["r@1"]
    assert (
        by["picture alone", "stamps"]["queries"] == N // 3 * 8 * 7 and by["sum 0.5", "stamps"]["gallery"] == N // 3 * 8
    )
