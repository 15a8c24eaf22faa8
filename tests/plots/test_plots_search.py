"""Plots of appendix A2: every trial that did not fail is a dot, and the best one of each search is filled."""

import numpy as np
import pandas as pd
import pytest

from utils.errors import CourseError
from utils.plots.search import search_dots

FIRST = pd.DataFrame({"lr": [1e-3, 1e-2, 1e-1], "recall@10": [0.2, 0.3, np.nan]})
OTHER = pd.DataFrame({"lr": [2e-3, 2e-2], "recall@10": [0.25, 0.1]})


def test_each_trial_is_a_dot_and_the_best_is_filled():
    fig = search_dots({"one": FIRST, "two": OTHER}, "lr", "recall@10", title="Searches")
    (ax,) = fig.axes
    found = [(line.get_fillstyle(), list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines]
    assert found == [
        ("none", [1e-3, 1e-2], [0.2, 0.3]),
        ("full", [1e-2], [0.3]),
        ("none", [2e-3, 2e-2], [0.25, 0.1]),
        ("full", [2e-3], [0.25]),
    ]
    assert ax.get_xscale() == "log" and ax.get_title(loc="left") == "Searches"
    assert ax.get_xlabel().startswith("lr") and "Recall@10" in ax.get_ylabel()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["one", "two"]
    ticks = ax.xaxis.get_major_formatter().format_ticks([1e-4, 0.01])
    assert ticks == ["0.0001", "0.01"]  # the course's style reads no formulas


def test_a_search_that_only_failed_has_no_dot_and_a_linear_axis_stays_linear():
    fig = search_dots({"one": FIRST.assign(**{"recall@10": np.nan})}, "lr", "recall@10", log=False)
    assert fig.axes[0].get_xscale() == "linear" and not len(fig.axes[0].lines[0].get_xdata())


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(CourseError, match="no search to draw"):
        search_dots({}, "lr")
    with pytest.raises(CourseError, match="did you mean lr"):
        search_dots({"one": FIRST}, "lrr", "recall@10")
