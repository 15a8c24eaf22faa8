"""Study of the next item: opponents that count or are solved beside SASRec, on a published split or a log with timestamps.

python -m utils.lab study next_item ../shared/data/amazon-beauty-sequences --json data/results/next_item_beauty.json
python -m utils.lab study next_item ... --models content,attributes,ease_content
python -m utils.lab study next_item ... --models sasrec_softmax,sasrec_sampled --device cuda --seeds 0,1,2

The folder holds sequences.txt.gz, or is a course folder; there, ``--ties catalogue`` orders equal timestamps by item, and
the two orders show what the catalogue gives away. What is tuned of the closed forms is chosen on validation. A row that is stored for the same input, code and options is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from utils.data import load_dataset
from utils.devices import pick_device
from utils.errors import suggest
from utils.evaluation import Report
from utils.features import Features, load_features
from utils.pretraining.bags import encode_texts
from utils.pretraining.closed import SOLVED, closed_form
from utils.pretraining.counting import PairCounts, Popularity, content_neighbours, neighbours, transitions
from utils.pretraining.loop import train_next
from utils.pretraining.next_item import NextItemModel, evaluate_next, hit_rate_among
from utils.pretraining.published import (
    attribute_table,
    read_item_attributes,
    read_item_names,
    read_sequences,
    rising_share,
)
from utils.pretraining.sasrec import SASRec
from utils.pretraining.sequences import Sequences, sequences_of
from utils.stored import ResultFile, merge_rows, meta
from utils.stored.commands import run_study
from utils.stored.sources import source_hash
from utils.studies.inputs import feature_key
from utils.training import PATIENCE

COUNTED = {"popularity": "Popularity", "last": "Last item's neighbours", "itemknn": "ItemKNN",
           "recency": "ItemKNN, recency", "transitions": "ItemKNN, directed transitions"}  # fmt: skip
CLOSED = {name: title for name, (title, *_) in SOLVED.items() if name != "ease_content"}
CONTENT = {"content": "Content kNN", "attributes": "Content kNN, attributes", "ease_content": SOLVED["ease_content"][0]}
TRAINED = {"sasrec_softmax": "SASRec, full softmax", "sasrec_sampled": "SASRec, one negative"}
TITLES = {**COUNTED, **CLOSED, **CONTENT, **TRAINED}
DRAWN = (*TRAINED, "ials", "ials_tuned")  # another seed is another model
PRINTED = {  # HR@5, nDCG@5, HR@10, nDCG@10 on Beauty, full ranking
    "Popularity, S3-Rec's table": (0.0080, 0.0044, 0.0152, 0.0068),
    "SASRec, S3-Rec's table": (0.0387, 0.0249, 0.0605, 0.0318),
    "S3-Rec, its own table": (0.0387, 0.0244, 0.0647, 0.0327),
    "SASRec, a third party's run": (0.0320, 0.0209, 0.0516, 0.0272),
    "TIGER, its own table": (0.0454, 0.0321, 0.0648, 0.0384),  # as quoted by others, for example XiaoLongtaoo/TIGER#6
    "TIGER, a third party's run": (0.0376, 0.0252, 0.0582, 0.0319),
}
BEAUTY = "amazon-beauty-sequences"  # the folder of the split that these figures belong to
KEY = ("dataset", "ties", "model", "seed", "masked")


def load(folder: str, ties: str, seed: int) -> Sequences:
    """Read published sequences where the folder holds them, and otherwise put a course folder in the order of time."""
    return read_sequences(folder) if published(folder) else sequences_of(load_dataset(folder), ties, seed)


def published(folder: str) -> bool:
    """Say whether a folder holds sequences that are ready-made, and so in an order that nothing here decides."""
    return (Path(folder) / "sequences.txt.gz").is_file()


def counted(name: str, sequences: Sequences) -> NextItemModel:
    """Count one opponent from the training part."""
    if name == "popularity":
        return Popularity(sequences)
    if name == "transitions":
        return PairCounts(transitions(sequences))
    table = neighbours(sequences)
    if name == "itemknn":
        return PairCounts(table, decay=1.0, length=int(sequences.lengths("end").max()))
    return PairCounts(table, decay=0.0) if name == "last" else PairCounts(table)


def solved(
    name: str, sequences: Sequences, features: Mapping[str, Features] | None = None, seed: int = 0
) -> tuple[NextItemModel, dict[str, Any]]:
    """Solve one opponent that has a closed form; return it and the settings that validation chose."""
    model, settings = closed_form(name, sequences, features, seed)
    return model, {"settings": settings}


def alike(features: Mapping[str, Features]) -> PairCounts:
    """Neighbours by content alone, of the three newest items: modalities of length 1 side by side."""
    units = [
        one.matrix / np.maximum(np.linalg.norm(one.matrix, axis=1, keepdims=True), 1e-12) for one in features.values()
    ]
    return PairCounts(content_neighbours(np.concatenate(units, axis=1)), length=3)


def content_of(name: str, folder: str, sequences: Sequences) -> dict[str, Features]:
    """What items are like: pictures and words of a course folder; of a published one brand and categories, as MiniLM reads
    them or, for "attributes", as a column each."""
    if not published(folder):
        return load_features(load_dataset(folder), ["visual", "textual"])
    texts = read_item_attributes(folder, sequences.n_items)
    encoder = "attributes" if name == "attributes" else "minilm"
    matrix = attribute_table(texts) if name == "attributes" else encode_texts(texts, encoder)
    mask, names = np.array([bool(text) for text in texts]), np.arange(len(texts)).astype(str)
    return {"textual": Features("textual", matrix, names, mask, {"encoder": encoder})}


def trained(
    name: str, sequences: Sequences, seed: int, device: str, epochs: int, patience: int, checkpoint: Path | None = None
) -> tuple[SASRec, dict]:
    """Train SASRec; return it and what training was: the best epoch, and how many there were.

    Args:
        checkpoint: where an interrupted run left off, and goes on from; removed when it is done.
    """
    model = SASRec(sequences, seed=seed, loss=name.removeprefix("sasrec_")).to(pick_device(device))
    history = train_next(model, sequences, n_epochs=epochs, patience=patience, seed=seed, checkpoint=checkpoint)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return model, {"best_epoch": history.best_epoch, "epochs": len(history.rows)}


def maker(name: str) -> str:
    """Which function of this file makes a model: its code decides whether a stored row is made again."""
    return "counted" if name in COUNTED else "trained" if name in TRAINED else "solved" if name in SOLVED else "alike"


def judge(model: NextItemModel, sequences: Sequences) -> list[dict[str, Any]]:
    """Return the figures of one model, with the history masked and not: test and validation, and two that warn.

    ``permuted`` is HR@10 when the test items are dealt out to other users: what a list hits without knowing the person.
    ``among_99`` is HR@10 among 99 random items, the protocol whose figures are comparable with no other.
    """
    rows, among = [], hit_rate_among(model, sequences)
    for masked in (True, False):
        report = evaluate_next(model, sequences, masked=masked)
        valid = evaluate_next(model, sequences, "valid", 10, masked=masked).mean()
        found = {**report.mean(), **{f"valid_{name}": value for name, value in valid.items()}}
        found |= {"permuted": permuted(report, sequences), "among_99": among}
        rows.append({"masked": masked, **{name: round(float(value), 5) for name, value in found.items()}})
    return rows


def permuted(report: Report, sequences: Sequences, top_k: int = 10, seed: int = 0) -> float:
    """HR@k of the same lists when the test items are dealt out to the users anew: the floor of every figure."""
    items = np.random.default_rng(seed).permutation(sequences.split.test[:, 1])
    return float((report.lists[:, :top_k] == items[:, None]).any(axis=1).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    defaults = {
        "models": ",".join((*COUNTED, *CLOSED)),
        "device": "cpu",
        "epochs": 200,
        "patience": PATIENCE,
        "ties": "random",
    }
    return run_study(
        "utils.lab study next_item", lambda options: _study(options, words), words,
        about=__doc__.splitlines()[0], seeds="0", **defaults,
    )  # fmt: skip


def _study(options: argparse.Namespace, words: Sequence[str]) -> None:
    names = options.models.split(",")
    if unknown := [name for name in names if name not in TITLES]:
        raise suggest(unknown[0], TITLES, "model of this study")
    command = f"python -m utils.lab study next_item {' '.join(words)}"
    file = ResultFile(options.json, {}, {"rows": []})
    dataset, given = Path(options.dataset).name, published(options.dataset)
    ties = "as published" if given else options.ties
    for seed in tqdm(options.seeds, desc="seeds"):
        sequences = load(options.dataset, options.ties, seed)
        about = _about(sequences, options.dataset)
        for name in tqdm(names, desc="models", leave=False):
            if name not in DRAWN and given and seed != options.seeds[0]:
                continue  # nothing in a count is drawn, and nothing in such a file
            made_of = {"dataset": dataset, "ties": ties, "seed": seed, "model": TITLES[name], "input": about["input"]}
            made_of["code"] = source_hash([(__name__, maker(name)), (__name__, "judge")])
            features = content_of(name, options.dataset, sequences) if name in CONTENT else {}
            if features:
                made_of["content"] = " ".join(feature_key(one) for one in features.values())
            if name in TRAINED:
                made_of |= {"at_most": options.epochs, "patience": options.patience}
            if any(made_of.items() <= row.items() for row in file.content["rows"]):
                continue
            start, more = time.process_time(), {}
            if name in COUNTED:
                model = counted(name, sequences)
            elif maker(name) == "alike":
                model = alike(features)
            elif maker(name) == "solved":
                model, more = solved(name, sequences, features, seed)
            else:
                left_off = options.json.with_suffix(f".running-{name}-{seed}-{about['input']}")
                training = options.device, options.epochs, options.patience, left_off
                model, more = trained(name, sequences, seed, *training)
                more["device"] = options.device
            more["cpu_seconds_to_build"] = round(time.process_time() - start, 1)
            rows = [{**made_of, **more, **figures} for figures in judge(model, sequences)]
            with file.update() as content:
                content["rows"] = merge_rows(content["rows"], rows, KEY)
                commands = [*content["meta"].get("commands", []), command]
                content["meta"] = meta() | {"command": command, "commands": list(dict.fromkeys(commands))}
                content["meta"]["dataset"] = dataset
                content["about"] = {**content.get("about", {}), f"{dataset}, ties {ties}": about}
                if dataset == BEAUTY:
                    content["printed"] = {name: list(figures) for name, figures in PRINTED.items()}


def _about(sequences: Sequences, folder: str) -> dict[str, Any]:
    """Count what the sequences are: sizes, the share of steps that rise in the catalogue, and a name for the input."""
    names = read_item_names(folder, sequences.n_items) if (Path(folder) / "names.json.gz").is_file() else None
    digest = hashlib.sha256(sequences.items.tobytes() + sequences.starts.tobytes()).hexdigest()[:16]
    return {
        "users": sequences.n_users,
        "items": sequences.n_items,
        "interactions": len(sequences.items),
        "rising": round(rising_share(sequences, names), 4),
        "notes": list(sequences.notes),
        "input": digest,
    }
