"""`python -m utils.data COMMAND`: get, make, convert, check and export datasets; a door to own_data and publishers."""

from __future__ import annotations

import argparse
import sys

from utils.errors import CourseError, leave
from utils.own_data import commands as own_data
from utils.publishers import commands as publishers


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 1 when the data has an error (which is printed as one sentence)."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console may not know every letter of a title
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    parser = argparse.ArgumentParser(prog="python -m utils.data", description="Datasets of the course.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    own_data.add_commands(commands)
    publishers.add_commands(commands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on with what is on the disk", file=sys.stderr)
        return 130


if __name__ == "__main__":
    leave(main)
