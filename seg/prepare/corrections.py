"""Labels that people corrected, in files of LabelMe, CVAT for images 1.1 or COCO, laid over those of a source."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from seg.core.errors import AnnotationError, DataError, did_you_mean, nearest
from seg.core.textfile import composed
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.data.sample import ClassInfo
from seg.prepare.pieces import FewImages, cut
from seg.raw.record import Finding, Item, Record
from seg.sources.annotation_file import AnnotatedImage
from seg.sources.class_map import DROP
from seg.sources.coco import Coco
from seg.sources.content import read_json
from seg.sources.cvat import Cvat
from seg.sources.images import ImageReader, RawImage
from seg.sources.labelme import read_labelme, region_of
from seg.sources.listing import files_below
from seg.sources.pairing import Part
from seg.sources.regions import Region, Rules, record_of
from seg.sources.settings import CORRECTIONS, Split

COLUMN = "corrected"  # of the manifests: yes or no
SUGGESTION = "suggestion:"  # before a label that nobody has accepted
IGNORED = "ignore"
SUFFIXES = (".json", ".xml")
LINE_WIDTH, POINT_RADIUS = 10, 5  # pixels of lines, and around points
TILE_NAME = re.compile(r"(.+)_y\d+_x\d+")
Labels = tuple[Path, AnnotatedImage, bool]  # the file, what it says of an image, and whether polygons inside others are holes


class _Objects(Rules):
    hint = ""  # what is wrong with a corrected file is corrected there


class _Painted(_Objects):
    """Regions of a class map: each has its class, also where this is `background` or ignored."""

    def target(self, region: Region) -> tuple[int, bool] | None:
        index = self.class_map.get(region.label)
        return None if index is None or index == DROP else (index, False)


class Corrected:
    """A source, of which the images that files below `folder` name have all their labels from there, and the others their own.

    Labels are the names of classes, or `ignore`; regions whose labels start with `suggestion:` are left out. Without instances, regions
    are painted in the order of the file (and of z_order), and what none covers is the class `background`, or ignored without one. With
    instances, shapes of one label and group are one object, and an ignored region is a crowd. The size and the pixels of an image, and its
    split, stay as they are.
    """

    def __init__(self, source: FewImages, classes: Sequence[ClassInfo], split: Split, folder: Path) -> None:
        self.source, self.with_instances, self.findings, self.folder = source, source.with_instances, list[Finding](), folder
        self.classes = [ClassInfo(c.name, c.color) for c in classes]
        self.ignored = [] if IGNORED in (c.name for c in classes) else [IGNORED]
        common = {"root": str(folder), "classes": self.classes, "reader": ImageReader(3), "split": split, "annotations": "{split}"}
        common |= {"images": "", "ignore": self.ignored, "drop": [], "others": "refuse"}
        self.coco = Coco(**common, holes=False, boxes=True)
        self.cvat = Cvat(**common, holes=True, line_width=LINE_WIDTH, point_radius=POINT_RADIUS)
        for each in (self.coco, self.cvat):
            each.faults.hint = ""
        self.labels: dict[tuple[str | None, str], Labels] = {}

    @property
    def pieces(self) -> object:
        """As `FewImages` has them."""
        return self.source.pieces

    def items(self) -> list[Item]:
        """Those of the source, which say whether their labels are corrected. DataError for a file that is of none of the three formats,
        names an image or a class that there is not, or corrects an image that another one corrects."""
        items = self.source.items()
        self.findings = self.source.findings
        self.labels = {}
        known = _Known(items, self.folder)
        for path, names, image, holes in self._read():
            item = known.named(path, names)
            regions = [region for region in image.regions if not region.label.startswith(SUGGESTION)]
            self._refuse_unknown(path, regions)
            mine = path, replace(image, regions=regions), holes
            if (other := self.labels.setdefault((item.split, item.image_id), mine)) is not mine:
                raise DataError(f"{path}: corrects the image {item.image_id}, and so does {other[0]}; remove one of the two")
        there = {True: "yes", False: "no"}
        return [replace(item, columns={COLUMN: there[(item.split, item.image_id) in self.labels]}) for item in items]

    def read(self, item: Item) -> Record:
        """What the source reads, with the corrected labels; DataError where they are of an image of another size."""
        record = self.source.read(item)
        if (own := self.labels.get((item.split, item.image_id))) is None:
            return record
        path, image, holes = own
        before = record.sample
        if image.size is not None and tuple(image.size) != before.size:
            (height, width), (h, w) = before.size, image.size
            raise DataError(
                f"{path}: has the image {item.image_id} as {w}x{h} pixels, but it is {width}x{height}; correct its labels at its own size",
                kind="size-mismatch",
            )
        found = tuple(f for f in record.findings if item.files and f.file == item.files[0])  # of the image, not of its former labels
        raw = RawImage(before.image, record.encoded, record.suffix, record.spacing, found)
        rules = (_Objects if self.with_instances else _Painted)(self.classes, self.ignored, [], "refuse", holes)
        made = record_of(item.image_id, raw, image.regions, str(path), rules)
        sample = made.sample
        stuff = getattr(self.source.source, "stuff", ()) if self.with_instances else range(256)
        none = 1 + np.flatnonzero(np.isin(sample.categories, list(stuff)) & ~sample.crowd)
        sample = replace(sample, instances=np.where(np.isin(sample.instances, none), 0, sample.instances))
        whole = slice(None), slice(None)
        return replace(made, sample=cut(sample, whole, item.image_id), classes_before=tuple(np.unique(before.semantic).tolist()))

    def _read(self) -> Iterator[tuple[Path, Sequence[str], AnnotatedImage, bool]]:
        """Of each image in each file: the file, what it may call the image, what it says of it, and whether it has holes."""
        for name in files_below(self.folder, SUFFIXES):
            path = self.folder / name
            if path.suffix.lower() == ".xml":
                yield from ((path, [image.name], image, True) for image in self.cvat.images_of(path, Part()))
                continue
            content = read_json(path)
            if isinstance(content, dict) and "shapes" in content:
                file, stem = read_labelme(path), name[: -len(".json")]
                regions = [region_of(shape, n, path, LINE_WIDTH, POINT_RADIUS) for n, shape in enumerate(file.shapes)]
                yield path, [stem, file.image_path], AnnotatedImage(stem, file.size, regions), True
            elif isinstance(content, dict) and "annotations" in content:
                yield from ((path, [image.name], image, False) for image in self.coco.images_of(path, Part()))
            else:
                raise AnnotationError(
                    f"{path}: is no file of labels, expected LabelMe JSON, COCO JSON or XML of CVAT for images 1.1; move it out of "
                    f"{self.folder}"
                )

    def _refuse_unknown(self, path: Path, regions: Sequence[Region]) -> None:
        names = [*(c.name for c in self.classes), *self.ignored]
        for region in regions:
            if region.label not in names:
                raise DataError(
                    f"{path}, {region.where}: has the label {region.label!r}, which is no class of data.classes; correct it: "
                    f"{did_you_mean(region.label, names, 'labels')}",
                    kind="unknown-category",
                )


class _Known:
    """The images of a source by what files may call them."""

    def __init__(self, items: Sequence[Item], folder: Path) -> None:
        self.folder = folder
        self.ids: dict[str, list[Item]] = {}
        self.names: dict[str, list[Item]] = {}
        for item in items:
            for known, names in ((self.ids, (item.image_id, f"{item.split}/{item.image_id}")), (self.names, item.names)):
                for name in names:
                    known.setdefault(composed(name), []).append(item)

    def named(self, path: Path, names: Sequence[str]) -> Item:
        """The image that one of the names means; folders before it, and the suffix of an image, may be more than the image_id has."""
        for known in (self.ids, self.names):
            for tail in (tail for name in names for tail in _tails(name)):
                if len(found := known.get(tail, [])) == 1:
                    return found[0]
                if found:
                    places = " or ".join(f"{item.split}/{item.image_id}" if item.split else item.image_id for item in found[:3])
                    raise DataError(f"{path}: {tail} is the name of {len(found)} images; call the image {places}", kind="name-collision")
        said = f"{path}: is of the image {names[0]}, but the data set has no such labelled image"
        if (tile := TILE_NAME.fullmatch(names[0])) and tile[1] in self.ids:
            raise DataError(f"{said}: `prepare` cut it from {tile[1]}, which is large; correct the labels of {tile[1]} as a whole")
        meant = f" (nearest: {near})" if (near := nearest(names[0], self.ids)) else ""
        raise DataError(f"{said}{meant}; rename the file, or the image in it, or move it out of {self.folder}", kind="label-without-image")


def _tails(name: str) -> Iterator[str]:
    """A path, with and without an image's suffix, and what is left of it without one folder after the other."""
    parts = composed(name.replace("\\", "/")).split("/")
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        yield tail
        if suffix := next((s for s in IMAGE_SUFFIXES if tail.lower().endswith(s)), None):
            yield tail[: -len(suffix)]


def corrected(source: FewImages, classes: Sequence[ClassInfo], split: Split, folder: str | None) -> FewImages | Corrected:
    """The source with the corrections of a folder, or the source itself where the folder holds none. DataError where there is no such
    folder; that of all projects may be missing."""
    if folder is None or (folder == CORRECTIONS and not Path(folder).is_dir()):
        return source
    if not Path(folder).is_dir():
        raise DataError(f"data.corrections={folder}: there is no such folder; make it, or set {CORRECTIONS}, or null", kind="missing-file")
    return Corrected(source, classes, split, Path(folder)) if files_below(Path(folder), SUFFIXES) else source
