"""The one dataset object of the course, and the one folder format it is read from.

A course folder holds ``interactions.tsv(.gz)`` (columns user, item; optional rating, timestamp, review, split),
``items.tsv`` (column item; optional title, description, description_<lang>, category, image, audio) and the media files
that items.tsv names. A *prepared* folder has features instead of raw content, and may do without items.tsv.
"""

from __future__ import annotations

import hashlib
import html
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from utils.arrays import read_shape
from utils.data import tables as tsv
from utils.data.rules import ITEM_COLUMNS, KEY, check_interactions, check_items, seconds_of
from utils.errors import CourseError, suggest

if TYPE_CHECKING:
    from PIL import Image

MODALITIES = ("visual", "textual", "audio")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Users, items and interactions of one course folder; positions are ids.

    Attributes:
        name: the folder's name.
        path: the folder, which media paths are relative to.
        users: (n_users,) str, the raw ids, sorted; the position is ``user_id``.
        items: one row per item, the position is ``item_id``: item, title, description, category, image, audio (str,
            "" = missing), description_<lang> and whatever else items.tsv has.
        interactions: user, item (str), user_id, item_id (int64); optional rating (float), timestamp (int seconds),
            review (str), split (str); in the order of the file.
        notes: one sentence for each missing optional column (what it costs) and each oddity found while loading.
    """

    name: str
    path: Path
    users: np.ndarray
    items: pd.DataFrame
    interactions: pd.DataFrame
    notes: tuple[str, ...] = ()

    @classmethod
    def from_frames(
        cls,
        interactions: pd.DataFrame,
        items: pd.DataFrame | None = None,
        *,
        name: str = "frames",
        path: str | Path = ".",
    ) -> Dataset:
        """Make a dataset of two tables in memory, by the rules of a course folder; the tables stay as they are.

        Args:
            interactions: columns user, item; optional rating, timestamp (whole seconds since 1970, or dates), review,
                split. Ids become text; numbers that pandas made decimal (12.0) become whole again.
            items: column item; optional title, description, category, image, audio and others. None = the items of the
                interactions, without content.
            name: what the dataset is called. path: the folder that image and audio are relative to.

        Raises:
            CourseError: a missing column or id, an unknown item, a number that is none; rows are counted from 0.
        """
        log = _as_text(interactions, "interactions")
        known = _as_text(items, "items") if items is not None else None
        found = check_items("items", known) if known is not None else []
        if known is None:
            known = pd.DataFrame({"item": log["item"].unique()}, dtype=object)
            found = [tsv.Finding("note", "", f"No items: the {len(known)} items are those of the interactions.")]
        log, more = check_interactions("interactions", log, known)
        found += more
        tsv.raise_first(found, Path())
        notes = tuple(f"{finding.file}{finding.tail}" for finding in found if finding.severity != "error")
        return assemble(name, Path(path), with_item_columns(known), log, notes)

    def to_frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return (interactions, items) as :meth:`from_frames` takes them: raw ids, without the numbers made of them."""
        interactions = self.interactions.drop(columns=["user_id", "item_id"])
        return interactions.reset_index(drop=True), self.items.copy()

    @property
    def n_users(self) -> int:
        """Users with at least one interaction."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """All items, also those without an interaction."""
        return len(self.items)

    @property
    def n_interactions(self) -> int:
        """Rows of the interactions table."""
        return len(self.interactions)

    @property
    def item_names(self) -> np.ndarray:
        """(n_items,) str, the raw item ids by position: the id map that every feature row follows."""
        return self.items["item"].to_numpy(dtype=str)

    def texts(self, language: str | None = None) -> list[str]:
        """Return one text per item: the description (in ``language``), else the title, else "" (missing).

        Raises:
            CourseError: there is no ``description_<language>`` column.
        """
        column = "description" if language is None else f"description_{language}"
        if column not in self.items:
            known = [name.split("_", 1)[1] for name in self.items if name.startswith("description_")]
            raise suggest(str(language), known, "language of descriptions")
        pairs = zip(self.items[column].str.strip(), self.items["title"].str.strip())
        return [description or title for description, title in pairs]

    def image_paths(self) -> list[Path | None]:
        """Return one path per item, None = no picture named, or one behind a link that leaves the folder (a warning)."""
        return self._paths("image")

    def audio_paths(self) -> list[Path | None]:
        """Return one path per item, None = no sound named, or one behind a link that leaves the folder (a warning)."""
        return self._paths("audio")

    def _paths(self, column: str) -> list[Path | None]:
        paths = [self.path / value if value else None for value in self.items[column]]
        outside = leaves(self.path, paths)
        if any(outside):
            first = next(path for path, out in zip(paths, outside) if out)
            warnings.warn(
                f"{sum(outside)} file(s) of column {column} are links that leave the folder of {self.name} and count as "
                f"missing (first: {first}); copy the files into it.",
                stacklevel=3,
            )
        return [None if out else path for path, out in zip(paths, outside)]

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that at least one item has, as raw content or as prepared features, in the fixed order."""
        raw = {"visual": self.image_paths(), "textual": self.texts(), "audio": self.audio_paths()}
        return tuple(m for m in MODALITIES if any(raw[m]) or m in self.prepared())

    def image(self, item_id: int) -> Image.Image:
        """Open one item's picture as RGB; transparent parts become white.

        Raises:
            CourseError: unknown position, no picture, or a file that cannot be read.
        """
        from utils.data.pictures import open_image

        if not 0 <= item_id < self.n_items:
            raise CourseError(
                f"Item {item_id} does not exist; item ids of {self.name} run from 0 to {self.n_items - 1}."
            )
        row = self.items.iloc[item_id]
        if not row["image"]:
            raise CourseError(
                f"Item {row['item']!r} of {self.name} has no image in items.tsv; choose an item that has."
            )
        path = self.path / row["image"]
        if any(leaves(self.path, [path])):
            raise CourseError(f"{path} is a link that leaves the dataset's folder; copy the file into it.")
        return open_image(path)

    def fingerprint(self) -> str:
        """Return a SHA-256 of the tables' content (not of the media): equal tables give equal fingerprints."""
        digest = hashlib.sha256()
        for table in (self.items, self.interactions):
            for name in sorted(table.columns):
                digest.update(f"\x1d{name}\x1d{len(table)}\x1d".encode())
                column = table[name].to_numpy()
                number = column.dtype.kind in "iuf"
                digest.update(column.astype("<f8").tobytes() if number else "\x1f".join(map(str, column)).encode())
        return digest.hexdigest()

    def select(
        self,
        interactions: np.ndarray | pd.Series | list | None = None,
        items: np.ndarray | pd.Series | list | None = None,
    ) -> Dataset:
        """Return a smaller dataset whose ids are made anew.

        Args:
            interactions: mask (n_interactions,) or row positions to keep; None keeps all.
            items: mask (n_items,) or item ids to keep, in that order; None keeps all. Interactions with the other items
                go too. Users without an interaction disappear.

        Raises:
            CourseError: a mask of the wrong length, a position that does not exist or that comes twice.
        """
        rows = _positions(interactions, self.n_interactions, "interactions")
        kept = _positions(items, self.n_items, "items")
        table = self.interactions.iloc[rows]
        if items is not None:
            alive = np.zeros(self.n_items, dtype=bool)
            alive[kept] = True
            table = table[alive[table["item_id"].to_numpy()]]
        return assemble(self.name, self.path, self.items.iloc[kept], table, self.notes)

    def with_items(self, items: pd.DataFrame) -> Dataset:
        """Return the same dataset with other content for the same items (same ids in the same order)."""
        if items["item"].tolist() != self.items["item"].tolist():
            raise CourseError("with_items() changes content, not ids; use select() to drop or reorder items.")
        return replace(self, items=items.reset_index(drop=True))

    def prepared(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the prepared matrices ``features/<modality>.npy`` of the folder, by modality."""
        found = {}
        for modality in MODALITIES:
            path = self.path / "features" / f"{modality}.npy"
            if path.is_file():
                found[modality] = read_shape(path)
        return found

    def summary(self) -> dict[str, str]:
        """Return what printing shows, as name -> text; the counts are exact, the rest is rounded."""
        return _summary(self)

    def __repr__(self) -> str:
        facts = self.summary()
        width = max(map(len, facts))
        lines = [f"Dataset {self.name!r}"] + [f"  {key:<{width}}  {value}" for key, value in facts.items()]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(key)}</th>'
            f'<td style="text-align:left">{html.escape(value)}</td></tr>'
            for key, value in self.summary().items()
        )
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        caption = f'<caption style="text-align:left"><b>Dataset {html.escape(self.name)}</b></caption>'
        return f"<table>{caption}<tbody>{rows}</tbody></table>" + (f"<ul>{notes}</ul>" if notes else "")


def leaves(root: Path, paths: Iterable[Path | None]) -> list[bool]:
    """Tell of each path below ``root`` whether a link on its way leads out of that folder; None does not."""
    whole, inside = root.resolve(), {}
    found = []
    for path in paths:
        if path is None:
            found.append(False)
            continue
        if path.parent not in inside:
            inside[path.parent] = path.parent.resolve().is_relative_to(whole)
        stays = inside[path.parent] and (not path.is_symlink() or path.resolve().is_relative_to(whole))
        found.append(not stays)
    return found


def assemble(
    name: str, path: Path, items: pd.DataFrame, interactions: pd.DataFrame, notes: tuple[str, ...] = ()
) -> Dataset:
    """Make a dataset from two checked tables; user and item ids are made anew (users sorted, items in row order).

    Raises:
        CourseError: an id in ``interactions`` is not in ``items``.
    """
    items = items.reset_index(drop=True)
    codes, users = pd.factorize(interactions["user"].to_numpy(dtype=object), sort=True)
    positions = pd.Index(items["item"].to_numpy(dtype=object)).get_indexer(interactions["item"].to_numpy(dtype=object))
    if (positions < 0).any():
        unknown = interactions["item"].iloc[int(np.flatnonzero(positions < 0)[0])]
        raise CourseError(f"The interactions of {name} have item {unknown!r}, which the items table does not have.")
    rest = {
        column: interactions[column].to_numpy()
        for column in interactions
        if column not in ("user", "item", "user_id", "item_id")
    }
    table = {
        "user": interactions["user"].to_numpy(dtype=object),
        "item": interactions["item"].to_numpy(dtype=object),
        "user_id": codes.astype(np.int64),
        "item_id": positions.astype(np.int64),
    }
    return Dataset(name, path, np.asarray(users, dtype=str), items, pd.DataFrame({**table, **rest}), notes)


def with_item_columns(items: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of content that a table of items lacks, empty, and bring all into the usual order."""
    lacking = {column: "" for column in ITEM_COLUMNS if column not in items}
    items = items.assign(**lacking)
    languages = [column for column in items if column.startswith("description_")]
    first = ["item", *ITEM_COLUMNS, *languages]
    return items[first + [column for column in items if column not in first]]


def _as_text(table: pd.DataFrame, stem: str) -> pd.DataFrame:
    """A table in memory as the rules judge it: text, "" = missing, rows counted from 0."""
    if not isinstance(table, pd.DataFrame):
        raise CourseError(f"{stem} is a {type(table).__name__}; give a pandas DataFrame.")
    columns = [str(column) for column in table.columns]
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise CourseError(f"{stem} has the column {twice[0]!r} twice; rename or drop one.")
    for column in KEY[stem]:
        if column not in columns:
            near = f"; it has {tsv.some(map(repr, columns))}" if columns else ""
            raise CourseError(
                f"{stem} has no column {column!r}{near}: rename yours, such as table.rename(columns={{...}})."
            )
    texts = {name: _texts(table.iloc[:, place]) for place, name in enumerate(columns)}
    return pd.DataFrame(texts, index=np.arange(len(table)), dtype=object)


def _texts(column: pd.Series) -> np.ndarray:
    """Text (n,) of a column: dates as seconds since 1970, whole numbers without a point, nothing for missing values."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        missing = column.isna().to_numpy()
        seconds = seconds_of(column.fillna(pd.Timestamp(0, tz=column.dt.tz)).reset_index(drop=True))
        return np.where(missing, "", seconds.astype(str).astype(object))
    values = column.astype(object)
    missing = values.isna().to_numpy()
    return np.array(["" if gone else _text(value) for value, gone in zip(values, missing)] + [""], dtype=object)[:-1]


def _text(value: object) -> str:
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


def _positions(chosen: object, size: int, what: str) -> np.ndarray:
    """Turn a mask or positions into positions, checked."""
    if chosen is None:
        return np.arange(size)
    chosen = np.asarray(chosen)
    if chosen.dtype == bool:
        if chosen.shape != (size,):
            raise CourseError(
                f"The mask of {what} has shape {chosen.shape}, expected ({size},); make one flag per row."
            )
        return np.flatnonzero(chosen)
    chosen = chosen.astype(np.int64)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= size or len(np.unique(chosen)) < len(chosen)):
        raise CourseError(f"Positions of {what} must be different numbers from 0 to {size - 1}; check your selection.")
    return chosen


def _summary(dataset: Dataset) -> dict[str, str]:
    table = dataset.interactions
    cells = max(1, dataset.n_users * dataset.n_items)
    pairs = len(np.unique(table["user_id"].to_numpy() * dataset.n_items + table["item_id"].to_numpy()))
    facts = {
        "users": f"{dataset.n_users:,}",
        "items": f"{dataset.n_items:,}",
        "interactions": f"{dataset.n_interactions:,}" + (f" ({pairs:,} distinct)" if pairs < len(table) else ""),
        "sparsity": f"{1 - pairs / cells:.2%} of the user-item table is empty",
        "per user": _spread(table["user_id"], dataset.n_users),
        "per item": _spread(table["item_id"], dataset.n_items),
        **_present(dataset),
    }
    if "timestamp" in table and len(table):
        facts["time"] = f"{_day(table['timestamp'].min())} to {_day(table['timestamp'].max())}"
    if "rating" in table and len(table):
        facts["ratings"] = f"{table['rating'].min():g} to {table['rating'].max():g}, mean {table['rating'].mean():.2f}"
    if "review" in table and len(table):
        facts["reviews"] = f"with {(table['review'].str.strip() != '').mean():.1%} of the interactions"
    if "split" in table:
        facts["split"] = ", ".join(f"{part} {(table['split'] == part).sum():,}" for part in tsv.SPLIT_NAMES)
    return facts


def _spread(ids: pd.Series, size: int) -> str:
    counts = np.bincount(ids.to_numpy(), minlength=size)
    if not len(counts):
        return "none"
    unused = int((counts == 0).sum())
    return f"{counts.min()} to {counts.max()}, median {np.median(counts):g}" + (
        f"; {unused:,} have none" if unused else ""
    )


def _present(dataset: Dataset) -> dict[str, str]:
    """Say for each modality which share of the items has it."""
    n_items = max(1, dataset.n_items)
    counts = {
        "visual": sum(path is not None for path in dataset.image_paths()),
        "textual": sum(map(bool, dataset.texts())),
        "audio": sum(path is not None for path in dataset.audio_paths()),
    }
    prepared = dataset.prepared()
    facts = {}
    for modality, count in counts.items():
        raw = [f"{count / n_items:.1%} of the items"] if count else []
        ready = [f"prepared features {' x '.join(map(str, prepared[modality]))}"] if modality in prepared else []
        facts[modality] = "; ".join(raw + ready) or "none"
    return facts


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(float(seconds), tz=timezone.utc).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return str(seconds)
