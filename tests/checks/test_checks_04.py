"""The checks of notebook 04 pass right answers in any style and name mistakes; the helpers of its study do what they say."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from exercise_helpers import table_tests
from torch.nn.functional import normalize

from utils import checks
from utils.errors import CourseError
from utils.fusion import Attention, Gated, Mean, late_fusion
from utils.plots.fusion import weight_curves, when_to_fuse
from utils.studies import fusion as studies_fusion

# ---- exercise 1 ----


def attention(vectors, query, present, fill=-torch.inf, dim=1):
    weights = (vectors @ query).masked_fill(~present, fill).softmax(dim)
    return (weights[:, :, None] * vectors).sum(1)


def course_attention(vectors, query, present):
    """The course's own class with W = 1000 and q / 1000, where tanh is a straight line: the same weights."""
    fusion = Attention(vectors.shape[2], vectors.shape[1])
    with torch.no_grad():
        fusion.hidden.weight.copy_(torch.eye(vectors.shape[2]) / 1000)
        fusion.hidden.bias.zero_()
        fusion.query.weight.copy_(query[None] * 1000)
    return fusion(list(vectors.unbind(1)), list(present.unbind(1)))


def attention_by_a_loop(vectors, query, present):
    rows = []
    for item, there in zip(vectors.numpy(), present.numpy()):
        weights = np.exp(item[there] @ query.numpy())
        rows.append((weights[:, None] * item[there]).sum(0) / weights.sum())
    return np.array(rows)


def over_the_items(v, q, p):
    return attention(v, q, p, dim=0)


def missing_as_zero(v, q, p):
    return attention(v, q, p, fill=0.0)


def removed_after_the_softmax(v, q, p):
    return (((v @ q).softmax(1) * p)[:, :, None] * v).sum(1)


def raw_logits(v, q, p):
    return ((v @ q)[:, :, None] * v).sum(1)


def weights_only(v, q, p):
    return (v @ q).masked_fill(~p, -torch.inf).softmax(1)


def sigmoid(v, q, p):
    return (torch.sigmoid(v @ q)[:, :, None] * v).sum(1)


def query_forgotten(v, q, p):
    return (v * p[:, :, None]).sum(1) / p.sum(1, keepdim=True)


def plain_sum(v, q, p):
    return v.sum(1)


def sign_lost(v, q, p):
    return attention(v, -q, p)


def best_only(v, q, p):
    return v[torch.arange(len(v)), (v @ q).masked_fill(~p, -torch.inf).argmax(1)]


def mask_turned_round(v, q, p):
    return attention(v, q, ~p).nan_to_num()


# ---- exercise 2 ----


def concat(visual, textual):
    return torch.cat([normalize(visual, dim=1), normalize(textual, dim=1)], dim=1)


def concat_in_numpy(visual, textual):
    parts = [m.numpy().astype(float) for m in (visual, textual)]
    return np.hstack([m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-9) for m in parts])


def concat_by_a_loop(visual, textual):
    return torch.stack([torch.cat([normalize(v, dim=0), normalize(t, dim=0)]) for v, t in zip(visual, textual)])


def not_normalised(v, t):
    return torch.cat([v, t], 1)


def normalised_after(v, t):
    return normalize(torch.cat([v, t], 1), dim=1)


def normalised_twice(v, t):
    return normalize(concat(v, t), dim=1)


def columns(v, t):
    return torch.cat([normalize(v, dim=0), normalize(t, dim=0)], 1)


def pictures_only(v, t):
    return torch.cat([normalize(v, dim=1), t], 1)


def texts_only(v, t):
    return torch.cat([v, normalize(t, dim=1)], 1)


def zero_over_zero(v, t):
    return torch.cat([v / v.norm(dim=1, keepdim=True), t], 1)


def items_below_items(v, t):
    return torch.cat([v[:, :2], t])


def length_of_the_matrix(v, t):
    return torch.cat([v / v.norm(), t / t.norm()], 1)


def absolute_sums(v, t):
    return torch.cat([normalize(v, p=1, dim=1), normalize(t, p=1, dim=1)], 1)


def texts_first(v, t):
    return concat(t, v)


# ---- exercise 3 ----


def mean(vectors, masks):
    return Mean(2, len(vectors))(vectors, masks)


def mean_by_a_loop(vectors, masks):
    rows = []
    for item in range(len(vectors[0])):
        there = [v[item].tolist() for v, m in zip(vectors, masks) if m[item]]
        rows.append([sum(column) / len(there) for column in zip(*there)] if there else [0.0, 0.0])
    return rows


def mean_in_numpy(vectors, masks):
    present = np.stack([m.numpy() for m in masks])[:, :, None]
    total = (np.stack([v.numpy() for v in vectors]) * present).sum(0)
    return total / np.maximum(present.sum(0), 1)


def masked_sum(v, m):
    return sum(x * k[:, None] for x, k in zip(v, m))


def by_all_modalities(v, m):
    return masked_sum(v, m) / 2


def masks_ignored(v, m):
    return (v[0] + v[1]) / 2


def inverted(v, m):
    return mean(v, [~k for k in m])


def no_modality_nan(v, m):
    return masked_sum(v, m) / sum(k.float() for k in m)[:, None]


def rubbish_added(v, m):
    return (v[0] + v[1]) / torch.stack(m).sum(0).clamp(min=1)[:, None]


def by_number_of_items(v, m):
    return sum(x * k[:, None] / k.sum() for x, k in zip(v, m))


def first_only(v, m):
    return v[0] * m[0][:, None]


def mean_in_place(v, m):
    for x, k in zip(v, m):
        x[~k] = 0
    return (v[0] + v[1]) / torch.stack(m).sum(0).clamp(min=1)[:, None]


# ---- exercise 4 ----


def scores(first, second, alpha):
    return late_fusion([first, second], [1 - alpha, alpha])


def z(x, dim=1, unbiased=False):
    return (x - x.mean(dim, keepdim=True)) / x.std(dim, keepdim=True, unbiased=unbiased)


def scores_by_sample_spread(a, b, w):
    return (1 - w) * z(a, unbiased=True) + w * z(b, unbiased=True)


def scores_by_a_loop(a, b, w):
    def one(row):
        return (row - row.mean()) / row.std()

    return [((1 - w) * one(x) + w * one(y)).tolist() for x, y in zip(a.numpy(), b.numpy())]


def ranks(x):
    return x.argsort(1).argsort(1).float()


def not_standardised(a, b, w):
    return (1 - w) * a + w * b


def weights_swapped(a, b, w):
    return scores(b, a, w)


def all_users_together(a, b, w):
    return (1 - w) * (a - a.mean()) / a.std(unbiased=False) + w * (b - b.mean()) / b.std(unbiased=False)


def by_item(a, b, w):
    return (1 - w) * z(a, 0) + w * z(b, 0)


def only_centred(a, b, w):
    return (1 - w) * (a - a.mean(1, keepdim=True)) + w * (b - b.mean(1, keepdim=True))


def only_divided(a, b, w):
    return (1 - w) * a / a.std(1, keepdim=True) + w * b / b.std(1, keepdim=True)


def rank_fusion(a, b, w):
    return (1 - w) * ranks(a) + w * ranks(b)


def min_max(a, b, w):
    low, high = (lambda x: x.amin(1, keepdim=True)), (lambda x: x.amax(1, keepdim=True))
    return sum(share * (x - low(x)) / (high(x) - low(x)) for share, x in ((1 - w, a), (w, b)))


def softmaxes(a, b, w):
    return (1 - w) * a.softmax(1) + w * b.softmax(1)


def first_in_full(a, b, w):
    return z(a) + w * z(b)


def alpha_forgotten(a, b, w):
    return (z(a) + z(b)) / 2


def rows_of_length_one(a, b, w):
    return (1 - w) * normalize(a, dim=1) + w * normalize(b, dim=1)


def standardised_after(a, b, w):
    return z((1 - w) * a + w * b)


def one_user(a, b, w):
    return scores(a, b, w)[0]


def worst_first(a, b, w):
    return -scores(a, b, w)


# ---- bonus ----


def gate(visual, textual, weight, bias):
    g = torch.sigmoid(torch.cat([visual, textual], dim=1) @ weight.T + bias)
    return g * visual + (1 - g) * textual


def gate_of_the_course(visual, textual, weight, bias):
    """utils.fusion.Gated with the second gate set to 1 minus the first: sigmoid(-x) = 1 - sigmoid(x)."""
    fusion = Gated(visual.shape[1], 2)
    with torch.no_grad():
        fusion.gates.weight.copy_(torch.cat([weight, -weight]))
        fusion.gates.bias.copy_(torch.cat([bias, -bias]))
    return fusion([visual, textual])


def gate_in_numpy(visual, textual, weight, bias):
    v, t = visual.numpy(), textual.numpy()
    g = 1 / (1 + np.exp(-(np.hstack([v, t]) @ weight.numpy().T + bias.numpy())))
    return g * v + (1 - g) * t


def logits_of(v, t, w, b):
    return torch.cat([v, t], dim=1) @ w.T + b


def gate_swapped(v, t, w, b):
    g = torch.sigmoid(logits_of(v, t, w, b))
    return (1 - g) * v + g * t


def gate_without_sigmoid(v, t, w, b):
    g = logits_of(v, t, w, b)
    return g * v + (1 - g) * t


def bias_forgotten(v, t, w, b):
    return gate(v, t, w, 0 * b)


def text_not_gated(v, t, w, b):
    return torch.sigmoid(logits_of(v, t, w, b)) * v + t


def same_gate_twice(v, t, w, b):
    return torch.sigmoid(logits_of(v, t, w, b)) * (v + t)


def gate_by_softmax(v, t, w, b):
    g = logits_of(v, t, w, b).softmax(1)
    return g * v + (1 - g) * t


def text_seen_first(v, t, w, b):
    g = torch.sigmoid(logits_of(t, v, w, b))
    return g * v + (1 - g) * t


def gate_by_tanh(v, t, w, b):
    g = torch.tanh(logits_of(v, t, w, b))
    return g * v + (1 - g) * t


def gate_sees_pictures(v, t, w, b):
    g = torch.sigmoid(v @ w[:, :3].T + b)
    return g * v + (1 - g) * t


def gate_sees_the_sum(v, t, w, b):
    g = torch.sigmoid((v + t) @ w[:, :3].T + b)
    return g * v + (1 - g) * t


def gate_itself(v, t, w, b):
    return torch.sigmoid(logits_of(v, t, w, b))


RIGHT = {
    checks.fuse_attention: [attention, course_attention, attention_by_a_loop],
    checks.fuse_concat: [concat, concat_in_numpy, concat_by_a_loop],
    checks.fuse_masked_mean: [mean, mean_by_a_loop, mean_in_numpy],
    checks.fuse_scores: [scores, scores_by_sample_spread, scores_by_a_loop],
    checks.fuse_gate: [gate, gate_of_the_course, gate_in_numpy],
}
WRONG = {
    checks.fuse_attention: {
        over_the_items: "over the items",
        missing_as_zero: "missing modality gets weight",
        removed_after_the_softmax: "no longer sums to 1",
        raw_logits: "raw logits",
        weights_only: "returned the weights",
        sigmoid: "sigmoid",
        query_forgotten: "masked mean",
        plain_sum: "sum of the modalities",
        sign_lost: "sign of the logits",
        best_only: "best modality only",
        mask_turned_round: "mask is inverted",
    },
    checks.fuse_concat: {
        not_normalised: "nothing was normalised",
        normalised_after: "after the concatenation",
        normalised_twice: "normalised twice",
        columns: "columns",
        pictures_only: "only the pictures",
        texts_only: "only the texts",
        zero_over_zero: "NaN",
        items_below_items: "below",
        length_of_the_matrix: "whole matrix",
        absolute_sums: "absolute values",
        texts_first: "texts come first",
    },
    checks.fuse_masked_mean: {
        by_all_modalities: "halves the vector",
        masks_ignored: "ignored the masks",
        masked_sum: "this is the sum",
        inverted: "inverted",
        no_modality_nan: "NaN",
        rubbish_added: "in a missing row was added",
        by_number_of_items: "number of items",
        first_only: "only the first",
        mean_in_place: "changed the input `v` in place",
    },
    checks.fuse_scores: {
        not_standardised: "not standardised",
        weights_swapped: "swapped",
        all_users_together: "all users together",
        by_item: "over the users",
        only_centred: "only subtracted the mean",
        only_divided: "only divided",
        rank_fusion: "ranks",
        min_max: "min-max",
        softmaxes: "softmax",
        first_in_full: "full weight",
        alpha_forgotten: "alpha is not used",
        rows_of_length_one: "by its length",
        standardised_after: "mixed first",
        one_user: "shape",
        worst_first: "sign is wrong",
    },
    checks.fuse_gate: {
        gate_swapped: "wrong way round",
        gate_without_sigmoid: "sigmoid is missing",
        bias_forgotten: "bias is missing",
        text_not_gated: "text is not gated",
        same_gate_twice: "same gate",
        gate_by_softmax: "softmax",
        text_seen_first: "order of the concatenation",
        gate_by_tanh: "tanh",
        gate_sees_pictures: "picture only",
        gate_sees_the_sum: "sum of the vectors",
        gate_itself: "returned the gate",
    },
}


test_right, test_wrong, test_five = table_tests(RIGHT, WRONG)


# ---- the study behind the notebook ----


@pytest.fixture
def small():
    """Forty users, thirty items, two modalities of which the second is missing for a third of the items."""
    from utils.features import Features

    rng = np.random.default_rng(0)
    pairs = np.array([(u, i) for u in range(40) for i in rng.choice(30, 8, replace=False)])
    part = np.tile(np.repeat([0, 1, 2], [6, 1, 1]), 40)
    train, valid, test = (pairs[part == k] for k in range(3))
    split = SimpleNamespace(n_users=40, n_items=30, train=train, valid=valid, test=test, cold_items=np.array([], int))
    names = np.arange(30).astype(str)
    visual = Features("visual", rng.standard_normal((30, 6)), names)
    textual = Features("textual", rng.standard_normal((30, 4)), names, np.arange(30) % 3 > 0)
    return split, {"visual": visual, "textual": textual}


def test_joint_features_are_one_input_without_nan(small):
    _, features = small
    joint = studies_fusion.joint_features(features)
    assert list(joint) == ["visual"] and joint["visual"].matrix.shape == (30, 10) and joint["visual"].mask.all()
    assert not joint["visual"].matrix[0, 6:].any()  # item 0 has no text


def test_a_model_without_a_modality_scores_as_if_no_item_had_it(small):
    from utils.models import make_model

    split, features = small
    model = make_model("vbpr", split, features)
    before = model.score([0, 1])
    blind = studies_fusion.without(model, "visual")
    assert not torch.equal(blind.score([0, 1]), before)
    assert torch.equal(model.score([0, 1]), before)  # the model itself stays as it was
    bare = ~features["textual"].mask
    assert not blind.item_content()[bare].any()  # no content is left to these items


def test_every_fusion_is_trained_and_named(small):
    split, features = small
    found = studies_fusion.fit_fusions(split, features, n_epochs=1)
    assert {"concat", "joint", "late", "visual", "textual", *studies_fusion.CONTROLS} <= set(found)
    assert studies_fusion.fused_names(found, features) == [
        "concat", "sum", "mean", "product", "attention", "gated", "joint", "late",
    ]  # fmt: skip
    numbers = {name: found[name].user_table.weight.numel() + found[name].taste_table.weight.numel() for name in
               ("concat", studies_fusion.WIDE)}  # fmt: skip
    assert numbers["concat"] == numbers[studies_fusion.WIDE]
    late, models = found["late"]([0, 1]), [found["visual"], found["textual"]]
    assert torch.equal(late, late_fusion([model.score([0, 1]) for model in models]))


def test_the_search_keeps_what_validation_prefers_and_can_be_reused(small):
    split, features = small
    found = studies_fusion.fit_fusions(split, features, regs=(0.01, 1.0), n_epochs=2)
    chosen = studies_fusion.chosen_regs(found)
    assert set(chosen) == set(found) - {"late", "no content, late"}
    assert set(chosen.values()) <= {0.01, 1.0}
    again = studies_fusion.fit_fusions(split, features, regs=chosen, n_epochs=2)
    assert torch.equal(again["attention"].score([0]), found["attention"].score([0]))


def test_lead_is_paired_over_seeds():
    table = pd.DataFrame({"a": [0.3, 0.5], "b": [0.2, 0.4], "c": [0.1, 0.1]})
    result = studies_fusion.lead(table, ["a", "b", "c"])
    assert (result["best"], result["second"]) == ("a", "b")
    assert result["lead"] == pytest.approx(0.1) and result["spread"] == pytest.approx(0.0)


def test_figures_can_be_drawn():
    assert len(when_to_fuse(("visual", "textual", "audio")).axes) == 3
    curve = pd.Series([0.1, 0.3, 0.2], index=[0.0, 0.5, 1.0])
    assert weight_curves({"one": curve}).axes[0].get_xlabel().startswith("Weight of the textual")
    with pytest.raises(CourseError):
        when_to_fuse(())
