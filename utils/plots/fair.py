"""Plots of fair evaluation (notebook 11): trials of a search, the chance in a sample, leaks found, what a choice flatters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.errors import CourseError
from utils.plots.pictures import _ink
from utils.plots.style import HIT, LINES, colour_of, metric_label, styled

GREY = "#B0B0B0"

__all__ = ["choice_dots", "leak_lines", "sample_curve", "trial_dots"]


@styled
def trial_dots(
    trials: pd.DataFrame, chosen: Mapping[str, int], metric: str = "recall@20", *, title: str = ""
) -> Figure:
    """Draw the test value of every trial: grey = tried, ring = recommended (trial 0), filled = chosen on validation.

    Args:
        trials: columns model, trial, test (one row per run; seeds are averaged).
        chosen: model -> trial.
    """
    if not len(trials):
        raise CourseError("There is no trial to draw; search with a budget of at least one.")
    mean = trials.groupby(["model", "trial"], sort=False)["test"].mean()
    names = list(dict.fromkeys(trials["model"]))
    fig = Figure(figsize=(10, 1.8 + 0.7 * len(names)), layout="constrained")
    ax = fig.subplots()
    for row, name in enumerate(names):
        own, colour = mean[name], colour_of(name)
        ax.plot(own, [row] * len(own), "o", color=GREY, markersize=11, zorder=1)
        ax.plot(own[chosen[name]], row, "o", color=colour, markersize=16, zorder=2)
        ax.plot(own.get(0, np.nan), row, "o", color="none", markeredgecolor="black", markeredgewidth=2, markersize=16)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.margins(x=0.06)
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(metric_label(metric) + ", test part\n(grey: tried, ring: recommended, filled: chosen on validation)")
    ax.set_title(title)
    return fig


@styled
def sample_curve(
    n_items: int, samples: Sequence[int], chance: Any, top_k: int = 10, *, title: str = ""
) -> Figure:  # fmt: skip
    """Draw the chance of a hit against the true rank, for several sample sizes, beside the step of full ranking.

    Args:
        chance: function (ranks, n_items, n_negatives, top_k) -> (len(ranks),).
    """
    ranks = np.arange(1, n_items + 1)
    fig = Figure(figsize=(10, 4.6), layout="constrained")
    ax = fig.subplots()
    ax.plot(ranks, ranks <= top_k, color="black", linewidth=2.5, label="all items")
    for n, (colour, dashes) in zip(samples, LINES[1:]):
        ax.plot(
            ranks,
            chance(ranks, n_items, n, top_k),
            color=colour,
            linestyle=dashes,
            linewidth=2.5,
            label=f"1 + {n} negatives",
        )
    ax.set_xscale("log")
    ax.set_xticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
    ax.set_xlim(1, n_items)
    ax.set(xlabel="True rank among all competitors (1 = best)", ylabel=f"Chance of a hit in the first {top_k}")
    ax.legend(loc="lower left")
    ax.set_title(title)
    return fig


@styled
def choice_dots(frame: pd.DataFrame, metric: str = "recall@20", *, title: str = "") -> Figure:
    """Draw for each way of choosing what is reported (filled) and what is true (ring), their difference between them.

    Args:
        frame: index = way of choosing; columns reported, honest.
    """
    fig = Figure(figsize=(10, 1.9 + 0.8 * len(frame)), layout="constrained")
    ax = fig.subplots()
    ways, reported, honest = list(map(str, frame.index)), frame["reported"].to_numpy(), frame["honest"].to_numpy()
    for row, (left, right) in enumerate(zip(honest, reported)):
        ax.plot([left, right], [row, row], color=GREY, linewidth=5, zorder=1)
        ax.text(max(left, right), row - 0.3, f"{right - left:+.4f}", ha="right", va="center", color=_ink(HIT))
    ax.plot(reported, range(len(ways)), "o", color=HIT, markersize=14, label="reported")
    ring = {"markerfacecolor": "white", "markeredgecolor": "black", "markeredgewidth": 2}
    ax.plot(honest, range(len(ways)), "o", markersize=14, label="on fresh users", **ring)
    ax.set_yticks(range(len(ways)), ways)
    ax.set_ylim(len(ways) - 0.4, -0.7)
    ax.margins(x=0.15)
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(metric_label(metric))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    ax.set_title(title)
    return fig


@styled
def leak_lines(frame: pd.DataFrame, limit: float, *, title: str = "") -> Figure:
    """Draw how many standard errors each rule finds, against the share of the answers that leaks.

    Args:
        frame: index = share leaked (0 to 1), one column per rule and kind of leak.
        limit: above it an entry is flagged.
    """
    fig = Figure(figsize=(10, 4.8), layout="constrained")
    ax = fig.subplots()
    for at, (name, (colour, dashes)) in enumerate(zip(frame.columns, LINES[:1] + LINES[2:])):
        ax.plot(
            frame.index * 100,
            frame[name],
            marker="osD^"[at % 4],
            color=colour,
            linestyle=dashes,
            linewidth=2.5,
            label=str(name),
        )
    ax.axhline(limit, color=HIT, linestyle="--")
    ax.text(100, limit, "flagged above ", ha="right", va="bottom", color=_ink(HIT))
    ax.set(xlabel="Share of the held-out pairs that leaks (%)", ylabel="Standard errors from honest")
    ax.legend(loc="upper left")
    ax.set_title(title)
    return fig
