"""What a benchmark's result file says: paired tests, a Markdown table, a figure."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from utils.files import atomic_path, write_text
from utils.models import MODELS, TrainedRecommender
from utils.stored import best_epochs, failures, markdown_rows, sound_rows

SHOWN = {
    "recall@20": "Recall@20", "ndcg@20": "nDCG@20", "precision@20": "Precision@20", "mrr@20": "MRR@20",
    "coverage@20": "Coverage@20", "aplt@20": "Long tail (APLT@20)", "gini@20": "Evenness (Gini@20)",
    "cold_recall@20": "Recall@20 of cold items, all compete", "among_cold_recall@20": "Recall@20 among cold items",
    "fit_seconds": "Seconds to train", "n_parameters": "Parameters", "peak_mb": "Peak MB",
}  # fmt: skip
WHOLE = ("n_parameters", "peak_mb")  # shown without decimals


def seeds_of(content: dict[str, Any], sound: bool = False) -> dict[str, list[int]]:
    """Return model -> the seeds it was run with; with ``sound`` those only that did not fail."""
    found: dict[str, list[int]] = {}
    for run in content["meta"]["runs"]:
        if not (sound and "failed" in run):
            found.setdefault(run["model"], []).append(run["seed"])
    return {name: sorted(seeds) for name, seeds in found.items()}


def name_failed(content: dict[str, Any]) -> None:
    """Write into each run whether its seed failed, beside its siblings on validation; see ``failed_seeds``."""
    from utils.evaluation.statistics import failed_seeds

    valid: dict[str, dict[str, dict[int, float]]] = {"recall@20": {}, "recall@20_se": {}}
    for row in content["rows"]:
        if row["split"] == "valid" and row["metric"] in valid:
            valid[row["metric"]].setdefault(row["model"], {})[row["seed"]] = row["value"]
    for run in content["meta"]["runs"]:
        run.pop("failed", None)
        own, errors = (of.get(run["model"], {}) for of in valid.values())
        if run["seed"] in errors and run["seed"] in (below := failed_seeds(own, errors[run["seed"]])):
            others = ", ".join(f"{value:.4f}" for seed, value in sorted(own.items()) if seed != run["seed"])
            run["failed"] = (
                f"validation {own[run['seed']]:.4f}, the others {others}: "
                f"{below[run['seed']]:.1f} standard errors below, in no mean and no test"
            )


def frame(content: dict[str, Any], part: str = "test") -> pd.DataFrame:
    """Return mean and std over seeds: index model, columns (metric, "mean" | "std"), ordered by the course's models."""
    rows = sound_rows(content, part)
    table = rows.groupby(["model", "metric"])["value"].agg(["mean", "std"]).unstack("metric").swaplevel(axis=1)
    order = [name for name in MODELS if name in table.index]
    return table.loc[order + [name for name in table.index if name not in order]]


# What models with content are held against: one that reads it, one that does not.
CLOSED_FORMS = ("ease_content", "ials")


def closed_form_tests(content: dict[str, Any], users: Any) -> list[dict]:
    """Compare every trained model that reads content with each of ``CLOSED_FORMS``, as ``paired_tests`` does."""
    trained = {name for name, model in MODELS.items() if model.uses_features and issubclass(model, TrainedRecommender)}
    return [test for one in CLOSED_FORMS for test in paired_tests(content, users, reference=one, among=trained | {one})]


def paired_tests(
    content: dict[str, Any], users: Any, metrics: Sequence[str] = ("recall@20", "ndcg@20"), reference: str = "",
    among: Container[str] = MODELS,
) -> list[dict]:  # fmt: skip
    """Compare every model with the best one on validation, user by user (means over the seeds), corrected by Holm.

    Runs whose per-user values are not there any more (another machine) are left out, and so are seeds that failed.

    Args:
        reference: another model to compare with; no test where it was not run.
        among: the models that are compared.
    """
    from utils.evaluation import compare_all

    tests: list[dict] = []
    if not content["rows"]:
        return tests
    valid = frame(content, "valid")["recall@20"]["mean"]
    for metric in metrics:
        values = {name: users.mean(name, seeds, metric) for name, seeds in seeds_of(content, sound=True).items()}
        values = {name: series for name, series in values.items() if series is not None and name in among}
        if len(values) < 2 or reference not in {"", *values}:
            continue
        best = reference or valid[list(values)].idxmax()
        table = compare_all(values, reference=best, metric=metric)
        for row in table.to_dict("records"):
            tests.append(
                {"metric": metric, **{k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}}
            )
    return tests


def kept_tests(content: dict[str, Any], users: Any, again: set[str], key: str = "tests") -> list[dict]:
    """Return the stored tests that still hold and cannot be made here: the values of users are on another machine.

    ``again`` are the models that were run in this call: tests with one of them are out of date.
    """
    here = {
        name
        for name, seeds in seeds_of(content, sound=True).items()
        if users.mean(name, seeds, "recall@20") is not None
    }
    pairs = [(test, {test["a"], test["b"]}) for test in content[key]]
    return [test for test, pair in pairs if not pair & again and not pair <= here]


def markdown(content: dict[str, Any], models: Sequence[str], seeds: Sequence[int]) -> str:
    """Return the result as a Markdown page; a run that was asked for and is not there is printed as "not run"."""
    info, done = content["meta"], seeds_of(content)
    lines = [f"# {info['dataset']}, split: {info['strategy']}", "", f"`{info['command']}`", ""]
    lines += [
        f"{info['n_users']:,} users, {info['n_items']:,} items, {info['n_train']:,} / {info['n_valid']:,} / "
        f"{info['n_test']:,} interactions to train, validate and test; full ranking, train items masked; "
        + (f"{info['budget']} settings of each model tried on validation (all of them where its grid is smaller)."
           if info["budget"] > 1 else "each model at its recommended settings, stopped on validation."),
        "",
    ]  # fmt: skip
    if content["rows"]:
        table = frame(content)
        columns = {key: title for key, title in SHOWN.items() if key in table.columns.get_level_values(0)}
        epochs = best_epochs(content)
        cells = [
            [name, ", ".join(map(str, done.get(name, []))), epochs.get(name, ""),
             *(cell(table.loc[name, (key, "mean")], table.loc[name, (key, "std")], key) for key in columns)]
            for name in table.index
        ]  # fmt: skip
        lines.append(markdown_rows(["Model", "Seeds", "Best epochs", *columns.values()], cells))
    missing = [f"{m} (seed {s})" for m in models for s in seeds if s not in done.get(m, [])]
    lines += ["", f"Not run: {', '.join(missing)}."] if missing else []
    for test_metric in dict.fromkeys(test["metric"] for test in content["tests"]):
        rows = [test for test in content["tests"] if test["metric"] == test_metric]
        lines += ["", f"{test_metric}, minus that of {rows[0]['b']} (the best on validation), by user:", ""]
        cells = [
            [r["a"], f"{r['difference']:+.4f}", f"[{r['low']:+.4f}, {r['high']:+.4f}]",
             f"{r['t_holm']:.2g}", f"{r['wilcoxon_holm']:.2g}"]
            for r in rows
        ]  # fmt: skip
        header = ["Model", "Difference", "95 % interval", "t-test p (Holm)", "Wilcoxon p (Holm)"]
        lines.append(markdown_rows(header, cells))
    notes = dict.fromkeys(f"- {run['model']}: {note}" for run in info["runs"] for note in run["notes"])
    lines += ["", *notes] if notes else []
    lines += ["", *(f"- training failed: {sentence}" for sentence in failures(content))]
    lines += ["", *(f"- failed: {f['model']}, seed {f['seed']}: {f['reason']}" for f in info["failures"])]
    return "\n".join(lines).rstrip() + "\n"


def cell(mean: float, std: float, metric: str) -> str:
    """Write a mean and, where the seeds differ visibly, its standard deviation."""
    if pd.isna(mean):
        return ""
    digits = 0 if metric in WHOLE else 1 if metric.endswith("seconds") else 4
    spread = f" ± {std:,.{digits}f}" if std > 0.5 * 10**-digits else ""
    return f"{mean:,.{digits}f}{spread}"


def write_report(content: dict[str, Any], out: Path, models: Sequence[str], seeds: Sequence[int]) -> str:
    """Write ``out`` with the endings .md and .png, and return the Markdown."""
    from utils.plots import metric_bars

    text = markdown(content, models, seeds)
    write_text(out.with_suffix(".md"), text)
    if content["rows"]:
        table = frame(content)["recall@20"]
        figure = metric_bars(table, "recall@20", title=f"{content['meta']['dataset']}: test part", sort=True)
        with atomic_path(out.with_suffix(".png")) as temporary:
            figure.savefig(temporary, dpi=100)
    return text
