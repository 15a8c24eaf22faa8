"""Everything that is wrong with a folder in one report, not the first error only.

The loader stops at the first error, because nothing can be built on it. Whoever makes a folder of their own wants the
whole list: the findings of :mod:`utils.data.rules`, what the other files show, and what the folder is good for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from utils.arrays import read_shape
from utils.data.dataset import MODALITIES, Dataset
from utils.data.load import dataset_of, find_folder, item_graphs, read_folder
from utils.data.media import check_media
from utils.data.requirements import uses
from utils.data.tables import SPLIT_NAMES, Finding, some
from utils.errors import CourseError
from utils.own_data.template import EXAMPLE


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
            lines = [repr(replace(self.dataset, notes=())), *lines, *_uses(self.dataset)]
        errors, warnings = (sum(f.severity == kind for f in self.findings) for kind in ("error", "warning"))
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
    items, interactions, found = read_folder(folder, folder / tables if tables else folder)
    found += _prepared_files(folder)
    dataset = None
    if not any(finding.severity == "error" for finding in found):
        try:
            dataset = dataset_of(folder, items, interactions, found)
            item_graphs(dataset)
        except CourseError as error:  # what only the whole folder shows, such as two files that disagree
            found.append(Finding("error", "", str(error)))
            dataset = None
    if dataset is not None:
        found += _matrices(dataset, media) + _log(dataset)
        found += _media(dataset) if media else []
    return FolderReport(folder, tuple(dict.fromkeys(found)), dataset)


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
                read_shape(path)
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
        if features is not None:
            empty = features.mask & ~features.matrix.any(axis=1)
            text = (
                f": {int(empty.sum()):,} of {features.n_items:,} rows are all zero and count as present "
                f"({some(map(repr, features.item_names[empty].tolist()))}); if they stand for missing content, set their rows "
                f"of {modality}_mask.npy to False."
            )
            found += [Finding("warning", f"features/{modality}.npy", text)] if empty.any() else []
        if media and features is not None and "content_rows" in features.provenance:
            moved = check_content(features, dataset)
            text = (
                f": {len(moved):,} of {features.n_items:,} rows were made from other content than their item has now "
                f"({some(map(repr, moved))}): shifted rows, or changed files; extract them again."
            )
            found += [Finding("warning", f"features/{modality}.npy", text)] if moved else []
    return found


def _media(dataset: Dataset) -> list[Finding]:
    """One finding for each kind of problem of pictures, texts and sounds, with up to three items by name."""
    found, problems = [], check_media(dataset)
    problems["kind"] = problems["problem"].str.replace(r"[\d,]+", "#", regex=True)
    for (modality, _kind), rows in problems.groupby(["modality", "kind"], sort=False):
        # An item without text is a missing modality, which the course can live with; an unreadable file is an error.
        severity = "warning" if modality == "textual" else "error"
        first = rows.iloc[0]
        text = f" of item{'s' * (len(rows) > 1)} {some(map(repr, rows['item']))}: {first.problem}"
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
    warn(int(log.duplicated(["user", "item"]).sum()), "repeated pairs of user and item; clean() keeps one of each, and `python -m utils.data clean` makes a folder of it.")  # fmt: skip
    warn(dataset.n_items - log["item_id"].nunique(), "items have no interaction: only content can recommend them.")
    per_user = log.groupby("user_id").size()
    warn(
        int((per_user < 3).sum()),
        "users have fewer than three interactions: they cannot be trained, chosen and tested on.",
    )
    if "rating" in log:
        found += _ratings(log["rating"].dropna())
    for column in ("user", "item"):
        found += _ids(log[column])
    if "split" in log:
        for part in SPLIT_NAMES:
            if not (log["split"] == part).any():
                found.append(Finding("error", "interactions", f": no row says split {part!r}; every part needs some."))
        train = log[log["split"] == "train"]
        for column in ("user", "item"):
            lost = log.loc[~log[column].isin(train[column]), column].nunique()
            warn(lost, f"{column}s occur in valid or test and never in train: nothing is learned about them.")
    return found


def _ratings(ratings: pd.Series) -> list[Finding]:
    """Report ratings that would count as likes, with the threshold that leaves them out on the scale that they have."""

    def warn(count: int, text: str) -> list[Finding]:
        return [Finding("warning", "interactions", f": {count:,} {text}")] if count else []

    if ratings.nunique() <= 2:
        return []
    if _are_counts(ratings):
        text = (
            f"ratings are whole numbers up to {int(ratings.max()):,} and look like counts, not stars: each row is one deed, "
            "whatever its number; keep_positive(dataset, 2) keeps what was done more than once."
        )
        return warn(len(ratings), text)
    low, high = ratings.min(), ratings.max()
    middle = (low + high) / 2 if low < 0 else high / 2
    text = (
        f"ratings lie in the lower half of the scale (up to {high:.12g}) and count as likes; keep_positive(dataset, "
        f"{middle:.12g}) leaves them out."
    )
    found = warn(int((ratings < float(f"{middle:.12g}")).sum()), text)
    if low == 0 and high <= 10 and ratings[ratings > 0].min() >= 1:
        text = 'ratings are 0 where all others are 1 or more; if 0 means "not rated", leave the field empty.'
        found += warn(int((ratings == 0).sum()), text)
    return found


def _are_counts(ratings: pd.Series) -> bool:
    """Whether ratings look like how often something was done: whole, from 1 on, few large and many small."""
    whole = bool((ratings == np.floor(ratings)).all()) and ratings.min() >= 1
    return whole and ratings.max() > 10 and ratings.max() > 4 * ratings.median()


def _ids(ids: pd.Series) -> list[Finding]:
    """Report ids that a program changed on their way: blanks around them, decimal points, a spreadsheet's rounding."""
    distinct = pd.Series(ids.unique())
    found = []

    def warn(wrong: pd.Series, text: str) -> None:
        if wrong.any():
            named = some(map(repr, distinct[wrong]))
            found.append(Finding("warning", "interactions", f": {ids.name} ids such as {named} {text}"))

    warn(distinct != distinct.str.strip(), "have blanks around them, and count as others than those without; remove the blanks.")  # fmt: skip
    rounded = distinct.str.fullmatch(r"\d(?:[.,]\d+)?[eE]\+\d+")
    warn(rounded, "look like a spreadsheet's rounding, which makes different ids one; take the ids as text from where they come from.")  # fmt: skip
    decimal = distinct.str.fullmatch(r"\d+\.0")
    if decimal.all():
        warn(decimal, "became decimal numbers; read ids as text (dtype=str) before you write the table.")
    return found


def _uses(dataset: Dataset) -> list[str]:
    """Say what the parts of the course find in the folder."""
    lines = ["what the notebooks can do with it:"]
    return lines + [f"  {name}: {'runs' if not why else why}" for name, why in uses(dataset).items()]
