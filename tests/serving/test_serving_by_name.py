"""Lists by name against brute force; somebody new gets what a known user with the same history gets."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from serving_helpers import named_shop

from utils.errors import CourseError
from utils.evaluation import recommend
from utils.files import ROOT
from utils.models import ALL, MODELS, TrainedRecommender, make_model
from utils.models.bpr import BPR
from utils.models.ease import EASE
from utils.models.itemknn import ItemKNN
from utils.models.vnpr import VNPR
from utils.serving import because, fold_in, recommend_for, similar_items, top_table

SHOP, SPLIT, FEATURES = named_shop()
SUMS = ("itemknn", "itemknn_content", "itemknn_multimodal", "ease", "ease_content")  # a score is a sum over the history
FOLDED = (*SUMS, "ials", "ials_content", "mostpop")
TAKEN = SPLIT.matrix("train")


def make(name):
    return make_model(name, SPLIT, FEATURES)


def best(scores, hidden, top_k):
    """The top of a list with Python's sort: highest first, ties to the smaller position."""
    order = sorted((item for item in range(len(scores)) if item not in hidden), key=lambda i: (-scores[i], i))
    return [f"i{item}" for item in order[:top_k]]


@pytest.mark.parametrize("name", ["itemknn", "ease", "vbpr", "ials", "mostpop"])
def test_the_list_of_a_user_by_name(name):
    model = make(name)
    table = top_table(model, SHOP, ["user-07", "user-02"], top_k=5)
    assert list(table) == ["user", "rank", "item", "title", "score"]
    assert list(table["user"]) == ["user-07"] * 5 + ["user-02"] * 5 and list(table["rank"]) == [1, 2, 3, 4, 5] * 2
    for user, part in ((7, table[:5]), (2, table[5:])):
        scores = model.score(np.array([user])).numpy()[0]
        assert list(part["item"]) == best(scores, set(TAKEN[user].indices), 5)
        assert list(part["title"]) == [f"Thing {item[1:]}" for item in part["item"]]
        assert np.array_equal(part["score"], [scores[int(item[1:])] for item in part["item"]])
    assert table[:5].equals(top_table(model, SHOP, "user-07", top_k=5))


def test_the_mask_decides_what_a_list_leaves_out():
    scores = make("ease").score(np.array([3])).numpy()[0]
    table = top_table(make("ease"), SHOP, "user-03", top_k=30, mask=("train", "valid", "test"))
    every = {item for part in (SPLIT.train, SPLIT.valid, SPLIT.test) for user, item in part if user == 3}
    assert list(table["item"]) == best(scores, every, 30) and len(table) == 30 - len(every)
    assert len(top_table(make("ease"), SHOP, "user-03", top_k=30, mask=())) == 30


def test_lists_are_those_of_recommend():
    model = make("vbpr")
    lists = recommend(model, SPLIT, np.arange(40), 7)
    table = top_table(model, SHOP, SHOP.users, 7)
    assert np.array_equal(table["item"].to_numpy(dtype=str).reshape(40, 7), SHOP.item_names[lists])


def test_the_readme_of_the_room_runs_as_it_stands(tmp_path, monkeypatch):
    text = (ROOT / "utils" / "serving" / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README", "exec"), names)
    assert set(names["table"]["user"]) == {"u00104"} and len(names["table"]) == 5
    assert len(names["why"]) == 3 and len(names["alike"]) == 10 and len(names["new"]) == 10
    assert names["table"]["title"].str.len().min() > 0
    assert {path.name.split("-")[0] for path in (tmp_path / "build" / "my_model").iterdir()} == {
        "model.json",
        "weights",
    }


# ---- somebody new ----


@pytest.mark.parametrize("name", FOLDED)
def test_a_known_history_gets_the_known_scores(name):
    model = make(name)
    assert np.allclose(fold_in(model, TAKEN), model.score(np.arange(40)).numpy(), rtol=1e-5, atol=1e-6)
    if name in SUMS:
        assert np.array_equal(fold_in(model, TAKEN), model.score(np.arange(40)).numpy())


@pytest.mark.parametrize("name", FOLDED)
def test_a_list_for_somebody_new(name):
    model, liked = make(name), [4, 11, 20]
    scores = fold_in(model, sp.csr_matrix((np.ones(3), (np.zeros(3, int), liked)), shape=(1, 30)))[0]
    table = recommend_for(model, SHOP, ["i20", "i4", "i11", "i4"], top_k=6)
    assert list(table) == ["rank", "item", "title", "score"]
    assert list(table["item"]) == best(scores, set(liked), 6)
    assert np.array_equal(table["score"], [scores[int(item[1:])] for item in table["item"]])
    assert recommend_for(model, SHOP, "i4").equals(recommend_for(model, SHOP, ["i4"]))


def test_the_sums_by_hand():
    knn, ease = make("itemknn"), make("ease")
    row = np.zeros(30)
    row[[4, 11]] = 1
    row = sp.csr_matrix(row)
    by_hand = [sum(knn.similarity[j, i] for j in (4, 11)) for i in range(30)]
    assert np.allclose(fold_in(knn, row)[0], by_hand, atol=1e-6)
    assert np.allclose(fold_in(ease, row)[0], ease.weights[4] + ease.weights[11], atol=1e-6)
    both = make("itemknn_multimodal")
    by_hand = np.array(by_hand) + 0.15 * sum(both.content.similarity[j].toarray()[0] for j in (4, 11))
    assert np.allclose(fold_in(both, row)[0], by_hand, atol=1e-6)


@pytest.mark.parametrize("name", ["ials", "ials_content"])
def test_the_vector_of_a_new_user_is_the_least_squares_solution(name):
    model, liked = make(name), [4, 11, 20]
    items, reg = model.items, model.settings["reg"]
    left = items[liked].T @ items[liked] + model.alpha0 * items.T @ items
    left += reg * (3 + model.alpha0 * 30) ** model.settings["nu"] * np.eye(items.shape[1])
    vector = np.linalg.solve(left, items[liked].sum(axis=0))
    row = sp.csr_matrix((np.ones(3), (np.zeros(3, int), liked)), shape=(1, 30))
    assert np.allclose(fold_in(model, row)[0], items @ vector, atol=1e-6)


def test_nothing_of_the_model_changes():
    for name in FOLDED:
        model = make(name)
        before, parts = model.score(np.arange(40)), dict(vars(model))
        recommend_for(model, SHOP, ["i1"])
        assert all(vars(model)[key] is value for key, value in parts.items())
        assert torch.equal(model.score(np.arange(40)), before)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in FOLDED])
def test_models_with_a_vector_for_each_user_say_so(name):
    assert name == "random" or issubclass(MODELS[name], TrainedRecommender)
    with pytest.raises(
        CourseError, match=f"{name} cannot score somebody new.*train again, or take itemknn, ease or ials"
    ):
        recommend_for(make(name), SHOP, ["i1"])


def test_a_model_that_knows_more_of_its_users_than_their_rows_is_refused():
    class Biased(EASE):
        """Keeps a log, and something of each user beside it."""

        name = "biased"

        def score(self, user_ids):
            users = torch.as_tensor(np.asarray(user_ids)).float()[:, None]
            return super().score(user_ids) * (2 + users) + users

    model = Biased(replace(SPLIT, train=SPLIT.train[SPLIT.train[:, 0] > 0]))
    with pytest.raises(CourseError, match="biased cannot score somebody new"):
        recommend_for(model, SHOP, ["i1"])


# ---- items like an item, and why ----


@pytest.mark.parametrize("name", ["bpr", "vbpr", "lightgcn", "ials", "ials_content"])
def test_similar_items_by_cosine_of_their_vectors(name):
    model = make(name)
    vectors = model.items if name.startswith("ials") else model.embeddings()[1].detach().numpy()
    table = similar_items(model, SHOP, "i5", top_k=4)
    cosines = {}
    for item in range(30):
        lengths = np.linalg.norm(vectors[item]) * np.linalg.norm(vectors[5])
        cosines[f"i{item}"] = float(vectors[item] @ vectors[5] / lengths) if lengths else 0.0
    order = sorted(set(cosines) - {"i5"}, key=lambda item: -cosines[item])
    assert list(table["item"]) == order[:4] and list(table["rank"]) == [1, 2, 3, 4]
    assert np.allclose(table["score"], [cosines[item] for item in order[:4]], atol=1e-5)


@pytest.mark.parametrize("name", SUMS)
def test_similar_items_are_those_that_an_item_speaks_for(name):
    model = make(name)
    table = similar_items(model, SHOP, "i5", top_k=30)
    scores = fold_in(model, sp.csr_matrix(np.eye(30)[[5]]))[0]
    silent = {item for item in range(30) if scores[item] == 0}
    assert list(table["item"]) == best(scores, {5} | silent, 30)
    assert np.array_equal(table["score"], [scores[int(item[1:])] for item in table["item"]])


@pytest.mark.parametrize("name", SUMS)
def test_the_reasons_add_up_to_the_score(name):
    model = make(name)
    item = top_table(model, SHOP, "user-07", 1)["item"][0]
    past = TAKEN[7].indices
    table = because(model, SHOP, "user-07", item, top_k=30)
    assert set(table["item"]) == {f"i{other}" for other in past}
    assert list(table["score"]) == sorted(table["score"], reverse=True)
    assert np.isclose(table["score"].sum(), model.score(np.array([7]))[0, int(item[1:])], atol=1e-5)
    alone = np.eye(30)[[int(table["item"][0][1:])]]
    assert np.isclose(table["score"][0], fold_in(model, sp.csr_matrix(alone))[0, int(item[1:])])
    assert because(model, SHOP, "user-07", item, top_k=2).equals(table[:2])


# ---- mistakes ----


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m: top_table(m, SHOP, "user-7"), "Unknown user of shop 'user-7'; did you mean user-"),
        (lambda m: top_table(m, SHOP, "?"), "Unknown user of shop .*names look like user-00, user-01"),
        (lambda m: recommend_for(m, SHOP, ["i1", "j1"]), "Unknown item of shop 'j1'; did you mean i1"),
        (lambda m: recommend_for(m, SHOP, []), "liked is empty"),
        (lambda m: similar_items(m, SHOP, "i100"), "Unknown item of shop 'i100'"),
        (lambda m: because(m, SHOP, "user-03", "thing"), "Unknown item"),
        (lambda m: top_table(m, named_shop(41)[0], "user-03"), "itemknn knows 40 users and 30 items, shop has 41"),
        (lambda m: top_table(m, SHOP.select(interactions=SHOP.interactions.index % 9 > 0), "user-03"), "trained on interactions that shop does not have"),
        (lambda m: fold_in(m, sp.csr_matrix((1, 29))), "29 places, itemknn has 30 items"),
        (lambda m: because(make("ials"), SHOP, "user-03", "i1"), "score of ials is no sum"),
        (lambda m: because(make("bpr"), SHOP, "user-03", "i1"), "score of bpr is no sum"),
        (lambda m: similar_items(make("mostpop"), SHOP, "i1"), "score of mostpop is no sum"),
        (lambda m: similar_items(make("random"), SHOP, "i1"), "random cannot score somebody new"),
        (lambda m: similar_items(VNPR(SPLIT, FEATURES), SHOP, "i1"), "vnpr has no vector for an item alone"),
    ],
)  # fmt: skip
def test_mistakes_are_named(call, words):
    with pytest.raises(CourseError, match=words):
        call(ItemKNN(SPLIT))


def test_a_user_without_a_training_interaction_has_no_reasons():
    model = ItemKNN(replace(SPLIT, train=SPLIT.train[SPLIT.train[:, 0] != 3]))
    with pytest.raises(CourseError, match="'user-03' has no training interaction"):
        because(model, SHOP, "user-03", "i1")


def test_names_that_are_numbers_are_names():
    """A user called "12" is not the user at place 12."""
    users = np.array([str(99 - n) for n in range(40)])
    model = BPR(SPLIT)
    table = top_table(model, replace(SHOP, users=users), "87", 3)
    assert list(table["item"]) == list(top_table(model, SHOP, "user-12", 3)["item"])


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("random", "mostpop", "vnpr", "content_style")])
def test_all_other_models_compare_items(name):
    """Which ones, stands in the README of the room."""
    settings = {"egcf": {"gate": "one"}, "dvbpr": {"network": "linear"}}.get(name, {})
    table = similar_items(ALL[name](SPLIT, FEATURES, **settings), SHOP, "i5", 3)
    assert len(table) == 3 and "i5" not in set(table["item"]) and np.isfinite(table["score"]).all()
