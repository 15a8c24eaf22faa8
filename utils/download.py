"""Room "Which?" (for any room): get one file over the network so that it is whole, checked and resumable, or absent.

A file arrives under ``NAME.part`` beside its target, with ``NAME.part.json`` saying which version of it this is. It is
renamed when its length, its checksum (where the publisher gives one) and its structure (gzip, zip) agree, and a receipt
``NAME.receipt.json`` is written. Killed at any point, the next call goes on where it stopped (HTTP Range, If-Range).
"""

from __future__ import annotations

import email.utils
import errno
import hashlib
import http.client
import json
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from utils.archives import check_gzip, check_zip
from utils.errors import CourseError
from utils.files import write_json

AGENT = "multimodal-recsys-course/0.1 (teaching; one file at a time)"
AGAIN = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one later
MAGIC = {"gzip": b"\x1f\x8b", "zip": b"PK"}
BLOCK = 1 << 16


class DownloadError(CourseError):
    """A file could not be had.

    Attributes:
        status: the HTTP status, 0 when there was none.
        gone: asking again is useless (404, 410, 403, no such file).
        offline: no server was reached at all.
        wait: seconds that the server asked to wait, 0 when it did not.
    """

    def __init__(
        self, message: str, *, status: int = 0, gone: bool = False, offline: bool = False, wait: float = 0
    ) -> None:
        super().__init__(message)
        self.status, self.gone, self.offline, self.wait = status, gone, offline, wait


class _Again(Exception):
    """This attempt failed in a way that another one may not; ``wait`` is what the server asked for (None: nothing)."""

    def __init__(self, reason: str, wait: float | None = None, status: int = 0, offline: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.status, self.offline = reason, wait, status, offline


@dataclass(frozen=True)
class Patience:
    """How long to wait for what (seconds), and how often to try.

    Attributes:
        timeout: without a single byte, an attempt ends.
        attempts: tries in a row that bring nothing new; a try that brings bytes starts the count again.
        pause: before the second try; it doubles each time.
        longest: the longest wait, also when the server asks for more: then the message says so.
        slowest, window: an attempt slower than ``slowest`` bytes per second over ``window`` seconds ends.
        sleep: what waits (tests replace it).
    """

    timeout: float = 30.0
    attempts: int = 5
    pause: float = 2.0
    longest: float = 300.0
    slowest: float = 200.0
    window: float = 60.0
    sleep: Callable[[float], None] = time.sleep


def fetch(
    urls: str | Sequence[str],
    target: str | Path,
    *,
    kind: str = "",
    size: int | None = None,
    md5: str = "",
    sha256: str = "",
    max_bytes: int | None = None,
    receipt: bool = True,
    progress: bool = False,
    patience: Patience | None = None,
) -> dict[str, Any]:
    """Have one file on the disk, whole; return its receipt.

    A target that is there already is checked (against its receipt, or as if it had just come) and not asked for again,
    so a file that you put there by hand counts, too.

    Args:
        urls: one address, or several of the same file (mirrors, in the order to try).
        target: where it goes; its folder is made.
        kind: "gzip" or "zip" to check the structure, "" for anything.
        size, md5, sha256: what the publisher states, when it does; of the SHA-256 its beginning is enough.
        max_bytes: refuse a larger file.
        receipt: write ``NAME.receipt.json`` (many small files do without).
        progress: show a bar.
        patience: waits and tries.

    Returns:
        url, bytes, sha256, etag, modified, checked (what was compared), resumed (bytes that an earlier try had left).

    Raises:
        DownloadError: no network, no such file, a server that keeps failing, a file that is not what it should be.
        CourseError: the disk is full.
    """
    target = Path(target)
    addresses = (urls,) if isinstance(urls, str) else tuple(urls)
    job = _Job(target, kind, size, md5, sha256, max_bytes, receipt, progress, patience or Patience())
    ready = job.ready()
    if ready:
        return ready
    first: DownloadError | None = None
    for url in addresses:
        try:
            return job.get(url)
        except DownloadError as error:
            first = first or error
            if error.offline and len(addresses) == 1:
                break
    raise first or CourseError(f"No address is known for {target.name}; put the file at {target} by hand.")


@dataclass(frozen=True)
class _Job:
    """One file that is wanted; see :func:`fetch`."""

    target: Path
    kind: str
    size: int | None
    md5: str
    sha256: str
    max_bytes: int | None
    receipt: bool
    progress: bool
    patience: Patience

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def state(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    @property
    def receipt_path(self) -> Path:
        return self.target.with_name(self.target.name + ".receipt.json")

    def ready(self) -> dict[str, Any] | None:
        """The receipt of a file that is there and whole, None when there is none.

        Raises:
            DownloadError: there is a file, and it is damaged.
        """
        if not self.target.is_file():
            return None
        known = _read_json(self.receipt_path)
        found = _digests(self.target)
        if known and known.get("sha256") == found["sha256"]:
            return known
        if known:
            raise DownloadError(
                f"{self.target} is not the file that was downloaded (it changed since); delete it and run again."
            )
        checked = self.check(self.target, found)
        return self._write_receipt({"url": "", **found, "checked": checked, "resumed": 0})

    def get(self, url: str) -> dict[str, Any]:
        """Fetch from one address, trying again while it makes sense."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        before, tries = _length(self.part) if _read_json(self.state).get("url") == url else 0, 0
        resumed = before
        while True:
            try:
                facts = self._transfer(url)
                break
            except _Again as again:
                now = _length(self.part)
                tries = 1 if now > before else tries + 1
                before = max(before, now)
                self._wait_or_stop(url, again, tries)
            except OSError as error:
                raise _disk(self.target, error) from error
        found = _digests(self.part)
        try:
            checked = self.check(self.part, found)
        except CourseError:
            self._forget()  # a file that is wrong is no start for the next try
            raise
        try:
            self.part.replace(self.target)
        except OSError as error:
            raise _disk(self.target, error) from error
        self._forget()
        return self._write_receipt({**facts, **found, "checked": checked, "resumed": resumed})

    def check(self, path: Path, found: dict[str, Any]) -> list[str]:
        """Compare a file with all that is known of it; return what was compared.

        Raises:
            DownloadError: one thing does not agree; the message names it.
        """
        name, done = self.target.name, []
        for what, wanted in (("bytes", self.size), ("md5", self.md5), ("sha256", self.sha256)):
            if wanted:
                if found[what] != wanted and not (what == "sha256" and found[what].startswith(wanted.lower())):
                    raise DownloadError(
                        f"{name} has {what} {found[what]} and the publisher states {wanted}: it was damaged on the "
                        "way, or the publisher changed it; run again, and if it stays so, look at the publisher's page."
                    )
                done.append(what)
        if self.kind:
            {"gzip": check_gzip, "zip": check_zip}[self.kind](path)
            done.append(self.kind)
        return done

    def _transfer(self, url: str) -> dict[str, Any]:
        """One attempt: ask for the bytes that are missing, append them. Returns what the server said of the file."""
        state = _read_json(self.state)
        have = _length(self.part) if state.get("url") == url and state.get("total") else 0
        if have and have == state["total"]:
            return {key: state.get(key) for key in ("url", "etag", "modified")}
        with self._open(url, have, state) as response:
            facts = _facts(url, response)
            if response.status == 206:
                start, facts["total"] = _content_range(response)
                same = all(facts[key] == state.get(key) for key in ("etag", "modified", "total"))
                if start != have or not same:
                    self._forget()
                    raise _Again("the file changed on the server between two parts", wait=0)
            elif response.status != 200:
                raise DownloadError(
                    f"{urlsplit(url).hostname} answers {response.status} for {self.target.name}; "
                    f"try later, or put the file at {self.target} by hand.",
                    status=response.status,
                )
            else:
                have = 0
                self._forget()
                self._judge(facts["total"])
                _write_state(self.state, facts)
            self._check_room((facts["total"] or 0) - have)
            self._append(url, response, have, facts["total"])
        return {key: facts[key] for key in ("url", "etag", "modified")}

    def _open(self, url: str, have: int, state: dict[str, Any]) -> http.client.HTTPResponse:
        """Send the request; every kind of failure becomes `_Again` or a `DownloadError`."""
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            version = state.get("etag") if not str(state.get("etag") or "W/").startswith("W/") else state["modified"]
            if version:  # another version of the file: the server sends all of it instead of a part
                headers["If-Range"] = version
        try:
            request = urllib.request.Request(url, headers=headers)
            return _OPENER.open(request, timeout=self.patience.timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and have:
                    self._forget()
                    raise _Again("the part on the disk does not fit the file on the server", wait=0) from None
                raise self._refusal(url, error) from None
        except urllib.error.URLError as error:
            raise _again_of(error.reason) from None
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise _again_of(error) from None
        except ValueError as error:
            raise DownloadError(f"{url!r} is no address of a file ({error}); correct it.", gone=True) from None

    def _refusal(self, url: str, error: urllib.error.HTTPError) -> Exception:
        host, code = urlsplit(url).hostname, error.code
        if code in AGAIN:
            wait = _retry_after(error.headers.get("Retry-After"))
            return _Again(f"{host} answers {code} ({error.reason})", wait=wait, status=code)
        if 300 <= code < 400:
            reason = " ".join(str(error.msg).split())
            return DownloadError(
                f"{host} sends {self.target.name} round in circles or to a place that is not safe ({code}: {reason}); "
                f"put the file at {self.target} by hand.",
                status=code,
                gone=True,
            )
        what = {404: "no such file", 410: "gone for good", 401: "a login is needed", 403: "not allowed"}
        return DownloadError(
            f"{host} answers {code} for {self.target.name} ({what.get(code, error.reason)}); look at the publisher's "
            f"page for its new place, and put the file at {self.target} by hand.",
            status=code,
            gone=400 <= code < 500,
        )

    def _append(self, url: str, response: http.client.HTTPResponse, have: int, total: int | None) -> None:
        """Copy the body behind what is there, watching its start, its length and its speed."""
        bar = _bar(self.target.name, have, total) if self.progress else None
        started, mark = time.monotonic(), have
        try:
            with open(self.part, "ab" if have else "wb") as file:
                while total is None or have < total:
                    block = response.read1(BLOCK if total is None else min(BLOCK, total - have))
                    if not block:
                        break
                    if not have:
                        self._check_start(block, response)
                    have += len(block)
                    self._judge(have)
                    file.write(block)
                    if bar is not None:
                        bar.update(len(block))
                    if time.monotonic() - started > self.patience.window:
                        if have - mark < self.patience.slowest * self.patience.window:
                            raise _Again(f"{urlsplit(url).hostname} is slower than {self.patience.slowest:g} bytes/s")
                        started, mark = time.monotonic(), have
        except OSError as error:  # a full disk is one, a broken connection is another
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise
            raise _again_of(error) from None
        except http.client.HTTPException as error:
            raise _again_of(error) from None
        finally:
            if bar is not None:
                bar.close()
        if total is not None and have < total:
            raise _Again(f"the connection was cut after {have:,} of {total:,} bytes")
        if not have:
            raise _Again("the answer is empty")

    def _check_start(self, block: bytes, response: http.client.HTTPResponse) -> None:
        """A web page (a login, an error, a portal of the network) instead of the file."""
        page = block.lstrip()[:15].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))
        wanted = MAGIC.get(self.kind)
        if page or (wanted and len(block) >= len(wanted) and not block.startswith(wanted)):
            got = "a web page" if page else f"something else ({response.headers.get('Content-Type', 'unknown type')})"
            raise DownloadError(
                f"{urlsplit(response.url).hostname} sent {got} instead of {self.target.name}; a network that asks for a "
                f"login does this, or the file moved: open the address in a browser, put the file at {self.target}."
            )

    def _judge(self, length: int | None) -> None:
        if length and self.max_bytes and length > self.max_bytes:
            raise DownloadError(
                f"{self.target.name} is larger than the {self.max_bytes:,} bytes allowed for it; it is left out.",
                gone=True,
            )
        if length and self.size and length > self.size:
            raise DownloadError(
                f"{self.target.name} has {length:,} bytes on the server and the publisher states {self.size:,}; the "
                "publisher changed the file: look at its page."
            )

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.target.parent).free
        if needed > free:
            raise CourseError(
                f"{self.target.name} needs {needed / 1e6:,.0f} MB more and {self.target.parent} has {free / 1e6:,.0f} "
                "MB free; free some space and run again (what was fetched is kept)."
            )

    def _wait_or_stop(self, url: str, again: _Again, tries: int) -> None:
        host, patience = urlsplit(url).hostname, self.patience
        if tries >= patience.attempts:
            kept = f"; {_length(self.part):,} bytes are kept" if _length(self.part) else ""
            if again.offline:
                raise DownloadError(
                    f"Cannot reach {host} ({again.reason}): there seems to be no network; connect and run the same "
                    f"command again, or put {self.target.name} at {self.target} by hand{kept}.",
                    offline=True,
                )
            raise DownloadError(
                f"Cannot get {self.target.name} from {host}: {again.reason}, {tries} times in a row; run the same "
                f"command again later and it goes on{kept}.",
                status=again.status,
                wait=again.wait or 0,
            )
        wait = patience.pause * 2 ** (tries - 1) if again.wait is None else again.wait
        if wait > patience.longest:
            raise DownloadError(
                f"{host} asks to wait {wait / 60:,.0f} minutes before it sends {self.target.name}; run the same command "
                "again after that.",
                status=again.status,
                wait=wait,
            )
        if wait:
            patience.sleep(wait)

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def _write_receipt(self, facts: dict[str, Any]) -> dict[str, Any]:
        if self.receipt:
            write_json(self.receipt_path, facts)
        return facts


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a few redirects, only to web addresses, and never from a safe connection to an open one."""

    max_redirections = 5
    max_repeats = 2

    def redirect_request(self, request, file, code, message, headers, new_url):
        old, new = urlsplit(request.full_url).scheme, urlsplit(new_url).scheme
        if new not in ("http", "https") or (old == "https" and new == "http"):
            raise urllib.error.HTTPError(new_url, code, f"redirect from {old} to {new}", headers, file)
        return super().redirect_request(request, file, code, message, headers, new_url)


_OPENER = urllib.request.build_opener(_Redirects)


def text_of(url: str, patience: Patience | None = None, max_bytes: int = 100_000) -> str:
    """Return a small text file, for example a publisher's checksum; "" when it cannot be had."""
    waits = patience or Patience()
    request = urllib.request.Request(url, headers={"User-Agent": AGENT})
    try:
        with _OPENER.open(request, timeout=waits.timeout) as response:
            return response.read(max_bytes).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, ValueError):
        return ""


def find_md5(text: str) -> str:
    """The MD5 in a checksum file, however it is written (``MD5 (name) = ...`` or ``... name``), "" without one."""
    found = re.search(r"\b[0-9a-fA-F]{32}\b", text)
    return found.group().lower() if found else ""


def _again_of(error: object) -> _Again:
    """Say in few words what broke a connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _Again("its certificate cannot be checked, is your clock right?")
    if isinstance(error, TimeoutError):
        return _Again("no answer in time")
    if isinstance(error, socket.gaierror):
        return _Again("its name cannot be looked up", offline=True)
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        return _Again("the network is down", offline=True)
    if isinstance(error, ConnectionRefusedError):
        return _Again("it refuses the connection", offline=True)
    if isinstance(error, (http.client.IncompleteRead, ConnectionError, http.client.HTTPException)):
        return _Again("the connection was cut")
    return _Again(" ".join(str(error).split()) or type(error).__name__)


def _disk(target: Path, error: OSError) -> CourseError:
    return CourseError(
        f"Cannot write {target}: {error.strerror or error}; free some space (or choose a folder you may write) and run "
        "again: what was fetched is kept."
    )


def _facts(url: str, response: http.client.HTTPResponse) -> dict[str, Any]:
    length = response.headers.get("Content-Length", "")
    return {
        "url": url,
        "etag": response.headers.get("ETag", ""),
        "modified": response.headers.get("Last-Modified", ""),
        "total": int(length) if length.isdigit() else None,
    }


def _content_range(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Start and whole length of a 206 answer, (-1, None) when it does not say."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", "").strip())
    return (int(found[1]), int(found[2])) if found else (-1, None)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None without one."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _digests(path: Path) -> dict[str, Any]:
    """Length, MD5 (publishers state it; it guards against accidents only) and SHA-256 of a file, read once."""
    md5, sha = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    length = 0
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            length += len(block)
            md5.update(block)
            sha.update(block)
    return {"bytes": length, "md5": md5.hexdigest(), "sha256": sha.hexdigest()}


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write_state(path: Path, facts: dict[str, Any]) -> None:
    """Say which version of the file the part belongs to, before its first byte."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(facts), encoding="utf-8")
    temporary.replace(path)


def _bar(name: str, have: int, total: int | None):
    from tqdm.auto import tqdm

    return tqdm(desc=name, initial=have, total=total, unit="B", unit_scale=True, leave=False)
