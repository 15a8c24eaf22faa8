"""The decks in a browser: they stand alone, nothing leaves a slide, formulas and pictures are there, PDFs have all pages."""

import re

import pytest

from utils.press.decks import browser, page, source
from utils.press.decks.build import build

DECKS = [source.read(path) for path in source.paths()]
pytestmark = pytest.mark.browser
by_deck = pytest.mark.parametrize("deck", DECKS, ids=lambda deck: deck.part)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if browser.find() is None:
        pytest.skip(browser.NO_BROWSER)
    target = tmp_path_factory.mktemp("decks")
    build(build_folder=target, pdf=False)
    return target


@pytest.fixture(scope="module")
def seen(folder):
    """Open every deck once, with the network cut: part -> (measured slides, requests, complaints of the page)."""
    found = {}
    with browser.opened() as tab:
        asked, said = [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        tab.route("**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else route.abort())
        for deck in DECKS:
            asked.clear(), said.clear()
            slides = browser.measure(tab, folder / f"{deck.part}.html")
            found[deck.part] = (slides, list(asked), list(said))
    return found


@by_deck
def test_no_request_leaves_the_page(deck, seen, folder):
    _, asked, said = seen[deck.part]
    own = (folder / f"{deck.part}.html").resolve().as_uri()
    foreign = [url for url in asked if url.split("?")[0].split("#")[0] != own and not url.startswith("data:")]
    assert not foreign and not said


@by_deck
def test_no_slide_overflows(deck, seen):
    slides, _, _ = seen[deck.part]
    assert len(slides) == len(deck.slides)
    too_full = [f"slides/{deck.part}.md, slide {s['number']}: {s['over']} px too much" for s in slides if s["over"] > 0]
    assert not too_full
    squeezed = [f"slide {s['number']}: {s['smallest']:.0f} px" for s in slides if s["smallest"] < 90]
    assert not squeezed, "a figure became a stamp"


@by_deck
def test_every_formula_is_drawn_and_every_picture_has_words(deck, seen):
    for slide, source_slide in zip(seen[deck.part][0], deck.slides):
        where = source_slide.where
        body = re.sub(r"```.*?```|`[^`]*`", "", source_slide.body, flags=re.S)
        wanted = len(re.findall(r"\$\$.+?\$\$|(?<![$\\])\$[^$\n]+\$(?!\$)", body, re.S))
        assert slide["maths"] >= wanted and slide["flat"] == 0, where
        assert "$" not in slide["text"], where
        assert slide["bare"] == 0 and slide["broken"] == 0, where


def test_an_overfull_slide_is_found(tmp_path, folder):
    text = "---\npart: 0\ntitle: Full\nminutes: 1\n---\n## Full\n\n" + "- a line\n" * 25 + "\nNote: 60 s. Said.\n"
    (tmp_path / "0.md").write_text(text, encoding="utf-8")
    build(build_folder=tmp_path / "out", folder=tmp_path, pdf=False)
    with browser.opened() as tab:
        (slide,) = browser.measure(tab, tmp_path / "out" / "0.html")
    assert slide["over"] > 100


def test_steps_light_lines_and_pdfs_have_all_pages(tmp_path, folder):
    text = (
        "---\npart: 0\ntitle: Steps\nminutes: 1\n---\n## One\n\n{{code utils.losses.bpr steps=1|2}}\n\nNote: 30 s. First.\n---\n"
        "## Two\n\n$x$\n\nNote: 30 s. Second.\n"
    )
    (tmp_path / "0.md").write_text(text, encoding="utf-8")
    build(build_folder=tmp_path / "out", folder=tmp_path)
    with browser.opened() as tab:
        browser.go(tab, tmp_path / "out" / "0.html")
        lit = "[...document.querySelectorAll('.line.lit')].map(x => x.dataset.line)"
        assert tab.evaluate(lit) == []
        tab.evaluate("Reveal.nextFragment()")
        assert tab.evaluate(lit) == ["1"]
        tab.evaluate("Reveal.nextFragment()")
        assert tab.evaluate(lit) == ["2"]
        assert tab.evaluate("document.querySelectorAll('aside.notes').length") == 2
    for name, n_pages in {"0.pdf": 2, "0_notes.pdf": 1}.items():
        content = (tmp_path / "out" / name).read_bytes()
        assert content.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", content)) == n_pages, name


def test_the_fonts_are_in_the_page(folder):
    text = (folder / "1.3.html").read_text(encoding="utf-8")
    assert all(f"font-family:'{family}'" in text for family, *_ in page.FONTS if "Greek" not in family)


def test_the_dial_moves_the_list_and_keeps_the_ends(folder):
    read = "[...document.querySelectorAll('.dial-box .tiles > div')].map(x => x.innerText.trim())"
    with browser.opened() as tab:
        browser.go(tab, folder / "1.3.html")
        before, said = tab.evaluate(read), tab.evaluate("document.querySelector('.dial output').textContent")
        tab.evaluate(
            "() => { const s = document.querySelector('.dial input'); s.value = 9; s.dispatchEvent(new Event('input')); }"
        )
        after = tab.evaluate(read)
    third = len(before) // 3
    assert after[:third] == before[:third] and after[2 * third :] == before[2 * third :]
    assert after[third] == "0.9 content" != before[third] and "Recall@20" in said
