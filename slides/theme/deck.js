/* Starts reveal.js, and lights the lines of a code that a step names. */
function light(deck) {
  for (const pre of deck.querySelectorAll('pre.code')) {
    let mark = null, next = pre.nextElementSibling;
    while (next && next.classList.contains('code-step')) {
      if (next.classList.contains('visible')) mark = next;
      next = next.nextElementSibling;
    }
    const lit = mark ? mark.dataset.lines.split(',') : [];
    pre.classList.toggle('stepping', lit.length > 0);
    for (const line of pre.querySelectorAll('.line')) line.classList.toggle('lit', lit.includes(line.dataset.line));
  }
}
const printing = /view=print/.test(location.search);
Reveal.initialize({width: 1280, height: 720, margin: 0, center: false, hash: true, transition: 'none', controls: false,
  backgroundTransition: 'none', slideNumber: printing ? false : 'c/t', pdfSeparateFragments: false, pdfMaxPagesPerSlide: 1,
  pdfPageHeightOffset: 0, plugins: printing ? [] : [RevealNotes]});
if (!printing) for (const event of ['fragmentshown', 'fragmenthidden', 'slidechanged', 'ready'])
  Reveal.on(event, () => light(document));
