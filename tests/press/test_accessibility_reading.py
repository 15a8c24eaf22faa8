"""The reading list: every system that the course names is in it, with a DOI or an arXiv number."""

import re

import nbformat
import pytest

from utils import course
from utils.errors import CourseError
from utils.files import ROOT
from utils.models import MODELS
from utils.press.handouts import reading, text

WITHOUT_A_PAPER = {"random", "mostpop", "itemknn_content", "itemknn_multimodal"}  # floors and the course's own sums
WORKS = [work for section in reading.sections() for work in section["works"]]
NAMES = {name for work in WORKS for name in work.get("names", [])}
IDS = {identifier.lower() for work in WORKS for identifier in work.get("ids", [])}


def prose(path):
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


def identifiers(words):
    """DOIs and arXiv numbers in any of the ways that the course writes them."""
    dois = re.findall(r"10\.\d{4,9}/[^\s)\]\"',;]+", words)
    numbers = re.findall(r"(?i)arxiv(?:\.org/abs/|[: ])\s*(\d{4}\.\d{4,5})", words)
    return {f"doi:{doi.rstrip('.')}".lower() for doi in dois} | {f"arxiv:{number}" for number in numbers}


def test_every_model_of_the_course_is_listed():
    listed = {model for work in WORKS for model in work.get("models", [])}
    assert listed == set(MODELS) - WITHOUT_A_PAPER, "give its paper `models: [NAME]` in slides/handouts/reading.yaml"


@pytest.mark.parametrize("path", course.notebook_paths(), ids=lambda path: path.stem)
def test_every_paper_that_a_notebook_links_is_listed(path):
    assert identifiers(prose(path)) <= IDS, identifiers(prose(path)) - IDS


def test_every_paper_that_the_code_or_readme_names_is_listed():
    for path in [*(ROOT / "utils").rglob("*.py"), ROOT / "README.md", ROOT / "data" / "results" / "README.md"]:
        if "reading" not in path.name:
            found = identifiers(path.read_text(encoding="utf-8")) - IDS
            assert not found, (
                f"{path.relative_to(ROOT)} names {sorted(found)}, which slides/handouts/reading.yaml lacks"
            )


def test_every_system_of_the_schema_tables_and_of_the_tools_table_is_listed():
    """Rows such as `| MMGCN (2019) | ...` of notebooks 01 and 04, and the tools of notebook 00."""
    named = set()
    for number in ("01", "04"):
        (path,) = [path for path in course.notebook_paths() if path.stem.startswith(number)]
        named |= set(re.findall(r"^\| ([A-Z][\w+-]*) \(20\d\d\)", prose(path), re.M))
    assert len(named) >= 8
    (start,) = [path for path in course.notebook_paths() if path.stem.startswith("00")]
    (tools,) = re.findall(r"^\| train and compare \| (.*) \|$", prose(start), re.M)
    named |= set(tools.split(", ")) | {"Ducho", "MicroLens", "MovieLens"}
    assert named <= NAMES, named - NAMES


def test_no_work_stands_there_twice_and_all_links_are_whole():
    every = [identifier for work in WORKS for identifier in work.get("ids", [])]
    assert len(every) == len({identifier.lower() for identifier in every})
    titles = [work["title"] for work in WORKS]
    assert len(titles) == len(set(titles)) >= 60
    page = reading.reading_page()
    for work in WORKS:
        assert all(reading.link(identifier) in page for identifier in work.get("ids", []))
    assert len([work for work in WORKS if not work.get("ids")]) <= 2, "without a number: only what has none"


@pytest.mark.parametrize(
    "entry, message",
    [("{title: X, venue: Y}", "has no ids"), ("{title: X, venue: Y, ids: ['doi:11.1/x']}", "is no doi"),
     ("{title: X, venue: Y, ids: ['isbn:1']}", "is no doi")],
)  # fmt: skip
def test_a_work_without_a_number_is_refused(tmp_path, monkeypatch, entry, message):
    (tmp_path / "reading.yaml").write_text(f"- section: A\n  works:\n    - {entry}\n")
    monkeypatch.setattr(reading, "SOURCES", tmp_path)
    with pytest.raises(CourseError, match=message):
        reading.sections()


def test_the_sources_lie_with_the_slides():
    assert {path.name for path in text.SOURCES.iterdir()} >= {"cheat_sheet.md", "glossary.md", "reading.yaml"}
