"""README: short, its eight lines of Python give a list, its links lead somewhere, and its commands exist."""

import ast
import json
import os
import re
import subprocess
import sys

import pytest

from utils.files import ROOT

PAGES = [ROOT / "README.md", ROOT / "data" / "results" / "README.md", ROOT / ".github" / "CONTRIBUTING.md"]
PAGES += sorted((ROOT / "utils").rglob("README.md"))


def test_the_readme_is_a_front_door_and_no_house():
    assert (ROOT / "README.md").stat().st_size <= 12_288


def test_the_lines_of_python_give_a_list_for_a_person():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) == 8
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.strip().splitlines()
    assert len(lines) == 6 and "title" in lines[0] and "score" in lines[0], answer.stdout


def imports(code):
    """Which names of the course a text imports, as (module, name)."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    return {(node.module, alias.name) for node in nodes for alias in node.names}


def test_the_lines_of_python_are_those_of_the_notebook_that_goes_on_from_there():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    cells = json.loads((ROOT / "notebooks" / "A2_go_further.ipynb").read_text(encoding="utf-8"))["cells"]
    taught = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert imports(code) <= imports(taught)


SCRIPT = """from utils.data import load_dataset
from utils.training import fit

print(load_dataset("sticker_shop").n_items)
"""


def script(folder):
    (folder / "my_script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "my_script.py"]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


def test_a_script_elsewhere_uses_the_course_by_its_folder(tmp_path):
    answer = script(tmp_path)
    assert answer.returncode == 0 and int(answer.stdout) > 400, answer.stderr


def test_the_course_is_no_package_and_a_utils_beside_the_script_is_in_the_way(tmp_path):
    """What CONTRIBUTING says of both: nothing claims to be a package, and the other utils wins."""
    assert "[project]" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert not (ROOT / "setup.py").exists() and not (ROOT / "setup.cfg").exists()
    tmp_path.joinpath("utils").with_suffix(".py").write_text("", encoding="utf-8")
    assert "'utils' is not a package" in script(tmp_path).stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_pictures_lead_to_files_of_the_repository(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists() and found.is_relative_to(ROOT), f"{page}: {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, target


def test_contributing_gives_each_task_in_at_most_eight_steps():
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for task in ("A recommender", "A dataset", "A notebook", "An exercise"):
        section = text.split(f"## {task}\n")[1].split("\n## ")[0]
        assert 3 <= len(re.findall(r"^\d\. ", section, re.M)) <= 8, task
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets
