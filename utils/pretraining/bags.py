"""Items as bags of vectors in one space: the sentences of a text, and the words that stand nearest to a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data import Dataset, assemble
from utils.errors import CourseError
from utils.features import Features, extract

MOST = 10  # sentences of a text
TOP = 15  # words of a picture


@dataclass(frozen=True, eq=False, repr=False)
class Bags:
    """What one modality says of every item, as several vectors of a space that modalities share.

    Attributes:
        vectors: float32 (n_items, most, dim); where ``mask`` is False a vector is 0 and is no content.
        mask: bool (n_items, most), True = a sentence or a word; an item without any lacks the modality.
        provenance: encoder of the vectors, and what was done since.
    """

    vectors: np.ndarray
    mask: np.ndarray
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        vectors, mask = np.asarray(self.vectors, dtype=np.float32), np.asarray(self.mask, dtype=bool)
        if vectors.ndim != 3 or vectors.shape[:2] != mask.shape:
            raise CourseError(
                f"Bags need vectors (n_items, most, dim) and a mask (n_items, most), not {vectors.shape} and {mask.shape}."
            )
        bad = np.flatnonzero((~np.isfinite(vectors).all(axis=2) & mask).any(axis=1))
        if len(bad):
            raise CourseError(f"The bag of item {bad[0]} holds NaN or infinity; encode its content again.")
        object.__setattr__(self, "vectors", np.where(mask[..., None], vectors, np.float32(0)))
        object.__setattr__(self, "mask", mask)

    @property
    def n_items(self) -> int:
        """Items, also those without content."""
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Length of one vector."""
        return self.vectors.shape[2]

    def centred(self) -> Bags:
        """Subtract the mean of all vectors that are there, so that a cosine compares what differs between items."""
        mean = self.vectors[self.mask].mean(axis=0) if self.mask.any() else np.float32(0)
        return replace(self, vectors=self.vectors - mean, provenance={**self.provenance, "centred": True})

    def shuffled(self, seed: int = 0) -> Bags:
        """The control: bags change owners among the items that have one, so that content is as good and the pairing wrong."""
        rows = np.flatnonzero(self.mask.any(axis=1))
        order = np.arange(self.n_items)
        order[rows] = np.random.default_rng(seed).permutation(rows)
        return replace(
            self,
            vectors=self.vectors[order],
            mask=self.mask[order],
            provenance={**self.provenance, "shuffled": seed},
        )

    def __repr__(self) -> str:
        has = self.mask.any(axis=1)
        each = f"{self.mask[has].sum(axis=1).mean():.1f} vectors each" if has.any() else "all empty"
        return f"Bags({self.n_items} items, {has.sum()} present, {each}, dim {self.dim})"


def sentences(text: str, most: int = MOST) -> list[str]:
    """Cut a text after full stops, exclamation and question marks; the first ``most`` sentences count."""
    found = (part.strip() for part in re.split(r"(?<=[.!?])\s+", text))
    return [part for part in found if part][:most]


def encode_texts(texts: Sequence[str], encoder: str = "minilm") -> np.ndarray:
    """Return one row per text, (n, dim) float32; equal texts are computed once and kept in the cache."""
    names = [f"text {n}" for n in range(len(texts))]
    items = pd.DataFrame({"item": names, "title": "", "description": list(texts), "image": "", "audio": ""})
    nobody = pd.DataFrame({"user": pd.Series(dtype=object), "item": pd.Series(dtype=object)})
    return extract(assemble("texts", Path(), items, nobody), "textual", encoder, progress=False, batch_size=32).matrix


def text_bags(texts: Sequence[str], encoder: str = "minilm", most: int = MOST) -> Bags:
    """Encode each sentence of each text: bags of up to ``most`` vectors; an empty text is an empty bag.

    Raises:
        CourseError: no text holds a sentence.
    """
    cut = [sentences(text, most) for text in texts]
    flat = [sentence for one in cut for sentence in one]
    if not flat:
        raise CourseError("No item has a text; fill the column description in items.tsv.")
    rows = encode_texts(flat, encoder)
    counts = np.array([len(one) for one in cut])
    mask = np.arange(counts.max()) < counts[:, None]
    vectors = np.zeros((*mask.shape, rows.shape[1]), dtype=np.float32)
    vectors[mask] = rows  # both go item by item, sentence by sentence
    return Bags(vectors, mask, {"encoder": encoder, "made_of": "sentences"})


def image_words(
    similarity: np.ndarray, words: np.ndarray, top: int = TOP, mask: np.ndarray | None = None, encoder: str = "given"
) -> Bags:
    """Say a picture in words: the ``top`` words most similar to it, as vectors of the space in which texts stand.

    So there is no gap between the two spaces that training would have to close. Of equal similarity the word that stands
    first in the vocabulary counts.

    Args:
        similarity: (n_items, n_words), higher = nearer, for example the logits of a classifier of pictures.
        words: (n_words, dim), the vocabulary in the text's space.
        mask: (n_items,) bool, True = this item has a picture.
        encoder: the name of the text encoder that made ``words``.

    Raises:
        CourseError: the shapes do not fit, or the vocabulary has fewer than ``top`` words.
    """
    if similarity.ndim != 2 or similarity.shape[1] != len(words):
        raise CourseError(
            f"{similarity.shape} similarities and {len(words)} words do not fit; give a column for each word."
        )
    if not 1 <= top <= len(words):
        raise CourseError(f"top={top}: the vocabulary has {len(words)} words; take 1 to {len(words)} of them.")
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :top]
    has = np.ones(len(similarity), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    return Bags(words[nearest], np.repeat(has[:, None], top, axis=1), {"encoder": encoder, "made_of": f"{top} words"})


def class_words() -> list[str]:
    """The 1,000 words that the classifiers of ImageNet know, in the order of their logits."""
    from torchvision.models import EfficientNet_B0_Weights  # names only; no weights are loaded

    return list(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])


def course_bags(dataset: Dataset, encoder: str = "minilm", top: int = TOP, progress: bool = False) -> dict[str, Bags]:
    """Bags of a dataset by the course's own encoders: sentences by MiniLM, pictures as words of EfficientNet-Lite0.

    MP4SR asks CLIP which words of a vocabulary are near to a picture. No CLIP installs without a network, so the words are
    the classes that a network trained on ImageNet sees: 1,000 of them, things and animals more than moods or styles.
    """
    seen: Features = extract(dataset, "visual", "efficientnet_lite0", "classifier.1", progress=progress)
    words = encode_texts(class_words(), encoder)
    pictures = image_words(seen.matrix, words, top, seen.mask, encoder)
    return {"visual": pictures, "textual": text_bags(dataset.texts(), encoder)}
