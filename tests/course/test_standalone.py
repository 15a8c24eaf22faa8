"""A notebook alone in an empty folder with a stand-in for Colab; `make standalone` does it for all, from top to end."""

import json
import shutil
import subprocess
import sys

import pytest
import standalone

from utils import course
from utils.course import __main__ as door
from utils.errors import CourseError
from utils.files import ROOT

pytestmark = pytest.mark.skipif(
    subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True).returncode != 0, reason="not a git checkout"
)


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    return standalone.make_remote(tmp_path_factory.mktemp("git"), course.home()["tag"])


@pytest.mark.slow
def test_first_cells_alone(remote, tmp_path):
    """Set-up, parameters and imports, with the remote on this disk and no network where the system can cut it."""
    notebook, box, locked = (
        remote / "notebooks" / "00_start_here.ipynb",
        standalone.Box(tmp_path),
        standalone.namespaces(),
    )
    before = {} if locked else standalone.state(ROOT)
    how = {"network": not locked, "locked": locked, "setup_only": True}
    assert standalone.run_alone(notebook, box, remote.as_uri(), sys.executable, **how) == []
    (out,) = (tmp_path / "tmp").glob("*.ipynb")
    assert f"course in multimodal-course-{course.home()['tag']}" in out.read_text(encoding="utf-8")
    assert {path.name for path in box.content.iterdir()} == {notebook.name, f"multimodal-course-{course.home()['tag']}"}
    assert locked or standalone.state(ROOT) == before


def test_a_write_outside_the_box_fails_where_the_system_can_see_to_it(tmp_path):
    if not standalone.namespaces():
        pytest.skip("no user namespaces here: Linux only")
    box = standalone.Box(tmp_path / "box")
    box.environment("file:///gone")
    outside = tmp_path / "outside.txt"
    code = f"open('inside.txt', 'w').close(); open({str(outside)!r}, 'w')"
    answer = subprocess.run(
        standalone.confined([sys.executable, "-c", code], box, network=False), capture_output=True, text=True
    )
    assert "Read-only file system" in answer.stderr and not outside.exists()
    assert (box.content / "inside.txt").exists()
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=2)"
    answer = subprocess.run(
        standalone.confined([sys.executable, "-c", code], box, network=False), capture_output=True, text=True
    )
    assert "Network is unreachable" in answer.stderr


def test_the_box_has_colabs_module_and_nothing_of_the_course(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RECORDS", "elsewhere")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    environment = standalone.Box(tmp_path).environment("file:///gone")
    assert "COURSE_RECORDS" not in environment
    code = "import sys; print('google.colab' in sys.modules); import utils.course"
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.stdout.strip() == "True" and "No module named 'utils'" in answer.stderr


def test_a_number_that_differs_is_named(tmp_path):
    for folder, value in (("build", 0.5), ("tests", 0.3)):
        path = tmp_path / folder / "records" / "fast" / "00.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"values": {"recall": {"value": value, "tolerance": 0.1}}}))
    assert standalone.different(tmp_path, "00") == ["recall is 0.5, recorded 0.3 within 0.1"]


def test_the_setup_cell_says_what_to_do_when_nothing_can_be_fetched(tmp_path):
    import os

    code = course.SETUP_CELL.format(**course.home())
    environment = {**os.environ, "COURSE_URL": (tmp_path / "gone").as_uri()}
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "RuntimeError: Could not fetch" in answer.stderr and "Is the network on?" in answer.stderr


def test_the_setup_cell_stays_short():
    assert len(course.SETUP_CELL.splitlines()) < 40


# --- where the course lives ---


@pytest.fixture
def copy(tmp_path):
    for name in ("pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))
    return tmp_path


def test_one_command_rewrites_every_place(copy):
    course.set_home("somebody/multimodal", "v1.2", copy)
    assert course.home(copy) == {"repository": "somebody/multimodal", "tag": "v1.2"}
    for path in course.notebook_paths(copy):
        text = path.read_text(encoding="utf-8")
        assert course.home()["repository"] not in text, f"{path.name} still names the old home"
        for part in (
            f"colab.research.google.com/github/somebody/multimodal/blob/v1.2/notebooks/{path.name}",
            f"kernels/welcome?src=https://github.com/somebody/multimodal/blob/v1.2/notebooks/{path.name}",
            f"mybinder.org/v2/gh/somebody/multimodal/v1.2?labpath=notebooks%2F{path.name}",
            'REPOSITORY, TAG = \\"somebody/multimodal\\", \\"v1.2\\"',
        ):
            assert part in text, part
    readme = (copy / "README.md").read_text(encoding="utf-8")
    assert readme.count("/github/somebody/multimodal/blob/v1.2/notebooks/") == len(course.notebook_paths(copy))
    assert "git clone https://github.com/somebody/multimodal.git" in readme
    assert course.home()["repository"] not in readme.replace("OWNER/REPO TAG", "").replace("OWNER/REPO/TAG", "")
    old = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    new = (copy / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert sum(a != b for a, b in zip(old, new)) <= 2 and len(old) == len(new)


def test_a_copied_notebook_gets_its_own_name_and_badge(copy):
    notebooks = copy / "notebooks"
    before = {path.name: path.read_bytes() for path in course.notebook_paths(copy)}
    shutil.copy(notebooks / "01_why_multimedia.ipynb", notebooks / "98_copy.ipynb")
    course.write_badges(copy)
    text = (notebooks / "98_copy.ipynb").read_text(encoding="utf-8")
    assert 'course.start(\\"98_copy\\"' in text and 'checks.progress(\\"98_copy\\"' in text
    assert "notebooks/98_copy.ipynb" in text and "01_why_multimedia" not in text
    assert {name: (notebooks / name).read_bytes() for name in before} == before


def test_a_second_call_and_the_way_back_change_nothing(copy):
    course.write_badges(copy)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in copy.rglob("*.*") if path.is_file()}
    course.write_badges(copy)
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
    course.set_home("3d/course", "1.0", copy)  # begins with a digit
    assert "git clone https://github.com/3d/course.git" in (copy / "README.md").read_text(encoding="utf-8")
    course.set_home("a/b", "v9", copy)
    course.set_home(*course.home().values(), copy)
    assert {path: content for path, (content, _) in before.items()} == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("repository, tag", [("no-owner", "v1"), ("a/b/c", "v1"), ("a/b", "v 1"), ("a/b", "x/y")])
def test_a_home_that_cannot_be_one_changes_nothing(copy, repository, tag):
    before = (copy / "pyproject.toml").read_text(encoding="utf-8")
    with pytest.raises(CourseError, match="for example"):
        course.set_home(repository, tag, copy)
    assert (copy / "pyproject.toml").read_text(encoding="utf-8") == before


def test_readme_has_a_badge_of_every_notebook():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in course.notebook_paths():
        assert course.colab_badge(path) in text, "run: python -m utils.lab tables"
    assert "\n[colab]: https://" in text


def test_the_command_line_explains_itself(capsys):
    assert door.main(["home", "only-one"]) == 2 and "usage" in capsys.readouterr().err
    assert door.main(["home", "x", "v1"]) == 2 and "owner/name" in capsys.readouterr().err
