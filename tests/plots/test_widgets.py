"""The two dials: their ends, what lies between, the static twin, and what is left when nobody can drag."""

import json
import sys

import numpy as np
import pytest

from utils.data import load_dataset
from utils.errors import CourseError
from utils.evaluation import top_items
from utils.models import make_model
from utils.plots import widgets


@pytest.fixture(scope="module")
def shop():
    return load_dataset("sticker_shop")


@pytest.fixture(scope="module")
def fusion(shop):
    return widgets.clicks_and_content(shop)


@pytest.fixture(scope="module")
def near(shop):
    return widgets.pictures_and_words(shop, "Bassoon")


def test_the_ends_of_the_fusion_dial_are_the_two_recommenders(fusion):
    knn = make_model("itemknn", fusion.split)
    for user in fusion.users:
        assert np.array_equal(fusion.items(user, 0), top_items(knn, fusion.split, user, 7))
        alone = top_items(fusion.scores[1], fusion.split, user, 7)
        assert np.array_equal(fusion.items(user, 1), alone)
        assert not np.isin(fusion.items(user, 0.5), fusion.split.train[fusion.split.train[:, 0] == user, 1]).any()


def test_towards_the_content_the_lists_get_closer_to_it(fusion):
    """Rank agreement with the second end grows with the weight, over the users of the dial."""
    shared = [
        np.mean([len(np.intersect1d(fusion.items(u, w, 20), fusion.items(u, 1, 20))) for u in fusion.users])
        for w in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert shared == sorted(shared) and shared[0] < 10 and shared[-1] == 20


def test_between_the_ends_both_know_more(fusion):
    assert fusion.recall(0.3) > max(fusion.recall(0.0), fusion.recall(1.0)) + 0.01
    assert fusion.line(0.3) == f"All users, validation: Recall@20 {fusion.recall(0.3):.3f} at this weight."


def test_users_are_chosen_by_a_rule_and_have_something_to_find(fusion):
    ends = [len(np.setdiff1d(fusion.items(u, 0), fusion.items(u, 1))) for u in fusion.users]
    assert ends[0] == max(ends) and len(set(fusion.users)) == 10
    assert all(len(fusion.hits(user)) >= 2 for user in fusion.users)
    assert list(fusion.choices().values()) == fusion.users


def test_a_weight_outside_the_dial_is_an_error(fusion, near):
    for dial in (fusion, near):
        with pytest.raises(CourseError, match="weight of 1.5 is outside 0 to 1"):
            dial.items(0, 1.5)


def test_neighbours_by_the_mixed_cosine(near):
    """The joined rows rank by the weighted sum of the two cosines, computed here the long way."""
    item = near.choices()["Bassoon"]
    image, text = (matrix @ matrix[item] for matrix in near.vectors)
    for weight in (0.0, 0.3, 1.0):
        expected = (1 - weight) * image + weight * text
        expected[item] = -np.inf
        assert near.items(item, weight).tolist() == np.argsort(-expected, kind="stable")[:6].tolist()
    assert near.same_category(0.5) > max(near.same_category(0.0), near.same_category(1.0)) + 0.03


def test_the_static_twin_says_what_it_shows(fusion, near):
    user = fusion.users[0]
    names = [text.get_text() for text in fusion.figure(user, (0, 0.5, 1), 5).texts]
    assert {"History", "clicks only", "0.5 content", "content only"} <= set(names)
    shown, alt = fusion.dataset.items["title"].iloc[fusion.items(user, 0.5, 5)], fusion.words(user, (0, 0.5, 1), 5)
    assert ", ".join(shown) in alt and "taken later" in alt
    item = near.choices()["Bassoon"]
    assert "text only: " in near.words(item, (0, 1)) and near.figure(item, (0, 1)).texts[0].get_text() == "image only"


def test_the_slider_answers_and_follows_its_controls(fusion):
    ipywidgets = pytest.importorskip("ipywidgets")
    choose, weight, picture = widgets.slider(fusion).children
    assert isinstance(choose, ipywidgets.Dropdown) and isinstance(weight, ipywidgets.FloatSlider)
    before = picture.value
    weight.value = 0.0
    assert picture.value != before and "clicks only: " in picture.value
    choose.value = fusion.users[1]
    assert str(fusion.dataset.users[fusion.users[1]]) in picture.value
    assert picture.value.count("<img alt=") == 1 and f"Recall@20 {fusion.recall(0.0):.3f}" in picture.value
    assert choose.description and weight.description == "clicks 0 ... 1 content"  # labels for a screen reader


def shown(monkeypatch):
    monkeypatch.setattr(widgets, "WEIGHTS", (0.0, 1.0))  # two rows are drawn faster than five
    out = []
    monkeypatch.setattr("IPython.display.display", lambda thing, raw=False: out.append(thing))
    return out


def test_where_nobody_drags_only_the_twin_is_left(near, monkeypatch):
    out = shown(monkeypatch)
    monkeypatch.setenv(widgets.HEADLESS, "1")
    widgets.show(near)
    assert len(out) == 1 and "<img alt=" in out[0]["text/html"] and "widget" not in json.dumps(out[0])
    monkeypatch.delenv(widgets.HEADLESS)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    widgets.show(near)
    assert len(out) == 2 and "text only" in out[1]["text/plain"]


def test_a_front_end_gets_slider_and_twin(near, monkeypatch):
    pytest.importorskip("ipywidgets")
    out = shown(monkeypatch)
    monkeypatch.delenv(widgets.HEADLESS, raising=False)
    widgets.show(near)
    assert "application/vnd.jupyter.widget-view+json" in out[0] and "JupyterLab can" in out[0]["text/plain"]
    assert "<details open>" in out[1].data and "<img alt=" in out[1].data


def test_a_dial_needs_a_user_with_a_history(fusion):
    few = type(fusion.split)(
        fusion.split.n_users, fusion.split.n_items, fusion.split.train[:3], fusion.split.valid, fusion.split.test,
        "random", fusion.split.cold_items,
    )  # fmt: skip
    dial = widgets.FusionDial(fusion.dataset, few, fusion.ends, fusion.scores)
    with pytest.raises(CourseError, match="a dial needs one with a history"):
        dial.users  # noqa: B018
