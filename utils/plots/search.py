"""Figures of appendix A2: what a search tried, and what the validation part said to it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from utils.errors import CourseError, suggest
from utils.plots.style import LINES, MARKERS, metric_label, styled

__all__ = ["search_dots"]


@styled
def search_dots(
    tables: Mapping[str, pd.DataFrame], setting: str, metric: str = "recall@20", *, log: bool = True, title: str = ""
) -> Figure:
    """Draw one dot a trial, by the value of a setting; the best trial of each search is filled, trials that failed are left out.

    Args:
        tables: search -> the table that ``tune`` returns.
        setting: a column of all tables, of numbers.
        log: whether the axis of the setting counts in powers of ten.
    """
    if not tables:
        raise CourseError("There is no search to draw; give the tables that tune returns, by name.")
    fig = Figure(figsize=(10, 4.8), layout="constrained")
    ax = fig.subplots()
    for (name, table), (colour, _), marker in zip(tables.items(), LINES, MARKERS):
        for column in (setting, metric):
            if column not in table:
                raise suggest(column, table.columns, f"column of {name}")
        seen = table.dropna(subset=[metric])
        ax.plot(
            seen[setting], seen[metric], marker, color=colour, fillstyle="none", markersize=11, markeredgewidth=2, label=name
        )  # fmt: skip
        if len(seen):
            best = seen.loc[seen[metric].idxmax()]
            ax.plot(best[setting], best[metric], marker, color=colour, markersize=13)
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(f"{setting} (filled: the best trial of its search)")
    ax.set_ylabel(f"Validation\n{metric_label(metric).split(' (')[0]}")
    ax.set_title(title)
    ax.grid(axis="y")
    ax.margins(x=0.06, y=0.12)
    fig.legend(loc="outside right upper")
    return fig
