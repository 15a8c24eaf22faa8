"""Encoders that can be trained: texts by a BERT, pictures by EfficientNet; vectors of length one, the same in train() and eval()."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError
from utils.features.encoders.text import mean_pool
from utils.pretraining.adapt.parts import Prompt

LENGTHS = (8, 12, 20)  # texts up to these are encoded together: most are short, and padding costs as much as words


class Texts:
    """Texts as numbers of words, made once.

    Args:
        texts: (n,) strings; an empty one has the two marks that every text gets.
        tokenizer: of transformers, with ``pad_token_id``.
        max_tokens: what is longer is cut.

    Attributes:
        ids: (n, longest) int64, padded on the right.
        lengths: (n,) int64.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Callable[..., Any], max_tokens: int = 32) -> None:
        if not len(texts):
            raise CourseError("There is no text to encode; give at least one.")
        tokens = tokenizer(list(texts), truncation=True, max_length=max_tokens, padding=True, return_tensors="pt")
        self.ids, self.lengths = tokens["input_ids"], tokens["attention_mask"].sum(dim=1)

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids, attention) of some texts, (b, longest of these) each."""
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        return self.ids[rows, :longest], (torch.arange(longest) < lengths[:, None]).long()


class Encoder(nn.Module):
    """What adaptation needs of an encoder: ``vectors(contents, rows)``, its base network, and its vectors' length.

    train() leaves dropout and the averages of batch norm as in eval(). A few hundred steps on a small catalogue do not need
    them, a frozen encoder's vectors can be computed once, and what is judged is what was trained.

    Attributes:
        model: the base network, whose parts ``adapt`` may replace.
        base: SHA-256 of its weights before that, "" where nothing was adapted.
        way: the name of the way, "" likewise.
    """

    dim: int

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.base, self.way = model.eval(), "", ""

    def train(self, mode: bool = True) -> Encoder:
        """Set the mode, without dropout and without batch norm's averages in either."""
        super().train(False)
        self.training = mode
        return self

    def vectors(self, contents: Any, rows: torch.Tensor) -> torch.Tensor:
        """Encode the rows of ``contents``: (b,) -> (b, dim), each of length one."""
        raise NotImplementedError


class TextEncoder(Encoder):
    """The mean over the words of a transformer's last states; of a BERT of transformers, for example MiniLM.

    Args:
        model: has ``embeddings.word_embeddings`` and ``encoder.layer``; its pooler, which the mean does not read, is left out.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        model.pooler = None
        self.dim, self.prompt = model.config.hidden_size, None

    def forward(self, ids: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        """(b, L) ids and (b, L) 1 = word, 0 = padding -> (b, dim).

        With a prompt the words keep their places 0, 1, ..., and the mean is over them alone: what changes is only what they
        can look at.
        """
        words = self.model.embeddings.word_embeddings(ids)
        places, mask = torch.arange(ids.shape[1]), attention
        if self.prompt is not None:
            words, n_tokens = self.prompt(words), len(self.prompt.tokens)
            places, mask = torch.cat([torch.arange(n_tokens), places]), F.pad(attention, (n_tokens, 0), value=1)
        found = self.model(inputs_embeds=words, attention_mask=mask, position_ids=places[None].to(ids.device))
        states = found.last_hidden_state[:, -ids.shape[1] :]
        return F.normalize(mean_pool(states, attention), dim=1)

    def vectors(self, contents: Texts, rows: torch.Tensor) -> torch.Tensor:
        """See ``Encoder``; texts of like length are encoded together."""
        group = torch.bucketize(contents.lengths[rows], torch.tensor(LENGTHS))
        pieces = [piece for number in range(len(LENGTHS) + 1) if len(piece := (group == number).nonzero()[:, 0])]
        found = torch.cat([self(*contents.batch(rows[piece])) for piece in pieces])
        return found[torch.cat(pieces).argsort()]

    def make_prompt(self, n_tokens: int) -> None:
        """Put a prompt in front of every text."""
        self.prompt = Prompt(self.model.embeddings.word_embeddings.weight, n_tokens)


class PictureEncoder(Encoder):
    """The mean over places of the last map of a torchvision EfficientNet, for example the course's EfficientNet-Lite0.

    Args:
        model: has ``features``, a sequence of blocks; its classifier, which nothing reads, is left out.
        dim: channels of the last map.
    """

    def __init__(self, model: nn.Module, dim: int = 1280) -> None:
        super().__init__(model)
        model.classifier = nn.Identity()
        self.dim = dim

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) as the weights were trained -> (b, dim)."""
        return F.normalize(self.model.features(pictures).mean(dim=(2, 3)), dim=1)

    def vectors(self, contents: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """See ``Encoder``; contents (n, 3, h, w)."""
        return self(contents[rows])
