"""compare.html: two or more evaluations side by side on one page, in one file that needs no network."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from seg.compare.comparison import Difference, ImageScores
from seg.compare.gallery import compared_gallery, gallery_style
from seg.compare.page_data import Comparison, sentence, signed
from seg.core.errors import plural
from seg.evaluation.bootstrap import few_images
from seg.report import charts, evaluation_page, gallery_code
from seg.report.charts import scatter_chart
from seg.report.html import class_name, document, number, table, whole

LISTED = 100  # images in the table of images; per_image.csv has all


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write the page."""
    sections = {
        "summary": ("Summary", _summary(comparison)),
        "settings": ("Settings that differ", _settings(comparison)),
        "classes": ("Classes", _classes(comparison)),
        "images": ("Images", _images(comparison)),
        "gallery": ("Where they differ most", compared_gallery(comparison) if len(comparison.gallery) else ""),
    }
    there = {name: section for name, section in sections.items() if section[1]}
    links = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, (heading, _) in there.items())
    body = [
        f"<h1>{escape(comparison.title)}</h1>",
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>',
        *(f'<section id="{name}"><h2>{heading}</h2>{content}</section>' for name, (heading, content) in there.items()),
    ]
    style = evaluation_page.STYLE + charts.STYLE + gallery_code.STYLE + gallery_style(comparison.runs) + STYLE
    script = evaluation_page.SCRIPT + gallery_code.SCRIPT
    path.write_text(document(comparison.title, style, ("summary", "Skip to the summary"), "\n".join(body), script))


def _summary(comparison: Comparison) -> str:
    first, monitor = comparison.runs[0], comparison.monitor
    told = [
        f"<li>{escape(sentence(run, first, monitor, comparison.paired.differences[place - 1][monitor]))}.</li>"
        for place, run in comparison.others
    ]
    counted = f"{plural(len(comparison.images), 'image')} of the split <strong>{escape(comparison.split)}</strong>."
    if warned := few_images(len(comparison.images)):
        counted += f" {escape(warned[0].upper() + warned[1:])}."
    tables = "".join(
        (f"<h3>{escape(run)} less {escape(first)}</h3>" if len(comparison.others) > 1 else "")
        + _figures(comparison, place, comparison.paired.differences[place - 1])
        for place, run in comparison.others
    )
    return f'<p>{counted}</p><ul class="told">{"".join(told)}</ul>{_runs(comparison)}{tables}{_intervals(comparison)}'


def _runs(comparison: Comparison) -> str:
    rows = []
    for place, run in enumerate(comparison.runs):
        own = comparison.paired.intervals[place][comparison.monitor]
        rows.append(
            f'<th scope="row" class="id">{escape(run)}</th><td class="number">{comparison.epochs[place]}</td>'
            f'<td class="number"><strong>{number(own.value)}</strong></td><td class="number">{_range(own.low, own.high, number)}</td>'
        )
    return table(["run", "epoch", comparison.monitor, "its own interval"], rows)


def _figures(comparison: Comparison, place: int, differences: Mapping[str, Difference]) -> str:
    reach = _reach([v for d in differences.values() for v in (d.difference, d.low, d.high)])
    rows = []
    for name, d in differences.items():
        decided = "&ndash;" if math.isnan(d.low) else "yes" if d.decided else "no"
        rows.append(
            f'<th scope="row">{escape(name)}</th><td class="number">{number(d.first)}</td><td class="number">{number(d.value)}</td>'
            f'<td class="number"><strong>{signed(d.difference)}</strong></td><td class="number">{_range(d.low, d.high, signed)}</td>'
            f"<td>{_around(d.difference, reach, d.low, d.high)}</td>"
            f'<td>{decided}</td><td class="number">{_percent(d.above)}</td>'
        )
    names = [comparison.runs[0], comparison.runs[place]]
    around = f"-{reach:.3g} to {reach:.3g}"
    return table(["figure", *names, "difference", "its interval", around, "excludes 0", "draws in which it is above"], rows, "sortable")


def _intervals(comparison: Comparison) -> str:
    if not comparison.resamples:
        return "<p>The first run's evaluation drew no images anew (evaluate.bootstrap.resamples=0), so there are no intervals.</p>"
    return (
        f"<p>Intervals of {100 * comparison.level:g}\N{NO-BREAK SPACE}%, from {comparison.resamples:,} draws of the images with "
        "replacement: a studentised paired bootstrap. Each draw is the same for all runs, and the difference is taken draw by draw, so "
        "that what is easy or hard in an image cancels. They tell how far these images decide between these trained weights, not what "
        "another seed of the training would give. Of many figures that are compared, some exclude 0 by chance.</p>"
    )


def _reach(values: Sequence[float]) -> float:
    """How far a scale around 0 goes to either side."""
    return max((abs(v) for v in values if math.isfinite(v)), default=0.0) or 1.0


def _around(value: float, reach: float, low: float = math.nan, high: float = math.nan) -> str:
    """The value as a line on a scale around 0, its interval as a band, or a bar from 0 without one."""
    if not math.isfinite(value):
        return ""
    if math.isnan(low):
        low, high = min(0.0, value), max(0.0, value)
    left, right, at = (50 + 50 * v / reach for v in (low, high, value))
    band = f'<span style="left:{left:.2f}%;width:{right - left:.2f}%"></span>'
    return f'<span class="scale around">{band}<b></b><i style="left:{at:.2f}%"></i></span>'


def _range(low: float, high: float, shown: Any) -> str:
    return "" if math.isnan(low) else f"{shown(low)} to {shown(high)}"


def _percent(share: float) -> str:
    return "&ndash;" if math.isnan(share) else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _settings(comparison: Comparison) -> str:
    if not comparison.settings:
        return "<p>None: the runs have the same settings.</p>"
    rows = [
        f'<th scope="row"><code>{escape(key)}</code></th>{"".join(f"<td>{escape(_said(value))}</td>" for value in values)}'
        for key, values in comparison.settings.items()
    ]
    return table(["key", *comparison.runs], rows, "settings")


def _said(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _classes(comparison: Comparison) -> str:
    """The first figure of the classes in a table that is seen, the others folded away."""
    figures = list(dict.fromkeys(figure for row in comparison.per_class[0].values() for figure in row))
    if not figures:
        return ""
    first, *others = figures
    rest = "".join(f"<h3>{escape(figure)}</h3>{_class_table(comparison, figure)}" for figure in others)
    folded = f"<details><summary>Further figures: {escape(', '.join(others))}</summary>{rest}</details>" if others else ""
    return f"<p>{escape(first)} of each class, the largest gain first.</p>{_class_table(comparison, first)}{folded}"


def _class_table(comparison: Comparison, figure: str) -> str:
    colors = {info.name: info.color for info in comparison.classes}
    values = {name: [per_class[name][figure] for per_class in comparison.per_class] for name in comparison.per_class[0]}
    apart = {name: [v - row[0] for v in row[1:]] for name, row in values.items()}
    reach = _reach([v for row in apart.values() for v in row])
    rows = []
    for name in sorted(values, key=lambda name: (math.isnan(apart[name][0]), -apart[name][0])):
        head = class_name(name, colors[name]) if name in colors else escape(name)
        own = "".join(f'<td class="number">{number(whole(v) if figure.startswith("num_") else float(v))}</td>' for v in values[name])
        differences = "".join(
            f'<td class="number">{"&ndash;" if math.isnan(d) else f"{signed(d)}{_around(d, reach)}"}</td>' for d in apart[name]
        )
        rows.append(f'<th scope="row" class="class">{head}</th>{own}{differences}')
    heads = [f"{run} less {comparison.runs[0]}" for _, run in comparison.others] if len(comparison.others) > 1 else ["difference"]
    return table(["class", *comparison.runs, *heads], rows, "sortable bars")


def _images(comparison: Comparison) -> str:
    charted = "".join(_scatter(comparison, place, run) for place, run in comparison.others)
    text = (
        f"<p>A dot is an image: its {escape(comparison.score_name)} in {escape(comparison.runs[0])} across, in the other run up. On the "
        "dashed line both are equal; above it the other run is better.</p>"
    )
    return f'{text}<div class="charts">{charted}</div>{_image_table(comparison)}' if charted else ""


def _scatter(comparison: Comparison, place: int, run: str) -> str:
    first, name = comparison.runs[0], comparison.score_name
    known = [image for image in comparison.images if math.isfinite(image.difference(place))]
    if not known:
        return ""
    above, below = (sum(sign * image.difference(place) > 0 for image in known) for sign in (1, -1))
    said = f"{run} is better in {above}, worse in {below} and equal in {len(known) - above - below} of {plural(len(known), 'image')}"
    without = len(comparison.images) - len(known)
    rest = f" Without a score in one of the two: {plural(without, 'image')}." if without else ""
    dots = [(i.scores[0], i.scores[place], f"{i.image_id}: {i.scores[0]:.4g}, {i.scores[place]:.4g}") for i in known]
    chart = scatter_chart(f"{name} of each image: {said}", f"{name}, {first}", f"{name}, {run}", dots)
    return f'<figure><h3>{escape(run)}</h3>{chart}<p class="key">{escape(said)}.{rest}</p></figure>'


def _image_table(comparison: Comparison) -> str:
    apart = sorted((i for i in comparison.images if math.isfinite(i.largest)), key=lambda i: (-abs(i.largest), i.image_id))
    rows = [_image_row(image) for image in apart[:LISTED]]
    title = (
        f"The {len(rows)} images of {len(apart)} that differ most; per_image.csv has all"
        if len(apart) > LISTED
        else "All images, those that differ most first"
    )
    listed = table(["image", *comparison.runs, "largest difference"], rows, "sortable")
    return f"<details><summary>{title}</summary>{listed}</details>"


def _image_row(image: ImageScores) -> str:
    scores = "".join(f'<td class="number">{number(score)}</td>' for score in image.scores)
    return f'<th scope="row" class="id">{escape(image.image_id)}</th>{scores}<td class="number">{signed(image.largest)}</td>'


STYLE = """
.told { padding-left: 1.2rem; font-size: 1.1rem; }
.around { width: 12rem; vertical-align: middle; }
.around b { position: absolute; left: 50%; top: -2px; bottom: -2px; width: 1px; background: var(--soft); }
.id, .settings th, .settings td { min-width: 7rem; }
.controls label { white-space: normal; overflow-wrap: anywhere; }
.why { overflow-wrap: anywhere; }
.bars .around { display: block; width: 100%; min-width: 6rem; height: .5rem; }
"""
