"""Labels that people corrected, in files of LabelMe, CVAT for images 1.1 or COCO, laid over those of a source."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seg.core.errors import AnnotationError, DataError, did_you_mean, nearest
from seg.core.textfile import composed
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.data.sample import IGNORED, SUGGESTION, ClassInfo
from seg.prepare.assignment import Assignment
from seg.prepare.pieces import FewImages, cut
from seg.raw.record import Finding, Item, Record, Source
from seg.sources.annotation_file import AnnotatedImage
from seg.sources.coco import Coco
from seg.sources.content import read_json
from seg.sources.cvat import Cvat
from seg.sources.images import ImageReader, RawImage
from seg.sources.labelme import read_labelme, region_of
from seg.sources.listing import files_below
from seg.sources.pairing import Part
from seg.sources.regions import Rules, record_of

SUFFIXES = (".json", ".xml")
WIDTHS: dict[str, Any] = {"line_width": 10, "point_radius": 5}  # pixels of lines, and around points


class Corrected(FewImages):
    """A source, of which the images that files below `folder` name have all their labels from there, and the others their own.

    Labels are the names of classes, or `ignore`; regions whose labels start with `suggestion:` are left out. Without instances, regions
    are painted in the order of the file (and of z_order), and what none covers is the class `background`, or ignored without one. With
    instances, regions of one label and group are one object, and an ignored one is a crowd. An image, its size and its split stay."""

    def __init__(self, source: Source, assignment: Assignment, classes: Sequence[ClassInfo], folder: Path) -> None:
        super().__init__(source, assignment)
        self.folder, self.classes = folder, [ClassInfo(c.name, c.color) for c in classes]
        self.ignored = [IGNORED] * all(c.name != IGNORED for c in classes)
        given: dict[str, Any] = {"root": "", "images": "", "annotations": "{split}", "ignore": self.ignored, "drop": [], "others": "refuse"}
        given |= {"classes": self.classes, "reader": ImageReader(3), "split": assignment.split}
        self.coco, self.cvat = Coco(**given, holes=False, boxes=True), Cvat(**given, holes=True, **WIDTHS)
        self.coco.faults.hint = self.cvat.faults.hint = ""
        self.labels: dict[tuple[str | None, str], tuple[Path, AnnotatedImage, bool]] = {}

    def items(self) -> list[Item]:
        """Those of the source, which say whether their labels are corrected. DataError for a file that is of none of the three formats,
        names an image or a class that there is not, or corrects an image that another one corrects."""
        items, known, names = super().items(), dict[str, list[Item]](), [*(c.name for c in self.classes), *self.ignored]
        self.labels.clear()
        for item in (*items, *(tile for whole in items for tile in FewImages.tiles(self, whole) if tile is not whole)):
            for name in (item.image_id, *[f"{item.split}/{item.image_id}"] * (item.split is not None)):
                known.setdefault(composed(name), []).append(item)
        for path, called, image, holes in self._read():
            item = _named(path, called, known)
            regions = [region for region in image.regions if not region.label.startswith(SUGGESTION)]
            if strange := next((region for region in regions if region.label not in names), None):
                what = f"{path}, {strange.where}: has the label {strange.label!r}, which is no class of data.classes; correct it"
                raise DataError(f"{what}: {did_you_mean(strange.label, names, 'labels')}", kind="unknown-category")
            mine = path, replace(image, regions=regions), holes
            if (other := self.labels.setdefault((item.split, item.image_id), mine)) is not mine:
                raise DataError(f"{path}: corrects the image {item.image_id}, and so does {other[0]}; remove one of the two")
        what = f"{len(self.labels)} of {len(items)} images have their labels from here"
        self.findings.append(Finding("corrected-labels", str(self.folder), what))
        return [self._marked(item) for item in items]

    def tiles(self, item: Item) -> list[Item]:
        """See `FewImages`. An image that is corrected as a whole is read whole."""
        return [item] if (item.split, item.image_id) in self.labels else [self._marked(tile) for tile in super().tiles(item)]

    def _marked(self, item: Item) -> Item:
        return replace(item, columns={**item.columns, "corrected": "yes" if (item.split, item.image_id) in self.labels else "no"})

    def read(self, item: Item) -> Record:
        """What the source reads, with the corrected labels; DataError where they are of an image of another size."""
        record = super().read(item)
        if (own := self.labels.get((item.split, item.image_id))) is None:
            return record
        path, image, holes = own
        seen = tuple(f for f in record.findings if f.file in item.files[:1])  # of the image, not of its former labels
        raw = RawImage(record.sample.image, record.encoded, record.suffix, record.spacing, seen)
        if image.size is not None:
            raw.refuse_other_size(Path(item.image_id), image.size, str(path))
        rules = Rules(self.classes, self.ignored, [], "refuse", holes)
        rules.hint, rules.painted = "", not self.with_instances  # what is wrong with a corrected file is corrected there
        made = record_of(item.image_id, raw, image.regions, str(path), rules)
        stuff = list(getattr(self.source, "stuff", ())) if self.with_instances else range(256)
        none = 1 + np.flatnonzero(np.isin(made.sample.categories, stuff) & ~made.sample.crowd)
        kept = np.where(np.isin(made.sample.instances, none), 0, made.sample.instances)
        before = tuple(np.unique(record.sample.semantic).tolist())
        return replace(made, sample=cut(replace(made.sample, instances=kept), np.s_[:, :], item.image_id), classes_before=before)

    def _read(self) -> Iterator[tuple[Path, Sequence[str], AnnotatedImage, bool]]:
        """Of each image in each file: the file, what it may call the image, what it says of it, and whether polygons within are holes."""
        for name in files_below(self.folder, SUFFIXES):
            path, source = self.folder / name, self.coco if name.lower().endswith(".json") else self.cvat
            content = read_json(path) if source is self.coco else {"annotations": ()}
            if not isinstance(content, dict) or not {"shapes", "annotations"} & content.keys():
                raise AnnotationError(f"{path}: is neither JSON of LabelMe or COCO nor XML of CVAT for images 1.1; move it elsewhere")
            if "shapes" in content:
                file, stem = read_labelme(path), name[: -len(".json")]
                regions = [region_of(shape, number, path, **WIDTHS) for number, shape in enumerate(file.shapes)]
                yield path, (stem, file.image_path), AnnotatedImage(stem, file.size, regions), True
            else:
                yield from ((path, (image.name,), image, source is self.cvat) for image in source.images_of(path, Part()))


def _named(path: Path, names: Sequence[str], known: dict[str, list[Item]]) -> Item:
    """The image that one of the names means; folders before it, and the suffix of an image, may be more than its image_id has."""
    for name in names:
        parts = composed(name.replace("\\", "/")).split("/")
        for tail in ("/".join(parts[start:]) for start in range(len(parts))):
            stem = tail[: -len(Path(tail).suffix)] if tail.lower().endswith(IMAGE_SUFFIXES) else tail
            if len(found := known.get(tail) or known.get(stem) or []) == 1:
                return found[0]
            if found:
                raise DataError(f"{path}: {name} is the name of {len(found)} images; call it {found[0].split}/{stem}, by its split")
    meant = f" (nearest: {near})" if (near := nearest(names[0], known)) else ""
    what = f"{path}: is of the image {names[0]}, but the data set has no such image with labels{meant}"
    raise DataError(f"{what}; rename the file, or the image in it, or move it to another folder", kind="label-without-image")
