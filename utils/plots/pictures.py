"""Plots with pictures of items: galleries, recommendation lists, neighbours."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from utils.data import Dataset
from utils.errors import CourseError
from utils.plots.style import HIT, colour_of, styled

WIDTH = 11.2  # inches of a full row: about as wide as the page, so that letters are shown at the size they are set
TILE = 1.6  # inches a side, at most
PAD = 0.16
CAPTION_LINES = 2
LINE = 0.21  # inches from one line of a caption to the next, at 12 points
LETTER = 0.098  # inches of a letter at 12 points, on average
MISSING = "#E9E9E9"


@styled
def gallery(
    dataset: Dataset,
    item_ids: Iterable[int],
    captions: Sequence[str] | None = None,
    *,
    title: str = "",
    columns: int = 6,
    hits: Iterable[int] = (),
) -> Figure:
    """Show items as pictures with their names.

    Args:
        dataset: has image(item_id), image_paths() and items (title, item).
        item_ids: which, in this order.
        captions: one per item; titles (or ids) by default.
        columns: pictures per row.
        hits: item_ids to frame and tick.
    """
    items = _ids(dataset, item_ids)
    if captions is not None and len(captions) != len(items):
        raise CourseError(f"There are {len(captions)} captions for {len(items)} items; give one per item.")
    columns = min(columns, len(items))
    n_rows = -(-len(items) // columns)
    rows = [items[start : start + columns] for start in range(0, len(items), columns)]
    words = list(captions) if captions is not None else [_name(dataset, item) for item in items]
    lines = [words[start : start + columns] for start in range(0, len(items), columns)]
    return _grid(dataset, rows, lines, [""] * n_rows, title=title, hits=[set(hits)] * n_rows, columns=columns)


@styled
def recommendation_lists(
    dataset: Dataset,
    history: Iterable[int],
    lists: Mapping[str, Iterable[int]],
    hits: Iterable[int] = (),
    *,
    columns: int = 7,
    title: str = "",
    kinds: Mapping[str, str] | None = None,
) -> Figure:
    """Show what a user took and what each model recommends, one row each.

    Args:
        history: item_ids of the user's train part; the last ``columns`` are shown.
        lists: model -> item_ids, best first; the first ``columns`` are shown.
        hits: item_ids that the user did take later (test part): framed and ticked in the lists.
        kinds: model -> modality, for the colour of its name; guessed from the name by default.
    """
    rows = [list(history)[-columns:], *(list(ids)[:columns] for ids in lists.values())]
    chosen = [_ids(dataset, [item for item in ids if item >= 0], empty=True) for ids in rows]
    found = set(map(int, hits))
    names = ["History", *lists]
    colours = ["#000000", *(colour_of(name, kinds) for name in lists)]
    words = [[_name(dataset, item) for item in ids] for ids in chosen]
    frames = [set(), *([found] * len(lists))]
    return _grid(dataset, chosen, words, names, title=title, hits=frames, columns=columns, colours=colours, rule=True)


@styled
def neighbours(
    dataset: Dataset,
    query_ids: Iterable[int],
    found: Mapping[str, Any],
    *,
    columns: int = 6,
    title: str = "",
    category: str | None = "category",
    kinds: Mapping[str, str] | None = None,
) -> Figure:
    """Show the nearest items of some queries, one row per query and feature set, the query framed in black at the left.

    Args:
        found: name of the features -> item_ids (n_queries, k), nearest first.
        category: column of dataset.items; neighbours of the query's own category are framed and ticked. None = no frames.
    """
    queries = _ids(dataset, query_ids)
    rows, names, words, hits, colours = [], [], [], [], []
    kind = dataset.items[category].to_numpy() if category and category in dataset.items else None
    for at, query in enumerate(queries):
        for name, ids in found.items():
            ids = np.asarray(ids)
            if ids.shape[:1] != (len(queries),) or ids.ndim != 2:
                raise CourseError(f"The neighbours by {name} have shape {ids.shape}; give one row for each query.")
            near = _ids(dataset, ids[at][: columns - 1], empty=True)
            rows.append([query, *near])
            names.append(name)
            colours.append(colour_of(name, kinds))
            words.append([_name(dataset, item) for item in (query, *near)])
            same = kind is not None and kind[query] != ""
            hits.append({item for item in near if kind[item] == kind[query]} if same else set())
    every = len(found)
    return _grid(
        dataset,
        rows,
        words,
        names,
        title=title,
        hits=hits,
        columns=columns,
        colours=colours,
        rule_every=every,
        queries=True,
    )


# ---- below: tiles -------------------------------------------------------------------------------------------------


def _grid(
    dataset: Dataset,
    rows: Sequence[Sequence[int]],
    words: Sequence[Sequence[str]],
    names: Sequence[str],
    *,
    title: str,
    hits: Sequence[set[int]],
    columns: int,
    colours: Sequence[str] | None = None,
    rule: bool = False,
    rule_every: int = 0,
    queries: bool = False,
) -> Figure:
    """Place tiles by hand, in inches: every picture has the same size, whatever the captions are."""
    side = 1.75 if any(names) else 0.1  # room for the names of the rows
    tile = min(TILE, (WIDTH - side) / columns - PAD)
    if tile < 0.8:
        raise CourseError(f"{columns} pictures do not fit into one row; ask for fewer columns.")
    top = 0.5 if title else 0.1
    height = tile + CAPTION_LINES * LINE + 0.24
    size = (side + columns * (tile + PAD), top + len(rows) * height)
    fig = Figure(figsize=size, layout="none")
    paths = dataset.image_paths()
    if title:
        fig.text(0.1 / size[0], 1 - 0.12 / size[1], title, va="top", fontsize=16)
    for r, (row, captions) in enumerate(zip(rows, words)):
        low = size[1] - top - r * height - tile  # bottom edge of this row's pictures
        if names[r]:
            ink = _ink(colours[r]) if colours else "#000000"
            style = {"va": "center", "fontsize": 14, "weight": "bold", "color": ink}
            fig.text(0.1 / size[0], (low + tile / 2) / size[1], _wrap(_words(names[r]), 13, 3), **style)
        for c, (item, caption) in enumerate(zip(row, captions)):
            x = side + c * (tile + PAD)
            ax = fig.add_axes((x / size[0], low / size[1], tile / size[0], tile / size[1]))
            _tile(ax, dataset, item, paths[item], hit=item in hits[r], query=queries and c == 0)
            for line, text in enumerate(_wrap(caption, int((tile + PAD) / LETTER), CAPTION_LINES).split("\n")):
                y = low - 0.2 - line * LINE
                fig.text((x + tile / 2) / size[0], y / size[1], text, ha="center", va="baseline", fontsize=12)
        if not row:
            fig.text((side + 0.1) / size[0], (low + tile / 2) / size[1], "(nothing)", va="center", fontsize=13)
        if r and ((rule and r == 1) or (rule_every and r % rule_every == 0)):
            y = (low + tile + 0.1) / size[1]
            fig.add_artist(Rectangle((0.01, y), 0.98, 0.012 / size[1], color="#999999", transform=fig.transFigure))
    return fig


def _tile(ax: Axes, dataset: Dataset, item: int, path: Any, hit: bool, query: bool) -> None:
    ax.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    picture = _picture(dataset, item) if path is not None else None
    if picture is None:
        ax.set_facecolor(MISSING)
        ax.text(
            0.5,
            0.5,
            "no image" if path is None else "unreadable\nimage",
            ha="center",
            va="center",
            fontsize=12,
            color="#555555",
        )
    else:
        wide, high = picture.shape[1], picture.shape[0]
        w, h = wide / max(wide, high) / 2, high / max(wide, high) / 2  # half the sides of the fitted picture
        ax.imshow(picture, extent=(0.5 - w, 0.5 + w, 0.5 - h, 0.5 + h), aspect="auto")
        ax.set(xlim=(0, 1), ylim=(0, 1))
    colour, width = (HIT, 5.0) if hit else ("#000000", 2.5) if query else ("#CCCCCC", 1.0)
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=width)
    if hit:  # a tick as well: the frame must not speak by colour alone
        box = {"boxstyle": "round,pad=0.15", "facecolor": HIT, "edgecolor": "none"}
        ax.text(0.93, 0.92, "\u2713", ha="right", va="top", fontsize=13, color="white", weight="bold", bbox=box)


def _picture(dataset: Dataset, item: int) -> np.ndarray | None:
    """Read one picture, at most 256 pixels a side; None if it cannot be read (the tile says so, the figure goes on)."""
    try:
        image = dataset.image(item).convert("RGB")
    except (OSError, ValueError):
        return None
    image.thumbnail((256, 256))
    return np.asarray(image)


def _ids(dataset: Dataset, item_ids: Iterable[int], empty: bool = False) -> list[int]:
    items = [int(item) for item in item_ids]
    for item in items:
        if not 0 <= item < dataset.n_items:
            raise CourseError(f"Item {item} does not exist; item ids go from 0 to {dataset.n_items - 1}.")
    if not items and not empty:
        raise CourseError("There is no item to show; give at least one item id.")
    return items


def _name(dataset: Dataset, item: int) -> str:
    row = dataset.items.iloc[item]
    return str(row.get("title") or row.get("description") or row["item"])


def _words(name: str) -> str:
    """A row's name with blanks for underscores where it is too long for one line, so that no word is cut."""
    return name.replace("_", " ") if len(name) > 11 else name


def _wrap(text: str, width: int, lines: int) -> str:
    """Break a text into at most so many lines, with an ellipsis where something is cut."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder="\u2026", break_on_hyphens=True))


def _ink(colour: str) -> str:
    """Darken a colour for letters on white: orange and pink alone are too pale to read."""
    light = _light(colour)
    factor = min(1.0, 0.42 / light) if light else 1.0
    return "#{:02x}{:02x}{:02x}".format(*(int(value * 255 * factor) for value in to_rgb(colour)))


def _light(colour: str) -> float:
    """Return how light a colour looks, 0 to 1."""
    r, g, b = to_rgb(colour)
    return 0.299 * r + 0.587 * g + 0.114 * b
