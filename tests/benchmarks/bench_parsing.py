"""Reviews parsed per second, and the peak of the memory, on a made-up file in the Amazon 2014 format.

    python -m tests.benchmarks.bench_parsing [--rows 1000000] [--json FILE] [--orjson FOLDER]

The figures go to data/results/parsing.json; `python -m utils.lab tables` puts them into README.

The file is made in a temporary folder (which goes away), from a seed: users and items by a Zipf law, texts of the length
of real reviews, one row in a thousand broken on purpose. Each stage runs in a process of its own, so that its peak is its
own: reading lines alone, JSON alone, parsing into the log, and the whole `get` from files to the course folder.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from utils.stored import RESULTS, ResultFile, load_now, origin

WORDS = """the a of to and it for is in this my that with on was not great good have one so very well but you they use
product these are easy love would quality price works bought time just like little get buy than when been really made baby
paper pens printer nice small large color perfect recommend store arrived before after because every still better""".split()


def make_files(folder: Path, n_rows: int, seed: int = 0) -> tuple[int, int]:
    """Write reviews and products as the publisher names them; return (good rows, bytes of unpacked reviews)."""
    rng = np.random.default_rng(seed)
    n_users, n_items = max(10, n_rows // 8), max(10, n_rows // 15)
    story = " ".join(rng.choice(np.array(WORDS), 1_000_000))  # every text is a piece of it
    size, good = 0, 0
    with gzip.open(folder / "reviews_Office_Products_5.json.gz", "wt", encoding="utf-8", compresslevel=1) as file:
        for start in range(0, n_rows, 10_000):
            n = min(10_000, n_rows - start)
            users = (n_users * rng.random(n) ** 1.5).astype(int)
            items = (n_items * rng.random(n) ** 2).astype(int)
            lengths = np.clip(rng.lognormal(5.9, 0.8, n), 15, 4000).astype(int)  # letters, median 365
            days, ratings = rng.integers(0, 4000, n), rng.integers(1, 6, n)
            places = rng.integers(0, len(story) - 4000, n)
            lines = []
            for user, item, length, day, rating, place in zip(users, items, lengths, days, ratings, places):
                row = {
                    "reviewerID": f"A{user:013d}",
                    "asin": f"B{item:09d}",
                    "reviewerName": f"Somebody {user}",
                    "helpful": [0, 0],
                    "reviewText": story[place : place + length].strip(),
                    "overall": float(rating),
                    "summary": "Five stars",
                    "unixReviewTime": int(1_000_000_000 + 86_400 * day),
                    "reviewTime": "01 1, 2014",
                }
                line = json.dumps(row)
                if len(lines) % 1000 == 999:
                    line = line[: len(line) // 2]
                else:
                    good += 1
                size += len(line) + 1
                lines.append(line)
            file.write("\n".join(lines) + "\n")
    with gzip.open(folder / "meta_Office_Products.json.gz", "wt", encoding="utf-8", compresslevel=1) as file:
        for item in range(n_items):
            place = int(rng.integers(0, len(story) - 400))
            text = story[place : place + 400]
            row = {"asin": f"B{item:09d}", "title": f"Thing {item}", "description": text, "imUrl": "http://h/x.jpg",
                   "categories": [["Office Products", "Pens"]], "related": {"also_bought": [f"B{n:09d}" for n in range(40)]}}  # fmt: skip
            file.write(repr(row) + "\n")
    return good, size


def stage(name: str, folder: Path) -> dict[str, float]:
    """Run one stage here; return seconds and counts."""
    from utils.network.archives import lines_of

    path = folder / "reviews_Office_Products_5.json.gz"
    clock, cpu = time.perf_counter(), time.process_time()
    rows = 0
    if name == "imports only":
        import utils.publishers.dataset  # noqa: F401
    elif name == "lines":
        rows = sum(1 for _ in lines_of(path))
    elif name in ("json", "orjson"):
        loads = __import__(name).loads
        for _, line in lines_of(path):
            try:
                loads(line)
                rows += 1
            except ValueError:
                pass
    elif name == "parse":
        from utils.publishers.amazon import scan_reviews
        from utils.publishers.streams import BadRows, ReviewStream

        bad = BadRows()
        clock, cpu = time.perf_counter(), time.process_time()
        with ReviewStream(folder / "spool") as log:
            scan_reviews(path, "2014", log, bad)
        rows = len(log)
    else:
        from utils.publishers.dataset import get

        clock, cpu = time.perf_counter(), time.process_time()
        got = get(
            "amazon-2014-office", folder / "made", source=folder, images=False, progress=False, say=lambda _: None
        )
        rows = int(got.steps["interactions"].iloc[0])
    spent = time.process_time() - cpu
    return {"rows": rows, "seconds": time.perf_counter() - clock, "cpu_seconds": spent, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """The largest memory that this process has had, MB (resident)."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # Linux hands ru_maxrss on to a new program: there it would be that of this command's parent
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def run(folder: Path, name: str, extra_path: str = "") -> dict[str, float]:
    """Run one stage in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_parsing", "--stage", name, "--folder", str(folder)]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), extra_path]))
    answer = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", metavar="FILE", default=RESULTS / "parsing.json", type=Path)
    parser.add_argument("--orjson", metavar="FOLDER", help="also time orjson, installed in this folder")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(stage(options.stage, Path(options.folder))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        good, size = make_files(folder, options.rows)
        about = origin("python -m tests.benchmarks.bench_parsing")
        about |= {"rows": options.rows, "good": good, "unpacked_mb": round(size / 1e6, 1)}
        rows = []
        print(f"{options.rows:,} rows, {good:,} of them good, {size / 1e6:,.0f} MB unpacked")
        names = ["imports only", "lines", "json", *(["orjson"] if options.orjson else []), "parse", "get"]
        for name in names:
            found = run(folder, name, options.orjson or "")
            figures = {key: round(value, 3) for key, value in found.items()}
            rows.append({"stage": name, **figures, "load": load_now()})
            rate = found["rows"] / found["cpu_seconds"]
            print(
                f"{name:13s} {found['seconds']:7.1f} s  {rate:10,.0f} rows/CPU s  peak {found['peak_mb']:6,.0f} MB",
                flush=True,
            )
    with ResultFile(options.json).update() as content:
        content |= {"meta": about, "rows": rows}


if __name__ == "__main__":
    main()
