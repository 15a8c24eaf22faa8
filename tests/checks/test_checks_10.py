"""Notebook 10: its checks pass right answers and name wrong ones."""

import numpy as np
import pytest
import torch

from utils import checks
from utils.challenges import fine_features as fine
from utils.features import Features
from utils.studies import fine_grained_features as study


def slopes(grey):
    windows = np.lib.stride_tricks.sliding_window_view(grey, (3, 3))
    return (windows * fine.SOBEL).sum((2, 3)), (windows * fine.SOBEL.T).sum((2, 3))


def attention(logits, z, temperature):
    weights = torch.softmax(logits / temperature, 1)
    return weights, (weights[..., None] * z).sum(1)


def permuted(matrix, columns, rng):
    other = matrix.copy()
    other[:, columns] = matrix[rng.permutation(len(matrix)), columns]
    return other


def edges_by_loop(grey):
    out = np.zeros((grey.shape[0] - 2, grey.shape[1] - 2), dtype=np.float32)
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            patch = grey[row : row + 3, column : column + 3]
            out[row, column] = ((patch * fine.SOBEL).sum() ** 2 + (patch * fine.SOBEL.T).sum() ** 2) ** 0.5
    return out


def edges_in_torch(grey):
    filters = torch.as_tensor(np.stack([fine.SOBEL, fine.SOBEL.T]), dtype=torch.float64)[:, None]
    return torch.nn.functional.conv2d(torch.as_tensor(grey)[None, None], filters)[0].norm(dim=0)


def attention_by_loop(logits, z, temperature):
    weights, view = [], []
    for row, parts in zip(logits.numpy(), z.numpy()):
        size = np.exp(row / temperature)
        weights.append(size / size.sum())
        view.append(sum(w * part for w, part in zip(weights[-1], parts)))
    return weights, np.array(view)


def recovery(weights, types):
    return study.recovery(study.relative(weights), types)


def recovery_by_loop(weights, types):
    mean = {name: sum(weights[name]) / len(weights) for name in weights}
    right = 0
    for user, row in weights.iterrows():
        right += max(mean, key=lambda name: row[name] - mean[name]) == types[user]
    return right / len(weights)


RIGHT = [
    (checks.edge_sobel, lambda grey: np.hypot(*slopes(grey))),
    (checks.edge_sobel, edges_by_loop),
    (checks.edge_sobel, edges_in_torch),
    (checks.user_attention, attention),
    (checks.user_attention, attention_by_loop),
    (checks.wrong_owner, permuted),
    (checks.wrong_owner, lambda m, c, r: torch.as_tensor(permuted(m, c, r)).float()),
    (checks.planted_found, recovery),
    (checks.planted_found, recovery_by_loop),
]


@pytest.mark.parametrize(("check", "right"), RIGHT)
def test_right_answers_pass(check, right):
    assert check(right).passed is True, check(right)


def test_the_courses_own_edges_and_permutation_pass():
    def edges(grey):
        return fine.edge_strength(np.repeat(grey[..., None] * 255, 3, axis=2))

    def course(matrix, columns, rng):
        about = {"blocks": {"a": 2, "b": 3, "c": 2}}
        features = Features("visual", matrix, np.arange(60).astype(str), np.ones(60, bool), about)
        return fine.permuted(features, "b", int(rng.integers(1000))).matrix

    assert checks.edge_sobel(edges).passed is True
    assert checks.wrong_owner(course).passed is True


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (lambda g: np.abs(slopes(g)[0]), "blind to horizontal"),
        (lambda g: np.abs(slopes(g)[1]), "blind to vertical"),
        (lambda g: slopes(g)[0], "negative"),
        (lambda g: sum(slopes(g)), "opposite ones cancel"),
        (lambda g: sum(map(np.abs, slopes(g))), "not the sum of the sizes"),
        (lambda g: sum(s**2 for s in slopes(g)), "root is missing"),
        (lambda g: np.maximum(*map(np.abs, slopes(g))), "larger direction"),
        (lambda g: np.hypot(*slopes(g))[1:], "4 x 6 slopes"),
        (lambda g: np.abs(sum(slopes(g))), "after adding them"),
        (lambda g: np.abs(slopes(g)[0] - slopes(g)[1]), "subtracted"),
        (lambda g: sum(map(np.abs, slopes(g))) / 2, "mean of the two sizes"),
        (lambda g: np.hypot(*slopes(g)) / np.sqrt(2), "one half too much"),
        (lambda g: np.hypot(g[1:-1, 2:] - g[1:-1, :-2], g[2:, 1:-1] - g[:-2, 1:-1]), "filter is not used"),
        (lambda g: np.hypot(*slopes(g)) + 1, "first inner pixel"),
    ],
)
def test_mistakes_in_the_edges_are_named(wrong, mistake):
    verdict = checks.edge_sobel(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict


def with_weights(make):
    return lambda logits, z, t: (make(logits, t), attention(logits, z, t)[1])


def with_view(make):
    return lambda logits, z, t: (attention(logits, z, t)[0], make(attention(logits, z, t)[0], z))


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (with_weights(lambda a, t: torch.softmax(a / t, 0)), "over the users"),
        (with_weights(lambda a, t: torch.softmax(a, 1)), "not used"),
        (with_weights(lambda a, t: torch.softmax(a * t, 1)), "so divide"),
        (with_weights(lambda a, t: torch.softmax(a, 1) / t), "after the softmax"),
        (with_weights(lambda a, t: torch.sigmoid(a / t)), "sigmoid"),
        (with_weights(lambda a, t: torch.softmax(a / t, 1).T), "(4, 3)"),
        (with_weights(lambda a, t: torch.softmax(a / t**0.5, 1)), "root of the temperature"),
        (with_weights(lambda a, t: torch.log_softmax(a / t, 1)), "logarithms"),
        (with_weights(lambda a, t: a), "first user's weights"),
        (with_view(lambda w, z: z.sum(1)), "plain sum"),
        (with_view(lambda w, z: z.mean(1)), "plain mean"),
        (with_view(lambda w, z: (w[..., None] * z).mean(1)), "so sum"),
        (with_view(lambda w, z: z[torch.arange(4), w.argmax(1)]), "largest weight"),
        (with_view(lambda w, z: w[..., None] * z), "sum over the features"),
        (with_view(lambda w, z: (w[..., None] * z).sum(1) + 1), "the view is not"),
        (lambda logits, z, t: 3, "return two tensors"),
    ],
)
def test_mistakes_in_the_attention_are_named(wrong, mistake):
    verdict = checks.user_attention(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict


def in_place(matrix, columns, rng):
    matrix[:, columns] = matrix[rng.permutation(len(matrix)), columns]
    return matrix


def put(make):
    def wrong(matrix, columns, rng):
        other = matrix.copy()
        other[:, columns] = make(matrix[:, columns].copy(), rng)
        return other

    return wrong


def all_but(matrix, columns, rng):
    other = matrix[rng.permutation(len(matrix))]
    other[:, columns] = matrix[:, columns]
    return other


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (in_place, "work on a copy"),
        (lambda m, c, r: m[r.permutation(len(m))], "other columns moved"),
        (all_but, "all columns but"),
        (lambda m, c, r: permuted(m, c, r)[:, c], "columns alone"),
        (lambda m, c, r: m[1:], "keeps its shape"),
        (lambda m, c, r: m.copy(), "nothing moved"),
        (put(lambda b, r: r.permuted(b, axis=0)), "its own order"),
        (put(lambda b, r: r.permuted(b, axis=1)), "within each item"),
        (put(lambda b, r: b[r.integers(len(b), size=len(b))]), "with replacement"),
        (put(lambda b, r: b + r.normal(size=b.shape)), "add noise"),
        (put(lambda b, r: b[np.random.permutation(len(b))]), "another result each time"),
        (put(lambda b, r: np.roll(b, 1, axis=0)), "another rng gives the same"),
        (put(lambda b, r: b[::-1]), "upside down"),
        (put(lambda b, r: 0 * b), "deleted the block"),
        (put(lambda b, r: 0 * b + b.mean(0)), "deleted the block"),
    ],
)
def test_mistakes_in_the_permutation_are_named(wrong, mistake):
    verdict = checks.wrong_owner(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict


def found(weights, types, guess=None, least=False):
    guess = weights if guess is None else guess
    best = guess.idxmin(axis=1) if least else guess.idxmax(axis=1)
    return (best.to_numpy() == types[weights.index]).mean()


def by_place(weights, types):
    return (study.relative(weights).idxmax(axis=1).to_numpy() == types[: len(weights)]).mean()


def by_place_as_it_stands(weights, types):
    return (weights.idxmax(axis=1).to_numpy() == types[: len(weights)]).mean()


def mean_of_a_user(weights, types):
    return found(weights, types, weights.sub(weights.mean(axis=1), axis=0))


def mean_of_the_kind(weights, types):
    return found(weights, types, weights - weights.groupby(types[weights.index]).transform("mean"))


def mean_over_kinds(weights, types):
    table = study.confusion(study.relative(weights), types)
    return np.mean([table.loc[name, name] for name in table.index])


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (found, "as it stands"),
        (mean_of_a_user, "as it stands"),
        (by_place, "not matched"),
        (by_place_as_it_stands, "without the subtraction"),
        (lambda w, t: recovery(w.set_axis(range(len(t) - len(w), len(t))), t), "types of the last users"),
        (lambda w, t: found(w, t, study.relative(w), least=True), "smallest weight"),
        (lambda w, t: recovery(w, t) * len(w), "you count"),
        (mean_over_kinds, "average the kinds"),
        (lambda w, t: recovery(w, t) * len(w) / len(t), "number of all users"),
        (mean_of_the_kind, "uses the answer"),
        (lambda w, t: found(w, t, w / w.mean()), "divide by the mean"),
        (lambda w, t: 1 - recovery(w, t), "was missed"),
        (lambda w, t: study.relative(w).idxmax(axis=1).to_numpy() == t[w.index], "one number"),
        (lambda w, t: 0.123, "of these 31 users"),
    ],
)
def test_mistakes_in_the_recovery_are_named(wrong, mistake):
    verdict = checks.planted_found(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict
