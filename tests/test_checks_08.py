"""Notebook 08: its checks pass right answers and name wrong ones; its plots say what they show."""

import ast
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from utils import checks
from utils.challenges.egcf import gate
from utils.course import NOTEBOOKS
from utils.errors import CourseError
from utils.plots_reviews import gate_histogram, layer_lines, twin_differences

NOTEBOOK = NOTEBOOKS / "08_reviews_on_edges.ipynb"
CHECKS = {"my_gate": checks.edge_gate, "my_step": checks.gated_step, "my_leaks": checks.leaking_reviews}


def solutions():
    """Return name -> function of the solutions folded into the notebook's text."""
    space = {"torch": torch, "np": np}
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(block, space)
    return space


def stubs():
    """Return name -> untouched stub of the notebook."""
    space = {}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if "exercise" in cell.metadata.get("tags", []):
            exec(compile(ast.parse(cell.source), "notebook 08", "exec"), space)
    return space


@pytest.mark.skipif(not NOTEBOOK.exists(), reason="notebooks/08_reviews_on_edges.ipynb is not there")
@pytest.mark.parametrize("name", CHECKS)
def test_the_folded_solution_passes_and_the_stub_is_not_judged(name):
    verdict = CHECKS[name](solutions()[name])
    assert verdict.passed is True, verdict
    assert CHECKS[name](stubs()[name]).passed is None


def test_the_courses_own_gate_passes():
    assert checks.edge_gate(gate).passed is True


# ---- wrong answers ----


def cosine(a, b):
    return F.cosine_similarity(a, b, dim=1)


GATES = {
    "sigmoid is missing": lambda u, i, e: cosine(u * e, i * e),
    "inner product": lambda u, i, e: torch.sigmoid((u * e * i * e).sum(1)),
    "the review is missing": lambda u, i, e: torch.sigmoid(cosine(u, i)),
    "only the item meets": lambda u, i, e: torch.sigmoid(cosine(u, i * e)),
    "only the user meets": lambda u, i, e: torch.sigmoid(cosine(u * e, i)),
    "is added": lambda u, i, e: torch.sigmoid(cosine(u + e, i + e)),
    "down the columns": lambda u, i, e: torch.sigmoid(F.cosine_similarity(u * e, i * e, dim=0)),
    "softmax": lambda u, i, e: torch.softmax(cosine(u * e, i * e), 0),
    "every user with every item": lambda u, i, e: torch.sigmoid(F.normalize(u * e) @ F.normalize(i * e).T),
    "the first gate should be": lambda u, i, e: gate(u, i, e) + 0.1,
    "your code raised": lambda u, i, e: u @ torch.ones(7),
}


def step(degrees="edges", loop=True, inside=True, gates=True, root=True):
    """A step on the gated graph with parts of it left out or changed."""

    def answer(users, items, weights):
        edges = (weights > 0).float()
        counted = edges if degrees == "edges" else weights
        d_u, d_i = counted.sum(1, keepdim=True), counted.sum(0, keepdim=True)
        if degrees == "loop":
            d_u, d_i = edges.sum(1, keepdim=True) + 1, edges.sum(0, keepdim=True) + 1
        norm = (d_u * d_i).sqrt() if root else d_u
        own = (users / d_u if inside else users) if loop else 0
        return (weights if gates else edges) / norm @ items + own

    return answer


STEPS = {
    "the self loop is missing: add": step(loop=False),
    "degrees are sums of gates: count": step(degrees="gates"),
    "sums of gates, and the self loop": step(degrees="gates", loop=False),
    "the self loop counts in your degrees": step(degrees="loop"),
    "not divided by the degree": step(inside=False),
    "the user's degree alone": step(root=False),
    "the gates are not used": step(gates=False),
    "the degrees are missing": lambda u, i, w: w @ i + u,
    "walked the other way": lambda u, i, w: step()(i, u, w.T),
    "you return shape": lambda u, i, w: step()(u, i, w).sum(1),
    "the first number of user 0": lambda u, i, w: 2 * step()(u, i, w),
}

LEAKS = {
    "the other way round": lambda p, t: np.isin(p @ [99, 1], t @ [99, 1]),
    "you look at users only": lambda p, t: ~np.isin(p[:, 0], t[:, 0]),
    "you look at items only": lambda p, t: ~np.isin(p[:, 1], t[:, 1]),
    "user and item apart": lambda p, t: ~(np.isin(p[:, 0], t[:, 0]) & np.isin(p[:, 1], t[:, 1])),
    "neither its user nor its item": lambda p, t: ~(np.isin(p[:, 0], t[:, 0]) | np.isin(p[:, 1], t[:, 1])),
    "when you add user and item": lambda p, t: ~np.isin(p.sum(1), t.sum(1)),
    "when you multiply": lambda p, t: ~np.isin(p.prod(1), t.prod(1)),
    "(u, i) and (i, u)": lambda p, t: ~(np.isin(p @ [99, 1], t @ [99, 1]) | np.isin(p @ [1, 99], t @ [99, 1])),
    "nothing leaks": lambda p, t: np.zeros(len(p), dtype=bool),
    "everything leaks": lambda p, t: np.ones(len(p), dtype=bool),
    "one True or False": lambda p, t: np.flatnonzero(~np.isin(p @ [99, 1], t @ [99, 1])),
}


@pytest.mark.parametrize(
    ("check", "sentence", "answer"),
    [
        (check, sentence, answer)
        for check, wrong in (("edge_gate", GATES), ("gated_step", STEPS), ("leaking_reviews", LEAKS))
        for sentence, answer in wrong.items()
    ],
)
def test_a_wrong_answer_is_named(check, sentence, answer):
    verdict = getattr(checks, check)(answer)
    assert verdict.passed is False and sentence in verdict.message, verdict


# ---- plots ----


def test_plots_of_reviews():
    rng = np.random.default_rng(0)
    fig = gate_histogram({"low": rng.uniform(0.4, 0.7, 50), "high": rng.uniform(0.4, 0.7, 70)})
    assert [text.get_text() for text in fig.axes[0].get_legend().get_texts()] == ["low (50 edges)", "high (70 edges)"]
    with pytest.raises(CourseError, match="group of edges is empty"):
        gate_histogram({"low": np.empty(0)})
    table = pd.DataFrame({"difference": [0.1, 0], "low": [0.05, -0.1], "high": [0.2, 0.1], "t_holm": [0.01, 0.8]})
    fig = twin_differences({"a log": table.set_axis(["gate 1", "shuffled"])}, "recall@10")
    names = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert names == ["a log", "EGCF \u2212 gate 1", "EGCF \u2212 shuffled"]
    with pytest.raises(CourseError, match="no table"):
        twin_differences({})
    frame = pd.DataFrame({"arm": ["EGCF", "EGCF"], "layers": [1, 2], "seed": 0, "recall@20": [0.1, 0.2]})
    assert len(layer_lines(frame).axes[0].lines) == 2
