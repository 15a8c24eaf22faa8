"""Contrast within a batch: a state finds its next item, and the two streams of one history find each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F

TAU = 0.07  # temperature of cosines


def next_item_contrast(
    states: torch.Tensor, vectors: torch.Tensor, targets: torch.Tensor, tau: float = TAU
) -> torch.Tensor:
    """Return the mean loss of finding the next item among those of the batch; cosines, so lengths do not count.

    loss_i = -log e^{s(h_i, z_i+)} / (e^{s(h_i, z_i+)} + sum over j in the batch with another next item e^{s(h_i, z_j+)})

    An item that is the next one of several steps stands in the sum as often, except for a step of its own: there the others
    are left out, as minus infinity would do. The released code gives them the logit 0, which adds e^0 to the sum. The sum
    runs over different items with log(how often) added, which is the same number in less memory.

    Args:
        states: (n, dim), the state of each step.
        vectors: (n_items, dim), the vector of each item.
        targets: (n,) item_ids, what came next.
        tau: the cosines are divided by it.
    """
    items, place, counts = targets.unique(return_inverse=True, return_counts=True)
    logits = F.normalize(states, dim=1) @ F.normalize(vectors[items], dim=1).T / tau  # (n, different items)
    often = counts.to(logits.dtype).log().expand_as(logits).scatter(1, place[:, None], 0.0)
    return F.cross_entropy(logits + often, place)


def cross_modal_contrast(
    one: torch.Tensor, other: torch.Tensor, targets: torch.Tensor, tau: float = TAU
) -> torch.Tensor:
    """Return the mean loss of finding one's own history in the other stream, both ways.

    L_i = -log e^{s(a_i, b_i)} / (sum over j e^{s(a_i, b_j)} + sum over j != i e^{s(a_i, a_j)}), and the same from b to a

    Histories with the same next item are no negatives of each other: their logit is minus infinity, so that they have
    neither a share in the sum nor a gradient.

    Args:
        one, other: (n, dim), the states of the same n histories in the two streams.
        targets: (n,) item_ids, what came next.
    """
    a, b = F.normalize(one, dim=1), F.normalize(other, dim=1)
    own = torch.eye(len(a), dtype=torch.bool, device=a.device)
    same = targets[:, None] == targets
    losses = []
    for left, right in ((a, b), (b, a)):
        across = (left @ right.T / tau).masked_fill(same & ~own, -torch.inf)
        within = (left @ left.T / tau).masked_fill(same, -torch.inf)  # itself among them
        losses.append(F.cross_entropy(torch.cat([across, within], dim=1), torch.arange(len(a), device=a.device)))
    return torch.stack(losses).mean()
