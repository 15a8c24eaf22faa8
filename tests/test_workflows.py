"""The workflows: pinned, with least permissions, and made of commands that exist."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest
import yaml

from utils.files import ROOT

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
RUNNERS = re.compile(r"(ubuntu|macos|windows)-\d+(\.\d+)?")
by_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def load(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    workflow["on"] = workflow.pop(True, workflow.get("on"))  # YAML 1.1 reads the key `on` as true
    return workflow


def steps(path):
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


def targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def schema():
    """GitHub's schema of workflows, from the package check-jsonschema, which carries it."""
    found = importlib.util.find_spec("check_jsonschema")
    if found is None:
        # not in requirements.txt: it needs regress, a compiled package, for this test alone; weekly.yml installs it
        pytest.skip("GitHub's schema comes with `pip install check-jsonschema`, as weekly.yml does it")
    folder = Path(found.submodule_search_locations[0]) / "builtin_schemas" / "vendor"
    return json.loads((folder / "github-workflows.json").read_text(encoding="utf-8"))


def test_the_three_workflows_are_there():
    assert {path.stem for path in FILES} >= {"tests", "site", "weekly"}


@by_file
def test_schema(path):
    import jsonschema

    jsonschema.Draft7Validator(schema()).validate(load(path))


@by_file
def test_structure(path):
    workflow = load(path)
    assert set(workflow) <= {"name", "on", "permissions", "concurrency", "jobs"}
    assert set(workflow["on"]) <= {"push", "pull_request", "workflow_dispatch", "schedule"}
    for name, job in workflow["jobs"].items():
        assert 0 < job["timeout-minutes"] <= 120, name
        assert job["steps"], name
        for need in [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", []):
            assert need in workflow["jobs"], f"{name} waits for {need}, which is no job"
        runners = job["strategy"]["matrix"]["os"] if "strategy" in job else [job["runs-on"]]
        runners = runners + [entry["os"] for entry in job.get("strategy", {}).get("matrix", {}).get("include", [])]
        assert all(RUNNERS.fullmatch(runner) for runner in runners), f"{name}: a runner with its version, not latest"
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step


@by_file
def test_permissions_are_the_least(path):
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        own = job.get("permissions", {})
        assert own in ({}, {"pages": "write", "id-token": "write"}), name
        assert not own or any("deploy-pages" in step.get("uses", "") for step in job["steps"])
    for step in steps(path):
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
    assert "pull_request_target" not in workflow["on"] and "secrets." not in path.read_text(encoding="utf-8")


@by_file
def test_actions_are_pinned_by_commit_with_their_version_beside(path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.search(r"uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@by_file
def test_commands_exist(path):
    for step in steps(path):
        for line in step.get("run", "").splitlines():
            for target in re.findall(r"\bmake ([a-z]+)", line):
                assert target in targets(), f"make {target}"
            for module in re.findall(r"-m (utils\.\w+)", line):
                assert (ROOT / Path(*module.split("."))).with_suffix(".py").exists(), module
            for package in re.findall(r"uninstall -y (.*)", line):
                pins = (ROOT / "requirements.txt").read_text(encoding="utf-8")
                assert all(f"{name}==" in pins for name in package.split())


def test_the_matrix_has_three_systems_and_the_pythons_of_pyproject():
    matrix = load(FOLDER / "tests.yml")["jobs"]["test"]["strategy"]["matrix"]
    pairs = {(os, python) for os in matrix["os"] for python in matrix["python"]}
    pairs |= {(entry["os"], entry["python"]) for entry in matrix["include"]}
    assert {os.split("-")[0] for os, _ in pairs} == {"ubuntu", "macos", "windows"}
    assert all(isinstance(python, str) for _, python in pairs), "3.10 without quotes is 3.1"
    assert {python for os, python in pairs if os.startswith("ubuntu")} == {"3.10", "3.11", "3.12", "3.13"}
    lowest = re.search(r'requires-python = ">=(3\.\d+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
    assert min((python for _, python in pairs), key=lambda v: int(v.split(".")[1])) == lowest


def test_a_push_takes_the_locked_versions_and_the_week_tries_the_others():
    for name, locked in (("tests", True), ("site", True), ("weekly", False)):
        for job, content in load(FOLDER / f"{name}.yml")["jobs"].items():
            if any("make" in step.get("run", "") for step in content["steps"]):
                assert (content.get("env", {}).get("LOCKED") == "1") == locked, f"{name}: {job}"
    weekly = load(FOLDER / "weekly.yml")["jobs"]
    runs = {name: "\n".join(step.get("run", "") for step in job["steps"]) for name, job in weekly.items()}
    assert "LOCKED" not in runs["freshest"] and "--resolution lowest-direct" in runs["lowest"]
    assert (
        "test_data_export.py -k framework" in runs["peers"] and "recbole" in runs["peers"] and "cornac" in runs["peers"]
    )
    tested = (ROOT / "tests" / "own_data" / "test_data_export.py").read_text(encoding="utf-8")
    assert "def test_the_framework_reads_the_export" in tested


def test_the_pinned_actions_are_kept_up_to_date():
    found = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))
    assert [entry["package-ecosystem"] for entry in found["updates"]] == ["github-actions"]


def test_every_push_tries_the_instruction_sets():
    runs = [step["run"] for step in load(FOLDER / "tests.yml")["jobs"]["processors"]["steps"] if "run" in step]
    assert runs == ["make processors PYTHON=python"]


def test_the_site_is_published_only_when_it_is_complete():
    workflow = load(FOLDER / "site.yml")
    runs = [step["run"] for step in workflow["jobs"]["build"]["steps"] if "run" in step]
    assert [re.search(r"make (\w+)", run)[1] for run in runs] == ["course", "slides", "quiz", "site"]
    assert "--complete" in runs[-1] and workflow["jobs"]["publish"]["needs"] == "build"
    assert "pull_request" not in workflow["on"]


def test_quick_leaves_out_what_is_marked_and_all_leaves_out_nothing():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    quick = re.search(r"^quick: env\n((?:\t.*\n)+)", makefile, re.M)[1]
    assert "ruff check ." in quick and "ruff format --check ." in quick
    left_out = re.findall(r"not (\w+)", quick)
    marks = re.findall(r'"(\w+): ', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert sorted(left_out) == sorted(marks) == ["browser", "notebook", "slow"]
    assert "\ntest: env\n\t@$(PYTEST) $(ARGS)\n" in makefile and "--durations 20" in makefile


def test_the_longest_notebook_starts_first_before_it_what_has_no_record_and_the_rest_keeps_its_order():
    def item(name, notebook):
        call = SimpleNamespace(params={"path": Path(name)})
        return SimpleNamespace(name=name, callspec=call, get_closest_marker=lambda _: notebook or None)

    seconds = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["seconds"]
        for path in (ROOT / "tests" / "records" / "fast").glob("*.json")
    }
    items = [
        item("z", False),
        *(item(f"{number}_x.ipynb", True) for number in [*sorted(seconds), "99"]),
        item("a", False),
    ]
    conftest.pytest_collection_modifyitems(items)
    numbers = sorted(seconds, key=seconds.get, reverse=True)
    assert [item.name[:2] for item in items] == ["99", *numbers, "z", "a"]


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
@pytest.mark.parametrize(
    ("apt", "there", "asked", "skipped"),
    [
        (None, None, False, True),
        ("exit 100", None, True, True),
        ("exit 0", None, True, True),  # it says that all is well, and there is no browser
        ('printf "#!/bin/sh\\n" > "$BIN/chromium"; chmod +x "$BIN/chromium"', None, True, False),
        ("exit 100", "chromium", False, False),
        ("exit 100", "google-chrome", False, False),
        ("exit 100", "COURSE_BROWSER", False, False),
    ],
)
def test_ci_gets_a_browser_where_it_can_and_tests_in_any_case(tmp_path, apt, there, asked, skipped):
    def program(name, script):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    for name in ("bash", "sh", "dirname", "timeout", "chmod"):
        (tmp_path / name).symlink_to(shutil.which(name))
    program("make", 'echo "make $@"; exit 3')
    if apt is not None:
        program("apt-get", f'echo "Reading package lists"; echo "apt-get $1" >> "$BIN/asked"; {apt}')
    if there:
        program(there, "")
    variables = {"PATH": str(tmp_path), "BIN": str(tmp_path)}
    variables |= {"COURSE_BROWSER": str(tmp_path / there)} if there == "COURSE_BROWSER" else {}
    answer = subprocess.run([ROOT / ".ci" / "run"], env=variables, capture_output=True, text=True)
    *said, last = answer.stdout.splitlines()
    assert last == "make test" and answer.returncode == 3 and not answer.stderr
    assert len(said) == skipped and all(line.startswith("No browser, and apt-get could not") for line in said)
    assert (tmp_path / "asked").exists() == asked


def test_each_check_can_fail(tmp_path):
    """The pin rule refuses a tag, the matrix rule a number: the rules above are not empty."""
    assert not re.search(r"@[0-9a-f]{40} # v\d", "uses: actions/checkout@v4")
    assert yaml.safe_load("python: [3.10]") == {"python": [3.1]}
