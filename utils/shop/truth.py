"""Write what the simulator of the Sticker Shop knows; :mod:`utils.data.planted` reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from utils.arrays import write_sums
from utils.data.planted import FOLDER
from utils.data.tables import write_table
from utils.files import atomic_path, write_json
from utils.shop.simulate import Simulation


def save_truth(folder: Path, simulation: Simulation, attributes: pd.DataFrame) -> None:
    """Write ``truth/`` of a dataset: utilities (float16), tastes, item attributes, settings."""
    folder = folder / FOLDER
    with atomic_path(folder / "utilities.npz") as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(
            stream,
            users=simulation.users.astype("U8"),
            items=simulation.items.astype("U8"),
            start=simulation.start.astype(np.float16),
            end=simulation.end.astype(np.float16),
        )
    write_sums(folder, ("utilities.npz",))
    more = attributes.assign(
        released=simulation.released, popularity=simulation.popularity.round(4), hidden=simulation.hidden
    )
    write_table(folder / "attributes.tsv", more)
    write_table(folder / "tastes.tsv", simulation.likes)
    write_json(folder / "settings.json", simulation.settings)
