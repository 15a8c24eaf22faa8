"""extract, prepared, load_features, the registry: what comes out, whatever the batches."""

import json

import numpy as np
import pytest
from features_helpers import draw, make_dataset, make_folder

from utils.data import load_dataset
from utils.errors import CourseError
from utils.features import (
    Features,
    Network,
    check_content,
    encoder_table,
    extract,
    load_features,
    prepared,
    register,
    save_prepared,
)
from utils.features import registry as registry_module
from utils.features.at_scale.job import Job
from utils.features.at_scale.run import run


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return make_dataset(tmp_path / "toy")


@pytest.fixture
def clean_registry(monkeypatch):
    monkeypatch.setattr(registry_module, "ENCODERS", dict(registry_module.ENCODERS))


def test_missing_is_a_mask_and_rows_follow_the_items(dataset):
    features = extract(dataset, "visual", "pixels", progress=False)
    assert features.item_names.tolist() == dataset.item_names.tolist()
    assert features.mask.tolist() == [i != 3 for i in range(12)]
    assert not features.matrix[3].any() and features.matrix[features.mask].any(axis=1).all()
    words = extract(dataset, "textual", "tfidf_svd", progress=False)
    assert words.mask.tolist() == [i != 5 for i in range(12)]


@pytest.mark.parametrize("encoder", ["efficientnet_lite0", "random_cnn", "pixels", "colour_histogram"])
def test_batch_size_does_not_change_pictures(dataset, encoder):
    options = {"size": 64} if encoder in ("efficientnet_lite0", "random_cnn") else {}
    one, eight, sixteen = (
        extract(dataset, "visual", encoder, batch_size=n, cache=False, progress=False, **options).matrix
        for n in (1, 8, 16)
    )
    np.testing.assert_allclose(one, eight, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(one, sixteen, rtol=1e-4, atol=1e-4)
    assert len(np.unique(one.round(3), axis=0)) == 12  # 11 pictures and one gap: all differ


def test_batch_size_does_not_change_sentences(dataset):
    one, eight, sixteen = (
        extract(dataset, "textual", batch_size=n, cache=False, progress=False).matrix for n in (1, 8, 16)
    )
    np.testing.assert_allclose(one, eight, atol=1e-4)
    np.testing.assert_allclose(one, sixteen, atol=1e-4)


def test_same_call_twice_gives_the_same_bits(dataset):
    first, second = (
        extract(dataset, "visual", "random_cnn", size=64, cache=False, progress=False).matrix for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_the_order_of_the_items_changes_nothing(dataset):
    order = np.random.default_rng(0).permutation(12)
    turned = dataset.select(items=order)
    for modality, encoder in (("visual", "pixels"), ("textual", "tfidf_svd")):
        straight = extract(dataset, modality, encoder, cache=False, progress=False)
        other = extract(turned, modality, encoder, cache=False, progress=False)
        np.testing.assert_allclose(other.align(straight.item_names).matrix, straight.matrix, atol=1e-5)


def test_language_reads_the_other_column(dataset):
    english = extract(dataset, "textual", "tfidf_svd", progress=False)
    italian = extract(dataset, "textual", "tfidf_svd", language="it", progress=False)
    assert italian.provenance["language"] == "it"
    assert english.provenance["content"] != italian.provenance["content"]
    with pytest.raises(CourseError, match="for text"):
        extract(dataset, "visual", "pixels", language="it")


def test_provenance_says_how_it_was_made(dataset):
    made = extract(dataset, "visual", layer="features.4", size=64, progress=False).provenance
    assert made["encoder"] == "efficientnet_lite0" and made["layer"] == "features.4"
    assert made["preprocessing"] == {"size": 64, "fit": "pad"} and len(made["weights"]) == 64
    assert made["seconds"] > 0 and made["licence"] == "Apache-2.0"
    assert len(made["content_rows"]) == 12 and made["content_rows"][3] == ""
    json.dumps(made)


def test_same_picture_is_computed_once(dataset, clean_registry):
    seen = []

    @register("counting", "visual", dim=1, offline=True, licence="none", source="test")
    def load(layer):
        return Network(lambda path: path.name, lambda names: seen.extend(names) or np.ones((len(names), 1), np.float32))

    (dataset.path / "images" / "1.png").write_bytes((dataset.path / "images" / "0.png").read_bytes())
    assert extract(dataset, "visual", "counting", progress=False).mask.sum() == 11
    assert len(seen) == 10


def test_an_encoder_that_loses_a_row_is_named(dataset):
    network = Network(str, lambda texts: np.ones((len(texts) - 1, 2), np.float32))
    with pytest.raises(CourseError, match="made 10 vectors of 11 contents; encode must return one row for each"):
        extract(dataset, "textual", network, cache=False, progress=False)


def test_call_and_job_say_the_same_of_an_unreadable_file_at_the_caller(dataset, tmp_path):
    (dataset.path / "images" / "7.png").write_bytes(b"text")
    told = []
    for go in (
        lambda: extract(dataset, "visual", "pixels", cache=False, progress=False),
        lambda: run(Job(dataset, "visual", tmp_path / "out", encoder="pixels"), (0, 1), progress=False),
    ):
        with pytest.warns(UserWarning) as caught:
            go()
        told.append(str(caught[0].message).partition("items.tsv")[0])
        assert caught[0].filename == __file__
    assert all("7.png (row 8, item 'item-s'): not a picture of a known format" in each for each in told)


def test_prepared_round_trip(dataset):
    made = extract(dataset, "visual", "pixels", progress=False)
    save_prepared(made, dataset.path)
    back = prepared(dataset, "visual")
    np.testing.assert_allclose(back.matrix, made.matrix, atol=1e-3)
    np.testing.assert_array_equal(back.mask, made.mask)
    assert np.load(dataset.path / "features" / "visual.npy").dtype == np.float16
    assert back.provenance["encoder"] == "pixels" and back.provenance["content"] == made.provenance["content"]
    assert prepared(dataset, "textual") is None


def test_prepared_follows_ids_in_a_smaller_and_turned_dataset(dataset):
    made = extract(dataset, "visual", "pixels", progress=False)
    save_prepared(made, dataset.path, dtype="float32")
    some = dataset.select(items=[9, 0, 4])
    np.testing.assert_array_equal(prepared(some, "visual").matrix, made.matrix[[9, 0, 4]])


def test_prepared_without_items_txt_are_positions_or_numbered_ids(dataset, tmp_path):
    folder = dataset.path / "features"
    folder.mkdir()
    matrix = np.arange(24, dtype=np.float32).reshape(12, 2)
    np.save(folder / "visual.npy", matrix)
    np.testing.assert_array_equal(prepared(dataset, "visual").matrix, matrix)
    assert prepared(dataset, "visual").mask.all()

    text = (dataset.path / "items.tsv").read_text(encoding="utf-8").splitlines()
    rows = [f"{11 - i}\t" + line.split("\t", 1)[1] for i, line in enumerate(text[1:])]
    (dataset.path / "items.tsv").write_text("\n".join([text[0], *rows]) + "\n", encoding="utf-8")
    (dataset.path / "interactions.tsv").write_text("user\titem\nu\t3\n", encoding="utf-8")
    np.testing.assert_array_equal(prepared(load_dataset(str(dataset.path)), "visual").matrix, matrix[::-1])


def test_save_prepared_refuses_rows_in_another_order(dataset):
    save_prepared(extract(dataset, "visual", "pixels", progress=False), dataset.path)
    other = extract(dataset.select(items=[1, 0]), "textual", "tfidf_svd", progress=False)
    with pytest.raises(CourseError, match=r"items.txt names other rows.*align"):
        save_prepared(other, dataset.path)
    big = Features("visual", np.full((2, 1), 1e6), ["a", "b"])
    with pytest.raises(CourseError, match="float32"):
        save_prepared(big, dataset.path / "elsewhere")


def test_load_features_prefers_prepared_and_leaves_out_what_nobody_has(dataset):
    save_prepared(extract(dataset, "visual", "pixels", progress=False), dataset.path)
    with pytest.warns(UserWarning, match="No item of toy has audio content, so it is left out"):
        found = load_features(dataset)
    assert list(found) == ["visual", "textual"]
    assert found["visual"].provenance["encoder"] == "pixels"
    assert found["textual"].provenance["encoder"] == "minilm"
    assert list(load_features(dataset, ["visual"])) == ["visual"]


def test_load_features_without_any_content(tmp_path):
    dataset = make_dataset(tmp_path / "bare", no_image=tuple(range(12)), no_text=tuple(range(12)))
    with pytest.warns(UserWarning), pytest.raises(CourseError, match="No item of bare has visual or textual or audio"):
        load_features(dataset)
    with pytest.raises(CourseError, match="No item of bare has visual content.*column image"):
        extract(dataset, "visual", "pixels")


def test_a_shifted_row_and_a_changed_picture_are_caught_by_content(dataset):
    made = extract(dataset, "visual", "pixels", progress=False)
    assert check_content(made, dataset) == []
    names = np.roll(made.item_names, 1)
    shifted = Features("visual", made.matrix, names, made.mask, made.provenance)
    assert len(check_content(shifted, dataset)) == 12
    draw(dataset.path / "images" / "7.png", 70)
    assert check_content(made, dataset) == [dataset.item_names[7]]
    with pytest.raises(CourseError, match="do not say what they were made from"):
        check_content(Features("visual", made.matrix, made.item_names, made.mask), dataset)


def test_the_table_of_encoders_names_source_and_licence():
    table = encoder_table()
    assert {"name", "modality", "default", "dim", "offline", "licence", "source"} == set(table.columns)
    assert table["licence"].str.len().gt(0).all() and table["source"].str.len().gt(0).all()
    offline = set(table.loc[table["offline"], "name"])
    assert {"efficientnet_lite0", "pixels", "colour_histogram", "random_cnn", "minilm", "tfidf_svd"} <= offline
    assert {"torchvision:NAME", "hf:NAME", "st:NAME", "hf-clip:NAME"} <= set(table["name"])
    assert (encoder_table("textual")["modality"] == "textual").all()
    assert table.loc[table["default"] & (table["modality"] == "visual"), "name"].tolist() == ["efficientnet_lite0"]


def test_reading_a_folder_needs_no_prepared_features(tmp_path):
    assert prepared(load_dataset(str(make_folder(tmp_path / "plain"))), "visual") is None
