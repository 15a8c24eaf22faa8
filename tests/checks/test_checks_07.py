"""The checks of notebook 07 pass right answers and name wrong ones; its plots say what they should."""

import numpy as np
import pandas as pd
import pytest
import torch

from utils import checks
from utils.challenges.imputation import clamped, neighbours
from utils.errors import CourseError
from utils.plots import missing as plots_missing
from utils.plots.style import png


def cosine(truth, filled, centre):
    a, b = truth - centre, filled - centre
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return ((a * b).sum(1) / np.where(lengths > 0, lengths, 1)).mean()


def plain(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def left_out(truth, filled, centre):
    keep = np.linalg.norm(filled - centre, axis=1) > 0
    return plain((truth - centre)[keep], (filled - centre)[keep]).mean()


def neighbour_mean(matrix, mask, graph):
    total, count = graph @ (matrix * mask[:, None]), graph @ mask.astype(float)
    rows = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], matrix[mask].mean(0))
    return np.where(mask[:, None], matrix, rows)


def filled(rows):
    """Make an answer that fills the missing rows only."""
    return lambda matrix, mask, graph: np.where(mask[:, None], matrix, rows(matrix, mask, graph))


def zero_fallback(matrix, mask, graph):
    total, count = graph @ (matrix * mask[:, None]), graph @ mask.astype(float)
    return total / np.maximum(count, 1)[:, None]


def dirty_fallback(matrix, mask, graph):
    rows, count = zero_fallback(matrix, mask, graph), graph @ mask.astype(float)
    return np.where(count[:, None] > 0, rows, matrix.mean(0))


def nan_fallback(matrix, mask, graph):
    return (graph @ (matrix * mask[:, None])) / (graph @ mask.astype(float))[:, None]


def everyone(matrix, mask, graph):
    return (graph @ matrix) / np.maximum(np.asarray(graph.sum(1)), 1)


def in_place(matrix, mask, graph):
    matrix[~mask] = neighbour_mean(matrix, mask, graph)[~mask]
    return matrix


def propagation(matrix, mask, step, n_layers, clamp=True, last=True, clean=True):
    start = matrix * mask[:, None] if clean else matrix.copy()
    rows = start
    for layer in range(n_layers):
        rows = step @ rows
        if clamp and (last or layer < n_layers - 1):
            rows[mask] = start[mask]
    return rows


def clamp_at_the_end(matrix, mask, step, n_layers):
    rows = propagation(matrix, mask, step, n_layers, clamp=False)
    rows[mask] = matrix[mask]
    return rows


def clamp_the_missing(matrix, mask, step, n_layers):
    rows = start = matrix * mask[:, None]
    for _ in range(n_layers):
        rows = step @ rows
        rows[~mask] = start[~mask]
    return rows


def cosine_by_loop(truth, filled, centre):
    found = []
    for one, other in zip(truth - centre, filled - centre):
        size = float(np.sqrt(one @ one) * np.sqrt(other @ other))
        found.append(float(one @ other) / size if size else 0.0)
    return sum(found) / len(found)


def cosine_in_torch(truth, filled, centre):
    truth, filled, centre = map(torch.as_tensor, (truth, filled, centre))
    return torch.nn.functional.cosine_similarity(truth - centre, filled - centre, dim=1).mean()


def mean_by_loop(matrix, mask, graph):
    result, table = matrix.copy(), graph.toarray()
    for item in np.flatnonzero(~mask):
        near = np.flatnonzero((table[item] > 0) & mask)
        result[item] = matrix[near].mean(0) if len(near) else matrix[mask].mean(0)
    return result.astype(np.float32)


def diffusion(matrix, mask, walk, alpha, n_terms, weight=None, divide=True, clean=True, fallback=True, last=False):
    seen = mask[:, None].astype(float)
    both, total = np.hstack([matrix * seen if clean else matrix, seen]), 0
    for k in range(n_terms + 1):
        total = (0 if last else total) + ((1 - alpha) ** k if weight is None else weight(alpha, k)) * both
        both = walk @ both
    rows, size = total[:, :-1], total[:, -1:]
    rows = rows / size if divide == "always" else rows / np.where(size > 0, size, 1) if divide else rows
    rows = np.where(size > 0, rows, matrix[mask].mean(0)) if fallback else rows
    return np.where(mask[:, None], matrix, rows)


def diffusion_of_dense_powers(matrix, mask, walk, alpha, n_terms):
    table = walk.toarray()
    operator = sum((1 - alpha) ** k * np.linalg.matrix_power(table, k) for k in range(n_terms + 1)) * mask
    size = operator.sum(1, keepdims=True)
    rows = np.where(size > 0, operator @ matrix / np.where(size > 0, size, 1), matrix[mask].mean(0))
    return torch.as_tensor(np.where(mask[:, None], matrix, rows))


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.centred_cosine, cosine),
        (checks.centred_cosine, cosine_by_loop),
        (checks.centred_cosine, cosine_in_torch),
        (checks.neighbour_mean, neighbour_mean),
        (checks.neighbour_mean, mean_by_loop),
        (checks.neighbour_mean, lambda matrix, mask, graph: neighbours(matrix, mask, graph=graph)),
        (checks.feature_propagation, propagation),
        (checks.feature_propagation, clamped),
        (checks.diffused_mean, diffusion),
        (checks.diffused_mean, diffusion_of_dense_powers),
    ],
)
def test_right_answers_pass(check, right):
    assert check(right).passed is True, check(right)


# ---- wrong answers ----


def upside_down(matrix, mask, graph):
    return neighbour_mean(matrix, ~mask, graph)


def per_item(matrix, mask, graph):
    return filled(lambda m, k, g: g @ (m * k[:, None]) / len(m))(matrix, mask, graph)


def with_self(matrix, mask, graph):
    near = graph + np.eye(len(matrix))
    return filled(lambda m, k, g: np.asarray(near @ (m * k[:, None])) / np.asarray(near.sum(1)))(matrix, mask, graph)


def all_layers(matrix, mask, step, n_layers):
    return [propagation(matrix, mask, step, n) for n in range(n_layers + 1)]


def layers_added(matrix, mask, step, n_layers):
    return np.where(mask[:, None], matrix, np.sum(all_layers(matrix, mask, step, n_layers), 0))


def layers_averaged(matrix, mask, step, n_layers):
    return np.mean(all_layers(matrix, mask, step, n_layers), 0)


def from_the_mean(matrix, mask, step, n_layers):
    return propagation(np.where(mask[:, None], matrix, matrix[mask].mean(0)), mask, step, n_layers, clean=False)


def mean_of_all(matrix, mask, walk, alpha, n_terms):
    return np.where(mask[:, None], matrix, matrix[mask].mean(0))


def no_own_rows(matrix, mask, walk, alpha, n_terms):
    return diffusion(matrix, mask, walk, alpha, n_terms) * 2


COSINE, MEAN = checks.centred_cosine, checks.neighbour_mean
HOPS, WALK = checks.feature_propagation, checks.diffused_mean


@pytest.mark.parametrize(
    ("check", "wrong", "mistake"),
    [
        (COSINE, lambda t, f, c: plain(t, f).mean(), "do not subtract centre"),
        (COSINE, lambda t, f, c: plain(t - c, f).mean(), "truth only"),
        (COSINE, lambda t, f, c: plain(t, f - c).mean(), "filled rows only"),
        (COSINE, lambda t, f, c: plain(t - t.mean(0), f - f.mean(0)).mean(), "own mean"),
        (COSINE, lambda t, f, c: plain(t - c, f - c), "one cosine for each row"),
        (COSINE, lambda t, f, c: plain(t - c, f - c).mean(), "length 0"),
        (COSINE, left_out, "leave rows out"),
        (COSINE, lambda t, f, c: ((t - c) * (f - c)).sum(1).mean(), "inner product"),
        (COSINE, lambda t, f, c: 1 - cosine(t, f, c), "distance"),
        (COSINE, lambda t, f, c: plain((t - c).T, (f - c).T).mean(), "compare the columns"),
        (
            COSINE,
            lambda t, f, c: (((t - c) * (f - c)).sum(1) / ((t - c) ** 2).sum(1) / ((f - c) ** 2).sum(1)).mean(),
            "squared",
        ),
        (COSINE, lambda t, f, c: plain(t - c, f - c).sum(), "add the cosines up"),
        (COSINE, lambda t, f, c: 0.123, "six rows"),
        (MEAN, lambda m, k, g: neighbours(m, k, graph=g, count_missing=True), "in your denominator"),
        (MEAN, filled(zero_fallback), "stay zero"),
        (MEAN, filled(dirty_fallback), "missing ones included"),
        (MEAN, filled(nan_fallback), "NaN"),
        (MEAN, filled(everyone), "read missing rows"),
        (MEAN, filled(lambda m, k, g: g @ (m * k[:, None])), "return the sum"),
        (MEAN, filled(lambda m, k, g: neighbour_mean(m, k, g.T.tocsr())), "backwards"),
        (MEAN, filled(lambda m, k, g: m[k].mean(0)), "ask the neighbours first"),
        (MEAN, zero_fallback, "changed observed rows"),
        (MEAN, upside_down, "upside down"),
        (MEAN, per_item, "number of all items"),
        (MEAN, with_self, "count the item itself"),
        (MEAN, in_place, "change the matrix"),
        (MEAN, lambda m, k, g: m[:3], "every item has a row"),
        (HOPS, lambda m, k, s, n: propagation(m, k, s, n, clamp=False), "no clamp"),
        (HOPS, clamp_at_the_end, "at the end"),
        (HOPS, lambda m, k, s, n: propagation(m, k, s, 1), "one layer"),
        (HOPS, lambda m, k, s, n: propagation(m, k, s, n + 1), "too many"),
        (HOPS, lambda m, k, s, n: propagation(m, k, s, n - 1), "too few"),
        (HOPS, lambda m, k, s, n: propagation(m, k, s, n, clean=False), "read missing rows"),
        (HOPS, lambda m, k, s, n: propagation(m, k, s.T.tocsr(), n), "backwards"),
        (HOPS, lambda m, k, s, n: propagation(m, k, s, n, last=False), "after the last step"),
        (HOPS, clamp_the_missing, "missing rows never change"),
        (HOPS, layers_added, "add the layers up"),
        (HOPS, layers_averaged, "average the layers"),
        (HOPS, from_the_mean, "start the missing rows at the mean"),
        (WALK, lambda *a: diffusion(*a, divide=False), "nothing is divided"),
        (
            WALK,
            lambda *a: diffusion(*a, divide=False, weight=lambda alpha, k: alpha * (1 - alpha) ** k),
            "still undivided",
        ),
        (WALK, lambda *a: diffusion(*a, weight=lambda alpha, k: alpha**k), "are swapped"),
        (WALK, lambda *a: diffusion(*a, weight=lambda alpha, k: 1), "all steps weigh the same"),
        (WALK, lambda *a: diffusion(*a, last=True), "last step only"),
        (WALK, lambda *a: diffusion(*a[:-1], a[-1] - 1), "too few"),
        (WALK, lambda *a: diffusion(*a[:-1], a[-1] + 1), "too many"),
        (WALK, lambda m, k, w, a, n: diffusion(m, k, w.T.tocsr(), a, n), "backwards"),
        (WALK, lambda *a: diffusion(*a, fallback=False), "stay zero"),
        (WALK, lambda *a: diffusion(*a, divide="always", fallback=False), "NaN"),
        (WALK, lambda *a: diffusion(*a, clean=False), "read missing rows"),
        (WALK, mean_of_all, "that is the fallback"),
        (WALK, no_own_rows, "changed observed rows"),
        (WALK, lambda *a: diffusion(*a)[:3], "every item has a row"),
    ],
)
def test_each_mistake_is_named(check, wrong, mistake):
    with np.errstate(all="ignore"):
        verdict = check(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict


def test_an_answer_that_raises_is_reported():
    assert "ZeroDivisionError" in checks.neighbour_mean(lambda m, k, g: 1 / 0).message


# ---- plots ----


def test_plots_draw_what_they_are_given():
    methods = ["mean", "neighbours", "multi_hop", "cross_modal", "random"]
    rows = [
        {"hidden": p, "method": m, "mse": 100.0 if m == "random" else 1 + p / 9, "cosine": p}
        for p in (0.1, 0.9)
        for m in methods
    ]
    figure = plots_missing.fill_curves(pd.DataFrame(rows), title="Filled")
    left, right = figure.axes
    assert len(right.get_legend_handles_labels()[1]) == 5 and left.get_ylim()[1] <= 1.6
    assert "%" in left.get_xlabel() and png(figure)[:4] == b"\x89PNG"
    table = pd.DataFrame({"own": [0.1, 0.3], "misplaced": [np.nan, 0.2]}, index=["mean", "multi_hop"])
    (ax,) = plots_missing.owners(table, {"complete": 0.25}).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["multi_hop", "mean"]
    groups, present = pd.Series(["a", "a", "b"]), np.array([True, False, False])
    (ax,) = plots_missing.present_share(groups, present, "audio").axes
    assert [bar.get_width() for bar in ax.containers[0]] == [1, 2]


def test_methods_are_told_apart():
    styles = plots_missing.method_styles(
        ["zeros", "mean", "neighbours", "multi_hop", "pagerank", "heat", "cross_modal"]
    )
    assert len(set(map(str, styles.values()))) == 7


def test_empty_plots_say_so():
    with pytest.raises(CourseError, match="nothing to draw"):
        plots_missing.fill_curves(pd.DataFrame())
    with pytest.raises(CourseError, match="nothing to draw"):
        plots_missing.owners(pd.DataFrame(), {})
