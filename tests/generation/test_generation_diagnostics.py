"""utils.generation.diagnostics: figures by hand, the collapsed codebook, cells that do not help, published files."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from generation_helpers import clusters

from utils.errors import CourseError
from utils.generation import (
    Codes,
    levels,
    perplexity,
    published_codes,
    published_labels,
    purity,
    remarks,
    residual_kmeans,
)
from utils.generation.diagnostics import summary

HAND = Codes(np.array([[0, 0], [0, 0], [0, 1], [2, 1], [2, 1], [2, 1], [1, 0], [1, 2]]), (4, 3))


def test_the_figures_of_a_table_by_hand():
    found = levels(HAND, labels=list("aababbcd"))
    assert found["usage"].tolist() == [3 / 4, 1.0]
    assert found["prefixes"].tolist() == [3 / 8, 5 / 8]
    assert found["biggest"].tolist() == [3, 3]
    assert found["shared"].tolist() == [1.0, 5 / 8]
    # first level: aab -> 2, abb -> 2, cd -> 1 of 8; both levels: aa -> 2, abb -> 2 of 5, and three alone
    assert found["purity"].tolist() == [5 / 8, 4 / 5]
    p = np.array([3, 2, 3]) / 8
    assert found["perplexity"][1] == pytest.approx(np.prod(p**-p))
    assert perplexity(np.arange(7)) == pytest.approx(7) and perplexity(np.ones(7)) == pytest.approx(1)


def test_purity_leaves_out_who_is_alone():
    assert purity(np.array([0, 0, 1]), ["a", "a", "b"]) == 1 and purity(np.array([0, 0, 1]), ["a", "b", "b"]) == 0.5
    assert np.isnan(purity(np.arange(3), ["a", "b", "b"]))
    assert summary(Codes(np.arange(3)[:, None], (3,)), labels=["a", "b", "b"])["purity"] == [None]


def test_a_collapsed_codebook_is_recognised():
    same = np.zeros((50, 3), dtype=np.int64)
    assert remarks(Codes(same, (32, 32, 32))) == ["All 50 items have one id: the codebooks have collapsed."]
    half = same.copy()
    half[:, 0], half[0, 1], half[:, 2] = np.arange(50) % 30, 1, np.arange(50) // 30
    said = remarks(Codes(half, (32, 32, 32)))
    assert len(said) == 1 and said[0].startswith(
        "Level 2 has collapsed: 2 of 32 codes are used, with a perplexity of 1.1"
    )
    assert remarks(Codes(np.stack([np.arange(50) % 10, np.arange(50) // 10], 1), (10, 5))) == []


def test_many_more_cells_than_items_do_not_prevent_collisions():
    vectors, _ = clusters(n_groups=6, n_each=20, spread=0.0)  # copies: 120 items, 6 kinds
    codes = residual_kmeans(vectors, n_codes=16, n_levels=3)
    said = remarks(codes)
    assert 16**3 > 30 * len(vectors) and said[-1].startswith(
        "120 of 120 items share all tokens with another one, up to 20"
    )
    assert "although there are 4,096 cells" in said[-1]


def test_r2_is_there_where_codebooks_are():
    vectors, _ = clusters()
    assert "r2" in levels(residual_kmeans(vectors, 6), vectors) and "r2" not in levels(HAND, np.zeros((8, 2)))


def test_published_ids_in_both_spellings(tmp_path):
    plain, packed = tmp_path / "a.json", tmp_path / "b.json.gz"
    plain.write_text(json.dumps({"0": [3, 1], "10": [0, 2], "2": [1, 1]}))
    with gzip.open(packed, "wt") as stream:
        json.dump({"0": ["<a_3>", "<b_1>"], "10": ["<a_0>", "<b_2>"], "2": ["<a_1>", "<b_1>"]}, stream)
    for path in (plain, packed):
        codes = published_codes(path)
        assert codes.table.tolist() == [[3, 1], [1, 1], [0, 2]] and codes.sizes == (4, 3)


@pytest.mark.parametrize("text", ['{"0": [1, 2], "1": [1]}', "[]", '{"0": ["x"]}', "{", '{"a": [1]}', "{}"])
def test_a_file_without_ids_is_one_sentence(tmp_path, text):
    path = tmp_path / "ids.json"
    path.write_text(text)
    said = "does not name equally many tokens for each item|is not the JSON file that names the tokens of each item"
    with pytest.raises(CourseError, match=said):
        published_codes(path)
    with pytest.raises(CourseError, match="There is no file"):
        published_codes(tmp_path / "none.json")


def test_the_label_of_an_item_is_its_most_frequent_attribute(tmp_path):
    path = tmp_path / "attributes.json"
    path.write_text(json.dumps({"2": [5, 7], "1": [7], "10": [], "3": [5, 9], "4": [5]}))
    assert published_labels(path) == ["7", "5", "5", "5", "?"]
    path.write_text('{"a": 3}')
    with pytest.raises(CourseError, match="does not name the attributes of each item"):
        published_labels(path)
