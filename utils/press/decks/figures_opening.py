"""Decks, the figures of the parts 0 and 1.1: a first recommendation, clicks, and what an item says for itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils import plots
from utils.evaluation import short_head
from utils.graphs import shared_label
from utils.plots.style import MODALITY_COLOURS, styled
from utils.press.decks.figures import alt_table, figure, sized
from utils.press.decks.numbers import shop, value
from utils.press.decks.tiles import tile_rows

SEED = 0


@lru_cache(maxsize=1)
def _cold() -> tuple[Any, np.ndarray, int, np.ndarray, dict[str, np.ndarray]]:
    """The demo of notebook 00: split, cold items, one user, what the user took, two lists of cold items."""
    from utils.data import split_dataset
    from utils.features import load_features

    split = split_dataset(shop(), "cold_items", seed=SEED)
    cold = np.intersect1d(split.cold_items, split.test[:, 1])
    later = split.test[np.isin(split.test[:, 1], cold)]
    user = int(np.bincount(later[:, 0]).argmax())
    liked = split.matrix("train")[user].indices
    parts = [feature.centred().l2().matrix for feature in load_features(shop()).values()]
    items = np.concatenate(parts, axis=1)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    scores = items @ items[liked].mean(axis=0)
    chance = np.random.default_rng(SEED).choice(cold, size=7, replace=False)
    return (
        split,
        cold,
        user,
        liked,
        {"by content": cold[np.argsort(-scores[cold], kind="stable")][:7], "by chance": chance},
    )


@figure
def first_lists() -> tuple[str, str]:
    """One user, and cold items ranked by content and by chance."""
    split, _, user, liked, lists = _cold()
    later = split.test[split.test[:, 0] == user, 1]
    rows = {"History": liked[-7:], **lists}
    drawn = tile_rows(shop(), rows, tile=125, hits=later, kinds={"by content": "multimodal"}, rule=True)
    hits = {name: int(np.isin(ids, later).sum()) for name, ids in lists.items()}
    titles = shop().items["title"]
    return drawn, (
        f"Top row: what one user chose. Below: items that nobody has taken, ranked by content ({hits['by content']} of 7 "
        f"were taken later, first {titles[lists['by content'][0]]}) and by chance ({hits['by chance']} of 7)."
    )


@lru_cache(maxsize=1)
def _random_split() -> Any:
    from utils.data import split_dataset

    return split_dataset(shop(), "random", seed=SEED)


@figure
@styled
def click_table() -> tuple[Figure, str]:
    """A corner of the table of users and items, pictures at the top."""
    clicks = _random_split().matrix("train")
    takers = np.asarray(clicks.sum(axis=0)).ravel()
    order = np.argsort(-takers, kind="stable")
    items = np.concatenate([order[4:60:14], order[100:400:60]])[:9]
    rng = np.random.default_rng(3)
    busy = np.flatnonzero(np.asarray(clicks[:, items].sum(axis=1)).ravel() >= 1)
    users = np.sort(rng.choice(busy, size=7, replace=False))
    grid = clicks[users][:, items].toarray() > 0
    fig = Figure(figsize=(8.4, 6.6), layout="none")
    ax = fig.add_axes((0.12, 0.01, 0.87, 0.83))
    ax.set(xlim=(0, len(items)), ylim=(len(users), 0), xticks=[], yticks=[])
    for r in range(len(users)):
        for c in range(len(items)):
            face = "#10202F" if grid[r, c] else "#F1F4F7"
            ax.fill_between([c + 0.06, c + 0.94], r + 0.06, r + 0.94, color=face, linewidth=0)
            ax.text(c + 0.5, r + 0.5, "1" if grid[r, c] else "?", ha="center", va="center", fontsize=18,
                    color="white" if grid[r, c] else "#9AA6B1")  # fmt: skip
        ax.text(-0.15, r + 0.5, f"user {users[r]}", ha="right", va="center", fontsize=13)
    ax.axis("off")
    for c, item in enumerate(items):
        box = fig.add_axes((0.12 + 0.87 * (c + 0.1) / len(items), 0.86, 0.87 * 0.8 / len(items), 0.13))
        box.imshow(shop().image(int(item)).convert("RGB"))
        box.axis("off")
    return fig, (
        f"Part of the table of users and items: {len(users)} users as rows, {len(items)} items with their pictures as "
        f"columns. {int(grid.sum())} of {grid.size} cells hold a 1, all others a question mark."
    )


@figure
def popularity() -> tuple[Figure, str]:
    """Interactions per item, most popular first."""
    counts = np.sort(np.asarray(_random_split().matrix("train").sum(axis=0)).ravel())[::-1]
    head = int(short_head(counts).sum())
    return sized(plots.popularity_curve(_random_split()), 8.4, 4.9), (
        f"Interactions per item, most popular first: {counts[0]:.0f} for the first item, {np.median(counts):.0f} for the "
        f"median item; the {head} most popular of {len(counts)} items hold 80 % of them."
    )


@figure
def two_users() -> tuple[str, str]:
    """The lists of two users by popularity and by a personal model."""
    from utils.evaluation import top_items
    from utils.models import make_model

    split = _random_split()
    clicks = split.matrix("train")
    users = np.argsort(-np.diff(clicks.indptr), kind="stable")[[10, 45]]
    rows, shown = {}, {}
    for kind, model in {"popular": make_model("mostpop", split), "personal": make_model("itemknn", split)}.items():
        for letter, user in zip("AB", users):
            shown[kind, letter] = top_items(model, split, user, 7)
            rows[f"{kind}, {letter}"] = shown[kind, letter]
    same = {k: len(np.intersect1d(shown[k, "A"], shown[k, "B"])) for k in ("popular", "personal")}
    return tile_rows(shop(), rows, tile=106), (
        f"Four lists of seven items. By popularity users A and B share {same['popular']} items, by the personal model "
        f"{same['personal']}."
    )


@lru_cache(maxsize=1)
def _views() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Five nearest items by clicks, image, text and both; the categories. As in notebook 01."""
    from utils.features import load_features
    from utils.graphs import nearest_items

    clicks = _random_split().matrix("train")
    features = load_features(shop())
    image, text = (features[m].centred().l2().matrix for m in ("visual", "textual"))
    views = {"clicks": clicks.T.toarray(), "image": image, "text": text}
    views["image + text"] = np.concatenate([image, text], axis=1)
    return {name: nearest_items(matrix, 5) for name, matrix in views.items()}, shop().items["category"].to_numpy()


@figure
def by_takers() -> tuple[Figure, str]:
    """Share of neighbours in the same category, by the number of takers: clicks against content."""

    near, category = _views()
    takers = np.asarray(_random_split().matrix("train").sum(axis=0)).ravel()
    groups = pd.qcut(takers, 4, labels=["fewest takers", "few", "many", "most takers"])
    shares = pd.DataFrame({name: shared_label(near[name], category) for name in ("clicks", "image + text")})
    table = shares.groupby(groups, observed=True).mean()
    return _lines(table), (
        "Share of the five neighbours in the same category, for four groups of items. By clicks: "
        f"{alt_table(table['clicks'], 2)}. By image and text: {alt_table(table['image + text'], 2)}."
    )


@styled
def _lines(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(7.4, 5.4), layout="constrained")
    ax = fig.subplots()
    looks = {"clicks": ("#6E6E6E", "o--"), "image + text": (MODALITY_COLOURS["multimodal"], "s-")}
    for name, (colour, look) in looks.items():
        ax.plot(range(len(table)), table[name], look, color=colour, markersize=11, linewidth=3)
        ax.text(len(table) - 0.9, table[name].iloc[-1], name, color=colour, va="center", weight="bold")
    ax.set_xticks(range(len(table)), [str(name).replace(" ", "\n") for name in table.index])
    ax.set(ylim=(0, None), xlim=(-0.2, len(table) + 0.35), ylabel="Neighbours of the same category (share)")
    ax.set_xlabel("Items, by how often they were taken")
    return fig


@figure
def item_neighbours(query: str = "") -> tuple[str, str]:
    """The nearest items of one item by clicks, image, text and both.

    Without ``query``, a title, it is the item where both gain most over the better of image and text, as in notebook 01.
    """
    near, category = _views()
    shares = {name: shared_label(near[name], category) for name in ("image", "text", "image + text")}
    item = int(np.argmax(shares["image + text"] - np.maximum(shares["image"], shares["text"])))
    if query:
        item = int(np.flatnonzero(shop().items["title"] == query)[0])
    kinds = {"clicks": "none", "image": "visual", "text": "textual", "image + text": "multimodal"}
    rows = {name: [item, *near[name][item]] for name in kinds}
    same = [other for other in range(shop().n_items) if category[other] == category[item] and other != item]
    drawn = tile_rows(shop(), rows, tile=106, hits=same, kinds=kinds, query=True)
    hits = {name: int((category[near[name][item]] == category[item]).sum()) for name in kinds}
    words = ", ".join(f"{name} {count}" for name, count in hits.items())
    title = shop().items["title"][item]
    return drawn, f"The five nearest items of {title}. Of the same category: {words} of 5."


@lru_cache(maxsize=1)
def _heard() -> int:
    """An item with a picture, words and a sound."""
    titles = shop().items["title"].to_numpy()
    sounding = np.flatnonzero((shop().items["audio"] != "").to_numpy())
    named = [item for item in sounding if titles[item] == "Bassoon"]
    return int(named[0] if named else sounding[0])


@value
def heard_title() -> str:
    """Name of the item whose three modalities are shown."""
    return str(shop().items["title"][_heard()])


@figure
@styled
def one_item() -> tuple[Figure, str]:
    """One item as the three modalities: picture, words, sound."""
    import textwrap

    from utils.features.encoders.sound import log_mel, read_audio

    item = _heard()
    row = shop().items.iloc[item]
    sound = log_mel(read_audio(shop().audio_paths()[item]))
    fig = Figure(figsize=(11.6, 4.4), layout="constrained")
    frames = fig.subplots(1, 3)
    for ax, modality in zip(frames, ("visual", "textual", "audio")):
        colour = MODALITY_COLOURS[modality]
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(visible=True, color=colour, linewidth=4)
        ax.set_title(modality, loc="center", fontsize=19, weight="bold", color=colour, pad=10)
    frames[0].imshow(shop().image(item).convert("RGB"))
    frames[0].margins(0.05)
    frames[1].set(xlim=(0, 1), ylim=(0, 1))
    frames[1].text(0.5, 0.5, textwrap.fill(str(row["description"]), 20), ha="center", va="center", fontsize=21)
    spectrum = np.asarray(sound)
    spectrum = spectrum if spectrum.shape[0] < spectrum.shape[1] else spectrum.T
    frames[2].imshow(spectrum, origin="lower", aspect="auto", cmap="magma")
    for ax in frames:
        ax.set_box_aspect(1)
    return (
        fig,
        f"The item {row['title']} three times: its picture, its words ({row['description']}), its sound as a spectrogram.",
    )
