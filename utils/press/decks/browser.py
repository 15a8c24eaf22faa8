"""Decks, the browser: finds Chromium, Chrome or Edge, prints PDFs, and measures whether a slide holds what is on it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.errors import CourseError
from utils.files import atomic_path
from utils.press.decks.page import HEIGHT, WIDTH

COMMANDS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
PLACES = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": (
        r"Google\Chrome\Application\chrome.exe",
        r"Microsoft\Edge\Application\msedge.exe",
        r"Chromium\Application\chrome.exe",
    ),
}
NO_BROWSER = (
    "No browser found for the PDFs (the HTML decks are made): install Chromium, Chrome or Edge, or set COURSE_BROWSER "
    "to the program."
)


def find() -> str | None:
    """Return the path of a Chromium-like browser, or None. The environment variable COURSE_BROWSER wins."""
    given = os.environ.get("COURSE_BROWSER")
    if given:
        return given if Path(given).is_file() else None
    for command in COMMANDS:
        if found := shutil.which(command):
            return found
    roots = [""]
    if sys.platform == "win32":
        names = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
        roots = [os.environ[name] for name in names if os.environ.get(name)]
    for place in PLACES.get(sys.platform, ()):
        for root in roots:
            if (path := Path(root) / place).is_file():
                return str(path)
    return None


@contextmanager
def opened() -> Iterator[Any]:
    """Yield a page of a headless browser.

    Raises:
        CourseError: there is no browser, or it does not start.
    """
    program = find()
    if program is None:
        raise CourseError(NO_BROWSER)
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(
                executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
            )
        except Error as error:
            reason = str(error).splitlines()[0]
            raise CourseError(f"{program} does not start ({reason}); set COURSE_BROWSER to another browser.") from error
        try:
            yield browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        finally:
            browser.close()


def go(page: Any, path: Path, query: str = "") -> None:
    """Open a deck and wait until it stands: scripts, fonts and pictures."""
    page.goto(path.resolve().as_uri() + query)
    page.evaluate("document.fonts.ready")
    if "notes.html" not in path.name:
        page.wait_for_function("window.Reveal && Reveal.isReady()")


def print_deck(page: Any, deck: Path, target: Path) -> None:
    """Print a deck, one slide a page."""
    go(page, deck, "?view=print")
    page.wait_for_selector(".pdf-page")
    _pdf(page, target)


def print_notes(page: Any, notes: Path, target: Path) -> None:
    """Print the page of notes."""
    page.goto(notes.resolve().as_uri())
    page.evaluate("document.fonts.ready")
    _pdf(page, target)


def _pdf(page: Any, target: Path) -> None:
    with atomic_path(target) as temporary:
        page.pdf(path=str(temporary), prefer_css_page_size=True, print_background=True)


# What lies in the room between heading and foot must not leave it, nothing may leave the slide, no code may be cut, and
# no picture may be squeezed into a stamp. All numbers are pixels of 1280 x 720; 0 is good.
MEASURE = """() => [...document.querySelectorAll('.slides > section')].map(section => {
  const before = section.getAttribute('style');
  section.style.display = 'block'; section.style.visibility = 'visible';
  const frame = section.getBoundingClientRect(), scale = frame.width / 1280, over = [0], small = [];
  const note = (amount, node) => { if (amount > 2) over.push(Math.round(amount / scale)); };
  for (const node of section.querySelectorAll('.inside, .inside *')) {
    if (node.closest('svg svg, math math') || node.parentElement.closest('svg, math')) continue;
    if (node.classList.contains('code-step')) continue;
    const box = node.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    note(box.bottom - frame.bottom + 28 * scale); note(box.right - frame.right + 30 * scale);
    note(frame.left + 30 * scale - box.left); note(frame.top + 20 * scale - box.top);
    const room = node.closest('.main');
    if (room && room !== node) {
      const edge = room.getBoundingClientRect();
      note(box.bottom - edge.bottom); note(edge.top - box.top);
    }
    if (node.matches('pre, .column, .box-box, td')) note((node.scrollWidth - node.clientWidth) * scale);
    if (node.matches('figure, figure > img')) small.push(Math.min(box.width, box.height) / scale);
  }
  const all = name => [...section.querySelectorAll(name)];
  const result = {number: +section.dataset.number, over: Math.max(...over), smallest: Math.min(9999, ...small),
    maths: all('math').length, flat: all('math').filter(x => x.getBoundingClientRect().height < 2).length,
    bare: all('img').filter(x => !x.alt.trim()).length, broken: all('img').filter(x => !x.naturalWidth).length,
    text: section.querySelector('.inside').innerText};
  before === null ? section.removeAttribute('style') : section.setAttribute('style', before);
  return result;
})"""


def measure(page: Any, deck: Path) -> list[dict[str, Any]]:
    """Return what a browser finds on each slide of a deck.

    Returns:
        For each slide: number; over = pixels by which something leaves its room; smallest = shortest side of a figure;
        maths = formulas, flat = those without a height; bare = pictures without alt text, broken = without a picture;
        text = what can be read.
    """
    go(page, deck)
    return page.evaluate(MEASURE)
