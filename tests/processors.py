"""Run the tests as other processors would: `make processors`, or `python tests/processors.py --runs lowest:2,highest:1`.

numpy, torch and their libraries carry code for several generations of a processor and choose when they start. The
results agree within rounding only, and the order of equal keys not at all. Environment variables make them choose as on
an old processor, so one machine can show that the tests rely on neither. Each run is LEVEL:THREADS, where LEVEL is

  lowest    what every x86-64 processor can do
  avx2      what most laptops can do (needs a processor with AVX2)
  highest   all that this processor can do

By default lowest:1 and highest:2. Every run prints what it really used, and fails when that is not what was asked for.
On other processors (ARM) there are no such switches: the runs differ in their threads only.

With --notebooks 00,05 (make: ONLY=00,05) these notebooks run in FAST mode instead of the tests, and their numbers are
compared with tests/records/fast. What else is given goes to pytest, for example tests/graphs/test_graphs.py -x.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recorded import shares

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "processors"
DEFAULT_RUNS = "lowest:1,highest:2"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# torch, oneDNN, OpenBLAS (numpy, scipy), MKL (in torch). MKL heeds the first of its two on Intel only, the second
# everywhere. MKL has no switch that takes an AMD processor back to AVX2, which is what it uses there anyway.
SWITCHES = {
    "lowest": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Prescott",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "MKL_CBWR": "COMPATIBLE",
    },
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "highest": {},
}
NUMPY_SWITCH = "NPY_DISABLE_CPU_FEATURES"
CAPABILITY = {"lowest": ("DEFAULT",), "avx2": ("AVX2",)}

NUMPY_PROBE = """
import json, numpy
core = getattr(numpy, "_core", None) or numpy.core
features, dispatch = core._multiarray_umath.__cpu_features__, core._multiarray_umath.__cpu_dispatch__
found = {"numpy": [name for name in dispatch if features.get(name)], "avx2": bool(features.get("AVX2"))}
"""
PROBE = """
import scipy.linalg, torch
from threadpoolctl import threadpool_info
found.update({
    "torch": torch.backends.cpu.get_cpu_capability(),
    "threads": torch.get_num_threads(),
    "libraries": [
        f"{pool['internal_api']} {pool.get('architecture') or ''} {pool['num_threads']}" for pool in threadpool_info()
    ],
})
"""


@dataclass(frozen=True)
class Processor:
    """What can be switched here: ``features`` are numpy's optional ones that this processor has."""

    machine: str
    features: tuple[str, ...]
    avx2: bool

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that differ on this processor."""
        if self.machine.lower() not in ("x86_64", "amd64"):
            return ("highest",)
        return ("lowest", "avx2", "highest") if self.avx2 else ("lowest", "highest")


def switched_off(level: str, processor: Processor) -> list[str]:
    """Return the features that numpy has to leave alone at a level."""
    newer = ("AVX512", "X86_V4")  # numpy names generations (X86_V4) since 2.4, and instruction sets before
    return {
        "lowest": list(processor.features),
        "avx2": [name for name in processor.features if name.startswith(newer)],
        "highest": [],
    }[level]


def environment(level: str, threads: int, processor: Processor, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a run; switches that ``inherited`` holds do not reach it.

    Raises:
        ValueError: this processor has no such level.
    """
    if level not in processor.levels:
        raise ValueError(f"{processor.machine} has no level {level!r} here; choose from {', '.join(processor.levels)}.")
    switches = {NUMPY_SWITCH, *(name for chosen in SWITCHES.values() for name in chosen)}
    result = {name: value for name, value in inherited.items() if name not in switches}
    result |= SWITCHES[level] | dict.fromkeys(THREADS, str(threads))
    if off := switched_off(level, processor):
        result[NUMPY_SWITCH] = " ".join(off)
    return result | {"PYTHONHASHSEED": str(threads)}  # so that the order of a set of words differs between the runs


def probe(variables: Mapping[str, str], code: str = NUMPY_PROBE + PROBE) -> dict:
    """Start Python with these variables and return what numpy, torch and the libraries below them chose."""
    command = [sys.executable, "-W", "error::ImportWarning", "-c", code + "print(json.dumps(found))"]
    answer = subprocess.run(command, env=dict(variables), capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def this_processor() -> Processor:
    """Look at the processor with every switch left out."""
    found = probe(environment("highest", 1, Processor(platform.machine(), (), False), os.environ), NUMPY_PROBE)
    return Processor(platform.machine(), tuple(found["numpy"]), found["avx2"])


def not_as_asked(level: str, threads: int, processor: Processor, used: Mapping) -> list[str]:
    """Say in words where a run would not use what was asked for; nothing when all is well."""
    wrong = []
    expected = [name for name in processor.features if name not in switched_off(level, processor)]
    if list(used["numpy"]) != expected:
        wrong.append(f"numpy uses {used['numpy']}, not {expected}")
    if level in CAPABILITY and used["torch"] not in CAPABILITY[level]:
        wrong.append(f"torch uses {used['torch']}, not {CAPABILITY[level][0]}")
    if used["threads"] != threads:
        wrong.append(f"torch has {used['threads']} threads, not {threads}")
    return wrong


def parse_runs(text: str, processor: Processor) -> list[tuple[str, int]]:
    """Read ``lowest:1,highest:2``; where there are no levels, only the threads are left, each once.

    Raises:
        ValueError: it is written in another way, or there is no such level.
    """
    runs = []
    for part in text.split(","):
        level, _, threads = part.strip().partition(":")
        if level not in SWITCHES or not threads.isdigit() or not int(threads):
            raise ValueError(f"{part.strip()!r} is no run; write for example {DEFAULT_RUNS}.")
        runs.append((level if len(processor.levels) > 1 else "highest", int(threads)))
    for level, threads in runs:
        environment(level, threads, processor, {})
    return list(dict.fromkeys(runs))


def command(notebooks: Sequence[str], rest: Sequence[str], folder: Path) -> list[str]:
    """Return the call of pytest: the tests without notebooks and browsers, or the chosen notebooks alone."""
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    if not notebooks:
        return [*pytest, "-m", "not notebook and not browser", *rest]
    chosen = ["tests/test_notebooks.py", "-m", "notebook", "-k", " or ".join(notebooks), "--basetemp", str(folder)]
    return [*pytest, *chosen, *rest]


def nearest_to_its_limit(notebook: str, folder: Path) -> str:
    """Say which number of a notebook's fresh record uses up most of its tolerance."""
    number = notebook.split("_")[0]
    found = {path.resolve() for path in folder.glob(f"*/fast/{number}.json")}  # pytest links to its latest folder
    if len(found) != 1:
        return f"{notebook}: no record, the notebook did not come to its end"
    fresh, stored = (
        json.loads(path.read_text(encoding="utf-8"))["values"]
        for path in (found.pop(), ROOT / "tests" / "records" / "fast" / f"{number}.json")
    )
    used = shares(fresh, stored)
    name, share = max(used.items(), key=lambda pair: pair[1])
    differ = sum(value > 0 for value in used.values())
    return (
        f"{notebook}: {differ} of {len(used)} numbers differ from the record, the farthest is {name}: "
        f"{fresh[name]['value']}, recorded {stored[name]['value']} within {stored[name]['tolerance']} ({share:.0%})"
    )


def main() -> int:
    """Command line of `make processors`."""
    sys.path.insert(0, str(ROOT))
    from utils.errors import CourseError
    from utils.press import run as runner

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default=DEFAULT_RUNS, help=f"LEVEL:THREADS, with commas between ({DEFAULT_RUNS})")
    parser.add_argument(
        "--notebooks", default="", help="run these in FAST mode instead of the tests, for example 00,05"
    )
    options, rest = parser.parse_known_args()
    processor = this_processor()
    try:
        notebooks = [path.stem for path in runner.select(options.notebooks)] if options.notebooks else []
        runs = parse_runs(options.runs, processor)
    except (ValueError, CourseError) as error:
        print(error, file=sys.stderr)
        return 2
    if len(processor.levels) == 1:
        print(f"{processor.machine}: no switches for the instruction set, the runs differ in their threads only")
    failed = []
    for level, threads in runs:
        name, folder = f"{level}, {threads} thread{'s' if threads > 1 else ''}", BUILD / f"{level}_{threads}"
        variables = environment(level, threads, processor, os.environ)
        used, start = probe(variables), time.perf_counter()
        print(f"--- {name}: numpy {' '.join(used['numpy']) or 'baseline'}; torch {used['torch']}, {used['threads']} threads;"
              f" {', '.join(used['libraries'])}", flush=True)  # fmt: skip
        if wrong := not_as_asked(level, threads, processor, used):
            failed.append(name)
            print("FAILED, the switches have no effect: " + "; ".join(wrong), flush=True)
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        code = subprocess.run(command(notebooks, rest, folder / "pytest"), cwd=ROOT, env=variables).returncode
        for notebook in notebooks:
            print(nearest_to_its_limit(notebook, folder / "pytest"))
        print(
            f"--- {name}: {'ok' if not code else f'FAILED ({code})'}, {time.perf_counter() - start:.0f} s", flush=True
        )
        failed += [name] if code else []
    print(f"{len(runs)} runs, {len(failed)} failed" + (f": {'; '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
