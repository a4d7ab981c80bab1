"""report.html: an evaluation on one page, in one file that needs no network, and no script but for its filters and its close-ups."""

import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from seg.core.errors import plural
from seg.evaluation.bootstrap import few_images
from seg.report import charts, confusions, gallery_code
from seg.report.charts import histogram, reliability_chart
from seg.report.confusions import confusion_section
from seg.report.dataset_summary import class_table, split_table
from seg.report.gallery import gallery_section
from seg.report.html import bar, class_name, data_uri, document, number, table, whole
from seg.report.learning import learning_section
from seg.report.page_data import Calibration, Evaluation, Figure, ImageRow, Table

LISTED = 100  # images in the table of images; per_image.csv has all
BINS = 20  # of the distribution of the images' scores


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write the page: whole, or not at all."""
    sections = {
        "summary": ("Summary", _summary(evaluation)),
        "learning": ("Learning curves", learning_section(evaluation.history, evaluation.best_epoch)),
        "classes": ("Classes", _classes(evaluation)),
        "confusions": ("Confusions", _confusions(evaluation)),
        "images": ("Images", _images(evaluation)),
        "gallery": (
            "Gallery",
            gallery_section(evaluation.gallery, evaluation.classes, evaluation.score_name) if len(evaluation.gallery) else "",
        ),
        "calibration": ("Calibration", _calibration(evaluation.calibration)),
        "tables": ("More figures", "".join(map(_more, evaluation.tables))),
        "augmentation": ("Augmentation", _preview(evaluation.preview)),
        "data": ("The data set", _data_set(evaluation)),
    }
    there = {name: section for name, section in sections.items() if section[1]}
    links = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, (heading, _) in there.items())
    body = [
        f"<h1>{escape(evaluation.title)}</h1>",
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>',
        *(f'<section id="{name}"><h2>{heading}</h2>{content}</section>' for name, (heading, content) in there.items()),
    ]
    style = STYLE + charts.STYLE + confusions.STYLE + gallery_code.STYLE
    page = document(
        evaluation.title, style, ("summary", "Skip to the summary"), "\n".join(body), SCRIPT + confusions.SCRIPT + gallery_code.SCRIPT
    )
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(page)
    os.replace(partial, path)


def _summary(evaluation: Evaluation) -> str:
    headline = evaluation.headline
    columns = {
        "figure": [f'<th scope="row">{escape(figure.name)}</th>' for figure in headline],
        "value": [f'<td class="number"><strong>{number(figure.value)}</strong></td>' for figure in headline],
        "interval": [f'<td class="number">{_interval(figure)}</td>' for figure in headline],
        "from 0 to 1": [f"<td>{_scale(figure)}</td>" for figure in headline],
        "what it is": [f"<td>{escape(figure.text)}</td>" for figure in headline],
    }
    needed = {"interval": any(map(_interval, headline)), "what it is": any(figure.text for figure in headline)}
    shown = {name: cells for name, cells in columns.items() if needed.get(name, True)}
    figures = table(list(shown), ["".join(cells) for cells in zip(*shown.values(), strict=True)], "headline")
    intervals = f"<p>Intervals: {escape(evaluation.intervals)}.</p>" if evaluation.intervals and needed["interval"] else ""
    counted = f"<p>{plural(len(evaluation.images), 'image')} of the split <strong>{escape(evaluation.split)}</strong>.</p>"
    if warned := few_images(len(evaluation.images)):
        counted += f"<p>{escape(warned[0].upper() + warned[1:])}.</p>"
    return counted + figures + intervals + _settings(evaluation.settings)


def _settings(settings: Mapping[str, Any]) -> str:
    if not settings:
        return ""
    rows = [f'<th scope="row"><code>{escape(key)}</code></th><td>{escape(str(value))}</td>' for key, value in settings.items()]
    return f"<details><summary>Settings of the run: {len(rows)}</summary>{table(['key', 'value'], rows, 'settings')}</details>"


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f"{number(figure.low)} to {number(figure.high)}"


def _scale(figure: Figure) -> str:
    """The value as a line, its interval as a band, where they lie between 0 and 1."""
    low, high = (figure.value if v is None else v for v in (figure.low, figure.high))
    if not all(math.isfinite(v) and 0 <= v <= 1 for v in (figure.value, low, high)):
        return ""
    band = f'<span style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></span>'
    return f'<span class="scale">{band}<i style="left:{100 * figure.value:.2f}%"></i></span>'


def _classes(evaluation: Evaluation) -> str:
    if not evaluation.per_class:
        return ""
    colors = {info.name: info.color for info in evaluation.classes}
    columns = list(next(iter(evaluation.per_class.values())))
    shares = {
        c for c in columns if all(math.isnan(row[c]) or 0 <= row[c] <= 1 for row in evaluation.per_class.values()) and c[:4] != "num_"
    }
    rows = []
    for name, row in evaluation.per_class.items():
        head = class_name(name, colors[name]) if name in colors else escape(name)
        cells = "".join(_class_cell(row[c], c in shares) for c in columns)
        rows.append(f'<th scope="row" class="class">{head}</th>{cells}')
    absent = sum(all(math.isnan(v) for v in row.values()) for row in evaluation.per_class.values())
    text = f"<p>Without truth and prediction, and so without figures: {absent} of {len(rows)} classes.</p>" if absent else ""
    return table(["class", *columns], rows, "sortable bars") + text


def _class_cell(value: float, share: bool) -> str:
    shown = bar(value) if share and math.isfinite(value) else ""
    return f'<td class="number">{number(float(value) if share else whole(value))}{shown}</td>'


def _confusions(evaluation: Evaluation) -> str:
    return "" if evaluation.confusion is None else confusion_section(evaluation.confusion, evaluation.classes, evaluation.confusion_unit)


def _images(evaluation: Evaluation) -> str:
    scored = sorted((row for row in evaluation.images if math.isfinite(row.score)), key=lambda row: (row.score, row.image_id))
    if not scored:
        return ""
    scores, name = np.array([row.score for row in scored]), evaluation.score_name
    low, high = (0.0, 1.0) if scores.min() >= 0 and scores.max() <= 1 else (float(scores.min()), float(scores.max()) + 1e-9)
    counts, edges = np.histogram(scores, BINS, (low, high))
    median = float(np.median(scores))
    said = f"{name} of {plural(len(scored), 'image')}: lowest {scores[0]:.4g}, highest {scores[-1]:.4g}, median {median:.4g}"
    chart = histogram(said, f"{name} of an image", edges.tolist(), counts.tolist(), "images", median)
    without = len(evaluation.images) - len(scored)
    rest = f" Without a score, as nothing in them counts: {plural(without, 'image')}." if without else ""
    return (
        f"<p>How many images (up) have which score (across). {escape(said)}, the dashed line.{rest}</p>{chart}{_image_table(scored, name)}"
    )


def _image_table(scored: Sequence[ImageRow], name: str) -> str:
    columns = [key for key in scored[0].figures if key != name]
    rows = [
        f'<th scope="row" class="id">{escape(row.image_id)}</th><td class="number">{number(row.score)}</td>'
        + "".join(f'<td class="number">{number(row.figures.get(key))}</td>' for key in columns)
        for row in scored[:LISTED]
    ]
    title = (
        f"The {len(rows)} lowest of {len(scored)} images; per_image.csv has all" if len(scored) > LISTED else "All images, the lowest first"
    )
    return f"<details><summary>{title}</summary>{table(['image', name, *columns], rows, 'sortable')}</details>"


def _calibration(calibration: Calibration | None) -> str:
    if calibration is None:
        return ""
    c = calibration
    chart = reliability_chart(f"reliability: expected calibration error {c.error:.4f}", c.confidence, c.accuracy, c.counts, c.unit)
    rows = [
        f'<td class="number">{low:.2f} to {high:.2f}</td><td class="number">{number(float(said))}</td>'
        f'<td class="number">{number(float(right))}</td><td class="number">{int(count):,}</td>'
        for low, high, said, right, count in zip(c.edges, c.edges[1:], c.confidence, c.accuracy, c.counts, strict=False)
    ]
    return (
        f"<p>Of the {escape(c.unit)} of which the model is so confident (across), the share that is right (up)."
        f" On the dashed line both agree; below it, the model is too sure of itself. A larger dot stands for more {escape(c.unit)}."
        f" Expected calibration error: <strong>{c.error:.4f}</strong>.</p>{chart}"
        f"<details><summary>The numbers</summary>{table(['confidence', 'its mean', 'share right', c.unit], rows)}</details>"
    )


def _more(more: Table) -> str:
    if not more.rows:
        return ""
    columns = list(more.rows[0])
    rows = ["".join(f'<td class="number">{number(row.get(key))}</td>' for key in columns) for row in more.rows]
    text = f"<p>{escape(more.text)}</p>" if more.text else ""
    return f"<h3>{escape(more.title)}</h3>{text}{table(columns, rows, 'sortable')}"


def _preview(preview: bytes | None) -> str:
    if preview is None:
        return ""
    text = "What training draws from some images of the split train: the first of each row is as stored."
    alt = "images as stored, and as augmented"
    return f'<p>{text}</p><figure><img loading="lazy" decoding="async" src="{data_uri(preview, "png")}" alt="{alt}"></figure>'


def _data_set(evaluation: Evaluation) -> str:
    splits: Mapping[str, Mapping[str, Any]] = evaluation.splits
    return f"{split_table(splits)}<h3>Classes</h3>{class_table(splits, evaluation.classes)}" if splits else ""


STYLE = """
:root { --wrong: #c04a00; --most: 75%; }
@media (prefers-color-scheme: dark) { :root { --wrong: #f08a4b; --most: 50%; } }
html:not(.script) .scripted { display: none; }
section { scroll-margin-top: .5rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
.headline td:last-child { min-width: 14rem; }
.scale { display: inline-block; position: relative; width: 14rem; height: .8rem; background: var(--card); border: 1px solid var(--line); }
.scale span { position: absolute; top: 0; bottom: 0; background: var(--bar); min-width: 1px; }
.scale i { position: absolute; top: -3px; bottom: -3px; width: 2px; margin-left: -1px; background: var(--ink); }
.settings th { text-align: left; font-weight: normal; }
.settings td { overflow-wrap: anywhere; }
.bars .bar { display: block; width: 100%; min-width: 4rem; height: .5rem; margin: 0; }
.bars tbody th { position: sticky; left: 0; background: var(--paper); max-width: 45vw; overflow: hidden; text-overflow: ellipsis; }
thead th button { all: unset; cursor: pointer; font-weight: inherit; }
thead th button:focus-visible { outline: 3px solid var(--bar); }
thead th[aria-sort=ascending] button::after { content: " \\25B2"; }
thead th[aria-sort=descending] button::after { content: " \\25BC"; }
"""

SCRIPT = """
document.documentElement.classList.add('script');
for (const table of document.querySelectorAll('table.sortable')) {
  const rows = [...table.tBodies[0].rows];
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim(), number = parseFloat(text.replace(/,/g, ''));
    return Number.isNaN(number) ? (column && text === '\\u2013' ? null : text) : number;
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.title = 'sort';
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      const up = head.getAttribute('aria-sort') !== 'ascending', sign = up ? 1 : -1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      rows.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (typeof x === typeof y && typeof x === 'number' ? x - y : String(x).localeCompare(String(y)));
      });
      table.tBodies[0].append(...rows);
    });
  });
}
"""
