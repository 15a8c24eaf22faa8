"""utils.pretraining.sasrec and attention: masks, one block against a plain loop, both losses, gradients, cold items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretraining_helpers import make_sequences, walks
from training_helpers import make_features

from utils.errors import CourseError
from utils.pretraining.attention import Block, attendable
from utils.pretraining.next_item import evaluate_next, next_items
from utils.pretraining.sasrec import SASRec

SMALL = {"dim": 8, "length": 6}


def content(n_items, modality="textual", dim=5):
    return {modality: make_features(modality, np.random.default_rng(1).normal(size=(n_items, dim)))}


def model_of(sequences, inputs="ids", **settings):
    features = None if inputs == "ids" else content(sequences.n_items)
    return SASRec(sequences, features, inputs=inputs, **{**SMALL, **settings})


def test_who_may_look_at_whom_by_hand():
    found = attendable(torch.tensor([[False, True, True], [True, True, True]]))
    assert found[0, 0].int().tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert found[1, 0].int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def norm(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def gelu(x):
    return x * 0.5 * (1 + torch.erf(torch.tensor(x / np.sqrt(2))).numpy())


def test_a_block_against_a_plain_loop():
    torch.manual_seed(0)
    block, dim, heads = Block(6, 2, 0.4).double().eval(), 6, 2
    real = torch.tensor([[False, True, True, True], [True, True, True, True]])
    x = torch.randn(2, 4, dim, dtype=torch.float64)
    found = block(x, attendable(real)).detach().numpy()
    weight = block.query_key_value.weight.detach().numpy()
    q, k, v = (x.numpy() @ part.T for part in np.split(weight, 3))
    one, two = block.network[0], block.network[2]
    for row in range(2):
        for place in range(4):
            if not real[row, place]:
                continue
            mixed = np.zeros(dim)
            for head in range(heads):
                cut = slice(head * 3, head * 3 + 3)
                seen = [p for p in range(place + 1) if real[row, p]]
                logits = np.array([q[row, place, cut] @ k[row, p, cut] / np.sqrt(3) for p in seen])
                weights = np.exp(logits) / np.exp(logits).sum()
                mixed[cut] = sum(w * v[row, p, cut] for w, p in zip(weights, seen))
            out = block.out.weight.detach().numpy() @ mixed + block.out.bias.detach().numpy()
            state = norm(x[row, place].numpy() + out)
            inner = gelu(one.weight.detach().numpy() @ state + one.bias.detach().numpy())
            state = norm(state + two.weight.detach().numpy() @ inner + two.bias.detach().numpy())
            assert np.allclose(found[row, place], state, atol=1e-9)


@pytest.mark.parametrize("inputs", ["ids", "both", "content"])
def test_no_state_sees_the_future(inputs):
    model = model_of(walks(), inputs).eval()
    before = torch.tensor([[-1, 3, 4, 5, 6, 7], [1, 2, 3, 9, 9, 2]])
    after = before.clone()
    after[:, 4:] = torch.tensor([[20, 21], [22, 23]])
    vectors = model.item_vectors()
    old, new = model.states(before, vectors), model.states(after, vectors)
    assert torch.equal(old[:, :4], new[:, :4]) and not torch.allclose(old[:, 4:], new[:, 4:], atol=1e-3)


def test_a_loss_at_an_early_step_sends_no_gradient_to_a_later_item():
    model = model_of(walks()).eval()
    vectors = model.item_vectors().detach().requires_grad_()
    model.states(torch.tensor([[-1, -1, 10, 11, 12, 13]]), vectors)[0, 3].square().sum().backward()
    assert set(vectors.grad.abs().sum(1).nonzero().ravel().tolist()) <= {10, 11}
    assert vectors.grad[10].abs().sum() > 0


def test_padding_is_never_attended_and_changes_no_score():
    model = model_of(walks()).eval()
    short, padded = torch.tensor([[4, 5, 6]]), torch.tensor([[-1, -1, -1, 4, 5, 6]])
    assert torch.allclose(model.score_histories(short), model.score_histories(padded), atol=1e-6)
    with torch.no_grad():
        before = model.score_histories(padded)
        model.positions.weight[:3] += 5  # what padding would show if anything looked at it
        assert torch.equal(model.score_histories(padded), before)
    both = model.score_histories(torch.tensor([[-1, -1, -1, 4, 5, 6], [1, 2, 3, 4, 5, 6]]))
    assert torch.allclose(both[:1], before, atol=1e-6) and torch.isfinite(both).all()
    assert torch.isfinite(model.score_histories(torch.full((1, 6), -1))).all()


def test_the_newest_items_of_a_long_history_count_and_it_is_said():
    sequences = make_sequences([list(range(10)), [1, 2, 3], [4, 2, 1]])
    model = model_of(sequences).eval()
    assert len(model.notes) == 1 and "1 of 3 histories are longer than the 6 items" in model.notes[0]
    assert torch.equal(model.score_histories([list(range(10))]), model.score_histories([list(range(4, 10))]))
    assert next_items(model, range(10), 2, masked=False).tolist() == next_items(model, range(4, 10), 2, False).tolist()
    assert model_of(sequences, length=9).notes == []


@pytest.mark.parametrize("inputs", ["ids", "both", "content"])
@pytest.mark.parametrize("loss", ["softmax", "sampled"])
def test_gradients_reach_every_parameter(inputs, loss):
    sequences = walks()
    model = model_of(sequences, inputs, loss=loss, dropout=0.0)
    histories = torch.from_numpy(sequences.padded(np.arange(sequences.n_users), 7, before="end"))
    model.batch_loss(histories, torch.Generator().manual_seed(0)).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 1e-12, name


def test_the_softmax_loss_against_a_plain_loop():
    sequences = make_sequences([[0, 1, 2, 3, 4], [3, 2, 1, 0, 5]], n_items=7)  # 4, 5 and 6 are cold
    model = model_of(sequences, dropout=0.0)
    histories = [[-1, 0, 1, 2], [3, 2, 1, 0]]
    vectors, warm, losses = model.item_vectors(), [0, 1, 2, 3], []
    for history in histories:
        for step in range(1, len(history)):
            if history[step - 1] < 0:
                continue
            state = model.states(torch.tensor([history[:-1]]), vectors)[0, step - 1]
            logits = torch.stack([state @ vectors[item] for item in warm])
            losses.append(torch.logsumexp(logits, 0) - logits[warm.index(history[step])])
    assert len(losses) == 5
    expected = torch.stack(losses).mean().item()
    assert model.batch_loss(torch.tensor(histories)).item() == pytest.approx(expected, abs=1e-6)


def test_the_sampled_loss_is_binary_cross_entropy_of_the_next_and_a_negative(monkeypatch):
    sequences = walks()
    model = model_of(sequences, loss="sampled", dropout=0.0)
    histories = torch.tensor([[-1, 3, 4], [5, 6, 7]])
    monkeypatch.setattr(model, "_negatives", lambda own, generator: torch.tensor([20, 21, 22]))
    vectors = model.item_vectors()
    found = model.states(histories[:, :-1], vectors)[[0, 1, 1], [1, 0, 1]]
    right = torch.sigmoid((found * vectors[[4, 6, 7]]).sum(1))
    wrong = torch.sigmoid((found * vectors[[20, 21, 22]]).sum(1))
    expected = -(right.log() + (1 - wrong).log()).mean()
    assert model.batch_loss(histories).item() == pytest.approx(expected.item(), abs=1e-6)


def test_negatives_are_warm_and_not_taken():
    sequences = make_sequences([[0, 1, 2, 3, 7], [4, 5, 0, 6, 8], [2, 5, 1, 3, 9]], n_items=12)
    model = model_of(sequences, loss="sampled")
    own = torch.tensor([[-1, 0, 1, 2]] * 200 + [[-1, 5, 1, 0]] * 200)
    drawn = model._negatives(own, torch.Generator().manual_seed(0))
    assert set(drawn[:200].tolist()) == {4, 5} and set(drawn[200:].tolist()) == {2, 4}


def test_both_losses_see_the_same_steps_and_eval_runs_the_same_lines_as_train():
    sequences = walks()
    for loss in ("softmax", "sampled"):
        model = model_of(sequences, loss=loss, dropout=0.0)
        histories = sequences.padded(np.arange(8), 6)
        assert torch.equal(model.train().score_histories(histories), model.eval().score_histories(histories))
        before = model.score_histories(histories)
        with torch.no_grad():
            model.blocks[0].query_key_value.weight.mul_(30)
        assert not torch.allclose(model.score_histories(histories), before, atol=1e-4)


def test_asking_switches_dropout_off_and_puts_the_mode_back():
    sequences = walks()
    model = model_of(sequences).train()
    lists = [next_items(model, [3, 4, 5], 10).tolist() for _ in range(3)]
    assert lists[0] == lists[1] == lists[2] and model.training
    a, b = (evaluate_next(model, sequences).lists for _ in range(2))
    assert np.array_equal(a, b) and model.training


def test_the_id_of_a_cold_item_says_nothing_and_its_content_does():
    sequences = make_sequences([[0, 1, 2, 3, 4], [3, 2, 1, 0, 5]])
    assert not model_of(sequences).item_vectors()[4:].any()
    both, only = model_of(sequences, "both"), model_of(sequences, "content")
    assert (both.item_vectors()[4:].abs().sum(1) > 0).all() and only.ids is None
    ids = both.ids.weight * both.warm[:, None]
    layer = both.project["textual"]
    assert torch.allclose(both.item_vectors(), ids + layer(both.content_textual), atol=1e-6)


def test_a_missing_modality_adds_nothing():
    sequences = walks(n_items=10)
    features = {"visual": make_features("visual", np.eye(10), np.arange(10) != 3)}
    model = SASRec(sequences, features, inputs="content", **SMALL)
    vectors = model.item_vectors()
    assert not vectors[3].any() and vectors[2].any()


def test_the_seed_decides_the_weights_and_nothing_outside_is_seeded():
    sequences = walks()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (model_of(sequences, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one.ids.weight, same.ids.weight) and not torch.equal(one.ids.weight, other.ids.weight)


@pytest.mark.parametrize("settings, said", [
    ({"dims": 8}, "Unknown setting of sasrec 'dims'; did you mean dim"),
    ({"inputs": "id"}, "Unknown value of inputs 'id'; did you mean ids"),
    ({"loss": "bce"}, "Unknown value of loss 'bce'"),
    ({"inputs": "content"}, "inputs='content' needs content; pass features="),
    ({"dim": 9}, "dim=9 must be a multiple of n_heads=2"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_one_sentence(settings, said):
    with pytest.raises(CourseError, match=said):
        SASRec(walks(), **settings)


def test_features_of_another_catalogue_are_one_sentence():
    with pytest.raises(CourseError, match="textual features have 4 rows, the split has 30 items"):
        SASRec(walks(), content(4), inputs="both")
