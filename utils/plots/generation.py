"""Plots of generative recommendation (notebook 13): ids level by level, shelves below a prefix, beams, composed search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.data import Dataset
from utils.errors import CourseError
from utils.plots.pictures import _grid, _ids, _name, _wrap
from utils.plots.style import HIT, LINES, MARKERS, metric_label, styled

LEVELS = {
    "perplexity": "Perplexity of the level (tokens)",
    "shared": "Items that share their prefix (share)",
    "purity": "Items of their prefix's main category (share)",
}


@styled
def id_levels(
    frames: Mapping[str, pd.DataFrame], measures: Mapping[str, str] | None = None, *, title: str = ""
) -> Figure:
    """Draw what ids are like, level by level: a panel for each measure, a line for each kind of ids.

    Args:
        frames: name of the ids -> the table of ``generation.levels``; a measure that a table lacks is not drawn.
        measures: column -> axis name with its unit; ``LEVELS`` by default.
    """
    measures = dict(measures or LEVELS)
    if len(frames) > len(LINES):
        raise CourseError(f"{len(frames)} kinds of ids are too many for one figure; give at most {len(LINES)}.")
    fig = Figure(figsize=(11, 4.6), layout="constrained")
    axes = np.atleast_1d(fig.subplots(1, len(measures)))
    for ax, (measure, label) in zip(axes, measures.items()):
        deepest = 1
        for (name, frame), (colour, dash), marker in zip(frames.items(), LINES, MARKERS):
            if measure in frame:
                values = frame[measure].astype(float)
                ax.plot(frame.index, values, dash, color=colour, marker=marker, label=name, linewidth=2)
                deepest = max(deepest, int(frame.index.max()))
        ax.set(xlabel="Level (token)", xticks=range(1, deepest + 1), xlim=(0.8, deepest + 0.2))
        ax.set_ylabel(_wrap(label, 26, 3))
        ax.set_ylim(bottom=0, top=1.03 if label.endswith("(share)") else None)
        ax.grid(axis="y")
    handles = {name: line for ax in axes for line, name in zip(*ax.get_legend_handles_labels())}
    fig.legend(handles.values(), handles, loc="outside lower center", ncols=min(len(handles), 5))
    fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig


@styled
def shelves(dataset: Dataset, rows: Mapping[str, Iterable[int]], *, columns: int = 7, title: str = "") -> Figure:
    """Show a row of pictures for each name, for example the items below each prefix; the first ``columns`` of each."""
    chosen = [_ids(dataset, list(ids)[:columns], empty=True) for ids in rows.values()]
    if not chosen:
        raise CourseError("There is no row to show; give at least one name with its items.")
    words = [[_name(dataset, item) for item in ids] for ids in chosen]
    return _grid(dataset, chosen, words, list(rows), title=title, hits=[set()] * len(chosen), columns=columns)


@styled
def beam_hits(found: pd.DataFrame, exact: Mapping[str, float], metric: str = "hr@10", *, title: str = "") -> Figure:
    """Draw what a beam search finds by its width, beside the exact list (dotted).

    Args:
        found: index = number of beams, one column a model.
        exact: model -> the metric of its exact list.
    """
    fig = Figure(figsize=(10, 4.6), layout="constrained")
    ax = fig.subplots()
    for (name, column), (colour, dash), marker in zip(found.items(), LINES, MARKERS):
        ax.plot(found.index, column, dash, color=colour, marker=marker, linewidth=2, label=f"{name}, beams")
        ax.axhline(exact[name], color=colour, linestyle=":", linewidth=2, label=f"{name}, exact")
    ax.set_xscale("log")
    ax.set_xticks(list(found.index), [str(width) for width in found.index])
    ax.minorticks_off()
    ax.set(xlabel="Beams (kept prefixes, log)", ylabel=metric_label(metric), title=title)
    ax.set_ylim(bottom=0)
    ax.legend(loc="lower right")
    return fig


@styled
def asked_and_found(
    pictures: Sequence[np.ndarray], questions: Iterable[tuple[int, str, Sequence[int], int]], *, title: str = ""
) -> Figure:
    """Show questions with a picture and words: what was given and asked, then the answers, best first, the right one framed.

    Args:
        pictures: (h, w, 3) uint8 each.
        questions: (given, words, answers, right), places in ``pictures``; right = -1 where nobody knows it.
    """
    questions = list(questions)
    if not questions:
        raise CourseError("There is no question to show; give at least one.")
    n = max(len(answers) for _, _, answers, _ in questions)
    fig = Figure(figsize=(1.6 * (n + 1) + 0.6, 1.9 * len(questions) + 0.7), layout="constrained")
    axes = fig.subplots(len(questions), n + 1, squeeze=False, gridspec_kw={"width_ratios": [1.25, *[1] * n]})
    for row, (given, words, answers, right) in zip(axes, questions):
        for ax in row:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].imshow(pictures[given])
        row[0].set_xlabel(words, fontsize=13)
        for place, (ax, answer) in enumerate(zip(row[1:], answers), start=1):
            ax.imshow(pictures[answer])
            hit = answer == right
            ax.spines[:].set(visible=True, color=HIT if hit else "#CCCCCC", linewidth=4 if hit else 1)
            ax.set_xlabel(f"{place}, as asked" if hit else str(place), fontsize=12)
    axes[0, 0].set_title("Given", fontsize=13)
    axes[0, 1].set_title("Found, best first", fontsize=13, loc="left")
    fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig
