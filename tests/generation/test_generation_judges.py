"""utils.generation.judge, jury and eye: asked colour and category, variety, and copies that are found out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stamps_helpers import INK, draw, flat_stamps

from utils.errors import CourseError
from utils.generation import judge, jury
from utils.generation.judge import CategoryJudge, copied, nearest, obeys_colour, pixels, variety, with_mirrors
from utils.generation.jury import Jury
from utils.generation.stamps import COLOURS, to_tensor


def test_the_asked_colour_is_judged_by_rule():
    images = to_tensor([draw("discs", 5, ink, 24) for ink in INK.values()] + [draw("discs", 5, (128, 128, 128), 24)])
    asked = torch.tensor([COLOURS.index(name) for name in ("red", "green", "red", "red")])
    assert obeys_colour(images, asked).tolist() == [True, True, False, False]


def test_the_category_judge_says_the_nearest_centre():
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.0, 1.0]]), dim=1)
    found = CategoryJudge.of(vectors, torch.tensor([0, 0, 1]), 2)
    assert torch.allclose(found.centres, torch.eye(2), atol=1e-6)
    assert found.says(torch.tensor([[0.9, 0.2], [0.3, 0.5]])).tolist() == [0, 1]
    with pytest.raises(CourseError, match="Category 2 has no picture"):
        CategoryJudge.of(vectors, torch.tensor([0, 0, 1]), 3)


def test_variety_is_the_mean_distance_of_answers_to_one_question():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]])
    assert variety(rows, torch.tensor([0, 0, 0, 1, 1])) == pytest.approx((5 + 1 + 18**0.5 + 1) / 4)
    assert np.isnan(variety(rows, torch.arange(5)))
    black, white = -torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    assert (pixels(black) - pixels(white)).norm().item() == pytest.approx(1.0)


def test_the_closest_training_picture_by_a_loop():
    generator = torch.Generator().manual_seed(0)
    rows, known = torch.randn((6, 5), generator=generator), torch.randn((40, 5), generator=generator)
    stamps = torch.arange(40) % 20 * 3
    found = nearest(rows, known, stamps, kth=4)
    for k, row in enumerate(rows):
        apart = [(row - other).norm().item() for other in known]
        by_stamp = sorted(min(apart[p] for p in range(40) if stamps[p] == stamp) for stamp in stamps.unique())
        assert found.rows[k] == int(np.argmin(apart)) and found.distance[k].item() == pytest.approx(
            min(apart), abs=1e-5
        )
        assert found.ratio[k].item() == pytest.approx(by_stamp[0] / by_stamp[3], abs=1e-5)
    with pytest.raises(CourseError, match="20 training stamps"):
        nearest(rows, known, stamps, kth=21)


def test_copies_are_found_out_and_new_pictures_are_not(monkeypatch):
    stamps = flat_stamps(n_stamps=60)
    monkeypatch.setattr(jury, "seen", lambda images: torch.nn.functional.normalize(images.flatten(1) - 0.5, dim=1))
    court = Jury.of(stamps)
    known, out = court.known, court.held_out
    noise = 0.01 * torch.randn(known.pictures.shape, generator=torch.Generator().manual_seed(0))
    for images in (known.pictures + noise, known.pictures.flip(3) + noise):
        near = court.closest(images, jury.seen(images))["by_pixels"]
        assert (
            copied(near.ratio, court.real["by_pixels"].ratio).all()
            and copied(near.distance, court.real["by_pixels"].distance).all()
        )
        assert torch.allclose(court.shown(near), images - noise, atol=1e-6)
    new = flat_stamps(n_stamps=60, seed=5).part(True)
    found = court.judged(new.pictures, new.hues, new.categories)
    assert found["copied_distance_by_pixels"] < 0.3 and found["copied_ratio_by_pixels"] < 0.3
    same = court.judged(out.pictures, out.hues, out.categories)
    assert abs(same["copied_distance_by_pixels"] - 0.05) < 0.03 and same["nearest_by_pixels"] > court.limit()


def test_the_category_judge_of_a_jury_has_seen_no_learned_stamp(monkeypatch):
    stamps = flat_stamps(n_stamps=40)
    monkeypatch.setattr(jury, "seen", lambda images: images.flatten(1))
    court = Jury.of(stamps)
    expected = CategoryJudge.of(court.held_out.pictures.flatten(1), court.held_out.categories, 2)
    assert torch.equal(court.categories.centres, expected.centres)
    images, of_stamp = with_mirrors(court.known)
    assert len(images) == 2 * len(court.known.pictures) and set(of_stamp.tolist()) == set(court.known.stamps.tolist())


def test_the_frozen_encoder_sees_stamps_in_any_batch_alike(monkeypatch):
    asked = []

    class Frozen:
        def network(self, layer, options):
            asked.append((layer, options))
            return self

        def encode(self, arrays):
            return np.stack([np.float32([array.mean(), array[..., 0].mean() + 1]) for array in arrays])

    monkeypatch.setattr(judge, "find", lambda name, modality: Frozen())
    images = torch.rand((70, 3, 8, 8), generator=torch.Generator().manual_seed(0)) * 2 - 1
    vectors = judge.seen(images)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(70)) and asked == [("avgpool", {"size": 96, "fit": "pad"})]
    assert torch.equal(vectors[60:], judge.seen(images[60:]))
