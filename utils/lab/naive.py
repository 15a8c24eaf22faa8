"""Naive mode: the course's own models with common slow habits switched on, so that the cost of each can be measured.

    with naive():                                        # all habits
    with naive(Habits(coo_products=True)):               # one of them

There is no second copy of a model here. Inside the block, a few functions that all models share are replaced; models,
losses and numbers stay the same (`tests/lab/test_naive_mode.py`), only the work is done the long way round. When the block
ends, everything is as before. What each habit costs, and why it is so common:

* ``loop_sampling``: one negative after another, each tested with ``in`` on a Python set. A few hundred nanoseconds each
  are nothing, but they come once for each interaction of each epoch, and no second core can help. (The numbers come
  from Python's generator: another stream, the same distribution.)
* ``loop_hits``: "is this item relevant?" asked item by item, with ``in`` on the array of the user's items, as the public
  framework does. Users x list length questions in interpreted code; about half of an evaluation.
* ``wide_ranking``: 4,096 users in one block, and ``topk`` over the whole catalogue. The scores of a block then lie in
  main memory and not in the processor's cache, and every pass over them waits for memory.
* ``rebuilt_embeddings``: the graph is walked, or the features are projected, again for each block of users, although no
  weight has changed since the last block.
* ``coo_products``: the graph as a list of (row, column, value). It is what examples show; each product sorts out again
  what a CSR matrix has in order, and its gradient transposes the list each time. The layers are kept in a list and
  averaged at the end, which holds all of them in memory.
* ``every_item``: each batch projects the features of all items (up to the largest id of the batch), also of the many
  that do not occur in it. On thousands of columns this product is most of an epoch. LATTICE's released code does so at
  every step, and uses the result once in an epoch.
* ``plain_adam``: the default optimiser walks the weights once for each of its eight operations, a fused one once.
* ``fancy_indexing``: ``table[ids]`` instead of ``index_select`` or an embedding. The rows are the same; the general
  indexing code is several times slower, and its gradient is added up with sorting.
* ``plain_gradient``: BPR as its formula is written. Users, positives and negatives are looked up one by one, each with a
  gradient as large as its table, and autograd walks back through every square, product and sum.
* ``dense_item_graph``: a graph between items as a full matrix, of which nearly all entries are zero, and neighbours
  looked for in the whole matrix of similarities. Work and memory grow with the square of the catalogue.
* ``dense_degrees``: to divide each edge by the roots of two row sums, the graph is multiplied from both sides by a full
  matrix with these roots on its diagonal. Work grows with the cube of the catalogue, and its gradient costs twice that.

The last two are off by default: they are habits of LATTICE's released code and of no other model here.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from utils import evaluation, graphs, kernels, losses, training
from utils.graphs.edges import Edges
from utils.models.base import TrainedRecommender
from utils.models.freedom import FREEDOM
from utils.models.lattice import LATTICE

USUAL_BLOCK = 4096  # users for each evaluation block in the public framework


@dataclass(frozen=True)
class Habits:
    """Which habits are on; by default none. `ALL` switches on the usual ones."""

    loop_sampling: bool = False
    loop_hits: bool = False
    wide_ranking: bool = False
    rebuilt_embeddings: bool = False
    coo_products: bool = False
    every_item: bool = False
    plain_adam: bool = False
    fancy_indexing: bool = False
    plain_gradient: bool = False
    dense_item_graph: bool = False
    dense_degrees: bool = False


ALL = Habits(**{field.name: not field.name.startswith("dense") for field in fields(Habits)})
LATTICES = Habits(**{field.name: True for field in fields(Habits)})


@contextmanager
def naive(habits: Habits = ALL) -> Iterator[None]:
    """Switch ``habits`` on for the length of a with block; not for several threads at once."""
    with ExitStack() as stack:
        for field in fields(habits):
            if getattr(habits, field.name):
                stack.enter_context(_SWITCHES[field.name]())
        yield


@contextmanager
def _attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute and put it back; one that the owner only inherits is removed again."""
    own = name in vars(owner)
    before = vars(owner)[name] if own else None
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


@contextmanager
def _everywhere(original: Callable, replacement: Callable) -> Iterator[None]:
    """Replace a function of utils in all modules of utils that imported it."""
    with ExitStack() as stack:
        for module in [m for name, m in sys.modules.items() if name.startswith("utils.") and m is not None]:
            for name in [name for name, value in vars(module).items() if value is original]:
                stack.enter_context(_attribute(module, name, replacement))
        yield


# ---- sampling, evaluation ----


def _loop_sampling():
    def sample(self, user_ids: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        if not hasattr(self, "taken"):  # made once, not timed against us after the first epoch
            self.taken: dict[int, set[int]] = {}
            for key in self.keys.tolist():
                self.taken.setdefault(key // self.n_items, set()).add(key % self.n_items)
            self.all_items = self.candidates.tolist()
        choice = random.Random(int(torch.randint(2**31, (1,), generator=generator))).choice  # noqa: S311 - draws items, no secrets
        negatives, nobody = [], set()
        for user in user_ids.tolist():
            seen = self.taken.get(user, nobody)
            item = choice(self.all_items)
            while item in seen:
                item = choice(self.all_items)
            negatives.append(item)
        return torch.tensor(negatives)

    return _attribute(training.NegativeSampler, "sample", sample)


def _loop_hits():
    def hits(lists: np.ndarray, user_ids: np.ndarray, relevant: np.ndarray, n_items: int) -> np.ndarray:
        owners, items = relevant // n_items, relevant % n_items
        starts, stops = np.searchsorted(owners, user_ids), np.searchsorted(owners, user_ids, side="right")
        positives = [items[start:stop] for start, stop in zip(starts, stops)]
        return np.asarray([[item in wanted for item in row] for wanted, row in zip(positives, lists)], dtype=bool)

    return _attribute(evaluation, "_hits", hits)


@contextmanager
def _wide_ranking() -> Iterator[None]:
    ours = evaluation.recommend

    def recommend(*arguments: Any, **options: Any) -> np.ndarray:
        return ours(*arguments, **{**options, "block": USUAL_BLOCK})

    def best(scores: torch.Tensor, k: int, n_rows: int) -> np.ndarray:
        return torch.topk(scores, k, dim=1).indices.cpu().numpy()

    with _everywhere(ours, recommend), _attribute(evaluation, "_best", best):
        yield


def _rebuilt_embeddings():
    def final(self) -> tuple[torch.Tensor, torch.Tensor]:
        was_training = self.training
        self.eval()
        users, items = self.embeddings()
        torch.nn.Module.train(self, was_training)
        return users.detach(), items.detach()

    return _attribute(TrainedRecommender, "_final_embeddings", final)


# ---- graphs ----


def _converted(convert: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Convert each graph once: the format is the habit, not the conversion. Keeps the graph, so that ids stay apart."""
    known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def converted(graph: torch.Tensor) -> torch.Tensor:
        if id(graph) not in known:
            known[id(graph)] = graph, convert(graph)
        return known[id(graph)][1]

    return converted


@contextmanager
def _coo_products() -> Iterator[None]:
    coo = _converted(lambda graph: graph.to_sparse_coo().coalesce())

    def propagate(graph: torch.Tensor, x: torch.Tensor, transposed: torch.Tensor | None = None) -> torch.Tensor:
        return torch.sparse.mm(coo(graph), x)

    def mean_of_layers(adjacency, x: torch.Tensor, n_layers: int, transposed=None) -> torch.Tensor:
        layers = [x]
        for _ in range(n_layers):
            layers.append(torch.sparse.mm(coo(adjacency), layers[-1]))
        return torch.stack(layers, dim=1).mean(dim=1)

    with _everywhere(graphs.propagate, propagate), _everywhere(graphs.mean_of_layers, mean_of_layers):
        yield


@contextmanager
def _dense_item_graph() -> Iterator[None]:
    """Learned graphs between items (`Edges`): the similarities of all pairs, and all pairs in each product."""
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []  # the last matrix, for as long as its values stay the same

    def dots(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x @ y.T)[self.row, self.column]

    def sums(self, values: torch.Tensor, y: torch.Tensor, turned: bool = False) -> torch.Tensor:
        if not kept or kept[0][0] is not values:
            matrix = values.new_zeros(self.shape).index_put((self.row, self.column), values)
            kept[:] = [(values, matrix)] if not values.requires_grad else []
        else:
            matrix = kept[0][1]
        return (matrix.T if turned else matrix) @ y

    def nearest(unit: torch.Tensor, k: int, rows: torch.Tensor, columns: torch.Tensor) -> sp.csr_matrix:
        similarities = (unit @ unit.T).fill_diagonal_(2.0).masked_fill(~columns, -2.0)
        values, places = similarities.topk(min(k, len(unit)), dim=1)
        values = (values > -1.5).float() * rows[:, None]
        return sp.csr_matrix(torch.zeros_like(similarities).scatter(1, places, values).numpy())

    with _attribute(Edges, "dots", dots), _attribute(Edges, "sum", sums):
        with _everywhere(graphs.nearest_in_groups, nearest):
            yield


def _dense_degrees():
    def by_row_sums(graph: Edges, values: torch.Tensor) -> torch.Tensor:
        matrix = values.new_zeros(graph.shape).index_put((graph.row, graph.column), values)
        roots = torch.diag(matrix.sum(1).clamp(min=1e-6).rsqrt())
        return (roots @ matrix @ roots)[graph.row, graph.column]

    return _everywhere(graphs.by_row_sums, by_row_sums)


# ---- batches ----


@contextmanager
def _every_item() -> Iterator[None]:
    unique, select, ours = torch.unique, torch.Tensor.index_select, TrainedRecommender.content_of
    item_graph = LATTICE.item_graph

    def everything(ids: torch.Tensor, *arguments: Any, **options: Any):
        if arguments or set(options) != {"return_inverse"} or ids.is_floating_point() or ids.ndim != 1:
            return unique(ids, *arguments, **options)
        n = int(ids.max()) + 1
        if n not in _WHOLE:
            _WHOLE[n] = torch.arange(n, device=ids.device)
        return _WHOLE[n], ids

    def index_select(self, dim: int, index: torch.Tensor) -> torch.Tensor:
        return self[: len(index)] if dim == 0 and _is_whole(index) else select(self, dim, index)

    def content_of(self, modality: str, item_ids: torch.Tensor) -> torch.Tensor:
        return self.content(modality)[: len(item_ids)] if _is_whole(item_ids) else ours(self, modality, item_ids)

    def projected_gap(self, modality: str, pos_ids: torch.Tensor, neg_ids: torch.Tensor) -> torch.Tensor:
        projected = self.project[modality](self.content(modality))
        pos, neg = projected.index_select(0, torch.cat([pos_ids, neg_ids])).chunk(2)
        return pos - neg

    def used_or_not(self) -> tuple:
        if self.training and self.connected is not None:
            for m in self.modalities:
                self.project[m](self.content(m))
        return item_graph(self)

    with _attribute(torch, "unique", everything), _attribute(torch.Tensor, "index_select", index_select):
        with _attribute(TrainedRecommender, "content_of", content_of), _attribute(LATTICE, "item_graph", used_or_not):
            with _attribute(FREEDOM, "projected_gap", projected_gap):
                yield
    _WHOLE.clear()


_WHOLE: dict[int, torch.Tensor] = {}  # "all items": taken as they are, without a copy, as a naive program does


def _is_whole(ids: torch.Tensor) -> bool:
    return _WHOLE.get(len(ids)) is ids


def _plain_adam():
    def make_optimiser(model: torch.nn.Module, lr: float) -> torch.optim.Optimizer:
        return torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=lr)

    return _everywhere(training.make_optimiser, make_optimiser)


@contextmanager
def _fancy_indexing() -> Iterator[None]:
    select, content_of, functional = torch.Tensor.index_select, TrainedRecommender.content_of, torch.nn.functional

    def index_select(self, dim: int, index: torch.Tensor) -> torch.Tensor:
        plain = dim == 0 and index.dtype == torch.int64 and not _is_whole(index)
        return self[index] if plain else select(self, dim, index)

    def embedding(ids: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return weight[ids]

    def content(self, modality: str, item_ids: torch.Tensor) -> torch.Tensor:
        return content_of(self, modality, item_ids) if _is_whole(item_ids) else self.content(modality)[item_ids]

    with _attribute(torch.Tensor, "index_select", index_select), _attribute(functional, "embedding", embedding):
        with _attribute(TrainedRecommender, "content_of", content):
            yield


def _plain_gradient():
    def bpr_of_tables(users, items, user_ids, pos_ids, neg_ids, reg: float) -> torch.Tensor:
        look_up = torch.nn.functional.embedding
        user, pos, neg = look_up(user_ids, users), look_up(pos_ids, items), look_up(neg_ids, items)
        return losses.bpr((user * pos).sum(1), (user * neg).sum(1)) + reg * losses.l2_reg(user, pos, neg)

    return _everywhere(kernels.bpr_of_tables, bpr_of_tables)


_SWITCHES: dict[str, Callable] = {
    "loop_sampling": _loop_sampling,
    "loop_hits": _loop_hits,
    "wide_ranking": _wide_ranking,
    "rebuilt_embeddings": _rebuilt_embeddings,
    "coo_products": _coo_products,
    "every_item": _every_item,
    "plain_adam": _plain_adam,
    "fancy_indexing": _fancy_indexing,
    "plain_gradient": _plain_gradient,
    "dense_item_graph": _dense_item_graph,
    "dense_degrees": _dense_degrees,
}
