"""Plots of reviews on edges (notebook 08): gates of low and high ratings, differences to the twins, layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.errors import CourseError
from utils.plots import intervals
from utils.plots.style import HIT, LINES, MARKERS, MODALITY_COLOURS, metric_label, styled

GREY = MODALITY_COLOURS["none"]
BOUNDS = (0.2689, 0.7311)  # sigma(-1), sigma(1): no gate lies outside


@styled
def gate_histogram(
    groups: Mapping[str, np.ndarray], *, n_bins: int = 40, xlabel: str = "Gate w (no unit)", title: str = ""
) -> Figure:
    """Draw the distribution of gates for two or three groups of edges, each as shares of its own group.

    Args:
        groups: name -> (n,) gates.
    """
    if not groups or any(len(values) == 0 for values in groups.values()):
        raise CourseError("A group of edges is empty, so its gates cannot be drawn; choose other ratings.")
    fig = Figure(figsize=(10, 4.2), layout="constrained")
    ax = fig.subplots()
    edges = np.linspace(0.25, 0.75, n_bins + 1)
    colours = (HIT, "#0072B2", GREY)
    for (name, values), colour, style in zip(groups.items(), colours, ("-", "--", ":")):
        shares = np.histogram(values, edges)[0] / len(values)
        ax.stairs(shares, edges, color=colour, linestyle=style, linewidth=2.5, label=f"{name} ({len(values):,} edges)")
    for bound in BOUNDS:
        ax.axvline(bound, color="#000000", linewidth=1, linestyle=":")
    ax.set(xlabel=xlabel, ylabel="Share of the group", xlim=(0.25, 0.75))
    ax.set_title(title)
    ax.legend(loc="upper left")
    return fig


def twin_differences(
    tables: Mapping[str, pd.DataFrame], metric: str = "recall@20", *, alpha: float = 0.05, title: str = ""
) -> Figure:
    """Draw EGCF minus each twin with its interval, a block for each log; see `plots.intervals`.

    Args:
        tables: log -> table with index = twin and columns difference, low, high, t_holm.
    """
    blocks = {log: table.assign(a="EGCF", b=table.index) for log, table in tables.items()}
    return intervals(blocks, metric, alpha=alpha, title=title)


@styled
def layer_lines(frame: pd.DataFrame, metric: str = "recall@20", *, title: str = "") -> Figure:
    """Draw a metric against the number of layers, one line per twin; each seed is a dot.

    Args:
        frame: columns arm, layers, seed and ``metric``.
    """
    fig = Figure(figsize=(8.5, 4.2), layout="constrained")
    ax = fig.subplots()
    for (arm, rows), (colour, style), marker in zip(frame.groupby("arm", sort=False), LINES, MARKERS):
        mean = rows.groupby("layers")[metric].mean()
        ax.plot(mean.index, mean, style, color=colour, marker=marker, markersize=9, label=arm)
        ax.plot(rows["layers"], rows[metric], ".", color=colour, alpha=0.6)
    ax.set(xlabel="Layers L (steps on the graph)", ylabel=metric_label(metric).replace(" (", "\n("))
    ax.set_xticks(sorted(frame["layers"].unique()))
    ax.set_ylim(0, 1.12 * float(frame[metric].max()))
    ax.grid(axis="y")
    ax.legend(loc="lower right")
    ax.set_title(title)
    return fig
