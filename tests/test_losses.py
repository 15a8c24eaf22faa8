"""utils.losses against values worked out by hand."""

from __future__ import annotations

import math

import torch

from utils.kernels import bpr_of_tables
from utils.losses import bpr, info_nce, info_nce_among, l2_reg


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


def test_info_nce_among_equals_a_loop():
    torch.manual_seed(0)
    a, b = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    ids, others = [1, 4], [0, 1, 4, 5]
    total = 0.0
    for i in ids:
        cosine = {j: float(a[i] @ b[j] / a[i].norm() / b[j].norm()) for j in others}
        total -= math.log(math.exp(cosine[i] / 0.3) / sum(math.exp(value / 0.3) for value in cosine.values()))
    value = info_nce_among(a, b, torch.tensor(ids), torch.tensor(others), 0.3)
    assert math.isclose(float(value), total / len(ids), rel_tol=1e-9)
    everybody = torch.arange(6)
    assert torch.isclose(info_nce_among(a, b, everybody, everybody, 0.3), info_nce(a, b, 0.3))
    assert float(info_nce_among(a, b, everybody[:0], everybody[:0])) == 0  # nothing to contrast
    assert float(info_nce_among(a, b, everybody[:1], everybody[:1])) == 0


def test_bpr_of_tables_is_bpr_and_l2_reg_with_the_same_gradient():
    rng = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 4, generator=rng).requires_grad_() for n in (5, 6))
    user_ids, pos_ids, neg_ids = (torch.randint(n, (9,), generator=rng) for n in (5, 6, 6))  # with repetitions
    rows = users[user_ids], items[pos_ids], items[neg_ids]
    plain = bpr((rows[0] * rows[1]).sum(1), (rows[0] * rows[2]).sum(1)) + 0.3 * l2_reg(*rows)
    fast = bpr_of_tables(users, items, user_ids, pos_ids, neg_ids, 0.3)
    assert torch.allclose(fast, plain, atol=1e-6)
    for one, two in zip(torch.autograd.grad(2 * fast, (users, items)), torch.autograd.grad(2 * plain, (users, items))):
        assert torch.allclose(one, two, atol=1e-6)


def test_bpr_of_tables_agrees_with_numerical_differences():
    rng = torch.Generator().manual_seed(1)
    users, items = (torch.randn(4, 3, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2))
    ids = [torch.randint(4, (7,), generator=rng) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda u, i: bpr_of_tables(u, i, *ids, 0.2), (users, items))
