"""`make live`: each line of the room's check, what happens when something is missing, and a server that shows slides."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import urllib.request

import pytest

from utils.errors import CourseError
from utils.features.encoders import text
from utils.files import ROOT, write_json
from utils.press.live import copies, plan, room
from utils.press.live import lecture as cli
from utils.press.live.room import Check

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


def test_a_line_says_status_thing_and_remedy():
    assert str(Check("ok", "port 1 is free")) == "[ok]   port 1 is free"
    assert str(Check("FAIL", "no RISE", "make env")) == "[FAIL] no RISE -> make env"


def test_packages_are_compared_with_the_requirements(tmp_path):
    assert room.packages().status == "ok"
    (tmp_path / "r.txt").write_text("numpy>=99  # too new\nno-such-package\nscipy>=1\n", encoding="utf-8")
    found = room.packages(tmp_path / "r.txt")
    assert found.status == "FAIL" and "make env" in found.remedy
    assert "wanted >=99" in found.what and "no-such-package is missing" in found.what and "scipy" not in found.what


@pytest.mark.parametrize(("free", "status"), [(9.0, "ok"), (1.0, "warn"), (0.1, "FAIL")])
def test_disk(free, status, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("U", (), {"free": free * 2**30}))
    found = room.disk(tmp_path)
    assert found.status == status and bool(found.remedy) == (status != "ok") and f"{free:.1f} GB" in found.what


def test_memory_python_weights_data_and_rise_are_fine_here():
    for check in (room.memory, room.python, room.weights, room.dataset, room.rise):
        assert check().status in ("ok", "warn"), check()


def test_missing_weights_and_data_are_failures_with_a_sentence(monkeypatch):
    def gone(*_, **__):
        raise CourseError("The weights' package x is not installed; run y.")

    monkeypatch.setattr(text, "minilm_folder", gone)
    monkeypatch.setattr("utils.data.load_dataset", gone)
    for check in (room.weights, room.dataset):
        found = check()
        assert found.status == "FAIL" and "is not installed" in found.what and found.remedy


def test_rise_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *_: [str(tmp_path)])
    assert str(room.rise()) == "[FAIL] RISE (jupyterlab-rise) is not installed -> make env"


def test_a_taken_port_is_a_warning_and_the_next_one_is_used():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        found = room.port(taken)
        assert found.status == "warn" and str(room.free_port(taken)) in found.remedy
        assert room.free_port(taken) > taken


def test_network_asks_nobody(monkeypatch):
    """The answer comes from the routing table: no name is looked up, no packet leaves."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    monkeypatch.setattr(socket.socket, "send", lambda *_: pytest.fail("something was sent"), raising=False)
    assert room.network().status == "ok"


def test_a_check_that_breaks_is_a_line(monkeypatch, capsys):
    def broken():
        raise ZeroDivisionError("ha")

    monkeypatch.setattr(room, "checks", lambda port: [broken, lambda: Check("ok", "fine")])
    assert [check.status for check in room.look()] == ["FAIL", "ok"]
    assert "[FAIL] broken: ZeroDivisionError: ha -> make env, then again\n[ok]   fine" in capsys.readouterr().out


@pytest.mark.parametrize(("found", "code"), [(["ok", "warn"], 0), (["ok", "FAIL"], 1)])
def test_exit_status_and_sentence(found, code, monkeypatch, capsys):
    monkeypatch.setattr(room, "look", lambda port: [Check(status, "x", "y") for status in found])
    assert cli.main(["--check-only"]) == code
    out = capsys.readouterr()
    assert ("The room is ready." in out.out) == (code == 0)
    assert ("The room is not ready: One thing is marked [FAIL]" in out.err) == (code == 1)


def test_a_notebook_that_fails_stops_make_live(monkeypatch, capsys):
    monkeypatch.setattr(room, "look", lambda port: [Check("ok", "x")])
    monkeypatch.setattr("utils.press.run.run", lambda *_, **__: 1)
    assert cli.main(["--no-server"]) == 1
    assert "A notebook fails on this machine" in capsys.readouterr().err


def test_make_live_calls_this():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "live: env\n\t@$(BIN)/python -m utils.press live" in makefile


@contextlib.contextmanager
def lab(folder):
    """JupyterLab as `make live` starts it, but in another folder; yields its address with a slash at the end."""
    port, token = room.free_port(8950 + os.getpid() % 1000), "t0ken"  # another process may start one, too
    command = cli.server_command(port, False)
    assert not [part for part in command if token in part], "every user of a machine can read the words of a command"
    command = [part.replace(str(ROOT), str(folder)) if part.startswith("--") else part for part in command]
    write_json(folder / cli.SETTINGS.relative_to(ROOT) / "overrides.json", cli.QUIET)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "JUPYTER_TOKEN": token}, **quiet
    )
    try:
        assert cli.wait_for(f"http://127.0.0.1:{port}/", token, 240), "JupyterLab does not start"
        yield f"http://127.0.0.1:{port}/", token
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)  # it shuts its kernels down first
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    import nbformat

    folder = tmp_path_factory.mktemp("lab")
    live = folder / "build" / "live"
    live.mkdir(parents=True)
    shutil.copyfile(copies.STYLE, live / copies.STYLE.name)
    for path in plan.notebooks("0"):
        nbformat.write(copies.live_copy(path), live / path.name)
        (folder / "build" / f"{path.stem}.html").write_text("<h1>the saved copy</h1>", encoding="utf-8")
    with lab(folder) as address:
        yield address


def test_the_extension_is_on_and_slides_answer(server):
    address, token = server
    with urllib.request.urlopen(f"{address}rise/build/live/00_start_here.ipynb?token={token}") as answer:
        page = answer.read().decode("utf-8")
    assert answer.status == 200 and "rise" in page.lower()
    config = json.loads(
        page.split('<script id="jupyter-config-data" type="application/json">')[1].split("</script>")[0]
    )
    assert any(extension["name"] == "jupyterlab-rise" for extension in config["federated_extensions"])
    with urllib.request.urlopen(f"{address}lab/tree/build/live/00_start_here.ipynb?token={token}") as answer:
        assert "jupyterlab-rise" in answer.read().decode("utf-8")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no browser here")
def test_slides_and_saved_copy_in_a_browser(server):
    """RISE shows the live path only, with no request to another machine; the saved copy opens with one click in the lab."""
    api = pytest.importorskip("playwright.sync_api")
    address, token = server
    with api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}rise/build/live/00_start_here.ipynb?token={token}")
        page.wait_for_selector(".reveal .slides section.present h1", timeout=120_000)
        assert "00 start here" in page.inner_text(".reveal .slides section.present h1 >> nth=0").lower()
        assert "Finds the course" not in page.inner_text(".reveal .slides")
        letters = "getComputedStyle(document.querySelector('.reveal .slides section.present p')).fontSize"
        page.wait_for_function(f"{letters} === '26px'")  # rise.css is read from the notebook's folder
        page.goto(f"{address}lab/tree/build/live/00_start_here.ipynb?token={token}")
        page.click('.jp-RenderedMarkdown a:has-text("Saved copy") >> nth=0', timeout=120_000)
        frame = page.wait_for_selector(".jp-HTMLViewer iframe", timeout=60_000).content_frame()
        frame.wait_for_selector("text=the saved copy", timeout=30_000)
        outside = [
            url for url in asked if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))
        ]
        assert not outside
        browser.close()
