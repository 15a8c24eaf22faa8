"""The site: complete, every link leads somewhere, nothing is fetched from elsewhere, also from a sub-folder."""

import functools
import http.server
import json
import os
import re
import threading

import nbformat
import pytest

from utils.errors import CourseError
from utils.files import ROOT
from utils.press import site as rooms

PNG = (ROOT / "slides" / "figures" / "lists.png").read_bytes()


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A build folder with one executed notebook, one deck and one quiz."""
    import base64

    from utils import course

    (path,) = [path for path in course.notebook_paths() if path.stem.startswith("00")]
    monkeypatch.setattr(course, "notebook_paths", lambda *a: [path])
    image = f'<img alt="History and two lists" src="data:image/png;base64,{base64.b64encode(PNG).decode()}">'
    output = nbformat.v4.new_output("display_data", {"text/html": image})
    cells = [
        nbformat.v4.new_markdown_cell("# T\n\n[card](../data/sticker_shop/README.md), [next](01_why_multimedia.ipynb)")
    ]
    cells.append(nbformat.v4.new_code_cell("1", outputs=[output]))
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["papermill"] = {"parameters": {"FAST": True}}
    (tmp_path / "executed").mkdir()
    nbformat.write(notebook, tmp_path / "executed" / f"{path.stem}.ipynb")
    for folder, title in (("slides", "1.1 Deck"), ("quiz", "1.1 Quiz")):
        (tmp_path / folder / "cache").mkdir(parents=True)
        (tmp_path / folder / "1.1.html").write_text(f'<title>{title}</title><a href="../{path.stem}.html">x</a>')
    monkeypatch.setattr("utils.press.decks.browser.find", lambda: None)
    monkeypatch.setattr("utils.press.handouts.sheet.glossary_page", lambda: "<p>")
    monkeypatch.setattr("utils.press.handouts.build.glossary_page", lambda: "<html><p>glossary</p></html>")
    return tmp_path


def test_a_site_has_pages_decks_quizzes_and_handouts(build):
    index = rooms.write_site(build, complete=True)
    text = index.read_text(encoding="utf-8")
    for name in (
        "00_start_here.html",
        "slides/1.1.html",
        "quiz/1.1.html",
        "cheat_sheet.html",
        "reading.html",
        "glossary.html",
    ):
        assert f'href="{name}"' in text and (index.parent / name).is_file()
    assert '<img alt="History and two lists" src="pictures/00_start_here.png">' in text
    assert "1.1 Deck" in text and not (index.parent / "slides" / "cache").exists()
    page = (index.parent / "00_start_here.html").read_text(encoding="utf-8")
    assert "/blob/" in page and "data/sticker_shop/README.md" in page, "the card is read in the repository"
    assert "/notebooks/01_why_multimedia.ipynb" in page, "a notebook without a page yet is read in the repository"
    assert rooms.faults(index.parent) == []


def test_a_link_to_a_page_that_is_not_there_stops_the_site(build):
    (build / "quiz" / "1.1.html").write_text('<title>1.1</title><a href="../01_why.html">x</a>')
    with pytest.raises(CourseError, match=r"quiz/1.1.html links to ../01_why.html, which is not in the site"):
        rooms.write_site(build)


def test_a_site_without_any_notebook_still_works(build):
    """What a newcomer gets who runs `make site` before `make course`."""
    (path,) = (build / "executed").glob("*.ipynb")
    path.unlink()
    index = rooms.write_site(build)
    quiz = (index.parent / "quiz" / "1.1.html").read_text(encoding="utf-8")
    assert f"/blob/TAG/notebooks/{path.name}" in quiz.replace(rooms.course.home()["tag"], "TAG")
    assert rooms.faults(index.parent) == []


def test_a_page_is_written_again_when_its_look_changes(build, monkeypatch, tmp_path):
    page = rooms.write_site(build).parent / "00_start_here.html"
    page.write_text("as it was", encoding="utf-8")
    rooms.write_site(build)
    assert page.read_text(encoding="utf-8") == "as it was"
    (tmp_path / "theme").mkdir()
    (tmp_path / "theme" / "notebook.css").write_text("", encoding="utf-8")
    os.utime(tmp_path / "theme" / "notebook.css", (page.stat().st_mtime + 9,) * 2)
    monkeypatch.setattr(rooms, "THEME", tmp_path / "theme")
    rooms.write_site(build)
    assert "course-bar" in page.read_text(encoding="utf-8")


def test_a_half_site_is_not_published(build, capsys):
    (build / "slides" / "1.1.html").unlink()
    with pytest.raises(CourseError, match=r"still to make: the decks \(make slides\)"):
        rooms.write_site(build, complete=True)
    rooms.write_site(build)
    assert "not in the site yet: the decks" in capsys.readouterr().out


def test_a_copy_that_ran_on_foreign_data_or_failed_is_never_shown(build):
    (path,) = (build / "executed").glob("*.ipynb")
    content = json.loads(path.read_text(encoding="utf-8"))
    for about in ({"parameters": {"DATASET": "/elsewhere/movielens"}}, {"parameters": {}, "exception": True}):
        content["metadata"]["papermill"] = about
        path.write_text(json.dumps(content), encoding="utf-8")
        assert rooms.executed_copy(build, path.stem) is None
    content["metadata"]["papermill"] = {"parameters": {}, "end_time": None}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert rooms.executed_copy(build, path.stem) is None, "still running"
    path.write_text("", encoding="utf-8")
    assert rooms.executed_copy(build, path.stem) is None, "cut off"
    content["metadata"]["papermill"] = {"parameters": {"DATASET": "sticker_shop"}}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert rooms.executed_copy(build, path.stem) == path


@pytest.mark.parametrize(
    "markup, fault",
    [
        ('<img src="https://x.invalid/a.png">', "would fetch https://x.invalid/a.png"),
        ('<script src="//x.invalid/a.js"></script>', "would fetch"),
        ('<link rel="stylesheet" href="https://x.invalid/a.css">', "would fetch"),
        ("<style>@import 'https://x.invalid/a.css';</style>", "would fetch"),
        ("<style>p { background: url(/top.png) }</style>", "would fetch /top.png"),
        ('<a href="/index.html">', "links to /index.html"),
        ('<a href="../outside.html">', "links to ../outside.html"),
        ('<a href="#nowhere">', "no such place"),
        ('<a href="https://x.invalid">', None),
        ('<img src="data:image/png;base64,AA=="><p id="here"><a href="#here">', None),
    ],
)
def test_faults_are_named(tmp_path, markup, fault):
    (tmp_path / "page.html").write_text(markup)
    found = rooms.faults(tmp_path)
    assert (found == []) if fault is None else (len(found) == 1 and fault in found[0]), found


@pytest.mark.browser
def test_served_from_a_sub_folder_no_request_leaves_and_none_fails(build, monkeypatch):
    index = rooms.write_site(build)
    monkeypatch.undo()
    from utils.press.decks import browser

    if browser.find() is None:
        pytest.skip("no Chromium, Chrome or Edge here")
    top = build / "web"
    (top / "some").mkdir(parents=True)
    index.parent.rename(top / "some" / "course")
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *a: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(top)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base, bad, wanted = f"http://127.0.0.1:{server.server_port}/some/course/", [], []
    try:
        with browser.opened() as page:
            page.on("request", lambda request: wanted.append(request.url))
            page.on("response", lambda answer: bad.append(answer.url) if answer.status >= 400 else None)
            for name in ("index.html", "00_start_here.html", "slides/1.1.html", "cheat_sheet.html", "reading.html"):
                page.goto(base + name)
            page.goto(base + "index.html")
            page.click("text=00 Start here")
            assert page.url == base + "00_start_here.html"
    finally:
        server.shutdown()
    assert [url for url in wanted if not url.startswith((base, "data:"))] == []
    assert [url for url in bad if "favicon" not in url] == []


def test_the_readmes_show_four_small_pictures_with_alt_texts():
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "data/results/README.md"))
    shown = dict(re.findall(r"!\[([^\]]*)\]\((?:\.\./\.\./)?(slides/figures/[^)]+)\)", text))
    assert len(shown) == 4 and {f"slides/figures/{name}.png" for name in rooms.README_PICTURES} == set(shown.values())
    for alt, name in shown.items():
        assert len(alt.split()) >= 8, name
        size = (ROOT / name).stat().st_size
        assert size < rooms.MAX_PICTURE, f"{name} has {size:,} bytes: python -m utils.press site pictures"
    assert "python -m utils.press site pictures" in text


def test_pictures_come_from_executed_notebooks_and_are_small(build, monkeypatch, tmp_path):
    monkeypatch.setattr(rooms, "README_PICTURES", {"lists": "00_start_here"})
    assert rooms.write_pictures(build, tmp_path / "out") == {"lists": "History and two lists"}
    assert (tmp_path / "out" / "lists.png").stat().st_size < rooms.MAX_PICTURE
    monkeypatch.setattr(rooms, "README_PICTURES", {"lists": "05_training"})
    with pytest.raises(CourseError, match="make course ONLY=05"):
        rooms.write_pictures(build, tmp_path / "out")
