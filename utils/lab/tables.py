"""Tables that are rendered from result files and records: `python -m utils.lab tables` puts them into both READMEs."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from utils import course
from utils.files import ROOT, write_text
from utils.lab import generation_tables, measured, sequence_tables
from utils.stored import (
    MODEL_NAMES,
    RESULTS,
    against_published,
    available,
    best_epochs,
    epochs_overview,
    failures,
    load,
    markdown,
    overview,
    table,
)

RECORDS = ROOT / "tests" / "records"


def course_map() -> str:
    """Return the table of notebooks: title, question, minutes to read, seconds to run (from the records)."""
    rows = []
    for path in course.notebook_paths():
        about = json.loads(path.read_text(encoding="utf-8"))["metadata"]["course"]
        runs = []
        for mode in ("fast", "full"):
            file = course.record_path(path.stem, mode, RECORDS)
            runs.append(json.loads(file.read_text(encoding="utf-8"))["seconds"] if file.exists() else float("nan"))
        link = f"[{path.stem[:2]} {about['title']}](notebooks/{path.name})"
        seconds = f"{runs[0]:.0f} / {runs[1]:.0f}"
        rows.append([link, about["question"], str(about["minutes"]), seconds, course.colab_badge(path)])
    columns = ["Notebook", "Question", "Minutes to read", "Seconds to run, FAST / full", "Online"]
    frame = pd.DataFrame(rows, columns=columns)
    coming = ", ".join(f"{name[:2]} {title.lower()}" for name, title in course.to_come().items())
    return f"{markdown(frame.set_index('Notebook'), 'Notebook')}\n\nTo come: {coming}."


ACCURACY = {
    "recall@20": "Recall@20",
    "ndcg@20": "nDCG@20",
    "coverage@20": "Coverage@20",
    "aplt@20": "Long tail (APLT@20)",
}
COLD = {"cold_recall@20": "Recall@20, all items compete", "among_cold_recall@20": "Recall@20, among cold items"}


def movielens(strategy: str) -> str:
    """Return the MovieLens table of one split strategy, with the command that regenerates it; random: searched settings."""
    result = load("movielens_budget" if strategy == "random" else f"movielens_{strategy}")
    frame = table(result, COLD if strategy == "cold_items" else ACCURACY)
    epochs = {MODEL_NAMES[name]: text for name, text in best_epochs(result).items()}
    frame["Best epochs"] = [epochs.get(title, "") for title in frame.index]
    return f"{markdown(frame, 'Model')}{named_failures(result)}\n\n`{whole_command(result)}`"


def named_failures(*results: Mapping[str, Any]) -> str:
    """Return a list of the seeds that failed, to stand below a table; nothing where none did."""
    lines = [f"- training failed: {result['meta']['dataset']}, {one}" for result in results for one in failures(result)]
    return "\n\n" + "\n".join(lines) if lines else ""


def movielens_budget() -> str:
    """Return what the same number of trials for each model changes on MovieLens, with the command that made the search."""
    from utils.studies.fair_evaluation import tuning

    result, before = load("movielens_budget"), load("movielens_random")
    frame = tuning("movielens_random", "movielens_budget")
    means = {way: table(of, {"recall@20": "x"})["x"] for way, of in (("Recommended", before), ("Tuned", result))}
    epochs = best_epochs(result)
    cells = {way: [column[MODEL_NAMES[name]] for name in frame.index] for way, column in means.items()}
    cells |= {
        "Gain": frame["gain"].map("{:+.3f}".format),
        "Best epochs": [epochs.get(name, "") for name in frame.index],
    }
    cells |= {"Trials": frame["trials"], "Settings chosen on validation": frame["chosen"]}
    order = [name for name in MODEL_NAMES if name in frame.index]
    found = pd.DataFrame(cells, index=frame.index).loc[order].rename(index=MODEL_NAMES)
    return f"{markdown(found, 'Recall@20')}{named_failures(before, result)}\n\n`{whole_command(result)}`"


def commands() -> str:
    """Return for each benchmark file the one command that fills it; it resumes, so only what is missing is run."""
    return "\n".join(f"- `{whole_command(result)}`" for result in available().values())


def whole_command(result: Mapping[str, Any]) -> str:
    """Join the commands that made a file to one with all of its models and seeds."""
    words = shlex.split(result["meta"].get("commands", [result["meta"]["command"]])[0])
    there = {row["model"] for row in result["rows"]}
    models = [name for name in MODEL_NAMES if name in there] + sorted(there - set(MODEL_NAMES))
    values = {"--models": ",".join(models), "--seeds": ",".join(map(str, sorted({r["seed"] for r in result["rows"]})))}
    for option, value in values.items():
        if option in words:
            words[words.index(option) + 1] = value
        else:
            at = words.index("--json")
            words[at:at] = [option, value]
    return " ".join(words)


def speed() -> str:
    """Return the tables of the speed benchmark: ratios, then how time and memory grow."""
    from utils.lab import speed as bench

    result = load("speed")
    return f"{bench.markdown(result).strip()}\n\n`{result['meta']['command']}`"


def frozen() -> str:
    """Return what training the features as well brings and costs: means and spread over the seeds."""
    result = load("frozen_features")
    rows = pd.DataFrame(result["rows"])
    lines = {}
    for name in [name for name in MODEL_NAMES if name in set(rows["model"])]:
        own, line = rows[rows["model"] == name], []
        for kind in ("frozen", "trained"):
            values, seconds = (own.loc[own["features"] == kind, column] for column in ("recall@20", "cpu_s"))
            spread = f" ± {values.std():.3f}" if len(values) > 1 else ""
            line += [f"{values.mean():.3f}{spread}", f"{seconds.mean():.0f}"]
        lines[MODEL_NAMES[name]] = [*line, str(own["seed"].nunique())]
    columns = ["Recall@20, frozen", "CPU s", "Recall@20, trained", "CPU s ", "Seeds"]
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=columns)
    return f"{markdown(frame, 'Model')}\n\n`{result['meta']['command']}`"


def grcn_parts() -> str:
    """Return what GRCN's parts reach on TikTok: Recall@20 on validation and test, mean and spread over the seeds."""
    result = load("grcn_parts")
    lines = {}
    for variant, own in pd.DataFrame(result["rows"]).groupby("variant", sort=False):
        spread = {part: f" ± {own[part].std():.4f}" if len(own) > 1 else "" for part in ("valid", "test")}
        shown = [f"{own[part].mean():.4f}{spread[part]} ({len(own)})" for part in ("valid", "test")]
        lines[variant] = [*shown, ", ".join(map(str, own["best_epoch"]))]
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=["Validation", "Test", "Best epochs"])
    return f"{markdown(frame, 'Recall@20')}\n\n`{result['meta']['command']}`"


def patience() -> str:
    """Return what each patience costs and loses on runs that nothing stopped."""
    from utils.studies.patience import rules

    result = load("patience")
    found = rules(result["rows"])
    cells = {
        "Epochs trained": found["epochs"].map("{:.0f}".format),
        "Validation Recall lost": found["lost"].map("{:.4f}".format),
    }
    cells |= {"worst": found["worst"].map("{:.4f}".format)}
    cells |= {
        "more than one standard error short": [f"{n} of {runs}" for n, runs in zip(found["short"], found["runs"])]
    }
    commands = "\n\n".join(f"`{command}`" for command in result["meta"]["commands"])
    return f"{markdown(pd.DataFrame(cells), 'Patience, checks')}\n\n{commands}"


def closed_forms() -> str:
    """Return where the settings of closed forms travel, and what their content adds, with the commands."""
    from utils.studies import closed_forms as study

    result, parts = load("closed_forms"), []
    for name in study.GRIDS:
        frame = study.travelled(result["rows"], name)
        settings = [study.chosen(result["rows"], log, name)["settings"] for log in frame.index]
        shown = frame.map("{:.4f}".format)
        shown.insert(
            0, "its choice", [", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in one.items()) for one in settings]
        )
        title = MODEL_NAMES[name.partition(",")[0]] + name[len(name.partition(",")[0]) :]
        parts.append(markdown(shown, f"{title}; chosen on the validation part of"))
    frame = study.gains(result["rows"]).map(lambda value: f"{value:.4f}" if value == value else "-")
    names = {
        key: MODEL_NAMES[key.partition(",")[0]] + key.partition(",")[1] + key.partition(",")[2]
        for key in study.WITH_CONTENT
    }
    frame.index = [f"{log}: {names[model]}" for log, model in frame.index]
    frame.columns = ["without content", "its own content", "content dealt out to other items"]
    parts.append(markdown(frame, "Test Recall@20"))
    return "\n\n".join([*parts, *(f"`{command}`" for command in result["meta"]["commands"])])


def ladder() -> str:
    """Return how hard the Sticker Shop is, with the tables of its card."""
    from utils.lab.shop_card import cold_table, difference_table, ladder_table

    result = load("sticker_shop_ladder")
    parts = [
        ladder_table(result),
        difference_table(result["summary"]["differences"]),
        cold_table(result),
        f"`{result['meta']['command']}`",
    ]
    return "\n\n".join(part.strip() for part in parts)


def blocks() -> dict[str, str]:
    """Return every generated block of README.md and data/results/README.md by its name."""
    found = {"course-map": course_map()}
    for strategy in ("random", "temporal_global", "cold_items"):
        if (RESULTS / f"movielens_{'budget' if strategy == 'random' else strategy}.json").exists():
            found[f"movielens-{strategy}"] = movielens(strategy)
    if (RESULTS / "movielens_budget.json").exists():
        found["movielens-budget"] = movielens_budget()
    if available():
        parts = [markdown(overview(), "Model") + named_failures(*available().values())]
        parts += ["Best epochs of the seeds:", markdown(epochs_overview(), "Model"), commands()]
        found["benchmark"] = "\n\n".join(parts)
    for file, dataset in (("benchmark_amazon_baby", "amazon-baby"), ("benchmark_tiktok", "tiktok")):
        if (RESULTS / f"{file}.json").exists():
            found[f"published-{dataset}"] = markdown(against_published(dataset, file), "Model")
    if (RESULTS / "speed.json").exists():
        found["speed"] = speed()
    if (RESULTS / "frozen_features.json").exists():
        found["frozen"] = frozen()
    if (RESULTS / "grcn_parts.json").exists():
        found["grcn-parts"] = grcn_parts()
    if (RESULTS / "patience.json").exists():
        found["patience"] = patience()
    if (RESULTS / "closed_forms.json").exists():
        found["closed-forms"] = closed_forms()
    if (RESULTS / "sticker_shop_ladder.json").exists() and "summary" in load("sticker_shop_ladder"):
        found["ladder"] = ladder()
    return found | measured.blocks() | sequence_tables.blocks() | generation_tables.blocks()


def render(text: str) -> str:
    """Return ``text`` with each ``<!-- begin:NAME -->`` ... ``<!-- end:NAME -->`` filled anew."""
    for name, block in blocks().items():
        pattern = rf"(<!-- begin:{name} -->\n).*?(<!-- end:{name} -->)"
        text = re.sub(pattern, lambda match, block=block: f"{match[1]}{block}\n{match[2]}", text, flags=re.S)
    return text


PAGES = (ROOT / "README.md", RESULTS / "README.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the generated blocks of README.md and data/results/README.md."""
    argparse.ArgumentParser(prog="python -m utils.lab tables", description=main.__doc__).parse_args(arguments)
    for path in PAGES:
        text = render(path.read_text(encoding="utf-8"))
        write_text(path, text)
    return 0
