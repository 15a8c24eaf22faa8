"""Notebook 08: its checks pass right answers and name wrong ones; its plots say what they show."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from utils import checks
from utils.challenges.gates import separation
from utils.errors import CourseError
from utils.models.egcf import gate
from utils.plots.reviews import gate_histogram, layer_lines, twin_differences


def gate_by_loop(user, item, edge):
    found = []
    for u, i, e in zip(user.numpy(), item.numpy(), edge.numpy()):
        a, b = u * e, i * e
        found.append(1 / (1 + np.exp(-(a @ b) / np.linalg.norm(a) / np.linalg.norm(b))))
    return found


def step_by_loop(users, items, weights):
    new = np.zeros(users.shape)
    d_u, d_i = (weights > 0).sum(1), (weights > 0).sum(0)
    for u in range(len(users)):
        new[u] = users[u] / d_u[u]
        for i in np.flatnonzero(weights[u]):
            new[u] += (weights[u, i] / (d_u[u] * d_i[i]) ** 0.5 * items[i]).numpy()
    return new


def leaks_by_set(pairs, train_pairs):
    known = set(map(tuple, train_pairs.tolist()))
    return [tuple(pair) not in known for pair in pairs.tolist()]


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.edge_gate, gate_by_loop),
        (checks.gated_step, step_by_loop),
        (checks.leaking_reviews, leaks_by_set),
        (checks.leaking_reviews, lambda p, t: torch.as_tensor(leaks_by_set(p, t))),
        (checks.stars_told_apart, separation),
        (checks.stars_told_apart, lambda gates, top: roc_auc_score(top, gates)),
    ],
)
def test_right_answers_in_another_style_pass(check, right):
    assert check(right).passed is True, check(right)


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
    "(c + 1) / 2": lambda u, i, e: (cosine(u * e, i * e) + 1) / 2,
    "tanh": lambda u, i, e: torch.tanh(cosine(u * e, i * e)),
    "how closed": lambda u, i, e: 1 - gate(u, i, e),
    "gate ": lambda u, i, e: gate(u, i, e) + 0.1,
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


def degrees(weights):
    return (weights > 0).sum(1, keepdim=True) * (weights > 0).sum(0, keepdim=True)


STEPS = {
    "the self loop is missing: add": step(loop=False),
    "degrees are sums of gates: count": step(degrees="gates"),
    "sums of gates, and the self loop": step(degrees="gates", loop=False),
    "the self loop counts in your degrees": step(degrees="loop"),
    "not divided by the degree": step(inside=False),
    "the user's degree alone": step(root=False),
    "the gates are not used": step(gates=False),
    "root of the degree": lambda u, i, w: step(loop=False)(u, i, w) + u / (w > 0).sum(1, keepdim=True).sqrt(),
    "the roots are missing": lambda u, i, w: w / degrees(w) @ i + u / (w > 0).sum(1, keepdim=True),
    "average by gates": lambda u, i, w: w / w.sum(1, keepdim=True) @ i + u / (w > 0).sum(1, keepdim=True),
    "the degrees are missing": lambda u, i, w: w @ i + u,
    "walked the other way": lambda u, i, w: step()(i, u, w.T),
    "you return shape": lambda u, i, w: step()(u, i, w).sum(1),
    "number ": lambda u, i, w: 2 * step()(u, i, w),
}


def small_key(n_items):
    return lambda p, t: ~np.isin(p @ [n_items(p, t), 1], t @ [n_items(p, t), 1])


LEAKS = {
    "5 is too small": small_key(lambda p, t: t[:, 1].max()),
    "6 is too small": small_key(lambda p, t: t[:, 1].max() + 1),
    "10 is too small": small_key(lambda p, t: p[:, 1].max()),
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


def beaten(gates, top):
    return gates[top][:, None] > gates[~top]


def ties(gates, top):
    return gates[top][:, None] == gates[~top]


def by_plain_ranks(gates, top):
    """Rank without a thought for equal gates: the earlier one gets the lower rank."""
    ranks, n = np.argsort(np.argsort(gates, kind="stable")) + 1, top.sum()
    return (ranks[top].sum() - n * (n + 1) / 2) / (n * (~top).sum())


def by_plain_ranks_from_the_end(gates, top):
    return by_plain_ranks(gates[::-1], top[::-1])


def row_by_row(gates, top):
    return np.mean([a > b for a, b in zip(gates[top], gates[~top])])


APART = {
    "the other way round": lambda g, t: separation(g, ~t),
    "a tie counts nothing": lambda g, t: beaten(g, t).mean(),
    "a tie counts as a win": lambda g, t: (beaten(g, t) | ties(g, t)).mean(),
    "you count pairs": lambda g, t: beaten(g, t).sum() + ties(g, t).sum() / 2,
    "by all pairs of edges": lambda g, t: (beaten(g, t).sum() + ties(g, t).sum() / 2) / (len(g) * (len(g) - 1) / 2),
    "all edges squared": lambda g, t: (beaten(g, t).sum() + ties(g, t).sum() / 2) / len(g) ** 2,
    "difference of the two means": lambda g, t: g[t].mean() - g[~t].mean(),
    "with the mean of the others": lambda g, t: (g[t] > g[~t].mean()).mean(),
    "row by row": row_by_row,
    "same rank": by_plain_ranks,
    "equal gates need the same rank": by_plain_ranks_from_the_end,
    "is one number": lambda g, t: beaten(g, t).mean(axis=1),
    "the share is": lambda g, t: 0.123,
}


@pytest.mark.parametrize(
    ("check", "sentence", "answer"),
    [
        (check, sentence, answer)
        for check, wrong in (
            ("edge_gate", GATES),
            ("gated_step", STEPS),
            ("leaking_reviews", LEAKS),
            ("stars_told_apart", APART),
        )
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
