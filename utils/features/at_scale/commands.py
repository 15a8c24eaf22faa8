"""Command line of features: extract a dataset's contents, merge shards, export a matrix, list the encoders."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from utils.errors import CourseError
from utils.features.at_scale.config import jobs_of, read_yaml
from utils.features.at_scale.join import WAYS
from utils.features.at_scale.layouts import LAYOUTS, export
from utils.features.at_scale.run import check_shard, run
from utils.features.at_scale.shards import describe, merge, read_matrix
from utils.files import check_yaml


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 1 when something is wrong (printed as one sentence)."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console may not know every letter of an id
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m utils.features", description="From contents to matrices.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("extract", help="compute features; killed at any point, the same command goes on")
    command.add_argument("dataset", nargs="?", help="a folder's name in data/, or a path")
    command.add_argument("--config", help="a YAML file; what is typed besides wins over it")
    command.add_argument("--modality", help="visual, textual, audio or image_text")
    command.add_argument(
        "--encoder", help="a name of `python -m utils.features encoders`, or own:package.module:factory"
    )
    command.add_argument("--layer", action="append", dest="layers", help="may be given several times")
    command.add_argument("--out", help="folder of the result")
    command.add_argument("--source", help="items, or interactions (reviews)")
    command.add_argument("--ids", help="of interactions: row, or pair (user and item)")
    command.add_argument("--language", help="suffix of description_<language>")
    command.add_argument(
        "--clean", action="append", help="a preset (plain, ducho) or a step; may be given several times"
    )
    command.add_argument("--fusion", help=f"of image_text: {', '.join(WAYS)}")
    command.add_argument("--dtype", help="float32 or float16")
    command.add_argument("--format", help="npy or safetensors")
    command.add_argument("--on-error", dest="on_error", help="mask or raise")
    command.add_argument("--device", help="cpu, cuda, mps, or auto: the fastest that is there")
    command.add_argument("--batch-size", dest="batch_size", type=int)
    command.add_argument("--block", type=int, help="rows of a block: what a kill can cost")
    command.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the encoder")
    command.add_argument("--shard", help="i/n: this process computes part i of n; torchrun's RANK/WORLD_SIZE otherwise")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run=_extract)
    command = commands.add_parser("merge", help="put the shards of a folder together, by id")
    command.add_argument("out")
    command.set_defaults(run=_merge)
    command = commands.add_parser("export", help="write a merged matrix in another layout")
    command.add_argument("folder", help="a folder that extract wrote")
    command.add_argument("target")
    command.add_argument("--layout", default="ducho", help=f"{', '.join(LAYOUTS)}")
    command.add_argument("--modality", default="")
    command.add_argument("--dtype", default="float32", choices=["float32", "float16"])
    command.add_argument("--backend", default="torch", help="first folder of the Ducho layout")
    command.set_defaults(run=_export)
    commands.add_parser("encoders", help="name the encoders").set_defaults(run=_encoders)
    return parser


def parse_shard(text: str) -> tuple[int, int]:
    """``"2/8"`` -> (2, 8).

    Raises:
        CourseError: not of that form, or 2 not below 8.
    """
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit()):
        raise CourseError(f"--shard {text}: write i/n, for example 0/2 and 1/2.")
    return check_shard((int(index), int(count)))


def _typed(options: argparse.Namespace) -> dict[str, Any]:
    """What was typed, under the keys of the configuration."""
    import yaml

    names = (
        "dataset modality encoder layers out source ids language fusion dtype format on_error device batch_size block"
    )
    given = {name: getattr(options, name) for name in names.split() if getattr(options, name) is not None}
    if options.clean:
        given["clean"] = options.clean[0] if len(options.clean) == 1 else options.clean
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise CourseError(f"--set {text}: write OPTION=VALUE, for example size=160.")
        try:
            check_yaml(value)
            given[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):
            raise CourseError(f"--set {text}: the value cannot be read; put words with colons in quotes.") from None
    return given


def _extract(options: argparse.Namespace) -> int:
    config = read_yaml(options.config) if options.config else {}
    given = _typed(options)
    if len(config.get("jobs", [])) > 1 and "out" in given:
        raise CourseError(f"--out is one folder, and {options.config} has several jobs; set out in the file.")
    jobs = jobs_of(config, options.config or "the command", given)
    shard = parse_shard(options.shard) if options.shard else None
    for job in jobs:
        folders = run(job, shard, progress=not options.quiet)
        for folder in folders:
            print(describe(folder))
        if not folders:
            print(f"{job.out}: this shard is finished; when all are, run `python -m utils.features merge {job.out}`")
    return 0


def _merge(options: argparse.Namespace) -> int:
    for folder in merge(options.out):
        print(describe(folder))
    return 0


def _export(options: argparse.Namespace) -> int:
    features = read_matrix(options.folder, options.modality)
    target = export(features, options.target, options.layout, options.dtype, options.backend)
    print(f"{target}: {int(features.mask.sum())} of {features.n_items} rows, {features.dim} numbers each")
    return 0


def _encoders(_options: argparse.Namespace) -> int:
    from utils.features import encoder_table

    print(encoder_table().drop(columns="licence").to_string(index=False))
    return 0
