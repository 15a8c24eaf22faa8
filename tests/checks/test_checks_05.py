"""Notebook 05: its checks pass right answers and name wrong ones; its VBPR, written in the open, is the course's."""

import ast

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exercise_helpers import answers
from torch import nn
from torch.nn.functional import normalize
from training_helpers import planted

from utils import checks
from utils.course.address import NOTEBOOKS
from utils.losses import bpr, l2_reg
from utils.models import make_model
from utils.models.base import content
from utils.training import NegativeSampler

CELLS = nbformat.read(NOTEBOOKS / "05_training.ipynb", as_version=4).cells
SAMPLER = answers("05_training", torch=torch, normalize=normalize, np=np)["my_sampler"]


def from_notebook(*names, **known):
    """Return classes and functions that the notebook's code cells define, found by their syntax trees."""
    space = {"torch": torch, "nn": nn, "np": np, "normalize": normalize, **known}
    for cell in CELLS:
        if cell.cell_type == "code":
            for node in ast.parse(cell.source).body:
                if getattr(node, "name", None) in names:
                    exec(compile(ast.Module([node], []), "notebook 05", "exec"), space)
    return [space[name] for name in names]


def test_the_courses_own_loss_passes():
    assert checks.bpr_loss(bpr).passed is True


# ---- wrong answers ----


def draw(candidates, n, generator):
    return candidates[torch.randint(len(candidates), (n,), generator=generator)]


def redraw_once(user_ids, taken, candidates, generator):
    items = draw(candidates, len(user_ids), generator)
    return torch.where(taken[user_ids, items], draw(candidates, len(items), generator), items)


def per_user(user_ids, taken, candidates, generator):
    return SAMPLER(torch.arange(len(taken)), taken, candidates, generator)[user_ids]


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
    return SAMPLER(user_ids, taken, torch.arange(taken.shape[1]), generator)


def own_seed(user_ids, taken, candidates, generator):
    return SAMPLER(user_ids, taken, candidates, torch.Generator().manual_seed(3))


def no_generator(user_ids, taken, candidates, generator):
    return SAMPLER(user_ids, taken, candidates, None)


def real_numbers(u, t, c, g):
    return torch.rand(len(u), generator=g) * 60


def positives_drawn(u, t, c, g):
    return draw(c, len(u), g)


def three_only(u, t, c, g):
    return draw(c, 3, g)


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (positives_drawn, "items that the user took"),
        (redraw_once, "Repeat until no hit is left"),
        (whole_catalogue, "cold items"),
        (same_for_all, "same negative"),
        (per_user, "twice in the batch"),
        (positions, "positions in `candidates`"),
        (next_free, "equally likely"),
        (no_generator, "generator=generator"),
        (own_seed, "seed of your own"),
        (three_only, "shape (3,)"),
        (real_numbers, "whole numbers"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_mistakes_in_the_sampler_are_named(wrong, mistake):
    verdict = checks.negative_sampler(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict


def scores_swapped(p, n):
    return bpr(n, p)


def plain_difference(p, n):
    return (n - p).mean()


def a_plain_number(p, n):
    return bpr(p, n).item()


def something_else(p, n):
    return p.sum() * 0 + 9.0


def gradient_cut(p, n):
    return bpr(p, n).detach()


def hinge(p, n):
    return F.relu(1 - (p - n)).mean()


def each_alone(p, n):
    return (F.softplus(-p) + F.softplus(n)).mean()


def one_for_each_pair(p, n):
    return -F.logsigmoid(p - n)


def pairs_added(p, n):
    return -F.logsigmoid(p - n).sum()


def added_and_minus_forgotten(p, n):
    return F.logsigmoid(p - n).sum()


def swapped_and_minus_forgotten(p, n):
    return F.logsigmoid(n - p).mean()


def minus_forgotten(p, n):
    return F.logsigmoid(p - n).mean()


def minus_the_sigmoid(p, n):
    return -torch.sigmoid(p - n).mean()


def one_minus_the_sigmoid(p, n):
    return (1 - torch.sigmoid(p - n)).mean()


def infinite_when_far(p, n):
    return -torch.log(torch.sigmoid(p - n)).mean()


def logarithm_of_the_mean(p, n):
    return -torch.log(torch.sigmoid(p - n).mean())


def logarithm_to_base_2(p, n):
    return -torch.log2(torch.sigmoid(p - n)).mean()


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (scores_swapped, "swapped"),
        (added_and_minus_forgotten, "two things"),
        (swapped_and_minus_forgotten, "two things"),
        (minus_forgotten, "minus sign"),
        (pairs_added, "add the pairs up"),
        (minus_the_sigmoid, "logarithm is missing"),
        (one_minus_the_sigmoid, "logarithm is missing"),
        (plain_difference, "sigmoid is missing"),
        (logarithm_of_the_mean, "mean of the logarithms"),
        (logarithm_to_base_2, "natural logarithm"),
        (hinge, "hinge loss"),
        (each_alone, "judged alone"),
        (one_for_each_pair, "one number for each pair"),
        (a_plain_number, "without .item()"),
        (gradient_cut, "no gradient"),
        (infinite_when_far, "infinite"),
        (something_else, "the mean of -ln sigmoid"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_mistakes_in_the_loss_are_named(wrong, mistake):
    verdict = checks.bpr_loss(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict


def raw_features(u, i, t, f, w):
    return (u * i).sum(1) + (t * f).sum(1)


def not_projected(u, i, t, f, w):
    return (u * i).sum(1) + (t * normalize(f, dim=1)).sum(1)


def norm_over_the_items(u, i, t, f, w):
    return (u * i).sum(1) + (t * normalize(f @ w.T, dim=0)).sum(1)


def norm_forgotten(u, i, t, f, w):
    return (u * i).sum(1) + (t * (f @ w.T)).sum(1)


def normalised_before(u, i, t, f, w):
    return (u * i).sum(1) + (t * (normalize(f, dim=1) @ w.T)).sum(1)


def transpose_forgotten(u, i, t, f, w):
    return (u * i).sum(1) + (t * normalize(f @ w, dim=1)).sum(1)


def everybody_with_everything(u, i, t, f, w):
    return u @ i.T


def one_number(u, i, t, f, w):
    return (u * i).sum()


def taste_normalised(u, i, t, f, w):
    return (u * i).sum(1) + (normalize(t, dim=1) * normalize(f @ w.T, dim=1)).sum(1)


def ids_normalised(u, i, t, f, w):
    return (normalize(u, dim=1) * normalize(i, dim=1)).sum(1) + (t * normalize(f @ w.T, dim=1)).sum(1)


def content_forgotten(u, i, t, f, w):
    return (u * i).sum(1)


def ids_forgotten(u, i, t, f, w):
    return (t * normalize(f @ w.T, dim=1)).sum(1)


def content_meets_the_id(u, i, t, f, w):
    return (u * (i + normalize(f @ w.T, dim=1))).sum(1)


def parts_multiplied(u, i, t, f, w):
    return (u * i).sum(1) * (t * normalize(f @ w.T, dim=1)).sum(1)


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (raw_features, "raw features"),
        (not_projected, "normalised but not projected"),
        (norm_over_the_items, "wrong axis"),
        (norm_forgotten, "L2 norm is missing"),
        (normalised_before, "normalise before"),
        (transpose_forgotten, "transpose"),
        (taste_normalised, "normalised the taste"),
        (ids_normalised, "vectors by id"),
        (content_forgotten, "content part is missing"),
        (ids_forgotten, "part by id is missing"),
        (content_meets_the_id, "user's id vector"),
        (parts_multiplied, "added, not multiplied"),
        (everybody_with_everything, "every user with every item"),
        (one_number, "all pairs up to one number"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
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
        ({"column": "loss"}, "you watch the loss"),
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


def test_the_smallest_value_as_the_best_is_named():
    verdict = checks.early_stopping(lambda history, patience: stopping(history.assign(valid=-history.valid), patience))
    assert verdict.passed is False and "smaller value for a better one" in verdict.message, verdict


def test_two_numbers_the_other_way_round_are_named():
    verdict = checks.early_stopping(lambda history, patience: stopping(history, patience)[::-1])
    assert verdict.passed is False and "swapped" in verdict.message, verdict


# ---- the bonus: LightGCN's layers ----


def steps(adjacency, vectors, n_layers, after=lambda x: x):
    layers = [vectors]
    for _ in range(n_layers):
        layers.append(after(adjacency @ layers[-1]))
    return torch.stack(layers)


def layers_in_numpy(adjacency, vectors, n_layers):
    matrix, layer = adjacency.numpy(), vectors.numpy()
    total = layer.copy()
    for _ in range(n_layers):
        layer = matrix @ layer
        total += layer
    return total / (n_layers + 1)


def layers_by_powers(adjacency, vectors, n_layers):
    return sum(torch.linalg.matrix_power(adjacency, n) @ vectors for n in range(n_layers + 1)) / (n_layers + 1)


def layers_of_sparse(adjacency, vectors, n_layers):
    return steps(adjacency.to_sparse(), vectors, n_layers).mean(0)


def last_layer(a, v, n):
    return steps(a, v, n)[-1]


def layer_zero_forgotten(a, v, n):
    return steps(a, v, n)[1:].mean(0)


def layers_added(a, v, n):
    return steps(a, v, n).sum(0)


def by_number_of_steps(a, v, n):
    return steps(a, v, n).sum(0) / n


def one_step_too_few(a, v, n):
    return steps(a, v, n - 1).mean(0)


def one_step_too_many(a, v, n):
    return steps(a, v, n + 1).mean(0)


def always_from_the_start(a, v, n):
    return torch.stack([v] + [a @ v for _ in range(n)]).mean(0)


def transposed(a, v, n):
    return steps(a.T, v, n).mean(0)


def with_relu(a, v, n):
    return steps(a, v, n, torch.relu).mean(0)


def self_loops(a, v, n):
    return steps(a + torch.eye(len(a)), v, n).mean(0)


def side_by_side(a, v, n):
    return torch.cat(list(steps(a, v, n)), dim=1)


def in_place_sum(a, v, n):
    layer = v.clone()
    for _ in range(n):
        layer = a @ layer
        v += layer
    return v / (n + 1)


@pytest.mark.parametrize("right", [layers_in_numpy, layers_by_powers, layers_of_sparse])
def test_layers_in_any_style_pass(right):
    verdict = checks.graph_layers(right)
    assert verdict.passed is True, verdict


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (last_layer, "last layer only"),
        (layer_zero_forgotten, "layer 0 is missing"),
        (layers_added, "added the layers up"),
        (by_number_of_steps, "one more"),
        (one_step_too_few, "one step too few"),
        (one_step_too_many, "one step too many"),
        (always_from_the_start, "starts from the layer before"),
        (transposed, "transposed"),
        (with_relu, "no activation"),
        (self_loops, "its own neighbour"),
        (side_by_side, "side by side"),
        (in_place_sum, "changed the input `v` in place"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_mistakes_in_the_layers_are_named(wrong, mistake):
    verdict = checks.graph_layers(wrong)
    assert verdict.passed is False and mistake in verdict.message, verdict


# ---- answers in another style ----


def sampler_by_a_loop(user_ids, taken, candidates, generator):
    items = []
    for user in user_ids.tolist():
        free = candidates[~taken[user, candidates]]
        items.append(int(free[torch.randint(len(free), (1,), generator=generator)]))
    return np.array(items)


def sampler_by_weights(user_ids, taken, candidates, generator):
    free = (~taken[user_ids][:, candidates]).float()
    return candidates[torch.multinomial(free, 1, generator=generator).squeeze(1)]


def loss_by_softplus(pos, neg):
    return F.softplus(neg - pos).sum() / len(pos)


def loss_by_a_loop(pos, neg):
    return sum(-F.logsigmoid(p - n) for p, n in zip(pos, neg)) / len(pos)


def score_by_a_loop(user, item, taste, features, weight):
    rows = []
    for u, i, t, f in zip(user, item, taste, features):
        content = weight @ f
        rows.append(float(u @ i + t @ (content / content.norm())))
    return rows


def score_by_einsum(user, item, taste, features, weight):
    content = np.einsum("bf,df->bd", features.numpy(), weight.numpy())
    content /= np.linalg.norm(content, axis=1, keepdims=True)
    return (user * item).sum(1).numpy() + (taste.numpy() * content).sum(1)


def stopping_by_pandas(history, patience):
    for last in range(1, len(history) + 1):
        kept = int(history["epoch"].iloc[history["valid"].iloc[:last].argmax()])
        if last - kept >= patience:
            break
    return np.array([kept, last])


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.negative_sampler, sampler_by_a_loop),
        (checks.negative_sampler, sampler_by_weights),
        (checks.bpr_loss, loss_by_softplus),
        (checks.bpr_loss, loss_by_a_loop),
        (checks.vbpr_score, score_by_a_loop),
        (checks.vbpr_score, score_by_einsum),
        (checks.early_stopping, stopping_by_pandas),
    ],
)
def test_answers_in_another_style_pass(check, right):
    verdict = check(right)
    assert verdict.passed is True, verdict


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
