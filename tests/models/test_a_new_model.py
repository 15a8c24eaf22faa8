"""A recommender is one file: a dummy model, added to a copy of the course, is found by everything that lists recommenders."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from utils.files import ROOT
from utils.models import MODELS

TITLE = "Dummy of the test"
DUMMY = '''"""rho, a dummy that a test adds: BPR-MF with half of its dimensions."""

from utils.models.base import Schema
from utils.models.bpr import BPR


class Dummy(BPR):
    """Each user and each item is one short trainable vector."""

    name = "dummy"
    title = "Dummy of the test"
    order = 65
    schema = Schema("none", "none", "joint", "none", "BPR")
    DEFAULTS = {**BPR.DEFAULTS, "dim": 32}
    SEARCH = {"lr": [1e-3, 5e-3]}
'''
# Run in the copy: one line of JSON for each place that lists the recommenders.
ASK = """
import json

from utils import stored
from utils.files import ROOT
from utils.lab import speed, tables
from utils.lab.benchmark import parser
from utils.press.decks.figures_schema import schema_rows
from utils.press.decks.numbers import look_up
from utils.press.handouts.sheet import cheat_sheet

arguments = ["accuracy", "--json", "out.json"]
row = {"seed": 3, "split": "test", "metric": "recall@20", "value": 0.25}
result = {"meta": {"command": "python -m utils.benchmark accuracy --json x.json"}}
result["rows"] = [{"model": name, **row} for name in ("lightgcn", "dummy", "bpr")]
texts = {page.name: tables.render(page.read_text(encoding="utf-8")) for page in tables.PAGES if page.exists()}
for name, answer in {
    "root": str(ROOT),
    "benchmark": parser().parse_args(arguments).models.split(","),
    "table": stored.table(result, {"recall@20": "Recall@20"})["Recall@20"].to_dict(),
    "overview": stored.overview().T.to_dict("list"),
    "datasets": list(stored.available()),
    "rendered": stored.markdown(stored.overview(), "Model") in "".join(texts.values()),
    "command": tables.whole_command(result),
    "speed": speed.all_tasks(quick=False),
    "quick": speed.all_tasks(quick=True),
    "slide": schema_rows("bpr,dummy")[0],
    "count": look_up("value", ["n_models", ".0f"]),
    "sheet": cheat_sheet(),
}.items():
    print(json.dumps([name, answer]))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Place -> what it lists, in a copy of the course that has one file more."""
    copy = tmp_path_factory.mktemp("copy")
    skip = shutil.ignore_patterns("__pycache__", "*.users.npz", "vendor", "figures", "sticker_shop_ladder.json")
    for folder in ("utils", "slides", "data/results"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=skip)
    for file in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / file, copy / file)
    (copy / "utils" / "models" / "dummy.py").write_text(DUMMY, encoding="utf-8")
    answer = subprocess.run([sys.executable, "-c", ASK], cwd=copy, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    found = dict(map(json.loads, answer.stdout.splitlines()))
    assert Path(found["root"]) == copy.resolve()
    return found


def test_the_benchmark_runs_it_by_default_and_in_its_order(found):
    assert found["benchmark"] == sorted([*MODELS, "dummy"], key=lambda name: (order(name), name))


def order(name):
    return 65 if name == "dummy" else MODELS[name].order


def test_tables_show_its_title_also_when_only_some_models_are_stored(found):
    assert list(found["table"]) == ["BPR-MF", TITLE, "LightGCN"] and found["table"][TITLE] == "0.250"
    assert len(found["overview"]) == len(MODELS) + 1
    assert found["overview"][TITLE] == ["not run"] * len(found["datasets"])  # a graph-free model runs on all
    assert found["overview"]["BPR-MF"] != found["overview"][TITLE] and len(found["datasets"]) == 4


def test_speed_measures_an_epoch_of_it_and_how_it_grows(found):
    assert "dummy" in found["speed"] and "dummy" in found["quick"]
    assert [task for task in found["speed"] if task.startswith("growth:dummy:")] == [
        f"growth:dummy:{n}" for n in (1, 2, 4, 8)
    ]


def test_slides_have_its_row_of_the_schema_and_count_it(found):
    row = re.search(r"<tr><td><b>dummy</b></td>(.*?)</tr>", found["slide"])
    assert re.findall(r"<td>(.*?)</td>", row[1]) == ["none", "none", "joint", "none", "BPR"]
    assert found["count"] == str(len(MODELS) + 1)


def test_readme_its_commands_and_the_cheat_sheet_name_it(found):
    assert found["rendered"]
    assert "--models bpr,dummy,lightgcn --seeds 3 " in found["command"]
    row = re.search(rf"<td>{TITLE}</td>(.*?)</tr>", found["sheet"], re.S)
    assert re.findall(r"<td>(.*?)</td>", row[1]) == ["joint", "none", "BPR"]
