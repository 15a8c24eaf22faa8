"""The house: rooms with walls. Imports run one way, imports inside functions included; no circles; few loose modules."""

import ast
import re
from functools import cache

import pytest

from utils.files import ROOT

UTILS = ROOT / "utils"
# From the ground up. A room may import the rooms of earlier rows; rooms of one row do not know each other.
ROWS = (
    ("ground",),
    ("kernels", "losses"),
    ("fusion", "graphs"),
    ("data", "models"),
    ("evaluation",),
    ("training", "features", "serving"),
    ("challenges", "pretraining", "ranking", "responsible"),
    ("generation",),
    ("stored",),
    ("own_data", "publishers", "shop"),
    ("plots", "checks"),
    ("studies",),
    ("course",),
    ("lab",),
    ("press",),
    ("door",),
)
GROUND = {"", "arrays", "errors", "files", "devices", "environment", "network"}
WINGS = {"own_data", "publishers", "shop", "stored"}
USERS_OF_WINGS = {*WINGS, "studies", "course", "lab", "press", "door"}
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row}
LOOSE = {"__init__", "arrays", "errors", "files", "devices", "environment", "kernels", "fusion", "losses"}


def dotted(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {dotted(path): path for path in sorted(UTILS.rglob("*.py"))}


def room_of(module):
    """The room of a module; a ``__main__`` parses a command and calls: it is a door, and nothing imports it."""
    parts = [*module.split("."), ""]
    if parts[-2] == "__main__":
        return "door"
    return "ground" if parts[1] in GROUND else parts[1]


def targets(node):
    """The modules of the course that an import line names: the file itself, or the package that gives the name."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names if alias.name in FILES}
    names = {f"{node.module}.{alias.name}" for alias in node.names}
    return {name if name in FILES else node.module for name in names if node.module in FILES or name in FILES}


@cache
def arrows():
    """(module, imported module, line): every import, wherever it stands."""
    found = []
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0):
                found += [(module, target, node.lineno) for target in targets(node) if target != module]
            assert not getattr(node, "level", 0), f"{path}:{node.lineno}: write the whole name of the module"
    return found


def circles(graph):
    """Groups of nodes that reach each other (Tarjan's strongly connected components of more than one node)."""
    index, low, stack, groups = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return groups


def test_every_module_has_a_room_in_a_row():
    assert {room_of(module) for module in FILES} - {"benchmark"} <= set(LEVEL)  # benchmark/ holds a door only


def test_imports_run_one_way_and_rooms_of_one_row_do_not_know_each_other():
    rooms = [(room_of(a), room_of(b), f"{a}:{line} imports {b}") for a, b, line in arrows()]
    assert not [text for a, b, text in rooms if a != b and LEVEL[b] >= LEVEL[a]]


def test_the_heart_knows_no_wing():
    named = [(room_of(a), room_of(b), f"{a}:{line} imports {b}") for a, b, line in arrows() if a != "utils.checks.cA1"]
    assert not [text for a, b, text in named if b in WINGS and a not in USERS_OF_WINGS]


def test_nothing_in_utils_imports_the_tests():
    pattern = re.compile(r"^\s*(from|import) tests\b", re.M)
    assert not [module for module, path in FILES.items() if pattern.search(path.read_text(encoding="utf-8"))]


def test_no_module_is_part_of_a_circle():
    graph = {}
    for a, b, _ in arrows():
        if room_of(a) != "door":
            graph.setdefault(a, set()).add(b)
            graph.setdefault(b, set())
    # a package's __init__ gives the names of its files: whoever asks the package asks these
    assert not circles(graph)


def test_at_most_ten_floors():
    graph = {room: set() for room in LEVEL}
    for a, b, _ in arrows():
        if room_of(a) != room_of(b) and room_of(a) != "door":
            graph[room_of(a)].add(room_of(b))
    assert not circles(graph)

    @cache
    def floor(room):
        return 1 + max(map(floor, graph[room]), default=0)

    assert max(map(floor, graph)) <= 10, {room: floor(room) for room in graph}


def test_few_modules_stand_loose():
    assert {path.stem for path in UTILS.glob("*.py")} == LOOSE and len(LOOSE) <= 11


def test_a_door_only_parses_and_calls():
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in FILES.items() if room_of(module) == "door"}  # fmt: skip
    assert lengths and max(lengths.values()) <= 80, lengths


@pytest.mark.parametrize("module", FILES)
def test_the_first_line_says_in_one_sentence_what_a_module_holds(module):
    text = ast.get_docstring(ast.parse(FILES[module].read_text(encoding="utf-8"))) or ""
    first = text.split("\n")[0]
    assert first and first[-1] in ".:", f"{module}: the first line is a whole sentence"
    assert not re.match(r"(Room|Helpers?)\b", first), f"{module}: say what a search would find, not which room it is"


def test_the_readme_of_utils_names_every_room_and_no_other():
    rows = re.findall(r"^\| (.*?) \|.*\|.*\|$", (UTILS / "README.md").read_text(encoding="utf-8"), re.M)[1:]
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([\w./]+)`", row)}
    rooms = {path.name for path in UTILS.glob("*.py")} - {"__init__.py"}
    rooms |= {path.parent.relative_to(UTILS).as_posix() for path in UTILS.rglob("__init__.py")} - {"."}
    inside = {"press/decks", "press/handouts", "press/live"}  # press says so itself
    assert named == rooms - inside


@pytest.mark.parametrize(
    "package", [path.parent for path in sorted(UTILS.rglob("__init__.py"))], ids=lambda path: path.name
)
def test_no_name_that_a_package_gives_hides_one_of_its_files(package):
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    given = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    files = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    hidden = [name for name, target in given.items() if name in files and target != dotted(package / f"{name}.py")]
    assert not hidden, f"a function takes the place of its module: {hidden}"
