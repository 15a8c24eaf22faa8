"""Train a model of the next item: shuffled histories, early stopping on the validation item, the same numbers twice."""

from __future__ import annotations

import hashlib
import math
import time
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from utils.errors import CourseError
from utils.pretraining.mp4sr import MP4SR
from utils.pretraining.next_item import evaluate_next
from utils.pretraining.sasrec import SASRec
from utils.pretraining.sequences import Sequences
from utils.training.loop import PATIENCE, History, _copy_weights, _finite, _load, _save, make_optimiser

PIECES = 4  # of a batch; more of them cost more calls than they save padding


def train_next(
    model: SASRec | MP4SR,
    sequences: Sequences,
    *,
    n_epochs: int = 200,
    lr: float = 1e-3,
    batch_size: int = 256,
    patience: int = PATIENCE,
    eval_every: int = 1,
    metric: str = "ndcg@10",
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> History:
    """Train until ``metric`` of the validation item stops rising, and give the model its best weights back.

    An epoch walks the training part of every user with two items or more once, in a new order; of a long history the
    newest ``model.length`` steps. All chance comes from ``seed`` and the epoch's number: the same call gives the same
    numbers twice on one machine, and so does a run that was interrupted and goes on from its checkpoint.

    A budget that no clock decides: ``n_epochs`` of ``n_batches`` steps each are walked to the end where ``patience`` is
    ``n_epochs``, too. With ``eval_every`` = ``n_epochs`` nothing is chosen, and the last weights stay.

    Args:
        patience: stop after so many evaluations without a new best.
        eval_every: epochs between evaluations.
        metric: "hr@k" or "ndcg@k", by full ranking with the history masked.
        checkpoint: file to write after each evaluation, and to go on from if it is there.

    Raises:
        CourseError: no user with two training items, a loss that is not a number (the model has its best weights so far),
            or a checkpoint of another run.
    """
    if min(n_epochs, batch_size, patience, eval_every) < 1:
        raise CourseError("n_epochs, batch_size, patience and eval_every must be 1 or more.")
    users = np.flatnonzero(sequences.lengths() >= 2)
    if not len(users):
        raise CourseError("No user has two training items, so that there is no step to learn; add longer sequences.")
    device = model.warm.device
    histories = torch.from_numpy(sequences.padded(users, model.length + 1)).to(device)
    history, optimiser = History(model.name, metric), make_optimiser(model, lr)
    run = _run_key(model, sequences, lr, batch_size, eval_every, metric, seed)
    best, waited = _copy_weights(model), 0
    if checkpoint is not None and Path(checkpoint).exists():
        best, waited = _load(checkpoint, run, model, optimiser, history)
    name, _, cutoff = metric.partition("@")
    bar = tqdm(range(len(history.rows) + 1, n_epochs + 1), desc=model.name, disable=not progress, leave=False)
    for epoch in bar:
        if waited >= patience:
            break
        start = time.perf_counter()
        loss = _epoch(model, histories, optimiser, batch_size, seed * 1_000_003 + epoch)
        if not math.isfinite(loss) or not _finite(model):
            model.load_state_dict(best)
            kept = f"the weights of epoch {history.best_epoch}" if history.best_epoch else "the initial weights"
            raise CourseError(f"{model.name}: the loss of epoch {epoch} is not a finite number; the model keeps {kept}; "
                              f"try a learning rate below {lr:g}, and look for NaN in the features.")  # fmt: skip
        judged, value = epoch % eval_every == 0 or epoch == n_epochs, math.nan
        if judged:
            value = float(evaluate_next(model, sequences, "valid", int(cutoff or 10), (name,)).mean().iloc[0])
        history.rows.append({"epoch": epoch, "loss": loss, metric: value, "seconds": time.perf_counter() - start})
        if judged:
            waited += 1
            if value > history.best_value:
                history.best_epoch, history.best_value, waited, best = epoch, value, 0, _copy_weights(model)
            if checkpoint is not None:
                _save(checkpoint, run, model, optimiser, history, best, waited)
        bar.set_postfix({"loss": f"{loss:.4f}", metric: f"{value:.4f}"})
    bar.close()
    history.stopped_early = waited >= patience
    model.load_state_dict(best)
    model.eval()
    return history


def n_batches(sequences: Sequences, batch_size: int = 256) -> int:
    """Count the steps of one epoch of ``train_next``."""
    return math.ceil(int((sequences.lengths() >= 2).sum()) / batch_size)


def _epoch(
    model: SASRec | MP4SR, histories: torch.Tensor, optimiser: torch.optim.Optimizer, batch_size: int, seed: int
) -> float:
    """Walk through the histories (n, length + 1) once; return the mean loss of the batches."""
    generator, device = torch.Generator().manual_seed(seed), histories.device
    order = torch.randperm(len(histories), generator=generator).to(device)
    lengths = (histories >= 0).sum(dim=1)
    total, batches = torch.zeros((), device=device), order.split(batch_size)
    # dropout draws from the global generator: seeded here, given back after
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model.train()
        for rows in batches:
            optimiser.zero_grad(set_to_none=True)
            n_steps = (lengths[rows] - 1).sum()
            # few histories are long: a batch in pieces of like length has the same gradient without their padding
            pieces = 1 if getattr(model, "in_one_piece", False) else PIECES
            for piece in rows[lengths[rows].argsort(stable=True)].chunk(pieces):
                longest, share = int(lengths[piece].max()), (lengths[piece] - 1).sum() / n_steps
                loss = model.batch_loss(histories[piece, -longest:], generator) * share
                loss.backward()
                total += loss.detach()
            optimiser.step()
    return float(total) / len(batches)


def _run_key(model: SASRec | MP4SR, sequences: Sequences, *loop: object) -> str:
    """Say which run this is: settings, loop, what it learns from; a checkpoint of another is refused."""
    digest = hashlib.sha256()
    content = [value.cpu().numpy() for name, value in model.named_buffers() if name.startswith("content_")]
    for array in (sequences.items, sequences.starts, *content):
        digest.update(np.ascontiguousarray(array).tobytes())
    return f"{model.name} {sorted(model.settings.items())} {loop} {digest.hexdigest()[:16]}"
