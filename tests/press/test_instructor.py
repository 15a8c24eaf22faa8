"""The instructor's page and the feedback form: what they name exists, and their minutes are those of the live path."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from utils.errors import CourseError
from utils.files import ROOT
from utils.press import quiz_page
from utils.press.decks import render, source
from utils.press.live import lecture, plan

PAGE = (quiz_page.INSTRUCTOR / "README.md").read_text(encoding="utf-8")
FORM = (quiz_page.INSTRUCTOR / "feedback.md").read_text(encoding="utf-8")


def named_cells(text=PAGE):
    """Yield (notebook, first words): a quoted text after a notebook's name, up to the next line."""
    for line in text.splitlines():
        notebook = None
        for name, words in re.findall(r'`(\d\d_\w+)`|"([^"]+)"', line):
            notebook = name or notebook
            if words and notebook:
                yield notebook, words


@pytest.mark.parametrize(("notebook", "words"), sorted(set(named_cells())))
def test_every_cell_it_names_exists_once(notebook, words):
    assert render._cell(notebook, words)  # raises a sentence with the nearest ones, as for a slide


def test_a_cell_that_does_not_exist_is_named():
    with pytest.raises(CourseError, match="Unknown cell of 05_training 'No such heading'"):
        render._cell("05_training", "No such heading")


ROWS = re.findall(r"^\| ([^|]+) \| `(\d\d_\w+)` \| (\d+) \|", PAGE, re.M)  # part, notebook, minutes
AFTER = [(part, notebook, minutes) for part, notebook, minutes in ROWS if source.is_after(part)]


def test_it_names_cells_of_every_notebook_of_the_lecture_and_of_no_other_but_those_after_it():
    named = {notebook for notebook, _ in named_cells()}
    assert named - {notebook for _, notebook, _ in AFTER} == {path.stem for path in plan.notebooks()}


def test_every_command_it_names_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"`make (\w+)", PAGE))
    assert named >= {"live", "slides", "quiz", "env"} and named <= targets
    modules = set(re.findall(r"python -m (utils\.\w+)", PAGE))
    assert modules and all(importlib.util.find_spec(module) for module in modules)
    source = ast.parse(Path(lecture.__file__).read_text(encoding="utf-8"))
    known = {node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    flags = set(re.findall(r'`make live ARGS="(--[\w-]+)', PAGE))
    assert flags == {"--no-server", "--check-only", "--port"} and flags <= known


def test_the_minutes_are_those_of_the_live_path():
    marked = {path.stem: sum(stop.minutes for stop in plan.stops(path)) for path in plan.notebooks()}
    assert {name: float(minutes) for part, name, minutes in ROWS if not source.is_after(part)} == marked
    assert 2 + sum(marked.values()) + 8 == 80  # title deck, the path, questions


@pytest.mark.parametrize(("part", "notebook", "minutes"), AFTER)
def test_what_comes_after_the_lecture_has_its_deck_and_the_minutes_of_it(part, notebook, minutes):
    before, _, section = PAGE.partition("## After the 80 minutes")
    assert f"`{notebook}`" not in before and f"| {part} | `{notebook}` |" in section
    deck = source.read(*source.paths([part]))
    assert deck.minutes == float(minutes)
    assert any(f"{{{{cell {notebook} " in slide.body for slide in deck.slides)


@pytest.mark.parametrize(("minute", "notebook"), re.findall(r"minute (\d+) (?:you should be )?in `(\d\d_\w+)`", PAGE))
def test_the_minutes_to_check_by_are_right(minute, notebook):
    clock = 2.0
    for path in plan.notebooks():
        length = sum(stop.minutes for stop in plan.stops(path))
        if path.stem == notebook:
            assert clock <= float(minute) <= clock + length
            return
        clock += length
    pytest.fail(f"{notebook} is not on the live path")


def test_the_exercise_is_the_one_that_is_marked():
    (stop,) = [stop for path in plan.notebooks() for stop in plan.stops(path) if stop.exercise]
    row = next(line for line in PAGE.splitlines() if f"| `{stop.notebook}` |" in line)
    assert "exercise" in row.split("|")[5] and f'"{stop.title}"' in row and stop.minutes == 5


def test_links_and_files_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE + FORM):
        assert (quiz_page.INSTRUCTOR / target).exists(), target


def test_no_measured_number_is_typed():
    assert not re.search(r"\d+\.\d{2,}", PAGE.replace("1280x720", ""))


def test_the_form_asks_for_no_name_and_needs_no_site():
    assert not re.search(r"https?://|@|your name|e-?mail", FORM, re.I)
    numbers = [int(n) for n in re.findall(r"^(?:\| )?(\d+)\. ", FORM, re.M)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 10


def test_pages_are_built_and_ask_nobody(tmp_path):
    pages = {path.name: path.read_text(encoding="utf-8") for path in quiz_page.build_instructor(tmp_path)}
    assert set(pages) == {"index.html", "feedback.html"}
    assert 'href="feedback.html"' in pages["index.html"] and pages["index.html"].count("<table>") >= 3
    for text in pages.values():
        assert not re.search(r"""(?:src|href)=["'](?!data:|feedback\.html)""", text)
