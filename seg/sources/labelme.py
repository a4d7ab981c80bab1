"""`labelme`: images, and a JSON file of LabelMe (https://github.com/wkentaro/labelme) for each, beside it or in a folder of their own."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot, isfinite, prod
from os.path import normpath
from pathlib import Path, PurePosixPath
from typing import Any

from seg.core.errors import AnnotationError, DataError
from seg.core.textfile import composed, is_file, natural_key
from seg.data.decoders import declared_size
from seg.data.imagefile import IMAGE_SUFFIXES, decode_index
from seg.raw.record import Finding, Item, Record, of_several
from seg.sources.base import FilePerImage
from seg.sources.content import points_of, read_json
from seg.sources.images import RawImage
from seg.sources.listing import by_stem, is_picture
from seg.sources.pairing import Part, folder_below, leave_out
from seg.sources.part_rle import Part as Shape
from seg.sources.part_rle import ellipse, rectangle, runs_of
from seg.sources.regions import Faults, Region, record_of

MAGIC = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}
SHAPES = "polygon, rectangle, rotation, quadrilateral, circle, line, linestrip, point, points or mask"
MOST_OF_MASK = 2**26  # pixels of the PNG that a shape holds: it is decoded before the image is read


@dataclass(frozen=True, slots=True)
class LabelmeFile:
    """image_path: as the file has it, with slashes; may be empty. encoded: the image's own bytes, where the file holds them. size: (height,
    width), where the file has it."""

    image_path: str
    encoded: bytes | None
    size: tuple[int, int] | None
    shapes: list[Any]


def read_labelme(path: Path) -> LabelmeFile:
    """Read a file; its shapes are not looked into yet. DataError where it is none of LabelMe's."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise AnnotationError(f"{path}: has no list 'shapes', so it is no LabelMe file; move it away, or set data.source.annotations")
    name, data = content.get("imagePath"), content.get("imageData")
    size = (content.get("imageHeight"), content.get("imageWidth"))
    known = all(isinstance(side, int) and side > 0 for side in size)
    encoded = _unpacked(data, f"{path}: its imageData") if isinstance(data, str) and data else None
    return LabelmeFile(str(name or "").replace("\\", "/"), encoded, size if known else None, content["shapes"])  # type: ignore[arg-type]


class Labelme(FilePerImage):
    """Images under `root`/`images`, JSON files of the same relative name under `root`/`annotations`. A JSON file without an image of its
    name is of the one that its imagePath names, or of the one that it holds (imageData). Shapes of one label and group_id are one object;
    holes: polygons inside others of the same object are holes. The other arguments are as for `Drawn`."""

    holes: bool

    EXAMPLE = "{split}"

    def read(self, item: Item) -> Record:
        image, path = item.files[0], Path(item.files[1])
        content = read_labelme(path)
        found: list[Finding] = []
        shapes, sizes = enumerate(content.shapes), (self.line_width, self.point_radius)
        regions = Faults(self.rules.skip, found).each(shapes, lambda number, shape: region_of(shape, number, path, *sizes))
        raw = self.reader.read(Path(image)) if image else self._held(path, content)
        if content.size:
            raw.refuse_other_size(Path(image or path), content.size, str(path))
        name = PurePosixPath(content.image_path).stem
        if image and name and composed(name) != composed(Path(image).stem):
            what = f"names the image {content.image_path}, but is used for {Path(image).name}, whose name it has"
            found.append(Finding("other-image-name", str(path), what, "rename one of them, or correct imagePath"))
        return record_of(item.image_id, raw, regions, str(path), self.rules, found)

    def _part(self, part: Part) -> list[Item]:
        images = folder_below(Path(self.root), self.images, part, "data.source.images")
        folder = folder_below(Path(self.root), self.annotations, part, "data.source.annotations")
        found = by_stem(images)
        if not (files := by_stem(folder, (".json",))):
            raise DataError(f"{folder}: holds no JSON files; set data.source.annotations", kind="missing-file")
        pairs = {name: found.get(name) for name in sorted(files, key=natural_key)}
        lost = []
        for name in [name for name, image in pairs.items() if image is None]:
            image, held = self._named(files[name], images)
            if image is None and not held:
                lost.append(name)
            elif image and (other := next((n for n, i in pairs.items() if i == image), None)) is not None:
                raise DataError(f"{files[name]}: is of the image {image}, and so is {files[other]}; remove one of the two")
            pairs[name] = image
        if len(lost) == len(files):
            advice = "set data.source.images, or add the images"
            raise DataError(f"{folder}: none of its {len(files)} JSON files has an image; {advice}", kind="label-without-image")
        what, fix = "JSON files have no image and are left out", f"add the image to {images}, or set data.source.images"
        self.findings += of_several("label-without-image", folder, [files[name].name for name in lost], what, fix)
        missing = sorted(set(found.values()) - set(pairs.values()))
        lacks = f"JSON file {missing[0].stem}.json in {folder}" if missing else ""
        fix = "save one with LabelMe (without shapes, if the image holds no object)"
        leave_out(self.findings, images, missing, self.skip_unlabelled, "JSON file", lacks, fix)
        return [_item(name, part.split, image, files[name], images) for name, image in pairs.items() if name not in lost]

    def _named(self, path: Path, images: Path) -> tuple[Path | None, bool]:
        """The image that a file's imagePath names, by its path or in the folder of images; and whether the file holds its own."""
        content = read_labelme(path)
        name = PurePosixPath(content.image_path)
        for place in (Path(normpath(path.parent / name)), images / name.name):
            if is_picture(place) and is_file(place) and place.resolve().is_relative_to(Path(self.root).resolve()):
                return place, False
        return None, content.encoded is not None

    def _held(self, path: Path, content: LabelmeFile) -> RawImage:
        data = content.encoded or b""
        own = PurePosixPath(content.image_path).suffix.lower()
        suffix = next((s for magic, s in MAGIC.items() if data.startswith(magic)), own if own in IMAGE_SUFFIXES else ".png")
        return self.reader.decode(data, path.with_suffix(suffix))


def _item(name: str, part: str | None, image: Path | None, path: Path, images: Path) -> Item:
    names = {name, path.name}
    if image is not None:
        names |= {image.name, image.stem}
        if image.is_relative_to(images):
            names.add(image.relative_to(images).as_posix())
    return Item(name, part, (str(image or ""), str(path)), tuple(sorted(names)))


def region_of(shape: Any, number: int, path: Path, line_width: float, point_radius: float) -> Region:
    """Of a shape; AnnotationError where it is malformed, or of a type that LabelMe and X-AnyLabeling do not have. The last two: pixels."""
    where = f"{path}, shape {number}"
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not shape["label"]:
        raise DataError(f"{where}: has no label; give it one in LabelMe, or remove it", kind="image-without-label")
    group = shape.get("group_id")
    if group is not None and not isinstance(group, int | str):
        raise AnnotationError(f"{where}: has group_id={group!r}, expected a number or null")
    return Region(f"shape {number}", shape["label"], _parts(shape, where, line_width, point_radius), group=group)


def _parts(shape: Mapping[str, Any], where: str, line_width: float, point_radius: float) -> list[Shape]:
    kind = shape.get("shape_type") or "polygon"  # the oldest files name no type
    points = points_of(shape.get("points"), where)
    flat = [value for point in points for value in point]
    if kind in ("polygon", "quadrilateral") or (kind in ("rectangle", "rotation") and len(points) == 4):
        return [flat]
    if kind in ("line", "linestrip"):
        return [{"line": flat, "width": line_width}]
    if kind in ("point", "points"):
        return [ellipse(x, y, point_radius, point_radius) for x, y in points]
    if kind not in ("rectangle", "rotation", "circle", "mask"):
        raise AnnotationError(f"{where}: has the shape_type {kind!r}, expected {SHAPES}; redraw it as one of them, or remove it")
    if len(points) != 2 or kind == "rotation":
        fix = "redraw or remove it"
        raise AnnotationError(f"{where}: is a {kind} of {len(points)} points, expected {4 if kind == 'rotation' else 2}; {fix}")
    (x1, y1), (x2, y2) = points
    if kind == "rectangle":
        return [rectangle(x1, y1, x2, y2)]
    if kind == "circle":  # its centre, and a point of its edge
        radius = hypot(x2 - x1, y2 - y1)
        return [ellipse(x1, y1, radius, radius)]
    if not isinstance(shape.get("mask"), str) or not isfinite(x1 + y1):
        raise AnnotationError(f"{where}: is a mask without its 'mask' and place; redraw or remove it")
    data = _unpacked(shape["mask"], f"{where}: its mask")
    if prod(declared_size(data)) > MOST_OF_MASK:
        raise AnnotationError(f"{where}: its mask has {prod(declared_size(data)):,} pixels, more than an image; redraw it")
    mask = decode_index(data, Path(f"{where}, its mask"), "save the file again with LabelMe") > 0
    height, width = mask.shape
    return [{"left": int(x1), "top": int(y1), "width": width, "height": height, "runs": runs_of(mask)}]


def _unpacked(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise AnnotationError(f"{where} is not base64; save the file again with LabelMe") from None
