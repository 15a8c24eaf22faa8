"""The simulator: the same seed gives the same log, other seeds others, and tastes are what they are said to be."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from utils.data.split import split_dataset
from utils.evaluation import evaluate
from utils.files import ROOT
from utils.shop.simulate import _codes, _sound_component, core, simulate
from utils.studies.ladder import Oracle, content, draw, shop_hash


@pytest.fixture(scope="module")
def shop():
    return content("sticker_shop")


@pytest.fixture(scope="module")
def hidden(shop):
    return shop[1]


def test_the_same_seed_gives_the_same_log_and_another_seed_another(shop, hidden):
    items = shop[0].items.set_index("item").loc[hidden["item"]].reset_index()
    one, two = (simulate(hidden, 3, n_users=120, items=items) for _ in range(2))
    pd.testing.assert_frame_equal(one.interactions, two.interactions)
    assert np.array_equal(one.start, two.start) and one.likes.equals(two.likes)
    assert not one.interactions.equals(simulate(hidden, 4, n_users=120, items=items).interactions)


def test_the_shipped_draw_is_seed_0(shop, hidden, tmp_path):
    from utils.data import load_dataset, write_table

    items = shop[0].items.set_index("item").loc[hidden["item"]].reset_index()
    write_table(tmp_path / "interactions.tsv.gz", core(simulate(hidden, 0, items=items).interactions))
    shipped = load_dataset("sticker_shop").path / "interactions.tsv.gz"
    assert gzip.decompress((tmp_path / shipped.name).read_bytes()) == gzip.decompress(shipped.read_bytes())


def test_choices_follow_the_utilities(hidden):
    log = simulate(hidden, 5, n_users=200)
    rows = pd.Index(log.users).get_indexer(log.interactions["user"])
    columns = pd.Index(log.items).get_indexer(log.interactions["item"])
    chosen = ((log.start + log.end) / 2)[rows, columns]
    assert chosen.mean() > np.mean(log.start) + 1.0


def test_having_a_sound_is_worth_nothing_on_average(hidden):
    values, names = _codes(hidden["sound"])
    likes = np.arange(len(names))[:, None]
    part = _sound_component(likes, values)
    assert np.allclose(part.sum(axis=1), 0, atol=1e-3)
    assert (part[:, values < 0] == 0).all()
    assert all(part[k, values == k].min() > 0 > part[k, (values >= 0) & (values != k)].max() for k in range(len(names)))


def test_user_types_differ_in_what_moves_them(hidden):
    log = simulate(hidden, 7, n_users=300)
    liked = log.likes["colour_first"].to_numpy()[:, None] == hidden["colour"].to_numpy()[None]
    gain = np.array([row[like].mean() - row[~like].mean() for row, like in zip(log.start, liked)])
    types = log.likes["type"].to_numpy()
    assert gain[types == "colour"].mean() > gain[types == "content"].mean() + 1


def test_tastes_and_ranks_drift(hidden):
    log = simulate(hidden, 8, n_users=100)
    assert (log.likes["topic_first"] != log.likes["topic_last"]).mean() > 0.9
    assert (log.likes["sound_first"] == log.likes["sound_last"]).all()


def test_the_core_is_a_core():
    log = pd.DataFrame({"user": list("aaabbbccd"), "item": list("xyzxyzxyx")})
    kept = core(log, k=2)
    assert kept.groupby("user").size().min() >= 2 and kept.groupby("item").size().min() >= 2
    assert "d" not in set(kept["user"]) and kept.index.is_monotonic_increasing


def test_reviews_speak_of_the_item_and_sometimes_do_not(shop, hidden):
    items = shop[0].items.set_index("item").loc[hidden["item"]].reset_index()
    log = simulate(hidden, 9, n_users=800, items=items).interactions
    written = log[log["review"] != ""]
    titles = written["item"].map(items.set_index("item")["title"].str.lower())
    named = np.array([title in review.lower() for title, review in zip(titles, written["review"])])
    assert 0.15 < named.mean() < 0.7
    assert written["review"].nunique() > 0.6 * len(written)
    glad = written["review"].str.contains(r"\b(?:love|great|joy|happy)\b", case=False)
    assert written.loc[glad, "rating"].mean() > written.loc[~glad, "rating"].mean() + 0.2
    assert (written.loc[glad, "rating"] <= 2).any(), "words and rating sometimes disagree"


def test_a_quick_ladder(shop, hidden):
    """One draw, models with few epochs: the order that the stored ladder shows with tuned models and five draws."""
    from utils.features.prepared_features import load_features
    from utils.training import fit

    dataset, utility = draw(*shop, 0)
    split = split_dataset(dataset, "random", seed=0)
    features = load_features(dataset)

    def recall(name, **settings):
        model, _ = fit(name, split, features, seed=0, **settings)
        return evaluate(model, split, metrics=("recall",)).mean()["recall@20"]

    oracle = evaluate(Oracle(utility), split, metrics=("recall",)).mean()["recall@20"]
    random, popular, neighbours = recall("random"), recall("mostpop"), recall("itemknn")
    graph = recall("lightgcn", n_epochs=20, eval_every=5)
    assert random + 0.05 < popular < min(neighbours, graph) - 0.03
    assert max(neighbours, graph) + 0.15 < oracle < 0.9


def test_the_stored_ladder_is_of_this_shop_and_in_order(hidden):
    """Five draws, every model tuned with the same budget: each step of the ladder is wider than its interval."""
    stored = json.loads((ROOT / "data/results/sticker_shop_ladder.json").read_text(encoding="utf-8"))
    assert stored["meta"]["shop"] == shop_hash(hidden), "run python -m utils.lab study ladder again"
    assert sorted(stored["facts"]) == list("01234")
    best = stored["summary"]["best_multimodal"]
    low = {(d["left"], d["right"]): d["low"] for d in stored["summary"]["differences"]}
    for plain in ("itemknn", "bpr", "lightgcn"):
        assert low[plain, "mostpop"] > 0.05 and low[best, plain] > 0.005
    assert low["mostpop", "random"] > 0.05 and low["oracle", best] > 0.2
    for control in ("without visual", "without textual", "shuffled"):
        assert low[best, f"{best} {control}"] > 0
    for draw_ in stored["cold"].values():
        controls = max(draw_["random"]["among"], draw_["content kNN, shuffled"]["among"])
        assert draw_["content kNN"]["among"] > controls + 0.08
        assert draw_["content kNN"]["full"] > 2 * draw_["random"]["full"] and draw_["mostpop"]["full"] == 0


def test_the_sound_carries_taste_beyond_having_one(hidden):
    """Where sounding items are to be found, VBPR loses without audio, and more than the has-sound indicator gives back."""
    stored = json.loads((ROOT / "data/results/sticker_shop_sound.json").read_text(encoding="utf-8"))
    assert stored["meta"]["shop"] == shop_hash(hidden), "run python -m utils.lab study ladder_sound again"
    low = {(d["left"], d["right"]): d["low"] for d in stored["differences"]}
    for control in ("without audio", "has-sound for audio", "audio shuffled"):
        assert low["vbpr all", f"vbpr {control}"] > 0
