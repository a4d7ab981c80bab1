"""doctor.html: all findings on one page, in one file that needs no network and no script."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg.doctor.check import Diagnosis, below
from seg.findings import Finding, plural
from seg.report.finding_pictures import Album, Shown
from seg.sample import ClassInfo
from seg.sources.base import Item, Source

PICTURED = 3  # findings of a kind that are shown with pictures
MOST_PICTURES = 60  # of the whole page, so that it opens at once
LISTED = 200  # findings of a kind that are listed in words; doctor.json has all
SIZES = 4  # image sizes that the summary names
_COLORS = {
    False: "Pictures show labels in these colours; ignored pixels have none.",
    True: "Pictures outline each object in a colour of its own; crowds and ignored regions are hatched in gray.",
}
SIGNS = {"error": ("&#10006;", "error"), "warning": ("&#9650;", "warning")}  # told apart without colour

Splits = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows. items: as in `seg.preparation.Examination`; source reads them again for their pictures."""

    name: str
    root: Path | None
    classes: Sequence[ClassInfo]
    diagnosis: Diagnosis
    items: Mapping[tuple[str | None, str], Item]
    source: Source


def write_page(path: Path, page: Page) -> None:
    """Write the page; its pictures are read from the raw data."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in page.diagnosis.findings:
        kinds.setdefault((finding.severity, finding.kind), []).append(finding)
    album, left = Album(page.items, page.source, page.classes), MOST_PICTURES
    sections = []
    for (severity, kind), findings in kinds.items():
        cards = []
        for finding in findings[:PICTURED]:
            shown = album.of(finding)[: max(0, left)]
            left -= len(shown)
            cards.append(_card(finding, shown, page.root))
        sections.append(_section(severity, kind, findings, cards, page.root))
    title = f"{escape(page.name)}: what the doctor found"
    body = [
        f"<h1>{title}</h1>",
        f'<p class="verdict">{_verdict(page.diagnosis)}</p>',
        f"<p>{escape(str(page.root))}</p>" if page.root else "",
        _contents(kinds),
        _summary(page.diagnosis.summary, page.classes),
        *sections,
    ]
    content = "\n".join(body)
    path.write_text(
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f'<a class="skip" href="#findings">Skip to the findings</a>\n<main>\n{content}\n</main>\n</body>\n</html>\n'
    )


def _verdict(diagnosis: Diagnosis) -> str:
    errors, warnings = len(diagnosis.errors), len(diagnosis.warnings)
    if not errors and not warnings:
        return "Nothing found."
    stops = "Training cannot start before the errors are mended." if errors else "Nothing here stops a training; look whether it is meant."
    return f"{plural(errors, 'error')}, {plural(warnings, 'warning')}. {stops}"


def _contents(kinds: Mapping[tuple[str, str], Sequence[Finding]]) -> str:
    links = [
        f'<li>{_badge(severity)} <a href="#{kind}-{severity}">{_name(kind)}</a> {len(group)}</li>'
        for (severity, kind), group in kinds.items()
    ]
    return f'<nav id="findings" aria-label="Kinds of findings"><ul>{"".join(links)}</ul></nav>' if links else '<div id="findings"></div>'


def _badge(severity: str) -> str:
    sign, word = SIGNS[severity]
    return f'<span class="badge {severity}"><span aria-hidden="true">{sign}</span> {word}</span>'


def _name(kind: str) -> str:
    return escape(kind.replace("-", " ").capitalize())


def _section(severity: str, kind: str, findings: Sequence[Finding], cards: Sequence[str], root: Path | None) -> str:
    rest = ""
    if len(findings) > len(cards):
        lines = "".join(f"<li>{_place(f, root)}: {escape(below(f.what, root))}</li>" for f in findings[len(cards) : LISTED])
        beyond = f"<p>{len(findings) - LISTED} more are in doctor.json.</p>" if len(findings) > LISTED else ""
        rest = f"<details><summary>{len(findings) - len(cards)} more</summary><ul>{lines}</ul>{beyond}</details>"
    heading = f"<h2>{_badge(severity)} {_name(kind)} <small>{len(findings)}</small></h2>"
    return f'<section id="{escape(kind)}-{severity}">{heading}<div class="cards">{"".join(cards)}</div>{rest}</section>'


def _card(finding: Finding, shown: Sequence[Shown], root: Path | None) -> str:
    figures = "".join(
        f'<figure><img src="{_data(s.picture)}" alt="{escape(s.text)}" width="{s.picture.shape[1]}" height="{s.picture.shape[0]}">'
        f"<figcaption>{escape(s.text)}</figcaption></figure>"
        for s in shown
    )
    fix = f'<p class="fix"><strong>To do:</strong> {escape(below(finding.fix, root))}.</p>' if finding.fix else ""
    where = f" <span>({escape(finding.split)})</span>" if finding.split else ""
    pictures = f'<div class="figures">{figures}</div>' if figures else ""
    return (
        f'<article><p class="file">{_place(finding, root)}{where}</p><p>{escape(below(finding.what, root))}.</p>{fix}{pictures}</article>'
    )


def _place(finding: Finding, root: Path | None) -> str:
    return f"<code>{escape(below(finding.file, root))}</code>"


def _data(picture: np.ndarray) -> str:
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 82])
    assert done
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def _summary(splits: Splits, classes: Sequence[ClassInfo]) -> str:
    if not splits:
        return ""
    instances = any(counts["num_instances"] for counts in splits.values())
    head = ["split", "images", *(["instances"] if instances else []), "images nearly the same as another there", "sizes (height x width)"]
    rows = [
        [name, counts["num_images"], *([counts["num_instances"]] if instances else []), counts["near_duplicates"], _sizes(counts["sizes"])]
        for name, counts in splits.items()
    ]
    table = _table(head, ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows])
    return f"<section><h2>The data set</h2>{table}<h3>Classes</h3><p>{_COLORS[instances]}</p>{_class_table(splits, classes)}</section>"


def _sizes(sizes: Mapping[str, int]) -> str:
    common = sorted(sizes.items(), key=lambda entry: -entry[1])
    more = f", {len(common) - SIZES} more sizes" if len(common) > SIZES else ""
    return ", ".join(f"{size}: {count}" for size, count in common[:SIZES]) + more


def _class_table(splits: Splits, classes: Sequence[ClassInfo]) -> str:
    """A row a class: its share of each split's labelled pixels as a bar, and in how many images it is."""
    totals = {name: max(1, sum(counts["class_pixels"])) for name, counts in splits.items()}
    rows = []
    for index, info in enumerate(classes):
        if len(classes) > 2 and not any(counts["class_images"][index] for counts in splits.values()):
            continue
        swatch = f'<i class="swatch" style="background:#{bytes(info.color).hex()}"></i>'
        rows.append(f'<th scope="row" class="class">{swatch}{escape(info.name)}</th>{"".join(_bars(splits, totals, index))}')
    absent = len(classes) - len(rows)
    left_out = f"<p>Without a pixel, and not listed: {absent} of {len(classes)} classes.</p>" if absent else ""
    return _table(["class", *(f"{name}: share of labelled pixels, images" for name in splits)], rows) + left_out


def _bars(splits: Splits, totals: Mapping[str, int], index: int) -> Iterator[str]:
    for name, counts in splits.items():
        share = counts["class_pixels"][index] / totals[name]
        bar = f'<span class="bar"><span style="width:{100 * share:.2f}%"></span></span>'
        yield f'<td>{bar}<span class="number">{100 * share:.3g} %, {counts["class_images"][index]}</span></td>'


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0" role="region" aria-label="a table that scrolls sideways">{table}</div>'


STYLE = """
:root {
  color-scheme: light dark; --ink: #1b1b1f; --soft: #55565e; --paper: #fff;
  --card: #f3f4f6; --line: #c5c8cf; --bar: #0072b2; --link: #00558a;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf1; --soft: #b3b5be; --paper: #17181c; --card: #23252b; --line: #474a54; --bar: #56b4e9; --link: #8cc8f0; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 75rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; font-size: 1.25rem; }
h2 small { color: var(--soft); font-weight: normal; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--bar); outline-offset: 2px; }
.skip { position: absolute; left: -100rem; background: var(--paper); padding: .5rem; }
.skip:focus { left: 0; top: 0; }
.verdict { font-size: 1.15rem; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; }
.badge { font-size: .8rem; font-weight: 600; border: 2px solid; border-radius: .3rem; padding: 0 .4rem; white-space: nowrap; }
.badge.error { color: #fff; background: #a32020; border-color: #a32020; }
.badge.warning { color: #1b1b1f; background: #f0c44c; border-color: #f0c44c; }
.cards { display: grid; gap: 1rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; min-width: 0; }
article p { margin: .3rem 0; overflow-wrap: anywhere; }
.file { color: var(--soft); }
code { overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: .6rem; }
figure { margin: 0; max-width: 100%; }
figure img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); }
figcaption { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; max-width: 27rem; }
details { margin-top: .8rem; }
summary { cursor: pointer; padding: .3rem 0; }
details li { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
.swatch { display: inline-block; width: 1rem; height: 1rem; border: 1px solid var(--soft); margin-right: .5rem; vertical-align: -.15rem; }
.bar { display: inline-block; width: 6rem; height: .8rem; background: var(--card); border: 1px solid var(--line); margin-right: .5rem; }
.bar span { display: block; height: 100%; background: var(--bar); }
.class { white-space: nowrap; }
.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
"""
