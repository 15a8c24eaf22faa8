"""The shipped generators of stamps: loaded, and asked for pictures of a colour and a category."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from utils.errors import CourseError, suggest
from utils.generation.cvae import CVAE
from utils.generation.diffusion import ddim
from utils.generation.eye import Eye
from utils.generation.kept import filled, read_weights
from utils.generation.stamps import Stamps
from utils.generation.unet import UNet


@dataclass(frozen=True, eq=False)
class Generator:
    """A trained network and what it was trained on.

    Attributes:
        name: "cvae" or "diffusion". about: size, hues, categories, steps, held_out (titles), licence.
    """

    name: str
    model: CVAE | UNet
    about: dict[str, Any]

    @property
    def size(self) -> int:
        return self.about["size"]

    def draw(self, hues: torch.Tensor, categories: torch.Tensor, *, seed: int = 0, **how: Any) -> torch.Tensor:
        """One picture for each condition: (n,) int64 twice -> (n, 3, size, size) from -1 to 1.

        Args:
            how: for the diffusion, ``weight`` of the guidance and ``n_steps``; the CVAE has neither.

        Raises:
            CourseError: guidance is asked of the CVAE.
        """
        if self.name == "diffusion":
            return ddim(self.model, hues, categories, size=self.size, seed=seed, **how)
        if how:
            raise CourseError(f"The CVAE takes no {' and no '.join(how)}; ask load_generator('diffusion') for that.")
        return self.model.sample(hues, categories, seed)

    def ask(self, colour: str, category: str, n: int = 1, *, seed: int = 0, **how: Any) -> torch.Tensor:
        """n pictures by name, as ``ask("green", "animals", 4, weight=2)``: (n, 3, size, size).

        Raises:
            CourseError: a colour or a category that was not learned.
        """
        for given, known, what in (
            (colour, self.about["hues"], "colour"),
            (category, self.about["categories"], "category"),
        ):
            if given not in known:
                raise suggest(given, known, what)
        number = self.about["hues"].index(colour), self.about["categories"].index(category)
        return self.draw(*(torch.full((n,), k) for k in number), seed=seed, **how)


def grid_of(n_hues: int, n_categories: int, n_each: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Conditions of every cell, hues fastest: (n_each n_categories n_hues,) int64 twice."""
    hues = torch.arange(n_hues).repeat(n_categories * n_each)
    return hues, torch.arange(n_categories).repeat_interleave(n_hues).repeat(n_each)


def load_generator(
    name: str, stamps: Stamps | None = None, path: str | Path | None = None, expected: str | None = None
) -> Generator:
    """Load "cvae" or "diffusion" as shipped, or from ``path`` (see `read_weights`).

    Args:
        stamps: refuse weights of another size or other categories than these have.

    Raises:
        CourseError: as `read_weights`, and weights that do not fit ``stamps``.
    """
    about, state, path = read_weights(name, path, expected)
    if name == "eye":
        raise CourseError("The eye draws nothing; load it with load_eye().")
    if stamps is not None and (stamps.size, list(stamps.names)) != (about["size"], about["categories"]):
        raise CourseError(
            f"{path} draws {about['size']} pixels a side of {', '.join(about['categories'])}, the stamps given have "
            f"{stamps.size} of {', '.join(stamps.names)}; load stamps as the weights were made, or train anew."
        )
    n = len(about["hues"]), len(about["categories"])
    model = CVAE(*n, size=about["size"]) if name == "cvae" else UNet(*n)
    return Generator(name, filled(model, state, path), about)


def load_eye(path: str | Path | None = None, expected: str | None = None) -> Eye:
    """Load the small encoder that `personalise` climbs, as shipped or from ``path`` (see `read_weights`)."""
    about, state, path = read_weights("eye", path, expected)
    return filled(Eye(state["mean"], state["axes"], about["size"]), state, path)
