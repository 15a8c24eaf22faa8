"""Plots of pretraining (notebook 12): attention over a history, printed beside measured figures, ways to adapt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from utils.data import Dataset
from utils.errors import CourseError
from utils.plots.pictures import _name, _tile, _wrap
from utils.plots.style import HIT, MODALITY_COLOURS, metric_label, styled

GREY, DARK = MODALITY_COLOURS["none"], "#000000"


@styled
def attention_strip(
    dataset: Dataset, item_ids: Sequence[int], weights: Mapping[str, np.ndarray], *, title: str = ""
) -> Figure:
    """Show a history as pictures, oldest first, and below each how much the newest state attends to it, by model.

    Args:
        item_ids: (L,) the history; L at most 10.
        weights: model -> (L,) shares that sum to 1.
    """
    n = len(item_ids)
    if not 1 <= n <= 10:
        raise CourseError(f"The history has {n} items; give one to ten, so that the pictures can be seen.")
    fig = Figure(figsize=(10, 2.0 + 1.25 * len(weights)), layout="constrained")
    grid = fig.add_gridspec(1 + len(weights), n, height_ratios=[1.5, *[1.0] * len(weights)])
    paths = dataset.image_paths()
    for place, item in enumerate(item_ids):
        ax = fig.add_subplot(grid[0, place])
        _tile(ax, dataset, int(item), paths[item], hit=False, query=place == n - 1)
        ax.set_box_aspect(1)
        ax.set_title(_wrap(_name(dataset, int(item)), 11, 2), fontsize=11, loc="center")
    top = max(float(np.max(share)) for share in weights.values())
    for row, (name, share) in enumerate(weights.items(), start=1):
        ax = fig.add_subplot(grid[row, :])
        ax.bar(range(n), share, 0.6, color=HIT if row == 1 else GREY, edgecolor=DARK, hatch="" if row == 1 else "///")
        for place, value in enumerate(share):
            ax.text(place, value + 0.03 * top, f"{value:.2f}", ha="center", fontsize=11)
        ax.axhline(1 / n, color=DARK, linewidth=1, linestyle=":")
        ax.set(xlim=(-0.5, n - 0.5), ylim=(0, 1.3 * top), xticks=[], ylabel="Attention\n(share)")
        ax.set_title(name, fontsize=13)
    ax.set_xlabel("Items of the history, oldest to newest (dotted: all alike)")
    fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig


@styled
def beside_printed(
    measured: Mapping[str, float], printed: Mapping[str, float], metric: str = "hr@10", *, title: str = ""
) -> Figure:
    """Draw figures that were measured here (filled) and figures that others printed (hatched), the largest first."""
    rows = sorted([*((v, n, True) for n, v in measured.items()), *((v, n, False) for n, v in printed.items())])[::-1]
    fig = Figure(figsize=(10, 1.4 + 0.46 * len(rows)), layout="constrained")
    ax = fig.subplots()
    for place, (value, _, here) in enumerate(rows):
        face, hatch = (GREY, "") if here else ("#FFFFFF", "///")
        ax.barh(place, value, 0.66, color=face, edgecolor=GREY, hatch=hatch, linewidth=1.5)
        ax.text(value + 0.01 * rows[0][0], place, f"{value:.4f}", va="center", fontsize=12)
    ax.set_yticks(range(len(rows)), [name for _, name, _ in rows])
    ax.invert_yaxis()
    ax.set(xlabel=metric_label(metric), title=title)
    kinds = (Patch(facecolor=GREY), Patch(facecolor="#FFFFFF", edgecolor=GREY, hatch="///"))
    ax.legend(kinds, ("measured here", "printed by others"), loc="lower right")
    ax.set_xlim(0, 1.15 * rows[0][0])
    return fig


@styled
def panels(frame: pd.DataFrame, columns: Iterable[str], labels: Mapping[str, str], *, title: str = "") -> Figure:
    """Draw several quantities of the same rows side by side, one panel of bars each, so that gain and cost share a row.

    Args:
        frame: index = what is compared; a column "NAME std", where there is one, is drawn as spread.
        columns: which quantities, from left to right.
        labels: column -> axis name with its unit; a name that ends in "(log)" gets a logarithmic axis.
    """
    columns = list(columns)
    if missing := [name for name in columns if name not in frame]:
        raise CourseError(f"The table has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}.")
    fig = Figure(figsize=(11, 1.9 + 0.5 * len(frame)), layout="constrained")
    axes = np.atleast_1d(fig.subplots(1, len(columns), sharey=True))
    for ax, name in zip(axes, columns):
        values, log = frame[name].to_numpy(dtype=float), labels[name].endswith("(log)")
        spread = frame[f"{name} std"].to_numpy(dtype=float) if f"{name} std" in frame else np.full(len(values), np.nan)
        ax.barh(range(len(values)), values, 0.66, color=GREY, edgecolor=DARK)
        known = np.isfinite(spread)
        ax.errorbar(values[known], np.flatnonzero(known), xerr=spread[known], fmt="none", ecolor=DARK, capsize=4)
        if log:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # plain, also in a vector file
            ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(_wrap(labels[name], 22, 3))
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(frame)), [str(name).replace("_", " ") for name in frame.index])
    axes[0].invert_yaxis()
    fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig
