"""utils.generation.personal, eye and scene: tastes by hand, the climb between likeness and taste, a stamp in a toy scene."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stamps_helpers import flat_stamps

from utils.errors import CourseError
from utils.generation.eye import Eye, drawn_at_random, train_eye
from utils.generation.learn import train
from utils.generation.personal import likeness, own_rows, personalise, taste
from utils.generation.scene import on_envelope


@pytest.fixture(scope="module")
def world():
    """Stamps, a CVAE that has learned them a little, and an eye of what a made-up encoder says of them."""
    stamps = flat_stamps(n_stamps=24)
    cvae = train("cvae", stamps, 80, lr=3e-3)
    mixer = torch.randn((stamps.pictures[0].numel(), 10), generator=torch.Generator().manual_seed(0)) / 14
    images = torch.cat([stamps.pictures, drawn_at_random(cvae, 100)])
    return stamps, cvae, train_eye(images, images.flatten(1) @ mixer, dim=4, n_steps=80), mixer


def test_a_taste_is_the_mean_of_what_was_liked_above_the_mean_of_all():
    vectors = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    assert taste([0], vectors).tolist() == pytest.approx([1.5 / 2.5**0.5, -0.5 / 2.5**0.5])
    with pytest.raises(CourseError, match="liked none"):
        taste([], vectors)


def test_likeness_is_1_for_the_target_and_0_for_an_empty_page():
    target = torch.rand((2, 3, 4, 4), generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert likeness(target, target).tolist() == [1, 1] and likeness(torch.ones_like(target), target).tolist() == [0, 0]
    half = (target + 1) / 2
    assert likeness(half, target).tolist() == pytest.approx([0.75, 0.75])


def test_own_rows_are_the_pictures_of_the_catalogue():
    stamps = flat_stamps()
    rows = own_rows(stamps)
    assert stamps.stamps[rows].tolist() == list(range(24)) and stamps.hues[rows].tolist() == stamps.own.tolist()


def test_the_eye_learns_to_say_the_leading_axes(world):
    stamps, _, eye, mixer = world
    said, right = eye(stamps.pictures), eye.project(stamps.pictures.flatten(1) @ mixer)
    assert ((said - right) ** 2).sum() < 0.5 * ((right - right.mean(dim=0)) ** 2).sum()
    assert torch.allclose(eye.axes.T @ eye.axes, torch.eye(4), atol=1e-5)
    assert not [name for name, weight in eye.named_parameters() if weight.requires_grad]


def test_every_weight_of_an_eye_gets_a_gradient():
    eye = Eye(torch.zeros(6), torch.eye(6)[:, :2], 8, width=4)
    eye(torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))).pow(2).sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in eye.parameters())


def test_drawn_pictures_depend_on_the_seed_alone(world):
    cvae = world[1]
    assert torch.equal(drawn_at_random(cvae, 300, 1), drawn_at_random(cvae, 300, 1))
    assert not torch.equal(drawn_at_random(cvae, 30, 1), drawn_at_random(cvae, 30, 2))


def test_more_weight_on_taste_gives_more_taste_and_less_likeness(world):
    stamps, cvae, eye, mixer = world
    n = 6
    tastes = torch.stack(
        [taste([k, k + 7], eye.project(stamps.pictures[own_rows(stamps)].flatten(1) @ mixer)) for k in range(n)]
    )
    target = stamps.pictures[:n], stamps.hues[:n], stamps.categories[:n]
    made = [personalise(cvae, eye, tastes, *target, alpha, n_steps=40) for alpha in (0.0, 1.0)]
    assert made[1].taste.mean() > made[0].taste.mean() + 0.05
    assert made[1].likeness.mean() < made[0].likeness.mean() - 0.02
    both = personalise(cvae, eye, tastes, *target, torch.linspace(0, 1, n), n_steps=40)
    assert torch.allclose(both.images[-1], made[-1].images[-1], atol=1e-4)  # rows do not meet
    swapped = personalise(cvae, eye, tastes.roll(1, 0), *target, 1.0, n_steps=40)
    own = torch.nn.functional.cosine_similarity(eye(made[-1].images), tastes).mean()
    assert own > torch.nn.functional.cosine_similarity(eye(swapped.images), tastes).mean() + 0.1
    assert not cvae.decoder[1:][1].weight.requires_grad


def test_the_penalty_keeps_z_small_and_bad_settings_are_said(world):
    stamps, cvae, eye, _ = world
    tastes, target = torch.ones(2, 4), (stamps.pictures[:2], stamps.hues[:2], stamps.categories[:2])
    with pytest.raises(CourseError, match="give 0 .likeness. to 1 .taste."):
        personalise(cvae, eye, tastes, *target, 1.5)
    with pytest.raises(CourseError, match="give one of 4 numbers for each target"):
        personalise(cvae, eye, tastes[:, :3], *target, 0.5)
    free, held = (personalise(cvae, eye, tastes, *target, 1.0, eta=eta, n_steps=40) for eta in (0.0, 1.0))
    with torch.no_grad():
        at_zero = cvae.draw(torch.zeros(2, cvae.latent), cvae.known(*target[1:]))
    apart = [((made.images - at_zero) ** 2).sum().item() for made in (free, held)]
    assert apart[1] < apart[0] and held.taste.mean() <= free.taste.mean() + 1e-3


def test_a_stamp_is_pasted_on_the_envelope_and_nothing_else_changes():
    red, blue = (np.tile(np.uint8(colour), (24, 24, 1)) for colour in ((250, 0, 0), (0, 0, 250)))
    one, other = on_envelope(red), on_envelope(blue)
    changed = (one != other).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert one.shape == (300, 480, 3) and 70 < len(rows) < 96 and columns.min() > 350 and rows.max() < 130
    assert (one[40, 370] == (250, 0, 0)).all() and np.array_equal(one, on_envelope(red))
    with pytest.raises(CourseError, match="square picture"):
        on_envelope(np.zeros((24, 20, 3), dtype=np.uint8))
