/* The slider of the fusion dial: the middle row is the second of the grid, its name, then its tiles.
   All pictures are in the page already. */
(() => {
  const me = document.currentScript, box = me.parentElement, data = JSON.parse(me.previousElementSibling.textContent);
  const cells = [...box.querySelectorAll('.tiles > div')], row = cells.slice(cells.length / 3, 2 * cells.length / 3);
  const slider = box.querySelector('input'), says = box.querySelector('output');
  const turn = () => {
    const now = data.rows[slider.value];
    row[0].textContent = now.name; says.textContent = now.says;
    now.items.forEach(([item, hit], at) => {
      const tile = row[at + 1], image = tile.querySelector('img'), title = data.titles[item];
      tile.className = hit ? 'tile hit' : 'tile';
      image.src = data.pictures[item]; image.alt = title; tile.querySelector('.label').textContent = title;
    });
  };
  slider.addEventListener('input', turn);
  slider.addEventListener('keydown', event => event.stopPropagation());
})();
