"""A COCO panoptic file: read and checked (https://cocodataset.org/#format-data, 4. Panoptic Segmentation)."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from seg.core.errors import AnnotationError

Key = int | str
MAX_ID = (1 << 24) - 1  # of three bytes of colour


def _below(name: str) -> str:
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or not place.name:
        raise ValueError("a file below data.source.images, or data.source.masks")
    return place.as_posix()


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


class Segment(Entry):
    """id: R + 256 G + 65536 B of its pixels in the PNG. Boxes and areas are not read."""

    id: Annotated[int, Field(ge=1, le=MAX_ID)]
    category_id: Key
    iscrowd: Literal[0, 1] = 0


class Annotation(Entry):
    """file_name: of the PNG, relative to the folder of masks."""

    image_id: Key
    file_name: Annotated[str, AfterValidator(_below)]
    segments_info: list[Segment]


class PanopticFile(Entry):
    images: list[Picture]
    annotations: list[Annotation]
    categories: list[Category]


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
            raise AnnotationError(
                f"{where}: the segment {lost.id} is of the category {lost.category_id!r}, which is not in 'categories'; "
                "add it, or correct the id"
            )
    return content


def _refuse_twice(path: Path, part: str, what: str, keys: Iterable[Key]) -> None:
    seen: set[Key] = set()
    for key in keys:
        if key in seen:
            raise AnnotationError(f"{path}, {part}: {what} {key!r} stands twice; each entry needs its own")
        seen.add(key)
