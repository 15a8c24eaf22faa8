"""rho, the recommenders of the course: one file each, one name each, one row of the schema each.

To add one: write ``utils/models/NAME.py`` with a class that has ``name = "NAME"``, a ``title`` and an ``order``. It is
found by its file, by benchmark, tables, speed and decks. A class with a ``challenge`` belongs to one notebook of part 2,
needs what a plain dataset lacks (reviews on edges, patches, pictures) and stands in the schema's table only.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from utils.errors import CourseError, suggest
from utils.models.base import Interactions, ItemFeatures, Recommender, Schema, TrainedRecommender


def _find() -> dict[str, type[Recommender]]:
    found = {}
    for name in [module.name for module in pkgutil.iter_modules(__path__) if module.name != "base"]:
        classes = vars(importlib.import_module(f"{__name__}.{name}")).values()
        own = [c for c in classes if isinstance(c, type) and issubclass(c, Recommender) and vars(c).get("name") == name]
        if not own:
            raise CourseError(f'utils/models/{name}.py has no recommender with name = "{name}"; add that line.')
        found[name] = own[0]
    return dict(sorted(found.items(), key=lambda pair: (pair[1].order, pair[0])))


ALL: dict[str, type[Recommender]] = _find()
MODELS = {name: model for name, model in ALL.items() if not model.challenge}  # those that run on any dataset


def make_model(
    name: str, split: Interactions, features: Mapping[str, ItemFeatures] | None = None, seed: int = 0, **settings: Any
) -> Recommender:
    """Make a recommender by its file name, with its recommended settings unless told otherwise.

    Raises:
        CourseError: an unknown model or setting (the nearest ones are named), or features that do not fit.
    """
    if name not in MODELS:
        raise suggest(name, MODELS, "model")
    return MODELS[name](split, features, seed=seed, **settings)


def schema_table(names: Iterable[str] | None = None) -> pd.DataFrame:
    """Return the schema's rows of ``names`` (all models by default, the challenges' own last), one row for each model."""
    rows = []
    for name in ALL if names is None else names:
        if name not in ALL:
            raise suggest(name, ALL, "model")
        rows.append({"model": name, **asdict(ALL[name].schema)})
    return pd.DataFrame(rows).set_index("model")
