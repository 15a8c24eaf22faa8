"""Commands for your own data: make a folder, check it, bring it in from another layout and out again."""

from __future__ import annotations

import argparse

from utils.data.load import known_datasets, load_dataset
from utils.data.requirements import modalities
from utils.errors import CourseError
from utils.features import load_features
from utils.own_data.clean_folder import clean_folder
from utils.own_data.export import LAYOUTS, export
from utils.own_data.movielens_posters import CONVERTERS, convert
from utils.own_data.report import report
from utils.own_data.template import new_folder


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add ``convert``, ``new``, ``export``, ``check``, ``clean`` and ``list`` to a command line."""
    command = commands.add_parser("convert", help="make a course folder of a foreign layout")
    command.add_argument("name", metavar="NAME", help=f"the layout: {', '.join(CONVERTERS)}")
    command.add_argument("source", help="the folder to read (of csv also a file)")
    command.add_argument("target", help="the folder to make")
    command.add_argument("--min-rating", type=float, help="movielens-posters: smallest rating that counts (default: 4)")
    command.add_argument(
        "--columns", help="csv: names of a headerless log's columns, such as user,item,rating,timestamp"
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be made, and write nothing")
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
    command.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    command.set_defaults(run=_export)
    command = commands.add_parser("check", help="say all that is wrong with a folder; exit status 1 on errors")
    command.add_argument("folder", help="a path, or the name of a folder in data/")
    command.add_argument("--tables", default="", help='folder of other tables inside it, for example "raw"')
    command.set_defaults(run=_check)
    command = commands.add_parser("clean", help="make a clean folder: one row a pair, likes, k-core")
    command.add_argument("folder", help="a path, or the name of a folder in data/")
    command.add_argument("target", help="a new folder")
    command.add_argument("--k-core", type=int, default=0, metavar="K", help="least interactions of each user and item")
    command.add_argument(
        "--min-rating", type=float, metavar="R", help="smallest rating that counts (default: all count)"
    )
    command.add_argument("--keep", default="latest", help='of repeated pairs: "latest" or "first" row')
    command.add_argument("--media", default="mask", help='"mask" or "drop" items with an unreadable picture or sound')
    command.add_argument("--missing-text", default="mask", help='"mask" or "drop" items without any text')
    command.set_defaults(run=_clean)
    commands.add_parser("list", help="name the datasets in data/").set_defaults(run=_list)


def _convert(options: argparse.Namespace) -> int:
    choices = {"min_rating": options.min_rating, "columns": options.columns, "dry_run": options.dry_run}
    target = convert(options.name, options.source, options.target, **choices)
    if options.dry_run:
        print("a dry run: nothing was written")
        return 0
    print(load_dataset(target.resolve()))
    print(f"written to {target}; use it with DATASET={target}")
    return 0


def _check(options: argparse.Namespace) -> int:
    found = report(options.folder, tables=options.tables)
    print(found)
    return 1 if found.errors else 0


def _clean(options: argparse.Namespace) -> int:
    before = load_dataset(options.folder)
    choices = {name: getattr(options, name) for name in ("k_core", "min_rating", "keep", "media", "missing_text")}
    steps = clean_folder(options.folder, options.target, **choices)
    print(steps.to_string(index=False, formatters={name: "{:,}".format for name in ("removed", "kept")}))
    after = load_dataset(options.target)
    for word, dataset in (("from", before), ("to", after)):
        print(f"{word} {dataset.n_users:,} users, {dataset.n_items:,} items, {dataset.n_interactions:,} interactions")
    print(f"written to {options.target}; use it with DATASET={options.target}")
    return 0


def _new(options: argparse.Namespace) -> int:
    target = new_folder(options.folder)
    print(f"{target} is ready: put your rows in the place of the examples, fill in README.md, then run")
    print(f"python -m utils.data check {target}")
    return 0


def _export(options: argparse.Namespace) -> int:
    dataset = load_dataset(options.folder)
    wanted = [m for m in modalities(dataset) if options.features]
    features = load_features(dataset, wanted) if wanted else None
    choices = {"strategy": options.strategy, "seed": options.seed, "dry_run": options.dry_run}
    target = export(dataset, options.layout, options.target, features=features, say=print, **choices)
    if options.dry_run:
        print("a dry run: nothing was written")
        return 0
    print(f"{dataset.name} in the layout of {options.layout}: {target}; users.tsv and items.tsv lead back to the ids")
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
