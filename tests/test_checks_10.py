"""Notebook 10: its checks pass right answers and name wrong ones; the folded solutions are right."""

import re

import numpy as np
import pytest
import torch

from utils import checks
from utils.challenges import fine_features as fine
from utils.course import NOTEBOOKS
from utils.features import Features

NOTEBOOK = NOTEBOOKS / "10_fine_grained_features.ipynb"
NAMES = {"my_edges": checks.edge_sobel, "my_attention": checks.user_attention, "my_permuted": checks.wrong_owner}


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


RIGHT = {"my_edges": lambda grey: np.hypot(*slopes(grey)), "my_attention": attention, "my_permuted": permuted}


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_pass_and_stubs_are_not_judged(name):
    verdict = NAMES[name](RIGHT[name])
    assert verdict.passed is True, verdict
    assert NAMES[name](lambda *arguments: None).passed is None


@pytest.mark.skipif(not NOTEBOOK.exists(), reason="notebook 10 is not here yet")
def test_the_folded_solutions_pass():
    import nbformat

    space = {"torch": torch, "np": np, "SOBEL": fine.SOBEL}
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    for block in re.findall(
        r"```python\n(.*?)```", "\n".join(c.source for c in cells if c.cell_type == "markdown"), re.S
    ):
        exec(block, space)
    for name, check in NAMES.items():
        verdict = check(space[name])
        assert verdict.passed is True, verdict


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
    ],
)
def test_mistakes_in_the_permutation_are_named(wrong, mistake):
    verdict = checks.wrong_owner(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict
