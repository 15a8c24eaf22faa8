"""Stored results as tables: models by metrics, models by datasets, and beside published figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from utils.evaluation.published import split_table
from utils.models import MODELS
from utils.stored.result_file import RESULTS
from utils.stored.sources import code_hash

# Result file -> how tables call the dataset; every model that a dataset's content allows is run on each. Whether the models
# were searched there says the file's budget.
BENCHMARKS = {
    "benchmark_sticker_shop": "Sticker Shop",
    "movielens_budget": "MovieLens posters",
    "benchmark_tiktok": "TikTok",
    "benchmark_amazon_baby": "Amazon Baby",
}
MODEL_NAMES = {name: model.title for name, model in MODELS.items()}  # in the order of every table
# On Amazon Baby only the item graphs of image and text are at hand: these models run on them, or without content.
ON_GRAPHS = [name for name, model in MODELS.items() if not model.uses_features or "item_graphs" in model.DEFAULTS]


def load(name: str) -> dict[str, Any]:
    """Return a result file of `data/results/`: ``meta`` and ``rows``."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def sound_rows(result: dict[str, Any], part: str = "test") -> pd.DataFrame:
    """Return the rows of one part without those of seeds that the file names as failed: they are in no mean and no test."""
    failed = {(run["model"], run["seed"]) for run in result.get("meta", {}).get("runs", []) if "failed" in run}
    rows = pd.DataFrame([row for row in result["rows"] if row["split"] == part])
    return rows[[pair not in failed for pair in zip(rows["model"], rows["seed"])]] if failed else rows


def failures(result: dict[str, Any]) -> list[str]:
    """Return a sentence for each seed that failed: model, seed, and what it reached on validation beside its siblings."""
    runs = [run for run in result["meta"]["runs"] if "failed" in run]
    return [f"{MODEL_NAMES.get(run['model'], run['model'])}, seed {run['seed']}: {run['failed']}" for run in runs]


def made_by_older_code(result: dict[str, Any]) -> set[str]:
    """Return the models of a benchmark of which a run was made by other code than today's, as its stored hash says."""
    runs = [run for run in result["meta"]["runs"] if run["model"] in MODELS]
    return {run["model"] for run in runs if run.get("code") != code_hash(run["model"])}


def best_epochs(result: dict[str, Any]) -> dict[str, str]:
    """Return model -> the best epochs of its seeds on validation, in their order; models that are not trained have none."""
    rows = pd.DataFrame(result["rows"])
    rows = rows[(rows["split"] == "valid") & (rows["metric"] == "best_epoch") & (rows["value"] > 0)]
    return {
        name: ", ".join(f"{epoch:.0f}" for epoch in own.sort_values("seed")["value"])
        for name, own in rows.groupby("model")
    }


def table(result: dict[str, Any], metrics: dict[str, str], part: str = "test") -> pd.DataFrame:
    """Return models x metrics as text: mean and, where the seeds differ, standard deviation.

    Args:
        result: a result file of ``utils.benchmark``.
        metrics: metric name -> column name.
        part: the part of the split that the rows judge.
    """
    rows = sound_rows(result, part)
    groups = rows.groupby(["model", "metric"], sort=False)["value"].agg(["mean", "std"])
    models = [name for name in MODEL_NAMES if name in set(rows["model"])]

    def cell(model: str, metric: str) -> str:
        if (model, metric) not in groups.index:
            return ""
        mean, std = groups.loc[(model, metric)]
        digits = 1 if metric.endswith("seconds") else 3
        return f"{mean:.{digits}f} ± {std:.{digits}f}" if std > 0.5 * 10**-digits else f"{mean:.{digits}f}"

    cells = [[cell(model, metric) for metric in metrics] for model in models]
    return pd.DataFrame(cells, index=[MODEL_NAMES[name] for name in models], columns=list(metrics.values()))


def markdown(frame: pd.DataFrame, corner: str = "") -> str:
    """Return a table of texts with its index as GitHub Markdown; ``corner`` is the heading of the index."""
    return markdown_rows([corner, *frame.columns], frame.reset_index().to_numpy().tolist())


def markdown_rows(header: Sequence[Any], rows: Iterable[Sequence[Any]], wide: bool = False) -> str:
    """Return a heading and rows as GitHub Markdown; ``wide`` writes the line between them with spaces."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [header, *rows]]
    return "\n".join([lines[0], "|" + (" --- |" if wide else "---|") * len(header), *lines[1:]])


def available() -> dict[str, dict[str, Any]]:
    """Return the benchmark files that exist, by the dataset's name in tables."""
    return {title: load(name) for name, title in BENCHMARKS.items() if (RESULTS / f"{name}.json").exists()}


def settings_of(result: dict[str, Any]) -> str:
    """Return where the settings of a benchmark come from, for the head of a column."""
    budget = result["meta"]["budget"]
    return f"best of {budget} settings" if budget > 1 else "recommended settings"


def absent(model: str, title: str) -> str:
    """What a table says where a model has no result: "not run", or a dash where it needs features that are not at hand."""
    return "–" if title == BENCHMARKS["benchmark_amazon_baby"] and model not in ON_GRAPHS else "not run"


def epochs_overview() -> pd.DataFrame:
    """Return trained models x datasets as text: the best epochs of the seeds, chosen on validation."""
    found = pd.DataFrame({title: best_epochs(result) for title, result in available().items()})
    found = found.reindex([name for name in MODEL_NAMES if name in found.index]).fillna("")
    return found.rename(index=MODEL_NAMES)


def overview(metric: str = "recall@20") -> pd.DataFrame:
    """Return models x datasets as text: mean and spread over seeds with their number; "not run" where nothing is stored.

    A dash stands where a model needs features that are not at hand, a dagger where a run was made by older code. The heads
    of the columns say whether every model was searched on this dataset with the same budget, or has the recommended settings.
    """
    columns = {}
    for title, result in available().items():
        rows, older = sound_rows(result), made_by_older_code(result)
        rows = rows[rows["metric"] == metric]
        column = {}
        for name in MODEL_NAMES:
            values = rows.loc[rows["model"] == name, "value"]
            if len(values):
                spread = f" ± {values.std():.4f}" if len(values) > 1 and values.std() > 5e-5 else ""
                column[name] = f"{values.mean():.4f}{spread} ({len(values)}){' †' * (name in older)}"
            else:
                column[name] = absent(name, title)
        columns[f"{title}, {settings_of(result)}"] = column
    frame = pd.DataFrame(columns)
    frame.index = [MODEL_NAMES[name] for name in frame.index]
    return frame


def against_published(dataset: str, file: str) -> pd.DataFrame:
    """Return our figures beside the published ones, as text; only models that have both or that we ran.

    Columns: Recall@20, published, ratio, nDCG@20, published, ratio, and what of the model fell away here. Without a part
    of it a model is not the model of the paper: its ratio stands in brackets and is no number.
    """
    result = load(file)
    ours = sound_rows(result).groupby(["model", "metric"])["value"].mean()
    notes = {run["model"]: "; ".join(run["notes"]) for run in result["meta"]["runs"]}
    theirs = split_table()
    theirs = theirs[theirs["dataset"] == dataset].set_index("model")
    lines = {}
    for name in MODEL_NAMES:
        line = []
        for metric, column in (("recall@20", "recall"), ("ndcg@20", "ndcg")):
            own = ours.get((name, metric), float("nan"))
            other = theirs[column].get(name, float("nan"))
            text = [
                f"{own:.4f}" if own == own else absent(name, BENCHMARKS[file]),
                f"{other:.4f}" if other == other else "",
            ]
            ratio = f"{own / other:.2f}" if own == own and other == other else ""
            line += [*text, f"({ratio})" if ratio and notes.get(name) else ratio]
        if (name, "recall@20") in ours.index or line[1]:
            lines[MODEL_NAMES[name]] = [*line, notes.get(name, "")]
    columns = ["Recall@20", "published", "ratio", "nDCG@20", "published ", "ratio ", "fell away here"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)
