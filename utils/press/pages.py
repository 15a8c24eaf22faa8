"""The pages of `build/`: one HTML for each executed notebook and an index, all readable with the network off."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from utils import course
from utils.files import write_text
from utils.press.accessible import speak_tables
from utils.press.templates import THEME, render

MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$])\$([^\s$](?:[^$\n]*[^\s$\\])?)\$(?!\d)", re.S)
CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.S)
BADGE = re.compile(r"\[!\[(Open in \w+)\]\([^)]*\)\]\(([^)]*)\)")


def mathml(markdown: str) -> str:
    """Replace ``$...$`` and ``$$...$$`` by MathML, which every browser draws without a script; code is left alone."""
    from latex2mathml.converter import convert

    def replace(match: re.Match[str]) -> str:
        block, inline = match.groups()
        return convert((block or inline).strip(), display="block" if block else "inline")

    parts = CODE.split(markdown)
    return "".join(part if i % 2 else MATH.sub(replace, part) for i, part in enumerate(parts))


def write_page(executed: Path, page: Path, title: str) -> None:
    """Write the executed notebook as one HTML file that needs nothing else; a half-written copy leaves the page alone."""
    if _whole(executed) is None:
        return
    import nbformat
    from jinja2 import FileSystemLoader
    from nbconvert import HTMLExporter

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata["title"] = title
    notebook.metadata.pop("widgets", None)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            source = BADGE.sub(r"[\1](\2)", cell.source)
            cell.source = mathml(re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.html)", source))
    exporter = HTMLExporter(extra_loaders=[FileSystemLoader(THEME)], template_file="notebook.html")
    body, _ = exporter.from_notebook_node(notebook)
    write_text(page, speak_tables(body))


def _whole(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file holds; None, with a sentence, when a run is still writing it or was cut off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        print(
            f"{path.name} is not whole: a run is writing it or was cut off; left out until that notebook has run again."
        )
        return None


def headline_figure(executed: Path) -> tuple[str, str] | None:
    """Return (base64 PNG, alt text) of the cell tagged ``headline``, else of the first figure; None without figures."""
    cells = (_whole(executed) or {}).get("cells", [])
    tagged = [cell for cell in cells if "headline" in cell["metadata"].get("tags", [])]
    for cell in [*tagged, *cells]:
        for output in cell.get("outputs", []):
            png = output.get("data", {}).get("image/png")
            if png:
                alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
                return "".join(png).replace("\n", ""), alt
            markup = "".join(output.get("data", {}).get("text/html", ""))
            found = re.search(r'<img[^>]*src="data:image/png;base64,([^"]+)"[^>]*>', markup)
            if found:
                alt = re.search(r"""alt=(?:"([^"]*)"|'([^']*)')""", found.group(0))
                return found.group(1), html.unescape(alt.group(1) or alt.group(2)) if alt else ""
    return None


def write_index(build: Path, *, fast: bool, dataset: str) -> Path:
    """Write `build/index.html`: the course map, and for each notebook its figure, its claims and what failed."""
    cards = []
    for path in course.notebook_paths():
        result_file = build / "results" / f"{path.stem}.json"
        if result_file.exists():
            result = _whole(result_file)
            cards += [_card(build, path, result)] if result else []
    text = render("map.html", title="Course map", dataset=dataset, fast=fast, cards=cards, coming=course.to_come())
    write_text(build / "index.html", text)
    return build / "index.html"


def _card(build: Path, path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Return what the index says about one notebook."""
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("course", {})
    executed = build / "executed" / f"{path.stem}.ipynb"
    page = build / f"{path.stem}.html"
    meta = (
        f"{metadata.get('minutes', '?')} minutes to read; ran in {result['seconds']:.0f} s, {result['peak_mb']:.0f} MB"
    )
    if result["status"] in {"failed", "skipped"}:
        meta = f"{result['status']}: {result['reason'][:300]}"
    figure = headline_figure(executed) if executed.exists() and result["status"] in {"ok", "cached"} else None
    record = course.record_path(path.stem, "fast" if result["fast"] else "full", build / "records")
    claims = (_whole(record) or {}).get("claims", []) if record.exists() and figure else []
    return {
        "status": result["status"],
        "href": page.name if page.exists() else "",
        "title": f"{path.stem[:2]} {metadata.get('title', path.stem)}",
        "question": metadata.get("question", ""),
        "meta": meta,
        "image": f"data:image/png;base64,{figure[0]}" if figure else "",
        "alt": figure[1] if figure else "",
        "claims": [claim_line(entry, result["fast"]) for entry in claims],
    }


def claim_line(entry: dict[str, Any], fast: bool) -> str:
    """Return a claim with its two numbers and what became of it."""
    if entry["open"]:
        verdict = "open question: " + ("yes this time" if entry["holds"] else "no this time")
    elif entry["holds"]:
        verdict = "holds"
    else:
        verdict = "left to the full run" if entry["full_only"] and fast else "does not hold"
    return f"{entry['text']}: {entry['left']:.3g} {entry['op']} {entry['right']:.3g} ({verdict})"
