"""Fit a model by its name, or a class of your own: on any device, told of every epoch, and for more epochs than before.

A plain call goes to ``utils.training.loop`` as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from utils.data.split import Split
from utils.devices import pick_device
from utils.errors import CourseError, suggest
from utils.models import ALL, MODELS, Recommender, TrainedRecommender, make_model
from utils.models.base import ItemFeatures
from utils.training import loop
from utils.training.loop import LOOP, History, Log


def fit(
    name: str | type[Recommender],
    split: Split,
    features: Mapping[str, ItemFeatures] | None = None,
    seed: int = 0,
    progress: bool = False,
    device: torch.device | str | None = None,
    *,
    log: Log | None = None,
    **settings: Any,
) -> tuple[Recommender, History | None]:
    """Make a model and train it with its recommended settings; any of them can be given.

    Args:
        name: of a model of the course, or a class of your own (a subclass of ``TrainedRecommender``, or of ``Recommender``
            if it only counts) with ``name = "..."``.
        split, features, seed: what it learns from.
        device: "cpu" (where left out), "auto", "cuda", "mps"; a model that is not trained counts on the CPU.
        log: called after each epoch with a dictionary: epoch, loss, the validation metric (NaN where not evaluated), seconds.
        settings: the model's own, and those of ``train`` (n_epochs, lr, batch_size, patience, eval_every, metric,
            checkpoint). With a checkpoint that is there, training goes on where it ended; n_epochs counts from the first.

    Returns:
        (model, history); the history of a model that is not trained is None.

    Raises:
        CourseError: an unknown model, setting or device, a split or features of another kind, what ``train`` raises.
    """
    check_inputs(split, features)
    check_metric(settings.get("metric", "recall@20"))
    device = None if device is None else pick_device(str(device))
    with known_as(name) as known:
        trained = issubclass(MODELS[known], TrainedRecommender)
        if trained and settings.get("checkpoint") is not None and settings.get("n_epochs") is not None:
            return _further(known, split, features, seed, progress, device, log, settings)
        return loop.fit(known, split, features, seed, progress, device, log=log, **settings)


def _further(
    name: str, split: Split, features: Mapping | None, seed: int, progress: bool, device: Any, log: Log | None, settings: dict
) -> tuple[Recommender, History]:  # fmt: skip
    """Train up to n_epochs, from a checkpoint of fewer if there is one: how far to go is no part of what the run is."""
    of_loop = {key for key in LOOP if key == "n_epochs" or key not in MODELS[name].DEFAULTS}
    own = {key: value for key, value in settings.items() if key not in of_loop}
    model = make_model(name, split, features, seed, **own)
    given = {key: value for key, value in settings.items() if key in of_loop}
    history = loop.train(model.to(device), split, seed=seed, progress=progress, log=log, **given)
    model.settings["n_epochs"] = settings["n_epochs"]
    return model, history


@contextmanager
def known_as(model: str | type[Recommender]) -> Iterator[str]:
    """Yield the name under which a model stands in ``MODELS``: a class of your own stands there while the block lasts.

    Raises:
        CourseError: an unknown name, or something that is no class of a recommender.
    """
    if isinstance(model, str):
        if model not in MODELS:
            special = (
                f" {model} needs special data: make it by its class, and train(model, split)." if model in ALL else ""
            )
            raise CourseError(f"{suggest(model, MODELS, 'model')} For a model of your own, give its class.{special}")
        yield model
        return
    if isinstance(model, Recommender):
        raise CourseError(f"This {model.name} is made already; give its class, or call train(model, split).")
    if not (isinstance(model, type) and issubclass(model, Recommender)):
        what = model.__name__ if isinstance(model, type) else type(model).__name__
        raise CourseError(f"{what} is no recommender; give a name such as 'bpr', or a subclass of TrainedRecommender.")
    name = getattr(model, "name", None)
    if not isinstance(name, str) or not name:
        raise CourseError(f'{model.__name__} has no name; write name = "..." under its class line.')
    if ALL.get(name, model) is not model:  # a kept model would be loaded as the other one
        raise CourseError(
            f"{model.__name__} has the name {name!r} of a model of the course; give it a name of its own."
        )
    before = MODELS.get(name)
    MODELS[name] = model
    try:
        yield name
    finally:
        if before is None:
            MODELS.pop(name)
        else:
            MODELS[name] = before  # in its place: tables show the models in this order


def check_inputs(split: Any, features: Any) -> None:
    """Raise a CourseError where a dataset stands for its split, or a list for the features by modality."""
    if not all(hasattr(split, part) for part in ("train", "n_users", "n_items")):
        raise CourseError(
            f"A {type(split).__name__} has no train part; call split_dataset(dataset) first, and pass what it returns."
        )
    if features is not None and not isinstance(features, Mapping):
        raise CourseError(
            f"features is a {type(features).__name__}; pass a dictionary by modality, such as {{'visual': ...}}, which "
            "load_features(dataset) returns."
        )


def check_metric(metric: Any) -> None:
    """Raise a CourseError for a metric that no epoch can be chosen by: a function, or a name without its cut-off."""
    name, _, cutoff = metric.partition("@") if isinstance(metric, str) else ("", "", "")
    if not name or not cutoff.isdigit():
        shown = repr(metric) if isinstance(metric, str) else getattr(metric, "__name__", repr(metric))
        raise CourseError(
            f"metric={shown}: the validation part is judged by a name with its cut-off, such as 'recall@20'; a function of "
            "your own judges the finished model, in evaluate(model, split, metrics=[...])."
        )
