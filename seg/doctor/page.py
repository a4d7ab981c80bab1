"""doctor.html: all findings on one page, in one file that needs no network and no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from seg.core.errors import plural
from seg.data.sample import ClassInfo
from seg.doctor.pictures import Album, Shown
from seg.prepare.checks.check import Diagnosis, below
from seg.raw.findings import Finding
from seg.raw.record import Item, Source
from seg.report.dataset_summary import Splits, class_table, has_instances, split_table
from seg.report.html import data_uri, document, jpeg

PICTURED = 3  # findings of a kind that are shown with pictures
MOST_PICTURES = 60  # of the whole page, so that it opens at once
LISTED = 200  # findings of a kind that are listed in words; doctor.json has all
_COLORS = {
    False: "Pictures show labels in these colours; ignored pixels have none.",
    True: "Pictures outline each object in a colour of its own; crowds and ignored regions are hatched in gray.",
}
SIGNS = {"error": ("&#10006;", "error"), "warning": ("&#9650;", "warning")}  # told apart without colour


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows. items: as in `seg.prepare.run.Examination`; source reads them again for their pictures."""

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
    title = f"{page.name}: what the doctor found"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="verdict">{_verdict(page.diagnosis)}</p>',
        f"<p>{escape(str(page.root))}</p>" if page.root else "",
        _contents(kinds),
        _summary(page.diagnosis.summary, page.classes),
        *sections,
    ]
    path.write_text(document(title, STYLE, ("findings", "Skip to the findings"), "\n".join(body)))


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
    figures = "".join(_figure(s) for s in shown)
    fix = f'<p class="fix"><strong>To do:</strong> {escape(below(finding.fix, root))}.</p>' if finding.fix else ""
    where = f" <span>({escape(finding.split)})</span>" if finding.split else ""
    pictures = f'<div class="figures">{figures}</div>' if figures else ""
    return (
        f'<article><p class="file">{_place(finding, root)}{where}</p><p>{escape(below(finding.what, root))}.</p>{fix}{pictures}</article>'
    )


def _figure(shown: Shown) -> str:
    height, width = shown.picture.shape[:2]
    picture = f'<img src="{data_uri(jpeg(shown.picture), "jpeg")}" alt="{escape(shown.text)}" width="{width}" height="{height}">'
    return f"<figure>{picture}<figcaption>{escape(shown.text)}</figcaption></figure>"


def _place(finding: Finding, root: Path | None) -> str:
    return f"<code>{escape(below(finding.file, root))}</code>"


def _summary(splits: Splits, classes: Sequence[ClassInfo]) -> str:
    if not splits:
        return ""
    colors = f"<p>{_COLORS[has_instances(splits)]}</p>"
    return f"<section><h2>The data set</h2>{split_table(splits)}<h3>Classes</h3>{colors}{class_table(splits, classes)}</section>"


STYLE = """
.verdict { font-size: 1.15rem; }
.badge { font-size: .8rem; font-weight: 600; border: 2px solid; border-radius: .3rem; padding: 0 .4rem; white-space: nowrap; }
.badge.error { color: #fff; background: #a32020; border-color: #a32020; }
.badge.warning { color: #1b1b1f; background: #f0c44c; border-color: #f0c44c; }
.cards { display: grid; gap: 1rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; min-width: 0; }
article p { margin: .3rem 0; overflow-wrap: anywhere; }
.file { color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: .6rem; }
"""
