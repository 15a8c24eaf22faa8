"""Training of the shipped generators of stamps: a CVAE, a diffusion model, and the eye that personal pictures climb.

python -m utils.lab study train_generators sticker_shop --only all --folder data/weights

A training that was stopped goes on from its checkpoint in data/cache/generators. Afterwards write the printed SHA-256
into utils/generation/generators.py and data/weights/README.md, and run the study "generators" again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from utils.data import load_dataset
from utils.errors import CourseError, suggest
from utils.files import ROOT, sha256
from utils.generation.cvae import CVAE
from utils.generation.eye import drawn_at_random, train_eye
from utils.generation.generators import load_generator
from utils.generation.judge import seen
from utils.generation.kept import WEIGHTS, save_weights
from utils.generation.learn import train
from utils.generation.stamps import Stamps, load_stamps
from utils.stored.commands import Parser

STEPS, RATES = {"cvae": 2375, "diffusion": 4750, "eye": 800}, {"cvae": 2e-3, "diffusion": 1e-3}
DRAWN = 3000  # pictures of the CVAE that the eye learns from, beside the real ones


def make(name: str, stamps: Stamps, folder: Path, n_steps: int, cache: Path) -> Path:
    """Train one of them on the stamps that are not held out, and write its weights."""
    known, path, start = stamps.part(held_out=False), folder / WEIGHTS[name][0], time.process_time()
    if name == "eye":
        cvae = load_generator("cvae", stamps, folder / WEIGHTS["cvae"][0], "").model
        model = learn_to_see(cvae, known, n_steps)
    else:
        checkpoint = cache / f"{name}.pt"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        model = train(
            name, known, n_steps, lr=RATES[name], checkpoint=checkpoint, bfloat16=name == "diffusion",
            report=lambda step, loss: print(f"{name} step {step}: loss {loss:.4f}", flush=True),
        )  # fmt: skip
    save_weights(path, name, model, stamps, steps=n_steps, seed=0)
    n = sum(weight.numel() for weight in model.state_dict().values())
    print(f"{path.name}: {n:,} numbers, {path.stat().st_size:,} bytes, {time.process_time() - start:.0f} s, SHA-256 {sha256(path)}")  # fmt: skip
    return path


def learn_to_see(cvae: CVAE, known: Stamps, n_steps: int, n_drawn: int = DRAWN) -> torch.nn.Module:
    """The eye, from real stamps and from stamps that the CVAE draws, all described by the frozen encoder."""
    images = torch.cat([known.pictures, drawn_at_random(cvae, n_drawn)])
    return train_eye(images, seen(images), n_steps=n_steps)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the head of this file."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(prog="python -m utils.lab study train_generators", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="sticker_shop", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--only", default="all", help=f"all, or one of {', '.join(STEPS)}")
    parser.add_argument("--steps", type=int, default=0, help=f"0: {STEPS}")
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "weights", help="where the weights go")
    try:
        _make_all(parser.parse_args(words))
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _make_all(options: argparse.Namespace) -> None:
    if options.only not in ("all", *STEPS):
        raise suggest(options.only, STEPS, "generator")
    stamps = load_stamps(load_dataset(options.dataset))
    for name in STEPS if options.only == "all" else (options.only,):
        make(name, stamps, options.folder, options.steps or STEPS[name], ROOT / "data" / "cache" / "generators")
