"""utils.generation.explain and told: parts by hand, the attribute that is named, its removal, a model folder of one's own."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
import torch
from stamps_helpers import write_catalogue

from utils.errors import CourseError
from utils.generation.explain import AttributeModel, attributes_of
from utils.generation.told import told_by

KIND = np.array(["owl", "owl", "owl", "car", "car", "tea", "tea", "tea", "tea", ""])
COLOUR = np.array(["red", "blue", "blue", "red", "blue", "blue", "blue", "red", "blue", "blue"])
USERS, ITEMS = np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 3, 7, 5, 5])


@pytest.fixture
def model():
    return AttributeModel({"kind": KIND, "colour": COLOUR}, USERS, ITEMS, smoothing=2.0)


def test_parts_by_hand(model):
    parts = model.parts(0)  # took an owl in red and an owl in blue
    lift = (2 + 2 * 0.3) / (2 + 2) / 0.3
    assert parts["kind"][2] == pytest.approx(np.log(lift)) and parts["kind"][9] == 0.0
    assert parts["kind"][5] == pytest.approx(np.log(2 * 0.4 / 4 / 0.4))
    assert parts["colour"][7] == pytest.approx(np.log((1 + 2 * 0.3) / 4 / 0.3))
    count = np.array([1, 1, 0, 1, 0, 2, 0, 1, 0, 0]) + 1
    assert parts["popularity"] == pytest.approx(np.log(count / count.mean()))


def test_ranks_leave_out_what_was_taken_and_break_ties_by_the_catalogue(model):
    ranks = model.ranks(0)
    assert ranks[[0, 1]].tolist() == [0, 0] and sorted(ranks[2:]) == list(range(1, 9)) and ranks[2] == 1
    score = sum(model.parts(0).values())
    assert all(ranks[i] < ranks[j] for i in range(2, 10) for j in range(2, 10) if score[i] > score[j] + 1e-6)
    assert ranks[6] < ranks[8]  # the same kind, colour and popularity


def test_the_named_attribute_is_the_one_whose_removal_costs_most(model):
    reason = model.reason(0)
    assert (reason.item_id, reason.rank, reason.attribute, reason.value) == (2, 1, "kind", "owl")
    assert reason.without["kind"] == int(model.ranks(0, "kind")[2]) > 1 and reason.confirmed
    words = model.sentence(0, reason, "Night owl")
    assert (
        words
        == "'Night owl' is number 1 for you because of its kind (owl): 2 of the 2 you took have it, and 30% of the shop."
    )


def test_a_popular_item_is_explained_by_popularity():
    items = np.repeat([5, 0], [9, 1])
    many = AttributeModel({"kind": KIND, "colour": COLOUR}, np.arange(10), items)
    reason = many.reason(9)
    assert reason.attribute == "popularity" and reason.item_id == 5
    assert (
        many.sentence(9, reason, "Tea")
        == "'Tea' is number 1 for you because many take it: 9 shoppers did, half of the items have at most 0."
    )


def test_what_cannot_be_explained_is_said(model):
    with pytest.raises(CourseError, match="User 8 took nothing"):
        model.reason(8)
    with pytest.raises(CourseError, match="Rank 9 of a list of 8"):
        model.reason(0, 9)
    with pytest.raises(CourseError, match="give each a value for every item"):
        AttributeModel({"kind": KIND, "colour": COLOUR[:3]}, USERS, ITEMS)


def test_attributes_are_read_from_the_catalogue(tmp_path):
    dataset = write_catalogue(tmp_path / "shop")
    found = attributes_of(dataset)
    assert found["kind"][0] == "discs/all" and found["colour"][:3].tolist() == ["red", "green", "blue"]
    assert found["colour"][-1] == "several colours" and set(found["sound"]) == {"silent"}
    (tmp_path / "shop" / "bars2.png").write_bytes(b"")
    with pytest.raises(CourseError, match=r"Cannot read the image .*bars2\.png"):
        attributes_of(dataset)


@pytest.fixture
def tiny_model(tmp_path):
    """A causal language model of a few thousand weights with a tokenizer of ten words, saved as any other."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = ["[UNK]", "the", "owl", "is", "first", "because", "you", "like", "owls", "."]
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=10, n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    )
    model.save_pretrained(tmp_path / "lm", safe_serialization=True)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="[UNK]").save_pretrained(
        tmp_path / "lm"
    )
    return tmp_path / "lm"


def test_a_local_model_goes_on_from_the_prompt_without_a_network(tiny_model, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    said = told_by(tiny_model, "the owl is first because", n_tokens=5)
    assert said == told_by(tiny_model, "the owl is first because", n_tokens=5)
    assert (
        set(said.split()) <= {"the", "owl", "is", "first", "because", "you", "like", "owls", "."}
        and "owl is first because" not in said
    )


def test_a_folder_that_is_no_language_model_is_refused_in_one_sentence(tiny_model, tmp_path):
    with pytest.raises(CourseError, match="No language model in .*nothing is downloaded"):
        told_by(tmp_path / "nothing", "x")
    config = json.loads((tiny_model / "config.json").read_text())
    (tiny_model / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "evil.Model"}}))
    with pytest.raises(CourseError, match="evil"):
        told_by(tiny_model, "x")
    (tiny_model / "config.json").write_text(
        json.dumps({**config, "model_type": "no-such-kind", "architectures": ["No"]})
    )
    with pytest.raises(CourseError, match="does not load as a causal language model"):
        told_by(tiny_model, "x")
    (tiny_model / "model.safetensors").rename(tiny_model / "pytorch_model.bin")
    with pytest.raises(CourseError, match="has no .*safetensors"):
        told_by(tiny_model, "x")
