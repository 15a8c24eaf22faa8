"""Decks, the slide: turns one slide's Markdown into HTML: placeholders, maths, code that steps, columns, figures."""

from __future__ import annotations

import ast
import html
import json
import re
import shlex
import textwrap
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

import mistune
from latex2mathml.converter import convert

from utils.errors import CourseError, suggest
from utils.files import ROOT
from utils.plots.style import MODALITY_COLOURS
from utils.press import pages
from utils.press.decks import figures, numbers
from utils.press.decks.source import Deck, Slide

DIRECTIVE = re.compile(r"\{\{(\w+)(.*?)\}\}(?!\})", re.S)
COLOURED = re.compile(r"\[([^\]\[]+)\]\{(" + "|".join(MODALITY_COLOURS) + r")\}")
BOXES = {"columns", "big", "small", "later", "box", "exercise"}
PLACE = "\ue000{}\ue001"  # private characters: Markdown leaves them alone
STEP = "\ue002"


class _Slide:
    """One slide being rendered: finished HTML is put aside under a token, so that Markdown cannot touch it."""

    def __init__(self, slide: Slide, deck: Deck, decks: list[Deck]) -> None:
        self.slide, self.deck, self.decks, self.aside = slide, deck, decks, []

    def keep(self, markup: str) -> str:
        self.aside.append(markup)
        return PLACE.format(len(self.aside) - 1)

    def restore(self, markup: str) -> str:
        while re.search("\ue000", markup):
            markup = re.sub(r"<p>\s*\ue000(\d+)\ue001\s*</p>", lambda m: self.block(int(m.group(1))), markup)
            markup = re.sub("\ue000(\\d+)\ue001", lambda m: self.aside[int(m.group(1))], markup)
        return markup

    def block(self, at: int) -> str:
        """A token alone in a paragraph: what is a block by itself needs no <p> around it."""
        inside = self.aside[at]
        return inside if inside.startswith(("<figure", "<pre", "<div", "<table")) else f"<p>{inside}</p>"

    # ---- text ---------------------------------------------------------------------------------------------------

    def text(self, markdown: str) -> str:
        """Return the HTML of some Markdown with placeholders, maths and coloured words; tokens are still inside."""
        parts = pages.CODE.split(markdown)  # nothing happens inside `code`
        for at in range(0, len(parts), 2):
            part = DIRECTIVE.sub(self.directive, parts[at])
            part = pages.MATH.sub(self.maths, part)
            part = COLOURED.sub(
                lambda m: self.keep(f'<span class="m-{m.group(2)}">{html.escape(m.group(1))}</span>'), part
            )
            parts[at] = re.sub(r"^(\s*)\+ ", rf"\1- {STEP}", part, flags=re.M)
        body = str(_markdown("".join(parts)))
        body = re.sub(rf"<li>(\s*(?:<p>)?){STEP}", r'<li class="fragment">\1', body)
        return body

    def maths(self, match: re.Match[str]) -> str:
        block, inline = match.groups()
        markup = formula((block or inline).strip(), "block" if block else "inline")
        return self.keep(f'<div class="display">{markup}</div>' if block else markup)

    def directive(self, match: re.Match[str]) -> str:
        kind = match.group(1)
        try:
            words = shlex.split(match.group(2))
        except ValueError as error:
            raise CourseError(f"{match.group(0)} cannot be read ({error}); close its quotation marks.") from error
        if kind in numbers.KINDS:
            came = html.escape(" ".join([kind, *words]), quote=True)
            return self.keep(f'<span class="n" data-from="{came}">{html.escape(numbers.look_up(kind, words))}</span>')
        if kind not in DIRECTIVES:
            raise suggest(kind, [*DIRECTIVES, *numbers.KINDS], "placeholder")
        return self.keep(DIRECTIVES[kind](self, words))

    # ---- boxes --------------------------------------------------------------------------------------------------

    def boxes(self, lines: list[str]) -> str:
        """Return the HTML of a slide's lines; `:::name` opens a box, `:::` closes it, `|||` parts the columns."""
        stack: list[tuple[list[str], list[list[str]]]] = [([], [[]])]  # (name and options, columns of HTML)
        plain: list[str] = []
        fenced = False

        def flush() -> None:
            if plain:
                stack[-1][1][-1].append(self.text("\n".join(plain)))
                plain.clear()

        for line in lines:
            fenced ^= line.lstrip().startswith("```")
            mark = line.strip()
            if fenced or not (mark.startswith(":::") or mark == "|||"):
                plain.append(line)
                continue
            flush()
            if mark == "|||":
                if stack[-1][0][:1] != ["columns"]:
                    raise CourseError("`|||` parts the columns of a `:::columns` box; there is none open.")
                stack[-1][1].append([])
            elif mark == ":::":
                if len(stack) == 1:
                    raise CourseError("`:::` closes a box that was never opened; take it away.")
                options, columns = stack.pop()
                stack[-1][1][-1].append(_box(options, ["".join(column) for column in columns]))
            else:
                options = mark[3:].split()
                if options[0] not in BOXES:
                    raise suggest(options[0], BOXES, "box")
                stack.append((options, [[]]))
        flush()
        if len(stack) > 1:
            raise CourseError(f"the box `:::{stack[-1][0][0]}` is not closed; write `:::` after it.")
        return "".join(stack[0][1][0])


# How many parts each of these has in MathML: a formula that lacks one is drawn wrongly, without a word
MATH_PARTS = {"mfrac": 2, "msub": 2, "msup": 2, "msubsup": 3, "mover": 2, "munder": 2, "munderover": 3}


def formula(text: str, display: str = "inline") -> str:
    """Return a formula as MathML, which browsers draw without a script.

    Raises:
        CourseError: it cannot be read, a command is unknown or an argument is missing.
    """
    try:
        markup = convert(text, display=display)
    except Exception as error:  # the converter has many kinds of errors of its own
        raise CourseError(f"the formula {text!r} cannot be read ({type(error).__name__}).") from error
    for node in ElementTree.fromstring(markup).iter():  # noqa: S314 - MathML that our own converter wrote
        name = node.tag.rpartition("}")[2]
        if "\\" in (node.text or ""):
            raise CourseError(f"the formula {text!r} has the unknown command {node.text}; write it in other words.")
        if len(node) != MATH_PARTS.get(name, len(node)):
            raise CourseError(f"the formula {text!r} cannot be read: a part of {name} is missing.")
    return markup


def slide_html(slide: Slide, deck: Deck, decks: list[Deck]) -> tuple[str, str]:
    """Return (HTML of the slide, HTML of its notes).

    Args:
        decks: all decks, for the schedule.

    Raises:
        CourseError: anything on the slide that cannot be found or read; it names file and slide.
    """
    try:
        work = _Slide(slide, deck, decks)
        sources = re.findall(r"^Source: (.+)$", slide.body, re.M)
        body = re.sub(r"^Source: .+$\n?", "", slide.body, flags=re.M)
        markup = _arranged(work.restore(work.boxes(body.split("\n"))))
        if sources:
            lines = "".join(f"<div>{work.restore(_inline(work.text(_doi(line))))}</div>" for line in sources)
            markup += f'<footer class="source">{lines}</footer>'
        notes = work.restore(work.text(slide.notes))
    except CourseError as error:
        raise CourseError(f"{slide.where}: {error}") from error
    return markup, notes


def _arranged(markup: str) -> str:
    """Put the heading at the top, pointers to cells at the foot, and everything else into the room between."""
    heading = re.match(r"\s*<h[12]>.*?</h[12]>", markup, re.S)
    rest = markup[heading.end() :] if heading else markup
    pointers = re.findall(r"<p>((?:\s*<a class=\"cell\".*?</a>)+)\s*</p>", rest, re.S)
    rest = re.sub(r"<p>(?:\s*<a class=\"cell\".*?</a>)+\s*</p>", "", rest, flags=re.S)
    foot = f'<div class="pointers">{"".join(pointers)}</div>' if pointers else ""
    return f'{heading.group(0) if heading else ""}<div class="main">{rest}</div>{foot}'


def _inline(markup: str) -> str:
    return re.sub(r"^<p>|</p>\s*$", "", markup.strip())


def _doi(line: str) -> str:
    """Make links of doi:... and arXiv:..., which are all that a source line needs."""
    line = re.sub(r"(?<![\w/(\[])doi:(10\.\S+?)(?=[\s,;)]|$)", r"[doi:\1](https://doi.org/\1)", line)
    return re.sub(r"(?<![\w/(\[])arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", line)


_markdown = mistune.create_markdown(escape=True, plugins=["table"])


def _box(options: list[str], columns: list[str]) -> str:
    name = options[0]
    if name == "columns":
        top = " top" if "top" in options else ""
        widths = [word for word in options[1:] if word != "top"] or ["1"] * len(columns)
        if len(widths) != len(columns):
            raise CourseError(
                f"`:::columns` has {len(widths)} widths for {len(columns)} columns; part them with `|||`."
            )
        grid = " ".join(f"{width}fr" for width in widths)
        inside = "".join(f'<div class="column">{column}</div>' for column in columns)
        return f'<div class="columns{top}" style="grid-template-columns:{grid}">{inside}</div>'
    kind = "fragment" if name == "later" else f"box-{name}"
    return f'<div class="{kind}">{"".join(columns)}</div>'


# ---- directives -----------------------------------------------------------------------------------------------------


def _options(words: list[str], known: set[str]) -> tuple[list[str], dict[str, str]]:
    plain = [word for word in words if not re.match(r"[a-z_]+=", word)]
    options = dict(word.split("=", 1) for word in words if re.match(r"[a-z_]+=", word))
    for key in options:
        if key not in known:
            raise suggest(key, known, "option")
    return plain, options


def _figure(work: _Slide, words: list[str]) -> str:
    if not words:
        raise CourseError("{{figure}} names no figure; write {{figure NAME}}.")
    options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    height = options.pop("height", "")
    style = f' style="height:{int(height)}px"' if height else ""
    made = figures.make(words[0], **options)
    alt = html.escape(made.alt, quote=True)
    if made.markup:
        return f'<figure class="drawn" role="img" aria-label="{alt}"{style}>{made.markup}</figure>'
    return f'<figure><img alt="{alt}" src="data:image/png;base64,{made.png}"{style}></figure>'


def _bars(work: _Slide, words: list[str]) -> str:
    if not words:
        raise CourseError('{{bars}} names no notebook; write {{bars 00 content_among_cold="content"}}.')
    return _figure(work, ["bars", f"notebook={words[0]}", *words[1:]])


def _code(work: _Slide, words: list[str]) -> str:
    plain, options = _options(words, {"lines", "steps", "size"})
    if len(plain) not in (1, 2):
        raise CourseError("{{code}} takes utils.ROOM.NAME, or a notebook and a cell's first words.")
    source = _cell(*plain)["text"] if len(plain) == 2 else _object(plain[0])
    lines = re.sub(r"(:\n)\n+", r"\1", source).split("\n")
    if "lines" in options:
        chosen = _numbers(options["lines"], len(lines))
        lines = textwrap.dedent("\n".join(lines[n - 1] for n in sorted(chosen))).split("\n")
    steps = [sorted(_numbers(step, len(lines))) for step in options.get("steps", "").split("|") if step]
    return code_html("\n".join(lines), steps, plain[-1], int(options.get("size", 22)))


def code_html(code: str, steps: list[list[int]], name: str, size: int = 22) -> str:
    """Return coloured code, a <span> per line; each step is a fragment that says which lines it lights up."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    coloured = highlight(code, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).rstrip("\n").split("\n")
    lines = "".join(f'<span class="line" data-line="{n}">{line or " "}</span>' for n, line in enumerate(coloured, 1))
    marks = "".join(
        f'<span class="fragment code-step" data-lines="{",".join(map(str, step))}"></span>' for step in steps
    )
    label = html.escape(f"Code: {name}", quote=True)
    return f'<pre class="code" style="font-size:{size}px" aria-label="{label}"><code>{lines}</code></pre>{marks}'


def _fence(code: str, language: str | None) -> str:
    return code_html(code.rstrip("\n"), [], language or "text") + "\n"


_markdown.renderer.block_code = lambda code, info=None: _fence(code, info)  # same colours for short typed code


def _object(name: str) -> str:
    """Return the source of a function, class or method of the course, without its docstring; nothing is imported."""
    words = name.split(".")
    for cut in range(len(words) - 1, 0, -1):
        base = ROOT.joinpath(*words[:cut])
        path = base.with_suffix(".py") if base.with_suffix(".py").exists() else base / "__init__.py"
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        node: ast.AST = ast.parse(text)
        for word in words[cut:]:
            inside = {part.name: part for part in getattr(node, "body", []) if isinstance(part, NAMED)}
            if word not in inside:
                raise suggest(word, inside, f"name in {'.'.join(words[:cut])}")
            node = inside[word]
        return _lines_of(node, text.split("\n"))
    raise CourseError(f"There is no module {name!r}; write utils.ROOM.NAME of something that exists.")


NAMED = (ast.FunctionDef, ast.ClassDef)


def _lines_of(node: Any, lines: list[str]) -> str:
    first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
    kept = list(range(first, node.end_lineno + 1))
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        words = node.body[0]
        kept = [n for n in kept if not words.lineno <= n <= words.end_lineno]
    return textwrap.dedent("\n".join(lines[n - 1] for n in kept))


def _numbers(text: str, most: int) -> set[int]:
    """Read ``1-3,5`` as line numbers."""
    found: set[int] = set()
    for piece in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", piece.strip())
        if not match:
            raise CourseError(f"{text!r} names no lines; write lines=3-9 or steps=1|2-3.")
        found |= set(range(int(match.group(1)), int(match.group(2) or match.group(1)) + 1))
    if not found <= set(range(1, most + 1)):
        raise CourseError(f"the code has {most} lines, {text!r} names line {max(found)}; count again.")
    return found


@lru_cache(maxsize=32)
def _notebook(name: str) -> tuple[dict[str, Any], ...]:
    path = ROOT / "notebooks" / f"{name}.ipynb"
    if not path.exists():
        raise suggest(name, (p.stem for p in path.parent.glob("*.ipynb")), "notebook")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return tuple({"id": cell["id"], "type": cell["cell_type"], "text": "".join(cell["source"])} for cell in cells)


def _cell(notebook: str, start: str) -> dict[str, Any]:
    """Return the one cell that starts so, or that has a heading that starts so (the marks of the heading are ignored)."""
    plain = start.lstrip("# ").strip()
    cells = _notebook(notebook)
    hits = [cell for cell in cells if any(line.startswith(plain) for line in _firsts(cell))]
    if len(hits) != 1:
        if hits:
            raise CourseError(f"{len(hits)} cells of {notebook} start with {start!r}; write more of its words.")
        raise suggest(plain, (line for cell in cells for line in _firsts(cell)), f"cell of {notebook}")
    return hits[0]


def _firsts(cell: dict[str, Any]) -> list[str]:
    """Return a cell's first line and its headings, without marks."""
    lines = cell["text"].lstrip().split("\n")
    headings = [line for line in lines[1:] if cell["type"] == "markdown" and line.startswith("#")]
    return [re.sub(r"^[#>*\s]+", "", line) for line in (lines[0], *headings)]


def _pointer(work: _Slide, words: list[str]) -> str:
    if len(words) not in (2, 3):
        raise CourseError('{{cell}} takes a notebook and the cell\'s first words: {{cell 05_training "4. Train"}}.')
    cell = _cell(*words[:2])
    label = html.escape(words[-1].lstrip("# "))
    href = f"../{words[0]}.html#cell-id={cell['id']}"
    return (
        f'<a class="cell" href="{href}" data-notebook="{words[0]}" data-cell="{cell["id"]}">'
        f'<span class="cell-mark">notebook {words[0].split("_")[0]}</span> {label}</a>'
    )


def _schedule(work: _Slide, words: list[str]) -> str:
    """The whole lecture as a table: its parts, their minutes and when they start, from the decks' front matter.

    What comes after the lecture stands below it, by name and without a clock.
    """
    groups = {"0": "I wish I had known it in advance", "1": "One schema for all of them", "2": "Open challenges"}
    rows, clock = [], sum(deck.minutes for deck in work.decks if deck.part == "title")
    for head, title in groups.items():
        inside = [deck for deck in work.decks if deck.part.split(".")[0] == head]
        minutes = sum(deck.minutes for deck in inside)
        each = [f"<span>{html.escape(deck.heading)}</span>" for deck in inside]
        names = "" if head == "0" else " · ".join(each)
        rows.append((head, title, names, minutes, clock))
        clock += minutes
    body = "".join(
        f"<tr><td class='part'>{head}</td><td><b>{html.escape(title)}</b><div class='under'>{names}</div></td>"
        f"<td class='minutes'>{minutes:g} min</td><td class='clock'>from minute {start:g}</td></tr>"
        for head, title, names, minutes, start in rows
    )
    last = f"<tr><td class='part'>3</td><td><b>Questions</b></td><td class='minutes'></td><td class='clock'>from minute {clock:g}</td></tr>"
    return f"<table class='schedule'><tbody>{body}{last}{_after(work.decks)}</tbody></table>"


def _after(decks: list[Deck]) -> str:
    """Return the row of the parts that come after the lecture; nothing where there is none."""
    later = [deck for deck in decks if deck.after]
    if not later:
        return ""
    heads = ", ".join(dict.fromkeys(deck.part.split(".")[0] for deck in later))
    names = " · ".join(f"<span>{html.escape(deck.heading)}</span>" for deck in later)
    return (
        f"<tr><td class='part'>{heads}</td><td><b>After the lecture</b><div class='under'>{names}</div></td>"
        f"<td class='minutes'>{sum(deck.minutes for deck in later):g} min</td><td class='clock'></td></tr>"
    )


# The day-long variant: its blocks, the notebooks of each, and the pause behind it in minutes
DAY = (
    ("Start, and why", ("00", "01"), 15),
    ("Data, and what encoders see", ("02", "03"), 75),
    ("Fusion and training", ("04", "05"), 15),
    ("Evaluation", ("06",), 15),
    ("Two open challenges, chosen by the room", ("07", "11"), 0),
)


def _day(work: _Slide, words: list[str]) -> str:
    """The day-long variant as a table: the minutes are those that the notebooks state."""
    clock, rows = 9 * 60, []
    for title, numbers_, pause in DAY:
        minutes = 0
        for number in numbers_:
            (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
            minutes += json.loads(path.read_text(encoding="utf-8"))["metadata"]["course"]["minutes"]
        books = " and ".join(numbers_) if title[:3] != "Two" else "two of 07 to 11"
        rows.append(
            f"<tr><td class='clock'>{clock // 60}:{clock % 60:02d}</td><td><b>{html.escape(title)}</b></td>"
            f"<td>notebooks {books}</td><td class='minutes'>{minutes} min</td></tr>"
        )
        clock += minutes
        if pause:
            word = "lunch" if pause > 60 else "break"
            rows.append(
                f"<tr class='pause'><td class='clock'>{clock // 60}:{clock % 60:02d}</td><td colspan='3'>{word}</td></tr>"
            )
        clock += pause
    rows.append(f"<tr><td class='clock'>{clock // 60}:{clock % 60:02d}</td><td colspan='3'><b>Questions</b></td></tr>")
    return f"<table class='schedule day'><tbody>{''.join(rows)}</tbody></table>"


DIRECTIVES = {"bars": _bars, "day": _day, "figure": _figure, "code": _code, "cell": _pointer, "schedule": _schedule}
