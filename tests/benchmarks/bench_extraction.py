"""Images and sentences per second of `extract`, beside a plain loop over single items, in one run, as JSON.

    python -m tests.benchmarks.bench_extraction [--items 256] [--threads 2] [--rounds 3] [--out FILE]

Both sides read the same files and use the same weights; they are timed in turn, the median of the rounds counts.
Process CPU time is given too: it is the fairer figure while other work runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from utils.data import load_dataset
from utils.features import extract, image, text
from utils.files import ROOT, write_json


def drawn(folder: Path, n_items: int) -> Any:
    """Pictures and sentences made here, for a checkout whose shop is not built."""
    rng = np.random.default_rng(0)
    names = np.array([str(i) for i in range(n_items)])
    paths = [folder / f"{name}.jpg" for name in names]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (10, 10, 3), dtype=np.uint8)).resize((160, 140)).save(path)
    words = np.array("a red blue small old wooden boat cat lamp with of on the table garden".split())
    texts = [" ".join(rng.choice(words, rng.integers(3, 20))) + f" {i}" for i in range(n_items)]
    return SimpleNamespace(
        name="drawn",
        path=folder,
        item_names=names,
        n_items=n_items,
        image_paths=lambda: paths,
        texts=lambda _=None: texts,
    )


def content(folder: Path, n_items: int) -> Any:
    """The first items of the Sticker Shop that have a picture and a text, or drawn ones."""
    if not (ROOT / "data" / "sticker_shop" / "items.tsv").exists():
        return drawn(folder, n_items)
    shop = load_dataset("sticker_shop")
    both = np.flatnonzero([bool(p and t) for p, t in zip(shop.image_paths(), shop.texts())])
    return shop.select(items=both[:n_items])


def naive_images(dataset: Any) -> Callable[[], Any]:
    """One picture at a time: open, resize, forward pass, next; no threads, no fusing, autograd on."""
    network = image.lite0()
    read = image.reader(224, "pad")

    def loop() -> np.ndarray:
        rows = []
        for path in dataset.image_paths():
            x = (torch.from_numpy(read(path).copy()).permute(2, 0, 1)[None].float() - 127) / 128
            rows.append(network.avgpool(network.features(x)).flatten().detach().numpy())
        return np.stack(rows)

    return loop


def naive_sentences(dataset: Any) -> Callable[[], Any]:
    """One sentence at a time through transformers, autograd on."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(text.minilm_folder())
    model = AutoModel.from_pretrained(text.minilm_folder()).eval()

    def loop() -> np.ndarray:
        rows = []
        for sentence in dataset.texts():
            tokens = tokenizer(sentence, return_tensors="pt", truncation=True, max_length=256)
            rows.append(model(**tokens).last_hidden_state.mean(dim=1)[0].detach().numpy())
        return np.stack(rows)

    return loop


def peer_sentences(dataset: Any, batch_size: int) -> Callable[[], Any]:
    """sentence-transformers' own encode on the same folder: a public peer."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(text.minilm_folder()), device="cpu")
    return lambda: model.encode(dataset.texts(), batch_size=batch_size, show_progress_bar=False)


def timed(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, process CPU seconds, result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def compare(ways: dict[str, Callable[[], Any]], n_items: int, rounds: int) -> dict[str, Any]:
    """Time every way in turn, ``rounds`` times; medians, items per second, ratio to the naive loop."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, function in ways.items():
            seconds[name].append(timed(function)[:2])
    table = {}
    for name, pairs in seconds.items():
        wall, cpu = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        table[name] = {
            "items_per_second": round(n_items / wall, 1),
            "items_per_cpu_second": round(n_items / cpu, 1),
            "wall_seconds": round(wall, 3),
        }
    for row in table.values():
        row["speed_up_wall"] = round(row["items_per_second"] / table["naive"]["items_per_second"], 2)
        row["speed_up_cpu"] = round(row["items_per_cpu_second"] / table["naive"]["items_per_cpu_second"], 2)
    return table


def keep_network(monkey: Any, name: str) -> None:
    """Load the network once: what is timed is the extraction, as the naive loop's loading is not timed either."""
    from dataclasses import replace

    encoder = monkey[name]
    loaded: dict[str, Any] = {}

    def load(layer: str, **options: Any) -> Any:
        key = json.dumps([layer, options])
        if key not in loaded:
            loaded[key] = encoder.load(layer, **options)
        return loaded[key]

    monkey[name] = replace(encoder, load=load)


def our_ways(dataset: Any, modality: str) -> dict[str, Callable[[], Any]]:
    """`extract` at several batch sizes, the network loaded and warm."""
    ways = {
        f"extract, batch {n}": partial(extract, dataset, modality, batch_size=n, cache=False, progress=False)
        for n in (1, 8, 16, 32)
    }
    ways["extract, batch 8"]()
    return ways


def main() -> None:
    """Measure and print (and write, with --out) one JSON object."""
    from utils.features.registry import ENCODERS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=256)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", choices=["", "images", "sentences"])
    parser.add_argument("--out", default="")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for name in ("efficientnet_lite0", "minilm"):
        keep_network(ENCODERS, name)
    with tempfile.TemporaryDirectory() as folder:
        dataset = content(Path(folder), given.items)
        result: dict[str, Any] = {
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
            "command": f"python -m tests.benchmarks.bench_extraction --items {given.items} --threads {given.threads}",
            "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "dataset": dataset.name,
            "n_items": dataset.n_items,
        }
        if given.only != "sentences":
            naive, ours = naive_images(dataset), our_ways(dataset, "visual")
            result["largest_difference_images"] = float(np.abs(naive() - ours["extract, batch 16"]().matrix).max())
            result["images"] = compare({"naive": naive, **ours}, dataset.n_items, given.rounds)
        if given.only != "images":
            peer = {"sentence-transformers, batch 32": peer_sentences(dataset, 32)}
            ways = {"naive": naive_sentences(dataset), **peer, **our_ways(dataset, "textual")}
            result["sentences"] = compare(ways, dataset.n_items, given.rounds)
    print(json.dumps(result, indent=1))
    if given.out:
        write_json(given.out, result)


if __name__ == "__main__":
    main()
