"""Handouts, the cheat sheet: schema, lines, models and metrics on one A4 page, and the glossary."""

from __future__ import annotations

import html
import re

from utils.handouts.text import page, rows, source, to_html

# The page is laid out for paper: A4 across, three columns, nothing that could run over.
SHEET_CSS = """
@page { size: A4 landscape; margin: 8mm; }
* { box-sizing: border-box; }
body { font: 12.1px/1.34 "DejaVu Sans", system-ui, sans-serif; color: #111; margin: 0 auto; width: 281mm; }
nav { font-size: 14px; padding: 8px 0; } @media print { nav { display: none; } }
h1 { font-size: 21px; margin: 0 0 5px; } main { columns: 3; column-gap: 6mm; } h1 { column-span: all; }
section { margin: 0 0 6px; }
h2 { font-size: 14px; margin: 0 0 3px; padding: 2px 5px; background: #1f3b57; color: white; break-after: avoid; }
p, ol, ul { margin: 2px 0; } ol, ul { padding-left: 15px; }
table { border-collapse: collapse; width: 100%; margin: 2px 0; }
th, td { text-align: left; vertical-align: middle; padding: 1.3px 4px 1.3px 0; border-bottom: 1px solid #ccc; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
math { font-size: 1.12em; } code { font-size: 1em; }
.schema { display: flex; gap: 3px; align-items: stretch; margin: 3px 0; }
.schema div { flex: 1; border: 1.5px solid; border-radius: 4px; padding: 2px; text-align: center; }
.schema b { display: block; font-size: 13px; }
@media screen { body { font-size: 12px; width: auto; max-width: 1300px; padding: 0 16px; } h2 { font-size: 14px; }
  h1 { font-size: 22px; } .schema b { font-size: 13px; } }
@media screen and (max-width: 900px) { main { columns: 1; } body { font-size: 15px; } }
"""
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
    from utils.models import MODELS
    from utils.results import MODEL_NAMES

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
    return page(title.strip(), f"<h1>{title.strip()}</h1>" + "".join(sections), css=SHEET_CSS)


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
