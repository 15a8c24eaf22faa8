"""Plots of reviews on edges (notebook 08): gates of low and high ratings, differences to the twins, layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.errors import CourseError
from utils.plotstyle import HIT, LINES, MARKERS, MODALITY_COLOURS, metric_label, styled

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


@styled
def twin_differences(
    tables: Mapping[str, pd.DataFrame], metric: str = "recall@20", *, alpha: float = 0.05, title: str = ""
) -> Figure:
    """Draw EGCF minus each twin with its interval, a block for each log; filled = significant after Holm.

    Args:
        tables: log -> table with index = twin and columns difference, low, high, t_holm; the same twins in each.
    """
    if not tables:
        raise CourseError("There is no table to draw; give at least one log.")
    n_rows = sum(len(table) + 1 for table in tables.values())
    fig = Figure(figsize=(10, 1.3 + 0.42 * n_rows), layout="constrained")
    ax = fig.subplots()
    row, ticks, names = 0, [], []
    for log, table in tables.items():
        ticks.append(row)
        names.append(f"{log}")
        for twin, line in table.iterrows():
            row += 1
            sure = line["t_holm"] < alpha
            colour = HIT if sure else GREY
            ax.plot([line["low"], line["high"]], [row, row], color=colour, linewidth=3)
            face = colour if sure else "#FFFFFF"
            ax.plot(line["difference"], row, "o", markersize=9, color=colour, markerfacecolor=face, markeredgewidth=2)
            ticks.append(row)
            names.append(f"EGCF \u2212 {twin}")
        row += 1
    ax.axvline(0, color="#000000", linewidth=1)
    ax.set_yticks(ticks, names)
    for label in ax.get_yticklabels():
        if "EGCF" not in label.get_text():
            label.set_fontweight("bold")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(row - 0.4, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(7))
    short = metric_label(metric).split(" (")[0]
    ax.set_xlabel(f"Difference in {short}, 95 % interval over users (filled: Holm p < {alpha:g})")
    ax.grid(axis="x")
    ax.set_title(title)
    return fig


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
