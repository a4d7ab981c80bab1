(() => {
  const grid = document.querySelector('.matrix table');
  if (!grid) return;
  const words = document.querySelector('.cell'), box = grid.parentElement;
  const names = [...grid.tHead.rows[0].cells].slice(1).map(cell => cell.textContent);
  const totals = new Map();
  let on = null;
  const total = row => {
    if (!totals.has(row)) totals.set(row, [...row.cells].reduce((sum, cell) => sum + Number(cell.dataset.n || 0), 0));
    return totals.get(row);
  };
  const show = cell => {
    if (!cell || cell === on) return;
    if (on) for (const old of grid.querySelectorAll('.on, .named')) old.classList.remove('on', 'named');
    on = cell;
    const row = cell.parentElement, n = Number(cell.dataset.n || 0), all = total(row), truth = names[row.sectionRowIndex];
    const called = names[cell.cellIndex - 1];
    cell.classList.add('on');
    row.cells[0].classList.add('named');
    grid.tHead.rows[0].cells[cell.cellIndex].classList.add('named');
    const counted = `${n.toLocaleString('en')} of ${all.toLocaleString('en')} ${grid.dataset.unit}`;
    words.textContent = all
      ? `${truth} called ${called}: ${n ? (100 * n / all).toPrecision(3) : 0} % (${counted})`
      : `${truth} does not occur in the truth`;
  };
  const cellOf = event => event.target.closest('.matrix td');
  grid.addEventListener('pointerover', event => show(cellOf(event)));
  grid.addEventListener('click', event => show(cellOf(event)));
  box.addEventListener('focus', () => show(on || grid.tBodies[0].rows[0].cells[1]));
  box.addEventListener('keydown', event => {
    const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const from = on || grid.tBodies[0].rows[0].cells[1], clip = n => Math.max(0, Math.min(names.length - 1, n));
    const cell = grid.tBodies[0].rows[clip(from.parentElement.sectionRowIndex + step[0])].cells[1 + clip(from.cellIndex - 1 + step[1])];
    show(cell);
    const head = grid.tHead.offsetHeight, side = cell.parentElement.cells[0].offsetWidth;
    const top = cell.offsetTop, left = cell.offsetLeft;
    if (top - head < box.scrollTop) box.scrollTop = top - head;
    if (top + cell.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + cell.offsetHeight - box.clientHeight;
    if (left - side < box.scrollLeft) box.scrollLeft = left - side;
    if (left + cell.offsetWidth > box.scrollLeft + box.clientWidth) box.scrollLeft = left + cell.offsetWidth - box.clientWidth;
  });
})();
