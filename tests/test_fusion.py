"""utils.fusion: hand values, masks, and what joint, coordinate, early and late mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from utils.errors import CourseError
from utils.fusion import (
    FUSIONS,
    Concat,
    Coordinate,
    Joint,
    Mean,
    Product,
    Projection,
    Sum,
    l2,
    late_fusion,
    make_fusion,
    whitening,
)

A = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
B = torch.tensor([[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]])
MASKS = [torch.tensor([True, True, False]), torch.tensor([True, False, False])]


def test_by_hand():
    assert torch.equal(Concat(2, 2)([A, B])[0], torch.tensor([1.0, 2, 10, 20]))
    assert torch.equal(Sum(2, 2)([A, B])[0], torch.tensor([11.0, 22]))
    assert torch.equal(Mean(2, 2)([A, B])[0], torch.tensor([5.5, 11]))
    assert torch.equal(Product(2, 2)([A, B])[0], torch.tensor([10.0, 40]))


def test_by_hand_with_missing_rows():
    assert torch.equal(Concat(2, 2)([A, B], MASKS)[1], torch.tensor([3.0, 4, 0, 0]))
    for fusion in (Sum, Mean, Product):  # with one modality left, each of them gives that one
        fused = fusion(2, 2)([A, B], MASKS)
        assert torch.equal(fused[1], A[1])
        assert torch.equal(fused[2], torch.zeros(2))


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_fusion_takes_any_number_of_modalities(name, n):
    torch.manual_seed(0)
    fusion = make_fusion(name, 4, n)
    vectors = [torch.randn(5, 4) for _ in range(n)]
    fused = fusion(vectors)
    assert fused.shape == (5, fusion.out_dim)
    full = fusion(vectors, [torch.ones(5, dtype=torch.bool)] * n)
    assert torch.allclose(fused, full)  # nothing missing = no masks


@pytest.mark.parametrize("name", FUSIONS)
def test_what_stands_in_a_missing_row_never_counts(name):
    torch.manual_seed(0)
    fusion, masks = make_fusion(name, 2, 2), MASKS
    poisoned = [A.clone(), B.clone()]
    poisoned[0][2] = torch.nan
    poisoned[1][1:] = torch.nan
    fused = fusion(poisoned, masks)
    assert torch.isfinite(fused).all()
    assert torch.equal(fused, fusion([A, B], masks))
    assert torch.equal(fused[2], torch.zeros(fusion.out_dim))  # no modality at all


@pytest.mark.parametrize("name", FUSIONS)
def test_gradients_are_finite_with_missing_rows(name):
    torch.manual_seed(0)
    fusion = make_fusion(name, 2, 2)
    vectors = [A.clone().requires_grad_(), B.clone().requires_grad_()]
    (fusion(vectors, MASKS) * torch.randn(3, fusion.out_dim)).sum().backward()
    for tensor in [*vectors, *fusion.parameters()]:
        assert torch.isfinite(tensor.grad).all()
    assert torch.equal(vectors[1].grad[1:], torch.zeros(2, 2))


def test_attention_weights_sum_to_one_over_what_is_there():
    torch.manual_seed(0)
    weights = make_fusion("attention", 2, 2).weights([A, B], MASKS)
    assert torch.allclose(weights.sum(1), torch.tensor([1.0, 1.0, 0.0]))
    assert weights[1, 0] == 1


@pytest.mark.parametrize("bias", [True, False])
def test_projection_is_a_linear_layer_with_the_same_gradients(bias):
    torch.manual_seed(0)
    ours, plain = Projection(7, 3, bias=bias), torch.nn.Linear(7, 3, bias=bias)
    plain.load_state_dict(ours.state_dict())
    frozen, weights = torch.randn(5, 7), torch.randn(5, 3)
    for x in (frozen, frozen.clone().requires_grad_()):  # frozen and trainable features
        for layer in (ours, plain):
            layer.zero_grad()
            x.grad = None
            (layer(x) * weights).sum().backward()
            layer.seen = None if x.grad is None else x.grad.clone()
        assert torch.allclose(ours(x), plain(x), atol=1e-6)
        for a, b in zip(ours.parameters(), plain.parameters()):
            assert torch.allclose(a.grad, b.grad, atol=1e-5) and a.grad.abs().sum() > 0
        assert (ours.seen is None) == (plain.seen is None)
        assert ours.seen is None or torch.allclose(ours.seen, plain.seen, atol=1e-6)


def test_joint_is_one_map_of_the_concatenation():
    torch.manual_seed(0)
    joint = Joint([2, 3], 4)
    x, y = torch.randn(5, 2), torch.randn(5, 3)
    by_hand = torch.cat([x, y], dim=1) @ joint.project.weight.T + joint.project.bias
    assert torch.allclose(joint([x, y]), by_hand, atol=1e-6)


def test_coordinate_keeps_spaces_apart():
    torch.manual_seed(0)
    coordinate = Coordinate([2, 3], 4)
    x, y = torch.randn(5, 2), torch.randn(5, 3)
    first, second = coordinate([x, y])
    assert torch.equal(first, coordinate([x, y + 1])[0])  # the other modality has no say
    assert not torch.equal(second, coordinate([x, y + 1])[1])
    masks = [torch.tensor([True] * 4 + [False]), torch.ones(5, dtype=torch.bool)]
    assert torch.equal(coordinate([x, y], masks)[0][4], torch.zeros(4))


def test_similarity_constraint():
    assert float(Coordinate.similarity([A, 3 * A])) == pytest.approx(0, abs=1e-6)
    assert float(Coordinate.similarity([A, -A])) == pytest.approx(2, abs=1e-6)
    half = [torch.tensor([True, False, False]), torch.tensor([True, True, True])]
    other = torch.cat([-A[:1], A[1:]])
    assert float(Coordinate.similarity([A, other], half)) == pytest.approx(2, abs=1e-6)  # only the first row has both
    assert float(Coordinate.similarity([A])) == 0


def test_l2_leaves_zero_and_missing_rows_at_zero():
    matrix = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]])
    unit = l2(matrix, torch.tensor([True, True, False]))
    assert torch.allclose(unit, torch.tensor([[0.6, 0.8], [0, 0], [0, 0]]))


def test_whitening_is_white_on_the_present_rows():
    rng = np.random.default_rng(0)
    matrix = torch.as_tensor(rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5)) + 3)
    mask = torch.as_tensor(rng.random(200) > 0.2)
    white = whitening(matrix, mask, dim=4)
    assert white.shape == (200, 4)
    assert torch.allclose(torch.cov(white[mask].T), torch.eye(4, dtype=white.dtype), atol=1e-6)
    assert torch.allclose(white[mask].mean(0), torch.zeros(4, dtype=white.dtype), atol=1e-6)
    assert not white[~mask].any()
    with pytest.raises(CourseError, match="at least two"):
        whitening(matrix, torch.arange(200) == 1)


def test_late_fusion_by_hand():
    x, y = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[300.0, 200.0, 100.0]])
    assert torch.allclose(late_fusion([x, y], [3, 1], scale="none"), 0.75 * x + 0.25 * y)
    assert torch.allclose(late_fusion([x, y]), torch.zeros(1, 3), atol=1e-6)  # on one scale they cancel
    assert torch.allclose(late_fusion([x, y], [1, 0], scale="rank"), torch.tensor([[0, 0.5, 1]]))
    assert late_fusion([x, y], scale="none").argmax() == 0  # unscaled, the wide scores decide


def test_mistakes_are_named():
    with pytest.raises(CourseError, match="attention"):
        make_fusion("atention", 2, 2)
    with pytest.raises(CourseError, match="2 scores and 1 weights"):
        late_fusion([A, B], [1.0])
    with pytest.raises(CourseError, match="zscore"):
        late_fusion([A, B], scale="z-score")
