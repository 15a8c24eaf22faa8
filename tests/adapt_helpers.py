"""Tiny encoders for the tests of adaptation, made on the spot, and texts of numbers."""

from __future__ import annotations

import torch
from torch import nn

from utils.pretraining.adapt import PictureEncoder, TextEncoder


def tiny_text(seed=0):
    """A BERT of two blocks of width 16, with random weights."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                        max_position_embeddings=32)  # fmt: skip
    model = BertModel(config)
    for name, parameter in model.named_parameters():  # the usual 0.02 is so small that all texts are alike
        if "LayerNorm" not in name:
            nn.init.normal_(parameter, std=0.4)
    return TextEncoder(model)


class Stages(nn.Module):
    """Three stages as in an EfficientNet: convolution, a block with a depthwise convolution, a last 1 x 1 convolution."""

    def __init__(self):
        super().__init__()

        def norm(n_out):
            return nn.Sequential(nn.BatchNorm2d(n_out), nn.ReLU6())

        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), norm(8)),
            nn.Sequential(nn.Conv2d(8, 24, 1, bias=False), norm(24), nn.Conv2d(24, 24, 3, 1, 1, groups=24), norm(24),
                          nn.Conv2d(24, 12, 1, bias=False), nn.BatchNorm2d(12)),
            nn.Sequential(nn.Conv2d(12, 20, 1, bias=False), norm(20)),
        )  # fmt: skip
        self.classifier = nn.Linear(20, 5)


def tiny_picture(seed=0):
    """An encoder of pictures of 20 channels, with random weights."""
    torch.manual_seed(seed)
    return PictureEncoder(Stages(), dim=20)


def words(text):
    """A tokenizer's one piece: words "w3 w7" as numbers, between a first mark 1 and a last mark 2."""
    return [1, *(3 + int(word[1:]) for word in text.split()), 2]


def tokenizer(texts, max_length, **_):
    """As transformers' tokenizers are called: pads on the right with 0."""
    rows = [words(text)[:max_length] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}
