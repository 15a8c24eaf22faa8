"""Seconds for one epoch of every trained model on a synthetic set: ``python tests/benchmarks/bench_training.py``.

Options: --users 1000 --items 500 --interactions 10000 --epochs 5 --repeats 3 --batch-size N --dims 1280,384,200
--models bpr,vbpr --json OUT. Medians over the repeats, process CPU and wall; the repeats of the models are interleaved,
so that a disturbance hits all of them alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from utils.data import Split
from utils.features import Features
from utils.files import write_json
from utils.models import MODELS, TrainedRecommender, make_model
from utils.training import NegativeSampler, train, validator

NAMES = ("visual", "textual", "audio")


def synthetic(n_users: int, n_items: int, n_interactions: int, dims: list[int], seed: int = 0) -> tuple[Split, dict]:
    """Long-tailed interactions, without repeats, and random features."""
    rng = np.random.default_rng(seed)
    items = np.minimum((rng.pareto(1.2, 2 * n_interactions) * n_items / 20).astype(np.int64), 10**9) % n_items
    users = rng.integers(n_users, size=2 * n_interactions)
    pairs = np.unique(np.column_stack([users, items]), axis=0)
    pairs = rng.permutation(pairs)[:n_interactions]
    pairs = np.concatenate([pairs, np.column_stack([np.arange(n_users), rng.integers(n_items, size=n_users)])])
    n_valid = len(pairs) // 10
    train_part = pairs[n_valid:]
    cold = np.setdiff1d(np.arange(n_items), train_part[:, 1])
    split = Split(n_users, n_items, train_part, pairs[:n_valid], pairs[:0], "synthetic", cold)
    ids = np.array([str(item) for item in range(n_items)])
    features = {
        modality: Features(modality, rng.normal(size=(n_items, dim)).astype(np.float32), ids)
        for modality, dim in zip(NAMES, dims)
    }
    return split, features


def timed(function) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--interactions", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--dims", default="1280,384,200")
    parser.add_argument("--models", default=",".join(n for n, m in MODELS.items() if issubclass(m, TrainedRecommender)))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    split, features = synthetic(args.users, args.items, args.interactions, [int(d) for d in args.dims.split(",")])
    without_valid = Split(split.n_users, split.n_items, split.train, split.valid[:0], split.test, "", split.cold_items)
    models, build = {}, {}
    for name in args.models.split(","):
        build[name] = timed(lambda name=name: models.update({name: make_model(name, split, features)}))[0]
        train(models[name], without_valid, n_epochs=1, progress=False)  # first calls load and allocate
    measured: dict[str, list] = {name: [] for name in models}
    scoring: dict[str, list] = {name: [] for name in models}
    for _ in range(args.repeats):
        for name, model in models.items():
            settings = {"n_epochs": args.epochs, "batch_size": args.batch_size, "progress": False}
            measured[name].append(timed(lambda m=model, s=settings: train(m, without_valid, **s)))
            scoring[name].append(timed(lambda m=model: validator(split)(m)))
    rows = [
        {
            "model": name,
            "epoch_wall_s": statistics.median(wall for wall, _ in measured[name]) / args.epochs,
            "epoch_cpu_s": statistics.median(cpu for _, cpu in measured[name]) / args.epochs,
            "validation_wall_s": statistics.median(wall for wall, _ in scoring[name]),
            "build_wall_s": build[name],
            "parameters": sum(weight.numel() for weight in model.parameters()),
        }
        for name, model in models.items()
    ]
    sampler, users = NegativeSampler(split), torch.as_tensor(split.train[:, 0])
    sample = [timed(lambda: sampler.sample(users)) for _ in range(max(5, args.repeats))]
    rows.append({"model": "negative sampling", "epoch_wall_s": statistics.median(wall for wall, _ in sample)})
    meta = {key: str(value) for key, value in vars(args).items() if key != "json"}
    meta |= {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
    }
    meta |= {"interactions": len(split.train)}
    result = {"meta": meta, "rows": rows}
    print(json.dumps(result, indent=1))
    if args.json:
        write_json(args.json, result)


if __name__ == "__main__":
    main()
