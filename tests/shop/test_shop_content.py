"""The Sticker Shop as shipped: content, ids, raw tables, licence, size, and no model that reads the truth."""

import ast
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from utils.data import clean, load_dataset, truth
from utils.files import ROOT
from utils.shop.content import LANGUAGES, LONGEST_SIDE, categories, parse_texts

SHOP = ROOT / "data" / "sticker_shop"


@pytest.fixture(scope="module")
def shop():
    return load_dataset("sticker_shop")


@pytest.fixture(scope="module")
def raw():
    return load_dataset("sticker_shop", "raw")


def test_the_first_line_of_the_card_says_that_the_shoppers_are_simulated():
    first = (SHOP / "README.md").read_text(encoding="utf-8").splitlines()[0]
    assert "simulated" in first


def test_the_card_is_made_from_the_folder_and_the_results():
    from utils.lab.shop_card import card

    assert (SHOP / "README.md").read_text(encoding="utf-8") == card(), "run python -m utils.lab card write"


def test_the_folder_is_small_and_has_its_own_licence():
    size = sum(path.stat().st_size for path in SHOP.rglob("*") if path.is_file())
    licence = (SHOP / "LICENSE").read_text(encoding="utf-8")
    assert size < 15e6
    for words in (
        "GNU GENERAL PUBLIC LICENSE",
        "Version 2, June 1991",
        "tuxpaint-stamps-default 2022.06.04-1",
        "changed",
    ):
        assert words in licence


def test_counts_are_those_of_a_small_real_log(shop):
    per_item = shop.interactions.groupby("item").size().sort_values()
    assert 800 <= shop.n_users <= 1200 and 400 <= shop.n_items <= 550 and 8000 <= shop.n_interactions <= 12500
    assert shop.interactions.groupby("user").size().min() >= 5 and per_item.min() >= 5
    assert per_item.tail(len(per_item) // 5).sum() / per_item.sum() > 0.4  # a long tail
    assert not shop.interactions.duplicated(["user", "item"]).any()
    assert set(shop.interactions["rating"]) == {1, 2, 3, 4, 5}
    assert 0.2 < (shop.interactions["review"] != "").mean() < 0.4


def test_every_picture_and_sound_is_there_small_and_readable(shop):
    import soundfile

    for path in shop.image_paths():
        with Image.open(path) as picture:
            assert max(picture.size) <= LONGEST_SIDE and picture.mode == "RGB"
    for path in filter(None, shop.audio_paths()):
        facts = soundfile.info(str(path))
        assert facts.samplerate == 16_000 and facts.channels == 1 and facts.duration <= 5.01
    share = np.mean([path is not None for path in shop.audio_paths()])
    assert 0.1 < share < 0.3


def test_texts_come_in_five_languages(shop):
    assert all(shop.texts())
    for language in LANGUAGES:
        assert np.mean([bool(text) for text in shop.items[f"description_{language}"]]) > 0.95


def test_ids_tell_neither_order_nor_category(shop):
    assert all(re.fullmatch(r"[2-9A-HJ-NP-Z]{6}", name) for name in shop.item_names)
    top = shop.items["category"].str.split("/").str[0]
    first = shop.items["item"].str[0]
    guess = pd.crosstab(first, top)
    # Knowing the first letter of the id should not tell the category much better than the most frequent one.
    assert guess.max(axis=1).sum() / len(top) < top.value_counts(normalize=True).iloc[0] + 0.12


def test_glyphs_and_signs_are_left_out():
    paths = pd.read_csv(SHOP / "truth/attributes.tsv", sep="\t")["path"]
    assert not paths.str.contains(r"^symbols/|^town/flags|^town/roadsigns|_mirror").any()


def test_cleaning_the_raw_tables_gives_the_clean_tables(shop, raw):
    cleaned, log = clean(raw, k_user=5, k_item=5)
    assert cleaned.fingerprint() == shop.fingerprint()
    assert (log["removed"] > 0).all(), "every kind of dirt is there"


def test_features_have_a_row_for_every_item_of_both_tables(shop, raw):
    from utils.features.prepared_features import check_content, prepared

    for modality in ("visual", "textual", "audio"):
        features = prepared(shop, modality)
        assert check_content(features, shop) == []
        assert prepared(raw, modality).n_items == raw.n_items
    assert 0 < prepared(shop, "audio").mask.sum() == (shop.items["audio"] != "").sum()


@pytest.mark.parametrize("modality", ["visual", "textual", "audio"])
def test_extracting_again_gives_the_shipped_features(shop, modality):
    from utils.features import extract
    from utils.features.prepared_features import prepared

    some = shop.select(items=np.flatnonzero(shop.items["audio"] != "")[:6])
    shipped = prepared(some, modality).matrix
    again = extract(some, modality, cache=False, progress=False).matrix
    scale = np.abs(again).max()
    assert np.abs(shipped - again).max() < 2e-3 * scale + 2e-3


def test_truth_belongs_to_the_shop_only(shop, raw, tmp_path):
    known = truth(shop)
    assert known.utility.shape == (shop.n_users, shop.n_items) and np.isfinite(known.utility).all()
    assert known.attributes["item"].tolist() == shop.item_names.tolist()
    assert known.tastes["user"].tolist() == shop.users.tolist()
    assert np.isnan(truth(raw).utility).any()  # the dirt was not simulated
    (tmp_path / "interactions.tsv").write_text("user\titem\na\tx\n")
    (tmp_path / "items.tsv").write_text("item\nx\n")
    assert truth(load_dataset(tmp_path)) is None


def test_no_item_is_chosen_before_its_release(shop):
    released = truth(shop).attributes["released"].to_numpy()
    assert (shop.interactions["timestamp"].to_numpy() >= released[shop.interactions["item_id"]]).all()


@pytest.mark.parametrize("room", ["models", "features", "fusion.py", "graphs", "evaluation", "losses.py", "training"])
def test_no_model_and_no_encoder_reads_the_truth(room):
    path = ROOT / "utils" / room
    for source in path.rglob("*.py") if path.is_dir() else [path]:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        names |= {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not any(word in name for name in names for word in ("truth", "planted", "simulate")), source
        assert "truth/" not in source.read_text(encoding="utf-8"), source


def test_categories_drop_styles_and_keep_large_leaves():
    paths = [f"animals/mammals/bovines/{k}.png" for k in range(8)] + [
        "animals/mammals/cats/cartoon/x.png",
        "sports/a.png",
    ]
    assert categories(paths) == ["animals/bovines"] * 8 + ["animals/mammals", "sports"]


def test_texts_are_parsed_by_language():
    texts = parse_texts(b"A  red apple.\nit.utf8=Una mela rossa.\nxx.utf8=no\nfr.utf8=\n")
    assert texts == {"en": "A red apple.", "it": "Una mela rossa."}
