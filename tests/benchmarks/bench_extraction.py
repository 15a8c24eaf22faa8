"""Items per second of an extraction job beside a plain loop and beside the habits of a public extractor, in one run.

    python -m tests.benchmarks.bench_extraction [--items 32] [--rounds 3] [--encoders minilm,musicnn] [--json FILE]
    python -m tests.benchmarks.bench_extraction --device cuda          (the job alone, wall seconds)

The figures go to data/results/extraction.json, row by row, so that it may be run in pieces while the machine is quiet;
`python -m utils.lab tables` puts them into README.

Three ways, each with its network loaded and warm, timed in turn, medians of the rounds, process CPU and wall seconds:

* ``job``: `utils.features.at_scale.run.run`: hashing, decoding, batches, parts on disk, the merged matrix;
* ``loop``: one item after another through the same weights, no autograd, vectors kept in a list;
* ``files``: our imitation of what we read in a public extractor (the traps in tests/features/test_features_traps.py): batches of
  one, a torchvision extractor cut anew for each, texts padded to the full length, one .npy per item.

Pictures come in two sizes: the shop's (at most 160 pixels) and photographs of 1,000 x 1,000 pixels made here, because a
catalogue's pictures are large and decoding them is then most of the work. What a million items cost is extrapolated,
on one device from the items measured, on eight from one.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from utils.data import Dataset, load_dataset
from utils.features.at_scale.job import Job
from utils.features.at_scale.run import run
from utils.features.encoders import image, musicnn, text
from utils.features.encoders.sound import samples_of
from utils.features.registry import Encoder, Network, find
from utils.stored import RESULTS, ResultFile, load_now, merge_rows, origin

MODALITY = {
    "efficientnet_lite0": "visual",
    "random_cnn": "visual",
    "pixels": "visual",
    "colour_histogram": "visual",
    "minilm": "textual",
    "musicnn": "audio",
    "logmel_stats": "audio",
    "mfcc_stats": "audio",
}
NETWORKS = ("efficientnet_lite0", "random_cnn", "minilm", "musicnn")
MILLION = 1_000_000


def photographs(folder: Path, n_items: int, side: int = 1000) -> Dataset:
    """A course folder of JPEG pictures of that size: smooth colours with some grain."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(n_items):
        small = Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
        grain = rng.integers(-12, 12, (side, side, 1))
        Image.fromarray((np.asarray(small) + grain).clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{k}.jpg")
    rows = "".join(f"{k}\timages/{k}.jpg\n" for k in range(n_items))
    (folder / "items.tsv").write_text("item\timage\n" + rows, encoding="utf-8")
    (folder / "interactions.tsv").write_text("user\titem\nu\t0\n", encoding="utf-8")
    return load_dataset(str(folder))


def some_of_the_shop(modality: str, n_items: int) -> Dataset:
    """The first items of the Sticker Shop that have the modality."""
    shop = load_dataset("sticker_shop")
    column = {"visual": "image", "audio": "audio", "textual": "description"}[modality]
    return shop.select(items=np.flatnonzero(shop.items[column] != "")[:n_items])


def contents_of(dataset: Dataset, modality: str) -> list[Any]:
    """Paths or texts, one per item."""
    return {"visual": dataset.image_paths, "audio": dataset.audio_paths, "textual": dataset.texts}[modality]()


def one_picture(network: torch.nn.Module, path: Path) -> np.ndarray:
    """Decode whole, pad and resize, one forward pass."""
    pixels = np.asarray(image.square(image.on_white(image.open_image(path)), 224))
    x = (torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.no_grad():
        return network(x)


def loop_over(name: str) -> Callable[[Any], np.ndarray]:
    """The plain way: a function from one item to its vector."""
    if name in ("efficientnet_lite0", "random_cnn"):
        network = image.lite0()  # for random_cnn the same arithmetic with other numbers
        return lambda path: one_picture(lambda x: network.avgpool(network.features(x)).flatten().numpy(), path)
    if name == "minilm":
        from transformers import AutoModel, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(text.minilm_folder())
        model = AutoModel.from_pretrained(text.minilm_folder()).eval()

        def sentence(words: str, **padding: Any) -> np.ndarray:
            tokens = tokenizer(words, return_tensors="pt", truncation=True, max_length=256, **padding)
            with torch.no_grad():
                return text.mean_pool(model(**tokens).last_hidden_state, tokens["attention_mask"])[0].numpy()

        return sentence
    if name == "musicnn":
        model = copy.deepcopy(musicnn.load_musicnn())
        model.peaks = []  # without our rewriting of its wide filters

        def sound(path: Path) -> np.ndarray:
            with torch.no_grad():
                patches = torch.from_numpy(musicnn.patches(samples_of(path)))
                return torch.stack([model(patch[None])["penultimate"][0] for patch in patches]).mean(dim=0).numpy()

        return sound
    network = find(name, MODALITY[name]).load(
        find(name, MODALITY[name]).layers[0], **find(name, MODALITY[name]).options
    )
    return lambda value: network.encode([network.prepare(value)])[0]


def files_of(name: str, folder: Path) -> Callable[[int, Any], None]:
    """The habits: a function that extracts item number k and writes its file."""
    one = loop_over(name)
    if name in ("efficientnet_lite0", "random_cnn"):
        from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

        network = image.lite0()

        def extract_one(path: Path) -> np.ndarray:
            get_graph_node_names(network)
            cut = create_feature_extractor(network, return_nodes=["avgpool"])
            return one_picture(lambda x: cut(x)["avgpool"].flatten().numpy(), path)
    elif name == "minilm":

        def extract_one(words: str) -> np.ndarray:
            return one(words, padding="max_length")
    else:
        extract_one = one
    folder.mkdir(parents=True, exist_ok=True)
    return lambda k, value: np.save(folder / f"{k}.npy", extract_one(value)[None])


def warm(encoder: Encoder) -> Encoder:
    """The same encoder, its network loaded once: no way is charged for loading."""
    kept: dict[Any, Network] = {}

    def load(layer: Any, **options: Any) -> Network:  # options name the device, too
        key = json.dumps([layer, options], default=str)
        kept[key] = kept.get(key) or encoder.load(layer, **options)
        return kept[key]

    return replace(encoder, load=load)


def measure(name: str, dataset: Dataset, n_files: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Medians of the three ways, and their ratios."""
    modality = MODALITY[name]
    values, encoder, loop = contents_of(dataset, modality), warm(find(name, modality)), loop_over(name)
    write_one, numbers = files_of(name, folder / "files"), iter(range(10_000))

    def job() -> None:
        run(Job(dataset, modality, folder / f"job{next(numbers)}", encoder), (0, 1), progress=False)

    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "job": (job, len(values)),
        "loop": (lambda: [loop(value) for value in values], len(values)),
        "files": (lambda: [write_one(k, value) for k, value in enumerate(values[:n_files])], min(n_files, len(values))),
    }
    job(), loop(values[0]), write_one(0, values[0])  # warm
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (function, _) in ways.items():
            cpu, wall = time.process_time(), time.perf_counter()
            function()
            seconds[way].append((time.process_time() - cpu, time.perf_counter() - wall))
    row: dict[str, Any] = {"encoder": name, "items": len(values)}
    for way, (_, n) in ways.items():
        cpu, wall = (statistics.median(pair[k] for pair in seconds[way]) / n for k in (0, 1))
        row |= {f"{way}_cpu_ms": round(1e3 * cpu, 2), f"{way}_wall_ms": round(1e3 * wall, 2)}
    row["against_loop"] = round(row["loop_cpu_ms"] / row["job_cpu_ms"], 2)
    row["against_files"] = round(row["files_cpu_ms"] / row["job_cpu_ms"], 2)
    row["items_per_cpu_second"] = round(1e3 / row["job_cpu_ms"], 1)
    row["million_items_hours_on_2_cores_extrapolated"] = round(MILLION * row["job_cpu_ms"] / 1e3 / 2 / 3600, 1)
    if name in NETWORKS:
        row["bars_met"] = {"loop 1.3": row["against_loop"] >= 1.3, "files 4": row["against_files"] >= 4}
    return row


def on_a_device(name: str, dataset: Dataset, rounds: int, folder: Path, device: str) -> dict[str, Any]:
    """Wall seconds of the job alone on an accelerator, large batches, its network loaded and warm."""
    modality, numbers, seconds = MODALITY[name], iter(range(10_000)), []
    encoder, n = warm(find(name, modality)), len([value for value in contents_of(dataset, modality) if value])
    for turn in range(rounds + 1):
        start = time.perf_counter()
        job = Job(dataset, modality, folder / f"job{next(numbers)}", encoder, batch_size=128, block=1024, device=device)
        run(job, (0, 1), progress=False)
        if turn:  # the first one warms
            seconds.append(time.perf_counter() - start)
    each = statistics.median(seconds) / n
    hours = MILLION * each / 3600
    where = torch.device(device)
    return {
        "encoder": name,
        "items": n,
        "device": device,
        "device_name": torch.cuda.get_device_name(where) if where.type == "cuda" else device,
        "items_per_second": round(1 / each, 1),
        "million_hours": round(hours, 2),
        "million_hours_on_8_extrapolated": round(hours / 8, 2),
    }


def main() -> None:
    """Measure, print each row, and store it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--files-items", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoders", default=",".join(MODALITY))
    parser.add_argument(
        "--side", type=int, default=1000, help="pixels a side of the made photographs; 0 leaves them out"
    )
    parser.add_argument("--device", default="cpu", help="cuda, mps: the job alone on an accelerator")
    parser.add_argument("--json", type=Path, default=RESULTS / "extraction.json")
    given = parser.parse_args()
    if given.device == "cpu":
        torch.set_num_threads(1)  # CPU seconds of one thread: other work on the machine changes them least
    about = origin("python -m tests.benchmarks.bench_extraction")
    file = ResultFile(given.json, empty={"rows": []})
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.encoders.split(","):
            sets = {"shop": some_of_the_shop(MODALITY[name], given.items)}
            if MODALITY[name] == "visual" and given.side:
                sets[f"photographs {given.side}"] = photographs(
                    Path(temporary) / f"photos-{name}", given.items // 2, given.side
                )
            for label, dataset in sets.items():
                folder = Path(temporary) / name / label
                if given.device == "cpu":
                    found = measure(name, dataset, given.files_items, given.rounds, folder)
                elif name in NETWORKS:
                    found = on_a_device(name, dataset, given.rounds, folder, given.device)
                else:
                    continue
                row = {"content": label, "device": given.device, **found, "rounds": given.rounds}
                row |= {"commit": about["commit"], "load": load_now()}
                with file.update() as content:
                    content["meta"] = about
                    content["rows"] = merge_rows(content["rows"], [row], ("encoder", "content", "device"))
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
