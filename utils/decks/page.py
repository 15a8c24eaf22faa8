"""Decks, the page: one self-contained HTML file per deck, a page of notes to print, and the index."""

from __future__ import annotations

import base64
import html
from functools import lru_cache

from pygments.formatters import HtmlFormatter

from utils.decks.render import slide_html
from utils.decks.source import SLIDES, Deck
from utils.pictures import _ink
from utils.plotstyle import MODALITY_COLOURS

WIDTH, HEIGHT = 1280, 720
VENDOR = SLIDES / "vendor"
FONTS = (
    ("Source Sans 3", 400, "source-sans-3-latin-400-normal"),
    ("Source Sans 3", 700, "source-sans-3-latin-700-normal"),
    ("Source Sans 3 Greek", 400, "source-sans-3-greek-400-normal"),
    ("Source Code Pro", 400, "source-code-pro-latin-400-normal"),
    ("STIX Two Math", 400, "stix-two-math-latin-400-normal"),
)

SCRIPT = """
function light(deck) {
  for (const pre of deck.querySelectorAll('pre.code')) {
    let mark = null, next = pre.nextElementSibling;
    while (next && next.classList.contains('code-step')) {
      if (next.classList.contains('visible')) mark = next;
      next = next.nextElementSibling;
    }
    const lit = mark ? mark.dataset.lines.split(',') : [];
    pre.classList.toggle('stepping', lit.length > 0);
    for (const line of pre.querySelectorAll('.line')) line.classList.toggle('lit', lit.includes(line.dataset.line));
  }
}
const printing = /view=print/.test(location.search);
Reveal.initialize({width: 1280, height: 720, margin: 0, center: false, hash: true, transition: 'none', controls: false,
  backgroundTransition: 'none', slideNumber: printing ? false : 'c/t', pdfSeparateFragments: false, pdfMaxPagesPerSlide: 1,
  pdfPageHeightOffset: 0, plugins: printing ? [] : [RevealNotes]});
if (!printing) for (const event of ['fragmentshown', 'fragmenthidden', 'slidechanged', 'ready'])
  Reveal.on(event, () => light(document));
"""

# A printed page of notes: two slides or so, small, and what is said below each
NOTES_CSS = """
@page { size: A4; margin: 44px 60px; }
body { margin: 0; }
.notes-page { box-sizing: border-box; width: 674px; break-inside: avoid; padding-bottom: 20px; margin-bottom: 20px;
  border-bottom: 1px solid #c9d3dc; font-size: 17px; line-height: 1.4; }
.notes-page .thumb { width: 563px; height: 317px; overflow: hidden; border: 1px solid #c9d3dc; position: relative; }
.notes-page .slides { width: 1280px; height: 720px; transform: scale(0.44); transform-origin: 0 0; position: relative; }
.notes-page .slides section { position: relative; }
.notes-page .head { display: flex; justify-content: space-between; font-size: 15px; color: #56636f; margin-bottom: 10px; }
.notes-page .said { margin-top: 12px; } .notes-page .said p { margin: 0 0 12px; }
.notes-page .said ul { margin: 0 0 12px; }
.notes-page .clock { font-weight: 700; color: #10202f; }
.notes-page a.cell { color: #0b5394; }
"""


def colours_css() -> str:
    """Return the modality colours of `utils.plotstyle` as CSS; letters use a darker shade of the same colour."""
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
    css = (SLIDES / "deck.css").read_text(encoding="utf-8")
    return "\n".join([*faces, colours_css(), css, pygments])


def _vendored(name: str) -> str:
    # the end of a script inside a script would end the page's own
    return (VENDOR / "reveal" / name).read_text(encoding="utf-8").replace("</script", "<\\/script")


def rendered(deck: Deck, decks: list[Deck]) -> list[tuple[str, str]]:
    """Return (slide, notes) as HTML for each slide of a deck."""
    return [slide_html(slide, deck, decks) for slide in deck.slides]


def deck_page(deck: Deck, pieces: list[tuple[str, str]]) -> str:
    """Return the deck as one HTML page: nothing in it asks for another file."""
    line = html.escape(f"{deck.heading}" if deck.part != "title" else "")
    sections = "".join(
        f'<section class="{slide.layout}" data-timing="{slide.seconds}" data-number="{slide.number}">'
        f'<div class="inside">{body}</div><div class="deck-line">{line}</div>'
        f'<aside class="notes"><p><b>{slide.seconds} s</b></p>{notes}</aside></section>'
        for slide, (body, notes) in zip(deck.slides, pieces)
    )
    styles = _vendored("reset.css") + _vendored("reveal.css") + _styles("<math" in sections)
    return f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(deck.heading)}</title>
<link rel="icon" href="data:,"><style>{styles}</style></head>
<body><div class="reveal"><div class="slides">{sections}</div></div>
<script>{_vendored("reveal.js")}</script><script>{_vendored("notes.js")}</script><script>{SCRIPT}</script></body></html>
"""


def notes_page(deck: Deck, pieces: list[tuple[str, str]]) -> str:
    """Return what becomes the PDF of notes: each slide with the time at which it begins, and what is said below it."""
    pages, clock = [], 0
    for slide, (body, notes) in zip(deck.slides, pieces):
        head = f"{html.escape(deck.heading)} · slide {slide.number} of {len(deck.slides)}"
        clock_text = f"{clock // 60}:{clock % 60:02d} + {slide.seconds} s"
        pages.append(
            f'<div class="notes-page"><div class="head"><span>{head}</span><span class="clock">{clock_text}</span></div>'
            f'<div class="thumb"><div class="slides"><section class="{slide.layout}"><div class="inside">{body}</div>'
            f'</section></div></div><div class="said">{notes}</div></div>'
        )
        clock += slide.seconds
    text = "".join(pages)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(deck.heading)}: notes</title>'
        f"<style>{_styles('<math' in text)}{NOTES_CSS}</style></head><body>{text}</body></html>"
    )


def index_page(decks: list[Deck], pdf: bool) -> str:
    """Return the list of decks with their links."""
    rows = []
    for deck in decks:
        links = (
            f'<a href="{deck.part}.pdf">slides as PDF</a> · <a href="{deck.part}_notes.pdf">notes</a>' if pdf else ""
        )
        rows.append(
            f'<tr><td><a href="{deck.part}.html">{html.escape(deck.heading)}</a></td><td>{deck.minutes:g} min</td>'
            f"<td>{len(deck.slides)} slides</td><td>{links}</td></tr>"
        )
    return f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Decks</title><link rel="icon" href="data:,"><style>body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 900px;
margin: 0 auto; padding: 32px 24px; color: #1b2733; }} td {{ padding: 8px 20px 8px 0; border-bottom: 1px solid #dde3e8; }}
a {{ color: #0b5394; }}</style></head><body><h1>Decks of the lecture</h1>
<p>Keys: arrows or space to move, <b>S</b> for the speaker's view with notes and clock, <b>F</b> for the full screen,
<b>O</b> for the overview, <b>B</b> for a black screen.</p><table>{"".join(rows)}</table></body></html>
"""
