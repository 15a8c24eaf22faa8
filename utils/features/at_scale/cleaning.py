"""Clean texts before an encoder reads them, in small named steps that go into the record."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence

from utils.errors import CourseError, suggest

SHORT = {"n't": " not", "'ve": " have", "'re": " are", "'ll": " will", "'d": " would", "'m": " am"}
DIGITS = dict(zip("0123456789", "zero one two three four five six seven eight nine".split()))


def _contractions(text: str) -> str:
    """English short forms in full; "'s" only after it, that, there, he, she, what and who: elsewhere it is a genitive."""
    text = re.sub(r"\b(can)'t\b", r"\1 not", text.replace("\u2019", "'"), flags=re.I)
    text = re.sub(r"\bwon't\b", "will not", text, flags=re.I)
    text = re.sub(r"\b(it|that|there|he|she|what|who)'s\b", r"\1 is", text, flags=re.I)
    return re.sub(r"(?<=\w)(n't|'ve|'re|'ll|'d|'m)\b", lambda found: SHORT[found.group().lower()], text, flags=re.I)


STEPS: dict[str, Callable[[str], str]] = {
    "html": lambda text: html.unescape(re.sub(r"<[^<>]*>", " ", text)),
    "urls": lambda text: re.sub(r"(https?://|www\.)\S+", " ", text),
    "contractions": _contractions,
    "digits": lambda text: re.sub(r"(?<![\w.,])\d(?![\w.,]*\d|\w)", lambda found: DIGITS[found.group()], text),
    # letters of every script stay: an English-only alphabet would empty most of the world's texts
    "punctuation": lambda text: re.sub(r"([,.!;?()])", r" \1 ", re.sub(r"[^\w\s',.!;?()]|_", " ", text)),
    "lower": str.lower,
    "spaces": lambda text: re.sub(r"\s+", " ", text).strip(),
}
PRESETS = {
    "none": (),
    "plain": ("html", "urls", "spaces"),
    "ducho": ("contractions", "punctuation", "digits", "lower", "spaces"),
}


def steps_of(clean: str | bool | Sequence[str] | None) -> tuple[str, ...]:
    """Return the steps of a preset (``none``, ``plain``, ``ducho``), or the list as given; True is ``plain``.

    Raises:
        CourseError: a step or preset that does not exist.
    """
    if clean is None or isinstance(clean, bool):
        return PRESETS["plain" if clean else "none"]
    if isinstance(clean, str) and clean in PRESETS:
        return PRESETS[clean]
    names = [clean] if isinstance(clean, str) else list(clean)
    for name in names:
        if not isinstance(name, str):
            raise CourseError(f"clean holds {name!r}; give names of steps: {', '.join(STEPS)}.")
        if name not in STEPS:
            raise suggest(name, [*STEPS, *PRESETS], "cleaning step")
    return tuple(names)


def clean_text(text: str, clean: str | bool | Sequence[str] | None) -> str:
    """Apply the steps in their order."""
    for name in steps_of(clean):
        text = STEPS[name](text)
    return text
