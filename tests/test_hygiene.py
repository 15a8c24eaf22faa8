"""House rules of notebooks and code, so that nobody has to remember them."""

import ast
import functools
import json
import re
import statistics
import subprocess
import sys

import nbformat
import pytest

from utils import course
from utils.files import ROOT

NOTEBOOKS = course.notebook_paths()
KINDS = {"raw", "code", "markdown"}
by_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(path, kind=None, tag=None):
    cells = nbformat.read(path, as_version=4).cells
    return [
        c for c in cells if kind in (None, c.cell_type) and (tag is None or tag in c.metadata.get("tags", []))
    ]  # fmt: skip


def n_lines(cell):
    return len([line for line in cell.source.splitlines() if line.strip()])


def words(cells, folded=True):
    text = "\n".join(cell.source for cell in cells)
    if not folded:
        text = re.sub(r"<details>.*?</details>", " ", text, flags=re.S)
    text = re.sub(r"<[^>]*>|https?://\S+|\]\([^)]*\)|\$\$.*?\$\$", " ", text, flags=re.S)
    return len(re.findall(r"[A-Za-z][A-Za-z'-]*", text))


@by_notebook
def test_notebook_is_valid_and_carries_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert "widgets" not in notebook.metadata and "papermill" not in notebook.metadata
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
        assert "papermill" not in cell.metadata and "execution" not in cell.metadata
    assert set(notebook.metadata.course) == {"title", "question", "minutes", "datasets"}
    assert notebook.metadata.course.minutes <= 45


@by_notebook
def test_badge_and_setup_cell_are_the_generated_ones(path):
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].source.split("\n")[0] == course.BADGE.format(name=path.stem, **course.home())
    (setup,) = cells_of(path, "code", "setup")
    assert setup.source == course.SETUP_CELL.format(**course.home())


@by_notebook
def test_a_notebook_says_its_own_name(path):
    text = "\n".join(cell.source for cell in cells_of(path, "code"))
    named = re.findall(r'(?:course\.start|checks\.progress)\("([^"]*)"', text)
    assert len(named) >= 2 and set(named) == {path.stem}, "run `python -m utils.course badges`"


@by_notebook
def test_one_parameters_cell_of_plain_literals(path):
    (cell,) = cells_of(path, "code", "parameters")
    names = []
    for node in ast.parse(cell.source).body:
        assert isinstance(node, ast.Assign), "only NAME = literal"
        ast.literal_eval(node.value)
        names.append(node.targets[0].id)
    assert all(name == name.upper() for name in names)
    assert {"SEED", "FAST", "DATASET"} <= set(names)


@by_notebook
def test_last_cell_records(path):
    last = cells_of(path)[-1]
    assert last.cell_type == "code" and "record(" in last.source and "record" in last.metadata.tags


@by_notebook
def test_no_shell_no_magic_no_absolute_path(path):
    for cell in cells_of(path, "code"):
        for line in cell.source.splitlines():
            assert not re.match(r"\s*[!%]", line), line
            assert not re.search(r"""["'](/|[A-Z]:\\)[A-Za-z]""", line), line


@by_notebook
def test_size_and_rhythm(path):
    code, prose = cells_of(path, "code"), cells_of(path, "markdown")
    assert 30 <= len(code) + len(prose) <= 80
    lengths = [n_lines(cell) for cell in code if not {"setup", "exercise"} & set(cell.metadata.get("tags", []))]
    assert 3 <= statistics.median(lengths) <= 8
    assert max(lengths) <= 25, [cell.source for cell in code if n_lines(cell) > 25]
    assert all(n_lines(cell) <= 40 for cell in code)
    # hints and answers are folded away and read by whoever asks: they may be long, they do not make a page wordy
    assert 7 <= words(prose) / sum(lengths) and words(prose, folded=False) / sum(lengths) <= 16


@by_notebook
def test_anatomy(path):
    prose = "\n".join(cell.source for cell in cells_of(path, "markdown"))
    for phrase in (
        "You will",
        "Before you start",
        "Time",
        "Needs",
        "Predict",
        "Recap",
        "Go further",
        "What we did not show",
    ):
        assert phrase.lower() in prose.lower(), f"{path.stem} has no {phrase!r}"
    assert prose.count("<details>") == prose.count("</details>") >= 3
    assert len(cells_of(path, "code", "exercise")) >= 3
    assert len(cells_of(path, "code", "check")) >= 3
    assert re.search(r"doi\.org|arxiv\.org", prose, re.I)


@by_notebook
def test_links_stay_inside_the_repository_or_are_https(path):
    for cell in cells_of(path, "markdown"):
        for target in re.findall(r"\]\(([^)\s]+)\)", cell.source):
            if target.startswith(("https://", "#")):
                continue
            assert (path.parent / target.split("#")[0]).exists(), f"{path.name}: broken link {target}"


@by_notebook
def test_prose_carries_no_measured_number(path):
    """Results are rendered from the run; a decimal fraction such as .312 in prose would be typed by hand."""
    for cell in cells_of(path, "markdown"):
        text = re.sub(r"\$[^$]*\$|`[^`]*`|https?://\S+|\([^)]*\d{4}[^)]*\)", " ", cell.source)
        assert not re.search(r"(?<![\w/.])0?\.\d{2,}\b", text), f"{path.name}: {cell.source[:80]}"


@by_notebook
def test_side_roads_decide_no_number(path):
    """What an exercise, a check or a slider assigns is read by no cell that the record depends on."""
    aside, main = set(), set()
    for cell in cells_of(path, "code"):
        tags = set(cell.metadata.get("tags", []))
        if "setup" in tags:
            continue
        tree = ast.parse(cell.source)
        if course.is_side_road(cell):
            bound = [
                node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            ]
            aside |= set(bound) | {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        else:
            main |= {
                node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            }
    assert not aside & main, f"{path.name}: {sorted(aside & main)} of a side road is read by the main road"


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff(arguments):
    answer = subprocess.run([sys.executable, "-m", "ruff", *arguments, "."], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout[-3000:]


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_top_level_is_what_the_design_says():
    allowed = {"notebooks", "utils", "data", "slides", "tests", "environment.yml", "requirements.txt", "README.md"}
    allowed |= {"LICENSE", "Makefile", "pyproject.toml"}
    found = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in found if not name.startswith(".")} <= allowed


def test_no_big_file_and_the_repository_stays_small():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert max(sizes.values()) < 4_000_000
    assert sum(sizes.values()) < 25_000_000


def test_every_module_says_its_room_and_unsafe_loading_is_absent():
    for path in (ROOT / "utils").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(source)), f"{path} has no docstring"
        for call in re.findall(r"torch\.load\([^)]*\)", source):
            assert "weights_only=True" in call, f"{path}: {call}"
        assert "allow_pickle=True" not in source and "import pickle" not in source, path


def test_models_fit_on_a_page():
    for path in (ROOT / "utils" / "models").glob("*.py"):
        if path.stem == "base":  # what all models share, read once
            continue
        source = path.read_text(encoding="utf-8")
        text = {line for node in ast.walk(ast.parse(source)) for line in _docstring_lines(node)}
        code = [n for n, line in enumerate(source.splitlines(), 1) if line.strip() and n not in text]
        most = (125, 170) if "\n    challenge = " in source else (105, 150)  # part 2's own explain more of their data
        assert len(code) <= most[0] and len(source.splitlines()) <= most[1], f"{path.name}: {len(code)} lines of code"


def _docstring_lines(node: ast.AST) -> range:
    """The lines of a module's, class's or function's docstring: equations and traps, which are read, not run."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    if not isinstance(node, kinds) or ast.get_docstring(node) is None:
        return range(0)
    return range(node.body[0].lineno, node.body[0].end_lineno + 1)


def test_models_never_read_the_planted_truth():
    for room in ("models", "features"):
        for path in (ROOT / "utils" / room).rglob("*.py"):
            assert "truth" not in path.read_text(encoding="utf-8"), path


def test_records_exist_for_every_notebook():
    for path in NOTEBOOKS:
        for mode in ("fast", "full"):
            assert course.record_path(path.stem, mode, ROOT / "tests" / "records").exists(), (
                f"make record ONLY={path.stem}"
            )


@by_notebook
def test_full_record_is_not_stale(path):
    record = json.loads(course.record_path(path.stem, "full", ROOT / "tests" / "records").read_text(encoding="utf-8"))
    assert record["hash"] == course.content_hash(path, course.dataset_folder("sticker_shop")), (
        f"{path.name} or its data changed since its full record was made: run `make record ONLY={path.stem[:2]}`"
    )


@by_notebook
def test_claims_hold_on_the_full_record(path):
    record = json.loads(course.record_path(path.stem, "full", ROOT / "tests" / "records").read_text(encoding="utf-8"))
    assert record["claims"], "a notebook without a claim"
    for entry in record["claims"]:
        assert entry["open"] or course.claim_holds(entry), entry


@by_notebook
def test_bars_of_time(path):
    """One notebook: FAST at most 60 s, full at most 6 minutes (as measured when the record was made)."""
    for mode, limit in (("fast", 60), ("full", 360)):
        record = course.record_path(path.stem, mode, ROOT / "tests" / "records")
        assert json.loads(record.read_text(encoding="utf-8"))["seconds"] <= limit


# ---- names of modules, files and commands in texts ----

TEXTS = {".py", ".md", ".ipynb", ".yml", ".yaml", ".html", ".toml", ".txt"}
PLACEHOLDER = re.compile(r"ROOM|NAME|NN")
MADE_UP = {"utils.losses.bpp"}  # a deck that names it is refused
MAKES_MODULES_UP = "tests/stored/test_sources.py"


def texts():
    """(name of the file, its text); of a notebook the text of each cell."""
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if (path.suffix not in TEXTS and path.name != "Makefile") or name == MAKES_MODULES_UP:
            continue
        if path.suffix == ".ipynb":
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                yield f"{name}, cell {cell['id']}", "".join(cell["source"])
        else:
            yield name, path.read_text(encoding="utf-8")


@functools.cache
def names_in(path):
    """Every name that a module defines or imports, methods included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return found


@functools.cache
def there(name):
    """Is this a module, a name inside one, or a path of the repository? A star stands for anything."""
    if "*" in name:
        return any(ROOT.glob(name)) or any(ROOT.glob(name.replace(".", "/") + ".py"))
    if "/" in name or (ROOT / name).is_file():
        return (ROOT / name).exists()
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:cut])
        module = base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
        if module.is_file():
            return all(part in names_in(module) for part in parts[cut:])
        if cut == len(parts) and base.is_dir():
            return True
    return False


@functools.cache
def commands_of(module):
    """Words that may follow ``python -m module``; None when it cannot be run, an empty set when it takes any."""
    base = ROOT.joinpath(*module.split("."))
    main = base / "__main__.py" if base.is_dir() else base.with_suffix(".py")
    if not main.is_file() or '__name__ == "__main__"' not in main.read_text(encoding="utf-8"):
        return None
    tree, found = ast.parse(main.read_text(encoding="utf-8")), set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMMANDS":
            return {key.value for key in node.value.keys}
        if isinstance(node, ast.ImportFrom) and node.module.startswith("utils."):  # the parsers of a door
            for name in [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]:
                file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
                if file.stem == "__main__":
                    return commands_of(node.module.removesuffix(".__main__"))
                if file.is_file():
                    found |= set(re.findall(r'\.add_parser\(\s*"([\w-]+)"', file.read_text(encoding="utf-8")))
    return found


def test_every_module_and_file_that_a_text_names_exists():
    word = re.compile(r"(?<![\w.])(?:utils(?:\.[A-Za-z_*][\w*]*|/[A-Za-z_*][\w*.-]*[\w*])+|tests/[\w/*]+\.py)")
    taken = re.compile(r"^ *from (utils[\w.]*) import (\([^)]*\)|.*)$", re.M)
    absent = []
    for name, text in texts():
        named = [found for found in word.findall(text) if found not in MADE_UP and not PLACEHOLDER.search(found)]
        for module, names in taken.findall(text):
            names = re.sub(r"#.*| as \w+", "", names).strip("()\n ")
            named += [f"{module}.{taken_name.strip()}" for taken_name in names.split(",") if taken_name.strip()]
        absent += [f"{name}: there is no {found}" for found in named if not there(found)]
    assert not absent, "\n".join(absent)


def test_every_command_that_a_text_names_exists():
    apart = r"""(?: |["'], ?["'])"""  # in prose, and as a list of arguments
    command = re.compile(rf"-m{apart}((?:utils|tests)(?:\.\w+)*)(?:{apart}([a-z][\w|-]*))?(?:{apart}([a-z][\w-]*))?")
    studies = {path.stem for path in (ROOT / "utils" / "studies").glob("*.py") if "main" in names_in(path)}
    seen, absent = set(), []
    for name, text in texts():
        for module, first, second in command.findall(text):
            known = commands_of(module)
            unknown = (known is None and not PLACEHOLDER.search(module)) or (
                known and not set(first.split("|")) <= known | {""}
            )
            if unknown or ((module, first) == ("utils.lab", "study") and second not in studies | {""}):
                absent.append(f"{name}: there is no python -m {module} {first} {second}")
            seen.add((module, first))
    assert not absent, "\n".join(absent)
    assert len(seen) > 30
