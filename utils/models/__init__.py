"""rho, the recommenders of the course: one file each, one name each, one row of the schema each.

To add one: write ``utils/models/NAME.py`` with a class that has ``name = "NAME"``, and list the class below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from utils.errors import suggest
from utils.models.base import Recommender, Schema, TrainedRecommender
from utils.models.bpr import BPR
from utils.models.freedom import FREEDOM
from utils.models.itemknn import ItemKNN
from utils.models.itemknn_content import ItemKNNContent
from utils.models.itemknn_multimodal import ItemKNNMultimodal
from utils.models.lightgcn import LightGCN
from utils.models.mostpop import MostPop
from utils.models.random import Random
from utils.models.vbpr import VBPR

MODELS: dict[str, type[Recommender]] = {
    model.name: model
    for model in (Random, MostPop, ItemKNN, ItemKNNContent, ItemKNNMultimodal, BPR, VBPR, LightGCN, FREEDOM)
}

__all__ = ["MODELS", "Recommender", "Schema", "TrainedRecommender", "make_model", "schema_table"]


def make_model(name: str, split, features: Mapping | None = None, seed: int = 0, **settings: Any) -> Recommender:
    """Make a recommender by its file name, with its recommended settings unless told otherwise.

    Raises:
        CourseError: an unknown model or setting (the nearest ones are named), or features that do not fit.
    """
    if name not in MODELS:
        raise suggest(name, MODELS, "model")
    return MODELS[name](split, features, seed=seed, **settings)


def schema_table(names: Iterable[str] | None = None) -> pd.DataFrame:
    """Return the schema's rows of ``names`` (all models by default), one row for each model."""
    rows = []
    for name in MODELS if names is None else names:
        if name not in MODELS:
            raise suggest(name, MODELS, "model")
        rows.append({"model": name, **asdict(MODELS[name].schema)})
    return pd.DataFrame(rows).set_index("model")
