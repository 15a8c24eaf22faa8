"""Decks, the numbers: every measured number on a slide comes from a record, a result file or a small function here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from utils.errors import CourseError, suggest
from utils.lab import tables as results

Value = Callable[[], Any]
VALUES: dict[str, Value] = {}


def value(function: Value) -> Value:
    """Register a number that no file holds as it is: ``{{value NAME}}`` calls the function of that name."""
    VALUES[function.__name__] = function
    return function


def look_up(kind: str, words: list[str]) -> str:
    """Return the text of one placeholder.

    Args:
        kind: ``record`` (notebook, name, format), ``claim`` (notebook, first words of its text, ``left`` or ``right``,
            format; or ``verdict``, in words what the run decided), ``result`` (file, key=value ... filters, format: the mean of the matching rows), ``published``
            (dataset, model, metric, format) or ``value`` (name, format).
        words: what follows it; the format is Python's, such as ``.3f``, ``.0%`` or ``,.0f``; left out, it is ``{}``.

    Raises:
        CourseError: unknown file, name, row or format.
    """
    if kind not in KINDS:
        raise suggest(kind, KINDS, "placeholder")
    found, form = KINDS[kind](words)
    if isinstance(found, str):
        return found
    try:
        text = format(float(found), form) if form else f"{found:g}"
    except ValueError as error:
        raise CourseError(f"{form!r} is no number format ({error}); write one such as .3f or .0%.") from error
    return text.replace("-", "\u2212") if text.startswith("-") else text


def record_file(notebook: str) -> dict[str, Any]:
    """Return the full record of a notebook, by its number or its whole name."""
    path = results.RECORDS / "full" / f"{notebook.split('_')[0]}.json"
    if not path.exists():
        raise suggest(notebook, (p.stem for p in path.parent.glob("*.json")), "record")
    content = _json(path, path.stat().st_mtime_ns)
    if notebook not in (path.stem, content["notebook"]):
        raise suggest(notebook, [content["notebook"]], "record")
    return content


def result_rows(name: str, filters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of a result file that carry all the values asked for (compared as text)."""
    path = results.RESULTS / f"{name}.json"
    if not path.exists():
        raise suggest(name, (p.stem for p in results.RESULTS.glob("*.json")), "result file")
    rows = _json(path, path.stat().st_mtime_ns).get("rows", [])
    for key, wanted in filters.items():
        if not any(key in row for row in rows):
            raise suggest(key, {k for row in rows for k in row}, f"column of {name}.json")
        left = [row for row in rows if str(row.get(key)) == wanted]
        if not left:
            raise suggest(wanted, {str(row.get(key)) for row in rows}, f"{key} in {name}.json")
        rows = left
    return rows


def recorded(notebook: str, key: str) -> float:
    """Return a number of a full record.

    Args:
        key: a value's name; ``left of TEXT`` or ``right of TEXT``, a side of the claim that begins so; or ``A - B``.

    Raises:
        CourseError: no such record, value or claim.
    """
    side, of, start = key.partition(" of ")
    if of:
        return _claim([notebook, start, side])[0]
    first, minus, second = key.partition(" - ")
    if minus:
        return recorded(notebook, first) - recorded(notebook, second)
    return _record([notebook, key])[0]


def _record(words: list[str]) -> tuple[Any, str]:
    notebook, name, form = _words(words, "notebook, name", 2)
    values = record_file(notebook)["values"]
    if name not in values:
        raise suggest(name, values, f"value in the record of {notebook}")
    return values[name]["value"], form


def _claim(words: list[str]) -> tuple[Any, str]:
    notebook, start, side, form = _words(words, "notebook, first words of the claim, left, right or verdict", 3)
    claims = record_file(notebook)["claims"]
    hits = [entry for entry in claims if entry["text"].startswith(start)]
    if len(hits) != 1:
        raise suggest(start, (entry["text"] for entry in claims), f"claim of {notebook}")
    if side == "verdict":
        return VERDICTS[bool(hits[0]["open"]), bool(hits[0]["holds"])], form
    if side not in ("left", "right"):
        raise suggest(side, ("left", "right", "verdict"), "side of a claim")
    return hits[0][side], form


# (open question, holds) -> what the notebook prints of it
VERDICTS = {
    (True, True): "Yes, this time.", (True, False): "No, this time.",
    (False, True): "It holds.", (False, False): "It does not hold here.",
}  # fmt: skip


def _result(words: list[str]) -> tuple[Any, str]:
    if not words:
        raise CourseError("{{result}} names no file; write {{result FILE model=freedom metric=recall@20 .3f}}.")
    filters = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    column = filters.pop("of", "value")
    form = next((word for word in words[1:] if "=" not in word), "")
    rows = result_rows(words[0], filters)
    missing = [row for row in rows if not isinstance(row.get(column), (int, float))]
    if missing:
        raise suggest(column, missing[0], f"number in a row of {words[0]}.json (write of=COLUMN)")
    _one_kind(words[0], rows, column)
    return sum(row[column] for row in rows) / len(rows), form


def _one_kind(name: str, rows: list[dict[str, Any]], column: str) -> None:
    """Refuse a mean over rows that differ in more than their seed, its hashes and their measured numbers."""
    for key in rows[0]:
        kinds = {str(row.get(key)) for row in rows}
        words = all(isinstance(row.get(key), str) for row in rows)
        if key not in ("seed", "input", "code", column) and words and len(kinds) > 1:
            raise CourseError(f"The rows of {name}.json differ in {key} ({', '.join(sorted(kinds)[:4])}); choose one.")


def _published(words: list[str]) -> tuple[Any, str]:
    from utils.evaluation import published

    dataset, model, metric, form = _words(words, "dataset, model, metric", 3)
    for frame in (published.tors_table(), published.split_table()):
        rows = frame[(frame["dataset"] == dataset) & (frame["model"] == model)]
        if len(rows) and metric in frame:
            return rows[metric].iloc[0], form
    known = (f"{d} {m} recall" for d, m in published.tors_table()[["dataset", "model"]].itertuples(index=False))
    raise suggest(f"{dataset} {model} {metric}", known, "published figure")


def _value(words: list[str]) -> tuple[Any, str]:
    name, form = _words(words, "name", 1)
    if name not in VALUES:
        raise suggest(name, VALUES, "value")
    return VALUES[name](), form


KINDS = {"record": _record, "claim": _claim, "result": _result, "published": _published, "value": _value}


def _words(words: list[str], what: str, n: int) -> list[str]:
    if not n <= len(words) <= n + 1:
        raise CourseError(f"A placeholder needs {what}, and then a format; it has {' '.join(words)!r}.")
    return [*words, ""][: n + 1]


@lru_cache(maxsize=64)
def _json(path: Path, changed: int) -> dict[str, Any]:
    """Read a file once for each of its versions (``changed`` is its time stamp)."""
    return json.loads(path.read_text(encoding="utf-8"))


# ---- below: numbers that are counted when the deck is built ---------------------------------------------------------


@lru_cache(maxsize=1)
def shop() -> Any:
    """The Sticker Shop."""
    from utils.data import load_dataset

    return load_dataset("sticker_shop")


@value
def shop_items() -> int:
    return shop().n_items


@value
def movielens_users_in_time() -> int:
    """Test users of the stored benchmark on MovieLens whose test part is the last in time."""
    from utils.studies.fair_evaluation import stored_tests

    return int(stored_tests({"in time": "movielens_temporal_global"})["n_users"].iloc[0])


@value
def shop_users() -> int:
    return shop().n_users


@value
def shop_interactions() -> int:
    return shop().n_interactions


@value
def shop_share_with_sound() -> float:
    return float((shop().items["audio"] != "").mean())


@value
def shop_empty() -> float:
    """Share of the cells of users x items without an interaction."""
    return 1 - shop().n_interactions / (shop().n_users * shop().n_items)


@value
def n_models() -> int:
    """Recommenders that the course has."""
    from utils.models import MODELS

    return len(MODELS)
