"""rho, the recommender: what all models share (their schema row, settings, features, scoring)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import CourseError, suggest
from utils.graphs import knn_graph, to_scipy, to_torch

MODALITIES = ("visual", "textual", "audio")
SIZES = 10_000, 100_000  # training interactions: up to the first DEFAULTS hold, from the second on LARGE


class Interactions(Protocol):
    """What a model reads of a split: ``utils.data.Split`` has it, and so may a class of your own."""

    n_users: int
    n_items: int
    train: np.ndarray  # (n, 2) int64, rows (user_id, item_id)

    def matrix(self, part: str = "train") -> sp.csr_matrix: ...  # a part as 0 and 1, (n_users, n_items)


class ItemFeatures(Protocol):
    """What a model reads of a modality: ``utils.features.Features`` has it, and so may a class of your own."""

    matrix: np.ndarray  # (n_items, dim), row = item_id
    mask: np.ndarray  # (n_items,) bool, True = this item has the modality


@dataclass(frozen=True)
class Schema:
    """One row of the schema's table: which inputs, how they are represented, when they are fused."""

    modalities: str  # "none" or "any" (one to three of visual, textual, audio)
    extraction: str  # "none", "pretrained" (features come from a network that is not trained here)
    representation: str  # "none", "joint", "coordinate"
    fusion: str  # "none", "early", "late"; joint representations have no fusion stage
    loss: str  # "none" for models that only count


class Recommender:
    """A model that scores every item for a user. Subclasses write ``build`` and ``score``.

    Args:
        split: interactions in parts, with ``n_users``, ``n_items`` and ``train`` (n, 2) rows (user_id, item_id).
        features: modality -> Features; models without content ignore them.
        seed: fixes the initial weights; nothing outside the model is seeded.
        settings: any of the names in ``DEFAULTS``. Where "item_graphs" is among them: modality -> (n_items, n_items) scipy
            matrix of similar items, used instead of the graph of that modality's features.

    Attributes:
        notes: a sentence for each part that fell away by rule (no features, so no feature loss).

    Raises:
        CourseError: an unknown setting or modality, features that do not fit the items, an empty train part.
    """

    name: ClassVar[str]  # of the file
    title: ClassVar[str] = ""  # in tables and figures; the class's name where a model states none
    order: ClassVar[int] = 1000  # in tables: without content first, then from simple to elaborate
    challenge: ClassVar[str] = ""  # the part of the lecture that a model belongs to when it needs special data
    schema: ClassVar[Schema]
    DEFAULTS: ClassVar[dict[str, Any]] = {}
    LARGE: ClassVar[dict[str, Any]] = {}  # numbers that DEFAULTS move to while the log grows, see SIZES
    SEARCH: ClassVar[dict[str, list]] = {}
    uses_features: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.title = vars(cls).get("title", cls.__name__)

    def __init__(
        self, split: Interactions, features: Mapping[str, ItemFeatures] | None = None, *, seed: int = 0, **settings: Any
    ) -> None:
        for key in settings:
            if key not in self.DEFAULTS:
                raise suggest(key, self.DEFAULTS, f"setting of {self.name}")
        if len(split.train) == 0:
            raise CourseError(
                f"{self.name}: the train part of the split is empty; split the dataset with less held out."
            )
        self.settings = {**self.recommended(split), **settings}
        self.split, self.seed, self.n_users, self.n_items = split, seed, split.n_users, split.n_items
        self.features = check_features(features, self.n_items) if self.uses_features else {}
        self.item_graphs = check_graphs(self.settings.get("item_graphs"), self.n_items)
        self.notes: list[str] = []
        if self.needs_features and not self.features and not self.item_graphs:
            raise CourseError(
                f"{self.name} ranks by content, but got no features; pass features={{modality: Features}}."
            )
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they were
            torch.manual_seed(seed)
            self.build()

    @classmethod
    def recommended(cls, split: Interactions) -> dict[str, Any]:
        """The settings for a log of this size, from DEFAULTS to LARGE without a jump; which dataset it is does not count."""
        place = np.log(len(split.train) / SIZES[0]) / np.log(SIZES[1] / SIZES[0])
        share = float(np.clip(place, 0, 1))
        return cls.DEFAULTS | {key: between(cls.DEFAULTS[key], large, share) for key, large in cls.LARGE.items()}

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities this model got, in the fixed order visual, textual, audio."""
        return tuple(self.features)

    def build(self) -> None:
        """Make the tables, layers or counts; ``self.split``, ``self.settings`` and ``self.features`` are there."""
        raise NotImplementedError

    def score(self, user_ids) -> torch.Tensor:
        """Score all items, train items included: (len(user_ids), n_items) float32, no gradient, no randomness."""
        raise NotImplementedError


class TrainedRecommender(Recommender, nn.Module):
    """A recommender with weights, whose score is the inner product of a user's and an item's embedding.

    Subclasses write ``build``, ``embeddings`` and ``loss``; ``begin_epoch`` where an epoch starts with something new.
    """

    def __init__(
        self, split: Interactions, features: Mapping[str, ItemFeatures] | None = None, *, seed: int = 0, **settings: Any
    ) -> None:
        nn.Module.__init__(self)
        self._final: tuple | None = None
        self._rows: dict[str, torch.Tensor] = {}
        Recommender.__init__(self, split, features, seed=seed, **settings)
        self.eval()

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the final (n_users, d) and (n_items, d), with gradient; scores are their inner products."""
        raise NotImplementedError

    def loss(self, user_ids: torch.Tensor, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of a batch of (user, positive item, negative item), three (b,) int64 tensors."""
        raise NotImplementedError

    def begin_epoch(self, generator: torch.Generator) -> None:
        """Called before each epoch; models that sample (edges, masks) draw from ``generator`` only."""

    @torch.no_grad()
    def score(self, user_ids, out: torch.Tensor | None = None) -> torch.Tensor:
        """Score all items; ``out`` (len(user_ids), n_items) takes the scores, so that no new memory is asked for."""
        users, items = self._final_embeddings()
        user_ids = torch.as_tensor(np.asarray(user_ids), dtype=torch.int64, device=users.device)
        return torch.mm(users.index_select(0, user_ids), items.T, out=out)

    def _final_embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Propagate or project once for all blocks of users: kept until a weight changes."""
        state = tuple((p.data_ptr(), p._version) for p in self.parameters())
        if self._final is None or self._final[0] != state:
            was_training = self.training
            self.eval()  # no dropout, the whole graph
            users, items = self.embeddings()
            nn.Module.train(self, was_training)
            self._final = (state, users.detach(), items.detach())
        return self._final[1:]

    def train(self, mode: bool = True):
        self._final = None
        return super().train(mode)

    # ---- parts that most models are built from ----
    def table(self, n_rows: int, dim: int | None = None, init: str = "xavier") -> nn.Embedding:
        """A trainable (n_rows, dim) table: "xavier" uniform, or "normal" (standard deviation 1)."""
        table = nn.Embedding(n_rows, dim or self.settings["dim"])  # nn.Embedding itself starts at N(0, 1)
        if init == "xavier":
            nn.init.xavier_uniform_(table.weight)
        elif init != "normal":
            raise suggest(init, ("xavier", "normal"), "initialisation")
        return table

    def add_warm(self) -> None:
        """Keep ``self.warm`` (n_items, 1): 1 for items with a training interaction, 0 for cold ones."""
        warm = torch.zeros(self.n_items, 1)
        warm[torch.as_tensor(np.unique(self.split.train[:, 1]))] = 1.0
        self.register_buffer("warm", warm, persistent=False)

    def add_content(self, normalise: str = "l2", trainable: bool = False) -> None:
        """Keep the features as tensors: frozen buffers by default, parameters with ``trainable``.

        ``normalise``: "l2" (each row to length 1), "centred" (subtract the mean of the present rows, then L2), "none".
        Read them through ``self.content(modality)`` -> (n_items, dim) and ``self.mask(modality)`` -> (n_items,) bool.
        """
        for modality, feature in self.features.items():
            matrix, mask = content(feature, normalise)
            if trainable:
                self.register_parameter(f"content_{modality}", nn.Parameter(matrix))
            else:
                self.register_buffer(f"content_{modality}", matrix, persistent=False)
            self.register_buffer(f"mask_{modality}", mask, persistent=False)

    def content(self, modality: str) -> torch.Tensor:
        return getattr(self, f"content_{modality}")

    def content_of(self, modality: str, item_ids: torch.Tensor) -> torch.Tensor:
        """Return the features of the items of a batch, (len(item_ids), dim), valid until the next call.

        Frozen features are copied into the same memory each time: a fresh block of tens of megabytes for each batch
        costs several times the copy. Two calls before one backward are an error that torch reports.
        """
        matrix = self.content(modality)
        if matrix.requires_grad:
            return matrix.index_select(0, item_ids)
        rows = self._rows.get(modality)
        if rows is None or len(rows) < len(item_ids) or rows.device != matrix.device:
            rows = self._rows[modality] = matrix.new_empty(len(item_ids) + len(item_ids) // 8, matrix.shape[1])
        return torch.index_select(matrix, 0, item_ids, out=rows[: len(item_ids)])

    def mask(self, modality: str) -> torch.Tensor:
        return getattr(self, f"mask_{modality}")

    def keep_graph(self, name: str, graph: sp.spmatrix) -> None:
        """Keep a graph that is not trained as ``self.<name>``, and its transpose as ``self.<name>_t``."""
        self.register_buffer(name, to_torch(graph), persistent=False)
        self.register_buffer(f"{name}_t", to_torch(graph.T), persistent=False)

    def nearest(self, modality: str, vectors: torch.Tensor | None = None, weighted: bool = False) -> sp.csr_matrix:
        """The ``k`` warm items most similar to each item that has the modality, by cosine of its features or ``vectors``."""
        vectors = (self.content(modality) if vectors is None else vectors).detach().cpu().float()
        warm = np.flatnonzero(self.warm.cpu().numpy())
        return to_scipy(knn_graph(vectors, self.settings["k"], self.mask(modality).cpu(), weighted, candidates=warm))

    def triples(self, nodes: torch.Tensor, user_ids, pos_ids, neg_ids) -> tuple[torch.Tensor, ...]:
        """The vectors of a batch from a table of all nodes, users first: three (b, d), looked up at once.

        Every look-up has a gradient as large as the table, and three of them would be made and added up.
        """
        places = torch.cat([user_ids, pos_ids + self.n_users, neg_ids + self.n_users])
        return nodes.index_select(0, places).chunk(3)


def between(small: float, large: float, share: float) -> float:
    """Return the number that lies ``share`` of the way from small to large: by factors, or in steps where one is 0.

    Three digits are kept; whole numbers stay whole.
    """
    if small and large:
        found = small * (large / small) ** share
    else:
        found = small + (large - small) * share
    return round(found) if isinstance(small, int) and isinstance(large, int) else float(f"{found:.3g}")


def content(feature: ItemFeatures, normalise: str = "l2") -> tuple[torch.Tensor, torch.Tensor]:
    """Return a modality as (n_items, dim) float32 and its mask (n_items,) bool; rows that are missing are zero."""
    mask = torch.as_tensor(np.asarray(feature.mask, dtype=bool))
    matrix = torch.as_tensor(np.array(feature.matrix, dtype=np.float32))
    if normalise not in ("none", "l2", "centred"):
        raise suggest(normalise, ("none", "l2", "centred"), "normalisation")
    if normalise == "centred":
        matrix = matrix - matrix[mask].mean(0)
    if normalise != "none":
        matrix = F.normalize(matrix, dim=1)  # a zero row stays zero: its norm is clamped
    return matrix * mask[:, None], mask


def check_graphs(graphs: Mapping | None, n_items: int) -> dict:
    """Return the given item graphs in the fixed order of modalities, or say what does not fit."""
    graphs = dict(graphs or {})
    for modality, graph in graphs.items():
        if modality not in MODALITIES:
            raise suggest(modality, MODALITIES, "modality")
        if graph.shape != (n_items, n_items):
            raise CourseError(f"The {modality} item graph is {graph.shape}, the split has {n_items} items.")
    return {modality: graphs[modality] for modality in MODALITIES if modality in graphs}


def check_features(features: Mapping[str, ItemFeatures] | None, n_items: int) -> dict:
    """Return the features in the fixed order of modalities, or say what does not fit."""
    features = dict(features or {})
    for modality, feature in features.items():
        if modality not in MODALITIES:
            raise suggest(modality, MODALITIES, "modality")
        matrix, mask = np.asarray(feature.matrix), np.asarray(feature.mask, dtype=bool)
        if len(matrix) != n_items or len(mask) != n_items:
            raise CourseError(
                f"The {modality} features have {len(matrix)} rows, the split has {n_items} items; "
                "align them with features.align(dataset.item_names)."
            )
        if not mask.any():
            raise CourseError(f"No item has {modality} features; leave the modality {modality!r} out.")
        bad = np.flatnonzero(mask & ~np.isfinite(matrix).all(1))
        if len(bad):
            raise CourseError(f"The {modality} features hold NaN or infinity in row {bad[0]}; extract them again.")
    return {modality: features[modality] for modality in MODALITIES if modality in features}


def blocks(features: ItemFeatures) -> dict[str, slice]:
    """Columns of each descriptor in a matrix that is made of several, as that of ``fine_features``.

    Raises:
        CourseError: the features have no blocks, or their widths do not add up.
    """
    widths: dict[str, int] = features.provenance.get("blocks") or {}
    if not widths or sum(widths.values()) != features.matrix.shape[1]:
        raise CourseError(
            f"These {features.modality} features are not made of blocks; make them with fine_features(dataset)."
        )
    ends = np.cumsum(list(widths.values()))
    return {name: slice(int(end - width), int(end)) for (name, width), end in zip(widths.items(), ends)}
