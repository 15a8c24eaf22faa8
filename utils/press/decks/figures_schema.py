"""Decks, the figures of the parts 1.2 and 1.3: the schema as a drawing, and what was measured in each of its boxes."""

from __future__ import annotations

import html
from functools import lru_cache

import numpy as np
from matplotlib.figure import Figure

from utils import plots
from utils.plots import data as plots_data
from utils.plots import features as plots_features
from utils.plots import fusion as plots_fusion
from utils.plots.pictures import _ink
from utils.plots.style import MODALITY_COLOURS, styled
from utils.press.decks import review
from utils.press.decks.figures import figure, sized
from utils.press.decks.numbers import shop, value
from utils.press.decks.tiles import tile_rows

SEED = 0
INK, GREY = "#10202F", "#8A97A3"

# ---- the schema as a drawing ----------------------------------------------------------------------------------------

COLUMNS = (
    ("content", "c", "what there is", "02"),
    ("extract", "φ", "features", "03"),
    ("represent", "μ", "one space or several", "04"),
    ("fuse", "γ", "vectors or scores", "04"),
    ("score", "ρ", "the recommender", "05"),
    ("judge", "L", "loss, metrics", "05, 06"),
)
QUESTIONS = (("Which?", 0, 0), ("How?", 1, 2), ("When?", 3, 3), ("and then: learn, judge", 4, 5))


@figure
def schema_flow(here: str = "") -> tuple[str, str]:
    """The schema as boxes and arrows; ``here`` names boxes (joined by +) that are lit while the others fade."""
    lit = set(here.split("+")) if here else {name for name, *_ in COLUMNS}
    width, left, step, lane = 146, 22, 197, (70, 158, 246)
    parts = [_question(words, left + a * step, left + b * step + width) for words, a, b in QUESTIONS]
    for at, (name, symbol, words, notebook) in enumerate(COLUMNS):
        x, faint = left + at * step, 1 if name in lit else 0.28
        lanes = (
            list(zip(lane, ("visual", "textual", "audio")))
            if at < 3
            else [(lane[1], "multimodal" if at == 3 else "none")]
        )
        for y, kind in lanes:
            colour = MODALITY_COLOURS[kind] if kind != "none" else INK
            parts.append(
                f'<rect x="{x}" y="{y}" width="{width}" height="64" rx="10" fill="#fff" stroke="{colour}" '
                f'stroke-width="4" opacity="{faint}"/>'
                f'<text x="{x + width / 2}" y="{y + 42}" text-anchor="middle" font-size="{30 if at else 22}" '
                f'font-weight="700" fill="{_ink(colour)}" opacity="{faint}">{symbol if at else kind}'
                f"{_below(kind) if 0 < at < 3 else ''}</text>"
            )
        parts.append(
            f'<text x="{x + width / 2}" y="344" text-anchor="middle" font-size="22" font-weight="700" fill="{INK}" '
            f'opacity="{faint}">{name}</text><text x="{x + width / 2}" y="372" text-anchor="middle" font-size="18" '
            f'fill="#56636f" opacity="{faint}">{words}</text><text x="{x + width / 2}" y="400" text-anchor="middle" '
            f'font-size="18" fill="#56636f" opacity="{faint}">notebook {notebook}</text>'
        )
        if at:
            for y in lane if at < 4 else lane[1:2]:
                end = lane[1] + (y - lane[1]) / 5 if at == 3 else y  # three lanes arrive side by side
                parts.append(_arrow(x - step + width + 5, y + 32, x - 8, end + 32))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1164 412" width="100%" font-family="Source Sans 3, sans-serif" '
        'aria-hidden="true"><defs><marker id="tip" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0L10 5L0 10z" fill="{GREY}"/></marker></defs>{"".join(parts)}</svg>'
    )
    return svg, (
        "The schema from left to right: content of three modalities, extraction phi and representation mu for each of them, "
        "fusion gamma, the recommender rho, loss and metrics. Which? asks for the content, How? for phi and mu, When? for "
        f"gamma. {'Lit: ' + ', '.join(sorted(lit)) + '.' if here else ''}"
    )


def _below(kind: str) -> str:
    return f'<tspan font-size="20" dy="8">{kind[0]}</tspan>'


def _question(words: str, low: float, high: float) -> str:
    middle = (low + high) / 2
    return (
        f'<path d="M{low} 50V42H{high}V50" fill="none" stroke="{GREY}" stroke-width="2.5"/>'
        f'<text x="{middle}" y="29" text-anchor="middle" font-size="25" font-weight="700" fill="{INK}">{words}</text>'
    )


def _arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<path d="M{x0} {y0}L{x1} {y1}" stroke="{GREY}" stroke-width="3" marker-end="url(#tip)"/>'


@figure
@styled
def review_counts() -> tuple[Figure, str]:
    """What 43 papers answered to the questions of the schema."""
    counted = review.counts()
    fig = Figure(figsize=(12, 4.9), layout="constrained")
    for ax, (question, numbers) in zip(fig.subplots(1, len(counted)), counted.items()):
        colours = [MODALITY_COLOURS.get(name, "#33506B") for name in numbers.index]
        ax.bar(range(len(numbers)), numbers, 0.7, color=colours)
        for x, number in enumerate(numbers):
            ax.text(x, number + 0.6, str(number), ha="center", fontsize=17, weight="bold")
        ax.set_xticks(range(len(numbers)), [name.replace("-", "-\n") for name in numbers.index], fontsize=15)
        ax.set(ylim=(0, len(review.papers()) + 3), yticks=[], title=question)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="x", length=0, rotation=24)
    words = ". ".join(f"{q}: {', '.join(f'{n} {c}' for n, c in s.items())}" for q, s in counted.items())
    return fig, f"Number of papers by answer. {words}. A paper with two answers counts twice."


@value
def n_papers() -> int:
    """Papers that the review classifies."""
    return len(review.papers())


@figure
def schema_rows(names: str = "bpr,vbpr,lightgcn,lattice,bm3,freedom,mmgcn") -> tuple[str, str]:
    """Rows of the schema's table, read off the classes."""
    from utils.models import schema_table

    table = schema_table(names.split(","))
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in ["model", *table.columns])
    body = "".join(
        "<tr><td><b>" + html.escape(str(name)) + "</b></td>"
        + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for name, row in zip(table.index, table.to_numpy())
    )  # fmt: skip
    words = "; ".join(f"{name}: {', '.join(map(str, row))}" for name, row in zip(table.index, table.to_numpy()))
    return (
        f"<table class='schema'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
        f"Schema table. {words}.",
    )


# ---- Which? ---------------------------------------------------------------------------------------------------------


@figure
def splits() -> tuple[Figure, str]:
    """The same users under three splits."""
    from utils.data import split_dataset

    cut = {name: split_dataset(shop(), name, seed=SEED) for name in ("random", "temporal_user", "temporal_global")}
    drawn = plots_data.split_timeline(shop(), cut, plots_data.spread_users(shop(), 4))
    return sized(drawn, 10.4, 5.2), (
        "Three panels with the interactions of the same four users along time. Random: test marks lie between training marks. "
        "Temporal per user: at the end of each line, on different days. Temporal global: behind one border for everybody."
    )


# ---- How? -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _colourful() -> int:
    """The item whose picture has most colours, as notebook 03 chooses it."""
    from utils.features import extract

    histogram = extract(shop(), "visual", "colour_histogram", progress=False)
    share = np.maximum(histogram.matrix, 1e-9)
    return int(np.argmax(-(share * np.log(share)).sum(axis=1) * histogram.mask))


@figure
def picture_numbers() -> tuple[Figure, str]:
    """A picture, its channels, and the values before and after normalisation."""
    from utils.features.encoders import image

    item = _colourful()
    picture = np.asarray(image.square(image.on_white(image.open_image(shop().image_paths()[item])), 224))
    tensor = (picture.transpose(2, 0, 1).astype(float) - 127) / 128
    drawn = plots_features.picture_as_numbers(picture, tensor)
    return drawn, (
        f"The picture of {shop().items['title'].iloc[item]}, its red, green and blue channel in grey, and how often each value "
        "occurs: stored from 0 to 255, normalised around zero."
    )


@figure
def three_sounds() -> tuple[Figure, str]:
    """Three sounds as waves and as log-mel spectrograms."""
    from utils.features.encoders.sound import log_mel, read_audio

    sounding = np.flatnonzero((shop().items["audio"] != "").to_numpy())
    picks = sounding[[0, len(sounding) // 2, -1]]
    waves = {str(shop().items["title"].iloc[i]): read_audio(shop().audio_paths()[i]) for i in picks}
    drawn = plots_features.sound_pictures(waves, [log_mel(wave) for wave in waves.values()])
    return drawn, f"Waveform above, log-mel spectrogram below, of {', '.join(waves)}."


# ---- When? ----------------------------------------------------------------------------------------------------------


@figure
def three_ways() -> tuple[Figure, str]:
    """Joint; coordinate, then early; coordinate, then late."""
    return sized(plots_fusion.when_to_fuse(("visual", "textual")), 10.6, 5.5), (
        "Three ways from features to one score. Joint: both modalities enter one mu. Early: one mu each, then gamma, then one "
        "score. Late: one mu and one score each, then gamma."
    )


# ---- learn, judge ---------------------------------------------------------------------------------------------------


@figure
@styled
def bpr_curve() -> tuple[Figure, str]:
    """The BPR loss over the difference of two scores."""
    import torch

    from utils.losses import bpr

    x = torch.linspace(-4, 4, 81)
    y = [float(bpr(d[None], torch.zeros(1))) for d in x]
    fig = Figure(figsize=(5.6, 4.4), layout="constrained")
    ax = fig.subplots()
    ax.plot(x, y, color=INK, linewidth=4)
    ax.plot(0, y[40], "o", color="#D55E00", markersize=13)
    ax.annotate("no opinion: ln 2", (0, y[40]), (0.5, 1.7), fontsize=16, color="#B34F00")
    ax.set(xlabel="Score of i minus score of j", ylabel="BPR loss", ylim=(0, 4.2))
    return (
        fig,
        "The BPR loss falls from 4 where the wrong item leads by 4 to nearly 0 where the right one does; ln 2 at zero.",
    )


@figure
def accurate_or_fair() -> tuple[Figure, str]:
    """Ten published models on one Amazon shop: Recall against the share of the list that is long tail."""
    from utils.evaluation.published import tors_table

    rows = tors_table()
    names = {"bpr": "BPR", "ngcf": "NGCF", "lightgcn": "LightGCN", "sgl": "SGL", "vbpr": "VBPR"}
    rows = rows[rows["dataset"] == "Office"].assign(model=lambda t: t["model"].map(lambda m: names.get(m, m.upper())))
    table = rows.set_index("model")[["recall", "aplt"]].rename(columns={"recall": "recall@20", "aplt": "aplt@20"})
    kinds = {name: "none" if name in ("BPR", "NGCF", "LightGCN", "SGL") else "multimodal" for name in table.index}
    drawn = plots.tradeoff(table, kinds=kinds)
    words = "; ".join(f"{name} {row['recall@20']:.2f} and {row['aplt@20']:.2f}" for name, row in table.iterrows())
    return sized(drawn, 8, 5.2), f"Amazon Office, published Recall at 20 and long-tail share of the list: {words}."


@figure
def gains_and_losses() -> tuple[str, str]:
    """Lists without and with content, of the user who gains most from content and of the one who loses most."""
    from utils.data import split_dataset
    from utils.evaluation import evaluate, top_items
    from utils.features import load_features
    from utils.models import make_model

    split = split_dataset(shop(), "random", seed=SEED)
    without, with_ = make_model("itemknn", split), make_model("itemknn_multimodal", split, load_features(shop()))
    ndcg = [evaluate(model, split, top_k=7, metrics=("ndcg",)).per_user["ndcg@7"] for model in (without, with_)]
    gain = ndcg[1] - ndcg[0]
    rows, later, words = {}, [], []
    for what, user in (("gains", int(gain.idxmax())), ("loses", int(gain.idxmin()))):
        taken = split.test[split.test[:, 0] == user, 1]
        for name, model in (("without", without), ("with", with_)):
            rows[f"{what}: {name}"] = top_items(model, split, user, 7)
            words.append(f"{what}, {name} content: {int(np.isin(rows[f'{what}: {name}'], taken).sum())} taken later")
            later.append(set(map(int, taken)))
    kinds = {name: "multimodal" for name in rows if name.endswith("with")}
    hits = dict(zip(rows, later))
    return tile_rows(shop(), rows, tile=106, hits=hits, kinds=kinds), (
        f"Lists of seven items for the user who gains most from content and the one who loses most. {'; '.join(words)}."
    )
