"""Notebook 13, beams, pictures and guidance: right answers in three forms, wrong ones, and all slips that a check knows."""

import itertools

import numpy as np
import pytest
import torch
from exercise_helpers import stub, table_tests

from utils import checks
from utils.checks import c13, c13_ids, c13_lists, c13_pictures
from utils.generation.composed import best

# ---- one step of a beam ----


def beam_in_torch(scores, log_probs, allowed, n_beams):
    grown = (scores[:, :, None] + log_probs).masked_fill(~allowed, -torch.inf)
    values, places = grown.flatten(1).topk(n_beams, dim=1)
    return places // log_probs.shape[2], places % log_probs.shape[2], values


def beam_by_loop(scores, log_probs, allowed, n_beams):
    found = []
    for row in range(len(scores)):
        grown = [
            (float(scores[row, parent] + log_probs[row, parent, token]), parent, token)
            for parent, token in np.argwhere(allowed[row].numpy())
        ]
        found.append(sorted(grown, reverse=True)[:n_beams])
    return [[[part[which] for part in row] for row in found] for which in (1, 2, 0)]


def beam_in_numpy(scores, log_probs, allowed, n_beams):
    grown = np.where(allowed, scores.numpy()[:, :, None] + log_probs.numpy(), -1e9)
    places = np.argsort(-grown.reshape(len(grown), -1), axis=1)[:, :n_beams]
    parents, tokens = np.unravel_index(places, grown.shape[1:])
    return parents, tokens, np.take_along_axis(grown.reshape(len(grown), -1), places, 1)


def picked(table, n_beams, scores_from=None, largest=True):
    values, places = table.flatten(1).topk(n_beams, dim=1, largest=largest)
    if scores_from is not None:
        values = scores_from.flatten(1).gather(1, places)
    return places // table.shape[2], places % table.shape[2], values


def step_alone(scores, log_probs, allowed, n_beams):
    return picked(log_probs.masked_fill(~allowed, -torch.inf), n_beams)


def step_alone_then_sum(scores, log_probs, allowed, n_beams):
    return picked(log_probs.masked_fill(~allowed, -torch.inf), n_beams, scores[:, :, None] + log_probs)


def score_of_the_step(scores, log_probs, allowed, n_beams):
    return picked((scores[:, :, None] + log_probs).masked_fill(~allowed, -torch.inf), n_beams, log_probs)


def no_trie(scores, log_probs, allowed, n_beams):
    return picked(scores[:, :, None] + log_probs, n_beams)


def turned_trie(scores, log_probs, allowed, n_beams):
    return beam_in_torch(scores, log_probs, ~allowed, n_beams)


def forbidden_is_zero(scores, log_probs, allowed, n_beams):
    return picked((scores[:, :, None] + log_probs) * allowed, n_beams)


def forbidden_step_is_zero(scores, log_probs, allowed, n_beams):
    return picked(scores[:, :, None] + log_probs * allowed, n_beams)


def normalised_anew(scores, log_probs, allowed, n_beams):
    return picked(scores[:, :, None] + log_probs.masked_fill(~allowed, -torch.inf).log_softmax(2), n_beams)


def best_of_each(scores, log_probs, allowed, n_beams):
    values, tokens = (scores[:, :, None] + log_probs).masked_fill(~allowed, -torch.inf).max(dim=2)
    order = values.argsort(dim=1, descending=True)[:, :n_beams]
    return order, tokens.gather(1, order), values.gather(1, order)


def several_of_each(scores, log_probs, allowed, n_beams):
    values, tokens = (scores[:, :, None] + log_probs).masked_fill(~allowed, -torch.inf).topk(n_beams, dim=2)
    return tokens, tokens, values


def multiplied(scores, log_probs, allowed, n_beams):
    return picked((scores[:, :, None] * log_probs).masked_fill(~allowed, -torch.inf), n_beams)


def probabilities(scores, log_probs, allowed, n_beams):
    parents, tokens, values = beam_in_torch(scores, log_probs, allowed, n_beams)
    return parents, tokens, values.exp()


def worst(scores, log_probs, allowed, n_beams):
    return picked((scores[:, :, None] + log_probs).masked_fill(~allowed, torch.inf), n_beams, largest=False)


def sorted_upwards(scores, log_probs, allowed, n_beams):
    return picked((scores[:, :, None] + log_probs).masked_fill(~allowed, -torch.inf), n_beams, largest=False)


def best_last(scores, log_probs, allowed, n_beams):
    return tuple(part.flip(1) for part in beam_in_torch(scores, log_probs, allowed, n_beams))


def divided_by_beams(scores, log_probs, allowed, n_beams):
    values, places = (scores[:, :, None] + log_probs).masked_fill(~allowed, -torch.inf).flatten(1).topk(n_beams, dim=1)
    return places // scores.shape[1], places % scores.shape[1], values


def exchanged(scores, log_probs, allowed, n_beams):
    parents, tokens, values = beam_in_torch(scores, log_probs, allowed, n_beams)
    return tokens, parents, values


def flat_tokens(scores, log_probs, allowed, n_beams):
    parents, tokens, values = beam_in_torch(scores, log_probs, allowed, n_beams)
    return parents, parents * log_probs.shape[2] + tokens, values


def tokens_only(scores, log_probs, allowed, n_beams):
    return beam_in_torch(scores, log_probs, allowed, n_beams)[1]


# ---- a search without the reference ----


def search_of_the_course(queries, gallery, references, top_k):
    return best(queries, gallery, references, top_k)


def search_by_loop(queries, gallery, references, top_k):
    found = []
    for query, own in zip(queries, references.tolist()):
        scores = {place: float(query @ picture) for place, picture in enumerate(gallery) if place != own}
        found.append(sorted(scores, key=scores.get, reverse=True)[:top_k])
    return found


def search_by_distance(queries, gallery, references, top_k):
    far = np.linalg.norm(queries.numpy()[:, None] - gallery.numpy(), axis=2)
    far[np.arange(gallery.shape[0]) == references.numpy()[:, None]] = np.inf
    return far.argsort(axis=1)[:, :top_k]


def reference_stays(queries, gallery, references, top_k):
    return (queries @ gallery.T).topk(top_k, dim=1).indices


def last_is_left_out(queries, gallery, references, top_k):
    scores = queries @ gallery.T
    scores[torch.arange(len(queries)), references] = -torch.inf
    return scores.topk(top_k, dim=1).indices


def first_is_dropped(queries, gallery, references, top_k):
    return (queries @ gallery.T).topk(top_k + 1, dim=1).indices[:, 1:]


def set_to_zero(queries, gallery, references, top_k):
    own = torch.arange(len(gallery)) == references[:, None]
    return ((queries @ gallery.T) * ~own).topk(top_k, dim=1).indices


def all_references_go(queries, gallery, references, top_k):
    gone = torch.isin(torch.arange(len(gallery)), references)
    return (queries @ gallery.T).masked_fill(gone, -torch.inf).topk(top_k, dim=1).indices


def farthest_pictures(queries, gallery, references, top_k):
    own = torch.arange(len(gallery)) == references[:, None]
    return (queries @ gallery.T).masked_fill(own, torch.inf).argsort(dim=1)[:, :top_k]


def own_row_goes(queries, gallery, references, top_k):
    return (queries @ gallery.T).fill_diagonal_(-torch.inf).topk(top_k, dim=1).indices


def places_have_moved(queries, gallery, references, top_k):
    found = []
    for query, own in zip(queries, references.tolist()):
        rest = [place for place in range(len(gallery)) if place != own]
        found.append((gallery[rest] @ query).topk(top_k).indices)
    return torch.stack(found)


def picture_alone(queries, gallery, references, top_k):
    return best(gallery[references], gallery, references, top_k)


def cosines(queries, gallery, references, top_k):
    own = torch.arange(len(gallery)) == references[:, None]
    return (queries @ gallery.T).masked_fill(own, -torch.inf).topk(top_k, dim=1).values


def whole_list(queries, gallery, references, top_k):
    return best(queries, gallery, references, len(gallery))


def by_columns(queries, gallery, references, top_k):
    return best(queries, gallery, references, top_k).T


# ---- guidance ----


def guided_by_formula(told, untold, weight):
    return (1 + weight) * told - weight * untold


def guided_by_difference(told, untold, weight):
    return (told + weight * (told - untold)).numpy()


def guided_by_loop(told, untold, weight):
    out = [a + weight * (a - b) for a, b in zip(told.flatten().tolist(), untold.flatten().tolist())]
    return np.array(out).reshape(told.shape)


def guided_by_lerp(told, untold, weight):
    return torch.lerp(untold, told, 1 + weight)


def weighted_mean(told, untold, weight):
    return weight * told + (1 - weight) * untold


def other_mean(told, untold, weight):
    return (1 - weight) * told + weight * untold


def plus_untold(told, untold, weight):
    return (1 + weight) * told + weight * untold


def backwards(told, untold, weight):
    return (1 + weight) * untold - weight * told


def weighs_the_sum(told, untold, weight):
    return weight * (told + untold)


def weighs_all(told, untold, weight):
    return (1 + weight) * (told - untold)


def difference_only(told, untold, weight):
    return weight * (told - untold)


def no_untold(told, untold, weight):
    return (1 + weight) * told


def untold_whole(told, untold, weight):
    return (1 + weight) * told - untold


def not_guided(told, untold, weight):
    return told


def cut(told, untold, weight):
    return guided_by_formula(told, untold, weight).clip(-1, 1)


def one_number(told, untold, weight):
    return guided_by_formula(told, untold, weight).mean()


RIGHT = {
    checks.beam_step: [beam_in_torch, beam_by_loop, beam_in_numpy],
    checks.search_without_reference: [search_of_the_course, search_by_loop, search_by_distance],
    checks.guided_noise: [guided_by_formula, guided_by_difference, guided_by_loop, guided_by_lerp],
}
WRONG = {
    checks.beam_step: {
        step_alone: "rank by the step alone",
        step_alone_then_sum: "rank by the step alone",
        score_of_the_step: "that of the last step",
        no_trie: "the trie is ignored",
        turned_trie: "`allowed` is turned round",
        forbidden_is_zero: "a probability of 1",
        forbidden_step_is_zero: "a probability of 1",
        normalised_anew: "normalise anew",
        best_of_each: "each beam keeps its best token",
        several_of_each: "the continuations of all beams compete",
        multiplied: "log-probabilities are added",
        probabilities: "stay logarithms",
        worst: "worst continuations",
        sorted_upwards: "minus infinity comes last",
        best_last: "best first",
        divided_by_beams: "number of beams",
        exchanged: "parents and tokens are exchanged",
        flat_tokens: "flat places",
        tokens_only: "return three parts",
    },
    checks.search_without_reference: {
        reference_stays: "the reference is still in the gallery",
        last_is_left_out: "as an index it is the last picture",
        first_is_dropped: "you drop the first place",
        set_to_zero: "negative cosine",
        all_references_go: "every reference is left out for every query",
        farthest_pictures: "these are the farthest pictures",
        own_row_goes: "picture k for query k",
        places_have_moved: "count in the whole gallery",
        picture_alone: "the picture alone",
        cosines: "these are the cosines",
        whole_list: "keep the best 4",
        by_columns: "a row is a query",
    },
    checks.guided_noise: {
        weighted_mean: "this is the weighted mean",
        other_mean: "away from the condition",
        plus_untold: "subtract it",
        backwards: "exchanged",
        weighs_the_sum: "both parts alike",
        weighs_all: "both parts alike",
        difference_only: "weighted difference alone",
        no_untold: "whole noise grows",
        untold_whole: "add up to 1",
        not_guided: "plays no part",
        cut: "you cut the noise",
        one_number: "shape ()",
    },
}
test_right_answers_pass, test_the_mistake_is_named, test_five_mistakes_at_least_for_every_check = table_tests(
    RIGHT, WRONG
)


# ---- every slip of the tables, and what is no answer ----

TABLES = {
    checks.residual_codes: (c13_ids.code_cases, c13_ids.residual, c13_ids.CODES),
    checks.level_perplexity: (c13_ids.perplexity_cases, c13_ids.perplexity, c13_ids.PERPLEXITY),
    checks.sharing_items: (c13_ids.sharing_cases, c13_ids.sharing, c13_ids.SHARING),
    checks.held_out_items: (c13_lists.held_out_cases, c13_lists.held_out, c13_lists.HELD_OUT),
    checks.beam_step: (c13_lists.beam_cases, c13_lists.beam, c13_lists.BEAM),
    checks.search_without_reference: (c13_pictures.search_cases, c13_pictures.search, c13_pictures.SEARCH),
    checks.guided_noise: (c13_pictures.guidance_cases, c13_pictures.guided, c13_pictures.GUIDED),
}
SLIPS = [
    (check, text, wrong) for check, (_, _, slips) in TABLES.items() for text, all_ in slips.items() for wrong in all_
]
every_check = pytest.mark.parametrize("check", TABLES, ids=lambda check: check.__name__)


@pytest.mark.parametrize(
    ("check", "text", "wrong"), SLIPS, ids=[f"{c.__name__}-{n}" for n, (c, _, _) in enumerate(SLIPS)]
)
def test_every_slip_gets_its_own_sentence(check, text, wrong):
    verdict = check(lambda *given: wrong(*given))
    assert verdict.passed is False and verdict.message == text


def test_every_exercise_is_on_the_list_of_the_notebook():
    assert set(TABLES) == {getattr(checks, name) for name in c13.__all__}
    assert all(len(slips) >= 8 for _, _, slips in TABLES.values())


@every_check
def test_what_is_no_answer_gets_a_sentence(check):
    cases, right, _ = TABLES[check]
    value = right(*cases()[0])
    assert "hand over the function itself" in check(value).message
    assert check(stub).passed is None and check(None).passed is None
    assert check(lambda *given: None).passed is None  # nothing is returned
    for odd in ("text", object(), {"a": 1}, np.zeros((2, 3, 4, 5, 6)), float("nan"), (1, "x"), []):
        verdict = check(lambda *given, odd=odd: odd)
        assert verdict.passed is False and verdict.message, odd
    assert "ZeroDivisionError" in check(lambda *given: 1 / 0).message


@every_check
def test_right_on_the_first_case_only_does_not_pass(check):
    """No answer may pass by knowing one case: the last case alone is enough to fail."""
    cases, right, slips = TABLES[check]
    number, wrong = itertools.count(), next(iter(slips.values()))[0]

    def tired(*given):
        return wrong(*given) if next(number) else right(*given)

    assert check(tired).passed is False


def test_nothing_depends_on_ties():
    """The best and the second best are apart in every case by far more than float32 can lose."""
    for vectors, codebooks in c13_ids.code_cases():
        rest = vectors
        for book in codebooks:
            far = np.sort(((rest[:, None] - book) ** 2).sum(2), axis=1)
            assert (far[:, 1] - far[:, 0]).min() > 1e-3
            rest = rest - book[((rest[:, None] - book) ** 2).sum(2).argmin(1)]
    for scores, log_probs, allowed, n_beams in c13_lists.beam_cases():
        grown = (scores[:, :, None] + log_probs).masked_fill(~allowed, -torch.inf).flatten(1)
        assert (
            min(allowed.flatten(1).sum(1).min(), (~allowed).flatten(1).sum(1).min()) >= n_beams and allowed.any(2).all()
        )
        values = grown.sort(dim=1, descending=True).values[:, : n_beams + 1]
        assert (values[:, :-1] - values[:, 1:]).min() > 1e-3
    for queries, gallery, _, _ in c13_pictures.search_cases():
        values = (queries @ gallery.T).sort(dim=1, descending=True).values
        assert (values[:, :-1] - values[:, 1:]).min() > 3e-4
