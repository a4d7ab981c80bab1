"""`cvat`: an XML file "CVAT for images 1.1" and a folder of images (https://docs.cvat.ai/docs/manual/advanced/xml_format)."""

from collections.abc import Iterable
from math import isnan, nan
from pathlib import Path
from typing import Any

from seg.core.errors import AnnotationError, DataError
from seg.core.textfile import is_file
from seg.raw.record import Finding
from seg.sources.annotation_file import AnnotatedImage, AnnotationFile
from seg.sources.base import Drawn
from seg.sources.content import read_xml
from seg.sources.pairing import Part, split_folders
from seg.sources.part_rle import Part as Shape
from seg.sources.part_rle import ellipse, rectangle
from seg.sources.regions import Region

FORMAT = "'CVAT for images 1.1'"
SHAPES = ("polygon", "box", "ellipse", "polyline", "points", "mask")


class Cvat(AnnotationFile, Drawn):
    """The arguments are as for `AnnotationFile` and `Drawn`.

    Of shapes that overlap the one with the higher z_order lies on top. Shapes of one label and group_id (0 is none) are one object;
    holes: polygons inside others of the same object are holes. What is occluded is kept as drawn; tags of images are passed over. Where
    the split is given by folders and `annotations` holds no `{split}`, the subset of each image is its split's folder."""

    holes: bool

    EXAMPLE = "{split}.xml"

    def parts_of(self) -> tuple[Part, ...]:
        self.by_subset = self.split.by == "folders" and "{split}" not in self.annotations
        return (Part(),) if self.by_subset else super().parts_of()

    def images_of(self, path: Path, part: Part) -> Iterable[AnnotatedImage]:
        splits = {p.folder.lower(): p.split for p in split_folders(self.split)} if self.by_subset else {}
        left: dict[str, int] = {}
        folder = Path(self.root) / self.images.replace("{split}", part.folder)
        for element in images_in(path):
            subset = element.get("subset", "")
            split = splits.get(subset.lower())
            if self.by_subset and split is None:
                left[subset] = left.get(subset, 0) + 1
            else:
                yield self._image(path, folder, element, split)
        if left:
            told = ", ".join(f"{count} of the subset '{name}'" for name, count in left.items())
            what = f"images of no split are left out: {told}"
            self.findings.append(Finding("unlisted-image", str(path), what, "name the subsets in data.split.folders, as {train: Train}"))

    def _image(self, path: Path, folder: Path, element: Any, split: str | None) -> AnnotatedImage:
        where = f"{path}, image {element.get('id', '?')}"
        if not element.get("name"):
            raise AnnotationError(f"{where}: has no name; export it again")
        name, subset = element.get("name"), element.get("subset")
        if subset and is_file(folder / subset / name):  # so a project is exported, whose tasks may share names
            name = f"{subset}/{name}"
        shapes = enumerate(shape for shape in element if shape.tag != "tag")
        regions = self.faults.each(shapes, lambda number, shape: self._region(path, shape, f"{name}, {shape.tag} {number}"))
        return AnnotatedImage(name, (_whole(element, "height", where), _whole(element, "width", where)), regions, split)

    def _region(self, path: Path, shape: Any, at: str) -> Region:
        if shape.tag not in SHAPES:
            raise AnnotationError(f"{path}, {at}: is a {shape.tag}, expected {', '.join(SHAPES)}; redraw it as one of them, or remove it")
        if not shape.get("label"):
            raise DataError(f"{path}, {at}: has no label; give it one in CVAT, or remove it", kind="image-without-label")
        parts = _parts(shape, f"{path}, {at}", self.line_width, self.point_radius)
        group = shape.get("group_id", "0")
        z = _whole(shape, "z_order", f"{path}, {at}", 0)
        return Region(at, shape.get("label"), parts, group=None if group in ("", "0") else group, z=z)


def images_in(path: Path) -> list[Any]:
    """The elements <image> of a file; DataError where it is no XML, or of another of CVAT's formats."""
    root = read_xml(path, FORMAT)
    if root.tag != "annotations":
        raise AnnotationError(f"{path}: starts with <{root.tag}>, expected <annotations>; export the task as {FORMAT}")
    if tracks := root.findall("track"):
        fix = f"export the task as {FORMAT}, which has the shapes of each frame, with its images"
        raise AnnotationError(f"{path}: holds {len(tracks)} tracks, shapes that move and may be outside of a frame; {fix}")
    return list(root.findall("image"))


def _parts(shape: Any, where: str, line_width: float, point_radius: float) -> list[Shape]:
    def value(key: str, default: str | None = None) -> float:
        return _number(shape.get(key, default), key, where)

    if shape.tag == "box":
        return [rectangle(value("xtl"), value("ytl"), value("xbr"), value("ybr"), value("rotation", "0"))]
    if shape.tag == "ellipse":
        return [ellipse(value("cx"), value("cy"), value("rx"), value("ry"), value("rotation", "0"))]
    if shape.tag == "mask":
        place = {key: _whole(shape, key, where) for key in ("left", "top", "width", "height")}
        runs = [_number(run, "rle", where) for run in shape.get("rle", "").split(",")]
        if any(isnan(run) or run < 0 or run % 1 for run in runs) or sum(runs) != place["width"] * place["height"]:
            fix = "export it again, or redraw it"
            raise AnnotationError(f"{where}: its rle does not fill {place['width']}x{place['height']} pixels; {fix}")
        return [{**place, "runs": [int(run) for run in runs]}]
    pairs = [pair.split(",") for pair in shape.get("points", "").split(";") if pair.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise AnnotationError(f"{where}: has points that are not 'x,y;x,y;...'; export it again, or redraw it")
    flat = [_number(text, "points", where) for pair in pairs for text in pair]
    if shape.tag == "polyline":
        return [{"line": flat, "width": line_width}]
    if shape.tag == "points":
        return [ellipse(x, y, point_radius, point_radius) for x, y in zip(flat[::2], flat[1::2], strict=True)]
    return [flat]


def _number(text: str | None, key: str, where: str) -> float:
    try:
        return float(text if text is not None else nan)
    except ValueError:
        raise AnnotationError(f"{where}: has {key}={text!r}, expected a number; export it again") from None


def _whole(element: Any, key: str, where: str, default: int | None = None) -> int:
    text = element.get(key)
    if text is None and default is not None:
        return default
    try:
        return int(text)
    except (TypeError, ValueError):
        raise AnnotationError(f"{where}: has {key}={text!r}, expected a whole number; export it again") from None
