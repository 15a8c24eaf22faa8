"""Study of settings that travel: closed forms with every setting of a grid, on several logs.

python -m utils.lab study closed_forms --dataset FOLDER --json data/results/closed_forms.json

A setting that is chosen on the validation part of one log can then be judged on the test part of another, so that no log
is in its own choice. Content stands beside the same content dealt out to other items. One seed; calls for several logs
fill one file; a row that is stored for the same input and code is not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from utils.data import Split
from utils.evaluation.protocol import evaluate
from utils.features import Features
from utils.models import MODELS
from utils.stored import ResultFile, meta
from utils.stored.commands import run_study
from utils.stored.sources import code_hash
from utils.studies.inputs import load

GRIDS: dict[str, dict[str, list[Any]]] = {
    "ease": {"reg": [0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0]},
    "ials": {"unobserved": [0.5, 1.0, 2.0, 4.0, 10.0], "reg": [0.01, 0.03, 0.1, 0.3]},
    "ials, reg by clicks": {"unobserved": [1.0, 2.0, 4.0], "reg_of_6_clicks": [0.03, 0.1, 0.3]},
}
WITH_CONTENT: dict[str, tuple[str, list[dict[str, Any]]]] = {  # model -> (the one without, what is tried on top of its best)
    "ease_content": ("ease", [{"weight": weight} for weight in (0.1, 0.3, 1.0, 3.0, 10.0)]),
    "ease_content, added": ("ease", [{"fusion": "added", "share": share} for share in (0.1, 0.3, 0.5)]),
    "ials_content": ("ials", [{"weight": weight} for weight in (0.03, 0.1, 0.3, 1.0)]),
}  # fmt: skip
OWN, SHUFFLED = "own", "shuffled"
KEY = ("dataset", "model", "content", "settings")


def grid(name: str) -> list[dict[str, Any]]:
    """All settings of a model's grid."""
    return [dict(zip(GRIDS[name], values)) for values in product(*GRIDS[name].values())]


def judge(
    name: str, split: Split, content: Mapping[str, Features], graphs: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, float]:
    """Solve once: Recall@20 on validation and on test."""
    kind = MODELS[name.partition(",")[0]]
    if "reg_of_6_clicks" in settings:  # the rule of ials.py: the penalty falls with the root of the clicks of a user
        settings = dict(settings)
        settings["reg"] = settings.pop("reg_of_6_clicks") * (6.25 * split.n_users / len(split.train)) ** 0.5
    more = {"item_graphs": dict(graphs)} if graphs and kind.uses_features else {}
    model = kind(split, content if kind.uses_features else None, seed=0, **settings, **more)
    means = {part: evaluate(model, split, part, 20, ("recall",)).mean()["recall@20"] for part in ("valid", "test")}
    return {part: round(float(value), 5) for part, value in means.items()}


def chosen(rows: Iterable[Mapping[str, Any]], dataset: str, model: str, content: str = OWN) -> Mapping[str, Any]:
    """The row of the best validation of one log; of equal ones the first."""
    own = [r for r in rows if (r["dataset"], r["model"], r["content"]) == (dataset, model, content)]
    return max(own, key=lambda row: row["valid"])


def travelled(rows: Sequence[Mapping[str, Any]], model: str) -> pd.DataFrame:
    """Test Recall@20 of each log (columns) with the setting that each log chooses on its validation part (rows)."""
    logs = list(dict.fromkeys(row["dataset"] for row in rows))
    test = {(r["dataset"], str(r["settings"])): r["test"] for r in rows if r["model"] == model}
    best = {log: chosen(rows, log, model)["settings"] for log in logs}
    return pd.DataFrame({on: [test[on, str(best[by])] for by in logs] for on in logs}, index=logs)


def gains(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Test Recall@20 of each model with content, with its own and with dealt-out content, beside the one without.

    Index (dataset, model); columns without, own, shuffled, each at the setting that its own validation chooses.
    """
    found = {}
    for log in dict.fromkeys(row["dataset"] for row in rows):
        there = {row["model"] for row in rows if row["dataset"] == log}
        for name, (base, _) in WITH_CONTENT.items():
            if name in there:
                kinds = {kind: chosen(rows, log, name, kind)["test"] for kind in (OWN, SHUFFLED)}
                found[log, name] = {"without": chosen(rows, log, base)["test"], **kinds}
    return pd.DataFrame.from_dict(found, orient="index")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    about = __doc__.splitlines()[0]
    return run_study("utils.lab study closed_forms", _study, arguments, about=about, dataset="sticker_shop", seeds="0")


def _study(options: argparse.Namespace) -> None:
    data, split, features, graphs = load(options.dataset, None, None)
    file = ResultFile(options.json, {}, {"rows": []})
    command = f"python -m utils.lab study closed_forms --dataset {options.dataset} --json {options.json}"

    def fill(name: str, kind: str, content: Mapping[str, Features], settings: Mapping[str, Any]) -> None:
        made_of = {"dataset": data.name, "fingerprint": data.fingerprint(), "model": name, "content": kind,
                   "settings": dict(settings), "code": code_hash(name.partition(",")[0])}  # fmt: skip
        if any(made_of.items() <= row.items() for row in file.content["rows"]):
            return
        row = made_of | judge(name, split, content, graphs, settings)
        with file.update() as stored:
            others = [r for r in stored["rows"] if any(r[key] != row[key] for key in KEY)]
            stored["rows"] = [*others, row]
            commands = [*stored["meta"].get("commands", []), command]
            stored["meta"] = meta() | {"command": command, "commands": list(dict.fromkeys(commands))}

    for name in GRIDS:
        for settings in tqdm(grid(name), desc=f"{data.name}, {name}"):
            fill(name, OWN, {}, settings)
    if not features:
        return
    shuffled = {modality: matrix.shuffled(0) for modality, matrix in features.items()}
    for name, (base, tried) in WITH_CONTENT.items():
        best = chosen(file.content["rows"], data.name, base)["settings"]
        for settings in tqdm(tried, desc=f"{data.name}, {name}"):
            for kind, content in ((OWN, features), (SHUFFLED, shuffled)):
                fill(name, kind, content, {**best, **settings})
