"""Room "training": what it costs and brings to train the features as well, model by model.

python -m utils.studies_frozen --dataset sticker_shop --seeds 0,1,2 --json data/results/frozen_features.json

It resumes: what the file holds of the same data, made by the same code, is not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from utils.benchmark import load, meta
from utils.errors import CourseError
from utils.evaluation import evaluate
from utils.files import write_json
from utils.models import MODELS
from utils.sources import code_hash
from utils.training import fit


def trainable() -> list[str]:
    """The models whose features can be trained."""
    return [name for name, model in MODELS.items() if "trainable_features" in model.DEFAULTS]


def compare(name: str, split: Any, features: dict, seed: int, train_features: bool, **settings) -> dict[str, Any]:
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


def earlier(path: Path, fingerprint: str) -> list[dict[str, Any]]:
    """The rows of an earlier run on the same data whose code is still the same; none if there is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["meta"]["fingerprint"] != fingerprint:
            return []
        return [row for row in content["rows"] if row["code"] == code_hash(row["model"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def save(path: Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write the result; its command is the one that makes all rows, those of earlier calls included."""
    names, seeds = (dict.fromkeys(str(row[key]) for row in rows) for key in ("model", "seed"))
    options = f"--dataset {about['dataset']} --models {','.join(names)} --seeds {','.join(sorted(seeds, key=int))}"
    command = f"python -m utils.studies_frozen {options} --json {path}"
    write_json(path, {"meta": about | {"command": command}, "rows": rows})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m utils.studies_frozen", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="sticker_shop", help="name of a folder in data/, or any course folder")
    parser.add_argument("--models", help="separated by commas; default: all whose features can be trained")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", type=Path, required=True, help="result file, written after each model")
    options = parser.parse_args(arguments)
    try:
        names = options.models.split(",") if options.models else trainable()
        if unknown := [name for name in names if name not in trainable()]:
            raise CourseError(f"{unknown[0]} has no features to train; choose among {', '.join(trainable())}.")
        data, split, features, _ = load(options.dataset, None, None)
        words = sys.argv[1:] if arguments is None else arguments
        about = meta(words) | {"dataset": options.dataset, "fingerprint": data.fingerprint()}
        rows = earlier(options.json, about["fingerprint"])
        done = {(row["model"], row["seed"], row["features"]) for row in rows}
        for seed in tqdm([int(seed) for seed in options.seeds.split(",")], desc="seeds"):
            for name in tqdm(names, desc="models", leave=False):
                for kind in (kind for kind in ("frozen", "trained") if (name, seed, kind) not in done):
                    row = compare(name, split, features, seed, kind == "trained")
                    rows.append(row | {"code": code_hash(name)})
                    save(options.json, about, rows)
        if rows:
            save(options.json, about, rows)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
