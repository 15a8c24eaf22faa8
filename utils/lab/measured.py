"""README's tables of what reading and extracting cost, from the files that `tests/benchmarks` store.

`python -m utils.lab tables` puts them in. The files: data/results/extraction.json and data/results/parsing.json, by

    python -m tests.benchmarks.bench_extraction
    python -m tests.benchmarks.bench_parsing
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from utils.stored import RESULTS, markdown_rows

STAGES = {"lines": "unpack, cut into lines", "json": "and read each line (Python's json)", "orjson": "the same with orjson",
          "parse": "from file to log", "get": "the whole `get`: both files, join, core, split, folder"}  # fmt: skip


def _loads(rows: list[Mapping[str, Any]]) -> str:
    found = sorted(row["load"] for row in rows)
    return f"{found[0]:g}" if found[0] == found[-1] else f"{found[0]:g} to {found[-1]:g}"


def extraction(result: Mapping[str, Any]) -> str:
    """The table of extraction: CPU seconds of one thread beside a plain loop and beside batch 1 with files."""
    lines, devices = [], []
    for row in result["rows"]:
        if row.get("device", "cpu") != "cpu":
            devices.append(
                f"{row['encoder']} on {row['device_name']}: {row['items_per_second']:,.0f} items a second, a million in "
                f"{row['million_hours']:g} h; on eight, extrapolated, {row['million_hours_on_8_extrapolated']:g} h."
            )
            continue
        bars = row.get("bars_met")
        ratios = [f"{row[f'against_{way}']:.2f}" for way in ("loop", "files")]
        if bars:
            ratios = [f"{ratio}{'' if met else ' (missed)'}" for ratio, met in zip(ratios, bars.values())]
        hours = row["million_items_hours_on_2_cores_extrapolated"]
        lines.append([row["encoder"], row["content"], f"{row['job_cpu_ms']:.1f}", *ratios, f"{hours:g}"])
    header = ["Encoder", "Content", "ms an item", "against a loop (bar 1.3)", "against batch 1, files (bar 4)",
              "a million on 2 cores, extrapolated, h"]  # fmt: skip
    meta = result["meta"]
    said = f"`{meta['command']}` ({meta['machine']}, load {_loads(result['rows'])}, CPU time of one thread)"
    return "\n\n".join([markdown_rows(header, lines, wide=True), *devices, said])


def parsing(result: Mapping[str, Any]) -> str:
    """The table of parsing: rows per CPU second and the peak of the memory, by stage."""
    lines = []
    for row in result["rows"]:
        if row["stage"] in STAGES:
            rate = row["rows"] / row["cpu_seconds"]
            lines.append([STAGES[row["stage"]], f"{round(rate, -2):,.0f}", f"{row['peak_mb']:,.0f}"])
    meta = result["meta"]
    said = (
        f"`{meta['command']}`: {meta['rows']:,} reviews, {meta['unpacked_mb']:,.0f} MB unpacked ({meta['machine']}, load "
        f"{_loads(result['rows'])})"
    )
    header = ["Stage", "rows per CPU second", "peak, MB"]
    return f"{markdown_rows(header, lines, wide=True)}\n\n{said}"


def blocks() -> dict[str, str]:
    """README's generated blocks of this file, of those results that are stored."""
    found = {}
    for name, render in (("extraction", extraction), ("parsing", parsing)):
        file = RESULTS / f"{name}.json"
        if file.exists():
            found[name] = render(json.loads(file.read_text(encoding="utf-8")))
    return found
