"""utils.losses against values worked out by hand."""

from __future__ import annotations

import math

import torch

from utils.losses import bpr, info_nce, l2_reg


def test_bpr_by_hand():
    value = bpr(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    by_hand = (math.log(1 + math.exp(-1)) + math.log(2)) / 2
    assert math.isclose(float(value), by_hand, rel_tol=1e-6)


def test_bpr_says_ln_2_when_scores_say_nothing_and_never_overflows():
    assert math.isclose(float(bpr(torch.zeros(5), torch.zeros(5))), math.log(2), rel_tol=1e-6)
    assert float(bpr(torch.tensor([-1e4]), torch.tensor([1e4]))) == 2e4
    assert float(bpr(torch.tensor([1e4]), torch.tensor([-1e4]))) == 0


def test_bpr_pulls_the_positive_up():
    pos, neg = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    bpr(pos, neg).backward()
    assert (pos.grad < 0).all() and (neg.grad > 0).all()


def test_l2_by_hand():
    a, b = torch.tensor([[1.0, 2.0], [0.0, 2.0]]), torch.tensor([[3.0]])
    assert float(l2_reg(a, b)) == (1 + 4 + 4 + 9) / 2 / 2


def test_info_nce_by_hand():
    a, b = torch.eye(2) * 3, torch.eye(2) * 0.1  # the lengths do not count
    expected = -math.log(math.exp(2) / (math.exp(2) + 1))
    assert math.isclose(float(info_nce(a, b, temperature=0.5)), expected, rel_tol=1e-5)
    uniform = info_nce(torch.ones(4, 3), torch.ones(4, 3), temperature=0.1)
    assert math.isclose(float(uniform), math.log(4), rel_tol=1e-5)


def test_info_nce_symmetric_is_the_mean_of_both_directions():
    torch.manual_seed(0)
    a, b = torch.randn(6, 3), torch.randn(6, 3)
    both = (info_nce(a, b, 0.3) + info_nce(b, a, 0.3)) / 2
    assert torch.isclose(info_nce(a, b, 0.3, symmetric=True), both)
