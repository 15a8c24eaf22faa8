"""Notebook 05: its checks pass right answers and name wrong ones; its VBPR, written in the open, is the course's."""

import ast
import re

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.functional import normalize
from training_helpers import planted

from utils import checks
from utils.course import NOTEBOOKS
from utils.losses import bpr, l2_reg
from utils.models import make_model
from utils.models.base import content
from utils.training import NegativeSampler

CELLS = nbformat.read(NOTEBOOKS / "05_training.ipynb", as_version=4).cells
CHECKS = {
    "my_sampler": checks.negative_sampler,
    "my_bpr_loss": checks.bpr_loss,
    "my_vbpr_score": checks.vbpr_score,
    "my_early_stopping": checks.early_stopping,
}


def from_notebook(*names, **known):
    """Return classes and functions that the notebook's code cells define, found by their syntax trees."""
    space = {"torch": torch, "nn": nn, "np": np, "normalize": normalize, **known}
    for cell in CELLS:
        if cell.cell_type == "code":
            for node in ast.parse(cell.source).body:
                if getattr(node, "name", None) in names:
                    exec(compile(ast.Module([node], []), "notebook 05", "exec"), space)
    return [space[name] for name in names]


def solutions():
    """Return name -> function of the solutions folded into the notebook's text."""
    space = {"torch": torch, "normalize": normalize}
    text = "\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(block, space)
    return {name: space[name] for name in CHECKS}


@pytest.mark.parametrize("name", CHECKS)
def test_the_folded_solution_passes_and_the_stub_is_not_judged(name):
    verdict = CHECKS[name](solutions()[name])
    assert verdict.passed is True, verdict
    (stub,) = from_notebook(name)
    assert CHECKS[name](stub).passed is None


def test_the_courses_own_loss_passes():
    assert checks.bpr_loss(bpr).passed is True


# ---- wrong answers ----


def draw(candidates, n, generator):
    return candidates[torch.randint(len(candidates), (n,), generator=generator)]


def redraw_once(user_ids, taken, candidates, generator):
    items = draw(candidates, len(user_ids), generator)
    return torch.where(taken[user_ids, items], draw(candidates, len(items), generator), items)


def per_user(user_ids, taken, candidates, generator):
    return solutions()["my_sampler"](torch.arange(len(taken)), taken, candidates, generator)[user_ids]


def next_free(user_ids, taken, candidates, generator):
    places = torch.randint(len(candidates), (len(user_ids),), generator=generator)
    for _ in range(len(candidates)):
        places = torch.where(taken[user_ids, candidates[places]], (places + 1) % len(candidates), places)
    return candidates[places]


def positions(user_ids, taken, candidates, generator):
    return torch.randint(len(candidates), (len(user_ids),), generator=generator)


def same_for_all(user_ids, taken, candidates, generator):
    return draw(candidates, 1, generator).expand(len(user_ids))


def whole_catalogue(user_ids, taken, candidates, generator):
    return solutions()["my_sampler"](user_ids, taken, torch.arange(taken.shape[1]), generator)


def own_seed(user_ids, taken, candidates, generator):
    return solutions()["my_sampler"](user_ids, taken, candidates, torch.Generator().manual_seed(3))


def no_generator(user_ids, taken, candidates, generator):
    return solutions()["my_sampler"](user_ids, taken, candidates, None)


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (lambda u, t, c, g: draw(c, len(u), g), "items that the user took"),
        (redraw_once, "Repeat until no hit is left"),
        (whole_catalogue, "cold items"),
        (same_for_all, "same negative"),
        (per_user, "twice in the batch"),
        (positions, "positions in `candidates`"),
        (no_generator, "generator=generator"),
        (own_seed, "seed of your own"),
        (lambda u, t, c, g: draw(c, 3, g), "shape (3,)"),
        (lambda u, t, c, g: torch.rand(len(u), generator=g) * 60, "whole numbers"),
    ],
)
def test_mistakes_in_the_sampler_are_named(wrong, mistake):
    verdict = checks.negative_sampler(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (lambda p, n: bpr(n, p), "swapped"),
        (lambda p, n: F.logsigmoid(p - n).mean(), "minus sign"),
        (lambda p, n: -F.logsigmoid(p - n).sum(), "add the pairs up"),
        (lambda p, n: -torch.sigmoid(p - n).mean(), "logarithm is missing"),
        (lambda p, n: (1 - torch.sigmoid(p - n)).mean(), "logarithm is missing"),
        (lambda p, n: (n - p).mean(), "sigmoid is missing"),
        (lambda p, n: -torch.log(torch.sigmoid(p - n).mean()), "mean of the logarithms"),
        (lambda p, n: -torch.log2(torch.sigmoid(p - n)).mean(), "natural logarithm"),
        (lambda p, n: -F.logsigmoid(p - n), "one number for each pair"),
        (lambda p, n: bpr(p, n).item(), "without .item()"),
        (lambda p, n: bpr(p, n).detach(), "no gradient"),
        (lambda p, n: -torch.log(torch.sigmoid(p - n)).mean(), "infinite"),
        (lambda p, n: p.sum() * 0 + 9.0, "the mean of -ln sigmoid"),
    ],
)
def test_mistakes_in_the_loss_are_named(wrong, mistake):
    verdict = checks.bpr_loss(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict


def with_content(vectors):
    return lambda u, i, t, f, w: (u * i).sum(1) + (t * vectors(f, w)).sum(1)


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (with_content(lambda f, w: f), "raw features"),
        (with_content(lambda f, w: normalize(f, dim=1)), "normalised but not projected"),
        (with_content(lambda f, w: normalize(f @ w.T, dim=0)), "wrong axis"),
        (with_content(lambda f, w: f @ w.T), "L2 norm is missing"),
        (with_content(lambda f, w: normalize(f, dim=1) @ w.T), "normalise before"),
        (with_content(lambda f, w: normalize(f @ w, dim=1)), "transpose"),
        (lambda u, i, t, f, w: (u * i).sum(1), "content part is missing"),
        (lambda u, i, t, f, w: (t * normalize(f @ w.T, dim=1)).sum(1), "part by id is missing"),
        (lambda u, i, t, f, w: (u * (i + normalize(f @ w.T, dim=1))).sum(1), "user's id vector"),
        (lambda u, i, t, f, w: (u * i).sum(1) * (t * normalize(f @ w.T, dim=1)).sum(1), "added, not multiplied"),
        (lambda u, i, t, f, w: u @ i.T, "every user with every item"),
        (lambda u, i, t, f, w: (u * i).sum(), "shape ()"),
    ],
)
def test_mistakes_in_the_score_are_named(wrong, mistake):
    verdict = checks.vbpr_score(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict


def stopping(history, patience, column="valid", ties=False, reset=True, extra=0, keep_last=False, zero=False):
    best, kept, waited, epoch = float("-inf"), 0, 0, 0
    for epoch, value in zip(history["epoch"], history[column]):
        gain = value >= best if ties else value > best
        waited += not gain
        if gain:
            best, kept, waited = value, epoch, 0 if reset else waited
        if waited >= patience + extra:
            break
    kept = epoch if keep_last else kept
    return (kept - 1, epoch - 1) if zero else (kept, epoch)


@pytest.mark.parametrize(
    ("slip", "mistake"),
    [
        ({"extra": 1}, "off by 1"),
        ({"extra": -1}, "off by 1"),
        ({"keep_last": True}, "in which you stop"),
        ({"column": "test"}, "test part"),
        ({"column": "loss"}, "you keep epoch 1"),
        ({"ties": True}, "only equals the best"),
        ({"reset": False}, "waiting back to zero"),
        ({"extra": 100}, "you never stop"),
        ({"zero": True}, "count from 1"),
    ],
)
def test_mistakes_in_early_stopping_are_named(slip, mistake):
    assert stopping(*_small()) == (2, 4)
    verdict = checks.early_stopping(lambda history, patience: stopping(history, patience, **slip))
    assert verdict.passed is False and mistake in verdict.message, verdict


def _small():
    import pandas as pd

    return pd.DataFrame({"epoch": [1, 2, 3, 4, 5], "valid": [0.1, 0.2, 0.1, 0.1, 0.3]}), 2


def test_early_stopping_wants_two_numbers():
    assert "two numbers" in checks.early_stopping(lambda history, patience: 3).message


# ---- what is built in the open is what the course uses ----


@pytest.fixture
def twins():
    """The notebook's VBPR and the course's, with the same weights, on data with cold items and a missing modality."""
    split, features, _ = planted(n_users=60, n_items=50, cold=8, modalities=("visual", "audio"))
    features["audio"] = type(features["audio"])(
        "audio", features["audio"].matrix, features["audio"].item_names, np.arange(50) % 3 == 0
    )
    _, mine_class = from_notebook("MyBPR", "MyVBPR")
    torch.manual_seed(1)
    contents, masks = zip(*(content(feature, "centred") for feature in features.values()))
    warm = torch.zeros(split.n_items, dtype=torch.bool)
    warm[np.unique(split.train[:, 1])] = True
    mine = mine_class(split.n_users, split.n_items, contents, masks, warm)
    course = make_model("vbpr", split, features, reg=0.03)
    course.load_state_dict({name.replace("project", "represent.project"): w for name, w in mine.state_dict().items()})
    return split, mine, course


def test_the_notebooks_vbpr_scores_as_the_courses(twins):
    split, mine, course = twins
    users = np.arange(split.n_users)
    assert len(split.cold_items) == 8
    torch.testing.assert_close(mine.score(users), course.score(users), rtol=0, atol=1e-5)


def test_the_notebooks_vbpr_learns_as_the_courses(twins):
    split, mine, course = twins
    users, positives = torch.as_tensor(split.train).T
    negatives = NegativeSampler(split).sample(users, torch.Generator().manual_seed(0))
    user, pos, neg = mine.users(users), mine.items(positives), mine.items(negatives)
    loss = bpr((user * pos).sum(1), (user * neg).sum(1)) + 0.03 * l2_reg(user, pos, neg)
    theirs = course.loss(users, positives, negatives)
    torch.testing.assert_close(loss, theirs, rtol=1e-5, atol=1e-6)
    loss.backward(), theirs.backward()
    gradients = {name.replace("project", "represent.project"): p.grad for name, p in mine.named_parameters()}
    for name, parameter in course.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_the_notebooks_bpr_and_loop_learn(twins):
    split, _, _ = twins
    bpr_class, loop = from_notebook(
        "MyBPR", "train_by_hand", split=split, SEED=0, LEARNING_RATE=1e-2, bpr=bpr, l2_reg=l2_reg
    )
    torch.manual_seed(0)
    mine = bpr_class(split.n_users, split.n_items)
    losses = loop(mine, NegativeSampler(split), 15)
    assert losses[-1] < 0.8 * losses[0]
    course = make_model("bpr", split)
    course.load_state_dict(mine.state_dict())
    users = np.arange(split.n_users)
    torch.testing.assert_close(mine.score(users), course.score(users))
