"""Tables of the next item (notebooks 12 and 13) for data/results/README.md, rendered from their result files."""

from __future__ import annotations

from typing import Any

import pandas as pd

from utils.stored import RESULTS, load, markdown

WAYS = {
    "popularity": "popularity",
    "itemknn": "ItemKNN, recency",
    "ease_tuned": "EASE, tuned",
    "ials_tuned": "iALS, tuned",
    "content_knn": "content kNN",
    "frozen": "frozen encoder, trained head",
    "random_frozen": "the same, random encoder",
    "frozen_long": "frozen encoder, head trained longer",
    "prompt": "prompt",
    "adapter": "adapter",
    "lora": "LoRA",
    "last_block": "last block",
    "full": "full",
}


def seeds_cell(values: pd.Series, digits: int = 4) -> str:
    """Return mean and, over several seeds, standard deviation; a dash where there is nothing."""
    values = values.dropna()
    if not len(values):
        return "-"
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread} ({len(values)})"


def commands(result: dict[str, Any]) -> str:
    """Return the commands that made a file, one under another."""
    found = result["meta"].get("commands") or [result["meta"]["command"]]
    return "\n\n".join(f"`{command}`" for command in dict.fromkeys(found))


def named(title: str, rows: pd.DataFrame) -> str:
    """Return a row's title with the settings that its seeds chose on validation, if there was a choice."""
    chosen = [one for one in rows.get("settings", []) if isinstance(one, dict) and one]
    told = [", ".join(f"{name} {value:g}" for name, value in one.items()) for one in chosen]
    return f"{title}: {' / '.join(dict.fromkeys(told))}" if told else title


def untrained_first(rows: pd.DataFrame, option: str, *by: str) -> pd.DataFrame:
    """Sort rows by ``by``, and what has no ``option`` of training, counts and closed forms, before what has."""
    return rows.assign(trained=rows[option].notna()).sort_values([*by, "trained"], kind="stable")


def best(rows: pd.DataFrame, column: str) -> str:
    """Return the best epoch or step of each seed, and nothing for what was not trained."""
    return ", ".join(f"{value:.0f}" for value in (rows[column].dropna() if column in rows else []))


def next_item() -> str:
    """Return what was measured on Beauty beside what others printed: full ranking, one held-out item a user."""
    result = load("next_item_beauty")
    rows = untrained_first(pd.DataFrame(result["rows"]), "best_epoch")
    columns = {"hr@5": "HR@5", "ndcg@5": "nDCG@5", "hr@10": "HR@10", "ndcg@10": "nDCG@10"}
    lines = {}
    for name, own in rows.groupby("model", sort=False):
        plain, masked = own[~own["masked"]], own[own["masked"]]
        line = [seeds_cell(plain[column]) for column in columns]
        line += [seeds_cell(masked[c]) for c in ("hr@10", "among_99", "permuted")]
        lines[named(name, own)] = [*line, best(plain, "best_epoch")]
    for name, figures in result["printed"].items():
        lines[f"*{name}*"] = [*(f"{figure:.4f}" for figure in figures), "", "", "", ""]
    heads = [*columns.values(), "HR@10, history masked", "HR@10 among 100", "HR@10, targets dealt out", "best epochs"]
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=heads)
    return f"{markdown(frame, 'Beauty, 5-core')}\n\n{commands(result)}"


def pretraining(name: str) -> str:
    """Return every row of a study of pretraining: HR@10 of all, of new items, of short histories, nDCG@10 and best steps."""
    result = load(name)
    rows, lines = untrained_first(pd.DataFrame(result["rows"]), "lr"), []
    for (row, share), own in rows.groupby(["row", "share"], sort=False):
        users = "-" if share == 0 else f"{share:.0%}"
        cells = [seeds_cell(own[c], 3) for c in ("hr@10", "hr@10 cold", "hr@10 short", "ndcg@10")]
        lines.append([named(row, own), users, *cells, best(own, "best_step")])
    heads = ["Row", "users to tune on", "HR@10", "new items", "short histories", "nDCG@10", "best steps"]
    frame = pd.DataFrame(lines, columns=heads).set_index("Row")
    return f"{markdown(frame, result['meta']['dataset'])}\n\n{commands(result)}"


def transfer() -> str:
    """Return the rows of the study of transfer: HR@10 for each share of the target's users, and new items with all of them."""
    result = load("transfer")
    rows, lines = untrained_first(pd.DataFrame(result["rows"]), "lr", "target"), {}
    shares = sorted(rows["share"].unique())
    for (target, row), own in rows.groupby(["target", "row"], sort=False):
        cells = [seeds_cell(own.loc[own["share"] == share, "hr@10"], 3) for share in shares]
        most = own[own["share"] == own["share"].max()]
        lines[f"{target}: {named(row, own)}"] = [*cells, seeds_cell(most["hr@10 cold"], 3), best(most, "best_step")]
    heads = [*(f"{share:.0%} of the users" for share in shares), "new items", "best steps, all users"]
    return f"{markdown(pd.DataFrame.from_dict(lines, orient='index', columns=heads), 'HR@10')}\n\n{commands(result)}"


def adaptation(name: str = "adaptation_shop") -> str:
    """Return the ways to adapt an encoder side by side: what each finds, costs, stores and still knows."""
    from utils.studies.adaptation import LONG, table

    result = load(name)
    rows, lines = pd.DataFrame(result["rows"]), {}
    steps = next(row["steps"] for row in result["rows"] if row["steps"] not in (0, LONG))
    for way, about in table(result, steps).iterrows():
        own = rows[(rows["way"] == way) & rows["steps"].isin((0, steps, LONG))]
        line = [seeds_cell(own[c], 3) for c in ("hr@10", "warm_hr@10", "cold_hr@10", "among_cold_hr@10")]
        if about["trained"] == about["trained"]:
            line += [f"{about['steps']:.0f}", f"{about['trained']:,.0f}", f"{about['cpu_seconds_a_step']:.2g}"]
            tasks = f"{about['stored_tasks'] / 2**20:.0f}" if "stored_tasks" in about else ""  # not without "full"
            line += [f"{(about['memory'] + about['optimiser']) / 2**20:.1f}", tasks]
            line += [f"{about['same_category_warm']:.3f}", f"{about['same_category_elsewhere']:.3f}"]
        else:
            line += [""] * 7
        lines[WAYS.get(way, way)] = line
    heads = ["HR@10", "known items", "new items", "new, among themselves", "steps", "weights of the encoder that learn",
             "CPU s a step", "MB of a step", "MB for ten tasks", "same category, own texts", "other texts"]  # fmt: skip
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=heads)
    return f"{markdown(frame, 'Way')}\n\n{commands(result)}"


def blocks() -> dict[str, str]:
    """Return every generated block of this module whose result file is there, by its name."""
    makers = {
        "next_item_beauty": ("next-item", next_item),
        "pretraining_shop": ("pretraining-shop", lambda: pretraining("pretraining_shop")),
        "pretraining_movielens": ("pretraining-movielens", lambda: pretraining("pretraining_movielens")),
        "transfer": ("transfer", transfer),
        "adaptation_shop": ("adaptation", adaptation),
        "adaptation_movielens": ("adaptation-movielens", lambda: adaptation("adaptation_movielens")),
        "adaptation_pictures": ("adaptation-pictures", lambda: adaptation("adaptation_pictures")),
    }
    return {name: make() for file, (name, make) in makers.items() if (RESULTS / f"{file}.json").exists()}
