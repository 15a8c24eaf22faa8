"""Search of settings on the validation part: a model's own grid, or a space of yours, tried at random or as you say."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from utils.data.split import Split
from utils.errors import CourseError, suggest
from utils.models import MODELS, Recommender
from utils.models.base import ItemFeatures
from utils.training.fitting import check_inputs, check_metric, fit, known_as
from utils.training.loop import LOOP, Log, trial_settings, validator

Space = Mapping[str, Sequence[Any]]  # name -> a list of values, or a tuple (low, high) or (low, high, "log")
Past = list[dict[str, Any]]  # the rows of the trials so far
METHODS = ("random",)


def tune(
    name: str | type[Recommender],
    split: Split,
    features: Mapping[str, ItemFeatures] | None = None,
    budget: int = 10,
    seed: int = 0,
    metric: str = "recall@20",
    progress: bool = False,
    *,
    space: Space | None = None,
    trials: int | None = None,
    sampler: Any = "random",
    log: Log | None = None,
    device: torch.device | str | None = None,
    **settings: Any,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Try settings on the validation part; the test part is not looked at.

    Without ``space`` the first trial is the model's recommended settings, the others come from its SEARCH grid in a seeded
    random order, each once. With a space all trials come from it. ``settings`` are fixed in all trials. A trial that fails
    is noted and does not end the search.

    Args:
        name: of a model of the course, or a class of your own, as in `fit`.
        budget, trials: how many settings to try; two names of one thing.
        seed: of the models and of the random sampler.
        space: setting -> values, of the model or of ``train``: a list ``[32, 64]``, a range ``(0.0, 0.5)``, whole numbers
            where both ends are whole, or ``(1e-4, 1e-1, "log")``, even in the logarithm. Ends belong to a range.
        sampler: "random" (lists only: each combination once); one of ``optuna.samplers``, where Optuna is installed; or a
            function (rows of the trials so far) -> settings by name, every name of the space.
        log: as in `fit`; its dictionary also holds the number of the trial.
        device: as in `fit`.

    Returns:
        The best settings, ready for ``fit(name, split, features, **best)``, and a table with a row for each trial.

    Raises:
        CourseError: no validation part, an unknown setting, a range that is none, an unknown sampler, or all trials failed.
    """
    check_inputs(split, features)
    check_metric(metric)
    validate = validator(split, metric)
    if validate is None:
        raise CourseError("The validation part is empty, so nothing can be tuned; split with valid=0.1.")
    wanted = budget if trials is None else trials
    with known_as(name) as known:
        if unknown := [key for key in settings if key not in (*MODELS[known].DEFAULTS, *LOOP)]:
            own = suggest(
                unknown[0], [*MODELS[known].DEFAULTS, *LOOP, "space", "trials", "sampler"], f"setting of {known}"
            )
            raise CourseError(f"{own} The values to try go into space=.")
        rows: Past = []
        if space is None:
            proposals = iter(trial_settings(MODELS[known], split, wanted, seed, settings))
        else:
            checked = check_space(space, MODELS[known], settings)
            proposals = _proposals(checked, sampler, rows, metric, max(1, wanted), seed)
        tried = []
        bar = tqdm(proposals, desc=f"tune {known}", total=wanted, disable=not progress, leave=False)
        for trial in bar:
            start, row = time.perf_counter(), {"trial": len(rows), **_without(trial, settings)}
            told = None if log is None else partial(_told, log, len(rows))
            try:
                given = {**settings, **trial, "log": told, "device": device}
                model, history = fit(known, split, features, seed, metric=metric, **given)
                row[metric] = validate(model) if history is None else history.best_value
                row["best_epoch"] = 0 if history is None else history.best_epoch
                row["note"] = ""
            except CourseError as error:
                row.update({metric: math.nan, "best_epoch": 0, "note": str(error)})
            tried.append(trial)
            rows.append(row | {"seconds": time.perf_counter() - start})
    table = pd.DataFrame(rows)
    if table[metric].isna().all():
        raise CourseError(f"{known}: all {len(table)} trials failed; the first said: {table['note'][0]}")
    return {**settings, **tried[int(table[metric].idxmax())]}, table


def _told(log: Log, trial: int, row: dict[str, float]) -> None:
    log({"trial": trial, **row})


def check_space(space: Space, model: type[Recommender], fixed: Mapping[str, Any]) -> Space:
    """Return the space, or say which of its names or ranges does not fit the model."""
    if not isinstance(space, Mapping) or not space:
        raise CourseError('space is a dictionary by setting, for example {"lr": (1e-4, 1e-1, "log"), "dim": [32, 64]}.')
    for key, values in space.items():
        if key in fixed:
            raise CourseError(f"{key} is both fixed and in the space; leave one of them out.")
        if key not in (*model.DEFAULTS, *LOOP):
            raise suggest(key, [*model.DEFAULTS, *LOOP], f"setting of {model.name}")
        if isinstance(values, tuple):
            _check_range(key, values)
        elif not isinstance(values, (list, np.ndarray, range)) or not len(values):
            raise CourseError(
                f'space[{key!r}] is {values!r}; give a list of values, or (low, high) or (low, high, "log").'
            )
    return space


def _check_range(key: str, values: tuple) -> None:
    ends = [
        end for end in values[:2] if isinstance(end, (int, float)) and not isinstance(end, bool) and math.isfinite(end)
    ]
    if len(ends) != 2 or ends[0] >= ends[1] or values[2:] not in ((), ("log",)):
        raise CourseError(
            f'space[{key!r}] is {values!r}; a range is (low, high) or (low, high, "log") with low below high, and values that '
            "are to be tried one by one stand in a list."
        )
    if values[2:] and ends[0] <= 0:
        raise CourseError(f"space[{key!r}] starts at {ends[0]}, which has no logarithm; start above 0.")


def _proposals(space: Space, sampler: Any, rows: Past, metric: str, n: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield up to n settings; ``rows`` grows by one between two of them."""
    if isinstance(sampler, str):
        if sampler not in METHODS:
            raise suggest(sampler, METHODS, "sampler")
        return _random(space, n, seed)
    if hasattr(sampler, "sample_independent"):  # what every sampler of Optuna has
        return _optuna(space, sampler, rows, metric, n)
    if not callable(sampler):
        raise CourseError(
            f'sampler is a {type(sampler).__name__}; give "random", a sampler of optuna.samplers, or a function.'
        )
    return _own(space, sampler, rows, n)


def _random(space: Space, n: int, seed: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    if not any(isinstance(values, tuple) for values in space.values()):
        every = [dict(zip(space, values)) for values in itertools.product(*space.values())]
        yield from (every[place] for place in rng.permutation(len(every))[:n])
        return
    for _ in range(n):
        yield {key: _drawn(values, rng) for key, values in space.items()}


def _drawn(values: Sequence[Any], rng: np.random.Generator) -> Any:
    if not isinstance(values, tuple):
        return values[int(rng.integers(len(values)))]
    low, high = values[:2]
    whole = isinstance(low, int) and isinstance(high, int)
    if len(values) == 2:
        return int(rng.integers(low, high + 1)) if whole else float(rng.uniform(low, high))
    # a whole number owns the half on both sides of it
    start, end = (low - 0.5, high + 0.5) if whole else (low, high)
    found = math.exp(rng.uniform(math.log(start), math.log(end)))
    return min(max(round(found), low), high) if whole else min(max(found, float(low)), float(high))


def _own(space: Space, sampler: Callable[[Past], Mapping], rows: Past, n: int) -> Iterator[dict[str, Any]]:
    for _ in range(n):
        found = sampler([dict(row) for row in rows])
        if not isinstance(found, Mapping) or set(found) != set(space):
            said = sorted(found) if isinstance(found, Mapping) else f"a {type(found).__name__}"
            raise CourseError(
                f"The sampler returned {said}; it must return a dictionary with the names {sorted(space)}."
            )
        yield dict(found)


def _optuna(space: Space, sampler: Any, rows: Past, metric: str, n: int) -> Iterator[dict[str, Any]]:
    try:
        import optuna
    except ImportError as error:
        raise CourseError(
            'This sampler needs Optuna, which is not installed; install it, or sampler="random".'
        ) from error
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(n):
        trial = study.ask()
        yield {key: _suggested(trial, key, values) for key, values in space.items()}
        value = rows[-1][metric]
        if math.isnan(value):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)


def _suggested(trial: Any, key: str, values: Sequence[Any]) -> Any:
    if not isinstance(values, tuple):
        return trial.suggest_categorical(key, list(values))
    low, high = values[:2]
    draw = trial.suggest_int if isinstance(low, int) and isinstance(high, int) else trial.suggest_float
    return draw(key, low, high, log=len(values) == 3)


def _without(settings: Mapping, keys: Mapping) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in keys}
