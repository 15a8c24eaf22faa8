"""Study of fair evaluation (2.5): how budget, selection, sampled metrics, seeds and cost decide a comparison.

Live on a small shop; on real data from the stored results of ``utils.benchmark`` only, which may be incomplete.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from utils.data import Split
from utils.errors import CourseError, suggest
from utils.evaluation import Report, kendall_tau
from utils.evaluation.protocol import evaluate
from utils.features import Features
from utils.models import MODELS, TrainedRecommender
from utils.stored import BENCHMARKS, RESULTS, sound_rows
from utils.training.loop import fit, trial_settings

STORED = {title: file for file, title in BENCHMARKS.items()}
METRICS = ("recall", "ndcg", "coverage", "aplt")
# The same stopping rule for every trial of every model: a check every fifth epoch, six (30 epochs) without a gain.
LOOP = {"n_epochs": 80, "eval_every": 5, "patience": 6}
WATTS_PER_CORE = 15.0  # an assumption, not a measurement: one busy core of a desktop processor, its share of the rest


# ---- live runs ----


@dataclass(frozen=True)
class Run:
    """One trained model: its settings, its scores, and what it reached on the validation and the test part."""

    model: str
    trial: int  # place in the search, 0 = the recommended settings
    seed: int
    settings: Mapping[str, Any]
    valid: Report
    test: Report
    scores: np.ndarray  # (n_users, n_items) float32
    cpu_seconds: float

    def row(self, metric: str = "recall@20") -> dict[str, Any]:
        """Return what a table of runs shows."""
        known = {"model": self.model, "trial": self.trial, "seed": self.seed, "settings": written(self.settings)}
        return known | {"valid": self.valid[metric], "test": self.test[metric], "cpu_seconds": self.cpu_seconds}


def written(settings: Mapping[str, Any]) -> str:
    """Write settings in one short line; the weights of modalities by their first letters."""

    def one(key: str, x: Any) -> str:
        if isinstance(x, Mapping):
            return "/".join(f"{name[0]}{weight:g}".replace("0.", ".") for name, weight in x.items())
        return f"{key.removeprefix('modality_')} {x}"

    return ", ".join(one(key, x) for key, x in settings.items()) or "nothing to set"


def run_once(
    name: str, split: Split, features: Mapping[str, Features] | None, seed: int = 0, trial: int = 0,
    settings: Mapping | None = None, loop: Mapping | None = None, top_k: int = 20,
) -> Run:  # fmt: skip
    """Train ``name`` once and judge it on both parts; training sees the train and the validation part only.

    Args:
        settings: over the recommended ones.
        loop: the stopping rule, ``LOOP`` by default.
    """
    start = time.process_time()
    model, _ = fit(name, split, features, seed=seed, **dict(settings or {}), **dict(loop or LOOP))
    scores = np.asarray(model.score(np.arange(split.n_users)), dtype=np.float32)
    return judged(name, split, scores, seed, trial, settings, time.process_time() - start, top_k)


def judged(
    name: str, split: Split, scores: np.ndarray, seed: int = 0, trial: int = 0, settings: Mapping | None = None,
    cpu_seconds: float = 0.0, top_k: int = 20,
) -> Run:  # fmt: skip
    """Judge scores (n_users, n_items) on the validation and the test part: a Run."""
    valid, test = (evaluate(scores, split, part, top_k, METRICS) for part in ("valid", "test"))
    return Run(name, trial, seed, dict(settings or {}), valid, test, scores, cpu_seconds)


def search(
    models: Sequence[str], split: Split, features: Mapping[str, Features] | None, budget: int, seed: int = 0,
    loop: Mapping | None = None, top_k: int = 20,
) -> list[Run]:  # fmt: skip
    """Give every model the same number of trials: the recommended settings, then its grid in a seeded order.

    The order is that of ``utils.training.tune``. A model with fewer settings than ``budget`` has fewer trials.
    """
    runs = []
    for name in models:
        if name not in MODELS:
            raise suggest(name, MODELS, "model")
        for trial, settings in enumerate(trial_settings(MODELS[name], split, budget, seed)):
            runs.append(run_once(name, split, features, seed, trial, settings, loop, top_k))
    return runs


def table(runs: Iterable[Run], metric: str = "recall@20") -> pd.DataFrame:
    """Return one row per run: model, trial, seed, settings, valid, test, cpu_seconds."""
    return pd.DataFrame([run.row(metric) for run in runs])


def choose(trials: pd.DataFrame, by: str = "valid") -> pd.Series:
    """Return model -> the trial with the best mean over seeds in the column ``by`` ("valid"; "test" is the mistake)."""
    if by not in trials:
        raise suggest(by, trials.columns, "column of the trials")
    mean = trials.groupby(["model", "trial"], sort=False)[by].mean().unstack()
    return mean.idxmax(axis=1).astype(int).loc[list(dict.fromkeys(trials["model"]))].rename("trial")


def over_seeds(
    trials: Iterable[Run], picks: Mapping[str, int], split: Split, features: Mapping[str, Features] | None,
    seeds: Sequence[int], loop: Mapping | None = None, top_k: int = 20,
    reuse: Mapping[str, Sequence[Run]] | None = None,
) -> dict[str, list[Run]]:  # fmt: skip
    """Run the picked trial of every model with every seed; runs that are there already are taken, not made anew.

    A model that is not trained has no luck of its own: one run stands for all seeds.

    Args:
        picks: model -> trial.
        reuse: model -> runs made before, of any trial.
    """
    trials = list(trials)
    have = {(run.model, run.trial, run.seed): run for runs in (reuse or {}).values() for run in runs}
    have |= {(run.model, run.trial, run.seed): run for run in trials}
    found: dict[str, list[Run]] = {}
    for name, trial in picks.items():
        first = next(run for run in trials if (run.model, run.trial) == (name, trial))
        more = [] if not issubclass(MODELS[name], TrainedRecommender) else [s for s in seeds if s != first.seed]
        found[name] = [first]
        for seed in more:
            run = have.get((name, trial, seed))
            again = (name, split, features, seed, trial, first.settings, loop, top_k)
            found[name].append(run or run_once(*again))
    return found


def wins_if_only_own_is_tuned(trials: pd.DataFrame, chosen: Mapping[str, int]) -> pd.Series:
    """Return for each model the share of comparisons it wins when it alone is tuned and each rival has a random trial.

    Exact: every combination of the rivals' trials counts once. Test values, models with a grid only.
    """
    mean = trials.groupby(["model", "trial"], sort=False)["test"].mean().unstack("model")
    names = [name for name in mean.columns if mean[name].count() > 1]
    shares = {}
    for own in names:
        columns = mean[names].copy()
        columns[own] = mean.loc[chosen[own], own]
        shares[own] = winners(columns)[own]
    return pd.Series(shares)


def reseeding(rows: pd.DataFrame, dataset: str, budget: int, metric: str = "recall@20") -> pd.Series:
    """Return for each model what "tuning" nothing but the seed gains: the control of every gain by tuning.

    Of every set of ``budget`` stored seeds the best on validation is chosen; its test value minus the mean of all seeds.
    """
    own = rows[(rows["dataset"] == dataset) & (rows["metric"] == metric)]
    parts = own.pivot_table("value", ["model", "seed"], "split", sort=False)
    gains = {}
    for name, frame in parts.groupby(level="model", sort=False):
        if len(frame) < budget:
            continue
        valid, test = frame["valid"].to_numpy(), frame["test"].to_numpy()
        best = [
            seeds[int(np.argmax(valid[list(seeds)]))] for seeds in itertools.combinations(range(len(frame)), budget)
        ]
        gains[name] = float(test[best].mean() - test.mean())
    return pd.Series(gains, dtype=float)


# ---- what selection on the test part invents ----


def half_selection(
    values: np.ndarray, valid: np.ndarray | None = None, n_draws: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Choose a candidate on half of the test users, and look at it on the other half, many times.

    Args:
        values: (n_candidates, n_users) test metric of every candidate for the same users.
        valid: (n_candidates,) validation metric; adds the row "validation".

    Returns:
        One row per way of choosing ("test half", "validation", "first": fixed beforehand): reported (mean on the half
        that was looked at), honest (mean of the same candidate on the other half), flattery (their difference).
        The half is drawn anew each time, so that a fixed candidate has a flattery of zero but for chance.
    """
    values = np.asarray(values, dtype=float)
    n_candidates, n_users = values.shape
    if n_users < 4:
        raise CourseError(f"{n_users} users cannot be cut into two halves; give at least four.")
    looked = np.random.default_rng(seed).permuted(np.tile(np.arange(n_users) < n_users // 2, (n_draws, 1)), axis=1)
    on = values @ looked.T / looked.sum(axis=1)  # (n_candidates, n_draws)
    off = values @ (~looked).T / (~looked).sum(axis=1)
    at = np.arange(n_draws)
    picks = {"test half": on.argmax(axis=0), "first": np.zeros(n_draws, dtype=int)}
    if valid is not None:
        picks["validation"] = np.full(n_draws, int(np.argmax(valid)))
    rows = {way: (on[pick, at].mean(), off[pick, at].mean()) for way, pick in picks.items()}
    frame = pd.DataFrame(rows, index=["reported", "honest"]).T
    return frame.assign(flattery=frame["reported"] - frame["honest"])


# ---- sampled against full ranking ----


def full_ranks(scores: np.ndarray, split: Split, part: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Return for each pair of ``part`` its place among the user's competitors, and how many compete (itself included).

    Competitors of a test item are the items that the user has in no part: the pool from which sampled protocols draw
    negatives. 1 = best; ties count half.
    """
    known = np.zeros(scores.shape, dtype=bool)
    for name in ("train", "valid", "test"):
        rows = np.asarray(getattr(split, name))
        known[rows[:, 0], rows[:, 1]] = True
    users, items = np.asarray(getattr(split, part)).T
    pool, own = ~known[users], scores[users, items][:, None]
    above = ((scores[users] > own) & pool).sum(axis=1) + 0.5 * ((scores[users] == own) & pool).sum(axis=1)
    return 1 + above, 1 + pool.sum(axis=1)


def sampled_chance(rank: Any, n_items: Any, n_negatives: int = 99, top_k: int = 10) -> np.ndarray:
    """Return the chance that an item of full rank ``rank`` among ``n_items`` lands in the top k of a sample.

    ``n_negatives`` of the other n_items - 1 are drawn without replacement, rank - 1 of which are better; fewer than k of
    these may be in the sample: a hypergeometric distribution.
    """
    rank, n_items = np.broadcast_arrays(np.floor(np.asarray(rank)).astype(int), np.asarray(n_items, dtype=int))
    drawn = np.minimum(n_negatives, n_items - 1)
    return stats.hypergeom.cdf(top_k - 1, n_items - 1, rank - 1, drawn)


def hit_rates(scores: np.ndarray, split: Split, n_negatives: Sequence[int] = (99,), top_k: int = 10) -> pd.Series:
    """Return HR@k under full ranking ("all") and its exact expectation under 1 + n sampled negatives.

    Also "all, k = c": full ranking with the cutoff that covers the same share of the list as k of the first sample.
    """
    rank, n_items = full_ranks(scores, split)
    found = {"all items": float((rank <= top_k).mean())}
    found |= {f"1 + {n}": float(sampled_chance(rank, n_items, n, top_k).mean()) for n in n_negatives}
    wide = round(top_k * float(n_items.mean()) / (n_negatives[0] + 1))
    return pd.Series({**found, f"all items, top {wide}": float((rank <= wide).mean())})


# ---- seeds and doubt ----


def seed_tau(rows: pd.DataFrame, metric: str = "recall@20") -> float:
    """Return the mean Kendall's tau between the orders that two seeds of the same benchmark give: the control of any tau.

    Models without a run of some seed are left out; NaN with fewer than two seeds.
    """
    own = rows[(rows["split"] == "test") & (rows["metric"] == metric)].pivot_table("value", "model", "seed").dropna()
    pairs = [kendall_tau(own[a], own[b]) for a, b in itertools.combinations(own.columns, 2)]
    return float(np.mean(pairs)) if pairs else np.nan


def winners(values: pd.DataFrame) -> pd.Series:
    """Return how often each model is the best when one seed of each is drawn at random, exactly.

    Args:
        values: columns = models, rows = seeds (NaN where a seed was not run). Ties are shared out.
    """
    columns = {name: np.sort(values[name].dropna().to_numpy()) for name in values.columns}
    empty = [name for name, column in columns.items() if not len(column)]
    if empty:
        raise CourseError(f"{empty[0]} has no run; leave it out, or run it.")
    share = dict.fromkeys(columns, 0.0)
    for value in np.unique(np.concatenate(list(columns.values()))):
        below = {name: (column < value).mean() for name, column in columns.items()}
        at = {name: (column == value).mean() for name, column in columns.items()}
        for name in columns:
            if not at[name]:
                continue
            rivals = [other for other in columns if other != name]
            ties = np.array([1.0])  # ties[t] = chance that t rivals tie and none is better
            for other in rivals:
                ties = np.convolve(ties, [below[other], at[other]])
            share[name] += at[name] * float((ties / (1 + np.arange(len(ties)))).sum())
    return pd.Series(share).sort_values(ascending=False, kind="stable")


def detectable(diff: Any, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest true mean difference that a paired test on so many users would find with ``power``.

    (z of 1 - alpha / 2 plus z of power) times the standard error of the mean difference.
    """
    diff = np.asarray(diff, dtype=float)
    error = diff.std(ddof=1) / np.sqrt(len(diff))
    return float((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) * error)


def watt_hours(cpu_seconds: float, watts: float = WATTS_PER_CORE) -> float:
    """Return an ESTIMATE of energy in Wh: processor seconds of one core times an assumed power in watts."""
    return cpu_seconds * watts / 3600.0


# ---- stored results ----


def stored(files: Mapping[str, str] | None = None, folder: Path = RESULTS) -> pd.DataFrame:
    """Return the rows of every stored benchmark that exists: dataset, model, seed, split, metric, value.

    A file that is not there or is being written is left out: the table says what there is, never what is to come.
    """
    parts = []
    for dataset, file in (files or STORED).items():
        try:
            result = json.loads((folder / f"{file}.json").read_text(encoding="utf-8"))
            rows = pd.concat([sound_rows(result, part) for part in ("valid", "test")])
        except (OSError, ValueError, KeyError):
            continue
        if len(rows):
            parts.append(rows.assign(dataset=dataset)[["dataset", "model", "seed", "split", "metric", "value"]])
    if not parts:
        raise CourseError(f"There is no stored benchmark in {folder.name}; make one with python -m utils.benchmark.")
    return pd.concat(parts, ignore_index=True)


def means(rows: pd.DataFrame, metrics: Sequence[str], part: str = "test") -> pd.DataFrame:
    """Return the mean over seeds: index (dataset, model), one column per metric and n_seeds."""
    rows = rows[rows["split"] == part]
    frame = rows[rows["metric"].isin(metrics)].pivot_table("value", ["dataset", "model"], "metric", sort=False)
    seeds = rows.groupby(["dataset", "model"])["seed"].nunique()
    return frame.reindex(columns=list(metrics)).assign(n_seeds=seeds.reindex(frame.index)).rename_axis(columns=None)


def trained_only(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out the models that are not trained: counting and anchors."""
    return rows[[issubclass(MODELS[name], TrainedRecommender) if name in MODELS else True for name in rows["model"]]]


def taus(rows: pd.DataFrame, others: Sequence[str], main: str = "recall@20", at_least: int = 4) -> pd.DataFrame:
    """Return Kendall's tau between ``main`` and each other metric over the models of each dataset.

    Datasets with fewer than ``at_least`` models have NaN: three models have no order to speak of.
    """
    found = {}
    for dataset, frame in means(rows, [main, *others]).groupby(level="dataset", sort=False):
        enough = len(frame) >= at_least
        line = {other: kendall_tau(frame[main], frame[other]) if enough else np.nan for other in others}
        found[dataset] = {"models": len(frame), **line}
    return pd.DataFrame(found).T.astype({"models": int})


def tuning(
    recommended: str = "movielens_random", tuned: str = "movielens_budget", metric: str = "recall@20",
    folder: Path = RESULTS,
) -> pd.DataFrame:  # fmt: skip
    """Return what a stored search gained on real data, a line for each model that both result files hold.

    Columns: trials; recommended, grid (the mean of the other trials) and best trial, all on validation with the first
    seed; test of the recommended and of the chosen settings (means over the seeds that both files have); gain, their
    difference; spread, the standard deviation of the recommended settings over those seeds; chosen settings.

    Raises:
        CourseError: the two files judge another dataset or split, or share no model and seed.
    """
    files = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in (recommended, tuned)]
    if len({(file["meta"]["fingerprint"], file["meta"]["strategy"]) for file in files}) > 1:
        raise CourseError(f"{recommended} and {tuned} judge different data; run both on the same folder and split.")
    values = []
    for file in files:
        rows = sound_rows(file)
        rows = rows[rows["metric"] == metric]
        values.append(rows.pivot_table("value", "model", "seed", sort=False))
    default, best = values
    seeds, found = default.columns.intersection(best.columns), {}
    for name in best.index.intersection(default.index, sort=False):
        pair = default.loc[name, seeds].dropna(), best.loc[name, seeds].dropna()
        both = pair[0].index.intersection(pair[1].index)
        trials = [trial for trial in files[1]["meta"]["trials"] if trial["model"] == name]
        if not len(both) or not trials:
            continue
        top = max(trials, key=lambda trial: trial[metric])
        line = {"trials": len(trials), "recommended, valid": trials[0][metric]}
        line["grid, valid"] = float(np.mean([t[metric] for t in trials[1:]])) if trials[1:] else np.nan
        line |= {"best, valid": top[metric], "recommended": pair[0][both].mean(), "tuned": pair[1][both].mean()}
        line |= {"gain": line["tuned"] - line["recommended"], "spread": pair[0][both].std(), "seeds": len(both)}
        found[name] = line | {"chosen": "recommended" if top is trials[0] else written(top["settings"])}
    if not found:
        raise CourseError(f"{recommended} and {tuned} share no model and seed; run the same models with both budgets.")
    return pd.DataFrame.from_dict(found, orient="index")


def best_two(rows: pd.DataFrame, metric: str = "recall@20") -> pd.DataFrame:
    """Return for each dataset the two models that are best on *validation*, and their test figures and spread."""
    found = {}
    valid, test = means(rows, [metric], "valid")[metric], rows[(rows["split"] == "test") & (rows["metric"] == metric)]
    for dataset in valid.index.unique("dataset"):
        order = valid[dataset].sort_values(ascending=False, kind="stable").index
        if len(order) < 2:
            continue
        own = test[test["dataset"] == dataset].groupby("model")["value"].agg(["mean", "std", "count"])
        first, second = own.loc[order[0]], own.loc[order[1]]
        gap = first["mean"] - second["mean"]
        variances = [one["std"] ** 2 for one in (first, second) if not np.isnan(one["std"])]
        spread = float(np.sqrt(np.mean(variances))) if variances else np.nan
        found[dataset] = {"best": order[0], "second": order[1], "test of best": first["mean"], "gap": gap,
                          "seed spread": spread, "models": len(order), "seeds": int(min(first["count"], second["count"]))}  # fmt: skip
    return pd.DataFrame(found).T


def stored_tests(
    files: Mapping[str, str] | None = None, metric: str = "recall@20", folder: Path = RESULTS, key: str = "tests"
) -> pd.DataFrame:
    """Return the paired tests that the benchmark stored, by dataset.

    ``key``: "tests" (every model against the best on validation) or "closed_form" (every trained model that reads content
    against EASE with content, and against iALS).
    """
    parts = []
    for dataset, file in (files or STORED).items():
        try:
            tests = pd.DataFrame(json.loads((folder / f"{file}.json").read_text(encoding="utf-8")).get(key) or [])
        except (OSError, ValueError):
            continue
        if len(tests):
            parts.append(tests[tests["metric"] == metric].assign(dataset=dataset))
    columns = ["dataset", "a", "b", "difference", "low", "high", "t_p", "t_holm", "n_users"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def against_closed_form(
    files: Mapping[str, str] | None = None, metric: str = "recall@20", folder: Path = RESULTS
) -> pd.DataFrame:
    """Return how every trained model that reads content differs from EASE with content and from iALS, a line for each.

    Columns of ``stored_tests`` and: spread (standard deviation of the model over its seeds), ahead and behind: the
    difference is significant after Holm's correction and larger than that spread.
    """
    found = stored_tests(files, metric, folder, "closed_form")
    rows = stored(files, folder)
    rows = rows[(rows["split"] == "test") & (rows["metric"] == metric)]
    spread = rows.groupby(["dataset", "model"])["value"].std()
    found["spread"] = [spread.get(pair, np.nan) for pair in zip(found["dataset"], found["a"])]
    clear = (found["t_holm"] < 0.05) & (found["difference"].abs() > found["spread"].fillna(0))
    return found.assign(ahead=clear & (found["difference"] > 0), behind=clear & (found["difference"] < 0))
