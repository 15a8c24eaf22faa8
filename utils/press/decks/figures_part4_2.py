"""Decks, the figures of part 4.2: semantic ids and writing them, from stored studies by notebook 13's plots."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils import plots
from utils.lab import tables as results
from utils.plots import generation as plots_generation
from utils.plots.pretraining import beside_printed
from utils.plots.style import HIT, styled
from utils.press.decks.figures import alt_table, figure, sized
from utils.press.decks.numbers import VERDICTS, shop, value

N_CODES = 32  # tokens a level on the shop, as in notebook 13
TRAINED = {  # rows of the study of the shop -> (name on the slide, colour, control)
    "itemknn": ("ItemKNN, counted", "none", False),
    "clicks:tokens": ("ids of clicks", "none", False),
    "both:tokens": ("ids of both", "multimodal", False),
    "shuffled:tokens": ("ids, content shuffled", "multimodal", True),
    "sasrec:ids": ("softmax over items", "none", False),
    "content:tokens": ("ids of content", "multimodal", False),
    "random:tokens": ("ids drawn by lot", "none", True),
    "permuted:tokens": ("ids of both, dealt out", "none", True),
}

# ---- ids ------------------------------------------------------------------------------------------------------------


@figure
def id_shelves() -> tuple[Figure, str]:
    """Stickers below a first token, below two, below the fullest first token; and where the first is dealt out."""
    rows = {", ".join(map(str, prefix)) + ", ..": items for prefix, items in _shelves()[:-1]}
    rows["the first, dealt out"] = _shelves()[-1][1]
    drawn = plots_generation.shelves(shop(), rows, columns=5)
    titles = shop().items["title"].to_numpy()
    words = "; ".join(f"{name}: {', '.join(titles[items[:5]])}" for name, items in rows.items())
    return sized(drawn, *0.75 * drawn.get_size_inches()), f"Rows of stickers whose ids begin alike. {words}."


@lru_cache(maxsize=1)
def _shelves() -> list[tuple[list[int], np.ndarray]]:
    """Four beginnings of ids and what stands below them: a tidy shelf and the fullest one are shown, both by a rule.

    The first token whose shelf has most items of one category, the fullest two tokens below it, the fullest first token,
    and the first token once more, after the ids were dealt out to other items.
    """
    from utils import generation
    from utils.features import load_features
    from utils.pretraining import sequences_of

    split, data = sequences_of(shop(), seed=0).split, shop()
    content = generation.content_vectors(load_features(data, ["visual", "textual"]), data.n_items)
    vectors = generation.both_vectors(content, generation.click_vectors(split, seed=0))
    codes, popularity = generation.residual_kmeans(vectors, N_CODES, seed=0), generation.popularity_of(split)
    ids = generation.with_ties(codes, popularity, "both")
    dealt = generation.with_ties(generation.permuted(codes, 0), popularity, "permuted")
    counts = pd.crosstab(ids.tokens[:, 0], data.items["category"].to_numpy()).max(axis=1)
    tidy, fullest = int(counts.idxmax()), int(np.bincount(ids.tokens[:, 0]).argmax())
    second = int(np.bincount(ids.tokens[ids.tokens[:, 0] == tidy, 1]).argmax())
    rows = [(prefix, generation.below(ids, prefix)) for prefix in ([tidy], [tidy, second], [fullest])]
    return [*rows, ([tidy], generation.below(dealt, [tidy]))]


def _levels(study: str, kinds: tuple[str, ...] = ()) -> dict[str, pd.DataFrame]:
    """Return the stored diagnosis of ids, level by level, each the mean over seeds: kind -> its table, index = level."""
    rows = [row for row in results.load(study)["ids"] if not kinds or row["ids"] in kinds]
    found: dict[str, list[pd.DataFrame]] = {}
    for row in rows:
        columns = {name: row[name] for name in ("perplexity", "biggest", "shared", "purity") if name in row}
        found.setdefault(row["ids"], []).append(pd.DataFrame(columns))
    means = {name: sum(tables) / len(tables) for name, tables in found.items()}
    for table in means.values():
        table.index += 1
    return {name: means[name] for name in kinds or means}


@figure
def shop_id_levels() -> tuple[Figure, str]:
    """The shop's ids level by level: what a level is worth, which ids meet, whether a prefix is of one category."""
    tables = _levels("semantic_ids_shop", ("content", "clicks", "both", "permuted", "random"))
    tables = {"dealt out" if name == "permuted" else name: table for name, table in tables.items()}
    words = "; ".join(
        f"{name}: perplexity {', '.join(f'{x:.0f}' for x in table['perplexity'])}, shared "
        f"{', '.join(f'{x:.2f}' for x in table['shared'])}, purity {', '.join(f'{x:.2f}' for x in table['purity'])}"
        for name, table in tables.items()
    )
    return sized(plots_generation.id_levels(tables), 9.6, 3.9), f"Ids of the Sticker Shop, levels 1 to 3. {words}."


def _published(name: str) -> float:
    return float(_levels("semantic_ids_beauty", (name,))[name]["perplexity"].iloc[0])


@value
def published_rqvae() -> float:
    """Perplexity of the first level of published ids: RQ-VAE."""
    return _published("RQ-VAE")


@value
def published_rqkmeans() -> float:
    """The same of RQ-k-means."""
    return _published("RQ-k-means")


@value
def published_letter() -> float:
    """The same of LETTER."""
    return _published("LETTER")


@figure
@styled
def films_in_a_cell() -> tuple[Figure, str]:
    """MovieLens: films of the fullest cell, after one token and after all, by what the ids are made from."""
    tables = _levels("semantic_ids_movielens", ("clicks", "content", "both"))
    fig = Figure(figsize=(7.2, 5.0), layout="constrained")
    kinds = {"clicks": "none", "content": "multimodal", "both": "multimodal"}
    words = []
    for ax, at, title in zip(
        fig.subplots(2, 1, sharex=True), (0, -1), ("The same first token", "All three tokens alike")
    ):
        films = pd.DataFrame({"mean": {name: table["biggest"].iloc[at] for name, table in tables.items()}})
        plots.metric_bars(films, "films", kinds=kinds, title=title, form=".0f", ax=ax)
        ax.set_xlabel("Films in the fullest cell" if at else "")
        words.append(f"{title}: {alt_table(films['mean'], 0)}")
    ax.set_xlim(right=1.12 * tables["clicks"]["biggest"].iloc[0])
    return fig, f"Films in the fullest cell by what the ids are made from. {'. '.join(words)}."


def _fullest(name: str, at: int) -> float:
    return float(_levels("semantic_ids_movielens", (name,))[name]["biggest"].iloc[at])


@value
def films_clicks_alike() -> float:
    """Films of MovieLens that have all tokens in common when ids are made from clicks: those of the fullest cell."""
    return _fullest("clicks", -1)


@value
def films_content_alike() -> float:
    """The same with ids from content."""
    return _fullest("content", -1)


@value
def films_both_alike() -> float:
    """The same with ids from both."""
    return _fullest("both", -1)


# ---- writing --------------------------------------------------------------------------------------------------------


def _shop_runs() -> pd.DataFrame:
    return pd.DataFrame(results.load("semantic_ids_shop")["rows"])


def _hits(model: str) -> float:
    return float(_shop_runs().query("model == @model")["hr@10"].mean())


@figure
def written_bars() -> tuple[Figure, str]:
    """Hit rate at 10 on the shop: counted neighbours, a softmax over items, and writers of several kinds of ids."""
    runs = _shop_runs().groupby("model")["hr@10"].agg(["mean", "std"])
    frame = runs.loc[[model for model in TRAINED if model in runs.index]]
    kinds = {TRAINED[model][0]: TRAINED[model][1] for model in frame.index}
    controls = [TRAINED[model][0] for model in frame.index if TRAINED[model][2]]
    frame.index = list(kinds)
    drawn = plots.metric_bars(frame, "hr@10", kinds=kinds, controls=controls, sort=True, form=".3f")
    (ax,) = drawn.axes
    ax.set_xlabel("Hit rate at 10, mean and spread over seeds")
    ordered = frame["mean"].sort_values(ascending=False, kind="stable")
    return sized(drawn, 7.4, 5.0), f"Hit rate at 10: {alt_table(ordered)}. Hatched controls: {', '.join(controls)}."


def _ahead(other: str) -> str:
    return VERDICTS[True, _hits("both:tokens") > _hits(other)]


@value
def ahead_of_dealt_out() -> str:
    """Do ids of both find more than the same ids dealt out?"""
    return _ahead("permuted:tokens")


@value
def ahead_of_clicks() -> str:
    """Do ids of both find more than ids of clicks alone?"""
    return _ahead("clicks:tokens")


@value
def ahead_of_shuffled() -> str:
    """Do ids of both find more than ids of clicks and somebody else's content?"""
    return _ahead("shuffled:tokens")


@value
def ahead_of_softmax() -> str:
    """Do ids of both find more than the same backbone with a softmax over items?"""
    return _ahead("sasrec:ids")


@value
def ahead_of_counting() -> str:
    """Do ids of both find more than ItemKNN?"""
    return _ahead("itemknn")


@figure
def shop_beams() -> tuple[Figure, str]:
    """What a beam finds by its width, beside the exact list: the mean over seeds."""
    names = {"both:tokens": "ids of both", "permuted:tokens": "dealt out"}
    means = _shop_runs().groupby("model")[["hr@10", "beam_10", "beam_20", "beam_50"]].mean().loc[list(names)]
    beams = means.drop(columns="hr@10").rename(index=names).T
    beams.index = [int(name.removeprefix("beam_")) for name in beams.index]
    exact = means["hr@10"].rename(index=names).to_dict()
    words = "; ".join(
        f"{name}: {', '.join(f'{width} beams {rate:.3f}' for width, rate in column.items())}, exact {exact[name]:.3f}"
        for name, column in beams.items()
    )
    drawn = plots_generation.beam_hits(beams, exact)
    drawn.axes[0].set_ylim(top=1.12 * max(exact.values()))
    return sized(drawn, 7.2, 5.0), f"Hit rate at 10 by beams. {words}."


@value
def lost_by_ten() -> float:
    """Share of the exact list's hit rate that a beam of ten does not reach, ids of both."""
    row = _shop_runs().query("model == 'both:tokens'")[["hr@10", "beam_10"]].mean()
    return float(1 - row["beam_10"] / row["hr@10"])


# ---- new items, another log -----------------------------------------------------------------------------------------

COLD = {"sasrec:content": ("softmax, content", "multimodal"), "content:tokens": ("ids of content", "multimodal"),
        "popularity": ("popularity", "none")}  # fmt: skip


@figure
@styled
def new_items_bars() -> tuple[Figure, str]:
    """New items of the shop: hit rate when all items compete, and among the new ones with what chance finds."""
    rows = pd.DataFrame(results.load("semantic_ids_cold")["rows"])
    chance = float(10 / rows["n_new"].mean())
    means = rows.groupby("model")[["cold", "cold_within"]].agg(["mean", "std"]).loc[list(COLD)]
    kinds = {name: kind for name, kind in COLD.values()}
    fig = Figure(figsize=(6.2, 4.5), layout="constrained")
    words = []
    for ax, column, title in zip(fig.subplots(2, 1, sharex=True), ("cold", "cold_within"),
                                 ("All items compete", "The new items alone")):  # fmt: skip
        frame = means[column].set_axis(list(kinds))
        plots.metric_bars(frame, "hr@10", kinds=kinds, controls=["popularity"], title=title, form=".2f", ax=ax)
        words.append(f"{title}: {alt_table(frame['mean'], 2)}")
    fig.axes[0].set_xlabel("")
    fig.axes[1].axvline(chance, color=HIT, linestyle="--")
    fig.axes[1].set_xlabel("Hit rate at 10, new items (dashed: chance)")
    return fig, f"New items of the shop. {'. '.join(words)}. Chance among them {chance:.2f}."


WRITERS = {"letter:tokens": "LETTER's ids, a small writer", "letter-permuted:tokens": "the same ids, dealt out"}


def _writers() -> dict[str, float]:
    """Return the hit rates at 10 of the writers on Beauty that are stored so far, of fifty beams, by their row's name."""
    rows = pd.DataFrame(results.load("semantic_ids_beauty")["rows"], columns=["model", "beam_50"])
    return rows.groupby("model")["beam_50"].mean().to_dict()


@figure
def beauty_writers() -> tuple[Figure, str]:
    """Amazon Beauty: counts and writers of published ids, measured here, beside what others printed."""
    study, writers = results.load("next_item_beauty"), _writers()
    counted = pd.DataFrame(study["rows"]).query("not masked").groupby("model")["hr@10"].mean()
    measured = {"transitions, counted": counted["ItemKNN, directed transitions"]}
    measured |= {name: writers[model] for model, name in WRITERS.items() if model in writers}
    rest = ("S3-Rec, its own", "SASRec, a third")  # in the notebook; the lowest stays: room for the legend
    printed = {name: row[2] for name, row in study["printed"].items() if not name.startswith(rest)}
    drawn = beside_printed(measured, printed)
    words = f"Measured here: {alt_table(measured, 4)}. Hatched, printed: {alt_table(printed, 4)}."
    return sized(drawn, 6.6, 4.9), f"Hit rate at 10 on Beauty, full ranking. {words}"


def _beauty_writer(model: str) -> str:
    found = _writers()
    return f"{found[model]:.4f}" if model in found else "not run yet"


@value
def beauty_writer() -> str:
    """Hit rate at 10 of the writer of LETTER's ids on Beauty, or that its run is not stored."""
    return _beauty_writer("letter:tokens")


@value
def beauty_dealt() -> str:
    """The same of its control, the ids dealt out."""
    return _beauty_writer("letter-permuted:tokens")
