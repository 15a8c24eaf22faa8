"""The checks of notebook 04 pass right answers and name wrong ones; the helpers of its study do what they say."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize

from utils import checks, studies_fusion
from utils.errors import CourseError
from utils.fusion import Attention, Mean, late_fusion
from utils.plots_fusion import weight_curves, when_to_fuse


def concat(visual, textual):
    return torch.cat([normalize(visual, dim=1), normalize(textual, dim=1)], dim=1)


def mean(vectors, masks):
    return Mean(2, len(vectors))(vectors, masks)


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


def scores(first, second, alpha):
    return late_fusion([first, second], [1 - alpha, alpha])


def z_sample(x):
    return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)


def z_items(x):
    return (x - x.mean(0)) / x.std(0, unbiased=False)


def ranks(x):
    return x.argsort(1).argsort(1).float()


def stub(*args): ...


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.fuse_concat, concat),
        (checks.fuse_masked_mean, mean),
        (checks.fuse_attention, attention),
        (checks.fuse_attention, course_attention),
        (checks.fuse_scores, scores),
        (checks.fuse_scores, lambda a, b, w: (1 - w) * z_sample(a) + w * z_sample(b)),
    ],
)
def test_right_answers_pass_and_untouched_stubs_are_not_judged(check, right):
    verdict = check(right)
    assert verdict.passed is True, verdict
    assert check(stub).passed is None


@pytest.mark.parametrize(
    ("check", "wrong", "mistake"),
    [
        (checks.fuse_concat, lambda v, t: normalize(torch.cat([v, t], 1), dim=1), "after the concatenation"),
        (checks.fuse_concat, lambda v, t: torch.cat([v / v.norm(dim=1, keepdim=True), t], 1), "NaN"),
        (checks.fuse_concat, lambda v, t: torch.cat([v, t], 1), "nothing was normalised"),
        (checks.fuse_concat, lambda v, t: torch.cat([normalize(v, dim=0), normalize(t, dim=0)], 1), "columns"),
        (checks.fuse_concat, lambda v, t: torch.cat([normalize(v, dim=1), t], 1), "only the pictures"),
        (checks.fuse_concat, lambda v, t: torch.cat([v[:, :2], t]), "below"),
        (checks.fuse_masked_mean, lambda v, m: sum(x * k[:, None] for x, k in zip(v, m)) / 2, "halves the vector"),
        (checks.fuse_masked_mean, lambda v, m: (v[0] + v[1]) / 2, "ignored the masks"),
        (checks.fuse_masked_mean, lambda v, m: sum(x * k[:, None] for x, k in zip(v, m)), "this is the sum"),
        (checks.fuse_masked_mean, lambda v, m: mean(v, [~k for k in m]), "inverted"),
        (
            checks.fuse_masked_mean,
            lambda v, m: sum(x * k[:, None] for x, k in zip(v, m)) / sum(k.float() for k in m)[:, None],
            "NaN",
        ),
        (checks.fuse_attention, lambda v, q, p: attention(v, q, p, dim=0), "over the items"),
        (checks.fuse_attention, lambda v, q, p: attention(v, q, p, fill=0.0), "missing modality gets weight"),
        (checks.fuse_attention, lambda v, q, p: ((v @ q)[:, :, None] * v).sum(1), "raw logits"),
        (checks.fuse_attention, lambda v, q, p: (v @ q).softmax(1), "returned the weights"),
        (checks.fuse_attention, lambda v, q, p: (torch.sigmoid(v @ q)[:, :, None] * v).sum(1), "sigmoid"),
        (checks.fuse_attention, lambda v, q, p: v.sum(1) / p.sum(1, keepdim=True), "masked mean"),
        (checks.fuse_scores, lambda a, b, w: (1 - w) * a + w * b, "not standardised"),
        (checks.fuse_scores, lambda a, b, w: scores(b, a, w), "swapped"),
        (checks.fuse_scores, lambda a, b, w: (1 - w) * ranks(a) + w * ranks(b), "ranks"),
        (checks.fuse_scores, lambda a, b, w: (1 - w) * z_items(a) + w * z_items(b), "over the users"),
        (checks.fuse_scores, lambda a, b, w: scores(a, b, w)[0], "shape"),
    ],
)
def test_wrong_answers_are_named(check, wrong, mistake):
    verdict = check(wrong)
    assert verdict.passed is False
    assert mistake in verdict.message


def test_removed_after_the_softmax_is_named():
    def after(vectors, query, present):
        weights = (vectors @ query).softmax(1) * present
        return (weights[:, :, None] * vectors).sum(1)

    message = checks.fuse_attention(after).message
    assert "no longer sums to 1" in message or "gets weight" in message


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
