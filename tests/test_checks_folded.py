"""Every exercise of notebooks 00 to 05 has graded hints and an answer in two forms, and the folded function is right."""

import ast
import inspect
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize

from utils import checks, course

PATHS = [path for path in course.notebook_paths() if path.stem < "06"]
FOLD = re.compile(r"<details><summary>(.*?)</summary>\n\n(.*?)\n</details>", re.S)


def exercises(path):
    """Return (stub's name, stub's source, check's name, folds, all answers) of a notebook, in its order."""
    cells = nbformat.read(path, as_version=4).cells
    source = "\n".join(c.source for c in cells if {"exercise", "check"} & set(c.metadata.get("tags", [])))
    stubs = {node.name: ast.unparse(node) for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    folds = [FOLD.findall(c.source) for c in cells if c.cell_type == "markdown" and "<details>" in c.source]
    called = re.findall(r"checks\.(\w+)\((\w+)\)", source)
    assert len(stubs) == len(folds) == len(called)
    answers = [re.search(r"```python\n(.*?)```", dict(fold)["Answer"], re.S).group(1) for fold in folds]
    return [(mine, stubs[mine], check, fold, answers) for (check, mine), fold in zip(called, folds)]


CASES = [
    pytest.param(*case, id=f"{path.stem[:2]}-{case[0]}") for path in PATHS for case in exercises(path)
]  # fmt: skip


def defined(*sources):
    space = {"np": np, "pd": pd, "torch": torch, "normalize": normalize}
    for source in sources:
        exec(source, space)
    return space


@pytest.mark.parametrize(("mine", "stub", "check", "folds", "answers"), CASES)
def test_two_hints_then_the_answer_in_two_forms(mine, stub, check, folds, answers):
    names = [name for name, _ in folds]
    assert names == ["Hint 1: a nudge", "Hint 2: nearly there", "Answer", "Answer in words"]
    text = dict(folds)
    assert f"def {mine}(" in text["Answer"] and "`" in text["Answer"].split("```")[0]
    assert "```" not in text["Hint 1: a nudge"] + text["Hint 2: nearly there"]
    assert 40 <= len(text["Answer in words"].split()) <= 90


@pytest.mark.parametrize(("mine", "stub", "check", "folds", "answers"), CASES)
def test_the_folded_answer_passes_and_the_stub_is_not_judged(mine, stub, check, folds, answers):
    answer, untouched = defined(*answers)[mine], defined(stub)[mine]
    assert inspect.signature(answer) == inspect.signature(untouched)
    verdict = getattr(checks, check)(answer)
    assert verdict.passed is True, verdict
    assert getattr(checks, check)(untouched).passed is None
