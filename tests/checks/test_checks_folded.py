"""Every exercise of every notebook has graded hints and an answer in two forms, and the folded function is right."""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
from exercise_helpers import answers, check_folds, exercises, stubs
from torch.nn.functional import normalize

from utils import checks, course
from utils.challenges.fine_features import SOBEL
from utils.evaluation.metrics import short_head

NAMES = [path.stem for path in course.notebook_paths()]
CASES = [pytest.param(name, mine, check, id=f"{name[:2]}-{mine}") for name in NAMES for mine, check in exercises(name)]
# what the notebooks import
IMPORTED = {"np": np, "pd": pd, "torch": torch, "normalize": normalize, "short_head": short_head, "SOBEL": SOBEL}


@pytest.mark.parametrize("name", NAMES)
def test_two_hints_then_the_answer_in_two_forms(name):
    assert list(stubs(name)) == [mine for mine, _ in exercises(name)]
    check_folds(name)


@pytest.mark.parametrize(("name", "mine", "check"), CASES)
def test_the_folded_answer_passes_and_the_stub_is_not_judged(name, mine, check):
    answer, untouched = answers(name, **IMPORTED)[mine], stubs(name)[mine]
    assert inspect.signature(answer) == inspect.signature(untouched)
    verdict = getattr(checks, check)(answer)
    assert verdict.passed is True, verdict
    assert getattr(checks, check)(untouched).passed is None
