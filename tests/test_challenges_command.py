"""The command lines of the stored studies: arguments, a file of an earlier run, errors in one sentence."""

from __future__ import annotations

import json

import pytest

from utils.challenges.command import command_line, earlier, rounded
from utils.errors import CourseError

KEY = {"dataset": "films", "fingerprint": "f", "epochs": 3}


def test_options_reach_the_study_and_its_error_becomes_one_sentence(tmp_path, capsys):
    seen = []
    out = tmp_path / "found.json"
    given = ["folder", "--seeds", "4", "--epochs", "7", "--out", str(out)]
    assert command_line("x", seen.append, given, about="a study", seeds=2, out=out, epochs=40) == 0
    assert (seen[0].seeds, seen[0].epochs, seen[0].out, seen[0].folder.name) == (4, 7, out, "folder")
    assert capsys.readouterr().out == f"written to {out}\n"

    def broken(options):
        raise CourseError("no pictures there.")

    assert command_line("x", broken, ["folder"], about="a study", seeds=2, out=out) == 1
    assert command_line("x", broken, ["folder", "--seeds", "0"], about="a study", seeds=2, out=out) == 1
    said = capsys.readouterr()
    assert (
        said.err == "error: no pictures there.\nerror: --seeds 0: a study needs at least one seed.\n" and not said.out
    )


def test_an_earlier_run_is_gone_on_from_only_where_its_key_is_the_same(tmp_path):
    out = tmp_path / "found.json"
    assert earlier(out, KEY) == {}
    stored = {"meta": {**KEY, "commit": "abc"}, "rows": [1]}
    out.write_text(json.dumps(stored), encoding="utf-8")
    assert earlier(out, KEY) == stored
    assert earlier(out, {**KEY, "epochs": 4}) == {} == earlier(out, {**KEY, "fingerprint": "g"})


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1, 2", '"meta"'])
def test_a_file_that_is_no_result_is_named_and_left_alone(tmp_path, text):
    out = tmp_path / "found.json"
    out.write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match=r"found.json is no result of a study; remove it"):
        earlier(out, KEY)
    assert out.read_text(encoding="utf-8") == text


def test_the_study_of_another_dataset_is_not_overwritten(tmp_path):
    out = tmp_path / "found.json"
    out.write_text(json.dumps({"meta": {"dataset": "movielens"}}), encoding="utf-8")
    with pytest.raises(CourseError, match="holds the study of 'movielens', not of 'films'; give another file"):
        earlier(out, KEY)


def test_floats_are_rounded_and_nothing_else():
    assert rounded({"a": 0.123456789, "b": 3, "c": "x"}, 3) == {"a": 0.123, "b": 3, "c": "x"}
