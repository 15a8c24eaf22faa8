"""Diagnostics of semantic ids: how much of each codebook is used, what collides, and whether a prefix means anything."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.errors import CourseError
from utils.generation.quantise import Codes, reconstruction

COLLAPSED = 1.5  # perplexity below which a level says next to nothing


def perplexity(tokens: np.ndarray) -> float:
    """exp(-sum_k p_k ln p_k), p_k = share of the items with token k: 1 = all the same, K = K equally frequent tokens."""
    shares = np.unique(tokens, return_counts=True)[1] / len(tokens)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def levels(codes: Codes, vectors: np.ndarray | None = None, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """One row for each level; what a prefix says counts all tokens up to there.

    Args:
        vectors: (n_items, dim), what the codebooks stand for, where they do: adds ``r2`` (see ``reconstruction``).
        labels: a category for each item: adds ``purity``.

    Returns:
        Index 1, 2, ...; usage = share of the codes that occur, perplexity (see there), prefixes = distinct prefixes as a
        share of the items, biggest = items of the most frequent prefix, shared = share of the items whose prefix another
        item has, too. purity = share of the items whose category is the most frequent one of their prefix, counted over
        the prefixes that several items share (alone every item is pure); NaN where none does.
    """
    rows = []
    for level, size in enumerate(codes.sizes):
        groups, counts = np.unique(codes.table[:, : level + 1], axis=0, return_inverse=True, return_counts=True)[1:]
        row = {
            "usage": len(np.unique(codes.table[:, level])) / size,
            "perplexity": perplexity(codes.table[:, level]),
            "prefixes": len(counts) / len(codes.table),
            "biggest": int(counts.max()),
            "shared": float(counts[counts > 1].sum() / len(codes.table)),
        }
        if labels is not None:
            row["purity"] = purity(groups.ravel(), labels)
        rows.append(row)
    frame = pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="level"))
    if vectors is not None and codes.codebooks:
        frame["r2"] = reconstruction(vectors, codes)
    return frame


def purity(groups: np.ndarray, labels: Sequence[str]) -> float:
    """Share of the items, among those that are not alone in their group, with the most frequent label of their group."""
    labels = np.unique(np.asarray(labels), return_inverse=True)[1]
    table = np.zeros((groups.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(table, (groups, labels), 1)
    together = table[table.sum(1) > 1]
    return float(together.max(1).sum() / together.sum()) if len(together) else float("nan")


def remarks(codes: Codes) -> list[str]:
    """Say in sentences what is wrong with ids; an empty list when nothing is.

    A collapsed level has a perplexity near 1. That K^L is far above the number of items does not prevent collisions:
    items in clusters fall into few of the cells.
    """
    frame, n_items = levels(codes), len(codes.table)
    said = []
    if len(np.unique(codes.table, axis=0)) == 1:
        return [f"All {n_items:,} items have one id: the codebooks have collapsed."]
    for level, row in frame.iterrows():
        if row["perplexity"] < COLLAPSED:
            used = round(row["usage"] * codes.sizes[level - 1])
            said.append(
                f"Level {level} has collapsed: {used} of {codes.sizes[level - 1]} codes are used, with a perplexity of "
                f"{row['perplexity']:.2f}."
            )
    last = frame.iloc[-1]
    if last["shared"]:
        cells = float(np.prod([float(size) for size in codes.sizes]))
        said.append(
            f"{round(last['shared'] * n_items):,} of {n_items:,} items share all tokens with another one, up to "
            f"{int(last['biggest'])} of them, although there are {cells:,.0f} cells: a token must break the ties."
        )
    return said


def summary(codes: Codes, vectors: np.ndarray | None = None, labels: Sequence[str] | None = None) -> dict[str, Any]:
    """``levels`` as plain lists for a result file, with the names of its columns; None = not defined."""
    frame = levels(codes, vectors, labels)
    return {name: [None if pd.isna(v) else round(float(v), 4) for v in column] for name, column in frame.items()}


def published_codes(path: str | Path) -> Codes:
    """Read ids that others published: JSON of item number -> tokens, numbers or "<a_183>", packed (.gz) or not.

    A level has as many tokens as its largest one says. Rows are in the order of the item numbers.

    Raises:
        CourseError: no such file, or rows that are no tokens or not equally long.
    """
    content = _read_json(path, "names the tokens of each item")
    try:
        rows = [content[name] for name in sorted(content, key=int)]
        table = np.array([[int(re.sub(r"\D", "", str(token))) for token in row] for row in rows], dtype=np.int64)
    except (ValueError, TypeError) as error:
        raise CourseError(f"{path} does not name equally many tokens for each item ({error}).") from None
    if table.ndim != 2 or not table.size:
        raise CourseError(f"{path} does not name equally many tokens for each item.")
    return Codes(table, tuple(int(size) + 1 for size in table.max(0)))


def published_labels(path: str | Path) -> list[str]:
    """Read the attributes of items, JSON of item number -> numbers; the label is an item's most frequent one of all.

    Raises:
        CourseError: no such file, or no lists of attributes.
    """
    content = _read_json(path, "names the attributes of each item")
    try:
        counts = Counter(attribute for attributes in content.values() for attribute in attributes)
        rows = [content[name] for name in sorted(content, key=int)]
        return [str(max(row, key=lambda a: (counts[a], str(a)))) if row else "?" for row in rows]
    except (ValueError, TypeError, AttributeError) as error:
        raise CourseError(f"{path} does not name the attributes of each item ({error}).") from None


def _read_json(path: str | Path, what: str) -> dict[str, list]:
    path = Path(path)
    if not path.is_file():
        raise CourseError(f"There is no file {path}; give the JSON file that {what}.")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as stream:
            return dict(json.load(stream))
    except (ValueError, TypeError, OSError) as error:
        raise CourseError(f"{path} is not the JSON file that {what} ({error}).") from None
