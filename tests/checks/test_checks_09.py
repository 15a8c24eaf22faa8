"""The checks of notebook 09 pass right answers and name wrong ones; its plots say what they should."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA

from utils import checks
from utils.features import Features
from utils.plots import extractors as plots_extractors
from utils.plots.style import png
from utils.studies.feature_extractors import spreads, variance_shares


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


def by_covariance(matrix, width):
    centre = (matrix - matrix.mean(0)).astype(np.float32)
    variance, axes = np.linalg.eigh(np.cov(centre.T))
    return torch.as_tensor(centre @ axes[:, ::-1][:, :width] / np.sqrt(variance[::-1][:width]))


def by_sklearn(matrix, width):
    return PCA(width, whiten=True).fit_transform(matrix)


def scaled(how):
    def wrong(matrix, width):
        centre, (_, singular, axes) = axes_of(matrix)
        return how(centre, singular[:width], axes, width, singular[:width] / np.sqrt(len(matrix) - 1))

    return wrong


@pytest.mark.parametrize("right", [whitened, course_whitening, by_covariance, by_sklearn])
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
        (lambda x, k: whitened(x, k).T, "(200, 3)"),
        (lambda x, k: whitened(x, k)[:, ::-1], "in the wrong order"),
        (scaled(lambda centre, s, axes, k, std: centre @ axes[:k].T / std**2), "divide by the variance"),
        (scaled(lambda centre, s, axes, k, std: centre @ axes[:k].T * std), "you multiply"),
        (scaled(lambda centre, s, axes, k, std: centre @ axes[:, :k] / std), "its *rows* are the axes"),
        (lambda x, k: whitened(x, k) * [1, 2, 3], "standard deviations are"),
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


def attention_by_loop(logits, present):
    rows = []
    for row, there in zip(logits.tolist(), present.tolist()):
        top = max(row)
        weight = [np.exp(value - top) if yes else 0.0 for value, yes in zip(row, there)]
        rows.append([one / (sum(weight) or 1) for one in weight])
    return rows


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x, p: torch.nan_to_num(torch.softmax(x.masked_fill(p, -torch.inf), 1)), "upside down"),
        (lambda x, p: torch.log_softmax(x.masked_fill(~p, -torch.inf), 1), "logarithms"),
        (lambda x, p: torch.sigmoid(x) * p, "sigmoid"),
        (lambda x, p: (x * p) / (x * p).sum(1, keepdim=True), "divide the logits by their sum"),
        (lambda x, p: attention(x, p)[0], "(3, 4)"),
        (lambda x, p: attention(x, p) + 0.1, "first user's weights"),
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
    for right in (attention, lambda x, p: attention(x, p).numpy(), attention_by_loop):
        assert checks.history_attention(right).passed, checks.history_attention(right)
    verdict = checks.history_attention(wrong)
    assert verdict.passed is False and says in verdict.message, verdict


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def distance(history, listed):
    return 1 - (unit(history) @ unit(listed).T).mean()


def distance_by_loop(history, listed):
    pairs = [h @ r / (h @ h) ** 0.5 / (r @ r) ** 0.5 for h in history for r in listed]
    return 1 - sum(pairs) / len(pairs)


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
        (lambda h, r: 1 - (unit(h) @ unit(r).T).sum(), "add the cosines up"),
        (lambda h, r: 1 - (unit(h) @ unit(r).T).max(0).mean(), "nearest history item"),
        (lambda h, r: 1 - (h @ r.T).mean() / np.linalg.norm(h) / np.linalg.norm(r), "by one length"),
        (lambda h, r: 1 - (unit(h.T).T @ unit(r.T)).mean(), "scale the columns"),
        (lambda h, r: np.linalg.norm(h[:, None] - r, axis=2).mean(), "distances in the space"),
        (lambda h, r: 1 - unit(h) @ unit(r).T, "one number"),
        (lambda h, r: 0.5, "you return 0.5"),
    ],
)
def test_distance_of_list(wrong, says):
    for right in (distance, lambda h, r: torch.as_tensor(distance(h, r)), distance_by_loop):
        assert checks.distance_of_list(right).passed, checks.distance_of_list(right)
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
        (lambda t: (my_spreads(t)[0], my_spreads(t)[1] * len(t)), "add the ranges up"),
        (lambda t: (my_spreads(t)[0], (t.max(axis=1) - t.min(axis=1)).max()), "largest of the ranges"),
        (lambda t: (-my_spreads(t)[0], -my_spreads(t)[1]), "negative"),
        (lambda t: (0.41, 0.43), "for the test table"),
        (lambda t: 0.1, "two numbers"),
    ],
)
def test_extractor_spreads(wrong, says):
    assert checks.extractor_spreads(my_spreads).passed
    assert checks.extractor_spreads(course_spreads).passed
    verdict = checks.extractor_spreads(wrong)
    assert verdict.passed is False and says in verdict.message, verdict


# ---- bonus ----


def shares(table):
    total = table.mean()
    rows, columns = (np.broadcast_to(table.mean(a, keepdims=True) - total, table.shape) for a in (1, 0))
    parts = rows, columns, table - total - rows - columns
    return [np.square(part).sum() / np.square(table - total).sum() for part in parts]


def course_shares(table):
    frame = pd.DataFrame(table).stack().rename("recall").rename_axis(["recommender", "extractor"]).reset_index()
    return variance_shares(frame)[["recommender", "extractor", "both together"]]


def filled_up(pair):
    return [*pair, 1 - sum(pair)]


def squares(table, n_rows=1, n_columns=1):
    total = table.mean()
    both = n_rows * np.square(table.mean(1) - total).sum(), n_columns * np.square(table.mean(0) - total).sum()
    return filled_up([one / np.square(table - total).sum() for one in both])


def uncentred(table):
    n, m = table.shape
    both = m * np.square(table.mean(1)).sum(), n * np.square(table.mean(0)).sum()
    return filled_up([one / np.square(table).sum() for one in both])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda t: shares(t.T), "rows and columns are swapped"),
        (squares, "square it once for each"),
        (lambda t: squares(t, *t.shape), "rows are counted by rows"),
        (uncentred, "not subtracted"),
        (lambda t: filled_up(np.sqrt(shares(t)[:2]).tolist()), "standard deviations"),
        (lambda t: filled_up([np.ptp(t.mean(1)) / np.ptp(t), np.ptp(t.mean(0)) / np.ptp(t)]), "ranges"),
        (lambda t: np.array(shares(t)) * np.square(t - t.mean()).sum(), "divide by the total"),
        (lambda t: 100 * np.array(shares(t)), "percentages"),
        (lambda t: [*shares(t)[:2], 0], "the rest is missing"),
        (lambda t: [*(np.array(shares(t)[:2]) / sum(shares(t)[:2])), 0], "scaled to add up"),
        (lambda t: shares(t)[:2], "three shares"),
        (lambda t: [0.2, 0.2, 0.6], "for the test table"),
    ],
)
def test_shares_of_variance(wrong, says):
    for right in (shares, course_shares):
        assert checks.shares_of_variance(right).passed, checks.shares_of_variance(right)
    verdict = checks.shares_of_variance(wrong)
    assert verdict.passed is False and says in verdict.message, verdict


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
