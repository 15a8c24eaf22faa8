"""Losses, the last block of the schema: what the recommender is asked to get right."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def bpr(pos_scores: torch.Tensor, neg_scores: torch.Tensor) -> torch.Tensor:
    """Bayesian personalised ranking: an item the user took should score above one that the user did not take.

    loss = mean over the pairs of -ln sigmoid(positive - negative), written as softplus so that it cannot overflow.

    Args:
        pos_scores: (n,) scores of the positive items.
        neg_scores: (n,) scores of the sampled negatives, pair by pair.

    Returns:
        A scalar; ln 2 = 0.693 when the scores say nothing.

    Source: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """
    return F.softplus(neg_scores - pos_scores).mean()


def l2_reg(*tensors: torch.Tensor) -> torch.Tensor:
    """Half the sum of the squared entries of all ``tensors``, for each row of the first one.

    reg = 1 / (2 n) * sum of ||t||^2, n = number of rows of the first tensor (the batch size).
    Some public code uses the norm instead of its square: its weights are not comparable with ours.
    """
    return 0.5 * sum(tensor.square().sum() for tensor in tensors) / tensors[0].shape[0]


def info_nce(a: torch.Tensor, b: torch.Tensor, temperature: float = 0.2, symmetric: bool = False) -> torch.Tensor:
    """Contrast: row i of ``a`` should be closer to row i of ``b`` than to every other row of ``b``.

    loss = mean over i of -ln( exp(cos(a_i, b_i) / t) / sum over j of exp(cos(a_i, b_j) / t) ).

    Args:
        a, b: (n, d), rows paired by position; they are L2-normalised here.
        temperature: t > 0; the smaller, the more the hardest negatives count.
        symmetric: also contrast ``b`` against ``a``, and return the mean of the two.

    Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", arXiv 1807.03748.
    """
    logits = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T / temperature
    target = torch.arange(len(a), device=a.device)
    loss = F.cross_entropy(logits, target)
    return 0.5 * (loss + F.cross_entropy(logits.T, target)) if symmetric else loss


def info_nce_among(
    a: torch.Tensor, b: torch.Tensor, ids: torch.Tensor, others: torch.Tensor, temperature: float = 0.2
) -> torch.Tensor:
    """Contrast some rows: row i of ``a`` should be closer to row i of ``b`` than to the rows ``others`` of ``b``.

    Args:
        a, b: (n, d), rows paired by position.
        ids: the rows i; sorted, and all of them among ``others``.
        others: sorted. Nothing to contrast (no ids, or one other) costs zero.
    """
    if len(ids) == 0 or len(others) == 1:
        return a.new_zeros(())
    a, b = F.normalize(a.index_select(0, ids), dim=1), F.normalize(b.index_select(0, others), dim=1)
    return F.cross_entropy(a @ b.T / temperature, torch.searchsorted(others, ids))
