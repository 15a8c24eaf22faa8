"""`make course`: parameters, failures, what is redone, the pages."""

import json
import re

import nbformat
import pytest

from utils import course
from utils.errors import CourseError
from utils.press import pages
from utils.press import run as runner

RECORD = """
import json, os, pathlib
path = pathlib.Path(os.environ["COURSE_RECORDS"]) / "fast" / "{number}.json"
path.parent.mkdir(parents=True, exist_ok=True)
claim = dict(text="one exceeds zero", left=1, op=">", right=0, margin=0, holds=True, open=False, full_only=False)
path.write_text(json.dumps(dict(claims=[claim], values={{}}, modules=["utils/errors.py"])))
"""
PICTURE = """
from IPython.display import HTML
HTML('<img alt="a red dot" src="data:image/png;base64,iVBORw0KGgo=">')
"""


def notebook(folder, name, code, datasets="any"):
    number = name[:2]
    cells = [
        nbformat.v4.new_markdown_cell("# Title\n\nLoss $-\\ln \\sigma(x)$ and price $5."),
        nbformat.v4.new_code_cell(
            'SEED = 0\nFAST = False\nDATASET = "sticker_shop"', metadata={"tags": ["parameters"]}
        ),
        nbformat.v4.new_code_cell(PICTURE),
        nbformat.v4.new_code_cell(code),
        nbformat.v4.new_code_cell(RECORD.format(number=number)),
    ]
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "course": {"title": f"Title {number}", "question": "Why?", "minutes": 5, "datasets": datasets},
    }
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), folder / f"{name}.ipynb")


@pytest.fixture
def small_course(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook(folder, "00_good", "print('fine')")
    notebook(folder, "01_bad", "raise ValueError('on purpose')")
    notebook(folder, "02_shop", "print('shop only')", datasets="sticker_shop")
    monkeypatch.setattr(course.address, "NOTEBOOKS", folder)
    monkeypatch.setattr(runner, "BUILD", tmp_path / "build")
    data = tmp_path / "mine"
    data.mkdir()
    (data / "items.tsv").write_text("item\na\n")
    return tmp_path


def test_one_failing_notebook_does_not_stop_the_others(small_course, capsys):
    data = str(small_course / "mine")
    assert runner.main(["--fast", "--dataset", data]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"00_good +ok", printed)
    assert re.search(r"01_bad +failed.*ValueError: on purpose", printed)
    assert re.search(r"02_shop +skipped", printed)
    build = small_course / "build"
    index = (build / "index.html").read_text()
    assert "a red dot" in index and "one exceeds zero" in index and "ValueError: on purpose" in index
    assert "15 Responsible recommendation" in index and 'href="15' not in index
    page = (build / "00_good.html").read_text()
    assert "<math" in page and "price $5." in page
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', page + index)

    assert runner.main(["--fast", "--dataset", data, "--only", "00"]) == 0
    assert re.search(r"00_good +cached", capsys.readouterr().out)
    (small_course / "mine" / "items.tsv").write_text("item\nb\n")
    assert runner.main(["--fast", "--dataset", data, "--only", "00"]) == 0
    assert re.search(r"00_good +ok", capsys.readouterr().out)
    assert runner.main(["--fast", "--dataset", data, "--only", "00", "--force"]) == 0
    assert re.search(r"00_good +ok", capsys.readouterr().out)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"stamp": 3}', "[" * 100_000, '{"stamp": "x", "modules": 4, "result": 1}']
)
def test_a_damaged_stamp_means_that_the_notebook_runs_again(small_course, monkeypatch, text):
    build = small_course / "build"
    for file in (build / "stamps" / "00_good.json", build / "00_good.html", build / "records" / "fast" / "00.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    ran = []
    monkeypatch.setattr(runner, "execute", lambda path, *job, **more: ran.append(path.stem))
    path, data = small_course / "notebooks" / "00_good.ipynb", str(small_course / "mine")
    (build / "records" / "fast" / "00.json").write_text('{"modules": []}', encoding="utf-8")
    assert runner.run_one(path, fast=True, dataset=data, force=False, extra={}).status == "ok" and ran == ["00_good"]


def test_a_dead_kernel_says_its_memory_and_a_failed_notebook_has_a_peak(small_course, monkeypatch):
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    path, data = small_course / "notebooks" / "00_good.ipynb", str(small_course / "mine")

    def dies(error):
        def execute(path, out, parameters, peak):
            peak.mb = 812.0
            raise error

        monkeypatch.setattr(runner, "execute", execute)
        return runner.run_one(path, fast=True, dataset=data, force=True, extra={})

    died = dies(DeadKernelError("Kernel died"))
    assert died.status == "failed" and died.peak_mb == 812
    assert re.search(r"the kernel died at 812 MB, on a machine of [\d,]+ MB.*memory.*FAST=1", died.reason)
    assert "a cell took more than 3600 s" in dies(CellTimeoutError("x")).reason
    assert "COURSE_CELL_SECONDS" in dies(CellTimeoutError("x")).reason


def test_a_cell_that_hangs_is_stopped(small_course, monkeypatch):
    import nbformat

    path = small_course / "notebooks" / "00_good.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import time; time.sleep(600)"))
    nbformat.write(notebook, path)
    monkeypatch.setenv("COURSE_CELL_SECONDS", "2")
    monkeypatch.setattr(runner, "check_parameters", lambda *_: None)
    result = runner.run_one(path, fast=True, dataset=str(small_course / "mine"), force=True, extra={})
    assert result.status == "failed" and "a cell took more than 2 s" in result.reason


def test_a_copy_that_still_has_the_other_notebooks_name_writes_no_record(tmp_path, monkeypatch, capsys):
    cell = nbformat.v4.new_code_cell('course.start("01_why_multimedia", seed=SEED)')
    path = tmp_path / "12_topic.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    monkeypatch.setattr(runner, "select", lambda only: [path])
    monkeypatch.setattr(runner, "execute", lambda *job, **more: pytest.fail("it was run"))
    assert runner.make_records("12") == 1
    said = capsys.readouterr().out
    assert "12_topic.ipynb starts as '01_why_multimedia'" in said and "utils.course badges" in said


def test_a_mistyped_parameter_is_refused(small_course, capsys):
    assert runner.main(["--only", "00", "--dataset", str(small_course / "mine"), "-p", "SEEED=3"]) == 2
    assert "Unknown parameter of 00_good.ipynb 'SEEED'; did you mean SEED?" in capsys.readouterr().err
    with pytest.raises(CourseError, match="did you mean SEED"):
        runner.check_parameters(small_course / "notebooks" / "00_good.ipynb", {"SEDE": 1})


def test_unknown_notebook_and_dataset_names_are_refused(small_course, capsys):
    assert runner.main(["--only", "77", "--dataset", str(small_course / "mine")]) == 2
    assert "Unknown notebook '77'" in capsys.readouterr().err
    assert runner.main(["--dataset", "sticker_shopp"]) == 2
    assert "Unknown dataset 'sticker_shopp'" in capsys.readouterr().err


def test_parameters_reach_the_notebook(small_course):
    path = small_course / "notebooks" / "00_good.ipynb"
    runner.execute(path, small_course / "out.ipynb", {"SEED": 5}, records=small_course / "records")
    cells = json.loads((small_course / "out.ipynb").read_text())["cells"]
    assert any("SEED = 5" in "".join(cell["source"]) for cell in cells)


def test_maths_becomes_mathml_and_code_is_left_alone():
    assert "<math" in pages.mathml("$$x^2$$") and "<math" in pages.mathml("the $x_i$ here")
    assert pages.mathml("`$x$` costs $5 or $6") == "`$x$` costs $5 or $6"
