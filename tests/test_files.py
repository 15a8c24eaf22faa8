"""Files and how programs end: what a kill left is cleared away, sentences stay short, a closed pipe is no error."""

import os
import subprocess
import sys
import time

import pytest

from utils.errors import CourseError, suggest
from utils.files import ROOT, read_json, sweep, write_json, write_text


def test_what_a_killed_process_left_goes_when_it_is_old_and_nothing_else(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {
        f".part-{gone.pid}-aa.json": True,  # killed, and old
        f".part-{gone.pid}-bb.json": False,  # killed, and young: another machine may be writing it
        f".part-{os.getpid()}-cc.json": False,  # somebody writes it
        ".part-x-dd.json": False,
        "result.json": False,
    }
    for name in names:
        (tmp_path / name).touch()
        if "bb" not in name:
            os.utime(tmp_path / name, (time.time() - 90_000,) * 2)
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name for name, goes in names.items() if not goes}
    sweep(tmp_path / "nowhere")


def test_a_durable_file_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, name=name: (calls.append(name), real(*a))[1])
    write_text(tmp_path / "a", "x")
    assert calls == ["replace"]
    write_json(tmp_path / "b", [1], durable=True)
    assert calls == ["replace", "fsync", "replace"] and (tmp_path / "b").read_bytes() == b"[\n 1\n]\n"


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"3", b"null", b"\xff", b"[" * 200_000, b'{"a": ' * 100_000])
def test_json_that_is_no_object_is_a_reason(tmp_path, raw):
    (tmp_path / "a.json").write_bytes(raw)
    with pytest.raises(ValueError) as caught:
        read_json(tmp_path / "a.json")
    assert len(str(caught.value)) < 200
    with pytest.raises(ValueError, match="No such file|cannot find"):
        read_json(tmp_path / "none.json")


def test_no_sentence_is_longer_than_a_screen_whatever_a_file_holds():
    for error in (CourseError("x" * 5_000_000), suggest("y" * 5_000_000, ["abc"], "name")):
        assert len(str(error)) < 2100 and " ... " in str(error)
    assert str(CourseError("a short one")) == "a short one"


DOORS = [("utils.data", ["get", "--list"]), ("utils.features", ["encoders"])]


@pytest.mark.skipif(os.name == "nt", reason="a pipe of POSIX")
@pytest.mark.parametrize(("module", "words"), DOORS, ids=[door for door, _ in DOORS])
def test_a_reader_that_stops_early_sees_no_traceback(module, words):
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen([sys.executable, "-m", module, *words], cwd=ROOT, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    said = process.communicate(timeout=240)[1].decode()
    assert "Traceback" not in said and "BrokenPipe" not in said and process.returncode == 141


def test_every_door_ends_that_way():
    for path in (ROOT / "utils").rglob("__main__.py"):
        assert "    leave(" in path.read_text(encoding="utf-8"), path
