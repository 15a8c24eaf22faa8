"""utils.generation.quantise and semantic_ids: against plain loops, ties, controls, and what cannot have an id."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from generation_helpers import clusters
from training_helpers import make_features, make_split

from utils.errors import CourseError
from utils.generation import (
    Codes,
    below,
    both_vectors,
    click_vectors,
    code_table,
    content_vectors,
    permuted,
    popularity_of,
    random_codes,
    reconstruction,
    residual_kmeans,
    shuffled,
    with_ties,
)
from utils.generation.semantic_ids import main_axes


def test_each_token_is_the_nearest_code_of_what_is_left():
    vectors, _ = clusters(spread=0.5)
    codes = residual_kmeans(vectors, n_codes=4, n_levels=3)
    for item, vector in enumerate(vectors):
        left = vector.copy()
        for level, book in enumerate(codes.codebooks):
            chosen = codes.table[item, level]
            assert chosen == min(range(len(book)), key=lambda k: ((left - book[k]) ** 2).sum())
            left = left - book[chosen]
    for level, book in enumerate(codes.codebooks[:1]):  # k-means: a centre is the mean of its items
        for code in range(len(book)):
            assert np.allclose(book[code], vectors[codes.table[:, level] == code].mean(0), atol=1e-6)


def test_groups_share_the_first_token_and_the_reconstruction_rises():
    vectors, groups = clusters()
    codes = residual_kmeans(vectors, n_codes=6)
    assert len({(g, t) for g, t in zip(groups, codes.table[:, 0])}) == 6
    found = reconstruction(vectors, codes)
    assert found == sorted(found) and found[0] > 0.95
    total = sum(((v - vectors.mean(0)) ** 2).sum() for v in vectors)
    error = sum(((v - codes.codebooks[0][t]) ** 2).sum() for v, t in zip(vectors, codes.table[:, 0]))
    assert found[0] == pytest.approx(1 - error / total)


def test_the_same_seed_gives_the_same_ids_and_copies_do_not_break_it():
    vectors, _ = clusters(spread=0.5)
    one, two = (residual_kmeans(vectors, 5, seed=3).table for _ in range(2))
    assert np.array_equal(one, two)
    copies = residual_kmeans(np.repeat(vectors[:3], 4, axis=0), 5)  # fewer distinct vectors than codes
    assert len(copies.codebooks[0]) == 3 and copies.table[:, 1:].max() == 0 and copies.sizes == (5, 5, 5)


def test_ties_are_broken_by_popularity_and_then_by_item():
    codes = Codes(np.array([[1, 0], [0, 0], [1, 0], [1, 0], [0, 1], [1, 0]]), (2, 2))
    ids = with_ties(codes, np.array([3, 1, 9, 3, 0, 4]))
    assert ids.tokens[:, 2].tolist() == [2, 0, 0, 3, 0, 1] and ids.sizes == (2, 2, 4)
    assert len(np.unique(ids.tokens, axis=0)) == 6 and np.array_equal(ids.codes, codes.table)
    with pytest.raises(CourseError, match="of a catalogue of 6 items, and 5 have a popularity"):
        with_ties(codes, np.ones(5))


def test_a_table_for_people_and_the_items_below_a_prefix():
    codes = Codes(np.array([[1, 0], [0, 0], [1, 0], [1, 1], [0, 1]]), (2, 2))
    ids = with_ties(codes, np.array([3, 1, 9, 3, 0]))
    assert below(ids, [1]).tolist() == [2, 0, 3] and below(ids, [1, 0]).tolist() == [2, 0] and not len(below(ids, [2]))
    table = code_table(ids, list("abcde"), list("xxyyz"))
    assert table.index.tolist() == below(ids, []).tolist() == [1, 4, 2, 0, 3]
    assert table["id"].tolist() == ["0-0 0", "0-1 0", "1-0 0", "1-0 1", "1-1 0"]
    assert table["title"].tolist() == list("becad") and table["category"].tolist() == list("xzyxy")


def test_permuted_ids_collide_as_before_and_mean_nothing():
    vectors, groups = clusters()
    codes = residual_kmeans(vectors, 6)
    control = permuted(codes, seed=1)

    def sizes(table):
        return sorted(np.unique(table, axis=0, return_counts=True)[1].tolist())

    assert sizes(control.table) == sizes(codes.table) and not np.array_equal(control.table, codes.table)
    assert all(len(set(codes.table[groups == g, 0])) == 1 for g in range(6))
    assert all(len(set(control.table[groups == g, 0])) > 1 for g in range(6))
    assert reconstruction(vectors, control)[-1] < 0 < reconstruction(vectors, codes)[-1]


def test_random_codes_fill_the_codebook_and_shuffled_rows_are_the_same_rows():
    codes = random_codes(500, (4, 3, 2), seed=0)
    assert {tuple(row) for row in codes.table.tolist()} == set(product(range(4), range(3), range(2)))
    vectors, _ = clusters()
    dealt = shuffled(vectors, seed=2)
    assert not np.array_equal(dealt, vectors) and np.array_equal(np.sort(dealt, axis=0), np.sort(vectors, axis=0))


def test_content_is_centred_and_keeps_distances_in_its_main_axes():
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(20, 7)) + 5
    found = content_vectors({"visual": make_features("visual", raw)}, 20, dim=7)
    rows = raw - raw.mean(0, dtype=np.float32)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.allclose(found @ found.T, (rows - rows.mean(0)) @ (rows - rows.mean(0)).T, atol=1e-5)
    one = main_axes(raw, 1)[:, 0]
    assert one.var() == pytest.approx(np.linalg.eigvalsh(np.cov(raw.T, bias=True))[-1])


def test_clicks_come_from_training_alone_and_a_cold_item_is_zero():
    train = [(u, i) for u in range(12) for i in range(6) if (u + i) % 3]
    one = click_vectors(make_split(train, test=[(0, 6)], n_items=7), dim=4)
    two = click_vectors(make_split(train, test=[(3, 6), (4, 6)], n_items=7), dim=4)
    assert np.array_equal(one, two) and not one[6].any() and one[:6].any(axis=1).all()
    assert popularity_of(make_split(train, test=[(0, 6)], n_items=7)).tolist() == [8] * 6 + [0]


def test_both_parts_have_a_say():
    rng = np.random.default_rng(0)
    found = both_vectors(rng.normal(size=(30, 3)) * 100 + 7, rng.normal(size=(30, 4)))
    assert np.allclose([(found[:, :3] ** 2).sum(1).mean(), (found[:, 3:] ** 2).sum(1).mean()], 1)


@pytest.mark.parametrize("make, said", [
    (lambda v: residual_kmeans(v, 48), "A codebook of 48 for 48 items gives each item a code of its own"),
    (lambda v: residual_kmeans(v, 0), "n_codes=0 leaves no code"),
    (lambda v: residual_kmeans(np.where(v == v[3, 1], np.nan, v), 4), "The vector of item 3 holds NaN"),
    (lambda v: content_vectors({}, 48), "Ids from content need features"),
    (lambda v: content_vectors({"visual": make_features("visual", v, np.arange(48) != 5)}, 48),
     "1 items have none of visual, item 5 first"),
    (lambda v: content_vectors({"visual": make_features("visual", v)}, 40), "48 rows, the split has 40 items"),
])  # fmt: skip
def test_what_cannot_have_an_id_is_one_sentence(make, said):
    with pytest.raises(CourseError, match=said):
        make(clusters()[0])
