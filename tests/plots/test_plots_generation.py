"""Plots of notebook 13: what is drawn is what was given, and what cannot be drawn is refused in one sentence."""

import numpy as np
import pandas as pd
import pytest

from utils.data import load_dataset
from utils.errors import CourseError
from utils.plots.generation import asked_and_found, beam_hits, id_levels, shelves


def test_levels_have_a_line_for_each_kind_of_ids_and_leave_out_what_a_table_lacks():
    tables = {"content": pd.DataFrame({"perplexity": [9.0, 7.0], "shared": [1.0, 0.5], "purity": [0.4, 0.6]}, index=[1, 2]),
              "random": pd.DataFrame({"perplexity": [8.0, 8.0], "shared": [1.0, 0.1]}, index=[1, 2])}  # fmt: skip
    fig = id_levels(tables)
    drawn = [[(line.get_label(), list(line.get_ydata())) for line in ax.get_lines()] for ax in fig.axes]
    assert drawn[0] == [("content", [9.0, 7.0]), ("random", [8.0, 8.0])]
    assert drawn[2] == [("content", [0.4, 0.6])] and fig.axes[2].get_ylim()[1] > 1
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["content", "random"]
    with pytest.raises(CourseError, match="7 kinds of ids are too many"):
        id_levels({str(name): tables["random"] for name in range(7)})


def test_beams_stand_beside_their_own_exact_list():
    fig = beam_hits(pd.DataFrame({"a": {10: 0.1, 50: 0.2}, "b": {10: 0.05, 50: 0.06}}), {"a": 0.21, "b": 0.07})
    (ax,) = fig.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}
    assert lines["a, beams"] == [0.1, 0.2] and lines["b, exact"] == [0.07, 0.07]
    assert "share of users" in ax.get_ylabel() and [t.get_text() for t in ax.get_xticklabels()] == ["10", "50"]


def test_the_right_answer_alone_is_framed_and_named():
    pictures = [np.full((4, 4, 3), shade, dtype=np.uint8) for shade in (0, 50, 100, 150)]
    fig = asked_and_found(pictures, [(0, "in red", [2, 1], 1), (3, "in blue", [0, 2], -1)])
    words = [ax.get_xlabel() for ax in fig.axes]
    assert words == ["in red", "1", "2, as asked", "in blue", "1", "2"]
    with pytest.raises(CourseError, match="no question to show"):
        asked_and_found(pictures, [])


def test_shelves_have_a_row_for_each_name():
    fig = shelves(load_dataset("sticker_shop"), {"7 ..": [4, 9], "8 ..": range(20)}, columns=5)
    assert len([ax for ax in fig.axes if ax.images]) == 7
    with pytest.raises(CourseError, match="no row to show"):
        shelves(load_dataset("sticker_shop"), {})
