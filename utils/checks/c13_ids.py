"""Notebook 13, exercises on ids: the right answer of each as a function, and what goes wrong, each slip with its sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Slips = dict[str, tuple[Callable[..., Any], ...]]  # sentence -> the wrong answers that it names


# ---- residual_codes: (n, dim) and codebooks -> (n, levels) ----


def _books(seed: int, sizes: tuple[int, ...], dim: int) -> list[np.ndarray]:
    """Codebooks (size, dim), each level's rows half as long as those of the one before."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(size, dim)) * 2.0**-level for level, size in enumerate(sizes)]


def code_cases() -> list[tuple]:
    """Vectors and codebooks: equal sizes, other sizes with a repeated row, and one item."""
    rng = np.random.default_rng(1)
    few = rng.normal(size=(7, 2))
    few[5] = few[1]
    return [
        (rng.normal(size=(40, 5)), _books(2, (6, 6, 6), 5)),
        (few, _books(8, (3, 4, 2, 5), 2)),
        (rng.normal(size=(1, 3)), _books(4, (4, 3), 3)),
    ]


def _squared(rest: np.ndarray, book: np.ndarray) -> np.ndarray:
    """(n, dim), (n_codes, dim) -> (n, n_codes) squared distances."""
    return ((rest[:, None] - book) ** 2).sum(2)


def residual(
    vectors: np.ndarray,
    codebooks: list[np.ndarray],
    far: Callable = _squared,
    next_rest: Callable = lambda rest, found, vectors: rest - found,
) -> np.ndarray:
    """At each level the nearest code of what is left; ``far`` and ``next_rest`` are where a slip can happen."""
    rest, table = vectors, []
    for book in codebooks:
        table.append(far(rest, book).argmin(1))
        rest = next_rest(rest, book[table[-1]], vectors)
    return np.stack(table, axis=1)


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=1)


CODES: Slips = {
    "every level quantises the vector itself: after each level subtract the row that was found, and pass on what is left.": (
        lambda v, c: residual(v, c, next_rest=lambda rest, found, v: rest),
    ),
    "you add the row that was found: subtract it, since what is left is what it does not explain.": (
        lambda v, c: residual(v, c, next_rest=lambda rest, found, v: rest + found),
    ),
    "the sign of what is left is turned: it is the vector minus the row, not the row minus the vector.": (
        lambda v, c: residual(v, c, next_rest=lambda rest, found, v: found - rest),
    ),
    "you subtract each row from the whole vector and forget the earlier ones: subtract from what was left before.": (
        lambda v, c: residual(v, c, next_rest=lambda rest, found, v: v - found),
    ),
    "the row itself is passed on: the next level has to get what the row leaves over.": (
        lambda v, c: residual(v, c, next_rest=lambda rest, found, v: found),
    ),
    "what is left is brought to length 1: the codebooks expect it as it is.": (
        lambda v, c: residual(v, c, next_rest=lambda r, f, v: (r - f) / (_lengths(r - f)[:, None] + 1e-12)),
    ),
    "you take the farthest row: `argmin` of the distances.": (
        lambda v, c: residual(v, c, far=lambda rest, book: -_squared(rest, book)),
    ),
    "you take the largest inner product, which prefers long rows: take the smallest distance.": (
        lambda v, c: residual(v, c, far=lambda rest, book: -(rest @ book.T)),
    ),
    "you take the largest cosine, which ignores how long a row is: take the smallest distance.": (
        lambda v, c: residual(v, c, far=lambda rest, book: -(rest @ book.T) / _lengths(book)),
    ),
    "you take the smallest sum of absolute differences: k-means measures squared ones.": (
        lambda v, c: residual(v, c, far=lambda rest, book: np.abs(rest[:, None] - book).sum(2)),
    ),
    "you add up the differences without squaring them: what is too much cancels what is too little.": (
        lambda v, c: residual(v, c, far=lambda rest, book: (rest[:, None] - book).sum(2)),
        lambda v, c: residual(v, c, far=lambda rest, book: np.abs((rest[:, None] - book).sum(2))),
    ),
    "every level uses the first codebook: level l has its own.": (lambda v, c: residual(v, [c[0]] * len(c)),),
    "you start with the last codebook: the first one is the coarse one.": (
        lambda v, c: residual(v, c[::-1]),
        lambda v, c: residual(v, c[::-1])[:, ::-1],
    ),
    "the columns stand in reverse order: the first level comes first.": (lambda v, c: residual(v, c)[:, ::-1],),
    "you count from 1: tokens count from 0.": (lambda v, c: residual(v, c) + 1,),
    "you number the tokens of all levels in one row: here each level counts from 0.": (
        lambda v, c: residual(v, c) + np.cumsum([0, *map(len, c[:-1])]),
    ),
}


# ---- level_perplexity: (n,) tokens and how many there could be -> a number ----


def perplexity_cases() -> list[tuple]:
    """Tokens of a level and how many it could have: unequal, all the same, all equally frequent, many."""
    skewed = np.random.default_rng(5).geometric(0.3, size=200).clip(max=16) - 1
    return [
        (np.array([4, 1, 0, 1, 0, 0, 0]), 6),
        (np.full(9, 3), 8),
        (np.array([3, 0, 4, 2, 1, 1, 2, 4, 0, 3]), 5),
        (skewed, 20),
    ]


def _shares(codes: np.ndarray, n_codes: int) -> np.ndarray:
    return np.bincount(codes, minlength=n_codes) / len(codes)


def entropy(shares: np.ndarray) -> float:
    """-sum p ln p over the tokens that occur."""
    used = shares[shares > 0]
    return float(-(used * np.log(used)).sum())


def perplexity(codes: np.ndarray, n_codes: int) -> float:
    """exp of the entropy."""
    return float(np.exp(entropy(_shares(codes, n_codes))))


PERPLEXITY: Slips = {
    "this is the entropy: take `exp` of it, so that it reads as a number of codes.": (
        lambda c, k: entropy(_shares(c, k)),
    ),
    "this is the entropy in bits: 2 to the power of it would be right, too.": (
        lambda c, k: entropy(_shares(c, k)) / np.log(2),
    ),
    "the logarithm and the power do not fit: `exp` goes with `np.log`, `2 **` with `np.log2`.": (
        lambda c, k: np.exp(entropy(_shares(c, k)) / np.log(2)),
        lambda c, k: 2 ** entropy(_shares(c, k)),
    ),
    "the sign is turned: the entropy is minus the sum, and a perplexity is never below 1.": (
        lambda c, k: 1 / perplexity(c, k),
    ),
    "this is the number of codes that occur: a code with one item counts as much as one with half of the catalogue.": (
        lambda c, k: len(np.unique(c)),
    ),
    "this is the usage: after k-means it is 1 by construction, however unequal the codes are.": (
        lambda c, k: len(np.unique(c)) / k,
    ),
    "this is the perplexity as a share of all codes: return the number itself.": (lambda c, k: perplexity(c, k) / k,),
    "this is the entropy as a share of the largest possible one: return `exp` of the entropy.": (
        lambda c, k: entropy(_shares(c, k)) / np.log(k),
    ),
    "this is the share of the most frequent code: all shares have a say.": (lambda c, k: _shares(c, k).max(),),
    "this is 1 over the most frequent share: all shares have a say.": (lambda c, k: 1 / _shares(c, k).max(),),
    "you square the shares: a relative of the perplexity, but here it is `exp` of the entropy.": (
        lambda c, k: 1 / (_shares(c, k) ** 2).sum(),
    ),
    "you add one to each count: a code that nobody has must not count.": (
        lambda c, k: np.exp(entropy((np.bincount(c, minlength=k) + 1) / (len(c) + k))),
    ),
    "you divide the counts by the number of codes: a share is a count over the number of items.": (
        lambda c, k: np.exp(entropy(np.bincount(c, minlength=k) / k)),
    ),
    "these are the tokens themselves divided by their sum: count how often each occurs.": (
        lambda c, k: np.exp(entropy(c / max(1, c.sum()))),
    ),
    "this is how many codes there are: how many are in use is the question.": (lambda c, k: k,),
}


# ---- sharing_items: (n, levels) -> a number ----


def sharing_cases() -> list[tuple]:
    """Tables of codes: groups of three and two, numbers with two digits, all alike, none alike, more items."""
    mixed = [
        [2, 1, 0],
        [0, 3, 1],
        [2, 1, 0],
        [1, 2, 0],
        [0, 3, 1],
        [0, 3, 2],
        [2, 1, 0],
        [3, 0, 0],
        [3, 0, 0],
        [2, 4, 3],
    ]
    digits = [[1, 11], [11, 1], [1, 11], [0, 12], [12, 0]]
    many = np.random.default_rng(6).integers(4, size=(60, 3))
    return [
        (np.array(mixed),),
        (np.array(digits),),
        (np.zeros((5, 2), dtype=np.int64),),
        (np.array([[0, 1], [1, 0], [1, 1]]),),
        (many,),
    ]


def _groups(rows: np.ndarray) -> np.ndarray:
    """How many items each id has."""
    return np.unique(rows, axis=0, return_counts=True)[1]


def sharing(rows: np.ndarray) -> int:
    """Items whose whole row another item has, too."""
    counts = _groups(rows)
    return int(counts[counts > 1].sum())


def _by_level(rows: np.ndarray) -> list[int]:
    return [sharing(rows[:, [level]]) for level in range(rows.shape[1])]


SHARING: Slips = {
    "nobody shares, you say: that there are more cells than items prevents nothing, since items fall into few of them.": (
        lambda c: 0,
    ),
    "you count the ids that several items have: count the items.": (lambda c: (_groups(c) > 1).sum(),),
    "you leave out the first item of each group: it shares its id, too.": (lambda c: len(c) - len(_groups(c)),),
    "you count pairs: three items with one id are three items, although they make three pairs each way.": (
        lambda c: (_groups(c) * (_groups(c) - 1)).sum(),
        lambda c: (_groups(c) * (_groups(c) - 1)).sum() / 2,
    ),
    "these are the items that have an id of their own: the others were asked for.": (lambda c: len(c) - sharing(c),),
    "these are the different ids: how many items share one?": (lambda c: len(_groups(c)),),
    "this is the biggest group: add up all groups with more than one item.": (lambda c: _groups(c).max(),),
    "this is a share: return how many items.": (lambda c: sharing(c) / len(c),),
    "you compare neighbours in the table only: items with one id may stand anywhere.": (
        lambda c: (c[1:] == c[:-1]).all(1).sum(),
        lambda c: 2 * (c[1:] == c[:-1]).all(1).sum(),
    ),
    "you count level by level: an item shares its id when the *whole* row is the same.": (
        lambda c: sum(_by_level(c)),
        lambda c: np.mean(_by_level(c)),
    ),
    "you look at the first level only.": (lambda c: _by_level(c)[0],),
    "you look at the last level only.": (lambda c: _by_level(c)[-1],),
    "the last level is missing: compare the whole row.": (lambda c: sharing(c[:, :-1]),),
    "you add up the tokens of a row: (1, 2) and (2, 1) are two ids.": (lambda c: sharing(c.sum(1, keepdims=True)),),
    "you sort the tokens of a row: (1, 2) and (2, 1) are two ids.": (lambda c: sharing(np.sort(c, axis=1)),),
    "you write the tokens behind each other: (1, 11) and (11, 1) are both 111; keep them apart.": (
        lambda c: sharing(np.unique(["".join(map(str, row)) for row in c], return_inverse=True)[1].reshape(-1, 1)),
    ),
}
