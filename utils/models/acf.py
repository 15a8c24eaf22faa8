"""rho with content: ACF, a history in which some items, and some parts of their pictures, count more than others."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from utils.errors import CourseError
from utils.losses import bpr, l2_reg
from utils.models.base import Schema, TrainedRecommender


class ACF(TrainedRecommender):
    """A user is a vector plus a weighted mean of what the user took; content only says how the history is weighed.

    beta_ls = softmax over s of w . relu(W_u g_u + W_x f_ls + b);   x_l = sum over s of beta_ls f_ls   (parts of a picture)
    alpha_l = softmax over l in N(u) of v . relu(V_u g_u + V_g g_l + V_p p_l + V_x x_l + c)            (items of a history)
    score(u, i) = (g_u + sum over l in N(u) of alpha_l p_l) . g_i
    loss = BPR + reg / (2 b) * sum over the batch of |g_u|^2 + |g_i|^2 + |g_j|^2 + |h_u|^2,  h_u = the sum over N(u)

    A row of the features is S part vectors side by side (``parts`` = S; 1 = one vector for the whole picture, and then
    every beta is 1), each brought to length 1.

    Traps, decided:
    * In training the positive item i is in N(u), in the test never: the model could learn to find the item itself.
      Published code leaves it in (``keep_target=True``). Ours leaves it out of its own history.
    * Histories differ in length. The softmax runs over the items that are there, here without padding (lists end to
      end); with padding, mask before the softmax.
    * The content of the *scored* item is not in the score: a cold item has g_i = 0 and scores 0 for everybody. Content
      weighs the past, it does not open the future.
    * An item without content has x_l = 0. A user whose history is empty once i is left out has h_u = 0.

    Source: Chen et al., "Attentive Collaborative Filtering: Multimedia Recommendation with Item- and Component-Level
    Attention", SIGIR 2017, DOI 10.1145/3077136.3080797.
    """

    name = "acf"
    title = "ACF"
    order = 210
    challenge = "2.3"
    schema = Schema("any", "pretrained", "joint", "none", "BPR")
    DEFAULTS = {"dim": 64, "hidden": 16, "parts": 1, "keep_target": False, "reg": 3e-2}
    DEFAULTS |= {"lr": 5e-3, "batch_size": 1024, "n_epochs": 400}
    SEARCH = {"lr": [1e-3, 5e-3, 1e-2], "reg": [3e-1, 1e-1, 3e-2, 1e-2]}
    uses_features = needs_features = True

    def build(self) -> None:
        self.add_warm()
        self.add_parts(self.settings["parts"])
        dim, hidden = self.settings["dim"], self.settings["hidden"]
        self.user_table, self.item_table = self.table(self.n_users), self.table(self.n_items)
        self.aux_table = self.table(self.n_items)  # p_l: an item as part of a history
        width = self.component.shape[2]
        self.part_user, self.part_content = nn.Linear(dim, hidden), nn.Linear(width, hidden, bias=False)
        self.part_out = nn.Linear(hidden, 1, bias=False)
        self.past_user, self.past_item = nn.Linear(dim, hidden), nn.Linear(dim, hidden, bias=False)
        self.past_aux, self.past_content = nn.Linear(dim, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.past_out = nn.Linear(hidden, 1, bias=False)
        keys = np.unique(self.split.train[:, 0] * self.n_items + self.split.train[:, 1])
        self.register_buffer("keys", torch.as_tensor(keys), persistent=False)  # every pair once, sorted by user
        counts = torch.bincount(self.keys // self.n_items, minlength=self.n_users)
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("first", torch.cumsum(counts, 0) - counts, persistent=False)

    def add_parts(self, n_parts: int) -> None:
        """Keep the part vectors, (n_items, S, width), modalities side by side; missing items are zero."""
        blocks = []
        for modality, feature in self.features.items():
            matrix = torch.as_tensor(feature.matrix * feature.mask[:, None])
            if matrix.shape[1] % n_parts:
                raise CourseError(
                    f"acf: {modality} rows of {matrix.shape[1]} numbers cannot be cut into {n_parts} parts; set parts="
                    "to the number of part vectors in a row."
                )
            blocks.append(normalize(matrix.view(len(matrix), n_parts, -1), dim=2))
        self.register_buffer("component", torch.cat(blocks, dim=2), persistent=False)

    def pasts(self, user_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the histories of some users end to end: row of ``user_ids``, item, place in ``keys``; three (n,)."""
        counts = self.counts[user_ids]
        row = torch.repeat_interleave(torch.arange(len(user_ids), device=counts.device), counts)
        place = torch.arange(len(row), device=row.device) - (torch.cumsum(counts, 0) - counts)[row]
        place = place + self.first[user_ids][row]
        return row, self.keys[place] % self.n_items, place

    def weights(self, user_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return row, item and exp(score of alpha), not yet divided by its sum, for the histories of some users."""
        row, item, _ = self.pasts(user_ids)
        user = self.user_table(user_ids)
        hidden = self.part_user(user)[row, None] + self.part_content(self.component)[item]  # (n, S, hidden)
        beta = torch.softmax(self.part_out(hidden.relu()), dim=1)
        x = (beta * self.component[item]).sum(1)
        of_item = self.past_item(self.item_table.weight) + self.past_aux(self.aux_table.weight)
        hidden = self.past_user(user)[row] + of_item[item] + self.past_content(x)
        logit = self.past_out(hidden.relu()).squeeze(1)
        top = torch.zeros(len(user_ids), device=logit.device)
        top = top.scatter_reduce(0, row, logit.detach(), "amax", include_self=False)
        return row, item, (logit - top[row]).exp()

    def attention(self, user_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the items of one user's history and their alpha, which add up to 1."""
        with torch.no_grad():
            _, items, weight = self.weights(torch.as_tensor([user_id]))
        return items.numpy(), (weight / weight.sum()).numpy()

    def past_vectors(self, user_ids: torch.Tensor, leave_out: torch.Tensor | None = None) -> torch.Tensor:
        """Return h_u, (b, dim); with ``leave_out`` (b,) item ids, that item takes no part in its row's history."""
        users, place = torch.unique(user_ids, return_inverse=True)
        row, item, weight = self.weights(users)
        aux = self.aux_table.weight
        total = torch.zeros(len(users), aux.shape[1], device=aux.device).index_add(0, row, weight[:, None] * aux[item])
        mass = torch.zeros(len(users), device=aux.device).index_add(0, row, weight)
        total, mass, left = total[place], mass[place], self.counts[user_ids]
        if leave_out is not None:  # subtract the one item: the others need not be added up again for each pair
            start = torch.cumsum(self.counts[users], 0) - self.counts[users]
            at = torch.searchsorted(self.keys, user_ids * self.n_items + leave_out)
            own = weight[at - self.first[user_ids] + start[place]]
            total, mass, left = total - own[:, None] * aux[leave_out], mass - own, left - 1
        return total / mass.clamp(min=1e-4)[:, None] * (left > 0)[:, None]

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        everyone = torch.arange(self.n_users, device=self.keys.device)
        return self.user_table.weight + self.past_vectors(everyone), self.item_table.weight * self.warm

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        past = self.past_vectors(user_ids, None if self.settings["keep_target"] else pos_ids)
        user, pos, neg = self.user_table(user_ids), self.item_table(pos_ids), self.item_table(neg_ids)
        pos_scores, neg_scores = ((user + past) * pos).sum(1), ((user + past) * neg).sum(1)
        return bpr(pos_scores, neg_scores) + self.settings["reg"] * l2_reg(user, pos, neg, past)
