"""What an experiment on a course folder runs on: its split, its features or item graphs, and what they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from utils.data import Dataset, Split
from utils.errors import CourseError
from utils.features import Features


def load(
    dataset: str, strategy: str, modalities: Sequence[str] | None, content: bool = True
) -> tuple[Dataset, Split, dict[str, Features], dict[str, sp.csr_matrix]]:
    """Return dataset, split and, if ``content`` is wanted, the features, or else the item graphs of the folder.

    Raises:
        CourseError: the split has no train, validation or test part; anything that the loaders say.
    """
    from utils.data import MODALITIES, item_graphs, load_dataset, split_dataset
    from utils.features import load_features
    from utils.features.extraction import contents

    data = load_dataset(dataset)
    strategy = strategy or ("given" if "split" in data.interactions else "random")
    options = {"warm": True} if strategy == "cold_items" else {}  # validation needs warm rows, too, to stop early
    split = split_dataset(data, strategy, seed=0, **options)
    for part in ("train", "valid", "test"):
        if not len(getattr(split, part)):
            raise CourseError(
                f"The {part} part of {dataset} is empty, so that models cannot be compared on it; "
                f"mark some rows of interactions.tsv as {part}, or choose another --strategy."
            )
    wanted = list(modalities or MODALITIES)
    there = [m for m in wanted if m in data.prepared() or any(contents(data, m))] if content else []
    features = load_features(data, there) if there else {}
    graphs = {m: g for m, g in item_graphs(data).items() if m in wanted} if content and not features else {}
    missing = [m for m in modalities or () if content and m not in features and m not in graphs]
    if missing:
        raise CourseError(
            f"{dataset} has no {' and no '.join(missing)} features; put them into features/{missing[0]}.npy, or leave "
            "the modality out of --modalities."
        )
    return data, split, features, graphs


def facts(split: Split) -> dict[str, Any]:
    """Count what the split holds, and the users and items that no model could learn about."""
    cold_users = np.setdiff1d(split.test[:, 0], split.train[:, 0])
    return {
        "n_users": split.n_users,
        "n_items": split.n_items,
        "n_train": len(split.train),
        "n_valid": len(split.valid),
        "n_test": len(split.test),
        "test_users_without_train": len(cold_users),
        "items_without_train": len(split.cold_items),
    }


def feature_key(features: Features) -> str:
    """Name a modality's features by encoder and content."""
    digest = hashlib.sha256(np.ascontiguousarray(features.matrix).tobytes() + features.mask.tobytes()).hexdigest()[:12]
    return f"{features.provenance.get('encoder', 'given')} {digest}"


def content_key(dataset: Dataset, modalities: Sequence[str]) -> str:
    """Name what items show and say by the pictures and texts themselves.

    What an encoder makes of them differs in the last bits from one processor to the next, and no row changes with that.
    """
    from utils.features.extraction import content_digest, contents

    told = [content_digest(one) for modality in modalities for one in contents(dataset, modality)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def graph_key(graph: sp.csr_matrix) -> str:
    """Name an item graph by its content."""
    digest = hashlib.sha256(graph.indptr.tobytes() + graph.indices.tobytes() + graph.data.tobytes())
    return f"item graph {digest.hexdigest()[:12]}"
