"""A COCO "instances" file: read and checked, its annotations sorted by image (https://cocodataset.org/#format-data)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seg.core.errors import DataError
from seg.sources.annotation_file import place_of, read_json

Entry = Mapping[str, object]
Key = int | str
"""COCO's ids are numbers; some programs write text."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of the file. name: relative to the folder of images."""

    name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """A region of an image. segmentation: polygons or RLE, not looked into yet."""

    annotation_id: Key
    category_id: Key
    crowd: bool
    segmentation: object


@dataclass(frozen=True, slots=True)
class CocoFile:
    """pictures and annotations by the image's id; categories: the names by id. Bounding boxes and areas are not kept."""

    pictures: dict[Key, Picture]
    annotations: dict[Key, list[Annotation]]
    categories: dict[Key, str]


def read_coco(path: Path) -> CocoFile:
    """Read a COCO file. DataError where it is no JSON, lacks a key, names an id twice, or one that there is not."""
    content = read_json(path)
    for part in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise DataError(
                f"{path}: has no list '{part}'; a COCO instances file has images, annotations and categories", kind="bad-annotation"
            )
    categories: dict[Key, str] = {}
    for number, entry in enumerate(content["categories"]):
        where = f"{path}, categories[{number}]"
        category_id = _key(entry, "id", where)
        _refuse_twice(category_id, categories, where)
        categories[category_id] = _text(entry, "name", where)
    pictures = _pictures(path, content["images"])
    annotations: dict[Key, list[Annotation]] = {image_id: [] for image_id in pictures}
    seen: set[Key] = set()
    for number, entry in enumerate(content["annotations"]):
        annotation_id = _key(entry, "id", f"{path}, annotations[{number}]")
        where = f"{path}, annotation {annotation_id}"
        _refuse_twice(annotation_id, seen, where)
        seen.add(annotation_id)
        image_id, category_id = _key(entry, "image_id", where), _key(entry, "category_id", where)
        if image_id not in pictures:
            raise DataError(
                f"{where}: belongs to the image {image_id!r}, which is not in 'images'; add the image, or remove the annotation",
                kind="bad-annotation",
            )
        if category_id not in categories:
            raise DataError(
                f"{where}: is of the category {category_id!r}, which is not in 'categories'; add it, or correct the id",
                kind="bad-annotation",
            )
        crowd = entry.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise DataError(f"{where}: has iscrowd={crowd!r}, expected 0 or 1", kind="bad-annotation")
        if not entry.get("segmentation"):
            raise DataError(
                f"{where}: has no 'segmentation', and a box alone is no mask; add polygons or RLE, or remove the annotation",
                kind="bad-annotation",
            )
        annotations[image_id].append(Annotation(annotation_id, category_id, bool(crowd), entry["segmentation"]))
    return CocoFile(pictures, annotations, categories)


def _pictures(path: Path, entries: Sequence[Entry]) -> dict[Key, Picture]:
    found: dict[Key, Picture] = {}
    stems: dict[str, str] = {}
    for number, entry in enumerate(entries):
        where = f"{path}, images[{number}]"
        image_id, name = _key(entry, "id", where), _text(entry, "file_name", where)
        _refuse_twice(image_id, found, where)
        place = place_of(name, where, stems)
        found[image_id] = Picture(place, _pixels(entry, "height", where), _pixels(entry, "width", where))
    return found


def _value(entry: Entry, key: str, where: str) -> object:
    if not isinstance(entry, dict):
        raise DataError(f"{where}: is {entry!r}, expected an object with the key '{key}'", kind="bad-annotation")
    if key not in entry:
        raise DataError(f"{where}: has no '{key}'; add it, or export the file again", kind="bad-annotation")
    return entry[key]


def _key(entry: Entry, key: str, where: str) -> Key:
    value = _value(entry, key, where)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{where}: has {key}={value!r}, expected a whole number", kind="bad-annotation")
    return value


def _text(entry: Entry, key: str, where: str) -> str:
    value = _value(entry, key, where)
    if not isinstance(value, str) or not value:
        raise DataError(f"{where}: has {key}={value!r}, expected text", kind="bad-annotation")
    return value


def _pixels(entry: Entry, key: str, where: str) -> int:
    value = _key(entry, key, where)
    if isinstance(value, str) or value < 1:
        raise DataError(f"{where}: has {key}={value!r}, expected a number of pixels", kind="bad-annotation")
    return value


def _refuse_twice(key: Key, seen: Mapping[Key, object] | set[Key], where: str) -> None:
    if key in seen:
        raise DataError(f"{where}: the id {key!r} stands twice; number the entries anew", kind="bad-annotation")
