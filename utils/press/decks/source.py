"""Decks, the source: reads `slides/<part>.md` into slides, notes and seconds, and says in one sentence what is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from utils.errors import CourseError, suggest
from utils.files import ROOT

SLIDES = ROOT / "slides"
AFTER = 4  # parts from this number on come after the lecture; its minutes are those of the title to part 3
LAYOUTS = ("plain", "title", "statement", "exercise", "picture")
KEYS = {"part", "title", "minutes"}

# Numbers that somebody measured are rendered, never typed: a decimal fraction or a percentage is refused.
TYPED = re.compile(r"(?<![\w.])-?\d*\.\d+\b|\b\d+ ?%")
NO_NUMBER = re.compile(
    r"\{\{.*?\}\}|\$\$.*?\$\$|\$[^$\n]*\$|```.*?```|`[^`\n]*`|https?://\S+|doi:\S+|arXiv:\S+|[Pp]arts? \d\.\d", re.S
)


@dataclass(frozen=True)
class Slide:
    """One slide: what is shown, what is said, and how long it stays."""

    file: str
    number: int
    layout: str
    body: str
    notes: str
    seconds: int

    @property
    def where(self) -> str:
        return f"slides/{self.file}, slide {self.number}"

    @property
    def title(self) -> str:
        """The first heading without its marks; the first words where there is none."""
        found = re.search(r"^#+ (.+)$", self.body, re.M)
        line = found.group(1) if found else next((x for x in self.body.splitlines() if x.strip()), "")
        return re.sub(r"[$*_`\\]|\{\{.*?\}\}", "", line).strip()


@dataclass(frozen=True)
class Deck:
    """One part of the lecture, or one that comes after it."""

    part: str
    title: str
    minutes: float
    slides: tuple[Slide, ...]

    @property
    def heading(self) -> str:
        return self.title if self.part == "title" else f"{self.part} {self.title}"

    @property
    def after(self) -> bool:
        """True for a part that comes after the lecture."""
        return is_after(self.part)


def is_after(part: str) -> bool:
    """Return whether a part, such as "4.1", comes after the lecture."""
    return part != "title" and int(part.split(".")[0]) >= AFTER


def parts(folder: Path = SLIDES) -> list[str]:
    """Return the parts that have a source, in their order: the title, then by number. Other files are no parts."""
    found = [path.stem for path in folder.glob("*.md") if re.fullmatch(r"title|\d+(\.\d+)?", path.stem)]
    return sorted(found, key=lambda part: [] if part == "title" else [int(number) for number in part.split(".")])


def paths(only: Sequence[str] = (), folder: Path = SLIDES) -> list[Path]:
    """Return the sources in the order of the lecture; ``only`` names parts.

    Raises:
        CourseError: a part that has no source.
    """
    there = {part: folder / f"{part}.md" for part in parts(folder)}
    for part in only:
        if part not in there:
            raise suggest(part, there, "deck")
    return [path for part, path in there.items() if not only or part in only]


def read(path: Path) -> Deck:
    """Read one source.

    Raises:
        CourseError: front matter, layout, notes or seconds are missing or wrong, a number is typed, or the seconds of
            the slides do not add up to the minutes of the deck.
    """
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    blocks = _blocks(text)
    if len(blocks) < 3 or blocks[0].strip():
        raise CourseError(f"slides/{path.name} has no front matter; start it with ---, part, title, minutes, ---.")
    try:
        about = yaml.safe_load(blocks[1])
    except yaml.YAMLError as error:
        raise CourseError(f"slides/{path.name}: the front matter is not YAML ({error}); write `title: ...`.") from error
    if not isinstance(about, dict) or set(about) != KEYS:
        raise CourseError(f"slides/{path.name}: the front matter needs exactly {', '.join(sorted(KEYS))}.")
    if str(about["part"]) != path.stem:
        raise CourseError(f"slides/{path.name} says part {about['part']}; name the part like the file, {path.stem}.")
    slides = tuple(_slide(path.name, number, block) for number, block in enumerate(blocks[2:], 1))
    deck = Deck(path.stem, str(about["title"]), float(about["minutes"]), slides)
    total = sum(slide.seconds for slide in slides)
    if total != round(60 * deck.minutes):
        raise CourseError(
            f"slides/{path.name}: its slides take {total} s, the deck has {60 * deck.minutes:.0f} s "
            f"({about['minutes']} minutes); make them equal."
        )
    return deck


def _blocks(text: str) -> list[str]:
    """Split at lines of three dashes, but not inside a fence of code."""
    blocks, fenced = [[]], False
    for line in text.split("\n"):
        fenced ^= line.lstrip().startswith("```")
        if line.strip() == "---" and not fenced:
            blocks.append([])
        else:
            blocks[-1].append(line)
    return ["\n".join(block) for block in blocks]


def _slide(file: str, number: int, block: str) -> Slide:
    where = f"slides/{file}, slide {number}"
    found = re.search(r"^Note:[ \t]*(.*)", block, re.M | re.S)
    if not found:
        raise CourseError(f"{where} has no speaker notes; end it with a line such as `Note: 40 s. What you say.`")
    timed = re.match(r"(\d+) s\.\s+(\S.*)", found.group(1), re.S)
    if not timed:
        raise CourseError(f"{where}: the notes do not start with their seconds; write `Note: 40 s. What you say.`")
    body = block[: found.start()].strip()
    layout = "plain"
    given = re.match(r"Layout:[ \t]*(\w+)[ \t]*\n", body + "\n")
    if given:
        layout, body = given.group(1), body[given.end() :].strip()
        if layout not in LAYOUTS:
            error = suggest(layout, LAYOUTS, "layout")
            raise CourseError(f"{where}: {error}")
    if not body:
        raise CourseError(f"{where} is empty; write something above its notes, or take the --- away.")
    for text in (body, timed.group(2)):
        typed = TYPED.search(NO_NUMBER.sub(" ", text))
        if typed:
            raise CourseError(
                f"{where}: the number {typed.group(0)!r} is typed; take it from a record or a result: "
                "{{record 05_training warm_vbpr .3f}}."
            )
    return Slide(file, number, layout, body, timed.group(2).strip(), int(timed.group(1)))
