"""Make a course folder of a foreign layout; everything else takes course folders only."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from utils.data.folders import adopt_rest, build_aside, check_target, write_mark
from utils.data.load import load_dataset
from utils.data.rules import check_numbers
from utils.data.tables import raise_first, some, write_table
from utils.errors import CourseError, suggest
from utils.files import atomic_path, write_text
from utils.own_data.csv_tables import from_csv
from utils.own_data.hugging_face import from_hugging_face
from utils.own_data.imports import READERS

STALE = ("features/", "item_knn_")  # what belongs to the items of an earlier conversion
_TITLE = re.compile(r"^(?P<name>.*?)\s*(?:\((?P<other>.*)\))?\s*\((?P<year>\d{4})\)$")
_ARTICLES = (
    "the",
    "a",
    "an",
    "la",
    "le",
    "les",
    "l'",
    "il",
    "lo",
    "der",
    "die",
    "das",
    "den",
    "det",
    "el",
    "los",
    "las",
)


def convert(
    name: str,
    source: str | Path,
    target: str | Path,
    *,
    say: Callable[[str], None] = print,
    dry_run: bool = False,
    **options: object,
) -> Path:
    """Make a course folder of a foreign layout; nothing is written before the whole of it loads.

    Args:
        name: a key of CONVERTERS, for example ``"movielens-posters"``.
        source: the folder as its publisher or collector laid it out; it is only read.
        target: the folder to make. It may exist when it is empty, or when ``convert`` made it and nobody changed its
            files: then it is made anew. Files that were added stay, but features and item graphs go, because they belong
            to the earlier items; ``say`` names them.
        say: takes the sentences about what was read, changed and left out.
        dry_run: read and check everything, say it, and write nothing.
        options: the converter's own: ``min_rating`` of movielens-posters, ``columns`` of csv.

    Returns:
        ``target``, checked by loading it.

    Raises:
        CourseError: unknown converter, missing or damaged source files, a target that holds something else.
    """
    if name not in CONVERTERS:
        raise suggest(name, CONVERTERS, "converter")
    source, target = Path(source), Path(target)
    for option, owner in OPTIONS.items():
        if options.get(option) is not None and owner != name:
            raise CourseError(
                f"{name} takes no {option}, which belongs to {owner}; leave it out (`clean` filters folders)."
            )
    if not source.is_dir() and not (name == "csv" and source.is_file()):
        raise CourseError(f"There is no folder {source}; give the folder that {name} was downloaded to.")
    _refuse_links(source)
    earlier = check_target(target, "convert", STALE)
    if dry_run:
        with TemporaryDirectory() as aside:
            convert(name, source, Path(aside) / target.name, say=say, **options)
            say(repr(load_dataset(Path(aside) / target.name)))
        return target
    options = {option: value for option, value in options.items() if value is not None}
    with build_aside(target) as new:
        notes = CONVERTERS[name](source, new, **options) or []
        try:
            load_dataset(new)
        except CourseError as error:
            said = str(error).replace(f"{new}{os.sep}", "")
            raise CourseError(f"{source} makes no course folder: of what would be written, {said}") from error
        made = [path for path in sorted(new.rglob("*")) if path.is_file()]
        stale = adopt_rest(target, new, earlier, STALE)
        write_mark(new, "convert", made)
    for note in notes:
        say(note)
    if stale:
        say(f"removed, because they belong to the earlier items: {some(stale)}")
    return target


def _refuse_links(source: Path) -> None:
    """Refuse a foreign folder with a link that leads out of it: what is there would be copied as if it were its own."""
    root = source.resolve()
    for here, folders, files in os.walk(source):
        for path in (Path(here, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise CourseError(f"{path} is a link that leaves the folder; copy the file into it.")


def movielens_posters(source: Path, target: Path, min_rating: float = 4.0) -> None:
    """Convert MovieLens-100K with posters and plots.

    The source has ``ratings.tsv.gz`` (user, item, rating, timestamp), ``items.tsv`` (item, title, genres, plot; fields
    quoted where needed) and ``posters/<item>.jpg``. A rating from ``min_rating`` on is a positive interaction; the
    others are left out. The description is the plot without the film's own title and year; genres become the category
    and nothing else, so that no text encoder reads them.
    """
    films = _read_foreign(source / "items.tsv", ("item", "title", "genres", "plot"))
    ratings = _read_foreign(source / "ratings.tsv.gz", ("user", "item", "rating", "timestamp"))
    rating, wrong = check_numbers("ratings.tsv.gz", ratings["rating"])
    raise_first(wrong, source)
    filmed = ratings["item"].isin(films["item"]).to_numpy(dtype=bool)
    positive = filmed & (rating >= min_rating)
    if not positive.any():
        raise CourseError(f"No rating of {source} is {min_rating:g} or more; give a smaller --min-rating.")
    plots = [without_title(plot, title) for plot, title in zip(films["plot"], films["title"])]
    images = [_copy_poster(source, target, item) for item in films["item"]]
    items = pd.DataFrame(
        {
            "item": films["item"],
            "title": films["title"],
            "description": plots,
            "category": films["genres"].str.replace(" ", "|", regex=False),
            "image": images,
        }
    )
    write_table(target / "items.tsv", items)
    write_table(target / "interactions.tsv.gz", ratings[positive])
    facts = {
        "ratings in the source": len(ratings),
        "of them for films without an entry in items.tsv (left out)": int((~filmed).sum()),
        f"interactions (ratings of {min_rating:g} or more)": int(positive.sum()),
        "users with an interaction": int(ratings["user"][positive].nunique()),
        "films": len(films),
        "films with an interaction": int(ratings["item"][positive].nunique()),
        "films with a poster": sum(map(bool, images)),
        "films with a plot": sum(map(bool, plots)),
        "plots that named their own title or year (removed)": int((np.array(plots) != films["plot"].str.strip()).sum()),
        "films that share title and year with another id": int(films["title"].duplicated().sum()),
    }
    write_text(target / "README.md", _CARD + "".join(f"| {fact} | {count:,} |\n" for fact, count in facts.items()))
    write_text(target / ".gitignore", "# The terms of MovieLens do not allow redistribution: commit none of this.\n*\n")


def film_names(title: str) -> tuple[list[str], str]:
    """Take a MovieLens title apart: the names of the film, articles in front, and its year ("" when not given).

    >>> film_names("Seventh Seal, The (Sjunde inseglet, Det) (1957)")
    (['The Seventh Seal', 'Det Sjunde inseglet'], '1957')
    """
    match = _TITLE.match(title.strip())
    if not match:
        return [title.strip()], ""
    names = []
    for name in (match["name"], match["other"]):
        if name:
            head, _comma, tail = name.rpartition(", ")
            names.append(f"{tail} {head}" if head and tail.lower() in _ARTICLES else name)
    return names, match["year"]


def without_title(plot: str, title: str) -> str:
    """Return a plot without its film's own names and year.

    Whole words only, in any case, with or without accents and the leading article, whatever stands between the words.
    Parts of a title stay (a name in it may be a person of the plot).
    """
    names, year = film_names(title)
    patterns = [_name_pattern(name) for name in sorted(names, key=len, reverse=True)]
    patterns += [rf"\(?\b{year}\b\)?"] if year else []
    text = plot
    for pattern in filter(None, patterns):
        folded = _fold(text)  # the same length, so that positions agree
        spans = [match.span() for match in re.finditer(pattern, folded, re.IGNORECASE)]
        for start, end in reversed(spans):
            text = text[:start] + text[end:]
    return _tidy(text) if text != plot else plot.strip()


def _name_pattern(name: str) -> str:
    words = re.findall(r"\w+", _fold(name))
    article = ""
    if len(words) > 1 and words[0].lower() in _ARTICLES:
        article, words = rf"(?:{words[0]}\W+)?", words[1:]
    if not words:
        return ""
    # Between two words anything but letters, an "and" or an "&" may stand: "Batman & Robin" is "Batman and Robin".
    words = [word for word in words if word.lower() != "and"] or words
    return rf"(?<!\w){article}" + r"\W+(?:and\W+)?".join(map(re.escape, words)) + r"(?!\w)(?:['’]s(?!\w))?"


def _fold(text: str) -> str:
    """Take the accents off, letter by letter, so that the length stays."""
    return "".join(unicodedata.normalize("NFKD", letter)[0] for letter in text)


def _tidy(text: str) -> str:
    """Close the gaps that removed words leave: empty quotes and brackets, doubled spaces, lone punctuation."""
    text = re.sub(r"\"\s*\"|“\s*”|\(\s*\)|(?<!\w)'\s*'(?!\w)", " ", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\s+([,.;:!?])", r"\1", text)
    text = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", text)
    return text.strip().lstrip(",.;:!?- ").strip()


def _copy_poster(source: Path, target: Path, item: str) -> str:
    """Copy one poster unless it is there already; return its path inside the target, "" when there is none."""
    if not re.fullmatch(r"[\w-]+", item):
        raise CourseError(f"{source / 'items.tsv'}: item id {item!r} is no file name; use letters and digits only.")
    poster, copy = source / "posters" / f"{item}.jpg", target / "images" / f"{item}.jpg"
    if not poster.is_file():
        return ""
    if not copy.is_file() or copy.read_bytes() != poster.read_bytes():
        with atomic_path(copy) as temporary:
            shutil.copyfile(poster, temporary)
    return f"images/{item}.jpg"


def _read_foreign(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """Read a tab-separated table whose fields may be quoted as in a spreadsheet's export."""
    if not path.is_file():
        raise CourseError(f"{path} does not exist; the layout movielens-posters needs it beside the folder posters/.")
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8")
    except (UnicodeDecodeError, pd.errors.ParserError, EOFError, OSError) as error:
        raise CourseError(f"Cannot read {path}: {error}; copy or download the file again.") from error
    missing = [name for name in required if name not in table]
    if missing:
        raise CourseError(f"{path}, row 1: the required column {missing[0]!r} is missing; is this the right folder?")
    return table.astype(object).set_axis(np.arange(len(table)) + 2)  # rows as the file numbers them


CONVERTERS: dict[str, Callable[..., list[str] | None]] = {
    "movielens-posters": movielens_posters,
    **READERS,
    "csv": from_csv,
    "hf": from_hugging_face,
}
OPTIONS = {"min_rating": "movielens-posters", "columns": "csv"}  # of one converter only

_CARD = """# MovieLens-100K with posters and plots, in the course's format

Real ratings of real people; real posters and plots. Made by `python -m utils.data convert movielens-posters`.

**Source.** Ratings, titles and genres: MovieLens 100K, collected by GroupLens Research at the University of Minnesota
from September 1997 to April 1998. Please cite: F. Maxwell Harper and Joseph A. Konstan, "The MovieLens Datasets:
History and Context", ACM Transactions on Interactive Intelligent Systems 5 (4), 2015, DOI 10.1145/2827872. Posters and
plots come from the folder that was converted; they belong to their makers.

**Terms.** For research and teaching at your own place. Neither the ratings nor the posters may be passed on or used
commercially without permission: keep this folder out of every repository (its `.gitignore` does so).

**How it was made.** A rating below the threshold is left out, so every row of `interactions.tsv.gz` is a positive one.
`description` is the plot without the film's own title and year. `category` holds the genres, which no encoder reads.
`image` is the poster, at most 224 pixels.

**Known limits.** Users of 1997 and 1998. Time stamps tell when a film was rated, often many in one sitting, not when it
was watched. Some films occur under two ids. A film without a plot is
described by its title. Films that nobody rated high enough stay in the catalogue as cold items. Parts of a title
may remain in a plot.

| counted | number |
|---|---|
"""
