"""Every metric against a brute-force loop, a hand-computed case, and (ranking ones) torchmetrics."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from utils.evaluation import METRICS, evaluate, evaluate_lists, short_head


def make_split(n_users, n_items, train, valid, test):
    """Stand in for utils.data.Split: only what the evaluation reads."""
    parts = {
        name: np.array(rows, dtype=np.int64).reshape(-1, 2)
        for name, rows in (("train", train), ("valid", valid), ("test", test))
    }
    cold = np.setdiff1d(np.arange(n_items), parts["train"][:, 1])
    return SimpleNamespace(n_users=n_users, n_items=n_items, cold_items=cold, **parts)


def random_split(seed=0, n_users=40, n_items=60, share=0.2):
    generator = np.random.default_rng(seed)
    likes = generator.random((n_users, n_items)) < share * np.linspace(2, 0.2, n_items)
    rows = np.argwhere(likes)
    generator.shuffle(rows)
    a, b = int(len(rows) * 0.6), int(len(rows) * 0.75)
    return make_split(n_users, n_items, rows[:a], rows[a:b], rows[b:])


def features(n_items, seed=0):
    generator = np.random.default_rng(seed)
    mask = generator.random(n_items) < 0.7
    matrix = generator.standard_normal((n_items, 5)).astype(np.float32) * mask[:, None]
    return {"audio": SimpleNamespace(matrix=matrix, mask=mask)}


def loop(scores, split, k, content):
    """Evaluate with plain python loops: slow, and close to the definitions. Returns per-user dicts and overall dict."""
    train = [set() for _ in range(split.n_users)]
    test = [set() for _ in range(split.n_users)]
    count = [0] * split.n_items
    for u, i in split.train.tolist():
        train[u].add(i)
        count[i] += 1
    for u, i in split.test.tolist():
        test[u].add(i)
    total, n_train_users = sum(count), sum(1 for seen in train if seen)
    rarest = min(c for c in count if c)
    head, held = set(), 0
    for i in sorted(range(split.n_items), key=lambda i: (-count[i], i)):
        if held >= 0.8 * total:
            break
        head.add(i)
        held += count[i]
    users, slots = {}, [0] * split.n_items
    for u in range(split.n_users):
        if not test[u]:
            continue
        ranking = sorted((i for i in range(split.n_items) if i not in train[u]), key=lambda i: (-scores[u][i], i))[:k]
        d = [1 / math.log2(rank + 1) for rank in range(1, k + 1)]
        rel = [1 if i in test[u] else 0 for i in ranking]
        first = next((rank for rank, r in enumerate(rel, 1) if r), None)
        found, precisions = 0, 0.0
        for rank, r in enumerate(rel, 1):
            if r:
                found += 1
                precisions += found / rank
        present = [content.matrix[i].astype(float) for i in ranking if content.mask[i]]
        vectors = [v / np.linalg.norm(v) for v in present]
        distances = [1 - float(a @ b) for x, a in enumerate(vectors) for b in vectors[x + 1 :]]
        for i in ranking:
            slots[i] += 1
        users[u] = {
            "precision": sum(rel) / k,
            "recall": sum(rel) / len(test[u]),
            "hr": float(any(rel)),
            "ndcg": sum(r * w for r, w in zip(rel, d)) / sum(d[: min(k, len(test[u]))]),
            "mrr": 1 / first if first else 0.0,
            "map": precisions / min(k, len(test[u])),
            "efd": sum(r * w * -math.log2(max(count[i], rarest) / total) for r, w, i in zip(rel, d, ranking)) / sum(d),
            "epc": sum(r * w * (1 - count[i] / n_train_users) for r, w, i in zip(rel, d, ranking)) / sum(d),
            "aplt": sum(i not in head for i in ranking) / len(ranking),
            "arp": sum(count[i] for i in ranking) / len(ranking),
            "ild_audio": sum(distances) / len(distances) if distances else math.nan,
        }
    q = sorted(s / sum(slots) for s in slots)
    n = split.n_items
    overall = {
        "gini": 1 - sum((2 * j - n - 1) * share for j, share in enumerate(q, 1)) / (n - 1),
        "entropy": -sum(share * math.log2(share) for share in q if share),
        "coverage": sum(s > 0 for s in slots) / n,
    }
    return users, overall


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("tied", [False, True])
def test_every_metric_agrees_with_a_plain_loop(seed, k, tied):
    split, content = random_split(seed), features(60, seed)
    generator = np.random.default_rng(seed + 10)
    scores = generator.standard_normal((split.n_users, split.n_items)).astype(np.float32)
    if tied:  # five values only: most items share a score
        scores = np.round(scores)
    report = evaluate(scores, split, top_k=k, metrics=(*METRICS, "ild_audio"), features=content, block=7)
    users, overall = loop(scores.tolist(), split, k, content["audio"])
    assert list(report.user_ids) == list(users)
    for name in next(iter(users.values())):
        expected = [values[name] for values in users.values()]
        np.testing.assert_allclose(report.per_user[f"{name}@{k}"], expected, atol=1e-9, err_msg=name)
    for name, value in overall.items():
        assert report.overall[f"{name}@{k}"] == pytest.approx(value, abs=1e-9), name


def test_hand_computed_list():
    # user 0 likes items 1 and 5 and gets [0, 1, 2, 5]: hits at ranks 2 and 4; item 4 is hidden by train
    train = [(0, 4), (1, 0), (1, 1), (2, 0), (2, 2), (3, 0), (3, 0 + 3)]
    split = make_split(4, 6, train, [], [(0, 1), (0, 5)])
    scores = np.array([[9, 8, 7, 1, 99, 6]] * 4, dtype=np.float32)
    report = evaluate(scores, split, top_k=4)
    d = [1, 1 / math.log2(3), 0.5, 1 / math.log2(5)]
    expected = {
        "precision@4": 2 / 4,
        "recall@4": 1.0,
        "hr@4": 1.0,
        "ndcg@4": (d[1] + d[3]) / (d[0] + d[1]),
        "mrr@4": 1 / 2,
        "map@4": (1 / 2 + 2 / 4) / 2,
        # 7 train interactions; item 1 has one (1/7), item 5 none: counts as the rarest, 1/7
        "efd@4": (d[1] + d[3]) * math.log2(7) / sum(d),
        "epc@4": (d[1] * (1 - 1 / 4) + d[3] * 1) / sum(d),
        # items by train count: 0 (3), then 1, 2, 3, 4 (1 each); 80 % of 7 = 5.6 is reached with 0, 1, 2, 3: tail {4, 5}
        "aplt@4": 1 / 4,
        "arp@4": (3 + 1 + 1 + 0) / 4,
        # slots 0 0 1 1 1 1 of 4 over 6 items: sum (2j - 7) q_j = (-1 + 1 + 3 + 5) / 4 = 2, over n - 1 = 5
        "gini@4": 1 - 2 / 5,
        "entropy@4": 2.0,
        "coverage@4": 4 / 6,
    }
    assert report.lists.tolist() == [[0, 1, 2, 5]]
    for name, value in expected.items():
        assert report[name] == pytest.approx(value), name


def test_gini_and_entropy_know_their_extremes():
    split = make_split(4, 4, [(u, u) for u in range(4)], [], [(u, (u + 1) % 4) for u in range(4)])
    users = np.arange(4)
    even = evaluate_lists([[0], [1], [2], [3]], users, split)
    one = evaluate_lists([[2], [2], [2], [2]], users, split)
    assert even["gini@1"] == pytest.approx(1.0) and one["gini@1"] == pytest.approx(0.0)
    assert even["entropy@1"] == pytest.approx(2.0) and one["entropy@1"] == 0.0
    assert even["coverage@1"] == 1.0 and one["coverage@1"] == 0.25


def test_intra_list_diversity_by_hand():
    matrix = np.array([[1, 0], [0, 2], [-3, 0], [5, 5]], dtype=np.float32)
    content = {"visual": SimpleNamespace(matrix=matrix, mask=np.array([True, True, True, False]))}
    split = make_split(2, 5, [(0, 4), (1, 4)], [], [(0, 0), (1, 0)])
    content["visual"].matrix = np.vstack([matrix, [[0, 0]]])
    content["visual"].mask = np.array([True, True, True, False, False])
    lists = np.array([[0, 1, 2, 3], [0, 3, -1, -1]])  # item 3 has no picture; user 1 has one picture: no pair
    report = evaluate_lists(lists, [0, 1], split, metrics=["ild_visual"], features=content)
    values = report.per_user["ild_visual@4"]
    assert values[0] == pytest.approx((1 + 2 + 1) / 3)  # right angle, opposite, right angle
    assert math.isnan(values[1])
    assert report["ild_visual@4"] == pytest.approx(4 / 3)


def test_short_head_holds_eighty_percent():
    popularity = np.array([1, 5, 2, 1, 1, 0])
    assert short_head(popularity).tolist() == [True, True, True, False, False, False]  # 5 + 2 + 1 = 8 of 10
    assert not short_head(np.zeros(3, dtype=int)).any()


@pytest.mark.parametrize("k", [1, 5, 20])
def test_ranking_metrics_agree_with_torchmetrics(k):
    from torchmetrics import retrieval  # seconds, which only the process that runs this pays

    split = random_split(3)
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(split.n_users, split.n_items, generator=generator)
    report = evaluate(scores, split, top_k=k)
    flags = torch.zeros(split.n_users, split.n_items, dtype=torch.bool)
    flags[split.test[:, 0], split.test[:, 1]] = True
    scores = scores.clone()
    scores[split.train[:, 0], split.train[:, 1]] = -1.0  # below every other score, and never relevant
    users = torch.arange(split.n_users)[:, None].expand_as(scores)
    peers = {
        "precision": retrieval.RetrievalPrecision(empty_target_action="skip", top_k=k),
        "recall": retrieval.RetrievalRecall(empty_target_action="skip", top_k=k),
        "hr": retrieval.RetrievalHitRate(empty_target_action="skip", top_k=k),
        "ndcg": retrieval.RetrievalNormalizedDCG(empty_target_action="skip", top_k=k),
        "mrr": retrieval.RetrievalMRR(empty_target_action="skip", top_k=k),
    }
    for name, peer in peers.items():
        value = peer(scores.flatten(), flags.flatten(), indexes=users.flatten())
        assert report[f"{name}@{k}"] == pytest.approx(float(value), abs=1e-6), name


def test_map_agrees_with_torchmetrics_where_the_normalisers_do():
    from torchmetrics import retrieval  # seconds, which only the process that runs this pays

    # at k = catalogue every relevant item is found, so "hits found" and "relevant items" are the same number
    split = random_split(4)
    split = make_split(split.n_users, split.n_items, np.zeros((0, 2)), [], split.test)
    split.train = np.array([[0, 0]])
    scores = torch.rand(split.n_users, split.n_items, generator=torch.Generator().manual_seed(1))
    flags = torch.zeros(scores.shape, dtype=torch.bool)
    flags[split.test[:, 0], split.test[:, 1]] = True
    users = torch.arange(split.n_users)[:, None].expand_as(scores)
    peer = retrieval.RetrievalMAP(empty_target_action="skip")(scores.flatten(), flags.flatten(), users.flatten())
    report = evaluate(scores, split, top_k=split.n_items, metrics=["map"], mask=())
    assert report[f"map@{split.n_items}"] == pytest.approx(float(peer), abs=1e-6)
