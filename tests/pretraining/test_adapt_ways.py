"""utils.pretraining.adapt: what each way adds, what it trains, what it leaves alone, and how LoRA is merged."""

from __future__ import annotations

import pytest
import torch
from adapt_helpers import tiny_picture, tiny_text, tokenizer
from torch import nn

from utils.errors import CourseError
from utils.pretraining.adapt import PICTURE_WAYS, WAYS, Adapter, LoRA, Texts, adapt, merge_lora, parameters_of

TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11 w12 w13", "", "w1 w2 w3 w4"]
ROWS = torch.arange(5)
BOTH = [(tiny_text, way) for way in WAYS] + [(tiny_picture, way) for way in PICTURE_WAYS]
NAMES = [f"{make.__name__}-{way}" for make, way in BOTH]


def contents(make):
    if make is tiny_text:
        return Texts(TEXTS, tokenizer)
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def stir(parameters, seed=1):
    """Move every parameter that learns, as training does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))


def test_lora_is_the_formula_and_starts_as_the_base():
    torch.manual_seed(0)
    base, x = nn.Linear(6, 4), torch.randn(3, 6)
    expected = base(x)
    lora = LoRA(base, rank=2, alpha=6.0)
    assert torch.equal(lora(x), expected) and lora.A.any() and not lora.B.any()
    stir({"B": lora.B})
    by_hand = torch.stack([base.weight @ row + base.bias + 3.0 * lora.B @ (lora.A @ row) for row in x])
    assert torch.allclose(lora(x), by_hand, atol=1e-5)
    assert torch.linalg.matrix_rank(lora.weight - base.weight) == 2
    assert torch.allclose(lora.merged()(x), by_hand, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_lora_of_a_1_x_1_convolution_is_that_of_a_linear_map_at_each_place(stride):
    torch.manual_seed(0)
    conv, x = nn.Conv2d(6, 4, 1, stride), torch.randn(2, 6, 4, 4)
    lora = LoRA(conv, rank=2)
    stir({"B": lora.B})
    found, flat = lora(x), LoRA(nn.Linear(6, 4), rank=2)
    with torch.no_grad():
        for mine, other in ((flat.base.weight, conv.weight[:, :, 0, 0]), (flat.base.bias, conv.bias), (flat.A, lora.A), (flat.B, lora.B)):  # fmt: skip
            mine.copy_(other)
    expected = flat(x[:, :, ::stride, ::stride].movedim(1, -1)).movedim(-1, 1)
    assert torch.allclose(found, expected, atol=1e-5) and torch.allclose(lora.merged()(x), expected, atol=1e-5)


@pytest.mark.parametrize("module, said", [
    (nn.Conv2d(4, 4, 3), "LoRA needs a linear map or a 1 x 1 convolution of one group"),
    (nn.Conv2d(4, 4, 1, groups=4), "of one group"), (nn.LayerNorm(4), "not LayerNorm"),
])  # fmt: skip
def test_lora_beside_anything_else_is_one_sentence(module, said):
    with pytest.raises(CourseError, match=said):
        LoRA(module)


@pytest.mark.parametrize("rank", [0, 5])
def test_a_rank_that_saves_nothing_is_refused(rank):
    with pytest.raises(CourseError, match=f"rank={rank} must lie between 1 and 4 for a map from 6 to 4"):
        LoRA(nn.Linear(6, 4), rank)


def test_an_adapter_is_the_formula_starts_as_identity_and_works_on_maps():
    torch.manual_seed(0)
    adapter, x = Adapter(6, 3), torch.randn(2, 5, 6)
    assert torch.equal(adapter(x), x)
    stir({"up": adapter.up.weight, "bias": adapter.up.bias})
    by_hand = x + torch.relu(x @ adapter.down.weight.T + adapter.down.bias) @ adapter.up.weight.T + adapter.up.bias
    assert torch.allclose(adapter(x), by_hand, atol=1e-6)
    adapter.channels_first = True
    assert torch.allclose(adapter(x[:, :, None].movedim(-1, 1)), by_hand[:, :, None].movedim(-1, 1), atol=1e-6)


@pytest.mark.parametrize("make, way", BOTH, ids=NAMES)
def test_each_way_starts_with_the_vectors_of_the_base_but_for_a_prompt(make, way):
    base, given = make(), contents(make)
    encoder, _ = adapt(base, way)
    same = torch.equal(encoder.vectors(given, ROWS), base.vectors(given, ROWS))
    assert same == (way != "prompt")


@pytest.mark.parametrize("make, way", BOTH, ids=NAMES)
def test_each_way_trains_what_it_names_and_leaves_every_other_number_as_it_was(make, way):
    base, given = make(), contents(make)
    encoder, named = adapt(base, way)
    stir({name: p for name, p in named.items() if not p.any()})  # a zero B or W_up would hide A and W_down
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    if named:
        encoder.train()
        optimiser = torch.optim.Adam(encoder.parameters(), lr=0.1)
        goal = torch.randn(5, encoder.dim, generator=torch.Generator().manual_seed(2))
        (encoder.vectors(given, ROWS) * goal).sum().backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in named.values())
        optimiser.step()
    moved = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == set(named) == {name for name, p in encoder.named_parameters() if p.requires_grad}
    words = {"lora": (".A", ".B"), "adapter": ("adapter.",), "prompt": ("prompt.tokens",), "frozen": ()}
    if way in words:
        assert bool(named) == (way != "frozen") and all(any(word in name for word in words[way]) for name in named)
    if way == "last_block":
        assert {name.split(".")[3 if make is tiny_text else 2] for name in named} == {"1" if make is tiny_text else "2"}
    if way == "full":
        assert set(named) == {name for name, _ in encoder.named_parameters()}
    assert not any(parameter.requires_grad and parameter.grad is not None for parameter in base.parameters())


@pytest.mark.parametrize("make, way", [pair for pair in BOTH if pair[1] != "frozen"])
def test_what_was_learned_is_judged_train_and_eval_give_the_same_other_vectors(make, way):
    base, given = make(), contents(make)
    encoder, named = adapt(base, way)
    stir(named)
    found = {mode: encoder.train(mode).vectors(given, ROWS) for mode in (True, False)}
    assert torch.equal(found[True], found[False])
    assert (found[False] - base.vectors(given, ROWS)).abs().max() > 1e-3
    with torch.no_grad():
        assert torch.allclose(encoder.vectors(given, ROWS), found[True], atol=1e-5)


def test_counts_by_formula():
    base, dim, blocks = tiny_text(), 16, 2
    count = {way: sum(p.numel() for p in adapt(base, way, rank=3, width=5, n_tokens=7)[1].values()) for way in WAYS}
    block = 4 * (dim * dim + dim) + 2 * 2 * dim + 2 * dim * 32 + 32 + dim
    assert count["frozen"] == 0 and count["prompt"] == 7 * dim
    assert count["lora"] == blocks * 2 * 3 * (dim + dim)
    assert count["adapter"] == blocks * (2 * dim * 5 + 5 + dim)
    assert count["last_block"] == block
    assert count["full"] == blocks * block + (40 + 32 + 2) * dim + 2 * dim
    pictures = {way: sum(p.numel() for p in adapt(tiny_picture(), way, rank=2)[1].values()) for way in PICTURE_WAYS}
    assert pictures["lora"] == 2 * ((8 + 24) + (24 + 12) + (12 + 20))  # not the depthwise and the first convolution


@pytest.mark.parametrize("make", [tiny_text, tiny_picture])
def test_merged_lora_is_the_same_network_without_lora(make):
    given = contents(make)
    encoder, named = adapt(make(), "lora")
    stir(named)
    merged = merge_lora(encoder)
    assert not any(isinstance(module, LoRA) for module in merged.modules()) and parameters_of(encoder)
    assert torch.allclose(merged.vectors(given, ROWS), encoder.vectors(given, ROWS), atol=1e-5)
    with pytest.raises(CourseError, match="The encoder has no LoRA to merge"):
        merge_lora(merged)


def test_a_text_has_the_same_vector_in_any_company_and_with_a_prompt_its_words_keep_their_places():
    base, given = tiny_text(), Texts(TEXTS, tokenizer)
    for encoder in (base, adapt(base, "prompt")[0]):
        together = encoder.vectors(given, torch.tensor([2, 0, 4, 1, 3, 0]))
        for place, row in enumerate([2, 0, 4, 1, 3, 0]):
            assert torch.allclose(together[place], encoder.vectors(given, torch.tensor([row]))[0], atol=1e-5)
    encoder, seen = adapt(base, "prompt", n_tokens=3)[0], []
    encoder.model.embeddings.register_forward_pre_hook(lambda _, args, kw: seen.append(kw["position_ids"]), with_kwargs=True)  # fmt: skip
    encoder.vectors(given, torch.tensor([1]))
    assert seen[0].tolist() == [[0, 1, 2, 0, 1, 2]]


def test_the_prompt_starts_as_words_and_the_same_seed_draws_the_same():
    base = tiny_text()
    first, again, other = (adapt(base, "prompt", seed=seed)[1]["prompt.tokens"] for seed in (3, 3, 4))
    table = base.model.embeddings.word_embeddings.weight
    assert all((table == row).all(dim=1).any() for row in first) and torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_cannot_be_adapted_is_one_sentence():
    with pytest.raises(CourseError, match="Unknown way to adapt an encoder 'lorra'; did you mean lora"):
        adapt(tiny_text(), "lorra")
    with pytest.raises(CourseError, match="a convolution reads none; choose lora or adapter"):
        adapt(tiny_picture(), "prompt")
    with pytest.raises(CourseError, match=r"adapted already \(lora\); start from the one that was loaded"):
        adapt(adapt(tiny_text(), "lora")[0], "full")
    with pytest.raises(CourseError, match="Unknown linear map of the encoder's blocks 'querry'; did you mean query"):
        adapt(tiny_text(), "lora", targets=("querry",))
