"""The checks of notebook 03 pass right answers in any style, and name the mistakes that learners make."""

import hashlib
import json

import numpy as np
import torch
import torch.nn.functional as F
from exercise_helpers import table_tests

from utils import checks
from utils.features import Features
from utils.features.encoders.text import mean_pool
from utils.losses import info_nce

# ---- exercise 1 ----


def to_tensor(picture):
    return (torch.from_numpy(picture).permute(2, 0, 1).float() - 127) / 128


def to_tensor_in_numpy(picture):
    return (picture.transpose(2, 0, 1).astype(np.float32) - 127) / 128


def to_tensor_by_a_loop(picture):
    return [[[(float(pixel[c]) - 127) / 128 for pixel in row] for row in picture] for c in range(3)]


def channels_first(x):
    return np.moveaxis(x.astype(float), 2, 0)


def from_0_to_1(x):
    return channels_first(x) / 255


def mean_forgotten(x):
    return channels_first(x) / 128


def division_forgotten(x):
    return channels_first(x) - 127


def not_normalised(x):
    return channels_first(x)


def blue_first(x):
    return to_tensor(x[..., ::-1].copy())


def channels_last(x):
    return (x.astype(float) - 127) / 128


def reshaped(x):
    return (x.reshape(3, 2, 4) - 127.0) / 128


def on_its_side(x):
    return channels_last(x).T


def normalised_twice(x):
    return (channels_first(x) / 255 - 127) / 128


def wrapped_around(x):
    return (x - np.uint8(127)).astype(float).transpose(2, 0, 1) / 128


def brackets_forgotten(x):
    return channels_first(x) - 127 / 128


def symmetric(x):
    return channels_first(x) / 127.5 - 1


def other_sign(x):
    return (127 - channels_first(x)) / 128


def in_place(picture):
    answer = to_tensor(picture.copy())
    picture //= 2
    return answer


# ---- exercise 2 ----


def mean_by_a_loop(hidden, mask):
    return [hidden[n][mask[n] == 1].mean(dim=0) for n in range(len(hidden))]


def mean_in_numpy(hidden, mask):
    weight = mask.numpy()[:, :, None]
    return (hidden.numpy() * weight).sum(1) / weight.sum(1)


def padding_included(h, m):
    return h.mean(1)


def only_summed(h, m):
    return (h * m.unsqueeze(-1)).sum(1)


def by_longest(h, m):
    return only_summed(h, m) / h.shape[1]


def by_whole_batch(h, m):
    return only_summed(h, m) / m.sum()


def first_token(h, m):
    return h[:, 0]


def last_token(h, m):
    return torch.stack([h[n, int(m[n].sum()) - 1] for n in range(len(h))])


def largest(h, m):
    return (h * m.unsqueeze(-1)).amax(1)


def over_dimensions(h, m):
    return h.mean(2)


def over_sentences(h, m):
    return h.mean(0)


def of_length_one(h, m):
    return F.normalize(mean_pool(h, m), dim=1)


def mask_turned_round(h, m):
    return mean_pool(h, 1 - m)


# ---- exercise 3 ----


def key(content, encoder, layer, options):
    recipe = json.dumps([encoder, layer, options], sort_keys=True)
    return hashlib.sha256(content + b"|" + recipe.encode()).hexdigest()


def key_by_updates(content, encoder, layer, options):
    digest = hashlib.md5(content)
    for part in (encoder, layer, *sorted(options.items())):
        digest.update(repr(part).encode() + b"\0")
    return digest.hexdigest()


def key_with_a_name(content, encoder, layer, options):
    return f"{encoder}-{key(content, encoder, layer, options)[:16]}"


def name_not_content(c, e, at, o):
    return key(b"stamp.jpg", e, at, o)


def encoder_forgotten(c, e, at, o):
    return key(c, "", at, o)


def layer_forgotten(c, e, at, o):
    return key(c, e, "", o)


def options_forgotten(c, e, at, o):
    return key(c, e, at, {})


def order_matters(c, e, at, o):
    return hashlib.sha256(c + f"{e}{at}{o}".encode()).hexdigest()


def parts_glued(c, e, at, o):
    return hashlib.sha256(c + f"{e}{at}{sorted(o.items())}".encode()).hexdigest()


def hash_of_this_run(c, e, at, o):
    return str(abs(hash((c, e, at, str(sorted(o)), o.get("size")))))


def never_the_same(c, e, at, o):
    return hashlib.sha256(np.random.bytes(8)).hexdigest()


def not_text(c, e, at, o):
    return hash(c)


def no_file_name(c, e, at, o):
    return f"{c!r}/{e}/{at}/{sorted(o.items())}"


# ---- exercise 4 ----


def loss(images, texts, temperature):
    return info_nce(images, texts, temperature, symmetric=True)


def both(logits, target=None):
    target = torch.arange(len(logits)) if target is None else target
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def loss_by_cross_entropy(a, b, t):
    return both(a @ b.T / t)


def loss_by_a_loop(a, b, t):
    table, total = (a @ b.T / t).exp(), 0.0
    for n in range(len(a)):
        total -= float((table[n, n] / table[n].sum()).log() + (table[n, n] / table[:, n].sum()).log())
    return total / (2 * len(a))


def multiplied(a, b, t):
    return both(a @ b.T * t)


def temperature_forgotten(a, b, t):
    return both(a @ b.T)


def images_only(a, b, t):
    return info_nce(a, b, t)


def texts_only(a, b, t):
    return info_nce(b, a, t)


def directions_added(a, b, t):
    return 2 * loss(a, b, t)


def pairs_added(a, b, t):
    return len(a) * loss(a, b, t)


def target_zero(a, b, t):
    return both(a @ b.T / t, torch.zeros(len(a), dtype=torch.long))


def sign_lost(a, b, t):
    return -loss(a, b, t)


def one_softmax(a, b, t):
    return -torch.log_softmax((a @ b.T / t).reshape(-1), 0).reshape(len(a), -1).diagonal().mean()


def one_direction_divided(a, b, t):
    target = torch.arange(len(a))
    return (F.cross_entropy(a @ b.T / t, target) + F.cross_entropy(b @ a.T, target)) / 2


def two_softmaxes(a, b, t):
    return both((a @ b.T / t).softmax(1))


def no_contrast(a, b, t):
    return -(a @ b.T / t).diagonal().mean()


def one_for_each(a, b, t):
    return F.cross_entropy(a @ b.T / t, torch.arange(len(a)), reduction="none")


# ---- bonus ----


def prepared(matrix, mask):
    rows = np.where(mask[:, None], matrix - matrix[mask].mean(axis=0), 0)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def prepared_by_the_course(matrix, mask):
    names = np.arange(len(matrix)).astype(str)
    return Features("visual", matrix.astype(np.float32), names, mask).centred().l2().matrix


def prepared_in_torch(matrix, mask):
    rows, kept = torch.tensor(matrix).float(), torch.tensor(mask)
    found = torch.zeros_like(rows)
    found[kept] = F.normalize(rows[kept] - rows[kept].mean(0), dim=1)
    return found


def unit(rows, axis=1):
    return rows / np.maximum(np.linalg.norm(rows, axis=axis, keepdims=True), 1e-12)


def mean_of_all(x, m):
    return unit((x - x.mean(axis=0)) * m[:, None])


def missing_became_content(x, m):
    return unit(x - x[m].mean(axis=0))


def mask_not_used(x, m):
    return unit(x - x.mean(axis=0))


def mean_of_each_row(x, m):
    return unit((x - x.mean(axis=1, keepdims=True)) * m[:, None])


def one_mean_for_all(x, m):
    return unit((x - x[m].mean()) * m[:, None])


def normalised_first(x, m):
    return (unit(x) - unit(x[m]).mean(axis=0)) * m[:, None]


def not_centred(x, m):
    return unit(x)


def length_forgotten(x, m):
    return (x - x[m].mean(axis=0)) * m[:, None]


def columns(x, m):
    return unit(length_forgotten(x, m), 0)


def standardised(x, m):
    return length_forgotten(x, m) / x[m].std(axis=0)


def present_only(x, m):
    return prepared(x, m)[m]


def zero_over_zero(x, m):
    rows = length_forgotten(x, m)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


RIGHT = {
    checks.picture_to_tensor: [to_tensor, to_tensor_in_numpy, to_tensor_by_a_loop],
    checks.masked_mean: [mean_pool, mean_by_a_loop, mean_in_numpy],
    checks.cache_key: [key, key_by_updates, key_with_a_name],
    checks.contrastive_loss: [loss, loss_by_cross_entropy, loss_by_a_loop],
    checks.prepared_rows: [prepared, prepared_by_the_course, prepared_in_torch],
}
WRONG = {
    checks.picture_to_tensor: {
        from_0_to_1: "from 0 to 1",
        mean_forgotten: "forgot to subtract",
        division_forgotten: "forgot to divide",
        not_normalised: "0 to 255",
        blue_first: "blue, green, red",
        channels_last: "channels are still last",
        reshaped: "you reshaped",
        on_its_side: "changed places",
        normalised_twice: "normalised again",
        wrapped_around: "wraps around",
        brackets_forgotten: "in brackets",
        symmetric: "another network",
        other_sign: "sign is wrong",
        in_place: "changed the input `picture` in place",
    },
    checks.masked_mean: {
        padding_included: "padding is included",
        by_longest: "longest sentence",
        first_token: "CLS",
        last_token: "last real token",
        only_summed: "the sum",
        by_whole_batch: "whole batch",
        largest: "maximum",
        over_dimensions: "over the dimensions",
        over_sentences: "over the sentences",
        of_length_one: "length 1",
        mask_turned_round: "wrong way round",
    },
    checks.cache_key: {
        name_not_content: "changed picture",
        encoder_forgotten: "another encoder",
        layer_forgotten: "another layer",
        options_forgotten: "another picture size",
        order_matters: "another order",
        parts_glued: "you glue",
        hash_of_this_run: "Python's hash",
        never_the_same: "random",
        not_text: "return text",
        no_file_name: "cannot name a file",
    },
    checks.contrastive_loss: {
        multiplied: "multiplied",
        temperature_forgotten: "forgot the temperature",
        images_only: "only images",
        texts_only: "only texts",
        directions_added: "added the two",
        pairs_added: "you summed",
        target_zero: "not on the diagonal",
        sign_lost: "sign",
        one_softmax: "whole table",
        one_direction_divided: "only one direction",
        two_softmaxes: "two softmaxes",
        no_contrast: "nothing is contrasted",
        one_for_each: "shape",
    },
    checks.prepared_rows: {
        mean_of_all: "mean is that of all rows",
        missing_became_content: "missing rows are content",
        mask_not_used: "use the mask twice",
        mean_of_each_row: "mean of each row",
        one_mean_for_all: "one number from everything",
        normalised_first: "centre first",
        not_centred: "nothing was centred",
        length_forgotten: "do not have length 1",
        columns: "columns",
        standardised: "standard deviation",
        present_only: "missing rows are gone",
        zero_over_zero: "NaN",
    },
}


test_right, test_wrong, test_five = table_tests(RIGHT, WRONG)
