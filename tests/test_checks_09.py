"""The checks of notebook 09 pass right answers and name wrong ones; its plots say what they should."""

import numpy as np
import pandas as pd
import pytest
import torch

from utils import checks, plots_extractors
from utils.challenges.extractor_study import spreads
from utils.features import Features
from utils.plotstyle import png


def stub(*_):
    """Nothing was written yet."""


def course_whitening(matrix, width):
    names = np.arange(len(matrix)).astype(str)
    return Features("visual", matrix, names).whitened(width).matrix


def whitened(matrix, width):
    centre = matrix - matrix.mean(0)
    _, singular, axes = np.linalg.svd(centre, full_matrices=False)
    return centre @ axes[:width].T / (singular[:width] / np.sqrt(len(matrix) - 1))


def axes_of(matrix):
    centre = matrix - matrix.mean(0)
    return centre, np.linalg.svd(centre, full_matrices=False)


@pytest.mark.parametrize("right", [whitened, course_whitening])
def test_same_width_passes(right):
    assert checks.same_width(right).passed, checks.same_width(right)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x, k: axes_of(x)[0] @ axes_of(x)[1][2][:k].T, "divide each by its standard deviation"),
        (lambda x, k: axes_of(x)[1][0][:, :k], "length 1, not variance 1"),
        (lambda x, k: whitened(x, 6)[:, -k:], "smallest axes"),
        (lambda x, k: x @ np.linalg.svd(x, full_matrices=False)[2][:k].T, "not centred"),
        (lambda x, k: ((x - x.mean(0)) / x.std(0, ddof=1))[:, :k], "standardised the first columns"),
        (lambda x, k: whitened(x, 6), "(200, 3)"),
    ],
)
def test_same_width_names_the_mistake(wrong, says):
    verdict = checks.same_width(wrong)
    assert verdict.passed is False and says in verdict.message, verdict


def attention(logits, present):
    return torch.nan_to_num(torch.softmax(logits.masked_fill(~present, -torch.inf), dim=1))


def by_exp(logits, present):
    weight = torch.exp(logits) * present
    return torch.nan_to_num(weight / weight.sum(1, keepdim=True))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x, p: torch.softmax(x, 1), "take part"),
        (lambda x, p: torch.softmax(x, 1) * p, "after the softmax"),
        (lambda x, p: torch.softmax(x * p, 1), "exp(0)"),
        (lambda x, p: torch.softmax(x.masked_fill(~p, -torch.inf), 0), "dim=1"),
        (lambda x, p: torch.softmax(x.masked_fill(~p, -torch.inf), 1), "NaN"),
        (by_exp, "overflow"),
        (lambda x, p: p / p.sum(1, keepdim=True), "weighs the same"),
    ],
)
def test_history_attention(wrong, says):
    assert checks.history_attention(attention).passed
    verdict = checks.history_attention(wrong)
    assert verdict.passed is False and says in verdict.message, verdict


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def distance(history, listed):
    return 1 - (unit(history) @ unit(listed).T).mean()


def of_centres(history, listed):
    a, b = history.mean(0), listed.mean(0)
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda h, r: 1 - distance(h, r), "similarity"),
        (lambda h, r: 1 - (h @ r.T).mean(), "length 1"),
        (of_centres, "cosine of the two centres"),
        (lambda h, r: np.linalg.norm(h.mean(0) - r.mean(0)), "between the two centres"),
        (lambda h, r: 1 - unit(r)[0] @ unit(r)[1], "within the list"),
        (lambda h, r: 0.5, "you return 0.5"),
    ],
)
def test_distance_of_list(wrong, says):
    assert checks.distance_of_list(distance).passed
    verdict = checks.distance_of_list(wrong)
    assert verdict.passed is False and says in verdict.message, verdict


def my_spreads(table):
    rows = table.mean(axis=1)
    return rows.max() - rows.min(), (table.max(axis=1) - table.min(axis=1)).mean()


def course_spreads(table):
    long = table.stack().rename("recall").rename_axis(["recommender", "extractor"]).reset_index()
    found = spreads(long.assign(seed=0))
    return found["recommender"], found["extractor"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda t: my_spreads(t)[::-1], "swapped"),
        (lambda t: my_spreads(t.T), "rows and columns"),
        (lambda t: ((t.max() - t.min()).mean(), my_spreads(t)[1]), "mean of ranges"),
        (lambda t: (my_spreads(t)[0], t.mean().max() - t.mean().min()), "in each row"),
        (lambda t: (t.mean(axis=1).std(), t.std(axis=1).mean()), "standard deviations"),
        (lambda t: (t.to_numpy().max() - t.to_numpy().min(), my_spreads(t)[1]), "range of all cells"),
        (lambda t: 0.1, "two numbers"),
    ],
)
def test_extractor_spreads(wrong, says):
    assert checks.extractor_spreads(my_spreads).passed
    assert checks.extractor_spreads(course_spreads).passed
    verdict = checks.extractor_spreads(wrong)
    assert verdict.passed is False and says in verdict.message, verdict


@pytest.mark.parametrize("name", ["same_width", "history_attention", "distance_of_list", "extractor_spreads"])
def test_untouched_stubs_are_not_tried_yet(name):
    assert getattr(checks, name)(stub).passed is None


# ---- plots ----


def test_grid_dots_draws_every_extractor_and_the_line_without_content():
    rows = [
        {"recommender": r, "extractor": e, "seed": s, "recall": v + 0.01 * s}
        for r, e, v in (
            ("bpr", "none", 0.3),
            ("vbpr", "a", 0.2),
            ("vbpr", "b", 0.25),
            ("acf", "a", 0.1),
            ("acf", "b", 0.1),
        )
        for s in (0, 1)
    ]
    fig = plots_extractors.grid_dots(pd.DataFrame(rows), "recall", label="Recall@20", title="t")
    (ax,) = fig.axes
    assert [text.get_text() for text in ax.get_xticklabels()] == ["vbpr", "acf"]
    assert {text.get_text() for text in ax.get_legend().get_texts()} >= {"a", "b", "bpr"}
    assert len(png(fig)) > 5_000


def test_seen_and_found_names_every_mark():
    seen = pd.DataFrame({"colour": [0.2, 0.8], "topic": [0.6, 0.2]}, index=["cnn", "histogram"])
    found = seen / 2 + 0.4
    fig = plots_extractors.seen_and_found(seen, found, title="t")
    assert len(fig.axes) == 2 and {ax.get_title("left") for ax in fig.axes} == {"colour", "topic"}
    words = {text.get_text() for text in fig.legends[0].get_texts()}
    assert {"cnn", "histogram"} <= words
