(() => {
  const root = document.querySelector('.gallery');
  if (!root) return;
  const entries = [...root.querySelectorAll('.entry')], selects = [...root.querySelectorAll('select')];
  const shown = root.querySelector('#shown');
  const radios = [...root.querySelectorAll('[name=layer]')], dialog = root.querySelector('dialog'), panes = dialog.querySelector('.panes');
  const names = JSON.parse(root.querySelector('#names').textContent), pixel = dialog.querySelector('.pixel');
  const words = Object.fromEntries(radios.map(r => [r.value, r.dataset.word])), kinds = Object.keys(words);
  const colored = radios.filter(r => r.dataset.colors).map(r => [r.value, r.dataset.colors]);
  let at = null, zoom = 1, all = false, maps = {};

  const filter = () => {
    for (const entry of entries)
      entry.hidden = !selects.every(s => !s.value || JSON.parse(entry.dataset[s.dataset.of]).includes(s.value));
    shown.textContent = `${entries.filter(e => !e.hidden).length} of ${entries.length} images`;
  };
  for (const select of selects) select.addEventListener('change', filter);
  for (const form of root.querySelectorAll('form')) form.addEventListener('submit', event => event.preventDefault());
  root.querySelector('#strength').addEventListener('input', event => root.style.setProperty('--strength', event.target.value / 100));

  const layer = () => radios.find(r => r.checked).value;
  const choose = value => {
    radios.find(r => r.value === value).checked = true;
    if (dialog.open) { all = false; draw(); }
  };

  const scrolled = () => panes.querySelectorAll('.pane');
  const arrange = () => {
    const [w, h] = at.querySelector('.stack').style.aspectRatio.split('/').map(Number), n = kinds.length;
    const rows = columns => Math.ceil(n / columns);
    const width = columns => Math.min(panes.clientWidth / columns, panes.clientHeight / rows(columns) * w / h);
    const columns = kinds.map((_, i) => i + 1).reduce((best, c) => width(c) > width(best) ? c : best);
    panes.style.setProperty('--columns', columns);
    panes.style.setProperty('--rows', rows(columns));
  };
  const fit = () => {
    arrange();
    for (const pane of scrolled()) {
      const stack = pane.lastElementChild, [w, h] = stack.style.aspectRatio.split('/').map(Number);
      const width = Math.min(pane.clientWidth, pane.clientHeight * w / h) * zoom;
      stack.style.width = `${Math.max(16, width)}px`;
    }
  };
  const draw = () => {
    const stack = at.querySelector('.stack');
    panes.classList.toggle('all', all);
    panes.replaceChildren(...(all ? kinds : [layer()]).map(kind => {
      const [framed, pane, copy] = ['div', 'div', 'div'].map(tag => document.createElement(tag)), title = document.createElement('b');
      framed.className = 'framed';
      pane.className = `pane ${kind}`;
      pane.tabIndex = 0;
      title.textContent = words[kind];
      copy.className = 'stack';
      copy.style.aspectRatio = stack.style.aspectRatio;
      copy.append(...[...stack.children].map(img => { const c = img.cloneNode(); c.loading = 'eager'; return c; }));
      pane.append(copy);
      framed.append(title, pane);
      return framed;
    }));
    dialog.querySelector('#large-name').textContent = at.querySelector('.id').textContent;
    for (const button of dialog.querySelectorAll('[data-layer]'))
      button.setAttribute('aria-pressed', all ? button.dataset.layer === 'all' : button.dataset.layer === layer());
    pixel.textContent = 'Point at the image to see what is there.';
    fit();
  };
  const open = entry => {
    at = entry;
    maps = {};
    zoom = 1;
    if (!dialog.open) dialog.showModal();
    draw();
  };
  const step = by => {
    const list = entries.filter(e => !e.hidden), next = list[(list.indexOf(at) + by + list.length) % list.length];
    if (next) open(next);
  };
  const enlarge = (by, x, y) => {
    const before = zoom, pane = scrolled()[0];
    zoom = Math.max(.25, Math.min(32, zoom * by));
    const middle = [x ?? pane.clientWidth / 2, y ?? pane.clientHeight / 2], ratio = zoom / before;
    const to = [(pane.scrollLeft + middle[0]) * ratio - middle[0], (pane.scrollTop + middle[1]) * ratio - middle[1]];
    fit();
    for (const p of scrolled()) [p.scrollLeft, p.scrollTop] = to;
  };
  for (const entry of entries) entry.querySelector('.stack').addEventListener('click', () => open(entry));
  dialog.addEventListener('click', event => {
    const button = event.target.closest('button'), set = button ? button.dataset : {};
    if (set.layer === 'all') { all = true; draw(); }
    else if (set.layer) choose(set.layer);
    else if (set.zoom) enlarge(Number(set.zoom));
    else if (set.step) step(Number(set.step));
    else if ('close' in set) dialog.close();
  });
  dialog.addEventListener('close', () => {
    panes.replaceChildren();
    at.querySelector('.stack').focus();
  });
  panes.addEventListener('wheel', event => {
    const pane = event.target.closest('.pane');
    if (!pane) return;
    event.preventDefault();
    const box = pane.getBoundingClientRect();
    enlarge(event.deltaY < 0 ? 1.25 : .8, event.clientX - box.left, event.clientY - box.top);
  }, {passive: false});
  panes.addEventListener('scroll', event => {
    for (const pane of scrolled())
      if (pane !== event.target) [pane.scrollLeft, pane.scrollTop] = [event.target.scrollLeft, event.target.scrollTop];
  }, true);
  window.addEventListener('resize', () => dialog.open && fit());

  const map = kind => {
    if (!(kind in maps)) {
      const img = panes.querySelector(`.layer.${kind}`), canvas = document.createElement('canvas');
      if (!img.complete || !img.naturalWidth) return null;
      [canvas.width, canvas.height] = [img.naturalWidth, img.naturalHeight];
      const context = canvas.getContext('2d', {willReadFrequently: true});
      context.drawImage(img, 0, 0);
      maps[kind] = context.getImageData(0, 0, canvas.width, canvas.height);
    }
    return maps[kind];
  };
  const nearest = (table, color) => {
    let best = null, least = 40;
    for (const [key, name] of Object.entries(table)) {
      const far = key.split(',').reduce((sum, c, i) => sum + Math.abs(c - color[i]), 0);
      if (far < least) [best, least] = [name, far];
    }
    return best;
  };
  const read = (kind, table, x, y) => {
    const image = map(kind);
    if (!image) return null;
    const column = Math.min(image.width - 1, Math.floor(x * image.width)), row = Math.min(image.height - 1, Math.floor(y * image.height));
    const color = image.data.slice(4 * (row * image.width + column), 4 * (row * image.width + column) + 4);
    return color[3] ? nearest(names[table], color) : null;
  };
  panes.addEventListener('pointermove', event => {
    const stack = event.target.closest('.stack');
    if (!stack) return;
    const box = stack.getBoundingClientRect(), x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
    if (x < 0 || y < 0 || x >= 1 || y >= 1) return;
    const said = colored.map(([kind, table]) => [kind, table, read(kind, table, x, y)]);
    pixel.textContent = said.filter(([, table, name]) => name || table === 'classes')
      .map(([kind, table, name]) => table === 'classes' ? `${words[kind]}: ${name || 'none'}` : name).join('; ');
  });

  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('select')) return;
    const value = kinds[Number(event.key) - 1];
    if (value) choose(value);
    if (!dialog.open) return;
    if (event.key === String(kinds.length + 1)) { all = true; draw(); }
    if (event.key === '+' || event.key === '=') enlarge(1.25);
    if (event.key === '-') enlarge(.8);
    if (zoom <= 1 && (event.key === 'ArrowRight' || event.key === 'ArrowLeft')) step(event.key === 'ArrowRight' ? 1 : -1);
  });
})();
