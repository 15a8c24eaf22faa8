"""What the tests of the exercise checks share: stubs and folded answers as they stand in a notebook."""

import re

import nbformat

from utils.course import NOTEBOOKS

FOLD = re.compile(r"<details><summary>(.*?)</summary>(.*?)</details>", re.S)


def cells(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells


def stubs(name):
    """Return name -> untouched stub of the notebook."""
    space = {}
    for cell in cells(name):
        if "exercise" in cell.metadata.get("tags", []):
            exec(cell.source, space)
    return {key: value for key, value in space.items() if key.startswith("my_")}


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
    titles = [title for title, _ in folds(name)]
    wanted = ["Hint 1: a nudge", "Hint 2: nearly there", "Answer", "Answer in words"]
    assert [title for title in titles if title in wanted] == wanted * len(stubs(name))
    for title, text in folds(name):
        if title == "Answer":
            assert re.search(r"`[\w.]+`", text) and 3 <= len(
                re.findall(r"```python\n(.*?)```", text, re.S)[0].split("\n")
            )
        if title == "Answer in words":
            assert 40 <= len(re.findall(r"[\w'-]*[A-Za-z][\w'-]*", text)) <= 90, text
