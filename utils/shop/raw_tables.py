"""The raw tables of the Sticker Shop, with the dirt that real files have.

Cleaning them and taking the 5-core gives the shop's clean tables, row by row (a test compares).
"""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pandas as pd

from utils.shop.content import Stamp, make_picture

N_REPEATED_ROWS = 180  # interactions that are in the log twice
N_ROWS_ON_DIRT = 140  # interactions with items that cleaning drops
N_EARLIER_RATINGS = 60  # a shopper rated the same item before, differently
N_SECOND_IDS = 4  # items that are listed again under another id
SHARE_HTML_ITEMS, SHARE_HTML_REVIEWS = 0.06, 0.03


def _marked(rng: np.random.Generator, text: str) -> str:
    """Put HTML around a text; removing the tags and reading the entities gives the text back."""
    text = html.escape(text, quote=False)
    first, _, rest = text.partition(" ")
    return (
        f"<p>{text}</p>",
        f"<b>{first}</b> {rest}" if rest else f"<b>{text}</b>",
        f'<span class="desc">{text}</span><br/>',
        f"<div>{first}&nbsp;{rest}</div>" if rest else f"<i>{text}</i>",
    )[rng.integers(4)]


def _mark_column(rng: np.random.Generator, column: pd.Series, share: float) -> pd.Series:
    """Mark a share of the non-empty texts of a column."""
    filled = np.flatnonzero(column.ne("").to_numpy())
    column = column.copy()
    for k in rng.choice(filled, size=int(len(filled) * share), replace=False):
        column.iat[k] = _marked(rng, column.iat[k])
    return column


def dirty_items(folder: Path, mirrors: list[tuple[Stamp, str]], repeats: list[tuple[Stamp, str]]) -> pd.DataFrame:
    """Make the items that cleaning drops, with their pictures: no text (mirror stamps), or a broken picture.

    Args:
        mirrors: stamps of the package that have a picture and no text, with their category.
        repeats: near-duplicates left out of the shop; their picture files are cut off or empty.
    """
    rows = []
    for k, (stamp, category) in enumerate(mirrors + repeats):
        broken = k - len(mirrors)
        data, _ = make_picture(stamp.picture)
        data = data if broken < 0 else data[: len(data) // 3] if broken % 2 == 0 else b""
        path = f"images/{stamp.item}.jpg"
        (folder / path).write_bytes(data)
        texts = {f"description_{x}": t for x, t in stamp.texts.items() if x != "en"}
        row = {"item": stamp.item, "category": category, "image": path, "description": stamp.texts.get("en", "")}
        rows.append(row | {"title": stamp.title if stamp.texts else ""} | texts)
    return pd.DataFrame(rows)


def second_ids(items: pd.DataFrame, rng: np.random.Generator, n: int) -> pd.DataFrame:
    """The same thing listed under a second id: rows of ``items`` with a new ``item`` and its ``original``."""
    rows = items.iloc[np.sort(rng.choice(len(items), n, replace=False))].copy()
    rows["original"] = rows["item"]
    rows["item"] = [name[::-1] if name[::-1] not in set(items["item"]) else f"{name}2" for name in rows["item"]]
    return rows


def raw_tables(
    items: pd.DataFrame, log: pd.DataFrame, dirt: pd.DataFrame, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the raw (items, interactions): all simulated rows, also those below the 5-core, and the dirt.

    Args:
        items: all items of the content. log: the whole simulated log. dirt: :func:`dirty_items`.
    """
    rng = np.random.default_rng([7, seed])
    raw_items = pd.concat([items, dirt], ignore_index=True)[list(items.columns)].fillna("")
    raw_items = raw_items.sort_values("item", kind="stable").reset_index(drop=True)
    twins = second_ids(items, rng, N_SECOND_IDS)
    raw_items = pd.concat([raw_items, twins[list(items.columns)]], ignore_index=True)
    for name in [c for c in items.columns if c.startswith("description")]:
        raw_items[name] = _mark_column(rng, raw_items[name], SHARE_HTML_ITEMS)

    raw = log.reset_index(drop=True)
    twin_of = dict(zip(twins["original"], twins["item"]))
    swapped = raw["item"].isin(twin_of) & (rng.random(len(raw)) < 0.3)
    raw["item"] = raw["item"].where(~swapped, raw["item"].map(twin_of))
    raw["review"] = _mark_column(rng, raw["review"], SHARE_HTML_REVIEWS)
    again = raw.iloc[np.sort(rng.choice(len(raw), N_REPEATED_ROWS, replace=False))].copy()
    before = raw.iloc[rng.choice(len(raw), N_EARLIER_RATINGS, replace=False)].copy()
    before["timestamp"] -= rng.integers(60, 5 * 86_400, len(before))
    before["rating"] = rng.integers(1, 6, len(before))
    before["review"] = ""
    wrong = raw.iloc[rng.choice(len(raw), N_ROWS_ON_DIRT, replace=False)].copy()
    # Without a text an item goes whatever its interactions; with a broken picture only, the 5-core must drop it.
    no_text = dirt.loc[dirt["title"] == "", "item"].to_numpy()
    with_text = np.repeat(dirt.loc[dirt["title"] != "", "item"].to_numpy(), 4)
    wrong["item"] = np.concatenate([with_text, rng.choice(no_text, len(wrong) - len(with_text))])
    wrong["review"] = ""
    wrong = wrong.drop_duplicates(["user", "item"])
    # A repeated row stands right behind its original, so that cleaning leaves the order of the log as it was.
    again.index = again.index + 0.5
    before.index = np.searchsorted(raw["timestamp"], before["timestamp"]) - 0.5
    wrong.index = wrong.index + 0.7
    return raw_items, pd.concat([raw, again, before, wrong]).sort_index(kind="stable").reset_index(drop=True)
