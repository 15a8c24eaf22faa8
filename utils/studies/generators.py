"""Study of the shipped generators of stamps: do they obey, do they vary, do they copy, do they please, what do they cost.

python -m utils.lab study generators sticker_shop --json data/results/generators.json

The generators were trained once, with seed 0; the seeds here draw pictures, users and targets. Rows of a seed that are
stored for the same stamps, code and weights are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import torch
from tqdm.auto import tqdm

from utils.data import load_dataset, split_dataset
from utils.generation.explain import AttributeModel, attributes_of
from utils.generation.generators import Generator, grid_of, load_eye, load_generator
from utils.generation.jury import Jury
from utils.generation.kept import FOLDER, WEIGHTS
from utils.generation.stamps import COLOURS, Stamps, load_stamps
from utils.stored import ResultFile, merge_rows, meta, rounded
from utils.stored.commands import run_study
from utils.stored.sources import source_hash
from utils.studies.generators_personal import personal_rows

KEY = ("part", "method", "setting", "seed")
N_EACH = 3  # answers to each question
ASKED = ("cvae", "cvae, shuffled", "nothing asked", "w 0", "w 1", "w 3", "w 1, shuffled")
CODE = ("drawn", "real", "explained", "personal_rows")


def draw(setting: str, model: Generator, stamps: Stamps, seed: int) -> tuple[torch.Tensor, ...]:
    """Pictures, the conditions by which they are judged, and CPU seconds a picture."""
    hues, categories = grid_of(len(COLOURS), len(stamps.names), N_EACH)
    given = hues, categories
    if setting.endswith("shuffled"):
        order = torch.randperm(len(hues), generator=torch.Generator().manual_seed(100 + seed))
        given = hues[order], categories[order]
    start = time.process_time()
    if setting.startswith("cvae"):
        images = model.draw(*given, seed=seed)
    else:
        weight = -1.0 if setting == "nothing asked" else float(setting.split(",")[0].split()[1])
        images = model.draw(*given, seed=seed, weight=weight)
    return images, hues, categories, (time.process_time() - start) / len(images)


def drawn(jury: Jury, model: Generator, stamps: Stamps, setting: str, seed: int) -> dict:
    """One setting judged."""
    images, hues, categories, seconds = draw(setting, model, stamps, seed)
    row = {"part": "drawn", "method": model.name, "setting": setting}
    row |= {"seed": seed, "n": len(images), "cpu_seconds_a_picture": seconds}
    return row | jury.judged(images, hues, categories)


def real(jury: Jury) -> list[dict]:
    """What the judges say of real stamps: learned ones (the judge's ceiling), held-out ones, and copies with a little noise."""
    known, out, rows = jury.known, jury.held_out, []
    noise = 0.02 * torch.randn(known.pictures.shape, generator=torch.Generator().manual_seed(0))
    for setting, part, images in (
        ("learned", known, known.pictures), ("held out", out, out.pictures), ("learned, noise", known, known.pictures + noise)
    ):  # fmt: skip
        row = {"part": "real", "method": "real", "setting": setting, "seed": 0, "n": len(images)}
        rows.append(row | jury.judged(images, part.hues, part.categories))
    return rows


def explained(dataset, seed: int, n_users: int = 300) -> dict:
    """How often the attribute that a sentence names is the one whose removal costs the first item most places."""
    split = split_dataset(dataset, "random", seed=seed)
    model = AttributeModel(attributes_of(dataset), split.train[:, 0], split.train[:, 1])
    users = torch.randperm(len(model.taken), generator=torch.Generator().manual_seed(seed))[:n_users].tolist()
    known = sorted(model.taken)
    reasons = [model.reason(known[user]) for user in users]
    names = sorted(reasons[0].parts)
    others = [[reason.without[name] - 1 for name in names if name != reason.attribute] for reason in reasons]
    named = [reason.without[reason.attribute] - 1 for reason in reasons]
    shares = {f"named_{name}": sum(reason.attribute == name for reason in reasons) / len(reasons) for name in names}
    return {
        "part": "explained", "method": "attributes", "setting": "first item", "seed": seed, "n": len(reasons),
        "confirmed": sum(reason.confirmed for reason in reasons) / len(reasons),
        "by_chance": 1 / len(names), "unmoved": sum(not place and not any(rest) for place, rest in zip(named, others)) / len(reasons),
        "places_lost": sum(named) / len(named), "places_lost_others": sum(map(sum, others)) / sum(map(len, others)), **shares,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_study(
        "utils.lab study generators", lambda options: _study(options, words), words,
        about=__doc__.splitlines()[0], seeds="0,1,2",
    )  # fmt: skip


def _study(options: argparse.Namespace, words: Sequence[str]) -> None:
    dataset = load_dataset(options.dataset)
    file = ResultFile(options.json, {"dataset": dataset.name}, {"meta": {"dataset": dataset.name}, "rows": []})
    stamps = load_stamps(dataset)
    model, jury_of, eye = (
        cache(lambda name: load_generator(name, stamps)),
        cache(lambda: Jury.of(stamps)),
        cache(load_eye),
    )

    def jobs() -> Iterator[tuple[dict, tuple[str, ...], Callable[[], list[dict]]]]:
        """What marks the rows of a part, the weights that it reads, and how they are measured."""
        yield {"part": "real", "seed": 0}, (), lambda: real(jury_of())
        for seed in options.seeds:
            yield {"part": "explained", "seed": seed}, (), lambda seed=seed: [explained(dataset, seed)]
            yield (
                {"part": "personal", "seed": seed},
                ("cvae", "eye"),
                lambda seed=seed: personal_rows(dataset, stamps, model("cvae").model, eye(), jury_of(), seed),
            )
        for setting in ASKED:
            name = "cvae" if setting.startswith("cvae") else "diffusion"
            for seed in options.seeds:
                yield {"part": "drawn", "setting": setting, "seed": seed}, (name,), lambda name=name, setting=setting, seed=seed: [
                    drawn(jury_of(), model(name), stamps, setting, seed)
                ]  # fmt: skip

    digest = hashlib.sha256(stamps.pictures.numpy().tobytes()).hexdigest()[:16]
    made_of = {"input": digest, "code": source_hash([(__name__, name) for name in CODE])}
    for job, weights, run in tqdm(list(jobs()), desc="parts"):
        mark = {**made_of, "weights": " ".join(WEIGHTS[name][1][:12] for name in weights), **job}
        if any(mark.items() <= row.items() for row in file.content["rows"]):
            continue
        rows = [{**mark, **rounded(row, 5)} for row in run()]
        with file.update() as content:
            content["rows"] = merge_rows(content["rows"], rows, KEY)
            content["meta"] = meta() | {
                "command": f"python -m utils.lab study generators {shlex.join(words)}", "dataset": Path(options.dataset).name
            }  # fmt: skip
            content["about"] = content.get("about", {}) | _about(
                stamps, [model(name) for name in weights if name != "eye"]
            )


def _about(stamps: Stamps, models: Sequence[Generator]) -> dict:
    """What the figures are of, and what each generator costs."""
    about = {"training_seeds": 1, "pixels": stamps.size, "categories": list(stamps.names), "stamps": len(stamps.titles)}
    about |= {"held_out": int(stamps.held_out.sum()), "pictures_learned": len(stamps.part(held_out=False).pictures)}
    for model in models:
        size = (FOLDER / WEIGHTS[model.name][0]).stat().st_size
        about[model.name] = {
            "parameters": sum(weight.numel() for weight in model.model.parameters()), "bytes": size, "steps": model.about["steps"]
        }  # fmt: skip
    return about
