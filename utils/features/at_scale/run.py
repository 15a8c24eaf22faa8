"""Run an extraction job, whole or one shard of it, and merge the shards when all are there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from utils.arrays import read_arrays
from utils.errors import CourseError
from utils.features.at_scale.blocks import SIDES, parts_folder
from utils.features.at_scale.job import PAIR, Job, Runner, claim, plan
from utils.features.at_scale.shards import merge
from utils.features.extraction import warn_unreadable
from utils.files import sweep, write_json


def shard_of_environment() -> tuple[int, int]:
    """(RANK, WORLD_SIZE) as torchrun sets them, else (0, 1)."""
    try:
        return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    except ValueError:
        raise CourseError("RANK and WORLD_SIZE are no whole numbers; unset them, or give --shard i/n.") from None


def check_shard(shard: tuple[int, int]) -> tuple[int, int]:
    """Return (i, n), or raise when i is not below n."""
    index, count = shard
    if not 0 <= index < count:
        raise CourseError(f"Shard {index}/{count} does not exist; i runs from 0 to n - 1.")
    return shard


def run(
    job: Job,
    shard: tuple[int, int] | None = None,
    progress: bool = True,
    after_part: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Compute one shard of a job; alone (0, 1), it also merges.

    Args:
        shard: (i, n); None = what torchrun says, else (0, 1).
        progress: show a bar.
        after_part: called with each finished file.

    Returns:
        The folders of the merged matrices; [] when other shards have still to come (then :func:`merge`).

    Raises:
        CourseError: unknown names, a folder of another job, content that cannot be read with on_error "raise".
    """
    shard = check_shard(shard_of_environment() if shard is None else shard)
    if job.modality == PAIR:
        names = {side.modality: plan(side).layers for side in job.sides()}  # all is checked before anything runs
        if job.fusion and any(len(layers) > 1 for layers in names.values()):
            raise CourseError("fusion joins one layer of each side; give one layer, or leave fusion out.")
        write_json(parts_folder(job.out) / "sides.json", {"sides": list(SIDES), "fusion": job.fusion})
        for side in job.sides():
            run_side(side, shard, progress, after_part)
    else:
        run_side(job, shard, progress, after_part)
    return merge(job.out) if shard[1] == 1 else []


def run_side(
    job: Job, shard: tuple[int, int], progress: bool, after_part: Callable[[Path], None] | None = None
) -> None:
    """Compute the blocks of one shard, and list them in shard-I-of-N.json, which the merge asks for."""
    settled = plan(job)
    index, count = shard
    if settled.encoder.whole and count > 1:
        raise CourseError(
            f"Encoder {settled.encoder.name!r} is fitted on all rows at once, so it cannot be cut into shards; run it "
            "without --shard."
        )
    claim(settled)
    for folder in (job.out, parts_folder(job.out)):
        sweep(folder)
    runner, parts, unreadable = Runner(settled), {}, []
    bar = tqdm(
        total=len(range(index, settled.n_blocks, count)) * settled.block,
        desc=f"{job.modality}: {settled.encoder.name} {index}/{count}",
        unit="row",
        disable=not progress,
    )
    with bar:
        for number in range(index, settled.n_blocks, count):
            path = runner.part(number)
            parts[str(number)] = path.name
            unreadable += json.loads(str(read_arrays(path, ("about",))["about"]))["unreadable"]
            bar.update(settled.block)
            if after_part is not None:
                after_part(path)
    warn_unreadable(unreadable, f"{job.modality} content(s) of {job.dataset.name}")
    signed = {"key": settled.key, "shard": index, "of": count, "n_blocks": settled.n_blocks, "parts": parts}
    write_json(parts_folder(job.out) / f"shard-{index}-of-{count}.json", signed)
