"""Study of split strategies: splits in time against random twins of the same size, on real logs (notebook 02).

python -m utils.lab study split_effect split-effect FOLDER --seeds 5     (writes data/results/split_effect.json)
python -m utils.lab study split_effect popularity FOLDER...              (writes data/results/real_logs.json)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data import Dataset, load_dataset, split_dataset
from utils.data.twins import random_twin, shuffle_times
from utils.evaluation import short_head
from utils.evaluation.protocol import evaluate
from utils.features import Features
from utils.stored import RESULTS, ResultFile, meta
from utils.stored.commands import Parser, add_options, exit_status
from utils.training.loop import fit

STRATEGIES = ("leave_one_out", "temporal_user", "temporal_global")
MODELS = ("mostpop", "itemknn", "itemknn_content")


def split_effect(
    dataset: Dataset,
    features: Mapping[str, Features],
    *,
    models: Sequence[str] = MODELS,
    strategies: Sequence[str] = STRATEGIES,
    seeds: Iterable[int] = (0,),
    top_k: int = 20,
    tick: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Compare every split in time with its random twin, on the log as it is and on a log with shuffled timestamps.

    Args:
        dataset: with timestamps.
        features: modality -> Features, for the models that use content.
        models: names of ``utils.models``, fitted with their recommended settings.
        strategies: splits in time.
        seeds: of ties, of the twins, of the shuffled times and of the models.
        tick: called with a short text before each split (for a progress line).

    Returns:
        One row per seed, log ("true", "shuffled"), strategy, held_out ("time", "chance") and model: recall, users.
    """
    rows = []
    for seed in seeds:
        for log in ("true", "shuffled"):
            shop = dataset if log == "true" else shuffle_times(dataset, seed)
            for strategy in strategies:
                if tick:
                    tick(f"seed {seed}, {log} log, {strategy}")
                in_time = split_dataset(shop, strategy, seed=seed)
                for held_out, split in (("time", in_time), ("chance", random_twin(in_time, seed))):
                    for model in models:
                        fitted, _ = fit(model, split, features, seed=seed)
                        report = evaluate(fitted, split, top_k=top_k, metrics=("recall",))
                        recall = report[f"recall@{top_k}"]
                        rows.append((seed, log, strategy, held_out, model, recall, len(report.user_ids)))
    return pd.DataFrame(rows, columns=["seed", "log", "strategy", "held_out", "model", "recall", "users"])


def flattery(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what chance adds over time: one row per log, strategy and model; chance, time and their difference."""
    table = rows.groupby(["log", "strategy", "model", "held_out"], sort=False)["recall"].mean().unstack("held_out")
    return table[["chance", "time"]].assign(difference=table["chance"] - table["time"]).rename_axis(columns=None)


def popularity_points(dataset: Dataset, n_points: int = 25) -> dict[str, Any]:
    """Return counts of a log and a coarse popularity curve: item's rank as a share of the items, count over the mean.

    "head" is the share of the items (0 to 1) in the short head, which holds 80 % of the interactions.
    """
    counts = np.sort(np.bincount(dataset.interactions["item_id"], minlength=dataset.n_items))[::-1]
    counts = counts[counts > 0]
    ranks = np.unique(np.geomspace(1, len(counts), n_points).round().astype(int))
    return {
        "users": dataset.n_users,
        "items": len(counts),
        "interactions": dataset.n_interactions,
        "per_user": float(np.median(np.bincount(dataset.interactions["user_id"]))),
        "head": round(float(short_head(counts).mean()), 4),
        "rank": [round(float(r), 5) for r in ranks / len(counts)],
        "count": [round(float(c), 4) for c in counts[ranks - 1] / counts.mean()],
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the head of this file."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return exit_status(lambda: _study(words))


def _study(words: list[str]) -> None:
    parser = Parser(prog="python -m utils.lab study split_effect", description="Stored studies on real logs.")
    commands = parser.add_subparsers(required=True, dest="command")
    effect = commands.add_parser("split-effect", help="random against temporal splits of a course folder")
    add_options(effect, seeds=5, json=RESULTS / "split_effect.json")
    effect.add_argument("--models", default=",".join(MODELS))
    curve = commands.add_parser("popularity", help="counts and popularity curves of course folders")
    curve.add_argument("folders", nargs="+")
    curve.add_argument("--json", "--out", type=Path, default=RESULTS / "real_logs.json")
    options = parser.parse_args(words)
    study, key = (_effect, ["dataset"]) if options.command == "split-effect" else (_curves, [])
    content = study(options)
    folders = [Path(word).name if "/" in word else word for word in words]  # no path of this machine
    about = meta() | {"command": " ".join(["python -m utils.lab study split_effect", *folders])}
    with ResultFile(options.json, {name: content[name] for name in key}).update() as stored:
        stored |= {"meta": about, **content}
    print(f"written to {options.json}")


def _effect(options: argparse.Namespace) -> dict[str, Any]:
    from utils.features import load_features

    dataset = load_dataset(options.dataset)
    features = load_features(dataset, dataset.modalities)
    models = options.models.split(",")
    rows = split_effect(dataset, features, models=models, seeds=options.seeds, tick=print)
    print(flattery(rows).round(4).to_string())
    return {"dataset": Path(options.dataset).name, "rows": rows.round(6).to_dict("records")}


def _curves(options: argparse.Namespace) -> dict[str, Any]:
    return {"logs": {Path(f).name: popularity_points(load_dataset(f)) for f in options.folders}}
