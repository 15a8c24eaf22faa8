"""One task for an encoder of texts or pictures adapted in many ways: what it reads, its opponents, training, judging, forgetting."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from utils.data import Dataset, load_dataset
from utils.errors import CourseError
from utils.evaluation.protocol import evaluate_cold
from utils.features.encoders.image import lite0, reader
from utils.features.encoders.text import minilm_folder, transformer
from utils.features.encoders.weights import PLAIN
from utils.pretraining.adapt import (
    Encoder,
    NextFromContent,
    PictureEncoder,
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
from utils.pretraining.closed import SOLVED, closed_form
from utils.pretraining.counting import PairCounts, Popularity, neighbours
from utils.pretraining.next_item import NextItemModel, evaluate_next, judged
from utils.pretraining.sequences import Sequences, sequences_of
from utils.stored import load_now

MAX_TOKENS, ELSEWHERE = 24, 150  # words of a text; texts of the other dataset
SIDE = 96  # pixels; the network was trained with 224, which costs five times as much
Contents = Texts | torch.Tensor  # texts, or pictures (n, 3, SIDE, SIDE)


@cache
def encoder(random: bool = False) -> TextEncoder:
    """MiniLM, or the same network with random weights."""
    model = transformer(minilm_folder())
    if random:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = type(model)(model.config)
    return TextEncoder(model)


@cache
def picture_encoder() -> PictureEncoder:
    """EfficientNet-Lite0."""
    return PictureEncoder(lite0())


def base_of(contents: Contents, random: bool = False) -> Encoder:
    """The encoder that reads these contents.

    Raises:
        CourseError: a random network is asked for pictures.
    """
    if isinstance(contents, Texts):
        return encoder(random=random)
    if random:
        raise CourseError("random_frozen is a row of texts; leave it out of --ways where the content is pictures.")
    return picture_encoder()


def pictures(dataset: Dataset, item_ids: Sequence[int]) -> torch.Tensor:
    """The items' pictures as EfficientNet-Lite0 reads them: (n, 3, SIDE, SIDE) float32; grey where an item has none."""
    read, paths = reader(SIDE, "pad"), dataset.image_paths()
    found = torch.zeros(len(item_ids), 3, SIDE, SIDE)
    for row, item in enumerate(item_ids):
        if paths[item] is not None:
            found[row] = (torch.from_numpy(read(paths[item]).copy()).permute(2, 0, 1).float() - 127) / 128
    return found


def words(texts: Sequence[str]) -> Texts:
    """Texts as numbers of words of MiniLM."""
    from transformers import AutoTokenizer

    return Texts(texts, AutoTokenizer.from_pretrained(str(minilm_folder()), **PLAIN), MAX_TOKENS)


def inputs(dataset: Dataset, seed: int, content: str = "texts") -> tuple[Sequences, Contents]:
    """The log in the order of time with some items withheld, and the items' texts or pictures."""
    sequences = withhold_items(sequences_of(dataset, seed=seed), seed=seed)
    seen = words(dataset.texts()) if content == "texts" else pictures(dataset, range(dataset.n_items))
    return sequences, seen


def opponent(name: str, sequences: Sequences, texts: Contents) -> NextItemModel:
    """A model that trains nothing; content kNN is the task's own model as it starts."""
    if name == "popularity":
        return Popularity(sequences)
    if name == "itemknn":
        return PairCounts(neighbours(sequences))
    if name in SOLVED:
        return closed_form(name, sequences)[0]
    return NextFromContent(adapt(base_of(texts), "frozen")[0], texts, sequences)


def trained(
    way: str, sequences: Sequences, texts: Contents, seed: int, steps: int, rate: float
) -> tuple[NextFromContent, dict[str, Any]]:
    """Adapt in one way and train; return the model and what that took."""
    base = base_of(texts, random=way == "random_frozen")
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
    model: Encoder, texts: Contents, categories: Sequence[str], asked: dict[str, Sequence[int] | None]
) -> dict[str, float]:
    """How often the ten nearest texts or pictures share the category, for each group of texts that is asked."""
    with torch.no_grad():
        vectors = model.vectors(texts, torch.arange(len(texts)))
    return {f"same_category_{name}": same_category(vectors, categories, rows=rows) for name, rows in asked.items()}


def tops(data: Dataset) -> list[str]:
    """The first word of each category: "animals/birds" is animals, "Comedy|Drama" is Comedy."""
    return [re.split(r"[/|]", str(name))[0] for name in data.items["category"].fillna("")]


def elsewhere(folder: str, content: str = "texts") -> tuple[Contents, list[str]]:
    """Texts or pictures of another dataset, which the task never sees, and their categories: at most ELSEWHERE, drawn once."""
    data = load_dataset(folder)
    texts, categories = data.texts(), tops(data)
    there = (
        [bool(text.strip()) for text in texts] if content == "texts" else [p is not None for p in data.image_paths()]
    )
    able = [n for n, is_there in enumerate(there) if is_there and categories[n]]
    drawn = np.sort(np.random.default_rng(0).permutation(able)[:ELSEWHERE])
    seen = words([texts[n] for n in drawn]) if content == "texts" else pictures(data, drawn)
    return seen, [categories[n] for n in drawn]
