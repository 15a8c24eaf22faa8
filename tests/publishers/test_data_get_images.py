"""Item pictures over the network: politely, once, resumable, with a report of what is gone."""

import socket
import threading
import time

import http_server as web
import pytest
from amazon_files import picture

from utils.errors import CourseError
from utils.publishers import images
from utils.publishers.images import RateLimit, fetch_images

QUICK = RateLimit(interval=0.0, pause=0.05, timeout=0.3)
GOOD = web.file(picture())


@pytest.fixture
def server():
    with web.serving() as running:
        yield running


def addresses(server, *names):
    return [(f"ITEM{name}", [server.url(f"/{name}")]) for name in names]


def ledger(folder):
    lines = (folder / "images.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return {line.split("\t")[0]: line.split("\t")[1] for line in lines}


def test_pictures_arrive_under_safe_names_with_their_own_ending(server, tmp_path):
    kinds = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp"}
    for kind in kinds:
        server.behaviours[f"/{kind}"] = web.file(picture(kind=kind))
    server.behaviours["/odd"] = GOOD
    wanted = [*addresses(server, *kinds), ("../../evil", [server.url("/odd")]), ("none", [])]
    report = fetch_images(wanted, tmp_path, rate_limit=QUICK)
    assert report.counts == {"ok": 5, "without an address": 1} and report.asked == 5
    assert all(report.files[f"ITEM{kind}"] == f"images/ITEM{kind}{ending}" for kind, ending in kinds.items())
    assert report.files["../../evil"].startswith("images/") and ".." not in report.files["../../evil"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "images.tsv"]
    assert len(list((tmp_path / "images").iterdir())) == 5, "nothing half-written is left"


def test_the_second_call_asks_for_nothing_that_is_settled(server, tmp_path):
    server.behaviours |= {"/a": GOOD, "/gone": web.status(404), "/later": web.first(1, web.status(400), GOOD)}
    wanted = addresses(server, "a", "gone", "later")
    fetch_images(wanted, tmp_path, rate_limit=QUICK)
    server.log.clear()
    report = fetch_images(wanted, tmp_path, rate_limit=QUICK)
    assert report.asked == 0 and not server.log and report.counts == {"ok": 1, "gone": 2}
    (tmp_path / report.files["ITEMa"]).unlink()
    assert fetch_images(wanted, tmp_path, rate_limit=QUICK).asked == 1, "a picture that was deleted is fetched again"


FAULTS = {
    "404": (web.status(404), "gone"),
    "410": (web.status(410), "gone"),
    "403": (web.status(403), "gone"),
    "500": (web.status(500), "failed"),
    "silent": (web.silent(1), "failed"),
    "empty": (web.file(b""), "failed"),
    "page": (web.page(), "failed"),
    "loop": (web.redirect("/loop"), "gone"),
    "text": (web.file(b"this is no picture"), "not a picture"),
    "torn": (web.file(picture(size=200)[:600]), "not a picture"),
    "pixel": (web.file(picture(size=1, kind="GIF")), "not a picture"),
    "cut": (web.file(picture(size=300), cut_at=300, cuts=99), "failed"),
    "long": (web.states(10_000, picture()), "failed"),
    "huge": (web.states(50_000_000, picture()), "gone"),
}


def test_every_fault_has_its_line_and_harms_no_other_picture(server, tmp_path):
    for name, (behaviour, _) in FAULTS.items():
        server.behaviours[f"/{name}"] = behaviour
    server.behaviours["/good"] = GOOD
    report = fetch_images(addresses(server, *FAULTS, "good"), tmp_path, rate_limit=QUICK)
    assert ledger(tmp_path) == {**{f"ITEM{name}": status for name, (_, status) in FAULTS.items()}, "ITEMgood": "ok"}
    assert list(report.files) == ["ITEMgood"] and len(report.problems) == len(FAULTS)
    assert (report.problems["detail"].str.len() > 0).all()
    assert len(list((tmp_path / "images").iterdir())) == 1
    assert "1 ok" in str(report) and "gone" in str(report)


def test_the_next_address_is_tried_when_one_is_gone(server, tmp_path):
    server.behaviours |= {"/large": web.status(404), "/small": GOOD}
    report = fetch_images([("ITEM1", [server.url("/large"), server.url("/small")])], tmp_path, rate_limit=QUICK)
    assert report.counts == {"ok": 1}


@pytest.fixture
def starts(monkeypatch):
    """Every moment that is set for the next request, in order: after a request the interval later, or after a pause.

    The server's clock would not do: on a busy machine a request arrives long after it was allowed to start.
    """
    found = []

    class Watched(images._Pace):
        @property
        def next(self):
            return found[-1]

        @next.setter
        def next(self, moment):
            found.append(moment)

    monkeypatch.setattr(images, "_Pace", Watched)
    return found


def test_one_429_holds_all_connections_back(server, tmp_path, starts):
    names = [f"n{n:02}" for n in range(12)]
    server.behaviours |= {f"/{name}": GOOD for name in names}
    server.behaviours["/n03"] = web.first(1, web.status(429, Retry_After=1), GOOD)
    report = fetch_images(addresses(server, *names), tmp_path, rate_limit=RateLimit(connections=2, interval=0.02))
    assert report.counts == {"ok": 12}
    assert len(starts) == 1 + 12 + 1 + 1, "the first moment, twelve pictures, the pause, one of them again"
    gaps = [after - before for before, after in zip(starts[1:], starts[2:])]
    assert max(gaps) > 0.9, "the pause is as long as the server asks"
    assert min(gaps) > 0.019, "nobody asked during the pause"


def test_requests_keep_their_distance_and_connections_are_few(server, tmp_path, starts):
    active, most, lock, two = 0, 0, threading.Lock(), threading.Event()

    def counted(handler):
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
            if active > 1:
                two.set()
        two.wait(10)  # at once where requests overlap
        time.sleep(0.03)
        GOOD(handler)
        with lock:
            active -= 1

    names = [f"n{n:02}" for n in range(16)]
    server.behaviours |= {f"/{name}": counted for name in names}
    fetch_images(addresses(server, *names), tmp_path, rate_limit=RateLimit(connections=3, interval=0.0))
    assert 1 < most <= 3
    starts.clear()
    fetch_images(addresses(server, *names), tmp_path / "b", rate_limit=RateLimit(connections=4, interval=0.04))
    assert len(starts) == 1 + 16
    assert min(after - before for before, after in zip(starts[1:], starts[2:])) > 0.039


def test_a_server_that_wants_an_hour_ends_the_run_politely(server, tmp_path):
    names = [f"n{n:02}" for n in range(40)]
    server.behaviours |= {f"/{name}": GOOD for name in names}
    server.behaviours["/n10"] = web.first(1, web.status(503, Retry_After=3600), GOOD)
    manners = RateLimit(connections=1, interval=0.0)
    report = fetch_images(addresses(server, *names), tmp_path, rate_limit=manners)
    assert "asks to wait 60 minutes" in report.stopped and report.counts == {"ok": 10, "not asked": 30}
    again = fetch_images(addresses(server, *names), tmp_path, rate_limit=manners)
    assert again.counts == {"ok": 40} and again.asked == 30 and not again.stopped


def test_many_failures_in_a_row_end_the_run(server, tmp_path):
    names = [f"n{n:02}" for n in range(60)]
    server.behaviours |= {f"/{name}": web.page() for name in names}
    report = fetch_images(addresses(server, *names), tmp_path, rate_limit=RateLimit(interval=0.0, max_failures=5))
    assert "in a row failed" in report.stopped and report.counts["not asked"] > 40


def test_no_network_ends_the_run_and_counts_nothing_as_gone(tmp_path, monkeypatch):
    def nothing(*_args, **_kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    wanted = [(f"ITEM{n}", ["http://pictures.invalid/x.jpg"]) for n in range(100)]
    report = fetch_images(wanted, tmp_path, rate_limit=RateLimit(interval=0.0, max_failures=5))
    assert "no network" in report.stopped and "gone" not in report.counts


def test_max_images_and_going_on(server, tmp_path):
    names = [f"n{n}" for n in range(9)]
    server.behaviours |= {f"/{name}": GOOD for name in names}
    counts = [fetch_images(addresses(server, *names), tmp_path, max_images=4, rate_limit=QUICK) for _ in range(3)]
    assert [(report.asked, report.counts["ok"]) for report in counts] == [(4, 4), (4, 8), (1, 9)]
    assert fetch_images(addresses(server, *names), tmp_path, max_images=0, rate_limit=QUICK).asked == 0


def test_ctrl_c_and_a_torn_ledger(server, tmp_path, monkeypatch):
    from utils.publishers import images

    names = [f"n{n:02}" for n in range(30)]
    server.behaviours |= {f"/{name}": GOOD for name in names}
    add = images._Ledger.add

    def interrupt(book, row):
        add(book, row)
        if len(book.rows) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(images._Ledger, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_images(addresses(server, *names), tmp_path, rate_limit=QUICK)
    monkeypatch.setattr(images._Ledger, "add", add)
    with open(tmp_path / "images.tsv", "a", encoding="utf-8") as file:
        file.write("ITEMn29\tok\timages/ITE")  # the machine stopped in the middle of a row
    report = fetch_images(addresses(server, *names), tmp_path, rate_limit=QUICK)
    assert report.counts == {"ok": 30} and 23 >= report.asked >= 30 - 7 - 2 * QUICK.connections
    assert set(ledger(tmp_path).values()) == {"ok"} or "images/ITE" in (tmp_path / "images.tsv").read_text()
    assert fetch_images(addresses(server, *names), tmp_path, rate_limit=QUICK).asked == 0


def test_a_full_disk_is_an_error_not_a_missing_picture(server, tmp_path, monkeypatch):
    from utils.network import download

    server.behaviours["/a"] = GOOD
    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(CourseError, match="free some space"):
        fetch_images(addresses(server, "a"), tmp_path, rate_limit=QUICK)
    assert ledger(tmp_path) == {}
