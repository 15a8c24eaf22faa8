"""Study of how hard the Sticker Shop is: every model on several draws of the shoppers, with one budget.

``python -m utils.lab study ladder --seeds 0,1,2,3,4 --budget 4 --json data/results/sticker_shop_ladder.json``

Each draw has its own shoppers, its own random split per user and its own tuning on the validation part; the test part is
ranked once. Rows are kept in the JSON as they come, and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from utils.data.cleaning import clean
from utils.data.dataset import Dataset, assemble
from utils.data.load import load_dataset
from utils.data.planted import FOLDER
from utils.data.split import Split, split_dataset
from utils.features import Features
from utils.shop.simulate import core, simulate
from utils.stored import ResultFile, meta
from utils.stored.commands import run_study

PLAIN = ("random", "mostpop", "itemknn", "bpr", "lightgcn")
MULTIMODAL = ("itemknn_content", "itemknn_multimodal", "vbpr", "freedom")
DROPPED = {"itemknn_multimodal": ("visual", "textual", "audio")}  # the model whose modalities are dropped one by one
METRICS = ("recall", "ndcg")


class Oracle:
    """Scores are the planted utilities before choice noise: nobody can rank better on average."""

    def __init__(self, utility: np.ndarray) -> None:
        self.utility = torch.as_tensor(utility)

    def score(self, user_ids) -> torch.Tensor:
        """Rows of the utilities, (len(user_ids), n_items)."""
        return self.utility[torch.as_tensor(np.asarray(user_ids))]


def content(folder: str | Path = "sticker_shop") -> tuple[Dataset, pd.DataFrame]:
    """Clean content of all simulated items, with or without shoppers: the cleaned raw dataset and the attributes."""
    raw, _ = clean(load_dataset(folder, "raw"))
    hidden = pd.read_csv(raw.path / FOLDER / "attributes.tsv", sep="\t", keep_default_na=False, quoting=3)
    return raw, hidden


def draw(raw: Dataset, hidden: pd.DataFrame, seed: int) -> tuple[Dataset, np.ndarray]:
    """One draw of the shop: its 5-core dataset, and the utilities (n_users, n_items) in its order."""
    shop = simulate(hidden, seed)
    log = core(shop.interactions)
    items = raw.items.set_index("item").loc[hidden["item"]].reset_index()
    dataset = assemble(raw.name, raw.path, items[items["item"].isin(log["item"])], log)
    rows = pd.Index(shop.users).get_indexer(dataset.users)
    columns = pd.Index(shop.items).get_indexer(dataset.item_names)
    return dataset, ((shop.start + shop.end) / 2)[np.ix_(rows, columns)]


def only_has_sound(audio: Features) -> Features:
    """Return the control for audio: one number, 1 where an item has a sound, and nothing about the sound itself."""
    from dataclasses import replace

    return replace(audio, matrix=audio.mask[:, None].astype(np.float32), provenance={"encoder": "has_sound"})


def variants(features: Mapping[str, Features]) -> dict[str, tuple[str, dict]]:
    """Row name -> (model, features): all models, and the dropped model without each modality and with controls."""
    rows = {name: (name, {}) for name in PLAIN} | {name: (name, dict(features)) for name in MULTIMODAL}
    for model, modalities in DROPPED.items():
        for modality in modalities:
            rows[f"{model} without {modality}"] = model, {m: f for m, f in features.items() if m != modality}
        rows[f"{model} has-sound for audio"] = model, dict(features) | {"audio": only_has_sound(features["audio"])}
        rows[f"{model} shuffled"] = model, {m: f.shuffled(1) for m, f in features.items()}
    return rows


def _run(name: str, split: Split, features: dict, budget: int, settings: dict | None) -> tuple[Any, dict]:
    """Tune on the validation part (or take given settings) and fit: the model and the settings taken."""
    from utils.training import tune
    from utils.training.loop import fit

    if settings is None:
        settings = tune(name, split, features, budget=budget, seed=0)[0] if budget > 1 else {}
    model, _ = fit(name, split, features, seed=0, **settings)
    return model, settings


def warm_row(name: str, split: Split, features: dict, budget: int, utility: np.ndarray | None = None) -> dict:
    """One row of the ladder: means on validation and test, settings, and Recall@20 per test user."""
    from utils.evaluation.protocol import evaluate

    start = time.perf_counter()
    model, settings = (Oracle(utility), {}) if utility is not None else _run(name, split, features, budget, None)
    reports = {part: evaluate(model, split, part=part, top_k=20, metrics=METRICS) for part in ("valid", "test")}
    means = {part: {k: round(float(v), 6) for k, v in report.mean().items()} for part, report in reports.items()}
    per_user = reports["test"].per_user
    return {
        "settings": settings,
        **means,
        "users": [int(u) for u in per_user.index],
        "per_user": [round(float(v), 4) for v in per_user["recall@20"]],
        "seconds": round(time.perf_counter() - start, 1),
    }


def cold_rows(dataset: Dataset, features: Mapping[str, Features], seed: int) -> dict[str, dict[str, float]]:
    """Content kNN among cold items, beside its controls: Recall@20 in full ranking and among cold items only."""
    from utils.evaluation.protocol import evaluate_cold
    from utils.models import make_model

    split = split_dataset(dataset, "cold_items", seed=seed)
    rows = {"random": ("random", {}), "mostpop": ("mostpop", {}), "content kNN": ("itemknn_content", dict(features))}
    rows["content kNN, shuffled"] = "itemknn_content", {m: f.shuffled(1) for m, f in features.items()}
    for modality in features:
        rows[f"content kNN, {modality} only"] = "itemknn_content", {modality: features[modality]}
    result = {}
    for name, (model, given) in rows.items():
        report = evaluate_cold(make_model(model, split, given or None), split)
        result[name] = {
            "full": round(float(report.full.mean()["recall@20"]), 6),
            "among": round(float(report.among.mean()["recall@20"]), 6),
            "n_cold": int(len(split.cold_items)),
        }
    return result


def log_facts(dataset: Dataset) -> dict[str, float]:
    """Numbers that one would look up for a real log."""
    per_user = dataset.interactions.groupby("user_id").size()
    per_item = dataset.interactions.groupby("item_id").size().sort_values()
    lorenz = np.r_[0, per_item.cumsum() / per_item.sum()]
    return {
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": dataset.n_interactions,
        "density": round(dataset.n_interactions / dataset.n_users / dataset.n_items, 4),
        "median_profile": float(per_user.median()),
        "longest_profile": int(per_user.max()),
        "share_of_top_fifth": round(float(per_item.tail(len(per_item) // 5).sum() / per_item.sum()), 4),
        "gini": round(float(1 - (lorenz[1:] + lorenz[:-1]).mean()), 4),
    }


def compare(rows: Mapping[str, Mapping[int, dict]], left: str, right: str) -> dict[str, Any]:
    """Difference left - right of Recall@20, paired: by draw, and by user over all draws (t interval of 95 %)."""
    seeds = sorted(set(rows[left]) & set(rows[right]))
    by_draw = [rows[left][s]["test"]["recall@20"] - rows[right][s]["test"]["recall@20"] for s in seeds]
    users = np.concatenate([np.subtract(rows[left][s]["per_user"], rows[right][s]["per_user"]) for s in seeds])
    half = 1.96 * users.std(ddof=1) / np.sqrt(len(users))
    return {
        "left": left,
        "right": right,
        "mean": round(float(users.mean()), 5),
        "low": round(float(users.mean() - half), 5),
        "high": round(float(users.mean() + half), 5),
        "by_draw": [round(float(x), 5) for x in by_draw],
    }


def shop_hash(hidden: pd.DataFrame) -> str:
    """Hash of what the simulator draws with seed 0: other attributes, weights or code give another one."""
    drawn = simulate(hidden, 0).interactions.drop(columns="review")
    return hashlib.sha256(drawn.to_csv(index=False, lineterminator="\n").encode()).hexdigest()[:16]


def run(folder: str, seeds: list[int], budget: int, out: Path, command: list[str], only: str = "") -> dict[str, Any]:
    """Fill the rows that ``out`` lacks, write it after each, and return its content. ``only``: rows to run (comma list)."""
    from utils.features.prepared_features import load_features
    from utils.stored.sources import code_hash

    raw, hidden = content(folder)
    key = {"budget": budget, "shop": shop_hash(hidden), "code": code_hash()}
    file = ResultFile(out, key, {"meta": key, "facts": {}, "cold": {}, "rows": {}})
    about = meta() | {"command": " ".join(["python -m utils.lab study ladder", *command])}
    wanted = set(filter(None, only.split(",")))
    for seed in tqdm(seeds, desc="draws"):
        dataset, utility = draw(raw, hidden, seed)
        split = split_dataset(dataset, "random", seed=seed)
        features = load_features(dataset)
        facts, cold = log_facts(dataset), file.content["cold"].get(str(seed)) or cold_rows(dataset, features, seed)
        with file.update() as result:
            result["meta"] |= about
            result["facts"][str(seed)], result["cold"][str(seed)] = facts, cold
        jobs: dict[str, Callable[[], dict]] = {"oracle": lambda: warm_row("", split, {}, 1, utility)}  # noqa: B023
        for name, (model, given) in variants(features).items():
            jobs[name] = lambda m=model, g=given: warm_row(m, split, g, budget)  # noqa: B023
        done = {name for name, by in file.content["rows"].items() if str(seed) in by}
        todo = [name for name in jobs if name not in done and (not wanted or name in wanted)]
        for name in tqdm(todo, desc=f"draw {seed}", leave=False):
            row = jobs[name]()
            with file.update() as result:
                result["rows"].setdefault(name, {})[str(seed)] = row
    with file.update() as result:
        result["meta"] |= about
        result["summary"] = summary(result)
    return result


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """Means over the draws, the best multimodal model by validation, and the paired differences that the card shows."""
    rows = {name: {int(s): row for s, row in by.items()} for name, by in result["rows"].items()}
    means = {
        name: {
            metric: [round(float(f([row["test"][metric] for row in by.values()])), 5) for f in (np.mean, np.std)]
            for metric in ("recall@20", "ndcg@20")
        }
        for name, by in rows.items()
    }
    valid = {n: np.mean([r["valid"]["recall@20"] for r in rows[n].values()]) for n in MULTIMODAL if n in rows}
    best = max(valid, key=valid.get)
    pairs = [
        ("mostpop", "random"),
        *((n, "mostpop") for n in PLAIN[2:]),
        *((best, n) for n in PLAIN[2:]),
        ("oracle", best),
    ]
    pairs[-1:-1] = [(n, "itemknn") for n in valid if n not in (best, "itemknn_content")]
    pairs += [(model, name) for model in DROPPED for name in rows if name.startswith(f"{model} ")]
    differences = [compare(rows, a, b) for a, b in pairs if a in rows and b in rows]
    seconds = sum(row["seconds"] for by in rows.values() for row in by.values())
    return {"best_multimodal": best, "means": means, "differences": differences, "seconds": round(seconds, 1)}


def main(arguments: list[str] | None = None) -> int:
    """Command line of the ladder: settings tried for each model (--budget), only some rows by name (--rows)."""
    given = list(sys.argv[1:] if arguments is None else arguments)

    def study(options: argparse.Namespace) -> None:
        torch.set_num_threads(1)
        result = run(options.dataset, options.seeds, options.budget, options.json, given, options.rows)
        for name, values in result["summary"]["means"].items():
            print(f"{name:28s} recall@20 {values['recall@20'][0]:.4f}  ndcg@20 {values['ndcg@20'][0]:.4f}")

    return run_study(
        "utils.lab study ladder", study, given, about=__doc__.splitlines()[0], dataset="sticker_shop", seeds="0,1,2,3,4",
        budget=4, rows="",
    )  # fmt: skip
