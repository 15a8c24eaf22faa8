"""Handouts, the cheat sheet: schema, lines, models and metrics on one A4 page, and the glossary."""

from __future__ import annotations

import html
import re

from utils.press.handouts.text import page, rows, source, to_html

STAGES = (
    ("Which?", "modalities", "#0072B2"),
    ("How?", "\u03c6 extraction", "#8A5A00"),
    ("How?", "\u03bc representation", "#8A5A00"),
    ("When?", "\u03b3 fusion", "#00684B"),
    ("Then", "\u03c1 and the loss", "#555555"),
)


def schema_strip() -> str:
    """Return the schema as a row of boxes; in words for those who cannot see it."""
    boxes = "".join(
        f'<div style="border-color:{colour};color:{colour}"><b>{question}</b>{stage}</div>'
        for question, stage, colour in STAGES
    )
    words = ", then ".join(f"{question} {stage}" for question, stage, _ in STAGES)
    return (
        f'<div class="schema" role="img" aria-label="The schema from left to right: {html.escape(words)}">{boxes}</div>'
    )


def model_table() -> str:
    """Return the course's recommenders with their row of the schema, from the classes themselves."""
    from utils.lab.tables import MODEL_NAMES
    from utils.models import MODELS

    lines = ["| Model | Representation | Fusion | Loss |", "|---|---|---|---|"]
    for name, model in MODELS.items():
        schema = model.schema
        lines.append(f"| {MODEL_NAMES.get(name, name)} | {schema.representation} | {schema.fusion} | {schema.loss} |")
    return "\n".join(lines)


def cheat_sheet() -> str:
    """Return the cheat sheet as a page that prints on one sheet of A4."""
    text = source("cheat_sheet.md").replace("::: models", model_table())
    title, *parts = re.split(r"^##? ", text, flags=re.M)[1:]
    sections = []
    for part in parts:
        body = to_html(f"## {part}")
        sections.append(f"<section>{re.sub(r'<p>::: schema</p>', lambda _: schema_strip(), body)}</section>")
    return page(title.strip(), f"<h1>{title.strip()}</h1>" + "".join(sections), style="sheet.css")


def glossary_page() -> str:
    """Return the glossary as a page; each number of a notebook leads to its page."""
    from utils import course

    text = source("glossary.md")
    pages = {path.stem[:2]: f"{path.stem}.html" for path in course.notebook_paths()}
    text = re.sub(r"\| (\d\d) \|$", lambda match: f"| [{match[1]}]({pages[match[1]]}) |", text, flags=re.M)
    return page("Glossary and symbols", to_html(text))


def symbols() -> list[tuple[str, list[str], str, str]]:
    """Return the table of symbols: the formula, the names in code, the meaning, the notebook's number."""
    return [
        (symbol, re.findall(r"`([^`]+)`", names), meaning, notebook)
        for symbol, names, meaning, notebook in rows(source("glossary.md"), "Symbols")
    ]


def terms() -> list[tuple[str, str, str]]:
    """Return the table of terms: the term, its meaning, the notebook's number."""
    return [tuple(row) for row in rows(source("glossary.md"), "Terms")]  # type: ignore[misc]
