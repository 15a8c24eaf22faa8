"""What the tests of the exercise checks share: stubs and folded answers as they stand in a notebook, tables of answers."""

import ast
import functools
import re

import nbformat
import numpy as np
import pytest

from utils.course.address import NOTEBOOKS

FOLD = re.compile(r"<details><summary>(.*?)</summary>(.*?)</details>", re.S)
TITLES = ["Hint 1: a nudge", "Hint 2: nearly there", "Answer", "Answer in words"]


@functools.cache
def cells(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells


def exercise_source(name):
    """Return the code of all exercise and check cells of the notebook, in order."""
    return "\n".join(c.source for c in cells(name) if {"exercise", "check"} & set(c.metadata.get("tags", [])))


def exercises(name):
    """Return [(name of the stub, name of its check)] in the notebook's order."""
    return [(mine, check) for check, mine in re.findall(r"checks\.(\w+)\((\w+)\)", exercise_source(name))]


def stubs(name):
    """Return name -> untouched stub of the notebook, in its order."""
    nodes = [node for node in ast.parse(exercise_source(name)).body if isinstance(node, ast.FunctionDef)]
    space = {}
    exec(compile(ast.Module(nodes, []), name, "exec"), space)
    return {node.name: space[node.name] for node in nodes}


def folds(name):
    """Return the folded texts of the notebook, [(title, text)], in order."""
    return [found for cell in cells(name) if cell.cell_type == "markdown" for found in FOLD.findall(cell.source)]


def answers(name, **space):
    """Return name -> function of the answers folded into the notebook's text; ``space`` is what the notebook imports."""
    for title, text in folds(name):
        for block in re.findall(r"```python\n(.*?)```", text, re.S):
            if title == "Answer":
                exec(block, space)
    return {key: value for key, value in space.items() if key.startswith("my_")}


def check_folds(name):
    """Every exercise has two hints, an answer as a function that names the course's own, and one in 40 to 90 words."""
    found = [(title, text) for title, text in folds(name) if title in TITLES]
    titles, wanted = [title for title, _ in found], " / ".join(TITLES)
    assert titles == TITLES * len(stubs(name)), (
        f"{name}: the summaries under each exercise are {wanted}; found {titles}"
    )
    for place, mine in enumerate(stubs(name)):
        nudge, nearly, answer, words = (text for _, text in found[4 * place : 4 * place + 4])
        assert "```" not in nudge + nearly, f"{name}, {mine}: a hint has no code block"
        assert f"def {mine}(" in answer, f"{name}: the answer of {mine} is a block of code with `def {mine}(`"
        assert re.search(r"`[\w.()]+", answer.split("```")[0]), (
            f"{name}: before its code, the answer of {mine} names the course's own function"
        )
        assert 40 <= len(re.findall(r"[\w'-]*[A-Za-z][\w'-]*", words)) <= 90, f"{name}, {mine}: 40 to 90 words: {words}"


# ---- tables of answers ----


def stub(*arguments): ...


def table_tests(right, wrong):
    """Return the three tests of a module that has a table of right and one of wrong answers.

    Args:
        right: check -> answers in different styles, all of which pass.
        wrong: check -> {wrong answer: words that the message must hold}.
    """

    @pytest.mark.parametrize("check", right, ids=lambda check: check.__name__)
    def right_answers_pass(check):
        for answer in right[check]:
            verdict = check(answer)
            assert verdict.passed is True, (answer.__name__, verdict)
        assert check(stub).passed is None

    cases = [(check, answer, words) for check, answers in wrong.items() for answer, words in answers.items()]

    @pytest.mark.parametrize(("check", "answer", "words"), cases, ids=[answer.__name__ for _, answer, _ in cases])
    def the_mistake_is_named(check, answer, words):
        with np.errstate(all="ignore"):
            verdict = check(answer)
        assert verdict.passed is False and words in verdict.message, verdict

    def five_mistakes_at_least_for_every_check():
        assert set(wrong) == set(right) and all(len(answers) >= 5 for answers in wrong.values())

    return right_answers_pass, the_mistake_is_named, five_mistakes_at_least_for_every_check
