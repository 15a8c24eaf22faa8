"""Study of pretraining on one's own catalogue: MP4SR from scratch and pretrained, with the same inputs and the same steps.

python -m utils.lab study pretraining sticker_shop --json data/results/pretraining_shop.json --seeds 0,1,2
python -m utils.lab study pretraining data/downloads/movielens --json data/results/pretraining_movielens.json

A tenth of the items comes late: they stand in no history but as the last item of those who took them. All rows have
``--epochs`` epochs of steps; the pretrained ones spend half of them on stage one, without ids, and half on tuning. With a
share of the users, tuning and validation know only them, and everybody is asked. "own users" pretrains on that share, too;
the other pretrained rows see everybody's histories in stage one, which is more data than "from scratch" has. A claim that
these rows can end: pretraining helps where few users are left to tune on. A row that is stored for the same input, code and
options is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from utils.data import Dataset, load_dataset
from utils.errors import suggest
from utils.features import Features
from utils.features.cache import cache_root
from utils.pretraining.bags import Bags, course_bags
from utils.pretraining.closed import SOLVED
from utils.pretraining.counting import PairCounts, content_neighbours, opponents
from utils.pretraining.handover import keep_weights, start_from
from utils.pretraining.loop import n_batches, train_next
from utils.pretraining.mp4sr import MP4SR
from utils.pretraining.next_item import NextItemModel
from utils.pretraining.sequences import Sequences, sequences_of
from utils.pretraining.subsets import of_users, some_users, without_items
from utils.stored import ResultFile
from utils.stored.commands import run_study
from utils.stored.sources import source_hash
from utils.studies.inputs import content_key
from utils.studies.judged import Rows, groups_of, paired
from utils.studies.next_item import solved

SIZES = {"dim": 32, "n_layers": 1, "n_experts": 4, "contrasted": 512}
WORDS = 5  # of a picture
LATE = 0.1  # share of the items that come late
PRETRAINED: dict[str, dict[str, Any]] = {
    "pretrained": {},
    "no mixup": {"mixup": 0.0},
    "no contrast": {"contrast": 0.0},
    "shuffled": {},  # stage one reads each item's content from another item
    "own users": {},
}
TRAINED = ("from scratch", *PRETRAINED)
FLOORS = ("untrained", "stage one only")
KEY = ("row", "share", "seed")


def prepared(folder: str, late: float = LATE) -> tuple[Dataset, Sequences]:
    """Load a folder in the order of time and hold the late items back: the same ones for every row and seed."""
    dataset = load_dataset(folder)
    sequences = sequences_of(dataset)
    drawn = np.random.default_rng(0).permutation(sequences.n_items)[: round(late * sequences.n_items)]
    return dataset, without_items(sequences, drawn)


def content_knn(bags: Mapping[str, Bags]) -> PairCounts:
    """Neighbours by content: the mean vector of each bag, scaled to length 1, modalities side by side; three newest items."""
    means = [bag.vectors.sum(axis=1) for bag in bags.values()]
    units = [mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12) for mean in means]
    return PairCounts(content_neighbours(np.concatenate(units, axis=1)), length=3)


def counted(sequences: Sequences, bags: Mapping[str, Bags]) -> dict[str, NextItemModel]:
    """Everything that only counts: title -> model."""
    return {**opponents(sequences), "Content kNN": content_knn(bags)}


def means_of(bags: Mapping[str, Bags]) -> dict[str, Features]:
    """The mean vector of each bag, as features for a closed form with content."""
    found = {}
    for name, bag in bags.items():
        words = bag.mask.sum(axis=1)
        means = bag.vectors.sum(axis=1) / np.maximum(words, 1)[:, None]
        found[name] = Features(name, means, np.arange(len(means)).astype(str), words > 0, {"encoder": repr(bag)})
    return found


def input_key(dataset: Dataset, sequences: Sequences, bags: Mapping[str, Bags]) -> str:
    """Name what is learned from: the sequences, the pictures and texts, and what made bags of them."""
    told = [content_key(dataset, tuple(bags)), *(f"{name} {bag.provenance}" for name, bag in bags.items())]
    parts = (sequences.items.tobytes(), sequences.starts.tobytes(), "\n".join(told).encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


class Runs:
    """The runs of one seed on some sequences; a first stage that several rows share is trained once."""

    def __init__(self, sequences: Sequences, bags: Mapping[str, Bags], options: argparse.Namespace, seed: int) -> None:
        self.sequences, self.bags, self.options, self.seed = sequences, bags, options, seed
        self.settings = {**SIZES, "length": options.length}
        self.steps = options.epochs * n_batches(sequences, options.batch)

    def model(self, sequences: Sequences, stage: str, bags: Mapping[str, Bags] | None = None, **more: Any) -> MP4SR:
        return MP4SR(sequences, bags or self.bags, self.seed, stage=stage, **{**self.settings, **more})

    def train(self, model: MP4SR, sequences: Sequences, steps: int, choose: bool) -> dict[str, int]:
        """Walk about ``steps`` steps in whole epochs; the best of some checks counts, or the last step without choice."""
        each = n_batches(sequences, self.options.batch)
        epochs = max(1, steps // each)
        every = max(1, self.steps // 10 // each) if choose else epochs
        loop = {"lr": self.options.lr, "batch_size": self.options.batch, "patience": epochs, "eval_every": every}
        history = train_next(model, sequences, n_epochs=epochs, seed=self.seed, progress=False, **loop)
        found = {"steps": epochs * each, "best_step": history.best_epoch * each}
        return found | {"valid": round(history.best_value, 5)} if choose else found

    def first(self, row: str, sequences: Sequences, folder: Path) -> tuple[Path, int]:
        """Pretrain for a row (once for all shares), keep the weights in ``folder``; return the file and the steps."""
        path = folder / f"{row.replace(' ', '-')}-{self.seed}-{len(sequences.split.train)}.safetensors"
        bags = {n: bag.shuffled(self.seed) for n, bag in self.bags.items()} if row == "shuffled" else self.bags
        each = n_batches(sequences, self.options.batch)
        steps = max(1, self.steps // 2 // each) * each
        if not path.exists():
            model = self.model(sequences, "pretrain", bags, **PRETRAINED[row])
            self.train(model, sequences, self.steps // 2, choose=False)
            keep_weights(model, self.bags, path)
        return path, steps

    def run(self, row: str, share: float, folder: Path) -> tuple[MP4SR, dict[str, Any]]:
        """Make the model of one row; return it and what its training was."""
        few = self.sequences
        if 0 < share < 1:
            few = of_users(few, some_users(few, share, self.seed))
        if row == "stage one only":
            path, steps = self.first("pretrained", self.sequences, folder)
            model = self.model(self.sequences, "pretrain")
            start_from(model, self.bags, path)
            return model, {"steps_before": steps}
        model = self.model(few, "tune")
        if row == "untrained":
            return model, {}
        before = 0
        if row in PRETRAINED:
            path, before = self.first(row, few if row == "own users" else self.sequences, folder)
            start_from(model, self.bags, path)
        return model, {"steps_before": before} | self.train(model, few, self.steps - before, choose=True)


def plan(shares: Sequence[float], names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Every row to make, (row, share): floors once, the rest for each share; "own users" differs where some are left out."""
    for name in names:
        if name in FLOORS:
            yield name, 0.0
        else:
            yield from ((name, share) for share in shares if name != "own users" or share < 1)


def comparisons(shares: Sequence[float]) -> list[tuple[dict, dict]]:
    """The questions asked: each pretrained row against scratch, against its control, and against counting."""
    found = []
    for share in shares:
        rows = {name: {"row": name, "share": share} for name in TRAINED}
        found += [(rows[name], rows["from scratch"]) for name in PRETRAINED]
        found += [(rows["pretrained"], rows[name]) for name in ("no mixup", "no contrast", "shuffled", "own users")]
        found += [
            (rows["pretrained"], {"row": name, "share": 1.0})
            for name in ("Content kNN", "Popularity", "ItemKNN", "EASE, tuned", "iALS, tuned")
        ]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_study(
        "utils.lab study pretraining", lambda options: _study(options, words), words,
        about=__doc__.splitlines()[0], seeds="0", epochs=32, shares="1,0.1", length=12, batch=64, lr=3e-3,
        rows=",".join((*FLOORS, *TRAINED)),
    )  # fmt: skip


def _study(options: argparse.Namespace, words: Sequence[str]) -> None:
    names, shares = options.rows.split(","), [float(share) for share in options.shares.split(",")]
    if unknown := [name for name in names if name not in {*FLOORS, *TRAINED}]:
        raise suggest(unknown[0], {*FLOORS, *TRAINED}, "row of this study")
    file = ResultFile(options.json, {"dataset": Path(options.dataset).name}, {"rows": []})
    dataset, sequences = prepared(options.dataset)
    bags = course_bags(dataset, top=WORDS)
    groups, short = groups_of(sequences)
    digest = input_key(dataset, sequences, bags)
    about = {"users": sequences.n_users, "items": sequences.n_items, "interactions": len(sequences.items),
             "late_items": round(LATE * sequences.n_items), "short_at_most": short,
             "group_sizes": {name: group.count("1") for name, group in groups.items()},
             "bags": {name: repr(bag) for name, bag in bags.items()}, "notes": list(sequences.notes)}  # fmt: skip

    command = f"python -m utils.lab study pretraining {' '.join(words)}"
    rows = Rows(file, KEY, command, {"dataset": Path(options.dataset).name})
    code = source_hash([(__name__, "counted"), ("utils.studies.judged", "placed")])
    for title, model in counted(sequences, bags).items():
        made_of = {"row": title, "share": 1.0, "seed": 0, "code": code, "input": digest}
        rows.add(made_of, lambda model=model: (model, {}), sequences, groups)
    code, content = (
        source_hash([("utils.studies.next_item", "solved"), ("utils.studies.judged", "placed")]),
        means_of(bags),
    )
    for name, (title, *_) in SOLVED.items():
        made_of = {"row": title, "share": 1.0, "seed": 0, "code": code, "input": digest}
        rows.add(made_of, lambda name=name: solved(name, sequences, content), sequences, groups)
    code = source_hash([(__name__, "Runs"), (__name__, "PRETRAINED"), ("utils.studies.judged", "placed")])
    trained = {"code": code, "input": digest, **{name: getattr(options, name) for name in ("epochs", "length", "batch", "lr")}}  # fmt: skip
    folder = cache_root() / "stage_one" / hashlib.sha256(repr(trained).encode()).hexdigest()[:24]
    for seed in tqdm(options.seeds, desc="seeds"):
        runs = Runs(sequences, bags, options, seed)
        for name, share in tqdm(list(plan(shares, names)), desc="rows", leave=False):
            made_of = {"row": name, "share": share, "seed": seed, **trained}
            rows.add(made_of, lambda n=name, s=share, r=runs: r.run(n, s, folder), sequences, groups)
        rows.sum_up(lambda found: paired(found, groups, comparisons(shares)), about=about, groups=groups)
