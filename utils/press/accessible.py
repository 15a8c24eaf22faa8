"""Make a page's tables accessible to screen readers: a caption for each, and header cells with a scope."""

from __future__ import annotations

import html
import re

HEADING = re.compile(r"<h[1-4]\b[^>]*>(.*?)</h[1-4]>", re.S)
PIECE = re.compile(rf"{HEADING.pattern}|(<table\b[^>]*>)(.*?)</table>", re.S)
ANCHOR = re.compile(r'<a class="anchor-link".*?</a>', re.S)


def speak_tables(body: str) -> str:
    """Give every table of a page a caption, and every header cell its scope.

    pandas and Markdown write header cells without a scope, and no caption: read aloud, such a table is a row of numbers.
    The caption is the table's number and the heading that it stands under. An empty header cell (the corner above the
    row names) becomes an ordinary empty cell. A table that has a caption keeps it; a second call changes nothing.
    """
    heading, number = "", 0

    def piece(match: re.Match[str]) -> str:
        nonlocal heading, number
        title, opening, inner = match.groups()
        if opening is None:
            heading = re.sub(r"^\d+\.\s+", "", plain(title))  # "Table 3: 2. Clean" reads badly
            return match[0]
        number += 1
        if "<caption" not in inner:
            inner = f"<caption>Table {number}{': ' + html.escape(heading) if heading else ''}</caption>{inner}"
        return f"{opening}{_scoped(inner)}</table>"

    return PIECE.sub(piece, body)


def plain(markup: str) -> str:
    """Return the words of a heading: no tags, no permalink, no doubled space."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", ANCHOR.sub("", markup))).split())


def _scoped(table: str) -> str:
    """Add ``scope`` to header cells: columns in the head, rows in the body."""
    head, middle, body = table.partition("</thead>")
    if not middle:
        head, body = "", table
    return _with_scope(head, "col") + middle + _with_scope(body, "row")


def _with_scope(part: str, scope: str) -> str:
    """Add one scope to the header cells of a part; empty ones become ordinary cells."""
    part = re.sub(r"<th\b[^>]*>(?:\s|&nbsp;)*</th>", "<td></td>", part)

    def cell(match: re.Match[str]) -> str:
        if "scope=" in match[0]:
            return match[0]
        span = re.search(r'(col|row)span="?([2-9]|\d\d)', match[1])
        group = "group" if span and span[1] == scope else ""
        return f'<th scope="{scope}{group}"{match[1]}>'

    return re.sub(r"<th\b([^>]*)>", cell, part)
