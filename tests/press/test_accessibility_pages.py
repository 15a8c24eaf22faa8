"""Pages and notebooks for readers with little sight: alt texts, tables that read aloud, handouts that fit their paper."""

import ast
import re

import nbformat
import pytest

from utils import course
from utils.files import ROOT
from utils.press.accessible import speak_tables
from utils.press.handouts import sheet
from utils.press.handouts.build import write
from utils.press.handouts.text import page, to_html

NOTEBOOKS = course.notebook_paths()
PAGES = sorted((ROOT / "build").glob("[0-9A][0-9]_*.html"))


def calls_of_show(path):
    """Every call of plots.show in a notebook, with its cell's number."""
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "code" and "show(" in cell.source:
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("plots.show"):
                    yield number, node


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_has_an_alt_text_of_its_own(path):
    calls, seen = list(calls_of_show(path)), set()
    assert calls, "a notebook without a figure"
    for number, call in calls:
        given = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "alt")]
        assert given, f"{path.name}, cell {number}: no alt text"
        text = ast.unparse(given[0])
        constant = " ".join(node.value for node in ast.walk(given[0]) if isinstance(getattr(node, "value", None), str))
        assert len(re.findall(r"[A-Za-z]{2,}", constant)) >= 4, (
            f"{path.name}, cell {number}: {constant!r} says too little"
        )
        assert not re.match(r"(?i)(a |the )?(figure|plot|image|picture)\b\W*$", constant), constant
        assert text not in seen, f"{path.name}, cell {number}: the alt text of another figure"
        seen.add(text)


@pytest.mark.skipif(not PAGES, reason="no executed pages: run make course")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_image_of_an_executed_page_has_an_alt_text(path):
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", path.read_text(encoding="utf-8"))
    for tag in re.findall(r"<img\b[^>]*>", text):
        assert re.search(r"""\salt=("[^"]{15,}"|'[^']{15,}')""", tag), tag[:200]
    assert '<html lang="en"' in text


PANDAS = """<h2 id="x">2. Clean<a class="anchor-link" href="#x">P</a></h2><table border="1" class="dataframe"><thead>
<tr style="text-align: right;"><th></th><th>Recall</th><th colspan="2">Both</th></tr></thead>
<tbody><tr><th>BPR</th><td>1</td></tr><tr><th rowspan="3">A</th><td>2</td></tr></tbody></table>"""


def test_a_table_of_pandas_gets_caption_and_scopes():
    spoken = speak_tables(PANDAS)
    assert "<caption>Table 1: Clean</caption><thead>" in spoken
    assert '<th scope="col">Recall</th>' in spoken and '<th scope="colgroup" colspan="2">' in spoken
    assert '<th scope="row">BPR</th>' in spoken and '<th scope="rowgroup" rowspan="3">' in spoken
    assert "<th></th>" not in spoken and spoken.count("<td></td>") == 1, "an empty header is none"
    assert speak_tables(spoken) == spoken, "a second call changes nothing"


def test_a_caption_that_is_there_is_kept_and_a_table_without_head_is_spoken_too():
    kept = speak_tables("<table><caption>Mine</caption><tr><th>a</th><td>1</td></tr></table>")
    assert kept.count("<caption") == 1 and "Mine" in kept and '<th scope="row">a</th>' in kept
    assert "<th>" not in speak_tables(
        "<table><thead><tr><th>a</th></tr></thead></table><table><tr><th>b</th></tr></table>"
    )


def test_markdown_tables_of_a_rendered_page_are_spoken(tmp_path):
    from utils.press.pages import write_page

    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# Title\n\n## Results\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")]
    )
    nbformat.write(notebook, tmp_path / "x.ipynb")
    write_page(tmp_path / "x.ipynb", tmp_path / "x.html", "Title")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<caption>Table 1: Results</caption>" in text and re.search(r'<th scope="col"[^>]*>a</th>', text)


def test_a_half_written_notebook_leaves_the_page_alone_and_says_so(tmp_path, capsys):
    from utils.press.pages import write_page

    executed, page = tmp_path / "x.ipynb", tmp_path / "x.html"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title\n\nFirst run.")])
    nbformat.write(notebook, executed)
    write_page(executed, page, "Title")
    first = page.read_text(encoding="utf-8")
    assert "First run." in first
    whole = executed.read_text(encoding="utf-8")
    executed.write_text(whole[: len(whole) // 2], encoding="utf-8")
    write_page(executed, page, "Title")
    assert page.read_text(encoding="utf-8") == first and "x.ipynb is not whole" in capsys.readouterr().out
    executed.write_text(whole.replace("First", "Second"), encoding="utf-8")
    write_page(executed, page, "Title")
    assert "Second run." in page.read_text(encoding="utf-8")


# --- handouts ---


def test_formulas_are_mathml_and_survive_markdown():
    text = to_html(r"| a |" + "\n|---|\n" + r"| $\vert U \vert * x_i * 2$ and `$HOME` |")
    assert text.count("<math") == 1 and "<em>" not in text and "$HOME" in text and text.count("<td>") == 1


def test_every_formula_of_the_handouts_renders():
    for text in (sheet.cheat_sheet(), sheet.glossary_page()):
        assert text.count("<math") > 15 and "$" not in re.sub(r"<[^>]+>", "", text) and "\\" not in text
        assert 'scope="col"' in text and "@@" not in text


def test_the_cheat_sheet_has_every_model_and_every_metric():
    from utils.evaluation.metrics import OVERALL, PER_USER
    from utils.lab.tables import MODEL_NAMES
    from utils.models import MODELS

    text = sheet.cheat_sheet()
    models = text.split("The recommenders of the course</h2>")[1].split("</section>")[0]
    for name, model in MODELS.items():
        row = re.search(rf"<td>{re.escape(MODEL_NAMES[name])}</td>(.*?)</tr>", models, re.S)
        assert row and model.schema.fusion in row[1] and model.schema.representation in row[1], name
    words = {"hr": "hit rate", "map": "MAP"}
    for metric in [*PER_USER, *OVERALL]:
        assert re.search(rf"<td>{words.get(metric, metric)}</td>", text, re.I), metric


@pytest.mark.browser
def test_the_cheat_sheet_fits_on_one_page(tmp_path):
    from utils.press.decks import browser

    if browser.find() is None:
        pytest.skip("no Chromium, Chrome or Edge here: no PDF")
    written = write(tmp_path)
    data = written[-1].read_bytes()
    assert written[-1].name == "cheat_sheet.pdf" and data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) == 1
    assert re.search(rb"/MediaBox\s*\[0 0 84[12][.\d]* 59[45][.\d]*\]", data), "A4, across"


def test_a_page_says_its_language_and_its_title():
    text = page("A & B", "<h1>x</h1>")
    assert '<html lang="en">' in text and "<title>A &amp; B</title>" in text and "<main>" in text


def names_in_code():
    """Every name that utils/ defines or uses."""
    found = set()
    for path in (ROOT / "utils").rglob("*.py"):
        found |= set(re.findall(r"[A-Za-z_]\w*", path.read_text(encoding="utf-8")))
    return found


def test_symbols_of_the_glossary_are_names_in_the_code():
    known, numbers = names_in_code(), {path.stem[:2] for path in NOTEBOOKS}
    symbols = sheet.symbols()
    assert len(symbols) >= 15
    for symbol, names, meaning, notebook in symbols:
        assert symbol.startswith("$") and meaning and notebook in numbers, symbol
        assert names and set(names) <= known, f"{symbol}: {set(names) - known} is no name in utils/"


def test_terms_of_the_glossary_are_used_where_it_says():
    texts = {path.stem[:2]: path.read_text(encoding="utf-8").lower() for path in NOTEBOOKS}
    for term, meaning, notebook in sheet.terms():
        word = term.lower()
        spoken = re.sub(r"[\s-]+", " ", re.sub(r'\\n|",?\s*"|[*_`]', " ", texts[notebook]))
        assert re.sub(r"[\s-]+", " ", word) in spoken, f"{term!r} does not occur in notebook {notebook}"
        assert meaning
