"""Plots of fusion (notebook 04): the ways through the schema, and a weight turned from one modality to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from utils.errors import CourseError
from utils.plots.style import HIT, MODALITY_COLOURS, metric_label, styled

GREY, FUSED = "#444444", MODALITY_COLOURS["multimodal"]
# the stages of each way, in order; "|" = one box per modality, "1" = one box for all
WAYS = {
    "joint": (("x", "|"), ("mu", "1"), ("rho", "1"), ("score", "1")),
    "early": (("x", "|"), ("mu", "|"), ("gamma", "1"), ("rho", "1"), ("score", "1")),
    "late": (("x", "|"), ("mu", "|"), ("rho", "|"), ("gamma", "1"), ("score", "1")),
}
TITLES = {
    "joint": "Joint: no fusion stage",
    "early": "Coordinate, then early fusion",
    "late": "Coordinate, then late fusion",
}
WORDS = {
    "x": "features",
    "mu": "\u03bc\nrepresent",
    "gamma": "\u03b3\nfuse",
    "rho": "\u03c1\nscore",
    "score": "one score\nper item",
}


@styled
def when_to_fuse(modalities: Sequence[str] = ("visual", "textual"), *, title: str = "") -> Figure:
    """Draw the three ways from features to a score: joint, coordinate and early, coordinate and late.

    Args:
        modalities: keys of ``MODALITY_COLOURS``, one lane each.
    """
    if not modalities:
        raise CourseError("There is no modality to draw; give at least one.")
    n = len(modalities)
    fig = Figure(figsize=(12, 1.1 + 3 * (0.5 + 0.62 * n)), layout="constrained")
    for ax, (way, stages) in zip(fig.subplots(len(WAYS), 1), WAYS.items()):
        before: list[tuple[float, float]] = []
        for x, (stage, lanes) in enumerate(stages):
            many = lanes == "|"
            places = [(x, n - 1 - k) for k in range(n)] if many else [(x, (n - 1) / 2)]
            colours = [MODALITY_COLOURS[name] for name in modalities] if many else [FUSED]
            for k, ((bx, by), colour) in enumerate(zip(places, colours)):
                words = modalities[k] if stage == "x" else WORDS[stage].replace("\n", " " if many else "\n")
                _box(ax, bx, by, words, colour, thick=stage == "gamma", tall=not many and n > 1)
            pairs = zip(before, places) if len(before) == len(places) else [(a, b) for a in before for b in places]
            for (ax0, ay0), (bx, by) in pairs:
                arrow = {"arrowstyle": "-|>", "mutation_scale": 16, "color": GREY, "shrinkA": 0, "shrinkB": 0}
                ax.add_patch(FancyArrowPatch((ax0 + 0.37, ay0), (bx - 0.38, by), **arrow))
            before = places
        ax.set(xlim=(-0.42, 4.42), ylim=(-0.55, n - 0.45), title=TITLES[way])
        ax.axis("off")
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig


def _box(ax: Axes, x: float, y: float, words: str, colour: str, *, thick: bool, tall: bool) -> None:
    """Draw one box, its words inside; gamma is filled, because it is what the three ways differ in."""
    height = 0.9 if tall else 0.56
    face = colour if thick else "white"
    box = FancyBboxPatch(
        (x - 0.33, y - height / 2),
        0.66,
        height,
        boxstyle="round,pad=0.03",
        facecolor=face,
        edgecolor=colour,
        linewidth=3,
    )
    ax.add_patch(box)
    ax.text(x, y, words, ha="center", va="center", fontsize=14, weight="bold" if thick else "normal")


@styled
def weight_curves(
    curves: Mapping[str, pd.Series],
    metric: str = "recall@20",
    *,
    ends: tuple[str, str] = ("visual", "textual"),
    title: str = "",
) -> Figure:
    """Draw a metric while a weight moves from one modality (0) to another (1), one line per way; a dot marks the best.

    Args:
        curves: name -> values of the metric, index = weight of ``ends[1]``, 0 to 1.
        ends: the modality that has all the weight at 0, and the one that has it at 1.
    """
    if not curves:
        raise CourseError("There is no curve to draw.")
    fig = Figure(figsize=(10, 5), layout="constrained")
    ax = fig.subplots()
    styles = (("#000000", "-", "o"), ("#5D3A9B", "--", "s"), ("#6E6E6E", ":", "D"))
    for at, (name, curve) in enumerate(curves.items()):
        colour, dash, marker = styles[at % len(styles)]
        ax.plot(curve.index, curve, dash, color=colour, marker=marker, markersize=6, label=name)
        ax.plot(
            curve.idxmax(),
            curve.max(),
            "o",
            markersize=16,
            markerfacecolor="none",
            markeredgecolor=HIT,
            markeredgewidth=3,
        )
    values = np.concatenate([curve.to_numpy(dtype=float) for curve in curves.values()])
    ax.set_ylim(values.min() - 0.12 * np.ptp(values), values.max() + 0.3 * np.ptp(values))
    ax.set(xlabel=f"Weight of the {ends[1]} scores (0 = {ends[0]} only, 1 = {ends[1]} only)", title=title)
    ax.set_ylabel(metric_label(metric).replace(" (", "\n("))
    ax.grid(axis="y")
    ax.legend(loc="upper center", ncols=len(curves))
    return fig
