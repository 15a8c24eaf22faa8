"""The page templates: data is escaped, pages stand alone, and no page is a string in Python."""

import json
import re
import shutil

import jinja2
import pytest

from utils.files import ROOT
from utils.press import pages, quiz, quiz_page, site, templates
from utils.press import run as runner
from utils.press.decks import figures, page, source
from utils.press.handouts import reading, text
from utils.press.live import copies, plan

EVIL = "<script>alert('x')</script>\"&"
SAFE = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&#34;&amp;"


def evil_map(tmp_path, monkeypatch):
    (path, other) = pages.course.notebook_paths()[:2]
    monkeypatch.setattr(pages.course, "notebook_paths", lambda *a: [path, other])
    monkeypatch.setattr(pages, "headline_figure", lambda executed: ("AA==", EVIL))
    (tmp_path / "results").mkdir()
    (tmp_path / "executed").mkdir()
    (tmp_path / "executed" / path.name).write_text("{}", encoding="utf-8")
    for name, status in ((path.stem, "ok"), (other.stem, "failed")):
        result = {"status": status, "seconds": 1, "peak_mb": 1, "fast": True, "reason": EVIL}
        (tmp_path / "results" / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    claim = {"text": EVIL, "op": "<", "left": 1, "right": 2, "open": False, "holds": True, "full_only": False}
    record = pages.course.record_path(path.stem, "fast", tmp_path / "records")
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"claims": [claim]}), encoding="utf-8")
    monkeypatch.setattr(pages.course, "to_come", lambda: {"12": EVIL})
    return pages.write_index(tmp_path, fast=True, dataset=EVIL).read_text(encoding="utf-8"), 5


def evil_site(tmp_path, monkeypatch):
    (path,) = pages.course.notebook_paths()[:1]
    monkeypatch.setattr(pages.course, "notebook_paths", lambda *a: [path])
    monkeypatch.setattr(site, "_card", lambda *a: dict(status=EVIL, href=EVIL, title=EVIL, question=EVIL, meta=EVIL,
                                                       image=EVIL, alt=EVIL, claims=[EVIL]))  # fmt: skip
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "1.1.html").write_text(f"<title>{SAFE}</title>", encoding="utf-8")
    monkeypatch.setattr("utils.press.decks.browser.find", lambda: None)
    monkeypatch.setattr("utils.press.handouts.build.glossary_page", lambda: "<p>")
    monkeypatch.setattr(site, "lead_out", lambda text, *a: text)
    monkeypatch.setattr(site, "faults", lambda folder: [])
    return site.write_site(tmp_path).read_text(encoding="utf-8"), 9


def evil_deck(tmp_path, monkeypatch):
    slide = source.Slide("0.md", 1, EVIL, "", "", 60)
    deck = source.Deck("0", EVIL, 1, (slide,))
    made = [page.deck_page(deck, [("", "")]), page.notes_page(deck, [("", "")]), page.index_page([deck], True)]
    return "".join(re.sub(r"<script>(?!alert\('x).*?</script>", "", text, flags=re.S) for text in made), 7


def evil_reading(tmp_path, monkeypatch):
    work = dict.fromkeys(("authors", "title", "venue", "why", "url"), EVIL) | {"names": [EVIL]}
    monkeypatch.setattr(reading, "sections", lambda: [{"section": EVIL, "works": [work]}])
    return reading.reading_page(), 7


def evil_handout(tmp_path, monkeypatch):
    return text.page(EVIL, ""), 1


def evil_plan(tmp_path, monkeypatch):
    stop = plan.Stop("00", EVIL, EVIL, "slide", 1, 1, EVIL)
    monkeypatch.setattr(plan, "stops", lambda path: [stop])
    monkeypatch.setattr(plan, "record", lambda: {"notebooks": {}, "mode": EVIL, "environment": {"platform": EVIL}})
    return copies.write_plan(tmp_path, server=f"{EVIL}?{EVIL}").read_text(encoding="utf-8"), 7


def evil_quiz(tmp_path, monkeypatch):
    monkeypatch.setattr(quiz_page, "markdown", lambda text: "")
    asked = quiz.Question("x", (quiz.Option("a", True, "b"), quiz.Option("c", False, "d")))
    loaded = quiz.Quiz(EVIL, EVIL, EVIL, (asked,))
    made = quiz_page.page(loaded) + templates.render("quizzes.html", title=EVIL, quizzes=[loaded])
    return made.replace(f"<script>{templates.inline('quiz.js')}</script>", ""), 6


@pytest.mark.parametrize("make", [evil_map, evil_site, evil_deck, evil_reading, evil_handout, evil_plan, evil_quiz])
def test_whatever_comes_from_data_is_escaped(make, tmp_path, monkeypatch):
    made, places = make(tmp_path, monkeypatch)
    assert "<script>" not in made and "alert('x')" not in made
    assert made.count(SAFE) >= places
    assert '<html lang="en">' in made and 'charset="utf-8"' in made and "<title>" in made


def test_a_value_that_is_missing_stops_the_page():
    with pytest.raises(jinja2.UndefinedError, match="decks"):
        templates.render("decks.html", title="Decks", pdf=False)


def test_the_end_of_a_script_inside_a_script_does_not_end_it(tmp_path, monkeypatch):
    (tmp_path / "a.js").write_text("const a = '</script>';", encoding="utf-8")
    monkeypatch.setattr(templates, "THEME", tmp_path)
    assert templates.inline("a.js", "a.js") == "\n".join(["const a = '<\\/script>';"] * 2)


def test_no_page_is_a_string_in_python_and_every_file_of_the_theme_is_used():
    code = {path: path.read_text(encoding="utf-8") for path in (ROOT / "utils").rglob("*.py")}
    assert not [path.name for path, text in code.items() if "<html lang" in text.lower()]
    theme = {path.name: path.read_text(encoding="utf-8") for path in templates.THEME.iterdir()}
    everything = "\n".join([*code.values(), *theme.values()])
    assert not [name for name in theme if f'"{name}"' not in everything]


def test_no_style_and_no_template_asks_for_another_file():
    for path in templates.THEME.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"url\(|@import|<link(?! rel=\"icon\" href=\"data:,\")|src=\"(?!\{\{)", text), path.name


@pytest.mark.parametrize("kind", ["quiz.html", "quizzes.html", "paper.html"])
def test_quizzes_and_forms_may_neither_fetch_nor_send(kind):
    values = dict(
        title="T", body="", quizzes=[], questions=[], quiz=quiz.Quiz("0", "T", "00", ()), letters="", markdown=str
    )
    made = templates.render(kind, **values)
    assert made.index("Content-Security-Policy") < made.index("<style>")
    assert "default-src 'none'" in made and "form-action 'none'" in made


def test_a_changed_look_of_a_notebooks_page_makes_its_stamp_old(monkeypatch):
    (path,) = pages.course.notebook_paths()[:1]
    hashed = []
    monkeypatch.setattr(runner, "sha256", lambda file: hashed.append(file) or "x")
    runner.stamp_of(path, {}, "sticker_shop", [])
    assert {templates.THEME / "notebook.css", templates.THEME / "notebook.html"} <= set(hashed)


def test_a_figure_from_a_template_is_drawn_again_when_the_template_changes(tmp_path, monkeypatch):
    shutil.copytree(templates.THEME, tmp_path / "theme")
    monkeypatch.setattr(figures, "THEME", tmp_path / "theme")
    dial, other = (figures.registry()[name] for name in ("dial", "popularity"))
    before = [figures._state(dial), figures._state(other)]
    (tmp_path / "theme" / "dial.js").write_text("other", encoding="utf-8")
    figures._sha.cache_clear()
    assert figures._state(dial) != before[0] and figures._state(other) == before[1]
