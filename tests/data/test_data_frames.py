"""Tables in memory become a dataset, by the rules of a folder, and come out again."""

import numpy as np
import pandas as pd
import pytest

from utils.data import Dataset, load_dataset, split_dataset, write_table
from utils.errors import CourseError


def log(**more):
    """Six interactions with whole numbers for ids."""
    return pd.DataFrame({"user": [3, 3, 1, 1, 2, 2], "item": [12, 7, 12, 7, 12, 30], **more})


ITEMS = pd.DataFrame(
    {"item": [7, 12, 30, 99], "title": ["Cat", "Dog", None, "Car"], "colour": ["red", "red", "blue", "red"]}
)


def test_two_tables_become_the_dataset_that_their_folder_would_be(tmp_path):
    interactions = log(
        rating=[5, 4.5, np.nan, 1, 2, 3], timestamp=range(10, 16), split=["train"] * 4 + ["valid", "test"]
    )
    dataset = Dataset.from_frames(interactions, ITEMS, name="mine")
    write_table(tmp_path / "mine" / "interactions.tsv", interactions)
    write_table(tmp_path / "mine" / "items.tsv", ITEMS.fillna(""))
    loaded = load_dataset(tmp_path / "mine")
    assert dataset.fingerprint() == loaded.fingerprint() and dataset.users.tolist() == loaded.users.tolist()
    pd.testing.assert_frame_equal(dataset.interactions, loaded.interactions)
    pd.testing.assert_frame_equal(dataset.items, loaded.items)
    assert dataset.items["colour"].tolist() == ["red", "red", "blue", "red"] and dataset.items["title"][2] == ""
    assert len(split_dataset(dataset, "given").train) == 4
    again = Dataset.from_frames(*dataset.to_frames(), name="mine")
    assert again.fingerprint() == dataset.fingerprint()
    pd.testing.assert_frame_equal(again.interactions, dataset.interactions)


@pytest.mark.parametrize("kind", ["int32", "float64", "Int64", "string", "category", "object"])
def test_ids_of_any_type_become_the_same_text(kind):
    table = log().astype(kind) if kind not in ("string", "object") else log().astype("int64").astype(kind)
    dataset = Dataset.from_frames(table, ITEMS)
    assert dataset.users.tolist() == ["1", "2", "3"] and dataset.item_names.tolist() == ["7", "12", "30", "99"]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Rome"])
def test_dates_become_seconds(zone):
    days = pd.Series(pd.date_range("2014-05-01", periods=6, tz=zone))
    dataset = Dataset.from_frames(log(timestamp=days.set_axis(range(5, 11)).to_numpy() if zone is None else days))
    start = 1398902400 - (7200 if zone == "Europe/Rome" else 0)
    assert dataset.interactions["timestamp"].tolist() == [start + 86400 * k for k in range(6)]


def test_without_items_they_are_those_of_the_log_and_the_tables_stay_as_they_are():
    table = log().set_index(pd.Index(list("abcdef")))
    before = table.copy()
    dataset = Dataset.from_frames(table)
    assert dataset.item_names.tolist() == ["12", "7", "30"] and dataset.texts() == ["", "", ""]
    assert any("No items" in note for note in dataset.notes)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    ("interactions", "items", "words"),
    [
        (log().rename(columns={"user": "userId"}), None, "interactions has no column 'user'; it has 'userId', 'item': rename"),
        (log(), ITEMS.iloc[:2], "interactions, row 5: item '30' is not in the items table"),
        (log(), pd.concat([ITEMS, ITEMS.iloc[:1]]), "items, row 4: item '7' occurs a second time"),
        (log().assign(user=[None, 1, 1, 1, 1, 1]), None, "interactions, row 0: the user id is ''"),
        (log(rating=["good"] * 6), None, "rating 'good' is not a number"),
        (log(timestamp=["2014-05-01"] * 6), None, "timestamp '2014-05-01' is not whole seconds.*pandas.to_datetime"),
        (log(timestamp=[1.5] * 6), None, "timestamp '1.5' is not whole seconds"),
        (log(split=["dev"] * 6), None, "split 'dev' is unknown"),
        (log().iloc[:0], None, "has a header but no interaction"),
        ([(1, 2)], None, "interactions is a list; give a pandas DataFrame"),
        (pd.concat([log(), log()["item"]], axis=1), None, "column 'item' twice"),
    ],
)  # fmt: skip
def test_a_table_that_breaks_the_rules_is_one_sentence(interactions, items, words):
    with pytest.raises(CourseError, match=words):
        Dataset.from_frames(interactions, items)
