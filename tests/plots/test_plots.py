"""Every figure can be drawn, says what its axes are, and reaches the page with its alt text."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from utils import plots
from utils.errors import CourseError


class Shop:
    """Stand in for utils.data.Dataset: eight pictures, one missing, one unreadable."""

    n_items = 8

    def __init__(self):
        names = [f"sticker number {i}" for i in range(8)]
        names[1] = "a sticker whose name goes on and on and costs $5 to $6, or so they say"
        self.items = pd.DataFrame({"item": list("abcdefgh"), "title": names, "category": ["x", "y"] * 4})

    def image_paths(self):
        return [None if i == 0 else f"{i}.png" for i in range(8)]

    def image(self, item_id):
        if item_id == 7:
            raise OSError("truncated")
        return Image.new("RGB", (160, 40 + 30 * item_id), (30 * item_id, 90, 120))


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def runs():
    frame = pd.DataFrame(
        {"recall@20": [0.04, 0.3, 0.38], "aplt@20": [0.5, 0.2, np.nan]}, index=["random", "bpr", "vbpr (visual)"]
    )
    return pd.concat({"mean": frame, "std": frame * 0.05}, axis=1).swaplevel(axis=1)


def history(metric="recall@20"):
    epochs = np.arange(1, 9)
    values = np.where(epochs % 2, np.nan, epochs / 20)
    return pd.DataFrame({"epoch": epochs, "loss": 1 / epochs, metric: values, "seconds": 0.1})


def every_figure(shop, runs):
    groups = pd.DataFrame({"users": [3, 4], "recall@20": [0.1, 0.2]}, index=["1 item", "2-9 items"])
    table = pd.DataFrame({"a": ["x"], "b": ["y"], "difference": [0.1], "low": [0.05], "high": [0.2], "t_holm": [0.01]})
    weights = pd.DataFrame({"visual": [1.0, 0.2], "audio": [3.0, 0.8]}, index=["all", "animals"])
    words = pd.DataFrame({"fusion": ["none", "early"], "score": [1, 2]}, index=["bpr", "vbpr"])
    return {
        "gallery": plots.gallery(shop, range(8), title="Eight stickers", hits=[2]),
        "lists": plots.recommendation_lists(shop, [1, 2], {"BPR": [3, 4, -1], "FREEDOM": []}, hits=[4]),
        "neighbours": plots.neighbours(shop, [1, 2], {"visual": [[3, 4], [5, 6]], "image + text": [[4, 3], [6, 5]]}),
        "curves": plots.learning_curves({"BPR": history(), "VBPR": history()}),
        "loss only": plots.learning_curves({"BPR": history()[["epoch", "loss", "seconds"]]}),
        "bars": plots.metric_bars(runs, "recall@20", controls=["random"], sort=True),
        "bars with a gap": plots.metric_bars(runs, "aplt@20"),
        "groups": plots.group_dots({"BPR": groups}, "recall@20"),
        "intervals": plots.intervals(table),
        "tradeoff": plots.tradeoff(runs, "recall@20", "aplt@20"),
        "popularity": plots.popularity_curve([9, 5, 2, 1, 0]),
        "steep": plots.popularity_curve([5000, *[1] * 50]),
        "heat": plots.heat_table(words),
        "weights": plots.fusion_weights(weights),
    }


def test_every_figure_draws_with_large_letters_and_named_axes(shop, runs):
    for name, fig in every_figure(shop, runs).items():
        assert isinstance(fig, Figure), name
        picture = Image.open(io.BytesIO(plots.png(fig)))
        assert picture.format == "PNG" and picture.width > 100, name
        texts = [text for text in fig.findobj(lambda artist: hasattr(artist, "get_fontsize")) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 12, name
        for ax in fig.axes:
            if ax.axison and not ax.images and ax.lines:
                assert ax.get_xlabel(), name


def test_same_figure_same_bytes():
    first, second = (plots.png(plots.popularity_curve([5, 3, 1])) for _ in range(2))
    assert first == second


def test_settings_of_the_reader_stay_as_they_were(shop):
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    plots.gallery(shop, [1])
    assert matplotlib.rcParams["font.size"] == before


def test_missing_and_unreadable_pictures_become_tiles_that_say_so(shop):
    fig = plots.gallery(shop, [0, 7, 1])
    words = [text.get_text() for ax in fig.axes for text in ax.texts]
    assert "no image" in words and "unreadable\nimage" in words


def test_captions_are_wrapped_and_cut(shop):
    fig = plots.gallery(shop, [1, 2, 3, 4, 5, 6])
    lines = [text.get_text() for text in fig.texts]
    assert max(map(len, lines)) <= 20 and any(line.endswith("\u2026") for line in lines)


def test_names_of_rows_break_between_words(shop):
    fig = plots.recommendation_lists(shop, [1], {"colour_histogram": [2], "vbpr, multi_hop": [3]})
    names = [text.get_text() for text in fig.texts]
    assert "colour\nhistogram" in names and "vbpr, multi\nhop" in names


def test_hits_are_ticked_not_only_coloured(shop):
    fig = plots.recommendation_lists(shop, [1], {"BPR": [2, 3]}, hits=[3, 1])
    assert [text.get_text() for ax in fig.axes for text in ax.texts].count("\u2713") == 1  # the history has no hits


def test_no_label_of_close_lines_touches_another():
    frames = {f"model {i}": history().assign(loss=1 + i / 1000) for i in range(6)}
    fig = plots.learning_curves(frames)
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in fig.axes[0].texts]
    assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[:at])


def test_models_get_the_colour_of_their_modality():
    names = {"vbpr (visual)": "visual", "image + text": "multimodal", "freedom": "multimodal", "bpr": "none"}
    names |= {"audio": "audio", "VBPR textual": "textual", "something new": "none"}
    assert {name: plots.modality_of(name) for name in names} == names


def test_metric_labels_have_units():
    assert plots.metric_label("recall@20") == "Recall@20 (share of a user's relevant items)"
    assert plots.metric_label("efd@5") == "EFD@5 (bits)"


def test_show_puts_the_alt_text_into_the_page(monkeypatch):
    import nbformat
    from nbconvert import HTMLExporter

    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    alt = 'Bars: "BPR" < FREEDOM,\n   by a third'
    plots.show(plots.popularity_curve([3, 2, 1]), alt)
    cell = nbformat.v4.new_code_cell("show(fig)")
    cell.outputs = [nbformat.v4.new_output("display_data", data=shown[0])]
    page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    from bs4 import BeautifulSoup

    (image,) = BeautifulSoup(page, "html.parser").select(".jp-OutputArea-output img")
    assert image["alt"] == 'Bars: "BPR" < FREEDOM, by a third'
    assert image["src"].startswith("data:image/png;base64,")
    assert shown[0]["text/plain"].startswith("Figure: Bars")


def test_show_refuses_a_figure_without_alt_text_and_closes_the_others(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr("IPython.display.display", lambda data, raw: None)
    with pytest.raises(CourseError, match="alt"):
        plots.show(plots.popularity_curve([3, 2, 1]), "  ")
    fig = plt.figure()
    plots.show(fig, "an empty figure")
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda shop: plots.gallery(shop, [8]), "Item 8"),
        (lambda shop: plots.gallery(shop, []), "no item"),
        (lambda shop: plots.gallery(shop, [1], captions=["a", "b"]), "2 captions for 1 items"),
        (lambda shop: plots.gallery(shop, range(8), columns=30), None),
        (lambda shop: plots.recommendation_lists(shop, [1], {"a": [1]}, columns=30), "fewer columns"),
        (lambda shop: plots.neighbours(shop, [1, 2], {"visual": [[3]]}), "one row for each query"),
        (lambda shop: plots.learning_curves({}), "no history"),
        (lambda shop: plots.intervals({}), "no table"),
        (lambda shop: plots.metric_bars(pd.DataFrame({"recall@20": [1.0]}), "recal@20"), "recall@20"),
        (lambda shop: plots.popularity_curve([0, 0]), "popularity"),
        (lambda shop: plots.heat_table(pd.DataFrame()), "empty"),
        (lambda shop: plots.fusion_weights({"visual": -1.0, "audio": 2.0}), "negative"),
    ],
)
def test_bad_input_says_what_to_do(shop, call, message):
    if message is None:
        assert isinstance(call(shop), Figure)
        return
    with pytest.raises(CourseError, match=message):
        call(shop)


@pytest.mark.parametrize("title", ["$5 #1 $9", r"$\frac{1$", "$25 to $100", r"a \$ and $x^2$", "50% & _more_"])
def test_a_title_is_no_formula(shop, title):
    """Prices hold dollars: read as formulas they end the drawing, or become other words."""
    shop.items = shop.items.assign(title=title, category=title)
    fig = plots.gallery(shop, [1, 2, 3])
    fig.canvas.draw()
    assert plots.style.png(fig)[:4] == b"\x89PNG"
    said = [text for text in fig.findobj(Text) if title.split()[0] in text.get_text()]
    assert said and not any(text.get_parse_math() for text in said)
    bare = Figure()
    with plots.style.mpl.rc_context(plots.style.STYLE):
        drawn = bare.text(0.5, 0.5, title)
    assert not drawn.get_parse_math()
    bare.canvas.draw()
