"""One file over the network: a server that misbehaves on purpose, a full disk, an interrupt; whole or absent."""

import email.utils
import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile

import http_server as web
import pytest

from utils.errors import CourseError
from utils.files import ROOT
from utils.network import archives, download
from utils.network.download import DownloadError, RetryPolicy, fetch, find_md5, text_of

TEXT = os.urandom(300_000)  # does not shrink, so that cuts fall where they should
PACKED = gzip.compress(TEXT, mtime=0)
MD5 = hashlib.md5(PACKED).hexdigest()


@pytest.fixture(scope="module")
def server():
    with web.serving() as running:
        yield running


@pytest.fixture
def waits():
    return []


@pytest.fixture
def quick(waits):
    return RetryPolicy(timeout=0.5, attempts=3, pause=1.0, sleep=waits.append)


def parts(folder):
    return sorted(path.name for path in folder.iterdir())


def absent(target):
    """Nothing that could be taken for the file is there."""
    return not target.exists() and not target.with_name(target.name + ".receipt.json").exists()


def test_a_good_file_arrives_whole_with_a_receipt(server, tmp_path, quick):
    server.behaviours["/good.gz"] = web.file(PACKED)
    target = tmp_path / "deep" / "good.gz"
    receipt = fetch(server.url("/good.gz"), target, kind="gzip", size=len(PACKED), md5=MD5, retry=quick)
    assert target.read_bytes() == PACKED
    assert receipt["checked"] == ["bytes", "md5", "gzip"] and receipt["sha256"] == hashlib.sha256(PACKED).hexdigest()
    assert parts(target.parent) == ["good.gz", "good.gz.receipt.json"]
    assert "teaching" in server.asked("/good.gz")[0]["User-Agent"]
    fetch(server.url("/good.gz"), target, kind="gzip", retry=quick)
    assert len(server.asked("/good.gz")) == 1, "a file that is there is not asked for again"


def test_a_file_put_there_by_hand_counts_when_it_is_whole(tmp_path, quick):
    target = tmp_path / "hand.gz"
    target.write_bytes(PACKED)
    assert fetch("http://127.0.0.1:9/hand.gz", target, kind="gzip", retry=quick)["checked"] == ["gzip"]
    half = tmp_path / "half.gz"
    half.write_bytes(PACKED[:1000])
    with pytest.raises(CourseError, match="half.gz is not a whole gzip file"):
        fetch("http://127.0.0.1:9/half.gz", half, kind="gzip", retry=quick)


def test_a_file_that_changed_after_its_receipt_is_not_trusted(server, tmp_path, quick):
    server.behaviours["/changed.gz"] = web.file(PACKED)
    target = tmp_path / "changed.gz"
    fetch(server.url("/changed.gz"), target, retry=quick)
    target.write_bytes(PACKED[:-5])
    with pytest.raises(DownloadError, match="changed since.*delete it"):
        fetch(server.url("/changed.gz"), target, retry=quick)


@pytest.mark.parametrize(
    ("code", "words"), [(404, "no such file"), (410, "gone for good"), (403, "not allowed"), (401, "a login")]
)
def test_what_is_not_there_is_asked_for_once(server, tmp_path, quick, waits, code, words):
    path = f"/status{code}"
    server.behaviours[path] = web.status(code)
    with pytest.raises(DownloadError, match=f"answers {code} for file.gz .{words}.*by hand") as error:
        fetch(server.url(path), tmp_path / "file.gz", retry=quick)
    assert error.value.gone and error.value.status == code
    assert len(server.asked(path)) == 1 and not waits and absent(tmp_path / "file.gz")


def test_the_second_mirror_is_tried(server, tmp_path, quick):
    server.behaviours["/mirror.gz"] = web.file(PACKED)
    urls = [server.url("/nowhere.gz"), server.url("/mirror.gz")]
    assert fetch(urls, tmp_path / "m.gz", kind="gzip", retry=quick)["url"] == urls[1]


def test_when_all_mirrors_fail_the_first_reason_is_told(server, tmp_path, quick):
    server.behaviours["/m403"] = web.status(403)
    with pytest.raises(DownloadError, match="403"):
        fetch([server.url("/m403"), server.url("/nowhere")], tmp_path / "m.gz", retry=quick)


def test_429_waits_as_long_as_it_is_asked_to(server, tmp_path, quick, waits):
    server.behaviours["/busy.gz"] = web.first(2, web.status(429, Retry_After=7), web.file(PACKED))
    fetch(server.url("/busy.gz"), tmp_path / "busy.gz", retry=quick)
    assert waits == [7.0, 7.0]


def test_429_understands_a_date(server, tmp_path, quick, waits, monkeypatch):
    now = int(time.time())
    monkeypatch.setattr(time, "time", lambda: now)  # a busy machine would use up some of the wait
    later = email.utils.formatdate(now + 20, usegmt=True)
    server.behaviours["/date.gz"] = web.first(1, web.status(429, Retry_After=later), web.file(PACKED))
    fetch(server.url("/date.gz"), tmp_path / "date.gz", retry=quick)
    assert waits == [20.0]


def test_a_wait_of_an_hour_is_told_and_not_waited(server, tmp_path, quick, waits):
    server.behaviours["/hour.gz"] = web.status(429, Retry_After=3600)
    with pytest.raises(DownloadError, match="asks to wait 60 minutes"):
        fetch(server.url("/hour.gz"), tmp_path / "hour.gz", retry=quick)
    assert not waits


@pytest.mark.parametrize("code", [500, 502, 503, 504, 408])
def test_server_errors_are_tried_again_with_growing_pauses(server, tmp_path, quick, waits, code):
    path = f"/error{code}.gz"
    server.behaviours[path] = web.first(2, web.status(code), web.file(PACKED))
    fetch(server.url(path), tmp_path / "e.gz", retry=quick)
    assert waits == [1.0, 2.0]


def test_a_server_that_keeps_failing_is_told(server, tmp_path, quick):
    server.behaviours["/always500.gz"] = web.status(500)
    with pytest.raises(DownloadError, match="answers 500.*3 times in a row.*again later"):
        fetch(server.url("/always500.gz"), tmp_path / "e.gz", retry=quick)
    assert len(server.asked("/always500.gz")) == 3 and absent(tmp_path / "e.gz")


def test_a_silent_server_times_out(server, tmp_path, waits):
    server.behaviours["/silent.gz"] = web.silent(1.0)
    policy = RetryPolicy(timeout=0.1, attempts=2, sleep=waits.append)
    with pytest.raises(DownloadError, match="(no answer in time|cut), 2 times in a row"):
        fetch(server.url("/silent.gz"), tmp_path / "s.gz", retry=policy)


def test_a_server_that_sends_a_byte_now_and_then_is_left(server, tmp_path, waits):
    server.behaviours["/slow.gz"] = web.first(1, web.trickle(PACKED, 0.02), web.file(PACKED))
    policy = RetryPolicy(timeout=1, attempts=3, slowest=1000, window=0.2, sleep=waits.append)
    receipt = fetch(server.url("/slow.gz"), tmp_path / "slow.gz", kind="gzip", retry=policy)
    assert receipt["bytes"] == len(PACKED) and len(waits) == 1
    assert "Range" in server.asked("/slow.gz")[1], "what had come was kept"


def test_a_cut_is_resumed_where_it_happened(server, tmp_path, quick):
    server.behaviours["/cut.gz"] = web.file(PACKED, cut_at=100_000)
    fetch(server.url("/cut.gz"), tmp_path / "cut.gz", kind="gzip", retry=quick)
    first, second = server.asked("/cut.gz")
    assert "Range" not in first and second["Range"] == "bytes=100000-" and second["If-Range"].startswith('"')
    assert (tmp_path / "cut.gz").read_bytes() == PACKED


def test_progress_starts_the_count_of_tries_again(server, tmp_path, quick):
    server.behaviours["/often.gz"] = web.file(PACKED, cut_at=40_000, cuts=7)
    fetch(server.url("/often.gz"), tmp_path / "often.gz", kind="gzip", retry=quick)
    assert len(server.asked("/often.gz")) == 8 > quick.attempts


def test_a_server_that_ignores_range_starts_over(server, tmp_path, quick):
    server.behaviours["/norange.gz"] = web.file(PACKED, ranges=False, cut_at=100_000)
    fetch(server.url("/norange.gz"), tmp_path / "n.gz", kind="gzip", retry=quick)
    assert (tmp_path / "n.gz").read_bytes() == PACKED


@pytest.mark.parametrize("etag", [True, False], ids=["etag", "no etag"])
def test_a_file_that_changed_between_two_parts_is_not_glued(server, tmp_path, quick, etag):
    other = gzip.compress(os.urandom(250_000), mtime=0)
    path = f"/glue{etag}.gz"
    server.behaviours[path] = web.first(1, web.file(PACKED, etag=etag, cut_at=100_000), web.file(other, etag=etag))
    fetch(server.url(path), tmp_path / "glue.gz", kind="gzip", retry=quick)
    assert (tmp_path / "glue.gz").read_bytes() == other


def test_a_206_with_another_version_is_refused_even_if_the_server_ignores_if_range(server, tmp_path, quick):
    other = gzip.compress(os.urandom(250_000), mtime=0)

    def careless(handler):
        handler.head(206, Content_Length=len(other) - 100_000, ETag='"new"',
                     Content_Range=f"bytes 100000-{len(other) - 1}/{len(other)}")  # fmt: skip
        handler.wfile.write(other[100_000:])

    steps = web.first(1, web.file(PACKED, cut_at=100_000), web.first(2, careless, web.file(other)))
    server.behaviours["/careless.gz"] = steps
    fetch(server.url("/careless.gz"), tmp_path / "c.gz", kind="gzip", retry=quick)
    assert (tmp_path / "c.gz").read_bytes() == other


def test_a_file_that_became_shorter_starts_over(server, tmp_path, quick):
    shorter = gzip.compress(b"shorter", mtime=0)
    server.behaviours["/shorter.gz"] = web.first(1, web.file(PACKED, etag=False, cut_at=200_000), web.file(shorter))
    fetch(server.url("/shorter.gz"), tmp_path / "s.gz", kind="gzip", retry=quick)
    assert (tmp_path / "s.gz").read_bytes() == shorter
    assert ["Range" in headers for headers in server.asked("/shorter.gz")] == [False, True, False], (
        "416, then all of it"
    )


@pytest.mark.parametrize("length", [len(PACKED) + 10, len(PACKED) - 10], ids=["too long", "too short"])
def test_a_wrong_length_never_becomes_a_file(server, tmp_path, quick, length):
    path = f"/length{length}"
    server.behaviours[path] = web.states(length, PACKED)
    with pytest.raises(CourseError, match="cut after|not a whole gzip|something else"):
        fetch(server.url(path), tmp_path / "l.gz", kind="gzip", retry=quick)
    assert absent(tmp_path / "l.gz")


def test_without_a_length_the_structure_decides(server, tmp_path, quick):
    server.behaviours["/endless.gz"] = web.endless(PACKED)
    server.behaviours["/endless_cut.gz"] = web.endless(PACKED[:50_000])
    assert fetch(server.url("/endless.gz"), tmp_path / "a.gz", kind="gzip", retry=quick)["bytes"] == len(PACKED)
    with pytest.raises(CourseError, match="b.gz is not a whole gzip file.*get it again"):
        fetch(server.url("/endless_cut.gz"), tmp_path / "b.gz", kind="gzip", retry=quick)
    assert parts(tmp_path) == ["a.gz", "a.gz.receipt.json"]


def test_a_web_page_instead_of_the_file(server, tmp_path, quick):
    server.behaviours["/portal.gz"] = web.page()
    with pytest.raises(DownloadError, match="sent a web page instead of p.gz"):
        fetch(server.url("/portal.gz"), tmp_path / "p.gz", kind="gzip", retry=quick)
    server.behaviours["/other.gz"] = web.file(b"just some text, no gzip" * 10)
    with pytest.raises(DownloadError, match="sent something else"):
        fetch(server.url("/other.gz"), tmp_path / "p.gz", kind="gzip", retry=quick)
    assert absent(tmp_path / "p.gz")


def test_an_empty_answer_is_no_file(server, tmp_path, quick):
    server.behaviours["/empty.gz"] = web.file(b"")
    with pytest.raises(DownloadError, match="the answer is empty"):
        fetch(server.url("/empty.gz"), tmp_path / "e.gz", retry=quick)
    assert absent(tmp_path / "e.gz")


@pytest.mark.parametrize(
    ("stated", "words"),
    [({"md5": "0" * 32}, "md5"), ({"sha256": "0" * 64}, "sha256"), ({"size": 400_000}, "bytes")],
)
def test_what_the_publisher_states_must_agree(server, tmp_path, quick, stated, words):
    server.behaviours["/sum.gz"] = web.file(PACKED)
    with pytest.raises(DownloadError, match=f"has {words} .* the publisher states"):
        fetch(server.url("/sum.gz"), tmp_path / "sum.gz", retry=quick, **stated)
    assert parts(tmp_path) == [], "a wrong file is no start for the next try"


def test_a_file_larger_than_stated_is_stopped_early(server, tmp_path, quick):
    server.behaviours["/large.gz"] = web.endless(PACKED)
    with pytest.raises(DownloadError, match="larger than the 1,000 bytes"):
        fetch(server.url("/large.gz"), tmp_path / "large.gz", max_bytes=1000, retry=quick)
    with pytest.raises(DownloadError, match="publisher states 1,000"):
        fetch(server.url("/large.gz"), tmp_path / "large.gz", size=1000, retry=quick)


def test_of_a_file_that_is_too_large_no_part_stays(server, tmp_path, quick):
    def then_endless(handler):
        handler.head(200)
        handler.wfile.write(PACKED[:1000])
        handler.wfile.flush()
        time.sleep(0.1)
        handler.wfile.write(PACKED)

    server.behaviours["/grows.gz"] = then_endless
    for limit in ({"max_bytes": 2000}, {"size": 2000}):
        with pytest.raises(DownloadError, match="larger than the 2,000 bytes|publisher states 2,000"):
            fetch(server.url("/grows.gz"), tmp_path / "g.gz", retry=quick, **limit)
        assert parts(tmp_path) == []


def packed_on_the_way(body, encoding="gzip"):
    return lambda handler: handler.answer(200, gzip.compress(body, mtime=0), Content_Encoding=encoding)


@pytest.mark.parametrize("kind", ["", "zip", "gzip"])
def test_a_file_that_the_server_packs_on_the_way_is_refused(server, tmp_path, quick, kind):
    body = {"": b'{"a": 1}\n' * 100, "zip": b"PK\x03\x04" + bytes(100), "gzip": PACKED}[kind]
    server.behaviours["/packed"] = packed_on_the_way(body)
    with pytest.raises(DownloadError, match="sent (a copy packed on the way|something else)"):
        fetch(server.url("/packed"), tmp_path / "packed", kind=kind, retry=quick)
    assert parts(tmp_path) == [] and server.asked("/packed")[-1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "identity"])
def test_a_server_that_calls_the_packing_of_a_gz_file_its_encoding(server, tmp_path, quick, encoding):
    server.behaviours["/label.gz"] = packed_on_the_way(TEXT, encoding)
    fetch(server.url("/label.gz"), tmp_path / "label.gz", kind="gzip", retry=quick)
    assert (tmp_path / "label.gz").read_bytes() == PACKED


def test_a_part_is_not_continued_in_another_packing(server, tmp_path, quick):
    def packed_rest(handler):
        handler.head(206, Content_Length=len(PACKED) - 100_000, ETag=web._etag(PACKED), Content_Encoding="gzip",
                     Content_Range=f"bytes 100000-{len(PACKED) - 1}/{len(PACKED)}")  # fmt: skip
        handler.wfile.write(bytes(len(PACKED) - 100_000))

    good = web.file(PACKED)
    server.behaviours["/rest"] = web.first(1, web.file(PACKED, cut_at=100_000), web.first(2, packed_rest, good))
    fetch(server.url("/rest"), tmp_path / "rest", retry=quick)
    assert (tmp_path / "rest").read_bytes() == PACKED


def test_the_head_of_an_answer_has_to_come_within_the_timeout(server, tmp_path, waits):
    server.behaviours["/slow_head.gz"] = web.slow_head(0.05)
    policy, started = RetryPolicy(timeout=0.3, attempts=2, sleep=waits.append), time.monotonic()
    with pytest.raises(DownloadError, match="no answer in time, 2 times in a row"):
        fetch(server.url("/slow_head.gz"), tmp_path / "s.gz", retry=policy)
    assert time.monotonic() - started < 3, "about a minute, if only each byte has to come in time"
    server.behaviours["/then_good.gz"] = web.first(1, web.slow_head(0.05), web.file(PACKED))
    assert fetch(server.url("/then_good.gz"), tmp_path / "t.gz", retry=policy)["bytes"] == len(PACKED)


def test_the_body_of_a_refusal_or_a_redirect_is_not_read(server, tmp_path, quick, waits):
    for code, words in ((503, "answers 404"), (404, "answers 404"), (302, "answers 404")):
        server.behaviours[f"/no_end{code}"] = web.without_end(code, 1, Location=f"/no_end{code}")
        started = time.monotonic()
        with pytest.raises(DownloadError, match=words):
            fetch(server.url(f"/no_end{code}"), tmp_path / "n.gz", retry=quick)
        assert time.monotonic() - started < 5
    assert waits == [1.0]


def test_a_retry_after_that_says_nothing_is_passed_over(server, tmp_path, quick, waits):
    for number, said in enumerate(("soon", "", "-5", "1e3", "9" * 5000, "Mon, 99 Foo 20 25:61:61 GMT")):
        server.behaviours[f"/said{number}"] = web.first(1, web.status(503, Retry_After=said), web.file(PACKED))
        fetch(server.url(f"/said{number}"), tmp_path / f"{number}.gz", retry=quick)
    assert waits == [1.0] * 6, "the pause of the policy"


def test_a_failing_answer_a_cut_and_silence_share_one_count(server, tmp_path, waits):
    faults = [web.status(500), web.file(PACKED, cut_at=0, cuts=9), web.silent(0.5), web.file(PACKED)]
    server.behaviours["/mixed.gz"] = lambda handler: faults[handler.times_asked() - 1](handler)
    with pytest.raises(DownloadError, match="3 times in a row"):
        fetch(server.url("/mixed.gz"), tmp_path / "m.gz", retry=RetryPolicy(0.2, 3, 1.0, sleep=waits.append))
    assert len(server.asked("/mixed.gz")) == 3 and waits == [1.0, 2.0]


def raw(answer):
    """Send exactly these bytes and close the connection."""
    return lambda handler: handler.wfile.write(answer)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n" % (len(PACKED), PACKED)
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n"


def test_a_file_in_chunks(server, tmp_path, quick):
    server.behaviours["/chunks.gz"] = raw(CHUNKED + CHUNK + b"0\r\n\r\n")
    assert fetch(server.url("/chunks.gz"), tmp_path / "c.gz", kind="gzip", retry=quick)["bytes"] == len(PACKED)


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + CHUNK,
        CHUNKED + CHUNK[:1000],
        CHUNKED + b"size\r\n" + PACKED,
        LENGTH % b"5" + b"Content-Length: 7\r\n\r\n" + PACKED[:7],
        LENGTH % b"-5" + b"\r\n" + PACKED[:-1],
        LENGTH % "\u00b2".encode("latin-1") + b"\r\n" + PACKED[:-1],
        b"\x16\x03\x01 no HTTP at all",
        b"HTTP/1.1 wonderful\r\n\r\n",
        LENGTH % b"5" + b"X: " + b"x" * 70_000 + b"\r\n\r\n12345",
        LENGTH % b"5" + b"X: y\r\n" * 200 + b"\r\n12345",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\n12345",
    ],
)
def test_odd_answers_are_one_sentence(server, tmp_path, quick, answer):
    server.behaviours["/odd.gz"] = raw(answer)
    with pytest.raises(CourseError) as error:
        fetch(server.url("/odd.gz"), tmp_path / "o.gz", kind="gzip", retry=quick)
    assert absent(tmp_path / "o.gz") and "\n" not in str(error.value) and len(str(error.value)) < 600


def test_no_password_of_netrc_leaves_the_machine(server, tmp_path, quick, monkeypatch):
    (tmp_path / "netrc").write_text("default login me password secret\n", encoding="utf-8")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.behaviours |= {"/here.gz": web.redirect("/there.gz"), "/there.gz": web.file(PACKED)}
    fetch(server.url("/here.gz"), tmp_path / "h.gz", retry=quick)
    assert all("Authorization" not in headers for path in ("/here.gz", "/there.gz") for headers in server.asked(path))


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificate by openssl")
def test_a_certificate_of_this_machine_is_trusted_and_a_safe_connection_stays_safe(
    server, tmp_path, quick, monkeypatch
):
    both, cert = tmp_path / "both.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", both, "-out", cert,
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)  # fmt: skip
    both.write_text(both.read_text() + cert.read_text())
    server.behaviours["/open.gz"] = web.file(PACKED)
    with web.serving(both) as safe:
        safe.behaviours |= {"/safe.gz": web.file(PACKED), "/leads_out.gz": web.redirect(server.url("/open.gz"))}
        with pytest.raises(DownloadError, match="its certificate cannot be checked"):
            fetch(safe.url("/safe.gz"), tmp_path / "s.gz", retry=quick)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        download._machine_certificates.cache_clear()
        fetch(safe.url("/safe.gz"), tmp_path / "s.gz", retry=quick)
        with pytest.raises(DownloadError, match="not safe"):
            fetch(safe.url("/leads_out.gz"), tmp_path / "o.gz", retry=quick)
        assert not server.asked("/open.gz") and absent(tmp_path / "o.gz")
    download._machine_certificates.cache_clear()


def test_redirects_are_followed_but_not_in_circles_and_not_anywhere(server, tmp_path, quick):
    server.behaviours["/real.gz"] = web.file(PACKED)
    server.behaviours["/moved.gz"] = web.redirect("/real.gz")
    assert fetch(server.url("/moved.gz"), tmp_path / "a.gz", retry=quick)["bytes"] == len(PACKED)
    server.behaviours["/far.gz"] = web.redirect(server.url("/real.gz").replace("http:", "HTTP:"))
    capitals = server.url("/far.gz").replace("http:", "HTTP:")
    assert fetch(capitals, tmp_path / "far.gz", retry=quick)["bytes"] == len(PACKED)
    server.behaviours["/ping"] = web.redirect("/pong")
    server.behaviours["/pong"] = web.redirect("/ping")
    with pytest.raises(DownloadError, match="round in circles"):
        fetch(server.url("/ping"), tmp_path / "b.gz", retry=quick)
    server.behaviours["/file"] = web.redirect("file:///etc/hostname")
    server.behaviours["/ftp"] = web.redirect("ftp://127.0.0.1/x")
    for path in ("/file", "/ftp"):
        with pytest.raises(DownloadError, match="not safe"):
            fetch(server.url(path), tmp_path / "c.gz", retry=quick)
    assert absent(tmp_path / "b.gz") and absent(tmp_path / "c.gz")


def test_no_network_is_said_in_one_sentence(tmp_path, quick, monkeypatch):
    def nothing(*_args, **_kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(DownloadError, match="there seems to be no network; connect and run the same command") as error:
        fetch("http://data.invalid/x.gz", tmp_path / "x.gz", retry=quick)
    assert error.value.offline and "put x.gz at" in str(error.value) and str(error.value).count(". ") == 0


def test_nobody_listens(tmp_path, quick):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match="refuses the connection"):
        fetch(f"http://127.0.0.1:{port}/x.gz", tmp_path / "x.gz", retry=quick)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "no address", "ftp://127.0.0.1/x"])
def test_only_web_addresses(tmp_path, quick, url):
    with pytest.raises(DownloadError):
        fetch(url, tmp_path / "x", retry=quick)
    assert absent(tmp_path / "x")


def test_ctrl_c_and_again(server, tmp_path, quick, monkeypatch):
    server.behaviours["/stop.gz"] = web.file(PACKED)
    target = tmp_path / "stop.gz"
    judge, calls = download._Job._judge, []

    def interrupt(job, length):
        judge(job, length)
        calls.append(length)
        if len(calls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(download._Job, "_judge", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(server.url("/stop.gz"), target, kind="gzip", retry=quick)
    monkeypatch.setattr(download._Job, "_judge", judge)
    assert absent(target) and parts(tmp_path) == ["stop.gz.part", "stop.gz.part.json"]
    kept = (tmp_path / "stop.gz.part").stat().st_size
    assert 0 < kept < len(PACKED)
    receipt = fetch(server.url("/stop.gz"), target, kind="gzip", retry=quick)
    assert target.read_bytes() == PACKED and receipt["resumed"] == kept
    assert server.asked("/stop.gz")[1]["Range"] == f"bytes={kept}-"


def test_killed_and_again(server, tmp_path, quick):
    """No handler runs in a killed process: what it left is a part with its state, and the next call goes on from it."""

    def slowly(handler):
        handler.head(200, Content_Length=len(PACKED), ETag=web._etag(PACKED))
        handler.wfile.write(PACKED[:200_000])
        handler.wfile.flush()
        time.sleep(30)

    server.behaviours["/killed.gz"] = web.first(1, slowly, web.file(PACKED))
    target, part = tmp_path / "killed.gz", tmp_path / "killed.gz.part"
    code = (
        f"from utils.network.download import fetch; fetch({server.url('/killed.gz')!r}, {str(target)!r}, kind='gzip')"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size > 100_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert absent(target) and parts(tmp_path) == ["killed.gz.part", "killed.gz.part.json"]
    receipt = fetch(server.url("/killed.gz"), target, kind="gzip", retry=quick)
    assert target.read_bytes() == PACKED and 100_000 < receipt["resumed"] < len(PACKED)


def test_a_part_without_its_state_or_of_another_address_is_not_trusted(server, tmp_path, quick):
    server.behaviours["/fresh.gz"] = web.file(PACKED)
    (tmp_path / "f.gz.part").write_bytes(b"something of somebody else")
    fetch(server.url("/fresh.gz"), tmp_path / "f.gz", kind="gzip", retry=quick)
    assert "Range" not in server.asked("/fresh.gz")[0] and (tmp_path / "f.gz").read_bytes() == PACKED
    (tmp_path / "g.gz.part").write_bytes(PACKED[:1000])
    state = {"url": server.url("/elsewhere.gz"), "etag": "", "modified": "", "total": len(PACKED)}
    (tmp_path / "g.gz.part.json").write_text(json.dumps(state), encoding="utf-8")
    fetch(server.url("/fresh.gz"), tmp_path / "g.gz", kind="gzip", retry=quick)
    assert (tmp_path / "g.gz").read_bytes() == PACKED


def test_a_full_disk_is_said_before_and_during(server, tmp_path, quick, monkeypatch):
    server.behaviours["/disk.gz"] = web.file(PACKED)
    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(CourseError, match="needs 0 MB more.*free some space and run again"):
        fetch(server.url("/disk.gz"), tmp_path / "d.gz", retry=quick)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    opened = open

    class Full(io.FileIO):
        def write(self, block):
            if self.tell() > 100_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(block)

    def full(path, mode="r", *args, **kwargs):
        return Full(path, mode) if str(path).endswith(".part") and mode in ("ab", "wb") else opened(path, mode, *args)

    monkeypatch.setattr(download, "open", full, raising=False)
    with pytest.raises(CourseError, match="Cannot write .*d.gz: No space left.*what was fetched is kept"):
        fetch(server.url("/disk.gz"), tmp_path / "d.gz", retry=quick)
    assert absent(tmp_path / "d.gz")
    monkeypatch.setattr(download, "open", opened, raising=False)
    fetch(server.url("/disk.gz"), tmp_path / "d.gz", kind="gzip", retry=quick)
    assert (tmp_path / "d.gz").read_bytes() == PACKED and "Range" in server.asked("/disk.gz")[-1]


def test_a_zip_is_checked_and_a_bomb_is_refused(server, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(archives, "FREE", 1 << 20)  # a small bomb is as good, and faster

    def zipped(**files):
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, body in files.items():
                archive.writestr(name, body)
        return memory.getvalue()

    good = zipped(ratings=b"1\t2\t3\n" * 1000)
    server.behaviours["/good.zip"] = web.file(good)
    server.behaviours["/torn.zip"] = web.file(good[:-30])
    server.behaviours["/bomb.zip"] = web.file(zipped(zeros=bytes(2 << 20)))
    server.behaviours["/bomb.gz"] = web.file(gzip.compress(bytes(2 << 20)))
    assert fetch(server.url("/good.zip"), tmp_path / "good.zip", kind="zip", retry=quick)["checked"] == ["zip"]
    with pytest.raises(CourseError, match="torn.zip is not a whole zip"):
        fetch(server.url("/torn.zip"), tmp_path / "torn.zip", kind="zip", retry=quick)
    for name, kind in (("bomb.zip", "zip"), ("bomb.gz", "gzip")):
        with pytest.raises(CourseError, match=f"{name} unpacks to more than 1 MB"):
            fetch(server.url(f"/{name}"), tmp_path / name, kind=kind, retry=quick)
    assert parts(tmp_path) == ["good.zip", "good.zip.receipt.json"]


def test_checksum_files(server):
    server.behaviours["/sum.md5"] = web.file(b"MD5 (ml.zip) = 0E33842E24A9C977BE4E0107933C0723\n")
    assert find_md5(text_of(server.url("/sum.md5"))) == "0e33842e24a9c977be4e0107933c0723"
    assert find_md5("c4d9eecfca2ab87c1945afe126590906  ml-1m.zip") == "c4d9eecfca2ab87c1945afe126590906"
    assert text_of(server.url("/none.md5")) == "" and find_md5("<html>") == ""


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_a_checksum_is_asked_of_web_addresses_only(tmp_path, scheme):
    (tmp_path / "local.md5").write_text("0" * 32, encoding="utf-8")
    address = {"file": (tmp_path / "local.md5").as_uri(), "ftp": "ftp://127.0.0.1/x", "data": "data:,x"}[scheme]
    assert text_of(address) == ""


def test_a_checksum_file_that_is_slow_or_large_is_left(server, waits):
    policy, started = (
        RetryPolicy(timeout=0.3, attempts=3, slowest=1000, window=0.2, sleep=waits.append),
        time.monotonic(),
    )
    server.behaviours |= {"/slow.md5": web.trickle(b"0" * 1000, 0.02), "/slow_head.md5": web.slow_head(0.05)}
    server.behaviours["/large.md5"] = web.without_end(200, 9)
    assert [text_of(server.url(f"/{name}.md5"), policy) for name in ("slow", "slow_head", "large")] == ["", "", ""]
    assert time.monotonic() - started < 5 and not waits
