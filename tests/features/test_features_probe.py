"""The probe reads off what is there, falls to the majority where nothing is, and never sees its test rows."""

import numpy as np
import pytest

from utils.errors import CourseError
from utils.features import Features
from utils.features.probe import frequent, linear_probe, majority, probe_table


def made(seed=0, n=120, dim=20, gap=3.0, mask=None):
    draw = np.random.default_rng(seed)
    labels = np.repeat(["cat", "dog", "fox"], n // 3)
    matrix = draw.normal(size=(n, dim)) + gap * np.eye(dim)[np.repeat([0, 1, 2], n // 3)]
    return Features("visual", matrix, np.arange(n).astype(str), mask), labels


def test_a_label_that_is_in_the_vectors_is_found():
    features, labels = made(gap=6.0)
    assert linear_probe(features, labels) > 0.95


def test_noise_stays_near_chance_and_shuffling_kills_a_signal():
    features, labels = made(gap=0.0)
    assert linear_probe(features, labels) < 0.5
    features, labels = made(gap=6.0)
    assert linear_probe(features.shuffled(0), labels) < 0.5


def test_more_dimensions_than_items_do_not_leak():
    features, labels = made(dim=600, gap=0.0)
    assert linear_probe(features, labels) < 0.5


def test_missing_rows_and_empty_labels_take_no_part():
    mask = np.ones(120, dtype=bool)
    mask[::4] = False
    features, labels = made(gap=6.0, mask=mask)
    labels = np.where(np.arange(120) % 5 == 0, "", labels)
    assert linear_probe(features, labels) > 0.9
    with pytest.raises(CourseError, match="two labels"):
        linear_probe(features, np.full(120, "cat"))


def test_same_seed_same_number():
    features, labels = made(gap=1.5)
    assert linear_probe(features, labels, seed=3) == linear_probe(features, labels, seed=3)


def test_majority_and_frequent():
    labels = np.array(["a"] * 6 + ["b"] * 3 + [""])
    assert majority(labels) == pytest.approx(6 / 9)
    assert frequent(labels, 4).tolist() == ["a"] * 6 + [""] * 4


def test_table_has_mean_and_spread_and_a_gap_where_nothing_can_be_probed():
    features, labels = made(gap=6.0)
    table = probe_table({"ours": features}, {"kind": labels, "none": np.full(120, "")}, seeds=(0, 1))
    assert table.loc["ours", ("kind", "mean")] > 0.9
    assert np.isnan(table.loc["ours", ("none", "mean")])


def test_a_changed_picture_is_noticed_and_the_dataset_is_left_alone(tmp_path):
    from utils.data import load_dataset
    from utils.features.demos import cache_story

    dataset = load_dataset()
    before = [path.read_bytes() for path in dataset.image_paths()[:3]]
    table = cache_story(dataset, 3, "pixels")
    assert table["from the cache"].tolist() == [0, 3, 2]
    assert [path.read_bytes() for path in dataset.image_paths()[:3]] == before


def test_pairing_by_position_shifts_every_row_behind_the_gap():
    from utils.features.demos import language_survival, paired_by_position

    features, _ = made()
    names = np.delete(features.item_names, 10)
    wrong, right = paired_by_position(features, names), features.align(names)
    assert (wrong.matrix == right.matrix).all(axis=1).tolist() == [True] * 10 + [False] * 109
    table = language_survival(features, {"same": features, "shuffled": features.shuffled(0)})
    assert table.loc["same", "R@1"] == 1.0 and table.loc["shuffled", "R@1"] < 0.1
