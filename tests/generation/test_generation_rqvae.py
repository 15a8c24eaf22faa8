"""utils.generation.rqvae: the loss by hand, the straight-through gradient, start and revival of codes, determinism."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from generation_helpers import clusters

from utils.errors import CourseError
from utils.generation import RQVAE, perplexity, train_rqvae

SMALL = {"n_codes": 4, "n_levels": 2, "hidden": 8, "latent": 3}


def test_the_loss_and_the_codes_against_plain_loops():
    model, data = RQVAE(5, **SMALL), torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.codebooks.copy_(torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1)))
    loss, codes = model(data)
    latents, books = model.encoder(data).detach().numpy(), model.codebooks.detach().numpy()
    quantised, parts = np.zeros_like(latents), np.zeros(2)
    for item, left in enumerate(latents.copy()):
        for level, book in enumerate(books):
            chosen = ((book - left) ** 2).sum(1).argmin()
            assert codes[item, level] == chosen
            parts[level] += ((left - book[chosen]) ** 2).mean() / 7
            quantised[item] += book[chosen]
            left = left - book[chosen]
    decoded = model.decoder(torch.from_numpy(quantised)).detach().numpy()
    expected = ((decoded - data.numpy()) ** 2).mean() + (1 + 0.25) * parts.sum()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(model.codes(data.numpy()).table, codes.numpy())


def test_the_gradient_goes_straight_through():
    model, data = RQVAE(5, **SMALL, commitment=0.0), torch.randn(6, 5)
    loss, _ = model(data)
    (found,) = torch.autograd.grad(loss, [model.encoder[2].bias])
    latents = model.encoder(data)
    quantised = model.quantise(latents)[2].sum(0).detach().requires_grad_()
    error = torch.nn.functional.mse_loss(model.decoder(quantised), data)
    (at_codes,) = torch.autograd.grad(error, [quantised])
    assert torch.allclose(found, at_codes.sum(0), atol=1e-6) and found.abs().max() > 1e-6


def test_gradients_reach_every_parameter_and_codes_without_items_get_none():
    model, data = RQVAE(5, **SMALL), torch.randn(40, 5)
    model.start_codebooks(data)
    model(data)[0].backward()
    for name, weight in model.named_parameters():
        assert weight.grad.abs().max() > 0, name
    with torch.no_grad():
        model.codebooks[0, 2] = 1e3
    model.zero_grad()
    model(data)[0].backward()
    assert not model.codebooks.grad[0, 2].any()


def test_dead_codes_are_put_where_an_item_is_and_living_ones_stay():
    vectors, _ = clusters(n_groups=4)
    data, model = torch.as_tensor(vectors, dtype=torch.float32), RQVAE(5, **SMALL)
    model.start_codebooks(data)
    with torch.no_grad():
        model.codebooks[0, 1] = 1e3
    before, alive = model.codebooks.detach().clone(), [0, 2, 3]
    dead = sum(4 - len(level.unique()) for level in model.quantise(model.encoder(data))[0].T)
    residuals = model.quantise(model.encoder(data))[1]
    assert model.revive(data, torch.Generator().manual_seed(0)) == dead > 0
    assert torch.equal(model.codebooks[0, alive], before[0, alive])
    assert (residuals[0] == model.codebooks[0, 1]).all(dim=1).any()
    assert len(model.quantise(model.encoder(data))[0][:, 0].unique()) == 4


def test_a_start_at_the_residuals_uses_the_codes_and_a_small_uniform_one_does_not():
    vectors, _ = clusters(n_groups=12, n_each=10, dim=8, spread=0.3)
    data = torch.as_tensor(vectors / vectors.std(), dtype=torch.float32)
    spread = {}
    for start in ("kmeans", "uniform"):
        model = RQVAE(8, n_codes=12, n_levels=2, hidden=16, latent=6, start=start)
        if start == "kmeans":
            model.start_codebooks(data)
        spread[start] = perplexity(model.codes(data.numpy()).table[:, 0])
    assert spread["kmeans"] > 8 > spread["uniform"]


def test_training_lowers_the_error_twice_the_same_way():
    vectors, groups = clusters(n_groups=6, n_each=10)
    settings = {**SMALL, "n_codes": 6}
    one, two = (train_rqvae(vectors, n_steps=150, lr=1e-2, seed=4, **settings) for _ in range(2))
    assert np.array_equal(one[1].table, two[1].table) and one[2].equals(two[2])
    assert one[2]["r2"].iloc[-1] > 0.8 > one[2]["r2"].iloc[0] and list(one[2].index[:3]) == [1, 10, 20]
    assert len({(g, t) for g, t in zip(groups, one[1].table[:, 0])}) <= 8  # groups keep together


@pytest.mark.parametrize("settings, said", [
    ({"code": 3}, "Unknown setting of the RQ-VAE 'code'"), ({"start": "zeros"}, "Unknown start of a codebook 'zeros'"),
    ({"n_codes": 80}, "A codebook of 80 for 48 items"), ({"lr": 1e12}, "is not a finite number; try a rate below 1e"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_one_sentence(settings, said):
    with pytest.raises(CourseError, match=said):
        train_rqvae(clusters()[0], n_steps=40, **{**SMALL, **settings})
