"""utils.generation: CVAE, U-Net and diffusion by formula, training that goes on, weights that are checked before use."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from stamps_helpers import flat_stamps

from utils.errors import CourseError
from utils.files import sha256
from utils.generation import kept
from utils.generation.cvae import CVAE, cvae_loss, interpolate, kl
from utils.generation.diffusion import clean, cosine_schedule, ddim, diffusion_loss, guided, noise_in, noised
from utils.generation.eye import Eye
from utils.generation.generators import grid_of, load_eye, load_generator
from utils.generation.kept import save_weights
from utils.generation.learn import batch_of, train
from utils.generation.unet import UNet, time_waves

HUES, KINDS = torch.tensor([0, 3, 7]), torch.tensor([1, 0, 1])


def small_unet(seed=0):
    """A U-Net whose last layer is not zero any more, as after a step of training."""
    model = UNet(8, 2, width=8, dim=16, seed=seed)
    torch.nn.init.normal_(model.last[2].weight, std=0.1, generator=torch.Generator().manual_seed(seed))
    return model


def test_the_schedule_falls_as_the_formula_says():
    left = cosine_schedule(10)

    def f(t):
        return math.cos((t / 10 + 0.008) / 1.008 * math.pi / 2) ** 2

    expected = [f(t) / f(0) for t in range(1, 10)]
    assert left[:9].tolist() == pytest.approx(expected, rel=1e-9) and left[9] == pytest.approx(expected[8] * 0.001)
    assert (left.diff() < 0).all()


def test_noise_goes_in_and_comes_out_by_hand():
    left = torch.tensor([0.64, 0.36], dtype=torch.float64)
    x0, noise = torch.full((2, 3, 1, 1), 0.5), torch.full((2, 3, 1, 1), -1.0)
    x = noised(x0, torch.tensor([0, 1]), noise, left)
    assert x[:, 0, 0, 0].tolist() == pytest.approx([0.8 * 0.5 - 0.6, 0.6 * 0.5 - 0.8])
    for k, a in enumerate(left.float()):
        v = a.sqrt() * noise[k] - (1 - a).sqrt() * x0[k]
        assert torch.allclose(noise_in(v, x[k], a), noise[k], atol=1e-6)
        assert torch.allclose(clean(x[k], noise[k], a), x0[k], atol=1e-6)


def test_guidance_by_hand_and_at_its_three_special_weights():
    told, untold = torch.tensor([2.0]), torch.tensor([0.5])
    assert [guided(told, untold, w).item() for w in (-1, 0, 1, 3)] == [0.5, 2.0, 3.5, 6.5]


class Knowing(torch.nn.Module):
    """A network that knows the picture: the v that leads from x_t to it."""

    def __init__(self, x0, left):
        super().__init__()
        self.x0, self.left, self.asked = x0, left, []

    def not_told(self, n):
        return torch.full((n,), 8), torch.full((n,), 2)

    def forward(self, x, t, hues, categories):
        self.asked.append((t.tolist(), hues.tolist(), categories.tolist()))
        a = self.left[t].float()[:, None, None, None]
        x0 = self.x0.repeat(len(x) // len(self.x0), 1, 1, 1)
        noise = (x - a.sqrt() * x0) / (1 - a).sqrt()
        return a.sqrt() * noise - (1 - a).sqrt() * x0


@pytest.mark.parametrize("weight", [-1.0, 0.0, 2.0])
def test_ddim_with_the_true_noise_finds_the_picture_in_one_step_and_in_many(weight):
    left, x0 = cosine_schedule(20), torch.rand((3, 3, 8, 8), generator=torch.Generator().manual_seed(1)) * 2 - 1
    for n_steps in (1, 5, 20):
        model = Knowing(x0, left)
        found = ddim(model, HUES, KINDS, weight, size=8, n_steps=n_steps, left=left, seed=0)
        assert torch.allclose(found, x0, atol=2e-3) and len(model.asked) == n_steps
        times = [asked[0][0] for asked in model.asked]
        assert times[0] == 19 and times == sorted(times, reverse=True)
    hues, kinds = model.asked[0][1:]
    none = [8] * 3, [2] * 3
    expected = {
        -1.0: none,
        0.0: (HUES.tolist(), KINDS.tolist()),
        2.0: (HUES.tolist() + none[0], KINDS.tolist() + none[1]),
    }
    assert (hues, kinds) == expected[weight]


def test_guidance_by_two_passes_is_that_of_one_pass_where_they_meet():
    model = small_unet()
    zero, tiny = (ddim(model, HUES, KINDS, w, size=8, n_steps=3) for w in (0.0, 1e-6))
    assert torch.allclose(zero, tiny, atol=1e-3)
    assert not torch.allclose(zero, ddim(model, HUES, KINDS, 3.0, size=8, n_steps=3), atol=1e-3)
    assert torch.equal(zero, ddim(model, HUES, KINDS, 0.0, size=8, n_steps=3))
    assert not torch.equal(zero, ddim(model, HUES, KINDS, 0.0, size=8, n_steps=3, seed=1))


def test_the_loss_of_diffusion_is_the_mean_over_what_it_draws():
    model, left = small_unet(), cosine_schedule(10)
    x0 = torch.rand((3, 3, 8, 8), generator=torch.Generator().manual_seed(2)) * 2 - 1
    found = diffusion_loss(model, x0, HUES, KINDS, left, torch.Generator().manual_seed(5))
    again = torch.Generator().manual_seed(5)
    t, noise = torch.randint(10, (3,), generator=again), torch.randn(x0.shape, generator=again)
    dropped = torch.rand(3, generator=again) < 0.1
    total = 0.0
    for k in range(3):
        a = left[t[k]].float()
        hue, kind = (8, 2) if dropped[k] else (int(HUES[k]), int(KINDS[k]))
        x = a.sqrt() * x0[k] + (1 - a).sqrt() * noise[k]
        v = model(x[None], t[k : k + 1], torch.tensor([hue]), torch.tensor([kind]))[0]
        error = ((noise_in(v, x, a) - noise[k]) ** 2).mean() / a
        total += error.item() / 3
    assert found.item() == pytest.approx(total, rel=1e-4)


def test_one_condition_in_ten_is_not_told():
    class Counting(torch.nn.Module):
        def not_told(self, n):
            return torch.full((n,), 8), torch.full((n,), 2)

        def forward(self, x, t, hues, categories):
            assert ((hues == 8) == (categories == 2)).all()
            self.share = (hues == 8).float().mean().item()
            return x

    model, n = Counting(), 4000
    diffusion_loss(model, torch.zeros(n, 3, 1, 1), torch.zeros(n).long(), torch.zeros(n).long(), cosine_schedule(5), torch.Generator().manual_seed(0))  # fmt: skip
    assert 0.08 < model.share < 0.12


def test_kl_by_hand_and_the_two_parts_of_the_loss():
    mean, log_var = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 0.0], [math.log(4.0), 0.0]])
    assert kl(mean, log_var).tolist() == pytest.approx([0.5, 0.5 * (4 - 1 - math.log(4)) + 2.0])
    model, x = (
        CVAE(8, 2, size=8, latent=4, width=8),
        torch.rand((3, 3, 8, 8), generator=torch.Generator().manual_seed(0)),
    )
    error, cost = cvae_loss(model, x, HUES, KINDS, torch.Generator().manual_seed(1), beta=0.5)
    mean, log_var = model.encode(x, HUES, KINDS)
    z = mean + (log_var / 2).exp() * torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
    apart = sum(((model.decode(z, HUES, KINDS)[k] - x[k]) ** 2).sum() for k in range(3)) / 3
    assert error.item() == pytest.approx(apart.item(), rel=1e-5)
    assert cost.item() == pytest.approx(0.5 * kl(mean, log_var).mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", ["cvae", "diffusion"])
def test_gradients_reach_every_parameter(name):
    x, generator = (
        torch.rand((3, 3, 8, 8), generator=torch.Generator().manual_seed(0)),
        torch.Generator().manual_seed(0),
    )
    hues, kinds = torch.arange(9).repeat(8) % 8, torch.arange(72) % 2
    if name == "cvae":
        model = CVAE(8, 2, size=8, latent=4, width=8)
        sum(cvae_loss(model, x, HUES, KINDS, generator)).backward()
    else:
        model = small_unet()
        diffusion_loss(model, x.repeat(24, 1, 1, 1), hues, kinds, cosine_schedule(), generator).backward()
    lost = [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not lost
    if name == "diffusion":
        assert (model.hue.weight.grad.abs().sum(dim=1) > 0).all()  # "not told" among them


def test_interpolation_starts_and_ends_at_the_two_pictures():
    model = CVAE(8, 2, size=8, latent=4, width=8).eval()
    x = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    walk = interpolate(model, *x, HUES[:2], KINDS[:2], n=5)
    with torch.no_grad():
        ends = model.decode(model.encode(x, HUES[:2], KINDS[:2])[0], HUES[:2], KINDS[:2])
    assert torch.allclose(walk[[0, -1]], ends, atol=1e-6) and walk.shape == (5, 3, 8, 8)
    assert not torch.allclose(walk[2], walk[0])


def test_seeds_decide_networks_and_draws_and_leave_the_global_state_alone():
    before = torch.random.get_rng_state()
    one, same, other = UNet(8, 2, 8, 16, 0), UNet(8, 2, 8, 16, 0), UNet(8, 2, 8, 16, 1)
    assert torch.equal(one.first.weight, same.first.weight) and not torch.equal(one.first.weight, other.first.weight)
    model = CVAE(8, 2, size=8, latent=4, width=8)
    assert torch.equal(model.sample(HUES, KINDS, 1), model.sample(HUES, KINDS, 1))
    assert not torch.equal(model.sample(HUES, KINDS, 1), model.sample(HUES, KINDS, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert time_waves(torch.tensor([0, 1]), 4).tolist()[0] == [0, 0, 1, 1]


def test_wrong_shapes_are_said_in_one_sentence():
    with pytest.raises(CourseError, match=r"The U-Net got \(1, 3, 6, 6\); give \(n, 3, size, size\)"):
        small_unet()(torch.zeros(1, 3, 6, 6), torch.zeros(1).long(), HUES[:1], KINDS[:1])
    with pytest.raises(CourseError, match=r"made for \(n, 3, 8, 8\)"):
        CVAE(8, 2, size=8).encode(torch.zeros(1, 3, 16, 16), HUES[:1], KINDS[:1])
    with pytest.raises(CourseError, match="11 steps: the way into noise has 10"):
        ddim(small_unet(), HUES, KINDS, size=8, n_steps=11, left=cosine_schedule(10))
    with pytest.raises(CourseError, match="give one of each a picture"):
        ddim(small_unet(), HUES, KINDS[:2], size=8)


def test_training_learns_and_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(tmp_path, monkeypatch):
    stamps, losses = flat_stamps(), []
    monkeypatch.setattr("utils.generation.learn.EVERY", 20)
    whole = train("cvae", stamps, 60, lr=2e-3, report=lambda step, loss: losses.append(loss))
    assert losses[-1] < 0.7 * losses[0]

    def stop(step, loss):
        if step == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("cvae", stamps, 60, lr=2e-3, checkpoint=tmp_path / "c.pt", report=stop)
    steps = []
    rest = train(
        "cvae", stamps, 60, lr=2e-3, checkpoint=tmp_path / "c.pt", report=lambda step, loss: steps.append(step)
    )
    assert steps == [40, 60]  # the checkpoint of step 20 was gone on from
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), rest.state_dict().values()))
    with pytest.raises(CourseError, match="cannot be gone on from .*delete it"):
        train("cvae", stamps, 61, lr=2e-3, checkpoint=tmp_path / "c.pt")


def test_batches_mirror_about_half_and_keep_picture_and_condition_together():
    stamps = flat_stamps()
    x, hues, kinds = batch_of(stamps, torch.Generator().manual_seed(0))
    mirrored = 0
    for picture, hue, kind in zip(x, hues, kinds):
        same = (stamps.pictures == picture).flatten(1).all(dim=1)
        turned = (stamps.pictures.flip(3) == picture).flatten(1).all(dim=1)
        place = int((same | turned).nonzero()[0])
        assert stamps.hues[place] == hue and stamps.categories[place] == kind
        mirrored += int(not same.any())
    assert 6 < mirrored < 26


@pytest.fixture
def written(tmp_path):
    stamps = flat_stamps()
    model = CVAE(8, 2, size=8)
    save_weights(tmp_path / "c.safetensors", "cvae", model, stamps, steps=3)
    return tmp_path / "c.safetensors", model, stamps


def test_weights_come_back_as_they_were_in_16_bits(written, tmp_path):
    path, model, stamps = written
    found = load_generator("cvae", stamps, path, sha256(path))
    assert all(
        torch.equal(a.half().float(), b) for a, b in zip(model.state_dict().values(), found.model.state_dict().values())
    )
    assert found.about["steps"] == 3 and found.about["licence"].startswith("GPL-2.0") and found.size == 8
    assert found.about["held_out"] == [t for t, out in zip(stamps.titles, stamps.held_out) if out]
    assert torch.equal(
        found.ask("blue", "discs", 2, seed=4), found.model.sample(torch.tensor([5, 5]), torch.tensor([1, 1]), 4)
    )
    eye = Eye(torch.randn(12), torch.randn(12, 3), 8)
    save_weights(tmp_path / "e.safetensors", "eye", eye, stamps)
    assert torch.allclose(load_eye(tmp_path / "e.safetensors", "").axes, eye.axes, atol=2e-3)


def test_weights_that_do_not_fit_are_refused_in_one_sentence(written, tmp_path):
    path, _, stamps = written
    for call, words in (
        (lambda: load_generator("cvae", stamps, path, "0" * 64), r"has SHA-256 \w{12}\.\.\., not 000000000000"),
        (
            lambda: load_generator("cvae", flat_stamps(size=16), path, ""),
            "draws 8 pixels a side .* have 16 of bars, discs",
        ),
        (lambda: load_generator("diffusion", path=path, expected=""), "weights of 'cvae', not of 'diffusion'"),
        (lambda: load_generator("gan"), "Unknown generator 'gan'"),
        (lambda: load_generator("cvae", path=tmp_path / "no"), "are missing; restore them"),
        (lambda: load_generator("cvae", path=path, expected="").ask("bleu", "discs"), "did you mean blue"),
        (lambda: load_generator("cvae", path=path, expected="").ask("blue", "discs", weight=2), "takes no weight"),
        (lambda: load_generator("eye", path=path, expected=""), "not of 'eye'"),
    ):
        with pytest.raises(CourseError, match=words):
            call()
    (tmp_path / "bad").write_bytes(b"no weights")
    with pytest.raises(CourseError, match="holds no weights of stamps"):
        load_generator("cvae", path=tmp_path / "bad", expected="")


def test_the_grid_asks_every_question_equally_often():
    hues, kinds = grid_of(8, 3, 2)
    cells = np.unique(np.stack([hues, kinds]), axis=1, return_counts=True)
    assert len(hues) == 48 and cells[0].shape == (2, 24) and (cells[1] == 2).all()
    assert hues[:8].tolist() == list(range(8)) and set(kinds[:8].tolist()) == {0}


@pytest.mark.parametrize("name", list(kept.WEIGHTS))
def test_the_shipped_weights_are_those_that_the_readme_names(name):
    file, expected = kept.WEIGHTS[name]
    readme = (kept.FOLDER / "README.md").read_text(encoding="utf-8")
    assert len(expected) == 64 and sha256(kept.FOLDER / file) == expected and expected in readme
    assert sum((kept.FOLDER / file).stat().st_size for file, _ in kept.WEIGHTS.values()) < 4_000_000


@pytest.mark.parametrize("name", ["cvae", "diffusion"])
def test_the_shipped_generators_draw_the_colour_that_is_asked_for(name):
    from utils.generation.judge import obeys_colour

    found = load_generator(name)
    hues, kinds = grid_of(8, 7)
    images = found.draw(hues[:16], kinds[:16], seed=0)
    assert images.shape == (16, 3, 24, 24) and images.abs().max() <= 1
    right, wrong = (obeys_colour(images, asked).float().mean() for asked in (hues[:16], (hues[:16] + 3) % 8))
    assert right > 0.6 and wrong < 0.2
