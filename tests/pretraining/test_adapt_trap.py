"""utils.pretraining.adapt.trap: torch's fast path leaves a LoRA out, ours is safe, and the exercise names the mistake."""

from __future__ import annotations

import pytest
import torch
from adapt_helpers import tiny_text, tokenizer
from torch import nn

from utils.pretraining.adapt import LoRA, Texts, adapt, eval_moves, judged_output, named_mistake, peft_moves
from utils.pretraining.adapt.trap import DIM, Beside, trapped_layer, without_fast_path

X = torch.randn(2, 3, DIM, generator=torch.Generator().manual_seed(0))


def test_eval_leaves_a_lora_beside_the_weight_out_and_sees_one_in_the_weight():
    beside, inside = trapped_layer(kind=Beside), trapped_layer(kind=LoRA)
    assert eval_moves(beside, lambda: beside(X)) == 0 < 0.1 < eval_moves(inside, lambda: inside(X))
    with without_fast_path():
        assert eval_moves(beside, lambda: beside(X)) > 0.1
    assert torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        assert torch.allclose(inside.eval()(X), judged_output(trapped_layer(), X), atol=1e-4)


def test_asking_changes_neither_parameters_nor_modes():
    layer = trapped_layer()
    layer.dropout.eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    eval_moves(layer, lambda: layer(X))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert layer.training and not layer.dropout.training


def test_every_way_of_the_course_is_seen_by_eval():
    texts, rows = Texts(["w1 w2", "w3"], tokenizer), torch.arange(2)
    for way in ("last_block", "full", "lora", "adapter", "prompt"):
        encoder = adapt(tiny_text(), way)[0]
        assert eval_moves(encoder, lambda: encoder.vectors(texts, rows)) > 1e-3, way  # noqa: B023


def test_the_exercise_passes_the_answer_and_merged_weights():
    assert named_mistake(judged_output) is None

    def merged(layer, x):
        layer.linear1.base.weight.data += layer.linear1.scale * layer.linear1.B @ layer.linear1.A
        layer.linear2.base.weight.data += layer.linear2.scale * layer.linear2.B @ layer.linear2.A
        layer.linear1, layer.linear2 = layer.linear1.base, layer.linear2.base
        with torch.no_grad():
            return layer.eval()(x)

    assert named_mistake(merged) is None


def test_the_exercise_names_the_mistakes():
    def off_for_ever(layer, x):
        torch.backends.mha.set_fastpath_enabled(False)
        return layer.eval()(x)

    wrong = {
        "the run judges the frozen model": lambda layer, x: layer.eval()(x),
        "dropout is still on": lambda layer, x: layer.train()(x),
        "the fast path stays off for everybody": off_for_ever,
        r"has shape \(2, 3\), expected \(2, 3, 16\)": lambda layer, x: layer.eval()(x)[:, :, 0],
    }
    for said, mine in wrong.items():
        with torch.no_grad():
            found = named_mistake(mine)
        assert found is not None
        pytest.importorskip("re").search(said, found) or pytest.fail(found)
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_library_peft_has_the_trap_where_it_is_installed():
    pytest.importorskip("peft")
    found = peft_moves()
    assert found["as it is"] == 0 < found["without the fast path"]


def test_a_merged_lora_in_the_layer_is_the_layer():
    layer = trapped_layer(kind=LoRA)
    expected = judged_output(layer, X)
    layer.linear1, layer.linear2 = layer.linear1.merged(), layer.linear2.merged()
    assert isinstance(layer.linear1, nn.Linear) and torch.allclose(judged_output(layer, X), expected, atol=1e-4)
