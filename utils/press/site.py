"""`make site`: one folder for the web with every notebook page, the decks, the quizzes and the handouts; links checked."""

from __future__ import annotations

import argparse
import base64
import html
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from utils import course
from utils.data.pictures import FORMATS
from utils.errors import CourseError
from utils.files import ROOT, atomic_path, write_text
from utils.press import pages
from utils.press.templates import THEME, render

BUILD = ROOT / "build"
FIGURES = ROOT / "slides" / "figures"
# README's pictures: the headline figures of these notebooks, made by the course's own code
README_PICTURES = {
    "lists": "00_start_here",
    "neighbours": "01_why_multimedia",
    "cold_shelf": "05_training",
    "attention": "10_fine_grained_features",
}
MAX_PICTURE = 200_000  # bytes
HANDOUTS = {
    "cheat_sheet.html": "Cheat sheet: the schema and the metrics on one page",
    "glossary.html": "Glossary and symbols",
    "reading.html": "Reading list",
}
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*?\s(?:src|data)\s*=\s*["'](?P<src>[^"']*)"""
    r"""|<link\b[^>]*?href\s*=\s*["'](?P<link>[^"']*)|url\(\s*["']?(?P<url>[^)"'\s]*)|@import\s+["'](?P<at>[^"']*)""",
    re.I,
)
HREF = re.compile(r"""(<a\b[^>]*?\shref\s*=\s*)(["'])([^"']*)\2""", re.I)
INSIDE = re.compile(r"data:[a-z]+/[\w.+-]+;base64,[A-Za-z0-9+/=]+", re.I)
SCRIPT = re.compile(r"(<script\b[^>]*>).*?</script>", re.I | re.S)


def executed_copy(build: Path, name: str, *, full: bool = False) -> Path | None:
    """Return the executed copy of a notebook that may be published: of the embedded data, the newest one.

    A copy that ran on other data is never taken: its pictures belong to somebody else.

    Args:
        full: take a copy in full mode where there is one.
    """
    found = []
    for path in (build / "executed" / f"{name}{ending}.ipynb" for ending in ("", "_full", "_fast")):
        if not path.exists():
            continue
        try:
            about = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("papermill", {})
        except ValueError:  # a run that is being written, or was cut off
            continue
        parameters = about.get("parameters", {})
        embedded = (ROOT / "data" / str(parameters.get("DATASET", "sticker_shop"))).resolve().parent == ROOT / "data"
        if embedded and not about.get("exception") and about.get("end_time", "ended"):
            found.append((full and not parameters.get("FAST"), path.stat().st_mtime, path))
    return max(found)[2] if found else None


# --- links and requests ---


def _markup(text: str) -> str:
    """Return a page without the inside of its scripts and without its embedded files."""
    return SCRIPT.sub(r"\1", INSIDE.sub("data:,", text))


def links(text: str) -> list[str]:
    """Return where a page's anchors lead, without what stands in scripts and pictures."""
    return [html.unescape(match[3]) for match in HREF.finditer(_markup(text))]


def requests(text: str) -> list[str]:
    """Return what a browser would fetch for a page: everything that is not inside it."""
    found = (
        match.group("src") or match.group("link") or match.group("url") or match.group("at")
        for match in FETCHED.finditer(_markup(text))
    )
    return [target for target in found if target and not target.startswith(("data:", "#", "blob:", "about:"))]


def faults(site: Path) -> list[str]:
    """Return every link of the site that leads nowhere and every request that leaves it, one sentence each.

    An address of the web is a link that a reader may follow, and no fault; a picture or script from there is one.
    """
    wrong, texts = [], {path: path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))}
    anchors = {path: set(re.findall(r"""\sid=["']([^"']+)["']""", text)) for path, text in texts.items()}
    for path, text in texts.items():
        here = path.relative_to(site).as_posix()
        for target in requests(text):
            if (
                re.match(r"(https?:)?//", target)
                or target.startswith("/")
                or not (path.parent / unquote(target)).exists()
            ):
                wrong.append(f"{here} would fetch {target[:80]}")
        for target in links(text):
            if re.match(r"(https?|mailto):", target):
                continue
            file, _, anchor = target.partition("#")
            goal = (path.parent / unquote(file)).resolve() if file else path.resolve()
            if target.startswith("/") or not goal.is_relative_to(site.resolve()) or not goal.is_file():
                wrong.append(f"{here} links to {target}, which is not in the site")
            elif (
                anchor
                and goal.suffix == ".html"
                and not {anchor, unquote(anchor)} & anchors.get(site / goal.relative_to(site.resolve()), set())
            ):
                wrong.append(f"{here} links to {target}, and there is no such place on that page")
    return wrong


def lead_out(text: str, folder: Path, site: Path) -> str:
    """Point links into the repository (README.md, a data card), and to notebooks without a page yet, to it on the web."""
    base = "https://github.com/{repository}/blob/{tag}/".format(**course.home())

    def replace(match: re.Match[str]) -> str:
        target = html.unescape(match[3])
        file = unquote(target.partition("#")[0])
        if not file or re.match(r"\w+:", target) or (folder / file).exists():
            return match[0]
        notebook = ROOT / "notebooks" / f"{Path(file).stem}.ipynb"
        origin = notebook if file.endswith(".html") and notebook.exists() else (ROOT / "notebooks" / file).resolve()
        if not origin.exists() or not origin.is_relative_to(ROOT):
            return match[0]
        return f'{match[1]}"{base}{origin.relative_to(ROOT).as_posix()}"'

    return HREF.sub(replace, text)


# --- pictures ---


def small_png(data: bytes, width: int) -> bytes:
    """Return a PNG at most ``width`` pixels wide, in as many colours as fit README's limit of bytes."""
    from PIL import Image

    picture = Image.open(io.BytesIO(data), formats=FORMATS).convert("RGB")
    picture.thumbnail((width, 4 * width))
    for colours in (256, 128, 64, 32):
        stream = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
        if stream.tell() < MAX_PICTURE:
            break
    return stream.getvalue()


def write_pictures(build: Path = BUILD, folder: Path = FIGURES) -> dict[str, str]:
    """Write README's pictures from executed notebooks; return name -> alt text.

    Raises:
        CourseError: a notebook was not executed on the embedded data yet.
    """
    alts = {}
    for name, notebook in README_PICTURES.items():
        copy = executed_copy(build, notebook, full=True)
        found = pages.headline_figure(copy) if copy else None
        if found is None:
            raise CourseError(f"No figure of {notebook}: run `make course ONLY={notebook[:2]} FORCE=1` first.")
        with atomic_path(folder / f"{name}.png") as temporary:
            temporary.write_bytes(small_png(base64.b64decode(found[0]), 1000))
        alts[name] = found[1]
    return alts


# --- the site ---


def _card(site: Path, copy: Path | None, path: Path) -> dict[str, Any]:
    """Return what the index says about a notebook: question, headline figure, claims of its run."""
    about = json.loads(path.read_text(encoding="utf-8"))["metadata"]["course"]
    card = {
        "status": "",
        "href": f"{path.stem}.html" if copy else "",
        "title": f"{path.stem[:2]} {about['title']}",
        "question": about["question"],
        "meta": f"{about['minutes']} minutes to read",
        "image": "",
        "claims": [],
    }
    if copy is None:
        return card
    ran = json.loads(copy.read_text(encoding="utf-8"))["metadata"]["papermill"]["parameters"]
    fast = bool(ran.get("FAST"))
    card["meta"] += ", FAST mode" if fast else ", full run"
    figure = pages.headline_figure(copy)
    if figure:
        target = site / "pictures" / f"{path.stem}.png"
        with atomic_path(target) as temporary:
            temporary.write_bytes(small_png(base64.b64decode(figure[0]), 900))
        card |= {"image": f"pictures/{target.name}", "alt": figure[1]}
    record = course.record_path(path.stem, "fast" if fast else "full", ROOT / "tests" / "records")
    if record.exists():
        entries = json.loads(record.read_text(encoding="utf-8"))["claims"]
        card["claims"] = [pages.claim_line(entry, fast) for entry in entries]
    return card


def _copy_pages(source: Path, target: Path) -> list[tuple[str, str]]:
    """Copy the pages and PDFs of a folder; return (file name, title) of each page but its index."""
    if target.exists():
        shutil.rmtree(target)
    titles = []
    for path in sorted([*source.glob("*.html"), *source.glob("*.pdf")]):
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target / path.name)
        if path.suffix == ".html" and path.name != "index.html" and not path.stem.endswith("_notes"):
            found = re.search(r"<title>(.*?)</title>", path.read_text(encoding="utf-8"), re.S)
            titles.append((path.name, html.unescape(found[1]).strip() if found else path.stem))
    return titles


def write_site(build: Path = BUILD, *, complete: bool = False) -> Path:
    """Write ``build/site`` from what was built; every link in it is checked.

    Args:
        complete: refuse a site in which a notebook or the decks are missing (CI publishes no half site).

    Raises:
        CourseError: a part is missing and ``complete`` is asked for, or a link or request is wrong.
    """
    from utils.press.handouts.build import write as write_handouts

    site = build / "site"
    site.mkdir(parents=True, exist_ok=True)
    missing, cards = [], []
    for path in course.notebook_paths():
        copy, page = executed_copy(build, path.stem), site / f"{path.stem}.html"
        if copy is None:
            missing.append(f"{path.stem} (make course ONLY={path.stem[:2]})")
            page.unlink(missing_ok=True)
        elif not page.exists() or page.stat().st_mtime < max(
            source.stat().st_mtime for source in (copy, Path(pages.__file__), *THEME.glob("notebook.*"))
        ):
            title = json.loads(path.read_text(encoding="utf-8"))["metadata"]["course"]["title"]
            pages.write_page(copy, page, title=title)
        cards.append(_card(site, copy, path))
    decks = _copy_pages(build / "slides", site / "slides")
    quizzes = _copy_pages(build / "quiz", site / "quiz")
    missing += [] if decks else ["the decks (make slides)"]
    missing += [] if quizzes else ["the quizzes (make quiz)"]
    if complete and missing:
        raise CourseError(f"The site is not complete; still to make: {', '.join(missing)}.")
    from utils.press.decks import browser

    written = write_handouts(site, pdf=browser.find() is not None)
    pdf = "cheat_sheet.pdf" if written[-1].suffix == ".pdf" else ""
    lists = [
        ("decks", "Slides", [(f"slides/{name}", title, "") for name, title in decks]),
        ("quizzes", "Quizzes", [(f"quiz/{name}", title, "") for name, title in quizzes]),
        ("handouts", "On paper", [(n, title, pdf if n == "cheat_sheet.html" else "") for n, title in HANDOUTS.items()]),
    ]
    text = render(
        "site.html",
        title="Multimodal Deep Learning for Recommendation",
        home="https://github.com/{repository}".format(**course.home()),
        cards=cards,
        lists=[entry for entry in lists if entry[2]],
    )
    (site / "index.html").write_text(text, encoding="utf-8")
    for page in site.rglob("*.html"):
        old = page.read_text(encoding="utf-8")
        new = lead_out(old, page.parent, site)
        if new != old:
            write_text(page, new)
    (site / ".nojekyll").write_text("")  # GitHub Pages serves the files as they are
    wrong = faults(site)
    if wrong:
        raise CourseError(f"The site has {len(wrong)} faults: " + "; ".join(wrong[:10]))
    for part in missing:
        print(f"not in the site yet: {part}")
    return site / "index.html"


def main(arguments: list[str] | None = None) -> int:
    """Command line of `make site`."""
    parser = argparse.ArgumentParser(prog="python -m utils.press site", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["site", "pictures"], default="site", help="pictures: README's four")
    parser.add_argument("--complete", action="store_true", help="fail when a notebook or the decks are missing")
    options = parser.parse_args(arguments)
    try:
        if options.what == "pictures":
            for name, alt in write_pictures().items():
                print(f"slides/figures/{name}.png: {alt}")
        else:
            print(f"Open {os.path.relpath(write_site(complete=options.complete))}")
    except CourseError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
