"""All judges of generated stamps at once, with what real stamps get from the same judges."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from utils.generation.judge import (
    CategoryJudge,
    Nearest,
    copied,
    nearest,
    obeys_colour,
    pixels,
    seen,
    variety,
    with_mirrors,
)
from utils.generation.stamps import COLOURS, Stamps

LEVEL = 0.05  # share of held-out real stamps that count as copied, by construction


@dataclass(frozen=True, eq=False)
class Jury:
    """Made once for a set of stamps; the category judge knows held-out stamps only, so that no copy can please it.

    Attributes:
        known, held_out: the stamps to learn from, and the others, with the frozen encoder's vectors of both.
        real: distances of the held-out stamps, ``by_pixels`` (mirror images count) and ``by_eye`` (frozen encoder).
    """

    known: Stamps
    held_out: Stamps
    known_seen: torch.Tensor
    held_out_seen: torch.Tensor
    categories: CategoryJudge
    learned: torch.Tensor
    learned_stamps: torch.Tensor
    real: dict[str, Nearest]

    @classmethod
    def of(cls, stamps: Stamps) -> Jury:
        """Describe all stamps by the frozen encoder (seconds), and measure the held-out ones."""
        known, out = stamps.part(held_out=False), stamps.part(held_out=True)
        known_seen, out_seen = seen(known.pictures), seen(out.pictures)
        images, of_stamp = with_mirrors(known)
        judge = CategoryJudge.of(out_seen, out.categories, len(stamps.names))
        jury = cls(known, out, known_seen, out_seen, judge, pixels(images), of_stamp, {})
        jury.real.update(jury.closest(out.pictures, out_seen))
        return jury

    def closest(self, images: torch.Tensor, vectors: torch.Tensor) -> dict[str, Nearest]:
        """The training picture closest to each, "by_pixels" (rows from n on are mirrored) and "by_eye"."""
        by_pixels = nearest(pixels(images), self.learned, self.learned_stamps)
        return {"by_pixels": by_pixels, "by_eye": nearest(vectors, self.known_seen, self.known.stamps)}

    def shown(self, found: Nearest) -> torch.Tensor:
        """The training pictures that `closest` found by pixels, mirrored where the mirror image is closer."""
        n = len(self.known.pictures)
        images = self.known.pictures[found.rows % n]
        return torch.where((found.rows >= n)[:, None, None, None], images.flip(3), images)

    def limit(self, by: str = "by_pixels", what: str = "distance") -> float:
        """Below it a picture counts as copied: the 5th percentile of the held-out real stamps."""
        return torch.quantile(getattr(self.real[by], what), LEVEL).item()

    def judged(self, images: torch.Tensor, hues: torch.Tensor, categories: torch.Tensor) -> dict[str, float]:
        """What pictures are worth that were asked for with these conditions (n,): shares and mean distances.

        Returns:
            colour, category: share that obeys. variety (RMS of pixels), variety_seen (encoder): mean distance of two
            answers to one question. copied_*: share closer to a training picture than 95 % of real held-out ones, by
            distance and by ratio (see `Nearest`). nearest_*: median distance.
        """
        vectors, cells = seen(images), categories * len(COLOURS) + hues
        found = {
            "colour": obeys_colour(images, hues).float().mean().item(),
            "category": (self.categories.says(vectors) == categories).float().mean().item(),
            "variety": variety(pixels(images), cells),
            "variety_seen": variety(vectors, cells),
        }
        for by, near in self.closest(images, vectors).items():
            for what in ("distance", "ratio"):
                share = copied(getattr(near, what), getattr(self.real[by], what), LEVEL)
                found[f"copied_{what}_{by}"] = share.float().mean().item()
            found[f"nearest_{by}"] = near.distance.median().item()
        return found
