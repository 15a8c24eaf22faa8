"""Read the Amazon review and product files of 2014, 2018 and 2023 line by line.

2014 and 2018 name things reviewerID, asin, overall, unixReviewTime, reviewText; 2023 user_id, parent_asin, rating,
timestamp (milliseconds), text. The product files of 2014 are Python literals ('single quotes'), not JSON: they are
read by `ast.literal_eval`, which builds values and runs nothing.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from pathlib import Path
from typing import Any

from utils.data.cleaning import strip_markup
from utils.errors import CourseError
from utils.network.archives import MAX_LINE, lines_of
from utils.publishers.streams import BadRows, ItemStream, ReviewStream, key_of

# The keys of user, item, rating, time, text, and how many of the time's units make a second.
KEYS = {
    "2014": ("reviewerID", "asin", "overall", "unixReviewTime", "reviewText", 1),
    "2018": ("reviewerID", "asin", "overall", "unixReviewTime", "reviewText", 1),
    "2023": ("user_id", "parent_asin", "rating", "timestamp", "text", 1000),
}
_ASIN = re.compile(rb"""["'](?:parent_)?asin["']\s*:\s*["']([^"'\\]+)["']""")
_NOTHING = frozenset(("", "nan", "n/a", "none", "null"))
_SPACE = re.compile(r"\s")
_LONGEST_LITERAL = 1 << 20


def parse_line(line: bytes) -> dict[str, Any]:
    """Read one line: JSON, else a Python literal (never code).

    Raises:
        ValueError: neither, or no dictionary.
    """
    try:
        value = json.loads(line.decode("utf-8"))  # given bytes, json looks for UTF-16 first, which costs a tenth
    except (ValueError, RecursionError):
        value = _literal(line)
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__}, not a row of fields")
    return value


def _literal(line: bytes) -> Any:
    if len(line) > _LONGEST_LITERAL:
        raise ValueError("a line of this length is no row")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old texts hold backslashes that newer Pythons warn about
            tree = ast.parse(line.decode("utf-8").strip(), mode="eval")
            try:
                return ast.literal_eval(tree)
            except ValueError:  # a name: walking the tree costs time, so only where it is needed
                return ast.literal_eval(_Plain().visit(tree))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError("neither JSON nor a Python literal") from None


class _Plain(ast.NodeTransformer):
    """Put Python's values in the place of JSON's words for them: some rows mix both."""

    WORDS = {"true": True, "false": False, "null": None, "NaN": None}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self.WORDS[node.id]) if node.id in self.WORDS else node


def scan_reviews(path: Path, edition: str, reviews: ReviewStream, bad: BadRows, limit: int | None = None) -> None:
    """Add the reviews of a file to ``reviews``; rows that cannot be used are counted with their line.

    Args:
        path: ``.json.gz`` or ``.jsonl.gz`` (or unpacked).
        edition: "2014", "2018" or "2023".
        limit: stop after so many good rows (a first look at a large file).

    Raises:
        CourseError: the file is missing, cut or damaged, or most of it is not what it should be.
    """
    user_key, item_key, rating_key, time_key, text_key, unit = KEYS[edition]
    before = bad.count
    for number, line in lines_of(path):
        try:
            if len(line) >= MAX_LINE:
                raise ValueError("a line of this length is no row")
            row = parse_line(line)
            rating, time = float(row[rating_key]), int(row[time_key])
            if not abs(rating) <= 1000:  # also NaN
                raise ValueError(f"{rating_key} is {rating}")
            text = row.get(text_key) or ""
            if not isinstance(text, str):
                raise ValueError(f"{text_key} is a {type(text).__name__}, not text")
            if not -(2**31) <= time // unit < 2**31:
                raise ValueError(f"{time_key} {time} is no time between 1901 and 2038")
            reviews.add(_id(row, user_key), _id(row, item_key), rating, time // unit, text)
        except KeyError as error:
            bad.add(path.name, number, f"no field {error}")
        except (ValueError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
            bad.add(path.name, number, str(error))
        if limit and len(reviews) >= limit:
            break
        if number == 1000:
            _check_format(path, edition, len(reviews), bad.count - before)
    _check_format(path, edition, len(reviews), bad.count - before)


def _check_format(path: Path, edition: str, good: int, wrong: int) -> None:
    if wrong > good:
        raise CourseError(
            f"{path}: {wrong:,} of the first {good + wrong:,} lines are no review of the {edition} edition; "
            "check that this is the right file, or get it again."
        )
    if not good:
        raise CourseError(f"{path} holds no review; get it again.")


def _id(row: dict[str, Any], key: str) -> str:
    value = row[key]
    if isinstance(value, str) and value.isalnum():  # the usual case, fast
        return value
    if not isinstance(value, str) or not value or _SPACE.search(value):
        raise ValueError(f"{key} {str(value)[:40]!r} is no id")
    return value


def scan_items(path: Path, edition: str, items: ItemStream, bad: BadRows, wanted: set[int]) -> None:
    """Add the wanted items (keys) of a product file to ``items``; the others are not even parsed.

    Raises:
        CourseError: the file is missing, cut or damaged, or holds none of the wanted items.
    """
    key = KEYS[edition][1]
    lines = 0
    for number, line in lines_of(path):
        lines = number
        if len(line) < MAX_LINE and not any(hash(_text(match)) in wanted for match in _ASIN.findall(line)):
            continue
        try:
            if len(line) >= MAX_LINE:
                raise ValueError("a line of this length is no row")
            row = parse_line(line)
            item = _id(row, key)
            if key_of(item) in wanted:
                items.add(item, *item_fields(row, edition))
        except KeyError as error:
            bad.add(path.name, number, f"no field {error}")
        except (ValueError, TypeError, AttributeError) as error:
            bad.add(path.name, number, str(error))
    if not len(items):
        raise CourseError(
            f"{path}: none of its {lines:,} lines is an item of the reviews; check that the two files belong together."
        )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def item_fields(row: dict[str, Any], edition: str) -> tuple[str, str, str, str, list[str]]:
    """Return title, description, category, brand and picture addresses (best first) of one product.

    Markup is stripped; "nan", "n/a" and the like are nothing. The category is the second level of the first path, where
    the publisher gives a path: the first level is the same for the whole file.
    """
    title = plain(row.get("title"))
    description = plain(row.get("description"))
    if edition == "2023":
        path, brand = row.get("categories") or [row.get("main_category")], plain(row.get("store"))
    elif edition == "2018":
        path, brand = row.get("category") or [row.get("main_cat")], plain(row.get("brand"))
    else:
        path, brand = (row.get("categories") or [[]])[0], plain(row.get("brand"))
    names = [plain(name) for name in path if plain(name)] if isinstance(path, list) else []
    category = names[1] if len(names) > 1 else names[0] if names else ""
    return title, description, category, brand, image_urls(row, edition)


def plain(value: Any) -> str:
    """Return one line of text of a field that is text, a list of texts, or nothing."""
    if isinstance(value, (list, tuple)):
        value = " ".join(plain(part) for part in value)
    text = strip_markup(value) if isinstance(value, str) else ""
    return "" if text.lower() in _NOTHING else text


def image_urls(row: dict[str, Any], edition: str) -> list[str]:
    """Return the addresses of an item's main picture, in the order to try: middle size, then large, then small."""
    if edition == "2014":
        found = [row.get("imUrl")]
    elif edition == "2018":
        found = [_first(row.get("imageURLHighRes")), _first(row.get("imageURL"))]
    else:
        images = row.get("images")
        if isinstance(images, dict):  # one list per size
            main = {size: _first(images.get(size)) for size in ("large", "hi_res", "thumb")}
        else:
            listed = [image for image in images or [] if isinstance(image, dict)]
            main = next((image for image in listed if image.get("variant") == "MAIN"), listed[0] if listed else {})
        found = [main.get(size) for size in ("large", "hi_res", "thumb")]
    urls = [url.strip() for url in found if isinstance(url, str)]
    return list(dict.fromkeys(url for url in urls if url.startswith(("http://", "https://"))))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None
