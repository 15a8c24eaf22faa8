"""Decks, rows of items: the pictures of the catalogue with names that a whole room can read."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping

from utils.data import Dataset
from utils.plots.pictures import _ink
from utils.plots.style import MODALITY_COLOURS


def tile_rows(
    dataset: Dataset,
    rows: Mapping[str, Iterable[int]],
    *,
    tile: int = 120,
    hits: Iterable[int] | Mapping[str, Iterable[int]] = (),
    kinds: Mapping[str, str] | None = None,
    query: bool = False,
    rule: bool = False,
) -> str:
    """Return HTML: one row of pictures for each name, framed and ticked where an item is a hit.

    Args:
        dataset: has image(item_id) and items with titles.
        rows: name -> item_ids.
        tile: pixels of a side, on a slide of 1280 x 720.
        hits: item_ids that get a frame and a tick (not in the first row when ``rule`` parts it off); or name -> item_ids.
        kinds: name -> modality, for the colour of the name.
        query: the first item of each row is what was asked for.
        rule: draw a line below the first row.
    """
    each = hits if isinstance(hits, Mapping) else dict.fromkeys(rows, list(hits))
    most, cells = max(len(list(ids)) for ids in rows.values()), []
    for at, (name, ids) in enumerate(rows.items()):
        kind, hit = (kinds or {}).get(name, "none"), set(map(int, each[name]))
        colour = "#10202F" if kind == "none" else _ink(MODALITY_COLOURS[kind])
        cells.append(f'<div class="name" style="color:{colour}">{html.escape(name)}</div>')
        for place, item in enumerate(map(int, ids)):
            looks = ["tile"]
            if item in hit and not (query and place == 0) and not (rule and at == 0):
                looks.append("hit")
            if query and place == 0:
                looks.append("query")
            title = html.escape(str(dataset.items["title"].iloc[item] or dataset.items["item"].iloc[item]), quote=True)
            cells.append(
                f'<div class="{" ".join(looks)}"><div class="frame" style="height:{tile}px">'
                f'<img alt="{title}" src="{picture(dataset, item, tile)}"></div><span class="label">{title}</span></div>'
            )
        if rule and at == 0:
            cells.append('<div class="rule"></div>')
    columns = f"grid-template-columns: 170px repeat({most}, {tile}px)"
    return f'<div class="tiles" style="{columns}">{"".join(cells)}</div>'


def picture(dataset: Dataset, item: int, tile: int) -> str:
    """Return an item's picture as a data URL, twice as large as its tile, so that it is sharp on a fine screen."""
    image = dataset.image(item).convert("RGB")
    image.thumbnail((2 * tile, 2 * tile))
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=86)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
