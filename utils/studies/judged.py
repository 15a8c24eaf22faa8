"""Rows of a study of the next item: where each held-out item stood, for groups of users, over seeds, and paired tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from utils.evaluation import compare, holm
from utils.pretraining.next_item import NextItemModel, evaluate_next
from utils.pretraining.sequences import Sequences
from utils.stored import ResultFile, merge_rows, meta

PLACES = ".123456789A"  # of the held-out item in a list of ten, one letter for each user; a point = not in the list
METRICS = ("hr@10", "ndcg@10")


def placed(model: NextItemModel, sequences: Sequences) -> str:
    """Rank the catalogue after each history and write down the place of each test item, one letter a user (see PLACES)."""
    report = evaluate_next(model, sequences, "test", 10, ("hr",))
    wanted = dict(sequences.split.test.tolist())
    hits = report.lists == np.array([wanted[user] for user in report.user_ids])[:, None]
    return "".join(PLACES[place] for place in np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0))


def values(places: str, metric: str) -> np.ndarray:
    """HR@10 or nDCG@10 of each user, (n,) float, from their places: one item is held out, so nDCG = 1 / log2(1 + place)."""
    place = np.array([PLACES.index(letter) for letter in places])
    found = np.where(place > 0, 1 / np.log2(1 + np.maximum(place, 1)), 0.0)
    return found if metric == "ndcg@10" else (place > 0).astype(float)


def groups_of(sequences: Sequences) -> tuple[dict[str, str], int]:
    """Say which test users belong to "all", "cold" (their item is in no training sequence) and "short" histories.

    Returns:
        Group -> one letter a user, "1" = belongs to it; and how many items a short history has at most: the lower quartile.
    """
    users, items = sequences.split.test[np.argsort(sequences.split.test[:, 0])].T
    lengths = sequences.lengths("test")[users]
    most = int(np.quantile(lengths, 0.25))
    chosen = {
        "all": np.ones(len(users), dtype=bool),
        "cold": np.isin(items, sequences.split.cold_items),
        "short": lengths <= most,
    }
    return {name: "".join("01"[one] for one in who.astype(int)) for name, who in chosen.items()}, most


def members(group: str) -> np.ndarray:
    """Read a group that ``groups_of`` wrote: (n,) bool."""
    return np.array([letter == "1" for letter in group])


def figures(places: str, groups: Mapping[str, str]) -> dict[str, float]:
    """Mean HR@10 and nDCG@10 of each group: "hr@10", "hr@10 cold", ...; a group without users has no figure."""
    found = {}
    for name, group in groups.items():
        who = members(group)
        for metric in METRICS:
            if who.any():
                title = metric if name == "all" else f"{metric} {name}"
                found[title] = round(float(values(places, metric)[who].mean()), 5)
    return found


def summary(rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> list[dict[str, Any]]:
    """Average each kind of row over its seeds: mean and standard deviation of every figure, and the best steps."""
    table = pd.DataFrame(list(rows))
    columns = [name for name in table if name.startswith(METRICS)]
    found = []
    for names, part in table.groupby(list(key), sort=False, dropna=False):
        one = dict(zip(key, names)) | {"seeds": len(part)}
        for column in columns:
            one[column] = round(float(part[column].mean()), 5)
            one[f"sd {column}"] = round(float(part[column].std(ddof=1)), 5) if len(part) > 1 else None
        if "best_step" in part and part["best_step"].notna().all():
            one["best_steps"] = [int(step) for step in part["best_step"]]
        found.append(one)
    return found


def paired(
    rows: Sequence[Mapping[str, Any]],
    groups: Mapping[str, str],
    pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
    metric: str = "ndcg@10",
    at_least: int = 20,
) -> list[dict[str, Any]]:
    """Compare pairs of rows user by user, each user's value averaged over the seeds; p values are corrected by Holm.

    Args:
        pairs: (a, b) of what picks the rows, for example ({"row": "pretrained", "share": 1.0}, {...}); a positive
            difference means that a is better. A pair of which one side is not there is left out.
        at_least: users of a group that is tested; of fewer a test says nothing.
    """
    found = []
    for a, b in pairs:
        sides = [[row for row in rows if one.items() <= row.items()] for one in (a, b)]
        if not all(sides):
            continue
        means = [np.mean([values(row["places"], metric) for row in side], axis=0) for side in sides]
        for name, group in groups.items():
            who = members(group)
            if who.sum() < at_least:
                continue
            test = compare(*(pd.Series(mean[who]) for mean in means), metric=metric)
            kept = {key: round(float(test[key]), 5) for key in ("difference", "low", "high", "t_p", "wilcoxon_p")}
            labels = {"a": " ".join(map(str, a.values())), "b": " ".join(map(str, b.values()))}
            found.append({**labels, "group": name, "n_users": int(who.sum()), "metric": metric, **kept})
    corrected = holm([row["t_p"] for row in found]) if found else []
    return [{**row, "t_holm": round(float(p), 5)} for row, p in zip(found, corrected)]


class Rows:
    """The rows of a study in its result file; what is stored for the same input, code and options is not made again.

    Args:
        file: holds "rows"; each has its places, figures, and what it was made of.
        key: the columns that tell one row from another.
        command: what made them, for the file.
        about: what else the file says of itself.
    """

    def __init__(self, file: ResultFile, key: Sequence[str], command: str, about: Mapping[str, Any]) -> None:
        self.file, self.key, self.command, self.about = file, key, command, about

    def add(
        self,
        made_of: Mapping[str, Any],
        make: Callable[[], tuple[NextItemModel, dict[str, Any]]],
        sequences: Sequences,
        groups: Mapping[str, str],
    ) -> None:
        """Make a model, ask it for everybody's next item, and store the row, unless it is there."""
        if any(made_of.items() <= row.items() for row in self.file.content["rows"]):
            return
        start = time.process_time()
        model, more = make()
        places = placed(model, sequences)
        more = {**more, "cpu_seconds": round(time.process_time() - start, 1)}
        row = {**made_of, **more, **figures(places, groups), "places": places}
        with self.file.update() as content:
            content["rows"] = merge_rows(content["rows"], [row], self.key)
            commands = [*content["meta"].get("commands", []), self.command]
            content["meta"] = {**meta(), **self.about, "command": self.command}
            content["meta"]["commands"] = list(dict.fromkeys(commands))

    def sum_up(self, tests: Callable[[list[dict]], list[dict]], **more: Any) -> None:
        """Write what follows from all rows: means over seeds, paired tests, and ``more``."""
        with self.file.update() as content:
            content |= {**more, "summary": summary(content["rows"], self.key[:-1]), "tests": tests(content["rows"])}
