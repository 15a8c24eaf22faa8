"""Small course folders and logs for the tests of utils.data."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from utils.data import Dataset, assemble
from utils.files import ROOT

SHARED = ROOT.parent / "shared" / "data"
ITEMS = "item\ttitle\tdescription\tcategory\timage\taudio\n"
COLUMNS = "user\titem\trating\ttimestamp\treview\tsplit\n"


def real(name: str) -> Path:
    """Return a folder of real data, or skip."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"real data {name} is not at hand (../shared/data)")
    return folder


def write_folder(folder: Path, items: str | bytes | None = None, interactions: str | bytes | None = None) -> Path:
    """Write a course folder; by default a whole and good one with three items and one picture."""
    folder.mkdir(parents=True, exist_ok=True)
    if items is None:
        items = (
            ITEMS
            + "i1\tCat\tA black cat.\tanimals\timages/i1.png\t\n"
            + "i2\tDog\tA brown dog.\tanimals\t\t\n"
            + "i3\tCar\tA red car.\tvehicles\t\t\n"
        )
        (folder / "images").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (200, 30, 30)).save(folder / "images" / "i1.png")
    if interactions is None:
        interactions = (
            COLUMNS
            + "u2\ti1\t5\t100\tfine\ttrain\n"
            + "u1\ti2\t4.5\t200\t\ttrain\n"
            + "u1\ti1\t3\t300\t\tvalid\n"
            + "u2\ti3\t4\t400\t\ttest\n"
        )
    for name, text in (("items.tsv", items), ("interactions.tsv", interactions)):
        if text != "":
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return folder


def write_gz(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode("utf-8")))


def make_log(n_users: int = 60, n_items: int = 40, n_rows: int = 900, seed: int = 0, timed: bool = True) -> Dataset:
    """Make a dataset in memory: skewed users and items, no repeated pair, timestamps with many ties."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, n_items + 1)
    users = np.minimum((rng.random(n_rows) ** 2 * n_users).astype(int), n_users - 1)
    items = rng.choice(n_items, n_rows, p=weights / weights.sum())
    table = pd.DataFrame({"user": [f"u{u:03d}" for u in users], "item": [f"i{i:03d}" for i in items]}, dtype=object)
    if timed:
        table["timestamp"] = rng.integers(1_000_000, 1_000_400, n_rows)
    table = table.drop_duplicates(["user", "item"]).reset_index(drop=True)
    return dataset_of(table, [f"i{i:03d}" for i in range(n_items)])


def dataset_of(table: pd.DataFrame, names: list[str], **columns: list[str]) -> Dataset:
    """Make a dataset in memory from an interactions table and item names."""
    content = {
        name: columns.get(name, [""] * len(names)) for name in ("title", "description", "category", "image", "audio")
    }
    items = pd.DataFrame({"item": names, **content}, dtype=object)
    return assemble("log", Path("."), items, table)
