"""Judges of generated stamps: asked colour, asked category, variety, and whether a picture was copied or made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from utils.errors import CourseError
from utils.features.encoders.image import square
from utils.features.registry import find
from utils.generation.recolour import dominant_hue
from utils.generation.stamps import COLOURS, Stamps, to_pictures

SEEN_AT = 96  # pixels a side that the frozen encoder is given: it was made for photographs


def obeys_colour(images: torch.Tensor, hues: torch.Tensor) -> torch.Tensor:
    """Whether each picture has the asked hue by the rule of `dominant_hue`, and no other: (n,) bool."""
    found = [dominant_hue(picture) for picture in to_pictures(images)]
    return torch.tensor([hue is not None and hue[0] == COLOURS[k] for hue, k in zip(found, hues.tolist())])


def seen(images: torch.Tensor) -> torch.Tensor:
    """Vectors of the course's frozen picture encoder, which no generator has met: (n, 3, s, s) -> (n, 1280), length 1."""
    network = find("default", "visual").network("avgpool", {"size": SEEN_AT, "fit": "pad"})
    arrays = [np.asarray(square(Image.fromarray(picture), SEEN_AT)) for picture in to_pictures(images)]
    parts = [network.encode(arrays[start : start + 32]) for start in range(0, len(arrays), 32)]
    return F.normalize(torch.as_tensor(np.concatenate(parts), dtype=torch.float32), dim=1)


@dataclass(frozen=True, eq=False)
class CategoryJudge:
    """Says the category whose centre is nearest: centres (n_categories, d), of pictures that no generator saw."""

    centres: torch.Tensor

    @classmethod
    def of(cls, vectors: torch.Tensor, categories: torch.Tensor, n_categories: int) -> CategoryJudge:
        """Centres of (n, d) vectors.

        Raises:
            CourseError: a category without a picture.
        """
        counts = torch.bincount(categories, minlength=n_categories)
        if not counts.all():
            raise CourseError(f"Category {int(counts.argmin())} has no picture to judge by; hold out a larger share.")
        sums = torch.zeros(n_categories, vectors.shape[1]).index_add_(0, categories, vectors)
        return cls(F.normalize(sums / counts[:, None], dim=1))

    def says(self, vectors: torch.Tensor) -> torch.Tensor:
        """(n, d) -> (n,) int64."""
        return (vectors @ self.centres.T).argmax(dim=1)


def variety(rows: torch.Tensor, cells: torch.Tensor) -> float:
    """Mean distance of two pictures that answer the same question: rows (n, d), cells (n,) which question.

    Euclidean distance; nan where no question was asked twice.
    """
    total, pairs = 0.0, 0
    for cell in cells.unique():
        apart = torch.pdist(rows[cells == cell].double())
        total, pairs = total + apart.sum().item(), pairs + len(apart)
    return total / pairs if pairs else float("nan")


def pixels(images: torch.Tensor) -> torch.Tensor:
    """Pictures as rows whose Euclidean distance is the root mean square difference, 1 = black against white."""
    return images.flatten(1) / 2 / images[0].numel() ** 0.5


@dataclass(frozen=True, eq=False)
class Nearest:
    """The training picture closest to each picture.

    Attributes:
        rows: (n,) int64, places among the training pictures.
        distance: (n,) to it. ratio: (n,) distance / distance to the tenth closest *stamp*: a copy has one close
            neighbour and a blurred picture has many, so that blur alone does not look like a copy.
    """

    rows: torch.Tensor
    distance: torch.Tensor
    ratio: torch.Tensor


def nearest(rows: torch.Tensor, known: torch.Tensor, stamps: torch.Tensor, kth: int = 10) -> Nearest:
    """Compare (n, d) with all (m, d) training rows, of which ``stamps`` (m,) says the stamp.

    Raises:
        CourseError: fewer than ``kth`` stamps to compare with.
    """
    kinds, place = stamps.unique(return_inverse=True)
    if len(kinds) < kth:
        raise CourseError(
            f"{len(kinds)} training stamps: the ratio compares with the {kth}th closest; give {kth} or more."
        )
    apart = torch.cdist(rows.double(), known.double())  # in 64 bits the fast way is exact enough for copies
    best = torch.full((len(rows), len(kinds)), torch.inf, dtype=apart.dtype).scatter_reduce_(
        1, place.expand(len(rows), -1), apart, reduce="amin"
    )
    distance, at = apart.min(dim=1)
    return Nearest(at, distance, distance / best.kthvalue(kth, dim=1).values.clamp(min=1e-12))


def copied(found: torch.Tensor, held_out: torch.Tensor, level: float = 0.05) -> torch.Tensor:
    """Closer to a training picture than all but ``level`` of the real pictures that nobody learned from: (n,) bool.

    Args:
        found, held_out: distances or ratios of `nearest`, of generated and of real held-out pictures.
    """
    return found < torch.quantile(held_out, level)


def with_mirrors(stamps: Stamps) -> tuple[torch.Tensor, torch.Tensor]:
    """What a generator saw: pictures and their mirror images (2 n, 3, s, s), and the stamp of each (2 n,)."""
    return torch.cat([stamps.pictures, stamps.pictures.flip(3)]), stamps.stamps.repeat(2)
