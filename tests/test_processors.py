"""`make processors`: the environment of each run, what it refuses, and how near to its limit a recorded number is."""

import json
import os
import sys

import numpy as np
import processors
import pytest
import recorded
import torch
from processors import Processor, environment, not_as_asked, parse_runs, switched_off

# what numpy 2.4, and numpy 1.26, report on a server of 2024, on a laptop of 2014, on one of 2008, and on an ARM machine
SERVER = Processor("x86_64", ("X86_V3", "X86_V4", "AVX512_ICL"), True)
OLDER_NUMPY = Processor("AMD64", ("SSSE3", "SSE42", "AVX", "FMA3", "AVX2", "AVX512F", "AVX512_SKX"), True)
LAPTOP = Processor("x86_64", ("X86_V3",), True)
OLD = Processor("x86_64", (), False)
ARM = Processor("aarch64", ("ASIMDHP", "ASIMDDP", "SVE"), False)


def test_the_lowest_level_switches_everything_off():
    found = environment("lowest", 1, SERVER, {"PATH": "/bin"})
    assert found == {
        "PATH": "/bin",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Prescott",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "MKL_CBWR": "COMPATIBLE",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONHASHSEED": "1",
    }
    assert "NPY_DISABLE_CPU_FEATURES" not in environment("lowest", 1, OLD, {})  # numpy refuses an empty list


def test_the_highest_level_switches_nothing_off_and_forgets_what_was_set():
    inherited = {
        "ATEN_CPU_CAPABILITY": "default",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4",
        "OMP_NUM_THREADS": "7",
        "A": "b",
    }
    found = environment("highest", 2, SERVER, inherited)
    threads = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
    assert found == {"A": "b", "PYTHONHASHSEED": "2", **dict.fromkeys(threads, "2")}


@pytest.mark.parametrize(
    ("processor", "off"),
    [(SERVER, ["X86_V4", "AVX512_ICL"]), (OLDER_NUMPY, ["AVX512F", "AVX512_SKX"]), (LAPTOP, [])],
)
def test_between_them_lies_avx2(processor, off):
    assert switched_off("avx2", processor) == off
    found = environment("avx2", 1, processor, {})
    assert found["ATEN_CPU_CAPABILITY"] == "avx2" and found["OPENBLAS_CORETYPE"] == "Haswell"
    assert found.get("NPY_DISABLE_CPU_FEATURES") == (" ".join(off) or None)


def test_a_processor_without_avx2_has_two_levels_and_arm_none():
    assert OLD.levels == ("lowest", "highest")
    with pytest.raises(ValueError, match="no level 'avx2' here; choose from lowest, highest"):
        environment("avx2", 1, OLD, {})
    assert ARM.levels == ("highest",)
    assert parse_runs("lowest:1,highest:2", ARM) == [("highest", 1), ("highest", 2)]
    assert parse_runs("lowest:1,highest:1", ARM) == [("highest", 1)]
    assert set(environment("highest", 2, ARM, {})) == {*processors.THREADS, "PYTHONHASHSEED"}


def test_runs_are_read_and_mistakes_are_named():
    assert parse_runs("lowest:2, highest:1", SERVER) == [("lowest", 2), ("highest", 1)]
    for text in ("lowest", "lowest:0", "low:1", ""):
        with pytest.raises(ValueError, match="is no run; write for example lowest:1,highest:2"):
            parse_runs(text, SERVER)


def test_switches_without_an_effect_are_found_out():
    used = {"numpy": [], "torch": "DEFAULT", "threads": 1}
    assert not_as_asked("lowest", 1, SERVER, used) == []
    every = {"numpy": list(SERVER.features), "torch": "AVX512", "threads": 2}
    assert not_as_asked("highest", 2, SERVER, every) == []
    wrong = not_as_asked("lowest", 1, SERVER, every)
    assert [words.split()[0] for words in wrong] == ["numpy", "torch", "torch"] and "2 threads, not 1" in wrong[2]


def test_the_switches_have_an_effect_on_this_processor():
    here = processors.this_processor()
    level = here.levels[0]
    assert not_as_asked(level, 2, here, processors.probe(environment(level, 2, here, os.environ))) == []


def test_the_suite_runs_without_notebooks_and_the_chosen_notebooks_without_the_suite(tmp_path):
    suite = processors.command([], ["-x"], tmp_path)
    assert suite[-3:] == ["-m", "not notebook and not browser", "-x"]
    some = processors.command(["00_start_here", "05_training"], [], tmp_path)
    assert "00_start_here or 05_training" in some and "tests/test_notebooks.py" in some
    assert (processors.ROOT / "tests" / "test_notebooks.py").is_file()


def test_a_run_that_fails_fails_the_command(tmp_path, monkeypatch, capsys):
    """A test that fails with one thread and passes with two: the command ends with 1 and names the run."""
    test = tmp_path / "test_threads.py"
    test.write_text("import os\ndef test_two():\n    assert os.environ['OMP_NUM_THREADS'] == '2'\n", encoding="utf-8")
    used = {"numpy": [], "torch": "DEFAULT", "libraries": []}
    monkeypatch.setattr(processors, "BUILD", tmp_path / "build")
    monkeypatch.setattr(processors, "this_processor", lambda: OLD)
    monkeypatch.setattr(processors, "probe", lambda variables: used | {"threads": int(variables["OMP_NUM_THREADS"])})
    call = ["processors.py", "--runs", "highest:1,highest:2", str(test), "--rootdir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", call)
    assert processors.main() == 1
    said = capsys.readouterr().out
    assert said.rstrip().endswith("2 runs, 1 failed: highest, 1 thread") and "--- highest, 2 threads: ok" in said
    monkeypatch.setattr(sys, "argv", [*call, "-k", "none"])
    assert processors.main() == 1, "no test at all is no success"
    monkeypatch.setattr(sys, "argv", ["processors.py", "--runs", "avx2:1"])
    assert processors.main() == 2 and "no level 'avx2' here" in capsys.readouterr().err


AT_START = torch.get_num_threads()


@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_that_sets_the_threads_does_not_set_them_for_the_next(turn):
    assert torch.get_num_threads() == AT_START
    torch.set_num_threads(AT_START + 1)


# --- recorded numbers ---


def entry(value, tolerance):
    return {"value": value, "tolerance": tolerance}


def test_shares_of_the_tolerance():
    stored = {
        "a": entry(0.5, 0.1),
        "b": entry(0.5, 0.1),
        "c": entry("mgcn", 0),
        "d": entry(3.0, None),
        "e": entry(2, 0),
    }
    fresh = {
        "a": entry(0.55, 0.1),
        "b": entry(0.5, 0.1),
        "c": entry("mgcn", 0),
        "d": entry(9.0, None),
        "e": entry(2, 0),
    }
    assert recorded.shares(fresh, stored) == {"a": pytest.approx(0.5), "b": 0.0, "c": 0.0, "e": 0.0}
    assert recorded.outside(fresh, stored) == []


@pytest.mark.parametrize("value", [0.61, 0.39, np.nan, None, "absent"])
def test_a_number_outside_its_tolerance_is_named(value):
    fresh = {} if value == "absent" else {"a": entry(value, 0.1)}
    (words,) = recorded.outside(fresh, {"a": entry(0.5, 0.1)})
    assert words.startswith("a is ") and words.endswith("recorded 0.5 within 0.1")


def test_a_text_has_no_tolerance():
    assert recorded.outside({"best": entry("bpr", 0)}, {"best": entry("mgcn", 0)}) == [
        "best is bpr, recorded mgcn within 0"
    ]


def test_the_number_nearest_to_its_limit_is_shown(tmp_path):
    stored = json.loads((processors.ROOT / "tests" / "records" / "fast" / "00.json").read_text(encoding="utf-8"))
    name = next(name for name, each in stored["values"].items() if each["tolerance"])
    stored["values"][name]["value"] += stored["values"][name]["tolerance"] / 2
    (tmp_path / "one" / "fast").mkdir(parents=True)
    (tmp_path / "one" / "fast" / "00.json").write_text(json.dumps(stored), encoding="utf-8")
    words = processors.nearest_to_its_limit("00_start_here", tmp_path)
    assert f"the farthest is {name}: " in words and words.endswith("(50%)") and ": 1 of " in words
    assert "no record" in processors.nearest_to_its_limit("05_training", tmp_path)
