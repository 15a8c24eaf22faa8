"""The steps of cleaning, each usable alone, and ``clean()`` that runs them with a log."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd

from utils.data.dataset import Dataset, assemble, leaves
from utils.data.pictures import image_problem, sound_problem
from utils.data.rules import NO_TEXT
from utils.errors import CourseError, suggest
from utils.files import sha256

# Elements that catalogue texts contain; "a <3 b" or "<unknown word>" is text, not markup.
_ELEMENTS = frozenset(
    """
    a abbr address article aside audio b big blockquote body br button caption center cite code col colgroup dd del
    div dl dt em embed figcaption figure font footer form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input
    ins kbd label li link main map mark meta nav noscript object ol option p param pre q s samp script section
    select small source span strike strong style sub sup svg table tbody td textarea tfoot th thead time title tr tt
    u ul var video
    """.split()
)
_INLINE = frozenset(
    """
    a abbr b big cite code del em font i ins kbd mark q s samp small span strike strong sub sup tt u var
    """.split()
)
_SPACES = re.compile(r"\s+")


class _Text(HTMLParser):
    """Collect the text of a piece of HTML; block elements become spaces, scripts and styles vanish."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in _ELEMENTS:
            self.parts.append(self.get_starttag_text() or "")
        elif tag not in _INLINE:
            self.parts.append(" ")
        self.hidden += tag in ("script", "style")

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.handle_starttag(tag, attrs)
        self.hidden -= tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        if tag not in _ELEMENTS:
            self.parts.append(f"</{tag}>")
        elif tag not in _INLINE:
            self.parts.append(" ")
        self.hidden -= tag in ("script", "style") and self.hidden > 0

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)


def strip_markup(text: str) -> str:
    """Return a text without HTML elements and entities, its spaces single; twice-escaped text is read twice."""
    for _ in range(3):
        if "<" not in text and "&" not in text:
            break
        parser = _Text()
        parser.feed(text)
        parser.close()
        plain = "".join(parser.parts)
        if plain == text:
            break
        text = plain
    return _SPACES.sub(" ", text).strip()


def strip_html(dataset: Dataset) -> Dataset:
    """Return the dataset with plain text in titles, descriptions and reviews; other columns stay as they are."""
    items = dataset.items.copy()
    for column in items:
        if column in ("title", "description") or column.startswith("description_"):
            items[column] = _stripped(items[column])
    interactions = dataset.interactions.copy()
    if "review" in interactions:
        interactions["review"] = _stripped(interactions["review"])
    return assemble(dataset.name, dataset.path, items, interactions, dataset.notes)


def _stripped(column: pd.Series) -> np.ndarray:
    return np.array([strip_markup(text) for text in column] or [""], dtype=object)[: len(column)]


def drop_duplicate_interactions(dataset: Dataset, keep: str = "latest") -> Dataset:
    """Keep one interaction for each (user, item).

    Args:
        dataset: any dataset.
        keep: "latest" by timestamp (of equal ones the last row; without timestamps the first row), or "first" row.
    """
    if keep not in ("latest", "first"):
        raise suggest(keep, ("latest", "first"), "rule for duplicates")
    table = dataset.interactions
    keys = ["user_id", "item_id"]
    if keep == "latest" and "timestamp" in table:
        ordered = table[[*keys, "timestamp"]].sort_values("timestamp", kind="stable")
        rows = np.sort(ordered.index[~ordered.duplicated(keys, keep="last")].to_numpy())
    else:
        rows = np.flatnonzero(~table.duplicated(keys).to_numpy())
    return dataset.select(interactions=rows)


def drop_duplicate_items(dataset: Dataset) -> Dataset:
    """Merge items that are the same thing under two ids: same text and same picture and sound, byte for byte.

    The first id stays and inherits the others' interactions (which may now hold duplicates). An item without any
    content equals no other.
    """
    first = _first_copies(dataset)
    names = dataset.items["item"].to_numpy(dtype=object)
    table = dataset.interactions.copy()
    table["item"] = names[first[table["item_id"].to_numpy()]]
    kept = dataset.items[first == np.arange(dataset.n_items)]
    return assemble(dataset.name, dataset.path, kept, table, dataset.notes)


def _first_copies(dataset: Dataset) -> np.ndarray:
    """Return for each item the id of the first item with the same content, (n_items,)."""
    same_text = dataset.items[["title", "description"]].agg("\x1f".join, axis=1)
    first: dict[tuple[str, str, str], int] = {}
    digests: dict[str, str] = {}

    def content(value: str) -> str:
        path = dataset.path / value
        if value and value not in digests:
            known = path.is_file() and not any(leaves(dataset.path, [path]))
            digests[value] = sha256(path) if known else f"missing {value}"
        return digests.get(value, "")

    # Media are hashed only where the texts agree, which few items do.
    shared = same_text.duplicated(keep=False).to_numpy()
    result = np.arange(dataset.n_items)
    for item_id in np.flatnonzero(shared):
        row = dataset.items.iloc[item_id]
        key = (same_text.iloc[item_id], content(row["image"]), content(row["audio"]))
        if any(key[1:]) or key[0].strip("\x1f "):
            result[item_id] = first.setdefault(key, int(item_id))
    return result


def drop_unreadable_images(dataset: Dataset, how: str = "mask") -> Dataset:
    """Treat pictures that do not decode (missing, zero-byte, truncated, huge, no picture).

    Args:
        dataset: any dataset.
        how: "mask" keeps the item and marks its picture missing; "drop" removes the item and its interactions.
    """
    return _without(dataset, "image", image_problem, how)


def drop_unreadable_sounds(dataset: Dataset, how: str = "mask") -> Dataset:
    """Treat sounds that do not decode, are of zero length or silent; ``how`` as for images."""
    return _without(dataset, "audio", sound_problem, how)


def _without(dataset: Dataset, column: str, check: Callable[[object], str], how: str) -> Dataset:
    if how not in ("mask", "drop"):
        raise suggest(how, ("mask", "drop"), "treatment of unreadable media")
    paths = [dataset.path / value if value else None for value in dataset.items[column]]
    outside = leaves(dataset.path, paths)  # never opened: a link of a stranger's folder may point at anything
    bad = np.array([out or bool(path and check(path)) for path, out in zip(paths, outside)], dtype=bool)
    if how == "drop":
        return dataset.select(items=~bad)
    items = dataset.items.copy()
    items[column] = np.where(bad, "", items[column].to_numpy(dtype=object))
    return dataset.with_items(items)


def drop_missing_text(dataset: Dataset) -> Dataset:
    """Drop the items with neither a description nor a title, and their interactions."""
    kept = dataset.select(items=np.array([bool(text) for text in dataset.texts()], dtype=bool))
    return replace(kept, notes=tuple(note for note in kept.notes if NO_TEXT not in note))


def keep_positive(dataset: Dataset, min_rating: float = 4.0) -> Dataset:
    """Keep the interactions rated at least ``min_rating``; an unrated interaction goes.

    Raises:
        CourseError: there is no rating column.
    """
    if "rating" not in dataset.interactions:
        raise CourseError(f"{dataset.name} has no column 'rating'; leave out keep_positive() or add ratings.")
    return dataset.select(interactions=dataset.interactions["rating"].to_numpy() >= min_rating)


def iterative_k_core(dataset: Dataset, k_user: int = 5, k_item: int = 5) -> Dataset:
    """Drop users with fewer than ``k_user`` and items with fewer than ``k_item`` interactions until none is left.

    Rows are counted, so drop duplicates first. Items outside of the core leave the catalogue too; k = 0 for items keeps
    also those without interactions.

    Raises:
        CourseError: nothing would remain.
    """
    user_ids = dataset.interactions["user_id"].to_numpy()
    item_ids = dataset.interactions["item_id"].to_numpy()
    alive = np.ones(len(user_ids), dtype=bool)
    while True:
        per_user = np.bincount(user_ids[alive], minlength=dataset.n_users)
        per_item = np.bincount(item_ids[alive], minlength=dataset.n_items)
        stays = alive & (per_user[user_ids] >= k_user) & (per_item[item_ids] >= k_item)
        if stays.sum() == alive.sum():
            break
        alive = stays
    if not alive.any():
        most_user, most_item = np.bincount(user_ids).max(initial=0), np.bincount(item_ids).max(initial=0)
        raise CourseError(
            f"The core with k_user={k_user} and k_item={k_item} of {dataset.name} is empty (before filtering, no user "
            f"has more than {most_user} interactions and no item more than {most_item}); choose a smaller k."
        )
    return dataset.select(interactions=alive, items=per_item >= k_item)


def clean(
    dataset: Dataset,
    *,
    keep: str = "latest",
    media: str = "mask",
    missing_text: str = "drop",
    k_user: int = 0,
    k_item: int = 0,
) -> tuple[Dataset, pd.DataFrame]:
    """Run the steps of cleaning in order.

    Args:
        dataset: any dataset.
        keep: which of several interactions of a user with an item stays, "latest" or "first".
        media: "mask" or "drop" for items with an unreadable picture or sound.
        missing_text: "drop" items without text, or "mask" (keep them; the textual modality is missing). A dataset
            without any text keeps its items.
        k_user: smallest number of interactions per user, 0 = no filter.
        k_item: smallest number of interactions per item, 0 = no filter.

    Returns:
        The clean dataset, and a log with one row per step: step, what (is counted), removed, kept.
    """
    if missing_text not in ("mask", "drop"):
        raise suggest(missing_text, ("mask", "drop"), "treatment of missing text")
    log: list[tuple[str, str, int, int]] = []

    def step(name: str, what: str, after: Dataset, removed: int, kept: int) -> Dataset:
        log.append((name, what, int(removed), int(kept)))
        return after

    after = strip_html(dataset)
    changed = int((after.items[["title", "description"]] != dataset.items[["title", "description"]]).any(axis=1).sum())
    now = step("HTML in texts", "texts changed", after, changed, after.n_items)
    after = drop_duplicate_items(now)
    now = step("duplicated items", "items", after, now.n_items - after.n_items, after.n_items)
    after = drop_duplicate_interactions(now, keep)
    now = step("duplicate interactions", "interactions", after, _fewer(now, after), after.n_interactions)
    for column, function in (("image", drop_unreadable_images), ("audio", drop_unreadable_sounds)):
        after = function(now, media)
        had, has = ((d.items[column] != "").sum() for d in (now, after))
        now = step(f"unreadable {column}s".replace("audios", "sounds"), f"{column} files", after, had - has, has)
    texts = np.array([bool(text) for text in now.texts()], dtype=bool)
    after = drop_missing_text(now) if missing_text == "drop" and texts.any() else now
    now = step("missing text", "items", after, now.n_items - after.n_items, after.n_items)
    if k_user > 0 or k_item > 0:
        after = iterative_k_core(now, k_user, k_item)
        name = f"k-core (user {k_user}, item {k_item})"
        now = step(name, "interactions", after, _fewer(now, after), after.n_interactions)
    if not now.n_interactions:
        raise CourseError(f'Cleaning {dataset.name} leaves no interaction; keep items with missing parts ("mask").')
    return now, pd.DataFrame(log, columns=["step", "what", "removed", "kept"])


def _fewer(before: Dataset, after: Dataset) -> int:
    return before.n_interactions - after.n_interactions
