"""One result file: resumed, merged, set aside; two processes lose nothing; the stored files stay as they are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from utils.errors import CourseError
from utils.files import ROOT
from utils.stored import RESULTS, ResultFile, load, locked, markdown, markdown_rows, merge_rows, origin, rounded

KEY = {"dataset": "films", "fingerprint": "f", "loop": {"dims": (1, 2)}}
AS_JSON = {"dataset": "films", "fingerprint": "f", "loop": {"dims": [1, 2]}}
EMPTY = {"rows": [], "parts": {}}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("name", sorted(path.stem for path in RESULTS.glob("*.json")))
def test_a_stored_file_is_gone_on_from_and_written_again_byte_by_byte(tmp_path, name, capsys):
    before, about = (RESULTS / f"{name}.json").read_bytes(), load(name)["meta"]
    file = tmp_path / "copy.json"
    file.write_bytes(before)
    key = {
        word: about[word] for word in ("dataset", "fingerprint", "strategy", "budget", "loop", "scale") if word in about
    }
    with ResultFile(file, key, flat="runs" in about).update() as content:
        assert content["meta"] == about
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["copy.json"] and not capsys.readouterr().err


def test_an_earlier_run_is_gone_on_from_only_where_its_key_is_the_same(tmp_path, capsys):
    out = tmp_path / "found.json"
    assert ResultFile(out, KEY, EMPTY).content == {"meta": {}, **EMPTY} and not out.exists()
    stored = {"meta": {**AS_JSON, "commit": "abc"}, "rows": [1], "parts": {}}
    write(out, stored)
    assert ResultFile(out, KEY, EMPTY).content == stored
    assert ResultFile(out, {"commit": "abc", **KEY}, {"meta": {"runs": []}}).content["meta"]["runs"] == []
    for number, other in enumerate(({**KEY, "dataset": "books"}, {**KEY, "epochs": 4}), start=1):
        write(out, stored)
        assert ResultFile(out, other, EMPTY).content == {"meta": {}, **EMPTY} and not out.exists()
        aside = tmp_path / f"found.set-aside-{number}.json"
        assert json.loads(aside.read_text(encoding="utf-8")) == stored
        word = "dataset" if number == 1 else "epochs"
        assert capsys.readouterr().err == (
            f"{out} belongs to another {word}: kept as {aside.name}, and started anew.\n"
        )


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[1, 2", '"meta"', '{"meta": []}', '{"meta": {}, "rows": 3}', '{"meta": {}, "parts": []}']
)
def test_a_file_that_is_no_result_is_set_aside_and_named(tmp_path, text, capsys):
    out = tmp_path / "found.json"
    write(out, text)
    with ResultFile(out, {}, EMPTY).update() as content:
        assert content == {"meta": {}, **EMPTY}
    assert (tmp_path / "found.set-aside-1.json").read_text(encoding="utf-8") == text
    assert "cannot be read: kept as found.set-aside-1.json" in capsys.readouterr().err
    assert json.loads(out.read_text(encoding="utf-8")) == {"meta": {}, **EMPTY}


def test_what_was_known_outlives_a_file_that_is_damaged_or_deleted_meanwhile(tmp_path, capsys):
    file = ResultFile(tmp_path / "found.json", {}, EMPTY)
    for number, harm in enumerate((lambda: None, lambda: file.path.write_text("{"), file.path.unlink)):
        if number:
            harm()
        with file.update() as content:
            content["rows"].append(number)
    assert json.loads(file.path.read_text(encoding="utf-8"))["rows"] == [0, 1, 2]


def test_a_block_that_fails_writes_nothing(tmp_path):
    file = ResultFile(tmp_path / "found.json", {}, EMPTY)
    with pytest.raises(ZeroDivisionError), file.update() as content:
        content["rows"] += [2, 3]
        content["rows"].append(1 / 0)
    assert not file.path.exists() and file.content["rows"] == []
    with file.update() as content:
        content["rows"].append(1)
    with pytest.raises(ZeroDivisionError), file.update() as content:
        content["rows"].append(1 / 0)
    assert ResultFile(file.path, {}, EMPTY).content["rows"] == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CourseError, match="Cannot write .*choose a folder you may write"):
        ResultFile(tmp_path / "file" / "found.json")
    with pytest.raises(CourseError, match="is a folder; give the name of a file in it"):
        ResultFile(tmp_path)


def test_rows_measured_again_take_the_place_of_the_old_ones():
    old = [
        {"m": "a", "s": 0, "v": 1},
        {"m": "a", "s": 0, "v": 2},
        {"m": "b", "s": 0, "v": 3},
        {"m": "a", "s": 1, "v": 4},
    ]
    new = [{"m": "c", "s": 0, "v": 7}, {"m": "a", "s": 0, "v": 5}]
    assert [row["v"] for row in merge_rows(old, new, ("m", "s"))] == [5, 3, 4, 7]
    assert merge_rows(old, [], ("m",)) == old and merge_rows([], new, ("m",)) == new


def test_floats_are_rounded_and_nothing_else():
    assert rounded({"a": 0.123456789, "b": 3, "c": "x"}, 3) == {"a": 0.123, "b": 3, "c": "x"}


def test_flat_rows_have_six_digits_and_no_number_is_null(tmp_path):
    file = ResultFile(tmp_path / "found.json", {}, EMPTY, flat=True)
    for _ in range(2):  # a null is read back and written again
        with file.update() as content:
            content["rows"] = content["rows"] or [{"m": "a", "value": 1 / 3}, {"m": "b", "value": float("nan")}]
    lines = file.path.read_text(encoding="utf-8").splitlines()
    assert lines[-3:] == ['{"m": "a", "value": 0.333333},', '{"m": "b", "value": null}', "]}"]


def test_a_table_has_a_corner_or_none():
    frame = pd.DataFrame({"x": ["1", "2"]}, index=["a", "b"])
    assert markdown(frame, "M") == "| M | x |\n|---|---|\n| a | 1 |\n| b | 2 |"
    assert markdown_rows(["x"], [[1], [2]], wide=True) == "| x |\n| --- |\n| 1 |\n| 2 |"


def test_the_origin_names_commit_command_machine_and_load():
    assert {"commit", "machine", "python", "torch", "load"} < set(found := origin("python -m X")) and found[
        "command"
    ] == "python -m X"


# ---- several processes ----

# the file alone, without the tables beside it, which load torch: a process starts in a tenth of the time
ALONE = """
import sys, types
sys.modules["utils.stored"] = types.ModuleType("utils.stored")
sys.modules["utils.stored"].__path__ = ["utils/stored"]
"""
ADD = """
import sys, time
from pathlib import Path
from utils.stored.result_file import ResultFile
file = ResultFile(Path(sys.argv[1]), {}, {"rows": []})
for number in range(20):
    with file.update() as content:
        before = list(content["rows"])
        time.sleep(0.005)
        content["rows"] = [*before, f"{sys.argv[2]} {number}"]
"""
HOLD = """
import sys, time
from pathlib import Path
from utils.stored.result_file import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", ALONE + code, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_rows_that_three_processes_add_at_once_are_all_there(tmp_path):
    out = tmp_path / "found.json"
    adding = [start(ADD, out, name) for name in "abc"]
    assert [each.wait(120) for each in adding] == [0, 0, 0]
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert sorted(rows) == sorted(f"{name} {number}" for name in "abc" for number in range(20))
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a POSIX signal")
def test_the_lock_of_a_process_that_was_killed_is_taken_over(tmp_path):
    out = tmp_path / "found.json"
    holder = start(HOLD, out)
    try:
        assert holder.stdout.readline() == "held\n"
        waiting = start(ADD, out, "next")
        time.sleep(1)  # the other one has long started
        assert waiting.poll() is None and not out.exists(), "it waits for the lock"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(30)
        assert (tmp_path / ".found.json.lock").exists(), "the killed one could not clean up"
        assert waiting.wait(60) == 0
    finally:
        holder.kill()
    assert len(json.loads(out.read_text(encoding="utf-8"))["rows"]) == 20
    with locked(out):
        assert (tmp_path / ".found.json.lock").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_a_study_of_your_own_data_does_not_move_the_courses_result(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.stored.result_file.RESULTS", tmp_path)
    shipped = tmp_path / "study.json"
    with ResultFile(shipped, {"dataset": "shop"}).update() as content:
        content["meta"] = {"dataset": "shop"}
    before = shipped.read_bytes()
    with pytest.raises(CourseError, match="own result on 'shop', not on 'mine'; give another file"):
        ResultFile(shipped, {"dataset": "mine"})
    assert shipped.read_bytes() == before and [path.name for path in tmp_path.glob("*.json")] == ["study.json"]
    ResultFile(shipped, {"dataset": "shop"})


def test_a_result_says_its_stack_and_how_many_threads_computed():
    import torch

    from utils.environment import stack
    from utils.stored import meta

    said = meta(["x"])
    assert said["threads"] == torch.get_num_threads() and said["stack"] == stack() != ""


def test_a_result_nested_too_deeply_is_set_aside(tmp_path, capsys):
    path = tmp_path / "r.json"
    path.write_text("[" * 200_000, encoding="utf-8")
    assert ResultFile(path, {}, {"rows": []}).content["rows"] == []
    assert "cannot be read: kept as r.set-aside-1.json" in capsys.readouterr().err
