"""EGCF against a reference written in loops, its published traps, and the leaks that reviews bring."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from training_helpers import make_split, planted

from utils.challenges.gates import edge_ratings, no_stars, separation, with_mistakes
from utils.challenges.reviews import (
    EdgeReviews,
    check_reviews,
    once_per_text,
    profile_scores,
    repeated_reviews,
    review_texts,
    training_reviews,
)
from utils.data import assemble, split_dataset
from utils.errors import CourseError
from utils.evaluation import evaluate
from utils.files import ROOT
from utils.models import make_model
from utils.models.egcf import EGCF, gate, learned_gates, n_parameters
from utils.publishers.amazon_reviews import read_amazon_reviews
from utils.studies.reviews_on_edges import ARMS, RESULT, fit_arms, leaky, make_arm, paired, star_groups, variants
from utils.training import train

TRAIN = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (2, 2), (2, 3)]
AMAZON = ROOT.parent / "shared" / "data" / "amazon-raw-2018"


def small(dim=5, silent=(3,), seed=0):
    split = make_split(TRAIN, valid=[(0, 2)], test=[(1, 3)], n_items=5)  # item 4 is cold
    rng = np.random.default_rng(seed)
    mask = ~np.isin(np.arange(len(TRAIN)), silent)
    vectors = (rng.normal(size=(len(TRAIN), dim)) * mask[:, None]).astype(np.float32)
    return split, EdgeReviews(split.train, vectors, mask)


def shop(n_users=40, n_items=25, seed=0):
    """A small log with reviews that name a colour; every third interaction has none."""
    rng = np.random.default_rng(seed)
    rows = [(u, i) for u in range(n_users) for i in rng.choice(n_items, 8, replace=False)]
    words = ["lovely red", "too green for me", "blue and round", "a tall yellow one", "grey, sadly"]
    table = pd.DataFrame(rows, columns=["user", "item"]).map(lambda n: f"{n:03d}")
    table["rating"] = rng.integers(1, 6, len(rows)).astype(float)
    table["timestamp"] = np.arange(len(rows))
    table["review"] = ["" if n % 3 == 0 else f"{words[i % 5]} {i}{u}" for n, (u, i) in enumerate(rows)]
    items = pd.DataFrame({"item": [f"{n:03d}" for n in range(n_items)], "title": "", "description": ""})
    return assemble("shop", ROOT, items.assign(image="", audio=""), table)


# ---- the model ----


def by_loops(model, split, reviews):
    """EGCF's scores with Python loops over nodes and edges, from the equations alone."""
    weights = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
    n_users, n_items, dim = split.n_users, split.n_items, model.settings["dim"]
    degree_u, degree_i = np.zeros(n_users), np.zeros(n_items)
    for u, i in split.train:
        degree_u[u] += 1
        degree_i[i] += 1
    sums = {}
    for branch in ("table", "text"):
        users, items = weights[f"user_{branch}.weight"], weights[f"item_{branch}.weight"]
        total_u, total_i = users.copy(), items.copy()
        for layer in range(1, model.settings["n_layers"] + 1):
            next_u, next_i = np.zeros((n_users, dim)), np.zeros((n_items, dim))
            for k, (u, i) in enumerate(split.train):
                w = 1.0
                if branch == "text" and reviews is not None:
                    e = weights["project.weight"] @ reviews.vectors[k].astype(float) + weights["project.bias"]
                    a, b = users[u] * e, items[i] * e
                    w = 1 / (1 + math.exp(-(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))))
                norm = 1 / math.sqrt(degree_u[u] * degree_i[i])
                next_u[u] += w * norm * items[i]
                next_i[i] += w * norm * users[u]
            if branch == "text":  # the self loop, by the degree without it
                for u in range(n_users):
                    next_u[u] += users[u] / degree_u[u] if degree_u[u] else 0
                for i in range(n_items):
                    next_i[i] += items[i] / degree_i[i] if degree_i[i] else 0
            users, items = next_u, next_i
            total_u, total_i = total_u + users / (layer + 1), total_i + items / (layer + 1)
        sums[branch] = total_u @ total_i.T
    return sums["table"] + sums["text"]


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("kind", ["reviews", "one"])
def test_scores_are_those_of_the_loops(n_layers, kind):
    split, reviews = small()
    settings = {"reviews": reviews} if kind == "reviews" else {"gate": "one"}
    model = EGCF(split, seed=3, dim=4, n_layers=n_layers, **settings)
    expected = by_loops(model, split, reviews if kind == "reviews" else None)
    np.testing.assert_allclose(model.score(np.arange(split.n_users)).numpy(), expected, atol=1e-5)


def test_the_gradient_reaches_tables_and_projection_and_is_right():
    split, reviews = small()
    model = EGCF(split, reviews=reviews, seed=1, dim=3, n_layers=2).double()
    batch = torch.tensor([0, 1, 2]), torch.tensor([0, 1, 3]), torch.tensor([3, 0, 1])
    model.loss(*batch).backward()
    for name, weight in model.named_parameters():
        flat, step = weight.data.view(-1), 1e-6
        for place in (0, flat.numel() - 1):
            kept = float(flat[place])
            flat[place] = kept + step
            above = model.loss(*batch).item()
            flat[place] = kept - step
            below = model.loss(*batch).item()
            flat[place] = kept
            assert float(weight.grad.view(-1)[place]) == pytest.approx((above - below) / (2 * step), abs=1e-6), name


def test_the_gate_stays_between_its_bounds_and_sees_neither_sign_nor_length():
    users, items, edge = torch.randn(3, 200, 6, generator=torch.Generator().manual_seed(0))
    weights = gate(users, items, edge)
    assert 0.2689 <= float(weights.min()) and float(weights.max()) <= 0.7311
    torch.testing.assert_close(gate(users, items, -edge), weights)
    torch.testing.assert_close(gate(users, items, 100 * edge), weights)
    one = gate(users, users, edge)
    torch.testing.assert_close(one, torch.full_like(one, 1 / (1 + math.exp(-1))))


def test_an_edge_without_a_review_gets_the_bias_and_still_learns():
    split, reviews = small(silent=range(7))
    model = EGCF(split, reviews=reviews, seed=0, dim=4)
    edge = model._edge()
    torch.testing.assert_close(edge, model.project.bias.expand_as(edge))
    assert learned_gates(model).std() > 0.01  # not stuck at 1/2
    model.loss(torch.tensor([0]), torch.tensor([0]), torch.tensor([3])).backward()
    assert model.project.bias.grad.abs().max() > 0
    with torch.no_grad():
        model.project.bias.zero_()  # the trap: without a bias silence is the zero vector
    np.testing.assert_allclose(learned_gates(model), 0.5)


def test_twins_have_the_parameters_that_the_notebook_says():
    split, reviews = small()
    counts = {arm: n_parameters(make_arm(arm, split, reviews)) for arm in ARMS}
    assert counts["EGCF"] == counts["shuffled"] == counts["no words"]
    assert counts["LightGCN"] == counts["gate 1"] == counts["EGCF"] - (reviews.dim + 1) * 32


def test_the_same_seed_gives_the_same_numbers_and_training_learns():
    split, _, _ = planted(per_user=10)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(split.train), 8)).astype(np.float32)
    pairs = np.unique(split.train, axis=0)  # by user, then item
    reviews = EdgeReviews(pairs, vectors, np.ones(len(pairs), dtype=bool))
    scores = []
    for _ in range(2):
        model = EGCF(split, reviews=reviews, seed=0, dim=16)
        train(model, split, n_epochs=15, batch_size=256, progress=False)
        scores.append(model.score(np.arange(split.n_users)))
    assert torch.equal(*scores)
    learned = evaluate(model, split, metrics=("recall",))["recall@20"]
    assert learned > evaluate(make_model("random", split), split, metrics=("recall",))["recall@20"] + 0.1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({}, "needs the reviews of its edges"), ({"gate": "words"}, "Unknown gate"), ({"layers": 2}, "Unknown setting")],
)
def test_bad_settings_get_one_sentence(settings, sentence):
    with pytest.raises(CourseError, match=sentence):
        EGCF(small()[0], **settings)


# ---- leaks ----


def test_a_review_on_a_test_edge_is_refused_by_the_check_and_by_the_model():
    split, reviews = small()
    pairs = np.concatenate([split.train, split.test])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    vectors = np.concatenate([reviews.vectors, np.ones((1, reviews.dim), np.float32)])
    leak = EdgeReviews(pairs[order], vectors[order], np.ones(len(pairs), dtype=bool))
    for attempt in (lambda: check_reviews(leak, split), lambda: EGCF(split, reviews=leak)):
        with pytest.raises(CourseError, match=r"1 of 8 reviews lie outside.*user 1, item 3, of the test part"):
            attempt()


def test_a_missing_row_and_rows_in_another_order():
    split, reviews = small()
    with pytest.raises(CourseError, match="1 training edges have no row"):
        EdgeReviews(reviews.pairs[1:], reviews.vectors[1:], reviews.mask[1:]).on(split)
    np.testing.assert_array_equal(reviews.on(split), reviews.vectors)
    with pytest.raises(CourseError, match="not sorted"):
        EdgeReviews(reviews.pairs[::-1], reviews.vectors, reviews.mask).on(split)


def test_training_reviews_do_not_change_with_the_test_reviews():
    dataset = shop()
    split = split_dataset(dataset, "random", seed=0)
    one = training_reviews(dataset, split, "tfidf_svd", dim=6)
    table = dataset.interactions.copy()
    held = set(map(tuple, np.concatenate([split.valid, split.test])))
    rows = [pair in held for pair in zip(table["user_id"], table["item_id"])]
    table.loc[rows, "review"] = "altogether other words about secrets"
    changed = assemble("shop", ROOT, dataset.items, table)
    two = training_reviews(changed, split, "tfidf_svd", dim=6)
    np.testing.assert_array_equal(one.vectors, two.vectors)
    assert one.vectors.shape == (len(split.train), 6) and not one.vectors[~one.mask].any()
    assert (one.vectors[one.mask] ** 2).sum(1).mean() == pytest.approx(1, abs=1e-4)
    with pytest.raises(CourseError, match="outside the training part"):
        check_reviews(training_reviews(dataset, split, "tfidf_svd", parts=("train", "test")), split)


def test_the_leak_on_purpose_pays_and_is_not_in_the_loss():
    dataset = shop()
    split = split_dataset(dataset, "random", seed=0)
    wrong, reviews = leaky(split, dataset, "tfidf_svd")
    assert len(wrong.train) == len(split.train) + len(split.test) and len(reviews.pairs) == len(wrong.train)
    honest = profile_scores(training_reviews(dataset, split, "tfidf_svd"), split.n_users, split.n_items)
    leaked = profile_scores(reviews, split.n_users, split.n_items)
    recall = [evaluate(scores, split, top_k=5, metrics=("recall",))["recall@5"] for scores in (honest, leaked)]
    assert recall[1] > recall[0] + 0.1


def test_repeated_texts_are_found_across_parts_and_removed():
    dataset = shop()
    table = dataset.interactions.copy()
    split = split_dataset(dataset, "random", seed=0)
    assert repeated_reviews(dataset, split).empty
    user, item = split.test[0]
    own = split.train[split.train[:, 0] == user][0]
    first = (table["user_id"] == own[0]) & (table["item_id"] == own[1])
    again = (table["user_id"] == user) & (table["item_id"] == item)
    table.loc[first, "review"], table.loc[again, "review"] = "Such a  joy", "such a joy "
    twice = assemble("shop", ROOT, dataset.items, table)
    found = repeated_reviews(twice, split)
    assert found[["user_id", "item_id"]].to_numpy().tolist() == [[user, item]]
    once = once_per_text(twice)
    assert once.n_interactions == twice.n_interactions - 1
    assert (once.interactions["review"] == "").sum() == (twice.interactions["review"] == "").sum()
    kept = once.interactions["review"].map(lambda text: text.lower().split()).map(" ".join) == "such a joy"
    assert kept.sum() == 1 and once.interactions["timestamp"][kept].item() == table["timestamp"][first | again].min()


def test_controls_keep_what_they_should():
    split, reviews = small(silent=(1, 4))
    mixed, silent = reviews.shuffled(seed=1), reviews.silent()
    assert np.array_equal(mixed.mask, reviews.mask) and not mixed.vectors[~mixed.mask].any()
    assert not np.array_equal(mixed.vectors, reviews.vectors)
    assert sorted(map(tuple, mixed.vectors)) == sorted(map(tuple, reviews.vectors))
    assert not silent.vectors.any() and not silent.mask.any() and reviews.vectors.any()
    borrowed = reviews.borrowed()
    np.testing.assert_allclose(borrowed.vectors[1], reviews.vectors[0])  # user 0 wrote one other review
    np.testing.assert_allclose(borrowed.vectors[4], reviews.vectors[[5, 6]].mean(0), rtol=1e-5)
    assert borrowed.vectors.dtype == mixed.vectors.dtype == np.float32  # the model's own
    assert borrowed.mask.all() and np.array_equal(borrowed.vectors[reviews.mask], reviews.vectors[reviews.mask])


# ---- gates, mistakes, twins ----


def test_separation_is_the_share_of_pairs_in_the_right_order():
    values, high = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])
    assert separation(values, high) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    with pytest.raises(CourseError, match="groups is empty"):
        separation(values, np.ones(4, dtype=bool))


def test_ratings_follow_the_edges():
    dataset = shop()
    split = split_dataset(dataset, "random", seed=0)
    ratings, texts = edge_ratings(dataset, split.train), review_texts(dataset, split.train)
    table = dataset.interactions.set_index(["user_id", "item_id"])
    for row in (0, 17, -1):
        assert ratings[row] == table.loc[tuple(split.train[row]), "rating"]
        assert texts[row] == table.loc[tuple(split.train[row]), "review"]
    rows, high = star_groups(training_reviews(dataset, split, "tfidf_svd"), ratings)
    assert set(ratings[rows]) == {1.0, 2.0, 5.0} and np.array_equal(ratings[rows] == 5, high)


def test_mistakes_are_new_edges_and_their_reviews_say_so():
    split, _, _ = planted()
    with_wrong, reviews, true = with_mistakes(split, share=0.5, seed=0)
    keys = [rows[:, 0] * split.n_items + rows[:, 1] for rows in (split.train, split.valid, split.test)]
    wrong = with_wrong.train[~true][:, 0] * split.n_items + with_wrong.train[~true][:, 1]
    assert (
        np.array_equal(with_wrong.train[true], np.unique(split.train, axis=0)) and len(wrong) == len(split.train) // 2
    )
    assert not any(np.isin(wrong, part).any() for part in keys) and len(np.unique(wrong)) == len(wrong)
    check_reviews(reviews, with_wrong)
    assert separation(reviews.vectors.mean(1), true) > 0.99
    with pytest.raises(CourseError, match="share=2"):
        with_mistakes(split, share=2)


def test_every_twin_trains_and_is_compared_by_user():
    dataset = shop()
    split = split_dataset(dataset, "random", seed=0)
    reviews = training_reviews(dataset, split, "tfidf_svd", dim=8)
    models, regs = fit_arms(split, reviews, n_epochs=2)
    assert list(models) == list(ARMS) == list(regs)
    again, _ = fit_arms(split, reviews, regs=regs, n_epochs=2, arms=("EGCF",))
    assert torch.equal(again["EGCF"].score([0, 1]), models["EGCF"].score([0, 1]))
    reports = {arm: [evaluate(model, split, metrics=("recall",))] for arm, model in models.items()}
    table = paired(reports, "recall@20")
    assert list(table.index) == list(ARMS[:-1])
    gap = reports["EGCF"][0]["recall@20"] - reports["LightGCN"][0]["recall@20"]
    assert table.loc["LightGCN", "difference"] == pytest.approx(gap)
    assert (table["low"] <= table["difference"]).all() and (table["difference"] <= table["high"]).all()
    with pytest.raises(CourseError, match="Unknown twin"):
        make_arm("GAT", split, reviews)


# ---- files of Amazon ----


def write_reviews(path, rows):
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    return path


def test_amazon_reviews_are_read_and_a_bad_line_is_named(tmp_path):
    row = {"reviewerID": "A", "asin": "x", "overall": 5.0, "unixReviewTime": 7, "reviewText": "so<br>good &amp; cheap"}
    path = write_reviews(tmp_path / "Toys_5.json.gz", [row, {**row, "asin": "y", "reviewText": None}])
    dataset = read_amazon_reviews(path)
    assert dataset.name == "toys" and dataset.interactions["review"].tolist() == ["so good & cheap", ""]
    with pytest.raises(CourseError, match="line 2"):
        read_amazon_reviews(write_reviews(tmp_path / "Bad_5.json.gz", [row, "{oops\n"]))
    with pytest.raises(CourseError, match="There is no file"):
        read_amazon_reviews(tmp_path / "None_5.json.gz")


@pytest.mark.skipif(not AMAZON.is_dir(), reason="../shared/data/amazon-raw-2018 is not there")
def test_real_reviews_repeat_themselves():
    beauty = read_amazon_reviews(AMAZON / "All_Beauty_5.json.gz")
    found = variants(beauty)
    published, once = found["as published"], found["texts once"]
    assert beauty.n_interactions == 5269 and published.n_users > 10 * once.n_users
    split = split_dataset(published, "random", seed=0, valid=0.2, test=0.2)
    assert len(repeated_reviews(published, split)) > 0.8 * len(split.test)
    split = split_dataset(once, "random", seed=0, valid=0.2, test=0.2)
    assert repeated_reviews(once, split).empty


@pytest.mark.skipif(not RESULT.exists(), reason="data/results/reviews_on_edges.json is not there")
def test_the_stored_study_is_whole():
    study = json.loads(RESULT.read_text(encoding="utf-8"))
    assert study["meta"]["command"].startswith("python -m utils.lab study reviews_on_edges")
    for log, found in study["logs"].items():
        assert {row["twin"] for row in found["tests"]} == set(ARMS[:-1]), log
        values = pd.DataFrame(found["rows"]).groupby(["arm", "metric"])["value"].agg(["mean", "count"])
        assert (values["count"] == values["count"].max()).all() and values["mean"].between(0, 1).all(), log
        assert (
            values.loc[("words alone, leaked", "recall@10"), "mean"] > values.loc[("words alone", "recall@10"), "mean"]
        )
        for row in found["tests"]:
            assert row["low"] <= row["difference"] <= row["high"] and row["t_p"] <= row["t_holm"], (log, row)


def test_a_log_without_stars_is_told_from_one_with_few_and_one_with_enough():
    n = 60
    pairs = np.stack([np.arange(n), np.zeros(n, dtype=int)], axis=1)
    reviews = EdgeReviews(pairs, np.ones((n, 2), np.float32), np.ones(n, dtype=bool))
    stars = np.where(np.arange(n) < 30, 1.0, 5.0)
    assert no_stars(reviews, stars) == ""
    assert "comes with a rating" in no_stars(reviews, np.full(n, np.nan))
    assert "go up to 10" in no_stars(reviews, 2 * stars)
    assert no_stars(reviews, np.where(np.arange(n) < 3, 1.0, 5.0)).startswith(
        "3 reviews with 1 or 2 stars and 57 with 5"
    )
    silent = EdgeReviews(pairs, reviews.vectors, np.arange(n) >= 30)
    assert no_stars(silent, stars).startswith("0 reviews"), "only edges with a review count"
    items = pd.DataFrame({"item": ["x"], "title": "", "description": "", "image": "", "audio": ""})
    dataset = assemble("unrated", Path(), items, pd.DataFrame({"user": ["a", "b"], "item": ["x", "x"]}))
    assert np.isnan(edge_ratings(dataset, np.array([[0, 0], [1, 0]]))).all()
