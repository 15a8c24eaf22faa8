"""Decks, the figures of part 4.1: histories, pretraining and adaptation, drawn from stored studies by notebook 12's plots."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils import plots
from utils.errors import CourseError
from utils.lab import tables as results
from utils.plots import pretraining as plots_pretraining
from utils.plots.style import HIT, styled
from utils.press.decks.figures import figure, sized
from utils.press.decks.numbers import shop, value

GREY = "#8A97A3"

# ---- order, counting, the mask --------------------------------------------------------------------------------------


@figure
def one_history() -> tuple[Figure, str]:
    """One user's items in the order of time; the last one is framed."""
    from utils.pretraining import sequences_of

    sequences = sequences_of(shop(), seed=0)
    user = int(np.flatnonzero(sequences.lengths("end") == 12)[0])
    history = sequences.sequence(user, "end")
    ages = [f"{len(history) - place} from the end" for place in range(len(history) - 2)] + ["validation", "test"]
    drawn = plots.gallery(shop(), history, ages, hits=history[-1:])
    titles = ", ".join(shop().items["title"].to_numpy()[history])
    return sized(
        drawn, 11, 5.2
    ), f"Twelve items of one user, oldest first; the last is framed, it is the test item. {titles}."


TWINS = ("EASE", "iALS", "Content kNN")  # on a slide the better of two rows of a kind is enough


def _beauty() -> tuple[pd.Series, dict[str, float]]:
    """Return hit rates at 10 on Beauty: measured here, as in notebook 12 but for TWINS, and printed by others."""
    study = results.load("next_item_beauty")
    rows = pd.DataFrame(study["rows"]).query("not masked").groupby("model", sort=False)["hr@10"].mean()
    return rows.drop(index=list(TWINS), errors="ignore"), {
        name: printed[2] for name, printed in study["printed"].items()
    }


@figure
def beauty_beside_printed() -> tuple[Figure, str]:
    """Amazon Beauty: what counting and closed forms find, beside what others printed."""
    measured, printed = _beauty()
    drawn = plots_pretraining.beside_printed(measured, printed)
    words = "; ".join(f"{name} {rate:.4f}" for name, rate in measured.items())
    others = "; ".join(f"{name} {rate:.4f}" for name, rate in printed.items())
    return sized(
        drawn, 8.6, 5.2
    ), f"Hit rate at 10 on Beauty, full ranking. Measured here: {words}. Hatched, printed: {others}."


@figure
@styled
def causal_mask() -> tuple[Figure, str]:
    """Who may look at whom: one place of padding and four items, by the course's own mask."""
    import torch

    from utils.pretraining.attention import attendable

    allowed = attendable(torch.tensor([[False, True, True, True, True]]))[0, 0].numpy()
    names = ["padding", *(f"item {place}" for place in range(1, 5))]
    fig = Figure(figsize=(5.2, 4.6), layout="constrained")
    ax = fig.subplots()
    for row, column in np.ndindex(*allowed.shape):
        seen = bool(allowed[row, column])
        face, hatch = (HIT, "") if seen else ("#FFFFFF", "///")
        ax.add_patch(_cell(row, column, face, hatch))
    ax.set(xlim=(-0.5, 4.5), ylim=(4.5, -0.5), xlabel="... at this place", ylabel="The state of this place looks ...")
    ax.set_xticks(range(5), names, rotation=30, ha="right")
    ax.set_yticks(range(5), names)
    ax.set_aspect("equal")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    lines = "; ".join(
        f"{name} sees {', '.join(np.array(names)[row]) or 'nothing'}" for name, row in zip(names, allowed)
    )
    return fig, f"A table of who may look at whom; filled cells are allowed. {lines}."


def _cell(row: int, column: int, face: str, hatch: str):
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.44, row - 0.44), 0.88, 0.88, facecolor=face, edgecolor=GREY, hatch=hatch)


# ---- what pretraining is worth --------------------------------------------------------------------------------------

OPPONENTS = ("from scratch", "shuffled", "own users", "Content kNN", "ItemKNN", "EASE, tuned")


def _summed(name: str) -> dict:
    """Return a stored study of pretraining that is finished: its means and tests are written at the end.

    Raises:
        CourseError: it is still running, or was cut off.
    """
    study = results.load(name)
    if not {"summary", "tests"} <= set(study):
        raise CourseError(
            f"data/results/{name}.json has no tests yet; let its command finish: {study['meta']['command']}."
        )
    return study


def _few(study: dict) -> float:
    """Return the smallest share of users that a study of pretraining tunes on."""
    return min(row["share"] for row in study["summary"] if row["share"] > 0)


def _paired(study: dict) -> pd.DataFrame:
    """Return the tests of the pretrained rows: with few users against every opponent, with all of them from scratch."""
    tests = pd.DataFrame(study["tests"]).query("group == 'all' and metric == 'ndcg@10'")
    found = []
    for share, opponents in ((_few(study), OPPONENTS), (1.0, OPPONENTS[:1])):
        for name in opponents:
            rows = tests[(tests["a"] == f"pretrained {share}") & tests["b"].isin([f"{name} {share}", f"{name} 1.0"])]
            found.append(rows.head(1).assign(a="all users" if share == 1 else "few users", b=name))
    return pd.concat(found)


@figure
def pretraining_intervals() -> tuple[Figure, str]:
    """The shop and MovieLens: pretrained minus what it has to beat, with intervals, few users and all of them."""
    studies = {"Sticker Shop": "pretraining_shop", "MovieLens": "pretraining_movielens"}
    stored = {log: _summed(name) for log, name in studies.items()}
    blocks = {f"{log}, few = {_few(study):.0%}": _paired(study) for log, study in stored.items()}
    drawn = plots.intervals(blocks, "ndcg@10")
    lines = "; ".join(
        f"{log}, {row.a} minus {row.b} {row.difference:+.4f} (p {row.t_holm:.2f})"
        for log, rows in blocks.items()
        for row in rows.itertuples()
    )
    return sized(drawn, 8.4, 5.2), f"Differences in nDCG at 10 with intervals, p after Holm. {lines}."


# ---- adaptation -----------------------------------------------------------------------------------------------------

STEPS = 40  # of every way but "frozen_long", as in notebook 12
GAINS = {
    "hr@10": "Hit rate at 10",
    "cpu_seconds_a_step": "Seconds a step (log)",
    "step": "MB of a step (log)",
    "tasks": "MB to store ten tasks",
}


@figure
def ways_panels() -> tuple[Figure, str]:
    """Each way to adapt the text encoder: hit rate, seconds, memory and storage, as notebook 12 draws them."""
    from utils.studies.adaptation import LONG, table

    stored = results.load("adaptation_shop")
    runs = pd.DataFrame(stored["rows"])
    means = table(stored, STEPS).dropna(subset=["memory"])
    means["hr@10 std"] = runs[runs["steps"].isin([STEPS, LONG])].groupby("way")["hr@10"].std()
    means["step"], means["tasks"] = (means["memory"] + means["optimiser"]) / 2**20, means["stored_tasks"] / 2**20
    lines = "; ".join(
        f"{way}: hit rate {row['hr@10']:.3f}, {row['cpu_seconds_a_step']:.3f} s and {row['step']:.1f} MB a step, "
        f"{row['tasks']:.0f} MB for ten tasks"
        for way, row in means.iterrows()
    )
    return sized(plots_pretraining.panels(means, GAINS, GAINS), 10.5, 3.9), f"Ways to adapt a text encoder. {lines}."


@lru_cache(maxsize=1)
def _moved() -> dict[str, float]:
    """How far eval() moves when all that learned is moved: beside the weight or in it, fast path on or off."""
    import torch

    from utils.pretraining.adapt import LoRA, trap

    x = torch.randn(2, 3, trap.DIM, generator=torch.Generator().manual_seed(0))
    found = {}
    for name, kind in (("beside", trap.Beside), ("inside", LoRA)):
        layer = trap.trapped_layer(0, kind)
        found[name] = trap.eval_moves(layer, partial(layer, x))
        with trap.without_fast_path():
            found[f"{name}, off"] = trap.eval_moves(layer, partial(layer, x))
    return found


@value
def trap_beside() -> float:
    """LoRA beside the weight of torch's layer: what eval() notices of it."""
    return _moved()["beside"]


@value
def trap_beside_off() -> float:
    """The same with the fast path off."""
    return _moved()["beside, off"]


@value
def trap_inside() -> float:
    """The course's LoRA, which is part of the weight."""
    return _moved()["inside"]


@value
def trap_inside_off() -> float:
    """The same with the fast path off."""
    return _moved()["inside, off"]
