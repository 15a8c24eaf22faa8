"""What holds for every test: one thread unless told otherwise, the longest notebooks first, a short garbage collection."""

import gc
import json
import os
import sys
from pathlib import Path

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


def pytest_collection_modifyitems(items):
    """Side by side (-n), the longest notebooks start first: at the end, no process is busy alone."""
    items.sort(key=_seconds, reverse=True)  # what is no notebook keeps its order


def _seconds(item):
    if item.get_closest_marker("notebook") is None:
        return 0.0
    number = item.callspec.params["path"].stem.split("_")[0]
    record = Path(__file__).parent / "records" / "fast" / f"{number}.json"
    return json.loads(record.read_text(encoding="utf-8"))["seconds"] if record.exists() else float("inf")


def pytest_collection_finish():
    """Modules live until the end: `gc.collect`, which many a test calls, need not look through torch each time."""
    gc.collect()
    gc.freeze()
