"""utils.pretraining.closed: EASE and iALS of a history against the course's models and against dense formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretraining_helpers import make_sequences, walks
from training_helpers import make_features

from utils.errors import CourseError
from utils.models.ease import EASE
from utils.models.ials import IALS
from utils.pretraining import closed
from utils.pretraining.closed import DECAYS, SOLVED, FoldedIn, LinearVotes, closed_form, closed_forms, taken
from utils.pretraining.next_item import evaluate_next, next_items

HISTORIES = np.array([[-1, 2, 5, 2], [0, 1, 3, 4], [-1, -1, -1, 3]])


@pytest.fixture(scope="module")
def log():
    return walks(80, 20, noise=0.5)


def weights_of(history, n_items, decay):
    """(n_items,) decay^age, an item counts where it is newest: by a plain loop."""
    row = np.zeros(n_items)
    for age, item in enumerate(history[::-1]):
        if item >= 0 and not row[item]:
            row[item] = decay**age
    return row


@pytest.mark.parametrize("decay", [0.0, 0.6, 1.0])
def test_a_history_as_a_row_counts_each_item_once_where_it_is_newest(decay):
    expected = [weights_of(history, 6, decay) for history in HISTORIES]
    assert np.allclose(taken(HISTORIES, 6, decay).toarray(), expected)
    assert taken(np.full((2, 3), -1), 6, decay).toarray().tolist() == [[0] * 6] * 2


@pytest.mark.parametrize("kind, asked", [(EASE, LinearVotes), (IALS, FoldedIn)])
def test_the_history_of_a_known_user_gets_the_models_own_scores(kind, asked, log):
    model, users = kind(log.split), np.arange(80)
    found = asked(model, 20).score_histories(log.padded(users, 20))
    assert found.dtype == torch.float32 and torch.allclose(found, model.score(users), atol=1e-5)
    later = asked(model, 20).score_histories(log.padded(users, 20, before="test"))
    assert not torch.allclose(later, found, atol=1e-3), "the validation item is part of the history before the test"


@pytest.mark.parametrize("decay", [0.3, 1.0])
def test_ease_against_a_dense_formula(decay, log):
    model = EASE(log.split, reg=5.0)
    ratings = log.split.matrix("train").toarray()
    mean = ratings.sum(axis=0)[ratings.sum(axis=0) > 0].mean()
    inverse = np.linalg.inv(ratings.T @ ratings / mean + 5.0 * np.eye(20))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    expected = np.array([weights_of(history, 20, decay) for history in HISTORIES]) @ weights
    assert np.allclose(LinearVotes(model, 4, decay).score_histories(HISTORIES), expected, atol=1e-5)


@pytest.mark.parametrize("decay", [0.3, 1.0])
def test_ials_against_the_gradient_of_its_loss(decay, log):
    model = IALS(log.split, dim=6, nu=0.7)
    items, rows = model.items, np.array([weights_of(history, 20, decay) for history in HISTORIES])
    for row, scores in zip(rows, FoldedIn(model, 4, decay).score_histories(HISTORIES).numpy()):
        user = np.linalg.lstsq(items, scores, rcond=None)[0]
        ridge = model.settings["reg"] * (row.sum() + model.alpha0 * 20) ** 0.7
        gradient = (row * (items @ user - 1)) @ items + model.alpha0 * (items @ user) @ items + ridge * user
        assert np.abs(gradient).max() < 1e-5 < np.abs(items.T @ row).max() / 100


def test_few_and_many_items_are_solved_alike(log):
    model = IALS(log.split, dim=4)  # a history longer than the vectors takes the other branch of ridge_solve
    long, short = np.arange(12)[None], np.array([[-1] * 11 + [3]])
    together = FoldedIn(model, 12, 0.8).score_histories(np.concatenate([long, short]))
    alone = torch.cat([FoldedIn(model, 12, 0.8).score_histories(one) for one in (long, short)])
    assert torch.allclose(together, alone, atol=1e-6)


def test_nobody_and_nothing_gets_zeros(log):
    for model in closed_forms(log, ("ease", "ials")).values():
        assert not model.score_histories(np.full((2, 4), -1)).any()


def test_recency_is_chosen_on_validation(log, monkeypatch):
    model, settings = closed_form("ease_tuned", log)
    assert set(settings) == {"reg", "decay"} and model.decay == settings["decay"]
    values = {
        decay: evaluate_next(LinearVotes(EASE(log.split, reg=reg), 20, decay), log, "valid", 10, ("ndcg",))["ndcg@10"]
        for reg in SOLVED["ease_tuned"][2]["reg"] if reg == settings["reg"] for decay in DECAYS
    }  # fmt: skip
    assert settings["decay"] == max(values, key=values.get)
    asked = []
    monkeypatch.setattr(closed, "evaluate_next", lambda m, s, part, *more: asked.append(part) or evaluate_next(m, s, part, *more))  # fmt: skip
    closed_form("ials_tuned", log)
    assert set(asked) == {"valid"} and len(asked) == 4 * len(DECAYS)


def test_the_recommended_ones_ask_no_validation_and_titles_are_given(log, monkeypatch):
    monkeypatch.setattr(closed, "evaluate_next", lambda *a: pytest.fail("nothing is chosen"))
    found = closed_forms(log, ("ease", "ials"))
    assert list(found) == ["EASE", "iALS"] and next_items(found["EASE"], [3, 4], 5).shape == (5,)


def test_content_reaches_an_item_that_nobody_took():
    sequences = make_sequences([[0, 1, 2, 3], [1, 0, 3, 2], [0, 2, 1, 3], [2, 0, 1, 4]], 5)  # 4 is cold
    matrix = np.random.default_rng(0).normal(size=(5, 8))
    matrix[4] = matrix[0]
    model, settings = closed_form("ease_content", sequences, {"textual": make_features("textual", matrix)})
    assert set(settings) == {"reg", "weight", "decay"}
    cold, plain = model.score_histories(np.array([[0]]))[0], closed_form("ease", sequences)[0].score_histories(np.array([[0]]))[0]  # fmt: skip
    assert cold[4] > 0.01 and plain[4] == 0


def test_what_cannot_be_asked_is_one_sentence(log):
    with pytest.raises(CourseError, match="Unknown closed form 'eas'; did you mean ease"):
        closed_form("eas", log)
    with pytest.raises(CourseError, match="ease_content ranks by content, but got no features"):
        closed_form("ease_content", log)
    with pytest.raises(CourseError, match="decay=1.5 must lie between 0"):
        LinearVotes(EASE(log.split), 3, 1.5)
