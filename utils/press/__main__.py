"""`python -m utils.press COMMAND`: run the notebooks, build decks, quizzes, handouts and the site, or open the lecture."""

from __future__ import annotations

from collections.abc import Sequence

from utils.errors import leave
from utils.stored.commands import named

COMMANDS = {
    "run": "execute the notebooks and write build/ (make course; --record rewrites tests/records)",
    "decks": "the slides, into build/slides (make slides)",
    "quiz": "quiz PART asks in the terminal; quiz build writes the pages (make quiz)",
    "handouts": "cheat sheet, glossary, reading list (make handouts)",
    "site": "all pages for the web, into build/site (make site)",
    "live": "check the room and open the live path (make live)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand the words behind the command to its module, which is imported only then."""
    command, rest = named("utils.press", COMMANDS, arguments)
    if command == "run":
        from utils.press.run import main as call
    elif command == "decks":
        from utils.press.decks.build import main as call
    elif command == "quiz" and rest[:1] == ["build"]:
        from utils.press.quiz_page import main as call
    elif command == "quiz":
        from utils.press.quiz import main as call
    elif command == "handouts":
        from utils.press.handouts.build import main as call
    elif command == "site":
        from utils.press.site import main as call
    elif command == "live":
        from utils.press.live.lecture import main as call
    else:
        return 0 if command else 2
    return call(rest) or 0


if __name__ == "__main__":
    leave(main)
