"""Tables that are rendered from result files and records, never typed: `python -m utils.results` rewrites README.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from utils import course
from utils.errors import CourseError
from utils.files import ROOT, atomic_path

RESULTS = ROOT / "data" / "results"
RECORDS = ROOT / "tests" / "records"
MODEL_NAMES = {
    "random": "Random",
    "mostpop": "Popularity",
    "itemknn": "ItemKNN",
    "itemknn_content": "Content kNN",
    "itemknn_multimodal": "ItemKNN + content",
    "bpr": "BPR-MF",
    "lightgcn": "LightGCN",
    "vbpr": "VBPR",
    "freedom": "FREEDOM",
}


def load(name: str) -> dict[str, Any]:
    """Return a result file of `data/results/`: ``meta`` and ``rows``."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def table(result: dict[str, Any], metrics: dict[str, str], part: str = "test") -> pd.DataFrame:
    """Return models x metrics as text: mean and, where the seeds differ, standard deviation.

    Args:
        result: a result file of ``utils.benchmark``.
        metrics: metric name -> column name.
        part: the part of the split that the rows judge.
    """
    rows = pd.DataFrame(result["rows"])
    rows = rows[rows["split"] == part]
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
    """Return a table of texts as GitHub Markdown."""
    header = [corner, *frame.columns]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [header, *frame.reset_index().to_numpy().tolist()]]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def course_map() -> str:
    """Return the table of notebooks: title, question, minutes to read, seconds to run (from the records)."""
    from utils.pages import TO_COME

    rows = []
    for path in course.notebook_paths():
        about = json.loads(path.read_text(encoding="utf-8"))["metadata"]["course"]
        runs = []
        for mode in ("fast", "full"):
            file = course.record_path(path.stem, mode, RECORDS)
            runs.append(json.loads(file.read_text(encoding="utf-8"))["seconds"] if file.exists() else float("nan"))
        link = f"[{path.stem[:2]} {about['title']}](notebooks/{path.name})"
        rows.append([link, about["question"], str(about["minutes"]), f"{runs[0]:.0f} / {runs[1]:.0f}"])
    frame = pd.DataFrame(rows, columns=["Notebook", "Question", "Minutes to read", "Seconds to run, FAST / full"])
    coming = ", ".join(f"{name[:2]} {title.lower()}" for name, title in TO_COME.items())
    return f"{markdown(frame.set_index('Notebook'), 'Notebook')}\n\nTo come: {coming}."


ACCURACY = {
    "recall@20": "Recall@20",
    "ndcg@20": "nDCG@20",
    "coverage@20": "Coverage@20",
    "aplt@20": "Long tail (APLT@20)",
}
COLD = {"cold_recall@20": "Recall@20, all items compete", "among_cold_recall@20": "Recall@20, among cold items"}


def movielens(strategy: str) -> str:
    """Return the MovieLens table of one split strategy, with the command that regenerates it."""
    result = load(f"movielens_{strategy}")
    frame = table(result, COLD if strategy == "cold_items" else ACCURACY)
    return f"{markdown(frame, 'Model')}\n\n`{result['meta']['command']}`"


def ladder() -> str:
    """Return how hard the Sticker Shop is, with the tables of its card."""
    from utils.data.shop_card import cold_table, difference_table, ladder_table

    result = load("sticker_shop_ladder")
    parts = [
        ladder_table(result),
        difference_table(result["summary"]["differences"]),
        cold_table(result),
        f"`{result['meta']['command']}`",
    ]
    return "\n\n".join(part.strip() for part in parts)


def blocks() -> dict[str, str]:
    """Return every generated block of README.md by its name."""
    found = {"course-map": course_map()}
    for strategy in ("random", "temporal_global", "cold_items"):
        if (RESULTS / f"movielens_{strategy}.json").exists():
            found[f"movielens-{strategy}"] = movielens(strategy)
    if (RESULTS / "sticker_shop_ladder.json").exists() and "summary" in load("sticker_shop_ladder"):
        found["ladder"] = ladder()
    return found


def render(text: str) -> str:
    """Return ``text`` with each ``<!-- begin:NAME -->`` ... ``<!-- end:NAME -->`` filled anew."""
    for name, block in blocks().items():
        pattern = rf"(<!-- begin:{name} -->\n).*?(<!-- end:{name} -->)"
        text = re.sub(pattern, lambda match, block=block: f"{match[1]}{block}\n{match[2]}", text, flags=re.S)
    return text


def write_readme(path: Path = ROOT / "README.md") -> None:
    """Rewrite the generated blocks of README.md."""
    text = render(path.read_text(encoding="utf-8"))
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_picture(executed: Path, path: Path = ROOT / "slides" / "figures" / "lists.png") -> None:
    """Write the headline figure of an executed notebook, for README.md; its size is halved for the web."""
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    from utils.pages import headline_figure

    found = headline_figure(executed)
    if found is None:
        raise CourseError(f"{executed} has no figure; run `make course ONLY=00` first.")
    picture = Image.open(BytesIO(b64decode(found[0]))).convert("RGB")
    picture.thumbnail((1100, 1100))
    with atomic_path(path) as temporary:
        picture.save(temporary)


if __name__ == "__main__":
    write_readme()
    run = ROOT / "build" / "executed" / "00_start_here.ipynb"
    if run.exists():
        write_picture(run)
