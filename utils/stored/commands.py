"""The command line of a stored experiment: the data, the seeds, the result file, and errors in one sentence.

Every experiment takes the same options, in two spellings each:

    FOLDER  or  --dataset FOLDER    a course folder, or the name of one in data/
    --json FILE  or  --out FILE     the result file; what it holds of the same input is kept
    --seeds 0,1,2                   these seeds ("5," is the seed 5 alone)
    --seeds 5                       for an experiment whose default is a number: the seeds 0 to 4;
                                    for one whose default is a list (the benchmark, for example): the seed 5
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.errors import CourseError, suggest


def add_options(
    parser: argparse.ArgumentParser, *, seeds: int | str, json: Path | None = None, dataset: str | None = None
) -> None:
    """Add ``--dataset``, ``--seeds`` and ``--json``; a default of None makes an option required."""
    folder = "a course folder, or the name of one in data/; the word --dataset may be left out"
    parser.add_argument("--dataset", default=dataset, metavar="FOLDER", help=f"{folder} (default: {dataset})")
    parser.add_argument("--seeds", default=str(seeds), help='"0,1,2", or a number (default: %(default)s)')
    parser.add_argument("--json", "--out", type=Path, default=json, required=json is None, metavar="FILE",
                        help="result file; what it holds of the same input is kept (default: %(default)s)")  # fmt: skip
    parser.set_defaults(counted=isinstance(seeds, int))


class Parser(argparse.ArgumentParser):
    """A parser that takes the folder with or without ``--dataset``, and names the nearest of an unknown option."""

    def parse_args(self, *arguments: Any, **more: Any) -> argparse.Namespace:
        options, rest = self.parse_known_args(*arguments, **more)
        commands = [a for a in self._actions if isinstance(a, argparse._SubParsersAction)]
        own = commands[0].choices[getattr(options, commands[0].dest)] if commands else self
        for word in rest:
            if word.startswith("-"):
                raise suggest(word, own._option_string_actions, "option")
        if hasattr(options, "seeds"):
            options.seeds = seed_list(options.seeds, options.counted)
        if rest and hasattr(options, "dataset"):
            options.dataset = rest.pop(0)
        if rest:
            own.error(f"unrecognized arguments: {' '.join(rest)}")
        if getattr(options, "dataset", "") is None:
            own.error("the following arguments are required: FOLDER")
        return options


def named(module: str, commands: Mapping[str, str], arguments: Sequence[str] | None) -> tuple[str, list[str]]:
    """Read which command of a door is meant: its name and the words behind it; "" and a list of all without one."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in commands:
        return words[0], words[1:]
    asked = words and words[0] in ("-h", "--help")
    if words and not asked:
        print(suggest(words[0], commands, "command"), file=sys.stderr)
        return "", words[1:]
    width = max(map(len, commands))
    lines = [f"  {name:<{width}}  {text}" for name, text in commands.items()]
    print("\n".join([f"usage: python -m {module} COMMAND ...", *lines]), file=sys.stdout if asked else sys.stderr)
    return "help" if asked else "", []


def seed_list(text: str, counted: bool = False) -> list[int]:
    """Read "0,1,2"; a number alone is that seed or, with ``counted``, how many there are: "3" is 0, 1, 2."""
    try:
        seeds = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise CourseError(f'--seeds {text!r} is not a list of whole numbers; write "0,1,2".') from None
    return list(range(seeds[0])) if counted and seeds and "," not in text else seeds


def seeds_text(seeds: Sequence[int]) -> str:
    """Write seeds as ``seed_list`` reads them where a number counts: [0, 1, 2] is "3", [0, 2] is "0,2"."""
    seeds = list(seeds)
    return str(len(seeds)) if seeds == list(range(len(seeds))) else ",".join(map(str, seeds)) + "," * (len(seeds) == 1)


def command_text(command: str, dataset: str, seeds: Sequence[int]) -> str:
    """Write the command of a study for its result file."""
    return f"python -m {command} {Path(dataset).as_posix()} --seeds {seeds_text(seeds)}"


def run_study(
    command: str,
    run: Callable[[argparse.Namespace], None],
    arguments: Sequence[str] | None,
    *,
    about: str,
    seeds: int | str,
    json: Path | None = None,
    dataset: str | None = None,
    **more: Any,
) -> int:
    """Read the command line of an experiment and run it; return the exit status.

    Args:
        command: what stands behind ``python -m``, for example "utils.lab study ladder".
        run: gets the options; what it raises as CourseError is printed as one sentence.
        arguments: as in ``sys.argv[1:]``, which None stands for.
        about, seeds, json, dataset: the sentence of the help text, and the defaults of ``add_options``.
        more: further options with their defaults, ``epochs=40`` is ``--epochs 40``.
    """
    parser = Parser(prog=f"python -m {command}", description=about)
    add_options(parser, seeds=seeds, json=json, dataset=dataset)
    for name, value in more.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help="default: %(default)s")

    def study() -> None:
        options = parser.parse_args(arguments)
        if not options.seeds:
            raise CourseError(f"--seeds {seeds_text(options.seeds)}: a study needs at least one seed.")
        run(options)
        print(f"written to {options.json}")

    return exit_status(study)


def exit_status(run: Callable[[], None]) -> int:
    """Call ``run`` and return 0; print its CourseError as one sentence and return 1."""
    try:
        run()
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
