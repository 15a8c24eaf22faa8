"""Study of composed search, "this stamp, but in red": the right answer exists, so that each way is judged exactly.

python -m utils.lab study composed_search sticker_shop --seeds 0,1,2 --json data/results/composed_search.json

Stamps with one dominant hue are turned to eight hues. Held out are stamps, in all colours, and of the other stamps some
(stamp, colour) pairs. A seed that is stored for the same input and code is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from utils.data import load_dataset
from utils.features.encoders.image import square
from utils.features.registry import Network, find
from utils.generation.composed import best, direction, judged, train_combiner, train_towers, weighted
from utils.generation.recolour import HUES, Coloured, hue_shares, in_all_colours
from utils.stored import ResultFile, merge_rows, meta
from utils.stored.commands import run_study
from utils.stored.sources import source_hash

SIZE = 128  # pixels a side
KEY = ("method", "held_out", "seed")


def caption(title: str, colour: str) -> str:
    """Words for a picture by rule."""
    return f"a {colour} {title.lower()}"


def vectors_of(coloured: Coloured) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frozen vectors of the pictures (n, 1280), of their captions (n, 384) and of "in COLOUR" (n_colours, 384)."""
    network = find("default", "visual").network("avgpool", {"size": SIZE, "fit": "pad"})
    arrays = [np.asarray(square(_image(picture), SIZE)) for picture in coloured.pictures]
    pictures = [
        network.encode(arrays[start : start + 32]) for start in tqdm(range(0, len(arrays), 32), desc="pictures")
    ]
    names = list(HUES)
    texts = [caption(coloured.titles[s], names[c]) for s, c in zip(coloured.stamps, coloured.colours)]
    order = np.argsort([len(text) for text in texts], kind="stable")
    words, network = np.empty((len(texts), 384), dtype=np.float32), find("default", "textual").network("mean", {"max_tokens": 256})  # fmt: skip
    for rows in np.array_split(order, len(order) // 64 + 1):
        words[rows] = network.encode([texts[row] for row in rows])
    return np.concatenate(pictures), words, network.encode([f"in {colour}" for colour in names])


def encoders() -> tuple[Network, Network]:
    """Load the encoders of ``vectors_of`` once more, for questions that are asked later: pictures, words."""
    pictures = find("default", "visual").network("avgpool", {"size": SIZE, "fit": "pad"})
    return pictures, find("default", "textual").network("mean", {"max_tokens": 256})


def _image(picture: np.ndarray):
    from PIL import Image

    return Image.fromarray(picture)


def triplets(coloured: Coloured, references: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """All (reference, target) rows of one stamp in two colours, both among the rows that are given: (n, 2) int64."""
    same = coloured.stamps[references][:, None] == coloured.stamps[targets][None]
    other = coloured.colours[references][:, None] != coloured.colours[targets][None]
    places = np.argwhere(same & other)
    return np.stack([references[places[:, 0]], targets[places[:, 1]]], axis=1)


def split_pictures(coloured: Coloured, seed: int, n_stamps: int = 60, share: float = 0.1) -> tuple[np.ndarray, ...]:
    """Rows to learn from, rows of held-out stamps, and held-out (stamp, colour) pairs of the other stamps."""
    rng, n = np.random.default_rng(seed), len(coloured.titles)
    new = np.isin(coloured.stamps, rng.permutation(n)[: min(n_stamps, n // 3)])
    pairs = ~new & (rng.random(len(new)) < share)
    return tuple(np.flatnonzero(rows) for rows in (~new & ~pairs, new, pairs))


def compare(coloured: Coloured, vectors: tuple[np.ndarray, ...], seed: int) -> list[dict]:
    """Train on what is not held out, and judge every way on both kinds of what is."""
    pictures, words, colour_words = vectors
    known, new, pairs = split_pictures(coloured, seed)
    towers = train_towers(pictures[known], words[known], seed=seed)
    with torch.no_grad():
        v, asked = towers(torch.as_tensor(pictures), torch.as_tensor(colour_words))
    lesson, rng = triplets(coloured, known, known), np.random.default_rng(seed)
    said = {"combiner": coloured.colours[lesson[:, 1]],
            "combiner, words shuffled": rng.integers(len(HUES), size=len(lesson))}  # fmt: skip
    combiners = {
        name: train_combiner(v[lesson[:, 0]], asked[torch.as_tensor(colours)], v[lesson[:, 1]], seed=seed)
        for name, colours in said.items()
    }
    frozen = torch.nn.functional.normalize(torch.as_tensor(pictures - pictures[known].mean(0)), dim=1)
    shares = torch.as_tensor(np.stack([hue_shares(picture) for picture in coloured.pictures]), dtype=torch.float32)
    rows = []
    for held_out, gallery in (("stamps", new), ("pairs", np.sort(np.concatenate([known, pairs])))):
        queries = triplets(coloured, new if held_out == "stamps" else known, new if held_out == "stamps" else pairs)
        place = np.full(len(v), -1)
        place[gallery] = np.arange(len(gallery))
        reference, target = (torch.as_tensor(place[queries[:, side]]) for side in (0, 1))
        stamps, colours = (torch.as_tensor(array[gallery]) for array in (coloured.stamps, coloured.colours))
        one, two = torch.as_tensor(queries[:, 0]), colours[target]  # the given picture, the colour asked for
        was = torch.as_tensor(coloured.colours)[one]
        guessed = (v[one] @ asked.T).argmax(dim=1)
        with torch.no_grad():
            ways = {
                "frozen picture alone": (frozen[one], frozen),
                "frozen picture and histogram": (
                    torch.cat([frozen[one], torch.nn.functional.one_hot(two, len(HUES)).float()], dim=1),
                    torch.cat([frozen, shares], dim=1),
                ),
                "picture alone": (v[one], v),
                "words alone": (asked[two], v),
                **{f"sum {w:g}": (weighted(v[one], asked[two], w), v) for w in (0.3, 0.5, 0.7)},
                "direction": (direction(v[one], asked[two], asked[was]), v),
                "direction, colour guessed": (direction(v[one], asked[two], asked[guessed]), v),
                "combiner": (combiners["combiner"](v[one], asked[two]), v),
                "combiner, words shuffled": (
                    combiners["combiner, words shuffled"](
                        v[one], asked[torch.as_tensor(rng.integers(len(HUES), size=len(queries)))]
                    ),
                    v,
                ),
            }
        for method, (query, space) in ways.items():
            found = judged(best(query, space[gallery], reference), target, stamps, colours)
            figures = {name: round(value, 5) for name, value in found.items()}
            size = {"queries": len(queries), "gallery": len(gallery)}
            rows.append({"method": method, "held_out": held_out, "seed": seed, **size, **figures})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_study(
        "utils.lab study composed_search", lambda options: _study(options, words), words,
        about=__doc__.splitlines()[0], seeds="0,1,2",
    )  # fmt: skip


def _study(options: argparse.Namespace, words: Sequence[str]) -> None:
    dataset = load_dataset(options.dataset)
    file = ResultFile(options.json, {"dataset": dataset.name}, {"meta": {"dataset": dataset.name}, "rows": []})
    coloured = in_all_colours(dataset)
    digest = hashlib.sha256(b"".join(picture.tobytes() for picture in coloured.pictures)).hexdigest()[:16]
    made_of = {"input": digest, "code": source_hash([(__name__, "compare"), (__name__, "vectors_of")])}
    vectors = None
    for seed in tqdm(options.seeds, desc="seeds"):
        if any({**made_of, "seed": seed}.items() <= row.items() for row in file.content["rows"]):
            continue
        vectors = vectors or vectors_of(coloured)
        start = time.process_time()
        rows = [{**made_of, **row} for row in compare(coloured, vectors, seed)]
        seconds = round(time.process_time() - start, 1)
        with file.update() as content:
            content["rows"] = merge_rows(content["rows"], rows, KEY)
            command = f"python -m utils.lab study composed_search {shlex.join(words)}"
            content["meta"] = meta() | {"command": command, "dataset": Path(options.dataset).name}
            content["about"] = {"stamps": len(coloured.titles), "of": dataset.n_items, "pictures": len(coloured.pictures),
                                "cpu_seconds_a_seed": seconds}  # fmt: skip
