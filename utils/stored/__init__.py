"""Stored results: one kind of result file, its tables, and what a stored run depends on (sources.py)."""

from utils.stored.result_file import (
    RESULTS,
    ResultFile,
    load_now,
    locked,
    merge_rows,
    meta,
    origin,
    peak_mb,
    reset_peak,
    rounded,
    set_aside,
)
from utils.stored.tables import (
    BENCHMARKS,
    MODEL_NAMES,
    against_published,
    available,
    best_epochs,
    epochs_overview,
    failures,
    load,
    made_by_older_code,
    markdown,
    markdown_rows,
    overview,
    sound_rows,
    table,
)
