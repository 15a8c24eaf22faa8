"""Image-text model: two linear heads, trained by contrast on the features of frozen image and text encoders.

For pair i, image vector a_i and text vector b_i (each a linear head's output, scaled to length 1), InfoNCE asks that
a_i finds b_i among all texts of the batch, and b_i finds a_i among all images; t is the temperature:

    loss = mean over i of  -1/2 ln softmax_j(a_i . b_j / t)[i]  -1/2 ln softmax_j(a_j . b_i / t)[i]

It has two towers as in A. Radford et al. (2021), arXiv:2103.00020, but it is trained on hundreds of pairs and only
aligns two given spaces: it knows what the shop sells, and nothing else. Do not expect it to name what it has not seen.

The trap is in the split. Near-duplicates (the same drawing in two colours, the same sentence twice) on both sides of it
let the model look the answer up. So whole groups of near-duplicates go to one side, and each group tests once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from torch import nn

from utils.errors import CourseError
from utils.features.matrix import Features
from utils.losses import info_nce

SAME_IMAGE, SAME_TEXT = 0.9, 0.98  # cosine above which two items count as near-duplicates, each in its encoder's space


# --- Near-duplicates and the split -----------------------------------------------------------------------------------


def near_duplicate_groups(features: Features, threshold: float = SAME_IMAGE, chunk: int = 1024) -> np.ndarray:
    """Number the groups of items whose vectors point (nearly) the same way.

    Two items belong together when their cosine is at least ``threshold``, or when a chain of such items links them.
    An item without this modality is a group of its own.

    Args:
        features: (n_items, dim), as the encoder gives them, not centred.
        threshold: cosine between 0 and 1; 0.999 finds identical content only.
        chunk: rows compared at once with all others.

    Returns:
        (n_items,) int64, the group of each item.
    """
    if not 0 < threshold <= 1:
        raise CourseError(f"threshold={threshold}: give a cosine above 0 and up to 1, for example {SAME_IMAGE}.")
    unit = features.l2().matrix
    limit = threshold - 1e-6  # a vector's cosine with itself may come out a rounding error below 1
    rows, columns = [], []
    for start in range(0, len(unit), chunk):
        near = unit[start : start + chunk] @ unit.T >= limit
        row, column = np.nonzero(near & features.mask)
        rows.append(row + start)
        columns.append(column)
    return linked(np.concatenate(rows), np.concatenate(columns), len(unit)) if rows else np.zeros(0, np.int64)


def linked(rows: np.ndarray, columns: np.ndarray, n_items: int) -> np.ndarray:
    """Number the connected components of the graph with edges rows[k] - columns[k]: (n_items,) int64."""
    graph = csr_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(n_items, n_items))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def merge_groups(*groups: np.ndarray) -> np.ndarray:
    """Join groupings of the same items: who shares a group in any of them shares one here, (n_items,) int64."""
    n_items = len(groups[0])
    # Link every item to the first member of its group, in each grouping.
    first = [np.unique(group, return_index=True)[1][np.unique(group, return_inverse=True)[1]] for group in groups]
    return linked(np.tile(np.arange(n_items), len(groups)), np.concatenate(first), n_items)


def split_pairs(groups: np.ndarray, n_test: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``n_test`` groups for the test, one random member each; all other groups train.

    Returns:
        (train, test) positions, sorted. The other members of a test group are in neither.

    Raises:
        CourseError: fewer than two groups would be left to train on.
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(groups))
    names, first = np.unique(groups[order], return_index=True)  # first of a random order = a random member
    if not 2 <= n_test <= len(names) - 2:
        raise CourseError(
            f"{len(groups)} pairs fall into {len(names)} groups of near-duplicates: too few for {n_test} test pairs; "
            "use more items, a smaller test share, or higher thresholds."
        )
    chosen = draw.permutation(len(names))[:n_test]
    return np.flatnonzero(~np.isin(groups, names[chosen])), np.sort(order[first[chosen]])


# --- Retrieval -------------------------------------------------------------------------------------------------------


SAME = 1e-6  # cosines that differ by less are equal: a product gives equal vectors other last bits in other columns


def ranks(queries: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Rank of target i for query i by cosine, 1 = best: (n,) float. Ties count half: equal vectors gain nothing."""
    queries = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)
    targets = targets / np.maximum(np.linalg.norm(targets, axis=1, keepdims=True), 1e-12)
    scores = queries @ targets.T
    lead = scores - scores.diagonal()[:, None]
    return 1 + (lead > SAME).sum(axis=1) + ((np.abs(lead) <= SAME).sum(axis=1) - 1) / 2


def retrieval(image_vectors: np.ndarray, text_vectors: np.ndarray, top_k: Sequence[int] = (1, 10)) -> pd.DataFrame:
    """Measure how well each image finds its text among all texts, and the other way round.

    Args:
        image_vectors: (n, dim), row i belongs to row i of
        text_vectors: (n, dim).
        top_k: R@K is the share of queries whose partner is among the first K.

    Returns:
        Rows ``text to image``, ``image to text``, ``chance``; columns R@K, median rank, candidates (n).
    """
    n = len(image_vectors)
    if n == 0 or np.shape(image_vectors) != np.shape(text_vectors):
        raise CourseError(
            f"Images {np.shape(image_vectors)} and texts {np.shape(text_vectors)} are not pairs; give two matrices of "
            "one shape, paired by item id."
        )
    found = {
        "text to image": ranks(np.asarray(text_vectors), np.asarray(image_vectors)),
        "image to text": ranks(np.asarray(image_vectors), np.asarray(text_vectors)),
        "chance": np.arange(1, n + 1),
    }
    rows = {
        name: {
            **{f"R@{k}": float((rank <= k).mean()) for k in top_k},
            "median rank": float(np.median(rank)),
            "candidates": n,
        }
        for name, rank in found.items()
    }
    return pd.DataFrame(rows).T.astype({"candidates": int})


# --- The model -------------------------------------------------------------------------------------------------------


class Head(nn.Module):
    """Centre on the training mean, scale to length 1, one linear map, scale to length 1: (n, in) -> (n, dim)."""

    def __init__(self, training_rows: torch.Tensor, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        n_in = training_rows.shape[1]
        self.register_buffer("mean", training_rows.mean(dim=0))
        self.weight = nn.Parameter(torch.randn(n_in, dim, generator=generator) / n_in**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Project (n, in) to unit vectors (n, dim)."""
        return F.normalize(F.normalize(x - self.mean, dim=1) @ self.weight, dim=1)


@dataclass(frozen=True, repr=False, eq=False)
class ImageText:
    """A trained two-head model, what it was trained on, and how it did.

    Attributes:
        image_head, text_head: the two linear maps.
        visual, textual: the frozen encoders' features it was made from, in one item order.
        train_items, test_items: raw item ids; fewer than all, as near-duplicates of test items were left out.
        history: one row per epoch: epoch, loss.
        retrieval: held-out table of :func:`retrieval`, over ``test_items`` only.
    """

    image_head: Head
    text_head: Head
    visual: Features
    textual: Features
    train_items: np.ndarray
    test_items: np.ndarray
    history: pd.DataFrame
    retrieval: pd.DataFrame

    def embed_images(self, matrix: np.ndarray) -> np.ndarray:
        """Map rows of the image encoder (n, visual.dim) into the shared space: unit vectors (n, dim)."""
        return embed(self.image_head, matrix, self.visual)

    def embed_texts(self, matrix: np.ndarray) -> np.ndarray:
        """Map rows of the text encoder (n, textual.dim) into the shared space: unit vectors (n, dim)."""
        return embed(self.text_head, matrix, self.textual)

    def features(self) -> tuple[Features, Features]:
        """Return (visual, textual) of all items in the shared space; masks stay. Training items are among them."""
        return shared(self.visual, self.image_head, self), shared(self.textual, self.text_head, self)

    def __repr__(self) -> str:
        row = self.retrieval.loc["text to image"]
        shown = ", ".join(f"{name} {row[name]:.2f}" for name in row.index if name.startswith("R@"))
        return (
            f"ImageText({len(self.train_items)} training pairs; text to image among {len(self.test_items)} held-out "
            f"pairs: {shown}, median rank {row['median rank']:.0f})"
        )


def embed(head: Head, matrix: np.ndarray, made_for: Features) -> np.ndarray:
    """Run one head over (n, made_for.dim) rows.

    Raises:
        CourseError: rows of another length, as another encoder or layer gives them.
    """
    matrix = np.atleast_2d(np.asarray(matrix, dtype=np.float32))
    if matrix.shape[1] != made_for.dim:
        raise CourseError(
            f"The {made_for.modality} head takes {made_for.dim} numbers a row, not {matrix.shape[1]}; use the same "
            f"encoder and layer as in training ({made_for.provenance.get('encoder', 'unknown')})."
        )
    with torch.inference_mode():
        return head(torch.from_numpy(matrix)).numpy()


def shared(features: Features, head: Head, model: ImageText) -> Features:
    """Return one modality's features in the shared space, with where they come from."""
    about = {
        "encoder": "imagetext",
        "layer": "head",
        "made_from": {"visual": dict(model.visual.provenance), "textual": dict(model.textual.provenance)},
        "n_train": len(model.train_items),
    }
    return Features(
        features.modality, embed(head, features.matrix, features), features.item_names, features.mask, about
    )


def train_image_text(
    visual: Features,
    textual: Features,
    dim: int = 128,
    n_epochs: int = 10,
    temperature: float = 0.07,
    seed: int = 0,
    *,
    lr: float = 1e-2,
    weight_decay: float = 0.1,
    batch_size: int = 256,
    test: float = 0.2,
    top_k: Sequence[int] = (1, 10),
    remove_duplicates: bool = True,
    same_image: float = SAME_IMAGE,
    same_text: float = SAME_TEXT,
    groups: np.ndarray | None = None,
    n_train: int | None = None,
) -> ImageText:
    """Train two linear heads so that an item's image and text meet in one space, and test them on held-out items.

    Nothing is chosen on the held-out pairs: the number of epochs is fixed. The defaults did well within the training
    part of one split of the Sticker Shop (6 inner splits, 25 settings).

    Args:
        visual, textual: frozen encoders' features of the same items in any order; they are paired by item id.
        dim: size of the shared space.
        n_epochs, lr, weight_decay, batch_size: of AdamW.
        temperature: t of the loss; the smaller, the more the nearest wrong pairs count.
        seed: draws the split, the first weights and the batches.
        test: share of the pairs that is held out.
        top_k: cut-offs of the retrieval table.
        remove_duplicates: keep near-duplicates on one side of the split. False shows how much the leak flatters.
        same_image, same_text: cosines from which two items count as near-duplicates.
        groups: (n_items,) group of each item in the order of ``visual``, instead of those found by the two cosines.
        n_train: train on at most so many pairs (to compare two protocols at the same size).

    Raises:
        CourseError: features of other modalities, ids that do not match, too few items that have both.
    """
    if (visual.modality, textual.modality) != ("visual", "textual"):
        raise CourseError(
            f"train_image_text(visual, textual) got {visual.modality} and {textual.modality} features; "
            "swap or replace them."
        )
    textual = textual.align(visual.item_names)
    both = np.flatnonzero(visual.mask & textual.mask)
    if len(both) < 10:
        raise CourseError(
            f"Only {len(both)} items have an image and a text; the model needs 10, and hundreds to learn."
        )
    if not remove_duplicates:
        groups = np.arange(visual.n_items)
    elif groups is None:
        groups = merge_groups(near_duplicate_groups(visual, same_image), near_duplicate_groups(textual, same_text))
    train, held_out = (both[part] for part in split_pairs(groups[both], round(test * len(both)), seed))
    if n_train is not None and n_train < len(train):
        train = np.sort(np.random.default_rng(seed).permutation(train)[:n_train])

    generator = torch.Generator().manual_seed(seed)
    images, texts = torch.from_numpy(visual.matrix[train]), torch.from_numpy(textual.matrix[train])
    heads = nn.ModuleList([Head(images, dim, generator), Head(texts, dim, generator)])
    optimiser = torch.optim.AdamW(heads.parameters(), lr=lr, weight_decay=weight_decay)
    losses = []
    for _ in range(n_epochs):
        total = 0.0
        for batch in torch.randperm(len(train), generator=generator).tensor_split(-(-len(train) // batch_size)):
            loss = info_nce(heads[0](images[batch]), heads[1](texts[batch]), temperature, symmetric=True)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        losses.append(total / len(train))
    image_head, text_head = heads.eval().requires_grad_(False)
    return ImageText(
        image_head,
        text_head,
        visual,
        textual,
        visual.item_names[train],
        visual.item_names[held_out],
        pd.DataFrame({"epoch": np.arange(1, n_epochs + 1), "loss": losses}),
        retrieval(
            embed(image_head, visual.matrix[held_out], visual),
            embed(text_head, textual.matrix[held_out], textual),
            top_k,
        ),
    )


def leak_report(visual: Features, textual: Features, seeds: Iterable[int] = range(3), **settings) -> pd.DataFrame:
    """Compare the split by groups with the careless random split, at equal numbers of training and test pairs.

    Also a control: with the texts' rows shuffled after the groups were found, nothing can be learned, and retrieval
    should fall to chance. (Groups of shuffled pairs would chain unrelated items together.)

    Args:
        visual, textual, settings: as for :func:`train_image_text`.
        seeds: one split and one training each.

    Returns:
        One row per protocol, direction and seed: protocol (``groups``, ``random``, ``shuffled``), direction, seed,
        n_train and the columns of :func:`retrieval`. ``.groupby(["protocol", "direction"]).mean()`` sums it up.
    """
    textual = textual.align(visual.item_names)
    groups = merge_groups(
        near_duplicate_groups(visual, settings.get("same_image", SAME_IMAGE)),
        near_duplicate_groups(textual, settings.get("same_text", SAME_TEXT)),
    )
    rows = []
    for seed in seeds:
        clean = train_image_text(visual, textual, seed=seed, groups=groups, **settings)
        n_train = len(clean.train_items)
        careless = train_image_text(visual, textual, seed=seed, remove_duplicates=False, n_train=n_train, **settings)
        control = train_image_text(visual, textual.shuffled(seed), seed=seed, groups=groups, **settings)
        for protocol, model in (("groups", clean), ("random", careless), ("shuffled", control)):
            for direction, row in model.retrieval.iterrows():
                rows.append({"protocol": protocol, "direction": direction, "seed": seed, "n_train": n_train, **row})
    return pd.DataFrame(rows)
