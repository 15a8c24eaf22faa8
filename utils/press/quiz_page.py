"""`make quiz`: the quizzes as pages that need nothing else, for keyboard, screen reader and paper; the instructor's pages."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from utils.errors import CourseError
from utils.files import ROOT, write_text
from utils.press.pages import mathml
from utils.press.quiz import FOLDER, LETTERS, Quiz, load, parts
from utils.press.templates import render

INSTRUCTOR = FOLDER.parent / "instructor"


def markdown(text: str) -> str:
    """Return a text as HTML: emphasis, code, tables, and maths as MathML."""
    import mistune

    return mistune.create_markdown(escape=False, plugins=["table", "task_lists"])(mathml(text.strip())).strip()


def page(quiz: Quiz) -> str:
    """Return the page of one quiz; a question's first paragraph is the legend, the rest (a table, say) its description."""
    questions = []
    for question in quiz.questions:
        legend, *more = re.split(r"\n\s*\n", question.ask.strip(), maxsplit=1)
        questions.append((question, legend, *(more or [""])))
    title = f"Quiz {quiz.part}: {quiz.title}"
    return render("quiz.html", title=title, quiz=quiz, questions=questions, letters=LETTERS, markdown=markdown)


def build(out: Path, folder: Path = FOLDER) -> list[Path]:
    """Write a page for every quiz, and an index; return the paths.

    Raises:
        CourseError: a source is no quiz; nothing is written then.
    """
    loaded = [load(part, folder) for part in parts(folder)]
    pages = {f"{quiz.part}.html": page(quiz) for quiz in loaded}
    pages["index.html"] = render("quizzes.html", title="Quizzes", quizzes=loaded)
    for name, text in pages.items():
        write_text(out / name, text)
    return [out / name for name in pages]


def build_instructor(out: Path, folder: Path = INSTRUCTOR) -> list[Path]:
    """Write the instructor's pages, README.md as index.html, and the feedback form, ready for print; return the paths."""
    written = []
    for source in sorted(folder.glob("*.md")):
        text = source.read_text(encoding="utf-8").replace("](feedback.md)", "](feedback.html)")
        text = text.replace("( ) ", "&emsp;&#9675;&nbsp;").replace("( )", "&#9675;")  # circles to tick on paper
        sheet = render("paper.html", title=text.splitlines()[0].lstrip("# "), body=markdown(text))
        target = out / ("index.html" if source.stem == "README" else f"{source.stem}.html")
        write_text(target, sheet)
        written.append(target)
    return written


def main(arguments: list[str] | None = None) -> int:
    """Command line of `make quiz`: `python -m utils.press quiz build` writes build/quiz/ and build/instructor/."""
    parser = argparse.ArgumentParser(prog="python -m utils.press quiz", description=__doc__)
    parser.add_argument("what", choices=["build"])
    parser.add_argument("--out", default=ROOT / "build" / "quiz", type=Path, help="where the pages go")
    options = parser.parse_args(arguments)
    try:
        pages, sheets = build(options.out), build_instructor(options.out.parent / "instructor")
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(pages)} pages in {options.out}, {len(sheets)} in {options.out.parent / 'instructor'}")
    return 0
