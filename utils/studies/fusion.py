"""One recommender under every fusion, same settings, same split; for notebook 04.

python -m utils.lab study fusion FOLDER --seeds 3     (writes data/results/fusion_movielens.json)
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from utils.data import Split
from utils.evaluation.ranking import Scorer
from utils.features import Features
from utils.fusion import FUSIONS, late_fusion
from utils.models import Recommender, TrainedRecommender
from utils.models.base import content
from utils.stored import RESULTS, ResultFile, meta
from utils.stored.commands import run_study, seeds_text
from utils.training.loop import fit

RESULT = RESULTS / "fusion_movielens.json"
# The same for every fusion, chosen on neither of them: a higher rate and fewer checks than the recommended settings, to
# keep a run short.
SETTINGS = {"lr": 1e-2, "eval_every": 2, "patience": 4}
REGS = (0.03, 0.1)  # the penalties that every model may try
WIDE = "sum, wide"  # the control of concat: a sum whose users have as many numbers
CONTROLS = ("no content", "no content, late", "shuffled, concat", WIDE)


def joint_features(features: Mapping[str, Features], normalise: str = "centred") -> dict[str, Features]:
    """Put the modalities side by side as one input, (n_items, sum of dims): mu joint, for a model with one projection.

    The result stands in the slot of the first modality, because a model knows modalities by name; an item is present
    when it has any of them.
    """
    first = next(iter(features.values()))
    parts = [content(feature, normalise)[0].numpy() for feature in features.values()]
    mask = np.any([feature.mask for feature in features.values()], axis=0)
    joint = type(first)(first.modality, np.concatenate(parts, axis=1), first.item_names, mask, {"encoder": "joint"})
    return {first.modality: joint}


def without(model: TrainedRecommender, modality: str) -> TrainedRecommender:
    """Return a copy of a trained model to which no item has ``modality``; its weights stay as they were learned."""
    blind = copy.deepcopy(model)
    blind.mask(modality).fill_(False)
    return blind.eval()


def late(models: Sequence[Recommender], weights: Sequence[float] | None = None) -> Callable[[Any], torch.Tensor]:
    """Return a scorer that fuses the z-scored scores of several models: user_ids -> (len(user_ids), n_items)."""
    return lambda user_ids: late_fusion([model.score(user_ids) for model in models], weights)


def fit_fusions(
    split: Split,
    features: Mapping[str, Features],
    seed: int = 0,
    *,
    regs: Sequence[float] | Mapping[str, float] = REGS,
    tick: Callable[[str], None] | None = None,
    **settings: Any,
) -> dict[str, Scorer]:
    """Train VBPR once for each fusion, once for each modality alone, and the controls, all with the same budget.

    Args:
        split, features: as for ``utils.training.fit``.
        seed: of weights and batches.
        regs: penalties to try for every model, the best on validation is kept; or the penalty of each model by name, as
            ``chosen_regs`` gives it (so that only the first seed pays for the search).
        tick: called with the name of each model before it is trained.
        settings: for every model, over ``SETTINGS``; for example ``n_epochs``.

    Returns:
        name -> model or scorer. "NAME" of a fusion; "joint"; "late" (one model per modality, z-scores added); a modality
        = that modality alone. Controls: "no content" (BPR), "no content, late" (as many BPR models as there are
        modalities, fused late), "shuffled, concat" (right vectors, wrong items), "sum, wide".
    """
    # about eight batches an epoch, also on a larger log: the same number of steps for every dataset
    settings = {**SETTINGS, "batch_size": max(1024, len(split.train) // 8), **settings}

    def train(label: str, name: str, used: Mapping[str, Features], at: int = seed, **more: Any) -> Recommender:
        if tick:
            tick(label)
        tries = [regs[label]] if isinstance(regs, Mapping) else regs
        pairs = [fit(name, split, used, seed=at, reg=reg, **settings, **more) for reg in tries]
        return max(pairs, key=lambda pair: pair[1].best_value)[0]  # the first of equals

    found = {name: train(name, "vbpr", features, fusion=name) for name in FUSIONS}
    found["joint"] = train("joint", "vbpr", joint_features(features), normalise="none")
    single = {name: train(name, "vbpr", {name: feature}) for name, feature in features.items()}
    plain = [train("no content", "bpr", {}, seed + 1000 * k) for k in range(len(features))]
    wrong = {name: feature.shuffled(seed) for name, feature in features.items()}
    # concat gives a user 1 + M blocks of numbers, a sum gives two
    dim = found["concat"].settings["dim"] * (1 + len(features)) // 2
    return {
        **found,
        "late": late(list(single.values())),
        **single,
        "no content": plain[0],
        "no content, late": late(plain),
        "shuffled, concat": train("shuffled, concat", "vbpr", wrong, fusion="concat"),
        WIDE: train(WIDE, "vbpr", features, fusion="sum", dim=dim),
    }


def chosen_regs(fitted: Mapping[str, Scorer]) -> dict[str, float]:
    """Return the penalty that validation chose for each trained model of ``fit_fusions``."""
    return {name: model.settings["reg"] for name, model in fitted.items() if hasattr(model, "settings")}


def lead(recalls: pd.DataFrame, names: Iterable[str]) -> dict[str, Any]:
    """Compare the best of ``names`` with the second best over seeds.

    Args:
        recalls: index = seed, columns = names, values = a metric on the validation part.

    Returns:
        best, second (names), lead (difference of the means), spread (standard deviation over the seeds of that
        difference, seed by seed; 0 with one seed).
    """
    means = recalls[list(names)].mean().sort_values(ascending=False, kind="stable")
    best, second = means.index[:2]
    gap = recalls[best] - recalls[second]
    spread = float(gap.std(ddof=1)) if len(gap) > 1 else 0.0
    return {"best": str(best), "second": str(second), "lead": float(gap.mean()), "spread": spread}


def fused_names(names: Iterable[str], modalities: Iterable[str]) -> list[str]:
    """Return the names that are ways to fuse: neither a control nor a modality alone."""
    return [name for name in names if name not in (*CONTROLS, *modalities)]


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the head of this file."""
    about = "Every fusion on a dataset."
    return run_study("utils.lab study fusion", _study, arguments, about=about, seeds=3, json=RESULT, epochs=60)


def _study(options: argparse.Namespace) -> None:
    from utils.data import load_dataset, split_dataset
    from utils.evaluation.protocol import evaluate
    from utils.features import load_features

    dataset = load_dataset(options.dataset)
    features = load_features(dataset, dataset.modalities)
    key = {"dataset": dataset.name, "fingerprint": dataset.fingerprint()}
    file, rows, regs = ResultFile(options.json, key, {"rows": []}), [], REGS
    for seed in options.seeds:
        split = split_dataset(dataset, "random", seed=seed)
        fitted = fit_fusions(split, features, seed, regs=regs, n_epochs=options.epochs, tick=print)
        regs = chosen_regs(fitted)
        for name, model in fitted.items():
            for part in ("valid", "test"):
                value = evaluate(model, split, part=part, metrics=("recall",))["recall@20"]
                rows.append(
                    {"model": name, "seed": seed, "part": part, "metric": "recall@20", "value": round(value, 6)}
                )
    command = ["python -m utils.lab study fusion", Path(options.dataset).name, f"--seeds {seeds_text(options.seeds)}"]
    about = {**meta(), "command": " ".join(command), **key}
    about |= {
        "settings": {**SETTINGS, "n_epochs": options.epochs, "regs": list(REGS)},
        "chosen_regs": regs,
        "modalities": list(features),
    }
    about["encoders"] = {name: str(feature.provenance.get("encoder", "")) for name, feature in features.items()}
    with file.update() as stored:
        stored |= {"meta": about, "rows": rows}  # one search, one set of rows: seeds of other searches are no spread
