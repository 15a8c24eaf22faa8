"""The loop: minimise the loss of the schema's last block, and choose on the validation part, never on the test part.

Stored results are hashed with this code, so what only people need at their desk stands in fitting.py and search.py.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from utils.data.split import Split
from utils.errors import CourseError
from utils.files import atomic_path
from utils.models import MODELS, Recommender, TrainedRecommender, make_model
from utils.models.base import ItemFeatures

PATIENCE = 30  # checks, one an epoch by default; why so many stands in ``train``
# Settings of the loop that a model's DEFAULTS may recommend; the rest of DEFAULTS belongs to the model.
LOOP = ("n_epochs", "lr", "batch_size", "patience", "eval_every", "metric", "checkpoint")
Log = Callable[[dict[str, float]], object]  # is told of an epoch, and asked nothing


class NegativeSampler:
    """Draws, for each user of a batch, an item that the user has not taken in training.

    Uniform over the items that have a training interaction. Cold items are never negatives: they would be pushed
    down for the only reason that nobody could take them.

    Membership is a binary search in the sorted keys user_id * n_items + item_id, for the whole batch at once; only the
    hits are drawn again.
    """

    def __init__(self, split: Split) -> None:
        self.n_items = split.n_items
        train = np.asarray(split.train)
        self.keys = torch.as_tensor(np.unique(train[:, 0] * split.n_items + train[:, 1]))
        self.candidates = torch.as_tensor(np.unique(train[:, 1]))
        taken = torch.bincount(self.keys // split.n_items, minlength=split.n_users)
        full = (taken >= len(self.candidates)).nonzero().ravel()
        if len(full):
            raise CourseError(
                f"User {int(full[0])} took all {len(self.candidates)} items of the train part, so that no negative is left; "
                "remove this user, or add items."
            )

    def sample(self, user_ids: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return (len(user_ids),) int64 item ids on the CPU, one negative for each user of the batch."""

        def draw(n: int) -> torch.Tensor:
            return self.candidates[torch.randint(len(self.candidates), (n,), generator=generator)]

        items = draw(len(user_ids))
        doubtful = torch.arange(len(user_ids))
        while len(doubtful):
            keys = user_ids[doubtful] * self.n_items + items[doubtful]
            places = torch.searchsorted(self.keys, keys).clamp_(max=len(self.keys) - 1)
            doubtful = doubtful[self.keys[places] == keys]
            items[doubtful] = draw(len(doubtful))
        return items


@dataclass
class History:
    """What a training run went through: ``frame()`` for plots, ``best_epoch`` whose weights the model now has."""

    model: str
    metric: str
    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = -math.inf
    stopped_early: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of training and validation, resumed parts included."""
        return float(sum(row["seconds"] for row in self.rows))

    def frame(self) -> pd.DataFrame:
        """One row for each epoch: epoch, loss, the validation metric (NaN where not evaluated), seconds."""
        return pd.DataFrame(self.rows, columns=["epoch", "loss", self.metric, "seconds"])

    def __repr__(self) -> str:
        best = f"best {self.metric} {self.best_value:.4f} in epoch {self.best_epoch}, " if self.best_epoch else ""
        return f"History({self.model}: {len(self.rows)} epochs, {best}{self.seconds:.1f} s)"


def train(
    model: TrainedRecommender,
    split: Split,
    *,
    n_epochs: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    patience: int = PATIENCE,
    eval_every: int = 1,
    metric: str = "recall@20",
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    log: Log | None = None,
) -> History:
    """Train until ``metric`` on the validation part stops rising, and give the model its best weights back.

    Every epoch walks all training interactions once in a new order, each with one fresh negative. All randomness comes
    from ``seed`` and the number of the epoch: the same call twice gives the same numbers, and so does a run that was
    interrupted and resumed. Without a validation part all ``n_epochs`` are run and the last weights stay.

    Args:
        n_epochs, lr, batch_size: the model's recommended settings where left out.
        patience: stop after so many evaluations without a new best. Validation is a sample, and its Recall jumps from epoch
            to epoch by a good part of its standard error, so that ten checks without a new best are luck: what each
            patience loses and costs is counted by ``python -m utils.lab study patience``.
        eval_every: epochs between evaluations.
        metric: name@cut-off of ``utils.evaluation``, higher = better.
        checkpoint: file to write after each evaluation, and to resume from if it is there.
        log: called after each epoch with a dictionary, a row of ``History.frame()``.

    Raises:
        CourseError: the loss or a weight is not a number (the model then has its best weights so far), or the
            checkpoint belongs to another run.
    """
    recommended = model.settings
    n_epochs = recommended.get("n_epochs", 100) if n_epochs is None else n_epochs
    lr = recommended.get("lr", 1e-3) if lr is None else lr
    batch_size = recommended.get("batch_size", 1024) if batch_size is None else batch_size
    if batch_size < 1 or eval_every < 1 or patience < 1:
        raise CourseError("batch_size, eval_every and patience must be 1 or more.")
    history = History(model.name, metric)
    sampler, validate = NegativeSampler(split), validator(split, metric)
    optimiser = make_optimiser(model, lr)
    run = _run_key(model, split, lr, batch_size, eval_every, metric, seed)
    best = _copy_weights(model)
    waited, first = 0, 1
    if checkpoint is not None and Path(checkpoint).exists():
        best, waited = _load(checkpoint, run, model, optimiser, history)
        first = len(history.rows) + 1
    bar = tqdm(range(first, n_epochs + 1), desc=model.name, disable=not progress, leave=False)
    for epoch in bar:
        if waited >= patience:
            history.stopped_early = True
            break
        start = time.perf_counter()
        loss = _epoch(model, split, sampler, optimiser, batch_size, seed, epoch)
        model.eval()
        if not math.isfinite(loss) or not _finite(model):
            model.load_state_dict(best)
            kept = f"the weights of epoch {history.best_epoch}" if history.best_epoch else "the initial weights"
            raise CourseError(
                f"{model.name}: the loss of epoch {epoch} is not a finite number; the model keeps {kept}; "
                f"try a learning rate below {lr:g}, and look for NaN in the features."
            )
        last = epoch == n_epochs
        evaluated = validate is not None and (epoch % eval_every == 0 or last)
        value = validate(model) if evaluated else math.nan
        history.rows.append({"epoch": epoch, "loss": loss, metric: value, "seconds": time.perf_counter() - start})
        if evaluated:
            waited += 1
            if value > history.best_value:
                history.best_epoch, history.best_value, waited = epoch, value, 0
                best = _copy_weights(model)
        if checkpoint is not None and (evaluated or (validate is None and (epoch % eval_every == 0 or last))):
            _save(checkpoint, run, model, optimiser, history, best, waited)
        if log is not None:
            log(dict(history.rows[-1]))
        bar.set_postfix({"loss": f"{loss:.4f}", metric: f"{value:.4f}"})
    bar.close()
    history.stopped_early |= waited >= patience
    if validate is not None and history.best_epoch:
        model.load_state_dict(best)
    model.eval()
    return history


def _epoch(
    model: TrainedRecommender,
    split: Split,
    sampler: NegativeSampler,
    optimiser: torch.optim.Optimizer,
    batch_size: int,
    seed: int,
    epoch: int,
) -> float:
    """One walk through the training interactions; returns the mean loss of the batches."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    pairs = torch.as_tensor(np.asarray(split.train), dtype=torch.int64)
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    users, positives = pairs[:, 0].contiguous(), pairs[:, 1].contiguous()
    negatives = sampler.sample(users, generator)
    batches = zip(*(ids.to(device).split(batch_size) for ids in (users, positives, negatives)))
    total, n_batches = torch.zeros((), device=device), 0
    with torch.random.fork_rng(
        [device] if device.type == "cuda" else []
    ):  # dropout in a model draws from the global generator: seeded here, given back after
        torch.manual_seed(seed * 1_000_003 + epoch)
        model.train()
        model.begin_epoch(generator)
        for user_ids, pos_ids, neg_ids in batches:
            optimiser.zero_grad(set_to_none=True)
            loss = model.loss(user_ids, pos_ids, neg_ids)
            loss.backward()
            optimiser.step()
            total += loss.detach()
            n_batches += 1
    return float(total) / n_batches


def make_optimiser(model: torch.nn.Module, lr: float) -> torch.optim.Optimizer:
    """Adam in one fused kernel where the device has one: the cheapest single gain in speed."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    try:
        return torch.optim.Adam(weights, lr=lr, fused=True)
    except (RuntimeError, ValueError):
        return torch.optim.Adam(weights, lr=lr)


def validator(split: Split, metric: str = "recall@20") -> Callable[[Recommender], float] | None:
    """Return a function model -> value of ``metric`` on the validation part, or None if that part is empty."""
    if len(split.valid) == 0:
        return None
    from utils.evaluation.protocol import evaluate  # here, not above: evaluation may import models

    name, _, cutoff = metric.partition("@")

    def value(model: Recommender) -> float:
        # the caller of ``train`` chose this split, be it to show what a model does that reads another one
        report = evaluate(model, split, part="valid", top_k=int(cutoff or 20), metrics=(name,), other_split=True)
        return float(report.mean()[metric])

    return value


def fit(
    name: str,
    split: Split,
    features: Mapping[str, ItemFeatures] | None = None,
    seed: int = 0,
    progress: bool = False,
    device: torch.device | str | None = None,
    *,
    log: Log | None = None,
    **settings: Any,
) -> tuple[Recommender, History | None]:
    """Make the model ``name`` and train it with its recommended settings; any of them can be given.

    ``settings`` may also hold those of ``train`` (n_epochs, lr, batch_size, patience, eval_every, metric, checkpoint).
    Returns (model, history); the history of a model that is not trained is None. At your desk take `utils.training.fit`,
    which comes here and takes classes of your own too.
    """
    if name not in MODELS:
        make_model(name, split)  # raises, and names the nearest models
    loop = {key: settings.pop(key) for key in LOOP if key in settings and key not in MODELS[name].DEFAULTS}
    trained = issubclass(MODELS[name], TrainedRecommender)
    if not trained:  # nothing to train: the loop's settings are not the model's
        settings = {key: value for key, value in settings.items() if key not in LOOP}
    model = make_model(name, split, features, seed, **settings)
    if not trained:
        return model, None
    return model.to(device), train(model, split, seed=seed, progress=progress, log=log, **loop)


def trial_settings(
    model: type[Recommender], split: Split, budget: int, seed: int, fixed: Mapping | None = None
) -> list[dict[str, Any]]:
    """The settings to try: the recommended ones first (of the searched names), then the grid in a seeded order."""
    grid = {key: values for key, values in model.SEARCH.items() if key not in (fixed or {})}
    first = {key: model.recommended(split)[key] for key in grid}
    others = [dict(zip(grid, values)) for values in itertools.product(*grid.values())]
    others = [trial for trial in others if trial != first]
    order = np.random.default_rng(seed).permutation(len(others))
    return [first, *(others[place] for place in order)][: max(1, budget)]


def _finite(model: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(weight).all()) for weight in model.parameters())


def _copy_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def _run_key(model: TrainedRecommender, split: Split, *loop: Any) -> str:
    """Say which run this is: model, settings, loop, and what it learns from; a checkpoint of another is refused."""
    digest = hashlib.sha256()
    graphs = model.settings.get("item_graphs") or {}
    given = [array for graph in graphs.values() for array in (graph.indptr, graph.indices)]
    content = [array for feature in model.features.values() for array in (feature.matrix, feature.mask)]
    for array in (split.train, split.valid, *content, *given):
        digest.update(np.ascontiguousarray(array).tobytes())
    settings = sorted((key, _written(value)) for key, value in model.settings.items() if key != "item_graphs")
    return f"{model.name} {settings} {loop} {sorted(graphs)} {model.modalities} {digest.hexdigest()[:16]}"


def _written(value: Any) -> str:
    """A setting as text; of an array its content, since numpy writes a long one with dots."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return hashlib.sha256(np.asarray(value).tobytes() + str(np.shape(value)).encode()).hexdigest()[:16]
    return str(value)


def _save(
    path: str | Path,
    run: str,
    model: TrainedRecommender,
    optimiser: torch.optim.Optimizer,
    history: History,
    best: dict,
    waited: int,
) -> None:
    state = {
        "run": run,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "best": best,
        "waited": waited,
        "rows": history.rows,
        "best_epoch": history.best_epoch,
        "best_value": history.best_value,
    }
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def _load(
    path: str | Path, run: str, model: TrainedRecommender, optimiser: torch.optim.Optimizer, history: History
) -> tuple[dict[str, torch.Tensor], int]:
    """Put a checkpoint back; the rows of the history keep the seconds already spent."""
    try:
        state = torch.load(path, weights_only=True, map_location=next(model.parameters()).device)
        found = state["run"]
    except Exception as error:  # torch raises many kinds for a file that is cut short or is something else
        raise CourseError(f"The checkpoint {path} cannot be read; delete it to start anew.") from error
    if found != run:
        raise CourseError(f"The checkpoint {path} belongs to another run; delete it, or give another file.")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    history.rows = state["rows"]
    history.best_epoch, history.best_value = state["best_epoch"], state["best_value"]
    return state["best"], state["waited"]
