"""Study of adaptation: one text encoder, one task, every way to adapt it beside each other and beside what needs none.

python -m utils.lab study adaptation sticker_shop --elsewhere data/downloads/movielens --json data/results/adaptation_shop.json

The task is the next item from the items' words alone (``NextFromContent``). In each seed other items are withheld from
training, so that warm and cold items are judged. All ways take the same number of steps on the same batches. The learning
rate of each is the best of RATES on validation, tried for a third of the steps with the first seed. "random_frozen" is the
same network with random weights, "frozen_long" the frozen one with LONG steps, for which there is time. What an encoder
forgets is read beside the frozen row, which is the encoder before. A row that is stored for the same input, code and
options is kept.

Memory is counted, not read off the process: what autograd keeps for the backward pass of the first batch, and what Adam
needs. Seconds are those of the processor, the median over steps; ``load`` says how many processes wanted it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from utils.data import Dataset, load_dataset
from utils.errors import CourseError, suggest
from utils.evaluation import evaluate_cold
from utils.features.encoders.text import minilm_folder, transformer
from utils.features.encoders.weights import PLAIN
from utils.pretraining.adapt import (
    NextFromContent,
    TextEncoder,
    Texts,
    adapt,
    parameters_of,
    same_category,
    step_memory,
    stored_bytes,
    train_steps,
    training_bytes,
    withhold_items,
)
from utils.pretraining.counting import PairCounts, Popularity, neighbours
from utils.pretraining.next_item import NextItemModel, evaluate_next, judged
from utils.pretraining.sequences import Sequences, sequences_of
from utils.stored import ResultFile, load_now, merge_rows, meta, rounded
from utils.stored.commands import run_study
from utils.stored.sources import source_hash

OPPONENTS = ("popularity", "itemknn", "content_knn")  # nothing in them is trained
TRAINED = ("frozen", "random_frozen", "frozen_long", "prompt", "adapter", "lora", "last_block", "full")
RATES = (1e-4, 1e-3, 1e-2)
LONG = 1000  # steps of "frozen_long", whose vectors are computed once: what the frozen encoder gives when time is no matter
MAX_TOKENS, ELSEWHERE = 24, 150  # words of a text; texts of the other dataset
KEY = ("dataset", "way", "seed", "steps")
CODE = ("trained", "judge", "forgotten", "opponent", "inputs")


@cache
def encoder(random: bool = False) -> TextEncoder:
    """MiniLM, or the same network with random weights."""
    model = transformer(minilm_folder())
    if random:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = type(model)(model.config)
    return TextEncoder(model)


def inputs(dataset: Dataset, seed: int) -> tuple[Sequences, Texts]:
    """The log in the order of time with some items withheld, and the items' texts as numbers of words."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(minilm_folder()), **PLAIN)
    sequences = withhold_items(sequences_of(dataset, seed=seed), seed=seed)
    return sequences, Texts(dataset.texts(), tokenizer, MAX_TOKENS)


def opponent(name: str, sequences: Sequences, texts: Texts) -> NextItemModel:
    """A model that trains nothing; content kNN is the task's own model as it starts."""
    if name == "popularity":
        return Popularity(sequences)
    if name == "itemknn":
        return PairCounts(neighbours(sequences))
    return NextFromContent(adapt(encoder(), "frozen")[0], texts, sequences)


def trained(
    way: str, sequences: Sequences, texts: Texts, seed: int, steps: int, rate: float
) -> tuple[NextFromContent, dict[str, Any]]:
    """Adapt in one way and train; return the model and what that took."""
    base = encoder(random=way == "random_frozen")
    model = NextFromContent(adapt(base, "frozen" if "frozen" in way else way, seed=seed)[0], texts, sequences, seed)
    batch = torch.from_numpy(sequences.padded(np.flatnonzero(sequences.lengths() >= 2)[:12], 12))
    nothing = torch.zeros(sequences.n_items)
    about = {"memory": step_memory(model, partial(model.batch_loss, batch, batch[:0, 0], nothing))}
    about |= {"optimiser": training_bytes(model), "stored": stored_bytes(model), "rate": rate, "load": load_now()}
    about |= {"trained": sum(p.numel() for p in parameters_of(model.encoder).values())}
    about["trained_with_heads"] = sum(p.numel() for p in parameters_of(model).values())
    history = train_steps(model, sequences, steps, rate, seed=seed)
    about |= {"cpu_seconds_a_step": float(history["cpu_seconds"].median())}
    losses = history["loss"].to_numpy()
    about |= {"loss_first": float(losses[: max(1, steps // 10)].mean()), "loss_last": float(losses[-max(1, steps // 10) :].mean())}  # fmt: skip
    return model, about


def judge(model: NextItemModel, sequences: Sequences) -> dict[str, float]:
    """HR@10 and nDCG@10: validation, all test items, the warm and the cold of them, and the cold among cold items only."""
    split, found = sequences.split, evaluate_next(model, sequences, top_k=10).per_user
    cold = np.isin(split.test[:, 1], split.cold_items)  # one test item a user, in the order of the users
    valid = evaluate_next(model, sequences, "valid", 10).mean()
    row = {f"valid_{name}": float(value) for name, value in valid.items()} | {"cold_tests": int(cold.sum())}
    for name, values in found.items():
        row |= {name: values.mean(), f"warm_{name}": values[~cold].mean(), f"cold_{name}": values[cold].mean()}
    with judged(model):
        score = lambda user_ids: model.score_histories(sequences.padded(user_ids, model.length, "test"))  # noqa: E731
        among = evaluate_cold(score, split, "test", 10, ("recall",), ("train", "valid")).among
    row["among_cold_hr@10"] = among.mean().iloc[0]  # one item is held out: the recall is the hit rate
    return {name: float(value) for name, value in row.items()}


def forgotten(
    model: TextEncoder, texts: Texts, categories: Sequence[str], asked: dict[str, Sequence[int] | None]
) -> dict[str, float]:
    """How often the ten nearest texts share the category, for each group of texts that is asked."""
    with torch.no_grad():
        vectors = model.vectors(texts, torch.arange(len(texts)))
    return {f"same_category_{name}": same_category(vectors, categories, rows=rows) for name, rows in asked.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    defaults = {"dataset": "sticker_shop", "seeds": "0,1,2", "ways": ",".join([*OPPONENTS, *TRAINED]), "steps": 40}
    return run_study("utils.lab study adaptation", _study, arguments, about=__doc__.splitlines()[0], elsewhere="", **defaults)  # fmt: skip


def _study(options: argparse.Namespace) -> None:
    names = options.ways.split(",")
    if unknown := [name for name in names if name not in (*OPPONENTS, *TRAINED)]:
        raise suggest(unknown[0], (*OPPONENTS, *TRAINED), "way of this study")
    data, file = load_dataset(options.dataset), ResultFile(options.json, {}, {"rows": [], "rates": []})
    command = f"python -m utils.lab study adaptation {options.dataset} --steps {options.steps} --ways {options.ways} --seeds {','.join(map(str, options.seeds))}"  # fmt: skip
    command += f" --elsewhere {options.elsewhere}" * bool(options.elsewhere) + f" --json {options.json}"
    code = source_hash((__name__, name) for name in CODE)
    other = _elsewhere(options.elsewhere) if options.elsewhere else None
    for seed in tqdm(options.seeds, desc="seeds"):
        sequences, texts = inputs(data, seed)
        read = (sequences.items, texts.ids.numpy(), *([other[0].ids.numpy()] if other else []))
        digest = hashlib.sha256(b"".join(array.tobytes() for array in read)).hexdigest()[:16]
        for way in tqdm(names, desc="ways", leave=False):
            steps = 0 if way in OPPONENTS else LONG if way == "frozen_long" else options.steps
            made_of = {"dataset": data.name, "way": way, "seed": seed, "steps": steps, "input": digest, "code": code}
            if any(made_of.items() <= row.items() for row in file.content["rows"]):
                continue
            row = _row(file, data, sequences, texts, made_of, options.seeds[0], other)
            with file.update() as content:
                content["rows"] = merge_rows(content["rows"], [rounded(row)], KEY)
                commands = [*content["meta"].get("commands", []), command]
                content["meta"] = meta() | {"command": command, "commands": list(dict.fromkeys(commands))}
                content["about"] = {"users": sequences.n_users, "items": sequences.n_items, "rates": list(RATES)}


def _row(
    file: ResultFile, data: Dataset, sequences: Sequences, texts: Texts, made_of: dict[str, Any], first: int,
    other: tuple[Texts, list[str]] | None,
) -> dict[str, Any]:  # fmt: skip
    """One row of the table: train with the best rate of the first seed, judge, and look at what was forgotten."""
    way, seed, steps = made_of["way"], made_of["seed"], made_of["steps"]
    if way in OPPONENTS:
        return made_of | judge(opponent(way, sequences, texts), sequences)
    model, about = trained(way, sequences, texts, seed, steps, _rate(file, data, made_of, first))
    cold = sequences.split.cold_items
    groups = {"warm": np.setdiff1d(np.arange(len(texts)), cold), "cold": cold}
    row = made_of | about | judge(model, sequences) | forgotten(model.encoder, texts, _tops(data), groups)
    return row | (forgotten(model.encoder, *other, {"elsewhere": None}) if other else {})


def _rate(file: ResultFile, data: Dataset, made_of: dict[str, Any], first: int) -> float:
    """The rate with the best nDCG@10 on validation after a third of the steps, tried once with the first seed."""
    way, steps = made_of["way"], max(1, made_of["steps"] // 3)
    tried = {"dataset": made_of["dataset"], "way": way, "seed": first, "steps": steps, "code": made_of["code"]}
    found = [row for row in file.content["rates"] if tried.items() <= row.items()]
    if not found:
        sequences, texts = inputs(data, first)
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


def _tops(data: Dataset) -> list[str]:
    """The first word of each category: "animals/birds" is animals, "Comedy|Drama" is Comedy."""
    return [re.split(r"[/|]", str(name))[0] for name in data.items["category"].fillna("")]


def _elsewhere(folder: str) -> tuple[Texts, list[str]]:
    """Texts and categories of another dataset, which the task never sees: at most ELSEWHERE of them, drawn once."""
    from transformers import AutoTokenizer

    data = load_dataset(folder)
    texts, categories = data.texts(), _tops(data)
    able = [n for n, text in enumerate(texts) if text.strip() and categories[n]]
    drawn = np.sort(np.random.default_rng(0).permutation(able)[:ELSEWHERE])
    tokenizer = AutoTokenizer.from_pretrained(str(minilm_folder()), **PLAIN)
    return Texts([texts[n] for n in drawn], tokenizer, MAX_TOKENS), [categories[n] for n in drawn]
