"""Study of feature extractors (2.3): every visual recommender on every extractor, at the same width.

python -m utils.lab study feature_extractors FOLDER --seeds 3   (writes data/results/feature_extractors_movielens.json)
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from utils.challenges.patches import GRID, patch_features
from utils.challenges.visual_diversity import distance_to_history, reference_space
from utils.data import Dataset, Split
from utils.errors import CourseError, suggest
from utils.evaluation.protocol import evaluate, evaluate_cold
from utils.features import Features, extract
from utils.models import MODELS, Recommender, TrainedRecommender
from utils.models.acf import ACF
from utils.models.dvbpr import DVBPR
from utils.models.vnpr import VNPR
from utils.stored import RESULTS, ResultFile, merge_rows, meta, rounded
from utils.stored.commands import command_text, run_study
from utils.training import train

COMMAND = "utils.lab study feature_extractors"
RESULT = RESULTS / "feature_extractors_movielens.json"
WIDTH = 64
VISUAL = ("efficientnet_lite0", "random_cnn", "colour_histogram", "pixels")
TEXT, SHUFFLED = "minilm (text)", "shuffled"
CLASSES = {"bpr": MODELS["bpr"], "vbpr": MODELS["vbpr"], "deepstyle": MODELS["deepstyle"], "acf": ACF, "vnpr": VNPR}
# One budget for all, not searched cell by cell: a higher rate and fewer checks than the recommended settings. The
# penalties of ACF and VNPR are the best of a few on validation (one extractor, one seed).
LOOP = {"eval_every": 2, "patience": 4, "n_epochs": 120}
SETTINGS = {
    "bpr": {"lr": 1e-2},
    "vbpr": {"lr": 1e-2},
    "deepstyle": {"lr": 1e-2},
    "acf": {"lr": 1e-2, "reg": 0.1},
    "vnpr": {"lr": 5e-3, "reg": 3e-2},
}
METRICS = ("recall", "ndcg", "coverage", "aplt", "arp")


def spaces(dataset: Dataset, width: int = WIDTH) -> dict[str, Features]:
    """Extract what is to be compared, every matrix whitened to the same width: name -> Features.

    Four visual extractors; the text encoder as a stranger (where the items have text); the first one shuffled.
    """
    found = {name: extract(dataset, "visual", name, progress=False).whitened(width) for name in VISUAL}
    if any(dataset.texts()):
        found[TEXT] = extract(dataset, "textual", "minilm", progress=False).whitened(width)
    found[SHUFFLED] = found[VISUAL[0]].shuffled(0)
    return found


def part_spaces(dataset: Dataset, whole: Mapping[str, Features], width: int = WIDTH) -> dict[str, Features]:
    """Return the feature matrices of ``spaces`` for ACF: patch vectors of each picture; a text stays whole (one patch)."""
    found = {name: patch_features(dataset, name, width) for name in VISUAL}
    found |= {name: whole[name] for name in (TEXT,) if name in whole}
    return {**found, SHUFFLED: found[VISUAL[0]].shuffled(0)}


def fit_on(
    recommender: str, split: Split, features: Features | None, seed: int = 0, categories: Any = None, **settings: Any
) -> TrainedRecommender:
    """Train one recommender of ``CLASSES`` on one feature matrix, with the study's budget.

    Args:
        features: for "acf" the patch vectors of ``part_spaces``; None for "bpr".
        categories: (n_items,) labels, used by "deepstyle" only.
        settings: over ``SETTINGS`` and ``LOOP``.
    """
    if recommender not in CLASSES:
        raise suggest(recommender, CLASSES, "recommender of this study")
    settings = {**LOOP, **SETTINGS[recommender], **settings}
    loop = {k: settings.pop(k) for k in ("lr", "n_epochs", "eval_every", "patience", "batch_size") if k in settings}
    # about as many batches an epoch on a larger log, so that every dataset gets the same number of steps
    loop.setdefault("batch_size", max(1024, len(split.train) // 8))
    if recommender == "deepstyle":
        settings["categories"] = categories
    if recommender == "acf" and features.modality == "visual":
        settings.setdefault("parts", GRID * GRID)
    model = CLASSES[recommender](split, {features.modality: features} if features else None, seed=seed, **settings)
    train(model, split, seed=seed, progress=False, **loop)
    return model


def judge(model: Recommender, split: Split, reference: Features | None = None, top_k: int = 20) -> dict[str, float]:
    """Return accuracy on warm items, the cold shelf, coverage, popularity and, with ``reference``, visual diversity.

    "shelf" = Recall among cold items only; "distance" = D_u, mean over users; "ild" = mean distance within a list.
    """
    warm = np.unique(split.train[:, 1])
    extra = {} if reference is None else {"features": {"visual": reference}}
    names = [*METRICS, *(["ild_visual"] if extra else [])]
    report = evaluate(model, split, top_k=top_k, metrics=names, targets=warm, **extra)
    found = {name.split("@")[0]: float(value) for name, value in report.mean().items()}
    if reference is not None:
        found["ild"] = found.pop("ild_visual")
        found["distance"] = float(np.nanmean(distance_to_history(report.lists, report.user_ids, split, reference)))
    if len(split.cold_items):
        among = evaluate_cold(model, split, top_k=top_k, metrics=("recall",)).among
        found["shelf"] = among[f"recall@{top_k}"]
    return found


def grid(
    split: Split,
    whole: Mapping[str, Features],
    parts: Mapping[str, Features],
    *,
    categories: Any = None,
    reference: Features | None = None,
    recommenders: Sequence[str] = tuple(CLASSES),
    seeds: Iterable[int] = (0,),
    known: Sequence[Mapping[str, Any]] = (),
    tick: Callable[[str, list[dict]], None] | None = None,
    **settings: Any,
) -> tuple[pd.DataFrame, dict[tuple[str, str, int], TrainedRecommender]]:
    """Train every recommender on every extractor and seed ("bpr" once a seed, extractor "none").

    Args:
        known: rows of an earlier, interrupted call; their cells are not trained again.
        tick: called after each cell with its name and all rows so far.

    Returns:
        A table with recommender, extractor, seed and what ``judge`` says; and the models by these three.
    """
    rows, models = [dict(row) for row in known], {}
    done = {(row["recommender"], row["extractor"], row["seed"]) for row in rows}
    for seed in seeds:
        for recommender in recommenders:
            own = {"none": None} if recommender == "bpr" else parts if recommender == "acf" else whole
            for extractor, features in own.items():
                key = (recommender, extractor, int(seed))
                if key in done:
                    continue
                model = models[key] = fit_on(recommender, split, features, seed, categories, **settings)
                rows.append({**dict(zip(("recommender", "extractor", "seed"), key)), **judge(model, split, reference)})
                if tick:
                    tick(" ".join(map(str, key)), rows)
    return pd.DataFrame(rows), models


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep a full table of a stored study that may still be growing.

    Recommenders that have every extractor of the first seed, and of the later seeds those that all of these have.
    """
    content = frame[frame["extractor"] != "none"]
    if content.empty:
        return frame
    counts = content.groupby(["recommender", "seed"])["recall"].size().unstack(fill_value=0)
    n_extractors = content["extractor"].nunique()
    kept = counts.index[counts.iloc[:, 0] == n_extractors]
    seeds = counts.columns[(counts.loc[kept] == n_extractors).all()]
    named = frame["recommender"].isin(kept) | (frame["extractor"] == "none")
    return frame[named & frame["seed"].isin(seeds)].reset_index(drop=True)


def end_to_end(
    split: Split,
    pictures: Features,
    frozen: Mapping[str, Features],
    *,
    seeds: Iterable[int] = (0,),
    reference: Features | None = None,
    known: Sequence[Mapping[str, Any]] = (),
    tick: Callable[[str, list[dict]], None] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """The purely visual recommender: trained to the pixels, frozen at random, and on frozen features; rows of judge.

    The control "end to end, wrong pictures" trains on shuffled pictures: where it does as well, pictures serve as ids.

    Args:
        known, tick: as in ``grid``.
    """
    ways = {"end to end": (pictures, {}), "end to end, wrong pictures": (pictures.shuffled(0), {})}
    ways |= {"frozen at random": (pictures, {"trained": "head"})}
    ways |= {name: (features, {"network": "linear"}) for name, features in frozen.items()}
    loop = {"n_epochs": 60, "eval_every": 4, "patience": 8, "batch_size": max(1024, len(split.train) // 8)}
    loop |= settings
    rows = [dict(row) for row in known]
    done = {(row["model"], row["seed"]) for row in rows}
    for seed in seeds:
        for name, (features, more) in ways.items():
            if (name, int(seed)) in done:
                continue
            model = DVBPR(split, {features.modality: features}, seed=seed, **more)
            train(model, split, seed=seed, progress=False, lr=model.settings["lr"], **loop)
            rows.append({"model": name, "seed": int(seed), **judge(model, split, reference)})
            if tick:
                tick(f"{name} {seed}", rows)
    order = {name: at for at, name in enumerate(ways)}
    return pd.DataFrame(sorted(rows, key=lambda row: (row["seed"], order.get(row["model"], len(order)))))


def spreads(frame: pd.DataFrame, metric: str = "recall") -> dict[str, float]:
    """How far the choice of a recommender, of an extractor, and of a seed moves ``metric``.

    Args:
        frame: rows of ``grid``; every recommender with every extractor.

    Returns:
        recommender: range (largest minus smallest) of the recommenders' means over extractors; extractor: the mean over
        recommenders of the range of its extractors' means; seed: the mean standard deviation over seeds of a cell.
    """
    cells = frame.pivot_table(index="recommender", columns="extractor", values=metric, aggfunc="mean")
    if cells.isna().any(axis=None):
        raise CourseError("The table has a recommender without one of the extractors; leave out those that lack one.")
    by_seed = frame.groupby(["recommender", "extractor"])[metric].std(ddof=1)
    means = cells.mean(axis=1)
    return {
        "recommender": float(means.max() - means.min()),
        "extractor": float((cells.max(axis=1) - cells.min(axis=1)).mean()),
        "seed": float(by_seed.mean()) if by_seed.notna().any() else 0.0,
    }


def variance_shares(frame: pd.DataFrame, metric: str = "recall") -> pd.Series:
    """Split the variance of a full table into shares that add up to 1: recommender, extractor, both together, seed.

    Sums of squares of a balanced two-way table with seeds as repetitions.
    """
    values = frame[metric].to_numpy(dtype=float)
    total = values.mean()

    def fitted(by: list[str]) -> np.ndarray:
        return frame.groupby(by)[metric].transform("mean").to_numpy()

    main = {name: fitted([name]) - total for name in ("recommender", "extractor")}
    cell = fitted(["recommender", "extractor"])
    parts = {**main, "both together": cell - total - sum(main.values()), "seed": values - cell}
    squares = pd.Series({name: float(np.square(part).sum()) for name, part in parts.items()})
    return squares / squares.sum()


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the head of this file. An interrupted run goes on from its file."""
    about = "Visual recommenders on extractors of different nature."
    return run_study(COMMAND, _study, arguments, about=about, seeds=3, json=RESULT)


def _study(options: Namespace) -> None:
    from utils.data import load_dataset, split_dataset

    dataset = load_dataset(options.dataset)
    split = split_dataset(dataset, "cold_items", seed=0, warm=True)
    command = command_text(COMMAND, options.dataset, options.seeds)
    key = {"dataset": dataset.name, "fingerprint": dataset.fingerprint()}
    about = {**meta(), "command": command, **key}
    about |= {
        "split": "cold_items, seed 0, warm=True",
        "cold_items": len(split.cold_items),
        "width": WIDTH,
        "settings": {**LOOP, **SETTINGS},
    }
    file = ResultFile(options.json, key, {"rows": [], "end_to_end": []})
    whole, reference = spaces(dataset), reference_space(dataset)
    common = {"reference": reference, "seeds": options.seeds}
    categories = dataset.items["category"].to_numpy()
    cell, way = ("recommender", "extractor", "seed"), ("model", "seed")

    def save(part: str, key: Sequence[str]) -> Callable[[str, list[dict]], None]:
        def tick(name: str, rows: list[dict]) -> None:
            with file.update() as content:
                content["rows"] = still_valid(content)
                content[part] = merge_rows(content[part], [rounded(rows[-1])], key)
                content["meta"] = about
            print(name, flush=True)

        return tick

    def cells(names: Sequence[str], parts: Mapping[str, Features]) -> None:
        grid(split, whole, parts, categories=categories, recommenders=names, known=still_valid(file.content),
             tick=save("rows", cell), **common)  # fmt: skip

    cells(("bpr", "vbpr", "deepstyle"), {})  # what is quick first
    pictures = extract(dataset, "visual", "pixels", progress=False, size=32)
    frozen = {name: whole[name] for name in VISUAL}
    known = file.content["end_to_end"]
    found = end_to_end(split, pictures, frozen, known=known, tick=save("end_to_end", way), **common)
    with file.update() as content:
        content["rows"], content["meta"] = still_valid(content), about
        ordered = [rounded(row) for row in found.to_dict("records")]  # in the order of the controls
        content["end_to_end"] = merge_rows(ordered, content["end_to_end"], way)
    n_acf = sum(row["recommender"] == "acf" for row in file.content["rows"])
    cells(("acf",), part_spaces(dataset, whole) if n_acf < len(options.seeds) * len(whole) else {})
    cells(("vnpr",), {})


def still_valid(stored: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stored rows that were made with today's settings of their recommender; the others are made anew."""
    before = stored.get("meta", {}).get("settings", {})
    same_loop = all(before.get(key) == value for key, value in LOOP.items())
    kept = [name for name in SETTINGS if same_loop and before.get(name) == SETTINGS[name]]
    return [row for row in stored.get("rows", []) if row["recommender"] in kept]
