"""Study of early stopping: how long to wait for a new best, read off runs that nothing stopped.

python -m utils.lab study patience --dataset FOLDER --models bpr,lightgcn --epochs 200 --seeds 0,1,2 --json data/results/patience.json

Each run trains to the end and keeps what validation said after each epoch; what a shorter patience would have kept is
then counted, not trained. Calls for several datasets fill one file; a run that is stored is not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from utils.data import Split
from utils.errors import CourseError
from utils.evaluation.protocol import evaluate
from utils.features import Features
from utils.models import MODELS, TrainedRecommender
from utils.stored import ResultFile, merge_rows, meta
from utils.stored.commands import run_study
from utils.stored.sources import code_hash
from utils.studies.inputs import load
from utils.training.loop import fit

PATIENCES = (5, 10, 20, 30, 50)


def curve(name: str, split: Split, features: Mapping[str, Features], seed: int, n_epochs: int) -> dict[str, Any]:
    """Train ``n_epochs`` with the recommended settings: Recall@20 on validation after each, and its standard error."""
    model, history = fit(name, split, features, seed, n_epochs=n_epochs, patience=n_epochs + 1)
    error = evaluate(model, split, "valid", 20, ("recall",)).per_user["recall@20"].sem()
    values = [round(float(value), 5) for value in history.frame()["recall@20"]]
    return {"model": name, "seed": seed, "valid": values, "standard_error": round(float(error), 5)}


def stopped(valid: Sequence[float], patience: int) -> tuple[int, int]:
    """Return (epoch whose weights are kept, last epoch trained) of a run that waits for ``patience`` checks, from 1."""
    best = 0
    for epoch, value in enumerate(valid):
        if value > valid[best]:
            best = epoch
        elif epoch - best >= patience:
            return best + 1, epoch + 1
    return best + 1, len(valid)


def rules(rows: Iterable[Mapping[str, Any]], patiences: Sequence[int] = PATIENCES) -> pd.DataFrame:
    """Return what each patience costs and loses: index patience.

    Columns: epochs (mean that are trained), lost (mean of the best value of the whole curve minus the one that is kept),
    worst (the largest of them), short (runs that lose more than one standard error), runs.
    """
    rows, found = list(rows), {}
    for patience in patiences:
        ends = [stopped(row["valid"], patience) for row in rows]
        lost = np.array([max(row["valid"]) - row["valid"][kept - 1] for row, (kept, _) in zip(rows, ends)])
        short = sum(one > row["standard_error"] for one, row in zip(lost, rows))
        last = np.mean([last for _, last in ends])
        found[patience] = {"epochs": last, "lost": lost.mean(), "worst": lost.max(), "short": short, "runs": len(rows)}
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("patience").astype({"short": int, "runs": int})


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    about = __doc__.splitlines()[0]
    defaults = {"dataset": "sticker_shop", "seeds": "0,1,2", "models": "bpr,lightgcn,vbpr,freedom", "epochs": 200}
    return run_study("utils.lab study patience", _study, arguments, about=about, **defaults)


def _study(options: argparse.Namespace) -> None:
    names = options.models.split(",")
    if unknown := [name for name in names if not issubclass(MODELS.get(name, object), TrainedRecommender)]:
        raise CourseError(f"{unknown[0]} is no model that is trained; choose among those of utils/models that are.")
    data, split, features, _ = load(options.dataset, None, None)
    key = ("dataset", "model", "seed")
    file = ResultFile(options.json, {}, {"rows": []})
    command = f"python -m utils.lab study patience --dataset {options.dataset} --models {options.models}"
    command += f" --epochs {options.epochs} --seeds {','.join(map(str, options.seeds))} --json {options.json}"
    for seed in tqdm(options.seeds, desc="seeds"):
        for name in tqdm(names, desc="models", leave=False):
            made_of = {"dataset": data.name, "fingerprint": data.fingerprint(), "code": code_hash(name)}
            made_of |= {"seed": seed, "model": name, "epochs": options.epochs}
            if any(made_of.items() <= row.items() for row in file.content["rows"]):
                continue
            row = curve(name, split, features if MODELS[name].uses_features else {}, seed, options.epochs)
            with file.update() as content:
                content["rows"] = merge_rows(content["rows"], [row | made_of], key)
                commands = [*content["meta"].get("commands", []), command]
                content["meta"] = meta() | {"command": command, "commands": list(dict.fromkeys(commands))}
