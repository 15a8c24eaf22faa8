"""One task for an adapted encoder: the next item after a history, from nothing but the items' content."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError
from utils.pretraining.adapt.encoders import Encoder
from utils.pretraining.adapt.parts import Adapter
from utils.pretraining.adapt.ways import parameters_of
from utils.pretraining.sequences import Sequences
from utils.training import make_optimiser

NEWEST = 12  # items of a user that one step reads; their texts are what a step costs


class NextFromContent(nn.Module):
    """The item whose content is like that of your last items, in a space that learned what comes next.

    v_j = norm(item_head(encoder(content_j))), q = norm(query_head(norm(sum over the history of decay^age v_i))), score = q . v_j

    Both heads are adapters that start as identity: untrained, this is content kNN with recency, whatever the way of the
    encoder (but for a prompt). No item has a vector of its own, so that an item that nobody took is ranked like the others.

    Args:
        encoder: of ``adapt``.
        contents: of every item, as ``encoder.vectors`` takes them.
        seed: fixes the heads' initial weights.
        width: of the heads' bottleneck.
        length: how many of the newest items count, the weight of each is ``decay`` times that of the next newer one.

    Raises:
        CourseError: the contents are not those of the items.
    """

    name = "next from content"

    def __init__(
        self, encoder: Encoder, contents: Any, sequences: Sequences, seed: int = 0, width: int = 16, length: int = 5,
        decay: float = 0.6, temperature: float = 0.07,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_items, self.length, self.decay, self.temperature = sequences.n_items, length, decay, temperature
        if len(contents) != self.n_items:
            raise CourseError(f"There are {len(contents)} contents for {self.n_items} items; give one for each item.")
        self.encoder, self.contents = encoder, contents
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.item_head, self.query_head = Adapter(encoder.dim, width), Adapter(encoder.dim, width)
        self._frozen = None if parameters_of(encoder) else self._encode_all()
        self._known: tuple[Any, torch.Tensor] | None = None

    def item_vectors(self, item_ids: torch.Tensor) -> torch.Tensor:
        """(b,) -> (b, dim), of length one; only these items are encoded, and none where the encoder is frozen."""
        frozen = self._frozen
        vectors = self.encoder.vectors(self.contents, item_ids) if frozen is None else frozen[item_ids]
        return F.normalize(self.item_head(vectors), dim=1)

    def queries(self, weights: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Histories as weights of items, (..., m) and (m, dim) -> (..., dim), of length one."""
        return F.normalize(self.query_head(F.normalize(weights @ vectors, dim=-1)), dim=-1)

    def score_histories(self, histories: np.ndarray) -> torch.Tensor:
        """See ``NextItemModel``: (b, length) item_ids, -1 = padding on the left -> (b, n_items) cosines."""
        histories = torch.as_tensor(histories)[:, -self.length :]
        weights = torch.zeros(len(histories), self.n_items + 1)  # the last column is for the padding
        ages = torch.arange(histories.shape[1] - 1, -1, -1)
        weights.scatter_add_(1, histories % (self.n_items + 1), (self.decay**ages).expand(histories.shape))
        vectors = self._all_vectors()
        return self.queries(weights[:, :-1], vectors) @ vectors.T

    def batch_loss(self, histories: torch.Tensor, negatives: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy over all steps of some histories.

        The items of the batch and the negatives compete, and only they are encoded. What a user took is no negative of that
        user. log q_j is taken off the logits: popular items are in a batch more often than others, and would be pushed down.

        Args:
            histories: (b, T) item_ids, oldest first, -1 = padding on the left.
            negatives: (n,) item_ids.
            log_q: (n_items,) logarithm of how often each item is expected in a batch.
        """
        real = histories >= 0
        items = torch.cat([histories[real], negatives]).unique()
        vectors, place = self.item_vectors(items), torch.searchsorted(items, histories.clamp(min=0))
        taken = F.one_hot(place, len(items)).float() * real[:, :, None]  # (b, T, m)
        age = torch.arange(histories.shape[1])[:, None] - torch.arange(histories.shape[1]) - 1
        weights = torch.where((age >= 0) & (age < self.length), self.decay ** age.clamp(min=0), 0.0) @ taken
        steps = real & F.pad(real, (1, 0))[:, :-1]
        logits = self.queries(weights[steps], vectors) @ vectors.T / self.temperature - log_q[items]
        own = taken.sum(dim=1).bool()[:, None].expand(-1, histories.shape[1], -1)[steps] & ~taken[steps].bool()
        return F.cross_entropy(logits.masked_fill(own, -torch.inf), place[steps])

    def _encode_all(self) -> torch.Tensor:
        with torch.no_grad():
            return self.encoder.vectors(self.contents, torch.arange(self.n_items))

    def _all_vectors(self) -> torch.Tensor:
        """The vectors of all items; without gradients they are kept until a parameter changes.

        Whether one changed is read off its numbers: torch counts changes in ``_version``, but a fused Adam goes uncounted, and
        the run would judge the model as it was before.
        """
        if torch.is_grad_enabled():
            return self.item_vectors(torch.arange(self.n_items))
        key = [int(parameter.detach().view(torch.int32).sum()) for parameter in self.parameters()]
        if self._known is None or self._known[0] != key:
            self._known = key, self.item_vectors(torch.arange(self.n_items))
        return self._known[1]


def train_steps(
    model: NextFromContent, sequences: Sequences, n_steps: int, lr: float, *, batch_size: int = 12,
    n_negatives: int = 12, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Train for a number of steps with Adam; return loss and CPU seconds of each (index step, from 1).

    A step reads the training part of ``batch_size`` users, the newest NEWEST items of each; users are drawn in a new order
    whenever all were read. Negatives are drawn from the items that training knows. The same seed gives the same numbers.

    Raises:
        CourseError: no user with two training items, or a loss that is not a number.
    """
    users = np.flatnonzero(sequences.lengths() >= 2)
    if not len(users):
        raise CourseError("No user has two training items, so that there is no step to learn; add longer sequences.")
    histories = torch.from_numpy(sequences.padded(users, NEWEST))
    warm = torch.as_tensor(np.setdiff1d(np.arange(sequences.n_items), sequences.split.cold_items))
    expected = torch.bincount(histories[histories >= 0], minlength=model.n_items) * (batch_size / len(users))
    expected[warm] += n_negatives / len(warm)
    log_q, generator = expected.clamp(min=1e-6).log(), torch.Generator().manual_seed(seed)
    optimiser, rows, waiting = make_optimiser(model, lr), [], torch.zeros(0, dtype=torch.int64)
    model.train()
    for step in range(1, n_steps + 1):
        start = time.process_time()
        if len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(len(users), generator=generator)])
        batch, waiting = histories[waiting[:batch_size]], waiting[batch_size:]
        negatives = warm[torch.randint(len(warm), (n_negatives,), generator=generator)]
        optimiser.zero_grad(set_to_none=True)
        loss = model.batch_loss(batch, negatives, log_q)
        loss.backward()
        optimiser.step()
        rows.append({"step": step, "loss": float(loss.detach()), "cpu_seconds": time.process_time() - start})
        if not math.isfinite(rows[-1]["loss"]):
            raise CourseError(f"The loss of step {step} is not a finite number; try a learning rate below {lr:g}.")
    model.eval()
    return pd.DataFrame(rows).set_index("step")
