"""Hash the source code that decides a number, so that a stored run is made anew when its code has changed, and only then."""

from __future__ import annotations

import ast
import hashlib
import symtable
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from utils.files import ROOT

PACKAGE = "utils"
SHOWN = frozenset({"title", "order"})  # attributes of a model that tables read and no number depends on
HOOKS = frozenset({"log"})  # keyword-only functions that are told of an epoch and asked nothing: they decide no number
LEFT_OUT = frozenset({"annotation", "returns", "ctx", "kind", "type_comment", "type_params"})
Use = tuple[str, str, str]  # module, name in it, attribute of that name or ""


def code_hash(*names: str) -> str:
    """Hash the code that decides the numbers of the models ``names`` (all by default): 16 hexadecimal digits.

    That is model, training loop and evaluation, with every function, class and constant of the course that they use.
    """
    from utils import models
    from utils.evaluation import protocol
    from utils.training import loop

    things = [loop.fit, loop.trial_settings, protocol.evaluate, protocol.evaluate_cold]
    things += [models.MODELS[name] for name in names or models.MODELS]
    return source_hash((thing.__module__, thing.__qualname__) for thing in things)


def source_hash(names: Iterable[tuple[str, str]], root: Path = ROOT) -> str:
    """Hash what the definitions ``names`` say, and all of the course that they use; the files are read, not run.

    The text of each function, class and module constant counts. What does not: the file that it stands in, imports,
    comments, docstrings, annotations, the sentences of errors, what tables call a model, and the hooks (``HOOKS``).

    Args:
        names: (module, name), for example ("utils.training", "fit").
        root: the folder that holds ``utils/``.
    """
    queue: list[Use] = [(module, name, "") for module, name in names]
    texts: dict[tuple[Path, int], str] = {}
    while queue:
        for path, place in _places(root, *queue.pop()):
            if (path, place) not in texts:
                texts[path, place], uses = _read(path.read_text(encoding="utf-8"), place, _dotted(root, path))
                queue += uses
    return hashlib.sha256("\n".join(sorted(texts.values())).encode()).hexdigest()[:16]


# ---- where a name is defined ----


def _places(root: Path, module: str, name: str, attribute: str) -> Iterator[tuple[Path, int]]:
    """Find the statements that define a name, through the imports of the course's modules; none for foreign names."""
    seen = set()
    while (path := _file(root, module)) and (module, name) not in seen:
        seen.add((module, name))
        defined, imported = _contents(path.read_text(encoding="utf-8"))
        if name in defined:
            yield from ((path, place) for place in defined[name])
            return
        if name in imported:
            module, name = imported[name]
        elif _file(root, f"{module}.{name}"):  # the name is a module: what counts is the attribute that is used
            module, name, attribute = f"{module}.{name}", attribute, ""
        else:
            return


def _file(root: Path, module: str) -> Path | None:
    parts = module.split(".")
    if parts[0] != PACKAGE or not all(parts):
        return None
    path = root.joinpath(*parts)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _dotted(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


@cache
def _body(source: str) -> list[ast.stmt]:
    return ast.parse(source).body


@cache
def _contents(source: str) -> tuple[dict[str, list[int]], dict[str, tuple[str, str]]]:
    """What a file defines (name -> its statements) and imports from the course (name -> module, name there)."""
    defined: dict[str, list[int]] = {}
    imported: dict[str, tuple[str, str]] = {}
    for place, node in enumerate(_body(source)):
        imported |= _imports(node) if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) else {}
        for name in _defines(node):
            defined.setdefault(name, []).append(place)
    return defined, imported


def _imports(node: ast.AST) -> dict[str, tuple[str, str]]:
    """Name -> (module, name there) of the course's imports in a statement."""
    lines = [part for part in ast.walk(node) if isinstance(part, ast.ImportFrom)]
    lines = [line for line in lines if (line.module or "").split(".")[0] == PACKAGE]
    return {alias.asname or alias.name: (line.module, alias.name) for line in lines for alias in line.names}


def _defines(node: ast.stmt) -> set[str]:
    """The names that a module's statement makes or fills: def, class, assignment, or a call like NAME.update(...)."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    parts = list(ast.walk(node))
    filled: list[Any] = [part for part in parts if isinstance(getattr(part, "ctx", None), ast.Store)]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        filled += [node.value.func] if isinstance(node.value.func, ast.Attribute) else []
    names = set()
    for part in filled:
        while isinstance(part, (ast.Attribute, ast.Subscript)):
            part = part.value
        names |= {part.id} if isinstance(part, ast.Name) else set()
    return names


# ---- what a definition says and uses ----


@cache
def _read(source: str, place: int, module: str) -> tuple[str, list[Use]]:
    """Return what counts of a statement, as text, and what of the course it may use."""
    node = _body(source)[place]
    bare = ast.unparse(_Bare().visit(ast.parse(ast.unparse(node))))
    tree, local = ast.parse(bare), _imports(node)
    named = {
        name: local.get(name, (module, name)) for name in {*_free(symtable.symtable(bare, module, "exec")), *local}
    }
    uses = [(*found, "") for found in named.values()]
    for part in ast.walk(tree):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in named:
            uses.append((*named[part.value.id], part.attr))
    return _plain(tree), uses


class _Bare(ast.NodeTransformer):
    """Take away what decides no number: docstrings, annotations, imports, the sentences of errors, names for tables."""

    def visit_Expr(self, node: ast.Expr) -> Any:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Import(self, node: ast.AST) -> Any:
        return ast.Pass()

    visit_ImportFrom = visit_Import

    def visit_Raise(self, node: ast.Raise) -> Any:
        return ast.Raise()

    def visit_arguments(self, node: ast.arguments) -> Any:
        pairs = [pair for pair in zip(node.kwonlyargs, node.kw_defaults) if pair[0].arg not in HOOKS]
        node.kwonlyargs, node.kw_defaults = [arg for arg, _ in pairs], [default for _, default in pairs]
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        node.keywords = [word for word in node.keywords if not (word.arg in HOOKS and _hook(word.value) == word.arg)]
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        return None if _only_tells(node) else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> Any:
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        node.body = [one for one in node.body if not _is_shown(one)]
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node


def _is_shown(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and {getattr(target, "id", "") for target in node.targets} <= SHOWN


def _hook(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) and node.id in HOOKS else ""


def _only_tells(node: ast.If) -> bool:
    """Whether a statement reads ``if HOOK is not None: HOOK(...)`` and does nothing else."""
    test = node.test
    asked = isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.IsNot) and _hook(test.left)
    calls = [one.value for one in node.body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call)]
    return bool(asked) and not node.orelse and len(calls) == len(node.body) and all(_hook(call.func) for call in calls)


def _free(table: symtable.SymbolTable) -> set[str]:
    """The names that a piece of code takes from its module, comprehensions and inner functions included."""
    top = table.get_type() == "module"
    own = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
    return own.union(*(_free(child) for child in table.get_children()))


def _plain(node: Any) -> str:
    """Write a syntax tree as text that is the same in every version of Python."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in LEFT_OUT]
        shown = ", ".join(f"{name}={_plain(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({shown})"
    return f"[{', '.join(map(_plain, node))}]" if isinstance(node, list) else repr(node)
