"""Plots of generation (notebook 13): sheets of generated stamps, copied or made, what guidance and taste cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.errors import CourseError
from utils.plots.style import HIT, LINES, MARKERS, styled

GREY = "#6E6E6E"
FIGURES = {  # columns of the stored results -> axis names
    "colour": "Asked colour (share of pictures)",
    "category": "Asked category (share of pictures)",
    "variety": "Variety within a question (RMS, 0 to 1)",
    "variety_seen": "Variety within a question (encoder, 0 to 2)",
    "taste": "Cosine to the taste that was climbed",
    "own": "Cosine to the user's taste (judge)",
    "others": "Cosine to other users' tastes (judge)",
    "unseen": "Cosine to likes kept back (judge)",
    "likeness": "Likeness to the target (1 = the same)",
}


def _picture(ax: Axes, picture: np.ndarray) -> None:
    """A stamp with hard pixels: blur would hide what the generator did."""
    ax.imshow(picture, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set(visible=True, color="#BBBBBB", linewidth=0.8)


def _strip(ax: Axes, pictures: np.ndarray) -> None:
    """Pictures (n, s, s, 3) side by side in one axes, so that a sheet of 100 is drawn at once."""
    n, size = len(pictures), pictures.shape[1]
    wide = np.full((size + 2, n * (size + 2), 3), 255, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        wide[1 : size + 1, place * (size + 2) + 1 : (place + 1) * (size + 2) - 1] = picture
    ax.imshow(wide, interpolation="nearest")
    ax.set_xticks((np.arange(n) + 0.5) * (size + 2) - 0.5, [""] * n)
    ax.set_yticks([])
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


@styled
def stamp_sheet(
    rows: Mapping[str, np.ndarray], columns: Sequence[str], *, title: str = "", across: str = "", down: str = ""
) -> Figure:
    """Show pictures in rows and columns, for example categories by colours, or weights of the guidance by colours.

    Args:
        rows: name -> (n, s, s, 3) uint8, one picture for each column. columns: n names.
        across, down: what the columns and the rows are.
    """
    for name, pictures in rows.items():
        if len(pictures) != len(columns):
            raise CourseError(
                f"Row {name!r} has {len(pictures)} pictures for {len(columns)} columns; give one for each."
            )
    fig = Figure(figsize=(10, 1.3 + 7.6 / len(columns) * len(rows)), layout="constrained")
    axes = np.atleast_1d(fig.subplots(len(rows), 1))
    for ax, (name, pictures) in zip(axes, rows.items()):
        _strip(ax, pictures)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=13)
    axes[-1].set_xticklabels(columns, fontsize=12)
    axes[-1].set_xlabel(across)
    fig.supylabel(down, fontsize=14)
    fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig


@styled
def beside_nearest(
    pictures: np.ndarray, neighbours: np.ndarray, distance: Sequence[float], limit: float, *, title: str = ""
) -> Figure:
    """Show each picture above the training picture closest to it, with their distance; closer than ``limit`` is framed.

    Args:
        pictures, neighbours: (n, s, s, 3) uint8, n at most 12.
        limit: below it a picture counts as copied (see `utils.generation.judge.copied`).
    """
    n = len(pictures)
    if not 1 <= n <= 12 or len(neighbours) != n or len(distance) != n:
        raise CourseError(
            f"{n} pictures, {len(neighbours)} neighbours, {len(distance)} distances; give 1 to 12 of each."
        )
    fig = Figure(figsize=(10, 1.4 + 20 / n), layout="constrained")
    axes = fig.subplots(2, n, squeeze=False)
    for place in range(n):
        for row, picture in enumerate((pictures[place], neighbours[place])):
            _picture(axes[row, place], picture)
        near = distance[place] < limit
        axes[1, place].set_xlabel(f"{distance[place]:.2f}", fontsize=12, color=HIT if near else "black")
        if near:
            for ax in axes[:, place]:
                for side in ax.spines.values():
                    side.set(color=HIT, linewidth=3)
    axes[0, 0].set_ylabel("generated", fontsize=13)
    axes[1, 0].set_ylabel("closest\nlearned", fontsize=13)
    fig.supxlabel(f"Distance between the two (framed: below {limit:.2f}, counted as copied)", fontsize=13)
    fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig


@styled
def costs(frame: pd.DataFrame, over: str, columns: Sequence[str], *, label: str, title: str = "") -> Figure:
    """Draw what is won and what is lost over one setting: one panel a quantity, mean and spread over seeds.

    Args:
        frame: rows of the stored results, one for each seed and value of the column ``over``.
        columns: of `FIGURES`. label: axis name of ``over``.
    """
    if missing := [name for name in (over, *columns) if name not in frame]:
        raise CourseError(f"The table has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}.")
    fig = Figure(figsize=(11, 4.2), layout="constrained")
    axes = np.atleast_1d(fig.subplots(1, len(columns)))
    grouped = frame.groupby(over)[list(columns)]
    mean, spread = grouped.mean(), grouped.std().fillna(0.0)
    for ax, name, (colour, _), marker in zip(axes, columns, LINES, MARKERS):
        ax.errorbar(mean.index, mean[name], yerr=spread[name], color=colour, marker=marker, capsize=4)
        ax.set(xlabel=label, xticks=mean.index)
        ax.set_title(FIGURES.get(name, name).replace(" (", "\n("), fontsize=13)
        ax.margins(y=0.2)
    fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig


@styled
def taste_curve(frame: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw taste against likeness, one point for each alpha: as climbed, and as an encoder says that was not climbed.

    Args:
        frame: columns alpha, likeness, taste, own, others and unseen, one row for each alpha, in its order.
    """
    names = ("taste", "own", "unseen", "others")
    if missing := [name for name in ("alpha", "likeness", *names) if name not in frame]:
        raise CourseError(f"The table has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}.")
    fig = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    for ax, shown in ((left, names[:1]), (right, names[1:])):
        for name in shown:
            (colour, dash), marker = LINES[names.index(name)], MARKERS[names.index(name)]
            ax.plot(frame["likeness"], frame[name], color=colour, linestyle=dash, marker=marker, label=FIGURES[name])
        ax.set(xlabel=FIGURES["likeness"], ylabel="Cosine")
        ax.invert_xaxis()
        ax.margins(x=0.1, y=0.15)
    for x, y, alpha in zip(frame["likeness"], frame["taste"], frame["alpha"]):
        left.annotate(f"{alpha:g}", (x, y), xytext=(6, -14), textcoords="offset points", ha="left", fontsize=12)
    left.set_title("What was climbed, by alpha", fontsize=14)
    right.set_title("What an encoder that was not climbed says", fontsize=14)
    right.legend(loc="upper left", fontsize=11)
    right.set_ylim(top=right.get_ylim()[1] + 0.35 * np.ptp(right.get_ylim()))
    fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig


@styled
def one_picture(picture: np.ndarray, *, title: str = "") -> Figure:
    """Show one picture (h, w, 3) uint8 with nothing around it."""
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise CourseError(f"A picture is (h, w, 3); this is {picture.shape}.")
    fig = Figure(figsize=(6.4, 0.5 + 6.4 * picture.shape[0] / picture.shape[1]), layout="constrained")
    ax = fig.subplots()
    ax.imshow(picture)
    ax.set_axis_off()
    fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig
