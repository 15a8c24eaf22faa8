"""The next item by its semantic id: SASRec's causal encoder over a history, and the decoder that writes tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from utils.errors import CourseError, suggest
from utils.generation.depth_decoder import DepthDecoder
from utils.generation.semantic_ids import SemanticIds
from utils.generation.trie import Trie
from utils.models.base import ItemFeatures
from utils.pretraining.sasrec import INPUTS, SASRec
from utils.pretraining.sequences import Sequences


class IdRecommender(SASRec):
    """SASRec with another head: instead of comparing a state with every item, write the tokens of the next one.

    loss = mean over all steps of all histories of -log p(tokens of the next item | what came before), teacher forcing
    score of an item = log p of its tokens, all items compete (``DepthDecoder.exact``)

    What an item is at the *input* is a setting: "tokens" adds up one vector for each of its tokens, so that nothing knows
    which item it was but its id; "ids", "content" and "both" are SASRec's own, so that the heads can be compared.

    Args:
        sequences: who learns from them.
        ids: the code table of the same catalogue.
        features: modality -> features, for the inputs "both" and "content".
        seed: fixes the initial weights.
        settings: any name in DEFAULTS.

    Attributes:
        trie: of the whole catalogue; ``Within`` lists what is in stock by another one.

    Raises:
        CourseError: ids of another catalogue; what SASRec raises.

    Source: Rajput et al., "Recommender Systems with Generative Retrieval" (TIGER), NeurIPS 2023, with one state an item in
    place of one a token; the decoder in the depth is that of Lee et al., CVPR 2022, in small.
    """

    name = "semantic_ids"
    DEFAULTS = {key: value for key, value in SASRec.DEFAULTS.items() if key != "loss"} | {
        "inputs": "tokens",
        "hidden": 64,
    }

    def __init__(
        self,
        sequences: Sequences,
        ids: SemanticIds,
        features: Mapping[str, ItemFeatures] | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if ids.n_items != sequences.n_items:
            raise CourseError(
                f"The ids are of a catalogue of {ids.n_items} items, the sequences of {sequences.n_items}; make the ids "
                "of this catalogue."
            )
        super().__init__(sequences, features, seed, **settings)
        if self.settings["inputs"] == "tokens":
            self.ids = None  # nothing but its tokens says which item it is
        self.register_buffer("content_tokens", torch.from_numpy(ids.tokens))
        self.trie = Trie.of(ids.tokens)
        dim = self.settings["dim"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.decoder = DepthDecoder(dim, ids.sizes, self.settings["hidden"])
            read = ids.sizes if self.settings["inputs"] == "tokens" else ()
            self.read = nn.ModuleList([nn.Embedding(size, dim) for size in read])
            for table in self.read:
                nn.init.normal_(table.weight, std=0.02)

    def _check(self, features: Mapping[str, ItemFeatures] | None) -> None:
        chosen, known = self.settings, ("tokens", *INPUTS)
        if chosen["inputs"] not in known:
            raise suggest(chosen["inputs"], known, "value of inputs")
        if chosen["inputs"] in ("both", "content") and not features:
            raise CourseError(f"inputs={chosen['inputs']!r} needs content; pass features={{modality: Features}}.")
        if chosen["dim"] % chosen["n_heads"]:
            raise CourseError(
                f"dim={chosen['dim']} must be a multiple of n_heads={chosen['n_heads']}; change one of them."
            )

    def item_vectors(self) -> torch.Tensor:
        """Return the vector of every item at the input, (n_items, dim)."""
        if self.settings["inputs"] != "tokens":
            return super().item_vectors()
        return sum(table(self.content_tokens[:, level]) for level, table in enumerate(self.read))

    def history_states(self, histories: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Return the state after the newest item: (b, L) item_ids, -1 = padding on the left -> (b, dim)."""
        histories = torch.as_tensor(histories, device=self.warm.device)[:, -self.length :]
        return self.states(histories, self.item_vectors())[:, -1]

    def score_histories(self, histories: np.ndarray | torch.Tensor) -> torch.Tensor:
        """See ``NextItemModel``: (b, L) item_ids -> (b, n_items), log p of each item; -inf for those not in the trie."""
        self.trie = self.trie.to(self.warm.device)
        return self.decoder.exact(self.history_states(histories), self.trie)

    def batch_loss(self, histories: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return the mean loss over all steps of some histories: (b, L + 1) item_ids, -1 = padding on the left."""
        given, following = histories[:, :-1], histories[:, 1:]
        real = given >= 0
        found = self.states(given, self.item_vectors())[real]  # (n_steps, dim)
        return self.decoder.loss(found, self.content_tokens[following[real]])


class Within:
    """A recommender that only lists some items, by a trie of their own: what is in stock, or what is new."""

    def __init__(self, model: IdRecommender, item_ids: np.ndarray) -> None:
        self.model, self.n_items, self.length = model, model.n_items, model.length
        self.trie = Trie.of(model.content_tokens, item_ids).to(model.warm.device)

    def score_histories(self, histories: np.ndarray) -> torch.Tensor:
        """See ``NextItemModel``; -inf for the items that may not be listed."""
        return self.model.decoder.exact(self.model.history_states(histories), self.trie)


class ByBeam:
    """The lists of a beam search as a model: the items that it found have their score, all others -inf.

    Seen items are taken out afterwards, as where nothing but the beam is there: they have filled it by then.
    """

    def __init__(self, model: IdRecommender, n_beams: int) -> None:
        self.model, self.n_beams = model, n_beams
        self.n_items, self.length = model.n_items, model.length

    def score_histories(self, histories: np.ndarray) -> torch.Tensor:
        """See ``NextItemModel``: (b, L) item_ids -> (b, n_items)."""
        self.model.trie = self.model.trie.to(self.model.warm.device)
        return self.model.decoder.beam_scores(self.model.history_states(histories), self.model.trie, self.n_beams)
