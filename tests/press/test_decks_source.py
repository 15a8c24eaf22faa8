"""The decks' sources: numbers, cells, notes and times, and the sentence for each thing that can be wrong."""

import json
import re
import shutil

import pytest
from matplotlib.colors import to_hex

from utils.errors import CourseError
from utils.files import ROOT
from utils.lab import tables as results
from utils.plots.style import HIT, MODALITY_COLOURS
from utils.press.decks import browser, figures, numbers, page, render, source
from utils.press.decks.build import build, main

DECKS = [source.read(path) for path in source.paths()]
SLIDES = [(deck, slide) for deck in DECKS for slide in deck.slides]
by_deck = pytest.mark.parametrize("deck", DECKS, ids=lambda deck: deck.part)
FRONT = "---\npart: {part}\ntitle: A title\nminutes: 1\n---\n"


@pytest.fixture
def no_figures(monkeypatch):
    """Names are checked, nothing is drawn: the browser test draws."""

    def made(name, **options):
        if name not in figures.registry():
            raise figures.suggest(name, figures.registry(), "figure")
        return figures.Made("what it shows", png="")

    monkeypatch.setattr(figures, "make", made)


def one_slide(tmp_path, body, part="0"):
    """Read and render a deck of one slide; return its HTML."""
    path = tmp_path / f"{part}.md"
    text = body if body.startswith("---") else FRONT.format(part=part) + body
    path.write_text(text, encoding="utf-8")
    deck = source.read(path)
    return render.slide_html(deck.slides[0], deck, [deck])[0]


# ---- the lecture ----


def test_the_parts_add_up_to_the_lecture():
    minutes = {deck.part: deck.minutes for deck in DECKS if not deck.after}
    for head, planned in (("0", 5), ("1", 50), ("2", 15)):
        assert sum(m for part, m in minutes.items() if part.split(".")[0] == head) == planned
    assert sum(minutes.values()) == 80
    assert list(minutes) == ["title", "0", "1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4", "2.5", "3"]
    assert [deck.part for deck in DECKS] == source.parts()


def write_parts(folder, names):
    folder.mkdir(exist_ok=True)
    for name in names:
        body = "## Title\n\n{{schedule}}\n\nNote: 60 s. Said.\n"
        (folder / f"{name}.md").write_text(FRONT.format(part=name) + body, encoding="utf-8")
    return folder


def test_parts_are_found_in_their_order_and_other_files_are_none(tmp_path):
    write_parts(tmp_path, ["4.10", "3", "4.2", "title", "0", "2.1", "README", "4.2 draft", "10"])
    assert source.parts(tmp_path) == ["title", "0", "2.1", "3", "4.2", "4.10", "10"]
    assert [path.stem for path in source.paths(["4.10", "0"], tmp_path)] == ["0", "4.10"]


def test_what_comes_after_the_lecture_is_named_so_and_moves_no_clock(tmp_path, monkeypatch):
    """A new part 4.2 needs its file only; without any such part nothing is said of it."""
    names = ["title", "0", "1.1", "3"]
    before = [source.read(path) for path in source.paths(folder=write_parts(tmp_path, names))]
    after = [source.read(path) for path in source.paths(folder=write_parts(tmp_path, ["4.1", "4.2"]))]
    assert [deck.part for deck in after if deck.after] == ["4.1", "4.2"] and not any(deck.after for deck in before)
    alone = render.slide_html(before[0].slides[0], before[0], before)[0]
    more = render.slide_html(after[0].slides[0], after[0], after)[0]
    assert "After the lecture" not in alone and "from minute 3" in alone
    head, _, tail = more.partition("<tr><td class='part'>4</td>")
    assert alone.startswith(head), "the lecture's own rows changed"
    assert "4.1 A title" in tail and "4.2 A title" in tail and "2 min" in tail and "from minute" not in tail
    assert page.index_page(after, False).count("After the lecture") == 1
    assert "After the lecture" not in page.index_page(before, False)


def test_one_exercise_of_five_minutes_in_part_one():
    exercises = [slide for deck, slide in SLIDES if slide.layout == "exercise"]
    assert [(slide.file, slide.seconds) for slide in exercises] == [("1.3.md", 300)]


@by_deck
def test_every_slide_is_shown_for_a_sensible_time_and_says_something(deck, no_figures):
    for slide in deck.slides:
        limit = 300 if slide.layout == "exercise" else 120
        assert 10 <= slide.seconds <= limit, slide.where
        assert len(slide.notes.split()) >= 5, f"{slide.where}: what do you say?"
        shown = re.sub(r"\{\{.*?\}\}|```.*?```|^Source:.*$|^\|.*$", " ", slide.body, flags=re.S | re.M)
        words = re.findall(r"[A-Za-z]{2,}", re.sub(r"\$\$?.*?\$\$?", " ", shown))
        assert len(words) <= 75, f"{slide.where} has {len(words)} words: that is a page, not a slide"


@by_deck
def test_placeholders_cells_formulas_and_figures_resolve(deck, no_figures):
    for slide in deck.slides:
        body, notes = render.slide_html(slide, deck, DECKS)
        text = re.sub(r"<pre.*?</pre>|<code.*?</code>|<[^>]*>", " ", body + notes, flags=re.S)
        assert "{{" not in text and "$" not in text and ":::" not in text and "\ue000" not in text, slide.where
        for notebook, cell in re.findall(r'data-notebook="(\w+)" data-cell="([^"]+)"', body):
            cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
            assert cell in [c["id"] for c in cells], slide.where


@by_deck
def test_each_deck_points_to_a_notebook_and_shows_something(deck):
    text = "\n".join(slide.body for slide in deck.slides)
    assert "{{cell " in text
    if deck.part not in ("title", "3"):
        assert "{{figure " in text


def test_numbers_on_the_slides_are_those_of_the_records(no_figures):
    found = 0
    for deck, slide in SLIDES:
        for part in render.slide_html(slide, deck, DECKS):
            for came, shown in re.findall(r'<span class="n" data-from="record (\S+ \S+ \S+?)">([^<]*)</span>', part):
                notebook, name, form = came.split()
                stored = json.loads((results.RECORDS / "full" / f"{notebook[:2]}.json").read_text(encoding="utf-8"))
                value = stored["values"][name]["value"]
                assert shown.replace("\u2212", "-") == format(value, form), (slide.where, name)
                found += 1
    assert found >= 20


def test_a_changed_record_changes_the_slide(tmp_path, monkeypatch):
    body = "## Title\n\nIt is {{record 05 warm_vbpr .3f}}.\n\nNote: 60 s. Said.\n"
    copy = tmp_path / "records"
    shutil.copytree(results.RECORDS / "full", copy / "full")
    monkeypatch.setattr(results, "RECORDS", copy)
    before = one_slide(tmp_path, body)
    record = json.loads((copy / "full" / "05.json").read_text(encoding="utf-8"))
    record["values"]["warm_vbpr"]["value"] = 0.987654
    (copy / "full" / "05.json").write_text(json.dumps(record), encoding="utf-8")
    after = one_slide(tmp_path, body)
    assert "0.988" in after and "0.988" not in before


def test_results_are_means_of_the_rows_asked_for(tmp_path, monkeypatch):
    rows = [
        {"model": "a", "seed": 0, "split": "test", "input": "1f", "value": 0.2},
        {"model": "a", "seed": 1, "split": "test", "input": "2e", "value": 0.4},
        {"model": "a", "seed": 0, "split": "valid", "value": 0.9},
    ]
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    assert numbers.look_up("result", ["study", "model=a", "split=test", ".2f"]) == "0.30"
    assert numbers.look_up("result", ["study", "split=valid", "+.1%"]) == "+90.0%"
    with pytest.raises(CourseError, match="differ in split"):
        numbers.look_up("result", ["study", "model=a", ".2f"])
    with pytest.raises(CourseError, match="Unknown model in study.json 'b'"):
        numbers.look_up("result", ["study", "model=b", ".2f"])


def test_claims_published_figures_and_minus():
    claim = json.loads((results.RECORDS / "full" / "00.json").read_text(encoding="utf-8"))["claims"][0]
    assert numbers.look_up("claim", ["00", "Content ranks", "left", ".3f"]) == f"{claim['left']:.3f}"
    with pytest.raises(CourseError, match="Unknown side of a claim 'rigth'; did you mean right"):
        numbers.look_up("claim", ["00", "Content ranks", "rigth", ".3f"])
    assert numbers.look_up("published", ["Office", "lightgcn", "recall", ".4f"]) == "0.1237"
    assert numbers.look_up("record", ["06", "difference_two_close", ".4f"]).startswith("\u2212")


@pytest.mark.parametrize(
    ("open_question", "holds", "words"),
    [(True, True, "Yes, this time."), (True, False, "No, this time."), (False, True, "It holds."),
     (False, False, "It does not hold here.")],
)  # fmt: skip
def test_a_verdict_says_in_words_what_the_run_decided(monkeypatch, open_question, holds, words):
    entry = {"text": "A beats B", "left": 0.1, "right": 0.2, "open": open_question, "holds": holds}
    monkeypatch.setattr(numbers, "record_file", lambda notebook: {"notebook": "x", "values": {}, "claims": [entry]})
    assert numbers.look_up("claim", ["x", "A beats", "verdict"]) == words


# ---- one sentence for what is wrong ----


@pytest.mark.parametrize(
    "body, sentence",
    [
        ("## Title", r"slides/0.md, slide 1 has no speaker notes"),
        ("## Title\n\nNote: Said.", r"slide 1: the notes do not start with their seconds"),
        ("## T\n\nNote: 50 s. Said.", r"its slides take 50 s, the deck has 60 s"),
        ("## T\n\nRecall is 0.35.\n\nNote: 60 s. Said.", r"slide 1: the number '0.35' is typed"),
        ("## T\n\nUp by 12 %.\n\nNote: 60 s. Said.", r"the number '12 %' is typed"),
        ("## T\n\nNote: 60 s. It is .35 there.", r"the number '.35' is typed"),
        ("Layout: wide\n## T\n\nNote: 60 s. Said.", r"slide 1: Unknown layout 'wide'"),
        ("## T\n\n{{record 05 warm_vbrp .3f}}\n\nNote: 60 s. Said.", r"slide 1: Unknown value .* did you mean warm_vbpr"),
        ("## T\n\n{{record 05 warm_vbpr .3y}}\n\nNote: 60 s. Said.", r"'.3y' is no number format"),
        ("## T\n\n{{record 77 warm_vbpr}}\n\nNote: 60 s. Said.", r"Unknown record '77'"),
        ("## T\n\n{{recrod 05 warm_vbpr}}\n\nNote: 60 s. Said.", r"Unknown placeholder 'recrod'; did you mean record"),
        ('## T\n\n{{cell 05_training "Nowhere"}}\n\nNote: 60 s. Said.', r"slide 1: Unknown cell of 05_training"),
        ('## T\n\n{{cell 05_trainin "2. The"}}\n\nNote: 60 s. Said.', r"Unknown notebook '05_trainin'"),
        ('## T\n\n{{cell 05_training "checks."}}\n\nNote: 60 s. Said.', r"cells of 05_training start with 'checks.'"),
        ("## T\n\n{{figure no_such}}\n\nNote: 60 s. Said.", r"slide 1: Unknown figure 'no_such'"),
        ("## T\n\n{{bars}}\n\nNote: 60 s. Said.", r"slide 1: {{bars}} names no notebook"),
        ("## T\n\n{{bars 00 axis=x}}\n\nNote: 60 s. Said.", r"slide 1: bars has nothing to draw"),
        ("## T\n\n{{bars 05 warm_bpp=BPR}}\n\nNote: 60 s. Said.", r"slide 1: Unknown value in the record of 05 'warm_bpp'"),
        ("## T\n\n{{bars 05 warm_bpr=[BPR]{visuel}}}\n\nNote: 60 s. Said.", r"Unknown kind of bar 'visuel'; did you mean visual"),
        ("## T\n\n{{bars 05 warm_bpr=a warm_vbpr=a}}\n\nNote: 60 s. Said.", r"two bars of 05 have one name"),
        ("## T\n\n{{bars 05 warm_bpr=a size=big}}\n\nNote: 60 s. Said.", r"figure bars cannot be drawn with"),
        ("## T\n\n{{code utils.losses.bpp}}\n\nNote: 60 s. Said.", r"Unknown name in utils.losses 'bpp'"),
        ("## T\n\n{{code utils.losses.bpr lines=2-9}}\n\nNote: 60 s. Said.", r"the code has 2 lines"),
        ("## T\n\n$\\foo{x}$\n\nNote: 60 s. Said.", r"slide 1: the formula .* has the unknown command"),
        ("## T\n\n$x^{$\n\nNote: 60 s. Said.", r"slide 1: the formula .* cannot be read"),
        ("## T\n\n$\\frac{1}$\n\nNote: 60 s. Said.", r"slide 1: the formula .* cannot be read"),
        ("## T\n\n:::columns 1 1\na\n\nNote: 60 s. Said.", r"the box `:::columns` is not closed"),
        ("## T\n\n:::colums\na\n:::\n\nNote: 60 s. Said.", r"Unknown box 'colums'"),
        ("## T\n\n:::\n\nNote: 60 s. Said.", r"closes a box that was never opened"),
        ("## T\n\n:::columns 1 1 1\na\n|||\nb\n:::\n\nNote: 60 s. Said.", r"3 widths for 2 columns"),
        ("Note: 60 s. Said.", r"slide 1 is empty"),
        ("---\npart: 1.1\ntitle: x\nminutes: 1\n---\n## T\n\nNote: 60 s. S a.", r"says part 1.1; name the part like the file"),
        ("---\ntitle: x\n---\n## T\n\nNote: 60 s. Said.", r"the front matter needs exactly minutes, part, title"),
    ],
)  # fmt: skip
def test_a_broken_source_gives_one_sentence_with_file_and_slide(tmp_path, body, sentence):
    with pytest.raises(CourseError, match=sentence) as caught:
        one_slide(tmp_path, body)
    assert "0.md" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_part_is_answered_with_the_known_ones():
    with pytest.raises(CourseError, match="Unknown deck '1.9'; did you mean"):
        source.paths(["1.9"])


# ---- what the format can do ----


def test_steps_columns_colours_and_code(tmp_path):
    markup = one_slide(
        tmp_path,
        "## T\n\n+ later\n- at once [words]{textual}\n\n:::columns 2 1\n{{code utils.losses.bpr steps=1|2}}\n|||\n$x_i$\n:::\n\n"
        'Source: Somebody, doi:10.1145/3662738\n\n{{cell 05_training "2. The loss: BPR"}}\n\nNote: 60 s. Said.\n',
    )
    assert '<li class="fragment">later' in markup and "<li>at once" in markup
    assert '<span class="m-textual">words</span>' in markup
    assert markup.count('class="fragment code-step"') == 2 and '"""' not in markup
    assert "grid-template-columns:2fr 1fr" in markup and "<math" in markup
    assert '<a href="https://doi.org/10.1145/3662738">' in markup
    assert re.search(r'<div class="pointers"><a class="cell" href="\.\./05_training\.html#cell-id=c\d+"', markup)


def test_html_in_a_source_is_shown_not_run(tmp_path):
    assert "<script" not in one_slide(tmp_path, "## T\n\n<script>alert(1)</script>\n\nNote: 60 s. Said.\n")


def test_colours_of_the_modalities_come_from_plotstyle():
    css = (source.SLIDES / "theme" / "deck.css").read_text(encoding="utf-8")
    made = page.colours_css()
    for modality, colour in MODALITY_COLOURS.items():
        assert colour in made and f".m-{modality}" in made
        assert colour.lower() not in css.lower(), f"deck.css types the colour of {modality}"


def test_vendored_files_have_their_licences():
    assert "Permission is hereby granted" in (page.VENDOR / "reveal" / "LICENSE").read_text(encoding="utf-8")
    fonts = page.VENDOR / "fonts"
    licences = {path.name.removeprefix("LICENSE-") for path in fonts.glob("LICENSE-*")}
    assert all(any(path.name.startswith(name) for name in licences) for path in fonts.glob("*.woff2"))


# ---- figures ----


@pytest.fixture
def own_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "CACHE", tmp_path)
    monkeypatch.setattr(figures, "FIGURES", {})
    monkeypatch.setattr(figures, "registry", lambda: figures.FIGURES)
    drawn = []

    def drawing(words: str = "what it shows"):
        drawn.append(words)
        return "<svg></svg>", words

    return figures.figure(drawing), drawn


def test_a_figure_is_drawn_once_until_something_changes(own_figure, monkeypatch):
    _, drawn = own_figure
    monkeypatch.setattr(figures, "_state", lambda function: "as it was")
    assert figures.make("drawing") == figures.make("drawing")
    assert len(drawn) == 1
    figures.make("drawing", words="other words")
    assert len(drawn) == 2
    monkeypatch.setattr(figures, "_state", lambda function: "changed")
    figures.make("drawing")
    assert len(drawn) == 3


def test_the_state_of_a_figure_holds_what_it_reaches_and_nothing_else():
    text = """
import os, re
SIZE, OTHER = 3, 4
APART = 5
def helper():
    return os.sep * SIZE
@styled
def drawing():
    return helper()
def apart():
    return re.escape(APART)
"""
    reached = figures._reached(text, "drawing")
    assert "import os" in reached and "SIZE" in reached and "def helper" in reached
    assert "import re" not in reached and "apart" not in reached.lower()
    files = {path.relative_to(ROOT).as_posix() for path in figures._imported("from utils.plots import fusion")}
    assert {"utils/plots/fusion.py", "utils/plots/style.py"} <= files
    one = {path.relative_to(ROOT).as_posix() for path in figures._imported("from utils.lab import synthetic")}
    assert {"utils/lab/__init__.py", "utils/lab/synthetic.py"} <= one and "utils/lab/speed.py" not in one


def test_a_figure_needs_alt_text_and_known_options(own_figure):
    with pytest.raises(CourseError, match="figure drawing has no alt text"):
        figures.make("drawing", words=" ")
    with pytest.raises(CourseError, match="figure drawing cannot be drawn with"):
        figures.make("drawing", colour="red")


def test_bars_are_those_of_the_record_with_their_colours_and_controls(monkeypatch):
    entry = {"text": "A is more than B", "left": 0.5, "right": 0.25}
    stored = {"notebook": "05_training", "values": {"a": {"value": 0.4}, "b": {"value": -0.1}}, "claims": [entry]}
    monkeypatch.setattr(numbers, "record_file", lambda notebook: stored)
    labels = {
        "a": "[first]{visual}",
        "b": "[second]{textual control}",
        "right of A is": "[third]{hit}",
        "a - b": "fourth",
    }
    drawn, alt = figures.bars("05", form=".2f", axis="Share", line="1/3", size="8x3", to="1", **labels)
    (ax,) = drawn.axes
    made = ax.patches
    assert [bar.get_width() for bar in made] == [0.4, -0.1, 0.25, 0.5]
    assert [to_hex(bar.get_edgecolor()).upper() for bar in made] == [
        MODALITY_COLOURS["visual"], MODALITY_COLOURS["textual"], HIT, MODALITY_COLOURS["none"]
    ]  # fmt: skip
    assert [bar.get_hatch() for bar in made] == [None, "///", None, None] and to_hex(
        made[1].get_facecolor()
    ) == "#ffffff"
    assert [word.get_text() for word in ax.get_yticklabels()] == ["first", "second", "third", "fourth"]
    assert {line.get_xdata()[0] for line in ax.lines} == {0, 1 / 3} and ax.get_xlim()[1] == 1
    assert ax.get_xlabel() == "Share" and tuple(drawn.get_size_inches()) == (8, 3)
    assert alt == (
        "Share: first 0.40; second -0.10; third 0.25; fourth 0.50. Hatched controls: second. Dashed line at 0.33."
    )
    assert figures.bars("05", line="a", a="x")[1] == "Recall at 20: x 0.400. Dashed line at 0.400."


def test_a_directive_may_end_with_a_brace_and_go_on_in_the_next_line(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        figures, "make", lambda *a, **options: asked.append((a, options)) or figures.Made("x", png="AA")
    )
    markup = one_slide(
        tmp_path, "## T\n\n{{bars 05 warm_bpr=[BPR]{none}\n  warm_vbpr=[VBPR]{multimodal}}}\n\nNote: 60 s. Said.\n"
    )
    assert asked == [(("bars",), {"notebook": "05", "warm_bpr": "[BPR]{none}", "warm_vbpr": "[VBPR]{multimodal}"})]
    assert "<figure>" in markup and "}" not in markup


# ---- without a browser ----


def test_without_a_browser_the_html_is_made_and_one_sentence_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_BROWSER", str(tmp_path / "none"))
    folder = tmp_path / "sources"
    folder.mkdir()
    text = FRONT.format(part="0") + "## Title\n\nHello.\n\nNote: 60 s. Said.\n"
    (folder / "0.md").write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match="No browser found for the PDFs .the HTML decks are made.: install Chromium"):
        build(build_folder=tmp_path / "out", folder=folder)
    assert "Hello." in (tmp_path / "out" / "0.html").read_text(encoding="utf-8")
    assert not (tmp_path / "out" / "0.pdf").exists()
    assert "0.pdf" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    monkeypatch.setattr(
        "utils.press.decks.build.build", lambda *a, **k: (_ for _ in ()).throw(CourseError(browser.NO_BROWSER))
    )
    assert main([]) == 1
    assert capsys.readouterr().err.strip() == browser.NO_BROWSER
