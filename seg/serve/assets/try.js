'use strict';
{
  const $ = (id) => document.getElementById(id);
  const MOST = 500; // corners that are shown to be moved, and objects that are listed
  let model, file, found, objects = [], chosen = null, at = null, past = [], scale = 1, asked = 0;

  const element = (name, attributes = {}, ...inside) => {
    const svg = ['path', 'circle'].includes(name);
    const made = svg ? document.createElementNS($('drawn').namespaceURI, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...inside);
    return made;
  };
  const say = (text, wrong = false) => { $('said').textContent = text; $('said').classList.toggle('wrong', wrong); };
  const color = (name) => model.classes.find((one) => one.name === name)?.color ?? '#888888';

  async function ask(path, options = {}) {
    const token = sessionStorage.getItem('token');
    const answer = await fetch(path, {...options, headers: token ? {Authorization: `Bearer ${token}`} : {}});
    if (answer.ok) return answer;
    if (answer.status === 401) $('token-form').hidden = false;
    const text = await answer.text();
    let said = text;
    try { said = JSON.parse(text).detail; } catch { /* not JSON */ }
    throw new Error(said);
  }
  const told = (work) => work.catch((error) => say(error.message || 'the service does not answer', true));

  function predict(kind, query = '') {
    const form = new FormData();
    form.append('file', file, file.name);
    return ask(`predict?as=${kind}${query}`, {method: 'POST', body: form});
  }

  async function begin() {
    model = await (await ask('model')).json();
    $('token-form').hidden = true;
    $('file').accept = model.suffixes.join(',');
    $('score').value = model.task === 'semantic' ? 0 : model.score_threshold;
    for (const one of model.classes) {
      const box = element('input', {type: 'checkbox', value: one.name});
      box.checked = true;
      box.addEventListener('change', draw);
      const swatch = element('i', {class: 'swatch'});
      swatch.style.background = one.color;
      $('classes').append(element('label', {}, box, ' ', swatch, one.name));
      $('label').append(element('option', {}, one.name));
    }
    for (const [number, name] of model.samples.entries()) {
      const data = await (await ask(`samples/${number}`)).blob();
      const picture = element('img', {src: URL.createObjectURL(data), alt: name});
      const button = element('button', {type: 'button', title: name}, picture);
      button.addEventListener('click', () => told(open(new File([data], name))));
      $('samples').append(button);
    }
  }

  async function open(given) {
    file = given;
    URL.revokeObjectURL($('photo').src);
    $('photo').hidden = false;
    $('photo').src = URL.createObjectURL(file);
    $('tolerance').value = '0';
    await see();
  }

  async function see() {
    const mine = ++asked, start = performance.now();
    say(`${file.name} is being predicted`);
    const answer = await (await predict('labelme', `&score_threshold=0&tolerance=${$('tolerance').value}`)).json();
    if (mine !== asked) return;
    found = answer;
    past = [];
    const groups = new Map();
    for (const shape of found.shapes) {
      const key = shape.group_id ?? shape;
      groups.set(key, [...(groups.get(key) ?? []), shape]);
    }
    objects = [...groups.values()];
    choose(null);
    $('work').hidden = false;
    fit();
    say(`${file.name}: ${found.imageWidth} x ${found.imageHeight} pixels, ${((performance.now() - start) / 1000).toFixed(2)} s`);
  }

  const score = (object) => object[0].description === '' ? 1 : Number(object[0].description);
  const kept = () => objects.filter((object) => score(object) >= Number($('score').value));

  function fit() {
    const {imageWidth: width, imageHeight: height} = found;
    scale = Math.min($('image').clientWidth / width, innerHeight * .7 / height) * 2 ** Number($('zoom').value);
    $('layers').style.width = `${width * scale}px`;
    $('layers').style.height = `${height * scale}px`;
    $('drawn').setAttribute('viewBox', `0 0 ${width} ${height}`);
    draw();
  }

  function draw() {
    if (!found) return;
    const shown = new Set([...$('classes').querySelectorAll('input:checked')].map((box) => box.value));
    const visible = kept().filter((object) => shown.has(object[0].label));
    $('score-shown').textContent = Number($('score').value).toFixed(2);
    $('drawn').replaceChildren(...visible.map((object) => {
      const d = object.map((shape) => `M${shape.points.join('L')}Z`).join('');
      const path = element('path', {d, class: `object${object === chosen ? ' chosen' : ''}`, fill: color(object[0].label),
        'fill-opacity': $('opacity').value, stroke: color(object[0].label), 'fill-rule': 'evenodd'});
      path.addEventListener('click', () => choose(object));
      return path;
    }));
    $('objects').replaceChildren(...visible.slice(0, MOST).map((object) => {
      const button = element('button', {type: 'button', 'aria-pressed': object === chosen},
        `${object[0].label}${object[0].description && ` ${score(object).toFixed(2)}`}`);
      button.addEventListener('click', () => { choose(object); $('objects').querySelector('[aria-pressed=true]')?.focus(); });
      return element('li', {}, button);
    }));
    $('count').textContent = `${visible.length} of ${objects.length} objects`;
    document.querySelector('[data-do=undo]').disabled = !past.length;
    corners();
  }

  function corners() {
    $('editing').hidden = !chosen;
    if (!chosen) return;
    $('label').value = chosen[0].label;
    const count = chosen.reduce((sum, shape) => sum + shape.points.length, 0);
    $('corners').textContent = count > MOST ? `${count} corners are too many to move one by one; choose fewer at Corners` : `${count} corners`;
    if (count > MOST) return;
    const radius = (matchMedia('(pointer: coarse)').matches ? 11 : 6) / scale;
    for (const shape of chosen) {
      for (const [index, [x, y]] of shape.points.entries()) {
        const here = at && at.shape === shape && at.index === index;
        const corner = element('circle', {cx: x, cy: y, r: radius, tabindex: 0, role: 'button', class: `corner${here ? ' at' : ''}`,
          'aria-label': `corner ${index + 1} of ${shape.points.length}, ${x}, ${y}`});
        corner.addEventListener('focus', () => mark(shape, index, corner));
        corner.addEventListener('keydown', (event) => pressed(event, shape, index));
        corner.addEventListener('pointerdown', (event) => dragged(event, shape, index, corner));
        $('drawn').append(corner);
        if (here) corner.focus({preventScroll: true});
      }
    }
  }

  function mark(shape, index, corner) {
    at = {shape, index};
    for (const other of $('drawn').querySelectorAll('.at')) other.classList.remove('at');
    corner.classList.add('at');
  }

  function choose(object) { chosen = object; at = null; draw(); }
  function keep() { past = [...past.slice(-99), JSON.stringify([objects, objects.indexOf(chosen)])]; }
  function undo() {
    const [before, place] = JSON.parse(past.pop());
    objects = before;
    choose(objects[place] ?? null);
  }
  const within = (x, y) => [Math.min(Math.max(x, 0), found.imageWidth), Math.min(Math.max(y, 0), found.imageHeight)];

  function pressed(event, shape, index) {
    const by = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (by) {
      event.preventDefault();
      keep();
      const [x, y] = shape.points[index], step = event.shiftKey ? 10 : 1;
      shape.points[index] = within(x + by[0] * step, y + by[1] * step);
      draw();
    } else if (event.key === 'Delete' || event.key === 'Backspace') {
      event.preventDefault();
      remove();
    }
  }

  function dragged(event, shape, index, corner) {
    event.preventDefault();
    corner.setPointerCapture(event.pointerId);
    mark(shape, index, corner);
    keep();
    const move = (moved) => {
      const box = $('drawn').getBoundingClientRect();
      const place = within((moved.clientX - box.left) / scale, (moved.clientY - box.top) / scale).map((value) => Math.round(value * 10) / 10);
      shape.points[index] = place;
      corner.setAttribute('cx', place[0]);
      corner.setAttribute('cy', place[1]);
      $('drawn').querySelector('.chosen').setAttribute('d', chosen.map((one) => `M${one.points.join('L')}Z`).join(''));
    };
    corner.addEventListener('pointermove', move);
    corner.addEventListener('pointerup', draw, {once: true});
  }

  function add() {
    const shape = at?.shape ?? chosen[0], index = at?.index ?? 0, next = shape.points[(index + 1) % shape.points.length];
    keep();
    shape.points.splice(index + 1, 0, shape.points[index].map((value, axis) => (value + next[axis]) / 2));
    at = {shape, index: index + 1};
    draw();
  }
  function remove() {
    if (!at) return say('choose a corner first');
    if (at.shape.points.length < 4) return say('a polygon has three corners at least; remove the object instead');
    keep();
    at.shape.points.splice(at.index, 1);
    at = {shape: at.shape, index: at.index % at.shape.points.length};
    draw();
  }
  function drop() {
    keep();
    objects = objects.filter((object) => object !== chosen);
    choose(null);
  }

  async function save(kind) {
    let content, ending = kind === 'png' ? '.png' : kind === 'coco' ? '.coco.json' : '.json';
    if (kind === 'labelme') {
      content = new Blob([JSON.stringify({...found, shapes: kept().flat()}) + '\n'], {type: 'application/json'});
    } else {
      content = await (await predict(kind, `&score_threshold=${$('score').value}`)).blob();
    }
    const link = element('a', {href: URL.createObjectURL(content), download: file.name.replace(/\.[^.]*$/, '') + ending});
    link.click();
    say(`${link.download} is saved`);
  }

  $('file').addEventListener('change', () => $('file').files[0] && told(open($('file').files[0])));
  $('photo').addEventListener('error', () => { $('photo').hidden = true; });
  $('tolerance').addEventListener('change', () => told(see()));
  for (const id of ['score', 'opacity']) $(id).addEventListener('input', draw);
  $('zoom').addEventListener('input', fit);
  addEventListener('resize', () => found && fit());
  $('label').addEventListener('change', () => { keep(); for (const shape of chosen) shape.label = $('label').value; draw(); });
  $('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem('token', $('token').value);
    told(begin().then(() => say('')));
  });
  for (const button of document.querySelectorAll('[data-do]')) button.addEventListener('click', () => ({add, remove, drop, undo})[button.dataset.do]());
  for (const button of document.querySelectorAll('[data-save]')) button.addEventListener('click', () => told(save(button.dataset.save)));
  for (const kind of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle('over', kind === 'dragover');
      if (kind === 'drop' && event.dataTransfer.files[0]) told(open(event.dataTransfer.files[0]));
    });
  }
  told(begin());
}
