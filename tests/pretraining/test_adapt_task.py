"""utils.pretraining.adapt.task, cold and forgetting: scores and loss against plain loops, training, withheld items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from adapt_helpers import tiny_text, tokenizer
from pretraining_helpers import make_sequences, walks

from utils.errors import CourseError
from utils.pretraining import evaluate_next
from utils.pretraining.adapt import (
    NextFromContent,
    Texts,
    adapt,
    load_task,
    same_category,
    save_task,
    train_steps,
    withhold_items,
)
from utils.pretraining.subsets import without_items


def texts(n):
    """A word of its own for each item, at most 36 of them."""
    return Texts([f"w{n}" for n in range(n)], tokenizer)


def make(way="lora", sequences=None, stirred=True, **settings):
    sequences = sequences or make_sequences([[0, 1, 2, 3, 4], [5, 6, 0, 2], [3, 1, 5]], 8)
    model = NextFromContent(adapt(tiny_text(), way)[0], texts(sequences.n_items), sequences, **settings)
    if stirred:
        with torch.no_grad():
            for head in (model.item_head, model.query_head):
                head.up.weight.normal_(generator=torch.Generator().manual_seed(0))
    return model, sequences


def test_untrained_it_is_content_knn_with_recency():
    model, _ = make("frozen", stirred=False)
    vectors = model.encoder.vectors(model.contents, torch.arange(8))
    expected = F.normalize(vectors[2] + 0.6 * vectors[4] + 0.36 * vectors[2], dim=0) @ vectors.T
    assert torch.allclose(model.score_histories(np.array([[-1, -1, 2, 4, 2]]))[0], expected, atol=1e-5)


@pytest.mark.parametrize("way", ["frozen", "lora"])
def test_scores_and_loss_against_plain_loops(way):
    model, _ = make(way, length=2)
    histories, negatives = torch.tensor([[-1, 0, 1, 2], [5, 6, 0, 3]]), torch.tensor([7, 2])
    log_q = torch.linspace(-1, 1, 8)
    vectors = F.normalize(model.item_head(model.encoder.vectors(model.contents, torch.arange(8))), dim=1)

    def query(items):
        mixed = sum(0.6**age * vectors[item] for age, item in enumerate(items[::-1][:2]))
        return F.normalize(model.query_head(F.normalize(mixed, dim=0)), dim=0)

    assert torch.allclose(model.score_histories(np.array([[5, 6]]))[0], query([5, 6]) @ vectors.T, atol=1e-5)
    compete, losses = [0, 1, 2, 3, 5, 6, 7], []
    for row in ([0, 1, 2], [5, 6, 0, 3]):
        for place in range(1, len(row)):
            rivals = [item for item in compete if item == row[place] or item not in row]
            logits = [query(row[:place]) @ vectors[item] / 0.07 - log_q[item] for item in rivals]
            losses.append(torch.logsumexp(torch.stack(logits), 0) - logits[rivals.index(row[place])])
    assert torch.allclose(model.batch_loss(histories, negatives, log_q), torch.stack(losses).mean(), atol=1e-4)


def test_only_the_items_of_the_batch_are_encoded_and_a_frozen_encoder_encodes_none():
    model, seen = make("lora")[0], []
    model.encoder.vectors = lambda contents, rows: seen.append(rows.tolist()) or torch.ones(len(rows), 16)
    model.batch_loss(torch.tensor([[-1, 4, 2]]), torch.tensor([7, 2]), torch.zeros(8))
    assert seen == [[2, 4, 7]]
    frozen = make("frozen")[0]
    frozen.encoder.vectors = lambda contents, rows: pytest.fail("encoded again")
    frozen.batch_loss(torch.tensor([[-1, 4, 2]]), torch.tensor([7, 2]), torch.zeros(8))


def tastes(n_users=200, n_items=24, seed=0):
    """People who take six even or six odd items in any order: which half is theirs says all."""
    rng = np.random.default_rng(seed)
    return make_sequences([rng.permutation(np.arange(u % 2, n_items, 2))[:6].tolist() for u in range(n_users)], n_items)


@pytest.mark.parametrize("way", ["last_block", "full"])
def test_it_learns_a_taste_and_gives_the_same_numbers_twice(way):
    sequences, runs = tastes(), []
    for _ in range(2):
        model, _ = make(way, sequences, stirred=False)
        before = evaluate_next(model, sequences, top_k=6).mean()["hr@6"]
        history = train_steps(model, sequences, 60, 0.01, seed=3)
        runs.append((history["loss"].tolist(), evaluate_next(model, sequences, top_k=6).mean()["hr@6"], before))
    assert runs[0] == runs[1]
    losses, after, before = runs[0]
    assert np.mean(losses[-9:]) < np.mean(losses[:9]) - 0.1 and after > before + 0.3, (losses, after, before)
    assert history.index.tolist() == list(range(1, 61)) and not model.training


def test_with_a_frozen_encoder_the_heads_learn_alone():
    sequences = tastes()
    model, _ = make("frozen", sequences, stirred=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_steps(model, sequences, 3, 0.01)
    moved = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"item_head", "query_head"}


def test_what_is_kept_between_two_questions_is_dropped_when_a_parameter_changes(tmp_path):
    model, sequences = make("lora")
    history = np.array([[0, 1]])
    with torch.no_grad():
        first = model.score_histories(history)
        path = save_task(model, tmp_path / "task.safetensors")
        model.encoder.model.encoder.layer[0].attention.self.query.B.normal_(generator=torch.Generator().manual_seed(1))
        second = model.score_histories(history)
        assert not torch.equal(first, second)
        assert torch.equal(load_task(model, path).score_histories(history), first)


def test_the_vectors_of_all_items_are_computed_once_for_many_users():
    model, sequences = make("lora")
    seen, real = [], model.encoder.vectors
    model.encoder.vectors = lambda contents, rows: seen.append(len(rows)) or real(contents, rows)
    with torch.no_grad():
        for _ in range(3):
            model.score_histories(np.array([[0, 1]]))
    assert seen == [8]


def test_what_cannot_be_trained_is_one_sentence():
    sequences = make_sequences([[0, 1, 2]], 3)
    with pytest.raises(CourseError, match="There are 5 contents for 3 items"):
        NextFromContent(adapt(tiny_text(), "frozen")[0], texts(5), sequences)
    with pytest.raises(CourseError, match="No user has two training items"):
        train_steps(make("frozen", sequences)[0], sequences, 1, 0.01)
    model, sequences = make("frozen")
    model.temperature = 0.0
    with pytest.raises(CourseError, match="The loss of step 1 is not a finite number; try a learning rate below 0.01"):
        train_steps(model, sequences, 1, 0.01)


def test_withheld_items_are_in_no_training_history_and_are_tested():
    sequences = walks(300, 40)
    found = withhold_items(sequences, 0.2, seed=1)
    cold = set(found.split.cold_items.tolist())
    assert len(cold) == 8 and not cold & set(found.split.train[:, 1]) and not cold & set(found.split.valid[:, 1])
    assert cold & set(found.split.test[:, 1])
    for user in range(300):
        whole = sequences.sequence(user, "end").tolist()
        expected = [item for item in whole[:-1] if item not in cold] + whole[-1:]
        assert found.sequence(user, "end").tolist() == (expected if len(expected) > 1 or whole[-1] not in cold else [])
        assert not cold & set(found.sequence(user, "valid").tolist())
    again, other = withhold_items(sequences, 0.2, seed=1), withhold_items(sequences, 0.2, seed=2)
    assert np.array_equal(again.items, found.items) and set(other.split.cold_items) != cold
    with pytest.raises(CourseError, match="share=0.001 of 40 items is 0"):
        withhold_items(sequences, 0.001)


def test_a_user_who_has_only_a_withheld_item_left_is_not_learned_from():
    lists = [[n, (n + 1) % 6, (n + 2) % 6] for n in range(6)] + [[*range(6), *range(6)]]  # the last one is never empty
    sequences, emptied = make_sequences(lists), 0
    for seed in range(6):
        found = withhold_items(sequences, 0.67, seed=seed)
        drawn = set(np.random.default_rng(seed).choice(6, 4, replace=False).tolist())
        assert drawn <= set(found.split.cold_items.tolist())
        none_left = [user for user in range(6) if {user, (user + 1) % 6, (user + 2) % 6} <= drawn]
        assert [len(found.sequence(user, "end")) for user in none_left] == [0] * len(none_left)
        emptied += len(none_left)
    assert emptied


def test_same_category_against_a_plain_loop():
    vectors, rng = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), np.random.default_rng(0)
    labels = [str(label) for label in rng.choice(["a", "b", ""], 12)]

    def by_hand(asked):
        shares = []
        for i in asked:
            others = [j for j in range(12) if j != i and labels[j]]
            others.sort(key=lambda j: -float(F.cosine_similarity(vectors[i], vectors[j], dim=0)))
            shares.append(np.mean([labels[j] == labels[i] for j in others[:3]]))
        return np.mean(shares)

    known = [i for i in range(12) if labels[i]]
    assert same_category(vectors, labels, 3) == pytest.approx(by_hand(known))
    assert same_category(vectors, labels, 3, rows=known[2:5]) == pytest.approx(by_hand(known[2:5]))
    with pytest.raises(CourseError, match="items have a category and 0 are asked"):
        same_category(vectors, labels, 3, rows=[])


def test_withheld_items_are_drawn_and_leave_as_late_items_do():
    sequences = walks(200, 40, noise=0.4)
    found = withhold_items(sequences, 0.2, seed=3)
    drawn = np.random.default_rng(3).choice(np.arange(40), 8, replace=False)
    plain = without_items(sequences, drawn)
    assert np.array_equal(found.items, plain.items) and np.array_equal(found.split.test, plain.split.test)
    assert found.notes == ("8 items were withheld from training, drawn with seed 3.", *plain.notes)


def test_an_item_that_would_stand_alone_in_training_leaves_altogether():
    sequences = make_sequences([[0, 1, 2, 3], [4, 4, 4, 5], [4, 0, 5, 4]])
    found = without_items(sequences, np.array([4, 5]))
    assert [found.sequence(user, "end").tolist() for user in range(3)] == [[0, 1, 2, 3], [], [0, 4]]
    assert not np.isin(found.split.train[:, 1], [4, 5]).any() and found.split.test.tolist() == [[0, 3], [2, 4]]
