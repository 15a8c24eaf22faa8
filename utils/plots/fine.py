"""Plots of fine-grained features (notebook 10): what each descriptor keeps of a picture, and where users' weights lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.challenges.fine_features import BLOCKS, colour_histogram, edge_map, foreground, picture
from utils.data import Dataset
from utils.errors import CourseError
from utils.plots.style import HIT, styled

# Okabe-Ito, apart from the modality colours of pictures and words: all three features come from the picture
FEATURES = {"colour": "#D55E00", "shape": "#56B4E9", "content": "#5D3A9B"}
MARKS = {"colour": "o", "shape": "s", "content": "^"}
CORNERS = np.array([[0.5, np.sqrt(3) / 2], [0.0, 0.0], [1.0, 0.0]])  # of the triangle: colour above, shape, content


@styled
def descriptors(dataset: Dataset, item_ids: Sequence[int], *, title: str = "") -> Figure:
    """Draw, for each item, the picture, its foreground, its colours by share, and its edge map; one column per item."""
    if len(item_ids) == 0:
        raise CourseError("There is no item to draw; give at least one item id.")
    paths = dataset.image_paths()
    fig = Figure(figsize=(1.5 * len(item_ids) + 1.4, 6.2), layout="constrained")
    grid = fig.subplots(4, len(item_ids), squeeze=False, height_ratios=[1, 1, 0.45, 1])
    for column, item in zip(grid.T, item_ids):
        pixels = picture(paths[item])
        mask = foreground(pixels)
        column[0].imshow(pixels)
        column[1].imshow(np.where(mask[..., None], pixels, 235))
        _colour_strip(column[2], colour_histogram(pixels, mask))
        column[3].imshow(edge_map(pixels), cmap="Greys", vmin=0, interpolation="nearest")
    for row, name in zip(grid, ("picture", "foreground", "colours", "edges")):
        for ax in row:
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name)
    fig.suptitle(title, fontsize=16)
    return fig


def _colour_strip(ax: Axes, histogram: np.ndarray, most: int = 6) -> None:
    """The largest cells of a histogram as a strip, each as wide as its share and in the colour of its centre."""
    bins = round(len(histogram) ** (1 / 3))
    start = 0.0
    for cell in np.argsort(-histogram, kind="stable")[:most]:
        rgb = (np.array([cell // bins**2, cell // bins % bins, cell % bins]) + 0.5) / bins
        ax.barh(0, histogram[cell], 1, left=start, color=rgb)
        start += histogram[cell]
    ax.set(xlim=(0, 1), ylim=(-0.5, 0.5))
    ax.set_facecolor("#EEEEEE")  # the rest: smaller shares


@styled
def triangles(tables: Mapping[str, pd.DataFrame], types: Mapping[str, Sequence[str]], *, title: str = "") -> Figure:
    """Draw each user's three weights as a point in a triangle, one per table; the cross in the middle = equal weights.

    All triangles are enlarged alike until the points fill them; a corner says which weight it stands for.

    Args:
        tables: name -> weights (index = user_id, columns colour, shape, content, rows sum to 1).
        types: name -> planted type of each user, gives colour and form of the point.
    """
    fig = Figure(figsize=(5.6 * len(tables), 5.6), layout="constrained")
    axes = np.atleast_1d(fig.subplots(1, len(tables)))
    # a point lies in a triangle shrunk to the share r when no weight is below (1 - r) / 3
    r = min(1.0, 0.02 + max(1 - 3 * float(table[list(BLOCKS)].to_numpy().min()) for table in tables.values()))
    centre = CORNERS.mean(0)
    for ax, (name, table) in zip(axes, tables.items()):
        places = centre + (table[list(BLOCKS)].to_numpy() @ CORNERS - centre) / r
        kinds = np.asarray(types[name])[table.index]
        ax.fill(*CORNERS.T, facecolor="none", edgecolor="#444444", linewidth=1.5)
        for kind in BLOCKS:
            chosen = places[kinds == kind]
            ax.scatter(*chosen.T, s=26, marker=MARKS[kind], color=FEATURES[kind], alpha=0.55, linewidth=0)
            if len(chosen):
                ax.scatter(
                    *chosen.mean(0), s=190, marker=MARKS[kind], color=FEATURES[kind], edgecolor="black", zorder=4
                )
        ax.plot(*CORNERS.mean(0), "+", color="black", markersize=13, zorder=5)
        for (x, y), word in zip(CORNERS, BLOCKS):
            text = f"{word} {(1 - r) / 3 + r:.2f}"
            ax.text(x, y + (0.03 if y else -0.03), text, ha="center", va="bottom" if y else "top", fontsize=14)
        ax.set_title(name)
        ax.set_aspect("equal")
        ax.set(xlim=(-0.12, 1.12), ylim=(-0.12, 1.0))
        ax.axis("off")
    handles = [axes[0].scatter([], [], s=80, marker=MARKS[k], color=FEATURES[k], label=f"{k}-lovers") for k in BLOCKS]
    fig.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    fig.suptitle(title, fontsize=16)
    return fig


@styled
def losses(tables: Mapping[str, pd.DataFrame], *, title: str = "") -> Figure:
    """Draw what permuting the most, the middle and the least weighted feature costs, one group of bars per table.

    Args:
        tables: name -> losses of AUC (a row per seed or user, columns most, middle, least); bars are means, whiskers two
            standard errors over the rows.
    """
    fig = Figure(figsize=(9, 4.4), layout="constrained")
    ax = fig.subplots()
    faces = {"most": "#444444", "middle": "#999999", "least": "#DDDDDD"}
    for at, table in enumerate(tables.values()):
        for k, column in enumerate(table.columns):
            error = 2 * table[column].std(ddof=1) / np.sqrt(len(table)) if len(table) > 1 else 0.0
            style = {"color": faces[column], "edgecolor": "#444444", "label": None if at else f"{column} weight"}
            ax.bar(at + 0.27 * (k - 1), table[column].mean(), 0.25, yerr=error, capsize=4, **style)
    ax.axhline(0, color="black", linewidth=1)
    ax.set_xticks(range(len(tables)), list(tables))
    ax.set_ylabel("Loss of AUC when\nthis feature is permuted")
    ax.legend(frameon=False, title="Feature with the")
    ax.grid(axis="y")
    ax.set_title(title)
    return fig


@styled
def by_type(tables: Mapping[str, pd.DataFrame], *, title: str = "") -> Figure:
    """Draw mean weights: one panel per table (index = group of users, columns = features), a dot per feature.

    The line at one third is what a model without an opinion gives.
    """
    fig = Figure(figsize=(5.2 * len(tables), 4.2), layout="constrained")
    axes = np.atleast_1d(fig.subplots(1, len(tables), sharey=True))
    for ax, (name, table) in zip(axes, tables.items()):
        ax.axhline(1 / len(table.columns), color=HIT, linewidth=1.2, linestyle="--")
        for k, column in enumerate(table.columns):
            style = {"marker": MARKS[column], "color": FEATURES[column], "markersize": 11, "linestyle": "none"}
            ax.plot(np.arange(len(table)) + 0.12 * (k - 1), table[column], label=column, **style)
        ax.set_xticks(range(len(table)), list(table.index))
        ax.set_xlim(-0.5, len(table) - 0.5)
        ax.set_title(name)
        ax.grid(axis="y")
    axes[0].set_ylabel("Mean weight")
    axes[0].legend(frameon=False)
    fig.suptitle(title, fontsize=16)
    return fig
