"""What .github/SECURITY.md promises about files of strangers, held in all of utils/ at once, and that every test it names exists."""

import ast
import re

import pytest

from utils.files import ROOT

FILES = sorted((ROOT / "utils").rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
SECURITY = (ROOT / ".github" / "SECURITY.md").read_text(encoding="utf-8")


def calls(trees=TREES):
    """(file:line, dotted name as written, keywords with their source, file) of every call."""
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                given = {
                    keyword.arg or f"**{ast.unparse(keyword.value)}": ast.unparse(keyword.value)
                    for keyword in node.keywords
                }
                yield f"{name}:{node.lineno}", ast.unparse(node.func), given, name


def lax(trees=TREES):
    """Calls that read a file in a way that could run code, follow what they should not, or decode what is not listed."""
    found = []
    for where, call, given, name in calls(trees):
        loader = call.rsplit(".", 1)[-1]
        wrong = (
            (call == "torch.load" and given.get("weights_only") != "True")
            or (call.endswith("np.load") and given.get("allow_pickle") != "False")
            or (call.endswith("np.save") and given.get("allow_pickle", "False") != "False")
            or (call == "Image.open" and given.get("formats") != "FORMATS")
            or (
                call in ("yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all")
                and "Loader" not in _safe(trees[name])
            )
            or (loader == "from_pretrained" and not {"**PLAIN", "**given"} & set(given))
            or (loader == "from_pretrained" and "AutoModel" in call and given.get("use_safetensors") != "True")
            or (
                call == "SentenceTransformer"
                and ("**PLAIN" not in given or "use_safetensors" not in given.get("model_kwargs", ""))
            )
            or (loader == "snapshot_download" and "**wanted" not in given)
            or loader in ("extractall", "unpack_archive")
            or call in ("eval", "exec", "__import__", "compile", "os.system", "os.popen")
            or given.get("shell", "False") != "False"
            or given.get("trust_remote_code", "False") != "False"
        )
        found += [f"{where} {call}"] if wrong else []
    return found


def _safe(tree):
    """Names of loaders of YAML that are made of the one that makes plain values only."""
    return {
        n.name
        for n in ast.walk(tree)
        if isinstance(n, ast.ClassDef) and [ast.unparse(b) for b in n.bases] == ["yaml.SafeLoader"]
    }


def imported(trees=TREES):
    for name, tree in trees.items():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from ((name, module) for module in names)


def test_every_reader_is_the_strict_one():
    assert lax() == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "Image.open(path)",
        "yaml.load(text, yaml.Loader)",
        "AutoModel.from_pretrained(folder, **PLAIN)",
        "AutoTokenizer.from_pretrained(folder)",
        "SentenceTransformer(folder, **PLAIN)",
        "archive.extractall(folder)",
        "eval(text)",
        "subprocess.run(words, shell=True)",
        "load(x, trust_remote_code=True)",
    ],
)
def test_a_lax_reader_would_be_seen(line):
    assert lax({"a.py": ast.parse(line)})


def test_nothing_is_pickled_and_archives_and_the_web_are_opened_in_one_place_each():
    where = {}
    for name, module in imported():
        where.setdefault(module.split(".")[0], set()).add(name)
    assert not {"pickle", "dill", "shelve", "marshal", "cloudpickle", "joblib"} & set(where)
    assert where["zipfile"] <= {
        "utils/arrays.py",
        "utils/network/archives.py",
        "utils/lab/accuracy.py",
        "utils/shop/musicnn_weights.py",
    }
    assert where["tarfile"] <= {
        "utils/network/archives.py",
        "utils/shop/content.py",
    }  # the latter: Debian's, by SHA-256
    assert where["requests"] == {"utils/network/download.py"}
    reached = {name for name, module in imported() if module in ("urllib.request", "http.client", "socket", "ftplib")}
    assert reached <= {"utils/network/download.py", "utils/press/live/lecture.py", "utils/press/live/room.py"}


def test_code_is_imported_by_name_only_where_the_reader_gives_his_own():
    own_files = {  # these go through the files of their own room
        "utils/checks/__init__.py",
        "utils/checks/progress_view.py",
        "utils/lab/__main__.py",
        "utils/models/__init__.py",
        "utils/press/decks/figures.py",
    }
    found = {name for _where, call, _given, name in calls() if call.endswith("import_module")}
    assert found - own_files == {"utils/features/encoders/custom.py", "utils/lab/peers.py"}


def test_weights_of_a_hub_are_asked_for_as_safetensors_only():
    from utils.features.encoders.weights import HUB_FILES, PLAIN

    assert PLAIN["trust_remote_code"] is False and PLAIN["local_files_only"] is True
    assert not [pattern for pattern in HUB_FILES if pattern.endswith((".py", ".bin", ".pt", ".pth", ".pkl", "*"))]


def test_every_promise_names_a_test_that_exists():
    sections = re.split(r"^## ", SECURITY, flags=re.M)
    promised = next(part for part in sections if part.startswith("What is promised"))
    promises = re.findall(r"^- (.*?)(?=^- |\Z)", promised, re.M | re.S)
    assert len(promises) >= 8
    for promise in promises:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", promise)
        assert named, f"no test is named: {promise[:80]}"
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"
