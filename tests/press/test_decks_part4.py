"""The figures of part 4.1: they show the stored studies and the course's own code, whatever the studies say."""

import re

import pytest

from utils.errors import CourseError
from utils.lab import tables as results
from utils.press.decks import figures, figures_mp4sr, figures_part4, numbers

TEST = {"group": "all", "metric": "ndcg@10", "low": -0.01, "high": 0.02, "t_p": 0.1, "t_holm": 0.2}


def study(shares, opponents):
    """A study of pretraining with these shares; the difference says which row it is."""
    summary = [{"row": "untrained", "share": 0.0}, *({"row": "pretrained", "share": share} for share in shares)]
    tests = [
        {**TEST, "a": f"{a} {share}", "b": f"{b} {share if b not in ('Content kNN', 'ItemKNN, recency') else 1.0}",
         "difference": share + 0.001 * place + 0.5 * (a != "pretrained"), "group": group}
        for share in shares for a in ("pretrained", "no mixup") for place, b in enumerate(opponents)
        for group in ("all", "cold")
    ]  # fmt: skip
    return {"summary": summary, "tests": tests}


def test_the_rows_of_few_users_stand_beside_every_opponent_and_all_users_beside_scratch():
    rows = figures_part4._paired(study((0.05, 0.3, 1.0), figures_part4.OPPONENTS))
    assert list(zip(rows["a"], rows["b"])) == [
        *(("few users", name) for name in figures_part4.OPPONENTS), ("all users", "from scratch")
    ]  # fmt: skip
    assert list(rows["difference"]) == pytest.approx([0.05, 0.051, 0.052, 0.053, 0.054, 0.055, 1.0])


def test_an_opponent_that_a_study_lacks_is_left_out():
    rows = figures_part4._paired(study((0.1, 1.0), ("from scratch", "shuffled", "ItemKNN")))
    assert list(rows["b"]) == ["from scratch", "shuffled", "ItemKNN", "from scratch"]


def test_the_intervals_are_those_of_both_studies(monkeypatch):
    stored = {
        "pretraining_shop": study((0.1, 1.0), ("from scratch",)),
        "pretraining_movielens": study((0.25, 1.0), ("from scratch", "shuffled")),
    }
    monkeypatch.setattr(results, "load", stored.__getitem__)
    drawn, alt = figures_part4.pretraining_intervals()
    words = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert words[0] == "Sticker Shop, few = 10%" and words[3] == "MovieLens, few = 25%" and len(words) == 7
    assert "MovieLens, few = 25%, few users minus shuffled +0.2510 (p 0.20)" in alt


def test_ways_are_means_over_seeds_in_megabytes_and_opponents_that_train_nothing_are_left_out(monkeypatch):
    shared = {"cpu_seconds_a_step": 0.5, "memory": 2**21, "optimiser": 2**20, "stored": 2**20}
    rows = [
        {"way": "popularity", "seed": 0, "steps": 0, "hr@10": 0.9},
        {"way": "last_block", "seed": 0, "steps": 40, "hr@10": 0.1, **shared},
        {"way": "last_block", "seed": 1, "steps": 40, "hr@10": 0.3, **shared},
        {"way": "last_block", "seed": 0, "steps": 120, "hr@10": 0.8, **shared},
        {"way": "full", "seed": 0, "steps": 40, "hr@10": 0.5, **shared, "stored": 2**22},
    ]
    monkeypatch.setattr(results, "load", lambda name: {"rows": rows})
    drawn, alt = figures_part4.ways_panels()
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == ["last block", "full"]
    assert [ax.patches[0].get_width() for ax in drawn.axes] == pytest.approx([0.2, 0.5, 3.0, 14.0])
    assert (
        "last_block: hit rate 0.200, 0.500 s and 3.0 MB a step, 14 MB for ten tasks" in alt and "popularity" not in alt
    )


def test_a_study_that_still_runs_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(
        results, "load", lambda name: {"rows": [], "meta": {"command": "python -m utils.lab study pretraining x"}}
    )
    with pytest.raises(CourseError, match="pretraining_shop.json has no tests yet; let its command finish: python -m"):
        figures_part4.pretraining_intervals()


def test_beauty_shows_what_was_measured_and_what_was_printed(monkeypatch):
    rows = [{"model": "Counts", "masked": masked, "hr@10": value} for masked, value in ((True, 0.9), (False, 0.5))]
    printed = {"SASRec": [0.1, 0.2, 0.25, 0.4]}
    monkeypatch.setattr(results, "load", lambda name: {"rows": rows, "printed": printed})
    drawn, alt = figures_part4.beauty_beside_printed()
    assert [bar.get_width() for bar in drawn.axes[0].patches] == [0.5, 0.25]
    assert [bool(bar.get_hatch()) for bar in drawn.axes[0].patches] == [False, True]
    assert "Measured here: Counts 0.5000. Hatched, printed: SASRec 0.2500." in alt


def test_the_mask_lets_no_item_see_later_ones_or_padding():
    drawn, alt = figures_part4.causal_mask()
    filled = {(round(p.get_y() + 0.44), round(p.get_x() + 0.44)) for p in drawn.axes[0].patches if not p.get_hatch()}
    assert filled == {(0, 0)} | {(row, column) for row in range(1, 5) for column in range(1, row + 1)}
    assert "item 3 sees item 1, item 2, item 3;" in alt and "padding sees padding;" in alt


def test_the_history_of_the_first_slide_ends_with_its_test_item():
    drawn, alt = figures_part4.one_history()
    captions = [part.get_text() for part in drawn.texts]
    assert len(captions) == 12 and captions[0] == "12 from the end" and captions[-2:] == ["validation", "test"]
    assert alt.count(",") >= 12


def test_what_leaves_one_stream_of_mp4sr_stands_in_the_other():
    first, second = (
        [re.search(r'fill="(#\w+)"', square)[1] for square in figures_mp4sr._stream(0, 0, own, other)]
        for own, other in (("#a", "#b"), ("#b", "#a"))
    )
    assert all(one != two for one, two in zip(first, second)) and first.count("#b") == 2
    assert figures.registry()["mp4sr_flow"]()[0].count("<rect") == 6 + 10 + 2  # boxes, places of the streams, stages


def test_eval_ignores_what_stands_beside_the_weight_and_nothing_else():
    beside, inside = numbers.VALUES["trap_beside"](), numbers.VALUES["trap_inside"]()
    off = numbers.VALUES["trap_beside_off"](), numbers.VALUES["trap_inside_off"]()
    assert beside == 0 and inside > 0.5 and off == pytest.approx((inside, inside), rel=1e-4)
