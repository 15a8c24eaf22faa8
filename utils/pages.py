"""The pages of `build/`: one HTML for each executed notebook and an index, all readable with the network off."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from utils import course
from utils.accessible import speak_tables
from utils.files import atomic_path

# The notebooks that are planned: on the map without a link for as long as they are not there.
PLANNED = {
    "12_pretraining": "Multimodal pretraining and adaptation",
    "13_generation": "Generative recommendation",
    "14_industrial_ranking": "Ranking in industry",
    "15_responsible_recommendation": "Responsible recommendation",
}


def to_come() -> dict[str, str]:
    """Return name -> title of the planned notebooks that do not exist yet."""
    there = {path.stem for path in course.notebook_paths()}
    return {name: title for name, title in PLANNED.items() if name not in there}


# jupyter's lab template without what it would fetch from the network (require.js, MathJax, mermaid)
TEMPLATE = """{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock html_head_js -%}
{%- block html_head_js_mathjax -%}{%- endblock html_head_js_mathjax -%}
{%- block html_head_js_mermaidjs -%}{%- endblock html_head_js_mermaidjs -%}
{%- block html_head_css -%}<style>PAGE_CSS</style>{%- endblock html_head_css -%}
"""

PAGE_CSS = """
body.jp-Notebook { max-width: 1080px; margin: 0 auto; padding: 0 24px 80px; font-size: 17px; }
.jp-RenderedHTMLCommon { font-size: 17px; line-height: 1.55; }
.jp-RenderedHTMLCommon table { font-size: 15px; }
.jp-InputArea-editor, .jp-OutputArea-output pre { font-size: 15px; }
.jp-InputPrompt, .jp-OutputPrompt { display: none; }
.jp-OutputArea-output img { max-width: 100%; height: auto; }
math[display=block] { margin: 0.6em 0; font-size: 1.1em; }
.jp-RenderedHTMLCommon caption { caption-side: top; text-align: left; color: #555; font-size: 14px; padding: 4px 0; }
details { border-left: 3px solid #ccc; padding-left: 12px; margin: 6px 0; }
summary { cursor: pointer; color: #0b5394; }
.course-bar { font: 15px sans-serif; padding: 12px 0; border-bottom: 1px solid #ddd; }
"""

INDEX_CSS = """
body { font: 17px/1.5 system-ui, sans-serif; max-width: 1120px; margin: 0 auto; padding: 24px; color: #222; }
h1 { margin-bottom: 0; } .lead { color: #555; margin-top: 4px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(500px, 1fr)); gap: 20px; }
.card { border: 1px solid #ddd; border-radius: 8px; padding: 16px; }
.card h2 { font-size: 20px; margin: 0 0 4px; } .card .meta { color: #555; font-size: 14px; }
.card img { max-width: 100%; max-height: 300px; display: block; margin: 10px auto; }
.card ul { padding-left: 20px; font-size: 14px; margin: 8px 0 0; }
.failed { border: 2px solid #a00; } .failed .meta { color: #a00; }
.tocome { color: #666; columns: 2; }
@media (max-width: 560px) { .cards { grid-template-columns: 1fr; } }
"""

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
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata["title"] = title
    notebook.metadata.pop("widgets", None)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            source = BADGE.sub(r"[\1](\2)", cell.source)
            cell.source = mathml(re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.html)", source))
    template = TEMPLATE.replace("PAGE_CSS", PAGE_CSS)
    exporter = HTMLExporter(extra_loaders=[DictLoader({"page.html.j2": template})], template_file="page.html.j2")
    body, _ = exporter.from_notebook_node(notebook)
    bar = '<div class="course-bar"><a href="index.html">Course map</a></div>'
    body = re.sub(r"(<body[^>]*>)", rf"\1{bar}", speak_tables(body), count=1)
    with atomic_path(page) as temporary:
        temporary.write_text(body, encoding="utf-8")


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
    coming = "".join(f"<li>{name[:2]} {html.escape(title)}</li>" for name, title in to_come().items())
    text = f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Course map</title><style>{INDEX_CSS}</style>
</head><body><h1>Multimodal Deep Learning for Recommendation</h1>
<p class="lead">Dataset {html.escape(dataset)}, {"FAST" if fast else "full"} mode. Each page holds code, outputs and
figures of one executed notebook.</p><div class="cards">{"".join(cards)}</div>
<h2>To come</h2><ul class="tocome">{coming}</ul></body></html>
"""
    with atomic_path(build / "index.html") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return build / "index.html"


def _card(build: Path, path: Path, result: dict[str, Any]) -> str:
    """Return one notebook's part of the index."""
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("course", {})
    title = f"{path.stem[:2]} {metadata.get('title', path.stem)}"
    executed = build / "executed" / f"{path.stem}.ipynb"
    page = build / f"{path.stem}.html"
    heading = f'<a href="{page.name}">{html.escape(title)}</a>' if page.exists() else html.escape(title)
    meta = (
        f"{metadata.get('minutes', '?')} minutes to read; ran in {result['seconds']:.0f} s, {result['peak_mb']:.0f} MB"
    )
    if result["status"] in {"failed", "skipped"}:
        meta = f"{result['status']}: {html.escape(result['reason'][:300])}"
    figure = headline_figure(executed) if executed.exists() and result["status"] in {"ok", "cached"} else None
    image = f'<img alt="{html.escape(figure[1])}" src="data:image/png;base64,{figure[0]}">' if figure else ""
    record = course.record_path(path.stem, "fast" if result["fast"] else "full", build / "records")
    claims = (_whole(record) or {}).get("claims", []) if record.exists() and figure else []
    lines = "".join(f"<li>{claim_line(entry, result['fast'])}</li>" for entry in claims)
    return (
        f'<div class="card {result["status"]}"><h2>{heading}</h2><div>{html.escape(metadata.get("question", ""))}</div>'
        f'<div class="meta">{meta}</div>{image}<ul>{lines}</ul></div>'
    )


def claim_line(entry: dict[str, Any], fast: bool) -> str:
    """Return a claim with its two numbers and what became of it."""
    if entry["open"]:
        verdict = "open question: " + ("yes this time" if entry["holds"] else "no this time")
    elif entry["holds"]:
        verdict = "holds"
    else:
        verdict = "left to the full run" if entry["full_only"] and fast else "does not hold"
    numbers = f"{entry['left']:.3g} {html.escape(entry['op'])} {entry['right']:.3g}"
    return f"{html.escape(entry['text'])}: {numbers} ({verdict})"
