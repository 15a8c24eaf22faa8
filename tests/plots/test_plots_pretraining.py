"""Plots of notebook 12: what is drawn is what was given, and what cannot be drawn is refused in one sentence."""

import numpy as np
import pandas as pd
import pytest

from utils.data import load_dataset
from utils.errors import CourseError
from utils.plots.pretraining import attention_strip, beside_printed, panels


def test_bars_stand_in_the_order_of_their_values_and_say_who_printed_them():
    fig = beside_printed({"counts": 0.3, "other": 0.1}, {"paper": 0.2})
    (ax,) = fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["counts", "paper", "other"]
    bars = [patch for patch in ax.patches]
    assert [bar.get_width() for bar in bars] == [0.3, 0.2, 0.1]
    assert [bool(bar.get_hatch()) for bar in bars] == [False, True, False]
    assert "share of users" in ax.get_xlabel()


def test_attention_has_a_bar_for_each_item_and_model():
    dataset = load_dataset("sticker_shop")
    weights = {"trained": np.array([0.1, 0.2, 0.7]), "untrained": np.full(3, 1 / 3)}
    fig = attention_strip(dataset, [4, 9, 2], weights)
    bars = [[patch.get_height() for patch in ax.patches] for ax in fig.axes if ax.patches]
    assert np.allclose(bars, list(weights.values()))
    with pytest.raises(CourseError, match="one to ten"):
        attention_strip(dataset, range(11), {"a": np.full(11, 1 / 11)})


def test_panels_share_their_rows_and_show_spread_and_scale():
    frame = pd.DataFrame({"gain": [0.1, 0.2], "gain std": [0.01, np.nan], "cost": [1.0, 100.0]}, index=["a", "b"])
    fig = panels(frame, ["gain", "cost"], {"gain": "Gain", "cost": "Seconds (log)"})
    left, right = fig.axes
    assert [bar.get_width() for bar in left.patches] == [0.1, 0.2] and right.get_xscale() == "log"
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b"] and left.get_xlabel() == "Gain"
    with pytest.raises(CourseError, match="no column 'memory'"):
        panels(frame, ["memory"], {"memory": "MB"})
