"""Make a course folder of a publisher's dataset by its name, from the terms to the split; see :func:`get`."""

from __future__ import annotations

import gzip
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from utils.data.cleaning import strip_markup
from utils.data.folders import check_target, write_mark
from utils.data.split import STRATEGIES
from utils.data.tables import some, write_table
from utils.errors import CourseError, suggest
from utils.files import ROOT, atomic_path, write_json, write_text
from utils.network.download import RetryPolicy, fetch, find_md5, text_of
from utils.publishers.amazon import scan_items, scan_reviews
from utils.publishers.catalogue import CAME, COMPLETE, JOINED, UNVERIFIED, Entry, find_entry
from utils.publishers.images import NOT_ASKED, ImageReport, RateLimit, fetch_images
from utils.publishers.movielens import holds, scan_movielens
from utils.publishers.streams import BadRows, ItemStream, KCoreFilter, ReviewStream, write_interactions

DOWNLOADS = ROOT / "data" / "downloads"


@dataclass(frozen=True)
class Recipe:
    """The choices between the publisher's file and the course folder.

    Attributes:
        items: "all" keeps items without text or picture (a missing modality, which the course can live with);
            "complete" drops them, as the lecture does.
        k: the k-core; 0 keeps what is left as it is (after "complete" that is no 5-core any more).
        variants: "keep", or "one" for one row of a review that is shown on several variants of a product.
        min_rating: smallest rating that counts; None takes the catalogue's.
        strategy, seed, valid, test: the split (of `split_dataset`).
    """

    items: str = "all"
    k: int = 5
    variants: str = "keep"
    min_rating: float | None = None
    strategy: str = "random"
    seed: int = 0
    valid: float = 0.1
    test: float = 0.1


RECIPES = {
    "course": Recipe(),
    # 20 % test, then 10 % of the rest: 8 % of all. The lecture rounds down where the course rounds half up.
    "lecture": Recipe(items="complete", k=0, valid=0.08, test=0.2),
}


@dataclass(frozen=True)
class DownloadResult:
    """What :func:`get` made: the folder, the counts of every step, the split's parts, the pictures, the bad rows."""

    folder: Path
    steps: pd.DataFrame
    parts: dict[str, int]
    images: ImageReport | None
    bad: BadRows
    repeated_items: int

    def __str__(self) -> str:
        lines = [table_of(self.steps), "split: " + ", ".join(f"{name} {n:,}" for name, n in self.parts.items() if n)]
        if self.images:
            lines.append(str(self.images))
        if self.bad.count:
            file, line, reason = self.bad.rows[0]
            lines.append(f"rows that could not be read: {self.bad.count:,} (first: {file}, line {line:,}: {reason})")
        return "\n".join([*lines, f"written to {_near(self.folder)}; use it with DATASET={_near(self.folder)}"])


def get(
    name: str,
    target: str | Path | None = None,
    *,
    accept: bool | None = None,
    recipe: str | Recipe = "course",
    images: bool = True,
    max_images: int | None = None,
    source: str | Path | None = None,
    limit: int | None = None,
    progress: bool = True,
    say: Callable[[str], None] = print,
    retry: RetryPolicy | None = None,
    rate_limit: RateLimit | None = None,
    **choices: Any,
) -> DownloadResult:
    """Make a course folder of a publisher's dataset: download, parse, deduplicate, join, clean, k-core, split, pictures.

    Nothing is loaded whole: a category of several GB fits in 2 GB of memory. Stopped at any point, the same call goes on
    with what is on the disk.

    Args:
        name: of the catalogue, for example "amazon-2014-office" (`catalogue()` names all).
        target: the folder to make; None: ``data/downloads/NAME``.
        accept: True: you accept the publisher's terms; None: you are asked, where somebody can answer.
        recipe: "course", "lecture", or a `Recipe`.
        images: fetch the items' pictures; ``max_images`` asks for so many in this call.
        source: a folder that holds the publisher's files already; nothing but pictures is asked of the network then.
        limit: read only so many reviews (a first look).
        progress: show bars.
        say: what prints.
        retry, rate_limit: waits for files and for pictures.
        choices: single fields of the recipe, for example ``k=10``.

    Returns:
        The folder and the counts; `load_dataset(got.folder)` reads it.

    Raises:
        CourseError: unknown name, terms not accepted, no network, a damaged file, a full disk, nothing left.
    """
    entry = find_entry(name)
    plan = _plan(recipe, choices)
    folder = Path(target) if target else DOWNLOADS / entry.name
    check_target(folder, "get")
    raw = Path(source) if source else DOWNLOADS / "raw" / entry.family / entry.edition
    if not source:
        _agree(entry, raw, accept, say)
    files = _files(entry, raw, bool(source), progress, retry, say)
    bad = BadRows()
    with (
        _spool_folder(folder) as spools,
        ReviewStream(spools / "reviews") as reviews,
        ItemStream(spools / "items") as items,
    ):
        core = _read(entry, files, spools, reviews, items, bad, limit, say)
        _select(core, items, entry, plan)
        report = None
        if images and entry.family == "amazon":
            report = _pictures(folder, core, items, max_images, rate_limit, progress, say)
        if report and plan.items == "complete":
            _check_all_asked(report)
            keys = {hash(item) for item in report.files}
            core.only_items(_array(keys), CAME)
            if plan.k:
                core.k_core(plan.k)
        if not core.alive.any():
            raise CourseError(f"Nothing of {entry.name} is left after {core.steps[-1][0]}; choose a smaller k.")
        for file in (
            "interactions.tsv.gz",
            "README.md",
        ):  # killed from here on, the folder is no dataset, not a mixed one
            (folder / file).unlink(missing_ok=True)
        ids = _write_items(folder / "items.tsv", core, items, report.files if report else {}, entry.family)
        parts = write_interactions(
            folder / "interactions.tsv.gz", reviews, core, ids, strategy=plan.strategy, seed=plan.seed, valid=plan.valid,
            test=plan.test, clean=_clean_review,
        )  # fmt: skip
    got = DownloadResult(folder, _steps_table(entry, core), parts, report, bad, items.repeated)
    _write_card(entry, plan, got, limit)
    write_mark(
        folder, "get", [folder / name for name in ("items.tsv", "interactions.tsv.gz", "README.md", ".gitignore")]
    )
    say(str(got))
    return got


def _near(path: Path) -> str:
    """A path as text: relative to the working directory when it lies below it."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def _plan(recipe: str | Recipe, choices: dict[str, Any]) -> Recipe:
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise suggest(recipe, RECIPES, "recipe")
        recipe = RECIPES[recipe]
    for choice in choices:
        if choice not in Recipe.__dataclass_fields__:
            raise suggest(choice, Recipe.__dataclass_fields__, "choice of a recipe")
    plan = replace(recipe, **choices)
    for value, known, what in (
        (plan.items, ("all", "complete"), "value of items"),
        (plan.variants, ("keep", "one"), "value of variants"),
        (plan.strategy, [name for name in STRATEGIES if name != "given"], "split strategy"),
    ):
        if value not in known:
            raise suggest(value, known, what)
    return plan


def terms_of(entry: Entry) -> str:
    """Return what has to be accepted before the first download, in full."""
    hosts = sorted({url.split("/")[2] for source in entry.sources.values() for url in source.urls})
    return (
        f"{entry.title}, from {' or '.join(hosts)}.\nTerms, in our words (the publisher's own count): {entry.terms}\n"
        f"Please cite: {entry.cite}\n{UNVERIFIED}"
    )


def _agree(entry: Entry, raw: Path, accept: bool | None, say: Callable[[str], None]) -> None:
    """Show the terms once, before the first download, and ask.

    Raises:
        CourseError: not accepted, or nobody there to ask.
    """
    mark = raw / "terms_accepted.json"
    if mark.is_file():
        return
    say(terms_of(entry))
    if accept is None and _somebody_there():
        accept = input("Type yes to accept the terms and download: ").strip().lower() in ("y", "yes")
    if not accept:
        raise CourseError(
            f"The terms of {entry.name} are not accepted, so nothing was downloaded; accept them with --yes "
            f'(in a notebook: get("{entry.name}", accept=True)).'
        )
    write_json(mark, {"terms": entry.terms, "cite": entry.cite})


def _somebody_there() -> bool:
    return bool(sys.stdin) and sys.stdin.isatty()


def _files(
    entry: Entry, raw: Path, local: bool, progress: bool, retry: RetryPolicy | None, say: Callable[[str], None]
) -> dict[str, Path]:
    """Have the publisher's files in ``raw``; return part -> path."""
    paths = {}
    for part, source in entry.sources.items():
        path = raw / source.name
        if local and not path.is_file():
            path = _unpacked(raw, source.name) or path
            if not path.exists():
                there = [file.name for file in sorted(raw.glob("*")) if file.is_file()]
                facts = f" (there: {some(there)})" if there else ""
                raise CourseError(
                    f"{raw} holds no {source.name}; put it there{facts}, or leave --from out to download it."
                )
        if not local:
            had = path.is_file()
            md5 = source.md5 or (find_md5(text_of(source.md5_url, retry)) if source.md5_url and not had else "")
            receipt = fetch(
                source.urls, path, kind=source.kind, size=source.size, md5=md5, progress=progress, retry=retry
            )  # fmt: skip
            what = "is there" if had else f"{receipt['bytes']:,} bytes"
            say(f"{source.name}: {what}; checked: {', '.join(receipt['checked']) or 'its length'}")
        _check_kind(path)
        paths[part] = path
    return paths


def _check_kind(path: Path) -> None:
    """Say what a file under the name of a gzip file is when it is something else: a web page, plain text, gzip in gzip.

    Damage further on is found where the file is read.
    """
    if path.suffix != ".gz" or not path.is_file():
        return
    with open(path, "rb") as stream:
        start = stream.read(512)
    if start[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path, "rb") as stream:
                twice = stream.read(2) == b"\x1f\x8b"
        except (OSError, EOFError, zlib.error):
            return
        if twice:
            raise CourseError(f"{path} is gzipped twice; unpack it once, and keep the name.")
    elif start.lstrip()[:1] == b"<":
        raise CourseError(f"{path} is a web page, not the file; get it again from its publisher.")
    elif start.lstrip()[:1] == b"{":
        raise CourseError(f"{path} is not packed; take .gz off its name, or gzip it.")


def _unpacked(raw: Path, name: str) -> Path | None:
    """What a browser or a user made of a publisher's file: a .gz without its ending, a zip's folder or its content."""
    stem = name.removesuffix(".gz").removesuffix(".zip")
    if name.endswith(".gz"):
        return raw / stem if (raw / stem).is_file() else None
    return next((folder for folder in (raw / stem, raw) if name.endswith(".zip") and holds(folder, stem)), None)


@contextmanager
def _spool_folder(folder: Path) -> Iterator[Path]:
    """A folder for temporary files inside the result's folder, removed at the end whatever happens.

    Raises:
        CourseError: the disk is full (what was downloaded is kept).
    """
    spools = folder / ".workshop"
    try:
        shutil.rmtree(spools, ignore_errors=True)
        spools.mkdir(parents=True)
        write_mark(folder, "get")
        yield spools
    except OSError as error:
        reason = error.strerror or error
        raise CourseError(
            f"Cannot write to {folder}: {reason}; free some space (about the size of the unpacked reviews) and run "
            "again: what was downloaded is kept."
        ) from error
    finally:
        shutil.rmtree(spools, ignore_errors=True)


def _read(
    entry: Entry, files: dict[str, Path], spools: Path, reviews: ReviewStream, items: ItemStream, bad: BadRows,
    limit: int | None, say: Callable[[str], None],
) -> KCoreFilter:  # fmt: skip
    """Read the publisher's files: the reviews, the items, and a filter in which every row still stays."""
    say(f"reading {', '.join(path.name for path in files.values())}")
    if entry.family == "movielens":
        scan_movielens(files["archive"], entry.edition, spools / "unpacked", reviews, items, bad)
        flush(reviews, items)
        return KCoreFilter(reviews)
    scan_reviews(files["reviews"], entry.edition, reviews, bad, limit)
    flush(reviews)
    core = KCoreFilter(reviews)
    scan_items(files["items"], entry.edition, items, bad, core.living_items())
    flush(items)
    return core


def flush(*spools: ReviewStream | ItemStream) -> None:
    """Write what was added to the disk, so that the next pass reads it."""
    for spool in spools:
        spool._file.flush()


def _select(core: KCoreFilter, items: ItemStream, entry: Entry, plan: Recipe) -> None:
    """Run the steps from all rows to the k-core, in order."""
    core.drop_repeated_rows()
    if entry.family == "amazon":
        core.drop_variants(applied=plan.variants == "one")
    core.one_per_pair()
    core.only_items(items.known(), JOINED)
    least = entry.min_rating if plan.min_rating is None else plan.min_rating
    if least > 0:
        core.min_rating(least)
    if entry.family == "amazon":
        core.only_items(items.known(text=True, image=True), COMPLETE, applied=plan.items == "complete")
    if plan.k:
        core.k_core(plan.k)


def _array(keys: set[int]):
    import numpy as np

    return np.array(sorted(keys), dtype=np.int64)


def _check_all_asked(report: ImageReport) -> None:
    """Refuse to drop items whose picture was not asked for yet.

    Raises:
        CourseError: some pictures were not asked for yet.
    """
    left = report.counts.get(NOT_ASKED, 0)
    if left:
        why = report.stopped or "--max-images asks for some at a time"
        raise CourseError(
            f"{left:,} pictures are still to come ({why}), and items without one would be dropped; run the same command "
            "again (what came is kept), or keep all items with --items all."
        )


def _pictures(
    folder: Path, core: KCoreFilter, items: ItemStream, max_images: int | None, rate_limit: RateLimit | None,
    progress: bool, say: Callable[[str], None],
) -> ImageReport:  # fmt: skip
    """Ask for the pictures of the items that are left."""
    say(
        f"pictures of up to {len(core.living_items()):,} items, a few at a time; Ctrl-C stops, the same command goes on"
    )
    rows = items.rows(core.living_items())
    report = fetch_images(
        ((row[0], row[5]) for row in rows), folder, max_images=max_images, rate_limit=rate_limit, progress=progress
    )
    say(str(report))
    return report


def _write_items(
    path: Path, core: KCoreFilter, items: ItemStream, files: dict[str, str], family: str
) -> dict[int, int]:
    """Write items.tsv in chunks; return item key -> row."""
    ids: dict[int, int] = {}
    columns = ["item", "title", "description", "category", *(["brand", "image"] if family == "amazon" else [])]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n", errors="replace") as file:
        file.write("\t".join(columns) + "\n")
        for item, title, description, category, brand, _urls in items.rows(core.living_items()):
            fields = [item, title, description, category, *([brand, files.get(item, "")] if family == "amazon" else [])]
            file.write("\t".join(" ".join(value.split()) for value in fields) + "\n")
            ids[hash(item)] = len(ids)
    return ids


def _clean_review(text: str) -> str:
    return strip_markup(text) if "<" in text or "&" in text else text


def _steps_table(entry: Entry, core: KCoreFilter) -> pd.DataFrame:
    """One row per step: what the run counted, and beside it what others report of the same step."""
    rows = []
    for step, users, items, interactions, applied in core.steps:
        expected = entry.expected.get(step, (None, None, None))
        rows.append((step, users, items, interactions, *expected, applied))
    names = ["step", "users", "items", "interactions"]
    table = pd.DataFrame(rows, columns=[*names, *(f"expected_{name}" for name in names[1:]), "applied"])
    expected = [column for column in table if column.startswith("expected_")]
    table[expected] = table[expected].astype("Int64")
    return table


def table_of(table: pd.DataFrame) -> str:
    """Return the steps as Markdown: ours, and in brackets what others report where it is known."""
    lines = ["| step | users | items | interactions |", "|---|---:|---:|---:|"]
    for row in table.to_dict("records"):
        cells = []
        for name in ("users", "items", "interactions"):
            expected = row[f"expected_{name}"]
            cells.append(f"{row[name]:,}" + ("" if pd.isna(expected) else f" (expected {expected:,})"))
        step = row["step"] if row["applied"] else f"{row['step']} (counted, not applied)"
        lines.append("| " + " | ".join([step, *cells]) + " |")
    return "\n".join(lines)


def _write_card(entry: Entry, plan: Recipe, got: DownloadResult, limit: int | None) -> None:
    """Write README.md (the dataset card), steps.tsv, bad_rows.tsv and the .gitignore of the folder."""
    folder = got.folder
    write_table(folder / "steps.tsv", got.steps.astype(object).where(got.steps.notna(), ""))
    if got.bad.count:
        write_table(folder / "bad_rows.tsv", got.bad.frame())
    else:
        (folder / "bad_rows.tsv").unlink(missing_ok=True)
    pictures = str(got.images) if got.images else "pictures: not asked for"
    least = entry.min_rating if plan.min_rating is None else plan.min_rating
    facts = [
        f"Items: {plan.items}. Core: {plan.k or 'none'}. Copies on variants: {plan.variants}. Smallest rating: {least:g}.",
        f"Split: {plan.strategy}, seed {plan.seed}, valid {plan.valid:g}, test {plan.test:g}.",
        *([f"Only the first {limit:,} reviews were read: a look, not the dataset."] if limit else []),
        f"Rows that could not be read: {got.bad.count:,}" + (" (bad_rows.tsv)." if got.bad.count else "."),
        *(
            [f"The product file repeats {got.repeated_items:,} items; the first row counts."]
            if got.repeated_items
            else []
        ),
        pictures[0].upper() + pictures[1:] + ("; images.tsv says what came of each." if got.images else "."),
    ]
    parts = ", ".join(f"{name} {n:,}" for name, n in got.parts.items() if n)
    card = _CARD.format(
        title=entry.title,
        name=entry.name,
        terms=entry.terms,
        cite=entry.cite,
        facts="\n".join(f"- {fact}" for fact in facts),
        steps=table_of(got.steps),
        origin=f"Expected counts: {entry.origin}." if entry.expected else "No counts to compare with are known to us.",
        parts=parts,
        limits=_LIMITS[entry.family],
        unverified=UNVERIFIED,
    )
    for name, text in (
        ("README.md", card),
        (".gitignore", "# The terms allow no redistribution: commit none of this.\n*\n"),
    ):
        write_text(folder / name, text)


_CARD = """# {title}

Made by `python -m utils.data get {name}`.

**Terms, in our words (the publisher's own count).** {terms}

**Please cite.** {cite}

**How it was made.**

{facts}

**Counts at every step, and what others report.** {origin}

{steps}

Split: {parts}.

**Known limits.** {limits} {unverified}
"""
_LIMITS = {
    "amazon": (
        "A review is not a purchase, and a rating is given by who chose to write. The time stamps of 2014 and 2018 are "
        "days. Reviews are shown on all variants of a product, so some rows repeat one opinion. Many product pictures of "
        "2014 and 2018 may no longer be served."
    ),
    "movielens": (
        "A film's text is its title: the release has no plots and no posters. Time stamps tell when a film was rated, "
        "often many in one sitting."
    ),
}
