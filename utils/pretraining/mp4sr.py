"""MP4SR: a history as two streams, words and pictures; pretrained by contrast without ids, then tuned with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError, suggest
from utils.pretraining.attention import Block, attendable
from utils.pretraining.bags import Bags
from utils.pretraining.contrast import TAU, cross_modal_contrast, next_item_contrast
from utils.pretraining.sequences import Sequences
from utils.pretraining.streams import AttentionPooling, Experts, drop_items, exchange, swaps

STAGES = ("pretrain", "tune")


class MP4SR(nn.Module):
    """You get what comes next, read twice: as the texts of your last items, and as their pictures said in words.

    z_i = experts(pooled bag of item i), one for each modality; h = blocks(norm(z + position)), the same blocks for both

    stage "pretrain": items are dropped, streams exchange vectors, no ids; every step is a history of its own:
        loss = next-item contrast of each stream + ``contrast`` * cross-modal contrast of up to ``contrasted`` steps
    stage "tune": an id vector e_i is added to both streams, at the input and where items are compared;
        loss = cross-entropy over all warm items of (cos(h^t, z^t_i + e_i) + cos(h^v, z^v_i + e_i)) / tau

    Bags are centred on the catalogue, and the experts begin without biases: raw vectors of texts share a direction, and all
    items would begin alike. With few steps the first stage still ends with nearly one vector for all items, which costs no
    more than chance; look at ``item_vectors`` and at what stage one alone scores before you trust it.

    ``score_histories`` gives these sums of cosines; before tuning e is 0. What an item lacks adds nothing to it. The id of a
    cold item is 0, as in SASRec.

    Args:
        sequences: who learns from them; says how many items there are, and which are cold.
        bags: modality -> Bags, two of them in one space.
        seed: fixes the initial weights.
        settings: any name in DEFAULTS; mixup=0 and contrast=0 leave these parts out.

    Attributes:
        notes: one sentence when histories are longer than the model.

    Raises:
        CourseError: an unknown setting or stage; not two modalities, or of another catalogue; heads that do not divide dim.

    Source: Zhang et al., arXiv 2303.11879 (TORS 2024). Two defects of its code are not carried over, see ``streams`` and
    ``contrast``; weight decay and clipping are left out, so that the loop is the one of SASRec.
    """

    name = "mp4sr"
    in_one_piece = True  # the loop may not cut a batch whose steps are compared
    DEFAULTS = {
        "dim": 64,
        "n_layers": 2,
        "n_heads": 2,
        "n_experts": 8,
        "dropout": 0.2,
        "length": 50,
        "drop": 0.2,
        "mixup": 0.5,
        "contrast": 0.01,
        "contrasted": 1024,
        "tau": TAU,
        "stage": "pretrain",
    }

    def __init__(self, sequences: Sequences, bags: Mapping[str, Bags], seed: int = 0, **settings: Any) -> None:
        super().__init__()
        for key in settings:
            if key not in self.DEFAULTS:
                raise suggest(key, self.DEFAULTS, "setting of mp4sr")
        self.settings = {**self.DEFAULTS, **settings}
        self.n_items, self.length, dim = sequences.n_items, self.settings["length"], self.settings["dim"]
        self._check(bags)
        self.modalities = tuple(sorted(bags))
        self.in_one_piece = (
            self.settings["stage"] == "pretrain"
        )  # the loop may not cut a batch whose steps are compared
        warm = torch.ones(self.n_items, dtype=torch.bool)
        warm[torch.as_tensor(sequences.split.cold_items)] = False
        self.register_buffer("warm", warm)
        for name in self.modalities:
            self.register_buffer(f"content_{name}", torch.from_numpy(bags[name].centred().vectors))
            self.register_buffer(f"content_mask_{name}", torch.from_numpy(bags[name].mask))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapter = dim, self.settings["n_experts"], self.settings["dropout"]
            self.pool = nn.ModuleDict({m: AttentionPooling(bags[m].dim) for m in self.modalities})
            self.adapt = nn.ModuleDict({m: Experts(bags[m].dim, *adapter) for m in self.modalities})
            self.positions = nn.Embedding(self.length, dim)
            self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(self.settings["dropout"])
            sizes = dim, self.settings["n_heads"], self.settings["dropout"]
            self.blocks = nn.ModuleList([Block(*sizes) for _ in range(self.settings["n_layers"])])
            nn.init.normal_(self.positions.weight, std=0.02)
            self.ids = None
            if self.settings["stage"] == "tune":  # drawn last, so that both stages begin alike
                self.ids = nn.Embedding(self.n_items, dim)
                nn.init.normal_(self.ids.weight, std=0.02)
        longer = int((sequences.lengths("test") > self.length).sum())
        self.notes = [f"{longer:,} of {sequences.n_users:,} histories are longer than the {self.length} items that the "
                      "model reads: their oldest items are left out."] if longer else []  # fmt: skip

    def _check(self, bags: Mapping[str, Bags]) -> None:
        chosen = self.settings
        if chosen["stage"] not in STAGES:
            raise suggest(chosen["stage"], STAGES, "stage")
        if len(bags) != 2:
            given = " and ".join(sorted(bags)) or "none"
            raise CourseError(
                f"MP4SR reads two modalities, and got {given}; pass bags={{'visual': Bags, 'textual': Bags}}."
            )
        for name, bag in bags.items():
            if bag.n_items != self.n_items:
                raise CourseError(
                    f"The {name} bags have {bag.n_items} items, the sequences {self.n_items}; make both of one dataset."
                )
            if not bag.mask.any():
                raise CourseError(
                    f"No item has {name} content, so that one of the two streams would be empty; add some."
                )
        if chosen["dim"] % chosen["n_heads"]:
            raise CourseError(
                f"dim={chosen['dim']} must be a multiple of n_heads={chosen['n_heads']}; change one of them."
            )

    def item_vectors(self) -> list[torch.Tensor]:
        """Return z of every item for each modality, (n_items, dim); 0 where an item lacks the modality."""
        found = []
        for name in self.modalities:
            mask = self.get_buffer(f"content_mask_{name}")
            pooled = self.pool[name](self.get_buffer(f"content_{name}"), mask)
            found.append(self.adapt[name](pooled) * mask.any(dim=1, keepdim=True))
        return found

    def with_ids(self, vectors: list[torch.Tensor]) -> list[torch.Tensor]:
        """Add the id vectors of warm items to both modalities; before tuning there are none."""
        return vectors if self.ids is None else [z + self.ids.weight * self.warm[:, None] for z in vectors]

    def look_up(self, histories: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """(b, L) item_ids, -1 = padding, and (n_items, dim) -> (b, L, dim), padding 0."""
        return F.embedding(histories % (self.n_items + 1), F.pad(vectors, (0, 0, 0, 1)))

    def states(self, inputs: list[torch.Tensor], real: torch.Tensor) -> list[torch.Tensor]:
        """Return the states of each stream after each item: (b, L, dim) inputs and (b, L) bool -> (b, L, dim) each."""
        x = torch.cat(inputs)
        x = self.dropout(self.norm(x + self.positions.weight[self.length - real.shape[1] :]))
        allowed = attendable(real).repeat(len(inputs), 1, 1, 1)
        for block in self.blocks:
            x = block(x, allowed)
        return list(x.chunk(len(inputs)))

    def logits(self, states: list[torch.Tensor], vectors: list[torch.Tensor]) -> torch.Tensor:
        """(n, dim) states of each stream and (n_items, dim) vectors of each -> (n, n_items): cosines, added, over tau."""
        cosines = (F.normalize(h, dim=1) @ F.normalize(z, dim=1).T for h, z in zip(states, vectors))
        return sum(cosines) / self.settings["tau"]

    def score_histories(self, histories: np.ndarray | torch.Tensor) -> torch.Tensor:
        """See ``NextItemModel``: (b, L) item_ids, of which the newest ``length`` count -> (b, n_items)."""
        histories = torch.as_tensor(histories, device=self.warm.device)[:, -self.length :]
        vectors = self.with_ids(self.item_vectors())
        states = self.states([self.look_up(histories, z) for z in vectors], histories >= 0)
        return self.logits([h[:, -1] for h in states], vectors)

    def batch_loss(self, histories: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return the loss of the stage over all steps of some histories: (b, L + 1) item_ids, -1 = padding on the left."""
        chosen, pretraining = self.settings, self.ids is None
        if pretraining:
            histories = drop_items(histories, chosen["drop"], generator)
        given, following = histories[:, :-1], histories[:, 1:]
        real = given >= 0
        vectors, targets = self.with_ids(self.item_vectors()), following[real]
        inputs = [self.look_up(given, z) for z in vectors]
        if pretraining and chosen["mixup"]:
            inputs = list(exchange(*inputs, swaps(real, chosen["mixup"], generator)))
        states = [h[real] for h in self.states(inputs, real)]
        if not pretraining:
            return F.cross_entropy(self.logits(states, vectors).masked_fill(~self.warm, -torch.inf), targets)
        loss = sum(next_item_contrast(h, z, targets, chosen["tau"]) for h, z in zip(states, vectors))
        if chosen["contrast"]:
            drawn = torch.randperm(len(targets), generator=generator)[: chosen["contrasted"]].to(targets.device)
            one, other = (h[drawn] for h in states)
            loss = loss + chosen["contrast"] * cross_modal_contrast(one, other, targets[drawn], chosen["tau"])
        return loss
