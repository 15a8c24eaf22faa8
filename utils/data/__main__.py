"""Room "Which?" (utils/data) on the command line: get, make, convert, check and export datasets."""

from __future__ import annotations

import argparse
import sys

from utils.data.catalogue import catalogue
from utils.data.convert import CONVERTERS, convert
from utils.data.export import LAYOUTS, export
from utils.data.load import known_datasets, load_dataset
from utils.data.publishers import RECIPES, get
from utils.data.report import report
from utils.data.template import new_folder
from utils.data.uses import modalities
from utils.errors import CourseError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 1 when the data has an error (which is printed as one sentence)."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console may not know every letter of a title
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on with what is on the disk", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m utils.data", description="Datasets of the course.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("convert", help="make a course folder of a foreign layout")
    command.add_argument("name", metavar="NAME", help=f"the layout: {', '.join(CONVERTERS)}")
    command.add_argument("source", help="the folder to read")
    command.add_argument("target", help="the folder to make")
    command.add_argument("--min-rating", type=float, default=4.0, help="smallest rating that counts (default: 4)")
    command.set_defaults(run=_convert)
    command = commands.add_parser("new", help="make a folder to fill with data of your own, with its card")
    command.add_argument("folder", help="a new or empty folder")
    command.set_defaults(run=_new)
    command = commands.add_parser("export", help="write a dataset in the layout of another framework")
    command.add_argument("folder", help="a path, or the name of a folder in data/")
    command.add_argument("layout", help=", ".join(LAYOUTS))
    command.add_argument("target", help="a new or empty folder")
    command.add_argument("--strategy", help="how to split a log without a split column (default: random)")
    command.add_argument("--seed", type=int, default=0, help="of that split")
    command.add_argument("--no-features", dest="features", action="store_false", help="the log and the ids alone")
    command.set_defaults(run=_export)
    command = commands.add_parser("check", help="say all that is wrong with a folder; exit status 1 on errors")
    command.add_argument("folder", help="a path, or the name of a folder in data/")
    command.add_argument("--tables", default="", help='folder of other tables inside it, for example "raw"')
    command.set_defaults(run=_check)
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
    commands.add_parser("list", help="name the datasets in data/").set_defaults(run=_list)
    return parser


def _convert(options: argparse.Namespace) -> int:
    target = convert(options.name, options.source, options.target, min_rating=options.min_rating)
    print(load_dataset(target.resolve()))
    print(f"written to {target}; use it with DATASET={target}")
    return 0


def _check(options: argparse.Namespace) -> int:
    found = report(options.folder, tables=options.tables)
    print(found)
    return 1 if found.errors else 0


def _new(options: argparse.Namespace) -> int:
    target = new_folder(options.folder)
    print(f"{target} is ready: put your rows in the place of the examples, fill in README.md, then run")
    print(f"python -m utils.data check {target}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from utils.features import load_features  # the room of features imports this one

    dataset = load_dataset(options.folder)
    wanted = [m for m in modalities(dataset) if options.features]
    features = load_features(dataset, wanted) if wanted else None
    choices = {"strategy": options.strategy, "seed": options.seed}
    target = export(dataset, options.layout, options.target, features=features, **choices)
    print(f"{dataset.name} in the layout of {options.layout}: {target}; users.tsv and items.tsv lead back to the ids")
    return 0


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


def _list(_options: argparse.Namespace) -> int:
    for name in known_datasets():
        try:
            dataset = load_dataset(name)
        except CourseError as error:
            print(f"{name}: {error}")
        else:
            counts = f"{dataset.n_users:,} users, {dataset.n_items:,} items, {dataset.n_interactions:,} interactions"
            print(f"{name}: {counts}")
    if not known_datasets():
        print("data/ holds no dataset")
    return 0


if __name__ == "__main__":
    sys.exit(main())
