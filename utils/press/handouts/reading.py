"""Handouts, the reading list: one entry for every system that the course names, with its DOI or arXiv number."""

from __future__ import annotations

import re
from typing import Any

from utils.errors import CourseError
from utils.press.handouts.text import SOURCES
from utils.press.templates import render

IDS = {
    "doi": (re.compile(r"10\.\d{4,9}/\S+"), "https://doi.org/"),
    "arXiv": (re.compile(r"\d{4}\.\d{4,5}"), "https://arxiv.org/abs/"),
}


def sections() -> list[dict[str, Any]]:
    """Return the sections of reading.yaml, each with its works, checked.

    Raises:
        CourseError: a work has neither identifier nor link, or one that cannot be one.
    """
    import yaml

    found = yaml.safe_load((SOURCES / "reading.yaml").read_text(encoding="utf-8"))
    for section in found:
        for work in section["works"]:
            if not work.get("ids") and not work.get("url"):
                raise CourseError(f"reading.yaml: {work['title']!r} has no ids; give doi:... or arXiv:..., else a url.")
            for identifier in work.get("ids", []):
                kind, _, value = identifier.partition(":")
                if kind not in IDS or not IDS[kind][0].fullmatch(value):
                    raise CourseError(
                        f"reading.yaml: {identifier!r} of {work['title']!r} is no doi:10... or arXiv:1234.56789."
                    )
    return found


def link(identifier: str) -> str:
    """Return the address of ``doi:...`` or ``arXiv:...``."""
    kind, _, value = identifier.partition(":")
    return IDS[kind][1] + value


def _links(work: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (words, address) of where a work can be read."""
    links = [(identifier, link(identifier)) for identifier in work.get("ids", [])]
    return [*links, ("link", work["url"])] if "url" in work else links


def reading_page() -> str:
    """Return the reading list as a page."""
    found = sections()
    count = sum(len(section["works"]) for section in found)
    return render("reading.html", title="Reading list", style="handout.css", sections=found, count=count, links=_links)
