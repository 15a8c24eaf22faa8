"""Decks, the figures of part 2: the open challenges, drawn from records and stored studies by the notebooks' own plots."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.lab import tables as results
from utils.plots import fair as plots_fair
from utils.plots import missing as plots_missing
from utils.plots import reviews as plots_reviews
from utils.plots.style import MODALITY_COLOURS
from utils.press.decks.figures import figure
from utils.press.decks.numbers import recorded, shop, value

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
def misplaced_films() -> tuple[Figure, str]:
    """MovieLens plots, half hidden: Recall of content kNN with own and with misplaced vectors."""
    from utils.studies import missing_modalities as missing_study

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
    return int(recorded("08", "left of On real reviews EGCF beats its shuffled twin on most logs"))


@value
def logs_of_reviews() -> int:
    return len(results.load("reviews_on_edges")["logs"])


# ---- 2.3 feature extractors -----------------------------------------------------------------------------------------


def _posters() -> pd.DataFrame:
    """Return the stored comparison on posters, without what is still being computed."""
    from utils.studies import feature_extractors as extractor_study

    return extractor_study.complete(
        pd.DataFrame(json.loads(extractor_study.RESULT.read_text(encoding="utf-8"))["rows"])
    )


@figure
def posters() -> tuple[Figure, str]:
    """MovieLens posters: Recall by recommender and extractor."""
    from utils.plots import extractors as plots_extractors

    frame = _posters()
    drawn = plots_extractors.grid_dots(frame, "recall", label="Recall@20, warm films")
    drawn.set_size_inches(10, 5)
    means = frame.groupby(["recommender", "extractor"])["recall"].mean()
    lines = "; ".join(f"{model}, {eye.replace('_', ' ')} {number:.3f}" for (model, eye), number in means.items())
    return drawn, f"Recall at 20 on warm films. {lines}."


@value
def sampled_chance_rank_30() -> float:
    """Chance of a hit for the item of true rank 30, top ten of one and 99 sampled negatives."""
    from utils.studies.fair_evaluation import sampled_chance

    return float(sampled_chance(30, shop().n_items, 99))


@value
def poster_seeds() -> int:
    """Seeds of the stored comparison on posters."""
    return _posters()["seed"].nunique()


def _moved(what: str) -> float:
    from utils.studies import feature_extractors as extractor_study

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


# ---- 2.4 fine-grained features --------------------------------------------------------------------------------------


@figure
def three_descriptors() -> tuple[Figure, str]:
    """Six stickers: picture, foreground, main colours, edges."""
    from utils.plots import fine as plots_fine

    step = shop().n_items // 6
    some = np.arange(0, shop().n_items, step)[:6]
    drawn = plots_fine.descriptors(shop(), some)
    drawn.set_size_inches(10.5, 5.6)
    titles = ", ".join(shop().items["title"].to_numpy()[some])
    return (
        drawn,
        f"Six stickers ({titles}), each above its foreground, a strip of its main colours and a coarse map of its edges.",
    )


# ---- 2.5 fair evaluation --------------------------------------------------------------------------------------------


@figure
def sampled_hits() -> tuple[Figure, str]:
    """Chance of a hit against the true rank, full ranking and samples."""
    from utils.studies.fair_evaluation import sampled_chance

    n_items = shop().n_items
    drawn = plots_fair.sample_curve(n_items, (99, 20), sampled_chance)
    drawn.set_size_inches(8.2, 4.8)
    at_30, at_60 = (float(sampled_chance(rank, n_items, 99)) for rank in (30, 60))
    return drawn, (
        f"Chance that an item counts as a hit in the top ten, against its true rank among {n_items}. Full ranking is a step at "
        f"ten. Against 99 sampled negatives rank 30 is a hit with chance {at_30:.2f}, rank 60 with {at_60:.2f}."
    )
