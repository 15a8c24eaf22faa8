"""Study of semantic ids: what they are made from, what is wrong with them, and what recommending by writing them is worth.

python -m utils.lab study semantic_ids sticker_shop --seeds 0,1,2 --json data/results/semantic_ids_shop.json
python -m utils.lab study semantic_ids data/downloads/movielens --codes 48 --length 20 --epochs 24 --json FILE
python -m utils.lab study semantic_ids sticker_shop --cold 0.1 --json data/results/semantic_ids_cold.json
python -m utils.lab study semantic_ids ../shared/data/amazon-beauty-sequences --models "" --json FILE

A model is a name of the study of the next item, ``sasrec:INPUTS``, or ``IDS:INPUTS``: ids made from IDS, and what the
encoder reads, ``tokens`` or SASRec's ``ids``, ``content`` or ``both``; ``mmgrec:relation`` reads a set. In a
folder with published ids these are diagnosed, and ``letter:tokens`` learns to write them (``letter-permuted:tokens``:
the same ids dealt out to other items); it goes on where it was stopped.
A row that is stored for the same input, code and options is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from utils.data import load_dataset
from utils.devices import pick_device
from utils.errors import suggest
from utils.features import Features, load_features
from utils.generation import diagnostics, quantise, semantic_ids
from utils.generation.cold import hide_items
from utils.generation.mmgrec import MMGRec
from utils.generation.quantise import Codes
from utils.generation.recommender import ByBeam, IdRecommender, Within
from utils.generation.rqvae import train_rqvae
from utils.generation.sage import GraphSage
from utils.generation.writer import Writer, invalid_rate
from utils.pretraining.closed import SOLVED
from utils.pretraining.loop import train_next
from utils.pretraining.next_item import NextItemModel, evaluate_next, hit_rate_within
from utils.pretraining.sasrec import INPUTS, SASRec
from utils.pretraining.sequences import Sequences
from utils.stored import ResultFile, merge_rows, meta
from utils.stored.commands import run_study
from utils.stored.sources import source_hash
from utils.studies.next_item import COUNTED, counted, load, published, solved
from utils.training import train

IDS = ("content", "clicks", "both", "shuffled", "permuted", "random", "rqvae", "graph")
MODELS = (*COUNTED, *SOLVED, "sasrec:ids", "sasrec:both", "both:tokens", "permuted:tokens", "content:tokens", "random:tokens",
          "shuffled:tokens", "clicks:tokens", "both:both", "permuted:both", "mmgrec:relation", "mmgrec:plain")  # fmt: skip
BEAMS = (10, 20, 50)
PUBLISHED = {"RQ-VAE": "index_rqvae.json.gz", "RQ-k-means": "index_rqkmeans.json.gz",
             "LETTER": "letter_Beauty.index.json.gz"}  # fmt: skip


def content_of(folder: str, sequences: Sequences) -> tuple[dict[str, Features], list[str] | None]:
    """Pictures and words of a course folder, and the items' categories; nothing where sequences are published alone."""
    if published(folder):
        return {}, None
    data = load_dataset(folder)
    labels = [label or "?" for label in data.items["category"]] if "category" in data.items else None
    return load_features(data, ["visual", "textual"]), labels


def vectors_of(name: str, sequences: Sequences, features: Mapping[str, Features], seed: int) -> np.ndarray:
    """What ids are made from: (n_items, dim); content is pictures and words, clicks are those of the training part."""
    if name == "graph":
        model = GraphSage(sequences.split, features, seed=seed)
        train(model, sequences.split, seed=seed, patience=10, progress=False)
        return model.embeddings()[1].detach().numpy()
    if name == "clicks":
        return semantic_ids.click_vectors(sequences.split, seed=seed)
    content = semantic_ids.content_vectors(features, sequences.n_items)
    if name == "content":
        return content
    if name == "shuffled":
        content = semantic_ids.shuffled(content, seed)
    return semantic_ids.both_vectors(content, semantic_ids.click_vectors(sequences.split, seed=seed))


def codes_of(
    name: str, sequences: Sequences, features: Mapping[str, Features], n_codes: int, seed: int
) -> tuple[Codes, np.ndarray | None]:
    """Make the codes of one kind, and return what their codebooks add up to, where they do."""
    if name == "random":
        return semantic_ids.random_codes(sequences.n_items, (n_codes,) * 3, seed), None
    if name == "permuted":
        codes = codes_of("both", sequences, features, n_codes, seed)[0]
        return semantic_ids.permuted(codes, seed), None
    vectors = vectors_of(name, sequences, features, seed)
    if name in ("rqvae", "graph"):
        return train_rqvae(vectors, n_codes=n_codes, n_steps=300, seed=seed)[1], None
    return quantise.residual_kmeans(vectors, n_codes, seed=seed), vectors


def trained(
    name: str, sequences: Sequences, features: Mapping[str, Features], options: argparse.Namespace, seed: int
) -> tuple[SASRec, dict[str, Any]]:
    """Train one model of the list; return it and what training was. All have the same backbone and the same budget."""
    head, _, inputs = name.partition(":")
    settings = {"inputs": inputs, "length": options.length, "dropout": 0.3}
    given = features if inputs in ("content", "both") else None
    if head == "sasrec":
        model = SASRec(sequences, given, seed, **settings)
    else:
        codes = codes_of(head, sequences, features, options.codes, seed)[0]
        ids = semantic_ids.with_ties(codes, semantic_ids.popularity_of(sequences.split), head)
        model = IdRecommender(sequences, ids, given, seed, **settings)
    model.to(pick_device(options.device))
    history = train_next(
        model, sequences, n_epochs=options.epochs, lr=options.lr, batch_size=64, patience=options.patience, eval_every=3,
        seed=seed, progress=False,
    )  # fmt: skip
    return model, {"best_epoch": history.best_epoch, "epochs": len(history.rows)}


def trained_set(
    name: str, sequences: Sequences, features: Mapping[str, Features], options: argparse.Namespace, seed: int
) -> tuple[MMGRec, dict[str, Any]]:
    """Train MMGRec on its own ids, ``mmgrec:relation`` with the attention that knows the person and ``mmgrec:plain``."""
    vectors = vectors_of("graph", sequences, features, seed)
    codes = train_rqvae(vectors, n_codes=options.codes, n_steps=300, seed=seed)[1]
    ids = semantic_ids.with_ties(codes, semantic_ids.popularity_of(sequences.split), "graph")
    model = MMGRec(sequences, ids, vectors, seed, relation=name == "mmgrec:relation", length=options.length)
    model.to(pick_device(options.device))
    history = train_next(
        model, sequences, n_epochs=options.epochs, lr=options.lr, batch_size=64, patience=options.patience, eval_every=3,
        seed=seed, progress=False,
    )  # fmt: skip
    return model, {"best_epoch": history.best_epoch, "epochs": len(history.rows)}


class ByBeams(IdRecommender):
    """Checked while it trains by twenty beams: exact scores of a large catalogue for everybody cost minutes a check."""

    def score_histories(self, histories: np.ndarray | torch.Tensor) -> torch.Tensor:
        return ByBeam(self, 20).score_histories(histories)


def trained_published(
    name: str, sequences: Sequences, features: Mapping[str, Features], options: argparse.Namespace, seed: int
) -> tuple[ByBeams, dict[str, Any]]:
    """Train on ids that others published for these sequences: LETTER's are numbered as they are; dealt out: a control."""
    codes = diagnostics.published_codes(Path(options.dataset) / PUBLISHED["LETTER"])
    codes = semantic_ids.permuted(codes, seed) if name == "letter-permuted:tokens" else codes
    ids = semantic_ids.with_ties(codes, semantic_ids.popularity_of(sequences.split), name.partition(":")[0])
    model = ByBeams(sequences, ids, None, seed, length=options.length, dropout=0.3).to(pick_device(options.device))
    left_off = options.json.with_suffix(f".running-{name.replace(':', '-')}-{seed}")
    history = train_next(
        model, sequences, n_epochs=options.epochs, lr=options.lr, batch_size=128, patience=options.patience, eval_every=3,
        seed=seed, checkpoint=left_off,
    )  # fmt: skip
    left_off.unlink(missing_ok=True)
    size = sum(weight.numel() for weight in model.parameters())
    return model, {"best_epoch": history.best_epoch, "epochs": len(history.rows), "parameters": size}


def judge_published(model: ByBeams, sequences: Sequences) -> dict[str, float]:
    """Exact ranking of all items, the history not masked as in TIGER; ``masked_``: masked; and the beams, not masked."""
    every = Within(model, np.arange(sequences.n_items))
    found = dict(evaluate_next(every, sequences, masked=False).mean())
    found |= {f"masked_{k}": v for k, v in evaluate_next(every, sequences).mean().items()}
    found |= {f"valid_{k}": v for k, v in evaluate_next(model, sequences, "valid", 10).mean().items()}
    for beams in BEAMS:
        by_beam = evaluate_next(ByBeam(model, beams), sequences, "test", 10, ("hr",), masked=False)
        found[f"beam_{beams}"] = by_beam["hr@10"]
    return {name: round(float(value), 5) for name, value in found.items()}


def judge(model: NextItemModel, sequences: Sequences) -> dict[str, float]:
    """Full ranking with the history masked; of models that write ids also the beam, what is invalid, and cold items.

    ``beam_10``: HR@10 of ten beams, seen items taken out afterwards. ``invalid_10``: share of ids without an item among
    ten beams without a trie. ``cold``, ``cold_within``: HR@10 where the test item is in no training sequence, among
    all items and with a trie that holds only such items.
    """
    found = dict(evaluate_next(model, sequences).mean())
    found |= {f"valid_{k}": v for k, v in evaluate_next(model, sequences, "valid", 10).mean().items()}
    if isinstance(getattr(model, "decoder", None), Writer):
        users, items = sequences.split.test.T
        model.eval()
        with torch.no_grad():
            states = model.history_states(sequences.padded(users, model.length, before="test"))
            for beams in BEAMS:
                found[f"invalid_{beams}"] = invalid_rate(model.decoder.free_beam(states, beams), model.trie)
        for beams in BEAMS:
            found[f"beam_{beams}"] = evaluate_next(ByBeam(model, beams), sequences, "test", 10, ("hr",))["hr@10"]
        cold = np.isin(items, sequences.split.cold_items)
        if cold.any():
            for name, judged in (("cold", model), ("cold_within", Within(model, sequences.split.cold_items))):
                report = evaluate_next(judged, sequences, "test", 10, ("hr",))
                found[name] = report.per_user["hr@10"].reindex(users[cold]).mean()
    return {name: round(float(value), 5) for name, value in found.items()}


def judge_dealt(model: ByBeams, sequences: Sequences) -> dict[str, float]:
    """The control by beams alone, not masked; fifty find what exact scores find (see the row of the true ids)."""
    found = {f"valid_{k}": v for k, v in evaluate_next(model, sequences, "valid", 10).mean().items()}
    for beams in BEAMS:
        report = evaluate_next(ByBeam(model, beams), sequences, "test", 10, ("hr",), masked=False)
        found[f"beam_{beams}"] = report["hr@10"]
    return {name: round(float(value), 5) for name, value in found.items()}


def cold_figures(model: NextItemModel, sequences: Sequences) -> dict[str, float]:
    """HR@10 of the people whose test item is new: ``cold`` among all items, ``cold_within`` among the new ones alone.

    Equal scores, which a count gives to all that is new, are drawn by lot in ``cold_within``: there they are chance.
    """
    users, items = sequences.split.test.T
    new = sequences.split.cold_items
    asked = users[np.isin(items, new)]
    report = evaluate_next(model, sequences, "test", 10, ("hr",))
    found = {
        "cold": report.per_user["hr@10"].reindex(asked).mean(),
        "cold_within": hit_rate_within(model, sequences, new),
    }
    return {"n_cold": len(asked), "n_new": len(new)} | {name: round(float(value), 5) for name, value in found.items()}


def table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Summarise the recommenders of a result file: means over seeds, the spread of HR@10, seeds and best epochs; best first."""
    rows = pd.DataFrame(result["rows"])
    by_model = rows.groupby("model", sort=False)
    found = by_model[["hr@10", "ndcg@10", "beam_10", "beam_50"]].mean()
    found["spread"], found["seeds"] = by_model["hr@10"].std(), by_model.size()
    found["best epochs"] = by_model["best_epoch"].agg(lambda part: part.dropna().astype(int).tolist())
    return found.sort_values("hr@10", ascending=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    defaults = {"models": ",".join(MODELS), "ids": ",".join(IDS), "codes": 32, "length": 12, "epochs": 60, "lr": 2e-3,
                "patience": 5, "device": "cpu", "cold": 0.0}  # fmt: skip
    return run_study(
        "utils.lab study semantic_ids", lambda options: _study(options, words), words,
        about=__doc__.splitlines()[0], seeds="0", **defaults,
    )  # fmt: skip


def published_ids(folder: str) -> Iterator[tuple[str, Codes, list[str] | None]]:
    """Ids that others published: name, codes, labels. Only LETTER's are numbered as the attributes; they have a control."""
    for kind, name in PUBLISHED.items():
        codes = diagnostics.published_codes(Path(folder) / name)
        attributes = Path(folder) / "item2attributes.json.gz"
        if kind != "LETTER" or not attributes.is_file():
            yield kind, codes, None
            continue
        labels = diagnostics.published_labels(attributes)
        yield kind, codes, labels
        yield f"{kind}, permuted", semantic_ids.permuted(codes), labels


def check(names: Sequence[str], kinds: Sequence[str]) -> None:
    """Say which name of a model or of a kind of ids does not exist."""
    for kind in kinds:
        if kind not in IDS:
            raise suggest(kind, IDS, "kind of ids")
    heads = {f"{kind}:{inputs}" for kind in IDS for inputs in ("tokens", *INPUTS)} | {f"sasrec:{i}" for i in INPUTS}
    heads |= {"mmgrec:relation", "mmgrec:plain", "letter:tokens", "letter-permuted:tokens"}
    for name in names:
        if name not in {*COUNTED, *SOLVED, *heads}:
            raise suggest(name, {*COUNTED, *SOLVED, *heads}, "model of this study")


def _study(options: argparse.Namespace, words: Sequence[str]) -> None:
    names, kinds = ([n for n in text.split(",") if n] for text in (options.models, options.ids))
    check(names, kinds)
    dataset = Path(options.dataset).name
    file = ResultFile(options.json, {"dataset": dataset}, {"meta": {"dataset": dataset}, "rows": [], "ids": []})

    def keep(table: str, key: Sequence[str], row: Mapping[str, Any]) -> None:
        with file.update() as content:
            content[table] = merge_rows(content[table], [row], key)
            command = f"python -m utils.lab study semantic_ids {shlex.join(words)}"
            commands = list(dict.fromkeys([*content["meta"].get("commands", []), command]))
            content["meta"] = meta() | {"command": command, "commands": commands, "dataset": dataset}

    for kind, codes, labels in published_ids(options.dataset) if published(options.dataset) else ():
        row = {"ids": kind, "items": len(codes.table), "remarks": diagnostics.remarks(codes)}
        keep("ids", ("ids",), row | diagnostics.summary(codes, labels=labels))
    for seed in tqdm(options.seeds, desc="seeds"):
        sequences = load(options.dataset, "random", seed)
        sequences = hide_items(sequences, options.cold, seed) if options.cold else sequences
        features, labels = content_of(options.dataset, sequences)
        input_key = _input_key(sequences, features)
        for kind in kinds if features else ():
            made_of = {"ids": kind, "seed": seed, "codes": options.codes, "input": input_key}
            made_of["code"] = source_hash([(__name__, "codes_of"), (diagnostics.__name__, "summary")])
            if not any(made_of.items() <= row.items() for row in file.content["ids"]):
                start = time.process_time()
                codes, vectors = codes_of(kind, sequences, features, options.codes, seed)
                seconds = round(time.process_time() - start, 1)
                found = {"cpu_seconds": seconds, "remarks": diagnostics.remarks(codes)}
                keep("ids", ("ids", "seed"), made_of | found | diagnostics.summary(codes, vectors, labels))
        for name in tqdm(names, desc="models", leave=False):
            count = name in COUNTED
            special = {"mmgrec": trained_set, "letter": trained_published, "letter-permuted": trained_published}
            makes = counted if count else solved if name in SOLVED else special.get(name.partition(":")[0], trained)
            made_of = {"model": name, "seed": seed, "input": input_key}
            judges = ("judge", "cold_figures") if options.cold else ("judge",)
            if makes is trained_published:
                judges = ("judge_published",) if name == "letter:tokens" else ("judge_dealt",)
            made_of["code"] = source_hash((__name__, function) for function in (makes.__name__, *judges))
            if not count and name not in SOLVED:
                made_of |= {k: getattr(options, k) for k in ("codes", "length", "epochs", "lr", "patience")}
                made_of["at_most"] = made_of.pop("epochs")
            if any(made_of.items() <= row.items() for row in file.content["rows"]):
                continue
            start, more = time.process_time(), {}
            if count:
                model = counted(name, sequences)
            elif name in SOLVED:
                model, more = solved(name, sequences, features, seed)
            else:
                model, more = makes(name, sequences, features, options, seed)
            more["cpu_seconds_to_build"] = round(time.process_time() - start, 1)
            if options.cold:
                more |= cold_figures(model, sequences)
            judges_of = {"letter:tokens": judge_published, "letter-permuted:tokens": judge_dealt}
            keep("rows", ("model", "seed"), {**made_of, **judges_of.get(name, judge)(model, sequences), **more})


def _input_key(sequences: Sequences, features: Mapping[str, Features]) -> str:
    """Name what is learned from: the sequences and the features."""
    digest = hashlib.sha256(sequences.items.tobytes() + sequences.starts.tobytes())
    for modality in sorted(features):
        digest.update(np.ascontiguousarray(features[modality].matrix).tobytes() + features[modality].mask.tobytes())
    return digest.hexdigest()[:16]
