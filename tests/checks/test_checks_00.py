"""The checks of notebook 00 pass right answers in any style, and name the mistakes that learners make."""

import numpy as np
import torch
from exercise_helpers import table_tests

from utils import checks

# ---- exercise 1 ----


def profile(vectors, liked):
    return vectors[liked].mean(axis=0)


def profile_by_a_loop(vectors, liked):
    return [sum(vectors[i][d] for i in liked) / len(liked) for d in range(vectors.shape[1])]


def profile_in_torch(vectors, liked):
    return torch.tensor(vectors, dtype=torch.float32)[torch.as_tensor(liked)].mean(0)


def over_the_columns(vectors, liked):
    return vectors[liked].mean(axis=1)


def over_everything(vectors, liked):
    return vectors[liked].mean()


def all_items(vectors, liked):
    return vectors.mean(axis=0)


def only_summed(vectors, liked):
    return vectors[liked].sum(axis=0)


def by_all_items(vectors, liked):
    return vectors[liked].sum(axis=0) / len(vectors)


def not_liked(vectors, liked):
    return np.delete(vectors, liked, axis=0).mean(axis=0)


def counted_from_one(vectors, liked):
    return vectors[liked + 1].mean(axis=0)


def the_last_one(vectors, liked):
    return vectors[liked[-1]]


def the_median(vectors, liked):
    return np.median(vectors[liked], axis=0)


def of_length_one(vectors, liked):
    return profile(vectors, liked) / np.linalg.norm(profile(vectors, liked))


def mean_of_unit_rows(vectors, liked):
    return profile(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), liked)


# ---- exercise 2 ----


def cosine(vectors, profile):
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(profile)
    return vectors @ profile / np.maximum(lengths, 1e-12)


def cosine_by_a_loop(vectors, profile):
    def one(row):
        lengths = sum(x * x for x in row) ** 0.5 * sum(x * x for x in profile) ** 0.5
        return sum(x * y for x, y in zip(row, profile)) / lengths if lengths else 0.0

    return [one(row) for row in vectors]


def cosine_in_torch(vectors, profile):
    return torch.cosine_similarity(torch.tensor(vectors).float(), torch.tensor(profile).float()[None])


def inner_product(vectors, profile):
    return vectors @ profile


def zero_over_zero(vectors, profile):
    return vectors @ profile / np.linalg.norm(vectors, axis=1) / np.linalg.norm(profile)


def profile_length_forgotten(vectors, profile):
    return cosine(vectors, profile) * np.linalg.norm(profile)


def item_lengths_forgotten(vectors, profile):
    return vectors @ profile / np.linalg.norm(profile)


def distance(vectors, profile):
    return 1 - cosine(vectors, profile)


def minus_the_cosine(vectors, profile):
    return -cosine(vectors, profile)


def lengths_of_columns(vectors, profile):
    return vectors @ profile / np.linalg.norm(vectors, axis=0) / np.linalg.norm(profile)


def length_of_the_matrix(vectors, profile):
    return vectors @ profile / np.linalg.norm(vectors) / np.linalg.norm(profile)


def without_the_root(vectors, profile):
    return vectors @ profile / np.maximum((vectors**2).sum(axis=1) * (profile**2).sum(), 1e-12)


def correlation(vectors, profile):
    return cosine(vectors - vectors.mean(axis=1, keepdims=True), profile - profile.mean())


def absolute_sums(vectors, profile):
    return vectors @ profile / np.maximum(np.abs(vectors).sum(1) * np.abs(profile).sum(), 1e-12)


def zero_row_gets_one(vectors, profile):
    return np.where((vectors == 0).all(axis=1), 1, cosine(vectors, profile))


# ---- exercise 3 ----


def top_k(scores, taken, k):
    scores = scores.copy()
    scores[taken] = -np.inf
    return np.argsort(-scores, kind="stable")[:k]


def top_k_by_a_loop(scores, taken, k):
    return sorted((i for i in range(len(scores)) if i not in taken), key=lambda i: -scores[i])[:k]


def top_k_in_torch(scores, taken, k):
    scores = torch.tensor(scores)
    return scores.index_fill(0, torch.as_tensor(taken), -torch.inf).topk(k).indices


def in_place(scores, taken, k):
    scores[taken] = -np.inf
    return np.argsort(-scores)[:k]


def mask_forgotten(scores, taken, k):
    return np.argsort(-scores)[:k]


def mask_of_zeros(scores, taken, k):
    scores = scores.copy()
    scores[taken] = 0
    return np.argsort(-scores)[:k]


def deleted_first(scores, taken, k):
    return np.argsort(-np.delete(scores, taken))[:k]


def cut_first(scores, taken, k):
    best = np.argsort(-scores)[:k]
    return best[~np.isin(best, taken)]


def ascending(scores, taken, k):
    return [i for i in np.argsort(scores) if i not in taken][:k]


def ascending_and_masked(scores, taken, k):
    return np.argsort(np.where(np.isin(np.arange(len(scores)), taken), -np.inf, scores))[:k]


def worst_of_the_best_first(scores, taken, k):
    return top_k(scores, taken, k)[::-1]


def the_scores(scores, taken, k):
    return scores[top_k(scores, taken, k)]


def one_too_many(scores, taken, k):
    return top_k(scores, taken, k + 1)


def first_place_skipped(scores, taken, k):
    return top_k(scores, taken, k + 1)[1:]


def scores_and_places(scores, taken, k):
    best = top_k(scores, taken, k)
    return torch.tensor(scores[best]), torch.tensor(best)


def not_sorted(scores, taken, k):
    return np.argpartition(np.where(np.isin(np.arange(len(scores)), taken), np.inf, -scores), k)[:k]


def not_sorted_in_torch(scores, taken, k):
    return torch.tensor(scores).index_fill(0, torch.as_tensor(taken), -torch.inf).topk(k, sorted=False).indices


def sorted_up_to_256_places(scores, taken, k):
    """What np.argpartition returns where the processor sorts 256 places at once, written out for all of them."""
    best = top_k(scores, taken, k)
    return np.concatenate([best[start : start + 256] for start in range(0, k, 256)][::-1])


# ---- bonus ----


def reason(vectors, liked, item):
    return liked[np.argmax(cosine(vectors[liked], vectors[item]))]


def reason_by_a_loop(vectors, liked, item):
    return max(liked.tolist(), key=lambda i: cosine(vectors[[i]], vectors[item])[0])


def reason_in_torch(vectors, liked, item):
    unit = torch.nn.functional.normalize(torch.tensor(vectors).float(), dim=1)
    return torch.as_tensor(liked)[(unit[liked] @ unit[item]).argmax()]


def the_item_itself(vectors, liked, item):
    return cosine(vectors, vectors[item]).argmax()


def anything_in_the_shop(vectors, liked, item):
    scores = cosine(vectors, vectors[item])
    scores[item] = -np.inf
    return scores.argmax()


def place_among_the_liked(vectors, liked, item):
    return np.argmax(cosine(vectors[liked], vectors[item]))


def reason_by_inner_product(vectors, liked, item):
    return liked[np.argmax(vectors[liked] @ vectors[item])]


def reason_by_distance(vectors, liked, item):
    return liked[np.argmin(np.linalg.norm(vectors[liked] - vectors[item], axis=1))]


def least_similar(vectors, liked, item):
    return liked[np.argmin(cosine(vectors[liked], vectors[item]))]


def the_cosine(vectors, liked, item):
    return cosine(vectors[liked], vectors[item]).max()


def whole_ranking(vectors, liked, item):
    return liked[np.argsort(-cosine(vectors[liked], vectors[item]))]


RIGHT = {
    checks.user_profile: [profile, profile_by_a_loop, profile_in_torch],
    checks.cosine_scores: [cosine, cosine_by_a_loop, cosine_in_torch],
    checks.top_k_list: [top_k, top_k_by_a_loop, top_k_in_torch],
    checks.reason_item: [reason, reason_by_a_loop, reason_in_torch],
}
WRONG = {
    checks.user_profile: {
        over_the_columns: "over the columns",
        over_everything: "to one number",
        all_items: "all items of the shop",
        only_summed: "you summed",
        by_all_items: "number of all items",
        not_liked: "not liked",
        counted_from_one: "shifted by one",
        the_last_one: "one liked item only",
        the_median: "median",
        of_length_one: "length 1",
        mean_of_unit_rows: "each item to length 1",
    },
    checks.cosine_scores: {
        inner_product: "inner product",
        zero_over_zero: "NaN",
        profile_length_forgotten: "not by the profile's",
        item_lengths_forgotten: "not by the items'",
        distance: "distance",
        minus_the_cosine: "sign is wrong",
        lengths_of_columns: "wrong axis",
        length_of_the_matrix: "whole matrix",
        without_the_root: "square root",
        correlation: "correlation",
        absolute_sums: "absolute values",
        zero_row_gets_one: "for row 2",
    },
    checks.top_k_list: {
        in_place: "changed the input `scores` in place",
        mask_forgotten: "taken already",
        mask_of_zeros: "score 0",
        deleted_first: "moved by one",
        cut_first: "cut the list first",
        ascending: "worst items",
        ascending_and_masked: "worst items",
        worst_of_the_best_first: "wrong order",
        the_scores: "returned scores",
        one_too_many: "4 places",
        first_place_skipped: "skip the best",
        not_sorted: "wrong order",
        not_sorted_in_torch: "wrong order",
        sorted_up_to_256_places: "np.argpartition finds the best",
        scores_and_places: "scores and positions",
    },
    checks.reason_item: {
        the_item_itself: "explains itself",
        anything_in_the_shop: "never took",
        place_among_the_liked: "place in `liked`",
        reason_by_inner_product: "inner product",
        reason_by_distance: "by distance",
        least_similar: "least similar",
        the_cosine: "cosine itself",
        whole_ranking: "one item",
    },
}


test_right, test_wrong, test_five = table_tests(RIGHT, WRONG)
