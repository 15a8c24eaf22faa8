"""Tables of semantic ids and composed search (notebook 13) for data/results/README.md, rendered from their result files."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from utils.lab.sequence_tables import commands, seeds_cell
from utils.stored import RESULTS, load, markdown


def diagnostics(name: str) -> str:
    """Return what ids are like, level by level; of a study over seeds the first seed's."""
    result, lines = load(name), {}
    for row in result["ids"]:
        if row.get("seed", 0):
            continue
        cells = [_levels(row, measure, digits) for measure, digits in (("perplexity", 0), ("biggest", 0))]
        cells += [_levels(row, measure, 2) for measure in ("shared", "purity", "r2")]
        lines[row["ids"]] = cells
    heads = ["perplexity", "items of the biggest prefix", "share an equal prefix", "purity", "R2"]
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=heads)
    return markdown(frame, f"Ids, {result['meta']['dataset']}; by level")


def _levels(row: dict, measure: str, digits: int) -> str:
    return " / ".join("-" if value is None else f"{value:.{digits}f}" for value in row.get(measure) or []) or "-"


def recommenders(name: str, columns: dict[str, str]) -> str:
    """Return every recommender of a study of ids: means and spread over seeds, and best epochs."""
    result, lines = load(name), {}
    for model, own in pd.DataFrame(result["rows"]).groupby("model", sort=False):
        cells = [seeds_cell(own[c], 0 if c == "parameters" else 4) if c in own else "-" for c in columns]
        best = own["best_epoch"].dropna() if "best_epoch" in own else []
        lines[model] = [*cells, ", ".join(f"{epoch:.0f}" for epoch in best)]
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=[*columns.values(), "best epochs"])
    return f"{markdown(frame, result['meta']['dataset'])}\n\n{commands(result)}"


def composed(held_out: Sequence[str] = ("stamps", "pairs")) -> str:
    """Return the ways to ask with a picture and words, for new stamps and for new (stamp, colour) pairs."""
    result, lines = load("composed_search"), {}
    rows = pd.DataFrame(result["rows"])
    for method, own in rows.groupby("method", sort=False):
        parts = [own[own["held_out"] == kind] for kind in held_out]
        lines[method] = [seeds_cell(part[c], 3) for part in parts for c in ("r@1", "changed", "kept")]
    heads = [f"{kind}: {name}" for kind in ("new stamps", "new pairs") for name in ("R@1", "changed", "kept")]
    return f"{markdown(pd.DataFrame.from_dict(lines, orient='index', columns=heads), 'Way')}\n\n{commands(result)}"


def generators() -> str:
    """Return what drawn stamps are worth by setting, and personal pictures by alpha: mean and spread over seeds."""
    result = load("generators")
    rows = pd.DataFrame(result["rows"])
    columns = {"colour": "asked colour", "category": "asked category", "variety": "variety, pixels",
               "copied_distance_by_pixels": "copied, by pixels", "copied_distance_by_eye": "copied, by encoder",
               "cpu_seconds_a_picture": "CPU s a picture"}  # fmt: skip
    rows.loc[rows["setting"] == "held out", "category"] = float("nan")  # the judge of categories learned from these
    rows.loc[rows["setting"].str.endswith("shuffled"), "variety"] = float("nan")  # of pictures with other questions
    drawn = rows[rows["part"].isin(["real", "drawn"])]
    lines = {s: [seeds_cell(own[c], 3) for c in columns] for s, own in drawn.groupby("setting", sort=False)}
    first = pd.DataFrame.from_dict(lines, orient="index", columns=list(columns.values()))
    columns = {"taste": "taste that was climbed", "likeness": "likeness to the target", "own": "the same likes, other encoder",
               "unseen": "likes kept back", "others": "other users' likes", "gain": "gain", "gain_half_width": "half width"}  # fmt: skip
    personal = rows[rows["part"] == "personal"].groupby("setting", sort=False)
    lines = {setting: [seeds_cell(own[c], 3) for c in columns] for setting, own in personal}
    second = pd.DataFrame.from_dict(lines, orient="index", columns=list(columns.values()))
    return f"{markdown(first, 'Stamps')}\n\n{markdown(second, 'Drawn for one user')}\n\n{commands(result)}"


def blocks() -> dict[str, str]:
    """Return every generated block of this module whose result file is there, by its name."""
    by_id = {"hr@10": "HR@10", "ndcg@10": "nDCG@10", "beam_10": "HR@10, ten beams", "beam_50": "fifty beams",
             "invalid_10": "invalid of ten, no trie"}  # fmt: skip
    cold = {"hr@10": "HR@10", "cold": "new items, all compete", "cold_within": "new items, among themselves"}
    beauty = {"hr@5": "HR@5", "ndcg@5": "nDCG@5", "hr@10": "HR@10", "ndcg@10": "nDCG@10", "beam_20": "HR@10, twenty beams",
              "masked_hr@10": "HR@10, history masked", "parameters": "parameters"}  # fmt: skip
    files = {"ids-shop": ("semantic_ids_shop", by_id), "ids-movielens": ("semantic_ids_movielens", by_id),
             "ids-cold": ("semantic_ids_cold", cold), "ids-beauty": ("semantic_ids_beauty", beauty)}  # fmt: skip
    found = {}
    for block, (file, columns) in files.items():
        if (RESULTS / f"{file}.json").exists() and load(file)["rows"]:
            tables = [diagnostics(file)] if load(file)["ids"] else []
            found[block] = "\n\n".join([*tables, recommenders(file, columns)])
    if (RESULTS / "composed_search.json").exists():
        found["composed-search"] = composed()
    if (RESULTS / "generators.json").exists():
        found["generators"] = generators()
    return found
