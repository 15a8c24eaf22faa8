"""requirements.txt and environment.yml ask for the same; `make env` is quiet when nothing changed, and loses no .venv."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import PurePath

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from utils import environment
from utils.files import ROOT

CONDA_NAMES = {"torch": "pytorch-cpu", "soundfile": "pysoundfile", "matplotlib": "matplotlib-base"}


def bounds(text: str) -> dict[str, str]:
    lines = [line.split("#")[0].strip().removeprefix("- ").strip() for line in text.splitlines()]
    pairs = [re.fullmatch(r"([A-Za-z0-9_.-]+)((?:[<>=]=?[^,]+,?)+)", line) for line in lines]
    return {pair.group(1): pair.group(2) for pair in pairs if pair}


def test_conda_and_pip_ask_for_the_same_versions():
    pip = bounds((ROOT / "requirements.txt").read_text())
    conda = bounds((ROOT / "environment.yml").read_text())
    assert len(pip) > 20
    assert conda.pop("python") == ">=3.10,<3.14"
    assert {CONDA_NAMES.get(name, name): bound for name, bound in pip.items()} == conda


def test_the_locked_versions_are_whole_and_allowed_on_every_tested_python_and_system():
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(len(pin.specifier) == 1 and str(pin.specifier).startswith("==") and not pin.url for pin in pins)
    wanted = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    matrix = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    for minor in matrix["python"]:
        for system, platform in (("linux", "Linux"), ("darwin", "Darwin"), ("win32", "Windows")):
            where = {"python_version": minor, "python_full_version": f"{minor}.5", "sys_platform": system}
            where |= {"platform_system": platform, "platform_machine": "arm64" if system == "darwin" else "x86_64"}
            here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(where)]
            versions = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in here}
            assert len(versions) == len(here), "a package has two versions"
            for line in wanted:
                one = Requirement(line)
                assert one.specifier.contains(versions[canonicalize_name(one.name)]), (minor, system, line)
    assert ".".join(map(str, environment.TESTED[1])) == max(matrix["python"], key=lambda v: int(v.split(".")[1]))


def test_a_record_says_which_stack_it_was_made_with(monkeypatch):
    from importlib import metadata

    real = metadata.version
    environment.stack.cache_clear()
    monkeypatch.setattr(
        metadata, "version", lambda name: {"numpy": "1.0", "torch": "2.14.1+cpu"}.get(name) or real(name)
    )
    said = environment.stack()
    environment.stack.cache_clear()
    assert re.match(r"constraints [0-9a-f]{12}, but .*numpy 1\.0", said) and "torch 2.14.1" not in said


def test_where_torch_has_no_wheel_the_failure_says_what_to_take(monkeypatch):
    monkeypatch.setattr(environment.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")
    assert "Macs with an Intel processor" in environment._no_torch() and "environment.yml" in environment._no_torch()
    monkeypatch.setattr(environment.platform, "machine", lambda: "arm64")
    assert environment._no_torch() == ""


# What an import is called where its package is called otherwise.
PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml", "bs4": "beautifulsoup4", "IPython": "ipython"}
# Imported only where they are there: peers to compare with, encoders by name, GitHub's schema (with check-jsonschema).
OPTIONAL = {"implicit", "optuna", "peft", "recbole", "torchaudio", "jsonschema", "pyarrow"}


def imports(source: str) -> set[str]:
    """The top-level packages that a module imports, inside its functions, too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


def undeclared(sources: dict[str, str], declared: set[str]) -> list[str]:
    own = {"utils", "tests", *(PurePath(name).stem for name in sources if name.startswith("tests"))}
    outside = {(name, package) for name, text in sources.items() for package in imports(text) - own}
    outside = {(name, package) for name, package in outside if package not in sys.stdlib_module_names | OPTIONAL}
    return sorted(f"{name}: {package}" for name, package in outside if PACKAGES.get(package, package) not in declared)


def code_of(path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


def test_every_import_is_declared():
    paths = [path for room in ("utils", "tests", "notebooks") for path in (ROOT / room).rglob("*.*")]
    sources = {str(p.relative_to(ROOT)): code_of(p) for p in paths if p.suffix in (".py", ".ipynb")}
    declared = {name.replace("-", "_") for name in bounds((ROOT / "requirements.txt").read_text())}
    declared |= {name.replace("_", "-") for name in declared}
    assert len(sources) > 200 and undeclared(sources, declared) == []
    assert undeclared({"a.py": "def f():\n    from attrs import define, field\n    import torch.nn"}, declared) == [
        "a.py: attrs"
    ]


def test_a_matching_environment_calls_neither_pip_nor_the_network(tmp_path, monkeypatch):
    stamp = environment.wanted_stamp(sys.executable)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    (tmp_path / "stamp").write_text(stamp)
    monkeypatch.setattr(environment, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(environment, "venv_python", lambda: python)
    calls = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **kw: calls.append(command) or real(command, **kw))
    environment.make(sys.executable)
    assert len(calls) == 1 and calls[0][1] == "-c"  # only Python's own version was asked

    (tmp_path / "stamp").write_text(stamp.replace(stamp[-9:-1], "00000000"))
    assert not environment.is_ready(stamp)


def test_an_old_python_is_refused_in_one_sentence(monkeypatch):
    class Answer:
        stdout = "3.8\n"

    monkeypatch.setattr(subprocess, "run", lambda *args, **kw: Answer())
    with pytest.raises(SystemExit, match="needs Python 3.10 or newer"):
        environment.wanted_stamp("python3.8")


def test_an_old_python_meets_the_sentence_before_a_module_that_it_cannot_read():
    text = (ROOT / "utils" / "__init__.py").read_text(
        encoding="ascii"
    )  # Python 2 wants a coding line for anything else
    assert "__future__" not in text and not re.search(r"""\bf["']|->|^\s*\w+: \w+""", text, re.M)
    code = "import sys; sys.version_info = (3, 6, 15); import utils.environment"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 1 and re.fullmatch(r"The course needs Python 3\.10 or newer.*\.\n", answer.stderr)


# ---- `make env` with tiny environments: venv without its pip, and a pip that only notes what it was asked ----

FAKE_PIP = """
import os, pathlib, sys, time
if sys.argv[1] == "install":
    site = pathlib.Path(__file__).parents[1]
    (site / "asked.txt").write_text(pathlib.Path(sys.argv[-1]).read_text())
    locked = pathlib.Path(sys.argv[sys.argv.index("-c") + 1]).read_text() if "-c" in sys.argv else "not locked"
    (site / "locked.txt").write_text(locked)
    root = pathlib.Path(sys.argv[-1]).parent
    (root / "at-pip").touch()
    while (root / "hold").exists():
        time.sleep(0.02)
    sys.exit((root / "fail").exists())
"""
FAKE_PYTHON = """#!/bin/sh
# A Python of another minor version that makes a venv at once.
if [ "$1" = "-c" ]; then echo {minor}; exit; fi
test ! -e "{root}/no-venv" || {{ echo "ensurepip is not available"; exit 1; }}
"{python}" -m venv --without-pip "$3" || exit 1
sed -i.bak "s/^version = .*/version = {minor}.1/" "$3/pyvenv.cfg"
mkdir -p "$3"/lib/{lib}/site-packages/pip
cp "{root}/fake_pip.py" "$3"/lib/{lib}/site-packages/pip/__main__.py
"""
posix = pytest.mark.skipif(os.name == "nt", reason="the stand-in for Python is a shell script")


class Course:
    """A folder with nothing of the course but its environment.py, and two Pythons."""

    def __init__(self, root):
        self.root, self.venv = root, root / ".venv"
        (root / "utils").mkdir()
        for name in ("__init__.py", "environment.py"):
            shutil.copy(ROOT / "utils" / name, root / "utils" / name)
        self.require("one==1")
        (root / ".ci").mkdir()
        (root / ".ci" / "constraints.txt").write_text("one==1.0.7\n")
        (root / "fake_pip.py").write_text(FAKE_PIP)
        self.lib = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        for minor in ("3.11", "3.12"):
            values = {"minor": minor, "root": root, "python": sys.executable, "lib": self.lib}
            (root / minor).write_text(FAKE_PYTHON.format(**values))
            (root / minor).chmod(0o755)

    def require(self, text):
        (self.root / "requirements.txt").write_text(text)

    def command(self, python, *options):
        return [sys.executable, "-m", "utils.environment", "--python", str(self.root / python), *options]

    def make(self, python="3.11", *options, code=0):
        answer = subprocess.run(
            self.command(python, *options), cwd=self.root, capture_output=True, text=True, timeout=60
        )
        assert answer.returncode == code and "Traceback" not in answer.stderr, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    def killed_at_pip(self, python, how=signal.SIGKILL):
        """Stop a call, and it alone, while its pip works; the pip goes on until ``hold`` is gone."""
        (self.root / "hold").touch()
        (self.root / "at-pip").unlink(missing_ok=True)
        options = {"cwd": self.root, "stderr": subprocess.PIPE, "text": True}
        # what a shell starts in the background ignores Ctrl-C, and so would its children
        options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(self.command(python), **options)
        self.wait_for("at-pip")
        process.send_signal(how)
        if how != signal.SIGKILL:
            (self.root / "hold").unlink()
        return process.wait(30), process.stderr.read() if how != signal.SIGKILL else ""

    def wait_for(self, name):
        end = time.monotonic() + 30
        while not (self.root / name).exists():
            assert time.monotonic() < end, name
            time.sleep(0.02)

    def works(self, minor="3.11", asked="one==1"):
        """The environment runs, is of that Python, holds what pip was asked for, and is known as finished."""
        assert subprocess.run([str(self.venv / "bin" / "python"), "-c", ""]).returncode == 0
        assert f"version = {minor}.1" in (self.venv / "pyvenv.cfg").read_text()
        assert (self.site() / "asked.txt").read_text() == asked
        assert (self.venv / "requirements.sha256").read_text().startswith(minor)
        assert str(self.venv) in (self.venv / "bin" / "activate").read_text()  # its scripts know its place
        assert {path.name for path in self.root.glob(".venv*")} == {".venv", ".venv-lock"}
        return True

    def site(self):
        return self.venv / "lib" / self.lib / "site-packages"


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path)


@posix
def test_make_env_makes_and_then_calls_nothing(course):
    assert "Making .venv" in course.make() and course.works()
    (course.site() / "asked.txt").write_text("untouched")
    assert course.make() == "" and (course.site() / "asked.txt").read_text() == "untouched"


@posix
def test_locked_asks_for_the_versions_of_the_records_and_fits_later_calls_either_way(course):
    course.make()
    assert (course.site() / "locked.txt").read_text() == "not locked"
    assert "Making .venv" in course.make("3.11", "--locked") and course.works()
    assert (course.site() / "locked.txt").read_text() == "one==1.0.7\n"
    assert course.make("3.11", "--locked") == "" and course.make() == ""
    (course.root / ".ci" / "constraints.txt").write_text("one==1.0.8\n")
    assert course.make() == "" and "Making .venv" in course.make("3.11", "--locked")
    assert (course.site() / "locked.txt").read_text() == "one==1.0.8\n"


@posix
def test_a_python_newer_than_the_tested_ones_is_said(course):
    text = (course.root / "3.12").read_text().replace("3.12", "3.15")
    (course.root / "3.15").write_text(text)
    (course.root / "3.15").chmod(0o755)
    assert "Python 3.15 is newer than those that the course is tested on (up to 3.13)" in course.make("3.15")
    assert "newer" not in course.make("3.11")


@posix
def test_other_requirements_go_into_the_same_environment(course):
    course.make()
    (course.site() / "kept.py").touch()
    course.require("two==2")
    course.make()
    assert course.works(asked="two==2") and (course.site() / "kept.py").exists()

    course.require("three==3")
    (course.root / "fail").touch()
    assert ".venv keeps what it has; the next call goes on from there. Try again." in course.make(code=1)
    assert (course.site() / "kept.py").exists()
    (course.root / "fail").unlink()
    course.make()
    assert course.works(asked="three==3") and (course.site() / "kept.py").exists()


@posix
@pytest.mark.parametrize("fault", ["fail", "no-venv"])
def test_another_python_that_fails_leaves_the_working_environment(course, fault):
    course.make()
    (course.site() / "kept.py").touch()
    (course.root / fault).touch()
    assert ".venv is what it was" in course.make("3.12", code=1)
    assert course.works() and (course.site() / "kept.py").exists()
    assert course.make() == ""  # the first Python finds its environment, without pip
    (course.root / fault).unlink()
    course.make("3.12")
    assert course.works("3.12") and not (course.site() / "kept.py").exists()


@posix
def test_a_first_environment_that_fails_is_none(course):
    (course.root / "fail").touch()
    assert "there is no .venv yet. Try again." in course.make(code=1)
    assert not course.venv.exists()


@posix
def test_ctrl_c_brings_the_old_environment_back(course):
    course.make()
    code, said = course.killed_at_pip("3.12", signal.SIGINT)
    assert code == 1 and said == "Interrupted: the next call makes .venv.\n"
    assert course.works() and course.make() == ""


@posix
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_after_a_kill_in_pip_the_next_call_restores_or_finishes(course, python):
    course.make()
    assert course.killed_at_pip("3.12")[0] == -signal.SIGKILL
    assert (course.root / ".venv-old").exists()
    # the pip of the killed call still writes into .venv: the next call waits for it
    again = subprocess.Popen(course.command(python), cwd=course.root, stdout=subprocess.PIPE, text=True)
    assert "waiting for it" in again.stdout.readline() and (course.root / ".venv-old").exists()
    (course.root / "hold").unlink()
    assert again.wait(60) == 0 and course.works(python)
    again.stdout.close()


@posix
@pytest.mark.parametrize(
    "moment", ["the old one is aside", "the new one is begun", "the new one is ready", "rubbish is left"]
)
def test_a_kill_at_any_other_moment_is_understood(course, moment):
    course.make()
    old = course.root / (".venv-trash-1" if moment == "rubbish is left" else ".venv-old")
    course.venv.rename(old)
    if moment == "the new one is begun":
        course.venv.mkdir()
    elif moment == "the new one is ready":
        shutil.copytree(old, course.venv, symlinks=True)
        (course.site() / "new.py").touch()
    said = course.make()
    assert course.works() and ("Making" in said) == (moment == "rubbish is left")
    assert (course.site() / "new.py").exists() == (moment == "the new one is ready")


def spoil(course, how):
    if how == "empty":
        shutil.rmtree(course.venv)
        course.venv.mkdir()
    elif how == "a file":
        shutil.rmtree(course.venv)
        course.venv.write_text("mine")
    elif how == "dangling folder":
        shutil.rmtree(course.venv)
        course.venv.symlink_to(course.root / "gone")
    elif how == "without pip":
        shutil.rmtree(course.site() / "pip")
        (course.venv / "requirements.sha256").unlink()
    elif how == "no python":
        (course.venv / "bin" / "python").unlink()
    elif how == "a stamp of other bytes":
        (course.venv / "requirements.sha256").write_bytes(b"\xff\xfe\x00")
    else:  # Python was upgraded and its old place is gone
        for link in (course.venv / "bin").glob("python*"):
            link.unlink()
            link.symlink_to(course.root / "gone")


SPOILT = ["empty", "a file", "dangling folder", "without pip", "no python", "dangling python", "a stamp of other bytes"]


@posix
@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_environment_heals_at_the_next_call(course, how):
    course.make()
    (course.site() / "kept.py").touch()
    spoil(course, how)
    said = course.make()
    if how in ("a file", "dangling folder"):  # it may be somebody's: it is kept, and named
        (folder,) = course.root.glob(".venv-file-*")
        aside = folder / ".venv"
        assert str(aside.relative_to(course.root)) in said
        assert os.readlink(aside) if how == "dangling folder" else aside.read_text() == "mine"
        shutil.rmtree(folder)
    assert course.works() and course.make() == ""
    assert (course.site() / "kept.py").exists() == (how not in ("empty", "a file", "dangling folder"))


@posix
def test_a_package_that_a_killed_pip_left_half_installed_is_forgotten(course):
    course.make()
    for name, files in {"whole-1.dist-info": ["METADATA", "RECORD"], "half-1.dist-info": ["METADATA"]}.items():
        (course.site() / name).mkdir()
        [(course.site() / name / file).touch() for file in files]
    course.require("two==2")
    course.make()
    assert (course.site() / "whole-1.dist-info").exists() and not (course.site() / "half-1.dist-info").exists()


@posix
def test_what_the_system_refuses_is_a_sentence(course):
    assert re.search(r"Cannot make \.venv: .*No such file.*gone.*try again", course.make("gone", code=1))
    (course.root / "broken").symlink_to(shutil.which("false"))
    assert re.search(r"Cannot make \.venv: .*broken.*non-zero exit status.*try again", course.make("broken", code=1))


@pytest.mark.slow
def test_a_real_pip_and_a_wheel_on_this_disk(course):
    """Nothing is faked but the package: in the place of an older Python's environment, by venv and pip, without a network."""
    with zipfile.ZipFile(course.root / "tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "def main():\n    print('tiny')\n")
        wheel.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.dist-info/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    course.require(str(course.root / "tiny-1-py3-none-any.whl"))
    course.venv.mkdir()
    (course.venv / "pyvenv.cfg").write_text("version = 3.9.1\n")
    environment_of = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, "-m", "utils.environment"]
    answer = subprocess.run(command, cwd=course.root, env=environment_of, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    script = course.venv / ("Scripts/tiny.exe" if os.name == "nt" else "bin/tiny")
    assert subprocess.run([str(script)], capture_output=True, text=True).stdout == "tiny\n"
    assert {path.name for path in course.root.glob(".venv*")} == {".venv", ".venv-lock"}
