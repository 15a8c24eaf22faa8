"""Download item pictures from the addresses in a catalogue, at a limited rate and each only once.

Few connections, a pause between requests, one shared pause for all of them when the server says 429 or 5xx (as long as
its Retry-After asks), a ledger ``images.tsv`` that says of every item what came of it, and files that are whole pictures
or absent. Stopped at any point, the next call asks for what is missing and not again for what is gone.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from PIL import Image

from utils.data.pictures import FORMATS, image_problem
from utils.errors import CourseError
from utils.network.download import DownloadError, RetryPolicy, fetch

OK, GONE, WRONG, FAILED, NOT_ASKED = "ok", "gone", "not a picture", "failed", "not asked"
SETTLED = (OK, GONE, WRONG)  # not asked for again; "failed" is
COLUMNS = ("item", "status", "file", "url", "detail")
MAX_BYTES = 20_000_000
SMALLEST = 8  # pixels; one-pixel pictures stand for "no picture"
_PLAIN_NAME = re.compile(r"[A-Z0-9_-]{5,64}")
_ENDING = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}


@dataclass(frozen=True)
class RateLimit:
    """How fast pictures are asked for: connections, seconds between two requests, tries, pauses, and when to give up.

    Attributes:
        connections: requests under way at once.
        interval: seconds between the starts of two requests, over all connections.
        tries: tries per picture when the server is busy.
        pause: seconds of the shared pause after 429 or 5xx without Retry-After; it doubles with each in a row.
        longest: a longer Retry-After than this ends the run (what came stays).
        max_failures: so many pictures in a row that fail (not: are gone) end the run.
        timeout: seconds without a byte.
    """

    connections: int = 4
    interval: float = 0.1
    tries: int = 3
    pause: float = 5.0
    longest: float = 300.0
    max_failures: int = 25
    timeout: float = 20.0


@dataclass
class ImageReport:
    """What came of the pictures: ``counts`` by status, ``files`` item -> path inside the dataset's folder."""

    counts: dict[str, int]
    files: dict[str, str]
    asked: int
    stopped: str = ""
    problems: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(COLUMNS)))

    def __str__(self) -> str:
        facts = ", ".join(f"{count:,} {status}" for status, count in self.counts.items() if count)
        return f"pictures: {facts or 'none named'}" + (f"; stopped: {self.stopped}" if self.stopped else "")


class _Stop(Exception):
    """The server asks for a longer wait than the limit allows, or the run ends."""


class _Pace:
    """One clock for all connections: requests start ``interval`` apart, and never before a shared pause has ended."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit, self.lock = limit, threading.Lock()
        self.next, self.busy, self.halted = 0.0, 0, threading.Event()

    def turn(self) -> None:
        """Wait until this connection may send its request; a pause that is announced meanwhile counts, too."""
        while not self.halted.is_set():
            with self.lock:
                left = self.next - time.monotonic()
                if left <= 0:
                    self.next = time.monotonic() + self.limit.interval
                    return
            self.halted.wait(left)
        raise _Stop("stopped")

    def pause(self, asked: float) -> None:
        """Make all connections wait: the server answered 429 or 5xx, and asked for so many seconds (0: did not say)."""
        with self.lock:
            self.busy += 1
            seconds = asked or self.limit.pause * 2 ** min(self.busy - 1, 6)
            self.next = max(self.next, time.monotonic() + min(seconds, self.limit.longest))
        if seconds > self.limit.longest:
            raise _Stop(f"the server asks to wait {seconds / 60:,.0f} minutes; run the same command after that")

    def well(self) -> None:
        """Note a good answer: the next pause is a short one again."""
        with self.lock:
            self.busy = 0


def fetch_images(
    addresses: Iterable[tuple[str, list[str]]],
    folder: Path,
    *,
    max_images: int | None = None,
    rate_limit: RateLimit | None = None,
    progress: bool = False,
) -> ImageReport:
    """Have a picture of each item in ``folder/images``.

    Args:
        addresses: (item id, addresses of the same picture in the order to try, at most two of which are tried).
        folder: the dataset's folder; the ledger is ``folder/images.tsv``.
        max_images: ask for so many pictures at most in this call (None: all).
        rate_limit: how to ask.
        progress: show a bar.

    Returns:
        The report; pictures of earlier calls are in it.

    Raises:
        CourseError: no network at all, or the disk is full. What came before stays.
    """
    limit = rate_limit or RateLimit()
    folder.mkdir(parents=True, exist_ok=True)
    ledger = _Ledger(folder)
    wanted = [(item, urls[:2]) for item, urls in addresses]
    todo = [(item, urls) for item, urls in wanted if urls and not ledger.settled(item)]
    waiting = todo[: max_images if max_images is not None else len(todo)]
    stopped = _run(waiting, folder, ledger, limit, progress)
    counts: Counter[str] = Counter()
    for item, urls in wanted:
        known = ledger.rows.get(item)
        counts[known[1] if known else (NOT_ASKED if urls else "without an address")] += 1
    items = {item for item, _ in wanted}
    files = {item: row[2] for item, row in ledger.rows.items() if item in items and row[1] == OK}
    rest = [row for item, row in ledger.rows.items() if item in items and row[1] != OK]
    problems = pd.DataFrame(rest, columns=list(COLUMNS))
    return ImageReport(dict(counts), files, len(waiting), stopped, problems)


def _run(
    todo: list[tuple[str, list[str]]], folder: Path, ledger: _Ledger, limit: RateLimit, progress: bool
) -> str:  # fmt: skip
    """Work through the list; return why it ended early, "" when it did not."""
    pace, stopped, in_a_row = _Pace(limit), "", 0
    queue = iter(todo)
    bar = _bar(len(todo)) if progress and todo else None
    with ThreadPoolExecutor(limit.connections) as pool:
        under_way: set[Future] = set()
        try:
            while True:
                while len(under_way) < 2 * limit.connections and not stopped:
                    entry = next(queue, None)
                    if entry is None:
                        break
                    under_way.add(pool.submit(_one, *entry, folder, pace, limit))
                if not under_way:
                    return stopped
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    try:
                        row = future.result()
                    except _Stop as stop:
                        stopped = stopped or str(stop)
                        pace.halted.set()
                        continue
                    ledger.add(row)
                    in_a_row = in_a_row + 1 if row[1] == FAILED else 0
                    if bar is not None:
                        bar.update()
                    if in_a_row >= limit.max_failures and not stopped:
                        stopped = f"{in_a_row} pictures in a row failed ({row[4]}); run the same command later"
                        pace.halted.set()
        finally:  # also Ctrl-C: nobody starts another request
            pace.halted.set()
            for future in under_way:
                future.cancel()
            ledger.close()
            if bar is not None:
                bar.close()


def _one(item: str, urls: list[str], folder: Path, pace: _Pace, limit: RateLimit) -> tuple[str, ...]:
    """Fetch one picture; return its row of the ledger."""
    incoming = folder / "images" / f".incoming-{_file_name(item)}"
    last = (item, FAILED, "", urls[0], "not tried")
    for url in urls:
        for attempt in range(limit.tries):
            pace.turn()
            try:
                policy = RetryPolicy(timeout=limit.timeout, attempts=1, longest=limit.longest)
                fetch(url, incoming, max_bytes=MAX_BYTES, receipt=False, retry=policy)
                pace.well()
                return (item, *_keep(item, incoming, folder, url))
            except DownloadError as error:
                last = (item, GONE if error.gone else FAILED, "", url, _short(error))
                if error.gone:
                    pace.well()
                    break
                if error.offline:
                    break
                if error.status in (429, 500, 502, 503, 504):
                    pace.pause(error.wait)
                elif attempt == 0 and not error.status:
                    continue  # a cut or a time-out: once more
                else:
                    break
            finally:
                for ending in ("", ".part", ".part.json"):
                    incoming.with_name(incoming.name + ending).unlink(missing_ok=True)
    return last


def _keep(item: str, incoming: Path, folder: Path, url: str) -> tuple[str, str, str, str]:
    """Check a picture and give it its name; (status, file, url, detail)."""
    problem = image_problem(incoming)
    if problem:
        return WRONG, "", url, problem
    with Image.open(incoming, formats=FORMATS) as image:
        width, height, kind = *image.size, image.format or ""
    if min(width, height) < SMALLEST:
        return WRONG, "", url, f"a placeholder of {width} x {height} pixels"
    file = f"images/{_file_name(item)}{_ENDING.get(kind, '.img')}"
    incoming.replace(folder / file)
    return OK, file, url, f"{width} x {height}"


def _file_name(item: str) -> str:
    """An id as a file name: itself when that is safe on every system (capitals and digits), else its hash."""
    return item if _PLAIN_NAME.fullmatch(item) else hashlib.sha256(item.encode("utf-8", "replace")).hexdigest()[:20]


def _short(error: Exception) -> str:
    return " ".join(str(error).split("; ")[0].split())[:120]


class _Ledger:
    """``images.tsv``: one row per answer, the last one of an item counts; written at once, so that a stop loses nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "images.tsv"
        self.rows: dict[str, tuple[str, ...]] = {}
        whole = True
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
                row = tuple(line.rstrip("\n").split("\t"))
                whole = line.endswith("\n")
                if whole and len(row) == len(COLUMNS) and row[0] != COLUMNS[0]:
                    self.rows[row[0]] = row
        try:
            self.file = open(self.path, "a", encoding="utf-8", newline="\n")
            if not self.rows and not self.path.stat().st_size:
                self.file.write("\t".join(COLUMNS) + "\n")
            elif not whole:  # the machine stopped in the middle of a row
                self.file.write("\n")
        except OSError as error:
            raise CourseError(f"Cannot write {self.path}: {error.strerror}; choose a folder you may write.") from error

    def settled(self, item: str) -> bool:
        """Whether there is nothing to ask: the picture is there, or it is known to be gone."""
        row = self.rows.get(item)
        return bool(row) and row[1] in SETTLED and (row[1] != OK or (self.folder / row[2]).is_file())

    def add(self, row: tuple[str, ...]) -> None:
        plain = tuple(" ".join(value.split()) if "\t" in value or "\n" in value else value for value in row)
        self.rows[plain[0]] = plain
        self.file.write("\t".join(plain) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def _bar(total: int):
    from tqdm.auto import tqdm

    return tqdm(desc="pictures", total=total, unit="", leave=False)
