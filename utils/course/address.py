"""Where the course lives (owner, repository, tag), and what is written from that: badges, set-up cells, links of README.

`python -m utils.course home OWNER/REPO TAG` sets it; `python -m utils.course badges` writes it anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from utils.errors import CourseError
from utils.files import ROOT, write_text

NOTEBOOKS = ROOT / "notebooks"


def notebook_paths(root: Path | None = None) -> list[Path]:
    """Return the notebooks in the order of the course, appendices last; ``root`` is another copy of the course."""
    found = (root / "notebooks" if root else NOTEBOOKS).glob("[0-9A][0-9]_*.ipynb")
    return sorted(found, key=lambda path: (path.stem[0] == "A", path.stem))


# The notebooks that are planned: on the map without a link for as long as they are not there.
PLANNED = {
    "12_pretraining": "Multimodal pretraining and adaptation",
    "13_generation": "Generative recommendation",
    "14_industrial_ranking": "Ranking in industry",
    "15_responsible_recommendation": "Responsible recommendation",
}


def to_come() -> dict[str, str]:
    """Return name -> title of the planned notebooks that do not exist yet."""
    there = {path.stem for path in notebook_paths()}
    return {name: title for name, title in PLANNED.items() if name not in there}


SETUP_CELL = """\
# Finds the course, or fetches its pinned tag when this notebook stands alone (Colab, Kaggle).
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY, TAG = "{repository}", "{tag}"
folders = [Path.cwd(), *Path.cwd().parents, Path.cwd() / f"multimodal-course-{{TAG}}"]
root = next((folder for folder in folders if (folder / "utils" / "course" / "__init__.py").is_file()), None)
if root is None:
    root, part = folders[-1], Path(f"{{folders[-1]}}.part")
    if root.exists():  # whose it is, nobody knows here
        raise RuntimeError(f"{{root}} is in the way and holds no course: delete or rename it, then run this cell again.")
    shutil.rmtree(part, ignore_errors=True)  # left by a fetch that was broken off
    url = os.environ.get("COURSE_URL", f"https://github.com/{{REPOSITORY}}.git")
    git = ["git", "-c", "advice.detachedHead=false"]  # a tag is what is wanted here
    command = [*git, "clone", "--quiet", "--depth", "1", "--branch", TAG, url, str(part)]
    fetched = subprocess.run(command, capture_output=True, text=True)
    if fetched.returncode:
        hint = "Is the network on? On Kaggle it is a switch: Settings, Internet."
        raise RuntimeError(f"Could not fetch {{TAG}} of {{url}}. {{hint}} git said: {{fetched.stderr.strip()}}")
    part.rename(root)
sys.path.insert(0, str(root))

from utils import course

course.check_environment()"""
COLAB = "https://colab.research.google.com/github/{repository}/blob/{tag}/notebooks/{name}.ipynb"
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    f"({COLAB}) "
    "[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]"
    "(https://kaggle.com/kernels/welcome?src=https://github.com/{repository}/blob/{tag}/notebooks/{name}.ipynb) "
    "[![Open in Binder](https://mybinder.org/badge_logo.svg)]"
    "(https://mybinder.org/v2/gh/{repository}/{tag}?labpath=notebooks%2F{name}.ipynb)"
)
# where a notebook says its own name: a copy of another one would write that one's record
OWN_NAME = re.compile(r'(course\.start|checks\.progress)\("[^"]*"')
REPOSITORY_NAME, TAG_NAME = re.compile(r"[\w.-]+/[\w.-]+"), re.compile(r"[\w.-]+")


def home(root: Path = ROOT) -> dict[str, str]:
    """Return repository ("owner/name") and tag, from the one place that holds them: pyproject.toml, [tool.course]."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8").split("[tool.course]")[1]
    return {key: re.search(rf'^{key} = "(.*)"', text, re.M).group(1) for key in ("repository", "tag")}


def set_home(repository: str, tag: str, root: Path = ROOT) -> None:
    """Write owner, name and tag into pyproject.toml, and from there into every place that names them.

    Args:
        repository: "owner/name".
        tag: a tag of the repository; letters, digits, ``.``, ``_`` and ``-``.
        root: the course's folder.

    Raises:
        CourseError: repository or tag cannot be one; nothing is written then.
    """
    if not REPOSITORY_NAME.fullmatch(repository):
        raise CourseError(
            f"{repository!r} is not owner/name; write for example: python -m utils.course home me/course v1"
        )
    if not TAG_NAME.fullmatch(tag):
        raise CourseError(
            f"{tag!r} cannot be the tag: take letters, digits, dot, dash and underscore, for example v1.0."
        )
    path = root / "pyproject.toml"
    before, rest = path.read_text(encoding="utf-8").split("[tool.course]")
    for key, value in (("repository", repository), ("tag", tag)):
        rest = re.sub(rf'^{key} = ".*"', f'{key} = "{value}"', rest, count=1, flags=re.M)
    _replace_text(path, f"{before}[tool.course]{rest}")
    write_badges(root)


def write_badges(root: Path = ROOT) -> None:
    """Write badges, set-up cell and own name of every notebook and the links of README.md from :func:`home`; nothing else."""
    import nbformat

    where = home(root)
    for path in notebook_paths(root):
        notebook = nbformat.read(path, as_version=4)
        first = notebook.cells[0].source.split("\n", 1)
        notebook.cells[0].source = "\n".join([BADGE.format(name=path.stem, **where), *first[1:]])
        for cell in notebook.cells:
            if "setup" in cell.metadata.get("tags", []):
                cell.source = SETUP_CELL.format(**where)
            elif cell.cell_type == "code":
                cell.source = OWN_NAME.sub(rf'\1("{path.stem}"', cell.source)
        _replace_text(path, nbformat.writes(notebook) + "\n")
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    places = {
        r"(/github/)[^)/]+/[^)/]+(/blob/)[^)/]+(/notebooks/)": r"\g<1>{repository}\g<2>{tag}\g<3>",
        r"(git clone https://github\.com/)\S+(\.git)": r"\g<1>{repository}\g<2>",
    }
    for pattern, new in places.items():
        text = re.sub(pattern, new.format(**where), text)
    _replace_text(readme, text)


def colab_badge(path: Path, root: Path = ROOT) -> str:
    """Return the badge that opens a notebook in Colab, as Markdown; the page defines the picture ``[colab]`` once."""
    return f"[![Colab][colab]]({COLAB.format(name=path.stem, **home(root))})"


def _replace_text(path: Path, text: str) -> None:
    """Write a file only when its text changes: a second call leaves every time stamp as it was."""
    if path.read_text(encoding="utf-8") != text:
        write_text(path, text)
