"""Notebook 13, ids and how they are written: its checks pass right answers in three forms, and name wrong ones."""

import math
from collections import Counter

import numpy as np
import pandas as pd
import torch
from exercise_helpers import table_tests

from utils import checks
from utils.generation.diagnostics import perplexity
from utils.generation.quantise import nearest

# ---- what is left, level by level ----


def codes_of_the_course(vectors, codebooks):
    rest, table = vectors, []
    for book in codebooks:
        table.append(nearest(rest, book))
        rest = rest - book[table[-1]]
    return np.stack(table, axis=1)


def codes_by_loop(vectors, codebooks):
    table = []
    for vector in vectors.tolist():
        row = []
        for book in codebooks:
            far = [sum((a - b) ** 2 for a, b in zip(vector, code)) for code in book.tolist()]
            row.append(far.index(min(far)))
            vector = [a - b for a, b in zip(vector, book[row[-1]])]
        table.append(row)
    return table


def codes_in_torch(vectors, codebooks):
    rest, table = torch.from_numpy(vectors).float(), []
    for book in map(torch.from_numpy, codebooks):
        found = torch.cdist(rest, book.float()).argmin(dim=1)
        rest = rest - book.float()[found]
        table.append(found)
    return torch.stack(table, dim=1)


def codes_with_a_slip(vectors, codebooks, rest_after=None, far=None):
    rest, table = vectors.copy(), []
    for book in codebooks:
        distances = far(rest, book) if far else np.linalg.norm(rest[:, None] - book[None], axis=2)
        table.append(distances.argmin(axis=1))
        rest = rest_after(rest, book[table[-1]])
    return np.array(table).T


def minus(rest, found):
    return rest - found


def vector_at_each_level(vectors, codebooks):
    return codes_with_a_slip(vectors, codebooks, lambda rest, found: rest)


def adds_the_row(vectors, codebooks):
    return codes_with_a_slip(vectors, codebooks, lambda rest, found: rest + found)


def turned_rest(vectors, codebooks):
    return codes_with_a_slip(vectors, codebooks, lambda rest, found: found - rest)


def forgets_earlier_rows(vectors, codebooks):
    return codes_with_a_slip(vectors, codebooks, lambda rest, found: vectors - found)


def farthest_row(vectors, codebooks):
    return codes_with_a_slip(vectors, codebooks, minus, lambda a, b: -np.linalg.norm(a[:, None] - b, axis=2))


def inner_product(vectors, codebooks):
    return codes_with_a_slip(vectors, codebooks, minus, lambda a, b: -a @ b.T)


def cosine(vectors, codebooks):
    return codes_with_a_slip(vectors, codebooks, minus, lambda a, b: -a @ (b / np.linalg.norm(b, axis=1)[:, None]).T)


def absolute(vectors, codebooks):
    return codes_with_a_slip(vectors, codebooks, minus, lambda a, b: abs(a[:, None] - b).sum(-1))


def first_book_only(vectors, codebooks):
    return codes_with_a_slip(vectors, [codebooks[0] for _ in codebooks], minus)


def counts_from_one(vectors, codebooks):
    return codes_of_the_course(vectors, codebooks) + 1


def table_turned_round(vectors, codebooks):
    return codes_of_the_course(vectors, codebooks).T


def returns_what_is_left(vectors, codebooks):
    return vectors - codebooks[0][nearest(vectors, codebooks[0])]


def one_vocabulary(vectors, codebooks):
    starts = np.cumsum([0] + [len(book) for book in codebooks])[:-1]
    return codes_of_the_course(vectors, codebooks) + starts[None]


def changes_the_vectors(vectors, codebooks):
    table = []
    for book in codebooks:
        table.append(nearest(vectors, book))
        vectors -= book[table[-1]]
    return np.stack(table, axis=1)


# ---- perplexity ----


def perplexity_of_the_course(codes, n_codes):
    return perplexity(codes)


def perplexity_by_counting(codes, n_codes):
    shares = [count / len(codes) for count in Counter(codes.tolist()).values()]
    return math.prod(share**-share for share in shares)


def perplexity_in_bits(codes, n_codes):
    shares = np.bincount(codes, minlength=n_codes) / len(codes)
    return 2 ** -sum(share * np.log2(share) for share in shares if share)


def perplexity_in_torch(codes, n_codes):
    return torch.distributions.Categorical(
        torch.bincount(torch.from_numpy(codes), minlength=n_codes) + 0.0
    ).perplexity()


def shares_of(codes):
    return np.unique(codes, return_counts=True)[1] / len(codes)


def entropy_only(codes, n_codes):
    return -(shares_of(codes) * np.log(shares_of(codes))).sum()


def bits_only(codes, n_codes):
    return -(shares_of(codes) * np.log2(shares_of(codes))).sum()


def exp_of_bits(codes, n_codes):
    return np.exp(bits_only(codes, n_codes))


def no_minus(codes, n_codes):
    return np.exp(-entropy_only(codes, n_codes))


def usage(codes, n_codes):
    return len(set(codes.tolist())) / n_codes


def used(codes, n_codes):
    return len(set(codes.tolist()))


def zeros_give_nan(codes, n_codes):
    shares = np.bincount(codes, minlength=n_codes) / len(codes)
    return np.exp(-(shares * np.log(shares)).sum())


def as_a_share(codes, n_codes):
    return perplexity(codes) / n_codes


def squared_shares(codes, n_codes):
    return 1 / (shares_of(codes) ** 2).sum()


def smoothed(codes, n_codes):
    shares = (np.bincount(codes, minlength=n_codes) + 1) / (len(codes) + n_codes)
    return np.exp(-(shares * np.log(shares)).sum())


def zero_when_collapsed(codes, n_codes):
    return perplexity(codes) if len(set(codes.tolist())) > 1 else 0


def a_number_for_each_code(codes, n_codes):
    return np.bincount(codes, minlength=n_codes) / len(codes)


# ---- items that share an id ----


def sharing_by_unique(codes):
    counts = np.unique(codes, axis=0, return_counts=True)[1]
    return counts[counts > 1].sum()


def sharing_by_loop(codes):
    rows = [tuple(row) for row in codes.tolist()]
    return sum(rows.count(row) > 1 for row in rows)


def sharing_in_pandas(codes):
    return pd.DataFrame(codes).duplicated(keep=False).sum()


def sharing_by_comparing(codes):
    same = (torch.from_numpy(codes)[:, None] == torch.from_numpy(codes)).all(dim=2)
    return (same.sum(dim=1) > 1).sum()


def sharing_by_words(codes):
    counts = Counter("-".join(map(str, row)) for row in codes)
    return sum(count for count in counts.values() if count > 1)


def counts_groups(codes):
    return (np.unique(codes, axis=0, return_counts=True)[1] > 1).sum()


def all_but_the_first(codes):
    return pd.DataFrame(codes).duplicated().sum()


def counts_pairs(codes):
    same = (codes[:, None] == codes).all(axis=2)
    return np.triu(same, 1).sum()


def next_row_only(codes):
    return sum(np.array_equal(a, b) for a, b in zip(codes, codes[1:]))


def by_level(codes):
    return sum(sharing_by_unique(codes[:, [level]]) for level in range(codes.shape[1]))


def first_level(codes):
    return sharing_by_unique(codes[:, :1])


def last_level(codes):
    return sharing_by_unique(codes[:, -1:])


def glued(codes):
    counts = Counter("".join(map(str, row)) for row in codes)
    return sum(count for count in counts.values() if count > 1)


def as_sets(codes):
    counts = Counter(tuple(sorted(row)) for row in codes.tolist())
    return sum(count for count in counts.values() if count > 1)


def cells_are_enough(codes):
    n_cells = np.prod([len(codes)] * codes.shape[1])
    return 0 if n_cells > len(codes) else len(codes)


def alone(codes):
    return len(codes) - sharing_by_unique(codes)


def share_of_items(codes):
    return sharing_by_unique(codes) / len(codes)


def a_flag_for_each_item(codes):
    return pd.DataFrame(codes).duplicated(keep=False)


# ---- a target held out ----


def held_out_as_in_the_course(histories, places):
    items = histories.gather(1, places[:, None])[:, 0]
    return histories.masked_fill(histories == items[:, None], -1), items


def held_out_by_loop(histories, places):
    left, items = [], []
    for row, place in zip(histories.tolist(), places.tolist()):
        items.append(row[place])
        left.append([-1 if item == row[place] else item for item in row])
    return left, items


def held_out_in_numpy(histories, places):
    histories, places = histories.numpy(), places.numpy()
    items = histories[np.arange(len(places)), places]
    return np.where(histories == items[:, None], -1, histories), items


def target_left_in(histories, places):
    return histories, histories[torch.arange(len(places)), places]


def one_place_only(histories, places):
    left, rows = histories.clone(), torch.arange(len(places))
    left[rows, places] = -1
    return left, histories[rows, places]


def what_came_before(histories, places):
    before = torch.arange(histories.shape[1]) < places[:, None]
    return torch.where(before, histories, -1), histories[torch.arange(len(places)), places]


def emptied_with_zero(histories, places):
    items = histories[torch.arange(len(places)), places]
    return torch.where(histories == items[:, None], 0, histories), items


def newest(histories, places):
    return held_out_as_in_the_course(histories, torch.full_like(places, histories.shape[1] - 1))


def one_to_the_left(histories, places):
    return held_out_as_in_the_course(histories, places - 1 + (places == 0) * histories.shape[1])


def out_of_every_history(histories, places):
    items = histories[torch.arange(len(places)), places]
    return torch.where(torch.isin(histories, items), -1, histories), items


def only_the_target_stays(histories, places):
    items = histories[torch.arange(len(places)), places]
    return torch.where(histories == items[:, None], histories, -1), items


def parts_exchanged(histories, places):
    return held_out_as_in_the_course(histories, places)[::-1]


def all_places_of_all(histories, places):
    return histories, histories[:, places]


def cut_out(histories, places):
    keep = torch.arange(histories.shape[1]) != places[:, None]
    return histories[keep].view(len(places), -1), histories[torch.arange(len(places)), places]


def an_empty_target(histories, places):
    left, items = held_out_as_in_the_course(histories, places)
    return left, torch.where(items == items[0], -1, items)


def history_only(histories, places):
    return held_out_as_in_the_course(histories, places)[0]


RIGHT = {
    checks.residual_codes: [codes_of_the_course, codes_by_loop, codes_in_torch],
    checks.level_perplexity: [perplexity_of_the_course, perplexity_by_counting, perplexity_in_bits, perplexity_in_torch],
    checks.sharing_items: [sharing_by_unique, sharing_by_loop, sharing_in_pandas, sharing_by_comparing, sharing_by_words],
    checks.held_out_items: [held_out_as_in_the_course, held_out_by_loop, held_out_in_numpy],
}  # fmt: skip
WRONG = {
    checks.residual_codes: {
        vector_at_each_level: "quantises the vector itself",
        adds_the_row: "subtract it",
        turned_rest: "sign of what is left",
        forgets_earlier_rows: "forget the earlier ones",
        farthest_row: "farthest row",
        inner_product: "inner product",
        cosine: "cosine",
        absolute: "absolute differences",
        first_book_only: "first codebook",
        counts_from_one: "count from 0",
        table_turned_round: "turned round",
        returns_what_is_left: "you return vectors",
        one_vocabulary: "each level counts from 0",
        changes_the_vectors: "changed the input `vectors`",
    },
    checks.level_perplexity: {
        entropy_only: "this is the entropy: take `exp`",
        bits_only: "entropy in bits",
        exp_of_bits: "do not fit",
        no_minus: "sign is turned",
        usage: "this is the usage",
        used: "number of codes that occur",
        zeros_give_nan: "0 times the logarithm of 0",
        as_a_share: "share of all codes",
        squared_shares: "square the shares",
        smoothed: "add one to each count",
        zero_when_collapsed: "a collapsed codebook: its perplexity is 1, and you return 0.0000",
        a_number_for_each_code: "one number",
    },
    checks.sharing_items: {
        counts_groups: "count the items",
        all_but_the_first: "leave out the first",
        counts_pairs: "you count pairs",
        next_row_only: "neighbours in the table",
        by_level: "level by level",
        first_level: "first level only",
        last_level: "last level only",
        glued: "both 111",
        as_sets: "sort the tokens",
        cells_are_enough: "more cells than items prevents nothing",
        alone: "id of their own",
        share_of_items: "this is a share",
        a_flag_for_each_item: "a number for each item",
    },
    checks.held_out_items: {
        target_left_in: "by copying",
        one_place_only: "from its other place",
        what_came_before: "a set has no order",
        emptied_with_zero: "0 is an item",
        newest: "last place of each history",
        one_to_the_left: "places count from 0",
        out_of_every_history: "its own target",
        only_the_target_stays: "other way round",
        parts_exchanged: "parts are exchanged",
        all_places_of_all: "one place of each row",
        cut_out: "write -1 where the item was",
        an_empty_target: "one of your targets is -1",
        history_only: "return two parts",
    },
}
test_right_answers_pass, test_the_mistake_is_named, test_five_mistakes_at_least_for_every_check = table_tests(
    RIGHT, WRONG
)
