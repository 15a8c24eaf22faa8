"""Decks, the drawing of MP4SR: one history in two streams, one transformer, two stages."""

from __future__ import annotations

from utils.plots.pictures import _ink
from utils.plots.style import MODALITY_COLOURS
from utils.press.decks.figures import figure

INK, GREY = "#10202F", "#8A97A3"


@figure
def mp4sr_flow() -> tuple[str, str]:
    """Two streams of one history in one space, mixed, and one transformer; stage one without ids, stage two with them."""
    text, picture = MODALITY_COLOURS["textual"], MODALITY_COLOURS["visual"]
    parts = [
        _box(10, 60, 150, 70, text, "words"), _box(10, 250, 150, 70, picture, "picture"),
        _box(200, 60, 170, 70, text, "sentences"), _box(200, 250, 170, 70, picture, "nearest words"),
        _box(410, 60, 140, 260, INK, "one text", "encoder", "(frozen)"),
        *_stream(600, 68, text, picture), *_stream(600, 258, picture, text),
        _box(920, 60, 150, 260, INK, "one causal", "transformer"),
        *(_arrow(x, y, x + 27, y) for x in (164, 374, 554, 882) for y in (95, 285)),
        *(f'<path d="M{x} 130V246" stroke="{GREY}" stroke-width="4" stroke-dasharray="7 6" marker-end="url(#end)" '
          'marker-start="url(#end)"/>' for x in (678, 843)),
        _arrow(1074, 95, 1102, 95), _arrow(1074, 285, 1102, 285),
        _words(1112, 102, "next item", anchor="start"), _words(1112, 292, "next item", anchor="start"),
        _words(765, 196, "exchanged", size=21), _words(285, 30, "pictures are said in words", size=21),
        _words(737, 30, "one history, two streams", size=21),
        '<rect x="10" y="352" width="560" height="62" rx="10" fill="#eef2f5"/>'
        '<rect x="600" y="352" width="620" height="62" rx="10" fill="#eef2f5"/>',
        _words(30, 391, "stage one: content alone, next item in the batch", anchor="start", size=23),
        _words(620, 391, "stage two: a vector for each id is added, then tuning", anchor="start", size=23),
    ]  # fmt: skip
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1232 420" width="100%" font-family="Source Sans 3, sans-serif" '
        'aria-hidden="true"><defs><marker id="end" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="6" markerHeight="6" '
        f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{GREY}"/></marker></defs>{"".join(parts)}</svg>'
    )
    return svg, (
        "MP4SR from left to right. The words of an item become sentences, its picture becomes the nearest words of a "
        "vocabulary; one frozen text encoder turns both into vectors. A history becomes two streams of five places, which "
        "exchange their vectors at two places. One causal transformer reads each stream and predicts the next item. Stage "
        "one uses content alone, stage two adds a vector for each id."
    )


def _box(x: float, y: float, width: float, height: float, colour: str, *lines: str) -> str:
    first = y + height / 2 + 8 - 15 * (len(lines) - 1)
    words = "".join(
        _words(x + width / 2, first + 30 * at, line, colour=_ink(colour), bold=True) for at, line in enumerate(lines)
    )
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="#fff" stroke="{colour}" '
        f'stroke-width="4"/>{words}'
    )


def _stream(x: float, y: float, own: str, other: str) -> list[str]:
    """Five places of a history; the second and the last hold the other modality."""
    return [
        f'<rect x="{x + 55 * at}" y="{y}" width="46" height="54" rx="6" fill="{other if at in (1, 4) else own}"/>'
        for at in range(5)
    ]


def _words(
    x: float, y: float, words: str, *, anchor: str = "middle", size: int = 24, colour: str = INK, bold: bool = False
) -> str:
    weight = ' font-weight="700"' if bold else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{weight}>{words}</text>'


def _arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<path d="M{x0} {y0}L{x1} {y1}" stroke="{GREY}" stroke-width="4" marker-end="url(#end)"/>'
