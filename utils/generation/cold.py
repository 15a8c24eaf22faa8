"""New items in a log: hide some from training, and list only some with any model."""

from __future__ import annotations

import numpy as np
import torch

from utils.data import Split
from utils.errors import CourseError
from utils.pretraining.next_item import NextItemModel
from utils.pretraining.sequences import Sequences, in_parts


def hide_items(sequences: Sequences, share: float, seed: int = 0) -> Sequences:
    """The same people, but some items are new: they stay where they are somebody's last item, and vanish everywhere else.

    So no training sequence and no validation item holds them, and they are asked for in the test part alone.

    Args:
        share: of the items that somebody took, between 0 and 1.

    Raises:
        CourseError: a share that hides nothing or everything.
    """
    taken = np.unique(sequences.items)
    n_hidden = round(share * len(taken))
    if not 0 < n_hidden < len(taken):
        raise CourseError(f"share={share} hides {n_hidden} of {len(taken)} items; choose one that hides some of them.")
    hidden = np.random.default_rng(seed).permutation(taken)[:n_hidden]
    users = np.repeat(np.arange(sequences.n_users), np.diff(sequences.starts))
    last = np.zeros(len(users), dtype=bool)
    last[sequences.starts[1:] - 1] = True
    new = np.isin(sequences.items, hidden)
    kept = ~new | last
    kept &= ~new | (np.bincount(users[kept], minlength=sequences.n_users)[users] > 1)  # alone it would be a history
    pairs = np.stack([users[kept], sequences.items[kept]], axis=1)
    counts = np.bincount(pairs[:, 0], minlength=sequences.n_users)
    from_end, held = np.cumsum(counts)[pairs[:, 0]] - 1 - np.arange(len(pairs)), counts[pairs[:, 0]]
    test, valid = (from_end == 0) & (held > 1), (from_end == 1) & (held > 2)
    rows = [pairs[chosen] for chosen in (~test & ~valid, valid, test)]
    cold = np.setdiff1d(np.arange(sequences.n_items), rows[0][:, 1])
    parts = (part[np.lexsort(part.T[::-1])] for part in rows)
    split = Split(sequences.n_users, sequences.n_items, *parts, "leave_one_out", cold)
    note = f"{n_hidden:,} of {len(taken):,} items are new: they are in no training sequence."
    return in_parts(split, pairs[:, 1], counts, "the log with new items", (note,))


class Only:
    """A model that lists only some items, whatever it is: all others have the score -inf."""

    def __init__(self, model: NextItemModel, item_ids: np.ndarray) -> None:
        self.model, self.n_items, self.length = model, model.n_items, model.length
        self.chosen = torch.zeros(model.n_items, dtype=torch.bool)
        self.chosen[torch.as_tensor(item_ids)] = True

    def score_histories(self, histories: np.ndarray) -> torch.Tensor:
        """See ``NextItemModel``."""
        scores = self.model.score_histories(histories)
        return scores.masked_fill(~self.chosen.to(scores.device), -torch.inf)
