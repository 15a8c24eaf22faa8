"""Quizzes, one for each part of the lecture: read, checked, asked in the terminal; utils/press/quiz_page.py makes the pages."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from utils.errors import CourseError, suggest
from utils.files import ROOT

FOLDER = ROOT / "slides" / "quiz"
LETTERS = "abcdefgh"
PLACEHOLDER = re.compile(r"\{\{(\w[^{}]*)\}\}")


@dataclass(frozen=True)
class Option:
    """One answer: its text, whether it is right, and why it is or is not (Markdown, numbers filled in)."""

    text: str
    right: bool
    because: str


@dataclass(frozen=True)
class Question:
    """A question (Markdown) and its options in the order in which they are shown."""

    ask: str
    options: tuple[Option, ...]

    @property
    def right(self) -> set[int]:
        """Positions of the right options."""
        return {position for position, option in enumerate(self.options) if option.right}

    @property
    def pick(self) -> int:
        """How many options are to be chosen."""
        return len(self.right)


@dataclass(frozen=True)
class Quiz:
    """The quiz of one part, and the notebook that answers its questions."""

    part: str
    title: str
    notebook: str
    questions: tuple[Question, ...]


def parts(folder: Path = FOLDER) -> list[str]:
    """Return the parts that have a quiz, in the order of the lecture."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(part: str, folder: Path = FOLDER, fill: Callable[[str], str] | None = None) -> Quiz:
    """Read and check ``folder/<part>.yaml``.

    Args:
        part: "1.3" and so on.
        fill: replaces the placeholders of a text by recorded numbers; :func:`recorded` when None.

    Raises:
        CourseError: no such part, or the file is no quiz; the sentence names file, question and remedy.
    """
    path = folder / f"{part}.yaml"
    if not path.is_file():
        raise suggest(part, parts(folder), "quiz")
    fill = fill or recorded
    text = path.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        number = sum(bool(re.match(r"\s*- ask:", row)) for row in text.splitlines()[:line])
        raise CourseError(
            f"{path.name}, question {number}, line {line}: not YAML ({getattr(error, 'problem', error)}); "
            "check the indent, and put a text with a colon after `>-`."
        ) from None
    for key in ("title", "notebook", "questions"):
        if not isinstance(content, dict) or not content.get(key):
            raise CourseError(
                f"{path.name}, question 0: `{key}:` is missing; every quiz has title, notebook, questions."
            )
    questions = tuple(
        _question(raw, f"{path.name}, question {n}", fill) for n, raw in enumerate(content["questions"], 1)
    )
    return Quiz(part, content["title"], content["notebook"], questions)


def recorded(text: str) -> str:
    """Replace placeholders such as ``{{record 07 mse_mean .2f}}`` by recorded numbers, as on the slides.

    Raises:
        CourseError: no such record, value or format.
    """
    from utils.press.decks.numbers import look_up

    def replace(match: re.Match[str]) -> str:
        kind, *words = shlex.split(match.group(1))
        return look_up(kind, words)

    return PLACEHOLDER.sub(replace, text)


def _question(raw: Any, where: str, fill: Callable[[str], str]) -> Question:
    """Check one question; ``where`` begins every complaint."""
    if not isinstance(raw, dict) or not set(raw) <= {"ask", "pick", "options"} or not raw.get("ask"):
        raise CourseError(f"{where}: needs `ask` and `options`, and may have `pick`; nothing else.")
    if not isinstance(raw.get("options"), list) or not 2 <= len(raw["options"]) <= len(LETTERS):
        raise CourseError(f"{where}: needs a list of 2 to {len(LETTERS)} options.")
    options = []
    for letter, option in zip(LETTERS, raw["options"]):
        if not isinstance(option, dict) or not set(option) <= {"text", "right", "because"}:
            raise CourseError(
                f"{where}, option {letter}: has `text`, `because` and perhaps `right: true`; nothing else."
            )
        for key in ("text", "because"):
            if not str(option.get(key) or "").strip():
                raise CourseError(f"{where}, option {letter}: `{key}:` is missing; say it, for wrong answers too.")
        if not isinstance(option.get("right", False), bool):
            raise CourseError(f"{where}, option {letter}: `right:` is true or left out.")
        try:
            options.append(Option(fill(str(option["text"])), option.get("right", False), fill(str(option["because"]))))
        except CourseError as error:
            raise CourseError(f"{where}, option {letter}: {error}") from None
    n_right, pick = sum(option.right for option in options), raw.get("pick", 1)
    if n_right != pick:
        raise CourseError(f"{where}: {n_right} options are right and `pick` says {pick}; make them agree.")
    if n_right == len(options):
        raise CourseError(f"{where}: every option is right; add one that is not.")
    try:
        return Question(fill(str(raw["ask"])), tuple(options))
    except CourseError as error:
        raise CourseError(f"{where}: {error}") from None


def marks(question: Question, chosen: set[int]) -> tuple[bool, str]:
    """Return whether the choice is right, and the sentence that says so."""
    if len(chosen) != question.pick:
        return False, f"Choose {'one answer' if question.pick == 1 else f'{question.pick} answers'}."
    if chosen == question.right:
        return True, "Right."
    n_right = len(chosen & question.right)
    return False, f"Not yet: {n_right} of {question.pick} right." if n_right else "Not this one."


def ask(quiz: Quiz, reply: Callable[[str], str] = input, say: Callable[[str], None] = print) -> int:
    """Ask a quiz in the terminal; return how many questions were right.

    Args:
        reply: asks for a line; Ctrl-D or Ctrl-C ends the quiz.
        say: shows a line.
    """
    say(f"Part {quiz.part}: {quiz.title}. {len(quiz.questions)} questions, notebook {quiz.notebook}.\n")
    n_right = 0
    for number, question in enumerate(quiz.questions, 1):
        say(_plain(f"{number}. {question.ask.strip()}"))
        for letter, option in zip(LETTERS, question.options):
            say(_plain(f"{letter}) {option.text.strip()}", "   "))
        try:
            chosen = _chosen(question, reply, say)
        except (EOFError, KeyboardInterrupt):
            say("\nStopped.")
            return n_right
        right, sentence = marks(question, chosen)
        n_right += right
        say(f"\n{sentence if chosen else 'Skipped.'}")
        for position, option in enumerate(question.options):
            verdict = "right" if option.right else "wrong"
            say(_plain(f"{LETTERS[position]}) {verdict}: {option.because.strip()}", "   "))
        say("")
    say(f"{n_right} of {len(quiz.questions)} right.")
    return n_right


def _chosen(question: Question, reply: Callable[[str], str], say: Callable[[str], None]) -> set[int]:
    """Read letters until as many were given as the question asks for; an empty line skips it."""
    letters = LETTERS[: len(question.options)]
    wanted = "one letter" if question.pick == 1 else f"{question.pick} letters"
    while True:
        line = reply(f"Your answer ({wanted}, Enter to skip): ").strip().lower()
        chosen = {letters.index(letter) for letter in line if letter in letters}
        if not line or (len(chosen) == question.pick and all(letter in letters + " ,-" for letter in line)):
            return chosen
        say(f"Type {wanted} from a to {letters[-1]}.")


def _plain(text: str, indent: str = "") -> str:
    """Wrap a text for the terminal; tables keep their lines."""
    rows = []
    for block in re.split(r"\n\s*\n", text):
        if "|" in block:
            rows.append(textwrap.indent(block, indent))
        else:
            rows.append(
                textwrap.fill(" ".join(block.split()), 100, initial_indent=indent, subsequent_indent=indent + "   ")
            )
    return "\n".join(rows)


def texts(quiz: Quiz) -> Iterator[str]:
    """Yield every text of a quiz."""
    for question in quiz.questions:
        yield question.ask
        for option in question.options:
            yield from (option.text, option.because)


def main(arguments: list[str] | None = None) -> int:
    """`python -m utils.press quiz PART` asks."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.press quiz", description="Questions on a part of the lecture."
    )
    parser.add_argument("part", help=", ".join(parts()))
    options = parser.parse_args(arguments)
    try:
        ask(load(options.part))
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
