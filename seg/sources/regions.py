"""Regions of an image, as all formats of annotations come to: polygons and other shapes with labels -> a Record."""

import marshal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from seg.core.errors import DataError
from seg.core.textfile import many_made
from seg.data.labelmaps import decode
from seg.data.rle import Rle
from seg.data.sample import IGNORE, ClassInfo
from seg.raw.record import Finding, Record, Severity, finding_of
from seg.sources.class_map import DROP, ClassMap, background_of, categories_of, check_choice, instance_sample
from seg.sources.geometry import box_of, examine
from seg.sources.images import RawImage
from seg.sources.part_rle import Part, rle_of

OR_SKIP = ", or leave such regions out with data.source.invalid=skip"


@dataclass(frozen=True, slots=True)
class Region:
    """One annotated thing, of plain values that JSON keeps. where: what the file calls it, such as `annotation 501`. label: as the file has
    it. parts: see `seg.sources.part_rle`. crowd: whether it holds uncounted instances. group: regions of one label and group are one
    object. z: of two that overlap the one with the higher lies on top, and with the same the later one."""

    where: str
    label: str
    parts: list[Part]
    crowd: bool = False
    group: int | str | None = None
    z: int = 0


class Rules:
    """What becomes of labels and shapes by a source's settings.

    A class that `ignore` names too keeps its name: its regions are crowds of that class. first: the class index that ignored regions carry
    where they have no class. holes: whether polygons inside others of the same object are holes. hint: what else may be done about invalid
    regions. painted: regions make up a class map, and each has its class, `background` and ignored ones too."""

    def __init__(
        self, classes: Sequence[ClassInfo], ignore: Sequence[str], drop: Sequence[str], others: str, holes: bool, invalid: str = "refuse"
    ) -> None:
        check_choice("data.source.invalid", invalid, ("refuse", "skip"))
        instances = categories_of(classes)
        self.ignored = {c.name for c in classes if not c.labels and c.name in instances}.intersection(ignore)
        self.class_map = ClassMap(classes, str, [label for label in ignore if label not in self.ignored], drop, others)
        self.first, self.background = min(instances.values()), background_of(classes)
        self.holes, self.skip, self.hint, self.painted = holes, invalid == "skip", OR_SKIP, False

    def refuse_unknown(self, counts: Mapping[str, int], path: object) -> None:
        """DataError where labels, given with their numbers of regions, are of no class and not to be left out either."""
        if unknown := sorted(label for label in counts if label not in self.ignored and self.class_map.get(label) is None):
            count = counts[unknown[0]]
            have = f", which {count} regions have" if count > 1 else ", which a region has"
            raise self.class_map.unknown(path, unknown, "label", have)

    def target(self, region: Region) -> tuple[int, bool] | None:
        """A region's class index, and whether it counts as a crowd; None where it makes no instance."""
        index = self.class_map.get(region.label)
        if self.painted and index is not None and index != DROP:
            return index, False
        if region.label in self.ignored or index == IGNORE:
            return self.first if index is None or index == IGNORE else index, True
        if index is None or index == DROP or index == self.background:
            return None
        return index, region.crowd


class Faults:
    """What becomes of an invalid entry of a file: it is raised, or left out with a finding."""

    def __init__(self, skip: bool, findings: list[Finding]) -> None:
        self.skip, self.findings, self.hint = skip, findings, OR_SKIP

    @contextmanager
    def entry(self) -> Iterator[None]:
        """Around what reads one entry; where it is left out, nothing else that the block does may remain."""
        try:
            yield
        except DataError as error:
            if not self.skip:
                if "data.source." in str(error):
                    raise
                raise DataError(f"{error}{self.hint}", kind=error.kind) from None
            self.findings.append(_left_out(finding_of(error)))

    def each(self, entries: Iterable[tuple[Any, Any]], read: Callable[[Any, Any], Region | None]) -> list[Region]:
        """The regions that `read` makes of the entries and their numbers; it gives None for what is no region."""
        found: list[Region] = []
        for number, entry in entries:
            with self.entry():
                region = read(number, entry)
                found += [] if region is None else [region]
        return found


def _left_out(finding: Finding) -> Finding:
    return replace(finding, what=f"{finding.what}; it is left out, as data.source.invalid=skip says", severity="warning")


def packed(regions: Sequence[Region]) -> str:
    """Regions as text, a character a byte, for `Item.labels`: it goes from one process to another, and JSON takes ten times as long."""
    return marshal.dumps([[r.where, r.label, r.parts, r.crowd, r.group, r.z] for r in regions]).decode("latin-1")


@many_made()
def unpacked(text: str) -> list[Region]:
    return [Region(*values) for values in marshal.loads(text.encode("latin-1"))]


class _Object(NamedTuple):
    rle: Rle
    category: int
    crowd: bool
    place: tuple[int, int]  # z, and the order in the file


def record_of(image_id: str, raw: RawImage, regions: Sequence[Region], file: str, rules: Rules, findings: Sequence[Finding] = ()) -> Record:
    """The Record of an image and its regions: masks in layers, and the class map that follows from them.

    Regions that `rules` leave out vanish; of two of one label that cover the same pixels, the second; errors of geometry are
    findings, and the region is left out, as are slivers of a sound one. Crowds and ignored regions lie beneath the instances. file: the
    annotation file. findings: those of reading the file. DataError for a label without class."""
    rules.refuse_unknown(Counter(region.label for region in regions), file)
    height, width = raw.pixels.shape[:2]
    findings, sound = list(findings), list[Region]()
    for region in regions:
        if rules.target(region):
            region = _without_slivers(region, f"{file}, {region.where}", findings)
            found = examine(region.parts, height, width, f"{file}, {region.where}", rules.holes)
            findings += found
            if all(f.severity != "error" for f in found):
                sound.append(region)
    drawn = _drawn(sound, height, width, rules, file, f"{image_id}{raw.suffix}", findings)
    drawn.sort(key=lambda one: (not one.crowd, one.place))
    categories, crowd = np.array([one.category for one in drawn], np.int32), np.array([one.crowd for one in drawn], bool)
    instances = decode([one.rle for one in drawn], height, width)
    sample = instance_sample(image_id, raw.pixels, instances, categories, crowd, rules.background)
    for number, f in enumerate(findings):
        if f.severity == "error":
            findings[number] = _left_out(f) if rules.skip else replace(f, fix=f"{f.fix}{rules.hint}".removeprefix(", or "))
    return raw.record(sample, findings)


def _without_slivers(region: Region, file: str, findings: list[Finding]) -> Region:
    """The region without polygons of one or two points, if it has others: contour tracers leave them, and they have no area."""
    kept = [part for part in region.parts if not (isinstance(part, list) and len(part) in (2, 4))]
    if not kept or len(kept) == len(region.parts):
        return region
    slivers = len(region.parts) - len(kept)
    what = f"{slivers} of its {len(region.parts)} polygons left out, as a polygon needs 3 points; the others are kept"
    findings.append(Finding("sliver-polygon", file, what))
    return replace(region, parts=kept)


def _drawn(regions: list[Region], height: int, width: int, rules: Rules, file: str, image: str, findings: list[Finding]) -> list[_Object]:
    """The objects that sound regions make; what covers no pixel, or the same ones again, is left out and added to `findings`."""
    drawn, seen = list[_Object](), dict[tuple[str, bool, bytes], str]()

    def tell(region: Region, kind: str, what: str, fix: str = "", severity: Severity = "warning") -> None:
        findings.append(Finding(kind, f"{file}, {region.where}", what, fix, severity, box=box_of(region.parts, height, width)))

    for order, members in _joined(regions):
        region = _merged(members)
        if len(members) > 1:
            found = examine(region.parts, height, width, f"{file}, {region.where}", rules.holes)
            findings += [f for f in found if f.kind == "polygon-in-polygon"]
        try:
            rle, area = rle_of(region.parts, height, width, rules.holes)
        except ValueError as error:
            tell(region, "bad-region", str(error), severity="error")
            continue
        if not area:
            if not any(f.kind == "zero-area" and f.file == f"{file}, {member.where}" for f in findings for member in members):
                tell(region, "empty-instance", f"covers no pixel of {image} and is left out")
        elif (before := seen.setdefault((region.label, region.crowd, rle["counts"]), region.where)) != region.where:
            what = f"covers the same pixels as {before}, has the same label, and is left out"
            tell(region, "duplicate-annotation", what, "remove one of them")
        elif target := rules.target(region):
            drawn.append(_Object(rle, *target, (region.z, order)))
    return drawn


def _joined(regions: Sequence[Region]) -> list[tuple[int, list[Region]]]:
    """The regions of each object, with its place in the file's order: that of its last part."""
    objects: dict[object, list[tuple[int, Region]]] = {}
    for order, region in enumerate(regions):
        key = order if region.group is None else (region.label, region.group)
        objects.setdefault(key, []).append((order, region))
    return [(members[-1][0], [region for _, region in members]) for members in objects.values()]


def _merged(members: Sequence[Region]) -> Region:
    if len(members) == 1:
        return members[0]
    noun = members[0].where.rpartition(" ")[0]
    numbers = " + ".join(region.where.rpartition(" ")[2] for region in members)
    parts = [part for region in members for part in region.parts]
    crowd, z = any(r.crowd for r in members), max(r.z for r in members)
    return replace(members[0], where=f"{noun} {numbers}", parts=parts, crowd=crowd, z=z)
