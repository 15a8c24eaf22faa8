"""Study of trainable features: what training the features as well gains and costs, model by model.

python -m utils.lab study frozen_features --dataset sticker_shop --seeds 0,1,2 --json data/results/frozen_features.json

It resumes: what the file holds of the same data, made by the same code, is not made again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from utils.data import Split
from utils.errors import CourseError
from utils.evaluation.protocol import evaluate
from utils.features import Features
from utils.models import MODELS
from utils.stored import ResultFile, merge_rows, meta
from utils.stored.commands import run_study
from utils.stored.sources import code_hash
from utils.studies.inputs import load
from utils.training.loop import fit


def trainable() -> list[str]:
    """The models whose features can be trained."""
    return [name for name, model in MODELS.items() if "trainable_features" in model.DEFAULTS]


def compare(
    name: str, split: Split, features: dict[str, Features], seed: int, train_features: bool, **settings: Any
) -> dict[str, Any]:
    """Fit once with the recommended settings and those given: Recall@20 on validation and test, CPU seconds, epochs, weights."""
    start = time.process_time()
    model, history = fit(name, split, features, seed, trainable_features=train_features, **settings)
    seconds = time.process_time() - start
    test = evaluate(model, split, "test", 20, ("recall",)).mean()["recall@20"]
    return {
        "model": name,
        "seed": seed,
        "features": "trained" if train_features else "frozen",
        "valid_recall@20": round(float(history.best_value), 5),
        "recall@20": round(float(test), 5),
        "cpu_s": round(seconds, 2),
        "epochs": len(history.rows),
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }


def command_of(dataset: str, rows: list[dict[str, Any]], path: Path) -> str:
    """Write the command that makes all rows of a result, those of earlier calls included."""
    names, seeds = (dict.fromkeys(str(row[key]) for row in rows) for key in ("model", "seed"))
    options = f"--dataset {dataset} --models {','.join(names)} --seeds {','.join(sorted(seeds, key=int))}"
    return f"python -m utils.lab study frozen_features {options} --json {path}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file; --models takes some of ``trainable()``."""
    about = __doc__.splitlines()[0]
    return run_study(
        "utils.lab study frozen_features",
        _study,
        arguments,
        about=about,
        dataset="sticker_shop",
        seeds="0,1,2",
        models="",
    )


def _study(options: argparse.Namespace) -> None:
    names = options.models.split(",") if options.models else trainable()
    if unknown := [name for name in names if name not in trainable()]:
        raise CourseError(f"{unknown[0]} has no features to train; choose among {', '.join(trainable())}.")
    data, split, features, _ = load(options.dataset, None, None)
    about = meta() | {"dataset": options.dataset, "fingerprint": data.fingerprint()}
    file = ResultFile(options.json, {"fingerprint": about["fingerprint"]}, {"rows": []})
    codes = {name: code_hash(name) for name in trainable()}

    def valid(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row.get("code") == codes.get(row["model"])]

    def save(*new: dict[str, Any]) -> None:
        with file.update() as content:
            content["rows"] = merge_rows(valid(content["rows"]), new, ("model", "seed", "features"))
            content["meta"] = about | {"command": command_of(options.dataset, content["rows"], options.json)}

    done = {(row["model"], row["seed"], row["features"]) for row in valid(file.content["rows"])}
    for seed in tqdm(options.seeds, desc="seeds"):
        for name in tqdm(names, desc="models", leave=False):
            for kind in (kind for kind in ("frozen", "trained") if (name, seed, kind) not in done):
                save(compare(name, split, features, seed, kind == "trained") | {"code": codes[name]})
    save()
