"""`make handouts`: cheat sheet (HTML, and PDF where there is a browser), glossary and reading list in build/."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from utils.errors import CourseError
from utils.files import ROOT, write_text
from utils.press.handouts.reading import reading_page
from utils.press.handouts.sheet import cheat_sheet, glossary_page


def write(folder: Path, *, pdf: bool = True) -> list[Path]:
    """Write the three pages and the PDF of the cheat sheet; return what was written.

    Raises:
        CourseError: ``pdf`` is wanted and no browser is there; the pages are written by then.
    """
    texts = {"cheat_sheet": cheat_sheet(), "glossary": glossary_page(), "reading": reading_page()}
    written = []
    for name, text in texts.items():
        write_text(folder / f"{name}.html", text)
        written.append(folder / f"{name}.html")
    if pdf:
        from utils.press.decks import browser

        with browser.opened() as page:
            browser.print_notes(page, folder / "cheat_sheet.html", folder / "cheat_sheet.pdf")
        written.append(folder / "cheat_sheet.pdf")
    return written


def main(arguments: list[str] | None = None) -> int:
    """Command line of `make handouts`."""
    parser = argparse.ArgumentParser(prog="python -m utils.press handouts", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="the folder to write to")
    parser.add_argument("--no-pdf", action="store_true")
    options = parser.parse_args(arguments)
    try:
        for path in write(options.out, pdf=not options.no_pdf):
            print(path)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
