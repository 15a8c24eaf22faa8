"""A model that is kept and loaded says the same, on the same data only, and its folder cannot run code."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from serving_helpers import named_shop
from training_helpers import make_features, make_split, planted

from utils.challenges.reviews import EdgeReviews
from utils.errors import CourseError
from utils.models import ALL, MODELS, Recommender, TrainedRecommender, make_model
from utils.models.bpr import BPR
from utils.models.itemknn import ItemKNN
from utils.serving import keep, load_model, save_model
from utils.serving.written import NotPlain, put_together, take_apart
from utils.training import fit, train

SHOP, SPLIT, FEATURES = named_shop()
USERS = np.arange(SPLIT.n_users)


def holes(features):
    """Each modality is missing for some items."""
    rng = np.random.default_rng(0)
    return {m: make_features(m, f.matrix, rng.random(len(f.matrix)) > 0.2) for m, f in features.items()}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_says_the_same_to_the_last_digit(name, tmp_path):
    features = holes(FEATURES)
    model, _ = fit(name, SPLIT, features, seed=3, n_epochs=2)
    loaded = load_model(save_model(model, tmp_path / "kept"), SPLIT, features)
    assert type(loaded) is type(model) and loaded.settings == model.settings and loaded.seed == 3
    assert torch.equal(loaded.score(USERS), model.score(USERS))
    assert loaded.notes == model.notes and loaded.modalities == model.modalities
    files = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert files[0] == "model.json" and len(files) == 2 and files[1].endswith(".safetensors")


def challenge(name):
    """(features, settings) that let a model of part 2 learn from SPLIT."""
    rng = np.random.default_rng(0)
    if name == "egcf":
        pairs = np.unique(SPLIT.train, axis=0)
        vectors = rng.normal(size=(len(pairs), 5)).astype(np.float32)
        return {}, {"reviews": EdgeReviews(pairs, vectors, np.ones(len(pairs), dtype=bool))}
    visual = FEATURES["visual"]
    if name == "content_style":
        return {"visual": replace(visual, provenance={"blocks": {"content": 16, "colour": 8}})}, {}
    return {"visual": visual}, {"network": "linear"} if name == "dvbpr" else {}


@pytest.mark.parametrize("name", sorted(set(ALL) - set(MODELS)))
def test_the_models_of_part_2_too(name, tmp_path):
    features, settings = challenge(name)
    model = ALL[name](SPLIT, features, seed=2, **settings)
    train(model, SPLIT, n_epochs=2, progress=False)
    save_model(model, tmp_path)
    given = {"reviews": settings["reviews"]} if name == "egcf" else {}
    loaded = load_model(tmp_path, SPLIT, features, **given)
    assert torch.equal(loaded.score(USERS), model.score(USERS))
    if name == "egcf":
        with pytest.raises(CourseError, match="needs reviews=, which no file can hold; pass reviews="):
            load_model(tmp_path, SPLIT)
        with pytest.raises(CourseError, match="scores otherwise than when it was kept"):
            load_model(tmp_path, SPLIT, reviews=given["reviews"].shuffled())
    with pytest.raises(CourseError, match="leave out dim="):
        load_model(tmp_path, SPLIT, features, dim=8, **given)


def test_what_was_counted_is_read_and_not_counted_again(tmp_path, monkeypatch):
    counted = [name for name, model in MODELS.items() if not issubclass(model, TrainedRecommender)]
    models = {name: make_model(name, SPLIT, FEATURES) for name in counted}
    for name, model in models.items():
        save_model(model, tmp_path / name)
        monkeypatch.setattr(type(model), "build", lambda self: 1 / 0)
    for name, model in models.items():
        loaded = load_model(tmp_path / name, SPLIT, FEATURES)
        assert torch.equal(loaded.score(USERS), model.score(USERS))
        assert set(vars(model)) - set(vars(loaded)) == ({"tables", "groups"} if name == "ials_content" else set())


def test_the_log_and_the_features_stay_with_whoever_has_them(tmp_path):
    def size(name):
        return sum(array.size for array in keep.load_file(next((tmp_path / name).glob("*.safetensors"))).values())

    for name in ("itemknn", "itemknn_multimodal", "ials_content", "vbpr"):
        model = make_model(name, SPLIT, FEATURES)
        save_model(model, tmp_path / name)
        arrays = keep.load_file(next((tmp_path / name).glob("*.safetensors")))
        assert not [key for key in arrays if "history" in key or "content_" in key or "tables" in key], name
    kept = ItemKNN(SPLIT).similarity
    scored = 4 + 4 * SPLIT.n_items
    assert size("itemknn") == kept.data.size + kept.indices.size + kept.indptr.size + scored


def test_item_graphs_and_other_settings_come_back(tmp_path):
    rng = np.random.default_rng(1)
    graph = sp.random(30, 30, 0.2, "csr", np.float32, rng)
    graphs = {"visual": graph, "textual": sp.csr_matrix(graph.T)}
    model, _ = fit(
        "freedom", SPLIT, None, item_graphs=graphs, n_epochs=1, modality_weights={"visual": 0.3, "textual": 0.7}
    )
    loaded = load_model(save_model(model, tmp_path), SPLIT)
    assert torch.equal(loaded.score(USERS), model.score(USERS))
    assert loaded.settings["modality_weights"] == {"visual": 0.3, "textual": 0.7}
    assert (loaded.settings["item_graphs"]["textual"] != graph.T).nnz == 0


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 0.1, "word", float("inf"), (1, (2, 3)), [1, "a", None], {"a": (1,), 2: [0.5]}, np.float64(0.1),
        np.uint64(2**63 + 1), np.array(2.5), np.zeros((0, 3)), np.arange(6.0).reshape(2, 3).T, np.array(["a", "bc"]),
        torch.arange(3), torch.tensor(True), sp.csc_matrix(np.eye(3)), sp.csr_matrix((2, 4)),
    ],
)  # fmt: skip
def test_values_come_back_as_they_were(value, tmp_path):
    arrays = {}
    written = json.loads(json.dumps(take_apart(value, "x", arrays)))
    keep.save_file(arrays, str(tmp_path / "a.safetensors"))
    back = put_together(written, keep.load_file(str(tmp_path / "a.safetensors")))
    assert type(back) is type(value)
    if sp.issparse(value):
        assert back.shape == value.shape and back.dtype == value.dtype and (back != value).nnz == 0
    elif isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
        assert back.dtype == value.dtype and back.shape == value.shape and bool((back == value).all())
    else:
        assert back == value


def test_what_is_no_number_is_refused():
    with pytest.raises(NotPlain, match="x.1 is a function"):
        take_apart([1, planted], "x", {})

    class Odd(ItemKNN):
        name = "odd"

        def build(self):
            super().build()
            self.measure = planted

    with pytest.raises(CourseError, match="measure is a function"):
        save_model(Odd(SPLIT), "nowhere")


def test_a_model_of_ones_own(tmp_path):
    class Mine(BPR):
        name = "mine"

    model = Mine(SPLIT, dim=8)
    train(model, SPLIT, n_epochs=1, progress=False)
    save_model(model, tmp_path)
    assert torch.equal(load_model(tmp_path, SPLIT, model_class=Mine).score(USERS), model.score(USERS))
    with pytest.raises(CourseError, match="Unknown model 'mine'.*pass model_class="):
        load_model(tmp_path, SPLIT)
    with pytest.raises(CourseError, match="holds a 'mine', and model_class is 'bpr'"):
        load_model(tmp_path, SPLIT, model_class=BPR)


def test_a_counted_model_of_ones_own_with_odds_and_ends(tmp_path):
    class Shelf(ItemKNN):
        name = "shelf"
        DEFAULTS = ItemKNN.DEFAULTS | {"rule": "a"}
        biases = None

        def build(self):
            super().build()
            self.biases = {"high": [torch.arange(30.0), None], 7: (np.float32(0.5),)}
            self.inner = ItemKNN(self.split, k=3)

        def score(self, user_ids):
            return self.inner.score(user_ids) + self.biases["high"][0] * float(self.biases[7][0])

    model = Shelf(SPLIT, rule=np.str_("b"))
    loaded = load_model(save_model(model, tmp_path), SPLIT, model_class=Shelf)
    assert torch.equal(loaded.score(USERS), model.score(USERS)) and loaded.settings["rule"] == "b"
    assert type(loaded.inner) is ItemKNN and loaded.inner.settings["k"] == 3 and loaded.biases["high"][1] is None


def test_training_goes_on(tmp_path):
    split, _, _ = planted()
    settings = {"batch_size": 256, "lr": 0.02, "n_epochs": 4}
    model, history = fit("bpr", split, **settings)
    loaded = load_model(save_model(model, tmp_path), split)
    more = train(loaded, split, progress=False, **settings)
    assert more.rows[0]["loss"] < history.rows[0]["loss"] - 0.1 and more.best_value > history.rows[0]["recall@20"]


def test_a_class_that_states_no_schema_is_kept_too(tmp_path):
    class Bare(Recommender):
        name = "bare"
        DEFAULTS = {"weight": 2.0}

        def build(self):
            self.row = torch.arange(self.n_items) * self.settings["weight"]

        def score(self, user_ids):
            return self.row.expand(len(user_ids), -1)

    model, _ = fit(Bare, SPLIT, weight=3.0)
    folder = save_model(model, tmp_path)
    loaded = load_model(folder, SPLIT, model_class=Bare)
    assert (
        type(loaded) is Bare
        and torch.equal(loaded.score(USERS), model.score(USERS))
        and loaded.settings == {"weight": 3.0}
    )
    with pytest.raises(CourseError, match="pass model_class="):
        load_model(folder, SPLIT)


# ---- data that do not fit ----


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with a trained VBPR of two modalities, with names."""
    folder = tmp_path_factory.mktemp("kept") / "vbpr"
    model, _ = fit("vbpr", SPLIT, {m: FEATURES[m] for m in ("visual", "textual")}, n_epochs=1)
    return save_model(model, folder, SHOP)


def renamed(**changes):
    items, users = SHOP.items.copy(), SHOP.users.copy()
    if "item" in changes:
        items.loc[4, "item"] = changes["item"]
    if "user" in changes:
        users = np.array([*users[:-1], changes["user"]])
    return replace(SHOP, items=items, users=users)


def test_the_right_data_fit_in_any_order_and_with_more_modalities(kept):
    shuffled = replace(SPLIT, train=SPLIT.train[::-1], valid=SPLIT.test, test=SPLIT.valid)
    model = load_model(kept, shuffled, FEATURES, dataset=SHOP)
    assert model.modalities == ("visual", "textual")
    written = json.loads((kept / "model.json").read_text())
    assert written["names"]["users"] == SHOP.users.tolist() and written["names"]["items"][:2] == ["i0", "i1"]
    assert written["schema"]["fusion"] == "early" and set(written["versions"]) >= {"python", "torch", "numpy"}


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda f: load_model(f, replace(SPLIT, train=SPLIT.train[1:]), FEATURES), "trained on another train part: .*same strategy"),
        (lambda f: load_model(f, replace(SPLIT, n_items=31), FEATURES), "this split has .* and 31"),
        (lambda f: load_model(f, SPLIT, {"visual": FEATURES["visual"]}), "trained with textual features; pass"),
        (lambda f: load_model(f, SPLIT), "trained with visual features; pass"),
        (lambda f: load_model(f, SPLIT, FEATURES | {"textual": FEATURES["textual"].l2()}), "other textual features.*30 x 16"),
        (lambda f: load_model(f, SPLIT, holes(FEATURES)), "other visual features"),
        (lambda f: load_model(f, SPLIT, FEATURES, dataset=renamed(item="other")), "other items: they differ from place 4"),
        (lambda f: load_model(f, SPLIT, FEATURES, dataset=renamed(user="zz")), "other users: they differ from place 39"),
        (lambda f: load_model(f / "no", SPLIT, FEATURES), "holds no model.json"),
    ],
)  # fmt: skip
def test_other_data_are_refused(kept, call, words):
    with pytest.raises(CourseError, match=words):
        call(kept)


def test_names_of_feature_rows_are_compared_without_a_dataset(kept):
    other = replace(FEATURES["visual"], item_names=FEATURES["visual"].item_names[::-1])
    with pytest.raises(CourseError, match="other items: they differ from place 0"):
        load_model(kept, SPLIT, FEATURES | {"visual": other})


def test_a_dataset_of_another_size_is_refused_when_saving(tmp_path):
    other, _, _ = named_shop(41)
    with pytest.raises(CourseError, match="41 users .* the model 40"):
        save_model(ItemKNN(SPLIT), tmp_path, other)
    assert not list(tmp_path.iterdir())


# ---- damaged, foreign and half-written folders ----


def edit(folder, **changes):
    written = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(written | changes))


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda f: (f / "model.json").write_text("{"), "cannot be read as JSON"),
        (lambda f: (f / "model.json").write_text("[1]"), "not a model of this course"),
        (lambda f: edit(f, kind="thing"), "not a model of this course"),
        (lambda f: edit(f, format=2), "format 2, and this course reads 1"),
        (lambda f: edit(f, model="vbrp"), "Unknown model 'vbrp'; did you mean vbpr"),
        (lambda f: edit(f, model="bpr"), "setting of bpr"),
        (lambda f: edit(f, settings=[["dimension", 3]]), "setting of vbpr"),
        (lambda f: edit(f, settings=[["dim", {"code": "x"}]]), "damaged model"),
        (lambda f: edit(f, settings=[["dim", 8]]), "damaged model"),
        (lambda f: edit(f, state={}), "damaged model"),
        (lambda f: edit(f, model=["bpr"]), "does not say which model it keeps"),
        (lambda f: edit(f, model={"bpr": 1}), "does not say which model it keeps"),
        (lambda f: edit(f, seed=float("inf")), "does not say which model it keeps, and with which seed"),
        (lambda f: edit(f, weights={"file": "../x.safetensors", "digest": ""}), "lacks its weights"),
        (lambda f: edit(f, weights=None), "damaged model"),
        (lambda f: weights_of(f).unlink(), "lacks its weights"),
        (lambda f: weights_of(f).write_bytes(b"\x00" * 64), "cannot be read"),
        (lambda f: weights_of(f).write_bytes(weights_of(f).read_bytes()[:-8]), "cannot be read"),
        (lambda f: flip(weights_of(f)), "not the file that was written"),
    ],
)
def test_a_damaged_folder_is_one_sentence(kept, tmp_path, damage, words):
    folder = tmp_path / "copy"
    shutil.copytree(kept, folder)
    damage(folder)
    with pytest.raises(CourseError, match=words) as caught:
        load_model(folder, SPLIT, FEATURES)
    assert "\n" not in str(caught.value)


def weights_of(folder):
    return next(folder.glob("*.safetensors"))


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_counted_part_cannot_take_the_place_of_code_or_point_outside_its_matrix(tmp_path):
    save_model(ItemKNN(SPLIT), tmp_path)
    written = json.loads((tmp_path / "model.json").read_text())
    for part in ("score", "__class__", "split", "a b"):
        edit(tmp_path, counted=written["counted"] | {part: 1})
        with pytest.raises(CourseError, match=f"no part '{part}'"):
            load_model(tmp_path, SPLIT)
    small = written["counted"]["similarity"] | {"shape": [30, 3]}
    edit(tmp_path, counted=written["counted"] | {"similarity": small})
    with pytest.raises(CourseError, match="damaged model"):
        load_model(tmp_path, SPLIT)


def test_other_numbers_under_the_same_name_are_noticed(tmp_path, monkeypatch):
    """A later course in which a model means something else: the kept scores do not come back."""
    save_model(ItemKNN(SPLIT), tmp_path)
    old = ItemKNN.score
    monkeypatch.setattr(ItemKNN, "score", lambda self, user_ids: old(self, user_ids) + 1)
    with pytest.raises(CourseError, match=r"scores otherwise than when it was kept \(with python .*numpy"):
        load_model(tmp_path, SPLIT)


def test_writing_that_breaks_off_leaves_the_model_before(tmp_path, monkeypatch):
    first, second = ItemKNN(SPLIT), ItemKNN(SPLIT, k=2)
    save_model(first, tmp_path)

    def full(path, value):
        raise CourseError("the disk is full")

    monkeypatch.setattr(keep, "write_json", full)
    with pytest.raises(CourseError, match="full"):
        save_model(second, tmp_path)
    assert torch.equal(load_model(tmp_path, SPLIT).score(USERS), first.score(USERS))
    monkeypatch.undo()
    save_model(second, tmp_path)
    assert torch.equal(load_model(tmp_path, SPLIT).score(USERS), second.score(USERS))
    assert len(list(tmp_path.iterdir())) == 2


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "weights-mine.safetensors").write_text("mine")
    (tmp_path / "model.json").write_text('{"kind": "other"}')
    with pytest.raises(CourseError, match="not a model of this course"):
        save_model(ItemKNN(SPLIT), tmp_path)
    (tmp_path / "model.json").unlink()
    save_model(ItemKNN(SPLIT), tmp_path)
    assert (tmp_path / "weights-mine.safetensors").read_text() == "mine"


def test_the_digest_of_a_split_is_that_of_its_train_part():
    digest = keep.train_digest(SPLIT)
    assert digest == keep.train_digest(replace(SPLIT, valid=SPLIT.test, train=SPLIT.train[::-1]))
    others = [replace(SPLIT, train=SPLIT.train[:-1]), replace(SPLIT, n_users=41), replace(SPLIT, n_items=31)]
    assert len({digest, *map(keep.train_digest, others)}) == 4
    assert keep.train_digest(make_split([(0, 1), (0, 1)])) != keep.train_digest(make_split([(0, 1)]))


def test_places_outside_a_sparse_matrix_are_never_followed():
    arrays = {}
    written = take_apart(sp.csr_matrix(np.eye(3)), "x", arrays)
    for bad in (np.array([0, 1, 2_000_000_000], np.int32), np.array([0, 1, -1], np.int32)):
        with pytest.raises(ValueError):
            put_together(written, arrays | {"x.indices": bad})
    with pytest.raises(ValueError):
        put_together(written, arrays | {"x.indptr": np.array([0, 1, 2, 900], np.int32)})


def test_a_missing_item_and_an_item_of_zeros_are_two_things():
    zeros = np.eye(3, dtype=np.float32) * np.array([[1], [0], [1]])
    there, missing = make_features("visual", zeros), make_features("visual", zeros, [1, 0, 1])
    assert np.array_equal(there.matrix, missing.matrix)
    assert keep.feature_digest(there) != keep.feature_digest(missing)
    assert keep.feature_digest(there) == keep.feature_digest(make_features("textual", zeros.astype(np.float64)))
