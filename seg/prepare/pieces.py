"""Images that are cut: those of a set of one or two, so that each split has some, and very large ones, so that training reads parts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from seg.core.errors import plural
from seg.data.labelmaps import areas_of
from seg.data.sample import Sample, no_instances
from seg.data.store import CUT_FROM, image_of, labels_of, read_sample
from seg.prepare.assignment import Assignment
from seg.raw.record import Finding, Item, Record, Source
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
        self.pieces: dict[str, tuple[Item, int]] = {}
        self.grid = (1, 1)
        self._last: tuple[Item, Record] | None = None

    def items(self) -> list[Item]:
        """The pieces of all images; the images themselves where there are enough, or the settings or the layout divide them."""
        items = self.source.items()
        self.findings = list(self.source.findings)
        if not self.may_cut or len(items) not in PIECES or any(item.split for item in items):
            return items
        self.grid = PIECES[len(items)]
        count = self.grid[0] * self.grid[1]
        self.pieces = {f"{item.image_id}_part{number + 1}": (item, number) for item in items for number in range(count)}
        what = f"{plural(len(items), 'image')} cannot fill {len(SPLITS)} splits, so {'it is' if len(items) == 1 else 'each is'} cut into "
        means = f"{count} pieces, which are divided: figures tell of other places in the same images, not of new images"
        self.findings.append(Finding("few-images", "data.split", what + means, "add images"))
        return [Item(name, None, item.files) for name, (item, _) in self.pieces.items()]

    def read(self, item: Item) -> Record:
        """A piece, or an image of the source. What is odd about an image is said with its first piece."""
        if item.image_id not in self.pieces:
            return self.source.read(item)
        whole, number = self.pieces[item.image_id]
        if self._last is None or self._last[0] is not whole:
            self._last = None  # or two images would be in memory
            self._last = whole, self.source.read(whole)
        record = self._last[1]
        height, width = record.sample.size
        rows, columns = self.grid if height <= width else self.grid[::-1]
        part = list(_grid(height, width, rows, columns))[number]
        findings = tuple(f for f in record.findings if number == 0 or f.severity == "error")
        return Record(cut(record.sample, part, item.image_id), findings=findings, spacing=record.spacing)


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
        for rows, columns in _grid(entry.height, entry.width, -(-entry.height // TILE), -(-entry.width // TILE)):
            tile = cut(sample, (rows, columns), f"{entry.image_id}_y{rows.start}_x{columns.start}")
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


def _grid(height: int, width: int, rows: int, columns: int) -> Iterator[Part]:
    """The parts of an image, row by row, as equal as whole pixels allow."""
    ys, xs = ([side * i // count for i in range(count + 1)] for side, count in ((height, rows), (width, columns)))
    for (top, bottom), (left, right) in product(pairwise(ys), pairwise(xs)):
        yield slice(top, bottom), slice(left, right)
