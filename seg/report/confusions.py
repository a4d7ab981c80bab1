"""A confusion matrix as a table that is read at 150 classes too, and its largest confusions in words."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from seg.data.sample import ClassInfo
from seg.report.html import scrolling, table

LISTED = 15  # confusions in words
LEVELS = 20  # shades


def confusion_section(matrix: np.ndarray, classes: Sequence[ClassInfo], unit: str) -> str:
    """matrix: (K, K) counts of `unit`, true classes down, predicted ones across."""
    present = np.flatnonzero((matrix.sum(0) + matrix.sum(1)) > 0).tolist()
    counts, names = matrix[np.ix_(present, present)], [classes[i].name for i in present]
    if not present:
        return "<p>Nothing was counted.</p>"
    absent = len(classes) - len(present)
    left_out = f" Neither in truth nor in predictions, and not listed: {absent} of {len(classes)} classes." if absent else ""
    text = (
        f"A row is a true class; its numbers say what its {unit} were called, in percent of the row:"
        ' <b class="hit">right</b> on the diagonal, <b class="miss">wrong</b> elsewhere; the more, the stronger the colour.'
        f" A dot is less than half a percent; blank is none at all.{left_out}"
    )
    hint = '<span class="scripted">Point at a cell, or move through the table with the arrow keys.</span>'
    grid = scrolling(_grid(counts, names, unit), "confusion matrix; it scrolls, and arrow keys move through its cells", "wide matrix")
    cell = f'<p class="cell" aria-live="polite">{hint}</p>'
    return f"<h3>Largest confusions</h3>{_largest(counts, names, unit)}<h3>All classes</h3><p>{text}</p>{cell}{grid}"


def confusions_of(matrix: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (true, predicted) that differ and were counted, the largest count first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
    return [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)]


def kinds_of_errors(matrix: np.ndarray, classes: Sequence[ClassInfo], least: float) -> dict[str, str]:
    """The confusions in one matrix (K, K) that take a share of `least` of its pixels or more, the largest first, and their shares."""
    total = max(1, int(matrix.sum()))
    shares = {(i, j): int(matrix[i, j]) / total for i, j in confusions_of(matrix)}
    return {f"{classes[i].name} called {classes[j].name}": _percent(share) for (i, j), share in shares.items() if share >= least}


def _largest(counts: np.ndarray, names: Sequence[str], unit: str) -> str:
    pairs, totals = confusions_of(counts), counts.sum(1)
    if not pairs:
        return "<p>None: every prediction is right.</p>"
    wrong = int(counts.sum() - np.trace(counts))
    rows = [
        f'<th scope="row">{escape(names[i])} was called {escape(names[j])}</th><td class="number">{int(counts[i, j]):,}</td>'
        f'<td class="number">{_percent(counts[i, j] / totals[i])}</td><td class="number">{_percent(counts[i, j] / wrong)}</td>'
        for i, j in pairs[:LISTED]
    ]
    more = f"<p>{len(pairs) - LISTED:,} smaller ones are in the table below.</p>" if len(pairs) > LISTED else ""
    return table(["confusion", unit, "share of the true class", "share of all that is wrong"], rows, "sortable worded") + more


def _percent(share: float) -> str:
    return f"{100 * share:.2f}\N{NO-BREAK SPACE}%" if share >= 1e-4 else "under 0.01\N{NO-BREAK SPACE}%"


def _grid(counts: np.ndarray, names: Sequence[str], unit: str) -> str:
    """The table; the counts travel with the cells, so that the script can name them."""
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    totals = counts.sum(1)
    rows = [
        f'<tr><th scope="row">{escape(name)}</th>{"".join(_cell(int(n), int(total), i == j) for j, n in enumerate(row))}</tr>'
        for i, (name, row, total) in enumerate(zip(names, counts.tolist(), totals.tolist(), strict=True))
    ]
    header = f'<thead><tr><th class="corner">true &#8595; called &#8594;</th>{head}</tr></thead>'
    return f'<table data-unit="{escape(unit)}">{header}<tbody>{"".join(rows)}</tbody></table>'


def _cell(count: int, total: int, right: bool) -> str:
    kind = "h" if right else "m"
    if not count:
        return f"<td{' class=h' if right else ''}></td>"
    share = count / total
    level = math.ceil(LEVELS * math.sqrt(share))  # so that a share of one percent, too, is seen
    return f'<td class="{kind} s{level}" data-n={count}>{round(100 * share) or "&middot;"}</td>'


STYLE = """
.matrix { max-height: min(85vh, 60rem); overflow: auto; border: 1px solid var(--line); width: fit-content; max-width: 100%; }
.matrix table { width: auto; border-collapse: separate; border-spacing: 0; font-size: .8rem; }
.matrix th, .matrix td { padding: .1rem .25rem; border: 0; border-right: 1px solid var(--line); border-bottom: 1px solid var(--line); }
.matrix td { min-width: 2.1rem; height: 1.7rem; text-align: center; font-variant-numeric: tabular-nums; }
.matrix td.h { outline: 1px solid var(--soft); outline-offset: -2px; }
.matrix th { background: var(--paper); font-weight: normal; position: sticky; z-index: 1; }
.matrix tbody th { left: 0; max-width: 9rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.matrix thead th { top: 0; vertical-align: bottom; text-align: left; }
.matrix thead th span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 9rem; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; display: inline-block; }
.matrix thead .corner { left: 0; z-index: 3 !important; color: var(--soft); white-space: nowrap; }
.matrix .on { outline: 3px solid var(--ink) !important; outline-offset: -3px; }
.matrix th.named { background: var(--bar); color: var(--paper); }
.worded tbody th { min-width: 11rem; font-weight: normal; }
.cell { min-height: 1.5em; font-weight: 600; }
b.hit { border-bottom: 4px solid var(--bar); } b.miss { border-bottom: 4px solid var(--wrong); }
""" + "".join(
    f".matrix .{kind}.s{n} {{ background: color-mix(in srgb, var({color}) calc({n / LEVELS:g} * var(--most)), var(--paper)); }}\n"
    for kind, color in (("h", "--bar"), ("m", "--wrong"))
    for n in range(1, LEVELS + 1)
)

SCRIPT = """
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
"""
