"""utils.generation.sage: two steps over the graph against a plain loop, cold items, and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_helpers import make_features, make_split, planted

from utils.generation import GraphSage, residual_kmeans
from utils.training import train


def test_two_steps_against_a_plain_loop():
    split = make_split([(0, 0), (0, 1), (1, 1), (2, 2)], n_items=4)  # item 3 is cold
    features = {"visual": make_features("visual", np.random.default_rng(0).normal(size=(4, 5)))}
    model = GraphSage(split, features, dim=6, out=3).eval()
    around = [[0, 1], [1], [2], [0], [0, 1], [2], []]  # users 0 to 2, then items
    around = [[n + 3 for n in row] if place < 3 else row for place, row in enumerate(around)]
    with torch.no_grad():
        nodes = list(model.user_table.weight) + list(model.project(model.content("visual")))
        for step in range(2):
            zero = torch.zeros_like(nodes[0])
            means = [torch.stack([nodes[n] for n in row]).mean(0) if row else zero for row in around]
            nodes = [model.own[step](h) + model.around[step](m) for h, m in zip(nodes, means)]
            nodes = [torch.where(h > 0, h, 0.01 * h) for h in nodes] if step == 0 else nodes
        users, items = model.embeddings()
    assert torch.allclose(torch.cat([users, items]), torch.stack(nodes), atol=1e-5)


def test_gradients_reach_every_parameter_and_its_vectors_can_be_quantised():
    split, features, topics = planted()
    model = GraphSage(split, features, dim=16, out=8)
    model.train()
    model.loss(*(torch.tensor(ids) for ids in ([0, 1, 2], [3, 4, 5], [6, 7, 8]))).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name
    before = model.eval().score([0])
    history = train(model, split, n_epochs=5, lr=1e-2, progress=False)
    assert history.best_value > 0.2 and not torch.equal(model.score([0]), before)
    vectors = model.embeddings()[1].detach().numpy()
    codes = residual_kmeans(vectors, 6)
    assert codes.table.shape == (len(topics), 3)


def test_content_is_needed():
    with pytest.raises(ValueError, match="got no features"):
        GraphSage(planted()[0])
