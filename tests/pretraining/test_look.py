"""What a model of histories attends to: the weights are those that its blocks use."""

import numpy as np
import pytest
import torch
from pretraining_helpers import walks

from utils.pretraining import SASRec
from utils.pretraining.look import attention_weights


def test_the_weights_are_those_of_the_blocks():
    sequences = walks(20)
    model = SASRec(sequences, seed=1, dim=8, length=6)
    history = sequences.sequence(3)
    seen = []
    for block in model.blocks:  # in eval() the dropout of the weights passes them on: its first input is the softmax
        block.dropout.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    found = attention_weights(model, history)
    used = [one for one in seen if one.ndim == 4]
    assert found.shape == (2, 2, min(6, len(history))) and len(used) == 2
    for layer, weights in enumerate(used):
        assert torch.allclose(torch.as_tensor(found[layer]), weights[0, :, -1], atol=1e-6)
    assert np.allclose(found.sum(axis=2), 1, atol=1e-5) and found.std() > 0


@pytest.mark.parametrize("n", [1, 9])
def test_long_and_short_histories(n):
    model = SASRec(walks(20), dim=8, length=4)
    weights = attention_weights(model, np.arange(n))
    assert weights.shape == (2, 2, min(n, 4)) and np.allclose(weights.sum(axis=2), 1, atol=1e-5)
