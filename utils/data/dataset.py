"""Room "Which?" (utils/data): the one dataset object of the course, and the one folder format it is read from.

A course folder holds ``interactions.tsv(.gz)`` (columns user, item; optional rating, timestamp, review, split),
``items.tsv`` (column item; optional title, description, description_<lang>, category, image, audio) and the media files
that items.tsv names. A *prepared* folder has features instead of raw content, and may do without items.tsv.
"""

from __future__ import annotations

import hashlib
import html
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from utils.data import tables as tsv
from utils.errors import CourseError, suggest
from utils.files import ROOT

if TYPE_CHECKING:
    from PIL import Image

MODALITIES = ("visual", "textual", "audio")
ITEM_COLUMNS = ("title", "description", "category", "image", "audio")
# What a missing optional column costs: said once, in Dataset.notes.
COST = {
    "rating": "every interaction counts the same",
    "timestamp": "temporal splits are not possible, and leave-one-out holds out interactions at random",
    "review": "models of reviews on edges are not possible",
    "split": 'the strategy "given" is not possible',
    "title": "lists show item ids instead of names",
    "description": "the textual modality falls back on titles",
    "category": "neighbours cannot be judged by category",
    "image": "there is no visual modality from raw pictures",
    "audio": "there is no audio modality from raw sounds",
}


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
        """Return one path per item, None = no picture named."""
        return [self.path / value if value else None for value in self.items["image"]]

    def audio_paths(self) -> list[Path | None]:
        """Return one path per item, None = no sound named."""
        return [self.path / value if value else None for value in self.items["audio"]]

    def image(self, item_id: int) -> Image.Image:
        """Open one item's picture as RGB; transparent parts become white.

        Raises:
            CourseError: unknown position, no picture, or a file that cannot be read.
        """
        from utils.data.media import open_image

        if not 0 <= item_id < self.n_items:
            raise CourseError(
                f"Item {item_id} does not exist; item ids of {self.name} run from 0 to {self.n_items - 1}."
            )
        row = self.items.iloc[item_id]
        if not row["image"]:
            raise CourseError(
                f"Item {row['item']!r} of {self.name} has no image in items.tsv; choose an item that has."
            )
        return open_image(self.path / row["image"])

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
                found[modality] = _shape(path)
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


def load_dataset(name_or_path: str | Path = "sticker_shop", tables: str = "", *, strict: bool = True) -> Dataset:
    """Read and check a course folder.

    Args:
        name_or_path: the name of a folder in ``data/``, or a path.
        tables: a folder inside it to read the tables from, for example ``"raw"``; media stay where they are.
        strict: refuse duplicated item ids and interactions with unknown or empty ids. With False the first item of an
            id counts, such interactions are left out, and the notes say how many.

    Raises:
        CourseError: unknown name, or a folder that breaks the format; the message names file, row and remedy.
    """
    folder = find_folder(name_or_path)
    base = folder / tables if tables else folder
    path = tsv.find_table(base, "interactions")
    if path is None:
        raise CourseError(f"{base} has no interactions.tsv or interactions.tsv.gz; every dataset needs one.")
    notes: list[str] = []
    items = _read_items(folder, base, strict, notes)
    interactions = _read_interactions(path, items, strict, notes)
    return assemble(folder.resolve().name, folder, items, interactions, tuple(notes))


def known_datasets() -> list[str]:
    """Return the names of the dataset folders in ``data/``."""
    data = ROOT / "data"
    return sorted(p.name for p in data.glob("*") if p.is_dir() and list(p.glob("interactions.tsv*")))


def find_folder(name_or_path: str | Path) -> Path:
    """Turn a dataset's name or a path into an existing folder.

    Raises:
        CourseError: there is none; the nearest names are suggested.
    """
    text = str(name_or_path)
    if text in known_datasets():
        return ROOT / "data" / text
    path = Path(text).expanduser()
    if path.is_dir():
        return path
    if isinstance(name_or_path, Path) or "/" in text or "\\" in text:
        raise CourseError(f"There is no folder {path}; correct the path, or give the name of a folder in data/.")
    raise suggest(text, known_datasets(), "dataset")


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


def _read_items(folder: Path, base: Path, strict: bool, notes: list[str]) -> pd.DataFrame:
    path = tsv.find_table(base, "items")
    if path is None:
        return _prepared_items(folder, base, notes)
    items = tsv.read_table(path, required=("item",))
    if items.empty:
        raise CourseError(f"{path} names no item; it needs one row per item below the header.")
    tsv.check_ids(path, items, "item")
    repeated = np.flatnonzero(items["item"].duplicated().to_numpy())
    if len(repeated) and strict:
        first = items["item"].iloc[repeated[0]]
        raise CourseError(
            f"{path}, row {repeated[0] + 2}: item {first!r} occurs a second time; remove or rename one of the two "
            "rows, or load with strict=False to keep the first."
        )
    if len(repeated):
        items = items.drop_duplicates("item").reset_index(drop=True)
        notes.append(f"{path.name} repeats {len(repeated)} item ids: the first row of each counts.")
    for column in ("image", "audio"):
        if column in items:
            tsv.check_paths(path, items, column)
    _note_columns(path, items, ITEM_COLUMNS, notes)
    if "description" in items:
        _note_empty(path, items, notes)
    for column in ITEM_COLUMNS:
        if column not in items:
            items[column] = ""
    languages = [c for c in items if c.startswith("description_")]
    first_columns = ["item", *ITEM_COLUMNS, *languages]
    return items[first_columns + [c for c in items if c not in first_columns]]


def _note_columns(path: Path, table: pd.DataFrame, optional: tuple[str, ...], notes: list[str]) -> None:
    notes += [f"{path.name} has no column {name!r}: {COST[name]}." for name in optional if name not in table]


def _note_empty(path: Path, items: pd.DataFrame, notes: list[str]) -> None:
    """Say how many descriptions are empty, and whether a title stands in."""
    empty = (items["description"].str.strip() == "").to_numpy(dtype=bool)
    titled = (items["title"].str.strip() != "").to_numpy(dtype=bool) if "title" in items else np.zeros_like(empty)
    for rows, cost in ((empty & titled, "the title stands in"), (empty & ~titled, "such an item has no text")):
        if rows.any():
            notes.append(
                f"{path.name} has {rows.sum()} empty description{'s' * int(rows.sum() > 1)} "
                f"(first: row {np.flatnonzero(rows)[0] + 2}): {cost}; write one, or leave it missing."
            )


def _prepared_items(folder: Path, base: Path, notes: list[str]) -> pd.DataFrame:
    """Make the items of a folder without items.tsv from its prepared features: ids 0..n-1, or features/items.txt."""
    sizes = {p.name: _shape(p)[0] for p in sorted((folder / "features").glob("*.npy")) if not p.stem.endswith("_mask")}
    for path in sorted(folder.glob("item_knn_*.npz")):
        with _open_npz(path) as archive:
            sizes[path.name] = int(archive["n_items"])
    if not sizes:
        raise CourseError(f"{base} has no items.tsv; write one with a column 'item' and one row per item.")
    if len(set(sizes.values())) > 1:
        facts = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise CourseError(f"The prepared files of {folder} disagree on the number of items ({facts}); make them again.")
    n_items = next(iter(sizes.values()))
    names = [str(i) for i in range(n_items)]
    if (folder / "features" / "items.txt").is_file():
        names = tsv.decode(folder / "features" / "items.txt").rstrip("\n").split("\n")
        if len(names) != n_items or len(set(names)) != n_items:
            raise CourseError(
                f"{folder / 'features' / 'items.txt'} needs {n_items} different ids, one per feature row, and has "
                f"{len(set(names))} different ones in {len(names)} rows; write it again."
            )
    notes.append(f"No items.tsv: a prepared folder of {n_items} items, without titles, texts, pictures or sounds.")
    return pd.DataFrame({"item": np.array(names, dtype=object), **{column: "" for column in ITEM_COLUMNS}})


def _shape(path: Path) -> tuple[int, ...]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, EOFError, OSError) as error:
        raise CourseError(f"{path} is not a numpy array file ({error}); make it again.") from error


def _open_npz(path: Path) -> np.lib.npyio.NpzFile:
    try:
        archive = np.load(path, allow_pickle=False)
        archive["n_items"]
    except (ValueError, EOFError, OSError, KeyError) as error:
        raise CourseError(f"{path} is not an item graph (row, col, value, n_items): {error}; make it again.") from error
    return archive


def _read_interactions(path: Path, items: pd.DataFrame, strict: bool, notes: list[str]) -> pd.DataFrame:
    table = tsv.read_table(path, required=("user", "item"))
    if table.empty:
        raise CourseError(f"{path} has a header but no interaction; it needs one row per user and item.")
    known = table["item"].isin(items["item"]).to_numpy(dtype=bool)
    if strict:
        for column in ("user", "item"):
            tsv.check_ids(path, table, column)
        _check_known(path, table, known)
    for column in ("rating", "timestamp"):
        if column in table:
            table[column] = tsv.to_number(path, table, column, whole=column == "timestamp")
    if "split" in table:
        tsv.check_split_column(path, table["split"])
    known = known & ~tsv.bad_ids(table["user"])
    if not known.all():
        notes.append(f"{path.name} has {(~known).sum()} interactions with an unknown or empty id: they are left out.")
        table = table[known]
    if table.empty:
        raise CourseError(f"{path} has no interaction with a known item; compare its item ids with items.tsv.")
    _note_columns(path, table, ("rating", "timestamp", "review", "split"), notes)
    if "timestamp" in table and table["timestamp"].max() > 100_000_000_000:
        notes.append(f"{path.name} seems to have timestamps in milliseconds: divide by 1000 for right dates.")
    return table


def _check_known(path: Path, table: pd.DataFrame, known: np.ndarray) -> None:
    if not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise CourseError(
            f"{path}, row {row + 2}: item {table['item'].iloc[row]!r} is not in the items table; add it to items.tsv, "
            "remove the row, or load with strict=False to leave such rows out."
        )


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
