"""Demonstrations of the extraction for notebook 03: cache, live against stored, languages, a wrong pairing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from utils.data import Dataset
from utils.data.pictures import FORMATS
from utils.errors import CourseError
from utils.features.extraction import extract
from utils.features.image_text import ranks
from utils.features.matrix import Features


def cache_story(dataset: Dataset, n_items: int = 12, encoder: str = "default") -> pd.DataFrame:
    """Extract a few pictures twice with an empty cache, then once more after one of them was mirrored on disk.

    Pictures and cache are copies in a temporary folder; the dataset is not touched.

    Returns:
        Rows ``first call``, ``second call``, ``one picture changed``; columns ``from the cache`` (vectors), ``seconds``.

    Raises:
        CourseError: no item has a picture.
    """
    having = [item for item, path in enumerate(dataset.image_paths()) if path is not None][:n_items]
    if not having:
        raise CourseError(f"No item of {dataset.name} has a picture; the cache has nothing to show.")
    few = dataset.select(items=np.array(having))
    before = os.environ.get("COURSE_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        for path in few.image_paths():
            copy = Path(folder) / path.relative_to(few.path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        copied = replace(few, path=Path(folder))
        os.environ["COURSE_CACHE"] = str(Path(folder) / "cache")
        try:
            runs = {name: _run(copied, encoder) for name in ("first call", "second call")}
            changed = copied.image_paths()[-1]
            with Image.open(changed, formats=FORMATS) as picture:
                mirrored = picture.convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            mirrored.save(changed)  # the same name, another content
            runs["one picture changed"] = _run(copied, encoder)
        finally:
            if before is None:
                del os.environ["COURSE_CACHE"]
            else:
                os.environ["COURSE_CACHE"] = before
    return pd.DataFrame(runs).T.astype({"from the cache": int})


def _run(dataset: Dataset, encoder: str) -> dict[str, float]:
    about = extract(dataset, "visual", encoder, progress=False).provenance
    return {"from the cache": about["n_cached"], "seconds": about["seconds"]}


def live_against_stored(dataset: Dataset, stored: Mapping[str, Features], n_items: int) -> pd.DataFrame:
    """Extract the first ``n_items`` items without the cache and compare with stored features of the default encoders.

    Returns:
        One row per modality that these items have: items, items per second, lowest cosine (1 = the same direction).
    """
    part = dataset.select(items=np.arange(min(n_items, dataset.n_items)))
    rows = {}
    for modality, features in stored.items():
        kept = features.align(part.item_names)
        if not kept.mask.any():
            continue
        live = extract(part, modality, cache=False, progress=False)
        cosine = (live.l2().matrix * kept.l2().matrix).sum(axis=1)[live.mask & kept.mask]
        n = int(live.mask.sum())
        rows[modality] = {"items": n, "items per second": n / live.provenance["seconds"], "lowest cosine": cosine.min()}
    return pd.DataFrame(rows).T.astype({"items": int})


def language_survival(english: Features, others: Mapping[str, Features]) -> pd.DataFrame:
    """Measure how well a foreign description finds the English one of the same item among those of all items.

    Returns:
        One row per language: R@1, R@10, chance R@10 (shares of the items that have both).
    """
    rows = {}
    for name, other in others.items():
        other = other.align(english.item_names)
        both = english.mask & other.mask
        rank = ranks(other.matrix[both], english.matrix[both])
        rows[name] = {"R@1": (rank <= 1).mean(), "R@10": (rank <= 10).mean(), "chance R@10": min(1.0, 10 / both.sum())}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["R@1", "R@10", "chance R@10"])


def paired_by_position(features: Features, item_names: np.ndarray) -> Features:
    """Attach row k to the k-th name, as tools do that never look at ids (the mistake, made on purpose).

    Args:
        item_names: (n,) with n at most the number of rows; the rows behind the last name are dropped.
    """
    n = len(item_names)
    about = dict(features.provenance)
    if "content_rows" in about:
        about["content_rows"] = about["content_rows"][:n]
    return Features(features.modality, features.matrix[:n], item_names, features.mask[:n], about)
