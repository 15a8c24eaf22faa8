"""What holds for every test: torch keeps the number of threads that the process was started with, one if nobody says."""

import os
import sys

import pytest

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # small operations: more threads wait for each other; before torch is loaded


@pytest.fixture(autouse=True)
def threads_stay():
    """`course.start` and the studies set one thread; without this, what ran before would decide for the tests after."""
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    yield
    if before is not None and sys.modules["torch"].get_num_threads() != before:
        sys.modules["torch"].set_num_threads(before)
