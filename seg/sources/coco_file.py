"""A COCO "instances" file: read and checked, its annotations sorted by image (https://cocodataset.org/#format-data)."""

import ast
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from seg.core.errors import AnnotationError
from seg.sources.content import is_number, read_json
from seg.sources.part_rle import rectangle
from seg.sources.regions import Faults

Entry = Mapping[str, object]
Key = int | str  # COCO's ids are numbers; some programs write text
Picture = tuple[str, tuple[int, int] | None]  # an image's name, relative to the folder of images, and (height, width), where there are both


@dataclass(frozen=True, slots=True)
class Annotation:
    """A region of an image. segmentation: polygons or RLE, not looked into yet. box: x, y, width, height, where it has one."""

    annotation_id: Key
    category_id: Key
    crowd: bool
    segmentation: object
    box: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class CocoFile:
    """pictures and annotations by the image's id; categories: the names by id. Areas are not kept."""

    pictures: dict[Key, Picture]
    annotations: dict[Key, list[Annotation]]
    categories: dict[Key, str]


def read_coco(path: Path, faults: Faults) -> CocoFile:
    """Read a COCO file. DataError where it is no JSON, lacks a key, names an id twice, or one that there is not. faults: what becomes of
    annotations that are invalid. An id that is text means the number that it spells, where only this one is there."""
    content = read_json(path)
    for part in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise AnnotationError(f"{path}: has no list '{part}'; a COCO instances file has images, annotations and categories")
    categories: dict[Key, str] = {}
    for number, entry in enumerate(content["categories"]):
        where = f"{path}, categories[{number}]"
        category_id = _key(entry, "id", where)
        _refuse_twice(category_id, categories, where)
        categories[category_id] = _text(entry, "name", where)
    pictures: dict[Key, Picture] = {}
    for number, entry in enumerate(content["images"]):
        where = f"{path}, images[{number}]"
        image_id = _key(entry, "id", where)
        _refuse_twice(image_id, pictures, where)
        height, width = (_pixels(entry, key, where) for key in ("height", "width"))
        pictures[image_id] = _name(entry, where), (height, width) if height and width else None
    annotations: dict[Key, list[Annotation]] = {image_id: [] for image_id in pictures}
    seen: set[Key] = set()
    for number, entry in enumerate(content["annotations"]):
        with faults.entry():
            annotation_id = _key(entry, "id", f"{path}, annotations[{number}]")
            where = f"{path}, annotation {annotation_id}"
            _refuse_twice(annotation_id, seen, where)
            seen.add(annotation_id)
            image_id = _known(_key(entry, "image_id", where), pictures)
            category_id = _known(_key(entry, "category_id", where), categories)
            if image_id not in pictures:
                fix = "add the image, or remove the annotation"
                raise AnnotationError(f"{where}: belongs to the image {image_id!r}, which is not in 'images'; {fix}")
            if category_id not in categories:
                fix = "add it, or correct the id"
                raise AnnotationError(f"{where}: is of the category {category_id!r}, which is not in 'categories'; {fix}")
            crowd = entry.get("iscrowd") or 0
            if crowd not in (0, 1, "0", "1"):
                raise AnnotationError(f"{where}: has iscrowd={crowd!r}, expected 0 or 1")
            given = entry.get("bbox")
            box = given if isinstance(given, list) and len(given) == 4 and all(map(is_number, given)) else None
            annotations[image_id].append(Annotation(annotation_id, category_id, bool(int(crowd)), entry.get("segmentation"), box))
    return CocoFile(pictures, annotations, categories)


def parts_of_segmentation(annotation: Annotation) -> Any:
    """Polygons as a list of lists, or RLE, of the forms that programs write; what is none of them is left for drawing to refuse. A box
    where there is no segmentation; a flat list [x1, y1, ...]; pairs [[x1, y1], ...], or {x, y}; lists that are nested once too often; and
    counts of RLE that are the repr of bytes, as of str(counts)."""
    given: Any = annotation.segmentation
    if not given and annotation.box is not None:
        x, y, width, height = annotation.box
        return [rectangle(x, y, x + width, y + height)]
    if isinstance(given, dict):
        return [_rle(given)]
    if not isinstance(given, list):
        return [given]
    given = [_pairs(part) for part in given] if given and all(isinstance(part, list) for part in given) else _pairs(given)
    if given and all(is_number(value) for value in given):
        return [given]
    given = [_rle(part) if isinstance(part, dict) else part for part in given]
    while len(given) == 1 and _is_list_of_lists(given[0]) and not _is_points(given[0]):
        given = given[0]
    if _is_points(given):
        given = [given]
    return [[value for point in part for value in point] if _is_points(part) else part for part in given]


def _pairs(points: list[Any]) -> list[Any]:
    """Points {x, y} as [x, y], where all are such."""
    named = bool(points) and all(isinstance(p, dict) and p.keys() == {"x", "y"} for p in points)
    return [[p["x"], p["y"]] for p in points] if named else points


def _rle(given: Mapping[str, object]) -> dict[str, object]:
    """The keys of an RLE alone: the other forms that `seg.sources.part_rle` draws are not for files."""
    counts = given.get("counts")
    if isinstance(counts, str) and counts[:2] in ("b'", 'b"'):
        with suppress(ValueError, SyntaxError, AttributeError):
            counts = ast.literal_eval(counts).decode("ascii")
    return {"size": given.get("size"), "counts": counts}


def _is_list_of_lists(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, list) for one in value)


def _is_points(value: Any) -> bool:
    """Whether it is a list of three or more [x, y]."""
    pairs = _is_list_of_lists(value) and all(len(one) == 2 and all(map(is_number, one)) for one in value)
    return pairs and len(value) > 2


def _name(entry: Entry, where: str) -> str:
    """The image's file; LVIS has its address alone."""
    if "file_name" not in entry and isinstance(entry.get("coco_url"), str):
        return urlparse(_text(entry, "coco_url", where)).path.lstrip("/")
    return _text(entry, "file_name", where)


def _known(key: Key, known: Mapping[Key, object]) -> Key:
    """The known id that one of another type spells, or the id itself."""
    if key in known:
        return key
    if isinstance(key, str) and key.strip().isdecimal() and int(key) in known:
        return int(key)
    return str(key) if str(key) in known else key


def _value(entry: Entry, key: str, where: str) -> object:
    if not isinstance(entry, dict):
        raise AnnotationError(f"{where}: is {str(entry)[:60]!r}, expected an object with the key '{key}'")
    if key not in entry:
        raise AnnotationError(f"{where}: has no '{key}'; add it, or export the file again")
    return entry[key]


def _key(entry: Entry, key: str, where: str) -> Key:
    value = _value(entry, key, where)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise AnnotationError(f"{where}: has {key}={value!r}, expected a whole number")
    return value


def _text(entry: Entry, key: str, where: str) -> str:
    value = _value(entry, key, where)
    if not isinstance(value, str) or not value:
        raise AnnotationError(f"{where}: has {key}={value!r}, expected text")
    return value


def _pixels(entry: Entry, key: str, where: str) -> int | None:
    """A side of an image; None where the file does not have it."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if value is None:
        return None
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise AnnotationError(f"{where}: has {key}={value!r}, expected a number of pixels")
    return value


def _refuse_twice(key: Key, seen: Mapping[Key, object] | set[Key], where: str) -> None:
    if key in seen:
        raise AnnotationError(f"{where}: the id {key!r} stands twice; number the entries anew")
