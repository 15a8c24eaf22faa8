"""ACF, VNPR and DVBPR against their equations in loops; parts, visual diversity, planted tastes and the study's tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from training_helpers import make_features, make_split, planted

from utils.challenges.patches import colour_counts, patch_features, tiles
from utils.challenges.planted_taste import liked, one_taste_shop, taste_recovery
from utils.challenges.visual_diversity import distance_to_history, reference_space, tsne_distance
from utils.data import load_dataset, truth
from utils.errors import CourseError
from utils.models.acf import ACF
from utils.models.dvbpr import DVBPR
from utils.models.vnpr import VNPR
from utils.studies import feature_extractors as study
from utils.training import train

TRAIN = [(0, 0), (0, 1), (0, 4), (1, 1), (1, 2), (2, 3), (3, 0), (3, 5)]
SPLIT = make_split(TRAIN, valid=[(0, 2), (1, 0)], test=[(0, 3), (1, 6), (2, 0)], n_users=4, n_items=7)
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(7, 6))
MASK = np.array([1, 1, 1, 1, 0, 1, 1], dtype=bool)
USERS, POS, NEG = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 3, 4]), torch.tensor([3, 0, 1, 2])


def shaken(model):
    """No bias and no weight at its start value: a test must see all of them."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.4)
    return model


def a(tensor):
    return tensor.detach().double().numpy()


def softplus(x):
    return np.log1p(np.exp(x))


# ---- ACF ----


def acf(keep_target=False):
    features = {"visual": make_features("visual", ROWS, MASK)}
    return shaken(ACF(SPLIT, features, dim=4, hidden=3, parts=2, keep_target=keep_target))


def past_by_loop(m, user, leave_out=None):
    """h_u and alpha of one user, from the equations."""
    w = {name: a(weight) for name, weight in m.named_parameters()}
    parts = ROWS.astype(np.float32).astype(float).reshape(7, 2, 3)
    parts = parts / np.linalg.norm(parts, axis=2, keepdims=True) * MASK[:, None, None]
    g_u, logits, items = w["user_table.weight"][user], [], [i for u, i in TRAIN if u == user and i != leave_out]
    for item in items:
        scores = []
        for part in parts[item]:
            h = w["part_user.weight"] @ g_u + w["part_user.bias"] + w["part_content.weight"] @ part
            scores.append(float((w["part_out.weight"] @ np.maximum(h, 0))[0]))
        beta = np.exp(scores) / np.exp(scores).sum()
        x = sum(b * part for b, part in zip(beta, parts[item]))
        h = w["past_user.weight"] @ g_u + w["past_user.bias"] + w["past_item.weight"] @ w["item_table.weight"][item]
        h = h + w["past_aux.weight"] @ w["aux_table.weight"][item] + w["past_content.weight"] @ x
        logits.append(float((w["past_out.weight"] @ np.maximum(h, 0))[0]))
    alpha = np.exp(logits) / np.exp(logits).sum()
    return sum((al * w["aux_table.weight"][i] for al, i in zip(alpha, items)), np.zeros(4)), alpha


def test_acf_scores_follow_the_equations_and_alpha_adds_up_to_one():
    m = acf()
    scores = m.score([0, 1, 2, 3]).numpy()
    for user in range(4):
        past, alpha = past_by_loop(m, user)
        wanted = (a(m.user_table.weight)[user] + past) @ a(m.item_table.weight).T
        wanted[6] = 0  # item 6 has no training interaction: content does not help it
        np.testing.assert_allclose(scores[user], wanted, atol=1e-5)
        items, weights = m.attention(user)
        assert list(items) == [i for u, i in TRAIN if u == user]
        np.testing.assert_allclose(weights, alpha, atol=1e-5)
        assert weights.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("keep_target", [False, True])
def test_acf_loss_follows_the_equation_and_leaves_the_target_out_of_its_own_history(keep_target):
    m = acf(keep_target)
    g, items, total, squares = a(m.user_table.weight), a(m.item_table.weight), 0.0, 0.0
    for u, i, j in zip(USERS.tolist(), POS.tolist(), NEG.tolist()):
        past, _ = past_by_loop(m, u, None if keep_target else i)
        user = g[u] + past
        total += softplus(user @ items[j] - user @ items[i]) / 4
        squares += sum((x**2).sum() for x in (g[u], items[i], items[j], past))
    assert m.loss(USERS, POS, NEG).item() == pytest.approx(total + 0.03 / 8 * squares, rel=1e-4)


def test_acf_content_of_the_scored_item_is_not_in_its_score():
    m = acf()
    before = m.score([0])[0, 2].item()  # item 2 is not in the history of user 0
    other = ROWS.copy()
    other[2] *= -3
    twin = ACF(SPLIT, {"visual": make_features("visual", other, MASK)}, dim=4, hidden=3, parts=2)
    twin.load_state_dict(m.state_dict())
    assert twin.score([0])[0, 2].item() == pytest.approx(before, abs=1e-6)
    assert abs(twin.score([1])[0, 0].item() - m.score([1])[0, 0].item()) > 1e-6  # user 1 took item 2


def test_acf_refuses_rows_that_cannot_be_cut():
    with pytest.raises(CourseError, match="cannot be cut into 4 parts"):
        ACF(SPLIT, {"visual": make_features("visual", ROWS, MASK)}, parts=4)


# ---- VNPR ----


def vnpr(towers):
    features = {"visual": make_features("visual", ROWS, MASK)}
    return shaken(VNPR(SPLIT, features, dim=3, hidden=(5, 4), towers=towers, dropout=0.0))


def vnpr_by_loop(m, tower, user, item):
    seen = ROWS.astype(np.float32) * MASK[:, None]
    seen = seen - seen[MASK].mean(0)
    seen = seen / np.linalg.norm(seen, axis=1, keepdims=True) * MASK[:, None] * np.sqrt(6)
    warm = 0 if item == 6 else 1
    g_u, t_u = 1 + a(m.user_table.weight)[user], 1 + a(m.taste_table.weight)[user]
    x = np.concatenate([g_u * a(m.item_table.weight)[item] * warm, t_u * seen[item]])
    layers = list(m.towers[tower])
    for at, layer in enumerate(layers):
        x = a(layer.weight) @ x + a(layer.bias)
        x = np.maximum(x, 0) if at < len(layers) - 1 else x
    return float(x[0])


@pytest.mark.parametrize("towers", [1, 2])
def test_vnpr_scores_and_loss_follow_the_equations(towers):
    m = vnpr(towers)
    scores = m.score([0, 3]).numpy()
    for row, user in enumerate((0, 3)):
        for item in range(7):
            wanted = np.mean([vnpr_by_loop(m, t, user, item) for t in range(towers)])
            assert scores[row, item] == pytest.approx(wanted, abs=1e-4)
    total = squares = 0.0
    for u, i, j in zip(USERS.tolist(), POS.tolist(), NEG.tolist()):
        total += softplus(vnpr_by_loop(m, towers - 1, u, j) - vnpr_by_loop(m, 0, u, i)) / 4
        tables = (m.user_table, u), (m.taste_table, u), (m.item_table, i), (m.item_table, j)
        squares += sum((a(table.weight)[row] ** 2).sum() for table, row in tables)
    assert m.loss(USERS, POS, NEG).item() == pytest.approx(total + m.settings["reg"] / 8 * squares, rel=1e-4)


def test_vnpr_two_towers_can_win_by_a_constant_and_one_tower_cannot():
    for towers, cheated in ((2, True), (1, False)):
        m = vnpr(towers)
        before = m.loss(USERS, POS, NEG).item()
        scores = m.score(range(4))
        with torch.no_grad():
            m.towers[0][-1].bias += 50
        moved = m.score(range(4)) - scores
        assert moved.min() > 20 and torch.allclose(
            moved, moved[0, 0], atol=1e-4
        )  # all by the same: no list has changed
        assert (m.loss(USERS, POS, NEG).item() < before - 0.1) == cheated


def test_vnpr_refuses_three_towers():
    with pytest.raises(CourseError, match="give 1"):
        VNPR(SPLIT, {"visual": make_features("visual", ROWS)}, towers=3)


# ---- DVBPR ----

PICTURES = RNG.random((7, 16 * 16 * 3))


def test_dvbpr_linear_is_an_inner_product_of_taste_and_projected_features():
    m = shaken(DVBPR(SPLIT, {"visual": make_features("visual", ROWS, MASK)}, dim=4, network="linear", normalise="none"))
    seen = (ROWS.astype(np.float32) @ a(m.head.weight).T + a(m.head.bias)) * MASK[:, None]
    np.testing.assert_allclose(m.score(range(4)).numpy(), a(m.user_table.weight) @ seen.T, atol=1e-4)
    users, pos, neg = a(m.user_table.weight)[USERS], seen[POS], seen[NEG]
    wanted = softplus((users * neg).sum(1) - (users * pos).sum(1)).mean()
    wanted += 0.03 / 8 * sum((x**2).sum() for x in (users, pos, neg))
    assert m.loss(USERS, POS, NEG).item() == pytest.approx(wanted, rel=1e-4)


def test_dvbpr_first_layer_is_the_convolution_of_the_rows_as_pictures():
    m = DVBPR(SPLIT, {"visual": make_features("visual", PICTURES)}, channels=(2, 3, 4), dim=4)
    picture = np.pad(PICTURES[2].reshape(16, 16, 3) * 2 - 1, ((1, 1), (1, 1), (0, 0)))
    kernel = a(m.body[0].weight)  # (out, colour, down, right)
    by_hand = sum(
        kernel[1, c, y, x] * picture[4 + y, 6 + x, c] for c in range(3) for y in range(3) for x in range(3)
    )  # place (2, 3) of the map: every second pixel
    rows = m.content("visual")[2:3].view(-1, 16, 16, 3).permute(0, 3, 1, 2) * 2 - 1
    assert m.body[0](rows)[0, 1, 2, 3].item() == pytest.approx(by_hand, abs=1e-4)


@pytest.mark.parametrize(("trained", "moves"), [("all", True), ("head", False)])
def test_dvbpr_trains_the_convolutions_only_end_to_end(trained, moves):
    m = DVBPR(SPLIT, {"visual": make_features("visual", PICTURES)}, channels=(2, 3, 4), dim=4, trained=trained)
    before, head = m.body[0].weight.clone(), m.head.weight.clone()
    train(m, SPLIT, n_epochs=2, progress=False, metric="recall@3")
    assert torch.equal(before, m.body[0].weight) != moves
    assert not torch.equal(head, m.head.weight)


def test_dvbpr_refuses_rows_that_are_no_pictures_and_unknown_ways():
    with pytest.raises(CourseError, match="no square pictures"):
        DVBPR(SPLIT, {"visual": make_features("visual", ROWS)})
    with pytest.raises(CourseError, match="trained='body'"):
        DVBPR(SPLIT, {"visual": make_features("visual", PICTURES)}, trained="body")


@pytest.mark.parametrize("model", [ACF, VNPR, DVBPR])
def test_same_seed_same_scores_and_training_beats_the_start(model):
    split, features, _ = planted(n_users=60, n_items=40, per_user=8, modalities=("visual",))
    settings = {"network": "linear"} if model is DVBPR else {}
    runs = []
    for _ in range(2):
        m = model(split, features, seed=3, **settings)
        history = train(m, split, n_epochs=6, lr=1e-2, progress=False, seed=3)
        runs.append(m.score(range(60)))
    assert torch.equal(*runs) and history.rows[-1]["loss"] < history.rows[0]["loss"]


# ---- parts of pictures ----


def test_tiles_are_the_parts_row_by_row_and_colours_are_counted_in_each():
    picture = np.arange(36).reshape(1, 6, 6, 1)
    cut = tiles(picture, 3)
    assert cut.shape == (1, 9, 2, 2, 1)
    assert cut[0, 5, ..., 0].tolist() == [[16, 17], [22, 23]]  # second row of parts, third part
    red = np.zeros((1, 4, 4, 3))
    red[..., 0] = 1
    red[0, :2, :2] = 0  # the first of four parts is black
    counts = colour_counts(tiles(red, 2))
    assert counts.shape == (1, 4, 128) and np.allclose(counts.sum(2), 1)
    assert counts[0, 0].argmax() == 0 and counts[0, 3].argmax() == 3 * 4 + 3  # hue 0, full saturation, full value
    with pytest.raises(CourseError, match="equal parts"):
        tiles(picture, 4)


def test_patch_features_of_the_shop(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    dataset = load_dataset("sticker_shop")
    found = patch_features(dataset, "pixels", width=8, grid=2)
    assert found.matrix.shape == (436, 4 * 8)
    each = found.matrix.reshape(-1, 8)
    assert np.abs(each.mean(0)).max() < 1e-3 and np.allclose(each.std(0)[:4], 1, atol=0.02)
    with pytest.raises(CourseError, match="no parts here"):
        patch_features(dataset, "minilm")


# ---- visual diversity ----


def test_distance_to_history_by_hand_is_scale_free_and_skips_what_is_missing():
    rows = np.array([[1, 0], [0, 1], [2, 0], [0, 3], [1, 1], [9, 9], [1, 0]], dtype=float)
    mask = np.array([1, 1, 1, 1, 1, 0, 1], dtype=bool)
    features = make_features("visual", rows, mask)
    lists = np.array([[2, 3], [4, -1], [5, -1]])  # item 5 has no picture
    found = distance_to_history(lists, np.array([0, 1, 3]), SPLIT, features)
    root = np.sqrt(0.5)
    user0 = [1, 0, root, 0, 1, root]  # cosines of (0, 1, 4) with 2, then with 3
    assert found[0] == pytest.approx(1 - np.mean(user0))
    assert found[1] == pytest.approx(1 - (root + root) / 2)
    assert np.isnan(found[2])
    scaled = make_features("visual", rows * np.arange(1, 8)[:, None], mask)
    np.testing.assert_allclose(distance_to_history(lists, [0, 1, 3], SPLIT, scaled), found)
    with pytest.raises(CourseError, match="one row for each user"):
        distance_to_history(lists, [0], SPLIT, features)


def test_published_distance_has_no_scale_and_depends_on_the_map():
    features = make_features("visual", np.random.default_rng(0).normal(size=(40, 8)))
    history, listed = np.arange(10), np.arange(10, 40)
    found = [tsne_distance(history, listed, features, seed) for seed in (1234, 1)]
    wide = make_features("visual", features.matrix * 100)
    assert found[0] > 0 and abs(found[1] / found[0] - 1) > 1e-3  # another start, another number
    assert tsne_distance(history, listed, wide) < 20 * found[0]  # a map forgets the scale
    with pytest.raises(CourseError, match="draws no map"):
        tsne_distance(history[:1], listed[:2], features)


def test_reference_space_sees_looks_and_is_no_tested_space():
    dataset = load_dataset("sticker_shop")
    space = reference_space(dataset)
    assert space.matrix.shape == (436, 4 * 4 * 8 + 6) and np.isfinite(space.matrix).all()
    shape = truth(dataset).attributes["shape"].to_numpy()
    unit = space.l2().matrix
    cosine, same = unit @ unit.T, shape[:, None] == shape[None]
    off = ~np.eye(436, dtype=bool)
    assert cosine[same & off].mean() > cosine[~same].mean() + 0.02


# ---- planted tastes ----


def test_recovery_by_hand():
    split = make_split([(0, 0), (1, 1)], n_users=2, n_items=4)
    likes = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)
    scores = np.array([[9.0, 2.0, 1.0, 3.0], [1, 2, 3, 4]])
    found = taste_recovery(scores, likes, split)  # item 0 is known; liked 1 beats 2, loses to 3
    assert found[0] == pytest.approx(0.5) and np.isnan(found[1])
    assert taste_recovery(scores, likes, split, np.array([1, 2]))[0] == pytest.approx(1.0)
    assert taste_recovery(np.zeros((2, 4)), likes, split)[0] == pytest.approx(0.5)  # ties are chance
    with pytest.raises(CourseError, match="likes"):
        taste_recovery(scores[:1], likes, split)


def test_liked_and_the_oracle_recovers_them():
    dataset = load_dataset("sticker_shop")
    planted_truth = truth(dataset)
    likes = liked(planted_truth, "colour")
    user = 0
    words = set(planted_truth.tastes.loc[user, "colour_first"].split("|"))
    words |= set(planted_truth.tastes.loc[user, "colour_last"].split("|"))
    assert np.array_equal(likes[user], planted_truth.attributes["colour"].isin(words).to_numpy())
    split = make_split([(0, 0)], n_users=dataset.n_users, n_items=dataset.n_items)
    topic = liked(planted_truth, "topic")
    assert np.nanmean(taste_recovery(planted_truth.utility, topic, split)) > 0.7
    assert np.nanmean(taste_recovery(planted_truth.utility[:, ::-1], topic, split)) == pytest.approx(0.5, abs=0.05)


def test_one_taste_shop_hangs_on_the_attribute_and_its_parts_do_not_overlap():
    values = np.array(["red", "blue", "green", "white"] * 25)
    split = one_taste_shop(values, seed=1, n_users=80)
    every = np.concatenate([split.train, split.valid, split.test])
    assert len(np.unique(every, axis=0)) == len(every)
    assert not np.isin(split.train[:, 1], split.cold_items).any() and len(split.cold_items) >= 15
    assert np.isin(split.valid[:, 1], split.train[:, 1]).all()
    shares = [
        pd.Series(values[split.train[split.train[:, 0] == u, 1]]).value_counts(normalize=True)[:2].sum()
        for u in np.unique(split.train[:, 0])
    ]
    assert np.mean(shares) > 0.75  # two liked values of four would be a half by chance
    with pytest.raises(CourseError, match="needs more"):
        one_taste_shop(np.array(["red", "blue"]))


# ---- the study ----


def frame_of(cells, noise=0.0):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"recommender": r, "extractor": e, "seed": s, "recall": v + noise * rng.normal()}
            for (r, e), v in cells.items()
            for s in (0, 1)
        ]
    )


def test_spreads_and_shares_by_hand():
    frame = frame_of({("a", "x"): 0.1, ("a", "y"): 0.2, ("b", "x"): 0.5, ("b", "y"): 0.6})
    found = study.spreads(frame)
    assert found == {"recommender": pytest.approx(0.4), "extractor": pytest.approx(0.1), "seed": pytest.approx(0)}
    shares = study.variance_shares(frame)
    assert shares.sum() == pytest.approx(1)
    assert shares["recommender"] == pytest.approx(16 / 17) and shares["both together"] == pytest.approx(0, abs=1e-12)
    assert study.variance_shares(frame_of({("a", "x"): 1, ("a", "y"): 0, ("b", "x"): 0, ("b", "y"): 1}))[
        "both together"
    ] == pytest.approx(1)
    with pytest.raises(CourseError, match="without one of the extractors"):
        study.spreads(frame.iloc[:6])


def test_complete_drops_a_recommender_that_lacks_a_cell_and_a_seed_that_has_begun():
    frame = frame_of({("a", "x"): 0.1, ("a", "y"): 0.2, ("b", "x"): 0.5, ("b", "y"): 0.6, ("bpr", "none"): 0.3})
    assert study.complete(frame).equals(frame)
    in_work = study.complete(frame.drop(index=7))  # b lacks y in seed 1
    assert set(in_work.recommender) == {"a", "b", "bpr"} and set(in_work.seed) == {0}
    without = study.complete(frame.drop(index=6))  # and here in seed 0
    assert set(without.recommender) == {"a", "bpr"} and set(without.seed) == {0, 1}


def test_end_to_end_resumes_and_has_the_control_with_wrong_pictures():
    split, named = one_taste_shop(np.array(["red", "blue", "green", "white"] * 40), n_users=50), []
    pictures = make_features("visual", np.random.default_rng(0).random((160, 16 * 16 * 3)))
    frozen = {"net": make_features("visual", np.random.default_rng(1).normal(size=(160, 8)))}
    short = {"seeds": (0, 1), "n_epochs": 1}
    found = study.end_to_end(split, pictures, frozen, tick=lambda name, rows: named.append(name), **short)
    ways = ["end to end", "end to end, wrong pictures", "frozen at random", "net"]
    assert found["model"].tolist() == 2 * ways and found["seed"].tolist() == 4 * [0] + 4 * [1]
    assert named[1] == "end to end, wrong pictures 0" and len(named) == 8
    known = found.drop(index=[1, 6]).to_dict("records")
    again = study.end_to_end(split, pictures, frozen, known=known, tick=lambda name, rows: named.append(name), **short)
    assert named[8:] == ["end to end, wrong pictures 0", "frozen at random 1"] and again.equals(found)


def test_grid_resumes_and_names_its_cells():
    split = one_taste_shop(np.array(["red", "blue", "green", "white"] * 40), n_users=50)
    features = {"visual": make_features("visual", np.random.default_rng(0).normal(size=(160, 8)))}
    spaces = {"a": features["visual"], "shuffled": features["visual"].shuffled(0)}
    names = ("bpr", "vbpr")
    frame, models = study.grid(split, spaces, spaces, recommenders=names, n_epochs=2, reference=features["visual"])
    assert list(zip(frame.recommender, frame.extractor)) == [("bpr", "none"), ("vbpr", "a"), ("vbpr", "shuffled")]
    assert {"recall", "ndcg", "coverage", "aplt", "arp", "ild", "distance", "shelf"} <= set(frame.columns)
    known = frame.to_dict("records")[:2]
    again, more = study.grid(split, spaces, spaces, recommenders=names, n_epochs=2, reference=features["visual"],
                             known=known)  # fmt: skip
    assert list(more) == [("vbpr", "shuffled", 0)] and again.equals(frame[again.columns])
    with pytest.raises(CourseError, match="recommender of this study"):
        study.fit_on("vbprr", split, features["visual"])


def test_a_stored_row_made_with_other_settings_is_made_anew():
    rows = [{"recommender": name} for name in ("bpr", "vnpr")]
    settings = {**study.LOOP, **study.SETTINGS}
    assert study.still_valid({"meta": {"settings": settings}, "rows": rows}) == rows
    settings["vnpr"] = {**settings["vnpr"], "reg": 9.0}
    assert study.still_valid({"meta": {"settings": settings}, "rows": rows}) == rows[:1]
    assert study.still_valid({"meta": {"settings": {**settings, "n_epochs": 1}}, "rows": rows}) == []
