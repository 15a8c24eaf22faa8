"""The palette under simulated colour blindness: apart from each other, and visible on white."""

import itertools

import numpy as np
import pytest

from utils.plots.data import PART_COLOURS
from utils.plots.fine import FEATURES
from utils.plots.style import HIT, LINES, MODALITY_COLOURS

# Full severity, linear RGB: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, IEEE TVCG 2009, doi:10.1109/TVCG.2009.113
SIGHT = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = XYZ.sum(axis=1)
FILLS = {**MODALITY_COLOURS, "hit": HIT}
INKS = {f"line {n}": colour for n, (colour, _) in enumerate(LINES)}


PALETTES = {
    "modalities": FILLS,
    "parts of a split": PART_COLOURS,
    "kinds of users": FEATURES,
}


def linear(colour):
    """ "#RRGGBB" -> linear RGB, 0 to 1."""
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Linear RGB -> CIELAB, where a distance of 2 is just seen and one of 10 is seen at a glance."""
    ratio = XYZ @ rgb / WHITE
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def seen(colour, sight):
    return lab(np.clip(np.asarray(SIGHT[sight]) @ linear(colour), 0, 1))


def nearest(colours, sight):
    """The smallest distance of two colours of a palette, and their names."""
    pairs = itertools.combinations(colours.items(), 2)
    return min((float(np.linalg.norm(seen(a, sight) - seen(b, sight))), x, y) for (x, a), (y, b) in pairs)


def contrast(colour):
    """WCAG contrast with white, 1 to 21."""
    return 1.05 / (linear(colour) @ XYZ[1] + 0.05)


def test_the_measures_know_textbook_values():
    assert lab(np.ones(3)) == pytest.approx([100, 0, 0], abs=0.01)
    assert contrast("#FFFFFF") == pytest.approx(1) and contrast("#000000") == pytest.approx(21)
    assert contrast("#777777") == pytest.approx(4.48, abs=0.01)
    red, green = {"a": "#C00000", "b": "#00A000"}, "deuteranopia"
    assert nearest(red, "usual")[0] > 2 * nearest(red, green)[0], "red and green come close"
    for sight, matrix in SIGHT.items():
        assert np.asarray(matrix).sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5), f"{sight} keeps white white"


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("palette", PALETTES)
def test_the_colours_of_a_palette_stay_apart(palette, sight):
    assert nearest(PALETTES[palette], sight)[0] > 12, nearest(PALETTES[palette], sight)


@pytest.mark.parametrize("sight", SIGHT)
def test_lines_of_models_stay_apart(sight):
    assert nearest(INKS, sight)[0] > 15, nearest(INKS, sight)
    for dash in {dash for _, dash in LINES}:
        same = {name: colour for (name, colour), (_, d) in zip(INKS.items(), LINES) if d == dash}
        assert len(same) < 2 or nearest(same, sight)[0] > 30, f"two lines with the dash {dash!r}"


def test_inks_are_seen_on_white():
    """3:1 is WCAG's bar for lines and marks; fills come with hatches, labels and axes, and need less."""
    assert min(contrast(colour) for colour in [*INKS.values(), HIT]) >= 2.95
    assert min(contrast(colour) for colour in FILLS.values()) >= 2.2
