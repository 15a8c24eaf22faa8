"""Look into a model of histories: which items of the past its newest state attends to."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F

from utils.pretraining.attention import attendable
from utils.pretraining.next_item import judged
from utils.pretraining.sasrec import SASRec


def attention_weights(model: SASRec, history: Iterable[int]) -> np.ndarray:
    """Return how much the newest item's row attends to each item: (n_layers, n_heads, L) float32, rows sum to 1.

    L = items of the history, at most ``model.length``, the newest ones. The weights are those of eval(), from the same
    queries and keys as in ``Block``; a weight is where the model looks, not why it recommends.
    """
    items = torch.as_tensor(list(history), device=model.warm.device)[None, -model.length :]
    allowed, found = attendable(items >= 0), []
    with judged(model):
        vectors = F.pad(model.item_vectors(), (0, 0, 0, 1))
        x = model.norm(F.embedding(items, vectors) + model.positions.weight[model.length - items.shape[1] :])
        for block in model.blocks:
            dim = x.shape[2] // block.n_heads
            queries, keys, _ = block.query_key_value(x).view(items.shape[1], 3, block.n_heads, dim).permute(1, 2, 0, 3)
            logits = (queries @ keys.transpose(1, 2) / math.sqrt(dim)).masked_fill(~allowed[0], -torch.inf)
            found.append(logits.softmax(dim=-1)[:, -1])
            x = block(x, allowed)
    return torch.stack(found).cpu().numpy()
