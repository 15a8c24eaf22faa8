"""utils.generation.mmgrec and set_attention: attention against a plain loop, the target taken out, sets, both decoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from generation_helpers import ring_ids
from pretraining_helpers import walks

from utils.errors import CourseError
from utils.generation import MMGRec
from utils.generation.set_attention import Mixing, Reader
from utils.pretraining import evaluate_next, next_items, train_next

SMALL = {"dim": 8, "n_layers": 1, "n_heads": 2, "length": 6}
HISTORIES = np.array([[-1, -1, 3, 4, 5, 6], [7, 1, 2, 10, 9, 22], [-1, -1, -1, -1, -1, 8]])


def model_of(sequences=None, **settings):
    sequences = sequences or walks()
    angle = 2 * np.pi * np.arange(sequences.n_items) / sequences.n_items
    vectors = np.stack([np.cos(angle), np.sin(angle), np.cos(3 * angle), np.sin(3 * angle)], axis=1)
    return MMGRec(sequences, ring_ids(), vectors, **{**SMALL, **settings})


def test_attention_with_and_without_the_person_against_a_plain_loop():
    torch.manual_seed(0)
    x, y, person = torch.randn(2, 3, 8), torch.randn(2, 4, 8), torch.randn(2, 8)
    allowed = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 1]]).bool()
    for relation in (False, True):
        layer = Mixing(8, 2, relation)
        with torch.no_grad():
            found = layer(x, y, allowed[:, None, None], person)
            for b in range(2):
                gates = [gate(person[b]) for gate in layer.gates] if relation else []
                for row in range(3):
                    heads = []
                    for head in range(2):
                        cut, seen = slice(4 * head, 4 * head + 4), allowed[b].nonzero().ravel().tolist()
                        logits, values = [], []
                        for other in seen:
                            logit = layer.query(x[b, row])[cut] @ layer.key(y[b, other])[cut]
                            value = layer.value(y[b, other])[cut]
                            if relation:
                                q, k, v = (
                                    part(z) for part, z in zip(layer.relation, (x[b, row], y[b, other], y[b, other]))
                                )
                                logit, value = logit + gates[0] * gates[1] * (q @ k), value + gates[2] * v
                            logits.append(logit.reshape(()) / 2)
                            values.append(value)
                        heads.append((torch.stack(logits).softmax(0)[:, None] * torch.stack(values)).sum(0))
                    assert torch.allclose(found[b, row], layer.out(torch.cat(heads)), atol=1e-5)


def test_a_history_is_a_set_and_padding_is_nothing():
    model = model_of(beams=0).eval()
    with torch.no_grad():
        scores = model.score_histories(HISTORIES)
        turned = model.score_histories(HISTORIES[:, ::-1].copy())
        assert torch.allclose(scores, turned, atol=1e-5) and torch.isfinite(scores).all()
        assert torch.allclose(model.score_histories(HISTORIES[:1, 2:]), scores[:1], atol=1e-5)
        assert torch.isfinite(model.score_histories(np.full((1, 6), -1))).all()


def test_scores_are_log_p_of_the_tokens_and_a_wide_beam_finds_the_same():
    model = model_of(beams=0).eval()
    tokens = model.content_tokens
    with torch.no_grad():
        states, scores = model.history_states(HISTORIES), model.score_histories(HISTORIES)
        for item in (0, 7, 29):
            for row in range(3):
                alone = model.decoder.loss(states[row : row + 1], tokens[item : item + 1])
                assert scores[row, item].item() == pytest.approx(-alone.item(), abs=1e-5)
        model.settings["beams"] = 30
        assert torch.allclose(model.score_histories(HISTORIES), scores, atol=1e-5)
        model.settings["beams"] = 4
        assert torch.isfinite(model.score_histories(HISTORIES)).sum(1).tolist() == [4, 4, 4]


def test_no_token_sees_the_next_one():
    model = model_of().eval()
    states = model.history_states(HISTORIES)
    one, two = model.content_tokens[[3, 3, 3], None, :-1].clone(), model.content_tokens[[3, 3, 3], None, :-1].clone()
    two[..., 1] = (two[..., 1] + 1) % 3
    found = [model.decoder.walk(states, tokens) for tokens in (one, two)]
    assert torch.equal(found[0][:, :, :2], found[1][:, :, :2]) and not torch.allclose(
        found[0][:, :, 2], found[1][:, :, 2]
    )


def test_the_target_is_never_in_the_history_that_asks_for_it(monkeypatch):
    model, seen = model_of(targets=5), {}
    states, loss = model.history_states, model.decoder.loss
    monkeypatch.setattr(model, "history_states", lambda h: seen.update(h=h) or states(h))
    monkeypatch.setattr(model.decoder, "loss", lambda s, t: seen.update(t=t) or loss(s, t))
    histories = torch.tensor([[-1, 4, 5, 6], [7, 8, 9, 7], [-1, -1, 2, 2]])
    model.batch_loss(histories, torch.Generator().manual_seed(0))
    assert len(seen["h"]) == 10  # of two equal items nothing is left: that row is no step
    places = {tuple(tokens): item for item, tokens in enumerate(model.content_tokens.tolist())}
    asked = [places[tuple(tokens)] for tokens in seen["t"].tolist()]
    for row, item in enumerate(asked):
        whole = histories[row // 5].tolist()
        assert item in whole and seen["h"][row].tolist() == [-1 if other == item else other for other in whole]
    assert len(set(asked)) > 3


@pytest.mark.parametrize("relation", [True, False])
def test_gradients_reach_every_parameter(relation):
    sequences = walks()
    model = model_of(sequences, relation=relation, dropout=0.0)
    histories = torch.from_numpy(sequences.padded(np.arange(40), 7, before="end"))
    model.batch_loss(histories, torch.Generator().manual_seed(0)).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 1e-12, name
    assert any("relation" in name for name, _ in model.named_parameters()) == relation


def test_what_the_person_is_changes_the_attention():
    torch.manual_seed(0)
    layer, x = Reader(8, 2, 0.0, relation=True), torch.randn(1, 3, 8)
    real = torch.ones(1, 3, dtype=torch.bool)
    assert not torch.allclose(layer(x, real, torch.randn(1, 8)), layer(x, real, torch.randn(1, 8)), atol=1e-4)


def test_it_learns_whose_set_it_is_and_the_same_numbers_twice():
    sequences, found = walks(150), []
    for _ in range(2):
        model = model_of(sequences, dim=16, targets=3, dropout=0.0)
        train_next(model, sequences, n_epochs=8, lr=1e-2, batch_size=64, eval_every=8, progress=False)
        found.append(evaluate_next(model, sequences).mean()["hr@5"])
    assert found[0] == found[1] > 0.45  # by chance 5 of 30
    assert len(next_items(model, [3, 4, 5], 3)) == 3


@pytest.mark.parametrize("settings, said", [({"beam": 3}, "Unknown setting of mmgrec 'beam'; did you mean beams")])
def test_settings_that_do_not_fit_are_one_sentence(settings, said):
    with pytest.raises(CourseError, match=said):
        model_of(**settings)
    with pytest.raises(CourseError, match="ids of 30 items, vectors of 29 and sequences over 30"):
        MMGRec(walks(), ring_ids(), np.ones((29, 4)))
