"""Plots of the extractor study (notebook 09): scores by recommender and extractor, probes against recovered tastes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.plots.style import MODALITY_COLOURS, styled

# colour-blind safe (Okabe-Ito), each with its own marker; a text encoder has the colour of text everywhere
LOOKS = {
    "efficientnet_lite0": ("#0072B2", "o"),
    "random_cnn": ("#999999", "s"),
    "colour_histogram": ("#009E73", "D"),
    "pixels": ("#CC79A7", "^"),
    "minilm (text)": (MODALITY_COLOURS["textual"], "P"),
    "shuffled": ("#000000", "x"),
}
SPARE = (("#56B4E9", "v"), ("#D55E00", "<"), ("#E69F00", ">"), ("#F0E442", "p"))


def _look(name: str, at: int) -> tuple[str, str]:
    return LOOKS.get(name, SPARE[at % len(SPARE)])


@styled
def grid_dots(frame: pd.DataFrame, metric: str, *, label: str = "", title: str = "") -> Figure:
    """Draw one column per recommender and one mark per extractor: the mean over seeds, the seeds as a thin line.

    Args:
        frame: rows of ``feature_extractors.grid``. The extractor "none" (no content) becomes a dashed line.
        label: name of the axis, with its unit.
    """
    content = frame[frame["extractor"] != "none"]
    recommenders, extractors = list(dict.fromkeys(content["recommender"])), list(dict.fromkeys(content["extractor"]))
    fig = Figure(figsize=(1.9 * len(recommenders) + 4.4, 5), layout="constrained")
    ax = fig.subplots()
    width = 0.7 / max(len(extractors) - 1, 1)
    for at, extractor in enumerate(extractors):
        colour, marker = _look(extractor, at)
        for x, recommender in enumerate(recommenders):
            values = content.loc[(content["recommender"] == recommender) & (content["extractor"] == extractor), metric]
            place = x + (at - (len(extractors) - 1) / 2) * width
            ax.plot([place, place], [values.min(), values.max()], "-", color=colour, linewidth=2)
            ax.plot(place, values.mean(), marker, color=colour, markersize=11, label=extractor if x == 0 else None)
    for name, values in frame[frame["extractor"] == "none"].groupby("recommender")[metric]:
        ax.axhline(values.mean(), color="#444444", linestyle="--", label=name)
    ax.set_xticks(range(len(recommenders)), recommenders)
    ax.set(ylabel=label or metric, title=title, xlim=(-0.6, len(recommenders) - 0.4))
    ax.grid(axis="y")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return fig


@styled
def seen_and_found(
    seen: pd.DataFrame, found: pd.DataFrame, *, base: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """Draw one panel per attribute: how well a probe reads it off the vectors, how well the model finds the taste for it.

    Args:
        seen: index = extractor, columns = attribute; accuracy of a linear probe.
        found: the same shape; how often a liked item stands above one that is not (.5 = chance).
        base: attribute -> accuracy of the most frequent label, drawn as a dotted line.
    """
    fig = Figure(figsize=(3.4 * seen.shape[1] + 0.8, 4.6), layout="constrained")
    axes = np.atleast_1d(fig.subplots(1, seen.shape[1], sharey=True))
    for ax, attribute in zip(axes, seen.columns):
        for at, extractor in enumerate(seen.index):
            colour, marker = _look(extractor, at)
            x, y = seen.loc[extractor, attribute], found.loc[extractor, attribute]
            ax.plot(x, y, marker, color=colour, markersize=11, label=extractor)
        if base and attribute in base:
            ax.axvline(base[attribute], color="#999999", linestyle=":")  # the most frequent label
        ax.axhline(0.5, color="#999999", linestyle=":")
        ax.set(title=attribute, xlabel="probe accuracy (share of items)")
        ax.margins(0.15)
        ax.grid()
    axes[0].set_ylabel("taste found (share of pairs in order)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(seen), frameon=False)
    fig.suptitle(title)
    return fig
