"""Room "Which?" (utils/data): everything that is wrong with a folder in one report, not the first error only.

The loader stops at the first error, because nothing can be built on it. Whoever makes a folder of their own wants the
whole list: this module reads every table and file, goes on after each finding, and ends with what the folder is good for.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.data import tables as tsv
from utils.data.dataset import ITEM_COLUMNS, MODALITIES, Dataset, npy_shape
from utils.data.load import COST, find_folder, item_graphs, load_dataset
from utils.data.media import check_media
from utils.data.template import EXAMPLE
from utils.data.uses import uses
from utils.errors import CourseError

OPTIONAL = {"items": ITEM_COLUMNS, "interactions": ("rating", "timestamp", "review", "split")}
KEY = {"items": ("item",), "interactions": ("user", "item")}
FEW = 3  # rows that a finding names; the rest is counted


@dataclass(frozen=True)
class Finding:
    """One thing to know: ``severity`` is "error" (the course cannot read it) or "warning" (it can, at a cost)."""

    severity: str
    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.file}{self.text}"


@dataclass(frozen=True)
class FolderReport:
    """All findings about a folder, the dataset when it loads, and what each part of the course can do with it."""

    folder: Path
    findings: tuple[Finding, ...]
    dataset: Dataset | None

    @property
    def errors(self) -> list[Finding]:
        """The findings that must be repaired."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings]
        if self.dataset is not None:
            lines = [repr(self.dataset), *lines, *_uses(self.dataset)]
        errors, warnings = len(self.errors), len(self.findings) - len(self.errors)
        verdict = "no errors" if not errors else f"{errors} error{'s' * (errors > 1)} to repair"
        return "\n".join([*lines, f"{self.folder}: {verdict}, {warnings} warning{'s' * (warnings != 1)}"])


def report(name_or_path: str | Path, tables: str = "", media: bool = True) -> FolderReport:
    """Check a course folder from end to end.

    Args:
        name_or_path: the name of a folder in ``data/``, or a path.
        tables: a folder inside it to read the tables from, as in :func:`load_dataset`.
        media: also decode every picture and sound.

    Raises:
        CourseError: there is no such folder.
    """
    folder = find_folder(name_or_path)
    base = folder / tables if tables else folder
    found: list[Finding] = []
    items, interactions = (_read(base, stem, found) for stem in ("items", "interactions"))
    if items is not None:
        _check_items(items, found)
    if interactions is not None:
        _check_interactions(items, interactions, found)
    found += _prepared_files(folder)
    dataset = None
    if not any(finding.severity == "error" for finding in found):
        try:
            dataset = load_dataset(name_or_path, tables=tables)
            item_graphs(dataset)
        except CourseError as error:  # what only the whole folder shows, such as two files that disagree
            found.append(Finding("error", "", str(error)))
            dataset = None
    if dataset is None:  # a dataset says in its notes what a missing column costs
        found += _missing(items, "items") + _missing(interactions, "interactions")
    else:
        found += _matrices(dataset, media) + _log(dataset)
        found += _media(dataset) if media else []
    return FolderReport(folder, tuple(found), dataset)


# ---- tables ----


def _read(base: Path, stem: str, found: list[Finding]) -> pd.DataFrame | None:
    """Read a table as text with the row number of the file in ``row``; leave out the rows of a wrong width."""
    try:
        path = tsv.find_table(base, stem)
        if path is None:
            if stem == "interactions":
                found.append(Finding("error", stem + ".tsv", " is missing; every dataset needs one (or a .tsv.gz)."))
            return None
        lines = tsv.decode(path).rstrip("\n").split("\n")
    except CourseError as error:
        found.append(Finding("error", "", str(error)))
        return None
    header = lines[0].split("\t")
    if not _header_is_good(path.name, header, stem, found):
        return None
    rows = [line.split("\t") for line in lines[1:]]
    wrong = np.array([len(row) != len(header) for row in rows], dtype=bool)
    widths = f" fields where the header names {len(header)}; a tab inside a field must become a space"
    _rows(found, path.name, np.arange(len(rows)) + 2, wrong, lambda i: f"{len(rows[i])}{widths}")
    table = pd.DataFrame([row for row in rows if len(row) == len(header)], columns=header, dtype=object)
    table["row"] = np.flatnonzero(~wrong) + 2 if len(rows) else np.zeros(0, dtype=np.int64)
    if not len(rows):
        found.append(Finding("error", path.name, f" has a header and no row; it needs one row per {stem[:-1]}."))
    table.attrs["file"] = path.name
    return table


def _header_is_good(file: str, header: list[str], stem: str, found: list[Finding]) -> bool:
    """Report repeated, missing and misspelt columns; False when the table cannot be read any further."""
    twice = sorted({name for name in header if header.count(name) > 1})
    found += [Finding("error", file, f", row 1: column {n!r} occurs twice; rename or remove one.") for n in twice]
    known = (*KEY[stem], *OPTIONAL[stem])
    missing = [name for name in KEY[stem] if name not in header]
    commas = " Fields are separated by tabs, not by commas." if len(header) == 1 and "," in header[0] else ""
    for name in missing:
        near = difflib.get_close_matches(name, [column.strip().lower() for column in header], n=1, cutoff=0.7)
        hint = f"rename {near[0]!r}" if near else "add it"
        found.append(Finding("error", file, f", row 1: the required column {name!r} is missing; {hint}.{commas}"))
    for column in header:
        if column in known or column.startswith("description_"):
            continue
        near = difflib.get_close_matches(column.strip().lower(), known, n=1, cutoff=0.75)
        if near and near[0] not in header:
            text = f", row 1: column {column!r} is not read; did you mean {near[0]!r}?"
            found.append(Finding("warning", file, text))
    return not (twice or missing)


def _rows(
    found: list[Finding], file: str, numbers: np.ndarray, wrong: np.ndarray, say: Callable[[int], str], severity="error"
) -> None:
    """Add one finding for all rows that break the same rule: the first three by number, the first one's words."""
    places = np.flatnonzero(wrong)
    if len(places):
        named = ", ".join(str(numbers[i]) for i in places[:FEW])
        more = f" and {len(places) - FEW} more" if len(places) > FEW else ""
        text = f", row{'s' * (len(places) > 1)} {named}{more}: {say(int(places[0]))}."
        found.append(Finding(severity, file, text))


def _check_items(items: pd.DataFrame, found: list[Finding]) -> None:
    file, numbers = items.attrs["file"], items["row"].to_numpy()
    names = items["item"]
    bad = tsv.bad_ids(names)
    _rows(found, file, numbers, bad, lambda i: f"the item id is {names[i]!r}; write an id or remove the row")
    twice = names.duplicated().to_numpy() & ~bad
    _rows(found, file, numbers, twice, lambda i: f"item {names[i]!r} occurs a second time; remove or rename one")
    for column in ("image", "audio"):
        if column in items:
            said = [tsv.path_problem(value) if value else "" for value in items[column]]
            wrong = np.array([bool(text) for text in said], dtype=bool)
            words = lambda i, c=column, s=said: f"{c} path {items[c][i]!r} {s[i]}"  # noqa: E731
            _rows(found, file, numbers, wrong, words)


def _check_interactions(items: pd.DataFrame | None, table: pd.DataFrame, found: list[Finding]) -> None:
    file, numbers = table.attrs["file"], table["row"].to_numpy()
    for column in ("user", "item"):
        values, bad = table[column], tsv.bad_ids(table[column])
        words = lambda i, c=column, v=values: f"the {c} id is {v[i]!r}; write an id or remove the row"  # noqa: E731
        _rows(found, file, numbers, bad, words)
    if items is not None:
        unknown = ~table["item"].isin(items["item"]).to_numpy(dtype=bool) & ~tsv.bad_ids(table["item"])
        words = lambda i: f"item {table['item'][i]!r} is not in the items table; add it or remove the row"  # noqa: E731
        _rows(found, file, numbers, unknown, words)
    for column, unit in (("rating", "a number"), ("timestamp", "whole seconds since 1970")):
        if column in table:
            _numbers(file, table, column, unit, found)
    if "split" in table:
        wrong = ~table["split"].isin(tsv.SPLIT_NAMES).to_numpy(dtype=bool)
        words = lambda i: f"split {table['split'][i]!r} is unknown; write train, valid or test"  # noqa: E731
        _rows(found, file, numbers, wrong, words)


def _numbers(file: str, table: pd.DataFrame, column: str, unit: str, found: list[Finding]) -> None:
    """Report what is no number; an empty rating is allowed, an empty timestamp is not."""
    text = table[column].str.strip()
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    whole = column == "timestamp"
    wrong = ~np.isfinite(values) & (whole | (text != "").to_numpy(dtype=bool))
    wrong |= np.isfinite(values) & (values != np.floor(values)) & whole
    words = lambda i: f"{column} {table[column][i]!r} is not {unit}; correct it or remove the row"  # noqa: E731
    _rows(found, file, table["row"].to_numpy(), wrong, words)


def _missing(table: pd.DataFrame | None, stem: str) -> list[Finding]:
    """Say what each optional column that a table lacks costs."""
    lacking = [name for name in OPTIONAL[stem] if table is not None and name not in table]
    return [Finding("warning", table.attrs["file"], f" has no column {name!r}: {COST[name]}.") for name in lacking]


# ---- prepared files, pictures and sounds, the log as a whole ----


def _prepared_files(folder: Path) -> list[Finding]:
    """Report matrices and graphs with a name that nothing reads."""
    found = []
    for path in sorted((folder / "features").glob("*.npy")):
        stem = path.stem.removesuffix("_mask")
        if stem not in MODALITIES:
            text = f" is not read: the modalities are {', '.join(MODALITIES)}; rename or remove it."
            found.append(Finding("warning", f"features/{path.name}", text))
        elif path.stem != stem and not (folder / "features" / f"{stem}.npy").is_file():
            found.append(Finding("warning", f"features/{path.name}", f" is not read without {stem}.npy beside it."))
        else:
            try:
                npy_shape(path)
            except CourseError as error:
                found.append(Finding("error", "", str(error)))
    for path in sorted(folder.glob("item_knn_*.npz")):
        if path.stem.removeprefix("item_knn_") not in MODALITIES:
            text = f" is not read: the modalities are {', '.join(MODALITIES)}; rename or remove it."
            found.append(Finding("warning", path.name, text))
    return found


def _matrices(dataset: Dataset, media: bool) -> list[Finding]:
    """Read each prepared matrix as the models will; with ``media``, compare its rows' hashes with the content of today."""
    from utils.features import check_content, prepared  # the room of features imports this one

    found = []
    for modality in MODALITIES:
        try:
            features = prepared(dataset, modality)
        except CourseError as error:
            found.append(Finding("error", "", str(error)))
            continue
        if media and features is not None and "content_rows" in features.provenance:
            moved = check_content(features, dataset)
            named = ", ".join(repr(name) for name in moved[:FEW])
            more = f" and {len(moved) - FEW} more" if len(moved) > FEW else ""
            text = (
                f": {len(moved):,} of {features.n_items:,} rows were made from other content than their item has now "
                f"({named}{more}): shifted rows, or changed files; extract them again."
            )
            found += [Finding("warning", f"features/{modality}.npy", text)] if moved else []
    return found


def _media(dataset: Dataset) -> list[Finding]:
    """One finding for each kind of problem of pictures, texts and sounds, with up to three items by name."""
    found, problems = [], check_media(dataset)
    problems["kind"] = problems["problem"].str.replace(r"[\d,]+", "#", regex=True)
    for (modality, _kind), rows in problems.groupby(["modality", "kind"], sort=False):
        named = ", ".join(repr(name) for name in rows["item"].head(FEW))
        more = f" and {len(rows) - FEW} more" if len(rows) > FEW else ""
        # An item without text is a missing modality, which the course can live with; an unreadable file is an error.
        severity = "warning" if modality == "textual" else "error"
        first = rows.iloc[0]
        text = f" of item{'s' * (len(rows) > 1)} {named}{more}: {first.problem}"
        found.append(Finding(severity, f"{modality} file {first.file}" if modality != "textual" else first.file, text))
    return found


def _log(dataset: Dataset) -> list[Finding]:
    """Report what a log can be read with and still mislead."""
    log, found = dataset.interactions, []

    def warn(count: int, text: str) -> None:
        if count:
            found.append(Finding("warning", "interactions", f": {count:,} {text}"))

    examples = log["user"].str.startswith(EXAMPLE) | log["item"].str.startswith(EXAMPLE)
    warn(int(examples.sum()), "rows are the template's examples; put your own rows in their place.")
    warn(int(log.duplicated(["user", "item"]).sum()), "repeated pairs of user and item; clean() keeps one of each.")
    warn(dataset.n_items - log["item_id"].nunique(), "items have no interaction: only content can recommend them.")
    per_user = log.groupby("user_id").size()
    warn(
        int((per_user < 3).sum()),
        "users have fewer than three interactions: they cannot be trained, chosen and tested on.",
    )
    if "timestamp" in log and log["timestamp"].max() > 100_000_000_000:
        warn(len(log), "timestamps look like milliseconds; divide by 1000 for right dates.")
    if "rating" in log and log["rating"].nunique() > 2:
        low = int((log["rating"] < log["rating"].max() / 2).sum())
        warn(low, "ratings lie in the lower half of the scale and count as likes; keep_positive() leaves them out.")
    if "split" in log:
        for part in tsv.SPLIT_NAMES:
            if not (log["split"] == part).any():
                found.append(Finding("error", "interactions", f": no row says split {part!r}; every part needs some."))
        train = log[log["split"] == "train"]
        for column in ("user", "item"):
            lost = log.loc[~log[column].isin(train[column]), column].nunique()
            warn(lost, f"{column}s occur in valid or test and never in train: nothing is learned about them.")
    return found


def _uses(dataset: Dataset) -> list[str]:
    """Say what the parts of the course find in the folder."""
    lines = ["what the notebooks can do with it:"]
    return lines + [f"  {name}: {'runs' if not why else why}" for name, why in uses(dataset).items()]
