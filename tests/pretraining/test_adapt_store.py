"""utils.pretraining.adapt.store and cost: what one task keeps, what is refused, and what a step keeps in memory."""

from __future__ import annotations

import pytest
import torch
from adapt_helpers import tiny_text, tokenizer
from safetensors.torch import save_file
from torch import nn

from utils.errors import CourseError
from utils.pretraining.adapt import (
    WAYS,
    Texts,
    adapt,
    load_task,
    save_task,
    state_to_store,
    step_memory,
    stored_bytes,
    training_bytes,
)

ROWS = torch.arange(3)


def texts():
    return Texts(["w1 w2", "w3", "w4 w5 w6"], tokenizer)


def learned(way, base=None, seed=1, **settings):
    encoder, named = adapt(base or tiny_text(), way, **settings)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in named.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return encoder


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_task_is_kept_without_its_base_and_comes_back(way, tmp_path):
    encoder = learned(way)
    path = save_task(encoder, tmp_path / "task.safetensors")
    assert 0 < path.stat().st_size - stored_bytes(encoder) < 8_000  # names and shapes, and nothing of the base
    fresh = adapt(tiny_text(), way)[0]
    before = fresh.vectors(texts(), ROWS)
    after = load_task(fresh, path).vectors(texts(), ROWS)
    assert torch.equal(after, encoder.vectors(texts(), ROWS)) and not torch.equal(before, after)


def test_only_what_learned_is_kept_and_a_head_with_it():
    both = nn.ModuleDict({"encoder": learned("lora"), "head": nn.Linear(16, 3)})
    state = state_to_store(both)
    assert {name.rsplit(".", 1)[-1] for name in state} == {"A", "B", "weight", "bias"}
    assert sum(value.numel() * 4 for value in state.values()) == stored_bytes(both) == 4 * (2 * 2 * 4 * 32 + 16 * 3 + 3)
    state["head.bias"].fill_(9)  # a copy: the network does not change
    assert not (both["head"].bias == 9).any()


def test_a_task_of_another_encoder_way_or_size_is_refused(tmp_path):
    path = save_task(learned("lora"), tmp_path / "task.safetensors")
    with pytest.raises(CourseError, match="belongs to another encoder .* adapt the encoder that it was trained on"):
        load_task(adapt(tiny_text(seed=5), "lora")[0], path)
    with pytest.raises(CourseError, match="was trained as 'lora', this encoder is adapted as 'prompt'"):
        load_task(adapt(tiny_text(), "prompt")[0], path)
    with pytest.raises(CourseError, match=r"does not fit in its part model.*\.A; adapt with the settings"):
        load_task(adapt(tiny_text(), "lora", rank=2)[0], path)
    with pytest.raises(CourseError, match="holds no adapted encoder; call adapt"):
        load_task(tiny_text(), path)
    with pytest.raises(CourseError, match="Nothing of this encoder learned"):
        save_task(adapt(tiny_text(), "frozen")[0], path)


def test_a_file_that_is_no_task_is_refused(tmp_path):
    encoder, path = adapt(tiny_text(), "lora")[0], tmp_path / "x.safetensors"
    with pytest.raises(CourseError, match="does not exist; correct the path"):
        load_task(encoder, path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(CourseError, match="holds something else than one task of an adapted encoder"):
        load_task(encoder, path)
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(CourseError, match="is no safetensors file or is cut short"):
        load_task(encoder, path)


def test_memory_of_a_step_against_a_count_by_hand():
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), torch.randn(10, 6)
    # the input of each linear map, and the output of ReLU, which is the input of the second map: one memory
    assert step_memory(network, lambda: network(x).sum()) == 4 * (10 * 6 + 10 * 5)
    network[0].requires_grad_(False)
    assert step_memory(network, lambda: network(x).sum()) == 4 * 10 * 5
    assert training_bytes(network) == 3 * 4 * (5 * 4 + 4)


def test_the_last_block_keeps_less_than_lora_and_that_less_than_all():
    kept = {}
    for way in ("frozen", "last_block", "lora", "full"):
        encoder = adapt(tiny_text(), way)[0]
        kept[way] = step_memory(encoder, lambda: encoder.vectors(texts(), ROWS).sum())  # noqa: B023
    assert kept["frozen"] == 0 < kept["last_block"] < kept["lora"] < kept["full"]
