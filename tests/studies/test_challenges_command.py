"""The command line of an experiment: both spellings of each option, seeds, errors in one sentence."""

from __future__ import annotations

import pytest

from utils.errors import CourseError
from utils.files import ROOT
from utils.lab import __main__ as lab
from utils.stored.commands import command_text, run_study, seed_list, seeds_text


def options_of(arguments, **more):
    seen = []
    status = run_study("x", seen.append, arguments, about="a study", **{"seeds": 2, **more})
    return status, seen[0] if seen else None


def test_options_reach_the_study_and_its_error_becomes_one_sentence(tmp_path, capsys):
    out = tmp_path / "found.json"
    status, found = options_of(["folder", "--seeds", "4", "--epochs", "7", "--out", str(out)], json=out, epochs=40)
    assert status == 0
    assert (found.seeds, found.epochs, found.json, found.dataset) == ([0, 1, 2, 3], 7, out, "folder")
    assert capsys.readouterr().out == f"written to {out}\n"

    def broken(options):
        raise CourseError("no pictures there.")

    assert run_study("x", broken, ["folder"], about="a study", seeds=2, json=out) == 1
    assert run_study("x", broken, ["folder", "--seeds", "0"], about="a study", seeds=2, json=out) == 1
    said = capsys.readouterr()
    assert (
        said.err == "error: no pictures there.\nerror: --seeds 0: a study needs at least one seed.\n" and not said.out
    )


@pytest.mark.parametrize("words", [["here"], ["--dataset", "here"], ["--epochs", "3", "here"], ["--dataset=here"]])
@pytest.mark.parametrize("option", ["--json", "--out"])
def test_the_folder_and_the_file_have_two_spellings(tmp_path, words, option):
    for required in ({"json": None, "dataset": "shop"}, {"json": tmp_path / "other.json", "dataset": None}):
        _, found = options_of([*words, option, str(tmp_path / "a.json")], epochs=3, **required)
        assert (found.dataset, found.json) == ("here", tmp_path / "a.json")


def test_what_is_left_out_is_the_default_or_is_asked_for(tmp_path, capsys):
    out = tmp_path / "a.json"
    assert options_of([], json=out, dataset="shop")[1].dataset == "shop"
    assert options_of(["d"], json=out, seeds=3)[1].seeds == [0, 1, 2]
    assert options_of(["d"], json=out, seeds="3")[1].seeds == [3]
    for arguments, more, words in (
        ([], {"json": out}, "required: FOLDER"),
        (["d"], {}, "required: --json"),
        (["d", "e"], {"json": out}, "unrecognized arguments: e"),
    ):
        with pytest.raises(SystemExit):
            options_of(arguments, **more)
        assert words in capsys.readouterr().err
    assert options_of(["d", "--sedes", "3"], json=out)[0] == 1
    assert "error: Unknown option '--sedes'; did you mean --seeds" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, counted, listed", [("3", [0, 1, 2], [3]), ("0,2", [0, 2], [0, 2]), ("5,", [5], [5]), ("", [], [])]
)
def test_a_number_of_seeds_and_a_list_of_seeds(text, counted, listed):
    assert seed_list(text, counted=True) == counted and seed_list(text) == listed
    assert seed_list(seeds_text(counted), counted=True) == counted
    with pytest.raises(CourseError, match="is not a list of whole numbers"):
        seed_list("two")


def test_the_command_of_a_result_file_is_the_one_that_makes_it():
    assert command_text("utils.lab study ladder", "a/b/", [0, 1, 2]) == "python -m utils.lab study ladder a/b --seeds 3"


STUDIES = [path.stem for path in sorted((ROOT / "utils" / "studies").glob("*.py")) if "def main(" in path.read_text("utf-8")]  # fmt: skip


@pytest.mark.parametrize("name", STUDIES)
def test_the_help_of_every_study_names_the_command_that_runs_it(name, capsys):
    with pytest.raises(SystemExit) as ended:
        lab.main(["study", name, "--help"])
    assert ended.value.code == 0
    assert " ".join(capsys.readouterr().out.split()).startswith(f"usage: python -m utils.lab study {name} [-h]")


def test_a_study_that_does_not_exist_is_one_sentence(capsys):
    assert lab.main(["study", "laddr"]) == 1 and lab.main(["study"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Unknown study 'laddr'; did you mean ladder")
    assert said[1].startswith(f"Unknown study ''; known: {min(STUDIES)}")
