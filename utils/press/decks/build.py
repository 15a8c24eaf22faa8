"""Decks, the command: `python -m utils.press decks` builds every deck into `build/slides/`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from utils.errors import CourseError
from utils.files import ROOT, write_text
from utils.press.decks import browser, page, source
from utils.press.decks.source import Deck

BUILD = ROOT / "build" / "slides"


def build(
    only: list[str] | None = None, *, build_folder: Path = BUILD, folder: Path = source.SLIDES, pdf: bool = True
) -> list[Deck]:
    """Build decks: `<part>.html`, and with a browser `<part>.pdf` and `<part>_notes.pdf`; return them.

    Raises:
        CourseError: a source is wrong (file and slide are named), or there is no browser for the PDFs (the HTML is made).
    """
    decks = [source.read(path) for path in source.paths(folder=folder)]
    wanted = {path.stem for path in source.paths(only or (), folder)}
    made = [deck for deck in decks if deck.part in wanted]
    for deck in made:
        pieces = page.rendered(deck, decks)
        _write(build_folder / f"{deck.part}.html", page.deck_page(deck, pieces))
        _write(build_folder / "cache" / f"{deck.part}.notes.html", page.notes_page(deck, pieces))
    _write(build_folder / "index.html", page.index_page(decks, pdf and browser.find() is not None))
    if pdf:
        with browser.opened() as tab:
            for deck in made:
                browser.print_deck(tab, build_folder / f"{deck.part}.html", build_folder / f"{deck.part}.pdf")
                notes = build_folder / "cache" / f"{deck.part}.notes.html"
                browser.print_notes(tab, notes, build_folder / f"{deck.part}_notes.pdf")
    return made


def _write(path: Path, text: str) -> None:
    write_text(path, text)


def main(arguments: list[str] | None = None) -> int:
    """Build what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m utils.press decks", description=__doc__)
    parser.add_argument("--only", default="", help="parts, separated by commas: 1.3 or 0,1.1")
    parser.add_argument("--html", action="store_true", help="HTML only, no PDFs: quick, needs no browser")
    parser.add_argument("--look", action="store_true", help="also write each slide as a PNG to build/slides/look/")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    only = [part.strip() for part in options.only.split(",") if part.strip()]
    try:
        decks = build(only, pdf=not options.html)
        if options.look:
            look([deck.part for deck in decks])
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    for deck in decks:
        print(f"{deck.part:>5}  {len(deck.slides):>3} slides  {deck.minutes:>4g} min  build/slides/{deck.part}.html")
    print(f"{len(decks)} decks in {time.monotonic() - start:.0f} s; open build/slides/index.html")
    return 0


def look(parts: list[str], build_folder: Path = BUILD) -> None:
    """Write a picture of every slide with all its steps shown, to look at: `look/<part>-<number>.png`."""
    with browser.opened() as tab:
        for part in parts:
            browser.go(tab, build_folder / f"{part}.html")
            for old in (build_folder / "look").glob(f"{part}-*.png"):
                old.unlink()
            for number in range(tab.evaluate("Reveal.getTotalSlides()")):
                tab.evaluate(
                    "n => { Reveal.slide(n); while (Reveal.availableFragments().next) Reveal.nextFragment(); }", number
                )
                target = build_folder / "look" / f"{part}-{number + 1:02d}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                tab.screenshot(path=str(target))
