"""Study of whether audio features help: the ladder's audio rows, on the items that have a sound.

``python -m utils.lab study ladder_sound --json data/results/sticker_shop_sound.json`` (after the ladder, whose settings it takes)

One item in five sounds, so that a Recall over all items mostly counts choices that no sound can explain. Here only the
sounding items count as right (all items compete), with and without the audio features and with their two controls.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from utils.data.split import split_dataset
from utils.features import Features
from utils.stored import ResultFile, meta
from utils.studies.ladder import compare, content, draw, only_has_sound

MODELS = ("freedom", "vbpr", "itemknn_multimodal")
WITHOUT, ALL = "without audio", "all"


def variants(features: Mapping[str, Features]) -> dict[str, dict]:
    """Row name -> features: everything, no audio, the has-sound indicator, sounds dealt out anew.

    A model that centres its features loses the indicator, which is constant: the row then equals "without audio".
    """
    rest = {m: f for m, f in features.items() if m != "audio"}
    audio = features["audio"]
    return {
        ALL: dict(features),
        WITHOUT: rest,
        "has-sound for audio": rest | {"audio": only_has_sound(audio)},
        "audio shuffled": rest | {"audio": audio.shuffled(1)},
    }


def run(ladder: Path, out: Path, command: list[str], models: tuple[str, ...] = MODELS) -> dict[str, Any]:
    """Fill the rows for all draws of the ladder and write ``out`` after each draw; returns its content."""
    from utils.evaluation.protocol import evaluate
    from utils.features.prepared_features import load_features
    from utils.training.loop import fit

    tuned = json.loads(ladder.read_text(encoding="utf-8"))
    raw, hidden = content()
    start, rows = time.perf_counter(), {}
    seeds = sorted(int(seed) for seed in tuned["facts"])
    for seed in tqdm(seeds, desc="draws"):
        dataset, _ = draw(raw, hidden, seed)
        split = split_dataset(dataset, "random", seed=seed)
        features = load_features(dataset)
        sounding = np.flatnonzero(features["audio"].mask)
        for name in models:
            settings = tuned["rows"][name][str(seed)]["settings"]
            for variant, given in variants(features).items():
                model, _ = fit(name, split, given, seed=0, **settings)
                report = evaluate(model, split, top_k=20, metrics=("recall",), targets=sounding)
                rows.setdefault(f"{name} {variant}", {})[seed] = {
                    "test": {"recall@20": round(float(report.mean()["recall@20"]), 6)},
                    "per_user": [round(float(v), 4) for v in report.per_user["recall@20"]],
                }
    pairs = [(f"{name} {ALL}", f"{name} {other}") for name in models for other in list(variants(features))[1:]]
    about = meta() | {"command": " ".join(["python -m utils.lab study ladder_sound", *command])}
    with ResultFile(out).update() as result:
        result |= {
            "meta": about | {"shop": tuned["meta"]["shop"], "seconds": round(time.perf_counter() - start, 1)},
            "means": {
                n: round(float(np.mean([r["test"]["recall@20"] for r in by.values()])), 5) for n, by in rows.items()
            },
            "differences": [compare(rows, left, right) for left, right in pairs],
            "n_users": int(sum(len(r["per_user"]) for r in rows[f"{models[0]} {ALL}"].values())),
        }
    return result


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m utils.lab study ladder_sound", description=__doc__.splitlines()[0])
    parser.add_argument("--ladder", type=Path, default=Path("data/results/sticker_shop_ladder.json"))
    parser.add_argument("--json", "--out", type=Path, required=True)
    options = parser.parse_args(given)
    torch.set_num_threads(1)
    for row in run(options.ladder, options.json, given)["differences"]:
        print(row)
