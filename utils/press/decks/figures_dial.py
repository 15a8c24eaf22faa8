"""Decks, the fusion dial: the slider of notebook 04 on a slide; on paper it is the same picture, standing still."""

from __future__ import annotations

import numpy as np

from utils.press.decks.figures import figure
from utils.press.decks.numbers import shop
from utils.press.decks.tiles import picture, tile_rows
from utils.press.templates import render

WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
START = 0.3


@figure
def dial(tile: str = "116") -> tuple[str, str]:
    """One user's list while the weight moves from clicks to content; the ends stay in view."""
    from utils.plots import widgets

    made, side = widgets.clicks_and_content(shop()), int(tile)
    user = made.users[0]
    hits = set(map(int, made.hits(user)))
    lists = {weight: [int(item) for item in made.items(user, weight, 7)] for weight in WEIGHTS}
    titles = shop().items["title"].to_numpy()
    rows = [
        {
            "name": f"{weight:g} content",
            "says": f"all users, validation: Recall@20 {made.recall(weight):.3f}",
            "items": [[item, item in hits] for item in lists[weight]],
        }
        for weight in WEIGHTS
    ]
    shown = sorted({item for items in lists.values() for item in items})
    data = {
        "rows": rows,
        "titles": {item: str(titles[item]) for item in shown},
        "pictures": {item: picture(shop(), item, side) for item in shown},
    }
    start = WEIGHTS.index(START)
    names = {"clicks only": 0.0, rows[start]["name"]: START, "content only": 1.0}
    kinds = {name: "multimodal" for name in list(names)[1:]}
    tiles = tile_rows(
        shop(), {name: lists[weight] for name, weight in names.items()}, tile=side, hits=hits, kinds=kinds
    )
    found = [
        f"{name}: {', '.join(titles[lists[w]])} ({len(hits & set(lists[w]))} taken later)" for name, w in names.items()
    ]
    best = max(WEIGHTS, key=lambda weight: made.recall(weight))
    recalls = np.array([made.recall(weight) for weight in (0.0, best, 1.0)])
    return render("dial.html", tiles=tiles, start=start, data=data), (
        f"Three lists of one user. {'. '.join(found)}. A slider moves the middle one. For all users Recall at 20 is "
        f"{recalls[0]:.3f} by clicks, {recalls[1]:.3f} at weight {best:g}, {recalls[2]:.3f} by content."
    )
