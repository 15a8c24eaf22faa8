"""Fine features: the descriptors on drawn pictures, the content-style model against loops, what the study measures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw
from training_helpers import make_split

from utils.challenges import fine_features as fine
from utils.errors import CourseError
from utils.features import Features
from utils.models.content_style import ContentStyle
from utils.studies import fine_grained_features as study


def drawn(kind, colour, size=(96, 96)):
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    box = (size[0] // 4, size[1] // 4, 3 * size[0] // 4, 3 * size[1] // 4)
    (draw.ellipse if kind == "disc" else draw.rectangle)(box, fill=colour)
    return image


# ---- the descriptors ----


def test_sobel_on_a_step_is_four_and_nothing_elsewhere():
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, 4:] = 255
    strength = fine.edge_strength(pixels)
    np.testing.assert_allclose(strength[:, 3:5], 4.0, rtol=1e-5)
    np.testing.assert_allclose(strength[:, [0, 1, 2, 5, 6, 7]], 0.0, atol=1e-6)
    np.testing.assert_allclose(fine.edge_strength(pixels.transpose(1, 0, 2)), strength.T)


def test_sobel_is_the_sum_over_the_nine_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    grey = pixels @ np.array([0.299, 0.587, 0.114]) / 255
    right = sum(fine.SOBEL[i, j] * grey[2 + i - 1, 3 + j - 1] for i in range(3) for j in range(3))
    down = sum(fine.SOBEL[j, i] * grey[2 + i - 1, 3 + j - 1] for i in range(3) for j in range(3))
    assert fine.edge_strength(pixels)[2, 3] == pytest.approx(np.hypot(right, down), rel=1e-4)


@pytest.mark.parametrize("kind", ["disc", "square"])
def test_the_foreground_of_a_red_thing_is_the_thing(kind):
    pixels = fine.picture(drawn(kind, (220, 20, 20)))
    red = (pixels == (220, 20, 20)).all(2)
    mask = fine.foreground(pixels)
    assert (mask & red).sum() / (mask | red).sum() > 0.9
    histogram = fine.colour_histogram(pixels, mask)
    cell = (220 * 6 // 256) * 36
    assert histogram.argmax() == cell and histogram[cell] > 0.9 and histogram.sum() == pytest.approx(1)


def test_without_the_mask_white_is_the_colour_and_the_hole_of_a_ring_counts_as_inside():
    pixels = fine.picture(drawn("disc", (220, 20, 20)))
    assert fine.colour_histogram(pixels).argmax() == 6**3 - 1
    ring = drawn("disc", (20, 20, 220))
    ImageDraw.Draw(ring).ellipse((36, 36, 60, 60), fill="white")
    assert fine.foreground(fine.picture(ring))[48, 48]


def test_an_even_picture_has_no_outline_and_keeps_its_colour():
    pixels = np.full((96, 96, 3), 130, dtype=np.uint8)
    assert fine.foreground(pixels).all() and not fine.edge_map(pixels).any()
    assert fine.colour_histogram(pixels, fine.foreground(pixels)).max() == 1


def test_the_edge_map_knows_a_disc_from_a_square_and_no_colour():
    maps = {
        (kind, colour): fine.edge_map(fine.picture(drawn(kind, colour))).ravel()
        for kind in ("disc", "square")
        for colour in ((200, 0, 0), (0, 0, 200))
    }

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    same_shape = cosine(maps["disc", (200, 0, 0)], maps["disc", (0, 0, 200)])
    other_shape = cosine(maps["disc", (200, 0, 0)], maps["square", (200, 0, 0)])
    assert same_shape > 0.95 > 0.7 > other_shape


def test_a_thing_that_touches_the_border_is_whole():
    pixels = np.full((96, 96, 3), 255, dtype=np.uint8)
    pixels[20:70, 50:] = (20, 160, 20)
    mask, green = fine.foreground(pixels), (pixels == (20, 160, 20)).all(2)
    assert (mask & green).sum() / (mask | green).sum() > 0.9
    white = np.full((96, 96, 3), 255, dtype=np.uint8)
    assert fine.foreground(white).all()


def test_tall_things_stay_tall():
    tall = fine.edge_map(fine.picture(drawn("square", (0, 0, 0), (40, 96)))) > 0
    assert tall.any(1).sum() > 1.5 * tall.any(0).sum()


def test_a_grid_that_does_not_fit_is_a_sentence():
    with pytest.raises(CourseError, match="grid of 16 x 16"):
        fine.edge_map(np.zeros((50, 50, 3), dtype=np.uint8))


def test_fine_features_of_a_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    paths = []
    for n, (kind, colour) in enumerate([("disc", "red"), ("disc", "blue"), ("square", "red"), ("square", "blue")]):
        paths.append(tmp_path / f"{n}.png")
        drawn(kind, colour).save(paths[-1])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    paths += [tmp_path / "broken.png", None]
    names = np.array([f"i{n}" for n in range(6)])

    class Shop:
        item_names = names

        def image_paths(self):
            return paths

    content = Features("visual", np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32), names, [True] * 6, {})
    made = fine.fine_features(Shop(), content)
    assert made.mask.tolist() == [True] * 4 + [False] * 2
    where = fine.blocks(made)
    assert list(where) == ["colour", "shape", "content"] and where["shape"] == slice(216, 472)
    colour, shape = made.matrix[:, where["colour"]], made.matrix[:, where["shape"]]
    assert colour[0] @ colour[2] > 0.9 > 0.2 > colour[0] @ colour[1]
    np.testing.assert_allclose((colour[:4] ** 2).sum(1), 1, rtol=1e-5)
    assert np.abs(shape[0] - shape[2]).sum() > np.abs(shape[0] - shape[1]).sum()
    again = fine.fine_features(Shop(), content)  # from the cache
    np.testing.assert_array_equal(again.matrix, made.matrix)
    drawn("square", "green").save(paths[0])  # another picture: measured anew
    assert not np.array_equal(fine.fine_features(Shop(), content).matrix, made.matrix)


def made_features(n_items=7, widths=(6, 4, 5), seed=0, mask=None):
    matrix = np.random.default_rng(seed).normal(size=(n_items, sum(widths))).astype(np.float32)
    about = {"blocks": dict(zip(fine.BLOCKS, widths))}
    mask = np.ones(n_items, bool) if mask is None else np.array(mask)
    return Features("visual", matrix * mask[:, None], np.array([f"i{n}" for n in range(n_items)]), mask, about)


def test_permuting_a_block_leaves_the_others_and_the_missing_rows():
    features = made_features(mask=[True] * 6 + [False])
    other = fine.permuted(features, "shape", seed=1)
    where = fine.blocks(features)
    for name in fine.BLOCKS:
        same = np.array_equal(other.matrix[:, where[name]], features.matrix[:, where[name]])
        assert same == (name != "shape")
    columns = where["shape"]
    assert {*map(bytes, other.matrix[:, columns])} == {*map(bytes, features.matrix[:, columns])}
    assert not other.matrix[6].any()
    with pytest.raises(CourseError, match="shape"):
        fine.permuted(features, "shap")
    with pytest.raises(CourseError, match="not made of blocks"):
        fine.blocks(Features("visual", features.matrix, features.item_names, features.mask, {}))


# ---- the model, against its equations in loops ----

TRAIN = [(0, 0), (0, 1), (1, 1), (1, 2), (1, 3), (2, 0), (2, 3), (3, 4), (3, 1), (3, 0)]
SPLIT = make_split(TRAIN, test=[(0, 5)], n_users=4, n_items=7)  # items 5 and 6 are cold
FEATURES = made_features(mask=[True, True, True, False, True, True, True])
USERS, POS, NEG = torch.tensor([0, 1, 3, 2]), torch.tensor([1, 2, 4, 0]), torch.tensor([3, 4, 2, 1])
SETTINGS = [
    {},
    {"temperature": 10.0},
    {"attention": "uniform"},
    {"parts": ("shape", "content")},
    {"attention": "network"},
    {"attention": "network", "combine": "sum", "scorer": "mlp"},
]


def loops(model):
    """Scores and weights of all pairs, number by number."""

    def number(tensor):
        return tensor.detach().double().numpy()

    def linear(layer, x):
        bias = 0 if layer.bias is None else number(layer.bias)
        return number(layer.weight) @ x + bias

    s, where, parts = model.settings, fine.blocks(FEATURES), model.parts
    scores, alphas = np.zeros((4, 7)), np.zeros((4, 7, len(parts)))
    for u in range(4):
        g = number(model.user_table.weight)[u]
        for i in range(7):
            item = number(model.item_table.weight)[i] if i < 5 else np.zeros(len(g))
            z = []
            for part in parts:
                block = FEATURES.matrix[:, where[part]].astype(float)
                x = block[i] - block[FEATURES.mask].mean(0)
                x = x / np.linalg.norm(x)
                net = model.encoders[part]
                out = linear(net[3], np.maximum(linear(net[0], x), 0))
                z.append(out / np.linalg.norm(out) if FEATURES.mask[i] else 0 * out)
            if s["attention"] == "network":
                mixed = [g * v if s["combine"] == "product" else g + v for v in z]
                logits = [linear(model.attend[2], np.maximum(linear(model.attend[0], m), 0))[0] for m in mixed]
            elif s["attention"] == "table":
                logits = number(model.logits.weight)[u]
            else:
                logits = [0.0] * len(parts)
            weights = np.exp(np.array(logits) / s["temperature"])
            alphas[u, i] = weights / weights.sum()
            h = item + sum(a * v for a, v in zip(alphas[u, i], z))
            if s["scorer"] == "dot":
                scores[u, i] = g @ h
            else:
                scores[u, i] = linear(model.head[3], np.maximum(linear(model.head[0], np.r_[g, h]), 0))[0]
    return scores, alphas


@pytest.fixture(params=SETTINGS, ids=str)
def model(request):
    made = ContentStyle(SPLIT, {"visual": FEATURES}, seed=3, dim=8, hidden=9, dropout=0.0, **request.param)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return made


def test_scores_and_weights_are_the_equations(model):
    scores, alphas = loops(model)
    np.testing.assert_allclose(model.score(np.arange(4)), scores, atol=1e-5)
    np.testing.assert_allclose(model.weights(np.arange(4)), alphas, atol=1e-5)
    np.testing.assert_allclose(model.weights([1, 1]).sum(-1), 1, atol=1e-6)
    out = torch.empty(1, 7)
    assert model.score([2], out=out) is out
    np.testing.assert_allclose(out[0], scores[2], atol=1e-5)


def test_the_loss_is_the_equation(model):
    scores, _ = loops(model)
    triples = list(zip(USERS.tolist(), POS.tolist(), NEG.tolist()))
    expected = np.mean([np.log1p(np.exp(scores[u, j] - scores[u, i])) for u, i, j in triples])
    user, item = (table.weight.detach().double().numpy() for table in (model.user_table, model.item_table))
    squares = sum((user[u] ** 2).sum() + (item[i] ** 2).sum() + (item[j] ** 2).sum() for u, i, j in triples)
    expected += model.settings["reg"] * squares / 8
    if model.settings["attention"] == "table":
        logits = model.logits.weight.detach().double().numpy()
        expected += model.settings["flat"] * sum((logits[u] ** 2).sum() for u, _, _ in triples) / 8
    loss = model.train().loss(USERS, POS, NEG)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_every_pair_on_its_own_scores_as_in_the_table(model):
    z, users, items = model.encoded(USERS), model.user_table(USERS), model.ids(USERS)
    with torch.no_grad():
        single = model.pairs(USERS, users, items, z)
    torch.testing.assert_close(single, model.score(USERS)[range(4), USERS], rtol=0, atol=1e-5)


def test_a_hot_softmax_is_flat():
    weights = {}
    for temperature in (1.0, 10.0):
        hot = ContentStyle(SPLIT, {"visual": FEATURES}, temperature=temperature)
        torch.nn.init.normal_(hot.logits.weight, generator=torch.Generator().manual_seed(0))
        weights[temperature] = hot.weights(np.arange(4)).std(-1).mean()
    assert weights[10.0] < 0.2 * weights[1.0]


@pytest.mark.parametrize(
    ("settings", "features", "sentence"),
    [
        ({"attention": "tabel"}, FEATURES, "table"),
        ({"combine": "products"}, FEATURES, "product"),
        ({"scorer": "dott"}, FEATURES, "dot"),
        ({"parts": ("colour", "shap")}, FEATURES, "shape"),
        ({"temperature": 0.0}, FEATURES, "above 0"),
        ({}, replace(FEATURES, provenance={}), "not made of blocks"),
    ],
)
def test_bad_settings_are_sentences(settings, features, sentence):
    with pytest.raises(CourseError, match=sentence):
        ContentStyle(SPLIT, {"visual": features}, **settings)


# ---- what the study measures ----


@pytest.fixture(scope="module")
def world():
    """180 items whose three labels are independent, with descriptors that show one each."""
    rng = np.random.default_rng(0)
    labels = {name: rng.integers(6, size=180).astype(str) for name in fine.BLOCKS}
    blocks = [np.eye(6)[label.astype(int)] + 0.1 * rng.normal(size=(180, 6)) for label in labels.values()]
    about = {"blocks": dict.fromkeys(fine.BLOCKS, 6)}
    names = np.array([f"i{n}" for n in range(180)])
    features = Features("visual", np.concatenate(blocks, 1).astype(np.float32), names, np.ones(180, bool), about)
    return labels, features


def test_planted_users_take_what_they_like_and_the_twin_does_not(world):
    labels, _ = world
    people = study.plant(labels, n_users=90, strength=3.0)
    twin = study.plant(labels, n_users=90, strength=0.0)
    assert sorted(np.unique(people.types, return_counts=True)[1]) == [30, 30, 30]
    np.testing.assert_array_equal(people.types, twin.types)
    np.testing.assert_array_equal(people.liked, twin.liked)
    sizes = [len(people.split.part(part)) for part in ("train", "valid", "test")]
    assert sizes == [90 * 16, 90 * 2, 90 * 2]
    assert people.liked[tuple(people.split.train.T)].mean() > 0.6 > 0.3 > twin.liked[tuple(twin.split.train.T)].mean()
    for kind, mine in zip(people.types[:9], people.liked[:9]):
        values = np.unique(labels[kind][mine])
        assert np.isin(labels[kind], values).tolist() == mine.tolist()
    with pytest.raises(CourseError, match="n_taken"):
        study.plant(labels, n_taken=180)


def test_attention_finds_a_sharp_taste_and_nothing_in_the_twin(world):
    labels, features = world
    found = {}
    for strength in (4.0, 0.0):
        people = study.plant(labels, n_users=120, strength=strength)
        model, history = study.fit_style(people.split, features, n_epochs=40, lr=2e-2)
        weights = study.user_weights(model, people.split)
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
        found[strength] = study.recovery(study.relative(weights), people.types)
        if strength:
            losses = study.faithfulness(model, features, people.split, weights, n_shuffles=1).mean()
            assert losses["most"] > losses["least"] + 0.02
            moved = study.faithfulness(model, features, people.split, weights, measure="scores", n_shuffles=1).mean()
            assert moved["most"] > moved["middle"] > moved["least"] > 0
            same = study.with_features(model, features)
            torch.testing.assert_close(same.score([0, 1]), model.score([0, 1]))
            likeness = study.history_likeness(features, people.split)
            assert study.recovery(likeness, people.types) > 0.9
    assert found[4.0] > 0.7 and 0.15 < found[0.0] < 0.55


def test_recovery_confusion_and_spread_by_hand():
    weights = pd.DataFrame(
        [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.4, 0.35, 0.25]], columns=fine.BLOCKS, index=pd.Index([0, 2, 3])
    )
    types = np.array(["colour", "unused", "shape", "content"])
    assert study.recovery(weights, types) == pytest.approx(2 / 3)
    table = study.confusion(weights, types)
    assert table.loc["content"].tolist() == [1, 0, 0] and list(table.index) == list(fine.BLOCKS)
    assert study.relative(weights).mean().abs().max() < 1e-12
    assert study.recovery(study.relative(weights), types) == pytest.approx(1 / 3 + 1 / 3)
    assert study.spread(weights * 0 + 1 / 3) == 0 < study.spread(weights)
    assert study.repeatability(weights, weights) == pytest.approx(1)
    assert study.repeatability(weights, weights * 0) == 0


def test_auc_by_hand():
    split = make_split([(0, 0), (1, 1)], test=[(0, 1), (0, 2), (1, 3)], n_users=2, n_items=5)
    scores = torch.tensor([[9.0, 3.0, 1.0, 2.0, 1.0], [0.0, 9.0, 0.0, 0.0, 1.0]])
    auc = study.auc_by_user(scores, split)
    assert auc[0] == pytest.approx((1.0 + 0.25) / 2)  # item 1 beats both; item 2 ties with 4, loses to 3
    assert auc[1] == pytest.approx((0.5 + 0.5 + 0) / 3)


def test_moved_scores_are_one_minus_the_correlation(world):
    _, features = world
    split = make_split([(0, 0), (1, 1)], test=[(0, 2), (1, 3)], n_users=2, n_items=180)
    model = ContentStyle(split, {"visual": features}, parts=("colour", "shape"), flat=0.0)
    weights = pd.DataFrame([[0.4, 0.6], [0.7, 0.3]], columns=["colour", "shape"])
    found = study.faithfulness(model, features, split, weights, measure="scores", n_shuffles=1, seed=5)
    other = study.with_features(model, fine.permuted(features, "shape", 5)).score([0, 1])
    expected = 1 - np.corrcoef(model.score([0, 1])[0], other[0])[0, 1]
    assert list(found) == ["most", "least"] and found.loc[0, "most"] == pytest.approx(expected, abs=1e-4)
    with pytest.raises(CourseError, match="auc"):
        study.faithfulness(model, features, split, weights, measure="aucs")


def test_halves_share_no_row_and_miss_none():
    split = make_split([(0, 0), (0, 1), (0, 2), (1, 0), (2, 3), (2, 4)], n_users=3, n_items=5)
    one, other = study.halves(split, seed=1)
    both = sorted(map(tuple, np.concatenate([one.train, other.train]).tolist()))
    assert both == sorted(map(tuple, split.train.tolist()))
    assert np.bincount(one.train[:, 0], minlength=3).tolist() == [2, 1, 1]


def test_favourites_follow_the_part_and_name_a_wrong_one(world):
    labels, features = world
    people = study.plant(labels, n_users=30, strength=3.0)
    model = ContentStyle(people.split, {"visual": features})
    best = study.favourites(model, 3, "shape", candidates=np.arange(20), top_k=4)
    with torch.no_grad():
        score = model.encoded()[:20, 1] @ model.user_table.weight[3]
    assert best.tolist() == torch.argsort(-score)[:4].tolist()
    with pytest.raises(CourseError, match="colour"):
        study.favourites(model, 0, "color")


# ---- plots, and the variants that are compared ----


def test_every_plot_draws(tmp_path):
    from utils.plots import fine as plots_fine
    from utils.plots.style import png

    drawn("disc", "red").save(tmp_path / "a.png")

    class Shop:
        def image_paths(self):
            return [tmp_path / "a.png"]

    rows = np.random.default_rng(0).dirichlet([5, 5, 5], size=9)
    weights = pd.DataFrame(rows, columns=fine.BLOCKS)
    types = np.array(list(fine.BLOCKS) * 3)
    hurt = pd.DataFrame(rows, columns=["most", "middle", "least"])
    for figure in (
        plots_fine.descriptors(Shop(), [0], title="one"),
        plots_fine.triangles({"a": weights, "b": weights}, {"a": types, "b": types}),
        plots_fine.losses({"a": hurt, "b": hurt}),
        plots_fine.by_type({"a": weights.groupby(types).mean()}),
    ):
        assert png(figure)[:4] == b"\x89PNG"
    with pytest.raises(CourseError, match="no item"):
        plots_fine.descriptors(Shop(), [])


def test_variants_and_the_rewired_log(world):
    labels, features = world
    split = study.plant(labels, n_users=40, strength=3.0).split
    models = study.fit_variants(split, features, names=["colour only", "equal weights"], n_epochs=1)
    assert models["colour only"].parts == ("colour",) and len(models["equal weights"].parts) == 3
    assert set(study.judged(models["colour only"], split)) == {"recall@20", "AUC"}
    with pytest.raises(CourseError, match="colour only"):
        study.fit_variants(split, features, names=["color only"])
    twin = study.rewired(split, seed=1)
    before, after = (np.bincount(s.train[:, 0], minlength=40) for s in (split, twin))
    assert (after <= before).all() and after.sum() > 0.9 * before.sum()
    everything = np.concatenate([twin.train, twin.valid, twin.test])
    assert len(np.unique(everything, axis=0)) == len(everything)
    assert (before - after).sum() < 0.1 * len(split.train)
