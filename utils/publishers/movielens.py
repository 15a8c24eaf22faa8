"""Read the MovieLens releases 100K, 1M and latest-small from their zip archives."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from utils.errors import CourseError
from utils.network.archives import unpack
from utils.publishers.streams import BadRows, ItemStream, ReviewStream

# Ratings file, its separator and header; films file, its separator and header; encoding of the films.
_LAYOUT = {
    "ml-100k": ("u.data", "\t", False, "u.item", "|", False, "latin-1"),
    "ml-1m": ("ratings.dat", "::", False, "movies.dat", "::", False, "latin-1"),
    "ml-latest-small": ("ratings.csv", ",", True, "movies.csv", ",", True, "utf-8"),
}
_GENRES = """unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical
Mystery Romance Sci-Fi Thriller War Western""".split()


def holds(folder: Path, release: str) -> bool:
    """Whether a folder holds the unpacked files of a release."""
    ratings, _gap, _header, films, *_ = _LAYOUT[release]
    return (folder / ratings).is_file() and (folder / films).is_file()


def scan_movielens(
    archive: Path, release: str, folder: Path, reviews: ReviewStream, items: ItemStream, bad: BadRows
) -> None:
    """Unpack a release into ``folder`` (nothing outside of it) and read its ratings and films; or read it unpacked.

    A film's text is its title: these releases carry no plot and no poster. Genres become the category.

    Raises:
        CourseError: another archive, a damaged one, or one without the files of the release.
    """
    ratings, gap, header, films, film_gap, film_header, encoding = _LAYOUT[release]
    files = {path.name: path for path in (archive.iterdir() if archive.is_dir() else unpack(archive, folder))}
    for name in (ratings, films):
        if name not in files:
            raise CourseError(f"{archive} holds no {name}; check that it is {release}.zip, or get it again.")
    for number, row in _rows(files[films], film_gap, film_header, encoding):
        try:
            items.add(row[0], row[1].strip(), "", _genres(row, release), "", [])
        except IndexError:
            bad.add(films, number, "too few fields")
    for number, row in _rows(files[ratings], gap, header, "utf-8"):
        try:
            rating = float(row[2])
            if not row[0] or not row[1] or not math.isfinite(rating):
                raise ValueError("an empty id or a rating that is no number")
            reviews.add(row[0], row[1], rating, int(row[3]), "")
        except (ValueError, IndexError, OverflowError) as error:
            bad.add(ratings, number, str(error))
    if not len(reviews):
        raise CourseError(f"{archive}: {ratings} holds no rating; get it again.")


def _rows(path: Path, gap: str, header: bool, encoding: str) -> Iterator[tuple[int, list[str]]]:
    with open(path, encoding=encoding, errors="replace", newline="") as file:
        lines = csv.reader(file) if gap == "," else (line.rstrip("\r\n").split(gap) for line in file)
        for number, row in enumerate(lines, 1):
            if row and not (header and number == 1):
                yield number, row


def _genres(row: list[str], release: str) -> str:
    if release == "ml-100k":
        return "|".join(name for name, flag in zip(_GENRES, row[5:]) if flag == "1")
    return row[2].strip()
