"""Plots of missing modalities (notebook 07): what is missing, errors over the hidden share, own against misplaced vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.errors import CourseError
from utils.plots.style import MODALITY_COLOURS, metric_label, styled

# what a filled vector knows: nothing, who took what, the item's other content
KINDS = {
    "zeros": "#6E6E6E",
    "random": "#6E6E6E",
    "mean": "#6E6E6E",
    "left out": "#6E6E6E",
    "neighbours_published": "#D55E00",
    "neighbours": "#D55E00",
    "multi_hop": "#D55E00",
    "pagerank": "#D55E00",
    "heat": "#D55E00",
    "cross_modal": MODALITY_COLOURS["multimodal"],
}
DASHES = ("-", "--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))
MARKS = "osD^vP"
WORDS = {"mse": "Squared error (1 = the best constant)", "cosine": "Centred cosine (0 = no information)"}


def method_styles(methods: Sequence[str]) -> dict[str, tuple]:
    """Return (colour, dashes, marker) of each imputation method; methods that use the same information share a colour."""
    used: dict[str, int] = {}
    styles = {}
    for method in methods:
        colour = KINDS.get(method, "#000000")
        at = used.setdefault(colour, 0)
        styles[method] = (colour, DASHES[at % len(DASHES)], MARKS[at % len(MARKS)])
        used[colour] += 1
    return styles


@styled
def fill_curves(table: pd.DataFrame, *, top: float = 1.6, title: str = "") -> Figure:
    """Draw error and centred cosine over the hidden share, one line per method, mean over seeds.

    Args:
        table: of ``missing_modalities.reconstruct``: columns hidden, method, mse, cosine.
        top: the error's axis ends here; a method that lies above throughout is left out of that panel.
    """
    if table.empty:
        raise CourseError("There is nothing to draw: the table of reconstructions is empty.")
    fig = Figure(figsize=(13, 5.6), layout="constrained")
    methods = list(dict.fromkeys(table["method"]))
    styles = method_styles(methods)
    for ax, column in zip(fig.subplots(1, 2), ("mse", "cosine")):
        means = table.pivot_table(index="hidden", columns="method", values=column)
        for method in methods:
            colour, dash, mark = styles[method]
            if column == "mse" and means[method].min() > top:
                continue
            label = method if column == "cosine" else None
            ax.plot(
                100 * means.index, means[method], linestyle=dash, color=colour, marker=mark, markersize=7, label=label
            )
        ax.set(xlabel="Hidden vectors (% of the items)", ylabel=WORDS[column])
        ax.set_xticks(100 * means.index)
        if column == "mse":
            ax.set_ylim(top=min(ax.get_ylim()[1], top))
        ax.axhline(1.0 if column == "mse" else 0.0, color="#BBBBBB", linewidth=1, zorder=0)
        ax.grid(axis="y")
    fig.legend(loc="outside lower center", ncols=5)
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=16)
    return fig


@styled
def owners(table: pd.DataFrame, baselines: Mapping[str, float], *, top_k: int = 20, title: str = "") -> Figure:
    """Draw Recall per method with its own and with misplaced vectors: what stays when the vectors are wrong is not content.

    Args:
        table: index = method, columns "own" and "misplaced" (NaN where not measured).
        baselines: name -> Recall, drawn as vertical lines.
    """
    if table.empty:
        raise CourseError("There is nothing to draw: no method was judged.")
    fig = Figure(figsize=(11, 1.9 + 0.55 * len(table)), layout="constrained")
    ax = fig.subplots()
    for at, (method, row) in enumerate(table.iloc[::-1].iterrows()):
        colour = KINDS.get(method, "#000000")
        if np.isfinite(row["misplaced"]):
            ax.plot([row["misplaced"], row["own"]], [at, at], color=colour, linewidth=2)
            ax.plot(row["misplaced"], at, "o", markersize=12, markerfacecolor="white", markeredgecolor=colour, mew=2.5)
        ax.plot(row["own"], at, "o", markersize=12, color=colour)
    ax.plot([], [], "o", markersize=12, color="#444444", label="its own vectors")
    ax.plot(
        [],
        [],
        "o",
        markersize=12,
        markerfacecolor="white",
        markeredgecolor="#444444",
        mew=2.5,
        label="misplaced vectors",
    )
    for (name, value), dash in zip(baselines.items(), ("--", ":", "-.")):
        ax.axvline(value, color="#444444", linestyle=dash, linewidth=2, label=name)
    ax.set_yticks(range(len(table)), table.index[::-1])
    ax.set(xlabel=metric_label(f"recall@{top_k}"), title=title)
    ax.set_xlim(left=0)
    ax.grid(axis="x")
    fig.legend(loc="outside lower center", ncols=4)
    return fig


@styled
def present_share(groups: pd.Series, present: np.ndarray, modality: str, *, title: str = "") -> Figure:
    """Draw how many items of each group have a modality: bars in its colour, the rest of the bar empty.

    Args:
        groups: (n_items,) words, for example the category; present: (n_items,) bool.
    """
    counts = pd.DataFrame({"group": np.asarray(groups), "present": present}).groupby("group")["present"]
    table = counts.agg(["sum", "size"]).sort_values("size", kind="stable")
    fig = Figure(figsize=(10, 1.4 + 0.32 * len(table)), layout="constrained")
    ax = fig.subplots()
    ax.barh(table.index, table["size"], color="white", edgecolor="#6E6E6E", label=f"no {modality}")
    ax.barh(table.index, table["sum"], color=MODALITY_COLOURS[modality], label=f"has {modality}")
    ax.set(xlabel="Items", title=title)
    ax.legend(loc="lower right")
    return fig
