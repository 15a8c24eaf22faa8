"""Download one file so that it is whole, checked and resumable, or absent.

A file arrives under ``NAME.part`` beside its target, with ``NAME.part.json`` saying which version of it this is. It is
renamed when its length, its checksum (where the publisher gives one) and its structure (gzip, zip) agree, and a receipt
``NAME.receipt.json`` is written. Killed at any point, the next call goes on where it stopped (HTTP Range, If-Range).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import re
import shutil
import socket
import ssl
import string
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError
from urllib3.util.retry import RequestHistory, Retry

from utils.errors import CourseError
from utils.files import write_json
from utils.network.archives import check_gzip, check_zip

HEADERS = {"User-Agent": "multimodal-recsys-course/0.1 (teaching; one file at a time)", "Accept-Encoding": "identity"}
AGAIN = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one later
REFUSED = {404: "no such file", 410: "gone for good", 401: "a login is needed", 403: "not allowed"}
MAX_REDIRECTS = 5
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


class _WrongFile(DownloadError):
    """What comes is not the file that was asked for, so that nothing of it is kept for the next try."""


class _Again(DownloadError):
    """This attempt failed in a way that another one may not; the message is only the reason."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for what (seconds), and how often to try.

    Attributes:
        timeout: an attempt ends when so long no byte comes, or the head of the answer is not complete.
        attempts: tries in a row that bring nothing new; a try that brings bytes starts the count again.
        pause: before the second try; it doubles each time.
        longest: the longest wait; when the server asks for more, the message says so.
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
    retry: RetryPolicy | None = None,
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
        retry: waits and tries.

    Returns:
        url, bytes, sha256, etag, modified, checked (what was compared), resumed (bytes that an earlier try had left).

    Raises:
        DownloadError: no network, no such file, a server that keeps failing, a file that is not what it should be.
        CourseError: the disk is full.
    """
    target = Path(target)
    addresses = (urls,) if isinstance(urls, str) else tuple(urls)
    job = _Job(target, kind, size, md5, sha256, max_bytes, receipt, progress, retry or RetryPolicy())
    if ready := job.ready():
        return ready
    first: DownloadError | None = None
    for url in addresses:
        try:
            return job.get(url)
        except DownloadError as error:
            first = first or error
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
    policy: RetryPolicy

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
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            most = resumed = self._have(url)
            left = _tries(self.policy)
            while True:
                try:
                    facts = self._transfer(url)
                    break
                except _Again as again:
                    left = _tries(self.policy) if self._have(url) > most else left
                    most = max(most, self._have(url))
                    left = self._wait_or_stop(url, again, left)
            found = _digests(self.part)
            checked = self.check(self.part, found)
            self.part.replace(self.target)
        except _WrongFile:
            self._forget()
            raise
        except OSError as error:
            raise CourseError(
                f"Cannot write {self.target}: {error.strerror or error}; free some space (or choose a folder you may "
                "write) and run again: what was fetched is kept."
            ) from error
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
                    raise _WrongFile(
                        f"{name} has {what} {found[what]} and the publisher states {wanted}: it was damaged on the "
                        "way, or the publisher changed it; run again, and if it stays so, look at the publisher's page."
                    )
                done.append(what)
        if self.kind:
            try:
                {"gzip": check_gzip, "zip": check_zip}[self.kind](path)
            except CourseError as error:
                raise _WrongFile(str(error)) from error
            done.append(self.kind)
        return done

    def _have(self, url: str) -> int:
        """Bytes on the disk that a try can go on from: of this address, and of a known version."""
        state = _read_json(self.state)
        return _length(self.part) if state.get("url") == url and state.get("total") else 0

    def _transfer(self, url: str) -> dict[str, Any]:
        """One attempt: ask for the bytes that are missing, append them. Returns what the server said of the file."""
        state, have = _read_json(self.state), self._have(url)
        if have and have == state["total"]:
            return {key: state.get(key) for key in ("url", "etag", "modified")}
        headers = dict(HEADERS)
        if have:
            headers["Range"] = f"bytes={have}-"
            version = state.get("etag") if not str(state.get("etag") or "W/").startswith("W/") else state["modified"]
            if version:  # another version of the file: the server sends all of it instead of a part
                headers["If-Range"] = version
        with contextlib.closing(_Adapter()) as adapter, self._open(adapter, url, headers) as response:
            start, facts = _facts(url, response)
            code = response.status_code
            if have and (code == 416 or (code == 206 and (start, facts) != (have, state))):
                self._forget()
                raise _Again("the file changed on the server between two parts")
            if code == 200:
                have = 0
                self._forget()
                self._judge(facts["total"])
                write_json(self.state, facts)
            elif code != 206 or not have:
                raise self._refusal(url, response)
            self._check_room((facts["total"] or 0) - have)
            self._append(response, have, facts)
        return {key: facts[key] for key in ("url", "etag", "modified")}

    def _open(self, adapter: HTTPAdapter, url: str, headers: dict[str, str]) -> requests.Response:
        """Send the request, following a few redirects to web addresses only; the body is not read yet.

        Raises:
            DownloadError: no address of the web, or redirects in circles or from a safe connection to an open one.
            _Again: no answer.
        """
        old, place = "", url
        try:
            for _ in range(1 + MAX_REDIRECTS):
                if not re.match("https://" if old.lower().startswith("https:") else "https?://", place, re.IGNORECASE):
                    break
                request = requests.Request("GET", place, headers).prepare()
                proxies = requests.utils.get_environ_proxies(place)
                response = adapter.send(request, stream=True, timeout=self.policy.timeout, proxies=proxies)
                if not response.is_redirect:
                    return response
                response.close()
                old, place = place, urljoin(place, quote(response.headers["Location"], string.punctuation, "latin-1"))
        except ValueError as error:
            raise DownloadError(
                f"Nothing can be asked of {place[:200]!r} ({error}); correct the address, or put the file at {self.target} "
                "by hand.",
                gone=True,
            ) from None
        except (requests.RequestException, HTTPError) as error:
            words, offline = _why(error)
            raise _Again(words, offline=offline) from None
        if not old:
            raise DownloadError(f"{url!r} is no address of a file on the web; correct it.", gone=True)
        raise DownloadError(
            f"{urlsplit(url).hostname} sends {self.target.name} round in circles or to a place that is not safe "
            f"({response.status_code}: {place[:200]}); put the file at {self.target} by hand.",
            status=response.status_code,
            gone=True,
        )

    def _refusal(self, url: str, response: requests.Response) -> Exception:
        host, code = urlsplit(url).hostname, response.status_code
        if code in AGAIN:
            wait = _retry_after(response.headers.get("Retry-After", ""))
            return _Again(f"{host} answers {code} ({response.reason})", status=code, wait=wait)
        return DownloadError(
            f"{host} answers {code} for {self.target.name} ({REFUSED.get(code, response.reason)}); look at the "
            f"publisher's page for its new place, and put the file at {self.target} by hand.",
            status=code,
            gone=300 <= code < 500,
        )

    def _wait_or_stop(self, url: str, again: _Again, left: Retry) -> Retry:
        """Count a failed attempt and wait before the next one; returns the tries that are left then."""
        host, name, tries = urlsplit(url).hostname, self.target.name, self.policy.attempts
        kept = f"; {_length(self.part):,} bytes are kept" if _length(self.part) else ""
        try:
            left = left.increment("GET", url, error=again)
            if again.wait <= self.policy.longest:
                self.policy.sleep(again.wait or left.get_backoff_time())
                return left
            minutes = f"{again.wait / 60:,.0f} minutes"
            message = (
                f"{host} asks to wait {minutes} before it sends {name}; run the same command again after that{kept}."
            )
        except MaxRetryError:
            message = (
                f"Cannot reach {host} ({again}): there seems to be no network; connect and run the same command again, "
                f"or put {name} at {self.target} by hand{kept}."
                if again.offline
                else f"Cannot get {name} from {host}: {again}, {tries} times in a row; run the same command again later "
                f"and it goes on{kept}."
            )
        raise DownloadError(message, **vars(again)) from None

    def _append(self, response: requests.Response, have: int, facts: dict[str, Any]) -> None:
        """Copy the body behind what is there, watching its start, its length and its speed."""
        host, total = urlsplit(response.url).hostname, facts["total"]
        bar = _bar(self.target.name, have, total) if self.progress else None
        started, mark = time.monotonic(), have
        try:
            with open(self.part, "ab" if have else "wb") as file:
                while total is None or have < total:
                    wanted = BLOCK if total is None else min(BLOCK, total - have)
                    block = response.raw.read1(wanted, decode_content=False)
                    if not block:
                        break
                    if not have:
                        self._check_start(block, response, facts["encoding"])
                    have += len(block)
                    self._judge(have)
                    file.write(block)
                    if bar is not None:
                        bar.update(len(block))
                    if time.monotonic() - started > self.policy.window:
                        if have - mark < self.policy.slowest * self.policy.window:
                            raise _Again(f"{host} is slower than {self.policy.slowest:g} bytes/s")
                        started, mark = time.monotonic(), have
        except HTTPError as error:
            raise _Again(f"{_why(error)[0]} after {have:,} bytes") from None
        finally:
            if bar is not None:
                bar.close()
        if total is not None and have < total:
            raise _Again(f"the connection was cut after {have:,} of {total:,} bytes")
        if not have:
            raise _Again("the answer is empty")

    def _check_start(self, block: bytes, response: requests.Response, encoding: str) -> None:
        """Refuse a web page (a login, an error, a portal of the network), or what the server packed on the way.

        Some servers call the packing that a ``.gz`` file has by itself its encoding; then it is the file that comes.
        """
        magic = MAGIC.get(self.kind, b"")
        why = "; a network that asks for a login does this, or the file moved"
        if block.lstrip()[:15].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
            got = "a web page"
        elif not block.startswith(magic[: len(block)]):
            got = f"something else ({response.headers.get('Content-Type', 'unknown type')})"
        elif encoding and (magic != MAGIC["gzip"] or zlib.decompressobj(31).decompress(block, 2) == magic):
            got, why = f"a copy packed on the way ({encoding[:20]})", ", although it was asked not to"
        else:
            return
        raise _WrongFile(
            f"{urlsplit(response.url).hostname} sent {got} instead of {self.target.name}{why}: open the address in a "
            f"browser, put the file at {self.target}."
        )

    def _judge(self, length: int | None) -> None:
        if length and self.max_bytes and length > self.max_bytes:
            raise _WrongFile(
                f"{self.target.name} is larger than the {self.max_bytes:,} bytes allowed for it; it is left out.",
                gone=True,
            )
        if length and self.size and length > self.size:
            raise _WrongFile(
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

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def _write_receipt(self, facts: dict[str, Any]) -> dict[str, Any]:
        if self.receipt:
            write_json(self.receipt_path, facts)
        return facts


def _tries(policy: RetryPolicy) -> Retry:
    """All tries of a policy. urllib3 would not wait before the second one; one failure noted beforehand makes it."""
    noted = (RequestHistory(None, None, None, None, None),)
    return Retry(policy.attempts - 1, backoff_factor=policy.pause / 2, backoff_max=policy.longest, history=noted)


def _retry_after(value: str) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 without one."""
    try:
        return float(Retry().parse_retry_after(value))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


class _Adapter(HTTPAdapter):
    """Connections that watch the clock, and trust what this machine trusts besides the list that requests brings."""

    def build_connection_pool_key_attributes(self, *args: Any, **settings: Any) -> tuple[dict, dict]:
        host, pool = super().build_connection_pool_key_attributes(*args, **settings)
        return host, {**pool, "ssl_context": _machine_certificates()}

    def get_connection_with_tls_context(self, *args: Any, **settings: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **settings)
        if not issubclass(pool.ConnectionCls, _Watched):  # the same pool may come again
            pool.ConnectionCls = type("Watched", (_Watched, pool.ConnectionCls), {})
        return pool


_machine_certificates = functools.cache(ssl.create_default_context)


class _Watched:
    """A connection on which the whole head of an answer must come within the timeout, not only its next byte."""

    def getresponse(self) -> Any:
        started = time.monotonic()
        timer = threading.Timer(self.timeout, _hang_up, [self.sock])
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()
            if time.monotonic() - started >= self.timeout:
                raise TimeoutError("the head of the answer took too long")


def _hang_up(connection: Any) -> None:
    with contextlib.suppress(OSError, TypeError):  # closed already, or a proxy's own kind of socket
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def text_of(url: str, retry: RetryPolicy | None = None, max_bytes: int = 100_000) -> str:
    """Return a small text file, for example a publisher's checksum; "" when it cannot be had at once."""
    once = replace(retry or RetryPolicy(), attempts=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text")
        try:
            fetch(url, path, max_bytes=max_bytes, receipt=False, retry=once)
        except CourseError:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")


def find_md5(text: str) -> str:
    """The MD5 in a checksum file, however it is written (``MD5 (name) = ...`` or ``... name``), "" without one."""
    found = re.search(r"\b[0-9a-fA-F]{32}\b", text)
    return found.group().lower() if found else ""


_REASONS = (
    (ssl.SSLCertVerificationError, "its certificate cannot be checked, is your clock right?"),
    (TimeoutError, "no answer in time"),
    (socket.gaierror, "its name cannot be looked up"),
    (ConnectionRefusedError, "it refuses the connection"),
    ((ConnectionError, HTTPException, HTTPError), "the connection was cut"),
)


def _why(error: BaseException) -> tuple[str, bool]:
    """Say in few words what broke a connection, and whether no server was reached at all."""
    wrapped = (getattr(error, "reason", None), error.__cause__, *error.args)  # as requests and urllib3 nest errors
    inner = next((one for one in wrapped if isinstance(one, BaseException)), None)
    if inner is not None:
        return _why(inner)
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        return "the network is down", True
    other = " ".join(str(error).split()) or type(error).__name__
    words = next((words for kinds, words in _REASONS if isinstance(error, kinds)), other)
    return words, isinstance(error, (socket.gaierror, ConnectionRefusedError))


def _facts(url: str, response: requests.Response) -> tuple[int, dict[str, Any]]:
    """Where the answer begins in the file, and which version of the file it is (total: bytes, None: not said)."""
    length, total = response.headers.get("Content-Length", ""), None
    part = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", "").strip())
    if response.status_code == 206:
        total = int(part[2]) if part else None
    elif length.isdecimal():
        total = int(length)
    encoding = response.headers.get("Content-Encoding", "").strip().lower().replace("identity", "")
    etag, modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
    facts = {"url": url, "etag": etag, "modified": modified, "encoding": encoding, "total": total}
    return int(part[1]) if part else 0, facts


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


def _bar(name: str, have: int, total: int | None):
    from tqdm.auto import tqdm

    return tqdm(desc=name, initial=have, total=total, unit="B", unit_scale=True, leave=False)
