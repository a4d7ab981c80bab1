"""Images that are cut: those of a set of one or two, so that each split has some, and very large ones, so that training reads parts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from seg.core.errors import InputError, plural
from seg.data.labelmaps import areas_of
from seg.data.sample import Sample, no_instances
from seg.data.store import CUT_FROM, image_of, labels_of, read_sample
from seg.prepare.assignment import Assignment, Plan
from seg.raw.record import Finding, Item, Record, Source, finding_of
from seg.sources.base import Masks
from seg.sources.splits import SPLITS
from seg.storing.write import StoredRecord, write_record

# by the number of images: parts of the shorter and of the longer side. Four of the six are to learn from, one is for each other split.
PIECES = {1: (2, 3), 2: (1, 3)}
TILE = 2048  # most pixels of a tile's side. A tile is read in some hundredths of a second, and crops seldom meet its border.
# pixels of an image above which training reads tiles of it. Photographs have fewer, and keep all that surrounds their objects.
LARGE = 1 << 26
Part = tuple[slice, slice]


class FewImages:
    """A source whose images are cut into pieces where they are too few to be divided; else the source as it is."""

    def __init__(self, source: Source, assignment: Assignment) -> None:
        split = assignment.split
        self.source, self.with_instances, self.findings = source, source.with_instances, list[Finding]()
        self.may_cut = split.by == "ratios" and split.group is None and split.table is None and assignment.fold is None
        self.blocks = split.by == "blocks" and split.group is None and split.table is None
        self.pieces: dict[str, tuple[Item, int]] = {}
        self.grid = (1, 1)
        self._last: tuple[Item, Record] | None = None

    def items(self) -> list[Item]:
        """The pieces of all images; the images themselves where there are enough, or the settings or the layout divide them."""
        items = self.source.items()
        self.findings = list(self.source.findings)
        if self.blocks:
            return [tile for item in items for tile in self.tiles(item)]
        if not self.may_cut or len(items) not in PIECES or any(item.split for item in items):
            return items
        self.grid = PIECES[len(items)]
        count = self.grid[0] * self.grid[1]
        self.pieces = {f"{item.image_id}_part{number + 1}": (item, number) for item in items for number in range(count)}
        what = f"{plural(len(items), 'image')} cannot fill {len(SPLITS)} splits, so {'it is' if len(items) == 1 else 'each is'} cut into "
        means = f"{count} pieces, which are divided: figures tell of other places in the same images, not of new images"
        self.findings.append(Finding("few-images", "data.split", what + means, "add images"))
        return [Item(name, None, item.files) for name, (item, _) in self.pieces.items()]

    def tiles(self, item: Item) -> list[Item]:
        """The tiles of an image of more than LARGE pixels, or of a piece of one, where it is read by windows; else the item itself.
        DataError where its files are damaged, or differ in size."""
        whole, number = self.pieces.get(item.image_id, (item, None))
        size = self.source.windowed_size(whole, LARGE) if isinstance(self.source, Masks) and item.window is None else None
        if size is None:
            return [item]
        part = np.s_[0 : size[0], 0 : size[1]] if number is None else self._pieces_of(*size)[number]
        same = replace(item, files=whole.files, labels=whole.labels, columns={**item.columns, CUT_FROM: item.image_id})
        return [replace(same, image_id=f"{item.image_id}_{name}", window=window) for name, window in _tiles(part)]

    def _pieces_of(self, height: int, width: int) -> list[Part]:
        return list(_grid(np.s_[0:height, 0:width], *(self.grid if height <= width else self.grid[::-1])))

    def read(self, item: Item) -> Record:
        """A piece, a tile, or an image of the source. What is odd about an image is said with its first piece."""
        if item.image_id not in self.pieces:
            return self.source.read(item)
        whole, number = self.pieces[item.image_id]
        if self._last is None or self._last[0] is not whole:
            self._last = None  # or two images would be in memory
            self._last = whole, self.source.read(whole)
        record = self._last[1]
        part = self._pieces_of(*record.sample.size)[number]
        findings = tuple(f for f in record.findings if number == 0 or f.severity == "error")
        return Record(cut(record.sample, part, item.image_id), findings=findings, spacing=record.spacing)


def in_tiles(plan: Plan, source: Source) -> Plan:
    """The plan, in which tiles stand for large images that are read by windows. One whose files do not fit is left out, and a finding."""
    if not isinstance(source, FewImages):
        return plan
    kept, items, findings = list[int](), list[Item](), list(plan.findings)
    for index, item in enumerate(plan.items):
        try:
            items += (tiles := source.tiles(item))
        except InputError as error:
            findings.append(finding_of(error, item.files, item.image_id, item.split))
        else:
            kept += [index] * len(tiles)
    places, groups = ([those[index] for index in kept] if those else [] for those in (plan.places, plan.groups))
    return Plan(items, places, groups, None if plan.presence is None else plan.presence[kept], findings)


def largest(source: Source) -> int:
    """Pixels of an image of the source, above which training reads tiles. What is cut already may as well be cut further."""
    return 4 * TILE**2 if isinstance(source, FewImages) and source.pieces else LARGE


def tiled(folder: Path, stored: Sequence[StoredRecord], known: tuple[int, int | None], most: int) -> list[StoredRecord]:
    """A split's records, in which tiles stand for each image of more than `most` pixels. Its files are replaced, too. known: the number of
    classes, and the index of the background or None."""
    found: list[StoredRecord] = []
    for record in stored:
        entry = record.entry
        if entry.height * entry.width <= most:
            found.append(record)
            continue
        sample = read_sample(folder, entry, len(record.counts.histogram), record.annotations)
        for former in () if entry.stored_at else (image_of(folder, entry), labels_of(folder, entry)):
            former.file.unlink()
        for name, part in _tiles(np.s_[0 : entry.height, 0 : entry.width]):
            tile = cut(sample, part, f"{entry.image_id}_{name}")
            written = write_record(folder, Record(tile, spacing=record.spacing), *known)
            found.append(replace(written, entry=replace(written.entry, columns={**entry.columns, CUT_FROM: entry.image_id})))
    return found


def cut(sample: Sample, part: Part, image_id: str) -> Sample:
    """A part of a sample. Instances that lie in it have the ids 1..N again, in the same order."""
    image, semantic = np.ascontiguousarray(sample.image[part]), np.ascontiguousarray(sample.semantic[part])
    instances = np.ascontiguousarray(sample.instances[part])
    left = areas_of(instances, len(sample.categories)) > 0
    if not left.any():
        return Sample(image_id, image, semantic, *no_instances(*semantic.shape))
    numbers = np.concatenate([[0], np.cumsum(left) * left]).astype(np.int32)
    return Sample(image_id, image, semantic, numbers[instances], sample.categories[left], sample.crowd[left])


def _tiles(part: Part) -> Iterator[tuple[str, Part]]:
    """The tiles of a part, named by their first row and column in it."""
    for rows, columns in _grid(part, *(-(-(side.stop - side.start) // TILE) for side in part)):
        yield f"y{rows.start - part[0].start}_x{columns.start - part[1].start}", (rows, columns)


def _grid(part: Part, rows: int, columns: int) -> Iterator[Part]:
    """The parts of a part, row by row, as equal as whole pixels allow."""
    lengths = zip(part, (rows, columns), strict=True)
    ys, xs = ([side.start + (side.stop - side.start) * i // count for i in range(count + 1)] for side, count in lengths)
    for (top, bottom), (left, right) in product(pairwise(ys), pairwise(xs)):
        yield slice(top, bottom), slice(left, right)
