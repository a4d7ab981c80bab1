"""`via`: a JSON file of the VGG Image Annotator 1 or 2, and a folder of images (https://www.robots.ox.ac.uk/~vgg/software/via)."""

from collections.abc import Iterable, Mapping
from functools import partial
from math import degrees
from pathlib import Path
from typing import Any

from seg.core.errors import AnnotationError, did_you_mean
from seg.sources.annotation_file import AnnotatedImage, AnnotationFile
from seg.sources.base import Drawn
from seg.sources.class_map import refuse_both_or_neither
from seg.sources.content import number_of, numbers_of, read_json
from seg.sources.pairing import Part
from seg.sources.part_rle import Part as Shape
from seg.sources.part_rle import ellipse, rectangle
from seg.sources.regions import Region

SHAPES = "polygon, polyline, rect, circle, ellipse or point"


class Via(AnnotationFile, Drawn):
    """A project or exported annotations. The arguments are as for `AnnotationFile` and `Drawn`. attribute: the attribute of a region that
    holds its label (text, or a dropdown's, radio's or checkbox's value). category: the label of all regions instead, whatever their
    attributes; one of the two is null. Regions that overlap lie in the file's order, the last on top."""

    attribute: str | None
    category: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        meaning = "name the attribute that holds the label, or the label of all regions"
        refuse_both_or_neither(meaning, attribute=self.attribute, category=self.category)

    def images_of(self, path: Path, part: Part) -> Iterable[AnnotatedImage]:
        return [self._image(path, key, entry) for key, entry in _entries(path).items()]

    def _image(self, path: Path, key: str, entry: Any) -> AnnotatedImage:
        if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str) or not isinstance(entry.get("regions"), list | dict):
            fix = "export it again"
            raise AnnotationError(f"{path}, entry '{key}': has no filename and regions, expected an image as VIA 1 or 2 writes it; {fix}")
        name, given = entry["filename"], entry["regions"]
        numbered = given.items() if isinstance(given, dict) else enumerate(given)
        return AnnotatedImage(name, None, self.faults.each(numbered, lambda n, region: self._region(path, f"{name}, region {n}", region)))

    def _region(self, path: Path, where: str, region: Any) -> Region:
        if not isinstance(region, dict) or not isinstance(region.get("shape_attributes"), dict):
            raise AnnotationError(f"{path}, {where}: has no shape_attributes; redraw or remove it")
        shape = _part(region["shape_attributes"], f"{path}, {where}", self.line_width, self.point_radius)
        return Region(where, self._label(region.get("region_attributes") or {}, f"{path}, {where}"), [shape])

    def _label(self, attributes: Mapping[str, Any], where: str) -> str:
        if self.category is not None:
            return self.category
        name = str(self.attribute)
        fix = "label it in VIA, set data.source.attribute, or give all regions one label with data.source.category (and attribute=null)"
        if name not in attributes:
            raise AnnotationError(f"{where}: has no attribute '{name}' ({did_you_mean(name, attributes, 'attributes')}); {fix}")
        value = attributes[name]
        if isinstance(value, dict):  # a checkbox: {option: whether it is ticked}
            ticked = [option for option, on in value.items() if on]
            if len(ticked) > 1:
                several = f"its attribute '{name}' has {len(ticked)} values ({', '.join(ticked[:5])})"
                raise AnnotationError(f"{where}: {several}, expected one; {fix}")
            value = ticked[0] if ticked else ""
        if value is None or not str(value).strip():
            raise AnnotationError(f"{where}: its attribute '{name}' is empty; {fix}")
        return str(value).strip()


def _entries(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if isinstance(content, dict) and "_via_img_metadata" in content:
        content = content["_via_img_metadata"]
    elif isinstance(content, dict) and {"project", "metadata"} <= content.keys():
        raise AnnotationError(f"{path}: is of VIA 3, which has no format for image masks; export the project as COCO, or use VIA 2")
    if not isinstance(content, dict) or not all(isinstance(entry, dict) and "filename" in entry for entry in content.values()):
        fix = "export it again"
        raise AnnotationError(f"{path}: is no VIA file, expected a project or 'Export Annotations (as JSON)' of VIA 1 or 2; {fix}")
    return content


def _part(shape: Mapping[str, Any], where: str, line_width: float, point_radius: float) -> Shape:
    kind, value = shape.get("name"), partial(number_of, shape, where=where)
    if kind in ("polygon", "polyline"):
        xs, ys = numbers_of(shape, "all_points_x", where), numbers_of(shape, "all_points_y", where)
        if len(xs) != len(ys):
            raise AnnotationError(f"{where}: has {len(xs)} x and {len(ys)} y; redraw or remove it")
        flat = [v for point in zip(xs, ys, strict=True) for v in point]
        return flat if kind == "polygon" else {"line": flat, "width": line_width}
    if kind == "rect":
        x, y = value("x"), value("y")
        return rectangle(x, y, x + value("width"), y + value("height"))
    if kind == "circle":
        return ellipse(value("cx"), value("cy"), value("r"), value("r"))
    if kind == "ellipse":
        turn = degrees(value("theta")) if "theta" in shape else 0.0
        return ellipse(value("cx"), value("cy"), value("rx"), value("ry"), turn)
    if kind == "point":
        return ellipse(value("cx"), value("cy"), point_radius, point_radius)
    raise AnnotationError(f"{where}: is a shape {kind!r}, expected {SHAPES}; redraw it as one of them, or remove it")
