"""utils.generation.stamps: which stamps are read, in which colours, what is held out, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stamps_helpers import draw, write_catalogue

from utils.errors import CourseError
from utils.generation.recolour import dominant_hue
from utils.generation.stamps import COLOURS, hold_out, load_stamps, sheet, small, to_pictures, to_tensor


def test_stamps_of_one_hue_come_in_every_colour_and_keep_their_numbers(tmp_path):
    dataset = write_catalogue(tmp_path / "shop")
    stamps = load_stamps(dataset, size=16)
    assert stamps.names == ("bars", "discs") and len(stamps.titles) == 32 and "grey" not in stamps.titles
    assert stamps.pictures.shape == (32 * 8, 3, 16, 16) and stamps.size == 16 and stamps.pictures.abs().max() <= 1
    for place in (0, 7, 100, 255):
        item = stamps.item_ids[stamps.stamps[place]]
        assert stamps.names[stamps.categories[place]] == dataset.items["category"].iloc[item].split("/")[0]
    hues = [dominant_hue(picture) for picture in to_pictures(stamps.pictures)]
    assert np.mean([hue is not None and hue[0] == COLOURS[k] for hue, k in zip(hues, stamps.hues.tolist())]) > 0.95
    ink = [("red", "green", "blue")[int(title.split()[1]) % 3] for title in stamps.titles]
    assert [COLOURS[k] for k in stamps.own] == ink
    assert torch.equal(load_stamps(dataset, size=16).pictures, stamps.pictures)


def test_what_is_held_out_is_a_share_of_each_category_and_both_parts_are_all():
    categories = np.repeat([0, 1, 2], [40, 8, 1])
    out = hold_out(categories, 0.25, seed=3)
    assert [int(out[categories == k].sum()) for k in range(3)] == [10, 2, 1]
    assert (hold_out(categories, 0.25, 3) == out).all() and (hold_out(categories, 0.25, 4) != out).any()


def test_parts_share_no_stamp(tmp_path):
    stamps = load_stamps(write_catalogue(tmp_path / "shop"), size=8)
    known, out = stamps.part(False), stamps.part(True)
    assert not set(known.stamps.tolist()) & set(out.stamps.tolist())
    assert len(known.pictures) + len(out.pictures) == len(stamps.pictures) and len(out.pictures) == 8 * 8


def test_levels_survive_the_way_to_tensors_and_back():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3), dtype=np.uint8)
    assert (to_pictures(to_tensor(pictures)) == pictures).all()
    assert to_pictures(torch.tensor([-7.0, 7.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 1)).ravel().tolist() == [0, 255]


def test_bad_input_is_said_in_one_sentence(tmp_path):
    dataset = write_catalogue(tmp_path / "shop")
    with pytest.raises(CourseError, match="multiple of 8, such as 24"):
        load_stamps(dataset, size=20)
    (tmp_path / "shop" / "discs1.png").write_bytes(b"no picture")
    with pytest.raises(CourseError, match=r"Cannot read the image .*discs1\.png"):
        load_stamps(dataset, size=16)
    with pytest.raises(CourseError, match="No category of .* has 15 pictures of one hue"):
        load_stamps(write_catalogue(tmp_path / "few", n_each=3), size=16)


def test_a_sheet_lays_pictures_out_in_rows(tmp_path):
    page = np.asarray(sheet(np.stack([draw("discs", n, (1, 2, 3), 10) for n in range(5)]), 3))
    assert page.shape == (24, 36, 3) and (page[12 + 5, 12 + 5] == (1, 2, 3)).all() and (page[17, 30] == 200).all()
    picture, hue = small(write_catalogue(tmp_path / "shop").image_paths()[0], 16)
    assert picture.shape == (16, 16, 3) and hue[0] == "red"
