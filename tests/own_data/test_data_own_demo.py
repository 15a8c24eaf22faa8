"""The painted shop: the same seed draws the same shop, the words hide the colour, and the report names what is broken."""

import numpy as np
import pytest
from PIL import Image

from utils.data import load_dataset, write_table
from utils.errors import CourseError
from utils.features import Features, save_prepared
from utils.features.extraction import content_digest, contents
from utils.own_data import demo as own_demo
from utils.own_data.report import report
from utils.own_data.template import new_folder


@pytest.fixture
def filled(tmp_path):
    folder = new_folder(tmp_path / "shop")
    shop = own_demo.painted_shop(folder, seed=1, n_users=40, copies=1)
    write_table(folder / "items.tsv", shop.items)
    write_table(folder / "interactions.tsv", shop.log)
    return folder, shop


def with_features(folder):
    """A stand-in matrix that says what it was made from, as an extraction does."""
    dataset = load_dataset(folder)
    rows = [content_digest(path)[:16] for path in contents(dataset, "visual")]
    matrix = np.random.default_rng(0).standard_normal((dataset.n_items, 4))
    save_prepared(Features("visual", matrix, dataset.item_names, provenance={"content_rows": rows}), folder)


def test_a_seed_draws_one_shop_and_words_hide_the_colour(filled, tmp_path):
    folder, shop = filled
    again = own_demo.painted_shop(tmp_path / "again", seed=1, n_users=40, copies=1)
    assert shop.items.equals(again.items) and shop.log.equals(again.log)
    for name in shop.items["image"]:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    words = " ".join(shop.items["title"] + " " + shop.items["description"]).lower()
    assert not any(colour in words for colour in own_demo.COLOURS)
    assert len(shop.items) == len(own_demo.COLOURS) * len(own_demo.SHAPES) == len(set(shop.items["item"]))
    assert shop.log["timestamp"].is_monotonic_increasing and not shop.log.duplicated(["user", "item"]).any()


def test_a_picture_shows_its_colour_and_people_take_what_they_like(filled):
    folder, shop = filled
    for name, colour in zip(shop.items["image"], shop.colours):
        pixels = np.asarray(Image.open(folder / name).convert("RGB")).reshape(-1, 3).astype(int)
        ink = pixels[pixels.sum(axis=1) < 660]
        nearest = min(own_demo.COLOURS, key=lambda c: abs(np.median(ink, axis=0) - own_demo.COLOURS[c]).sum())
        assert nearest == colour, name
    colour_of = dict(zip(shop.items["item"], shop.colours))
    per_user = shop.log.assign(colour=shop.log["item"].map(colour_of)).groupby("user")["colour"]
    top_two = per_user.apply(lambda names: names.value_counts(normalize=True).iloc[:2].sum())
    assert top_two.mean() > 0.5  # by chance about a third to two fifths for ten choices of eight colours


def test_the_untouched_folder_has_no_error_and_the_report_names_what_is_broken(filled):
    folder, _ = filled
    assert not report(folder).errors
    planted = own_demo.break_tables(folder)
    found = report(folder)
    assert len(planted) == 5 and all(own_demo.caught(planted, found.findings).values()), str(found)


def test_the_report_names_what_lies_behind_the_tables(filled):
    folder, _ = filled
    with_features(folder)
    clean = report(folder)
    planted = own_demo.break_contents(folder)
    assert not any(own_demo.caught(planted, clean.findings).values()), str(clean)
    found = report(folder)
    assert len(planted) == 4 and all(own_demo.caught(planted, found.findings).values()), str(found)


def test_a_matrix_that_does_not_say_what_it_was_made_from_is_taken_as_it_is(filled):
    folder, _ = filled
    with_features(folder)
    (folder / "features" / "visual.json").write_text("{}", encoding="utf-8")
    assert not any("made from other content" in str(finding) for finding in report(folder).findings)


def test_a_changed_picture_is_named_with_its_item(filled):
    folder, shop = filled
    with_features(folder)
    name, other = shop.items["item"][3], shop.items["image"][4]
    (folder / shop.items["image"][3]).write_bytes((folder / other).read_bytes())
    (said,) = [str(f) for f in report(folder).findings if "made from other content" in str(f)]
    assert said.startswith(f"warning: features/visual.npy: 1 of {len(shop.items)} rows") and repr(name) in said
    assert not any("made from other content" in str(f) for f in report(folder, media=False).findings)


@pytest.mark.parametrize("breaks", [own_demo.break_tables, own_demo.break_contents])
def test_another_folder_is_left_alone(tmp_path, breaks):
    folder = new_folder(tmp_path / "mine")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(CourseError, match="first|make them"):
        breaks(folder)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
