"""Open challenge 2.2, the experiment: EGCF beside its twins, with equal budgets, on any dataset with reviews.

python -m utils.lab study reviews_on_edges FOLDER --seeds 5      (writes data/results/reviews_on_edges.json)
FOLDER holds Amazon review files of 2018 (All_Beauty_5.json.gz, Gift_Cards_5.json.gz).
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.challenges.gates import edge_ratings, probe_stars, separation
from utils.challenges.reviews import EdgeReviews, once_per_text, profile_scores, repeated_reviews, training_reviews
from utils.data import Dataset, Split, iterative_k_core, split_dataset
from utils.errors import CourseError
from utils.evaluation import compare_all
from utils.evaluation.protocol import evaluate
from utils.models import Recommender, make_model
from utils.models.egcf import EGCF, learned_gates, n_parameters
from utils.publishers.amazon_reviews import read_amazon_reviews
from utils.stored import RESULTS, ResultFile, meta
from utils.stored.commands import command_text, run_study
from utils.training import train

COMMAND = "utils.lab study reviews_on_edges"
RESULT = RESULTS / "reviews_on_edges.json"
FILES = ("Gift_Cards_5", "All_Beauty_5")
ARMS = ("LightGCN", "gate 1", "no words", "shuffled", "EGCF")  # the twins, each a step nearer to EGCF
REGS = (0.03, 0.1, 0.3)
LIGHTGCN_REGS = (0.001, 0.01, 0.1)  # its penalty falls on one table of twice the width; also three to choose from
LOOP = {"n_epochs": 80, "patience": 8, "batch_size": 2048}
# For logs of one to two thousand edges: a batch of 2048 is one step an epoch, and patience ends a run that has not begun.
SMALL_LOOP = {"n_epochs": 80, "patience": 10, "batch_size": 256}
BINS = np.linspace(0.25, 0.75, 26)


def make_arm(arm: str, split: Split, reviews: EdgeReviews, seed: int = 0, n_layers: int = 2, **settings: Any):
    """Make EGCF or one of its twins, untrained.

    LightGCN: one table twice as wide; gate 1: EGCF with w = 1; no words: the gate sees only the ends of the edge;
    shuffled: each review on another edge; EGCF: the reviews where they belong.
    """
    settings = {"n_layers": n_layers, **settings}
    if arm == "LightGCN":
        settings["dim"] = 2 * settings.get("dim", EGCF.DEFAULTS["dim"])
        return make_model("lightgcn", split, seed=seed, **settings)
    given = {
        "gate 1": {"gate": "one"},
        "no words": {"reviews": reviews.silent()},
        "shuffled": {"reviews": reviews.shuffled(seed)},
        "EGCF": {"reviews": reviews},
    }
    if arm not in given:
        raise CourseError(f"Unknown twin {arm!r}; known: {', '.join(ARMS)}.")
    return EGCF(split, seed=seed, **given[arm], **settings)


def fit_arms(
    split: Split,
    reviews: EdgeReviews,
    seed: int = 0,
    *,
    arms: Sequence[str] = ARMS,
    regs: Mapping[str, float] | None = None,
    n_layers: int = 2,
    tick: Callable[[str], None] | None = None,
    **loop: Any,
) -> tuple[dict[str, Recommender], dict[str, float]]:
    """Train every twin; without ``regs`` the penalty is chosen on the validation part, among as many for all.

    The gated twins share one penalty, the best on their mean: they are the same model but for the words, and a choice
    of each for itself, by one run, moves Recall more than the words do. LightGCN is another model and has its own.

    Args:
        regs: arm -> penalty, for example those that a first seed chose.
        loop: in the place of ``LOOP``.

    Returns:
        arm -> trained model, and arm -> penalty.
    """
    tried: dict[str, dict[float, tuple[float, Recommender]]] = {}
    for arm in arms:
        tried[arm] = {}
        for reg in [regs[arm]] if regs else LIGHTGCN_REGS if arm == "LightGCN" else REGS:
            model = make_arm(arm, split, reviews, seed, n_layers, reg=reg)
            history = train(model, split, seed=seed, progress=False, **{**LOOP, **loop})
            tried[arm][reg] = history.best_value, model
            if tick:
                tick(f"{arm}: penalty {reg:g}, validation {history.best_value:.4f}")
    chosen = dict(regs or {arm: _best_penalty(tried, arm) for arm in arms})
    models = {arm: tried[arm][chosen[arm]][1] for arm in arms}
    return models, {arm: chosen[arm] for arm in arms}


def _best_penalty(tried: Mapping[str, Mapping[float, tuple]], arm: str) -> float:
    """The penalty with the best mean validation value over the twins that share it; the first of equals."""
    family = [arm] if arm == "LightGCN" else [name for name in tried if name != "LightGCN"]
    return max(tried[arm], key=lambda reg: np.mean([tried[name][reg][0] for name in family]))


def leaky(split: Split, dataset: Dataset, encoder: str = "minilm") -> tuple[Split, EdgeReviews]:
    """Make the leak on purpose: the test edges in the graph, and the test reviews on them; the loss never sees them."""
    both = np.unique(np.concatenate([split.train, split.test]), axis=0)
    wrong = replace(split, train=both)
    return wrong, training_reviews(dataset, split, encoder, parts=("train", "test"))


def over_seeds(reports: Mapping[str, Sequence[Any]], metric: str) -> dict[str, pd.Series]:
    """Average each user's metric over the seeds: arm -> Series by user, so that users are the unit of the tests."""
    return {
        arm: pd.concat([report.per_user[metric] for report in found]).groupby(level=0).mean()
        for arm, found in reports.items()
    }


def paired(reports: Mapping[str, Sequence[Any]], metric: str, reference: str = "EGCF") -> pd.DataFrame:
    """Compare EGCF with every twin, user by user: positive = EGCF is better; p values corrected by Holm."""
    table = compare_all(over_seeds(reports, metric), reference, metric)
    low, high = -table["high"], -table["low"]
    table = table.assign(difference=-table["difference"], low=low, high=high)
    return table.rename(columns={"a": "twin"}).drop(columns="b").set_index("twin")


def star_groups(reviews: EdgeReviews, ratings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which edges have a review and 1-2 or 5 stars, (n,) bool, and which of those have 5."""
    rows = reviews.mask & ((ratings <= 2) | (ratings >= 5))
    return rows, ratings[rows] >= 5


# ---- the study on real reviews ----


def variants(dataset: Dataset, k_user: int = 3) -> dict[str, Dataset]:
    """Return the log as published, and with each user's repeated texts removed; both with k_user items or more each."""
    found = {}
    for name, log in (("as published", dataset), ("texts once", once_per_text(dataset))):
        latest = log.interactions.drop_duplicates(["user_id", "item_id"], keep="last").index.to_numpy()
        found[name] = iterative_k_core(log.select(interactions=np.sort(latest)), k_user, 1)
    return found


def study(dataset: Dataset, seeds: Sequence[int], encoder: str = "minilm", tick: Callable = print) -> dict[str, Any]:
    """Run everything on one log: the twins over seeds, paired tests, the gates, the number of layers, both leaks."""
    metrics, reports, rows, gates, repeats, regs = ("recall", "ndcg"), {}, [], [], [], None
    for seed in seeds:
        split = split_dataset(dataset, "random", seed=seed, valid=0.2, test=0.2)
        reviews = training_reviews(dataset, split, encoder)
        models, chosen = fit_arms(split, reviews, seed, regs=regs, **SMALL_LOOP)
        regs = regs or chosen
        models = {"MostPop": make_model("mostpop", split), **models}
        counts = training_reviews(dataset, split, "tfidf_svd")
        models["EGCF, word counts"] = fit_arms(split, counts, seed, arms=("EGCF",), regs=regs, **SMALL_LOOP)[0]["EGCF"]
        words = profile_scores(reviews, split.n_users, split.n_items)
        wrong_split, wrong_reviews = leaky(split, dataset, encoder)
        models["words alone"] = words
        models["words alone, leaked"] = profile_scores(wrong_reviews, split.n_users, split.n_items)
        leaked = make_arm("EGCF", wrong_split, wrong_reviews, seed, reg=regs["EGCF"])
        train(leaked, split, seed=seed, progress=False, **SMALL_LOOP)
        models["EGCF, leaked"] = leaked
        for arm, model in models.items():
            report = evaluate(model, split, top_k=(10, 20), metrics=metrics)
            reports.setdefault(arm, []).append(report)
            for metric in ("recall@10", "recall@20", "ndcg@10"):
                rows.append({"seed": seed, "arm": arm, "metric": metric, "value": round(report[metric], 6)})
        gates += [{"seed": seed, **row} for row in _gates(models, dataset, split, reviews)]
        repeats.append(len(repeated_reviews(dataset, split)) / len(split.test))
        done = ", ".join(f"{arm} {reports[arm][-1]['recall@10']:.4f}" for arm in ARMS)
        tick(f"{dataset.name}, seed {seed}: {done}")
    tests = paired({arm: reports[arm] for arm in ARMS}, "recall@10")
    return {
        "counts": {
            "users": dataset.n_users,
            "items": dataset.n_items,
            "interactions": dataset.n_interactions,
            "with_review": round(float((dataset.interactions["review"] != "").mean()), 4),
            "test_users": len(reports["EGCF"][0].user_ids),
            "test_text_repeats_own_training_text": round(float(np.mean(repeats)), 4),
        },
        "regs": regs,
        "rows": rows,
        "tests": tests.reset_index().round(6).to_dict("records"),
        "gates": gates,
        "layers": _layers(dataset, seeds[:2], encoder, regs),
        "parameters": {arm: n_parameters(models[arm]) for arm in ARMS},
    }


def _gates(
    models: Mapping[str, Recommender], dataset: Dataset, split: Split, reviews: EdgeReviews
) -> list[dict[str, Any]]:
    """One row per arm with a gate: quantiles, how well it tells 5 stars from 1-2, and counts for a histogram."""
    ratings = edge_ratings(dataset, split.train)
    rows, high = star_groups(reviews, ratings)
    probe = probe_stars(reviews, ratings)
    found = []
    for arm in ("no words", "shuffled", "EGCF"):
        weights = learned_gates(models[arm])
        row = {"arm": arm, "probe": round(probe, 4), "low": int((~high).sum()), "high": int(high.sum())}
        row["stars"] = [round(separation(layer[rows], high), 4) for layer in weights]
        row["quantiles"] = np.quantile(weights, [0, 0.05, 0.5, 0.95, 1]).round(4).tolist()
        for name, group in (("low_counts", ~high), ("high_counts", high)):
            row[name] = np.histogram(weights[0][rows][group], BINS)[0].tolist()
        found.append(row)
    return found


def _layers(dataset: Dataset, seeds: Sequence[int], encoder: str, regs: Mapping[str, float]) -> list[dict[str, Any]]:
    rows = []
    for seed in seeds:
        split = split_dataset(dataset, "random", seed=seed, valid=0.2, test=0.2)
        reviews = training_reviews(dataset, split, encoder)
        for n_layers in (1, 2, 3, 4):
            arms, about = ("shuffled", "EGCF"), {"regs": regs, "n_layers": n_layers, **SMALL_LOOP}
            models, _ = fit_arms(split, reviews, seed, arms=arms, **about)
            for arm, model in models.items():
                value = evaluate(model, split, top_k=10, metrics=("recall",))["recall@10"]
                rows.append({"seed": seed, "arm": arm, "layers": n_layers, "recall@10": round(value, 6)})
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the head of this file. What is done already is kept, unless the number of seeds differs."""
    about = "EGCF beside its twins on files of Amazon reviews."
    return run_study(COMMAND, _run, arguments, about=about, seeds=5, json=RESULT, encoder="minilm")


def _run(options: Namespace) -> None:
    import torch

    torch.set_num_threads(1)
    command = command_text(COMMAND, options.dataset, options.seeds)
    about = {**meta(), "command": f"{command} --encoder {options.encoder}"}
    about |= {
        "regs": REGS,
        "lightgcn_regs": LIGHTGCN_REGS,
        "penalty": "one for all gated twins and one for LightGCN, chosen on validation with the first seed",
        "loop": SMALL_LOOP,
        "bins": BINS.round(4).tolist(),
        "k_user": 3,
    }
    result = ResultFile(options.json, {key: about[key] for key in ("command", "loop", "penalty")}, {"logs": {}})
    for file in FILES:
        raw = read_amazon_reviews(Path(options.dataset) / f"{file}.json.gz")
        for variant, dataset in variants(raw).items():
            name = f"{raw.name}, {variant}"
            if name in result.content["logs"]:
                continue
            start = time.process_time()
            found = study(dataset, options.seeds, options.encoder, tick=lambda text: print(text, flush=True))
            found["counts"] |= {"rows_in_file": raw.n_interactions, "fingerprint": dataset.fingerprint()[:16]}
            with result.update() as content:
                content["meta"] = about
                content["logs"][name] = {**found, "cpu_seconds": round(time.process_time() - start, 1)}
