"""A small dataset with names, its split and its features, for the tests of kept models and of lists by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from training_helpers import planted

from utils.data import Dataset, Split, assemble
from utils.features import Features


def named_shop(n_users=40, n_items=30) -> tuple[Dataset, Split, dict[str, Features]]:
    """A planted log in three modalities; users are called user-00, user-01, ..., items i0, i1, ..., titles "Thing 0", ..."""
    split, features, _ = planted(n_users, n_items, per_user=8, cold=3, modalities=("visual", "textual", "audio"))
    rows = np.concatenate([split.train, split.valid, split.test])
    names = [f"user-{user:02d}" for user in range(n_users)], [f"i{item}" for item in range(n_items)]
    table = pd.DataFrame({"user": np.array(names[0])[rows[:, 0]], "item": np.array(names[1])[rows[:, 1]]})
    items = pd.DataFrame({"item": names[1], "title": [f"Thing {item}" for item in range(n_items)]})
    return (
        assemble("shop", Path("."), items.assign(description="", category="", image="", audio=""), table),
        split,
        features,
    )
