"""utils.plots.generating: what is drawn where, frames of copies, axis names, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from utils.errors import CourseError
from utils.plots.generating import beside_nearest, costs, one_picture, stamp_sheet, taste_curve
from utils.plots.style import HIT, close, png

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)


def test_a_sheet_shows_each_picture_in_its_place():
    fig = stamp_sheet({"w 0": PICTURES, "w 3": PICTURES[::-1]}, list("abcd"), across="colour", down="weight")
    shown = [ax.images[0].get_array() for ax in fig.axes]
    assert (shown[0][1:9, 11:19] == PICTURES[1]).all() and (shown[1][1:9, 1:9] == PICTURES[3]).all()
    assert [text.get_text() for text in fig.axes[1].get_xticklabels()] == list("abcd")
    assert fig.axes[1].get_xlabel() == "colour" and png(fig)[:4] == b"\x89PNG"
    with pytest.raises(CourseError, match="Row 'w 0' has 4 pictures for 3 columns"):
        stamp_sheet({"w 0": PICTURES}, list("abc"))
    close(fig)


def test_copies_are_framed_and_only_these():
    fig = beside_nearest(PICTURES, PICTURES[::-1], [0.1, 0.3, 0.5, 0.19], 0.2)
    top = fig.axes[:4]
    framed = [to_hex(ax.spines["left"].get_edgecolor()).lower() == HIT.lower() for ax in top]
    assert framed == [True, False, False, True] and fig.axes[5].get_xlabel() == "0.30"
    assert (fig.axes[4].images[0].get_array() == PICTURES[3]).all()
    with pytest.raises(CourseError, match="4 pictures, 3 neighbours"):
        beside_nearest(PICTURES, PICTURES[:3], [1] * 4, 0.2)


def test_one_picture_fills_its_figure_and_is_a_picture():
    fig = one_picture(np.zeros((30, 48, 3), dtype=np.uint8), title="Toy")
    (ax,) = fig.axes
    assert ax.images[0].get_array().shape == (30, 48, 3) and not ax.axison
    with pytest.raises(CourseError, match="A picture is"):
        one_picture(np.zeros((30, 48)))


def test_costs_are_means_over_seeds_with_axis_names():
    frame = pd.DataFrame({"w": [0, 0, 1, 1], "colour": [0.5, 0.7, 0.8, 1.0], "variety": [0.3, 0.3, 0.2, 0.2]})
    fig = costs(frame, "w", ["colour", "variety"], label="Guidance w")
    assert fig.axes[0].lines[0].get_ydata().tolist() == pytest.approx([0.6, 0.9])
    assert "share of pictures" in fig.axes[0].get_title(loc="left") and fig.axes[1].get_xlabel() == "Guidance w"
    with pytest.raises(CourseError, match="no column 'seen'"):
        costs(frame, "w", ["seen"], label="x")


def test_the_curve_of_taste_shows_what_was_climbed_and_what_was_not():
    frame = pd.DataFrame(
        {
            "alpha": [0, 1],
            "likeness": [0.9, 0.4],
            "taste": [0.0, 0.8],
            "own": [0, 0.1],
            "unseen": [0, 0.05],
            "others": [0, 0.0],
        }
    )
    fig = taste_curve(frame)
    assert fig.axes[0].lines[0].get_ydata().tolist() == [0, 0.8] and len(fig.axes[1].lines) == 3
    assert fig.axes[0].xaxis_inverted() and {text.get_text() for text in fig.axes[0].texts} == {"0", "1"}
    with pytest.raises(CourseError, match="no column 'others'"):
        taste_curve(frame.drop(columns="others"))
