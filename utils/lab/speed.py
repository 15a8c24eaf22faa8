"""Seconds and memory: our models beside the usual habits (naive mode) and beside public peers, in one run, as ratios.

python -m utils.benchmark speed --json OUT [--tasks bpr,evaluation] [--repeats 3] [--peers FOLDER] [--quick] [--force]

Both sides of a task do the same work on the same clicks, in turns (ours, rival, ours, ...), and the medians are kept.
The ratio is of process CPU seconds, which other work on the machine disturbs less than wall time; below 1 = we need
less. "bar" is the ratio that the course asks of itself.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from utils.data import Split
from utils.errors import CourseError, suggest
from utils.evaluation.ranking import Scorer
from utils.features import Features
from utils.files import ROOT, write_text
from utils.lab import naive, peers
from utils.lab.synthetic import synthetic
from utils.models import MODELS, Recommender, TrainedRecommender, make_model
from utils.stored import ResultFile, markdown_rows, merge_rows, meta, peak_mb

THREADS = 2
BATCH, DIM, CUTOFFS = peers.BATCH, peers.DIM, peers.CUTOFFS
METRICS = ("recall", "ndcg", "precision", "map")
SCALES = (1, 2, 4, 8)
TRAINING_HABITS = ("loop_sampling", "coo_products", "every_item", "plain_adam", "fancy_indexing", "plain_gradient")
HABITS = {
    "evaluation": ("loop_hits", "wide_ranking"),
    "lattice": (*TRAINING_HABITS, "dense_item_graph", "dense_degrees"),
}
QUICK = 0.05  # share of the size, with --quick
LIMIT = 7200  # seconds for one subprocess of the growth tasks

# ours / rival, in CPU seconds
BARS = {"evaluation": 1 / 4, "sampling": 1 / 6, "bpr": 1 / 2.5, "lightgcn": 1 / 2, "vbpr": 1 / 2, "freedom": 1 / 3}
BARS |= {"bm3": 1 / 5, "lattice": 1 / 15, "implicit-evaluation": 1 / 2, "recbole-evaluation": 1 / 8}
BARS |= {"recbole-bpr": 1 / 2, "recbole-lightgcn": 1 / 2, "cornac-vbpr": 1 / 1.3}
PAIRED = ("bpr", "lightgcn", "vbpr", "freedom", "bm3", "lattice")  # those that have a twin in naive mode
TRAINED = [name for name, model in MODELS.items() if issubclass(model, TrainedRecommender)]
BUILT = [name for name, model in MODELS.items() if name not in TRAINED and model.DEFAULTS]  # neighbours: no epochs
PEERS = ("implicit-evaluation", "recbole-evaluation", "recbole-evaluation-blocks", "recbole-bpr", "recbole-lightgcn",
         "cornac-vbpr", "implicit-bpr", "cornac-bpr")  # fmt: skip
RECALL = ("recall-implicit", "recall-cornac")
# CPU seconds of an epoch of the public framework (MMRec) at this size, measured once on another machine (2 vCPU, AMD
# EPYC, torch 2.13, not always quiet); its FREEDOM, BM3 and LATTICE train the raw features: these are other models.
PUBLIC = {"bpr": 0.73, "lightgcn": 5.1, "vbpr": 7.4, "freedom": 22.7, "bm3": 25.1, "lattice": 64.0, "grcn": 61.0}
PUBLIC |= {"lgmrec": 73.0, "mmgcn": 106.0, "evaluation": 2.3}

Run = Callable[[], Any]


class Bench:
    """The data and the models of the tasks, made when first asked for."""

    def __init__(self, scale: float, threads: int) -> None:
        self.scale, self.threads = scale, threads

    @cached_property
    def data(self) -> tuple[Split, dict[str, Features]]:
        return synthetic(self.scale)

    @property
    def split(self) -> Split:
        return self.data[0]

    def model(self, name: str, features: dict[str, Features] | None = None, **settings: Any) -> Recommender:
        known = {key: value for key, value in settings.items() if key in MODELS[name].DEFAULTS}
        return make_model(name, self.split, self.data[1] if features is None else features, **known)

    def epoch(self, name: str, features: dict[str, Features] | None = None) -> Run:
        """One walk through the clicks, sampling included. A short walk warms up."""
        from utils.training import loop as training

        model, sampler = self.model(name, features, dim=DIM), training.NegativeSampler(self.split)
        first = _first(self.split, 3 * BATCH)
        number = iter(range(1, 10**6))

        def walk(split: Split = self.split) -> None:
            # looked up at each call: naive mode replaces it
            training._epoch(model, split, sampler, training.make_optimiser(model, 1e-3), BATCH, 0, next(number))

        walk(first)
        return walk

    def evaluation(self, top_k: Any = CUTOFFS, metrics: Sequence[str] = METRICS) -> Run:
        from utils import evaluation

        model = self.model("bpr", dim=DIM)
        return lambda: evaluation.evaluate(model, self.split, top_k=top_k, metrics=metrics)

    def sampling(self) -> Run:
        from utils.training import NegativeSampler

        sampler = NegativeSampler(self.split)
        users, generator = torch.as_tensor(self.split.train[:, 0].copy()), torch.Generator().manual_seed(0)
        return lambda: sampler.sample(users, generator)


def _first(split: Split, n: int) -> Split:
    """The same split whose walk is short: every k-th click, about ``n`` of them."""
    return replace(split, train=split.train[:: max(1, len(split.train) // n)])


# ---- measuring ----


def timed(run: Run) -> tuple[float, float]:
    """Process CPU seconds (all threads) and wall seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def alternate(ours: Run, rival: Run | None, repeats: int, less: Run | None = None, parts: int = 1) -> dict[str, Any]:
    """Run both sides in turns and return the medians.

    ``less`` is the rival's set-up, taken off its seconds; the rest is divided by ``parts`` (its epochs).
    """
    sides: dict[str, list[tuple[float, float]]] = {"ours": [], "rival": []}
    for _ in range(repeats):
        sides["ours"].append(timed(ours))
        if rival is not None:
            whole = timed(rival)
            start = timed(less) if less is not None else (0.0, 0.0)
            sides["rival"].append(tuple((a - b) / parts for a, b in zip(whole, start)))
    row: dict[str, Any] = {}
    for side, pairs in sides.items():
        for place, kind in enumerate(("cpu", "wall")):
            row[f"{side}_{kind}_s"] = round(statistics.median(p[place] for p in pairs), 4) if pairs else None
    each = [a[0] / b[0] for a, b in zip(sides["ours"], sides["rival"]) if b[0] > 0]
    row["ratio"] = round(row["ours_cpu_s"] / row["rival_cpu_s"], 4) if each else None
    row["ratios"] = [round(value, 4) for value in each]
    return row


def naive_habits(name: str) -> Any:
    """The habits of a task's rival; LATTICE's released code also treats its item graph as a full matrix."""
    return naive.naive(naive.LATTICES if name == "lattice" else naive.ALL)


def priced(bench: Bench, task: str, repeats: int) -> dict[str, Any]:
    """What each habit costs: seconds with this one alone, in turns with ours and the other habits, medians."""
    name = task.split(":")[1]
    habits = HABITS.get(name, TRAINING_HABITS)
    run, seconds = bench.epoch(name) if name != "evaluation" else bench.evaluation(), {}
    run()
    for _ in range(repeats):
        for habit in ("ours", *habits):
            with naive.naive(naive.Habits(**{} if habit == "ours" else {habit: True})):
                seconds.setdefault(habit, []).append(timed(run))
    row = {"rival": None, "ours_cpu_s": None, "ours_wall_s": None, "habits_cpu_s": {}}
    for habit, pairs in seconds.items():
        cpu, wall = (round(statistics.median(pair[k] for pair in pairs), 4) for k in (0, 1))
        if habit == "ours":
            row |= {"ours_cpu_s": cpu, "ours_wall_s": wall}
        else:
            row["habits_cpu_s"][habit] = cpu
    return row


def against_naive(bench: Bench, task: str, repeats: int) -> dict[str, Any]:
    makers = {"evaluation": bench.evaluation, "sampling": bench.sampling}
    run = makers[task]() if task in makers else bench.epoch(task)

    def slow() -> None:
        with naive_habits(task):
            run()

    run()
    if task == "sampling":
        slow()  # makes its sets of items once
    row = {"rival": "naive mode", **alternate(run, slow, repeats)}
    if task != "lattice":
        return row

    def less_slow() -> None:
        with naive.naive(replace(naive.LATTICES, dense_degrees=False)):
            run()

    less = alternate(run, less_slow, repeats)
    text = f"{less['rival_cpu_s']:.3g} CPU s, ratio {_share(less['ratio'])}"
    return row | {"note": f"naive mode without dense_degrees, which is most of its time: {text}"}


def against_peer(bench: Bench, task: str, repeats: int) -> dict[str, Any]:
    split, threads = bench.split, bench.threads
    if task == "implicit-evaluation":
        bpr = bench.model("bpr", dim=DIM)
        users, items = (table.detach() for table in bpr.embeddings())
        rival = peers.implicit_evaluation(split, users, items, threads)
        row = alternate(bench.evaluation(20, ("precision", "map", "ndcg")), rival, repeats)
        return {"rival": "implicit ranking_metrics_at_k(20)", **row}
    if task.startswith("recbole-evaluation"):
        blocks = task.endswith("blocks")
        rival = peers.recbole("BPR", split, 1024 * split.n_items if blocks else 4096)
        rival.epoch()  # its evaluation wants a trainer that has trained
        name = f"RecBole full sort, {'1,024 users' if blocks else 'default: one user'} a block"
        return {"rival": name, **alternate(bench.evaluation(), rival.evaluate, repeats)}
    if task.startswith("recbole-"):
        model = {"bpr": "BPR", "lightgcn": "LightGCN"}[task.split("-")[1]]
        return {
            "rival": f"RecBole {model}",
            **alternate(bench.epoch(model.lower()), peers.recbole(model, split).epoch, repeats),
        }
    if task == "cornac-vbpr":
        visual = {"visual": bench.data[1]["visual"]}
        whole, less = peers.cornac_vbpr(split, visual["visual"].matrix)
        return {
            "rival": "Cornac VBPR, image only",
            **alternate(bench.epoch("vbpr", visual), whole, repeats, less),
        }
    if task == "cornac-bpr":
        whole, less = peers.cornac_epoch(split, threads)
        return {
            "rival": "Cornac BPR (compiled, per sample)",
            **alternate(bench.epoch("bpr"), whole, repeats, less, 20),
        }
    epoch = peers.implicit_epoch(split, threads)
    return {"rival": "implicit BPR (compiled, per sample)", **alternate(bench.epoch("bpr"), epoch, repeats)}


def to_recall(bench: Bench, task: str) -> dict[str, Any]:
    """Seconds of training (validation not counted) until Recall@20 on the validation part reaches a stated value.

    The value is 90 % of the best that our BPR reaches in 40 epochs; the peer gets three learning rates.
    """
    from utils.evaluation.protocol import evaluate
    from utils.training import loop as training

    def recall(scorer: Scorer) -> float:
        return float(evaluate(scorer, bench.split, "valid", 20, ("recall",)).mean()["recall@20"])

    model, sampler = bench.model("bpr", dim=DIM, reg=3e-2), training.NegativeSampler(bench.split)
    optimiser, path = training.make_optimiser(model, 5e-3), []
    cpu = wall = 0.0
    for epoch in range(1, 41):
        seconds = timed(lambda n=epoch: training._epoch(model, bench.split, sampler, optimiser, BATCH, 0, n))
        cpu, wall = cpu + seconds[0], wall + seconds[1]
        path.append((cpu, wall, recall(model)))
        if epoch > 10 and path[-1][2] < 0.9 * max(value for *_, value in path):
            break
    target = round(0.9 * max(value for *_, value in path), 4)
    ours = next(point for point in path if point[2] >= target)
    found, best = [], 0.0
    name = "implicit BPR" if "implicit" in task else "Cornac BPR"
    for lr in (0.01, 0.03, 0.1):
        curve = _implicit_path if "implicit" in task else _cornac_path
        for seconds, value in curve(bench, lr, recall):
            best = max(best, value)
            if value >= target:
                found.append(seconds)
                break
    rival = min(found) if found else (None, None)
    note = f"validation Recall@20 >= {target}; {name} best {best:.4f}"
    row = {"rival": name, "ours_cpu_s": round(ours[0], 4), "ours_wall_s": round(ours[1], 4), "note": note}
    row |= {"rival_cpu_s": rival[0] and round(rival[0], 4), "rival_wall_s": rival[1] and round(rival[1], 4)}
    return {**row, "ratio": round(ours[0] / rival[0], 4) if rival[0] else None}


def _implicit_path(bench: Bench, lr: float, recall: Callable):
    clicks, model = bench.split.matrix("train"), peers.implicit_model(bench.split, bench.threads, lr=lr)
    cpu = wall = 0.0
    for _ in range(30):
        model.iterations = 5
        seconds = timed(lambda: model.fit(clicks, show_progress=False))
        cpu, wall = cpu + seconds[0], wall + seconds[1]
        users, items = torch.from_numpy(model.user_factors), torch.from_numpy(model.item_factors)
        yield (cpu, wall), recall(lambda ids, u=users, i=items: u[torch.as_tensor(ids)] @ i.T)


def _cornac_path(bench: Bench, lr: float, recall: Callable):
    for n_epochs in (5, 10, 20, 40, 80, 160):
        kept: list[Any] = []
        seconds = timed(lambda n=n_epochs, k=kept: k.append(peers.cornac_factors(bench.split, bench.threads, n, lr)))
        yield seconds, recall(kept[0])


def counted(bench: Bench, task: str, repeats: int) -> dict[str, Any]:
    """Seconds of making a model that only counts and is not trained, once."""
    return {"rival": None, **alternate(lambda: bench.model(task), None, repeats), "note": "building, not an epoch"}


# ---- growth: each size in a process of its own, so that the peak of memory is its own ----


def growth(name: str, scale: float, threads: int = THREADS) -> dict[str, Any]:
    """Seconds of building and of an epoch, and peak memory, at ``scale`` times the size.

    An epoch is its start plus steps: 4 and 16 steps are timed, the difference gives the seconds of a step.
    """
    from utils.evaluation.protocol import evaluate
    from utils.training import loop as training

    torch.set_num_threads(threads)
    bench, kept = Bench(scale, threads), []
    split, _ = bench.data
    build = timed(lambda: kept.append(bench.model(name, dim=DIM)))
    model = kept[0]
    sampler, optimiser = training.NegativeSampler(split), training.make_optimiser(model, 1e-3)

    def walk(n_steps: int) -> None:
        few = _Few(split, split.train[torch.randperm(len(split.train))[: n_steps * BATCH].numpy()])
        training._epoch(model, few, sampler, optimiser, BATCH, 0, 1)

    n_steps = math.ceil(len(split.train) / BATCH)
    if n_steps <= 20:
        cpu, wall = timed(lambda: walk(n_steps))
    else:
        walk(2)
        short, long = timed(lambda: walk(4)), timed(lambda: walk(16))
        cpu, wall = (a + max(b - a, 0.0) / 12 * (n_steps - 4) for a, b in zip(short, long))
    judged = timed(lambda: evaluate(model, split, "valid", 20, ("recall",)))
    row = {"ours_cpu_s": cpu, "ours_wall_s": wall, "build_cpu_s": build[0], "evaluation_cpu_s": judged[0]}
    row = {key: round(value, 4) for key, value in row.items()}
    return {**row, "peak_mb": round(peak_mb()), "n_users": split.n_users, "n_items": split.n_items, "rival": None}


class _Few:
    """A split whose walk is shorter than its training part."""

    def __init__(self, split: Split, train: Any) -> None:
        self.split, self.train = split, train

    def __getattr__(self, name: str) -> Any:
        return getattr(self.split, name)


def grown(task: str, unit: float, threads: int) -> dict[str, Any]:
    _, name, scale = task.split(":")
    command = [sys.executable, "-m", "utils.lab.speed", name, str(float(scale) * unit), str(threads)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise CourseError(f"{task}: stopped after {LIMIT} s.") from None
    if done.returncode:
        why = done.stderr.strip().splitlines() or [f"exit status {done.returncode} (out of memory?)"]
        raise CourseError(f"{task}: {why[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


# ---- the command ----


def all_tasks(quick: bool) -> list[str]:
    """Every task, the ones with a bar first."""
    paired = ["evaluation", "sampling", *PAIRED]
    scales = SCALES[:2] if quick else SCALES
    prices = [f"habits:{name}" for name in paired if name != "sampling"]
    growths = [f"growth:{name}:{n}" for n in scales for name in TRAINED]
    alone = [name for name in TRAINED if name not in PAIRED]
    return [*paired, *PEERS, *RECALL, *alone, *BUILT, *prices, *growths]


def measure(bench: Bench, task: str, repeats: int) -> dict[str, Any]:
    if task.startswith("growth:"):
        return grown(task, bench.scale, bench.threads)
    if task.startswith("habits:"):
        return priced(bench, task, repeats)
    if task in RECALL:
        return to_recall(bench, task)
    if task in PEERS:
        return against_peer(bench, task, repeats)
    if task in BUILT:
        return counted(bench, task, repeats)
    if task in TRAINED and task not in PAIRED:
        return {"rival": None, **alternate(bench.epoch(task), None, repeats)}
    return against_naive(bench, task, repeats)


def chosen(names: str | None, quick: bool) -> list[str]:
    """The tasks asked for; "growth", "habits" and "peers" stand for all of their kind."""
    known = all_tasks(quick)
    if names is None:
        return known
    result = []
    for name in (part.strip() for part in names.split(",") if part.strip()):
        groups = {kind: [t for t in known if t.startswith(f"{kind}:")] for kind in ("growth", "habits")}
        groups["peers"] = list(PEERS + RECALL)
        if name not in known and name not in groups:
            raise suggest(name, [*known, *groups], "task")
        result += groups.get(name, [name])
    return list(dict.fromkeys(result))


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Measure what ``options.json`` does not hold yet; return 0 when every task gave a row or its peer is missing."""
    if options.repeats < 1:
        raise CourseError(f"--repeats {options.repeats} must be 1 or more; 3 is the default.")
    if options.peers:
        if not Path(options.peers).is_dir():
            raise CourseError(f"--peers {options.peers} is not a folder; install peers with pip install --target.")
        sys.path.append(str(Path(options.peers).resolve()))  # last: our own versions come first
    warnings.filterwarnings("ignore")
    threads = min(THREADS, os.cpu_count() or 1)
    torch.set_num_threads(threads)
    tasks, bench = chosen(options.tasks, options.quick), Bench(QUICK if options.quick else 1.0, threads)
    settings = {"scale": bench.scale, "repeats": options.repeats, "threads": threads, "batch": BATCH, "dim": DIM}
    file = ResultFile(options.json, settings, {"rows": []})
    # the file is filled by several calls; the command is the one that fills all of it, peers of an earlier call included
    earlier = file.content["meta"]
    with_peers = options.peers or "--peers" in earlier.get("command", "")
    command = f"python -m utils.benchmark speed --json {options.json}{' --peers FOLDER' if with_peers else ''}"
    about = {
        **meta(arguments),
        "command": command,
        **settings,
        "float": "32 bits",
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
        "spin_count": os.environ.get("GOMP_SPINCOUNT", ""),
    }
    found = {name: peers.version(name) for name in ("implicit", "cornac", "recbole")}
    known = {name: text for name, text in earlier.get("peers", {}).items() if found.get(name) == peers.ABSENT}
    about |= {"peers": found | known}
    about |= {"load_before": _load(), "failures": []}

    def write(*rows: dict[str, Any]) -> None:
        with file.update() as content:
            content["meta"] |= {**about, "load_after": _load()}
            content["rows"] = _ordered(merge_rows(content["rows"], rows, ("task",)))
        write_text(options.json.with_suffix(".md"), markdown(file.content))

    done = {row["task"] for row in file.content["rows"]}
    bar = tqdm([task for task in tasks if options.force or task not in done])
    for task in bar:
        bar.set_description(task)
        before = _load()
        try:
            row = {"task": task, **measure(bench, task, options.repeats), "bar": _rounded(BARS.get(task))}
            row |= {"public_cpu_s": PUBLIC.get(task), "load": [before, _load()], "commit": about["commit"]}
        except peers.Missing as error:
            print(f"{task}: not installed ({error})", file=sys.stderr)
            about["failures"].append({"task": task, "reason": "not installed"})
        except Exception as error:  # noqa: BLE001 - a peer may fail in any way, and the other tasks go on
            about["failures"].append({"task": task, "reason": f"{type(error).__name__}: {error}"})
        else:
            write(row)
    write()
    print(markdown(file.content))
    failures = [failure for failure in about["failures"] if failure["reason"] != "not installed"]
    for failure in failures:
        print(f"{failure['task']}: {failure['reason']}", file=sys.stderr)
    return 1 if failures else 0


def _ordered(rows: list[dict]) -> list[dict]:
    order = {task: place for place, task in enumerate(all_tasks(False))}
    return sorted(rows, key=lambda row: order.get(row["task"], len(order)))


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _share(value: float | None) -> str:
    """0.25 -> "1/4.0"; above 1 as it is."""
    return "" if not value else f"1/{1 / value:.1f}" if value < 1 else f"{value:.1f}"


def prices_table(rows: list[dict[str, Any]]) -> list[str]:
    """What one habit costs: a row for each task, a column for each habit."""
    habits = list(dict.fromkeys(habit for row in rows for habit in row["habits_cpu_s"]))
    if not rows:
        return []
    cells = [
        [row["task"].split(":")[1], _cell(row["ours_cpu_s"]), *(_cell(row["habits_cpu_s"].get(h)) for h in habits)]
        for row in rows
    ]
    title = "One habit at a time: CPU seconds of an epoch (of one evaluation) with this habit alone."
    return ["", title, "", markdown_rows(["task", "ours", *habits], cells)]


def markdown(content: dict[str, Any]) -> str:
    """Three tables: the ratios, what each habit costs, and how time and memory grow."""
    about, rows = content["meta"], content["rows"]
    loads = [load for row in rows if ":" not in row["task"] for load in row.get("load") or () if load]
    load = f"load of the machine {min(loads):.1f} to {max(loads):.1f}" if loads else "load of the machine unknown"
    lines = [
        f"Speed, {about.get('machine')}, {about.get('threads')} threads, batch {BATCH}, {DIM} factors, float32, medians of "
        f"{about.get('repeats')} interleaved runs, {load}.",
        "Seconds of an epoch (of one evaluation, of one epoch's sampling); ratio = ours / rival in process CPU seconds. Last "
        "column: CPU seconds of the public framework, measured on another machine; its FREEDOM, BM3 and LATTICE train the "
        "raw features, which makes them other models, and two are larger: MMGCN has three layers of 256 and the raw text "
        "beside, ours one layer of 64; LGMRec contrasts with all users and items, ours with those of the batch.",
        "",
    ]  # fmt: skip
    columns = ("ours_cpu_s", "ours_wall_s", "rival", "rival_cpu_s", "rival_wall_s")
    cells = []
    for row in (row for row in rows if ":" not in row["task"]):
        met = "" if not row.get("bar") or not row.get("ratio") else "yes" if row["ratio"] <= row["bar"] else "no"
        shares = _share(row.get("ratio")), _share(row.get("bar")), met
        cells.append([row["task"], *(_cell(row.get(c)) for c in columns), *shares, _cell(row.get("public_cpu_s"))])
    header = ["task", "ours cpu", "ours wall", "rival", "rival cpu", "rival wall", "ratio", "bar", "met", "public"]
    lines.append(markdown_rows(header, cells))
    lines += [f"\n{row['task']}: {row['note']}." for row in rows if row.get("note")]
    lines += [f"\n{failure['task']}: {failure['reason']}" for failure in about.get("failures", [])]
    lines += prices_table([row for row in rows if row["task"].startswith("habits:")])
    sizes = {row["task"]: row for row in rows if row["task"].startswith("growth:")}
    if sizes:
        scales = sorted({int(task.split(":")[2]) for task in sizes})
        cells = []
        for name in dict.fromkeys(task.split(":")[1] for task in sizes):
            found = [sizes.get(f"growth:{name}:{n}") for n in scales]
            seen = [f"{_cell(row['ours_cpu_s'])} s / {row['peak_mb']:,} MB" if row else "not run" for row in found]
            cells.append([name, *seen])
        title = "CPU seconds of an epoch / peak MB at n times the users, items and clicks (4 and 16 steps timed):"
        lines += ["", title, "", markdown_rows(["model", *(f"{n}x" for n in scales)], cells)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":  # one size of the growth tasks: NAME SCALE THREADS
    print(json.dumps(growth(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))
