"""utils.pretraining.sequences: the order of time, what is held out, and bad input in one sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from utils.data import split_dataset
from utils.data.dataset import assemble
from utils.errors import CourseError
from utils.pretraining import read_item_names, read_sequences, rising_share, sequences_of
from utils.pretraining.published import attribute_table

BEAUTY = Path("../shared/data/amazon-beauty-sequences")


def dataset(rows, n_items=12):
    """A dataset of (user, item, timestamp); item 3 is called "i03" and has item_id 3."""
    table = pd.DataFrame(rows, columns=["user", "item", "timestamp"]).astype({"timestamp": "int64"})
    table["user"], table["item"] = [f"u{u}" for u in table["user"]], [f"i{i:02}" for i in table["item"]]
    items = pd.DataFrame({"item": [f"i{i:02}" for i in range(n_items)]})
    for column in ("title", "description", "category", "image", "audio"):
        items[column] = ""
    return assemble("tiny", Path("."), items, table)


def long(n_users=30, n_items=12, seed=0, equal=1):
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        taken = rng.permutation(n_items)[: rng.integers(3, 9)]
        rows += [(f"{user:02}", item, time // equal) for item, time in zip(taken, rng.permutation(len(taken)))]
    return dataset(rows, n_items)


SMALL = [(0, 5, 30), (0, 2, 10), (0, 9, 20), (0, 1, 40), (1, 1, 5), (1, 3, 7), (1, 2, 9), (1, 4, 8)]


def test_the_last_is_the_test_and_the_one_before_is_the_validation():
    found = sequences_of(dataset(SMALL))
    assert found.sequence(0, before="end").tolist() == [2, 9, 5, 1]
    assert found.sequence(0).tolist() == [2, 9] and found.sequence(0, before="test").tolist() == [2, 9, 5]
    assert found.split.valid.tolist() == [[0, 5], [1, 4]] and found.split.test.tolist() == [[0, 1], [1, 2]]
    assert found.lengths("end").tolist() == [4, 4] and (found.n_users, found.n_items) == (2, 12)


def test_padding_stands_on_the_left_and_the_newest_items_stay():
    found = sequences_of(dataset(SMALL))
    assert found.padded([0, 1], 3).tolist() == [[-1, 2, 9], [-1, 1, 3]]
    assert found.padded([1, 0], 2, before="test").tolist() == [[3, 4], [9, 5]]
    with pytest.raises(CourseError, match="Unknown end of a sequence 'tset'; did you mean test"):
        found.padded([0], 2, before="tset")
    with pytest.raises(CourseError, match="User 2 does not exist; user ids run from 0 to 1"):
        found.sequence(2)


@pytest.mark.parametrize("equal", [1, 3])
def test_parts_are_those_of_the_split_and_times_never_fall(equal):
    data = long(equal=equal)
    found, split = sequences_of(data, seed=4), split_dataset(data, "leave_one_out", seed=4)
    for part in ("train", "valid", "test"):
        assert np.array_equal(found.split.part(part), split.part(part))
    table = data.interactions.set_index(["user_id", "item_id"])["timestamp"]
    for user in range(found.n_users):
        whole = found.sequence(user, before="end")
        assert (np.diff([table[user, item] for item in whole]) >= 0).all()
        assert sorted(whole) == sorted(data.interactions.query("user_id == @user")["item_id"])
        assert [user, whole[-1]] in split.test.tolist() and [user, whole[-2]] in split.valid.tolist()
    assert np.array_equal(found.items, sequences_of(data, seed=4).items)


def test_a_repeated_pair_counts_once_at_its_latest_time():
    found = sequences_of(dataset([*SMALL, (0, 2, 50)]))
    assert found.sequence(0, before="end").tolist() == [9, 5, 1, 2] and "repeated" in found.notes[0]


def test_equal_timestamps_are_said_once_and_ordered_as_asked():
    data = dataset([(0, 7, 1), (0, 3, 1), (0, 5, 1), (0, 1, 2), (1, 1, 1), (1, 9, 2), (1, 3, 3)])
    catalogue = sequences_of(data, ties="catalogue")
    assert catalogue.sequence(0, before="end").tolist() == [3, 5, 7, 1]
    assert len(catalogue.notes) == 1 and "2 of 5 steps (40%) have equal timestamps" in catalogue.notes[0]
    assert "that of the catalogue" in catalogue.notes[0]
    orders = {tuple(sequences_of(data, seed=seed).sequence(0, before="end")) for seed in range(30)}
    assert len(orders) == 6 and {order[-1] for order in orders} == {1}
    assert "drawn with seed 3" in sequences_of(data, seed=3).notes[0]
    with pytest.raises(CourseError, match="Unknown order of ties 'catalog'; did you mean catalogue"):
        sequences_of(data, ties="catalog")
    assert sequences_of(dataset(SMALL)).notes == ()


def test_ties_in_catalogue_order_rise_and_ties_by_chance_do_not():
    data = long(n_users=200, equal=100)
    assert rising_share(sequences_of(data, ties="catalogue")) == 1.0
    assert 0.45 < rising_share(sequences_of(data)) < 0.55


def test_no_timestamps_is_one_sentence():
    data = dataset(SMALL)
    data.interactions.drop(columns="timestamp", inplace=True)
    with pytest.raises(CourseError, match="of tiny have no column 'timestamp'.* add one"):
        sequences_of(data)


def test_users_with_fewer_than_three_interactions_are_said():
    found = sequences_of(dataset([*SMALL, (2, 5, 1), (3, 2, 1), (3, 3, 2)]))
    assert "2 users have fewer than three interactions" in found.notes[0] and len(found.notes) == 1
    assert found.sequence(2).tolist() == [5] and found.sequence(3).tolist() == [2]
    assert found.sequence(3, before="test").tolist() == [2] and found.split.valid[:, 0].tolist() == [0, 1]
    with pytest.raises(CourseError, match="No user of tiny has three interactions"):
        sequences_of(dataset([(0, 1, 1), (0, 2, 2), (1, 3, 1)]))


def test_an_item_that_first_appears_in_the_test_part_is_said():
    found = sequences_of(dataset([*SMALL, (0, 11, 99)]))
    assert len(found.notes) == 1 and "1 of 2 test items are in no training sequence" in found.notes[0]


def test_a_published_file_counts_from_one_and_is_split_alike(tmp_path):
    file = tmp_path / "sequences.txt.gz"
    with gzip.open(file, "wt") as stream:
        stream.write("1 3 1 2 5\n2 4 5 1\n3 2\n4 6 3\n")
    found = read_sequences(tmp_path)
    assert np.array_equal(found.items, read_sequences(file).items) and (found.n_users, found.n_items) == (4, 6)
    assert found.sequence(0, before="end").tolist() == [2, 0, 1, 4] and found.sequence(1).tolist() == [3]
    assert found.split.test.tolist() == [[0, 4], [1, 0], [3, 2]] and found.split.valid.tolist() == [[0, 1], [1, 4]]
    assert found.split.cold_items.tolist() == [4] and found.sequence(2).tolist() == [1]
    assert "2 users have fewer than three" in found.notes[0] and "1 of 3 test items" in found.notes[1]


@pytest.mark.parametrize("text, said", [
    ("1 2 3 4\n3 1 2 3\n", "line 2: expected the user's number, 2"),
    ("1 2 0 4\n", "line 1: expected the user's number, 1, and then item numbers from 1 on"),
    ("1 2 x 4\n", "line 1"), ("1\n", "line 1"), ("1 2\n", "No user of bad.txt has three interactions"),
])  # fmt: skip
def test_a_damaged_file_is_one_sentence_with_the_line(tmp_path, text, said):
    (tmp_path / "bad.txt").write_text(text)
    with pytest.raises(CourseError, match=said):
        read_sequences(tmp_path / "bad.txt")
    with pytest.raises(CourseError, match="There is no file .*none.txt; give the folder"):
        read_sequences(tmp_path / "none.txt")


def test_steps_rise_by_the_names_when_they_order_the_catalogue(tmp_path):
    (tmp_path / "three.txt").write_text("1 1 2 3\n2 3 2 1\n")
    found = read_sequences(tmp_path / "three.txt")
    assert rising_share(found) == 0.5 and rising_share(found, np.array(["b", "c", "a"])) == 0.5
    (tmp_path / "one.txt").write_text("1 1 2 3\n")
    one = read_sequences(tmp_path / "one.txt")
    assert rising_share(one) == 1 and rising_share(one, np.array(["c", "a", "b"])) == 0.5


def test_names_that_are_missing_are_one_sentence(tmp_path):
    with pytest.raises(CourseError, match="There is no file .*names.json.gz, which names the items"):
        read_item_names(tmp_path, 2)
    with gzip.open(tmp_path / "names.json.gz", "wt") as stream:
        json.dump({"item2id": {"B2": "2", "A1": "1"}}, stream)
    assert read_item_names(tmp_path, 2).tolist() == ["A1", "B2"]
    with pytest.raises(CourseError, match="names.json.gz does not name item 3"):
        read_item_names(tmp_path, 3)


def test_attributes_become_columns_and_rare_ones_weigh_more():
    table = attribute_table(["Hair, Coka", "Hair", "", "Skin, Hair"])  # columns Coka, Hair, Skin
    rare, common = np.log(4), np.log(4 / 3)
    assert np.allclose(table, [[rare, common, 0], [0, common, 0], [0, 0, 0], [0, common, rare]])


@pytest.mark.skipif(not BEAUTY.exists(), reason="../shared/data/amazon-beauty-sequences is not here")
def test_the_published_beauty_split():
    found = read_sequences(BEAUTY)
    assert (found.n_users, found.n_items, len(found.items)) == (22363, 12101, 198502)
    assert len(found.split.valid) == len(found.split.test) == 22363
    names = read_item_names(BEAUTY, found.n_items)
    assert names[0] == "B004756YJA" and len(set(names)) == 12101
    assert rising_share(found, names) == pytest.approx(0.69, abs=0.005)
    assert len(found.notes) == 1 and "138 of 22,363 test items" in found.notes[0]
