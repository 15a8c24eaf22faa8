/* A wrong choice is explained and may be tried again; the right one unfolds all explanations. The score counts what was
   right at the first try, so that trying again costs nothing but the score. */
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
