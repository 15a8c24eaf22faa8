"""Quizzes: sources, the terminal, and the pages in a browser."""

import io
import re
import sys
from pathlib import Path

import pytest

from utils import course
from utils.errors import CourseError
from utils.files import ROOT
from utils.press import __main__ as door
from utils.press import quiz, quiz_page
from utils.press.decks import source

PARTS = quiz.parts()
CHROMIUM = Path("/usr/bin/chromium")
by_part = pytest.mark.parametrize("part", PARTS)


def test_every_part_of_the_lecture_has_a_quiz():
    decks = [part for part in source.parts() if part not in ("title", "3")]  # the title and the questions have none
    assert [part for part in PARTS if not source.is_after(part)] == [
        part for part in decks if not source.is_after(part)
    ]
    assert set(PARTS) <= set(decks), "a quiz without its deck"


@by_part
def test_questions_are_complete(part):
    loaded = quiz.load(part)  # checks right options and explanations itself
    assert 5 <= len(loaded.questions) <= 7
    for question in loaded.questions:
        assert len({option.text for option in question.options}) == len(question.options)
        assert len({option.because for option in question.options}) == len(question.options)
        assert all(len(option.because) >= 12 for option in question.options)
    stems = {path.stem for path in course.notebook_paths()}
    assert loaded.notebook in stems or loaded.notebook == "02 to 06"


@by_part
def test_numbers_come_from_records(part):
    """Decimal fractions and percentages in a source are placeholders; the built text has them filled in."""
    source = (quiz.FOLDER / f"{part}.yaml").read_text(encoding="utf-8")
    assert not re.search(r"\d*\.\d{2,}|\d+ ?%", quiz.PLACEHOLDER.sub("", source))
    assert not any("{{" in text for text in quiz.texts(quiz.load(part)))


def test_no_rule_of_thumb_passes():
    """Neither the place nor the length of an answer gives it away."""
    questions = [question for part in PARTS for question in quiz.load(part).questions if question.pick == 1]
    places = [min(question.right) for question in questions]
    for place in range(4):
        assert 0.1 < places.count(place) / len(places) < 0.4
    longest = [max(q.options, key=lambda option: len(option.text)).right for q in questions]
    assert sum(longest) / len(longest) < 0.4


def test_a_number_that_changes_in_the_record_changes_in_the_quiz():
    assert quiz.recorded("x {{record 07 mse_mean .1f}}") != quiz.recorded("x {{record 07 mse_mean .4f}}")
    with pytest.raises(CourseError, match="mse_meen"):
        quiz.recorded("{{record 07 mse_meen .2f}}")


GOOD = """\
title: T
notebook: 00_start_here
questions:
  - ask: Which?
    options:
      - text: this
        right: true
        because: it is
      - text: that
        because: it is not
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("right: true", "right: false"), r"x.yaml, question 1: 0 options are right and `pick` says 1"),
        (("because: it is not", "right: true\n        because: so is it"), r"question 1: 2 options are right"),
        (("        because: it is not\n", ""), r"question 1, option b: `because:` is missing"),
        (("because: it is\n", "because: it is: not\n"), r"x.yaml, question 1, line \d+: not YAML"),
        (("right: true", "right: yeah"), r"option a: `right:` is true or left out"),
        (("    options:", "    option:"), r"question 1: needs `ask` and `options`"),
        (("title: T\n", ""), r"x.yaml, question 0: `title:` is missing"),
        (("because: it is not", "because: '{{record 07 nothing .2f}}'"), r"question 1, option b: Unknown value"),
        (("ask: Which?", "pick: 2\n    ask: Which?"), r"1 options are right and `pick` says 2"),
    ],
)
def test_a_broken_source_gives_one_sentence_with_file_and_question(tmp_path, change, message):
    assert change[0] in GOOD
    (tmp_path / "x.yaml").write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(CourseError, match=message) as caught:
        quiz.load("x", tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_part_names_the_known_ones(capsys):
    assert quiz.main(["1.9"]) == 1
    assert "1.3" in capsys.readouterr().err


def answers(part, wrong=()):
    loaded = quiz.load(part)
    for number, question in enumerate(loaded.questions, 1):
        right = question.right
        chosen = right if number not in wrong else set(range(len(question.options))) - right
        yield "".join(quiz.LETTERS[place] for place in sorted(chosen)[: question.pick])


def test_terminal_counts_and_explains():
    lines, replies = [], list(answers("2.1", wrong={2}))
    replies[3:3] = ["z"]  # no such letter: asked again
    loaded = quiz.load("2.1")
    n_right = quiz.ask(loaded, reply=lambda _: replies.pop(0), say=lines.append)
    assert n_right == len(loaded.questions) - 1 and not replies
    shown = "\n".join(lines)
    assert "Not this one." in shown and "Type one letter from a to d." in shown
    assert shown.count(" right: ") == len(loaded.questions)


def test_terminal_stops_quietly():
    def stop(_):
        raise EOFError

    assert quiz.ask(quiz.load("0"), reply=stop, say=lambda _: None) == 0


def test_marks():
    question = quiz.load("1.1").questions[5]
    assert question.pick == 2
    assert quiz.marks(question, question.right) == (True, "Right.")
    assert quiz.marks(question, {min(question.right)}) == (False, "Choose 2 answers.")
    assert quiz.marks(question, {min(question.right), 1}) == (False, "Not yet: 1 of 2 right.")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("quiz")
    return {path.stem: path for path in quiz_page.build(out)}


def test_pages_are_complete_and_labelled(built):
    assert set(built) == {*PARTS, "index"}
    index = built["index"].read_text(encoding="utf-8")
    assert all(f'href="{part}.html"' in index for part in PARTS)
    for part in PARTS:
        text = built[part].read_text(encoding="utf-8")
        assert text.count("<fieldset") == text.count("<legend>") == len(quiz.load(part).questions)
        ids = re.findall(r'<input type="(?:radio|checkbox)" name="\w+" id="(\w+)"', text)
        assert ids == re.findall(r'<label for="(\w+)"', text) and len(set(ids)) == len(ids)
        assert 'aria-live="polite"' in text and '<html lang="en">' in text and "{{" not in text
        assert not re.search(r"""(?:src|href)=["'](?!data:|index\.html)""", text)


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with api.sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield window
        window.close()


@pytest.fixture
def opened(browser, built):
    """Open a page; at the end, nothing but the file itself may have been asked for."""
    page, requests, errors = browser.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))

    def go(part):
        page.goto(built[part].as_uri())
        return page

    yield go
    page.close()
    outside = [url for url in requests if not url.startswith(("file:", "data:"))]
    assert not outside and not errors
    assert sum(url.startswith("file:") for url in requests) == 1


def verdict(page, n):
    return page.locator("form").nth(n).locator(".verdict").inner_text()


def shown(page, n):
    return page.locator("form").nth(n).locator(".why:visible").count()


@pytest.mark.browser
def test_page_marks_wrong_then_right_and_starts_again(opened):
    page, questions = opened("2.1"), quiz.load("2.1").questions
    check = page.locator("form").nth(0).locator("button[type=submit]")
    check.click()
    assert verdict(page, 0) == "Choose one answer." and shown(page, 0) == 0
    right = min(questions[0].right)
    wrong = (right + 1) % 4
    page.check(f"#q1{quiz.LETTERS[wrong]}")
    check.click()
    assert verdict(page, 0).startswith("Not this one") and shown(page, 0) == 1
    assert page.locator("form").nth(0).locator(".why:visible").inner_text().startswith("Wrong.")
    page.check(f"#q1{quiz.LETTERS[right]}")
    check.click()
    assert verdict(page, 0).startswith("Right.") and shown(page, 0) == 4
    assert page.inner_text("#score") == f"1 of {len(questions)} done, 0 right at the first try."
    page.click("#again")
    assert page.inner_text("#score").startswith("0 of") and shown(page, 0) == 0 and verdict(page, 0) == ""
    assert page.locator("input:checked").count() == 0


@pytest.mark.browser
@by_part
def test_right_answers_win_on_every_page(opened, part):
    page, questions = opened(part), quiz.load(part).questions
    for number, question in enumerate(questions, 1):
        for place in question.right:
            page.check(f"#q{number}{quiz.LETTERS[place]}")
        page.locator("form").nth(number - 1).locator("button[type=submit]").click()
        assert verdict(page, number - 1).startswith("Right.")
    total = len(questions)
    assert page.inner_text("#score").startswith(f"{total} of {total} done, {total} right at the first try.")


@pytest.mark.browser
def test_keyboard_alone_is_enough(opened):
    page = opened("1.2")
    page.keyboard.press("Tab")  # the link to the index
    page.keyboard.press("Tab")  # the first question
    for _ in range(min(quiz.load("1.2").questions[0].right)):
        page.keyboard.press("ArrowDown")
    if page.locator("input:checked").count() == 0:
        page.keyboard.press("Space")
    page.keyboard.press("Enter")
    assert verdict(page, 0).startswith("Right.")


@pytest.mark.browser
def test_giving_up_shows_the_answer_and_counts_as_wrong(opened):
    page = opened("0")
    page.locator("form").nth(1).locator(".show").click()
    assert shown(page, 1) == 4 and ", 0 right at the first try" in page.inner_text("#score")


def test_the_door_of_make_quiz_writes_pages_and_forms(tmp_path, capsys):
    assert "python -m utils.press quiz build\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert quiz_page.main(["build", "--out", str(tmp_path / "quiz")]) == 0
    assert f"{len(PARTS) + 1} pages in" in capsys.readouterr().out
    assert (tmp_path / "quiz" / "2.1.html").is_file() and (tmp_path / "instructor" / "feedback.html").is_file()


def test_questions_know_nothing_of_pages(tmp_path, monkeypatch, capsys):
    """The door gives `quiz build` to the pages; the terminal's quiz works where these cannot even be imported."""
    assert door.main(["quiz", "build", "--out", str(tmp_path / "quiz")]) == 0 and "pages in" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "utils.press.quiz_page", None)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))  # one empty line, then the end
    assert door.main(["quiz", "0"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Part 0: {quiz.load('0').title}.") and "Skipped." in said and said.endswith("Stopped.\n")
    assert door.main(["quiz", "biuld"]) == 1 and "Unknown quiz 'biuld'" in capsys.readouterr().err
    with pytest.raises(ImportError):
        door.main(["quiz", "build"])
