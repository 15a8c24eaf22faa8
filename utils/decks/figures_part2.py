"""Decks, the figures of part 2: the open challenges, drawn from records and stored studies by the notebooks' own plots."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils import plots_fair, plots_missing, plots_reviews, results
from utils.decks.figures import alt_table, figure
from utils.decks.numbers import record_file, shop, value
from utils.plotstyle import HIT, MODALITY_COLOURS, styled

GREY = MODALITY_COLOURS["none"]
SLIDE = (11, 4.4)


def claimed(notebook: str, start: str, side: str = "left") -> float:
    """Return one side of the one recorded claim whose text begins with ``start``."""
    (entry,) = [claim for claim in record_file(notebook)["claims"] if claim["text"].startswith(start)]
    return entry[side]


def recorded(notebook: str, names: Mapping[str, str]) -> pd.Series:
    """Return values of a full record, label -> number."""
    values = record_file(notebook)["values"]
    return pd.Series({label: values[name]["value"] for label, name in names.items()}, dtype=float)


def _bars(ax, numbers: pd.Series, *, colours: Mapping[str, str], controls=(), label: str, digits: int = 3) -> None:
    """Horizontal bars with their numbers; controls are hatched, so that no colour is needed to tell them."""
    for row, (name, number) in enumerate(numbers.items()):
        colour = colours.get(name, GREY)
        control = name in controls
        ax.barh(
            row,
            number,
            0.62,
            color="white" if control else colour,
            edgecolor=colour,
            hatch="///" if control else None,
            linewidth=1.5,
        )
        ax.text(max(number, 0), row, f"  {number:.{digits}f}", va="center", fontsize=14)
    ax.set_yticks(range(len(numbers)), numbers.index)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(min(0, 1.25 * float(numbers.min())), 1.22 * float(numbers.max()))
    ax.set_xlabel(label)


# ---- 2.1 missing modalities -----------------------------------------------------------------------------------------


@figure
def who_has_a_sound() -> tuple[Figure, str]:
    """Items with and without a sound in each top category."""
    has = (shop().items["audio"] != "").to_numpy()
    top = shop().items["category"].str.split("/").str[0]
    counts = pd.Series(top.to_numpy()[has]).value_counts()
    drawn = plots_missing.present_share(top, has, "audio")
    drawn.set_size_inches(7.4, 5.6)
    return drawn, (
        f"Bars: items in each top category, and how many of them have a sound. {counts.iloc[0]} of the {has.sum()} sounding "
        f"items are {counts.index[0]}; of {len(has)} items {1 - has.mean():.0%} have no sound."
    )


@figure
@styled
def fill_two_judges() -> tuple[Figure, str]:
    """Error and centred cosine of three fillings with half of the texts hidden."""
    error = pd.Series({"zeros": claimed("07", "The mean has a smaller error than zeros", "right")})
    error = pd.concat(
        [error, recorded("07", {"mean": "mse_mean", "many hops": "mse_multi_hop", "own picture": "mse_cross_modal"})]
    )
    cosine = pd.Series({"mean": claimed("07", "The mean carries no information")})
    more = recorded("07", {"many hops": "cosine_multi_hop", "own picture": "cosine_cross_modal"})
    cosine = pd.concat([cosine, more])
    colours = {"many hops": MODALITY_COLOURS["textual"], "own picture": MODALITY_COLOURS["multimodal"]}
    fig = Figure(figsize=SLIDE, layout="constrained")
    left, right = fig.subplots(1, 2)
    _bars(left, error, colours=colours, controls=["zeros", "mean"], label="Squared error (1 = best constant)")
    _bars(right, cosine, colours=colours, controls=["mean"], label="Centred cosine (0 = tells no item apart)")
    return fig, f"Left, squared error: {alt_table(error)}. Right, centred cosine: {alt_table(cosine)}."


@figure
def misplaced_films() -> tuple[Figure, str]:
    """MovieLens plots, half hidden: Recall of content kNN with own and with misplaced vectors."""
    from utils.challenges import missing_study

    knn = missing_study.stored_result()["knn"]["all items"]
    shown = knn.loc[["left out", "mean", "neighbours", "multi_hop", "pagerank", "cross_modal"]]
    complete = float(knn.loc["complete", "own"])
    drawn = plots_missing.owners(shown, {"complete, true plots": complete})
    drawn.set_size_inches(11, 4.9)
    pairs = "; ".join(
        f"{name} {row['own']:.3f} own, {row['misplaced']:.3f} misplaced" for name, row in shown.dropna().iterrows()
    )
    return drawn, (
        f"Recall of content kNN on films whose plots are half hidden. {pairs}. Complete plots reach {complete:.3f}. The graph "
        "fillings lie far above the truth, with vectors of other films as well."
    )


# ---- 2.2 reviews on edges -------------------------------------------------------------------------------------------


@figure
def edge_picture() -> tuple[str, str]:
    """A user, an item and the review between them, beside a picture that belongs to the item alone."""
    text, visual = MODALITY_COLOURS["textual"], MODALITY_COLOURS["visual"]
    markup = f"""<svg viewBox="0 0 560 380" role="img" aria-label="user, item, review" width="100%" height="360" font-family="inherit">
<line x1="110" y1="110" x2="420" y2="110" stroke="{text}" stroke-width="6"/><line x1="110" y1="270" x2="420" y2="110" stroke="#9AA6B1" stroke-width="3"/>
<line x1="110" y1="270" x2="420" y2="270" stroke="#9AA6B1" stroke-width="3"/>
<circle cx="110" cy="110" r="46" fill="#fff" stroke="#10202F" stroke-width="3"/><text x="110" y="118" text-anchor="middle" font-size="24">user</text>
<circle cx="110" cy="270" r="46" fill="#fff" stroke="#10202F" stroke-width="3"/><text x="110" y="278" text-anchor="middle" font-size="24">user</text>
<rect x="374" y="66" width="92" height="88" rx="10" fill="#fff" stroke="#10202F" stroke-width="3"/><text x="420" y="118" text-anchor="middle" font-size="24">item</text>
<rect x="374" y="226" width="92" height="88" rx="10" fill="#fff" stroke="#10202F" stroke-width="3"/><text x="420" y="278" text-anchor="middle" font-size="24">item</text>
<rect x="168" y="24" width="196" height="52" rx="8" fill="#fff" stroke="{text}" stroke-width="3"/><text x="266" y="58" text-anchor="middle" font-size="22">too green for me</text>
<line x1="266" y1="76" x2="266" y2="108" stroke="{text}" stroke-width="3" stroke-dasharray="5 4"/>
<rect x="486" y="84" width="64" height="52" rx="6" fill="{visual}"/><text x="518" y="117" text-anchor="middle" font-size="19" fill="#fff">picture</text>
<text x="280" y="362" text-anchor="middle" font-size="21" fill="#444">the picture belongs to the node, the review to the edge</text></svg>"""
    return markup, (
        "Two users and two items joined by three edges. A picture is fixed to one item; a review, 'too green for me', hangs on "
        "the edge between one user and that item."
    )


@figure
def twins_real() -> tuple[Figure, str]:
    """EGCF minus each twin on four real logs."""
    logs = results.load("reviews_on_edges")["logs"]
    tests = {log.replace("_", " "): pd.DataFrame(found["tests"]).set_index("twin") for log, found in logs.items()}
    kept = {log: test.loc[["gate 1", "no words", "shuffled"]] for log, test in tests.items()}
    drawn = plots_reviews.twin_differences(kept, "recall@10")
    drawn.set_size_inches(11, 5.6)
    lines = "; ".join(
        f"{log} {t.loc['shuffled', 'difference']:+.4f} (p {t.loc['shuffled', 't_holm']:.2f})" for log, t in kept.items()
    )
    return (
        drawn,
        f"EGCF minus three twins on four logs of real reviews, with intervals. Minus shuffled reviews: {lines}.",
    )


@value
def logs_won_by_words() -> int:
    """Real logs on which EGCF beats its shuffled twin after Holm's correction."""
    return int(claimed("08", "On real reviews EGCF beats its shuffled twin on most logs"))


@value
def logs_of_reviews() -> int:
    return len(results.load("reviews_on_edges")["logs"])


@figure
@styled
def stars_told() -> tuple[Figure, str]:
    """How well five stars are told from one or two: a classifier on the vectors, and two gates."""
    names = {
        "review vectors": "vectors_tell_stars",
        "gate of EGCF": "gate_tells_stars",
        "gate without words": "wordless_gate_tells_stars",
    }
    told = recorded("08", names)
    fig = Figure(figsize=(6.4, 3.6), layout="constrained")
    ax = fig.subplots()
    colours = dict.fromkeys(("review vectors", "gate of EGCF"), MODALITY_COLOURS["textual"])
    _bars(
        ax,
        told,
        colours=colours,
        controls=["gate without words"],
        label="5 stars told from 1-2 (.5 = chance)",
        digits=2,
    )
    ax.axvline(0.5, color=HIT, linestyle="--")
    return (
        fig,
        f"How often a five-star edge stands above one with one or two stars, one half is chance: {alt_table(told, 2)}.",
    )


# ---- 2.3 feature extractors -----------------------------------------------------------------------------------------


def _posters() -> pd.DataFrame:
    """Return the stored comparison on posters, without what is still being computed."""
    from utils.challenges import extractor_study

    return extractor_study.complete(
        pd.DataFrame(json.loads(extractor_study.RESULT.read_text(encoding="utf-8"))["rows"])
    )


@figure
def posters() -> tuple[Figure, str]:
    """MovieLens posters: Recall by recommender and extractor."""
    from utils import plots_extractors

    frame = _posters()
    drawn = plots_extractors.grid_dots(frame, "recall", label="Recall@20, warm films")
    drawn.set_size_inches(10, 5)
    means = frame.groupby(["recommender", "extractor"])["recall"].mean()
    lines = "; ".join(f"{model}, {eye.replace('_', ' ')} {number:.3f}" for (model, eye), number in means.items())
    return drawn, f"Recall at 20 on warm films. {lines}."


@value
def sampled_chance_rank_30() -> float:
    """Chance of a hit for the item of true rank 30, top ten of one and 99 sampled negatives."""
    from utils.challenges.fair_study import sampled_chance

    return float(sampled_chance(30, shop().n_items, 99))


@value
def poster_seeds() -> int:
    """Seeds of the stored comparison on posters."""
    return _posters()["seed"].nunique()


def _moved(what: str) -> float:
    from utils.challenges import extractor_study

    frame = _posters()
    return extractor_study.spreads(frame[frame["extractor"].isin(extractor_study.VISUAL)])[what]


@value
def posters_move_recommender() -> float:
    """How far the choice of the recommender moves Recall on posters, from the rows that the figure draws."""
    return _moved("recommender")


@value
def posters_move_extractor() -> float:
    """How far the choice of the extractor moves it."""
    return _moved("extractor")


@figure
@styled
def new_arrivals() -> tuple[Figure, str]:
    """Recall among new items: VBPR right and wrong, DeepStyle with the wrong pictures."""
    names = {
        "VBPR, trained network": "shelf_vbpr_network",
        "VBPR, wrong pictures": "shelf_vbpr_shuffled",
        "DeepStyle, wrong pictures": "shelf_deepstyle_shuffled",
    }
    found = recorded("09", names)
    fig = Figure(figsize=(7.2, 3.6), layout="constrained")
    colours = {
        "VBPR, trained network": MODALITY_COLOURS["visual"],
        "DeepStyle, wrong pictures": MODALITY_COLOURS["textual"],
    }
    _bars(fig.subplots(), found, colours=colours, controls=list(names)[1:], label="Recall@20 among new items", digits=2)
    return fig, f"Recall at 20 among new items: {alt_table(found, 2)}."


@figure
@styled
def which_taste() -> tuple[Figure, str]:
    """Shops with one taste: which extractor finds new items."""
    colour = recorded(
        "09", {"trained network": "one_taste_colour_network", "colour histogram": "one_taste_colour_histogram"}
    )
    topic = claimed("09", "Taste is topic: the network beats the histogram")
    eyes = {"trained network": MODALITY_COLOURS["visual"], "colour histogram": MODALITY_COLOURS["textual"]}
    leads = pd.Series(
        {"taste is topic": topic, "taste is colour": colour["trained network"] - colour["colour histogram"]}
    )
    fig = Figure(figsize=(9.5, 2.9), layout="constrained")
    ax = fig.subplots()
    for row, lead in enumerate(leads):
        winner = "trained network" if lead > 0 else "colour histogram"
        ax.barh(row, lead, 0.55, color=eyes[winner])
        ax.text(lead, row, f" {lead:+.2f} ", va="center", ha="left" if lead > 0 else "right", fontsize=15)
    ax.set_yticks([0, 1], leads.index)
    ax.invert_yaxis()
    ax.axvline(0, color="black")
    ax.set_xlim(-1.4 * leads.abs().max(), 1.4 * leads.abs().max())
    ax.set_xlabel("Recall@20 among new items: trained network minus colour histogram")
    return (
        fig,
        f"Trained network minus colour histogram, Recall among new items: {alt_table(leads, 2)}. The sign turns round.",
    )


# ---- 2.4 fine-grained features --------------------------------------------------------------------------------------


@figure
def three_descriptors() -> tuple[Figure, str]:
    """Six stickers: picture, foreground, main colours, edges."""
    from utils import plots_fine

    step = shop().n_items // 6
    some = np.arange(0, shop().n_items, step)[:6]
    drawn = plots_fine.descriptors(shop(), some)
    drawn.set_size_inches(10.5, 5.6)
    titles = ", ".join(shop().items["title"].to_numpy()[some])
    return (
        drawn,
        f"Six stickers ({titles}), each above its foreground, a strip of its main colours and a coarse map of its edges.",
    )


@figure
@styled
def recovery_bars() -> tuple[Figure, str]:
    """Share of planted tastes that the largest weight recovers, with twin and opponent."""
    names = {
        "attention": "recovery_planted",
        "likeness of the history": "recovery_likeness",
        "attention, twin without taste": "recovery_twin",
    }
    found = recorded("10", names)
    fig = Figure(figsize=(8, 3.4), layout="constrained")
    ax = fig.subplots()
    _bars(
        ax,
        found,
        colours={"attention": MODALITY_COLOURS["visual"]},
        controls=list(names)[1:],
        label="Share of users whose planted taste is found",
        digits=2,
    )
    ax.axvline(1 / 3, color=HIT, linestyle="--")
    return fig, f"Share of users whose planted taste is found, guessing gives a third: {alt_table(found, 2)}."


@figure
@styled
def faithful_bars() -> tuple[Figure, str]:
    """What breaking a feature does to the ranking and to the scores, planted users and twin."""
    loss = pd.DataFrame(
        {
            "planted": recorded("10", {"most": "loss_most", "least": "loss_least"}),
            "twin": recorded("10", {"most": "twin_loss_most", "least": "twin_loss_least"}),
        }
    ).T
    start = "The twin's weights are faithful to the model all the same"
    moved = pd.Series({"most": claimed("10", start), "least": claimed("10", start, "right")})
    fig = Figure(figsize=SLIDE, layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=[3, 2])
    faces = {"most": "#444444", "least": "#DDDDDD"}
    for at, column in enumerate(("most", "least")):
        heights = loss[column].to_numpy()
        left.bar(
            np.arange(2) + 0.3 * at, heights, 0.28, color=faces[column], edgecolor="#444444", label=f"{column} weight"
        )
        for x, height in enumerate(heights):
            left.text(x + 0.3 * at, height, f"{height:.3f}", ha="center", va="bottom", fontsize=13)
        right.bar(0.3 * at, moved[column], 0.28, color=faces[column], edgecolor="#444444")
        right.text(0.3 * at, moved[column], f"{moved[column]:.3f}", ha="center", va="bottom", fontsize=13)
    left.set_xticks([0.15, 1.15], ["planted tastes", "twin without taste"])
    left.set_ylabel("Loss of AUC when broken")
    left.margins(y=0.15)
    left.legend(frameon=False)
    right.set_xticks([0.15], ["twin without taste"])
    right.set_ylabel("Scores moved when broken")
    right.margins(x=0.6, y=0.15)
    return fig, (
        f"Loss of AUC when the feature with the most or the least weight is broken: planted {loss.loc['planted', 'most']:.3f} and "
        f"{loss.loc['planted', 'least']:.3f}, twin {loss.loc['twin', 'most']:.3f} and {loss.loc['twin', 'least']:.3f}. The twin's own "
        f"scores move by {moved['most']:.3f} and {moved['least']:.3f}."
    )


# ---- 2.5 fair evaluation --------------------------------------------------------------------------------------------


@figure
@styled
def tuning_and_gap() -> tuple[Figure, str]:
    """What tuning and reseeding gain, beside the gap between the two best models."""
    names = {
        "tuned - blind choice": "gain_over_blind",
        "tuned - recommended": "gain_over_recommended",
        "best of as many seeds": "gain_of_reseeding",
        "gap, two best models": "gap_of_the_two_best",
    }
    found = recorded("11", names)
    fig = Figure(figsize=(10, 3.9), layout="constrained")
    colours = {
        "tuned - blind choice": MODALITY_COLOURS["visual"],
        "tuned - recommended": MODALITY_COLOURS["visual"],
        "gap, two best models": HIT,
    }
    _bars(
        fig.subplots(), found, colours=colours, controls=["best of as many seeds"], label="Recall@20 gained", digits=4
    )
    return fig, f"Recall gained, mean over the trained models: {alt_table(found, 4)}."


@figure
def sampled_hits() -> tuple[Figure, str]:
    """Chance of a hit against the true rank, full ranking and samples."""
    from utils.challenges.fair_study import sampled_chance

    n_items = shop().n_items
    drawn = plots_fair.sample_curve(n_items, (99, 20), sampled_chance)
    drawn.set_size_inches(8.2, 4.8)
    at_30, at_60 = (float(sampled_chance(rank, n_items, 99)) for rank in (30, 60))
    return drawn, (
        f"Chance that an item counts as a hit in the top ten, against its true rank among {n_items}. Full ranking is a step at "
        f"ten. Against 99 sampled negatives rank 30 is a hit with chance {at_30:.2f}, rank 60 with {at_60:.2f}."
    )


@figure
@styled
def two_orders() -> tuple[Figure, str]:
    """Kendall's tau with Recall: nDCG as control, the long tail."""
    found = recorded("11", {"nDCG (control)": "tau_control", "long-tail share": "tau_tail"})
    fig = Figure(figsize=(6.6, 2.9), layout="constrained")
    ax = fig.subplots()
    _bars(
        ax,
        found,
        colours={"long-tail share": MODALITY_COLOURS["visual"]},
        controls=["nDCG (control)"],
        label="Kendall's tau with the order by Recall@20",
        digits=2,
    )
    ax.axvline(0, color="black")
    return fig, f"Mean over benchmarks of Kendall's tau with the order by Recall: {alt_table(found, 2)}."
