"""Ablation of GRCN: Recall with and without its routing, and with only some of its parts.

python -m utils.lab study grcn_parts --dataset ../shared/data/tiktok --json data/results/grcn_parts.json

Each variant is trained anew with the same settings, from the same seed; only what its score is made of differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import torch
from tqdm.auto import tqdm

from utils.data import Split
from utils.errors import CourseError
from utils.evaluation.protocol import evaluate
from utils.features import Features
from utils.models import MODELS, TrainedRecommender
from utils.models.grcn import GRCN
from utils.stored import ResultFile, merge_rows, meta
from utils.stored.commands import run_study
from utils.studies.inputs import load
from utils.training import train


class ContentOnly(GRCN):
    """The content of all modalities, without the vectors of ids: (n, M d)."""

    def parts(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return super().parts()[1:]


class IdsOnly(GRCN):
    """The vectors of ids on the graph that content refines; content itself leaves the score: (n, d)."""

    def parts(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return super().parts()[:1]


class EqualEdges(GRCN):
    """The vectors of ids on a graph whose edges weigh alike, the mean over the neighbours: content takes no part."""

    def parts(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        zeros = torch.zeros_like(self.edges.row, dtype=torch.float32)
        return [self.walk(self.edges.softmax(zeros), self.edges.softmax(zeros, turned=True))]


PAPER = {"n_routings": 3}
VARIANTS: dict[str, tuple[type[TrainedRecommender], dict[str, Any]]] = {
    "GRCN as released, no routing": (GRCN, {}),
    "GRCN, three routings": (GRCN, PAPER),
    "content only": (ContentOnly, {}),
    "content only, three routings": (ContentOnly, PAPER),
    "ids on the refined graph": (IdsOnly, {}),
    "ids, all edges equal": (EqualEdges, {}),
    "LightGCN": (MODELS["lightgcn"], {}),
}


def judge(variant: str, split: Split, features: dict[str, Features], seed: int) -> dict[str, Any]:
    """Train one variant: its Recall@20 on the validation and the test part, and the best epoch."""
    kind, settings = VARIANTS[variant]
    model = kind(split, features if kind.uses_features else None, seed=seed, **settings)
    history = train(model, split, seed=seed)
    row = {"variant": variant, "seed": seed, "best_epoch": history.best_epoch}
    parts = {part: evaluate(model, split, part, 20, ("recall",)).mean()["recall@20"] for part in ("valid", "test")}
    return row | {part: round(float(value), 5) for part, value in parts.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    words = list(sys.argv[1:] if arguments is None else arguments)

    def study(options: argparse.Namespace) -> None:
        split, features = load(options.dataset, None, None)[1:3]
        if not features:
            raise CourseError(f"{options.dataset} has no features, and GRCN weighs edges by content; give it some.")
        about = meta() | {
            "command": f"python -m utils.lab study grcn_parts {' '.join(words)}",
            "dataset": options.dataset,
        }
        file = ResultFile(options.json, {"dataset": options.dataset}, {"rows": []})
        for seed in options.seeds:
            for variant in tqdm(VARIANTS, desc=f"seed {seed}"):
                row = judge(variant, split, features, seed)
                with file.update() as content:
                    content["meta"] = about
                    content["rows"] = merge_rows(content["rows"], [row], ("variant", "seed"))

    purpose = __doc__.splitlines()[0]
    return run_study("utils.lab study grcn_parts", study, words, about=purpose, dataset="sticker_shop", seeds="0")
