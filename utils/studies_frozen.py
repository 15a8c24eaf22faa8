"""Room "training": what it costs and brings to train the features as well, model by model.

python -m utils.studies_frozen --dataset sticker_shop --seeds 0,1,2 --json data/results/frozen_features.json
"""

from __future__ import annotations

import argparse
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
        split, features = load(options.dataset, None, None)[1:3]
        about, rows = meta(sys.argv[1:] if arguments is None else arguments), []
        about |= {"command": f"python -m utils.studies_frozen {' '.join(sys.argv[1:])}", "dataset": options.dataset}
        for seed in tqdm([int(seed) for seed in options.seeds.split(",")], desc="seeds"):
            for name in tqdm(names, desc="models", leave=False):
                rows += [compare(name, split, features, seed, trained) for trained in (False, True)]
                write_json(options.json, {"meta": about, "rows": rows})
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
