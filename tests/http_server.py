"""A local web server that misbehaves on purpose: each path has a behaviour, every request is written down."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Looks the path up in ``server.behaviours``; what is not there is 404."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.log.append((self.path, dict(self.headers), time.monotonic()))
        self.close_connection = True
        try:
            self.server.behaviours.get(self.path, status(404))(self)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client had enough

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, code: int, body: bytes = b"", **headers: object) -> None:
        """Send a whole answer; header names with ``_`` for ``-``."""
        self.head(code, **{"Content_Length": len(body), **headers})
        self.wfile.write(body)

    def head(self, code: int, **headers: object) -> None:
        self.send_response(code)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def times_asked(self) -> int:
        """How often this path was asked for, this time included."""
        return sum(path == self.path for path, _, _ in self.server.log)

    def cut(self) -> None:
        """Break the connection the hard way."""
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """``behaviours``: path -> function; ``log``: (path, headers, time) of every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours: dict[str, Behaviour] = {}
        self.log: list[tuple[str, dict[str, str], float]] = []

    def url(self, path: str) -> str:
        scheme = "https" if isinstance(self.socket, ssl.SSLSocket) else "http"
        return f"{scheme}://127.0.0.1:{self.server_address[1]}{path}"

    def asked(self, path: str) -> list[dict[str, str]]:
        """The headers of every request for a path."""
        return [headers for known, headers, _ in self.log if known == path]

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serving(certificate: str | os.PathLike[str] | None = None) -> Iterator[Server]:
    """Run a server on a free port of this machine, over TLS with a certificate (a file that holds its key, too)."""
    os.environ["no_proxy"] = ",".join(filter(None, [os.environ.get("no_proxy", ""), "127.0.0.1"]))
    server = Server()
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:12]}"'


def file(body: bytes, *, ranges: bool = True, etag: bool = True, cut_at: int | None = None, cuts: int = 1) -> Behaviour:
    """Serve a file well: Range, If-Range, ETag. ``cut_at``: break the first ``cuts`` answers after so many bytes."""

    def behave(handler: Handler) -> None:
        tag = _etag(body) if etag else None
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", "")) if ranges else None
        condition = handler.headers.get("If-Range")
        start = int(asked[1]) if asked and (condition in (None, tag)) else 0
        if asked and start >= len(body):
            handler.answer(416, b"", Content_Range=f"bytes */{len(body)}")
            return
        rest = body[start:]
        code, place = (206, f"bytes {start}-{len(body) - 1}/{len(body)}") if start else (200, None)
        handler.head(code, Content_Length=len(rest), Content_Range=place, ETag=tag)
        if cut_at is not None and handler.times_asked() <= cuts:
            handler.wfile.write(rest[:cut_at])
            handler.cut()
        else:
            handler.wfile.write(rest)

    return behave


def status(code: int, **headers: object) -> Behaviour:
    """Always answer with this status."""
    return lambda handler: handler.answer(code, b"no", **headers)


def first(times: int, before: Behaviour, after: Behaviour) -> Behaviour:
    """Behave one way for the first so many requests of this path, then the other way."""
    return lambda handler: (before if handler.times_asked() <= times else after)(handler)


def silent(seconds: float) -> Behaviour:
    """Take the request and say nothing for a while."""
    return lambda handler: time.sleep(seconds)


def trickle(body: bytes, seconds: float) -> Behaviour:
    """Send one byte at a time."""

    def behave(handler: Handler) -> None:
        handler.head(200, Content_Length=len(body), ETag=_etag(body))
        for place in range(len(body)):
            handler.wfile.write(body[place : place + 1])
            handler.wfile.flush()
            time.sleep(seconds)

    return behave


def slow_head(seconds: float) -> Behaviour:
    """Send the head of an answer one byte at a time, and never its end."""

    def behave(handler: Handler) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(seconds)

    return behave


def without_end(code: int, times: int, **headers: object) -> Behaviour:
    """Answer the first requests with a body that never ends, the later ones with 404."""

    def behave(handler: Handler) -> None:
        handler.head(code, **headers)
        while True:
            handler.wfile.write(b"no" * 5000)
            time.sleep(0.01)

    return first(times, behave, status(404))


def states(length: int, body: bytes) -> Behaviour:
    """State another length than that of the body."""
    return lambda handler: (handler.head(200, Content_Length=length), handler.wfile.write(body))


def endless(body: bytes) -> Behaviour:
    """State no length at all; the end of the connection is the end of the file."""
    return lambda handler: (handler.head(200), handler.wfile.write(body))


def page(code: int = 200) -> Behaviour:
    """A web page: a login, a portal, a friendly error."""
    body = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"
    return lambda handler: handler.answer(code, body, Content_Type="text/html")


def redirect(to: str, code: int = 302) -> Behaviour:
    """Send the client somewhere else."""
    return lambda handler: handler.answer(code, b"", Location=to)
