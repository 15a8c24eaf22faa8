"""utils.pretraining.mp4sr, contrast and streams: each formula against a plain loop, gradients, padding, mixing, stages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretraining_helpers import make_sequences, walks

from utils.errors import CourseError
from utils.pretraining.bags import Bags
from utils.pretraining.contrast import cross_modal_contrast, next_item_contrast
from utils.pretraining.loop import n_batches, train_next
from utils.pretraining.mp4sr import MP4SR
from utils.pretraining.next_item import evaluate_next, next_items
from utils.pretraining.streams import AttentionPooling, Experts, drop_items, exchange, swaps

SMALL = {"dim": 8, "length": 6, "n_experts": 3, "dropout": 0.0}


def bags_of(n_items, dim=5, most=3, without=(), seed=0):
    rng = np.random.default_rng(seed)
    found = {}
    for name in ("visual", "textual"):
        mask = np.ones((n_items, most), dtype=bool)
        mask[::2, -1] = False
        mask[list(without) if name == "visual" else []] = False
        found[name] = Bags(rng.normal(size=(n_items, most, dim)), mask, {"encoder": "by hand"})
    return found


def model_of(sequences, **settings):
    return MP4SR(sequences, bags_of(sequences.n_items), **{**SMALL, **settings})


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def cosine(a, b):
    return float((a @ b / (a.norm() * b.norm())).detach())


# ---- contrast ----


def test_the_next_item_contrast_against_a_plain_loop():
    torch.manual_seed(0)
    states, vectors, targets = torch.randn(6, 4), torch.randn(5, 4), torch.tensor([0, 1, 0, 3, 0, 1])
    losses = []
    for i in range(6):
        own = np.exp(cosine(states[i], vectors[targets[i]]) / 0.07)
        others = [np.exp(cosine(states[i], vectors[targets[j]]) / 0.07) for j in range(6) if targets[j] != targets[i]]
        losses.append(-np.log(own / (own + sum(others))))
    assert next_item_contrast(states, vectors, targets).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_cross_modal_contrast_against_a_plain_loop():
    torch.manual_seed(1)
    one, other, targets = torch.randn(5, 4), torch.randn(5, 4), torch.tensor([2, 7, 2, 9, 7])
    losses = []
    for a, b in ((one, other), (other, one)):
        for i in range(5):
            allowed = [j for j in range(5) if targets[j] != targets[i]]
            own = np.exp(cosine(a[i], b[i]) / 0.07)
            across = sum(np.exp(cosine(a[i], b[j]) / 0.07) for j in allowed)
            within = sum(np.exp(cosine(a[i], a[j]) / 0.07) for j in allowed)
            losses.append(-np.log(own / (own + across + within)))
    assert cross_modal_contrast(one, other, targets).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_excluded_negatives_have_no_gradient_and_no_share():
    torch.manual_seed(2)
    one, other = torch.randn(3, 4), torch.randn(3, 4)
    rows = []
    for third in (5, 6):  # 5: the third history has the next item of the first two, and 6: another
        a, b = one.clone().requires_grad_(), other.clone().requires_grad_()
        loss = cross_modal_contrast(a[:1], b[:1], torch.tensor([5])) if third == 5 else None
        every = cross_modal_contrast(a, b, torch.tensor([5, 5, third]))
        every.backward()
        rows.append((a.grad.abs().sum(1), every.item()))
        if (
            loss is not None
        ):  # nothing is left to compare with: the loss is 0, and log(1 + number of e^0) it would be with 0
            assert loss.item() == pytest.approx(0.0, abs=1e-7)
    assert rows[0][1] == pytest.approx(0.0, abs=1e-6) and rows[0][0].max() < 1e-6
    assert rows[1][1] > 1e-3 and rows[1][0].min() > 1e-6
    states, vectors = torch.randn(3, 4), torch.randn(4, 4, requires_grad=True)
    next_item_contrast(states, vectors, torch.tensor([1, 1, 1])).backward()
    assert vectors.grad.abs().max() < 1e-6  # the same item three times: nothing to tell apart


def test_lengths_do_not_count():
    torch.manual_seed(3)
    states, vectors, targets = torch.randn(4, 4), torch.randn(6, 4), torch.tensor([0, 1, 2, 3])
    assert next_item_contrast(3 * states, 7 * vectors, targets).item() == pytest.approx(
        next_item_contrast(states, vectors, targets).item(), rel=1e-5
    )


# ---- streams ----


def test_pooling_against_a_plain_loop_and_what_is_missing_is_zero():
    torch.manual_seed(0)
    pool, vectors = AttentionPooling(4), torch.randn(3, 3, 4)
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    found = pool(vectors * mask[..., None], mask)
    for item in range(2):
        real = [vectors[item, j] for j in range(3) if mask[item, j]]
        weights = torch.stack([(pool.weigh.weight[0] @ x).exp() for x in real])
        expected = sum(w * x for w, x in zip(weights / weights.sum(), real))
        assert torch.allclose(found[item], expected, atol=1e-6)
    assert not found[2].any() and torch.isfinite(found).all()


def test_the_experts_against_a_plain_loop():
    torch.manual_seed(0)
    experts, e = Experts(4, 3, 2, 0.5).eval(), torch.randn(5, 4)
    with torch.no_grad():
        experts.scale.normal_(), experts.shift.normal_()
    weight, bias = experts.experts.weight.view(2, 3, 4), experts.experts.bias.view(2, 3)
    for row, found in zip(e, experts(e)):
        gates = (experts.gate.weight @ row).softmax(0)
        expected = torch.zeros(3)
        for k in range(2):
            x = weight[k] @ row + bias[k]
            x = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()
            expected = expected + gates[k] * (x * experts.scale[k] + experts.shift[k])
        assert torch.allclose(found, expected, atol=1e-5)


def test_dropped_items_leave_the_order_the_first_and_the_last():
    histories = torch.tensor([[-1, -1, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6], [-1, -1, -1, -1, 8, 9]])
    lengths = set()
    for seed in range(200):
        found = drop_items(histories, 0.9, dice(seed))
        for before, after in zip(histories, found):
            left = after[after >= 0].tolist()
            assert after[: 6 - len(left)].eq(-1).all(), "padding stands on the left"
            kept = [item for item in before.tolist() if item in left and item >= 0]
            assert left == kept and left[0] == before[before >= 0][0] and left[-1] == before[-1]
        lengths.add(int((found[1] >= 0).sum()))
    assert lengths == {2, 3, 4, 5, 6}
    assert torch.equal(drop_items(histories, 0.0, dice()), histories)


def test_mixing_is_complementary_and_leaves_padding():
    real = torch.tensor([[False, True, True, True]] * 50)
    places = swaps(real, 1.0, dice(4))
    assert not places[:, 0].any() and places.any() and not places[:, 1:].all()
    torch.manual_seed(0)
    one, other = torch.randn(2, 50, 4, 3)
    mixed, rest = exchange(one, other, places)
    assert torch.equal(mixed[places], other[places]) and torch.equal(rest[places], one[places])
    assert torch.equal(mixed[~places], one[~places]) and torch.equal(rest[~places], other[~places])
    assert torch.equal(mixed + rest, one + other)
    assert not swaps(real, 0.0, dice()).any()


# ---- the model ----


@pytest.mark.parametrize("stage", ["pretrain", "tune"])
def test_gradients_reach_every_parameter(stage):
    sequences = walks()
    model = model_of(sequences, stage=stage)
    histories = torch.from_numpy(sequences.padded(np.arange(sequences.n_users), 7, before="end"))
    model.batch_loss(histories, dice()).backward()
    names = [name for name, _ in model.named_parameters()]
    assert {"pool.visual.weigh.weight", "pool.textual.weigh.weight"} <= set(names)
    assert ("ids.weight" in names) == (stage == "tune")
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 1e-12, name


def test_the_loss_of_stage_one_is_its_parts():
    sequences = walks()
    model = model_of(sequences, drop=0.0, mixup=0.0, contrast=0.5, contrasted=10_000)
    histories = torch.tensor([[-1, 3, 4, 5], [6, 7, 8, 9], [-1, -1, 10, 4]])
    vectors, given = model.item_vectors(), histories[:, :-1]
    states = model.states([model.look_up(given, z) for z in vectors], given >= 0)
    steps = [(row, place) for row in range(3) for place in range(3) if given[row, place] >= 0]
    targets = torch.tensor([int(histories[row, place + 1]) for row, place in steps])
    one, other = (torch.stack([h[row, place] for row, place in steps]) for h in states)
    expected = next_item_contrast(one, vectors[0], targets) + next_item_contrast(other, vectors[1], targets)
    expected = expected + 0.5 * cross_modal_contrast(one, other, targets)
    assert model.batch_loss(histories, dice()).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_loss_of_stage_two_against_a_plain_loop():
    sequences = make_sequences([[0, 1, 2, 3, 4], [3, 2, 1, 0, 5]], n_items=7)  # 4, 5 and 6 are cold
    model = model_of(sequences, stage="tune")
    with torch.no_grad():
        model.ids.weight.normal_()
    histories, warm, losses = [[-1, 0, 1, 2], [3, 2, 1, 0]], [0, 1, 2, 3], []
    vectors = [z + model.ids.weight * model.warm[:, None] for z in model.item_vectors()]
    for history in histories:
        for step in range(1, 4):
            if history[step - 1] < 0:
                continue
            given = torch.tensor([history[:-1]])
            states = model.states([model.look_up(given, z) for z in vectors], given >= 0)
            logits = [sum(cosine(h[0, step - 1], z[i]) for h, z in zip(states, vectors)) / 0.07 for i in warm]
            losses.append(np.log(np.exp(logits).sum()) - logits[warm.index(history[step])])
    assert model.batch_loss(torch.tensor(histories)).item() == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize("stage", ["pretrain", "tune"])
def test_padding_changes_no_score_and_no_loss(stage):
    sequences = walks()
    model = model_of(sequences, stage=stage, drop=0.0, mixup=0.0, contrast=0.5)
    short, padded = torch.tensor([[4, 5, 6]]), torch.tensor([[-1, -1, -1, 4, 5, 6]])
    assert torch.allclose(model.score_histories(short), model.score_histories(padded), atol=1e-4)
    rows = torch.tensor([[-1, 4, 5, 6], [9, 8, 7, 6]])
    wide = torch.nn.functional.pad(rows, (3, 0), value=-1)
    assert model.batch_loss(rows, dice()).item() == pytest.approx(model.batch_loss(wide, dice()).item(), rel=1e-5)
    before = model.score_histories(padded)
    with torch.no_grad():
        model.positions.weight[:3] += 5
    assert torch.allclose(model.score_histories(padded), before, atol=1e-4)
    assert torch.isfinite(model.score_histories(torch.full((1, 6), -1))).all()


def test_no_state_sees_the_future():
    model = model_of(walks())
    before = torch.tensor([[1, 2, 3, 9, 9, 2]])
    after = torch.tensor([[1, 2, 3, 9, 20, 21]])
    vectors = model.item_vectors()
    old, new = (model.states([model.look_up(h, z) for z in vectors], h >= 0) for h in (before, after))
    for a, b in zip(old, new):
        assert torch.equal(a[:, :4], b[:, :4]) and not torch.allclose(a[:, 4:], b[:, 4:], atol=1e-3)


def test_an_item_without_pictures_is_read_by_its_text_alone():
    sequences = walks(n_items=10)
    model = MP4SR(sequences, bags_of(10, without=[3]), **SMALL)
    textual, visual = model.item_vectors()
    assert model.modalities == ("textual", "visual") and not visual[3].any() and textual[3].any() and visual[2].any()
    assert torch.isfinite(model.score_histories(torch.tensor([[1, 3, 3]]))).all()
    assert torch.isfinite(model.batch_loss(torch.tensor([[1, 3, 2], [3, 2, 3]]), dice()))


def test_the_id_of_a_cold_item_says_nothing():
    sequences = make_sequences([[0, 1, 2, 3, 4], [3, 2, 1, 0, 5]])
    model = model_of(sequences, stage="tune")
    for plain, with_ids in zip(model.item_vectors(), model.with_ids(model.item_vectors())):
        assert torch.equal(plain[4:], with_ids[4:]) and not torch.equal(plain[:4], with_ids[:4])


def test_both_stages_begin_alike_and_the_seed_decides():
    sequences = walks()
    one, two, other = model_of(sequences), model_of(sequences, stage="tune"), MP4SR(sequences, bags_of(30), 1, **SMALL)
    for name, weight in one.named_parameters():
        assert torch.equal(weight, two.get_parameter(name)), name
    assert not torch.equal(one.positions.weight, other.positions.weight)


def test_items_do_not_begin_alike_where_their_vectors_share_a_direction():
    bags = {name: Bags(one.vectors / 10 + 1, one.mask) for name, one in bags_of(30, dim=40).items()}
    for z in MP4SR(walks(), bags, **{**SMALL, "dim": 32}).item_vectors():
        unit = torch.nn.functional.normalize(z, dim=1)
        assert (unit @ unit.T).mean() < 0.2


def test_the_loop_of_sasrec_trains_it_with_a_fixed_number_of_steps_and_the_same_numbers_twice():
    sequences = walks(200, 30)
    frames = []
    for _ in range(2):
        model = model_of(sequences, dim=16, stage="tune")
        history = train_next(model, sequences, n_epochs=6, patience=6, lr=0.01, batch_size=64, progress=False)
        frames.append(history.frame().drop(columns="seconds"))
    assert frames[0].equals(frames[1]) and len(frames[0]) == 6 and n_batches(sequences, 64) == 4
    reached = evaluate_next(model, sequences).mean()["hr@10"]
    untrained = evaluate_next(model_of(sequences, dim=16, stage="tune"), sequences).mean()["hr@10"]
    assert reached > untrained + 0.1, (reached, untrained)
    assert len(next_items(model, [3, 4], 5)) == 5


def test_stage_one_learns_without_ids_and_is_never_cut_in_pieces(monkeypatch):
    sequences, sizes = walks(200, 30), []
    model = model_of(sequences, dim=16)
    original = model.batch_loss
    monkeypatch.setattr(model, "batch_loss", lambda h, g: sizes.append(len(h)) or original(h, g))
    history = train_next(model, sequences, n_epochs=10, eval_every=10, lr=0.01, batch_size=100, progress=False)
    losses = history.frame()["loss"]
    assert set(sizes) == {100} and losses.iloc[-1] < losses.iloc[0] - 0.5 and history.best_epoch == 10


def test_the_newest_items_of_a_long_history_count_and_it_is_said():
    sequences = make_sequences([list(range(10)), [1, 2, 3], [4, 2, 1]])
    model = model_of(sequences)
    assert len(model.notes) == 1 and "1 of 3 histories are longer than the 6 items" in model.notes[0]
    assert torch.equal(model.score_histories([list(range(10))]), model.score_histories([list(range(4, 10))]))
    assert model_of(sequences, length=9).notes == []


@pytest.mark.parametrize("change, said", [
    ({"expert": 2}, "Unknown setting of mp4sr 'expert'; did you mean n_experts"),
    ({"stage": "train"}, "Unknown stage 'train'"),
    ({"dim": 9}, "dim=9 must be a multiple of n_heads=2"),
    ({"bags": {"textual": bags_of(30)["textual"]}}, "two modalities, and got textual; pass bags="),
    ({"bags": bags_of(4)}, "The visual bags have 4 items, the sequences 30"),
    ({"bags": bags_of(30, without=range(30))}, "No item has visual content"),
])  # fmt: skip
def test_what_does_not_fit_is_one_sentence(change, said):
    change = dict(change)
    with pytest.raises(CourseError, match=said):
        MP4SR(walks(), change.pop("bags", bags_of(30)), **{**SMALL, **change})
