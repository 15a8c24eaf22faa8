"""Handouts, the texts: a Markdown page to HTML, its formulas to MathML, its tables so that they read aloud."""

from __future__ import annotations

import html
import re
from pathlib import Path

from utils.accessible import speak_tables
from utils.files import ROOT
from utils.pages import CODE, MATH

SOURCES = ROOT / "slides" / "handouts"

CSS = """
body { font: 17px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 900px; margin: 0 auto; padding: 24px; color: #222; }
h1 { line-height: 1.2; } h2 { margin-top: 1.6em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; width: 100%; margin: 0.8em 0; }
caption { text-align: left; color: #555; font-size: 14px; padding: 4px 0; }
th, td { text-align: left; vertical-align: top; padding: 5px 10px 5px 0; border-bottom: 1px solid #ddd; }
code { font-size: 0.92em; background: #f3f3f3; padding: 0 3px; } a { color: #0b5394; }
nav { font-size: 15px; padding-bottom: 8px; border-bottom: 1px solid #ddd; } .why { color: #555; }
@media print { nav { display: none; } body { padding: 0; } a { color: inherit; } }
"""


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


def page(title: str, body: str, *, css: str = CSS, bar: str = '<nav><a href="index.html">Course map</a></nav>') -> str:
    """Return a whole HTML page; its tables get captions and scopes."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{css}</style></head>"
        f"<body>{bar}<main>{speak_tables(body)}</main></body></html>\n"
    )


def rows(markdown: str, heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading of level two, without its header."""
    part = re.split(rf"^## {re.escape(heading)}$", markdown, flags=re.M)[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def source(name: str) -> str:
    """Return the text of a handout's source."""
    return (Path(SOURCES) / name).read_text(encoding="utf-8")
