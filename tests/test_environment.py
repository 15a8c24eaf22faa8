"""requirements.txt and environment.yml ask for the same; `make env` is quiet when nothing changed."""

import re
import subprocess
import sys

import pytest

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
