"""What reading and extracting cost: stored by the benchmarks, rendered into README, never typed."""

import json
import sys

import pytest

from utils.files import write_json
from utils.lab import measured
from utils.lab import tables as results
from utils.stored import ResultFile, merge_rows


def row(**other):
    return {"encoder": "minilm", "content": "shop", "device": "cpu", "job_cpu_ms": 2.04, "against_loop": 2.9,
            "against_files": 3.1, "million_items_hours_on_2_cores_extrapolated": 0.3, "load": 1.5,
            "bars_met": {"loop 1.3": True, "files 4": False}, **other}  # fmt: skip


META = {"command": "python -m X", "machine": "a machine"}


def test_a_missed_bar_is_said_and_loads_are_a_range():
    floor = row(encoder="pixels", load=3.0)
    del floor["bars_met"]
    text = measured.extraction({"meta": META, "rows": [row(), floor]})
    assert "| minilm | shop | 2.0 | 2.90 | 3.10 (missed) | 0.3 |" in text
    assert "| pixels | shop | 2.0 | 2.90 | 3.10 | 0.3 |" in text, "a floor has no bar"
    assert "`python -m X` (a machine, load 1.5 to 3" in text


def test_a_device_is_a_sentence_of_its_own_and_eight_are_called_extrapolated():
    gpu = {"encoder": "minilm", "device": "cuda", "device_name": "a GPU", "items_per_second": 1234.5, "load": 1.0,
           "million_hours": 0.23, "million_hours_on_8_extrapolated": 0.03}  # fmt: skip
    text = measured.extraction({"meta": META, "rows": [row(), gpu]})
    assert "minilm on a GPU: 1,234 items a second, a million in 0.23 h; on eight, extrapolated, 0.03 h." in text


def test_rows_measured_again_take_the_place_of_the_old_ones(tmp_path):
    file, key = tmp_path / "e.json", ("encoder", "content", "device")
    for about, rows in ((META, [row(), row(content="photos")]), ({**META, "commit": "b"}, [row(job_cpu_ms=9.0)])):
        with ResultFile(file, empty={"rows": []}).update() as content:
            content |= {"meta": about, "rows": merge_rows(content["rows"], rows, key)}
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found == content and found["meta"]["commit"] == "b"
    assert [(each["content"], each["job_cpu_ms"]) for each in found["rows"]] == [("shop", 9.0), ("photos", 2.04)]


def test_the_blocks_are_filled_between_their_markers(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    text = "a\n<!-- begin:parsing -->\nold\n<!-- end:parsing -->\nb\n"
    assert measured.blocks() == {} and results.render(text) == text, "no file, no change"
    stage = {"rows": 100_000, "cpu_seconds": 2.0, "peak_mb": 120.4, "load": 2.0}
    rows = [{"stage": "imports only", **stage}, {"stage": "parse", **stage}]
    write_json(tmp_path / "parsing.json", {"meta": {**META, "rows": 100_000, "unpacked_mb": 55.5}, "rows": rows})
    text = results.render(text)
    assert "| from file to log | 50,000 | 120 |" in text and "old" not in text and "imports" not in text
    assert "100,000 reviews, 56 MB unpacked (a machine, load 2)" in text


@pytest.mark.skipif(sys.platform == "win32", reason="the command's peak of memory needs a POSIX system")
def test_the_parsing_benchmark_stores_its_figures_with_their_origin(tmp_path, monkeypatch):
    from tests.benchmarks import bench_parsing

    monkeypatch.setattr(bench_parsing, "run", lambda folder, name, extra: bench_parsing.stage("lines", folder))
    monkeypatch.setattr(sys, "argv", ["bench", "--rows", "400", "--json", str(tmp_path / "parsing.json")])
    bench_parsing.main()
    stored = json.loads((tmp_path / "parsing.json").read_text(encoding="utf-8"))
    assert {"commit", "command", "machine", "load", "rows", "unpacked_mb"} <= set(stored["meta"])
    assert [each["stage"] for each in stored["rows"]] == ["imports only", "lines", "json", "parse", "get"]
    assert stored["rows"][1]["rows"] == 400 and "load" in stored["rows"][1]
