"""rho, the recommenders of the course: one file each, one name each, one row of the schema each.

To add one: write ``utils/models/NAME.py`` with a class that has ``name = "NAME"``; it is found by its file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from utils.errors import CourseError, suggest
from utils.models.base import Recommender, Schema, TrainedRecommender

__all__ = ["MODELS", "Recommender", "Schema", "TrainedRecommender", "make_model", "schema_table"]

# The order of every table: without content, then with it, each from simple to elaborate. Other files come last.
ORDER = ("random", "mostpop", "itemknn", "itemknn_content", "itemknn_multimodal", "bpr", "lightgcn", "ngcf", "vbpr",
         "deepstyle", "ngcf_m", "mmgcn", "grcn", "lattice", "slmrec", "bm3", "freedom", "mgcn", "lgmrec")  # fmt: skip


def _find() -> dict[str, type[Recommender]]:
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "base"]
    names.sort(key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    found = {}
    for name in names:
        classes = vars(importlib.import_module(f"{__name__}.{name}")).values()
        own = [c for c in classes if isinstance(c, type) and issubclass(c, Recommender) and vars(c).get("name") == name]
        if not own:
            raise CourseError(f'utils/models/{name}.py has no recommender with name = "{name}"; add that line.')
        found[name] = own[0]
    return found


MODELS: dict[str, type[Recommender]] = _find()


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
