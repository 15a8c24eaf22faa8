"""Ask with a picture of your own and words: "this one, but in red", answered from a gallery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from utils.data.pictures import open_image
from utils.features.encoders.image import square
from utils.features.registry import Network
from utils.generation.composed import Combiner, TwoTower
from utils.generation.recolour import colour_in


@dataclass(frozen=True, eq=False)
class Asker:
    """What is needed to answer one question.

    Attributes:
        towers, combiner: trained on the gallery's catalogue.
        gallery: (n, dim) float32 of length 1, the pictures that may be answers, in the space of the towers.
        pictures, words: the encoders that the towers were trained on (``find(name, modality).network(...)``).
        size: pixels a side that the picture encoder was given.
    """

    towers: TwoTower
    combiner: Combiner
    gallery: torch.Tensor
    pictures: Network
    words: Network
    size: int = 128

    @torch.no_grad()
    def ask(self, path: str | Path, words: str, top_k: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """The pictures of the gallery that fit best: (top_k,) places and their cosines, best first.

        The words are read for the colour they name; whatever else they say was never learned, and is left out.

        Raises:
            CourseError: a picture that cannot be read; no colour that was learned, or several.
        """
        array = np.asarray(square(open_image(path), self.size))
        picture, asked = self.pictures.encode([array]), self.words.encode([f"in {colour_in(words)}"])
        query = self.combiner(*self.towers(*(torch.as_tensor(np.float32(part)) for part in (picture, asked))))[0]
        scores, places = (self.gallery @ query).sort(descending=True, stable=True)
        return places[:top_k].numpy(), scores[:top_k].numpy()
