"""Study of adaptation: one encoder, one task, every way to adapt it beside each other and beside what needs none.

python -m utils.lab study adaptation sticker_shop --elsewhere data/downloads/movielens --json data/results/adaptation_shop.json
python -m utils.lab study adaptation sticker_shop --content pictures --seeds 0, --json data/results/adaptation_pictures.json

The task is the next item from the items' words alone, or from their pictures alone (``NextFromContent``). In each seed other items are withheld from
training, so that warm and cold items are judged. All ways take the same number of steps on the same batches. The learning
rate of each is the best of RATES on validation, tried for a third of the steps with the first seed. "random_frozen" is the
same network with random weights (texts only), "frozen_long" the frozen one with LONG steps, for which there is time. What an encoder
forgets is read beside the frozen row, which is the encoder before. A row that is stored for the same input, code and
options is kept.

Memory is counted, not read off the process: what autograd keeps for the backward pass of the first batch, and what Adam
needs. Seconds are those of the processor, the median over steps; ``load`` says how many processes wanted it.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from utils.data import Dataset, load_dataset
from utils.errors import CourseError, suggest
from utils.pretraining.adapt import Texts
from utils.pretraining.next_item import evaluate_next
from utils.pretraining.sequences import Sequences
from utils.stored import ResultFile, merge_rows, meta, rounded
from utils.stored.commands import run_study
from utils.stored.sources import source_hash
from utils.studies.adaptation_task import Contents, elsewhere, forgotten, inputs, judge, opponent, tops, trained

OPPONENTS = ("popularity", "itemknn", "ease_tuned", "ials_tuned", "content_knn")  # nothing in them is trained
TRAINED = ("frozen", "random_frozen", "frozen_long", "prompt", "adapter", "lora", "last_block", "full")
TEXTS_ONLY = ("random_frozen", "prompt")  # a convolution reads no tokens
CONTENTS = ("texts", "pictures")
RATES = (1e-4, 1e-3, 1e-2)
LONG = 1000  # steps of "frozen_long", whose vectors are computed once: what the frozen encoder gives when time is no matter
KEY = ("dataset", "way", "seed", "steps")
CODE = ("trained", "judge", "forgotten", "opponent", "inputs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    defaults = {"dataset": "sticker_shop", "seeds": "0,1,2", "ways": ",".join([*OPPONENTS, *TRAINED]), "steps": 40}
    return run_study("utils.lab study adaptation", _study, arguments, about=__doc__.splitlines()[0], elsewhere="", content="texts", **defaults)  # fmt: skip


def _study(options: argparse.Namespace) -> None:
    if options.content not in CONTENTS:
        raise suggest(options.content, CONTENTS, "content")
    names = [way for way in options.ways.split(",") if options.content == "texts" or way not in TEXTS_ONLY]
    if unknown := [name for name in names if name not in (*OPPONENTS, *TRAINED)]:
        raise suggest(unknown[0], (*OPPONENTS, *TRAINED), "way of this study")
    data, file = load_dataset(options.dataset), ResultFile(options.json, {}, {"rows": [], "rates": []})
    command = f"python -m utils.lab study adaptation {options.dataset} --steps {options.steps} --ways {options.ways} --seeds {','.join(map(str, options.seeds))}"  # fmt: skip
    command += f" --content {options.content}" * (options.content != "texts")
    command += f" --elsewhere {options.elsewhere}" * bool(options.elsewhere) + f" --json {options.json}"
    code = source_hash((__name__, name) for name in CODE)
    other = elsewhere(options.elsewhere, options.content) if options.elsewhere else None
    title = data.name if options.content == "texts" else f"{data.name}, {options.content}"
    for seed in tqdm(options.seeds, desc="seeds"):
        sequences, texts = inputs(data, seed, options.content)
        read = (sequences.items, *(raw(contents) for contents in ([texts, other[0]] if other else [texts])))
        digest = hashlib.sha256(b"".join(array.tobytes() for array in read)).hexdigest()[:16]
        for way in tqdm(names, desc="ways", leave=False):
            steps = 0 if way in OPPONENTS else LONG if way == "frozen_long" else options.steps
            made_of = {"dataset": title, "way": way, "seed": seed, "steps": steps, "input": digest, "code": code}
            if any(made_of.items() <= row.items() for row in file.content["rows"]):
                continue
            row = _row(file, data, sequences, texts, made_of, options.seeds[0], other, options.content)
            with file.update() as content:
                content["rows"] = merge_rows(content["rows"], [rounded(row)], KEY)
                commands = [*content["meta"].get("commands", []), command]
                content["meta"] = meta() | {"command": command, "commands": list(dict.fromkeys(commands))}
                content["about"] = {"users": sequences.n_users, "items": sequences.n_items, "rates": list(RATES)}


def raw(contents: Contents) -> np.ndarray:
    """The numbers of words of texts, or the pixels of pictures, which name an input."""
    return contents.ids.numpy() if isinstance(contents, Texts) else contents.mul(128).round().to(torch.int16).numpy()


def _row(
    file: ResultFile, data: Dataset, sequences: Sequences, texts: Contents, made_of: dict[str, Any], first: int,
    other: tuple[Contents, list[str]] | None, content: str,
) -> dict[str, Any]:  # fmt: skip
    """One row of the table: train with the best rate of the first seed, judge, and look at what was forgotten."""
    way, seed, steps = made_of["way"], made_of["seed"], made_of["steps"]
    if way in OPPONENTS:
        return made_of | judge(opponent(way, sequences, texts), sequences)
    model, about = trained(way, sequences, texts, seed, steps, _rate(file, data, made_of, first, content))
    cold = sequences.split.cold_items
    groups = {"warm": np.setdiff1d(np.arange(len(texts)), cold), "cold": cold}
    row = made_of | about | judge(model, sequences) | forgotten(model.encoder, texts, tops(data), groups)
    return row | (forgotten(model.encoder, *other, {"elsewhere": None}) if other else {})


def _rate(file: ResultFile, data: Dataset, made_of: dict[str, Any], first: int, content: str) -> float:
    """The rate with the best nDCG@10 on validation after a third of the steps, tried once with the first seed."""
    way, steps = made_of["way"], max(1, made_of["steps"] // 3)
    tried = {"dataset": made_of["dataset"], "way": way, "seed": first, "steps": steps, "code": made_of["code"]}
    found = [row for row in file.content["rates"] if tried.items() <= row.items()]
    if not found:
        sequences, texts = inputs(data, first, content)
        for rate in RATES:
            try:
                model, _ = trained(way, sequences, texts, first, steps, rate)
                value = float(evaluate_next(model, sequences, "valid", 10, ("ndcg",)).mean().iloc[0])
            except CourseError:  # the loss is no number any more
                value = -1.0
            found.append(tried | {"rate": rate, "valid_ndcg@10": round(value, 6)})
        with file.update() as content:
            content["rates"] = merge_rows(content["rates"], found, (*KEY, "rate"))
    return max(found, key=lambda row: row["valid_ndcg@10"])["rate"]


def table(content: Mapping[str, Any], steps: int, n_tasks: int = 10) -> pd.DataFrame:
    """Means over the seeds: index way, the columns of the rows that are numbers, and what some tasks have to store.

    Columns: seeds, the figures, and ``stored_tasks``: bytes of ``n_tasks`` tasks. "full" is a whole model for each; every
    other way is one base and what each task keeps of its own.

    Args:
        content: of the result file.
        steps: which runs; opponents and "frozen_long" have a number of steps of their own, and are always there.
    """
    frame = pd.DataFrame([row for row in content["rows"] if row["steps"] in (0, steps, LONG)])
    order = [way for way in (*OPPONENTS, *TRAINED) if way in set(frame["way"])]
    found = frame.drop(columns=["seed"]).groupby("way").mean(numeric_only=True).loc[order]
    found.insert(0, "seeds", frame.groupby("way")["seed"].nunique())
    if "full" in found.index:
        heads = found.loc["frozen", "stored"] if "frozen" in found.index else 0
        base = found.loc["full", "stored"] - heads
        found["stored_tasks"] = n_tasks * found["stored"] + base * (found.index != "full")
    return found
