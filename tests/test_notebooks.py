"""Every notebook, end to end by papermill in FAST mode: it runs, its numbers are the recorded ones, its claims hold."""

import json

import pytest
from recorded import outside

from utils import course
from utils.files import ROOT
from utils.press import run as runner

RECORDS = ROOT / "tests" / "records"


@pytest.mark.notebook
@pytest.mark.parametrize("path", course.notebook_paths(), ids=lambda path: path.stem)
def test_notebook_runs_and_its_claims_hold(path, tmp_path):
    runner.execute(path, tmp_path / path.name, {"FAST": True}, records=tmp_path)
    fresh = json.loads(course.record_path(path.stem, "fast", tmp_path).read_text(encoding="utf-8"))
    stored = json.loads(course.record_path(path.stem, "fast", RECORDS).read_text(encoding="utf-8"))
    assert fresh["values"].keys() == stored["values"].keys()
    assert outside(fresh["values"], stored["values"]) == []
    for entry in fresh["claims"]:
        assert entry["full_only"] or entry["open"] or course.claim_holds(entry), entry
    assert [entry["text"] for entry in fresh["claims"]] == [entry["text"] for entry in stored["claims"]]
