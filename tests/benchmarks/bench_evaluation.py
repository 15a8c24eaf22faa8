"""Evaluation, seconds: exact full ranking of a synthetic catalogue of the size of Amazon Baby (MMRec's split).

python -m tests.benchmarks.bench_evaluation [--repeats 5] [--threads N] [--json OUT]

Both sides score by one inner product of 64 numbers. `floor` is that product alone, block by block: what no evaluation
can go below. `loop` is the usual way, a Python loop over users and items for the hits, on one tenth of the users.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from utils.evaluation import evaluate
from utils.files import write_json

N_USERS, N_ITEMS, DIM, BLOCK = 19_445, 7_050, 64, 256


def synthetic(seed: int = 0) -> SimpleNamespace:
    """Draw 160,792 long-tailed interactions; every user has at least one in train, valid and test."""
    generator = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, N_ITEMS + 1) ** 0.6
    extra = 160_792 - 5 * N_USERS
    users = np.concatenate([np.repeat(np.arange(N_USERS), 5), generator.integers(0, N_USERS, extra)])
    items = generator.choice(N_ITEMS, len(users), p=weights / weights.sum())
    rows = np.column_stack([users, items])
    part = np.concatenate([np.tile([0, 0, 0, 1, 2], N_USERS), np.zeros(extra, dtype=int)])
    cold = np.setdiff1d(np.arange(N_ITEMS), rows[part == 0, 1])
    parts = {name: rows[part == at] for at, name in enumerate(("train", "valid", "test"))}
    return SimpleNamespace(n_users=N_USERS, n_items=N_ITEMS, cold_items=cold, **parts)


def seconds(run: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return the median wall and processor seconds of ``run`` after one warm-up."""
    run()
    wall, processor = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    return {"wall": round(statistics.median(wall), 4), "cpu": round(statistics.median(processor), 4)}


def loop(score: Callable[[np.ndarray], torch.Tensor], split: SimpleNamespace, users: np.ndarray) -> float:
    """Compute Recall@20 with torch.topk and a Python loop for the hits, as many frameworks do."""
    seen: list[list[int]] = [[] for _ in range(N_USERS)]
    liked: list[list[int]] = [[] for _ in range(N_USERS)]
    for u, i in split.train.tolist():
        seen[u].append(i)
    for u, i in split.test.tolist():
        liked[u].append(i)
    total = 0.0
    for start in range(0, len(users), BLOCK):
        ids = users[start : start + BLOCK]
        scores = score(ids)
        for row, u in enumerate(ids):
            scores[row, seen[u]] = -torch.inf
        for u, items in zip(ids, torch.topk(scores, 20).indices.tolist()):
            total += sum(item in liked[u] for item in items) / len(liked[u])
    return total / len(users)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    split = synthetic()
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(N_USERS, DIM, generator=generator)
    items = torch.randn(N_ITEMS, DIM, generator=generator)
    popular = torch.from_numpy(np.bincount(split.train[:, 1], minlength=N_ITEMS)).float()

    def score(ids: np.ndarray) -> torch.Tensor:
        return users.index_select(0, torch.from_numpy(ids)) @ items.T

    every = np.arange(N_USERS)
    tenth = every[::10]
    runs: dict[str, Callable[[], object]] = {
        "floor": lambda: [score(every[start : start + BLOCK]) for start in range(0, N_USERS, BLOCK)],
        "recall@20": lambda: evaluate(score, split, metrics=("recall",)),
        "all metrics @20": lambda: evaluate(score, split),
        "all metrics @5, 10, 20, 50": lambda: evaluate(score, split, top_k=(5, 10, 20, 50)),
        "popularity (many ties), all metrics @20": lambda: evaluate(lambda ids: popular.expand(len(ids), -1), split),
        "recall@20, a tenth of the users": lambda: evaluate(score, split, metrics=("recall",), users=tenth),
        "loop, recall@20, a tenth of the users": lambda: loop(score, split, tenth),
    }
    result = {name: seconds(run, arguments.repeats) for name, run in runs.items()}
    for name, values in result.items():
        print(f"{name:<42} {values['wall']:8.3f} s wall {values['cpu']:8.3f} s cpu")
    if arguments.json:
        about = {
            "command": "python -m tests.benchmarks.bench_evaluation " + " ".join(sys.argv[1:]),
            "machine": f"{platform.machine()}, {platform.system()}",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": arguments.threads,
            "users": N_USERS,
            "items": N_ITEMS,
        }
        write_json(arguments.json, {"about": about, "seconds": result})


if __name__ == "__main__":
    main()
