"""The live path, the copies: `build/live/NN_topic.ipynb` holds one notebook's live cells, ready for RISE, and the plan."""

from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path
from typing import Any

from utils.files import ROOT, atomic_path, write_text
from utils.press.live import plan
from utils.press.templates import render

LIVE = ROOT / "build" / "live"
STYLE = ROOT / "notebooks" / "rise.css"  # RISE reads it from the folder of the notebook
BADGES = re.compile(r"^\[!\[Open in .*\n", re.M)  # pictures from other machines: a slide asks nobody for anything


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
    clock, parts = 0.0, []
    for part, (planned, _) in plan.PARTS.items():
        notebooks = []
        for path in plan.notebooks(part):
            stops = []
            for stop in plan.stops(path):
                at = f"{int(clock):02}:{round(clock % 1 * 60):02}" if stop.minutes else ""
                stops.append((at, stop))
                clock += stop.minutes
            ready = measured["notebooks"].get(path.stem, {}).get("seconds")
            notebooks.append((path.stem, plan.NAMES[path.stem[:2]], ready, stops))
        parts.append((part, planned, notebooks))
    machine = measured.get("environment", {})
    source = (
        f"Seconds measured with the caches filled, {measured['mode']}, on {machine.get('platform')} with {machine.get('cores')} cores, Python {machine.get('python')}."
        if machine
        else "Nobody has measured the seconds yet: python -m utils.press live measure."
    )
    page = render("plan.html", title="The live path", source=source, parts=parts, address=address, token=token)
    write_text(folder / "plan.html", page)
    return folder / "plan.html"
