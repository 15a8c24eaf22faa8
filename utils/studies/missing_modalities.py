"""Study of missing modalities (2.1): what imputation gains in reconstruction and recommendation, against dropping items.

python -m utils.lab study missing_modalities data/downloads/movielens --seeds 3
(about 10 CPU minutes; resumes; writes data/results/missing_modalities_movielens.json)
"""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from utils.challenges.imputation import IMPUTERS, co_taken_graph, homophily, impute, observed_mean
from utils.data import Split
from utils.errors import CourseError
from utils.evaluation.ranking import Scorer
from utils.features import Features
from utils.models import Recommender
from utils.stored import RESULTS, ResultFile, merge_rows, meta, rounded
from utils.stored.commands import command_text, run_study

COMMAND = "utils.lab study missing_modalities"
RESULT = RESULTS / "missing_modalities_movielens.json"
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
NOT_IMPUTED = "left out"  # the items stay, and the model is told that their vector is missing


def hide(feature: Features, share: float, seed: int = 0) -> tuple[Features, np.ndarray]:
    """Hide the modality of a share of the items that have it, drawn uniformly.

    Returns:
        (Features without them, hidden): hidden is (n_items,) bool; at least one item is hidden and three stay.
    """
    present = np.flatnonzero(feature.mask)
    n_hidden = int(round(share * len(present)))
    if not 1 <= n_hidden <= len(present) - 3:
        raise CourseError(
            f"share = {share} of {len(present)} items hides {n_hidden}; choose one that hides some and leaves at least 3."
        )
    hidden = np.zeros(feature.n_items, dtype=bool)
    hidden[np.random.default_rng(seed).permutation(present)[:n_hidden]] = True
    mask = feature.mask & ~hidden
    return replace(feature, mask=mask, matrix=feature.matrix * mask[:, None]), hidden


def reconstruction(truth: np.ndarray, filled: np.ndarray, hidden: np.ndarray) -> dict[str, float]:
    """Compare filled rows with the hidden truth.

    Both are centred by the mean of the hidden true rows. (Centred by a mean of observed or of all rows, a filling that
    gives every item the same vector would have a cosine other than 0, for no reason but the draw.)

    Args:
        truth, filled: (n_items, dim); hidden: (n_items,) bool, the rows to compare.

    Returns:
        mse: squared error as a multiple of that of the hidden rows' own mean (1 = as good as the best constant, below 1
        = better); raw_mse: mean over rows and coordinates; cosine: mean cosine after centring, 0 = no information.
    """
    centre = truth[hidden].mean(0, dtype=np.float64)
    true, guess = truth[hidden] - centre, filled[hidden] - centre
    error, scale = ((guess - true) ** 2).mean(), (true**2).mean()
    lengths = np.linalg.norm(guess, axis=1) * np.linalg.norm(true, axis=1)
    cosines = (guess * true).sum(1) / np.where(lengths > 0, lengths, 1)
    return {"mse": float(error / scale), "raw_mse": float(error), "cosine": float(cosines.mean())}


def reconstruct(
    feature: Features,
    graph: sp.csr_matrix | Mapping[int, sp.csr_matrix],
    others: Mapping[str, Features],
    *,
    shares: Sequence[float] = SHARES,
    methods: Sequence[str] = tuple(IMPUTERS),
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """Hide, fill, compare: one row per seed, share and method with mse, raw_mse and cosine.

    Args:
        feature: complete or not; only what it has can be hidden.
        graph: one item graph, or a mapping seed -> graph.
    """
    rows = []
    for seed in seeds:
        links = graph[seed] if isinstance(graph, Mapping) else graph
        for share in shares:
            seen, hidden = hide(feature, share, seed)
            for method in methods:
                filled = impute(seen, method, links, others, seed).matrix
                found = reconstruction(feature.matrix, filled, hidden)
                rows.append({"seed": seed, "hidden": share, "method": method, **found})
    return pd.DataFrame(rows)


# ---- into a recommender ----


def for_model(filled: Features, seen: Features) -> Features:
    """Subtract the mean of the *observed* rows, and make rows that equal it exactly zero.

    A model that centres by itself would use the filled rows for its mean, and bring the rounding error of a row that
    equals the mean to length 1. Give the result to a model with normalise="l2".
    """
    mu = observed_mean(seen.matrix, seen.mask)
    centred = (filled.matrix - mu) * filled.mask[:, None]
    size = np.linalg.norm(centred, axis=1, keepdims=True)
    typical = size[seen.mask].mean()
    return replace(filled, matrix=np.where(size > 1e-4 * typical, centred, 0))


def prepared_input(
    seen: Features, method: str, graph: sp.csr_matrix, others: Mapping[str, Features], seed: int = 0
) -> Features:
    """Return what a model gets of one modality under ``method`` (an imputer, or NOT_IMPUTED)."""
    filled = seen if method == NOT_IMPUTED else impute(seen, method, graph, others, seed)
    return for_model(filled, seen)


def misplaced(feature: Features, seed: int = 0) -> Features:
    """Return the observed vectors with other owners, the control: what a graph carries without any content."""
    return feature.shuffled(seed)


# ---- dropped against imputed ----


def drop_items(split: Split, kept: np.ndarray) -> Split:
    """Return the split as it is when items without the modality are dropped: none of their interactions is left.

    Ids stay as they are, so that both ways can be judged on the same test. Args: kept: (n_items,) bool.
    """
    kept = np.asarray(kept, dtype=bool)
    parts = {name: getattr(split, name)[kept[getattr(split, name)[:, 1]]] for name in ("train", "valid", "test")}
    if not len(parts["train"]):
        raise CourseError("Dropping these items leaves no training interaction; keep more of them.")
    warm = np.bincount(parts["train"][:, 1], minlength=split.n_items) > 0
    return replace(split, **parts, cold_items=np.flatnonzero(~warm), strategy=f"{split.strategy}, items dropped")


def dropped_scores(model: Recommender, dropped: Split, kept: np.ndarray) -> np.ndarray:
    """Return the scores of a model trained without the dropped items: they can never be recommended (-inf).

    A user who lost the whole history gets the most popular of what is left. Shape (n_users, n_items).
    """
    scores = np.asarray(model.score(np.arange(dropped.n_users))).astype(np.float32)
    popularity = np.bincount(dropped.train[:, 1], minlength=dropped.n_items).astype(np.float32)
    stranger = np.bincount(dropped.train[:, 0], minlength=dropped.n_users) == 0
    scores[stranger] = popularity
    scores[:, ~np.asarray(kept, dtype=bool)] = -np.inf
    return scores


def both_tests(scorer: Scorer, split: Split, kept: np.ndarray, top_k: int = 20) -> dict[str, float]:
    """Judge one scorer three times on the test part of the *whole* split.

    Returns recall: "kept" (kept items are relevant and compete: the test that a paper with dropped items reports), "all"
    (every item), "lost" (only the dropped items count, every item competes); and the share of the catalogue in the lists.
    """
    from utils.evaluation.protocol import evaluate

    kept, name = np.asarray(kept, dtype=bool), f"recall@{top_k}"
    options = {"top_k": top_k, "metrics": ("recall", "coverage")}
    everything = evaluate(scorer, split, **options)
    return {
        "kept": evaluate(scorer, split, candidates=np.flatnonzero(kept), **options)[name],
        "all": everything[name],
        "lost": evaluate(scorer, split, targets=np.flatnonzero(~kept), **options)[name],
        "coverage": everything[f"coverage@{top_k}"],
    }


def exposure(lists: np.ndarray, group: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Compare how often a group of items is shown with how often it is wanted.

    Args:
        lists: (n_users, K) item_ids, -1 = empty; group: (n_items,) bool; test: (n, 2) rows (user_id, item_id).

    Returns:
        shown: share of the places that the group gets; wanted: its share of the test interactions; ratio: shown / wanted.
    """
    shown = float(np.asarray(group)[lists[lists >= 0]].mean())
    wanted = float(np.asarray(group)[np.asarray(test)[:, 1]].mean())
    return {"shown": shown, "wanted": wanted, "ratio": shown / wanted if wanted else float("nan")}


def fit_content(name: str, split: Split, content: Features | None, seed: int = 0, **settings: Any) -> Recommender:
    """Fit ``name`` on one prepared modality and return it; ``content`` None gives BPR, the model without content."""
    from utils.models import MODELS
    from utils.training.loop import LOOP, fit

    if content is None:
        return fit("bpr", split, None, seed=seed, **settings)[0]
    loop = (*LOOP, *MODELS[name].DEFAULTS)
    settings = {"normalise": "l2", **{key: value for key, value in settings.items() if key in loop}}
    return fit(name, split, {content.modality: content}, seed=seed, **settings)[0]


def downstream(
    name: str,
    split: Split,
    feature: Features,
    graph: sp.csr_matrix,
    others: Mapping[str, Features],
    *,
    share: float,
    methods: Sequence[str],
    controls: Sequence[str] = (),
    seed: int = 0,
    top_k: int = 20,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Hide a share of one modality, fill it in each way, fit ``name`` on that modality alone, judge on the test part.

    Args:
        methods: names of ``IMPUTERS``, or NOT_IMPUTED.
        controls: those of them to repeat with vectors that belong to other items ("misplaced"): what stays is the graph's.
        settings: of the model and the loop.

    Returns:
        One row per method and owner: recall (all test items), recall_hidden (only items whose vector was hidden count).
    """
    from utils.evaluation.protocol import evaluate

    seen, hidden = hide(feature, share, seed)
    rows, options = [], {"top_k": top_k, "metrics": ("recall",)}
    for owner, names in (("own", methods), ("misplaced", controls)):
        source = seen if owner == "own" else misplaced(seen, seed)
        for method in names:
            model = fit_content(name, split, prepared_input(source, method, graph, others, seed), seed, **settings)
            found = {
                "recall": evaluate(model, split, **options)[f"recall@{top_k}"],
                "recall_hidden": evaluate(model, split, targets=np.flatnonzero(hidden), **options)[f"recall@{top_k}"],
            }
            about = {"model": name, "seed": seed, "hidden": share, "method": method, "vectors": owner}
            rows.append({**about, **found})
    return rows


def drop_or_impute(
    name: str,
    split: Split,
    seen: Features,
    graph: sp.csr_matrix,
    others: Mapping[str, Features],
    *,
    methods: Sequence[str],
    seed: int = 0,
    top_k: int = 20,
    **settings: Any,
) -> tuple[pd.DataFrame, dict[str, Scorer]]:
    """Train without the items that lack the modality, and with them, filled in each way; judge on the same tests.

    The controls are the two runs without any content ("BPR, dropped", "BPR, all kept"): they show what dropping costs
    when nothing is imputed at all. The dropped runs get smaller batches, so that an epoch has as many steps.

    Returns:
        (index = way, columns of ``both_tests``), and way -> scorer.
    """
    kept = np.asarray(seen.mask, dtype=bool)
    fewer, own = drop_items(split, kept), for_model(seen, seen)
    batch = int(settings.pop("batch_size", 1024))
    small = {**settings, "batch_size": max(1, round(batch * len(fewer.train) / len(split.train)))}
    settings = {**settings, "batch_size": batch}
    scorers: dict[str, Scorer] = {
        "BPR, dropped": dropped_scores(fit_content(name, fewer, None, seed, **small), fewer, kept),
        "BPR, all kept": fit_content(name, split, None, seed, **settings),
        f"{name}, dropped": dropped_scores(fit_content(name, fewer, own, seed, **small), fewer, kept),
    }
    for method in methods:
        content = prepared_input(seen, method, graph, others, seed)
        scorers[f"{name}, {method}"] = fit_content(name, split, content, seed, **settings)
    return pd.DataFrame({way: both_tests(scorer, split, kept, top_k) for way, scorer in scorers.items()}).T, scorers


def homophily_table(
    features: Mapping[str, Features], interactions: Any, sizes: Sequence[int], seed: int = 0
) -> pd.DataFrame:
    """Homophily of every modality for several numbers of neighbours, with the shuffled control: one row per size."""
    rows = {}
    for top_n in sizes:
        graph = co_taken_graph(interactions, top_n)
        rows[top_n] = {
            label: homophily(source.matrix, graph, source.mask)
            for name, feature in features.items()
            for label, source in ((name, feature), (f"{name}, shuffled", feature.shuffled(seed)))
        }
    return pd.DataFrame(rows).T.rename_axis("neighbours")


def indicator(feature: Features) -> Features:
    """Return a modality of one number that says only which items have it: the control where gaps are not by chance."""
    number = np.where(feature.mask, 1.0, -1.0)[:, None]
    return replace(feature, matrix=number, mask=np.ones(feature.n_items, dtype=bool), provenance={"encoder": "has it"})


def random_log(n_items: int, per_user: int = 8, seed: int = 0) -> sp.csr_matrix:
    """Make a log by chance, with popular items and as many users as a third of the items, to see what size costs."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(n_items // 3), per_user)
    items = (rng.random(len(users)) ** 1.5 * n_items).astype(np.int64)
    log = sp.csr_matrix((np.ones(len(users), dtype=np.float32), (users, items)), shape=(n_items // 3, n_items))
    log.data[:] = 1
    return log


def stored_result(path: Path = RESULT, share: float = 0.5) -> dict[str, Any]:
    """Read the stored study as tables of means over seeds: "homophily", "reconstruction", "knn", "drop"; and its origin.

    Raises:
        CourseError: there is no stored study.
    """
    if not path.is_file():
        raise CourseError(
            f"{path.name} is missing in data/results; the head of {Path(__file__).name} says how to make it."
        )
    stored = json.loads(path.read_text(encoding="utf-8"))
    keys = {"reconstruction": ["method", "modality"], "knn": ["method", "vectors"]}
    columns = {
        "mse": "squared error",
        "cosine": "centred cosine",
        "recall": "all items",
        "recall_hidden": "hidden items",
    }
    tables = {}
    for part in JOBS:
        rows = pd.DataFrame(stored.get(part, []))  # an interrupted study has no rows for its later parts
        if part in keys and len(rows):
            (index, across), values = keys[part], [name for name in columns if name in rows]
            rows = rows[rows["hidden"].isin((0.0, share))]
            tables[part] = rows.pivot_table(index=index, columns=across, values=values, sort=False)
        elif len(rows):
            first = "neighbours" if part == "homophily" else "way"
            tables[part] = rows.drop(columns="seed").groupby(first, sort=False).mean()
        else:
            tables[part] = rows
    about = {name: stored["meta"][name] for name in ("command", "commit", "seeds", "machine")}
    return {**about, **{name: table.rename(columns=columns) for name, table in tables.items()}}


# ---- on a dataset of one's own, by command ----

# about eight batches an epoch and few checks, as in the study of fusion: a trained run on a larger log stays short
SHORT = {"lr": 1e-2, "eval_every": 2, "patience": 6, "n_epochs": 60}
KNN_METHODS = (
    NOT_IMPUTED,
    "random",
    "mean",
    "neighbours_published",
    "neighbours",
    "multi_hop",
    "pagerank",
    "cross_modal",
)


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the head of this file."""
    about = "Imputing on a course folder whose items have pictures and texts."
    return run_study(COMMAND, _study, arguments, about=about, seeds=3, json=RESULT)


def _study(options: Namespace) -> None:
    from utils.data import load_dataset, split_dataset
    from utils.features import load_features

    dataset = load_dataset(options.dataset)
    features = load_features(dataset, [m for m in dataset.modalities if m != "audio"])
    if len(features) < 2:
        raise CourseError(f"{dataset.name} has {len(features)} of pictures and texts; this study needs both.")
    key = {"dataset": dataset.name, "fingerprint": dataset.fingerprint(), "settings": SHORT}
    file = ResultFile(options.json, key, {"done": {}})
    for part in JOBS:  # the cheap ones first, all seeds
        for seed in options.seeds:
            done = f"{part}, seed {seed}"
            if done in file.content["done"]:
                continue
            start = time.process_time()
            split = split_dataset(dataset, "random", seed=seed)
            graph = co_taken_graph(split.matrix(), 20)
            rows = [rounded(row, 5) for row in JOBS[part](seed, split, graph, features)]
            with file.update() as content:
                content[part] = merge_rows(content.get(part, []), rows, ("seed",))
                content["done"][done] = round(time.process_time() - start, 1)  # CPU seconds
                # the file keeps the seeds that it has
                seeds = sorted({*options.seeds, *(int(name.rpartition(" ")[2]) for name in content["done"])})
                command = command_text(COMMAND, options.dataset, seeds)
                content["meta"] = {**meta(), "command": command, **key, "seeds": len(seeds)}
            print(done, file.content["done"][done], "CPU seconds", flush=True)


def _homophily_rows(seed: int, split: Split, graph: sp.csr_matrix, features: Mapping[str, Features]) -> list[dict]:
    table = homophily_table(features, split.matrix(), (5, 10, 20, 50, 100), seed)
    return [{"seed": seed, "neighbours": n, **row} for n, row in table.to_dict("index").items()]


def _knn_rows(seed: int, split: Split, graph: sp.csr_matrix, features: Mapping[str, Features]) -> list[dict]:
    from utils.evaluation.protocol import evaluate

    options = {"methods": KNN_METHODS, "controls": ("neighbours", "multi_hop", "pagerank"), "seed": seed}
    name, text = "itemknn_content", features["textual"]
    rows = [row for p in FEW for row in downstream(name, split, text, graph, features, share=p, **options)]
    whole = evaluate(fit_content(name, split, for_model(text, text), seed), split, metrics=("recall",))["recall@20"]
    return [
        *rows,
        {"model": name, "seed": seed, "hidden": 0.0, "method": "complete", "vectors": "own", "recall": whole},
    ]


def _reconstruction_rows(seed: int, split: Split, graph: sp.csr_matrix, features: Mapping[str, Features]) -> list[dict]:
    found = []
    for name, feature in features.items():
        others = {other: f for other, f in features.items() if other != name}
        table = reconstruct(feature, graph, others, shares=FEW, seeds=(seed,))
        found += [{"modality": name, **row} for row in table.to_dict("records")]
    return found


def _drop_rows(seed: int, split: Split, graph: sp.csr_matrix, features: Mapping[str, Features]) -> list[dict]:
    short = {**SHORT, "batch_size": max(1024, len(split.train) // 8)}
    seen, _ = hide(features["textual"], 0.5, seed)
    methods = (NOT_IMPUTED, "multi_hop", "cross_modal")
    table, _ = drop_or_impute("vbpr", split, seen, graph, features, methods=methods, seed=seed, **short)
    return [{"seed": seed, "way": way, **row} for way, row in table.to_dict("index").items()]


FEW = (0.1, 0.5, 0.9)
JOBS = {"homophily": _homophily_rows, "knn": _knn_rows, "reconstruction": _reconstruction_rows, "drop": _drop_rows}
