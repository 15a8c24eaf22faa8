"""Decks, the fusion dial: the slider of notebook 04 on a slide; on paper it is the same picture, standing still."""

from __future__ import annotations

import html
import json

import numpy as np

from utils.decks.figures import figure
from utils.decks.numbers import shop
from utils.decks.tiles import picture, tile_rows

WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
START = 0.3

# The middle row is the second of the grid: its name, then its tiles. All pictures are in the page already.
SCRIPT = """
(() => {
  const me = document.currentScript, box = me.parentElement, data = DATA;
  const cells = [...box.querySelectorAll('.tiles > div')], row = cells.slice(cells.length / 3, 2 * cells.length / 3);
  const slider = box.querySelector('input'), says = box.querySelector('output');
  const turn = () => {
    const now = data.rows[slider.value];
    row[0].textContent = now.name; says.textContent = now.says;
    now.items.forEach(([item, hit], at) => {
      const tile = row[at + 1], image = tile.querySelector('img'), title = data.titles[item];
      tile.className = hit ? 'tile hit' : 'tile';
      image.src = data.pictures[item]; image.alt = title; tile.querySelector('.label').textContent = title;
    });
  };
  slider.addEventListener('input', turn);
  slider.addEventListener('keydown', event => event.stopPropagation());
})();
"""


@figure
def dial(tile: str = "116") -> tuple[str, str]:
    """One user's list while the weight moves from clicks to content; the ends stay in view."""
    from utils import widgets

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
    slider = (
        f'<div class="dial"><span>clicks</span><input type="range" min="0" max="{len(WEIGHTS) - 1}" value="{start}" '
        f'aria-label="weight of content"><span>content</span><output>{html.escape(rows[start]["says"])}</output></div>'
    )
    script = SCRIPT.replace("DATA", json.dumps(data).replace("</", "<\\/"))
    found = [
        f"{name}: {', '.join(titles[lists[w]])} ({len(hits & set(lists[w]))} taken later)" for name, w in names.items()
    ]
    best = max(WEIGHTS, key=lambda weight: made.recall(weight))
    recalls = np.array([made.recall(weight) for weight in (0.0, best, 1.0)])
    return f'<div class="dial-box">{tiles}{slider}<script>{script}</script></div>', (
        f"Three lists of one user. {'. '.join(found)}. A slider moves the middle one. For all users Recall at 20 is "
        f"{recalls[0]:.3f} by clicks, {recalls[1]:.3f} at weight {best:g}, {recalls[2]:.3f} by content."
    )
