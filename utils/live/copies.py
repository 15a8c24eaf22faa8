"""The live path, the copies: `build/live/NN_topic.ipynb` holds one notebook's live cells, ready for RISE, and the plan."""

from __future__ import annotations

import copy
import html
import re
import shutil
from pathlib import Path
from typing import Any

from utils.files import ROOT, atomic_path
from utils.live import plan

LIVE = ROOT / "build" / "live"
STYLE = ROOT / "notebooks" / "rise.css"  # RISE reads it from the folder of the notebook
BADGES = re.compile(r"^\[!\[Open in .*\n", re.M)  # pictures from other machines: a slide asks nobody for anything
CSS = """
body { font: 17px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 0 auto; padding: 24px; color: #222; }
table { border-collapse: collapse; width: 100%; margin-bottom: 24px; }
th, td { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid #ddd; vertical-align: top; }
td.n { text-align: right; white-space: nowrap; } .exercise { font-weight: bold; }
"""


def live_copy(path: Path) -> Any:
    """Return the notebook with its live path only: FAST on, seconds in front of each shown code cell, a saved copy linked.

    Cells that are only needed stay, hidden from the slides, so that `Run All` makes everything ready.
    """
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    cells = notebook.cells
    needed = set(plan.run_order(cells))
    saved = f"[Saved copy, with all outputs](../{path.stem}.html)"
    top = nbformat.v4.new_markdown_cell(
        f"*Live copy of {path.stem}.* Before the lecture: **Run > Run All Cells** once. Then open it in RISE. "
        f"If something fails: {saved}.",
        metadata={"slideshow": {"slide_type": "skip"}},
    )
    kept = [top]
    for at, cell in enumerate(cells):
        if at not in needed and not plan.is_shown(cell):
            continue
        cell = copy.deepcopy(cell)
        if cell.cell_type == "markdown":
            cell.source = BADGES.sub("", re.sub(r"\]\(\.\./", "](../../", cell.source)).lstrip("\n")
        elif "parameters" in plan.tags(cell):
            cell.source = re.sub(r"^FAST = False", "FAST = True", cell.source, flags=re.M)
        if cell.cell_type == "code" and plan.is_shown(cell):
            seconds = cell.metadata.get("live", {}).get("seconds")
            words = f"*Live: {seconds:.0f} s. {saved}*" if seconds is not None else f"*Live: not measured. {saved}*"
            if seconds is not None and seconds < 1:
                words = f"*Live: under 1 s. {saved}*"
            if "widget" in plan.tags(cell):  # RISE's page loads no widgets; JupyterLab does
                words += " *Drag it in JupyterLab; the slide shows its picture.*"
            note = nbformat.v4.new_markdown_cell(words, metadata={"slideshow": {"slide_type": plan.slide_type(cell)}})
            kept.append(note)
            cell.metadata["slideshow"] = {"slide_type": "-"}
        kept.append(cell)
    for number, cell in enumerate(kept):
        cell["id"] = f"live-{number:02}"
    notebook.cells = kept
    return notebook


def write_copies(folder: Path = LIVE) -> list[Path]:
    """Write the live copy of every notebook of the lecture; return their paths."""
    import nbformat

    written = []
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(STYLE, folder / STYLE.name)
    for path in plan.notebooks():
        target = folder / path.name
        with atomic_path(target) as temporary:
            nbformat.write(live_copy(path), temporary)
        written.append(target)
    return written


def write_plan(folder: Path = LIVE, server: str = "") -> Path:
    """Write `plan.html`, the instructor's sheet: what is shown, minutes, seconds, and links to slides and saved copies.

    Args:
        folder: where the live copies lie; saved copies lie one folder above.
        server: address of the running JupyterLab with its token, for links into it; none without.
    """
    address, _, token = server.partition("?")
    measured = plan.record()
    body = []
    clock = 0.0
    for part, (planned, _) in plan.PARTS.items():
        body.append(f"<h2>Part {part}: {planned} minutes</h2>")
        for path in plan.notebooks(part):
            links = [f'<a href="../{path.stem}.html">saved copy</a>']
            if address:
                where = f"build/live/{path.name}"
                links += [
                    f'<a href="{address}rise/{where}?{token}">slides</a>',
                    f'<a href="{address}lab/tree/{where}?{token}">in JupyterLab</a>',
                ]
            total = measured["notebooks"].get(path.stem, {}).get("seconds")
            ready = f"; Run All takes {total:.0f} s" if total else ""
            number = plan.NAMES[path.stem[:2]]
            body.append(f"<h3>{path.stem} (part {number}{ready}): {', '.join(links)}</h3>")
            body.append("<table><tr><th>at</th><th>cell</th><th>what</th><th>minutes</th><th>seconds to run</th></tr>")
            for stop in plan.stops(path):
                seconds = "" if stop.seconds is None else f"{stop.seconds:.1f}"
                words = html.escape(stop.title) + (" (exercise)" if stop.exercise else "")
                kind = ' class="exercise"' if stop.exercise else ""
                body.append(
                    f'<tr{kind}><td class="n">{int(clock):02}:{round(clock % 1 * 60):02}</td><td>{stop.cell}</td>'
                    f'<td>{words} <small>{stop.kind}</small></td><td class="n">{stop.minutes or "":g}</td>'
                    f'<td class="n">{seconds}</td></tr>'
                    if stop.minutes
                    else f"<tr><td></td><td>{stop.cell}</td><td>{words} <small>{stop.kind}</small></td><td></td>"
                    f'<td class="n">{seconds}</td></tr>'
                )
                clock += stop.minutes
            body.append("</table>")
    machine = measured.get("environment", {})
    source = (
        f"Seconds measured with the caches filled, {measured['mode']}, on {machine.get('platform')} with {machine.get('cores')} cores, Python {machine.get('python')}."
        if machine
        else "Nobody has measured the seconds yet: python -m utils.live measure."
    )
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>The live path</title><style>{CSS}</style>'
        f"</head><body><h1>The live path: 80 minutes</h1><p>5 + 50 + 15 minutes, and ten for questions.</p><p>{html.escape(source)}</p>{''.join(body)}</body></html>\n"
    )
    with atomic_path(folder / "plan.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return folder / "plan.html"
