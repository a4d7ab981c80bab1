"""`coco_panoptic`: a COCO panoptic file (https://cocodataset.org/#format-data, 4.), PNGs whose colours are ids of segments, and images."""

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from seg.core.errors import AnnotationError, DataError, and_more
from seg.core.textfile import is_file, natural_key
from seg.data.imagefile import decode_color
from seg.raw.record import Item, Record, of_several
from seg.sources.base import Named
from seg.sources.class_map import Segment, SegmentClasses
from seg.sources.listing import is_below
from seg.sources.masks import numbered, packed, read_mask
from seg.sources.pairing import Part, file_below, folder_below, image_item, parts_of, refuse_other_size

Key = int | str
MAX_ID = (1 << 24) - 1  # of three bytes of colour


def _below(name: str) -> str:
    if not is_below(name):
        raise ValueError("a file below data.source.images, or data.source.masks")
    return PurePosixPath(name).as_posix()


class Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Category(Entry):
    """isthing: whether its segments are objects, one each; else they are stuff."""

    id: Key
    name: str
    isthing: Literal[0, 1]


class Picture(Entry):
    """file_name: relative to the folder of images."""

    id: Key
    file_name: Annotated[str, AfterValidator(_below)]


class SegmentInfo(Entry):
    """id: R + 256 G + 65536 B of its pixels in the PNG. Boxes and areas are not read."""

    id: Annotated[int, Field(ge=1, le=MAX_ID)]
    category_id: Key
    iscrowd: Literal[0, 1] = 0


class Annotation(Entry):
    """file_name: of the PNG, relative to the folder of masks."""

    image_id: Key
    file_name: Annotated[str, AfterValidator(_below)]
    segments_info: list[SegmentInfo]


class PanopticFile(Entry):
    images: list[Picture]
    annotations: list[Annotation]
    categories: list[Category]


class CocoPanoptic(Named):
    """The file `root`/`annotations`, the PNGs that it names below `root`/`masks`, the images below `root`/`images`. Segments of a category
    that is a thing are instances, those of stuff are of the class map alone. Pixels of no segment (id 0) are of the class `background`, or
    ignored without one."""

    annotations: str
    masks: str
    images: str
    skip_unlabelled: bool

    def __post_init__(self) -> None:
        self.parts = parts_of(self.split, "panoptic_{split}.json", annotations=self.annotations)
        self.segments = SegmentClasses(self.classes)
        self.class_map = self.named_classes()
        self.stuff = set[int]()

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

    def _part(self, part: Part) -> list[Item]:
        path = file_below(Path(self.root), self.annotations, part, "data.source.annotations")
        content = read_panoptic(path)
        self.named = {*(self.named or ()), *(category.name for category in content.categories)}
        images = folder_below(Path(self.root), self.images, part, "data.source.images")
        masks = folder_below(Path(self.root), self.masks, part, "data.source.masks")
        known = self._categories(path, content)
        labels = {}
        for a in content.annotations:
            segments = {s.id: (*known[s.category_id], bool(s.iscrowd)) for s in a.segments_info}
            labels[a.image_id] = a.file_name, json.dumps(segments, separators=(",", ":"))
        if not (pictures := sorted(content.images, key=lambda p: natural_key(p.file_name))):
            raise DataError(f"{path}: names no images; set data.source.annotations")
        if missing := [p.file_name for p in pictures if p.id not in labels]:
            if not self.skip_unlabelled:
                fix = "add it, or leave such images out with data.source.skip_unlabelled=true"
                what = f"has no annotation of the image {missing[0]}{and_more(missing, 'images')}"
                raise DataError(f"{path}: {what}; {fix}", kind="image-without-label")
            self.findings += of_several("image-without-label", path, missing, "images have no annotation and are left out")
        files = [(images / p.file_name, masks / labels[p.id][0], labels[p.id][1]) for p in pictures if p.id in labels]
        for kind, key, paths in (("image", "images", [f[0] for f in files]), ("mask", "masks", [f[1] for f in files])):
            if lost := [str(file) for file in paths if not is_file(file)]:
                fix = f"add it, or set data.source.{key}"
                raise DataError(f"{path}: there is no {kind} {lost[0]}{and_more(lost, f'{kind}s')}; {fix}", kind="label-without-image")
        names = [PurePosixPath(file.relative_to(images)).with_suffix("").as_posix() for file, _, _ in files]
        named = zip(names, files, strict=True)
        return [image_item(name, part, images, file, [str(mask), str(path)], text) for name, (file, mask, text) in named]

    def _categories(self, path: Path, content: PanopticFile) -> dict[int | str, tuple[int, bool]]:
        """Each category's class index (or IGNORE, or DROP) and whether it is a thing; DataError for one in use without class."""
        used = {segment.category_id for annotation in content.annotations for segment in annotation.segments_info}
        found = {c.id: (self.class_map.get(c.name), bool(c.isthing)) for c in content.categories}
        if lost := sorted(c.name for c in content.categories if c.id in used and found[c.id][0] is None):
            raise self.class_map.unknown(path, lost, "name of the category")
        self.stuff |= {index for index, thing in found.values() if index is not None and not thing}
        return {key: (index, thing) for key, (index, thing) in found.items() if index is not None}

    def _refuse_other_ids(self, path: Path, annotations: Path, present: np.ndarray, places: np.ndarray, known: dict[int, Segment]) -> None:
        there = set(present.tolist()) - {0}
        if unlisted := sorted(there - known.keys()):
            pixels = int((places == int(np.searchsorted(present, unlisted[0]))).sum())
            what = f"has the id {unlisted[0]} in {pixels} pixels{and_more(unlisted, 'ids')}"
            fix = "add the segment there, or use the PNG that belongs to the file"
            raise DataError(f"{path}: {what}, which segments_info in {annotations} does not list; {fix}", kind="unknown-value")
        if unseen := sorted(known.keys() - there):
            what = f"has no pixel of the id {unseen[0]}{and_more(unseen, 'ids')}, which segments_info in {annotations} lists"
            raise DataError(f"{path}: {what}; remove the segment there, or use the PNG that belongs to the file", kind="unknown-value")


def read_panoptic(path: Path) -> PanopticFile:
    """Read a panoptic file. DataError where it is no JSON, lacks a key, names an id twice, or one that there is not."""
    try:
        content = PanopticFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise AnnotationError(f"{path}: is not JSON ({first['ctx']['error']}); export it again") from None
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        got = "" if first["type"] == "missing" else f", got {str(first['input'])[:60]!r}"
        raise AnnotationError(f"{path}, {place or 'the file'}: {expected[0].lower()}{expected[1:]}{got}; export the file again") from None
    _refuse_twice(path, "categories", "the id", (c.id for c in content.categories))
    _refuse_twice(path, "categories", "the name", (c.name for c in content.categories))
    _refuse_twice(path, "images", "the id", (p.id for p in content.images))
    _refuse_twice(path, "images", "the name", (PurePosixPath(p.file_name).with_suffix("").as_posix() for p in content.images))
    _refuse_twice(path, "annotations", "the image_id", (a.image_id for a in content.annotations))
    categories, pictures = {c.id for c in content.categories}, {p.id for p in content.images}
    for annotation in content.annotations:
        where = f"{path}, annotation of the image {annotation.image_id}"
        if annotation.image_id not in pictures:
            raise AnnotationError(f"{where}: this image is not in 'images'; add it there, or remove the annotation")
        _refuse_twice(path, f"segments_info of the image {annotation.image_id}", "the id", (s.id for s in annotation.segments_info))
        if lost := next((s for s in annotation.segments_info if s.category_id not in categories), None):
            what = f"the segment {lost.id} is of the category {lost.category_id!r}, which is not in 'categories'"
            raise AnnotationError(f"{where}: {what}; add it, or correct the id")
    return content


def _refuse_twice(path: Path, part: str, what: str, keys: Iterable[Key]) -> None:
    seen: set[Key] = set()
    for key in keys:
        if key in seen:
            raise AnnotationError(f"{path}, {part}: {what} {key!r} stands twice; each entry needs its own")
        seen.add(key)
