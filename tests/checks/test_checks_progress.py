"""The progress view: what checks said last, remembered in the kernel and in one small file; it never gets in the way."""

import importlib
import json
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest

from utils import checks, course
from utils.errors import CourseError
from utils.files import ROOT

memory = importlib.import_module("utils.checks.progress_view")  # the package gives the name to the function


@pytest.fixture(autouse=True)
def empty(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_memory", {})
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))


def right(vectors, liked):
    return vectors[liked].mean(axis=0)


def wrong(vectors, liked):
    return vectors.mean(axis=0)


def stub(*args): ...


def verdicts():
    return {name: (passed, tries) for name, passed, tries in checks.progress("00_start_here").rows()}


def test_verdict_and_tries_are_those_of_the_last_judged_answers():
    checks.user_profile(stub)
    assert verdicts()["Exercise 1, user profile"] == ("not tried", "0")
    checks.user_profile(wrong)
    checks.user_profile(wrong)
    assert verdicts()["Exercise 1, user profile"] == ("not yet", "2")
    checks.user_profile(right)
    checks.user_profile(right)  # run again: no new try
    checks.user_profile(stub)  # a restarted notebook, run from the top: forgets nothing
    assert verdicts()["Exercise 1, user profile"] == ("passed", "3")
    checks.user_profile(wrong)
    assert verdicts()["Exercise 1, user profile"] == ("not yet", "4")


def test_the_line_says_what_is_left_and_the_table_can_be_heard():
    checks.user_profile(right)
    checks.cosine_scores(lambda vectors, profile: vectors @ profile)
    view = checks.progress("00_start_here")
    assert view.line().startswith("1 of 3 passed; not yet: 2 cosine scores; not tried: 3 top k list.")
    assert repr(view).splitlines()[0] == f"Exercises of 00_start_here: {view.line()}"
    page = view._repr_html_()
    assert "<caption>" in page and page.count('scope="col"') == 3
    assert page.count('scope="row"') == page.count("<tr>") - 1 == len(view.exercises)
    assert "color" not in page and "<script" not in page


def test_unknown_notebook_and_fresh_start():
    with pytest.raises(CourseError, match="Unknown notebook"):
        checks.progress("77_no_such")
    checks.user_profile(right)
    assert checks.progress("00", fresh=True).line().startswith("0 of 3 passed")


def test_a_restarted_kernel_still_knows(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "in_live_notebook", lambda: True)
    checks.user_profile(right)
    content = json.loads((tmp_path / "progress" / "00.json").read_text(encoding="utf-8"))
    assert content == {"user_profile": {"passed": True, "tries": 1}}
    monkeypatch.setattr(memory, "_memory", {})
    assert verdicts()["Exercise 1, user profile"] == ("passed", "1")


def test_outside_a_live_notebook_nothing_is_written_or_read(monkeypatch, tmp_path):
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "00.json").write_text('{"user_profile": {"passed": true, "tries": 9}}', encoding="utf-8")
    assert verdicts()["Exercise 1, user profile"] == ("not tried", "0")
    checks.cosine_scores(right)
    assert [path.name for path in tmp_path.rglob("*.json")] == ["00.json"]
    assert "cosine" not in (tmp_path / "progress" / "00.json").read_text(encoding="utf-8")
    monkeypatch.setenv("COURSE_RECORDS", "somewhere")
    assert memory.in_live_notebook() is False


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"user_profile": 3}', '{"user_profile": {"passed": true}}'])
def test_a_broken_file_is_no_obstacle(monkeypatch, tmp_path, text):
    monkeypatch.setattr(memory, "in_live_notebook", lambda: True)
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "00.json").write_text(text, encoding="utf-8")
    assert checks.progress("00").line().startswith("0 of 3 passed")


def test_a_place_that_cannot_be_written_is_no_obstacle(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "in_live_notebook", lambda: True)
    (tmp_path / "progress").write_text("a file where the folder should be", encoding="utf-8")
    assert checks.user_profile(right).passed is True
    assert verdicts()["Exercise 1, user profile"] == ("passed", "1")


@pytest.mark.parametrize("path", course.notebook_paths(), ids=lambda path: path.stem)
def test_exercises_are_counted_in_the_order_of_the_notebook(path):
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if "check" in cell.metadata.get("tags", []))
    called = re.findall(r"checks\.(\w+)\(", code)
    assert called == list(memory.progress(path.stem).exercises), "utils/checks/cNN.py defines them in another order"
    boxes = re.findall(r"\*\*Exercise (\d+) - ", "\n".join(c.source for c in cells if c.cell_type == "markdown"))
    assert [int(number) for number in boxes] == list(range(1, len(called) + 1))


# ---- what all checks share (base.py) ----


def test_an_answer_that_raises_is_told_with_its_line():
    def broken(vectors, liked):
        return vectors[liked].mean(axis=7)

    verdict = checks.user_profile(broken)
    assert verdict.passed is False and "AxisError" in verdict.message
    assert "in the line `return vectors[liked].mean(axis=7)`" in verdict.message


def test_a_right_answer_that_changes_its_input_does_not_pass():
    def change(vectors, liked):
        answer = vectors[liked].mean(axis=0)
        vectors -= answer
        return answer

    verdict = checks.user_profile(change)
    assert verdict.passed is False and "changed the input `vectors` in place" in verdict.message


def test_an_answer_of_a_kind_nobody_expected_is_told_politely():
    for odd in ("a word", {"a": 1}, [[1.0], [1.0, 2.0]], np.array(["x"])):
        verdict = checks.user_profile(lambda vectors, liked, odd=odd: odd)
        assert verdict.passed is False and "Traceback" not in verdict.message


def test_a_check_is_read_when_it_is_asked_for_and_no_other():
    code = "import sys; from utils import checks; checks.top_k_list; print(*sorted(m for m in sys.modules if '.checks.c' in m))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["utils.checks.c00"]
    with pytest.raises(AttributeError, match="did you mean top_k_list"):
        checks.top_k_lst  # noqa: B018
    assert "top_k_list" in dir(checks)
