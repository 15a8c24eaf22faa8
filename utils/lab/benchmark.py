"""The command line of the benchmark: compare recommenders in accuracy, or measure their speed.

python -m utils.benchmark accuracy --dataset FOLDER --models bpr,vbpr --seeds 0,1,2 [--budget N] --json OUT
python -m utils.benchmark speed --json OUT
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from utils.errors import CourseError
from utils.lab.accuracy import accuracy
from utils.models import MODELS
from utils.stored.commands import Parser, add_options


def parser() -> Parser:
    """The command line."""
    main_parser = Parser(prog="python -m utils.benchmark", description=__doc__.splitlines()[0])
    commands = main_parser.add_subparsers(dest="what", required=True)
    accurate = commands.add_parser("accuracy", help="train models on one dataset and judge them")
    add_options(accurate, dataset="sticker_shop", seeds="0,1,2")
    accurate.add_argument("--models", default=",".join(MODELS), help="file names of utils/models, separated by commas")
    accurate.add_argument("--strategy", default="", help="split; default: the given one, else random per user")
    accurate.add_argument(
        "--budget", type=int, default=1, help="settings to try on validation, the same number for all"
    )
    accurate.add_argument("--modalities", default="", help="only these (visual,textual,audio); default: all there are")
    accurate.add_argument("--device", default=None, help="cpu (default), cuda or mps")
    speed = commands.add_parser("speed", help="seconds and memory beside the public peers and the usual habits")
    speed.add_argument("--json", "--out", required=True, type=Path, help="result file; finished tasks are kept")
    speed.add_argument("--tasks", default=None, help="only these, separated by commas")
    speed.add_argument("--repeats", type=int, default=3)
    speed.add_argument("--peers", default=None, help="a folder with installed peers (pip install --target)")
    speed.add_argument("--force", action="store_true", help="measure finished tasks again")
    speed.add_argument("--quick", action="store_true", help="a small size, to see that it works")
    return main_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the benchmark: 0 when every model gave a result, otherwise 1 with a sentence per failure."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = parser().parse_args(arguments)
        if options.what == "speed":
            from utils.lab import speed

            return speed.run(options, arguments)
        return accuracy(
            options.dataset,
            [name.strip() for name in options.models.split(",") if name.strip()],
            options.seeds,
            options.json,
            strategy=options.strategy,
            budget=options.budget,
            modalities=[m.strip() for m in options.modalities.split(",") if m.strip()] or None,
            device=options.device,
            arguments=arguments,
        )
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on where this one stopped.", file=sys.stderr)
        return 130
