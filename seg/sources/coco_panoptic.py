"""`coco_panoptic`: a COCO panoptic file, PNGs whose colours are ids of segments, and a folder of images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from seg.core.errors import ConfigError, DataError, did_you_mean
from seg.core.natural import natural_key
from seg.core.textfile import is_file
from seg.data.imagefile import decode_color
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.base import RawData
from seg.sources.class_map import ClassMap
from seg.sources.masks import numbered, packed, read_mask
from seg.sources.pairing import Part, file_below, folder_below, image_item, parts_of, refuse_other_size, unique
from seg.sources.panoptic_file import Annotation, PanopticFile, read_panoptic
from seg.sources.segments import Segment, SegmentClasses


@dataclass(kw_only=True, eq=False)
class CocoPanoptic(RawData):
    """The file `root`/`annotations`, the PNGs that it names below `root`/`masks`, the images below `root`/`images`.

    A category becomes the class of its name, or the one whose `labels` list it. Segments of a category that is a thing are
    instances, those of stuff are of the class map alone. ignore, drop, others: names of categories that count nowhere, that
    are as if they were not there, and what becomes of categories that are not listed. Pixels of no segment (id 0) are of the
    class `background`, or ignored without one. skip_unlabelled: leave images without an annotation out, do not refuse them.
    """

    annotations: str
    masks: str
    images: str
    ignore: list[str]
    drop: list[str]
    others: str
    skip_unlabelled: bool

    with_instances = True

    def __post_init__(self) -> None:
        self.parts = parts_of(self.split, "panoptic_{split}.json", annotations=self.annotations)
        self.segments = SegmentClasses(self.classes)
        self.class_map = ClassMap(self.classes, str, self.ignore, self.drop, self.others)
        self.listed = [*self.ignore, *self.drop]

    def items(self) -> list[Item]:
        items: list[Item] = []
        named: set[str] = set()
        for part in self.parts:
            path = file_below(Path(self.root), self.annotations, part, "data.source.annotations")
            content = read_panoptic(path)
            named.update(category.name for category in content.categories)
            items += self._part(part, path, content)
        if unknown := [name for name in self.listed if name not in named]:
            hint = did_you_mean(unknown[0], named, "categories")
            raise ConfigError(f"data.source.ignore or .drop: there is no category '{unknown[0]}'; {hint}")
        return unique(items)

    def read(self, item: Item) -> Record:
        path, map_path, annotations = (Path(f) for f in item.files)
        raw = self.reader.read(path)
        ids = packed(decode_color(read_mask(map_path), map_path))
        refuse_other_size(map_path, ids.shape, path, raw.pixels.shape[:2])
        present, places = numbered(ids)
        known = {int(number): Segment(*segment) for number, segment in json.loads(item.labels).items()}
        self._refuse_other_ids(map_path, annotations, present, places, known)
        segments = [known.get(int(number), self.segments.nothing) for number in present]
        return raw.record(self.segments.sample(item.image_id, raw.pixels, places, segments))

    def _part(self, part: Part, path: Path, content: PanopticFile) -> list[Item]:
        images = folder_below(Path(self.root), self.images, part, "data.source.images")
        masks = folder_below(Path(self.root), self.masks, part, "data.source.masks")
        known = self._categories(path, content)
        labels = {a.image_id: (a.file_name, _labels(a, known)) for a in content.annotations}
        pictures = sorted(content.images, key=lambda p: natural_key(p.file_name))
        if not pictures:
            raise DataError(f"{path}: names no images; set data.source.annotations")
        if missing := [p.file_name for p in pictures if p.id not in labels]:
            if not self.skip_unlabelled:
                raise DataError(
                    f"{path}: has no annotation of the image {missing[0]}{_more(missing, 'images')}; add it, "
                    "or leave such images out with data.source.skip_unlabelled=true",
                    kind="image-without-label",
                )
            what = f"{len(missing)} images have no annotation and are left out, such as {missing[0]}"
            self.findings.append(Finding("image-without-label", str(path), what))
        files = [(images / p.file_name, masks / labels[p.id][0], labels[p.id][1]) for p in pictures if p.id in labels]
        for kind, key, paths in (("image", "images", [f[0] for f in files]), ("mask", "masks", [f[1] for f in files])):
            if lost := [str(file) for file in paths if not is_file(file)]:
                raise DataError(
                    f"{path}: there is no {kind} {lost[0]}{_more(lost, f'{kind}s')}; add it, or set data.source.{key}",
                    kind="label-without-image",
                )
        items = []
        for file, mask, text in files:
            name = PurePosixPath(file.relative_to(images)).with_suffix("").as_posix()
            items.append(image_item(name, part, images, file, [str(mask), str(path)], text))
        return items

    def _categories(self, path: Path, content: PanopticFile) -> dict[int | str, tuple[int, bool]]:
        """Each category's class index (or IGNORE, or DROP) and whether it is a thing; DataError for one in use without class."""
        used = {segment.category_id for annotation in content.annotations for segment in annotation.segments_info}
        found = {c.id: (self.class_map.get(c.name), bool(c.isthing)) for c in content.categories}
        if lost := sorted(c.name for c in content.categories if c.id in used and found[c.id][0] is None):
            raise DataError(
                f"{path}: no class of data.classes has the name of the category '{lost[0]}'{self.class_map.unknown(lost[0], lost)}",
                kind="unknown-category",
            )
        return {key: (index, thing) for key, (index, thing) in found.items() if index is not None}

    def _refuse_other_ids(self, path: Path, annotations: Path, present: np.ndarray, places: np.ndarray, known: dict[int, Segment]) -> None:
        """DataError where the PNG and the file do not have the same segments."""
        there = set(present.tolist()) - {0}
        if unlisted := sorted(there - known.keys()):
            pixels = int((places == int(np.searchsorted(present, unlisted[0]))).sum())
            raise DataError(
                f"{path}: has the id {unlisted[0]} in {pixels} pixels{_more(unlisted, 'ids')}, which segments_info in {annotations} "
                "does not list; add the segment there, or use the PNG that belongs to the file",
                kind="unknown-value",
            )
        if unseen := sorted(known.keys() - there):
            raise DataError(
                f"{path}: has no pixel of the id {unseen[0]}{_more(unseen, 'ids')}, which segments_info in {annotations} lists; "
                "remove the segment there, or use the PNG that belongs to the file",
                kind="unknown-value",
            )


def _labels(annotation: Annotation, known: dict[int | str, tuple[int, bool]]) -> str:
    segments = {s.id: (*known[s.category_id], bool(s.iscrowd)) for s in annotation.segments_info}
    return json.dumps(segments, separators=(",", ":"))


def _more(found: Sequence[object], kind: str) -> str:
    return f" (and {len(found) - 1} more {kind})" if len(found) > 1 else ""
