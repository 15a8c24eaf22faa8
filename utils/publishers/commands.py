"""The command that gets a publisher's dataset: terms, download, cleaning, split and card."""

from __future__ import annotations

import argparse
import sys

from utils.publishers.catalogue import catalogue
from utils.publishers.dataset import RECIPES, get


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add ``get`` to a command line."""
    command = commands.add_parser("get", help="make a course folder of a publisher's dataset, downloaded once")
    command.add_argument("name", metavar="NAME", nargs="?", help="for example amazon-2014-office; --list names all")
    command.add_argument("--list", action="store_true", help="name the datasets that can be had, and their counts")
    command.add_argument("--yes", action="store_true", help="accept the publisher's terms without being asked")
    command.add_argument("--to", metavar="FOLDER", help="the folder to make (default: data/downloads/NAME)")
    command.add_argument("--from", dest="source", metavar="FOLDER", help="the publisher's files are here already")
    command.add_argument("--recipe", default="course", help=f"the choices in between: {', '.join(RECIPES)}")
    command.add_argument("--items", help='"all", or "complete": only items with a description and a picture')
    command.add_argument("--k", type=int, help="k-core (default: 5; 0 = none)")
    command.add_argument("--variants", help='"keep", or "one" row of a review that is shown on several variants')
    command.add_argument("--min-rating", type=float, help="smallest rating that counts (default: the catalogue's)")
    command.add_argument("--split", dest="strategy", help="a strategy of split_dataset (default: random per user)")
    command.add_argument("--seed", type=int, help="seed of the split (default: 0)")
    command.add_argument("--no-images", action="store_true", help="do not ask for pictures")
    command.add_argument("--max-images", type=int, metavar="N", help="ask for N pictures in this run")
    command.add_argument("--limit", type=int, metavar="N", help="read only the first N reviews, for a first look")
    command.set_defaults(run=_get)


def _get(options: argparse.Namespace) -> int:
    if options.list or not options.name:
        table = catalogue()
        print(table.to_string(index=False, formatters={n: "{:,}".format for n in table.columns[2:]}))
        print("0 = not known here. python -m utils.data get NAME shows the terms and asks before it downloads.")
        return 0
    choices = {name: getattr(options, name) for name in ("items", "k", "variants", "min_rating", "strategy", "seed")}
    get(
        options.name,
        options.to,
        accept=options.yes or None,
        recipe=options.recipe,
        images=not options.no_images,
        max_images=options.max_images,
        source=options.source,
        limit=options.limit,
        progress=sys.stderr.isatty(),
        **{name: value for name, value in choices.items() if value is not None},
    )
    return 0
