"""Quizzes as pages: one HTML file for each part that needs nothing else, for keyboard, screen reader and paper."""

from __future__ import annotations

import html
import re
from pathlib import Path

from utils import quiz as quizzes
from utils.files import atomic_path
from utils.pages import mathml
from utils.quiz import FOLDER, LETTERS, Question, Quiz

INSTRUCTOR = FOLDER.parent / "instructor"

# Nothing may be fetched and nothing sent: the browser itself sees to it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; form-action 'none'"

CSS = """
:root { color-scheme: light; }
body { font: 18px/1.5 system-ui, sans-serif; max-width: 860px; margin: 0 auto; padding: 24px; color: #1b1b1b; background: #fff; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 4px; } .lead { color: #444; margin-top: 0; }
a { color: #0b5394; } nav { font-size: 16px; margin-bottom: 20px; }
form { margin: 28px 0; } fieldset { border: 2px solid #767676; border-radius: 8px; padding: 12px 20px 16px; margin: 0; min-width: 0; }
legend { font-weight: 600; padding: 0; float: left; width: 100%; margin-bottom: 10px; } legend + * { clear: both; } legend small { display: block; font-weight: 400; color: #444; }
table { border-collapse: collapse; margin: 10px 0; font-size: 17px; display: block; overflow-x: auto; } th, td { border-bottom: 1px solid #aaa; padding: 3px 14px 3px 0; text-align: left; }
code { background: #f1f1f1; padding: 0 4px; border-radius: 3px; }
.option { display: grid; grid-template-columns: 28px 1fr; padding: 6px 8px; border-left: 6px solid transparent; }
.option input { width: 20px; height: 20px; margin: 4px 0 0; } .option label { cursor: pointer; }
.option label p, .why p, legend p { display: inline; margin: 0; }
.why { grid-column: 2; margin: 4px 0; color: #333; font-size: 17px; }
.told-right { border-left: 6px solid #00614a; background: #eef7f3; } .told-wrong { border-left: 6px dotted #8c2d04; background: #fdf3ec; }
button { font: inherit; padding: 6px 18px; border: 2px solid #0b5394; border-radius: 6px; background: #0b5394; color: #fff; cursor: pointer; }
button.plain { background: #fff; color: #0b5394; } :focus-visible { outline: 3px solid #d55e00; outline-offset: 2px; }
.act { margin: 12px 0 0; display: flex; gap: 12px; align-items: center; flex-wrap: wrap; } .verdict { font-weight: 600; margin: 0; }
.score { position: sticky; bottom: 0; background: #fff; border-top: 2px solid #767676; padding: 12px 0; display: flex; gap: 16px; align-items: center; }
.score p { margin: 0; font-weight: 600; }
body:has(.paper) { max-width: 1080px; } .paper table { display: table; width: 100%; font-size: 15px; } .paper th, .paper td { vertical-align: top; } .paper h2 { margin-top: 36px; }
.paper pre { background: none; white-space: pre-wrap; letter-spacing: -1px; color: #767676; } .paper pre code { background: none; }
.task-list-item { list-style: none; margin-left: -26px; } .task-list-item input { width: 17px; height: 17px; margin-right: 8px; vertical-align: -2px; } main.paper { overflow-wrap: break-word; }
@media print { .why { display: block !important; } .act, .score, nav { display: none; } form { break-inside: avoid; } }
"""

# A wrong choice is explained and may be tried again; the right one unfolds all explanations. The score counts what was
# right at the first try, so that trying again costs nothing but the score.
SCRIPT = """
const forms = [...document.querySelectorAll('form')], state = forms.map(() => ({tries: 0, first: false, done: false}));
const score = document.getElementById('score');
function tell() {
  const done = state.filter(s => s.done).length, first = state.filter(s => s.first).length;
  score.textContent = `${done} of ${forms.length} done, ${first} right at the first try.` +
    (done === forms.length ? ' That was the last one.' : '');
}
function unfold(option, right) {
  option.classList.add(right ? 'told-right' : 'told-wrong');
  const why = option.querySelector('.why');
  why.hidden = false;
  option.querySelector('input').setAttribute('aria-describedby', why.id);  // only now: hidden text would be read aloud
}
function fold(form) {
  for (const option of form.querySelectorAll('.option')) {
    option.classList.remove('told-right', 'told-wrong');
    option.querySelector('.why').hidden = true;
    option.querySelector('input').removeAttribute('aria-describedby');
  }
}
function mark(form, s, give_up) {
  const options = [...form.querySelectorAll('.option')], pick = Number(form.dataset.pick);
  const right = o => o.dataset.right === 'yes', chosen = options.filter(o => o.querySelector('input').checked);
  const verdict = form.querySelector('.verdict');
  if (!give_up && chosen.length !== pick) {
    verdict.textContent = pick === 1 ? 'Choose one answer.' : `Choose ${pick} answers.`;
    return;
  }
  const solved = !give_up && chosen.every(right);
  if (!s.done) { s.tries += 1; s.first = solved && s.tries === 1; s.done = solved || give_up; }
  fold(form);
  for (const option of solved || give_up ? options : chosen) unfold(option, right(option));
  const found = chosen.filter(right).length;
  verdict.textContent = solved ? 'Right. Read why the others are not.' :
    give_up ? 'Here is the answer, with the reasons.' :
    (found ? `Not yet: ${found} of ${pick} right.` : 'Not this one. Read why, and choose again.');
  tell();
}
forms.forEach((form, k) => {
  form.addEventListener('submit', event => { event.preventDefault(); mark(form, state[k], false); });
  form.querySelector('.show').addEventListener('click', () => mark(form, state[k], true));
});
document.getElementById('again').addEventListener('click', () => {
  forms.forEach((form, k) => {
    form.reset(); fold(form); form.querySelector('.verdict').textContent = '';
    state[k] = {tries: 0, first: false, done: false};
  });
  tell(); window.scrollTo(0, 0); forms[0].querySelector('input').focus();
});
"""


def markdown(text: str) -> str:
    """Return a text as HTML: emphasis, code, tables, and maths as MathML."""
    import mistune

    return mistune.create_markdown(escape=False, plugins=["table", "task_lists"])(mathml(text.strip())).strip()


def page(quiz: Quiz) -> str:
    """Return the page of one quiz."""
    forms = "".join(_form(question, n, len(quiz.questions)) for n, question in enumerate(quiz.questions, 1))
    title = html.escape(f"Quiz {quiz.part}: {quiz.title}")
    body = f"""<nav><a href="index.html">All quizzes</a></nav><main><h1>{title}</h1>
<p class="lead">{len(quiz.questions)} questions. Nothing is stored or sent. The answers are in notebook
<code>{html.escape(quiz.notebook)}</code>; numbers come from its record.</p>
<noscript><style>.why {{ display: block !important; }} .act, .score {{ display: none; }}</style>
<p>Scripts are off, so every explanation is shown at once.</p></noscript>
{forms}
<div class="score"><p id="score" role="status" aria-live="polite">0 of {len(quiz.questions)} done.</p>
<button type="button" class="plain" id="again">Try again from the start</button></div></main>
<script>{SCRIPT}</script>"""
    return _document(title, body)


def _form(question: Question, number: int, total: int) -> str:
    """Return one question: the first paragraph is the legend, the rest (a table, say) describes the group."""
    first, *rest = re.split(r"\n\s*\n", question.ask.strip(), maxsplit=1)
    several = "" if question.pick == 1 else f" Choose {question.pick} answers."
    more = f'<div id="more-{number}">{markdown(rest[0])}</div>' if rest else ""
    described = f' aria-describedby="more-{number}"' if rest else ""
    kind = "radio" if question.pick == 1 else "checkbox"
    rows = ""
    for letter, option in zip(LETTERS, question.options):
        key, word = f"q{number}{letter}", "Right" if option.right else "Wrong"
        rows += (
            f'<div class="option" data-right="{"yes" if option.right else "no"}">'
            f'<input type="{kind}" name="q{number}" id="{key}" value="{letter}">'
            f'<label for="{key}">{markdown(option.text)}</label>'
            f'<div class="why" id="why-{key}" hidden><strong>{word}.</strong> {markdown(option.because)}</div></div>'
        )
    return f"""<form data-pick="{question.pick}"><fieldset{described}>
<legend><small>Question {number} of {total}.{several}</small>{markdown(first)}</legend>{more}{rows}
<div class="act"><button type="submit">Check</button><button type="button" class="plain show">Show the answer</button>
<p class="verdict" role="status" aria-live="polite"></p></div></fieldset></form>
"""


def _document(title: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<title>{title}</title><style>{CSS}</style></head><body>
{body}
</body></html>
"""


def build(out: Path, folder: Path = FOLDER) -> list[Path]:
    """Write a page for every quiz, and an index; return the paths.

    Raises:
        CourseError: a source is no quiz; nothing is written then.
    """
    loaded = [quizzes.load(part, folder) for part in quizzes.parts(folder)]
    pages = {f"{quiz.part}.html": page(quiz) for quiz in loaded}
    rows = "".join(
        f'<li><a href="{quiz.part}.html">{html.escape(f"{quiz.part} {quiz.title}")}</a>, {len(quiz.questions)} questions</li>'
        for quiz in loaded
    )
    lead = "Check what you understood, part by part. Every answer, right or wrong, says why. Nothing is stored or sent."
    body = f'<main><h1>Quizzes</h1><p class="lead">{lead}</p><ul>{rows}</ul></main>'
    pages["index.html"] = _document("Quizzes", body)
    for name, text in pages.items():
        with atomic_path(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [out / name for name in pages]


def build_instructor(out: Path, folder: Path = INSTRUCTOR) -> list[Path]:
    """Write the instructor's pages, README.md as index.html, and the feedback form, ready for print; return the paths."""
    written = []
    for source in sorted(folder.glob("*.md")):
        text = source.read_text(encoding="utf-8").replace("](feedback.md)", "](feedback.html)")
        text = text.replace("( ) ", "&emsp;&#9675;&nbsp;").replace("( )", "&#9675;")  # circles to tick on paper
        title = html.escape(text.splitlines()[0].lstrip("# "))
        target = out / ("index.html" if source.stem == "README" else f"{source.stem}.html")
        with atomic_path(target) as temporary:
            temporary.write_text(_document(title, f'<main class="paper">{markdown(text)}</main>'), encoding="utf-8")
        written.append(target)
    return written
