"""Inputs made after public reports of trouble: each command answers with what a user needs. Skipped where they are not at hand."""

import importlib.util
import shlex

import numpy as np
import pandas as pd
import pytest

from utils.data import load_dataset
from utils.data.__main__ import main
from utils.files import ROOT
from utils.own_data.export import export

MAKER = ROOT.parent / "shared" / "cases" / "make_cases.py"
# case -> exit status of each of its commands (those that are command lines), and words of the answers.
ANSWERS = {
    "leading_zeros": (0, "no errors"),
    "id_scientific": (0, "look like a spreadsheet's rounding"),
    "id_float": (1, "without .0 it is there: ids became decimal numbers"),
    "nul_log_only": (0, "items         3"),
    "id_blanks": (1, "without the blanks around it it is there"),
    "semicolons": (1, "fields are separated by tabs, not by semicolons"),
    "quotes": (0, "no errors"),
    "newline_in_field": (1, "items.tsv, row 3: 1 field where the header names 3"),
    "utf16": (1, "is UTF-16"),
    "cr_only": (1, "old Macintosh computers"),
    "bom_crlf_gz": (0, "no errors"),
    "copies": (0, "1 ratings are 0 where all others are 1 or more"),
    "iso_times": (1, 'format="ISO8601"'),
    "test_only": (0, "1 users occur in valid or test and never in train"),
    "scale100": (0, "keep_positive(dataset, 50) leaves them out"),
    "counts": (0, "look like counts, not stars"),
    "png16": (0, "no errors"),
    "broken_pictures": (1, "5 errors to repair"),
    "empty_sounds": (1, "3 errors to repair"),
    "odd_sounds": (1, "pipe_00.wav"),
    "odd_texts": (0, "of item 'i6': empty description and no title"),
    "meta2014": (0, "| with a known item | 3 | 3 | 9 |"),
    "html_for_gz": (1, "is a web page, not the file"),
    "unpacked": (0, "| with a known item | 2 | 1 | 2 |"),
    "bad_rows": (0, "rows that could not be read: 9"),
    "mmrec_zero_rows": (0, "2 of 6 rows are all zero"),
    "mmrec_item_beyond": (1, "row 32: item '6' has no row in image_feat.npy"),
    "recbole_single": (0, "movie_title as title"),
    "elliot_dataset_strategy": (1, "cannot be read as YAML"),
    "features_other_ids": (1, "no row for 1 of 5 items: 'i0'"),
    "pandas_quoted_tsv": (0, "quoted as pandas and spreadsheets do it"),
    "convert_overwrites": (1, "holds other files"),
    "elliot_dims_differ": (1, "2.npy has length 5"),
    "recbole_item_columns": (0, "movie_title as title, class as category"),
    "asin_without_meta": (0, "| with a known item | 4 | 1 | 4 |"),
    "ml_unzipped": (0, "30"),
}


@pytest.fixture(scope="module")
def cases():
    """The functions that make the inputs, by name."""
    if not MAKER.is_file():
        pytest.skip("the cases are not at hand (../shared/cases)")
    about = importlib.util.spec_from_file_location("make_cases", MAKER)
    module = importlib.util.module_from_spec(about)
    about.loader.exec_module(module)
    return module.CASES


@pytest.mark.parametrize("name", ANSWERS)
def test_a_case_is_answered(cases, name, tmp_path, capsys):
    status, words = ANSWERS[name]
    folder = tmp_path / name
    cases[name]["make"](folder)
    for run in cases[name]["run"]:
        if run.startswith("python -m utils.data "):
            assert main(shlex.split(run.format(d=folder.as_posix()))[3:]) == status
            answer = "".join(capsys.readouterr())
            assert words in answer, answer


def test_no_case_is_forgotten(cases):
    commands = {name for name, case in cases.items() if any(run.startswith("python") for run in case["run"])}
    assert commands <= set(ANSWERS)


def test_the_rating_that_the_split_keeps_leaves(cases, tmp_path):
    cases["rerated"]["make"](tmp_path / "rerated")
    dataset = load_dataset(tmp_path / "rerated")
    log = pd.read_csv(export(dataset, "csv", tmp_path / "out", strategy="leave_one_out") / "ratings.csv")
    (row,) = log[(log["userId"] == "u1") & (log["movieId"] == "i1")].itertuples()
    assert (row.rating, row.timestamp, row.split) == (5, 99, "test")


def test_the_grey_ramp_is_a_ramp(cases, tmp_path):
    cases["png16"]["make"](tmp_path / "png16")
    deep, flat = (np.asarray(load_dataset(tmp_path / "png16").image(item), dtype=float) for item in (0, 1))
    assert np.abs(deep - flat).max() <= 1
