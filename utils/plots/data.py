"""Plots of datasets and splits (notebook 02): who is in which part when, the rounds of a k-core, popularity, flattery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.data import Dataset, Split
from utils.errors import CourseError
from utils.plots.style import styled

PART_COLOURS = {"train": "#0072B2", "valid": "#E69F00", "test": "#D55E00"}
PART_MARKERS = {"train": "o", "valid": "s", "test": "D"}
WORDS = {
    "random": "random",
    "leave_one_out": "leave one out",
    "temporal_user": "temporal, per user",
    "temporal_global": "temporal, global",
    "cold_items": "cold items",
}
DAY = 86_400


def spread_users(dataset: Dataset, n_users: int = 6) -> np.ndarray:
    """Choose users to draw: active for long, spread over the log by their last day; the last one came latest of all."""
    times = dataset.interactions.groupby("user_id")["timestamp"].agg(["min", "max", "size"])
    usual = times["size"].between(times["size"].median(), max(times["size"].median() * 2, 1))
    times = times[usual] if usual.sum() >= n_users else times
    long = times[(times["max"] - times["min"]) >= (times["max"] - times["min"]).quantile(0.7)].sort_values(
        "max", kind="stable"
    )
    places = np.linspace(0.05, 0.98, n_users - 1) * (len(long) - 1)
    chosen = long.index.to_numpy()[np.unique(places.round().astype(int))]
    return np.append(chosen, times["min"].drop(chosen).idxmax())


@styled
def split_timeline(
    dataset: Dataset, splits: Mapping[str, Split], user_ids: Iterable[int], *, title: str = ""
) -> Figure:
    """Draw the interactions of a few users along time, one panel per split, coloured by part.

    Args:
        dataset: with timestamps (without them the place in the user's own list is drawn).
        splits: name -> Split of this dataset.
        user_ids: which users, one line each.
    """
    user_ids = [int(user) for user in user_ids]
    if not splits or not user_ids:
        raise CourseError("There is nothing to draw; give at least one split and one user.")
    table = dataset.interactions[dataset.interactions["user_id"].isin(user_ids)].copy()
    timed = "timestamp" in table
    table["x"] = (
        (table["timestamp"] - dataset.interactions["timestamp"].min()) / DAY
        if timed
        else table.groupby("user").cumcount()
    )
    table = table.drop_duplicates(["user_id", "item_id"], keep="last")
    fig = Figure(figsize=(12, 0.9 + len(splits) * (0.55 + 0.26 * len(user_ids))), layout="constrained")
    axes = np.atleast_1d(fig.subplots(len(splits), 1, sharex=True))
    for ax, (name, split) in zip(axes, splits.items()):
        part_of = {(u, i): part for part in PART_COLOURS for u, i in split.part(part).tolist()}
        parts = [part_of.get(pair, "left out") for pair in zip(table["user_id"], table["item_id"])]
        for part in ("left out", *PART_COLOURS):
            rows = table[np.array(parts) == part]
            y = [user_ids.index(user) for user in rows["user_id"]]
            colour, marker = PART_COLOURS.get(part, "#BBBBBB"), PART_MARKERS.get(part, "x")
            if rows.empty:
                continue
            ax.scatter(rows["x"], y, s=46, color=colour, marker=marker, linewidths=1.2, label=part, clip_on=False)
        if timed and split.strategy == "temporal_global":  # one border for all: the first moment held out
            ax.axvline(_first_held_out(dataset, split), color="#000000", linestyle=":", linewidth=1.5)
        ax.set_title(WORDS.get(name, name.replace("_", " ")), fontsize=14)
        ax.set_yticks(range(len(user_ids)), [f"user {user}" for user in user_ids], fontsize=12)
        ax.set_ylim(len(user_ids) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
    axes[-1].set_xlabel("Time since the log began (days)" if timed else "Place in the user's list")
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels())}
    shown = [name for name in (*PART_COLOURS, "left out") if name in handles]
    fig.legend([handles[n] for n in shown], shown, loc="outside upper right", ncols=len(shown))
    fig.suptitle(title or " ", x=0.01, ha="left", fontsize=16)
    return fig


def _first_held_out(dataset: Dataset, split: Split) -> float:
    """Days from the start of the log to the first interaction that is not for training."""
    held = np.concatenate([split.valid, split.test]) @ [split.n_items, 1]
    table = dataset.interactions
    codes = table["user_id"].to_numpy() * split.n_items + table["item_id"].to_numpy()
    return float((table["timestamp"][np.isin(codes, held)].min() - table["timestamp"].min()) / DAY)


@styled
def core_rounds(tables: Mapping[str, pd.DataFrame], *, title: str = "") -> Figure:
    """Draw how many users, items and interactions are left after each round, as a share of round 0.

    Args:
        tables: name -> table of ``k_core_rounds``.
    """
    fig = Figure(figsize=(12, 4.2), layout="constrained")
    axes = fig.subplots(1, 3, sharey=True)
    for ax, column in zip(axes, ("users", "items", "interactions")):
        for at, (name, table) in enumerate(tables.items()):
            colour = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")[at % 4]
            ax.plot(table.index, table[column] / table[column].iloc[0], "osD^"[at % 4] + "-", color=colour, label=name)
        ax.set(title=column.capitalize(), xlabel="Round", ylim=(0, 1.05))
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.grid(axis="y")
    axes[0].set_ylabel("Left (share of the start)")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    fig.suptitle(title or " ", x=0.01, ha="left", fontsize=16)
    return fig


@styled
def popularity_log_log(curves: Mapping[str, Mapping[str, Any]], *, ours: str = "", title: str = "") -> Figure:
    """Draw popularity against rank, both relative, on two logarithmic axes: logs of any size become comparable.

    Args:
        curves: name -> ``popularity_points`` (rank = share of the items, count = interactions over the mean).
        ours: the curve to draw thick.
    """
    fig = Figure(figsize=(10, 5.2), layout="constrained")
    ax = fig.subplots()
    colours = ("#6E6E6E", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
    for at, (name, curve) in enumerate(sorted(curves.items(), key=lambda pair: pair[0] == ours)):
        style = {"color": "#0072B2", "linewidth": 4} if name == ours else {"color": colours[at % 5], "linestyle": "--"}
        marker = "" if name == ours else "osD^v"[at % 5]
        ax.plot(curve["rank"], curve["count"], marker=marker, markersize=6, label=name, **style)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set(xlabel="Rank of the item (share of all items)", ylabel="Interactions of the item\n(multiples of the mean)")
    ax.set_title(title)
    ax.grid(which="major")
    ax.legend(loc="lower left")
    return fig


@styled
def flattery_dots(table: pd.DataFrame, *, top_k: int = 20, title: str = "") -> Figure:
    """Draw Recall with test items held out by chance and by time, one panel per log, one line per split and model.

    Args:
        table: of ``utils.studies.split_effect.flattery``: index (log, strategy, model), columns chance and time.
    """
    logs = [log for log in ("true", "shuffled") if log in table.index.get_level_values("log")]
    fig = Figure(figsize=(12, 1.6 + 0.42 * len(table) / len(logs)), layout="constrained")
    axes = np.atleast_1d(fig.subplots(1, len(logs), sharex=True, sharey=True))
    for ax, log in zip(axes, logs):
        part = table.xs(log, level="log")
        for y, ((strategy, _model), row) in enumerate(part.iterrows()):
            y += 0.5 * list(dict.fromkeys(part.index.get_level_values("strategy"))).index(strategy)
            ax.plot([row["time"], row["chance"]], [y, y], color="#AAAAAA", linewidth=3, zorder=1)
            ax.plot(row["chance"], y, "o", color="#0072B2", markersize=11, label="held out by chance")
            ax.plot(row["time"], y, "D", color="#D55E00", markersize=9, label="held out by time")
        strategies = list(dict.fromkeys(part.index.get_level_values("strategy")))
        ys = [k + 0.5 * strategies.index(strategy) for k, (strategy, _) in enumerate(part.index)]
        ax.set_yticks(ys, [f"{WORDS.get(s, s)}: {m}" for s, m in part.index], fontsize=12)
        ax.set_ylim(ys[-1] + 0.6, -0.6)
        ax.grid(axis="x")
        ax.set_title(f"{log} timestamps")
        ax.set_xlabel(f"Recall@{top_k}")
    axes[0].set_xlim(0, 1.06 * float(table[["time", "chance"]].to_numpy().max()))  # shared by both panels
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles[:2], labels[:2], loc="outside upper right", ncols=2)
    fig.suptitle(title or " ", x=0.01, ha="left", fontsize=16)
    return fig
