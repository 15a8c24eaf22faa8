"""Checks of notebook 08: the gate of an edge, one step with gates, reviews that leak, how well gates tell stars."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from utils.checks.base import exercise, farthest, numbers

__all__ = ["edge_gate", "gated_step", "leaking_reviews", "stars_told_apart"]


def _tensor(answer: object, what: str) -> torch.Tensor:
    return torch.as_tensor(numbers(answer, what), dtype=torch.float32)


def _says(answer: torch.Tensor, known: dict[str, torch.Tensor]) -> str | None:
    """Return the sentence of the first known mistake that the answer equals."""
    for sentence, wrong in known.items():
        if answer.shape == wrong.shape and torch.allclose(answer, wrong, atol=1e-4):
            return sentence
    return None


# ---- exercise 1 ----


@exercise
def edge_gate(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(user, item, edge) -> (n,): sigma(cos(t_u * e, t_i * e)), row by row."""
    user, item, edge = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1))  # square: mix-ups still run
    answer = _tensor(mine(user, item, edge), "gates")
    a, b = user * edge, item * edge
    if answer.shape == (4, 4) and torch.allclose(answer, torch.sigmoid(a * b), atol=1e-4):
        return "you return a gate for each entry: add each row up to one inner product, and divide by the lengths."
    if answer.shape == (4, 4):
        return "you compare every user with every item: take the cosine row by row, dim=1."
    if answer.shape != (4,):
        return f"for four edges you return shape {tuple(answer.shape)}; one gate for each edge is (4,)."
    cosine = F.cosine_similarity(a, b, dim=1)
    right = torch.sigmoid(cosine)
    mistake = _says(
        answer,
        {
            "the sigmoid is missing: a cosine can be negative, and a gate must not turn its neighbour around.": cosine,
            "you take the inner product: without the division by the lengths a long review counts more.": torch.sigmoid(
                (a * b).sum(1)
            ),
            "the review is missing: multiply both ends by `edge` first.": torch.sigmoid(
                F.cosine_similarity(user, item, dim=1)
            ),
            "only the item meets the review: multiply both ends by `edge`.": torch.sigmoid(
                F.cosine_similarity(user, b, dim=1)
            ),
            "only the user meets the review: multiply both ends by `edge`.": torch.sigmoid(
                F.cosine_similarity(a, item, dim=1)
            ),
            "the review is added; it has to be multiplied, entry by entry.": torch.sigmoid(
                F.cosine_similarity(user + edge, item + edge, dim=1)
            ),
            "the cosine runs down the columns: an edge is a row, so dim=1.": torch.sigmoid(
                F.cosine_similarity(a, b, dim=0)
            ),
            "these gates sum to 1 over the edges: that is attention (softmax); here each edge is judged alone.": (
                torch.softmax(cosine, 0)
            ),
            "(c + 1) / 2 also lies between 0 and 1, but the gate is the sigmoid of the cosine.": (cosine + 1) / 2,
            "tanh can be negative, and a gate must not turn its neighbour around: use the sigmoid.": torch.tanh(cosine),
            "this is how closed the gate is, 1 minus it.": 1 - right,
            "the review enters once only: multiply both ends by `edge`, then take the cosine.": torch.sigmoid(
                (user * item * edge).sum(1)
            ),
            "two cosines are multiplied: multiply both ends by `edge`, then take one cosine.": torch.sigmoid(
                F.cosine_similarity(user, edge) * F.cosine_similarity(item, edge)
            ),
            "the sign of the cosine gets lost: ends that disagree must close the gate.": torch.sigmoid(cosine.abs()),
            "you take the mean of the products: a cosine is their sum over both lengths.": torch.sigmoid(
                (a * b).mean(1)
            ),
            "two sigmoids: one is enough.": torch.sigmoid(right),
            "the sigmoid comes last, after the cosine.": F.cosine_similarity(torch.sigmoid(a), torch.sigmoid(b)),
            "a ReLU closes some gates for good: use the sigmoid.": torch.relu(cosine),
            "this is a distance: take the cosine.": torch.sigmoid(-(a - b).norm(dim=1)),
            "you divide by the length of the user's side only: divide by both lengths.": torch.sigmoid(
                (a * b).sum(1) / a.norm(dim=1)
            ),
            "the lengths are those before the review: multiply by `edge` first, then take product and lengths.": torch.sigmoid(
                (a * b).sum(1) / user.norm(dim=1) / item.norm(dim=1)
            ),
            "the review stands beside the two ends; it has to be multiplied, entry by entry.": torch.sigmoid(
                F.cosine_similarity(torch.cat([user, edge], 1), torch.cat([item, edge], 1))
            ),
            "there is no temperature here: the sigmoid of the cosine itself.": torch.sigmoid(cosine / 0.1),
        },
    )
    if mistake:
        return mistake
    if not torch.allclose(answer, right, atol=1e-4):
        at = farthest(answer.numpy(), right.numpy())
        return f"gate {at} should be {float(right[at]):.4f}, yours is {float(answer[at]):.4f}."
    return None


# ---- exercise 2 ----


@exercise
def gated_step(mine: Callable[..., torch.Tensor]) -> str | None:
    """mine(users, items, weights) -> (n_users, d): the users' half of D^-1/2 (W + I) D^-1/2 T."""
    # three users, three items; user 0 took two items, item 2 was taken twice: no two degrees go together
    weights = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 0.5], [0.4, 0.6, 0.7]])
    users, items = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(18))
    answer = _tensor(mine(users.clone(), items.clone(), weights.clone()), "vectors")
    if answer.shape != (3, 3):
        return f"you return shape {tuple(answer.shape)}; the three users have three numbers each, (3, 3)."
    edges = (weights > 0).float()
    d_u, d_i = edges.sum(1, keepdim=True), edges.sum(0, keepdim=True)
    w_u, w_i = weights.sum(1, keepdim=True), weights.sum(0, keepdim=True)
    scaled = weights / (d_u * d_i).sqrt()
    right = scaled @ items + users / d_u
    looped = weights / ((d_u + 1) * (d_i + 1)).sqrt()
    mistake = _says(
        answer,
        {
            "the self loop is missing: add users / degree.": scaled @ items,
            "the degrees are sums of gates: count edges instead, (weights > 0). Otherwise a gate is divided away.": (
                weights / (w_u * w_i).sqrt()
            )
            @ items
            + users / w_u,
            "the degrees are sums of gates, and the self loop is missing.": (weights / (w_u * w_i).sqrt()) @ items,
            "the self loop counts in your degrees: D is that of the graph before the loop is put on.": looped @ items
            + users / (d_u + 1),
            "the self loop is not divided by the degree: it stands inside D^-1/2 (W + I) D^-1/2.": scaled @ items
            + users,
            "your self loop is divided by the root of the degree: it meets that root twice, so by the degree.": scaled
            @ items
            + users / d_u.sqrt(),
            "the roots are missing: an edge is divided by the root of d_u times d_i.": weights / (d_u * d_i) @ items
            + users / d_u,
            "you average by gates, so that they add up to 1 for each user: divide by the root of both degrees.": weights
            / w_u
            @ items
            + users / d_u,
            "you divide by the user's degree alone: the square roots of both ends are needed.": weights / d_u @ items
            + users / d_u,
            "the gates are not used: this is LightGCN with a self loop.": (edges / (d_u * d_i).sqrt()) @ items
            + users / d_u,
            "you walked the other way: this is the items' half; the users gather from the items.": scaled.T @ users
            + items / d_i.T,
            "the degrees are missing: divide each edge by the root of both ends' degrees.": weights @ items + users,
            "you divide by the item's degree alone: the square roots of both ends are needed.": weights / d_i @ items
            + users / d_u,
            "you add the degrees: multiply them, then take the root.": weights / (d_u + d_i) @ items + users / d_u,
            "you multiply by the degrees: divide by their root.": weights * (d_u * d_i).sqrt() @ items + users / d_u,
            "you take all users and items for the degrees: count the edges of each.": weights / 3 @ items + users / 3,
            "the degrees of users and items are swapped: a user's are along the row, dim=1.": (
                weights / (d_u.T * d_i.T).sqrt() @ items + users / d_u
            ),
            "the weights are turned round: row u holds the gates of user u.": weights.T / (d_u * d_i).sqrt() @ items
            + users / d_u,
            "the gates are made to sum to 1 by a softmax: take them as they are.": weights.masked_fill(
                weights == 0, -9e9
            ).softmax(1)
            @ items
            + users / d_u,
            "you take the root of the gates: the roots belong to the degrees.": weights.sqrt()
            / (d_u * d_i).sqrt()
            @ items
            + users / d_u,
            "the self loop is a half: divide by the user's own degree.": scaled @ items + users / 2,
            "the self loop is divided by the degree twice: once is enough.": scaled @ items + users / d_u**2,
            "the self loop is divided by the items' degrees: a user's loop by the user's own.": scaled @ items
            + users / d_i.T,
            "the self loop is subtracted: add it.": scaled @ items - users / d_u,
            "the self loop carries a gate: it has the weight 1.": scaled @ items
            + users * weights.mean(1, keepdim=True),
            "there is an activation: this step is linear.": torch.relu(right),
            "you take the mean of both parts: add them.": right / 2,
        },
    )
    if mistake:
        return mistake
    if not torch.allclose(answer, right, atol=1e-4):
        at = farthest(answer.numpy(), right.numpy())
        return f"number {at[1]} of user {at[0]} should be {float(right[at]):.3f}, yours is {float(answer[at]):.3f}."
    return None


# ---- exercise 3 ----


@exercise
def leaking_reviews(mine: Callable[..., np.ndarray]) -> str | None:
    """mine(pairs, train_pairs) -> (n,) bool: True = this review lies on no training edge."""
    train = np.array([[0, 1], [0, 2], [1, 0], [1, 1], [2, 3], [4, 5], [11, 0]])
    pairs = np.array(
        [
            [0, 1],
            [0, 3],
            [1, 2],
            [2, 1],
            [1, 1],
            [3, 3],
            [1, 7],
            [4, 5],
            [5, 4],
            [1, 4],
            [0, 6],
            [0, 7],
            [0, 8],
            [1, 10],
            [0, 10],
        ]
    )
    right = ~(pairs[:, None] == train).all(2).any(1)
    answer = np.asarray(mine(pairs.copy(), train.copy()))
    if answer.dtype != bool or answer.shape != right.shape:
        return f"return one True or False for each of the {len(right)} reviews; yours is {answer.dtype} {answer.shape}."
    highest = train[:, 1].max(), train[:, 1].max() + 1, pairs[:, 1].max()
    by_small_keys = [~np.isin(pairs @ [n, 1], train @ [n, 1]) for n in highest]
    by_user, by_item = np.isin(pairs[:, 0], train[:, 0]), np.isin(pairs[:, 1], train[:, 1])
    known = {
        "you have it the other way round: True marks the reviews that must go.": ~right,
        "you look at users only: a review leaks although its user is known.": ~by_user,
        "you look at items only: a review leaks although its item is known.": ~by_item,
        "you look for user and item apart: both can be known, and the pair still is no training edge.": ~(
            by_user & by_item
        ),
        "you mark a pair only if neither its user nor its item is known: look for the pair itself.": ~(
            by_user | by_item
        ),
        "two different pairs get the same key when you add user and item: use user * n_items + item.": ~np.isin(
            pairs.sum(1), train.sum(1)
        ),
        "two different pairs get the same key when you multiply user and item: use user * n_items + item.": ~np.isin(
            pairs.prod(1), train.prod(1)
        ),
        "two different pairs get the same key when you write user and item side by side (1 and 10, 11 and 0): keep a sign "
        "between them.": ~np.isin([f"{u}{i}" for u, i in pairs], [f"{u}{i}" for u, i in train]),
        "two different pairs get the same key when you subtract user and item: use user * n_items + item.": ~np.isin(
            pairs @ [1, -1], train @ [1, -1]
        ),
        "you compare row by row: the same pair may stand in another row of the training edges.": ~np.append(
            (pairs[: len(train)] == train).all(1), np.zeros(len(pairs) - len(train), dtype=bool)
        ),
        "you look for the numbers of a pair anywhere in train_pairs: user and item must stand in one row.": ~np.isin(
            pairs, train
        ).all(1),
        "(u, i) and (i, u) are not the same pair: keep the order of the two columns.": right
        & ~(pairs[:, ::-1][:, None] == train).all(2).any(1),
        **{
            f"{n} is too small for the key user * n_items + item: two pairs get the same one; "
            "n_items must be above every item id.": wrong
            for n, wrong in zip(highest, by_small_keys)
        },
        "nothing leaks, you say; but most of these pairs are no training edges.": np.zeros(len(right), dtype=bool),
        "everything leaks, you say; but some of these pairs are training edges.": np.ones(len(right), dtype=bool),
    }
    for sentence, wrong in known.items():
        if np.array_equal(answer, wrong):
            return sentence
    if not np.array_equal(answer, right):
        row = int(np.flatnonzero(answer != right)[0])
        state = "no training edge" if right[row] else "a training edge"
        return f"the pair {tuple(pairs[row].tolist())} is {state}, and you say {bool(answer[row])}."
    return None


# ---- bonus ----


def _separations(gates: np.ndarray, top: np.ndarray) -> dict[str, float | np.ndarray]:
    """The right separation (key "") and what each known mistake makes of the same gates: one number, or any of several."""
    high, low = gates[top], gates[~top]
    above, equal = (high[:, None] > low).sum(), (high[:, None] == low).sum()
    n_pairs, n = len(high) * len(low), len(gates)
    return {
        "": (above + equal / 2) / n_pairs,
        "the other way round: count the pairs in which the 5-star edge has the larger gate.": 1
        - (above + equal / 2) / n_pairs,
        "a tie counts nothing: it is half a win, or equal gates would look like a wrong order.": above / n_pairs,
        "a tie counts as a win: it is half a win, or equal gates would look like a right order.": (above + equal)
        / n_pairs,
        "you count pairs: divide by their number.": above + equal / 2,
        "you divide by all pairs of edges: only pairs with one edge from each group are asked.": (above + equal / 2)
        / (n * (n - 1) / 2),
        "you divide by all edges squared: only pairs with one edge from each group are asked.": (above + equal / 2)
        / n**2,
        "this is the difference of the two means: it depends on the scale, and a share does not.": high.mean()
        - low.mean(),
        "you compare each 5-star edge with the mean of the others: compare it with each of them.": float(
            (high > low.mean()).mean()
        ),
        "you compare row by row: every 5-star edge meets every other one.": float(
            (high[: len(low)] > low[: len(high)]).mean()
        ),
        # a plain sort leaves equal gates in any order: it wins none of the tied pairs, some, or all
        "equal gates need the same rank, the mean of their places: a plain sort gives one of them the lower one.": (
            (above + np.arange(1, equal)) / n_pairs
        ),
        "this runs from -1 to 1: asked for is the share of pairs, between 0 and 1.": 2 * (above + equal / 2) / n_pairs
        - 1,
        "this is a correlation: asked for is the share of pairs in the right order.": float(
            np.corrcoef(gates, top)[0, 1]
        ),
        "ties are left out: each is half a win, and stays in the number of pairs.": above / (n_pairs - equal),
        "a tie counts a quarter: it is half a win.": (above + equal / 4) / n_pairs,
        "you return a percentage: a share lies between 0 and 1.": 100 * (above + equal / 2) / n_pairs,
        "a gate is compared with one limit: every 5-star edge meets every other one, without a limit.": float(
            ((gates >= 0.5) == top).mean()
        ),
        "a gate is compared with the median: every 5-star edge meets every other one, without a limit.": float(
            ((gates > np.median(gates)) == top).mean()
        ),
        "you compare with the median of the other group: compare with each of its edges.": float(
            (high > np.median(low)).mean()
        ),
        "the 5-star edges meet all edges, themselves as well: only those of the other group are asked.": float(
            (high[:, None] > gates).mean()
        ),
        "you divide by the number of 5-star edges: divide by the number of pairs.": above / len(high),
        "you divide by the number of the other edges: divide by the number of pairs.": above / len(low),
        "this is the mean gate of one group: asked for is the share of pairs.": high.mean(),
        "this is a ratio of two means: it depends on the scale, and a share does not.": high.mean() / low.mean(),
    }


@exercise(bonus=True)
def stars_told_apart(mine: Callable[..., float]) -> str | None:
    """mine(gates, top) -> how often an edge of the group ``top`` has the larger gate, ties half (AUC)."""
    gates = np.array([0.61, 0.44, 0.52, 0.70, 0.39, 0.52, 0.52, 0.66, 0.58, 0.44, 0.31])
    top = np.array([1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1], dtype=bool)
    answer = numbers(mine(gates.copy(), top.copy()), "share")
    if answer.size != 1:
        return f"the share of pairs is one number; you return shape {answer.shape}."
    known = _separations(gates, top)
    for sentence, value in known.items():
        if np.isclose(float(answer.reshape(())), value).any():
            return sentence or None
    return f"of {top.sum()} x {(~top).sum()} pairs the share is {known['']:.4f}, you return {float(answer.reshape(())):.4f}."
