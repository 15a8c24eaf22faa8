"""The figures of part 4.2: they show the stored studies and the course's own code, whatever the studies say."""

import numpy as np
import pytest
import torch

from utils.lab import tables as results
from utils.press.decks import figures_part4_2 as drawn_here
from utils.press.decks import figures_part4_2_pictures as pictures
from utils.press.decks import numbers
from utils.press.decks.figures_part4_2 import shop


def stored(monkeypatch, **files):
    monkeypatch.setattr(results, "load", files.__getitem__)


def bars(ax):
    return {label.get_text(): bar.get_width() for label, bar in zip(ax.get_yticklabels(), ax.patches)}


def runs(column, **means):
    """Two seeds of each model, half above and half below its mean."""
    return [
        {"model": model.replace("__", ":"), "seed": seed, column: mean + (seed - 0.5) * 0.02}
        for model, mean in means.items() for seed in (0, 1)
    ]  # fmt: skip


# ---- ids ----


def test_the_shelves_hold_the_items_of_their_beginnings():
    (tidy, first), (two, second), (full, most), (same, dealt) = drawn_here._shelves()
    category = shop().items["category"].to_numpy()
    assert two[:1] == tidy == same and set(second) < set(first) and len(most) >= len(first)
    assert len(dealt) == len(first) and len(set(dealt) & set(first)) < len(first) / 2
    assert len(set(category[first])) == 1 < len(set(category[dealt])), "the tidiest shelf of the shop has one category"


def test_levels_are_means_over_seeds_and_published_ids_have_the_worth_of_their_first_level(monkeypatch):
    rows = [
        {"ids": "RQ-VAE", "usage": [1.0, 1.0], "perplexity": [perplexity, 8.0], "biggest": [4, 1], "shared": [1.0, 0.5]}
        for perplexity in (10.0, 20.0)
    ]
    stored(monkeypatch, semantic_ids_beauty={"ids": rows})
    table = drawn_here._levels("semantic_ids_beauty")["RQ-VAE"]
    assert list(table.index) == [1, 2] and list(table["perplexity"]) == [15.0, 8.0] and "purity" not in table
    assert numbers.VALUES["published_rqvae"]() == 15.0


def test_the_fullest_cells_of_the_films_are_those_of_the_study(monkeypatch):
    biggest = {"clicks": [30, 20, 10], "content": [6, 5, 2], "both": [7, 5, 3], "random": [1, 1, 1]}
    rows = [{"ids": name, "biggest": numbers_} for name, numbers_ in biggest.items()]
    stored(monkeypatch, semantic_ids_movielens={"ids": rows})
    drawn, alt = drawn_here.films_in_a_cell()
    assert [bars(ax) for ax in drawn.axes] == [
        {"clicks": 30, "content": 6, "both": 7}, {"clicks": 10, "content": 2, "both": 3}
    ]  # fmt: skip
    assert "All three tokens alike: clicks 10; content 2; both 3." in alt
    found = [numbers.VALUES[f"films_{name}_alike"]() for name in ("clicks", "content", "both")]
    assert found == [10, 2, 3]


# ---- writing ----


def test_the_bars_are_means_with_the_best_first_and_controls_hatched(monkeypatch):
    rows = runs("hr@10", both__tokens=0.3, permuted__tokens=0.1, itemknn=0.2, other=0.9)
    stored(monkeypatch, semantic_ids_shop={"rows": rows})
    drawn, alt = drawn_here.written_bars()
    (ax,) = drawn.axes
    assert bars(ax) == pytest.approx({"ids of both": 0.3, "ItemKNN, counted": 0.2, "ids of both, dealt out": 0.1})
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False, False, True]
    assert alt.startswith("Hit rate at 10: ids of both 0.300; ItemKNN, counted 0.200; ids of both, dealt out 0.100.")


@pytest.mark.parametrize(
    ("name", "model"),
    [("dealt_out", "permuted__tokens"), ("clicks", "clicks__tokens"), ("shuffled", "shuffled__tokens"),
     ("softmax", "sasrec__ids"), ("counting", "itemknn")],
)  # fmt: skip
def test_a_verdict_follows_the_study(monkeypatch, name, model):
    for other, words in ((0.2, "Yes, this time."), (0.4, "No, this time.")):
        stored(monkeypatch, semantic_ids_shop={"rows": runs("hr@10", both__tokens=0.3, **{model: other})})
        assert numbers.VALUES[f"ahead_of_{name}"]() == words


def test_a_beam_stands_beside_its_exact_list(monkeypatch):
    rows = [
        {"model": model, "hr@10": 0.4, "beam_10": first, "beam_20": 0.3, "beam_50": 0.4}
        for model, first in (("both:tokens", 0.1), ("permuted:tokens", 0.2))
    ]
    stored(monkeypatch, semantic_ids_shop={"rows": rows})
    drawn, alt = drawn_here.shop_beams()
    (ax,) = drawn.axes
    assert [list(line.get_ydata()) for line in ax.lines[::2]] == [[0.1, 0.3, 0.4], [0.2, 0.3, 0.4]]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "20", "50"]
    assert "ids of both: 10 beams 0.100, 20 beams 0.300, 50 beams 0.400, exact 0.400" in alt
    assert numbers.VALUES["lost_by_ten"]() == pytest.approx(0.75)


# ---- new items, another log ----


def test_new_items_stand_beside_what_chance_finds(monkeypatch):
    rows = [
        {"model": model, "n_new": 40, "cold": within / 10, "cold_within": within}
        for model, within in (("popularity", 0.2), ("content:tokens", 0.3), ("sasrec:content", 0.4))
    ]
    stored(monkeypatch, semantic_ids_cold={"rows": rows})
    drawn, alt = drawn_here.new_items_bars()
    above, below = drawn.axes
    assert bars(below) == {"softmax, content": 0.4, "ids of content": 0.3, "popularity": 0.2}
    assert list(bars(above).values()) == pytest.approx([0.04, 0.03, 0.02])
    assert list(below.lines[-1].get_xdata()) == [0.25, 0.25] and alt.endswith("Chance among them 0.25.")


def test_a_writer_whose_run_is_not_stored_is_not_drawn_and_said_to_be_missing(monkeypatch):
    study = {
        "rows": [{"model": "ItemKNN, directed transitions", "masked": masked, "hr@10": 0.05 + masked} for masked in (False, True)],
        "printed": {"TIGER": [0.1, 0.2, 0.06, 0.4]},
    }  # fmt: skip
    for rows, second in (([], "not run yet"), ([{"model": "letter:tokens", "beam_50": 0.031}], "0.0310")):
        stored(monkeypatch, next_item_beauty=study, semantic_ids_beauty={"rows": rows})
        drawn, alt = drawn_here.beauty_writers()
        assert len(drawn.axes[0].patches) == 2 + len(rows)
        assert "transitions, counted 0.0500" in alt and "printed: TIGER 0.0600" in alt
        assert numbers.VALUES["beauty_writer"]() == second
        assert numbers.VALUES["beauty_dealt"]() == "not run yet"


# ---- composed search ----


def test_composed_search_shows_stamps_held_out_and_asks_whether_learning_was_needed(monkeypatch):
    rows = [
        {"method": method, "held_out": held_out, "seed": 0, "r@1": 0.1 * place + (held_out == "pairs")}
        for place, method in enumerate(pictures.WAYS) for held_out in ("stamps", "pairs")
    ]  # fmt: skip
    stored(monkeypatch, composed_search={"rows": rows})
    drawn, _ = pictures.composed_bars()
    found = bars(drawn.axes[0])
    assert list(found)[0] == "words alone" and found["Combiner"] == pytest.approx(0.1) and max(found.values()) < 1
    assert numbers.VALUES["learned_beats_counting"]() == "Yes, this time."


def test_the_stamp_is_shown_once_in_each_colour_and_its_own_is_framed():
    from utils.generation import HUES

    drawn, alt = pictures.one_stamp_in_all_colours()
    images = [ax.images[0].get_array() for ax in drawn.axes]
    assert [ax.get_xlabel() for ax in drawn.axes] == [f"in {colour}" for colour in HUES]
    assert len({np.asarray(picture).tobytes() for picture in images}) == len(HUES) == 8
    framed = [ax.get_xlabel() for ax in drawn.axes if ax.spines["left"].get_linewidth() > 2]
    assert framed == ["in blue"] and "the framed one, blue, is the stamp of the shop" in alt


# ---- pictures that nobody made ----


class Painter:
    """A generator that paints: its answer says what it was asked, and by how much."""

    def __init__(self, stamps, answer):
        self.about, self.answer, self.size = {"categories": list(stamps.names)}, answer, stamps.size

    def draw(self, hues, categories, *, seed, weight):
        return self.answer(hues, categories, weight)


@pytest.fixture
def painted(monkeypatch):
    """Put a painter in the place of the shipped generator, and flat stamps in the place of the shop's."""
    from stamps_helpers import flat_stamps

    from utils import generation

    stamps = flat_stamps()

    def put(answer):
        monkeypatch.setattr(generation, "load_stamps", lambda dataset: stamps)
        monkeypatch.setattr(generation, "load_generator", lambda name: Painter(stamps, answer))
        return stamps

    return put


def test_the_sheet_has_a_row_for_each_weight_and_the_asked_category(painted):
    asked = []

    def answer(hues, categories, weight):
        asked.append((weight, hues.tolist(), set(categories.tolist())))
        return torch.full((len(hues), 3, 8, 8), weight / 4)

    painted(answer)
    drawn, alt = pictures.guidance_sheet("discs")
    assert asked == [(weight, list(range(8)), {1}) for weight in (-1, 0, 1, 3)]
    inside = [np.asarray(ax.images[0].get_array())[4, 4, 0] for ax in drawn.axes]
    assert inside == sorted(inside) and len(set(inside)) == 4
    assert [ax.get_ylabel() for ax in drawn.axes] == list(pictures.WEIGHTS) and "discs in red" in alt


def test_a_copy_is_framed_and_a_new_picture_is_not(painted):
    held = {}

    def answer(hues, categories, weight):
        known, out = held["stamps"].part(held_out=False), held["stamps"].part(held_out=True)
        return torch.stack([known.pictures[5].flip(2), out.pictures[0]])  # a mirror image counts as copied

    held["stamps"] = painted(answer)
    drawn, alt = pictures.beside_the_learned()
    above, below = drawn.axes[:2], drawn.axes[2:]
    framed = [ax.spines["left"].get_linewidth() > 2 for ax in above]
    assert framed == [True, False] and below[0].get_xlabel() == "0.00" != below[1].get_xlabel()
    assert np.array_equal(above[0].images[0].get_array(), below[0].images[0].get_array())
    assert f"bars 0.00 from {held['stamps'].titles[int(held['stamps'].part(held_out=False).stamps[5])]}" in alt
