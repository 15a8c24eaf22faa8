"""The checks of notebook 03 pass right answers and name wrong ones."""

import hashlib
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from utils import checks
from utils.features.text import mean_pool
from utils.losses import info_nce


def to_tensor(picture):
    return (torch.from_numpy(picture).permute(2, 0, 1).float() - 127) / 128


def key(content, encoder, layer, options):
    recipe = json.dumps([encoder, layer, options], sort_keys=True)
    return hashlib.sha256(content + b"|" + recipe.encode()).hexdigest()


def loss(images, texts, temperature):
    return info_nce(images, texts, temperature, symmetric=True)


def stub(*args): ...


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.picture_to_tensor, to_tensor),
        (checks.masked_mean, mean_pool),
        (checks.cache_key, key),
        (checks.contrastive_loss, loss),
    ],
)
def test_right_answers_pass_and_untouched_stubs_are_not_judged(check, right):
    verdict = check(right)
    assert verdict.passed is True, verdict.message
    assert check(stub).passed is None


def first(x):
    return np.moveaxis(x.astype(float), 2, 0)


def in_place(picture):
    picture //= 2
    return to_tensor(picture)


def weighted(hidden, mask):
    return (hidden * mask.unsqueeze(-1)).sum(1)


def table(a, b):
    return a @ b.T


def both(logits, target=None):
    target = torch.arange(len(logits)) if target is None else target
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


@pytest.mark.parametrize(
    ("check", "wrong", "mistake"),
    [
        (checks.picture_to_tensor, lambda x: first(x) / 255, "from 0 to 1"),
        (checks.picture_to_tensor, lambda x: first(x) / 128, "forgot to subtract"),
        (checks.picture_to_tensor, lambda x: first(x), "0 to 255"),
        (checks.picture_to_tensor, lambda x: (first(x[..., ::-1]) - 127) / 128, "blue, green, red"),
        (checks.picture_to_tensor, lambda x: (x.astype(float) - 127) / 128, "channels are still last"),
        (checks.picture_to_tensor, lambda x: (x.reshape(3, 2, 4) - 127.0) / 128, "you reshaped"),
        (checks.picture_to_tensor, lambda x: ((x.astype(float) - 127) / 128).T, "changed places"),
        (checks.picture_to_tensor, lambda x: (first(x) / 255 - 127) / 128, "normalised again"),
        (checks.picture_to_tensor, lambda x: (x - np.uint8(127)).astype(float).transpose(2, 0, 1) / 128, "wraps around"),
        (checks.picture_to_tensor, in_place, "changed the picture"),
        (checks.masked_mean, lambda h, m: h.mean(1), "padding is included"),
        (checks.masked_mean, lambda h, m: weighted(h, m) / h.shape[1], "longest sentence"),
        (checks.masked_mean, lambda h, m: h[:, 0], "CLS"),
        (checks.masked_mean, weighted, "the sum"),
        (checks.masked_mean, lambda h, m: weighted(h, m) / m.sum(), "whole batch"),
        (checks.masked_mean, lambda h, m: (h * m.unsqueeze(-1)).amax(1), "maximum"),
        (checks.masked_mean, lambda h, m: h.mean(2), "over the dimensions"),
        (checks.masked_mean, lambda h, m: mean_pool(h, m) + 1, "3 real tokens"),
        (checks.cache_key, lambda c, e, at, o: key(b"stamp.jpg", e, at, o), "changed picture"),
        (checks.cache_key, lambda c, e, at, o: key(c, "", at, o), "another encoder"),
        (checks.cache_key, lambda c, e, at, o: key(c, e, "", o), "another layer"),
        (checks.cache_key, lambda c, e, at, o: key(c, e, at, {}), "another picture size"),
        (checks.cache_key, lambda c, e, at, o: hashlib.sha256(c + f"{e}{at}{o}".encode()).hexdigest(), "another order"),
        (
            checks.cache_key,
            lambda c, e, at, o: hashlib.sha256(c + f"{e}{at}{sorted(o.items())}".encode()).hexdigest(),
            "you glue",
        ),
        (checks.cache_key, lambda c, e, at, o: str(abs(hash((c, e, at, str(sorted(o)), o.get("size"))))), "Python's hash"),
        (checks.cache_key, lambda c, e, at, o: hash(c), "return text"),
        (checks.contrastive_loss, lambda a, b, t: both(table(a, b) * t), "multiplied"),
        (checks.contrastive_loss, lambda a, b, t: both(table(a, b)), "forgot the temperature"),
        (checks.contrastive_loss, lambda a, b, t: info_nce(a, b, t), "only images"),
        (checks.contrastive_loss, lambda a, b, t: info_nce(b, a, t), "only texts"),
        (checks.contrastive_loss, lambda a, b, t: 2 * both(table(a, b) / t), "added the two"),
        (checks.contrastive_loss, lambda a, b, t: len(a) * both(table(a, b) / t), "you summed"),
        (
            checks.contrastive_loss,
            lambda a, b, t: both(table(a, b) / t, torch.zeros(len(a), dtype=torch.long)),
            "not on the diagonal",
        ),
        (checks.contrastive_loss, lambda a, b, t: -both(table(a, b) / t), "sign"),
        (checks.contrastive_loss, lambda a, b, t: F.cross_entropy(table(a, b) / t, torch.arange(6), reduction="none"), "shape"),
    ],
)  # fmt: skip
def test_wrong_answers_are_named(check, wrong, mistake):
    verdict = check(wrong)
    assert verdict.passed is False
    assert mistake in verdict.message, verdict.message
