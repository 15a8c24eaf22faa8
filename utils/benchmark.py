"""The same split, the same budget, several seeds: two commands that compare recommenders, in accuracy and in speed.

python -m utils.benchmark accuracy --dataset FOLDER --models bpr,vbpr --seeds 0,1,2 [--budget N] --json OUT
python -m utils.benchmark speed --json OUT
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from utils.errors import CourseError, suggest
from utils.files import ROOT, atomic_path
from utils.sources import code_hash

CUTOFFS = (10, 20)
DEVICES = ("cpu", "cuda", "mps")
SELECT = "recall@20"  # on the validation part; the test part is ranked once, when the model is final
MODELS = (
    "random,mostpop,itemknn,itemknn_content,itemknn_multimodal,bpr,lightgcn,ngcf,"
    "vbpr,deepstyle,ngcf_m,mmgcn,grcn,lattice,slmrec,bm3,freedom,mgcn,lgmrec"
)


def meta(arguments: Sequence[str]) -> dict[str, Any]:
    """Return where a result file comes from: commit, command, machine, versions."""
    import torch

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "commit": commit.stdout.strip() or "unknown",
        "command": " ".join(["python -m utils.benchmark", *arguments]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def reset_peak() -> None:
    """Let ``peak_mb`` count from now, where the system can (Linux); elsewhere it stays the peak of the process."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_mb() -> float:
    """Return the peak memory of this process in MB since ``reset_peak`` (0 where the system does not tell)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return getattr(psutil.Process().memory_info(), "peak_wset", 0) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


# ---- what a run depends on ----


def _feature_key(features: Any) -> str:
    """Name a modality's features by encoder and content."""
    digest = hashlib.sha256(np.ascontiguousarray(features.matrix).tobytes() + features.mask.tobytes()).hexdigest()[:12]
    return f"{features.provenance.get('encoder', 'given')} {digest}"


def _graph_key(graph: Any) -> str:
    digest = hashlib.sha256(graph.indptr.tobytes() + graph.indices.tobytes() + graph.data.tobytes())
    return f"item graph {digest.hexdigest()[:12]}"


# ---- one run ----


def run_model(
    name: str, split: Any, features: dict, seed: int, settings: dict[str, Any], device: Any = None, graphs: dict = {},  # noqa: B006
    checkpoint: Path | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, np.ndarray]]:  # fmt: skip
    """Train one model with one seed, and judge it on the validation part and once on the test part.

    An interrupted training goes on from ``checkpoint``; "fit_seconds" then counts the epochs before, too.

    On a split with more than 20 cold items the rows ``cold_recall@20`` (all items compete) and ``among_cold_recall@20`` are added.

    Returns:
        rows ``{model, seed, split, metric, value}``; what the model says about itself (settings, notes);
        per-user test values: "recall@20", "ndcg@20" and "user_ids".
    """
    from utils.evaluation import METRICS, evaluate, evaluate_cold
    from utils.training import fit

    reset_peak()
    start = time.perf_counter()
    given = {"item_graphs": graphs} if graphs else {}
    model, history = fit(name, split, features, seed=seed, device=device, checkpoint=checkpoint, **settings, **given)
    fit_seconds = max(time.perf_counter() - start, 0.0 if history is None else history.seconds)
    values: dict[tuple[str, str], float] = {}
    for part in ("valid", "test"):
        report = evaluate(model, split, part=part, top_k=CUTOFFS if part == "test" else 20, metrics=METRICS)
        values |= {(part, metric): float(value) for metric, value in report.mean().items()}
    if len(split.cold_items) > 20 and len(np.intersect1d(split.cold_items, split.test[:, 1])):
        cold = evaluate_cold(model, split, top_k=20)
        values["test", "cold_recall@20"] = float(cold.full.mean()["recall@20"])
        values["test", "among_cold_recall@20"] = float(cold.among.mean()["recall@20"])
    values["test", "fit_seconds"] = fit_seconds
    values["test", "seconds"] = time.perf_counter() - start
    values["test", "peak_mb"] = peak_mb()
    weights = list(model.parameters()) if hasattr(model, "parameters") else []
    values["test", "n_parameters"] = float(sum(weight.numel() for weight in weights))
    values["valid", "best_epoch"] = float(history.best_epoch if history is not None else 0)
    values["valid", "epochs"] = float(len(history.rows) if history is not None else 0)
    rows = [{"model": name, "seed": seed, "split": p, "metric": m, "value": v} for (p, m), v in values.items()]
    shown = {key: value for key, value in model.settings.items() if key != "item_graphs"}
    about = {"settings": shown, "modalities": list(model.modalities or model.item_graphs), "notes": model.notes}
    users = {metric: report.per_user[metric].to_numpy(dtype=np.float32) for metric in ("recall@20", "ndcg@20")}
    return rows, about, users | {"user_ids": report.user_ids}


def tune_model(
    name: str, split: Any, features: dict, seed: int, budget: int, graphs: dict, trials: list[dict], made_of: dict, save
) -> dict[str, Any]:
    """Try ``budget`` settings on the validation part and return the best.

    ``trials`` keeps what is done already; those of other code, other features or another seed are made anew.
    """
    from utils.models import MODELS as CLASSES
    from utils.training import fit, trial_settings, validator

    validate, given = validator(split, SELECT), {"item_graphs": graphs} if graphs else {}
    made_of = {**made_of, "seed": seed}
    trials[:] = [t for t in trials if t["model"] != name or made_of.items() <= t.items()]
    for settings in tqdm(trial_settings(CLASSES[name], split, budget, seed), desc=f"tune {name}", leave=False):
        if any(t["model"] == name and t["settings"] == settings for t in trials):
            continue
        start, note, value = time.perf_counter(), "", -1.0
        try:
            model, history = fit(name, split, features, seed, metric=SELECT, **settings, **given)
            value = validate(model) if history is None else history.best_value
        except CourseError as error:  # one bad setting does not end the search
            note = str(error)
        row = {"model": name, "settings": settings, SELECT: value, "seconds": time.perf_counter() - start}
        trials.append(row | {"note": note} | made_of)
        save()
    own = [trial for trial in trials if trial["model"] == name]
    best = max(own, key=lambda trial: trial[SELECT])
    if best[SELECT] < 0:
        raise CourseError(f"all {len(own)} settings failed; the first said: {own[0]['note']}")
    return best["settings"]


# ---- the result file ----


def read_result(path: Path, key: dict[str, Any]) -> dict[str, Any]:
    """Return what ``path`` already holds for the same input, or an empty result.

    A file that cannot be read, or that belongs to another input, is renamed beside its place: nothing is overwritten.
    """
    empty: dict[str, Any] = {"meta": {**key, "runs": [], "trials": [], "failures": []}, "rows": [], "tests": []}
    if path.is_dir():
        raise CourseError(f"--json {path} is a folder; give the name of a file in it.")
    if not path.exists():
        return empty
    why = "belongs to another dataset, split, budget or set of features"
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        rows = {(row["model"], row["seed"]) for row in old["rows"] if {"split", "metric", "value"} <= row.keys()}
        if not all((run["model"], run["seed"]) in rows for run in old["meta"]["runs"]):
            raise ValueError("a run without its rows would count as done")
        if all(old["meta"].get(name) == value for name, value in key.items()):
            return {**empty, **old, "meta": {**empty["meta"], **old["meta"]}}
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        why = "cannot be read"
    number = next(n for n in range(1, 10_000) if not _aside(path, n).exists())
    path.replace(_aside(path, number))
    print(f"{path} {why}: kept as {_aside(path, number).name}, and started anew.", file=sys.stderr)
    return empty


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.set-aside-{number}{path.suffix}")


def write_result(path: Path, content: dict[str, Any]) -> None:
    """Write a result: small parts indented, one row a line, numbers with six digits."""
    head = json.dumps({"meta": content["meta"], "tests": content["tests"]}, indent=1, ensure_ascii=False)[:-2]
    rows = [json.dumps({**row, "value": _six(row["value"])}, ensure_ascii=False) for row in content["rows"]]
    with atomic_path(path) as temporary:
        temporary.write_text(f'{head},\n "rows": [\n' + ",\n".join(rows) + "\n]}\n", encoding="utf-8")


def _six(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


class UserValues:
    """Per-user test values of every run, beside the result file (not shipped): what paired tests need."""

    def __init__(self, out: Path) -> None:
        self.path, self.arrays = out.with_suffix(".users.npz"), {}
        if self.path.exists():
            try:
                with np.load(self.path, allow_pickle=False) as archive:
                    self.arrays = dict(archive)
            except (ValueError, OSError, EOFError, KeyError):
                self.path.unlink()

    def add(self, name: str, seed: int, users: dict[str, np.ndarray]) -> None:
        self.arrays |= {f"{name} {seed} {metric}": values for metric, values in users.items()}
        with atomic_path(self.path) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, **self.arrays)

    def mean(self, name: str, seeds: Sequence[int], metric: str):
        """Mean over the seeds for each user, a Series; None when a seed is not there."""
        import pandas as pd

        keys = [f"{name} {seed}" for seed in seeds]
        if not seeds or any(f"{key} {metric}" not in self.arrays for key in keys):
            return None
        columns = [pd.Series(self.arrays[f"{key} {metric}"], self.arrays[f"{key} user_ids"]) for key in keys]
        return pd.concat(columns, axis=1).mean(axis=1)


# ---- the command ----


def accuracy(
    dataset: str, models: Sequence[str], seeds: Sequence[int], out: Path, *, strategy: str = "", budget: int = 1,
    modalities: Sequence[str] | None = None, device: str | None = None, arguments: Sequence[str] = (),
) -> int:  # fmt: skip
    """Run every model with every seed on one dataset, resuming what ``out`` already holds; return the exit status.

    The split is made once, with seed 0; the seeds are those of the models. ``out`` is rewritten after each run: first
    one seed of every model, then the next; a run that was cut off goes on from its last epoch. With ``budget`` above 1 the settings are chosen with the first seed.
    """
    from utils.benchmark_report import paired_tests, write_report
    from utils.models import MODELS as CLASSES

    for what, asked in (("--models", models), ("--seeds", seeds)):
        if not asked:
            raise CourseError(f"{what} is empty, so that there is nothing to run; leave it out for the default.")
    if budget < 1:
        raise CourseError(f"--budget {budget} must be 1 or more: the number of settings tried for each model.")
    if device and device.partition(":")[0] not in DEVICES:
        raise suggest(device, DEVICES, "device")
    unknown = [name for name in models if name not in CLASSES]
    known = [name for name in dict.fromkeys(models) if name not in unknown]
    content_needed = any(CLASSES[name].uses_features for name in known)
    unreadable = ""
    try:
        data, split, features, graphs = load(dataset, strategy, modalities, content_needed)
    except CourseError as error:
        if all(CLASSES[name].uses_features for name in known):
            raise
        data, split, features, graphs = load(dataset, strategy, modalities, content=False)
        unreadable = str(error)  # the models without content are compared all the same
    key = {"dataset": data.name, "fingerprint": data.fingerprint(), "strategy": split.strategy, "budget": budget}
    content = read_result(out, key)
    earlier = content["meta"].get("commands", [content["meta"]["command"]] if "command" in content["meta"] else [])
    content["meta"] |= meta(arguments) | facts(split) | {"cutoffs": list(CUTOFFS), "failures": []}
    content["meta"]["commands"] = list(dict.fromkeys([*earlier, content["meta"]["command"]]))
    users, runs = UserValues(out), content["meta"]["runs"]
    running = out.with_name(f"{out.stem}.running")  # the checkpoint of the model in training
    failures = content["meta"]["failures"]

    def save() -> None:
        write_result(out, content)

    for name in unknown:
        failures.append({"model": name, "seed": None, "reason": str(suggest(name, CLASSES, "model"))})
    inputs = {m: _feature_key(f) for m, f in features.items()} or {m: _graph_key(g) for m, g in graphs.items()}
    made_of = {
        name: {"code": code_hash(name), "inputs": inputs if CLASSES[name].uses_features else {}} for name in known
    }
    done = {(run["model"], run["seed"]) for run in runs if made_of.get(run["model"], {}).items() <= run.items()}
    todo = [(name, seed) for seed in seeds for name in known if (name, seed) not in done]
    bar = tqdm(todo, desc=f"{data.name}, {split.strategy}")
    for name, seed in bar:
        bar.set_postfix_str(f"{name} {seed}")
        own = graphs if "item_graphs" in CLASSES[name].DEFAULTS and not features else {}
        try:
            if unreadable and CLASSES[name].uses_features:
                raise CourseError(unreadable)
            if CLASSES[name].needs_features and not features and not own:
                raise CourseError(
                    f"{name} needs features, and {dataset} has none; put them into features/<modality>.npy."
                )
            settings = (
                tune_model(name, split, features, seeds[0], budget, own, content["meta"]["trials"], made_of[name], save)
                if budget > 1 else {}
            )  # fmt: skip
            of_this = hashlib.sha256(json.dumps([made_of[name], settings], sort_keys=True).encode()).hexdigest()[:12]
            checkpoint = running / f"{name}-{seed}-{of_this}.pt"
            rows, about, values = run_model(name, split, features, seed, settings, device, own, checkpoint)
        except (CourseError, RuntimeError, MemoryError) as error:
            failures.append({"model": name, "seed": seed, "reason": str(error) or type(error).__name__})
            save()
            continue
        content["rows"] = [r for r in content["rows"] if (r["model"], r["seed"]) != (name, seed)] + rows
        runs[:] = [run for run in runs if (run["model"], run["seed"]) != (name, seed)]
        where = {"device": str(device or "cpu"), "commit": content["meta"]["commit"]}
        runs.append({"model": name, "seed": seed, **about, **where, **made_of[name]})
        users.add(name, seed, values)
        save()
        checkpoint.unlink(missing_ok=True)
    if not failures:
        shutil.rmtree(running, ignore_errors=True)
    content["tests"] = paired_tests(content, users)
    save()
    print(write_report(content, out, known, seeds))
    for failure in failures:
        seed = "" if failure["seed"] is None else f", seed {failure['seed']}"
        print(f"{failure['model']}{seed}: {failure['reason']}", file=sys.stderr)
    return 1 if failures else 0


def load(dataset: str, strategy: str, modalities: Sequence[str] | None, content: bool = True):
    """Return dataset, split and, if ``content`` is wanted, the features, or else the item graphs of the folder.

    Raises:
        CourseError: the split has no train, validation or test part; anything that the loaders say.
    """
    from utils.data import MODALITIES, item_graphs, load_dataset, split_dataset
    from utils.features import load_features
    from utils.features.extract import contents

    data = load_dataset(dataset)
    strategy = strategy or ("given" if "split" in data.interactions else "random")
    options = {"warm": True} if strategy == "cold_items" else {}  # validation needs warm rows, too, to stop early
    split = split_dataset(data, strategy, seed=0, **options)
    for part in ("train", "valid", "test"):
        if not len(getattr(split, part)):
            raise CourseError(
                f"The {part} part of {dataset} is empty, so that models cannot be compared on it; "
                f"mark some rows of interactions.tsv as {part}, or choose another --strategy."
            )
    wanted = list(modalities or MODALITIES)
    there = [m for m in wanted if m in data.prepared() or any(contents(data, m))] if content else []
    features = load_features(data, there) if there else {}
    graphs = {m: g for m, g in item_graphs(data).items() if m in wanted} if content and not features else {}
    missing = [m for m in modalities or () if content and m not in features and m not in graphs]
    if missing:
        raise CourseError(
            f"{dataset} has no {' and no '.join(missing)} features; put them into features/{missing[0]}.npy, or leave "
            "the modality out of --modalities."
        )
    return data, split, features, graphs


def facts(split: Any) -> dict[str, Any]:
    """Count what the split holds, and the users and items that no model could learn about."""
    cold_users = np.setdiff1d(split.test[:, 0], split.train[:, 0])
    return {
        "n_users": split.n_users,
        "n_items": split.n_items,
        "n_train": len(split.train),
        "n_valid": len(split.valid),
        "n_test": len(split.test),
        "test_users_without_train": len(cold_users),
        "items_without_train": len(split.cold_items),
    }


def numbers(text: str) -> list[int]:
    """Read "0,1,2"."""
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise CourseError(f'--seeds {text!r} is not a list of whole numbers; write "0,1,2".') from None


class Parser(argparse.ArgumentParser):
    """A parser that names the nearest option, as every other unknown name in the course."""

    def parse_args(self, *arguments, **options):
        found, unknown = self.parse_known_args(*arguments, **options)
        if unknown:
            own = next(a for a in self._actions if a.dest == "what").choices[found.what]
            raise suggest(unknown[0], own._option_string_actions, "option")
        return found


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main_parser = Parser(prog="python -m utils.benchmark", description=__doc__.splitlines()[0])
    commands = main_parser.add_subparsers(dest="what", required=True)
    accurate = commands.add_parser("accuracy", help="train models on one dataset and judge them")
    accurate.add_argument("--dataset", default="sticker_shop", help="name of a folder in data/, or any course folder")
    accurate.add_argument("--models", default=MODELS, help="file names of utils/models, separated by commas")
    accurate.add_argument("--seeds", default="0,1,2")
    accurate.add_argument("--strategy", default="", help="split; default: the given one, else random per user")
    accurate.add_argument(
        "--budget", type=int, default=1, help="settings to try on validation, the same number for all"
    )
    accurate.add_argument("--modalities", default="", help="only these (visual,textual,audio); default: all there are")
    accurate.add_argument("--device", default=None, help="cpu (default), cuda or mps")
    accurate.add_argument("--json", required=True, type=Path, help="result file; an unfinished one is resumed")
    speed = commands.add_parser("speed", help="seconds and memory beside the public peers and the usual habits")
    speed.add_argument("--json", required=True, type=Path, help="result file; finished tasks are kept")
    speed.add_argument("--tasks", default=None, help="only these, separated by commas")
    speed.add_argument("--repeats", type=int, default=3)
    speed.add_argument("--peers", default=None, help="a folder with installed peers (pip install --target)")
    speed.add_argument("--force", action="store_true", help="measure finished tasks again")
    speed.add_argument("--quick", action="store_true", help="a small size, to see that it works")
    return main_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the benchmark: 0 when every model gave a result, otherwise 1 with a sentence per failure."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = parser().parse_args(arguments)
        if options.what == "speed":
            from utils import speed

            return speed.run(options, arguments)
        return accuracy(
            options.dataset,
            [name.strip() for name in options.models.split(",") if name.strip()],
            numbers(options.seeds),
            options.json,
            strategy=options.strategy,
            budget=options.budget,
            modalities=[m.strip() for m in options.modalities.split(",") if m.strip()] or None,
            device=options.device,
            arguments=arguments,
        )
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on where this one stopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
