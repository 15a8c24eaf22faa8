"""The hash of the code behind a number: what alters it, and what does not."""

import ast
import re
import shutil

import pytest

from utils import models
from utils.evaluation.metrics import short_head
from utils.files import ROOT
from utils.losses import bpr, info_nce
from utils.stored.sources import code_hash, source_hash

SOME = ("bpr", "freedom", "lgmrec", "itemknn_multimodal")
BASE = [("utils.training.loop", "fit"), ("utils.evaluation.protocol", "evaluate")]
NAMES = {name: [*BASE, (cls.__module__, cls.__qualname__)] for name, cls in models.MODELS.items()}


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "utils", tmp_path / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def hashes(root, *names):
    return {name: source_hash(NAMES[name], root) for name in names or NAMES}


def edit(root, module, old, new):
    """Replace one piece of text, of which the file has at least one, in the file of ``module``."""
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is no longer in {path}: this test needs another place to edit"
    path.write_text(text.replace(old, new), encoding="utf-8")


def module_of(thing):
    return thing.__module__


def test_every_model_has_its_own_hash_and_the_same_one_twice():
    found = {name: code_hash(name) for name in models.MODELS}
    assert len(set(found.values())) == len(found)
    assert found == {name: code_hash(name) for name in models.MODELS}
    assert code_hash() == code_hash(*models.MODELS) not in found.values()


def test_a_changed_constant_alters_it(copy):
    before = hashes(copy, "bpr", "freedom")
    edit(copy, "utils.models.base", "SIZES = 10_000, 100_000", "SIZES = 1_000, 100_000")
    large = hashes(copy, "bpr", "freedom")
    assert all(large[name] != before[name] for name in before)
    edit(copy, module_of(short_head), "HEAD_SHARE = 0.8", "HEAD_SHARE = 0.5")
    assert all(hashes(copy, name)[name] != large[name] for name in before)


def test_a_changed_body_alters_the_models_that_use_it_and_no_other(copy):
    before = hashes(copy, "bpr", "mgcn", "slmrec")
    edit(
        copy,
        module_of(info_nce),
        "loss = F.cross_entropy(logits, target)",
        "loss = 2 * F.cross_entropy(logits, target)",
    )
    after = hashes(copy, "bpr", "mgcn", "slmrec")
    assert after["bpr"] == before["bpr"]
    assert after["mgcn"] != before["mgcn"] and after["slmrec"] != before["slmrec"]


def test_a_method_of_a_base_class_counts(copy):
    before = hashes(copy, "itemknn", "bpr")
    edit(copy, "utils.models.base", "nn.init.xavier_uniform_(table.weight)", "nn.init.normal_(table.weight)")
    after = hashes(copy, "itemknn", "bpr")
    assert after["bpr"] != before["bpr"]


def test_comments_docstrings_annotations_errors_and_titles_do_not_count(copy):
    before = hashes(copy, *SOME)
    edit(copy, module_of(bpr), "def bpr(pos_scores: torch.Tensor, neg_scores: torch.Tensor) -> torch.Tensor:\n    \"\"\"",
         "def bpr(pos_scores, neg_scores):  # a remark\n    \"\"\"Another first sentence. ")  # fmt: skip
    edit(copy, "utils.models.base", '"align them with features.align(dataset.item_names)."', '"align them."')
    edit(copy, "utils.models.bpr", '    name = "bpr"\n', '    name = "bpr"\n    title = "Another"\n    order = 7\n')
    assert hashes(copy, *SOME) == before
    edit(copy, "utils.models.bpr", '    name = "bpr"\n', '    name = "bpr"\n    dim = 7\n')
    after = hashes(copy, *SOME)
    assert {name for name in after if after[name] != before[name]} == {"bpr"}


def test_a_renamed_or_moved_file_does_not_count(copy):
    before = hashes(copy, *SOME)
    room = copy / "utils" / "elsewhere"
    room.mkdir()
    (room / "__init__.py").write_text("from utils.elsewhere.of_losses import bpr  # what others import from here\n")
    (copy / "utils" / "losses.py").rename(room / "of_losses.py")
    for path in (copy / "utils").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        new = re.sub(r"from utils\.losses import", "from utils.elsewhere.of_losses import", text)
        path.write_text(new, encoding="utf-8")
    assert hashes(copy, *SOME) == before
    # through the room's front door, too
    edit(copy, "utils.models.lightgcn", "from utils.elsewhere.of_losses import bpr, l2_reg",
         "from utils.elsewhere import bpr\nfrom utils.elsewhere.of_losses import l2_reg")  # fmt: skip
    assert hashes(copy, *SOME) == before


SMALL = """
from utils.b import deep as shallow, room
from utils import c

LIMIT = 3
TABLE = {"one": shallow}
TABLE["two"] = c.late


def used(x):
    from utils.d import inner

    deep = inner(x)
    return deep + LIMIT + c.constant + TABLE["one"](x) + room.door


def unused():
    return NEVER
"""


@pytest.fixture
def small(tmp_path):
    folder = tmp_path / "utils"
    folder.mkdir()
    files = {
        "a": SMALL,
        "b": "from utils.e import deep\nfrom utils import room\n",
        "c": "constant = 1\nother = 2\n\n\ndef late(x):\n    return x\n",
        "d": "def inner(x):\n    return [y for y in x if y > LOW]\n\n\nLOW = 4\n",
        "e": "def deep(x):\n    return x\n",
        "room": "door = 5\nwindow = 6\n",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "__init__.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("module", "old", "new", "counts"),
    [
        ("a", "LIMIT = 3", "LIMIT = 4", True),  # a constant of the same module
        ("a", '"one"', '"three"', True),
        ("a", "c.late", "c.constant", True),  # an entry that a table gets later
        ("a", "NEVER", "ALWAYS", False),
        ("b", "from utils.e", "from utils.e ", False),
        ("c", "constant = 1", "constant = 9", True),  # an attribute of a module
        ("c", "other = 2", "other = 9", False),
        ("c", "    return x", "    return -x", True),
        ("d", "LOW = 4", "LOW = 5", True),  # a constant behind an import inside a function, used in a comprehension
        ("e", "return x", "return -x", True),  # a function behind two imports and another name
        ("room", "door = 5", "door = 7", True),
        ("room", "window = 6", "window = 7", False),
    ],
)
def test_what_a_function_uses_is_followed_and_nothing_else(small, module, old, new, counts):
    before = source_hash([("utils.a", "used")], small)
    edit(small, f"utils.{module}", old, new)
    assert (source_hash([("utils.a", "used")], small) != before) == counts


def test_a_hidden_name_is_not_the_modules_one(small):
    # `deep` is a local name in used(), so that a function of that name in the same module does not count
    before = source_hash([("utils.a", "used")], small)
    path = small / "utils" / "a.py"
    path.write_text(path.read_text() + "\n\ndef deep():\n    return 1\n")
    assert source_hash([("utils.a", "used")], small) == before


HOOKED = """def used(x, *, seed=0, log=None):
    for value in x:
        seed += value
        if log is not None:
            log({"seed": seed})
    return other(seed, log=log)


def other(x, *, log=None):
    return x
"""


@pytest.mark.parametrize(
    "old, new, counts",
    [
        ("", "", False),
        ('log({"seed": seed})', "seed = 3", True),  # a hook only tells
        ('log({"seed": seed})', 'log({"seed": seed})\n            seed = 3', True),
        ('log({"seed": seed})', "seed = log(seed)", True),
        ("log is not None", "seed is not None", True),
        ("return other(seed, log=log)", "return other(seed, log=seed)", True),
        ("def other(x, *, log=None)", "def other(x, log=None)", True),  # only a keyword
        ("seed=0", "seed=1", True),
    ],
)
def test_a_hook_does_not_count_and_what_stands_beside_it_does(tmp_path, old, new, counts):
    folder = tmp_path / "utils"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    without = "def used(x, *, seed=0):\n    for value in x:\n        seed += value\n    return other(seed)\n\n\ndef other(x):\n    return x\n"
    found = []
    for text in (without, HOOKED.replace(old, new)):
        (folder / "a.py").write_text(text)
        found.append(source_hash([("utils.a", "used")], tmp_path))
    assert (found[0] != found[1]) == counts


def test_studies_and_benchmarks_call_the_code_that_their_results_are_hashed_with():
    """What people call at their desk (utils.training.fit, utils.evaluation.evaluate) passes plain calls on to it."""
    doors = {"utils.training": {"fit"}, "utils.evaluation": {"evaluate", "evaluate_cold", "evaluate_lists"}}
    found = []
    for room in ("studies", "lab", "pretraining", "generation", "challenges"):
        for path in (ROOT / "utils" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    taken = doors.get(node.module, set()) & {alias.name for alias in node.names}
                    found += [f"{path.name}:{node.lineno} takes {name} of {node.module}" for name in sorted(taken)]
    assert not found
