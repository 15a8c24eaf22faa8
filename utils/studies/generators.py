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
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tqdm.auto import tqdm

from utils.data import load_dataset, split_dataset
from utils.generation.explain import AttributeModel, attributes_of
from utils.generation.generators import Generator, grid_of, load_generator
from utils.generation.jury import Jury
from utils.generation.kept import FOLDER, WEIGHTS
from utils.generation.stamps import COLOURS, Stamps, load_stamps
from utils.stored import ResultFile, merge_rows, meta
from utils.stored.commands import run_study
from utils.stored.sources import source_hash
from utils.studies.generators_personal import personal_rows

KEY = ("part", "method", "setting", "seed")
N_EACH = 3  # answers to each question
ASKED = ("cvae", "cvae, shuffled", "nothing asked", "w 0", "w 1", "w 3", "w 1, shuffled")
CODE = ("drawn", "real", "explained", "personal_rows")


def draw(setting: str, models: dict[str, Generator], stamps: Stamps, seed: int) -> tuple[torch.Tensor, ...]:
    """Pictures, the conditions by which they are judged, and CPU seconds a picture."""
    hues, categories = grid_of(len(COLOURS), len(stamps.names), N_EACH)
    given = hues, categories
    if setting.endswith("shuffled"):
        order = torch.randperm(len(hues), generator=torch.Generator().manual_seed(100 + seed))
        given = hues[order], categories[order]
    start = time.process_time()
    if setting.startswith("cvae"):
        images = models["cvae"].draw(*given, seed=seed)
    else:
        weight = -1.0 if setting == "nothing asked" else float(setting.split(",")[0].split()[1])
        images = models["diffusion"].draw(*given, seed=seed, weight=weight)
    return images, hues, categories, (time.process_time() - start) / len(images)


def drawn(jury: Jury, models: dict[str, Generator], stamps: Stamps, setting: str, seed: int) -> dict:
    """One setting judged."""
    images, hues, categories, seconds = draw(setting, models, stamps, seed)
    row = {"part": "drawn", "method": "cvae" if setting.startswith("cvae") else "diffusion", "setting": setting}
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
    models = {name: load_generator(name, stamps) for name in ("cvae", "diffusion")}
    digest = hashlib.sha256(stamps.pictures.numpy().tobytes()).hexdigest()[:16]
    code = source_hash([(__name__, name) for name in CODE] + [("utils.generation.generators", "load_generator")])
    made_of, jury = {"input": digest, "code": code}, None

    def jobs() -> list[tuple[dict, Callable[[], list[dict]]]]:
        found = [({"part": "real", "seed": 0}, lambda: real(jury))]
        for seed in options.seeds:
            found.append(({"part": "explained", "seed": seed}, lambda seed=seed: [explained(dataset, seed)]))
            found.append(({"part": "personal", "seed": seed}, lambda seed=seed: personal_rows(dataset, stamps, models["cvae"].model, jury, seed)))  # fmt: skip
            for setting in ASKED:
                job = {"part": "drawn", "seed": seed, "setting": setting}
                found.append((job, lambda seed=seed, setting=setting: [drawn(jury, models, stamps, setting, seed)]))
        return found

    for job, run in tqdm(jobs(), desc="parts"):
        if any({**made_of, **job}.items() <= row.items() for row in file.content["rows"]):
            continue
        jury = jury or Jury.of(stamps)
        rows = [{**made_of, **{k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}} for row in run()]
        with file.update() as content:
            content["rows"] = merge_rows(content["rows"], rows, KEY)
            content["meta"] = meta() | {
                "command": f"python -m utils.lab study generators {shlex.join(words)}", "dataset": Path(options.dataset).name
            }  # fmt: skip
            content["about"] = {
                "training_seeds": 1, "stamps": len(stamps.titles), "held_out": int(stamps.held_out.sum()),
                "pictures_learned": len(jury.known.pictures), "categories": list(stamps.names), "pixels": stamps.size,
                "parameters": {name: sum(p.numel() for p in model.model.parameters()) for name, model in models.items()},
                "bytes": {name: (FOLDER / file_name).stat().st_size for name, (file_name, _) in WEIGHTS.items()},
                "steps": {name: model.about["steps"] for name, model in models.items()},
            }  # fmt: skip
