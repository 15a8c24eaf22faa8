"""The accuracy of recommenders on one dataset: the same split, the same budget, several seeds; resumed run by run."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from utils.data import Split
from utils.errors import CourseError, suggest
from utils.features import Features
from utils.files import atomic_path
from utils.stored import ResultFile, locked, merge_rows, meta, peak_mb, reset_peak, set_aside
from utils.stored.sources import code_hash
from utils.studies.inputs import facts, feature_key, graph_key, load

CUTOFFS = (10, 20)
DEVICES = ("cpu", "cuda", "mps")
SELECT = "recall@20"  # on the validation part; the test part is ranked once, when the model is final


# ---- one run ----


def run_model(
    name: str, split: Split, features: dict[str, Features], seed: int, settings: dict[str, Any], device: Any = None,
    graphs: dict = {}, checkpoint: Path | None = None,  # noqa: B006
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, np.ndarray]]:  # fmt: skip
    """Train one model with one seed, and judge it on the validation part and once on the test part.

    An interrupted training goes on from ``checkpoint``; "fit_seconds" then counts the epochs before, too.

    On a split with more than 20 cold items the rows ``cold_recall@20`` (all items compete) and ``among_cold_recall@20`` are added.

    Returns:
        rows ``{model, seed, split, metric, value}``; what the model says about itself (settings, notes);
        per-user test values: "recall@20", "ndcg@20" and "user_ids".
    """
    from utils.evaluation import METRICS
    from utils.evaluation.protocol import evaluate, evaluate_cold
    from utils.training.loop import fit

    reset_peak()
    start = time.perf_counter()
    given = {"item_graphs": graphs} if graphs else {}
    model, history = fit(name, split, features, seed=seed, device=device, checkpoint=checkpoint, **settings, **given)
    fit_seconds = max(time.perf_counter() - start, 0.0 if history is None else history.seconds)
    values: dict[tuple[str, str], float] = {}
    for part in ("valid", "test"):
        report = evaluate(model, split, part=part, top_k=CUTOFFS if part == "test" else 20, metrics=METRICS)
        values |= {(part, metric): float(value) for metric, value in report.mean().items()}
        values[part, f"{SELECT}_se"] = float(report.per_user[SELECT].sem())
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
    if history is not None and not history.stopped_early:  # validation had not had its say
        about["ended_by"] = f"the cap of {len(history.rows)} epochs"
    users = {metric: report.per_user[metric].to_numpy(dtype=np.float32) for metric in ("recall@20", "ndcg@20")}
    return rows, about, users | {"user_ids": report.user_ids}


def run_resumed(checkpoint: Path, *job: Any) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, np.ndarray]]:
    """``run_model`` from its checkpoint; one that cannot be resumed is renamed, and the training starts anew."""
    return resumed(checkpoint, lambda: run_model(*job, checkpoint))


def resumed(checkpoint: Path, make: Callable[[], Any]) -> Any:
    """Do what goes on from ``checkpoint``; one that cannot be resumed is renamed, and it is done anew."""
    try:
        return make()
    except CourseError as error:
        if f"checkpoint {checkpoint} " not in str(error):
            raise
        set_aside(checkpoint, "cannot be gone on from")
        return make()


def tune_model(
    name: str, split: Split, features: dict[str, Features], seed: int, budget: int, graphs: dict,
    trials: Sequence[dict], made_of: dict, update: Callable[[], AbstractContextManager[dict]],
    checkpoint_of: Callable[[dict], Path],
) -> dict[str, Any]:  # fmt: skip
    """Try ``budget`` settings on the validation part and return the best; each trial goes to the result file.

    ``trials`` are done already; those of other code, other features or another seed are made anew. The best trial leaves
    its checkpoint, from which the run with the same seed is read instead of being trained again.
    """
    from utils.models import MODELS as CLASSES
    from utils.training.loop import fit, trial_settings, validator

    validate, given = validator(split, SELECT), {"item_graphs": graphs} if graphs else {}
    made_of = {**made_of, "seed": seed}
    own = [trial for trial in trials if trial["model"] == name and made_of.items() <= trial.items()]
    for settings in tqdm(trial_settings(CLASSES[name], split, budget, seed), desc=f"tune {name}", leave=False):
        if any(trial["settings"] == settings for trial in own):
            continue
        start, note, value = time.perf_counter(), "", -1.0
        try:
            checkpoint = checkpoint_of(settings)
            job = partial(fit, name, split, features, seed, **settings, **given, metric=SELECT, checkpoint=checkpoint)
            model, history = resumed(checkpoint, job)
            value = validate(model) if history is None else history.best_value
            epoch = 0 if history is None else history.best_epoch
        except CourseError as error:  # one bad setting does not end the search
            note, epoch = str(error), 0
        row = {"model": name, "settings": settings, SELECT: value, "best_epoch": epoch}
        own.append(row | {"seconds": time.perf_counter() - start, "note": note} | made_of)
        for trial in own:
            if trial[SELECT] < max(other[SELECT] for other in own):
                checkpoint_of(trial["settings"]).unlink(missing_ok=True)
        with update() as content:
            others = [trial for trial in content["meta"]["trials"] if trial["model"] != name]
            content["meta"]["trials"] = others + own
    best = max(own, key=lambda trial: trial[SELECT])
    if best[SELECT] < 0:
        raise CourseError(f"all {len(own)} settings failed; the first said: {own[0]['note']}")
    return best["settings"]


# ---- what stands beside the result file ----


class UserValues:
    """Per-user test values of every run, beside the result file (not shipped): what paired tests need.

    Reading and adding want the lock of the result file.
    """

    def __init__(self, out: Path) -> None:
        self.path, self.arrays, self.damaged = out.with_suffix(".users.npz"), {}, False
        self.read()

    def read(self) -> None:
        """Take in what is on disk; a file that cannot be read is set aside."""
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                self.arrays = dict(archive)
        except FileNotFoundError:
            pass
        except (ValueError, OSError, EOFError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error):
            set_aside(self.path, "cannot be read")
            self.damaged = True

    def add(self, name: str, seed: int, users: dict[str, np.ndarray]) -> None:
        self.read()
        self.arrays |= {f"{name} {seed} {metric}": values for metric, values in users.items()}
        with atomic_path(self.path) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, **self.arrays)

    def has(self, name: str, seed: int, metrics: Sequence[str] = ("recall@20", "ndcg@20", "user_ids")) -> bool:
        return all(f"{name} {seed} {metric}" in self.arrays for metric in metrics)

    def mean(self, name: str, seeds: Sequence[int], metric: str):
        """Mean over the seeds for each user, a Series; None when a seed is not there."""
        import pandas as pd

        if not seeds or not all(self.has(name, seed, (metric, "user_ids")) for seed in seeds):
            return None
        keys = [f"{name} {seed}" for seed in seeds]
        columns = [pd.Series(self.arrays[f"{key} {metric}"], self.arrays[f"{key} user_ids"]) for key in keys]
        return pd.concat(columns, axis=1).mean(axis=1)


def runs_have_rows(content: dict[str, Any]) -> None:
    """Refuse a result in which a run without its rows would count as done."""
    rows = {(row["model"], row["seed"]) for row in content["rows"] if {"split", "metric", "value"} <= row.keys()}
    if not all((run["model"], run["seed"]) in rows for run in content["meta"]["runs"]):
        raise ValueError("a run has no rows")


# ---- all runs ----


def accuracy(
    dataset: str, models: Sequence[str], seeds: Sequence[int], out: Path, *, strategy: str = "", budget: int = 1,
    modalities: Sequence[str] | None = None, device: str | None = None, arguments: Sequence[str] = (),
) -> int:  # fmt: skip
    """Run every model with every seed on one dataset, resuming what ``out`` already holds; return the exit status.

    The split is made once, with seed 0; the seeds are those of the models. ``out`` is rewritten after each run: first
    one seed of every model, then the next; a run that was cut off goes on from its last epoch. Several processes may
    fill one file at once. With ``budget`` above 1 the settings are chosen with the first seed.
    """
    from utils.lab.report import closed_form_tests, kept_tests, name_failed, paired_tests, write_report
    from utils.models import MODELS as CLASSES

    for what, asked in (("--models", models), ("--seeds", seeds)):
        if not asked:
            raise CourseError(f"{what} is empty, so that there is nothing to run; leave it out for the default.")
    if budget < 1:
        raise CourseError(f"--budget {budget} must be 1 or more: the number of settings tried for each model.")
    if device and device.partition(":")[0] not in DEVICES:
        raise suggest(device, DEVICES, "device")
    import torch

    if "OMP_NUM_THREADS" not in os.environ:  # as in notebooks: with more, the last digits of some models differ
        torch.set_num_threads(1)
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
    empty = {"meta": {**key, "runs": [], "trials": [], "failures": []}, "tests": [], "closed_form": [], "rows": []}
    file = ResultFile(out, key, empty, flat=True, check=runs_have_rows)
    about = meta(arguments) | facts(split) | {"cutoffs": list(CUTOFFS)}
    before, failures = file.content["meta"]["failures"], []

    @contextmanager
    def update() -> Iterator[dict[str, Any]]:
        with file.update() as content:
            info = content["meta"]
            earlier = info.get("commands", [info["command"]] if "command" in info else [])
            old = [failure for failure in info["failures"] if failure not in [*before, *failures]]
            info |= about | {"failures": old + failures}
            info["commands"] = list(dict.fromkeys([*earlier, info["command"]]))
            yield content

    with locked(out):
        users = UserValues(out)
    if users.damaged:  # the runs whose values are gone are made anew, or the paired tests would never come back
        with update() as content:
            users.read()
            for run in content["meta"]["runs"]:
                run |= {} if users.has(run["model"], run["seed"]) else {"users": "lost"}
    for name in unknown:
        failures.append({"model": name, "seed": None, "reason": str(suggest(name, CLASSES, "model"))})
    inputs = {m: feature_key(f) for m, f in features.items()} or {m: graph_key(g) for m, g in graphs.items()}
    made_of = {
        name: {"code": code_hash(name), "inputs": inputs if CLASSES[name].uses_features else {}} for name in known
    }
    done = {
        (run["model"], run["seed"])
        for run in file.content["meta"]["runs"]
        if made_of.get(run["model"], {}).items() <= run.items() and "users" not in run
    }

    def checkpoint_of(name: str, seed: int, settings: dict[str, Any]) -> Path:
        of_this = hashlib.sha256(json.dumps([made_of[name], settings], sort_keys=True).encode()).hexdigest()[:12]
        return out.with_name(f"{out.stem}.running-{name}-{seed}-{of_this}.pt")

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
            settings: dict[str, Any] = {}
            if budget > 1:
                trials = file.content["meta"]["trials"]
                job = (name, split, features, seeds[0], budget, own, trials, made_of[name], update)
                settings = tune_model(*job, partial(checkpoint_of, name, seeds[0]))
            checkpoint = checkpoint_of(name, seed, settings)
            job = (name, split, features, seed, settings, device, own)
            rows, about_run, values = run_resumed(checkpoint, *job)
        except (CourseError, RuntimeError, MemoryError) as error:
            failures.append({"model": name, "seed": seed, "reason": str(error) or type(error).__name__})
            with update():
                pass  # it takes in the failures
            continue
        where = {"device": str(device or "cpu"), "commit": about["commit"]}
        run = {"model": name, "seed": seed, **about_run, **where, **made_of[name]}
        with update() as content:
            users.add(name, seed, values)
            content["rows"] = merge_rows(content["rows"], rows, ("model", "seed"))
            content["meta"]["runs"] = merge_rows(content["meta"]["runs"], [run], ("model", "seed"))
        checkpoint.unlink(missing_ok=True)
    if not failures:  # checkpoints of earlier settings; those of other models may be in use by another process
        for name, seed in {(name, seed) for name in known for seed in seeds}:
            for old in out.parent.glob(f"{glob.escape(out.stem)}.running-{name}-{seed}-{'[0-9a-f]' * 12}.pt"):
                old.unlink(missing_ok=True)
    with update() as content:
        users.read()
        name_failed(content)
        # on another machine the values of users are not there: a model that is added leaves the tests of the others
        again = {name for name, _ in todo}
        for tested, make in (("tests", paired_tests), ("closed_form", closed_form_tests)):
            content[tested] = kept_tests(content, users, again, tested) or make(content, users)
    print(write_report(file.content, out, known, seeds))
    for failure in failures:
        seed = "" if failure["seed"] is None else f", seed {failure['seed']}"
        print(f"{failure['model']}{seed}: {failure['reason']}", file=sys.stderr)
    return 1 if failures else 0
