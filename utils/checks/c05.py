"""Checks of notebook 05: a sampler of negatives, the BPR loss, VBPR's score, early stopping, LightGCN's layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch.nn.functional import normalize

from utils.checks.base import Mistake, exercise, farthest, first_named, numbers, same

__all__ = ["bpr_loss", "early_stopping", "graph_layers", "negative_sampler", "vbpr_score"]


# ---- exercise 1 ----


@exercise
def negative_sampler(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(user_ids, taken, candidates, generator) -> (b,) int64: an item of ``candidates`` that the user did not take."""
    n_users, n_items, batch = 4, 60, 4000
    candidates = torch.arange(1, n_items, 2)  # odd ids are warm: 30 of them; even ids are cold
    taken = torch.zeros(n_users, n_items, dtype=torch.bool)
    taken[0, candidates[:24]] = True  # this user left only six warm items
    taken[1, candidates[::3]] = True
    user_ids = torch.arange(batch) % n_users

    def draw(seed: int) -> torch.Tensor:
        items = mine(user_ids.clone(), taken.clone(), candidates.clone(), torch.Generator().manual_seed(seed))
        return items if isinstance(items, torch.Tensor) else torch.as_tensor(np.asarray(items))

    items = draw(0)
    if items.shape != (batch,):
        return f"for {batch} users you return shape {tuple(items.shape)}; one negative for each user is ({batch},)."
    if items.dtype.is_floating_point:
        return "item ids are whole numbers (int64), yours are floats: draw with torch.randint, not torch.rand."
    if items.min() < 0 or items.max() >= n_items:
        return f"you return ids from {items.min()} to {items.max()}, but items run from 0 to {n_items - 1}."
    return _pool(items, candidates, n_items) or _variety(items, user_ids, taken) or _chance(items, draw(0), draw(1))


def _pool(items: torch.Tensor, candidates: torch.Tensor, n_items: int) -> str | None:
    cold = ~torch.isin(items, candidates)
    if not cold.any():
        return None
    if items.max() < len(candidates) < n_items - 2:
        return "you return positions in `candidates`, not item ids: index with them, candidates[positions]."
    return (
        f"{int(cold.sum())} of your negatives are cold items, which nobody could take in training: draw from "
        "`candidates`, not from the whole catalogue."
    )


def _variety(items: torch.Tensor, user_ids: torch.Tensor, taken: torch.Tensor) -> str | None:
    if len(items.unique()) == 1:
        return "the whole batch gets the same negative: draw as many as there are users, size (len(user_ids),)."
    if all(len(items[user_ids == user].unique()) == 1 for user in (1, 2, 3)):
        return "a user who comes twice in the batch gets the same negative twice: draw one for each row."
    hits = taken[user_ids, items]
    if not hits.any():
        return None
    share = hits.float().mean()
    if share > 0.2:  # 24/30 and 10/30 for two of the four users: .28 without any look
        return (
            f"{int(hits.sum())} of your {len(items)} negatives are items that the user took: these are positives. "
            "Look them up in `taken` and draw again."
        )
    return (
        f"{int(hits.sum())} of your {len(items)} negatives are items that the user took: you draw again, but the new "
        "draw can hit as well. Repeat until no hit is left."
    )


def _chance(items: torch.Tensor, again: torch.Tensor, other: torch.Tensor) -> str | None:
    if not torch.equal(items, again):
        return "the same generator gives other negatives the second time: pass generator=generator to torch.randint."
    if torch.equal(items, other):
        return "every generator gives the same negatives: you set a seed of your own somewhere inside."
    few, all_free = items[0::4].bincount(), items[3::4].bincount()  # 1000 draws each: of 6 items (167), of 30 (33)
    if few.max() > 300 or all_free.max() > 80:
        return "the items are not equally likely: after a hit draw anew, do not take the next free item."
    if len(items.unique()) < 30:  # 4,000 draws leave none of the 30 out by chance
        return (
            "some candidates are never drawn: the end of torch.randint is not drawn itself, so give it len(candidates)."
        )
    seen = items[3::4].bincount(minlength=60)[1::2].double()  # user 3 took nothing: 1,000 draws of 30
    if (
        float(((seen - 1000 / 30) ** 2).sum() / (1000 / 30)) > 75
    ):  # chi-square of 29 degrees; chance passes 75 once in 150,000
        return "some items come far more often than others: draw evenly, not by popularity."
    return None


# ---- exercise 2 ----


@exercise
def bpr_loss(mine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> str | None:
    """mine(pos_scores, neg_scores) -> scalar: mean of -ln sigmoid(pos - neg)."""
    pos, neg = torch.tensor([2.0, 0.5, -1.0], requires_grad=True), torch.tensor([0.5, 1.0, -1.5])
    answer = mine(pos, neg)
    if not isinstance(answer, torch.Tensor):
        return "return the tensor itself, without .item() or float(): backward() has to follow it."
    gap = (pos - neg).detach()
    each, value = -F.logsigmoid(gap), answer.detach()
    if value.shape == gap.shape:
        return "you return one number for each pair: the loss of a batch is their mean."
    if value.numel() != 1:
        return f"your loss has shape {tuple(value.shape)}; it must be one number, the mean over the pairs."
    known = {
        "positive and negative are swapped: the positive score comes first in the difference.": F.softplus(gap).mean(),
        "the minus sign is missing: ln of a sigmoid is negative, and training would make it more so.": -each.mean(),
        "two things: the minus sign is missing, and the pairs are added up instead of averaged.": -each.sum(),
        "two things: positive and negative are swapped, and the minus sign is missing.": -F.softplus(gap).mean(),
        "you add the pairs up: take the mean, or the step grows with the size of the batch.": each.sum(),
        "the logarithm is missing: -sigmoid hardly pushes the pairs that are most wrong.": -torch.sigmoid(gap).mean(),
        "the logarithm is missing: 1 - sigmoid hardly pushes the pairs that are most wrong.":
            torch.sigmoid(-gap).mean(),
        "the logarithm is missing: the sigmoid alone even grows when the ranking gets better.":
            torch.sigmoid(gap).mean(),
        "this is the hinge loss: it stops at a margin; BPR takes the logarithm of a sigmoid.": F.relu(1 - gap).mean(),
        "each score is judged alone (binary cross-entropy); BPR looks at the difference of the two.":
            (F.softplus(-pos) + F.softplus(neg)).mean().detach(),
        "the sigmoid is missing: a plain difference has no end, so the scores run away.": -gap.mean(),
        "take the mean of the logarithms, not the logarithm of a mean.": -torch.log(torch.sigmoid(gap).mean()),
        "use the natural logarithm, torch.log, not log2 or log10.": each.mean() / torch.log(torch.tensor(2.0)),
        "the loss of the mean difference is not the mean of the losses: average last.": F.softplus(-gap.mean()),
        "two sigmoids: logsigmoid has one inside, so give it the difference itself.":
            -F.logsigmoid(torch.sigmoid(gap)).mean(),
        "take the sigmoid of the difference, not the difference of two sigmoids.":
            -F.logsigmoid(torch.sigmoid(pos) - torch.sigmoid(neg)).mean(),
        "only the positive score is used: BPR asks for the difference of the two.": F.softplus(-pos).mean(),
        "the scores are added; subtract the negative one.": F.softplus(-pos - neg).mean(),
        "each positive meets all negatives here; a pair is one row of the batch.":
            F.softplus(neg[None] - pos[:, None]).mean(),
        "you halve the mean: divide by the number of pairs only.": each.mean() / 2,
        "this is the squared distance of the difference from 1: it punishes pairs that are clearly right.":
            (1 - gap).square().mean(),
        "the exponential grows without end for a wrong pair: take -ln of the sigmoid.": torch.exp(-gap).mean(),
        "this counts wrong pairs only by their distance (hinge without a margin): take -ln of the sigmoid.":
            F.relu(-gap).mean(),
        "this is the share of wrong pairs: it is flat, so no gradient flows; take -ln of the sigmoid.":
            (gap < 0).float().mean(),
        "this is the median of the pairs; take their mean.": each.median(),
    }  # fmt: skip
    if torch.isnan(value):
        return (
            "NaN came out: the logarithm of a negative number. Take the sigmoid of the difference, then its logarithm."
        )
    for sentence, wrong in known.items():
        if torch.isclose(value, wrong.detach(), atol=1e-5):
            return sentence
    if not torch.isclose(value, each.mean(), atol=1e-4):
        return f"for differences 1.5, -0.5, 0.5 you return {float(value):.4f}; the mean of -ln sigmoid is {each.mean():.4f}."
    return _loss_learns(mine, answer)


def _loss_learns(mine: Callable, answer: torch.Tensor) -> str | None:
    if not answer.requires_grad:
        return "the number is right, but no gradient flows: leave out .detach(), .item() and torch.tensor(...)."
    far = mine(torch.tensor([0.0]), torch.tensor([200.0]))
    if not torch.isfinite(far):
        return (
            "right, but infinite for a pair that is wrong by 200, because sigmoid becomes 0 first: use "
            "F.logsigmoid(difference), or F.softplus(-difference)."
        )
    return None


# ---- exercise 3 ----


@exercise
def vbpr_score(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(user, item, taste, features, weight) -> (b,): e_u . e_i + t_u . L2norm(W f_i), row by row."""
    generator = torch.Generator().manual_seed(5)
    user, item, taste, features = torch.randn(4, 3, 5, generator=generator)
    weight = torch.randn(5, 5, generator=generator)  # square, so that every mix-up of sizes still runs
    answer = mine(*(x.clone() for x in (user, item, taste, features, weight)))
    answer = torch.as_tensor(numbers(answer, "scores")).float()
    if answer.shape == ():
        return "you added all pairs up to one number; each pair keeps its score: sum over dim=1."
    if answer.shape == (3, 3):
        return "you score every user with every item: multiply row by row and sum over dim=1."
    if answer.shape != (3,):
        return f"for three pairs you return shape {tuple(answer.shape)}; a score for each pair is (3,)."
    by_id, projected = (user * item).sum(1), features @ weight.T
    content = {
        "": normalize(projected, dim=1),
        "the taste meets the raw features: project them first, features @ weight.T.": features,
        "the taste meets features that are normalised but not projected: apply the weight first.": normalize(
            features, dim=1
        ),
        "the L2 norm runs over the wrong axis: each item's row gets length 1, so dim=1.": normalize(projected, dim=0),
        "the L2 norm is missing: long feature vectors would win for their length alone.": projected,
        "you normalise before you project: W makes the lengths unequal again, so normalise last.": (
            normalize(features, dim=1) @ weight.T
        ),
        "the weight is (dim, n_features): multiply with its transpose, features @ weight.T.": normalize(
            features @ weight, dim=1
        ),
    }
    for sentence, vectors in content.items():
        part = (taste * vectors).sum(1)
        if torch.allclose(answer, by_id + part, atol=1e-4):
            return sentence or None
        if sentence == "" and torch.allclose(answer, part, atol=1e-4):
            return "the part by id is missing: add user . item."
    if torch.allclose(answer, by_id, atol=1e-4):
        return "the content part is missing: add taste . L2norm(W f)."
    if torch.allclose(answer, by_id + (user * content[""]).sum(1), atol=1e-4):
        return "the content meets the user's id vector: it has a vector of its own, `taste`."
    if torch.allclose(answer, by_id + (normalize(taste, dim=1) * content[""]).sum(1), atol=1e-4):
        return "you normalised the taste: only the projected content gets length 1."
    if torch.allclose(
        answer, (normalize(user, dim=1) * normalize(item, dim=1) + taste * content[""]).sum(1), atol=1e-4
    ):
        return "you normalised the vectors by id: only the projected content gets length 1."
    if torch.allclose(answer, by_id * (taste * content[""]).sum(1), atol=1e-4):
        return "the two parts are added, not multiplied."
    right, unit = by_id + (taste * content[""]).sum(1), content[""]
    others = {
        "a sigmoid is too much here: a score is any number, the loss takes the sigmoid.": torch.sigmoid(right),
        "you take means over the dimensions; an inner product is their sum.": (user * item).mean(1)
        + (taste * unit).mean(1),
        "the content part is subtracted; add it.": by_id - (taste * unit).sum(1),
        "the score is halved: add the two parts, no mean.": right / 2,
        "you divided by the sum of absolute values; the L2 norm is the root of the sum of squares.": by_id
        + (taste * normalize(projected, p=1, dim=1)).sum(1),
        "the root is missing: the L2 norm is the root of the sum of squares.": by_id
        + (taste * projected / projected.square().sum(1, keepdim=True)).sum(1),
        "you divided by one length, that of the whole table; each row has its own: dim=1.": by_id
        + (taste * projected / projected.norm()).sum(1),
        "you normalised the weight; normalise what comes out of the projection.": by_id
        + (taste * (features @ normalize(weight, dim=1).T)).sum(1),
        "there is a ReLU on the projection: VBPR's is linear.": by_id
        + (taste * normalize(torch.relu(projected), dim=1)).sum(1),
        "the taste meets the item's id vector as well: it is for content only.": right + (taste * item).sum(1),
    }
    if found := first_named(answer, others):
        return found
    at = farthest(answer.numpy(), right.numpy())
    if answer.shape == right.shape and at != 0:
        return f"pair {at} should score {right[at]:.3f}, yours is {answer[at]:.3f}."
    return (
        f"the first pair should score {float(by_id[0] + (taste * content[''])[0].sum()):.3f}, yours is {answer[0]:.3f}."
    )


# ---- exercise 4 ----


@exercise
def early_stopping(mine: Callable[[pd.DataFrame, int], tuple[int, int]]) -> str | None:
    """mine(history, patience) -> (epoch whose weights are kept, last epoch that is trained)."""
    dip = _history([0.10, 0.15, 0.20, 0.18, 0.19, 0.20, 0.17, 0.16, 0.15, 0.30], best_test=5)
    kept_last = mine(dip, 3)
    kept, last = _pair(kept_last)
    if (kept, last) == (6, 3):
        return "the two numbers are swapped: first the epoch that is kept, then the last one that is trained."
    if (kept, last) in ((2, 5), (2, 6)):
        return "epochs count from 1, yours from 0: return history['epoch'] of the row."
    if kept == 5:
        return "you keep the epoch that is best on the test part: the test part decides nothing before the very end."
    if kept == 10 or last == 10:
        return (
            "you never stop: after `patience` epochs without a new best validation value the rest is not trained, so "
            "it is not there to choose from. (The loss would go on falling: it decides nothing.)"
        )
    if (kept, last) == (6, 9):
        return "a value that only equals the best is not a new best: compare with >, not with >=."
    if not float(kept_last[0]).is_integer() or not float(kept_last[1]).is_integer():
        return "you return values, not epochs: look up the epoch of the best value."
    if (kept, last) == (3, 4):
        return "you stop at the first value that is worse: wait for `patience` epochs without a new best."
    if kept == last:
        return "you keep the weights of the epoch in which you stop: go back to the best one on validation."
    if (kept, last) == (1, 4):
        return (
            "you keep the first epoch: you watch the loss, or you take a smaller value for a better one. Look at `valid`, "
            "where higher is better."
        )
    if kept != 3:
        return f"the best validation value before the stop is in epoch 3, you keep epoch {kept}."
    if last != 6:
        return (
            f"off by {abs(last - 6)}: the best is epoch 3, so that with patience 3 epochs 4, 5 and 6 are waited for; "
            f"training ends after epoch 6, you end after {last}."
        )
    return _more_histories(mine)


def _more_histories(mine: Callable) -> str | None:
    saw = _history([0.10, 0.09, 0.20, 0.19, 0.30, 0.29, 0.40, 0.39], best_test=2)
    kept, last = _pair(mine(saw, 3))
    if kept == 1:
        return "you look for the first value that is worse than the one before; the best so far is what counts."
    if last > 8:
        return f"the table ends with epoch 8, and you train until {last}: the last epoch cannot lie behind the end."
    if last < 8:
        return "a new best sets the waiting back to zero: you count all epochs without a gain, also old ones."
    if (kept, last) != (7, 8):
        return f"when patience never runs out, training ends with the table: keep 7, end 8; you return {kept}, {last}."
    return None


def _history(valid: list[float], best_test: int) -> pd.DataFrame:
    epochs = range(1, len(valid) + 1)
    loss = [round(0.7 - 0.05 * epoch, 2) for epoch in epochs]
    test = [round(0.5 - 0.02 * abs(epoch - best_test), 2) for epoch in epochs]
    return pd.DataFrame({"epoch": epochs, "loss": loss, "valid": valid, "test": test})


def _pair(answer: object) -> tuple[int, int]:
    try:
        kept, last = answer  # type: ignore[misc]
    except (TypeError, ValueError):
        raise Mistake("return two numbers: the epoch you keep, the last epoch you train.") from None
    return int(kept), int(last)


# ---- bonus ----


@exercise(bonus=True)
def graph_layers(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(adjacency (n, n), vectors (n, dim), n_layers) -> (n, dim): the mean of the vectors after 0, 1, ... n_layers steps."""
    generator = torch.Generator().manual_seed(6)
    adjacency = torch.rand(5, 5, generator=generator)  # not symmetric, so that a transpose can be told
    vectors = torch.randn(5, 3, generator=generator)
    answer = numbers(mine(adjacency.clone(), vectors.clone(), 3), "vectors")

    def layers(matrix: torch.Tensor = adjacency, n: int = 3, after: Callable = lambda x: x) -> torch.Tensor:
        found = [vectors]
        for _ in range(n):
            found.append(after(matrix @ found[-1]))
        return torch.stack(found)

    right = layers().mean(0)
    if answer.shape == (4, 5, 3):
        return "you return all layers; take their mean, one vector for each node."
    if answer.shape == (5, 12):
        return "you put the layers side by side, as NGCF does; LightGCN takes their mean."
    if answer.shape != (5, 3):
        return f"you return shape {answer.shape}; one vector for each node is (5, 3)."
    mistakes = {
        "you return the last layer only; take the mean over all layers.": layers()[-1],
        "layer 0 is missing: the vectors before any step belong to the mean.": layers()[1:].mean(0),
        "you added the layers up; divide by their number, which is n_layers + 1.": layers().sum(0),
        "you divided by n_layers; with layer 0 there is one more.": layers().sum(0) / 3,
        "off by one: you take one step too few.": layers(n=2).mean(0),
        "off by one: you take one step too many.": layers(n=4).mean(0),
        "every step starts from the vectors of layer 0; it starts from the layer before.":
            (vectors + 3 * adjacency @ vectors) / 4,
        "the adjacency is transposed: row i of adjacency @ vectors gathers the neighbours of i.":
            layers(adjacency.T).mean(0),
        "there is a ReLU in between: LightGCN has no activation.": layers(after=torch.relu).mean(0),
        "there is a tanh in between: LightGCN has no activation.": layers(after=torch.tanh).mean(0),
        "you normalise after each step; the adjacency is normalised already.":
            layers(after=lambda x: normalize(x, dim=1)).mean(0),
        "every node is its own neighbour here (adjacency plus identity): layer 0 already keeps its own vector.":
            layers(adjacency + torch.eye(5)).mean(0),
        "only the first and the last layer are used; take the mean over all layers.": (vectors + layers()[-1]) / 2,
        "this is the largest value of the layers, not their mean.": layers().amax(0),
        "deeper layers weigh less here; in this mean all layers weigh the same.":
            (layers() / torch.arange(1, 5)[:, None, None]).sum(0),
        "every step adds the vectors it started from (a residual); layer 0 in the mean does that already.":
            _residual(adjacency, vectors),
        "you normalise the adjacency once more; it is normalised already.":
            layers(adjacency / adjacency.sum(1, keepdim=True)).mean(0),
        "the entries are raised to a power (**): a step is a matrix product, adjacency @ the last layer.":
            torch.stack([vectors] + [adjacency**step @ vectors for step in (1, 2, 3)]).mean(0),
        "layer 0 is added beside the mean of the others; it is one of the n_layers + 1 layers of the mean.":
            vectors + layers()[1:].mean(0),
        "you bring the result to length 1; return the mean itself.": normalize(right, dim=1),
        "there is a sigmoid in between: LightGCN has no activation.": layers(after=torch.sigmoid).mean(0),
        "there is a leaky ReLU in between: LightGCN has no activation.":
            layers(after=lambda x: F.leaky_relu(x, 0.2)).mean(0),
        "you average after every step, so that deep layers count more; keep all layers, and average once.":
            _running(adjacency, vectors),
    }  # fmt: skip
    if not same(answer, right):
        return first_named(answer, mistakes) or "number {1} of node {0} should be {2:.3f}, yours is {3:.3f}.".format(
            *(at := farthest(answer, right.numpy())), right[at], answer[at]
        )
    return None


def _residual(adjacency: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    found = [vectors]
    for _ in range(3):
        found.append(adjacency @ found[-1] + vectors)
    return torch.stack(found).mean(0)


def _running(adjacency: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    for _ in range(3):
        vectors = (vectors + adjacency @ vectors) / 2
    return vectors
