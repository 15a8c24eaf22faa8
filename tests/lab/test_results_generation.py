"""The sentences of data/results/README.md about notebook 13 hold in the stored results."""

from __future__ import annotations

import pandas as pd
import pytest

from utils.stored import load


def by_model(name: str) -> pd.DataFrame:
    return pd.DataFrame(load(name)["rows"]).groupby("model").mean(numeric_only=True)


@pytest.mark.parametrize("name", ["semantic_ids_shop", "semantic_ids_movielens"])
def test_ids_with_a_meaning_are_ahead_of_the_same_ids_dealt_out_and_behind_neighbours(name):
    rows = pd.DataFrame(load(name)["rows"])
    mean, spread = (getattr(rows.groupby("model")["hr@10"], kind)() for kind in ("mean", "std"))
    assert rows.groupby("model").size()[["both:tokens", "permuted:tokens"]].tolist() == [3, 3]
    assert mean["both:tokens"] - mean["permuted:tokens"] > spread["both:tokens"] + spread["permuted:tokens"]
    assert mean[["itemknn", "recency"]].max() > mean["both:tokens"] + spread["both:tokens"]
    assert mean[["ease_tuned", "ials_tuned"]].min() > mean["both:tokens"] + spread["both:tokens"]
    above = mean["both:tokens"] > mean["sasrec:ids"]
    assert above == (name == "semantic_ids_shop"), "which of the two stands above"


def test_the_meaning_is_that_of_the_clicks_for_the_most_part():
    mean = by_model("semantic_ids_shop")["hr@10"]
    assert mean["clicks:tokens"] >= mean["both:tokens"] > mean["shuffled:tokens"] > mean["content:tokens"]
    assert mean["content:tokens"] < 0.8 * mean["both:tokens"]


def test_ten_beams_lose_a_sixth_to_a_third_of_the_hits_and_fifty_next_to_none():
    lost = {}
    for name in ("semantic_ids_shop", "semantic_ids_movielens"):
        mean = by_model(name).loc[["both:tokens", "permuted:tokens"]]
        lost |= {(name, model): 1 - row["beam_10"] / row["hr@10"] for model, row in mean.iterrows()}
        assert (1 - mean["beam_50"] / mean["hr@10"]).max() < 0.03
    assert 0.15 < min(lost.values()) and max(lost.values()) < 0.35


def test_clicks_alone_put_the_rare_films_into_one_cell():
    first = {row["ids"]: row["biggest"][0] for row in load("semantic_ids_movielens")["ids"] if row["seed"] == 0}
    assert first["clicks"] > 200 and first["clicks"] > 3 * max(first["content"], first["both"])


def test_a_writer_finds_no_new_item_and_its_own_trie_is_not_clearly_better_than_a_draw():
    rows = pd.DataFrame(load("semantic_ids_cold")["rows"])
    mean, writer = rows.groupby("model").mean(numeric_only=True), rows[rows["model"] == "content:tokens"]
    assert (writer["cold"] == 0).all() and len(writer) == 3
    chance = mean.loc["popularity", "cold_within"]
    assert chance == pytest.approx((10 / rows["n_new"]).mean(), abs=1e-4)
    assert mean.loc["content:tokens", "cold_within"] - chance < writer["cold_within"].std()
    level = mean.loc["ease_content", "cold_within"] - mean.loc["sasrec:content", "cold_within"]
    assert abs(level) < rows[rows["model"] == "sasrec:content"]["cold_within"].std()
    assert mean.loc["sasrec:content", "cold"] > 0.02 and mean.loc["sasrec:content", "cold_within"] > chance + 0.05


def test_picture_and_words_find_more_than_either_and_a_histogram_more_than_all_that_was_learned():
    rows = pd.DataFrame(load("composed_search")["rows"])
    for _, own in rows.groupby("held_out"):
        mean = own.groupby("method")["r@1"].mean()
        learned = mean.drop("frozen picture and histogram")
        assert mean["combiner"] > 3 * mean[["picture alone", "words alone", "combiner, words shuffled"]].max()
        assert learned.max() == mean["combiner"] < mean["frozen picture and histogram"]


def test_guidance_buys_obedience_for_variety_and_nothing_is_copied():
    rows = pd.DataFrame(load("generators")["rows"])
    drawn = rows[rows["part"].isin(["drawn", "real"])].groupby("setting").mean(numeric_only=True)
    assert (rows[rows["part"] == "drawn"].groupby("setting").size() == 3).all()
    assert drawn.loc["w 0", "colour"] + 0.05 < drawn.loc["w 1", "colour"]
    assert drawn.loc["w 0", "category"] + 0.05 < drawn.loc["w 1", "category"] < drawn.loc["w 3", "category"]
    assert drawn.loc["w 3", "variety"] < drawn.loc["w 0", "variety"] < drawn.loc["nothing asked", "variety"]
    assert drawn.loc[["nothing asked", "w 0", "w 1", "w 3"], "copied_distance_by_pixels"].max() == 0
    assert drawn.loc["learned, noise", "copied_distance_by_pixels"] == 1
    assert drawn.loc["cvae", "colour"] > 0.9 and drawn.loc["cvae", "category"] < 0.3


def test_a_picture_for_one_user_pleases_the_scorer_that_was_climbed_and_not_the_likes_kept_back():
    rows = pd.DataFrame(load("generators")["rows"]).query("part == 'personal'").groupby("alpha").mean(numeric_only=True)
    assert rows["taste"].is_monotonic_increasing and rows["likeness"].is_monotonic_decreasing
    assert rows.loc[1.0, "taste"] > 0.6 and (rows["gain"] < rows["gain_half_width"]).all()


def test_the_small_writer_on_beauty_stands_between_the_printed_rows_and_above_its_control():
    rows, next_item = pd.DataFrame(load("semantic_ids_beauty")["rows"]).set_index("model"), load("next_item_beauty")
    printed = {name: figures[2] for name, figures in next_item["printed"].items()}
    writer, control = rows.loc["letter:tokens"], rows.loc["letter-permuted:tokens"]
    assert max(printed["SASRec, S3-Rec's table"], printed["TIGER, a third party's run"]) < writer["hr@10"]
    assert 0.95 * printed["TIGER, its own table"] < writer["hr@10"] < printed["TIGER, its own table"]
    plain = pd.DataFrame(next_item["rows"]).query("not masked").groupby("model")["hr@10"].mean()
    assert writer["hr@10"] < plain["ItemKNN, directed transitions"]
    assert 0.6 < control["beam_50"] / writer["beam_50"] < 0.75
    assert writer["best_epoch"] == writer["epochs"] and writer["parameters"] < 500_000
    assert 1 - writer["beam_10"] / writer["hr@10"] < 0.03 and abs(writer["beam_50"] / writer["hr@10"] - 1) < 0.01
