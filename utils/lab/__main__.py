"""`python -m utils.lab COMMAND`: benchmarks, stored studies, rendered tables, and what made the Sticker Shop."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from utils import studies
from utils.errors import CourseError, leave, suggest
from utils.stored.commands import named

COMMANDS = {
    "accuracy": "train recommenders on one dataset and judge them (also python -m utils.benchmark accuracy)",
    "speed": "seconds and memory beside public peers (also python -m utils.benchmark speed)",
    "study": "study NAME ...: one stored experiment, by its file in utils/studies",
    "tables": "render every table of README.md and data/results/README.md",
    "card": "card write: the card of the Sticker Shop; card probe: what encoders see of its tastes",
    "shop": "build the Sticker Shop from Debian's package",
    "musicnn": "convert MusicNN's published weights",
}


def study(words: Sequence[str]) -> int:
    """Run the study that the first word names."""
    known = sorted(
        path.stem for path in Path(studies.__path__[0]).glob("*.py") if "def main(" in path.read_text("utf-8")
    )
    if not words or words[0] not in known:
        raise suggest(words[0] if words else "", known, "study")
    return importlib.import_module(f"{studies.__name__}.{words[0]}").main(list(words[1:])) or 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand the words behind the command to its module, which is imported only then."""
    command, rest = named("utils.lab", COMMANDS, arguments)
    if command in ("accuracy", "speed"):
        from utils.lab.benchmark import main as call

        return call([command, *rest])
    try:
        if command == "study":
            return study(rest)
        if command == "tables":
            from utils.lab.tables import main as call
        elif command == "card":
            from utils.lab.shop_card import main as call
        elif command == "shop":
            from utils.shop.build import main as call
        elif command == "musicnn":
            from utils.shop.musicnn_weights import main as call
        else:
            return 0 if command else 2
        return call(rest) or 0
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    leave(main)
