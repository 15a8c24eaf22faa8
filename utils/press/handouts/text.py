"""Handouts, the texts: a Markdown page to HTML, its formulas to MathML, its tables so that they read aloud."""

from __future__ import annotations

import re
from pathlib import Path

from utils.files import ROOT
from utils.press.accessible import speak_tables
from utils.press.pages import CODE, MATH
from utils.press.templates import render

SOURCES = ROOT / "slides" / "handouts"


def to_html(markdown: str) -> str:
    """Return Markdown as HTML; formulas are MathML, so that no script is needed and a screen reader can speak them."""
    import mistune
    from latex2mathml.converter import convert

    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        block, inline = match.groups()
        kept.append(convert((block or inline).strip().replace(r"\|", "|"), display="block" if block else "inline"))
        return f"@@{len(kept) - 1}@@"  # Markdown must not read a star or a bar inside a formula as its own

    parts = CODE.split(markdown)
    body = mistune.html("".join(part if i % 2 else MATH.sub(keep, part) for i, part in enumerate(parts)))
    return re.sub(r"@@(\d+)@@", lambda match: kept[int(match[1])], body)


def page(title: str, body: str, *, style: str = "handout.css") -> str:
    """Return a whole HTML page in a style of the theme; its tables get captions and scopes."""
    return render("handout.html", title=title, body=speak_tables(body), style=style)


def rows(markdown: str, heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading of level two, without its header."""
    part = re.split(rf"^## {re.escape(heading)}$", markdown, flags=re.M)[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def source(name: str) -> str:
    """Return the text of a handout's source."""
    return (Path(SOURCES) / name).read_text(encoding="utf-8")
