"""Plots of evaluation (notebook 06): positions and discounts, orders under several protocols, differences, seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.errors import CourseError
from utils.evaluation.metrics import discount
from utils.plots.pictures import _ink
from utils.plots.style import HIT, MARKERS, colour_of, metric_label, styled

MISS = "#BBBBBB"


@styled
def discounts(hits: Any, n_relevant: int, *, title: str = "") -> Figure:
    """Draw what each place of one list is worth, the hits filled, beside the best list that this user could get.

    Args:
        hits: (k,) bool, best place first.
        n_relevant: relevant items of the user; the ideal list has min(k, n_relevant) hits on top.
    """
    hits = np.asarray(hits, dtype=bool)
    if hits.ndim != 1 or not len(hits):
        raise CourseError(f"hits has shape {hits.shape}; give the True and False of one list, (k,).")
    gains, ranks = discount(len(hits)), np.arange(1, len(hits) + 1)
    fig = Figure(figsize=(11, 4.6), layout="constrained")
    panels = (("This list", hits), ("The best possible list", ranks <= n_relevant))
    for ax, (name, shown) in zip(fig.subplots(1, 2, sharey=True), panels):
        ax.bar(ranks, gains, 0.75, color="#FFFFFF", edgecolor=MISS, linewidth=1.2)
        ax.bar(ranks[shown], gains[shown], 0.75, color=HIT)
        for rank in ranks[shown]:
            ax.text(rank, gains[rank - 1] + 0.02, f"{gains[rank - 1]:.2f}", ha="center", va="bottom", fontsize=12)
        ax.set(xlabel="Place in the list (rank)", title=f"{name}: sum {gains[shown].sum():.2f}", ylim=(0, 1.12))
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        ax.set_xlim(0.0, len(hits) + 0.6)
    fig.axes[0].set_ylabel("Worth of a hit: 1 / log2(rank + 1)")
    if title:
        fig.suptitle(title, fontsize=16, x=0.01, ha="left")
    return fig


@styled
def rank_lines(frame: pd.DataFrame, *, kinds: Mapping[str, str] | None = None, title: str = "") -> Figure:
    """Draw the order of the models in every column, rank 1 on top; crossing lines are pairs that change places.

    Args:
        frame: index = model, one column per way of judging; larger values rank higher (ties share the better rank).
        kinds: model -> modality or colour.
    """
    if frame.isna().any().any():
        raise CourseError("A value is missing, so there is no order; leave out the models or columns with NaN.")
    ranks = frame.rank(ascending=False, method="first")
    fig = Figure(figsize=(11, 1.4 + 0.5 * len(frame)), layout="constrained")
    ax = fig.subplots()
    last = len(frame.columns) - 1
    for at, name in enumerate(frame.index):
        colour = colour_of(str(name), kinds)
        line = ranks.loc[name].to_numpy()
        ax.plot(range(last + 1), line, color=colour, marker=MARKERS[at % len(MARKERS)], markersize=10, clip_on=False)
        values = frame.loc[name].to_numpy(dtype=float)
        texts = [f"{value:.3f}" for value in values]
        ink = _ink(colour)
        ax.text(-0.06, line[0], f"{name}  {texts[0]}", ha="right", va="center", color=ink)
        ax.text(last + 0.06, line[-1], f"{texts[-1]}  {name}", ha="left", va="center", color=ink)
        for column in range(1, last):
            ax.text(column + 0.03, line[column] - 0.28, texts[column], ha="left", va="center", color=ink, fontsize=12)
    ax.set_xticks(range(last + 1), [str(column) for column in frame.columns])
    ax.set_yticks(range(1, len(frame) + 1))
    ax.tick_params(axis="y", labelleft=False, length=0)
    ax.set_ylim(len(frame) + 0.5, 0.5)
    ax.set_xlim(-0.75 * max(last, 1) / 2, last + 0.75 * max(last, 1) / 2)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel("Way of judging (the best model on top, its value beside the line)")
    ax.set_title(title)
    return fig


@styled
def differences(
    diff: Any, metric: str = "recall@20", *, names: tuple[str, str] = ("a", "b"), title: str = ""
) -> Figure:
    """Draw how many users have which difference between two models, zeros apart, and the mean difference.

    Args:
        diff: (n_users,) value of the first model minus value of the second.
        names: the two models.
    """
    diff = np.asarray(diff, dtype=float)
    diff = diff[~np.isnan(diff)]
    if not len(diff):
        raise CourseError("There is no user with both values; nothing can be drawn.")
    zero = np.abs(diff) < 1e-12
    reach = max(np.abs(diff).max(), 1e-6)
    edges = np.linspace(-reach, reach, 22)
    fig = Figure(figsize=(11, 4.4), layout="constrained")
    ax = fig.subplots()
    counts, _ = np.histogram(diff[~zero], edges)
    centres = (edges[1:] + edges[:-1]) / 2
    colours = [HIT if centre > 0 else "#4D4D4D" for centre in centres]
    ax.bar(centres, counts, 0.9 * (edges[1] - edges[0]), color=colours)
    ax.axvline(0, 0, 0.8, color="#000000", linewidth=1)
    ax.axvline(diff.mean(), 0, 0.8, color="#5D3A9B", linestyle="--")
    top = max(counts.max(), 1)
    ax.set_ylim(0, 1.5 * top)
    texts = (
        (0.01, "left", "#4D4D4D", f"{names[1]} better: {(diff < -1e-12).sum():,} users"),
        (0.99, "right", HIT, f"{names[0]} better: {(diff > 1e-12).sum():,} users"),
        (0.5, "center", "#5D3A9B", f"equal: {zero.sum():,} users (not drawn)\ndashed: the mean, {diff.mean():+.4f}"),
    )
    for x, side, colour, text in texts:
        ax.text(x, 0.98, text, transform=ax.transAxes, ha=side, va="top", color=_ink(colour))
    ax.set_xlabel(f"Difference in {metric_label(metric).split(' (')[0]} of one user, {names[0]} \u2212 {names[1]}")
    ax.set_ylabel("Users (count)")
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_title(title)
    return fig


@styled
def seed_dots(
    frame: pd.DataFrame, metric: str = "recall@20", *, kinds: Mapping[str, str] | None = None, title: str = ""
) -> Figure:
    """Draw one dot per seed and model, with the mean as a bar and the seed's number in the dot ("=": all seeds alike).

    Args:
        frame: index = seed, one column per model (NaN where a seed was not run).
        metric: names the axis.
    """
    if frame.empty or frame.notna().sum().sum() == 0:
        raise CourseError("There is no run to draw; give at least one seed and one model.")
    fig = Figure(figsize=(10, 1.6 + 0.75 * frame.shape[1]), layout="constrained")
    ax = fig.subplots()
    for row, name in enumerate(frame.columns):
        values = frame[name].dropna()
        colour = colour_of(str(name), kinds)
        ax.plot([values.mean()] * 2, [row - 0.32, row + 0.32], color=colour, linewidth=4, alpha=0.5)
        ax.plot(values, [row] * len(values), "o", markersize=15, color=colour, markeredgecolor="white")
        alike = len(values) > 1 and values.nunique() == 1
        for seed, value in values[:1].items() if alike else values.items():
            ink = "black" if colour == "#E69F00" else "white"
            ax.text(
                value,
                row,
                "=" if alike else str(seed),
                ha="center",
                va="center_baseline",
                color=ink,
                fontsize=12,
                weight="bold",
            )
    ax.set_yticks(range(frame.shape[1]), [str(name) for name in frame.columns])
    ax.set_ylim(frame.shape[1] - 0.4, -0.6)
    ax.margins(x=0.08)
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(7))
    ax.set_xlabel(metric_label(metric) + "\n(number: the seed, =: all seeds alike, bar: the mean)")
    ax.set_title(title)
    return fig
