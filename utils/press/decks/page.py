"""Decks, the page: one self-contained HTML file per deck, a page of notes to print, and the index."""

from __future__ import annotations

import base64
from functools import lru_cache
from itertools import accumulate

from pygments.formatters import HtmlFormatter

from utils.plots.pictures import _ink
from utils.plots.style import MODALITY_COLOURS
from utils.press.decks.render import slide_html
from utils.press.decks.source import SLIDES, Deck
from utils.press.templates import inline, render

WIDTH, HEIGHT = 1280, 720
VENDOR = SLIDES / "vendor"
FONTS = (
    ("Source Sans 3", 400, "source-sans-3-latin-400-normal"),
    ("Source Sans 3", 700, "source-sans-3-latin-700-normal"),
    ("Source Sans 3 Greek", 400, "source-sans-3-greek-400-normal"),
    ("Source Code Pro", 400, "source-code-pro-latin-400-normal"),
    ("STIX Two Math", 400, "stix-two-math-latin-400-normal"),
)


def colours_css() -> str:
    """Return the modality colours of `utils.plots.style` as CSS; letters use a darker shade of the same colour."""
    rules = []
    for modality, colour in MODALITY_COLOURS.items():
        rules.append(
            f".m-{modality} {{ color: {_ink(colour)}; font-weight: 700; text-decoration: underline {colour} 4px; "
            f"text-underline-offset: 6px; }} math .m-{modality} {{ color: {_ink(colour)}; text-decoration: none; }}"
        )
    variables = " ".join(f"--{modality}: {colour};" for modality, colour in MODALITY_COLOURS.items())
    return f":root {{ {variables} }}\n" + "\n".join(rules)


@lru_cache(maxsize=2)
def _styles(maths: bool) -> str:
    faces = []
    for family, weight, file in FONTS:
        if family.startswith("STIX") and not maths:
            continue
        data = base64.b64encode((VENDOR / "fonts" / f"{file}.woff2").read_bytes()).decode("ascii")
        name = family.replace(" Greek", "")
        span = "unicode-range:U+0370-03FF;" if "Greek" in family else ""
        faces.append(
            f"@font-face{{font-family:'{name}';font-weight:{weight};{span}src:url(data:font/woff2;base64,{data}) format('woff2')}}"
        )
    pygments = HtmlFormatter(style="tango").get_style_defs("pre.code")
    pygments = "\n".join(rule for rule in pygments.splitlines() if "background" not in rule)
    return "\n".join([*faces, colours_css(), inline("deck.css"), pygments])


def rendered(deck: Deck, decks: list[Deck]) -> list[tuple[str, str]]:
    """Return (slide, notes) as HTML for each slide of a deck."""
    return [slide_html(slide, deck, decks) for slide in deck.slides]


def deck_page(deck: Deck, pieces: list[tuple[str, str]]) -> str:
    """Return the deck as one HTML page: nothing in it asks for another file."""
    return render(
        "deck.html",
        title=deck.heading,
        line=deck.heading if deck.part != "title" else "",
        slides=[(slide, *piece) for slide, piece in zip(deck.slides, pieces)],
        styles=_styles(_has_maths(pieces)),
    )


def notes_page(deck: Deck, pieces: list[tuple[str, str]]) -> str:
    """Return what becomes the PDF of notes: each slide with the time at which it begins, and what is said below it."""
    starts = accumulate((slide.seconds for slide in deck.slides), initial=0)
    return render(
        "notes.html",
        title=f"{deck.heading}: notes",
        heading=deck.heading,
        slides=[(slide, *piece, start) for slide, piece, start in zip(deck.slides, pieces, starts)],
        styles=_styles(_has_maths(pieces)),
    )


def _has_maths(pieces: list[tuple[str, str]]) -> bool:
    return any("<math" in part for piece in pieces for part in piece)


def index_page(decks: list[Deck], pdf: bool) -> str:
    """Return the list of decks with their links."""
    return render("decks.html", title="Decks", decks=decks, pdf=pdf)
