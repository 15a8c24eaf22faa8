"""utils.generation.recommender and depth_decoder: exact scores against a loop, beams, gradients, stock, learning a ring."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from generation_helpers import ring_ids, ring_model
from pretraining_helpers import make_sequences, walks

from utils.errors import CourseError
from utils.generation import ByBeam, DepthDecoder, IdRecommender, Trie, Within
from utils.pretraining import evaluate_next, next_items, train_next

HISTORIES = np.array([[-1, -1, 3, 4, 5, 6], [7, 1, 2, 9, 9, 2], [-1, -1, -1, -1, -1, 8]])


def by_hand(decoder, state, tokens):
    """Plain: log p of one item's tokens given one state."""
    total = 0.0
    for level, token in enumerate(tokens):
        hidden = decoder.of_state[level](state)
        for place in range(level):
            hidden = hidden + decoder.of_tokens[level][place].weight[tokens[place]]
        logits = decoder.out[level](torch.relu(hidden))
        total += (logits[token] - torch.logsumexp(logits, 0)).item()
    return total


def test_exact_scores_of_every_item_against_a_plain_loop():
    model = ring_model().eval()
    with torch.no_grad():
        scores, states = model.score_histories(HISTORIES), model.history_states(HISTORIES)
        for row, state in enumerate(states):
            for item in range(30):
                expected = by_hand(model.decoder, state, model.content_tokens[item].tolist())
                assert scores[row, item].item() == pytest.approx(expected, abs=1e-5)
        assert (scores.exp().sum(1) < 1).all()  # what is left is what goes to invalid ids
        every = torch.cartesian_prod(*(torch.arange(size) for size in model.decoder.sizes)).numpy()
        assert model.decoder.exact(states, Trie.of(every)).exp().sum(1).numpy() == pytest.approx(1, abs=1e-5)


def test_blocks_of_histories_change_no_score(monkeypatch):
    model = ring_model().eval()
    with torch.no_grad():
        whole = model.score_histories(HISTORIES)
        monkeypatch.setattr("utils.generation.writer.FLOATS", 1)
        assert torch.allclose(model.score_histories(HISTORIES), whole, atol=1e-6)


def test_a_wide_beam_is_the_exact_list_and_a_narrow_one_is_a_part_of_the_search():
    model = ring_model().eval()
    with torch.no_grad():
        scores, states = model.score_histories(HISTORIES), model.history_states(HISTORIES)
        items, found = model.decoder.beam(states, model.trie, 40)
        assert (items[:, 30:] == -1).all() and torch.isinf(found[:, 30:]).all()
        order = scores.sort(dim=1, descending=True).indices
        assert torch.equal(items[:, :30], order)
        assert torch.allclose(found[:, :30], scores.gather(1, order), atol=1e-5)
        for beams in (1, 3):
            items, found = model.decoder.beam(states, model.trie, beams)
            assert items.shape == (3, beams) and torch.allclose(found, scores.gather(1, items), atol=1e-5)
            for state, best in zip(states, items[:, 0] if beams == 1 else []):  # one beam is the greedy walk
                prefix = []
                for level in range(3):
                    prefixes = torch.tensor(prefix, dtype=torch.int64)[None, None]
                    logits = model.decoder.logits(level, state[None], prefixes)[0, 0]
                    prefix.append(max(model.trie.allowed(prefix), key=lambda token: logits[token]))
                assert prefix == model.content_tokens[best].tolist()
    with pytest.raises(CourseError, match="n_beams=0 keeps nothing"):
        model.decoder.beam(states, model.trie, 0)


def test_a_beam_without_a_trie_finds_the_best_of_all_cells():
    torch.manual_seed(0)
    decoder, states = DepthDecoder(4, (3, 2, 4), 6), torch.randn(2, 4)
    every = torch.cartesian_prod(*(torch.arange(size) for size in decoder.sizes))
    with torch.no_grad():
        found = decoder.free_beam(states, 24)
        best = decoder.exact(states, Trie.of(every.numpy())).argsort(dim=1, descending=True)
        assert torch.equal(found, every[best])
        assert decoder.free_beam(states, 5).shape == (2, 5, 3)


@pytest.mark.parametrize("inputs", ["tokens", "ids", "content", "both"])
def test_gradients_reach_every_parameter(inputs):
    sequences = walks()
    model = ring_model(sequences, inputs=inputs, dropout=0.0)
    model.batch_loss(torch.from_numpy(sequences.padded(np.arange(sequences.n_users), 7, before="end"))).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 1e-12, name
    assert (model.ids is None) == (inputs in ("tokens", "content"))


def test_the_loss_is_minus_log_p_of_the_next_item_at_every_step():
    model, losses = ring_model(dropout=0.0), []
    histories = torch.tensor([[-1, 0, 1, 2], [3, 2, 1, 0]])
    states = model.states(histories[:, :-1], model.item_vectors())
    for row, history in enumerate(histories.tolist()):
        for step in range(3):
            if history[step] >= 0:
                losses.append(
                    -by_hand(model.decoder, states[row, step], model.content_tokens[history[step + 1]].tolist())
                )
    assert len(losses) == 5
    assert model.batch_loss(histories).item() == pytest.approx(np.mean(losses), abs=1e-5)


def test_no_score_sees_the_future_and_equal_tokens_are_equal_inputs():
    model = ring_model().eval()
    vectors = model.item_vectors()
    expected = sum(table.weight[model.content_tokens[4, level]] for level, table in enumerate(model.read))
    assert torch.allclose(vectors[4], expected)
    before = torch.tensor([[1, 2, 3, 9, 9, 2]])
    after = before.clone()
    after[:, 4:] = torch.tensor([22, 23])
    assert torch.equal(model.states(before, vectors)[:, :4], model.states(after, vectors)[:, :4])


def test_it_learns_a_ring_and_the_same_numbers_twice():
    sequences = walks(200)
    found = []
    for _ in range(2):
        model = ring_model(sequences, dim=16, hidden=32, dropout=0.1)
        train_next(model, sequences, n_epochs=15, lr=2e-2, batch_size=64, eval_every=15, progress=False)
        found.append(evaluate_next(model, sequences).mean()["hr@5"])
    assert found[0] == found[1] > 0.7  # by chance 5 of 30
    assert next_items(model, [3, 4, 5], 3)[0] == 6


def test_only_what_is_in_stock_is_listed_and_beams_are_a_model():
    sequences = walks()
    model = ring_model(sequences).eval()
    within = Within(model, np.array([2, 9, 11]))
    with torch.no_grad():
        assert torch.isfinite(within.score_histories(HISTORIES)).sum(1).tolist() == [3, 3, 3]
        assert torch.equal(within.score_histories(HISTORIES)[:, [2, 9, 11]],
                           model.score_histories(HISTORIES)[:, [2, 9, 11]])  # fmt: skip
    assert set(next_items(within, [3, 4], 3).tolist()) == {2, 9, 11}
    exact, wide, narrow = (evaluate_next(m, sequences).lists for m in (model, ByBeam(model, 30), ByBeam(model, 4)))
    assert np.array_equal(exact, wide)
    assert (narrow >= 0).sum(1).max() <= 4 and np.isin(narrow[narrow >= 0], np.arange(30)).all()
    assert (narrow == -1).any()  # seen items filled beams


def test_the_seed_decides_the_weights_and_nothing_outside_is_seeded():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (ring_model(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one.decoder.out[0].weight, same.decoder.out[0].weight)
    assert not torch.equal(one.decoder.out[0].weight, other.decoder.out[0].weight)


@pytest.mark.parametrize("settings, said", [
    ({"inputs": "token"}, "Unknown value of inputs 'token'; did you mean tokens"),
    ({"inputs": "both"}, "inputs='both' needs content"),
    ({"dim": 9}, "dim=9 must be a multiple of n_heads=2"),
    ({"loss": "softmax"}, "Unknown setting of sasrec 'loss'"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_one_sentence(settings, said):
    with pytest.raises(CourseError, match=said):
        IdRecommender(walks(), ring_ids(), **settings)


def test_ids_of_another_catalogue_are_one_sentence():
    with pytest.raises(CourseError, match="The ids are of a catalogue of 30 items, the sequences of 7"):
        IdRecommender(make_sequences([[0, 1, 2, 3, 4], [3, 2, 1, 0, 6]]), ring_ids())
