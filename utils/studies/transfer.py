"""Study of transfer between shops: SASRec on item texts alone, pretrained on one catalogue and adapted to another.

python -m utils.lab study transfer ../shared/data/amazon-beauty-sequences --json data/results/transfer.json --seeds 0,1 \
    --other ../shared/data/amazon-raw-2018

Two domains that share no item and no user, and only the encoder of their words: Beauty (brand and categories of an item)
and Gift Cards (its title). Each is once the source and once the target. For 0, 5, 30 and 100 % of the target's users:
pretrained on the source, pretrained on the source with its texts shuffled over the items (what is then carried over is not
meaning), from scratch, and ids alone; beside them what only counts, and the untrained network. Everybody is asked, whoever
learned, and a tenth of the items comes late, as in the study of pretraining. A row from scratch has as many steps as pretraining and adapting together. The claim that these rows can end is
that pretraining elsewhere helps at all.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from utils.errors import CourseError
from utils.features import Features
from utils.network.archives import lines_of
from utils.pretraining.bags import encode_texts
from utils.pretraining.closed import SOLVED
from utils.pretraining.counting import PairCounts, content_neighbours, opponents
from utils.pretraining.handover import shared_weights
from utils.pretraining.loop import n_batches, train_next
from utils.pretraining.next_item import NextItemModel
from utils.pretraining.published import read_item_attributes, read_sequences
from utils.pretraining.sasrec import SASRec
from utils.pretraining.sequences import Sequences, sequences_of
from utils.pretraining.subsets import busiest, of_users, some_users, without_items
from utils.publishers.amazon import parse_line, plain
from utils.publishers.amazon_reviews import read_amazon_reviews
from utils.stored import ResultFile
from utils.stored.commands import run_study
from utils.stored.sources import source_hash
from utils.studies.judged import Rows, groups_of, paired
from utils.studies.next_item import solved

LATE = 0.1  # share of the items that stand in no history but as its last item, so that some are cold
SIZES = {"dim": 32, "n_layers": 1, "dropout": 0.2}
SHARES = (0.0, 0.05, 0.3, 1.0)
TRAINED = ("pretrained", "pretrained on shuffled texts", "from scratch", "ids only")
KEY = ("target", "row", "share", "seed")


@dataclass(frozen=True)
class Domain:
    """A shop: its sequences and what the texts of its items say."""

    name: str
    sequences: Sequences
    features: dict[str, Features]

    @property
    def digest(self) -> str:
        """A name for what is in it: the texts count, not what an encoder makes of them (see ``content_key``)."""
        told = repr(self.features["textual"].provenance).encode()
        parts = (self.sequences.items.tobytes(), self.sequences.starts.tobytes(), told)
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def domain(name: str, sequences: Sequences, texts: Sequence[str], encoder: str = "minilm") -> Domain:
    """Encode the texts of a shop, and hold its late items back; an item without a text has no content."""
    drawn = np.random.default_rng(0).permutation(sequences.n_items)[: round(LATE * sequences.n_items)]
    sequences = without_items(sequences, drawn)
    mask = np.array([bool(text.strip()) for text in texts])
    names = np.arange(len(texts)).astype(str)
    texts = [text.strip() for text in texts]
    about = {"encoder": encoder, "texts": hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]}
    matrix = encode_texts(texts, encoder)
    return Domain(name, sequences, {"textual": Features("textual", matrix, names, mask, about)})


def beauty(folder: str | Path, n_items: int, n_users: int) -> Domain:
    """Part of the published Beauty sequences: the most taken items and, of the users who took five of them, some."""
    whole = read_sequences(folder)
    sequences, items = busiest(whole, n_items)
    if sequences.n_users > n_users:
        sequences = of_users(sequences, some_users(sequences, n_users / sequences.n_users))
    texts = read_item_attributes(folder, whole.n_items)
    return domain("Beauty", sequences, [texts[item] for item in items])


def gift_cards(folder: str | Path) -> Domain:
    """Reviews of gift cards in the order of time, with the titles of the product file beside them."""
    data = read_amazon_reviews(Path(folder) / "Gift_Cards_5.json.gz")
    path, titles = Path(folder) / "meta_Gift_Cards.json.gz", {}
    if not path.is_file():
        raise CourseError(f"There is no file {path}, which holds the titles; put it beside the reviews.")
    for _, line in lines_of(path):
        row = parse_line(line)
        titles[row["asin"]] = plain(row.get("title"))
    return domain("Gift Cards", sequences_of(data), [titles.get(name, "") for name in data.item_names])


class Transfer:
    """The runs of one seed from one domain to another; the source is learned once for all shares."""

    def __init__(self, source: Domain, target: Domain, options: argparse.Namespace, seed: int) -> None:
        self.source, self.target, self.options, self.seed = source, target, options, seed
        self.learned: dict[str, tuple[SASRec, dict[str, Any]]] = {}

    def model(self, sequences: Sequences, features: Mapping[str, Features], inputs: str = "content") -> SASRec:
        return SASRec(sequences, features, self.seed, inputs=inputs, length=self.options.length, **SIZES)

    def train(self, model: SASRec, sequences: Sequences, steps: int) -> dict[str, Any]:
        """Walk about ``steps`` steps; the best of ten checks on these users' validation items counts."""
        each = n_batches(sequences, self.options.batch)
        epochs = max(1, steps // each)
        loop = {"patience": epochs, "eval_every": max(1, epochs // 10), "lr": self.options.lr}
        loop["batch_size"] = self.options.batch
        history = train_next(model, sequences, n_epochs=epochs, seed=self.seed, progress=False, **loop)
        return {
            "steps_here": epochs * each,
            "best_step": history.best_epoch * each,
            "valid": round(history.best_value, 5),
        }

    def first(self, row: str) -> tuple[SASRec, dict[str, Any]]:
        """Learn the source, with its texts on their items or shuffled over them; return what its training was, too."""
        if row not in self.learned:
            features = self.source.features
            if row == "pretrained on shuffled texts":
                features = {name: one.shuffled(self.seed) for name, one in features.items()}
            model = self.model(self.source.sequences, features)
            found = self.train(model, self.source.sequences, self.options.steps)
            self.learned[row] = model, {f"source_{name}": value for name, value in found.items()}
        return self.learned[row]

    def run(self, row: str, share: float) -> tuple[SASRec, dict[str, Any]]:
        """Make the model of one row; return it and what its training on the target was."""
        few = self.target.sequences
        if 0 < share < 1:
            few = of_users(few, some_users(few, share, self.seed))
        model = self.model(few, self.target.features, "ids" if row == "ids only" else "content")
        steps, before = self.options.adapt, {}
        if row.startswith("pretrained"):
            learned, before = self.first(row)
            own, given = shared_weights(model), shared_weights(learned)
            for name, weight in own.items():
                weight.copy_(given[name])
        else:
            steps += self.options.steps
        return model, before | (self.train(model, few, steps) if share else {})


def counted(target: Domain) -> dict[str, NextItemModel]:
    """What only counts: title -> model; content kNN asks the texts alone."""
    table = content_neighbours(target.features["textual"].matrix)
    return {**opponents(target.sequences), "Content kNN": PairCounts(table, length=3)}


def comparisons(target: str) -> list[tuple[dict, dict]]:
    """The questions asked of one target."""
    found = []
    for share in SHARES:
        rows = {name: {"target": target, "row": name, "share": share} for name in TRAINED}
        found += [(rows["pretrained"], rows[name]) for name in TRAINED[1:] if share or name != "ids only"]
        found += [(rows["pretrained"], {"target": target, "row": "Content kNN", "share": 0.0})]
    return found


def plan() -> list[tuple[str, float]]:
    """Every row to train, (row, share): without users, ids know nothing, and "from scratch" is the untrained network."""
    return [(name, share) for share in SHARES for name in TRAINED if share or name != "ids only"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_study(
        "utils.lab study transfer", lambda options: _study(options, words), words, about=__doc__.splitlines()[0],
        seeds="0,1", other="../shared/data/amazon-raw-2018", items=1000, users=1000, steps=240, adapt=240, length=12, batch=64, lr=3e-3,
    )  # fmt: skip


def _study(options: argparse.Namespace, words: Sequence[str]) -> None:
    file = ResultFile(options.json, {}, {"rows": []})
    rows = Rows(file, KEY, f"python -m utils.lab study transfer {' '.join(words)}", {"dataset": "Beauty, Gift Cards"})
    groups_by: dict[str, dict[str, str]] = {}
    about_by: dict[str, dict[str, Any]] = {}
    domains = [gift_cards(options.other), beauty(options.dataset, options.items, options.users)]
    asked = {name: getattr(options, name) for name in ("steps", "adapt", "length", "batch", "lr")}
    for target, source in (domains, domains[::-1]):
        groups, short = groups_of(target.sequences)
        with_texts = target.features["textual"].mask
        about = {"users": target.sequences.n_users, "items": target.sequences.n_items, "with_text": int(with_texts.sum()),
                 "interactions": len(target.sequences.items), "short_at_most": short, "notes": list(target.sequences.notes),
                 "group_sizes": {name: group.count("1") for name, group in groups.items()}}  # fmt: skip

        groups_by[target.name], about_by[target.name] = groups, about
        code = source_hash([(__name__, "counted"), ("utils.studies.judged", "placed")])
        base = {"target": target.name, "input": target.digest}
        for title, model in counted(target).items():
            made_of = {**base, "row": title, "share": 0.0, "seed": 0, "code": code}
            rows.add(made_of, lambda model=model: (model, {}), target.sequences, groups)
        code = source_hash([("utils.studies.next_item", "solved"), ("utils.studies.judged", "placed")])
        for name, (title, *_) in SOLVED.items():
            made_of = {**base, "row": title, "share": 0.0, "seed": 0, "code": code}
            make = partial(solved, name, target.sequences, target.features)
            rows.add(made_of, make, target.sequences, groups)
        code = source_hash([(__name__, "Transfer"), ("utils.studies.judged", "placed")])
        for seed in tqdm(options.seeds, desc=f"{source.name} -> {target.name}"):
            runs = Transfer(source, target, options, seed)
            for name, share in plan():
                made_of = {**base, "source": source.digest, "row": name, "share": share, "seed": seed, "code": code}
                rows.add({**made_of, **asked}, lambda n=name, s=share, r=runs: r.run(n, s), target.sequences, groups)
            rows.sum_up(
                lambda found: [
                    one for name, kept in groups_by.items() for one in paired(found, kept, comparisons(name))
                ],
                groups=groups_by,
                about=about_by,
            )
