"""The helpers of the course: one room for each stage of the schema, as README.md beside this file lists them."""

import os
import sys

# Read before any module of the course, and in words that Python 2 reads, too: there the next import is a SyntaxError.
if sys.version_info < (3, 10):  # noqa: UP036
    version = sys.version.split()[0]
    sys.exit("The course needs Python 3.10 or newer, and this is " + version + ": run `make PYTHON=python3.12`.")

# Threads that wait for each other give their core back: on two busy cores a spinning one makes small operations many times
# slower. But waking a sleeping one takes longer than many small operations, so on Linux it first looks out for work some
# ten microseconds long: alone on two cores, an epoch of most models takes about two thirds of the time. Both are read when
# torch is loaded, so they stand here, before any module of the course can import it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
