"""`python -m utils.course badges` writes badges and set-up cells; `python -m utils.course home OWNER/REPO TAG` sets the place."""

from __future__ import annotations

import sys

from utils.course.address import set_home, write_badges
from utils.errors import CourseError, leave


def main(arguments: list[str]) -> int:
    """Command line: ``badges`` writes badges and set-up cells anew, ``home OWNER/REPO TAG`` sets where the course lives."""
    try:
        if arguments == ["badges"]:
            write_badges()
        elif len(arguments) == 3 and arguments[0] == "home":
            set_home(*arguments[1:])
            print(
                "Written: pyproject.toml, README.md and every notebook. Commit them, then make the tag and push both."
            )
        else:
            print("usage: python -m utils.course badges | python -m utils.course home OWNER/REPO TAG", file=sys.stderr)
            return 2
    except CourseError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    leave(lambda: main(sys.argv[1:]))
