"""doctor.html: all findings on one page with pictures, in one file that needs no network and no script."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from seg.core.errors import InputError, plural
from seg.data.imagefile import decode_color, read_bytes
from seg.data.sample import ClassInfo, Sample
from seg.pictures.draw import outlined_at, overlay, resized
from seg.prepare.checks.check import Diagnosis, below
from seg.raw.record import Finding, Item, Source
from seg.report.data_set import has_instances, summarise
from seg.report.rendering import jpeg, write_page

SIDE = 440  # pixels of a picture's longer side
SMALL = 0.3  # of the image's longer side: a place below this share gets a close-up
MARGIN = 12  # pixels around a place in a close-up, at least
PICTURED = 3  # findings of a kind that are shown with pictures
MOST_PICTURES = 60  # of the whole page, so that it opens at once
SPREAD = 6  # images that are shown with their labels, whatever was found
LISTED = 200  # findings of a kind that are listed in words; doctor.json has all


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture (H, W, 3) uint8 RGB and what it shows."""

    picture: np.ndarray
    text: str


@dataclass(frozen=True, slots=True)
class DoctorPage:
    """What the page shows. Its pictures come from the items, as in `seg.prepare.run.Examination`, and the source that reads them."""

    items: Mapping[tuple[str | None, str], Item]
    source: Source
    classes: Sequence[ClassInfo]
    name: str
    root: Path | None
    diagnosis: Diagnosis

    def of(self, finding: Finding) -> list[Shown]:
        """The pictures of a finding; none where it is of no image, or the image cannot be read."""
        if (item := self._item(finding.split, finding.image_id)) is None:
            return []
        try:
            sample = self.source.read(item).sample
        except InputError:
            return _unlabelled(item)
        if finding.other:
            second, name = self._item(*finding.other), "/".join(finding.other)
            shown = [Shown(resized(self.source.read(second).sample.image, SIDE), f"{name}, the other image")] if second else []
            return [Shown(resized(sample.image, SIDE), item.image_id), *shown]
        if finding.box is None:
            return [Shown(resized(sample.image, SIDE), item.image_id), Shown(self._labelled(sample), "with its labels")]
        marked = _marked(self._labelled(sample), finding.box, SIDE / max(sample.size))
        shown = [Shown(marked, f"{item.image_id} with its labels; the frame marks the place")]
        x1, y1, x2, y2 = finding.box
        small = max(x2 - x1, y2 - y1) < SMALL * max(sample.size)
        return [*shown, Shown(self._close(sample, finding.box), "the place, larger")] if small else shown

    def spread(self, count: int) -> list[Shown]:
        """Images with their labels, from the first to the last at even distances; those that cannot be read are left out."""
        placed = [item for (split, _), item in self.items.items() if split is not None]
        shown = []
        for index in np.unique(np.linspace(0, len(placed) - 1, min(count, len(placed))).round().astype(int)):
            with suppress(InputError):
                shown.append(Shown(self._labelled(self.source.read(placed[index]).sample), placed[index].image_id))
        return shown

    def _item(self, split: str | None, image_id: str | None) -> Item | None:
        if image_id is None:
            return None
        there = self.items.get((split, image_id))
        return there or next((item for (_, name), item in self.items.items() if name == image_id and split is None), None)

    def _labelled(self, sample: Sample) -> np.ndarray:
        if self.source.with_instances:
            return outlined_at(sample, SIDE)
        image = resized(sample.image, SIDE)
        semantic = cv2.resize(sample.semantic, image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return overlay(image, semantic, self.classes)

    def _close(self, sample: Sample, box: tuple[int, int, int, int]) -> np.ndarray:
        x1, y1, x2, y2 = box
        margin = max(MARGIN, (x2 - x1) // 2, (y2 - y1) // 2)
        rows, columns = slice(max(0, y1 - margin), y2 + margin), slice(max(0, x1 - margin), x2 + margin)
        maps = (sample.image[rows, columns], sample.semantic[rows, columns], sample.instances[rows, columns])
        return self._labelled(Sample(sample.image_id, *maps, sample.categories, sample.crowd))


def _unlabelled(item: Item) -> list[Shown]:
    """The first file of an item that could not be read with its labels."""
    try:
        path = Path(item.files[0])
        return [Shown(resized(decode_color(read_bytes(path), path), SIDE), f"{item.image_id}, whose labels could not be read")]
    except (InputError, IndexError):
        return []


def _marked(picture: np.ndarray, box: tuple[int, int, int, int], scale: float) -> np.ndarray:
    """With a black and white frame around the place, seen on any ground and without colour."""
    x1, y1, x2, y2 = (round(n * scale) for n in box)
    marked = picture.copy()
    for width, color in ((7, (0, 0, 0)), (3, (255, 255, 255))):
        cv2.rectangle(marked, (x1 - 5, y1 - 5), (x2 + 4, y2 + 4), color, width)
    return marked


def write_doctor(path: Path, page: DoctorPage) -> None:
    """Write the page, whole or not at all; its pictures are read from the raw data. Of each kind of findings some are shown as cards, with
    their pictures as JPEG, and the rest are listed in words."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in page.diagnosis.findings:
        kinds.setdefault((finding.severity, finding.kind), []).append(finding)
    groups, left = [], MOST_PICTURES
    for (severity, kind), findings in kinds.items():
        cards = []
        for finding in findings[:PICTURED]:
            pictures = [(jpeg(shown.picture), shown) for shown in page.of(finding)[:left]]
            left -= len(pictures)
            cards.append((finding, pictures))
        name = kind.replace("-", " ").capitalize()
        groups.append({"key": f"{kind}-{severity}", "severity": severity, "name": name, "cards": cards, "rest": findings[PICTURED:]})
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
        spread=[(jpeg(shown.picture), shown) for shown in page.spread(SPREAD)] if page.diagnosis.summary else [],
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
