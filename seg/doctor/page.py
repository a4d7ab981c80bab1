"""doctor.html: all findings on one page, in one file that needs no network and no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seg.core.errors import plural
from seg.data.sample import ClassInfo
from seg.doctor.pictures import Album, Shown
from seg.prepare.checks.check import Diagnosis, below
from seg.raw.findings import Finding
from seg.raw.record import Item, Source
from seg.report.data_set import has_instances, summarise
from seg.report.rendering import jpeg, write_page

PICTURED = 3  # findings of a kind that are shown with pictures
MOST_PICTURES = 60  # of the whole page, so that it opens at once
SPREAD = 6  # images that are shown with their labels, whatever was found
LISTED = 200  # findings of a kind that are listed in words; doctor.json has all


@dataclass(frozen=True, slots=True)
class DoctorPage:
    """What the page shows. items: as in `seg.prepare.run.Examination`; source reads them again for their pictures."""

    name: str
    root: Path | None
    classes: Sequence[ClassInfo]
    diagnosis: Diagnosis
    items: Mapping[tuple[str | None, str], Item]
    source: Source


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """The findings of a kind. cards: those that are shown, each with its pictures as JPEG; rest: those that are listed in words."""

    key: str
    severity: str
    name: str
    cards: Sequence[tuple[Finding, Sequence[tuple[bytes, Shown]]]]
    rest: Sequence[Finding]


def write_doctor(path: Path, page: DoctorPage) -> None:
    """Write the page, whole or not at all; its pictures are read from the raw data."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in page.diagnosis.findings:
        kinds.setdefault((finding.severity, finding.kind), []).append(finding)
    album, left = Album(page.items, page.source, page.classes), MOST_PICTURES
    groups = []
    for (severity, kind), findings in kinds.items():
        cards = []
        for finding in findings[:PICTURED]:
            pictures = [(jpeg(shown.picture), shown) for shown in album.of(finding)[:left]]
            left -= len(pictures)
            cards.append((finding, pictures))
        groups.append(FindingGroup(f"{kind}-{severity}", severity, kind.replace("-", " ").capitalize(), cards, findings[PICTURED:]))
    write_page(
        path,
        "doctor/doctor.html.j2",
        title=f"{page.name}: what the doctor found",
        skip="findings",
        page=page,
        groups=groups,
        verdict=_verdict(page.diagnosis),
        data_set=summarise(page.diagnosis.summary, page.classes),
        with_instances=has_instances(page.diagnosis.summary),
        spread=[(jpeg(shown.picture), shown) for shown in album.spread(SPREAD)] if page.diagnosis.summary else [],
        listed=LISTED - PICTURED,
        below=below,
        sentence=lambda text: _closed(below(text, page.root)),
    )


def _closed(text: str) -> str:
    """With a full stop, where it has no other mark."""
    return text if text.endswith(("?", ".", "!")) else f"{text}."


def _verdict(diagnosis: Diagnosis) -> str:
    errors, warnings = len(diagnosis.errors), len(diagnosis.warnings)
    if not errors and not warnings:
        return "Nothing found."
    stops = "Training cannot start before the errors are mended." if errors else "Nothing here stops a training; look whether it is meant."
    return f"{plural(errors, 'error')}, {plural(warnings, 'warning')}. {stops}"
