"""The same split, the same budget, several seeds: one command that compares recommenders and writes JSON.

python -m utils.benchmark accuracy --dataset FOLDER --models bpr,vbpr --seeds 0,1,2 [--budget N] --json OUT
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from utils.errors import CourseError, suggest
from utils.files import ROOT, write_json

METRICS = ("recall", "ndcg", "precision", "hr", "mrr", "coverage", "aplt", "arp", "gini")


def meta(arguments: Sequence[str]) -> dict[str, Any]:
    """Return where a result file comes from: commit, command, machine, versions."""
    import torch

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "commit": commit.stdout.strip() or "unknown",
        "command": " ".join(["python -m utils.benchmark", *arguments]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def peak_mb() -> float:
    """Return the peak memory of this process in MB (0 where the system does not tell)."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return getattr(psutil.Process().memory_info(), "peak_wset", 0) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def run_model(name: str, split: Any, features: dict, seed: int, budget: int, top_k: int) -> list[dict[str, Any]]:
    """Train one model with one seed and return its rows ``{model, seed, split, metric, value}``.

    With ``budget`` above 1, so many settings are tried on the validation part; the test part is ranked once, at the end.
    On a split with cold items the rows ``cold_recall`` (all items compete) and ``among_cold_recall`` are added.
    """
    from utils.evaluation import evaluate, evaluate_cold
    from utils.training import fit, tune

    start = time.perf_counter()
    settings: dict[str, Any] = {}
    if budget > 1:
        settings, _ = tune(name, split, features, budget=budget, seed=seed)
    model, history = fit(name, split, features, seed=seed, **settings)
    fit_seconds = time.perf_counter() - start
    rows: dict[tuple[str, str], float] = {}
    for part in ("valid", "test"):
        if len(getattr(split, part)):
            report = evaluate(model, split, part=part, top_k=top_k, metrics=METRICS)
            rows |= {(part, metric): float(value) for metric, value in report.mean().items()}
    if len(np.intersect1d(split.cold_items, split.test[:, 1])):
        cold = evaluate_cold(model, split, top_k=top_k)
        rows["test", f"cold_recall@{top_k}"] = float(cold.full.mean()[f"recall@{top_k}"])
        rows["test", f"among_cold_recall@{top_k}"] = float(cold.among.mean()[f"recall@{top_k}"])
    rows["test", "fit_seconds"] = fit_seconds
    rows["test", "peak_mb"] = peak_mb()
    parameters = sum(p.numel() for p in model.parameters()) if hasattr(model, "parameters") else 0
    rows["test", "n_parameters"] = float(parameters)
    rows["valid", "best_epoch"] = float(history.best_epoch if history is not None else 0)
    return [{"model": name, "seed": seed, "split": p, "metric": m, "value": v} for (p, m), v in rows.items()]


def accuracy(
    dataset: str, models: Sequence[str], seeds: Sequence[int], out: Path, *, strategy: str, budget: int, arguments: list[str]
) -> int:  # fmt: skip
    """Run every model with every seed on one dataset, resuming what ``out`` already holds; return the exit status.

    The split is made once, with seed 0; the seeds are those of the models. ``out`` is rewritten after each run.
    """
    from utils.data import load_dataset, split_dataset
    from utils.features import load_features
    from utils.models import MODELS

    for name in models:
        if name not in MODELS:
            raise suggest(name, MODELS, "model")
    data = load_dataset(dataset)
    strategy = strategy or ("given" if "split" in data.interactions else "random")
    options = {"warm": True} if strategy == "cold_items" else {}  # validation needs warm rows, too, to stop early
    split = split_dataset(data, strategy, seed=0, **options)
    features = load_features(data) if any(MODELS[name].uses_features for name in models) else {}
    key = {
        "dataset": data.name, "fingerprint": data.fingerprint(), "strategy": strategy, "budget": budget, "top_k": 20,
        "features": {name: _feature_key(value) for name, value in features.items()}, "code": code_hash(),
    }  # fmt: skip
    content = {"meta": {**meta(arguments), **key, "failures": []}, "rows": []}
    if out.exists():
        old = json.loads(out.read_text(encoding="utf-8"))
        if all(old.get("meta", {}).get(name) == value for name, value in key.items()):
            content["rows"] = old["rows"]
    done = {(row["model"], row["seed"]) for row in content["rows"]}
    bar = tqdm([(name, seed) for seed in seeds for name in models if (name, seed) not in done], desc=strategy)
    for name, seed in bar:
        bar.set_postfix_str(f"{name} {seed}")
        try:
            content["rows"] += run_model(name, split, features, seed, budget, top_k=20)
        except CourseError as error:
            content["meta"]["failures"].append({"model": name, "seed": seed, "reason": str(error)})
        write_json(out, content)
    write_json(out, content)
    for failure in content["meta"]["failures"]:
        print(f"{failure['model']}, seed {failure['seed']}: {failure['reason']}", file=sys.stderr)
    return 1 if content["meta"]["failures"] else 0


def code_hash() -> str:
    """Hash the code that decides the numbers, so that a result file of older code is not resumed."""
    names = ("training", "losses", "graphs", "fusion", "evaluation", "metrics", "data/split")
    used = [*sorted((ROOT / "utils" / "models").glob("*.py")), *(ROOT / "utils" / f"{name}.py" for name in names)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in used)).hexdigest()[:16]


def _feature_key(features: Any) -> str:
    """Name a modality's features by encoder and content."""
    digest = hashlib.sha256(np.ascontiguousarray(features.matrix).tobytes() + features.mask.tobytes()).hexdigest()[:12]
    return f"{features.provenance.get('encoder', 'given')} {digest}"


def main(arguments: list[str] | None = None) -> int:
    """Command line of the benchmark."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m utils.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["accuracy"])
    parser.add_argument("--dataset", default="sticker_shop", help="name of a folder in data/, or any course folder")
    parser.add_argument(
        "--models", default="random,mostpop,itemknn,itemknn_content,itemknn_multimodal,bpr,vbpr,lightgcn,freedom"
    )
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--strategy", default="", help="split; default: the given one, else random per user")
    parser.add_argument("--budget", type=int, default=1, help="settings to try on validation, the same number for all")
    parser.add_argument("--json", required=True, type=Path, help="result file; an unfinished one is resumed")
    options = parser.parse_args(arguments)
    try:
        return accuracy(
            options.dataset,
            options.models.split(","),
            [int(seed) for seed in options.seeds.split(",")],
            options.json,
            strategy=options.strategy,
            budget=options.budget,
            arguments=arguments,
        )
    except CourseError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
