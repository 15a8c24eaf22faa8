"""The planted truth of the Sticker Shop, for oracles and for checking claims.

No recommender and no encoder reads this: a test looks for it in their imports.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.arrays import read_arrays
from utils.data.dataset import Dataset

FOLDER = "truth"


@dataclass(frozen=True)
class Truth:
    """What the simulator knows, rows in the order of a dataset's users and items.

    NaN (numbers) or "" (names) stand for users and items that were not simulated, such as the dirt of the raw tables.

    Attributes:
        start, end: (n_users, n_items) float32, utilities on the first and on the last day, before choice noise.
        tastes: one row per user: type, and per taste the liked values joined by "|" (TASTE_first, TASTE_last).
        attributes: one row per item: topic, looks, colour, shape, sound, path, style, released (seconds), popularity,
            hidden (the group of the collaborative taste).
        settings: weights, user types, numbers of likes, seed.
    """

    start: np.ndarray
    end: np.ndarray
    tastes: pd.DataFrame
    attributes: pd.DataFrame
    settings: dict

    @property
    def utility(self) -> np.ndarray:
        """(n_users, n_items) float32: the mean of the first and the last day. Its ranking is the oracle."""
        return (self.start + self.end) / 2

    def at(self, share: float) -> np.ndarray:
        """Utilities after a share (0 to 1) of the two years, (n_users, n_items): tastes move in a straight line."""
        return (1 - share) * self.start + share * self.end

    def __repr__(self) -> str:
        return f"Truth({len(self.tastes)} users x {len(self.attributes)} items, seed {self.settings.get('seed')})"


def load_truth(folder: str | Path, users: np.ndarray, items: np.ndarray) -> Truth:
    """Read ``truth/`` of a dataset's folder, aligned to the names of users (n_users,) and items (n_items,)."""
    folder = Path(folder) / FOLDER
    stored = read_arrays(folder / "utilities.npz", ("users", "items", "start", "end"), "restore it with git checkout")
    rows = pd.Index(stored["users"]).get_indexer(list(users))
    columns = pd.Index(stored["items"]).get_indexer(list(items))
    matrices = [stored[name].astype(np.float32) for name in ("start", "end")]
    known = np.where((rows >= 0)[:, None] & (columns >= 0)[None], np.float32(0), np.float32(np.nan))
    start, end = (matrix[np.ix_(rows, columns)] + known for matrix in matrices)
    tables = []
    for name, key, order in (("tastes", "user", users), ("attributes", "item", items)):
        table = pd.read_csv(folder / f"{name}.tsv", sep="\t", keep_default_na=False, quoting=3, dtype={key: str})
        table = table.set_index(key).reindex(list(order)).reset_index()
        text = [c for c in table.columns if not pd.api.types.is_numeric_dtype(table[c].dtype)]
        tables.append(table.fillna(dict.fromkeys(text, "")))
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    return Truth(start, end, tables[0], tables[1], settings)


def truth(dataset: Dataset) -> Truth | None:
    """Return the planted truth of a simulated dataset, or None where there is none (every real dataset)."""
    if not (Path(dataset.path) / FOLDER / "utilities.npz").exists():
        return None
    return load_truth(dataset.path, dataset.users, dataset.item_names)
