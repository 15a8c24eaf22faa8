"""The live path: minutes, seconds, what the shown cells need, the copies and the page of the plan."""

import json
import tempfile
from pathlib import Path

import nbformat
import pytest

from utils import course
from utils.files import ROOT
from utils.press.live import copies, measure, plan
from utils.press.live import lecture as cli

PATHS = plan.notebooks()
by_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def cells_of(path):
    return nbformat.read(path, as_version=4).cells


def cells(*sources, shown=()):
    made = [nbformat.v4.new_code_cell(source) for source in sources]
    for at in shown:
        made[at].metadata["slideshow"] = {"slide_type": "slide"}
    return made


def test_the_lecture_is_all_notebooks_of_parts_0_to_2_and_80_minutes_less_the_questions():
    assert [path.stem[:2] for path in PATHS] == [f"{n:02}" for n in range(12)]
    assert {part: minutes for part, (minutes, _) in plan.PARTS.items()} == {"0": 5, "1": 50, "2": 15}


@pytest.mark.parametrize("part", plan.PARTS)
def test_minutes_add_up(part):
    assert plan.minutes_of(part) == pytest.approx(plan.PARTS[part][0])


def test_each_challenge_gets_three_minutes():
    for path in plan.notebooks("2"):
        assert sum(stop.minutes for stop in plan.stops(path)) == pytest.approx(3)


def test_the_fifty_minutes_hold_exactly_one_exercise_of_five():
    marked = [stop for path in plan.notebooks("1") for stop in plan.stops(path) if stop.exercise]
    assert [(stop.notebook, stop.minutes) for stop in marked] == [("05_training", 5)]
    others = [stop for part in ("0", "2") for path in plan.notebooks(part) for stop in plan.stops(path)]
    assert not any(stop.exercise for stop in others)
    source = "\n".join(
        cell.source for cell in cells_of(ROOT / "notebooks/05_training.ipynb") if cell.id == marked[0].cell
    )
    assert "**Exercise" in source and "5 minutes" in source


@by_notebook
def test_every_cell_says_what_rise_does_with_it(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.rise == plan.RISE
    for cell in notebook.cells:
        assert plan.slide_type(cell) in plan.SHOWN + plan.HIDDEN, f"{cell.id}: run `python -m utils.press live mark`"
        assert plan.is_shown(cell) == ("minutes" in cell.metadata.get("live", {})), cell.id
    shown = [cell for cell in notebook.cells if plan.is_shown(cell)]
    assert plan.slide_type(shown[0]) == "slide" and shown[0] is notebook.cells[0]
    assert not {"setup", "parameters", "record"} & set().union(*(plan.tags(cell) for cell in shown))


@by_notebook
def test_shown_code_states_its_seconds_and_none_is_over_twenty(path):
    measured = plan.record()["notebooks"][path.stem]
    for cell in cells_of(path):
        if cell.cell_type == "code" and plan.is_shown(cell):
            assert cell.metadata.live.seconds == measured["cells"][cell.id] <= plan.LIMIT, cell.id
        else:
            assert "seconds" not in cell.metadata.get("live", {}), cell.id
    assert max(measured["cells"].values()) <= plan.LIMIT, "a hidden cell that the path needs is over the limit"


@by_notebook
def test_the_seconds_were_measured_on_this_code(path):
    """The record proves that these very cells ran in this order, without the rest of the notebook."""
    measured = plan.record()["notebooks"][path.stem]
    assert measured["hash"] == plan.path_hash(cells_of(path)), (
        f"run `python -m utils.press live measure --only {path.stem[:2]}`"
    )


@by_notebook
def test_the_path_misses_no_name_and_leaves_something_out(path):
    found = cells_of(path)
    order = plan.run_order(found)
    assert plan.missing_names(found, order) == []
    assert len(order) < sum(cell.cell_type == "code" for cell in found)
    assert [at for at in order if "parameters" in plan.tags(found[at])]


def test_a_needed_cell_is_found_through_names_changes_and_functions():
    made = cells(
        "a = 1",                                      # 0 bound again below: not needed
        "a = 2",                                      # 1
        "rows = {}",                                  # 2
        "rows['x'] = a",                              # 3 changes rows
        "b = [a for a in range(3)]",                  # 4 nobody needs it
        "def f(x):\n    y = x + offset\n    return y",  # 5 needs offset
        "offset = 3",                                 # 6
        "total = f(1) + len(rows)",                   # 7
        "print(total)",                               # 8 shown
        shown=[8],
    )  # fmt: skip
    assert plan.run_order(made) == [1, 2, 3, 5, 7, 8]  # 6 comes after the function that reads it: see the next test
    assert plan.missing_names(made, [1, 2, 3, 5, 7, 8]) == ["offset"]


def test_missing_names_sees_a_hole():
    made = cells("x = 1", "y = x", "z = y", shown=[2])
    assert plan.run_order(made) == [0, 1, 2]
    assert plan.missing_names(made, [0, 2]) == ["y"]


def test_imports_are_no_changes_and_side_roads_feed_only_side_roads():
    made = cells(
        "from utils import plots", "plots.show(1)", "def mine(): ...", "check(mine)", "plots.show(2)", shown=[3, 4]
    )
    made[2].metadata.tags, made[3].metadata.tags = ["exercise"], ["check"]
    assert plan.run_order(made) == [0, 2, 3, 4]


@pytest.mark.parametrize(
    ("source", "reads", "changes"),
    [
        ("x = x + 1", {"x"}, set()),
        ("x += 1", {"x"}, {"x"}),
        ("for i in n:\n    s.append(i)", {"n", "s"}, {"s"}),
        ("{m: f(m) for m in xs}", {"f", "xs"}, set()),
        ("table.loc['a', b] = c", {"table", "b", "c"}, {"table"}),
        ("try:\n    f()\nexcept E as e:\n    print(e)", {"f", "E", "print"}, set()),
        ("g = lambda m: m + k", {"k"}, set()),
    ],
)
def test_what_a_cell_reads_and_changes(source, reads, changes):
    use = plan.use_of(source)
    assert (use.reads, use.changes) == (reads, changes)


@by_notebook
def test_the_live_copy_is_ready_for_the_room(path):
    notebook = copies.live_copy(path)
    nbformat.validate(notebook)
    sources = [cell.source for cell in notebook.cells]
    (parameters,) = (cell.source for cell in notebook.cells if "parameters" in plan.tags(cell))
    assert "FAST = True" in parameters and "FAST = False" not in parameters
    saved = f"(../{path.stem}.html)"
    assert saved in sources[0]
    original = {cell.source: cell for cell in cells_of(path) if cell.cell_type == "code" and plan.is_shown(cell)}
    for before, cell in zip(notebook.cells, notebook.cells[1:]):
        if cell.source in original and not course.is_side_road(cell):
            seconds = original[cell.source].metadata.live.seconds
            assert before.source.startswith("*Live: " + (f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"))
            assert saved in before.source
    assert not any("course.record(" in source for source in sources)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_a_copy_of_a_notebook_lies_two_folders_down(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("[card](../data/README.md)", metadata={"slideshow": {"slide_type": "slide"}})
        ]
    )
    nbformat.write(notebook, tmp_path / "00_x.ipynb")
    assert copies.live_copy(tmp_path / "00_x.ipynb").cells[1].source == "[card](../../data/README.md)"


def test_the_plan_is_a_page_with_every_shown_cell(tmp_path):
    page = copies.write_plan(tmp_path, server="http://127.0.0.1:9/?token=t").read_text(encoding="utf-8")
    assert page.count("<tr") == sum(len(plan.stops(path)) for path in PATHS) + len(PATHS)
    assert 'href="http://127.0.0.1:9/rise/build/live/05_training.ipynb?token=t"' in page
    assert 'href="../05_training.html"' in page and "(exercise)" in page and "70:00" not in page
    assert "https://" not in page and "src=" not in page
    assert "saved copy" in copies.write_plan(tmp_path).read_text(encoding="utf-8")


def test_plan_prints_a_line_for_each_shown_cell(capsys):
    assert cli.main(["plan"]) == 0
    out = capsys.readouterr().out
    assert "Part 1: 50 of 50 minutes" in out and "EXERCISE" in out
    assert out.count("\n") == 3 + len(PATHS) + sum(len(plan.stops(path)) for path in PATHS)


def test_mark_hides_new_cells_and_touches_nothing_else(tmp_path, monkeypatch, capsys):
    source = PATHS[0].read_text(encoding="utf-8")
    path = tmp_path / PATHS[0].name
    notebook = nbformat.reads(source, as_version=4)
    notebook.cells.insert(3, nbformat.v4.new_code_cell("1 + 1"))
    nbformat.write(notebook, path)
    monkeypatch.setattr(plan, "notebooks", lambda part=None: [path])
    assert cli.main(["mark"]) == 0 and "1 cells hidden" in capsys.readouterr().out
    again = nbformat.read(path, as_version=4)
    assert again.cells[3].metadata.slideshow.slide_type == "skip"
    assert [c.metadata for i, c in enumerate(again.cells) if i != 3] == [
        c.metadata for c in nbformat.reads(source, 4).cells
    ]


def test_seconds_are_written_to_shown_code_only(tmp_path):
    made = cells("x = 1", "x", shown=[1])
    made[1].metadata["live"] = {"minutes": 1, "seconds": 99}
    nbformat.write(nbformat.v4.new_notebook(cells=made), tmp_path / "n.ipynb")
    ids = [cell.id for cell in made]
    measure.write_seconds(tmp_path / "n.ipynb", {ids[0]: 5.0, ids[1]: 0.3})
    first, second = nbformat.read(tmp_path / "n.ipynb", as_version=4).cells
    assert "live" not in first.metadata and second.metadata.live == {"minutes": 1, "seconds": 0.3}


def test_a_broken_record_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan, "RECORD", tmp_path / "live.json")
    assert cli.main(["plan"]) == 0  # nobody measured yet: the plan is printed all the same
    (tmp_path / "live.json").write_text(json.dumps({"seconds": 3}), encoding="utf-8")
    assert cli.main(["plan"]) == 1
    assert "holds no measured seconds; run `python -m utils.press live measure`" in capsys.readouterr().err


@pytest.mark.notebook
@by_notebook
def test_the_live_path_runs_without_the_rest_of_the_notebook(path):
    """Set-up, parameters (FAST), shown cells and what they need, in a kernel of their own."""
    # a name of its own: pytest's tmp_path has the same last part in every run, also in one beside this one
    with tempfile.TemporaryDirectory(dir=measure._scratch(), prefix=f"test_{path.stem}_") as folder:
        seconds = measure.run_path(path, Path(folder))
    assert list(seconds) == [cells_of(path)[at].id for at in plan.run_order(cells_of(path))]
