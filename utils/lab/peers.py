"""Adapters that run public libraries (implicit, Cornac, RecBole) on the course's splits, for the speed benchmark.

None of them is a dependency. A peer that is not installed gives `Missing`, and the benchmark prints "not installed".
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from utils.data import Split

CUTOFFS = (5, 10, 20, 50)
BATCH, DIM = 2048, 64


class Missing(Exception):
    """The peer cannot be imported; says why."""


def load(name: str) -> Any:
    """Import a peer or raise `Missing`."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - a peer may fail to import in any way on a new numpy
        raise Missing(f"{name}: {type(error).__name__}: {error}") from error


ABSENT = "not installed"


def version(name: str) -> str:
    """Its version, or ``ABSENT``."""
    try:
        return str(importlib.import_module(name).__version__)
    except Exception:  # noqa: BLE001
        return ABSENT


# ---- implicit ----


def implicit_model(split: Split, threads: int, seed: int = 0, lr: float = 0.05) -> Any:
    """implicit's BPR (compiled, one sample at a time); `fit` goes on where the last call stopped."""
    load("implicit.bpr")
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    return BayesianPersonalizedRanking(
        factors=DIM, learning_rate=lr, regularization=0.01, iterations=1, num_threads=threads, random_state=seed
    )


def implicit_epoch(split: Split, threads: int) -> Callable[[], Any]:
    model, clicks = implicit_model(split, threads), split.matrix("train")
    return lambda: model.fit(clicks, show_progress=False)


def implicit_evaluation(split: Split, users: torch.Tensor, items: torch.Tensor, threads: int) -> Callable[[], Any]:
    """implicit's `ranking_metrics_at_k` (precision, MAP, nDCG, AUC at one cutoff) on the given vectors."""
    model, train, test = implicit_model(split, threads), split.matrix("train"), split.matrix("test")
    metrics = load("implicit.evaluation").ranking_metrics_at_k
    model.user_factors, model.item_factors = users.numpy().copy(), items.numpy().copy()
    return lambda: metrics(model, train, test, K=20, show_progress=False, num_threads=threads)


# ---- cornac ----


def _cornac_data(split: Split) -> Any:
    data = load("cornac.data")
    triples = [(int(user), int(item), 1.0) for user, item in split.train]
    return data.Dataset.from_uir(triples, seed=0)


def cornac_epoch(split: Split, threads: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Cornac's compiled BPR: (21 epochs, 1 epoch); their difference is 20 epochs without the set-up."""
    models, data = load("cornac.models"), _cornac_data(split)

    def fit(n_epochs: int) -> Callable[[], Any]:
        return lambda: models.BPR(
            k=DIM, max_iter=n_epochs, learning_rate=0.05, num_threads=threads, verbose=False, seed=0
        ).fit(data)

    return fit(21), fit(1)


def cornac_vbpr(split: Split, matrix: np.ndarray) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Cornac's VBPR on one modality: (2 epochs, 1 epoch)."""
    models, data = load("cornac.models"), _cornac_data(split)
    images = load("cornac.data").ImageModality(features=matrix, ids=list(range(len(matrix))), normalized=False)
    images.build(id_map=data.iid_map)
    data.add_modalities(item_image=images)

    def fit(n_epochs: int) -> Callable[[], Any]:
        return lambda: models.VBPR(
            k=DIM, k2=DIM, n_epochs=n_epochs, batch_size=BATCH, use_gpu=False, verbose=False, seed=0
        ).fit(data)

    return fit(2), fit(1)


def cornac_factors(split: Split, threads: int, n_epochs: int, lr: float = 0.05) -> Any:
    """Train Cornac's BPR and return a function user_ids -> scores over our item ids."""
    models, data = load("cornac.models"), _cornac_data(split)
    model = models.BPR(k=DIM, max_iter=n_epochs, learning_rate=lr, num_threads=threads, verbose=False, seed=0)
    model.fit(data)
    users, items = np.zeros((split.n_users, DIM), np.float32), np.zeros((split.n_items, DIM), np.float32)
    bias = np.full(split.n_items, -1e3, np.float32)
    for raw, place in data.uid_map.items():
        users[raw] = model.u_factors[place]
    for raw, place in data.iid_map.items():
        items[raw], bias[raw] = model.i_factors[place], model.i_biases[place]
    tensors = [torch.from_numpy(array) for array in (users, items, bias)]
    return lambda ids: tensors[0][torch.from_numpy(np.asarray(ids))] @ tensors[1].T + tensors[2]


# ---- RecBole ----


def _shims() -> None:
    """Names that RecBole 1.2.1 still asks of older numpy and scipy."""
    aliases = {
        "float_": np.float64,
        "int_": np.int64,
        "unicode_": np.str_,
        "bool8": np.bool_,
        "complex_": np.complex128,
    }
    for name, kind in {**aliases, "float": float, "int": int, "object": object}.items():
        if name not in vars(np):
            setattr(np, name, kind)
    if not hasattr(sp.dok_matrix, "_update"):
        sp.dok_matrix._update = lambda self, entries: self._dict.update(entries)


def recbole(name: str, split: Split, eval_batch: int = 4096) -> SimpleNamespace:
    """RecBole's model on our split: ``epoch()`` trains once more over the clicks, ``evaluate()`` is a full-sort test.

    ``eval_batch`` counts scores, not users: at its default of 4,096 a block is one user.
    """
    _shims()
    configuration = load("recbole.config")
    load("recbole.data")
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    folder = Path(tempfile.mkdtemp(prefix="recbole-")) / "speed"
    folder.mkdir()
    for part in ("train", "valid", "test"):
        rows = "\n".join(f"{user}\t{item}" for user, item in getattr(split, part))
        (folder / f"speed.{part}.inter").write_text(f"user_id:token\titem_id:token\n{rows}\n", encoding="utf-8")
    options = {
        "data_path": str(folder.parent), "checkpoint_dir": str(folder), "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]}, "use_gpu": False, "show_progress": False, "save_dataset": False,
        "train_batch_size": BATCH, "eval_batch_size": eval_batch, "embedding_size": DIM, "n_layers": 3,
        "learning_rate": 1e-3, "topk": list(CUTOFFS), "metrics": ["Recall", "NDCG", "Precision", "MAP"],
        "valid_metric": "Recall@20", "epochs": 1, "state": "ERROR", "reproducibility": False,
        "eval_args": {"split": {"RS": [8, 1, 1]}, "order": "RO", "group_by": "user", "mode": "full"},
    }  # fmt: skip
    arguments, sys.argv = sys.argv, sys.argv[:1]  # RecBole reads the command line by itself
    here = Path.cwd()
    os.chdir(folder)  # and its trainer leaves a folder of logs where it stands
    try:
        config = configuration.Config(model=name, dataset="speed", config_dict=options)
        init_seed(0, False)
        dataset = create_dataset(config)
        train, _, test = data_preparation(config, dataset)
        model = get_model(name)(config, train.dataset)
        trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    finally:
        sys.argv = arguments
        os.chdir(here)
    trainer.eval_collector.data_collect(train)
    return SimpleNamespace(
        epoch=lambda: trainer._train_epoch(train, 0, show_progress=False),
        evaluate=lambda: trainer.evaluate(test, load_best_model=False, show_progress=False),
    )
